"""AMEL's LLMBar pilot: three judges, each item five times in a drawn order, alone or at the end of 49 other judgments.

github.com/chutapp/amel-llmbar-audit. Items are LLMBar Natural's (`natural_items.json`, "natural_002" is row 2), so they
are in the same clusters. Answers (`pilot_responses.jsonl`) are rows `{judge, regime, item_id, repetition, swap,
truth_label_after_swap, raw_response, parsed_label}`; temperature 1, at most 8 tokens (runners/run_llmbar_pilot.py). The
judge is called `<judge>/<regime>`; the repetition is the sample. The order was drawn for each answer: with `swap`,
output 2 was shown first, which is order BA; labels 1 and 2 are in the order shown, which is what we keep.

Official number (pilot_rankshift.py): right answers / readable answers, over all answers, so an unreadable one is
excluded. Where items have unlike numbers of readable answers that ratio is not linear, and `Aggregate.credits` are
pseudo-values.

**An error text is no verdict.** 258 of the 305 rows here of claude-haiku-4-5/batched are the text of an HTTP 429, in
which the authors' parser (the first character 1 or 2) found the label 2. They are in state error; what the file says of
them is kept beside it (`Answer.recorded`) to reproduce the published number, an artefact. Of the rest, ours is the one
label 1 or 2 that stands alone in the text; here it agrees with theirs on every row. So that judge has 47 answers left,
on other items than the others have: five repetitions and 61 items illustrate voting and have no power to compare.

`batched` shows the true labels of the 49 items before (the runner writes them as the judge's replies), other ones for
each answer: it is another experiment, not another sample of the same judge.

    items = load("natural_items.json").items
    judgments = [j for j in recorded("pilot_responses.jsonl", items) if j.judge == "gpt-4.1-nano/fresh"]
    aggregate(items, judgments, None).value

    rrm score amel_llmbar --data natural_items.json --judgments pilot_responses.jsonl --judge gpt-4.1-nano/fresh
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rrmlib.benchmarks.base import Aggregate, Benchmark, Credit
from rrmlib.benchmarks.credit import DIFFERS, POOLED, from_source, judgments_by_item, labels_of, rate
from rrmlib.benchmarks.rows import DataError, Loaded, RowError, load_rows, need, prompt_cluster, source_files
from rrmlib.comparison import Choice, Comparison, Item, Order, ask
from rrmlib.judgment import Judgment, Reading, State, Verdict
from rrmlib.parse import api_error

FILES = "put natural_items.json and pilot_responses.jsonl of github.com/chutapp/amel-llmbar-audit (data/llmbar) there"
_LABEL: dict[object, Choice] = {1: "first", 2: "second"}
_SAID: dict[object, Choice | None] = {"1": "first", "2": "second", None: None}
_ALONE = re.compile(r"(?<!\w)[12](?!\w)")


@dataclass(frozen=True)
class Answer:
    """One row: our judgment, and the label that the file gives it (in the order shown; None for no label)."""

    judgment: Judgment
    recorded: Choice | None

    def as_recorded(self) -> Judgment:
        """The judgment with the file's label for a reading, error texts included. Only to reproduce its numbers."""
        reading = Reading.of(Verdict(self.recorded)) if self.recorded else Reading(State.UNPARSED, note="no label")
        return replace(self.judgment, reading=reading)


def load(path: str | Path | None = None, *, strict: bool = True) -> Loaded:
    """Comparisons of natural_items.json, or of the folder that holds it."""
    if path is None:
        raise DataError(f"amel_llmbar is not on the hub; give --data PATH; needed: {FILES}")
    return load_rows(source_files(Path(path), ("natural_items.json",), layout=FILES), _parse, strict=strict)


def _parse(row: Any, path: Path, line: int) -> list[Item]:
    query = ask(need(row, "input", str))
    pair = Comparison(
        id=need(row, "id", str),
        query=query,
        first=need(row, "output_1", str),
        second=need(row, "output_2", str),
        label=_LABEL[need(row, "label", int, allowed=tuple(_LABEL))],
        source="amel_llmbar",
        cluster=prompt_cluster(query),
    )
    return [pair]


