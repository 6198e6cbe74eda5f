"""The replay bar as a test: every leaf of reference.json in scope, and proof that the comparison can fail."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "measure" / "replay.py"


@pytest.fixture(scope="module")
def replay():
    spec = importlib.util.spec_from_file_location("replay", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.recorded
def test_every_recorded_number_is_reproduced(replay, recorded):
    rows = replay.compare(recorded)
    assert [row for row in rows if row[3] == "!"] == []
    parts = Counter(path.split(" / ")[0] for path, *_ in rows)
    assert parts == {
        **{"judgebench": 378, "llmbar": 807, "pandalm": 41, "rm_r1": 96, "rrm_official": 74},
        **{"amel_llmbar": 132, "prometheus_eval": 15, "tree_of_thought": 50},
        **{"arena_bench_v1": 87, "arena_hard_battles": 12},
    }


@pytest.mark.parametrize(
    ("ours", "expected", "mark"),
    [
        (0.1 + 0.2, 0.3, "~"),
        (0.3, 0.3, "="),
        (0.300001, 0.3, "!"),
        (3, 3.0, "!"),  # a count is no decimal
        (True, 1, "!"),
        (2, 3, "!"),
        ("A", "B", "!"),
        (float("nan"), 0.5, "!"),
    ],
)
def test_the_comparison_can_fail(replay, ours, expected, mark):
    assert replay.verdict(ours, expected) == mark


def test_leaves_leave_out_prose_only(replay):
    tree = {"_rule": "x", "note": "x", "a": {"b": [1, "2 / 4 = 50.0%"]}, "c": "75.5%", "d": None}
    assert list(replay.leaves(tree)) == [
        (("a", "b", "0"), 1),
        (("a", "b", "1", "of"), 2),
        (("a", "b", "1", "n"), 4),
        (("a", "b", "1", "pct"), 50.0),
        (("c", "pct"), 75.5),
        (("d",), None),
    ]


def test_a_share_that_is_no_count_is_an_error(replay):
    assert replay.count(2 / 3, 9) == 6
    with pytest.raises(ValueError, match="whole"):
        replay.count(0.5, 9)
