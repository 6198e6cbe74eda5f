r"""Prompts as versioned files with a content hash: an item and an order in, the messages for a judge out.

A format is `prompts/<name>.v<N>.toml`; "rrm" means its newest version, "rrm.v1" that one. A published file is never
edited: a changed word is a new version. The files are written in our own words around the exact format tokens of each
paper (headings, tags, boxes). Released checkpoints (RRM-7B/32B, RM-R1) were trained on their authors' exact wording: to
judge with them, put that wording into a TOML file and load it by path, or from the hub, pinned by its sha256.

Keys of a file:

    kind         "pair" (two responses), "list" (n >= 1), "single" (one), "scores" (no text: heuristic, scalar engines)
    parser       name in `parse.PARSERS` that reads the answer
    source       where the format tokens come from (paper, section)
    opens_think  whether the chat template of the models this format is made for ends with an open `<think>`, so that
                 text without `</think>` is all thinking. That is a property of model and template together: a judge
                 spec may override it. It changes how an answer is read, never what is sent.
    user         the user message; `system` (optional) the system message, left out where empty
    response     list only: how each response is written, joined by a blank line

Placeholders: pair {query} {first} {second}; list {query} {responses} and optionally {n} and {letters} ("A, B, C");
its `response` {response} and {number} (from 1) or {letter} (from A); single {query} {response}. Every placeholder that
carries text is required, any other name in braces is an error at load; braces around anything but a lower-case word
are text (`\boxed{Assistant 1}`). Rendering is one substitution pass: a response that contains "{second}" appears as is.

A query of one user message appears verbatim. Any other conversation becomes a transcript, each message under
"[System]", "[User]" or "[Assistant]" (RRM's own code refuses such queries; RM-R1 has a second template for them).

Left out: chat templates (engines), reading answers (`parse.py`), splitting a set into single responses (`judge.py`).

    >>> from rrmlib.comparison import Comparison, Order, ask
    >>> c = Comparison(id="q1", query=ask("2 + 2 = ?"), first="4", second="5", label="first")
    >>> print(load_prompt("direct_compact").messages(c, Order.BA)[0].content)
    Query: 2 + 2 = ?
    A: 5
    B: 4
    Better: [[A]] or [[B]]?
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rrmlib.comparison import Item, Message, Order
from rrmlib.parse import PARSERS

FOLDER = Path(__file__).parent / "prompts"
MAX_LETTERS = 26

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_FILE = re.compile(r"(?P<name>.+?)(?:\.v(?P<version>\d+))?\.toml")
# kind -> (placeholders that must occur in system + user, those that may)
_PLACEHOLDERS: dict[str, tuple[set[str], set[str]]] = {
    "pair": ({"query", "first", "second"}, set()),
    "list": ({"query", "responses"}, {"n", "letters"}),
    "single": ({"query", "response"}, set()),
    "scores": (set(), set()),
}
_KEYS = {"kind": str, "parser": str, "source": str, "opens_think": bool, "system": str, "user": str, "response": str}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt file. `sha256` is the hash of the file's bytes; `response` is the per-response part of a list."""

    name: str
    version: int
    kind: str
    parser: str
    source: str
    sha256: str
    opens_think: bool = False
    system: str = ""
    user: str = ""
    response: str = ""

    @property
    def id(self) -> str:
        """Name, version and the first 12 hex digits of the content hash: "rrm.v1@0123456789ab"."""
        return f"{self.name}.v{self.version}@{self.sha256[:12]}"

    def messages(self, item: Item, order: Order) -> tuple[Message, ...]:
        """What the judge is shown: `item`'s responses in `order`. Empty for kind "scores".

        Raises ValueError where the number of responses does not fit the kind, or the order does not fit the item.
        """
        n = len(item.responses)
        if len(order) != n:
            raise ValueError(f"prompt {self.name}: an order of {len(order)} for item {item.id!r} with {n} responses")
        if self.kind == "scores":
            return ()
        wanted = {"pair": 2, "single": 1}.get(self.kind, n)
        if n != wanted:
            raise ValueError(
                f"prompt {self.name} is of kind {self.kind!r} and shows {wanted} response{'s' * (wanted > 1)}; "
                f"item {item.id!r} has {n}"
            )
        values = {"query": transcript(item.query), **self._responses(item.shown(order))}
        texts = (("system", self.system), ("user", self.user))
        return tuple(Message(role, _fill(text, values)) for role, text in texts if text)

    def _responses(self, shown: tuple[str, ...]) -> dict[str, str]:
        if self.kind == "pair":
            return {"first": shown[0], "second": shown[1]}
        if self.kind == "single":
            return {"response": shown[0]}
        letters = [chr(ord("A") + i) for i in range(min(len(shown), MAX_LETTERS))]
        template = self.response + self.system + self.user
        if len(shown) > MAX_LETTERS and ("{letter}" in template or "{letters}" in template):
            raise ValueError(f"prompt {self.name} names responses by letter: {len(shown)} is more than {MAX_LETTERS}")
        names = [*letters, *[""] * (len(shown) - len(letters))]
        blocks = [
            _fill(self.response, {"response": text, "number": str(i), "letter": letter})
            for i, (text, letter) in enumerate(zip(shown, names), 1)
        ]
        return {"responses": "\n\n".join(blocks), "n": str(len(shown)), "letters": ", ".join(letters)}


