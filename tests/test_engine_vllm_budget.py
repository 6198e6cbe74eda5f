"""vLLM closes the thinking itself: what it is asked and what is taken from it (a fake), and that the real one gives
what two rounds give (`make test-vllm`)."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import required

from rrmlib.comparison import ask
from rrmlib.engines.base import Completion, Request, Sampling
from rrmlib.engines.qwen2 import Qwen2Engine
from rrmlib.engines.vllm import VLLMEngine
from rrmlib.judge import Judge, Run, run
from rrmlib.params import JudgeSpec
from rrmlib.prompt import load_prompt
from rrmlib.store import Store
from rrmlib.tiny import build
from rrmlib.world.pairs import build as build_pairs

CONTEXT = 320
BASE = Path(__file__).parents[1] / "rrmlib" / "world" / "base-s"  # writes <think> by itself
END, ROOM = "\n</think>\n[[", 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Heads of 32: vLLM's CPU attention takes no smaller ones.
    shape = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": CONTEXT}
    return build(tmp_path_factory.mktemp("tiny"), **shape)


# ---- what is asked of vLLM and taken from it, without vLLM ---------------------------------------------------------


class FakeLLM:
    """Writes `says` (token ids), and the end mark it was told where the budget after the start mark is used up."""

    made: list[FakeLLM]
    says: list[int]
    after: list[int]
    encode: Any

    def __init__(self, **settings: Any):
        self.settings, self.asked = settings, []
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=lambda: None))
        self.made.append(self)

    def generate(self, prompts: list[Any], params: list[Any], use_tqdm: bool) -> list[Any]:
        outputs = []
        for prompt, s in zip((p["prompt_token_ids"] for p in prompts), (p.settings for p in params), strict=True):
            self.asked.append(s)
            ids, budget = list(self.says), s.get("thinking_token_budget")
            if budget is not None:
                start, end = self.settings["reasoning_config"]
                left = budget - prompt[::-1].index(*self.encode(start))
                ids = ids[:left] + self.encode(end) + self.after if len(ids) > left else ids
            ids = ids[: s["max_tokens"]]
            finish = "length" if len(ids) == s["max_tokens"] else "stop"
            logprobs = [{i: SimpleNamespace(logprob=-i / 100)} for i in ids]
            out = {"token_ids": ids, "cumulative_logprob": -1.0, "finish_reason": finish, "logprobs": logprobs}
            outputs.append(SimpleNamespace(outputs=[SimpleNamespace(**out)]))
        return outputs


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> VLLMEngine:
    vllm: Any = ModuleType("vllm")
    config: Any = ModuleType("vllm.config")
    vllm.LLM, vllm.SamplingParams = FakeLLM, lambda **settings: SimpleNamespace(settings=settings)
    config.ReasoningConfig = lambda reasoning_start_str, reasoning_end_str: (reasoning_start_str, reasoning_end_str)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.config", config)
    engine = VLLMEngine(folder, dtype="float32")
    FakeLLM.made, FakeLLM.encode = [], staticmethod(engine.chat.encode)
    FakeLLM.says = engine.chat.encode("the first response is better because it is correct")
    FakeLLM.after = [*engine.chat.encode("A"), engine.chat.tokenizer.eos_token_id]
    return engine


def request(**changes: Any) -> Request:
    return replace(Request(ask("which is better"), Sampling(4), prefill="<think>\n"), **changes)


def closed(engine: VLLMEngine, asked: Request, end: str = END) -> list[tuple[Request, Completion]]:
    def then(first: Request, said: Completion) -> Request:
        return replace(
            first, prefill=first.prefill + said.text + end, sampling=replace(first.sampling, max_tokens=ROOM)
        )

    return [pair for batch in engine.generate_closed([asked], END, ROOM, then) for pair in batch]


def test_one_call_gives_both_rounds_and_the_forced_tokens_count_for_nothing(engine: VLLMEngine) -> None:
    (first, said), (second, verdict) = closed(engine, request())
    (llm,) = FakeLLM.made
    (settings,) = llm.asked
    assert llm.settings["reasoning_config"] == ("<|im_start|>", END)
    prompt = engine.chat.encode(engine.chat.render(request()))
    rest = prompt[::-1].index(*engine.chat.encode("<|im_start|>"))  # of the prompt: "assistant", "<think>"
    assert rest > 1
    assert settings["thinking_token_budget"] == 4 + rest
    assert settings["max_tokens"] == 4 + len(engine.chat.encode(END)) + ROOM
    four = FakeLLM.says[:4]
    logprob = pytest.approx(-sum(four) / 100)
    assert (first, said) == (request(), Completion(engine.chat.decode(four), "length", 4, len(prompt), logprob))
    assert second.prefill == f"<think>\n{said.text}{END}"
    shown = len(prompt) + 4 + len(engine.chat.encode(END))
    logprob = pytest.approx(-sum(FakeLLM.after) / 100)
    assert verdict == Completion("A", "stop", 2, shown, logprob)


def test_what_ends_within_the_budget_is_as_ever(engine: VLLMEngine) -> None:
    FakeLLM.says = [*engine.chat.encode("the"), engine.chat.tokenizer.eos_token_id]
    ((_, said),) = closed(engine, request())
    assert (said.text, said.finish, said.tokens) == ("the", "stop", len(FakeLLM.says))


@pytest.mark.parametrize(
    ("says", "end", "sampling"),
    [
        ("the first", "\n</think>\n\\boxed{", {}),  # two rounds would ask for something else
        ("the first\n", "</think>\n[[", {}),  # and here close without a second line break
        ("the first response", END, {"stop": ("[[A",)}),  # what stops it began in the forced text
    ],
)
def test_what_two_rounds_would_ask_otherwise_is_cut_back_to_the_budget(
    engine: VLLMEngine, says: str, end: str, sampling: dict[str, Any]
) -> None:
    said = engine.chat.encode(says)
    FakeLLM.says = said + engine.chat.encode("better because")
    if sampling:
        FakeLLM.after = FakeLLM.after[:1]
    asked = request(sampling=Sampling(len(said), **sampling))
    assert [(c.text, c.finish, c.tokens) for _, c in closed(engine, asked, end)] == [(says, "length", len(said))]


def test_what_the_engine_does_not_close_is_cut_back_to_the_budget(
    engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeLLM.says *= 3
    monkeypatch.setattr(FakeLLM, "encode", staticmethod(lambda text: engine.chat.encode(text) if "im_" in text else []))
    ((_, said),) = closed(engine, request())
    assert (said.text, said.tokens, said.finish) == (engine.chat.decode(FakeLLM.says[:4]), 4, "length")


def test_where_the_closing_does_not_fit_nothing_is_forced(engine: VLLMEngine) -> None:
    prompt = len(engine.chat.encode(engine.chat.render(request())))
    asked = request(sampling=Sampling(CONTEXT - prompt - 2))
    ((_, said),) = closed(engine, asked)
    assert said.finish == "stop"
    (settings,) = FakeLLM.made[0].asked
    assert "thinking_token_budget" not in settings
    assert "reasoning_config" not in FakeLLM.made[0].settings
    ((_, said),) = closed(engine, request(sampling=Sampling(CONTEXT)))
    assert said.finish == "too_long"


def test_sampled_requests_are_refused(engine: VLLMEngine) -> None:
    with pytest.raises(ValueError, match="1 of 1 requests are sampled"):
        closed(engine, request(sampling=Sampling(4, temperature=1.0)))
    assert not FakeLLM.made


def test_one_engine_serves_one_closing_and_starts_again_for_another(engine: VLLMEngine) -> None:
    list(engine.generate([request()]))
    closed(engine, request())
    closed(engine, request())
    list(engine.generate([request()]))
    assert ["reasoning_config" in llm.settings for llm in FakeLLM.made] == [False, True]


# ---- the real thing ------------------------------------------------------------------------------------------------


class Counted:
    """An engine and how many requests it was put in each call; without `generate_closed` unless it is `Closing`."""

    def __init__(self, engine: Any):
        self.engine, self.calls = engine, list[int]()
        self.name, self.model_id, self.dtype = engine.name, engine.model_id, engine.dtype

    def generate(self, requests: Any) -> Any:
        self.calls.append(len(requests))
        return self.engine.generate(requests)

    def score(self, requests: Any, continuations: Any) -> Any:
        return self.engine.score(requests, continuations)

    def opens_think(self, request: Request) -> bool | None:
        return self.engine.opens_think(request)

    def close(self) -> None: ...


class Closing(Counted):
    def generate_closed(self, requests: Any, *how: Any) -> Any:
        self.calls.append(len(requests))
        return self.engine.generate_closed(requests, *how)


ITEMS = build_pairs("rl", dict.fromkeys(("chain-answer", "program-worked", "chat", "chat-hard"), 4), seed=0)


@pytest.fixture(scope="module", params=["base-s", "tiny"])
def real(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[VLLMEngine, Qwen2Engine, bool]]:
    if importlib.util.find_spec("vllm") is None:
        message = "vLLM is not installed here; run make test-vllm"
        (pytest.fail if required("vllm") else pytest.skip)(message)
    address = BASE if request.param == "base-s" else folder
    engine = VLLMEngine(address, dtype="float32", options={"max_num_seqs": 16})
    yield engine, Qwen2Engine(address), request.param == "base-s"
    engine.close()


def judged(engine: Counted, budget: int, prefill: str) -> Run:
    spec = {"name": "t", "engine": "vllm", "model": f"path:{BASE}", "format": "rrm_compact", "prefill": prefill}
    spec |= {"max_tokens": 100, "think_budget": budget, "answer_tokens": 6}
    with Store(":memory:") as store:
        return run(Judge(JudgeSpec.parse(spec), load_prompt("rrm_compact"), engine), ITEMS, store, quiet=True)


@pytest.mark.vllm
@pytest.mark.parametrize("prefill", ["", "<think>\n", "<think>\nread\n1"])
def test_one_call_gives_what_two_rounds_give(real: tuple[VLLMEngine, Qwen2Engine, bool], prefill: str) -> None:
    ours, theirs, writes_think = real
    forced = spared = 0
    for budget in (1, 2, 3, 5, 8, 12, 40):
        one, two, other = Closing(ours), Counted(ours), Counted(theirs)
        once, twice, elsewhere = (judged(engine, budget, prefill) for engine in (one, two, other))
        assert once.judgments == twice.judgments  # keys included: what one stored the other finds
        assert (once.generated, once.tokens) == (twice.generated, twice.tokens)
        plain = [[(j.text, j.finish, j.tokens, j.reading) for j in r.judgments] for r in (once, elsewhere)]
        assert plain[0] == plain[1]
        forced += sum(j.forced for j in once.judgments)
        spared += sum(two.calls) - sum(one.calls)
    assert forced >= 24
    # Closed by vLLM: thinking that is open, in mid-line. The tiny model opens none, and writes many half characters.
    if writes_think:
        assert spared > 0.2 * forced
    elif not prefill:
        assert spared == 0
