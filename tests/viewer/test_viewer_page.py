# ruff: noqa: E501  the code of the page and hostile texts are long lines
"""The reader in a real browser: finding, reading, comparing, keys, links, notes, paper, narrow windows, bad input."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from importlib.resources import files
from pathlib import Path

import pytest
from documents import FAMILIES, document, item, large, small, trace

from rrmlib.viewer.filters import Query, select, thresholds
from rrmlib.viewer.page import SCRIPTS, page, remote_page, write

READY = 'await page.waitForSelector("[data-ready=yes]");\n'
HELP = """
const count = () => page.textContent("#count");
const ids = () => page.$$eval("#rows .id", (all) => all.map((one) => one.textContent));
const current = () => page.textContent("#item-name");
const idle = () => page.waitForTimeout(120);
const shows = (selector, text) => page.waitForFunction(([s, t]) => document.querySelector(s).textContent.startsWith(t), [selector, text]);
const filter = (name) => page.click(`[data-filter="${name}"]`);
"""


@pytest.fixture(scope="module")
def read(browser, tmp_path_factory):
    """`read(document, code, **options)`: what `code` returns in the page of that document, opened from disk."""
    folder = tmp_path_factory.mktemp("pages")
    paths = {}

    def run(made, code, *, fragment="", **options):
        text = page(made)
        path = paths.setdefault(text, folder / f"{len(paths)}.html")
        if not path.exists():
            path.write_text(text, encoding="utf-8", newline="\n")
        return browser(path.resolve().as_uri() + fragment, READY + HELP + code, **options)

    return run


def functions(browser, code):
    """Runs `code` with functions of the scripts, on an empty page."""
    source = "\n".join(files("rrmlib.viewer").joinpath(name).read_text("utf-8") for name in SCRIPTS[:2])
    body = f"(() => {{ {source}\n{code} }})()"
    return browser("about:blank", f"return await page.evaluate({json.dumps(body)});")


# --- The file ---------------------------------------------------------------------------------------------------------


def test_a_page_is_one_file_that_holds_the_document_and_is_the_same_again(tmp_path):
    made = small()
    text = page(made)
    assert text == page(json.loads(json.dumps(made)))
    packed = re.search(r'id="data">([^<]*)</script>', text)[1]
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == made
    assert write(made, tmp_path / "new" / "reader.html").read_text("utf-8") == text
    assert not re.search(r'(?:src|href)="(?!#)', text)


def test_the_policy_forbids_the_network_and_names_the_script():
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page(small()))[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src 'self'" in remote_page("a store")


def test_numbers_that_are_no_json_are_refused():
    with pytest.raises(ValueError, match="Out of range"):
        page(document([item("a", [trace("j", "AB", 0, values=[float("nan"), 1])])]))


# --- Finding ----------------------------------------------------------------------------------------------------------


def test_filters_search_and_sort_are_combined_and_counted(read):
    found = read(
        small(),
        """
        const out = [await count(), await current()];
        await filter("disagree"); await idle(); out.push(await count());
        await filter("wrong"); await page.selectOption("#section", "=chat"); await idle(); out.push(await count());
        await page.click("#clear"); await idle(); out.push(await count());
        await page.fill("#q", '"on ITEM 7" decide'); await idle(); out.push(await count());
        await page.fill("#q", '"on item 13" decide'); await idle(); out.push(await count(), await ids());
        out.push(await page.$$eval(".m-hit", (all) => all.length));
        await page.fill("#q", "-s (on [item \\ ^$.*+?{}|/"); await idle(); out.push(await page.$$eval(".m-hit", (all) => all.length > 0));
        await page.fill("#q", "nowhere"); await idle(); out.push(await count(), await page.isVisible("#none"));
        await page.click("#clear"); await page.selectOption("#sort", "share_right"); await idle();
        out.push(await count(), (await ids())[0]);
        return out;""",
    )
    assert found[:6] == ["24 items", "q00", "12 of 24 items", "8 of 24 items", "24 items", "0 of 24 items"]
    assert found[6:8] == ["1 of 24 items", ["q13"]]
    assert found[9:13] == [True, "0 of 24 items", True, "24 items"]
    assert found[13] == "q00"


def test_items_are_sorted_by_the_rate_of_a_pattern(read):
    found = read(
        small(),
        """
        const out = [await page.$$eval("#sort option[value^='rate:']", (all) => all.map((one) => one.value))];
        await page.selectOption("#sort", "rate:breakdown"); await idle(); out.push((await ids()).slice(0, 8));
        return out;""",
    )
    assert found[0] == [f"rate:{family}" for family in FAMILIES]
    assert found[1] == [item["id"] for item in select(small()["items"], Query(sort="rate:breakdown"))][:8]
    assert found[1][0] != "q00"


def test_a_list_shows_the_number_that_it_is_sorted_by(read):
    found = read(
        small(),
        """
        const first = () => page.$$eval("#rows .by", (all) => all.length ? [all.length, all[0].textContent] : []);
        const out = [await first()];
        for (const sort of ["rate:breakdown", "longest", "disagreement", "share_right", "difficulty"]) {
            await page.selectOption("#sort", sort); await idle(); out.push(await first());
        }
        return out;""",
    )
    made = select(small()["items"], Query(sort="rate:breakdown"))[0]
    places = sum(kind == "pattern:breakdown" for trace in made["traces"] for *_, kind in trace["marks"])
    rate = 100 * places / sum(trace["words"] for trace in made["traces"])
    longest = max(trace["tokens"] for item in small()["items"] for trace in item["traces"])
    assert found[0] == found[5] == [], "nothing to show, or what the row shows already"
    assert len({count for count, _ in found[1:5]}) == 1
    assert [text for _, text in found[1:5]] == [
        f"{rate:.1f} per 100 words",
        f"longest {longest}",
        "2 different verdicts",
        "50 % right",
    ]


def test_of_the_judges_chosen_only_those_count(read):
    found = read(
        small(),
        """
        await filter("wrong"); await idle();
        const number = () => page.textContent('[data-filter="wrong"] .n');
        const out = [await count(), await number()];
        await page.click("#judge-box summary");
        await page.uncheck('#judges input[value="base-s"]'); await idle();
        out.push(await count(), await number(), await page.textContent("#judge-count"), await page.textContent("#note"));
        await page.click("#clear"); await idle(); out.push(await number());
        return out;""",
    )
    assert found[:2] == ["12 of 24 items", "12"]
    assert found[2:] == ["0 of 24 items", "0", "(3 of 4)", "judge base-s misses 1 item", "12"]


def test_keys_go_to_items_disagreements_and_columns(read):
    found = read(
        small(),
        """
        const out = [];
        const press = async (key) => { await page.keyboard.press(key); await page.waitForTimeout(40); };
        await press("j"); await press("ArrowRight"); out.push(await current());
        await press("k"); out.push(await current());
        await press("d"); out.push(await current());
        await press("2"); out.push(await page.evaluate(() => document.activeElement.getAttribute("aria-label")));
        await press("j"); out.push(await current());
        await press("/"); await page.keyboard.type("jd?"); await idle();
        out.push(await page.inputValue("#q"), await count());
        await press("Escape"); await press("?"); out.push(await page.isVisible("#help"));
        await press("j"); await press("Escape"); out.push(await page.isVisible("#help"), await current());
        await shows("#count", "24 items"); await page.focus("#list"); await press("End"); out.push(await current());
        await press("Home"); await press("PageDown"); out.push(await page.getAttribute("#list", "aria-activedescendant"));
        await press("?"); await page.uncheck("#keys-on"); await press("Escape");
        await page.focus("#item-name"); await press("k"); out.push(await current());
        return out;""",
    )
    assert found[:5] == ["q02", "q01", "q03", "Text of trace 2", "q04"]
    assert found[5:10] == ["jd?", "0 of 24 items", True, False, "q04"]
    assert found[10] == "q23"
    assert re.fullmatch(r"row-\d+", found[11])
    assert found[12] == f"q{int(found[11][4:]):02}"


def test_a_link_names_item_and_columns_and_back_works(read):
    found = read(
        small(),
        """
        const hash = () => decodeURIComponent(new URL(page.url()).hash);
        const out = [await current(), await page.$$eval("select.choose", (all) => all.map((one) => one.value))];
        await page.keyboard.press("j"); await page.waitForTimeout(50); out.push(hash());
        await page.goBack(); await page.waitForTimeout(80); out.push(await current());
        await page.goForward(); await page.waitForTimeout(80); out.push(await current());
        await page.selectOption(".column:nth-child(2) select", "base-s|BA|1"); await page.waitForTimeout(50);
        out.push(hash());
        return out;""",
        fragment="#item=q05&cols=grm%7CAB%7C0,base-s%7CBA%7C1",
    )
    assert found[0] == "q05"
    assert found[1] == ["grm|AB|0", "base-s|BA|1"]
    assert found[2].startswith("#item=q06&cols=")
    assert found[3:5] == ["q05", "q06"]
    assert found[5].endswith("base-s|BA|1")


def test_a_link_to_an_item_that_is_not_there_says_so(read):
    found = read(
        small(), 'return await page.textContent("#diff-state") + await page.textContent("#said");', fragment="#item=zzz"
    )
    assert "there is no item zzz" in found


@pytest.mark.parametrize("name", ["filters.json", "votes.json"])
def test_filters_mean_here_what_they_mean_in_python(browser, name):
    worked = json.loads((Path(__file__).parent / name).read_text("ascii"))
    found = functions(
        browser,
        f"""const worked = {json.dumps(worked)};
        const source = new Embedded(worked.document);
        for (const [benchmark, id] of worked.noted) source.notes.set(keyOf(benchmark, id), "noted");
        const none = {{ filters: [], judges: [], section: null, difficulty: null, benchmark: null, q: "", sort: "given" }};
        const ids = [];
        return (async () => {{
          for (const {{ query }} of worked.cases) {{
            const found = await source.find({{ ...none, ...query }});
            ids.push(Array.from({{ length: found.total }}, (_, i) => [found.row(i).id, found.row(i).by]));
          }}
          const all = await source.find(none);
          const rows = Array.from({{ length: all.total }}, (_, i) => all.row(i));
          const flags = (row) => [...row.flags, ...(row.noted ? ["noted"] : [])].sort();
          return [ids, Object.fromEntries(rows.map((row) => [row.id, flags(row)]))];
        }})();""",
    )
    for case, ids in zip(worked["cases"], found[0]):
        assert [name for name, _ in ids] == case["ids"], case["why"]
        if "by" in case:
            assert [by for _, by in ids] == case["by"], case["why"]
    assert found[1] == {item: sorted(flags) for item, flags in worked["flags"].items()}


def test_the_same_traces_are_long_here_as_in_python(browser):
    sizes = {
        "half": [16] * 50 + [17] * 50,
        "few": [17] * 84 + [18] * 16,
        "one": [7],
        "all": [5] * 9,
        "apart": [3, 1, 2],
    }
    traces = [{"judge": judge, "tokens": size} for judge, all_ in sizes.items() for size in all_]
    found = functions(browser, f"return Object.fromEntries(longFrom([{{ traces: {json.dumps(traces)} }}]));")
    assert found == thresholds([{"traces": traces}])


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_a_header_says_who_what_and_whether_it_is_right(read):
    found = read(
        small(),
        'return await page.$$eval(".column header", (all) => all.map((one) => one.innerText.replaceAll("\\n", " ")));',
    )
    assert "✓ right" in found[0]
    assert "Prefers A, shown first" in found[0]
    assert re.search(r"rrm-s\s*shown 1 = A, 2 = B\s*sample 0\s*state read\s*70 tokens\s*finish stop", found[0])
    assert "✗ wrong" in found[1]
    assert "Prefers B, shown second" in found[1]


def test_orders_states_and_scores_are_told_in_words(read):
    made = document(
        [
            item("swap", [trace("j", "BA", 0, text="Assistant 2"), trace("j", "BA", 1, sample=1, finish="budget", text="x")]),
            item("cut", [trace("j", "AB", None, state="truncated", finish="length", note="never closed", tokens=-1, text="a b")]),
            item("tie", [trace("j", "AB", "tie", best=None, text="x", values=[5, 5])], best=()),
            item("many", [trace("j", "2.0.1", 2, best=2, text="x", values=[1, None, 9.5])], best=(2,), responses=["a", "b", "c"]),
        ]
    )  # fmt: skip
    found = read(
        made,
        """
        const out = [];
        for (let i = 0; i < 4; i++) {
          out.push(await page.$$eval(".column", (all) => all.map((one) => one.innerText.replaceAll("\\n", " "))));
          if (!i) out.push(await page.getAttribute("#columns .m-mention", "title"));
          await page.keyboard.press("j"); await page.waitForTimeout(50);
        }
        return out;""",
    )
    (first, second), mention, (cut,), (tie,), (many,) = found
    assert "Prefers A, shown second" in first
    assert "forced at its budget" in second
    assert "✗ wrong" in second
    assert mention == "means response A"
    assert "— not read" in cut
    assert "Cut off before a verdict" in cut
    assert "2 words, tokens unknown" in cut
    assert "never closed" in cut
    assert "? truth unknown Calls it a tie" in tie
    assert "shown 1st of 3" in many
    assert re.search(r"B\s+3\s+not read", many)
    assert re.search(r"C ✓ best\s+1\s+9.5", many)


def test_structure_is_titled_and_marks_are_toggled(read):
    found = read(
        small(),
        """
        const out = [await page.$$eval(".column:nth-child(3) .block summary", (all) => all.map((one) => one.innerText))];
        const marks = () => page.$$eval("#columns .m-pattern, #columns .m-mention", (all) => all.length);
        out.push(await page.$$eval(".column:nth-child(1) .m-verdict", (all) => all.map((one) => one.textContent).join("")));
        out.push(await marks());
        for (const name of ["mentions", "breakdown", "comparison", "reflection", "transition"])
          await page.click(`#legend button:has-text("${name}")`);
        out.push(await marks(), await page.$$eval("#columns .m-verdict", (all) => all.length > 0));
        return out;""",
        fragment="#item=q02",
        viewport={"width": 1600, "height": 900},
    )
    assert found[0] == ["TYPE", "SOLUTION", "RUBRIC", "EVALUATION", "ANSWER"]
    assert found[1] == "\\boxed{Assistant 1}"
    assert found[2] > 10
    assert found[3:] == [0, True]


def test_marks_stand_where_utf16_says(read):
    text = "😀 שלום Assistant 2 😀 \\boxed{Assistant 2}"
    found = read(
        document([item("a", [trace("j", "AB", 1, text=text)])]),
        """return [await page.textContent("#columns .m-mention"), await page.textContent("#columns .text"),
          await page.$$eval("#columns .m-verdict", (all) => all.map((one) => one.textContent).join(""))]""",
    )
    assert found == ["Assistant 2", text, "\\boxed{Assistant 2}"]


def test_columns_scroll_together_until_switched_off(read):
    made = document([item("a", [trace(j, "AB", 0, text=(j + " says\n") * n) for j, n in (("x", 200), ("y", 400))])])
    found = read(
        made,
        """
        const tops = () => page.$$eval(".body", (all) => all.map((b) => b.scrollTop / (b.scrollHeight - b.clientHeight)));
        const roll = async (by) => { await page.mouse.wheel(0, by); await page.waitForTimeout(250); };
        await page.hover(".column:nth-child(1) .body"); await roll(1500);
        const together = await tops();
        await page.click("#sync"); await page.hover(".column:nth-child(2) .body"); await roll(800);
        return [together, await tops()];""",
    )
    (a, b), (c, d) = found
    assert a > 0.2
    assert abs(a - b) < 0.01
    assert c == a
    assert d > b + 0.05


def test_default_columns_are_judges_in_one_order_then_orders_then_samples(read):
    code = 'return await page.$$eval("select.choose", (all) => all.map((one) => one.value));'
    assert read(small(), code) == ["rrm-s|AB|0", "base-s|AB|0"]
    one = document([item("a", [trace("j", o, 0, sample=s) for o in ("AB", "BA") for s in range(2)])])
    assert read(one, code) == ["j|AB|0", "j|BA|0"]
    assert read(one, 'await page.click("#how-many button:nth-of-type(4)");' + code) == ["j|AB|0", "j|BA|0", "j|AB|1", "j|BA|1"]  # fmt: skip
    two = document([item("a", [trace(j, "AB", 0) for j in "xy"]), item("b", [trace("y", "AB", 0)])])
    missing = read(
        two,
        'return await page.textContent("#facts") + await page.textContent(".column:nth-child(1)");',
        fragment="#item=b",
    )
    assert "no trace by x" in missing
    assert "Judge x has no trace of this item." in missing


# --- Difference -------------------------------------------------------------------------------------------------------


def lcs(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b):
            before, row[j + 1] = row[j + 1], before + 1 if x == y else max(row[j], row[j + 1])
    return row[-1]


def test_a_difference_is_a_longest_common_subsequence(browser):
    rng = random.Random(3)
    pairs = [([], []), ([1], []), ([1, 2], [1, 2])]
    for _ in range(300):
        size = rng.randint(1, 6)
        pairs.append(tuple([rng.randrange(size) for _ in range(rng.randint(0, 14))] for _ in "ab"))
    found = functions(
        browser,
        f"""return {json.dumps(pairs)}.map(([a, b]) => {{
          const kept = common(Int32Array.from(a), Int32Array.from(b), 1e6);
          return [a.filter((_, i) => kept.a[i]), b.filter((_, i) => kept.b[i])]; }});""",
    )
    for (a, b), (left, right) in zip(pairs, found):
        assert left == right
        assert len(left) == lcs(a, b)


def test_a_difference_gives_up_within_its_budget_and_takes_long_texts_that_are_alike(browser):
    found = functions(
        browser,
        """
        const words = (n, seed) => Array.from({ length: n }, (_, i) => "w" + ((i * 7919 * seed) % 99991)).join(" ");
        const long = words(180000, 1);
        const start = performance.now();
        const alike = difference(long + " end", "start " + long);
        const other = difference(long, words(180000, 3));
        return [alike.same, alike.words, alike.left, other, performance.now() - start];""",
    )
    assert found[0] == 180000
    assert found[1] == [1, 1]
    assert found[2][0][1] - found[2][0][0] == 3
    assert found[3] is None
    assert found[4] < 20_000  # about 1 s where nothing else runs


def test_the_difference_of_two_traces_is_marked_and_counted(read):
    made = document(
        [item("a", [trace("x", "AB", 0, text="one two three four"), trace("y", "AB", 0, text="one 2 three four five")])]
    )
    found = read(
        made,
        """
        await page.keyboard.press("x");
        const out = [await page.textContent("#diff-state")];
        out.push(await page.$$eval(".m-diff", (all) => all.map((one) => one.textContent)));
        await page.keyboard.press("x");
        out.push(await page.$$eval(".m-diff", (all) => all.length), await page.textContent("#diff-state"));
        return out;""",
    )
    assert found == ["only in 1: 1, only in 2: 2, in both: 3 words", ["two", "2", "five"], 0, ""]


# --- Notes ------------------------------------------------------------------------------------------------------------


def test_notes_are_kept_exported_and_taken_over(read, tmp_path):
    notes = {
        "version": 1,
        "notes": [
            {"benchmark": "lab", "id": "q03", "text": "<b>odd</b>"},
            {"benchmark": "lab", "id": "q01", "text": ""},
            {"benchmark": "lab", "id": "elsewhere", "text": "of another file"},
        ],
    }
    (tmp_path / "given.json").write_text(json.dumps(notes))
    found = read(
        small(),
        f"""
        const out = [];
        await page.keyboard.press("j"); await page.keyboard.press("n");
        await page.keyboard.type("look again"); await page.keyboard.press("Escape"); await page.waitForTimeout(100);
        out.push(await page.textContent("#note-state"));
        await page.keyboard.press("j"); await page.waitForTimeout(300); out.push(await page.isVisible("#note-text"));
        await page.reload(); await page.waitForSelector("[data-ready=yes]");
        await page.keyboard.press("k"); await page.waitForTimeout(50); out.push(await page.inputValue("#note-text"));
        await page.click('[data-filter="noted"]'); await idle(); out.push(await ids());
        await page.click("#notes-file"); out.push(JSON.parse(await page.inputValue("#notes-json")));
        const [download] = await Promise.all([page.waitForEvent("download"), page.click("#notes-save")]);
        await download.saveAs({json.dumps(str(tmp_path / "saved.json"))});
        await page.setInputFiles("#notes-read", {json.dumps(str(tmp_path / "given.json"))}); await idle();
        out.push(await page.textContent("#notes-state"));
        await page.fill("#notes-json", "no json"); await page.click("#notes-take"); await idle();
        out.push(await page.textContent("#notes-state"));
        await page.keyboard.press("Escape"); out.push(await ids());
        return out;""",
    )
    exported = {"version": 1, "notes": [{"benchmark": "lab", "id": "q01", "text": "look again"}]}
    assert found[:5] == ["kept", False, "look again", ["q01"], exported]
    assert json.loads((tmp_path / "saved.json").read_text()) == exported
    assert found[5].startswith("3 notes taken over. 1 of them on items that are not in this file")
    assert found[6].startswith("Not taken over: ")
    assert found[7] == ["q03"]


def test_notes_that_came_with_the_file_are_there_until_they_are_changed_here(read):
    given = [{"benchmark": "lab", "id": name, "text": f"of {name} <b>"} for name in ("q01", "q02", "q03")]
    found = read(
        small() | {"title": "with notes", "notes": given},
        """
        const out = [];
        await filter("noted"); await idle(); out.push(await ids());
        const press = async (key) => { await page.keyboard.press(key); await page.waitForTimeout(60); };
        await press("j"); out.push(await page.inputValue("#note-text"));
        await page.fill("#note-text", ""); await press("Escape"); await press("j");
        await page.fill("#note-text", "seen"); await press("Escape");
        await page.reload(); await page.waitForSelector("[data-ready=yes]");
        await filter("noted"); await idle(); out.push(await ids());
        await page.click("#notes-file"); out.push(JSON.parse(await page.inputValue("#notes-json")).notes);
        return out;""",
    )
    assert found[:2] == [["q01", "q02", "q03"], "of q01 <b>"]
    assert found[2] == ["q02", "q03"]
    assert found[3] == [{"benchmark": "lab", "id": "q02", "text": "seen"}, given[2]]


# --- Looks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_for_those_who_cannot_see_or_point(read, scheme):
    found = read(
        small(),
        """
        const out = [await axe()];
        await page.keyboard.press("n"); await page.keyboard.type("a note"); await page.keyboard.press("Escape");
        await page.click("#how-many button:nth-of-type(4)"); await page.click("#diff"); await filter("wrong"); await idle();
        out.push(await axe());
        await page.keyboard.press("?"); out.push(await axe());
        return out;""",
        fragment="#item=q05&cols=grm%7CAB%7C0,base-s%7CBA%7C1",
        colorScheme=scheme,
    )
    assert found == [[], [], []]


def test_dark_is_asked_for_by_the_system_or_the_reader(read):
    code = """
        const color = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const out = [await color()]; await page.click("#theme"); out.push(await color());
        await page.waitForTimeout(300); await page.reload(); await page.waitForSelector("[data-ready=yes]"); out.push(await color()); return out;"""
    light = read(small(), code, colorScheme="light")
    dark = read(small(), code, colorScheme="dark")
    assert light[0] == dark[1] == dark[2]
    assert dark[0] == light[1] == light[2] != light[0]


def test_a_narrow_window_stacks_columns_and_does_not_scroll_sideways(read):
    found = read(
        small(),
        """return [await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
          await page.$$eval(".column", (all) => all.map((one) => Math.round(one.getBoundingClientRect().left))), await axe()]""",
        viewport={"width": 380, "height": 700},
    )
    assert found == [True, [0, 0], []]


def test_paper_shows_the_item_whole_and_nothing_else(read, tmp_path):
    long = "start " + "word " * 20000 + "end"
    made = document([item("a", [trace("x", "AB", 0, text=long), trace("y", "AB", 0, text=long)])])
    found = read(
        made,
        """
        const out = [await page.$$eval("#columns .more", (all) => all.map((one) => one.textContent))];
        await page.emulateMedia({ media: "print" });
        await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
        out.push(await page.isVisible("#side"), await page.$$eval("#columns .more", (all) => all.length));
        out.push(await page.$$eval(".body", (all) => all.every((b) => b.scrollHeight <= b.clientHeight + 1)));
        out.push(await page.evaluate(() => document.body.innerText.includes("word end")));
        out.push((await page.pdf({ format: "A4" })).length > 20000);
        return out;""",
    )
    assert found[0] == ["Show all 100,009 characters (60,009 are left out here)"] * 2
    assert found[1:] == [False, 0, True, True, True]


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_an_empty_document_says_so(read):
    found = read(
        document([], note="there are no judgments"),
        'return [await count(), await page.textContent("#message"), await axe()]',
    )
    assert found == ["0 items", "There is no judgment in this document. (there are no judgments)", []]


def test_an_item_that_is_not_known_shows_the_prompt_as_asked(read):
    unknown = item(
        "u", [trace("j", "AB", 0, best=None, text="x")], best=(), query=[], responses=[], asked=[["user", "Judge this"]]
    )
    found = read(document([unknown]), 'return await page.innerText("#prompt");')
    assert "The prompt as asked" in found
    assert "Judge this" in found


def test_a_long_trace_full_of_marks_is_shown_whole_in_seconds(read):
    marks = [[i * 10, i * 10 + 4, "pattern:reflection"] for i in range(60000)]
    made = document([item("a", [trace("x", "AB", 0, text="Wait now. " * 60000) | {"marks": marks}])])
    found = read(
        made,
        """
        return await page.evaluate(() => {
          const start = performance.now();
          document.querySelector(".body .more").click();
          const all = document.querySelectorAll(".body .m-pattern");
          return [all.length, all[0].parentElement.dir, performance.now() - start];
        });""",
    )
    assert found[:2] == [60000, "auto"]
    assert found[2] < 8000  # adding to an element whose direction follows its text: more than 20 s


def test_a_note_that_scrolls_can_be_reached_by_key(read):
    note = "; ".join(f"judge number-{i} misses 1,040 items" for i in range(20))
    code = 'return [await page.getAttribute("#note", "tabindex"), await axe()];'
    assert read(small() | {"note": note}, code) == ["0", []]
    assert read(small() | {"note": "short"}, code) == [None, []]


def test_32_responses_and_a_trace_of_a_megabyte_are_shown_in_part(read):
    order = ".".join(map(str, reversed(range(32))))
    many = item(
        "m", [trace("j", order, 31, best=31, text="x", values=list(range(32)))], responses=["r" * 5000] * 32, best=(31,)
    )
    text = "<think>" + "a" * 600_000 + " " + "b c " * 100_000 + "</think>\\boxed{Assistant 1}"
    huge = item("h", [trace("j", "AB", 0, text=text)])
    found = read(
        document([many, huge]),
        """
        const out = [await page.$$eval(".many details", (all) => all.length), await page.innerText(".verdict")];
        await page.click(".many details:nth-child(32) summary");
        out.push(await page.waitForSelector(".many .text", {state: "visible"}).then(() => true, () => false));
        out.push(await page.innerText(".score-box summary"), await axe());
        const start = Date.now();
        await page.keyboard.press("j"); await page.waitForSelector(".more"); out.push(Date.now() - start);
        out.push(await page.textContent("#columns .m-verdict"));
        out.push(await page.evaluate(() => document.querySelector(".body").scrollWidth <= document.querySelector(".body").clientWidth));
        await page.click(".more"); out.push((await page.textContent(".body")).length >= 1000000);
        return out;""",
    )
    assert found[0] == 32
    assert "Prefers AF, shown 1st of 32" in found[1].replace("\n", " ")
    assert found[2:5] == [True, "32 scores, highest: AF (31)", []]
    assert found[5] < 3000
    assert found[6].startswith("\\boxed{")
    assert found[7:] == [True, True]


def test_right_to_left_texts_stay_on_their_side(read):
    mixed = "שלום עולם 123\nhello مرحبا world"
    found = read(
        document([item("שלום", [trace("ju‮dge", "AB", 0, text=mixed)])]),
        """return [await page.$eval("#columns .text", (e) => getComputedStyle(e).unicodeBidi), await page.innerText("#item-name"),
          await page.$eval("#columns .text", (e) => getComputedStyle(e).direction), await page.innerText(".meta")]""",
    )
    assert found[:3] == ["plaintext", "שלום", "rtl"]
    assert "ju⟦RLO⟧dge" in found[3]


def test_a_page_of_a_thousand_items_draws_only_the_rows_in_sight(read):
    found = read(
        large(1000, 2, 20),
        """
        const out = [await count(), await page.$$eval(".row", (all) => all.length)];
        await page.evaluate(() => { document.querySelector("#list").scrollTop = 1e6; }); await idle();
        out.push((await ids()).at(-1), await page.$$eval(".row", (all) => all.length)); return out;""",
    )
    assert found[0] == "1,000 items"
    assert found[1] < 40
    assert found[2] == "item-0999"
    assert found[3] < 40
