"""Intervals, paired comparisons, tie groups: published numbers, invariances, boundaries, agreement with a bootstrap."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student_t

from rrmlib.stats import (
    clustered_mean,
    holm,
    mcnemar,
    minimum_detectable_difference,
    over_runs,
    paired_binary,
    paired_difference,
    stratified_mean,
    tie_groups,
    wilson,
)

Z = 1.959963984540054


def correlated(seed: int, prompts: int, size: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Credits 0, 0.5, 1 whose mean differs from prompt to prompt, and their prompts."""
    rng = np.random.default_rng(seed)
    chance = np.repeat(rng.beta(3 * p, 3 * (1 - p), prompts), size)
    values = np.where(rng.random(len(chance)) < 0.1, 0.5, rng.random(len(chance)) < chance)
    return values.astype(float), np.repeat(np.arange(prompts), size)


# --- Published and worked numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "lo", "hi"),  # Newcombe 1998 (Statistics in Medicine 17:857), method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_numbers(successes: int, n: int, lo: float, hi: float) -> None:
    e = wilson(successes, n)
    assert (round(e.lo, 4), round(e.hi, 4)) == (lo, hi)
    assert (e.value, e.n, e.clusters, e.method) == (successes / n, n, n, "wilson")


def test_one_binary_judgment_per_prompt_is_wilson() -> None:
    values = [1.0] * 81 + [0.0] * 182 + [math.nan] * 3
    assert clustered_mean(values, range(266)) == wilson(81, 263)
    assert clustered_mean(values, range(266), level=0.9) == wilson(81, 263, level=0.9)


def test_mcnemar_by_hand() -> None:
    tail = sum(math.comb(20, k) for k in range(6)) / 2**20
    assert mcnemar(5, 15) == pytest.approx(2 * tail) == pytest.approx(0.041389, abs=1e-6)
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1.0
    assert mcnemar(0, 6) == mcnemar(6, 0) == pytest.approx(2 / 64)


def test_paired_binary_by_hand() -> None:
    a = [1] * 60 + [1] * 12 + [0] * 4 + [0] * 24
    b = [1] * 60 + [0] * 12 + [1] * 4 + [0] * 24
    d = paired_binary([*a, math.nan], [*b, 1.0])
    x, y = 13 / 102, 5 / 102
    half = Z * math.sqrt((x + y - (x - y) ** 2) / 102)
    assert (d.value, d.n, d.excluded) == (pytest.approx(0.08), 100, 1)
    assert (d.lo, d.hi) == (pytest.approx(x - y - half), pytest.approx(x - y + half))
    assert d.p == d.mcnemar == mcnemar(12, 4)
    assert paired_difference([*a, math.nan], [*b, 1.0], range(101)) == d


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).shape == (0,)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        holm([0.5, math.nan])


def test_clustered_variance_by_hand() -> None:
    """Ratio mean with prompts of 1, 2 and 3 values, through the mean's t test against 1/2 (constant judge)."""
    values, clusters = np.array([1.0, 1, 0, 0.5, 0, 1]), np.array([0, 1, 1, 2, 2, 2])
    mean = values.mean()
    residual = np.array([1 - mean, 1 - 2 * mean, 1.5 - 3 * mean]) / 6
    share = np.array([1, 2, 3]) / 6
    u = residual / np.sqrt(1 - share)
    d = paired_difference(values, np.zeros(6), clusters)
    voices = np.sum(u**2) ** 2 / np.sum(u**4) / (3 * np.sum(share**2))
    se = math.sqrt(np.sum(u**2) * (1 + 2 / voices))
    assert d.value == pytest.approx(mean)
    assert d.mdd == pytest.approx((1.959964 + 0.841621) * se, rel=1e-5)
    assert np.sum(share**2) ** 2 / np.sum(share**4) - 1 == pytest.approx(1.0)  # degrees of freedom
    assert d.p == pytest.approx(2 * student_t(df=1).sf(mean / se))


def test_the_mean_over_runs_by_hand() -> None:
    """Student's t at 97.5 % with two degrees of freedom is 4.302653."""
    found = over_runs([1.0, 2.0, 6.0])
    half = 4.302653 * 7**0.5 / 3**0.5
    assert (found.value, found.lo, found.hi) == pytest.approx((3.0, 3.0 - half, 3.0 + half), rel=1e-6)
    assert (found.n, found.method) == (3, "student")
    assert math.isnan(over_runs([0.5]).lo)
    assert over_runs([0.5]).value == 0.5
    assert over_runs([]).method == "none"
    with pytest.raises(ValueError, match="a run without a value"):
        over_runs([0.5, math.nan])


