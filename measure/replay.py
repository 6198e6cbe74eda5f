"""Replays the recorded judgments and compares every number with shared/data/reference.json.

    .venv/bin/python measure/replay.py [--quiet]

Prints ours beside expected for every leaf in scope, then the count of mismatches; exit code 1 if there is any. A leaf
in scope without a value of ours is a mismatch. Ours come from the data through rrmlib, never from reference.json.
Counts, texts and flags must be equal; decimals must print the same (`=`) or agree within a relative 1e-12 (`~`: the
same quotient computed in another order).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # also where a test loads this file

import replay_samples as samples

from rrmlib.benchmarks import judgebench, llmbar, pandalm, rewardbench, rm_bench, rm_r1, rmb, rrm_official
from rrmlib.benchmarks.credit import DIFFERS
from rrmlib.benchmarks.rows import DataError, data_dir, read_json
from rrmlib.comparison import Order
from rrmlib.judgment import Judgment, Scores, State

SAME_ROWS = "the same rows as expected"
PROSE = {"note", "where", "covers", "warning"}
SAMPLED = {  # parts of reference.json in replay_samples.py
    "amel_llmbar": samples.amel_part,
    "prometheus_eval": samples.prometheus_part,
    "tree_of_thought": samples.tree_part,
    "arena_bench_v1": samples.arena_part,
    "arena_hard_battles": samples.battles_part,
}
PARTS = ("judgebench", "llmbar", "pandalm", "rm_r1", "rrm_official", *SAMPLED)
MISSING = object()
RM_R1 = "RM-R1-DeepSeek-Distilled-Qwen-32B"


def count(fraction: float, n: int) -> int:
    """A share of n units back to the number of units; it must be whole."""
    whole = round(fraction * n)
    if abs(fraction * n - whole) > 1e-6:
        raise ValueError(f"{fraction} of {n} is not a whole number")
    return whole


def percent(fraction: float, n: int) -> float:
    """A share of n units as reference.json prints it: 100 * k / n (100 * (k / n) may end in another digit)."""
    return 100 * count(fraction, n) / n


def judgebench_part(data: Path) -> dict[str, Any]:
    part: dict[str, Any] = {}
    for file in sorted((data / "judgebench" / "outputs").glob("*.jsonl")):
        items = judgebench.load(file).items
        judgments = judgebench.recorded(file, items)
        categories = {c: [i for i in items if i.subset == c] for c in judgebench.CATEGORIES.values()}
        categories["overall"] = list(items)
        cells = {name: judgebench_cell(group, judgments) for name, group in categories.items()}
        part[file.name] = {
            "expected": {"n_pairs": len(items), "categories": cells, "replay": judgebench_replay(judgments)}
        }
    for name, model in (("pairs_gpt", "gpt-4o"), ("pairs_claude", "claude-3-5")):
        (file,) = (data / "judgebench" / "data").glob(f"*{model}*.jsonl")
        items = judgebench.load(file).items
        # Of two equally long responses the second counts as the longer one, as in the reference (one pair).
        longer = [(len(i.first) > len(i.second)) == (i.label == "first") for i in items]
        part[name] = {
            "expected": {
                "n": len(items),
                "label_counts": Counter({"first": "A>B", "second": "B>A"}[i.label] for i in items),
                "per_category": Counter(i.subset for i in items),
                "longer_response_wins_pct": 100 * sum(longer) / len(items),
            }
        }
    return part


def judgebench_cell(items: list[Any], judgments: list[Judgment]) -> dict[str, Any]:
    ids = {i.id for i in items}
    mine = [j for j in judgments if j.item in ids]
    result = judgebench.aggregate(items, mine, judgebench.BENCHMARK.invalid)
    n, extra = len(items), result.extra
    unread = [j for j in mine if j.state is not State.READ]
    said = Counter(judgebench.shown(j.reading) for j in mine)
    return {
        "n": n,
        "accuracy_pct": percent(result.value, n),
        "position_consistency_pct": percent(extra["official_consistency"], n),
        "correct": count(result.value, n),
        "incorrect": count(extra["pairs_wrong"], n),
        "tie": count(extra["undecided"], n),
        "both_correct": count(extra["both_correct"], n),
        "correct_order1_only": count(extra["order_ab"], n),
        "correct_order2_only": count(extra["order_ba"], n),
        "inconsistent": n - count(extra["official_consistency"], n),
        "null_order1": sum(j.order == Order.AB for j in unread),
        "null_order2": sum(j.order == Order.BA for j in unread),
        "pairs_with_null": len({j.item for j in unread}),
        "said_first_response": said["first"],
        "said_second_response": said["second"],
        "said_tie": said["tie"],
        "said_other": len(mine) - len(unread) - said["first"] - said["second"] - said["tie"],
    }


def judgebench_replay(judgments: list[Judgment]) -> dict[str, int]:
    differ = sum(j.reading.note.startswith(DIFFERS) for j in judgments)
    scores = [j.reading.value for j in judgments if isinstance(j.reading.value, Scores)]
    if scores:
        equal = sum(s.values[0] == s.values[1] for s in scores)
        return {"score_replayed": len(scores), "equal_scores": equal, "decision_differs_from_recorded": differ}
    found = [judgebench.labels(j.text) for j in judgments if j.state is not State.ERROR]
    return {
        "text_replayed": len(found),
        "text_no_verdict": sum(not labels for labels in found),
        "text_conflicting_verdicts": sum(len(set(labels)) > 1 for labels in found),
        "text_repeated_same_verdict": sum(len(labels) > 1 and len(set(labels)) == 1 for labels in found),
        "text_has_think_tag": sum("<think>" in j.text or "</think>" in j.text for j in judgments),
        "decision_differs_from_recorded": differ,
    }


def llmbar_part(data: Path) -> dict[str, Any]:
    root = data / "llmbar" / "Dataset" / "LLMBar"
    part: dict[str, Any] = {}
    for dataset in sorted(root.rglob("dataset.json")):
        items = llmbar.load(dataset).items
        for file in sorted(dataset.parent.rglob("result.json")):
            judgments = llmbar.recorded(file, items)
            result = llmbar.aggregate(items, judgments, llmbar.BENCHMARK.invalid)
            n, extra, notes = len(items), result.extra, [j.reading.note for j in judgments]
            correct = {
                "correct_False": count(extra["order_ab"], n),
                "correct_True": count(extra["order_ba"], n),
                "correct_both": count(extra["both_correct"], n),
                "equal": count(extra["official_consistency"], n),
            }
            ties = [j for j in judgments if isinstance(j.reading.value, Scores) and len(j.reading.value.top) == 2]
            expected = {
                "n": n,
                "accuracy_average_pct": percent(result.value, 2 * n),
                "accuracy_unswapped_pct": percent(extra["order_ab"], n),
                "accuracy_swapped_pct": percent(extra["order_ba"], n),
                "both_orders_correct_pct": percent(extra["both_correct"], n),
                "position_agreement_pct": percent(extra["official_consistency"], n),
                **correct,
                "rating_ties": len({j.item for j in ties}),
                "replay_differs_from_recorded": sum(note.startswith(DIFFERS) for note in notes),
                "text_with_both_patterns": sum(llmbar.SEVERAL in note for note in notes),
                "unparsed_verdicts": sum(j.state is not State.READ for j in judgments),
                "went_to_second_stage": len({j.item for j in judgments if llmbar.SECOND_STAGE in j.reading.note}),
            }
            published: dict[str, Any] = {
                name: {"of": k, "n": n, "pct": 100 * (k / n)} for name, k in correct.items()
            } | {"correct_average": {"pct": 100 * result.value}}
            name = f"LLMBar/{llmbar.subset_of(dataset)}|{'/'.join(file.parts[-3:-1])}"
            part[name] = {"expected": expected, "published": published}
    return part


def pandalm_part(data: Path) -> dict[str, Any]:
    items = pandalm.load(data / "pandalm").items
    number = {"tie": "0", "first": "1", "second": "2"}
    labels = Counter(number[i.label] for i in items)
    decisive = [i for i in items if i.label != "tie"]
    part: dict[str, Any] = {}
    for file in sorted((data / "pandalm").glob("*-testset-v1.json")):
        judgments = pandalm.recorded(file, items)
        result = pandalm.aggregate(items, judgments, pandalm.BENCHMARK.invalid)
        verdicts = [j.in_item_order().verdict for j in judgments]
        part[file.name] = {
            "expected": {
                "n": len(items),
                "agreement_pct": percent(result.value, len(items)),
                **{f"{k}_pct": 100 * result.extra[k] for k in ("macro_precision", "macro_recall", "macro_f1")},
                "correct": count(result.value, len(items)),
                "unparsable": sum(v is None for v in verdicts),
                "predicted_counts": Counter("-1" if v is None else number[v.choice] for v in verdicts),
                "label_counts": labels,
                "n_without_tie_labels": len(decisive),
                "agreement_without_tie_labels_pct": percent(result.extra["decisive_agreement"], len(decisive)),
                "weighted_f1_pct": 100 * result.extra["weighted_f1"],
            }
        }
    part["labels"] = {
        "expected": {
            "n": len(items),
            "majority_label_counts": labels,
            "no_majority": len(pandalm.load(data / "pandalm", strict=False).quarantine),
            "kappa_annotators": pandalm.kappa(data / "pandalm"),
        }
    }
    return part


def rm_r1_part(data: Path) -> dict[str, Any]:
    root = data / "rm_r1" / RM_R1
    subsets = rm_r1.rewardbench_subsets(root / "reward_bench" / "score_result" / "each_small_section_score.json")
    sections = rewardbench.section_scores(subsets)
    mean, micro = rewardbench.overall(sections), rm_r1.absolute(subsets)
    bench = rm_r1.fractions(root / "RM-Bench" / "final_result.json")
    domains = {name: bench[name] for name in rm_bench.DOMAINS}
    difficulties = {f"{name}_acc": bench[f"{name}_acc"] for name in rm_bench.DIFFICULTIES}
    cells, bon = {}, {}
    for group in rm_r1.LOGS:
        kind, side = group.split("_set_")
        file = root / "RMB" / group / "score_result" / "Final_score.json"
        if kind == "BoN":
            correct, n, categories = rm_r1.bon_counts(file)
            published = rm_r1.fractions(root / "RMB" / "META_RESULT.json", [f"BoN {side}"])[f"BoN {side}"]
            cells[f"BoN {side}"] = correct / n
            bon[group] = {
                "correct": correct,
                "n": n,
                "accuracy": correct / n,
                "unweighted_mean_of_categories": sum(categories.values()) / len(categories),
                "published": published,
            }
        else:
            cells[f"Pairwise {side}"] = rm_r1.pairwise_accuracy(file)
    four = rmb.overall(cells)
    replay: dict[str, list[dict[str, Any]]] = {group: [] for group in rm_r1.LOGS}
    for trace in rm_r1.traces(root):
        verdict, text = trace.judgment.reading.verdict, trace.judgment.text
        replay[trace.group].append(
            {
                "verdict": None if verdict is None else {"first": "A", "second": "B"}.get(verdict.choice),
                "chosen_at": "AB"[trace.judgment.order.shown.index(0)],
                "correct": trace.correct,
                "recorded": trace.recorded,
                "has_open_think": "<think>" in text,
                "has_close_think": "</think>" in text,
                "chars": len(text),
            }
        )
    cut = rm_r1.cut_texts(data / "rm_r1" / "truncated_outputs.json")
    return {
        RM_R1: {
            "expected": {
                "reward_bench_sections_from_subsets": {**sections, "avg_Result_each_section": mean},
                "reward_bench_absolute_with_447_math_rows": micro,
                "rm_bench_mean_of_domains": rm_bench.overall(domains),
                "rm_bench_mean_of_difficulties": sum(difficulties.values()) / len(difficulties),
                "rmb_mean_of_four": four,
                "trace_replay": replay,
            },
            "published": {
                "reward_bench": {**sections, "avg_Result_each_section": mean, "absoluate_Result": micro},
                "rm_bench": {**domains, **difficulties, "total_avg_acc": rm_bench.overall(domains)},
                "rmb": {**cells, "Accuracy Averaged from Four Sections": four},
            },
            "rmb_bon_final_accuracy": bon,
        },
        "truncated_outputs.json": {
            "expected": {"n": len(cut), "with_[[A]]_or_[[B]]": sum(j.state is State.READ for j in cut)}
        },
    }


def rrm_official_part(data: Path) -> dict[str, Any]:
    root = data / "rrm_official"
    sections = rewardbench.section_scores(rrm_official.rewardbench_subsets(root))
    correct = rrm_official.ppe_correct(root)
    pairs = {name: rrm_official.conflict_pairs(root, name) for name in rrm_official.SETS}
    overall = sum(k / rrm_official.QUESTIONS for k in correct.values()) / len(correct)
    picks = rrm_official.elo_picks(root)
    return {
        "mmlu_knockout_32b": {"expected": knockout(root)},
        "elo_predictions_32b": {
            "expected": {
                "questions": len(picks),
                "picked_candidate_counts": {str(c): picks.count(c) for c in sorted(set(picks))},
            }
        },
        "rewardbench_sections_32b": {
            "expected": {**sections, "mean_of_sections": rewardbench.overall(sections)},
            "published": sections,
        },
        "ppe_round1_32b": {"expected": {"correct_of_512": correct, "mean_of_three": overall}},
        "conflict_pairs": {
            "expected": {
                name: {
                    "questions": len(rows),
                    "pairs": sum(len(row) for row in rows),
                    "questions_with_a_repeated_pair": sum(len({frozenset(p) for p in row}) < len(row) for row in rows),
                }
                for name, rows in pairs.items()
            }
        },
    }


def knockout(root: Path) -> dict[str, Any]:
    """RRM-32B's recorded votes through our scheduler, beside the official finals."""
    verdicts = rrm_official.knockout_verdicts(root)
    finals, (played, winner) = rrm_official.finals(root), rrm_official.play_knockout(root, verdicts)
    said = {j.item: j.text for j in verdicts}
    texts = Counter(said.values())
    won = Counter(winner.values())
    rivals = winners = same = 0
    for question, final in finals.items():
        last = played[question][-1]
        rivals += (last.first, last.second) == (final.first, final.second)
        winners += winner[question] == final.winner
        same += said[f"mmlu_pro/{question}/round5/match0"] == final.verdict
    (matches,) = {len(results) for results in played.values()}
    (rows,) = {final.rows for final in finals.values()}
    return {
        "questions": len(played),
        "matches": sum(len(results) for results in played.values()),
        "verdict_counts": texts,
        "verdicts_that_are_neither_assistant": sum(j.state is not State.READ for j in verdicts),
        "said_assistant_1_pct": 100 * texts["Assistant 1"] / len(verdicts),
        "final_rivals_equal_official": rivals,
        "winner_equal_official": winners,
        "official_rows_per_question": rows,
        "winner_histogram_over_candidates": {str(c): n for c, n in sorted(won.items())},
        "comparisons_per_question": matches,
        "final_verdict_equal_official": same,
    }


