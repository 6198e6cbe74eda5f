"""Chat problems: a list of words under constraints that can be checked; quality is the share that is satisfied.

    >>> p = Chat((("has", "sun"), ("no", "dog"), ("first", "cat")))
    >>> p.query, p.grade("cat sun tree owl"), p.grade("sure! here it is: owl dog sun. hope it helps!")
    ('words: has sun, no dog, first cat', 1.0, 0.3333333333333333)

Chat-hard pairs come from the same problems: the longer and more polished response is the one that breaks a constraint.
In ordinary chat pairs polish and length say nothing.

Left out: whether the words make sense.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

WORDS = tuple(
    [
        "sun",
        "cat",
        "owl",
        "sky",
        "map",
        "cup",
        "hat",
        "ink",
        "jar",
        "key",
        "log",
        "net",
        "oak",
        "pen",
        "rug",
        "saw",
        "tea",
        "van",
        "wax",
        "fox",
    ]
)
KINDS = ("has", "no", "first", "last")
BEFORE = ("sure! here it is: ", "of course! happy to help: ")
AFTER = (". hope it helps!", ". have a nice day!")
_HEADER = re.compile(r"(Chat: )?words: (.+)")


@dataclass(frozen=True)
class Chat:
    constraints: tuple[tuple[str, str], ...]
    header: str = ""
    family = "chat"

    @property
    def query(self) -> str:
        return f"{self.header}words: {', '.join(f'{kind} {word}' for kind, word in self.constraints)}"

    @property
    def canonical(self) -> str:
        return f"chat {', '.join(sorted(f'{kind} {word}' for kind, word in self.constraints))}"

    @property
    def difficulty(self) -> int:
        return len(self.constraints)

    def satisfied(self, response: str) -> list[bool]:
        """For each constraint, whether the words of `response` satisfy it."""
        found = words_of(response)
        return [
            {
                "has": word in found,
                "no": word not in found,
                "first": found[:1] == [word],
                "last": found[-1:] == [word],
            }[kind]
            for kind, word in self.constraints
        ]

    def grade(self, response: str) -> float:
        done = self.satisfied(response)
        return sum(done) / len(done) if words_of(response) else 0.0

    def respond(self, rng: random.Random, wanted: list[bool], polished: bool = False) -> str:
        """A response of 4 to 6 words that satisfies exactly the constraints that `wanted` says."""
        named = {word for _, word in self.constraints}
        while True:
            inside: list[str] = []
            ends: dict[str, list[str]] = {"first": [], "last": []}
            for (kind, word), ok in zip(self.constraints, wanted):
                if kind in ("first", "last"):
                    if ok:
                        ends[kind] = [word]
                    elif rng.random() < 0.5:
                        inside.append(word)  # a near miss: the word is there, in the wrong place
                elif (kind == "has") == ok:
                    inside.append(word)
            length = rng.randint(4, 6)
            spare = [w for w in WORDS if w not in named]
            rng.shuffle(spare)
            while len(inside) + len(ends["first"] + ends["last"]) < length:
                inside.append(spare.pop())
            rng.shuffle(inside)
            words = ends["first"] + inside + ends["last"]
            if self.satisfied(" ".join(words)) == wanted:
                return polish(" ".join(words), rng) if polished else " ".join(words)


def polish(text: str, rng: random.Random) -> str:
    """The same words, wrapped in politeness."""
    return rng.choice(BEFORE) + text + rng.choice(AFTER)


def is_polished(response: str) -> bool:
    return "!" in response


def words_of(response: str) -> list[str]:
    """The list of words in a response, without what is wrapped around it."""
    for before in BEFORE:
        response = response.removeprefix(before)
    for after in AFTER:
        response = response.removesuffix(after)
    return response.split()


def draw(rng: random.Random, header: str = "") -> Chat:
    """Two to four constraints on different words, at most one on each end."""
    kinds = rng.sample(["has", "has", "no", "no", "first", "last"], rng.choice((2, 3, 3, 4)))
    return Chat(tuple(zip(kinds, rng.sample(WORDS, len(kinds)))), header)


def read_query(query: str) -> Chat | None:
    """The problem that a query states; None where it is no chat problem."""
    match = _HEADER.fullmatch(query)
    if not match:
        return None
    parts = [part.split(" ") for part in match[2].split(", ")]
    if not all(len(part) == 2 and part[0] in KINDS for part in parts):
        return None
    return Chat(tuple((kind, word) for kind, word in parts), match[1] or "")
