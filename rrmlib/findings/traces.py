"""How the lab's judges think: length against difficulty, the world's checker on traces, behaviours, and where a gain
comes from.

Every function takes the rows of `judgments.gather`.

Left out: accuracy (`judgments.py`).

    effort(rows)                                          # does thinking grow with difficulty, at given prompt length?
    gain(rows, "base-s", "rrm-s", {"careful": "base-s.careful", "guess": "base-s.guess"})
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from rrmlib.findings.judgments import (
    KEYS,
    OVERALL,
    bounds,
    coverage,
    estimate,
    groups,
    per_item,
    percentiles,
    problem,
    weights,
    within,
)
from rrmlib.stats import clustered_mean, paired_difference
from rrmlib.world.check import statements
from rrmlib.world.judging import PREFIX
from rrmlib.world.problem import SECTIONS


def thinking(rows: pd.DataFrame, section: str = "reasoning") -> pd.DataFrame:
    """Mean length (tokens) of a judgment by shown steps and difficulty; the interval is that of a mean between 0 and
    the longest judgment."""
    out: list[dict[str, Any]] = []
    for key, part in groups(rows[rows["section"] == section], False):
        units = per_item(part)
        top = max(1.0, float(units["tokens"].max()))
        for (shown, difficulty), cell in units.groupby(["shown", "difficulty"]):
            e = bounds(clustered_mean(cell["tokens"].clip(lower=0) / top, list(cell["cluster"])))
            here = part[part["item"].isin(cell["item"])]
            scaled = {name: e[name] * top for name in ("value", "lo", "hi")}
            out.append({**key, "shown": shown, "difficulty": difficulty, "n": e["n"], **scaled, **coverage(here)})
    return pd.DataFrame(out)


def effort(rows: pd.DataFrame, section: str = "reasoning", against: str = "difficulty") -> pd.DataFrame:
    """Spearman correlation of length with difficulty at given subset and shown steps (`within_spearman`), per judge.

    `against` "to_error" asks instead whether a judge of worked responses stops where the first wrong step is.
    """
    out: list[dict[str, Any]] = []
    for key, part in groups(rows[rows["section"] == section], False):
        units = per_item(part)
        difficulty, tokens = units[against].to_numpy(float), units["tokens"].to_numpy(float)
        strata = units.groupby(["subset", "shown"]).ngroup().to_numpy()
        value = within_spearman(difficulty, tokens, strata)
        draws = []
        for weight in weights(units["cluster"], "effort"):
            index = np.repeat(np.arange(len(units)), weight)
            draws.append(within_spearman(difficulty[index], tokens[index], strata[index]))
        out.append({**key, "n": len(units), "value": value, **percentiles(draws), **coverage(part)})
    return pd.DataFrame(out)


def within_spearman(x: ArrayLike, y: ArrayLike, strata: ArrayLike) -> float:
    """Correlation of the ranks of x and y within strata, scaled by stratum size, centred and pooled; NaN where
    nothing varies."""
    a, b = centred_ranks(x, strata), centred_ranks(y, strata)
    spread = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / spread if spread > 1e-12 else math.nan


def centred_ranks(x: ArrayLike, strata: ArrayLike) -> NDArray[np.float64]:
    """The rank of each value among those of its stratum, less their mean, as a share of the stratum's size."""
    values = np.asarray(x, float)
    _, s, size = np.unique(np.asarray(strata), return_inverse=True, return_counts=True)
    order = np.unique(values, return_inverse=True)[1]
    r = rankdata(s * (len(values) + 1.0) + order)  # ranks of all, stratum after stratum
    return (r - (np.bincount(s, r) / size)[s]) / size[s]


