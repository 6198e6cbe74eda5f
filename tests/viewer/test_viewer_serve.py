"""`rrm view`: who is answered, what is refused, and what comes over HTTP; the command line around it."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from urllib.parse import quote, urlencode

import pytest

from rrmlib.__main__ import main
from rrmlib.comparison import CandidateSet, Comparison, Order, ask
from rrmlib.judgment import Judgment, Reading, Scores, Verdict
from rrmlib.store import Store
from rrmlib.viewer.filters import Query
from rrmlib.viewer.page import remote_page
from rrmlib.viewer.serve import Server
from rrmlib.viewer.view import View, items_of

ITEMS = [
    Comparison(id="q/1 ?&", query=ask("Which \U0001f600?"), first="a", second="b", label="first", subset="one"),
    Comparison(id="q2", query=ask("Ümlaut"), first="a", second="b", label="second", subset="two"),
    CandidateSet(id="set", query=ask("?"), responses=tuple("abcdefgh" * 4), truth=tuple(range(32))),
]
PAGE = (
    '<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;; script-src x"><p>'
)


def said(item, value, judge="j", text="t", order=Order.AB):
    return Judgment(
        item=item,
        order=order,
        sample=0,
        judge=judge,
        key="",
        text=text,
        finish="stop",
        tokens=1,
        reading=Reading.of(value),
    )


JUDGED = [
    said("q/1 ?&", Verdict("first"), text="lone \ud800 and \0"),
    said("q/1 ?&", Verdict("second"), judge="k, l"),
    said("q2", Verdict("first"), text="x" * 1_000_000),
    said("set", Scores(tuple(float(i) for i in range(32))), order=Order(tuple(range(32)))),
]


def make(folder, judged=JUDGED):
    path = folder / "t.sqlite"
    with Store(path) as store:
        store.record(judged, benchmark="b", parser="rrm.v1")
    return path


@contextmanager
def serving(view, page=PAGE):
    with Server(view, page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("serve"))
    with serving(View(path, items_of(path, given={"b": ITEMS}), quiet=True)) as server:
        yield server


def call(server, path, *, method="GET", token=None, body=None, **headers):
    """(status, headers, body) of a request with our Host and token, unless said otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    sent = {"Host": server.hosts[0], "X-Token": server.token if token is None else token}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in sent.items():
        if value != "":
            connection.putheader(name, value)
    if body is not None and "Content-Length" not in sent:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    got = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), got


def asked(server, path, **options):
    """The JSON of an answer that must be given."""
    status, headers, body = call(server, path, **options)
    assert (status, headers["Content-Type"]) == (200, "application/json"), body
    return json.loads(body)


def refused(server, path, **options):
    """(status, sentence) of one that must not."""
    status, headers, body = call(server, path, **options)
    assert status >= 400
    sentence = json.loads(body)["error"]
    assert "Traceback" not in sentence
    assert "\n" not in sentence
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    return status, sentence


def note(server, **fields):
    return json.dumps({"benchmark": "b", "id": "q2", "text": "hm"} | fields).encode()


# --- Who is answered --------------------------------------------------------------------------------------------------


def test_the_printed_address_has_the_page_and_its_policy(server):
    status, headers, body = call(server, f"/?token={server.token}", token="")
    assert (status, body.decode()) == (200, PAGE)
    assert headers["Content-Security-Policy"] == "default-src 'none'; script-src x; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert not any(name.lower().startswith("access-control") for name in headers)
    assert server.address == f"http://127.0.0.1:{server.server_port}/?token={server.token}"
    assert len(server.token) >= 40


