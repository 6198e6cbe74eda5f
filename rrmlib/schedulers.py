"""The tournaments: round robin, knockout, Swiss, and an adaptive one that spends on those who may be the best.

Each is a `tournament.Scheduler`; what a match is and how ties are decided is said there.

| scheduler    | matches                                | rounds               | answers by                     |
|--------------|----------------------------------------|----------------------|--------------------------------|
| `RoundRobin` | n (n - 1) / 2                          | 1                    | win rate, Elo or Bradley-Terry |
| `Knockout`   | n - 1                                  | ceil(log2 n)         | who is left                    |
| `Swiss`      | n / 2 a round                          | ceil(log2 n)         | points, Elo or Bradley-Terry   |
| `Adaptive`   | a budget; by default 0.65 n log2 n     | about 2.6 log2 n     | Bradley-Terry                  |

Left out: votes within a match (`vote.py`, `stopping.py`); asking a match again.

    >>> Knockout(4, bracket=(2, 0, 3, 1)).next_pairs([Match(2, 0, 0.0), Match(3, 1, 0.2)])
    ((0, 1),)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import expit

from rrmlib.rating import BradleyTerry, bradley_terry
from rrmlib.tournament import PRIOR, Match, Pair, Rounds, Scheduler, columns, unordered

_SEARCH = 20_000  # steps before a Swiss round gives up looking for a pairing of everybody


@dataclass(frozen=True)
class RoundRobin(Scheduler):
    """Everyone meets everyone once, all in one round. Each is shown first in half of its matches (n even: within one).

    "wins" ranks by the mean share of votes, "elo" as RRM's evaluation does (28 matches of 8 responses, shuffled with
    the seed; `rating.elo`), "bradley_terry" by strengths with position bias, under the prior `PRIOR`.
    """

    _: KW_ONLY
    rating: Literal["wins", "elo", "bradley_terry"] = "wins"

    @property
    def most(self) -> int:
        return self.n * (self.n - 1) // 2

    def ranking(self, results: Sequence[Match]) -> tuple[int, ...]:
        self._history(results)
        return self._sorted(self._rated(self.rating, results))

    def _round(self, rounds: Rounds) -> tuple[Pair, ...]:
        if rounds:
            return ()
        seat = self._order("seats")  # around a table, everyone is shown first against those on the left
        half = self.n / 2
        return tuple(
            (seat[i], seat[j]) if j - i < half or (j - i == half and i % 2 == 0) else (seat[j], seat[i])
            for i in range(self.n)
            for j in range(i + 1, self.n)
        )


@dataclass(frozen=True)
class Knockout(Scheduler):
    """The loser of a match is out: exactly n - 1 matches (RRM, 2505.14674: 32 responses, one bracket for all items).

    `bracket` lists the candidates as they stand in it: the first round is (0th, 1st), (2nd, 3rd), ...; winners meet in
    list order, the earlier one shown first. None draws a bracket from seed and item; `seeded_bracket` makes one to
    share between items. Where n is no power of two, n - 2^floor(log2(n - 1)) matches make up the first round, spread
    evenly over the bracket, and the others have a bye. Ranks the loser of the later round above that of an earlier one,
    and within a round by who beat them.
    """

    _: KW_ONLY
    bracket: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bracket is not None and sorted(self.bracket) != list(range(self.n)):
            raise ValueError(f"{self._name}: the bracket must hold each of 0..{self.n - 1} once, not {self.bracket}")

    @property
    def most(self) -> int:
        return self.n - 1

    def winner(self, match: Match) -> int:
        """Who goes on; of a tie, or where no vote could be read, the one that the coin shows (module text)."""
        if math.isnan(match.score) or match.score == 0.5:
            return self._coin(match.first, match.second)
        return match.first if match.score > 0.5 else match.second

    def ranking(self, results: Sequence[Match]) -> tuple[int, ...]:
        rounds, _ = self._history(results)
        ranked = [c for slot in self._slots(rounds) for c in slot]  # still in it, as they stand in the bracket
        for matches in reversed(rounds):
            lost = {self.winner(m): m for m in matches}
            ranked += [m.second if c == m.first else m.first for c in ranked if (m := lost.get(c))]
        return tuple(ranked)

    def _round(self, rounds: Rounds) -> tuple[Pair, ...]:
        return tuple((slot[0], slot[1]) for slot in self._slots(rounds) if len(slot) == 2)

    def _slots(self, rounds: Rounds) -> list[tuple[int, ...]]:
        """The next round's places in order: two candidates that meet, or one that has a bye (or has won it all)."""
        standing = iter(self.bracket or seeded_bracket(self.n, self.seed, self.item))
        half = 1 << max(0, (self.n - 1).bit_length() - 1)
        extra = self.n - half
        slots = [tuple(next(standing) for _ in range(1 + _falls(i, extra, half))) for i in range(half)]
        for matches in rounds:
            won = {c: self.winner(m) for m in matches for c in (m.first, m.second)}
            left = [won[slot[0]] if len(slot) == 2 else slot[0] for slot in slots]
            slots = [tuple(left[i : i + 2]) for i in range(0, len(left), 2)]
        return slots


