"""Figures of the notebook `distillation`: what the filter leaves, and the AUC of the meta RM.

Accuracy by section is drawn by `evaluation.sections`, curves and contrasts by `rl.py`.

Left out: the numbers (`findings/`), files (`style.save`).

    fig = oracles(world.filtered(world.oracles(splits["sft"], "rm_r1_compact", 0), 0))
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, INK, QUIET, RULE


def oracles(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Share of right traces in what each arm learns from, one panel per section; right of it the share that it keeps.

    `table`: way, section, n, value, lo, hi, kept. Raises ValueError for an empty table.
    """
    shown = style.need(table, "way section n value lo hi kept")
    sections, ways = list(dict.fromkeys(shown["section"])), list(dict.fromkeys(shown["way"]))
    look = style.looks(ways)
    with style.apply():
        fig = style.figure(1.2 + 1.75 * len(sections), 1.0 + 0.3 * len(ways), title)
        axes = fig.subplots(1, len(sections), sharey=True, squeeze=False)[0]
        for ax, section in zip(axes, sections):
            part = shown[shown["section"] == section].set_index("way")
            ax.set_title(f"{section}\nn = {part['n'].max():,}", loc="left", linespacing=1.3)
            for y, way in enumerate(ways):
                row, one = part.loc[way], look[way]
                ax.axhline(y, color=RULE, lw=0.7, zorder=0)
                style.interval(ax, row["lo"], row["hi"], y, one.colour)
                drawn = {"ms": 9.5 if one.marker == "*" else 6.0, "mec": "white", "mew": 0.5, "zorder": 4}
                ax.plot([row["value"]], [y], one.marker, color=one.colour, **drawn)
                kept = f"{100 * row['kept']:.0f}"  # beyond the scale: no mark can stand on it
                ax.text(1.3, y, kept, ha="right", va="center_baseline", fontsize=7.5, color=QUIET)
            ax.text(1.3, -0.6, "keeps", ha="right", va="bottom", fontsize=7.5, color=QUIET)
            ax.spines["bottom"].set_bounds(-0.02, 1.04)
            ax.set_xlim(-0.02, 1.3)
            ax.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            ax.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(ways)), ways)
        axes[0].set_ylim(len(ways) - 0.5, -0.6)
        style.note(fig, "Right traces among those learned from (%), 95 % interval; keeps: share of all traces (%).")
        return style.finish(fig, "oracles", shown)


def meta(table: pd.DataFrame, *, bar: float = 0.65, title: str = "") -> Figure:
    """AUC of the meta RM within an item's samples in one order, and pooled; the black tick: what was expected within.

    `table`: judge, kind (as `models.meta_auc` has it), n, value, lo, hi. Raises ValueError for an empty table.
    """
    shown = style.need(table, "judge kind n value lo hi")
    with style.apply():
        fig = style.figure(6.4, 1.0 + 0.47 * len(shown), title)
        ax = fig.subplots()
        ax.axvline(0.5, color=QUIET, lw=0.8, ls=DASHED)
        for y, row in enumerate(shown.itertuples()):
            colour = style.PALETTE[0] if row.kind == "within" else QUIET
            ax.plot([row.lo, row.hi], [y, y], color=colour, lw=1.8, solid_capstyle="butt")
            ax.plot(
                [row.value],
                [y],
                "s" if row.kind == "pooled" else "o",
                color=colour,
                ms=6,
                mec="white",
                mew=0.5,
                zorder=4,
            )
            if row.kind == "within":
                ax.plot([bar, bar], [y - 0.3, y + 0.3], color=INK, lw=1.4)
            text = f"{row.value:.3f} [{row.lo:.3f}, {row.hi:.3f}]"
            style.beside(ax, y, text)
        names = [
            f"{r.judge}, {r.kind}\nn = {r.n:,} {'judgments' if r.kind == 'pooled' else 'sets of samples'}"
            for r in shown.itertuples()
        ]
        ax.set_yticks(range(len(shown)), names, linespacing=1.3)
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.set_xlim(min(0.4, shown["lo"].min()), 1.0)
        style.note(
            fig,
            "AUC of right against wrong judgments of pairs, 95 % interval; of the four sections, what was read. "
            "Within: among the samples of one pair in one order, where they hold both; pooled: all together; all: "
            "also what could not be read, as wrong, and the unseen family. Dashed: chance. Black tick: expected.",
        )
        return style.finish(fig, "meta", shown)
