"""What models are trained on: rows in the order shown, nothing given away, rules of dropping worked by hand."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rrmlib.comparison import CandidateSet, Comparison, Message, Order, ask
from rrmlib.engines.base import Completion
from rrmlib.lab import Context, Data, Model
from rrmlib.params import ParameterError
from rrmlib.parse import parse
from rrmlib.prompt import load_prompt
from rrmlib.rewards import scores_reward, verdict_reward
from rrmlib.world import data
from rrmlib.world.pairs import build, candidate_sets
from rrmlib.world.text import documents, tokenizer

OPEN, CLOSE = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained model of size xs with the world's tokenizer."""
    from rrmlib.train.pretrain import fresh

    path = tmp_path_factory.mktemp("xs")
    fresh("xs", tokenizer(), context=512, init_std=0.02, embed_std=0.02, seed=0).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def world():
    """A few of every subset in every split, the unseen family among them, and lists of three."""
    made = {split: build(split, dict.fromkeys(data.SECTION, 4), 1) for split in ("rl", "sft", "meta", "valid")}
    return made | {f"{split}-lists": candidate_sets(split, 4, 1, sizes=(3, 4)) for split in ("rl", "sft")}


def context(items, folder, format="rrm_compact", **options):
    model = Model("m", {"recipe": "sft"}, data="x", options=options)
    prompt = load_prompt(format) if format else None
    return Context(model, 0, {}, lambda: items, folder, [folder] if folder else [], prompt, lambda _: None)


def pair(number, first, second, label, subset="chat"):
    return Comparison(
        id=f"q{number}", query=ask(f"Question {number}?"), first=first, second=second, label=label, subset=subset
    )


class FakeEngine:
    """Says what `answer(prompt, sample)` says: a text, or (text, finish)."""

    def __init__(self, answer):
        self.answer, self.asked, self.closed = answer, Counter(), 0

    def __call__(self, folder):
        return self

    def generate(self, requests):
        batch = []
        for i, request in enumerate(requests):
            shown = request.messages[-1].content
            said = self.answer(shown, self.asked[shown])
            self.asked[shown] += 1
            text, finish = (said, "stop") if isinstance(said, str) else said
            counted = {"tokens": 0} if finish == "too_long" else {"tokens": 10}
            batch.append((i, Completion(text, finish, **counted, prompt_tokens=100)))
        yield batch[::2]  # batches come as they finish, in any order
        yield batch[1::2]

    def close(self):
        self.closed += 1


@pytest.fixture
def engine(monkeypatch):
    def use(answer):
        fake = FakeEngine(answer)
        monkeypatch.setattr("rrmlib.engines.qwen2.Qwen2Engine", fake)
        return fake

    return use


# --- Rows without a model --------------------------------------------------------------------------------------------


def test_rl_shows_both_orders_and_labels_what_is_shown(world, folder):
    made = data.rl(context(world, folder))
    assert isinstance(made, Data)
    known = {c.id: c for c in world["rl"]}
    groups = Counter()
    for row in made.rows:
        assert set(row) == {"prompt", "label", "group", "id"}
        item = known[row["id"]]
        better = item.first if item.label == "first" else item.second
        number = 1 if row["label"] == "first" else 2
        assert f"\nAssistant {number}: {better}\n" in row["prompt"]
        assert row["prompt"].startswith(f"{OPEN}Query: {item.query[0].content}\n")
        assert row["prompt"].endswith(CLOSE)
        groups[row["group"]] += 1 if row["label"] == "first" else 10
    assert set(groups.values()) == {11}  # one row each way


def test_rl_of_swapped_comparisons_is_the_same(world, folder):
    swapped = world | {"rl": [c.swap() for c in world["rl"]]}
    assert data.rl(context(swapped, folder)).rows == data.rl(context(world, folder)).rows


@pytest.mark.parametrize("format", ["rrm_compact", "direct_compact", "rm_r1_compact"])
def test_the_reward_of_a_row_is_that_of_its_bare_verdict(world, folder, format):
    """Rows of `rl` and completions of `verdicts` agree with the parser and the reward of the same format."""
    prompt = load_prompt(format)
    truth = {row["prompt"]: row["label"] for row in data.rl(context(world, folder, format)).rows}
    made = data.verdicts(context(world, folder, format))
    assert {row["prompt"] for row in made.rows} == set(truth)
    for row in made.rows:
        assert set(row) == {"prompt", "completion"}
        assert parse(prompt.parser, row["completion"], "stop").verdict.choice == truth[row["prompt"]]
        label = {"label": truth[row["prompt"]]}
        assert verdict_reward(prompt)([label], [row["completion"]], ["stop"])[0].reward == 1.0
    assert len(made.valid) == 2 * sum(not c.subset.startswith("counter") for c in world["valid"])


