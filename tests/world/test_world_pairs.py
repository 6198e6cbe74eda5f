"""Comparisons of the world: labels that follow from the problem, nothing that gives a pair away, frozen splits."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from rrmlib.comparison import CandidateSet, ask
from rrmlib.world import data
from rrmlib.world.families import problem_of
from rrmlib.world.leaks import fit_probe, leaks, list_leaks, probe_reading, words
from rrmlib.world.pairs import SECTION, build, candidate_sets, digest, shown_steps
from rrmlib.world.problem import split_of
from rrmlib.world.reasoning import claimed

SMALL = {subset: 30 for subset in SECTION}


def test_the_label_is_the_better_response():
    for c in build("rl", SMALL, seed=5):
        problem = problem_of(c.query[0].content)
        first, second = problem.grade(c.first), problem.grade(c.second)
        assert (first > second) == (c.label == "first")
        assert first != second
        assert split_of(c.cluster) == "rl"
        assert c.cluster == problem.canonical


def test_the_same_arguments_give_the_same_comparisons():
    assert build("rl", SMALL, 5) == build("rl", SMALL, 5)
    assert digest(build("rl", SMALL, 5)) != digest(build("rl", SMALL, 6))


def test_right_and_wrong_answers_mirror_each_other():
    for subset in (s for s, section in SECTION.items() if section == "reasoning"):
        pairs = Counter()
        for c in build("rl", {subset: 200}, 5):
            good, bad = (c.first, c.second) if c.label == "first" else (c.second, c.first)
            pairs[claimed(good)[1], claimed(bad)[1]] += 1
        assert all(pairs[b, a] == n for (a, b), n in pairs.items())


def test_in_safety_refusing_is_right_half_of_the_time():
    items = build("rl", {"safety": 100}, 5)
    assert sum(problem_of(c.query[0].content).harmful for c in items) == 50


def test_in_chat_hard_the_worse_response_is_longer_and_polite():
    for c in build("rl", {"chat-hard": 60}, 5):
        good, bad = (c.first, c.second) if c.label == "first" else (c.second, c.first)
        assert len(bad) > len(good)
        assert "!" in bad
        assert problem_of(c.query[0].content).grade(good) == 1.0


def test_noise_flips_its_share_of_labels_and_nothing_else():
    clean, noisy = build("rl", {"chain-answer": 600}, 5), build("rl", {"chain-answer": 600}, 5, noise=0.25)
    flipped = sum(a.label != b.label for a, b in zip(clean, noisy))
    assert [replace(c, label=None) for c in clean] == [replace(c, label=None) for c in noisy]
    assert 110 <= flipped <= 190


def test_policy_pairs_are_taken_as_far_as_they_reach():
    chain = "3 a+4 b*2=?"  # any query: build trusts the caller with the split
    mirror = "1 a+5 b*1=?"
    items = build("rl", {"chain-answer": 8}, 5, policy=[(chain, "4", "6"), (mirror, "6", "4")])
    assert Counter(c.source for c in items) == {"policy": 2, "planted": 6}


def test_difficulty_varies_at_equal_length():
    found = {}
    for c in build("rl", {"chain-answer": 300}, 5):
        found.setdefault(shown_steps(problem_of(c.query[0].content)), set()).add(int(c.difficulty))
    assert all(len(levels) >= 2 for levels in found.values())


def test_unknown_subset_and_noise_out_of_range():
    with pytest.raises(ValueError, match="unknown subset 'poems'"):
        build("rl", {"poems": 2}, 0)
    with pytest.raises(ValueError, match="noise"):
        build("rl", SMALL, 0, noise=0.7)


def test_candidate_sets_have_one_best():
    for item in candidate_sets("rl", 40, 1):
        assert len(set(item.responses)) == 4
        assert item.subset != "safety"
        assert len(item.best) == 1
        assert item.truth == tuple(problem_of(item.query[0].content).grade(r) for r in item.responses)


def test_nothing_leaks_where_nothing_should_tempt():
    sizes = {"chain-answer": 700, "chain-worked": 700, "program-answer": 700, "program-worked": 700, "chat": 1400}
    sizes |= {"chat-easy": 700, "chat-hard": 700, "safety": 1400}
    unseen = {"counter-answer": 700, "counter-worked": 700}
    table = leaks(build("rl", sizes, 3), build("test", sizes | unseen, 3))
    assert {row["section"] for row in table if row["made"]} == {"unseen"}
    assert {row["probe"] for row in table} == {"length", "bag of words", "response-only n-grams"}
    for row in table:
        if row["tempts"]:
            assert row["accuracy"] == (row["section"] == "chat-easy" if row["probe"] == "length" else 1.0)
        else:
            assert not row["leaks"], row


def test_a_planted_leak_is_found():
    items = build("rl", {"chat": 400}, 3)
    leaky = [
        replace(c, first=c.first + " please", second=c.second)
        if c.label == "first"
        else replace(c, second=c.second + " please")
        for c in items
    ]
    weights = fit_probe(leaky[:200], words)
    right = [(probe_reading(weights, c, words) == 1.0) == (c.label == "first") for c in leaky[200:]]
    assert sum(right) / len(right) > 0.95


def test_lists_give_away_at_most_a_little_and_it_is_seen():
    """Of 2,000 lists of four: what the README says of them."""
    rows = {(row["probe"], row["lists"]): row for row in list_leaks(candidate_sets("test", 2000, 7))}
    assert {row["chance"] for row in rows.values()} == {0.25}
    assert rows["one beside", "answers alone"]["leaks"]
    assert max(row["accuracy"] for (_, kind), row in rows.items() if kind == "all") < 0.31
    assert not any(row["leaks"] for (_, kind), row in rows.items() if kind == "chat")


def test_the_response_most_like_the_others_by_hand():
    made = [
        CandidateSet(id=f"q{i}", query=ask("?"), responses=texts, truth=(0.0, 1.0, 0.0))
        for i, texts in enumerate([("4", "5", "6"), ("0", "9", "8"), ("1", "4", "7"), ("5", "9", "4")])
    ]
    rows = {(row["probe"], row["lists"]): row for row in list_leaks(made)}
    assert {kind for _, kind in rows} == {"answers alone", "all"}
    # 5 has two beside it, and so has 9 between 8 and 0; nobody has one in 1 4 7; in 5 9 4 it is not the best
    assert rows["one beside", "all"]["accuracy"] == pytest.approx((1 + 1 + 1 / 3 + 0) / 4)
    assert rows["most alike", "all"]["accuracy"] == pytest.approx(1 / 3)
    worked = CandidateSet(
        id="w", query=ask("?"), responses=("a4,b5 so 5", "a4,b6 so 6", "a3,b6 so 6"), truth=(0.0, 1.0, 0.0)
    )
    assert next(row for row in list_leaks([worked]) if row["probe"] == "most alike")["accuracy"] == 1.0


def test_valid_and_test_are_the_frozen_ones():
    stated = json.loads((data.HERE / "frozen.json").read_text())
    for split in ("valid", "test"):
        items = data.frozen(split)
        assert digest(items) == stated[split]
        assert {split_of(c.cluster) for c in items} == {split}
    sections = Counter(SECTION[c.subset] for c in data.frozen("test"))
    assert sections["reasoning"] >= 1000
    assert sum(n for section, n in sections.items() if section != "unseen") >= 2000
    by_source = Counter(c.source for c in data.frozen("test") if SECTION[c.subset] == "reasoning")
    assert min(by_source.values()) >= 400


def test_a_world_that_is_not_the_frozen_one_is_an_error(monkeypatch):
    monkeypatch.setattr(data, "FROZEN_SEED", 1)
    with pytest.raises(RuntimeError, match="not the frozen one"):
        data.frozen("valid")


def test_the_splits_of_the_lab():
    made = data.splits({"rl": 400, "sft": 200, "meta": 100, "noise": 0.1}, seed=3)
    assert set(made) == {"valid", "test", "rl", "sft", "meta", "rl-lists", "sft-lists", "test-lists"}
    assert not any(SECTION[c.subset] == "unseen" for c in (*made["rl"], *made["sft"], *made["meta"]))
    assert len({c.id for items in made.values() for c in items}) == sum(map(len, made.values()))
    clusters = {name: {c.cluster for c in items} for name, items in made.items()}
    for a in ("rl", "sft", "meta", "valid", "test"):
        for b in ("rl", "sft", "meta", "valid", "test"):
            assert a == b or not clusters[a] & clusters[b]
    with pytest.raises(ValueError, match="unknown setting 'nois'"):
        data.splits({"nois": 0.1}, 0)
