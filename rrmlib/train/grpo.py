"""Reinforcement learning on verdicts (recipe grpo): TRL's GRPOTrainer with our prompts, rewards, groups and sampler.

TRL computes advantages, loss, clipping, KL and the update. Ours are: which rows form a group (also both orders of a
comparison), seeds of rollouts as a function of (seed, step, row, sample), our sampler for tiny models, micro-batches
of like length, and the shared prompt of a group run once on a CPU.

Left out: what a text is worth (`rewards.py`).

    trainer = build(recipe, model, chat, rows, work, seed, reward, log)
    trainer.train()
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from rrmlib.engines.base import digest
from rrmlib.engines.local import Chat
from rrmlib.engines.qwen2 import Sampler
from rrmlib.judgment import State
from rrmlib.rewards import Outcome, Reward
from rrmlib.train.data import DataError, Log, Row, fitting, need, permutations
from rrmlib.train.logprob import grouped
from rrmlib.train.recipe import Grpo
from rrmlib.train.trainer import FitError, Logged, arguments

_PATIENCE = 2  # steps of a run in which something must have been readable


class Trainer(Logged, GRPOTrainer):
    """`rows`, `ids` (prompt tokens of each row), `recipe`, `chat` and `order` are set by `build`."""

    rows: Sequence[Row]
    ids: list[list[int]]
    recipe: Grpo
    chat: Chat
    sampler: Sampler | None = None
    _read = 0
    _drawn: Any = ()
    _learns: Any = None  # rows of the batch at hand whose advantage is not 0; None: all
    _buffered_inputs: Any

    def _tokenize_prompts(self, prompts: list) -> Any:
        """Prompts are rendered: no special tokens are added (TRL would)."""
        return [self.ids[row] for row in self._drawn], None, {}

    def _generate_and_score_completions(self, inputs: list) -> dict[str, Any]:
        self._drawn = [x["row"] for x in inputs]
        return super()._generate_and_score_completions(inputs)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """TRL shuffles a rollout batch and splits it as padded; we split it by length and cut the padding."""
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        parts = self.args.steps_per_generation
        if self._step % parts == 0 or self._buffered_inputs is None:
            drawn = self._generate_and_score_completions(generation_batch)
            self.tokens = int(drawn["prompt_mask"].sum() + drawn["completion_mask"].sum())
            self._buffered_inputs = split(drawn, parts, self._drawn)
        return self._buffered_inputs[self._step % parts]

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        """Where all rewards of a group are equal its advantages are 0, and without KL its gradient: on a CPU its rows
        are run without a graph (`grouped`). Of a judge that has learned these are most (steps.csv: zero_std)."""
        self._learns = inputs["advantages"] != 0 if self.recipe.beta == 0 else None
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._learns = None

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> Any:
        if self.accelerator.device.type != "cpu" or hasattr(model, "peft_config"):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        return *grouped(model, input_ids, attention_mask, logits_to_keep, self.temperature, self._learns), None


def split(batch: dict[str, Any], parts: int, rows: Sequence[int]) -> list[dict[str, Any]]:
    """A rollout batch as `parts` micro-batches of equal size and like length, padding cut.

    Samples of a row stay together and rows are sorted by their longest sample: the loss is a mean over completions,
    so it does not matter which micro-batch a completion is in.
    """
    lengths = batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1)
    longest: dict[int, int] = {}
    for row, n in zip(rows, lengths.tolist()):
        longest[row] = max(longest.get(row, 0), n)
    index = torch.tensor(sorted(range(len(rows)), key=lambda i: (longest[rows[i]], rows[i], i)))
    out = []
    for chunk in index.view(parts, -1):
        part = {k: v[chunk] if isinstance(v, torch.Tensor) and v.dim() else v for k, v in batch.items()}
        before = int(part["prompt_mask"].any(0).int().argmax())
        after = max(1, int(part["completion_mask"].sum(1).max()))
        for key, value in part.items():
            if key in ("prompt_ids", "prompt_mask"):
                part[key] = value[:, before:]
            elif isinstance(value, torch.Tensor) and value.dim() == 2:  # everything else is per completion token
                part[key] = value[:, :after]
        out.append(part)
    return out


def plan(recipe: Grpo, rows: Sequence[Row], seed: int) -> np.ndarray:
    """Row index of every completion of every step, [steps, prompts * samples]; a group lies together.

    With swap groups: `samples` of one order, then `samples` of the other. Raises DataError where a group is no pair.
    """
    units = [[i] for i in range(len(rows))]
    if recipe.swap_groups:
        pairs: dict[Any, list[int]] = {}
        for i, row in enumerate(rows):
            if "group" not in row:
                raise DataError(f"grpo: row {i} has no 'group': swap_groups needs both orders of a comparison")
            pairs.setdefault(row["group"], []).append(i)
        units = list(pairs.values())
        for group, members in pairs.items():
            if len(members) != 2:
                raise DataError(f"grpo: group {group!r} has {len(members)} rows: a swap group is two orders")
    per_step = recipe.prompts // len(units[0])
    drawn = permutations(len(units), recipe.steps * per_step, seed)
    flat = np.array([[row for row in units[u] for _ in range(recipe.samples)] for u in drawn])
    return flat.reshape(recipe.steps, recipe.completions)


def seeds(base: int, step: int, rows: Sequence[int]) -> list[int]:
    """The seed of each rollout: a function of (base, step, row, how many of this row came before)."""
    before: Counter[int] = Counter()
    out = []
    for row in rows:
        out.append(int(digest("rollout", base, step, row, before[row])[:16], 16) >> 1)
        before[row] += 1
    return out


def _rollout(prompts: list, trainer: Trainer) -> dict[str, Any]:
    """TRL's `rollout_func`: one completion per prompt, end of turn included."""
    if trainer.sampler is None:
        trainer.sampler = Sampler(trainer.accelerator.unwrap_model(trainer.model))
    trainer.sampler.sync()
    ids = [trainer.ids[row] for row in trainer._drawn]
    samples = trainer.sampler.generate(
        ids,
        seeds(trainer.args.seed, trainer.state.global_step, trainer._drawn),
        max_tokens=trainer.recipe.max_tokens,
        temperature=trainer.recipe.temperature,
        top_p=trainer.recipe.top_p,
        eos_ids=trainer.chat.eos_ids,
    )
    return {"prompt_ids": ids, "completion_ids": [s.ids for s in samples], "logprobs": None}


