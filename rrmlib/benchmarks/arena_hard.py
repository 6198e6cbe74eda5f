"""Arena-Hard's battles (github.com/lmarena/arena-hard-auto, data/arena_hard_battles.jsonl): games for ratings.

Rows `{question_id, model_a, model_b, winner: "model_a" | "model_b" | "tie"}`; model_a is the baseline. The judge saw
each question twice, the baseline shown first in game 1 and second in game 2, and gave one of five verdicts. The file
keeps neither verdicts nor games: the source (show_result.py) wrote one row for `A>B`, `A=B` or `B>A` and three equal
rows for `A>>B` or `B>>A`, game 1 before game 2, and none where the verdict could not be read. Repeated rows are
weights, and all are counted.

We undo that: of each question and model_b, the rows in file order are cut into two games of one or three equal rows.
A match is a game, `first` the model shown first, `votes` 1 or 3. Four equal rows are a strong win and a plain one,
which first is not known: both games get 2 votes. So winners, positions and the total are the source's, and the votes
of such a game may be off by one; positions rest on the file's row order. What cannot be cut so (a game without a
verdict leaves one or three rows, whose position is unknown) is an error that names it. The games of one question,
against all models, are one cluster.

Left out: questions and answers, bootstrap, style control.

    games = read(data_dir() / "arena_bench_v1" / "arena_hard_battles.jsonl")
    games.tally("claude-3-haiku-20240307", "gpt-4o")  # (won, ties, lost) of the first, in votes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rrmlib.benchmarks.rows import DataError, RowError, load_rows, need, place
from rrmlib.benchmarks.source import Matches
from rrmlib.comparison import Item

STRONG = 3  # rows of a strong win
_SCORE = {"model_a": 1.0, "tie": 0.5, "model_b": 0.0}


def read(path: str | Path) -> Matches:
    """The games of a battle file, in the order of its questions. Raises DataError for a malformed row or a group of
    rows that is not two games."""
    path = Path(path)
    groups: dict[tuple[int, str, str], list[str]] = {}
    start: dict[tuple[int, str, str], int] = {}

    def parse(row: Any, file: Path, line: int) -> list[Item]:
        spot = (need(row, "question_id", int), need(row, "model_a", str), need(row, "model_b", str))
        if spot[1] == spot[2]:
            raise RowError("model_b", f"{spot[1]!r} plays against itself")
        groups.setdefault(spot, []).append(need(row, "winner", str, allowed=tuple(_SCORE)))
        start.setdefault(spot, line)
        return []

    load_rows([path], parse)
    names = tuple(sorted({name for spot in groups for name in spot[1:]}))
    rows = []
    for spot, winners in groups.items():
        question, *models = spot
        cut = two_games(winners)
        if cut is None:
            said = f"{len(winners)} rows ({', '.join(winners)}) of question {question} against {spot[2]!r}"
            raise DataError(f"{place(path, start[spot])}: {said} are not two games of 1 or {STRONG} rows")
        a, b = (names.index(name) for name in models)
        (won, votes), (won_again, votes_again) = cut
        rows.append((a, b, _SCORE[won], votes, question))
        rows.append((b, a, 1 - _SCORE[won_again], votes_again, question))
    return Matches.of(names, rows, placed=True)


def two_games(winners: list[str]) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """(winner, votes) of game 1 and of game 2 from their rows, or None where they cannot be two games."""
    cuts = [
        (cut, len(winners) - cut)
        for cut in (1, STRONG)
        if len(winners) - cut in (1, STRONG)
        and all(len(set(game)) == 1 and (len(game) == 1 or game[0] != "tie") for game in (winners[:cut], winners[cut:]))
    ]
    if not cuts:
        return None
    first, second = (sum(sizes) // len(cuts) for sizes in zip(*cuts))  # 2 and 2 where it is 1 and 3 or 3 and 1
    return (winners[0], first), (winners[-1], second)
