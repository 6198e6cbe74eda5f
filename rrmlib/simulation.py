"""Simulated judges of known strength, noise, position bias and correlation: what every strategy earns and costs.

A `SimulatedJudge` prefers the response shown first with log-odds (quality of first - of second) / noise + bias. Votes
on one pair share an effect u of that pair, the same in both orders, drawn from the bridge distribution (Wang & Louis
2003): given u the log-odds are (difference + bias) / phi + u, and on average over u they are difference + bias again,
exactly. So strengths and bias stay what a Bradley-Terry model means by them, however correlated the votes are;
`correlation` is 1 - phi^2, the share of u in the variance of a vote's latent scale. Qualities are N(0, spread^2).

Every function takes seeds and returns a tidy table (accuracies with 95 % intervals). One seed is one set of candidates
with all its votes, and every strategy replays the same votes (`tournament.replay`).

| table              | a row is                 | says                                                            |
|--------------------|--------------------------|-----------------------------------------------------------------|
| `tournaments`      | a strategy               | how often the best is picked, for how many matches              |
| `growth`           | a strategy at a size     | matches, rounds and seconds as the candidates grow              |
| `estimators`       | a rating of some matches | how often the best is picked, and whether a shuffle decides it  |
| `estimator_growth` | a rating of some matches | seconds as the matches grow                                     |
| `coverage`         | a design                 | how often Bradley-Terry intervals hold strengths and bias       |
| `stopping`         | a rule for votes         | votes spent, and how often their majority is right              |

Left out: rules that stop (`stopping.py`), figures, files.

    >>> table = tournaments(SimulatedJudge(), 16, {"knockout": Knockout}, seeds=range(100))
    >>> int(table.matches[0])
    15
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from rrmlib.rating import bradley_terry, elo, win_rate
from rrmlib.schedulers import Adaptive, Knockout, RoundRobin, Swiss
from rrmlib.stats import clustered_mean, paired_difference, wilson
from rrmlib.tournament import Matrix, Scheduler, columns, replay

Floats = NDArray[np.float64]
Strategy = Callable[..., Scheduler]  # (n, item=..., seed=...) -> Scheduler
Rule = Callable[[Floats], int]  # votes of one pair, in the order cast, as 1.0, 0.5, 0.0 -> how many of them were needed
BASELINE = "round robin"
STRATEGIES: Mapping[str, Strategy] = {
    BASELINE: RoundRobin,
    "round robin + Elo": partial(RoundRobin, rating="elo"),
    "round robin + Bradley-Terry": partial(RoundRobin, rating="bradley_terry"),
    "knockout": Knockout,
    "Swiss": Swiss,
    "Swiss + Bradley-Terry": partial(Swiss, rating="bradley_terry"),
    "adaptive": Adaptive,
    "adaptive, until 0.9 sure": partial(Adaptive, enough=0.9),
}


@dataclass(frozen=True)
class SimulatedJudge:
    """How it votes; module text. `unread` is the share of votes that cannot be read. Raises ValueError out of range."""

    spread: float = 2.0
    noise: float = 1.0
    bias: float = 0.3
    correlation: float = 0.0
    unread: float = 0.0

    def __post_init__(self) -> None:
        if self.spread < 0 or self.noise <= 0 or not 0 <= self.correlation < 1 or not 0 <= self.unread <= 1:
            raise ValueError(f"{self}: needed are spread >= 0, noise > 0, correlation in [0, 1), unread in [0, 1]")

    def world(self, n: int, seed: int, votes: int = 1) -> tuple[Floats, Matrix]:
        """Strengths (log-odds, around their mean) of n candidates, and all pairs judged `votes` times in each order."""
        if n < 1 or votes < 1:
            raise ValueError(f"need candidates and votes, not {n} and {votes}")
        rng = np.random.default_rng([20505, seed])
        strengths = rng.normal(size=n) * self.spread / self.noise
        strengths -= strengths.mean()
        effect = np.triu(self.effects(rng, (n, n)), 1)
        odds = (strengths[:, None] - strengths + self.bias) / self.phi + effect - effect.T
        unread = rng.binomial(votes, self.unread, (n, n)) if self.unread else np.zeros((n, n), np.int64)
        read = votes - unread
        with np.errstate(invalid="ignore"):
            score = rng.binomial(read, expit(odds)) / np.where(read > 0, read, np.nan)
        return strengths, Matrix(score, np.full((n, n), votes), unread, np.full((n, n), -1))

    @property
    def phi(self) -> float:
        return float(np.sqrt(1 - self.correlation))

    def effects(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Draws from the bridge distribution of mean 0 (its distribution function inverted)."""
        if not self.correlation:
            return np.zeros(shape)
        u = np.pi * self.phi * rng.random(shape)
        return np.log(np.sin(u) / np.sin(np.pi * self.phi - u)) / self.phi


# --- Tournaments ------------------------------------------------------------------------------------------------------


