"""The picture of the reader in the README: which item it shows, and that anyone can take it."""

import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from documents import document, item, trace

from rrmlib.benchmarks.builtin import load
from rrmlib.comparison import Order
from rrmlib.judgment import Judgment, Reading, Verdict
from rrmlib.store import Store

FILE = Path(__file__).parents[2] / "measure" / "screenshot.py"


@pytest.fixture(scope="module")
def screenshot():
    spec = importlib.util.spec_from_file_location("screenshot", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(trained, base, third=0, order="AB", sample=0):
    picks = {"rrm-s": trained, "base-s": base, "rm-r1-s": third}
    return [trace(judge, order, pick, sample=sample) for judge, pick in picks.items()]


def test_the_picture_shows_the_first_item_of_the_section_where_only_the_base_is_wrong(screenshot):
    made = document(
        [
            item("other", said(0, 1)),
            item("base right", said(0, 0), section="reasoning"),
            item("both wrong", said(1, 1), section="reasoning"),
            item("unread", said(0, None), section="reasoning"),
            item("two judges", said(0, 1)[:2], section="reasoning"),
            item("another order", [*said(0, 0), *said(0, 1, order="BA"), *said(0, 1, sample=1)], section="reasoning"),
            item("this", said(0, 1, third=1), section="reasoning"),
            item("later", said(0, 1), section="reasoning"),
        ]
    )
    assert screenshot.first(made["items"], "reasoning")["id"] == "this"
    with pytest.raises(SystemExit, match="no item of section 'safety'"):
        screenshot.first(made["items"], "safety")


def store(path):
    """Judgments of built-in items in both orders: the base always prefers the first one shown, the others are right."""
    made = []
    for one in load(None).items:
        for judge in ("base-s", "rrm-s", "rm-r1-s"):
            for order in (Order.AB, Order.BA):
                right = "first" if (one.label == "first") == (order == Order.AB) else "second"
                reading = Reading.of(Verdict("first" if judge == "base-s" else right))
                plain = {"key": "", "text": "[[A]]", "finish": "stop", "tokens": 5}
                made.append(Judgment(item=one.id, order=order, sample=0, judge=judge, reading=reading, **plain))
    with Store(path) as kept:
        kept.record(made, benchmark="builtin", parser="direct.v1")
    return path


def test_the_command_writes_a_picture(browser, tmp_path):
    command = [
        sys.executable,
        str(FILE),
        "--store",
        str(store(tmp_path / "t.sqlite")),
        "--out",
        str(tmp_path / "r.png"),
    ]
    done = subprocess.run([*command, "--benchmark", "builtin"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = next(one for one in load(None).items if one.subset == "reasoning" and one.label == "second")
    assert f"80 items of builtin, shown is {shown.id}\n" in done.stdout
    raw = (tmp_path / "r.png").read_bytes()
    assert (raw[:8], struct.unpack(">II", raw[16:24])) == (b"\x89PNG\r\n\x1a\n", (1360, 700))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "0 benchmarks are the lab's test split; choose one that rrm-s judged: builtin" in done.stderr
