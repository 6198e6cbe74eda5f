"""The generated world as tables: examples, counts, what is frozen, disjoint splits, leaks, and RM-R1's two oracles.

Left out: generating (`world/`), what judges make of it (`judgments.py`).

    shown = splits(load("laptop"))                        # both of rrmlib.lab
    counts(shown); disjoint(shown); leak_table(shown["rl"], shown["test"])
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rrmlib.comparison import CandidateSet, Comparison, Item, Order
from rrmlib.findings.judgments import bounds, problem, section_of
from rrmlib.lab import Lab, items, world
from rrmlib.prompt import load_prompt
from rrmlib.stats import clustered_mean
from rrmlib.world import VERSION
from rrmlib.world import data as world_data
from rrmlib.world.leaks import leaks, list_leaks
from rrmlib.world.oracle import first_oracle, second_oracle
from rrmlib.world.pairs import SECTION, digest, shown_steps
from rrmlib.world.problem import SECTIONS, split_of, stream


def examples(shown: Sequence[Item], per_subset: int = 1, seed: int = 0) -> pd.DataFrame:
    """Comparisons drawn from each subset: section, subset, difficulty, query, better, worse."""
    out = []
    for subset in SECTION:
        there = [c for c in shown if isinstance(c, Comparison) and c.subset == subset and c.label]
        for c in stream("examples", subset, seed).sample(there, min(per_subset, len(there))):
            better, worse = c.responses if c.label == "first" else c.responses[::-1]
            head = {"section": SECTION[subset], "subset": subset, "difficulty": int(c.difficulty)}
            out.append({**head, "query": c.query[0].content, "better": better, "worse": worse})
    return pd.DataFrame(out)


def counts(splits: Mapping[str, Sequence[Item]], *by: str) -> pd.DataFrame:
    """n items (and n problems) of each split by section and `by` (subset, source, difficulty, shown)."""
    rows = [
        {
            "split": split,
            "section": section_of(item),
            "subset": item.subset,
            "source": item.source,
            "difficulty": int(item.difficulty),
            "shown": shown_steps(problem(item.query[0].content)),
            "cluster": item.cluster,
        }
        for split, shown in splits.items()
        for item in shown
    ]
    keys = ["split", "section", *by]
    found = pd.DataFrame(rows).groupby(keys, sort=False)["cluster"].agg(n="size", problems="nunique")
    return found.reset_index()


def frozen(lab: Lab) -> pd.DataFrame:
    """split, n, sha256 of the file here; `content` is the hash of the frozen comparisons, `as stated` what the library
    states of them (only valid, test and its lists are frozen; what is trained on is drawn per seed)."""
    folder = world(lab)
    stated = json.loads((world_data.HERE / "frozen.json").read_text("ascii"))
    here = json.loads((folder / "sha256.json").read_text("utf-8"))
    found = {split: digest(world_data.frozen(split)) for split in ("valid", "test")}
    found["test-lists"] = digest([item for item in items(lab, "test-lists") if isinstance(item, CandidateSet)])
    rows: list[dict[str, Any]] = [
        {
            **{"profile": lab.profile, "seed": str(lab.seed), "version": VERSION, "split": split, **file},
            **{
                "content": found.get(split, ""),
                "as stated": found[split] == stated.get(split) if split in found else "",
            },
        }
        for split, file in here.items()
    ]
    return pd.DataFrame(rows)


def disjoint(splits: Mapping[str, Sequence[Item]]) -> pd.DataFrame:
    """Canonical problems of each split, how many of them it shares with each other split, and `misplaced`: those that
    do not belong to it by their hash. Splits are drawn by that hash, so nothing misplaced means disjoint from all other
    splits, the text of pretraining and the policy's too. "rl-lists" and "rl" are lists and pairs of one split."""
    names = {split: split.removesuffix("-lists") for split in splits}
    problems: dict[str, set[str]] = {}
    for split, shown in splits.items():
        problems.setdefault(names[split], set()).update(item.cluster for item in shown)
    return pd.DataFrame(
        {
            "split": split,
            "problems": len(mine),
            **{
                f"shared with {other}": len(mine & theirs) if other != split else 0
                for other, theirs in problems.items()
            },
            "misplaced": sum(split_of(name) != split for name in mine),
        }
        for split, mine in problems.items()
    )


def leak_table(train: Sequence[Item], test: Sequence[Item]) -> pd.DataFrame:
    """`world.leaks`: probe, section, n, value (accuracy without the query), lo, hi, tempts, made, leaks."""
    pairs = [[c for c in shown if isinstance(c, Comparison)] for shown in (train, test)]
    table = pd.DataFrame(leaks(*pairs)).rename(columns={"accuracy": "value"})
    return table[["probe", "section", "n", "value", "lo", "hi", "tempts", "made", "leaks"]]


def list_leak_table(shown: Sequence[Item]) -> pd.DataFrame:
    """`world.list_leaks`: probe, lists, n, value (how often the response most like the others is the best), lo, hi,
    chance, leaks."""
    table = pd.DataFrame(list_leaks([item for item in shown if isinstance(item, CandidateSet)]))
    table = table.rename(columns={"accuracy": "value"})
    return table[["probe", "lists", "n", "value", "lo", "hi", "chance", "leaks"]]


def oracles(shown: Sequence[Item], format: str, seed: int) -> pd.DataFrame:
    """What RM-R1's oracles write on a training split, a row per comparison: item, cluster, section, order, `first` and
    `second` (whether the trace reaches the label; the second rewrites only what the first got wrong)."""
    prompt, style, out = load_prompt(format), format.removesuffix("_compact"), []
    pairs = [c for c in shown if isinstance(c, Comparison) and SECTION[c.subset] != "unseen"]
    for number, item in enumerate(pairs):
        order = (Order.AB, Order.BA)[number % 2]  # as world.distil
        said = first_oracle(item, order, style, seed)
        first = second = world_data.is_right(prompt, said, item, order)
        if not first:
            again = second_oracle(item, order, style, seed, said)
            second = world_data.is_right(prompt, again, item, order)
        head = {"item": item.id, "cluster": item.cluster, "section": SECTION[item.subset], "order": str(order)}
        out.append({**head, "first": first, "second": second})
    return pd.DataFrame(out)


def filtered(said: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The share of right traces in what each arm learns from, by section: `way` "first oracle" (nothing dropped),
    "corrected" (as published), "dropped", and "random" (as many as "dropped", by chance: the control). `kept` is the
    share of all traces that the arm keeps."""
    kept = said[said["first"]]
    chance = sorted(stream("random control", seed).sample(range(len(said)), len(kept)))  # as world.distil
    ways = {"first oracle": said.assign(right=said["first"]), "corrected": said.assign(right=said["second"])}
    ways |= {"dropped": kept.assign(right=True), "random": said.iloc[chance].assign(right=said["first"].iloc[chance])}
    out = []
    for way, part in ways.items():
        for section in ("overall", *[s for s in SECTIONS if s in set(said["section"])]):
            here, of = (t if section == "overall" else t[t["section"] == section] for t in (part, said))
            e = clustered_mean(here["right"].astype(float), list(here["cluster"]))
            out.append({"seed": str(seed), "way": way, "section": section, **bounds(e), "kept": len(here) / len(of)})
    return pd.DataFrame(out)
