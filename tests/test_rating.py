"""Win rate, Elo and Bradley-Terry: worked by hand, symmetric, indifferent to names, and honest where data are thin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlib.rating import bradley_terry, elo, win_rate
from rrmlib.simulation import SimulatedJudge

NAN = math.nan


def league(n: int = 6, seed: int = 0, votes: int = 3) -> tuple:
    """Columns of a round robin in both orders that has a maximum of its likelihood."""
    _, matrix = SimulatedJudge(spread=0.7).world(n, seed, votes)
    first, second = np.nonzero(~np.eye(n, dtype=bool))
    return first, second, matrix.score[first, second], np.full(len(first), votes)


# --- Win rate and Elo -------------------------------------------------------------------------------------------------


def test_win_rate_by_hand():
    # 0 beats 1, ties with 2, 2 takes a quarter of the votes from 1; one match nobody could read; 3 never plays
    rating = win_rate(4, [0, 0, 2, 1], [1, 2, 1, 2], [1.0, 0.5, 0.25, NAN])
    assert rating.values[:3] == pytest.approx([0.75, 0.375, 0.375])
    assert math.isnan(rating.values[3])
    assert (rating.matches, rating.unread) == (3, 1)


def test_elo_by_hand():
    # 0 beats 1 at even odds: +-4 * 0.5. Then 1 (998) beats 0 (1002): 0 expected 1 / (1 + 10^(-4/400)).
    expected = 1 / (1 + 10 ** (-4 / 400))
    rating = elo(2, [0, 0], [1, 1], [1.0, 0.0], shuffle=None)
    assert rating.values == pytest.approx([1002 - 4 * expected, 998 + 4 * expected])
    assert elo(2, [0], [1], [0.5], shuffle=None).values.tolist() == [1000.0, 1000.0]
    assert elo(2, [0], [1], [1.0], start=0, k=32, shuffle=None).values.tolist() == [16.0, -16.0]
    unread = elo(2, [0, 0], [1, 1], [1.0, NAN])
    assert (unread.values.tolist(), unread.matches, unread.unread) == ([1002.0, 998.0], 1, 1)


def test_elo_shuffles_as_python_does_with_that_seed():
    first, second, score = [0, 1, 2, 0], [1, 2, 0, 2], [1.0, 1.0, 1.0, 0.0]
    order = [2, 0, 1, 3]  # random.Random(0).shuffle on [0, 1, 2, 3]
    given = elo(3, np.array(first)[order], np.array(second)[order], np.array(score)[order], shuffle=None)
    assert elo(3, first, second, score, shuffle=0).values.tolist() == given.values.tolist()
    assert elo(3, first, second, score, shuffle=None).values.tolist() != given.values.tolist()


def test_elo_agrees_with_evalica():
    evalica = pytest.importorskip("evalica", reason="evalica is not installed: Elo is compared with it where it is")
    rng = np.random.default_rng(0)
    first = rng.integers(0, 8, 200)
    second = (first + rng.integers(1, 8, 200)) % 8
    score = rng.choice([0.0, 0.5, 1.0], 200)
    names = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    theirs = evalica.elo(first.tolist(), second.tolist(), [names[y] for y in score.tolist()], initial=1000, k=4)
    ours = elo(8, first, second, score, shuffle=None).values
    assert [theirs.scores[i] for i in range(8)] == pytest.approx(ours.tolist(), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.data())
def test_elo_moves_points_but_makes_none(n, data):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(1, n - 1)), min_size=1, max_size=30))
    first = [a for a, _ in pairs]
    second = [(a + d) % n for a, d in pairs]
    score = data.draw(st.lists(st.floats(0, 1), min_size=len(pairs), max_size=len(pairs)))
    assert elo(n, first, second, score).values.sum() == pytest.approx(1000 * n)
    swapped = elo(n, second, first, [1 - y for y in score])
    assert swapped.values == pytest.approx(elo(n, first, second, score).values)


# --- Bradley-Terry ----------------------------------------------------------------------------------------------------


def test_two_candidates_by_hand():
    # 3 of 4 votes: log-odds log 3; information 4 * 3/16, so the variance of the difference is 4/3
    fit = bradley_terry(2, [0], [1], [0.75], [4], position=False)
    assert fit.strengths == pytest.approx([math.log(3) / 2, -math.log(3) / 2])
    value, lo, hi = fit.difference(0, 1)
    half = 1.959964 * math.sqrt(4 / 3)
    assert (value, lo, hi) == pytest.approx((math.log(3), math.log(3) - half, math.log(3) + half), rel=1e-6)
    assert fit.hi[0] - fit.strengths[0] == pytest.approx(half / 2, rel=1e-6)
    assert fit.probability(0, 1) == pytest.approx(0.75)


def test_two_candidates_in_both_orders_by_hand():
    # shown first 0 takes 90 %, shown second 60 %: s = (logit .9 + logit .6) / 2, b = (logit .9 - logit .6) / 2
    fit = bradley_terry(2, [0, 1], [1, 0], [0.9, 0.4], [10, 10])
    a, b = math.log(9), math.log(1.5)
    assert fit.difference(0, 1)[0] == pytest.approx((a + b) / 2)
    assert fit.bias.value == pytest.approx((a - b) / 2)
    half = 1.959964 * math.sqrt(1 / 0.9 + 1 / 2.4) / 2  # the variance of half a difference of two logits
    assert (fit.bias.lo, fit.bias.hi) == pytest.approx((fit.bias.value - half, fit.bias.value + half), rel=1e-6)
    assert (fit.bias.n, fit.votes, fit.matches) == (20, 20.0, 2)
    assert (fit.probability(0, 1), fit.probability(1, 0)) == pytest.approx((0.9, 0.4))


def test_three_candidates_by_hand():
    # Odds 2:1, 3:1 and 6:1 fit exactly strengths log 6, log 3, 0
    fit = bradley_terry(3, [0, 1, 0], [1, 2, 2], [2 / 3, 3 / 4, 6 / 7], [3, 4, 7], position=False)
    truth = np.array([math.log(6), math.log(3), 0])
    assert fit.strengths == pytest.approx(truth - truth.mean())
    assert fit.strengths.sum() == pytest.approx(0, abs=1e-12)


def test_a_tie_is_half_a_vote_each():
    tied = bradley_terry(2, [0, 0], [1, 1], [1.0, 0.5], position=False)
    assert tied.difference(0, 1)[0] == pytest.approx(math.log(3))


def test_a_prior_pulls_towards_the_mean_and_defines_what_data_do_not():
    fit = bradley_terry(4, [0, 2], [1, 3], [1.0, 1.0], prior=1.0)  # never met, never lost
    assert fit.strengths[0] == pytest.approx(fit.strengths[2])
    # one vote, one prior: s = -s' solves 1 - sigmoid(2 s + b) = s and = b / 2 for the two votes that b shares
    s, b = fit.strengths[0], fit.bias.value
    missing = 1 - 1 / (1 + math.exp(-(2 * s + b)))
    assert (s, b) == pytest.approx((missing, 2 * missing), abs=1e-7)
    nothing = bradley_terry(3, [], [], [], prior=2.0)
    assert nothing.strengths.tolist() == [0, 0, 0]
    assert nothing.best().tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    wide = bradley_terry(*[6, *league()], prior=100.0)
    assert wide.strengths == pytest.approx(bradley_terry(*[6, *league()]).strengths, abs=1e-2)
    assert bradley_terry(*[6, *league()], prior=0.3).strengths.std() < 0.7 * wide.strengths.std()


def test_votes_are_as_good_as_rows():
    first, second, score, votes = [0, 1, 2, 0], [1, 2, 0, 2], [0.5, 0.75, 0.25, 0.5], [2, 4, 4, 6]
    rows = [
        (a, b, v)
        for a, b, y, k in zip(first, second, score, votes)
        for v in [1.0] * int(y * k) + [0.0] * int(k - y * k)
    ]
    one = bradley_terry(3, first, second, score, votes)
    many = bradley_terry(3, *zip(*rows))
    assert many.strengths == pytest.approx(one.strengths)
    assert many.covariance == pytest.approx(one.covariance)
    assert (one.bias.value, one.bias.lo) == pytest.approx((many.bias.value, many.bias.lo))


@pytest.mark.parametrize("settings", [{}, {"prior": 1.0}, {"by_pair": True}, {"position": False}])
def test_exchanging_first_and_second_turns_the_bias_only(settings):
    first, second, score, votes = league()
    pair = {"clusters": np.minimum(first, second) * 6 + np.maximum(first, second)} if "by_pair" in settings else {}
    options = {k: v for k, v in settings.items() if k != "by_pair"} | pair
    a = bradley_terry(6, first, second, score, votes, **options)
    b = bradley_terry(6, second, first, 1 - score, votes, **options)
    assert b.strengths == pytest.approx(a.strengths)
    assert b.covariance == pytest.approx(a.covariance)
    assert (b.bias.value, b.bias.lo, b.bias.hi) == pytest.approx((-a.bias.value, -a.bias.hi, -a.bias.lo))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)), st.booleans())
def test_names_and_the_order_of_rows_do_not_matter(names, by_pair):
    first, second, score, votes = league()
    names = np.array(names)
    rows = np.random.default_rng(0).permutation(len(first))
    pair = np.minimum(first, second) * 6 + np.maximum(first, second)
    a = bradley_terry(6, first, second, score, votes, clusters=pair if by_pair else None)
    b = bradley_terry(
        6, names[first[rows]], names[second[rows]], score[rows], votes[rows], clusters=pair[rows] if by_pair else None
    )
    assert b.strengths[names] == pytest.approx(a.strengths)
    assert b.lo[names] == pytest.approx(a.lo)
    assert b.bias.value == pytest.approx(a.bias.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.data())
def test_with_a_prior_everything_is_defined(n, data):
    """Whoever met whom, however one-sided and however many votes: finite, centred, inside its interval."""
    rows = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, n - 1),
                st.integers(1, n - 1),
                st.sampled_from([0.0, 0.5, 1.0, NAN]),
                st.integers(1, 10**6),
            ),
            max_size=20,
        )
    )
    first, score, votes = ([row[i] for row in rows] for i in (0, 2, 3))
    second = [(row[0] + row[1]) % n for row in rows]
    prior = data.draw(st.sampled_from([1e-2, 1.0, 1e3]))
    fit = bradley_terry(n, first, second, score, votes, prior=prior)
    assert fit.strengths.sum() == pytest.approx(0, abs=1e-6)
    assert np.all(fit.lo < fit.strengths)
    assert np.all(np.isfinite(fit.hi))
    assert fit.bias.lo < fit.bias.value < fit.bias.hi
    assert fit.matches + fit.unread == len(rows)
    assert fit.best(draws=50).sum() == pytest.approx(1)


def test_the_chance_of_being_best():
    fit = bradley_terry(3, [0, 1, 0, 1], [1, 0, 2, 2], [0.5, 0.5, 0.95, 0.95], [20, 20, 20, 20])
    best = fit.best(draws=20_000)
    assert best.sum() == pytest.approx(1)
    assert best[0] == pytest.approx(best[1], abs=0.02)
    assert best[2] < 0.01
    assert fit.best(seed=3).tolist() == fit.best(seed=3).tolist() != fit.best(seed=4).tolist()
    two = bradley_terry(2, [0], [1], [0.75], [4], position=False)  # one difference: a normal tail
    tail = 0.5 * math.erfc(-math.log(3) / math.sqrt(4 / 3) / math.sqrt(2))
    assert two.best(draws=100_000)[0] == pytest.approx(tail, abs=0.005)


# --- Intervals by cluster ---------------------------------------------------------------------------------------------


def test_copies_of_a_vote_are_no_news_to_intervals_by_cluster():
    first, second, score, votes = league(votes=5)
    once = bradley_terry(6, first, second, score, votes, clusters=np.arange(len(first)))
    four = bradley_terry(
        6,
        np.tile(first, 4),
        np.tile(second, 4),
        np.tile(score, 4),
        np.tile(votes, 4),
        clusters=np.tile(np.arange(30), 4),
    )
    assert four.lo == pytest.approx(once.lo)
    assert four.bias.hi == pytest.approx(once.bias.hi)
    assert (four.bias.clusters, four.method) == (30, "sandwich")
    naive = bradley_terry(6, np.tile(first, 4), np.tile(second, 4), np.tile(score, 4), np.tile(votes, 4))
    assert naive.hi[0] - naive.lo[0] < 0.7 * (four.hi[0] - four.lo[0])


def test_intervals_hold_the_truth_in_a_few_runs():
    """A smoke test of `measure/rating.py`: correlated votes need intervals by pair."""
    judge = SimulatedJudge(spread=1.0, correlation=0.3)
    i, j = np.nonzero(~np.eye(12, dtype=bool))
    pair = np.minimum(i, j) * 12 + np.maximum(i, j)
    inside: dict[bool, list] = {True: [], False: []}
    for seed in range(200, 280):
        truth, matrix = judge.world(12, seed, votes=4)
        for by_pair in inside:
            clusters = pair if by_pair else None
            fit = bradley_terry(12, i, j, matrix.score[i, j], matrix.votes[i, j], prior=3.0, clusters=clusters)
            inside[by_pair].append(np.mean((fit.lo <= truth) & (truth <= fit.hi)))
    assert 0.92 < np.mean(inside[True]) < 0.98
    assert np.mean(inside[False]) < 0.88


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_a_single_candidate():
    assert win_rate(1, [], [], []).matches == 0
    assert elo(1, [], [], []).values.tolist() == [1000.0]
    fit = bradley_terry(1, [], [], [], position=False)
    assert (fit.strengths.tolist(), fit.best().tolist(), fit.bias.method) == ([0.0], [1.0], "not estimated")
    with pytest.raises(ValueError, match="single candidate"):
        bradley_terry(1, [], [], [])


@pytest.mark.parametrize(
    ("first", "second", "score", "message"),
    [
        ([0, 0, 3, 4], [1, 2, 4, 3], [1, 0, 1, 1], r"2 groups of candidates never meet.*\{3, 4\}, \{0, 1, 2\}"),
        ([0, 1, 2], [1, 2, 0], [1, 1, 1], "separate"),  # whoever was shown first won: the bias runs away
        ([0, 1, 0, 1], [1, 0, 2, 2], [1, 0.5, 1, 1], r"only won or only lost.*\{2\}, \{0, 1\}"),
        ([0, 0, 1], [1, 1, 2], [1, 0, 0.5], "cannot be told"),  # a chain, never turned
    ],
)
def test_without_a_prior_it_says_why_there_is_no_maximum(first, second, score, message):
    n = max(first + second) + 1
    with pytest.raises(ValueError, match=message):
        bradley_terry(n, first, second, score)
    assert np.all(np.isfinite(bradley_terry(n, first, second, score, prior=2.0).hi))


@pytest.mark.parametrize("rate", [win_rate, elo, bradley_terry])
@pytest.mark.parametrize(
    ("n", "columns", "message"),
    [
        (0, ([], [], []), "at least one candidate"),
        (2, ([0], [0], [1.0]), "row 0: candidate 0 is matched with itself"),
        (2, ([0, 0], [1, 2], [1.0, 1.0]), "whole numbers 0..1"),
        (2, ([0.0], [1.0], [1.0]), "whole numbers"),
        (2, ([-1], [1], [1.0]), "whole numbers"),
        (2, ([0, 0], [1, 1], [1.0, 1.1]), "row 1: score 1.1"),
        (2, ([0], [1, 1], [1.0]), "equally long"),
    ],
)
def test_bad_columns_are_named(rate, n, columns, message):
    with pytest.raises(ValueError, match=message):
        rate(n, *columns)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"votes": [0, 1]}, "row 0: 0 votes"),
        ({"votes": [1, -2]}, "row 1: -2 votes"),
        ({"prior": 0.0}, "prior"),
        ({"prior": -1.0}, "prior"),
        ({"level": 1.0}, "level"),
        ({"clusters": ["a"], "prior": 1.0}, "clusters of shape"),
        ({"clusters": ["a", "b"], "prior": 1.0}, "more clusters"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry(2, [0, 1], [1, 0], [1.0, 0.0], **options)


def test_unread_rows_are_left_out_and_counted():
    first, second, score, votes = league()
    more = np.append(score, NAN)
    fit = bradley_terry(6, np.append(first, 0), np.append(second, 1), more, np.append(votes, 0), clusters=np.arange(31))
    assert (fit.unread, fit.matches) == (1, 30)
    same = bradley_terry(6, first, second, score, votes, clusters=np.arange(30))
    assert fit.lo == pytest.approx(same.lo)
    for bad in ({"k": 0}, {"scale": -1}):
        with pytest.raises(ValueError, match="positive"):
            elo(2, [0], [1], [1.0], **bad)
