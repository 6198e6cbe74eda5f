"""GRPO worked by hand: groups, advantages, loss, swap groups, micro-batches, the shared prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rrmlib import tiny
from rrmlib.engines.local import load
from rrmlib.judgment import State
from rrmlib.rewards import Outcome
from rrmlib.train.grpo import build, plan, seeds, split
from rrmlib.train.logprob import grouped
from rrmlib.train.recipe import parse

ROWS = [
    {"prompt": f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n", "group": q[0]}
    for q in ("a one", "b first two", "a not one", "b second two three")
]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return tiny.build(tmp_path_factory.mktemp("models") / "base", "test")


def recipe(**more):
    settings = {"recipe": "grpo", "steps": 2, "prompts": 2, "samples": 3, "max_tokens": 7, "learning_rate": 1e-2}
    return parse({**settings, "micro_batch": 6, "truncated": "mask", **more})


def trainer_of(r, base, tmp_path, values):
    """A trainer whose i-th completion of a step is worth values[i]."""
    model, chat, _ = load(base)

    def reward(rows, texts, finishes):
        return [Outcome(v, State.READ) for v in values]

    return build(r, model.train(), chat, ROWS, tmp_path, 0, reward, str)


def drawn(trainer, rows):
    """One rollout of the given rows, unsplit, as TRL makes it."""
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer._generate_and_score_completions([{"prompt": ROWS[i]["prompt"], "row": i} for i in rows])


def by_hand(model, batch):
    """Per completion: log-probabilities [|o|] of its tokens, from a plain forward of that one row."""
    out = []
    for p, pm, c, cm in zip(*(batch[k] for k in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"))):
        prompt, completion = p[pm.bool()], c[cm.bool()]
        logits = model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1]
        out.append(logits.log_softmax(-1).gather(1, completion[:, None]).squeeze(1))
    return out


def test_a_group_worked_by_hand(base, tmp_path):
    # Group 1: 1, 1, -1: mean 1/3, std sqrt(4/3) (n - 1). Group 2: all wrong, so nothing to learn from.
    trainer = trainer_of(recipe(truncated="wrong", max_tokens=40), base, tmp_path, [1, 1, -1, -1, -1, -1])
    trainer.chat = type(trainer.chat)(trainer.chat.tokenizer, frozenset(range(0, 512, 9)), 1024)  # some stop early
    batch = drawn(trainer, [0, 0, 0, 1, 1, 1])
    ended = (batch["completion_mask"].sum(1) < 40).tolist()
    assert all(ended)
    std = (4 / 3) ** 0.5
    expected = torch.tensor([2 / 3, 2 / 3, -4 / 3, 0, 0, 0]) / (std + 1e-4)
    torch.testing.assert_close(batch["advantages"], expected)
    # The ratio is 1 at the first update, so the loss is minus the mean advantage: 0 here, but its gradient is not.
    loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(-expected.mean().item(), abs=1e-6)
    loss.backward()
    model = AutoModelForCausalLM.from_pretrained(base)
    per_completion = torch.stack([logps.mean() for logps in by_hand(model, batch)])
    (-(expected * per_completion).mean()).backward()  # 1/G sum_i A_i 1/|o_i| sum_t grad log p
    for (name, ours), theirs in zip(trainer.model.named_parameters(), model.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_without_scaling_the_advantage_is_the_difference_to_the_mean(base, tmp_path):
    trainer = trainer_of(recipe(scale="none"), base, tmp_path, [1, 1, -1, 1, -1, -1])
    batch = drawn(trainer, [0, 0, 0, 1, 1, 1])
    torch.testing.assert_close(batch["advantages"], torch.tensor([2, 2, -4, 4, -2, -2]) / 3)


def test_kl_and_clipping_worked_by_hand(base, tmp_path):
    r = recipe(beta=0.5, clip=0.1)
    trainer = trainer_of(r, base, tmp_path, [1, 1, -1, 1, -1, -1])
    batch = drawn(trainer, [0, 0, 0, 1, 1, 1])
    batch["completion_mask"][:] = 1  # "mask" took the truncated ones out of the loss; here all count
    reference = AutoModelForCausalLM.from_pretrained(base)
    torch.testing.assert_close(trainer.ref_model.state_dict(), reference.state_dict())
    old = by_hand(reference, batch)
    with torch.no_grad():
        for p in trainer.model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 0.05)
        now = by_hand(trainer.model, batch)
    width = batch["completion_ids"].shape[1]
    batch["old_per_token_logps"] = torch.stack([torch.cat([o, o.new_zeros(width - len(o))]) for o in old]).detach()
    batch["ref_per_token_logps"] = batch["old_per_token_logps"]
    total = 0.0
    for a, new, before in zip(batch["advantages"].tolist(), now, old):
        ratio = (new - before).exp()
        surrogate = torch.minimum(ratio * a, ratio.clamp(0.9, 1.1) * a)
        kl = (before - new).exp() - (before - new) - 1  # Schulman's k3 (2402.03300, eq. 4)
        total += -(surrogate - 0.5 * kl).mean().item() / 6
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(total, rel=1e-4)


def test_a_swap_group_worked_by_hand(base, tmp_path):
    r = recipe(swap_groups=True, samples=2, micro_batch=4)
    layout = plan(r, ROWS, seed=0)
    assert layout.shape == (2, 4)
    assert {tuple(step) for step in layout.tolist()} == {(0, 0, 2, 2), (1, 1, 3, 3)}
    # Order AB right twice, order BA once: one group of four, mean 1/2, std sqrt((3 * .25 + 2.25) / 3) = 1.
    trainer = trainer_of(r, base, tmp_path, [1, 1, -1, 1])
    batch = drawn(trainer, [0, 0, 2, 2])
    torch.testing.assert_close(batch["advantages"], torch.tensor([0.5, 0.5, -1.5, 0.5]) / 1.0001)
    # Apart, order AB would teach nothing and order BA twice as much.
    trainer = trainer_of(recipe(samples=2, micro_batch=4), base, tmp_path, [1, 1, -1, 1])
    advantages = drawn(trainer, [0, 0, 2, 2])["advantages"]
    torch.testing.assert_close(advantages, torch.tensor([0, 0, -1, 1]) / (2**0.5 + 1e-4))


def test_a_truncated_completion_is_wrong_or_left_out(base, tmp_path):
    wrong = trainer_of(recipe(truncated="wrong"), base, tmp_path, [1] * 6)
    batch = drawn(wrong, [0, 0, 0, 1, 1, 1])
    assert (batch["completion_mask"].sum(1) == 7).all()  # an untrained model does not stop
    assert batch["advantages"].tolist() == [0] * 6  # all -1 now
    assert wrong._metrics["train"]["truncated"] == [1.0]
    assert wrong._metrics["train"]["reward"] == [-1.0]
    masked = trainer_of(recipe(truncated="mask"), base, tmp_path, [1, -1, 1, 1, 1, 1])
    batch = drawn(masked, [0, 0, 0, 1, 1, 1])
    assert batch["completion_mask"].sum() == 0
    assert masked._metrics["train"]["reward"] == [pytest.approx(4 / 6)]


def test_rollouts_depend_on_seed_step_row_and_sample_only():
    a = seeds(0, 3, [5, 5, 7])
    assert len(set(a)) == 3
    assert seeds(0, 3, [7, 5, 5]) == [a[2], a[0], a[1]]
    assert not set(a) & set(seeds(0, 4, [5, 5, 7]))
    assert not set(a) & set(seeds(1, 3, [5, 5, 7]))


def test_micro_batches_keep_rows_together_and_cut_padding_only():
    lengths = [(3, 2), (3, 5), (9, 1), (9, 2), (4, 1), (4, 1)]
    batch = {
        "prompt_ids": torch.stack([torch.tensor([0] * (9 - p) + [7] * p) for p, _ in lengths]),
        "prompt_mask": torch.stack([torch.tensor([0] * (9 - p) + [1] * p) for p, _ in lengths]),
        "completion_ids": torch.stack([torch.tensor([i] * c + [0] * (5 - c)) for i, (_, c) in enumerate(lengths)]),
        "completion_mask": torch.stack([torch.tensor([1] * c + [0] * (5 - c)) for _, c in lengths]),
        "advantages": torch.arange(6.0),
        "num_items_in_batch": torch.tensor(12),
    }
    parts = split(batch, 3, rows=[0, 0, 1, 1, 2, 2])
    assert [p["advantages"].tolist() for p in parts] == [[4, 5], [0, 1], [2, 3]]
    assert [tuple(p["prompt_ids"].shape) for p in parts] == [(2, 4), (2, 3), (2, 9)]
    assert [tuple(p["completion_ids"].shape) for p in parts] == [(2, 1), (2, 5), (2, 2)]
    assert sum(int(p["completion_mask"].sum()) for p in parts) == 12
    assert all(p["num_items_in_batch"] == 12 for p in parts)


@pytest.mark.parametrize("learning", [None, [0, 1, 2], [1, 3, 4], []])
def test_a_prompt_run_once_for_its_group_gives_the_models_own_numbers_and_gradients(base, learning):
    model = AutoModelForCausalLM.from_pretrained(base)
    g = torch.Generator().manual_seed(0)
    prompts = torch.randint(5, 500, (2, 6), generator=g).repeat_interleave(torch.tensor([3, 2]), 0)
    ids = torch.cat([prompts, torch.randint(5, 500, (5, 4), generator=g)], 1)
    mask = torch.ones_like(ids)
    mask[3:, :2] = 0  # the second prompt is shorter,
    mask[1, -2:] = 0  # and so is a completion
    learning = list(range(5)) if (all_learn := learning is None) else learning
    learns = torch.tensor([i in learning for i in range(5)])
    logps, entropy = grouped(model, ids, mask, 4, 0.7, None if all_learn else learns)
    logps.sum().backward()
    ours = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    total = 0.0
    for i in range(5):
        row = ids[i][mask[i].bool()]
        at = int(mask[i, :6].sum())
        whole = (model(row[None]).logits[0, at - 1 : -1] / 0.7).log_softmax(-1)
        expected = whole.gather(1, row[at:, None]).squeeze(1)
        torch.testing.assert_close(logps[i, : len(expected)], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            entropy[i, : len(expected)], -(whole.exp() * whole).sum(-1).detach(), atol=1e-5, rtol=1e-5
        )
        assert not logps[i, len(expected) :].any()
        total = total + (expected.sum() if i in learning else 0 * expected.sum())
    total.backward()
    for a, p in zip(ours, model.parameters()):
        torch.testing.assert_close(a, p.grad, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("beta", "graphs"), [(0.0, 1), (0.1, 2)])
def test_a_group_without_contrast_is_run_without_a_graph_unless_it_is_held_to_its_parent(
    base, tmp_path, monkeypatch, beta, graphs
):
    from rrmlib.train import logprob

    trainer = trainer_of(recipe(beta=beta), base, tmp_path, [1, 1, -1, -1, -1, -1])
    batch = drawn(trainer, [0, 0, 0, 1, 1, 1])
    ran, run = [], logprob._run
    monkeypatch.setattr(
        logprob, "_run", lambda m, ids, *a: ran.append((len(ids), torch.is_grad_enabled())) or run(m, ids, *a)
    )
    trainer.compute_loss(trainer.model, batch).backward()
    assert sum(n for n, graph in ran if graph) == 3 * graphs
    assert all(p.grad is not None for p in trainer.model.parameters())


def test_both_samplers_of_tokens_train(base, tmp_path):
    from rrmlib.train.fit import fit

    def reward(rows, texts, finishes):
        return [Outcome(1.0 if "first" in row["prompt"] else -1.0, State.READ) for row in rows]

    for rollouts in ("fast", "trl"):
        r = recipe(rollouts=rollouts, micro_batch=3, steps=1)
        out = fit(r, rows=ROWS, parent=base, out=tmp_path / rollouts, seed=0, reward=reward, log=str)
        assert (out / "model.safetensors").exists()
        assert "zero_std" in (out / "steps.csv").read_text()
