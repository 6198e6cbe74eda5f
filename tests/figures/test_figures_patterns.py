"""Figures of patterns: complete, readable, the same bytes every time."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_figures import check_room, said

from rrmlib.figures import patterns, style

LONG = "Meta-Llama-3.1-405B-Instruct-Turbo"
JUDGES = [("base-s", "greedy"), (LONG, "sampled")]


def around(v: float, width: float = 0.05) -> dict[str, float]:
    return {"value": v, "lo": v - width, "hi": v + width, "n": 240}


def each(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{"judge": judge, "mode": mode, **row} for judge, mode in JUDGES for row in rows])


def rates() -> pd.DataFrame:
    families = {"transition": 0.5, "reflection": 0.0, "comparison": 3.0, "breakdown": 12.0}
    measures = ("share", "per trace", "per 100 words")
    rows = [
        {"family": f, "measure": m, "words": 30.2, **around(v, v / 9)} for f, v in families.items() for m in measures
    ]
    return each(*rows)


def curve() -> pd.DataFrame:
    rows = [
        {"section": s, "fraction": f / 4, "measure": m, **around(0.3 + f / 10)}
        for s in ("all", "chat")
        for m in patterns.MEASURES
        for f in range(5)
    ]
    return each(*rows)


def points() -> pd.DataFrame:
    return each(*({"section": "all", "unit": unit, **around(0.6)} for unit in ("trace", "comparison")))


def steps() -> pd.DataFrame:
    kinds = [("all", "all"), *(("kind", k) for k in ("mark", "value")), ("position", "early"), ("position", "late")]
    rows = [{"edit": e, "by": by, "of": of, **around(0.3)} for e in patterns.EDITS for by, of in kinds]
    return each(*rows, {"edit": "nothing removed", "by": "all", "of": "all", **around(0.01)})


def following() -> pd.DataFrame:
    rows = [
        {"section": "all", "source": source, "relation": r, "accuracy": a, **around(0.25)}
        for source in ("marks", "best")
        for r, a in zip(patterns.RELATIONS, (0.93, 0.07, 0.5, math.nan))
    ]
    return each(*rows)


def length() -> pd.DataFrame:
    return each(
        *({"section": s, **around(0.1)} for s in ("all", "reasoning", "chat")),
        {"section": "safety", **around(math.nan)},
    )


Make = Callable[..., Figure]
DRAW: dict[str, tuple[Make, Callable[[], pd.DataFrame]]] = {
    "rates": (patterns.rates, rates),
    "commitment": (lambda t, **k: patterns.commitment(t, points(), **k), curve),
    "steps": (patterns.steps, steps),
    "following": (patterns.following, following),
    "length": (patterns.length, length),
}


def draw(kind: str, **given: str) -> Figure:
    make, table = DRAW[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return make(table(), **given)


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize(
    "title", ["", "the laptop profile, seed 0, and a word on what of the test split was used here"]
)
def test_everything_is_named_inside_the_canvas_without_overlap(kind: str, title: str) -> None:
    fig = draw(kind, title=title)
    check_room(fig)
    assert LONG in said(fig).replace("- ", "-")
    assert "95" in said(fig) or kind == "following"


@pytest.mark.parametrize("kind", DRAW)
def test_the_same_table_gives_the_same_bytes_and_its_data_lies_beside(kind: str, tmp_path: Path) -> None:
    first = style.save(draw(kind), tmp_path / "a", meta={})
    again = style.save(draw(kind), tmp_path / "b", meta={})
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in again]
    assert len(json.loads(first[2].read_text("utf-8"))["data"]) > 2


@pytest.mark.parametrize("kind", DRAW)
def test_an_empty_table_is_refused(kind: str) -> None:
    make, table = DRAW[kind]
    with pytest.raises(ValueError, match="empty"):
        make(table().head(0))


def test_a_family_that_never_occurs_has_no_panel_and_is_named() -> None:
    fig = draw("rates")
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["transition", "comparison", "breakdown"]
    assert "No case of reflection." in said(fig)


def test_rates_of_some_judges_only() -> None:
    assert LONG not in said(patterns.rates(rates(), judges=["base-s"]))


def test_parts_of_following_say_how_right_they_are() -> None:
    shown = said(draw("following"))
    assert "93" in shown
    assert "25.0 [20.0, 30.0]" in shown
    assert "nan" not in shown


def test_what_settled_and_what_the_brackets_are_is_said() -> None:
    text = said(draw("commitment"))
    assert "settled in both orders at 60 %" in text
    assert "Settled: from this part of its thinking on a trace's verdict never changes; the mean over traces" in text
    assert "Settled" not in said(patterns.commitment(curve()))
    table = steps()
    text = said(patterns.steps(table[~((table["of"] == "mark") & (table["edit"] != "removed"))]))
    assert "in brackets how many were, of the judge with most. Dashed: nothing removed (1.0, 1.0 %)." in text
    assert "Nothing in a mark could be made wrong." in text


def test_steps_without_a_control_are_drawn_without_it() -> None:
    table = steps()
    assert patterns.steps(table[table["edit"] != "nothing removed"])
