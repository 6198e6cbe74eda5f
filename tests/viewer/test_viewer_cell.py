"""The reader as the output of a notebook cell: executed, saved, opened again."""

from __future__ import annotations

import html
import re
from pathlib import Path

import nbformat
import pytest
from documents import document, small
from nbclient import NotebookClient

from rrmlib.viewer.page import cell

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The HTML output of an executed and saved notebook, between other cells of a page."""
    notebook = nbformat.v4.new_notebook()
    code = f"import sys; sys.path[:0] = {[str(HERE), str(HERE.parents[1])]}\n"
    code += "import documents\nfrom rrmlib.viewer.page import cell\ncell(documents.small(), height=700)"
    notebook.cells = [nbformat.v4.new_code_cell(code)]
    path = tmp_path_factory.mktemp("notebook") / "executed.ipynb"
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.write(notebook, path)
    (output,) = nbformat.read(path, 4).cells[0].outputs
    page = path.with_suffix(".html")
    page.write_text(f"<!DOCTYPE html><title>cells</title><p>before</p>{output.data['text/html']}<p>after</p>", "utf-8")
    return output, page


def test_an_executed_cell_is_a_reader_in_a_frame_that_sees_nothing_else(executed, browser):
    output, path = executed
    assert output.data["text/plain"] == "Reader of 24 items: small"
    found = browser(
        path,
        """
        const frame = page.frames()[1];
        await frame.waitForSelector("[data-ready=yes]");
        const out = [await frame.textContent("#count"), await frame.evaluate(() => origin)];
        out.push(await frame.evaluate(() => { try { return String(parent.document); } catch (e) { return e.name; } }));
        out.push(await frame.evaluate(() => { try { return String(localStorage); } catch (e) { return e.name; } }));
        await frame.click("#item-name"); await page.keyboard.press("j"); await page.waitForTimeout(80);
        out.push(await frame.textContent("#item-name"), page.url().split("#")[1] ?? "");
        await page.keyboard.press("n"); await page.keyboard.type("in a cell"); await page.keyboard.press("Escape");
        await page.waitForTimeout(80);
        out.push(await frame.textContent("#note-state"));
        await frame.click("#notes-file"); out.push((await frame.inputValue("#notes-json")).includes("in a cell"));
        out.push(await frame.isVisible("#link"), page.frames().length);
        return out;""",
    )
    assert found[:4] == ["24 items", "null", "SecurityError", "SecurityError"]
    assert found[4:6] == ["q01", ""]
    assert found[6] == "kept until this page is closed: save it with Notes…"
    assert found[7:] == [True, False, 2]


def test_a_front_end_that_drops_the_frame_shows_a_line_of_text():
    made = cell(document([], title='"><script>alert(1)</script>\x00'))._repr_html_()
    assert re.fullmatch(r'<iframe sandbox="allow-scripts" [^<>]*>[^<>]*</iframe>', made)
    assert "allow-same-origin" not in html.unescape(made.partition("srcdoc")[0])
    assert "is not trusted. Run the cell" in made.rpartition(">Reader of 0 items")[2]
    assert 'height="900"' in cell(small(), height=900)._repr_html_()
