"""What a recorded source gives that is no benchmark: candidate sets with sampled scores, and matches between names.

Such a source has no truth to be right about (or no judge of its own), so it has no official accuracy and is not in
`benchmarks.NAMES`. Its items and judgments are the same objects as everywhere; votes take `Source.scores`, ratings the
arrays of `Matches`.

Responses that a judge rated one by one, in calls of their own, become one judgment of the set per sample, as our own
judges of kind "single" store theirs: `Scores` with one value per response, NaN for one that was not read, and as text
the JSON list of {text, finish, error}. No response was shown before another, so the order is that of the item. Which
k-th calls make up sample k is the file's numbering and means nothing: sums and means over samples do not depend on it.

Left out: votes (`vote.py`), ratings (`rating.py`), official rules (each benchmark's file).

    >>> games = pairwise([[7.0, 5.0], [4.0, 4.0]], ("x", "y"), ["q1", "q2"])
    >>> games.score.tolist(), games.tally("x", "y")
    ([1.0, 0.5], (1, 1, 0))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrmlib.benchmarks.credit import from_source
from rrmlib.benchmarks.rows import Problem
from rrmlib.comparison import CandidateSet, Order
from rrmlib.judgment import Judgment, Reading, Scores


@dataclass(frozen=True)
class Source:
    """Candidate sets and the judgments of one judge. `names[i]` wrote response i of every set; () where they have no
    names. `notes` name what was kept although the file contradicts itself there."""

    items: tuple[CandidateSet, ...]
    judgments: tuple[Judgment, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[Problem, ...] = ()

    @property
    def scores(self) -> NDArray[np.float64]:
        """Shape (items, samples, responses), in item order, NaN where nothing was read.

        Raises ValueError where the sets differ in size, or an item was not judged.
        """
        sizes = {len(item.responses) for item in self.items}
        if len(sizes) != 1:
            raise ValueError(f"sets of {sorted(sizes)} responses make no one array")
        row = {item.id: k for k, item in enumerate(self.items)}
        samples = 1 + max((j.sample for j in self.judgments), default=-1)
        table = np.full((len(row), samples, *sizes), np.nan)
        for j in self.judgments:
            value = j.in_item_order().value
            if isinstance(value, Scores) and value.values:
                table[row[j.item], j.sample] = value.values
        if missing := set(row) - {j.item for j in self.judgments}:
            raise ValueError(f"{len(missing)} of {len(row)} items were not judged, for example {min(missing)!r}")
        return table


def rated(item: str, judge: str, texts: Sequence[str], readings: Sequence[Reading], *, sample: int = 0) -> Judgment:
    """One sample of a judge that rated every response alone, in item order."""
    parts = [{"text": text, "finish": "", "error": ""} for text in texts]
    order = Order(tuple(range(len(parts))))
    text = json.dumps(parts, ensure_ascii=False)
    return from_source(item, order, judge, text, Reading.joined(readings), sample=sample)


@dataclass(frozen=True, eq=False)
class Matches:
    """Games between `names`, as ratings take them: one row per game, all arrays of shape (games,). For example
    `rating.bradley_terry(len(m.names), m.first, m.second, m.score, m.votes, position=m.placed, clusters=m.cluster)`.

    `first` and `second` are indices into `names`; `score` is 1 where the first won, 0.5 a tie, 0 where the second won,
    NaN where nothing could be read; `votes` how many games the source counts the row as; `cluster` the question.
    `placed` tells whether `first` was shown first: if not, the two columns are only a convention, and an estimated
    preference for the first position would mean nothing.
    """

    names: tuple[str, ...]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    score: NDArray[np.float64]
    votes: NDArray[np.int64]
    cluster: NDArray[np.str_]
    placed: bool

    @classmethod
    def of(cls, names: Sequence[str], rows: Sequence[tuple[Any, ...]], *, placed: bool) -> Matches:
        """From rows (first, second, score, votes, cluster)."""
        columns = list(zip(*rows)) or [()] * 5
        return cls(
            names=tuple(names),
            first=np.array(columns[0], dtype=np.int64),
            second=np.array(columns[1], dtype=np.int64),
            score=np.array(columns[2], dtype=np.float64),
            votes=np.array(columns[3], dtype=np.int64),
            cluster=np.array(columns[4], dtype=np.str_),
            placed=placed,
        )

    def tally(self, a: str, b: str) -> tuple[int, int, int]:
        """(won by a, ties, won by b) between two names, in votes, whoever of them is `first`.

        Raises ValueError for an unknown name.
        """
        x, y = self.names.index(a), self.names.index(b)
        ours, theirs = (self.first == x) & (self.second == y), (self.first == y) & (self.second == x)
        score = np.where(ours, self.score, 1 - self.score)
        won, tied, lost = (int(self.votes[(ours | theirs) & (score == s)].sum()) for s in (1.0, 0.5, 0.0))
        return won, tied, lost


def pairwise(scores: ArrayLike, names: Sequence[str], clusters: Sequence[str]) -> Matches:
    """Scores of shape (questions, names) as matches: on every question each pair of names plays once.

    The higher score wins, equal ones tie; where one of the two is NaN the score is NaN. Nobody was shown first: the
    name that comes earlier in `names` is `first`. Raises ValueError where the shapes do not fit.
    """
    table = np.asarray(scores, dtype=float)
    if table.shape != (len(clusters), len(names)):
        raise ValueError(f"scores of shape {table.shape} for {len(clusters)} questions and {len(names)} names")
    rows = []
    for question, cluster in zip(table, clusters):
        for a, b in combinations(range(len(names)), 2):
            margin = question[a] - question[b]
            rows.append((a, b, 0.5 + 0.5 * np.sign(margin), 1, cluster))
    return Matches.of(names, rows, placed=False)