def tournaments(
    judge: SimulatedJudge,
    n: int,
    strategies: Mapping[str, Strategy] = STRATEGIES,
    *,
    seeds: Sequence[int],
    votes: int = 1,
) -> pd.DataFrame:
    """How often each strategy picks the best of n, and what it costs, on the same votes.

    `share` is matches / round robin's, `loss` the mean strength (log-odds) that the pick lacks to the best. Where
    `round robin` is among the strategies, `gain` is the difference in accuracy to it, paired by seed.
    """
    runs: dict[str, list[tuple[float, ...]]] = {name: [] for name in strategies}
    for seed in seeds:
        strengths, matrix = judge.world(n, seed, votes)
        for name, strategy in strategies.items():
            began = time.process_time()
            out = replay(strategy(n, item=str(seed), seed=0), matrix)
            took = time.process_time() - began
            loss = float(strengths.max() - strengths[out.pick])
            runs[name].append((float(loss == 0), out.matches, out.rounds, out.votes, loss, took))
    rows = []
    for name, cells in runs.items():
        right, matches, rounds, cast, loss, took = np.array(cells).T
        accuracy = wilson(right.sum(), len(right))
        row: dict[str, Any] = {"strategy": name, "n": n, "votes": votes, "runs": len(right), "matches": matches.mean()}
        row |= {"share": matches.mean() / max(1, n * (n - 1) // 2), "rounds": rounds.mean(), "judgments": cast.mean()}
        row |= {"accuracy": accuracy.value, "lo": accuracy.lo, "hi": accuracy.hi, "loss": loss.mean()}
        if BASELINE in runs:
            d = paired_difference(right, np.array(runs[BASELINE])[:, 0], np.arange(len(right)))
            row |= {"gain": d.value, "gain_lo": d.lo, "gain_hi": d.hi}
        rows.append(row | {"most_matches": int(matches.max()), "seconds": took.mean()})
    return pd.DataFrame(rows)


def growth(
    judge: SimulatedJudge, sizes: Sequence[int], strategies: Mapping[str, Strategy] = STRATEGIES, *, seed: int = 0
) -> pd.DataFrame:
    """Matches, rounds and seconds (of scheduling and rating, no judge) as the candidates grow; `rank` of the pick."""
    rows = []
    for n in sizes:
        strengths, matrix = judge.world(n, seed)
        for name, strategy in strategies.items():
            began = time.process_time()
            out = replay(strategy(n, item=str(seed), seed=0), matrix)
            took = time.process_time() - began
            rank = 1 + int(np.sum(strengths > strengths[out.pick]))
            rows.append({"strategy": name, "n": n, "matches": out.matches, "rounds": out.rounds, "rank": rank})
            rows[-1]["seconds"] = took
    return pd.DataFrame(rows)


# --- Estimators -------------------------------------------------------------------------------------------------------


def _win_rate(n: int, *table: Any) -> Floats:
    return np.nan_to_num(win_rate(n, *table).values, nan=-1.0)


ESTIMATORS: Mapping[str, Callable[..., Floats]] = {
    "win rate": _win_rate,
    "Elo": lambda n, first, second, score, votes: elo(n, first, second, score, shuffle=0).values,
    "Elo, shuffled again": lambda n, first, second, score, votes: elo(n, first, second, score, shuffle=1).values,
    "Bradley-Terry": lambda n, *table: bradley_terry(n, *table, prior=1.5).strengths,
    "Bradley-Terry, no bias": lambda n, *table: bradley_terry(n, *table, prior=1.5, position=False).strengths,
}


def estimators(judge: SimulatedJudge, n: int, matches: Sequence[int], *, seeds: Sequence[int]) -> pd.DataFrame:
    """Ratings on the same matches: pairs drawn by lot from the round robin, one vote each.

    `correlation` is the mean rank correlation with the true strengths; `same_pick` how often Elo gives the same answer
    after another shuffle of the same matches (missing for the other ratings, which do not depend on it).
    """
    cells: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for seed in seeds:
        strengths, matrix = judge.world(n, seed)
        best, truth = int(strengths.argmax()), np.argsort(np.argsort(strengths))
        pairs = RoundRobin(n, item=str(seed)).next_pairs(())
        lot = np.random.default_rng([20506, seed]).permutation(len(pairs))
        for m in matches:
            table = columns([matrix.match(*pairs[i]) for i in lot[:m]])
            picks = {}
            for name, rate in ESTIMATORS.items():
                values = rate(n, *table)
                picks[name] = int(values.argmax())
                fit = np.corrcoef(_ranks(values), truth)[0, 1] if np.ptp(values) else 0.0
                same = float(picks["Elo"] == picks[name]) if name == "Elo, shuffled again" else np.nan
                cells.setdefault((name, m), []).append((float(picks[name] == best), float(fit), same))
    rows = []
    for (name, m), found in cells.items():
        right, fit, same = np.array(found).T
        e = wilson(right.sum(), len(right))
        row = {"estimator": name, "n": n, "matches": m, "runs": len(right), "accuracy": e.value, "lo": e.lo, "hi": e.hi}
        rows.append(row | {"correlation": fit.mean(), "same_pick": same.mean()})
    return pd.DataFrame(rows)


def estimator_growth(n: int, matches: Sequence[int], *, seed: int = 0, spread: float = 1.0) -> pd.DataFrame:
    """Seconds of each rating (Bradley-Terry with intervals) on random matches among n candidates, one vote each."""
    rates: dict[str, Callable[..., Any]] = {
        "win rate": win_rate,
        "Elo": lambda n, first, second, score: elo(n, first, second, score),
        "Bradley-Terry": partial(bradley_terry, prior=3.0),
    }
    rows = []
    for m in matches:
        rng = np.random.default_rng([20507, seed, m])
        strengths = rng.normal(size=n) * spread
        first = rng.integers(0, n, m)
        second = (first + rng.integers(1, n, m)) % n
        score = (rng.random(m) < expit(strengths[first] - strengths[second] + 0.3)).astype(float)
        for name, rate in rates.items():
            began = time.process_time()
            rate(n, first, second, score)
            rows.append({"estimator": name, "n": n, "matches": m, "seconds": time.process_time() - began})
    return pd.DataFrame(rows)


def coverage(
    judge: SimulatedJudge, n: int, *, seeds: Sequence[int], votes: int = 1, both: bool = True, by_pair: bool = False
) -> pd.DataFrame:
    """How often the 95 % intervals of a round robin's Bradley-Terry fit (prior 3) hold the truth; one row.

    Each pair is judged `votes` times in both orders, or in one order drawn by lot. `by_pair` clusters the intervals by
    pair. `strengths` is the share over runs and candidates, `bias` over runs; `bias_mean` is the mean estimate.
    """
    i, j = np.triu_indices(n, 1)
    inside, held, biases = [], [], []
    for seed in seeds:
        strengths, matrix = judge.world(n, seed, votes)
        turned = np.random.default_rng([20508, seed]).random(len(i)) < 0.5
        first, second, pair = np.where(turned, j, i), np.where(turned, i, j), np.arange(len(i))
        if both:
            first, second, pair = np.r_[first, second], np.r_[second, first], np.r_[pair, pair]
        read = (matrix.votes - matrix.unread)[first, second]
        fit = bradley_terry(
            n, first, second, matrix.score[first, second], read, prior=3.0, clusters=pair if by_pair else None
        )
        inside.append(float(np.mean((fit.lo <= strengths) & (strengths <= fit.hi))))
        held.append(fit.bias.lo <= judge.bias <= fit.bias.hi)
        biases.append(fit.bias.value)
    row: dict[str, Any] = {"n": n, "spread": judge.spread / judge.noise, "correlation": judge.correlation}
    row |= {"votes": votes, "both": both, "by_pair": by_pair, "runs": len(held), "strengths": np.mean(inside)}
    return pd.DataFrame([row | {"bias": np.mean(held), "true_bias": judge.bias, "bias_mean": np.mean(biases)}])


# --- Stopping ---------------------------------------------------------------------------------------------------------


def stopping(judge: SimulatedJudge, rules: Mapping[str, Rule], *, seeds: Sequence[int], most: int = 16) -> pd.DataFrame:
    """Votes on a pair of candidates, the orders taking turns, until a rule says that they are enough.

    A rule gets the votes of one pair (1.0 for the first candidate; never NaN) in the order cast and says how many were
    needed. `accuracy` is that of their majority against the truth, a tie half right; `agrees` how often that majority
    is the one of all `most` votes.
    """
    cells: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rules}
    for seed in seeds:
        rng = np.random.default_rng([20509, seed])
        gap = abs(rng.normal()) * np.sqrt(2) * judge.spread / judge.noise
        side = np.where(np.arange(most) % 2 == 0, judge.bias, -judge.bias)
        odds = (gap + side) / judge.phi + judge.effects(rng, (1,))
        cast = (rng.random(most) < expit(odds)).astype(float)
        full = float(np.sign(cast.mean() - 0.5))
        for name, rule in rules.items():
            used = rule(cast)
            if not 1 <= used <= most:
                raise ValueError(f"rule {name!r}: {used} of {most} votes")
            said = float(np.sign(cast[:used].mean() - 0.5))
            cells[name].append(((said + 1) / 2, used, float(said == full)))
    rows = []
    for name, values in cells.items():
        right, used, same = np.array(values).T
        e = clustered_mean(right, np.arange(len(right)))
        row = {"rule": name, "runs": len(right), "votes": used.mean(), "share": used.mean() / most}
        rows.append(row | {"accuracy": e.value, "lo": e.lo, "hi": e.hi, "agrees": same.mean()})
    return pd.DataFrame(rows)


def _ranks(values: Floats) -> Floats:
    """Ranks, equal values sharing their mean."""
    _, at, size = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(size) - (size + 1) / 2)[at]