def transcript(query: tuple[Message, ...]) -> str:
    """The query as text: one user message as it is, any other conversation as a labelled transcript."""
    if len(query) == 1 and query[0].role == "user":
        return query[0].content
    return "\n\n".join(f"[{m.role.capitalize()}]\n{m.content}" for m in query)


def load_prompt(name: str | Path, sha256: str | None = None) -> Prompt:
    """A format by name ("rrm"), by name and version ("rrm.v1"), or an external file by path ("judge.toml") or from the
    hub ("hf:org/name/folder/judge.toml", through huggingface_hub).

    `sha256` (64 hex digits, of the file's bytes) is required for external files. Raises ValueError, in one line, for an
    unknown name, an unreadable or malformed file, and a hash that differs (naming both).
    """
    text = str(name)
    if text.startswith("hf:"):
        path = _from_hub(text)
    elif text.endswith(".toml"):
        path = Path(name)
    else:
        path = _builtin(text)
    try:
        raw = path.read_bytes()
    except OSError as e:
        raise ValueError(f"prompt {text}: cannot be read: {e.strerror or e}") from None
    found = hashlib.sha256(raw).hexdigest()
    if sha256 is None and path.parent != FOLDER:
        raise ValueError(f"prompt {text}: an external prompt must be pinned; if it is the right one: sha256={found}")
    if sha256 is not None and sha256.lower() != found:
        raise ValueError(f"prompt {text}: sha256 is {found}, expected {sha256}")
    named = _FILE.fullmatch(path.name)
    assert named is not None  # both branches above end in .toml
    try:
        keys = _keys(raw)
    except UnicodeDecodeError as e:
        raise ValueError(f"prompt {text}: not UTF-8 at byte {e.start}") from None
    except ValueError as e:
        raise ValueError(f"prompt {text}: {e}") from None
    return Prompt(name=named["name"], version=int(named["version"] or 1), sha256=found, **keys)


def names() -> list[str]:
    """The formats that come with rrmlib, without versions."""
    return sorted({match["name"] for path in FOLDER.iterdir() if (match := _FILE.fullmatch(path.name))})


def _builtin(name: str) -> Path:
    versions = {
        int(match["version"]): FOLDER / file
        for file in os.listdir(FOLDER)  # a world asks for a prompt with every document: Path objects would cost
        if file.startswith(name) and (match := _FILE.fullmatch(file)) and match["version"]
        if name in (match["name"], file.removesuffix(".toml"))
    }
    if not versions:
        raise ValueError(f"unknown prompt {name!r}; known: {', '.join(names())} (or a path that ends in .toml)")
    return versions[max(versions)]


def _from_hub(address: str) -> Path:
    parts = address.removeprefix("hf:").split("/", 2)
    if len(parts) != 3 or not all(parts) or not address.endswith(".toml"):
        raise ValueError(f"prompt {address}: expected hf:org/name/path/to/file.toml")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(f"{parts[0]}/{parts[1]}", parts[2]))
    except Exception as e:  # the hub's own and any of its transport's: all mean that there is no file
        reason = str(e).strip().split("\n")[0]
        raise ValueError(f"prompt {address}: not available from the hub ({type(e).__name__}: {reason})") from None


@lru_cache(maxsize=64)
def _keys(raw: bytes) -> dict[str, Any]:
    """What a prompt file says. Raises ValueError."""
    keys = tomllib.loads(raw.decode("utf-8"))
    _check(keys)
    return keys


def _check(keys: dict[str, Any]) -> None:
    """Raise ValueError unless `keys` is a complete and consistent prompt file."""
    for key, value in keys.items():
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise ValueError(f"{key} must be {_KEYS[key].__name__}, found {type(value).__name__}")
    for key in ("kind", "parser", "source"):
        if not keys.get(key):
            raise ValueError(f"key {key!r} is missing")
    kind = keys["kind"]
    if kind not in _PLACEHOLDERS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(_PLACEHOLDERS)}")
    if keys["parser"] not in PARSERS:
        raise ValueError(f"unknown parser {keys['parser']!r}")
    if (kind == "list") != bool(keys.get("response")):
        raise ValueError("key 'response' belongs to kind 'list', and only there")
    if (kind == "scores") == bool(keys.get("user")):
        raise ValueError("key 'user' is needed" if kind != "scores" else "kind 'scores' has no text")
    _check_placeholders("system and user", keys.get("system", "") + keys.get("user", ""), *_PLACEHOLDERS[kind])
    if kind == "list":
        _check_placeholders("response", keys["response"], {"response"}, {"number", "letter"})


def _check_placeholders(where: str, text: str, required: set[str], optional: set[str]) -> None:
    found = set(_PLACEHOLDER.findall(text))
    if unknown := sorted(found - required - optional):
        raise ValueError(f"{where}: unknown placeholder {{{unknown[0]}}}; allowed: {sorted(required | optional)}")
    if missing := sorted(required - found):
        raise ValueError(f"{where}: placeholder {{{missing[0]}}} is missing")


def _fill(template: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)
