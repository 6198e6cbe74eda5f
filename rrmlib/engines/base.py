"""The one interface behind which every engine stands: requests in, completions out, in batches.

An engine knows nothing of judging. It gets `Request`s and yields `(index, Completion)` in batches as they finish, so
that the caller can commit each batch at once and a killed run loses at most one. Its random draws are a function of
`Request.seed` alone, never of batch size, row order or finished neighbours. Failures of one request are
completions with `finish="error"`; an engine raises `EngineError` only when nothing can go on (no such model, no
server). Engines that can, also `score` a continuation.

Left out: prompts, parsing, storage, retries of a whole run (`judge.run`).

    for batch in engine.generate(requests):
        for index, completion in batch:
            print(requests[index].seed, completion.text)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from rrmlib.comparison import Message


class EngineError(RuntimeError):
    """The engine cannot work at all. The message says what is wrong and what to do."""


class Unsupported(EngineError):
    """This engine cannot do what was asked (for example score a continuation)."""


@dataclass(frozen=True)
class Sampling:
    """How to draw. `temperature` 0 is greedy. `stop` texts end generation and are kept in the text."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", float(self.temperature))  # 0 and 0.0 are one store key
        object.__setattr__(self, "top_p", float(self.top_p))
        if self.max_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f"sampling out of range: max_tokens {self.max_tokens} (>= 1), temperature {self.temperature} (>= 0), "
                f"top_p {self.top_p} (0 < p <= 1)"
            )


@dataclass(frozen=True)
class Request:
    """One sample to draw: the conversation, an assistant prefix to continue, how to draw it, and its own seed.

    `template_args` go to the tokenizer's chat template (for example enable_thinking), as sorted (name, JSON) pairs.
    `query` and `responses` (in the order shown) are for engines that read no prompt (heuristic, scalar); such a
    request has no messages. `item`, `order` and `sample` say what is judged, for `replay`; they are no part of the key.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int = 0
    prefill: str = ""
    template_args: tuple[tuple[str, str], ...] = ()
    query: tuple[Message, ...] = ()
    responses: tuple[str, ...] = ()
    item: str = ""
    order: str = ""
    sample: int = 0

    @cached_property
    def prompt_hash(self) -> str:
        """sha256 of all that the engine is shown: messages (or query and responses), prefix, template arguments."""
        shown: list[Any] = [[m.role, m.content] for m in self.messages]
        if not shown:
            shown = [[[m.role, m.content] for m in self.query], list(self.responses)]
        return digest("prompt", shown, self.prefill, [list(pair) for pair in self.template_args])


@dataclass(frozen=True)
class Completion:
    """What came back. `text` excludes the prefill.

    `finish`: "stop", "length", "error" (then `error` says what), "too_long" (the prompt does not fit; nothing was
    generated). `tokens` and `prompt_tokens` are -1 where unknown, `logprob` is the sum over generated tokens at
    temperature 1 where the engine knows it. `seconds` is wall time, for reports only.
    """

    text: str
    finish: str
    tokens: int = -1
    prompt_tokens: int = -1
    logprob: float | None = None
    error: str = ""
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class ContinuationScore:
    """Log-probability of a given continuation: the sum, and one value per token of it."""

    logprob: float
    token_logprobs: tuple[float, ...]


class Engine(Protocol):
    """What `judge.run` needs. `model_id` identifies the weights (hash for local models, name@revision for hosted
    ones), never a path; it is part of every store key, with `name` and `dtype`.

    An engine that can close a thinking by itself may also have `generate_closed(requests, end, room, then)`; see
    `vllm.py`. `judge.run` looks for it and does without."""

    name: str
    model_id: str
    dtype: str

    def generate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        """Yield finished requests in batches of (index into `requests`, completion); each index exactly once."""
        ...

    def score(self, requests: Sequence[Request], continuations: Sequence[str]) -> list[ContinuationScore]:
        """Log-probability of `continuations[i]` after request i's prompt and prefill. Raises Unsupported."""
        ...

    def opens_think(self, request: Request) -> bool | None:
        """Whether the rendered prompt ends in an open `<think>`; None where the engine does not render prompts."""
        ...

    def close(self) -> None:
        """Free the model or the connection. Safe to call twice."""
        ...


def digest(*parts: Any) -> str:
    """sha256 (hex) of JSON-able parts: the one hash used for prompts, keys and seeds. Lone surrogates are allowed."""
    text = json.dumps(parts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sample_seed(base: int, prompt_hash: str, sample: int) -> int:
    """The seed of one sample: 63 bits of sha256(base, prompt, sample index)."""
    return int(digest("seed", base, prompt_hash, sample)[:16], 16) >> 1


def store_key(engine: Engine, request: Request) -> str:
    """The content address of a generation: same key, same generation. No versions, no latency, no path."""
    s = request.sampling
    return digest(
        "generation",
        engine.model_id,
        engine.name,
        engine.dtype,
        request.prompt_hash,
        [s.max_tokens, s.temperature, s.top_p, list(s.stop)],
        request.seed,
    )
