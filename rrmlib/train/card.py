"""The model card: what a model is, from what and how it was made, what it cost.

Left out: how good it is (the notebooks' tables).

    text = card(recipe, model=model, name="rrm-s", note="", parent=base, rows=rows, seed=0, history=[], timing={})
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def flops(parameters: int, tokens: int, rollout: int) -> float:
    """6 N per trained token (forward and backward) and 2 N per rollout token (2001.08361, sec. 2.1)."""
    return 6.0 * parameters * tokens + 2.0 * parameters * rollout


def parameters(folder: Path) -> int:
    """Parameters of the model in a folder, by the headers of its safetensors; tied ones are stored, and count, once."""
    from safetensors import safe_open

    count = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "np") as weights:
            count += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return count


def card(
    recipe: Any,
    *,
    model: Any,
    name: str,
    note: str,
    parent: Path | None,
    rows: Sequence[Any],
    seed: int,
    history: Sequence[dict[str, Any]],
    timing: dict[str, Any],
) -> str:
    """README.md of a model folder, with the front matter that the hub reads."""
    drawn = f"; {timing['drawn']:,} tokens were drawn to make them" if timing["drawn"] else ""
    last = {k: v for k, v in (history[-1] if history else {}).items() if k not in ("step", "seconds", "tokens", "lr")}
    lines = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {'text-classification' if recipe.recipe in ('scalar', 'meta') else 'text-generation'}",
        "---",
        f"# {name}",
        "",
        *([note, ""] if note else []),
        f"- what: {type(model).__name__}, {timing['parameters']:,} parameters, recipe `{recipe.recipe}`, seed {seed}",
        f"- from: {parent.name if parent else 'nothing (random weights)'}",
        f"- data: {len(rows):,} rows{drawn}",
        f"- trained on: {timing['tokens']:,} tokens in {timing['steps']:,} steps"
        + (" (prompts counted once per sample)" if timing["rollout"] else ""),
        f"- time: {timing['steps_seconds']:.0f} s of steps, {timing['fit_seconds']:.0f} s in all",
        f"- estimated compute: {timing['flops']:.2e} FLOPs (6 N per trained token, 2 N per rollout or drawn token)",
        *(
            [f"- kept: the weights of step {timing['best_step']}, the best on the valid rows"]
            if timing["best_step"]
            else []
        ),
        "- last step: " + ", ".join(f"{k} {v:.4g}" for k, v in last.items()),
        "",
        "Recipe:",
        "```json",
        recipe.model_dump_json(indent=1),
        "```",
        "",
        "`steps.csv` has one line per optimiser step. Made by rrmlib (`rrmlib.train.fit`).",
    ]
    return "\n".join(lines) + "\n"
