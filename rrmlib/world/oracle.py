"""The two oracles of RM-R1's distillation (2505.02387, section 3.2), as programs of the generated world.

The first judges on its own and is wrong on about a quarter of the items, most often where the longer and politer
response is the worse. The second is told the right verdict and rewrites a failed judgment so that it argues for it.
Both write in the format that is asked for. `distil.py` runs them, or any engine in their place.

Left out: filtering, the random control (`distil.py`).
"""

from __future__ import annotations

from rrmlib.comparison import Choice, Comparison, Order, flip
from rrmlib.world.families import problem_of
from rrmlib.world.judging import write
from rrmlib.world.problem import stream

# Share of items on which the first oracle does not look closely, by subset: of the mix that is trained on nearly a
# quarter, three of four of them chat, most often hard chat.
ERRS = {"chat-hard": 0.9, "chat-easy": 0.4, "chat": 0.4}
ERRS_ELSEWHERE = 0.08


def shown_label(comparison: Comparison, order: Order) -> Choice | None:
    """The label in the order shown."""
    return comparison.label if comparison.label is None or order == Order.AB else flip(comparison.label)


def first_oracle(comparison: Comparison, order: Order, style: str, seed: int) -> str:
    """A judgment that is wrong on about a quarter of the items."""
    rng = stream("oracle", seed, comparison.id, order)
    problem, shown = problem_of(comparison.query[0].content), comparison.shown(order)
    if rng.random() >= ERRS.get(comparison.subset, ERRS_ELSEWHERE):
        return write(style, problem, shown, "careful", rng)
    wrong = "B" if shown_label(comparison, order) == "first" else "A"
    behaviour = "polite" if comparison.subset == "chat-hard" else "read"
    while f"[[{wrong}]]" not in (text := write(style, problem, shown, behaviour, rng)):
        behaviour = "read"
    return text


def second_oracle(comparison: Comparison, order: Order, style: str, seed: int, failed: str) -> str:
    """`failed` rewritten so that it reaches the label: a careful judgment with the label as its verdict."""
    rng = stream("rewrite", seed, comparison.id, order)
    text = write(style, problem_of(comparison.query[0].content), comparison.shown(order), "careful", rng)
    right = "A" if shown_label(comparison, order) == "first" else "B"
    other = "B" if right == "A" else "A"
    return text.replace(f"<answer>[[{other}]]", f"<answer>[[{right}]]")
