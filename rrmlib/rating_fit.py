"""The numerics of Bradley-Terry with position bias: the mode, its covariance, and a sandwich for clustered votes.

Parameters are theta = (n strengths around mean 0, bias); the data are votes summed up by ordered pair (`Cells`).
Newton's method on the dense (n + 1) x (n + 1) Hessian. That all strengths rise together changes nothing: along that
direction the Hessian is given a curvature of 1, and the inverse loses it again.

**The sandwich.** With x_r = e_first - e_second + e_bias the design of row r, v_r = votes p (1 - p) its information,
H^-1 the inverse information (centred) and r_c the residuals of cluster c, the covariance is

    H^-1 (sum_c u_c u_c') H^-1,    u_c = X_c' V_c^1/2 (I - V_c^1/2 X_c H^-1 X_c' V_c^1/2)^-1/2 V_c^-1/2 r_c

which is CR2 (Bell & McCaffrey 2002): a fit follows its own data, so residuals are too small, and most so where few
clusters speak of a candidate. That is also why the t quantiles have few degrees of freedom: (sum_c a_c)^2 / sum_c a_c^2
per parameter, where a_c = sum_r v_r (H^-1 x_r)^2 is the part of the variance that cluster c would bring if its votes
were independent (Satterthwaite 1946; Bell and McCaffrey's figure without its cross terms). The assumption: clusters are
independent of each other, and the mean over clusters is sigmoid(s_first - s_second + b).

Left out: columns and their checks, intervals, records (`rating.py`); clusters in two directions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
_STEPS = 100
_FAR = 30.0  # log-odds beyond which a vote is certain to rounding: the likelihood has no maximum
_CHUNK = 200_000  # numbers held at once in the sandwich


@dataclass(frozen=True, eq=False)
class Cells:
    """Votes summed up by ordered pair: `votes` of them, `won` by the one shown first."""

    n: int
    first: Ints
    second: Ints
    votes: Floats
    won: Floats


def _curvature(cells: Cells, theta: Floats, ridge: float, position: bool) -> tuple[Floats, Floats]:
    """Gradient of the penalised log-likelihood and its negative Hessian, of (strengths, bias), made regular.

    A bias that is not estimated gets a row of its own, away from the strengths.
    """
    n, a, b = cells.n, cells.first, cells.second
    p = expit(theta[a] - theta[b] + theta[n])
    residual = cells.won - cells.votes * p
    info = cells.votes * p * (1 - p)
    gradient = np.empty(n + 1)
    gradient[:n] = np.bincount(a, residual, n) - np.bincount(b, residual, n)
    gradient[n] = residual.sum() if position else 0.0
    gradient -= ridge * theta
    hessian = np.empty((n + 1, n + 1))
    between = np.bincount(a * n + b, info, n * n).reshape(n, n)
    between += between.T
    hessian[:n, :n] = 1 / n - between
    shown_first, shown_second = np.bincount(a, info, n), np.bincount(b, info, n)
    hessian[range(n), range(n)] += shown_first + shown_second + ridge
    hessian[:n, n] = hessian[n, :n] = (shown_first - shown_second) if position else 0.0
    hessian[n, n] = info.sum() + ridge if position else 1.0
    return gradient, hessian


def mode(cells: Cells, ridge: float, position: bool) -> Floats:
    """Newton's method with halved steps; the objective is concave. Raises ValueError where there is no maximum."""
    theta = np.zeros(cells.n + 1)
    value = _objective(cells, theta, ridge)
    for iteration in range(_STEPS):
        gradient, hessian = _curvature(cells, theta, ridge, position)
        if not ridge and position and not iteration:
            _check_bias(hessian, cells.n)
        try:
            step = cho_solve(cho_factor(hessian, overwrite_a=True, check_finite=False), gradient, check_finite=False)
        except LinAlgError:
            break
        # Converged: the step is tiny in standard errors, and not only because a vote has become certain.
        converged = gradient @ step < 1e-14 and np.abs(step).max() < 1e-3
        while (new := _objective(cells, theta + step, ridge)) < value - 1e-9 * (1 + abs(value)):
            step /= 2
        theta, value = theta + step, new
        theta[: cells.n] -= theta[: cells.n].mean()
        if converged:
            return theta
        if not ridge and np.abs(theta).max() > _FAR:
            break
    raise ValueError(
        "the votes have no finite maximum: strengths and position bias separate them wholly; give a prior"
        + (" or position=False" if position else "")
    )


