"""Where results lie, when one is stale, and how it gets there whole: a temporary name, synced, then renamed.

`Place` is the one answer to "where does this go": the store of a profile, a notebook's tables and figures. `rrm run`
gives a notebook a staging folder as `out` and moves everything into place only when the whole notebook succeeded, so
a failed run leaves no plausible-looking output.

What is costly to make (a trained model) is a folder that `ensure` builds once: it is reused while its `key`, a digest
of all that it was made from, is the same. The key is in the name of a file in the folder (`mark`), so that a workflow
sees by a file's existence, and never by a clock, what is stale. What code does counts (`library`, `sources_digest`);
its comments, docstrings and layout do not.

Left out: what is in the files.

    place = Place(profile="laptop", notebook="evaluation")
    place.write_table("accuracy", table)          # runs/laptop/tables/evaluation/accuracy.csv
    made = key({"steps": 100}, {"base": base_key}, library(["rrmlib.train"]))
    ensure(Path("runs/laptop/seed0/models/m"), made, lambda folder: fit(..., out=folder))
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rrmlib.engines.base import digest

if TYPE_CHECKING:
    import pandas


def root(start: Path | None = None) -> Path:
    """The checkout: the nearest folder upwards that has `params/` and `notebooks/`. Raises FileNotFoundError."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise FileNotFoundError(f"no rrmlib checkout (a folder with params/ and notebooks/) at or above {here}")


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """`write(temporary)` then fsync and rename to `path`: readers see the old file or the new one, never a part.

    A link is followed; a pipe or a device stays what it is and is written as it stands. Raises OSError naming `path`.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            write(target)
            return path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from None
    return path


@dataclass(frozen=True)
class Place:
    """Paths of one notebook in one profile. `out` is the folder that holds runs/ and figures/; empty: the checkout."""

    profile: str
    notebook: str
    out: str = ""

    @property
    def base(self) -> Path:
        return Path(self.out) if self.out else root()

    @property
    def store(self) -> Path:
        """The profile's trace store. Always in the checkout: what was generated is kept even when a run fails."""
        path = root() / "runs" / self.profile / "traces.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def figure(self, name: str) -> Path:
        """Stem of a figure: figures/<profile>/<notebook>.<name>, without suffix."""
        folder = self.base / "figures" / self.profile
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.notebook}.{name}"

    def write_table(self, name: str, table: pandas.DataFrame) -> Path:
        """A tidy table as CSV, floats at full precision."""
        path = self.base / "runs" / self.profile / "tables" / self.notebook / f"{name}.csv"
        return write_whole(path, lambda temporary: table.to_csv(temporary, index=False))


# ---------------------------------------------------------------------------------------------------------------
# Folders that are built once


