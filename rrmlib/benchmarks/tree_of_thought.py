"""Tree of Thoughts (2305.10601): GPT-4's samples on the game of 24, and its passages with five scores each.

Logs of github.com/princeton-nlp/tree-of-thought-llm, one JSON list per task and method (`cot` or `standard`).

**Game of 24**: rows `{idx, ys: [100 texts], infos: [{r: 0|1}] | accs: [bool]}`. A puzzle is a candidate set of its 100
samples (many repeat an earlier one). The truth is not taken from the file but found again (`solves`): the left side of
the sample's last line must use exactly the four numbers of row `idx` of `24.csv` and equal 24. `notes` name each sample
whose recorded label differs. No judge; the query is our wording, since the logs hold no prompt.

**Text**: rows `{idx, ys: [10 texts], infos: [{rs: [1..10, up to 5], r: mean of rs}]}`: ten passages of one task, each
scored alone up to five times by GPT-4. Sample k of a task holds the k-th score of each passage (see `source.py`), NaN
where there are fewer: which of the five calls failed is not recorded, so the LAST ones count as unread. Where the
scores of all samples are wanted use means (`nanmean`) and not sums, or a passage with four looks worse than it is.
`notes` name each passage whose `r` is not the mean. The task's text is not in the logs: its query is empty, so it
cannot be judged again. Of what the judge said only the scores were kept: the judgments' texts are empty too. There is
no truth: the mean of all scores is the judge's own opinion again.

The two methods' sets of one task share a cluster. Left out: the searches in trees, prompts, costs.

    puzzles = read("logs/game24/gpt-4_0.7_naive_cot_sample_100_start900_end1000.json").items
    scores = read("logs/text/gpt-4_1.0_naive_cot_sample_10_start0_end100.json").scores  # (tasks, 5, 10)
"""

from __future__ import annotations

import ast
import csv
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from operator import add, mul, sub, truediv
from pathlib import Path
from typing import Any

from rrmlib.benchmarks.credit import from_source
from rrmlib.benchmarks.rows import DataError, Problem, RowError, load_rows, need, read_bytes
from rrmlib.benchmarks.source import Source
from rrmlib.comparison import CandidateSet, Item, Order, ask
from rrmlib.judgment import Judgment, Reading, Scores, State

JUDGE = "gpt-4"
SAMPLES = 5
TABLES = ("24.csv", "src/tot/data/24/24.csv")
_OPERATOR: dict[type, Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
}


def read(path: str | Path, puzzles: str | Path | None = None) -> Source:
    """One log of either task; which one the rows tell. `puzzles` is the game's table, looked for in the folders above
    (24.csv, or where the repository has it) by default.

    Raises DataError for a malformed row, a repeated idx, rows of both tasks, or a puzzle that is not in the table.
    """
    path = Path(path)
    method = next((m for m in ("cot", "standard") if f"_{m}_" in path.name), path.stem)
    items: list[Item] = []
    judgments: list[Judgment] = []
    notes: list[Problem] = []
    numbers: list[str] = []

    def parse(row: Any, file: Path, line: int) -> list[Item]:
        infos = row.get("infos") if isinstance(row, dict) else None
        text = isinstance(infos, list) and any(isinstance(info, dict) and "rs" in info for info in infos)
        if not text and not numbers:
            numbers.extend(table(Path(puzzles) if puzzles else _find_table(path)))
        item, odd = _task(row, method) if text else _puzzle(row, method, numbers)
        notes.extend(Problem(str(file), line, field, message) for field, message in odd)
        if text:
            judgments.extend(_scores(row, item.id))
        return [item]

    items.extend(load_rows([path], parse).items)
    sets = tuple(item for item in items if isinstance(item, CandidateSet))
    if judgments and len({j.item for j in judgments}) < len(sets):
        raise DataError(f"{path}: rows of both tasks, with scores and without")
    return Source(sets, tuple(judgments), (), tuple(notes))