@pytest.mark.parametrize(
    "path", ["/", "/api/meta", "/api/counts", "/api/items", "/api/item?benchmark=b&id=q2", "/api/notes", "/x"]
)
@pytest.mark.parametrize("token", ["", "wrong", "é", "x" * 10_000])
def test_without_the_token_there_is_nothing(server, path, token):
    assert refused(server, path, token=token)[0] == 403
    assert refused(server, f"{path}{'&' if '?' in path else '?'}{urlencode({'token': token})}", token="")[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "evil.example:{port}", "[::1]:{port}", ""]
)
def test_a_foreign_host_is_refused(server, host):
    status, sentence = refused(server, "/api/meta", Host=host.format(port=server.server_port))
    assert status == 403
    assert "only http://127.0.0.1" in sentence
    assert asked(server, "/api/meta", Host=f"localhost:{server.server_port}")["items"] == 3


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1"])
def test_a_foreign_origin_is_refused(server, origin):
    origin = origin.format(port=server.server_port)
    assert refused(server, "/api/note", method="PUT", body=note(server), Origin=origin)[0] == 403
    assert refused(server, "/api/meta", Origin=origin)[0] == 403
    assert asked(server, "/api/notes")["notes"] == []


def test_a_request_from_another_site_is_refused(server):
    assert refused(server, "/api/meta", Sec_Fetch_Site="cross-site")[0] == 403
    assert asked(server, "/api/meta", Sec_Fetch_Site="same-origin", Origin=f"http://{server.hosts[0]}")["items"] == 3


@pytest.mark.parametrize("method", ["POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(server, method):
    status, headers, _ = call(server, "/api/meta", method=method)
    assert status == 501
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not any(name.lower().startswith("access-control") for name in headers)


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/t.sqlite",
        "/api",
        "/api/",
        "/api/note",
        "//etc/passwd",
        "/api/../x",
    ],
)
def test_no_path_leads_to_a_file(server, path):
    assert refused(server, path)[0] == 404


def test_only_the_loopback_is_listened_on(server):
    assert server.server_address[0] == "127.0.0.1"


# --- What is answered -------------------------------------------------------------------------------------------------


def test_meta_items_and_item(server):
    meta = asked(server, "/api/meta")
    assert meta["judges"] == ["j", "k, l"]
    assert meta["sections"] == ["one", "two", ""]
    assert "judge k, l misses 2 items" in meta["note"]
    page = asked(server, "/api/items?filters=disagree,wrong&sort=longest&offset=0&limit=5")
    assert [item["id"] for item in page["items"]] == ["q/1 ?&"]
    assert page["items"][0]["query_start"] == "Which \U0001f600?"
    assert asked(server, "/api/items?sort=rate%3Areflection")["total"] == 3
    item = asked(server, f"/api/item?benchmark=b&id={quote('q/1 ?&', safe='')}")
    assert item["traces"][0]["text"] == "lone \ud800 and \0"
    assert len(asked(server, "/api/item?benchmark=b&id=set")["responses"]) == 32


def test_a_judge_whose_name_holds_a_comma_can_be_chosen(server):
    for stated in ("judges=k%2C+l", "judges=j&judges=k%2C+l"):
        assert asked(server, f"/api/items?{stated}&filters=wrong")["items"][0]["id"] == "q/1 ?&"
    assert "no judge 'm'" in refused(server, "/api/items?judges=j,m")[1]


def test_search_over_http(server):
    def found(q, **more):
        return [item["id"] for item in asked(server, "/api/items?" + urlencode({"q": q, **more}))["items"]]

    assert found("ümLAUT") == ["q2"]
    assert found("\U0001f600") == ["q/1 ?&"]
    assert found("x" * 900) == ["q2"]
    assert found("", section="two") == ["q2"]
    assert found("", section="") == ["set"]
    assert asked(server, "/api/items?q=lone+%ED%A0%80")["total"] == 1


