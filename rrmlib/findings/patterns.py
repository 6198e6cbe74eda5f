"""Reading traces in bulk, as tidy tables: pattern rates, when a judge decides, which steps matter, whether its verdict
follows from what it wrote, and length against correctness.

Tables of stored judgments (`rates`, `change`, `following`, `length`) take the rows of `judgments.gather`; for all but
`following` those of `recorded` will do (whose tokens are words where the source has none). The others take the answers
of `probed`, which asks judges about their own traces (`probe.py`). Shares are clustered by problem (`stats.py`); "all"
is every trace together, and the traces that are asked about are as many from each section. An unread forced verdict
differs from every verdict, and is wrong.

Left out: what counts as a pattern (`patterns.py`), as a step (`world/steps.py`), and its trustworthiness
(`measure/patterns.py`).

    rates(gather([lab], ["base-s", "rrm-s"]), load("lab"))
    found = probed(lab, ["base-s.careful", "rrm-s"], 120)
    curve(found), points(found), influence(found)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from rrmlib import patterns
from rrmlib.benchmarks import benchmark
from rrmlib.benchmarks.rows import data_path
from rrmlib.commitment import along, committed
from rrmlib.comparison import Comparison, Item
from rrmlib.engines.base import digest
from rrmlib.findings.judgments import (
    KEYS,
    bounds,
    coverage,
    credit,
    groups,
    percentiles,
    section_of,
    unsampled,
    weights,
)
from rrmlib.findings.traces import centred_ranks
from rrmlib.judge import open_judge
from rrmlib.judge import recorded as read_recorded
from rrmlib.judgment import Judgment, State
from rrmlib.lab import Lab, judged, put_to, store
from rrmlib.params import JudgeSpec, ParameterError
from rrmlib.patterns import Lexicon
from rrmlib.probe import probe
from rrmlib.stats import clustered_mean, paired_difference
from rrmlib.store import Store
from rrmlib.world import steps as world_steps
from rrmlib.world.problem import SECTIONS

CONCLUDE = "\nbest"  # how the lab's judges end their thinking
GRID = tuple(i / 10 for i in range(11))
THIRDS = ("early", "middle", "late")
RELATIONS = ("follows", "contradicts", "none ahead", "too little stated")
_SECOND = re.compile(r"\n(?:in |then )?[2B](?::| |,)")  # the line of the second response has begun
_FIRST = re.compile(r"\n(?:in )?[1A](?::| |,)")


# --- How often --------------------------------------------------------------------------------------------------------


def recorded(name: str, judges: Sequence[Mapping[str, Any]], *, data: str = "", profile: str = "") -> pd.DataFrame:
    """Rows of recorded judges (specs) of a benchmark, each on the items that it judged, with the columns that `rates`,
    `change` and `length` need. Raises DataError, and ParameterError for a judge that is not recorded."""
    bench, out = benchmark(name), []
    shown = bench.load(data_path(data)).items
    for spec in (JudgeSpec.parse(dict(each)) for each in judges):
        if spec.engine != "recorded":
            raise ParameterError(
                f"judge {spec.name!r}: only recorded judgments are read here, not engine {spec.engine}"
            )
        out.append(_rows_of(shown, read_recorded(spec, bench, shown), profile, spec.name))
    return pd.concat(out, ignore_index=True)


def _rows_of(shown: Sequence[Item], said: Sequence[Judgment], profile: str, judge: str) -> pd.DataFrame:
    known = {item.id: item for item in shown}
    head = dict(zip(KEYS, (profile, "0", judge, "recorded")))
    return pd.DataFrame(
        {
            **head,
            "item": j.item,
            "cluster": known[j.item].cluster or j.item,
            "section": known[j.item].subset,
            "subset": known[j.item].subset,
            "difficulty": known[j.item].difficulty,
            "state": str(j.state),
            "credit": credit(known[j.item], j),
            "tokens": j.tokens if j.tokens >= 0 else len(j.text.split()),
            "text": j.text,
        }
        for j in said
    )


def rates(rows: pd.DataFrame, lexicon: Lexicon) -> pd.DataFrame:
    """Per judge and family: `measure` "share" (traces with at least one), "per trace" (mean) and "per 100 words"."""
    out: list[dict[str, Any]] = []
    for key, part in groups(_counted(rows, lexicon), False):
        clusters = list(part["cluster"])
        for family in lexicon.families:
            found = {
                "share": patterns.share(part[family], clusters),
                "per trace": patterns.per_words(part[family], np.ones(len(part)), clusters, per=1),
                "per 100 words": patterns.per_words(part[family], part["words"], clusters),
            }
            words = {"words": part["words"].mean()}
            out += [
                {**key, "family": family, "measure": name, **bounds(e), **words, **coverage(part)}
                for name, e in found.items()
            ]
    return pd.DataFrame(out)


def change(rows: pd.DataFrame, lexicon: Lexicon, pairs: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Per 100 words and per trace, after minus before, of each pair {"before": judge, "after": judge, "mode": ...};
    bootstrap over the problems that both judged. Raises ValueError for a judge that is not there."""
    counted, out = _counted(rows, lexicon), []
    by = {(key["profile"], key["seed"], key["judge"], key["mode"]): part for key, part in groups(counted, False)}
    for profile, seed in dict.fromkeys(key[:2] for key in by):
        for pair in pairs:
            mode = pair.get("mode", "greedy")
            sides = [by.get((profile, seed, pair[side], mode)) for side in ("before", "after")]
            if any(side is None for side in sides):
                raise ValueError(
                    f"change {dict(pair)}: no {mode} judgments of it; judges are: {sorted({k[2] for k in by})}"
                )
            before, after = (side for side in sides if side is not None)
            both = set(before["cluster"]) & set(after["cluster"])
            joined = pd.concat([before.assign(after=0), after.assign(after=1)])
            joined = joined[joined["cluster"].isin(both)]
            is_after = joined["after"].to_numpy() == 1
            drawn = np.vstack([np.ones((1, len(joined)), int), weights(joined["cluster"], "change")])
            for family in lexicon.families:
                for measure, under in (
                    ("per 100 words", joined["words"].to_numpy() / 100),
                    ("per trace", np.ones(len(joined))),
                ):
                    x = joined[family].to_numpy(float)
                    each = [
                        (drawn[:, m] @ x[m]) / np.maximum(drawn[:, m] @ under[m], 1e-9) for m in (is_after, ~is_after)
                    ]
                    d = each[0] - each[1]
                    head = {
                        "profile": profile,
                        "seed": seed,
                        "mode": mode,
                        "before": pair["before"],
                        "after": pair["after"],
                    }
                    found = {"n": int(is_after.sum()), "value": d[0], **percentiles(d[1:])}
                    out.append({**head, "family": family, "measure": measure, **found})
    return pd.DataFrame(out)


