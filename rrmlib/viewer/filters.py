"""Which items of a document are worth reading: filters, search and order, as plain functions of its records.

The page does the same in JavaScript and the index in SQL and arrays; `tests/viewer/filters.json` holds all three to one
meaning. Everything is over the judges chosen (all, where none is). A judge's `majority` is its most frequent pick of an
item, none where two are level; only majorities that are there differ from each other. What a majority says is wrong
where its own traces are wrong, so that a labelled tie is treated like any label. Sizes are tokens, or words where
tokens are unknown.

Judges `disagree` where their majorities differ: over all their traces of the item, or over those of one order shown. So
a judge that says the first in both orders, level over all, differs in one of them from whoever holds to a response; and
judges that were shown different orders are compared all the same. By `disagreement` items are sorted by how many
different majorities there are, where there are most.

`flipped` is asked of each sample of a judge: it names different responses as best in two orders. A tie names none, nor
does an order that was not read; and other samples are other draws, which differ without any exchange.

`majority_wrong` looks within a judge, at its samples and orders: most are wrong, one is right. `outvoted` looks across
the judges, each with one vote, its majority: most are wrong, one is right. A right trace that its own judge has voted
down is of the first kind alone.

Sorted by `rate:FAMILY`, items with the most places of a reasoning pattern for their words come first: all traces of the
item together, a ratio of sums, as in `patterns.per_words` (a filter says little where every trace has the pattern).
`number` is what an item is sorted by, for whoever shows it.

Search is for parts of words, whatever the case, over query, responses, prompt and the traces of the judges chosen: all
words must occur somewhere, "words in quotes" as they stand there.

Left out: the records themselves (`records.py`), stores of any size (`index.py`).

    >>> terms('wrong "second step"')
    ['wrong', 'second step']
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rrmlib.viewer.records import Record

STATES = ("unparsed", "truncated", "too_long", "error")
# Of one judge's traces of an item; the others follow from those of all judges, or from the reader's notes.
PER_JUDGE = ("flipped", "wrong", "majority_wrong", *STATES, "forced", "long_wrong")
FILTERS = ("disagree", *PER_JUDGE, "outvoted", "noted")
SORTS = ("given", "longest", "disagreement", "difficulty", "share_right")
FIELDS = ("benchmark", "section", "difficulty")
NEVER = 2**53 - 1  # a length that no trace has; JavaScript counts as far
_TERM = re.compile(r'"([^"]+)"|([^\s"]+)')
_NUMERIC = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is asked for: all of it must hold. No judges means all; a field that is None may be anything.

    Raises ValueError for an unknown filter or sort.
    """

    filters: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()
    benchmark: str | None = None
    section: str | None = None
    difficulty: str | None = None
    q: str = ""
    sort: str = "given"

    def __post_init__(self) -> None:
        for name in self.filters:
            if name not in FILTERS and not name.startswith("pattern:"):
                raise ValueError(f"unknown filter {name!r:.60}; known: {', '.join(FILTERS)}, pattern:FAMILY")
        if self.sort not in SORTS and not self.sort.startswith("rate:"):
            raise ValueError(f"unknown sort {self.sort!r:.60}; known: {', '.join(SORTS)}, rate:FAMILY")


@dataclass(frozen=True)
class Cell:
    """What one judge's traces of one item come to. `flags` are of PER_JUDGE (without long_wrong) and pattern:FAMILY;
    `longest` and `longest_wrong` are sizes, -1 where there is no such trace. `within`: the majority of each order that
    has one; `sound`: whether the majority is right; `places`: of each pattern family, in `words`."""

    majority: int | str | None
    within: Mapping[str, int | str]
    sound: bool | None
    flags: frozenset[str]
    longest: int
    longest_wrong: int
    right: int
    judged: int
    words: int
    places: Mapping[str, int]


def size(trace: Record) -> int:
    """How long a trace is: tokens, or words where tokens are unknown."""
    return int(trace["tokens"] if trace["tokens"] >= 0 else trace["words"])


def majority(picks: Iterable[int | str | None]) -> int | str | None:
    """The most frequent pick; None where nothing is picked, or two are level."""
    ranked = Counter(pick for pick in picks if pick is not None).most_common(2)
    level = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return ranked[0][0] if ranked and not level else None


def cell(traces: Sequence[Record]) -> Cell:
    """One judge's traces of one item."""
    most = majority(t["choice"] for t in traces)
    named: dict[int, set[int]] = {}  # by sample: what it names as best, in one order or another
    picks: dict[str, list[int | str | None]] = {}  # by order
    for t in traces:
        picks.setdefault(t["order"], []).append(t["choice"])
        if isinstance(t["choice"], int):
            named.setdefault(t["sample"], set()).add(t["choice"])
    known = [t for t in traces if t["right"] is not None]
    wrong = [t for t in known if not t["right"]]
    verdicts = [t["right"] for t in known if t["choice"] == most]
    found = {t["state"] for t in traces if t["state"] in STATES}
    kinds = Counter(kind for t in traces for _, _, kind in t["marks"] if kind.startswith("pattern:"))
    found |= kinds.keys()
    if any(len(best) > 1 for best in named.values()):
        found.add("flipped")
    if wrong:
        found.add("wrong")
    if len(wrong) < len(known) and most in {t["choice"] for t in wrong}:
        found.add("majority_wrong")
    if any(t["finish"] == "budget" for t in traces):
        found.add("forced")
    longest, longest_wrong = (max(map(size, part), default=-1) for part in (traces, wrong))
    return Cell(
        majority=most,
        within={order: best for order, each in picks.items() if (best := majority(each)) is not None},
        sound=any(verdicts) if verdicts else None,
        flags=frozenset(found),
        longest=longest,
        longest_wrong=longest_wrong,
        right=len(known) - len(wrong),
        judged=len(known),
        words=sum(t["words"] for t in traces),
        places={kind.partition(":")[2]: n for kind, n in kinds.items()},
    )


