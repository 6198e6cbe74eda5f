"""How much accuracy for how many tokens: every way to spend compute on judging, on the same footing.

A STRATEGY is anything that gives an item a credit and a cost: k votes, a thinking budget, a stopping rule, a scalar
model. Each function here makes UNITS of it: one row per comparison with profile, seed, judge, strategy, k, section,
difficulty, credit (expected, over the subsets of the pool), tokens (generated, mean), unread (chance that nothing could
be read: it counts as wrong) and tie. `accuracy` and `differences` then treat all alike.

Prompts are not counted as tokens: a judgment reads about as much whatever the strategy, but k of them share it only
where the engine does.

Left out: several responses (`tournaments.py`), the mathematics (`vote.py`, `vote_sums.py`, `stopping.py`,
`spending.py`).

    units = pd.concat([votes(one, [1, 4, 16]), stopped(one, [beta(16, 0.05)])])
    accuracy(units)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rrmlib.findings.judgments import KEYS, OVERALL, bounds, estimate, expectation, per_item
from rrmlib.findings.pools import Floats, Pool, soft
from rrmlib.judge import open_judge
from rrmlib.lab import Lab, items
from rrmlib.spending import Run, compare, replay, sequence, spread
from rrmlib.stats import paired_difference
from rrmlib.stopping import Rule
from rrmlib.vote import Vote, majority
from rrmlib.vote_sums import meta_vote, score_sum
from rrmlib.vote_sums import soft as soft_vote
from rrmlib.world.problem import SECTIONS

HEAD = ["profile", "seed", "judge", "strategy", "k"]
DRAWS = 400  # subsets of a pool where there are too many to take all
SEQUENCES = 10  # seeded orders in which a stopping rule sees a pool


def votes(
    one: Pool,
    ks: Sequence[int],
    *,
    how: str = "majority",
    meta: Floats | None = None,
    p_first: Floats | None = None,
    meta_size: float = 1.0,
    profile: str = "",
    seed: int = 0,
) -> pd.DataFrame:
    """Units of k votes for every k of `ks`, balanced over both orders; k is the number of judgments paid for.

    A meta RM reads every judgment that it weighs: a token read costs as many FLOPs as one generated (2 N), so with a
    meta RM of `meta_size` judges' sizes each generated token counts 1 + `meta_size` times. Prompts are read too, by
    judge and meta RM, and counted for neither.

    `how`: "majority"; "soft" (`p_first`); "sum" of scores; "meta" (the better half by `meta`, summed) or "weighted"
    (all, weighted by it). Raises ValueError for a k beyond the pool and for a `how` that the pool has no data for.
    """
    ids = list(one.units["item"])
    out = []
    for k in ks:
        args: dict[str, Any] = {"orders": one.orders, "ids": ids, "draws": DRAWS}
        if how == "majority":
            vote = majority(one.choices, one.labels, k, orders=one.orders)
        elif how == "soft":
            if p_first is None:
                raise ValueError("soft votes need p_first (pools.soft)")
            vote = soft_vote(p_first, one.labels, k, **args)
        elif one.scores is None:
            raise ValueError(f"judge {one.judge!r} gives no scores: {how!r} needs them")
        elif how == "sum":
            vote = score_sum(one.scores, one.best, k, **args)
        elif how in ("meta", "weighted"):
            if meta is None:
                raise ValueError("meta-RM guided votes need the meta RM's scores (pools.meta)")
            vote = meta_vote(one.scores, one.best, meta, k, weighted=how == "weighted", **args)
        else:
            raise ValueError(f"how must be majority, soft, sum, meta or weighted, not {how!r}")
        units = _units(one, how, k, vote, profile, seed)
        weighs = how in ("meta", "weighted")
        out.append(units.assign(tokens=units["tokens"] * (1 + meta_size)) if weighs else units)
    return pd.concat(out, ignore_index=True)


def _units(one: Pool, how: str, k: int, vote: Vote, profile: str, seed: int) -> pd.DataFrame:
    # Every sample of an order is as likely to be among the k, and both orders give as many.
    cost = k * (one.tokens[:, one.orders == 0].mean(1) + one.tokens[:, one.orders == 1].mean(1)) / 2
    head = {"profile": profile, "seed": str(seed), "judge": one.judge, "strategy": how, "k": k}
    return one.units.assign(**head, credit=vote.credit(), tokens=cost, unread=vote.unread, tie=vote.tie)


def once(rows: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """Units of judges that are asked once (`judgments.gather`): greedy, forced at a budget, direct or scalar.

    Both orders of an item are averaged: what one judgment earns and costs. k is 1.
    """
    if rows.empty:
        return pd.DataFrame()
    out = []
    for key, part in rows.groupby(KEYS, sort=False):
        part = part.assign(unread=(part["state"] != "read").astype(float))
        units = per_item(part, "unread").drop(columns=["subset", "shown", "to_error"])
        head = dict(zip(KEYS[:3], map(str, key)))
        out.append(units.assign(**head, strategy=strategy, k=1, tie=0.0))
    return pd.concat(out, ignore_index=True)


def stopped(
    one: Pool, rules: Sequence[Rule], *, batch: int = 1, profile: str = "", seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(units, savings) of stopping rules on a pool, each averaged over `SEQUENCES` seeded sequences of its samples.

    savings: rule, declared error, section, what it differs from the full vote (paired accuracy, and in how many
    items), and the share of the full vote's tokens that it spends.
    """
    units, table = [], []
    for rule in rules:
        head = {"profile": profile, "seed": str(seed), "judge": one.judge, "strategy": rule.name, "k": rule.k_max}
        means = _averaged(one, partial(_replay, rule, batch))
        units.append(one.units.assign(**head, **means))
        for section in ("all", *SECTIONS):
            rows = np.flatnonzero(one.units["section"].isin(SECTIONS if section == "all" else [section]))
            if not len(rows):
                continue
            part = one.at(rows)
            saving = compare(
                rule,
                part.choices,
                part.labels,
                list(part.units["cluster"]),
                tokens=part.tokens,
                orders=part.orders,
                ids=list(part.units["item"]),
                seeds=range(SEQUENCES),
                batch=batch,
            )
            d = saving.difference
            found = {"declared": rule.error, "differs": saving.differs.value, "differs_hi": saving.differs.hi}
            spent = {"stopped": saving.stopped.value, "full": saving.full.value, "votes": saving.votes}
            row = {**head, "section": section, **bounds(d), **spent, **found, "share": saving.share}
            table.append({**row, "rounds": saving.rounds})
    return pd.concat(units, ignore_index=True), pd.DataFrame(table)


