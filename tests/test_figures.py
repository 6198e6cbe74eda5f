"""Figures: made from tables alone, complete, nothing clipped or overlapping, and the same bytes every time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from rrmlib.figures import evaluation, style

NAMES = [
    "o1-mini-2024-09-12 (arena_hard)",
    "Meta-Llama-3.1-405B-Instruct-Turbo, eight votes, both orders, think budget 4096",
    "a$b$ {x}_judge",
    *(f"judge-{i}" for i in range(9)),
]
RM_BENCH = ["overall", "chat", "math", "code", "hard", "normal", "easy"]
RM_BENCH += [f"{domain}/{level}" for domain in ("chat", "math", "code") for level in ("hard", "normal", "easy")]
SECTIONS = ["overall", "chat", "chat_hard", "safety", "reasoning", "mmlu-pro-computer science", "s6", "s7", "s8", "s9"]


def accuracy(judges: list[str], sections: list[str]) -> pd.DataFrame:
    rows = [
        (judge, section, rule, v, max(0.0, v - 0.1), min(1.0, v + 0.1), 20, 20)
        for i, judge in enumerate(judges)
        for k, section in enumerate(sections)
        for rule in ("official", "wrong", "half", "excluded")
        for v in [(i * 0.37 + k * 0.11) % 1.0]
    ]
    return pd.DataFrame(rows, columns=["judge", "section", "rule", "value", "lo", "hi", "n", "clusters"])


def position(judges: list[str], metrics: tuple[str, ...] = evaluation.METRICS) -> pd.DataFrame:
    # all but the same place: the labels have to make room
    rows = [(j, m, 0.6 + i / 200, 0.5, 0.7, 40) for i, j in enumerate(judges) for m in metrics]
    return pd.DataFrame(rows, columns=["judge", "metric", "value", "lo", "hi", "n"])


def coverage(judges: list[str]) -> pd.DataFrame:
    counts = dict(zip(evaluation.STATES, (9_971, 20, 6, 2, 1)))
    rows = [(j, state, count, count / 10_000) for j in judges for state, count in counts.items()]
    return pd.DataFrame(rows, columns=["judge", "state", "count", "share"])


def ranking(judges: list[str]) -> pd.DataFrame:
    rows = [(j, 0.9 - i / 20, 0.85 - i / 20, 0.95 - i / 20, "abcdefghijkl"[i : i + 2]) for i, j in enumerate(judges)]
    return pd.DataFrame(rows, columns=["judge", "value", "lo", "hi", "group"])


def draw(kind: str, names: list[str], **kwargs: Any) -> Figure:
    """The figure of that kind, with every warning of matplotlib (a layout that failed, a missing glyph) an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if kind == "sections":
            return evaluation.sections(accuracy(names, SECTIONS[: 1 + len(names)]), chance=0.5, **kwargs)
        table = {"position_bias": position, "coverage": coverage, "ranking": ranking}[kind](names)
        make: Callable[..., Figure] = getattr(evaluation, kind)
        return make(table, **kwargs)


def solved(share: float) -> pd.DataFrame:
    """A judge that was read, and a row that picked in this share of its comparisons."""
    table = with_read(accuracy(["x", "base solves"], ["reasoning", "chat"]), **{"base solves": share})
    return table[(table["judge"] == "x") | (table["section"] == "reasoning")]


KINDS = ["sections", "position_bias", "coverage", "ranking"]


def texts(fig: Figure) -> list[Text]:
    found = fig.findobj(lambda a: isinstance(a, Text) and a.get_visible() and bool(a.get_text().strip()))
    hidden = [ax for ax in fig.axes if not ax.get_visible()]
    skip = {id(t) for ax in hidden for t in ax.findobj(Text)}
    for ax in fig.axes:  # tick labels that are switched off or lie beyond the limits are never drawn
        for axis in (ax.xaxis, ax.yaxis):
            drawn = {id(t) for tick in axis._update_ticks() for t in (tick.label1,) if t.get_visible()}
            skip |= {id(t) for tick in axis.get_major_ticks() for t in (tick.label1, tick.label2)} - drawn
    return [t for t in found if id(t) not in skip]


