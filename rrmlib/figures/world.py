"""Figures of the notebook `world`: what can be judged without the query.

Accuracy by section is drawn by `evaluation.sections`, behaviours by `traces.behaviours`.

Left out: the numbers (`findings/`), files (`style.save`).

    fig = leaks(world.leak_table(splits["rl"], splits["test"]))
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from rrmlib.figures import style
from rrmlib.figures.style import DASHED, QUIET


def leaks(table: pd.DataFrame, *, tolerance: float = 0.03, title: str = "") -> Figure:
    """Accuracy of judges that never see the query, by section; grey: within `tolerance` of one half.

    `table`: probe, section, n, value, lo, hi, tempts, made. A section that means to tempt has hollow points. The
    caption counts the intervals that miss one half, and those expected to by chance. Raises ValueError for an empty
    table.
    """
    shown = style.need(table, "probe section n value lo hi tempts made")
    sections, probes = list(dict.fromkeys(shown["section"])), list(dict.fromkeys(shown["probe"]))
    look = style.looks(probes)
    with style.apply():
        fig = style.figure(6.4, 1.0 + 0.2 * len(shown) + 0.1 * len(sections), title)
        ax = fig.subplots()
        ax.axvspan(0.5 - tolerance, 0.5 + tolerance, color="#ececec", lw=0)
        ax.axvline(0.5, color=QUIET, lw=0.8, ls=DASHED)
        ticks = []
        for i, section in enumerate(sections):
            for row in shown[shown["section"] == section].itertuples():
                one, y = look[row.probe], i + 0.22 * (probes.index(row.probe) - (len(probes) - 1) / 2)
                ax.plot([row.lo, row.hi], [y, y], color=one.colour, lw=1.5, solid_capstyle="butt")
                face = "white" if row.tempts else one.colour
                ax.plot([row.value], [y], one.marker, color=one.colour, mfc=face, ms=5.5, zorder=3, clip_on=False)
            n = int(shown.loc[shown["section"] == section, "n"].max())
            ticks.append(f"{section}\nn = {n:,}")
        ax.set_yticks(range(len(sections)), ticks, linespacing=1.3)
        ax.set_ylim(len(sections) - 0.5, -0.5)
        ax.set_xlim(-0.02, 1.02)
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        for one in look.values():
            ax.plot([], [], one.marker + "-", color=one.colour, label=one.name, ms=5.5, lw=1.5)
        style.legend(ax, len(look))
        plain = shown[~shown["tempts"].astype(bool)]
        missed = int(((plain["lo"] > 0.5) | (plain["hi"] < 0.5)).sum())
        note = (
            f"Accuracy (%) without the query, 95 % interval. Grey: 50 ± {100 * tolerance:g}. Hollow: tempts on "
            f"purpose. Of {len(plain)} other intervals 5 % ({0.05 * len(plain):.1f}) are expected to miss 50 by "
            f"chance; {missed} do."
        )
        within = list(dict.fromkeys(shown.loc[shown["made"].astype(bool), "section"]))
        if within:
            note += f" {' and '.join(within).capitalize()}: probes trained on pairs made for them alone."
        style.note(fig, note)
        return style.finish(fig, "leaks", shown)
