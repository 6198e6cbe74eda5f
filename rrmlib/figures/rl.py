"""Figures of the notebook `rl`, and of `distillation`: differences with what was expected, and training curves.

Accuracy by section is drawn by `evaluation.sections`, traces by `traces.py`.

Left out: the numbers (`findings/`), files (`style.save`).

    fig = contrasts(judgments.differences(rows, stated))
    fig = curves(models.curves([lab], ["rrm-s", "random-s"]))
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, INK, QUIET, RULE

PERCENT = {"accuracy", "truncated", "unparsed"}
UNITS = {"length": "length (tokens)", "entropy": "entropy (nats)", "kl": "KL (nats)"}
VERDICTS = {"supported": "#009E73", "contradicted": "#D55E00", "undecided": QUIET, "cannot be read": QUIET, "": INK}


def contrasts(table: pd.DataFrame, *, half: Collection[str] = (), title: str = "") -> Figure:
    """Paired differences with 95 % intervals; a tick is what was expected, beside it what the interval says of it.

    `table`: a, b, mode, section, n, value, lo, hi, expected, verdict, read_a, read_b; of several seeds also seeds_lo,
    seeds_hi, seeds_verdict: a thin line, and what it says, if that is another thing. `half` names rows that are no
    judges (as in `evaluation.sections`): their share is one of picks, and stands apart. Raises ValueError.
    """
    seeds = "seeds_verdict" in table.columns
    columns = (
        "a b mode section n value lo hi expected verdict read_a read_b" + seeds * " seeds_lo seeds_hi seeds_verdict"
    )
    shown = style.need(table, columns)
    with style.apply():
        fig = style.figure(8.6 + 1.0 * seeds, 0.8 + 0.3 * len(shown), title)
        ax = fig.subplots()
        ax.axvline(0, color=QUIET, lw=0.8, ls=DASHED)
        names = []
        for y, row in enumerate(shown.itertuples()):
            agreed = not seeds or row.seeds_verdict == row.verdict
            colour = VERDICTS[row.verdict if agreed else "undecided"]
            ax.axhline(y, color=RULE, lw=0.7, zorder=0)
            if seeds:
                ax.plot([row.seeds_lo, row.seeds_hi], [y, y], color=colour, lw=0.8)
            ax.plot([row.lo, row.hi], [y, y], color=colour, lw=1.8, solid_capstyle="butt")
            ax.plot([row.value], [y], "o", color=colour, ms=6, mec="white", mew=0.6, zorder=4)
            style.beside(ax, y, f"{100 * row.value:+z.1f} [{100 * row.lo:+z.1f}, {100 * row.hi:+z.1f}]")
            if row.expected:
                sign = ">" if row.expected == "above 0" else "≤" if row.expected.endswith("less") else "≥"
                bound = 0.0 if sign == ">" else float(row.expected.split()[0])
                ax.plot([bound / 100, bound / 100], [y - 0.3, y + 0.3], color=INK, lw=1.4)
                said = f"{sign} {bound:g}: {row.verdict}"
                if not agreed:
                    said += f"; seeds: {row.seeds_verdict}"
                style.beside(ax, y, said, points=112, colour=colour)
            names.append(f"{row.a} − {row.b}, {row.section}{'' if row.mode == 'greedy' else f', {row.mode}'}")
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
        sides = [shown[[side, f"read_{side}"]].set_axis(["judge", "read"], axis=1) for side in ("a", "b")]
        read = pd.concat(sides).groupby("judge", sort=False)["read"].min()
        low, picked = read.drop(list(half), errors="ignore").min(), [name for name in read.index if name in half]
        note = "Points of accuracy, paired by comparison, 95 % interval clustered by problem. "
        note += f"Black tick: what was expected. n = {style.span(shown['n'])}; at least {100 * low:.1f} % of the "
        note += "judgments compared were read."
        note += " Thick: these models; thin: another training, Student's interval over the seeds." * seeds
        picks = [f" {name} has a pick in {100 * read[name]:.1f} %, else half a credit." for name in picked]
        style.note(fig, note + "".join(picks))
        return style.finish(fig, "contrasts", shown)


def curves(table: pd.DataFrame, *, judges: Sequence[str] | None = None, title: str = "") -> Figure:
    """One panel per metric over steps: raw values as thin lines, smoothed ones thick, one colour per model.

    `table`: seed, judge, step, metric, n, value, smooth, lists. The caption names the models a part of whose rollouts
    judge lists, and that part: their curves are not those of pairs. Raises ValueError for an empty table.
    """
    shown = style.need(table, "seed judge step metric n value smooth lists")
    look = style.looks([*(judges or ()), *shown["judge"]])
    metrics = list(dict.fromkeys(shown["metric"]))
    across = min(3, len(metrics))
    with style.apply():
        fig = style.figure(2.4 * across + 1.6, 0.9 + 1.75 * math.ceil(len(metrics) / across), title)
        axes = np.atleast_1d(fig.subplots(math.ceil(len(metrics) / across), across, sharex=True)).ravel()
        for ax in axes[len(metrics) :]:
            ax.set_visible(False)
        for ax, metric in zip(axes, metrics):
            for (name, _), run in shown[shown["metric"] == metric].groupby(["judge", "seed"], sort=False):
                ax.plot(run["step"], run["value"], color=look[name].colour, lw=0.5, alpha=0.35)
                every = max(1, len(run) // 5)
                line = {"color": look[name].colour, "marker": look[name].marker, "markevery": every, "ms": 4}
                ax.plot(run["step"], run["smooth"], lw=1.5, **line)
            if metric in PERCENT:
                ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}")
            ax.set_title(f"{metric} (%)" if metric in PERCENT else UNITS.get(metric, metric), loc="left")
            ax.tick_params(labelbottom=True)
        for ax in axes[max(0, len(metrics) - across) : len(metrics)]:
            ax.set_xlabel("RL step")
        used = [one for name, one in look.items() if name in set(shown["judge"])]
        for one in used:
            axes[0].plot([], [], color=one.colour, marker=one.marker, ms=4, lw=1.5, label=one.name)
        fig.legend(loc="outside right center", frameon=False, fontsize=8)
        mixed = {name: share for name, share in shown.groupby("judge", sort=False)["lists"].first().items() if share}
        note = f"Thin: each step ({style.span(shown['n'])} rollouts, sampled); thick: moving mean."
        for name, share in mixed.items():
            note += f" Of what {look[str(name)].name} judges {100 * share:.0f} % are lists, where chance is lower than "
            note += "in pairs: not to be compared with the others."
        style.note(fig, note)
        return style.finish(fig, "curves", shown)
