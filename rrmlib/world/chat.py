"""Chat problems: a list of words under constraints that can be checked; quality is the share that is satisfied.

    >>> p = Chat((("has", "animal"), ("no", "tool"), ("first", "food")))
    >>> p.query, p.grade("tea owl red and arm"), p.grade("sure! here it is: saw owl and red. hope it helps!")
    ('words: has animal, no tool, first food', 1.0, 0.3333333333333333)

Chat-hard and chat-easy pairs come from the same problems: the longer and more polished response is the one that breaks
a constraint, or the one that does not. In other chat pairs polish and length say nothing.

Left out: whether the words make sense.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

CLASSES = {
    "animal": ("cat", "owl", "fox", "hen"),
    "food": ("tea", "jam", "pie", "egg"),
    "tool": ("saw", "pen", "key", "net"),
    "color": ("red", "tan", "blue", "pink"),
    "body": ("arm", "leg", "toe", "ear"),
    "plant": ("oak", "ivy", "moss", "rose"),
}
WORDS = tuple(word for words in CLASSES.values() for word in words)
CLASS_OF = {word: name for name, words in CLASSES.items() for word in words}
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
        return f"{self.header}words: {', '.join(f'{kind} {name}' for kind, name in self.constraints)}"

    @property
    def canonical(self) -> str:
        return f"chat {', '.join(sorted(f'{kind} {name}' for kind, name in self.constraints))}"

    @property
    def difficulty(self) -> int:
        return len(self.constraints)

    def satisfied(self, response: str) -> list[bool]:
        """For each constraint, whether the words of `response` satisfy it."""
        found = [CLASS_OF.get(word, "") for word in words_of(response)]
        return [
            {
                "has": name in found,
                "no": name not in found,
                "first": found[:1] == [name],
                "last": found[-1:] == [name],
            }[kind]
            for kind, name in self.constraints
        ]

    def grade(self, response: str) -> float:
        done = self.satisfied(response)
        return sum(done) / len(done) if words_of(response) else 0.0

    def respond(self, rng: random.Random, wanted: list[bool], polished: bool = False) -> str:
        """A response of 4 to 6 words that satisfies exactly the constraints that `wanted` says."""
        spare = [name for name in CLASSES if name not in {named for _, named in self.constraints}]
        while True:
            inside: list[str] = []
            ends: dict[str, list[str]] = {"first": [], "last": []}
            for (kind, name), ok in zip(self.constraints, wanted):
                if kind in ("first", "last"):
                    if ok:
                        ends[kind] = [name]
                    elif rng.random() < 0.5:
                        inside.append(name)  # a near miss: it is there, in the wrong place
                elif (kind == "has") == ok:
                    inside.append(name)
            length = rng.randint(4, 6)
            while len(inside) + len(ends["first"] + ends["last"]) < length:
                inside.append(rng.choice(spare))
            rng.shuffle(inside)
            *spelled, last = _spell(ends["first"] + inside + ends["last"], rng)
            words = f"{' '.join(spelled)} and {last}"
            if self.satisfied(words) == wanted:
                return polish(words, rng) if polished else words


def _spell(classes: list[str], rng: random.Random) -> list[str]:
    """A word of each class, no word twice while there are others."""
    left = {name: rng.sample(CLASSES[name], len(CLASSES[name])) for name in dict.fromkeys(classes)}
    return [left[name].pop() if left[name] else rng.choice(CLASSES[name]) for name in classes]


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
    return [word for word in response.split() if word != "and"]


def draw(rng: random.Random, header: str = "") -> Chat:
    """Two to four constraints on different classes of words, at most one on each end."""
    kinds = rng.sample(["has", "has", "no", "no", "first", "last"], rng.choice((2, 3, 3, 4)))
    return Chat(tuple(zip(kinds, rng.sample(list(CLASSES), len(kinds)))), header)


def read_query(query: str) -> Chat | None:
    """The problem that a query states; None where it is no chat problem."""
    match = _HEADER.fullmatch(query)
    if not match:
        return None
    parts = [part.split(" ") for part in match[2].split(", ")]
    if not all(len(part) == 2 and part[0] in KINDS and part[1] in CLASSES for part in parts):
        return None
    return Chat(tuple((kind, name) for kind, name in parts), match[1] or "")
