"""Prometheus-Eval's copy of MT-Bench: 80 prompts, four models' answers to each, each scored three times by GPT-4.

`mt_bench_eval.json` of github.com/prometheus-eval/prometheus-eval: rows `{idx, response_source, category, instruction,
gpt4_score: [1..5 x 3], gpt4_feedback: [text x 3]}`, in no order. `idx` is the prompt, `instruction` the whole prompt of
an absolute grading: a dialogue of two user turns with the model's own first answer between them, the second answer
(which is graded), a reference answer and a rubric.

A prompt is one candidate set of four, in the order of the models' names. Its query is the first user turn; a response
is the rest of the dialogue, since the first answer differs from model to model: first answer, second user turn, graded
answer. Reference and rubric are not kept. There is no truth.

Every answer was graded alone: sample k of a set holds the k-th score of each answer (see `source.py`). The value is
`gpt4_score`, not parsed from the feedback, of which 959 of 960 lack the `[RESULT] n` that was asked for; the feedback
is the text.

Left out: hhh_alignment_eval.json, pairs without any recorded judge.

    scores = read(data_dir() / "prometheus_eval").scores  # (80, 3, 4)
    scores.sum(axis=1).argmax(axis=1)  # whose sum of three is best (the first of equal ones)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrmlib.benchmarks.rows import DataError, RowError, load_rows, need, prompt_cluster, source_files
from rrmlib.benchmarks.source import Source, rated
from rrmlib.comparison import CandidateSet, Item, ask
from rrmlib.judgment import Reading, Scores

FILES = "mt_bench_eval.json of github.com/prometheus-eval/prometheus-eval (eval/benchmark/data)"
SAMPLES = 3
GRADES = range(1, 6)
JUDGE = "gpt-4"
_PROMPT = re.compile(
    r"\A###Task Description:\n.*?\n\n###The instruction to evaluate:\n"
    r"Here is a previous dialogue between [^\n]*\nUser: (?P<first>.*?)\n\nAssistant:(?P<before>.*)\n\n"
    r"User: (?P<second>.*?)\n\nAssistant: ?\n\n###Response to evaluate:\n(?P<graded>.*)\n\n"
    r"###Reference Answer \(Score 5\):\n.*?\n\n###Score Rubrics:\n.*?\n\n###Feedback: ?\Z",
    re.DOTALL,
)


@dataclass(frozen=True)
class _Answer:
    turns: tuple[str, str]  # of the user
    response: str
    category: str
    scores: tuple[int, ...]
    feedback: tuple[str, ...]


def read(path: str | Path) -> Source:
    """The sets, and GPT-4's three judgments of each, of mt_bench_eval.json or of the folder that holds it.

    `names` are the four models. Raises DataError for a malformed row, a repeated answer, and a prompt that lacks the
    answer of a model or whose rows ask unlike questions.
    """
    prompts: dict[int, dict[str, _Answer]] = {}
    where = {}

    def parse(row: Any, path: Path, line: int) -> list[Item]:
        index, model = need(row, "idx", int), need(row, "response_source", str)
        if model in prompts.setdefault(index, {}):
            raise RowError("response_source", f"{model!r} answers prompt {index} twice")
        prompts[index][model] = _answer(row)
        if len({a.turns for a in prompts[index].values()}) > 1:
            raise RowError("instruction", f"another question than in the rows of prompt {index} before")
        where[index] = f"{path} row {line}"
        return []

    load_rows(source_files(Path(path), ("mt_bench_eval.json",), layout=FILES), parse)
    names = tuple(sorted({model for answers in prompts.values() for model in answers}))
    items, judgments = [], []
    for index, answers in sorted(prompts.items()):
        if missing := sorted(set(names) - set(answers)):
            raise DataError(f"{where[index]}: prompt {index} has no answer by {missing[0]!r}")
        ordered = [answers[name] for name in names]
        query = ask(ordered[0].turns[0])
        item = CandidateSet(
            id=f"prometheus_eval/{index}",
            query=query,
            responses=tuple(a.response for a in ordered),
            source="prometheus_eval",
            subset=ordered[0].category,
            cluster=prompt_cluster(query),
        )
        items.append(item)
        for sample in range(SAMPLES):
            readings = [Reading.of(Scores((float(a.scores[sample]),))) for a in ordered]
            judgments.append(rated(item.id, JUDGE, [a.feedback[sample] for a in ordered], readings, sample=sample))
    return Source(tuple(items), tuple(judgments), names)


def _answer(row: Any) -> _Answer:
    found = _PROMPT.match(need(row, "instruction", str))
    if found is None:
        raise RowError("instruction", "not a grading prompt with two user turns, an answer, a reference and a rubric")
    scores, feedback = need(row, "gpt4_score", list), need(row, "gpt4_feedback", list)
    if len(scores) != SAMPLES or not all(type(s) is int and s in GRADES for s in scores):
        raise RowError("gpt4_score", f"expected {SAMPLES} integers from 1 to 5, found {scores!r:.60}")
    if len(feedback) != SAMPLES or not all(isinstance(text, str) for text in feedback):
        raise RowError("gpt4_feedback", f"expected {SAMPLES} texts, found {feedback!r:.60}")
    before, second, graded = found["before"], found["second"], found["graded"]
    return _Answer(
        turns=(found["first"], second),
        response=f"{before.strip()}\n\nUser: {second}\n\nAssistant: {graded}",
        category=need(row, "category", str),
        scores=tuple(scores),
        feedback=tuple(feedback),
    )
