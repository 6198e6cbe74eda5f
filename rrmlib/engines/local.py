"""What the engines that hold a model in this process share: loading, identity, chat rendering, text from tokens.

A model is a folder (config, tokenizer, safetensors) or a hub id, "org/name" or "org/name@revision". A folder's
`model_id` is a hash of the contents of its files, so a moved or renamed folder stays the same model, and a changed
weight or template is another one.

Left out: drawing tokens (`draw.py`), the model's arithmetic (`qwen2.py`, `hf.py`, `scalar.py`).

    model, chat, model_id = load("runs/laptop/seed0/models/base-s", dtype="float32")
    ids = chat.encode(chat.render(request))
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrmlib.comparison import Message
from rrmlib.engines.base import Completion, EngineError, Request, digest

# What decides a model's output. README, recipe and training state do not.
_IDENTITY = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spm.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*",
)

_AT_ONCE = 256  # texts: more is no quicker, and what the tokenizer says of each (offsets, masks) takes memory


def folder_id(folder: str | Path) -> str:
    """ "sha256:..." over the names and contents of a model folder's weights, tokenizer, template and configuration.

    Raises EngineError where the folder has no config.json or no safetensors.
    """
    folder = Path(folder)
    files = sorted({path for pattern in _IDENTITY for path in folder.glob(pattern)}, key=lambda p: p.name)
    if not (folder / "config.json").is_file() or not any(p.suffix == ".safetensors" for p in files):
        raise EngineError(f"{folder}: not a model folder (config.json and *.safetensors are needed)")
    parts = []
    for path in files:
        with path.open("rb") as f:
            parts.append([path.relative_to(folder).as_posix(), hashlib.file_digest(f, "sha256").hexdigest()])
    return "sha256:" + digest("model", parts)


@dataclass(frozen=True)
class Chat:
    """A tokenizer with what the engines need to know about its model: end-of-turn ids and context length (tokens)."""

    tokenizer: Any
    eos_ids: frozenset[int]
    context: int
    _special: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_special", frozenset(self.tokenizer.all_special_ids))

    def render(self, request: Request) -> str:
        """The prompt as text: chat template, generation prompt, then the prefill verbatim. Raises EngineError."""
        if not request.messages:
            raise EngineError("the request has no messages: its prompt format is for engines that read no prompt")
        args = {name: json.loads(value) for name, value in request.template_args}
        return self.template(request.messages, add_generation_prompt=True, **args) + request.prefill

    def template(self, messages: Sequence[Message], **args: Any) -> str:
        """Messages through the tokenizer's chat template. Raises EngineError where the template refuses them."""
        from jinja2 import TemplateError

        if not self.tokenizer.chat_template:
            raise EngineError("the tokenizer has no chat template; add chat_template.jinja to the model folder")
        turns = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return self.tokenizer.apply_chat_template(turns, tokenize=False, **args)
        except (TemplateError, TypeError) as e:
            raise EngineError(f"the chat template refuses the messages: {e}") from e

    def opens_think(self, request: Request) -> bool | None:
        """Whether the generation prompt ends in an open `<think>`; None where the template refuses the messages."""
        args = {name: json.loads(value) for name, value in request.template_args}
        try:
            return self.template(request.messages, add_generation_prompt=True, **args).rstrip().endswith("<think>")
        except EngineError:
            return None

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text; nothing is added (the template wrote all special tokens). Raises EngineError."""
        try:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        except (TypeError, UnicodeError) as e:  # a lone surrogate cannot be tokenised
            raise EngineError(f"the tokenizer refuses the text: {e}") from e

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, many at a time: quicker, the same ids. Raises EngineError."""
        out: list[list[int]] = []
        for start in range(0, len(texts), _AT_ONCE):
            try:
                found = self.tokenizer(list(texts[start : start + _AT_ONCE]), add_special_tokens=False)
            except (TypeError, UnicodeError) as e:
                raise EngineError(f"the tokenizer refuses a text: {e}") from e
            out += found["input_ids"]
        return out

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids: special tokens (end of turn, padding) left out, added ones such as <think> kept."""
        kept = [i for i in ids if i not in self.eos_ids and i not in self._special]
        return self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def stopped(self, ids: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether a stop text ends within the last token of `ids` (looks only at as many tokens as can matter)."""
        if not stop:
            return False
        window = max(len(s.encode("utf-8", "surrogatepass")) for s in stop) + 8
        tail: list[int] = []
        for i in reversed(ids):
            if i not in self._special:
                tail.append(i)
                if len(tail) == window:
                    break
        text = self.decode(tail[::-1])
        return any(s in text for s in stop)

    def prompts(self, requests: Sequence[Request]) -> list[list[int] | Completion]:
        """Each request's token ids, or the completion that says why there are none (error, too_long).

        Requests that show the same prompt share one list, rendered and tokenised once.
        """
        seen: dict[str, list[int] | str] = {}
        out: list[list[int] | Completion] = []
        for request in requests:
            key = request.prompt_hash
            if key not in seen:
                try:
                    seen[key] = self.encode(self.render(request))
                except EngineError as e:
                    seen[key] = str(e)
            ids = seen[key]
            if isinstance(ids, str):
                out.append(Completion("", "error", tokens=0, error=ids))
            elif not ids:
                out.append(Completion("", "error", tokens=0, error="the prompt has no tokens"))
            elif len(ids) + (cap := request.sampling.max_tokens) > self.context:
                remedy = "lower max_tokens" if len(ids) < self.context else "the prompt alone is too long"
                why = f"prompt {len(ids)} + max_tokens {cap} > context {self.context}: {remedy}"
                out.append(Completion("", "too_long", tokens=0, prompt_tokens=len(ids), error=why))
            else:
                out.append(ids)
        return out

    def completion(
        self, request: Request, prompt: list[int], ids: list[int], logprob: float, seconds: float
    ) -> Completion:
        """Generated ids (end of turn included) as a completion: the text ends with the first stop text in it."""
        if not math.isfinite(logprob):
            message = "the model's probabilities are not finite (broken weights, or a dtype that overflows)"
            return Completion("", "error", len(ids), len(prompt), None, message, seconds)
        text = self.decode(ids)
        ends = [text.find(s) + len(s) for s in request.sampling.stop if s in text]
        done = bool(ends) or (bool(ids) and ids[-1] in self.eos_ids)
        text = text[: min(ends)] if ends else text
        return Completion(text, "stop" if done else "length", len(ids), len(prompt), logprob, seconds=seconds)

    def continuations(self, requests: Sequence[Request], texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """(prompt ids, continuation ids) to score; tokenised apart, as a sampler would go on. Raises EngineError."""
        if len(requests) != len(texts):
            raise ValueError(f"{len(requests)} requests but {len(texts)} continuations")
        pairs = []
        for i, (request, text) in enumerate(zip(requests, texts)):
            prompt, ids = self.encode(self.render(request)), self.encode(text)
            if not prompt or len(prompt) + len(ids) > self.context:
                raise EngineError(
                    f"request {i}: {len(prompt)} + {len(ids)} tokens to score, the model takes 1 to {self.context}"
                )
            pairs.append((prompt, ids))
        return pairs


def open_chat(address: str | Path, context: int | None = None) -> tuple[Chat, str, tuple[str, str]]:
    """(Chat, model_id, (folder or hub name, revision)) of a folder or a hub id, without the weights.

    `context` replaces the context length that config.json states. Raises EngineError with the reason and the address.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    where, _, revision = (str(address), "", "") if Path(address).is_dir() else str(address).partition("@")
    local = Path(where).is_dir()
    identity = folder_id(where) if local else ""
    at = {"revision": revision} if revision else {}
    try:
        config = AutoConfig.from_pretrained(where, **at)
        tokenizer = AutoTokenizer.from_pretrained(where, **at)
    except (OSError, ValueError) as e:
        raise _unloadable(address, e) from e
    try:
        ids = GenerationConfig.from_pretrained(where, **at).eos_token_id
    except OSError:  # the file is optional
        ids = config.get_text_config().eos_token_id
    revision = getattr(config, "_commit_hash", None) or revision or ""  # a branch may move, a commit does not
    if not local and not revision:
        raise EngineError(f"model {address}: its revision is unknown; give it as {address}@REVISION")
    context = context or getattr(config.get_text_config(), "max_position_embeddings", None)
    if not context:
        raise EngineError(
            f"model {address}: config.json does not say max_position_embeddings, its context length "
            "(engine vllm: give `context`)"
        )
    stops = {*(ids if isinstance(ids, list) else [ids]), tokenizer.eos_token_id} - {None}
    return Chat(tokenizer, frozenset(stops), context), identity or f"{where}@{revision}", (where, revision)


def load(
    address: str | Path, *, dtype: str = "float32", device: str = "cpu", kind: str = "AutoModelForCausalLM"
) -> Any:
    """(model in eval mode, Chat, model_id) of a folder or a hub id; `kind` names a transformers Auto class.

    Only safetensors, no remote code. Raises EngineError with the reason and the address.
    """
    import torch
    import transformers

    if dtype not in ("float32", "bfloat16", "float16"):
        raise EngineError(f"dtype {dtype!r}: use float32, bfloat16 or float16")
    chat, model_id, (where, revision) = open_chat(address)
    at = {"revision": revision} if revision else {}
    try:
        auto = getattr(transformers, kind)
        model = auto.from_pretrained(where, dtype=getattr(torch, dtype), use_safetensors=True, **at).eval().to(device)
    except (OSError, ValueError) as e:
        raise _unloadable(address, e) from e
    return model, chat, model_id


def _unloadable(address: str | Path, e: Exception) -> EngineError:
    reason = " ".join(str(e).split()) or type(e).__name__
    return EngineError(f"cannot load model {address}: {reason[:300]}")
