"""The index of a store: flags, sizes and texts of all items in one file, and the queries that it answers.

Flags are kept per item and judge, as numbers; all texts stand in lower case one after the other, and a search runs
through them (a gigabyte a second and more: faster than SQLite's index of word parts, built at once, and any part of any
text is found in any language). From `SIGNED` bytes of text on, a signature of each item (which triples of bytes occur
in it, hashed) says beforehand where a term cannot be. The file is only read, through a memory map, so opening it costs
nothing; `key` says what it was made from.

Left out: what flags mean (`filters.py`), what the file is made from and where it lies (`view.py`).

    found, flags, numbers = Index.open(path, key).find(Query(filters=("disagree",), q="step 2"))
"""

from __future__ import annotations

import json
import mmap
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rrmlib.viewer.filters import FIELDS, PER_JUDGE, Query, by_difficulty, cells, long_from, size, terms
from rrmlib.viewer.records import Record, gaps

START = 200  # characters of a query that a list shows
END = b"\xff"  # after every text; no UTF-8 has it
SIGNED = 50_000_000
BITS = 8192  # of a signature
_CELLS = (
    "item", "judge", "flags", "majority", "within", "sound", "longest", "longest_wrong", "right", "judged",
    "words", "start", "end",
)  # fmt: skip
_VOTES = ("item", "judge", "group", "majority")  # a group: an item in one order
_NONE, _TIE = -1, 1 << 30  # as majorities; _NONE also where it is not known whether one is right
_OWN = tuple(name for name in PER_JUDGE if name != "long_wrong")  # bits 0.. of a cell's flags; then the families


@dataclass(frozen=True)
class Head:
    """An item in a list."""

    benchmark: str
    id: str
    section: str
    difficulty: str
    start: str


