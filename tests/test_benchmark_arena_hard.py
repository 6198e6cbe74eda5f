"""Arena-Hard's battles: repeated rows become two games with votes, or an error that names them. Rows are hand-made."""

from __future__ import annotations

import itertools

import pytest
from judged import write_jsonl

from rrmlib.benchmarks.arena_hard import read, two_games
from rrmlib.benchmarks.rows import DataError

WINNER = {"a": "model_a", "b": "model_b", "t": "tie"}


def battles(tmp_path, runs, model="m"):
    rows = [
        {"question_id": question, "model_a": "base", "model_b": model, "winner": WINNER[w]}
        for question, run in enumerate(runs)
        for w in run
    ]
    return write_jsonl(tmp_path / "battles.jsonl", rows)


@pytest.mark.parametrize(
    ("run", "games"),
    [
        ("bb", (("b", 1), ("b", 1))),
        ("at", (("a", 1), ("t", 1))),
        ("bbba", (("b", 3), ("a", 1))),
        ("tbbb", (("t", 1), ("b", 3))),
        ("aaabbb", (("a", 3), ("b", 3))),
        ("bbbb", (("b", 2), ("b", 2))),  # strong then plain, or plain then strong
        ("bbbbbb", (("b", 3), ("b", 3))),
        ("b", None),
        ("bbb", None),
        ("bbtt", None),
        ("tttt", None),
        ("abab", None),
        ("bbbbb", None),
        ("", None),
    ],
)
def test_rows_of_a_question_are_cut_into_two_games(run, games):
    wanted = games and tuple((WINNER[w], votes) for w, votes in games)
    assert two_games([WINNER[w] for w in run]) == wanted


def test_every_pair_of_verdicts_is_found_again_up_to_which_game_was_the_strong_one():
    for (a, n), (b, m) in itertools.product([("a", 1), ("a", 3), ("b", 1), ("b", 3), ("tie", 1)], repeat=2):
        (won, votes), (won_again, votes_again) = two_games([a] * n + [b] * m)
        assert (won, won_again, votes + votes_again) == (a, b, n + m)
        if a != b or n == m:
            assert (votes, votes_again) == (n, m)


def test_the_baseline_is_shown_first_in_game_one(tmp_path):
    games = read(battles(tmp_path, ["aaab", "tb"]))
    assert games.names == ("base", "m")
    assert games.placed
    assert list(zip(games.first.tolist(), games.second.tolist())) == [(0, 1), (1, 0)] * 2
    assert games.score.tolist() == [1.0, 1.0, 0.5, 1.0]  # of the one shown first
    assert games.votes.tolist() == [3, 1, 1, 1]
    assert games.cluster.tolist() == ["0", "0", "1", "1"]
    assert games.tally("base", "m") == (3, 1, 2)  # as many as there are rows


@pytest.mark.parametrize("run", ["b", "bbb", "bbbbb"])
def test_a_game_without_a_verdict_is_named(tmp_path, run):
    with pytest.raises(DataError, match=r"battles\.jsonl:3: .* of question 1 against 'm' are not two games"):
        read(battles(tmp_path, ["bb", run]))


def test_malformed_rows_are_named(tmp_path):
    file = battles(tmp_path, ["bb"])
    for bad, message in [('"winner": "b"', "'winner'"), ('"winner": "tie"', "plays against itself")]:
        model = "base" if "itself" in message else "m"
        file.write_text(f'{{"question_id": 1, "model_a": "base", "model_b": "{model}", {bad}}}\n')
        with pytest.raises(DataError, match=rf"battles\.jsonl:1: .*{message}"):
            read(file)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "nothing.jsonl")