def test_a_trace_of_a_megabyte_is_sent_whole(server):
    assert len(asked(server, "/api/item?benchmark=b&id=q2")["traces"][0]["text"]) == 1_000_000


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/item?benchmark=b&id=nowhere", 404, "no item 'nowhere' in benchmark 'b'"),
        ("/api/item?benchmark=b", 400, "by benchmark and id"),
        ("/api/items?filters=nice", 400, "unknown filter 'nice'"),
        ("/api/items?sort=up", 400, "unknown sort 'up'"),
        ("/api/items?limit=501", 400, "1 to 500 items"),
        ("/api/items?limit=0", 400, "1 to 500 items"),
        ("/api/items?offset=-1", 400, "'offset': expected a whole number, found '-1'"),
        ("/api/items?offset=1e9", 400, "whole number"),
        ("/api/items?offset=1&offset=2", 400, "given 2 times"),
        ("/api/items?colour=red", 400, "unknown parameter 'colour'"),
        ("/api/items?q=" + "x" * 1001, 400, "at most 1,000 characters"),
        ("/api/items?q=%ff%fe", 400, "decode"),
        ("/api/items?" + "&".join(["judges=j"] * 300), 400, "fields"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(server, path, status, words):
    found, sentence = refused(server, path)
    assert found == status
    assert words in sentence


def test_requests_that_are_none_are_answered_or_dropped(server):
    import socket

    for raw in (
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as one:
            one.sendall(raw)
            one.shutdown(socket.SHUT_WR)
            got = b""
            while part := one.recv(65536):
                got += part
        assert b"Traceback" not in got
        assert server.token.encode() not in got
    assert asked(server, "/api/meta")["items"] == 3


# --- Notes ------------------------------------------------------------------------------------------------------------


def test_notes_are_put_listed_and_removed(tmp_path):
    path = make(tmp_path)
    with serving(View(path, items_of(path, given={"b": ITEMS}), quiet=True)) as server:
        text = "odd \ud800 <b>\U0001f600"
        assert asked(server, "/api/note", method="PUT", body=note(server, text=text)) == {"noted": True}
        assert asked(server, "/api/notes") == {"version": 1, "notes": [{"benchmark": "b", "id": "q2", "text": text}]}
        assert asked(server, "/api/items?filters=noted")["items"][0]["noted"] is True
        assert asked(server, "/api/note", method="PUT", body=note(server, text="")) == {"noted": False}
        assert asked(server, "/api/notes")["notes"] == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "JSON object"),
        (b"[" * 100_000, 400, "JSON object"),
        (b'"x"', 400, "JSON object"),
        (b'{"benchmark": "b", "id": "q2"}', 400, "JSON object"),
        (b'{"benchmark": "b", "id": "q2", "text": 3}', 400, "all of them text"),
        (b'{"benchmark": "b", "id": "q2", "text": "", "more": ""}', 400, "JSON object"),
        (b'{"benchmark": "b", "id": "nowhere", "text": "x"}', 404, "no item 'nowhere'"),
        (json.dumps({"benchmark": "b", "id": "q2", "text": "x" * 20_001}).encode(), 400, "20,000 are kept"),
        (b" " * 200_001, 413, "200,000 are taken"),
    ],
)
def test_a_note_that_is_none_is_refused(server, body, status, words):
    found, sentence = refused(server, "/api/note", method="PUT", body=body)
    assert found == status
    assert words in sentence


def test_a_note_without_its_length_is_refused(server):
    for length in ("-1", "x", "9" * 30):
        assert refused(server, "/api/note", method="PUT", body=b"", Content_Length=length)[0] == 411
    assert refused(server, "/api/meta", method="PUT", body=b"{}")[0] == 404
    assert refused(server, "/api/note", method="PUT", body=note(server), token="wrong")[0] == 403


def test_a_store_that_is_gone_is_one_sentence(tmp_path):
    path = make(tmp_path)
    with serving(View(path, items_of(path, given={"b": ITEMS}), quiet=True)) as server:
        for file in tmp_path.iterdir():
            file.unlink()
        assert refused(server, "/api/item?benchmark=b&id=q2") == (503, f"{path}: no such store; check the path")


# --- The command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def builtin(tmp_path):
    path = tmp_path / "t.sqlite"
    options = ["--store", str(path), "--out", str(tmp_path / "j.jsonl"), "--limit", "5"]
    assert main(["judge", "builtin", "--judge", "longest", *options, "--json", str(tmp_path / "r.json")]) == 0
    return path


