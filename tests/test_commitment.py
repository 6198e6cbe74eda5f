"""Where traces are cut, what is taken out of them, and from which cut on a verdict stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlib.budget import LEADS, closing
from rrmlib.commitment import BREAKS, along, body, committed, cut, steps, without
from rrmlib.parse import parse

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
        # A verdict before the last one: the body ends at the first that a parser would read...
        ("So [[A]]. No, wait: [[A]]", "direct", {}, "So"),
        ("First \\boxed{Assistant 2}, then \\boxed{Assistant 1}", "rrm", {}, "First"),
        ("Analysis: a\nScores: \\boxed{5, 5}\nagain\nScores: \\boxed{8, 2}", "grm", {}, "Analysis: a"),
        ("<think>a</think>\\boxed{Assistant 2} b</think>\\boxed{Assistant 1}", "rrm", {}, "a</think>"),
        ("[[B]] <think>a</think> [[A]]", "direct", {}, ""),
        ("<rubric>say <answer>[[A]]</answer></rubric><eval>e</eval><answer>[[A]]", "rm_r1", {}, "<rubric>say"),
        ("<eval>e</eval>f <answer>[[B]]</answer> g</eval><answer>[[A]]", "rm_r1", {}, "<eval>e</eval>f"),
        # ... and holds what is quoted where no parser reads, or concluded on the way.
        ("<think>a \\boxed{Assistant 2} b</think>\\boxed{Assistant 1}", "rrm", {}, "a \\boxed{Assistant 2} b"),
        (
            "<eval>B says <answer>[[B]]</answer></eval><answer>[[A]]",
            "rm_r1",
            {},
            "<eval>B says <answer>[[B]]</answer></eval>",
        ),
        (
            "<think>\na\nbest 2\nb\nbest 1\n</think>\n\\boxed{Assistant 1}",
            "rrm",
            {"conclude": "\nbest"},
            "a\nbest 2\nb",
        ),
    ],
)
def test_the_body_is_what_was_thought_before_the_verdict(text, parser, how, expected):
    assert inside(text, parser, **how) == expected


LABELS = {"rrm": " 1}", "rm_r1": "A]]</answer>", "grm": "8, 2}", "grm_single": "1}", "judgebench_arena": "A>B]]"}
LABELS |= {"rewardbench2_ratings": "7]]"}
MARKUP = [
    "<think>",
    "</think>",
    "<rubric>",
    "</rubric>",
    "<eval>",
    "</eval>",
    "<answer>[[B]]</answer>",
    "<answer>",
    "[[B]]",
]
MARKUP += [
    "\\boxed{Assistant 2}",
    "\\boxed{3, 9}",
    "\\boxed{0}",
    "\\boxed{",
    "}",
    "[[3]]",
    "[[B>A]]",
    "Scores: ",
    "\nbest",
    "a b.",
    "\n",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(MARKUP), max_size=9).map("".join), st.sampled_from(sorted(LEADS)), st.booleans())
def test_wherever_a_body_is_cut_the_verdict_that_is_read_is_the_one_asked_for(text, parser, opens_think):
    start, end = body(text, parser, opens_think=opens_think)
    label = LABELS.get(parser, "A]]")
    wanted = parse(parser, LEADS[parser][0] + label, "budget").value
    for at in range(start, end + 1 if end > start else start):
        asked = closing(parser, text[:at], opens_think=opens_think)
        assert asked.endswith(LEADS[parser][0])
        assert parse(parser, text[:at] + asked + label, "budget", opens_think=opens_think).value == wanted


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
