"""What judges of the world write: readable by the evaluation path, true where careful, and checked by the checker."""

import re

import pytest

from rrmlib.judgment import Scores
from rrmlib.parse import parse
from rrmlib.prompt import load_prompt
from rrmlib.world.check import statements
from rrmlib.world.families import FAMILIES, UNSEEN, draw
from rrmlib.world.judging import BEHAVIOURS, FORMATS, PREFIX, write
from rrmlib.world.pairs import attempt
from rrmlib.world.problem import stream
from rrmlib.world.reasoning import Chain

CASES = [(family, i) for family in (*FAMILIES, UNSEEN) for i in range(25)]


def case(family, i):
    problem, rng = draw(family, "rl", i), stream("case", family, i)
    texts = [attempt(problem, good, rng, polished=rng.random() < 0.3) for good in (True, False)]
    return problem, tuple(texts if i % 2 else texts[::-1]), rng


@pytest.mark.parametrize("style", FORMATS)
def test_every_judgment_reads_and_the_careful_one_is_right(style):
    prompt = load_prompt(f"{style}_compact")
    for family, i in CASES:
        problem, shown, rng = case(family, i)
        for behaviour in BEHAVIOURS:
            reading = parse(prompt.parser, write(style, problem, shown, behaviour, rng), "stop", n=2)
            assert reading.value is not None, reading
            if behaviour == "careful":
                best = 0 if problem.grade(shown[0]) > problem.grade(shown[1]) else 1
                if isinstance(reading.value, Scores):
                    assert reading.value.top in ((best,), (0, 1))  # scores carry noise: a near tie may tie
                else:
                    assert reading.verdict.choice == ("first", "second")[best]


@pytest.mark.parametrize("style", [style for style in FORMATS if style != "direct"])
def test_every_statement_of_the_text_is_true(style):
    for family, i in CASES:
        problem, shown, rng = case(family, i)
        for behaviour in BEHAVIOURS:
            said = statements(write(style, problem, shown, behaviour, rng), problem, shown)
            assert all(s.true for s in said), (problem.query, shown, said)
            assert said or behaviour not in ("careful", "read")


@pytest.mark.parametrize("style", ["rrm", "rm_r1", "grm"])
def test_the_checker_finds_a_changed_digit_sign_name_mark_or_word(style):
    """Every such change inside the findings of a careful judgment makes some statement false."""
    changed = 0
    for family, i in CASES:
        problem, shown, rng = case(family, i)
        trace = write(style, problem, shown, "careful", rng)
        start, end = trace.index("work\n") + 5, trace.index("best ")
        for match in re.finditer(
            r"\d|[-+*]|\b(?:ok|bad|harm|fine|none|has|no|[a-h])\b|\b[a-h](?=[-+*=\d])", trace[start:end]
        ):
            swap = {"ok": "bad", "bad": "ok", "harm": "fine", "fine": "harm", "none": "owl", "has": "no", "no": "has"}
            swap |= {"+": "*", "-": "+", "*": "-"} | dict(zip("abcdefgh", "bcdefgha"))
            other = swap.get(match[0]) or str((int(match[0]) + 1) % 10)
            broken = trace[: start + match.start()] + other + trace[start + match.end() :]
            if re.search(
                r"^(?:in )?[A-H0-9](?:,|:| so)", broken[broken.rfind("\n", 0, start + match.start()) + 1 :]
            ) and (match.start() < 4 or trace[start + match.start() - 1] in "\n "):
                continue  # the name of a response, or a quotation of plain words
            assert not all(s.true for s in statements(broken, problem, shown)), (match[0], other, broken)
            changed += 1
    assert changed > 600


@pytest.mark.parametrize("line", ["1: 4+4=0 bad", "2: 6*4=2 ok", "1: 4 -4=0 bad", "1: 4-4=00 ok", "so 44", "from 33"])
def test_what_only_begins_like_a_true_statement_is_false(line):
    problem, shown = Chain(3, (("+", 4), ("*", 2))), ("4", "6")
    assert not all(s.true for s in statements(f"work\n{line}\nbest 1", problem, shown))


@pytest.mark.parametrize("line", ["3+4=9", "x+4=9", "3 a+4=7 c*2=4", "then 1 ok"])
def test_arithmetic_of_nothing_and_conclusions_from_nothing_are_false(line):
    problem, shown = Chain(3, (("+", 4), ("*", 2))), ("4", "6")
    assert not all(s.true for s in statements(f"<think>\nwork\n{line}\nbest 1", problem, shown))


def test_a_guess_states_nothing():
    problem, shown, rng = case("chain", 1)
    assert statements(write("rrm", problem, shown, "guess", rng), problem, shown) == []


def test_prefixes_tell_behaviours_apart():
    starts = list(PREFIX.values())
    assert not [(a, b) for a in starts for b in starts if a != b and a.startswith(b)]
    problem, shown, rng = case("chat", 3)
    for behaviour in BEHAVIOURS:
        assert write("rrm", problem, shown, behaviour, rng).startswith(f"<think>\n{PREFIX[behaviour]}")


def test_thinking_grows_with_what_is_needed_at_equal_length_of_the_query():
    from rrmlib.world.reasoning import Chain

    long = Chain(3, (("+", 4), ("*", 2), ("-", 5)))
    short = Chain(3, (("+", 4), ("*", 0), ("-", 5)))
    texts = [write("rrm", c, (str(c.answer), "1"), "careful", stream("x")) for c in (long, short)]
    assert len(long.query) == len(short.query)
    assert len(texts[0]) > len(texts[1])


@pytest.mark.parametrize(
    "junk", ["", "work\n" * 1000, "in 9, has sun ok so 3", "1: 4 ok", "<think>" * 50, "\ud800", "3 a+4=7" * 400]
)
def test_the_checker_takes_any_text(junk):
    for family in (*FAMILIES, UNSEEN):
        problem, shown, _ = case(family, 2)
        statements(junk, problem, shown)


def test_unknown_names_are_errors():
    problem, shown, rng = case("chain", 1)
    with pytest.raises(ValueError, match="unknown format"):
        write("essay", problem, shown, "careful", rng)
    with pytest.raises(ValueError, match="unknown behaviour"):
        write("rrm", problem, shown, "pray", rng)