def say(text: str) -> None:
    """One line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def key(
    recipe: Mapping[str, Any],
    parents: Mapping[str, str] | None = None,
    sources: Iterable[Path] = (),
    data: Mapping[str, Any] | None = None,
) -> str:
    """The digest (64 hex digits) of all that an artefact is made from: its settings, its parents' keys, what the
    library files `sources` do, and what describes its data. JSON-able, in any order of names."""
    return digest("artefact", dict(recipe), dict(parents or {}), sources_digest(sources), dict(data or {}))


def mark(path: Path, key: str) -> Path:
    """The file in the artefact `path` that says, by its name, from what it was made."""
    return path / f".key-{key[:16]}.json"


def about(path: Path) -> dict[str, Any]:
    """What `ensure` noted in the artefact `path`: its "key" and more. Empty where there is none."""
    for file in path.glob(".key-*.json"):
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found
    return {}


def ensure(
    path: Path,
    key: str,
    build: Callable[[Path], Any],
    *,
    note: Mapping[str, Any] | None = None,
    force: bool = False,
    log: Callable[[str], Any] = say,
) -> Path:
    """The folder `path` made from `key`: the one that is there, else what `build(temporary)` writes, moved whole.

    One process builds, others wait for it and find it done. A build that fails or is killed leaves the folder that was
    there. Its temporary folder is named by the key, and what `build` keeps beside it (`<temporary>.work`: checkpoints
    to resume from) stays for the next build of the same key; `force` builds again, from nothing. Raises OSError.
    """
    part = path.with_name(f".{path.name}.{key[:16]}.part")
    old = path.with_name(f".{path.name}.old")
    with _locked(path.with_name(f"{path.name}.lock"), log):
        if old.exists() and not path.exists():  # killed between two renames
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)
        if mark(path, key).is_file() and not force:
            return path
        for left in path.parent.glob(".*.part*"):
            mine = re.fullmatch(rf"\.+{re.escape(path.name)}\.([0-9a-f]{{16}})\.part(\..+)?", left.name)
            if mine and (force or left != part.with_name(f"{part.name}.work")):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            build(part)
            if not part.is_dir():
                raise RuntimeError(f"{path}: the build made no folder {part.name}")
            mark(part, key).write_text(
                json.dumps({"key": key, **(note or {})}, indent=1, sort_keys=True) + "\n", "utf-8"
            )
            for file in (part, *part.rglob("*")):
                _sync(file)
            if path.exists():
                path.rename(old)
            part.rename(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return path


@contextmanager
def _locked(file: Path, log: Callable[[str], Any]) -> Iterator[None]:
    """Hold `file` against other processes; it ends with the process. It is never removed: that would be a race."""
    import fcntl

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"{file.with_suffix('').name}: another process is making it; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------------------------------------------------------
# What code depends on


def library(modules: Iterable[str], without: Collection[str] = ()) -> list[Path]:
    """Every file of rrmlib that these modules ("rrmlib.train.fit") can reach by imports, sorted; modules of `without`
    are not looked into. A package counts with all its files where more is taken from it than modules."""
    package = Path(__file__).parent
    todo, seen = set(modules), set()
    while todo:
        module = todo.pop()
        folder = package.joinpath(*module.split(".")[1:])
        files = sorted(folder.glob("*.py")) if folder != package and folder.is_dir() else []
        if folder.parent not in (package, package.parent):
            files.append(folder.with_name("__init__.py"))  # which runs first
        for path in (folder.with_suffix(".py"), *files):
            if path.is_file() and path not in seen and module not in without:
                seen.add(path)
                todo |= imported(path.read_text("utf-8"))
    return sorted(seen)


@lru_cache(maxsize=512)
def imported(code: str) -> frozenset[str]:
    """The modules of rrmlib that `code` imports, anywhere but under `if TYPE_CHECKING:`. "from rrmlib.a import b" is
    rrmlib.a.b where that is a module, else rrmlib.a."""
    found: set[str] = set()
    todo: list[list[Any]] = [ast.parse(code).body]
    while todo:
        for node in todo.pop():
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if _is_module(name) else node.module for name in names}
            elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
                todo.append(list(ast.iter_child_nodes(node)))
    return frozenset(module for module in found if module == "rrmlib" or module.startswith("rrmlib."))


def _is_module(name: str) -> bool:
    place = Path(__file__).parent.joinpath(*name.split(".")[1:])
    return place.is_dir() or place.with_suffix(".py").is_file()


def sources_digest(paths: Iterable[Path]) -> str:
    """One digest over what library files do, by their place in the package; the same for every Python version."""
    package = Path(__file__).parent
    parts = []
    for path in sorted(paths):
        parts.append([path.relative_to(package).as_posix(), _sha256(path.read_bytes(), path.suffix == ".py")])
    return digest("sources", parts)


@lru_cache(maxsize=512)
def _sha256(raw: bytes, code: bool) -> str:
    return hashlib.sha256(repr(_meaning(ast.parse(raw))).encode() if code else raw).hexdigest()


def _meaning(node: Any) -> Any:
    """A syntax tree as nested tuples, without docstrings, places, and fields that are empty (they vary by version)."""
    if isinstance(node, ast.AST):
        fields = ((name, _meaning(value)) for name, value in ast.iter_fields(node) if name != "kind")
        return (type(node).__name__, *((name, value) for name, value in fields if value not in (None, ())))
    if isinstance(node, list):
        return tuple(_meaning(part) for part in node if not _is_text(part))
    return node


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
