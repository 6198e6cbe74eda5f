"""What each model of the lab is trained on: functions from a `lab.Context` to training rows.

Rows are rendered with the chat template of the model that is trained, through the same prompts, engines and parsers as
at evaluation. `splits` makes the comparisons: valid and test are FROZEN (the same for every seed, profile and
machine; their hashes are in `frozen.json` and are checked), training pairs are drawn per seed. Sampling from a parent
(rejective fine-tuning, the meta RM, the model's own right judgments) goes through an engine, so a 7B model is used
alike.

Left out: training (`train/`), traces of oracles (`distil.py`).

    pairs(context)      # Data(rows=[{"chosen": "...", "rejected": "..."}, ...], valid=[...])
"""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rrmlib.comparison import CandidateSet, Comparison, Item, Message, Order, placement
from rrmlib.engines.base import Completion, Request, Sampling, sample_seed
from rrmlib.engines.local import open_chat
from rrmlib.judgment import Reading, Scores
from rrmlib.parse import parse
from rrmlib.prompt import Prompt
from rrmlib.world import text as world_text
from rrmlib.world.oracle import shown_label
from rrmlib.world.pairs import SECTION, build, candidate_sets, digest, noisy
from rrmlib.world.problem import stream

if TYPE_CHECKING:
    from rrmlib.lab import Context, Data

T = TypeVar("T", Comparison, CandidateSet)
HERE = Path(__file__).parent
FROZEN_SEED = 0
TEST = {
    "chain-answer": 260,
    "chain-worked": 260,
    "program-answer": 260,
    "program-worked": 260,
    "chat": 140,
    "chat-easy": 250,
    "chat-hard": 250,
    "safety": 320,
    "counter-answer": 120,
    "counter-worked": 120,
}
# Shares of the sections in what is trained on; the unseen family is in none.
MIX = {
    "chain-answer": 0.15,
    "chain-worked": 0.15,
    "program-answer": 0.15,
    "program-worked": 0.15,
    "chat": 0.06,
    "chat-easy": 0.11,
    "chat-hard": 0.11,
    "safety": 0.12,
}
SIZES = {"rl": 3000, "sft": 1500, "meta": 800}  # comparisons to train on, unless lab.yaml says otherwise
LISTS = {"rl": 600, "sft": 300, "test": 240}  # lists of three and four responses (test: of four)


@lru_cache(maxsize=1)
def policy_answers() -> dict[str, list[tuple[str, str, str]]]:
    """split -> (query, right, wrong) of the policy model, as frozen with the world (`measure/freeze_world.py`)."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    path = HERE / "policy_answers.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="ascii") as file:
            for line in file:
                split, query, right, wrong = json.loads(line)
                found.setdefault(split, []).append((query, right, wrong))
    return found


def frozen(split: str) -> list[Comparison]:
    """The valid or test comparisons. Raises RuntimeError where they are not the frozen ones."""
    sizes = TEST if split == "test" else {name: n // 4 for name, n in TEST.items()}
    return as_frozen(split, build(split, sizes, FROZEN_SEED, policy=policy_answers().get(split, ())))


def as_frozen(split: str, items: list[T]) -> list[T]:
    """`items`, if they are those whose hash the library holds. Raises RuntimeError."""
    stated, found = json.loads((HERE / "frozen.json").read_text("ascii"))[split], digest(items)
    if found != stated:
        raise RuntimeError(f"the {split} split is not the frozen one ({found[:12]}, not {stated[:12]})")
    return items


def splits(settings: Mapping[str, Any], seed: int) -> dict[str, list[Item]]:
    """The lab's world. `settings`: noise (share of flipped labels in rl and sft), and sizes of rl, sft, meta."""
    known = {"noise", *SIZES}
    if unknown := sorted(set(settings) - known):
        raise ValueError(f"world: unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}")
    out: dict[str, list[Item]] = {"valid": [*frozen("valid")], "test": [*frozen("test")]}
    for split, usual in SIZES.items():
        n = int(settings.get(split, usual))
        sizes = {subset: max(2, round(n * share)) for subset, share in MIX.items()}
        noise = float(settings.get("noise", 0.0)) if split != "meta" else 0.0
        answers = stream("policy order", split, seed).sample(
            policy_answers().get(split, []), len(policy_answers().get(split, []))
        )
        out[split] = [*build(split, sizes, seed, policy=answers, noise=noise)]
    for split, n in LISTS.items():
        if split == "test":
            out["test-lists"] = [*as_frozen("test-lists", candidate_sets("test", n, FROZEN_SEED))]
        else:
            out[f"{split}-lists"] = [*candidate_sets(split, n, seed, sizes=(3, 4))]
    return out


