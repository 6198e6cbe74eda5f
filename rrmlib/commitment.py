r"""Where a trace can be cut and what can be taken out of it; from which cut on a judge's verdict stays what it is.

A trace's BODY is what is thought before a verdict is begun: without `<think>`, without the closing and, where the
judge has a way of its own to conclude (a spec's `conclude`, "\nbest"), without that line too, which only repeats the
verdict. It ends at the FIRST verdict that could be read, also where the judge goes on and gives another: a text that is
cut behind one has answered already (`budget.closing` adds nothing to it), and asks nothing. What is quoted in the
thinking, or in RM-R1's evaluation, is not read once they are closed, and belongs to the body; so does what the judge
concludes on the way, which no parser reads. A body's STEPS lie end to end and are found by a pattern for what stands
between two of them: `BREAKS` has lines and sentences; a world that knows its own statements gives its own
(`world/steps.py`).

Cut at the end of a step, the judge is told to conclude (`probe.py`). It is COMMITTED from the first cut on after which
no verdict differs from its final one. Early answering as in 2307.13702 (Lanham et al. 2023); removing is ours.

Left out: asking a judge (`probe.py`), intervals and tables (`findings/patterns.py`).

    >>> text = "<think>\nwork\n1: 4 ok\n2: 6 bad\nbest 1\n</think>\n\\boxed{Assistant 1}"
    >>> found = steps(text, *body(text, "rrm", conclude="\nbest"))
    >>> [text[step.start : step.end] for step in found]
    ['work\n', '1: 4 ok\n', '2: 6 bad']
    >>> cut(text, found[1])
    '<think>\nwork\n1: 4 ok'
    >>> without(text, found[0], found[-1].end)
    '<think>\n1: 4 ok\n2: 6 bad'
    >>> committed([1, 0, 0, 0], 0), committed([0, 0, 1], 0)
    (1, None)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rrmlib.budget import lead
from rrmlib.parse import CLOSE, OPEN

BREAKS = {
    "line": re.compile(r"\s*\n\s*"),
    "sentence": re.compile(r"\s*\n\s*|(?<=[.!?])[\"')\]]{0,2}\s+"),
}


@dataclass(frozen=True)
class Step:
    """A part of a trace, text[start:end], with the space behind it. `fraction` is how much of the body is written at
    its end, in characters."""

    start: int
    end: int
    fraction: float


def body(text: str, parser: str, *, conclude: str = "", opens_think: bool = False) -> tuple[int, int]:
    """(start, end) of the body; empty where nothing was thought before the verdict.

    Where the text closes its thinking, or never does, that is the thinking alone. However a text is cut in its body,
    what is then read is the verdict that `budget.closing` asks for. Raises ValueError for a parser that reads no
    verdict from text (`budget.lead`).
    """
    opened, close = text.find(OPEN), text.rfind(CLOSE)
    start = opened + len(OPEN) if opened >= 0 else 0
    end = _begun(text, close if close >= 0 else len(text), parser, opens_think)
    if conclude:
        last = text.rfind(conclude, start, end)
        end = last if last >= 0 else end
    while start < end and text[start].isspace():
        start += 1
    return start, max(start, start + len(text[start:end].rstrip()))


def _begun(text: str, end: int, parser: str, thinking: bool) -> int:
    """Where the first verdict begins that is neither in thinking nor in RM-R1's evaluation; `end` where none is."""
    wanted, sign = lead(parser)
    before = wanted.partition(sign)[0]
    evaluating = False
    for match in re.compile(f"{re.escape(sign)}|</?think>|</?eval>").finditer(text, 0, end):
        if match[0] in (OPEN, CLOSE):
            thinking, evaluating = match[0] == OPEN, False
        elif match[0] != sign:
            evaluating = match[0] == "<eval>" and sign == "<answer>"
        elif not thinking and not evaluating:
            return match.start() - (len(before) if text.endswith(before, 0, match.start()) else 0)
    return end


def steps(text: str, start: int, end: int, breaks: re.Pattern[str] = BREAKS["line"], *, at_most: int = 0) -> list[Step]:
    """The steps of text[start:end], end to end. More than `at_most` (0: any number) are joined to that many of about
    as many each."""
    ends = [m.end() for m in breaks.finditer(text, start, end) if start < m.end() < end] + [end]
    if end <= start:
        return []
    if at_most and len(ends) > at_most:
        ends = [ends[round((i + 1) * len(ends) / at_most) - 1] for i in range(at_most)]
    return [Step(a, b, (b - start) / (end - start)) for a, b in zip([start, *ends], ends)]


def cut(text: str, step: Step | None, start: int = 0) -> str:
    """The trace up to the end of a step; None: up to where its body starts, at `start`."""
    return text[: step.end if step else start].rstrip()


def without(text: str, step: Step, end: int) -> str:
    """The trace up to the end of its body, at `end`, with one step taken out."""
    return (text[: step.start] + text[step.end : end]).rstrip()


def committed(verdicts: Sequence[object], final: object) -> int | None:
    """Index of the first cut after which every verdict is the final one; None where the last one is another."""
    first = None
    for i in reversed(range(len(verdicts))):
        if verdicts[i] != final:
            break
        first = i
    return first


def along(fractions: Sequence[float], values: Sequence[float], grid: Sequence[float]) -> NDArray[np.float64]:
    """Values of a trace's cuts at each point of a grid of fractions: that of the last cut at or before it.

    Raises ValueError where the first cut is beyond the first point, or the cuts are not in order."""
    at = np.asarray(fractions, float)
    if not len(at) or at[0] > grid[0] + 1e-9 or np.any(np.diff(at) < 0):
        raise ValueError(f"cuts must be in order and begin at {grid[0]:g}: {list(fractions)[:4]}")
    return np.asarray(values, float)[np.searchsorted(at, np.asarray(grid, float) + 1e-9, side="right") - 1]
