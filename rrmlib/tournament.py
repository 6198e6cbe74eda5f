"""The interface of tournaments: what to compare next given the results so far, and how to play many at once.

A `Scheduler` is a frozen record of a tournament's rules with `next_pairs(results)`: the matches of the next round,
given the results so far, () when it is over. It depends on nothing else and not on the order of the results, so a
tournament that was killed goes on from its stored results to the same end. `ranking` and `pick` say what it answers so
far. The tournaments themselves are in `schedulers.py`.

A pair is asked as (first, second): `first` is the one to show first where a match is judged in one order. The answer
may be told the other way round, where it was judged so. A match is one `Match` whatever it cost: k votes, in one order
or both, are the caller's. No pair is asked twice.

**Ties, and matches that nobody could read.** In a knockout someone must go on: a score of exactly 0.5, and a match
without a readable vote (score NaN), are decided by a coin from sha256(seed, item, pair), the same in every run. In a
Swiss tournament both give half a point each. Ratings take ties as half and leave unread matches out. Where ratings or
points are equal, a seeded order decides. `Outcome` counts ties and unread matches.

`play` drives many tournaments at once, all matches of a round over all items in one batch; `replay` plays one against
a recorded round robin and says what it would have cost.

Left out: votes within a match (`vote.py`), ratings (`rating.py`), prompts and engines.

    >>> results = play({"q": RoundRobin(3)}, lambda asked: [Match(a, b, float(a < b)) for _, (a, b) in asked])["q"]
    >>> RoundRobin(3).ranking(results)  # the judge prefers the lower number
    (0, 1, 2)
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray

from rrmlib.rating import bradley_terry, elo, win_rate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pair = tuple[int, int]
Rounds = tuple[tuple["Match", ...], ...]
_DECIMALS = 9  # of ratings and points: what differs further down is rounding, and a tie
PRIOR = 1.5  # standard deviation in log-odds of the prior under which tournaments rate by Bradley-Terry


@dataclass(frozen=True, slots=True)
class Match:
    """One match: the share of its readable votes for `first` (a tie is half a vote), NaN where none could be read.

    `votes` judgments were made, `unread` of them without a verdict; `tokens` they cost, -1 where unknown. Raises
    ValueError for a candidate against itself, no votes, a share outside 0..1, or a NaN that `unread` does not explain.
    """

    first: int
    second: int
    score: float
    votes: int = 1
    unread: int = 0
    tokens: int = -1

    def __post_init__(self) -> None:
        where = f"match {self.first} against {self.second}"
        if self.first == self.second or self.first < 0 or self.second < 0:
            raise ValueError(f"{where}: two different candidates 0, 1, ... are needed")
        if self.votes < 1 or not 0 <= self.unread <= self.votes:
            raise ValueError(f"{where}: {self.votes} votes, {self.unread} of them unread; at least one vote is needed")
        if math.isnan(self.score) != (self.unread == self.votes):
            raise ValueError(f"{where}: the score is NaN exactly when all votes are unread, not {self.score}")
        if not math.isnan(self.score) and not 0 <= self.score <= 1:
            raise ValueError(f"{where}: score {self.score} is no share of votes in 0..1")

    @classmethod
    def of(cls, first: int, second: int, votes: Iterable[float], tokens: int = -1) -> Match:
        """From single votes: 1.0 for `first`, 0.0 for `second`, 0.5 a tie (or any soft vote), NaN unreadable."""
        cast = [float(v) for v in votes]
        read = [v for v in cast if not math.isnan(v)]
        score = sum(read) / len(read) if read else math.nan
        return cls(first, second, score, len(cast), len(cast) - len(read), tokens)

    def swap(self) -> Match:
        """The same match told from the other side."""
        return Match(self.second, self.first, 1 - self.score, self.votes, self.unread, self.tokens)


def columns(results: Sequence[Match]) -> tuple[Ints, Ints, Floats, Ints]:
    """first, second, score and readable votes of each match: what the functions of `rating.py` take."""
    table = np.array([(m.first, m.second, m.votes - m.unread) for m in results], dtype=np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], np.array([m.score for m in results], dtype=float), table[:, 2]


def distinct(responses: Sequence[str]) -> tuple[int, ...]:
    """Indices of the first of every text. A judge shown a text against itself says nothing: play among these."""
    return tuple(
        dict(zip(reversed(responses), range(len(responses) - 1, -1, -1)))[text] for text in dict.fromkeys(responses)
    )


# --- The interface ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scheduler(ABC):
    """The rules of one item's tournament among candidates 0..n-1. `item` and `seed` decide whatever is left to chance.

    Every method raises ValueError for results that this schedule did not ask for, or a pair with two results.
    """

    n: int
    _: KW_ONLY
    item: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"a tournament needs at least one candidate, not {self.n}")

    @property
    @abstractmethod
    def most(self) -> int:
        """Matches until the end, at most."""

    @abstractmethod
    def ranking(self, results: Sequence[Match]) -> tuple[int, ...]:
        """All candidates, best first, by the results so far."""

    def pick(self, results: Sequence[Match]) -> int:
        return self.ranking(results)[0]

    def next_pairs(self, results: Sequence[Match]) -> tuple[Pair, ...]:
        """The matches of the next round; of a round answered in part, those that are missing."""
        return self._history(results)[1]

    @abstractmethod
    def _round(self, rounds: Rounds) -> tuple[Pair, ...]:
        """The pairs after these complete rounds, or ()."""

    def _history(self, results: Sequence[Match]) -> tuple[Rounds, tuple[Pair, ...]]:
        """Complete rounds in the order asked (each match the way round it was told), and what the next one lacks."""
        found: dict[Pair, Match] = {}
        for match in results:
            if max(match.first, match.second) >= self.n:
                raise ValueError(f"{self._name}: a result for candidate {max(match.first, match.second)} of {self.n}")
            pair = unordered(match.first, match.second)
            if pair in found:
                raise ValueError(f"{self._name}: two results for the pair {pair}; a match has one, with all its votes")
            found[pair] = match
        rounds: list[tuple[Match, ...]] = []
        missing: tuple[Pair, ...] = ()
        asked = 0
        while not missing and (pairs := self._round(tuple(rounds))):
            missing = tuple(pair for pair in pairs if unordered(*pair) not in found)
            asked += len(pairs) - len(missing)
            if not missing:
                rounds.append(tuple(found[unordered(*pair)] for pair in pairs))
        if asked != len(found):
            raise ValueError(f"{self._name}: {len(found) - asked} of {len(found)} results are of matches it never asks")
        return tuple(rounds), missing

    @property
    def _name(self) -> str:
        return f"{type(self).__name__} of item {self.item!r}"

    def _hash(self, *what: object) -> bytes:
        text = "\0".join(map(str, (self.seed, self.item, *what)))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def _order(self, what: str) -> tuple[int, ...]:
        """A seeded order of the candidates."""
        rng = np.random.default_rng(int.from_bytes(self._hash(what)[:16]))
        return tuple(rng.permutation(self.n).tolist())

    def _coin(self, a: int, b: int) -> int:
        """One of the two, whichever way round they are given."""
        return unordered(a, b)[self._hash("coin", *unordered(a, b))[0] & 1]

    def _seated(self, a: int, b: int, shown_first: Sequence[int]) -> Pair:
        """Who was shown first less often comes first; else the coin."""
        if shown_first[a] == shown_first[b]:
            return (a, b) if self._coin(a, b) == a else (b, a)
        return (a, b) if shown_first[a] < shown_first[b] else (b, a)

    def _sorted(self, *values: Floats | Sequence[float]) -> tuple[int, ...]:
        """Candidates by the first values, highest first, then by the next ones, then in seeded order; NaN is last.

        Values are rounded: ratings that differ by the order of a sum alone (1/3 + 2/3 + 1) are equal.
        """
        keys = [np.where(np.isnan(v), np.inf, -np.round(v, _DECIMALS)) for v in map(np.asarray, values)]
        return tuple(np.lexsort((np.argsort(self._order("ranking")), *reversed(keys))).tolist())

    def _rated(self, rating: str, results: Sequence[Match]) -> Floats:
        first, second, score, votes = columns(sorted(results, key=lambda m: unordered(m.first, m.second)))
        if rating == "elo":
            return elo(self.n, first, second, score, shuffle=self.seed).values
        if rating == "bradley_terry":
            return bradley_terry(self.n, first, second, score, votes, prior=PRIOR).strengths
        return win_rate(self.n, first, second, score).values


# --- Playing ----------------------------------------------------------------------------------------------------------

Ask = Callable[[Sequence[tuple[str, Pair]]], Iterable[Match]]


@dataclass(frozen=True)
class Outcome:
    """What a tournament answered and what it cost. `votes` counts judgments; `tokens` is -1 where any is unknown.

    Of the `matches`, `ties` ended at exactly 0.5 and `unread` had no readable vote.
    """

    pick: int
    ranking: tuple[int, ...]
    matches: int
    rounds: int
    votes: int
    tokens: int
    ties: int
    unread: int


@dataclass(frozen=True, eq=False)
class Matrix:
    """A recorded round robin of n candidates: n x n arrays by [shown first, shown second]; no votes = not recorded.

    A pair judged in one order only stands in one of its two places and is answered from there, as it was judged.
    """

    score: Floats
    votes: Ints
    unread: Ints
    tokens: Ints

    @classmethod
    def of(cls, n: int, matches: Iterable[Match]) -> Matrix:
        """Raises ValueError for a candidate beyond n or an ordered pair with two matches."""
        score, votes, unread = np.full((n, n), np.nan), np.zeros((n, n), np.int64), np.zeros((n, n), np.int64)
        tokens = np.full((n, n), -1, np.int64)
        for m in matches:
            if max(m.first, m.second) >= n or votes[m.first, m.second]:
                fault = "is recorded twice" if max(m.first, m.second) < n else f"is beyond {n} candidates"
                raise ValueError(f"match {m.first} against {m.second} {fault}")
            at = m.first, m.second
            score[at], votes[at], unread[at], tokens[at] = m.score, m.votes, m.unread, m.tokens
        return cls(score, votes, unread, tokens)

    def match(self, first: int, second: int) -> Match:
        """Raises ValueError where the pair was recorded in neither order."""
        at = first, second
        if self.votes[at]:
            return Match(
                first, second, float(self.score[at]), int(self.votes[at]), int(self.unread[at]), int(self.tokens[at])
            )
        if not self.votes[second, first]:
            raise ValueError(f"match {first} against {second} is not recorded: a replay needs a whole round robin")
        return self.match(second, first)


def play(
    schedulers: Mapping[str, Scheduler], ask: Ask, results: MutableMapping[str, list[Match]] | None = None
) -> dict[str, tuple[Match, ...]]:
    """Plays every item's tournament to its end; the results by item, in the order asked.

    `ask` gets all matches of a round over all items at once, as (item, (first, second)), and gives one Match for each,
    in that order. `results` are those already known, and grow in place as `ask` yields: where it raises, they hold what
    was answered, and a second call goes on from there to the same end. Raises ValueError for an answer to another pair,
    too few or too many answers, or results of an unknown item.
    """
    found = {} if results is None else results
    if unknown := set(found) - set(schedulers):
        raise ValueError(f"results for an item that is not played: {min(unknown)!r}")
    playing = dict(schedulers)
    while playing:
        pairs = {item: scheduler.next_pairs(found.get(item, ())) for item, scheduler in playing.items()}
        playing = {item: scheduler for item, scheduler in playing.items() if pairs[item]}
        asked = [(item, pair) for item in playing for pair in pairs[item]]
        if not asked:
            break
        for (item, pair), match in zip(asked, ask(asked), strict=True):
            if unordered(match.first, match.second) != unordered(*pair):
                raise ValueError(f"item {item!r}: asked for {pair}, answered {(match.first, match.second)}")
            found.setdefault(item, []).append(match)
    return {item: tuple(found.get(item, ())) for item in schedulers}


def replay(scheduler: Scheduler, recorded: Matrix) -> Outcome:
    """Plays against a recorded round robin: the same answer as a live tournament whose judge says what is recorded."""
    if len(recorded.score) != scheduler.n:
        raise ValueError(f"{scheduler._name}: {scheduler.n} candidates, but {len(recorded.score)} are recorded")
    results: list[Match] = []
    rounds = 0
    while pairs := scheduler.next_pairs(results):
        results += [recorded.match(*pair) for pair in pairs]
        rounds += 1
    return outcome(scheduler, results, rounds)


def outcome(scheduler: Scheduler, results: Sequence[Match], rounds: int = -1) -> Outcome:
    """Answer and cost of the results so far; `rounds` (batches asked) is only known to who played, -1 otherwise."""
    ranking = scheduler.ranking(results)
    return Outcome(
        pick=ranking[0],
        ranking=ranking,
        matches=len(results),
        rounds=rounds,
        votes=sum(m.votes for m in results),
        tokens=sum(m.tokens for m in results) if all(m.tokens >= 0 for m in results) else -1,
        ties=sum(m.score == 0.5 for m in results),
        unread=sum(math.isnan(m.score) for m in results),
    )


# --- Inside -----------------------------------------------------------------------------------------------------------


def unordered(a: int, b: int) -> Pair:
    """The pair with the lower candidate first."""
    return (a, b) if a < b else (b, a)