def spent(one: Pool, means: Sequence[float], *, k_max: int, profile: str = "", seed: int = 0) -> pd.DataFrame:
    """Units of a fixed budget of votes, spread by doubt (uncertainty) and evenly; `means` are votes per item.

    Averaged over `SEQUENCES` seeded sequences of the samples and as many lots among equally doubtful items."""
    out, per = [], float(one.tokens.mean())
    settings = {"per_vote": per, "width": max(1, len(one) // 4), "k_max": k_max, "ids": list(one.units["item"])}
    for mean in means:
        for by, name in (("uncertainty", "spread by doubt"), ("uniform", "spread evenly")):
            head = {"profile": profile, "seed": str(seed), "judge": one.judge, "strategy": name, "k": mean}
            play = partial(_spread, mean * per * len(one), {**settings, "by": by})
            out.append(one.units.assign(**head, **_averaged(one, play)))
    return pd.concat(out, ignore_index=True)


def _replay(rule: Rule, batch: int, choices: Floats, tokens: Floats, _: int) -> Run:
    return replay(rule, choices, tokens, batch=batch)


def _spread(budget: float, settings: Mapping[str, Any], choices: Floats, tokens: Floats, seed: int) -> Run:
    return spread(choices, budget, tokens, seed=seed, **settings)


def _averaged(one: Pool, play: Callable[[Floats, Floats, int], Run]) -> dict[str, Floats]:
    """Means per item of what `play` (choices, tokens, seed) makes of `SEQUENCES` seeded sequences of the pool."""
    sums = dict.fromkeys(("credit", "tokens", "unread", "tie", "votes"), np.zeros(len(one)))
    for each in range(SEQUENCES):
        order = sequence(one.choices.shape, one.orders, ids=list(one.units["item"]), seed=each)
        run = play(np.take_along_axis(one.choices, order, 1), np.take_along_axis(one.tokens, order, 1), each)
        found = (run.credit(one.labels), run.cost, np.isnan(run.verdict), run.verdict == 0.5, run.asked)
        sums = {name: total + value / SEQUENCES for (name, total), value in zip(sums.items(), found)}
    return sums


def soft_and_hard(
    lab: Lab, one: Pool, ks: Sequence[int], limit: int, *, profile: str = "", seed: int = 0
) -> pd.DataFrame:
    """Units of soft votes on the first `limit` comparisons of a pool, and of majority votes on the same ("hard").

    The judge's engine is asked for the probabilities of its verdicts' tokens. Raises Unsupported where it cannot.
    """
    few = one.at(range(min(limit, len(one))))
    entry = lab.judge(one.judge)
    judge = open_judge(entry.spec)
    try:
        p_first = soft(few, judge.engine, judge.prompt, items(lab, entry.split))
    finally:
        judge.engine.close()
    where: dict[str, Any] = {"profile": profile, "seed": seed}
    hard = votes(few, ks, **where).assign(strategy="hard")
    return pd.concat([votes(few, ks, how="soft", p_first=p_first, **where), hard], ignore_index=True)


# --- Tables -----------------------------------------------------------------------------------------------------------


def accuracy(units: pd.DataFrame, by: str = "section") -> pd.DataFrame:
    """Accuracy and mean tokens of every strategy and k, overall (four sections weighing the same) and by section, or
    by `difficulty` (reasoning only)."""
    out = []
    for key, part in units.groupby(HEAD, sort=False):
        head = dict(zip(HEAD, key))
        if by == "difficulty":
            part = part[part["section"] == "reasoning"]
            cells = [(d, cell, estimate(cell, "reasoning")) for d, cell in part.groupby("difficulty")]
        else:
            names = ["overall", *[s for s in (*SECTIONS, "unseen") if s in set(part["section"])]]
            cells = [
                (s, part[part["section"].isin(SECTIONS if s == "overall" else [s])], estimate(part, s)) for s in names
            ]
        for name, cell, found in cells:
            if found is None:
                continue
            means = {what: weighed(cell, what, name) for what in ("tokens", "unread", "tie")}
            out.append({**head, by: name, **bounds(found), **means})
    return pd.DataFrame(out)


def weighed(cell: pd.DataFrame, what: str, section: object) -> float:
    """The mean of a column; "overall" it is, as accuracy is, the mean of the sections' means."""
    return float(cell.groupby("section")[what].mean().mean() if section == "overall" else cell[what].mean())


def differences(units: pd.DataFrame, contrasts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """a - b of two strategies on the comparisons that both have, paired, beside what is expected of it.

    A contrast is {"a": [judge, strategy, k], "b": [...], "section": "reasoning", "least": 0.0, "most": ...}; section
    "overall" weighs four sections the same. `share` is a's tokens over b's. Raises ValueError for one that is not
    there.
    """
    by = {tuple(key): part for key, part in units.groupby(["judge", "strategy", "k"], sort=False)}
    out = []
    for contrast in contrasts:
        pair = []
        for side in ("a", "b"):
            judge, strategy, k = contrast[side]
            if (judge, strategy, k) not in by:
                there = "; ".join(f"{j} {s} {k}" for j, s, k in by)
                raise ValueError(f"contrast {dict(contrast)}: no units of {contrast[side]}; there are: {there}")
            pair.append(by[judge, strategy, k])
        section = contrast.get("section", "overall")
        both = pair[0].merge(pair[1][["item", "credit", "tokens"]], on="item", suffixes=("", "_b"))
        both = both[both["section"].isin(SECTIONS if section == "overall" else [section])]
        strata = (list(both["section"]), OVERALL) if section == "overall" else ()
        d = paired_difference(both["credit"], both["credit_b"], list(both["cluster"]), *strata)
        said, verdict = expectation(d.lo, d.hi, contrast.get("least"), contrast.get("most"))
        head = {name: both[name].iloc[0] for name in ("profile", "seed")}
        names = {side: "{} {} @{}".format(*contrast[side]) for side in ("a", "b")}
        share = weighed(both, "tokens", section) / max(1e-9, weighed(both, "tokens_b", section))
        out.append(
            {**head, **names, "section": section, **bounds(d), "expected": said, "verdict": verdict, "share": share}
        )
    return pd.DataFrame(out)


def limited(rows: pd.DataFrame, judges: Mapping[str, str], unlimited: str) -> pd.DataFrame:
    """Units of a judge at each thinking budget: judge `unlimited` (the one without a budget), strategy "budget", and as
    k the budget in tokens. `rows`: `judgments.gather`; `judges`: budget (tokens, as text) -> judge."""
    named = {float(budget): rows[rows["judge"] == name] for budget, name in judges.items()}
    return pd.concat([once(part, "budget").assign(judge=unlimited, k=budget) for budget, part in named.items()])


def budgets(rows: pd.DataFrame, judges: Mapping[str, str], unlimited: str) -> pd.DataFrame:
    """Accuracy, mean tokens and the share of forced verdicts by section, for each thinking budget (inf: none).
    Arguments as `limited`."""
    out = []
    for budget, name in {**{float(b): j for b, j in judges.items()}, math.inf: unlimited}.items():
        part = rows[rows["judge"] == name]
        found = accuracy(once(part, "budget"))
        for row in found.to_dict("records"):
            within = SECTIONS if row["section"] == "overall" else [row["section"]]
            forced = weighed(part[part["section"].isin(within)], "forced", row["section"])
            out.append({**row, "budget": budget, "forced": forced})
    return pd.DataFrame(out)


def frontier(table: pd.DataFrame, by: str = "section") -> pd.DataFrame:
    """A table of `accuracy` with `best`: whether no other strategy of the same cell is as good for fewer tokens."""
    best = []
    for _, cell in table.groupby(by, sort=False):
        cell = cell.sort_values(["tokens", "value"], ascending=[True, False])
        ahead = cell["value"].cummax().shift(fill_value=-1.0)
        best.append((cell["value"] > ahead + 1e-12).rename("best"))
    return table.join(pd.concat(best)) if best else table.assign(best=[])


def spending(units: pd.DataFrame) -> pd.DataFrame:
    """Where adaptive strategies spend: mean votes and tokens by section, and by difficulty within reasoning."""
    found = units.dropna(subset=["votes"]) if "votes" in units else units.iloc[:0]
    out = []
    for key, part in found.groupby(HEAD, sort=False):
        cells = [("section", name, cell) for name, cell in part.groupby("section")]
        reasoning = part[part["section"] == "reasoning"]
        cells += [("difficulty", str(name), cell) for name, cell in reasoning.groupby("difficulty")]
        for kind, name, cell in cells:
            means = {"votes": cell["votes"].mean(), "tokens": cell["tokens"].mean(), "value": cell["credit"].mean()}
            out.append({**dict(zip(HEAD, key)), "by": kind, "cell": name, "n": len(cell), **means})
    return pd.DataFrame(out)


def published() -> pd.DataFrame:
    """What the papers report of votes: paper, judge, strategy, k, benchmark, value, where. Other judges, other data."""
    return pd.read_csv(Path(__file__).with_name("published.csv"), dtype={"paper": str})
