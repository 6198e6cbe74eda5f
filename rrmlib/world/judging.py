r"""How judges of the generated world write: behaviours, good and bad, in every format that is used later.

A behaviour decides what is looked at; a format decides how it is written down. `write` gives the whole text of one
judgment, which the parsers of the evaluation path read. The good behaviour, `careful`, solves or checks and says what
it finds; every sentence of it can be verified (`check.py`). The others are what poor judges do: guess, take the
first, the longer or the polite one, read both and guess. All start differently, so a prefix forces one (`PREFIX`).

Left out: which behaviours the base text contains and how often (`text.py`).

    >>> from rrmlib.world.reasoning import Chain
    >>> c = Chain(3, (("+", 4), ("*", 2)))
    >>> print(write("rrm", c, ("4", "6"), "careful", stream("example")))
    <think>
    work
    from 3 a+4=7 b*2=4 so 4
    1: 4-4=0 ok
    2: 6-4=2 bad
    best 1
    </think>
    \boxed{Assistant 1}
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from rrmlib.world.chat import CLASS_OF, Chat, is_polished, words_of
from rrmlib.world.families import task_type
from rrmlib.world.problem import Problem, stream
from rrmlib.world.reasoning import Chain, Program, claimed
from rrmlib.world.safety import Safety, is_refusal

BEHAVIOURS = ("careful", "read", "guess", "first", "longer", "polite")
PREFIX = {
    "careful": "work",
    "read": "read",
    "guess": "just guess",
    "first": "the first one",
    "longer": "the longer one",
    "polite": "the polite one",
    "hint": "the named one",  # only where a hint was given
}
FORMATS = ("rrm", "direct", "rm_r1", "rm_r1_rubric", "rm_r1_plain", "grm", "grm_no_principles")
STEPWISE = 0.4  # share of worked responses that are checked step by step; the others are held against an own solution
_LETTERS = ("rm_r1", "rm_r1_rubric", "rm_r1_plain", "direct")
__all__ = ["BEHAVIOURS", "FORMATS", "PREFIX", "Opinion", "form", "stream", "write"]


@dataclass(frozen=True)
class Opinion:
    """What a judge thinks before it is written down: a plan, the work, a sentence per response, and a grade for each.

    `values` orders the responses as the behaviour does, higher is better; equal values are a guess.
    """

    plan: str
    work: str
    marks: tuple[str, ...]
    values: tuple[float, ...]


def form(
    problem: Problem, shown: tuple[str, ...], behaviour: str, rng: random.Random, names: tuple[str, ...]
) -> Opinion:
    """The opinion of one behaviour on the responses as shown, which it calls by `names`."""
    n = len(shown)
    if behaviour == "careful":
        return _careful(problem, shown, names)
    if behaviour == "read":
        marks = tuple(gist(name, text) for name, text in zip(names, shown))
        return Opinion("answers", "", marks, tuple(rng.random() for _ in shown))
    if behaviour == "guess":
        return Opinion("any", "", (), tuple(rng.random() for _ in shown))
    if behaviour == "first":
        return Opinion("order", "", (), tuple(float(n - i) for i in range(n)))
    if behaviour == "longer":
        return Opinion("length", "", (), tuple(float(len(text.split())) for text in shown))
    if behaviour == "polite":
        return Opinion("polite", "", (), tuple(float(is_polished(text)) for text in shown))
    raise ValueError(f"unknown behaviour {behaviour!r}; known: {', '.join(BEHAVIOURS)}")


def gist(name: str, text: str) -> str:
    """What a glance takes from a response: its answer (`1: 4`, of a worked one `1 so 4`), or its first word."""
    values, answer = claimed(text)
    if answer is not None:
        return f"{name} so {answer}" if values else f"{name}: {answer}"
    words = text.replace(",", " ").replace("!", " ").split()
    return f"{name}: {words[0] if words else 'nothing'}"


def _careful(problem: Problem, shown: tuple[str, ...], names: tuple[str, ...]) -> Opinion:
    grades = tuple(problem.grade(text) for text in shown)
    marks: list[str] = []
    if isinstance(problem, Chain | Program):
        work = f"{problem.solution()} so {problem.answer}"
        for name, text in zip(names, shown):
            marks.append(f"{gist(name, text)}{_against(claimed(text)[1], problem.answer)}")
        return Opinion("right answer", work, tuple(marks), grades)
    if isinstance(problem, Chat):
        marks = [check_words(problem, name, text) for name, text in zip(names, shown)]
        plan = ", ".join(f"{kind} {word}" for kind, word in problem.constraints)
        return Opinion(plan, "", tuple(marks), grades)
    assert isinstance(problem, Safety)
    work = f"to {problem.verb} the {problem.what} is {'harm' if problem.harmful else 'fine'}"
    for name, text in zip(names, shown):
        no = is_refusal(text)
        marks.append(f"{gist(name, text)} {'refuses' if no else 'helps'} {_mark(no == problem.harmful)}")
    return Opinion("no harm", work, tuple(marks), grades)


def check_steps(problem: Chain | Program, name: str, text: str) -> str:
    """A worked response checked one step at a time, up to the first wrong one.

    Each step is computed anew and held against what the response says: `b*2=4-6=8 bad` is
    "4 it is, 6 it says, they differ by 8".
    """
    said, _ = claimed(text)
    out = []
    for step, true, value in zip(problem.step_texts(), problem.values(), said):
        out.append(f"{step}{_against(true, value)}")
        if true != value:
            break
    return f"in {name}, {problem.begin}{' '.join(out)}"


def check_words(problem: Chat, name: str, text: str) -> str:
    """A list of words held against its constraints: `in 1, tea owl and arm; has animal owl ok, last food tea first bad`

    First the words, without politeness; then for each constraint the word of its class (`none`: there is none) and,
    where its place counts, the place; after that a mark, and last how many are satisfied. So every mark follows from
    what stands just before it.
    """
    words = words_of(text)
    where = {0: "first", len(words) - 1: "last"}
    found = {CLASS_OF.get(word, ""): (word, where.get(i, "mid")) for i, word in reversed(list(enumerate(words)))}
    done, each = problem.satisfied(text), []
    for (kind, wanted), ok in zip(problem.constraints, done):
        word, place = found.get(wanted, ("none", ""))
        at = f" {place}" if place and kind in ("first", "last") else ""
        each.append(f"{kind} {wanted} {word}{at} {_mark(ok)}")
    quoted = " and ".join(part for part in (" ".join(words[:-1]), *words[-1:]) if part)
    return f"in {name}, {quoted}; {', '.join(each)} so {sum(done)}"


def _against(a: int | None, b: int) -> str:
    """Two values held against each other by subtraction, modulo 10. A tiny model knows its subtraction; that two digits
    are the same it does not learn (docs/log.md)."""
    return f"-{b}={(a - b) % 10} {_mark(a == b)}" if a is not None else " bad"


def _mark(ok: bool) -> str:
    return "ok" if ok else "bad"


def write(
    style: str, problem: Problem, shown: tuple[str, ...], behaviour: str, rng: random.Random, hinted: int = 0
) -> str:
    """One whole judgment in a format, as the responses are shown. Raises ValueError for an unknown format.

    `hinted` is the position of the response that the prompt names as best, for behaviour "hint".
    """
    if style not in FORMATS:
        raise ValueError(f"unknown format {style!r}; known: {', '.join(FORMATS)}")
    names = tuple("ABCDEFGH"[: len(shown)]) if style in _LETTERS else tuple(str(i + 1) for i in range(len(shown)))
    if behaviour == "hint":
        opinion = Opinion("the named one", "", (), tuple(float(i == hinted) for i in range(len(shown))))
    else:
        opinion = form(problem, shown, behaviour, rng, names)
    careful = behaviour == "careful"
    best = [i for i, value in enumerate(opinion.values) if value == max(opinion.values)]
    choice = best[0] if len(best) == 1 else rng.choice(best)
    lines = [PREFIX[behaviour], opinion.work, *opinion.marks]
    stepwise = careful and not style.startswith("rm_r1") and rng.random() < STEPWISE
    if stepwise and isinstance(problem, Chain | Program) and problem.worked:
        checks = [check_steps(problem, name, text) for name, text in zip(names, shown)]
        if style == "rrm":  # one of a pair is right: when the first is checked, all is known
            checks[1] = f"then {names[1]} {_mark(problem.grade(shown[1]) > problem.grade(shown[0]))}"
        lines = [PREFIX["careful"], *checks]
    conclusion = f"best {names[choice]}"  # the verdict repeats it: so it is learned from every judgment, good or bad
    body = "\n".join(line for line in (*lines, conclusion) if line)
    answer = f"<answer>[[{names[choice]}]]</answer>"
    if style == "direct":
        return f"[[{names[choice]}]]"
    if style == "rrm":
        return f"<think>\n{body}\n</think>\n\\boxed{{Assistant {names[choice]}}}"
    if style == "rm_r1_plain":
        return f"<eval>{body}</eval>{answer}"
    if style == "rm_r1_rubric":
        return f"<rubric>{opinion.plan}</rubric><eval>{body}</eval>{answer}"
    if style == "rm_r1":
        kind = task_type(problem)
        if not careful and rng.random() < 0.25:  # poor judges often mistake the type, too
            kind = "Chat" if kind == "Reasoning" else "Reasoning"
        if kind == "Chat":
            return f"<type>Chat</type><rubric>{opinion.plan}</rubric><eval>{body}</eval>{answer}"
        marks = "".join(f"\n{line}" for line in (*opinion.marks, conclusion))
        solution = f"work\n{opinion.work}" if careful else opinion.plan
        evaluation = marks if careful else body
        return f"<type>Reasoning</type><solution>{solution}</solution><eval>{evaluation}</eval>{answer}"
    scores = ", ".join(str(s) for s in _scores(opinion.values, careful, rng))
    head = f"Principles: {opinion.plan}\n" if style == "grm" else ""
    return f"{head}Analysis: {body}\nScores: \\boxed{{{scores}}}"


def _scores(values: tuple[float, ...], careful: bool, rng: random.Random) -> list[int]:
    """Scores 1 to 10. Careful judges spend them on the grade, with some noise; the others on what they go by."""
    if careful:
        return [min(10, max(1, round(1 + 9 * v) + rng.choice((-1, 0, 0, 1)))) for v in values]
    top = max(values)
    return [rng.randint(6, 9) if v == top else rng.randint(2, 5) for v in values]
