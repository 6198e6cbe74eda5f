"""Votes: what k samples of a judge say together, for any k up to the size of one stored pool.

A POOL is what one judge said on many items, in ITEM order (`Judgment.in_item_order()`): an array [items, samples] of
choices (1 the item's first response, 0 its second, 0.5 a declared tie) or of chances of the first, or an array
[items, samples, responses] of scores. NaN is a sample that could not be read: it costs as much as any other, casts no
vote, and shows in `Vote.unread`.

| vote                         | function              | chances over the subsets of size k                |
|------------------------------|-----------------------|---------------------------------------------------|
| majority                     | `majority`            | exact for every k (multivariate hypergeometric)   |
| soft (verdict probabilities) | `vote_sums.soft`      | all subsets where there are few, else random ones |
| sum of scores (GRM)          | `vote_sums.score_sum` | the same                                          |
| guided by a meta RM          | `vote_sums.meta_vote` | the same                                          |

**k** is the number of samples that an item is charged for, in all orders together. Without `orders` any k samples of
the pool make a subset. With `orders` (0 = AB, 1 = BA, per sample or per item and sample) the vote is BALANCED: k / 2 of
each order; of an odd k the last one falls in either order, with equal chance where both have one left. So k = 1 is the
mean single sample and k = all samples is the plain vote. For one order only, pass its columns.

**Majority**: the response with more votes; a declared tie is half a vote for each, so it never decides. The vote is a
tie where both have as many. In accuracy a tie between leaders earns what a fair draw among them would (1/2 in a pair,
1/leaders in a list with one best response); `Vote.credit(ties="wrong")` is the strict rule of `is_right`. Where one
response must be taken, `pick` draws it from the item's id and a seed.

**What the subsets are for**: a pool of m samples holds C(m, k) votes of k; one of them is luck, their mean is not.
`Vote.credit()` is that mean per item, ready for `stats.clustered_mean` and `stats.paired_difference`.

Source: voting in RRM (2505.14674). Papers do not say what an even k does with a tie, nor what an unreadable sample is
worth: both are declared here.

Left out: sums (`vote_sums.py`), stopping early (`stopping.py`), intervals (`stats.py`).

    >>> vote = majority([[1.0, 1.0, 1.0, 0.0, 0.0]], [1.0], 3)  # 3 of 5 samples are right
    >>> float(vote.credit()[0])  # of the 10 subsets of 3, one has three right and six have two
    0.7
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
Ids = Sequence[Hashable] | NDArray[Any]
Unread = Literal["wrong", "half", "excluded"]

_LARGEST = 1000  # samples of a pool: beyond it C(m, k) leaves the range of a float


@dataclass(frozen=True, eq=False)
class Vote:
    """What votes of `k` samples make of each item: chances over the subsets of its pool, arrays of shape [items].

    `right`: the leader is the label (in a list: every leader is a best response). `fair`: the same, and a tie earns
    the share of best responses among its leaders. `tie`: several lead. `unread`: none of the k samples could be read
    (then there is no leader; such subsets count in none of the other three). `subsets` were evaluated per item, 0
    for a closed form; `exact` says whether they were all there are.
    """

    k: int
    right: Floats
    fair: Floats
    tie: Floats
    unread: Floats
    subsets: int
    exact: bool

    def credit(self, unread: Unread = "wrong", *, ties: Literal["fair", "wrong"] = "fair") -> Floats:
        """Expected credit per item in 0..1, under one of the three rules of docs/definitions.md for the unreadable.

        "excluded": given that the vote could be read; NaN where it never can be.
        """
        if ties not in ("fair", "wrong"):
            raise ValueError(f"ties must be 'fair' or 'wrong', not {ties!r}")
        return worth(self.fair if ties == "fair" else self.right, self.unread, unread)

    @property
    def coverage(self) -> Floats:
        """The chance that a vote could be read, per item."""
        return 1 - self.unread


def worth(earned: Floats, unread: Floats, rule: Unread) -> Floats:
    """Credit where a share `unread` of the cases earned nothing because nothing could be read."""
    if rule not in ("wrong", "half", "excluded"):
        raise ValueError(f"unread must be 'wrong', 'half' or 'excluded', not {rule!r}")
    if rule == "excluded":
        read = 1 - unread
        return np.divide(earned, read, out=np.full(earned.shape, np.nan), where=read > 1e-9).clip(0, 1)
    return earned + (0.5 * unread if rule == "half" else 0.0)


def names_of(ids: Ids | None, items: int) -> list[Hashable]:
    """The items' names, row numbers where there are none. Raises ValueError for another number of them."""
    names = list(range(items) if ids is None else ids)
    if len(names) != items:
        raise ValueError(f"{len(names)} ids for {items} items")
    return names


