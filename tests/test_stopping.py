"""Stopping rules: exact where they say so, declared rates on the whole lattice, asks that depend on votes only."""

from __future__ import annotations

import doctest
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rrmlib.stopping
from rrmlib.stopping import Rule, beta, certain, expected, next_asks, settle, sprt

NAN = math.nan
SAID = st.sampled_from([1.0, 1.0, 0.0, 0.0, 0.5, NAN])
RULES = [certain(9), beta(9, 0.1), beta(9, 0.1, held="average"), beta(9, 0.1, about="long run"), sprt(9, 0.2, 0.2)]
ids = [rule.name for rule in RULES]


def majority(votes: list[float]) -> float:
    lead = sum(v == 1 for v in votes) - sum(v == 0 for v in votes)
    return 0.5 + 0.5 * float(np.sign(lead))


def test_the_example_of_the_module() -> None:
    assert doctest.testmod(rrmlib.stopping).failed == 0


# --- Certain ----------------------------------------------------------------------------------------------------------


def test_certain_stops_by_hand() -> None:
    votes = [[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 1, 0, 1], [1, 1, 0.5, NAN, 0], [NAN] * 5]
    done = settle(certain(5), votes)
    assert done.used.tolist() == [3, 5, 4, 4, 5]  # 3 to 0; never; 3 to 1; 2 to 0 with one left; never
    assert done.verdict[:4].tolist() == [1, 1, 0, 1]
    assert math.isnan(done.verdict[4])
    assert not done.boundary.any()


def test_a_lead_that_could_still_be_levelled_does_not_stop() -> None:
    assert settle(certain(4), [[1, 1, 0, 0], [1, 1, 1, 0]]).used.tolist() == [4, 3]
    assert settle(certain(4), [[1, 1, 0, 0]]).verdict.tolist() == [0.5]


@settings(max_examples=200, deadline=None)
@given(st.lists(SAID, min_size=7, max_size=7))
def test_certain_never_differs_and_never_waits(votes: list[float]) -> None:
    done = settle(certain(7), [votes])
    used, verdict = int(done.used[0]), done.verdict[0]
    read = [v for v in votes if not math.isnan(v)]
    assert verdict == majority(votes) if read else math.isnan(verdict)
    if used > 1:  # one vote earlier some continuation would have changed the verdict
        before = votes[: used - 1]
        rest = {majority([*before, *tail]) for tail in product((0.0, 1.0), repeat=7 - len(before))}
        assert len(rest) > 1


# --- Boundaries by hand -----------------------------------------------------------------------------------------------


def test_the_posterior_of_the_long_run_by_hand() -> None:
    """Uniform prior: P(p > 1/2 | 3 to 0) = 15/16, (4 to 0) = 31/32, (5 to 1) = 15/16 and (6 to 1) = 247/256."""
    rule = beta(16, 0.05, about="long run")
    votes = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1]])
    done = settle(rule, votes)
    assert done.used.tolist() == [4, 7, 4]
    assert done.verdict.tolist() == [1, 1, 0]
    assert done.boundary.all()
    assert settle(beta(16, 1 / 16, about="long run"), votes).used.tolist() == [3, 6, 3]


def test_the_chance_to_win_the_full_vote_by_hand() -> None:
    """Three votes, 1 to 0: lost only if both others are against it, (1/3)(2/4). Five votes, 2 to 0: (1/4)(2/5)(3/6)."""
    assert settle(beta(3, 0.167, held="average"), [[1, 0, 1]]).used[0] == 1
    assert settle(beta(3, 0.166, held="average"), [[1, 0, 1]]).used[0] == 3
    assert settle(beta(5, 0.051, held="average"), [[1, 1, 0, 0, 1]]).used[0] == 2
    assert settle(beta(5, 0.049, held="average"), [[1, 1, 0, 0, 1]]).used[0] > 2


def test_ties_and_the_unreadable_spend_votes_but_move_no_lead() -> None:
    rule = beta(16, 0.05, about="long run")
    done = settle(rule, [[1, 0.5, 1, NAN, 1, 1, 0]])
    assert (done.used[0], done.verdict[0]) == (6, 1.0)


def test_walds_boundary_is_the_gamblers_ruin() -> None:
    rule = sprt(128, 0.05, 0.1)  # 1.5^7 = 17.1 < 19 <= 25.6 = 1.5^8
    assert rule.lead[10, 10] == 8
    e = expected(rule, [0.6, 0.4, 0.7])
    assert e.wrong[:2] == pytest.approx(1 / (1 + 1.5**8), rel=0.02)
    assert e.boundary[0] == pytest.approx(1, abs=0.02)
    assert e.votes[0] == pytest.approx(8 * (1 - 2 * e.wrong[0]) / 0.2, rel=1e-2)  # Wald: E lead / drift
    assert e.wrong[2] < e.wrong[0]


