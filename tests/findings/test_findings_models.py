"""Curves, cost, the ablation's form, and the meta RM's AUC."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import yaml
from fakelab import BASE, TRAINED, FakeLab

from rrmlib import lab as lab_module
from rrmlib.findings.models import ablation, ablation_form, auc, cost, curves, meta_auc, meta_scores, start_of
from rrmlib.params import ParameterError
from rrmlib.train.card import flops


@pytest.fixture
def made(tmp_path, monkeypatch) -> FakeLab:
    return FakeLab(tmp_path, monkeypatch)


def test_curves_are_long_and_smooth_and_only_of_rl(made):
    made.model("rrm-s", steps=20)
    made.model("base-s")
    table = curves([made.lab()], ["rrm-s"], window=5)
    one = table[table["metric"] == "accuracy"].reset_index(drop=True)
    assert list(one["step"]) == list(range(1, 21))
    assert one["smooth"][10] == pytest.approx(one["value"][8:13].mean())
    assert one["smooth"].diff().std() < one["value"].diff().std()
    assert set(table["n"]) == {4}
    assert "kl" not in set(table["metric"])
    made.model("random-s")
    by_lot = set(curves([made.lab()], ["random-s"])["metric"])
    assert by_lot == set(table["metric"]) - {"accuracy"}  # it is the reward, which was drawn by lot
    with pytest.raises(ParameterError, match=r"'base-s' is made by pretrain"):
        curves([made.lab()], ["base-s"])
    with pytest.raises(ParameterError, match=r"rrm lab train cold-s --profile p --seed 0"):
        curves([made.lab()], ["cold-s"])


def test_cost_counts_rollouts_and_all_that_a_model_is_made_from(made):
    for name in ("base-s", "distilled-s", "rm-r1-s"):
        made.model(name, steps=10)
    row = cost([made.lab()], ["rm-r1-s"]).iloc[0]
    assert row["parameters"] == 700_000
    assert row["rollout"] == row["tokens"] == 10_000
    assert row["flops"] == flops(700_000, 10_000, 10_000)
    assert row["flops_all"] == row["flops"] + 2 * flops(700_000, 10_000, 0)
    assert row["seconds_all"] == 60
    assert row["note"] == "rm-r1-s learns from 12 rows."
    for name in ("rft-s", "grm-s"):
        made.model(name, steps=10)
    row = cost([made.lab()], ["grm-s"]).iloc[0]
    assert row["drawn"] == 0
    assert row["flops_all"] == row["flops"] + 2 * flops(700_000, 10_000, 0) + flops(700_000, 0, 500)


def test_the_ablation_shows_where_an_arm_started_and_says_what_cannot_be_read(made):
    made.judge("base-s.rm_r1", BASE)
    made.judge("distilled-s", TRAINED)
    made.judge("rm-r1-s", TRAINED)
    made.judge("cold-s", TRAINED, mute=0.7)
    lab = made.lab()
    assert start_of(lab, "rm-r1-s") == "distilled-s"
    assert start_of(lab, "cold-s") == "base-s.rm_r1"
    assert start_of(lab, "base-s") == ""
    arms = {"no training": "base-s.rm_r1", "cold start": "cold-s", "distilled": "distilled-s", "RM-R1": "rm-r1-s"}
    table = ablation([lab], arms)
    assert set(table.loc[~table["readable"], "arm"]) == {"cold start"}
    form = ablation_form(table).set_index("arm")
    assert list(form.columns[1:6]) == ["Chat", "Chat Hard", "Safety", "Reasoning", "Avg"]
    assert form["Avg"]["cold start"] == "cannot be read"
    assert "[" in form["Avg"]["RM-R1"]
    assert form["start is"]["RM-R1"] == "distilled-s"
    assert float(form["start"]["RM-R1"]) > float(form["start"]["distilled"])
    assert form["start"]["no training"] == ""


@pytest.mark.parametrize("pooled", [False, True])
def test_each_section_of_an_arm_stands_beside_its_own_start(made, pooled):
    for seed in (0, 1):
        made.judge("base-s.rm_r1", BASE, seed=seed)
        made.judge("distilled-s", BASE if seed else TRAINED, seed=seed)
        made.judge("rm-r1-s", TRAINED, seed=seed)
    labs = [made.lab(0), made.lab(1)]
    table = ablation(labs, {"SFT": "distilled-s", "RM-R1": "rm-r1-s"}, pooled=pooled)
    by = {arm: part.set_index(["seed", "section"]) for arm, part in table.groupby("arm")}
    assert len(by["RM-R1"]) == (6 if pooled else 12)
    assert by["RM-R1"]["start"].equals(by["SFT"]["value"])
    assert by["RM-R1"]["start_read"].equals(by["SFT"]["read"])
    assert by["RM-R1"]["start"].nunique() > 3
    form = ablation_form(table).set_index(["arm", "seed"])
    for seed in set(table["seed"]):
        assert form["start"]["RM-R1", seed] == form["Avg"]["SFT", seed].split()[0]


def test_where_nobody_asked_the_start_it_is_the_first_step_of_rl(made):
    file = made.lab().file
    stated = yaml.safe_load(file.read_text())
    stated["judges"] = [j for j in stated["judges"] if j["name"] != "rft-s"]
    file.write_text(yaml.safe_dump(stated))
    made.judge("grm-s", TRAINED)
    first = pd.read_csv(made.model("grm-s") / "steps.csv").iloc[0]
    table = ablation([made.lab()], {"GRM": "grm-s"})
    assert set(table["start_from"]) == {"first step of RL"}
    stated = table.set_index("section")[["start", "start_read"]]
    whole = [first["accuracy"], 1 - first["unparsed"] - first["truncated"]]
    assert list(stated.loc["overall"]) == pytest.approx(whole)
    assert stated.drop(index="overall").isna().all(axis=None), "training prompts are of no one section"
    form = ablation_form(table).iloc[0]
    assert [form["start"], form["start read"]] == [f"{100 * value:.1f}" for value in whole]


@pytest.mark.parametrize("pooled", [False, True])
def test_an_arm_whose_first_step_could_not_be_read_is_not_readable_in_any_section(made, pooled):
    file = made.lab().file
    stated = yaml.safe_load(file.read_text())
    stated["judges"] = [j for j in stated["judges"] if j["name"] != "rft-s"]
    file.write_text(yaml.safe_dump(stated))
    made.judge("grm-s", TRAINED)
    steps = made.model("grm-s") / "steps.csv"
    pd.read_csv(steps).assign(unparsed=0.7).to_csv(steps, index=False)
    table = ablation([made.lab()], {"GRM": "grm-s"}, pooled=pooled)
    assert not table["readable"].any()
    assert ablation_form(table)["start"].tolist() == ["cannot be read"]


def test_an_arm_whose_start_could_not_be_read_is_no_arm_at_chance(made):
    made.judge("base-s.rm_r1", BASE, mute=0.8)
    made.judge("cold-s", BASE)
    table = ablation([made.lab()], {"cold start": "cold-s"})
    assert not table["readable"].any()
    form = ablation_form(table).iloc[0]
    assert form["start"] == "cannot be read"
    assert "[" in form["Avg"]


def test_auc_by_hand():
    assert auc([0, 0, 1, 1], [1, 2, 3, 4]) == 1
    assert auc([0, 1, 1], [2, 1, 3]) == 0.5
    assert auc([0, 1], [5, 5]) == 0.5
    assert math.isnan(auc([1, 1], [1, 2]))


def test_within_auc_is_blind_to_which_items_are_easy_and_pooled_auc_is_not():
    # The score says only how easy an item is; among samples of one item it says nothing.
    rng = np.random.default_rng(0)
    rows = []
    for i in range(80):
        ease = rng.uniform()
        for sample in range(6):
            label = int(rng.uniform() < ease)
            head = {"profile": "p", "seed": "0", "judge": "j", "item": f"q{i}", "cluster": f"q{i}", "order": "AB"}
            head |= {"section": "reasoning" if i % 2 else "chat", "state": "read"}
            rows.append({**head, "sample": sample, "label": label, "score": ease})
    table = meta_auc(pd.DataFrame(rows)).set_index("kind")
    assert table["value"]["within"] == 0.5
    assert table["value"]["pooled"] > 0.75
    assert table["lo"]["pooled"] < table["value"]["pooled"] < table["hi"]["pooled"]
    assert table["n"]["within"] < 80  # items that are always right or always wrong say nothing
    assert 0 < table["n"]["within, reasoning"] < table["n"]["within"] == table["n"]["within, all"]


def test_a_meta_rm_gets_nothing_for_what_nobody_can_read_nor_for_the_unseen_family():
    rows = []
    for i in range(40):
        head = {"profile": "p", "seed": "0", "judge": "j", "item": f"q{i}", "cluster": f"q{i}", "order": "AB"}
        head |= {"section": "unseen" if i % 4 == 0 else "chat"}
        easy = [{"label": 1, "score": 0.5}, {"label": 0, "score": 0.5}]  # what could be read, it cannot tell apart
        if i % 4 == 0:
            easy[0]["score"] = 0.9
        rows += [{**head, **one, "sample": n, "state": "read"} for n, one in enumerate(easy)]
        rows.append({**head, "label": 0, "score": 0.1, "sample": 2, "state": "truncated"})
    table = meta_auc(pd.DataFrame(rows)).set_index("kind")
    assert table["value"]["within"] == 0.5
    assert table["n"]["within"] == 30
    assert table["value"]["within, all"] == pytest.approx(0.75 * 0.75 + 0.25 * 1.0)
    assert table["n"]["within, reasoning"] == 0
    assert table["n"]["pooled"] == 60


def test_the_meta_rm_scores_whole_conversations_once(made, monkeypatch, tiny_reward_model_dir):
    monkeypatch.setattr("rrmlib.findings.models.folder", lambda lab, name: tiny_reward_model_dir)
    said = made.judge("rft-s.t1", BASE)
    table = meta_scores(made.lab(), "meta", "rft-s.t1", limit=5)
    assert len(table) == 5 * 2 * 3
    assert table["score"].notna().all()
    assert table["score"].nunique() > 5
    assert set(table["label"]) <= {0, 1}

    def fail(*_):
        raise AssertionError("the store has them")

    monkeypatch.setattr("rrmlib.engines.scalar.ScalarEngine.generate", fail)
    by = {item.id: item for item in lab_module.items(made.lab(), "test")}
    for j in said:
        verdict = j.in_item_order().verdict
        here = table[(table["item"] == j.item) & (table["order"] == str(j.order)) & (table["sample"] == j.sample)]
        assert list(here["label"]) == [int(verdict is not None and verdict.choice == by[j.item].label)] * len(here)
    assert set(table["label"]) == {0, 1}
    assert meta_scores(made.lab(), "meta", "rft-s.t1", limit=5).equals(table)
    with pytest.raises(ParameterError, match="rrm lab judge rft-s --profile p"):
        meta_scores(made.lab(), "meta", "rft-s")
    assert lab_module.store(made.lab()).is_file()
