"""Majority at any k: pools to count by hand, every subset of wild ones, rules for ties and the unreadable."""

from __future__ import annotations

import doctest
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

import rrmlib.vote
from rrmlib.stats import clustered_mean, paired_difference
from rrmlib.vote import majority

NAN = math.nan
SAID = st.sampled_from([1.0, 1.0, 0.0, 0.0, 0.5, NAN])


def one(said: list[float], label: float = 1.0) -> tuple[float, bool]:
    """Fair credit of a plain vote, and whether it could be read."""
    read = [x for x in said if not math.isnan(x)]
    lead = sum(x == 1 for x in read) - sum(x == 0 for x in read)
    verdict = 0.5 if lead == 0 else float(lead > 0)
    if not read:
        return 0.0, False
    return (1.0 if verdict == label else 0.5 if verdict == 0.5 and label != 0.5 else 0.0), True


def subsets(orders: list[int] | None, m: int, k: int) -> list[tuple[float, tuple[int, ...]]]:
    """(weight, columns) of every vote of k: any columns, or k / 2 of each order with the odd one in either."""
    if orders is None:
        found = list(combinations(range(m), k))
        return [(1 / len(found), columns) for columns in found]
    sides = [[j for j in range(m) if orders[j] == o] for o in (0, 1)]
    plans = {(k // 2, k - k // 2), (k - k // 2, k // 2)}
    possible = [p for p in plans if len(sides[0]) >= p[0] and len(sides[1]) >= p[1]]
    out = []
    for a, b in possible:
        found = [x + y for x in combinations(sides[0], a) for y in combinations(sides[1], b)]
        out += [(1 / len(found) / len(possible), columns) for columns in found]
    return out


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_the_example_of_the_module() -> None:
    assert doctest.testmod(rrmlib.vote).failed == 0


@pytest.mark.parametrize(
    ("k", "right", "tie"),
    [(1, 6 / 10, 0), (2, 3 / 10, 6 / 10), (3, 7 / 10, 0), (4, 2 / 5, 3 / 5), (5, 1, 0)],
)
def test_three_right_of_five(k: int, right: float, tie: float) -> None:
    vote = majority([[1, 1, 0, 1, 0]], [1], k)
    assert (vote.right[0], vote.tie[0]) == (pytest.approx(right), pytest.approx(tie))
    assert vote.credit()[0] == pytest.approx(right + tie / 2)
    assert vote.credit(ties="wrong")[0] == pytest.approx(right)
    assert (vote.k, vote.exact, vote.subsets, vote.coverage[0]) == (k, True, 0, 1.0)


def test_balanced_votes_by_hand() -> None:
    """AB: right, right, wrong; BA: right, wrong, wrong."""
    said, orders = [[1, 1, 0, 1, 0, 0]], [0, 0, 0, 1, 1, 1]
    assert majority(said, [1], 1, orders=orders).credit()[0] == pytest.approx(1 / 2)
    two = majority(said, [1], 2, orders=orders)  # right twice 2/3 * 1/3, wrong twice 1/3 * 2/3
    assert (two.right[0], two.tie[0]) == (pytest.approx(2 / 9), pytest.approx(5 / 9))
    # AB pairs: both right 1/3, one 2/3; BA pairs: one right 2/3, none 1/3
    four = majority(said, [1], 4, orders=orders)
    assert (four.right[0], four.tie[0]) == (pytest.approx(1 / 3 * 2 / 3), pytest.approx(1 / 9 + 4 / 9))
    # three votes: two AB and one BA, or one AB and two BA
    ab = 1 / 3 * 1 + 2 / 3 * 1 / 3
    ba = 2 / 3 * 2 / 3
    assert majority(said, [1], 3, orders=orders).right[0] == pytest.approx((ab + ba) / 2)
    assert majority(said, [1], 6, orders=orders).tie[0] == 1.0


def test_an_odd_vote_takes_its_last_sample_where_one_is_left() -> None:
    said = [[1, 0, 1], [0, 1, 1]]
    orders = [[0, 1, 0], [1, 0, 1]]  # two AB and one BA; one AB and two BA
    assert majority(said, [1, 1], 3, orders=orders).credit().tolist() == [1.0, 1.0]
    assert majority(said, [1, 1], 1, orders=orders).credit().tolist() == pytest.approx([0.5, 0.75])


def test_a_declared_tie_never_decides() -> None:
    assert majority([[0.5, 0.5, 0.5, 1]], [1], 4).credit()[0] == 1.0
    assert majority([[0.5, 0.5, 0.5]], [1], 3).credit()[0] == 0.5
    assert majority([[0.5, 0, 1, 0.5]], [0.5], 4).credit()[0] == 1.0  # the label is a tie, and the vote is one
    assert majority([[0.5, 0, 0, 0.5]], [0.5], 4).credit()[0] == 0.0


def test_unreadable_samples_cast_no_vote_and_are_counted() -> None:
    said = [[1, NAN, NAN, NAN], [NAN, NAN, NAN, NAN], [1, 1, 0, NAN]]
    two = majority(said, [1, 1, 1], 2)
    assert two.unread.tolist() == pytest.approx([1 / 2, 1, 0])
    assert two.credit().tolist() == pytest.approx([1 / 2, 0, (1 + 1 + 1 + 0 + 0.5 + 0.5) / 6])
    assert two.credit("half").tolist()[:2] == pytest.approx([3 / 4, 1 / 2])
    excluded = two.credit("excluded")
    assert excluded[0] == pytest.approx(1.0)
    assert math.isnan(excluded[1])
    assert clustered_mean(excluded, ["a", "b", "c"]).n == 2
    nothing = clustered_mean(majority([[NAN, NAN]], [1], 1).credit("excluded"), ["a"])
    assert nothing.n == 0
    assert math.isnan(nothing.value)


def test_an_unknown_label_earns_nothing_known() -> None:
    vote = majority([[1, 1, 0], [1, 1, 0]], [NAN, 1], 1)
    assert math.isnan(vote.credit()[0])
    assert paired_difference(vote.credit(), majority([[1, 1, 0]] * 2, [NAN, 1], 3).credit(), [0, 1]).excluded == 1


def test_no_items_are_no_error() -> None:
    vote = majority(np.zeros((0, 4)), [], 2)
    assert vote.credit().shape == (0,)
    assert clustered_mean(vote.credit(), []).n == 0


# --- Every subset -----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_closed_form_is_the_mean_over_all_subsets(data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 7))
    said = data.draw(st.lists(SAID, min_size=m, max_size=m))
    orders = data.draw(st.none() | st.lists(st.sampled_from([0, 1]), min_size=m, max_size=m))
    label = data.draw(st.sampled_from([1.0, 0.0, 0.5]))
    k = data.draw(st.integers(1, m))
    ways = subsets(orders, m, k)
    if not ways:
        with pytest.raises(ValueError, match="balanced"):
            majority([said], [label], k, orders=orders)
        return
    votes = [(weight, *one([said[j] for j in columns], label)) for weight, columns in ways]
    vote = majority([said], [label], k, orders=orders)
    earned = sum(w * credit for w, credit, _ in votes)
    unread = sum(w for w, _, read in votes if not read)
    assert vote.unread[0] == pytest.approx(unread, abs=1e-12)
    assert vote.credit()[0] == pytest.approx(earned, abs=1e-12)
    assert vote.credit("half")[0] == pytest.approx(earned + unread / 2, abs=1e-12)
    if unread < 1 - 1e-9:
        assert vote.credit("excluded")[0] == pytest.approx(earned / (1 - unread), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SAID, min_size=6, max_size=6), min_size=1, max_size=5), st.booleans())
