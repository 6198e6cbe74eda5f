"""AMEL's repetitions: error texts are no verdicts, labels in the order shown, the official ratio. Hand-made rows."""

from __future__ import annotations

import json

import pytest
from judged import prefers, write_json, write_jsonl

from rrmlib.benchmarks import amel_llmbar, benchmark
from rrmlib.benchmarks.amel_llmbar import aggregate, answers, load, read, recorded
from rrmlib.benchmarks.credit import DIFFERS
from rrmlib.benchmarks.rows import DataError
from rrmlib.judge import recorded as recorded_judge
from rrmlib.judgment import State
from rrmlib.params import JudgeSpec, ParameterError
from rrmlib.score import score

ERROR = "ERROR: Client error '429 Too Many Requests' for url 'https://api.example.com/v1/messages'"


def item_row(k, label=1):
    return {"id": f"natural_{k:03d}", "input": f"q{k}", "output_1": "one", "output_2": "two", "label": label}


def answer(text="1", *, parsed="1", item=0, repetition=0, swap=False, truth="1", **changes):
    return {
        "judge": "gpt",
        "regime": "fresh",
        "item_id": f"natural_{item:03d}",
        "repetition": repetition,
        "seed": 1,
        "swap": swap,
        "truth_label_after_swap": truth,
        "raw_response": text,
        "parsed_label": parsed,
        "response_time_ms": 1.0,
        **changes,
    }


def folder(tmp_path, *rows, labels=(1,)):
    write_json(tmp_path / "natural_items.json", [item_row(k, label) for k, label in enumerate(labels)])
    write_jsonl(tmp_path / "pilot_responses.jsonl", rows)
    return load(tmp_path).items


def test_an_error_text_is_an_error_and_never_a_verdict(tmp_path):
    items = folder(tmp_path, answer(ERROR, parsed="2"))
    (made,) = answers(tmp_path, items)
    assert made.judgment.state is State.ERROR
    assert made.judgment.reading.verdict is None
    assert made.judgment.reading.note.startswith(f"{DIFFERS} '2'; an API error")
    assert made.recorded == "second"
    assert made.as_recorded().reading.verdict.choice == "second"  # what the published number counts
    assert score(benchmark("amel_llmbar"), items, recorded(tmp_path, items)).coverage["error"] == 1


@pytest.mark.parametrize(
    ("text", "state", "choice"),
    [
        ("1", State.READ, "first"),
        ("**2**\n\nResponse B better follows", State.READ, "second"),
        ("I would reply with **2**.", State.READ, "second"),
        ("2 (Note: 2 is more", State.READ, "second"),
        ("2 rather than 1", State.UNPARSED, None),
        ("B", State.UNPARSED, None),
        ("I need to evaluate 12 facts in a2", State.UNPARSED, None),
        ("", State.UNPARSED, None),
        (ERROR, State.ERROR, None),
    ],
)
def test_what_a_text_says(text, state, choice):
    reading = read(text)
    assert reading.state is state
    assert (reading.verdict.choice if reading.verdict else None) == choice


def test_labels_are_in_the_order_shown(tmp_path):
    rows = [answer("1", swap=True, truth="2", repetition=1), answer("1")]
    items = folder(tmp_path, *rows)
    first, second = recorded(tmp_path, items)
    assert (first.sample, str(first.order), second.sample, str(second.order)) == (0, "AB", 1, "BA")
    assert [j.reading.verdict.choice for j in (first, second)] == ["first", "first"]
    assert [j.in_item_order().verdict.choice for j in (first, second)] == ["first", "second"]
    assert items[0].label == "first"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"swap": True}, "'truth_label_after_swap'.*in order BA"),
        ({"swap": 0}, "'swap'"),
        ({"item_id": "natural_007"}, "not among the items"),
        ({"parsed_label": "3"}, "'parsed_label'"),
        ({"raw_response": None}, "'raw_response'"),
        ({"regime": "warm"}, "'regime'"),
    ],
)
def test_a_malformed_answer_is_named(tmp_path, changes, message):
    items = folder(tmp_path, answer() | changes)
    with pytest.raises(DataError, match=rf"pilot_responses\.jsonl:1: .*{message}"):
        answers(tmp_path, items)


def test_a_repeated_answer_is_named(tmp_path):
    items = folder(tmp_path, answer(), answer())
    with pytest.raises(DataError, match=r"pilot_responses\.jsonl:2: .*repetition 0 occurs twice"):
        answers(tmp_path, items)


def test_the_official_number_is_right_of_readable_over_all_answers(tmp_path):
    items = folder(tmp_path, labels=(1, 1))
    said = [prefers(items[0], "first", sample=k) for k in range(3)]
    said += [prefers(items[1], c, sample=k) for k, c in enumerate(["second", None, None])]
    result = aggregate(items, said, None)
    assert result.value == 3 / 4
    assert not result.linear  # an item with three readable answers weighs more than one with one
    assert sum(c.value for c in result.credits) / 2 == pytest.approx(result.value)
    assert [c.value for c in result.credits] == pytest.approx([9 / 8, 3 / 8])
    wrong = aggregate(items, said, 0.0)
    assert wrong.linear
    assert [c.value for c in wrong.credits] == [1.0, 0.0]
    assert result.extra["unread"] == pytest.approx(1 / 3)
    assert benchmark("amel_llmbar").invalid is None


def test_an_item_without_any_readable_answer_is_excluded(tmp_path):
    items = folder(tmp_path, labels=(1, 2))
    said = [prefers(items[0], "first"), prefers(items[1], None)]
    assert [c.value for c in aggregate(items, said, None).credits] == [1.0, None]
    assert aggregate(items, said, 0.5).value == 0.75
    nothing = aggregate(items, [prefers(item, None) for item in items], None)
    assert nothing.value != nothing.value
    assert score(benchmark("amel_llmbar"), items, said).estimate().n == 1


def test_one_judge_of_the_file_is_chosen_by_an_option(tmp_path):
    items = folder(tmp_path, answer(), answer("2", parsed="2", regime="batched"))
    where = {"name": "mine", "engine": "recorded", "model": f"recorded:{tmp_path}"}

    def judged(**options):
        return recorded_judge(JudgeSpec.parse({**where, "options": options}), benchmark("amel_llmbar"), items)

    (j,) = judged(judge="gpt/batched")
    assert (j.judge, j.text) == ("mine", "2")
    with pytest.raises(ParameterError, match=r"2 judges in .*one of gpt/batched, gpt/fresh"):
        judged()
    with pytest.raises(ParameterError, match="no judge 'other'"):
        judged(judge="other")
    with pytest.raises(ParameterError, match="'jugde' is unknown"):
        judged(jugde="gpt/fresh")


def test_data_that_is_not_there_says_what_to_put_where(tmp_path):
    for path in (None, tmp_path):
        with pytest.raises(DataError, match="chutapp/amel-llmbar-audit"):
            load(path)


@pytest.mark.recorded
def test_the_recorded_errors_are_errors(recorded):
    items = load(recorded / "amel_llmbar").items
    judgments = amel_llmbar.recorded(recorded / "amel_llmbar", items)
    warning = json.loads((recorded / "reference.json").read_text())["amel_llmbar"]["warning"]
    assert "must not become a verdict" in warning
    assert len(judgments) == 1830
    assert sum(j.state is State.ERROR for j in judgments) == 258
    differ = [j for j in judgments if j.reading.note.startswith(DIFFERS)]
    assert {j.state for j in differ} == {State.ERROR}  # on every real answer we read what the authors read
    assert len(differ) == 258
