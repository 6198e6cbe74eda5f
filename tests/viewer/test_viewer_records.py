"""Records of the reader: frames, right and wrong, structure, places, offsets; on worked examples and any text."""

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrmlib.comparison import CandidateSet, Comparison, Message, Order, ask
from rrmlib.judgment import Judgment, Reading, Scores, State, Verdict
from rrmlib.parse import PARSERS, parse
from rrmlib.viewer.records import coverage, document, mentions, readable, structure, trace_record, utf16, verdict_places
from rrmlib.world.judging import BEHAVIOURS, FORMATS, stream, write
from rrmlib.world.reasoning import Chain

PAIR = Comparison(id="q1", query=ask("2 + 2 = ?"), first="4", second="5", label="first", subset="maths")


def judged(value, order=Order.AB, text="t", *, item="q1", judge="j", sample=0, finish="stop", tokens=1, state=None):
    reading = Reading(state, None, "why") if state else Reading.of(value)
    return Judgment(
        item=item,
        order=order,
        sample=sample,
        judge=judge,
        key="",
        text=text,
        finish=finish,
        tokens=tokens,
        reading=reading,
    )


def test_a_pick_is_in_item_order_and_marks_are_as_shown():
    said = judged(Verdict("second", 2.0), Order.BA, "I hold Assistant B to be right: [[B>>A]]")
    trace = trace_record(said, PAIR, parser="judgebench_arena.v1")
    assert (trace["choice"], trace["strength"], trace["right"]) == (0, 2.0, True)
    assert (trace["order"], trace["shown"]) == ("BA", [1, 0])
    assert trace["marks"] == [[7, 18, "mention:1"], [32, 40, "verdict"]]


@pytest.mark.parametrize(
    ("label", "value", "picked", "right"),
    [
        ("first", Verdict("first"), 0, True),
        ("first", Verdict("second"), 1, False),
        ("first", Verdict("tie"), "tie", False),
        ("tie", Verdict("tie"), "tie", True),
        ("tie", Verdict("first"), 0, False),
        (None, Verdict("first"), 0, None),
        ("first", Scores((8.0, 3.0)), 0, True),
        ("first", Scores((5.0, 5.0)), "tie", False),
        ("first", Scores((5.0, math.nan)), None, None),
        ("first", None, None, None),
    ],
)
def test_what_is_right_of_a_pair(label, value, picked, right):
    item = Comparison(id="q1", query=ask("?"), first="a", second="b", label=label)
    trace = trace_record(judged(value, state=None if value else State.UNPARSED), item)
    assert (trace["choice"], trace["right"]) == (picked, right)
    best = {"first": [0], "tie": [0, 1], None: []}[label]
    assert document([item], [judged(Verdict("first"))], title="t")["items"][0]["best"] == best


@pytest.mark.parametrize(
    ("truth", "value", "picked", "right"),
    [
        ((0.0, 1.0, 0.0), Scores((2.0, 9.0, 3.0)), 2, False),  # shown 1 is item 2
        ((0.0, 0.0, 1.0), Scores((2.0, 9.0, 3.0)), 2, True),
        ((0.0, 0.0, 1.0), Scores((2.0, 9.0, 9.0)), "tie", False),
        ((0.0, 1.0, 1.0), Scores(choice=1), 2, True),  # one of two that are equally good
        (None, Scores(choice=1), 2, None),
        ((0.0, 0.0, 1.0), Scores((2.0, 9.0, math.nan)), None, None),
    ],
)
def test_what_is_right_of_a_set(truth, value, picked, right):
    item = CandidateSet(id="q1", query=ask("?"), responses=("a", "b", "c"), truth=truth)
    trace = trace_record(judged(value, Order((0, 2, 1))), item)
    assert (trace["choice"], trace["right"]) == (picked, right)
    if value.values == (2.0, 9.0, 3.0):
        assert trace["values"] == [2.0, 3.0, 9.0]


ITEMS = st.one_of(
    st.builds(
        lambda label: Comparison(id="q", query=ask("?"), first="x", second="y", label=label),
        st.sampled_from(["first", "second", "tie", None]),
    )
)
VALUES = st.one_of(
    st.builds(Verdict, st.sampled_from(["first", "second", "tie"])),
    st.builds(lambda a, b: Scores((a, b)), *[st.sampled_from([1.0, 2.0, math.nan]), st.sampled_from([1.0, 2.0])]),
)