# --- Rows ------------------------------------------------------------------------------------------------------------


class Renderer:
    """Prompts through the chat template of the model that is trained."""

    def __init__(self, folder: Path | None) -> None:
        self.tokenizer = world_text.tokenizer() if folder is None else open_chat(folder)[0].tokenizer

    def prompt(self, messages: Sequence[Message], **args: Any) -> str:
        return self._render(messages, add_generation_prompt=True, **args)

    def around(self) -> tuple[str, str]:
        """What a prompt has before and after its one user message, where the template takes that as it is: the world's
        own does, and putting the three together is much quicker than rendering."""
        before, after = self.prompt((Message("user", "\0"),)).split("\0")
        return before, after

    def conversation(self, query: Sequence[Message], response: str) -> str:
        return self._render([*query, Message("assistant", response)])

    def _render(self, messages: Sequence[Message], **args: Any) -> str:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, **args))


def _data(
    rows: Sequence[Mapping[str, Any]],
    valid: Sequence[Mapping[str, Any]] = (),
    note: str = "",
    drawn: Mapping[Path, int] | None = None,
) -> Data:
    from rrmlib.lab import Data

    return Data(rows, valid, note, drawn or {})


def text(c: Context) -> Data:
    """Pretraining documents, `documents` of them, of `kinds` in these shares (options; see `text.KINDS`)."""
    before, after = Renderer(None).around()
    n = int(c.options.get("documents", 60_000))
    kinds = c.options.get("kinds", world_text.KINDS)
    if unknown := sorted(set(kinds) - set(world_text.KINDS)):
        raise ValueError(f"kinds: unknown {unknown[0]!r}; known: {', '.join(world_text.KINDS)}")

    def rows(n: int, seed: int) -> list[dict[str, str]]:
        pairs = world_text.documents(n, seed, kinds=kinds)
        return [{"prompt": before + a + after, "completion": b} for a, b in pairs]

    return _data(rows(n, c.seed), rows(500, c.seed + 10_000), f"{n} documents of the world's text, split text.")


def solutions(c: Context) -> Data:
    """What the policy model learns: queries and right responses, nothing about judging."""
    before, after = Renderer(None).around()
    rows = [
        {"prompt": before + a + after, "completion": b}
        for a, b in world_text.solutions(int(c.options.get("documents", 20_000)), c.seed)
    ]
    return _data(rows, (), "Queries and right responses of split policy.")


def pairs_of(c: Context, split: str) -> list[Comparison]:
    """The comparisons of a split to train on; option `noise` flips its share of the labels that training sees, those
    of split valid too: whoever has noisy labels stops early on noisy ones.

    Raises ValueError where there is none, or one without a label."""
    found = [item for item in c.items[split] if isinstance(item, Comparison) and SECTION[item.subset] != "unseen"]
    if not found:
        raise ValueError(f"split {split} has no comparisons")
    for item in found:
        if item.label not in ("first", "second"):
            raise ValueError(f"comparison {item.id!r} has no label")
    noise = float(c.options.get("noise", 0.0)) if split in ("rl", "valid") else 0.0
    return [noisy(item, noise, c.seed) for item in found]


