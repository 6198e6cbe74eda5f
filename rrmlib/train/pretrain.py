"""Models from nothing: Qwen2 architecture in three sizes, random weights from a seed.

Left out: tokenizers (an argument). The loss and the loop are those of any completion (`sft.py`).

    model = fresh("s", tokenizer, context=512, init_std=0.06, embed_std=0.25, seed=0)
"""

from __future__ import annotations

from typing import Any

from rrmlib.train import muon, sft
from rrmlib.train.recipe import Pretrain

# With a vocabulary of 736: 0.17 M, 0.62 M and 3.3 M parameters. Heads are 32 wide. Two wide layers learn more per
# second on a CPU than four narrow ones (docs/log.md).
SIZES = {
    "xs": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 256,
    },
    "s": {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 512,
    },
    "m": {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "intermediate_size": 768,
    },
}


def build(recipe: Pretrain, model: Any, *args: Any) -> sft.Trainer:
    """`sft.build`, with the recipe's optimiser."""
    return sft.build(recipe, model, *args, optimizer=muon.muon(model, recipe) if recipe.muon else None)


def fresh(
    size: str,
    tokenizer: Any,
    *,
    context: int,
    init_std: float,
    embed_std: float,
    seed: int,
    rope_theta: float = 10000.0,
) -> Any:
    """An untrained `Qwen2ForCausalLM` for `tokenizer`. Raises ValueError for an unknown size."""
    import torch
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=init_std,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        bos_token_id=None,
        attention_dropout=0.0,
        **special,
        **SIZES[size],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=embed_std)
    model.generation_config = GenerationConfig(**special)
    return model
