"""Votes by sums: scores of a list (GRM), probabilities, and a meta RM's choice of samples.

The pool, k, balanced orders, unreadable samples and `Vote` are those of `vote.py`. Here a sample gives every response
a number, a vote adds them up over its k samples, and the highest sum leads. There is no closed form, so subsets of the
pool are gone through: all of them where an item has no more than `draws`, else `draws` random ones, each of k samples
without replacement. `Vote.exact` and `Vote.subsets` say which. `Vote.tie` is the share of votes where several lead: it
falls with k, because a sum of k grades has k times as many values as one grade (2504.02495: "effective range k x").

Scores must be in item order; that the judge saw the responses reshuffled before each sample is the judge's business.
Pairs are lists of two (`pair_scores`, `pair_best`), so a meta RM can guide a majority too.

Source: DeepSeek-GRM (2504.02495, sec. 4): sum of scores, random draw among equal sums, meta RM keeps the best k / 2.

Left out: exact majorities (`vote.py`), how a meta score is made (`train/heads.py`).

    >>> scores = [[[7, 7], [6, 8], [7, 7]]]  # one item, three samples, two responses; the second is better
    >>> best = np.array([[False, True]])
    >>> [round(float(score_sum(scores, best, k).tie[0]), 3) for k in (1, 2, 3)]  # ties fall with k
    [0.667, 0.333, 0.0]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rrmlib.vote import Bools, Floats, Ids, Ints, Vote, check_choices, lot, names_of, order_groups, plans_of

_EQUAL = 1e-9  # two sums closer than this, relative to the larger (or to 1), are a tie and not rounding


@dataclass(frozen=True, eq=False)
class Pick:
    """The response taken for each item: `index`, among `leaders` with the same highest sum, on `votes` samples.

    With no vote at all (`votes` = 0) every response leads, and the draw alone decides.
    """

    index: Ints
    leaders: Ints
    votes: Ints


# --- Sums over subsets ------------------------------------------------------------------------------------------------


def pair_scores(choices: ArrayLike) -> Floats:
    """A pairwise pool as a list of two: [items, samples] choices -> [items, samples, 2] votes (a tie is half and half).

    With `pair_best(labels)` every vote of this module works on pairs: a sum of these scores is a majority.
    """
    pool = check_choices(choices)
    return np.stack([pool, 1 - pool], axis=2)


def pair_best(labels: ArrayLike) -> Bools:
    """Which of the two responses is best: [items] labels 1 or 0 -> [items, 2]. ValueError for a tie or no label."""
    truth = np.asarray(labels, dtype=float)
    if truth.ndim != 1 or not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("labels must be 1 (first) or 0 (second) here: leave out items without a better response")
    return np.stack([truth == 1, truth == 0], axis=1)


def soft(
    p_first: ArrayLike,
    labels: ArrayLike,
    k: int,
    *,
    scale: Literal["probability", "log-odds"] = "probability",
    orders: ArrayLike | None = None,
    ids: Ids | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Vote:
    """The sign of the mean of k probabilities of the first response (against 1/2), or of their log-odds.

    `p_first` [items, samples] in 0..1, in item order, NaN where the engine gave no verdict. The mean of probabilities
    is bounded: one sure sample weighs at most as a vote. Log-odds let it outweigh many, and are cut at 1e-6 from 0
    and 1 (+-13.8) so that a rounded 1.0 is not infinite. Other arguments and errors as `score_sum`.
    """
    p = np.asarray(p_first, dtype=float)
    if p.ndim != 2 or not (((p >= 0) & (p <= 1)) | np.isnan(p)).all():
        raise ValueError(f"p_first must be an array [items, samples] of chances in 0..1 or NaN, found shape {p.shape}")
    if scale not in ("probability", "log-odds"):
        raise ValueError(f"scale must be 'probability' or 'log-odds', not {scale!r}")
    if scale == "log-odds":
        cut = p.clip(1e-6, 1 - 1e-6)
        values = np.stack([np.log(cut) - np.log1p(-cut), np.where(np.isnan(p), np.nan, 0.0)], axis=2)
    else:
        values = np.stack([p, 1 - p], axis=2)
    return score_sum(values, pair_best(labels), k, orders=orders, ids=ids, draws=draws, seed=seed)


def score_sum(
    scores: ArrayLike,
    best: ArrayLike,
    k: int,
    *,
    orders: ArrayLike | None = None,
    ids: Ids | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Vote:
    """The response with the highest sum of scores over k samples (2504.02495, sec. 4).

    `scores` [items, samples, responses] in item order; lists of other lengths make another call. A sample with any
    NaN among its scores casts no vote as a whole: summing what is left of it would favour the responses that could be
    read. `best` [items, responses] marks the best responses (at least one). Sums within 1e-9 of each other are tied.

    Where an item has more than `draws` subsets, `draws` random ones stand for them: drawn once for all items from
    `seed`, with the samples of each item renumbered by a permutation of its own (from `ids` and `seed`; row numbers
    without `ids`), so that no item depends on which others are there and their errors do not add up.
    Raises ValueError for k < 1 or beyond the pool, draws < 1, and wrong shapes or values.
    """
    pool, right = _lists(scores, best)
    return _over_subsets(pool, right, k, np.ones(pool.shape[:2]), None, 0, orders, ids, draws, seed)


def meta_vote(
    scores: ArrayLike,
    best: ArrayLike,
    meta: ArrayLike,
    k: int,
    *,
    keep: int | None = None,
    weighted: bool = False,
    orders: ArrayLike | None = None,
    ids: Ids | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Vote:
    """`score_sum` over the `keep` samples with the highest meta score among the k readable ones (2504.02495, sec. 4).

    `meta` [items, samples] is what the meta RM gives each judgment; NaN only where the sample itself is unreadable.
    Unreadable samples are never kept (the k are paid for all the same); equal meta scores go by sample index. `keep`
    is k_meta, by default k // 2 and at least 1. `weighted`: each kept sample counts by sigmoid(meta), the meta RM's
    own chance that the judgment is right, and by default all k are kept. That weight is ours, not the paper's.
    Raises ValueError as `score_sum`, and for keep < 1 or > k or a readable sample without a meta score.
    """
    pool, right = _lists(scores, best)
    value = np.asarray(meta, dtype=float)
    if value.shape != pool.shape[:2]:
        raise ValueError(f"meta must be [items, samples] = {pool.shape[:2]}, not {value.shape}")
    lost = np.argwhere(~np.isfinite(value) & ~np.isnan(pool).any(axis=2))
    if len(lost):
        raise ValueError(f"row {lost[0][0]}, sample {lost[0][1]}: a readable judgment without a finite meta score")
    kept = (k if weighted else max(1, k // 2)) if keep is None else keep
    if k >= 1 and not 1 <= kept <= k:
        raise ValueError(f"keep must be at least 1 and at most k = {k}, not {kept}")
    weight = 1 / (1 + np.exp(-np.nan_to_num(value).clip(-500, 500))) if weighted else np.ones(value.shape)
    return _over_subsets(pool, right, k, weight, value, kept, orders, ids, draws, seed)


def pick(
    scores: ArrayLike,
    *,
    ids: Ids,
    seed: int,
    meta: ArrayLike | None = None,
    keep: int | None = None,
) -> Pick:
    """The response that the given samples take, all of them: the highest sum, a tie drawn from the item's id and seed.

    Arguments as `score_sum` and `meta_vote` (without `meta` every sample counts); for pairs pass `pair_scores`. The
    draw is uniform among the leaders, the same in every run, and does not depend on other items.
    """
    pool, _ = _lists(scores, None)
    items, samples = pool.shape[:2]
    names = names_of(ids, items)
    read: Bools = np.logical_not(np.isnan(pool).any(axis=2))
    if meta is None and keep is not None:
        raise ValueError("keep needs meta scores to keep by")
    if meta is not None:
        value = np.asarray(meta, dtype=float)
        kept = max(1, samples // 2) if keep is None else keep
        if value.shape != read.shape or not np.isfinite(value[read]).all() or not 1 <= kept <= max(samples, 1):
            raise ValueError(f"meta must be finite, of shape {read.shape}, and keep within 1..{samples}, not {kept}")
        rank = np.argsort(-value, axis=1, kind="stable")
        ranked = np.take_along_axis(read, rank, axis=1)
        np.put_along_axis(read, rank, ranked & (np.cumsum(ranked, axis=1) <= kept), axis=1)
    leaders = _leaders(np.einsum("is,isr->ir", read.astype(float), np.where(read[..., None], pool, 0.0)))
    index = [np.flatnonzero(row)[lot(seed, name) % int(row.sum())] for row, name in zip(leaders, names)]
    return Pick(np.array(index, dtype=np.intp), leaders.sum(axis=1), read.sum(axis=1))


# --- Inside -----------------------------------------------------------------------------------------------------------


def _lists(scores: ArrayLike, best: ArrayLike | None) -> tuple[Floats, Bools]:
    pool = np.asarray(scores, dtype=float)
    if pool.ndim != 3 or np.isinf(pool).any():
        raise ValueError(f"scores must be finite or NaN, [items, samples, responses], not of shape {pool.shape}")
    if pool.shape[2] < 1 and len(pool):
        raise ValueError("lists without responses have no best one")
    if best is None:
        return pool, np.zeros((len(pool), pool.shape[2]), dtype=bool)
    right = np.asarray(best)
    if right.shape != (len(pool), pool.shape[2]) or right.dtype != bool:
        raise ValueError(f"best must be true or false, [items, responses] = {(len(pool), pool.shape[2])}")
    if (without := np.flatnonzero(~right.any(axis=1))).size:
        raise ValueError(f"row {without[0]}: no response is marked best; leave out items whose truth is unknown")
    return pool, right


def _over_subsets(
    pool: Floats,
    best: Bools,
    k: int,
    weight: Floats,
    meta: Floats | None,
    keep: int,
    orders: ArrayLike | None,
    ids: Ids | None,
    draws: int,
    seed: int,
) -> Vote:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    items, samples, _ = pool.shape
    groups = np.stack(order_groups((items, samples), orders))  # [groups, items, samples]
    plans = plans_of(groups.sum(axis=2), k)
    names = names_of(ids, items)
    read: Bools = np.logical_not(np.isnan(pool).any(axis=2))
    filled = np.where(read[..., None], pool, 0.0)
    out, most, exact = np.zeros((4, items)), 0, True
    for i in range(items):
        parts = [(share[i], taken) for share, taken in plans if share[i]]
        sizes = tuple(int(n) for n in groups[:, i].sum(axis=1))
        columns = [np.flatnonzero(g) for g in groups[:, i]]
        total = sum(math.prod(math.comb(m, n) for m, n in zip(sizes, taken)) for _, taken in parts)
        if total > draws:
            rng = np.random.default_rng(lot(seed, names[i]))
            columns = [rng.permutation(c) for c in columns]
        place = np.concatenate(columns)
        for share, taken in parts:
            block = _subsets(sizes, taken, None if total <= draws else -(-draws // len(parts)), seed)
            member = np.zeros((len(block), samples), dtype=bool)
            member[:, place] = block
            out[:, i] += share * _outcomes(member & read[i], weight[i], filled[i], best[i], meta, keep, i)
        most, exact = max(most, min(total, draws)), exact and total <= draws
    right, fair, tie, unread = out
    return Vote(k, right, fair, tie, unread, most, exact)


def _outcomes(
    member: Bools, weight: Floats, scores: Floats, best: Bools, meta: Floats | None, keep: int, i: int
) -> Floats:
    """Means over subsets (rows of `member`, readable samples only) of right, fair, tie and unread."""
    if meta is not None:
        rank = np.argsort(-meta[i], kind="stable")  # NaN last: unreadable, so never a member
        ranked = member[:, rank]
        member = np.empty_like(member)
        member[:, rank] = ranked & (np.cumsum(ranked, axis=1) <= keep)
    voted = member.any(axis=1)
    each = member * weight  # over the largest: weights that are all tiny say as much as any, and are no tie
    lead = _leaders((each / np.where(voted, each.max(axis=1, initial=0.0), 1.0)[:, None]) @ scores)
    hits, leaders = (lead & best).sum(axis=1), lead.sum(axis=1)
    columns = np.stack([hits == leaders, hits / leaders, leaders > 1, np.ones(len(lead))])
    return np.append((columns * voted)[:3].mean(axis=1), 1 - voted.mean())


def _leaders(totals: Floats) -> Bools:
    top = totals.max(axis=1, keepdims=True, initial=-np.inf)
    return totals >= top - _EQUAL * np.maximum(1.0, np.abs(top))


@lru_cache(maxsize=32)
def _subsets(sizes: tuple[int, ...], taken: tuple[int, ...], draws: int | None, seed: int) -> Bools:
    """Members [subsets, samples] of all subsets (draws None) or of `draws` random ones; groups stand side by side."""
    blocks = []
    for g, (m, n) in enumerate(zip(sizes, taken)):
        if draws is None:
            chosen = np.array(list(combinations(range(m), n)), dtype=np.intp).reshape(math.comb(m, n), n)
        else:
            rng = np.random.default_rng([seed, g, m, n, draws])
            chosen = rng.random((draws, m)).argsort(axis=1)[:, :n]
        block = np.zeros((len(chosen), m), dtype=bool)
        np.put_along_axis(block, chosen, True, axis=1)
        blocks.append(block)
    if draws is None and len(blocks) == 2:
        one, two = blocks
        blocks = [np.repeat(one, len(two), axis=0), np.tile(two, (len(one), 1))]
    return np.concatenate(blocks, axis=1)
