"""Judgments to tables: four rules for the unreadable, coverage everywhere, intervals, paired comparisons."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from rrmlib.benchmarks import NAMES, benchmark
from rrmlib.benchmarks.rows import data_path
from rrmlib.comparison import CandidateSet, Comparison, Order, ask
from rrmlib.judge import open_judge, run
from rrmlib.judgment import Judgment, Reading, Scores, State, Verdict
from rrmlib.params import JudgeSpec, ParameterError
from rrmlib.score import evaluate, score, some_prompts
from rrmlib.store import Store

HEURISTICS = ("first", "longest", "shortest")


def specs(*names: str) -> list[JudgeSpec]:
    return [JudgeSpec.parse({"name": n, "engine": "heuristic", "model": f"heuristic:{n}"}) for n in names]


def judged(item: str, order: Order, reading: Reading, sample: int = 0) -> Judgment:
    return Judgment(
        item=item, order=order, sample=sample, judge="j", key="", text="", finish="stop", tokens=1, reading=reading
    )


FIRST, SECOND = Reading.of(Verdict("first")), Reading.of(Verdict("second"))
LOST = Reading(State.UNPARSED, note="?")


def items(n: int) -> list[Comparison]:
    return [
        Comparison(id=f"q{i}", query=ask("?"), first="a", second="b", label="first", subset="chat") for i in range(n)
    ]


def test_the_unreadable_is_worth_what_each_rule_says():
    judgments = [
        judged("q0", Order.AB, FIRST),
        judged("q1", Order.AB, SECOND),
        judged("q2", Order.AB, LOST),
        judged("q3", Order.AB, Reading(State.ERROR, note="503")),
    ]
    result = score(benchmark("builtin"), items(4), judgments).as_json()
    assert result["overall"]["wrong"] == 0.25
    assert result["overall"]["half"] == 0.5
    assert result["overall"]["excluded"] == 0.5
    assert result["overall"]["official"] == 0.25
    assert result["coverage"] == {"read": 2, "unparsed": 1, "truncated": 0, "too_long": 0, "error": 1, "total": 4}


def test_a_judge_that_cannot_be_read_has_no_accuracy():
    judgments = [judged(f"q{i}", order, LOST) for i in range(3) for order in (Order.AB, Order.BA)]
    result = score(benchmark("builtin"), items(3), judgments).as_json()
    assert result["overall"]["excluded"] is None
    assert result["overall"]["wrong"] == 0.0
    assert result["consistency"] is None
    json.dumps(result, allow_nan=False)


def test_position_measures_see_the_shown_frame():
    """Three items: consistent, always the first shown, always the second shown."""
    judgments = [
        judged("q0", Order.AB, FIRST),
        judged("q0", Order.BA, SECOND),
        judged("q1", Order.AB, FIRST),
        judged("q1", Order.BA, FIRST),
        judged("q2", Order.AB, SECOND),
        judged("q2", Order.BA, SECOND),
    ]
    position = score(benchmark("builtin"), items(3), judgments).position
    assert math.isclose(position["position_consistency"].value, 1 / 3)
    assert position["first_preference"].value == 0.5
    assert "repetition_stability" not in position


def test_one_judge_at_a_time():
    other = Judgment(**{**judged("q0", Order.AB, FIRST).__dict__, "judge": "other"})
    with pytest.raises(ValueError, match="one judge expected, found j, other"):
        score(benchmark("builtin"), items(1), [judged("q0", Order.AB, FIRST), other])


def test_samples_of_a_prompt_do_not_narrow_the_interval():
    """Nine identical samples are one observation."""
    rng = np.random.default_rng(3)
    right = rng.random(100) < 0.7
    readings = [FIRST if r else SECOND for r in right]
    once = [judged(f"q{i}", Order.AB, r) for i, r in enumerate(readings)]
    nine = [judged(f"q{i}", Order.AB, r, sample) for i, r in enumerate(readings) for sample in range(9)]
    bench = benchmark("builtin")
    a, b = score(bench, items(100), once).estimate(), score(bench, items(100), nine).estimate()
    assert a.value == b.value
    assert (b.hi - b.lo) > 0.95 * (a.hi - a.lo)


def test_a_table_for_every_question():
    with Store(":memory:") as store:
        result = evaluate(benchmark("builtin"), specs(*HEURISTICS), store, quiet=True)
    accuracy = result.accuracy()
    assert set(accuracy.rule) == {"official", "wrong", "half", "excluded"}
    summary = result.summary()
    assert list(summary.judge) == list(HEURISTICS)
    assert summary["read"].eq(160).all()
    assert (summary.lo <= summary.official).all()
    assert len(accuracy) == 3 * 4 * 5
    assert (accuracy.lo <= accuracy.value).all()
    assert (accuracy.value <= accuracy.hi).all()
    assert result.coverage().groupby("judge")["count"].sum().eq(160).all()
    assert set(result.position().metric) == {"position_consistency", "first_preference"}
    assert list(result.ranking().judge) == sorted(HEURISTICS)  # all at one half: tied, in name order
    assert set(result.ranking().group) == {"1-3"}
    differences = result.differences()
    assert len(differences) == 3
    assert differences.detectable.gt(0).all()
    assert differences.p_holm.eq(1).all()
    assert result.digest() == result.digest()


def test_a_real_difference_is_found():
    """Longest against shortest on the chat_hard section: 20 % against 80 %."""
    bench = benchmark("builtin")
    hard = [item for item in bench.load(None).items if item.subset == "chat_hard"]
    with Store(":memory:") as store:
        results = [
            score(bench, hard, run(open_judge(spec), hard, store, quiet=True).judgments)
            for spec in specs("longest", "shortest")
        ]
    from rrmlib.score import Evaluation

    differences = Evaluation(bench, bench.load(None), tuple(results), ()).differences()
    row = differences.iloc[0]
    assert math.isclose(row.difference, -0.6)
    assert row.p < 0.05
    assert row.hi < 0


def test_no_judges_and_limits():
    with Store(":memory:") as store:
        with pytest.raises(ParameterError, match="no judges"):
            evaluate(benchmark("builtin"), [], store)
        result = evaluate(benchmark("builtin"), specs("first"), store, limit=3, quiet=True)
    said = "limit: only 3 prompts, by turns from every subset, each with all its items: 3 of 80 items"
    assert said in result.notes


def test_a_few_prompts_are_of_all_subsets_and_keep_all_their_items():
    def item(number: int, subset: str, cluster: str) -> Comparison:
        words = {"query": ask(f"{number}?"), "first": "a", "second": "b", "label": "first"}
        return Comparison(id=f"i{number}", **words, subset=subset, cluster=cluster)

    items = [item(0, "chat", "p"), item(1, "chat", "q"), item(2, "chat", "r"), item(3, "safety", "s")]
    items += [item(4, "safety", "s"), item(5, "math", "t"), item(6, "math", "p")]  # p is in two subsets
    assert [i.id for i in some_prompts(items, 3)] == ["i0", "i3", "i4", "i5", "i6"]
    assert some_prompts(items, 4)[1].id == "i1"
    assert some_prompts(items, 99) == some_prompts(items, 0) == tuple(items)
    with pytest.raises(ValueError, match="limit -1"):
        some_prompts(items, -1)


def test_ties_of_rewardbench_2_can_be_compared_although_their_score_is_no_mean():
    bench = benchmark("rewardbench2")
    sets = []
    for kind, correct in (("ref", 1), ("tied", 3)):
        truth = (1.0,) * correct + (0.0,) * 3
        texts = tuple(f"{kind} {i}" for i in range(len(truth)))
        sets += [
            CandidateSet(
                id=f"Ties/{kind}:{i}",
                query=ask(f"{i}?"),
                responses=texts,
                truth=truth,
                subset="Ties",
                cluster=f"Ties/{i}",
            )
            for i in range(6)
        ]
    rng = np.random.default_rng(0)
    results = []
    for noise in (0.1, 12.0):
        judgments = []
        for item in sets:
            order = Order(tuple(range(len(item.responses))))
            values = tuple(float(8 * t + 1 + noise * rng.random()) for t in item.truth)
            judgments.append(judged(item.id, order, Reading.of(Scores(values))))
        results.append(score(bench, sets, judgments))
    assert results[0].estimate().value > results[1].estimate().value
    from rrmlib.score import Evaluation

    frame = Evaluation(bench, bench.load, tuple(results), ()).differences()
    assert math.isfinite(frame.iloc[0].difference)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_declares_what_a_table_needs(name):
    bench = benchmark(name)
    assert bench.name == name
    assert bench.title
    assert bench.files
    assert bench.invalid in (0.0, 0.25, 0.5, None)
    assert bench.chance is None or 0 < bench.chance < 1
    module = sys.modules[f"rrmlib.benchmarks.{name}"]
    if name in ("rewardbench", "rewardbench2", "ppe"):
        assert "format unverified" in module.__doc__.lower()


def test_recorded_judges_run_through_the_same_tables(recorded):
    pairs = "recorded:judgebench/data/dataset=judgebench,response_model=claude-3-5-sonnet-20240620.jsonl"
    output = (
        "recorded:judgebench/outputs/dataset=judgebench,response_model=claude-3-5-sonnet-20240620,"
        "judge_name=arena_hard,judge_model=claude-3-haiku-20240307.jsonl"
    )
    assert data_path(pairs).is_file()
    haiku = JudgeSpec.parse({"name": "haiku", "engine": "recorded", "model": output})
    with Store(":memory:") as store:
        result = evaluate(benchmark("judgebench"), [haiku, *specs("longest")], store, data=pairs, quiet=True)
        assert len(store.judgments(judge="haiku")) == 310
    assert result.results[0].coverage["unparsed"] == 9
    assert any("9 of 310 judgments" in note for note in result.notes)
    assert math.isclose(result.results[0].estimate().value, 0.31612903225806452)
