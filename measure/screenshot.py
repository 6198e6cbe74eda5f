"""The picture of the reader in the README: docs/reader.png, from the lab's traces, in headless Chromium.

    make figures && sh tests/browser.sh setup
    .venv/bin/python measure/screenshot.py                  # runs/laptop/traces.sqlite -> docs/reader.png

What it opens is the reader's single file of these judges on the lab's test split (as `rrm view STORE --judge ... --out`
writes it). Nothing is chosen by eye: it shows the first item of the section whose base is wrong and whose trained judge
is right in the first order, one column for each judge. Same store, same item; that the pixels are the same takes the
same browser and fonts. Exit status 1 where the page did anything else than show itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rrmlib.artefact import write_whole
from rrmlib.store import Store
from rrmlib.viewer.page import write
from rrmlib.viewer.records import Record, document
from rrmlib.viewer.view import items_of, patterns_of, section_of

ROOT = Path(__file__).resolve().parents[1]
BROWSER = ROOT / "tests" / "viewer" / "browser.mjs"
TRAINED, BASE = "rrm-s", "base-s"
JUDGES = (TRAINED, BASE, "rm-r1-s")  # the columns
ORDER = "AB"
SIZE = {"width": 1360, "height": 700}
SHOT = """
await page.waitForSelector("[data-ready=yes]");
await page.evaluate(() => document.fonts.ready);
await page.screenshot({ path: %s, type: "png" });
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=ROOT / "runs" / "laptop" / "traces.sqlite")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reader.png")
    parser.add_argument("--benchmark", default="", help="default: the lab's test split")
    parser.add_argument("--section", default="reasoning")
    options = parser.parse_args()
    if not options.store.is_file():
        sys.exit(f"{options.store}: no such store; make figures makes it")
    if not (BROWSER.parent / "node_modules" / "playwright-core").is_dir():
        sys.exit("no browser to take a picture of: sh tests/browser.sh setup")
    made = traces(options.store, options.benchmark)
    item = first(made["items"], options.section)
    print(f"{options.store}: {len(made['items']):,} items of {item['benchmark']}, shown is {item['id']}")
    columns = ",".join(quote(f"{judge}|{ORDER}|0", safe="") for judge in JUDGES)
    with tempfile.TemporaryDirectory() as folder:
        address = write(made, Path(folder) / "reader.html").as_uri()
        write_whole(options.out, lambda png: shoot(f"{address}#item={quote(item['id'], safe='')}&cols={columns}", png))
    print(f"{options.out}: {options.out.stat().st_size / 1e3:,.0f} kB")
    return 0


def traces(path: Path, benchmark: str) -> Record:
    """The document of these judges on a benchmark, the lab's test split where none is named."""
    with Store(path, readonly=True) as store:
        there = store.table(judge=TRAINED)
        of = there["benchmark"].unique() if len(there) else []
        named = [name for name in of if name == benchmark or (not benchmark and name.startswith("lab-test-seed"))]
        if len(named) != 1:  # none, or those of several worlds
            what = benchmark or "the lab's test split"
            sys.exit(f"{path}: {len(named)} benchmarks are {what}; choose one that {TRAINED} judged: {', '.join(of)}")
        judgments, parsers = [], {}
        for judge in JUDGES:
            judgments += (said := store.judgments(judge=judge, benchmark=named[0]))
            if not said:
                sys.exit(f"{path}: no judgments of {named[0]} by {judge}: rrm lab judge {judge}")
            parsers[judge] = store.table(judge=judge, benchmark=named[0])["parser"].iloc[0]
    return document(
        items_of(path)(named[0]),
        judgments,
        title=path.name,
        benchmark=named[0],
        parsers=parsers,
        section=section_of,
        patterns=patterns_of(named[0]),
    )


def first(items: list[Record], section: str) -> Record:
    """The first item of a section whose base is wrong and whose trained judge is right, in the order that is shown."""
    for item in items:
        right = {t["judge"]: t["right"] for t in item["traces"] if t["order"] == ORDER and t["sample"] == 0}
        if item["section"] == section and right.keys() >= set(JUDGES) and right[TRAINED] and right[BASE] is False:
            return item
    sys.exit(f"no item of section {section!r} on which {BASE} is wrong and {TRAINED} is right: name another --section")


def shoot(url: str, png: Path) -> None:
    """The page at `url` as a picture. Exits where it could not be shown, or asked for anything, or had an error."""
    look = {"viewport": SIZE, "colorScheme": "light", "reducedMotion": "reduce", "locale": "en-GB"}
    order: dict[str, Any] = {"url": url, "code": SHOT % json.dumps(str(png)), "options": look}
    command = ["node", str(BROWSER)]
    done = subprocess.run(command, input=json.dumps(order) + "\n", capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout or "{}") or {"failed": done.stderr.strip() or "the browser ended"}
    if "failed" in answer or answer["errors"] or answer["requests"]:
        sys.exit(f"no picture: {answer.get('failed') or answer['errors'] or answer['requests']}")


if __name__ == "__main__":
    raise SystemExit(main())
