"""Replays and budgets: sequences in turn, costs by hand, the full vote as the measure, what is left over."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

import rrmlib.spending
from rrmlib.spending import compare, next_votes, replay, sequence, spread
from rrmlib.stopping import beta, certain, settle, sprt
from rrmlib.vote import majority

NAN = math.nan


def judge(seed: int, items: int, samples: int, p: float = 0.8, r: float = 0.3) -> tuple[np.ndarray, ...]:
    """Choices, labels and tokens of a judge that is right with Beta(mean p, correlation r) on each item."""
    rng = np.random.default_rng([7, seed])
    own = rng.beta(p * (1 - r) / r, (1 - p) * (1 - r) / r, (items, 1))
    labels = rng.integers(0, 2, items).astype(float)
    right = rng.random((items, samples)) < own
    return np.where(right, labels[:, None], 1 - labels[:, None]), labels, rng.integers(10, 90, (items, samples))


def test_the_example_of_the_module() -> None:
    assert doctest.testmod(rrmlib.spending).failed == 0


# --- Sequences --------------------------------------------------------------------------------------------------------


def test_stored_order_takes_turns() -> None:
    assert sequence((1, 4), [0, 0, 1, 1]).tolist() == [[0, 2, 1, 3]]
    assert sequence((2, 3), [[0, 0, 1], [1, 0, 1]]).tolist() == [[0, 2, 1], [0, 1, 2]]
    assert sequence((2, 3)).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert sequence((1, 2), [1, 1]).tolist() == [[0, 1]]


def test_seeded_sequences_take_turns_and_either_order_begins() -> None:
    orders = np.repeat([0, 1], 8)
    ids = [f"q{i}" for i in range(200)]
    order = sequence((200, 16), orders, ids=ids, seed=1)
    assert (np.sort(order, axis=1) == np.arange(16)).all()
    shown = orders[order]
    assert (shown[:, 1:] != shown[:, :-1]).all()
    assert 70 < (shown[:, 0] == 0).sum() < 130
    assert (sequence((50, 16), orders, ids=ids[50:100], seed=1) == order[50:100]).all()
    assert (sequence((200, 16), orders, ids=ids, seed=2) != order).any()


def test_orders_that_cannot_take_turns_are_said() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 AB and 3 BA samples"):
        sequence((2, 4), [[0, 1, 0, 1], [0, 1, 1, 1]])
    with pytest.raises(ValueError, match="orders must be"):
        sequence((2, 4), [0, 1])
    with pytest.raises(ValueError, match="1 ids for 2 items"):
        sequence((2, 4), ids=["a"])


# --- Rules ------------------------------------------------------------------------------------------------------------


def test_a_replay_by_hand() -> None:
    votes, tokens = [[1, 1, 1, 0, 0], [1, 0, 1, 0, 1]], [[1, 2, 4, 8, 16], [1, 2, 4, 8, 16]]
    run = replay(certain(5), votes, tokens)
    assert (run.used.tolist(), run.cost.tolist(), run.rounds) == ([3, 5], [7, 31], 3)  # 3; 2 more (3 to 1?); the last
    four = replay(certain(5), votes, tokens, batch=4)
    assert (four.used.tolist(), four.asked.tolist(), four.cost.tolist(), four.rounds) == ([3, 5], [4, 5], [15, 31], 2)
    assert four.verdict.tolist() == run.verdict.tolist() == [1, 1]
    assert run.credit([0, 1]).tolist() == [0, 1]


def test_credits_of_a_run() -> None:
    votes = [[1, 0], [NAN, NAN], [1, 1], [1, 0]]
    run = replay(certain(2), votes)
    assert run.credit([1, 1, 1, 0.5]).tolist() == [0.5, 0, 1, 1]
    assert run.credit([1, 1, 1, 0.5], "half").tolist() == [0.5, 0.5, 1, 1]
    assert math.isnan(run.credit([1, 1, 1, 1], "excluded")[1])
    assert math.isnan(run.credit([NAN, 1, 1, 1])[0])


@pytest.mark.parametrize("rule", [certain(16), beta(16, 0.05), sprt(16, 0.1, 0.2)], ids=lambda rule: rule.name)
def test_batches_change_cost_and_rounds_but_no_verdict(rule) -> None:
    votes, _, tokens = judge(0, 300, 16)
    runs = [replay(rule, votes, tokens, batch=b) for b in (1, 3, 8, 16)]
    for run in runs:
        assert (run.verdict == runs[0].verdict).all()
        assert (run.used == settle(rule, votes).used).all()
    costs, rounds = [run.cost.sum() for run in runs], [run.rounds for run in runs]
    assert costs == sorted(costs)
    assert rounds == sorted(rounds, reverse=True)
    assert (runs[0].asked == runs[0].used).all()
    assert (rounds[-1], costs[-1]) == (1, tokens.sum())


def test_certain_saves_without_any_difference() -> None:
    votes, labels, tokens = judge(1, 200, 16)
    saving = compare(certain(16), votes, labels, range(200), tokens=tokens, seeds=range(5))
    assert (saving.difference.value, saving.differs.value, saving.sequences) == (0.0, 0.0, 5)
    assert saving.full.value == pytest.approx(majority(votes, labels, 16).credit().mean())
    assert saving.full_cost == pytest.approx(tokens.sum() / 200)
    assert 0.5 < saving.share < 0.8
    assert saving.votes == saving.asked


def test_beta_saves_most_at_hardly_any_difference() -> None:
    votes, labels, tokens = judge(2, 300, 16, p=0.9)
    rule = beta(16, 0.05)
    saving = compare(rule, votes, labels, range(300), tokens=tokens, seeds=range(5))
    assert saving.share < 0.4
    assert saving.differs.value < rule.error
    assert saving.difference.lo > -0.01
    assert saving.difference.hi < 0.01
    assert saving.difference.value == pytest.approx(saving.stopped.value - saving.full.value)
    bigger = compare(rule, votes, labels, range(300), tokens=tokens, seeds=range(5), batch=8)
    assert bigger.difference == saving.difference
    assert bigger.cost > saving.cost
    assert bigger.rounds < saving.rounds


def test_a_larger_pool_and_both_orders() -> None:
    votes, labels, tokens = judge(3, 150, 24)
    orders = np.repeat([0, 1], 12)
    a = compare(beta(8, 0.1), votes, labels, range(150), tokens=tokens, orders=orders, seeds=range(12))
    assert a.full.value == pytest.approx(majority(votes, labels, 8, orders=orders).credit().mean(), abs=0.02)
    assert a.full_cost == pytest.approx(8 * tokens.mean(), rel=0.03)


def test_unread_votes_are_scored_by_the_declared_rule() -> None:
    votes, labels = np.full((4, 4), NAN), np.ones(4)
    votes[:2] = 1.0
    for rule, value, n in (("wrong", 0.5, 4), ("half", 0.75, 4), ("excluded", 1.0, 2)):
        saving = compare(certain(4), votes, labels, range(4), seeds=[0], unread=rule)  # type: ignore[arg-type]
        assert (saving.stopped.value, saving.stopped.n) == (value, n)
        assert saving.differs.value == 0.0


# --- Budgets ----------------------------------------------------------------------------------------------------------


def test_the_least_sure_leader_is_asked_next() -> None:
    votes = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1], [1, 1, 1, 1]])
    asked = np.array([3, 2, 1, 3, 0])  # 3 to 0: 15/16; 1 to 1: 1/2; 0 to 1: 3/4; 2 to 1: 11/16; nothing: 1/2
    asks = [next_votes(votes, asked, n, k_max=4).tolist() for n in range(6)]
    assert asks[0] == [0, 0, 0, 0, 0]
    assert asks[1] == [0, 0, 0, 0, 1]  # 1/2 with fewer votes first
    assert asks[2] == [0, 1, 0, 0, 1]
    assert asks[3] == [0, 1, 0, 1, 1]
    assert asks[4] == [0, 1, 1, 1, 1]
    assert asks[5] == [1, 1, 1, 1, 1]
    assert next_votes(votes, asked, 5, k_max=3).tolist() == [0, 1, 1, 0, 1]
    dear = next_votes(votes, asked, 5, k_max=4, left=10, price=[1, 6, 1, 3, 4])  # 4 + 6, and no more
    assert dear.tolist() == [0, 1, 0, 0, 1]
    assert next_votes(votes, asked, 2, k_max=4, by="uniform").tolist() == [0, 0, 1, 0, 1]


def test_a_budget_is_spent_and_not_overspent() -> None:
    votes, labels, tokens = judge(4, 200, 16)
    for by in ("uncertainty", "uniform"):
        run = spread(votes, 700, width=50, k_max=16, by=by)  # type: ignore[arg-type]
        assert run.cost.sum() == run.asked.sum() == 700
        assert run.rounds == 14
        run = spread(votes, 40_000, tokens, per_vote=50, width=50, k_max=16, by=by)  # type: ignore[arg-type]
        assert 40_000 - 90 < run.cost.sum() < 40_000 + 50 * 20
    even = spread(votes, 700, width=50, k_max=16, by="uniform")
    assert even.asked.max() - even.asked.min() == 1
    assert (spread(votes, 1e9, width=200, k_max=16).asked == 16).all()
    assert (
        spread(votes, 1e9, width=200, k_max=16).credit(labels).tolist() == majority(votes, labels, 16).credit().tolist()
    )


def test_dear_items_do_not_break_the_budget() -> None:
    """The unsure items are the long ones: at the mean price of all votes the last round would cost too much."""
    votes, _, _ = judge(8, 500, 16)
    unsure = votes.mean(axis=1) * (1 - votes.mean(axis=1))
    tokens = np.round(20 + 400 * unsure)[:, None] * np.ones(16)
    run = spread(votes, 60_000, tokens, per_vote=50, width=200, k_max=16)
    assert 0.99 < run.cost.sum() / 60_000 < 1.005


def test_uncertainty_spends_better_than_even_shares() -> None:
    votes, labels, _ = judge(5, 1000, 16)
    by_need = spread(votes, 4000, width=100, k_max=16).credit(labels).mean()
    even = spread(votes, 4000, width=100, k_max=16, by="uniform").credit(labels).mean()
    assert by_need > even + 0.01


def test_a_spread_is_the_same_however_the_items_are_listed() -> None:
    votes = judge(6, 60, 8)[0]
    ids = [f"q{i}" for i in range(60)]
    shuffle = np.random.default_rng(0).permutation(60)
    run = spread(votes, 200, width=20, k_max=8, ids=ids)
    again = spread(votes[shuffle], 200, width=20, k_max=8, ids=[ids[i] for i in shuffle])
    assert (again.asked == run.asked[shuffle]).all()


def test_no_budget_buys_nothing_and_is_scored_as_unread() -> None:
    run = spread(np.ones((3, 4)), 0, width=2, k_max=4)
    assert (run.rounds, run.cost.tolist(), run.credit([1, 1, 1]).tolist()) == (0, [0, 0, 0], [0, 0, 0])
    assert np.isnan(run.verdict).all()
    assert spread(np.zeros((0, 4)), 10, width=2, k_max=4).rounds == 0


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: replay(certain(4), [[1, 0]]), "k_max = 4 votes, the pool has 2 samples"),
        (lambda: replay(certain(2), [[1, 0]], [[3, -1]]), "row 0, sample 1: -1.0 tokens"),
        (lambda: replay(certain(2), [[1, 0]], [[3]]), "shape"),
        (lambda: replay(certain(2), [[1, 0]], batch=0), "batch"),
        (lambda: replay(certain(2), [[1, 0]]).credit([1, 1]), "labels"),
        (lambda: compare(certain(2), [[1, 0]], [1], ["a"], seeds=[]), "at least one seed"),
        (lambda: compare(certain(2), [[1, 0]], [0.2], ["a"]), "labels"),
        (lambda: spread([[1, 0]], -1, width=1, k_max=2), "budget >= 0"),
        (lambda: spread([[1, 0]], math.nan, width=1, k_max=2), "budget >= 0"),
        (lambda: spread([[1, 0]], 1, width=0, k_max=2), "width >= 1"),
        (lambda: spread([[1, 0]], 1, per_vote=0, width=1, k_max=2), "per_vote"),
        (lambda: spread([[1, 0]], 1, width=1, k_max=3), "the pool has 2 samples"),
        (lambda: next_votes([[1, 0]], [3], 1, k_max=2), r"asked must lie in 0\.\.2"),
        (lambda: next_votes([[1, 0]], [0], 1, k_max=0), "k_max >= 1"),
        (lambda: next_votes([[1, 0]], [0], -1, k_max=2), "need width, left >= 0"),
        (lambda: next_votes([[1, 0]], [0], 1, k_max=2, left=-5), "need width, left >= 0"),
        (lambda: next_votes([[1, 0]], [0], 1, k_max=2, price=0), "price > 0"),
        (lambda: next_votes([[1, 0]], [0], 1, k_max=2, by="need"), "by must be"),
        (lambda: next_votes([[1, 0]], [0], 1, k_max=2, ids=["a", "b"]), "2 ids for 1 items"),
    ],
)
def test_bad_input_is_said(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
