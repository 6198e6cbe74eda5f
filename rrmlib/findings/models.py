"""How the lab's models were trained: curves, cost, the ablation of RM-R1, and the meta RM.

Files of models are read where `rrm lab train` has put them; a model that is not there is an error with that command.

Left out: training (`train/`), accuracy (`judgments.py`).

    curves([lab], ["rrm-s", "random-s"])
    cost([lab], ["rrm-s"])
    ablation([lab], {"distilled only": "distilled-s", "RM-R1": "rm-r1-s"})
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from rrmlib.comparison import Comparison
from rrmlib.engines.base import Request, Sampling
from rrmlib.findings.judgments import (
    UNREADABLE,
    bounds,
    credit,
    gather,
    percent,
    percentiles,
    section_of,
    sections,
    unsampled,
    weights,
    within,
)
from rrmlib.judgment import State
from rrmlib.lab import Lab, items, judged, store
from rrmlib.params import ParameterError
from rrmlib.prompt import load_prompt
from rrmlib.stats import clustered_mean
from rrmlib.store import Store
from rrmlib.world.oracle_engine import ask

CURVES = ("reward", "accuracy", "length", "entropy", "truncated", "unparsed", "kl")


def folder(lab: Lab, name: str) -> Path:
    """The folder of a model that is trained and up to date. Raises ParameterError with the command that makes it."""
    path = lab.path(name)
    if not lab.mark(name).is_file():
        command = f"rrm lab train {name} --profile {lab.profile} --seed {lab.seed}"
        raise ParameterError(f"model {name!r} is not trained, or from something else than lab.yaml now says: {command}")
    return path


def _steps(lab: Lab, name: str) -> pd.DataFrame:
    return pd.read_csv(folder(lab, name) / "steps.csv")


def curves(labs: Sequence[Lab], names: Sequence[str], *, window: int = 9) -> pd.DataFrame:
    """profile, seed, judge (the model), step, metric, n (completions of the step), value, smooth, lists: RL over steps.

    `lists` is the share of lists (not pairs) in what the model was trained on; the log does not tell them apart.
    `smooth` is the mean of the `window` steps around (fewer at the ends). Metrics as in steps.csv, of those in `CURVES`
    that the recipe logs; where the reward was random, so is the logged accuracy, and it is left out. Raises
    ParameterError for a model that RL did not make.
    """
    out = []
    for lab in labs:
        for name in names:
            steps = _steps(lab, name)
            recipe = json.loads((folder(lab, name) / "recipe.json").read_text("utf-8"))  # with its defaults
            if recipe["recipe"] != "grpo":
                raise ParameterError(f"model {name!r} is made by {recipe['recipe']}: only RL (grpo) has these curves")
            n = int(recipe["prompts"]) * int(recipe["samples"])
            drawn = {"accuracy"} if lab.models[name].reward == "random" else set()  # by lot
            for metric in (m for m in CURVES if m in steps.columns and m not in drawn):
                smooth = steps[metric].rolling(window, center=True, min_periods=1).mean()
                head = {"profile": lab.profile, "seed": str(lab.seed), "judge": name}
                part = pd.DataFrame({"step": steps["step"], "metric": metric, "n": n, "value": steps[metric]})
                lists = float(lab.models[name].options.get("lists", 0.0))
                out.append(part.assign(**head, smooth=smooth, lists=lists))
    table = pd.concat(out, ignore_index=True)
    return table[["profile", "seed", "judge", "step", "metric", "n", "value", "smooth", "lists"]]


def cost(labs: Sequence[Lab], names: Sequence[str]) -> pd.DataFrame:
    """What a model cost: parameters, steps, tokens trained on, rolled out in RL and drawn to make its data, FLOPs (6 N
    a trained token, 2 N a rollout or drawn token), seconds of training; `flops_all` and `seconds_all` with all that it
    is made from. `note`: what its card says of data. A group without contrast, which is run forward alone, counts as
    trained. An engine as oracle (`world/distil.py`), validation and trials are in none of them."""
    out = []
    for lab in labs:
        for name in names:
            line = [_cost(lab, each) for each in (*lab.ancestors(name), name)]
            whole = {f"{what}_all": sum(one[what] for one in line) for what in ("flops", "seconds")}
            out.append({"profile": lab.profile, "seed": str(lab.seed), "judge": name, **line[-1], **whole})
    table = pd.DataFrame(out)
    return table[[c for c in table.columns if c != "note"] + ["note"]]


def _cost(lab: Lab, name: str) -> dict[str, Any]:
    path = folder(lab, name)
    timing = json.loads((path / "timing.json").read_text("utf-8"))
    card = (path / "README.md").read_text("utf-8")
    note = re.search(rf"^# {re.escape(name)}\n\n(.*?)\n\n- what", card, re.DOTALL | re.MULTILINE)
    return {
        "recipe": str(lab.models[name].recipe["recipe"]),
        **{what: int(timing[what]) for what in ("parameters", "steps", "tokens", "rollout", "drawn")},
        "flops": float(timing["flops"]),
        "seconds": float(timing["fit_seconds"]),
        "note": note[1] if note else "",
    }


# --- The ablation of RM-R1 --------------------------------------------------------------------------------------------


def start_of(lab: Lab, name: str) -> str:
    """The judge that asks the parent of this judge's model for the same split in the same format, at the same
    temperature (its limits may differ); empty where lab.yaml has none."""
    model, mine = lab.models.get(lab.judge_model(name)), lab.judges[name]
    for other, entry in lab.judges.items():
        same = ("format", "temperature", "template_args")
        alike = entry.split == mine.split
        alike = alike and all(getattr(entry.spec, what) == getattr(mine.spec, what) for what in same)
        if model and model.parent and alike and not _forced(entry.spec) and lab.judge_model(other) == model.parent:
            return other
    return ""


def _forced(spec: Any) -> bool:
    return bool(getattr(spec, "prefill", ""))


def ablation(labs: Sequence[Lab], arms: Mapping[str, str], *, pooled: bool = True) -> pd.DataFrame:
    """Sections of each arm (its name -> its judge), over seeds, beside what it starts from (2505.02387, Tables 2-3).

    `start` and `start_read`: accuracy and share read of the arm's start in the row's section, asked in the same way;
    where nobody asked, in the first step of the arm's own RL: rollouts on training prompts of all sections, so this
    stands beside "overall" alone. `start_from` says which. `readable` is False where less than half could be read, of
    the arm or of its start.
    """
    table = sections(gather(labs, list(dict.fromkeys(arms.values()))), pooled=pooled)
    out = []
    for arm, name in arms.items():
        mine = table[table["judge"].isin([name, unsampled(name)])]
        start, where = _start(labs, name, pooled)
        mine = mine.assign(arm=arm).merge(start, on=["seed", "section"], how="left").assign(start_from=where)
        known = mine["start_read"].fillna(mine.groupby("seed")["start_read"].transform("min"))
        out.append(mine.assign(readable=(mine["read"] >= UNREADABLE) & ~(known < UNREADABLE)))
    return pd.concat(out, ignore_index=True)


def _start(labs: Sequence[Lab], name: str, pooled: bool) -> tuple[pd.DataFrame, str]:
    """seed, section, start, start_read of what a judge's model starts from, and where they are from; else no rows."""
    columns = ["seed", "section", "start", "start_read"]
    start, model = start_of(labs[0], name), labs[0].judge_model(name)
    if start:
        first = sections(gather(labs, [start]), pooled=pooled)
        return first.rename(columns={"value": "start", "read": "start_read"})[columns], start
    if not model or labs[0].models[model].recipe["recipe"] != "grpo":
        return pd.DataFrame(columns=columns).astype({"start": float, "start_read": float}), ""
    steps = pd.concat([_steps(lab, model).head(1).assign(seed=str(lab.seed)) for lab in labs])
    steps = steps.assign(section="overall", start=steps["accuracy"])
    steps = steps.assign(start_read=1 - steps["unparsed"] - steps["truncated"])[columns]
    if pooled:
        steps = steps.assign(seed="all").groupby(["seed", "section"], as_index=False).mean()
    return steps, "first step of RL"


