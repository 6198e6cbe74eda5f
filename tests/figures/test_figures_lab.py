"""Figures of the lab's notebooks: complete, nothing clipped or overlapping, the same bytes every time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_figures import check_room, hidden, said, texts

from rrmlib.figures import ablation, distillation, rl, style, traces, world

SECTIONS = ["overall", "reasoning", "chat", "chat-hard", "safety", "unseen"]


def around(v: float, width: float = 0.06) -> dict[str, float]:
    return {"value": v, "lo": max(0.0, v - width), "hi": min(1.0, v + width), "n": 1040, "read": 0.993}


def leaks() -> pd.DataFrame:
    probes = ["length", "bag of words", "response-only n-grams"]
    rows = [
        {
            "probe": p,
            "section": s,
            "tempts": s == "chat-hard",
            **around([0.5, 0.51, 1.0][i] if s == "chat-hard" else 0.5),
        }
        for s in SECTIONS[1:]
        for i, p in enumerate(probes)
    ]
    return pd.DataFrame(rows).assign(made=lambda t: (t["section"] == "unseen") & (t["probe"] != "length"))


def contrasts() -> pd.DataFrame:
    stated = [
        ("rrm-s", "base-s", 0.36, "20 points or more", "supported"),
        ("random-s", "base-s", 0.01, "3 points or less", "undecided"),
        ("rm-r1-s", "distilled-s", -0.1, "above 0", "contradicted"),
        ("rrm-s", "direct-rl-s", 0.2, "", ""),
    ]
    rows = []
    for a, b, v, expected, verdict in stated:
        e = {"value": v, "lo": v - 0.05, "hi": v + 0.05, "n": 1040}
        rows.append(
            {"a": a, "b": b, "mode": "greedy", "section": "reasoning", "expected": expected, "verdict": verdict, **e}
        )
    return pd.DataFrame(rows).assign(read_a=0.99, read_b=0.98)


def curves() -> pd.DataFrame:
    rows = []
    for i, model in enumerate(("rrm-s", "random-s", "direct-rl-s")):
        for step in range(1, 41):
            for metric in ("reward", "accuracy", "length", "entropy", "truncated", "unparsed", "kl"):
                v = 0.5 + i * step / 100
                rows.append({"seed": "0", "judge": model, "step": step, "metric": metric, "n": 128, "value": v})
    return pd.DataFrame(rows).assign(smooth=lambda t: t["value"], lists=lambda t: 0.333 * (t["judge"] == "rrm-s"))


def thinking() -> pd.DataFrame:
    rows = []
    for judge in ("base-s", "rrm-s"):
        for mode in ("greedy", "sampled"):
            for shown in range(2, 7):
                for d in range(1, shown + 1):
                    e = {"n": 30, "value": 20 + 4 * d, "lo": 18 + 4 * d, "hi": 22 + 4 * d}
                    rows.append({"judge": judge, "mode": mode, "shown": shown, "difficulty": d, **e})
    return pd.DataFrame(rows)


def effort() -> pd.DataFrame:
    return pd.DataFrame([{"judge": "rrm-s", "mode": "greedy", "value": 0.61, "lo": 0.53, "hi": 0.69}])


def behaviours() -> pd.DataFrame:
    rows = []
    for judge in ("base-s", "rrm-s"):
        for mode in ("greedy", "sampled"):
            for i, name in enumerate(traces.BEHAVIOURS):
                v = 1 / len(traces.BEHAVIOURS)
                rows.append(
                    {"judge": judge, "mode": mode, "section": "reasoning", "behaviour": name, **around(v, 0.01 * i)}
                )
    return pd.DataFrame(rows)


def gain() -> pd.DataFrame:
    parts = {"total": 0.4, "choosing": 0.35, "doing": 0.05}
    rows = [{"section": s, "part": p, **around(v), "lo": v - 0.1} for s in SECTIONS for p, v in parts.items()]
    return pd.DataFrame(rows).assign(judge="rrm-s", before="base-s")


def oracles() -> pd.DataFrame:
    ways = {"first oracle": 1.0, "corrected": 1.0, "dropped": 0.75, "random": 0.75}
    rows = [{"way": w, "section": s, "kept": k, **around(0.4 + k / 2)} for s in SECTIONS[:5] for w, k in ways.items()]
    return pd.DataFrame(rows)


def meta() -> pd.DataFrame:
    rows = [{"judge": "rft-s.t1", "kind": kind, **around(v)} for kind, v in (("within", 0.68), ("pooled", 0.75))]
    return pd.DataFrame(rows)


def arms(**changed: float) -> pd.DataFrame:
    names = ["no training", "SFT, answers only", "cold-start RL + rubrics + query types", "RM-R1 (distilled, then RL)"]
    start = {"no training": np.nan}
    rows = [
        {"arm": a, "section": "overall", **around(0.6 + i / 10), "start": start.get(a, 0.55), "start_read": 0.98}
        for i, a in enumerate(names)
    ]
    table = pd.DataFrame(rows).assign(seeds=3, least=0.55, most=0.62)
    for column, value in changed.items():
        table.loc[2, column] = value
    return table


def sizes() -> pd.DataFrame:
    rows = [
        {"kind": kind, "section": "reasoning", "x": x, **around(0.5 + 0.1 * j + 0.1 * i, 0.03)}
        for j, kind in enumerate(("base", "RRM"))
        for i, x in enumerate((0.2, 0.7, 3.5))
    ]
    return pd.DataFrame(rows).assign(seeds=3, least=lambda t: t["value"] - 0.05, most=lambda t: t["value"] + 0.05)


DRAW: dict[str, Callable[..., Figure]] = {
    "leaks": lambda **k: world.leaks(leaks(), **k),
    "contrasts": lambda **k: rl.contrasts(contrasts(), **k),
    "curves": lambda **k: rl.curves(curves(), **k),
    "thinking": lambda **k: traces.thinking(thinking(), effort(), **k),
    "behaviours": lambda **k: traces.behaviours(behaviours(), **k),
    "gain": lambda **k: traces.gain(gain(), **k),
    "oracles": lambda **k: distillation.oracles(oracles(), **k),
    "meta": lambda **k: distillation.meta(meta(), **k),
    "arms": lambda **k: ablation.arms(arms(), **k),
    "against": lambda **k: ablation.against(sizes(), x="x", label="million parameters", **k),
}


def draw(kind: str, **given: str) -> Figure:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return DRAW[kind](**given)


@pytest.mark.parametrize("kind", DRAW)
def test_everything_is_inside_the_canvas_without_overlap(kind: str) -> None:
    fig = draw(kind, title="laptop, seed 0, greedy")
    check_room(fig)
    assert "laptop, seed 0, greedy" in said(fig)


@pytest.mark.parametrize("kind", DRAW)
def test_nothing_is_clipped_in_the_saved_picture(kind: str, tmp_path: Path) -> None:
    from matplotlib.image import imread

    style.save(draw(kind), tmp_path / kind, meta={})
    picture = imread(tmp_path / f"{kind}.png")[..., :3]
    rim = np.concatenate([picture[:4].reshape(-1, 3), picture[:, :4].reshape(-1, 3), picture[:, -4:].reshape(-1, 3)])
    assert (rim > 0.99).all(), "something touches the edge"


@pytest.mark.parametrize("kind", ["contrasts", "thinking", "arms"])
def test_the_same_table_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        style.save(draw(kind), tmp_path / name, meta={"seed": 0})
    for suffix in ("png", "pdf", "json"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_what_an_interval_says_stands_beside_it() -> None:
    text = said(draw("contrasts"))
    assert "≥ 20: supported" in text
    assert "≤ 3: undecided" in text
    assert "> 0: contradicted" in text
    assert "+36.0 [+31.0, +41.0]" in text
    assert "n = 1,040; at least 98.0 % of the judgments compared were read." in text


def test_what_the_seeds_say_stands_there_where_it_is_another_thing() -> None:
    table = contrasts().assign(seeds_lo=-0.3, seeds_hi=0.6, seeds_verdict=["undecided", "undecided", "", ""])
    table.loc[2, "seeds_verdict"] = "contradicted"
    text = said(rl.contrasts(table))
    assert "≥ 20: supported; seeds: undecided" in text
    assert "≤ 3: undecided" in text
    assert text.count("seeds: undecided") == 1
    assert "Student's interval over the seeds" in text
    assert "Student's" not in said(draw("contrasts"))


def test_a_difference_of_nothing_has_no_minus() -> None:
    table = contrasts().iloc[[1]].assign(value=-0.0002, lo=-0.005, hi=0.0004)
    assert "+0.0 [-0.5, +0.0]" in said(rl.contrasts(table))


def test_picks_of_a_row_that_is_no_judge_are_not_called_readings() -> None:
    table = contrasts().replace({"b": {"direct-rl-s": "base-s solves"}})
    table.loc[table["b"] == "base-s solves", "read_b"] = 0.922
    text = said(rl.contrasts(table, half={"base-s solves"}))
    assert "at least 98.0 % of the judgments compared were read." in text
    assert "base-s solves has a pick in 92.2 %, else half a credit." in text


def test_each_part_of_a_gain_says_how_much_of_what_it_rests_on_was_read() -> None:
    table = gain()
    table.loc[(table["section"] == "chat") & (table["part"] == "doing"), "read"] = 0.871
    text = said(traces.gain(table))
    assert text.count("99.3") == len(table) - 1
    assert text.count("87.1") == 1


def test_a_curve_of_lists_is_said_to_be_one() -> None:
    assert "Of what rrm-s judges 33 % are lists" in said(draw("curves"))
    assert "lists" not in said(rl.curves(curves().assign(lists=0.0)))


def test_leaks_say_how_many_intervals_would_miss_one_half_by_chance() -> None:
    table = leaks()
    table.loc[(table["section"] == "chat") & (table["probe"] == "length"), ["value", "lo", "hi"]] = 0.4, 0.35, 0.45
    text = said(world.leaks(table))
    assert "Of 12 other intervals 5 % (0.6) are expected to miss 50 by chance; 1 do." in text
    assert "Unseen: probes trained on pairs made for them alone." in text


def test_an_arm_that_cannot_be_read_has_no_point_and_says_so() -> None:
    for changed, words in (({"read": 0.3}, "cannot be read (30 %)"), ({"start_read": 0.2}, "start not read (20 %)")):
        fig = ablation.arms(arms(**changed))
        assert words in said(fig)
        check_room(fig)
    ends = [line for line in ablation.arms(arms(read=0.3)).axes[0].lines if line.get_marker() == "o"]
    assert len(ends) == 3 + 1  # one of four is not drawn; one is the legend's


def test_the_arms_say_over_how_many_seeds_they_are() -> None:
    assert "over 3 seeds" in said(ablation.arms(arms()))
    assert "one seed" in said(ablation.arms(arms().assign(seeds=1)))
    assert "one seed" in said(ablation.arms(arms().drop(columns=["seeds", "least", "most"])))


def test_one_size_alone_is_said_to_be_no_trend() -> None:
    table = sizes()
    fig = ablation.against(table[table["x"] == 0.7], x="x", label="million parameters")
    check_room(fig)
    assert "one value only: no trend" in said(fig)
    assert "Measured at one value only (million parameters): no trend can be read." in said(fig)
    assert "one value" not in said(draw("against"))
    drawn = [line for line in fig.axes[0].lines if line.get_label() in ("base", "RRM")]
    assert {line.get_linestyle() for line in drawn} == {"None"}


def test_every_mark_of_the_filter_is_seen_and_no_share_kept_stands_on_one() -> None:
    table = oracles().assign(value=0.1, lo=0.1, hi=0.1)  # far left, without width
    fig = distillation.oracles(table)
    assert min(gap for ax in fig.axes for gap in hidden(ax)) > 0.5
    for ax in fig.axes:
        kept = [t.get_window_extent() for t in texts(fig) if t.axes is ax and t.get_text() in ("75", "100")]
        scale = ax.transData.transform((1.04, 0))[0]
        assert sum(box.x0 > scale for box in kept) == 4
    assert "first oracle" in said(fig)


def test_cells_with_few_comparisons_are_left_out() -> None:
    table = thinking()
    table.loc[0, "n"] = 9
    fig = traces.thinking(table)
    assert len(fig.rrm["data"]) == len(table) - 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("module_and_name", [(world, "leaks"), (rl, "contrasts"), (traces, "gain"), (ablation, "arms")])
def test_an_empty_table_or_a_missing_column_is_an_error(module_and_name: tuple) -> None:
    make = getattr(*module_and_name)
    with pytest.raises((ValueError, KeyError)):
        make(pd.DataFrame({"section": []}))
    with pytest.raises(ValueError, match="without column"):
        make(pd.DataFrame({"section": ["overall"], "n": [1]}))
