"""Figures of notebook `multi_response`: picking the best of several, on the lab's lists and in simulation.

Left out: tables (`findings/tournaments.py`, `simulation.py`).
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from rrmlib.figures import style
from rrmlib.figures.style import RULE


def picks(
    table: pd.DataFrame, *, family: str = "all", cost: str = "judgments", chance: float = 0.0, title: str = ""
) -> Figure:
    """Accuracy of the pick against its cost (log scale), a line per schedule through its votes a match.

    `table`: schedule, votes, family, n, value, lo, hi, judgments, tokens. What asks no matches (a scalar model) and
    `chance` are named in the caption. `cost` is "judgments" or "tokens". Raises ValueError for an empty table.
    """
    shown = style.need(table[table["family"] == family], f"schedule votes family n value lo hi matches {cost}")
    look = style.looks(list(dict.fromkeys(shown["schedule"])))
    with style.apply():
        fig = style.figure(7.4, 3.6, title)
        ax = fig.subplots()
        ax.set_xscale("log")
        ax.grid(axis="y", color=RULE, lw=0.6)
        beside = [f"chance {100 * chance:.1f} %"] if chance else []
        for i, (name, one) in enumerate(look.items()):
            line = shown[shown["schedule"] == name].sort_values(cost)
            if line["matches"].max() == 0:
                beside.append(f"{one.name} {100 * line['value'].iloc[0]:.1f} %")
                continue
            x = line[cost] * 1.004 ** (i - len(look) / 2)
            ax.vlines(x, line["lo"], line["hi"], color=one.colour, lw=1.0, alpha=0.4)
            ax.plot(x, line["value"], one.marker + "-", color=one.colour, ms=5, lw=1.0, mec="white", label=one.name)
        ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # the range may be less than a decade
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:,.10g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(f"{cost} per list")
        style.outside(fig, ax)
        n, asked = int(shown["n"].max()), sorted(set(shown.loc[shown["matches"] > 0, "votes"]))
        order = f" Points of a line, by cost: {', '.join(map(str, asked))} votes a match." if asked else ""
        style.note(
            fig,
            f"The best of the responses is picked (%), {n} lists, 95 % interval; replications are averaged.{order} "
            f"Not drawn: {', '.join(beside) or 'nothing'}.",
        )
        return style.finish(fig, "picks", shown)


def simulated(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Accuracy of the pick against the share of round robin's comparisons, a panel per judge.

    `table`: judge, strategy, n, accuracy, lo, hi, share, runs. Raises ValueError for an empty table.
    """
    columns = "judge strategy n accuracy lo hi share runs"
    shown = style.need(table, columns)[columns.split()]  # not the seconds it took: same inputs, same bytes
    look = style.looks(list(dict.fromkeys(shown["strategy"])))
    panels = list(dict.fromkeys(shown["judge"]))
    with style.apply():
        fig = style.figure(2.5 * len(panels) + 2.4, 3.0, title)
        axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, panel in zip(axes, panels):
            here = shown[shown["judge"] == panel]
            alike = here.groupby(here["share"].round(2))["share"]  # side by side, so that each is seen
            here = here.assign(share=here["share"] + 0.016 * (alike.cumcount() - (alike.transform("size") - 1) / 2))
            ax.grid(axis="y", color=RULE, lw=0.6)
            for name, one in look.items():
                row = here[here["strategy"] == name]
                ax.vlines(row["share"], row["lo"], row["hi"], color=one.colour, lw=1.1)
                ax.plot(
                    row["share"], row["accuracy"], one.marker, color=one.colour, ms=5.5, mec="white", label=one.name
                )
            ax.set_xlim(0, 1.1)
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
            ax.set_title(panel, loc="left")
            ax.set_xlabel("comparisons (% of round robin)")
        style.outside(fig, axes[0])
        n, runs = shown["n"].iloc[0], shown["runs"].min()
        axes[0].set_ylabel("the best is picked (%)")
        style.note(
            fig,
            f"The best of {n} candidates is picked, one vote a match, {runs:,} simulated runs, 95 % interval. Points "
            "of equal cost stand beside each other.",
        )
        return style.finish(fig, "simulated", shown)


def growth(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Comparisons, and rounds (calls of the engine), that each schedule needs as the candidates grow.

    `table` of `simulation.growth`: strategy, n, matches, rounds (its seconds are not drawn: same inputs, same bytes).
    Raises ValueError for an empty table.
    """
    columns = "strategy n matches rounds"
    shown = style.need(table, columns)[columns.split()]
    look = style.looks(list(dict.fromkeys(shown["strategy"])))
    with style.apply():
        fig = style.figure(7.6, 3.0, title)
        axes = fig.subplots(1, 2)
        for ax, (what, label) in zip(axes, {"matches": "comparisons", "rounds": "rounds, each one batch"}.items()):
            for name, one in look.items():
                line = shown[shown["strategy"] == name].sort_values("n")
                ax.plot(line["n"], line[what], one.marker + "-", color=one.colour, ms=5, lw=1.3, label=one.name)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.grid(axis="y", color=RULE, lw=0.6)
            marks = sorted(set(shown["n"]))
            ax.set_xticks(marks, [f"{n:,}" for n in marks], fontsize=7.5)
            ax.minorticks_off()
            ax.yaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
            ax.set_xlabel("candidates")
            ax.set_title(label, loc="left")
        style.outside(fig, axes[0])
        style.note(fig, "One simulated tournament a size. A judge of known strength, one vote a match.")
        return style.finish(fig, "growth", shown)
