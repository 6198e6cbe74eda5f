"""How far a number can be trusted: intervals, paired comparisons, detectable differences and groups of ties.

Plain arrays in, small frozen records out. The prompt is the unit of replication: both orders, all samples and all
items of one prompt are one CLUSTER, because they succeed and fail together (Miller 2024, "Adding Error Bars to
Evals"). Values are credits in 0..1 (a tie may earn 0.5); NaN is an excluded value, and `n` says how many
were used. No random numbers are drawn here.

| what is measured                                    | function                       | interval / test               |
|-----------------------------------------------------|--------------------------------|-------------------------------|
| share right, one 0/1 judgment per prompt            | `wilson`, `clustered_mean`     | Wilson                        |
| any credits, several per prompt                     | `clustered_mean`               | clustered score, below        |
| weighted mean of sections                           | `stratified_mean`              | the same, Satterthwaite d.f.  |
| two judges, one 0/1 judgment per prompt             | `paired_binary`, `mcnemar`     | Bonett-Price; exact McNemar   |
| two judges, anything else                           | `paired_difference`            | clustered score; t test       |
| several judges                                      | `tie_groups`                   | Holm, ranges of ranks         |
| stability, consistency, preference for the first    | `position.py`                  | clustered score               |

**The clustered score interval.** With v the (weighted) mean and u_k what cluster k adds to it, V = sum u_k^2 is its
cluster-robust variance (each u_k divided by sqrt(1 - share of the cluster): CR2, Bell & McCaffrey 2002). The bounds
are the two p with (p - v)^2 = t^2 (V + B (p - v) - (p - v)^2 / n_eff), n_eff = v (1 - v) / V: a Wilson interval at the
effective sample size (Korn & Graubard 1998) whose variance changes with p at the observed rate B = sum u_k^3 / V. On
0/1 data that is (1 - 2v) / n, so it is Wilson's own interval (with t for z). t has V's degrees of freedom for clusters
that agree within (Satterthwaite 1946): K - 1 where they are of one size.
V itself is poorly known where few clusters make it up: G = (sum u^2)^2 / sum u^4 of them, times K_eff / K where sizes
differ (K_eff = 1 / sum share^2, Kish 1965). So V grows by 1 + 2v/G for the lower bound and 1 + 2(1 - v)/G for the
upper one, that is, on the side which a few prompts more would have moved, and not beyond the variance v (1 - v) /
(K_eff - 1) of prompts that are right or wrong as a whole. This is our own correction; `measure/coverage.py` measures
it: 93-97 % for 100 prompts and more; with 50 prompts, 97 % right and 9 correlated readings each about 91 %.
For a difference V grows by 1 + 2/G (on 0/1 pairs: one more pair in each discordant cell, as Bonett & Price 2012) and
depends on the difference only as the variance of -1/0/1 with a fixed share of zeros does.

**Nothing varied.** Where every cluster has the same mean v the data hold no variance. A share of prompts up to
z^2 / (K + z^2), Wilson's bound for 0 of K, may still differ in any way: [v (1 - s), v (1 - s) + s]. At v = 0 and 1
this is Wilson's interval on clusters; two identical judges get 0 +- s instead of a width of zero.

Left out: multilevel models, bootstrap, Bayesian intervals; tables (`score.py`).

    >>> clustered_mean([1, 1, 1, 0, 0, 0, 1, 1], ["p", "p", "q", "q", "r", "r", "s", "s"]).value
    0.625
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit
from scipy.stats import binomtest

Floats = NDArray[np.float64]
_FLAT = 1e-14  # a variance of credits below this is rounding
_CAUTION = 2.0  # the 2 of 1 + 2v/G; chosen with other seeds than those that measure/coverage.py reports


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, in the unit of the values. `n` values were used, in `clusters` prompts.

    All three numbers are NaN, and `method` is "none", exactly when n = 0.
    """

    value: float
    lo: float
    hi: float
    n: int
    clusters: int
    method: str


@dataclass(frozen=True)
class Difference:
    """a - b over the pairs where both have a value (`n`; `excluded` pairs lack one), in -1..1.

    `p` is two-sided. `mdd` is the difference that this comparison would detect with 80 % power at the 5 % level.
    `mcnemar` is the exact p where there is one 0/1 pair per prompt, else None.
    """

    value: float
    lo: float
    hi: float
    p: float
    n: int
    clusters: int
    mdd: float
    excluded: int
    mcnemar: float | None
    method: str


