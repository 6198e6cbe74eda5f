"""Matches, playing many tournaments at once, being killed half-way, and replaying a recorded round robin."""

from __future__ import annotations

import math
import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlib.rating import win_rate
from rrmlib.schedulers import Adaptive, Knockout, RoundRobin, Swiss
from rrmlib.simulation import SimulatedJudge
from rrmlib.tournament import Match, Matrix, columns, distinct, outcome, play, replay

NAN = math.nan
KINDS = [
    RoundRobin,
    partial(RoundRobin, rating="elo"),
    partial(RoundRobin, rating="bradley_terry"),
    Knockout,
    Swiss,
    partial(Swiss, rating="bradley_terry"),
    Adaptive,
    partial(Adaptive, batch=2, enough=0.7),
]
IDS = ["wins", "elo", "bt", "knockout", "swiss", "swiss-bt", "adaptive", "adaptive-enough"]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=IDS)
SCORES = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0, NAN])


def answers(table):
    """An ask that looks a pair up in a dict of scores by (lower, higher)."""

    def ask(asked):
        for item, (a, b) in asked:
            score = table[item][min(a, b), max(a, b)]
            score = score if a < b else 1 - score
            yield Match(a, b, score, 5, 5 if math.isnan(score) else 0, tokens=10)

    return ask


@st.composite
def tables(draw, items=2, most=9):
    """Scores of every pair for some items of the same size."""
    n = draw(st.integers(1, most))
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    scores = st.lists(SCORES, min_size=len(pairs), max_size=len(pairs))
    return n, {f"q{i}": dict(zip(pairs, draw(scores))) for i in range(items)}


# --- Matches ----------------------------------------------------------------------------------------------------------


def test_a_match_from_votes():
    match = Match.of(3, 1, [1.0, 0.0, 0.5, NAN, 1.0], tokens=70)
    assert match == Match(3, 1, 0.625, 5, 1, 70)
    assert match.swap() == Match(1, 3, 0.375, 5, 1, 70)
    unread = Match.of(0, 1, [NAN, NAN])
    assert (math.isnan(unread.score), unread.votes, unread.unread, unread.tokens) == (True, 2, 2, -1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1, 1.0), "two different candidates"),
        ((-1, 1, 1.0), "two different candidates"),
        ((0, 1, 1.0, 0), "0 votes"),
        ((0, 1, 1.0, -3), "-3 votes"),
        ((0, 1, 1.0, 2, 3), "3 of them unread"),
        ((0, 1, NAN), "NaN exactly when"),
        ((0, 1, 0.5, 2, 2), "NaN exactly when"),
        ((0, 1, 1.5), "share of votes"),
        ((0, 1, -0.1), "share of votes"),
    ],
)
def test_an_impossible_match_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"match {arguments[0]} against {arguments[1]}.*{message}"):
        Match(*arguments)


def test_a_match_without_votes_is_refused():
    with pytest.raises(ValueError, match="0 votes"):
        Match.of(0, 1, [])


def test_columns_are_what_ratings_take():
    first, second, score, votes = columns([Match(0, 1, 0.75, 4), Match(2, 0, NAN, 3, 3), Match(1, 2, 0.5, 3, 1)])
    assert (first.tolist(), second.tolist(), votes.tolist()) == ([0, 2, 1], [1, 0, 2], [4, 0, 2])
    assert win_rate(3, first, second, score).values.tolist() == [0.75, 0.375, 0.5]
    assert all(len(column) == 0 for column in columns([]))


def test_equal_responses_play_once():
    assert distinct(["a", "b", "a", "c", "b", "a"]) == (0, 1, 3)
    assert distinct([]) == ()


# --- Playing ----------------------------------------------------------------------------------------------------------


def test_a_round_is_one_batch_over_all_items():
    batches = []

    def ask(asked):
        batches.append([(item, tuple(sorted(pair))) for item, pair in asked])
        return [Match(a, b, float(a < b)) for _, (a, b) in asked]

    games = {"x": Knockout(4, bracket=(0, 1, 2, 3)), "y": RoundRobin(3), "z": Knockout(1)}
    results = play(games, ask)
    pairs = [("x", (0, 1)), ("x", (2, 3)), ("y", (0, 1)), ("y", (0, 2)), ("y", (1, 2))]
    assert [sorted(batch) for batch in batches] == [pairs, [("x", (0, 2))]]
    assert {item: games[item].pick(r) for item, r in results.items()} == {"x": 0, "y": 0, "z": 0}
    assert results["z"] == ()


@by_kind
@settings(max_examples=25, deadline=None)
@given(study=tables(), stop=st.integers(0, 60), seed=st.integers(0, 3))
def test_a_killed_tournament_ends_as_if_it_had_not_been(kind, study, stop, seed):
    n, table = study
    games = {item: kind(n, item=item, seed=seed) for item in table}
    whole = play(games, answers(table))
    left = [stop]

    def dying(asked):
        for match in answers(table)(asked):
            left[0] -= 1
            if left[0] < 0:
                raise ConnectionError("the engine is gone")
            yield match

    known = {}
    try:
        play(games, dying, known)
    except ConnectionError:
        assert sum(map(len, known.values())) == stop
    for matches in known.values():
        random.Random(stop).shuffle(matches)  # a store keeps no order
    resumed = play(games, answers(table), known)
    for item, game in games.items():
        order = {(m.first, m.second): repr(m) for m in whole[item]}
        assert {(m.first, m.second): repr(m) for m in resumed[item]} == order
        assert game.ranking(resumed[item]) == game.ranking(whole[item])


