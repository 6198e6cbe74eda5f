"""The reader as one page: a single HTML file, the page of a server, or the output of a notebook cell.

A file holds everything: the document is JSON, gzipped, in base64, so that no text of it can end the element that holds
it, and needs no network. The page's own policy forbids all of it: the one script and the one style are allowed by
their digest, nothing is loaded, and a fetch is only possible in the page of a server, to that server. What is shown is
untrusted: the scripts (`text.js`, `source.js`, `item.js`, `reader.js`, joined here) build it from text nodes.

In a notebook the page lies in a sandboxed frame: it has no address, no storage and no access to the notebook; it works
in a live JupyterLab and in the executed file. A notebook that is not trusted shows a line of text instead. The cell
holds the whole document: for a large one, `write` a file and name it.

Left out: what is in a document (`records.py`), the server (`serve.py`).

    >>> empty = {"version": 1, "title": "t", "judges": [], "families": [], "items": [], "note": ""}
    >>> page(empty).startswith("<!DOCTYPE html>"), page(empty) == page(empty)
    (True, True)
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rrmlib.artefact import write_whole

SCRIPTS = ("text.js", "source.js", "item.js", "reader.js")
POLICY = (
    "default-src 'none'; script-src 'sha256-{js}'; style-src 'sha256-{css}'; connect-src {connect}; img-src 'none'; "
    "font-src 'none'; media-src 'none'; object-src 'none'; frame-src 'none'; worker-src 'none'; form-action 'none'; "
    "base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def page(document: dict[str, Any], title: str | None = None) -> str:
    """One self-contained HTML page of a document (see `records.document`). Same document, same text."""
    if title is not None:
        document = document | {"title": title}
    # Escapes keep lone surrogates, which no encoding of text would.
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    packed = base64.b64encode(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0)).decode("ascii")
    items = len(document["items"])
    return _fill(
        source="embedded",
        title=document["title"],
        amount=f"{items:,} item{'' if items == 1 else 's'}",
        data=f'<script type="application/octet-stream" id="data">{packed}</script>',
    )


def remote_page(title: str) -> str:
    """The same page for a server: it asks /api/... for what it shows."""
    return _fill(source="server", title=title, amount="the store", data="")


def write(document: dict[str, Any], path: str | Path, title: str | None = None) -> Path:
    """`page` as a file; readers see the old file or the new one, never a part. Raises OSError naming `path`."""
    text = page(document, title)
    return write_whole(Path(path), lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


@dataclass(frozen=True)
class Cell:
    """The reader as the value of a notebook cell."""

    document: dict[str, Any] = field(repr=False)
    height: int = 760

    def __repr__(self) -> str:
        items = len(self.document["items"])
        return f"Reader of {items:,} item{'' if items == 1 else 's'}: {_clean(self.document['title'])}"

    def _repr_html_(self) -> str:
        # What a front end shows that drops the frame, such as JupyterLab in a notebook that is not trusted, is the
        # text in it.
        instead = f"{self!r} — not shown: this notebook is not trusted. Run the cell, or choose Trust Notebook in the"
        instead += " command palette."
        return (
            f'<iframe sandbox="allow-scripts" title="{html.escape(repr(self))}" width="100%" height="{self.height}" '
            f'style="border:1px solid #8886" srcdoc="{html.escape(page(self.document))}">'
            f"{html.escape(instead)}</iframe>"
        )


def cell(document: dict[str, Any], height: int = 760) -> Cell:
    """A document as the last value of a notebook cell: a frame of that many pixels."""
    return Cell(document, height)


def _clean(text: str) -> str:
    """A title for places that hold plain text only: no controls, no surrogates, short."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", "�", text)[:200]


def _fill(source: str, title: str, amount: str, data: str) -> str:
    template, css, js = _parts()
    values = {
        "policy": POLICY.format(js=_digest(js), css=_digest(css), connect="'self'" if source == "server" else "'none'"),
        "source": source,
        "title": html.escape(_clean(title)),
        "amount": amount,
        "css": css,
        "data": data,
        "js": js,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


@lru_cache(maxsize=1)
def _parts() -> tuple[str, str, str]:
    folder = files("rrmlib.viewer")
    template, css, *scripts = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("reader.html", "reader.css", *SCRIPTS)
    )
    js = '"use strict";\n(() => {\n' + "\n".join(scripts) + "})();\n"
    for name, text, closing in (("css", css, "</style"), ("js", js, "</script")):
        if closing in text.lower():
            raise ValueError(f"the page's {name} holds {closing}, which would end it")
    return template, css, js


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
