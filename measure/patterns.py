"""How far the lexicons of reasoning patterns are to be trusted: precision and recall against sentences that were read.

    .venv/bin/python measure/patterns.py                    # needs the recorded judgments (RRM_DATA_DIR)
    .venv/bin/python measure/patterns.py --draw test        # the sentences of a part, as they were drawn to be labelled

Traces are drawn by a hash, and sentences (of four words or more) within them. `development` was drawn and labelled
first, the lexicon was written with it; `test` holds other traces (of RM-R1, of which eight are recorded, other
sentences), and was labelled after the lexicon was committed and before it was run on them. The labeller is an AI agent,
one of the founders, on 2026-11-28; criteria: `what` of each family in rrmlib/lexicons/english.v1.toml; one pass, no
second labeller. Exit code 1 where a recorded text is not the one that was labelled.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator

from rrmlib import patterns
from rrmlib.benchmarks import benchmark
from rrmlib.benchmarks.rows import data_dir
from rrmlib.exchange import crc
from rrmlib.judge import read_judgments
from rrmlib.judgment import Judgment

ARENA = "dataset=judgebench,response_model={of},judge_name=arena_hard,judge_model={judge}.jsonl"
JUDGES = {  # judge -> (source, whose responses, traces and sentences of each in development, in test)
    "claude-3-haiku-20240307": ("judgebench", "claude-3-5-sonnet-20240620", (30, 4), (20, 3)),
    "o1-mini-2024-09-12": ("judgebench", "gpt-4o-2024-05-13", (25, 3), (20, 2)),
    "RM-R1-DeepSeek-Distilled-Qwen-32B": ("rm_r1", "", (8, 8), (8, 6)),
}
LEAST = 60  # words of a trace that is drawn: below, there is only a verdict


def recorded(judge: str) -> list[Judgment]:
    """The recorded judgments of a judge that have a trace."""
    source, of, *_ = JUDGES[judge]
    bench, folder = benchmark(source), data_dir() / source
    if source == "judgebench":
        data = folder / "data" / f"dataset=judgebench,response_model={of}.jsonl"
        said = folder / "outputs" / ARENA.format(of=of, judge=judge)
    else:
        data = said = folder / judge
    found = read_judgments(said, bench, bench.load(data).items)
    return [j for j in found if len(j.text.split()) > LEAST]


def rank(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def drawn(part: str) -> Iterator[tuple[str, Judgment, int, int]]:
    """(source, judgment, start, end) of the sentences of a part, by a hash of what they are."""
    for judge, (source, _, before, now) in JUDGES.items():
        traces = sorted(recorded(judge), key=lambda j: rank("trace", j.judge, j.item, j.order, j.sample))
        others = len(traces) >= before[0] + now[0]  # enough for the test to have traces of its own
        (count, each), skip = (before, 0) if part == "development" else (now, 0 if others else before[1])
        for j in traces[before[0] if part == "test" and others else 0 :][:count]:
            spans = sorted(patterns.sentences(j.text), key=lambda s: rank("sentence", j.judge, j.item, j.order, s[0]))
            yield from ((source, j, *span) for span in sorted(spans[skip : skip + each]))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--draw", choices=("development", "test"), help="print the sentences instead")
    part = options.parse_args().draw
    if part:
        for number, (source, j, start, end) in enumerate(drawn(part)):
            print(number, source, j.judge, j.item, j.order, start, end, crc(j.text[start:end]), repr(j.text[start:end]))
        return 0
    lexicon = patterns.load("english")
    texts = {(judge, j.item, str(j.order)): j.text for judge in JUDGES for j in recorded(judge)}
    changed = 0
    for part in ("development", "test"):
        rows = patterns.labelled(part)
        marks = {where: patterns.marks(texts[where], lexicon) for where in {place(r) for r in rows}}
        changed += sum(crc(texts[place(r)][r.start : r.end]) != r.crc for r in rows)
        judges = {r.judge for r in rows}
        print(f"{part}: {len(rows)} sentences of {len(marks)} traces, {len(judges)} judges, {lexicon.id}")
        for family in patterns.FAMILIES:
            found = [any(f == family and a < r.end and b > r.start for a, b, f in marks[place(r)]) for r in rows]
            said = [family in r.families for r in rows]
            a = patterns.agreement(found, said, ["|".join(place(r)) for r in rows])
            print(f"  {family:11} precision {shown(a.precision)}   recall {shown(a.recall)}")
    if changed:
        print(f"{changed} sentences are not those that were labelled: other data?", file=sys.stderr)
    return int(bool(changed))


def place(row: patterns.Labelled) -> tuple[str, str, str]:
    return row.judge.rpartition("/")[2], row.item, row.order


def shown(e: patterns.Estimate | None) -> str:
    return f"{100 * e.value:5.1f} [{100 * e.lo:.1f}, {100 * e.hi:.1f}], n = {e.n}" if e else "none"


if __name__ == "__main__":
    sys.exit(main())
