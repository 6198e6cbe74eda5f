"""Freeze the world: train the policy model, keep its right and wrong answers, write down the hashes of valid and test.

    .venv/bin/python measure/freeze_world.py            # about 3 minutes; rewrites rrmlib/world/policy_answers.jsonl.gz
    .venv/bin/python measure/freeze_world.py --check    # only says whether valid, test and lists are the frozen ones

Run once per version of the world, before anything is tuned. A policy trained on another machine answers a little
differently; so its answers are kept with the library, and this script is how they were made.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path

import torch

from rrmlib.comparison import CandidateSet, Message
from rrmlib.engines.base import Request, Sampling
from rrmlib.engines.qwen2 import Qwen2Engine
from rrmlib.train.fit import fit
from rrmlib.train.recipe import parse
from rrmlib.world import VERSION, data, text
from rrmlib.world.families import draw
from rrmlib.world.pairs import build, candidate_sets, digest
from rrmlib.world.reasoning import Chain, Program, claimed

RECIPE = {
    "recipe": "pretrain",
    "size": "xs",
    "steps": 1400,
    "batch": 16,
    "learning_rate": 3e-3,
    "warmup_steps": 50,
    "schedule": "linear",
    "weight_decay": 0.01,
    "betas": [0.9, 0.98],
}
PROBLEMS = {"rl": 9000, "sft": 4500, "meta": 2400, "valid": 1500, "test": 6000}
SAMPLES = 6


def answers(model: Path, split: str, n: int) -> list[tuple[str, str, str]]:
    """(query, right, wrong) of problems of a split that the policy answers both rightly and wrongly."""
    problems = [draw(("chain", "program")[i % 2], split, "policy", i) for i in range(n)]
    if split in ("valid", "test"):
        problems += [draw("counter", split, "policy", i) for i in range(n // 5)]
    requests = [
        Request(messages=(Message("user", p.query),), sampling=Sampling(64, 1.0), seed=SAMPLES * i + k)
        for i, p in enumerate(problems)
        for k in range(SAMPLES)
    ]
    engine, texts = Qwen2Engine(model, batch_size=256), [""] * len(requests)
    for batch in engine.generate(requests):
        for index, done in batch:
            texts[index] = done.text.strip()
    found, right, read = [], 0, 0
    for i, problem in enumerate(problems):
        assert isinstance(problem, Chain | Program)
        each = [text.response_of(problem, t) for t in texts[SAMPLES * i : SAMPLES * (i + 1)]]
        good = [r for r in each if r is not None and problem.grade(r) == 1]
        bad = [r for r in each if r is not None and claimed(r)[1] != problem.answer]
        right, read = right + len(good), read + sum(r is not None for r in each)
        if good and bad:
            found.append((problem.query, good[0], bad[0]))
    shares = f"{right / len(requests):.2f} of solutions right, {read / len(requests):.2f} readable"
    print(f"{split}: {shares}, {len(found)} pairs of {len(problems)} problems", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        for split in ("valid", "test"):
            print(split, len(data.frozen(split)), "comparisons, as frozen")
        print("test-lists", len(data.as_frozen("test-lists", lists())), "lists, as frozen")
        return 0
    torch.set_num_threads(1)
    render = data.Renderer(None)
    pairs = text.solutions(60_000, 0)
    rows = [{"prompt": render.prompt((Message("user", a),)), "completion": b} for a, b in pairs]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "policy"
        model = fit(parse(RECIPE), rows=rows, parent=None, out=out, seed=0, tokenizer=text.tokenizer())
        lines = [json.dumps([split, *triple]) for split, n in PROBLEMS.items() for triple in answers(model, split, n)]
    raw = "".join(f"{line}\n" for line in lines).encode("ascii")
    (data.HERE / "policy_answers.jsonl.gz").write_bytes(gzip.compress(raw, mtime=0))
    hashes()
    return 0


def hashes() -> None:
    """Write frozen.json: what valid and test are with the policy answers that lie there."""
    data.policy_answers.cache_clear()
    stated: dict[str, object] = {"version": VERSION, "seed": data.FROZEN_SEED}
    for split in ("valid", "test"):
        sizes = data.TEST if split == "test" else {name: n // 4 for name, n in data.TEST.items()}
        items = build(split, sizes, data.FROZEN_SEED, policy=data.policy_answers().get(split, ()))
        stated[split] = digest(items)
        by = {subset: sum(c.source == "policy" for c in items if c.subset == subset) for subset in sizes}
        print(split, len(items), "comparisons; from the policy:", by)
    stated["test-lists"] = digest(lists())
    print("test-lists", len(lists()), "lists")
    (data.HERE / "frozen.json").write_text(json.dumps(stated, indent=1) + "\n", "ascii")


def lists() -> list[CandidateSet]:
    return candidate_sets("test", data.LISTS["test"], data.FROZEN_SEED)


if __name__ == "__main__":
    sys.exit(main())