@given(ITEMS, VALUES, st.sampled_from([Order.AB, Order.BA]))
def test_swapping_an_item_and_its_orders_changes_only_the_frame(item, value, order):
    before = trace_record(judged(value, order, "Assistant 1"), item)
    after = trace_record(judged(value, order.flipped, "Assistant 1"), item.swap())
    frame = ("choice", "shown", "order", "values")
    assert {k: v for k, v in before.items() if k not in frame} == {k: v for k, v in after.items() if k not in frame}
    assert after["choice"] == {0: 1, 1: 0}.get(before["choice"], before["choice"])
    assert [1 - i for i in after["shown"]] == before["shown"]
    assert (after["values"] or [])[::-1] == (before["values"] or [])


def test_a_judgment_of_another_item_is_refused():
    with pytest.raises(ValueError, match=r"'j' was shown 3 responses of item 'q1', which has 2"):
        trace_record(judged(Scores(choice=0), Order((0, 1, 2))), PAIR)


# --- Structure and places ---------------------------------------------------------------------------------------------


def cut(text, spans):
    return [(name, text[start:end]) for start, end, name in spans]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("plain", []),
        ("<think>a</think>b", [("think", "<think>a</think>")]),
        ("a</think>\n<eval>x</eval>", [("think", "a</think>"), ("eval", "<eval>x</eval>")]),
        ("<eval>x</eval><think>cut", [("eval", "<eval>x</eval>"), ("think", "<think>cut")]),
        ("<think>a</think>b<think>c", [("think", "<think>a</think>"), ("think", "<think>c")]),
        (
            "<type>Chat</type>\n<rubric>r<justify>j</justify></rubric><eval>open <answer>[[A]]",
            [
                ("type", "<type>Chat</type>"),
                ("rubric", "<rubric>r<justify>j</justify></rubric>"),
                ("eval", "<eval>open "),
                ("answer", "<answer>[[A]]"),
            ],
        ),
        (  # an evaluation that quotes a response with tags of its own
            "<eval>B says <answer>[[B]]</answer></eval> so</eval><answer>[[A]]</answer>",
            [
                ("eval", "<eval>B says <answer>[[B]]</answer></eval> so</eval>"),
                ("answer", "<answer>[[A]]</answer>"),
            ],
        ),
        ("<eval>in </think>out", [("think", "<eval>in </think>")]),
        (
            "**Specific Criteria:** c\n#### Analysis: a\nb\nScores: \\boxed{1, 2}",
            [
                ("principles", "**Specific Criteria:** c\n"),
                ("analysis", "#### Analysis: a\nb\n"),
                ("scores", "Scores: \\boxed{1, 2}"),
            ],
        ),
        ("Analysis: a word like any other", []),
    ],
)
def test_the_parts_of_a_text(text, parts):
    assert cut(text, structure(text)) == parts


def test_thinking_that_the_prompt_opened_and_nobody_closed_is_all_thinking():
    reading = parse("rrm", "I wonder", "length", opens_think=True)
    said = Judgment(
        item="q1",
        order=Order.AB,
        sample=0,
        judge="j",
        key="",
        text="I wonder",
        finish="length",
        tokens=2,
        reading=reading,
    )
    assert trace_record(said, PAIR)["blocks"] == [[0, 8, "think"]]


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_lab_traces_have_structure_a_verdict_and_mentions(style, behaviour):
    problem = Chain(3, (("+", 4), ("*", 2)))
    text = write(style, problem, ("4", "6"), behaviour, stream(f"{style}{behaviour}"))
    parser = next(name for name in ("rrm", "rm_r1", "grm", "direct") if style.startswith(name))
    reading = parse(parser, text, "stop")
    trace = trace_record(judged(reading.value, text=text), PAIR, parser=f"{parser}.v1")
    found = cut(text, trace["marks"])
    (verdict,) = [said for kind, said in found if kind == "verdict"]
    assert parse(parser, verdict, "stop") == reading
    if style != "direct":
        assert trace["blocks"]
        named = {kind for kind, _ in found if kind.startswith("mention")}
        assert named == {"mention:0", "mention:1"} if behaviour in ("careful", "read") else named


MARKUP = [
    "<think>",
    "</think>",
    "<eval>",
    "</eval>",
    "<answer>[[A]]</answer>",
    "<answer>[[B]]",
    "\\boxed{",
    "}",
    "[[A]]",
]
MARKUP += ["\\boxed{Assistant 1}", "\\boxed{7, 3}", "\\boxed{1}", "[[A>B]]", "[[ 7 ]]", "rating: 7/10", "8", "\n", " "]
MARKUP += ["Principles: x\n", "\nScores: ", "Assistant 2", "\U0001f600", "\ud800", "\0", "best A\n", "work\n", "B: "]
TEXTS = st.one_of(st.lists(st.sampled_from(MARKUP), max_size=12).map("".join), st.text(max_size=60))


