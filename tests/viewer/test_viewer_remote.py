# ruff: noqa: E501  the code of the page is long lines
"""The page of `rrm view` in a real browser, against the real server on a store: lists in pages, items, notes, links."""

from __future__ import annotations

import threading

import pytest

from rrmlib.comparison import Comparison, Order, ask
from rrmlib.judgment import Judgment, Reading, Verdict
from rrmlib.store import Store
from rrmlib.viewer.page import remote_page
from rrmlib.viewer.serve import Server
from rrmlib.viewer.view import View, items_of

READY = 'await page.waitForSelector("[data-ready=yes]");\n'
ODD = "odd \ud800 &=#%2C,\u202e"


@pytest.fixture
def address(tmp_path):
    """A store of 260 items and two judges, who disagree on the last ones, served."""
    names = [*(f"q{i:03}" for i in range(260)), ODD]
    items = [Comparison(id=n, query=ask(f"What is {n}?"), first="a", second="b", label="first") for n in names]
    judged = []
    for i, name in enumerate(names):
        for judge in ("one", "two, or 2"):
            pick = "second" if i >= 230 and judge != "one" else "first"
            text = f"<script>alert(1)</script> \\boxed{{Assistant {1 if pick == 'first' else 2}}}"
            more = {"sample": 0, "key": "", "finish": "stop", "tokens": 5, "reading": Reading.of(Verdict(pick))}
            judged.append(Judgment(item=name, order=Order.AB, judge=judge, text=text, **more))
    path = tmp_path / "t.sqlite"
    with Store(path) as store:
        store.record(judged, benchmark="b", parser="rrm.v1")
    with Server(View(path, items_of(path, given={"b": items}), quiet=True), remote_page("t.sqlite")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


def test_the_page_of_a_server_finds_shows_links_and_keeps_notes(browser, address):
    found = browser(
        address,
        READY
        + """
        const idle = () => page.waitForTimeout(400);
        const out = [await page.textContent("#count"), await page.textContent("#item-name")];
        await page.evaluate(() => { document.querySelector("#list").scrollTop = 1e6; }); await idle();
        out.push(await page.$$eval("#rows .id", (all) => all.at(-2).textContent));
        await page.keyboard.press("d"); await idle(); out.push(await page.textContent("#item-name"));
        out.push(await page.$$eval(".column .badge", (all) => all.map((e) => e.textContent)));
        await page.keyboard.press("n"); await page.keyboard.type("kept?"); await page.keyboard.press("Escape"); await idle();
        out.push(await page.textContent("#note-state"));
        await page.click('[data-filter="disagree"]'); await idle(); out.push(await page.textContent("#count"));
        await page.focus("#list"); await page.keyboard.press("End"); await idle();
        const name = await page.textContent("#item-name"); const url = page.url();
        await page.keyboard.press("Home"); await idle();
        await page.goto("about:blank"); await page.goto(url); await page.waitForSelector("[data-ready=yes]");
        out.push(name === await page.textContent("#item-name"), name);
        await page.click('[data-filter="noted"]'); await idle(); out.push(await page.$$eval("#rows .id", (all) => all.map((e) => e.textContent)));
        await page.click("#clear"); await page.fill("#q", "q11 script"); await idle(); out.push(await page.textContent("#count"));
        await page.click("#judge-box summary"); await page.uncheck('#judges input[value="one"]'); await idle();
        out.push(await page.textContent("#judge-count"), await page.textContent('[data-filter="wrong"] .n'));
        await page.check('#judges input[value="one"]'); await idle(); out.push(await page.textContent('[data-filter="wrong"] .n'));
        out.push(await axe());
        return out;""",
        asks=address.partition("?")[0],
    )
    assert found[:3] == ["261 items", "q000", "q259"]
    assert found[3:7] == ["q230", ["✓ right", "✗ wrong"], "kept", "31 of 261 items"]
    assert found[7] is True
    assert "U+D800" in found[8]
    assert found[9] == ["q230"]
    assert found[10:] == ["10 of 261 items", "(1 of 2)", "31", "31", []]


def test_notes_on_what_is_not_there_do_not_keep_the_others_from_being_taken_over(browser, address):
    found = browser(
        address,
        READY
        + """
        const note = (id) => ({ benchmark: "b", id, text: "given" });
        await page.click("#notes-file");
        await page.fill("#notes-json", JSON.stringify({ version: 1, notes: [note("gone"), note("q001")] }));
        await page.click("#notes-take"); await page.waitForTimeout(400);
        return [await page.textContent("#notes-state"), await page.inputValue("#notes-json")];""",
        clean=False,  # the browser itself tells of what is refused
    )
    assert found[0].startswith("1 note taken over. Not 1 of 2: no item 'gone' in benchmark 'b'")
    assert "q001" in found[1]
    assert "gone" not in found[1]


def test_without_its_token_the_page_says_what_to_do(browser, address):
    found = browser(address.partition("?")[0], "return await page.textContent('body');", clean=False)
    assert "open the address that rrm view printed" in found
