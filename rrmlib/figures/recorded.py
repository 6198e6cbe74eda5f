"""Figures of notebook `recorded`: votes, sums and ratings of real recorded judgments.

Left out: tables (`findings/recorded.py`).
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, QUIET


def votes(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Accuracy of the majority of k repetitions, a line per judge. `table`: judge, k, n, value, lo, hi, unread."""
    shown = style.need(table, "judge k n value lo hi unread")
    look = style.looks(list(dict.fromkeys(shown["judge"])))
    with style.apply():
        fig = style.figure(6.4, 2.9, title)
        ax = fig.subplots()
        for i, (name, one) in enumerate(look.items()):
            line = shown[shown["judge"] == name].sort_values("k")
            x = line["k"] + 0.05 * (i - len(look) / 2)
            ax.vlines(x, line["lo"], line["hi"], color=one.colour, lw=0.9, alpha=0.5)
            label = f"{one.name} (n = {line['n'].max()})"
            ax.plot(x, line["value"], one.marker + "-", color=one.colour, ms=4.5, lw=1.2, label=label)
        ax.axhline(0.5, color=QUIET, lw=0.8, ls=DASHED)
        ax.set_xticks(sorted(set(shown["k"])))
        ax.set_xlabel("repetitions that vote")
        ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        style.outside(fig, ax)
        style.note(fig, "Accuracy (%), 95 % interval, unreadable votes counted as wrong. An illustration: few items.")
        return style.finish(fig, "votes", shown)


def resolution(table: pd.DataFrame, *, title: str = "") -> Figure:
    """How sums of k scores part responses: share of sets whose best is shared, and whose pick is that of all samples.

    `table`: source, k, n, value, lo, hi, tie. Raises ValueError for an empty table.
    """
    shown = style.need(table, "source k n value lo hi tie")
    look = style.looks(list(dict.fromkeys(shown["source"])))
    with style.apply():
        fig = style.figure(6.8, 2.7, title)
        left, right = fig.subplots(1, 2)
        for name, one in look.items():
            line = shown[shown["source"] == name].sort_values("k")
            drawn = {"color": one.colour, "ms": 4.5, "lw": 1.2}
            left.plot(line["k"], line["tie"], one.marker + "-", **drawn)
            right.fill_between(line["k"], line["lo"], line["hi"], color=one.colour, alpha=0.12, lw=0)
            right.plot(line["k"], line["value"], one.marker + "-", label=f"{one.name} (n = {line['n'].max()})", **drawn)
        for ax, what in ((left, "best is shared (%)"), (right, "same best as all samples (%)")):
            ax.set_title(what, loc="left")
            ax.set_xticks(sorted(set(shown["k"])))
            ax.set_xlabel("samples in the sum")
            ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        style.outside(fig, right)
        return style.finish(fig, "resolution", shown)


def ratings(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Bradley-Terry strengths with intervals, beside the range of sequential Elo over orders of the same matches.

    `table`: source, name, value, lo, hi, elo_lo, elo_hi, best, places. Raises ValueError for an empty table.
    """
    shown = style.need(table, "source name value lo hi elo_lo elo_hi best places").reset_index(drop=True)
    with style.apply():
        fig = style.figure(7.6, 0.9 + 0.3 * len(shown), title)
        left, right = fig.subplots(1, 2, sharey=True)
        for y, row in enumerate(shown.itertuples()):
            colour = style.PALETTE[list(dict.fromkeys(shown["source"])).index(row.source)]
            left.plot([row.lo, row.hi], [y, y], color=colour, lw=1.8, solid_capstyle="butt")
            left.plot([row.value], [y], "o", color=colour, ms=5, mec="white", mew=0.5)
            right.plot([row.elo_lo, row.elo_hi], [y, y], color=colour, lw=5, solid_capstyle="butt", alpha=0.6)
            ranks = "1 rank" if row.places == 1 else f"{row.places} ranks"
            style.beside(right, y, f"best {row.best:.0%}, Elo: {ranks}")
        left.set_yticks(range(len(shown)), [f"{r.name.rpartition('/')[2]} ({r.source})" for r in shown.itertuples()])
        left.set_ylim(len(shown) - 0.4, -0.6)
        left.set_title("Bradley-Terry, log-odds,\n95 % interval", loc="left")
        right.set_title("Elo, range over orders\nof the matches", loc="left")
        return style.finish(fig, "ratings", shown)