def rl(c: Context) -> Data:
    """Prompts of split rl with what the verdict is checked against, in both orders; no judgment is shown.

    A pair format gives rows with `label`, a list format rows with `truth` (and lists of three and four beside pairs;
    option `lists`: their share, see `mixed`). Option `thinking: false` closes the thinking in the prompt (the direct
    judge).
    """
    assert c.prompt is not None
    render = Renderer(c.parent)
    args = {"thinking": c.options["thinking"]} if "thinking" in c.options else {}
    rows: list[dict[str, Any]] = []
    items: list[Item] = [*pairs_of(c, "rl")]
    if c.prompt.kind == "list":
        items = mixed(c, items, c.items.get("rl-lists", ()))
    stream("rl", c.seed).shuffle(items)
    for item in items:
        order = placement(item, c.seed)
        for shown in (order, order.flipped):
            row = {"prompt": render.prompt(c.prompt.messages(item, shown), **args), "group": item.id, "id": item.id}
            if c.prompt.kind == "list":
                rows.append({**row, "truth": [_truth(item)[i] for i in shown.shown]})
            else:
                assert isinstance(item, Comparison)
                rows.append({**row, "label": shown_label(item, shown)})
    return _data(rows, (), f"{len(items)} items of split rl in both orders; reward: {c.model.reward}.")


def mixed(c: Context, pairs: Sequence[Item], lists: Sequence[Item]) -> list[Item]:
    """Pairs and lists together: all there are, or, where option `lists` says which share is lists, the most of both
    that have this share. Raises ValueError for a share beyond 0 to 1."""
    if "lists" not in c.options:
        return [*pairs, *lists]
    share = float(c.options["lists"])
    if not 0 <= share <= 1:
        raise ValueError(f"lists: {share} is no share")
    n = int(min(len(lists) / share if share else math.inf, len(pairs) / (1 - share) if share < 1 else math.inf))
    drawn = stream("lists and pairs", c.seed)
    counts = {"lists": round(n * share), "pairs": n - round(n * share)}
    return [*drawn.sample(list(pairs), counts["pairs"]), *drawn.sample(list(lists), counts["lists"])]


def _truth(item: Item) -> tuple[float, ...]:
    """Grade of each response in item order."""
    if isinstance(item, CandidateSet):
        assert item.truth is not None
        return item.truth
    return (1.0, 0.0) if item.label == "first" else (0.0, 1.0)


def verdicts(c: Context) -> Data:
    """The bare verdict of every comparison of split rl, the pairs that RL sees, in both orders."""
    assert c.prompt is not None
    render = Renderer(c.parent)

    def rows(split: str) -> list[dict[str, str]]:
        assert c.prompt is not None
        return [
            {
                "prompt": render.prompt(c.prompt.messages(item, order)),
                "completion": bare_verdict(c.prompt.parser, shown_label(item, order) == "first"),
            }
            for item in pairs_of(c, split)
            for order in (Order.AB, Order.BA)
        ]

    return _data(rows("rl"), rows("valid"), "The bare verdicts of split rl, in both orders.")


def bare_verdict(parser: str, first: bool) -> str:
    """A verdict without a reason, in the words of a format."""
    letter = "A" if first else "B"
    return {
        "direct": f"[[{letter}]]",
        "rm_r1": f"<answer>[[{letter}]]</answer>",
        "rrm": f"\\boxed{{Assistant {1 if first else 2}}}",
    }[parser]


def pairs(c: Context) -> Data:
    """Better and worse conversation of every comparison of split rl: what a Bradley-Terry model learns from."""
    render = Renderer(c.parent)

    def rows(split: str) -> list[dict[str, str]]:
        return [
            {
                "chosen": render.conversation(item.query, item.first if item.label == "first" else item.second),
                "rejected": render.conversation(item.query, item.second if item.label == "first" else item.first),
            }
            for item in pairs_of(c, split)
        ]

    return _data(rows("rl"), rows("valid"), "The comparisons of split rl.")


def _reading(prompt: Prompt, said: str, finish: str, n: int) -> Reading:
    return parse(prompt.parser, said, finish, opens_think=prompt.opens_think, n=n)