# --- The declared rates, on the whole lattice -------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=ids)
@pytest.mark.parametrize(("p", "p_ba"), [(0.5, 0.5), (0.7, 0.7), (0.9, 0.3), (0.2, 0.45), (1.0, 0.0)])
def test_expected_is_the_sum_over_all_sequences(rule: Rule, p: float, p_ba: float) -> None:
    votes = np.array(list(product((0.0, 1.0), repeat=9)))
    chance = np.where(np.arange(9) % 2 == 0, p, p_ba)
    weight = np.prod(np.where(votes == 1, chance, 1 - chance), axis=1)
    done = settle(rule, votes)
    full = np.array([majority(list(row)) for row in votes])
    e = expected(rule, p, p_ba)
    assert e.differs[0] == pytest.approx(weight @ (done.verdict != full), abs=1e-12)
    assert e.votes[0] == pytest.approx(weight @ done.used)
    assert e.boundary[0] == pytest.approx(weight @ done.boundary)
    mean = (p + p_ba) / 2
    if mean == 0.5:
        assert math.isnan(e.wrong[0])
    else:
        assert e.wrong[0] == pytest.approx(weight @ (done.boundary & (done.verdict != float(mean > 0.5))), abs=1e-12)


def test_expected_counts_votes_without_a_side() -> None:
    rule, votes = RULES[1], np.array(list(product((0.0, 1.0, 0.5), repeat=9)))
    chance = np.where(np.arange(9) % 2 == 0, 0.7, 0.4)
    weight = np.prod(np.select([votes == 1, votes == 0], [0.8 * chance, 0.8 * (1 - chance)], 0.2), axis=1)
    done = settle(rule, votes)
    full = 0.5 + 0.5 * np.sign((votes == 1).sum(axis=1) - (votes == 0).sum(axis=1))
    e = expected(rule, 0.7, 0.4, other=0.2)
    assert e.differs[0] == pytest.approx(weight @ (done.verdict != full))
    assert e.votes[0] == pytest.approx(weight @ done.used)
    assert e.wrong[0] == pytest.approx(weight @ (done.boundary & (done.verdict == 0)))
    several = expected(rule, [0.7, 0.5], [0.4, 0.5], other=[0.2, 0.0])
    assert several.differs == pytest.approx([e.differs[0], expected(rule, 0.5).differs[0]])


@pytest.mark.parametrize("k", [1, 5, 16, 33, 64])
@pytest.mark.parametrize("error", [0.01, 0.05, 0.2])
def test_beta_keeps_its_rate_for_every_judge(k: int, error: float) -> None:
    """On another and finer grid than the one it was made on."""
    rule = beta(k, error)
    fine = np.linspace(0.003, 0.997, 48)
    one, two = (x.ravel() for x in np.meshgrid(fine[fine > 0.49], fine))
    e = expected(rule, np.append(one, 0.5), np.append(two, 0.5))
    assert e.differs.max() <= error
    assert e.differs[-1] >= e.differs.max() - 1e-9  # the worst judge tosses a coin in both orders
    sideless = expected(rule, [0.5, 0.5, 0.5, 0.6, 0.8], [0.5, 0.5, 0.5, 0.5, 0.2], other=[0.03, 0.15, 0.6, 0.03, 0.03])
    assert sideless.differs.max() <= error
    if k >= 16 and error >= 0.05:
        assert e.differs.max() > error / 3  # and the room is used
        assert expected(rule, 0.9).votes[0] < 0.4 * k


@pytest.mark.parametrize(("k", "error"), [(16, 0.05), (64, 0.05), (15, 0.1)])
@pytest.mark.parametrize("prior", [0.5, 1.0, 3.0])
def test_the_rates_on_average_hold_on_average_only(k: int, error: float, prior: float) -> None:
    x, w = np.polynomial.legendre.leggauss(200)
    p = (x + 1) / 2
    w = w * (p * (1 - p)) ** (prior - 1)
    w = w / w.sum()
    full = expected(beta(k, error, prior=prior, held="average"), p)
    assert w @ full.differs <= error
    if prior <= 1:
        assert full.differs.max() > error  # a coin is worse: looking again and again
    long = expected(beta(k, error, prior=prior, about="long run"), p)
    assert w @ long.wrong <= error * (w @ long.boundary)