def test_minimum_detectable_difference_by_hand() -> None:
    assert minimum_detectable_difference(400, 0.5) == pytest.approx((1.959964 + 0.841621) * 0.5 / 20, rel=1e-6)
    with pytest.raises(ValueError, match="n_clusters"):
        minimum_detectable_difference(0, 0.5)


def test_tie_groups_are_ranges_of_ranks() -> None:
    p = {("a", "b"): 0.2, ("c", "a"): 0.001, ("b", "c"): 0.04}
    groups = {s.name: s for s in tie_groups(["c", "a", "b"], [0.5, 0.9, 0.8], p)}
    assert list(groups) == ["a", "b", "c"]
    assert [s.rank for s in groups.values()] == ["1-2", "1-3", "2-3"]  # b-c: Holm makes 0.04 * 2 of it
    assert groups["b"].ties == ("c", "a")
    apart = tie_groups(["a", "b"], [0.5, 0.9], {("a", "b"): 0.01})
    assert [(s.name, s.rank) for s in apart] == [("b", "1"), ("a", "2")]
    assert tie_groups(["only"], [0.3], {})[0].rank == "1"
    with pytest.raises(ValueError, match="no p-value for the pair"):
        tie_groups(["a", "b"], [0.5, 0.9], {})


# --- Invariances ------------------------------------------------------------------------------------------------------


def test_row_order_does_not_matter() -> None:
    values, clusters = correlated(1, 40, 3, 0.8)
    strata = np.where(clusters % 3 == 0, "x", "y")
    weights = {"x": 0.5, "y": 0.5}
    shuffled = np.random.default_rng(2).permutation(len(values))
    one = stratified_mean(values, clusters, strata, weights)
    two = stratified_mean(values[shuffled], clusters[shuffled], strata[shuffled], weights)
    assert astuple(one)[:3] == pytest.approx(astuple(two)[:3], abs=1e-12)


def test_repeating_every_reading_adds_nothing() -> None:
    values, clusters = correlated(3, 50, 2, 0.85)
    one, many = clustered_mean(values, clusters), clustered_mean(np.tile(values, 5), np.tile(clusters, 5))
    assert astuple(one)[:3] == pytest.approx(astuple(many)[:3], abs=1e-12)
    assert (one.clusters, many.n) == (many.clusters, 5 * one.n)
    naive = clustered_mean(np.tile(values, 5), np.arange(500))
    assert naive.hi - naive.lo < 0.6 * (one.hi - one.lo)


def test_repeating_a_prompt_as_a_whole_stays_near_wilson() -> None:
    values = np.array([1.0] * 85 + [0.0] * 15)
    single, triple = clustered_mean(values, range(100)), clustered_mean(np.repeat(values, 3), np.repeat(range(100), 3))
    assert (triple.lo, triple.hi) == (pytest.approx(single.lo, abs=2e-3), pytest.approx(single.hi, abs=2e-3))


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_wrong_for_right_mirrors_the_interval(p: float) -> None:
    values, clusters = correlated(4, 60, 2, p)
    e, mirror = clustered_mean(values, clusters), clustered_mean(1 - values, clusters)
    assert (1 - mirror.hi, 1 - mirror.lo) == (pytest.approx(e.lo), pytest.approx(e.hi))


def test_exchanging_the_judges_flips_the_sign() -> None:
    a, clusters = correlated(5, 60, 2, 0.8)
    b, _ = correlated(6, 60, 2, 0.6)
    d, flipped = paired_difference(a, b, clusters), paired_difference(b, a, clusters)
    assert (d.value, d.lo, d.hi) == pytest.approx((-flipped.value, -flipped.hi, -flipped.lo))
    assert (d.p, d.mdd) == pytest.approx((flipped.p, flipped.mdd))


def test_one_stratum_is_the_clustered_mean() -> None:
    values, clusters = correlated(7, 30, 3, 0.9)
    assert stratified_mean(values, clusters, ["s"] * 90, {"s": 1.0}) == clustered_mean(values, clusters)