def faithful(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(table, examples) of the world's checker on CORRECT judgments, per judge and section.

    `measure` is "all true" (at least one statement, none false), "states nothing" or "something false": they sum to 1.
    Examples hold the first false statement of a judgment, at most three per judge and section.
    """
    out: list[dict[str, Any]] = []
    examples: list[dict[str, Any]] = []
    right = rows[rows["credit"] == 1]
    for key, part in groups(right, False):
        for section, here in part.groupby("section", sort=False):
            kinds, shown = [], 0
            for row in here.itertuples():
                made = statements(row.text, problem(row.query), row.responses)
                false = next((s.text for s in made if not s.true), None)
                kinds.append("something false" if false is not None else "all true" if made else "states nothing")
                if false is not None and shown < 3:
                    shown += 1
                    said = {
                        "query": row.query,
                        "responses": " | ".join(row.responses),
                        "false": false,
                        "text": row.text,
                    }
                    examples.append({**key, "section": section, "item": row.item, **said})
            for measure in ("all true", "states nothing", "something false"):
                e = clustered_mean([float(kind == measure) for kind in kinds], list(here["cluster"]))
                all_of_it = rows[(rows[KEYS] == pd.Series(key)).all(axis=1) & (rows["section"] == section)]
                out.append({**key, "section": section, "measure": measure, **bounds(e), **coverage(all_of_it)})
    counted = [*KEYS, "section", "measure", "n", "value", "lo", "hi", "read", "unparsed", "truncated"]
    shown_as = [*KEYS, "section", "item", "query", "responses", "false", "text"]
    return pd.DataFrame(out, columns=counted), pd.DataFrame(examples, columns=shown_as)


def behaviours(rows: pd.DataFrame) -> pd.DataFrame:
    """How often each behaviour is used, per judge and section: share of judgments, one per comparison on average."""
    out: list[dict[str, Any]] = []
    for key, part in groups(rows, False):
        for section in ("overall", *dict.fromkeys(part["section"])):
            for name in (*PREFIX, "other", "none"):
                units = per_item(part.assign(used=part["behaviour"].eq(name).astype(float)), "used")
                found = estimate(units, section, "used")
                if found is not None and (found.value or name in PREFIX):
                    here = part if section == "overall" else part[part["section"] == section]
                    out.append({**key, "section": section, "behaviour": name, **bounds(found), **coverage(here)})
    return pd.DataFrame(out)


def gain(rows: pd.DataFrame, before: str, after: str, forced: Mapping[str, str], mode: str = "greedy") -> pd.DataFrame:
    """The gain of `after` over `before`, in two parts: choosing a behaviour, and doing it better.

    choosing = sum over behaviours of (share after - share before) x accuracy of the base when forced into it (`forced`:
    behaviour -> judge); doing = the rest. A behaviour that nobody was forced into counts with the accuracy of `before`
    where it used it, else 0 (so what is new is doing). Sections as in `sections`.

    Intervals are those of `differences`, paired and clustered by problem; choosing, a sum of products of means, enters
    with its linear part in each comparison. `read` is the least share read of the judges that a part rests on:
    `before` and `after`, and for choosing and doing the forced ones too (where unread, they count as wrong).
    """
    out: list[dict[str, Any]] = []
    names = (*PREFIX, "other", "none")
    for (profile, seed), part in rows.groupby(["profile", "seed"], sort=False):
        of = {judge: p for judge, p in part.groupby("judge") if judge in forced.values()}
        pair = [part[(part["judge"] == j) & (part["mode"] == mode)] for j in (before, after)]
        if missing := [j for j, p in zip((before, after), pair) if p.empty] + [
            j for j in forced.values() if j not in of
        ]:
            raise ValueError(f"gain: no judgments of {', '.join(missing)} ({mode})")
        units = per_item(pair[0])
        by = units.set_index("item")
        share = [
            p.groupby(["item", "behaviour"]).size().unstack(fill_value=0).reindex(columns=names, fill_value=0)
            for p in pair
        ]
        share = [s.div(s.sum(axis=1), axis=0).reindex(by.index).fillna(0.0).to_numpy() for s in share]
        credit = [p.groupby("item")["credit"].mean().reindex(by.index).to_numpy() for p in pair]
        own = pair[0].groupby("behaviour")["credit"].mean()
        skill = np.tile([own.get(name, 0.0) for name in names], (len(by), 1))
        for name, judge in forced.items():
            skill[:, names.index(name)] = of[judge].groupby("item")["credit"].mean().reindex(by.index).to_numpy()
        if np.isnan(skill).any() or np.isnan(credit[1]).any():
            raise ValueError(f"gain: {before}, {after} and the forced judges did not judge the same comparisons")
        chosen = np.zeros(len(by))  # what each comparison adds to choosing: their mean is the product of the means
        for section in dict.fromkeys(by["section"]):
            here = (by["section"] == section).to_numpy()
            moved, worth = (share[1] - share[0])[here], skill[here]
            chosen[here] = moved @ worth.mean(0) + worth @ moved.mean(0) - moved.mean(0) @ worth.mean(0)
        base = {"total": credit[0], "choosing": np.zeros(len(by)), "doing": credit[0] + chosen}
        units = by.assign(**{f"{name}_b": values for name, values in base.items()})
        units = units.assign(total=credit[1], choosing=chosen, doing=credit[1])
        there = set(by["section"])
        for section in ("overall", *[s for s in (*SECTIONS, "unseen", "lists") if s in there]):
            if section == "overall" and not set(SECTIONS) <= there:
                continue
            rested = [coverage(within(p, section))["read"] for p in (*pair, *of.values())]
            cell = within(units, section)
            strata = (list(cell["section"]), OVERALL) if section == "overall" else ()
            head = {"profile": profile, "seed": seed, "judge": after, "before": before, "mode": mode}
            for name in base:
                d = paired_difference(cell[name], cell[f"{name}_b"], list(cell["cluster"]), *strata, pseudo=True)
                read = min(rested[:2] if name == "total" else rested)
                out.append({**head, "section": section, "part": name, **bounds(d), "read": read})
    return pd.DataFrame(out)