def _counted(rows: pd.DataFrame, lexicon: Lexicon) -> pd.DataFrame:
    """Judgments with a text, their words, and how many marks of each family they have."""
    part = rows[(rows["text"] != "") & (rows["state"] != str(State.ERROR))].reset_index(drop=True)
    found = [[family for *_, family in patterns.marks(text, lexicon)] for text in part["text"]]
    counts = {family: [each.count(family) for each in found] for family in lexicon.families}
    return part.assign(words=[len(text.split()) for text in part["text"]], **counts)


# --- Asking judges about their own traces -----------------------------------------------------------------------------


def probed(
    lab: Lab,
    names: Sequence[str],
    comparisons: int,
    *,
    conclude: str = CONCLUDE,
    answer_tokens: int = 12,
    edits: bool = True,
) -> pd.DataFrame:
    """What judges of lab.yaml answer about their own first traces of `comparisons` comparisons, as many from each
    section, in both orders.

    One row per question: profile, seed, judge, mode, item, cluster, section, difficulty, best (position, as shown, of
    the better response), what `probe.Probed` has, and `step_kind`. Everything is kept in the profile's store. Raises
    ParameterError where a judge has not judged.
    """
    out: list[dict[str, Any]] = []
    for name in names:
        entry = lab.judge(name)
        chosen = spread(put_to(lab, name), comparisons)
        said = [j for j in judged(lab, name) if j.item in chosen and j.sample == 0]
        judge = open_judge(entry.spec)
        try:
            with Store(store(lab)) as texts:
                found = probe(
                    judge,
                    list(chosen.values()),
                    said,
                    texts,
                    conclude=conclude,
                    breaks=world_steps.BREAKS,
                    corrupt=world_steps.corrupt,
                    answer_tokens=answer_tokens,
                    edits=edits,
                )
        finally:
            judge.engine.close()
        if not found:
            raise ParameterError(f"judge {name!r}: none of its {len(said)} traces has a step before its verdict")
        mode = "sampled" if entry.spec.temperature > 0 else "greedy"
        head = dict(zip(KEYS, (lab.profile, str(lab.seed), unsampled(name) if mode == "sampled" else name, mode)))
        for p in found:
            item = chosen[p.item]
            better = int(item.label == "second")
            about = {"cluster": item.cluster, "section": section_of(item), "difficulty": int(item.difficulty)}
            best = better if p.order == "AB" else 1 - better
            out.append({**head, **about, **vars(p), "best": best, "step_kind": world_steps.kind(p.step_text)})
    return pd.DataFrame(out)