@pytest.mark.parametrize(("k", "error", "margin"), [(16, 0.05, 0.1), (64, 0.05, 0.1), (64, 0.1, 0.05), (16, 0.1, 0.2)])
def test_sprt_keeps_its_rate_beyond_its_margin(k: int, error: float, margin: float) -> None:
    rule = sprt(k, error, margin)
    p = np.linspace(0.5 + margin, 1, 60)
    assert expected(rule, p).wrong.max() <= error
    # the judge of another p in each order, as long as their mean is beyond the margin
    mean, apart = (x.ravel() for x in np.meshgrid(p, np.linspace(0, 0.4, 20)))
    inside = mean + apart <= 1
    for sign in (1, -1):
        assert expected(rule, (mean + sign * apart)[inside], (mean - sign * apart)[inside]).wrong.max() <= error


def test_a_smaller_rate_takes_more_votes() -> None:
    votes = [float(expected(beta(32, error), 0.8).votes[0]) for error in (0.2, 0.1, 0.05, 0.01, 0.001)]
    assert votes == sorted(votes)
    assert votes[-1] <= float(expected(certain(32), 0.8).votes[0]) + 1e-9


# --- Asks -------------------------------------------------------------------------------------------------------------


def test_asks_by_hand() -> None:
    rule = beta(16, 0.05)  # least leads by votes: 4 at 4, 5 at 5, 6 at 6, 5 at 7
    votes = np.zeros((4, 8))
    votes[1, :4], votes[2, :4] = 1, [1, 0, 1, 1]
    votes[3, :2] = [1, 0]
    asked = [0, 4, 4, 2]
    assert next_asks(rule, votes, asked).tolist() == [4, 0, 3, 5]
    assert next_asks(rule, votes, asked, batch=4).tolist() == [4, 0, 4, 5]
    assert next_asks(rule, votes, asked, batch=100).tolist() == [16, 0, 12, 14]
    assert next_asks(certain(5), np.zeros((0, 0)), []).tolist() == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(SAID, min_size=9, max_size=9), min_size=1, max_size=4), st.sampled_from(RULES), st.data())
def test_batches_and_breaks_change_no_verdict(said: list[list[float]], rule: Rule, data: st.DataObject) -> None:
    """Rounds of any size, asked for by anyone who sees the votes so far, end where a look after every vote ends."""
    votes, plain = np.array(said), settle(rule, said)
    asked, exact = np.zeros(len(votes), dtype=int), np.zeros(len(votes), dtype=int)
    for _ in range(9):
        hidden = np.where(np.arange(9) < asked[:, None], votes, 1.0)  # what was not asked for is not looked at
        asks = next_asks(rule, hidden, asked, batch=data.draw(st.integers(1, 5)))
        assert ((asks == 0) == (settle(rule, hidden, asked).used > 0)).all()
        asked = asked + asks
        exact = exact + next_asks(rule, votes, exact)
    done = settle(rule, votes, asked)
    assert done.used.tolist() == plain.used.tolist() == exact.tolist()  # batch=1 pays for no vote that is not needed
    assert np.array_equal(done.verdict, plain.verdict, equal_nan=True)
    assert (asked >= exact).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(SAID, min_size=9, max_size=9), min_size=1, max_size=4), st.sampled_from(RULES))
def test_exchanging_the_responses_changes_no_stop(said: list[list[float]], rule: Rule) -> None:
    here, there = settle(rule, said), settle(rule, 1 - np.array(said))
    assert here.used.tolist() == there.used.tolist()
    assert np.array_equal(here.verdict, 1 - there.verdict, equal_nan=True)


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: certain(0), "k_max must be a whole number from 1 to 128, not 0"),
        (lambda: certain(129), "k_max"),
        (lambda: beta(16, 0.0), "error must lie between 0 and 0.5"),
        (lambda: beta(16, 0.5), "error"),
        (lambda: beta(16, 0.05, prior=0), "prior"),
        (lambda: beta(16, 0.05, about="truth"), "about must be"),
        (lambda: beta(16, 0.05, about="long run", held="worst"), "use sprt"),
        (lambda: sprt(16, 0.05, 0.5), "margin"),
        (lambda: sprt(16, 0.05, 0.0), "margin"),
        (lambda: next_asks(certain(3), [[1]], [1], batch=0), "batch must be at least 1, not 0"),
        (lambda: settle(certain(3), [[0.3]]), "choices must be"),
        (lambda: settle(certain(3), [[1]], [2]), r"asked must lie in 0\.\.1"),
        (lambda: settle(certain(3), [[1]], [-1]), "asked"),
        (lambda: settle(certain(3), [[1]], [0.5]), "asked must be whole numbers"),
        (lambda: settle(certain(3), [[1]], [1, 1]), "one per item"),
        (lambda: expected(certain(3), 1.1), r"chances must lie in 0\.\.1"),
    ],
)
def test_bad_input_is_said(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
