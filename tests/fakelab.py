"""A lab whose world is small and whose judges are mixtures of behaviours: no model is trained or run.

made = FakeLab(tmp_path, monkeypatch)      # chdir to a checkout of its own, profile "p"
made.judge("rrm-s", {"careful": 1.0})
made.model("rrm-s")
lab = made.lab()
"""

from __future__ import annotations

import csv
import json
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rrmlib import artefact, lab
from rrmlib.benchmarks.credit import from_source
from rrmlib.comparison import Comparison, Item, Order
from rrmlib.engines.base import Completion, ContinuationScore, EngineError, Request
from rrmlib.judgment import Judgment
from rrmlib.parse import parse
from rrmlib.prompt import load_prompt
from rrmlib.store import Store
from rrmlib.world.candidates import pairs_of
from rrmlib.world.families import problem_of
from rrmlib.world.judging import PREFIX, write
from rrmlib.world.pairs import build, candidate_sets
from rrmlib.world.problem import stream

OPTIM = {"steps": 4, "batch": 2, "learning_rate": 0.1}
RL = {
    "recipe": "grpo",
    "data": "rl",
    "reward": "verdict",
    "steps": 30,
    "prompts": 2,
    "samples": 2,
    "max_tokens": 9,
    "learning_rate": 0.1,
}
SMALL = {"chain-answer": 24, "program-worked": 24, "chat": 16, "chat-hard": 16, "safety": 16, "counter-answer": 12}
MODELS: dict[str, dict[str, Any]] = {
    "base-s": {"recipe": "pretrain", "data": "text", **OPTIM},
    "rrm-s": {**RL, "from": "base-s", "format": "rrm_compact"},
    "random-s": {**RL, "from": "base-s", "format": "rrm_compact", "reward": "random"},
    "direct-s": {"recipe": "sft", "from": "base-s", "format": "direct_compact", "data": "verdicts", **OPTIM},
    "distilled-s": {"recipe": "sft", "from": "base-s", "format": "rm_r1_compact", "data": "distilled", **OPTIM},
    "cold-s": {**RL, "from": "base-s", "format": "rm_r1_compact"},
    "rm-r1-s": {**RL, "from": "distilled-s", "format": "rm_r1_compact"},
    "rft-s": {"recipe": "sft", "from": "base-s", "format": "grm_compact", "data": "rft", **OPTIM},
    "grm-s": {**RL, "from": "rft-s", "format": "grm_compact", "reward": "scores"},
    "meta-s": {
        "recipe": "meta",
        "from": "base-s",
        "of": ["rft-s", "grm-s"],
        "format": "grm_compact",
        "data": "meta",
        **OPTIM,
    },
}
LEARNS = {"rrm-s": "careful", "cold-s": "careful", "rm-r1-s": "careful", "grm-s": "careful"}
BASE = {"careful": 0.15, "read": 0.25, "guess": 0.25, "first": 0.1, "longer": 0.15, "polite": 0.1}
TRAINED = {"careful": 0.9, "read": 0.1}


def splits(sizes: Mapping[str, int] = SMALL) -> dict[str, Sequence[Item]]:
    return {
        "test": build("test", sizes, 0),
        "rl": build("rl", sizes, 0),
        "sft": build("sft", {name: n for name, n in sizes.items() if "counter" not in name}, 0),
        "test-lists": candidate_sets("test", 8, 0),
    }


