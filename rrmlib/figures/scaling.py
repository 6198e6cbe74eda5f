"""Figures of notebook `scaling`: votes, budgets, stopping rules and the frontier of all.

Left out: tables (`findings/scaling.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, INK, QUIET, RULE

_SOFT = "Soft: the mean probability of the verdict's token; hard: the majority of the same verdicts. "
FLAT = (DASHED, (0, (1, 1.5)), (0, (7, 2, 1, 2)), (0, (12, 3)))  # dashes of judges that are asked once


def soft(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Soft votes beside majority votes on the same comparisons. `table` as of `votes`, strategies "soft", "hard"."""
    return votes(table[table["strategy"].isin(["soft", "hard"])], title=title)


def votes(
    table: pd.DataFrame,
    *,
    sections: Sequence[str] = ("overall", "reasoning"),
    flat: pd.DataFrame | None = None,
    title: str = "",
) -> Figure:
    """Accuracy against k, a line per judge and strategy; grey dashes: one greedy judgment (`flat`).

    `table`: judge, strategy, k, section, n, value, lo, hi, unread; `flat` likewise. Raises ValueError where empty.
    """
    shown = style.need(table[table["section"].isin(sections)], "judge strategy k section n value lo hi unread")
    shown = shown.assign(line=shown["judge"].str.removesuffix(".pool") + ", " + shown["strategy"])
    look = style.looks(list(dict.fromkeys(shown["line"])))
    with style.apply():
        fig = style.figure(3.1 * len(sections) + 2.1, 3.0, title)
        axes = fig.subplots(1, len(sections), sharey=True, squeeze=False)[0]
        for ax, section in zip(axes, sections):
            here = shown[shown["section"] == section]
            for name, one in look.items():
                line = here[here["line"] == name].sort_values("k")
                ax.fill_between(line["k"], line["lo"], line["hi"], color=one.colour, alpha=0.12, lw=0)
                ax.plot(line["k"], line["value"], one.marker + "-", color=one.colour, ms=4.5, lw=1.3, label=one.name)
            if flat is not None:
                once = flat[flat["section"] == section]
                for i, row in enumerate(once.itertuples()):  # names in the legend: two may be all but equal
                    name = f"{row.judge}, greedy, one judgment"
                    ax.axhline(row.value, color=QUIET, lw=0.9, ls=FLAT[i % len(FLAT)], label=name)
            _powers(ax, here["k"])
            ax.set_xlabel("judgments of a comparison,\nboth orders together")
            ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
            ax.set_title(section, loc="left")
        style.outside(fig, axes[0])
        style.note(
            fig,
            "Accuracy (%) of the vote, expected over subsets of the sampled pool (majority: all; others: some drawn); "
            "band: 95 % interval of comparisons. A level vote earns half, what a coin would. "
            + ("Grey: one greedy judgment, the mean of both orders. " if flat is not None else "")
            + _SOFT * ("soft" in set(shown["strategy"]))
            + f"Unreadable votes: at most {100 * shown['unread'].max():.1f} %, counted as wrong.",
        )
        return style.finish(fig, "votes", shown)


