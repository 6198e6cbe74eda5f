"""fit(): the folder that comes out, resume, accumulation, and every way a run can fail."""

from __future__ import annotations

import csv
import errno
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rrmlib import tiny
from rrmlib.comparison import Message
from rrmlib.engines.base import Request, Sampling
from rrmlib.engines.qwen2 import Qwen2Engine
from rrmlib.judgment import State
from rrmlib.prompt import load_prompt
from rrmlib.rewards import Outcome, random_reward, verdict_reward
from rrmlib.train.data import IGNORED, DataError, completions, order
from rrmlib.train.fit import fit
from rrmlib.train.recipe import parse
from rrmlib.train.trainer import FitError

WORDS = tiny.TEXT.split()


def chat(question: str) -> str:
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


ROWS = [{"prompt": chat(WORDS[i % 20]), "completion": " ".join(WORDS[i % 7 : i % 7 + 1 + i % 5])} for i in range(24)]
PROMPTS = [{"prompt": chat(f"{WORDS[i // 2]} {i % 2}"), "group": f"g{i // 2}"} for i in range(12)]


def by_length(rows, texts, finishes):
    return [Outcome(1.0 if len(text) % 2 else -1.0, State.READ) for text in texts]


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return tiny.build(tmp_path_factory.mktemp("models") / "base", "test")


def sft(**more):
    return parse({"recipe": "sft", "steps": 6, "batch": 4, "learning_rate": 1e-3, "max_length": 128, **more})


def pretrain(**more):
    settings = {"recipe": "pretrain", "size": "xs", "batch": 4, "learning_rate": 1e-3, "context": 128}
    return parse({**settings, "max_length": 128, **more})


def grpo(**more):
    settings = {"recipe": "grpo", "steps": 6, "prompts": 4, "samples": 4, "max_tokens": 8, "learning_rate": 1e-3}
    return parse({**settings, "micro_batch": 8, **more})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def steps(folder: Path) -> list[dict[str, str]]:
    with (folder / "steps.csv").open() as file:
        return [{k: v for k, v in line.items() if k != "seconds"} for line in csv.DictReader(file)]