def lot(*what: object) -> int:
    """128 bits of a hash of what is drawn for (seed, name): no item's lot depends on which others are there."""
    text = "\0".join(map(str, what))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16])


# --- Majority, exact --------------------------------------------------------------------------------------------------


def majority(choices: ArrayLike, labels: ArrayLike, k: int, *, orders: ArrayLike | None = None) -> Vote:
    """The majority of k choices, exactly, over all subsets of k of the pool (balanced where `orders` are given).

    `choices` [items, samples] are 1, 0, 0.5 or NaN, in item order; `labels` [items] are 1 (first), 0 (second), 0.5 (a
    tie: the vote is right where it is one) or NaN (unknown: all chances but `tie` and `unread` are NaN).
    In one order the votes of a subset are multivariate hypergeometric; balanced, the leads of the two orders add up.
    Raises ValueError for a k below 1 or beyond the pool (per order where balanced), and for other values or shapes.
    """
    pool, truth = check_choices(choices), np.asarray(labels, dtype=float)
    if truth.shape != pool.shape[:1] or not (np.isin(truth, (0.0, 0.5, 1.0)) | np.isnan(truth)).all():
        raise ValueError(f"labels must be 1, 0, 0.5 or NaN, one per item: {truth.shape} for {len(pool)} items")
    groups = order_groups(pool.shape, orders)
    counts = np.stack([((pool == 1) & g, (pool == 0) & g, np.isnan(pool) & g, g) for g in groups]).sum(axis=3)
    first, tie, unread = np.zeros((3, len(pool)))
    for share, taken in plans_of(counts[:, 3], k):
        leads = [_lead(c[0], c[1], c[3], n) for c, n in zip(counts, taken)]
        ahead, level = _sum_positive(leads)
        none = np.prod([_choose(c[2], n) / np.maximum(_choose(c[3], n), 1) for c, n in zip(counts, taken)], axis=0)
        first, tie, unread = first + share * ahead, tie + share * (level - none), unread + share * none
    # Chances that are sums of products may round to -1e-17, or to a little more than is left for them.
    tie = np.maximum(tie, 0.0)
    first = np.minimum(first, np.maximum(1 - tie - unread, 0.0))
    second = np.maximum(1 - first - tie - unread, 0.0)
    right = np.select([truth == 1, truth == 0, truth == 0.5], [first, second, tie], np.nan)
    return Vote(k, right, np.where(truth == 0.5, tie, right + tie / 2), tie, unread, 0, True)


def check_choices(choices: ArrayLike) -> Floats:
    pool = np.asarray(choices, dtype=float)
    if pool.ndim != 2:
        raise ValueError(f"choices must be an array [items, samples], not of shape {pool.shape}")
    if not (np.isin(pool, (0.0, 0.5, 1.0)) | np.isnan(pool)).all():
        raise ValueError("choices must be 1 (first), 0 (second), 0.5 (tie) or NaN (not readable), in item order")
    return pool


def order_groups(shape: tuple[int, ...], orders: ArrayLike | None) -> list[Bools]:
    """Which samples of each item belong together: all of them, or those of AB and those of BA."""
    if orders is None:
        return [np.ones(shape, dtype=bool)]
    order = np.asarray(orders)
    if order.shape not in (shape, shape[1:]) or not np.isin(order, (0, 1)).all():
        raise ValueError(f"orders must be 0 (AB) or 1 (BA), of shape {shape} or {shape[1:]}, not {order.shape}")
    return [np.broadcast_to(order == o, shape) for o in (0, 1)]