def _reward_function(trainer: list[Trainer], reward: Reward) -> Any:
    """`reward` as TRL calls it, with our shares in the log and the stop for a base that says nothing readable."""

    def verdict(completion_ids: list, row: list, log_metric: Any, **_: Any) -> list[float]:
        t = trainer[0]
        texts = [t.chat.decode(ids) for ids in completion_ids]
        ended = [bool(ids) and ids[-1] in t.chat.eos_ids for ids in completion_ids]
        outcomes = reward([t.rows[i] for i in row], texts, ["stop" if e else "length" for e in ended])
        if t.recipe.truncated == "wrong":
            outcomes = [o if e else Outcome(-1.0, o.state) for o, e in zip(outcomes, ended)]
        n = len(outcomes)
        log_metric("accuracy", sum(o.reward > 0 for o in outcomes) / n)
        log_metric("unparsed", sum(o.state not in (State.READ, State.TRUNCATED) for o in outcomes) / n)
        log_metric("truncated", sum(o.state is State.TRUNCATED or not e for o, e in zip(outcomes, ended)) / n)
        t._read += sum(o.state is State.READ for o in outcomes)
        step = t.state.global_step + 1
        if step == _PATIENCE and not t._read:
            shown = "; ".join(repr(text[:80]) for text in texts[:3])
            raise FitError(
                f"step {step}: 0 of {n * _PATIENCE} completions (0 %) hold a readable verdict, so there is nothing to "
                f"reinforce: train the parent on this format first. Examples: {shown}"
            )
        return [o.reward for o in outcomes]

    return verdict


def build(
    recipe: Grpo,
    model: Any,
    chat: Chat,
    rows: Sequence[Row],
    work: Path,
    seed: int,
    reward: Reward,
    log: Log,
    peft: Any = None,
) -> Trainer:
    """A trainer for rows {"prompt", "group", ...what `reward` reads}. Raises DataError, EngineError (sampler)."""
    need(rows, ("prompt",), "grpo")
    ids = chat.encode_all([row["prompt"] for row in rows])
    lengths = [len(i) + recipe.max_tokens for i in ids]
    made_of = f"a prompt and max_tokens {recipe.max_tokens} must fit the context"
    kept = fitting(list(zip(rows, ids)), lengths, chat.context, recipe.too_long, log, made_of=made_of)
    rows, ids = [row for row, _ in kept], [i for _, i in kept]
    for i, row in enumerate(rows):  # a row without its truth is found now, not after an hour
        try:
            reward([row], [""], ["stop"])
        except (ValueError, KeyError) as e:
            raise DataError(f"grpo: row {i}: {e}") from None
    micro = min(recipe.micro_batch, recipe.completions)
    parts = recipe.completions // micro
    config = arguments(
        GRPOConfig,
        recipe,
        work,
        seed,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=parts,
        steps_per_generation=parts,
        num_generations=recipe.samples * (2 if recipe.swap_groups else 1),
        num_iterations=1,
        max_completion_length=recipe.max_tokens,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        top_k=0,
        min_p=None,
        repetition_penalty=1.0,
        beta=recipe.beta,
        epsilon=recipe.clip,
        epsilon_high=None,
        delta=None,
        loss_type=recipe.loss,
        scale_rewards=recipe.scale,
        importance_sampling_level="token",
        multi_objective_aggregation="sum_then_normalize",
        mask_truncated_completions=recipe.truncated == "mask",
        top_entropy_quantile=1.0,
        entropy_coef=0.0,
        use_adaptive_entropy=False,
        off_policy_mask_threshold=None,
        use_bias_correction_kl=False,  # the KL term as in 2402.03300, eq. 4; TRL's default weighs it by the ratio
        sync_ref_model=False,
        disable_dropout=True,
        shuffle_dataset=False,
        use_vllm=recipe.rollouts == "vllm",
        vllm_mode="colocate",
        vllm_importance_sampling_correction=True,  # vLLM's probabilities differ from the model's
        vllm_importance_sampling_mode="sequence_mask",
        vllm_importance_sampling_clip_max=3.0,
        vllm_importance_sampling_clip_min=None,
        use_transformers_continuous_batching=False,
        log_completions=False,
    )
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # we know that rollout_func is experimental
    holder: list[Trainer] = []
    trainer = Trainer(
        model=model,
        reward_funcs=_reward_function(holder, reward),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"], "row": i} for i, row in enumerate(rows)]),
        processing_class=chat.tokenizer,
        rollout_func=_rollout if recipe.rollouts == "fast" else None,
        peft_config=peft,
    )
    holder.append(trainer)
    trainer.rows, trainer.ids, trainer.recipe, trainer.chat = rows, ids, recipe, chat
    trainer.order = np.repeat(plan(recipe, rows, seed), parts, axis=0).flatten()
    return trainer