def interrupted(step: int):
    def log(text: str) -> None:
        if f"step {step}/" in text:
            raise KeyboardInterrupt

    return log


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_sft_writes_a_whole_model_folder(base, tmp_path):
    out = fit(sft(), rows=ROWS, valid=ROWS[:5], parent=base, out=tmp_path / "m", seed=0, note="A note.", log=str)
    assert {p.name for p in tmp_path.iterdir()} == {"m"}
    assert all(v.dtype == torch.float32 for v in weights(out).values())
    assert json.loads((out / "recipe.json").read_text())["learning_rate"] == 1e-3
    card = (out / "README.md").read_text()
    assert "A note." in card
    assert "from: base" in card
    assert "24 rows" in card
    lines = steps(out)
    assert [line["step"] for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert float(lines[-1]["loss"]) < float(lines[0]["loss"])
    assert float(lines[-1]["valid_loss"]) > 0
    engine = Qwen2Engine(out)
    request = Request((Message("user", "first"),), Sampling(max_tokens=4), seed=0)
    assert next(c.finish for batch in engine.generate([request]) for _, c in batch) in ("stop", "length")


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(base, tmp_path):
    a, b, c = (
        fit(sft(steps=3), rows=ROWS, parent=base, out=tmp_path / n, seed=s, log=str) for n, s in zip("abc", (0, 0, 1))
    )
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    assert (a / "model.safetensors").read_bytes() != (c / "model.safetensors").read_bytes()


def test_the_callers_random_state_is_left_alone(base, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(sft(steps=1), rows=ROWS, parent=base, out=tmp_path / "m", seed=0, log=str)
    assert torch.rand(1) == expected


def test_pretrain_starts_from_the_seed_with_the_given_tokenizer(base, tmp_path):
    size = {"size": "xs", "context": 64, "rope_theta": 100}
    recipe = parse({"recipe": "pretrain", "steps": 8, "batch": 8, "learning_rate": 1e-2, **size})
    rows = [{"prompt": "", "completion": "first second"}] * 8
    out = fit(recipe, rows=rows, tokenizer=base, out=tmp_path / "m", seed=0, log=str)
    losses = [float(line["loss"]) for line in steps(out)]
    assert losses[0] > 5  # about log(512)
    assert losses[-1] < losses[0] - 1
    config = json.loads((out / "config.json").read_text())
    assert config["hidden_size"] // config["num_attention_heads"] == 32
    assert config["max_position_embeddings"] == 64
    assert config["rope_parameters"]["rope_theta"] == 100
    assert (out / "chat_template.jinja").exists()


def mean_loss(base):
    """-mean log-probability over the completions' tokens of ROWS, by transformers' own forward."""
    chat, model = Qwen2Engine(base).chat, AutoModelForCausalLM.from_pretrained(base)
    total, count = 0.0, 0
    for row in completions(ROWS, chat, 128, "error", str):
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"][1:])
        logps = model(ids).logits[0, :-1].log_softmax(-1)
        wanted = labels != IGNORED
        total -= logps[wanted].gather(1, labels[wanted][:, None]).sum().item()
        count += int(wanted.sum())
    return total / count


def test_our_loss_on_the_cpu_is_the_mean_over_the_completions_tokens(base, tmp_path):
    out = fit(sft(steps=1, batch=24), rows=ROWS, parent=base, out=tmp_path / "m", seed=0, log=str)
    assert float(steps(out)[0]["loss"]) == pytest.approx(mean_loss(base), rel=1e-5)


def test_every_token_weighs_the_same_however_short_its_batch(base, tmp_path):
    """Rows are batched by length: with each step's own mean, short rows would count for more."""
    recipe = sft(steps=12, batch=2, learning_rate=1e-12)
    out = fit(recipe, rows=ROWS, valid=ROWS, parent=base, out=tmp_path / "m", seed=0, log=str)
    logged = [float(line["loss"]) for line in steps(out)]
    assert max(logged) > 1.5 * min(logged)  # the sum over a step's tokens, and steps differ in length
    assert sum(logged) / len(logged) == pytest.approx(mean_loss(base), rel=1e-4)
    plain = [float(line["valid_loss"]) for line in steps(out) if line.get("valid_loss")]
    assert plain[-1] == pytest.approx(mean_loss(base), rel=0.05)  # TRL's mean over batches, as for any other library


def test_accumulating_one_row_eight_times_is_a_batch_of_eight(base, tmp_path):
    # epsilon: Adam turns a gradient that is pure rounding into a step of full size; that is not what is tested
    a, b = (
        fit(
            sft(steps=3, batch=batch, accumulate=8 // batch, epsilon=1e-3),
            rows=ROWS,
            parent=base,
            out=tmp_path / str(batch),
            seed=0,
            log=str,
        )
        for batch in (1, 8)
    )
    before = weights(base)
    moved = max((v - before[k]).abs().max().item() for k, v in weights(b).items())
    apart = max((v - weights(b)[k]).abs().max().item() for k, v in weights(a).items())
    assert moved > 1e-4
    assert apart < 1e-6


def test_a_batch_in_two_threads_is_the_batch_and_the_same_bytes_each_time(base, tmp_path):
    def run(parts, name):
        recipe = pretrain(steps=3, batch=5, parts=parts, epsilon=1e-3, save_every=0)
        return weights(fit(recipe, rows=ROWS, tokenizer=base, out=tmp_path / name, seed=0, log=str))

    one, two, again = run(1, "one"), run(2, "two"), run(2, "again")
    assert all(torch.equal(two[k], again[k]) for k in two)
    assert max((two[k] - one[k]).abs().max().item() for k in one) < 1e-6


@pytest.mark.parametrize("kind", ["scalar", "meta"])
def test_heads_stop_early_and_keep_the_best(base, tmp_path, kind):
    good, bad = ([chat("which") + f"{w} {i}<|im_end|>\n" for i in range(24)] for w in ("correct", "wrong"))
    if kind == "scalar":
        rows = [{"chosen": a, "rejected": b} for a, b in zip(good, bad)]
    else:
        rows = [{"text": t, "label": i % 2} for i, t in enumerate(t for pair in zip(bad, good) for t in pair)]
    recipe = parse({"recipe": kind, "steps": 40, "batch": 4, "learning_rate": 3e-3, "evaluate_every": 4, "patience": 2})
    out = fit(recipe, rows=rows[:16], valid=rows[16:], parent=base, out=tmp_path / "m", seed=0, log=str)
    timing = json.loads((out / "timing.json").read_text())
    found = [(line["step"], float(line[f"valid_{'accuracy' if kind == 'scalar' else 'loss'}"])) for line in steps(out)
             if line["valid_loss"]]  # fmt: skip
    values = dict(found)
    best = (max if kind == "scalar" else min)(values.values())
    assert values[str(timing["best_step"])] == best
    if kind == "scalar":
        assert best == 1.0
        assert timing["steps"] == timing["best_step"] + 8
    assert json.loads((out / "config.json").read_text())["architectures"] == ["Qwen2ForSequenceClassification"]
    assert {p.name for p in tmp_path.iterdir()} == {"m"}


# --- resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sft", "grpo", "pretrain"])
def test_a_killed_run_goes_on_to_the_same_weights(base, tmp_path, kind):
    data = {"rows": ROWS, "parent": base}
    if kind == "sft":
        recipe = sft(save_every=2, schedule="cosine")
    elif kind == "grpo":
        recipe, data = grpo(save_every=2), {"rows": PROMPTS, "parent": base, "reward": by_length}
    else:
        recipe, data = pretrain(steps=6, save_every=2, parts=2, muon=1e-2), {"rows": ROWS, "tokenizer": base}
    whole = fit(recipe, **data, out=tmp_path / "whole", seed=0, log=str)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, **data, out=tmp_path / "cut", seed=0, log=interrupted(5))
    assert not (tmp_path / "cut").exists()
    (tmp_path / "cut.work" / "checkpoint-9").mkdir()  # one that was being written
    said: list[str] = []
    cut = fit(recipe, **data, out=tmp_path / "cut", seed=0, log=said.append)
    assert "cut: going on from checkpoint-4" in said
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert steps(cut) == steps(whole)
    assert not (tmp_path / "cut.work").exists()


def test_checkpoints_of_another_run_are_not_used(base, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(sft(save_every=2), rows=ROWS, parent=base, out=tmp_path / "m", seed=0, log=interrupted(5))
    said: list[str] = []
    fit(sft(save_every=2), rows=ROWS, parent=base, out=tmp_path / "m", seed=1, log=said.append)
    assert any("another run" in text for text in said)
    assert not any("going on" in text for text in said)


def test_a_run_under_another_reward_is_another_run(base, tmp_path):
    given = {"rows": [{**row, "label": "first"} for row in PROMPTS], "parent": base, "out": tmp_path / "m", "seed": 0}
    said: list[str] = []

    def stopped(text: str) -> None:
        said.append(text)
        interrupted(5)(text)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(grpo(save_every=2), **given, reward=random_reward(0), log=stopped)
    assert "m: going on from checkpoint-4" in said
    assert not any("another run" in text for text in said)
    fit(grpo(save_every=2), **given, reward=random_reward(1), log=said.append)
    assert any("another run" in text for text in said)


def test_flops_count_what_was_rolled_out_and_what_was_drawn(base, tmp_path):
    drawn = {base: 5000}
    n = sum(v.numel() for v in weights(base).values())
    out = fit(sft(), rows=ROWS, parent=base, out=tmp_path / "m", seed=0, drawn=drawn, log=str)
    timing = json.loads((out / "timing.json").read_text())
    assert (timing["parameters"], timing["rollout"], timing["drawn"]) == (n, 0, 5000)
    assert timing["flops"] == 6 * n * timing["tokens"] + 2 * n * 5000
    assert "24 rows; 5,000 tokens were drawn to make them" in (out / "README.md").read_text()
    out = fit(grpo(), rows=PROMPTS, parent=base, out=tmp_path / "rl", seed=0, reward=by_length, log=str)
    timing = json.loads((out / "timing.json").read_text())
    assert timing["rollout"] == timing["tokens"] > 0
    assert timing["flops"] == 8 * n * timing["tokens"]
    assert "drawn to make" not in (out / "README.md").read_text()


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(base, tmp_path):
    recipe = sft(learning_rate=1e30, warmup_steps=2, schedule="constant", save_every=1)
    with pytest.raises(FitError, match=r"step \d: (loss|grad_norm) is (nan|inf).*checkpoint-\d") as e:
        fit(recipe, rows=ROWS, parent=base, out=tmp_path / "m", seed=0, log=str)
    assert "\n" not in str(e.value)
    kept = list((tmp_path / "m.work").glob("checkpoint-*"))
    assert len(kept) == 1
    assert all(math.isfinite(v.abs().max()) for v in weights(kept[0]).values())
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing")]
)
def test_a_full_disk_at_a_checkpoint_keeps_the_one_before(base, tmp_path, monkeypatch, failure):
    recipe = sft(save_every=2)
    real, calls = torch.save, []

    def save(value, path, *args, **kwargs):
        if "checkpoint-4" in str(path):
            calls.append(path)
            Path(path).write_bytes(b"half")
            raise failure
        return real(value, path, *args, **kwargs)

    with monkeypatch.context() as m:
        m.setattr(torch, "save", save)
        with pytest.raises(OSError, match=r"checkpoint not written.*kept.*checkpoint-2.*start again") as e:
            fit(recipe, rows=ROWS, parent=base, out=tmp_path / "m", seed=0, log=str)
    assert e.value.errno in (errno.ENOSPC, errno.EIO)
    assert calls
    assert [p.name for p in (tmp_path / "m.work").glob("checkpoint-*")] == ["checkpoint-2"]
    whole = fit(recipe, rows=ROWS, parent=base, out=tmp_path / "whole", seed=0, log=str)
    cut = fit(recipe, rows=ROWS, parent=base, out=tmp_path / "m", seed=0, log=str)
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_full_disk_at_the_end_keeps_the_checkpoints_and_the_old_model(base, tmp_path, monkeypatch):
    recipe, old = sft(save_every=2), tmp_path / "m"
    old.mkdir()
    (old / "old.txt").write_text("old")
    with monkeypatch.context() as m:
        m.setattr(csv.DictWriter, "writerows", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
        with pytest.raises(OSError, match=r"the model was not written \(No space\); the checkpoints are kept"):
            fit(recipe, rows=ROWS, parent=base, out=old, seed=0, log=str)
    assert {p.name for p in tmp_path.iterdir()} == {"m", "m.work"}
    assert [p.name for p in old.iterdir()] == ["old.txt"]
    said: list[str] = []
    fit(recipe, rows=ROWS, parent=base, out=old, seed=0, log=said.append)
    assert "m: going on from checkpoint-6" in said
    assert len(steps(old)) == 6


def test_a_base_without_a_readable_verdict_stops_with_three_examples(base, tmp_path):
    def never(rows, texts, finishes):
        return [Outcome(-1.0, State.UNPARSED) for _ in texts]

    with pytest.raises(FitError, match=r"step 2: 0 of 32 completions \(0 %\).*Examples: .+; .+; .+") as e:
        fit(grpo(truncated="mask"), rows=PROMPTS, parent=base, out=tmp_path / "m", seed=0, reward=never, log=str)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("recipe", "rows", "message"),
    [
        (sft(), [], "the training data set is empty"),
        (sft(), [{"prompt": "a"}], "row 0: 'completion' is missing"),
        (sft(), [*ROWS, {"prompt": "a", "completion": None}], "row 24: 'completion' is NoneType"),
        (sft(max_length=12), ROWS, r"\d+ of 24 rows are longer than 12 tokens \(first: row \d+, longest: row \d+"),
        (grpo(), [], "the training data set is empty"),
        (grpo(max_tokens=1020), PROMPTS, r"12 of 12 rows are longer than 1024 .*a prompt and max_tokens 1020 must fit"),
        (grpo(swap_groups=True), PROMPTS[:3], "group 'g1' has 1 rows"),
        (grpo(swap_groups=True), ROWS, "row 0 has no 'group'"),
        (parse({"recipe": "meta", "steps": 1, "batch": 1, "learning_rate": 1}), [{"text": "a"}], "label None is not"),
        (parse({"recipe": "scalar", "steps": 1, "batch": 1, "learning_rate": 1}), [{"chosen": "a"}], "'rejected' is"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_named(base, tmp_path, recipe, rows, message):
    with pytest.raises(DataError, match=message):
        fit(recipe, rows=rows, parent=base, out=tmp_path / "m", seed=0, reward=by_length, log=str)
    assert not (tmp_path / "m").exists()


def test_a_row_whose_truth_is_missing_is_found_before_training(base, tmp_path):
    rows = [{**row, "label": "first"} for row in PROMPTS]
    del rows[7]["label"]
    reward = verdict_reward(load_prompt("rrm"))
    with pytest.raises(DataError, match="row 7: a row needs label 'first' or 'second'"):
        fit(grpo(), rows=rows, parent=base, out=tmp_path / "m", seed=0, reward=reward, log=str)


def test_rows_that_are_too_long_are_dropped_only_when_asked_and_said(base, tmp_path):
    said: list[str] = []
    fit(
        sft(steps=1, max_length=13, too_long="drop"),
        rows=ROWS,
        parent=base,
        out=tmp_path / "m",
        seed=0,
        log=said.append,
    )
    assert any(text.startswith("dropped: ") for text in said)


# --- recipes and order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"recipe": "dpo"}, "recipe: Input tag 'dpo'"),
        ({"recipe": "sft", "steps": 1, "batch": 1}, "learning_rate: Field required"),
        ({"recipe": "sft", "steps": 1, "batch": 1, "learning_rate": 1, "lr": 1}, "lr: Extra inputs"),
        ({"recipe": "grpo", "steps": 1, "prompts": 3, "samples": 2, "max_tokens": 1, "learning_rate": 1,
          "swap_groups": True}, "prompts 3 must be even"),
        ({"recipe": "grpo", "steps": 1, "prompts": 3, "samples": 2, "max_tokens": 1, "learning_rate": 1,
          "micro_batch": 4}, "micro_batch 4 must divide"),
    ],
)  # fmt: skip
def test_a_bad_recipe_is_one_line_that_names_the_field(data, message):
    with pytest.raises(ValueError, match=message) as e:
        parse(data, "recipe")
    assert "\n" not in str(e.value)


def test_order_sees_every_row_equally_often_in_batches_of_like_length():
    lengths = [(i * 37) % 101 for i in range(400)]
    drawn = order(lengths, 8, 100, seed=0)
    assert sorted(set(drawn.tolist())) == list(range(400))
    assert {drawn.tolist().count(i) for i in range(400)} == {2}
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in drawn.reshape(100, 8)]
    assert sum(spread) / 100 < 10
    assert order(lengths, 8, 100, seed=0).tolist() == drawn.tolist()
    assert order(lengths, 8, 100, seed=1).tolist() != drawn.tolist()


def test_a_completion_ends_its_turn_once(base):
    engine = Qwen2Engine(base)
    eos = engine.chat.tokenizer.eos_token_id
    rows = [{"prompt": chat("q"), "completion": text} for text in ("first", "first<|im_end|>", "first<|im_end|>\n")]
    for row in completions(rows, engine.chat, 99, "error", str):
        assert row["input_ids"][-1] == eos
        kept = [i for i in row["labels"] if i != IGNORED]
        assert kept.count(eos) == 1
        assert engine.chat.decode(kept) == "first"
    rows = [{"prompt": "", "completion": text} for text in ("first\n", "\n", "")]
    found = [row["input_ids"] for row in completions(rows, engine.chat, 99, "error", str)]
    assert found == [[*engine.chat.encode(text), eos] for text in ("first\n", "\n", "")], "space before the end stays"
