"""The solver-match control: whose answer is that of the majority, at the cost of a judge."""

import re

import pandas as pd
import pytest
from fakelab import FakeLab

from rrmlib.comparison import Comparison, ask
from rrmlib.engines.base import Completion, Sampling
from rrmlib.findings import solver
from rrmlib.findings.judgments import differences, gather, sections
from rrmlib.params import ParameterError
from rrmlib.store import Store
from rrmlib.world.families import problem_of
from rrmlib.world.problem import stream
from rrmlib.world.text import solve_text


class FakeSolver:
    """Solves rightly with probability `skill`, else one off; every solution costs `tokens`."""

    name, model_id, dtype = "fake", "solver", "none"

    def __init__(self, skill, tokens=10, mute=0.0):
        self.skill, self.tokens, self.mute, self.asked, self.closed = skill, tokens, mute, [], 0

    def generate(self, requests):
        self.asked += requests
        for i, request in enumerate(requests):
            rng = stream("solver", request.seed)
            text, drawn = solve_text(problem_of(request.messages[-1].content)), rng.random()
            if drawn >= self.skill:
                text = re.sub(r"so (\d)$", lambda m: f"so {(int(m[1]) + 1) % 10}", text)
            if rng.random() < self.mute:
                text = text[: text.index("so")]
                yield [(i, Completion(text, "length", self.tokens))]
            else:
                yield [(i, Completion(text, "stop", self.tokens))]

    def close(self):
        self.closed += 1


@pytest.fixture
def made(tmp_path, monkeypatch):
    lab = FakeLab(tmp_path, monkeypatch)
    lab.model("base-s")
    lab.judge("rrm-s", {"careful": 0.6, "read": 0.4})

    def use(*args, **how):
        fake = FakeSolver(*args, **how)
        monkeypatch.setattr(solver, "open_engine", lambda spec: fake)
        return fake

    return lab.lab(), use


def pair(first, second, label="first"):
    return Comparison(id="q", query=ask("3 a+4 b*2=?"), first=first, second=second, label=label, subset="chain-answer")


@pytest.mark.parametrize(
    ("first", "second", "answers", "picked"),
    [
        ("4", "6", [4], "first"),
        ("4", "6", [6, 4, 6], "second"),
        ("4", "6", [4, 6], None),  # a tie
        ("4", "6", [4, 7], None),  # no majority
        ("4", "6", [7, 7, 4], None),  # the majority is neither's
        ("4", "6", [None, None, 4], "first"),  # what cannot be read has no vote
        ("4", "6", [None], None),
        ("4", "6", [], None),
        ("a7,b4 so 4", "a7,b5 so 5", [5, 5, 4], "second"),
        ("a7,b4 so 4", "a6,b4 so 4", [4], None),  # both
        ("four", "4", [4], "second"),
        ("four", "six", [4], None),
    ],
)
def test_whose_answer_is_that_of_the_majority(first, second, answers, picked):
    assert solver.pick(pair(first, second), answers) == picked


def test_the_answer_is_the_last_one_stated():
    assert solver.answer("work\nfrom 3 a+4=7 b*2=4 so 4") == 4
    assert solver.answer("from a=x+y=3+5=8 so 8\nno: so 2") == 2
    assert [solver.answer(text) for text in ("", "work\nfrom 3 a+4=7 b*2=4 so", "also 4", "so 42")] == [None] * 4


def test_a_perfect_solver_is_always_right_and_a_lost_one_gets_half(made):
    lab, use = made
    fake = use(1.0)
    (row,) = solver.solver_match(lab, "base-s", against="rrm-s", samples=1).to_dict("records")
    assert (row["value"], row["n"], row["k"], row["tokens"]) == (1.0, 48, 1, 10.0)
    assert (row["read"], row["unparsed"], row["truncated"], row["matched"]) == (1.0, 0.0, 0.0, 1.0)
    assert (row["profile"], row["seed"], row["judge"], row["section"]) == ("p", "0", "base-s solves", "reasoning")
    assert row["lo"] < 1.0 <= row["hi"]
    assert fake.closed == 1
    fake = use(1.0, mute=1.0)
    fake.model_id = "another"
    (row,) = solver.solver_match(lab, "base-s", against="rrm-s", samples=2).to_dict("records")
    assert (row["value"], row["read"], row["truncated"], row["matched"]) == (0.5, 0.0, 1.0, 0.0)


