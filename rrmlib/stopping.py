"""When to stop voting: rules with a declared error rate, decided vote by vote, asked for in batches.

A rule sees the votes of an item in the order in which they were asked for (columns of `choices`: 1 first, 0 second, 0.5
a tie, NaN unreadable, in item order; where both orders are asked they alternate, `spending.sequence`). Ties and
unreadable samples use up budget and move no lead. An item stops at the first vote after which

- the rest cannot change the majority any more: the lead is larger than the votes left. Free, and part of every rule; or
- its lead reaches the rule's own BOUNDARY for that many votes; or
- `k_max` votes are spent. A rule that gets so far is truncated: its verdict is then the full vote's.

The verdict rests on the votes up to there. Votes of a batch beyond it are paid for and not counted, so verdicts depend
neither on the size of batches nor on where a run was broken off: the same votes give the same verdicts and asks.

**What the error rate of a rule means** (the FULL VOTE is the majority of all k_max votes, and where it is a tie every
winner differs from it; the LONG RUN is which side gets more than half of endless votes, the two orders in equal parts):

| rule                           | declared: at most `error` is the chance that ...                                |
|--------------------------------|---------------------------------------------------------------------------------|
| `certain(k)`                   | 0: the verdict is always the full vote's                                        |
| `beta(k, e)`                   | the verdict differs from the full vote, for EVERY judge (held="worst")          |
| `beta(k, e, held="average")`   | the same, on average over items with p from the prior, without ties             |
| `beta(k, e, about="long run")` | a stop at the boundary is against the long run, same average, among such stops  |
| `sprt(k, e, margin)`           | a stop at the boundary is against the long run, for p at or beyond 1/2 +- margin |

Votes of one item are independent given the item and the order, which is how a judge is sampled; p (the chance of a vote
for the first) may differ from item to item in any way. The chance is over the votes of an item, not given them: where
the full vote is 33 to 31 any early stop is nearly a coin toss, and the rate counts such items among the others.

**Why not simply stop at a posterior of 1 - error.** The posterior is right at whatever time one stops, but only on
average over its prior (Kerridge 1963). For a fixed p near 1/2 one looks again and again until luck crosses the line: at
k = 64, with a posterior of the full vote and 5 %, a fair coin differs from its full vote in 15 % of runs. So
held="worst" raises the line: votes are a walk on a lattice, `expected` computes the chance exactly for any p in AB, any
in BA and any share of ties, and the lowest line found is taken whose worst case on a grid of these keeps the rate. The
worst case is 1/2 in both orders. Against the LONG run nobody can promise anything at p near 1/2; Wald's test (1945)
leaves a margin out. `measure/stopping.py` simulates all of them.

    >>> rule = beta(16, 0.05)  # 4 to 0 is enough; 3 to 1 needs three more at least
    >>> next_asks(rule, [[1, 1, 1, 1], [1, 0, 1, 1]], [4, 4]).tolist()
    [0, 3]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from rrmlib.vote import Bools, Floats, Ints, check_choices

_GRID = np.linspace(0.0, 1.0, 21)  # chances of the first in AB and in BA over which a worst case is taken
_OTHER = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4])  # shares of ties and unreadable votes, the same
_ROUNDING = 1e-12
_LARGEST = 128


@dataclass(frozen=True, eq=False)
class Rule:
    """`lead[asked, decisive]` is the least lead that stops an item after `asked` votes, `decisive` of them for a side.

    k_max + 1 stands for none. `error` is the declared rate and `promise` says of what, in words.
    """

    name: str
    k_max: int
    lead: Ints
    error: float
    promise: str


@dataclass(frozen=True, eq=False)
class Settled:
    """Where items stopped on the votes given: after `used` votes (0: not yet), and whether at the rule's `boundary`.

    `verdict` is 1 first, 0 second, 0.5 a tie, NaN where the item has not stopped or none of its votes could be read.
    """

    used: Ints
    verdict: Floats
    boundary: Bools


@dataclass(frozen=True, eq=False)
class Expected:
    """What a rule does to independent votes; exact, arrays over the chances given.

    `differs`: the verdict is not the full vote's (a tied full vote counts). `boundary`: stopped at the rule's own
    boundary. `wrong`: the same and against the long run (NaN where that has no majority). `votes`: mean votes used.
    """

    differs: Floats
    boundary: Floats
    wrong: Floats
    votes: Floats


# --- Rules ------------------------------------------------------------------------------------------------------------


def certain(k_max: int) -> Rule:
    """Stop when the votes left cannot change the majority of k_max: exact and free."""
    _check(k_max, 0.25)
    lead = np.full((k_max + 1, k_max + 1), k_max + 1, dtype=np.intp)
    return Rule("certain", k_max, lead, 0.0, "the verdict is that of the full vote, always")


@lru_cache(maxsize=64)
def beta(
    k_max: int,
    error: float,
    *,
    prior: float = 1.0,
    about: Literal["full vote", "long run"] = "full vote",
    held: Literal["worst", "average"] | None = None,
) -> Rule:
    """Stop when the leader's side wins the full vote (or holds the long run) with a posterior chance of 1 - error.

    The prior of p is Beta(prior, prior): symmetric, so that exchanging the responses changes nothing; 1 is uniform.
    about="full vote" (default held="worst") uses the beta-binomial chance that the full vote is on the leader's side;
    held="worst" raises the line as the module text says. about="long run" uses P(p on the leader's side), and can be
    held on average only. Raises ValueError for k_max outside 1..128, error outside (0, 0.5), prior <= 0, or
    about="long run" with held="worst" (impossible near p = 1/2: use `sprt`).
    """
    _check(k_max, error)
    held = held or ("worst" if about == "full vote" else "average")
    if prior <= 0:
        raise ValueError(f"prior must be above 0, not {prior}")
    if about not in ("full vote", "long run") or held not in ("worst", "average"):
        raise ValueError(f"about must be 'full vote' or 'long run' and held 'worst' or 'average': {about!r}, {held!r}")
    if about == "long run" and held == "worst":
        raise ValueError("no rule keeps an error about the long run for every p near 1/2: use sprt, with its margin")
    chance = _wins_full(k_max, prior) if about == "full vote" else _wins_long(k_max, prior)
    line = 1 - error
    who = f"on average over items with p ~ Beta({prior:g}, {prior:g}) and no ties"
    if held == "worst":
        line, who = (
            _raised(chance, k_max, error),
            "for every judge, whatever its p in AB and in BA and its share of ties and unreadable votes",
        )
    what = "the verdict differs from the full vote"
    if about == "long run":
        what = "a stop at the boundary is against the long run"
    promise = f"{what} in at most {error:.3g} of {'such stops' if about == 'long run' else 'items'}, {who}"
    name = f"beta {about} {error:.3g}" + ("" if held == "worst" else " average")
    return Rule(name, k_max, _least_lead(chance, line), error, promise)


def sprt(k_max: int, error: float, margin: float) -> Rule:
    """Wald's sequential test of p = 1/2 + margin against p = 1/2 - margin, truncated at k_max votes.

    With r = (1/2 + margin) / (1/2 - margin) it stops at the lead h = ceil(log((1 - error) / error) / log r), and at 2
    at least: a first vote alone is always one of AB. By the gambler's ruin a judge at exactly 1/2 +- margin, never
    truncated, stops on the wrong side with chance 1 / (1 + r^h) <= error; one further out, or truncated, with less.
    Nothing is promised within the margin, nor for truncated items, whose verdict is the full vote's. Raises ValueError
    as `beta`, and for a margin outside (0, 0.5).
    """
    _check(k_max, error)
    if not 0 < margin < 0.5:
        raise ValueError(f"margin must lie between 0 and 0.5, not {margin}")
    ratio = math.log((0.5 + margin) / (0.5 - margin))
    h = max(2, math.ceil(math.log((1 - error) / error) / ratio - _ROUNDING))
    lead = np.full((k_max + 1, k_max + 1), min(h, k_max + 1), dtype=np.intp)
    promise = (
        f"a stop at the boundary (lead {h}) is against the long run in at most {error:.3g} of items "
        f"with p beyond 0.5 +- {margin:g}; truncated at {k_max} votes"
    )
    return Rule(f"sprt {error:.3g} +-{margin:g}", k_max, lead, error, promise)


# --- Votes so far -> verdicts and asks --------------------------------------------------------------------------------


def settle(rule: Rule, choices: ArrayLike, asked: ArrayLike | None = None) -> Settled:
    """Which items have stopped, after how many votes, with which verdict.

    `choices` [items, votes] in the order asked; `asked` [items] says how many of them are there (default: all columns).
    Votes beyond the stop, and beyond k_max, are ignored. Raises ValueError for other choices or shapes.
    """
    votes, there = _votes(rule, choices, asked)
    first, second = np.cumsum(votes == 1, axis=1), np.cumsum(votes == 0, axis=1)
    lead, n = np.abs(first - second), np.arange(1, votes.shape[1] + 1)
    at_boundary = (lead >= rule.lead[n, first + second]) & (n < rule.k_max)
    stops = (at_boundary | (lead > rule.k_max - n) | (n == rule.k_max)) & (n <= there[:, None])
    done = stops.any(axis=1)
    used = np.where(done, stops.argmax(axis=1) + 1 if votes.shape[1] else 0, 0)
    row, at = np.arange(len(votes)), np.maximum(used - 1, 0)
    if not votes.shape[1]:
        return Settled(used, np.full(len(votes), np.nan), done)
    read = np.cumsum(~np.isnan(votes), axis=1)[row, at] > 0
    verdict = np.where(done & read, 0.5 + 0.5 * np.sign((first - second)[row, at]), np.nan)
    return Settled(used, verdict, done & at_boundary[row, at])


def next_asks(rule: Rule, choices: ArrayLike, asked: ArrayLike | None = None, *, batch: int = 1) -> Ints:
    """How many more votes every item needs now; 0 where it has stopped. Arguments as `settle`.

    As many as it takes at least until the item could stop (those are needed whatever they say, so batches cost
    nothing), or `batch` where that is more, and never beyond k_max. Larger batches mean fewer rounds and some votes
    that are paid for and not counted. A pure function of the votes so far: a resumed run asks the same.
    Raises ValueError for batch < 1.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    votes, there = _votes(rule, choices, asked)
    seen = np.arange(votes.shape[1]) < there[:, None]
    first, second = ((votes == 1) & seen).sum(axis=1), ((votes == 0) & seen).sum(axis=1)
    lead, decisive = np.abs(first - second), first + second
    more = np.arange(1, rule.k_max + 1)  # that many for the leader: the soonest way to stop
    n = np.minimum(there[:, None] + more, rule.k_max)
    bound = rule.lead[n, np.minimum(decisive[:, None] + more, rule.k_max)]
    could = (lead[:, None] + more >= bound) | (lead[:, None] + more > rule.k_max - n) | (n == rule.k_max)
    need = could.argmax(axis=1) + 1
    open_ = (settle(rule, votes, there).used == 0) & (there < rule.k_max)
    return np.where(open_, np.minimum(np.maximum(need, batch), rule.k_max - there), 0)


# --- What a rule does, exactly ----------------------------------------------------------------------------------------


def expected(rule: Rule, p: ArrayLike, p_ba: ArrayLike | None = None, *, other: ArrayLike = 0.0) -> Expected:
    """Error and cost of a rule for votes that choose the first with chance `p` (with `p_ba`: every second vote, in BA).

    `other` is the share of votes that are ties or unreadable; p and p_ba are chances among the others. Computed on the
    lattice of votes, without simulation. Raises ValueError for chances outside 0..1.
    """
    one, two, rest = np.broadcast_arrays(*np.atleast_1d(p, p if p_ba is None else p_ba, other))
    if not all(((x >= 0) & (x <= 1)).all() for x in (one, two, rest)):
        raise ValueError("chances must lie in 0..1")
    return _walk(rule.lead, rule.k_max, one.astype(float), two.astype(float), rest.astype(float))


def _walk(bound: Ints, k: int, p: Floats, p_ba: Floats, other: Floats) -> Expected:
    """States are (votes without a side so far, votes for the first); axes [chances, other, first].

    Where no chance has `other` votes the axis has length 1: the walk then is one of k steps on k + 1 states.
    """
    sideless = np.arange(k + 1 if other.any() else 1)[:, None]
    first = np.arange(k + 1)
    open_ = np.zeros((len(p), len(sideless), k + 1))
    open_[:, 0, 0] = 1
    stopped = np.zeros((2, *open_.shape))  # with verdict first, second: where the full vote stands by now
    votes, boundary = np.zeros(len(p)), np.zeros((2, len(p)))
    for n in range(1, k + 1):
        side = (1 - other) * (p if n % 2 else p_ba), (1 - other) * (1 - (p if n % 2 else p_ba)), other
        open_, stopped = _step(open_, *side), _step(stopped, *side)
        decisive = np.maximum(n - sideless, 0)
        lead = 2 * first - decisive
        at_boundary = (np.abs(lead) >= bound[n, decisive]) & (n < k)
        now = open_ * (at_boundary | (np.abs(lead) > k - n) | (n == k))
        open_ = open_ - now
        votes += n * now.sum(axis=(1, 2))
        for i, mine in enumerate((lead > 0, lead < 0)):
            stopped[i] += now * mine
            boundary[i] += (now * (at_boundary & mine)).sum(axis=(1, 2))
    final = 2 * first - (k - sideless)
    differs = (stopped[0] * (final <= 0) + stopped[1] * (final >= 0)).sum(axis=(1, 2))
    mean = (p + p_ba) / 2
    wrong = np.select([mean > 0.5, mean < 0.5], [boundary[1], boundary[0]], np.nan)
    return Expected(differs, boundary.sum(axis=0), wrong, votes)


def _step(states: Floats, first: Floats, second: Floats, other: Floats) -> Floats:
    moved = states * second[:, None, None]
    moved[..., 1:] += states[..., :-1] * first[:, None, None]
    moved[..., 1:, :] += states[..., :-1, :] * other[:, None, None]
    return moved


# --- Inside -----------------------------------------------------------------------------------------------------------


def _wins_full(k: int, prior: float) -> Floats:
    """[asked, decisive, lead] -> beta-binomial chance that the leader is strictly ahead after k votes (-1: no state).

    All votes left are taken to be decisive. One backward step: with f and s votes the next is for the first with
    chance (prior + f) / (2 prior + f + s).
    """
    valid, f, s = _states(k)
    x, y = np.meshgrid(np.arange(k + 2), np.arange(k + 2), indexing="ij")
    chance = (prior + x) / (2 * prior + x + y)
    wins, out = (x > y).astype(float), np.full((k + 1, k + 1, k + 1), -1.0)
    for n in range(k, -1, -1):
        out[n, : n + 1] = np.where(valid, wins[f, s], -1.0)[: n + 1]
        back = np.zeros_like(wins)
        back[:-1, :-1] = (chance[:-1, :-1] * wins[1:, :-1]) + (1 - chance[:-1, :-1]) * wins[:-1, 1:]
        wins = back
    return out


def _wins_long(k: int, prior: float) -> Floats:
    """[asked, decisive, lead] -> P(p is on the leader's side | votes), which does not depend on `asked`."""
    valid, f, s = _states(k)
    chance = np.where(valid, 1 - betainc(prior + f, prior + s, 0.5), -1.0)
    return np.broadcast_to(chance, (k + 1, k + 1, k + 1))


def _states(k: int) -> tuple[Bools, Ints, Ints]:
    """[decisive, lead] -> whether it exists (lead >= 1, same parity), votes of the leader and of the other."""
    d, lead = np.meshgrid(np.arange(k + 1), np.arange(k + 1), indexing="ij")
    valid = (lead >= 1) & (lead <= d) & ((d - lead) % 2 == 0)
    return valid, np.where(valid, (d + lead) // 2, 0), np.where(valid, (d - lead) // 2, 0)


def _least_lead(chance: Floats, line: float) -> Ints:
    """[..., lead] -> the least lead whose chance reaches the line (chances grow with the lead); none: k_max + 1."""
    hit = (chance >= line - _ROUNDING) & (chance >= 0)
    return np.where(hit.any(axis=-1), hit.argmax(axis=-1), chance.shape[-1]).astype(np.intp)


def _raised(chance: Floats, k: int, error: float) -> float:
    """The lowest line found, of the chances that occur, whose worst `differs` keeps the error.

    By bisection over both chances on the grid (half of it: (1 - p, 1 - p_ba) mirrors it), without ties and unreadable
    votes; then raised further until coins with a share of those keep it too (they make full votes tie for odd k).
    """
    n = np.arange(k + 1)
    one, two = (x.ravel() for x in np.meshgrid(_GRID[_GRID >= 0.5 - _ROUNDING], _GRID))
    lines = np.unique(chance[n, n][chance[n, n] >= 0.5])
    low, high = 0, len(lines) - 1  # the last line is a certain win: it never differs
    while low < high:
        middle = (low + high) // 2
        bound = np.broadcast_to(_least_lead(chance[n, n], float(lines[middle]))[:, None], (k + 1, k + 1))
        if _walk(bound, k, one, two, np.zeros(len(one))).differs.max() <= error:
            high = middle
        else:
            low = middle + 1
    half = np.full(len(_OTHER), 0.5)
    while high < len(lines) - 1:
        if _walk(_least_lead(chance, float(lines[high])), k, half, half, _OTHER).differs.max() <= error:
            break
        high += 1
    return float(lines[high])


def _check(k_max: int, error: float) -> None:
    if isinstance(k_max, bool) or not isinstance(k_max, (int, np.integer)) or not 1 <= k_max <= _LARGEST:
        raise ValueError(f"k_max must be a whole number from 1 to {_LARGEST}, not {k_max!r}")
    if not 0 < error < 0.5:
        raise ValueError(f"error must lie between 0 and 0.5, not {error}")


def _votes(rule: Rule, choices: ArrayLike, asked: ArrayLike | None) -> tuple[Floats, Ints]:
    """The first k_max columns, and how many of them are there for each item."""
    votes = check_choices(choices)
    there: NDArray[Any] = np.full(len(votes), votes.shape[1]) if asked is None else np.asarray(asked)
    if there.shape != (len(votes),) or (len(there) and there.dtype.kind not in "iu"):
        raise ValueError(f"asked must be whole numbers, one per item: {there.dtype} {there.shape} for {len(votes)}")
    if (there < 0).any() or (there > votes.shape[1]).any():
        raise ValueError(f"asked must lie in 0..{votes.shape[1]}, the columns of choices")
    return votes[:, : rule.k_max], np.minimum(there, rule.k_max).astype(np.intp)
