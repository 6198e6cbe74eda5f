"""What RRM (2505.14674) published of RRM-32B's judging: score files and PPE's conflict pairs.

A recorded source, not a benchmark: RewardBench subset accuracies (sections follow by `rewardbench`'s weights), PPE
accuracies on conflict pair 1 of 512 questions per set, and the five conflict pairs of each question. Folder
`RRM-evaluation/scripts` of microsoft/LMOps (later deleted there). "MMLU" in its file names is MMLU-Pro.

The verdicts of the MMLU-Pro knockout are judgments too: which candidates met in a match follows from the bracket, and
neither the candidates' texts nor the traces were published, so they stand without items. `knockout_judge` answers a
tournament from them:

    games = {f"mmlu_pro/{q}": Knockout(32, bracket=bracket(folder)) for q in range(QUESTIONS)}
    played = play(games, knockout_judge(knockout_verdicts(folder)))  # ends in `finals(folder)`

Left out: the Elo ratings behind `elo_picks`; their pairwise verdicts were not published.

    rewardbench.section_scores(rewardbench_subsets("rrm_official"))["Chat"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rrmlib.benchmarks import rm_r1
from rrmlib.benchmarks.credit import from_source
from rrmlib.benchmarks.rows import DataError, place, read_json
from rrmlib.comparison import Choice, Order
from rrmlib.judgment import Judgment, Reading, State, Verdict
from rrmlib.schedulers import Knockout
from rrmlib.tournament import Ask, Match, play

SETS = ("MMLU", "MATH", "GPQA")
QUESTIONS = 512  # per set (PPE)
Pair = tuple[int, int]
SAID: dict[str, Choice] = {"Assistant 1": "first", "Assistant 2": "second"}


def rewardbench_subsets(folder: str | Path, *, size: str = "32b") -> dict[str, float]:
    """The 23 subset accuracies of the official single-seed run."""
    return rm_r1.rewardbench_subsets(_result(folder, size, "RewardBench"))


def ppe_correct(folder: str | Path, *, size: str = "32b") -> dict[str, int]:
    """Questions of 512 whose first conflict pair was judged rightly, per set.

    The files hold accuracies; an error is worth 0.5 there, so a file whose accuracy is not a whole number of questions
    is a DataError here rather than a rounded count.
    """
    counts = {}
    for name in SETS:
        file = _result(folder, size, name)
        value = rm_r1.fractions(file, [name])[name] * QUESTIONS
        if value != int(value):
            raise DataError(f"{file}: field {name!r}: {value} of {QUESTIONS} is not a whole number of questions")
        counts[name] = int(value)
    return counts


def conflict_pairs(folder: str | Path, name: str) -> list[tuple[Pair, ...]]:
    """Per question, pairs of candidate indices (0..31), one correct and one not, in the file's shuffled order.

    Which one is correct is not in the file. Some questions repeat a pair. Raises DataError with the question's index.
    """
    if name not in SETS:
        raise ValueError(f"unknown set {name!r}; known: {', '.join(SETS)}")
    file = Path(folder) / f"{name}_relative_data" / "extracted_conflict_pairs.json"
    rows = read_json(file)
    if not isinstance(rows, list):
        raise DataError(f"{file}: expected a list of questions, found {type(rows).__name__}")
    questions = []
    for index, row in enumerate(rows):
        if not isinstance(row, list) or not all(_is_pair(pair) for pair in row):
            raise DataError(f"{place(file, index)}: expected pairs of different candidates 0..31, found {row!r:.60}")
        questions.append(tuple((pair[0], pair[1]) for pair in row))
    return questions


def knockout_verdicts(folder: str | Path, *, size: str = "32b") -> list[Judgment]:
    """Every verdict of the 32-candidate knockout, 512 questions x 31 matches, by question, round and match.

    The item "mmlu_pro/17/round2/match3" is match 3 of round 2 of question 17, both counted as in the files (rounds
    from 1, matches from 0), shown with its first rival first (AB). A text that names neither assistant is unparsed;
    the official replay lets the second rival win then. Raises DataError for a missing file or question.
    """
    judgments = []
    for level, matches in enumerate((16, 8, 4, 2, 1), 1):
        for match in range(matches):
            file = Path(folder) / "MMLU_relative_data" / f"{size}_voting_group_{match}_round_{level}.json"
            verdicts = read_json(file)
            if not isinstance(verdicts, dict) or set(verdicts) != {str(q) for q in range(QUESTIONS)}:
                raise DataError(f"{file}: expected one verdict for each of the questions 0..{QUESTIONS - 1}")
            for question, text in verdicts.items():
                item = f"mmlu_pro/{question}/round{level}/match{match}"
                choice = SAID.get(str(text))
                reading = Reading.of(Verdict(choice)) if choice else Reading(State.UNPARSED, note="names no assistant")
                judgments.append(from_source(item, Order.AB, f"RRM-{size}", str(text), reading))
    return sorted(judgments, key=lambda j: [int(part.strip("roundmatch")) for part in j.item.split("/")[1:]])


@dataclass(frozen=True)
class Final:
    """The official last match of a question: candidates (0..31), and the verdict as recorded."""

    first: int
    second: int
    winner: int
    verdict: str
    rows: int  # how often the file lists it, each time the same


def bracket(folder: str | Path) -> tuple[int, ...]:
    """The 32 candidates as they stand in the fixed bracket that all questions share: first matches in list order."""
    file = Path(folder) / "MMLU_relative_data" / "tournament.json"
    data = read_json(file)
    first = data.get("round_1") if isinstance(data, dict) else None
    if not isinstance(first, list) or not all(_is_pair(pair) for pair in first):
        raise DataError(f"{file}: field 'round_1': expected pairs of different candidates 0..31, found {first!r:.60}")
    flat = tuple(c for pair in first for c in pair)
    if sorted(flat) != list(range(32)):
        raise DataError(f"{file}: field 'round_1': expected each of the candidates 0..31 once")
    return flat


def finals(folder: str | Path, *, size: str = "32b") -> dict[int, Final]:
    """The official finals by question. Raises DataError for rows of one question that differ, or questions missing."""
    file = Path(folder) / "MMLU_relative_data" / f"{size}_tournament_fifth_round_voting_results.json"
    data = read_json(file)
    rows = data.get("0") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise DataError(f"{file}: field '0': expected a list of finals, found {type(rows).__name__}")
    found: dict[int, Final] = {}
    for index, row in enumerate(rows):
        try:
            question, verdict = row["question_id"], row["pred"]
            cast = (row["rival_1"], row["rival_2"], row["winner"])
        except (TypeError, KeyError) as e:
            raise DataError(f"{place(file, index)}: field {e}: missing") from None
        old = found.get(question)
        if old is not None and (old.first, old.second, old.winner, old.verdict) != (*cast, verdict):
            raise DataError(f"{place(file, index)}: question {question} is listed twice with different content")
        found[question] = Final(*cast, verdict, old.rows + 1 if old else 1)
    if set(found) != set(range(QUESTIONS)):
        raise DataError(f"{file}: expected a final for each of the questions 0..{QUESTIONS - 1}")
    return found


def knockout_judge(judgments: Sequence[Judgment]) -> Ask:
    """Answers the matches of `mmlu_pro/<question>` knockouts, round by round, from `knockout_verdicts`.

    By the official rule any verdict but "first" lets the second rival win. To be used for one `play`, from the start.
    """
    said = {j.item: j.reading for j in judgments}
    level = 0

    def ask(asked: Sequence[tuple[str, Pair]]) -> Iterator[Match]:
        nonlocal level
        level += 1
        matches: Counter[str] = Counter()
        for item, (first, second) in asked:
            verdict = said[f"{item}/round{level}/match{matches[item]}"].verdict
            matches[item] += 1
            yield Match(first, second, float(verdict is not None and verdict.choice == "first"))

    return ask


def play_knockout(
    folder: str | Path, judgments: Sequence[Judgment]
) -> tuple[dict[int, tuple[Match, ...]], dict[int, int]]:
    """The official bracket played by our scheduler on `knockout_verdicts`: the matches and the winner, by question."""
    seats = bracket(folder)
    games = {f"mmlu_pro/{question}": Knockout(len(seats), bracket=seats) for question in range(QUESTIONS)}
    played = play(games, knockout_judge(judgments))
    by = {int(item.rpartition("/")[2]): item for item in games}
    return {q: played[item] for q, item in by.items()}, {q: games[item].pick(played[item]) for q, item in by.items()}


def elo_picks(folder: str | Path, *, size: str = "32b") -> tuple[int, ...]:
    """Per MATH question (5,000) the candidate (0..7) that the official sequential Elo picked."""
    file = Path(folder) / "MATH_Qwen_32b_RRM_judgement" / f"{size}_elo_predictions.json"
    data = read_json(file)
    if not isinstance(data, dict) or set(data) != {str(q) for q in range(len(data))}:
        raise DataError(f"{file}: expected a candidate for each of the questions 0, 1, ...")
    picks = tuple(data[str(q)] for q in range(len(data)))
    for question, pick in enumerate(picks):
        if type(pick) is not int or not 0 <= pick < 8:
            raise DataError(f"{file}: field '{question}': expected a candidate 0..7, found {pick!r:.40}")
    return picks


def _is_pair(pair: object) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and pair[0] != pair[1]
        and all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 32 for i in pair)
    )


def _result(folder: str | Path, size: str, name: str) -> Path:
    return Path(folder) / "results" / "partial_result_example" / f"{size}_{name}_result.json"