def says(
    shown: Sequence[Item],
    judge: str,
    format: str,
    mixture: Mapping[str, float],
    *,
    samples: int = 1,
    seed: int = 0,
    cut: float = 0.0,
    mute: float = 0.0,
    slips: float = 0.0,
) -> list[Judgment]:
    """Judgments, both orders, of a judge that draws a behaviour each time. `cut` is the share of truncated texts,
    `mute` of unreadable ones, `slips` of traces in which a digit is changed."""
    prompt, style, out = load_prompt(format), format.removesuffix("_compact"), []
    for item in shown:
        for sample in range(samples):
            for order in (Order.AB, Order.BA) if isinstance(item, Comparison) else (Order(tuple(range(4))),):
                rng = stream("fake", judge, seed, item.id, sample, order)
                behaviour = rng.choices(list(mixture), list(mixture.values()))[0]
                text = write(style, problem_of(item.query[0].content), item.shown(order), behaviour, rng)
                finish, drawn = "stop", rng.random()
                if drawn < cut:
                    text, finish = text[: len(text) // 2].split("\\boxed")[0], "length"
                elif drawn < cut + mute:
                    text = "I can not say"
                elif rng.random() < slips:
                    text = _slip(text, rng)
                reading = parse(prompt.parser, text, finish, opens_think=prompt.opens_think, n=len(order))
                said = from_source(item.id, order, judge, text, reading, finish=finish, sample=sample)
                out.append(replace(said, tokens=len(text) // 2))
    return out


def _slip(text: str, rng: random.Random) -> str:
    places = [i for i, c in enumerate(text[: text.rfind("\n")]) if c.isdigit() and text[i - 1] == "="]
    if not places:
        return text
    i = rng.choice(places)
    return text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :]


class Engine:
    """In place of a model that is asked to go on: names the response last marked ok, else the first. `broken`: says
    something unreadable; `dies_after` that many answers."""

    name, model_id, dtype = "fake", "fake@1", "float32"

    def __init__(self, broken: bool = False, dies_after: int = 10**9) -> None:
        self.asked: list[Request] = []
        self.scored, self.broken, self.dies_after = 0, broken, dies_after

    def generate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        for index, request in enumerate(requests):
            if index >= self.dies_after:
                raise EngineError("died")
            self.asked.append(request)
            best = (re.findall(r"(?m)^(\d): .* ok$", request.prefill.removesuffix("\nbest")) or ["1"])[-1]
            said = f" {best}\n</think>\n\\boxed{{Assistant {best}}}"
            said = said if request.prefill.endswith("best") else f"\nbest{said}"
            yield [(index, Completion("?" if self.broken else said, "stop", 3))]

    def score(self, requests: Sequence[Request], continuations: Sequence[str]) -> list[ContinuationScore]:
        self.scored += len(requests)
        return [ContinuationScore(math.log(0.75 if text == " 1" else 0.2), ()) for text in continuations]

    def opens_think(self, request: Request) -> bool:
        return False

    def close(self) -> None:
        pass


class FakeLab:
    """Profile "p" in a checkout of its own. `judges` of lab.yaml are those of the models, greedy and sampled, and the
    base in every format and forced into every behaviour."""

    def __init__(self, folder: Path, monkeypatch: Any, *, profile: str = "p", sizes: Mapping[str, int] = SMALL) -> None:
        self.profile, self.folder, self.sizes = profile, folder, sizes
        (folder / "notebooks").mkdir(exist_ok=True)
        (folder / "params" / profile).mkdir(parents=True, exist_ok=True)
        (folder / "params" / profile / "profile.yaml").write_text("threads: 1\n")
        judges = []
        for name, model in MODELS.items():
            if model["recipe"] == "meta":
                continue
            plain = {"name": name, "model": f"lab:{name}", "format": model.get("format", "rrm_compact")}
            judges += [plain, {**plain, "name": f"{name}.t1", "temperature": 1.0, "samples": 3}]
        for name in PREFIX:
            judges.append({"name": f"base-s.{name}", "model": "lab:base-s", "format": "rrm_compact", "seed": 1})
        judges.append({"name": "base-s.rm_r1", "model": "lab:base-s", "format": "rm_r1_compact"})
        for name in ("base-s", "rft-s", "grm-s"):
            listed = {"name": f"{name}.lists", "model": f"lab:{name}", "format": "grm_compact", "split": "test-lists"}
            judges.append(listed)
        for name, format in (("rrm-s", "rrm_compact"), ("grm-s", "grm_compact")):
            pool = {"name": f"{name}.pool", "model": f"lab:{name}", "format": format, "temperature": 1.0, "samples": 4}
            judges.append(pool)
        judges.append({"name": "rrm-s.b8", "model": "lab:rrm-s", "format": "rrm_compact", "think_budget": 8})
        pairs = {"name": "rrm-s.pairs", "model": "lab:rrm-s", "format": "rrm_compact", "temperature": 1.0, "samples": 2}
        judges.append({**pairs, "split": "candidate-pairs"})
        stated = {"models": MODELS, "judges": judges}
        (folder / "params" / profile / "lab.yaml").write_text(yaml.safe_dump(stated, sort_keys=False))
        monkeypatch.chdir(folder)
        monkeypatch.setattr(artefact, "library", lambda *_, **__: [])  # keys without the code: it does not change here
        monkeypatch.setattr(lab, "WORLD", lambda settings, seed: splits(sizes))
        made = candidate_sets("test", 6, 8, sizes=(5,))
        monkeypatch.setattr(lab, "SPLITS", {"candidates": lambda: made, "candidate-pairs": lambda: pairs_of(made)})
        lab.world(self.lab(), log=lambda _: None)

    def lab(self, seed: int = 0) -> lab.Lab:
        return lab.load(self.profile, seed)

    def judge(self, name: str, mixture: Mapping[str, float], *, seed: int = 0, **how: Any) -> list[Judgment]:
        made = self.lab(seed)
        entry = made.judges[name]
        shown = lab.items(made, entry.split)
        said = says(shown, name, entry.spec.format, mixture, samples=entry.spec.samples, seed=seed, **how)
        with Store(lab.store(made)) as store:
            store.record(said, benchmark=made.benchmark(entry.split), parser="fake.v1", replace_items=True)
        _touch(made.judged_mark(name))
        return said

    def model(self, name: str, *, seed: int = 0, steps: int = 30) -> Path:
        """The files that training leaves beside the weights."""
        made = self.lab(seed)
        path, recipe = made.path(name), dict(made.models[name].recipe)
        path.mkdir(parents=True, exist_ok=True)
        rng = random.Random(f"{name} {seed}")
        rows = []
        for step in range(1, steps + 1):
            row: dict[str, float] = {"step": step, "loss": 1 / step, "seconds": 0.5, "tokens": 1000}
            if recipe["recipe"] == "grpo":
                right = 0.5 + 0.4 * (step / steps) * (name in LEARNS) + rng.uniform(-0.08, 0.08)
                row |= {"reward": 2 * right - 1, "accuracy": right, "length": 20 + 20 * right, "entropy": 1 - right / 2}
                row |= {"truncated": 0.02 / step, "unparsed": 0.1 / step}
            rows.append(row)
        with (path / "steps.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        (path / "recipe.json").write_text(json.dumps(recipe))
        tokens, drawn = 1000 * steps, 500 if made.models[name].data in ("rft", "meta") else 0
        rollout = tokens if recipe["recipe"] == "grpo" else 0
        flops = 700_000 * (6 * tokens + 2 * (rollout + drawn))
        timing = {"steps": steps, "parameters": 700_000, "tokens": tokens, "rollout": rollout, "drawn": drawn}
        (path / "timing.json").write_text(json.dumps({"fit_seconds": 20.0, "flops": flops, **timing}))
        (path / "README.md").write_text(
            f"---\nlibrary_name: transformers\n---\n# {name}\n\n{name} learns from 12 rows.\n\n"
            "- what: Qwen2ForCausalLM, 700,000 parameters, recipe `x`, seed 0\n"
        )
        _touch(made.mark(name))
        return path

    def everything(self, *, seed: int = 0) -> None:
        """Every model and every judge: trained ones are careful, the base and the controls are not."""
        for name in MODELS:
            self.model(name, seed=seed)
        for name in self.lab(seed).judges:
            plain, _, forced = name.removesuffix(".t1").partition(".")
            careful = plain in (*LEARNS, "distilled-s")
            mixture = {forced: 1.0} if forced in PREFIX else TRAINED if careful else BASE
            how = {"cut": 0.01, "mute": 0.02} if forced not in PREFIX else {}
            self.judge(name, mixture, seed=seed, **({"slips": 0.05} if careful else {}), **how)


def _touch(mark: Path) -> None:
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"key": mark.stem}))
