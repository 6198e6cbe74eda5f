"""From matches to ratings: win rate, sequential Elo, and Bradley-Terry with position bias and intervals.

Matches are plain columns, one row each: `first` and `second` (candidates 0..n-1, in the order shown where position
matters), `score` (share of the votes for `first`, a tie is half a vote, NaN where none could be read) and `votes` (how
many readable votes that share is of; 1 by default). Rows without a readable vote are left out and counted (`unread`).

| rating          | what it is                                                     | depends on the order of rows      |
|-----------------|----------------------------------------------------------------|-----------------------------------|
| `win_rate`      | mean share of the votes over a candidate's matches             | no                                |
| `elo`           | online Elo as RRM's evaluation runs it (start 1000, scale 400, | yes: a seeded shuffle fixes it    |
|                 | K = 4); not a fit                                              |                                   |
| `bradley_terry` | strengths and position bias that explain all matches together  | no                                |

**Bradley-Terry** (Bradley & Terry 1952; the order effect is Davidson & Beaver 1977): P(first wins) = sigmoid(s_first -
s_second + b). Strengths are log-odds and stand around their mean, sum s = 0; b > 0 favours the one shown first.
`prior=sd` puts a normal prior N(0, sd^2) on every strength and on b (a ridge): then everything is defined, also
candidates that never meet, never win or never lose; the estimate is the mode and the covariance that of the normal
approximation there. Without it the estimate is the maximum of the likelihood, or a ValueError that says why there is
none (Ford 1957) and names the candidates.

**What the intervals assume.** Given strengths and b, votes are independent: covariance = inverse observed information,
normal quantiles. Half votes vary less than that, so with many ties they are too wide. Votes on one pair usually share
what the judge thinks of that pair, and then these intervals are too narrow: `clusters` (one label per row, e.g. the
pair) gives a sandwich with t quantiles (`rating_fit.py`), which assumes only that clusters are independent and
that the mean over clusters is sigmoid(s_first - s_second + b). `measure/rating.py` measures both. With a prior the
strengths are also taken to be about as spread as it says. A prior that is too narrow pulls them in, and the intervals
with them: round robins of 16, one vote in each order, prior 3, hold true strengths of standard deviation 2, 3 and 4 in
95, 91 and 78 % (150 runs each), and those of 4 in 95 % with prior 6. The bias is held all the same.

Newton's method on dense n x n matrices, after the rows are summed up by pair: for some thousands of candidates.

Left out: which matches to play (`tournament.py`), ties as an outcome of their own (Davidson 1970), several judges.

    >>> fit = bradley_terry(2, [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0], position=False)
    >>> float(round(fit.strengths[0] - fit.strengths[1], 6)) == round(math.log(3), 6)  # won three of four
    True
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri, stdtrit

from rrmlib.rating_fit import Cells, check_connected, inverse_information, mode, sandwich
from rrmlib.stats import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Rating:
    """One number per candidate (higher is better), from `matches` rows; `unread` rows had no readable vote."""

    values: Floats
    matches: int
    unread: int


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """Strengths (log-odds, mean 0) with `lo`, `hi` and covariance (n x n, of the centred strengths), and the bias.

    `bias` is the log-odds that being shown first adds (its `n` is the number of votes); exactly 0 where it was not
    estimated. `method` is "information" or "sandwich", with "+prior" where there is one.
    """

    strengths: Floats
    lo: Floats
    hi: Floats
    covariance: Floats
    bias: Estimate
    matches: int
    unread: int
    votes: float
    prior: float | None
    method: str
    quantiles: Floats  # half width of each strength's interval in standard errors

    def probability(self, first: int, second: int) -> float:
        """That `first`, shown first, is preferred to `second`."""
        return float(expit(self.strengths[first] - self.strengths[second] + self.bias.value))

    def difference(self, a: int, b: int) -> tuple[float, float, float]:
        """s_a - s_b with its interval; unlike the strengths it does not refer to the mean of the candidates."""
        value, c = float(self.strengths[a] - self.strengths[b]), self.covariance
        wide = float(max(self.quantiles[a], self.quantiles[b]))  # the fewer degrees of freedom of the two
        half = wide * math.sqrt(max(0.0, c[a, a] + c[b, b] - 2 * c[a, b]))
        return value, value - half, value + half

    def best(self, draws: int = 4000, seed: int = 0) -> Floats:
        """Each candidate's probability of being the best, from `draws` seeded draws of the normal approximation.

        That is a posterior probability where there is a prior, and one under a flat prior where there is none. The
        standard error of a probability p is sqrt(p (1 - p) / draws).
        """
        if draws < 1:
            raise ValueError(f"draws must be at least 1, not {draws}")
        n = len(self.strengths)
        return np.bincount(np.argmax(self.sample(draws, seed), axis=1), minlength=n) / draws

    def sample(self, draws: int, seed: int | Sequence[int] = 0) -> Floats:
        """Strengths drawn from the normal approximation, shape (draws, n), each draw around its own mean."""
        n = len(self.strengths)
        scale = float(np.trace(self.covariance)) / n or 1.0
        regular = self.covariance + scale / n  # a shift of all strengths together, taken out again below
        regular[range(n), range(n)] += 1e-9 * scale
        noise = np.random.default_rng(seed).standard_normal((draws, n)) @ np.linalg.cholesky(regular).T
        return self.strengths + noise - noise.mean(axis=1, keepdims=True)


# --- Win rate and Elo -------------------------------------------------------------------------------------------------


def win_rate(n: int, first: ArrayLike, second: ArrayLike, score: ArrayLike, votes: ArrayLike | None = None) -> Rating:
    """Mean share of the votes over a candidate's matches, each match counting once; NaN for one that never played.

    Raises ValueError for bad columns (module text).
    """
    rows = _rows(n, first, second, score, votes)
    won = np.bincount(rows.first, rows.score, n) + np.bincount(rows.second, 1 - rows.score, n)
    played = np.bincount(rows.first, minlength=n) + np.bincount(rows.second, minlength=n)
    values = np.divide(won, played, out=np.full(n, np.nan), where=played > 0)
    return Rating(values, len(rows.first), rows.unread)


def elo(
    n: int,
    first: ArrayLike,
    second: ArrayLike,
    score: ArrayLike,
    *,
    start: float = 1000.0,
    scale: float = 400.0,
    k: float = 4.0,
    shuffle: int | None = 0,
) -> Rating:
    """Sequential Elo: a match moves both by k (score - e), where e = 1 / (1 + 10^((second - first) / scale)).

    The rows are shuffled first, by Python's `random.Random(shuffle)` as RRM's evaluation does (2505.14674; its script
    elo_rival_results.py has seed 0 and then evalica's defaults, which these are); None plays them as given. The answer
    depends on that order: print more than one, or use `bradley_terry`. Raises ValueError for bad columns or k <= 0.
    """
    if k <= 0 or scale <= 0:
        raise ValueError(f"k and scale must be positive, not {k} and {scale}")
    rows = _rows(n, first, second, score, None)
    order = list(range(len(rows.first)))
    if shuffle is not None:
        random.Random(shuffle).shuffle(order)
    a, b, y = rows.first.tolist(), rows.second.tolist(), rows.score.tolist()
    rating = [float(start)] * n
    for row in order:
        i, j = a[row], b[row]
        moved = k * (y[row] - 1 / (1 + 10 ** ((rating[j] - rating[i]) / scale)))
        rating[i] += moved
        rating[j] -= moved
    return Rating(np.array(rating), len(order), rows.unread)


# --- Bradley-Terry ----------------------------------------------------------------------------------------------------


def bradley_terry(
    n: int,
    first: ArrayLike,
    second: ArrayLike,
    score: ArrayLike,
    votes: ArrayLike | None = None,
    *,
    prior: float | None = None,
    position: bool = True,
    clusters: Sequence[Hashable] | ArrayLike | None = None,
    level: float = 0.95,
) -> BradleyTerry:
    """Strengths of n candidates and, with `position`, the advantage of being shown first; module text.

    `prior` is the standard deviation of the normal prior in log-odds, None for plain maximum likelihood. Raises
    ValueError for bad columns; without a prior, where candidates never meet or only win or lose (it names them), where
    the bias cannot be told from the strengths, or where votes are separated and there is no maximum; and with
    `clusters`, where there are no more clusters than parameters.
    """
    if prior is not None and not (prior > 0 and math.isfinite(prior)):
        raise ValueError(f"prior must be a positive standard deviation or None, not {prior}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    rows = _rows(n, first, second, score, votes)
    if prior is None:
        check_connected(n, rows.first, rows.second, rows.score)
        if position and not len(rows.first):
            raise ValueError("a single candidate shows no position bias: give a prior or position=False")
    pair, at = np.unique(rows.first * n + rows.second, return_inverse=True)
    weight, won = np.bincount(at, rows.votes), np.bincount(at, rows.votes * rows.score)
    cells = Cells(n, pair // n, pair % n, weight.astype(float), won.astype(float))
    ridge = 0.0 if prior is None else prior**-2
    theta = mode(cells, ridge, position)
    covariance = inverse_information(cells, theta, ridge, position)
    method, units, quantiles = "information", len(rows.first), np.full(n + 1, float(ndtri(0.5 + level / 2)))
    if clusters is not None:
        labels = np.asarray(clusters)
        if labels.shape != rows.kept.shape:
            raise ValueError(f"{len(rows.kept)} matches but clusters of shape {labels.shape}")
        p = expit(theta[rows.first] - theta[rows.second] + theta[n])
        information, residual = rows.votes * p * (1 - p), rows.votes * (rows.score - p)
        covariance, freedom, units = sandwich(
            covariance, rows.first, rows.second, information, residual, labels[rows.kept]
        )
        method, quantiles = "sandwich", stdtrit(freedom, 0.5 + level / 2)
    half = quantiles * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    method += "" if prior is None else "+prior"
    b, total = float(theta[n]), float(rows.votes.sum())
    bias = Estimate(b, b - half[n], b + half[n], round(total), units, method if position else "not estimated")
    s = theta[:n]
    return BradleyTerry(
        strengths=s,
        lo=s - half[:n],
        hi=s + half[:n],
        covariance=covariance[:n, :n],
        bias=bias,
        matches=len(rows.first),
        unread=rows.unread,
        votes=total,
        prior=prior,
        method=method,
        quantiles=quantiles[:n],
    )


# --- Inside -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rows:
    """Checked columns of the rows that could be read. `kept` says which of the given rows they are."""

    first: Ints
    second: Ints
    score: Floats
    votes: Floats
    kept: NDArray[np.bool_]
    unread: int


def _rows(n: int, first: ArrayLike, second: ArrayLike, score: ArrayLike, votes: ArrayLike | None) -> _Rows:
    if n < 1:
        raise ValueError(f"a rating needs at least one candidate, not {n}")
    y = np.asarray(score, dtype=float)
    a, b = (_candidates(x, n, len(y)) for x in (first, second))
    w = np.ones(len(y)) if votes is None else np.asarray(votes, dtype=float)
    if y.ndim != 1 or w.shape != y.shape:
        raise ValueError(f"columns must be flat and equally long: scores {y.shape}, votes {w.shape}")
    if (same := np.flatnonzero(a == b)).size:
        raise ValueError(f"row {same[0]}: candidate {a[same[0]]} is matched with itself")
    kept = ~np.isnan(y)
    if (bad := np.flatnonzero(kept & ~((y >= 0) & (y <= 1)))).size:
        raise ValueError(f"row {bad[0]}: score {y[bad[0]]} is no share of votes in 0..1")
    if (bad := np.flatnonzero(kept & ~((w > 0) & np.isfinite(w)))).size:
        raise ValueError(f"row {bad[0]}: {w[bad[0]]:g} votes; a score needs at least one (NaN marks a match without)")
    return _Rows(a[kept], b[kept], y[kept], w[kept], kept, int(np.sum(~kept)))


def _candidates(column: ArrayLike, n: int, length: int) -> Ints:
    raw = np.asarray(column)
    if raw.shape != (length,):
        raise ValueError(f"columns must be flat and equally long: {length} scores, candidates of shape {raw.shape}")
    if raw.size and (raw.dtype.kind not in "iu" or raw.min() < 0 or raw.max() >= n):
        raise ValueError(f"candidates must be whole numbers 0..{n - 1}")
    return raw.astype(np.intp)