@dataclass(frozen=True)
class Standing:
    """A name among others: rank `best` to `worst` (1 is highest), and the names it cannot be told from."""

    name: str
    value: float
    best: int
    worst: int
    ties: tuple[str, ...]

    @property
    def rank(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}-{self.worst}"


# --- One judgment per prompt ------------------------------------------------------------------------------------------


def wilson(successes: float, n: int, *, level: float = 0.95) -> Estimate:
    """Score interval of a share, for n independent 0/1 outcomes (Wilson 1927).

    With z the normal quantile: (v + z^2/2n +- z sqrt(v (1-v)/n + z^2/4n^2)) / (1 + z^2/n).
    Raises ValueError unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return _NOTHING
    v, z2 = successes / n, _z(level) ** 2
    centre = (successes + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (n * v * (1 - v) + z2 / 4)) / (n + z2)
    return Estimate(v, max(0.0, min(v, centre - half)), min(1.0, max(v, centre + half)), n, n, "wilson")


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p of b against c discordant pairs: twice the binomial(b + c, 1/2) tail, at most 1 (McNemar 1947).

    Assumes independent pairs, so one judgment per prompt. No discordant pair at all gives 1.
    """
    if b < 0 or c < 0:
        raise ValueError(f"discordant counts must not be negative: {b}, {c}")
    return float(binomtest(b, b + c).pvalue) if b + c else 1.0


