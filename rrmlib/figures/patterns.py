"""Figures of the notebook `patterns`: how often, when a judge decides, which steps matter, what follows from a trace.

Left out: the numbers (`findings/patterns.py`), files (`style.save`).

    fig = rates(patterns.rates(rows, lexicon), judges=["base-s", "rrm-s"])
    fig = commitment(patterns.curve(probes), patterns.points(probes))
    fig = steps(patterns.influence(probes))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, INK, QUIET

MEASURES = {  # of the commitment curve: colour, line, marker
    "as the final": ("#0072B2", "-", "o"),
    "margin as the final": ("#56B4E9", DASHED, "v"),
    "right": ("#009E73", "-", "^"),
    "second": ("#8c8c8c", (0, (1, 1.5)), ""),
}
EDITS = {  # of a step: what it is called, colour, marker
    "removed": ("removed", "#0072B2", "o"),
    "corrupted": ("corrupted, the rest kept", "#D55E00", "s"),
    "misled": ("corrupted, the rest thought anew", "#009E73", "^"),
}
RELATIONS = {
    "follows": ("#0072B2", ""),
    "contradicts": ("#D55E00", "////"),
    "none ahead": ("#E69F00", ""),
    "too little stated": ("#d5d5d5", ""),
}


def rates(
    table: pd.DataFrame, *, judges: Sequence[str] | None = None, measure: str = "per 100 words", title: str = ""
) -> Figure:
    """How often each family occurs: one panel per family, one row per judge and mode, with the share of traces that
    have it. A family that never occurs anywhere has no panel, and the note names it.

    `table`: judge, mode, family, measure, n, value, lo, hi, words. Raises ValueError for an empty table.
    """
    style.need(table, "judge mode family measure n value lo hi words")
    shown = table[table["measure"] == measure]
    rows = [r for r in dict.fromkeys(zip(shown["judge"], shown["mode"])) if judges is None or r[0] in judges]
    seen = shown.groupby("family", sort=False)["value"].max()
    families, never = list(seen[seen > 0].index), list(seen[seen == 0].index)
    look = style.looks(list(dict.fromkeys(judge for judge, _ in rows)))
    words = shown.groupby(["judge", "mode"])["words"].first()
    with style.apply():
        fig = style.figure(1.6 + 1.9 * max(1, len(families)), 1.0 + 0.34 * len(rows), title)
        grid = fig.subplots(1, max(1, len(families)), sharey=True, squeeze=False)[0]
        for ax, family in zip(grid, families):
            for y, (judge, mode) in enumerate(rows):
                of = table[(table["judge"] == judge) & (table["mode"] == mode) & (table["family"] == family)]
                cell = of.set_index("measure")
                one = look[judge]
                r = cell.loc[measure]
                ax.plot([r["lo"], r["hi"]], [y, y], color=one.colour, lw=1.6, solid_capstyle="butt")
                full = {"mfc": one.colour if mode != "sampled" else "white", "mec": one.colour}
                ax.plot([r["value"]], [y], one.marker, ms=5.5, mew=1.1, zorder=4, clip_on=False, **full)
                style.beside(ax, y, f"{100 * cell.loc['share', 'value']:.0f} %", points=2, colour=QUIET)
            ax.set_title(family, loc="left")
            ax.set_xlim(left=min(0.0, float(shown["lo"].min())))
            ax.grid(axis="x", color=style.RULE, lw=0.6)
        names = [f"{look[judge].name}, {mode}\n{words[judge, mode]:.0f} words" for judge, mode in rows]
        grid[0].set_yticks(range(len(rows)), names, linespacing=1.2)
        grid[0].set_ylim(len(rows) - 0.5, -0.5)
        none = f" No case of {' or '.join(never)}." if never else ""
        style.note(fig, f"Cases {measure}, 95\u00a0% interval; in grey the share of traces that have one.{none}")
        return style.finish(fig, "rates", table)


def commitment(
    table: pd.DataFrame, points: pd.DataFrame | None = None, *, section: str = "all", title: str = ""
) -> Figure:
    """The commitment curve of each judge, one panel each, with the mean point of commitment in its title.

    `table`: judge, section, fraction, measure, n, value, lo, hi; `points` (`findings.patterns.points`) is optional.
    Raises ValueError for an empty table.
    """
    shown = style.need(table[table["section"] == section], "judge mode section fraction measure n value lo hi")
    panels = list(dict.fromkeys(zip(shown["judge"], shown["mode"])))
    with style.apply():
        fig = style.figure(2.4 + 2.7 * len(panels), 3.2, title)
        grid = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, (judge, mode) in zip(grid, panels):
            here = shown[(shown["judge"] == judge) & (shown["mode"] == mode)]
            ax.axhline(0.5, color=QUIET, lw=0.7, ls=DASHED)
            for name, (colour, line, marker) in MEASURES.items():
                part = here[here["measure"] == name].sort_values("fraction")
                if part.empty:
                    continue
                drawn: dict[str, Any] = {"color": colour, "ls": line, "marker": marker, "ms": 4, "lw": 1.5}
                ax.plot(part["fraction"], part["value"], clip_on=False, **drawn)
                if name in ("as the final", "right"):
                    ax.fill_between(part["fraction"], part["lo"], part["hi"], color=colour, alpha=0.14, lw=0)
            head = style.wrap(f"{judge}, {mode}, n = {int(here['n'].max()):,}", 32)
            if points is not None:
                head += _points(points, judge, mode, section)
            ax.set_title(head, loc="left", linespacing=1.3)
            ax.set_xlim(0, 1)
            ax.set_ylim(0, 1.02)
            ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
            ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        names = {"as the final": "verdict is the final one", "margin as the final": "its odds lean to the final one"}
        names |= {"right": "verdict is right", "second": "verdict is the second shown"}
        for name, (colour, line, marker) in MEASURES.items():
            if name in set(shown["measure"]):
                grid[-1].plot([], [], color=colour, ls=line, marker=marker, ms=4, lw=1.5, label=names[name])
        style.outside(fig, grid[-1])
        grid[0].set_ylabel("share of traces (%)")
        style.note(
            fig,
            f"Part of the thinking that is written (%) when the judge is told to conclude; section {section}; bands: "
            "95\u00a0% interval; dashed: one half."
            + (
                " Settled: from this part of its thinking on a trace's verdict never changes; the mean over traces "
                "(in both orders: over comparisons, of the later), without those that are never settled."
                if points is not None
                else ""
            ),
        )
        return style.finish(fig, "commitment", shown)


def _points(points: pd.DataFrame, judge: str, mode: str, section: str) -> str:
    here = points[(points["judge"] == judge) & (points["mode"] == mode) & (points["section"] == section)]
    said = [
        f"\n{'settled in both orders' if row.unit == 'comparison' else 'settled'} at {100 * row.value:.0f} % "
        f"[{100 * row.lo:.0f}, {100 * row.hi:.0f}]"
        for row in here.itertuples()
    ]
    return "".join(said)


def steps(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Share of verdicts that change when a step is removed or corrupted, by kind of step and by position, one panel per
    judge; dashed: with nothing removed.

    `table`: judge, mode, edit, by, of, n, value, lo, hi. Raises ValueError for an empty table.
    """
    shown = style.need(table, "judge mode edit by of n value lo hi")
    panels = list(dict.fromkeys(zip(shown["judge"], shown["mode"])))
    edited = shown[shown["edit"].isin(EDITS)]
    kinds = sorted(edited.loc[edited["by"] == "kind", "of"].unique())
    places = [place for place in ("early", "middle", "late") if place in set(edited["of"])]
    rows = [("all", "all"), *(("kind", k) for k in kinds), *(("position", p) for p in places)]
    with style.apply():
        fig = style.figure(3.6 + 2.2 * len(panels), 1.3 + 0.36 * len(rows), title)
        grid = fig.subplots(1, len(panels), sharey=True, sharex=True, squeeze=False)[0]
        changed: list[str] = []
        wronged = set(edited.loc[(edited["by"] == "kind") & (edited["edit"] != "removed"), "of"])
        bare = [name for name in kinds if name not in wronged]
        for ax, (judge, mode) in zip(grid, panels):
            here = shown[(shown["judge"] == judge) & (shown["mode"] == mode)]
            control = here[here["edit"] == "nothing removed"]
            if len(control):
                changed.append(f"{100 * control['value'].iloc[0]:.1f}")
                ax.axvline(float(control["value"].iloc[0]), color=QUIET, lw=0.8, ls=DASHED)
            for y, (by, of) in enumerate(rows):
                for i, (edit, (_, colour, marker)) in enumerate(EDITS.items()):
                    found = here[(here["edit"] == edit) & (here["by"] == by) & (here["of"] == of)]
                    if found.empty:
                        continue
                    r, at = found.iloc[0], y + 0.24 * (i - 1)
                    ax.plot([r["lo"], r["hi"]], [at, at], color=colour, lw=1.5, solid_capstyle="butt", clip_on=False)
                    ax.plot(
                        [r["value"]], [at], marker, color=colour, ms=4.6, mec="white", mew=0.4, zorder=4, clip_on=False
                    )
            for line in (0.5, 0.5 + len(kinds)):
                ax.axhline(line, color=style.RULE, lw=0.8)
            ax.set_title(style.wrap(f"{judge}, {mode}", 26), loc="left")
            ax.set_xlim(0, 1)
            ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
            ax.grid(axis="x", color=style.RULE, lw=0.6)
        many = edited.groupby(["by", "of"])["n"].max()
        names = ["every step", *kinds, *(f"{p} third" for p in places)]
        labels = [f"{name}  ({many.get(row, 0):,})" for name, row in zip(names, rows)]
        grid[0].set_yticks(range(len(rows)), labels)
        grid[0].set_ylim(len(rows) - 0.5, -0.6)
        for name, colour, marker in EDITS.values():
            grid[-1].plot([], [], marker + "-", color=colour, ms=4.6, lw=1.5, label=name)
        style.outside(fig, grid[-1])
        style.note(
            fig,
            "Verdicts that change (%) when one step of the trace is edited, 95\u00a0% interval, by kind of step and by "
            "the third of the trace that it ends in; in brackets how many were, of the judge with most."
            + (f" Dashed: nothing removed ({', '.join(changed)}\u00a0%)." if changed else "")
            + (f" Nothing in a {' or '.join(bare)} could be made wrong." if bare else ""),
        )
        return style.finish(fig, "steps", shown)


