"""The index of a store against the plain filters, and a store that grows, is damaged, shared or cannot be written."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rrmlib.comparison import CandidateSet, Comparison, Message, Order, ask
from rrmlib.engines.base import Completion, Request, Sampling, store_key
from rrmlib.engines.heuristic import HeuristicEngine
from rrmlib.exchange import StoreError
from rrmlib.judge import open_judge, run
from rrmlib.judgment import Judgment, Reading, Scores, State, Verdict
from rrmlib.params import JudgeSpec
from rrmlib.store import Store
from rrmlib.viewer.filters import FILTERS, SORTS, Query, flags, number, select, thresholds
from rrmlib.viewer.view import View, items_of, patterns_of

WORKED = json.loads((Path(__file__).parent / "filters.json").read_text("ascii"))
DEMO = WORKED["document"]["items"]
VOTES = json.loads((Path(__file__).parent / "votes.json").read_text("ascii"))


def wait_for(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def judgment_of(trace, item, key=""):
    """The judgment behind a trace of the worked document."""
    order = Order.parse(trace["order"])
    value = trace["choice"]
    place = order.shown.index(value) if isinstance(value, int) else -1
    if trace["state"] != "read":
        reading = Reading(State(trace["state"]), None, trace["note"])
    elif trace["values"]:
        reading = Reading.of(Scores(tuple(trace["values"][i] for i in order.shown)))
    elif value == "tie":
        reading = Reading.of(Verdict("tie"))
    elif len(order) > 2:
        reading = Reading.of(Scores(choice=place))
    else:
        reading = Reading.of(Verdict(("first", "second")[place]))
    plain = {name: trace[name] for name in ("sample", "judge", "text", "finish", "tokens")}
    return Judgment(item=item["id"], order=order, key=key, reading=reading, **plain)


def item_of(record):
    query = tuple(Message(*turn) for turn in record["query"])
    plain = {name: record[name] for name in ("id", "difficulty", "source")} | {"subset": record["section"]}
    if len(record["responses"]) > 2:
        return CandidateSet(query=query, responses=tuple(record["responses"]), truth=tuple(record["truth"]), **plain)
    label = {(): None, (0,): "first", (1,): "second", (0, 1): "tie"}[tuple(record["best"])]
    return Comparison(query=query, first=record["responses"][0], second=record["responses"][1], label=label, **plain)


ITEMS = [item_of(record) for record in DEMO if record["responses"]]


def patterns(text):
    if (place := text.lower().find("wait")) >= 0:
        yield place, place + 4, "reflection"
    if text.startswith("But"):
        yield 0, 3, "transition"


def demo_store(path, records=DEMO):
    engine = HeuristicEngine("longest")
    with Store(path) as store:
        for record in records:
            key = ""
            if record["asked"]:
                request = Request(tuple(Message(*turn) for turn in record["asked"]), Sampling(8), 0)
                store.put(engine, [(request, Completion("", "stop", 0, 0))])
                key = store_key(engine, request)
            for trace in record["traces"]:
                store.record([judgment_of(trace, record, key)], benchmark="demo", parser=trace["parser"])
    return path


def view_of(path, **options):
    return View(path, items_of(path, given={"demo": ITEMS}), quiet=True, **({"patterns": lambda _: patterns} | options))


@pytest.fixture
def demo(tmp_path):
    return view_of(demo_store(tmp_path / "t.sqlite"))


@pytest.mark.parametrize("case", WORKED["cases"], ids=lambda case: case["why"][:40])
def test_the_index_finds_what_was_worked_by_hand(shared, case):
    stated = {name: tuple(value) if isinstance(value, list) else value for name, value in case["query"].items()}
    found = shared.page(Query(**stated))["items"]
    assert [item["id"] for item in found] == case["ids"], case["why"]
    if "by" in case:
        assert [item["by"] for item in found] == case["by"], case["why"]


def test_the_index_counts_votes_as_they_were_worked_by_hand(tmp_path):
    records = VOTES["document"]["items"]
    items = items_of(tmp_path, given={"demo": [item_of(record) for record in records]})
    view = View(demo_store(tmp_path / "t.sqlite", records), items, quiet=True, patterns=lambda _: patterns)
    assert [view.item("demo", record["id"]) for record in records] == records
    assert {item["id"]: item["flags"] for item in view.page(Query())["items"]} == VOTES["flags"]
    for case in VOTES["cases"]:
        stated = {name: tuple(value) if isinstance(value, list) else value for name, value in case["query"].items()}
        found = view.page(Query(**stated))["items"]
        assert [item["id"] for item in found] == case["ids"], case["why"]
        if "by" in case:
            assert [item["by"] for item in found] == case["by"], case["why"]


@pytest.fixture(scope="module", params=["signed", "plain"])
def shared(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rrmlib.viewer.index.SIGNED", 0 if request.param == "signed" else 1 << 40)
        yield from demo_view(tmp_path_factory.mktemp("demo"))


def demo_view(folder):
    view = view_of(demo_store(folder / "t.sqlite"))
    view.write_note("demo", "i4", "look again")
    yield view


def test_a_page_has_flags_and_the_beginning_of_the_query(shared):
    page = shared.page(Query(), offset=1, limit=3)
    assert page["total"] == 7
    assert [item["id"] for item in page["items"]] == ["i2", "i3", "i4"]
    assert page["items"][0]["query_start"] == "Which one is ÉCLAIR?"
    assert {item["id"]: item["flags"] for item in shared.page(Query())["items"]} == WORKED["flags"]
    assert [item["noted"] for item in page["items"]] == [False, False, True]
    with pytest.raises(ValueError, match="1 to 500 items"):
        shared.page(Query(), limit=501)
    with pytest.raises(ValueError, match="no judge 'c' here; there are: a, b"):
        shared.page(Query(judges=("c",)))


def test_an_item_and_a_document_are_those_of_the_records(shared):
    assert [shared.item("demo", item["id"]) for item in DEMO] == DEMO
    made = shared.document(Query(sort="longest", filters=("wrong",)), limit=2)
    assert made["items"] == [DEMO[1], DEMO[4]]
    assert made["note"].startswith("2 of 7 items")
    one = shared.document(Query(judges=("a",)))
    assert one["judges"] == ["a"]
    assert {trace["judge"] for item in one["items"] for trace in item["traces"]} == {"a"}
    with pytest.raises(ValueError, match="more than 0 MB for one file, after 1 of 7 items"):
        shared.document(Query(), most=100)
    with pytest.raises(LookupError, match="no item 'i99'"):
        shared.item("demo", "i99")


def test_a_file_of_a_part_keeps_what_is_long_in_the_whole_store_and_only_items_that_were_judged(shared):
    assert shared.document(Query(filters=("long_wrong",)))["long"] == thresholds(DEMO)
    judged = [item["id"] for item in DEMO if any(trace["judge"] == "b" for trace in item["traces"])]
    assert len(judged) < len(DEMO)
    assert [item["id"] for item in shared.document(Query(judges=("b",)))["items"]] == judged
    assert len(shared.document(Query(judges=("b",)), limit=len(judged))["items"]) == len(judged)


def test_meta_says_what_there_is_and_what_is_missing(shared):
    meta = shared.meta()
    assert (meta["judges"], meta["families"], meta["items"]) == (["a", "b"], ["reflection", "transition"], 7)
    assert meta["sections"] == ["reasoning", "chat", "lists", ""]
    assert meta["difficulties"] == ["2", "2.5", "10", "easy", ""]
    assert meta["benchmarks"] == ["demo"]
    assert (meta["counts"]["wrong"], meta["counts"]["noted"], meta["counts"]["pattern:transition"]) == (5, 1, 1)
    assert (shared.counts(["a"])["wrong"], shared.counts(["a"])["disagree"]) == (2, 0)
    assert shared.counts() == meta["counts"]
    with pytest.raises(ValueError, match="no judge 'c'"):
        shared.counts(["c"])
    assert meta["note"] == ("1 item known by name only: shown as asked, right or wrong unknown; judge b misses 1 item")


TRACES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["AB", "BA"]),
        st.integers(0, 2),
        st.sampled_from(["first", "second", "tie", None]),
        st.integers(-1, 9),
        st.sampled_from(["Über\nuns", "a b", "Wait, wait! Hm", "Wait", "Straße \ud800", "\0 nul", "x\U0001f600", ""]),
    ),
    max_size=8,
)
LABELS = st.sampled_from(["first", "second", "tie", None])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(LABELS, TRACES, st.sampled_from(["1", "01", "x", "", "-2"])), min_size=1, max_size=5),
    st.lists(st.sampled_from(FILTERS[:-1]), max_size=2),
    st.sampled_from([(), ("a",), ("b",), ("a", "b"), ("a", "b", "c")]),
    st.sampled_from([*SORTS, "rate:reflection", "rate:x"]),
    st.sampled_from(["", "b", "ÜBER uns", '"a b"', "\ud800", "\0", "ss", "straße", "\U0001f600", "x a"]),
    st.sampled_from([0, 1 << 40]),
)
def test_index_and_plain_filters_have_one_meaning(tmp_path, stated, filters, judges, sort, q, signed):
    path = tmp_path / f"{time.monotonic_ns()}.sqlite"
    items, said = [], []
    for i, (label, traces, difficulty) in enumerate(stated):
        items.append(
            Comparison(id=f"i{i}", query=ask(f"q{i}"), first="x", second="y", label=label, difficulty=difficulty)
        )
        for judge, order, sample, choice, tokens, text in traces:
            reading = Reading.of(Verdict(choice)) if choice else Reading(State.UNPARSED)
            said.append(
                Judgment(
                    item=f"i{i}",
                    order=Order.parse(order),
                    sample=sample,
                    judge=judge,
                    key="",
                    text=text,
                    finish="stop",
                    tokens=tokens,
                    reading=reading,
                )
            )
    with Store(path) as store:
        store.record(said, benchmark="b", parser="direct.v1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rrmlib.viewer.index.SIGNED", signed)
        view = View(path, items_of(path, given={"b": items}), quiet=True)
    records = [view.item("b", head.id) for head in view.index.heads]
    there = tuple(judge for judge in judges if judge in view.index.judges)
    query = Query(filters=tuple(filters), judges=there, sort=sort, q=q)
    page = view.page(query)["items"]
    assert [item["id"] for item in page] == [record["id"] for record in select(records, query)]
    long = thresholds(records)
    by_id = {record["id"]: record for record in records}
    assert [item["flags"] for item in page] == [flags(by_id[item["id"]], there, long=long) for item in page]
    assert [item["by"] for item in page] == [number(by_id[item["id"]], query) for item in page]


# --- What the store knows itself --------------------------------------------------------------------------------------


def test_an_empty_store_says_so(tmp_path):
    Store(tmp_path / "t.sqlite").close()
    view = view_of(tmp_path / "t.sqlite")
    assert view.page(Query(filters=("disagree",), q="x", sort="share_right")) == {"total": 0, "items": []}
    assert view.meta()["note"] == "there are no judgments"
    assert view.document(Query())["items"] == []


def test_builtin_items_are_found_and_others_are_shown_as_asked(tmp_path):
    path = tmp_path / "t.sqlite"
    spec = JudgeSpec.parse({"name": "longest", "engine": "heuristic", "model": "heuristic:longest"})
    items = items_of(path)("builtin")[:3]
    with Store(path) as store:
        run(open_judge(spec), items, store, benchmark="builtin", quiet=True)
        run(open_judge(spec), items, store, benchmark="unknown", quiet=True)
    view = View(path, quiet=True)
    known = view.item("builtin", items[0].id)
    assert known["responses"] == list(items[0].responses)
    assert known["best"]
    # a heuristic was given query and responses: these are known, the truth is not
    bare = view.item("unknown", items[0].id)
    assert bare["responses"] == list(items[0].responses)
    assert (bare["best"], bare["truth"], bare["traces"][0]["right"]) == ([], None, None)


def test_an_item_that_was_not_what_was_asked_is_not_shown_for_it(tmp_path):
    """Two files of one's own, both benchmark "pairs", both with an item "a": the second run replaced the first."""
    path = tmp_path / "t.sqlite"
    spec = JudgeSpec.parse({"name": "longest", "engine": "heuristic", "model": "heuristic:longest"})
    old = Comparison(id="a", query=ask("What is 2+2?"), first="4", second="five", label="first")
    new = Comparison(id="a", query=ask("Capital of France?"), first="Paris", second="Nice, surely", label="first")
    with Store(path) as store:
        for item in (old, new):
            run(open_judge(spec), [item], store, benchmark="pairs", quiet=True)
    shown = View(path, items_of(path, given={"pairs": [new]}), quiet=True).item("pairs", "a")
    assert shown["traces"][0]["right"] is False
    other = View(path, items_of(path, given={"pairs": [old]}), quiet=True).item("pairs", "a")
    assert other["responses"] == ["Paris", "Nice, surely"]
    assert (other["best"], other["truth"], other["traces"][0]["right"]) == ([], None, None)


