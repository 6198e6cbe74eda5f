"""`rrm view`: a store, served to one reader on this machine.

Only the loopback interface is listened on, and every answer needs the token that the printed address carries: other
users of the machine, and pages that a browser has open, do not know it. The Host header must be the address that is
served, so that no name that resolves to it (DNS rebinding) is answered; a foreign Origin is refused; nothing is allowed
across origins. What is shown is untrusted, so the page comes with a policy that lets it load nothing but its own data.
Errors are one sentence, as JSON.

    GET /                the page
    GET /api/meta        what there is
    GET /api/items       a page of the list: filters, judges, benchmark, section, difficulty, q, sort, offset, limit
    GET /api/item        one item: benchmark, id
    GET /api/notes       the reader's notes
    PUT /api/note        {benchmark, id, text}; empty text removes it

Left out: the page itself (`page.py`), what pages hold (`view.py`), other machines: forward the port with ssh.

    with Server(view, remote_page("traces")) as server:
        print(server.address)
        server.serve_forever()
"""

from __future__ import annotations

import hmac
import html
import json
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rrmlib import __version__
from rrmlib.exchange import StoreError
from rrmlib.viewer.filters import FIELDS, Query
from rrmlib.viewer.view import View

HOST = "127.0.0.1"
BODY = 200_000  # bytes of a note as it is sent: NOTE characters, all of them escaped
TEXT = 1000  # characters of a search
SECONDS = 30.0  # that a connection may say nothing
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"')
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Refused(Exception):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    """Serves `view` at `address`, which holds the token. `page` is HTML with a policy of its own, which is said in the
    header too. Raises OSError where the port cannot be had."""

    daemon_threads = True

    def __init__(self, view: View, page: str, *, port: int = 0):
        self.view, self.page, self.token = view, page.encode(), secrets.token_urlsafe()
        own = _POLICY.search(page)
        self.policy = f"{html.unescape(own[1])}; frame-ancestors 'none'" if own else NOTHING
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as e:
            why = e.strerror if isinstance(e, OSError) else "ports end at 65535"
            raise OSError(f"port {port}: {why}; give another --port, or none for a free one") from None

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a Host header may be."""
        return (f"{HOST}:{self.server_port}", f"localhost:{self.server_port}")

    @property
    def address(self) -> str:
        return f"http://{self.hosts[0]}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = f"rrm/{__version__}", ""
    protocol_version = "HTTP/1.1"
    timeout = SECONDS

    def do_GET(self) -> None:
        self._answer({"/": self._page, **{f"/api/{name}": ask for name, ask in _GET.items()}})

    def do_PUT(self) -> None:
        self._answer({"/api/note": _put_note})

    def _answer(self, routes: dict[str, Callable[..., Any]]) -> None:
        status = HTTPStatus.OK
        try:
            url = urlsplit(self.path)
            given = parse_qs(url.query, keep_blank_values=True, errors="surrogatepass", max_num_fields=200)
            self._check(given)
            if url.path not in routes:
                raise Refused(HTTPStatus.NOT_FOUND, "there is no such page")
            answer = routes[url.path](self, given)
        except Refused as e:
            status, answer = e.status, {"error": str(e)}
        except LookupError as e:
            status, answer = HTTPStatus.NOT_FOUND, {"error": str(e.args[0])}
        except StoreError as e:
            status, answer = HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(e)}
        except ValueError as e:
            status, answer = HTTPStatus.BAD_REQUEST, {"error": " ".join(str(e).split())}
        except Exception as e:  # no traceback to the page
            status, answer = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(e).__name__} in rrm view: {e}"}
        if isinstance(answer, bytes):
            self._send(status, "text/html; charset=utf-8", answer, self.server.policy)
        else:  # ASCII: lone surrogates survive as escapes
            self._send(status, "application/json", json.dumps(answer).encode())

    def _check(self, given: dict[str, list[str]]) -> None:
        """Host, origin and token, before anything is looked at."""
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            raise Refused(HTTPStatus.FORBIDDEN, f"only http://{self.server.hosts[0]} is served")
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        ours = [f"http://{host}" for host in self.server.hosts]
        if (origin is not None and origin not in ours) or site in ("cross-site", "same-site"):
            raise Refused(HTTPStatus.FORBIDDEN, "another page may not ask this one")
        (*_, token) = given.pop("token", [""])
        token = self.headers.get("X-Token", token)
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "the token is missing or wrong: open the address that rrm view printed")

    def _send(self, status: HTTPStatus, kind: str, body: bytes, policy: str = NOTHING) -> None:
        if status is not HTTPStatus.OK:
            self.close_connection = True  # what was sent with a request that was refused is not read
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        for name, value in {**HEADERS, **own}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _page(self, _: Any, given: dict[str, list[str]]) -> bytes:
        return self.server.page

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses (other methods, requests that are none): in our words and headers."""
        status = HTTPStatus(code)
        self.request_version = "HTTP/1.1"
        self._send(status, "application/json", json.dumps({"error": message or status.phrase}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the address holds the token."""


# --- What is asked ----------------------------------------------------------------------------------------------------


def _items(handler: _Handler, given: dict[str, list[str]]) -> Any:
    known = {"filters", "judges", "benchmark", "section", "difficulty", "q", "sort", "offset", "limit"}
    if unknown := sorted(set(given) - known):
        raise ValueError(f"unknown parameter {unknown[0]!r:.60}; known: {', '.join(sorted(known))}")
    if len(_one(given, "q") or "") > TEXT:
        raise ValueError(f"a search has at most {TEXT:,} characters")
    query = Query(
        filters=tuple(name for value in given.get("filters", ()) for name in value.split(",") if name),
        judges=_judges(given.get("judges", ()), handler.server.view.index.judges),
        **{name: _one(given, name) for name in FIELDS},
        q=_one(given, "q") or "",
        sort=_one(given, "sort") or "given",
    )
    numbers = {name: _number(given, name) for name in ("offset", "limit") if name in given}
    return handler.server.view.page(query, **numbers)


def _counts(handler: _Handler, given: dict[str, list[str]]) -> Any:
    view = handler.server.view
    return {"counts": view.counts(_judges(given.get("judges", ()), view.index.judges))}


def _judges(values: Any, known: list[str]) -> tuple[str, ...]:
    """Names, several in one value with commas between; a name may hold commas itself."""
    return tuple(name for value in values if value for name in ([value] if value in known else value.split(",")))


def _item(handler: _Handler, given: dict[str, list[str]]) -> Any:
    benchmark, name = _one(given, "benchmark"), _one(given, "id")
    if benchmark is None or name is None:
        raise ValueError("an item is asked for by benchmark and id")
    return handler.server.view.item(benchmark, name)


def _one(given: dict[str, list[str]], name: str) -> str | None:
    values = given.get(name, [])
    if len(values) > 1:
        raise ValueError(f"parameter {name!r} is given {len(values)} times")
    return values[0] if values else None


def _number(given: dict[str, list[str]], name: str) -> int:
    text = _one(given, name) or ""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f"parameter {name!r}: expected a whole number, found {text!r:.40}")
    return int(text)


def _put_note(handler: _Handler, given: dict[str, list[str]]) -> Any:
    length = handler.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal() and len(length) < 10):
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "a note comes with its length")
    if int(length) > BODY:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a note of {length} bytes; {BODY:,} are taken at most")
    raw = handler.rfile.read(int(length))
    try:
        note = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("a note is a JSON object {benchmark, id, text}") from None
    fields = ("benchmark", "id", "text")
    if not isinstance(note, dict) or set(note) != set(fields) or not all(isinstance(note[f], str) for f in fields):
        raise ValueError("a note is a JSON object {benchmark, id, text}, all of them text")
    handler.server.view.write_note(note["benchmark"], note["id"], note["text"])
    return {"noted": bool(note["text"])}


_GET: dict[str, Callable[[_Handler, dict[str, list[str]]], Any]] = {
    "meta": lambda handler, _: handler.server.view.meta(),
    "counts": _counts,
    "items": _items,
    "item": _item,
    "notes": lambda handler, _: {"version": 1, "notes": handler.server.view.notes()},
}
