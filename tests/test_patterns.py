"""Reasoning patterns: what each family finds and leaves, any text in linear time, rates by hand, agreement by hand."""

import runpy
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rrmlib import patterns
from rrmlib.exchange import crc
from rrmlib.patterns import FAMILIES, agreement, labelled, load, marks, per_words, sentences, share
from rrmlib.world.judging import stream, write
from rrmlib.world.reasoning import Chain

MEASURE = Path(__file__).parent.parent / "measure" / "patterns.py"


def families(text, name="english"):
    return [family for _, _, family in marks(text, load(name))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Now, let's look at the second answer.", {"transition"}),
        ("### Evaluation of Assistant B's answer:", {"transition"}),
        ("Hmm, but maybe the proof also holds for n = 0.", {"reflection"}),
        ("Wait, I should double-check the sum.", {"reflection"}),
        ("Assistant A is better than Assistant B because it answers.", {"comparison"}),
        ("Both responses refuse.", {"comparison"}),
        ("1) The net force is zero.", {"breakdown"}),
        ("- **Accuracy:** one step is wrong.", {"breakdown"}),
        # what must not be found
        ("They wait for the answer, and then look at it.", set()),
        ("The response is helpful and relevant.", set()),
        ("Its step-by-step explanation is clear.", set()),
        ("- **Assistant A:** includes an unneeded import.", set()),
        ("It is now 5 o'clock.", set()),
        ("My final verdict is: [[A>B]]", set()),
        ("I would argue that B is right.", set()),
    ],
)
def test_english(text, found):
    assert set(families(text)) == found


def test_a_lab_trace_by_hand():
    trace = write("rrm", Chain(3, (("+", 4), ("*", 2))), ("4", "6"), "careful", stream("example"))
    found = [(trace[a:b], family) for a, b, family in marks(trace, load("lab"))]
    assert found == [
        ("a+4=7", "breakdown"),
        ("b*2=4", "breakdown"),
        ("4-4=0 ok", "comparison"),
        ("2", "transition"),
        ("6-4=2 bad", "comparison"),
    ]
    assert load("lab").families["reflection"] is None  # said in `what`, and not found by chance
    assert "No counterpart" in load("lab").what["reflection"]


@pytest.mark.parametrize("name", ["english", "lab"])
@pytest.mark.parametrize(
    "text",
    [
        *("a" * 10**6, "1" * 10**6, "Assistant A " * 90_000, "- **" * 250_000, "# * -" * 200_000, "both " * 200_000),
        *("\n" * 10**6, "a=" * 500_000, "more or " * 125_000, "(A) " * 250_000, "is the a significantly " * 45_000),
    ],
)
def test_a_million_characters_take_no_more_than_their_length(name, text):
    start = time.perf_counter()
    marks(text, load(name))
    sentences(text)
    assert time.perf_counter() - start < 8


@given(st.text())
@example("0\r0\x850\r0\r")
def test_any_text_is_taken_and_places_are_places(text):
    for name in ("english", "lab"):
        found = marks(text, load(name))
        assert found == sorted(found)
        assert all(0 <= a < b <= len(text) and family in FAMILIES for a, b, family in found)
    assert all(text[a:b].lstrip() == text[a:b] and len(text[a:b].split()) >= 4 for a, b in sentences(text))


def test_versions_and_names():
    assert load("english").id == load("english.v1").id == "english.v1"
    for name in ("nosuch", "english.v99", "english.vx", "../english"):
        with pytest.raises(ValueError, match=r"unknown lexicon .*; known: english\.v1, lab\.v1"):
            load(name)


def test_sentences_are_also_headings_and_entries():
    text = (
        "One two three four. Short one.\n# A heading of four words\n- an entry of five words\nv1.2 is not an end here"
    )
    assert [text[a:b] for a, b in sentences(text)] == [
        "One two three four.",
        "# A heading of four words",
        "- an entry of five words",
        "v1.2 is not an end here",
    ]


def test_rates_by_hand():
    e = share([0, 3, 1, 0], ["p", "q", "r", "s"])
    assert (e.value, e.n) == (0.5, 4)
    e = per_words([2, 0, 1], [100, 50, 50], ["p", "q", "q"])
    assert e.value == pytest.approx(1.5)  # 3 cases in 200 words
    # Residuals by prompt: 2 - 1.5 = 0.5 and 1 - 1.5 = -0.5; s = sqrt(2 * (0.25 + 0.25)) / 200; t(0.975, 1) = 12.706
    assert e.hi - e.value == pytest.approx(100 * 12.7062 * 1.0 / 200, rel=1e-4)
    assert e.lo == 0.0
    nothing = per_words([0, 0, 0], [100, 100, 100], ["p", "q", "r"])
    assert (nothing.value, nothing.lo) == (0, 0)
    assert nothing.hi == pytest.approx(100 * 3.6889 / 300, rel=1e-3)  # a Poisson count of nothing hides up to 3.7
    for wrong in (([1], [1, 2], ["a"]), ([1], [0], ["a"]), ([1, 2], [9, 9], ["a", "a"])):
        with pytest.raises(ValueError, match=r"counts|no words|one prompt"):
            per_words(*wrong)


def test_the_ratio_covers():
    """95 % intervals of a ratio whose words and rate both vary between prompts."""
    rng, hits = np.random.default_rng(7), 0
    for _ in range(400):
        prompts = np.repeat(np.arange(60), 2)
        words = rng.integers(40, 200, 120)
        rate = np.repeat(rng.gamma(4, 0.005, 60), 2)
        e = per_words(rng.poisson(words * rate), words, prompts)
        hits += e.lo <= 2.0 <= e.hi
    assert 0.91 <= hits / 400 <= 0.98


def test_agreement_by_hand():
    a = agreement([1, 1, 0, 0], [1, 0, 1, 1], list("abcd"))
    assert (a.precision.value, a.recall.value, a.n) == (0.5, pytest.approx(1 / 3), 4)
    nothing = agreement([0, 0], [0, 0], list("ab"))
    assert (nothing.precision, nothing.recall) == (None, None)


def test_the_labels_are_places_without_text():
    rows = labelled()
    assert {row.part for row in rows} == {"development", "test"}
    assert len(labelled("development")) == 259
    assert len(labelled("test")) == 148
    assert all(row.families <= set(FAMILIES) and row.start < row.end for row in rows)
    assert not {(r.judge, r.item, r.order, r.start) for r in labelled("test")} & {
        (r.judge, r.item, r.order, r.start) for r in labelled("development")
    }
    assert all(len(line.split(",")) == 9 for line in (patterns.FOLDER / "labelled.v1.csv").read_text().splitlines())


def test_the_labelled_sentences_are_the_recorded_ones(recorded):
    command = runpy.run_path(str(MEASURE))

    texts = {(j.judge, j.item, str(j.order)): j.text for judge in command["JUDGES"] for j in command["recorded"](judge)}
    for row in labelled():
        assert crc(texts[row.judge, row.item, row.order][row.start : row.end]) == row.crc
    for part in ("development", "test"):
        drawn = [(j.judge, j.item, str(j.order), start, end) for _, j, start, end in command["drawn"](part)]
        assert drawn == [(r.judge, r.item, r.order, r.start, r.end) for r in labelled(part)]
