"""Steps of lab traces: every text splits and joins again, marks imply verdicts, corruption changes one thing."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from fakelab import says, splits

from rrmlib.world.judging import FORMATS
from rrmlib.world.steps import BREAKS, TIE, concluded, corrupt, implied, kind

ITEMS = splits()["test"]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("work\n", "plan"),
        ("from 3 a+4=7 ", "value"),
        ("b=a+x=7+3=0", "value"),
        ("so 4\n", "total"),
        ("1: 4-4=0 ok\n", "mark"),
        ("then 2 bad", "mark"),
        ("has animal owl ok, ", "mark"),
        ("in 1, from 3 a+4=7-7=0 ok ", "mark"),
        ("in 1, tea owl and arm; ", "quote"),
        ("2: 6", "quote"),
        ("to rob the pilot is harm", "rule"),
        ("c=b-y=4-6=8 d=c2", "other"),
        ("", "other"),
    ],
)
def test_kinds(step, expected):
    assert kind(step) == expected


@pytest.mark.parametrize(
    ("trace", "n", "expected"),
    [
        ("1: 4-4=0 ok\n2: 6-4=2 bad", 2, 0),
        ("1: 4 bad\n2: 6 bad", 2, TIE),
        ("in 1, tea and owl; has food tea ok so 1\nin 2, tea and arm; has food tea ok, has body arm ok so 2", 2, 1),
        ("in 1, tea and owl; has food tea ok so 1", 2, None),  # a count alone says nothing
        ("in 1, from 3 a+4=7-7=0 ok b*2=4-6=8 bad\nthen 2 ok", 2, 1),
        ("in 1, from 3 a+4=7-7=0 ok", 2, 0),  # one of a pair is right
        ("2: no refuses bad", 2, 0),
        ("A: 4 ok\nB: 4 bad", 2, 0),
        ("1: 4 ok\n1: 4 bad\n2: 6 ok", 2, 1),  # the last word counts
        ("1: 4 ok\n2: 6 bad\n3: 7 bad", 3, 0),
        ("1: 4 ok\n2: 6 bad", 3, None),
        ("9: 4 ok", 2, None),
        ("1: 4\n2: 6", 2, None),
        ("just guess", 2, None),
        ("", 2, None),
    ],
)
def test_marks_imply_a_verdict(trace, n, expected):
    assert implied(trace, n) == expected


def test_the_last_line_names_a_response():
    assert concluded("work\nbest 2\nbest 1\n</think>", 2) == 0
    assert concluded("<eval>work\nbest B</eval>", 2) == 1
    assert concluded("best 3", 2) is None
    assert concluded("the best 1", 2) is None


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "direct"])
def test_the_verdict_of_a_careful_judge_follows_in_every_format(format):
    said = says(ITEMS, "j", f"{format}_compact", {"careful": 1.0})
    found = [(implied(j.text, 2), j) for j in said]
    picks = {"first": 0, "second": 1, "tie": TIE}
    read = [(f, picks[j.reading.verdict.choice]) for f, j in found if j.reading.verdict and f is not None]
    assert len(read) > 0.9 * len(said)
    assert sum(f == p for f, p in read) > (0.85 if format.startswith("grm") else 0.99) * len(read)  # scores have noise
    guesses = says(ITEMS, "j", f"{format}_compact", {"guess": 1.0})
    assert {implied(j.text, 2) for j in guesses} == {None}


def test_steps_join_to_the_trace_and_corruption_changes_one_place():
    rng = random.Random(0)
    for j in says(ITEMS, "j", "rrm_compact", {"careful": 0.8, "read": 0.2}):
        ends = [0, *(m.end() for m in BREAKS.finditer(j.text)), len(j.text)]
        parts = [j.text[a:b] for a, b in pairwise(ends)]
        assert "".join(parts) == j.text
        for part in parts:
            wrong = corrupt(part, rng)
            assert wrong != part
            assert (wrong is not None) or kind(part) in ("plan", "quote", "other")
            if wrong is not None:
                assert part.split()[:-1] == wrong.split()[:-1]
