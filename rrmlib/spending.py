"""What adaptive voting costs: stopping rules and token budgets replayed on a stored pool, against the full vote.

`choices` [items, samples] are a pool in item order (`vote.py`), `tokens` of the same shape what each sample cost (by
default 1: the cost is then in votes). `sequence` decides in which order the samples of an item are asked for: the two
orders in turn, so that every even number of votes is balanced, in the stored order or in seeded random ones. `replay`
plays a rule of `stopping.py` round by round, as an engine would be asked; `compare` averages that over several seeded
sequences and sets it against the full vote of k_max on the same samples, paired by item.

A fixed BUDGET is spread instead by `next_votes`: each round, one more vote for the items whose leader is least sure
(posterior chance of the leader's side closest to 1/2; an item without votes is at 1/2), or for those with the fewest
votes (`by="uniform"`, what fixed k does). What a vote costs is not known before it is asked for, so it is expected to
cost what the item's votes have cost so far (without any: the mean of all), and a round holds what the rest of the
budget then pays for. It may come out dearer: `Run.cost` says what was spent. A judge that tosses a coin on an item
would take votes for ever: `k_max` ends that.

Left out: the rules (`stopping.py`), exact votes at a fixed k (`vote.py`), asking an engine.

    >>> from rrmlib.stopping import certain
    >>> run = replay(certain(5), [[1, 1, 1, 0, 0], [1, 0, 1, 0, 1]])
    >>> run.used.tolist(), run.verdict.tolist(), run.rounds
    ([3, 5], [1.0, 1.0], 3)
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc

from rrmlib.stats import Difference, Estimate, clustered_mean, paired_difference
from rrmlib.stopping import Rule, next_asks, settle
from rrmlib.vote import Bools, Floats, Ids, Ints, Unread, check_choices, lot, names_of, worth

By = Literal["uncertainty", "uniform"]


@dataclass(frozen=True, eq=False)
class Run:
    """One pass over all items, arrays of shape [items].

    `verdict` 1 first, 0 second, 0.5 a tie, NaN where no vote could be read; it rests on the first `used` votes. `asked`
    votes were paid for, at `cost` together. `boundary`: stopped at the rule's own boundary (elsewhere the verdict is
    the full vote's). `rounds` is how often the engine was asked.
    """

    verdict: Floats
    used: Ints
    asked: Ints
    cost: Floats
    boundary: Bools
    rounds: int

    def credit(self, labels: ArrayLike, unread: Unread = "wrong") -> Floats:
        """Credit per item, as `vote.Vote.credit`: a tied verdict earns half, no verdict what the rule says."""
        return worth(_earned(self.verdict, _labels(labels, len(self.verdict))), np.isnan(self.verdict) * 1.0, unread)


@dataclass(frozen=True)
class Saving:
    """A rule against the full vote, both on the same sequences of the same pool, averaged over `sequences` per item.

    `stopped` and `full` are accuracies, `difference` is stopped - full (paired by item, clustered). `differs` is the
    share of items with another verdict than the full vote's, ties and the unreadable included as verdicts of their
    own. `cost` and `full_cost` are means per item, `share` their ratio; `votes` were used and `asked` paid for.
    """

    stopped: Estimate
    full: Estimate
    difference: Difference
    differs: Estimate
    cost: float
    full_cost: float
    votes: float
    asked: float
    rounds: float
    sequences: int

    @property
    def share(self) -> float:
        return self.cost / self.full_cost if self.full_cost else float("nan")


def sequence(
    shape: tuple[int, int], orders: ArrayLike | None = None, *, ids: Ids | None = None, seed: int | None = None
) -> Ints:
    """In which order the samples of each item are asked for: columns [items, samples] for `np.take_along_axis`.

    With `orders` (0 = AB, 1 = BA; per sample, or per item and sample) AB and BA take turns. Without a seed samples come
    as stored and AB first. With a seed (and ids, by default row numbers) each item's samples are shuffled and a coin
    says which order begins. Raises ValueError where an item has both orders and their numbers differ by more than 1.
    """
    items = shape[0]
    order = np.zeros(shape, dtype=int) if orders is None else np.asarray(orders)
    if order.shape not in (shape, shape[1:]) or not np.isin(order, (0, 1)).all():
        raise ValueError(f"orders must be 0 (AB) or 1 (BA), of shape {shape} or {shape[1:]}, not {order.shape}")
    order = np.broadcast_to(order, shape)
    names = names_of(ids, items)
    out = np.empty(shape, dtype=np.intp)
    for i, row in enumerate(order):
        sides = [np.flatnonzero(row == 0), np.flatnonzero(row == 1)]
        if seed is not None:
            rng = np.random.default_rng(lot("sequence", seed, names[i]))
            sides = [rng.permutation(side) for side in sides]
            sides = sides[::-1] if rng.random() < 0.5 else sides
        if len(sides[0]) < len(sides[1]):
            sides = sides[::-1]
        if len(sides[1]) and len(sides[0]) - len(sides[1]) > 1:
            there = f"{np.sum(row == 0)} AB and {np.sum(row == 1)} BA"
            raise ValueError(f"item in row {i} has {there} samples: they cannot take turns; pass as many of each")
        if len(sides[1]):
            out[i, 0::2], out[i, 1::2] = sides
        else:
            out[i] = sides[0]
    return out


# --- Stopping rules ---------------------------------------------------------------------------------------------------


def replay(rule: Rule, choices: ArrayLike, tokens: ArrayLike | None = None, *, batch: int = 1) -> Run:
    """A rule on a stored pool, in the order of the columns: ask, look, ask again, until every item has stopped.

    `batch` is the least number of votes an item is asked for at once (`next_asks`): it changes cost and rounds, never
    a verdict. Raises ValueError for a pool of fewer than k_max samples, and for unknown or negative tokens.
    """
    votes = check_choices(choices)
    if votes.shape[1] < rule.k_max:
        raise ValueError(f"{rule.name} may need k_max = {rule.k_max} votes, the pool has {votes.shape[1]} samples")
    price = _prices(tokens, votes)
    asked, rounds = np.zeros(len(votes), dtype=np.intp), 0
    while (asks := next_asks(rule, votes, asked, batch=batch)).any():
        asked, rounds = asked + asks, rounds + 1
    done = settle(rule, votes, asked)
    return Run(done.verdict, done.used, asked, _paid(price, asked), done.boundary, rounds)


def compare(
    rule: Rule,
    choices: ArrayLike,
    labels: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    *,
    tokens: ArrayLike | None = None,
    orders: ArrayLike | None = None,
    ids: Ids | None = None,
    seeds: Sequence[int] = tuple(range(20)),
    batch: int = 1,
    unread: Unread = "wrong",
) -> Saving:
    """Accuracy and cost of a rule against the full vote of k_max, over one seeded `sequence` per seed.

    `labels` as in `vote.majority` (an item without a label counts in the costs and `differs` only). Raises ValueError
    as `replay` and `sequence`, and without a seed.
    """
    votes = check_choices(choices)
    truth, price = _labels(labels, len(votes)), _prices(tokens, votes)
    if not len(seeds):
        raise ValueError("compare needs at least one seed")
    sums = np.zeros((9, len(votes)))
    rounds = 0
    for seed in seeds:
        order = sequence(votes.shape, orders, ids=ids, seed=seed)
        mine, paid = np.take_along_axis(votes, order, 1), np.take_along_axis(price, order, 1)
        run = replay(rule, mine, paid, batch=batch)
        whole = majority(mine[:, : rule.k_max])
        same = (run.verdict == whole) | (np.isnan(run.verdict) & np.isnan(whole))
        full_cost = paid[:, : rule.k_max].sum(axis=1)
        earned = [_earned(v, truth) for v in (run.verdict, whole)]
        sums += [*earned, np.isnan(run.verdict), np.isnan(whole), ~same, run.cost, full_cost, run.used, run.asked]
        rounds += run.rounds
    a, b, none_a, none_b, differs, cost, full_cost, used, asked = sums / len(seeds)
    stopped, full = worth(a, none_a, unread), worth(b, none_b, unread)
    return Saving(
        stopped=clustered_mean(stopped, clusters),
        full=clustered_mean(full, clusters),
        difference=paired_difference(stopped, full, clusters),
        differs=clustered_mean(differs, clusters),
        cost=_mean(cost),
        full_cost=_mean(full_cost),
        votes=_mean(used),
        asked=_mean(asked),
        rounds=rounds / len(seeds),
        sequences=len(seeds),
    )


# --- A fixed budget ---------------------------------------------------------------------------------------------------


def next_votes(
    choices: ArrayLike,
    asked: ArrayLike,
    width: int,
    *,
    k_max: int,
    left: float = math.inf,
    price: ArrayLike = 1.0,
    by: By = "uncertainty",
    prior: float = 1.0,
    ids: Ids | None = None,
    seed: int = 0,
) -> Ints:
    """Which items get one more vote now, 0 or 1 each: at most `width`, and only as many as `left` pays for.

    In order of need, by="uncertainty": the posterior chance of the leader's side, under Beta(prior, prior), closest to
    1/2; then the fewest votes; then a draw from id and seed. by="uniform": fewest votes, then the draw. Items that have
    k_max votes get none. `price` is the expected cost of the next vote (one number or one per item). `choices` and
    `asked` as in `stopping.settle`; a pure function of the votes so far.
    Raises ValueError for width < 0, left < 0, k_max < 1, prior <= 0, price <= 0.
    """
    pool, there = check_choices(choices), np.asarray(asked)
    cost = np.broadcast_to(np.asarray(price, dtype=float), len(pool))
    if width < 0 or k_max < 1 or not left >= 0 or prior <= 0 or not (cost > 0).all():
        raise ValueError(f"need width, left >= 0, k_max >= 1, prior, price > 0, not {width}, {left}, {k_max}, {prior}")
    if by not in ("uncertainty", "uniform"):
        raise ValueError(f"by must be 'uncertainty' or 'uniform', not {by!r}")
    if there.shape != (len(pool),) or (there < 0).any() or (there > pool.shape[1]).any():
        raise ValueError(f"asked must lie in 0..{pool.shape[1]}, one per item")
    seen = np.arange(pool.shape[1]) < there[:, None]
    first, second = ((pool == 1) & seen).sum(axis=1), ((pool == 0) & seen).sum(axis=1)
    sure = np.zeros(len(pool))
    if by == "uncertainty":
        sure = 1 - betainc(prior + np.maximum(first, second), prior + np.minimum(first, second), 0.5)
    drawn = np.array([lot("sequence", seed, name) >> 64 for name in names_of(ids, len(pool))], dtype=np.uint64)
    rank = np.lexsort((drawn, there, np.round(sure, 12)))  # rounded: 3 to 1 and 1 to 3 are equally sure
    rank = rank[there[rank] < k_max][:width]
    asks = np.zeros(len(pool), dtype=np.intp)
    asks[rank[np.cumsum(cost[rank]) <= left + 1e-9]] = 1
    return asks


def spread(
    choices: ArrayLike,
    budget: float,
    tokens: ArrayLike | None = None,
    *,
    per_vote: float = 1.0,
    width: int,
    k_max: int,
    by: By = "uncertainty",
    prior: float = 1.0,
    ids: Ids | None = None,
    seed: int = 0,
) -> Run:
    """A budget on a stored pool: rounds of at most `width` votes by `next_votes`, until it is used up.

    `per_vote` is what a vote is expected to cost before any was seen. The verdict is the majority of what an item got.
    Raises ValueError for a negative budget, per_vote <= 0, width < 1, or k_max beyond the pool.
    """
    pool = check_choices(choices)
    price = _prices(tokens, pool)
    if not budget >= 0 or per_vote <= 0 or width < 1:
        raise ValueError(f"need budget >= 0, per_vote > 0 and width >= 1, not {budget}, {per_vote} and {width}")
    if k_max > pool.shape[1]:
        raise ValueError(f"k_max = {k_max} votes, the pool has {pool.shape[1]} samples")
    asked, rounds, left = np.zeros(len(pool), dtype=np.intp), 0, float(budget)
    own = np.full(len(pool), float(per_vote))
    while True:
        asks = next_votes(
            pool, asked, width, k_max=k_max, left=max(left, 0.0), price=own, by=by, prior=prior, ids=ids, seed=seed
        )
        if not asks.any():
            break
        asked, rounds = asked + asks, rounds + 1
        paid = _paid(price, asked)
        left = budget - float(paid.sum())
        own = expected_price(paid, asked, per_vote)
    seen = np.where(np.arange(pool.shape[1]) < asked[:, None], pool, np.nan)
    return Run(majority(seen), asked, asked, _paid(price, asked), np.zeros(len(pool), dtype=bool), rounds)


# --- Inside -----------------------------------------------------------------------------------------------------------


def expected_price(paid: Floats, asked: Ints, per_vote: float) -> Floats:
    """What the next vote of each item should cost: the mean of its own so far, else of all, else `per_vote`."""
    rest = paid.sum() / asked.sum() if asked.sum() else 0.0
    return np.where(paid > 0, paid / np.maximum(asked, 1), rest or per_vote)


def majority(votes: Floats) -> Floats:
    """1, 0, or 0.5 for a tie, of the votes [items, votes] that could be read; NaN where none could."""
    lead = (votes == 1).sum(axis=1) - (votes == 0).sum(axis=1)
    return np.where(np.isnan(votes).all(axis=1), np.nan, 0.5 + 0.5 * np.sign(lead))


def _earned(verdict: Floats, labels: Floats) -> Floats:
    """1 for the label, 0.5 for a tie where the label is none, 0 for the other and for no verdict; NaN: no label."""
    earned = np.where(verdict == labels, 1.0, np.where((verdict == 0.5) & (labels != 0.5), 0.5, 0.0))
    return np.where(np.isnan(labels), np.nan, earned)


def _labels(labels: ArrayLike, items: int) -> Floats:
    truth = np.asarray(labels, dtype=float)
    if truth.shape != (items,) or not (np.isin(truth, (0.0, 0.5, 1.0)) | np.isnan(truth)).all():
        raise ValueError(f"labels must be 1, 0, 0.5 or NaN, one per item: {truth.shape} for {items} items")
    return truth


def _prices(tokens: ArrayLike | None, votes: Floats) -> Floats:
    price = np.ones(votes.shape) if tokens is None else np.asarray(tokens, dtype=float)
    if price.shape != votes.shape:
        raise ValueError(f"tokens must have the shape of choices, {votes.shape}, not {price.shape}")
    if not (np.isfinite(price) & (price >= 0)).all():
        i, j = np.argwhere(~(np.isfinite(price) & (price >= 0)))[0]
        raise ValueError(f"row {i}, sample {j}: {price[i, j]} tokens; -1 is an unknown number, which has no cost")
    return price


def _paid(price: Floats, asked: Ints) -> Floats:
    return (price * (np.arange(price.shape[1]) < asked[:, None])).sum(axis=1)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
