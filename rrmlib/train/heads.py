"""Models with a scalar head: the Bradley-Terry reward model (TRL's RewardTrainer) and the meta reward model (BCE).

Texts are whole conversations as `engines/scalar.py` renders them, so nothing is added to them. The head reads the last
token and starts from random weights (seed). With early stopping the weights of the best evaluation are kept.

Left out: how scores are used (`engines/scalar.py`, `vote.py`).

    model, chat = headed(parent, seed=0)
    build(recipe, model, chat, rows, valid, work, 0, log).train()
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    TrainingArguments,
)
from transformers import Trainer as HfTrainer
from trl import RewardConfig, RewardTrainer

from rrmlib.engines.local import Chat, open_chat
from rrmlib.train.data import DataError, Log, Row, fitting, need
from rrmlib.train.recipe import Meta, Scalar
from rrmlib.train.trainer import Logged, arguments, batches


class ScalarTrainer(Logged, RewardTrainer):
    """Rows {"chosen_ids", "rejected_ids"}."""


class MetaTrainer(Logged, HfTrainer):
    """Rows {"input_ids", "labels"}; the mean binary cross-entropy of a batch."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs["labels"]
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
        loss = F.binary_cross_entropy_with_logits(outputs.logits[:, 0].float(), labels.float())
        if num_items_in_batch is not None:  # rows of the whole step: the trainer leaves accumulation to us
            loss = loss * len(labels) / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list, device: Any) -> int:
        return sum(len(batch["labels"]) for batch in batch_samples)


def headed(parent: Path, seed: int) -> tuple[Any, Chat]:
    """(model with one label, Chat). A parent that already has such a head keeps it. Raises EngineError."""
    chat, _, (where, revision) = open_chat(parent)
    at = {"revision": revision} if revision else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            where, num_labels=1, dtype=torch.float32, use_safetensors=True, **at
        )
    model.config.get_text_config().pad_token_id = chat.tokenizer.pad_token_id
    return model.train(), chat


def _pairs(rows: Sequence[Row], chat: Chat, recipe: Scalar, log: Log, what: str) -> list[dict[str, list[int]]]:
    need(rows, ("chosen", "rejected"), "scalar", what)
    chosen, rejected = (chat.encode_all([row[key] for row in rows]) for key in ("chosen", "rejected"))
    out = [{"chosen_ids": a, "rejected_ids": b} for a, b in zip(chosen, rejected)]
    limit = min(recipe.max_length, chat.context)
    return fitting(out, [max(len(ids) for ids in r.values()) for r in out], limit, recipe.too_long, log)


def _labelled(rows: Sequence[Row], chat: Chat, recipe: Meta, log: Log, what: str) -> list[dict[str, Any]]:
    need(rows, ("text",), "meta", what)
    for i, row in enumerate(rows):
        if row.get("label") not in (0, 1):
            raise DataError(f"meta: {what} row {i}: label {row.get('label')!r} is not 0 or 1")
    ids = chat.encode_all([row["text"] for row in rows])
    out = [{"input_ids": i, "labels": float(row["label"])} for i, row in zip(ids, rows)]
    limit = min(recipe.max_length, chat.context)
    return fitting(out, [len(i) for i in ids], limit, recipe.too_long, log)


def build(
    recipe: Scalar | Meta,
    model: Any,
    chat: Chat,
    rows: Sequence[Row],
    valid: Sequence[Row],
    work: Path,
    seed: int,
    log: Log,
    peft: Any = None,
) -> Any:
    """A trainer for the recipe's rows. Raises DataError, ValueError (early stopping without anything to look at)."""
    if recipe.patience and not (valid and recipe.evaluate_every):
        raise ValueError(f"{recipe.recipe}: patience needs valid rows and evaluate_every")
    if isinstance(recipe, Scalar):
        train: list[Any] = _pairs(rows, chat, recipe, log, "training")
        held: list[Any] = _pairs(valid, chat, recipe, log, "validation") if valid else []
        lengths = [len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in train]
    else:
        train = _labelled(rows, chat, recipe, log, "training")
        held = _labelled(valid, chat, recipe, log, "validation") if valid else []
        lengths = [len(r["input_ids"]) for r in train]
    settings = batches(recipe, held)
    if recipe.patience:
        settings |= {
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_accuracy" if isinstance(recipe, Scalar) else "eval_loss",
            "greater_is_better": isinstance(recipe, Scalar),
            "save_strategy": "steps",
            "save_steps": recipe.evaluate_every,
        }
    data = Dataset.from_list(train), Dataset.from_list(held) if held else None
    trainer: Any
    if isinstance(recipe, Scalar):
        config = arguments(
            RewardConfig,
            recipe,
            work,
            seed,
            max_length=None,
            center_rewards_coefficient=None,
            disable_dropout=True,
            **settings,
        )
        trainer = ScalarTrainer(
            model=model,
            args=config,
            train_dataset=data[0],
            eval_dataset=data[1],
            processing_class=chat.tokenizer,
            peft_config=peft,
        )
    else:
        if peft:
            model = importlib.import_module("peft").get_peft_model(model, peft)
        trainer = MetaTrainer(
            model=model,
            args=arguments(TrainingArguments, recipe, work, seed, label_names=["labels"], **settings),
            train_dataset=data[0],
            eval_dataset=data[1],
            data_collator=DataCollatorWithPadding(chat.tokenizer),
            processing_class=chat.tokenizer,
        )
    if recipe.patience:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=recipe.patience))
    trainer.draw(lengths, recipe, seed)
    return trainer
