"""Figures of how judges think (`findings.traces`), for the notebooks `world` and `rl`: behaviours, length, gain.

Left out: the numbers (`findings/`), files (`style.save`).

    fig = behaviours(traces.behaviours(rows), judges=["base-s", "rrm-s"])
    fig = thinking(traces.thinking(rows), traces.effort(rows))
    fig = gain(traces.gain(rows, "base-s", "rrm-s", forced))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, QUIET

# Good, then looking without judging, then rules of thumb; what no behaviour explains is grey.
BEHAVIOURS = {
    "careful": ("#0072B2", ""),
    "read": ("#56B4E9", ""),
    "guess": ("#E69F00", ""),
    "first": ("#D55E00", ""),
    "longer": ("#CC79A7", "////"),
    "polite": ("#882255", ""),
    "hint": ("#009E73", "...."),
    "other": ("#8c8c8c", ""),
    "none": ("#d5d5d5", ""),
}


def behaviours(
    table: pd.DataFrame, *, section: str = "reasoning", judges: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """How often each behaviour is used: one bar of shares per judge and mode, with the share of `careful` beside it.

    `table`: judge, mode, section, behaviour, n, value, lo, hi, read. Raises ValueError for an empty table.
    """
    shown = style.need(table[table["section"] == section], "judge mode section behaviour n value lo hi read")
    rows = list(dict.fromkeys(zip(shown["judge"], shown["mode"])))
    if judges is not None:
        rows = [row for row in rows if row[0] in judges]
    names = [f"{judge}, {mode}" for judge, mode in rows]
    with style.apply():
        fig = style.figure(6.6, 1.3 + 0.32 * len(rows), title)
        ax = fig.subplots()
        for y, (judge, mode) in enumerate(rows):
            part = shown[(shown["judge"] == judge) & (shown["mode"] == mode)].set_index("behaviour")
            left = 0.0
            for name, (colour, hatch) in BEHAVIOURS.items():
                value = float(part["value"].get(name, 0.0))
                box: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "lw": 0.4}
                ax.barh([y], [value], left=left, height=0.66, **box)
                left += value
            best = part.loc["careful"]
            text = f"{100 * best['value']:.1f} [{100 * best['lo']:.1f}, {100 * best['hi']:.1f}]"
            style.beside(ax, y, text)
        style.beside(ax, -0.75, "careful (%)", colour=QUIET)
        ax.set_yticks(range(len(rows)), names)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        used = [name for name in BEHAVIOURS if shown.loc[shown["behaviour"] == name, "value"].max() > 0]
        drawn = [Patch(fc=BEHAVIOURS[name][0], hatch=BEHAVIOURS[name][1], ec="white", label=name) for name in used]
        many = min(5, len(used))
        style.legend(ax, many, handles=drawn, handlelength=1.2)
        least = 100 * shown["read"].min()
        style.note(
            fig,
            f"Share of judgments (%), section {section}, by how their trace begins: careful works it out, read looks "
            "at both and guesses, none writes nothing, the others guess or take the first, longer or polite one. "
            f"At least {least:.1f} % read.",
        )
        return style.finish(fig, "behaviours", shown)


def thinking(table: pd.DataFrame, effort: pd.DataFrame | None = None, *, least: int = 10, title: str = "") -> Figure:
    """Mean length of a judgment against difficulty, one line per number of shown steps, one panel per judge.

    `table`: judge, mode, shown, difficulty, n, value, lo, hi; cells of fewer than `least` comparisons are left out.
    `effort` (judge, mode, value, lo, hi) gives the rank correlation of each panel. Raises ValueError.
    """
    shown = style.need(table[table["n"] >= least], "judge mode shown difficulty n value lo hi")
    panels, steps = list(dict.fromkeys(zip(shown["judge"], shown["mode"]))), sorted(set(shown["shown"]))
    shades = {s: mpl.colormaps["viridis"](0.9 * i / max(1, len(steps) - 1)) for i, s in enumerate(steps)}
    across = min(3, len(panels))
    with style.apply():
        fig = style.figure(2.7 * across + 0.5, 0.9 + 2.3 * math.ceil(len(panels) / across), title)
        grid = fig.subplots(math.ceil(len(panels) / across), across, sharex=True, sharey=True, squeeze=False).ravel()
        for ax in grid[len(panels) :]:
            ax.set_visible(False)
        for ax, (judge, mode) in zip(grid, panels):
            part = shown[(shown["judge"] == judge) & (shown["mode"] == mode)]
            for i, (many, line) in enumerate(part.groupby("shown")):
                x = line["difficulty"] + 0.07 * (i - len(steps) / 2)  # intervals beside each other
                ax.vlines(x, line["lo"], line["hi"], color=shades[many], lw=1)
                ax.plot(x, line["value"], style.MARKERS[i % len(style.MARKERS)] + "-", color=shades[many], ms=3.5, lw=1)
            head = f"{judge}, {mode}"
            if effort is not None:
                found = effort[(effort["judge"] == judge) & (effort["mode"] == mode)]
                for r in found.itertuples():
                    known = r.value == r.value
                    head += f"\nρ = {r.value:.2f} [{r.lo:.2f}, {r.hi:.2f}]" if known else "\nρ: length does not vary"
            ax.set_title(head, loc="left", linespacing=1.3)
        for ax in grid[max(0, len(panels) - across) : len(panels)]:
            ax.set_xlabel("steps that the answer needs")
        for i, many in enumerate(steps):
            grid[0].plot([], [], style.MARKERS[i % len(style.MARKERS)] + "-", color=shades[many], ms=4, label=f"{many}")
        fig.legend(loc="outside right center", title="steps\nshown", frameon=False, fontsize=8, title_fontsize=8)
        fig.supylabel("length (tokens)", fontsize=8.5)
        note = f"Mean length, 95 % interval; cells of {least} comparisons or more"
        style.note(
            fig, note + ("; ρ: rank correlation at given subset and shown steps." if effort is not None else ".")
        )
        return style.finish(fig, "thinking", shown)


def gain(table: pd.DataFrame, *, title: str = "") -> Figure:
    """The gain of RL by section, and its two parts: choosing a behaviour, and doing it better; beside each, its value
    and how much was read of what it rests on.

    `table`: judge, before, section, part (total, choosing, doing), n, value, lo, hi, read. Raises ValueError.
    """
    shown = style.need(table, "judge before section part n value lo hi read")
    sections, parts = list(dict.fromkeys(shown["section"])), list(dict.fromkeys(shown["part"]))
    look = style.looks(parts)
    with style.apply():
        fig = style.figure(7.4, 1.2 + 0.6 * len(sections), title)
        ax = fig.subplots()
        ax.axvline(0, color=QUIET, lw=0.8, ls=DASHED)
        style.beside(ax, -0.62, "points", colour=QUIET)
        style.beside(ax, -0.62, "read (%)", points=112, colour=QUIET)
        for y, section in enumerate(sections):
            for i, part in enumerate(parts):
                row = shown[(shown["section"] == section) & (shown["part"] == part)].iloc[0]
                at, one = y + 0.26 * (i - 1), look[part]
                style.beside(ax, at, f"{100 * row['value']:+z.1f} [{100 * row['lo']:+z.1f}, {100 * row['hi']:+z.1f}]")
                style.beside(ax, at, f"{100 * row['read']:.1f}", points=112, colour=QUIET)
                ax.plot([row["lo"], row["hi"]], [at, at], color=one.colour, lw=1.6, solid_capstyle="butt")
                ax.plot([row["value"]], [at], one.marker, color=one.colour, ms=5.5, mec="white", mew=0.5, zorder=4)
        n = shown.groupby("section")["n"].max()
        ax.set_yticks(range(len(sections)), [f"{s}\nn = {n[s]:,}" for s in sections], linespacing=1.3)
        ax.set_ylim(len(sections) - 0.5, -0.5)
        ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        for one in look.values():
            ax.plot([], [], one.marker + "-", color=one.colour, ms=5.5, lw=1.6, label=one.name)
        style.legend(ax, 3)
        who = f"{shown['judge'].iloc[0]} − {shown['before'].iloc[0]}"
        style.note(
            fig,
            f"{who}, points of accuracy, 95 % interval clustered by problem. Read: the least share of the judges that "
            "a part rests on, which are both, and for choosing and doing also the base forced into each behaviour.",
        )
        return style.finish(fig, "gain", shown)
