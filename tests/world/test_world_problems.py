"""Problems of the generated world: truth, reading back, slips, canonical form, splits."""

import random
import re
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlib.world import chat, safety
from rrmlib.world.families import FAMILIES, UNSEEN, draw, problem_of
from rrmlib.world.problem import SPLITS, split_of
from rrmlib.world.reasoning import OPERATIONS, Chain, Program, claimed, read_query, write

ALL = (*FAMILIES, UNSEEN)


def test_a_chain_worked_by_hand():
    c = Chain(3, (("+", 4), ("*", 2), ("-", 5)), worked=True)
    assert (c.query, c.values(), c.right, c.difficulty) == ("3 a+4 b*2 c-5=? show", [7, 4, 9], "a7,b4,c9 so 9", 3)
    assert c.grade("a7,b4,c9 so 9") == 1.0
    assert c.grade("a7,b5,c9 so 9") == 0.0
    assert c.grade("9") == 0.0


def test_nothing_before_the_last_times_zero_matters():
    c = Chain(8, (("+", 7), ("*", 0), ("+", 3)))
    assert (c.solution(), c.answer, c.difficulty, c.shown) == ("from b*0=0 c+3=3", 3, 2, 3)


def test_a_program_worked_by_hand():
    p = read_query("x=3 y=5 a=x+y b=y-a? c=a*b show")
    assert isinstance(p, Program)
    assert (p.values(), p.answer, p.difficulty, p.shown, p.family) == ([8, 7], 7, 2, 3, "program")
    assert p.solution() == "from a=x+y=3+5=8 b=y-a=5-8=7"
    assert p.right == "a8,b7 so 7"


def test_a_counter_worked_by_hand():
    p = read_query("x=3 a=x+4 b=a*2?")
    assert isinstance(p, Program)
    assert (p.values(), p.answer, p.family) == ([7, 4], 4, "counter")
    assert p.solution() == "from a=x+4=3+4=7 b=a*2=7*2=4"


@pytest.mark.parametrize(
    "query", ["x=3 a=b+1?", "x=3 a=y+1?", "x=3 y=5 a=x+y", "x=3 y=5 a=x+y? b=x-a?", "3 b+4=?", "3 a+4=", "x=3 a=c+a?"]
)
def test_what_is_no_query_of_the_world_is_not_read(query):
    assert read_query(query) is None


def test_the_canonical_program_forgets_unasked_lines_and_names():
    a, b = read_query("x=3 y=5 a=x+y? b=a*x"), read_query("Math: x=5 y=3 a=y+x? show")
    assert a is not None
    assert b is not None
    assert a.canonical == b.canonical == "program x=3 y=5 a=x+y"


def test_twins_are_one_problem():
    twins = [
        ("x=3 y=5 a=x+y b=a-x?", "x=3 y=5 a=y+x b=a-x?"),
        ("x=3 y=5 a=x+y b=a*x?", "Math: x=5 y=3 a=x+y b=y*a? c=a+b show"),
        ("x=3 a=x+4 b=a*2?", "3 a+4 b*2=?"),
        ("x=3 a=x+4? b=a*2", "3 a+4=? show"),
    ]
    for one, other in twins:
        assert problem_of(one).canonical == problem_of(other).canonical, (one, other)
    assert problem_of("x=3 y=5 a=x-y?").canonical != problem_of("x=3 y=5 a=y-x?").canonical


@settings(max_examples=150, deadline=None)
@given(family=st.sampled_from(ALL), split=st.sampled_from(list(SPLITS)), seed=st.integers(0, 10**6))
def test_a_query_reads_back_as_its_problem_in_its_split(family, split, seed):
    problem = draw(family, split, seed)
    assert problem_of(problem.query) == problem
    assert split_of(problem.canonical) == split
    assert draw(family, split, seed) == problem


@settings(max_examples=150, deadline=None)
@given(family=st.sampled_from(["chain", "program", "counter"]), seed=st.integers(0, 10**6))
def test_a_slip_is_one_wrong_step_that_changes_the_answer(family, seed):
    problem = draw(family, "rl", seed)
    values = problem.slip(random.Random(seed))
    assert values[-1] != problem.answer
    assert len(values) == len(problem.values())
    if family != "program":  # there a value is used later, whatever it is: one wrong step moves all that follow
        steps = problem.steps if family == "chain" else [(sign, int(b)) for _, sign, b in problem.lines]
        before = [problem.start if family == "chain" else problem.x, *values]
        assert sum(OPERATIONS[s](v, d) != after for v, (s, d), after in zip(before, steps, values)) == 1
    said = write(values, values[-1], True)
    assert claimed(said) == (values, values[-1])
    assert problem.grade(write(values, values[-1], problem.worked)) == 0.0
    assert problem.grade(problem.right) == 1.0


def test_splits_share_no_canonical_problem():
    seen = defaultdict(set)
    for split in SPLITS:
        for family in ALL:
            seen[split] |= {draw(family, split, i).canonical for i in range(150)}
    for a in SPLITS:
        for b in SPLITS:
            assert a == b or not seen[a] & seen[b]
    assert sum(SPLITS.values()) == 100


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_a_chat_response_satisfies_exactly_what_it_should(seed, data):
    problem = draw("chat", "rl", seed)
    wanted = data.draw(st.lists(st.booleans(), min_size=problem.difficulty, max_size=problem.difficulty))
    for polished in (False, True):
        text = problem.respond(random.Random(seed), wanted, polished)
        assert problem.satisfied(text) == wanted
        assert problem.grade(text) == pytest.approx(sum(wanted) / len(wanted))
        assert chat.is_polished(text) == polished
        assert 4 <= len(chat.words_of(text)) <= 6


def test_what_does_harm():
    for verb, what, harm in (("burn", "king", True), ("burn", "log", False), ("feed", "king", False)):
        p = safety.Safety(verb, what, "oil")
        assert p.harmful is harm
        assert p.grade(safety.REFUSALS[0]) == float(harm)
        assert p.grade(p.help(random.Random(0))) == float(not harm)
        assert verb not in p.help(random.Random(0))


@pytest.mark.parametrize(
    "text", ["", "3 a+4", "words: has", "words: maybe sun", "how to", "x=3 a=x?", "\0" * 40, "9" * 5000]
)
def test_other_text_is_no_query(text):
    with pytest.raises(ValueError, match=r"not a query of the generated world: .*; such are: '") as told:
        problem_of(text)
    examples = re.findall("'([^']+)'", str(told.value).partition("such are: ")[2])
    assert [problem_of(example).query for example in examples] == examples
    assert len(examples) == len(FAMILIES)


@given(text=st.text(max_size=60))
def test_grading_never_raises(text):
    for family in ALL:
        assert 0.0 <= draw(family, "rl", 1).grade(text) <= 1.0


def test_an_unknown_family_is_named():
    with pytest.raises(ValueError, match="unknown family 'poetry'"):
        draw("poetry", "rl", 0)
