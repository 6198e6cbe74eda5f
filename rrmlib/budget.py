r"""Thinking budgets: after B tokens the thinking is closed for the judge, and the verdict asked for.

What closes a judgment depends on what is written so far and on where the format puts its verdict: `closing` gives the
text to append, up to the place where the verdict's own first token goes. `judge.run` then lets the model go on from
there for a few tokens (`JudgeSpec.think_budget`, `answer_tokens`), and the judgment's finish is "budget": its verdict
was forced, and its share is reported (`forced` in `score.py`'s coverage and in the figures).

The format's own closing may not suit a model: the lab's judges, which RL has taught to end their thinking with a line
"best 1", go on with their sums when it is closed for them. A spec's `conclude` then takes its place ("\nbest").

Left out: when a judge should stop by itself (`stopping.py`), shorter answers by instruction.

    >>> closing("rrm", "<think>\nfrom 3 a+4=7", opens_think=False)
    '\n</think>\n\\boxed{Assistant'
    >>> closing("rm_r1", "<type>Chat</type><rubric>has animal", opens_think=False)
    '</rubric><answer>[['
    >>> closing("rrm", "so it is 1\n</think>\n\\boxed{", opens_think=True)  # begun already: it only goes on
    ''
"""

from __future__ import annotations

from rrmlib.parse import CLOSE, after_thinking

# parser -> what stands right before the verdict's first token, and the sign in it that a verdict has begun. No space at
# the end: to most tokenizers " 1" is one token, and a model that is given the space alone has never seen what follows.
LEADS = {
    "rrm": ("\\boxed{Assistant", "\\boxed{"),
    "rm_r1": ("<answer>[[", "<answer>"),
    "grm": ("Scores: \\boxed{", "\\boxed{"),
    "grm_single": ("\\boxed{", "\\boxed{"),
    "direct": ("[[", "[["),
    "rewardbench": ("[[", "[["),
    "rewardbench2_ranking": ("[[", "[["),
    "rewardbench2_ratings": ("[[", "[["),
    "judgebench_arena": ("[[", "[["),
}
_SECTIONS = ("type", "rubric", "solution", "eval")  # RM-R1's tags, in the order in which they may be open


def lead(parser: str) -> tuple[str, str]:
    """(what stands before a verdict of this parser, the sign that one has begun); "rrm.v1" and "rrm_official" are
    "rrm". Raises ValueError for a parser that reads no verdict from text."""
    name = parser.partition(".")[0].removesuffix("_official")
    if name not in LEADS:
        raise ValueError(f"parser {parser!r}: a thinking budget needs a verdict to ask for; known: {', '.join(LEADS)}")
    return LEADS[name]


def closing(parser: str, text: str, *, opens_think: bool) -> str:
    """What to append to `text`, the judge's turn so far, so that the next token is the verdict's.

    Open thinking is closed first, then RM-R1's open sections. Where the verdict has begun outside of both, nothing is
    added. `opens_think` as for `parse.parse`. Raises ValueError as `lead`.
    """
    wanted, sign = lead(parser)
    answer, thinking = after_thinking(text, opens_think)
    tags = "".join(f"</{tag}>" for tag in reversed(_SECTIONS) if answer.rfind(f"<{tag}>") > answer.rfind(f"</{tag}>"))
    if thinking:
        return f"{_line(text)}{CLOSE}\n{wanted}"
    if tags and sign == "<answer>":
        return tags + wanted
    if sign in answer[answer.rfind("</eval>") + 1 :]:
        return ""
    return wanted if sign == "<answer>" else _line(answer) + wanted


def _line(text: str) -> str:
    """What ends the last line of `text`."""
    return "\n" if text.strip() and not text.endswith("\n") else ""