def ablation_form(table: pd.DataFrame) -> pd.DataFrame:
    """`ablation` as the paper prints it: a row per arm, percent with interval (and range over seeds); `start` is the
    average's. An arm that could not be read has no numbers, one whose start could not be read says so."""
    names = {"chat": "Chat", "chat-hard": "Chat Hard", "safety": "Safety", "reasoning": "Reasoning", "overall": "Avg"}
    out = []
    for (arm, seed), part in table.groupby(["arm", "seed"], sort=False):
        by = part.set_index("section")
        row: dict[str, Any] = {"arm": arm, "seed": seed}
        for section, name in names.items():
            there = section in by.index and by["read"][section] >= UNREADABLE
            row[name] = percent(by.loc[section]) if there else "cannot be read" if section in by.index else ""
        whole = by.loc["overall"] if "overall" in by.index else by.iloc[0]
        row["read"] = f"{100 * whole['read']:.1f}"
        start, read = by["start"].get("overall", math.nan), by["start_read"].get("overall", math.nan)
        row["start"] = "" if math.isnan(start) else f"{100 * start:.1f}"
        if read < UNREADABLE:
            row["start"] = "cannot be read"
        row["start read"] = "" if math.isnan(read) else f"{100 * read:.1f}"
        out.append({**row, "start is": part["start_from"].iloc[0]})
    return pd.DataFrame(out)


