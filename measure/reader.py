"""The bars of the reader as one file: 1,000 items x 4 traces x 500 words, in headless Chromium.

The file is written twice and must be the same. It is opened several times, each time in a new context: first paint by
the browser's own account, and when the first item is on the screen. Filters and searches are timed in the page, from
the click or the last key to the frame that shows the new list; a search that the reader waits for first also prepares
what is searched. Exit status 1 where a bar is missed.

    sh tests/browser.sh setup && .venv/bin/python measure/reader.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE), str(HERE / "tests" / "viewer")]

from documents import large  # noqa: E402

from rrmlib.viewer.page import page, write  # noqa: E402

RUNS = 5
CODE = """
await page.waitForSelector("[data-ready=yes]");
const ready = await page.evaluate(() => performance.now());
const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
// From the event to the frame that shows the new list.
const timed = (act) => page.evaluate(async (act) => {
  const rows = document.querySelector("#rows");
  const drawn = new Promise((done) => new MutationObserver(done).observe(rows, { childList: true }));
  const start = performance.now();
  if (act.click) document.querySelector(act.click).click();
  else { const q = document.querySelector("#q"); q.value = act.type; q.dispatchEvent(new Event("input")); }
  await drawn;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}, act);
const out = { paint, ready, filter: [], search: [], step: [] };
out.first = await timed({ type: "thirteen wait" });
await page.waitForTimeout(1500);
for (const name of ["disagree", "wrong", "flipped"]) {
  out.filter.push(await timed({ click: `[data-filter="${name}"]` }));
  out.filter.push(await timed({ click: "#clear" }));
}
for (const q of ["however", "however thirteen", '"the answer"', "nowheretobefound", "a b c d e", ""])
  out.search.push(await timed({ type: q }));
for (let i = 0; i < 5; i++) {
  out.step.push(await page.evaluate(async () => {
    const start = performance.now();
    document.querySelector("#next").click();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - start;
  }));
}
return out;
"""


def main() -> int:
    document = large()
    missed = []

    def bar(what: str, value: float, limit: float, unit: str) -> None:
        print(f"{what:52} {value:9.2f} {unit:3} bar {limit:g}{'' if value < limit else '   MISSED'}")
        if value >= limit:
            missed.append(what)

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = write(document, Path(folder) / "reader.html")
        print(f"written in {time.perf_counter() - start:.1f} s; again the same: {_same(path, document)}")
        bar("file", path.stat().st_size / 1e6, 15, "MB")
        order = json.dumps({"url": path.as_uri(), "code": CODE}) + "\n"
        script = str(HERE / "tests" / "viewer" / "browser.mjs")
        done = subprocess.run(["node", script], input=order * RUNS, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        if "failed" in answer:
            raise SystemExit(answer["failed"])
    seen = [answer["result"] for answer in answers]
    bar("requests, errors, dialogs", sum(len(a[k]) for a in answers for k in ("requests", "errors", "dialogs")), 1, "")
    bar(f"first paint, median of {RUNS}", statistics.median(s["paint"] for s in seen), 1000, "ms")
    bar("first paint, worst", max(s["paint"] for s in seen), 1000, "ms")
    print(f"{'first item on the screen, median':52} {statistics.median(s['ready'] for s in seen):9.2f} ms")
    for name, what in (("filter", "filter"), ("search", "search"), ("step", "next item")):
        times = sorted(value for s in seen for value in s[name])
        bar(f"{what}, median of {len(times)}", statistics.median(times), 200, "ms")
        print(f"{what + ', worst':52} {times[-1]:9.2f} ms")
    print(f"{'search at once after opening, median':52} {statistics.median(s['first'] for s in seen):9.2f} ms")
    return 1 if missed else 0


def _same(path: Path, document: dict) -> bool:
    return path.read_text("utf-8") == page(document)


if __name__ == "__main__":
    raise SystemExit(main())
