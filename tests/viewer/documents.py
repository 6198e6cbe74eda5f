# ruff: noqa: E501  the code of the page and hostile texts are long lines
"""Documents for the tests of the reader, made without the library: small ones, hostile ones, large ones."""

from __future__ import annotations

import random
import re
from typing import Any

FAMILIES = ["breakdown", "comparison", "reflection", "transition"]
WORDS = "the answer checks each step but wait the sum of four and nine is thirteen so response holds while however"


def units(text: str, place: int) -> int:
    """A place in characters, counted in UTF-16 code units."""
    return sum(2 if c > "\uffff" else 1 for c in text[:place])


def trace(
    judge: str, order: str, pick: Any, *, best: int | None = 0, sample: int = 0, text: str = "", **more: Any
) -> dict:
    shown = {"AB": [0, 1], "BA": [1, 0]}.get(order) or [int(p) for p in order.split(".")]
    marks = [[units(text, m.start()), units(text, m.end()), "verdict"] for m in re.finditer(r"\\boxed\{[^}]*\}", text)]
    for m in re.finditer(r"Assistant (\d)", text):
        marks.append([units(text, m.start()), units(text, m.end()), f"mention:{int(m[1]) - 1}"])
    for word, family in (
        ("wait", "reflection"),
        ("however", "transition"),
        ("while", "comparison"),
        ("step", "breakdown"),
    ):
        for m in re.finditer(rf"\b{word}\b", text):
            marks.append([units(text, m.start()), units(text, m.end()), f"pattern:{family}"])
    blocks = [
        [units(text, m.start()), units(text, m.end()), m[1]]
        for m in re.finditer(r"<(think|type|rubric|solution|eval|answer)>.*?</\1>", text, re.DOTALL)
    ]
    right = None if best is None or pick is None else pick == best
    made = {
        "judge": judge, "order": order, "shown": shown, "sample": sample, "state": "read" if pick is not None else "unparsed",
        "note": "", "finish": "stop", "tokens": len(text.split()), "words": len(text.split()), "parser": "rrm.v1",
        "text": text, "choice": pick, "values": None, "strength": None, "right": right, "blocks": blocks,
        "marks": sorted(marks),
    }  # fmt: skip
    return made | more


def item(name: str, traces: list[dict], *, best: tuple[int, ...] = (0,), **more: Any) -> dict:
    made = {
        "id": name, "benchmark": "lab", "section": "chat", "difficulty": "1", "source": "test",
        "query": [["user", f"What is asked in {name}?"]], "responses": ["It is four.", "It is five."], "asked": [],
        "truth": [1, 0] if best == (0,) else None, "best": list(best), "traces": traces,
    }  # fmt: skip
    return made | more


def document(items: list[dict], title: str = "test", note: str = "") -> dict:
    judges = list(dict.fromkeys(t["judge"] for i in items for t in i["traces"]))
    kinds = {m[2] for i in items for t in i["traces"] for m in t["marks"]}
    families = sorted(k.partition(":")[2] for k in kinds if k.startswith("pattern:"))
    return {"version": 1, "title": title, "judges": judges, "families": families, "items": items, "note": note}


RRM = """<think>The question asks for 2 + 2. Assistant {a} says four, which is right: 2 + 2 = 4.
Assistant {b} says five. Let me check each step again: 2 + 1 = 3, and 3 + 1 = 4. wait, is five right in any base? No.
however, {extra}, while Assistant {b} gives no reason at all.</think>
Assistant {a} is better.
\\boxed{{Assistant {a}}}"""
RUBRIC = """<type>Reasoning</type>
<solution>2 + 2 = 4</solution>
<rubric>Correct result (60 %), each step stated (40 %)</rubric>
<eval>Assistant 1 gives <quote_A>It is four</quote_A>, which is the solution, while Assistant 2 does not.</eval>
<answer>[[A]]</answer>"""