def test_a_list_format_gives_the_truth_in_the_order_shown_and_lists_too(world, folder):
    prompt = load_prompt("grm_compact")
    made = data.rl(context(world, folder, "grm_compact"))
    known = {item.id: item for item in (*world["rl"], *world["rl-lists"])}
    assert Counter(len(row["truth"]) for row in made.rows) == {2: 2 * 32, 3: 2 * 2, 4: 2 * 2}
    for row in made.rows:
        assert set(row) == {"prompt", "truth", "group", "id"}
        item, best = known[row["id"]], row["truth"].index(max(row["truth"]))
        grades = item.truth if isinstance(item, CandidateSet) else data._truth(item)
        shown = re.findall(r"^\d: (.+)$", row["prompt"].split("<|im_end|>")[0], re.M)
        assert sorted(shown) == sorted(item.responses)
        assert row["truth"] == [grades[item.responses.index(text)] for text in shown]
        said = ", ".join("9" if i == best else "2" for i in range(len(shown)))
        assert scores_reward(prompt)([row], [f"Scores: \\boxed{{{said}}}"], ["stop"])[0].reward == 1.0


@pytest.mark.parametrize(("share", "pairs", "lists"), [(0, 32, 0), (0.25, 12, 4), (0.5, 4, 4), (0.8, 1, 4), (1, 0, 4)])
def test_the_share_of_lists_is_the_one_asked_for_and_nothing_is_shown_twice(world, folder, share, pairs, lists):
    made = data.rl(context(world, folder, "grm_compact", lists=share))
    shown = Counter(row["id"] for row in made.rows)
    assert set(shown.values()) == {2}  # both orders
    assert Counter("set" in name for name in shown) == Counter({False: pairs, True: lists})
    assert made.rows == data.rl(context(world, folder, "grm_compact", lists=share)).rows
    with pytest.raises(ValueError, match=r"lists: 1\.5 is no share"):
        data.rl(context(world, folder, "grm_compact", lists=1.5))


def test_thinking_can_be_closed_in_the_prompt(world, folder):
    plain, closed, opened = (
        data.rl(context(world, folder, "direct_compact", **options)).rows
        for options in ({}, {"thinking": False}, {"thinking": True})
    )
    assert [row["prompt"] + "<think>\n\n</think>\n\n" for row in plain] == [row["prompt"] for row in closed]
    assert [row["prompt"] + "<think>\n" for row in plain] == [row["prompt"] for row in opened]


def test_pairs_are_whole_conversations_the_better_one_chosen(world, folder):
    made = data.pairs(context(world, folder, ""))
    assert len(made.rows) == len(made.valid) == 32
    seen = [c for c in world["rl"] if not c.subset.startswith("counter")]
    for row, c in zip(made.rows, seen):
        good, bad = (c.first, c.second) if c.label == "first" else (c.second, c.first)
        head = f"{OPEN}{c.query[0].content}{CLOSE}"
        assert row == {"chosen": f"{head}{good}<|im_end|>\n", "rejected": f"{head}{bad}<|im_end|>\n"}
    swapped = {name: [c.swap() for c in world[name]] for name in ("rl", "valid")}
    assert data.pairs(context(swapped, folder, "")).rows == made.rows


def test_documents_are_put_into_the_template_as_it_would_render_them():
    render = data.Renderer(None)
    before, after = render.around()
    odd = [
        "",
        " a \n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "{{ m.content }} {% endfor %}",
        "<b> & 'c' \0 \u00e9",
        "\r\n",
    ]
    for text in (*odd, *(asked for asked, _ in documents(50, seed=3))):
        assert before + text + after == render.prompt((Message("user", text),))


def test_documents_and_solutions_are_asked_for_by_number():
    made = data.text(context({}, None, "", documents=30))
    assert (len(made.rows), len(made.valid)) == (30, 500)
    assert all(set(row) == {"prompt", "completion"} for row in (*made.rows, *made.valid))
    assert all(row["prompt"].startswith(OPEN) and row["prompt"].endswith(CLOSE) for row in made.rows)
    assert not {row["prompt"] + row["completion"] for row in made.rows} & {
        row["prompt"] + row["completion"] for row in made.valid
    }
    assert len(data.solutions(context({}, None, "", documents=7)).rows) == 7


