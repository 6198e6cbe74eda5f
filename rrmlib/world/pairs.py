"""Pairs and lists of responses with verifiable labels: the comparisons of every split.

Responses come from planted errors or from a small policy model that was trained only to solve
(`measure/freeze_world.py`); both responses of a pair come from one source. Subsets and the sections they count in are
`SECTION`; `counter-*`, the family that nothing is trained on, is reported apart. Labels follow from the problem;
`noise` flips a share of them, for training only.

A pair must not give itself away. Wherever the answers are numbers, a pair (right a, wrong b) is kept only together with
a pair (right b, wrong a) of the same subset; in chat, length and politeness are drawn without regard to quality; in
safety, refusing is right half of the time. `leaks.py` measures what is left. Two subsets mean to tempt: in chat-hard
the longer and polite response is always the worse, in chat-easy always the better. Trained on in equal parts,
politeness says nothing: who falls for it in the one gains it in the other.

    >>> pairs = build("valid", {"chain-answer": 20, "safety": 4}, seed=0)
    >>> len(pairs), {p.subset for p in pairs} == {"chain-answer", "safety"}
    (24, True)
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rrmlib.comparison import CandidateSet, Comparison, ask
from rrmlib.world import chat, safety
from rrmlib.world.families import draw, problem_of
from rrmlib.world.problem import Problem, stream
from rrmlib.world.reasoning import Chain, Program, claimed, write

TEMPTING = ("chat-easy", "chat-hard")
SECTION = {
    "chain-answer": "reasoning",
    "chain-worked": "reasoning",
    "program-answer": "reasoning",
    "program-worked": "reasoning",
    "chat": "chat",
    "chat-easy": "chat",
    "chat-hard": "chat-hard",
    "safety": "safety",
    "counter-answer": "unseen",
    "counter-worked": "unseen",
}
NEAR_MISS = 0.25  # share of wrong answers, given alone, that are one off


def attempt(problem: Problem, good: bool, rng: random.Random, *, polished: bool = False) -> str:
    """A right response, or one with a planted error."""
    if isinstance(problem, Chain | Program):
        if good:
            return problem.right
        values = problem.slip(rng)
        answer = values[-1]
        if not problem.worked and rng.random() < NEAR_MISS:
            answer = (problem.answer + rng.choice((1, 9))) % 10
        return write(values, answer, problem.worked)
    if isinstance(problem, chat.Chat):
        n = len(problem.constraints)
        wanted = [True] * n
        while not good and all(wanted):
            wanted = [rng.random() < 0.6 for _ in range(n)]
        return problem.respond(rng, wanted, polished)
    assert isinstance(problem, safety.Safety)
    return problem.refuse(rng) if good == problem.harmful else problem.help(rng)


def build(
    split: str,
    sizes: Mapping[str, int],
    seed: int,
    *,
    policy: Sequence[tuple[str, str, str]] = (),
    noise: float = 0.0,
) -> list[Comparison]:
    """`sizes[subset]` comparisons of a split, in a shuffled order; the same arguments give the same comparisons.

    `policy` holds (query, right response, wrong response) of the policy model: of the reasoning subsets, every second
    comparison comes from it, as far as it reaches. `noise` is the share of flipped labels. Raises ValueError for an
    unknown subset or a noise outside [0, 0.5].
    """
    if unknown := sorted(set(sizes) - set(SECTION)):
        raise ValueError(f"unknown subset {unknown[0]!r}; known: {', '.join(SECTION)}")
    if not 0 <= noise <= 0.5:
        raise ValueError(f"label noise {noise}: a share from 0 to 0.5")
    found: list[Comparison] = []
    for subset, n in sizes.items():
        sampled = [p for p in policy if subset_of(p[0]) == subset]
        taken = list(_matched(subset, split, seed, iter(sampled), n // 2, "policy")) if sampled else []
        taken += _matched(subset, split, seed, _planted(subset, split, seed), n - len(taken), "planted")
        found += taken
    stream("shuffle", split, seed).shuffle(found)
    return [noisy(c, noise, seed) for c in found]


def subset_of(query: str) -> str:
    """The reasoning subset that a query belongs to."""
    problem = problem_of(query)
    assert isinstance(problem, Chain | Program)
    return f"{problem.family}-{'worked' if problem.worked else 'answer'}"


def _planted(subset: str, split: str, seed: int) -> Iterator[tuple[str, str, str]]:
    """(query, better, worse) without end."""
    family, _, style = subset.partition("-")
    number = 0
    while True:
        number += 1
        problem = draw(family, split, "pair", subset, seed, number)
        rng = stream("responses", subset, split, seed, number)
        if isinstance(problem, Chain | Program):
            if problem.worked == (style == "worked"):
                yield problem.query, attempt(problem, True, rng), attempt(problem, False, rng)
        elif isinstance(problem, chat.Chat):
            yield (
                problem.query,
                *(_plain(problem, rng) if subset == "chat" else _tempting(problem, rng, style == "easy")),
            )
        else:
            yield problem.query, attempt(problem, True, rng), attempt(problem, False, rng)


def _plain(problem: chat.Chat, rng: random.Random) -> tuple[str, str]:
    n = len(problem.constraints)
    while True:
        wanted = sorted(([rng.random() < 0.6 for _ in range(n)] for _ in range(2)), key=sum)
        if sum(wanted[0]) < sum(wanted[1]):
            break
    better, worse = (problem.respond(rng, w, rng.random() < 0.3) for w in (wanted[1], wanted[0]))
    return better, worse


def _tempting(problem: chat.Chat, rng: random.Random, polite_is_better: bool) -> tuple[str, str]:
    n = len(problem.constraints)
    broken = rng.randrange(n)
    better = problem.respond(rng, [True] * n, polite_is_better)
    return better, problem.respond(rng, [i != broken for i in range(n)], not polite_is_better)


def _matched(
    subset: str, split: str, seed: int, pairs: Iterator[tuple[str, str, str]], n: int, source: str
) -> list[Comparison]:
    """`n` comparisons from `pairs` (fewer where they end); numeric answers only together with their mirror image."""
    waiting: dict[tuple[int, int], list[tuple[str, str, str]]] = {}
    out: list[tuple[str, str, str]] = []
    seen: set[tuple[str, str, str]] = set()
    for pair in pairs:
        if len(out) >= n:
            break
        if pair in seen or pair[1] == pair[2]:
            continue
        seen.add(pair)
        a, b = (_kind(text, subset) for text in pair[1:])
        if a is None or b is None:
            out.append(pair)
        elif mirror := waiting.get((b, a)):
            out += [mirror.pop(), pair]
        else:
            waiting.setdefault((a, b), []).append(pair)
    return [_comparison(subset, split, seed, source, i, *pair) for i, pair in enumerate(out[:n])]


def _kind(response: str, subset: str) -> int | None:
    """What must be as often right as wrong: the answer of a reasoning problem, refusing in safety."""
    return int(safety.is_refusal(response)) if subset == "safety" else claimed(response)[1]


def _comparison(
    subset: str, split: str, seed: int, source: str, number: int, query: str, better: str, worse: str
) -> Comparison:
    problem = problem_of(query)
    first_is_better = stream("place", subset, split, seed, source, number).random() < 0.5
    return Comparison(
        id=f"{split}-{seed}-{subset}-{source}-{number}",
        query=ask(query),
        first=better if first_is_better else worse,
        second=worse if first_is_better else better,
        label="first" if first_is_better else "second",
        source=source,
        subset=subset,
        difficulty=str(problem.difficulty),
        cluster=problem.canonical,
    )


def steps_to_error(problem: Problem, worse: str) -> int:
    """Steps that a checker needs: up to the first wrong one of a worked response, else those that the problem needs."""
    if isinstance(problem, Chain | Program) and problem.worked:
        said = claimed(worse)[0]
        wrong = [i for i, (a, b) in enumerate(zip(said, problem.values())) if a != b]
        return wrong[0] + 1 if wrong else len(problem.values())
    return problem.difficulty


def shown_steps(problem: Problem) -> int:
    """Steps that the query shows, whether they matter or not: its length, by which difficulty is compared."""
    return problem.shown if isinstance(problem, Chain | Program) else problem.difficulty


def noisy(comparison: Comparison, noise: float, seed: int) -> Comparison:
    """The comparison, its label flipped with probability `noise`; larger noise flips what smaller flips, and more."""
    if stream("noise", seed, comparison.id).random() >= noise:
        return comparison
    return replace(comparison, label="second" if comparison.label == "first" else "first")


def candidate_sets(split: str, n: int, seed: int, sizes: Sequence[int] = (4,)) -> list[CandidateSet]:
    """`n` lists of different responses with exactly one best, `sizes` in turn; families in turn, errors planted.

    No safety: a refusal among helpers would be the best, or the worst, whatever was asked.
    """
    families = ("chain", "program", "chat")
    out: list[CandidateSet] = []
    number = 0
    while len(out) < n:
        number += 1
        problem = draw(families[number % len(families)], split, "set", seed, number)
        rng = stream("set", split, seed, number)
        size = sizes[number % len(sizes)]
        texts = [attempt(problem, i == 0, rng) for i in range(size)]
        if len(set(texts)) < size:
            continue
        rng.shuffle(texts)
        truth = tuple(problem.grade(text) for text in texts)
        if truth.count(max(truth)) == 1 and max(truth) == 1.0:
            out.append(
                CandidateSet(
                    id=f"{split}-{seed}-set-{number}",
                    query=ask(problem.query),
                    responses=tuple(texts),
                    truth=truth,
                    source="planted",
                    subset=problem.family,
                    difficulty=str(problem.difficulty),
                    cluster=problem.canonical,
                )
            )
    return out


def digest(items: Sequence[Comparison | CandidateSet]) -> str:
    """sha256 of comparisons or lists, whatever their order: what "frozen" means."""
    lines = sorted(
        repr((c.id, c.query[0].content, *c.responses, c.label if isinstance(c, Comparison) else c.truth)) for c in items
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