def is_right(prompt: Prompt, said: str, item: Item, order: Order, finish: str = "stop") -> bool:
    """Whether a judgment is right: the label's verdict, or the best response scored strictly highest."""
    reading = _reading(prompt, said, finish, len(order))
    truth = [_truth(item)[i] for i in order.shown]
    if prompt.kind == "list":
        if not isinstance(reading.value, Scores) or reading.value.partial:
            return False
        return reading.value.top == (truth.index(max(truth)),)
    return reading.verdict is not None and reading.verdict.choice == ("first" if truth[0] > truth[1] else "second")


# --- Sampling from a model -------------------------------------------------------------------------------------------


def sampled(
    folder: Path,
    prompt: Prompt,
    tasks: Sequence[tuple[Item, Order, str]],
    *,
    drawn: Counter[Path],
    samples: int,
    seed: int,
    max_tokens: int = 200,
    temperature: float = 1.0,
    engine: Callable[[Path], Any] | None = None,
    draw: Mapping[str, Any] | None = None,
) -> Iterator[tuple[int, int, Request, Completion]]:
    """(task, sample, request, completion) of `samples` draws per task (item, order, text added to the prompt); the
    tokens read and written are added to drawn[folder], a prompt once per sample as in RL.

    Drawn by our CPU engine, unless option `draw` of the data says by which and how: {engine: vllm, max_tokens: 4096,
    temperature: 1.0, options: {...}}. Raises ParameterError for a `draw` that is none.
    """
    if draw:
        # By name, as in `distil`: engines and stores do not decide what is trained on.
        engine, spec = import_module("rrmlib.world.oracle_engine").opener(draw, "data: draw")
        max_tokens, temperature = spec.max_tokens, spec.temperature
    elif engine is None:
        from rrmlib.engines.qwen2 import Qwen2Engine

        engine = Qwen2Engine
    requests, places = [], []
    for number, (item, order, added) in enumerate(tasks):
        messages = prompt.messages(item, order)
        if added:
            messages = (*messages[:-1], Message(messages[-1].role, messages[-1].content + added))
        for sample in range(samples):
            request = Request(messages=messages, sampling=Sampling(max_tokens, temperature))
            each = sample_seed(seed, request.prompt_hash, sample)
            requests.append(Request(messages=messages, sampling=request.sampling, seed=each))
            places.append((number, sample))
    opened = engine(folder)
    try:
        done: dict[int, Completion] = {}
        for batch in opened.generate(requests):
            done.update(batch)
    finally:
        opened.close()
    drawn[folder] += sum(max(0, d.prompt_tokens) + d.tokens for d in done.values() if d.tokens > 0)
    for index, (number, sample) in enumerate(places):
        yield number, sample, requests[index], done[index]


