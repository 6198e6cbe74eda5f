"""How figures look and how they are saved: one judge, one name, one colour and one marker in every figure.

Colours come from Okabe and Ito's colour-blind-safe set, without its yellow (too pale on white), and then Tol's muted
set; each also has a marker of its own, so that figures stay readable in grey. Saved files hold no clock, no commit
and no program name: the same table gives the same bytes.

Left out: the figures themselves (`evaluation.py`), captions (notebooks).

    with style.apply():
        fig = style.figure(6.5, 3.0)
        ...
    style.finish(fig, "sections", table)
    style.save(fig, "figures/laptop/evaluation.sections", meta={"benchmark": "builtin", "inputs": digest})
    style.show(fig)  # the last line of a notebook's cell
"""

from __future__ import annotations

import io
import json
import math
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import ScaledTranslation

DASHED = (0, (4, 3))
INK, QUIET, RULE = "#222222", "#6b6b6b", "#e3e3e3"  # text and axes; remarks; guide lines
RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "ytick.labelsize"), 8.5),
    "xtick.labelsize": 8,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": QUIET,
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.7),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 3),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "axes.axisbelow": True,
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "white"),
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a judge may be called "a$b$"
    "text.usetex": False,
    "pdf.fonttype": 42,
}
DPI = 200

# Judges that everybody meets have a fixed look. Baselines that read nothing are grey: they are what to beat.
KNOWN: dict[str, tuple[str, str, str]] = {  # judge: (display name, colour, marker)
    "random": ("random", "#8c8c8c", "*"),
    "first": ("first shown", "#8c8c8c", "<"),
    "longest": ("longest", "#5a5a5a", "h"),
    "shortest": ("shortest", "#5a5a5a", "d"),
}
PALETTE: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
PALETTE += ("#882255", "#332288", "#999933", "#44AA99", "#AA4499")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", ">", "8")


@dataclass(frozen=True)
class Look:
    """The display name of a judge, how its points are drawn, and the share of its judgments that could be read."""

    name: str
    colour: str
    marker: str
    read: float = 1.0


def looks(judges: Sequence[str]) -> dict[str, Look]:
    """One look per judge, in the order given. Those not in `KNOWN` take the next colour and marker; 60 pairs differ.

    Give the same list to all figures of a notebook, and a judge looks the same in all of them.
    """
    found: dict[str, Look] = {}
    for judge in dict.fromkeys(judges):
        if judge in KNOWN:
            found[judge] = Look(*KNOWN[judge])
            continue
        i = sum(j not in KNOWN for j in found)
        drawn = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        found[judge] = Look(" ".join(judge.split()) or "(no name)", *drawn)
    return found


def wrap(text: str, width: int = 30) -> str:
    """The whole text on as many lines as it needs."""
    return "\n".join(textwrap.wrap(text, width)) or text


@contextmanager
def apply() -> Iterator[None]:
    """The style, for the length of a `with` block; matplotlib's own settings are as before afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a notebook has set; the backend stays
        mpl.rcParams.update(RC)
        yield


def figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure, in inches, laid out so that nothing overlaps. It is not registered with pyplot.

    The title stands small at the top left, above `height`.
    """
    engine = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.05)
    lines = wrap(title, int(width * 15)) if title.strip() else ""
    fig = Figure(figsize=(width, height + 0.16 * len(lines.splitlines())), layout=engine, dpi=100)
    if lines:
        fig.suptitle(lines, x=0.08 / width, ha="left", fontsize=8, color=QUIET, linespacing=1.2)
    cast(Any, fig).rrm = {"title": title}
    return fig


def need(table: pd.DataFrame, columns: str) -> pd.DataFrame:
    """The table, where it has these columns and a row. Raises ValueError."""
    if missing := [c for c in columns.split() if c not in table.columns]:
        raise ValueError(f"table without column {missing[0]!r}; needed: {columns}")
    if table.empty:
        raise ValueError("the table is empty: nothing to draw")
    return table


def span(counts: pd.Series) -> str:
    """ "240 to 1,040", or the one number where they are all alike."""
    least, most = int(counts.min()), int(counts.max())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def note(fig: Figure, text: str) -> None:
    """What the axes show, in small type under them."""
    fig.supxlabel(wrap(text, int(fig.get_figwidth() * 15)), fontsize=8, linespacing=1.3)