def spread(shown: Sequence[Item], many: int) -> dict[str, Comparison]:
    """The first comparisons, by id, as many of each of the four sections (`many` in all, or what there is)."""
    by: dict[str, list[Comparison]] = {section: [] for section in SECTIONS}
    for item in shown:
        if isinstance(item, Comparison) and section_of(item) in by:
            by[section_of(item)].append(item)
    return {item.id: item for part in by.values() for item in part[: max(1, round(many / len(SECTIONS)))]}


def _sections(part: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """All sections together ("all"), then each; without those that no judge was trained for."""
    part = part[~part["section"].isin(("unseen", "lists"))]
    yield "all", part
    names = dict.fromkeys([*SECTIONS, *part["section"]])
    yield from ((name, here) for name in names if len(here := part[part["section"] == name]))


def _share(values: Any, part: pd.DataFrame) -> dict[str, Any]:
    return bounds(clustered_mean(np.asarray(values, float), list(part["cluster"])))


def _cuts(probes: pd.DataFrame) -> pd.DataFrame:
    """One row per trace: its cuts in order (`fractions`, and at each the `verdicts`, `margins`), and what it is."""
    cuts = probes[probes["kind"] == "cut"].sort_values("step", kind="stable")
    by = [*KEYS, "item", "order", "sample"]
    lists = {"fractions": ("fraction", list), "verdicts": ("verdict", list), "margins": ("margin", list)}
    kept = {name: (name, "first") for name in ("cluster", "section", "difficulty", "final", "best")}
    return cuts.groupby(by, sort=False).agg(**lists, **kept).reset_index()


def curve(probes: pd.DataFrame, grid: Sequence[float] = GRID) -> pd.DataFrame:
    """The commitment curve: at each fraction of the body (the last cut at or before it), the share of traces whose
    forced verdict is the final one ("as the final"), is right ("right"), is for the response shown second ("second"),
    could not be read ("unread"), and whose margin leans to the final one ("margin as the final")."""
    out: list[dict[str, Any]] = []
    for key, part in groups(_cuts(probes), False):
        for section, here in _sections(part):
            final, best = here["final"].to_numpy(), here["best"].to_numpy()
            said = np.array([along(f, _numbers(v), grid) for f, v in zip(here["fractions"], here["verdicts"])])
            leans = np.array([along(f, m, grid) for f, m in zip(here["fractions"], here["margins"])])
            for i, fraction in enumerate(grid):
                v, m = said[:, i], leans[:, i]
                measures = {"as the final": v == final, "right": v == best, "second": v == 1, "unread": np.isnan(v)}
                if not np.isnan(m).any():
                    measures["margin as the final"] = np.where(m > 0, 0, 1) == final
                head = {**key, "section": section, "fraction": fraction}
                out += [{**head, "measure": name, **_share(values, here)} for name, values in measures.items()]
    return pd.DataFrame(out)


def _numbers(verdicts: Sequence[Any]) -> list[float]:
    return [math.nan if v is None or v != v else float(v) for v in verdicts]


def points(probes: pd.DataFrame, baseline: str = "") -> pd.DataFrame:
    """When judges are committed: the mean fraction of the body that is written by then (`value`, with interval), its
    quartiles, the shares committed before anything was written (`at once`) and never (told to close after all of it,
    they say something else).

    `unit` "trace" is each trace alone. But who answers "the first" whenever interrupted is committed at once in half of
    them; so `unit` "comparison" takes the later of both orders: who decides by content must have come to it in both.
    `against`, `difference` and its bounds compare with judge `baseline` on the comparisons that both have, paired.
    """
    traces = _cuts(probes)
    where = [committed(_numbers(v), f) for v, f in zip(traces["verdicts"], traces["final"])]
    traces["at"] = [math.nan if i is None else f[i] for i, f in zip(where, traces["fractions"])]
    later = traces.groupby([*KEYS, "item"], sort=False)["at"].agg(lambda at: at.max(skipna=False))
    units = {"trace": traces, "comparison": traces.drop_duplicates([*KEYS, "item"]).drop(columns="at")}
    units["comparison"] = units["comparison"].merge(later.reset_index(), on=[*KEYS, "item"])
    out: list[dict[str, Any]] = []
    for unit, rows in units.items():
        for key, part in groups(rows, False):
            other = rows[(rows["judge"] == baseline) & (rows["seed"] == key["seed"]) & (key["judge"] != baseline)]
            for section, here in _sections(part):
                at = here["at"].dropna()
                row = {**key, "section": section, "unit": unit, **_share(here["at"], here)}
                row |= dict(zip(("q1", "median", "q3"), at.quantile([0.25, 0.5, 0.75])))
                row |= {"at once": float((at == 0).mean()), "never": float(here["at"].isna().mean())}
                if len(other):
                    on = ["item", "order", "sample"]
                    both = here.merge(other[[*on, "at"]], on=on, suffixes=("", "_b"))
                    d = paired_difference(both["at"], both["at_b"], list(both["cluster"]))
                    row |= {"against": baseline, "difference": d.value, "d_lo": d.lo, "d_hi": d.hi}
                out.append(row)
    return pd.DataFrame(out)


def interrupted(probes: pd.DataFrame) -> pd.DataFrame:
    """What is confounded in a forced verdict: the share of cuts after which the judge names the response shown SECOND
    (unread left out, and counted in `unread`), by how far the trace has come (`reached`: neither, the first, both) and
    by which response is the better (`better`). A judge that went by what it had written would name the second seldom
    where the first is the better; one that names what it has not come to does so always."""
    cuts = probes[(probes["kind"] == "cut") & (probes["step"] < probes["of"] - 1)]
    if cuts.empty:
        return pd.DataFrame()
    body = [text.rsplit(CONCLUDE, 1)[0] for text in cuts["text"]]
    reached = np.where([bool(_SECOND.search(b)) for b in body], "both", "neither")
    reached = np.where((reached == "neither") & [bool(_FIRST.search(b)) for b in body], "the first", reached)
    cuts = cuts.assign(reached=reached, better=np.where(cuts["best"] == 1, "second", "first"))
    out: list[dict[str, Any]] = []
    for key, part in groups(cuts, False):
        for (come, better), here in part.groupby(["reached", "better"], sort=False):
            read = here[here["verdict"].notna()]
            row = {**key, "reached": come, "better": better, **_share(read["verdict"] == 1, read)}
            out.append({**row, "unread": float(here["verdict"].isna().mean())})
    return pd.DataFrame(out)


def influence(probes: pd.DataFrame) -> pd.DataFrame:
    """Which steps matter: the share of verdicts that change when a step is removed, corrupted, or corrupted and the
    rest thought anew ("misled"), `by` kind of step and by position (third of the body in which it ends).

    What they change from: the verdict after closing with nothing removed; for "misled" the one that the judge comes to
    by itself. Two controls stand beside them: "nothing removed" (that verdict against the trace's own) and, for
    sampled traces, "thought anew" (greedily from the same place, with nothing changed). `right` is the share of right
    verdicts after the edit, `was_right` before it.
    """
    place = ["judge", "mode", "seed", "item", "order", "sample"]
    whole = probes[(probes["kind"] == "cut") & (probes["step"] == probes["of"] - 1)]
    kept = probes.merge(whole[[*place, "verdict"]].rename(columns={"verdict": "control"}), on=place)
    anew = probes[probes["kind"] == "continued"][[*place, "step", "verdict"]].rename(columns={"verdict": "own"})
    kept = kept.merge(anew, on=[*place, "step"], how="left") if len(anew) else kept.assign(own=None)
    kept["own"] = kept["own"].astype(object).where(kept["own"].notna(), kept["final"])
    kept["third"] = [THIRDS[min(2, int(3 * max(0.0, f - 1e-9)))] for f in kept["fraction"]]
    edits = {"removed": "control", "corrupted": "control", "misled": "own"}
    out: list[dict[str, Any]] = []
    for key, part in groups(kept, False):
        control = part[(part["kind"] == "cut") & (part["step"] == part["of"] - 1)]
        again = part[part["kind"] == "continued"]
        for name, rows in (("nothing removed", control), ("thought anew", again)):
            if len(rows):
                out.append({**key, "edit": name, "by": "all", "of": "all", **_changed(rows, "final")})
        for edit, against in edits.items():
            here = part[part["kind"] == edit]
            cells = [("all", "all", here)]
            cells += [("kind", name, cell) for name, cell in here.groupby("step_kind")]
            cells += [("position", name, here[here["third"] == name]) for name in THIRDS]
            cells += [("section", name, cell) for name, cell in here.groupby("section")]
            for by, of, cell in cells:
                if len(cell):
                    out.append({**key, "edit": edit, "by": by, "of": of, **_changed(cell, against)})
    return pd.DataFrame(out)


def _changed(rows: pd.DataFrame, against: str) -> dict[str, Any]:
    now, before = (np.array(_numbers(rows[name])) for name in ("verdict", against))
    right = {"right": float((now == rows["best"]).mean()), "was_right": float((before == rows["best"]).mean())}
    return {**_share(now != before, rows), **right, "unread": float(np.isnan(now).mean())}


# --- What was said, and what it came to -------------------------------------------------------------------------------


def following(rows: pd.DataFrame) -> pd.DataFrame:
    """Does the verdict follow from what the trace states? Per judge, section and `source` ("marks": the grades that it
    gives the responses, `world/steps.py`; "best": its own last line before the verdict), the share of read judgments
    whose verdict follows, contradicts it, decides where no response is ahead, or where too little is stated; and
    `accuracy` in each, with interval."""
    sources = {"marks": world_steps.implied, "best": world_steps.concluded}
    out: list[dict[str, Any]] = []
    for key, part in groups(rows, False):
        read = part[part["picked"].notna()]
        for source, said in sources.items():
            found = [said(text, len(shown)) for text, shown in zip(read["text"], read["responses"])]
            how = [_relation(f, picked) for f, picked in zip(found, read["picked"])]
            for section, here in _sections(read.assign(how=how)):
                for relation in RELATIONS:
                    cell = here[here["how"] == relation]
                    right = clustered_mean(cell["credit"], list(cell["cluster"]))
                    row: dict[str, Any] = {**key, "section": section, "source": source, "relation": relation}
                    row |= _share(here["how"] == relation, here)
                    row |= {"accuracy": right.value, "a_lo": right.lo, "a_hi": right.hi, "in_it": len(cell)}
                    out.append({**row, **coverage(part)})
    return pd.DataFrame(out)


def _relation(said: int | None, picked: float) -> str:
    if said is None:
        return RELATIONS[3]
    return RELATIONS[2] if said == world_steps.TIE else RELATIONS[0 if said == picked else 1]


def length(rows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of a read judgment's length with its being right, within subset and difficulty
    (`traces.within_spearman`), per judge and section; bootstrap over problems, of the ranks among all. What was cut off
    is long and wrong by definition, and left out."""
    out: list[dict[str, Any]] = []
    for key, part in groups(rows[rows["state"] == str(State.READ)], False):
        for section, here in _sections(part):
            strata = here.groupby(["subset", "difficulty"]).ngroup().to_numpy()
            a, b = (centred_ranks(here[name], strata) for name in ("tokens", "credit"))
            drawn = np.vstack([np.ones((1, len(here)), int), weights(here["cluster"], "length")])
            spread = np.sqrt((drawn @ a**2) * (drawn @ b**2))
            found = np.divide(drawn @ (a * b), spread, out=np.full(len(drawn), np.nan), where=spread > 1e-12)
            row = {**key, "section": section, "n": len(here), "value": found[0]}
            out.append({**row, **percentiles(found[1:]), **coverage(part)})
    return pd.DataFrame(out)


# --- What to read -----------------------------------------------------------------------------------------------------


def worth_reading(rows: pd.DataFrame, before: str, after: str, many: int = 40) -> list[str]:
    """Ids of comparisons to look at side by side (greedy judgments): by turns one that the judge `after` gets wrong in
    both orders, one that only it gets right, one that only `before` gets right, and one that it decides by the order
    shown; sections by turns within each. Fewer where there are not as many. Raises ValueError."""
    greedy = rows[rows["mode"] == "greedy"]
    share = greedy.pivot_table(index="item", columns="judge", values="credit", aggfunc="mean", sort=False)
    if missing := [name for name in (before, after) if name not in share]:
        raise ValueError(f"no greedy judgments of {', '.join(missing)}")
    section = greedy.groupby("item", sort=False)["section"].first().reindex(share.index)
    share = share.iloc[np.argsort(section.groupby(section).cumcount(), kind="stable")]
    a, b = share[after], share[before]
    kinds = [share.index[found] for found in (a == 0, (a == 1) & (b < 1), (b == 1) & (a < 1), a == 0.5)]
    turns = [name for turn in zip_longest(*kinds) for name in turn if name is not None]
    return list(dict.fromkeys(turns))[:many]


def fingerprint(rows: pd.DataFrame) -> str:
    """sha256 of every judgment: it goes beside each figure. Rows of `recorded` will do."""
    columns = [*KEYS, "item", "state", "credit", "text"]
    return digest("patterns", [list(map(str, row)) for row in rows[columns].itertuples(index=False)])
