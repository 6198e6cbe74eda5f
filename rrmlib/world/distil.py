"""RM-R1's cold start (2505.02387, section 3.2): traces of two oracles on split sft, filtered, as training rows.

A first oracle judges with the very prompt that the model is asked with; where it misses the label, a second is shown
that prompt, the failed judgment and the right verdict, and rewrites. In the lab both are programs (`oracle.py`).
Options `first` and `second` put any engine in their place: a mapping with the fields of a judge spec that say which
model it is and how it draws, or just the model's address (engine hf):

    data: {name: distilled, n: 9000, first: {engine: openai, model: m, temperature: 1.0, max_tokens: 8192,
           options: {base_url: "https://..."}}, second: "path:models/rewriter"}

What an engine says is kept in runs/oracles.sqlite: a run that was stopped pays for nothing twice. A model is keyed by
its oracle's address, not by what lies there: give an hf model a revision. Left out: lab models as oracles.

    distilled(context)      # Data(rows=[{"prompt": "...", "completion": "<type>..."}, ...])
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from rrmlib.comparison import Comparison, Message, Order
from rrmlib.engines.base import Completion
from rrmlib.prompt import FOLDER, Prompt
from rrmlib.world.data import Renderer, bare_verdict, is_right, pairs_of
from rrmlib.world.oracle import first_oracle, second_oracle, shown_label
from rrmlib.world.problem import stream

if TYPE_CHECKING:
    from rrmlib.lab import Context, Data

FILTERS = ("corrected", "dropped", "random")
REWRITE = FOLDER / "rm_r1_rewrite.v1.txt"  # {prompt}, {failed} and {verdict}; a changed word is a new version

Task = tuple[Comparison, Order]
Failed = Sequence[str | None]  # the failed judgment of each task, for the second oracle
Oracle = Callable[[Sequence[Task], Failed], list[Completion]]


def distilled(c: Context) -> Data:
    """Rows {"prompt", "completion"} on split sft. Raises ParameterError for an oracle that is none, ValueError.

    Option `n` takes the first n items. `filter`: "corrected" (wrong traces are rewritten, as published), "dropped"
    (wrong traces are left out) or "random" (the control: as many of the first oracle's traces as "dropped" keeps,
    right or wrong, by chance). A trace that an engine could not give, and a rewritten one that still misses the label,
    is left out; the note gives the numbers. `traces: false` gives the same rows with the right verdict alone in the
    place of the trace (the arm "answers only").
    """
    from rrmlib.lab import Data

    assert c.prompt is not None
    prompt, render, way = c.prompt, Renderer(c.parent), str(c.options.get("filter", "corrected"))
    if way not in FILTERS:
        raise ValueError(f"filter {way!r}: {', '.join(FILTERS)}")
    first, second = (_oracle(c, prompt, role) for role in ("first", "second"))
    items = pairs_of(c, "sft")[: int(c.options.get("n", 10**9))]
    tasks = [(item, (Order.AB, Order.BA)[number % 2]) for number, item in enumerate(items)]  # as the official code
    said = first(tasks, [None] * len(tasks))
    had = [i for i, completion in enumerate(said) if completion.finish not in ("error", "too_long")]
    if not had:
        raise ValueError(f"the first oracle gave no trace: {said[0].error if said else 'n is 0'}")
    right = [i for i in had if is_right(prompt, said[i].text, *tasks[i], said[i].finish)]
    wrong = sorted({*had} - {*right})
    used = {i: said[i].text for i in right}
    if way == "corrected":
        again = second([tasks[i] for i in wrong], [said[i].text for i in wrong])
        used |= {i: r.text for i, r in zip(wrong, again) if is_right(prompt, r.text, *tasks[i], r.finish)}
    elif way == "random":
        used = {i: said[i].text for i in stream("random control", c.seed).sample(had, len(right))}
    if bare := not c.options.get("traces", True):
        used = {i: bare_verdict(prompt.parser, shown_label(*tasks[i]) == "first") for i in used}
    rows = [{"prompt": render.prompt(prompt.messages(*tasks[i])), "completion": used[i]} for i in sorted(used)]
    came = f"{len(had)}{f' of {len(said)}' if len(had) < len(said) else ''} traces of the first oracle"
    share = f"{len(wrong)} wrong ({len(wrong) / len(had):.0%})"
    note = f"{came}, {share}; {way}: {len(rows)} used{', the verdict alone' * bare}."
    c.log(f"distilled: {note}")
    return Data(rows, (), note)


def rewriting(prompt: Prompt, item: Comparison, order: Order, failed: str) -> tuple[Message, ...]:
    """What the second oracle is asked: one message with the judge's prompt, its failed judgment, the right verdict.

    The judgment is not an assistant turn, of which chat templates may strip the thinking.
    """
    values = {
        "prompt": "\n\n".join(message.content for message in prompt.messages(item, order)),
        "failed": failed,
        "verdict": bare_verdict(prompt.parser, shown_label(item, order) == "first"),
    }
    text = REWRITE.read_text("utf-8").strip()
    return (Message("user", re.sub(r"\{(\w+)\}", lambda match: values[match[1]], text)),)


def _oracle(c: Context, prompt: Prompt, role: str) -> Oracle:
    """The oracle of a role: what the options name, else the program of this world."""
    if role in c.options:
        # By name: a model is keyed by all code that is imported here, and engines and stores do not make these traces.
        room = import_module("rrmlib.world.oracle_engine")
        spec = room.oracle_spec(c.options[role], f"model {c.model.name!r}: data: {role}")
        return lambda tasks, failed: room.asked(
            spec,
            [prompt.messages(*t) if text is None else rewriting(prompt, *t, text) for t, text in zip(tasks, failed)],
            c.seed,
        )
    style = prompt.name.removesuffix("_compact")
    if role == "first":
        return lambda tasks, _: [Completion(first_oracle(*task, style, c.seed), "stop") for task in tasks]
    return lambda tasks, failed: [
        Completion(second_oracle(*task, style, c.seed, text or ""), "stop") for task, text in zip(tasks, failed)
    ]