def legend(ax: Any, columns: int, **given: Any) -> None:
    """The legend in one or more rows above the axes, under the figure's title."""
    at: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1.02), "borderaxespad": 0.4}
    ax.legend(ncols=columns, frameon=False, fontsize=8, **at, **given)


def interval(ax: Any, lo: float, hi: float, row: float, colour: str) -> None:
    """A level interval 6.5 points below the middle of its row, with ticks at its ends; nothing where an end is NaN.

    The point stands in the middle of the row: it cannot hide an interval that is narrower, or has no width at all.
    """
    if math.isnan(lo) or math.isnan(hi):
        return
    below = {"transform": ax.transData + ScaledTranslation(0, -6.5 / 72, ax.figure.dpi_scale_trans), "clip_on": False}
    ax.plot([lo, hi], [row, row], color=colour, lw=1.6, solid_capstyle="butt", zorder=3, **below)
    ax.vlines([lo, hi], row - 0.1, row + 0.1, color=colour, lw=0.8, zorder=3, **below)


def outside(fig: Figure, ax: Any) -> None:
    """The legend of `ax`, in small type right of the figure's panels."""
    fig.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=7.5)


def beside(ax: Any, row: float, text: str, *, points: float = 8, colour: str = INK) -> None:
    """Text in a row (data coordinates), that many points right of the axes.

    It ends in spaces: letters are a little wider in the saved picture than in the layout, by hinting.
    """
    drawn: dict[str, Any] = {"va": "center", "fontsize": 7.5, "color": colour, "linespacing": 1.2}
    where = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "annotation_clip": False}
    ax.annotate("\n".join(line + "   " for line in text.split("\n")), (1, row), (points, 0), **where, **drawn)


def finish(fig: Figure, kind: str, data: pd.DataFrame) -> Figure:
    """Fix the layout, so that saving twice draws the same thing twice, and keep the data shown for `save`."""
    for _ in range(2):  # the second pass sees tick labels that the first has made
        fig.draw_without_rendering()
    fig.set_layout_engine("none")
    cast(Any, fig).rrm |= {"figure": kind, "data": [_plain(row) for row in data.to_dict("records")]}
    return fig


def show(fig: Figure) -> Any:
    """The figure as an IPython Image: stored in a notebook by any kernel, whether or not it has loaded pyplot.

    Its bytes are those of the saved PNG; it is shown at half its pixels, sharp on a screen of twice the density.
    Raises ValueError for a figure that did not pass through `finish`.
    """
    from IPython.display import Image

    held, png = _held(fig), io.BytesIO()
    _draw(fig, png)
    alt = ": ".join(text for text in (held["title"], held["figure"].replace("_", " ")) if text)
    return Image(data=png.getvalue(), format="png", width=round(fig.get_figwidth() * DPI / 2), alt=alt)


def save(fig: Figure, path_stem: str | os.PathLike[str], *, meta: Mapping[str, Any]) -> list[Path]:
    """Write `<stem>.png`, `.pdf` and `.json` (the data shown, and `meta`: parameters and the digest of the inputs).

    All three are written under temporary names and then renamed, so a failure leaves no new file behind.
    Raises ValueError for a figure that did not pass through `finish`, TypeError where `meta` is not plain data.
    """
    held = _held(fig) | {"meta": _plain(dict(meta))}
    text = json.dumps(held, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    stem = Path(path_stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf", "json")]
    drafts = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    pdf = {"CreationDate": None, "ModDate": None, "Producer": "rrmlib", "Creator": "rrmlib"}
    try:
        _draw(fig, drafts[0])
        with apply():
            fig.savefig(drafts[1], format="pdf", metadata=pdf)
        drafts[2].write_text(text, encoding="utf-8")
        for draft, path in zip(drafts, paths):
            os.replace(draft, path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    return paths


def _held(fig: Figure) -> dict[str, Any]:
    held: dict[str, Any] = getattr(fig, "rrm", {})
    if "data" not in held:
        raise ValueError("this figure holds no data: make it with a function of rrmlib.figures")
    return held


def _draw(fig: Figure, target: Path | io.BytesIO) -> None:
    """PNG without program name or clock."""
    with apply():
        fig.savefig(target, format="png", dpi=DPI, metadata={"Software": None})


def _plain(value: Any) -> Any:
    """JSON's own types: numpy scalars become Python's, NaN becomes null, keys become text. Raises TypeError."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} is not plain data (text, numbers, lists, mappings): {value!r}")
