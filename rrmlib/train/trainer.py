"""What all our trainers share: the arguments said in full, a log line per step, checkpoints that can be trusted.

`Logged` is mixed in before TRL's trainer: it adds seconds and tokens to each log line, stops at a loss or gradient
that is not finite (before anything of that step is saved), and makes a checkpoint that could not be written vanish
with a clear error while the one before stays. `side_by_side` runs the shares of one step in threads.

Left out: the losses (TRL's), data (`data.py`), the final folder (`fit.py`).

    class Trainer(Logged, SFTTrainer): ...
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Sampler

from rrmlib.train.data import order
from rrmlib.train.recipe import Batched, Common

Share = TypeVar("Share")
Done = TypeVar("Done")


class FitError(RuntimeError):
    """Training cannot go on. One line: at which step, what happened, what is kept, what to do."""


class Fixed(Sampler):
    """A sampler that gives the indices it was given."""

    def __init__(self, indices: Any) -> None:
        self.indices = [int(i) for i in indices]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def side_by_side(run: Callable[[Share], Done], shares: Sequence[Share], here: int = 1) -> list[Done]:
    """run(share) of each, in order: the first `here` in the calling thread, which would only wait, each other one in
    its own. For work that torch does outside the interpreter's lock, and shares that write nothing in common."""
    others = shares[here:]
    if not others:
        return [*map(run, shares)]
    with ThreadPoolExecutor(len(others)) as threads:
        beside = threads.map(run, others)  # they begin now
        return [*map(run, shares[:here]), *beside]


def arguments(kind: Any, recipe: Common, work: Path, seed: int, **more: Any) -> Any:
    """A TrainingArguments (or TRL) config of class `kind`: every field that changes the mathematics is stated."""
    cpu = recipe.device == "cpu" or not torch.cuda.is_available()
    if cpu and recipe.precision == "bfloat16":
        raise ValueError("precision bfloat16 needs a GPU: on a CPU use float32")
    names = {f.name for f in dataclasses.fields(kind)}
    recompute = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    settings: dict[str, Any] = {
        "output_dir": str(work),
        "use_cpu": cpu,
        "bf16": recipe.precision == "bfloat16",
        "fp16": False,
        "seed": seed,
        "data_seed": seed,
        recompute: recipe.recompute,
        # the optimiser
        "max_steps": recipe.steps,
        "optim": "adamw_torch_fused",
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(recipe.schedule, recipe.schedule),
        "lr_scheduler_kwargs": None,
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "adam_beta1": recipe.betas[0],
        "adam_beta2": recipe.betas[1],
        "adam_epsilon": recipe.epsilon,
        "max_grad_norm": recipe.grad_clip,
        "average_tokens_across_devices": True,
        "label_smoothing_factor": 0.0,
        "neftune_noise_alpha": None,
        # logs and checkpoints
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would show the mean of the other steps for a broken one
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "steps" if recipe.save_every else "no",
        "save_steps": recipe.save_every or 1,
        "save_total_limit": 1,  # the older one goes after the newer is whole
        "restore_callback_states_from_checkpoint": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": not cpu,
        "remove_unused_columns": False,
    }
    # What an older TRL does not know and we switch off is off there.
    settings |= {name: value for name, value in more.items() if value or name in names}
    return kind(**{name: value for name, value in settings.items() if name in names or name in more})


def batches(recipe: Batched, held: Sequence[Any]) -> dict[str, Any]:
    """What `arguments` is told of rows in batches: how many at once, and when the valid rows `held` are looked at."""
    return {
        "per_device_train_batch_size": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulate,
        "per_device_eval_batch_size": recipe.batch,
        "eval_strategy": "steps" if held and recipe.evaluate_every else "no",
        "eval_steps": recipe.evaluate_every or None,
    }


def newest(work: Path) -> Path | None:
    """The last checkpoint that is whole: its trainer_state.json, which is written last, can be read."""
    for folder in sorted(work.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True):
        try:
            json.loads((folder / "trainer_state.json").read_text("utf-8"))
            return folder
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
    return None


def disk_error(e: Exception, what: str, remedy: str, path: Path) -> OSError | None:
    """`e` as an OSError with a remedy, where it is one, or is what torch or safetensors make of one; else None."""
    if isinstance(e, OSError):
        return OSError(e.errno or errno.EIO, f"{what} ({e.strerror or e}); {remedy}", str(path))
    text = " ".join(str(e).split())
    if "PytorchStreamWriter" in text or "No space left" in text or "I/O error" in text or "IoError" in text:
        return OSError(errno.EIO, f"{what} ({text[:200]}); {remedy}", str(path))
    return None


class Logged:
    """Mixin for a transformers Trainer. Before `train()` call `draw`, or set `order` (row indices as trained on)."""

    order: Any
    tokens_of_step: Any = None  # step (from 0) -> tokens; else set `tokens` during the step
    tokens: int = 0
    _since: float | None = None

    def draw(self, lengths: Sequence[int], recipe: Batched, seed: int) -> None:
        """Set the order of rows of these lengths (tokens), and how many tokens each step has."""
        whole = recipe.batch * recipe.accumulate
        self.order = order(lengths, whole, recipe.steps, seed)
        seen = np.asarray(lengths)[self.order].reshape(recipe.steps, whole).sum(1)
        self.tokens_of_step = lambda step: int(seen[step])

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return Fixed(self.order)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL's card; ours is written by `fit`."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        if self._since is None:
            self._since = time.perf_counter()
        return super().training_step(*args, **kwargs)  # type: ignore[misc]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            step = self.state.global_step  # type: ignore[attr-defined]
            for what in ("loss", "grad_norm"):
                if not math.isfinite(logs.get(what, 0.0)):
                    raise FitError(f"step {step}: {what} is {logs[what]}; {self._kept()}; lower the learning rate")
            now = time.perf_counter()
            logs["seconds"] = now - (self._since or now)
            logs["tokens"] = self.tokens_of_step(step - 1) if self.tokens_of_step else self.tokens
            self._since = None
        super().log(logs, start_time)  # type: ignore[misc]

    def _kept(self) -> str:
        last = newest(Path(self.args.output_dir))  # type: ignore[attr-defined]
        return f"the last good checkpoint is kept: {last}" if last else "no checkpoint had been written"

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"  # type: ignore[attr-defined]
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
        except Exception as e:
            shutil.rmtree(folder, ignore_errors=True)
            if problem := disk_error(
                e, "checkpoint not written", f"{self._kept()}; free space and start again", folder
            ):
                raise problem from e
            raise