def cells(item: Record, judges: Collection[str] = ()) -> dict[str, Cell]:
    """The cells of an item by judge, for the judges chosen that judged it."""
    traces: dict[str, list[Record]] = {}
    for trace in item["traces"]:
        if not judges or trace["judge"] in judges:
            traces.setdefault(trace["judge"], []).append(trace)
    return {judge: cell(said) for judge, said in traces.items()}


def different(of: Iterable[Cell]) -> int:
    """How many different majorities the judges of an item have, where most: over all traces, or in one order."""
    picks: dict[str, set[int | str]] = {}
    for c in of:
        overall = {} if c.majority is None else {"": c.majority}
        for order, most in {**c.within, **overall}.items():
            picks.setdefault(order, set()).add(most)
    return max(map(len, picks.values()), default=0)


def outvoted(of: Collection[Cell]) -> bool:
    """Whether most judges of an item are wrong where one is right, each by its majority."""
    most = majority(c.majority for c in of)
    theirs = {c.sound for c in of if most is not None and c.majority == most}
    return theirs == {False} and any(c.sound for c in of)


def long_from(sizes: Iterable[int]) -> int:
    """From which size on a trace is long, among all traces of one judge: the 75th percentile by nearest rank. Where so
    many are as long as that one that more than half would be long, only the longer ones are; where there are no longer
    ones, none is."""
    ranked = sorted(sizes)
    least = ranked[math.ceil(0.75 * len(ranked)) - 1]
    if 2 * bisect_left(ranked, least) >= len(ranked):
        return least
    return next((longer for longer in ranked[bisect_right(ranked, least) :]), NEVER)


def thresholds(items: Iterable[Record]) -> dict[str, int]:
    """`long_from` of every judge of a document."""
    sizes: dict[str, list[int]] = {}
    for item in items:
        for trace in item["traces"]:
            sizes.setdefault(trace["judge"], []).append(size(trace))
    return {judge: long_from(each) for judge, each in sizes.items()}


def flags(
    item: Record, judges: Collection[str] = (), *, long: Mapping[str, int], noted: Collection[tuple[str, str]] = ()
) -> list[str]:
    """The filters that let an item through, in the order of FILTERS, then patterns. `long` is from `thresholds`."""
    of = cells(item, judges)
    found: set[str] = set().union(*(c.flags for c in of.values()))
    if different(of.values()) > 1:
        found.add("disagree")
    if outvoted(of.values()):
        found.add("outvoted")
    if any(c.longest_wrong >= long[judge] for judge, c in of.items() if c.longest_wrong >= 0):
        found.add("long_wrong")
    if (item["benchmark"], item["id"]) in noted:
        found.add("noted")
    return [*(name for name in FILTERS if name in found), *sorted(found.difference(FILTERS))]


def terms(q: str) -> list[str]:
    """The words and quoted phrases of a search, in lower case."""
    return [(match[1] or match[2]).lower() for match in _TERM.finditer(q)]


def texts(item: Record, judges: Collection[str] = ()) -> Iterator[str]:
    """What a search looks at."""
    yield from (text for part in ("query", "asked") for _, text in item[part])
    yield from item["responses"]
    yield from (t["text"] for t in item["traces"] if not judges or t["judge"] in judges)


def match(item: Record, query: Query, *, long: Mapping[str, int], noted: Collection[tuple[str, str]] = ()) -> bool:
    """Whether the item is asked for."""
    for name in FIELDS:
        wanted = getattr(query, name)
        if wanted is not None and item[name] != wanted:
            return False
    if not set(query.filters) <= set(flags(item, query.judges, long=long, noted=noted)):
        return False
    wanted_terms = terms(query.q)
    if not wanted_terms:
        return True
    lowered = [text.lower() for text in texts(item, query.judges)]
    return all(any(term in text for text in lowered) for term in wanted_terms)


def rank(item: Record, query: Query) -> tuple[Any, ...]:
    """What items are sorted by, lowest first; equal ones stay in the given order."""
    if query.sort == "difficulty":
        return by_difficulty(item["difficulty"])
    value = number(item, query)
    return (value is None, value if query.sort == "share_right" else -(value or 0))


def number(item: Record, query: Query) -> float | None:
    """The number that an item is sorted by; None where it has none, or the order is not one of numbers."""
    of = cells(item, query.judges).values()
    if query.sort == "longest":
        return max((c.longest for c in of), default=None)
    if query.sort == "disagreement":
        return different(of)
    if query.sort == "share_right":
        judged = sum(c.judged for c in of)
        return sum(c.right for c in of) / judged if judged else None
    if query.sort.startswith("rate:"):
        words, family = sum(c.words for c in of), query.sort.partition(":")[2]
        return sum(c.places.get(family, 0) for c in of) / words if words else None
    return None


def by_difficulty(text: str) -> tuple[int, float, bytes]:
    """Numbers first, by value; then words, as JavaScript compares them; then those that have none."""
    if _NUMERIC.fullmatch(text):
        return (0, float(text), b"")
    return (1 if text else 2, 0.0, text.encode("utf-16-be", "surrogatepass"))


def select(items: Sequence[Record], query: Query, *, noted: Collection[tuple[str, str]] = ()) -> list[Record]:
    """The items that are asked for, in the order that is asked for."""
    long = thresholds(items)
    found = [item for item in items if match(item, query, long=long, noted=noted)]
    return sorted(found, key=lambda item: rank(item, query))
