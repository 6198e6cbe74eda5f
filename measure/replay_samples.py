"""The sources with samples, ratings and games, in the form of shared/data/reference.json; `replay.py` compares them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import log, log10
from pathlib import Path
from typing import Any

import numpy as np

from rrmlib.benchmarks import amel_llmbar, arena_bench, arena_hard, prometheus_eval, tree_of_thought
from rrmlib.benchmarks.credit import DIFFERS
from rrmlib.benchmarks.ppe import best_of_k_curve
from rrmlib.benchmarks.source import Matches, Source
from rrmlib.judgment import Judgment, State
from rrmlib.rating import bradley_terry

RATINGS = "bradley_terry_elo_scale_mean0_ties_half"


def amel_part(data: Path) -> dict[str, Any]:
    folder = data / "amel_llmbar"
    items = amel_llmbar.load(folder).items
    labels = {item.id: item.label for item in items}
    answers = amel_llmbar.answers(folder, items)
    part = {}
    for judge in sorted({a.judgment.judge for a in answers}):
        mine = [a for a in answers if a.judgment.judge == judge]
        real = [a.judgment for a in mine if a.judgment.state is State.READ]
        errors = [a for a in mine if a.judgment.state is State.ERROR]
        # The rest of the reference takes the file's labels at their word, error texts included.
        theirs = [a.as_recorded() for a in mine]
        said = [j for j in theirs if j.state is State.READ]
        repetitions = {item: [j for j in theirs if j.item == item] for item in labels}
        correct = sum(choice(j) == labels[j.item] for j in said)
        part[judge.replace("/", "|")] = {
            "api_error_rows": len(errors),
            "api_error_rows_that_still_carry_a_label": sum(a.recorded is not None for a in errors),
            "n_real_answers_with_label": len(real),
            "accuracy_of_real_answers_pct": 100 * sum(choice(j) == labels[j.item] for j in real) / len(real),
            "n": len(mine),
            "n_parseable": len(said),
            "n_correct": correct,
            "accuracy_of_parseable_pct": 100 * correct / len(said),
            "majority_of_first_k_repetitions": {k: majority(repetitions, labels, k) for k in ("1", "3", "5")},
            "picked_first_position_pct_of_parseable": 100
            * sum(j.reading.verdict.choice == "first" for j in said)
            / len(said),
            "items_with_all_parseable_repetitions_agreeing": sum(
                len({choice(j) for j in group if j.state is State.READ}) == 1 for group in repetitions.values()
            ),
        }
    return {"expected": part}


def choice(judgment: Judgment) -> str | None:
    """What was preferred, in item order; None where nothing was read."""
    verdict = judgment.in_item_order().verdict
    return None if verdict is None else verdict.choice


def majority(repetitions: dict[str, list[Judgment]], labels: dict[str, Any], k: str) -> dict[str, Any]:
    counts = Counter()
    for item, group in repetitions.items():
        votes = Counter(choice(j) for j in group if j.sample < int(k))
        margin = votes[labels[item]] - sum(votes[other] for other in ("first", "second") if other != labels[item])
        counts["right" if margin > 0 else "wrong" if margin < 0 else "tied_or_empty"] += 1
    n = len(repetitions)
    half = 100 * (counts["right"] + 0.5 * counts["tied_or_empty"]) / n
    return {name: counts[name] for name in ("right", "tied_or_empty", "wrong")} | {"accuracy_ties_half_pct": half}


def prometheus_part(data: Path) -> dict[str, Any]:
    source = prometheus_eval.read(data / "prometheus_eval")
    scores = source.scores.astype(int)  # prompts x samples x models
    answers = scores.transpose(0, 2, 1).reshape(-1, scores.shape[1])
    kinds = np.array([len(set(row)) for row in answers.tolist()])
    best = [unique_best(row) for row in scores.sum(axis=1)]
    return {
        "mt_bench_eval.json": {
            "expected": {
                "n_rows": len(answers),
                "n_prompts": len(source.items),
                "mean_score_per_source": {
                    name: int(scores[..., i].sum()) / scores[..., i].size for i, name in enumerate(source.names)
                },
                "rows_with_disagreeing_samples": int((kinds > 1).sum()),
                "rows_with_majority_of_three": int((kinds < 3).sum()),
                "median_of_three_sum": int(np.median(answers, axis=1).sum()),
                "prompts_with_unique_best_by_first_sample": sum(unique_best(row) is not None for row in scores[:, 0]),
                "prompts_with_unique_best_by_sum_of_three": sum(k is not None for k in best),
                "best_by_sum_of_three_counts": Counter(source.names[k] for k in best if k is not None),
            }
        }
    }


def unique_best(row: np.ndarray) -> int | None:
    top = np.flatnonzero(row == row.max())
    return int(top[0]) if len(top) == 1 else None


def tree_part(data: Path) -> dict[str, Any]:
    part = {}
    for file in sorted((data / "tree_of_thought").glob("*.json")):
        source = tree_of_thought.read(file)
        part[source.items[0].subset] = {"expected": text_cell(source) if source.judgments else game24_cell(source)}
    return part


def game24_cell(source: Source) -> dict[str, Any]:
    truth = [item.truth for item in source.items]
    samples, n = len(truth[0]), len(truth)
    # Picking by the truth itself makes the curve of best-of-k the chance that any of k samples is right.
    curves = [best_of_k_curve(row, row) for row in truth]
    return {
        "n_problems": n,
        "samples_per_problem": samples,
        "sample_accuracy_pct": 100 * sum(map(sum, truth)) / (n * samples),
        "solved_by_any_pct": 100 * sum(map(max, truth)) / n,
        "first_sample_pct": 100 * sum(row[0] for row in truth) / n,
        "pass_at_k_unbiased_pct": {
            str(k): 100 * sum(curve[k - 1] for curve in curves) / n for k in (1, 2, 4, 8, 16, 32, 64, 100)
        },
        "independent_verifier_differs_from_recorded_label": len(source.notes),
    }


def text_cell(source: Source) -> dict[str, Any]:
    scores = source.scores  # tasks x samples x passages
    means = np.nanmean(scores, axis=1)
    picked = {
        str(k): mean_of([row[best] for row, best in zip(means, np.nanmean(scores[:, :k], axis=1).argmax(axis=1))])
        for k in range(1, scores.shape[1] + 1)
    }
    return {
        "n_problems": len(source.items),
        "answers_per_problem": scores.shape[2],
        "mean_score": mean_of(means.ravel()),
        "best_of_10_mean_score_oracle_all_samples": mean_of(means.max(axis=1)),
        "answers_with_fewer_than_5_scores": int(np.isnan(scores).any(axis=1).sum()),
        "mean_full_score_of_answer_picked_with_first_k_judge_samples": picked,
        "recorded_r_differs_from_mean_rs": len(source.notes),
    }


def mean_of(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))


def arena_part(data: Path) -> dict[str, Any]:
    source = arena_bench.read(data / "arena_bench_v1")
    files = {}
    for file in sorted((data / "arena_bench_v1" / "model_judgment").glob("*.jsonl")):
        alone = arena_bench.read(file)
        differ = sum(DIFFERS in note.message for note in alone.notes)
        files[alone.names[0]] = {"file": file.name, "replay_differs_from_recorded_score": differ}
    models = {}
    for i, name in enumerate(source.names):
        scores = source.scores[:, 0, i]
        valid = scores[~np.isnan(scores)]
        models[name] = files[name] | {
            "n": len(scores),
            "n_valid": len(valid),
            "n_unparsable": len(scores) - len(valid),
            "mean_score": mean_of(valid),
        }
    games = arena_bench.games(source)
    pairs = {f"{a} vs {b}": games.tally(a, b) for a, b in combinations(source.names, 2)}
    part: dict[str, Any] = {
        "models": models,
        "score_derived_pairwise": {k: dict(zip(("win", "tie", "loss"), v)) for k, v in pairs.items()},
    }
    return {"expected": part | {RATINGS: elo_scale(games)}}


def elo_scale(games: Matches) -> dict[str, float]:
    """Bradley-Terry strengths of the names, mean 0, 400 points to a factor of ten."""
    fit = bradley_terry(len(games.names), games.first, games.second, games.score, games.votes, position=games.placed)
    return dict(zip(games.names, (400 * fit.strengths / log(10)).tolist()))


def battles_part(data: Path) -> dict[str, Any]:
    games = arena_hard.read(data / "arena_bench_v1" / "arena_hard_battles.jsonl")
    baseline = "claude-3-haiku-20240307"
    part = {}
    for name in sorted(set(games.names) - {baseline}):
        won, tied, lost = games.tally(baseline, name)
        half = tied / 2
        part[f"{baseline} vs {name}"] = {
            "model_a": won,
            "tie": tied,
            "model_b": lost,
            "elo_gap_b_minus_a_ties_half": 400 * log10((lost + half) / (won + half)),
        }
    return {"expected": part}
