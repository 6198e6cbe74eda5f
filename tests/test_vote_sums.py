"""Sums of scores, soft votes, the meta RM's choice and fair draws: by hand, against the exact majority, resampled."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rrmlib.vote_sums
from rrmlib.vote import majority
from rrmlib.vote_sums import meta_vote, pair_best, pair_scores, pick, score_sum, soft

NAN = math.nan
SECOND = np.array([[False, True]])


def graded(seed: int, items: int, samples: int, responses: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Grades 1..10 where the first response is two grades better on average, and which is best."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(3, 7, (items, 1, responses)) + np.array([2.0, 0, 0, 0])[:responses]
    scores = np.clip(np.round(rng.normal(mean, 2, (items, samples, responses))), 1, 10)
    return scores, np.tile(np.arange(responses) == 0, (items, 1))


def test_the_example_of_the_module() -> None:
    assert doctest.testmod(rrmlib.vote_sums).failed == 0


# --- Sums of scores ---------------------------------------------------------------------------------------------------


def test_sums_by_hand() -> None:
    scores = [[[7, 7], [6, 8], [9, 4]]]  # tie, second by 2, first by 5
    one, two, three = (score_sum(scores, SECOND, k) for k in (1, 2, 3))
    assert (one.right[0], one.tie[0], one.fair[0]) == pytest.approx((1 / 3, 1 / 3, 1 / 2))
    assert (two.right[0], two.tie[0]) == pytest.approx((1 / 3, 0))  # {1, 2} second; {1, 3} and {2, 3} first
    assert (three.right[0], three.exact, three.subsets) == (0.0, True, 1)


def test_ties_of_a_list_earn_a_fair_draw_or_nothing() -> None:
    scores = [[[8, 8, 8, 1]], [[8, 8, 8, 1]], [[8, 8, 2, 1]]]
    best = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]], dtype=bool)
    vote = score_sum(scores, best, 1)
    assert vote.credit().tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert vote.credit(ties="wrong").tolist() == [0, 0, 1]  # all leaders of the last are best ones
    assert vote.tie.tolist() == [1, 1, 1]


def test_a_partly_read_sample_casts_no_vote() -> None:
    """What is left of it would raise the responses that could be read."""
    scores = [[[NAN, 9], [6, 5], [6, 5]], [[NAN, NAN]] * 3]
    vote = score_sum(scores, [[True, False], [True, False]], 3)
    assert vote.credit().tolist() == [1, 0]
    assert vote.unread.tolist() == [0, 1]
    assert vote.credit("half").tolist() == [1, 0.5]
    single = score_sum(scores, [[True, False], [True, False]], 1)
    assert single.credit()[0] == pytest.approx(2 / 3)
    assert single.credit("excluded")[0] == pytest.approx(1.0)


def test_sums_that_differ_by_rounding_only_are_tied() -> None:
    assert score_sum([[[0.1, 0.3], [0.2, 0.0]]], SECOND, 2).tie[0] == 1.0


def test_ties_fall_and_credit_rises_with_k() -> None:
    scores, best = graded(0, 150, 16)
    votes = [score_sum(scores, best, k, draws=300) for k in (1, 2, 4, 8)]
    ties, credits = [v.tie.mean() for v in votes], [v.credit().mean() for v in votes]
    assert ties == sorted(ties, reverse=True)
    assert ties[0] > 2 * ties[-1]
    assert credits == sorted(credits)
    assert [(v.exact, v.subsets) for v in votes] == [(True, 16), (True, 120), (False, 300), (False, 300)]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_pair_is_a_list_of_two(data: st.DataObject) -> None:
    said = st.sampled_from([1.0, 0.0, 0.5, NAN])
    pool = np.array(data.draw(st.lists(st.lists(said, min_size=6, max_size=6), min_size=1, max_size=3)))
    k, labels = data.draw(st.integers(1, 6)), np.arange(len(pool)) % 2
    orders = data.draw(st.sampled_from([None, [0, 1, 0, 1, 1, 0]]))
    here = score_sum(pair_scores(pool), pair_best(labels), k, orders=orders)
    exact = majority(pool, labels, k, orders=orders)
    assert here.exact
    for name in ("right", "fair", "tie", "unread"):
        assert getattr(here, name) == pytest.approx(getattr(exact, name), abs=1e-12)


@pytest.mark.parametrize(("k", "balanced"), [(8, False), (7, False), (8, True), (7, True)])
def test_random_subsets_stand_for_all(k: int, balanced: bool) -> None:
    rng = np.random.default_rng(3)
    pool = (rng.random((200, 24)) < rng.uniform(0.2, 0.9, (200, 1))).astype(float)
    pool[rng.random(pool.shape) < 0.1] = NAN
    orders, labels = (np.arange(24) % 2 if balanced else None), np.ones(200)
    drawn = score_sum(pair_scores(pool), pair_best(labels), k, orders=orders, draws=400)
    exact = majority(pool, labels, k, orders=orders)
    assert (drawn.exact, drawn.subsets) == (False, 400)
    error = drawn.credit() - exact.credit()
    assert np.abs(error).max() < 5 * 0.5 / 20  # five standard errors of one item at most
    assert abs(error.mean()) < 4 * 0.5 / 20 / math.sqrt(200)  # the items' errors do not add up
    assert 0.2 * 0.5 / 20 < error.std() < 0.5 / 20


def test_resampling_is_seeded_and_item_by_item() -> None:
    scores, best = graded(1, 12, 16)
    ids = [f"q{i}" for i in range(12)]
    vote = score_sum(scores, best, 8, ids=ids, draws=100)
    again = score_sum(scores, best, 8, ids=ids, draws=100)
    part = score_sum(scores[5:9], best[5:9], 8, ids=ids[5:9], draws=100)
    other = score_sum(scores, best, 8, ids=ids, draws=100, seed=1)
    assert vote.credit().tobytes() == again.credit().tobytes()
    assert (part.credit() == vote.credit()[5:9]).all()
    assert (other.credit() != vote.credit()).any()


# --- Soft votes -------------------------------------------------------------------------------------------------------


def test_soft_votes_by_hand() -> None:
    p = [[0.4, 0.4, 0.999], [0.7, 0.2, NAN]]
    mean = soft(p, [1, 1], 3)
    assert mean.right.tolist() == [1, 0]  # 0.5997; 0.45 of the two that are there
    assert soft([[0.4, 0.4, 0.69]], [1], 3).right[0] == 0  # 0.4967
    assert soft([[0.4, 0.4, 0.7]], [1], 3).tie[0] == 1  # exactly one half
    odds = soft([[0.45, 0.45, 0.45, 0.65]], [1], 4, scale="log-odds")
    assert odds.right[0] == 1.0  # 3 * -0.2007 + 0.6190 > 0
    assert soft([[0.45, 0.45, 0.45, 0.65]], [1], 4).tie[0] == 1.0
    assert soft([[0.0, 1.0]], [1], 2, scale="log-odds").tie[0] == 1.0
    assert soft([[0.5, 0.3, 0.9]], [0], 1).credit()[0] == pytest.approx((0.5 + 1 + 0) / 3)


def test_sure_soft_votes_are_majorities() -> None:
    pool = np.random.default_rng(0).integers(0, 2, (10, 7)).astype(float)
    for scale in ("probability", "log-odds"):
        for k in (2, 5):
            vote = soft(pool, np.ones(10), k, scale=scale)
            assert vote.credit() == pytest.approx(majority(pool, np.ones(10), k).credit())


# --- Meta RM ----------------------------------------------------------------------------------------------------------


def test_the_meta_rm_keeps_the_best_half() -> None:
    pool, meta = [[1, 0, 0, 1]], [[0.9, 0.1, 0.2, 0.8]]
    whole = meta_vote(pair_scores(pool), pair_best([1]), meta, 4)  # keeps samples 0 and 3
    assert whole.credit()[0] == 1.0
    assert score_sum(pair_scores(pool), pair_best([1]), 4).credit()[0] == 0.5
    assert meta_vote(pair_scores(pool), pair_best([1]), meta, 4, keep=4).credit()[0] == 0.5
    assert meta_vote(pair_scores(pool), pair_best([1]), meta, 4, keep=3).credit()[0] == 1.0
    # k = 2 keeps one: of six pairs only {1, 2} holds no right sample
    assert meta_vote(pair_scores(pool), pair_best([1]), meta, 2).credit()[0] == pytest.approx(5 / 6)
    assert meta_vote(pair_scores(pool), pair_best([1]), meta, 1).credit()[0] == pytest.approx(1 / 2)


def test_equal_meta_scores_go_by_sample_index() -> None:
    pool = [[0, 1, 1, 0]]
    assert meta_vote(pair_scores(pool), pair_best([1]), [[0.5] * 4], 3, keep=1).credit()[0] == pytest.approx(1 / 4)


def test_the_meta_rm_never_keeps_the_unreadable() -> None:
    pool, meta = [[NAN, 1, 0, 0]], [[5.0, 0.3, 0.2, 0.1]]
    vote = meta_vote(pair_scores(pool), pair_best([1]), meta, 4, keep=1)
    assert (vote.credit()[0], vote.unread[0]) == (1.0, 0.0)
    for weighted in (False, True):  # what could not be read needs no meta score
        blank = meta_vote(pair_scores(pool), pair_best([1]), [[NAN, 0.3, 0.2, 0.1]], 1, weighted=weighted)
        assert blank.unread[0] == pytest.approx(1 / 4)
        assert blank.credit()[0] == pytest.approx(1 / 4)
        assert meta_vote(pair_scores(pool), pair_best([1]), [[NAN, 9, -9, -9]], 4, weighted=weighted).right[0] == (
            1.0 if weighted else 0.0
        )


def test_weights_are_the_sigmoid_of_the_meta_score() -> None:
    pool, meta = [[1, 0, 0]], [[math.log(3), -math.log(3), -math.log(3)]]  # 3/4 against 1/4 + 1/4
    assert meta_vote(pair_scores(pool), pair_best([1]), meta, 3, weighted=True).right[0] == 1.0
    even = [[0.0, -math.log(3), -math.log(3)]]  # 1/2 against 1/4 + 1/4
    assert meta_vote(pair_scores(pool), pair_best([1]), even, 3, weighted=True).tie[0] == 1.0
    assert meta_vote(pair_scores(pool), pair_best([1]), [[2.0, 2.0, 2.0]], 3, weighted=True).right[0] == 0.0
    assert meta_vote(pair_scores(pool), pair_best([1]), even, 3, keep=2, weighted=True).right[0] == 1.0


def test_weights_that_are_all_tiny_are_no_tie() -> None:
    """A meta RM that takes every judgment for wrong (30 logits, 400 logits) still says which is less so."""
    for low in (-30.0, -400.0):
        meta = [[low, low - math.log(3), low - math.log(3)]]
        vote = meta_vote(pair_scores([[0, 1, 1]]), pair_best([0]), meta, 3, weighted=True)
        assert (vote.right[0], vote.tie[0]) == (1.0, 0.0)


def test_a_meta_rm_that_knows_beats_the_sum() -> None:
    rng = np.random.default_rng(2)
    pool = (rng.random((200, 8)) < 0.45).astype(float)
    meta = rng.normal(2 * pool, 1)
    labels = np.ones(200)
    plain, guided = majority(pool, labels, 8), meta_vote(pair_scores(pool), pair_best(labels), meta, 8)
    assert guided.credit().mean() > plain.credit().mean() + 0.2
    random = meta_vote(pair_scores(pool), pair_best(labels), rng.normal(size=meta.shape), 8, keep=4)
    assert random.credit().mean() == pytest.approx(majority(pool, labels, 4).credit().mean(), abs=0.05)


# --- Picks ------------------------------------------------------------------------------------------------------------


def test_picks_take_the_highest_sum_and_draw_ties_fairly() -> None:
    taken = pick([[[1, 9, 3], [1, 1, 3]], [[NAN, 9, 3], [1, 1, 3]]], ids=["a", "b"], seed=0)
    assert (taken.index.tolist(), taken.leaders.tolist(), taken.votes.tolist()) == ([1, 2], [1, 1], [2, 1])
    n = 3000
    ties = pick(np.tile([5.0, 7.0, 7.0, 7.0], (n, 1, 1)), ids=range(n), seed=0)
    share = np.bincount(ties.index, minlength=4) / n
    assert share[0] == 0
    assert np.abs(share[1:] - 1 / 3).max() < 4 * math.sqrt(2 / 9 / n)
    assert (ties.leaders == 3).all()


def test_draws_come_from_the_id_and_the_seed_alone() -> None:
    level = pair_scores(np.full((40, 2), 0.5))
    ids = [f"q{i}" for i in range(40)]
    all_, some = pick(level, ids=ids, seed=3), pick(level[10:20], ids=ids[10:20], seed=3)
    assert (all_.index[10:20] == some.index).all()
    assert (all_.index != pick(level, ids=ids, seed=4).index).any()
    assert set(all_.index) == {0, 1}


def test_a_pick_without_votes_is_a_draw_and_says_so() -> None:
    taken = pick(np.full((50, 3, 2), NAN), ids=range(50), seed=0)
    assert (taken.votes == 0).all()
    assert (taken.leaders == 2).all()
    assert set(taken.index) == {0, 1}


def test_a_pick_can_be_guided() -> None:
    pool, meta = pair_scores([[1, 0, 0, 0]]), [[2.0, 1.0, -1.0, -1.0]]
    assert pick(pool, ids=["a"], seed=0).index[0] == 1
    assert pick(pool, ids=["a"], seed=0, meta=meta, keep=1).index[0] == 0


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: score_sum([[[1, 2]]], SECOND, 0), "k >= 1"),
        (lambda: score_sum([[[1, 2]]], SECOND, 2), "row 0 has 1 samples"),
        (lambda: score_sum([[[1, 2]]], SECOND, 1, draws=0), "draws"),
        (lambda: score_sum([[[1, math.inf]]], SECOND, 1), "finite"),
        (lambda: score_sum([[1, 2]], SECOND, 1), r"\[items, samples, responses\]"),
        (lambda: score_sum([[[1, 2]]], [[0, 1]], 1), "best must be true or false"),
        (lambda: score_sum([[[1, 2]]], [[False, False]], 1), "no response is marked best"),
        (lambda: score_sum([[[1, 2]]], SECOND, 1, ids=["a", "b"]), "2 ids for 1 items"),
        (lambda: pair_best([0.5]), "leave out"),
        (lambda: pair_best([NAN]), "leave out"),
        (lambda: soft([[1.2]], [1], 1), r"0\.\.1"),
        (lambda: soft([[0.2]], [1], 1, scale="logit"), "scale"),
        (lambda: meta_vote([[[1, 2]] * 2], SECOND, [[0, 0]], 2, keep=-1), "keep must be at least 1"),
        (lambda: meta_vote([[[1, 2]] * 2], SECOND, [[0, 0]], 2, keep=3), "keep must be at least 1"),
        (lambda: meta_vote([[[1, 2]] * 2], SECOND, [[0, 0]], 0), "k >= 1"),
        (lambda: meta_vote([[[1, 2]] * 2], SECOND, [[0, NAN]], 2), "row 0, sample 1.*meta"),
        (lambda: meta_vote([[[1, 2]] * 2], SECOND, [[0]], 2), "meta must be"),
        (lambda: pick([[[1, 2]]], ids=[], seed=0), "0 ids for 1 items"),
        (lambda: pick([[[1, 2]]], ids=["a"], seed=0, keep=1), "keep needs meta"),
        (lambda: pick([[[1, 2]]], ids=["a"], seed=0, meta=[[NAN]]), "meta must be finite"),
    ],
)
def test_bad_input_is_said(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