@by_kind
@settings(max_examples=25, deadline=None)
@given(study=tables(items=1))
def test_no_pair_twice_and_everyone_is_ranked(kind, study):
    n, table = study
    game = kind(n, item="q0")
    results = play({"q0": game}, answers(table))["q0"]
    assert len({frozenset((m.first, m.second)) for m in results}) == len(results) <= game.most
    assert sorted(game.ranking(results)) == sorted(game.ranking(results[: len(results) // 2])) == list(range(n))
    assert game.pick(results) == game.ranking(results)[0]
    assert game.next_pairs(results) == ()


@by_kind
def test_results_of_another_tournament_are_refused(kind):
    game = kind(6, item="q")
    with pytest.raises(ValueError, match="of item 'q': a result for candidate 6 of 6"):
        game.next_pairs([Match(0, 6, 1.0)])
    pair = game.next_pairs(())[0]
    with pytest.raises(ValueError, match="two results for the pair"):
        game.ranking([Match(*pair, 1.0), Match(*pair[::-1], 1.0)])
    if not isinstance(game, RoundRobin):
        asked = {frozenset(p) for p in game.next_pairs(())}
        other = next((a, b) for a in range(6) for b in range(a) if {a, b} not in asked)
        with pytest.raises(ValueError, match="1 of 1 results are of matches it never asks"):
            game.next_pairs([Match(*other, 1.0)])


@by_kind
def test_no_candidate_one_and_two(kind):
    with pytest.raises(ValueError, match="at least one candidate, not 0"):
        kind(0)
    assert (kind(1).next_pairs(()), kind(1).pick(()), kind(1).most) == ((), 0, 0)
    (pair,) = kind(2).next_pairs(())
    assert sorted(pair) == [0, 1]
    assert [kind(2).pick([Match(*pair, score)]) for score in (1.0, 0.0)] == list(pair)


def test_answers_to_other_questions_are_refused():
    with pytest.raises(ValueError, match=r"item 'q': asked for \(.*\), answered \(0, 2\)"):
        play({"q": Knockout(3, bracket=(0, 1, 2))}, lambda asked: [Match(0, 2, 1.0)])
    for wrong in ([], [Match(0, 1, 1.0)] * 2):
        with pytest.raises(ValueError, match="zip"):
            play({"q": Knockout(2)}, lambda asked, wrong=wrong: wrong)
    with pytest.raises(ValueError, match="not played: 'p'"):
        play({"q": Knockout(2)}, lambda asked: [], {"p": []})


def test_an_answer_may_come_the_other_way_round():
    def turned(asked):
        return [Match(a, b, float(a < b)).swap() for _, (a, b) in asked]

    game = Knockout(8, item="q")
    assert game.pick(play({"q": game}, turned)["q"]) == 0


# --- Replaying --------------------------------------------------------------------------------------------------------


def test_a_replay_is_what_playing_would_have_been():
    _, matrix = SimulatedJudge(unread=0.2).world(9, seed=1, votes=3)
    for kind in KINDS:
        game = kind(9, item="q", seed=2)
        results = play({"q": game}, lambda asked: [matrix.match(*pair) for _, pair in asked])["q"]
        out = replay(game, matrix)
        assert (out.pick, out.ranking) == (game.pick(results), game.ranking(results))
        assert (out.matches, out.votes, out.tokens) == (len(results), 3 * len(results), -1)
        assert outcome(game, results).ties == out.ties
        assert out.rounds >= 1 > outcome(game, results).rounds


def test_what_a_replay_costs():
    matches = [Match(0, 1, 1.0, 2, 0, 30), Match(1, 2, 0.5, 2, 0, 20), Match(2, 0, NAN, 2, 2, 10)]
    out = replay(RoundRobin(3), Matrix.of(3, matches))
    assert (out.matches, out.votes, out.tokens, out.ties, out.unread, out.rounds) == (3, 6, 60, 1, 1, 1)
    assert out.ranking[0] == 0
    half = replay(Knockout(3, bracket=(0, 1, 2)), Matrix.of(3, matches))
    first, second = half.ranking[:2]  # 1 and 2 tie: the coin says which of them 0 meets
    assert (half.matches, half.ties) == (2, 1)
    assert half.tokens == 20 + (30 if 1 in (first, second) else 10)


def test_a_matrix_answers_both_ways_round():
    matrix = Matrix.of(3, [Match(0, 1, 0.75, 4, 0, 8), Match(1, 0, 0.5, 2, 0, 4)])
    assert matrix.match(0, 1) == Match(0, 1, 0.75, 4, 0, 8)
    assert matrix.match(1, 0) == Match(1, 0, 0.5, 2, 0, 4)
    assert Matrix.of(2, [Match(0, 1, 0.75, 4)]).match(1, 0) == Match(0, 1, 0.75, 4)  # as it was judged
    with pytest.raises(ValueError, match="0 against 2 is not recorded"):
        matrix.match(0, 2)
    with pytest.raises(ValueError, match="0 against 1 is recorded twice"):
        Matrix.of(2, [Match(0, 1, 1.0), Match(0, 1, 1.0)])
    with pytest.raises(ValueError, match="0 against 2 is beyond 2"):
        Matrix.of(2, [Match(0, 2, 1.0)])
    with pytest.raises(ValueError, match="4 candidates, but 3 are recorded"):
        replay(RoundRobin(4), matrix)