@pytest.mark.parametrize("what", ["rl", "verdicts", "pairs"])
def test_the_unseen_family_is_in_no_row(world, folder, what):
    assert any(c.subset.startswith("counter") for c in world["rl"])
    made = getattr(data, what)(context(world, folder))
    text = repr([*made.rows, *made.valid])
    assert not [
        c.id for split in ("rl", "valid") for c in world[split] if c.subset.startswith("counter") and c.id in text
    ]
    unseen = {c.query[0].content for split in ("rl", "valid") for c in world[split] if c.subset.startswith("counter")}
    assert not [query for query in unseen if f"{query}\\n" in text or f"{query}<" in text]


def test_noise_flips_what_training_sees_and_what_it_stops_by(world, folder):
    def labels(noise):
        made = data.pairs(context(world, folder, format=None, noise=noise))
        return [[row["chosen"] for row in part] for part in (made.rows, made.valid)]

    (clean, noisy), none = (labels(0.0), labels(0.5)), labels(0.0)
    assert none == clean
    for before, after in zip(clean, noisy):
        assert 0.2 < sum(a != b for a, b in zip(before, after)) / len(before) < 0.8
    with_noise = data.verdicts(context(world, folder, "direct_compact", noise=0.5))
    assert with_noise.valid != data.verdicts(context(world, folder, "direct_compact")).valid


@pytest.mark.parametrize(("format", "reward"), [("rrm_compact", "random"), ("grm_compact", "scores")])
def test_the_card_says_which_reward_it_was(world, folder, format, reward):
    told = context(world, folder, format)
    made = data.rl(replace(told, model=replace(told.model, reward=reward)))
    assert made.note.endswith(f"in both orders; reward: {reward}.")


@pytest.mark.parametrize("what", ["rl", "verdicts", "pairs", "rft", "own_right", "meta"])
def test_a_pair_without_a_label_and_an_empty_split_are_named(folder, what):
    split = {"rft": "sft", "meta": "meta"}.get(what, "rl")
    make, fine = getattr(data, what), {"valid": [pair(0, "a", "b", "first")]}
    for label in (None, "tie"):
        with pytest.raises(ValueError, match=r"comparison 'q2' has no label"):
            make(context(fine | {split: [pair(1, "a", "b", "first"), pair(2, "a", "b", label)]}, folder))
    for nothing in ([], [pair(1, "a", "b", "first", "counter-answer")]):
        with pytest.raises(ValueError, match=f"split {split} has no comparisons"):
            make(context(fine | {split: nothing}, folder))


# --- Rows that a model is sampled for --------------------------------------------------------------------------------

HAND = {
    "sft": [
        pair(1, "good one", "bad one", "first"),  # right, right, right: too easy
        pair(2, "bad two", "good two", "second"),  # right, wrong, cut: one is kept
        pair(3, "good three", "bad three", "first"),  # wrong, tied, unread: none
        pair(4, "good x", "bad x", "first", "counter-answer"),  # unseen: never asked
    ],
    "sft-lists": [
        CandidateSet(id="q5", query=ask("Question 5?"), responses=("bad a", "good b", "bad c"), truth=(0.2, 1.0, 0.2))
    ],  # right, a score missing, wrong
}


def scores(shown, good, bad):
    """A judgment that scores the good response so, the others so."""
    values = [good if "good" in text else bad for text in re.findall(r"^\d: (.+)$", shown, re.M)]
    return f"Analysis: by hand\nScores: \\boxed{{{', '.join(map(str, values))}}}"


def by_hand(shown, sample):
    number = int(re.search(r"Question (\d)", shown)[1])
    if "best response is" in shown:  # hinted: all obey, but the second
        return scores(shown, 2, 9) if number == 2 else scores(shown, 8, 1)
    right, wrong, tied = scores(shown, 9, 3), scores(shown, 3, 9), scores(shown, 5, 5)
    return {
        1: (right, right, right),
        2: (right, wrong, (right[: right.index("\\boxed")], "length")),
        3: (wrong, tied, "I can not say"),
        5: (right, "Scores: \\boxed{9, 1}", wrong),
    }[number][sample]


def kept(made):
    """(question, hinted or plain) of the rows."""
    return Counter(
        (
            int(re.search(r"Question (\d)", row["prompt"])[1]),
            "hinted" if "{8," in row["completion"] or ", 8" in row["completion"] else "plain",
        )
        for row in made.rows
    )