def test_all_samples_are_the_plain_vote_and_one_is_the_mean_sample(said: list[list[float]], balanced: bool) -> None:
    orders = [0, 1] * 3 if balanced else None
    labels = [float(i % 2) for i in range(len(said))]
    whole, single = majority(said, labels, 6, orders=orders), majority(said, labels, 1, orders=orders)
    assert whole.credit().tolist() == [one(row, label)[0] for row, label in zip(said, labels)]
    means = [np.mean([one([x], label)[0] for x in row]) for row, label in zip(said, labels)]
    assert single.credit() == pytest.approx(means, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SAID, min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 6), st.booleans())
def test_exchanging_the_responses_changes_nothing(said: list[list[float]], k: int, balanced: bool) -> None:
    pool, labels = np.array(said), np.arange(len(said)) % 2
    orders = np.array([0, 1, 0, 1, 0, 1])
    here = majority(pool, labels, k, orders=orders if balanced else None)
    there = majority(1 - pool, 1 - labels, k, orders=1 - orders if balanced else None)
    assert here.credit() == pytest.approx(there.credit(), abs=1e-12)
    assert here.tie == pytest.approx(there.tie, abs=1e-12)


def test_no_chance_leaves_0_to_1_by_rounding() -> None:
    said = [*[1.0] * 8, NAN, *[0.0] * 7, *[1.0] * 16]
    for label in (1.0, 0.0):
        vote = majority([said], [label], 16, orders=[0] * 16 + [1] * 16)
        for rule in ("wrong", "half", "excluded"):
            assert 0 <= vote.credit(rule)[0] <= 1