def test_items_of_the_lab_are_those_of_the_world_beside_the_store(tmp_path):
    from rrmlib.benchmarks.pairs import to_row

    world = tmp_path / "seed3" / "world"
    world.mkdir(parents=True)
    (world / ".key-0123456789abcdef.json").write_text('{"key": "0123456789abcdef00"}')
    (world / "test.jsonl").write_text(json.dumps(to_row(ITEMS[0])) + "\n")
    find = items_of(tmp_path / "traces.sqlite")
    assert find("lab-test-seed3-01234567") == [ITEMS[0]]
    assert find("lab-test-seed3-89abcdef") == ()  # the world moved on
    assert find("lab-test-seed4-01234567") == ()
    assert find("lab-x-seed3-01234567") == ()
    assert len(find("lab-candidates-seed9-89abcdef")[0].responses) == 8  # the same in every lab
    assert find("rm_bench") == ()


def test_other_items_than_those_judged_are_refused(tmp_path):
    path = demo_store(tmp_path / "t.sqlite")
    wrong = [Comparison(id="i6", query=ask("?"), first="a", second="b")]
    with pytest.raises(StoreError, match="are these the items that were judged"):
        View(path, items_of(path, given={"demo": wrong}), quiet=True)


def test_traces_of_the_lab_are_read_by_its_own_lexicon():
    text = "Wait, I should check that.\n1: 4-4=0 ok"
    english, lab = (list(patterns_of(name)(text)) for name in ("builtin", "lab-test-seed3-01234567"))
    assert "reflection" in {family for _, _, family in english}
    assert english != lab