def embedded(file):
    """The document in a page."""
    import base64
    import gzip

    packed = re.search(r'<script type="application/octet-stream" id="data">([^<]*)<', file.read_text("utf-8"))
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def test_one_file_is_written_and_its_size_and_coverage_said(builtin, tmp_path, capsys):
    out = tmp_path / "t.html"
    capsys.readouterr()
    assert main(["view", str(builtin), "--out", str(out), "--judge", "longest", "--limit", "2"]) == 0
    printed, told = capsys.readouterr()
    assert printed == ""
    assert re.search(r"t\.html: 2 items, 0\.\d MB\nnote: 2 of \d+ items", told)
    made = embedded(out)
    assert (made["title"], made["judges"]) == ("t.sqlite", ["longest"])
    assert [len(item["responses"]) for item in made["items"]] == [2, 2]
    assert made["items"][0]["best"]


def test_a_file_counts_the_items_that_could_be_in_it(builtin, tmp_path, capsys):
    """Those of the benchmark named, and of the judges chosen: a store holds whatever was ever judged into it."""
    rows = [{"id": f"q{i}", "query": f"{i} + 1 = ?", "first": "a", "second": "bb", "label": "first"} for i in range(4)]
    data, out = tmp_path / "pairs.jsonl", tmp_path / "t.html"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = ["pairs", "--data", str(data), "--store", str(builtin)]
    assert main(["judge", *pairs, "--judge", "first"]) == main(["judge", *pairs, "--judge", "longest"]) == 0
    view = ["view", str(builtin), "--out", str(out)]
    for arguments, said in {
        ("--benchmark", "pairs", "--data", str(data)): "4 items",
        ("--benchmark", "pairs", "--data", str(data), "--filter", "disagree"): "4 items",
        ("--benchmark", "pairs", "--data", str(data), "--limit", "1"): "1 item",
        ("--judge", "first"): "4 items",
        ("--judge", "first", "--limit", "3"): "3 items",
        ("--limit", "3"): "3 items",
        ("--judge", "first", "--filter", "unparsed"): "0 items",
    }.items():
        capsys.readouterr()
        assert main([*view, *arguments]) == 0
        told = capsys.readouterr().err
        assert f"t.html: {said}, " in told
        scope = "9" if arguments == ("--limit", "3") else "4"
        noted = re.findall(r"(\d+) of (\d+) items", told)
        assert noted == ([] if said == "4 items" else [(said[0], scope)])
        assert "there are no judgments" not in told
        assert scope == "9" or said == "0 items" or {item["benchmark"] for item in embedded(out)["items"]} == {"pairs"}


def test_a_file_with_notes_says_so(builtin, tmp_path, capsys):
    view = View(builtin, quiet=True)
    head = view.index.heads[1]
    view.write_note(head.benchmark, head.id, "look again")
    assert main(["view", str(builtin), "--out", str(tmp_path / "t.html")]) == 0
    assert re.search(r"t\.html: \d+ items, your notes on 1 of them, 0\.\d MB", capsys.readouterr().err)
    assert embedded(tmp_path / "t.html")["notes"] == view.notes()