def test_only_the_bare_query_of_reasoning_is_asked(made):
    lab, use = made
    fake = use(0.8)
    rows = solver.solver_rows(lab, "base-s", against="rrm-s", samples=3)
    assert set(rows["subset"]) == {"chain-answer", "program-worked"}
    assert len(fake.asked) == 3 * rows["query"].nunique()
    for request in fake.asked:
        assert [m.role for m in request.messages] == ["user"]
        assert problem_of(request.messages[0].content)
    assert len({request.seed for request in fake.asked}) == len(fake.asked)


def test_k_makes_it_cost_what_the_judge_does(made):
    lab, use = made
    use(0.6, tokens=7)
    cost = gather([lab], ["rrm-s"]).query("section == 'reasoning'")["tokens"].mean()
    (row,) = solver.solver_match(lab, "base-s", against="rrm-s").to_dict("records")
    assert row["judge_tokens"] == pytest.approx(cost)
    assert row["k"] == round(cost / 7) > 1
    assert row["tokens"] == 7 * row["k"]
    assert abs(row["tokens"] - cost) <= 3.5
    use(0.6, tokens=1000).model_id = "long"
    assert solver.solver_match(lab, "base-s", against="rrm-s")["k"].item() == 1
    use(0.6, tokens=1).model_id = "short"
    assert solver.solver_match(lab, "base-s", against="rrm-s", at_most=5)["k"].item() == 5


def test_a_vote_of_many_is_better_than_one(made):
    lab, use = made
    use(0.6)
    one, many = (solver.solver_match(lab, "base-s", against="rrm-s", samples=k)["value"].item() for k in (1, 15))
    assert many > one + 0.1


def test_more_samples_begin_with_the_same_and_nothing_is_asked_twice(made):
    lab, use = made
    fake = use(0.5)
    few = solver.solver_rows(lab, "base-s", against="rrm-s", samples=2)
    n = len(fake.asked)
    more = solver.solver_rows(lab, "base-s", against="rrm-s", samples=3)
    assert len(fake.asked) == n * 3 // 2
    assert all(b.startswith(a) for a, b in zip(few["text"], more["text"]))
    pd.testing.assert_frame_equal(more, solver.solver_rows(lab, "base-s", against="rrm-s", samples=3))
    assert len(fake.asked) == n * 3 // 2


def test_it_stands_beside_judges_in_their_own_tables(made):
    lab, use = made
    use(1.0)
    rows = pd.concat([gather([lab], ["rrm-s"]), solver.solver_rows(lab, "base-s", against="rrm-s")])
    (mine,) = sections(rows).query("judge == 'base-s solves' and section == 'reasoning'").to_dict("records")
    assert mine["value"] == 1.0
    (found,) = differences(rows, [{"a": "rrm-s", "b": "base-s solves", "least": 0.0}]).to_dict("records")
    assert found["n"] == 48
    assert found["value"] < 0


def test_what_is_missing_is_named_with_its_command(made, tmp_path):
    lab, use = made
    use(1.0)
    with pytest.raises(ParameterError, match=r"rrm lab judge base-s --profile p --seed 0"):
        solver.solver_match(lab, "base-s", against="base-s")
    with pytest.raises(ParameterError, match=r"rrm lab train cold-s --profile p --seed 0"):
        solver.solver_match(lab, "cold-s", against="rrm-s")


def test_solve_groups_by_comparison():
    item, other = pair("4", "6"), Comparison(id="r", query=ask("1 a+1=?"), first="2", second="3", label="first")
    with Store(":memory:") as store:
        done = solver.solve(FakeSolver(1.0), [item, other, item], store, 2, Sampling(9, 1.0), 0)
    assert [[solver.answer(c.text) for c in each] for each in done] == [[4, 4], [2, 2], [4, 4]]
