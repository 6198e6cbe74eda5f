"""Figures of the notebook `evaluation`: accuracy by section, position bias, coverage, and ranking with ties.

Each takes one table of `score.Evaluation` and gives a Figure. Rows are judges, in the order given; points are values,
lines are intervals. What a table does not hold is said in the figure. All judges of the notebook may be named in
`judges`: then one without any row is shown as not measured, and a judge looks the same in every figure. `title` names
the benchmark, in the figure and in its data.

A table may have a column `read`: the share of a judge's judgments that could be read. Under 2 % the judge is shown as
not read, without value, interval or rank; from there to 98 % its points are hollow, with the share beside its name.
Where it differs between sections, the least counts for all of them, and its section is named with it.

Left out: the numbers (`stats.py`, `score.py`), files (`style.save`).

    fig = sections(evaluation.accuracy(), chance=0.5, title="JudgeBench, 218 items")
    style.save(fig, "figures/laptop/evaluation.sections", meta={"benchmark": "builtin"})
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation
from scipy.optimize import isotonic_regression

from rrmlib.figures import style
from rrmlib.figures.style import INK, QUIET, RULE, Look
from rrmlib.judge import WARN_SHARE

UNREAD = {
    "official": "scored by the benchmark's rule",
    "wrong": "counted as wrong",
    "half": "counted as half right",
    "excluded": "left out",
}
STATES = {  # state: (label, colour, hatch)
    "read": ("read", "#d5dde6", ""),
    "unparsed": ("unparsed", "#E69F00", ""),
    "truncated": ("truncated", "#56B4E9", "//////"),
    "too_long": ("too long", "#8a3b00", ""),
    "error": ("error", "#000000", ""),
}
METRICS = ("position_consistency", "first_preference", "repetition_stability")
MISSING, UNREADABLE = "not measured", "not read"
DASHED = (0, (4, 3))


def sections(
    table: pd.DataFrame,
    *,
    rule: str = "official",
    sections: Sequence[str] | None = None,
    chance: float | Mapping[str, float | None] | None = None,
    judges: Sequence[str] | None = None,
    half: Collection[str] = (),
    title: str = "",
) -> Figure:
    """Accuracy by section: one panel per section, at most five in a row; one row per judge, its interval below it.

    `table`: judge, section, rule, value, lo, hi, n; fractions in 0..1. `sections` chooses and orders the panels; by
    default all, as in the table. `chance` is drawn dashed: one number, or one per section. `half` names rows that are
    no judges and earn half where they pick none of the responses (`findings.solver`): their `read` is the share with a
    pick, and the caption says so instead of a hollow point. Raises ValueError for missing columns, an empty table, an
    unknown rule or section, or two rows for one point.
    """
    if rule not in UNREAD:
        raise ValueError(f"unknown rule {rule!r}; known: {', '.join(UNREAD)}")
    worst = _worst(table)
    table = _checked(_least(table), "judge section rule value lo hi n", "judge section rule")
    known = list(dict.fromkeys(table["section"]))
    parts = known if sections is None else list(dict.fromkeys(sections))
    if not parts or not set(parts) <= set(known):
        wrong = [part for part in parts if part not in known]
        raise ValueError(f"unknown sections {wrong or 'none chosen'}; known: {', '.join(map(str, known))}")
    shown = table[(table["rule"] == rule) & table["section"].isin(parts)]
    levels = {part: chance.get(str(part)) if isinstance(chance, Mapping) else chance for part in parts}
    picking = shown[shown["judge"].isin(half)]
    look = _looks(table if picking.empty else _all_read(table, half), judges, worst)
    down = math.ceil(len(parts) / 5)
    across = math.ceil(len(parts) / down)
    heads = [style.wrap(str(part).replace("_", " "), 19) for part in parts]
    head = 0.25 + 0.15 * max(text.count("\n") + 1 for text in heads)
    with style.apply():
        width, height = _size(look)
        fig = style.figure(max(width + 1.8 * across, 5.0), 0.7 + down * (0.35 + head + height), title)
        cast(Any, fig.get_layout_engine()).set(wspace=0.12)
        axes = np.atleast_1d(fig.subplots(down, across, sharex=True, sharey=True)).ravel()
        for ax in axes[len(parts) :]:
            ax.set_visible(False)
        for i, ax in enumerate(axes[: len(parts)]):
            points = shown[shown["section"] == parts[i]].set_index("judge")
            ax.set_title(heads[i], loc="left", pad=17, linespacing=1.2)
            above = {"textcoords": "offset points", "xycoords": "axes fraction", "color": QUIET, "fontsize": 8}
            ax.annotate(_counts(points), (0, 1), (0, 5), **above)
            _dots(ax, points, look, levels[parts[i]], 1.05)
            for row, name in enumerate(look):  # within the axes, under one rule with its panel: it cannot be the next's
                text = _percent(_point(points, name), interval=False)
                ax.text(1.42, row, text, ha="right", va="center_baseline", fontsize=7.5)
            ax.spines["top"].set(visible=True, color="#bdbdbd")
            ax.spines["bottom"].set_bounds(-0.05, 1.05)
            ax.set_xlim(-0.05, 1.42)
            ax.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            ax.tick_params(labelbottom=i + across >= len(parts), labelleft=i % across == 0)
        dashed = "; dashed: chance" if any(level is not None for level in levels.values()) else ""
        note = f"Accuracy (%) with 95 % interval{dashed}. Unreadable judgments are {UNREAD[rule]}."
        for name, rows in picking.groupby("judge", sort=False):
            share = f" ({100 * (1 - rows['read'].min()):.3g} %)" if "read" in rows.columns else ""
            note += f" {look[name].name}: half right where it has no pick{share}."
        _note(fig, note, shown, look.values())
        return style.finish(fig, "sections", shown)


def ranking(
    table: pd.DataFrame, *, chance: float | None = None, judges: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Judges from best to worst with interval and tie group; a judge without a value comes last.

    `table`: judge, value, lo, hi, group. A group is letters ("ab": cannot be told from any judge with an a or a b) or a
    range of ranks ("2-4"). Raises ValueError for missing columns, an empty table, or two rows for one judge.
    """
    shown = _checked(table, "judge value lo hi group", "judge")
    shown = shown.sort_values("value", ascending=False, kind="stable", na_position="last")
    known = _looks(table, judges)
    look = {name: known[name] for name in [*shown["judge"], *known]}  # best first, colours as in the other figures
    points = shown.set_index("judge")
    groups = ["" if pd.isna(group) else str(group) for group in points["group"]]
    letters = any(groups) and all(group.isalpha() and group.islower() for group in groups if group)
    with style.apply():
        width, height = _size(look)
        fig = style.figure(width + 5.5, 1.05 + height, title)
        ax = fig.subplots()
        _dots(ax, points, look, chance)
        for at, text in ((12, "accuracy (%)"), (100, "tie group" if letters else "rank")):
            _beside(ax, -0.85, at, text, QUIET)
        for row, name in enumerate(look):
            _beside(ax, row, 12, _percent(_point(points, name)))
        for row, group in enumerate(groups):
            for text in group if letters else [group]:
                _beside(ax, row, 100 + (8 * (ord(text) - ord("a")) if letters else 0), text)
        ends = [x for x in [*points["value"], *points["lo"], *points["hi"], chance] if x is not None and x == x]
        left, right = max(0.0, min(ends, default=0.0) - 0.04), min(1.0, max(ends, default=1.0) + 0.04)
        ax.set_xlim(left - 0.015, right + 0.015)
        ax.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g}")
        ranks = "A rank is a range where the data leave it open."
        tied = "Judges that share a letter cannot be told apart." if letters else ranks
        dashed = " Dashed: chance." if chance is not None else ""
        _note(fig, f"Overall accuracy (%) with 95 % interval. {tied}{dashed}", shown, look.values())
        return style.finish(fig, "ranking", shown)


