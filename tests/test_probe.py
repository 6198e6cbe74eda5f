"""Judges are asked about their own traces: which questions, once only, and what is made of the answers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from fakelab import Engine, says, splits

from rrmlib.engines.base import EngineError
from rrmlib.judge import Judge
from rrmlib.judgment import Reading, Scores, State, Verdict
from rrmlib.params import JudgeSpec
from rrmlib.probe import picked, probe
from rrmlib.prompt import load_prompt
from rrmlib.store import Store
from rrmlib.world import steps

ITEMS = splits()["test"]
HOW = {"conclude": "\nbest", "breaks": steps.BREAKS, "corrupt": steps.corrupt}


def judge(engine, format="rrm_compact", **spec):
    stated = JudgeSpec.parse({"name": "j", "engine": "qwen2", "model": "path:x", "format": format, **spec})
    return Judge(stated, load_prompt(format), engine)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "traces.sqlite") as found:
        yield found


@pytest.fixture(scope="module")
def said():
    return says(ITEMS, "j", "rrm_compact", {"careful": 1.0})[:40]


def test_every_step_is_cut_after_removed_and_where_it_can_be_made_wrong(said, store):
    engine = Engine()
    found = probe(judge(engine), ITEMS, said, store, **HOW)
    by = Counter((p.item, p.order, p.kind) for p in found)
    for j in said:
        many = next(p.of for p in found if (p.item, p.order) == (j.item, str(j.order)))
        assert by[j.item, str(j.order), "cut"] == many + 1
        assert by[j.item, str(j.order), "removed"] == many
        wrong = sum(steps.corrupt(p.step_text, _Rng()) is not None for p in found if _is(p, j, "removed"))
        assert by[j.item, str(j.order), "corrupted"] == by[j.item, str(j.order), "misled"] == wrong > 0
    assert not any(p.kind == "continued" for p in found)
    assert all(request.sampling.temperature == 0 for request in engine.asked)


class _Rng:
    def choice(self, values):
        return values[0]


def _is(p, j, kind):
    return (p.item, p.order, p.kind) == (j.item, str(j.order), kind)


def test_the_text_so_far_is_what_the_judge_wrote(said, store):
    j = said[0]
    body = j.text[len("<think>\n") : j.text.rfind("\nbest")]
    found = [p for p in probe(judge(Engine()), ITEMS, [j], store, **HOW)]
    cuts = [p.text.rsplit("\nbest", 1)[0] for p in found if p.kind == "cut"]
    assert cuts[0] == "<think>"
    assert cuts[-1] == f"<think>\n{body}"
    assert all(cuts[-1].startswith(text) for text in cuts)
    assert [p.fraction for p in found if p.kind == "cut"][:: len(cuts) - 1] == [0, 1]
    for p in found:
        if p.kind == "removed":
            assert len(p.text.rsplit("\nbest", 1)[0]) < len(cuts[-1])
        if p.kind in ("corrupted", "misled"):
            assert p.step_text in j.text
            assert not cuts[-1].startswith(p.text.rsplit("\nbest", 1)[0])
    misled = [p for p in found if p.kind == "misled"]
    assert all(p.text.count("best") == 1 for p in misled)  # it went on by itself


def test_verdicts_and_margins_are_in_the_order_shown(said, store):
    found = probe(judge(Engine()), ITEMS, said, store, **HOW)
    last = [p for p in found if p.kind == "cut" and p.step == p.of - 1]
    truth = {(j.item, str(j.order)): picked(j.reading) for j in said}
    assert all(p.final == truth[p.item, p.order] for p in last)
    assert {p.verdict for p in found} == {0, 1}
    assert all(p.margin == pytest.approx(math.log(0.75 / 0.2)) for p in last)
    assert all(p.mass == pytest.approx(0.95) for p in last)
    assert all(math.isnan(p.margin) for p in found if p.kind != "cut")


def test_nothing_is_asked_twice_and_an_interrupted_run_goes_on(said, store):
    with pytest.raises(EngineError):
        probe(judge(Engine(dies_after=25)), ITEMS, said, store, **HOW)
    engine = Engine()
    first = probe(judge(engine), ITEMS, said, store, **HOW)
    prompts = {(r.prefill, r.messages) for r in engine.asked}
    assert len(prompts) == len(engine.asked)
    whole = Engine()
    with Store(store.path.with_name("other.sqlite")) as other:
        assert repr(probe(judge(whole), ITEMS, said, other, **HOW)) == repr(first)
    assert len(engine.asked) == len(whole.asked) - 25
    again = Engine()
    assert repr(probe(judge(again), ITEMS, said, store, **HOW)) == repr(first)
    assert not again.asked
    assert not again.scored


def test_an_answer_that_cannot_be_read_has_no_verdict(said, store):
    found = probe(judge(Engine(broken=True)), ITEMS, said[:2], store, **HOW)
    assert {p.verdict for p in found} == {None}


def test_unread_traces_are_left_out_and_unknown_items_refused(said, store):
    unread = replace(said[0], text="I can not say", reading=Reading(State.UNPARSED))
    assert probe(judge(Engine()), ITEMS, [unread], store, **HOW) == []
    with pytest.raises(ValueError, match="nowhere"):
        probe(judge(Engine()), ITEMS, [replace(said[0], item="nowhere")], store, **HOW)


def test_a_sampled_trace_has_a_control_that_goes_on_unchanged(said, store):
    found = probe(judge(Engine(), temperature=1.0), ITEMS, said[:3], store, **HOW)
    kinds = Counter(p.kind for p in found)
    assert kinds["continued"] == kinds["misled"] > 0


def test_other_formats_close_in_their_own_way_and_scores_have_no_margin(store):
    for format in ("rm_r1_compact", "grm_compact"):
        said = says(ITEMS, "j", format, {"careful": 1.0})[:4]
        engine = Engine()
        found = probe(judge(engine, format), ITEMS, said, store, breaks=steps.BREAKS)
        ends = "<answer>[[" if format == "rm_r1_compact" else "Scores: \\boxed{"
        assert {p.kind for p in found} == {"cut", "removed"}
        assert all(request.prefill.endswith(ends) for request in engine.asked)
        assert all(math.isnan(p.margin) for p in found) == (format == "grm_compact")
        assert all(request.prefill.count(ends) == 1 for request in engine.asked)


def test_at_most_so_many_steps_and_only_cuts(said, store):
    found = probe(judge(Engine()), ITEMS, said, store, **{**HOW, "corrupt": None}, at_most=2, edits=False, odds=False)
    assert {p.kind for p in found} == {"cut"}
    assert max(Counter((p.item, p.order) for p in found).values()) == 3
    assert all(math.isnan(p.margin) for p in found)


def test_what_a_reading_picks():
    assert picked(Reading.of(Verdict("second"))) == 1
    assert picked(Reading.of(Verdict("tie"))) == -1
    assert picked(Reading.of(Scores((3, 9, 4)))) == 1
    assert picked(Reading.of(Scores((9, 9, 4)))) == -1
    assert picked(Reading.of(Scores((9, math.nan)))) is None
    assert picked(Reading(State.TRUNCATED)) is None