def test_a_prompt_in_two_strata_is_one_unit() -> None:
    values, clusters = correlated(8, 60, 2, 0.7)
    twice, strata = np.tile(values, 2), np.repeat(["x", "y"], 120)
    half = {"x": 0.5, "y": 0.5}
    alone = clustered_mean(values, clusters)
    spanning = stratified_mean(twice, np.tile(clusters, 2), strata, half)
    separate = stratified_mean(twice, np.concatenate([clusters, clusters + 60]), strata, half)
    assert astuple(spanning)[:3] == pytest.approx(astuple(alone)[:3], abs=1e-9)
    assert separate.hi - separate.lo == pytest.approx((alone.hi - alone.lo) / math.sqrt(2), rel=0.05)


# --- Boundaries -------------------------------------------------------------------------------------------------------


def test_nothing_varied() -> None:
    share = Z**2 / (50 + Z**2)
    every = clustered_mean([1.0] * 100, np.repeat(range(50), 2))
    assert (every.lo, every.hi, every.method) == (pytest.approx(1 - share), 1.0, "unvaried")
    assert every.lo == pytest.approx(wilson(50, 50).lo)
    half = clustered_mean([1.0, 0.0] * 50, np.repeat(range(50), 2))  # always the first response, in both orders
    assert (half.value, half.hi - half.lo) == (0.5, pytest.approx(share))


def test_identical_judges_differ_by_zero_with_a_width() -> None:
    a, clusters = correlated(9, 50, 2, 0.8)
    d = paired_difference(a, a, clusters)
    assert (d.value, d.p, d.hi) == (0.0, 1.0, pytest.approx(Z**2 / (50 + Z**2)))
    assert d.lo == -d.hi
    assert 0 < d.mdd < 0.1
    ones = paired_difference([1.0] * 20, [0.0] * 20, np.repeat(range(10), 2))
    assert (ones.value, ones.hi, ones.p) == (1.0, 1.0, pytest.approx(2 / 2**10))


def test_an_all_correct_section_still_widens() -> None:
    values, clusters = correlated(10, 80, 2, 0.7)
    first = clusters < 10
    values[first] = 1.0
    strata, weights = np.where(first, "small", "large"), {"small": 0.5, "large": 0.5}
    e = stratified_mean(values, clusters, strata, weights)
    large = clustered_mean(values[~first], clusters[~first])
    assert e.value == pytest.approx((1 + large.value) / 2)
    assert e.hi - e.lo > 1.02 * (large.hi - large.lo) / 2
    one, many = (
        stratified_mean(np.append(values[~first], [1.0] * n), range(140 + n), ["large"] * 140 + ["small"] * n, weights)
        for n in (5, 500)
    )
    assert one.value - one.lo > 1.3 * (many.value - many.lo)


def test_variance_of_an_all_correct_section_by_hand() -> None:
    a, b = [1.0, 0.0, 1.0, 0.0, 1.0, 0.5, *[1.0] * 4], [0.0, 0.0, 1.0, 0.5, 0.0, 0.5, *[1.0] * 4]
    d = paired_difference(a, b, range(10), ["x"] * 6 + ["y"] * 4, {"x": 0.5, "y": 0.5})
    u = 0.5 * (np.subtract(a, b)[:6] - 0.25) / 6 / math.sqrt(5 / 6)
    unseen = 0.1 * 0.9 * 0.5**2 / 4 * 0.5**2 * 2**2  # one in 2 * 4 + 2, at most half the range away; in units of d
    uneven = 1 / (10 * (6 * (0.5 / 6) ** 2 + 4 * (0.5 / 4) ** 2))
    voices = np.sum(u**2) ** 2 / np.sum(u**4) * uneven
    se = math.sqrt((np.sum(u**2) + unseen) * (1 + 2 / voices))
    assert (d.value, d.mdd) == (pytest.approx(0.125), pytest.approx((1.959964 + 0.841621) * se, rel=1e-5))


