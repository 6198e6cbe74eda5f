"""Figures of test-time compute (scaling, tournaments, recorded): complete, readable, the same bytes every time."""

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

from rrmlib.figures import recorded, scaling, style, tournaments

LONG = "Meta-Llama-3.1-405B-Instruct-Turbo"
JUDGES = ["rrm-s.pool", LONG]
KS = [1.0, 2.0, 4.0, 8.0]


def around(v: float, width: float = 0.05) -> dict[str, float]:
    return {"value": v, "lo": v - width, "hi": v + width, "n": 1078}


def votes() -> pd.DataFrame:
    rows = [
        {"judge": j, "strategy": "majority", "k": k, "section": s, **around(0.6 + i / 5 + k / 100)}
        for i, j in enumerate(JUDGES)
        for s in ("overall", "reasoning", "chat")
        for k in KS
    ]
    return pd.DataFrame(rows).assign(unread=0.012, tie=lambda t: 0.2 / t["k"])


def flat() -> pd.DataFrame:
    near = (("direct-s", 0.5), ("scalar-s", 0.501))
    return pd.DataFrame([{"judge": j, "section": s, **around(v)} for j, v in near for s in ("overall", "reasoning")])


def published() -> pd.DataFrame:
    head = {"paper": "2505.14674", "strategy": "majority"}
    rows = [
        {**head, "judge": j, "k": k, "benchmark": b, "value": 0.8 + i / 20 + k / 100}
        for i, j in enumerate(JUDGES)
        for b in ("RewardBench", "PandaLM")
        for k in KS
    ]
    return pd.DataFrame(rows)


def budgets() -> pd.DataFrame:
    rows = [
        {"section": s, "budget": b, **around(0.5 + i / 10), "forced": f, "unread": 0.012}
        for s in ("overall", "reasoning")
        for i, (b, f) in enumerate(((0, 1.0), (36, 0.4), (math.inf, 0.0)))
    ]
    return pd.DataFrame(rows)


def frontier() -> pd.DataFrame:
    table = votes().assign(tokens=lambda t: 60 * t["k"], best=lambda t: t["judge"] == JUDGES[1])
    silent = [{"judge": "scalar-s", "section": s, "k": 1.0, "tokens": 0.0, **around(0.5)} for s in ("overall", "chat")]
    return pd.concat([table, pd.DataFrame(silent).assign(strategy="greedy", best=False)], ignore_index=True)


def spending() -> pd.DataFrame:
    rows = [
        {"strategy": s, "k": 16.0, "by": "difficulty", "cell": c, "votes": 3.0 + i, **around(0.9)}
        for i, s in enumerate(("certain", "beta full vote 0.05"))
        for c in ("1", "2", "10")
    ]
    return pd.DataFrame(rows).assign(judge="rrm-s.pool")


def picks() -> pd.DataFrame:
    names = ("round robin, Bradley-Terry", f"knockout of {LONG}")
    rows = [
        {"schedule": s, "votes": v, "family": "all", **around(0.6 + i / 10 + v / 50), "matches": 28.0 - i}
        for i, s in enumerate(names)
        for v in (1, 2, 8)
    ]
    rows.append({"schedule": "scalar model", "votes": 1, "family": "all", **around(0.4), "matches": 0.0})
    return pd.DataFrame(rows).assign(
        judgments=lambda t: t["matches"] * t["votes"], tokens=lambda t: 70 * t["judgments"]
    )


def simulated() -> pd.DataFrame:
    rows = [
        {"judge": j, "strategy": s, "share": 0.2 + i / 2, "accuracy": 0.6, "lo": 0.55, "hi": 0.65, "n": 16, "runs": 300}
        for j in ("independent votes", "votes correlated")
        for i, s in enumerate(("knockout", "round robin + Bradley-Terry"))
    ]
    return pd.DataFrame(rows)


def repeated() -> pd.DataFrame:
    rows = [{"judge": j, "k": k, **around(0.6 + i / 5)} for i, j in enumerate(JUDGES) for k in (1, 3, 5)]
    return pd.DataFrame(rows).assign(unread=0.0)


def resolution() -> pd.DataFrame:
    rows = [{"source": s, "k": k, **around(0.6), "tie": 0.5 / k} for s in ("1 to 5", LONG) for k in (1, 2, 3)]
    return pd.DataFrame(rows)


def ratings() -> pd.DataFrame:
    rows = [
        {"source": s, "name": f"org/{n}", "value": 0.1 * i, "lo": 0.1 * i - 0.3, "hi": 0.1 * i + 0.3}
        for s in ("battles", "scores")
        for i, n in enumerate(("gpt-4-0314", LONG))
    ]
    return pd.DataFrame(rows).assign(elo_lo=980.0, elo_hi=1020.0, best=0.4, places=[1, 2, 3, 12])


def growth() -> pd.DataFrame:
    rows = [{"strategy": s, "n": n, "matches": n * i, "rounds": i} for i, s in enumerate(JUDGES, 2) for n in (8, 1000)]
    return pd.DataFrame(rows).assign(seconds=0.1)


Make = Callable[..., Figure]
DRAW: dict[str, tuple[Make, Callable[[], pd.DataFrame]]] = {
    "votes": (lambda t, **k: scaling.votes(t, flat=flat(), **k), votes),
    "published": (scaling.published, published),
    "budgets": (scaling.budgets, budgets),
    "ties": (scaling.ties, votes),
    "frontier": (lambda t, **k: scaling.frontier(t, cells=["overall", "chat"], **k), frontier),
    "spending": (scaling.spending, spending),
    "picks": (lambda t, **k: tournaments.picks(t, chance=0.125, **k), picks),
    "tokens": (lambda t, **k: tournaments.picks(t, cost="tokens", **k), picks),
    "simulated": (tournaments.simulated, simulated),
    "growth": (tournaments.growth, growth),
    "repeated": (recorded.votes, repeated),
    "resolution": (recorded.resolution, resolution),
    "ratings": (recorded.ratings, ratings),
}
NAMED = {"growth", "votes", "published", "ties", "frontier", "picks", "tokens", "repeated", "resolution", "ratings"}


