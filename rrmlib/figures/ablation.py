"""Figures of the notebook `ablation`: where each arm starts and ends, and accuracy against size or label noise.

Left out: the numbers (`findings/`), files (`style.save`).

    fig = arms(models.ablation(labs, {"cold start": "cold-s", "RM-R1": "rm-r1-s"}))
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, QUIET, RULE

END, START, UNREADABLE = style.PALETTE[0], "#8c8c8c", 0.5


def arms(table: pd.DataFrame, *, section: str = "overall", title: str = "") -> Figure:
    """Accuracy of each arm (filled, with interval; grey bar: range over seeds) and of what it starts from (hollow).

    `table` of `models.ablation`: arm, section, n, value, lo, hi, read, start, start_read. An arm read less than half
    has no point: it says so. Raises ValueError for an empty table.
    """
    shown = style.need(table[table["section"] == section], "arm section n value lo hi read start start_read")
    with style.apply():
        fig = style.figure(7.4, 0.8 + 0.32 * len(shown), title)
        ax = fig.subplots()
        ax.axvline(0.5, color=QUIET, lw=0.8, ls=DASHED)
        for y, row in enumerate(shown.itertuples()):
            ax.axhline(y, color=RULE, lw=0.7, zorder=0)
            if row.start_read >= UNREADABLE:
                ax.plot([row.start], [y], "D", color=START, mfc="white", ms=5.5, zorder=3)
            text = f"{100 * row.value:.1f} [{100 * row.lo:.1f}, {100 * row.hi:.1f}]"
            if row.read >= UNREADABLE:
                if getattr(row, "seeds", 1) > 1:
                    ax.barh([y], [row.most - row.least], left=row.least, height=0.5, color="#d9e6f0")
                ax.plot([row.lo, row.hi], [y, y], color=END, lw=1.8, solid_capstyle="butt")
                ax.plot([row.value], [y], "o", color=END, ms=6, mec="white", mew=0.6, zorder=4)
            else:
                text = f"cannot be read ({100 * row.read:.0f} %)"
            if row.start_read < UNREADABLE:
                text += f"\nstart not read ({100 * row.start_read:.0f} %)"
            style.beside(ax, y, text)
        ax.plot([], [], "D", color=START, mfc="white", ms=5.5, label="start")
        ax.plot([], [], "o-", color=END, ms=6, label="end, 95 % interval")
        if "seeds" in shown.columns and shown["seeds"].max() > 1:
            ax.add_patch(Rectangle((2, 0), 0, 0, color="#d9e6f0", label="range over seeds"))
        style.legend(ax, 3)
        ax.set_yticks(range(len(shown)), shown["arm"])
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.set_xlim(0, 1.01)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        ax.tick_params(axis="y", length=0)
        what = "mean of the four sections" if section == "overall" else section
        many = int(shown["seeds"].max()) if "seeds" in shown.columns else 1
        over = f"over {many} seeds" if many > 1 else "one seed"
        style.note(fig, f"Accuracy (%), {what}; dashed: chance. n = {shown['n'].max():,} comparisons, {over}.")
        return style.finish(fig, "arms", shown)


def against(table: pd.DataFrame, *, x: str, label: str, section: str = "reasoning", title: str = "") -> Figure:
    """Accuracy against a number (column `x`: size, noise), one line per `kind`; bars: range over seeds.

    With one value of `x` the figure says that it shows no trend.

    `table`: kind, section, n, value, lo, hi, read and `x`. Raises ValueError for an empty table.
    """
    shown = style.need(table[table["section"] == section], f"kind section n value lo hi read {x}").sort_values(x)
    look = style.looks(list(dict.fromkeys(table["kind"])))
    with style.apply():
        fig = style.figure(5.0, 3.0, title)
        ax = fig.subplots()
        ax.axhline(0.5, color=QUIET, lw=0.8, ls=DASHED)
        if log := shown[x].min() > 0 and shown[x].max() > 5 * shown[x].min():
            ax.set_xscale("log")
        alone = shown[x].nunique() == 1
        for i, (name, one) in enumerate(look.items()):
            line, shift = shown[shown["kind"] == name], i - (len(look) - 1) / 2
            at = line[x] * 1.03**shift if log else line[x] + 0.008 * shift * (shown[x].max() - shown[x].min() or 1)
            ax.vlines(at, line["lo"], line["hi"], color=one.colour, lw=1.5)
            if "seeds" in line.columns and line["seeds"].max() > 1:
                ax.vlines(at, line["least"], line["most"], color=one.colour, lw=5, alpha=0.25)
            ax.plot(at, line["value"], one.marker + "-"[alone:], color=one.colour, ms=5.5, lw=1, label=one.name)
        if alone:
            ax.text(0.03, 0.6, "one value only:\nno trend", transform=ax.transAxes, va="center", color=QUIET)
            ax.set_xlim(shown[x].iloc[0] * 0.5, shown[x].iloc[0] * 1.5 or 1)
        marks = sorted(set(shown[x]))
        ax.set_xticks(marks, [f"{v:,.0f}" if v >= 1000 else f"{v:g}" for v in marks], minor=False)
        ax.minorticks_off()
        ax.set_xlabel(label)
        ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        style.legend(ax, 3)
        low = f"At least {100 * shown['read'].min():.1f} % read."
        wide = " Pale: range over seeds." if "seeds" in shown.columns and shown["seeds"].max() > 1 else ""
        only = f" Measured at one value only ({label}): no trend can be read." if alone else ""
        style.note(fig, f"Accuracy (%), {section}, 95 % interval.{wide} Dashed: chance. {low}{only}")
        return style.finish(fig, "against", shown)
