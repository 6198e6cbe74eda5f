"""Tables of patterns, commitment, steps and following; worked by hand where it can be."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from fakelab import Engine, FakeLab, says, splits

from rrmlib.findings import patterns
from rrmlib.findings.judgments import gather, readings
from rrmlib.judge import Judge
from rrmlib.params import ParameterError
from rrmlib.patterns import load
from rrmlib.prompt import load_prompt

TEST = splits()["test"]
LAB = load("lab")


def rows_of(judge, mixture, format="rrm_compact", mode="greedy", **how):
    said = says(TEST, judge, format, mixture, **how)
    return readings(TEST, said, profile="p", judge=judge, mode=mode)


def probes(rows):
    """Answers as `probed` gives them: (item, order, kind, step, fraction, verdict, final, best, text)."""
    names = ["item", "order", "kind", "step", "fraction", "verdict", "final", "best", "text"]
    frame = pd.DataFrame(rows, columns=names).assign(
        profile="p",
        seed="0",
        judge="j",
        mode="greedy",
        sample=0,
        section="chat",
        difficulty=1,
        margin=math.nan,
        mass=1.0,
    )
    frame["verdict"] = frame["verdict"].astype(object)
    return frame.assign(cluster=frame["item"], of=2, step_kind="mark", step_text="")


def cuts(item, order, verdicts, final, best, text="<think>\nwork"):
    places = zip((-1, 0, 1), (0.0, 0.5, 1.0), verdicts)
    return [(item, order, "cut", step, at, verdict, final, best, text) for step, at, verdict in places]


def test_rates_count_what_the_lexicon_finds():
    rows = rows_of("good", {"careful": 1.0})
    table = patterns.rates(rows, LAB).set_index(["family", "measure"])["value"]
    text = rows["text"].str
    assert table["breakdown", "share"] > 0.7
    assert table["reflection", "per trace"] == 0
    words = rows["text"].str.split().str.len()
    assert table["transition", "per 100 words"] == pytest.approx(100 * table["transition", "per trace"] / words.mean())
    assert table["comparison", "per trace"] == pytest.approx(
        (text.count(r"\b\d-\d=\d (?:ok|bad)\b") + text.count(r"(?:ok|bad) so \d\b")).mean()
    )


def test_a_change_is_after_minus_before_on_the_same_problems():
    rows = pd.concat([rows_of("base", {"guess": 1.0}), rows_of("good", {"careful": 1.0})])
    table = patterns.change(rows, LAB, [{"before": "base", "after": "good"}]).set_index(["family", "measure"])
    rates = patterns.rates(rows, LAB).set_index(["judge", "family", "measure"])["value"]
    for measure in ("per trace", "per 100 words"):
        row = table.loc[("breakdown", measure)]
        assert row["value"] == pytest.approx(rates["good", "breakdown", measure] - rates["base", "breakdown", measure])
        assert 0 < row["lo"] < row["value"] < row["hi"]
    with pytest.raises(ValueError, match="nobody"):
        patterns.change(rows, LAB, [{"before": "nobody", "after": "good"}])


def test_the_curve_is_the_share_of_final_verdicts_at_each_cut():
    found = probes([*cuts("a", "AB", [1, 0, 0], 0, 0), *cuts("b", "AB", [1, None, 1], 1, 0)])
    table = patterns.curve(found, [0.0, 0.4, 0.5, 1.0])
    table = table[table["section"] == "all"].set_index(["measure", "fraction"])["value"]
    assert list(table["as the final"]) == [0.5, 0.5, 0.5, 1.0]
    assert list(table["right"]) == [0.0, 0.0, 0.5, 0.5]
    assert list(table["second"]) == [1.0, 1.0, 0.0, 0.5]
    assert list(table["unread"]) == [0.0, 0.0, 0.5, 0.0]
    assert "margin as the final" not in table.index.get_level_values(0)


def test_who_always_says_the_first_is_settled_at_once_in_one_order_only():
    found = probes([*cuts("a", "AB", [0, 0, 0], 0, 0), *cuts("a", "BA", [0, 0, 1], 1, 1)])
    table = patterns.points(found).query("section == 'all'").set_index("unit")
    assert table["value"]["trace"] == pytest.approx(0.5)
    assert table["at once"]["trace"] == 0.5
    assert table["value"]["comparison"] == 1.0
    assert table["at once"]["comparison"] == 0.0


def test_a_judge_that_says_something_else_after_all_of_it_is_never_settled():
    found = probes([*cuts("a", "AB", [0, 0, 1], 0, 0), *cuts("b", "AB", [0, 0, 0], 0, 0)])
    table = patterns.points(found).query("section == 'all' and unit == 'trace'").iloc[0]
    assert table["never"] == 0.5
    assert (table["n"], table["value"]) == (1, 0.0)


def test_points_are_compared_on_the_same_comparisons():
    mine = probes([*cuts("a", "AB", [1, 1, 0], 0, 0), *cuts("b", "AB", [1, 0, 0], 0, 0)])
    base = probes([*cuts("a", "AB", [1, 0, 0], 0, 0), *cuts("c", "AB", [1, 1, 0], 0, 0)]).assign(judge="base")
    table = patterns.points(pd.concat([mine, base]), "base").query("section == 'all' and unit == 'trace'")
    assert table.set_index("judge")["difference"]["j"] == pytest.approx(0.5)
    assert math.isnan(table.set_index("judge")["difference"]["base"])


def test_interruptions_are_told_by_how_far_the_trace_has_come():
    texts = ["<think>\nwork", "<think>\nwork\n1: 4 ok", "<think>\nwork\n1: 4 ok\n2: 6"]
    rows = [
        ("a", "AB", "cut", i - 1, i / 4, verdict, 0, 0, text + "\nbest 2")
        for i, (text, verdict) in enumerate(zip(texts, (1, 1, None)))
    ]
    table = patterns.interrupted(probes(rows).assign(of=9)).set_index("reached")
    assert table["value"]["neither"] == table["value"]["the first"] == 1
    assert set(table["better"]) == {"first"}
    assert table["unread"]["both"] == 1
    assert math.isnan(table["value"]["both"])


def test_steps_that_matter_change_verdicts_and_the_control_stands_beside_them():
    rows = cuts("a", "AB", [0, 0, 0], 0, 0) + cuts("b", "AB", [0, 1, 1], 0, 0)
    rows += [("a", "AB", "removed", 0, 0.3, 1, 0, 0, ""), ("a", "AB", "removed", 1, 1.0, 0, 0, 0, "")]
    rows += [("b", "AB", "removed", 0, 0.3, 1, 0, 0, ""), ("b", "AB", "corrupted", 1, 1.0, None, 0, 0, "")]
    rows += [("b", "AB", "misled", 1, 1.0, 0, 0, 0, "")]
    table = patterns.influence(probes(rows)).set_index(["edit", "by", "of"])
    assert table["value"]["nothing removed", "all", "all"] == 0.5  # b says something else after all of it
    assert table["value"]["removed", "all", "all"] == pytest.approx(1 / 3)  # against that, not against its own verdict
    assert table["value"]["removed", "position", "early"] == 0.5
    assert table["value"]["removed", "position", "late"] == 0
    assert table["value"]["corrupted", "kind", "mark"] == 1  # unread is another verdict
    assert table["unread"]["corrupted", "kind", "mark"] == 1
    assert table["value"]["misled", "all", "all"] == 0  # against the trace's own
    assert (table["right"]["removed", "all", "all"], table["was_right"]["removed", "all", "all"]) == pytest.approx(
        (1 / 3, 2 / 3)
    )


def test_a_sampled_trace_thought_anew_is_the_control_of_what_it_is_misled_to():
    rows = cuts("a", "AB", [0, 0, 0], 0, 0)
    rows += [("a", "AB", "continued", 1, 1.0, 1, 0, 0, ""), ("a", "AB", "misled", 1, 1.0, 1, 0, 0, "")]
    table = patterns.influence(probes(rows)).set_index(["edit", "by", "of"])["value"]
    assert table["thought anew", "all", "all"] == 1
    assert table["misled", "all", "all"] == 0


def test_following_sums_to_one_and_tells_careful_from_guessing():
    rows = pd.concat([rows_of("good", {"careful": 1.0}, mute=0.1), rows_of("poor", {"guess": 1.0})])
    table = patterns.following(rows).query("section == 'all'")
    assert table.groupby(["judge", "source"])["value"].sum().to_list() == pytest.approx([1] * 4)
    value = table.set_index(["judge", "source", "relation"])["value"]
    assert value["good", "marks", "follows"] > 0.9
    assert value["poor", "marks", "too little stated"] == 1
    assert value["poor", "best", "follows"] == 1
    good = table.set_index(["judge", "source", "relation"]).loc[("good", "marks", "follows")]
    assert good["accuracy"] > 0.9
    assert good["n"] < len(rows_of("good", {"careful": 1.0}))  # unread ones are left out, and counted
    assert good["unparsed"] > 0


def test_a_verdict_against_the_marks_contradicts():
    rows = rows_of("good", {"careful": 1.0})
    turned = rows.assign(picked=1 - rows["picked"], credit=1 - rows["credit"])
    value = patterns.following(turned).query("section == 'all'").set_index(["source", "relation"])["value"]
    assert value["marks", "contradicts"] > 0.9
    assert value["best", "contradicts"] == 1


def test_length_and_correctness_are_correlated_within_difficulty():
    rows = rows_of("good", {"careful": 0.5, "guess": 0.5})
    whole = patterns.length(rows.assign(tokens=100 * rows["difficulty"] + 10 * rows["credit"]))
    assert whole.query("section == 'all'")["value"].iloc[0] > 0.9  # whatever difficulty does to length
    none = patterns.length(rows.assign(tokens=5))
    assert none["value"].isna().all()
    cut = rows.assign(tokens=7, state="truncated", credit=0.0)
    assert len(patterns.length(pd.concat([cut.head(3), rows]))) == len(patterns.length(rows))


def test_items_worth_reading_come_by_turns():
    rows = pd.concat([rows_of("base", {"guess": 1.0}), rows_of("good", {"careful": 0.7, "guess": 0.3})])
    rows = pd.concat([rows, rows_of("good", {"guess": 1.0}, mode="sampled")])
    found = patterns.worth_reading(rows, "base", "good", 12)
    assert len(found) == len(set(found)) == 12
    share = rows[rows["mode"] == "greedy"].groupby(["item", "judge"])["credit"].mean()
    assert (share[found[0], "good"], share[found[1], "good"]) == (0, 1)
    assert rows.set_index("item")["section"].loc[found].nunique() > 2
    with pytest.raises(ValueError, match="nobody"):
        patterns.worth_reading(rows, "nobody", "good")


def test_judges_are_asked_about_as_many_traces_of_each_section(tmp_path, monkeypatch):
    made = FakeLab(tmp_path, monkeypatch)
    made.judge("rrm-s", {"careful": 1.0}, mute=0.02)
    made.judge("base-s", {"guess": 1.0})
    monkeypatch.setattr(patterns, "open_judge", lambda spec: Judge(spec, load_prompt(spec.format), Engine()))
    found = patterns.probed(made.lab(), ["rrm-s"], 16)
    per = found.groupby("section")["item"].nunique()
    assert per.to_list() == [4] * 4
    rows = gather([made.lab()], ["rrm-s"]).set_index(["item", "order"])
    for p in found.drop_duplicates(["item", "order"]).itertuples():
        assert (p.final == p.best) == (rows.loc[(p.item, p.order), "credit"] == 1)
    again = patterns.probed(made.lab(), ["rrm-s"], 16)
    pd.testing.assert_frame_equal(found, again)
    with pytest.raises(ParameterError, match="no judge"):
        patterns.probed(made.lab(), ["nobody"], 16)
    made.judge("rrm-s", {"careful": 1.0}, mute=1.0)
    with pytest.raises(ParameterError, match="none of its"):
        patterns.probed(made.lab(), ["rrm-s"], 16)


def test_only_recorded_judges_of_a_benchmark_are_read():
    with pytest.raises(ParameterError, match="longest"):
        patterns.recorded("builtin", [{"name": "longest", "engine": "heuristic", "model": "heuristic:longest"}])