# --- Never stale, never in the way ------------------------------------------------------------------------------------


def more(item="i1", judge="c", text="new words"):
    return Judgment(
        item=item,
        order=Order.AB,
        sample=0,
        judge=judge,
        key="",
        text=text,
        finish="stop",
        tokens=1,
        reading=Reading.of(Verdict("first")),
    )


def test_the_index_is_kept_and_made_again_only_where_something_changed(tmp_path):
    path = demo_store(tmp_path / "t.sqlite")
    view_of(path)
    side = tmp_path / "t.sqlite-view"
    made = side.stat().st_ino
    view_of(path)
    assert side.stat().st_ino == made
    with Store(path) as store:
        store.reparse(lambda j: Reading.of(Verdict("tie")) if j.item == "i1" else j.reading, parser="x.v1", judge="a")
    assert "disagree" in view_of(path).page(Query())["items"][0]["flags"]
    assert side.stat().st_ino != made
    made = side.stat().st_ino
    View(path, items_of(path, given={"demo": ITEMS[1:]}), quiet=True)
    assert side.stat().st_ino != made
    made = side.stat().st_ino
    View(path, items_of(path, given={"demo": ITEMS[1:]}), quiet=True, patterns=lambda _: patterns)
    assert side.stat().st_ino != made
    side.write_bytes(side.read_bytes()[:-100])  # cut short: made again
    assert view_of(path).page(Query())["total"] == 7


