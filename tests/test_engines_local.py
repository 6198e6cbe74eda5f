"""The local engines: our sampler and transformers on a tiny random Qwen2 model, and the shared draw."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM, GenerationConfig

from rrmlib.comparison import Message, ask
from rrmlib.engines.base import Completion, EngineError, Request, Sampling
from rrmlib.engines.draw import draw, draw_keys
from rrmlib.engines.hf import HfEngine
from rrmlib.engines.local import folder_id
from rrmlib.engines.qwen2 import Qwen2Engine, Sampler
from rrmlib.tiny import build, tokenizer


@pytest.fixture(scope="module")
def engine(tiny_model_dir: Path) -> Qwen2Engine:
    return Qwen2Engine(tiny_model_dir)


@pytest.fixture(scope="module")
def reference(tiny_model_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()


def request(text: str, seed: int = 0, *, prefill: str = "", max_tokens: int = 24, **sampling: Any) -> Request:
    return Request(ask(text), Sampling(max_tokens, **sampling), seed=seed, prefill=prefill)


def many(temperature: float, top_p: float = 1.0, votes: int = 4) -> list[Request]:
    """Prompts from 10 to 70 tokens, several samples of each, with stop texts and different caps."""
    return [
        request(
            f"question {i}" + " is the first answer better" * i,
            seed=1000 * i + k,
            max_tokens=20 + 7 * k,
            temperature=temperature,
            top_p=top_p,
            stop=("e",) if k == 1 else (),
        )
        for i in range(8)
        for k in range(votes)
    ]


def run(engine: Any, requests: Sequence[Request], order: Sequence[int] | None = None) -> list[Completion]:
    """Completions in the order of `requests`, asked for in another `order`."""
    order = list(range(len(requests))) if order is None else list(order)
    done: dict[int, Completion] = {}
    for batch in engine.generate([requests[i] for i in order]):
        for at, completion in batch:
            assert order[at] not in done
            done[order[at]] = completion
    return [done[i] for i in range(len(requests))]


def logprobs_of(model: Any, prompt: list[int], ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(ids)[:, None]).squeeze(1)


PROMPTS = [[(7 * i + j) % 400 + 1 for j in range(n)] for i, n in enumerate((1, 3, 17, 31, 32, 33, 64, 90))]


@pytest.mark.parametrize(
    ("tied", "kv", "theta"), [(t, k, 1e4) for t in (True, False) for k in (1, 2, 4)] + [(True, 4, 1e2)]
)
def test_greedy_and_log_probabilities_equal_transformers(tmp_path: Path, tied: bool, kv: int, theta: float) -> None:
    rope = {"rope_type": "default", "rope_theta": theta}
    build(tmp_path, seed=kv, tie_word_embeddings=tied, num_key_value_heads=kv, rope_parameters=rope)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    samples = Sampler(model).generate(PROMPTS, [0] * len(PROMPTS), max_tokens=20, temperature=0.0)
    settings = GenerationConfig(max_new_tokens=20, do_sample=False, pad_token_id=0)
    model.generation_config = settings
    for prompt, sample in zip(PROMPTS, samples):
        expected = model.generate(torch.tensor([prompt]), generation_config=settings)[0, len(prompt) :]
        assert sample.ids == expected.tolist()
        assert (logprobs_of(model, prompt, sample.ids) - torch.tensor(sample.logprobs)).abs().max() < 1e-5


def test_sampled_log_probabilities_are_at_temperature_one(engine: Qwen2Engine, reference: Any) -> None:
    assert engine.sampler is not None
    samples = engine.sampler.generate(PROMPTS, range(len(PROMPTS)), max_tokens=30, temperature=0.6, top_p=0.9)
    for prompt, sample in zip(PROMPTS, samples):
        assert (logprobs_of(reference, prompt, sample.ids) - torch.tensor(sample.logprobs)).abs().max() < 1e-5


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 1.0), (0.7, 0.9)])
def test_batch_size_and_row_order_change_nothing(tiny_model_dir: Path, temperature: float, top_p: float) -> None:
    requests = many(temperature, top_p)
    expected = run(Qwen2Engine(tiny_model_dir, batch_size=64), requests)
    assert len({c.text for c in expected}) > len(requests) // (5 if temperature == 0 else 2)  # not trivially equal
    for batch_size in (1, 3, 64):
        order = random.Random(batch_size).sample(range(len(requests)), len(requests))
        got = run(Qwen2Engine(tiny_model_dir, batch_size=batch_size), requests, order)
        assert [(c.text, c.finish, c.tokens) for c in got] == [(c.text, c.finish, c.tokens) for c in expected]
        assert [c.logprob for c in got] == pytest.approx([c.logprob for c in expected], abs=1e-4)


def rows_alike() -> bool:
    """Whether this machine's matrix product gives a row the same bits alone as among others (MKL: on Intel's)."""
    x, w = (torch.randn(n, 64, generator=torch.Generator().manual_seed(n)) for n in (40, 96))
    return all(
        torch.equal(torch.nn.functional.linear(x, w)[i : i + 1], torch.nn.functional.linear(x[i : i + 1], w))
        for i in range(40)
    )


def test_rows_do_not_depend_on_their_neighbours_on_one_thread(engine: Qwen2Engine) -> None:
    """The same tokens; log-probabilities to the last bit where the machine's matrix product is, else to rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert engine.sampler is not None
        rows = [(p, 10 * i + k) for i, p in enumerate(PROMPTS) for k in range(4)]
        settings: Any = {"max_tokens": 40, "temperature": 0.8, "top_p": 0.95, "eos_ids": frozenset(range(30))}
        expected = engine.sampler.generate([p for p, _ in rows], [s for _, s in rows], **settings)
        assert len({len(s.ids) for s in expected}) > 5  # rows leave the batch at different times
        for (prompt, seed), sample in zip(rows, expected):
            (alone,) = engine.sampler.generate([prompt], [seed], **settings)
            assert alone.ids == sample.ids
            assert alone.logprobs == pytest.approx(sample.logprobs, abs=0 if rows_alike() else 1e-5)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (1.0, 0.9)])
