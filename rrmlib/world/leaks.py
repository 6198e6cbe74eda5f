"""Leak checks: can a pair be judged without its query, or from its surface alone?

Three judges that must not do better than chance on sections that do not mean to tempt: the longer response, a bag of
words of the responses, and a trained classifier that reads both responses, but no query, as character n-grams up to
five. All are trained on pairs of one split and tested on pairs of another; for the unseen family, of which no model has
training data, pairs are made for the probes alone. (Folds of the test itself would not do: half of its pairs are the
mirror image of another, so what is left out is the reverse of what is trained on, and a probe is right in a third.)
A section leaks where the accuracy is more than `TOLERANCE` from one half. The two subsets that mean to tempt are looked
at one by one, and together: there, in equal parts, politeness must say nothing.

Lists are asked another thing (`list_leaks`): where wrong answers are slips from the right one, the response that is
most like the others may be the right one more often than chance has it.

Left out: judges that read the query (that is what the baselines are).

    table = leaks(build("rl", ...), build("test", ...))      # [{"probe": "length", "section": "chat", "accuracy": ...}]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np

from rrmlib.comparison import CandidateSet, Comparison
from rrmlib.stats import clustered_mean
from rrmlib.world.pairs import SECTION, TEMPTING, build
from rrmlib.world.reasoning import claimed

TOLERANCE = 0.03
MADE = 450  # pairs of each subset of a section that is not in the training data: as many as rl has of the others
TOGETHER = " and ".join(TEMPTING)
_BUCKETS = 4096


def length_reading(comparison: Comparison) -> float:
    """1 where the first response is longer (in words, then characters), 0 where the second is, else one half."""
    a, b = ((len(text.split()), len(text)) for text in comparison.responses)
    return 0.5 if a == b else float(a > b)


def words(text: str) -> list[str]:
    return text.split()


def ngrams(text: str) -> list[str]:
    """Character n-grams of one to five, with marks of beginning and end: what a small trained reader could use."""
    marked = f"^{text}$"
    return [marked[i : i + n] for n in range(1, 6) for i in range(len(marked) - n + 1)]


def fit_probe(pairs: Sequence[Comparison], features: Callable[[str], list[str]]) -> np.ndarray:
    """Weights of a Bradley-Terry logistic regression on hashed features of the responses; ridge 1e-2 per pair."""
    from scipy.optimize import minimize

    x = np.stack([_vector(c, features) for c in pairs])
    y = np.array([1.0 if c.label == "first" else -1.0 for c in pairs])

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = y * (x @ w)
        slope = -y / (1 + np.exp(np.clip(margin, -50, 50)))
        return float(np.logaddexp(0, -margin).mean() + 0.005 * w @ w), x.T @ slope / len(y) + 0.01 * w

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x


def _vector(comparison: Comparison, features: Callable[[str], list[str]]) -> np.ndarray:
    out = np.zeros(_BUCKETS)
    for sign, text in zip((1.0, -1.0), comparison.responses):
        for feature in features(text):
            out[crc32(feature.encode()) % _BUCKETS] += sign
    return out


def probe_reading(weights: np.ndarray, comparison: Comparison, features: Callable[[str], list[str]]) -> float:
    score = float(_vector(comparison, features) @ weights)
    return 0.5 if abs(score) < 1e-9 else float(score > 0)


def leaks(train: Sequence[Comparison], test: Sequence[Comparison]) -> list[dict[str, object]]:
    """One row per probe and section: accuracy with its clustered 95 % interval, n, and whether the section tempts.

    A probe is trained on the pairs of the same section, so that nothing hides in a mixture. `made`: there were none in
    `train`, and it is trained on new ones of split rl.
    """
    rows: list[dict[str, object]] = []
    parts: dict[str, list[str]] = {}
    for subset, section in SECTION.items():
        parts.setdefault(subset if section.startswith("chat") else section, []).append(subset)
    for section, subsets in (parts | {TOGETHER: [*TEMPTING]}).items():
        tests = [c for c in test if c.subset in subsets]
        if not tests:
            continue
        made = not any(c.subset in subsets for c in train)
        trains = build("rl", dict.fromkeys(subsets, MADE), 0) if made else [c for c in train if c.subset in subsets]
        probes: dict[str, Callable[[Comparison], float]] = {"length": length_reading}
        for name, features in (("bag of words", words), ("response-only n-grams", ngrams)):
            weights = fit_probe(trains, features)
            probes[name] = lambda c, w=weights, f=features: probe_reading(w, c, f)  # type: ignore[misc]
        for name, reading in probes.items():
            said = [reading(c) for c in tests]
            right = np.array([s if c.label == "first" else 1 - s for s, c in zip(said, tests)])
            estimate = clustered_mean(right, [c.cluster for c in tests])
            rows.append(
                {
                    "probe": name,
                    "section": section,
                    "accuracy": estimate.value,
                    "lo": estimate.lo,
                    "hi": estimate.hi,
                    "n": len(tests),
                    "tempts": section in TEMPTING,
                    "made": made and name != "length",
                    "leaks": section not in TEMPTING and round(abs(estimate.value - 0.5), 9) > TOLERANCE,
                }
            )
    return rows


def beside(texts: Sequence[str]) -> list[float]:
    """For each response, how many others say an answer that is one more or one less (digits, 9 beside 0)."""
    answers = [claimed(text)[1] for text in texts]
    return [float(sum(a is not None and b is not None and (a - b) % 10 in (1, 9) for b in answers)) for a in answers]


def alike(texts: Sequence[str]) -> list[float]:
    """For each response, how many words it shares with the others, place by place."""
    said = [text.replace(",", " ").split() for text in texts]
    return [float(sum(x == y for other in said if other is not mine for x, y in zip(mine, other))) for mine in said]


def list_leaks(sets: Sequence[CandidateSet]) -> list[dict[str, object]]:
    """One row per probe and kind of list: how often the best response is the one that is most like the others, without
    the query; of k that are equally so, 1 / k. `chance`: what drawing one gives. Nothing is trained."""
    parts: dict[str, list[CandidateSet]] = {}
    for item in sets:
        values, answer = claimed(item.responses[0])
        parts.setdefault("chat" if answer is None else "worked" if values else "answers alone", []).append(item)
    rows: list[dict[str, object]] = []
    for kind, shown in (parts | {"all": [*sets]}).items():
        for name, probe in (("one beside", beside), ("most alike", alike)):
            picks = []
            for item in shown:
                assert item.truth is not None
                likes, best = probe(item.responses), item.truth.index(max(item.truth))
                picks.append((likes[best] == max(likes)) / likes.count(max(likes)))
            e = clustered_mean(picks, [item.cluster for item in shown])
            chance = float(np.mean([1 / len(item.responses) for item in shown]))
            found = {"accuracy": e.value, "lo": e.lo, "hi": e.hi, "chance": chance, "n": len(shown)}
            rows.append({"probe": name, "lists": kind, **found, "leaks": bool(e.lo > chance)})
    return rows
