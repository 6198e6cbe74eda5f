"""Tournaments on recorded round robins: what every schedule picks, and what it spends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakelab import FakeLab

from rrmlib import lab as labs
from rrmlib.findings import tournaments
from rrmlib.lab import items
from rrmlib.tournament import Match, Matrix


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        made = FakeLab(tmp_path_factory.mktemp("lab"), patch)
        made.judge("rrm-s.pairs", {"careful": 1.0})
        yield made


@pytest.fixture(scope="module")
def played(made):
    return tournaments.matrices(made.lab(), "rrm-s.pairs")


def test_a_careful_judge_lets_every_schedule_find_the_best(made, played):
    lists = items(made.lab(), "candidates")
    units = tournaments.picks(lists, played, tournaments.schedules(5))
    assert set(units["votes"]) == {1, 2, 4}
    knockouts = units[units["schedule"].str.startswith("knockout")]
    assert (knockouts["matches"] == 4).all()
    assert (units[units["schedule"] == "round robin, wins"]["matches"] == 10).all()
    assert (units["judgments"] == units["matches"] * units["votes"]).all()
    every = units[units["schedule"].str.startswith("round robin, wins") | units["schedule"].str.startswith("knock")]
    assert every["credit"].min() == 1.0  # the best wins all of its matches
    assert units["credit"].mean() > 0.98
    assert (units["unread"] == 0).all()
    table = tournaments.table(units)
    assert set(table["family"]) == {"all", *(each.subset for each in lists)}


def test_one_vote_is_answered_in_the_order_that_the_schedule_asks_for(made):
    made.judge("rrm-s.pairs", {"first": 1.0})
    played = tournaments.matrices(made.lab(), "rrm-s.pairs")
    one = next(iter(played[1].values()))[0]
    assert {one.match(0, 1).score, one.match(1, 0).score} == {1.0}  # whoever is shown first
    both = next(iter(played[2].values()))[0]
    assert both.match(0, 1).score == 0.5
    found = tournaments.bias(played, items(made.lab(), "candidates")).iloc[0]
    assert found["value"] > 0.9
    assert found["lo"] > 0.5
    made.judge("rrm-s.pairs", {"careful": 1.0})


def test_a_judge_without_bias_shows_none(made, played):
    found = tournaments.bias(played, items(made.lab(), "candidates")).iloc[0]
    assert found["lo"] <= 0.5 <= found["hi"]
    assert found["n"] == 6 * 10 * 2 * 2
    assert (found["first_wins_better"], found["first_wins_worse"]) == (1, 0)
    assert 0.3 < found["first_wins_equal"] < 0.7


def test_a_list_that_lacks_a_pair_is_named(made, monkeypatch):
    lab = made.lab()
    short = [pair for pair in items(lab, "candidate-pairs") if not pair.id.endswith(":3-4")]
    monkeypatch.setitem(labs.SPLITS, "candidate-pairs", lambda: short)
    lab.judged_mark("rrm-s.pairs").touch()  # of this split: its code is part of the key
    with pytest.raises(ValueError, match="9 pairs of 5 responses were judged"):
        tournaments.matrices(lab, "rrm-s.pairs")


def test_differences_are_paired_by_list(made, played):
    lists = items(made.lab(), "candidates")
    units = tournaments.picks(lists, played, tournaments.schedules(5))
    contrast = {"a": ["knockout, one bracket", 1], "b": ["round robin, wins", 1], "least": -0.1}
    (row,) = tournaments.differences(units, [contrast]).to_dict("records")
    assert row["value"] == 0
    assert row["share"] == pytest.approx(0.4)
    with pytest.raises(ValueError, match="there are"):
        tournaments.differences(units, [{"a": ["league", 1], "b": ["round robin, wins", 1]}])


def test_unreadable_matches_are_counted_and_decided_by_a_coin(made):
    lists = items(made.lab(), "candidates")
    n = len(lists[0].responses)
    blank = Matrix.of(n, [Match(i, j, math.nan, 1, 1, 3) for i in range(n) for j in range(i + 1, n)])
    units = tournaments.picks(lists, {1: {lists[0].id: [blank]}}, tournaments.schedules(n))
    assert (units["unread"] == units["matches"]).all()
    assert np.isfinite(units["credit"]).all()
