"""JudgeBench (2410.12784): pairs with an objectively right answer, judged in both orders.

Rows `{pair_id, source, question, response_A, response_B, label "A>B"|"B>A", ...}`; four categories from the prefix of
`source`. Official rule (utils/metrics.py of ScalerLab/JudgeBench): over the two orders of a pair add +1 for the right
verdict, -1 for the opposite, 0 for a tie or no verdict; the pair is right iff the sum is > 0; accuracy per category
and, pooled over all pairs, overall. So one right verdict and one tie count as right.

Where the official rule is silent:
- several samples per order: the k-th samples of both orders form one repetition, a pair earns the mean over them;
- one order only ("single-game mode"): the same sum over one verdict; `extra["one_order"]` is the share of such pairs;
- unreadable judgments of worth w in 0..1 add 2w - 1, so the official 0 is w = 0.5; w = None leaves them out;
- equal scores of a scalar judge: the source decides for the response shown second in both orders (`credit.decided`), so
  the pair sums to 0. The reading stays a tie everywhere else.

Extras, in fractions of the pairs: official_consistency (both orders, mapped back, say the same; two unreadable ones
count as the same, as in the source), both_correct (J1's stricter rule), order_ab and order_ba (right in that order),
one_order, pairs_wrong (sum < 0), undecided (sum = 0). Guessing has no one value: a fair coin in each order gets 0.25, a
guesser that stands by its guess 0.5, and one that always says the first 0. Left out: the macro average over categories,
which some reports quote.

Recorded judgments: the second one was made with the responses exchanged and is NOT flipped back in the file, which is
our shown frame as it stands. Texts are parsed again; a null entry is an error.

    pairs = load("data").items
    aggregate(pairs, recorded("outputs/dataset=judgebench,...,judge_model=o1-mini.jsonl", pairs), 0.5).value
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrmlib.benchmarks.base import Aggregate, Benchmark, Credit
from rrmlib.benchmarks.credit import (
    DIFFERS,
    POOLED,
    by_order,
    decided,
    from_source,
    games,
    judgments_by_item,
    labels_of,
    rate,
)
from rrmlib.benchmarks.rows import (
    DataError,
    Loaded,
    RowError,
    collect_rows,
    hub_rows,
    load_rows,
    need,
    prompt_cluster,
    source_files,
)
from rrmlib.comparison import Choice, Comparison, Item, Order, ask
from rrmlib.judgment import Judgment, Reading, Scores, State
from rrmlib.parse import parse

FILES = "put the .jsonl files of github.com/ScalerLab/JudgeBench/data there, or one of its outputs"
HUB_ID = "ScalerLab/JudgeBench"
CATEGORIES = {  # prefix of `source` -> category, in the order of the paper's table
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}
_LABEL: dict[str, Choice] = {"A>B": "first", "B>A": "second"}
_DECISION: dict[str | None, Choice | None] = {"A>B": "first", "B>A": "second", "A=B": "tie", None: None}
_GRADE = re.compile(r"\[\[([AB<>=]+)\]\]")


def load(path: str | Path | None = None, *, strict: bool = True) -> Loaded:
    """Pairs of one file, of every .jsonl below a folder, or of the hub (both splits). Recorded files hold pairs too.

    Of a folder laid out as the source's own, only `data/` is read: `outputs/` holds the same pairs again.
    """
    if path is None:
        splits = [(Path(f"hub:{HUB_ID}/{split}"), hub_rows(HUB_ID, split, FILES)) for split in ("gpt", "claude")]
        return collect_rows(splits, _parse, strict=strict)
    return load_rows(source_files(Path(path), ("data/*.jsonl", "*.jsonl"), layout=FILES), _parse, strict=strict)


def _parse(row: Any, path: Path, line: int) -> list[Item]:
    source = need(row, "source", str)
    category = next((name for prefix, name in CATEGORIES.items() if source.startswith(prefix)), None)
    if category is None:
        raise RowError("source", f"{source!r:.60} starts with none of {', '.join(CATEGORIES)}")
    query = ask(need(row, "question", str))
    pair = Comparison(
        id=need(row, "pair_id", str),
        query=query,
        cluster=prompt_cluster(query),
        first=need(row, "response_A", str),
        second=need(row, "response_B", str),
        label=_LABEL[need(row, "label", str, allowed=tuple(_LABEL))],
        source=source,
        subset=category,
    )
    return [pair]


def labels(text: str) -> list[str]:
    """Every arena grade in a text, as written (`A>>B`), in order."""
    return _GRADE.findall(text)


def points(judgment: Judgment, label: str, invalid: float | None) -> float | None:
    """What one judgment adds to the counter: +1, -1, 0, or 2 * invalid - 1 where unreadable (None: left out)."""
    choice = decided(judgment)
    if choice is None:
        return None if invalid is None else 2 * invalid - 1
    return 0.0 if choice == "tie" else 1.0 if choice == label else -1.0


def aggregate(items: Sequence[Item], judgments: Sequence[Judgment], invalid: float | None) -> Aggregate:
    """The official rule; see the module. Raises DataError for an item without label or judgment."""
    groups, labels = judgments_by_item(items, judgments), labels_of(items, ("first", "second"))
    credits, wrong, undecided = [], [], []
    for item in items:
        sums = []
        for game in games(groups[item.id]):
            added = [p for j in game if (p := points(j, labels[item.id], invalid)) is not None]
            if added:
                sums.append(sum(added))
        credits.append(Credit(item.id, item.cluster, POOLED, rate([float(s > 0) for s in sums]) if sums else None))
        if sums:
            wrong.append(rate([float(s < 0) for s in sums]))
            undecided.append(rate([float(s == 0) for s in sums]))
    categories = [c for c in CATEGORIES.values() if any(i.subset == c for i in items)]
    by = {c: rate([k.value for i, k in zip(items, credits) if i.subset == c]) for c in categories}
    extra = {"pairs_wrong": rate(wrong), "undecided": rate(undecided)} | by_order(labels, groups, decided)
    missing = tuple(c for c in CATEGORIES.values() if c not in categories)
    return Aggregate(rate([c.value for c in credits]), {POOLED: 1.0}, tuple(credits), by, extra, missing=missing)


def recorded(path: str | Path, items: Sequence[Item]) -> list[Judgment]:
    """Judgments of one outputs file, or of every one below a folder that holds pairs of `items`; of a folder laid out
    as the source's own, those of `outputs/`.

    Raises DataError for a malformed entry, or for a pair in the file that is not among the items.
    """
    known = {item.id for item in items}
    found: list[Judgment] = []
    files = source_files(Path(path), ("outputs/*.jsonl", "*.jsonl"), layout=FILES)
    for file in files:
        new: list[Judgment] = []

        def row_with_judgments(row: Any, path: Path, line: int, new: list[Judgment] = new) -> list[Item]:
            new.extend(_judgments(row, path))
            return _parse(row, path, line)

        ids = {item.id for item in load_rows([file], row_with_judgments).items}
        if not ids & known and len(files) > 1:
            continue
        if unknown := ids - known:
            raise DataError(f"{file}: {len(unknown)} pairs are not among the items, for example {min(unknown)!r}")
        found.extend(new)
    if not found:
        raise DataError(f"{path}: no recorded judgments of these {len(known)} items; {FILES}")
    return found


def _judgments(row: Any, path: Path) -> list[Judgment]:
    entries = need(row, "judgments", list)
    if len(entries) not in (1, 2):
        raise RowError("judgments", f"expected one entry per order, found {len(entries)}")
    judge = _judge_name(path) or need(row, "judge_name", str)
    made = []
    for order, entry in zip((Order.AB, Order.BA), entries):
        text, reading = "", Reading(State.ERROR, note="no judgment recorded: the call failed")
        if entry is not None:
            inner = need(entry, "judgment", dict)
            decision = need(entry, "decision", (str, type(None)), allowed=tuple(_DECISION))
            text = need(inner, "response", str)
            reading = _scores(inner) if inner.get("scores") is not None else parse("judgebench_arena", text, "")
            if shown(reading) != _DECISION[decision]:
                reading = Reading(reading.state, reading.value, f"{DIFFERS} {decision!r}; {reading.note}".rstrip("; "))
        finish = "" if entry is not None else "error"
        made.append(from_source(need(row, "pair_id", str), order, judge, text, reading, finish=finish))
    return made


def _judge_name(path: Path) -> str:
    """`arena_hard/o1-mini` from `dataset=...,judge_name=arena_hard,judge_model=o1-mini.jsonl`; "" for other names."""
    parts = dict(part.split("=", 1) for part in path.stem.split(",") if "=" in part)
    return "/".join(parts[name] for name in ("judge_name", "judge_model") if name in parts)


def _scores(inner: dict[str, Any]) -> Reading:
    values = need(inner, "scores", list)
    if len(values) != 2 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise RowError("scores", f"expected two numbers, found {values!r:.60}")
    if not all(math.isfinite(v) for v in values):
        return Reading(State.UNPARSED, note=f"scores {values} are not finite")
    return Reading.of(Scores((float(values[0]), float(values[1])), scalar=True))


def shown(reading: Reading) -> Choice | None:
    """What the source writes down for a reading, in the order shown: equal scores are "B>A"."""
    if reading.verdict is None:
        return None
    tie = reading.verdict.choice == "tie" and isinstance(reading.value, Scores)
    return "second" if tie else reading.verdict.choice


BENCHMARK = Benchmark(
    name="judgebench",
    title="JudgeBench",
    paper="2410.12784",
    hub_id=HUB_ID,
    files=FILES,
    invalid=0.5,
    load=load,
    aggregate=aggregate,
    recorded=recorded,
    formats=("rrm", "rm_r1", "judgebench_arena", "direct"),
    chance=None,
)
