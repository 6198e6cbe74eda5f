"""Reasoning patterns in traces: which expressions stand for which family, how often, and how far to trust that.

RRM (2505.14674) reports four families of patterns: transition, reflection, comparison and breakdown. Its keyword lists
are not published, so ours are our own: `lexicons/<name>.v<N>.toml`, one for English traces and one for those of the
lab, which are no English; each expression says why it is there. An expression is a keyword with a little of its
surroundings and no understanding: `agreement` measures what it finds against sentences that were read and labelled
(`lexicons/labelled.v1.csv`, places without text), and its numbers belong beside every rate.

Left out: when a judge decides and which steps matter (`commitment.py`), tables (`findings/patterns.py`).

    >>> lexicon = load("english")
    >>> text = "Wait, I should check that."
    >>> [(text[start:end], family) for start, end, family in marks(text, lexicon)]
    [('Wait', 'reflection'), ('I should check', 'reflection')]
"""

from __future__ import annotations

import csv
import math
import re
import tomllib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from rrmlib.stats import Estimate, clustered_mean

FOLDER = Path(__file__).parent / "lexicons"
FAMILIES = ("transition", "reflection", "comparison", "breakdown")
Mark = tuple[int, int, str]  # start, end (characters), family
_WORD = re.compile(r"\S+")
# A sentence ends with its punctuation or its line: headings and list entries are sentences too.
_SENTENCE = re.compile(r"\S[^\n]*?(?:[.!?](?=\s|$)|$)", re.MULTILINE)


@dataclass(frozen=True)
class Lexicon:
    """Expressions by family; `what` says what a family is, and what is no case of it. A family may have none."""

    name: str
    version: int
    families: Mapping[str, re.Pattern[str] | None]
    what: Mapping[str, str]

    @property
    def id(self) -> str:
        return f"{self.name}.v{self.version}"


@lru_cache(maxsize=8)
def load(name: str) -> Lexicon:
    """A lexicon by name ("english": its newest version) or by name and version ("english.v1").

    Raises ValueError for one that is not there, or a file that names another family than `FAMILIES`.
    """
    plain, _, version = name.partition(".v")
    found = {int(file.stem.rpartition(".v")[2]): file for file in FOLDER.glob(f"{plain}.v*.toml")}
    if not found or (version and (not version.isdigit() or int(version) not in found)):
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise ValueError(f"unknown lexicon {name!r}; known: {known}")
    number = int(version) if version else max(found)
    stated = tomllib.loads(found[number].read_text("utf-8"))
    if tuple(stated) != FAMILIES:
        raise ValueError(f"{found[number]}: expected the families {', '.join(FAMILIES)}, found {', '.join(stated)}")
    families: dict[str, re.Pattern[str] | None] = {}
    for family, entry in stated.items():
        alternatives = [f"(?:{expression['match']})" for expression in entry.get("expressions", ())]
        families[family] = re.compile("|".join(alternatives), re.I | re.M) if alternatives else None
    return Lexicon(plain, number, families, {family: entry["what"] for family, entry in stated.items()})


def marks(text: str, lexicon: Lexicon) -> list[Mark]:
    """Every place of every family, by place. Takes any text, in time that grows with its length alone."""
    found = []
    for family, pattern in lexicon.families.items():
        if pattern is not None:
            found += [(*match.span(), family) for match in pattern.finditer(text) if match[0]]
    return sorted(found)


def sentences(text: str, least: int = 4) -> list[tuple[int, int]]:
    """(start, end) of the sentences, headings and list entries that have `least` words or more."""
    spans = (match.span() for match in _SENTENCE.finditer(text))
    return [(start, end) for start, end in spans if len(_WORD.findall(text, start, end)) >= least]


# --- How often --------------------------------------------------------------------------------------------------------


def share(found: ArrayLike, clusters: Sequence[Hashable] | ArrayLike) -> Estimate:
    """Share of traces with at least one case: `found` (counts, or true and false) per trace, clustered by prompt."""
    return clustered_mean(np.asarray(found) > 0, clusters)


def per_words(
    found: ArrayLike, words: ArrayLike, clusters: Sequence[Hashable] | ArrayLike, *, per: int = 100, level: float = 0.95
) -> Estimate:
    """Cases per 100 words, all traces together: sum of `found` / sum of `words`; the interval is linearised.

    A ratio of sums, so a long trace weighs as much as it is long. Where there is no case at all, the upper end is what
    such a count could hide. Raises ValueError where there is no word at all, only one prompt, or lengths differ.
    """
    x, w = np.asarray(found, float), np.asarray(words, float)
    if x.shape != w.shape or len(x) != len(np.asarray(clusters)):
        raise ValueError(f"{len(x)} counts, {len(w)} numbers of words and {len(np.asarray(clusters))} clusters")
    if w.sum() <= 0:
        raise ValueError("no words: there is no rate")
    if len(set(np.asarray(clusters).tolist())) < 2:
        raise ValueError("one prompt: how the rate varies between prompts is unknown")
    value = x.sum() / w.sum()
    _, group = np.unique(np.asarray(clusters), return_inverse=True)
    residuals = np.bincount(group, x - value * w)
    n = len(residuals)
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, n - 1) * np.sqrt(n / (n - 1) * (residuals**2).sum()) / w.sum())
    # No case at all is no proof that there is none: as many as a Poisson count could hide, in each trace of a prompt.
    hidden = -math.log((1 - level) / 2) * len(x) / n / w.sum() if not x.any() else 0.0
    low, high = max(0.0, value - half), value + max(half, hidden)
    return Estimate(per * value, per * low, per * high, len(x), n, "ratio")


# --- How far to trust it ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """Precision (of the sentences found, those labelled) and recall (of the sentences labelled, those found)."""

    precision: Estimate | None  # None where nothing was found
    recall: Estimate | None  # None where nothing is labelled
    n: int


def agreement(found: ArrayLike, labelled: ArrayLike, clusters: Sequence[Hashable] | ArrayLike) -> Agreement:
    """What a lexicon finds against what a reader labelled, per sentence; clustered by trace."""
    x, y, c = np.asarray(found, bool), np.asarray(labelled, bool), np.asarray(clusters)
    if not x.shape == y.shape == c.shape:
        raise ValueError(f"{len(x)} found, {len(y)} labelled and {len(c)} clusters")
    return Agreement(
        clustered_mean(y[x], c[x]) if x.any() else None, clustered_mean(x[y], c[y]) if y.any() else None, len(x)
    )


@dataclass(frozen=True)
class Labelled:
    """One sentence that was read: where it stands, and the families that it shows. `crc` is that of its text."""

    part: str  # "development": the lexicon was written with it; "test": labelled after the lexicon was committed
    source: str
    judge: str
    item: str
    order: str
    start: int
    end: int
    crc: int
    families: frozenset[str]


def labelled(part: str = "") -> list[Labelled]:
    """The labelled sentences, all or of one part. Their texts are recorded data and are not here."""
    with (FOLDER / "labelled.v1.csv").open(encoding="ascii", newline="") as file:
        rows = [
            Labelled(part, source, judge, item, order, int(start), int(end), int(crc), frozenset(families.split()))
            for part, source, judge, item, order, start, end, crc, families in list(csv.reader(file))[1:]
        ]
    return [row for row in rows if part in ("", row.part)]
