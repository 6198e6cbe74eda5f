"""RRM's own knockout: bracket, finals and Elo picks as published; the recorded votes played through our scheduler."""

from __future__ import annotations

import json

import pytest

from rrmlib.benchmarks import rrm_official
from rrmlib.benchmarks.credit import from_source
from rrmlib.benchmarks.rows import DataError
from rrmlib.comparison import Order
from rrmlib.judgment import Reading, State, Verdict
from rrmlib.schedulers import Knockout
from rrmlib.tournament import play

PAIRS = [[2 * i, 2 * i + 1] for i in range(16)]


def put(folder, name, content):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return folder


@pytest.mark.recorded
def test_512_of_512_recorded_finals_are_reproduced(recorded):
    """reference.json, rrm_official / mmlu_knockout_32b: rivals of the final in their order, and the winner."""
    root = recorded / "rrm_official"
    bracket, finals = rrm_official.bracket(root), rrm_official.finals(root)
    games = {f"mmlu_pro/{q}": Knockout(32, bracket=bracket) for q in finals}
    played = play(games, rrm_official.knockout_judge(rrm_official.knockout_verdicts(root)))
    assert {len(results) for results in played.values()} == {31}
    ours = {}
    for question in finals:
        results = played[f"mmlu_pro/{question}"]
        ours[question] = (results[-1].first, results[-1].second, games[f"mmlu_pro/{question}"].pick(results))
    assert len(ours) == 512
    assert ours == {q: (f.first, f.second, f.winner) for q, f in finals.items()}


@pytest.mark.recorded
def test_another_bracket_reproduces_few_finals(recorded):
    """The check can fail: with the candidates in order of their number hardly any final is the recorded one."""
    root = recorded / "rrm_official"
    finals = rrm_official.finals(root)
    games = {f"mmlu_pro/{q}": Knockout(32, bracket=tuple(range(32))) for q in finals}
    played = play(games, rrm_official.knockout_judge(rrm_official.knockout_verdicts(root)))
    same = sum(games[f"mmlu_pro/{q}"].pick(played[f"mmlu_pro/{q}"]) == f.winner for q, f in finals.items())
    assert same < 60


def test_only_the_first_assistant_lets_the_first_rival_win():
    readings = {
        "mmlu_pro/0/round1/match0": Reading.of(Verdict("first")),
        "mmlu_pro/0/round1/match1": Reading(State.UNPARSED),
        "mmlu_pro/0/round2/match0": Reading.of(Verdict("second")),
    }
    judgments = [from_source(item, Order.AB, "RRM", "", reading) for item, reading in readings.items()]
    game = Knockout(4, bracket=(3, 1, 0, 2))
    results = play({"mmlu_pro/0": game}, rrm_official.knockout_judge(judgments))["mmlu_pro/0"]
    assert [(m.first, m.second, m.score) for m in results] == [(3, 1, 1.0), (0, 2, 0.0), (3, 2, 0.0)]
    assert game.pick(results) == 2


def test_the_bracket_is_read_and_checked(tmp_path):
    name = "MMLU_relative_data/tournament.json"
    assert rrm_official.bracket(put(tmp_path, name, {"round_1": PAIRS})) == tuple(range(32))
    for bad, message in (
        ({"round_1": PAIRS[:15]}, "each of the candidates"),
        ({"round_1": [*PAIRS[:15], [0, 1]]}, "each of the candidates"),
        ({"round_1": [[0, 0]]}, "pairs of different candidates"),
        ({"round_1": None}, "pairs of different candidates"),
        ([], "pairs of different candidates"),
    ):
        with pytest.raises(DataError, match=f"tournament.json.*{message}"):
            rrm_official.bracket(put(tmp_path, name, bad))


def test_finals_are_read_and_checked(tmp_path):
    name = "MMLU_relative_data/32b_tournament_fifth_round_voting_results.json"
    rows = [{"question_id": q, "rival_1": 3, "rival_2": 4, "winner": 4, "pred": "Assistant 2"} for q in range(512)]
    finals = rrm_official.finals(put(tmp_path, name, {"0": rows + rows[:1]}))
    assert finals[0] == rrm_official.Final(3, 4, 4, "Assistant 2", 2)
    assert (len(finals), finals[511].rows) == (512, 1)
    for bad, message in (
        ([], "expected a list of finals"),
        ({"0": rows[:5]}, "each of the questions"),
        ({"0": [*rows, {**rows[7], "winner": 3}]}, "row 512: question 7 is listed twice"),
        ({"0": [{"question_id": 0}]}, "row 0: field 'pred'"),
        ({"0": [3]}, "row 0"),
    ):
        with pytest.raises(DataError, match=message):
            rrm_official.finals(put(tmp_path, name, bad))


def test_elo_picks_are_read_and_checked(tmp_path):
    name = "MATH_Qwen_32b_RRM_judgement/32b_elo_predictions.json"
    assert rrm_official.elo_picks(put(tmp_path, name, {"0": 5, "1": 0})) == (5, 0)
    for bad, message in (
        ({"0": 8}, "candidate 0..7"),
        ({"0": True}, "candidate 0..7"),
        ({"1": 0}, "each of"),
        ([], "each of"),
    ):
        with pytest.raises(DataError, match=message):
            rrm_official.elo_picks(put(tmp_path, name, bad))
