"""Tree of Thoughts: the game of 24 verified again, sampled scores with a missing one. Rows are hand-made."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import write_json

from rrmlib.benchmarks.rows import DataError
from rrmlib.benchmarks.tree_of_thought import read, solves, table
from rrmlib.judgment import State

PUZZLES = "Rank,Puzzles,Solved rate\n1,1 1 4 6,99.20%\n2,4 5 6 10,99.60%\n"
GAME = "gpt-4_0.7_naive_cot_sample_2.json"
TEXT = "gpt-4_1.0_naive_standard_sample_2.json"


def game_row(*samples, labels=None, idx=1, key="infos"):
    labels = [0] * len(samples) if labels is None else labels
    kept = [{"r": label} for label in labels] if key == "infos" else [bool(label) for label in labels]
    return {"idx": idx, "ys": list(samples), key: kept, "usage_so_far": {}}


def text_row(*scores, idx=3, **changes):
    infos = [{"rs": list(rs), "r": sum(rs) / len(rs)} for rs in scores]
    return {"idx": idx, "ys": [f"passage {k}" for k in range(len(scores))], "infos": infos, **changes}


def game(tmp_path, *rows, name=GAME):
    (tmp_path / "24.csv").write_text(PUZZLES)
    return read(write_json(tmp_path / name, list(rows)))


@pytest.mark.parametrize(
    ("sample", "right"),
    [
        ("Steps:\n10 - 4 = 6\nAnswer: (5 * (10 - 4)) - 6 = 24", True),
        ("(5 * (10 - 4)) - 6 = 24\n", True),
        ("answer: 5 * (10 - 4) - 6", True),
        ("Answer: 5 * (10 - 4) - 6 = 25", True),  # the left side counts, as in the source
        ("Answer: 4 * 6 = 24", False),  # not all numbers
        ("Answer: 4 * 6 * (10 - 5) / 5 = 24", False),  # a number too many
        ("Answer: 4 * 6 + 10 - 5 = 29", False),
        ("Answer: 46 - 5 * 10 = 24", False),
        ("Answer: None", False),
        ("Answer: 4 / (5 - 5) + 6 + 10 = 24", False),
        ("Answer: 10 ** 4 ** 5 ** 6 = 24", False),
        ("Answer: __import__('os') = 24", False),
        ("Answer: " + "(" * 150 + "24", False),
        ("Answer: 5 * (10 - 4) - 6 = 24\nAnswer: None", False),
        ("", False),
    ],
)
def test_a_solution_uses_the_four_numbers_and_makes_24(sample, right):
    assert solves(sample, "4 5 6 10") is right


def test_division_is_exact():
    assert solves("Answer: 8 / (3 - 8 / 3) = 24", "3 3 8 8")


@given(
    numbers=st.lists(st.integers(1, 13), min_size=4, max_size=4), operators=st.tuples(*[st.sampled_from("+-*/")] * 3)
)
def test_a_chain_solves_exactly_where_python_says_24(numbers, operators):
    chain = "".join(str(x) for x in itertools.chain(*zip(numbers, (*operators, "")))).strip()
    assert solves(chain, " ".join(map(str, sorted(numbers)))) is (abs(eval(chain) - 24) < 1e-9)


@pytest.mark.parametrize("text", ["1" * 5000, "Answer: 0x18", "1_0", "ten", "24 or 1", "5 x 4", "\x00", "((((", "2 2"])
def test_odd_samples_are_wrong_and_raise_nothing(text):
    assert not solves(text, "4 5 6 10")


@pytest.mark.parametrize("key", ["infos", "accs"])
def test_puzzles_are_candidate_sets_with_a_truth_of_their_own(tmp_path, key):
    found = game(tmp_path, game_row("5 * (10 - 4) - 6 = 24", "Answer: None", labels=[1, 0], key=key))
    (item,) = found.items
    assert (item.id, item.cluster, item.truth) == ("game24_cot/1", "game24/1", (1.0, 0.0))
    assert "4 5 6 10" in item.query[0].content
    assert (found.judgments, found.notes) == ((), ())


def test_a_label_that_is_not_so_is_noted(tmp_path):
    found = game(tmp_path, game_row("5 * (10 - 4) - 6 = 24", "none", labels=[0, 0]))
    assert found.items[0].truth == (1.0, 0.0)
    assert str(found.notes[0]).endswith("row 0: field 'infos': sample 0: recorded as 0, found 1")


def test_passages_have_scores_and_no_truth(tmp_path):
    found = read(write_json(tmp_path / TEXT, [text_row((1, 2, 3, 4, 5), (6, 6, 7, 6))]))
    (item,) = found.items
    assert (item.id, item.cluster, item.truth) == ("text_standard/3", "text/3", None)
    assert item.query[0].content == ""
    nan = np.nan
    np.testing.assert_array_equal(found.scores, [[[1, 6], [2, 6], [3, 7], [4, 6], [5, nan]]])
    assert [j.state for j in found.judgments] == [State.READ] * 5
    assert found.judgments[4].reading.note == "response 2: unparsed, fewer scores than calls"
    assert found.notes == ()


def test_a_mean_that_is_none_is_noted(tmp_path):
    row = text_row((1, 2, 3, 4, 5))
    row["infos"][0]["r"] = 4.0
    assert "passage 0: r is 4.0" in str(read(write_json(tmp_path / TEXT, [row])).notes[0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (game_row("x", labels=[0, 1]), "'infos': 2 labels for 1 samples"),
        (game_row("x", labels=[2]), "'r'"),
        (game_row("x", idx=7), "'idx': 7 is no row of the puzzle table"),
        (game_row("x") | {"accs": 1, "infos": 1}, "'infos'"),
        (game_row() | {"ys": []}, "'ys'"),
        (game_row(3), "'ys'"),
        (text_row((1, 2, 3, 4, 5, 6)), "'infos': passage 0: expected 1 to 5"),
        (text_row((11,)), "'infos': passage 0"),
        (text_row((1,), ys=[]), "'ys'"),
        (text_row((1,), ys=["a", "b"]), "'infos': 1 entries for 2 passages"),
        ([1], "a row must be an object"),
    ],
)
def test_a_malformed_row_is_named(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"\.json row 0: .*{message}"):
        game(tmp_path, row)


def test_tables_are_found_given_or_named(tmp_path):
    log = write_json(tmp_path / "logs" / "game24" / GAME, [game_row("x")])
    with pytest.raises(DataError, match=r"needs the table of puzzles, 24\.csv or "):
        read(log)
    upstream = tmp_path / "src" / "tot" / "data" / "24" / "24.csv"
    upstream.parent.mkdir(parents=True)
    upstream.write_text(PUZZLES)
    assert read(log).items == read(log, upstream).items
    assert table(upstream) == ["1 1 4 6", "4 5 6 10"]
    upstream.write_text("Rank,Puzzles\n1,a b\n")
    with pytest.raises(DataError, match="'Puzzles' holds numbers"):
        table(upstream)


def test_rows_of_both_tasks_in_one_file_are_an_error(tmp_path):
    with pytest.raises(DataError, match="rows of both tasks"):
        game(tmp_path, game_row("x"), text_row((1,)))
    with pytest.raises(DataError, match="duplicate id"):
        game(tmp_path, game_row("x"), game_row("x"))
