"""Your own comparisons: one JSON object a line, scored by plain accuracy.

    {"id": "q1", "query": "2 + 2 = ?", "first": "4", "second": "5", "label": "first", "subset": "maths"}

`query` is text or a conversation [{role, content}, ..]; `label` is first, second or tie; `subset`, `difficulty`,
`source` and `cluster` may be left out (the source is then the file, the cluster the query). Overall is the mean over
all comparisons, `by` has one entry per subset. A declared tie earns half where a side is right; an unreadable judgment
is wrong.

    rrm judge pairs --data my.jsonl --judge judge.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrmlib.benchmarks.base import Aggregate, Benchmark
from rrmlib.benchmarks.credit import pair_credits, rate
from rrmlib.benchmarks.rows import DataError, Loaded, RowError, load_rows, need, need_query, prompt_cluster
from rrmlib.comparison import CHOICES, CandidateSet, Comparison, Item, Message, ask
from rrmlib.judgment import Judgment

LAYOUT = "a .jsonl file of rows {id, query, first, second, label} and optionally subset, difficulty, source, cluster"
_OPTIONAL = ("subset", "difficulty", "source", "cluster")


def _parse(row: Any, path: Path, line: int) -> Sequence[Item]:
    query = need_query(row, "query")
    for name in row:
        if name not in ("id", "query", "first", "second", "label", *_OPTIONAL):
            raise RowError(name, "unknown field")
    optional = {name: need(row, name, str) for name in _OPTIONAL if name in row}
    return [
        Comparison(
            id=need(row, "id", str),
            query=query,
            first=need(row, "first", str),
            second=need(row, "second", str),
            label=need(row, "label", str, allowed=CHOICES),
            **{"source": path.name, "cluster": prompt_cluster(query), **optional},
        )
    ]


def to_row(item: Item) -> dict[str, Any]:
    """A comparison as a row of such a file. A candidate set has `responses` and `truth` for first, second and label;
    this benchmark does not read those."""
    alone = len(item.query) == 1 and item.query[0].role == "user"
    query = item.query[0].content if alone else [{"role": m.role, "content": m.content} for m in item.query]
    row = {"id": item.id, "query": query} | {name: getattr(item, name) for name in _OPTIONAL}
    if isinstance(item, Comparison):
        return row | {"first": item.first, "second": item.second, "label": item.label}
    return row | {"responses": list(item.responses), "truth": item.truth and list(item.truth)}


def from_row(row: dict[str, Any]) -> Item:
    """The item of `to_row`. For rows of our own; what others wrote is read by `load`."""
    query = ask(row["query"]) if isinstance(row["query"], str) else tuple(Message(**turn) for turn in row["query"])
    if "responses" not in row:
        return Comparison(**row | {"query": query})
    lists = {name: row[name] and tuple(row[name]) for name in ("responses", "truth")}
    return CandidateSet(**row | {"query": query} | lists)


def load(path: str | Path | None = None, *, strict: bool = True) -> Loaded:
    """Comparisons of a file. Raises DataError."""
    if path is None:
        raise DataError(f"benchmark pairs needs --data PATH: {LAYOUT}")
    return load_rows([Path(path)], _parse, strict=strict)


def aggregate(items: Sequence[Item], judgments: Sequence[Judgment], invalid: float | None) -> Aggregate:
    """Plain accuracy: the strata are the subsets, weighted by how many of their comparisons count."""
    credits = pair_credits(items, judgments, invalid, stratum=lambda item: item.subset, equal=0.5)
    pools: dict[str, list[float]] = {}
    for credit in credits:
        if credit.value is not None:
            pools.setdefault(credit.stratum, []).append(credit.value)
    total = sum(len(pool) for pool in pools.values())
    weights = {name: len(pool) / total for name, pool in pools.items()}
    by = {name: rate(pool) for name, pool in pools.items() if name}
    return Aggregate(rate([value for pool in pools.values() for value in pool]), weights, credits, by=by)


BENCHMARK = Benchmark(
    name="pairs",
    title="Own comparisons",
    paper="",
    hub_id="",
    files=LAYOUT,
    invalid=0.0,
    load=load,
    aggregate=aggregate,
    formats=("rrm", "rm_r1", "grm", "direct"),
)