def rft(c: Context) -> Data:
    """Rejective fine-tuning (2504.02495, section 3.1), on split sft from the parent itself.

    `samples` (3) judgments an item; wrong ones are dropped, and items whose judgments are all right (too easy).
    `hinted` adds one judgment made with the best response named in the prompt, dropped only if wrong; the hint itself
    is not in the training rows. `reject: false` keeps all (the control). `lists`: see `mixed`; `draw`: see `sampled`.
    """
    assert c.prompt is not None
    assert c.parent is not None
    render = Renderer(c.parent)
    items = mixed(c, pairs_of(c, "sft"), c.items.get("sft-lists", ()))
    stream("rft", c.seed).shuffle(items)
    items = items[: int(c.options.get("n", 10**9))]
    tasks = [(item, placement(item, c.seed), "") for item in items]
    k, reject = int(c.options.get("samples", 3)), bool(c.options.get("reject", True))
    said: list[list[tuple[str, bool]]] = [[] for _ in items]
    drawn: Counter[Path] = Counter()
    draw = partial(sampled, c.parent, c.prompt, drawn=drawn, draw=c.options.get("draw"))
    if c.options.get("plain", True):
        for number, _, _, done in draw(tasks, samples=k, seed=c.seed):
            item, order, _ = tasks[number]
            said[number].append((done.text, is_right(c.prompt, done.text, item, order, done.finish)))
    rows: list[dict[str, str]] = []
    count: Counter[str] = Counter()

    def keep(number: int, completion: str) -> None:
        item, order, _ = tasks[number]
        rows.append({"prompt": render.prompt(c.prompt.messages(item, order)), "completion": completion})  # type: ignore[union-attr]

    for number, judgments in enumerate(said):
        easy = reject and judgments and all(right for _, right in judgments)
        count["too easy"] += bool(easy)
        for completion, right in judgments:
            count["sampled"] += 1
            if not reject or (right and not easy):
                keep(number, completion)
    if c.options.get("hinted", True):
        hinted = []
        for item, order, _ in tasks:
            truth = [_truth(item)[i] for i in order.shown]
            hinted.append((item, order, world_text.hint(truth.index(max(truth)) + 1)))
        for number, _, _, done in draw(hinted, samples=1, seed=c.seed + 1):
            item, order, _ = tasks[number]
            count["hinted"] += 1
            if is_right(c.prompt, done.text, item, order, done.finish):
                count["hinted kept"] += 1
                keep(number, done.text)
    note = f"{len(items)} items; " + ", ".join(f"{n} {what}" for what, n in count.items()) + f"; {len(rows)} rows."
    c.log(f"rft: {note}")
    return _data(rows, (), note, drawn)


def own_right(c: Context) -> Data:
    """The control for RL: the parent's own right judgments on split rl, `n` of them, as SFT data."""
    assert c.prompt is not None
    assert c.parent is not None
    render, wanted = Renderer(c.parent), int(c.options.get("n", 1500))
    tasks = [(item, order, "") for item in pairs_of(c, "rl") for order in (Order.AB, Order.BA)]
    rows, drawn = [], Counter[Path]()
    draw = c.options.get("draw")
    for number, _, _, done in sampled(c.parent, c.prompt, tasks, drawn=drawn, samples=1, seed=c.seed, draw=draw):
        item, order, _ = tasks[number]
        if is_right(c.prompt, done.text, item, order, done.finish):
            rows.append({"prompt": render.prompt(c.prompt.messages(item, order)), "completion": done.text})
    rows = stream("own right", c.seed).sample(rows, min(wanted, len(rows)))
    return _data(rows, (), f"{len(rows)} right judgments of the parent itself.", drawn)


def meta(c: Context) -> Data:
    """Judgments of the models `of` on split meta, labelled right or wrong (2504.02495, section 3.3 and eq. 10; there,
    too, those of the fine-tuned judge and of the one after RL).

    The text is the judge's whole conversation: prompt, then the judgment as the assistant's turn. One item in ten is
    held out, for all judges alike.
    """
    assert c.prompt is not None
    if not c.of:
        raise ValueError("meta: whose judgments? Name one or more models under `of`")
    k, items = int(c.options.get("samples", 6)), pairs_of(c, "meta")
    tasks = [(item, placement(item, c.seed), "") for item in items]
    rows: list[list[dict[str, Any]]] = [[] for _ in items]
    drawn, draw = Counter[Path](), c.options.get("draw")
    for judge in c.of:
        render = Renderer(judge)
        for number, _, request, done in sampled(judge, c.prompt, tasks, drawn=drawn, samples=k, seed=c.seed, draw=draw):
            item, order, _ = tasks[number]
            right = is_right(c.prompt, done.text, item, order, done.finish)
            rows[number].append(
                {"text": render.conversation(request.messages, done.text), "label": int(right), "item": item.id}
            )
    cut = len(rows) * 9 // 10
    train, valid = ([row for each in part for row in each] for part in (rows[:cut], rows[cut:]))
    share = sum(row["label"] for row in train) / max(1, len(train))
    note = f"{len(train)} judgments of {len(items)} items of split meta, {share:.0%} right."
    return _data(train, valid, note, drawn)