@dataclass(frozen=True)
class Swiss(Scheduler):
    """Every round pairs neighbours in the standings who have not met; ceil(log2 n) rounds unless `rounds` is given.

    A win is a point, a tie or an unread match half a point each. With n odd the lowest of those who sat out least
    often sits out, for a point. Nobody meets twice: where the pairs left allow no full round (or none is found in
    20,000 steps), more sit out in the same way. "points" ranks by points, then by the points of the opponents.
    Raises ValueError for fewer than one round or more than everyone has opponents for.
    """

    _: KW_ONLY
    rounds: int | None = None
    rating: Literal["points", "elo", "bradley_terry"] = "points"

    def __post_init__(self) -> None:
        super().__post_init__()
        longest = self.n - 1 if self.n % 2 == 0 else self.n
        if self.rounds is not None and not 1 <= self.rounds <= longest:
            raise ValueError(f"{self._name}: {self.rounds} rounds of {self.n} candidates; 1 to {longest} are possible")

    @property
    def length(self) -> int:
        """Rounds."""
        return self.rounds if self.rounds is not None else (self.n - 1).bit_length()

    @property
    def most(self) -> int:
        return min(self.length * (self.n // 2), self.n * (self.n - 1) // 2)

    def ranking(self, results: Sequence[Match]) -> tuple[int, ...]:
        rounds, _ = self._history(results)
        if self.rating != "points":
            return self._sorted(self._rated(self.rating, results))
        points, _ = self._points(rounds)
        faced = np.zeros(self.n)
        for match in (m for matches in rounds for m in matches):
            faced[match.first] += points[match.second]
            faced[match.second] += points[match.first]
        return self._sorted(points, faced)

    def _points(self, rounds: Rounds) -> tuple[list[float], list[int]]:
        """Points, and how often everyone sat out."""
        points, out = [0.0] * self.n, [0] * self.n
        for matches in rounds:
            playing = {c for m in matches for c in (m.first, m.second)}
            for candidate in set(range(self.n)) - playing:
                points[candidate] += 1
                out[candidate] += 1
            for m in matches:
                won = 0.5 if math.isnan(m.score) or m.score == 0.5 else float(m.score > 0.5)
                points[m.first] += won
                points[m.second] += 1 - won
        return points, out

    def _round(self, rounds: Rounds) -> tuple[Pair, ...]:
        if len(rounds) >= self.length:
            return ()
        points, out = self._points(rounds)
        met: list[set[int]] = [set() for _ in range(self.n)]
        shown_first = [0] * self.n
        for match in (m for matches in rounds for m in matches):
            met[match.first].add(match.second)
            met[match.second].add(match.first)
            shown_first[match.first] += 1
        standing = self._sorted(points)
        return tuple(self._seated(a, b, shown_first) for a, b in _neighbours(standing, met, out))


@dataclass(frozen=True)
class Adaptive(Scheduler):
    """Comparisons go where they may tell who is best: information gain, weighted towards the top of the list.

    The first round pairs everyone once, by lot. Before each further round Bradley-Terry strengths are fitted to all
    results (prior N(0, `prior`^2), position bias estimated, each readable vote counted as one), with q_i = i's
    probability of being the best (from `draws` seeded draws). A pair's weight is

        (q_i + q_j + 1 / (2 draws)) * log(1 + p (1 - p) var(s_i - s_j))

    that is, the information that one more vote on s_i - s_j is expected to bring (in the normal approximation), times
    the chance that it concerns the best. The round takes the `batch` heaviest pairs that have not met, nobody more than
    twice (while there are enough such pairs). It ends after `budget` matches, or, where `enough` is given, after the
    first round that leaves one candidate with that probability of being the best.

    `budget` defaults to 0.65 n log2 n (n = 16: 41 of 120), at least n / 2; `batch` to n / 4. The defaults were chosen
    by simulation on seeds >= 100,000; `measure/simulation.py` measures them on others. Raises ValueError for settings
    that are not positive, or `enough` outside 0..1.
    """

    _: KW_ONLY
    budget: int | None = None
    batch: int | None = None
    prior: float = PRIOR
    draws: int = 256
    enough: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("budget", self.budget), ("batch", self.batch), ("draws", self.draws)):
            if value is not None and value < 1:
                raise ValueError(f"{self._name}: {name} must be at least 1, not {value}")
        if not self.prior > 0:
            raise ValueError(f"{self._name}: prior must be a positive standard deviation, not {self.prior}")
        if self.enough is not None and not 0 < self.enough <= 1:
            raise ValueError(f"{self._name}: enough is a probability, not {self.enough}")

    @property
    def most(self) -> int:
        budget = self.budget
        if budget is None:
            budget = max(self.n // 2, math.floor(0.65 * self.n * math.log2(self.n)))
        return min(budget, self.n * (self.n - 1) // 2)

    def ranking(self, results: Sequence[Match]) -> tuple[int, ...]:
        self._history(results)
        return self._sorted(self._fit(sorted(results, key=lambda m: unordered(m.first, m.second))).strengths)

    def _fit(self, results: Sequence[Match]) -> BradleyTerry:
        read = [m for m in results if m.unread < m.votes]
        return bradley_terry(self.n, *columns(read), prior=self.prior)

    def _round(self, rounds: Rounds) -> tuple[Pair, ...]:
        return _adaptive_round(self, rounds)

    def _next(self, rounds: Rounds) -> tuple[Pair, ...]:
        results = [m for matches in rounds for m in matches]
        left = self.most - len(results)
        if not rounds:
            lot = self._order("first round")
            return tuple(zip(lot[0::2], lot[1::2]))[:left]
        if not left:
            return ()
        fit = self._fit(results)
        seed = int.from_bytes(self._hash("draws", len(results))[:16])
        chance = fit.best(self.draws, seed)
        if self.enough is not None and chance.max() >= self.enough:
            return ()
        met = np.zeros((self.n, self.n), dtype=bool)
        shown_first = [0] * self.n
        for match in results:
            met[match.first, match.second] = met[match.second, match.first] = True
            shown_first[match.first] += 1
        a, b = np.nonzero(np.triu(~met, 1))
        p, spread = expit(fit.strengths[a] - fit.strengths[b]), np.diag(fit.covariance)
        variance = spread[a] + spread[b] - 2 * fit.covariance[a, b]
        weight = (chance[a] + chance[b] + 0.5 / self.draws) * np.log1p(p * (1 - p) * variance)
        order = np.argsort(-weight, kind="stable")
        size = min(self.batch or max(1, self.n // 4), left)
        chosen = _heaviest(a[order].tolist(), b[order].tolist(), size)
        return tuple(self._seated(i, j, shown_first) for i, j in chosen)


@lru_cache(maxsize=1 << 14)
def _adaptive_round(scheduler: Adaptive, rounds: Rounds) -> tuple[Pair, ...]:
    """Remembered, since every look at a tournament goes through its rounds again."""
    return scheduler._next(rounds)


def seeded_bracket(n: int, seed: int = 0, item: str = "") -> tuple[int, ...]:
    """A random bracket; without an item, one to share between items of n candidates."""
    return Knockout(n, item=item, seed=seed)._order("bracket")


# --- Inside -----------------------------------------------------------------------------------------------------------


def _falls(i: int, k: int, of: int) -> bool:
    """Whether the i-th of `of` places is one of k spread evenly over them."""
    return (i + 1) * k // of > i * k // of


def _neighbours(standing: Sequence[int], met: Sequence[set[int]], out: Sequence[int]) -> list[Pair]:
    """Pairs of neighbours in the standings who have not met; who sits out is in no pair."""
    if len(standing) % 2 == 0:
        resting: Iterator[int | None] = iter([None])
    else:
        least = min(out[c] for c in standing)
        resting = (c for c in reversed(standing) if out[c] == least)
    for rest in resting:
        order = [c for c in standing if c != rest]
        if (pairs := _full(order, met)) is not None:
            return pairs
    pairs, free = [], list(standing)
    while free:  # the closest pairs, as many as come
        top = free.pop(0)
        partner = next((c for c in free if c not in met[top]), None)
        if partner is not None:
            free.remove(partner)
            pairs.append((top, partner))
    return pairs


def _full(order: Sequence[int], met: Sequence[set[int]]) -> list[Pair] | None:
    """Everyone paired, each with the nearest possible below, the lowest decisions changed first; None if not found."""
    taken = [False] * len(order)
    stack: list[Pair] = []
    top, other = 0, 1
    for _ in range(_SEARCH):
        if top == len(order):
            return [(order[i], order[j]) for i, j in stack]
        while other < len(order) and (taken[other] or order[other] in met[order[top]]):
            other += 1
        if other < len(order):
            stack.append((top, other))
            taken[top] = taken[other] = True
            while top < len(order) and taken[top]:
                top += 1
            other = top + 1
        elif stack:
            top, other = stack.pop()
            taken[top] = taken[other] = False
            other += 1
        else:
            return None
    return None


def _heaviest(first: Sequence[int], second: Sequence[int], size: int) -> list[Pair]:
    """The first `size` pairs in which nobody stands more than twice; more often only where that leaves too few."""
    chosen: list[Pair] = []
    pairs = list(zip(first, second))
    often, most = Counter[int](), 2
    while len(chosen) < size:
        later = []
        for i, j in pairs:
            if len(chosen) == size:
                break
            if often[i] < most and often[j] < most:
                chosen.append((i, j))
                often.update((i, j))
            else:
                later.append((i, j))
        pairs, most = later, most + 1
    return chosen
