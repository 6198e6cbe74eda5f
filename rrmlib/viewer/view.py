"""A trace store, to be looked at: pages of its items, filtered, sorted and searched, and the reader's notes.

A `View` is a store with its index. The index is one file beside the store (`traces.sqlite-view`; in the user's cache
folder where that cannot be written), made from the judgments and the items, and made again whenever either, or this
code, is not what it was made from: it is known by a digest of all of them. It is put in place whole, so that two
processes may make it at once. A store that a run is writing to is read in one state; what came later is indexed in the
background, when somebody asks again.

Nothing is written to the store but notes, in a table of their own, `notes`, that is made with the first note: `Store`
and other versions of rrmlib do not look at it, and `rrm export` does not carry it. The file of a page does, for the
items in it.

Left out: what flags mean (`filters.py`), HTTP (`serve.py`).

    view = View("traces.sqlite", items_of("traces.sqlite"))
    view.page(Query(filters=("disagree",), q="step 2"), limit=20)
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from rrmlib.artefact import about
from rrmlib.benchmarks.base import Benchmark
from rrmlib.benchmarks.builtin import load as load_builtin
from rrmlib.benchmarks.pairs import from_row
from rrmlib.benchmarks.rows import DataError, Problem, read_rows
from rrmlib.comparison import CandidateSet, Comparison, Item, Message
from rrmlib.exchange import StoreError, pack, unpack
from rrmlib.judge import read_judgments
from rrmlib.judgment import Judgment
from rrmlib.lab import SPLITS
from rrmlib.patterns import FOLDER as LEXICONS
from rrmlib.patterns import load as load_lexicon
from rrmlib.patterns import marks
from rrmlib.store import JUDGMENTS, Store
from rrmlib.viewer.filters import FIELDS, FILTERS, Query, by_difficulty
from rrmlib.viewer.index import Index, Writer
from rrmlib.viewer.records import Patterns, Record, coverage, families, item_record, trace_record
from rrmlib.world.pairs import SECTION

ItemsOf = Callable[[str], Sequence[Item]]  # benchmark -> its items, none where they are not known
MOST = 500  # items of a page
NOTE = 20_000  # characters of a note
NOTES = "notes (benchmark TEXT NOT NULL, item TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (benchmark, item))"
_LAB = re.compile(r"lab-(.+)-seed([0-9]+)-([0-9a-f]{8})")  # `Lab.benchmark`
_COLUMNS = 'rowid, benchmark, judge, item, "order", sample, key, crc, finish, tokens, parser, state, value, note'


# --- Where items come from --------------------------------------------------------------------------------------------


def items_of(store: str | Path, *, given: Mapping[str, Sequence[Item]] | None = None) -> ItemsOf:
    """The items of each benchmark of a store: those that are given, the built-in ones, and those of the lab's worlds.

    Judgments of the lab stand under `Lab.benchmark(split)`, and their world beside the store; a world of another key
    has other items of the same names, so it is not taken. Splits that are judged only are the same in every lab. What
    is not found is shown as it was asked.
    """
    known = dict(given or {})

    def find(name: str) -> Sequence[Item]:
        if name not in known:
            known[name] = load_builtin(None).items if name == "builtin" else _lab_items(Path(store), name)
        return known[name]

    return find


def _lab_items(store: Path, benchmark: str) -> Sequence[Item]:
    named = _LAB.fullmatch(benchmark)
    if not named:
        return ()
    split, seed, key = named.groups()
    if split in SPLITS:
        module, _, function = str(SPLITS[split]).partition(":")
        items: Sequence[Item] = getattr(import_module(module), function)()
        return items
    world = store.absolute().parent / f"seed{seed}" / "world"
    if not str(about(world).get("key", "")).startswith(key) or not (world / f"{split}.jsonl").is_file():
        return ()
    return [from_row(json.loads(line)) for line in (world / f"{split}.jsonl").read_text("ascii").splitlines()]


def section_of(item: Item) -> str:
    """The lab's section of a subset of its world; of anything else the subset."""
    return SECTION.get(item.subset, item.subset)


def patterns_of(benchmark: str) -> Patterns:
    """What finds reasoning patterns in traces of a benchmark: the lab's judges write no English."""
    lexicon = load_lexicon("lab" if _LAB.fullmatch(benchmark) else "english")
    return lambda text: marks(text, lexicon)


def is_store(path: Path) -> bool:
    """Whether a file says that it is an SQLite file; which one, `Store` finds out."""
    if not path.is_file():
        return False
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty: neither a store nor judgments")
    with path.open("rb") as file:
        return file.read(15) == b"SQLite format 3"