def draw(kind: str, **given: str) -> Figure:
    make, table = DRAW[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return make(table(), **given)


@pytest.mark.parametrize("kind", DRAW)
def test_everything_is_inside_the_canvas_and_long_names_are_whole(kind: str) -> None:
    fig = draw(kind, title="laptop, seed 0")
    check_room(fig)
    assert "laptop, seed 0" in said(fig)
    assert (LONG in said(fig)) == (kind in NAMED)
    assert len(fig.rrm["data"]) > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", DRAW)
def test_the_same_table_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        style.save(draw(kind), tmp_path / name, meta={"seed": 0})
    for suffix in ("png", "pdf", "json"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


@pytest.mark.parametrize("kind", DRAW)
def test_an_empty_table_or_a_missing_column_is_an_error(kind: str) -> None:
    make, table = DRAW[kind]
    with pytest.raises(ValueError, match="the table is empty"):
        make(table()[:0])
    column = {"simulated": "share", "spending": "votes", "published": "paper", "ties": "tie", "growth": "rounds"}.get(
        kind, "lo"
    )
    if kind == "frontier":
        column = "best"
    with pytest.raises(ValueError, match=f"without column '{column}'"):
        make(table().drop(columns=column))


def test_what_is_unread_forced_or_without_limit_is_said() -> None:
    assert "Unreadable votes: at most 1.2 %, counted as wrong." in said(draw("votes"))
    assert "direct-s, greedy, one judgment scalar-s, greedy, one judgment" in said(draw("votes"))
    assert "A level vote earns half, what a coin would. Grey: one greedy judgment" in said(draw("votes"))
    assert "Grey" not in said(scaling.votes(votes()))
    halves = votes().assign(strategy=lambda t: ["soft" if j == LONG else "hard" for j in t["judge"]])
    assert "hard: the majority of the same verdicts" in said(scaling.soft(halves))
    text = said(draw("budgets"))
    assert "At most 1.2 % unreadable" in text
    assert "no limit" in text
    assert "PUBLISHED" in said(draw("published"))
    ours = votes().assign(section="overall")
    fig = scaling.published(published(), ours)
    assert "ours" in said(fig).lower()
    filled = [
        line for line in fig.axes[0].lines if line.get_linestyle() == "-" and line.get_marker() not in ("None", "")
    ]
    assert filled


def test_a_judge_that_writes_nothing_stands_at_the_left_edge_of_the_frontier() -> None:
    ax = draw("frontier").axes[0]
    silent = next(line for line in ax.lines if line.get_label() == scaling.ONCE)
    others = [x for line in ax.lines if line is not silent for x in line.get_xdata()]
    assert 0 < silent.get_xdata()[0] < min(others)
    assert "scalar-s" in said(draw("frontier"))  # named where it stands


def test_strategies_of_a_kind_share_a_colour_and_the_legend_stays_short() -> None:
    how = ["majority", "certain", "beta full vote 0.05", "beta full vote 0.2", "sprt 0.05 +-0.2", "budget"]
    how += ["spread by doubt", "spread evenly", "greedy", "sum", "meta", "weighted"]
    rows = [
        {"judge": "j.pool", "strategy": s, "k": 1.0, "section": "overall", "tokens": 9.0 + 99 * i, **around(0.6)}
        for i, s in enumerate(how)
    ]
    rows += [{**row, "judge": f"j{i}"} for i, row in enumerate(rows) if row["strategy"] == "greedy"]
    fig = scaling.frontier(pd.DataFrame(rows).assign(best=False), cells=["overall"])
    check_room(fig)
    ax = fig.axes[0]
    look = {line.get_label(): line for line in ax.lines if not str(line.get_label()).startswith("_")}
    assert len(look) == 9
    assert ax.get_xlabel() and ax.get_ylabel()  # noqa: PT018
    colours = {name: line.get_color() for name, line in look.items()}
    assert colours["j, sum"] == colours["j, meta"] == colours["j, weighted"] != colours["j, majority"]
    assert len({look[f"j, {name}"].get_marker() for name in ("sum", "meta", "weighted")}) == 3
    assert len(look["j, stopping rules"].get_xdata()) == 4
    assert "Stopping rules: beta full vote 0.05, beta full vote 0.2, certain, sprt 0.05 +-0.2." in said(fig)


def test_what_asks_no_matches_is_named_in_the_caption_and_the_others_say_their_votes() -> None:
    fig = draw("picks")
    assert "scalar model" not in [line.get_label() for line in fig.axes[0].lines]
    assert "Points of a line, by cost: 1, 2, 8 votes a match." in said(fig)
    assert "Not drawn: chance 12.5 %, scalar model 40.0 %." in said(fig)


def test_cells_of_spending_are_in_the_order_of_difficulty() -> None:
    labels = [t.get_text().split("\n")[0] for t in draw("spending").axes[0].get_xticklabels()]
    assert labels == ["1", "2", "10"]


def test_only_the_sections_asked_for_are_drawn() -> None:
    fig = scaling.votes(votes(), sections=["chat"])
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["chat"]
    assert {row["section"] for row in fig.rrm["data"]} == {"chat"}  # type: ignore[attr-defined]