def test_what_is_written_meanwhile_is_shown_soon(tmp_path):
    path = demo_store(tmp_path / "t.sqlite")
    view = view_of(path, patience=0.0)
    with Store(path) as writer:
        writer.record([more()], benchmark="demo", parser="direct.v1")
        wait_for(lambda: view.page(Query(q="new words"))["total"] == 1)
        assert view.meta()["judges"] == ["a", "b", "c"]
        with writer._transaction("IMMEDIATE"):  # a batch is being committed: reading goes on
            assert view.page(Query())["total"] == 7


def test_two_processes_may_index_at_once(tmp_path):
    path = demo_store(tmp_path / "t.sqlite")
    code = "import sys; from rrmlib.viewer.view import View; from rrmlib.viewer.filters import Query\n"
    code += f"print(View({str(path)!r}, quiet=True).page(Query())['total'])"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["7", "7"]
    assert sorted(file.name for file in tmp_path.iterdir() if "view" in file.name) == ["t.sqlite-view"]


def test_the_index_lies_in_the_cache_where_the_folder_cannot_be_written(tmp_path, monkeypatch):
    path = demo_store(tmp_path / "a" / "t.sqlite")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda where, mode: not (mode & os.W_OK and Path(where) == path.parent))
    assert view_of(path).page(Query())["total"] == 7
    assert list((tmp_path / "cache" / "rrmlib").glob("view-*"))
    assert not list(path.parent.glob("*-view"))


