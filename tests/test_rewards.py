"""Rewards: what each kind of text is worth, and the control that teaches nothing."""

from __future__ import annotations

import pytest

from rrmlib.judgment import State
from rrmlib.prompt import load_prompt
from rrmlib.rewards import Outcome, random_reward, scores_reward, verdict_reward


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("so\n</think>\n\\boxed{Assistant 1}", "stop", Outcome(1.0, State.READ)),
        ("so\n</think>\n\\boxed{Assistant 2}", "stop", Outcome(-1.0, State.READ)),
        ("so\n</think>\nno idea", "stop", Outcome(-1.0, State.UNPARSED)),
        ("so\n</think>\nno", "length", Outcome(-1.0, State.TRUNCATED)),
        ("\\boxed{Assistant 1} never closed", "length", Outcome(-1.0, State.TRUNCATED)),
    ],
)
def test_only_the_right_verdict_in_the_shown_order_is_worth_one(text, finish, expected):
    reward = verdict_reward(load_prompt("rrm"), opens_think=True)
    assert reward([{"label": "first"}], [text], [finish]) == [expected]


def test_a_tie_is_worth_minus_one():
    reward = verdict_reward(load_prompt("grm"))
    assert reward([{"label": "first"}], ["\\boxed{5, 5}"], ["stop"]) == [Outcome(-1.0, State.READ)]
    assert reward([{"label": "first"}], ["\\boxed{6, 5}"], ["stop"]) == [Outcome(1.0, State.READ)]


def test_a_row_without_a_label_is_an_error_not_a_reward():
    with pytest.raises(ValueError, match="label 'first' or 'second'"):
        verdict_reward(load_prompt("rrm"))([{}], ["\\boxed{Assistant 1}"], ["stop"])
    with pytest.raises(ValueError, match="truth"):
        scores_reward(load_prompt("grm"))([{"truth": [1, 1]}], ["\\boxed{5, 5}"], ["stop"])


def test_a_reward_says_which_it_is():
    rrm, grm = load_prompt("rrm"), load_prompt("grm")
    inner = verdict_reward(rrm)
    made = [inner, verdict_reward(rrm, opens_think=not rrm.opens_think), verdict_reward(grm), scores_reward(grm)]
    made += [random_reward(0), random_reward(1), random_reward(0, inner)]
    assert len({reward.id for reward in made}) == len(made)
    assert verdict_reward(load_prompt("rrm")).id == inner.id


@pytest.mark.parametrize(
    ("truth", "scores", "value"),
    [
        ([0, 1], "3, 8", 1.0),
        ([0, 1], "8, 8", -1.0),
        ([0, 2, 1], "3, 8, 3", 1.0),
        ([0, 2, 1], "3, 8, 8", -1.0),
        ([1, 0, 1], "6, 5, 9", 1.0),  # several best: each above every other
        ([1, 0, 1], "5, 5, 9", -1.0),
        ([0, 1], "3, 8, 1", -1.0),
        ([0, 1], "none", -1.0),
    ],
)
def test_the_best_must_score_strictly_highest(truth, scores, value):
    (outcome,) = scores_reward(load_prompt("grm"))([{"truth": truth}], [f"\\boxed{{{scores}}}"], ["stop"])
    assert outcome.reward == value


def test_a_single_score_must_equal_the_truth():
    reward = scores_reward(load_prompt("grm_single"))
    rows, texts = [{"truth": [1]}, {"truth": [1]}, {"truth": [0]}], ["\\boxed{1}", "\\boxed{0}", "\\boxed{0}"]
    assert [o.reward for o in reward(rows, texts, ["stop"] * 3)] == [1.0, -1.0, 1.0]


def test_the_random_control_has_zero_mean_and_does_not_look_at_the_text():
    rows = [{"prompt": f"p{i // 8}", "label": "first"} for i in range(8000)]
    right, wrong = ([f"\\boxed{{Assistant {k}}}"] * 8000 for k in (1, 2))
    reward = random_reward(0, verdict_reward(load_prompt("rrm")))
    a, b = reward(rows, right, ["stop"] * 8000), reward(rows, wrong, ["stop"] * 8000)
    assert [o.reward for o in a] == [o.reward for o in b]
    assert {o.reward for o in a} == {1.0, -1.0}
    assert abs(sum(o.reward for o in a)) < 3 * 8000**0.5  # three standard errors
    assert [o.reward for o in random_reward(1)(rows, right, ["stop"] * 8000)] != [o.reward for o in a]
    assert reward(rows[:1], ["</think> no box"], ["stop"])[0].state is State.UNPARSED
