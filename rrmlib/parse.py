r"""From a judge's text to a `Reading`: pure, versioned functions of (text, finish), with no I/O and no model.

A stored generation is read again whenever a parser changes, at no cost; so a parser is addressed by name and version
("rrm.v1"), "rrm" is the newest one, and a published version is never edited: a change is a new version.

Which state wins: error (the transport failed, or the text *is* an API error message) > read > truncated (token cap, or
thinking never closed) > unparsed; "too_long" needs no text. Only what follows the last `</think>` is read: a missing
opening tag is normal (the chat template writes it), labels quoted in the thinking never count, and thinking that never
closes holds no verdict. Two different labels are no verdict. Nothing is guessed, corrected or defaulted here.

Where a source's own rule differs from ours in what it accepts, it is kept under `<name>_official`. Each is applied
after the thinking was cut off and the API errors were taken out.

Left out: what an unread judgment is worth (`benchmarks/`), prompts (`prompt.py`), rules of recorded sources that have
no prompt format here (each in its benchmark's file).

    >>> parse("rrm", "B slips up in step 2.\n</think>\n\\boxed{Assistant 1}", "stop", opens_think=True).value
    Verdict(choice='first', strength=None)
    >>> parse("rm_r1", "<eval>A seems", "length").state.value
    'truncated'
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from rrmlib.judgment import Reading, Scores, State, Value, Verdict

OPEN, CLOSE = "<think>", "</think>"

# (text after the thinking, number of responses shown, whether the token cap cut it) -> a value, or a note why not
Reader = Callable[[str, int, bool], Value | str]


@dataclass(frozen=True)
class Parser:
    """One version of one rule. `needs_close`: without a `</think>` there is no verdict, whatever the prompt says."""

    name: str
    version: int
    read: Reader
    needs_close: bool = False

    @property
    def id(self) -> str:
        return f"{self.name}.v{self.version}"


def parse(parser: str, text: object, finish: str, *, opens_think: bool = False, n: int = 2) -> Reading:
    """What `text` says, read by `parser` ("rrm", or "rrm.v1" for a version), in the order shown.

    `finish` is "stop", "length", "budget" (the thinking was closed for the judge, see `budget.py`), "error", "too_long"
    or anything a source recorded ("" where it says nothing).
    `opens_think`: the prompt already opened the thinking, so text without `</think>` is all thinking. `n` is the
    number of responses shown (list formats need one score per response). Never raises on any text, not even on
    something that is not text (JSON booleans, null). Raises ValueError for an unknown parser.
    """
    if parser not in PARSERS:
        raise ValueError(f"unknown parser {parser!r}; known: {', '.join(name for name in PARSERS if '.' not in name)}")
    rule = PARSERS[parser]
    if finish == "error":
        return Reading(State.ERROR, note="the generation failed")
    if finish == "too_long":
        return Reading(State.TOO_LONG, note="the prompt does not fit the model")
    if not isinstance(text, str):
        return Reading(State.UNPARSED, note=f"{type(text).__name__} instead of text")
    if problem := api_error(text):
        return Reading(State.ERROR, note=problem)
    cut = finish in ("length", "budget")
    answer, thinking = after_thinking(text, opens_think or rule.needs_close)
    value = rule.read(answer, n, cut)
    if not isinstance(value, str):
        return Reading.of(value)
    if thinking:
        return Reading(State.TRUNCATED, note="the thinking never closed (no </think>)")
    if cut:
        return Reading(State.TRUNCATED, note=f"cut off at the token cap: {value}")
    return Reading(State.UNPARSED, note=value if answer.strip() else "empty")


def after_thinking(text: str, opens_think: bool) -> tuple[str, bool]:
    """The part of `text` that may hold a verdict, and whether thinking is still open at its end.

    That is what follows the last `</think>`, up to a `<think>` that opens (again). Without any `</think>` it is the
    whole text up to there, or nothing where the prompt opened the thinking.
    """
    close = text.rfind(CLOSE)
    if close < 0 and opens_think:
        return "", True
    answer = text[close + len(CLOSE) :] if close >= 0 else text
    again = answer.find(OPEN)
    return (answer, False) if again < 0 else (answer[:again], True)


# --- API errors that were stored as if they were judgments ------------------------------------------------------------
#
# 258 rows of one source are the text of an HTTP 429 that its authors' parser read as the label "2". The text as a whole
# must have the shape of an error message: a known beginning, then a JSON body or a short rest that does not judge.

_PHRASES = "|".join(
    re.escape(phrase)
    for phrase in [status.phrase for status in HTTPStatus if status >= 400]
    + ["Client Error", "Server Error", "Gateway Time-out", "Overloaded", "Content Too Large", "Unprocessable Content"]
)
_EXCEPTIONS = "RateLimit|APIConnection|APITimeout|APIStatus|API|InternalServer|ServiceUnavailable|Authentication|"
_EXCEPTIONS += (
    "PermissionDenied|BadRequest|UnprocessableEntity|Overloaded|HTTPStatus|HTTP|Connect|Connection|Read|Timeout"
)
_ERROR_HEAD = re.compile(
    rf"""\$ERROR\$\s*\Z
    | (?:Internal\ Server\ Error|Bad\ Gateway|Service\ Unavailable|Gateway\ Time-?out|Too\ Many\ Requests)\.?\s*\Z
    | (?:error:\s{{0,3}}|(?:[a-z_]{{1,40}}\.){{0,4}}(?:{_EXCEPTIONS})(?:Error|Exception|Timeout):\s{{0,3}})?
      (?: (?:client|server|redirect)\ error\ '[345]\d\d[^'\n]{{0,80}}'\ for\ url
        | (?:HTTP(?:/\d(?:\.\d)?)?\ ?(?:status\ |error\ |error:\ )?(?:code:?\ )?)?
          [45]\d\d\ ?[:,\-]?\ ?(?:{_PHRASES})(?![\w-])
        | (?:API\ )?error\ code:\ [45]\d\d\s{{0,3}}(?:-|\Z)
        | rate\ limit\ (?:reached|exceeded)
        | (?:connection\ error|request\ timed\ out)\.\s*\Z )
    | (?:[a-z_]{{1,40}}\.){{0,4}}(?:{_EXCEPTIONS})(?:Error|Exception|Timeout)(?=[:(]|\s*\Z)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_HTML_HEAD = re.compile(
    r"<(?:title|h1)>[^<]{0,200}(?:\b[45]\d\d\b|error|bad gateway|unavailable|too many|forbidden|denied|time-?d?.?out)",
    re.IGNORECASE,
)
_VERDICT_TOKEN = re.compile(r"\[\[|\\boxed|<answer|</think")
_URL = re.compile(r"https?://\S+")
_JUDGES = re.compile(r"\b(?:response|assistant|chatbot|answer|output|verdict|better|best|winner)s?\b", re.IGNORECASE)
_ERROR_KEYS = {"error", "type", "object", "message", "code", "param", "status", "detail", "request_id", "success"}


def api_error(text: str) -> str:
    """A note where the whole text is an error message of an API, a proxy or a client library, else ""."""
    text = text.strip()
    if not text or len(text) > 50_000:
        return ""
    head = _ERROR_HEAD.match(text)
    if head:
        rest = text[head.end() :].strip()
        body = rest.lstrip(" :-")
        prose = _URL.sub("", rest[:500])
        judges = len(rest) > 400 or _VERDICT_TOKEN.search(rest) or _JUDGES.search(prose)
        if not judges or (body.startswith("{") and body.endswith("}")):
            return f"an API error, not a judgment: {text[:60]!r}"
    if text[0] == "{" and text[-1] == "}" and _json_error(text):
        return f"an API error, not a judgment: {text[:60]!r}"
    if text[:14].lower().startswith(("<!doctype html", "<html")) and not _VERDICT_TOKEN.search(text):
        title = _HTML_HEAD.search(text, 0, 4000)
        if title:
            return f"an HTML error page, not a judgment: {title[0]!r}"
    return ""


def _json_error(text: str) -> bool:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(body, dict) or not body.keys() <= _ERROR_KEYS:
        return False
    return bool(body.get("error")) or "error" in (body.get("object"), body.get("type")) or body.keys() == {"detail"}


# --- Boxes: RRM and DeepSeek-GRM --------------------------------------------------------------------------------------

_BOX = "\\boxed{"
_BRACE = re.compile(r"[{}]")
_WRAPPED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{(.*)\}", re.DOTALL)
_SPACE = re.compile(r"\s+")


def last_box(answer: str) -> str | None:
    r"""The content of the last `\boxed{...}`; None where there is none, or it does not close within 4096 characters."""
    start = answer.rfind(_BOX)
    if start < 0:
        return None
    inside, depth = answer[start + len(_BOX) : start + len(_BOX) + 4096], 1
    for brace in _BRACE.finditer(inside):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return inside[: brace.start()]
    return None


def _no_box(answer: str) -> str:
    return "the last \\boxed{ is not closed" if _BOX in answer else "no \\boxed{}"


def _rrm(answer: str, n: int, cut: bool) -> Value | str:
    # Official: the content must be exactly "Assistant 1" or "Assistant 2". We also take other (or no) white space, as
    # RRM's own merge script writes it, and one \text{...} around it, as models used to LaTeX do.
    box = last_box(answer)
    if box is None:
        return _no_box(answer)
    wrapped = _WRAPPED.fullmatch(box.strip())
    label = _SPACE.sub("", wrapped[1] if wrapped else box)
    return _ASSISTANT.get(label) or f"\\boxed{{}} holds {box[:60]!r}"


def _rrm_official(answer: str, n: int, cut: bool) -> Value | str:
    box = last_box(answer)
    if box is None:
        return _no_box(answer)
    return {"Assistant 1": _FIRST, "Assistant 2": _SECOND}.get(box) or f"\\boxed{{}} holds {box[:60]!r}"


def _grm(answer: str, n: int, cut: bool) -> Value | str:
    # One integer 1..10 per response, in the order shown (2504.02495, appendix): "8, 5". Anything else is no reading.
    box = last_box(answer)
    if box is None:
        return _no_box(answer)
    parts = [part.strip() for part in box.split(",")]
    if len(parts) != n:
        return f"{len(parts)} scores for {n} responses: {box[:60]!r}"
    if not all(part in _ONE_TO_TEN for part in parts):
        return f"scores must be integers from 1 to 10: {box[:60]!r}"
    return Scores(tuple(float(part) for part in parts))


def _grm_single(answer: str, n: int, cut: bool) -> Value | str:
    box = last_box(answer)
    if box is None:
        return _no_box(answer)
    return Scores((float(box.strip()),)) if box.strip() in ("0", "1") else f"\\boxed{{}} holds {box[:60]!r}, not 0 or 1"


_FIRST, _SECOND, _TIE = Verdict("first"), Verdict("second"), Verdict("tie")
_ASSISTANT = {"Assistant1": _FIRST, "Assistant2": _SECOND}
_ONE_TO_TEN = tuple(str(grade) for grade in range(1, 11))


# --- Labels in double brackets: direct, RM-R1, RewardBench, arena grades ----------------------------------------------


def _one_label(found: list[str], values: Mapping[str, Value], what: str) -> Value | str:
    """The value of the one label that occurs, once or repeated; a note for none, several or an unknown one."""
    distinct = list(dict.fromkeys(found))
    if len(distinct) > 1:
        return f"conflicting labels {', '.join(distinct[:5])[:60]}"
    if not distinct:
        return f"no {what}"
    return values.get(distinct[0]) or f"label {distinct[0][:60]!r} is none of {', '.join(values)}"


_AB: Mapping[str, Value] = {"A": _FIRST, "B": _SECOND}
_ABC: Mapping[str, Value] = {**_AB, "C": _TIE}
_GRADES: Mapping[str, Value] = {
    "A>>B": Verdict("first", 2.0),
    "A>B": Verdict("first", 1.0),
    "A=B": Verdict("tie", 0.0),
    "B>A": Verdict("second", 1.0),
    "B>>A": Verdict("second", 2.0),
}
_LETTER = re.compile(r"\[\[([A-Z])\]\]")
_GRADE = re.compile(r"\[\[([AB<>=]+)\]\]")
_ANSWER = re.compile(r"<answer>\s{0,9}\[\[([A-Z])\]\]\s{0,9}(?:</answer>|\Z)")


def _direct(answer: str, n: int, cut: bool) -> Value | str:
    return _one_label(_LETTER.findall(answer), _AB, "[[A]] or [[B]]")


def _rm_r1(answer: str, n: int, cut: bool) -> Value | str:
    # What stands in or before an evaluation is reasoning and may quote a response that itself contains an answer tag:
    # read what follows the last </eval>, and nothing behind a tag that is open. The closing tag of the answer may be
    # missing at the end, or doubled.
    answer = answer[answer.rfind("</eval>") + 1 :].rstrip()
    for tag in ("eval", "rubric", "solution"):
        opened = answer.rfind(f"<{tag}>")
        if opened > answer.rfind(f"</{tag}>"):
            answer = answer[:opened]
    return _one_label(_ANSWER.findall(answer), _AB, "<answer>[[A]] or <answer>[[B]] after the evaluation")


def _rm_r1_official(answer: str, n: int, cut: bool) -> Value | str:
    # RM-R1's reward: the last 80 characters hold one complete tag and not the other (2505.02387 sec. 4 and code).
    a, b = ("<answer>[[A]]</answer>" in answer[-80:], "<answer>[[B]]</answer>" in answer[-80:])
    if a and b:
        return "conflicting labels A, B"
    return _FIRST if a else _SECOND if b else "no answer tag in the last 80 characters"


def _rewardbench(answer: str, n: int, cut: bool) -> Value | str:
    return _one_label(_LETTER.findall(answer), _ABC, "[[A]], [[B]] or [[C]]")


def _rewardbench_official(answer: str, n: int, cut: bool) -> Value | str:
    # "[[A]]" anywhere wins, also where "[[B]]" stands beside it; [[C]] is an error there, worth what a tie is worth.
    return _FIRST if "[[A]]" in answer else _SECOND if "[[B]]" in answer else "neither [[A]] nor [[B]]"


def _judgebench_arena(answer: str, n: int, cut: bool) -> Value | str:
    # All labels must be the same text, before strength is looked at: A>>B beside A>B is no verdict, as in the source.
    return _one_label(_GRADE.findall(answer), _GRADES, "label such as [[A>B]]")


def _ranking(answer: str, n: int, cut: bool) -> Value | str:
    choices = {chr(ord("A") + i): Scores(choice=i) for i in range(min(n, 26))}
    return _one_label(_LETTER.findall(answer), choices, f"label from [[A]] to [[{chr(ord('A') + min(n, 26) - 1)}]]")


def _ranking_official(answer: str, n: int, cut: bool) -> Value | str:
    # The first letter of the alphabet that occurs wins, wherever it stands (RewardBench 2, run_generative_v2.py).
    found = (Scores(choice=i) for i in range(min(n, 26)) if f"[[{chr(ord('A') + i)}]]" in answer)
    return next(found, "no label of a response")


# --- Numbers: RewardBench 2 ratings, and scores without any text ------------------------------------------------------

_BRACKETED = re.compile(r"\[\[\s{0,4}(-?[0-9.]{1,6})\s{0,4}\]\]")
_WORDS = r"(?:(?:my|the|a|final|overall|so|thus|therefore|i|would|give|assign|it|this|response|answer)[\s,:]{1,3}){0,8}"
_LAST_LINE = re.compile(  # "My overall rating is: 7", "score 7/10", "7"; a sentence such as "lower than 7" is no rating
    rf"(?:{_WORDS}(?:rating|score|grade)[\s:=*_]{{0,6}}(?:is|of)?[\s:=*_]{{0,6}})?"
    r"([0-9]{1,3}(?:\.[0-9]+)?)(?:\s?(?:/|out of)\s?10)?",
    re.I,
)
_TRAILING = re.compile(r"\b([1-9]|10)\b\s*$")


def _ratings(answer: str, n: int, cut: bool) -> Value | str:
    # A number alone in the last line (or after "rating"/"score" there), or in double brackets. Cut by the token cap, a
    # bare number may be the start of another one ("1" of "10"), so then only brackets count.
    found = _BRACKETED.findall(answer)
    last = answer.rstrip()[-200:].rsplit("\n", 1)[-1].strip(" \t\r*_#.`\"'")
    match = None if cut else _LAST_LINE.fullmatch(last)
    if match:
        found.append(match[1])
    return _one_label(found, {grade: Scores((float(grade),)) for grade in _ONE_TO_TEN}, "rating in the last line")


def _ratings_official(answer: str, n: int, cut: bool) -> Value | str:
    # Any integer 1..10 at the very end: "8/10" is read as 10 and "9.5" as 5 (RewardBench 2, generative_v2.py).
    match = _TRAILING.search(answer.strip()[-20:])
    return Scores((float(match[1]),)) if match else "no integer from 1 to 10 at the end"


def _scores(answer: str, n: int, cut: bool) -> Value | str:
    try:
        values = json.loads(answer)
    except (ValueError, RecursionError):
        return "not a JSON list of numbers"
    if not isinstance(values, list) or len(values) != n:
        return f"not a JSON list of {n} numbers"
    try:
        if all(type(v) in (int, float) and math.isfinite(v) for v in values):
            return Scores(tuple(float(v) for v in values), scalar=True)
    except OverflowError:  # an integer beyond the range of floats
        pass
    return "scores must be finite numbers"


_ALL = (
    Parser("rrm", 1, _rrm),
    Parser("rrm_official", 1, _rrm_official, needs_close=True),
    Parser("rm_r1", 1, _rm_r1),
    Parser("rm_r1_official", 1, _rm_r1_official),
    Parser("grm", 1, _grm),
    Parser("grm_single", 1, _grm_single),
    Parser("direct", 1, _direct),
    Parser("rewardbench", 1, _rewardbench),
    Parser("rewardbench_official", 1, _rewardbench_official),
    Parser("rewardbench2_ranking", 1, _ranking),
    Parser("rewardbench2_ranking_official", 1, _ranking_official),
    Parser("rewardbench2_ratings", 1, _ratings),
    Parser("rewardbench2_ratings_official", 1, _ratings_official),
    Parser("judgebench_arena", 1, _judgebench_arena),
    Parser("scores", 1, _scores),
)
# "rrm.v1" -> that version, "rrm" -> the newest version.
PARSERS: dict[str, Parser] = {p.id: p for p in _ALL} | {p.name: p for p in sorted(_ALL, key=lambda p: p.version)}