def test_no_value_at_all_is_declared() -> None:
    e = clustered_mean([math.nan, math.nan], [0, 1])
    assert (e.n, e.clusters, e.method, math.isnan(e.value)) == (0, 0, "none", True)
    d = paired_difference([1.0, math.nan], [math.nan, 0.0], [0, 1])
    assert (d.n, d.excluded, d.method) == (0, 2, "none")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clustered_mean([1.5], [0]), "0..1"),
        (lambda: clustered_mean([1.0], [0, 1]), "clusters"),
        (lambda: clustered_mean([1.0, 0.5], [0, 1], level=1.0), "level"),
        (lambda: stratified_mean([1.0], [0], ["x"], {"x": 0.5, "y": 0.5}), "'y' has weight 0.5 but no usable value"),
        (lambda: stratified_mean([1.0], [0], ["x"], {}), "'x' has values but no weight"),
        (lambda: stratified_mean([1.0], [0], ["x"], {"x": 0.5}), "sum to 1"),
        (lambda: stratified_mean([1.0], [0], ["x"]), "weights"),
        (lambda: paired_difference([1.0], [1.0, 0.0], [0]), "same rows"),
        (lambda: paired_difference([2.0], [1.0], [0]), "0..1"),
        (lambda: paired_binary([0.5], [1.0]), "paired_difference"),
        (lambda: wilson(3, 2), "3 successes of 2"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_pseudo_values_may_leave_the_range_but_not_the_result() -> None:
    e = stratified_mean([1.2, 0.9, 1.1, 1.0], [0, 1, 2, 3], pseudo=True)
    assert 0 <= e.lo <= e.value <= e.hi <= 1


credit = st.one_of(st.sampled_from([0.0, 0.5, 1.0, math.nan]), st.floats(0, 1))
rows = st.lists(st.tuples(credit, credit, st.integers(0, 5), st.sampled_from("xy")), min_size=1, max_size=40)


@given(rows, st.sampled_from([0.5, 0.95, 0.999]))
@settings(max_examples=300, deadline=None)
def test_bounds_hold_for_any_input(table: list, level: float) -> None:
    a, b, clusters, strata = (np.array(column) for column in zip(*table))
    e = clustered_mean(a, clusters, level=level)
    assert e.n == 0 or 0 <= e.lo <= e.value <= e.hi <= 1
    used = sorted(set(strata[~np.isnan(a + b)].tolist()))
    weights = {s: 1 / len(used) for s in used} | {s: 0.0 for s in set("xy") - set(used)}
    if used:
        keep = ~np.isnan(a + b)
        e = stratified_mean(a[keep], clusters[keep], strata[keep], weights, level=level)
        assert 0 <= e.lo <= e.value + 1e-12
        assert e.value - 1e-12 <= e.hi <= 1
    for design in ((None, None), (strata, weights)):
        d = paired_difference(a, b, clusters, *design, level=level)
        if d.n:
            assert -1 <= d.lo <= d.value + 1e-12
            assert d.value - 1e-12 <= d.hi <= 1
            assert 0 <= d.p <= 1
            assert d.mdd > 0
        assert d.n + d.excluded == len(table)


# --- Against simulation -----------------------------------------------------------------------------------------------


def test_agrees_with_a_cluster_bootstrap() -> None:
    values, clusters = correlated(11, 150, 4, 0.7)
    by_prompt = values.reshape(150, 4).mean(axis=1)
    rng = np.random.default_rng(12)
    means = by_prompt[rng.integers(0, 150, (4000, 150))].mean(axis=1)
    e, (lo, hi) = clustered_mean(values, clusters), np.quantile(means, [0.025, 0.975])
    assert (e.lo, e.hi) == (pytest.approx(lo, abs=0.1 * (hi - lo)), pytest.approx(hi, abs=0.1 * (hi - lo)))


@pytest.mark.parametrize(("p", "size", "within"), [(0.9, 9, 0.5), (0.6, 2, 0.5), (0.97, 1, 0.0)])
def test_coverage_is_about_right(p: float, size: int, within: float) -> None:
    """A smoke test; measure/coverage.py is the measurement."""
    rng, hits, clusters = np.random.default_rng(13), 0, np.repeat(np.arange(100), size)
    for _ in range(400):
        chance = (
            rng.beta(p * (1 - within) / within, (1 - p) * (1 - within) / within, 100) if within else np.full(100, p)
        )
        e = clustered_mean((rng.random(100 * size) < np.repeat(chance, size)).astype(float), clusters)
        hits += e.lo <= p <= e.hi
    assert 0.91 <= hits / 400 <= 0.99


def test_equal_judges_are_rarely_declared_different() -> None:
    rng, alarms = np.random.default_rng(14), 0
    for _ in range(400):
        chance = np.repeat(rng.beta(4, 1, 80), 2)
        a, b = (rng.random((2, 160)) < chance).astype(float)
        alarms += paired_difference(a, b, np.repeat(np.arange(80), 2)).p < 0.05
    assert alarms / 400 <= 0.08
