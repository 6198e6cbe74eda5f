"""Thinking budgets: what closes a judgment, and the two rounds of a judge that has one."""

from __future__ import annotations

import pytest

from rrmlib.budget import LEADS, closing, lead
from rrmlib.comparison import Comparison, ask
from rrmlib.engines.base import Completion, EngineError
from rrmlib.judge import Judge, open_judge, run
from rrmlib.judgment import State
from rrmlib.params import JudgeSpec, ParameterError
from rrmlib.parse import PARSERS, parse
from rrmlib.prompt import load_prompt
from rrmlib.store import Store

ITEMS = [Comparison(id=f"q{i}", query=ask(f"What is {i}?"), first=f"{i}", second="no", label="first") for i in range(6)]
VERDICTS = {"rrm": " 1}", "rm_r1": "A]]</answer>", "grm": "7, 2}", "grm_single": "1}", "rewardbench2_ratings": "7]]"}
VERDICTS |= {"judgebench_arena": "A>B]]"}


@pytest.mark.parametrize("parser", sorted(LEADS))
@pytest.mark.parametrize(
    "said",
    ["", "hm", "hm\n", "<think>\nhm", "<think>", "<think>\nhm</think>", "<think>hm\n</think>\n", "so I say"],
)
@pytest.mark.parametrize("opens", [False, True])
def test_after_the_closing_the_next_token_is_the_verdict(parser, said, opens):
    text = said + closing(parser, said, opens_think=opens)
    reading = parse(parser, text + VERDICTS.get(parser, "A]]"), "budget", opens_think=opens, n=2)
    assert reading.state is State.READ, (text, reading)
    assert text.count("</think>") <= 1


def test_every_parser_of_texts_has_a_verdict_to_ask_for():
    named = {name.partition(".")[0].removesuffix("_official") for name in PARSERS}
    assert named - set(LEADS) == {"scores"}
    with pytest.raises(ValueError, match="needs a verdict to ask for"):
        lead("scores")
    assert lead("rrm_official.v1") == lead("rrm")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("<type>Chat", "</type><answer>[["),
        ("<type>Chat</type><rubric>has animal", "</rubric><answer>[["),
        ("<type>Reasoning</type><solution>4</solution><eval>A says <answer>[[A]]</answer>", "</eval><answer>[["),
        ("<type>Chat</type><rubric>r</rubric><eval>e</eval>", "<answer>[["),
        ("<type>Chat</type><rubric>r</rubric><eval>e</eval><answer>[[", ""),
        ("<think>\nfirst <solution> this", "\n</think>\n<answer>[["),
    ],
)
def test_open_sections_of_a_rubric_judge_are_closed(said, wanted):
    assert closing("rm_r1", said, opens_think=False) == wanted


class Thinker:
    """Thinks in `thinks` words that count up, closes, and answers 1; every word is a token. It continues a prefill."""

    name, model_id, dtype = "thinker", "thinker", "none"

    def __init__(self, thinks: int = 10, die_after: int = 10**9):
        self.thinks, self.die_after, self.calls = thinks, die_after, []

    def generate(self, requests):
        for index, request in enumerate(requests):
            if len(self.calls) >= self.die_after:
                raise EngineError("the machine is on fire")
            self.calls.append(request)
            done = request.prefill
            if done.endswith("{Assistant"):
                words = [" 1}", "<end>"]
            elif done.endswith("{"):
                words = ["Assistant 1}", "<end>"]
            else:
                words = [f"w{i} " for i in range(done.count("w"), self.thinks)]
                words += [] if "</think>" in done else ["\n</think>\n"]
                words += ["\\boxed{", "Assistant 1}", "<end>"]
            words, finish = words[: request.sampling.max_tokens], "length"
            if words[-1] == "<end>":
                words, finish = words[:-1], "stop"
            yield [(index, Completion("".join(words), finish, tokens=len(words)))]

    def opens_think(self, request):
        return True

    def close(self): ...


def judge(model=None, **fields):
    spec = JudgeSpec.parse({"name": "t", "engine": "hf", "model": "path:x", "format": "rrm", "max_tokens": 50} | fields)
    return Judge(spec, load_prompt("rrm"), model or Thinker())


def judged(one, store=None):
    with store or Store(":memory:") as store:
        return run(one, ITEMS, store, quiet=True)


def test_a_budget_that_is_not_used_up_changes_nothing():
    assert [j.text for j in judged(judge(think_budget=40)).judgments] == [j.text for j in judged(judge()).judgments]
    assert not any(j.forced for j in judged(judge(think_budget=40)).judgments)