def coverage(table: pd.DataFrame, *, judges: Sequence[str] | None = None, title: str = "") -> Figure:
    """What became of the judgments: one bar of shares per judge, and every count beside it, for the small ones too.

    `table`: judge, state, count, share. Raises ValueError for missing columns, an empty table, an unknown state, or two
    rows for one judge and state.
    """
    table = _checked(table, "judge state count share", "judge state")
    if unknown := set(table["state"]) - STATES.keys():
        raise ValueError(f"unknown state {sorted(map(str, unknown))[0]!r}; known: {', '.join(STATES)}")
    look = _looks(table, judges)
    with style.apply():
        width, height = _size(look)
        fig = style.figure(width + 7, 1.2 + height, title)
        ax = fig.subplots()
        _rows(ax, look)
        dashes = ""
        for column, (state, (label, colour, hatch)) in enumerate(STATES.items()):
            x = 42 + 50 * column
            box: dict[str, Any] = {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "lw": 0.0}
            inches: Any = fig.dpi_scale_trans + ScaledTranslation(1, -0.9, cast(Any, ax.get_yaxis_transform()))
            swatch = Rectangle(((x - 11) / 72, 0.11), 11 / 72, 11 / 72, transform=inches, clip_on=False, **box)
            ax.add_patch(swatch)  # the columns of counts are the legend as well
            _beside(ax, -0.9, x, label, QUIET, ha="right")
            for row, name in enumerate(look):
                rows = table[table["judge"] == name].set_index("state")
                if state not in rows.index or rows["share"].isna()[state]:
                    _beside(ax, row, x, "–", QUIET, ha="right")
                    dashes = " A dash is a state that was not counted."
                    continue
                left = rows["share"].reindex(list(STATES)[:column]).sum()
                ax.barh([row], [rows["share"][state]], left=left, height=0.62, zorder=3, **box)
                count = int(rows["count"][state])
                strong = count > 0 and state != "read"
                _beside(ax, row, x, f"{count:,}", INK if strong or state == "read" else "#b0b0b0", ha="right")
        for row, name in enumerate(look):
            if table[table["judge"] == name]["share"].isna().all():
                ax.text(0.01, row, MISSING, color=QUIET, style="italic", va="center", fontsize=8)
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        _note(fig, f"Share of judgments (%), and their number in each state.{dashes}")
        return style.finish(fig, "coverage", table)