def plans_of(sizes: Ints, k: int) -> list[tuple[Floats, tuple[int, ...]]]:
    """How k samples fall on groups of `sizes` [groups, items]: (share of each plan per item, samples per group)."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"a vote needs k >= 1 samples, not k = {k!r}")
    if sizes.shape[1] and sizes.sum(axis=0).max() > _LARGEST:
        raise ValueError(f"pools of up to {_LARGEST} samples an item, not {sizes.sum(axis=0).max()}")
    plans: list[tuple[Floats, tuple[int, ...]]]
    if len(sizes) == 1:
        plans = [(np.ones(sizes.shape[1]), (int(k),))]
    elif k % 2 == 0:
        plans = [(np.ones(sizes.shape[1]), (k // 2, k // 2))]
    else:
        left = (sizes > k // 2).astype(float)
        share = left / np.maximum(left.sum(axis=0), 1)
        plans = [(share[0], (k // 2 + 1, k // 2)), (share[1], (k // 2, k // 2 + 1))]
    possible = np.zeros(sizes.shape[1], dtype=bool)
    for share, taken in plans:
        possible |= (sizes >= np.array(taken)[:, None]).all(axis=0) & (share > 0)
    if (poor := np.flatnonzero(~possible)).size:
        there = " + ".join(str(n) for n in sizes[:, poor[0]])
        raise ValueError(f"k = {k}{' (balanced)' if len(sizes) > 1 else ''}: item in row {poor[0]} has {there} samples")
    return [(share, taken) for share, taken in plans if share.any()]


@lru_cache(maxsize=4)
def _pascal(size: int) -> Floats:
    table = np.zeros((size + 1, size + 1))
    table[:, 0] = 1
    for n in range(1, size + 1):
        table[n, 1:] = table[n - 1, 1:] + table[n - 1, :-1]
    return table


def _choose(n: Ints, r: int | Ints) -> Floats:
    """C(n, r), 0 for r > n; exact up to 2^53, and finite for n <= 1000."""
    size = max(int(np.max(n, initial=0)), int(np.max(r, initial=0)))
    return _pascal(1 << max(4, size.bit_length()) if size <= 512 else _LARGEST)[n, r]


def _lead(first: Ints, second: Ints, size: Ints, k: int) -> Floats:
    """P(votes for the first - votes for the second = d), d = -k .. k, over subsets of k: shape [items, 2 k + 1]."""
    kinds, back = np.unique(np.stack([first, second, size]), axis=1, return_inverse=True)
    a, b, m = kinds
    lead = np.zeros((len(m), 2 * k + 1))
    b_, left = b[:, None], (m - a - b)[:, None]
    for x in range(min(k, int(a.max(initial=0))) + 1):
        y = np.arange(min(k - x, int(b.max(initial=0))) + 1)
        lead[:, k + x - y] += _choose(a, x)[:, None] * _choose(b_, y) * _choose(left, k - x - y)
    return (lead / np.maximum(_choose(m, k), 1)[:, None])[back.ravel()]


def _sum_positive(leads: list[Floats]) -> tuple[Floats, Floats]:
    """P(the leads add up to more than 0) and P(to 0), for one or two independent leads."""
    if len(leads) == 1:
        k = leads[0].shape[1] // 2
        return leads[0][:, k + 1 :].sum(axis=1), leads[0][:, k]
    one, two = leads
    j, k = one.shape[1] // 2, two.shape[1] // 2
    ahead, level = np.zeros(len(one)), np.zeros(len(one))
    for d in range(-j, j + 1):
        ahead += one[:, j + d] * two[:, max(0, min(2 * k + 1, k - d + 1)) :].sum(axis=1)
        if -k <= d <= k:
            level += one[:, j + d] * two[:, k - d]
    return ahead, level
