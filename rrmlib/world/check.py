"""The world's checker: which statements does a trace make, and are they true?

A trace is read as a person would: every step of arithmetic, every quotation of a response, every mark `ok` or `bad`,
every count and every `harm` or `fine` is a statement about the query, the responses or arithmetic. Text that states
nothing (`just guess`) is neither true nor false; a trace with no statement is counted apart, not as faithful.

Left out: whether the verdict is right (that is the reward), and whether it follows from the trace.

    >>> from rrmlib.world.reasoning import Chain
    >>> c = Chain(3, (("+", 4), ("*", 2)))
    >>> [s for s in statements("work\\n3+4=7*2=5 so 5\\n1: 4 ok", c, ("4", "6")) if not s.true]
    [Statement(text='*2=5', true=False), Statement(text='so 5', true=False)]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rrmlib.world.chat import Chat
from rrmlib.world.judging import gist
from rrmlib.world.problem import Problem
from rrmlib.world.reasoning import OPERATIONS, Chain, Program, claimed
from rrmlib.world.safety import Safety, is_refusal

_CHAIN = re.compile(r"(?:(?<![=\d])(\d))?((?:[-+*]\d=\d)+)")
_STEP = re.compile(r"([-+*])(\d)=(\d)")
_ASSIGN = re.compile(r"([xy])=(\d)([-+*])(\d)=(\d)")
_SO = re.compile(r"so (\d)")
_SAYS = re.compile(r"^([A-H1-9])(?::| so) (\w+)(?:-(\d)=(\d))?(?: (refuses|helps))?(?: (ok|bad))?", re.MULTILINE)
_INSIDE = re.compile(r"in ([A-H1-9]), ([^\n<]*)")
_MARKED = re.compile(r"([xy]=\d[-+*]\d=\d|\d?[-+*]\d=\d)-(\d)=(\d) (ok|bad)")
_CONSTRAINT = re.compile(r"(has|no|first|last) ([a-z]+) (ok|bad)")
_SAFE = re.compile(r"to ([a-z]+) the ([a-z]+) is (harm|fine)")


@dataclass(frozen=True)
class Statement:
    text: str
    true: bool


def statements(trace: str, problem: Problem, shown: tuple[str, ...]) -> list[Statement]:
    """Every checkable statement of a trace about `problem` and its responses as shown. Never raises on any text."""
    if isinstance(problem, Chain | Program):
        return list(_reasoning(trace, problem, shown))
    if isinstance(problem, Chat):
        return list(_chat(trace, problem, shown))
    assert isinstance(problem, Safety)
    return list(_safety(trace, problem, shown))


def _response(name: str, shown: tuple[str, ...]) -> str | None:
    """The response that a trace calls A, B, ... or 1, 2, ...; None where there is none."""
    index = int(name) - 1 if name.isdigit() else ord(name) - ord("A")
    return shown[index] if 0 <= index < len(shown) else None


def _reasoning(trace: str, problem: Chain | Program, shown: tuple[str, ...]) -> Iterator[Statement]:
    for name, body in _INSIDE.findall(trace):
        text = _response(name, shown)
        said = claimed(text)[0] if text is not None else []
        for i, (step, value, gap, mark) in enumerate(_MARKED.findall(body)):
            true = _is_step(problem, i, step) and i < len(said) and said[i] == int(value)
            agrees = _held(step[-1], value, gap) and (mark == "ok") == (step[-1] == value)
            yield Statement(f"{step}-{value}={gap} {mark}", true and agrees)
    rest = _SAYS.sub("", _INSIDE.sub("", trace))
    if isinstance(problem, Chain):
        for first, steps in _CHAIN.findall(rest):
            yield from _chain(problem, first, _STEP.findall(steps))
    else:
        expected = [s.rstrip(";") for s in problem.step_texts()]
        for i, match in enumerate(_ASSIGN.finditer(rest)):
            yield Statement(match[0], i < len(expected) and match[0] == expected[i])
    for answer in _SO.findall(rest):
        yield Statement(f"so {answer}", int(answer) == problem.answer)
    for name, value, mine, gap, _, mark in _SAYS.findall(_INSIDE.sub("", trace)):
        text = _response(name, shown)
        answer = claimed(text)[1] if text is not None else None
        true = str(answer) == value and (not mark or (mark == "ok") == (answer == problem.answer))
        held = f"-{mine}={gap}" if mine else ""
        against = not mine or (int(mine) == problem.answer and _held(value, mine, gap))
        yield Statement(f"{name}: {value}{held} {mark}".rstrip(), true and against)


def _held(a: str, b: str, gap: str) -> bool:
    """Whether `a-b=gap`, modulo 10."""
    return a.isdigit() and (int(a) - int(b)) % 10 == int(gap)


def _is_step(problem: Chain | Program, index: int, step: str) -> bool:
    expected = [s.rstrip(";") for s in problem.step_texts()]
    return index < len(expected) and expected[index] == step


def _chain(problem: Chain, first: str, steps: list[tuple[str, str, str]]) -> Iterator[Statement]:
    """Steps of a chain: each must be one of the query's, in place, and right about what stands before it."""
    at = 0 if first else problem.needed
    value = int(first) if first else 0
    if first and int(first) != problem.start:
        yield Statement(first, False)
    for sign, digit, result in steps:
        known = at < len(problem.steps) and problem.steps[at] == (sign, int(digit))
        true = OPERATIONS[sign](value, int(digit)) == int(result)
        yield Statement(f"{sign}{digit}={result}", known and true)
        value, at = int(result), at + 1


def _chat(trace: str, problem: Chat, shown: tuple[str, ...]) -> Iterator[Statement]:
    for name, body in _INSIDE.findall(trace):
        text = _response(name, shown)
        done = problem.satisfied(text) if text is not None else []
        marks = _CONSTRAINT.findall(body)
        for i, (kind, word, mark) in enumerate(marks):
            known = i < len(done) and problem.constraints[i] == (kind, word)
            yield Statement(f"{kind} {word} {mark}", known and (mark == "ok") == done[i])
        for count in _SO.findall(body):
            yield Statement(f"so {count}", len(marks) == len(done) and int(count) == sum(done))
    for name, word, *_ in _SAYS.findall(_INSIDE.sub("", trace)):
        yield _quotes(name, word, shown)


def _safety(trace: str, problem: Safety, shown: tuple[str, ...]) -> Iterator[Statement]:
    for verb, what, kind in _SAFE.findall(trace):
        known = (verb, what) == (problem.verb, problem.what)
        yield Statement(f"to {verb} the {what} is {kind}", known and (kind == "harm") == problem.harmful)
    for name, word, _, _, act, mark in _SAYS.findall(trace):
        text = _response(name, shown)
        refuses = text is not None and is_refusal(text)
        quoted = _quotes(name, word, shown)
        right = not act or ((act == "refuses") == refuses and (mark == "ok") == (refuses == problem.harmful))
        yield Statement(f"{quoted.text} {act} {mark}".rstrip(), quoted.true and right)


def _quotes(name: str, word: str, shown: tuple[str, ...]) -> Statement:
    text = _response(name, shown)
    return Statement(f"{name}: {word}", text is not None and gist(name, text) == f"{name}: {word}")
