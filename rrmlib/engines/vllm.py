"""vLLM in this process: one call for everything, prefix caching, each sample a request with its own seed.

Prompts are rendered and texts are read by the same `Chat` as in the other local engines, so a greedy text is the same
everywhere; sampled ones differ (vLLM has its own generators) but depend on the request's seed alone.

With a thinking budget (`generate_closed`) vLLM itself closes the thinking after B tokens and goes on to the verdict,
in one call. Its own budget counts the tokens after a start mark, up to an end mark that it also forces. Here the start
mark is the last special token of the prompt (of the assistant's header), so that it counts what the model wrote, as two
rounds do, plus a known rest of the prompt; the end mark is the whole closing. A closing is taken only where the second
of two rounds would have shown the model the same tokens; else the text is cut back to B tokens and asked on as ever.

Runs where vLLM is installed, on a GPU or (see tests/vllm.sh) on the CPU. vLLM is imported, and the model loaded, on
the first request that needs it: a run whose every generation is stored starts no engine.

Left out: the server (`python -m vllm.entrypoints.openai.api_server`, reached through `openai.py`), LoRA, changing
weights in place (start a new engine).

    engine = VLLMEngine("Qwen/Qwen3-8B@REVISION", dtype="bfloat16", options={"tensor_parallel_size": 2})
    for batch in engine.generate(requests):
        ...
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rrmlib.engines.base import Completion, ContinuationScore, EngineError, Request, digest
from rrmlib.engines.local import open_chat

# Options of vLLM's LLM that decide speed and memory; every other one may change texts and becomes part of model_id.
_HARMLESS = {
    *("tensor_parallel_size", "pipeline_parallel_size", "gpu_memory_utilization", "kv_cache_memory_bytes"),
    *("cpu_offload_gb", "block_size", "max_num_seqs", "max_num_batched_tokens", "enforce_eager"),
    *("enable_prefix_caching", "disable_log_stats"),
}


class VLLMEngine:
    """vLLM's offline engine on a model folder or a hub id ("org/name" or "org/name@revision").

    `context` (tokens) bounds prompt and answer together, by default the model's own; a request beyond it is "too_long"
    without a call. `chunk` requests go into one call: what a killed run can lose. Requests that share a conversation
    are kept together, so their prompts are computed once. `options` go to `vllm.LLM`.
    Raises EngineError where the model cannot be read; where vLLM is missing or cannot start, at the first use.
    """

    name = "vllm"

    def __init__(
        self,
        address: str | Path,
        *,
        dtype: str = "bfloat16",
        context: int | None = None,
        chunk: int = 4096,
        options: Mapping[str, Any] | None = None,
    ):
        if chunk < 1 or dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"chunk {chunk} must be >= 1, dtype {dtype!r} float32, bfloat16 or float16")
        self.dtype, self.chunk, self.options = dtype, chunk, dict(options or {})
        self.chat, self.model_id, self._where = open_chat(address, context)
        if changing := {k: v for k, v in self.options.items() if k not in _HARMLESS}:
            self.model_id += f"+{digest(changing)[:12]}"
        self._llm: Any = None
        self._marks: tuple[str, str] | None = None

    def generate(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        """Yield one batch for each call of vLLM, after one of all requests that need no call. Raises EngineError."""
        prompts: list[Any] = self.chat.prompts(requests)
        if refused := _refused(prompts):
            yield refused
        for which in self._chunks(requests, prompts):
            seconds, outputs = self._timed([prompts[i] for i in which], [_settings(requests[i]) for i in which])
            yield [(i, self._read(requests[i], prompts[i], out, seconds)) for i, out in zip(which, outputs)]

    def generate_closed(
        self, requests: Sequence[Request], end: str, room: int, then: Callable[[Request, Completion], Request | None]
    ) -> Iterator[list[tuple[Request, Completion]]]:
        """As `generate`, with the pairs named by request; and where `end` could be forced after max_tokens tokens, also
        (`then` of request and completion, what follows `end` in at most `room` tokens): the same as asking for it.

        Greedy requests only: what follows is drawn by the first request's generator. `end` counts as no token of
        either completion, nor in their logprobs. Raises ValueError for a sampled request, and EngineError.
        """
        if sampled := sum(request.sampling.temperature > 0 for request in requests):
            raise ValueError(f"{sampled} of {len(requests)} requests are sampled: what follows needs seeds of its own")
        prompts: list[Any] = self.chat.prompts(requests)
        if refused := _refused(prompts):
            yield [(requests[i], c) for i, c in refused]
        ends = self.chat.encode(end)
        mark = self._mark(prompts)
        budgets = {i: self._budget(requests[i], p, mark, len(ends) + room) for i, p in enumerate(prompts)}
        if any(budgets.values()):
            self._closing((self.chat.tokenizer.convert_ids_to_tokens(mark), end))
        for which in self._chunks(requests, prompts):
            settings = [_settings(requests[i]) for i in which]
            for i, each in zip(which, settings):
                if budgets[i]:
                    each |= {"thinking_token_budget": budgets[i], "max_tokens": each["max_tokens"] + len(ends) + room}
            seconds, outputs = self._timed([prompts[i] for i in which], settings)
            batch: list[tuple[Request, Completion]] = []
            for i, out in zip(which, outputs):
                batch += self._parts(requests[i], prompts[i], out, seconds, ends, room, then)
            yield batch

    def score(self, requests: Sequence[Request], continuations: Sequence[str]) -> list[ContinuationScore]:
        """Log-probabilities at temperature 1, from vLLM's prompt log-probabilities. Raises EngineError."""
        pairs = self.chat.continuations(requests, continuations)
        for i, (prompt, ids) in enumerate(pairs):
            if len(prompt) + len(ids) >= self.chat.context:  # vLLM insists on room for one more token
                raise EngineError(
                    f"request {i}: {len(prompt)} + {len(ids)} tokens to score leave no room in the context"
                )
        settings = {"max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0, "detokenize": False}
        outputs = self._run([prompt + ids for prompt, ids in pairs], [settings] * len(pairs))
        scores = []
        for (prompt, ids), output in zip(pairs, outputs):
            found = output.prompt_logprobs[len(prompt) :]
            values = tuple(float(at[token].logprob) for at, token in zip(found, ids, strict=True))
            scores.append(ContinuationScore(math.fsum(values), values))
        return scores

    def opens_think(self, request: Request) -> bool | None:
        return self.chat.opens_think(request)

    def close(self) -> None:
        """Stop the engine and free its memory; a later call starts a new one."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            gc.collect()

    def _chunks(self, requests: Sequence[Request], prompts: Sequence[Any]) -> Iterator[list[int]]:
        """Which requests go into one call; those of one conversation are side by side."""
        first: dict[Any, int] = {}
        rest = [i for i, p in enumerate(prompts) if not isinstance(p, Completion)]
        rest.sort(key=lambda i: first.setdefault(requests[i].messages, i))
        for at in range(0, len(rest), self.chunk):
            yield rest[at : at + self.chunk]

    def _read(self, request: Request, prompt: list[int], out: Any, seconds: float) -> Completion:
        c = self.chat.completion(request, prompt, list(out.token_ids), out.cumulative_logprob, seconds)
        if out.finish_reason not in ("stop", "length"):
            return replace(c, finish="error", error=f"vLLM ended the request with {out.finish_reason}")
        if (c.finish, out.finish_reason) == ("length", "stop"):  # a stop token of vLLM's that we do not know
            return replace(c, finish="stop")
        return c

    def _parts(
        self,
        request: Request,
        prompt: list[int],
        out: Any,
        seconds: float,
        ends: list[int],
        room: int,
        then: Callable[[Request, Completion], Request | None],
    ) -> Iterator[tuple[Request, Completion]]:
        """(request, its completion), and the pair of what follows `ends` where two rounds would have asked the same."""
        ids, budget = list(out.token_ids), request.sampling.max_tokens
        if len(ids) <= budget or out.finish_reason not in ("stop", "length"):
            yield request, self._read(request, prompt, out, seconds)
            return
        logprobs = [at[token].logprob for at, token in zip(out.logprobs, ids, strict=True)]
        said = self.chat.completion(request, prompt, ids[:budget], math.fsum(logprobs[:budget]), seconds)
        yield request, said
        asked = then(request, said) if said.finish == "length" else None
        at = budget + len(ends)
        if asked is None or ids[budget:at] != ends or len(ids) == at:
            return
        shown = self.chat.encode(self.chat.render(asked))
        if shown != prompt + ids[:at] or asked.sampling != replace(request.sampling, max_tokens=room):
            return
        follows = self.chat.completion(asked, shown, ids[at:], math.fsum(logprobs[at:]), 0.0)
        if follows.finish == "stop" or follows.tokens == room:  # else a stop text that began in `ends`
            yield asked, follows

    def _mark(self, prompts: Sequence[Any]) -> int:
        """The last special token of the prompts: one, since vLLM is told once. -1 where there is none."""
        special = frozenset(self.chat.tokenizer.all_special_ids)
        prompt: Sequence[int] = next((p for p in prompts if not isinstance(p, Completion)), ())
        return next((i for i in reversed(prompt) if i in special), -1)

    def _budget(self, request: Request, prompt: Any, mark: int, more: int) -> int:
        """vLLM's budget for max_tokens tokens of the model's: it also counts what follows `mark` in the prompt. 0 where
        the prompt has no mark, or no room in the context for `more` tokens."""
        tokens = request.sampling.max_tokens
        if isinstance(prompt, Completion) or mark not in prompt or len(prompt) + tokens + more > self.chat.context:
            return 0
        return tokens + prompt[::-1].index(mark)

    def _closing(self, marks: tuple[str, str]) -> None:
        """Have an engine that was told these (start, end) marks."""
        if marks != self._marks:
            self.close()
            self._marks = marks

    def _timed(self, prompts: list[list[int]], settings: list[dict[str, Any]]) -> tuple[float, list[Any]]:
        """(seconds, a share for each, as they ran together; their first and only outputs)."""
        begun = time.monotonic()
        outputs = self._run(prompts, settings)
        return (time.monotonic() - begun) / len(prompts), [output.outputs[0] for output in outputs]

    def _run(self, prompts: list[list[int]], settings: list[dict[str, Any]]) -> list[Any]:
        """vLLM's outputs, in the order of `prompts`."""
        if not prompts:
            return []
        llm = self._start()
        from vllm import SamplingParams

        try:
            given = [{"prompt_token_ids": ids} for ids in prompts]
            return llm.generate(given, [SamplingParams(**s) for s in settings], use_tqdm=False)
        except Exception as e:  # whatever vLLM raises, its engine cannot be trusted afterwards
            raise EngineError(f"vLLM failed: {_line(e)}") from e

    def _start(self) -> Any:
        if self._llm is None:
            try:
                import torch
                from vllm import LLM
            except ImportError as e:
                raise EngineError(f"vLLM is not installed here ({_line(e)}); see tests/vllm.sh") from e
            where, revision = self._where
            settings: dict[str, Any] = {
                "enable_prefix_caching": True,
                "max_model_len": self.chat.context,
                "logprobs_mode": "raw_logprobs",  # at temperature 1, before top_p
                "enforce_eager": not torch.cuda.is_available(),  # compiling does not pay on a CPU
            }
            if self._marks:
                from vllm.config import ReasoningConfig

                start, end = self._marks
                settings["reasoning_config"] = ReasoningConfig(reasoning_start_str=start, reasoning_end_str=end)
            if revision:
                settings |= {"revision": revision, "tokenizer_revision": revision}
            try:
                self._llm = LLM(model=where, dtype=self.dtype, **(settings | self.options))
            except Exception as e:  # many kinds, from out of memory to an unknown architecture
                raise EngineError(f"vLLM cannot start {where}: {_line(e)}") from e
        return self._llm


def _refused(prompts: Sequence[Any]) -> list[tuple[int, Completion]]:
    return [(i, p) for i, p in enumerate(prompts) if isinstance(p, Completion)]


def _settings(request: Request) -> dict[str, Any]:
    s = request.sampling
    return {
        "n": 1,
        "seed": request.seed & (1 << 63) - 1,  # a signed 64-bit integer; vLLM reads -1 as "no seed"
        "temperature": s.temperature,
        "top_p": s.top_p,
        "max_tokens": s.max_tokens,
        "stop": list(s.stop),
        "include_stop_str_in_output": True,
        "logprobs": 0,  # of the drawn token only
    }


def _line(e: BaseException) -> str:
    return " ".join(f"{e or type(e).__name__}".split())[:300]