def paired_binary(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Difference:
    """Difference of two judges, one 0/1 judgment each per prompt: exact McNemar p, Bonett-Price interval (2012).

    The interval adds one pair to each discordant cell: with x = (n10 + 1)/(n + 2) and y = (n01 + 1)/(n + 2) it is
    x - y +- z sqrt((x + y - (x - y)^2) / (n + 2)). It may touch 0 where the exact p does not, and the reverse.
    Raises ValueError for values other than 0, 1 and NaN.
    """
    x, y, excluded = _pairs(a, b)
    if not (_binary(x) and _binary(y)):
        raise ValueError("paired_binary needs values 0, 1 or NaN; use paired_difference for partial credits")
    return _binary_difference(x, y, excluded, level)


# --- Several judgments per prompt, sections ---------------------------------------------------------------------------


def clustered_mean(values: ArrayLike, clusters: Sequence[Hashable] | ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of credits in 0..1 (NaN excluded) with an interval clustered by prompt; the formula is in the module text.

    One 0/1 value per cluster gives `wilson`; clusters of different size count by their size (a ratio mean). Raises
    ValueError for a value outside 0..1 or lengths that differ.
    """
    return stratified_mean(values, clusters, level=level)


def stratified_mean(
    values: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    strata: Sequence[Hashable] | ArrayLike | None = None,
    weights: Mapping[Any, float] | None = None,
    *,
    level: float = 0.95,
    pseudo: bool = False,
) -> Estimate:
    """sum_s weights[s] * mean of stratum s, clustered by prompt within strata.

    V = sum_s w_s^2 V_s with Satterthwaite's degrees of freedom (1946), V^2 / sum_s((w_s^2 V_s)^2 / df_s). A cluster
    that spans strata (one prompt in two subsets) stays ONE unit: its contributions are added up before squaring, so
    their covariance is counted. A stratum where nothing varied, beside others that did, gets the variance of a share
    1 / (2 K_eff + 2) of deviating prompts, not zero.

    `pseudo=True` is for jackknife pseudo-values of a score that is no mean: they may leave 0..1, the result may not.
    Raises ValueError for values outside 0..1, a stratum without weight or without any usable value, or weights that do
    not sum to 1.
    """
    x = np.asarray(values, dtype=float)
    keep = ~np.isnan(x)
    if not keep.any():
        return _NOTHING
    if not pseudo and not np.all((x[keep] >= 0) & (x[keep] <= 1)):
        raise ValueError(f"values must lie in 0..1, found {x[keep].min()} to {x[keep].max()}")
    k, s, w = _design(len(x), keep, clusters, strata, weights)
    if len(w) == 1 and k.max() + 1 == len(k) and _binary(x[keep]):
        return wilson(float(x[keep].sum()), len(k), level=level)
    m = _moments(x[keep], k, s, w)
    lo, hi = _interval(m, level)
    return Estimate(min(1.0, max(0.0, m.value)), lo, hi, len(k), m.clusters, "clustered" if m.variance else "unvaried")


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable] | ArrayLike,
    strata: Sequence[Hashable] | ArrayLike | None = None,
    weights: Mapping[Any, float] | None = None,
    *,
    level: float = 0.95,
    pseudo: bool = False,
) -> Difference:
    """Difference a - b of two judges on the same rows, clustered and stratified as in `stratified_mean`.

    The interval is the clustered score interval of (a - b + 1) / 2, mapped back. p is Student's t with V's degrees of
    freedom; where all pairs differ by the same amount, the exact sign test 2^(1 - clusters), and 1 for identical
    judges (whose interval is 0 +- s, module text). One 0/1 pair per prompt and no strata: `paired_binary`.
    `pseudo=True` as in `stratified_mean`.
    Raises ValueError as `stratified_mean` does.
    """
    x, y, excluded = _pairs(a, b)
    keep = ~np.isnan(np.asarray(a, dtype=float) + np.asarray(b, dtype=float))
    if not len(x):
        return Difference(math.nan, math.nan, math.nan, math.nan, 0, 0, math.nan, excluded, None, "none")
    if not pseudo and (min(x.min(), y.min()) < 0 or max(x.max(), y.max()) > 1):
        raise ValueError("values must lie in 0..1")
    k, s, w = _design(len(keep), keep, clusters, strata, weights)
    exact = None
    if k.max() + 1 == len(k) and _binary(x) and _binary(y):
        simple = _binary_difference(x, y, excluded, level)
        if len(w) == 1:
            return simple
        exact = simple.mcnemar
    m = _moments((x - y + 1) / 2, k, s, w)
    lo, hi = _interval(m, level, difference=True)
    value, se = 2 * m.value - 1, 2 * math.sqrt(m.variance * (1 + _CAUTION / m.voices) or m.floor)
    if m.variance:
        p = 2 * float(stdtr(m.df, -abs(value) / se))
    else:
        p = 1.0 if abs(value) < 1e-12 else min(1.0, 2.0 ** (1 - m.clusters))
    mdd = minimum_detectable_difference(1, se)
    method = "clustered" if m.variance else "unvaried"
    return Difference(value, 2 * lo - 1, 2 * hi - 1, p, len(k), m.clusters, mdd, excluded, exact, method)


def over_runs(values: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Mean of one value per training run, with Student's interval over the runs: what another run may be expected to be
    near. NaN without bounds for fewer than two; `clusters` is the number of runs. Raises ValueError for a NaN."""
    x = np.asarray(values, dtype=float)
    if np.isnan(x).any():
        raise ValueError("a run without a value")
    if not len(x):
        return _NOTHING
    half = math.nan
    if len(x) > 1:
        half = float(stdtrit(len(x) - 1, 0.5 + level / 2)) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return Estimate(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, len(x), len(x), "student")


def minimum_detectable_difference(n_clusters: float, sd: float, *, power: float = 0.8, level: float = 0.05) -> float:
    """(z_{1 - level/2} + z_power) * sd / sqrt(n_clusters), with `sd` of one prompt's paired difference (Miller 2024).

    Inside a comparison sd is the observed one; judges that never differed get that of one prompt in 2 K + 2.
    """
    if n_clusters <= 0 or sd < 0:
        raise ValueError(f"need n_clusters > 0 and sd >= 0, got {n_clusters} and {sd}")
    return float((ndtri(1 - level / 2) + ndtri(power)) * sd / math.sqrt(n_clusters))


# --- Several judges ---------------------------------------------------------------------------------------------------


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values (1979), in the order given: the i-th smallest times m - i, made monotone."""
    raw = np.asarray(p, dtype=float)
    if raw.ndim != 1 or not np.all((raw >= 0) & (raw <= 1)):
        raise ValueError("p-values must be a flat list of numbers in 0..1")
    order = np.argsort(raw, kind="stable")
    steps = raw[order] * np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def tie_groups(
    names: Sequence[str], values: Sequence[float], p: Mapping[tuple[str, str], float], *, alpha: float = 0.05
) -> tuple[Standing, ...]:
    """Ranges of ranks in place of bare ranks, best first: a rank is claimed only against names that differ.

    `p[a, b]` (in either order) is the raw p-value of the pair; all pairs are adjusted together by `holm`. A name's best
    rank is 1 + how many are significantly better, its worst is how many names there are less those significantly worse.
    Being tied is not transitive, so ranges may overlap without being equal. Raises ValueError for a missing pair.
    """
    if len(set(names)) != len(names) or len(names) != len(values):
        raise ValueError("names must be distinct, with one value each")
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    try:
        raw = [p[pair] if pair in p else p[pair[::-1]] for pair in pairs]
    except KeyError as e:
        raise ValueError(f"no p-value for the pair {e.args[0]}") from None
    apart = {frozenset(pair): q < alpha for pair, q in zip(pairs, holm(raw))}
    score = dict(zip(names, values))
    standings = []
    for name in sorted(names, key=lambda x: (-score[x], x)):
        others = [x for x in names if x != name]
        differ = [x for x in others if apart[frozenset((name, x))]]
        better = sum(score[x] > score[name] for x in differ)
        worse = sum(score[x] < score[name] for x in differ)
        ties = tuple(x for x in others if x not in differ)
        standings.append(Standing(name, score[name], 1 + better, len(names) - worse, ties))
    return tuple(standings)


# --- Inside -----------------------------------------------------------------------------------------------------------

_NOTHING = Estimate(math.nan, math.nan, math.nan, 0, 0, "none")


@dataclass(frozen=True)
class _Moments:
    value: float
    variance: float  # of the value; exactly 0 where nothing varied
    slope: float  # d variance / d value, from the third moment
    df: float
    kish: float  # effective number of clusters
    voices: float  # effective number of clusters that the variance comes from: G of the module text
    clusters: int
    floor: float  # the variance to assume where nothing varied


def _moments(x: Floats, k: NDArray[np.intp], s: NDArray[np.intp], w: Floats) -> _Moments:
    """Mean of values x in 0..1 in clusters k and strata s (codes from 0) of weights w, with its variance and skew."""
    n_k, n_s = int(k.max()) + 1, len(w)
    if n_s == 1:  # the common case, without sorting
        in_s, in_k, cell = np.zeros(n_k, dtype=np.intp), np.arange(n_k), k
    else:
        cells, cell = np.unique(s * n_k + k, return_inverse=True)
        in_s, in_k = cells // n_k, cells % n_k
    size = np.bincount(cell, minlength=len(in_s)).astype(float)
    total = np.bincount(in_s, size, n_s)
    sums = np.bincount(cell, x, len(in_s))
    mean = np.bincount(in_s, sums, n_s) / total
    share = size / total[in_s]
    with np.errstate(divide="ignore", invalid="ignore"):  # a stratum of one cluster: share 1, residual 0
        u = np.where(share < 1, (sums - mean[in_s] * size) / total[in_s] / np.sqrt(1 - share), 0.0)
    kish = 1 / np.bincount(in_s, share**2, n_s)
    df_s = np.maximum(1 / (kish**2 * np.bincount(in_s, share**4, n_s)) - 1, 1.0)
    by_stratum = np.bincount(in_s, u**2, n_s)
    flat = by_stratum <= _FLAT
    deviating = 1 / (2 * kish + 2)
    floor = deviating * (1 - deviating) * np.maximum(mean, 1 - mean) ** 2 / kish
    joint = np.bincount(in_k, w[in_s] * u, n_k)
    overall = 1 / float(np.sum(np.bincount(in_k, w[in_s] * share, n_k) ** 2))
    value, variance = float(w @ mean), float(joint @ joint)
    if variance <= _FLAT:
        return _Moments(value, 0.0, 0.0, 1.0, overall, 1.0, n_k, float(w**2 @ floor))
    variance += float(w[flat] ** 2 @ floor[flat])
    parts = w**2 * np.where(flat, floor, by_stratum)
    df = float(parts.sum() ** 2 / np.sum(parts**2 / df_s))
    slope = float(np.sum(joint**3)) / variance
    voices = float((joint @ joint) ** 2 / np.sum(joint**4)) * overall / n_k
    return _Moments(value, variance, slope, max(1.0, min(df, n_k - 1.0)), overall, voices, n_k, float(w**2 @ floor))


def _interval(m: _Moments, level: float, *, difference: bool = False) -> tuple[float, float]:
    """The clustered score interval of the module text, within 0..1 and around the value."""
    z2 = _z(level) ** 2
    v = min(1.0, max(0.0, m.value))
    if m.variance == 0:
        share = z2 / (m.kish + z2)
        return v * (1 - share), v * (1 - share) + share
    t2 = float(stdtrit(m.df, 0.5 + level / 2)) ** 2
    binomial = v * (1 - v)
    whole = max(m.variance, binomial / max(m.kish - 1, 1.0))
    bounds = []
    for sign, weight in ((-1, v), (1, 1 - v)):
        variance = m.variance * (1 + _CAUTION * (1 if difference else weight) / m.voices)
        if difference:
            slope, curve = (1 - 2 * v) / m.kish, 1 / m.kish
        else:
            variance = min(whole, variance)
            slope = max(-1 / m.kish, min(1 / m.kish, m.slope * variance / m.variance))
            curve = variance / binomial if binomial else 0.0
        a = 1 + t2 * curve
        root = math.sqrt((t2 * slope) ** 2 + 4 * a * t2 * variance)
        bounds.append(v + (t2 * slope + sign * root) / (2 * a))
    return max(0.0, min(v, bounds[0])), min(1.0, max(v, bounds[1]))


def _design(
    n: int, keep: NDArray[np.bool_], clusters: Any, strata: Any, weights: Mapping[Any, float] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Integer codes of the kept rows' clusters and strata, and the weights in the order of the stratum codes."""
    groups = np.asarray(clusters)
    if groups.shape != (n,):
        raise ValueError(f"{n} values but clusters of shape {groups.shape}")
    k = np.unique(groups[keep], return_inverse=True)[1]
    if strata is None:
        return k, np.zeros(len(k), dtype=np.intp), np.ones(1)
    sections = np.asarray(strata)
    if sections.shape != (n,) or weights is None:
        raise ValueError("strata need one entry per value, and weights")
    labels, s = np.unique(sections[keep], return_inverse=True)
    found = dict(zip(labels.tolist(), range(len(labels))))
    wanted = {name: weight for name, weight in weights.items() if weight != 0}
    if lost := sorted(set(wanted) - set(found), key=str):
        raise ValueError(f"stratum {lost[0]!r} has weight {wanted[lost[0]]} but no usable value")
    if extra := sorted(set(found) - set(weights), key=str):
        raise ValueError(f"stratum {extra[0]!r} has values but no weight")
    w = np.array([weights[name] for name in found], dtype=float)
    if w.min() < 0 or abs(w.sum() - 1) > 1e-6:
        raise ValueError(f"weights must be at least 0 and sum to 1, not {w.sum():g}")
    return k, s, w


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats, int]:
    """Both columns where neither is NaN, and the count of the other rows."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"two judges need the same rows: shapes {x.shape} and {y.shape}")
    keep = ~(np.isnan(x) | np.isnan(y))
    return x[keep], y[keep], int((~keep).sum())


def _binary_difference(x: Floats, y: Floats, excluded: int, level: float) -> Difference:
    n = len(x)
    if not n:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0, 0, math.nan, excluded, None, "none")
    b, c = int(np.sum(x > y)), int(np.sum(x < y))
    value, p = (b - c) / n, mcnemar(b, c)
    centre, spread = (b - c) / (n + 2), (b + c + 2) / (n + 2)
    half = _z(level) * math.sqrt((spread - centre**2) / (n + 2))
    lo, hi = max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half))
    mdd = minimum_detectable_difference(n + 2, math.sqrt(spread - centre**2))
    return Difference(value, lo, hi, p, n, n, mdd, excluded, p, "mcnemar")


def _binary(x: Floats) -> bool:
    return bool(np.all((x == 0) | (x == 1)))


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    return float(ndtri(0.5 + level / 2))