def test_rejective_fine_tuning_by_hand(folder, engine):
    fake = engine(by_hand)
    made = data.rft(context(HAND, folder, "grm_compact"))
    # A hinted judgment is dropped only where it is wrong, so the easy item comes in through it.
    assert kept(made) == {(1, "hinted"): 1, (2, "plain"): 1, (3, "hinted"): 1, (5, "plain"): 1, (5, "hinted"): 1}
    assert fake.closed == 2
    assert not any("Question 4" in shown for shown in fake.asked)
    assert made.note == "4 items; 1 too easy, 12 sampled, 4 hinted, 3 hinted kept; 5 rows."
    assert made.drawn == {folder: (12 + 4) * 110}  # whether it is kept or not
    prompt = load_prompt("grm_compact")
    for row in made.rows:
        assert set(row) == {"prompt", "completion"}
        shown = re.findall(r"^\d: (.+)$", row["prompt"], re.M)
        best = [i for i, text in enumerate(shown) if "good" in text]
        assert list(parse(prompt.parser, row["completion"], "stop", n=len(shown)).value.top) == best


def test_the_hint_names_the_best_as_shown_and_is_in_no_row(folder, engine):
    fake = engine(by_hand)
    made = data.rft(context(HAND, folder, "grm_compact", plain=False))
    assert len(fake.asked) == 4
    for shown in fake.asked:
        number = int(re.search(r"\nThe best response is: (\d)\Z", shown)[1])
        assert "good" in re.findall(r"^\d: (.+)$", shown, re.M)[number - 1]
    assert "best response is" not in repr(made.rows)
    assert kept(made) == {(1, "hinted"): 1, (3, "hinted"): 1, (5, "hinted"): 1}


def test_rejective_fine_tuning_without_hints_without_rejection_and_of_the_first(folder, engine):
    engine(by_hand)
    assert kept(data.rft(context(HAND, folder, "grm_compact", hinted=False))) == {(2, "plain"): 1, (5, "plain"): 1}
    engine(by_hand)
    everything = data.rft(context(HAND, folder, "grm_compact", hinted=False, reject=False))
    assert len(everything.rows) == 12
    engine(by_hand)
    assert "1 items; " in data.rft(context(HAND, folder, "grm_compact", n=1)).note


def verdict(shown, right=True):
    first = shown.index("good") < shown.index("bad")
    return f"<think>\nby hand\n</think>\n\\boxed{{Assistant {1 if first == right else 2}}}"


def test_own_right_keeps_the_right_and_no_more_than_asked(folder, engine):
    items = {"rl": [pair(i, f"good {i}", f"bad {i}", "first") for i in range(6)]}

    def answer(shown, sample):
        number = int(re.search(r"Question (\d)", shown)[1])
        return verdict(shown, right=number % 2 == 0) if number < 5 else "no idea"

    engine(answer)
    made = data.own_right(context(items, folder))
    assert len(made.rows) == 6  # questions 0, 2 and 4, in both orders
    for row in made.rows:
        assert set(row) == {"prompt", "completion"}
        assert int(re.search(r"Question (\d)", row["prompt"])[1]) % 2 == 0
        assert row["completion"] == verdict(row["prompt"])
    engine(answer)
    few = data.own_right(context(items, folder, n=4))
    assert len(few.rows) == 4
    assert few.drawn == {folder: 12 * 110}
    engine(answer)
    assert data.own_right(context(items, folder, n=4)).rows == few.rows


def test_meta_labels_whole_conversations_and_keeps_items_apart(folder, engine):
    items = {"meta": [pair(i, f"good {i}", f"bad {i}", "first") for i in range(20)]}

    def answer(shown, sample):
        return verdict(shown, right=sample < 2) if sample < 3 else ("<think>\nby ha", "length")

    engine(answer)
    made = data.meta(context(items, folder, samples=4))
    assert (len(made.rows), len(made.valid)) == (18 * 4, 2 * 4)
    assert not {row["item"] for row in made.rows} & {row["item"] for row in made.valid}
    per_item = Counter()
    for row in (*made.rows, *made.valid):
        assert set(row) == {"text", "label", "item"}
        asked, said = row["text"].split(CLOSE)
        assert asked.startswith(f"{OPEN}Query: Question ")
        assert said.endswith("<|im_end|>\n")
        assert row["label"] == int(said == f"{verdict(asked)}<|im_end|>\n")
        per_item[row["item"]] += row["label"]
    assert set(per_item.values()) == {2}
    assert "50% right" in made.note