def small() -> dict:
    """24 items with two judges, both orders, several samples, and something for every filter."""
    items = []
    for i in range(24):
        traces = []
        for judge in ("rrm-s", "base-s"):
            for order in ("AB", "BA"):
                for sample in range(2):
                    weak = judge == "base-s"
                    pick = 1 if weak and (i % 3 == 0 or (i % 4 == 1 and order == "BA")) else 0
                    position = pick if order == "AB" else 1 - pick
                    text = RRM.format(a=position + 1, b=2 - position, extra=f"sample {sample} of {judge} on item {i}")
                    more: dict[str, Any] = {}
                    if weak and i % 8 == 5 and sample == 1:
                        pick, text = None, "I cannot decide."
                    if weak and i == 7 and order == "AB":
                        pick, more = (
                            None,
                            {"state": "truncated", "finish": "length", "note": "the thinking never closed"},
                        )
                    if not weak and i == 9:
                        more = {"finish": "budget"}
                    traces.append(trace(judge, order, pick, sample=sample, text=text, **more))
        section = ("chat", "reasoning", "safety")[i % 3]
        items.append(item(f"q{i:02}", traces, section=section, difficulty=str(i % 4)))
    items[2]["traces"].append(trace("rm-r1", "AB", 0, text=RUBRIC))
    items[4]["traces"] = [t for t in items[4]["traces"] if t["judge"] == "rrm-s"]
    scores = "Principles: correctness.\nAnalysis: Assistant 1 is right.\n\\boxed{9, 3}"
    items[5]["traces"].append(trace("grm", "AB", 0, text=scores, values=[9, 3]))
    return document(items, "small", "judge base-s misses 1 item")


