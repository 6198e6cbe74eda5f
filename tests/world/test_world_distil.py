"""Distillation: three filters by hand, programs or any engine as oracles, and nothing asked twice."""

import re
from collections import Counter

import pytest

from rrmlib.comparison import Comparison, Order, ask
from rrmlib.engines.base import Completion
from rrmlib.lab import Context, Model
from rrmlib.params import ParameterError
from rrmlib.parse import parse
from rrmlib.prompt import load_prompt
from rrmlib.store import Store
from rrmlib.world import distil, oracle_engine
from rrmlib.world.data import MIX, is_right
from rrmlib.world.pairs import build
from rrmlib.world.text import tokenizer

PROMPT = load_prompt("rm_r1_compact")
FIRST = {"engine": "openai", "model": "one", "options": {"base_url": "http://nowhere"}, "temperature": 0.7}
SECOND = {**FIRST, "model": "two"}


@pytest.fixture(autouse=True)
def checkout(tmp_path, monkeypatch):
    for name in ("params", "notebooks"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rrmlib.world.data.Renderer.__init__", lambda self, _: setattr(self, "tokenizer", tokenizer()))


def make(items, log=lambda _: None, seed=0, **options):
    model = Model("d", {"recipe": "sft"}, data="distilled", options=options)
    return distil.distilled(Context(model, seed, {}, lambda: {"sft": items}, None, None, PROMPT, log))


# --- Programs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def items():
    return build("sft", {subset: round(300 * share) for subset, share in MIX.items()}, 5)


def test_three_filters(items):
    made = {way: make(items, filter=way) for way in distil.FILTERS}
    share = re.search(r"(\d+) traces of the first oracle, (\d+) wrong", made["corrected"].note)
    n, wrong = int(share[1]), int(share[2])
    assert n == len(items)
    assert {way: len(data.rows) for way, data in made.items()} == {
        "corrected": n,
        "dropped": n - wrong,
        "random": n - wrong,
    }
    assert make(items).rows == made["corrected"].rows

    tasks = [(item, (Order.AB, Order.BA)[i % 2]) for i, item in enumerate(items)]
    of = {f"{PROMPT.messages(*task)[0].content}<|im_end|>": task for task in tasks}

    def right(way):
        found = [
            is_right(PROMPT, r["completion"], *of[r["prompt"].split("user\n")[1].split("<|im_start|>")[0].strip()])
            for r in made[way].rows
        ]
        return sum(found) / len(found)

    assert right("corrected") == right("dropped") == 1.0
    assert 0.6 < right("random") < 0.9
    assert [row for row in made["corrected"].rows if row in made["dropped"].rows] == made["dropped"].rows


def test_answers_alone_are_on_the_very_pairs_of_the_traces(items):
    traces, answers = make(items, n=60), make(items, n=60, traces=False)
    assert [row["prompt"] for row in answers.rows] == [row["prompt"] for row in traces.rows]
    assert {row["completion"] for row in answers.rows} == {"<answer>[[A]]</answer>", "<answer>[[B]]</answer>"}
    assert all(t["completion"].endswith(a["completion"]) for t, a in zip(traces.rows, answers.rows, strict=True))
    assert answers.note.endswith("60 used, the verdict alone.")


def test_the_first_n_and_a_filter_that_is_none(items):
    said = []
    assert len(make(items, said.append, n=40).rows) == 40
    assert said == [f"distilled: {make(items, n=40).note}"]
    with pytest.raises(ValueError, match="filter 'best': corrected, dropped, random"):
        make(items, filter="best")
    with pytest.raises(ValueError, match="split sft has no comparisons"):
        make([])


def test_a_first_oracle_that_is_all_wrong_leaves_nothing_when_dropped(items, monkeypatch):
    wrong = lambda item, order, *_: f"<answer>[[{'B' if distil.shown_label(item, order) == 'first' else 'A'}]]</answer>"  # noqa: E731
    monkeypatch.setattr(distil, "first_oracle", wrong)
    assert len(make(items, filter="dropped").rows) == 0  # training then says that its data set is empty
    assert len(make(items).rows) == len(items)


# --- Engines ---------------------------------------------------------------------------------------------------------


class FakeEngine:
    """An engine by the name of its model; says what `answer(message)` says: a text, or (text, finish[, error])."""

    name, dtype = "fake", "none"

    def __init__(self, model_id, answer):
        self.model_id, self.answer, self.asked, self.closed, self.dies_after = model_id, answer, [], 0, 10**9

    def generate(self, requests):
        for i, request in enumerate(requests):
            if len(self.asked) >= self.dies_after:
                raise KeyboardInterrupt
            self.asked.append(request)
            said = self.answer(request.messages[-1].content)
            text, finish, *error = (said, "stop") if isinstance(said, str) else said
            yield [(i, Completion(text, finish, error=error[0] if error else ""))]

    def close(self):
        self.closed += 1


# Question -> what the first says, what the second makes of it. The good response stands first, shown A where even.
FATE = {
    0: ("right", None),
    1: ("right", None),
    2: ("wrong", "right"),
    3: ("wrong", "wrong"),  # rewriting fails too: left out
    4: ("cut", "right"),
    5: (("", "error", "overloaded"), None),  # never had: neither right nor wrong
    6: ("", "right"),  # said nothing at all
    7: (("", "too_long", "prompt 9 > context 8"), None),
}
HAND = [
    Comparison(
        id=f"q{i}", query=ask(f"Question {i}?"), first=f"good {i}", second=f"bad {i}", label="first", subset="chat"
    )
    for i in FATE
]


def says(shown, fate):
    if fate not in ("right", "wrong", "cut"):
        return fate
    good = "A" if "A: good" in shown else "B"
    letter = good if fate == "right" else "AB"["AB".index(good) - 1]
    return ("<eval>and so", "length") if fate == "cut" else f"<eval>by hand, {fate}</eval><answer>[[{letter}]]</answer>"


@pytest.fixture
def engines(monkeypatch):
    def number(shown):
        return int(re.search(r"Question (\d)", shown)[1])

    made = {
        "one": FakeEngine("one", lambda shown: says(shown, FATE[number(shown)][0])),
        "two": FakeEngine("two", lambda shown: says(shown, FATE[number(shown)][1])),
    }
    monkeypatch.setattr(oracle_engine, "open_engine", lambda spec: made[spec.model.removeprefix("hf:")])
    return made


def item_of(request):
    return "q" + re.search(r"Question (\d)", request.messages[-1].content)[1]


def used(made):
    """question -> who wrote the trace."""
    return {
        int(re.search(r"Question (\d)", row["prompt"])[1]): row["completion"].split("</eval>")[0].removeprefix("<eval>")
        for row in made.rows
    }


def test_engines_judge_and_rewrite(engines):
    made = make(HAND, first=FIRST, second=SECOND)
    assert list(used(made)) == [0, 1, 2, 4, 6]  # in the order of the items
    assert set(used(made).values()) == {"by hand, right"}
    assert made.note == "6 of 8 traces of the first oracle, 4 wrong (67%); corrected: 5 used."
    assert [len(engine.asked) for engine in engines.values()] == [8, 4]
    assert [engine.closed for engine in engines.values()] == [1, 1]
    for i, request in enumerate(engines["one"].asked):  # the very prompt of the model, A and B in turn
        assert request.messages == PROMPT.messages(HAND[i], (Order.AB, Order.BA)[i % 2])
        assert (request.sampling.temperature, request.sampling.max_tokens) == (0.7, 4096)
    assert len({request.seed for request in engines["one"].asked}) == 8
    asked = {item_of(request): request.messages[-1].content for request in engines["two"].asked}
    assert list(asked) == ["q2", "q3", "q4", "q6"]
    assert PROMPT.messages(HAND[3], Order.BA)[0].content in asked["q3"]
    assert "<eval>by hand, wrong</eval><answer>[[A]]</answer>" in asked["q3"]
    assert "right verdict is <answer>[[B]]</answer>\n" in asked["q3"]
    for message in asked.values():
        assert not re.search(r"\{\w+\}", message)


def test_an_engine_and_a_program(engines):
    assert set(used(make(HAND, first=FIRST, filter="dropped"))) == {0, 1}
    assert engines["two"].asked == []
    rows = make(HAND, first=FIRST, filter="random").rows
    assert len(rows) == 2
    assert make(HAND, first=FIRST, filter="random").rows == rows


def test_nothing_is_asked_twice_but_what_failed(engines, tmp_path):
    rows = make(HAND, first=FIRST, second=SECOND).rows
    assert (tmp_path / "runs" / "oracles.sqlite").is_file()
    for engine in engines.values():
        engine.asked.clear()
    assert make(HAND, first=FIRST, second=SECOND).rows == rows
    assert [item_of(request) for request in engines["one"].asked] == ["q5", "q7"]
    assert engines["two"].asked == []
    make(HAND, first={**FIRST, "temperature": 0.8}, second=SECOND)
    assert len(engines["one"].asked) == 2 + 8


def test_a_run_that_is_stopped_keeps_what_it_has(engines, tmp_path):
    engines["one"].dies_after = 3
    with pytest.raises(KeyboardInterrupt):
        make(HAND, first=FIRST, second=SECOND)
    assert engines["one"].closed == 1
    with Store(tmp_path / "runs" / "oracles.sqlite", readonly=True) as store:
        assert store.counts()["generations"] == 3
    engines["one"].dies_after = 10**9
    make(HAND, first=FIRST, second=SECOND)
    assert Counter(item_of(request) for request in engines["one"].asked).most_common(1)[0][1] == 1


def test_an_oracle_that_never_answers_is_an_error(engines):
    engines["one"].answer = lambda shown: ("", "error", "HTTP 401")
    with pytest.raises(ValueError, match="the first oracle gave no trace: HTTP 401"):
        make(HAND, first=FIRST)


def test_seeds_differ_by_model_seed_and_are_repeated(engines):
    make(HAND, first=FIRST, filter="dropped")
    make(HAND, first=FIRST, filter="dropped", seed=1)
    seeds = [request.seed for request in engines["one"].asked]
    assert len(set(seeds)) == 16


def test_an_address_alone_is_enough_and_the_world_needs_no_store(engines, tmp_path):
    make(HAND, first="hf:one", second="hf:two")
    assert len(engines["two"].asked) == 4
    assert (tmp_path / "runs").is_dir()


def test_programs_touch_no_store(items, tmp_path):
    make(items, n=10)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("oracle", "says"),
    [
        (3, "expected a model's address or a mapping, found 3"),
        ({**FIRST, "format": "rrm"}, "unknown key 'format'"),
        ({**FIRST, "samples": 4}, "unknown key 'samples'"),
        ({1: 2}, "unknown key '1'"),
        ({"engine": "openai", "model": "m"}, "engine openai needs the server's address"),
        ({"engine": "hf"}, "model: Field required"),
        ("one", "model 'one' does not fit engine 'hf'"),
        ("lab:base-s", "cannot be an oracle"),
        ({"engine": "heuristic", "model": "heuristic:first"}, "cannot be an oracle"),
    ],
)
def test_what_is_no_oracle_is_named_before_anything_is_asked(engines, oracle, says):
    with pytest.raises(ParameterError, match=r"^model 'd': data: second: ") as e:
        make(HAND, first=FIRST, second=oracle)
    assert says in str(e.value)
    assert "\n" not in str(e.value)
    assert engines["one"].asked == []


def test_a_rewriting_shows_text_as_it_stands():
    shown = distil.rewriting(PROMPT, HAND[0], Order.BA, "odd {verdict} \\1 {prompt}")
    assert len(shown) == 1
    assert "odd {verdict} \\1 {prompt}" in shown[0].content
    assert "<answer>[[B]]</answer>" in shown[0].content


def test_the_verdict_of_a_rewriting_reads():
    for order in (Order.AB, Order.BA):
        message = distil.rewriting(PROMPT, HAND[0], order, "x")[0].content
        said = re.search(r"right verdict is (.*)$", message, re.M)[1]
        assert parse(PROMPT.parser, said, "stop").verdict.choice == distil.shown_label(HAND[0], order)
