"""Reasoning problems: chains of operations, programs of named values, and counters; all arithmetic is modulo 10.

Chain `3 a+4 b*2 c-5=?`: three steps, each with a name, from left to right. Program `x=3 y=5 a=x+y b=y-a? c=a*b`: lines,
each the sum, difference or product of two values; the line with `?` is asked. Counter `x=3 a=x+4 b=a*2?` is the family
that nothing is ever trained on (out of distribution): its parts are known from the other two (lines from programs,
digits as operands from chains), their combination is not. A query that ends in " show" wants the value after every step
(`a7,b4,c9 so 9`), any other the answer alone (`9`).

Steps have names so that a small model can find its place: next in a solution is what follows a name in the query, one
look-up away. Without names it must count, and two layers do not (docs/log.md).

Difficulty varies at equal length of the query: in a chain nothing before the last `*0` matters, in a program nothing
behind the line that is asked. A slip computes one step with another operation or number, as careless people do, and
goes on correctly: the value of a slip is distributed like the value of a step, so a wrong solution does not look wrong
unless it is held against its query.

    >>> c = Chain(3, (("+", 4), ("*", 2), ("-", 5)), worked=True)
    >>> c.query, c.right, c.solution()
    ('3 a+4 b*2 c-5=? show', 'a7,b4,c9 so 9', 'from 3 a+4=7 b*2=4 c-5=9')
    >>> p = Program(3, 5, (("x", "+", "y"), ("y", "-", "a"), ("a", "*", "b")), asked=1)
    >>> p.query, p.solution(), p.answer
    ('x=3 y=5 a=x+y b=y-a? c=a*b', 'from a=x+y=3+5=8 b=y-a=5-8=7', 7)
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

OPERATIONS = {"+": lambda a, b: (a + b) % 10, "-": lambda a, b: (a - b) % 10, "*": lambda a, b: (a * b) % 10}
NAMES = "abcdefgh"  # of the steps
_SIGNS = "++--*"  # drawn from: products of digits are even too often
Step = tuple[str, int]
Line = tuple[str, str, str]  # left, sign, right: names of values, in a counter also digits


@dataclass(frozen=True)
class _Reasoning:
    """What the families share: values of all steps that are wanted, the right response, grading."""

    def values(self) -> list[int]:
        raise NotImplementedError

    @property
    def worked(self) -> bool:
        raise NotImplementedError

    @property
    def answer(self) -> int:
        return self.values()[-1]

    @property
    def right(self) -> str:
        return write(self.values(), self.answer, self.worked)

    def grade(self, response: str) -> float:
        return float(response.strip() == self.right)


def write(values: list[int], answer: int, worked: bool) -> str:
    """A response: the values of all steps and the answer, or the answer alone."""
    steps = ",".join(f"{name}{value}" for name, value in zip(NAMES, values))
    return f"{steps} so {answer}" if worked else str(answer)


def claimed(response: str) -> tuple[list[int], int | None]:
    """(values of the steps, answer) that a response states; ([], None) where it states nothing that can be read."""
    match = re.fullmatch(r"(?:([a-h]\d(?:,[a-h]\d)*) so )?(\d)", response.strip())
    if not match:
        return [], None
    return [int(v) for v in re.findall(r"\d", match[1] or "")], int(match[2])


@dataclass(frozen=True)
class Chain(_Reasoning):
    start: int
    steps: tuple[Step, ...]
    worked: bool = False
    header: str = ""
    family = "chain"

    def _named(self) -> str:
        return " ".join([str(self.start), *(f"{name}{s}{d}" for name, (s, d) in zip(NAMES, self.steps))])

    @property
    def query(self) -> str:
        return f"{self.header}{self._named()}=?{' show' * self.worked}"

    @property
    def canonical(self) -> str:
        return f"chain {self._named()}"

    @property
    def shown(self) -> int:
        """Steps that the query shows, whether they matter or not."""
        return len(self.steps)

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

    def step_texts(self) -> list[str]:
        """Every step with its value."""
        return [f"{name}{s}{d}={v}" for name, (s, d), v in zip(NAMES, self.steps, self.values())]

    @property
    def begin(self) -> str:
        """What is written before the first step."""
        return f"from {self.start} "

    def solution(self) -> str:
        """The steps that matter, written out: `from 3 a+4=7 b*2=4`, or `from b*0=0 c+1=1`."""
        first = self.needed
        begin = "from " if self.steps[first] == ("*", 0) else self.begin
        return begin + " ".join(self.step_texts()[first:])

    def slip(self, rng: random.Random) -> list[int]:
        """The values of an attempt with one slip that changes the answer."""
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
                return out


@dataclass(frozen=True)
class Program(_Reasoning):
    """`lines`: (left, sign, right) of names; `asked`: the index of a line. A counter has no y, and digits on the right.

    Every line up to the one asked uses the line before it, so all of them are needed and no others.
    """

    x: int
    y: int | None
    lines: tuple[Line, ...]
    asked: int
    worked: bool = False
    header: str = ""

    @property
    def family(self) -> str:
        return "counter" if self.y is None else "program"

    def _named(self, upto: int, mark: int | None = None) -> str:
        given = [f"x={self.x}"] + ([] if self.y is None else [f"y={self.y}"])
        lines = [f"{name}={''.join(line)}{'?' * (i == mark)}" for i, (name, line) in enumerate(zip(NAMES, self.lines))]
        return " ".join([*given, *lines[:upto]])

    @property
    def query(self) -> str:
        return f"{self.header}{self._named(len(self.lines), self.asked)}{' show' * self.worked}"

    @property
    def canonical(self) -> str:
        """The lines that matter, operands in order where it is free; of two values given, whichever is called x.

        A counter is the chain that computes the same.
        """
        lines = self.lines[: self.asked + 1]
        if self.y is None:
            return Chain(self.x, tuple((sign, int(b)) for _, sign, b in lines)).canonical
        other, forms = {"x": "y", "y": "x"}, []
        for x, y, names in ((self.x, self.y, {}), (self.y, self.x, other)):
            named = ((names.get(a, a), sign, names.get(b, b)) for a, sign, b in lines)
            ordered = tuple((a, s, b) if s == "-" else (min(a, b), s, max(a, b)) for a, s, b in named)
            forms.append(Program(x, y, ordered, self.asked)._named(self.asked + 1))
        return f"program {min(forms)}"

    @property
    def shown(self) -> int:
        return len(self.lines)

    @property
    def difficulty(self) -> int:
        return self.asked + 1

    def run(self, wrong: int = -1, rng: random.Random | None = None) -> list[tuple[int, int, int]]:
        """(left value, right value, result) of each line up to the one asked; line `wrong` slips, drawn by `rng`."""
        now = {"x": self.x} | ({} if self.y is None else {"y": self.y})
        out = []
        for i, (name, (a, sign, b)) in enumerate(zip(NAMES[: self.asked + 1], self.lines)):
            left, right = (int(v) if v.isdigit() else now[v] for v in (a, b))
            result = true = OPERATIONS[sign](left, right)
            while i == wrong and result == true and rng:
                result = OPERATIONS[rng.choice(_SIGNS)](left, rng.randint(0, 9))
            now[name] = result
            out.append((left, right, result))
        return out

    def values(self) -> list[int]:
        return [result for _, _, result in self.run()]

    def step_texts(self) -> list[str]:
        return [
            f"{name}={a}{sign}{b}={left}{sign}{right}={result}"
            for name, (a, sign, b), (left, right, result) in zip(NAMES, self.lines, self.run())
        ]

    begin = "from "

    def solution(self) -> str:
        return self.begin + " ".join(self.step_texts())

    def slip(self, rng: random.Random) -> list[int]:
        while True:
            values = [result for _, _, result in self.run(rng.randrange(self.asked + 1), rng)]
            if values[-1] != self.answer:
                return values


def draw_chain(rng: random.Random, lengths: tuple[int, ...], header: str = "") -> Chain:
    """A chain of one of the given numbers of steps; about a third contain a `*0`."""
    n = rng.choice(lengths)
    steps = [(rng.choice(_SIGNS), rng.randint(1, 9)) for _ in range(n)]
    if rng.random() < 1 / 3:
        steps[rng.randrange(n)] = ("*", 0)
    return Chain(rng.randint(0, 9), tuple(steps), rng.random() < 0.5, header)


def draw_program(rng: random.Random, lengths: tuple[int, ...], header: str = "", counter: bool = False) -> Program:
    """A program (or counter) of one of the given numbers of lines; half of them ask for the last one."""
    n = rng.choice(lengths)
    given = "x" if counter else "xy"
    lines = []
    for i in range(n):
        before = NAMES[i - 1] if i else "x"
        if counter:
            lines.append((before, rng.choice(_SIGNS), str(rng.randint(1, 9))))
            continue
        pair = [before, rng.choice([v for v in [*given, *NAMES[:i]] if v != before])]
        rng.shuffle(pair)
        lines.append((pair[0], rng.choice(_SIGNS), pair[1]))
    asked = n - 1 if rng.random() < 0.5 else rng.randrange(n)
    start = rng.randint(0, 9), None if counter else rng.randint(0, 9)
    return Program(*start, tuple(lines), asked, rng.random() < 0.5, header)


_HEADER = r"(?P<header>(?:Math: )?)"
_CHAIN = re.compile(_HEADER + r"(?P<start>\d)(?P<steps>(?: [a-h][-+*]\d)+)=\?(?P<show>(?: show)?)")
_PROGRAM = re.compile(
    _HEADER + r"x=(?P<x>\d)(?: y=(?P<y>\d))?(?P<lines>(?: [a-h]=[a-hxy][-+*][a-hxy\d]\??)+)(?P<show>(?: show)?)"
)


def read_query(query: str) -> Chain | Program | None:
    """The problem that a query states; None where it is none of these families."""
    if match := _CHAIN.fullmatch(query):
        steps = re.findall(r"[a-h]([-+*])(\d)", match["steps"])
        found: Chain | Program = Chain(
            int(match["start"]), tuple((s, int(d)) for s, d in steps), bool(match["show"]), match["header"]
        )
    elif match := _PROGRAM.fullmatch(query):
        lines = re.findall(r"[a-h]=(.)(.)(.)(\??)", match["lines"])
        asked = [i for i, line in enumerate(lines) if line[3]]
        if len(asked) != 1:
            return None
        y = None if match["y"] is None else int(match["y"])
        known = {"x", *"0123456789"} | ({"y"} if y is not None else set())
        if any({a, b} - known - set(NAMES[:i]) for i, (a, _, b, _) in enumerate(lines)):
            return None  # a value that nothing has given
        found = Program(
            int(match["x"]), y, tuple((a, s, b) for a, s, b, _ in lines), asked[0], bool(match["show"]), match["header"]
        )
    else:
        return None
    return found if found.query == query else None  # names in order, or it is not a query of this world
