"""Simulated judges do what they are told, and the tables count what they say."""

from __future__ import annotations

import numpy as np
import pytest

from rrmlib.schedulers import Adaptive, Knockout, RoundRobin
from rrmlib.simulation import (
    STRATEGIES,
    SimulatedJudge,
    coverage,
    estimator_growth,
    estimators,
    growth,
    stopping,
    tournaments,
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("odds", [-1.5, 0.3, 2.0])
def test_the_pair_effect_leaves_the_mean_vote_as_it_is(correlation, odds):
    """The property of the bridge distribution: averaged over pairs, log-odds are what they are without the effect."""
    judge = SimulatedJudge(correlation=correlation)
    u = judge.effects(np.random.default_rng(0), (400_000,))
    assert sigmoid(odds / judge.phi + u).mean() == pytest.approx(sigmoid(odds), abs=0.003)
    share = u.var() / (u.var() + np.pi**2 / 3)
    assert share == pytest.approx(correlation, abs=0.01)


def test_votes_follow_strength_bias_and_noise():
    judge = SimulatedJudge(spread=1.5, noise=3.0, bias=0.8)
    strengths, matrix = judge.world(30, seed=200, votes=2000)
    odds = strengths[:, None] - strengths + 0.8
    off = ~np.eye(30, dtype=bool)
    assert np.abs(matrix.score - sigmoid(odds))[off].max() < 0.06
    assert strengths.std() == pytest.approx(0.5, rel=0.3)
    assert strengths.sum() == pytest.approx(0, abs=1e-9)


def test_votes_on_a_pair_hang_together_and_orders_share_it():
    apart, together = (SimulatedJudge(0.0, bias=0.0, correlation=c).world(60, 200, votes=50)[1] for c in (0.0, 0.6))
    upper = np.triu_indices(60, 1)
    assert apart.score[upper].std() == pytest.approx(0.5 / np.sqrt(50), rel=0.1)
    assert together.score[upper].std() > 4 * apart.score[upper].std()
    assert np.corrcoef(together.score[upper], 1 - together.score.T[upper])[0, 1] > 0.9
    assert abs(np.corrcoef(apart.score[upper], 1 - apart.score.T[upper])[0, 1]) < 0.1


def test_unread_votes_are_counted_and_worlds_repeat():
    judge = SimulatedJudge(unread=0.5)
    _, matrix = judge.world(20, 200, votes=2)
    assert matrix.unread.mean() == pytest.approx(1.0, abs=0.1)
    assert np.all(np.isnan(matrix.score) == (matrix.unread == 2))
    assert (
        judge.world(20, 200, 2)[1].score.tobytes()
        == matrix.score.tobytes()
        != judge.world(20, 201, 2)[1].score.tobytes()
    )
    _, silent = SimulatedJudge(unread=1.0).world(3, 200)
    assert np.isnan(silent.score).all()


def test_tournaments_table():
    strategies = {name: STRATEGIES[name] for name in ("round robin", "knockout")}
    table = tournaments(SimulatedJudge(), 8, strategies, seeds=range(200, 240), votes=3).set_index("strategy")
    assert table.matches.tolist() == [28, 7]
    assert table.judgments.tolist() == [84, 21]
    assert table.share.tolist() == [1.0, 0.25]
    assert (table.lo <= table.accuracy).all()
    assert (table.accuracy <= table.hi).all()
    assert table.gain["round robin"] == 0
    assert table.gain["knockout"] == pytest.approx(table.accuracy["knockout"] - table.accuracy["round robin"])
    sure = tournaments(SimulatedJudge(spread=1e6), 8, {"knockout": Knockout}, seeds=range(200, 220))
    assert (sure.accuracy[0], sure.loss[0]) == (1.0, 0.0)
    assert "gain" not in sure
    alone = tournaments(SimulatedJudge(), 1, STRATEGIES, seeds=[200])
    assert (alone.accuracy == 1).all()
    assert (alone.matches == 0).all()


def test_every_strategy_plays_and_a_seed_gives_the_same_table():
    once, twice = (tournaments(SimulatedJudge(), 6, seeds=range(200, 205)).drop(columns="seconds") for _ in range(2))
    assert once.equals(twice)
    assert list(once.strategy) == list(STRATEGIES)


def test_growth_counts_matches():
    table = growth(SimulatedJudge(), (5, 40), {"all": RoundRobin, "knockout": Knockout, "adaptive": Adaptive}, seed=200)
    assert table.matches.tolist() == [10, 4, 7, 780, 39, Adaptive(40).most]
    assert table[table.strategy == "knockout"].rounds.tolist() == [3, 6]
    assert (table["rank"] >= 1).all()


def test_estimators_table():
    table = estimators(SimulatedJudge(), 8, (10, 28), seeds=range(200, 230)).set_index(["estimator", "matches"])
    assert (table.correlation.xs(28, level=1) > table.correlation.xs(10, level=1)).all()
    assert table.same_pick.dropna().index.get_level_values(0).unique().tolist() == ["Elo, shuffled again"]
    assert 0.5 < table.same_pick["Elo, shuffled again", 28] <= 1
    times = estimator_growth(20, (100, 1000))
    assert times.matches.tolist() == [100] * 3 + [1000] * 3


def test_coverage_needs_pairs_where_votes_hang_together():
    judge = SimulatedJudge(spread=1.0, correlation=0.5)
    rows = {by: coverage(judge, 10, seeds=range(200, 260), votes=4, by_pair=by).iloc[0] for by in (True, False)}
    assert rows[True].strengths > 0.9 > 0.85 > rows[False].strengths
    assert rows[True].bias > 0.85
    assert rows[True].bias_mean == pytest.approx(0.3, abs=0.1)


def test_stopping_table():
    rules = {"one": lambda votes: 1, "all": lambda votes: len(votes), "until two agree": two_agree}
    table = stopping(SimulatedJudge(), rules, seeds=range(200, 500), most=9).set_index("rule")
    assert table.votes[["one", "all"]].tolist() == [1, 9]
    assert 2 < table.votes["until two agree"] < 3.5
    assert table.agrees["all"] == 1
    assert table.accuracy["one"] < table.accuracy["all"]
    for wrong in (0, 10):
        with pytest.raises(ValueError, match=f"rule 'bad': {wrong} of 9 votes"):
            stopping(SimulatedJudge(), {"bad": lambda votes, wrong=wrong: wrong}, seeds=[200], most=9)


def two_agree(votes):
    """Stops at the first two votes in a row that say the same."""
    for used in range(2, len(votes)):
        if votes[used - 1] == votes[used - 2]:
            return used
    return len(votes)


@pytest.mark.parametrize(
    "settings",
    [{"spread": -1}, {"noise": 0}, {"correlation": 1.0}, {"correlation": -0.1}, {"unread": 1.1}],
)
def test_impossible_judges_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        SimulatedJudge(**settings)


def test_a_world_needs_candidates_and_votes():
    for n, votes in ((0, 1), (3, 0), (3, -1)):
        with pytest.raises(ValueError, match=f"not {n} and {votes}"):
            SimulatedJudge().world(n, 0, votes)
