"""JudgeBench: the official counter by worked example, and recorded judgments in the shown frame. Rows are hand-made."""

from __future__ import annotations

import json

import pytest

from rrmlib.benchmarks import judgebench
from rrmlib.benchmarks.credit import DIFFERS, from_source
from rrmlib.benchmarks.rows import DataError
from rrmlib.comparison import Comparison, Order, ask
from rrmlib.judgment import Reading, State, Verdict

ITEM = Comparison(id="p", query=ask("q"), first="x", second="y", label="first", subset="math")
UNREAD = Reading(State.UNPARSED)


def value(*said, invalid=0.5):
    """The official value of one pair labelled first; `said` holds (order, verdict in the order shown or None)."""
    judgments, seen = [], {}
    for order, choice in said:
        reading = UNREAD if choice is None else Reading.of(Verdict(choice))
        judgments.append(from_source("p", order, "j", "", reading, sample=seen.setdefault(order, 0)))
        seen[order] += 1
    return judgebench.aggregate([ITEM], judgments, invalid)


AB, BA = Order.AB, Order.BA


@pytest.mark.parametrize(
    ("first", "second", "correct"),
    [
        ("first", "second", 1),  # right in both orders
        ("first", "tie", 1),  # one right and one tie count
        ("tie", "second", 1),
        ("first", None, 1),  # one right and one unreadable count: null adds 0
        ("first", "first", 0),  # the same position twice: +1 - 1
        ("tie", "tie", 0),
        (None, None, 0),
        ("second", "first", 0),
    ],
)
def test_the_sum_over_both_orders_must_be_positive(first, second, correct):
    assert value((AB, first), (BA, second)).value == correct


def test_one_order_is_a_single_game():
    result = value((BA, "second"))
    assert (result.value, result.extra["one_order"]) == (1.0, 1.0)
    assert "official_consistency" not in result.extra


def test_samples_pair_up_and_average():
    result = value((AB, "first"), (BA, "second"), (AB, "second"), (BA, "first"))
    assert result.value == 0.5
    assert result.extra["both_correct"] == 0.5
    assert result.extra["official_consistency"] == 1.0


@pytest.mark.parametrize(("invalid", "expected"), [(0.5, 1.0), (0.0, 0.0), (None, 1.0)])
def test_worth_of_an_unreadable_judgment_beside_a_right_one(invalid, expected):
    assert value((AB, "first"), (BA, None), invalid=invalid).value == expected


@pytest.mark.parametrize(("invalid", "expected"), [(0.5, 0.0), (0.0, 0.0), (0.75, 1.0), (None, None)])
def test_a_pair_without_any_reading(invalid, expected):
    assert value((AB, None), (BA, None), invalid=invalid).credits[0].value == expected


def test_strict_extras_are_stricter():
    result = value((AB, "first"), (BA, "tie"))
    assert result.value == 1.0
    assert (result.extra["both_correct"], result.extra["official_consistency"]) == (0.0, 0.0)
    assert result.missing == ("knowledge", "reasoning", "coding")


def row(judgments, **changes):
    pair = {
        "pair_id": "p",
        "source": "mmlu-pro-law",
        "question": "q",
        "response_A": "x",
        "response_B": "y",
        "label": "A>B",
        "judge_name": "arena_hard",
    }
    return {**pair, "judgments": judgments, **changes}


def entry(text, decision, scores=None):
    inner = {"judge_model": "m", "prompt": "", "response": text}
    return {"judgment": inner if scores is None else {**inner, "scores": scores}, "decision": decision}


def replay(tmp_path, *rows, name="dataset=judgebench,judge_name=arena_hard,judge_model=m.jsonl"):
    file = tmp_path / name
    file.write_text("\n".join(map(json.dumps, rows)))
    items = judgebench.load(file).items
    return items, judgebench.recorded(file, items)


def test_the_second_judgment_is_kept_as_shown_and_mapped_once(tmp_path):
    items, made = replay(tmp_path, row([entry("so [[A>B]]", "A>B"), entry("so [[B>>A]]", "B>A")]))
    assert [(str(j.order), j.reading.verdict.choice) for j in made] == [("AB", "first"), ("BA", "second")]
    assert [j.in_item_order().verdict.choice for j in made] == ["first", "first"]
    assert made[1].reading.verdict.strength == 2.0
    assert {j.judge for j in made} == {"arena_hard/m"}
    assert items[0].subset == "knowledge"
    assert judgebench.aggregate(items, made, 0.5).by == {"knowledge": 1.0}


def test_texts_are_parsed_again(tmp_path):
    _, made = replay(
        tmp_path,
        row([None, entry("[[A>B]] or [[B>A]]", None)]),
        row([entry("[[A>>B]] [[A>B]]", None), entry("", None)], pair_id="q"),
        row([entry("[[A=B]]", "A>B"), entry("[[A>B]] [[A>B]]", "A>B")], pair_id="r"),
    )
    states = [j.state for j in made]
    assert states == [State.ERROR, *[State.UNPARSED] * 3, State.READ, State.READ]
    assert [j.reading.note.startswith(DIFFERS) for j in made] == [False] * 4 + [True, False]


def test_equal_scores_stay_a_tie_but_count_as_the_source_decided(tmp_path):
    equal = row([entry("", "B>A", [1.5, 1.5]), entry("", "B>A", [1.5, 1.5])], judge_name="reward_model")
    items, made = replay(tmp_path, equal)
    assert [j.reading.verdict.choice for j in made] == ["tie", "tie"]
    assert not any(j.reading.note for j in made)
    result = judgebench.aggregate(items, made, 0.5)
    assert (result.value, result.extra["undecided"], result.extra["official_consistency"]) == (0.0, 1.0, 0.0)
    assert (result.extra["order_ab"], result.extra["order_ba"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("judgments", "message"),
    [
        ([entry("", "A>B", [1.0])] * 2, "two numbers"),
        ([entry("", "A>B", [1.0, "2"])] * 2, "two numbers"),
        ([entry("x", "yes")] * 2, "'yes' is none of"),
        ([entry(None, None)] * 2, "expected str"),
        ([entry("x", None)] * 3, "one entry per order"),
    ],
)
def test_a_malformed_recorded_judgment_is_named(tmp_path, judgments, message):
    with pytest.raises(DataError, match=rf"\.jsonl:1: field .*{message}"):
        replay(tmp_path, row(judgments))


def test_pairs_that_are_not_among_the_items_are_named(tmp_path):
    _, made = replay(tmp_path, row([entry("[[A>B]]", "A>B")]))
    assert len(made) == 1  # one entry: the source's single-game mode
    with pytest.raises(DataError, match="'p'"):
        judgebench.recorded(next(tmp_path.glob("*.jsonl")), [])


def test_the_folder_of_the_source_has_pairs_in_data_and_judgments_in_outputs(tmp_path):
    """The outputs repeat the pairs: read as data, every one of them would be a duplicate."""
    said = row([entry("[[A>B]]", "A>B")] * 2)
    for folder, rows in {"data": [row([])], "outputs": [said]}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "judge_name=n,judge_model=m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    items = judgebench.load(tmp_path).items
    assert [item.id for item in items] == ["p"]
    assert [j.judge for j in judgebench.recorded(tmp_path, items)] == ["n/m"] * 2
    for folder in ("data", "outputs"):
        assert judgebench.load(tmp_path / folder).items == items
