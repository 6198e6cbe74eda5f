"""Supervised training on completions (recipes sft and pretrain): TRL's SFTTrainer over rows that we tokenise.

Left out: architectures (`pretrain.py`), the folder that comes out (`fit.py`).

    trainer = build(recipe, model, chat, rows, valid, work, seed, log)
    trainer.train()
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import cross_entropy
from trl import SFTConfig, SFTTrainer

from rrmlib.engines.local import Chat
from rrmlib.train.data import IGNORED, Log, Row, completions, need
from rrmlib.train.recipe import Pretrain, Sft
from rrmlib.train.trainer import Logged, arguments, batches, side_by_side


class Summed(torch.autograd.Function):
    """A loss whose gradients are known already: value [], gradients of the weights, the weights -> value."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:
        return None, None, *(scale * gradient for gradient in ctx.gradients)


class Trainer(Logged, SFTTrainer):
    usual: float = 0.0  # labelled tokens of an average step, set by `build`
    parts: int = 1  # a training batch is run in so many parts (recipe pretrain)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """-sum of log-probabilities of labelled tokens / their number in an average step.

        Divided by the number in this very step (TRL's way), a token would weigh the more the shorter its batch, and
        batches are cut from rows sorted by length: a model would learn short judgments more often than they occur.
        Averaged over an epoch it is the mean over tokens. Validation losses are divided by their own tokens.

        On the CPU TRL scores the prompt's tokens too and takes the logits in chunks, twice: there we compute the same
        number ourselves (the tests compare).
        """
        if model.training and num_items_in_batch is not None:
            num_items_in_batch = torch.full_like(torch.as_tensor(num_items_in_batch), self.usual, dtype=torch.float32)
        if self.accelerator.device.type != "cpu" or return_outputs or hasattr(model, "peft_config"):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.parts == 1 or not model.training or num_items_in_batch is None:
            return self._loss(model, inputs, num_items_in_batch)
        rows = torch.arange(len(inputs["labels"])).tensor_split(self.parts)
        parts = [{name: value[part] for name, value in inputs.items()} for part in rows if len(part)]
        weights = [weight for weight in model.parameters() if weight.requires_grad]

        def run(part: Any) -> tuple[Tensor, Sequence[Tensor]]:
            loss = self._loss(model, part, num_items_in_batch)
            return loss.detach(), torch.autograd.grad(loss, weights)

        losses, gradients = zip(*side_by_side(run, parts), strict=True)
        # Added in the order of the rows, whoever was first: the weights do not depend on how many cores there are.
        return Summed.apply(sum(losses), [sum(each) for each in zip(*gradients, strict=True)], *weights)

    def _loss(self, model: Any, inputs: Any, num_items_in_batch: Any) -> Tensor:
        labels = inputs["labels"][:, 1:]
        hidden = model.base_model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
        ).last_hidden_state[:, :-1]
        wanted = labels != IGNORED
        logits = hidden[wanted] @ model.get_output_embeddings().weight.t()
        count = wanted.sum() if num_items_in_batch is None else num_items_in_batch
        return cross_entropy(logits, labels[wanted], reduction="sum") / torch.as_tensor(count).clamp(min=1)


def build(
    recipe: Sft | Pretrain,
    model: Any,
    chat: Chat,
    rows: Sequence[Row],
    valid: Sequence[Row],
    work: Path,
    seed: int,
    log: Log,
    peft: Any = None,
    *,
    optimizer: Any = None,
) -> Trainer:
    """A trainer for rows {"prompt", "completion"}; its own AdamW, or an `optimizer` of the model. Raises DataError."""
    limit = min(recipe.max_length, chat.context)
    need(rows, ("prompt", "completion"), recipe.recipe)
    train = completions(rows, chat, limit, recipe.too_long, log)
    held = []
    if valid:
        need(valid, ("prompt", "completion"), recipe.recipe, "validation")
        held = completions(valid, chat, limit, recipe.too_long, log)
        held.sort(key=lambda r: len(r["input_ids"]))
    config = arguments(
        SFTConfig,
        recipe,
        work,
        seed,
        **batches(recipe, held),
        max_length=None,  # we checked; nothing is cut
        packing=False,
        padding_free=False,
        completion_only_loss=True,
        assistant_only_loss=False,
        loss_type="nll",
        shuffle_dataset=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = Trainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(held) if held else None,
        processing_class=chat.tokenizer,
        peft_config=peft,
        optimizers=(optimizer, None),
    )
    trainer.draw([len(r["input_ids"]) for r in train], recipe, seed)
    labelled = sum(sum(label != IGNORED for label in row["labels"]) for row in train)
    trainer.parts = recipe.parts if isinstance(recipe, Pretrain) else 1
    trainer.usual = labelled / len(train) * recipe.batch * recipe.accumulate * trainer.accelerator.num_processes
    return trainer
