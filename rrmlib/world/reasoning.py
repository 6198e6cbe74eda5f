"""Reasoning problems: chains of operations, programs of two variables, and counters; all arithmetic is modulo 10.

Chain `3+4*2-5=?` is read from left to right. Program `x=3;y=5;x=x+y;y=y-x;x?` runs statement by statement. Counter
`x=3;x=x+4;x=x*2;x?` is the family that nothing is ever trained on (out of distribution): its parts are known from the
other two, their combination is not. A query that ends in " show" wants the value after every step (`7,4,9 so 9`), any
other the answer alone (`9`).

Difficulty varies at equal length of the query: in a chain nothing before the last `*0` matters, in a program statements
such as `x=x` do nothing. A slip computes one step with another operation or number, as careless people do, and goes on
correctly: the value of a slip is distributed like the value of a step, so a wrong solution does not look wrong unless
it is held against its query.

    >>> c = Chain(3, (("+", 4), ("*", 2), ("-", 5)), worked=True)
    >>> c.query, c.right, c.solution()
    ('3+4*2-5=? show', '7,4,9 so 9', '3+4=7*2=4-5=9')
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

OPERATIONS = {"+": lambda a, b: (a + b) % 10, "-": lambda a, b: (a - b) % 10, "*": lambda a, b: (a * b) % 10}
_SIGNS = "++--*"  # drawn from: products of digits are even too often
Step = tuple[str, int]


@dataclass(frozen=True)
class _Reasoning:
    """What the three families share: values of all steps, the right response, grading."""

    def values(self) -> list[int]:
        raise NotImplementedError

    @property
    def answer(self) -> int:
        raise NotImplementedError

    @property
    def worked(self) -> bool:
        raise NotImplementedError

    @property
    def right(self) -> str:
        return write(self.values(), self.answer, self.worked)

    def grade(self, response: str) -> float:
        return float(response.strip() == self.right)


def write(values: list[int], answer: int, worked: bool) -> str:
    """A response: the values of all steps and the answer, or the answer alone."""
    return f"{','.join(map(str, values))} so {answer}" if worked else str(answer)


def claimed(response: str) -> tuple[list[int], int | None]:
    """(values of the steps, answer) that a response states; ([], None) where it states nothing that can be read."""
    match = re.fullmatch(r"(?:(\d(?:,\d)*) so )?(\d)", response.strip())
    if not match:
        return [], None
    return [int(v) for v in match[1].split(",")] if match[1] else [], int(match[2])


@dataclass(frozen=True)
class Chain(_Reasoning):
    start: int
    steps: tuple[Step, ...]
    worked: bool = False
    header: str = ""
    family = "chain"

    @property
    def query(self) -> str:
        return f"{self.header}{self.start}{''.join(f'{s}{d}' for s, d in self.steps)}=?{' show' * self.worked}"

    @property
    def canonical(self) -> str:
        return f"chain {self.start}{''.join(f'{s}{d}' for s, d in self.steps)}"

    @property
    def needed(self) -> int:
        """Index of the first step that matters: the last `*0`, or 0."""
        return max([i for i, step in enumerate(self.steps) if step == ("*", 0)], default=0)

    @property
    def difficulty(self) -> int:
        return len(self.steps) - self.needed

    def values(self) -> list[int]:
        value, out = self.start, []
        for sign, digit in self.steps:
            value = OPERATIONS[sign](value, digit)
            out.append(value)
        return out

    @property
    def answer(self) -> int:
        return self.values()[-1]

    def solution(self) -> str:
        """The steps that matter, written out: `3+4=7*2=4`."""
        first, values = self.needed, self.values()
        head = "" if self.steps[first] == ("*", 0) else str(self.start)
        return head + "".join(f"{s}{d}={values[i]}" for i, (s, d) in enumerate(self.steps) if i >= first)

    def step_texts(self) -> list[str]:
        """Every step with its value, for checking a worked response one step at a time."""
        texts = [f"{s}{d}={v}" for (s, d), v in zip(self.steps, self.values())]
        return [f"{self.start}{texts[0]}", *texts[1:]]

    def slip(self, rng: random.Random) -> tuple[list[int], int, int]:
        """(values, answer, index of the wrong step) of an attempt with one slip that changes the answer."""
        while True:
            wrong, value = rng.randrange(self.needed, len(self.steps)), self.start
            out: list[int] = []
            for i, (sign, digit) in enumerate(self.steps):
                true = OPERATIONS[sign](value, digit)
                value = true
                while i == wrong and value == true:
                    before = out[-1] if out else self.start
                    value = OPERATIONS[rng.choice(_SIGNS)](before, rng.randint(1, 9))
                out.append(value)
            if out[-1] != self.answer:
                return out, out[-1], wrong


@dataclass(frozen=True)
class Program(_Reasoning):
    """`statements`: (target, left, sign, right) with names of variables, or ("x", "x", "", "") that does nothing."""

    x: int
    y: int
    statements: tuple[tuple[str, str, str, str], ...]
    asked: str
    worked: bool = False
    header: str = ""
    family = "program"

    @property
    def query(self) -> str:
        body = ";".join(f"{t}={a}{s}{b}" for t, a, s, b in self.statements)
        return f"{self.header}x={self.x};y={self.y};{body};{self.asked}?{' show' * self.worked}"

    @property
    def real(self) -> tuple[tuple[str, str, str, str], ...]:
        return tuple(s for s in self.statements if s[2])

    @property
    def canonical(self) -> str:
        def named(swap: bool) -> str:
            other = str.maketrans("xy", "yx") if swap else {}
            body = ";".join(f"{t}={a}{s}{b}" for t, a, s, b in self.real)
            x, y = (self.y, self.x) if swap else (self.x, self.y)
            return f"x={x};y={y};" + f"{body};{self.asked}".translate(other)

        return f"program {min(named(False), named(True))}"

    @property
    def difficulty(self) -> int:
        return len(self.real)

    def run(self, wrong: int = -1, rng: random.Random | None = None) -> tuple[list[tuple[int, int, int]], int]:
        """([(left value, right value, result) of each real statement], answer); step `wrong` slips, drawn by `rng`."""
        now, out = {"x": self.x, "y": self.y}, []
        for i, (target, a, sign, b) in enumerate(self.real):
            left, right = now[a], now[b]
            result = true = OPERATIONS[sign](left, right)
            while i == wrong and result == true and rng:
                result = OPERATIONS[rng.choice(_SIGNS)](left, rng.randint(0, 9))
            now[target] = result
            out.append((left, right, result))
        return out, now[self.asked]

    def values(self) -> list[int]:
        return [result for _, _, result in self.run()[0]]

    @property
    def answer(self) -> int:
        return self.run()[1]

    def step_texts(self) -> list[str]:
        return [f"{t}={a}{s}{b}={r};" for (t, _, s, _), (a, b, r) in zip(self.real, self.run()[0])]

    def solution(self) -> str:
        return "".join(self.step_texts())

    def slip(self, rng: random.Random) -> tuple[list[int], int, int]:
        while True:
            wrong = rng.randrange(len(self.real))
            done, answer = self.run(wrong, rng)
            if answer != self.answer:
                return [r for _, _, r in done], answer, wrong


@dataclass(frozen=True)
class Counter(Chain):
    """A chain written as a program of one variable; never trained on."""

    family = "counter"

    @property
    def query(self) -> str:
        body = "".join(f"x=x{s}{d};" for s, d in self.steps)
        return f"{self.header}x={self.start};{body}x?{' show' * self.worked}"

    @property
    def canonical(self) -> str:
        return f"counter {self.start}{''.join(f'{s}{d}' for s, d in self.steps)}"


def draw_chain(rng: random.Random, lengths: tuple[int, ...], header: str = "", counter: bool = False) -> Chain:
    """A chain (or counter) of one of the given numbers of steps; about a third contain a `*0`."""
    n = rng.choice(lengths)
    steps = [(rng.choice(_SIGNS), rng.randint(1, 9)) for _ in range(n)]
    if rng.random() < 1 / 3:
        steps[rng.randrange(n)] = ("*", 0)
    return (Counter if counter else Chain)(rng.randint(0, 9), tuple(steps), rng.random() < 0.5, header)


def draw_program(rng: random.Random, lengths: tuple[int, ...], header: str = "") -> Program:
    """A program of one of the given numbers of statements, of which some do nothing."""
    n = rng.choice(lengths)
    idle = rng.randint(0, n - 1) if rng.random() < 0.5 else 0
    idling = set(rng.sample(range(n), idle))
    statements = []
    for i in range(n):
        target = rng.choice("xy")
        left, right = rng.choice([("x", "y"), ("y", "x")])
        statements.append((target, target, "", "") if i in idling else (target, left, rng.choice(_SIGNS), right))
    asked = [s[0] for s in statements if s[2]][-1] if rng.random() < 0.8 else rng.choice("xy")
    if asked not in [s[0] for s in statements if s[2]]:  # a variable that nothing was assigned to has no steps to slip
        asked = [s[0] for s in statements if s[2]][-1]
    return Program(rng.randint(0, 9), rng.randint(0, 9), tuple(statements), asked, rng.random() < 0.5, header)


_HEADER = r"(?P<header>(?:Math: )?)"
_CHAIN = re.compile(_HEADER + r"(?P<start>\d)(?P<steps>(?:[-+*]\d)+)=\?(?P<show>(?: show)?)")
_COUNTER = re.compile(_HEADER + r"x=(?P<start>\d);(?P<steps>(?:x=x[-+*]\d;)+)x\?(?P<show>(?: show)?)")
_PROGRAM = re.compile(
    _HEADER + r"x=(?P<x>\d);y=(?P<y>\d);(?P<body>(?:[xy]=[xy](?:[-+*][xy])?;)+)(?P<asked>[xy])\?(?P<show>(?: show)?)"
)
_STATEMENT = re.compile(r"([xy])=([xy])([-+*]?)([xy]?);")


def read_query(query: str) -> Chain | Program | None:
    """The problem that a query states; None where it is none of these families."""
    if match := _CHAIN.fullmatch(query):
        kind: type[Chain] = Chain
    elif match := _COUNTER.fullmatch(query):
        kind = Counter
    elif match := _PROGRAM.fullmatch(query):
        statements = tuple((t, a, s, b) for t, a, s, b in _STATEMENT.findall(match["body"]))
        return Program(
            int(match["x"]), int(match["y"]), statements, match["asked"], bool(match["show"]), match["header"]
        )
    else:
        return None
    steps = tuple((s, int(d)) for s, d in re.findall(r"([-+*])(\d)", match["steps"]))
    return kind(int(match["start"]), steps, bool(match["show"]), match["header"])