def position_bias(table: pd.DataFrame, *, judges: Sequence[str] | None = None, title: str = "") -> Figure:
    """Position consistency against preference for the response shown first, both with intervals.

    `table`: judge, metric, value, lo, hi, n, with metric position_consistency, first_preference or
    repetition_stability (written under the name). A judge whose consistency is c prefers the first within
    1/2 +- (1 - c)/2, if every item is read in both orders: the grey corners cannot be reached. Judges within 2 points
    (1/36 inch) of each other are drawn as one disc with their number; each marker stands beside its name.
    Raises ValueError for missing columns, an empty table, or two rows for one judge and metric.
    """
    shown = _checked(table, "judge metric value lo hi n", "judge metric")
    look = _looks(table, judges)
    wide = {m: shown[shown["metric"] == m].set_index("judge") for m in METRICS}
    y, x, again = ({name: _point(frame, name) for name in look} for frame in wide.values())
    placed = sorted((n for n in look if x[n][0] == x[n][0] and y[n][0] == y[n][0]), key=lambda n: -y[n][0])
    hollow = {n: _partly(look[n]) or any(v != v for v in (*x[n], *y[n])) for n in placed}
    repeated = any(_percent(again[n]) for n in look)
    remarks = {n: "\nrepetition " + (_percent(again[n]) or MISSING) if repeated else "" for n in placed}
    names = {n: style.wrap(look[n].name) + remarks[n] for n in placed}
    lines = sum(name.count("\n") + 1.5 for name in names.values())
    with style.apply():
        fig = style.figure(7.2, max(4.2, 1.2 + 0.15 * lines), title)
        ax = fig.subplots()
        reach = [abs(v - 0.5) for n in placed for v in x[n] if v == v]
        half = min(0.5, max([0.1, *reach]) + 0.04)
        low = max(0.0, min([0.7, *(v for n in placed for v in y[n] if v == v)]) - 0.05)
        ax.set_xlim(0.5 - half - 0.01, 0.5 + half + 0.01)
        ax.set_ylim(low - 0.01, 1.02)
        for corner in (0.0, 1.0):
            ax.fill([0.5, corner, corner], [1, 0, 1], color="#f3f3f3", lw=0, zorder=0)
        ax.axvline(0.5, color=QUIET, lw=0.8, ls=DASHED, zorder=1)
        for end, ha, text in ((0, "left", "\u2190 prefers the second"), (1, "right", "prefers the first \u2192")):
            ax.text(end, 1.025, text, transform=ax.transAxes, ha=ha, va="bottom", color=QUIET, fontsize=8)
        labels = {}
        for n in placed:
            stroke: dict[str, Any] = {"color": look[n].colour, "lw": 1.3, "zorder": 3, "clip_on": False}
            ax.plot(x[n][1:], [y[n][0]] * 2, **stroke)
            ax.plot([x[n][0]] * 2, y[n][1:], **stroke)
            labels[n] = ax.text(1.09, 0.5, names[n], transform=ax.transAxes, va="center", fontsize=8, linespacing=1.25)
        ax.set_xlabel("Preference for the response shown first (%)")
        ax.set_ylabel("Same choice in both orders (%)")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        note = "Lines: 95 % intervals. Dashed: no preference. Grey: out of reach where both orders are read."
        groups = _groups(ax, {n: (x[n][0], y[n][0]) for n in placed})
        if any(len(group) > 1 for group in groups):
            note += " A number: that many judges on one point."
        if placed and not repeated:
            note += f" Repetition stability: {MISSING}."
        for state in (MISSING, UNREADABLE):
            if absent := [one.name for n, one in look.items() if n not in placed and _absent(one) == state]:
                note += f" {state.capitalize()}: {', '.join(absent)}."
        _note(fig, note, shown[shown["metric"].isin(METRICS[:2])], [look[n] for n in placed])
        fig.draw_without_rendering()
        order = [n for group in groups for n in group]
        to_axes = ax.transData + ax.transAxes.inverted()
        where = {n: to_axes.transform((x[n][0], y[n][0])) for n in order}
        heights = [labels[n].get_window_extent().height / ax.bbox.height for n in order]
        for n, at in zip(order, _spread([where[n][1] for n in order], heights)):
            labels[n].set_y(at)
            bent = [where[n][0], 1.012, 1.04], [where[n][1], where[n][1], at]  # level up to the edge: not a trend
            ax.plot(*bent, color="#c8c8c8", lw=0.7, zorder=0.5, transform=ax.transAxes, clip_on=False)
            _mark(ax, 1.055, at, look[n], hollow=hollow[n], transform=ax.transAxes)
        for group in groups:
            px, py = (float(np.mean([v[n][0] for n in group])) for v in (x, y))
            if len(group) == 1:
                _mark(ax, px, py, look[group[0]], hollow=hollow[group[0]])
            else:
                ax.plot([px], [py], "o", ms=11, mfc="white", mec=INK, mew=0.9, zorder=5, clip_on=False)
                ax.annotate(f"{len(group)}", (px, py), ha="center", va="center_baseline", fontsize=7.5, zorder=6)
        return style.finish(fig, "position_bias", shown)


