"""Folders are built once, whole, by one process; their key follows what code does, not how it is written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from rrmlib import artefact
from rrmlib.artefact import about, ensure, imported, key, library, mark

K1, K2 = key({"steps": 1}), key({"steps": 2})


def writes(text: str, calls: list[str] | None = None):
    def build(folder: Path) -> None:
        if calls is not None:
            calls.append(text)
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").write_text(text)

    return build


def test_built_once_and_again_when_the_key_changes(tmp_path):
    path, calls = tmp_path / "models" / "m", []
    assert ensure(path, K1, writes("one", calls), note={"name": "m"}) == path
    assert json.loads(mark(path, K1).read_text()) == about(path) == {"key": K1, "name": "m"}
    ensure(path, K1, writes("two", calls))
    assert calls == ["one"]
    ensure(path, K2, writes("three", calls))
    assert (path / "sub" / "file").read_text() == "three"
    assert not mark(path, K1).exists()
    ensure(path, K2, writes("four", calls), force=True)
    assert (path / "sub" / "file").read_text() == "four"
    assert sorted(p.name for p in path.parent.iterdir()) == ["m", "m.lock"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failed_build_leaves_what_stood_there(tmp_path, error):
    path = tmp_path / "m"
    ensure(path, K1, writes("one"))

    def build(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").write_text("x")
        raise error

    with pytest.raises(type(error)):
        ensure(path, K2, build)
    assert (path / "sub" / "file").read_text() == "one"
    assert mark(path, K1).is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "m.lock"]
    with pytest.raises(RuntimeError, match="made no folder"):
        ensure(path, K2, lambda folder: None)


def test_checkpoints_survive_for_the_same_key_only(tmp_path):
    path, seen = tmp_path / "m", []

    def build(folder: Path) -> None:
        work = folder.with_name(f"{folder.name}.work")
        seen.append(work.exists())
        work.mkdir(exist_ok=True)
        raise RuntimeError("killed")

    for made, force in ((K1, False), (K1, False), (K2, False), (K1, False), (K1, True)):
        (tmp_path / f"..m.{made[:16]}.part.77.part").mkdir()  # what a killed `fit` leaves
        with pytest.raises(RuntimeError):
            ensure(path, made, build, force=force)
    assert seen == [False, True, False, False, False]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == [f".m.{K1[:16]}.part.work"]
    (tmp_path / ".mm.0123456789abcdef.part.work").mkdir()
    ensure(path, K1, writes("one"))
    assert (tmp_path / ".mm.0123456789abcdef.part.work").is_dir(), "another artefact's"


def test_killed_between_the_two_renames(tmp_path):
    path = tmp_path / "m"
    ensure(path, K1, writes("one"))
    path.rename(tmp_path / ".m.old")
    ensure(path, K1, lambda folder: pytest.fail("it is there"))
    assert (path / "sub" / "file").read_text() == "one"


WORKER = """
import sys, time
from pathlib import Path
from rrmlib.artefact import ensure
path, seconds = Path(sys.argv[1]), float(sys.argv[2])
def build(folder):
    folder.mkdir()
    (folder / "half").write_text("x")
    with (path.parent / "log").open("a") as log:
        log.write("built ")
    time.sleep(seconds)
