"""Log-probabilities of tokens on a CPU: only where wanted, a group's shared prompt once, a graph where one learns.

TRL's own way runs every prompt once per sample and scores every position; with groups of 8 and prompts longer than
completions this is two to three times the work. The numbers are the same up to float32 rounding (the tests compare).

Left out: GPUs and wrapped models (TRL's own way is used there).

    logps, entropy = grouped(model, ids, mask, keep=completion_length, temperature=1.0, learns=advantages != 0)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def token_logprobs(hidden: Tensor, head: Tensor, target: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """hidden [N, H], head [V, H], target [N] -> log-probability and entropy (nats, no gradient), both [N]."""
    logps = torch.log_softmax(torch.mm(hidden, head.t()) / temperature, -1)
    with torch.no_grad():
        entropy = -(logps.exp() * logps).sum(-1)
    return logps.gather(1, target[:, None]).squeeze(1), entropy


def grouped(
    model: Any, ids: Tensor, mask: Tensor, keep: int, temperature: float, learns: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies [B, keep] of the last `keep` tokens of ids [B, P + keep]; 0 where mask is 0.

    Prompts are padded on the left, completions on the right. Equal prompts that lie next to each other are run once
    and their keys and values repeated, gradients included. Rows [B] that do not learn are run without a graph: the
    numbers are the same, and all parameters get a gradient, if only of 0.
    """
    if learns is None or bool(learns.all()):
        return _run(model, ids, mask, keep, temperature)
    logps = torch.zeros(len(ids), keep)
    entropy = torch.zeros_like(logps)
    for rows, graph in ((learns, torch.is_grad_enabled()), (~learns, False)):
        if rows.any():
            with torch.set_grad_enabled(graph):
                found, spread = _run(model, ids[rows], mask[rows], keep, temperature)
            logps, entropy = logps.index_put((rows,), found.float()), entropy.index_put((rows,), spread.float())
    if not learns.any():
        logps = logps + 0.0 * sum(weight.sum() for weight in model.parameters())
    return logps, entropy


def _run(model: Any, ids: Tensor, mask: Tensor, keep: int, temperature: float) -> tuple[Tensor, Tensor]:
    at = ids.shape[1] - keep
    prompts, counts = torch.unique_consecutive(ids[:, :at], dim=0, return_counts=True)
    first = counts.cumsum(0) - counts
    backbone = model.base_model
    head = backbone(
        input_ids=prompts, attention_mask=mask[first, :at], position_ids=_positions(mask[first, :at]), use_cache=True
    )
    cache = head.past_key_values
    for layer in cache.layers:
        layer.keys = layer.keys.repeat_interleave(counts, 0)
        layer.values = layer.values.repeat_interleave(counts, 0)
    hidden = head.last_hidden_state[:, -1:].repeat_interleave(counts, 0)
    if keep > 1:
        tail = backbone(
            input_ids=ids[:, at:-1],
            attention_mask=mask[:, :-1],
            position_ids=_positions(mask[:, :-1])[:, at:],
            past_key_values=cache,
            use_cache=True,
        )
        hidden = torch.cat([hidden, tail.last_hidden_state], 1)
    wanted = mask[:, at:].bool()
    found, spread = token_logprobs(
        hidden[wanted], model.get_output_embeddings().weight, ids[:, at:][wanted], temperature
    )
    logps = torch.zeros(wanted.shape, dtype=found.dtype).masked_scatter(wanted, found)
    return logps, torch.zeros(wanted.shape, dtype=found.dtype).masked_scatter(wanted, spread)


def _positions(mask: Tensor) -> Tensor:
    return (mask.cumsum(-1) - 1).clamp_min(0)