@settings(max_examples=400)
@given(TEXTS, st.sampled_from(sorted(PARSERS)), st.sampled_from(["stop", "length", "budget", ""]), st.booleans())
def test_any_text_has_parts_in_order_and_its_verdict_where_it_was_read(text, parser, finish, opens):
    reading = parse(parser, text, finish, opens_think=opens)
    n = len(reading.value.values) if isinstance(reading.value, Scores) and reading.value.values else 2
    order = Order(tuple(range(n)))
    said = Judgment(
        item="q", order=order, sample=0, judge="j", key="", text=text, finish=finish, tokens=-1, reading=reading
    )
    trace = trace_record(said, None, parser=parser)
    json.dumps(trace, allow_nan=False)
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    ends = [0, *(place for start, end, _ in trace["blocks"] for place in (start, end)), units]
    assert ends == sorted(ends)
    assert all(0 <= a < b <= units for a, b, kind in trace["marks"] if kind != "verdict")
    places = verdict_places(text, parser)
    if reading.state is State.READ and parser.partition(".")[0] != "scores":
        assert places
        for start, end in places:
            again = parse(parser, "</think>" + text[start:end], "stop", n=n)
            assert again.value == reading.value, (text, text[start:end])
    if reading.state is not State.READ:
        assert not any(kind == "verdict" for _, _, kind in trace["marks"])


@given(st.text(alphabet=st.sampled_from("a\U0001f600\ud83d\ude00\udfff é"), max_size=20))
def test_offsets_count_utf_16_code_units(text):
    units = utf16(text)
    for place in range(len(text) + 1):
        assert units(place) == len(text[:place].encode("utf-16-le", "surrogatepass")) // 2


def test_marks_behind_a_wide_character_are_where_javascript_sees_them():
    trace = trace_record(judged(Verdict("first"), text="\U0001f600 [[A]]"), PAIR, parser="direct.v1")
    assert trace["marks"] == [[3, 8, "verdict"]]


def test_responses_that_were_rated_one_by_one_are_shown_in_turn():
    parts = [{"text": "Good.\n7", "finish": "stop", "error": ""}, {"text": "", "finish": "error", "error": "lost"}]
    said = judged(Scores((7.0, math.nan)), text=json.dumps(parts))
    text, places = readable(said)
    assert text == "----- Response 1 -----\nGood.\n7\n\n----- Response 2: lost -----\n"
    assert [text[a:b] for a, b in places] == ["Good.\n7", ""]
    trace = trace_record(said, PAIR, parser="rewardbench2_ratings.v1")
    assert cut(text, trace["marks"])[1] == ("verdict", "7")
    assert readable(judged(Verdict("first"), text="[{]")) == ("[{]", [(0, 3)])


def test_the_verdict_of_a_rating_is_not_what_it_is_out_of():
    for text in ("rating: 7/10", "7 out of 10", "Score: **7**"):
        trace = trace_record(judged(Scores((7.0,)), Order((0,)), text), parser="rewardbench2_ratings.v1")
        assert cut(text, trace["marks"]) == [("verdict", "7")]


def test_patterns_are_what_the_caller_finds():
    said = judged(Verdict("first"), text="\U0001f600 but wait")
    found = document([PAIR], [said], title="t", patterns=lambda text: [(text.find("wait"), len(text), "reflection")])
    assert found["families"] == ["reflection"]
    assert found["items"][0]["traces"][0]["marks"] == [[7, 11, "pattern:reflection"]]


# --- Documents --------------------------------------------------------------------------------------------------------


def test_a_document_says_what_is_missing():
    other, unseen = (Comparison(id=i, query=ask("?"), first="a", second="b") for i in ("q2", "q3"))
    said = [judged(Verdict("first")), judged(Verdict("first"), judge="k"), judged(Verdict("first"), item="q2")]
    said.append(judged(Verdict("first"), item="elsewhere"))
    made = document([PAIR, other, unseen], said, title="t", asked={"elsewhere": [Message("user", "Which?")]})
    assert [item["id"] for item in made["items"]] == ["q1", "q2", "elsewhere"]
    assert made["judges"] == ["j", "k"]
    assert made["items"][2]["asked"] == [["user", "Which?"]]
    assert made["items"][0]["section"] == "maths"
    for part in ("1 item without any judgment left out", "1 item known by name only", "judge k misses 2 items"):
        assert part in made["note"]