def test_hf_gives_the_same_texts_in_every_batch(tiny_model_dir: Path, temperature: float, top_p: float) -> None:
    requests = many(temperature, top_p, votes=2)
    expected = run(Qwen2Engine(tiny_model_dir), requests)
    for batch_size in (1, 3, 16):
        order = random.Random(batch_size).sample(range(len(requests)), len(requests))
        got = run(HfEngine(tiny_model_dir, device="cpu", batch_size=batch_size), requests, order)
        assert [(c.text, c.finish, c.tokens) for c in got] == [(c.text, c.finish, c.tokens) for c in expected]
        assert [c.logprob for c in got] == pytest.approx([c.logprob for c in expected], abs=1e-4)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_a_prompt_is_prefilled_once(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int) -> None:
    engine = Qwen2Engine(tiny_model_dir, batch_size=batch_size)
    assert engine.sampler is not None
    rows: list[int] = []
    prefill = engine.sampler._prefill
    monkeypatch.setattr(engine.sampler, "_prefill", lambda ids, at: rows.append(len(ids)) or prefill(ids, at))
    run(engine, many(1.0, votes=8))  # 8 prompts x 8 samples
    assert sum(rows) == 8


def test_sync_follows_the_weights(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(build(tmp_path)).eval()
    sampler, prompt = Sampler(model), PROMPTS[5]
    before = sampler.generate([prompt], [0], max_tokens=8, temperature=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)
    assert sampler.generate([prompt], [0], max_tokens=8, temperature=0.0) == before
    sampler.sync()
    after = sampler.generate([prompt], [0], max_tokens=8, temperature=0.0)[0]
    assert (logprobs_of(model, prompt, after.ids) - torch.tensor(after.logprobs)).abs().max() < 1e-4


def test_first_tokens_follow_the_softmax() -> None:
    logits = torch.linspace(-2, 3, 40)[torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    n, temperature = 40_000, 0.7
    keys = draw_keys(range(n), 1)[:, 0]
    token, logprob = draw(logits.expand(n, -1), keys, torch.full((n, 1), temperature), torch.ones(n, 1))
    counts = np.bincount(token.numpy(), minlength=40)
    expected = torch.softmax(logits.double() / temperature, -1).numpy() * n
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 0.001
    torch.testing.assert_close(logprob, torch.log_softmax(logits, -1)[token])


def test_draws_of_neighbouring_seeds_steps_and_tokens_are_independent() -> None:
    flat = torch.zeros(200 * 200, 16)
    keys = draw_keys(range(200), 200).reshape(-1, 2)
    token = draw(flat, keys, torch.ones(len(flat), 1), torch.ones(len(flat), 1))[0].reshape(200, 200)
    for a, b in ((token[1:], token[:-1]), (token[:, 1:], token[:, :-1]), (token[1:, 1:], token[:-1, :-1])):
        table = np.histogram2d(a.flatten().numpy(), b.flatten().numpy(), bins=16)[0]
        assert stats.chi2_contingency(table).pvalue > 0.001
    top = torch.topk(torch.zeros(1, 16) + draw_noise(4000, 16), 2).indices  # winner and second
    table = np.histogram2d(top[:, 0].numpy(), top[:, 1].numpy(), bins=16)[0]
    off = table[~np.eye(16, dtype=bool)]
    assert stats.chisquare(off).pvalue > 0.001


def draw_noise(rows: int, vocab: int) -> torch.Tensor:
    from rrmlib.engines.draw import gumbel

    noise = gumbel(draw_keys([5], rows)[0], vocab)
    assert torch.isfinite(noise).all()
    assert stats.kstest(noise.flatten().numpy(), "gumbel_r").pvalue > 0.001
    return noise


def test_top_p_never_leaves_the_nucleus_and_keeps_its_proportions() -> None:
    p = torch.tensor([0.02, 0.4, 0.08, 0.25, 0.05, 0.2])
    n = 30_000
    one = torch.ones(n, 1)
    token = draw(p.log().expand(n, -1), draw_keys(range(n), 3)[:, 2], one, one * 0.8)[0]
    counts = np.bincount(token.numpy(), minlength=6)
    inside = np.array([1, 3, 5])  # .4 + .25 < .8, so .2 is still in; .08 is not
    assert counts[inside].sum() == n
    expected = p.double().numpy()[inside]
    assert stats.chisquare(counts[inside], expected / expected.sum() * n).pvalue > 0.001
    # ties at the border stay together: a nucleus never depends on the order of the vocabulary
    token = draw(torch.zeros(n, 6), draw_keys(range(n), 1)[:, 0], one, one * 0.1)[0]
    assert len(token.unique()) == 6


def test_settings_belong_to_rows() -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(3)).expand(3, -1)
    keys = draw_keys([1, 1, 1], 1)[:, 0]
    together = draw(logits, keys, torch.tensor([[0.0], [1.0], [1.0]]), torch.tensor([[1.0], [1.0], [0.01]]))[0]
    assert together[0] == together[2] == logits[0].argmax()
    assert together[1] == draw(logits[:1], keys[:1], torch.ones(1, 1), torch.ones(1, 1))[0]


def test_stop_text_ends_the_completion_and_stays_in_it(engine: Qwen2Engine) -> None:
    free = run(engine, [request("which is better", seed=s, max_tokens=40, temperature=1.0) for s in range(20)])
    for seed, completion in enumerate(free):
        stop = completion.text[7:10]  # a text that does come, in whatever tokens
        if "�" in stop or len(stop) < 3:
            continue
        asked = request("which is better", seed=seed, max_tokens=40, temperature=1.0, stop=(stop, "never comes"))
        stopped = run(engine, [asked])[0]
        assert stopped.finish == "stop"
        assert stopped.text == completion.text[: completion.text.find(stop) + len(stop)]
        assert 0 < stopped.tokens <= completion.tokens


def test_end_of_turn_is_no_part_of_the_text_and_atoms_survive(engine: Qwen2Engine) -> None:
    tok = tokenizer()
    think, end, pad = tok.convert_tokens_to_ids(["<think>", "<|im_end|>", "<|endoftext|>"])
    assert engine.chat.eos_ids == {end}
    ids = [think, *tok("a b")["input_ids"], pad, end]
    done = engine.chat.completion(request("q", max_tokens=9), [1, 2], ids, -3.5, 0.0)
    assert (done.text, done.finish, done.tokens, done.prompt_tokens) == ("<think>a b", "stop", len(ids), 2)
    cut = engine.chat.completion(request("q", max_tokens=9), [1, 2], ids[:-1], -3.5, 0.0)
    assert (cut.text, cut.finish) == ("<think>a b", "length")


def test_every_end_of_turn_id_ends_a_row(tmp_path: Path) -> None:
    """A generation_config may name several ids; one that the model does draw has to end its row."""
    folder = build(tmp_path / "m")
    asked = request("which is better", seed=3, temperature=1.0, max_tokens=30)
    engine = Qwen2Engine(folder)
    assert engine.sampler is not None
    prompt = engine.chat.encode(engine.chat.render(asked))
    drawn = engine.sampler.generate([prompt], [3], max_tokens=30)[0].ids[4]
    config = json.loads((folder / "generation_config.json").read_text())
    config["eos_token_id"] = [config["eos_token_id"], drawn]
    (folder / "generation_config.json").write_text(json.dumps(config))
    for fresh in (Qwen2Engine(folder), HfEngine(folder, device="cpu")):
        got = run(fresh, [asked])[0]
        assert (got.finish, got.tokens <= 5) == ("stop", True)


def test_prefill_continues_the_prompt_verbatim(engine: Qwen2Engine) -> None:
    asked = request("is it better", seed=4, prefill="<think>\nthe first", temperature=0.8)
    text = engine.chat.render(asked)
    assert text == engine.chat.render(replace(asked, prefill="")) + "<think>\nthe first"
    assert engine.sampler is not None
    ids = engine.chat.encode(text)
    sample = engine.sampler.generate([ids], [4], max_tokens=24, temperature=0.8, eos_ids=engine.chat.eos_ids)[0]
    got = run(engine, [asked])[0]
    assert got.text == engine.chat.decode(sample.ids)
    assert got.prompt_tokens == len(ids)
    assert got.logprob == pytest.approx(sum(sample.logprobs))


def test_many_texts_are_encoded_as_each_alone(engine: Qwen2Engine) -> None:
    odd = [
        "",
        " ",
        "a\n",
        "\n\n b",
        "<|im_start|>user\n<|im_end|>",
        "<think>\n</think>",
        "e\u0301 \u00e9 \U0001f600",
        "\0",
    ]
    texts = [f"{text}{i}{text}" for i in range(99) for text in odd] + odd
    assert len(texts) > 2 * 256
    assert engine.chat.encode_all(texts) == [engine.chat.encode(text) for text in texts]
    assert engine.chat.encode_all([]) == []
    with pytest.raises(EngineError, match="the tokenizer refuses a text"):
        engine.chat.encode_all(["fine", "\ud800"])


def test_template_arguments_reach_the_template(engine: Qwen2Engine) -> None:
    asked = request("q")
    closed = engine.chat.render(replace(asked, template_args=(("thinking", "false"),)))
    assert closed == engine.chat.render(asked) + "<think>\n\n</think>\n\n"


@pytest.mark.parametrize("kind", [Qwen2Engine, HfEngine])
def test_what_cannot_be_asked_is_said_and_the_rest_goes_on(tiny_model_dir: Path, kind: Any) -> None:
    engine = kind(tiny_model_dir)
    requests = [
        request("too long " * 1000),
        request("fits", max_tokens=1024),
        Request((), Sampling(4), query=ask("q"), responses=("a", "b")),
        request("\ud800"),
        request("good", max_tokens=4),
    ]
    got = run(engine, requests)
    assert [c.finish for c in got[:4]] == ["too_long", "too_long", "error", "error"]
    assert got[4].finish in ("stop", "length")
    assert got[0].prompt_tokens > 1000
    assert got[0].error.endswith("> context 1024: the prompt alone is too long")
    assert got[1].error == f"prompt {got[1].prompt_tokens} + max_tokens 1024 > context 1024: lower max_tokens"
    assert "no messages" in got[2].error
    assert list(engine.generate([])) == []
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(engine.generate(requests))


def test_broken_weights_are_an_error_not_a_text(tiny_model_dir: Path) -> None:
    engine = Qwen2Engine(tiny_model_dir)
    assert engine.sampler is not None
    engine.sampler.head[:] = torch.nan
    got = run(engine, [request("q", temperature=1.0)])[0]
    assert (got.finish, got.text) == ("error", "")
    assert "not finite" in got.error


@pytest.mark.parametrize("kind", [Qwen2Engine, HfEngine])
def test_score_is_the_log_probability_of_the_continuation(tiny_model_dir: Path, reference: Any, kind: Any) -> None:
    engine = kind(tiny_model_dir, batch_size=2)
    requests = [request("which" + " better" * i, prefill="it is") for i in range(5)]
    texts = [" the first", " the second one", "", " Assistant 2", "</think>"]
    scores = engine.score(requests, texts)
    for asked, text, score in zip(requests, texts, scores):
        prompt, ids = engine.chat.encode(engine.chat.render(asked)), engine.chat.encode(text)
        expected = logprobs_of(reference, prompt, ids).tolist() if ids else []
        assert score.token_logprobs == pytest.approx(expected, abs=1e-5)
        assert score.logprob == pytest.approx(sum(expected), abs=1e-4)
    with pytest.raises(EngineError, match=r"request 0: .* the model takes"):
        engine.score([request("q")], [" better" * 2000])


def test_score_agrees_with_what_was_drawn(engine: Qwen2Engine) -> None:
    asked = [request("which", seed=s, temperature=1.0, max_tokens=1) for s in range(10)]
    drawn = [(r, c) for r, c in zip(asked, run(engine, asked)) if "�" not in c.text and c.finish == "length"]
    assert drawn
    for (_, completion), score in zip(drawn, engine.score([r for r, _ in drawn], [c.text for _, c in drawn])):
        if len(score.token_logprobs) == 1:
            assert score.logprob == pytest.approx(completion.logprob, abs=1e-5)


def test_model_id_is_the_content_not_the_path(tiny_model_dir: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny_model_dir, tmp_path / "elsewhere")
    (moved / "README.md").write_text("a card is no part of the model")
    assert folder_id(moved) == folder_id(tiny_model_dir)
    assert folder_id(moved).startswith("sha256:")
    template = moved / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    changed = folder_id(moved)
    assert changed != folder_id(tiny_model_dir)
    assert folder_id(build(tmp_path / "other", seed=1)) not in (changed, folder_id(tiny_model_dir))


def test_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not a model folder"):
        Qwen2Engine(tmp_path)
    with pytest.raises(EngineError, match="cannot load model no/such"):
        Qwen2Engine("no/such")
    window = build(tmp_path / "w", use_sliding_window=True, sliding_window=16, max_window_layers=1)
    with pytest.raises(EngineError, match="sliding window: use engine hf"):
        Qwen2Engine(window)
    from transformers import LlamaConfig, LlamaForCausalLM

    llama = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=512
    )
    LlamaForCausalLM(llama).save_pretrained(tmp_path / "l")
    tokenizer().save_pretrained(tmp_path / "l")
    with pytest.raises(EngineError, match="model_type 'llama': use engine hf"):
        Qwen2Engine(tmp_path / "l")
    with pytest.raises(EngineError, match="batch_size 0"):
        HfEngine(tmp_path / "l", batch_size=0)
    with pytest.raises(EngineError, match="dtype 'int4'"):
        HfEngine(tmp_path / "l", dtype="int4")


def test_a_multi_turn_conversation_and_a_system_prompt_are_rendered(engine: Qwen2Engine) -> None:
    turns = (Message("system", "be fair"), Message("user", "q"), Message("assistant", "a"), Message("user", "r"))
    text = engine.chat.render(Request(turns, Sampling(1)))
    assert text.count("<|im_start|>") == 5
    assert text.endswith("<|im_start|>assistant\n")
