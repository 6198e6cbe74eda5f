# ruff: noqa: E501  the code of the page and hostile texts are long lines
"""Hostile texts in every place that holds text: nothing runs, nothing is asked for, nothing covers the page."""

from __future__ import annotations

import pytest
from documents import CANARY, OUTSIDE, document, hostile, hostile_document, item, trace

from rrmlib.viewer.page import page, remote_page

READY = 'await page.waitForSelector("[data-ready=yes]");\n'
# What an item of the page may be made of, and what of it may act.
SAFE = (
    "A B BDI BUTTON CAPTION DETAILS DIV H2 H3 HEADER I KBD LABEL OPTGROUP OPTION OUTPUT P SECTION SELECT SPAN SUMMARY"
)
SAFE += " TABLE TBODY TD TEXTAREA TH THEAD TR MAIN NOSCRIPT"


@pytest.fixture(scope="module")
def seen(browser, tmp_path_factory):
    """What the page of all hostile texts did while every item was opened, and its marks, search and difference used."""
    path = tmp_path_factory.mktemp("hostile") / "page.html"
    path.write_text(page(hostile_document()), encoding="utf-8")
    code = (
        READY
        + """
        const total = Number((await page.textContent("#count")).split(" ")[0]);
        const out = await page.evaluate(async (total) => {
          const [shown, tags, attributes] = [[], new Set(), new Set()];
          const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          for (let i = 0; i < total; i++) {
            for (const part of document.querySelectorAll("#main details")) part.open = true;
            for (const part of document.querySelectorAll("#main .more")) part.click();
            await frame();
            shown.push([...document.querySelectorAll(".body .text")].map((e) => e.textContent).join("").slice(0, 3000));
            for (const element of document.querySelectorAll("#main *")) {
              tags.add(element.tagName);
              for (const { name } of element.attributes) attributes.add(name);
            }
            if (i % 20 === 0) document.querySelector("#diff").click();
            document.querySelector("#next").click();
            const now = () => document.querySelector("#list [aria-selected=true]")?.dataset.at;
            while (i + 1 < total && now() !== String(i + 1)) await frame();
          }
          return { total, shown, tags: [...tags], attributes: [...attributes] };
        }, total);
        await page.fill("#q", "<script"); await page.waitForTimeout(300);
        out.found = await page.textContent("#count");
        await page.click("#notes-file"); await page.fill("#notes-json", '{"version":1,"notes":[{"benchmark":"<img src=x onerror=alert(1)>","id":"<script>","text":"<svg onload=alert(1)>"}]}');
        await page.click("#notes-take"); await page.keyboard.press("Escape");
        out.canary = await page.evaluate(() => typeof window.canary);
        out.axe = await axe();
        return out;"""
    )
    return browser(path, code)  # fails where anything ran, opened or was asked for


def test_nothing_runs_and_nothing_is_asked_for(seen):
    assert seen["total"] == len(hostile()) >= 60
    assert seen["canary"] == "undefined"
    assert seen["axe"] == []


def test_only_elements_of_the_page_are_there_and_none_of_them_acts(seen):
    assert set(seen["tags"]) <= set(SAFE.split())
    assert not [
        name for name in seen["attributes"] if name.startswith("on") or name in ("href", "src", "srcdoc", "action")
    ]


def test_every_text_is_shown_as_it_is(seen):
    for text, shown in zip(hostile(), seen["shown"]):
        if text.isascii() and text.isprintable() and text.strip() and len(text) < 3000:
            assert shown == text


def test_what_cannot_be_seen_is_made_visible(browser, tmp_path):
    text = "\x00\x00a\u202eb\u2066\u200f\ud800 \r x\r\ny \U000e0041 \u200d\ufeff"
    path = tmp_path / "page.html"
    path.write_text(page(document([item("a", [trace("j", "AB", 0, text=text)])])), encoding="utf-8")
    found = browser(
        path, READY + 'return await page.$$eval("#columns .unseen", (all) => all.map((e) => e.textContent));'
    )
    assert found == ["NUL ×2", "RLO", "LRI", "RLM", "U+D800", "CR", "U+E0041", "BOM"]


def test_lone_surrogates_and_odd_names_survive_in_links_and_search(browser, tmp_path):
    odd = "\ud800 q#&=,%u|\u202e"
    items = [item("a", [trace("j", "AB", 0, text="x")]), item(odd, [trace("j,|%", "AB", 0, text="say \udc00 it")])]
    path = tmp_path / "page.html"
    path.write_text(page(document(items)), encoding="utf-8")
    code = (
        READY
        + """
        await page.keyboard.press("j"); await page.waitForTimeout(80);
        const url = page.url(); const name = await page.textContent("#item-name");
        await page.keyboard.press("k"); await page.waitForTimeout(80);
        await page.goto(url); await page.reload(); await page.waitForSelector("[data-ready=yes]");
        return [name, await page.textContent("#item-name"), await page.$$eval("select.choose", (all) => all.map((e) => e.value))];"""
    )
    name, again, columns = browser(path, code)
    assert name == again
    assert "U+D800" in name
    assert columns[-1] == "j,|%|AB|0"


def test_a_title_is_text_in_the_head_of_the_page(browser, tmp_path):
    for i, title in enumerate((f"</title><script>{CANARY}</script>", f"<img src={OUTSIDE}>\ud800\u202e{{{{js}}}}")):
        for text in (page(document([], title=title)), remote_page(title).replace('content="server"', 'content="x"')):
            assert "</title><script>" not in text.replace("</title>\n", "")
            assert text.count("<script") == text.count("</script>")
        path = tmp_path / f"{i}.html"
        path.write_text(page(document([], title=title)), encoding="utf-8")
        assert browser(path, READY + "return await page.evaluate(() => typeof window.canary);") == "undefined"


def test_the_policy_stops_what_a_mistake_in_the_page_would_let_through(browser, tmp_path):
    """The second line of defence: markup that does get into the page neither runs nor loads."""
    path = tmp_path / "page.html"
    path.write_text(
        page(document([])).replace("<body>", f"<body><script>{CANARY}</script><img src={OUTSIDE}>"), "utf-8"
    )
    code = (
        READY
        + """
        const sink = await page.evaluate(() => { try { document.body.innerHTML = "<b>x</b>"; return "taken"; } catch { return "refused"; } });
        return [sink, await page.evaluate(() => typeof window.canary)];"""
    )
    assert browser(path, code, clean=False) == ["refused", "undefined"]