def published(table: pd.DataFrame, ours: pd.DataFrame | None = None, *, title: str = "") -> Figure:
    """Gain over one judgment against k: what the papers report (hollow, dotted), and beside it ours (filled).

    Verdicts (majority) and scores (sums, with and without a meta RM) in a panel each; a meta RM's gain is over the
    plain sum at k = 1. `table`: paper, judge, strategy, k, benchmark, value; `ours` as `votes` takes it, its section
    overall is drawn. Raises ValueError where `table` is empty.
    """
    shown = style.need(table, "paper judge strategy k benchmark value").assign(whose="published")
    if ours is not None:
        mine = ours[(ours["section"] == "overall") & ours["strategy"].isin([s for p in _PANELS.values() for s in p])]
        mine = mine.assign(
            judge=mine["judge"].str.removesuffix(".pool"), benchmark="the lab", whose="ours", paper="", where=""
        )
        shown = pd.concat([mine[shown.columns], shown], ignore_index=True)
    start: dict[tuple[str, str], float] = {}
    for row in shown[shown["k"] == 1].itertuples():
        start.setdefault((row.judge, row.benchmark), row.value)  # of several strategies the plain one comes first
    shown = shown.assign(gain=[r.value - start.get((r.judge, r.benchmark), math.nan) for r in shown.itertuples()])
    shown = shown.assign(line=shown["judge"] + ", " + shown["strategy"] + ", " + shown["benchmark"])
    look = style.looks(list(dict.fromkeys(shown["line"])))
    with style.apply():
        fig = style.figure(8.6, 3.0, title)
        axes = fig.subplots(1, len(_PANELS), sharey=True)
        for ax, (panel, strategies) in zip(axes, _PANELS.items()):
            here = shown[shown["strategy"].isin(strategies)]
            ax.axhline(0, color=QUIET, lw=0.8)
            for name, line in here.groupby("line", sort=False):
                one, line = look[str(name)], line.sort_values("k")
                own = line["whose"].iloc[0] == "ours"
                drawn: dict[str, Any] = {"mfc": one.colour if own else "white", "lw": 1.4 if own else 1.0}
                ax.plot(line["k"], line["gain"], one.marker + "-:"[not own], color=one.colour, ms=5, **drawn)
                axes[0].plot([], [], one.marker + "-:"[not own], color=one.colour, ms=5, label=one.name, **drawn)
            _powers(ax, here["k"])
            ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:+.3g}")
            ax.set_title(panel, loc="left")
            ax.set_xlabel("judgments (k)")
        style.outside(fig, axes[0])
        where = "Hollow, dotted: PUBLISHED by 2505.14674 and 2504.02495, other models on other benchmarks."
        style.note(
            fig, f"Accuracy over that at k = 1 (points). {where}" + (" Filled: ours." if ours is not None else "")
        )
        return style.finish(fig, "published", shown)


_PANELS = {"verdicts": ("majority",), "scores": ("sum", "meta", "weighted")}


