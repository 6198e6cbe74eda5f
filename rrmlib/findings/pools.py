"""Pools: all that one sampled judge said on the same comparisons, as arrays in item order.

A pool has one row per item and one column per judgment: sample 0 in AB, sample 0 in BA, sample 1 in AB, and so on
(`orders` says which). Any number of votes is then read off it (`vote.py`, `stopping.py`), and no model is asked again.
An unreadable judgment is NaN: it costs its tokens and casts no vote.

Left out: lists of more than two responses, tables (`scaling.py`).

    one = pool(load("laptop"), "rrm-s.pool")
    majority(one.choices, one.labels, 16, orders=one.orders).credit()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rrmlib.budget import lead
from rrmlib.comparison import Comparison, Item, Order
from rrmlib.engines.base import Engine, Request, Sampling, digest
from rrmlib.findings.judgments import section_of
from rrmlib.findings.models import meta_scores
from rrmlib.judgment import Judgment, Scores
from rrmlib.lab import Lab, items, judged
from rrmlib.params import ParameterError
from rrmlib.prompt import Prompt
from rrmlib.score import CHOICE_VALUE

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pool:
    """`choices` [items, samples] are 1 (first), 0 (second), 0.5 (tie) or NaN; `scores` [items, samples, 2] or None.

    `labels` [items] likewise, NaN where there is none; `tokens` [items, samples]; `orders` [samples], 0 AB and 1 BA.
    `units` has a row per item: item, cluster, section, difficulty (0: none stated). `said[i][j]` is the judgment of
    that place.
    """

    judge: str
    units: pd.DataFrame
    labels: Floats
    orders: NDArray[np.intp]
    choices: Floats
    scores: Floats | None
    tokens: Floats
    said: tuple[tuple[Judgment, ...], ...]

    def __len__(self) -> int:
        return len(self.units)

    @property
    def best(self) -> NDArray[np.bool_]:
        """[items, 2]: which response is the better one. Raises ValueError where an item has no better one."""
        if not np.isin(self.labels, (0.0, 1.0)).all():
            raise ValueError(f"judge {self.judge!r}: items without a better response; leave them out first")
        return np.stack([self.labels == 1, self.labels == 0], axis=1)

    def at(self, keep: Sequence[int] | NDArray[np.intp]) -> Pool:
        """The pool of some of its items."""
        rows = np.asarray(keep, dtype=np.intp)
        return replace(
            self,
            units=self.units.iloc[rows].reset_index(drop=True),
            labels=self.labels[rows],
            choices=self.choices[rows],
            scores=None if self.scores is None else self.scores[rows],
            tokens=self.tokens[rows],
            said=tuple(self.said[i] for i in rows),
        )


def pool(lab: Lab, name: str) -> Pool:
    """What judge `name` of lab.yaml said, as a pool. Raises ParameterError where it has not judged."""
    return of(items(lab, lab.judge(name).split), judged(lab, name), name)


def of(shown: Sequence[Item], said: Sequence[Judgment], judge: str = "") -> Pool:
    """The pool of these judgments; items that were not judged are left out.

    Raises ValueError where items were judged in different places (order, sample): a pool has the same of each.
    """
    known = {item.id: item for item in shown if isinstance(item, Comparison)}
    by: dict[str, dict[tuple[int, str], Judgment]] = {}
    for j in said:
        if j.item in known:
            by.setdefault(j.item, {})[j.sample, str(j.order)] = j
    if not by:
        raise ParameterError(f"judge {judge!r} has judged none of these comparisons")
    places = sorted(next(iter(by.values())))
    uneven = [item for item, there in by.items() if sorted(there) != places]
    if uneven:
        raise ValueError(
            f"judge {judge!r}: {len(uneven)} items were judged at other samples or orders than {next(iter(by))!r} "
            f"(first: {uneven[0]!r}): judge them again"
        )
    kept = [known[item] for item in known if item in by]
    rows = tuple(tuple(by[item.id][place] for place in places) for item in kept)
    readings = [[j.in_item_order() for j in row] for row in rows]
    choices = [[CHOICE_VALUE[r.verdict.choice] if r.verdict else np.nan for r in row] for row in readings]
    scored = any(isinstance(r.value, Scores) for row in readings for r in row)
    both = [[r.value.values if isinstance(r.value, Scores) else (np.nan, np.nan) for r in row] for row in readings]
    return Pool(
        judge=judge,
        units=pd.DataFrame(
            {
                "item": [item.id for item in kept],
                "cluster": [item.cluster or item.id for item in kept],
                "section": [section_of(item) for item in kept],
                "difficulty": [int(item.difficulty) if item.difficulty.isdecimal() else 0 for item in kept],
            }
        ),
        labels=np.array([CHOICE_VALUE.get(item.label or "", np.nan) for item in kept]),
        orders=np.array([int(order == str(Order.BA)) for _, order in places], dtype=np.intp),
        choices=np.array(choices, dtype=float),
        scores=np.array(both, dtype=float) if scored else None,
        tokens=np.array([[max(0, j.tokens) for j in row] for row in rows], dtype=float),
        said=rows,
    )


def fingerprint(*pools: Pool) -> str:
    """sha256 of every judgment of these pools and of what is right: it goes beside each figure."""
    return digest(
        "pools", [[[one.judge, *map(str, one.labels)], [[j.text for j in row] for row in one.said]] for one in pools]
    )


def meta(lab: Lab, model: str, one: Pool, limit: int = 0) -> Floats:
    """[items, samples]: what meta RM `model` gives the judgments of a pool, NaN where there is no text.

    Scores are kept in the profile's store. Raises ParameterError where a judge or model is not there.
    """
    table = meta_scores(lab, model, one.judge, limit=limit)
    given = {(r.item, r.order, r.sample): r.score for r in table.itertuples()}
    return np.array([[given.get((j.item, str(j.order), j.sample), np.nan) for j in row] for row in one.said])


def soft(one: Pool, engine: Engine, prompt: Prompt, shown: Sequence[Item]) -> Floats:
    """[items, samples]: the chance that the verdict's token says "first", given what the judgment said before it.

    P(first) / (P(first) + P(second)) at temperature 1, in item order; NaN where the verdict could not be read.
    Formats with a two-way verdict only. Raises ValueError for others, Unsupported where the engine cannot score.
    """
    before, _ = lead(prompt.parser)
    sides = {"rrm": (" 1", " 2"), "rm_r1": ("A", "B"), "direct": ("A", "B")}.get(prompt.parser)
    if sides is None:
        raise ValueError(f"parser {prompt.parser!r} has no two-way verdict whose chances could be told")
    known = {item.id: item for item in shown}
    places, requests = [], []
    for i, row in enumerate(one.said):
        for k, j in enumerate(row):
            at = j.text.rfind(before)
            if np.isnan(one.choices[i, k]) or at < 0:
                continue
            places.append((i, k))
            requests.append(
                Request(
                    messages=prompt.messages(known[j.item], j.order),
                    sampling=Sampling(1),
                    prefill=j.text[: at + len(before)],
                )
            )
    first, second = (engine.score(requests, [side] * len(requests)) for side in sides)
    out = np.full(one.choices.shape, np.nan)
    for (i, k), a, b in zip(places, first, second):
        p = 1 / (1 + np.exp(np.clip(b.logprob - a.logprob, -500, 500)))
        out[i, k] = p if one.orders[k] == 0 else 1 - p
    return out