def stored(path: Path, folder: Path, bench: Benchmark | None, items: Sequence[Item]) -> Path:
    """A store in `folder` with the judgments of a file that is none: JSONL of `rrm judge --out`, an export of a store,
    or what a benchmark's source recorded. Raises DataError or StoreError, which name the file."""
    target = folder / f"{path.stem}.sqlite"
    with Store(target) as store:
        if bench is not None:
            found = read_judgments(path, bench, items)
        elif path.is_dir():
            raise DataError(f"{path}: a folder; name a store or a file in it, or say with --benchmark whose judgments")
        elif path.suffix == ".parquet" or _first(path).get("table"):
            store.import_(path)
            return target
        else:
            found = []
            for line, row in read_rows(path):
                if isinstance(row, Problem):
                    raise DataError(str(row))
                try:
                    found.append(Judgment.from_row(row))
                except (TypeError, ValueError, AttributeError) as e:
                    raise DataError(f"{path}:{line}: not a judgment as `rrm judge --out` writes it: {e}") from None
        store.record(found, benchmark=bench.name if bench else path.stem, parser="")
        if lost := len(found) - store.counts()["judgments"]:
            raise DataError(f"{path}: {lost} judgments are of the same judge, item, order and sample as others")
    return target


def _first(path: Path) -> Any:
    with suppress(ValueError, OSError, RecursionError), path.open("rb") as file:
        row = json.loads(file.readline(1 << 24))
        return row if isinstance(row, dict) else {}
    return {}


def _prompts(
    db: sqlite3.Connection, said: Sequence[Judgment]
) -> Iterator[tuple[Judgment, tuple[Message, ...], tuple[Message, ...], list[str]]]:
    """Each judgment whose prompt the store has, with its messages, or the query and the responses as shown."""
    for j in said:
        row = db.execute(
            "SELECT messages, query, responses FROM generations JOIN prompts USING (prompt_hash) WHERE key = ?",
            (j.key,),
        ).fetchone()
        if row is not None:
            messages, query = (tuple(Message(*m) for m in json.loads(row[name])) for name in ("messages", "query"))
            yield j, messages, query, json.loads(row["responses"])


def _asked(db: sqlite3.Connection, said: Sequence[Judgment]) -> tuple[Item | None, tuple[Message, ...]]:
    """What a store itself knows of an item: the prompt of the first judgment that has one; query and responses, without
    truth, where the engine was given these."""
    for j, messages, query, shown in _prompts(db, said):
        if query and len(shown) == len(j.order):
            responses = tuple(shown[j.order.shown.index(i)] for i in range(len(shown)))
            if len(shown) == 2:
                return Comparison(id=j.item, query=query, first=responses[0], second=responses[1]), ()
            return CandidateSet(id=j.item, query=query, responses=responses), ()
        return None, messages
    return None, ()


def _fits(db: sqlite3.Connection, said: Sequence[Judgment], item: Item) -> bool:
    """Whether `item` is what was asked, as far as the store knows: its query and the responses shown stand in every
    prompt. Files of one's own share a benchmark's name, and ids such as "1" are common."""
    for j, messages, query, shown in _prompts(db, said):
        if any(i >= len(item.responses) for i in j.order.shown):
            return False
        asked = "\n".join([*shown, *(message.content for message in (*messages, *query))])
        wanted = [item.query[-1].content, *(item.responses[i] for i in j.order.shown)]
        if not all(text.strip() in asked for text in wanted):
            return False
    return True


# --- A store, to be looked at -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Benchmark:
    items: dict[str, Item]
    digest: bytes