def following(table: pd.DataFrame, *, source: str = "marks", section: str = "all", title: str = "") -> Figure:
    """Whether verdicts follow from what the traces state: a bar of shares per judge, with the accuracy in each part.

    `table`: judge, mode, section, source, relation, n, value, lo, hi, accuracy. Raises ValueError for an empty table.
    """
    shown = table[(table["section"] == section) & (table["source"] == source)]
    style.need(shown, "judge mode section source relation n value lo hi accuracy")
    rows = list(dict.fromkeys(zip(shown["judge"], shown["mode"])))
    with style.apply():
        fig = style.figure(7.2, 1.3 + 0.4 * len(rows), title)
        ax = fig.subplots()
        for y, (judge, mode) in enumerate(rows):
            part = shown[(shown["judge"] == judge) & (shown["mode"] == mode)].set_index("relation")
            left = 0.0
            for name, (colour, hatch) in RELATIONS.items():
                r = part.loc[name]
                box: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "lw": 0.4}
                ax.barh([y], [r["value"]], left=left, height=0.68, **box)
                if r["value"] > 0.06 and not math.isnan(r["accuracy"]):
                    ink = "white" if name in ("follows",) else INK
                    ax.text(
                        left + r["value"] / 2,
                        y,
                        f"{100 * r['accuracy']:.0f}",
                        ha="center",
                        va="center",
                        color=ink,
                        fontsize=7.5,
                    )
                left += float(r["value"])
            r = part.loc["contradicts"]
            style.beside(ax, y, f"{100 * r['value']:.1f} [{100 * r['lo']:.1f}, {100 * r['hi']:.1f}]")
        style.beside(ax, -0.75, "contradicts (%)", colour=QUIET)
        ax.set_yticks(range(len(rows)), [style.wrap(f"{judge}, {mode}", 26) for judge, mode in rows])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        drawn = [Patch(fc=colour, hatch=hatch, ec="white", label=name) for name, (colour, hatch) in RELATIONS.items()]
        style.legend(ax, 4, handles=drawn, handlelength=1.0, columnspacing=1.2)
        style.note(
            fig,
            f"Read judgments (%), section {section}: whether the verdict is for the response that the trace puts ahead "
            f"by its {source}. None ahead: they are level; in the bars: accuracy (%).",
        )
        return style.finish(fig, "following", shown)


