r"""What a judge would say had it stopped there, or had a step been another: asked of the judge, about its own traces.

For a judge's own trace, `probe` asks (all greedy, whatever drew the trace)

| kind        | the text so far                              | then          | against                          |
|-------------|----------------------------------------------|---------------|----------------------------------|
| "cut"       | up to the end of a step; step -1: none of it | told to close | the trace's own verdict          |
| "removed"   | the whole body without one step              | told to close | the last "cut": nothing removed  |
| "corrupted" | the whole body with one step made wrong      | told to close | the same                         |
| "misled"    | up to the end of a step, that made wrong     | goes on       | "continued", or the trace's own  |
| "continued" | up to the end of a step                      | goes on       | (a greedy trace: not asked)      |

Told to close, a judge gets what its format closes the thinking with (`budget.closing`) or its own way to conclude
(`conclude`). That is no neutral question: in mid-thought it may name whatever it has not come to. So the verdict that
it writes stands beside `margin`, the log-odds of the two verdicts at that place (two-way formats), which needs no text
to be read; both are answers to the same interruption. Where all that follows was written in view of a step, taking the
step out leaves its trace in the rest: "misled" is what shows whether the rest depends on it.

Every question goes through the engine and the store (`oracle_engine.ask`): asked twice, nothing is generated, and what
was interrupted goes on. Scores of continuations are kept like texts, under the name of an engine of their own (`Odds`).

Left out: where a trace can be cut (`commitment.py`), kinds and corruption of steps (`world/steps.py`), tables
(`findings/patterns.py`).

    with Store("traces.sqlite") as store:
        found = probe(open_judge(spec), items, judgments, store, conclude="\nbest", breaks=steps.BREAKS)
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rrmlib.budget import closing
from rrmlib.commitment import BREAKS, body, cut, steps, without
from rrmlib.comparison import Item
from rrmlib.engines.base import Completion, ContinuationScore, Engine, Request, Sampling, digest, sample_seed
from rrmlib.judge import Judge
from rrmlib.judgment import Judgment, Reading, Scores, State
from rrmlib.parse import parse
from rrmlib.store import Store
from rrmlib.world.oracle_engine import ask

CHUNK = 512  # continuations that are scored and stored at once
SIDES = {"rrm": ("1", "2"), "rm_r1": ("A", "B"), "direct": ("A", "B")}  # the two verdicts of a two-way format

Corrupt = Callable[[str, random.Random], str | None]


@dataclass(frozen=True)
class Probed:
    """One answer. `step` counts from 0 (-1: before the first), `fraction` of the body is written at its end.

    `verdict` and `final` (the trace's own) are positions AS SHOWN, -1 for a tie, None where nothing could be read.
    `margin` is log P(first shown) - log P(second shown), `mass` is P(either); NaN where not asked. `text` is the whole
    of what the verdict was read from.
    """

    item: str
    order: str
    sample: int
    kind: str
    step: int
    of: int
    fraction: float
    step_text: str
    verdict: int | None
    final: int | None
    margin: float
    mass: float
    text: str


@dataclass(frozen=True)
class _Question:
    judgment: Judgment
    kind: str
    step: int
    of: int
    fraction: float
    step_text: str
    before: str
    request: Request


class Odds:
    """An engine whose completion is the log-probability of each of the given continuations, as a JSON list."""

    def __init__(self, engine: Engine, sides: Sequence[str]) -> None:
        self.engine, self.sides = engine, tuple(sides)
        self.name = f"{engine.name} odds {json.dumps(self.sides)}"
        self.model_id, self.dtype = engine.model_id, engine.dtype

    def generate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        for at in range(0, len(requests), CHUNK):
            part = requests[at : at + CHUNK]
            scored = [self.engine.score(part, [side] * len(part)) for side in self.sides]
            rows = zip(*([s.logprob for s in side] for side in scored))
            yield [(at + i, Completion(json.dumps(row), "stop", 0)) for i, row in enumerate(rows)]

    def score(self, requests: Sequence[Request], continuations: Sequence[str]) -> list[ContinuationScore]:
        return self.engine.score(requests, continuations)

    def opens_think(self, request: Request) -> bool | None:
        return self.engine.opens_think(request)

    def close(self) -> None:
        self.engine.close()


def probe(
    judge: Judge,
    items: Sequence[Item],
    judgments: Sequence[Judgment],
    store: Store,
    *,
    conclude: str = "",
    breaks: re.Pattern[str] = BREAKS["sentence"],
    at_most: int = 0,
    corrupt: Corrupt | None = None,
    answer_tokens: int = 12,
    edits: bool = True,
    odds: bool = True,
    seed: int = 0,
) -> list[Probed]:
    """All questions about these traces, in their order. A trace whose verdict was not read, or with an empty body,
    is left out; count what comes back.

    `at_most`: steps of a trace, more are joined. `corrupt` (step, random) gives a wrong step or None; without it there
    is only cutting and removing. `odds`: with the margin of each "cut" (two-way formats; Unsupported where the engine
    cannot score). Raises ValueError for a judgment of an item that is not there, and for a format without a verdict in
    text, EngineError where the engine cannot go on; an answer that failed is unread.
    """
    known = {item.id: item for item in items}
    asked: list[_Question] = []
    for judgment in judgments:
        if judgment.item not in known:
            raise ValueError(f"a judgment of {judgment.item!r}, which is not among the items")
        if judgment.state is State.READ:
            turn = _Turn(judge, known[judgment.item], judgment, conclude, answer_tokens)
            asked += turn.questions(breaks, at_most, corrupt if edits else None, edits, seed)
    done = ask(judge.engine, [q.request for q in asked], store)
    margins = _margins(judge, asked, store) if odds and judge.prompt.parser in SIDES else {}
    return [_probed(judge, q, c, margins.get(i)) for i, (q, c) in enumerate(zip(asked, done))]


class _Turn:
    """One judgment, about to be asked about."""

    def __init__(self, judge: Judge, item: Item, judgment: Judgment, conclude: str, answer_tokens: int) -> None:
        self.judge, self.judgment, self.conclude = judge, judgment, conclude
        spec = judge.spec
        self.plain = Request(
            messages=judge.prompt.messages(item, judgment.order),
            sampling=Sampling(spec.max_tokens, stop=spec.stop),
            template_args=tuple(sorted((name, json.dumps(value)) for name, value in spec.template_args.items())),
            item=item.id,
            order=str(judgment.order),
            sample=judgment.sample,
        )
        self.short = replace(self.plain.sampling, max_tokens=answer_tokens)
        self.opens = judge.opens_think(self.plain)

    def questions(
        self, breaks: re.Pattern[str], at_most: int, corrupt: Corrupt | None, edits: bool, seed: int
    ) -> Iterator[_Question]:
        text = self.judgment.text
        start, end = body(text, self.judge.prompt.parser, conclude=self.conclude, opens_think=self.opens)
        found = steps(text, start, end, breaks, at_most=at_most)
        if not found:
            return
        many = len(found)
        yield self.closed("cut", -1, many, 0.0, "", cut(text, None, start))
        for i, step in enumerate(found):
            said = text[step.start : step.end].strip()
            here = (i, many, step.fraction, said)
            yield self.closed("cut", *here, cut(text, step))
            if not edits:
                continue
            yield self.closed("removed", *here, without(text, step, end))
            wrong = corrupt(text[step.start : step.end], self._rng(i, seed)) if corrupt else None
            if wrong is not None:
                yield self.closed("corrupted", *here, (text[: step.start] + wrong + text[step.end : end]).rstrip())
                on = {"continued": cut(text, step), "misled": (text[: step.start] + wrong).rstrip()}
                for kind, so_far in on.items():
                    if kind == "misled" or self.judge.spec.temperature:
                        yield _Question(self.judgment, kind, *here, so_far, self.request(so_far, self.plain.sampling))

    def closed(self, kind: str, step: int, of: int, fraction: float, said: str, so_far: str) -> _Question:
        """The question after which only a verdict is left to write, as at a thinking budget (`judge.run`)."""
        ask = closing(self.judge.prompt.parser, so_far, opens_think=self.opens)
        if ask and self.conclude:
            ask = self.conclude.lstrip("\n") if so_far.endswith("\n") else self.conclude
        request = self.request(so_far + ask, self.short)
        return _Question(self.judgment, kind, step, of, fraction, said, so_far + ask, request)

    def request(self, prefill: str, sampling: Sampling) -> Request:
        request = replace(self.plain, prefill=prefill, sampling=sampling)
        return replace(request, seed=sample_seed(self.judge.spec.seed, request.prompt_hash, 0))

    def _rng(self, step: int, seed: int) -> random.Random:
        j = self.judgment
        return random.Random(int(digest("corrupt", seed, j.item, str(j.order), j.sample, step)[:16], 16))


def _margins(judge: Judge, asked: Sequence[_Question], store: Store) -> dict[int, tuple[float, float]]:
    """(margin, mass) of each "cut", by its place among the questions."""
    rows = [i for i, q in enumerate(asked) if q.kind == "cut"]
    out: dict[int, tuple[float, float]] = {}
    for glued in (True, False):  # after `[[` the verdict stands at once, else a space comes first
        part = [i for i in rows if asked[i].before.endswith("[[") == glued]
        engine = Odds(judge.engine, [("" if glued else " ") + side for side in SIDES[judge.prompt.parser]])
        requests = [replace(asked[i].request, sampling=Sampling(1), seed=0) for i in part]
        for i, completion in zip(part, ask(engine, requests, store)):
            first, second = json.loads(completion.text)
            out[i] = (first - second, math.exp(first) + math.exp(second))
    return out


def _probed(judge: Judge, q: _Question, c: Completion, margin: tuple[float, float] | None) -> Probed:
    j = q.judgment
    text = q.before + c.text
    closed = q.kind in ("cut", "removed", "corrupted") and c.finish in ("stop", "length")
    opens = judge.opens_think(q.request)
    reading = parse(judge.prompt.parser, text, "budget" if closed else c.finish, opens_think=opens, n=len(j.order))
    what = (q.kind, q.step, q.of, q.fraction, q.step_text)
    return Probed(
        j.item, str(j.order), j.sample, *what, picked(reading), picked(j.reading), *(margin or (math.nan,) * 2), text
    )


def picked(reading: Reading) -> int | None:
    """Position of what a reading picks, in its own order; -1 for a tie, None where nothing could be read."""
    if isinstance(reading.value, Scores) and not reading.value.partial:
        top = reading.value.top
        return top[0] if len(top) == 1 else -1
    if reading.verdict is None:
        return None
    return {"first": 0, "second": 1}.get(reading.verdict.choice, -1)
