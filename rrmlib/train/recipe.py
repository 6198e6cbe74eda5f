"""How a model is trained, as data: one frozen class per kind, told apart by the field `recipe`.

Every number that changes the mathematics is a field here or is set in plain sight where the trainer is built; nothing
is inherited from a library's defaults. A batch is counted in rows (GRPO: completions) per optimiser step and device.

Left out: data, reward and parents, which are arguments of `fit`.

    >>> parse({"recipe": "sft", "steps": 100, "batch": 16, "learning_rate": 1e-3}).schedule
    'linear'
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator


class Lora(BaseModel):
    """Low-rank adapters instead of all weights (2106.09685), through peft; merged into the saved model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Optim(BaseModel):
    """AdamW (1711.05101) and its schedule. `warmup_steps` rise linearly; `grad_clip` bounds the total norm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = Field(default=1e-8, gt=0)


class Common(Optim):
    """What every kind has. `steps`: optimiser steps; `save_every` of them a checkpoint is written (0: none).

    `precision`: weights are float32; "bfloat16" computes in bfloat16 where there is a GPU (refused on a CPU).
    `device` "auto" takes what accelerate finds. `recompute`: activation checkpointing, memory for time.
    """

    steps: int = Field(ge=1)
    save_every: int = Field(default=100, ge=0)
    device: Literal["auto", "cpu"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    recompute: bool = False
    lora: Lora | None = None


class Batched(Common):
    """`batch` rows at once, `accumulate` times before a step. `too_long`: a row beyond `max_length` tokens is an error,
    or is dropped, counted in the log and on the model card; rows are never cut. `evaluate_every` steps the loss on the
    valid rows is measured (0: at the end only)."""

    batch: int = Field(ge=1)
    accumulate: int = Field(default=1, ge=1)
    max_length: int = Field(default=512, ge=2)
    too_long: Literal["error", "drop"] = "error"
    evaluate_every: int = Field(default=0, ge=0)


class Sft(Batched):
    """Next-token loss on the completion only. Every completion token weighs the same: a step's sum is divided by the
    tokens of an average step (`sft.py`)."""

    recipe: Literal["sft"] = "sft"


class Pretrain(Batched):
    """The same loss from random weights: Qwen2 architecture of `size` (`pretrain.SIZES`), tied head.

    Weights are drawn with `init_std`, embeddings with `embed_std`: large ones, so that what a token is outweighs at
    first what the layers add. Small models then learn to copy several times sooner (docs/log.md). `rope_theta` is the
    base of the rotary frequencies (2104.09864, sec. 3.2.2; Qwen2's own is 10,000): in a text of a few hundred tokens a
    small one lets more of them tell a neighbour from the next but one.

    On a CPU a batch is run in `parts`, each in a thread of its own, and their gradients are added: operations of a
    small model are too short to be shared among cores, halves of a batch need not be. Same bytes on one core, slower.

    With `muon`, the layers' matrices are trained by Muon at that rate, and only the rest by AdamW (`muon.py`).
    """

    recipe: Literal["pretrain"] = "pretrain"
    size: str = "s"
    context: int = Field(default=512, ge=16)
    init_std: float = Field(default=0.06, gt=0)
    embed_std: float = Field(default=0.25, gt=0)
    rope_theta: float = Field(default=10000.0, gt=1)
    parts: int = Field(default=1, ge=1)
    muon: float | None = Field(default=None, gt=0)


class Grpo(Common):
    """Group-relative policy optimisation (2402.03300, eq. 3), one update per rollout batch: the ratio to the policy
    that drew the completions is then 1, and `clip` binds nowhere but in tests of the loss.

    `prompts` x `samples` completions a step, each of at most `max_tokens`. With `swap_groups` the samples of both
    orders of a comparison (two rows with the same "group") share one group of 2 x `samples`. Advantage: (r - mean) /
    (std + 1e-4) within the group (`scale` "group") or r - mean ("none"). `loss` "grpo": mean over the tokens of a
    completion, then over completions. `beta` weighs the KL penalty to the parent (0: none, no second model).
    `truncated`: a completion that hit `max_tokens` is worth -1 ("wrong") or left out of the loss ("mask"; it still
    counts in its group's mean). `micro_batch` completions go through the model at once. `rollouts`: "fast" (our CPU
    sampler), "trl" (transformers' generate) or "vllm".
    """

    recipe: Literal["grpo"] = "grpo"
    prompts: int = Field(ge=1)
    samples: int = Field(ge=2)
    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    beta: float = Field(default=0.0, ge=0)
    clip: float = Field(default=0.2, gt=0)
    loss: Literal["grpo"] = "grpo"
    scale: Literal["group", "none"] = "group"
    swap_groups: bool = False
    truncated: Literal["wrong", "mask"] = "wrong"
    micro_batch: int = Field(default=32, ge=1)
    rollouts: Literal["fast", "trl", "vllm"] = "fast"
    too_long: Literal["error", "drop"] = "error"

    @model_validator(mode="after")
    def _whole(self) -> Grpo:
        total = self.prompts * self.samples
        if self.swap_groups and self.prompts % 2:
            raise ValueError(f"prompts {self.prompts} must be even: a swap group shows two")
        if self.lora and self.rollouts == "fast":
            raise ValueError("rollouts: fast reads whole weights; with lora set rollouts: trl or vllm")
        if total % min(self.micro_batch, total):
            raise ValueError(f"micro_batch {self.micro_batch} must divide prompts x samples = {total}")
        return self

    @property
    def completions(self) -> int:
        return self.prompts * self.samples


class Scalar(Batched):
    """Bradley-Terry reward model: -log sigmoid(r_chosen - r_rejected) (2203.02155, eq. 1) on a scalar head.

    Stops early when the accuracy on the valid rows has not risen for `patience` evaluations (0: never); the best is
    kept."""

    recipe: Literal["scalar"] = "scalar"
    patience: int = Field(default=0, ge=0)


class Meta(Batched):
    """Meta reward model (2504.02495, sec. 3.3 and 5): scalar head, binary cross-entropy on "is this judgment right".

    Early stopping as `Scalar`, on the loss on the valid rows."""

    recipe: Literal["meta"] = "meta"
    patience: int = Field(default=0, ge=0)


Recipe = Annotated[Sft | Pretrain | Grpo | Scalar | Meta, Field(discriminator="recipe")]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Recipe)


def parse(data: dict[str, Any], where: str = "recipe") -> Sft | Pretrain | Grpo | Scalar | Meta:
    """From a mapping. Raises ValueError in one line that names the field."""
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as e:
        detail = e.errors()[0]
        path = ".".join(str(part) for part in detail["loc"][1:])
        raise ValueError(
            f"{where}: {path + ': ' if path else ''}{detail['msg'].removeprefix('Value error, ')}"
        ) from None