@pytest.mark.parametrize("name", ["j.jsonl", "export.jsonl", "export.parquet"])
def test_judgments_in_files_can_be_looked_at(builtin, tmp_path, name, capsys):
    if name != "j.jsonl":
        assert main(["export", str(builtin), str(tmp_path / name)]) == 0
    out = tmp_path / "t.html"
    benchmark = ["--benchmark", "builtin"] if name == "j.jsonl" else []
    assert main(["view", str(tmp_path / name), *benchmark, "--out", str(out)]) == 0
    assert embedded(out)["items"][0]["best"]
    assert "read as judgments" in capsys.readouterr().err
    if name == "j.jsonl":
        assert main(["view", str(tmp_path / name), "--out", str(out)]) == 0
        told = capsys.readouterr().err
        assert told.count("note: ") == 2
        assert "5 items known by name only" in told
        assert "note: --benchmark (and --data) says what items are" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.sqlite"], "none.sqlite: no such store"),
        (["t.sqlite", "--judge", "nobody"], "no judge 'nobody'; there are: longest"),
        (["t.sqlite", "--out", "x.html", "--filter", "nice"], "unknown filter 'nice'"),
        (["t.sqlite", "--filter", "wrong"], "give --out, or choose in the page"),
        (["t.sqlite", "--data", "x"], "say which with --benchmark"),
        (
            ["t.sqlite", "--benchmark", "pairs", "--data", "pairs.jsonl"],
            "of pairs; there are some of builtin",
        ),
        (["bad.jsonl"], "bad.jsonl:2: not a judgment"),
        (["."], ".: a folder; name a store or a file in it, or say with --benchmark whose judgments"),
        (["t.sqlite", "--port", "70000"], "port 70000: ports end at 65535; give another --port"),
    ],
)
def test_mistakes_are_one_line(builtin, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    first = (tmp_path / "j.jsonl").read_text().splitlines()[0]
    row = {"id": "q", "query": "?", "first": "a", "second": "b", "label": "tie"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    (tmp_path / "bad.jsonl").write_text(f'{first}\n{{"item": 3}}\n')
    capsys.readouterr()
    assert main(["view", *arguments]) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("rrm: error: ")
    assert words in told


def test_a_file_that_would_be_too_large_is_refused(builtin, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rrmlib.__main__.LARGEST", 3000)
    assert main(["view", str(builtin), "--out", str(tmp_path / "t.html")]) == 1
    assert "choose with --judge, --filter or --limit, or serve it" in capsys.readouterr().err
    assert not (tmp_path / "t.html").exists()


def test_the_command_prints_its_address_and_serves_until_ctrl_c(builtin):
    command = [sys.executable, "-m", "rrmlib", "view", str(builtin)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run behind "&"
    ) as process:
        try:
            address = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)\n", process.stdout.readline())
            connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=20)
            connection.request("GET", "/", headers={"X-Token": address[2]})
            answer = connection.getresponse()
            assert answer.status == 200
            assert b'name="rrm-source" content="server"' in answer.read()
            assert "script-src 'sha256-" in answer.headers["Content-Security-Policy"]
            connection.close()
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(timeout=20) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()  # or a failure would wait for it for ever


def test_a_view_of_some_judges_shows_only_these(tmp_path):
    path = make(tmp_path)
    view = View(path, items_of(path, given={"b": ITEMS}), quiet=True, judges=["j"])
    assert view.meta()["judges"] == ["j"]
    assert "disagree" not in view.page(Query())["items"][0]["flags"]
    assert {trace["judge"] for trace in view.item("b", "q/1 ?&")["traces"]} == {"j"}


def test_the_served_page_in_a_real_browser(browser, tmp_path):
    path = make(tmp_path)
    view = View(path, items_of(path, given={"b": ITEMS}), quiet=True)
    with serving(view, remote_page("a store")) as server:
        found = browser(
            server.address,
            """
            const asked = [];
            page.on("request", (request) => asked.push(request.url()));
            await page.reload();
            await page.waitForSelector("[data-ready=yes]");
            const out = [await page.textContent("#count"), await page.textContent("#item-name")];
            await page.click('[data-filter="wrong"]'); await page.waitForTimeout(300);
            out.push(await page.textContent("#count"));
            await page.click("#clear"); await page.fill("#q", "lone"); await page.waitForTimeout(500);
            out.push(await page.$$eval("#rows .id", (all) => all.map((one) => one.textContent)));
            const put = await page.evaluate(async () => {
                const body = JSON.stringify({ benchmark: "b", id: "q2", text: "from the page" });
                const headers = { "X-Token": new URLSearchParams(location.search).get("token") };
                return (await fetch("/api/note", { method: "PUT", body, headers })).status;
            });
            const abroad = await page.evaluate(() => fetch("http://127.0.0.1:1/").then(() => "sent", () => "refused"));
            return [...out, put, abroad, [...new Set(asked.map((url) => new URL(url).origin))]];
            """,
            clean=False,
        )
    assert found[:3] == ["3 items", "q/1 ?&", "2 of 3 items"]
    assert found[3:6] == [["q/1 ?&"], 200, "refused"]
    assert found[6] == [f"http://{server.hosts[0]}"]
    assert view.notes() == [{"benchmark": "b", "id": "q2", "text": "from the page"}]
