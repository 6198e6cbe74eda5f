"""How soon a page of a large store is found: 200,000 judgments, filtered, sorted and searched.

Builds a store in a temporary folder (four judges, 25,000 pairs in both orders; words drawn by rank as in texts, from
a vocabulary of 20,000), indexes it, and asks each kind of page several times. Exits with 1 where the 95th percentile of
some kind is over `--bar` milliseconds; on a machine that is busy with something else the processor's time says more.

    python measure/view.py --words 120
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rrmlib.comparison import Comparison, Order, ask
from rrmlib.judgment import Judgment, Reading, State, Verdict
from rrmlib.store import Store
from rrmlib.viewer.filters import Query
from rrmlib.viewer.records import Patterns
from rrmlib.viewer.view import View, items_of, patterns_of

JUDGES = ("base", "trained", "judge-of-two", "scalar")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judgments", type=int, default=200_000)
    parser.add_argument("--words", type=int, default=120, help="of a trace, on average")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--bar", type=float, default=300.0, help="milliseconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder) / "traces.sqlite", options)


def measure(path: Path, options: argparse.Namespace) -> int:
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    vocabulary = ["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(20_000)]
    items = [
        Comparison(
            id=f"item-{i}",
            query=ask(f"Question {i}: {vocabulary[i % 20_000]}?"),
            first="a",
            second="b",
            label="first" if i % 2 else "second",
            subset=f"section {i % 7}",
            difficulty=str(i % 12),
        )
        for i in range(options.judgments // (2 * len(JUDGES)))
    ]
    with Store(path) as store:
        for start in range(0, len(items), 1000):
            said = list(judgments(items[start : start + 1000], rng, vocabulary, options.words))
            store.record(said, benchmark="made up", parser="rrm.v1")
    find = items_of(path, given={"made up": items})
    began = time.perf_counter()
    view = View(path, find, patterns=no_patterns)
    print(f"index: {time.perf_counter() - began:.1f} s, {size(path)} of store, {size(view_file(path))} of index")
    texts = [trace["text"] for item in items[:250] for trace in view.item("made up", item.id)["traces"]]
    for benchmark in ("lab-test-seed0-00000000", "any other"):
        find_patterns, began = patterns_of(benchmark), time.process_time()
        for text in texts:
            find_patterns(text)
        more = (time.process_time() - began) / len(texts) * options.judgments
        print(f"  with patterns, for traces of {benchmark}: {more:.0f} s of a processor more")
    began = time.perf_counter()
    view = View(path, find, patterns=no_patterns)
    print(f"opened again: {time.perf_counter() - began:.2f} s")

    rare = vocabulary[15_000]
    kinds = {
        "all": [Query()],
        "filtered": [Query(filters=(name,)) for name in ("disagree", "flipped", "wrong", "long_wrong", "outvoted")],
        "filtered, two judges": [Query(filters=("disagree", "wrong"), judges=JUDGES[:2], section="section 3")],
        "sorted": [Query(sort=sort) for sort in ("longest", "disagreement", "difficulty", "share_right")],
        "searched, frequent": [Query(q=vocabulary[0]), Query(q=vocabulary[50])],
        "searched, rare": [Query(q=rare), Query(q="nowhere at all"), Query(q=f'"{rare} {vocabulary[1]}"')],
        "searched, one letter": [Query(q="e")],
        "searched, two judges": [Query(q=rare, judges=JUDGES[:2]), Query(q=vocabulary[50], judges=JUDGES[:2])],
        "all at once": [Query(filters=("disagree", "wrong"), sort="longest", q=f"{vocabulary[9]} {vocabulary[200]}")],
    }
    missed = False
    print(f"{len(items):,} items, {options.judgments:,} judgments; milliseconds, of {options.repeat} times each kind:")
    for kind, queries in kinds.items():
        taken, busy = [], []
        for i in range(max(options.repeat, len(queries))):
            began, spent = time.perf_counter(), time.process_time()
            page = view.page(queries[i % len(queries)], offset=(i % 3) * 100)
            taken.append(1000 * (time.perf_counter() - began))
            busy.append(1000 * (time.process_time() - spent))
        p50, p95 = np.percentile(taken, [50, 95])
        missed |= bool(p95 > options.bar)
        over = "  OVER" if p95 > options.bar else ""
        said = f"p50 {p50:6.1f}   p95 {p95:6.1f}   processor at most {max(busy):6.1f}"
        print(f"  {kind:24} {said}   (last total {page['total']:,}){over}")
    began = time.perf_counter()
    for i in range(options.repeat):
        view.item("made up", items[i * 7].id)
    print(f"  one item                 mean {1000 * (time.perf_counter() - began) / options.repeat:.1f}")
    return int(missed)


def judgments(
    items: list[Comparison], rng: np.random.Generator, vocabulary: list[str], words: int
) -> Iterator[Judgment]:
    n = len(items) * 2 * len(JUDGES)
    rank = np.minimum(rng.zipf(1.25, n * words) - 1, len(vocabulary) - 1)  # 1.25: the rare ones make a fifth
    lengths = rng.integers(words // 2, words + words // 2, n)
    drawn, at = np.resize(rank, int(lengths.sum())), 0
    for i, item in enumerate(items):
        for j, judge in enumerate(JUDGES):
            for k, order in enumerate((Order.AB, Order.BA)):
                place = (i * len(JUDGES) + j) * 2 + k
                text = " ".join(vocabulary[r] for r in drawn[at : at + lengths[place]])
                at += int(lengths[place])
                choice = "first" if rng.random() < 0.3 + 0.1 * j else "second"
                cut = rng.random() < 0.03
                yield Judgment(
                    item=item.id,
                    order=order,
                    sample=0,
                    judge=judge,
                    key="",
                    text=f"<think>{text}" + ("" if cut else f"</think>\\boxed{{Assistant {1 + (choice == 'second')}}}"),
                    finish="length" if cut else "stop",
                    tokens=int(lengths[place] * 1.3),
                    reading=Reading(State.TRUNCATED) if cut else Reading.of(Verdict(choice)),
                )


def no_patterns(benchmark: str) -> Patterns:
    """Of words that mean nothing there are no patterns; what finding them costs is told apart."""
    return lambda text: ()


def view_file(path: Path) -> Path:
    return path.with_name(path.name + "-view")


def size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
