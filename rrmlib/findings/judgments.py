"""Judgments of the lab -> accuracy by section and paired differences, as tidy tables.

`gather` reads the judgments of a lab into one row per judgment (`readings`); everything else makes a table of those
rows. Tables have profile, seed, judge, mode, n, value, lo, hi and the shares `read`, `unparsed`, `truncated`. The unit
is the comparison: both orders and all samples of it are averaged first; an unreadable judgment is wrong, a tie is half
right. `pooled=True` takes all seeds together (seed "all"): the interval is that of the test comparisons for these very
models, `least` and `most` are the range over seeds.

Intervals come from `stats.py`. Where a quantity is no mean (a rank correlation, a ratio, a pooled AUC) they are
percentiles of `DRAWS` bootstrap draws of whole problems (`weights`), from a derived seed.

Left out: traces (`traces.py`), training (`models.py`).

    rows = gather([load("laptop", seed=0)], ["base-s", "rrm-s"])
    sections(rows)
    differences(rows, [{"a": "rrm-s", "b": "base-s", "least": 0.2}])
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rrmlib.comparison import Comparison, Item
from rrmlib.engines.base import digest
from rrmlib.judgment import Judgment, Scores, State
from rrmlib.lab import Lab, items, judged, need_judged
from rrmlib.params import ParameterError
from rrmlib.probe import picked
from rrmlib.stats import Difference, Estimate, clustered_mean, holm, over_runs, paired_difference, stratified_mean
from rrmlib.world.families import problem_of
from rrmlib.world.judging import PREFIX
from rrmlib.world.pairs import SECTION, shown_steps, steps_to_error
from rrmlib.world.problem import SECTIONS, Problem

DRAWS = 1000
UNREADABLE = 0.5  # a judge that was read less often than this has no accuracy: tables say that it cannot be read
KEYS = ["profile", "seed", "judge", "mode"]
OVERALL = dict.fromkeys(SECTIONS, 1 / len(SECTIONS))
# A trace names its behaviour where its own words begin: at once, in the thinking, or in the part of its format.
_SPOKEN = re.compile(rf"(?:\A|<think>\s*|<solution>|<eval>\s*|Analysis: )({'|'.join(map(re.escape, PREFIX.values()))})")
_BEHAVIOUR = {prefix: name for name, prefix in PREFIX.items()}


# --- Rows -------------------------------------------------------------------------------------------------------------


def gather(labs: Sequence[Lab], names: Sequence[str]) -> pd.DataFrame:
    """One row per judgment of these judges of lab.yaml, in every lab (one lab per seed); columns as `readings`.

    A judge with a temperature has mode "sampled", and its name loses a final ".t1"; others are "greedy". Raises
    ParameterError, with the command to give, for a judge that is not there and for all that have not judged.
    """
    parts = []
    for lab in labs:
        need_judged(lab, names)  # all that are missing, before the first is read
        shown: dict[str, Sequence[Item]] = {}
        for name in names:
            said = judged(lab, name)
            entry = lab.judges[name]
            if entry.split not in shown:
                shown[entry.split] = items(lab, entry.split)
            sampled = entry.spec.temperature > 0
            plain = unsampled(name) if sampled else name
            mode = "sampled" if sampled else "greedy"
            parts.append(readings(shown[entry.split], said, profile=lab.profile, seed=lab.seed, judge=plain, mode=mode))
    if not parts:
        raise ParameterError("no judges given: name some that params/<profile>/lab.yaml has under `judges`")
    return pd.concat(parts, ignore_index=True)


def readings(
    shown: Sequence[Item], said: Sequence[Judgment], *, profile: str = "", seed: int = 0, judge: str, mode: str
) -> pd.DataFrame:
    """profile, seed, judge, mode, item, cluster, section, subset, difficulty, shown (steps that the query shows),
    to_error (steps up to the first wrong one of a worked response, else the difficulty), order, sample, state, credit
    (1 right, 0.5 tie, 0 wrong or unread), picked (position as shown, -1 a tie, NaN where unread), tokens, forced (at a
    thinking budget), behaviour, query, responses, text.

    Raises ValueError for a judgment of an item that is not there.
    """
    known = {item.id: item for item in shown}
    rows = []
    for j in said:
        if j.item not in known:
            raise ValueError(f"judge {judge!r}: a judgment of {j.item!r}, which is not in the world: judge it again")
        item = known[j.item]
        query = item.query[0].content
        rows.append(
            {
                **dict(zip(KEYS, (profile, str(seed), judge, mode))),
                "item": item.id,
                "cluster": item.cluster,
                "section": section_of(item),
                "subset": item.subset,
                "difficulty": int(item.difficulty),
                "shown": shown_steps(problem(query)),
                "to_error": _to_error(item),
                "order": str(j.order),
                "sample": j.sample,
                "state": str(j.state),
                "credit": credit(item, j),
                "picked": math.nan if (place := picked(j.reading)) is None else float(place),
                "tokens": j.tokens,
                "forced": j.forced,
                "behaviour": behaviour(j.text),
                "query": query,
                "responses": item.shown(j.order),
                "text": j.text,
            }
        )
    if not rows:
        raise ValueError(f"judge {judge!r}: no judgments")
    return pd.DataFrame(rows)


def _to_error(item: Item) -> int:
    """Steps up to the error of a comparison; of a list, its difficulty."""
    if not isinstance(item, Comparison):
        return int(item.difficulty)
    return steps_to_error(problem(item.query[0].content), item.second if item.label == "first" else item.first)


def behaviour(text: str) -> str:
    """The behaviour of `world.judging` that a trace names in any format; "other" for other words, "none" for none."""
    found = _SPOKEN.search(text)
    if found:
        return _BEHAVIOUR[found[1]]
    return "other" if re.search(r"<think>|<eval>|<solution>|Analysis: ", text) else "none"


def unsampled(name: str) -> str:
    """The name of a judge without its ".t1"."""
    return re.sub(r"\.t[\d.]+\Z", "", name)


def fingerprint(rows: pd.DataFrame) -> str:
    """sha256 of every judgment and the item it is about: it goes beside each figure."""
    lines = rows[[*KEYS, "item", "order", "sample", "state", "query", "responses", "credit", "text"]]
    return digest("rows", [list(map(str, row)) for row in lines.itertuples(index=False)])


def section_of(item: Item) -> str:
    """The section that an item counts in; "lists" for a list of candidates, or a pair of one."""
    return SECTION.get(item.subset, "lists") if isinstance(item, Comparison) else "lists"


def credit(item: Item, judgment: Judgment) -> float:
    """1 right, 0.5 a tie, 0 wrong or unread."""
    reading = judgment.in_item_order()
    if isinstance(item, Comparison):
        choice = reading.verdict.choice if reading.verdict else None
        return 0.5 if choice == "tie" else float(choice is not None and choice == item.label)
    if not isinstance(reading.value, Scores) or reading.value.partial:
        return 0.0
    top = reading.value.top
    return float(any(i in item.best for i in top)) / len(top)


@lru_cache(maxsize=100_000)
def problem(query: str) -> Problem:
    return problem_of(query)


def groups(rows: pd.DataFrame, pooled: bool) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    if pooled:
        rows = rows.assign(run=rows["seed"], seed="all")
    for key, part in rows.groupby(KEYS, sort=False):
        yield dict(zip(KEYS, map(str, key))), part


def per_item(rows: pd.DataFrame, *means: str) -> pd.DataFrame:
    """One row per comparison (and run): what is said of it, and the mean of credit, tokens and `means`."""
    by = [c for c in ("run", "item") if c in rows.columns]
    kept = {name: (name, "first") for name in ("cluster", "section", "subset", "difficulty", "shown", "to_error")}
    averaged = {name: (name, "mean") for name in ("credit", "tokens", *means)}
    return rows.groupby(by, sort=True).agg(**averaged, **kept).reset_index()


def coverage(rows: pd.DataFrame) -> dict[str, float]:
    share = rows["state"].value_counts(normalize=True)
    return {str(s): float(share.get(str(s), 0.0)) for s in (State.READ, State.UNPARSED, State.TRUNCATED)}


def bounds(e: Any) -> dict[str, Any]:
    return {"n": e.n, "value": e.value, "lo": e.lo, "hi": e.hi}


def within(rows: pd.DataFrame, section: str) -> pd.DataFrame:
    """The rows of one section, or of all four ("overall")."""
    return rows[rows["section"].isin(SECTIONS if section == "overall" else [section])]


def estimate(units: pd.DataFrame, section: str, column: str = "credit") -> Estimate | None:
    """The mean of one section, or of all four with equal weight ("overall"); None where a section is missing."""
    part = within(units, section)
    if part.empty or (section == "overall" and set(part["section"]) != set(SECTIONS)):
        return None
    if section == "overall":
        return stratified_mean(part[column], list(part["cluster"]), list(part["section"]), OVERALL)
    return clustered_mean(part[column], list(part["cluster"]))


# --- How good ---------------------------------------------------------------------------------------------------------


def sections(rows: pd.DataFrame, *, pooled: bool = False) -> pd.DataFrame:
    """Accuracy per judge, mode and section; "overall" is the mean of the four sections, "unseen" (never trained on)
    and "lists" stand apart. `tokens` is the mean length of a judgment. `rule` is "wrong": what an unread one is."""
    out = []
    for key, part in groups(rows, pooled):
        units = per_item(part)
        for section in ("overall", *[s for s in (*SECTIONS, "unseen", "lists") if s in set(units["section"])]):
            found = estimate(units, section)
            if found is None:
                continue
            here = within(part, section)
            row = {**key, "section": section, "rule": "wrong", **bounds(found), "tokens": here["tokens"].mean()}
            if pooled:
                each = [estimate(run, section) for _, run in units.groupby("run")]
                values = [e.value for e in each if e is not None]
                row |= {"seeds": len(values), "least": min(values), "most": max(values)}
            out.append({**row, **coverage(here)})
    return pd.DataFrame(out)


def form(table: pd.DataFrame, *by: str) -> pd.DataFrame:
    """A table of `sections` to read: a row per judge and mode (or `by`), percent with interval by section; of the four
    sections together the comparisons n, the length in tokens and the shares (%) read, unparsed and truncated; and what
    was read of the sections that stand apart."""
    columns = [s for s in ("overall", *SECTIONS, "unseen", "lists") if s in set(table["section"])]
    out = []
    for key, part in table.groupby(list(by or ("judge", "mode")), sort=False):
        there = {row["section"]: row for _, row in part.iterrows()}
        row = dict(zip(by or ("judge", "mode"), key))
        row |= {s: percent(there[s]) if s in there else "" for s in columns}
        whole = there.get("overall", part.iloc[0])
        row |= {"n": f"{whole['n']:,}", "tokens": f"{whole['tokens']:.0f}"}
        row |= {s: f"{100 * whole[s]:.1f}" for s in ("read", "unparsed", "truncated")}
        apart = [s for s in columns if s in ("unseen", "lists")]
        out.append(row | {f"read, {s}": f"{100 * there[s]['read']:.1f}" if s in there else "" for s in apart})
    return pd.DataFrame(out)


def percent(row: pd.Series) -> str:
    """ "72.5 [68.1, 76.6]", and the range over seeds behind it where there are several."""
    text = f"{100 * row['value']:.1f} [{100 * row['lo']:.1f}, {100 * row['hi']:.1f}]"
    spread = row.get("seeds", 1) > 1
    return f"{text} ({100 * row['least']:.1f} to {100 * row['most']:.1f})" if spread else text


def differences(rows: pd.DataFrame, contrasts: Sequence[Mapping[str, Any]], *, pooled: bool = False) -> pd.DataFrame:
    """a - b on the same comparisons, paired, beside what is expected of it.

    A contrast is {"a": judge, "b": judge, "section": "reasoning" (or "overall", ...), "mode": "greedy" (or "sampled"),
    "least": 0.2 or "most": 0.03}; all but a and b may be left out.
    The interval supports "least" where all of it lies at or above (above, for 0), contradicts where all lies below;
    else undecided ("most" likewise); with a judge that could not be read (`UNREADABLE`) the verdict says that. `read_a`
    and `read_b` are the shares of what is compared that were read.
    `p_holm` is adjusted over the contrasts of one seed. All of that is about these very models. Of several pooled seeds
    `by_seed` has the difference of each, in points, and `seeds_lo`, `seeds_hi`, `seeds_verdict` what they say with the
    seed as the unit (`stats.over_runs`): about training again. Raises ValueError.
    """
    by = {}
    for key, part in groups(rows, pooled):
        by[key["profile"], key["seed"], key["judge"], key["mode"]] = part
    out = []
    for profile, seed in dict.fromkeys(key[:2] for key in by):
        for contrast in contrasts:
            if unknown := set(contrast) - {"a", "b", "section", "mode", "least", "most"}:
                raise ValueError(f"contrast {dict(contrast)}: unknown key {sorted(unknown)[0]!r}")
            mode = contrast.get("mode", "greedy")
            a, b = (by.get((profile, seed, contrast[side], mode)) for side in ("a", "b"))
            if a is None or b is None:
                there = ", ".join(dict.fromkeys(key[2] for key in by if key[3] == mode))
                raise ValueError(f"contrast {dict(contrast)}: no {mode} judgments of it; judges are: {there}")
            section = contrast.get("section", "reasoning")
            on = [c for c in ("run", "item") if c in a.columns]
            both = per_item(a).merge(per_item(b)[[*on, "credit"]], on=on, suffixes=("", "_b"))
            both = within(both, section)
            d = _paired(both, section)
            read = {f"read_{side}": coverage(within(part, section))["read"] for side, part in (("a", a), ("b", b))}
            names = {"profile": profile, "seed": seed, "mode": mode, "a": contrast["a"], "b": contrast["b"]}
            said, verdict = expectation(d.lo, d.hi, contrast.get("least"), contrast.get("most"))
            if verdict and min(read.values()) < UNREADABLE:  # a control that says nothing gains nothing, trivially
                verdict = "cannot be read"
            line = {**names, "section": section, **bounds(d), "p": d.p, "expected": said, "verdict": verdict, **read}
            if "run" in both.columns and both["run"].nunique() > 1:
                each = [_paired(part, section).value for _, part in both.groupby("run", sort=False)]
                runs = over_runs(each)
                line["by_seed"] = " ".join(f"{100 * value:+z.1f}" for value in each)
                line |= {"seeds_lo": runs.lo, "seeds_hi": runs.hi}
                again = expectation(runs.lo, runs.hi, contrast.get("least"), contrast.get("most"))[1]
                line["seeds_verdict"] = verdict if verdict == "cannot be read" else again
            out.append(line)
    table = pd.DataFrame(out)
    if len(table):
        table["p_holm"] = table.groupby(["profile", "seed"])["p"].transform(lambda p: holm(p.fillna(1.0)))
    return table


def _paired(both: pd.DataFrame, section: str) -> Difference:
    strata = (list(both["section"]), OVERALL) if section == "overall" else ()
    return paired_difference(both["credit"], both["credit_b"], list(both["cluster"]), *strata)


def expectation(lo: float, hi: float, least: float | None, most: float | None) -> tuple[str, str]:
    """(what is expected, in words; "supported", "contradicted" or "undecided" by the interval [lo, hi])."""
    if least is None and most is None:
        return "", ""
    bound, words = (least, "or more") if least is not None else (most, "or less")
    assert bound is not None
    said = "above 0" if least == 0 else f"{100 * bound:g} points {words}"
    if math.isnan(lo):
        return said, "undecided"
    if least is not None:
        return said, "supported" if lo > least or lo == least > 0 else "contradicted" if hi < least else "undecided"
    return said, "supported" if hi <= bound else "contradicted" if lo > bound else "undecided"


def weights(clusters: Sequence[str] | pd.Series, *what: object) -> NDArray[np.int64]:
    """[DRAWS, rows]: how often each row is in each bootstrap draw of whole clusters; a seed of its own."""
    codes, names = pd.factorize(np.asarray(clusters), sort=True)
    rng = np.random.default_rng(int(digest("findings", *what, len(names))[:16], 16))
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)[:, codes]


def percentiles(draws: ArrayLike) -> dict[str, float]:
    drawn = np.asarray(draws, float)
    drawn = drawn[~np.isnan(drawn)]
    lo, hi = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (math.nan, math.nan)
    return {"lo": float(lo), "hi": float(hi)}
