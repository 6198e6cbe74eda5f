"""Muon for the matrices of the layers and AdamW for all else, as the one optimiser that a trainer takes.

Muon (Jordan 2024) steps along an orthogonal matrix near the momentum, so that no direction of a matrix waits for the
gradient to favour it; torch has it, for matrices alone. With updates scaled to AdamW's size (2502.16982, sec. 2.2) both
share a schedule and a weight decay. A base of size s then learns in 6,000 steps what takes AdamW 10,000 (docs/log.md).

Left out: FSDP and DeepSpeed, which want to build the optimiser themselves and say so; models from nothing are small.

    optimizer = muon(model, recipe)      # a Pretrain recipe with `muon`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import AdamW, Muon, Optimizer

from rrmlib.train.recipe import Pretrain
from rrmlib.train.trainer import side_by_side

MOMENTUM = 0.95


class Together(Optimizer):
    """Optimisers of different parameters as one: its groups are theirs, in order. Their steps run side by side: the
    first two in the calling thread, each other one in its own. None sees another's parameters, so the bytes are those
    of one after the other."""

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = list(optimizers)
        super().__init__([group for each in self.optimizers for group in each.param_groups], {})

    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        side_by_side(lambda each: each.step(), self.optimizers, here=2)  # AdamW's is short
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"optimizers": [each.state_dict() for each in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for each, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            each.load_state_dict(state)
        self.param_groups = [group for each in self.optimizers for group in each.param_groups]


def muon(model: Any, recipe: Pretrain) -> Together:
    """For `model` as it stands: AdamW at `learning_rate` first, then Muon at rate `muon`, shared among `parts`."""
    assert recipe.muon is not None
    layers = {id(p) for p in model.base_model.layers.parameters() if p.ndim == 2}
    matrices = [p for p in model.parameters() if id(p) in layers]
    rest = [p for p in model.parameters() if id(p) not in layers]
    decays = [
        {"params": [p for p in rest if (p.ndim > 1) == decayed], "weight_decay": recipe.weight_decay * decayed}
        for decayed in (True, False)
    ]
    adam = AdamW(decays, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, fused=True)
    shares = [matrices[i :: recipe.parts] for i in range(recipe.parts)]
    return Together(
        [
            adam,
            *(
                Muon(
                    share,
                    lr=recipe.muon,
                    weight_decay=recipe.weight_decay,
                    momentum=MOMENTUM,
                    nesterov=True,
                    adjust_lr_fn="match_rms_adamw",
                )
                for share in shares
                if share
            ),
        ]
    )