def check_room(fig: Figure) -> None:
    """Every text inside the canvas, none upon another, none too small."""
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts(fig)]
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1, text  # noqa: PT018
    for i, (text, box) in enumerate(boxes):
        for other, b in boxes[i + 1 :]:
            width, height = min(box.x1, b.x1) - max(box.x0, b.x0), min(box.y1, b.y1) - max(box.y0, b.y0)
            assert width < 1 or height < 2, (text, other)  # descenders may touch the line below
    assert all(t.get_fontsize() >= 7 for t in texts(fig))


def markers(ax: Any) -> list[tuple[float, str, str]]:
    """(x, marker, face) of every point drawn."""
    lines = [line for line in ax.lines if line.get_marker() not in ("None", "", None)]
    return [(float(line.get_xdata()[0]), line.get_marker(), line.get_markerfacecolor()) for line in lines]


def said(fig: Figure) -> str:
    return " ".join(" ".join(t.get_text() for t in texts(fig)).split())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_all_judges_are_named_inside_the_canvas_without_overlap(kind: str, count: int) -> None:
    fig = draw(
        kind, NAMES[:count], title="A benchmark with a long name, and words on what of it was used " * (count // 5)
    )
    assert isinstance(fig, Figure)
    shown = said(fig).replace(" ", "")
    assert all(name.replace(" ", "") in shown for name in NAMES[:count])
    check_room(fig)


def test_the_least_share_of_a_section_is_named_with_it() -> None:
    table = accuracy(["x", "y"], ["overall", "chat", "math_hard"]).assign(read=1.0)
    table.loc[(table["judge"] == "x") & (table["section"] == "math_hard"), "read"] = 0.912
    table.loc[(table["judge"] == "x") & (table["section"] == "overall"), "read"] = 0.96
    shown = said(evaluation.sections(table))
    assert "x, 91.2 % read (math hard)" in shown
    assert "y," not in shown
    even = table.assign(read=0.912)
    assert "x, 91.2 % read y, 91.2 % read" in said(evaluation.sections(even))  # alike everywhere: no section to name


def test_every_value_and_interval_is_drawn() -> None:
    table = accuracy(["random", "x"], ["overall", "chat"])
    official = table[table["rule"] == "official"]
    fig = evaluation.sections(table)
    for ax, (_, part) in zip(fig.axes, official.groupby("section", sort=False)):
        lines = [tuple(line.get_xdata()) for line in ax.lines]
        for row in part.itertuples():
            assert (row.lo, row.hi) in lines
            assert (row.value,) in lines
            assert f"{100 * row.value:.1f}" in said(fig)


def test_missing_data_is_said() -> None:
    table = accuracy(["x", "y"], ["overall", "chat"])
    table = table[~((table["judge"] == "x") & (table["section"] == "chat"))]
    assert said(evaluation.sections(table)).count("not measured") == 1
    table.loc[table["judge"] == "y", "value"] = math.nan
    assert said(evaluation.sections(table)).count("not measured") == 3
    table = accuracy(["x"], ["overall"])
    table["lo"] = math.nan
    assert "Hollow: no interval" in said(evaluation.sections(table))
    places = position(["x", "y"])
    fig = evaluation.position_bias(places[(places["judge"] == "x") | (places["metric"] == "first_preference")])
    assert "Not measured: y." in said(fig)
    assert "Repetition stability: not measured" in said(
        evaluation.position_bias(position(["x"], evaluation.METRICS[:2]))
    )
    counts = coverage(["x", "y"])
    counts.loc[counts["judge"] == "y", ["count", "share"]] = math.nan
    assert said(evaluation.coverage(counts)).count("not measured") == 1
    for kind in KINDS:  # a judge that the notebook knows of and the table does not
        shown = said(draw(kind, ["x"], judges=["x", "never run"]))
        assert "never run" in shown
        assert "ot measured" in shown, kind


def test_small_counts_are_written_out() -> None:
    assert all(count in said(evaluation.coverage(coverage(["x"]))) for count in ("9,971", "20", "6", "2", "1"))


def test_ranks_instead_of_letters_and_best_first() -> None:
    table = ranking(["worse", "better"]).assign(value=[0.4, 0.8], lo=0.3, hi=0.9, group=["2", "1"])
    fig = evaluation.ranking(table)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["better", "worse"]
    assert "rank" in said(fig)
    assert "share a letter" not in said(fig)


def test_labels_are_spread_by_as_little_as_needed() -> None:
    assert evaluation._spread([0.8, 0.2], [0.1, 0.1]) == pytest.approx([0.8, 0.2])
    at = evaluation._spread([0.5, 0.5, 0.5], [0.1, 0.1, 0.1])
    assert at[1] == pytest.approx(0.5)
    assert np.diff(at) == pytest.approx([-0.108, -0.108])
    at = evaluation._spread([1.0, 1.0], [0.1, 0.1])
    assert at[0] <= 0.95
    assert evaluation._spread([], []) == []


def test_bad_tables_are_refused() -> None:
    table = accuracy(["x"], ["overall"])
    with pytest.raises(ValueError, match="without column 'lo'"):
        evaluation.sections(table.drop(columns="lo"))
    with pytest.raises(ValueError, match="empty"):
        evaluation.sections(table[:0])
    with pytest.raises(ValueError, match="two rows for x, overall, official"):
        evaluation.sections(pd.concat([table, table]))
    with pytest.raises(ValueError, match="unknown rule 'best'"):
        evaluation.sections(table, rule="best")
    with pytest.raises(ValueError, match="unknown state 'lost'"):
        evaluation.coverage(coverage(["x"]).replace({"state": {"read": "lost"}}))


def test_looks_are_fixed_for_known_and_distinct_for_unknown_judges() -> None:
    assert style.looks(["x", "random"])["random"] == style.looks(["random"])["random"]
    many = [f"judge {i}" for i in range(len(style.PALETTE) + 5)]
    found = style.looks(many)
    assert found == style.looks(many)
    assert len({(look.colour, look.marker) for look in found.values()}) == len(many)
    assert len({look.colour for look in found.values()}) == len(style.PALETTE)
    assert not {look.colour for look in found.values()} & {colour for _, colour, _ in style.KNOWN.values()}
    assert style.looks(["a\n  b"])["a\n  b"].name == "a b"


MAKE = """
import sys; sys.path.insert(0, sys.argv[1])
from test_figures import *
for kind in KINDS:
    style.save(draw(kind, NAMES[:3]), sys.argv[2] + "/evaluation." + kind, meta={"benchmark": "builtin", "n": 3})
"""


def test_same_table_same_bytes_in_another_process_too(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for kind in KINDS:
        fig = draw(kind, NAMES[:3])
        meta = {"benchmark": "builtin", "n": np.int64(3)}
        paths = style.save(fig, here / f"evaluation.{kind}", meta=meta)
        assert [p.name for p in paths] == [f"evaluation.{kind}.{end}" for end in ("png", "pdf", "json")]
        before = [p.read_bytes() for p in paths]
        assert [p.read_bytes() for p in style.save(fig, here / f"evaluation.{kind}", meta=meta)] == before
    env = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", MAKE, str(Path(__file__).parent), str(there)], check=True, env=env)
    assert sorted(p.name for p in here.iterdir()) == sorted(p.name for p in there.iterdir())
    assert len(list(here.iterdir())) == 3 * len(KINDS)
    for path in here.iterdir():
        assert path.read_bytes() == (there / path.name).read_bytes(), path.name
        assert b"CreationDate" not in path.read_bytes()


def test_json_holds_the_data_shown_and_the_meta(tmp_path: Path) -> None:
    table = accuracy(["x"], ["overall"])
    table.loc[table["rule"] == "half", "lo"] = math.nan
    paths = style.save(
        evaluation.sections(table, rule="half"), tmp_path / "f", meta={"inputs": "ab12", "orders": ("AB",)}
    )
    held = json.loads(paths[2].read_text())
    assert held["meta"] == {"inputs": "ab12", "orders": ["AB"]}
    assert [(row["rule"], row["lo"], row["n"]) for row in held["data"]] == [("half", None, 20)]


def test_a_failed_save_leaves_the_old_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fig = draw("coverage", ["x"])
    paths = style.save(fig, tmp_path / "f", meta={"run": 1})
    before = [p.read_bytes() for p in paths]
    with pytest.raises(TypeError, match="not plain data"):
        style.save(fig, tmp_path / "f", meta={"run": object()})
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        style.save(fig, tmp_path / "f", meta={"run": 2})
    assert [p.read_bytes() for p in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    with pytest.raises(ValueError, match="holds no data"):
        style.save(Figure(), tmp_path / "f", meta={})


def test_nothing_global_is_changed(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    with mpl.rc_context({"font.size": 31, "lines.linewidth": 9, "savefig.dpi": 11}):
        before = dict(mpl.rcParams)
        fig = draw("ranking", ["x", "y"])
        inside = style.save(fig, tmp_path / "inside", meta={})[0].read_bytes()
        assert dict(mpl.rcParams) == before
    assert style.save(draw("ranking", ["x", "y"]), tmp_path / "f", meta={})[0].read_bytes() == inside
    assert plt.get_fignums() == []


def with_read(table: pd.DataFrame, **shares: float) -> pd.DataFrame:
    return table.assign(read=[shares.get(judge, 1.0) for judge in table["judge"]])


@pytest.mark.parametrize("kind", ["sections", "ranking"])
@pytest.mark.parametrize("share", [0.0, 0.019])
def test_a_judge_that_was_not_read_has_no_point_interval_value_or_rank(kind: str, share: float, tmp_path: Path) -> None:
    table = accuracy(["good", "lost"], ["overall", "chat"]) if kind == "sections" else ranking(["good", "lost"])
    lost = table["judge"] == "lost"
    table.loc[lost, ["value", "lo", "hi"]] = [0.123, 0.045, 0.678]
    if kind == "ranking":
        table["group"] = ["1", "7"]
    fig = getattr(evaluation, kind)(with_read(table, lost=share))
    panels = [ax for ax in fig.axes if ax.get_visible()]
    assert said(fig).count("not read") == len(panels)
    assert "Not read: less than 2 % of the judgments could be read." in said(fig)
    assert "% read" not in said(fig)
    for ax in panels:
        assert len(markers(ax)) == 1
        drawn = {float(x) for line in ax.lines for x in line.get_xdata()}
        assert not drawn & {0.123, 0.045, 0.678}
    words = [t.get_text() for t in texts(fig)]
    assert not {"12.3", "12.3 [4.5, 67.8]", "7"} & set(words)
    held = json.loads(style.save(fig, tmp_path / "f", meta={})[2].read_text())
    rows = [row for row in held["data"] if row["judge"] == "lost"]
    assert rows
    assert all(row["value"] is row["lo"] is row["hi"] is None and row["read"] == share for row in rows)


def test_an_unread_judge_never_outranks_a_measured_one() -> None:
    table = with_read(ranking(["half", "good"]).assign(value=[0.9, 0.4]), half=0.0)
    assert [t.get_text() for t in evaluation.ranking(table).axes[0].get_yticklabels()] == ["good", "half"]
    assert said(evaluation.ranking(with_read(ranking(["x"]), x=0.0))).count("not read") == 1


@pytest.mark.parametrize("kind", ["sections", "ranking"])
def test_a_judge_that_was_read_in_part_is_hollow_and_says_so_beside_its_name(kind: str) -> None:
    table = accuracy(["good", "part"], ["overall"]) if kind == "sections" else ranking(["good", "part"])
    make = getattr(evaluation, kind)
    fig = make(with_read(table, part=0.05, good=0.99))
    names = [t.get_text() for t in texts(fig)]
    assert "part, 5 % read" in names
    assert "good" in names
    faces = dict(zip(("good", "part"), (face for _, _, face in markers(fig.axes[0]))))
    assert faces["part"] == "white"
    assert faces["good"] != "white"
    assert "Hollow: read in part (least share of a section beside the name)." in said(fig)
    table.loc[table["judge"] == "good", "lo"] = math.nan
    assert "Hollow: no interval, or read in part (least share of a section beside the name)." in said(
        make(with_read(table, part=0.05))
    )
    assert "Hollow" not in said(make(with_read(table[table["judge"] == "part"], part=0.98)))


def test_half_credit_is_said_of_the_row_that_earns_it_and_only_where_it_is_shown() -> None:
    how: dict[str, Any] = {"rule": "wrong", "half": {"base solves"}}
    fig = evaluation.sections(solved(0.96), **how)
    assert "counted as wrong. base solves: half right where it has no pick (4 %)." in said(fig)
    assert "% read" not in said(fig)
    assert all(face != "white" for ax in fig.axes for _, _, face in markers(ax))
    assert [row["read"] for row in fig.rrm["data"] if row["judge"] == "base solves"] == [0.96]  # type: ignore[attr-defined]
    check_room(fig)
    other = evaluation.sections(solved(0.96), sections=["chat"], **how)
    assert "half right" not in said(other)
    assert "half right" not in said(evaluation.sections(solved(0.96), rule="wrong"))
    assert "base solves, 96 % read" in said(evaluation.sections(solved(0.96), rule="wrong"))
    never = said(evaluation.sections(solved(0.0), **how))
    assert "not read" in never
    assert "no pick (100 %)" in never
    assert "no pick." in said(evaluation.sections(solved(0.96).drop(columns="read"), **how))


def hidden(ax: Any) -> list[float]:
    """Points (1/72 inch) between the lower edge of each mark and the interval of its row: none below 0."""
    ax.figure.draw_without_rendering()
    points = [line for line in ax.lines if line.get_marker() not in ("None", "", None)]
    bars = [line for line in ax.lines if line.get_linewidth() == 1.6 and line not in points]
    assert len(bars) == len(points)
    unit = ax.figure.dpi / 72
    at = [[(line.get_transform().transform(line.get_xydata())[0][1]) / unit for line in m] for m in (points, bars)]
    return [p - line.get_markersize() / 2 - b - bar.get_linewidth() / 2 for p, b, line, bar in zip(*at, points, bars)]


@pytest.mark.parametrize("kind", ["sections", "ranking"])
def test_no_mark_hides_an_interval_however_narrow(kind: str) -> None:
    names = ["random", "x", "longest"]  # the star is the tallest mark
    table = (accuracy(names, ["overall"]) if kind == "sections" else ranking(names)).assign(value=1.0, lo=1.0, hi=1.0)
    gaps = hidden(getattr(evaluation, kind)(table).axes[0])
    assert len(gaps) == 3
    assert min(gaps) > 0.5
    ends = getattr(evaluation, kind)(table).axes[0].collections
    assert [len(ticks.get_segments()) for ticks in ends] == [2, 2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_the_title_is_in_the_figure_and_in_its_data(kind: str, tmp_path: Path) -> None:
    fig = draw(kind, ["x", "y"], title="JudgeBench, 218 items")
    (title,) = (t for t in texts(fig) if t.get_text() == "JudgeBench, 218 items")
    box = title.get_window_extent()
    assert box.x0 < 0.03 * fig.bbox.x1
    assert all(box.y0 >= t.get_window_extent().y1 for t in texts(fig) if t is not title)
    assert json.loads(style.save(fig, tmp_path / "f", meta={})[2].read_text())["title"] == "JudgeBench, 218 items"
    assert json.loads(style.save(draw(kind, ["x"]), tmp_path / "f", meta={})[2].read_text())["title"] == ""


@pytest.mark.parametrize("count", [1, 9])
def test_sixteen_sections_wrap_and_each_value_stands_in_its_own_panel(count: int) -> None:
    table = accuracy(NAMES[:count], RM_BENCH)
    fig = evaluation.sections(table, chance=0.5)
    check_room(fig)
    boxes = [ax.get_window_extent() for ax in fig.axes]
    assert len(boxes) == 16
    assert len({round(box.x0) for box in boxes}) == 4
    assert min(box.width for box in boxes) > 1.2 * fig.dpi
    for ax, (_, part) in zip(fig.axes, table[table["rule"] == "official"].groupby("section", sort=False)):
        values = [t for t in ax.texts if t.get_text() in {f"{100 * v:.1f}" for v in part["value"]}]
        assert len(values) == count
        own = ax.get_window_extent()
        assert all(t.get_window_extent().x0 > own.x0 and t.get_window_extent().x1 <= own.x1 + 0.5 for t in values)
    lefts = sorted({round(box.x0) for box in boxes})
    gaps = [step - boxes[0].width for step in np.diff(lefts)]
    assert min(gaps) > 0.2 * fig.dpi


def test_sections_can_be_chosen_and_ordered(tmp_path: Path) -> None:
    fig = evaluation.sections(accuracy(["x"], RM_BENCH), sections=["hard", "overall"])
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["hard", "overall"]
    held = json.loads(style.save(fig, tmp_path / "f", meta={})[2].read_text())
    assert {row["section"] for row in held["data"]} == {"hard", "overall"}
    for wrong in (["harder"], []):
        with pytest.raises(ValueError, match=r"unknown sections .*known: overall, chat, math"):
            evaluation.sections(accuracy(["x"], RM_BENCH), sections=wrong)


def places(points: dict[str, tuple[float, float]]) -> pd.DataFrame:
    pairs = [(j, m, v) for j, xy in points.items() for m, v in zip(("first_preference", "position_consistency"), xy)]
    return pd.DataFrame([(*row, 0.4, 1.0, 40) for row in pairs], columns=["judge", "metric", "value", "lo", "hi", "n"])


def test_judges_on_one_point_are_counted_and_each_is_marked_beside() -> None:
    fig = evaluation.position_bias(places({"a": (0.5, 1.0), "b": (0.5, 1.0), "c": (0.5, 1.0), "d": (0.6, 0.7)}))
    (ax,) = fig.axes
    (number,) = (t for t in ax.texts if t.get_text() == "3")
    assert number.xy == (0.5, 1.0)
    assert "A number: that many judges on one point." in said(fig)
    assert [x for x, *_ in markers(ax)] == pytest.approx([*[1.055] * 4, 0.5, 0.6])  # beside: all four; then the points
    assert len({marker for x, marker, _ in markers(ax) if x == 1.055}) == 4
    apart = evaluation.position_bias(places({"a": (0.5, 1.0), "b": (0.52, 0.98)}))
    assert "A number" not in said(apart)
    assert len(markers(apart.axes[0])) == 4


def test_leaders_are_level_within_the_axes() -> None:
    fig = evaluation.position_bias(position(NAMES[:9], evaluation.METRICS[:2]))
    (ax,) = fig.axes
    leaders = [line for line in ax.lines if line.get_color() == "#c8c8c8"]
    assert len(leaders) == 9
    for line in leaders:
        (x0, y0), (x1, y1), (x2, _) = line.get_xydata()
        assert y0 == y1
        assert x0 <= 1 < x1 < x2
        assert line.get_linestyle() == "-"
    assert not [t for t in ax.texts if getattr(t, "arrow_patch", None)]


def test_an_unread_judge_is_named_under_the_positions() -> None:
    fig = evaluation.position_bias(with_read(places({"good": (0.5, 0.9), "lost": (0.4, 0.8)}), lost=0.01))
    assert "Not read: lost." in said(fig)
    assert len(markers(fig.axes[0])) == 2


def test_a_dash_is_explained_only_where_there_is_one() -> None:
    table = coverage(["x", "y"])
    assert "dash" not in said(evaluation.coverage(table))
    fig = evaluation.coverage(table[(table["judge"] == "x") | (table["state"] != "error")])
    assert "A dash is a state that was not counted." in said(fig)
    assert [t.get_text() for t in texts(fig)].count("–") == 1


def dashed(fig: Figure) -> list[list[float]]:
    panels = [ax for ax in fig.axes if ax.get_visible()]
    return [[float(line.get_xdata()[0]) for line in ax.lines if line.is_dashed()] for ax in panels]


def test_chance_is_drawn_where_it_is_known() -> None:
    table = ranking(["x", "y"])
    assert dashed(evaluation.ranking(table, chance=0.25)) == [[0.25]]
    left, right = evaluation.ranking(table, chance=0.25).axes[0].get_xlim()
    assert left < 0.25 < right
    assert "Dashed: chance." in said(evaluation.ranking(table, chance=0.25))
    assert dashed(evaluation.ranking(table, chance=None)) == [[]]
    assert "chance" not in said(evaluation.ranking(table, chance=None))
    table = accuracy(["x"], ["overall", "chat"])
    assert dashed(evaluation.sections(table, chance={"overall": None, "chat": 0.5})) == [[], [0.5]]
    for none in (None, {"overall": None}):
        assert dashed(evaluation.sections(table, chance=none)) == [[], []]
        assert "chance" not in said(evaluation.sections(table, chance=none))


def test_show_is_a_png_that_any_kernel_stores(tmp_path: Path) -> None:
    from IPython.core.formatters import DisplayFormatter

    fig = draw("ranking", ["x", "y"], title="JudgeBench")
    image = style.show(fig)
    assert image.data.startswith(b"\x89PNG\r\n\x1a\n")
    assert image.data == style.show(fig).data == style.save(fig, tmp_path / "f", meta={})[0].read_bytes()
    pixels = int.from_bytes(image.data[16:20], "big")
    assert image.width == pytest.approx(pixels / 2, abs=1)
    assert image.alt == "JudgeBench: ranking"
    bundle, extra = DisplayFormatter().format(image)  # no inline backend, no pyplot
    assert "image/png" in bundle
    assert extra["image/png"]["width"] == image.width
    with pytest.raises(ValueError, match="holds no data"):
        style.show(style.figure(3, 2, "drawn by hand"))
