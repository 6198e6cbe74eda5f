"""Rows of text to token ids, and the order in which they are trained on.

Texts are rendered already, so nothing is added but a missing end of turn. The order is a function of (lengths, batch,
steps, seed): shuffled epochs, cut into pools that are sorted by length so that a batch pads little.

Left out: tensors and padding (the trainers' collators).

    ids = completions(rows, chat, limit=512, too_long="error", log=print)
    order([len(r["input_ids"]) for r in ids], batch=16, steps=100, seed=0)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rrmlib.engines.local import Chat

IGNORED = -100  # label of a token that is not trained on
_POOL = 64  # batches whose rows are sorted by length together


class DataError(ValueError):
    """The rows cannot be trained on. One line: which row, what is wrong, what to do."""


Row = Mapping[str, Any]
Log = Callable[[str], object]


def need(rows: Sequence[Row], keys: Sequence[str], kind: str, what: str = "training") -> None:
    """Raises DataError where there are no rows, or one lacks a key or holds something else than text under it."""
    if not rows:
        raise DataError(f"{kind}: the {what} data set is empty")
    for i, row in enumerate(rows):
        for key in keys:
            if not isinstance(row.get(key), str):
                found = "missing" if key not in row else f"{type(row[key]).__name__}, not text"
                raise DataError(f"{kind}: {what} row {i}: {key!r} is {found}")


def closed(texts: Sequence[str], chat: Chat) -> list[list[int]]:
    """Token ids of texts that end their turn: the end-of-turn token is added where it is missing."""
    out = []
    trimmed = [text.rstrip() for text in texts]
    for text, bare, ids in zip(texts, trimmed, chat.encode_all(trimmed)):
        if not ids or ids[-1] not in chat.eos_ids:
            ids = [*(ids if text == bare else chat.encode(text)), chat.tokenizer.eos_token_id]
        out.append(ids)
    return out


def completions(rows: Sequence[Row], chat: Chat, limit: int, too_long: str, log: Log) -> list[dict[str, list[int]]]:
    """{"input_ids", "labels"} of each row {"prompt", "completion"}; labels are IGNORED on the prompt."""
    out = []
    prompts = chat.encode_all([row["prompt"] for row in rows])
    for prompt, completion in zip(prompts, closed([row["completion"] for row in rows], chat)):
        labels = [IGNORED] * len(prompt) + completion
        labels[0] = IGNORED  # the first token of a text has nothing before it
        out.append({"input_ids": prompt + completion, "labels": labels})
    return fitting(out, [len(r["input_ids"]) for r in out], limit, too_long, log)


def fitting(
    rows: list[Any], lengths: Sequence[int], limit: int, too_long: str, log: Log, *, made_of: str = ""
) -> list[Any]:
    """The rows of at most `limit` tokens. Raises DataError (or logs, with too_long "drop") which are longer.

    `made_of`: what a length and the limit consist of, where that is not the row alone."""
    beyond = [i for i, n in enumerate(lengths) if n > limit]
    if not beyond:
        return rows
    longest = max(beyond, key=lambda i: lengths[i])
    found = (
        f"{len(beyond)} of {len(rows)} rows are longer than {limit} tokens "
        f"(first: row {beyond[0]}, longest: row {longest} with {lengths[longest]}{made_of and f'; {made_of}'})"
    )
    if too_long == "error":
        raise DataError(f"{found}: raise the limit, shorten them, or set too_long: drop")
    if len(beyond) == len(rows):
        raise DataError(f"{found}: nothing is left")
    log(f"dropped: {found}")
    gone = set(beyond)
    return [row for i, row in enumerate(rows) if i not in gone]


def permutations(n: int, count: int, seed: int) -> np.ndarray:
    """The first `count` of endless shuffled epochs over range(n)."""
    rng = np.random.default_rng([seed, n])
    return np.concatenate([rng.permutation(n) for _ in range(-(-count // n))])[:count]


def order(lengths: Sequence[int] | np.ndarray, batch: int, steps: int, seed: int) -> np.ndarray:
    """Row indices [steps * batch]: each consecutive `batch` is one optimiser step, its rows ascending in length.

    Every row is seen as often as any other, up to one epoch's remainder.
    """
    size = np.asarray(lengths)
    drawn = permutations(len(size), steps * batch, seed)
    rng = np.random.default_rng([seed, len(size), batch])
    pools = []
    for start in range(0, len(drawn), _POOL * batch):
        pool = drawn[start : start + _POOL * batch]
        pool = pool[np.argsort(size[pool], kind="stable")].reshape(-1, batch)
        pools.append(pool[rng.permutation(len(pool))].flatten())
    return np.concatenate(pools)
