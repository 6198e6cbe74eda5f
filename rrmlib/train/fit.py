"""`fit`: from a recipe, rows of text and a parent to a whole model folder, resumable in between.

The folder is a normal Hugging Face model (float32 safetensors, tokenizer, chat template, generation config) with
README.md (model card), recipe.json, steps.csv (one line per optimiser step) and timing.json. Checkpoints lie in
`<out>.work/`; a run that was killed goes on from the last one and ends in the same weights (CPU). The folder appears
whole, by a rename, and only then the checkpoints go.

Left out: which models exist and whether one is up to date (`lab.py`), data (`world/`), rewards (`rewards.py`).

    fit(recipe, rows=rows, parent=base, out=folder, seed=0, reward=verdict_reward(load_prompt("rrm_compact")))
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import random
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from rrmlib.engines.base import digest
from rrmlib.engines.local import Chat, folder_id, load
from rrmlib.train.card import card, flops, parameters
from rrmlib.train.data import Log, Row
from rrmlib.train.recipe import Grpo, Lora, Meta, Pretrain, Scalar, Sft

if TYPE_CHECKING:
    from rrmlib.rewards import Reward

# Kind of recipe -> the module that makes its trainer. Named, not imported: a kind needs no other's module, and a change
# of one must not change the key (`lab.py`) of a model of another kind.
TRAINERS = {
    "sft": "rrmlib.train.sft",
    "pretrain": "rrmlib.train.pretrain",
    "grpo": "rrmlib.train.grpo",
    "scalar": "rrmlib.train.heads",
    "meta": "rrmlib.train.heads",
}

# steps.csv: our name <- the log's name. A column that a kind does not log is not written.
COLUMNS = {
    "step": "step",
    "loss": "loss",
    "lr": "learning_rate",
    "grad_norm": "grad_norm",
    "seconds": "seconds",
    "tokens": "tokens",
    "valid_loss": "eval_loss",
    "valid_accuracy": "eval_accuracy",
    "reward": "reward",
    "reward_std": "reward_std",
    "accuracy": "accuracy",
    "length": "completions/mean_length",
    "entropy": "entropy",
    "truncated": "truncated",
    "unparsed": "unparsed",
    "kl": "kl",
    "zero_std": "frac_reward_zero_std",
}


def fit(
    recipe: Sft | Pretrain | Grpo | Scalar | Meta,
    *,
    rows: Sequence[Row],
    valid: Sequence[Row] = (),
    parent: Path | None = None,
    out: Path,
    seed: int,
    reward: Reward | None = None,
    tokenizer: Any = None,
    name: str = "",
    note: str = "",
    drawn: Mapping[Path, int] = MappingProxyType({}),
    log: Log = print,
) -> Path:
    """Train and write `out`; returns it. `tokenizer` (folder or object): for recipe pretrain; `parent`: all others.

    `rows`, rendered and by recipe: sft, pretrain {"prompt", "completion"}; grpo {"prompt", "group", what `reward`
    reads}; scalar {"chosen", "rejected"}; meta {"text", "label": 0 or 1}. `valid` likewise (not grpo). `drawn`: tokens
    that model folders read and wrote to make the rows; they count among the FLOPs. A run is resumed under the same
    reward alone: it is known by its `id` (`rewards.Rule`), one without by the name of its function.
    Raises DataError (rows), FitError (not finite, nothing readable), EngineError (parent), ValueError (arguments),
    OSError (disk).
    """
    with _quiet(), _local(seed):
        name = name or Path(out).name
        return _fit(recipe, rows, valid, parent, Path(out), seed, reward, tokenizer, name, note, drawn, log)


def _fit(
    recipe: Any,
    rows: Sequence[Row],
    valid: Sequence[Row],
    parent: Path | None,
    out: Path,
    seed: int,
    reward: Any,
    tokenizer: Any,
    name: str,
    note: str,
    drawn: Mapping[Path, int],
    log: Log,
) -> Path:
    from rrmlib.train.trainer import disk_error, newest

    began, work = time.perf_counter(), out.with_name(out.name + ".work")
    model, chat = _start(recipe, parent, tokenizer, seed)
    told = [digest(_plain(rows), _plain(valid)), _parent_id(parent, chat), _reward_id(reward)]
    identity = digest(recipe.model_dump(), seed, *told)
    _same_run(work, identity, log)
    trainer = _trainer(recipe, model, chat, rows, valid, work, seed, reward, log)
    if isinstance(recipe, Grpo) and recipe.rollouts == "fast" and trainer.accelerator.device.type != "cpu":
        raise ValueError("rollouts: fast is for small models on a CPU; set rollouts: trl or vllm, or device: cpu")
    resume = newest(work)
    if resume:
        log(f"{name}: going on from {resume.name}")
    _train(trainer, recipe, resume, name, log)
    state = trainer.accelerator.get_state_dict(trainer.model)  # gathers the shards of FSDP and DeepSpeed
    final = trainer.accelerator.unwrap_model(trainer.model)
    if recipe.lora:
        final, state = final.merge_and_unload(), None
    if not trainer.accelerator.is_main_process:
        return out
    history = _history(trainer.state.log_history)
    count, tokens = sum(p.numel() for p in final.parameters()), sum(int(line.get("tokens", 0)) for line in history)
    rollout = tokens if isinstance(recipe, Grpo) else 0
    made = sum(flops(parameters(Path(folder)), 0, n) for folder, n in drawn.items())
    timing = {
        "steps_seconds": sum(line.get("seconds", 0.0) for line in history),
        "fit_seconds": time.perf_counter() - began,  # of this process: a resumed run has less
        "steps": len(history),
        "parameters": count,
        "tokens": tokens,
        "rollout": rollout,
        "drawn": sum(drawn.values()),
        "flops": flops(count, tokens, rollout) + made,
        "best_step": trainer.state.best_global_step,
    }
    text = card(
        recipe,
        model=final,
        name=name,
        note=note,
        parent=parent,
        rows=rows,
        seed=seed,
        history=history,
        timing=timing,
    )
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        _write(part, final, state, chat.tokenizer, recipe, history, timing, text)
        for file in part.iterdir():
            with file.open("rb+") as f:
                os.fsync(f.fileno())
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    except Exception as e:
        remedy = f"the checkpoints are kept: {work}; free space and start again"
        if problem := disk_error(e, "the model was not written", remedy, out):
            raise problem from e
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    return out


def _module(recipe: Any) -> ModuleType:
    return importlib.import_module(TRAINERS[recipe.recipe])


def _start(recipe: Any, parent: Path | None, tokenizer: Any, seed: int) -> tuple[Any, Chat]:
    """(model in train mode, Chat) to begin with."""
    if isinstance(recipe, Pretrain):
        if tokenizer is None:
            raise ValueError("recipe pretrain needs a tokenizer (a folder or an object)")
        if isinstance(tokenizer, str | Path):
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        drawn = {name: getattr(recipe, name) for name in ("context", "init_std", "embed_std", "rope_theta")}
        model = _module(recipe).fresh(recipe.size, tokenizer, **drawn, seed=seed)
        return model.train(), Chat(tokenizer, frozenset([tokenizer.eos_token_id]), recipe.context)
    if parent is None:
        raise ValueError(f"recipe {recipe.recipe} needs a parent model")
    if isinstance(recipe, Scalar | Meta):
        return _module(recipe).headed(parent, seed)
    model, chat, _ = load(parent, dtype="float32")
    return model.train(), chat


def _trainer(
    recipe: Any, model: Any, chat: Chat, rows: Any, valid: Any, work: Path, seed: int, reward: Any, log: Log
) -> Any:
    peft = _peft(recipe.lora, isinstance(recipe, Scalar | Meta)) if recipe.lora else None
    if isinstance(recipe, Grpo):
        if reward is None:
            raise ValueError("recipe grpo needs a reward")
        return _module(recipe).build(recipe, model, chat, rows, work, seed, reward, log, peft)
    return _module(recipe).build(recipe, model, chat, rows, valid, work, seed, log, peft)


def _peft(lora: Lora, head: bool) -> Any:
    try:
        peft = importlib.import_module("peft")
    except ImportError:
        raise ValueError("lora needs the package peft: pip install peft, or take `lora` out of the recipe") from None
    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        task_type="SEQ_CLS" if head else "CAUSAL_LM",
    )


def _train(trainer: Any, recipe: Any, resume: Path | None, name: str, log: Log) -> None:
    from transformers import PrinterCallback, TrainerCallback

    every = max(1, recipe.steps // 10)

    class Progress(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs and (state.global_step % every == 0 or state.global_step == 1):
                shown = {k: logs[k] for k in ("loss", "accuracy", "truncated", "completions/mean_length") if k in logs}
                log(
                    f"{name}: step {state.global_step}/{recipe.steps} "
                    + " ".join(f"{k.split('/')[-1]} {v:.3f}" for k, v in shown.items())
                )

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress())
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if trainer.eval_dataset is None or (isinstance(recipe, Scalar | Meta) and recipe.patience):
        return
    if not recipe.evaluate_every or trainer.state.global_step % recipe.evaluate_every:
        trainer.evaluate()


def _write(
    folder: Path,
    model: Any,
    state: dict[str, Any] | None,
    tokenizer: Any,
    recipe: Any,
    history: list[dict[str, Any]],
    timing: dict[str, Any],
    text: str,
) -> None:
    import torch

    model.config.use_cache = True  # the trainer turns it off
    model.config.dtype = torch.float32
    state = {name: value.float() for name, value in (state or model.state_dict()).items()}
    model.eval().save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(text, "utf-8")
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1) + "\n", "utf-8")
    (folder / "timing.json").write_text(json.dumps(timing, indent=1) + "\n", "utf-8")
    names = [ours for ours in COLUMNS if any(ours in line for line in history)]
    with (folder / "steps.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(history)


def _history(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trainer's log, one dict per step under our names; an evaluation joins the line of its step."""
    steps: dict[int, dict[str, Any]] = {}
    for line in lines:
        if "loss" in line or "eval_loss" in line:
            found = {ours: line[theirs] for ours, theirs in COLUMNS.items() if line.get(theirs) is not None}
            if "eval_loss" in line:
                found = {k: v for k, v in found.items() if k in ("step", "valid_loss", "valid_accuracy")}
            steps.setdefault(line["step"], {}).update(found)
    return [steps[step] for step in sorted(steps)]


def _same_run(work: Path, identity: str, log: Log) -> None:
    """Checkpoints in `work` are of this very run, or they go."""
    mark = work / "run.txt"
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # the first process of a machine does this
    if work.exists() and (not mark.is_file() or mark.read_text("utf-8") != identity):
        log(f"{work}: checkpoints of another run are thrown away")
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    mark.write_text(identity, "utf-8")


def _parent_id(parent: Path | None, chat: Chat) -> str:
    if parent is None:
        return digest(chat.tokenizer.get_vocab(), chat.tokenizer.chat_template)
    return folder_id(parent) if Path(parent).is_dir() else str(parent)


def _reward_id(reward: Any) -> str:
    return "" if reward is None else str(getattr(reward, "id", getattr(reward, "__qualname__", type(reward).__name__)))


def _plain(rows: Sequence[Row]) -> list[Any]:
    return [
        [str(k), v if isinstance(v, str | int | float) else repr(v)] for row in rows for k, v in sorted(row.items())
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' load reports and progress bars; ours go through `log`."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|trl")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _local(seed: int) -> Iterator[None]:
    """The trainers seed the global generators: whoever calls `fit` finds theirs as they were."""
    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
