"""The world's checker: which statements does a trace make, and are they true?

A trace is read as a person would: every step of arithmetic, every quotation of a response, every mark `ok` or `bad`,
every count and every `harm` or `fine` is a statement about the query, the responses or arithmetic. Text that states
nothing (`just guess`) is neither true nor false; a trace with no statement is counted apart, not as faithful.

Left out: whether the verdict is right (that is the reward), and whether it follows from the trace.

    >>> from rrmlib.world.reasoning import Chain
    >>> c = Chain(3, (("+", 4), ("*", 2)))
    >>> [s for s in statements("work\\nfrom 3 a+4=7 b*2=5 so 5\\n1: 4 ok", c, ("4", "6")) if not s.true]
    [Statement(text='b*2=5', true=False), Statement(text='so 5', true=False)]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rrmlib.world.chat import CLASS_OF, Chat, words_of
from rrmlib.world.judging import gist
from rrmlib.world.problem import Problem
from rrmlib.world.reasoning import NAMES, Chain, Program, claimed
from rrmlib.world.safety import Safety, is_refusal

_STEP = re.compile(r"(?:^|\s)([a-h][-+*=][^\s<]*)(?: (ok|bad)\b)?")
_FROM = re.compile(r"from (\d)")
_SO = re.compile(r"so (\d)")
_SAYS = re.compile(r"^([A-H1-9])(?::| so) (\w+)(?:-(\d)=(\d))?(?: (refuses|helps))?(?: (ok|bad))?", re.MULTILINE)
_INSIDE = re.compile(r"in ([A-H1-9]), ([^\n<]*)")
_THEN = re.compile(r"then ([A-H1-9]) (ok|bad)")
_HELD = re.compile(r"(.*=(\d))-(\d)=(\d)")
_CONSTRAINT = re.compile(r"(has|no|first|last) ([a-z]+) ([a-z]+(?: (?:first|mid|last))?) (ok|bad)")
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
    expected = {text[0]: text for text in problem.step_texts()}
    start = problem.start if isinstance(problem, Chain) else None
    for digit in _FROM.findall(trace):
        yield Statement(f"from {digit}", int(digit) == start)
    for name, body in _INSIDE.findall(trace):
        text = _response(name, shown)
        said = dict(zip(NAMES, claimed(text)[0])) if text is not None else {}
        for words, mark in _STEP.findall(body):
            yield Statement(f"{words} {mark}".rstrip(), _is_check(words, mark, expected, said))
    for name, mark in _THEN.findall(trace):
        text = _response(name, shown)
        yield Statement(f"then {name} {mark}", text is not None and (mark == "ok") == (problem.grade(text) == 1))
    rest = _SAYS.sub("", _INSIDE.sub("", trace))
    for words, _ in _STEP.findall(rest):
        yield Statement(words, expected.get(words[0]) == words)
    for answer in _SO.findall(rest):
        yield Statement(f"so {answer}", int(answer) == problem.answer)
    for name, value, mine, gap, _, mark in _SAYS.findall(_INSIDE.sub("", trace)):
        text = _response(name, shown)
        answer = claimed(text)[1] if text is not None else None
        true = str(answer) == value and (not mark or (mark == "ok") == (answer == problem.answer))
        held = f"-{mine}={gap}" if mine else ""
        against = not mine or (int(mine) == problem.answer and _held(value, mine, gap))
        yield Statement(f"{name}: {value}{held} {mark}".rstrip(), true and against)


def _is_check(words: str, mark: str, expected: Mapping[str, str], said: Mapping[str, int]) -> bool:
    """Whether `b*2=4-6=8` with its mark is the query's step, computed rightly and held against what was said of it."""
    match = _HELD.fullmatch(words)
    if not match or expected.get(words[0]) != match[1] or said.get(words[0]) != int(match[3]):
        return False
    return _held(match[2], match[3], match[4]) and (mark == "ok") == (match[2] == match[3])


def _held(a: str, b: str, gap: str) -> bool:
    """Whether `a-b=gap`, modulo 10."""
    return a.isdigit() and (int(a) - int(b)) % 10 == int(gap)


def _chat(trace: str, problem: Chat, shown: tuple[str, ...]) -> Iterator[Statement]:
    for name, body in _INSIDE.findall(trace):
        text = _response(name, shown)
        words = words_of(text) if text is not None else []
        done = problem.satisfied(text) if text is not None else []
        quoted, _, marked = body.partition(";")
        yield Statement(quoted, words_of(quoted) == words)
        marks = _CONSTRAINT.findall(marked)
        for i, (kind, wanted, found, mark) in enumerate(marks):
            known = i < len(done) and problem.constraints[i] == (kind, wanted)
            agrees = known and (mark == "ok") == done[i]
            yield Statement(f"{kind} {wanted} {found} {mark}", agrees and found in _found(words, kind, wanted))
        for count in _SO.findall(marked):
            yield Statement(f"so {count}", len(marks) == len(done) and int(count) == sum(done))
    for name, word, *_ in _SAYS.findall(_INSIDE.sub("", trace)):
        yield _quotes(name, word, shown)


def _found(words: list[str], kind: str, wanted: str) -> set[str]:
    """What can be said to be found of a class: its words, with their places where these count; else `none`."""
    at = [(i, word) for i, word in enumerate(words) if CLASS_OF.get(word) == wanted]
    where = {0: " first", len(words) - 1: " last"}
    return {word + (where.get(i, " mid") if kind in ("first", "last") else "") for i, word in at} or {"none"}


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
