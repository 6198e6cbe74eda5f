"""docs/definitions.md: every example is executed, every benchmark is there, and its constants are the code's."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from rrmlib.benchmarks import NAMES, benchmark

PAGE = Path(__file__).parents[1] / "docs" / "definitions.md"
TEXT = PAGE.read_text(encoding="utf-8")
SETUP, *SECTIONS = re.split(r"^## ", TEXT, flags=re.M)
BY_TITLE = {section.partition("\n")[0].strip(): section for section in SECTIONS}


def run(section: str, names: dict[str, Any]) -> int:
    """The examples of a section in order, in one namespace; returns how many there were."""
    blocks = re.findall(r"^```python\n(.*?)^```", section, flags=re.M | re.S)
    runner = doctest.DocTestRunner(verbose=False)
    failures: list[str] = []
    for number, block in enumerate(blocks):
        test = doctest.DocTestParser().get_doctest(block, names, f"block {number}", str(PAGE), 0)
        runner.run(test, out=failures.append, clear_globs=False)
        names.update(test.globs)
    assert not failures, "".join(failures)
    return runner.tries


@pytest.mark.parametrize("title", BY_TITLE)
def test_examples(title: str) -> None:
    names: dict[str, Any] = {}
    run(SETUP, names)
    assert run(BY_TITLE[title], names) > 0


def test_every_source_is_a_benchmark_or_described_among_the_sources() -> None:
    """A reader of recorded data that is no benchmark has a paragraph of its own."""
    folder = Path(__file__).parents[1] / "rrmlib" / "benchmarks"
    shared = {"__init__", "base", "rows", "credit", "source"}
    modules = {path.stem for path in folder.glob("*.py")} - shared
    assert set(re.findall(r"^\*\*(\w+)\*\*", BY_TITLE["Recorded sources"], flags=re.M)) == modules - set(NAMES)


def test_every_benchmark_has_a_section_and_nothing_else_does() -> None:
    assert set(BY_TITLE) == {"Columns of every table", "Votes, sums and stopping", "Recorded sources", *NAMES}


def test_the_table_of_constants_is_the_code() -> None:
    stated = dict(re.findall(r"^\| (\w+) \| ([\d.]+|excluded) \|", BY_TITLE["Columns of every table"], flags=re.M))
    worth = {name: None if value == "excluded" else float(value) for name, value in stated.items()}
    assert worth == {name: benchmark(name).invalid for name in NAMES}


def test_a_wrong_example_is_noticed() -> None:
    with pytest.raises(AssertionError, match="Expected"):
        run("```python\n>>> 1 + 1\n3\n```\n", {})