def test_a_judge_misses_only_items_of_benchmarks_that_it_judged():
    made = [item | {"benchmark": "b"} for item in document([PAIR], [judged(Verdict("first"))], title="t")["items"]]
    more = document([PAIR], [judged(Verdict("first"), judge="k")], title="t", benchmark="c")["items"]
    assert coverage([*made, *more], ["j", "k"]) == []
    assert coverage([*made, *more, more[0] | {"traces": []}], ["j", "k"]) == ["judge k misses 1 item"]


def test_an_empty_document_says_so():
    assert document([], [], title="t")["note"] == "there are no judgments"


def test_a_set_of_32_and_a_section_by_function():
    item = CandidateSet(
        id="q1", query=ask("?"), responses=tuple(map(str, range(32))), truth=tuple(map(float, range(32)))
    )
    order = list(range(32))
    random.Random(0).shuffle(order)
    said = judged(
        Scores(tuple(float(i) for i in order)), Order(tuple(order)), "Response 32 is best, Response 33 is none"
    )
    made = document([item], [said], title="t", section=lambda item: f"of {len(item.responses)}")["items"][0]
    assert made["section"] == "of 32"
    assert made["traces"][0]["choice"] == 31
    assert made["traces"][0]["right"] is True
    assert [mark[2] for mark in made["traces"][0]["marks"]] == ["mention:31"]


def test_a_trace_of_a_megabyte_takes_no_time():
    texts = ("<eval>" * 170_000, "\\boxed{" * 150_000, "Assistant 1 " * 90_000, "7 " * 500_000, "Scores:\n" * 120_000)
    texts += ("Assistants A" + ", B" * 330_000,)
    for text, parser in zip(texts, ("rm_r1", "rrm", "", "rewardbench2_ratings", "grm", "")):
        trace_record(judged(Verdict("first"), text=text), PAIR, parser=parser)


def test_several_best_responses_with_the_same_highest_score_are_right():
    item = CandidateSet(id="q", query=ask("Name a prime."), responses=("2", "3", "4"), truth=(1.0, 1.0, 0.0))
    for values, expected in (((9, 9, 1), True), ((9, 1, 9), False), ((9, 9, 9), False), ((9, 1, 1), True)):
        said = judged(Scores(tuple(map(float, values))), Order((0, 1, 2)), item="q")
        assert trace_record(said, item)["right"] is expected


def test_a_number_behind_answer_or_model_is_no_mention():
    assert mentions("So the answer 2 is right, as model 1 of physics says. The output 1 is", 2) == []
    assert mentions("So the answer **2** is right, the **answer** 1 is not, and output * 2", 2) == []
    assert mentions("response_1, my_response 1 and the_response A_b are names in a program", 2) == []
    assert [kind for _, _, kind in mentions("Response 2 is better, answer B too", 2)] == ["mention:1", "mention:1"]
    assert [kind for _, _, kind in mentions("Answer 1: good. Model 2: bad.", 2)] == ["mention:0", "mention:1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Assistants A and B agree", ["Assistants A", "B"]),
        ("both Responses (1), (2), and 3", ["Responses (1", "2", "3"]),
        ("models 3/1 & 2", ["models 3", "1", "2"]),
        ("Assistant B vs. A, or Response A or B", ["Assistant B", "A", "Response A", "B"]),
        ("Assistants A and Assistant B", ["Assistants A", "Assistant B"]),
        ("Assistants A and D, B", ["Assistants A", "B"]),  # nobody is D
        ("In response A, B is named. Response 1 and 2 more", ["response A", "Response 1"]),
        ("Response A and I agree", ["Response A"]),
        ("Responses 1 and 2.5 of 3, or 1 and 2%", ["Responses 1"]),
        ("Assistants A and Because", ["Assistants A"]),
        ("**Assistant A** is, **Response 2:** is not", ["Assistant A", "Response 2"]),
        ("Assistant **A**, **Assistant** B, Response **2**", ["Assistant **A", "Assistant** B", "Response **2"]),
        ("__Assistant A__, _Response B_", ["Assistant A", "Response B"]),
        ("Assistants **A** and **B**, **Responses 1**, **2** and 3", ["Assistants **A", "B", "Responses 1", "2", "3"]),
        ("**Assistant A** and **B**", ["Assistant A", "B"]),
    ],
)
def test_a_noun_may_name_several_responses(text, found):
    marks = mentions(text, 3)
    assert [text[start:end] for start, end, _ in marks] == found
    assert [kind for *_, kind in marks] == [f"mention:{'A1B2C3'.index(name[-1]) // 2}" for name in found]