ensure(path, "0123456789abcdef", build)
"""


def worker(path: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(path), str(seconds)], stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    give_up = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_one_process_builds_and_the_other_waits(tmp_path):
    first = worker(tmp_path / "m", 1.0)
    wait_for(tmp_path / "log")
    second = worker(tmp_path / "m", 1.0)
    assert "m: another process is making it; waiting" in second.communicate(timeout=60)[1]
    assert first.wait() == second.returncode == 0
    assert (tmp_path / "log").read_text() == "built "


def test_a_killed_process_leaves_nothing_that_looks_whole_and_no_lock(tmp_path):
    process = worker(tmp_path / "m", 60)
    wait_for(tmp_path / "log")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "m").exists()
    ensure(tmp_path / "m", K1, writes("one"), log=pytest.fail)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "m", "m.lock"]


def test_the_key_is_a_digest_of_all_its_parts():
    base = {"recipe": {"a": 1, "b": [2]}, "parents": {"from": "x"}, "sources": (), "data": {"seed": 0}}
    assert key(**base) == key(**base | {"recipe": {"b": [2], "a": 1}}), "order says nothing"
    others = [{"recipe": {"a": 1}}, {"parents": {"of": "x"}}, {"data": {"seed": 1}}]
    others.append({"sources": [Path(artefact.__file__)]})
    assert len({key(**base), *(key(**base | other) for other in others)}) == 5


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A small package in rrmlib's place."""
    folder = tmp_path / "rrmlib"
    for name, code in {
        "__init__": "VERSION = 1",
        "artefact": "",
        "one": "from rrmlib.pack import two\nif TYPE_CHECKING:\n    import rrmlib.far\n",
        "far": "import rrmlib.artefact",
        "late": "def f():\n    from rrmlib.far import g\n",
        "whole": "from rrmlib.pack import name",
        "pack/__init__": "name = 1",
        "pack/two": "import json, rrmlib",
        "pack/three": "from rrmlib import far",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(code)
    monkeypatch.setattr(artefact, "__file__", str(folder / "artefact.py"))
    return folder


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("rrmlib.one", "one pack/__init__ pack/two"),
        ("rrmlib.late", "artefact far late"),
        ("rrmlib.whole", "artefact far pack/__init__ pack/three pack/two whole"),
        ("rrmlib.pack", "artefact far pack/__init__ pack/three pack/two"),
        ("rrmlib.pack.two", "pack/__init__ pack/two"),
        ("rrmlib.gone", ""),
    ],
)
def test_what_a_module_can_reach(package, module, files):
    found = [path.relative_to(package).with_suffix("").as_posix() for path in library([module])]
    assert " ".join(found) == files


def test_what_is_not_to_be_looked_into(package):
    assert [path.name for path in library(["rrmlib.late"], without={"rrmlib.far"})] == ["late.py"]


def test_imports_anywhere_but_for_type_checking():
    code = "import rrmlib.store as s, json\nclass A:\n    def f(self):\n        from rrmlib import stats, __version__\n"
    assert imported(code) == {"rrmlib.store", "rrmlib.stats", "rrmlib"}
    assert imported("from rrmlib.benchmarks import benchmark") == {"rrmlib.benchmarks"}
    assert imported("from . import x\nimport rrmlibrary") == set()


CODE = '''
"""Docstring."""
def f(a, b=None):
    "What it does."
    return [a, b][0:None], f"{a!r:>3}", ..., 1.5, b"x", -1
'''


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (CODE.replace('"""Docstring."""', "# a comment\n"), True),
        (CODE.replace('    "What it does."\n', "\n"), True),
        (CODE.replace("return [a, b]", "return [\n        a,\n        b,\n    ]"), True),
        (CODE.replace("1.5", "1.6"), False),
        (CODE.replace("b=None", "b=0"), False),
        (CODE.replace("-1", "+1"), False),
        (CODE.replace("!r", "!s"), False),
        (CODE.replace("[0:None]", "[0:]"), False),
        (CODE.replace("1.5", "True").replace("-1", "-True"), False),
    ],
)
def test_the_digest_of_code_is_of_what_it_does(package, other, same):
    digests = []
    for code in (CODE, other):
        (package / "one.py").write_text(textwrap.dedent(code))
        digests.append(artefact.sources_digest([package / "one.py"]))
    assert (digests[0] == digests[1]) == same


def test_the_digest_of_code_is_the_same_for_every_python_version(package):
    """Shipped models are keyed on one machine and looked for on others. The literal was computed with 3.11."""
    (package / "one.py").write_text(CODE)
    assert artefact.sources_digest([package / "one.py"])[:16] == "5791cfca6cfa299f"