def test_threads_may_ask_at_once(demo):
    found = []
    threads = [threading.Thread(target=lambda: found.append(demo.page(Query(q="second"))["total"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3] * 8


def test_a_missing_or_foreign_store_is_an_error_in_one_line(tmp_path):
    with pytest.raises(StoreError, match="no such store"):
        View(tmp_path / "none.sqlite", quiet=True)
    (tmp_path / "x.sqlite").write_text("not a store at all, but text")
    with pytest.raises(StoreError, match="not a trace store"):
        View(tmp_path / "x.sqlite", quiet=True)


# --- Notes ------------------------------------------------------------------------------------------------------------


def test_notes_are_kept_in_the_store_and_trouble_nobody(tmp_path):
    path = demo_store(tmp_path / "t.sqlite")
    with Store(path) as store:
        before = store.export(tmp_path / "before.jsonl")
    view = view_of(path)
    assert view.notes() == []
    with Store(path) as running:  # a run has the store open
        view.write_note("demo", "i2", "odd \ud800 \0 <b>")
        view.write_note("demo", "i2", "why?")
        view.write_note("demo", "i3", "x")
        view.write_note("demo", "i3", "")
        running.record([more(judge="a")], benchmark="demo", parser="direct.v1")
    assert view.notes() == [{"benchmark": "demo", "id": "i2", "text": "why?"}]
    assert [item["id"] for item in view.page(Query(filters=("noted",)))["items"]] == ["i2"]
    with Store(path) as store:
        assert store.export(tmp_path / "after.jsonl") == before
        assert store.counts()["judgments"] == 22
        assert store.export(tmp_path / "saved.jsonl", salvage=True) == 0
    assert (tmp_path / "saved.jsonl").read_bytes() == (tmp_path / "after.jsonl").read_bytes()
    with Store(tmp_path / "copy.sqlite") as store:
        assert store.import_(tmp_path / "after.jsonl") == 24  # with a prompt and a generation
    assert view_of(path).notes() == view.notes()


def test_a_file_carries_the_notes_on_its_items(demo):
    for name, text in (("i3", "odd \ud800 <b>"), ("i2", "why?"), ("i7", "elsewhere")):
        demo.write_note("demo", name, text)
    made = demo.document(Query(filters=("wrong",), sort="longest"))
    assert made["notes"] == [
        {"benchmark": "demo", "id": "i2", "text": "why?"},
        {"benchmark": "demo", "id": "i3", "text": "odd \ud800 <b>"},
    ]
    assert [item["id"] for item in demo.document(Query(filters=("noted",)))["items"]] == ["i2", "i3", "i7"]


def test_a_note_that_cannot_be_kept_is_refused(demo, monkeypatch):
    with pytest.raises(LookupError, match="no item 'nowhere'"):
        demo.write_note("demo", "nowhere", "x")
    with pytest.raises(ValueError, match="20,001 characters"):
        demo.write_note("demo", "i1", "x" * 20_001)
    real = os.access
    monkeypatch.setattr(os, "access", lambda where, mode: mode == os.R_OK and real(where, mode))
    with pytest.raises(StoreError, match="permission denied"):
        demo.write_note("demo", "i1", "x")
