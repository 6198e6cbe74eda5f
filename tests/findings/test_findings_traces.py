"""Length against difficulty, the checker on traces, behaviours, and choosing against doing; worked by hand where it
can be."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from fakelab import says, splits

from rrmlib.findings.judgments import differences, readings
from rrmlib.findings.traces import behaviours, effort, faithful, gain, thinking, within_spearman
from rrmlib.world.judging import BEHAVIOURS

TEST = splits()["test"]
FORCED = {name: f"base.{name}" for name in BEHAVIOURS}


def rows_of(judge, mixture, **how):
    said = says(TEST, judge, how.pop("format", "rrm_compact"), mixture, **how)
    return readings(TEST, said, profile="p", judge=judge, mode="greedy")


def test_within_spearman_by_hand():
    # two strata, each rising, though y falls from the first to the second: plain correlation would be negative
    x, y, s = [1, 2, 3, 4], [10, 11, 1, 2], ["a", "a", "b", "b"]
    assert within_spearman(x, y, s) == pytest.approx(1)
    # ranks of (1, 2, 3) against (2, 1, 3): centred (-1, 0, 1) and (0, -1, 1), so 1 / 2
    assert within_spearman([1, 2, 3], [2, 1, 3], ["a"] * 3) == pytest.approx(0.5)
    # monotone transformations change nothing; a stratum in which x is constant adds nothing to the product
    assert within_spearman([1, 4, 9, 5, 5], [2, 1, 3, 0, 9], list("aaabb")) < 0.5
    assert math.isnan(within_spearman([1, 2], [3, 3], ["a", "a"]))


def test_a_judge_that_writes_steps_thinks_longer_on_harder_items_and_one_that_guesses_does_not():
    rows = pd.concat([rows_of("good", {"careful": 1}), rows_of("poor", {"guess": 1})])
    table = effort(rows).set_index("judge")
    assert table["value"]["good"] > 0.5
    assert table["lo"]["good"] > 0
    assert math.isnan(table["value"]["poor"])  # always the same length: there is nothing to correlate
    worked = rows[rows["subset"].str.endswith("worked")]
    stops = effort(worked, against="to_error").set_index("judge")["value"]["good"]
    assert stops < effort(worked).set_index("judge")["value"]["good"]  # it often solves before it looks
    cells = thinking(rows[rows["judge"] == "good"])
    assert (cells["difficulty"] <= cells["shown"]).all()
    assert (cells["lo"] <= cells["value"]).all()
    assert cells["n"].sum() == sum(item.subset.startswith(("chain", "program")) for item in TEST)
    long = cells.groupby("shown")
    assert all(np.corrcoef(c["difficulty"], c["value"])[0, 1] > 0 for _, c in long if c["difficulty"].nunique() > 2)


def test_the_checker_finds_slips_and_only_correct_judgments_count():
    rows = pd.concat(
        [rows_of("good", {"careful": 1}), rows_of("slips", {"careful": 1}, slips=0.5), rows_of("poor", {"guess": 1})]
    )
    table, examples = faithful(rows)
    of = table[table["section"] == "reasoning"].set_index(["judge", "measure"])
    assert of["value"]["good", "all true"] == 1
    assert 0.3 < of["value"]["slips", "something false"] < 0.7
    assert of["value"]["poor", "states nothing"] == 1
    assert of["n"]["poor", "all true"] == (
        rows[(rows["judge"] == "poor") & (rows["section"] == "reasoning")]["credit"].sum()
    )
    assert table.groupby(["judge", "section"])["value"].sum().round(9).eq(1).all()
    assert set(examples["judge"]) == {"slips"}
    assert all(row.false in row.text for row in examples.itertuples())


def test_a_judge_that_is_never_right_has_no_faithful_traces():
    rows = rows_of("j", {"careful": 1}).assign(credit=0.0)
    table, examples = faithful(rows)
    assert table.empty
    assert examples.empty


def test_behaviours_are_shares_of_judgments():
    table = behaviours(rows_of("j", {"careful": 0.7, "first": 0.3}))
    of = table[table["section"] == "overall"].set_index("behaviour")["value"]
    assert of.sum() == pytest.approx(1)
    assert 0.55 < of["careful"] < 0.85
    assert of["guess"] == 0


def test_a_gain_splits_into_choosing_and_doing():
    forced = [rows_of(judge, {name: 1}) for name, judge in FORCED.items()]
    base = rows_of("base", {"careful": 0.2, "guess": 0.8})
    rows = pd.concat([*forced, base, rows_of("chose", {"careful": 1})])
    table = gain(rows, "base", "chose", FORCED).set_index(["section", "part"])
    share = base[base["section"] == "reasoning"]["behaviour"].eq("careful").mean()
    skill = {
        name: rows[(rows["judge"] == j) & (rows["section"] == "reasoning")]["credit"].mean()
        for name, j in FORCED.items()
    }
    by_hand = (1 - share) * skill["careful"] - (1 - share) * skill["guess"]
    assert table["value"]["reasoning", "choosing"] == pytest.approx(by_hand)
    whole = table["value"].unstack()
    assert np.allclose(whole["total"], whole["choosing"] + whole["doing"])
    assert {"overall", "reasoning", "unseen"} <= set(whole.index)
    assert whole["total"]["overall"] == pytest.approx(
        whole["total"][["reasoning", "chat", "chat-hard", "safety"]].mean()
    )
    assert (table["lo"] <= table["value"] + 1e-9).all()
    for section in ("reasoning", "overall"):  # one contrast has one interval, whichever table it stands in
        d = differences(rows, [{"a": "chose", "b": "base", "section": section}]).iloc[0]
        assert table.loc[(section, "total"), ["value", "lo", "hi"]].to_list() == pytest.approx([d.value, d.lo, d.hi])


def test_the_interval_of_choosing_is_about_that_of_a_bootstrap():
    forced = [rows_of(judge, {name: 1}) for name, judge in FORCED.items()]
    rows = pd.concat([*forced, rows_of("base", {"careful": 0.3, "guess": 0.7}), rows_of("chose", {"careful": 1})])
    rows = rows[rows["section"] == "reasoning"]
    found = gain(rows, "base", "chose", FORCED).set_index("part").loc["choosing"]
    names, drawn, rng = rows["cluster"].unique(), [], np.random.default_rng(0)
    by = {judge: part.groupby("cluster") for judge, part in rows.groupby("judge")}
    n = by["base"].size()
    careful = by["base"]["behaviour"].agg(lambda b: b.eq("careful").sum())
    skill = {name: by[f"base.{name}"]["credit"].sum() for name in ("careful", "guess")}
    for _ in range(400):
        w = rng.choice(names, len(names))
        share = careful[w].sum() / n[w].sum()
        drawn.append((1 - share) * (skill["careful"][w].sum() - skill["guess"][w].sum()) / n[w].sum())
    assert found["hi"] - found["lo"] == pytest.approx(np.subtract(*np.percentile(drawn, [97.5, 2.5])), rel=0.2)


def test_what_a_part_of_the_gain_rests_on_was_read_or_not():
    forced = [rows_of(judge, {name: 1}) for name, judge in FORCED.items()]
    rows = pd.concat([*forced, rows_of("base", {"guess": 1}), rows_of("after", {"careful": 1})], ignore_index=True)
    lost = rows.index[(rows["judge"] == FORCED["careful"]) & (rows["section"] == "chat")][::2]
    rows.loc[lost, ["state", "credit"]] = ["unparsed", 0.0]
    read = gain(rows, "base", "after", FORCED).set_index(["section", "part"])["read"]
    assert read["chat", "total"] == read["reasoning", "doing"] == 1
    assert read["chat", "choosing"] == read["chat", "doing"] == pytest.approx(0.5, abs=0.02)


def test_what_is_new_is_doing_and_who_did_not_judge_is_named():
    forced = [rows_of(judge, {name: 1}) for name, judge in FORCED.items()]
    after = rows_of("after", {"careful": 1}).assign(behaviour="other")
    rows = pd.concat([*forced, rows_of("base", {"guess": 1}), after])
    table = gain(rows, "base", "after", FORCED).set_index(["section", "part"])["value"]
    assert table["reasoning", "choosing"] < 0  # it left guessing, and for nothing that the base can be forced into
    assert table["reasoning", "doing"] > 0.5
    with pytest.raises(ValueError, match=r"no judgments of nobody"):
        gain(rows, "base", "nobody", FORCED)
    with pytest.raises(ValueError, match=r"did not judge the same"):
        gain(rows[~((rows["judge"] == "after") & (rows["item"] == TEST[0].id))], "base", "after", FORCED)
