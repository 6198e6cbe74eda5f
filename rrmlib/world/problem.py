"""A problem of the generated world: a query whose responses can be graded exactly, and the split it belongs to.

Every family (`reasoning.py`, `chat.py`, `safety.py`) writes its problems as small frozen dataclasses with the methods
of `Problem`, and reads them back from the text of a query (`problem_of` in `families.py`), so that everything
downstream (oracles, the checker, the base text) needs a comparison only.

Splits are disjoint by the CANONICAL problem, never by its wording: the split is a hash of `canonical`, which leaves out
headers, lines that nothing asks for, which of two values is called x, and the order of constraints. A generator draws
problems until one falls into the split that is asked for; so no problem can be in two splits, whatever the seeds.

Left out: responses as pairs (`pairs.py`), what a judge writes about them (`judging.py`).

    >>> split_of("chain 3 a+4 b*2") == split_of("chain 3 a+4 b*2")
    True
"""

from __future__ import annotations

import hashlib
import random
from typing import Protocol

# Shares of all canonical problems, in percent.
SPLITS = {"text": 40, "policy": 10, "sft": 10, "rl": 20, "meta": 5, "valid": 5, "test": 10}
SECTIONS = ("reasoning", "chat", "chat-hard", "safety")


class Problem(Protocol):
    """A query with verifiable truth. `difficulty` is how many steps are needed."""

    @property
    def family(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def canonical(self) -> str: ...
    @property
    def difficulty(self) -> int: ...

    def grade(self, response: str) -> float:
        """Quality of a response, 0 to 1; never raises on any text."""
        ...


def split_of(canonical: str) -> str:
    """The one split that a canonical problem belongs to."""
    place = int(hashlib.sha256(f"split\0{canonical}".encode()).hexdigest()[:8], 16) % 100
    for name, share in SPLITS.items():
        place -= share
        if place < 0:
            return name
    raise AssertionError("the shares of SPLITS sum to 100")


def stream(*parts: object) -> random.Random:
    """A random stream of its own, derived from what it is for; the same parts give the same draws on every machine."""
    return random.Random(hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest())