def _puzzle(row: Any, method: str, numbers: Sequence[str]) -> tuple[CandidateSet, list[tuple[str, str]]]:
    index, samples = need(row, "idx", int), _texts(row)
    field = "infos" if "infos" in row else "accs"
    labels = need(row, field, list)
    if len(labels) != len(samples):
        raise RowError(field, f"{len(labels)} labels for {len(samples)} samples")
    if not 0 <= index < len(numbers):
        raise RowError("idx", f"{index} is no row of the puzzle table, which has {len(numbers)}")
    recorded = [
        need(label, "r", int, allowed=(0, 1)) if field == "infos" else need({field: label}, field, bool)
        for label in labels
    ]
    truth = tuple(float(solves(sample, numbers[index])) for sample in samples)
    odd = [
        (field, f"sample {k}: recorded as {recorded[k]!r}, found {truth[k]:g}")
        for k in range(len(samples))
        if truth[k] != recorded[k]
    ]
    query = ask(f"Use each of the numbers {numbers[index]} once, with + - * / and brackets, to make 24.")
    return _set(f"game24_{method}", "game24", index, query, samples, truth), odd


def solves(sample: str, numbers: str) -> bool:
    """Whether the left side of the sample's last line uses exactly these numbers ("4 5 6 10") and equals 24.

    Numbers are compared exactly, as fractions; anything but + - * / brackets and whole numbers is no solution.
    """
    line = (sample.strip().splitlines() or [""])[-1]
    left = line.lower().replace("answer:", "").split("=")[0].strip()
    used: list[int] = []
    try:
        value = _value(ast.parse(left, mode="eval").body, used) if len(left) < 200 else None
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return False
    return value == 24 and sorted(used) == sorted(map(int, numbers.split()))


def _value(node: ast.AST, used: list[int]) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATOR:
        return _OPERATOR[type(node.op)](_value(node.left, used), _value(node.right, used))
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    raise ValueError("neither a whole number nor + - * /")


def table(path: str | Path) -> list[str]:
    """The four numbers of each puzzle, "4 5 6 10", by row."""
    rows = list(csv.DictReader(read_bytes(Path(path)).splitlines()))
    if not rows or not all(r.get("Puzzles") and all(n.isdecimal() for n in r["Puzzles"].split()) for r in rows):
        raise DataError(f"{path}: expected a table whose column 'Puzzles' holds numbers")
    return [row["Puzzles"] for row in rows]


def _find_table(path: Path) -> Path:
    found = [folder / name for folder in path.absolute().parents for name in TABLES if (folder / name).is_file()]
    if not found:
        raise DataError(f"{path}: needs the table of puzzles, {' or '.join(TABLES)} in a folder above")
    return found[0]


def _task(row: Any, method: str) -> tuple[CandidateSet, list[tuple[str, str]]]:
    index, passages = need(row, "idx", int), _texts(row)
    infos = need(row, "infos", list)
    if len(infos) != len(passages):
        raise RowError("infos", f"{len(infos)} entries for {len(passages)} passages")
    odd = []
    for k, info in enumerate(infos):
        values, mean = need(info, "rs", list), need(info, "r", (int, float))
        if not 1 <= len(values) <= SAMPLES or not all(type(v) is int and 1 <= v <= 10 for v in values):
            raise RowError("infos", f"passage {k}: expected 1 to {SAMPLES} integers from 1 to 10, found {values!r:.60}")
        if not math.isclose(mean, sum(values) / len(values), rel_tol=1e-12):
            odd.append(("infos", f"passage {k}: r is {mean!r}, the mean of rs {sum(values) / len(values)!r}"))
    return _set(f"text_{method}", "text", index, ask(""), passages, None), odd


def _scores(row: Any, item: str) -> list[Judgment]:
    """Sample k of a task. The passages were scored alone and only numbers are recorded: no text to keep."""
    order = Order(tuple(range(len(row["infos"]))))
    lost = Reading(State.UNPARSED, note="fewer scores than calls")
    made = []
    for k in range(SAMPLES):
        parts = [Reading.of(Scores((float(info["rs"][k]),))) if k < len(info["rs"]) else lost for info in row["infos"]]
        made.append(from_source(item, order, JUDGE, "", Reading.joined(parts), sample=k))
    return made


def _texts(row: Any) -> list[str]:
    texts = need(row, "ys", list)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RowError("ys", "expected a list of texts")
    return texts


def _set(
    subset: str, task: str, index: int, query: tuple[Any, ...], texts: Sequence[str], truth: tuple[float, ...] | None
) -> CandidateSet:
    return CandidateSet(
        id=f"{subset}/{index}",
        query=query,
        responses=tuple(texts),
        truth=truth,
        source="tree_of_thought",
        subset=subset,
        cluster=f"{task}/{index}",
    )