# --- The meta RM ------------------------------------------------------------------------------------------------------


def meta_scores(lab: Lab, meta: str, name: str, *, limit: int = 400) -> pd.DataFrame:
    """What the meta RM `meta` gives the judgments of judge `name`, on the first `limit` items in both orders.

    profile, seed, judge, item, cluster, section, order, sample, state, label (1: the judgment is right), score. Scores
    are kept in the profile's store: the second time no model is run. Raises ParameterError where judge or model is not
    there.
    """
    from rrmlib.engines.scalar import ScalarEngine

    said, entry = judged(lab, name), lab.judges[name]
    prompt, shown = load_prompt(entry.spec.format), items(lab, entry.split)[: limit or None]
    known = {item.id: item for item in shown}
    engine = ScalarEngine(folder(lab, meta))
    rows, requests = [], []
    for j in said:
        item = known.get(j.item)
        if not isinstance(item, Comparison) or j.text == "":
            continue
        query = prompt.messages(item, j.order)
        requests.append(Request(messages=(), sampling=Sampling(1), query=query, responses=(j.text,)))
        head = {"profile": lab.profile, "seed": str(lab.seed), "judge": name, "item": item.id, "cluster": item.cluster}
        head |= {"section": section_of(item), "order": str(j.order), "state": str(j.state)}
        rows.append({**head, "sample": j.sample, "label": int(credit(item, j) == 1)})
    try:
        with Store(store(lab)) as texts:
            done = ask(engine, requests, texts)
    finally:
        engine.close()
    scores = [json.loads(c.text)[0] if c.finish == "stop" else math.nan for c in done]
    return pd.DataFrame(rows).assign(score=scores)


def meta_auc(scores: pd.DataFrame) -> pd.DataFrame:
    """AUC of a meta RM within an item, among its own samples in one order, and pooled over all.

    "within": mean over the lists of samples that hold both right and wrong ones, clustered by problem, of what the four
    sections hold and could be read: a judgment that nobody can read needs no meta RM. "within, reasoning": of that
    section. "within, all": also what could not be read (it counts as wrong) and the unseen family. "pooled": all that
    was read in the four sections together (it also rewards knowing which items are easy), bootstrap over problems.
    """
    out = []
    for (profile, seed, judge), every in scores.dropna(subset="score").groupby(
        ["profile", "seed", "judge"], sort=False
    ):
        head = {"profile": profile, "seed": seed, "judge": judge}
        part = within(every[every["state"] == str(State.READ)], "overall")
        for kind, of in (("within", part), ("within, reasoning", within(part, "reasoning")), ("within, all", every)):
            lists = [(p["cluster"].iloc[0], auc(p["label"], p["score"])) for _, p in of.groupby(["item", "order"])]
            both = [(cluster, value) for cluster, value in lists if not math.isnan(value)]
            e = clustered_mean([value for _, value in both], [cluster for cluster, _ in both])
            out.append({**head, "kind": kind, **bounds(e)})
        if part.empty:
            continue
        labels, values = part["label"].to_numpy(), part["score"].to_numpy()
        draws = []
        for weight in weights(part["cluster"], "meta auc"):
            index = np.repeat(np.arange(len(part)), weight)
            draws.append(auc(labels[index], values[index]))
        found = {"n": len(part), "value": auc(labels, values), **percentiles(draws)}
        out.append({**head, "kind": "pooled", **found})
    return pd.DataFrame(out)


def auc(labels: Any, scores: Any) -> float:
    """Chance that a right one has the higher score than a wrong one, ties half; NaN where one kind is missing."""
    y, ranks = np.asarray(labels, bool), rankdata(scores)
    right, wrong = int(y.sum()), int((~y).sum())
    if not right or not wrong:
        return math.nan
    return float((ranks[y].sum() - right * (right + 1) / 2) / (right * wrong))
