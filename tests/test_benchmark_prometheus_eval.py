"""Prometheus-Eval's sampled scores: prompts taken apart, sets of four answers, bad rows named. Rows are hand-made."""

from __future__ import annotations

import json

import numpy as np
import pytest
from judged import write_json

from rrmlib.benchmarks.prometheus_eval import read
from rrmlib.benchmarks.rows import DataError
from rrmlib.judgment import State


def prompt(before="a1", graded="a2", first="q1", second="q2", head="###Task Description:\nGrade it.\n\n"):
    return (
        f"{head}###The instruction to evaluate:\nHere is a previous dialogue between two.\nUser: {first}\n\n"
        f"Assistant:{before}\n\nUser: {second}\n\nAssistant: \n\n###Response to evaluate:\n{graded}\n\n"
        "###Reference Answer (Score 5):\nref\n\n###Score Rubrics:\n[Is it good?]\n\n###Feedback: "
    )


def row(model="m", scores=(1, 2, 3), idx=81, **parts):
    return {
        "idx": idx,
        "response_source": model,
        "category": "writing",
        "instruction": prompt(**parts),
        "gpt4_score": list(scores),
        "gpt4_feedback": [f"{model} {k}" for k in range(3)],
    }


def source(tmp_path, *rows):
    return read(write_json(tmp_path / "mt_bench_eval.json", list(rows)).parent)


def test_a_prompt_is_a_set_in_the_order_of_the_names(tmp_path):
    found = source(tmp_path, row("z", (5, 5, 4), before="za"), row("b", (1, 2, 3), graded="b\n\nUser: no"))
    assert found.names == ("b", "z")
    (item,) = found.items
    assert (item.id, item.subset, item.truth) == ("prometheus_eval/81", "writing", None)
    assert item.query[0].content == "q1"
    assert item.responses == (
        "a1\n\nUser: q2\n\nAssistant: b\n\nUser: no",
        "za\n\nUser: q2\n\nAssistant: a2",
    )
    np.testing.assert_array_equal(found.scores, [[[1, 5], [2, 5], [3, 4]]])
    assert [j.sample for j in found.judgments] == [0, 1, 2]
    assert [part["text"] for part in json.loads(found.judgments[1].text)] == ["b 1", "z 1"]
    assert {j.state for j in found.judgments} == {State.READ}


def test_marks_quoted_in_an_answer_do_not_end_it(tmp_path):
    (item,) = source(tmp_path, row(graded="see ###Score Rubrics:\nmine")).items
    assert item.responses[0].endswith("Assistant: see ###Score Rubrics:\nmine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpt4_score": [1, 2]}, "'gpt4_score': expected 3 integers"),
        ({"gpt4_score": [1, 2, 6]}, "'gpt4_score'"),
        ({"gpt4_score": [1, 2, True]}, "'gpt4_score'"),
        ({"gpt4_score": [1, 2, 2.5]}, "'gpt4_score'"),
        ({"gpt4_feedback": ["a", "b", None]}, "'gpt4_feedback'"),
        ({"instruction": "Grade this."}, "'instruction': not a grading prompt"),
        ({"instruction": prompt(first="other")}, "'instruction': another question"),
        ({"instruction": prompt(second="other")}, "'instruction': another question"),
        ({"response_source": "b"}, "'response_source': 'b' answers prompt 81 twice"),
        ({"idx": "81"}, "'idx'"),
    ],
)
def test_a_malformed_row_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=rf"mt_bench_eval\.json row 1: field {message}"):
        source(tmp_path, row("b"), row("z") | changes)


def test_a_missing_answer_is_named(tmp_path):
    with pytest.raises(DataError, match=r"row 2: prompt 82 has no answer by 'b'"):
        source(tmp_path, row("b"), row("z"), row("z", idx=82, first="other"))
    with pytest.raises(DataError, match=r"prometheus-eval/prometheus-eval"):
        read(tmp_path / "nothing")
