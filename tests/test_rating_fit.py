"""The numerics of Bradley-Terry against slow, plain ones: scipy's optimiser, numeric curvature, a dense CR2."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from rrmlib.rating import bradley_terry
from rrmlib.rating_fit import check_connected, sandwich
from rrmlib.simulation import SimulatedJudge


def data(n=7, seed=1, votes=4):
    _, matrix = SimulatedJudge(spread=0.8, correlation=0.3).world(n, seed, votes)
    first, second = np.nonzero(~np.eye(n, dtype=bool))
    return n, first, second, matrix.score[first, second], np.full(len(first), float(votes))


def loss(theta, n, first, second, score, votes, prior):
    eta = theta[first] - theta[second] + theta[n]
    return float(votes @ (np.logaddexp(0, eta) - score * eta) + theta @ theta / (2 * prior**2))


def test_the_mode_and_its_covariance_are_those_of_a_plain_optimiser():
    n, *columns = data()
    fit = bradley_terry(n, *columns, prior=1.3)
    theta = np.append(fit.strengths, fit.bias.value)
    found = minimize(loss, np.zeros(n + 1), args=(n, *columns, 1.3), method="BFGS", options={"gtol": 1e-8})
    assert found.x == pytest.approx(theta, abs=1e-5)
    gradient = lambda t: approx_fprime(t, loss, 1e-5, n, *columns, 1.3)  # noqa: E731
    hessian = np.array([(gradient(theta + 1e-4 * e) - gradient(theta - 1e-4 * e)) / 2e-4 for e in np.eye(n + 1)])
    inverse = np.linalg.inv(hessian)
    centre = np.eye(n) - 1 / n
    assert fit.covariance == pytest.approx(centre @ inverse[:n, :n] @ centre, rel=0.02, abs=1e-4)
    assert (fit.bias.hi - fit.bias.value) / 1.959964 == pytest.approx(np.sqrt(inverse[n, n]), rel=0.01)


def dense(inverse, first, second, information, residual, clusters):
    """CR2 and its degrees of freedom, cluster by cluster with whole matrices."""
    n = len(inverse) - 1
    x = np.zeros((len(first), n + 1))
    x[range(len(first)), first] += 1
    x[range(len(first)), second] -= 1
    x[:, n] = 1
    meat, parts = np.zeros((n + 1, n + 1)), []
    for c in np.unique(clusters):
        rows = clusters == c
        root = np.sqrt(information[rows])
        values, vectors = np.linalg.eigh(np.eye(rows.sum()) - root[:, None] * (x[rows] @ inverse @ x[rows].T) * root)
        half = vectors / np.sqrt(values) @ vectors.T
        u = x[rows].T @ (root * (half @ (residual[rows] / root)))
        meat += np.outer(u, u)
        parts.append(((inverse @ x[rows].T) ** 2 * information[rows]).sum(axis=1))
    return inverse @ meat @ inverse, np.sum(parts, axis=0) ** 2 / np.sum(np.square(parts), axis=0)


@pytest.mark.parametrize("sizes", ["by pair", "by three", "of many sizes"])
def test_the_sandwich_is_cr2(sizes):
    n, first, second, score, votes = data()
    fit = bradley_terry(n, first, second, score, votes, prior=2.0)
    p = 1 / (1 + np.exp(-(fit.strengths[first] - fit.strengths[second] + fit.bias.value)))
    information, residual = votes * p * (1 - p), votes * (score - p)
    inverse = np.zeros((n + 1, n + 1))
    inverse[:n, :n] = fit.covariance
    inverse[n, n] = ((fit.bias.hi - fit.bias.value) / 1.959964) ** 2
    rng = np.random.default_rng(0)
    clusters = {
        "by pair": np.minimum(first, second) * n + np.maximum(first, second),
        "by three": rng.permutation(np.arange(len(first)) // 3),
        "of many sizes": rng.integers(0, 20, len(first)),
    }[sizes]
    covariance, freedom, count = sandwich(inverse, first, second, information, residual, clusters)
    slow, slow_freedom = dense(inverse, first, second, information, residual, clusters)
    assert covariance == pytest.approx(slow, rel=1e-6, abs=1e-12)
    assert freedom == pytest.approx(np.maximum(1, slow_freedom))
    assert count == len(np.unique(clusters))


def test_too_few_clusters_are_named():
    n, first, second, score, votes = data()
    with pytest.raises(ValueError, match="5 clusters for 7 parameters"):
        bradley_terry(n, first, second, score, votes, clusters=np.arange(len(first)) % 5)
    alone = np.where((first == 3) | (second == 3), 0, 1 + np.arange(len(first)))
    with pytest.raises(ValueError, match="candidates 3 are met in fewer"):
        bradley_terry(n, first, second, score, votes, clusters=alone)


def test_many_groups_are_shortened():
    with pytest.raises(ValueError, match=r"40 groups .* never meet.*\{0\}, \{1\}.*and 34 more"):
        check_connected(40, np.array([], dtype=int), np.array([], dtype=int), np.array([]))
    with pytest.raises(ValueError, match=r"\{1, 2, 3, 4, 5, 6, 7, 8, ... 19 in all\}"):
        check_connected(20, np.arange(1, 19), np.arange(2, 20), np.ones(18))
