"""The world's tables: examples, counts, disjoint splits, leaks, oracles."""

from __future__ import annotations

import json

import pytest
from fakelab import SMALL, FakeLab, splits

from rrmlib import lab as lab_module
from rrmlib.findings import world
from rrmlib.world.pairs import SECTION, build, digest

SPLITS = splits()


def test_examples_show_every_subset_with_the_better_first():
    table = world.examples(SPLITS["test"])
    assert set(table["subset"]) == set(SMALL)
    hard = table[table["subset"] == "chat-hard"].iloc[0]
    assert "!" in hard["worse"]
    assert "!" not in hard["better"]


def test_counts_add_up():
    table = world.counts(SPLITS, "subset", "source")
    test = table[table["split"] == "test"]
    assert test["n"].sum() == sum(SMALL.values())
    assert dict(zip(test["subset"], test["n"])) == SMALL
    assert (table["problems"] <= table["n"]).all()


def test_splits_are_disjoint_and_a_stray_problem_is_seen():
    table = world.disjoint(SPLITS).set_index("split")
    assert set(table.index) == {"test", "rl", "sft"}  # lists are of the same split as pairs
    assert table["misplaced"].eq(0).all()
    assert table.filter(like="shared").to_numpy().sum() == 0
    stray = world.disjoint({"rl": SPLITS["test"][:3], "test": SPLITS["test"]}).set_index("split")
    assert stray["misplaced"]["rl"] == stray["shared with test"]["rl"] == 3


def test_leaks_have_intervals():
    seen = [c for c in SPLITS["rl"] if SECTION[c.subset] != "unseen"]
    table = world.leak_table(seen, SPLITS["test"])
    assert {"length", "bag of words"} <= set(table["probe"])
    assert table[table["section"] == "chat-hard"]["tempts"].all()
    assert (table["lo"] <= table["value"]).all()
    of = table.set_index(["section", "probe"])["made"]
    assert of["unseen", "bag of words"]  # no model has pairs of it to learn from: the probes have their own
    assert not of["unseen", "length"]
    assert not of["reasoning", "bag of words"]


def test_the_first_oracle_errs_and_the_filter_is_what_each_arm_learns_from():
    said = world.oracles(
        build("sft", {"chain-answer": 60, "chat-hard": 60, "counter-answer": 4}, 0), "rm_r1_compact", 0
    )
    assert len(said) == 120  # the unseen family is in no training data
    assert said["second"].all()
    table = world.filtered(said, 0).set_index(["way", "section"])
    assert table["value"]["first oracle", "chat-hard"] < table["value"]["first oracle", "reasoning"]
    assert table["value"]["corrected", "overall"] == table["value"]["dropped", "overall"] == 1
    assert table["n"]["random", "overall"] == table["n"]["dropped", "overall"] == said["first"].sum()
    assert table["value"]["random", "overall"] < 1
    assert table["kept"]["dropped", "chat-hard"] < table["kept"]["random", "chat-hard"]


def test_frozen_splits_are_what_the_library_states(tmp_path, monkeypatch):
    made = FakeLab(tmp_path, monkeypatch)
    small = {split: build(split, {"safety": 2}, 0) for split in ("valid", "test")}
    monkeypatch.setattr(world.world_data, "frozen", lambda split: small[split])
    monkeypatch.setattr(world.world_data, "HERE", tmp_path)
    monkeypatch.setattr(lab_module, "WORLD", lambda settings, seed: {**SPLITS, **small})
    lab_module.world(made.lab(), fresh=True, log=lambda _: None)
    (tmp_path / "frozen.json").write_text(json.dumps({"test": digest(small["test"]), "valid": "something else"}))
    table = world.frozen(made.lab()).set_index("split")
    assert table["as stated"]["test"] is True
    assert table["as stated"]["valid"] is False
    assert table["content"]["rl"] == ""
    assert table["content"]["test-lists"] == digest(SPLITS["test-lists"])
    assert table["as stated"]["test-lists"] is False
    assert table["n"]["test"] == 2


@pytest.mark.parametrize("subset", SMALL)
def test_every_subset_has_a_section(subset):
    assert subset in SECTION