def _objective(cells: Cells, theta: Floats, ridge: float) -> float:
    eta = theta[cells.first] - theta[cells.second] + theta[cells.n]
    return float(cells.won @ eta - cells.votes @ np.logaddexp(0, eta) - ridge / 2 * theta @ theta)


def inverse_information(cells: Cells, theta: Floats, ridge: float, position: bool) -> Floats:
    """Covariance of (centred strengths, bias): the inverse less its part along the mean of the strengths."""
    n = cells.n
    _, hessian = _curvature(cells, theta, ridge, position)
    factor = cho_factor(hessian, overwrite_a=True, check_finite=False)
    inverse = cho_solve(factor, np.eye(n + 1), overwrite_b=True, check_finite=False)
    inverse[:n, :n] -= 1 / ((ridge + 1) * n)
    if not position:
        inverse[n, n] = 0.0
    return (inverse + inverse.T) / 2


def check_connected(n: int, a: Ints, b: Ints, score: Floats) -> None:
    """Ford's condition (1957): however the candidates are split in two, each side has taken a vote from the other."""
    links = np.ones(len(a))
    count, part = connected_components(csr_matrix((links, (a, b)), shape=(n, n)), directed=False)
    if count > 1:
        raise ValueError(
            f"{count} groups of candidates never meet, so they share no scale: {_names(part)}; "
            "compare some across, or give a prior"
        )
    took = np.concatenate([a * n + b, b * n + a])[np.concatenate([score > 0, score < 1])]
    graph = csr_matrix((np.ones(len(took)), (took // n, took % n)), shape=(n, n))
    count, part = connected_components(graph, directed=True, connection="strong")
    if count > 1:
        raise ValueError(
            f"{count} groups of candidates only won or only lost against each other, so their distance has no "
            f"maximum: {_names(part)}; compare more, or give a prior"
        )


def _check_bias(hessian: Floats, n: int) -> None:
    """Raises where some strengths explain being shown first as well as the bias does (its own information is 0)."""
    try:
        solved = cho_solve(cho_factor(hessian[:n, :n], check_finite=False), hessian[:n, n], check_finite=False)
    except LinAlgError:
        return
    if hessian[n, n] - hessian[:n, n] @ solved <= 1e-9 * hessian[n, n]:
        raise ValueError(
            "the position bias cannot be told from the strengths: no ring of matches shows it; "
            "show some pairs in both orders, or give position=False or a prior"
        )


def _names(part: Ints) -> str:
    """The groups, smallest first, as "{4}, {0, 1, 2, ... 30 in all}"."""
    groups = sorted((np.flatnonzero(part == g).tolist() for g in np.unique(part)), key=lambda g: (len(g), g))
    shown = [
        "{" + ", ".join(map(str, group[:8])) + (f", ... {len(group)} in all" if len(group) > 8 else "") + "}"
        for group in groups[:6]
    ]
    return ", ".join(shown) + (f", and {len(groups) - 6} more" if len(groups) > 6 else "")


def sandwich(
    inverse: Floats,
    first: Ints,
    second: Ints,
    information: Floats,
    residual: Floats,
    clusters: Sequence[Hashable] | ArrayLike,
) -> tuple[Floats, Floats, int]:
    """Covariance of (n strengths, bias), degrees of freedom of each, and the number of clusters.

    `inverse` is (n + 1) x (n + 1); the other columns have one entry per row of the fit. Raises ValueError where there
    are no more clusters than parameters, or a candidate is met in one cluster only.
    """
    n = len(inverse) - 1
    names, at = np.unique(np.asarray(clusters), return_inverse=True)
    free = int(np.sum(np.diag(inverse) > 0)) - 1  # strengths are centred; a bias that was not estimated has variance 0
    if len(names) <= free:
        raise ValueError(f"{len(names)} clusters for {free} parameters: intervals by clusters need more clusters")
    _check_met(n, at, first, second)
    # One row per cluster and ordered pair, sorted by cluster.
    cell, into = np.unique((at * n + first) * n + second, return_inverse=True)
    at, first, second = cell // (n * n), cell // n % n, cell % n
    information = np.bincount(into, information).astype(float)
    residual = np.bincount(into, residual).astype(float)
    adjusted = _adjusted(inverse, at, first, second, information, residual)
    value = np.concatenate([adjusted, -adjusted, adjusted])
    column = np.concatenate([first, second, np.full(len(at), n)])
    scores = csr_matrix((value, (np.tile(at, 3), column)), shape=(len(names), n + 1))
    covariance = inverse @ (scores.T @ scores).toarray() @ inverse
    return (covariance + covariance.T) / 2, _freedom(inverse, at, first, second, information), len(names)


def _adjusted(inverse: Floats, at: Ints, first: Ints, second: Ints, information: Floats, residual: Floats) -> Floats:
    """Residuals with each cluster's own leverage taken out; clusters of equally many rows are done together."""
    n = len(inverse) - 1
    root = np.sqrt(information)
    start = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
    size = np.diff(np.r_[start, len(at)])
    out = np.empty(len(at))
    for m in np.unique(size).tolist():
        alike = start[size == m]
        for block in np.array_split(alike, max(1, len(alike) * m * m * 4 // _CHUNK)):
            rows = block[:, None] + np.arange(m)
            a, b, w = first[rows], second[rows], root[rows]
            lean = inverse[a, n] - inverse[b, n] + inverse[n, n] / 2
            a1, b1, a2, b2 = a[:, :, None], b[:, :, None], a[:, None, :], b[:, None, :]
            hat = inverse[a1, a2] - inverse[a1, b2] - inverse[b1, a2] + inverse[b1, b2]
            hat += lean[:, :, None] + lean[:, None, :]
            values, vectors = np.linalg.eigh(np.eye(m) - w[:, :, None] * hat * w[:, None, :])
            z = np.einsum("cij,ci->cj", vectors, residual[rows] / w) / np.sqrt(np.maximum(values, 1e-9))
            out[rows] = w * np.einsum("cij,cj->ci", vectors, z)
    return out


def _freedom(inverse: Floats, at: Ints, first: Ints, second: Ints, information: Floats) -> Floats:
    n = len(inverse) - 1
    start = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
    total, squares = np.zeros(n + 1), np.zeros(n + 1)
    for block in np.array_split(start, max(1, len(at) * (n + 1) // _CHUNK)):
        if not len(block):
            continue
        after = np.searchsorted(start, block[-1], side="right")
        rows = slice(block[0], start[after] if after < len(start) else len(at))
        influence = inverse[first[rows]] - inverse[second[rows]] + inverse[n]
        influence *= influence
        influence *= information[rows, None]
        part = np.add.reduceat(influence, block - block[0], axis=0)
        total += part.sum(axis=0)
        squares += np.einsum("ij,ij->j", part, part)
    return np.maximum(1.0, np.divide(total**2, squares, out=np.ones(n + 1), where=squares > 0))


def _check_met(n: int, at: Ints, first: Ints, second: Ints) -> None:
    """A candidate known from one cluster has no residual left: its spread between clusters cannot be seen."""
    seen = np.unique(np.concatenate([at * n + first, at * n + second]))
    met = np.bincount(seen % n, minlength=n)
    if (once := np.flatnonzero(met < 2)).size:
        raise ValueError(
            f"candidates {', '.join(map(str, once[:8].tolist()))}{' ...' if once.size > 8 else ''} are met in fewer "
            "than two clusters: give smaller clusters or leave `clusters` out"
        )