def length(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Rank correlation of length with being right, within subset and difficulty, by section: a row per judge and mode.

    `table`: judge, mode, section, n, value, lo, hi. Raises ValueError where length never varies, or the table is empty.
    """
    shown = style.need(table[table["value"].notna()], "judge mode section n value lo hi")
    rows = list(dict.fromkeys(zip(shown["judge"], shown["mode"])))
    sections = list(dict.fromkeys(shown["section"]))
    look = style.looks(sections)
    with style.apply():
        fig = style.figure(5.6, 1.2 + 0.17 * len(rows) * (1 + len(sections)), title)
        ax = fig.subplots()
        ax.axvline(0, color=QUIET, lw=0.8, ls=DASHED)
        for y, (judge, mode) in enumerate(rows):
            for i, section in enumerate(sections):
                found = shown[(shown["judge"] == judge) & (shown["mode"] == mode) & (shown["section"] == section)]
                if len(found):
                    r, one, at = found.iloc[0], look[section], y + 0.8 * ((i + 1) / (len(sections) + 1) - 0.5)
                    ax.plot([r["lo"], r["hi"]], [at, at], color=one.colour, lw=1.4, solid_capstyle="butt")
                    ax.plot([r["value"]], [at], one.marker, color=one.colour, ms=4.6, mec="white", mew=0.4, zorder=4)
        ax.set_yticks(range(len(rows)), [f"{judge}, {mode}" for judge, mode in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        for one in look.values():
            ax.plot([], [], one.marker + "-", color=one.colour, ms=4.6, lw=1.4, label=one.name)
        style.outside(fig, ax)
        some = len(shown) < len(rows) * len(sections)
        style.note(
            fig,
            "Rank correlation of length and being right within subset and difficulty, 95\u00a0% interval."
            + " No point: length, or being right, does not vary." * some,
        )
        return style.finish(fig, "length", shown)