class View:
    """A store with its index and the reader's notes. Any thread may ask.

    `items` gives the items of a benchmark, `patterns` what finds reasoning patterns in its traces (known to the index
    by its name and place); `judges` are those that are shown, all where none are named. Raises StoreError, also where
    judgments do not fit the items, and ValueError for an unknown judge.
    """

    def __init__(
        self,
        path: str | Path,
        items: ItemsOf | None = None,
        *,
        patterns: Callable[[str], Patterns] = patterns_of,
        quiet: bool = False,
        patience: float = 10.0,
        judges: Sequence[str] = (),
    ):
        self.path = Path(path)
        self._items_of = items or items_of(path)
        self._patterns, self._quiet, self._patience = patterns, quiet, patience
        sources = [Path(__file__).with_name(name) for name in ("view.py", "index.py", "filters.py", "records.py")]
        sources += [Path(__file__).parents[1] / name for name in ("patterns.py", "probe.py")]
        sources += sorted(LEXICONS.glob("*.toml"))
        named = f"{patterns.__module__}.{patterns.__qualname__}".encode()
        self._code = hashlib.sha256(b"".join([named, *(file.read_bytes() for file in sources)])).hexdigest()
        self._known: dict[str, _Benchmark] = {}
        self._renewing = threading.Lock()
        self._trouble, self._building = "", False
        self._renew()
        if self._trouble:
            raise StoreError(self._trouble)
        self._judges = self._shown(judges)

    def _shown(self, judges: Sequence[str]) -> tuple[str, ...]:
        for name in judges:
            if name not in self._index.judges:
                raise ValueError(f"{self.path}: no judge {name!r:.60}; there are: {', '.join(self._index.judges)}")
        return tuple(name for name in self._index.judges if name in judges)

    # The index, and a newer one where the store has grown

    @property
    def index(self) -> Index:
        """The index as it is; where the store has changed since, a new one is begun behind it."""
        if self._state() != self._seen and time.monotonic() > self._next and self._renewing.acquire(blocking=False):
            threading.Thread(target=self._renew_behind, daemon=True).start()
        return self._index

    def _renew_behind(self) -> None:
        try:
            self._renew()
        finally:
            self._renewing.release()

    def _renew(self) -> None:
        self._seen, began = self._state(), time.monotonic()
        try:
            self._index, self._trouble = self._open(), ""
        except (StoreError, ValueError, OSError) as e:
            self._trouble = " ".join(str(e).split())
        self._building = False
        # A store that a run writes to changes all the time: most of the time is not to go into indexing it.
        now = time.monotonic()
        self._next = now + max(self._patience, min(10.0, self._patience) * (now - began))

    def _state(self) -> list[tuple[int, int] | None]:
        """Changes whenever the store does."""
        found = []
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            stat = path.stat() if path.exists() else None
            found.append((stat.st_mtime_ns, stat.st_size) if stat and stat.st_size else None)
        return found

    def _open(self) -> Index:
        """The index of what the store holds, made where it is not there."""
        with Store(self.path, readonly=True) as store, store._transaction() as db:
            digest = hashlib.blake2b(self._code.encode())
            for row in db.execute(f"SELECT {_COLUMNS} FROM judgments ORDER BY rowid"):
                digest.update(repr(tuple(row)).encode())
            for (name,) in db.execute("SELECT benchmark FROM judgments GROUP BY benchmark"):
                digest.update(self._benchmark(unpack(name)).digest)
            key, places = digest.hexdigest(), self._places()
            for place in places:
                if found := Index.open(place, key):
                    return found
            self._building = True
            places[0].parent.mkdir(parents=True, exist_ok=True)
            part = places[0].with_name(f".{places[0].name}.{os.getpid()}.{threading.get_ident()}.part")
            try:
                with part.open("wb") as file:
                    self._build(file, store, db, key)
                    file.flush()
                    os.fsync(file.fileno())
                made = Index.open(part, key)  # before another process can put its own in that place
                assert made is not None
                part.replace(places[0])
                return made
            finally:
                part.unlink(missing_ok=True)

    def _benchmark(self, name: str) -> _Benchmark:
        if name not in self._known:
            items = {item.id: item for item in self._items_of(name)}
            digest = hashlib.blake2b(repr(name).encode("utf-8", "surrogatepass"))
            for item in items.values():
                digest.update(repr(item).encode("utf-8", "surrogatepass"))
            self._known[name] = _Benchmark(items, digest.digest())
        return self._known[name]

    def _build(self, file: BinaryIO, store: Store, db: sqlite3.Connection, key: str) -> None:
        """Items in the order of their benchmark, then those that it does not know by name; benchmarks and judges in
        the order in which they came into the store."""
        judges, benchmarks = (
            [
                unpack(name)
                for (name,) in db.execute(f"SELECT {what} FROM judgments GROUP BY {what} ORDER BY MIN(rowid)")
            ]
            for what in ("judge", "benchmark")
        )
        said: dict[str, dict[str, list[int]]] = {name: {} for name in benchmarks}
        for benchmark, item, row in db.execute("SELECT benchmark, item, rowid FROM judgments"):
            said[unpack(benchmark)].setdefault(unpack(item), []).append(row)
        total, done, shown = sum(len(rows) for items in said.values() for rows in items.values()), 0, time.monotonic()
        writer, unjudged = Writer(file, judges), 0
        for benchmark, rows_of in said.items():
            known = self._benchmark(benchmark).items
            unjudged += sum(name not in rows_of for name in known)
            for name in [*(n for n in known if n in rows_of), *sorted(n for n in rows_of if n not in known)]:
                marks = ", ".join("?" * len(rows_of[name]))
                rows = db.execute(f"{JUDGMENTS} WHERE j.rowid IN ({marks})", rows_of[name]).fetchall()
                writer.add(self._record(store, db, benchmark, rows, judges))
                done += len(rows)
                if not self._quiet and time.monotonic() - shown > 5:
                    shown = time.monotonic()
                    print(f"{self.path}: {done:,} of {total:,} judgments indexed", file=sys.stderr)
        writer.close(key, unjudged)

    def _record(
        self, store: Store, db: sqlite3.Connection, benchmark: str, rows: Sequence[sqlite3.Row], judges: Sequence[str]
    ) -> Record:
        """One item with its traces, from rows of JUDGMENTS."""
        said = [(store._judgment(row), unpack(row["parser"])) for row in rows]
        said.sort(key=lambda pair: (judges.index(pair[0].judge), str(pair[0].order), pair[0].sample))
        name = said[0][0].item
        item, asked = self._benchmark(benchmark).items.get(name), tuple[Message, ...]()
        given = not (_LAB.fullmatch(benchmark) or benchmark == "builtin")  # the others' names hold their content
        if item is not None and given and not _fits(db, [judgment for judgment, _ in said], item):
            item = None
        if item is None:
            item, asked = _asked(db, [judgment for judgment, _ in said])
        record = item_record(item, name, benchmark=benchmark, section=section_of, asked=asked)
        patterns = self._patterns(benchmark)
        record["traces"] = [trace_record(j, item, parser=parser, patterns=patterns) for j, parser in said]
        return record

    def _places(self) -> list[Path]:
        """Where the index may lie; the first is where it is made."""
        beside = self.path.absolute().with_name(self.path.name + "-view")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rrmlib"
        hidden = cache / f"view-{hashlib.sha256(os.fsencode(beside)).hexdigest()[:16]}"
        return [beside, hidden] if os.access(beside.parent, os.W_OK) else [hidden, beside]

    # Answers

    def meta(self) -> Record:
        """What there is: judges, families, sections, difficulties, benchmarks, how many items in all and by flag, and
        a note."""
        index = self.index
        growing = "the store has grown and is being indexed: reload in a moment" if self._building else ""
        there = index.judged(self._judges)
        heads = [head for head, judged in zip(index.heads, there) if judged]
        fields = {name: dict.fromkeys(getattr(h, name) for h in heads) for name in FIELDS}
        return {
            "title": self.path.name,
            "judges": list(self._judges) or index.judges,
            "families": sorted(index.families),
            "sections": list(fields["section"]),
            "difficulties": sorted(fields["difficulty"], key=by_difficulty),
            "benchmarks": list(fields["benchmark"]),
            "items": len(heads),
            "counts": self.counts(),
            "note": "; ".join(filter(None, (index.note, growing, self._trouble))),
        }

    def counts(self, judges: Sequence[str] = ()) -> dict[str, int]:
        """How many items pass each filter, over the traces of these judges (all that are shown, where none is named).

        Raises ValueError for an unknown judge.
        """
        index = self.index
        flags = index.flags(judges or self._judges, {(note["benchmark"], note["id"]) for note in self.notes()})
        flags = flags[index.judged(self._judges)]
        return {name: int((flags >> bit & 1).sum()) for bit, name in enumerate(index.names)}

    def page(self, query: Query, *, offset: int = 0, limit: int = 100) -> Record:
        """A page of the list of items that are asked for, and how many there are in all."""
        if offset < 0 or not 0 < limit <= MOST:
            raise ValueError(f"offset {offset}, limit {limit}: a page begins at 0 or later and has 1 to {MOST} items")
        index = self.index
        noted = {(note["benchmark"], note["id"]) for note in self.notes()}
        query = replace(query, judges=query.judges or self._judges)
        found, flags, numbers = index.find(query, noted, within=self._judges)
        names = sorted(enumerate(index.names), key=lambda pair: _place(pair[1]))
        items = []
        for number in found[offset : offset + limit].tolist():
            head, bits = index.heads[number], int(flags[number])
            items.append(
                {
                    **{name: getattr(head, name) for name in ("benchmark", "id", "section", "difficulty")},
                    "query_start": head.start,
                    "flags": [name for bit, name in names if bits >> bit & 1],
                    "noted": (head.benchmark, head.id) in noted,
                    "by": None if math.isnan(by := float(numbers[number])) else by,
                }
            )
        return {"total": len(found), "items": items}

    def item(self, benchmark: str, name: str) -> Record:
        """One item with all its traces, as the store holds them now. Raises LookupError where there is none."""
        with Store(self.path, readonly=True) as store, store._transaction() as db:
            return self._item(store, db, benchmark, name, self._judges or self.index.judges)

    def _item(self, store: Store, db: sqlite3.Connection, benchmark: str, name: str, judges: Sequence[str]) -> Record:
        rows = []
        for judge in judges:  # by the primary key
            where = "WHERE j.benchmark = ? AND j.judge = ? AND j.item = ?"
            rows += db.execute(f"{JUDGMENTS} {where}", (pack(benchmark), pack(judge), pack(name))).fetchall()
        if not rows:
            raise LookupError(f"no item {name!r:.80} in benchmark {benchmark!r:.80} by the judges shown")
        return self._record(store, db, benchmark, rows, judges)

    def document(self, query: Query, *, limit: int = 0, most: int = 0) -> Record:
        """The items that are asked for (the first `limit`, 0: all) with the traces of the judges chosen and the notes
        on them, for a file.

        Raises ValueError where it would be larger than `most` bytes.
        """
        index = self.index
        query = replace(query, judges=query.judges or self._judges)
        judges = [name for name in index.judges if not query.judges or name in query.judges]
        noted = {(note["benchmark"], note["id"]): note for note in self.notes()}
        found = index.find(query, noted, within=query.judges)[0]
        records, kept, bytes_ = [], list[Record](), 0
        with Store(self.path, readonly=True) as store, store._transaction() as db:
            for number in found[: limit or None].tolist():
                head = index.heads[number]
                record = self._item(store, db, head.benchmark, head.id, judges)
                records.append(record)
                kept += [noted[place]] if (place := (head.benchmark, head.id)) in noted else []
                bytes_ += len(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass"))
                if most and bytes_ > most:
                    raise ValueError(
                        f"{self.path}: more than {most / 1e6:.0f} MB for one file, after {len(records):,} of "
                        f"{len(found):,} items: choose with --judge, --filter or --limit, or serve it (without --out)"
                    )
        # Of what the judges chosen have judged, of the benchmark asked for: no other items could be in the file.
        benchmarks = [head.benchmark for head, there in zip(index.heads, index.judged(query.judges)) if there]
        scope = len(benchmarks) if query.benchmark is None else benchmarks.count(query.benchmark)
        notes = coverage(records, judges) if records or not scope else []
        if len(records) < scope:
            notes.insert(0, f"{len(records):,} of {scope:,} items")
        return {
            "version": 1,
            "title": self.path.name,
            "judges": judges,
            "families": families(records),
            "long": {name: int(index.long[index.judges.index(name)]) for name in judges},
            "items": records,
            "notes": kept,
            "note": "; ".join(notes),
        }

    # Notes

    def notes(self) -> list[Record]:
        """The reader's notes, as they stand in the store."""
        with Store(self.path, readonly=True) as store, store._transaction() as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'notes'").fetchone():
                return []
            rows = db.execute("SELECT benchmark, item, text FROM notes ORDER BY benchmark, item").fetchall()
        return [dict(zip(("benchmark", "id", "text"), map(unpack, row))) for row in rows]

    def write_note(self, benchmark: str, name: str, text: str) -> None:
        """Keep a note on an item; empty text removes it. Raises StoreError where the store cannot be written."""
        if (benchmark, name) not in self.index.places:
            raise LookupError(f"no item {name!r:.80} in benchmark {benchmark!r:.80} of this store")
        if len(text) > NOTE:
            raise ValueError(f"a note of {len(text):,} characters; {NOTE:,} are kept at most")
        with Store(self.path, timeout=5) as store, store._transaction("IMMEDIATE") as db:
            db.execute(f"CREATE TABLE IF NOT EXISTS {NOTES}")
            db.execute("DELETE FROM notes WHERE benchmark = ? AND item = ?", (pack(benchmark), pack(name)))
            if text:
                db.execute("INSERT INTO notes VALUES (?, ?, ?)", (pack(benchmark), pack(name), pack(text)))


def _place(name: str) -> tuple[int, str]:
    return (FILTERS.index(name) if name in FILTERS else len(FILTERS), name)
