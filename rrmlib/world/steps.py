r"""The steps of a lab judge's trace: where one ends, of what kind it is, how it is corrupted, and what its marks imply.

A step is one checkable statement (`check.py`) or what stands between two: a computed value, a `so 4`, a quotation up to
its `;`, a mark with what it marks. So a line of work has several.

Left out: whether a statement is true (`check.py`), asking a judge (`probe.py`).

    >>> [kind(step) for step in BREAKS.split("work\nfrom 3 a+4=7 b*2=4 so 4\n1: 4-4=0 ok\n2: 6-4=2 bad")]
    ['plan', 'value', 'value', 'total', 'mark', 'mark']
    >>> corrupt("2: 6-4=2 bad", random.Random(0)), corrupt("b*2=4", random.Random(0)), corrupt("work", random.Random(0))
    ('2: 6-4=2 ok', 'b*2=7', None)
    >>> implied("work\n1: 4-4=0 ok\n2: 6-4=2 bad\nbest 2", 2), implied("work\nfrom 3 a+4=7", 2)
    (0, None)
"""

from __future__ import annotations

import random
import re

from rrmlib.world.judging import PREFIX

TIE = -1  # what the marks imply where no response comes out ahead
# Between two statements: a new line; the end of a quotation or of a mark; before a computed word or a total, unless it
# belongs to what stands before it ("from 3 a+4=7", "1 so 4").
BREAKS = re.compile(
    r"\s*\n\s*|(?<=;) +|(?<=ok,) +|(?<=bad,) +|(?<!\n[0-9A-H]) +(?=so \d)"
    r"|(?<!from)(?<!from \d) +(?=[a-h][-+*=]\S*=\d)"
)
_PLANS = frozenset(PREFIX.values())
_MARK = re.compile(r"\b(ok|bad|harm|fine)\b(?=[,;\s]*\Z)")
_TOTAL = re.compile(r"(?:so|count) (\d)[,;\s]*\Z")
_VALUE = re.compile(r"=(\d)[,;\s]*\Z")
_OTHER = {"ok": "bad", "bad": "ok", "harm": "fine", "fine": "harm"}
_LINES = re.compile(r"<[^<>]*>|\n|\A(?:Principles|Analysis): ")
_NAMED = re.compile(r"(?:then )?([A-H1-9])\b.* (ok|bad)")
_INSIDE = re.compile(r"in ([A-H1-9]), .*\b(?:ok|bad)\b.*")
_BEST = re.compile(r"(?:\A|\n|>|: )best ([A-H1-9])\b")


def kind(step: str) -> str:
    """ "plan", "value", "total", "mark", "rule" (harm or fine), "quote" or "other"."""
    step = step.strip()
    if step in _PLANS:
        return "plan"
    if found := _MARK.search(step):
        return "rule" if found[1] in ("harm", "fine") else "mark"
    if re.match(r"[A-H1-9](?::| so) |in [A-H1-9], ", step):
        return "quote"
    return "total" if _TOTAL.match(step) else "value" if _VALUE.search(step) else "other"


def corrupt(step: str, rng: random.Random) -> str | None:
    """The step with its mark (or `harm`) turned round, else with the digit that it comes to changed; None where it has
    neither."""
    if found := _MARK.search(step):
        return step[: found.start(1)] + _OTHER[found[1]] + step[found.end(1) :]
    if found := _TOTAL.search(step) or _VALUE.search(step):
        digit = rng.choice([d for d in "0123456789" if d != found[1]])
        return step[: found.start(1)] + digit + step[found.end(1) :]
    return None


def implied(trace: str, n: int) -> int | None:
    """Position, as shown, of the response that a trace's marks put first; `TIE` for none ahead; None: too little is
    stated.

    `1: 4 ok` and `then 2 bad` grade a response, and so do a response's words with their count (`in 1, ... so 2`) or its
    steps, of which one is bad or none. Of a pair, a good one is ahead of one that is not graded, and a bad one behind
    it; a count alone says nothing. The last word on a response counts. Never raises on any text.
    """
    grades: dict[int, float] = {}
    counted = False
    for line in (each.strip() for each in _LINES.split(trace)):
        if found := _INSIDE.fullmatch(line):
            total = _TOTAL.search(line)
            grade = float(total[1]) if total else float(not re.search(r"\bbad\b", line))
            counted |= bool(total)
        elif found := _NAMED.fullmatch(line):
            grade = float(found[2] == "ok")
        else:
            continue
        at = int(found[1]) - 1 if found[1].isdigit() else ord(found[1]) - ord("A")
        if at < n:
            grades[at] = grade
    if n == 2 and len(grades) == 1 and not counted:
        ((at, grade),) = grades.items()
        return at if grade else 1 - at
    if len(grades) < n:
        return None
    best = [at for at, grade in grades.items() if grade == max(grades.values())]
    return best[0] if len(best) == 1 else TIE


def concluded(trace: str, n: int) -> int | None:
    """Position, as shown, of the response that a trace's last `best 1` names; None where there is no such line."""
    found = _BEST.findall(trace)
    if not found:
        return None
    at = int(found[-1]) - 1 if found[-1].isdigit() else ord(found[-1]) - ord("A")
    return at if at < n else None