def _checked(table: pd.DataFrame, columns: str, key: str) -> pd.DataFrame:
    if missing := [c for c in columns.split() if c not in table.columns]:
        raise ValueError(f"table without column {missing[0]!r}; needed: {columns}")
    if table.empty:
        raise ValueError("the table is empty: nothing to draw")
    if len(twice := table[table.duplicated(key.split())]):
        row = ", ".join(str(v) for v in twice.iloc[0][key.split()])
        raise ValueError(f"two rows for {row}: draw one profile, seed and benchmark at a time")
    if "read" not in table.columns:
        return table
    unread = table["read"] < WARN_SHARE  # the rule's constant for an unreadable judgment, not an accuracy
    estimates = [c for c in ("value", "lo", "hi", "group") if c in table.columns]
    return table.assign(**{c: table[c].astype(object if c == "group" else float).mask(unread) for c in estimates})


def _least(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the least share read of each judge in all of its rows."""
    if not {"judge", "read"} <= set(table.columns):
        return table
    return table.assign(read=table.groupby("judge")["read"].transform("min"))


def _worst(table: pd.DataFrame) -> dict[str, str]:
    """The section in which a judge was read least, of those whose share differs between sections."""
    if not {"judge", "section", "read"} <= set(table.columns):
        return {}
    parts = {name: part.set_index("section")["read"] for name, part in table.groupby("judge", sort=False)}
    return {name: str(read.idxmin()) for name, read in parts.items() if read.max() > read.min()}


def _looks(
    table: pd.DataFrame, judges: Sequence[str] | None, worst: Mapping[str, str] | None = None
) -> dict[str, Look]:
    """Names, colours and shares read; a low share (of its section in `worst`) is in the name, accuracy without it would
    mislead."""
    found = style.looks([*(judges or ()), *table["judge"]])
    shares = dict(zip(table["judge"], table["read"])) if "read" in table.columns else {}
    for judge, share in shares.items():
        one = replace(found[judge], read=share)
        where = f" ({worst[judge].replace('_', ' ')})" if worst and judge in worst else ""
        found[judge] = replace(one, name=f"{one.name}, {100 * share:.3g} % read{where}") if _partly(one) else one
    return found


def _all_read(table: pd.DataFrame, judges: Collection[str]) -> pd.DataFrame:
    """The table with these as read in full where any is read: their share is not one of judgments."""
    if "read" not in table.columns:
        return table
    return table.assign(read=table["read"].mask(table["judge"].isin(judges) & (table["read"] >= WARN_SHARE), 1.0))


def _partly(one: Look) -> bool:
    """Whether part of the judgments could be read, but not all but a few."""
    return WARN_SHARE <= one.read < 1 - WARN_SHARE


def _absent(one: Look) -> str:
    """What to say where there is no value."""
    return UNREADABLE if one.read < WARN_SHARE else MISSING


def _size(look: Mapping[str, Look]) -> tuple[float, float]:
    """Inches: width of the names of the judges (and margins), height of one row for each."""
    names = [style.wrap(one.name).split("\n") for one in look.values()]
    width, lines = max(len(line) for name in names for line in name), max(map(len, names))
    return 0.4 + 0.07 * width, (len(look) + 0.4) * (0.12 + 0.125 * lines)


def _rows(ax: Any, look: Mapping[str, Look]) -> None:
    """One row per judge, the first on top, its name as the tick label."""
    ax.set_ylim(len(look) - 0.4, -0.6)
    ax.set_yticks(range(len(look)), [style.wrap(one.name) for one in look.values()], linespacing=1.2)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _dots(ax: Any, points: Any, look: Mapping[str, Look], chance: float | None, end: float | None = None) -> None:
    """Value and interval of each judge in its row; a row without a value says so. Guide lines run up to `end`."""
    _rows(ax, look)
    across, left, right = (ax.get_yaxis_transform(), 0, 1) if end is None else (ax.transData, -0.05, end)
    if chance is not None:
        ax.axvline(chance, color=QUIET, lw=0.8, ls=DASHED, zorder=1)
    for row, (name, one) in enumerate(look.items()):
        ax.plot([left, right], [row, row], color=RULE, lw=0.7, zorder=0, transform=across)
        value, lo, hi = _point(points, name)
        if value != value:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            middle = {"transform": across, "ha": "center", "va": "center_baseline", "bbox": box}
            ax.text(0.5, row, _absent(one), color=QUIET, style="italic", fontsize=7.5, zorder=2, **middle)
            continue
        style.interval(ax, lo, hi, row, one.colour)
        _mark(ax, value, row, one, hollow=_partly(one) or not (lo == lo and hi == hi))


def _mark(ax: Any, x: float, y: float, one: Look, *, hollow: bool = False, **kwargs: Any) -> None:
    """The point of a judge, with a white rim that keeps it apart from lines and neighbours."""
    face, rim, mew = ("white", one.colour, 1.0) if hollow else (one.colour, "white", 0.5)
    drawn = {"marker": one.marker, "ms": 9.5 if one.marker == "*" else 6.2, "mfc": face, "mec": rim, "mew": mew}
    ax.plot([x], [y], ls="", zorder=4, clip_on=False, **drawn, **kwargs)


def _point(points: pd.DataFrame, name: str) -> tuple[float, float, float]:
    """Value, lo and hi of a judge; NaN for what is not there."""
    value, lo, hi = points[["value", "lo", "hi"]].reindex([name]).to_numpy(float)[0]
    return float(value), float(lo), float(hi)


def _percent(point: tuple[float, float, float], *, interval: bool = True) -> str:
    """ "72.5 [68.1, 76.6]", or "" where there is no value."""
    value, lo, hi = (100 * v for v in point)
    text = f"{value:.1f}" + (f" [{lo:.1f}, {hi:.1f}]" if interval and lo == lo and hi == hi else "")
    return text if value == value else ""


def _counts(points: pd.DataFrame) -> str:
    counts = sorted({int(n) for n in points["n"] if n == n})
    return f"n = {counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "") if counts else "n = 0"


def _beside(ax: Any, row: float, points: float, text: str, colour: str = INK, ha: str = "left") -> None:
    """Text in a row, that many points right of the axes."""
    where = ax.get_yaxis_transform() + ScaledTranslation(points / 72, 0, ax.figure.dpi_scale_trans)
    ax.text(1, row, text, transform=where, ha=ha, va="center_baseline", color=colour, fontsize=7.5)


def _note(fig: Figure, text: str, points: Any = None, known: Collection[Look] = ()) -> None:
    """What the axes show, under them; says what hollow points and unread judges are where there are any."""
    hollow = []
    if points is not None and (points["value"].notna() & (points["lo"].isna() | points["hi"].isna())).any():
        hollow.append("no interval")
    if any(map(_partly, known)):
        hollow.append("read in part (least share of a section beside the name)")
    text += f" Hollow: {', or '.join(hollow)}." if hollow else ""
    if any(one.read < WARN_SHARE for one in known):
        text += f" Not read: less than {100 * WARN_SHARE:g} % of the judgments could be read."
    fig.supxlabel(style.wrap(text, int(fig.get_figwidth() * 15)), fontsize=8, linespacing=1.3)


def _groups(ax: Any, at: Mapping[str, tuple[float, float]]) -> list[list[str]]:
    """Judges, in the order given, together where they stand within 2 points of the first of a group."""
    ax.figure.draw_without_rendering()
    pixels = {n: ax.transData.transform(point) for n, point in at.items()}
    groups: list[list[str]] = []
    for n in at:
        near = (g for g in groups if math.dist(pixels[n], pixels[g[0]]) < 2 * ax.figure.dpi / 72)
        group = next(near, [])
        if not group:
            groups.append(group)
        group.append(n)
    return groups


def _spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres of labels of these heights, from the top down, as near to `wanted` as they can be without overlap.

    Least squares: with the room that labels need above them added, "no overlap" is "never rising", which is isotonic
    regression; then the whole is kept within 0..1.
    """
    if not wanted:
        return []
    h = np.array(heights) * 1.08
    above = np.concatenate([[0.0], np.cumsum((h[1:] + h[:-1]) / 2)])
    level = isotonic_regression(np.array(wanted) + above, increasing=False).x
    return list(np.clip(level, above[-1] + h[-1] / 2, max(1 - h[0] / 2, above[-1] + h[-1] / 2)) - above)
