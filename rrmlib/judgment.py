"""What a judge said: a reading with an explicit state, kept in the order shown to the judge.

A `Reading` has a state. Only state "read" carries a value, which is a `Verdict` (pairwise) or `Scores` (one
number per response and/or an n-way choice). Everything else says why there is no value: nothing is scored,
dropped or defaulted here. What an unreadable judgment is worth is decided by a benchmark's declared constant, late.

Which state wins: error (transport failed, or the text is an API error) before everything; text that parses is
"read" even if it was cut afterwards; then truncated (length cap, or the thinking never closed); then unparsed.
"too_long" is a prompt that does not fit the model: no call was made.

Left out: how text becomes a reading (`parse.py`), how judgments become numbers (`score.py`, `benchmarks/`).

    >>> said = Reading.of(Verdict("first"))
    >>> j = Judgment(
    ...     item="q1", order=Order.BA, sample=0, judge="rrm", key="", text="", finish="stop", tokens=9, reading=said
    ... )
    >>> j.in_item_order().value  # shown first was the item's second response
    Verdict(choice='second', strength=None)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rrmlib.comparison import CHOICES, Choice, Order, flip


class State(StrEnum):
    """Why a reading has, or has not, a value."""

    READ = "read"
    UNPARSED = "unparsed"
    TRUNCATED = "truncated"
    TOO_LONG = "too_long"
    ERROR = "error"


@dataclass(frozen=True)
class Verdict:
    """A pairwise preference in the order shown. `strength` > 0 where the format has grades (`A>>B` is 2, `A>B` 1)."""

    choice: Choice
    strength: float | None = None

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f"verdict {self.choice!r} is none of {', '.join(CHOICES)}")

    def swap(self) -> Verdict:
        return Verdict(flip(self.choice), self.strength)


@dataclass(frozen=True)
class Scores:
    """One number per response, in the order shown, and/or the index of the chosen response (also in that order).

    NaN is a response whose own rating could not be read, where others could. `scalar` marks numbers of a model that
    cannot mean to tie (a reward model, a rule of thumb): some benchmarks treat two equal ones unlike a declared tie.
    """

    values: tuple[float, ...] = ()
    choice: int | None = None
    scalar: bool = False

    def __post_init__(self) -> None:
        if not self.values and self.choice is None:
            raise ValueError("scores need values, a choice, or both")
        if any(math.isinf(v) for v in self.values) or (self.values and all(math.isnan(v) for v in self.values)):
            raise ValueError(f"scores must be finite, at least one of them: {self.values}")
        if self.choice is not None and (self.choice < 0 or (self.values and self.choice >= len(self.values))):
            raise ValueError(f"choice {self.choice} names no response")

    @property
    def partial(self) -> bool:
        """Whether the rating of some response could not be read."""
        return any(math.isnan(v) for v in self.values)

    @property
    def top(self) -> tuple[int, ...]:
        """Shown positions of the best: the choice where there is one, else every response with the highest value."""
        if self.choice is not None:
            return (self.choice,)
        best = max(v for v in self.values if not math.isnan(v))
        return tuple(i for i, v in enumerate(self.values) if v == best)

    def reorder(self, order: Order) -> Scores:
        """From shown positions under `order` to item positions."""
        if self.values and len(self.values) != len(order):
            raise ValueError(f"{len(self.values)} scores for an order of {len(order)} responses")
        values = [0.0] * len(self.values)
        for position, value in enumerate(self.values):
            values[order.shown[position]] = value
        if self.choice is not None and self.choice >= len(order):
            raise ValueError(f"choice {self.choice} of {len(order)} responses")
        return Scores(tuple(values), None if self.choice is None else order.shown[self.choice], self.scalar)


Value = Verdict | Scores


@dataclass(frozen=True)
class Reading:
    """A state and, in state "read" only, a value. `note` says what was wrong, for people."""

    state: State
    value: Value | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if (self.state is State.READ) != (self.value is not None):
            raise ValueError(f"a reading has a value exactly when its state is read, not {self.state} / {self.value!r}")

    @classmethod
    def of(cls, value: Value, note: str = "") -> Reading:
        return cls(State.READ, value, note)

    @classmethod
    def joined(cls, parts: Sequence[Reading]) -> Reading:
        """Readings of responses that were rated one by one, as one: a score each, NaN for one that could not be read.

        The note names the first unread response; where none could be read, the state is that of the first.
        """
        values = [part.value.values[0] if isinstance(part.value, Scores) else math.nan for part in parts]
        lost = [(i, part) for i, part in enumerate(parts, 1) if part.state is not State.READ]
        note = f"response {lost[0][0]}: {lost[0][1].state}, {lost[0][1].note}" if lost else ""
        return cls(lost[0][1].state, note=note) if len(lost) == len(parts) else cls.of(Scores(tuple(values)), note)

    @property
    def verdict(self) -> Verdict | None:
        """The pairwise preference: a verdict as it is, two scores by comparison (equal is a tie), else None.

        None too where one of the two scores could not be read.
        """
        if isinstance(self.value, Scores):
            if self.value.partial:
                return None
            if self.value.choice in (0, 1) and len(self.value.values) in (0, 2):
                return Verdict("first" if self.value.choice == 0 else "second")
            if len(self.value.values) == 2:
                a, b = self.value.values
                return Verdict("first" if a > b else "second" if b > a else "tie", abs(a - b))
            return None
        return self.value


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """One reading of one item by one judge, with everything needed to read it again.

    `reading` is in the order SHOWN. `key` addresses the generation in the store ("" for recorded ones that have no
    request). `text` is the whole assistant turn (prefill included), kept verbatim. `finish` is "stop", "length",
    "budget" (the thinking was closed for the judge, and the verdict asked for), "error", "too_long" or "" where the
    source does not say. `tokens` counts generated tokens, -1 where unknown.
    """

    item: str
    order: Order
    sample: int
    judge: str
    key: str
    text: str
    finish: str
    tokens: int
    reading: Reading

    @property
    def state(self) -> State:
        return self.reading.state

    @property
    def forced(self) -> bool:
        """Whether the thinking was closed at its budget, and the verdict asked for."""
        return self.finish == "budget"

    def in_item_order(self) -> Reading:
        """The reading mapped from the order shown to the order of the item: the one place where that happens."""
        value = self.reading.value
        if isinstance(value, Scores):
            value = value.reorder(self.order)
        elif isinstance(value, Verdict) and self.order == Order.BA:
            value = value.swap()
        return Reading(self.reading.state, value, self.reading.note)

    def to_row(self) -> dict[str, Any]:
        """A flat JSON-able row, the JSONL of `rrm judge` and `rrm score --judgments`; an unread score is null."""
        value = self.reading.value
        scores = value if isinstance(value, Scores) else None
        return {
            "item": self.item,
            "order": str(self.order),
            "sample": self.sample,
            "judge": self.judge,
            "key": self.key,
            "text": self.text,
            "finish": self.finish,
            "tokens": self.tokens,
            "state": str(self.reading.state),
            "choice": value.choice if value is not None else None,
            "strength": value.strength if isinstance(value, Verdict) else None,
            "values": [None if math.isnan(v) else v for v in scores.values] if scores else None,
            "scalar": scores.scalar if scores else None,
            "note": self.reading.note,
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Judgment:
        """The inverse of `to_row`. Raises ValueError that names the field.

        Every field is checked, unknown ones are refused, and only those that a foreign file may well lack have a
        default: judge, key, text, finish, note "", sample 0, tokens -1.
        """
        known = set(_FIELDS) | {"choice", "strength", "values", "scalar"}
        for name in row:
            if name not in known:
                raise ValueError(f"unknown field {name!r} in a judgment")
        plain: dict[str, Any] = {}
        for name, (kind, default) in _FIELDS.items():
            value = row.get(name, default) if name in row or default is not None else None
            if type(value) is not kind:
                raise ValueError(f"field {name!r}: expected {kind.__name__}, found {value!r:.40}")
            plain[name] = value
        if plain["state"] not in set(State):
            raise ValueError(f"field 'state': {plain['state']!r} is none of {', '.join(State)}")
        state, note = State(plain.pop("state")), plain.pop("note")
        order = Order.parse(plain.pop("order"))
        judgment = cls(order=order, reading=Reading(state, _value_of(row, state), note), **plain)
        judgment.in_item_order()  # raises where the scores do not fit the order
        return judgment


_FIELDS: dict[str, tuple[type, Any]] = {
    "item": (str, None),
    "order": (str, None),
    "state": (str, None),
    "sample": (int, 0),
    "judge": (str, ""),
    "key": (str, ""),
    "text": (str, ""),
    "finish": (str, ""),
    "tokens": (int, -1),
    "note": (str, ""),
}


def _value_of(row: dict[str, Any], state: State) -> Value | None:
    choice, values, strength = row.get("choice"), row.get("values"), row.get("strength")
    if state is not State.READ:
        if choice is not None or values is not None:
            raise ValueError(f"field 'choice': a judgment in state {state} has no value")
        return None
    if values is None and choice in CHOICES:
        if strength is not None and (type(strength) not in (int, float) or not math.isfinite(strength)):
            raise ValueError(f"field 'strength': expected a number, found {strength!r:.40}")
        return Verdict(choice, strength)
    if choice is not None and type(choice) is not int:
        raise ValueError(f"field 'choice': {choice!r:.40} is none of {', '.join(CHOICES)}, nor a position")
    if values is not None and not (
        isinstance(values, list) and all(v is None or type(v) in (int, float) for v in values)
    ):
        raise ValueError(f"field 'values': expected a list of numbers, found {values!r:.40}")
    if values is None and choice is None:
        raise ValueError("field 'choice': missing, and there are no values")
    return Scores(
        tuple(math.nan if v is None else float(v) for v in values or ()), choice, bool(row.get("scalar") or False)
    )