def budgets(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Accuracy by section against the thinking budget, and below it the share whose verdict was forced.

    `table`: budget (tokens; the largest is no limit), section, n, value, lo, hi, forced, unread. ValueError if empty.
    """
    shown = style.need(table, "budget section n value lo hi forced unread")
    look = style.looks(list(dict.fromkeys(shown["section"])))
    with style.apply():
        fig = style.figure(6.4, 4.3, title)
        top, low = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        marks = sorted(set(shown["budget"]))
        at = {b: i for i, b in enumerate(marks)}  # evenly spaced: budgets run from 0 to no limit
        for name, one in look.items():
            line = shown[shown["section"] == name].sort_values("budget")
            x = [at[b] for b in line["budget"]]
            top.fill_between(x, line["lo"], line["hi"], color=one.colour, alpha=0.10, lw=0)
            top.plot(x, line["value"], one.marker + "-", color=one.colour, ms=4.5, lw=1.3, label=one.name)
            low.plot(x, line["forced"], one.marker + "-", color=one.colour, ms=3.5, lw=1.0)
        top.axhline(0.5, color=QUIET, lw=0.8, ls=DASHED)
        for ax in (top, low):
            ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        low.set_ylabel("forced (%)")
        top.set_ylabel("accuracy (%)")
        low.set_xticks(range(len(marks)), ["no limit" if math.isinf(b) else f"{b:g}" for b in marks])
        low.set_xlabel("thinking budget (tokens)")
        style.outside(fig, top)
        style.note(
            fig,
            "Greedy, both orders; band: 95 % interval; dashed: chance. Forced: the thinking was closed at the budget "
            f"and the verdict asked for. At most {100 * shown['unread'].max():.1f} % unreadable, counted as wrong.",
        )
        return style.finish(fig, "budgets", shown)


def ties(table: pd.DataFrame, *, title: str = "") -> Figure:
    """The share of votes that end level, against k. `table`: judge, strategy, k, tie. Raises ValueError if empty."""
    shown = style.need(table[table["section"] == "overall"], "judge strategy k tie")
    shown = shown.assign(line=shown["judge"].str.removesuffix(".pool") + ", " + shown["strategy"])
    look = style.looks(list(dict.fromkeys(shown["line"])))
    with style.apply():
        fig = style.figure(5.6, 2.5, title)
        ax = fig.subplots()
        for name, one in look.items():
            line = shown[shown["line"] == name].sort_values("k")
            ax.plot(line["k"], line["tie"], one.marker + "-", color=one.colour, ms=4.5, lw=1.3, label=one.name)
        _powers(ax, shown["k"])
        ax.set_ylim(0, None)
        ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        ax.set_xlabel("judgments of a comparison, both orders together")
        style.outside(fig, ax)
        style.note(
            fig, "Share of level votes (%): a tie earns half in accuracy, and a seeded draw where one must be taken."
        )
        return style.finish(fig, "ties", shown)


def frontier(table: pd.DataFrame, *, cells: Sequence[str], by: str = "section", title: str = "") -> Figure:
    """Errors (log scale, fewer is up) against tokens for every strategy; the line joins those that nothing cheaper is
    as good as. Strategies of one kind (`FAMILIES`) share a colour; what is asked once is named where it stands.

    `table`: judge, strategy, k, tokens, value, lo, hi, best and `by`. Raises ValueError where it is empty.
    """
    shown = style.need(table[table[by].isin(cells)], f"judge strategy k tokens value lo hi best {by}")
    shown = shown.assign(line=[_line(row.judge, row.strategy) for row in shown.itertuples()])
    look = _families(shown)
    across = min(3, len(cells))
    down = math.ceil(len(cells) / across)
    with style.apply():
        fig = style.figure(2.9 * across + 2.2, max(0.9 + 2.8 * down, 1.3 + 0.17 * len(look)), title)
        axes = fig.subplots(down, across, squeeze=False).ravel()
        for ax in axes[len(cells) :]:
            ax.set_visible(False)
        for ax, cell in zip(axes, cells):
            here = shown[shown[by] == cell]
            free = max(0.5, here["tokens"].max() / 2000)  # a scalar model writes nothing: it stands at the left edge
            least = max(1e-3, 0.5 / max(1, here["n"].max())) if "n" in here else 1e-3
            for name, one in look.items():
                line = here[here["line"] == name].sort_values("tokens")
                x = line["tokens"].clip(lower=free)
                errors = {side: (1 - line[side]).clip(lower=least) for side in ("value", "lo", "hi")}
                ax.vlines(x, errors["lo"], errors["hi"], color=one.colour, lw=0.7, alpha=0.25)
                ax.plot(x, errors["value"], one.marker, color=one.colour, ms=4.5, mec="white", mew=0.3, label=one.name)
                if _family(line["strategy"].iloc[0] if len(line) else ONCE) in ("votes", "sums of scores"):
                    ax.plot(x, errors["value"], color=one.colour, lw=0.7, alpha=0.5, zorder=1)
                if name == ONCE:
                    _named(ax, line["judge"], x, errors["value"])
            edge = here[here["best"]].sort_values("tokens")
            x, y = edge["tokens"].clip(lower=free), (1 - edge["value"]).clip(lower=least)
            ax.plot(x, y, color=INK, lw=0.9, drawstyle="steps-post", zorder=1)
            ax.set_xscale("log")
            ax.set_yscale("log")
            low, high = ax.get_ylim()
            ax.set_ylim(max(high, 1.0), low)  # fewer is up, and room for names below one half
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter(lambda v, _: f"{v:,.10g}")
            ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_minor_formatter(lambda v, _: "")
            ax.grid(axis="y", color=RULE, lw=0.6)
            ax.set_title(f"difficulty {cell}" if by == "difficulty" else cell, loc="left")
        for ax in axes[max(0, len(cells) - across) : len(cells)]:
            ax.set_xlabel("tokens generated for a comparison")
        for ax in axes[: len(cells) : across]:
            ax.set_ylabel("errors (%)")
        style.outside(fig, axes[0])
        rules = sorted(set(shown.loc[[_family(s) == "stopping rules" for s in shown["strategy"]], "strategy"]))
        style.note(
            fig,
            "Both axes logarithmic, fewer errors are up; what writes nothing stands at the left edge. Line: nothing "
            "cheaper is as good. Bars: 95 % interval. No error at all is drawn as half a comparison."
            + (f" Stopping rules: {', '.join(rules)}." if rules else ""),
        )
        return style.finish(fig, "frontier", shown)


ONCE = "asked once, greedily"
FAMILIES = {  # of strategies: what they share, their colour; their lines differ in marker
    "votes": ("#0072B2", "os^D"),
    "sums of scores": ("#D55E00", "sD^v"),
    "budget": ("#999933", "p"),
    "stopping rules": ("#009E73", "^v"),
    "spread": ("#CC79A7", "P<>"),
    "solver-match": ("#000000", ">"),
    ONCE: ("#6b6b6b", "X"),
}


def _family(strategy: str) -> str:
    """Which of `FAMILIES` a strategy belongs to."""
    if strategy in ("sum", "meta", "weighted"):
        return "sums of scores"
    if strategy == "greedy":
        return ONCE
    if strategy.split()[0] in ("certain", "beta", "sprt"):
        return "stopping rules"
    first = strategy.split()[0]
    return first if first in FAMILIES else "votes"


def _line(judge: str, strategy: str) -> str:
    """What a point is called: all rules that stop are one line, and so is all that is asked once."""
    family = _family(strategy)
    if family == ONCE:
        return ONCE
    return f"{judge.removesuffix('.pool')}, {family if family == 'stopping rules' else strategy}"


def _families(shown: pd.DataFrame) -> dict[str, style.Look]:
    """Line -> look, family by family."""
    family = {row.line: _family(row.strategy) for row in shown.itertuples()}
    look = {}
    for name, (colour, marks) in FAMILIES.items():
        for i, line in enumerate(line for line, of in family.items() if of == name):
            look[line] = style.Look(line, colour, marks[i % len(marks)])
    return look


def _named(ax: Any, judges: pd.Series, x: pd.Series, y: pd.Series) -> None:
    """Names beside the points, one label for those whose names would overlap: left of them; near the left edge, where
    there is no room, in one line above the first and below the others."""
    groups: list[tuple[float, float, list[str]]] = []
    for error, judge, at in sorted(zip(y, judges.str.removesuffix(".pool"), x)):  # names stand as their points do
        near = next((g for g in groups if abs(math.log(g[0] / at)) < 0.3 and abs(math.log(g[1] / error)) < 0.3), None)
        if near:
            near[2].append(judge)
        else:
            groups.append((at, error, [judge]))
    for i, (at, error, names) in enumerate(sorted(groups)):
        va, ha, away = ("center", "right", (-4, 0)) if at > 30 else ("top", "left", (-3, -4))
        if i == 0 and at <= 30:
            va, away = "bottom", (-3, 4)
        where: dict[str, Any] = {"textcoords": "offset points", "va": va, "ha": ha, "fontsize": 7, "color": INK}
        ax.annotate(("\n" if at > 30 else ", ").join(names), (at, error), away, **where)


def spending(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Mean votes of adaptive strategies by difficulty (reasoning), and by section where the table has sections.

    `table`: judge, strategy, k, by ("difficulty" or "section"), cell, votes, value, n. ValueError for an empty table.
    """
    shown = style.need(table, "judge strategy k by cell votes value n")
    shown = shown.assign(line=shown["strategy"] + " @" + shown["k"].map("{:g}".format))
    look = style.looks(list(dict.fromkeys(shown["line"])))
    panels = [by for by in ("difficulty", "section") if by in set(shown["by"])]
    with style.apply():
        fig = style.figure(3.4 * len(panels) + 2.4, 2.9, title)
        axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, by in zip(axes, panels):
            here = shown[shown["by"] == by]
            here = here.assign(cell=here["cell"].astype(str))
            cells = list(dict.fromkeys(here["cell"]))
            cells = sorted(cells, key=float) if by == "difficulty" else cells
            for name, one in look.items():
                line = here[here["line"] == name].set_index("cell").reindex(cells)
                drawn = {"color": one.colour, "ms": 4.5, "lw": 1.2, "label": one.name}
                ax.plot(range(len(cells)), line["votes"], one.marker + ("-" if by == "difficulty" else ""), **drawn)
            n = here.drop_duplicates("cell").set_index("cell")["n"].reindex(cells)
            ax.set_xticks(range(len(cells)), [f"{cell}\nn={count:.0f}" for cell, count in zip(cells, n)])
            ax.set_xlabel("difficulty (steps that the answer needs), reasoning" if by == "difficulty" else "section")
        axes[0].set_ylim(0, 1.06 * shown["votes"].max())
        axes[0].set_ylabel("votes per comparison")
        style.outside(fig, axes[0])
        style.note(
            fig,
            "Mean votes that a comparison gets. Rules stop when they are sure enough, at the latest after the votes "
            "behind @; beta and sprt name the rate of errors that they declare. Spread: a fixed budget of so many "
            "votes a comparison (@) is spent where doubt is greatest, or evenly.",
        )
        return style.finish(fig, "spending", shown)


def _powers(ax: Any, ks: pd.Series) -> None:
    """An axis of numbers of judgments: doubling is one step, and each that was measured has its tick."""
    marks = sorted(set(ks))
    ax.set_xscale("log", base=2)
    ax.set_xticks(marks, [f"{k:g}" for k in marks])
    ax.minorticks_off()
