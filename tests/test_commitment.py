"""Where traces are cut, what is taken out of them, and from which cut on a verdict stays."""

from __future__ import annotations

import numpy as np
import pytest

from rrmlib.commitment import BREAKS, along, body, committed, cut, steps, without

RRM = "<think>\nwork\n1: 4 ok\n2: 6 bad\nbest 1\n</think>\n\\boxed{Assistant 1}"
RUBRIC = "<type>Chat</type><rubric>has animal</rubric><eval>A helps. B does not.</eval><answer>[[A]]</answer>"
GRM = "Principles: right answer\nAnalysis: work\n1: 4 ok\nScores: \\boxed{8, 2}"


def inside(text: str, parser: str, **how: object) -> str:
    start, end = body(text, parser, **how)
    return text[start:end]


@pytest.mark.parametrize(
    ("text", "parser", "how", "expected"),
    [
        (RRM, "rrm", {"conclude": "\nbest"}, "work\n1: 4 ok\n2: 6 bad"),
        (RRM, "rrm.v1", {}, "work\n1: 4 ok\n2: 6 bad\nbest 1"),
        ("first it is\n</think>\n\\boxed{Assistant 1}", "rrm", {"opens_think": True}, "first it is"),
        ("never closed", "rrm", {"opens_think": True}, "never closed"),
        (RUBRIC, "rm_r1", {}, "<type>Chat</type><rubric>has animal</rubric><eval>A helps. B does not.</eval>"),
        (GRM, "grm", {}, "Principles: right answer\nAnalysis: work\n1: 4 ok"),
        ("<think>\nbest 1\n</think>\n\\boxed{Assistant 1}", "rrm", {"conclude": "\nbest"}, ""),
        ("[[A]]", "direct", {}, ""),
        ("", "rrm", {}, ""),
        ("<think></think>", "rrm", {}, ""),
    ],
)
def test_the_body_is_what_was_thought_before_the_verdict(text, parser, how, expected):
    assert inside(text, parser, **how) == expected


def test_a_parser_without_a_verdict_in_text_is_refused():
    with pytest.raises(ValueError, match="scores"):
        body("x", "scores")


@pytest.mark.parametrize("text", [RRM, RUBRIC, "a. b! c?\n\nd\u2028e \ud800 f.", "one", "   \n  x  \n\n y "])
@pytest.mark.parametrize("unit", BREAKS)
@pytest.mark.parametrize("at_most", [0, 1, 2, 50])
def test_steps_lie_end_to_end_and_cover_the_body(text, unit, at_most):
    start, end = body(text, "rrm")
    found = steps(text, start, end, BREAKS[unit], at_most=at_most)
    assert "".join(text[s.start : s.end] for s in found) == text[start:end]
    assert [s.end for s in found[:-1]] == [s.start for s in found[1:]]
    fractions = [s.fraction for s in found]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert not at_most or len(found) <= at_most


def test_an_empty_body_has_no_steps():
    assert steps("[[A]]", 0, 0) == []


def test_joined_steps_are_about_as_many_each():
    text = "\n".join("abcdefghij")
    found = steps(text, 0, len(text), BREAKS["line"], at_most=5)
    assert [text[s.start : s.end].split() for s in found] == [
        ["a", "b"],
        ["c", "d"],
        ["e", "f"],
        ["g", "h"],
        ["i", "j"],
    ]


def test_cutting_and_removing():
    start, end = body(RRM, "rrm", conclude="\nbest")
    found = steps(RRM, start, end)
    assert cut(RRM, None, start) == "<think>"
    assert cut(RRM, found[0]) == "<think>\nwork"
    assert cut(RRM, found[-1]) == RRM[:end]
    assert without(RRM, found[1], end) == "<think>\nwork\n2: 6 bad"
    assert without(RRM, found[-1], end) == "<think>\nwork\n1: 4 ok"


@pytest.mark.parametrize(
    ("verdicts", "final", "expected"),
    [
        ([0, 0, 0], 0, 0),
        ([1, 0, 1, 0, 0], 0, 3),
        ([0, 0, 1], 0, None),
        ([None, 0], 0, 1),
        ([float("nan"), 1], 1, 1),
        ([], 0, None),
        ([-1, -1], -1, 0),
    ],
)
def test_committed_is_the_first_cut_after_which_nothing_changes(verdicts, final, expected):
    assert committed(verdicts, final) == expected


def test_a_cut_counts_until_the_next_one():
    found = along([0.0, 0.25, 1.0], [7, 8, 9], [0.0, 0.2, 0.25, 0.9, 1.0])
    assert np.array_equal(found, [7, 7, 8, 8, 9])
    for bad in ([0.5, 1.0], [0.0, 0.9, 0.3], []):
        with pytest.raises(ValueError, match="in order"):
            along(bad, bad, [0.0, 1.0])


def test_a_trace_of_a_megabyte_is_cut_in_time():
    text = "<think>\n" + "word. " * 180_000 + "\n</think>\n\\boxed{Assistant 1}"
    assert len(steps(text, *body(text, "rrm"), BREAKS["sentence"], at_most=20)) == 20