@dataclass(frozen=True)
class Index:
    """An index file, open. Answers queries with item numbers; never changes."""

    judges: list[str]
    families: list[str]
    heads: list[Head]
    note: str
    long: NDArray[np.int64]  # by judge: from which size on a trace is long
    cells: dict[str, NDArray[np.int64]]  # of _CELLS, and rate:FAMILY, how many places; sorted by item
    first: NDArray[np.int64]  # by item: where its texts begin, and where the last one's end
    votes: NDArray[np.int64]  # of _VOTES, in orders in which some judges differ; sorted by group, then majority
    data: mmap.mmap
    signs: NDArray[np.uint8] | None  # by bit: which items have it, eight in a byte; None where the texts are short
    places: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, key: str) -> Index | None:
        """The index at `path`, or None where there is none that was made from what `key` stands for."""
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            length = int.from_bytes(data[-8:], "little")
            foot = json.loads(data[-8 - length : -8])
            if foot["key"] != key:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        columns = [*_CELLS, *(f"rate:{family}" for family in foot["families"])]
        numbers = np.frombuffer(data, "<i8", foot["cells"] * len(columns), foot["at"]).reshape(len(columns), -1)
        heads = [Head(*head) for head in foot["heads"]]
        first = np.frombuffer(data, "<i8", len(heads) + 1, foot["at"] + numbers.nbytes)
        at, row = foot["at"] + numbers.nbytes + first.nbytes, -(-len(heads) // 8)
        votes = np.frombuffer(data, "<i8", foot["votes"] * len(_VOTES), at).reshape(len(_VOTES), -1)
        at += votes.nbytes
        signs = np.frombuffer(data, np.uint8, BITS * row, at).reshape(BITS, row) if foot["signed"] else None
        places = {(head.benchmark, head.id): i for i, head in enumerate(heads)}
        long = np.array(foot["long"], np.int64)
        by_name = dict(zip(columns, numbers))
        names = foot["judges"], foot["families"]
        return cls(*names, heads, foot["note"], long, by_name, first, votes, data, signs, places)

    def flags(self, judges: Sequence[str], noted: Iterable[tuple[str, str]]) -> NDArray[np.int64]:
        """By item, bits of `names`."""
        chosen = self._chosen(judges)
        found = np.zeros(len(self.heads), np.int64)
        item, judge = self.cells["item"][chosen], self.cells["judge"][chosen]
        np.bitwise_or.at(found, item, self.cells["flags"][chosen])
        worst = self.cells["longest_wrong"][chosen]
        long = (worst >= 0) & (worst >= self.long[judge])
        found[item[long]] |= self._bit("long_wrong")
        found[self._different(judges) > 1] |= self._bit("disagree")
        found[self._votes(chosen)[1]] |= self._bit("outvoted")
        found[[self.places[each] for each in noted if each in self.places]] |= self._bit("noted")
        return found

    @property
    def names(self) -> list[str]:
        """The filters, by bit."""
        families = (f"pattern:{family}" for family in self.families)
        return [*_OWN, *families, "disagree", "long_wrong", "outvoted", "noted"]

    def _bit(self, name: str) -> int:
        return 1 << self.names.index(name)

    def _wanted(self, judges: Sequence[str]) -> NDArray[np.bool_]:
        """By judge."""
        for name in judges:
            if name not in self.judges:
                raise ValueError(f"no judge {name!r:.60} here; there are: {', '.join(self.judges)}")
        return np.array([not judges or name in judges for name in self.judges], bool)

    def _chosen(self, judges: Sequence[str]) -> NDArray[np.bool_]:
        """By cell."""
        return self._wanted(judges)[self.cells["judge"]]

    def _different(self, judges: Sequence[str]) -> NDArray[np.int64]:
        """`filters.different`, by item."""
        chosen = self._chosen(judges)
        most = self._votes(chosen)[0]
        # In an order in which all judges agree there is one majority at most, and so there is where none differ.
        within = np.bincount(self.cells["item"][chosen], self.cells["within"][chosen], len(most)) > 0
        most = np.maximum(most, within)
        item, _, group, majority = self.votes[:, self._wanted(judges)[self.votes[1]]]
        if len(item):
            new = np.ones(len(item), bool)
            new[1:] = (group[1:] != group[:-1]) | (majority[1:] != majority[:-1])
            np.maximum.at(most, item, np.bincount(group[new])[group])
        return most

    def _votes(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """By item, how many different majorities its judges have, and whether most of them are wrong, one is right."""
        there, n = chosen & (self.cells["majority"] != _NONE), len(self.heads)
        item, sound = self.cells["item"][there], self.cells["sound"][there]
        picks, which, votes = np.unique(
            item << 32 | self.cells["majority"][there], return_inverse=True, return_counts=True
        )
        of = picks >> 32
        most = np.zeros(n, np.int64)
        np.maximum.at(most, of, votes)
        leads = votes == most[of]
        right, wrong = (np.bincount(which, sound == value, len(picks)) > 0 for value in (1, 0))
        alone = np.bincount(of, leads, n) == 1
        lost = np.bincount(of, leads & wrong & ~right, n) > 0
        return np.bincount(of, minlength=n), alone & lost & (np.bincount(item, sound == 1, n) > 0)

    def judged(self, judges: Sequence[str]) -> NDArray[np.bool_]:
        """By item, whether one of these judges has said something of it; no judges: all items."""
        if not judges:
            return np.ones(len(self.heads), bool)
        return np.bincount(self.cells["item"][self._chosen(judges)], minlength=len(self.heads)) > 0

    def find(
        self, query: Query, noted: Iterable[tuple[str, str]] = (), *, within: Sequence[str] = ()
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """The items that are asked for, of those that a judge of `within` has judged, in the order that is asked for;
        the flags of all items, and the numbers that they are sorted by (NaN: none)."""
        flags = self.flags(query.judges, noted)
        keep = self.judged(within)
        for name in query.filters:
            keep &= (flags & self._bit(name) > 0) if name in self.names else False
        for name in FIELDS:
            wanted = getattr(query, name)
            if wanted is not None:
                keep &= self._fields[name] == wanted
        chosen = self._chosen(query.judges)
        for term in terms(query.q):
            keep = self._search(term, keep, chosen if query.judges else None)
        found = np.flatnonzero(keep)
        numbers = self._numbers(query.sort, query.judges)
        ranks = {"difficulty": self._difficulties, "share_right": numbers}.get(query.sort, -numbers)
        return found[np.argsort(ranks[found], kind="stable")], flags, numbers  # NaN comes last

    @cached_property
    def _fields(self) -> dict[str, NDArray[Any]]:
        return {name: np.array([getattr(head, name) for head in self.heads], object) for name in FIELDS}

    @cached_property
    def _difficulties(self) -> NDArray[np.int64]:
        rank = {key: i for i, key in enumerate(sorted({by_difficulty(head.difficulty) for head in self.heads}))}
        return np.array([rank[by_difficulty(head.difficulty)] for head in self.heads], np.int64)

    def _numbers(self, sort: str, judges: Sequence[str]) -> NDArray[np.float64]:
        """`filters.number`, by item."""
        n, chosen = len(self.heads), self._chosen(judges)
        item, none = self.cells["item"][chosen], np.full(n, np.nan)
        if sort == "longest":
            np.fmax.at(none, item, self.cells["longest"][chosen])
            return none
        if sort == "disagreement":
            return self._different(judges).astype(float)
        if sort == "share_right":
            right, judged = (np.bincount(item, self.cells[name][chosen], n) for name in ("right", "judged"))
            return np.divide(right, judged, out=none, where=judged > 0)
        if sort.startswith("rate:"):
            words = np.bincount(item, self.cells["words"][chosen], n)
            places = np.bincount(item, self.cells[sort][chosen], n) if sort in self.cells else np.zeros(n)
            return np.divide(places, words, out=none, where=words > 0)
        return none

    def _search(self, term: str, keep: NDArray[np.bool_], chosen: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Which of the items kept hold the term; in what is asked, or in a trace of the judges chosen."""
        sought, found = term.encode("utf-8", "surrogatepass"), np.zeros(len(keep), bool)
        if self.signs is not None and len(sought) > 2:
            may = np.bitwise_and.reduce(self.signs[np.unique(_grams(sought))], axis=0)
            keep = keep & np.unpackbits(may, count=len(keep)).astype(bool)
        starts, data = self.first.tolist(), self.data
        # Stretches of text that count, each of one item: whole items, or (judges chosen) parts of it.
        if chosen is None:
            if 4 * keep.sum() > len(keep):  # faster without stopping at every item
                place = data.find(sought, 0, starts[-1])
                while place >= 0:
                    item = bisect_right(starts, place) - 1
                    found[item] = True
                    place = data.find(sought, starts[item + 1], starts[-1])
                return found & keep
            for item in np.flatnonzero(keep).tolist():
                found[item] = data.find(sought, starts[item], starts[item + 1]) >= 0
            return found
        cell = self.cells
        begin = np.full(len(keep), -1, np.int64)
        begin[cell["item"][::-1]] = cell["start"][::-1]  # the first cell of an item: before it is what was asked
        for item in np.flatnonzero(keep).tolist():
            found[item] = data.find(sought, starts[item], int(begin[item])) >= 0
        open_cells = np.flatnonzero(chosen & keep[cell["item"]] & ~found[cell["item"]])
        for item, start, end in zip(*(cell[name][open_cells].tolist() for name in ("item", "start", "end"))):
            if not found[item]:
                found[item] = data.find(sought, start, end) >= 0
        return found


class Writer:
    """An index file in the making: texts as they come, numbers and heads at the end."""

    def __init__(self, file: BinaryIO, judges: Sequence[str]):
        self.file, self.judges = file, {name: i for i, name in enumerate(judges)}
        self.at = 0
        self.families: dict[str, int] = {}
        self.heads: list[list[Any]] = []
        self.first = [0]
        self.cells: list[tuple[int, ...]] = []
        self.places: list[Mapping[str, int]] = []
        self.votes: list[tuple[int, ...]] = []
        self.groups = 0
        self.sizes: dict[str, list[int]] = {name: [] for name in judges}
        self.bare = 0
        self.items: Counter[str] = Counter()  # by benchmark
        self.judged: dict[str, Counter[str]] = {name: Counter() for name in judges}

    def add(self, record: Record) -> None:
        """An item with its traces, of which it has at least one."""
        asked = [text for part in ("query", "asked") for _, text in record[part]]
        of_user = [text for role, text in record["query"] if role == "user"]
        start = (of_user[-1:] or [text for _, text in record["query"][:1]] or asked[-1:] or [""])[0]
        fields = [record[name] for name in ("benchmark", "id", "section", "difficulty")]
        number = len(self.heads)
        self.heads.append([*fields, start[:START]])
        self.bare += not record["responses"]
        self._texts([*asked, *record["responses"]])
        found = cells(record)
        self.items[record["benchmark"]] += 1
        for name, cell in found.items():
            said = [trace for trace in record["traces"] if trace["judge"] == name]
            self.judged[name][record["benchmark"]] += 1
            self.sizes[name] += map(size, said)
            begin = self.at
            self._texts(trace["text"] for trace in said)
            sound = _NONE if cell.sound is None else int(cell.sound)
            said_so = (_pick(cell.majority), len(cell.within), sound)
            sizes = (cell.longest, cell.longest_wrong, cell.right, cell.judged, cell.words)
            self.cells.append((number, self.judges[name], self._bits(cell.flags), *said_so, *sizes, begin, self.at))
            self.places.append(cell.places)
        self.first.append(self.at)
        # Where no two of all judges differ, no two of some do: such an order is left out.
        for order in dict.fromkeys(order for cell in found.values() for order in cell.within):
            theirs = {self.judges[name]: _pick(c.within[order]) for name, c in found.items() if order in c.within}
            if len({*theirs.values()}) > 1:
                rows = ((number, judge, self.groups, most) for judge, most in theirs.items())
                self.votes += sorted(rows, key=lambda row: row[-1])
                self.groups += 1

    def _bits(self, flags: Iterable[str]) -> int:
        bits = 0
        for flag in flags:
            if flag in _OWN:
                bits |= 1 << _OWN.index(flag)
            else:
                bits |= 1 << len(_OWN) + self.families.setdefault(flag.partition(":")[2], len(self.families))
        return bits

    def _texts(self, texts: Iterable[str]) -> None:
        for text in texts:
            raw = text.lower().encode("utf-8", "surrogatepass") + END
            self.file.write(raw)
            self.at += len(raw)

    def close(self, key: str, unjudged: int) -> None:
        """Write what belongs at the end."""
        if len(self.families) > 40:
            raise ValueError(f"{len(self.families)} pattern families; an index holds 40")
        missing = {name: sum(self.items[b] - n for b, n in judged.items()) for name, judged in self.judged.items()}
        self.file.write(b" " * (-self.at % 8))
        foot = {
            "key": key,
            "judges": list(self.judges),
            "families": list(self.families),
            "heads": self.heads,
            "long": [long_from(sizes) if sizes else 0 for sizes in self.sizes.values()],
            "note": "; ".join(gaps(len(self.heads), unjudged, self.bare, missing)),
            "cells": len(self.cells),
            "votes": len(self.votes),
            "at": self.at + -self.at % 8,
            "signed": self.at >= SIGNED,
        }
        rows = [(*cell, *(n.get(family, 0) for family in self.families)) for cell, n in zip(self.cells, self.places)]
        numbers = np.array(rows, "<i8").reshape(-1, len(_CELLS) + len(self.families))
        votes = np.array(self.votes, "<i8").reshape(-1, len(_VOTES))
        self.file.write(numbers.T.tobytes() + np.array(self.first, "<i8").tobytes() + votes.T.tobytes())
        if foot["signed"]:
            self._sign()
        raw = json.dumps(foot).encode()
        self.file.write(raw + len(raw).to_bytes(8, "little"))

    def _sign(self) -> None:
        self.file.flush()
        marks = np.zeros((len(self.heads), BITS // 8), np.uint8)
        with open(self.file.name, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for i in range(len(marks)):
                bits = np.zeros(BITS, bool)
                bits[_grams(data[self.first[i] : self.first[i + 1]])] = True
                marks[i] = np.packbits(bits)
        for column in range(0, BITS // 8, 64):  # a search reads whole rows, one for each triple
            some = np.unpackbits(marks[:, column : column + 64], axis=1)
            self.file.write(np.packbits(some.T, axis=1).tobytes())


def _pick(majority: int | str | None) -> int:
    return _NONE if majority is None else _TIE if isinstance(majority, str) else majority


def _grams(raw: bytes) -> NDArray[np.uint32]:
    """The triples of bytes in `raw`, each as a number below BITS."""
    each = np.frombuffer(raw, np.uint8).astype(np.uint32)
    whole: NDArray[np.uint32] = each[:-2] * np.uint32(1 << 16) + each[1:-1] * np.uint32(1 << 8) + each[2:]
    return whole * np.uint32(2654435761) >> np.uint32(19)
