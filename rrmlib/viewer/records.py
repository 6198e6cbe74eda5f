r"""Items and judgments as the JSON records that the reader shows: pure functions, no files, no page.

A document holds items in ITEM order, each with its traces. What a judge picked is mapped to item order by
`Judgment.in_item_order()`; the text of a trace speaks of SHOWN positions, so marks of mentions do too, and `shown` says
which item response stood where. `blocks` are the parts of a text (thinking, the tags of Chain-of-Rubrics, the headings
of DeepSeek-GRM); `marks` are places in it: the verdict that was read, mentions of each assistant, and the reasoning
patterns that the caller finds. Offsets count UTF-16 code units, as JavaScript does. Any text is taken, and none is
cleaned here: whoever shows it escapes it.

`right` is None where the truth is unknown or nothing was read: an unread judgment is neither right nor wrong. A
declared tie is right only where the label is a tie; among several responses one must be picked, and be one of the best.

Left out: filters, search and order of items (`filters.py`), stores (`index.py`), the page (`page.py`).

    >>> from rrmlib.comparison import Comparison, Order, ask
    >>> from rrmlib.judgment import Judgment, Reading, Verdict
    >>> item = Comparison(id="q1", query=ask("2 + 2 = ?"), first="4", second="5", label="first")
    >>> said = Judgment(item="q1", order=Order.BA, sample=0, judge="rrm", key="", text=r"\boxed{Assistant 2}",
    ...     finish="stop", tokens=9, reading=Reading.of(Verdict("second")))
    >>> trace = document([item], [said], title="example", parsers={"rrm": "rrm.v1"})["items"][0]["traces"][0]
    >>> trace["choice"], trace["right"], trace["marks"]
    (0, True, [[0, 19, 'verdict'], [7, 18, 'mention:1']])
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rrmlib.comparison import Comparison, Item, Message
from rrmlib.judgment import Judgment, Scores, State, Verdict
from rrmlib.parse import CLOSE, OPEN, after_thinking
from rrmlib.probe import picked

Record = dict[str, Any]
Span = tuple[int, int, str]  # start, end, name; in characters here, in UTF-16 code units in a record
Patterns = Callable[[str], Iterable[Span]]  # text -> (start, end, family)


def document(
    items: Iterable[Item],
    judgments: Iterable[Judgment],
    *,
    title: str,
    benchmark: str = "",
    parsers: Mapping[str, str] | None = None,
    section: str | Callable[[Item], str] = "subset",
    patterns: Patterns | None = None,
    asked: Mapping[str, Sequence[Message]] | None = None,
    note: str = "",
) -> Record:
    """Everything that the page needs, as one JSON value.

    `parsers` names the parser of each judge, whose verdicts are looked for; `section` is a field of the item or a
    function of it; `asked` has the prompt of items that are not given. Items without judgments are left out, and the
    note says how many, and which judges miss some. Raises ValueError where a judgment does not fit its item.
    """
    said: dict[str, list[Judgment]] = {}
    judges: dict[str, int] = {}
    for judgment in judgments:
        said.setdefault(judgment.item, []).append(judgment)
        judges.setdefault(judgment.judge, len(judges))
    known = {item.id: item for item in items}
    records = []
    for name in [*(name for name in known if name in said), *(name for name in said if name not in known)]:
        item = known.get(name)
        record = item_record(item, name, benchmark=benchmark, section=section, asked=(asked or {}).get(name, ()))
        for j in sorted(said[name], key=lambda j: (judges[j.judge], str(j.order), j.sample)):
            parser = (parsers or {}).get(j.judge, "")
            record["traces"].append(trace_record(j, item, parser=parser, patterns=patterns))
        records.append(record)
    notes = [note, *coverage(records, list(judges), len(known) - sum(name in known for name in said))]
    return {
        "version": 1,
        "title": title,
        "judges": list(judges),
        "families": families(records),
        "items": records,
        "note": "; ".join(filter(None, notes)),
    }


def families(records: Iterable[Record]) -> list[str]:
    """The pattern families that occur in some trace."""
    kinds = {mark[2] for record in records for trace in record["traces"] for mark in trace["marks"]}
    return sorted(kind.partition(":")[2] for kind in kinds if kind.startswith("pattern:"))


def coverage(records: Sequence[Record], judges: Sequence[str], unjudged: int = 0) -> list[str]:
    """What a reader must know of what is not there. A judge misses items of benchmarks that it judged."""
    said = [{trace["judge"] for trace in record["traces"]} for record in records]
    of = {judge: {record["benchmark"] for record, who in zip(records, said) if judge in who} for judge in judges}
    missing = dict.fromkeys(judges, 0)
    for record, who in zip(records, said):
        for judge in judges:
            missing[judge] += judge not in who and record["benchmark"] in of[judge]
    return gaps(len(records), unjudged, sum(not record["responses"] for record in records), missing)


def gaps(items: int, unjudged: int, unknown: int, missing: Mapping[str, int]) -> list[str]:
    """The same from numbers: items shown, items left out, items known by name only, and what each judge misses."""
    out = [] if items else ["there are no judgments"]
    if unjudged:
        out.append(f"{_count(unjudged, 'item')} without any judgment left out")
    if unknown:
        out.append(f"{_count(unknown, 'item')} known by name only: shown as asked, right or wrong unknown")
    return out + [f"judge {judge} misses {_count(n, 'item')}" for judge, n in missing.items() if n]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def item_record(
    item: Item | None,
    name: str = "",
    *,
    benchmark: str = "",
    section: str | Callable[[Item], str] = "subset",
    asked: Sequence[Message] = (),
) -> Record:
    """An item without its traces; of an item that is not known (None) its name and the prompt as `asked`."""
    record: Record = {"id": name, "benchmark": benchmark, "section": "", "difficulty": "", "source": ""}
    record |= {"query": [], "responses": [], "asked": [[m.role, m.content] for m in asked], "truth": None, "best": []}
    if item is not None:
        record |= {
            "id": item.id,
            "section": section(item) if callable(section) else str(getattr(item, section)),
            "difficulty": item.difficulty,
            "source": item.source,
            "query": [[m.role, m.content] for m in item.query],
            "responses": list(item.responses),
            "asked": [],
            "best": list(_best(item)),
        }
        if isinstance(item, Comparison):
            record["truth"] = {"first": [1, 0], "second": [0, 1], "tie": [0.5, 0.5], None: None}[item.label]
        elif item.truth is not None:
            record["truth"] = [t if math.isfinite(t) else None for t in item.truth]  # JSON has no others
    return record | {"traces": []}


def _best(item: Item) -> tuple[int, ...]:
    if isinstance(item, Comparison):
        return {"first": (0,), "second": (1,), "tie": (0, 1), None: ()}[item.label]
    return item.best


def trace_record(
    judgment: Judgment, item: Item | None = None, *, parser: str = "", patterns: Patterns | None = None
) -> Record:
    """One judgment. Raises ValueError where it shows another number of responses than the item has."""
    n = len(judgment.order)
    if item is not None and len(item.responses) != n:
        raise ValueError(
            f"judge {judgment.judge!r} was shown {n} responses of item {judgment.item!r}, which has "
            f"{len(item.responses)}: are these the items that were judged?"
        )
    reading = judgment.in_item_order()
    value, place = reading.value, picked(reading)
    choice = "tie" if place == -1 else place
    text, parts = readable(judgment)
    blocks: list[Span] = []
    marks: list[Span] = []
    for start, end in parts:
        part = text[start:end]
        open_at_start = (
            judgment.state is State.TRUNCATED and OPEN not in part and "never closed" in judgment.reading.note
        )
        blocks += _moved(structure(part, opens_think=open_at_start), start)
        if judgment.state is State.READ:
            marks += _moved(((a, b, "verdict") for a, b in verdict_places(part, parser)), start)
    marks += mentions(text, n)
    marks += [(a, b, f"pattern:{family}") for a, b, family in (patterns(text) if patterns else ())]
    units = utf16(text)
    values = (
        [None if math.isnan(v) else v for v in value.values] if isinstance(value, Scores) and value.values else None
    )
    return {
        "judge": judgment.judge,
        "order": str(judgment.order),
        "shown": list(judgment.order.shown),
        "sample": judgment.sample,
        "state": str(judgment.state),
        "note": judgment.reading.note,
        "finish": judgment.finish,
        "tokens": judgment.tokens,
        "words": len(text.split()),
        "parser": parser,
        "text": text,
        "choice": choice,
        "values": values,
        "strength": value.strength if isinstance(value, Verdict) else None,
        "right": right(choice, item, value.top if isinstance(value, Scores) and not value.partial else ()),
        "blocks": [[units(a), units(b), name] for a, b, name in sorted(blocks)],
        "marks": [[units(a), units(b), kind] for a, b, kind in sorted(set(marks))],
    }


def right(choice: int | str | None, item: Item | None, top: Sequence[int] = ()) -> bool | None:
    """Whether the pick is that of the truth; None where nothing was picked, the truth is unknown, or there is no
    choice (one response). `top`: the responses with the highest score; several are right where all are best."""
    if choice is None or item is None or len(item.responses) < 2 or not _best(item):
        return None
    if isinstance(item, Comparison) and item.label == "tie":
        return choice == "tie"
    return choice in _best(item) or (choice == "tie" and bool(top) and set(top) <= set(_best(item)))


def readable(judgment: Judgment) -> tuple[str, list[tuple[int, int]]]:
    """The text to be shown, and where each generation in it stands.

    It is the text of the judgment, except where responses were rated one by one: such a text is a JSON list of
    {text, finish, error}, and is shown as the texts in turn, each under a line that names its response.
    """
    text = judgment.text
    if text.startswith("[{"):
        try:
            rated = json.loads(text)
        except (ValueError, RecursionError):
            rated = None
        if isinstance(rated, list) and len(rated) == len(judgment.order) and all(map(_is_rating, rated)):
            shown, parts = "", []
            for i, part in enumerate(rated, 1):
                shown += (
                    f"{shown and chr(10) * 2}----- Response {i}{': ' if part['error'] else ''}{part['error']} -----\n"
                )
                parts.append((len(shown), len(shown) + len(part["text"])))
                shown += part["text"]
            return shown, parts
    return text, [(0, len(text))]


def _is_rating(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.keys() == {"text", "finish", "error"}
        and all(isinstance(value, str) for value in part.values())
    )


def utf16(text: str) -> Callable[[int], int]:
    """From a place in `text`, in characters, to the same place in UTF-16 code units."""
    if not text or max(text) <= "\uffff":
        return lambda place: place
    wide = [i for i, character in enumerate(text) if character > "\uffff"]
    return lambda place: place + bisect_left(wide, place)


def _moved(spans: Iterable[Span], by: int) -> list[Span]:
    return [(start + by, end + by, name) for start, end, name in spans]


# --- Parts of a text --------------------------------------------------------------------------------------------------

_TAG = re.compile(r"<(type|rubric|solution|eval|answer)>")
_HEADING = re.compile(
    r"^[#*\s]{0,6}(?:(?P<principles>(?:Specific Criteria|Principles))|(?P<analysis>Analysis)|(?P<scores>Scores))"
    r"[*]{0,2}:",
    re.MULTILINE | re.IGNORECASE,
)


def structure(text: str, *, opens_think: bool = False) -> list[Span]:
    """The parts of one generation: disjoint, in the order of the text, each with its own tags or heading.

    Thinking is what stands before the last `</think>` (its opening tag may be the prompt's) and after a `<think>` that
    no other follows; with `opens_think`, a text without `</think>` is all thinking. A part that is not closed ends
    where the next begins.
    """
    close, found = text.rfind(CLOSE), []
    first = text.find(OPEN)
    free: list[tuple[int, int]] = []  # outside of the thinking
    rest = 0
    if close >= 0:
        start = first if 0 <= first < close else 0
        rest = close + len(CLOSE)
        found.append((start, rest, "think"))
        free.append((0, start))
    elif opens_think:
        return [(0, len(text), "think")] if text else []
    again = text.find(OPEN, rest)
    if again >= 0:
        found.append((again, len(text), "think"))
    free.append((rest, again if again >= 0 else len(text)))
    for start, end in free:
        found += _tagged(text, start, end) or _headed(text, start, end)
    return sorted(found)


def _tagged(text: str, start: int, end: int) -> list[Span]:
    found: list[Span] = []
    opened = list(_TAG.finditer(text, start, end))
    # An evaluation may quote a response that itself holds such tags: it ends where the parser takes it to end.
    last = {name: text.rfind(f"</{name}>", start, end) for name in {tag[1] for tag in opened}}
    free = start
    for tag, following in zip(opened, [*opened[1:], None]):
        if tag.start() < free:
            continue
        closing, close = f"</{tag[1]}>", last[tag[1]]
        if close > tag.start() and tag[1] != "eval":
            close = text.find(closing, tag.end(), end)
        closed = close > tag.start()
        free = close + len(closing) if closed else following.start() if following else end
        found.append((tag.start(), free, tag[1]))
    return found


def _headed(text: str, start: int, end: int) -> list[Span]:
    heads = list(_HEADING.finditer(text[start:end]))
    if not {"principles", "scores"} & {head.lastgroup for head in heads}:
        return []  # "Analysis:" alone is a word like any other
    stops = [head.start() for head in heads[1:]] + [end - start]
    return _moved([(head.start(), stop, head.lastgroup or "") for head, stop in zip(heads, stops)], start)


# --- Places in a text -------------------------------------------------------------------------------------------------

_BOX = "\\boxed{"
_BRACE = re.compile(r"[{}]")
_LETTER = re.compile(r"\[\[[A-Z]\]\]")
_GRADE = re.compile(r"\[\[[AB<>=]+\]\]")
_ANSWER = re.compile(r"<answer>\s{0,9}\[\[([A-Z])\]\]\s{0,9}(?:</answer>|\Z)")
_RATING = re.compile(r"\[\[\s{0,4}-?[0-9.]{1,6}\s{0,4}\]\]")
_LAST = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]+)?(?=(?:\s?(?:/|out of)\s?10)?[\s*_#.`\"']*\Z)", re.IGNORECASE)
_TRAILING = re.compile(r"\b(?:[1-9]|10)\b(?=\s*\Z)")
_TAGGED = re.compile(r"<answer>\[\[[AB]\]\]</answer>")


def verdict_places(text: str, parser: str) -> list[tuple[int, int]]:
    """Where the verdict stands that `parser` reads in a text that it can read: a box, or each place of its label.

    For a parser that is none of ours, the last place that looks like a verdict. Empty where there is none such.
    """
    close = text.rfind(CLOSE)
    start = close + len(CLOSE) if close >= 0 else 0
    end = start + len(after_thinking(text, False)[0])
    name = parser.partition(".")[0]
    if name in ("rrm", "rrm_official", "grm", "grm_single"):
        return _box(text, start, end)
    if name == "rm_r1":
        start = max(start, text.rfind("</eval>", start, end))
        for tag in ("eval", "rubric", "solution"):  # what stands behind an open tag is not read
            opened = text.rfind(f"<{tag}>", start, end)
            end = opened if opened > text.rfind(f"</{tag}>", start, end) else end
        return _spans(_ANSWER, text, start, start + len(text[start:end].rstrip()))
    if name == "rm_r1_official":
        return _spans(_TAGGED, text, max(start, end - 80), end)
    if name in ("direct", "rewardbench", "rewardbench2_ranking"):
        return _spans(_LETTER, text, start, end)
    if name == "judgebench_arena":
        return _spans(_GRADE, text, start, end)
    if name in ("rewardbench_official", "rewardbench2_ranking_official"):  # the first letter of the alphabet wins
        labels = list(_LETTER.finditer(text, start, end))
        first = min((label[0] for label in labels), default="")
        return [label.span() for label in labels if label[0] == first]
    if name == "rewardbench2_ratings":
        return _spans(_RATING, text, start, end) or _spans(_LAST, text[:end], max(start, end - 200), end)[:1]
    if name == "rewardbench2_ratings_official":
        return _spans(_TRAILING, text, start, end)
    if name == "scores":
        return [(start, end)]
    found = _box(text, start, end)
    for pattern in (_LETTER, _GRADE, _RATING):
        found += _spans(pattern, text, start, end)[-1:]
    return [max(found)] if found else []


def _spans(pattern: re.Pattern[str], text: str, start: int, end: int) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(text, start, end)]


def _box(text: str, start: int, end: int) -> list[tuple[int, int]]:
    box, depth = text.rfind(_BOX, start, end), 1
    if box < 0:
        return []
    for brace in _BRACE.finditer(text, box + len(_BOX), min(end, box + len(_BOX) + 4096)):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return [(box, brace.end())]
    return []


# A mention may be in the emphasis of Markdown, as a whole or its name alone: "__Assistant A__", "Response **2**". A
# number behind "answer", "output" or "model" is mostly one of the text itself.
_STARS, _FROM, _TO = r"\*{0,3}", r"(?:\b|(?<=\b_)|(?<=\b__))", r"(?:\b|(?=__?(?!\w)))"
_NAMED = re.compile(
    rf"{_FROM}(?!(?:answer|output|model)[ \t*]{{1,8}}[0-9])"
    r"(?i:(?:assistant|chatbot|response|candidate|answer|output|model)(?P<many>s?))"
    rf"{_STARS}[ \t]{{0,2}}{_STARS}[#(]?(?:(?P<letter>[A-Z])|(?P<number>[0-9]{{1,2}})){_TO}"
    r"|</?(?:quote|summary)_(?P<tag>[A-Z])>"
)
# One noun may name several: "Assistants A and B", "Responses 1, 2 and 3". Behind a singular only letters go on, and not
# after a comma: "Response 1 and 2 more", "In response A, B is". "I" is the judge.
_AND, _COMMA = r"[ \t]{1,2}(?:and|or|versus|vs\.?|&)[ \t]{1,2}|/", r"|,[ \t]{0,2}(?:(?:and|or|&)[ \t]{1,2})?"
_ALSO = {  # by whether the noun is a plural, and what it names is a number
    (False, False): re.compile(rf"{_STARS}\)?(?:{_AND}){_STARS}\(?([A-HJ-Z]){_TO}"),
    (True, False): re.compile(rf"{_STARS}\)?(?:{_AND}{_COMMA}){_STARS}\(?([A-HJ-Z]){_TO}"),
    (True, True): re.compile(rf"{_STARS}\)?(?:{_AND}{_COMMA}){_STARS}[#(]?([0-9]{{1,2}})\b(?!\.[0-9]|%)"),
}
# The lab's judges write compactly: a line for each response ("1: 4-4=0 ok", "in B, ...", "then 2 bad", "best A"). Such
# lines are read as mentions only in a text of that kind: in any other, "1:" begins a list.
_COMPACT = re.compile(r"(?:^|>|Analysis: )(?:work|read|best [A-H1-8])[ \t]*(?:$|<)", re.MULTILINE)
_LINE = re.compile(r"(?:^|>)(?:(?:in|then|best) )?([A-H1-8])(?=:|,|[ \t]|$|<)", re.MULTILINE)


def mentions(text: str, n: int) -> list[Span]:
    """Where a response is named ("Assistant 1", "Chatbot B", both of "Assistants A and B"), as
    `mention:<shown position>`; the first one with its noun."""
    found = []
    for match in _NAMED.finditer(text):
        name, end = match["letter"] or match["number"] or match["tag"], match.end()
        found.append((*match.span(), name))
        rule = None if match["tag"] else _ALSO.get((bool(match["many"]), name.isdecimal()))
        while rule and (more := rule.match(text, end)):
            found.append((*more.span(1), more[1]))
            end = more.end()
    if _COMPACT.search(text):
        found += [(*match.span(1), match[1]) for match in _LINE.finditer(text)]
    positions = [int(name) - 1 if name.isdecimal() else ord(name) - ord("A") for _, _, name in found]
    return [(start, end, f"mention:{at}") for (start, end, _), at in zip(found, positions) if 0 <= at < n]
