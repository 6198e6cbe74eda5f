"""Accuracy by section, paired differences and what is said of an expectation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fakelab import FakeLab, says, splits

from rrmlib.findings import judgments
from rrmlib.findings.judgments import behaviour, differences, expectation, gather, readings, sections
from rrmlib.judgment import Reading, State
from rrmlib.params import ParameterError
from rrmlib.stats import clustered_mean
from rrmlib.world.judging import BEHAVIOURS, FORMATS, PREFIX, write
from rrmlib.world.pairs import SECTION
from rrmlib.world.problem import stream

TEST = splits()["test"]


def rows_of(judge, mixture, *, seed=0, mode="greedy", **how):
    said = says(TEST, judge, "rrm_compact", mixture, seed=seed, **how)
    return readings(TEST, said, profile="p", seed=seed, judge=judge, mode=mode)


def joined(*parts):
    import pandas as pd

    return pd.concat(parts, ignore_index=True)


def test_a_careful_judge_is_right_and_one_that_takes_the_first_is_half_right():
    table = sections(joined(rows_of("good", {"careful": 1}), rows_of("first", {"first": 1}))).set_index(
        ["judge", "section"]
    )
    assert set(table.loc["good"].index) == {"overall", "reasoning", "chat", "chat-hard", "safety", "unseen"}
    assert (table.loc["good"]["value"] == 1).all()
    assert (table.loc["first"]["value"] == 0.5).all()  # both orders of a comparison are one unit
    assert table["n"]["first", "overall"] == sum(SECTION[item.subset] != "unseen" for item in TEST)
    assert (table["lo"] <= table["value"]).all()
    assert (table["value"] <= table["hi"]).all()


def test_overall_is_the_mean_of_the_four_sections_and_leaves_the_unseen_out():
    table = sections(rows_of("poor", {"longer": 1})).set_index("section")["value"]
    four = ["reasoning", "chat", "chat-hard", "safety"]
    assert table["overall"] == pytest.approx(table[four].mean())
    assert table["chat-hard"] == 0  # there the longer one is the worse


def test_unreadable_and_cut_judgments_are_wrong_and_counted():
    said = says(TEST, "j", "rrm_compact", {"careful": 1})
    said[0] = replace(said[0], reading=Reading(State.UNPARSED))
    said[1] = replace(said[1], reading=Reading(State.TRUNCATED))
    rows = readings(TEST, said, judge="j", mode="greedy")
    section = SECTION[TEST[0].subset]
    table = sections(rows).set_index("section")
    n = table["n"][section]
    assert table["value"][section] == pytest.approx(1 - 1 / n)
    assert table["unparsed"][section] == table["truncated"][section] == 1 / (2 * n)
    assert table["read"][section] == pytest.approx(1 - 1 / n)


def test_equal_scores_of_a_list_format_are_half_right():
    said = says(TEST, "grm", "grm_compact", {"careful": 1})
    scores = said[0].reading.value
    said[0] = replace(said[0], reading=Reading.of(replace(scores, values=(5.0, 5.0))))
    assert readings(TEST, said, judge="grm", mode="greedy")["credit"].iloc[0] == 0.5


def test_lists_stand_apart_and_a_shared_best_is_a_share():
    lists = splits()["test-lists"]
    said = says(lists, "grm", "grm_compact", {"careful": 1})
    values = said[0].reading.value.values
    said[0] = replace(said[0], reading=Reading.of(replace(said[0].reading.value, values=(max(values),) * 4)))
    rows = readings(lists, said, judge="grm", mode="greedy")
    assert rows["credit"].iloc[0] == 0.25
    assert set(sections(rows)["section"]) == {"lists"}


def test_several_seeds_pool_and_show_their_range():
    rows = joined(*(rows_of("j", {"careful": share, "guess": 1 - share}, seed=s) for s, share in enumerate((0.2, 0.9))))
    each = sections(rows).set_index(["seed", "section"])["value"]
    pooled = sections(rows, pooled=True).set_index("section")
    assert set(pooled["seed"]) == {"all"}
    assert pooled["value"]["reasoning"] == pytest.approx((each["0", "reasoning"] + each["1", "reasoning"]) / 2)
    assert pooled["least"]["reasoning"] == min(each["0", "reasoning"], each["1", "reasoning"])
    assert pooled["most"]["overall"] == max(each["0", "overall"], each["1", "overall"])
    assert pooled["seeds"].eq(2).all()


def test_a_difference_is_paired_by_comparison_and_holds_the_expectation_against_its_interval():
    rows = joined(rows_of("good", {"careful": 1}), rows_of("poor", {"guess": 1}), rows_of("same", {"careful": 1}))
    stated = [
        {"a": "good", "b": "poor", "least": 0.2},
        {"a": "same", "b": "good", "least": 0.2},
        {"a": "same", "b": "good", "most": 0.2, "section": "overall"},
    ]
    table = differences(rows, stated)
    assert list(table["verdict"]) == ["supported", "contradicted", "supported"]
    assert list(table["expected"]) == ["20 points or more", "20 points or more", "20 points or less"]
    by = sections(rows).set_index(["judge", "section"])["value"]
    assert table["value"][0] == pytest.approx(by["good", "reasoning"] - by["poor", "reasoning"])
    assert (table["p_holm"] >= table["p"]).all()


def test_pooled_seeds_say_what_each_has_and_what_another_training_would_be_near():
    good, poor = {"careful": 1}, {"guess": 1}
    same = joined(rows_of("a", good), rows_of("b", poor))
    flip = joined(rows_of("a", poor), rows_of("b", good))
    other = [same.assign(seed="0"), same.assign(seed="1"), flip.assign(seed="2")]
    contrast = [{"a": "a", "b": "b", "least": 0.0}]
    one, two = (differences(each, contrast)["value"][0] for each in (same, flip))
    row = differences(joined(*other), contrast, pooled=True).iloc[0]
    said = [float(each) for each in row["by_seed"].split()]
    assert said == pytest.approx([100 * one, 100 * one, 100 * two], abs=0.06)
    mean, half = (2 * one + two) / 3, 4.302653 * np.std([one, one, two], ddof=1) / 3**0.5  # two degrees of freedom
    assert (row["value"], row["seeds_lo"], row["seeds_hi"]) == pytest.approx((mean, mean - half, mean + half))
    assert (row["verdict"], row["seeds_verdict"]) == ("supported", "undecided")
    alike = differences(joined(*other[:2]), contrast, pooled=True).iloc[0]
    assert (alike["seeds_lo"], alike["seeds_verdict"]) == (pytest.approx(one), "supported")
    assert "by_seed" not in differences(joined(*other), contrast).columns
    assert "by_seed" not in differences(other[0], contrast, pooled=True).columns


@pytest.mark.parametrize(
    ("lo", "hi", "least", "most", "verdict"),
    [
        (0.2, 0.4, 0.2, None, "supported"),
        (0.1, 0.4, 0.2, None, "undecided"),
        (0.1, 0.19, 0.2, None, "contradicted"),
        (0.0, 0.1, 0.0, None, "undecided"),  # "above 0" is more than 0
        (-0.2, -0.1, 0.0, None, "contradicted"),
        (-0.1, 0.03, None, 0.03, "supported"),
        (-0.1, 0.04, None, 0.03, "undecided"),
        (0.04, 0.1, None, 0.03, "contradicted"),
        (math.nan, math.nan, 0.2, None, "undecided"),
    ],
)
def test_an_interval_supports_contradicts_or_leaves_open(lo, hi, least, most, verdict):
    assert expectation(lo, hi, least, most)[1] == verdict


def test_a_contrast_may_be_between_sampled_judgments():
    parts = [rows_of(judge, {"careful": 1}, mode=mode) for judge in "ab" for mode in ("greedy", "sampled")]
    table = differences(joined(*parts), [{"a": "a", "b": "b", "mode": mode} for mode in ("greedy", "sampled")])
    assert list(table["mode"]) == ["greedy", "sampled"]
    assert list(table["value"]) == [0, 0]
    assert list(table["verdict"]) == ["", ""]


def test_a_control_that_cannot_be_read_supports_nothing():
    rows = joined(rows_of("mute", {"careful": 1}, mute=0.8), rows_of("base", {"guess": 1}))
    table = differences(rows, [{"a": "mute", "b": "base", "most": 0.03}])
    assert list(table["verdict"]) == ["cannot be read"]


def test_a_contrast_with_an_unknown_judge_or_key_is_an_error():
    rows = rows_of("good", {"careful": 1})
    with pytest.raises(ValueError, match=r"no greedy judgments of it; judges are: good"):
        differences(rows, [{"a": "good", "b": "missing"}])
    with pytest.raises(ValueError, match=r"unknown key 'atleast'"):
        differences(rows, [{"a": "good", "b": "good", "atleast": 0.2}])


@pytest.mark.parametrize("style", [f for f in FORMATS if f != "direct"])
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_trace_names_its_behaviour_in_every_format(style, name):
    from rrmlib.world.families import draw

    for family in ("chain", "program", "chat", "safety"):
        problem = draw(family, "test", 5)
        for i in range(4):
            assert behaviour(write(style, problem, ("3", "4"), name, stream("b", i))) == name


def test_a_trace_with_other_words_and_one_without_any():
    assert behaviour("<think>\nlet me see\n</think>\n\\boxed{Assistant 1}") == "other"
    assert behaviour("[[A]]") == "none"
    assert set(BEHAVIOURS) < set(PREFIX)


def test_a_lab_is_read_and_what_is_missing_names_its_command(tmp_path, monkeypatch):
    made = FakeLab(tmp_path, monkeypatch)
    made.judge("rrm-s", {"careful": 1})
    made.judge("rrm-s.t1", {"careful": 1})
    rows = gather([made.lab()], ["rrm-s", "rrm-s.t1"])
    assert set(zip(rows["judge"], rows["mode"])) == {("rrm-s", "greedy"), ("rrm-s", "sampled")}
    assert rows["sample"].max() == 2
    assert (rows["profile"] + rows["seed"] == "p0").all()
    with pytest.raises(ParameterError, match=r"rrm lab judge base-s --profile p --seed 0"):
        gather([made.lab()], ["base-s"])
    with pytest.raises(ParameterError, match=r"p, seed 0: not asked yet .*: base-s, cold-s; make figures PROFILE=p "):
        gather([made.lab()], ["base-s", "rrm-s", "cold-s"])
    with pytest.raises(ParameterError, match=r"no judge 'nobody'"):
        gather([made.lab()], ["nobody"])
    with pytest.raises(ParameterError, match=r"no judges given"):
        gather([made.lab()], [])


def test_what_is_printed_of_coverage_is_that_of_the_four_sections():
    rows = rows_of("j", {"careful": 1})
    rows.loc[rows["section"] == "unseen", "state"] = str(State.TRUNCATED)
    rows.loc[rows["section"] == "unseen", "tokens"] = 10_000
    table = sections(rows)
    printed = judgments.form(table).iloc[0]
    overall = table[table["section"] == "overall"].iloc[0]
    assert printed["n"] == str(overall["n"])
    assert (printed["read"], printed["truncated"], printed["read, unseen"]) == ("100.0", "0.0", "0.0")
    assert float(printed["tokens"]) == round(overall["tokens"]) < 1_000
    alone = judgments.form(table[table["section"] == "unseen"]).iloc[0]
    assert alone["read"] == alone["read, unseen"] == "0.0"


def test_the_interval_is_that_of_stats_on_comparisons():
    rows = rows_of("j", {"careful": 0.5, "guess": 0.5})
    part = rows[rows["section"] == "chat"].groupby("item").agg(credit=("credit", "mean"), cluster=("cluster", "first"))
    expected = clustered_mean(part["credit"], list(part["cluster"]))
    found = sections(rows).set_index("section").loc["chat"]
    assert (found["value"], found["lo"], found["hi"]) == (expected.value, expected.lo, expected.hi)


def test_bootstrap_draws_are_the_same_every_time_and_keep_clusters_whole():
    drawn = judgments.weights(["a", "b", "a", "c"], "x")
    assert (drawn == judgments.weights(["a", "b", "a", "c"], "x")).all()
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, [0, 1, 3]].sum(1) == 3).all()
