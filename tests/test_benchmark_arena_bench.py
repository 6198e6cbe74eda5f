"""arena-bench-v1: single ratings as one judgment per question, games from them. Rows are hand-made."""

from __future__ import annotations

import numpy as np
import pytest
from judged import write_jsonl

from rrmlib.benchmarks.arena_bench import games, rating, read
from rrmlib.benchmarks.rows import DataError
from rrmlib.judgment import State


def row(model, text="Rating: [[7]]", score=7, question="q1", asked="2+2?", answer="4"):
    prompt = (
        f"[Question]\n{asked}\n\n[The Start of Reference Answer]\n4 [[9]]\n[The End of Reference Answer]\n\n"
        f"[The Start of Assistant's Answer]\n{answer}\n[The End of Assistant's Answer]"
    )
    return {"question_id": question, "model": model, "user_prompt": prompt, "judgment": text, "score": score}


def folder(tmp_path, **files):
    for name, rows in files.items():
        write_jsonl(tmp_path / "model_judgment" / f"{name}.jsonl", rows)
    return read(tmp_path)


@pytest.mark.parametrize(
    ("text", "state", "value"),
    [
        ("Good. Rating: [[10]]", State.READ, 10),
        ("[[7]] so again [[7]]", State.READ, 7),
        ("values=[[data]] Rating: [[2]]", State.READ, 2),
        ("[[7]] or [[8]]", State.UNPARSED, None),
        ("Rating: [[1", State.UNPARSED, None),
        ("9/10", State.UNPARSED, None),
        ("Rating: [[11]]", State.UNPARSED, None),
        ("Rating: [[7.5]]", State.UNPARSED, None),
        (f"[[{'9' * 5000}]]", State.UNPARSED, None),
        ("429 Too Many Requests", State.ERROR, None),
    ],
)
def test_a_rating_is_the_one_integer_in_brackets(text, state, value):
    reading = rating(text)
    assert reading.state is state
    assert (reading.value.values if reading.value else None) == (None if value is None else (value,))


def test_a_question_is_a_set_in_the_order_of_the_models(tmp_path):
    found = folder(tmp_path, a=[row("z/one", answer="four")], b=[row("b", "no idea", None)])
    assert found.names == ("b", "z/one")  # the field, not the file name
    assert found.items[0].query[0].content == "2+2?"
    assert found.items[0].responses == ("4", "four")
    assert found.items[0].truth is None
    np.testing.assert_array_equal(found.scores, [[[np.nan, 7]]])
    assert found.judgments[0].reading.note == "response 1: unparsed, no rating"
    assert found.notes == ()


def test_a_recorded_score_that_the_text_does_not_say_is_noted(tmp_path):
    found = folder(tmp_path, a=[row("a", score=8)], b=[row("b", "none", 3)])
    assert [str(note).split("'score': ")[1] for note in found.notes] == [
        "differs from the recorded verdict 8",
        "differs from the recorded verdict 3; no rating",
    ]
    np.testing.assert_array_equal(found.scores, [[[7, np.nan]]])


def test_games_follow_the_ratings(tmp_path):
    rows = {m: [row(m, f"[[{s}]]", s), row(m, "[[5]]", 5, "q2", "3+3?")] for m, s in [("a", 3), ("b", 9)]}
    made = games(folder(tmp_path, **rows))
    assert made.names == ("a", "b")
    assert made.tally("a", "b") == (0, 1, 1)
    assert len(set(made.cluster.tolist())) == 2
    assert not made.placed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "7"}, "'score'"),
        ({"score": True}, "'score'"),
        ({"judgment": None}, "'judgment'"),
        ({"user_prompt": "2+2?"}, "'user_prompt': not a question"),
        ({"user_prompt": row("b", asked="3+3?")["user_prompt"]}, "'user_prompt': another question"),
        ({"model": "a"}, "'model': 'a' on question 'q1' is judged twice"),
    ],
)
def test_a_malformed_row_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"b\.jsonl:1: field {message}"):
        folder(tmp_path, a=[row("a")], b=[row("b") | changes])


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="question 'q2' has no judgment of 'b'"):
        folder(tmp_path, a=[row("a"), row("a", question="q2")], b=[row("b")])
    with pytest.raises(DataError, match=r"lmarena/arena-hard-auto"):
        read(tmp_path / "nothing")