def answers(path: str | Path, items: Sequence[Item]) -> list[Answer]:
    """Every answer of the file, by judge, then in the order of items and repetitions.

    Raises DataError for a malformed row, an item that is not among `items`, a repeated answer, or a row whose
    `truth_label_after_swap` contradicts the item's label and `swap`.
    """
    labels, place = labels_of(items, ("first", "second")), {item.id: k for k, item in enumerate(items)}
    found: dict[tuple[str, int, int], Answer] = {}

    def parse(row: Any, path: Path, line: int) -> list[Item]:
        item = need(row, "item_id", str)
        if item not in labels:
            raise RowError("item_id", f"{item!r} is not among the items")
        order = Order.BA if need(row, "swap", bool) else Order.AB
        truth = need(row, "truth_label_after_swap", str, allowed=("1", "2"))
        if ("first", "second")[order.shown[int(truth) - 1]] != labels[item]:
            raise RowError("truth_label_after_swap", f"{truth!r} in order {order}, but {item!r} is {labels[item]!r}")
        text = need(row, "raw_response", str)
        said = _SAID[need(row, "parsed_label", (str, type(None)), allowed=tuple(_SAID))]
        judge = f"{need(row, 'judge', str)}/{need(row, 'regime', str, allowed=('fresh', 'batched'))}"
        spot = (judge, place[item], need(row, "repetition", int))
        if spot in found:
            raise RowError("repetition", f"{item!r} by {judge!r}: repetition {spot[2]} occurs twice")
        reading = read(text)
        if (reading.verdict.choice if reading.verdict else None) != said:
            reading = replace(reading, note=f"{DIFFERS} {row['parsed_label']!r}; {reading.note}".rstrip("; "))
        found[spot] = Answer(from_source(item, order, judge, text, reading, sample=spot[2]), said)
        return []

    load_rows(source_files(Path(path), ("pilot_responses.jsonl",), layout=FILES), parse)
    return [found[spot] for spot in sorted(found)]


def read(text: str) -> Reading:
    """The label 1 or 2 that stands alone in the text (once or repeated), in the order shown. The file does not tell why
    a text ended, so one that stops before its label is unparsed, not truncated."""
    if problem := api_error(text):
        return Reading(State.ERROR, note=problem)
    labels = set(_ALONE.findall(text))
    if len(labels) == 1:
        return Reading.of(Verdict("first" if labels == {"1"} else "second"))
    return Reading(State.UNPARSED, note="conflicting labels 1, 2" if labels else "neither 1 nor 2")


def aggregate(items: Sequence[Item], judgments: Sequence[Judgment], invalid: float | None) -> Aggregate:
    """Credit earned / judgments that count; see the module. A declared tie is wrong: it was not asked for.

    The pseudo-value of an item with m of M counting judgments on n items is v + (m n / M) (x - v), x its own mean:
    their mean is v, their spread that of the ratio.
    """
    groups, labels = judgments_by_item(items, judgments), labels_of(items, ("first", "second"))
    earned: dict[str, list[float]] = {}
    for item in items:
        verdicts = [j.in_item_order().verdict for j in groups[item.id]]
        worth = [invalid if v is None else float(v.choice == labels[item.id]) for v in verdicts]
        earned[item.id] = [w for w in worth if w is not None]
    value = rate([w for group in earned.values() for w in group])
    sizes = [len(group) for group in earned.values() if group]
    credits = []
    for item in items:
        group = earned[item.id]
        weight = len(group) * len(sizes) / sum(sizes) if group else 0.0
        credits.append(Credit(item.id, item.cluster, POOLED, value + weight * (rate(group) - value) if group else None))
    unread = rate([float(j.state is not State.READ) for group in groups.values() for j in group])
    return Aggregate(value, {POOLED: 1.0}, tuple(credits), extra={"unread": unread}, linear=len(set(sizes)) == 1)


def recorded(path: str | Path, items: Sequence[Item]) -> list[Judgment]:
    """Judgments of all six judges (three in two regimes); see `answers`."""
    return [answer.judgment for answer in answers(path, items)]


BENCHMARK = Benchmark(
    name="amel_llmbar",
    title="LLMBar Natural, repeated (AMEL)",
    paper="",
    hub_id="",
    files=FILES,
    invalid=None,
    load=load,
    aggregate=aggregate,
    recorded=recorded,
)