def test_what_uses_it_up_is_closed_and_asked_for_its_verdict():
    one = judge(think_budget=4, answer_tokens=3)
    done = judged(one)
    assert {j.text for j in done.judgments} == {"w0 w1 w2 w3 \n</think>\n\\boxed{Assistant 1}"}
    assert {(j.finish, j.state, j.tokens, j.forced) for j in done.judgments} == {("budget", State.READ, 5, True)}
    assert {r.sampling.max_tokens for r in one.engine.calls} == {4, 3}
    assert "12 (100%) forced at the thinking budget" in done.summary()
    assert done.generated == 24


def test_a_verdict_that_has_begun_only_goes_on():
    done = judged(judge(Thinker(2), think_budget=4))  # w0 w1 </think> \boxed{
    assert {j.text for j in done.judgments} == {"w0 w1 \n</think>\n\\boxed{Assistant 1}"}
    assert all(j.forced for j in done.judgments)


def test_a_judge_may_be_asked_in_other_words():
    class Concludes(Thinker):
        def generate(self, requests):
            if not requests[0].prefill.endswith("\nso best"):
                yield from super().generate(requests)
                return
            for index, request in enumerate(requests):
                self.calls.append(request)
                yield [(index, Completion(" 2</think>\\boxed{Assistant 2}", "stop", tokens=3))]

    done = judged(judge(Concludes(), think_budget=4, conclude="\nso best"))
    assert {j.text for j in done.judgments} == {"w0 w1 w2 w3 \nso best 2</think>\\boxed{Assistant 2}"}
    assert all(j.forced and j.state is State.READ for j in done.judgments)
    begun = judged(judge(Thinker(2), think_budget=4, conclude="\nso best"))
    assert {j.text for j in begun.judgments} == {"w0 w1 \n</think>\n\\boxed{Assistant 1}"}


def test_no_thinking_at_all_asks_once():
    one = judge(think_budget=0)
    done = judged(one)
    assert len(one.engine.calls) == 12
    assert {(j.text, j.tokens) for j in done.judgments} == {("</think>\n\\boxed{Assistant 1}", 1)}


def test_an_allowance_too_short_for_a_verdict_is_a_cut_judgment():
    class Talker(Thinker):
        def generate(self, requests):
            for index, _ in enumerate(requests):
                yield [(index, Completion("hm", "length", tokens=1))]

    done = judged(judge(Talker(), think_budget=1, answer_tokens=1))
    assert {(j.finish, j.state) for j in done.judgments} == {("budget", State.TRUNCATED)}


def test_both_rounds_are_kept_and_resumed(tmp_path):
    whole = judged(judge(think_budget=4))
    dying = judge(Thinker(die_after=15), think_budget=4)  # in the second round
    with pytest.raises(EngineError):
        judged(dying, Store(tmp_path / "s.sqlite"))
    again = judge(think_budget=4)
    resumed = judged(again, Store(tmp_path / "s.sqlite"))
    assert (resumed.judgments, len(again.engine.calls)) == (whole.judgments, 24 - 15)
    with Store(tmp_path / "s.sqlite") as store:
        assert sorted(store.judgments(), key=lambda j: (j.item, str(j.order))) == list(whole.judgments)


def test_samples_of_the_second_round_have_seeds_of_their_own():
    one = judge(think_budget=4, samples=2, temperature=1.0)
    judged(one)
    first, second = ({r.seed for r in one.engine.calls if bool(r.prefill) is forced} for forced in (False, True))
    assert len(first) == len(second) == 24
    assert not first & second


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"think_budget": -1}, "think_budget: Input should be greater than or equal to 0"),
        ({"answer_tokens": 0}, "answer_tokens: Input should be greater than or equal to 1"),
        ({"engine": "scalar", "think_budget": 4}, "engine 'scalar' does not think"),
    ],
)
def test_bad_budgets(fields, message):
    with pytest.raises(ParameterError, match=message):
        judge(**fields)


def test_a_real_model_thinks_no_further_than_its_budget():
    spec = {"name": "t", "engine": "qwen2", "model": "tiny:test", "format": "rrm_compact", "max_tokens": 24}
    with Store(":memory:") as store:
        full = run(open_judge(JudgeSpec.parse(spec)), ITEMS, store, quiet=True)
        cut = run(open_judge(JudgeSpec.parse(spec | {"think_budget": 6, "answer_tokens": 4})), ITEMS, store, quiet=True)
    for a, b in zip(full.judgments, cut.judgments):
        assert b.tokens <= 10
        assert b.forced
        assert "\\boxed{Assistant" in b.text
        assert a.tokens > b.tokens
