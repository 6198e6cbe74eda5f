"""arena-bench-v1 (Arena-Hard's beginnings): GPT-4 rates the answer of each model alone, 1 to 10, once.

`model_judgment/<model>.jsonl` of github.com/lmarena/arena-hard-auto at an early commit: rows `{question_id, model,
user_prompt, judgment, score}`. The user prompt holds question, reference answer and answer between `[The Start of ..]`
and `[The End of ..]` marks; only `judgment` is read for the rating. The model's name is the field `model`, not the file
name (gpt-4-turbo.jsonl holds gpt-4-1106-preview). A question is one candidate set, responses in the order of the
models' names; there is no truth.

Official rule: the rating is the integer in `[[n]]`; a text without exactly one distinct rating has none and is left out
of the model's mean. Ours besides: an integer outside 1 to 10 is unread. A rating that differs from the recorded `score`
is named in `notes`. Every answer was rated alone, so the one judgment of a set holds the ratings of all (see
`source.py`), and nobody was shown first: games between two models, from whose rating is higher, tell nothing about
positions.

Left out: question.jsonl (the questions again), the system prompt, models whose files are not there.

    source = read(data_dir() / "arena_bench_v1")
    np.nanmean(source.scores, axis=(0, 1))  # per model
    games(source).tally("claude-1", "gpt-4-0314")
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rrmlib.benchmarks.credit import DIFFERS
from rrmlib.benchmarks.rows import DataError, Problem, RowError, load_rows, need, prompt_cluster, source_files
from rrmlib.benchmarks.source import Matches, Source, pairwise, rated
from rrmlib.comparison import CandidateSet, Item, ask
from rrmlib.judgment import Reading, Scores, State
from rrmlib.parse import api_error

FILES = "model_judgment/*.jsonl of github.com/lmarena/arena-hard-auto (data/arena-bench-v1)"
JUDGE = "gpt-4"
_RATING = re.compile(r"\[\[([0-9]+)\]\]")
_GRADES = {str(grade) for grade in range(1, 11)}
_PROMPT = re.compile(
    r"\A\[Question\]\n(?P<question>.*?)\n\n\[The Start of Reference Answer\]\n.*\n\[The End of Reference Answer\]\n\n"
    r"\[The Start of Assistant's Answer\]\n(?P<answer>.*)\n\[The End of Assistant's Answer\]\s*\Z",
    re.DOTALL,
)


def read(path: str | Path) -> Source:
    """Questions, and the judgment of all models' answers to each, of a folder of judgment files.

    `names` are the models. Raises DataError for a malformed row, a model that is judged twice on a question or not at
    all, and a question whose rows ask unlike things.
    """
    questions: dict[str, dict[str, tuple[str, str, Reading]]] = {}  # answer, judgment, rating
    asked: dict[str, str] = {}
    notes: list[Problem] = []

    def parse(row: Any, file: Path, line: int) -> list[Item]:
        index, model = need(row, "question_id", str), need(row, "model", str)
        found = _PROMPT.match(need(row, "user_prompt", str))
        if found is None:
            raise RowError("user_prompt", "not a question, a reference answer and an answer between their marks")
        if asked.setdefault(index, found["question"]) != found["question"]:
            raise RowError("user_prompt", f"another question than in the rows of {index!r} before")
        if model in questions.setdefault(index, {}):
            raise RowError("model", f"{model!r} on question {index!r} is judged twice")
        text, score = need(row, "judgment", str), need(row, "score", (int, type(None)))
        reading = rating(text)
        questions[index][model] = (found["answer"], text, reading)
        if (reading.value.values[0] if isinstance(reading.value, Scores) else None) != score:
            notes.append(Problem(str(file), line, "score", f"{DIFFERS} {score!r}; {reading.note}".rstrip("; ")))
        return []

    folder = Path(path)
    layout = ("model_judgment/*.jsonl", "*.jsonl")
    load_rows(source_files(folder, layout, layout=FILES), parse)
    names = tuple(sorted({model for rows in questions.values() for model in rows}))
    items, judgments = [], []
    for index, rows in questions.items():
        if missing := sorted(set(names) - set(rows)):
            raise DataError(f"{folder}: question {index!r} has no judgment of {missing[0]!r}")
        answers, texts, readings = zip(*(rows[name] for name in names))
        query = ask(asked[index])
        item = CandidateSet(
            id=f"arena_bench/{index}",
            query=query,
            responses=answers,
            source="arena_bench",
            cluster=prompt_cluster(query),
        )
        items.append(item)
        judgments.append(rated(item.id, JUDGE, texts, readings))
    return Source(tuple(items), tuple(judgments), names, tuple(notes))


def rating(text: str) -> Reading:
    """The one distinct integer in double brackets, from 1 to 10."""
    if problem := api_error(text):
        return Reading(State.ERROR, note=problem)
    found = set(_RATING.findall(text))
    if len(found) == 1 and found <= _GRADES:
        return Reading.of(Scores((float(*found),)))
    return Reading(State.UNPARSED, note=f"ratings {sorted(found)!s:.60}" if found else "no rating")


def games(source: Source) -> Matches:
    """Every pair of models on every question, by the higher rating (equal: a tie; one unread: NaN). `first` is the
    model whose name comes first: nobody was shown first."""
    return pairwise(source.scores[:, 0], source.names, [item.cluster for item in source.items])