def in_scope(reference: dict[str, Any]) -> dict[str, Any]:
    """The parts of reference.json that this bar covers: expected, and published where it refers to the same rows."""
    scope: dict[str, Any] = {}
    for part in PARTS:
        if "expected" in reference[part]:  # one thing, and not several by name
            scope[part] = {"expected": reference[part]["expected"]}
            continue
        for name, entry in reference[part].items():
            if name.startswith("_"):
                continue
            kept = {k: v for k, v in entry.items() if k not in ("published", "expected_equals_published")}
            if entry.get("published", {}).get("covers") == SAME_ROWS:
                kept["published"] = entry["published"]
            scope.setdefault(part, {})[name] = kept
    return scope


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a nested structure with its path; prose is left out, LLMBar's "21 / 47 = 44.6...%" is split."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if not key.startswith("_") and key not in PROSE:
                yield from leaves(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, str(index)))
    elif isinstance(tree, str) and (match := re.fullmatch(r"(?:(\d+) / (\d+) = )?([\d.]+)%", tree)):
        if match[1] is not None:
            yield (*path, "of"), int(match[1])
            yield (*path, "n"), int(match[2])
        yield (*path, "pct"), float(match[3])
    else:
        yield path, tree


def verdict(ours: Any, expected: Any) -> str:
    """`=` the same, `~` a decimal within a relative 1e-12, `!` a mismatch."""
    if type(ours) is type(expected) and ours == expected:
        return "="
    if isinstance(expected, float) and isinstance(ours, float):
        return "~" if abs(ours - expected) <= 1e-12 * abs(expected) else "!"
    return "!"


