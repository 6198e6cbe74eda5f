"""Score arrays and matches of recorded sources, on hand-made numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrmlib.benchmarks.source import Matches, Source, pairwise, rated
from rrmlib.comparison import CandidateSet, ask
from rrmlib.judgment import Reading, Scores, State


def one(value):
    return Reading(State.UNPARSED, note="no rating") if value is None else Reading.of(Scores((float(value),)))


def sets(*sizes):
    return tuple(CandidateSet(id=str(i), query=ask("q"), responses=("x",) * n) for i, n in enumerate(sizes))


def test_responses_rated_one_by_one_are_one_judgment():
    j = rated("0", "gpt", ["good", "hm"], [one(4), one(None)], sample=2)
    assert (j.item, str(j.order), j.sample, j.state) == ("0", "AB", 2, State.READ)
    assert j.reading.value.values[0] == 4
    assert j.reading.value.partial
    assert j.reading.note == "response 2: unparsed, no rating"
    assert [part["text"] for part in json.loads(j.text)] == ["good", "hm"]
    lost = rated("0", "gpt", ["", ""], [Reading(State.ERROR, note="429"), one(None)])
    assert (lost.state, lost.reading.note) == (State.ERROR, "response 1: error, 429")


def test_scores_are_items_by_samples_by_responses():
    items = sets(2, 2)
    judgments = [
        rated("1", "g", ["", ""], [one(1), one(2)], sample=0),
        rated("1", "g", ["", ""], [one(None), one(4)], sample=1),
        rated("0", "g", ["", ""], [one(None), one(None)], sample=0),
    ]
    found = Source(items, tuple(judgments)).scores
    nan = np.nan
    np.testing.assert_array_equal(found, [[[nan, nan], [nan, nan]], [[1, 2], [nan, 4]]])


def test_sets_without_scores_or_of_unlike_size_are_named():
    with pytest.raises(ValueError, match="1 of 2 items were not judged, for example '1'"):
        _ = Source(sets(1, 1), (rated("0", "g", [""], [one(1)]),)).scores
    with pytest.raises(ValueError, match=r"sets of \[1, 2\] responses"):
        _ = Source(sets(1, 2)).scores


def test_matches_from_scores():
    games = pairwise([[7, 5, np.nan], [4, 4, 1]], ("x", "y", "z"), ["q1", "q2"])
    assert list(zip(games.first.tolist(), games.second.tolist())) == [(0, 1), (0, 2), (1, 2)] * 2
    np.testing.assert_array_equal(games.score, [1, np.nan, np.nan, 0.5, 1, 1])
    assert games.cluster.tolist() == ["q1"] * 3 + ["q2"] * 3
    assert not games.placed
    assert games.tally("x", "y") == (1, 1, 0)
    assert games.tally("z", "y") == (0, 0, 1)  # the unread one is not counted
    with pytest.raises(ValueError, match="scores of shape"):
        pairwise([[1, 2]], ("x", "y", "z"), ["q"])
    assert len(pairwise(np.empty((0, 2)), ("x", "y"), []).score) == 0


ROWS = st.lists(
    st.tuples(st.sampled_from([(0, 1), (1, 0), (0, 2)]), st.sampled_from([0.0, 0.5, 1.0, np.nan]), st.integers(1, 3))
)


@given(rows=ROWS)
def test_a_tally_reads_the_same_from_both_sides_and_counts_every_vote(rows):
    games = Matches.of("xyz", [(*pair, score, votes, "q") for pair, score, votes in rows], placed=True)
    won, tied, lost = games.tally("x", "y")
    assert games.tally("y", "x") == (lost, tied, won)
    assert won + tied + lost == sum(v for pair, score, v in rows if 2 not in pair and score == score)
