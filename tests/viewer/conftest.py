"""One real browser for all tests of the reader: the system's Chromium, by playwright-core (`sh tests/browser.sh`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
Run = Callable[..., Any]


def missing() -> str:
    """Why there is no browser here, or ""."""
    if not shutil.which("node"):
        return "node is not installed"
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        return "Chromium is not installed (sh tests/browser.sh, or CHROMIUM=/path/to/it)"
    for name in ("playwright-core", "axe-core"):
        if not (HERE / "node_modules" / name).is_dir():
            return f"{name} is not installed: npm ci in tests/viewer, or sh tests/browser.sh"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Run]:
    """`browser(url, code, **options)`: what `code` returns, run as the body of a function of (page, context, axe).

    With `clean`, the page must have had no error, dialog or second page, and asked for nothing but its address and what
    begins with `asks`.
    """
    if problem := missing():
        if "browser" in os.environ.get("RRM_REQUIRE", "").split(","):
            pytest.fail(problem)
        pytest.skip(problem)
    with subprocess.Popen(
        ["node", str(HERE / "browser.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
    ) as process:
        assert process.stdin
        assert process.stdout

        def run(url: str | Path, code: str, *, clean: bool = True, asks: str = "\n", **options: Any) -> Any:
            address = url if isinstance(url, str) else url.resolve().as_uri()
            process.stdin.write(json.dumps({"url": address, "code": code, "options": options}) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or '{"failed": "the browser ended"}')
            assert "failed" not in answer, answer["failed"]
            if clean:
                answer["requests"] = [each for each in answer["requests"] if not each.startswith(asks)]
                seen = {name: answer[name] for name in ("errors", "requests", "dialogs", "pages")}
                assert seen == {"errors": [], "requests": [], "dialogs": [], "pages": 1}
            return answer["result"]

        yield run
        process.stdin.close()
        process.wait(timeout=20)


sys.path.insert(0, str(HERE))  # documents.py, also where pytest is told to import otherwise