def compare(data: Path) -> list[tuple[str, Any, Any, str]]:
    """(path, ours, expected, verdict) of every leaf in scope."""
    ours = {
        "judgebench": judgebench_part(data),
        "llmbar": llmbar_part(data),
        "pandalm": pandalm_part(data),
        "rm_r1": rm_r1_part(data),
        "rrm_official": rrm_official_part(data),
        **{name: part(data) for name, part in SAMPLED.items()},
    }
    mine = dict(leaves(ours))
    rows = []
    for path, expected in leaves(in_scope(read_json(data / "reference.json"))):
        value = mine.get(path, MISSING)
        shown = "nothing" if value is MISSING else value
        rows.append((" / ".join(path), shown, expected, "!" if value is MISSING else verdict(value, expected)))
    return rows


def main() -> int:
    try:
        rows = compare(data_dir())
    except DataError as e:
        print(f"replay: {e}", file=sys.stderr)
        return 1
    quiet = "--quiet" in sys.argv[1:]
    for path, ours, expected, mark in rows:
        if mark == "!" or not quiet:
            print(f"{mark} {path}: ours {ours!r}  expected {expected!r}")
    marks = Counter(mark for *_, mark in rows)
    parts = Counter(path.split(" / ")[0] for path, *_ in rows)
    print(f"\nleaves compared: {len(rows)} ({', '.join(f'{part} {n}' for part, n in parts.items())})")
    print(f"the same to all printed digits: {marks['=']}; within a relative 1e-12: {marks['~']}")
    print(f"mismatches: {marks['!']}")
    return 1 if marks["!"] or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