def test_large_pools_agree_with_scipy() -> None:
    pool = np.zeros((3, 128))
    right = [70, 64, 100]
    for row, r in zip(pool, right):
        row[:r] = 1
    for k in (15, 16, 63, 127):
        vote = majority(pool, [1, 1, 1], k)
        for i, r in enumerate(right):
            assert vote.right[i] == pytest.approx(hypergeom(128, r, k).sf(k // 2), abs=1e-12)
    big = majority(np.tile([1.0, 0.0], (1, 500)), [1], 501)
    assert big.credit()[0] == pytest.approx(0.5, abs=1e-9)


def test_rows_do_not_depend_on_each_other() -> None:
    rng = np.random.default_rng(0)
    pool, labels = rng.choice([1.0, 0.0, 0.5, NAN], (20, 9)), rng.integers(0, 2, 20)
    orders = rng.permuted(np.tile([0, 1, 0, 1, 0, 1, 0, 1, 0], (20, 1)), axis=1)
    vote = majority(pool, labels, 5, orders=orders).credit()
    shuffle = rng.permutation(20)
    assert (majority(pool[shuffle], labels[shuffle], 5, orders=orders[shuffle]).credit() == vote[shuffle]).all()
    assert majority(pool[:1], labels[:1], 5, orders=orders[:1]).credit()[0] == vote[0]


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 0]], [1], 0), "k >= 1.*k = 0"),
        (([[1, 0]], [1], -1), "k >= 1"),
        (([[1, 0]], [1], 1.5), "k >= 1"),
        (([[1, 0]], [1], 3), "k = 3: item in row 0 has 2 samples"),
        ((np.zeros((2, 0)), [1, 1], 1), "row 0 has 0 samples"),
        (([[1, 0.7]], [1], 1), "choices must be"),
        (([1, 0], [1], 1), r"\[items, samples\]"),
        (([[1, 0]], [1, 0], 1), "labels"),
        (([[1, 0]], [2], 1), "labels"),
        ((np.zeros((1, 1001)), [1], 1), "up to 1000"),
    ],
)
def test_bad_input_is_said(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        majority(*arguments)


def test_bad_orders_and_rules_are_said() -> None:
    with pytest.raises(ValueError, match="orders must be 0"):
        majority([[1, 0]], [1], 2, orders=[0, 2])
    with pytest.raises(ValueError, match=r"k = 4 \(balanced\): item in row 0 has 3 \+ 1 samples"):
        majority([[1, 0, 1, 1]], [1], 4, orders=[0, 0, 0, 1])
    vote = majority([[1, 0]], [1], 1)
    with pytest.raises(ValueError, match="unread must be"):
        vote.credit("zero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ties must be"):
        vote.credit(ties="half")  # type: ignore[arg-type]