def large(items: int = 1000, traces: int = 4, words: int = 500) -> dict:
    """The size of the bars: words of a small vocabulary in random order, so that gzip does not see copies."""
    rng = random.Random(7)
    vocabulary = [
        *re.findall(r"\w+", WORDS),
        *("".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(3000)),
    ]
    weights = [1 / (i + 3) for i in range(len(vocabulary))]
    made = []
    for i in range(items):
        own = []
        for t in range(traces):
            body = " ".join(rng.choices(vocabulary, weights, k=words - 2))
            pick = int(rng.random() < 0.4)
            text = f"<think>{body}</think>\n\\boxed{{Assistant {pick + 1}}}"
            own.append(trace(("rrm-s", "base-s")[t % 2], ("AB", "BA")[t // 2 % 2], pick, text=text))
        query = " ".join(rng.choices(vocabulary, weights, k=40))
        responses = [" ".join(rng.choices(vocabulary, weights, k=60)) for _ in range(2)]
        more = {
            "section": f"section {i % 4}",
            "difficulty": str(i % 9),
            "query": [["user", query]],
            "responses": responses,
        }
        made.append(item(f"item-{i:04}", own, **more))
    return document(made, "large")


CANARY = "window.canary=1;alert(1)"
OUTSIDE = "http://127.0.0.1:9/outside"


def hostile() -> list[str]:
    """Texts that would run, load or lead somewhere if a page took any of them for more than text."""
    u, c = OUTSIDE, CANARY
    tags = [
        f"<script>{c}</script>", f"<script src={u}></script>", f"</script><script>{c}</script>",
        f"</script><img src=x onerror={c}>", f"<!--<script>{c}//-->", f"--><script>{c}</script>",
        f"<img src={u}>", f"<img src=x onerror='{c}'>", f"<img srcset='{u} 2x'>", f"<image href={u}>",
        f"<svg onload={c}>", f"<svg><script>{c}</script></svg>", f"<svg><image href='{u}'/></svg>",
        f"<svg><use href='{u}#x'/></svg>", f"<svg><animate onbegin={c} attributeName=x dur=1s>",
        f"<svg><foreignObject><iframe src='javascript:{c}'></iframe></foreignObject></svg>",
        f"<math><mtext><script>{c}</script></mtext></math>", f"<math href='javascript:{c}'>x</math>",
        f"<iframe src={u}></iframe>", f"<iframe src='javascript:{c}'></iframe>",
        f"<iframe srcdoc='<script>parent.{c}</script>'></iframe>", f"<object data={u}></object>", f"<embed src={u}>",
        f"<link rel=stylesheet href={u}>", f"<link rel=preload as=script href={u}>", f"<link rel=prefetch href={u}>",
        f"<style>@import '{u}';</style>", f"<style>body{{background:url({u})}}</style>",
        f"</style><style>@import url({u});</style>", f"<div style='background:url({u})'>x</div>",
        "<div style='position:fixed;inset:0;background:red'>cover</div>", f"<meta http-equiv=refresh content='0;url={u}'>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src *\">", f"<base href={u}>",
        f"<form action={u}><input autofocus onfocus={c}><button>x</button></form>", f"<input onfocus={c} autofocus>",
        f"<body onload={c}>", f"<video src={u} autoplay onerror={c}></video>", f"<audio src={u} autoplay></audio>",
        f"<video><source onerror={c}></video>", f"<details open ontoggle={c}>x</details>", f"<marquee onstart={c}>x</marquee>",
        f"<a href='javascript:{c}'>click</a>", f"<a href='{u}'>click</a>", f"<a href='data:text/html,<script>{c}</script>'>x</a>",
        f"[click](javascript:{c})", f"![x]({u})", f"{u}", f"javascript:{c}", f"data:text/html,<script>{c}</script>",
        f"<template><script>{c}</script></template>", f"<noscript><p title='</noscript><img src=x onerror={c}>'>",
        f"<textarea></textarea><script>{c}</script>", f"<title></title><script>{c}</script>", f"<xmp></xmp><script>{c}</script>",
        f"<plaintext><script>{c}</script>", f"<select><option></select><script>{c}</script>", f"]]><script>{c}</script>",
        f"\"><script>{c}</script>", f"'><img src=x onerror={c}>", f"`${{{c}}}`", f"{{{{constructor.constructor('{c}')()}}}}",
        f"\";{c};//", f"\\u003cscript\\u003e{c}\\u003c/script\\u003e", f"&lt;script&gt;{c}&lt;/script&gt;", f"&#60;script>{c}",
        f"+ADw-script+AD4-{c}+ADw-/script+AD4-", f"<scr\x00ipt>{c}</scr\x00ipt>", f"<SCRIPT>{c}</SCRIPT >", f"<script\n>{c}</script\t>",
        "{{data}} {{js}} {{policy}}", "__proto__", "constructor",
    ]  # fmt: skip
    odd = [
        "\u202ereversed \u202d and \u2066isolated\u2069 \u202c", "\u2067never closed", "a\u200fb\u200ec\u061cd",
        "\x00\x01\x02\x07\x08\x1b[31mred\x1b[0m\x7f\x80\x9f", "\ud800", "\udc00 alone", "\udfff\ud800 swapped",
        "\U000e0041\U000e0042 tags", "line\u2028separator\u2029s", "\r alone, \r\n together", "\ufeffBOM \ufffe \uffff",
        "z\u0301\u0302\u0303\u0304" * 200, "x" * 100_000, "\x00" * 50_000, "שלום עולם, مرحبا بالعالم, hello, 你好, नमस्ते",
        "\n" * 5000, "\t" * 500, "", " ", "😀👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    ]  # fmt: skip
    return tags + odd


def hostile_document() -> dict:
    """Every hostile text as the text of a trace, and in every other place that holds text."""
    items = []
    for text in hostile():
        judge = text[:300] or "empty"
        size = units(text, len(text))
        marks = [
            [0, size, "verdict"],
            [0, size, f"pattern:{text[:80]}"],
            [0, min(3, size), "mention:1"],
            [0, size, text[:50]],
        ]
        own = trace(judge, "AB", 1, best=None, text=text, note=text[:500], finish=text[:40], parser=text[:40])
        own |= {"blocks": [[0, size, text[:40]]], "marks": marks}
        more = {field: text[:2000] for field in ("section", "difficulty", "source", "benchmark")}
        query = [[text[:60] or "user", text]]
        items.append(
            item(text[:500] or "empty", [own], best=(), responses=[text, text], query=query, asked=query, **more)
        )
    return document(items, hostile()[2], note=hostile()[7]) | {"families": [t[:80] for t in hostile()]}
