"""What a step of the lab's base takes where freed memory stays with the process (`rrmlib.allocator`), and where not.

    .venv/bin/python measure/allocator.py [--steps 150] [--runs 3]

The first steps of base-s of profile laptop, in processes of their own, with and without in turn; the first 20 steps of
a run are left out. Prints the mean milliseconds of a step, and whether both ended in the same weights (exit code 1
where not). Figures mean something only on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

WARM = 20


def worker(kept: bool, steps: int) -> None:
    import torch

    from rrmlib.allocator import keep
    from rrmlib.lab import Context, load
    from rrmlib.train.fit import fit
    from rrmlib.train.recipe import parse
    from rrmlib.world.data import text
    from rrmlib.world.text import tokenizer

    if kept and not keep():
        sys.exit("this C library cannot be told")
    torch.set_num_threads(1)
    base = load("laptop").models["base-s"]
    stated = {**base.recipe, "steps": steps, "save_every": 0}
    model = replace(base, options={"documents": steps * stated["batch"]})
    rows = text(Context(model, seed=0, world={}, splits=dict, parent=None, of=(), prompt=None, log=str)).rows
    with tempfile.TemporaryDirectory() as folder:
        out = fit(parse(stated), rows=rows, out=Path(folder) / "base", seed=0, tokenizer=tokenizer(), log=str)
        with (out / "steps.csv").open(encoding="utf-8") as file:
            seconds = [float(line["seconds"]) for line in csv.DictReader(file)][WARM:]
        weights = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    print(json.dumps([1000 * statistics.mean(seconds), weights]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--steps", type=int, default=150)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--worker", choices=["kept", "returned"], help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.steps <= WARM:
        options.error(f"--steps {given.steps}: the first {WARM} are left out, so there must be more")
    if given.worker:
        worker(given.worker == "kept", given.steps)
        return
    found: dict[str, list[float]] = {"returned": [], "kept": []}
    weights = set()
    for _ in range(given.runs):
        for how, times in found.items():
            command = [sys.executable, __file__, "--worker", how, "--steps", str(given.steps)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            value, digest = json.loads(said)
            times.append(value)
            weights.add(digest)
    for how, times in found.items():
        print(f"{how:<9} {statistics.median(times):6.1f} ms a step ({', '.join(f'{t:.1f}' for t in times)})")
    print(f"same weights: {len(weights) == 1}")
    sys.exit(len(weights) != 1)


if __name__ == "__main__":
    main()
