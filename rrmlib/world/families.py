"""All families of problems by name: draw one of a split, read one back from its query, tell its section.

>>> p = draw("chain", "test", 7)
>>> problem_of(p.query) == p, split_of(p.canonical)
(True, 'test')
"""

from __future__ import annotations

from rrmlib.world import chat, reasoning, safety
from rrmlib.world.problem import Problem, split_of, stream

FAMILIES = ("chain", "program", "chat", "safety")
UNSEEN = "counter"  # never trained on
CHAIN_STEPS = (2, 3, 4, 5, 6)
PROGRAM_STEPS = (2, 3, 4, 5)


def draw(family: str, split: str, *seed: object) -> Problem:
    """A problem of one family and split; half of them say in a header what type of task they are."""
    rng = stream("problem", family, split, *seed)
    if family not in (*FAMILIES, UNSEEN):
        raise ValueError(f"unknown family {family!r}; known: {', '.join((*FAMILIES, UNSEEN))}")
    reasons = family in ("chain", "program", "counter")
    while True:
        header = "" if rng.random() < 0.5 else "Math: " if reasons else "Chat: "
        problem: Problem
        if family == "program":
            problem = reasoning.draw_program(rng, PROGRAM_STEPS, header)
        elif family == UNSEEN:
            problem = reasoning.draw_program(rng, CHAIN_STEPS, header, counter=True)
        elif reasons:
            problem = reasoning.draw_chain(rng, CHAIN_STEPS, header)
        else:
            problem = (chat if family == "chat" else safety).draw(rng, header)
        if split_of(problem.canonical) == split:
            return problem


def problem_of(query: str) -> Problem:
    """The problem that a query of this world states. Raises ValueError on any other text."""
    found = reasoning.read_query(query) or chat.read_query(query) or safety.read_query(query)
    if found is None:
        shown = "; ".join(repr(draw(family, "valid", 0).query) for family in FAMILIES)
        raise ValueError(f"not a query of the generated world: {query[:80]!r}; such are: {shown}")
    return found


def task_type(problem: Problem) -> str:
    """RM-R1's type of a query: Reasoning or Chat (2505.02387, figure 3)."""
    return "Reasoning" if isinstance(problem, reasoning.Chain | reasoning.Program) else "Chat"