def test_what_two_judges_draw_is_counted_for_each(folder, engine, tmp_path):
    """And of a prompt that does not fit, nothing."""
    items = {"meta": [pair(i, f"good {i}", f"bad {i}", "first") for i in range(5)]}
    engine(lambda shown, sample: ("", "too_long") if "Question 3" in shown else verdict(shown))
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    made = data.meta(replace(context(items, folder, samples=4), of=[folder, other]))
    assert made.drawn == {folder: 16 * 110, other: 16 * 110}


def test_lists_are_labelled_by_scores(folder, engine):
    engine(lambda shown, sample: scores(shown, *[(9, 3), (3, 9), (5, 5)][sample]))
    made = data.meta(context({"meta": HAND["sft"]}, folder, "grm_compact", samples=3))
    assert [row["label"] for row in (*made.rows, *made.valid)] == [1, 0, 0] * 3


def test_samples_of_a_real_model_do_not_depend_on_their_neighbours(world, folder):
    prompt = load_prompt("rrm_compact")
    tasks, count = [(item, Order.AB, "") for item in world["sft"][:3]], Counter()

    def drawn(tasks):
        return {
            (tasks[number][0].id, sample): (done.text, request.seed)
            for number, sample, request, done in data.sampled(
                folder, prompt, tasks, drawn=count, samples=2, seed=4, max_tokens=6
            )
        }

    together = drawn(tasks)
    assert len({text for text, _ in together.values()}) > 1
    read = [
        len(tokenizer()(data.Renderer(folder).prompt(prompt.messages(item, order)))["input_ids"])
        for item, order, _ in tasks
    ]
    assert 0 < count[folder] - 2 * sum(read) <= 6 * 6  # two samples of each, of at most six tokens
    assert drawn(tasks[1:]).items() <= together.items()


def test_another_engine_draws_in_its_own_way(folder, monkeypatch):
    """Option `draw`: the engine, its length and temperature; the model is always the parent."""
    asked, fake = [], FakeEngine(by_hand)

    def opened(spec):
        asked.append((spec.model, spec.engine, spec.max_tokens, spec.temperature))
        return fake

    monkeypatch.setattr("rrmlib.world.oracle_engine.open_engine", opened)
    how = {"engine": "vllm", "max_tokens": 4096, "temperature": 0.7}
    made = data.rft(context(HAND, folder, "grm_compact", draw=how))
    assert asked == [(f"path:{folder}", "vllm", 4096, 0.7)] * 2  # plain and hinted
    assert made.note == "4 items; 1 too easy, 12 sampled, 4 hinted, 3 hinted kept; 5 rows."
    for wrong, says in (({**how, "model": "hf:o/n"}, "takes no model"), ({"engin": "vllm"}, "unknown key 'engin'")):
        with pytest.raises(ParameterError, match=f"data: draw: {says}"):
            data.rft(context(HAND, folder, "grm_compact", draw=wrong))


def test_right_means_strictly_best_and_read():
    prompt, item = load_prompt("grm_compact"), HAND["sft-lists"][0]
    order = Order((2, 1, 0))
    for said, right in (("1, 9, 2", True), ("9, 9, 1", False), ("9, 1, 1", False), ("1, 9", False)):
        assert data.is_right(prompt, f"Scores: \\boxed{{{said}}}", item, order) is right
    prompt, flipped = load_prompt("rrm_compact"), pair(1, "a", "b", "second")
    assert data.is_right(prompt, "<think></think>\\boxed{Assistant 1}", flipped, Order.BA)
    assert not data.is_right(prompt, "<think></think>\\boxed{Assistant 1}", flipped, Order.AB)
    assert not data.is_right(prompt, "<think>\\boxed{Assistant 1}", flipped, Order.BA, "length")


def test_nothing_depends_on_the_order_of_a_set():
    """Python draws another order of sets of text in every process; a frozen world must not notice."""
    code = (
        "from rrmlib.world.data import SECTION\n"
        "from rrmlib.world.pairs import build, candidate_sets, digest\n"
        "from rrmlib.world.oracle import first_oracle\n"
        "from rrmlib.world.text import documents\n"
        "from rrmlib.comparison import Order\n"
        "from rrmlib.engines.base import digest as of\n"
        "pairs = build('sft', dict.fromkeys(SECTION, 20), 0)\n"
        "traces = [first_oracle(c, Order.AB, 'rm_r1', 0) for c in pairs]\n"
        "lists = [repr(s) for s in candidate_sets('sft', 20, 0)]\n"
        "print(digest(pairs), of(traces), of(lists), of([*documents(200, 0)]))"
    )
    found = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
