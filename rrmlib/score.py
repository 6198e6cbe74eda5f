"""Judgments -> tables: accuracy under every rule for the unreadable, coverage, sections, consistency, comparisons.

Every table says how many judgments were read, unparsed, truncated, too long or failed. Accuracy comes four times:
the benchmark's official constant for an unreadable judgment, and wrong (0), half (0.5) and excluded. Intervals are
clustered by prompt and stratified as the official weighted mean is; judges are compared on the same items, paired.

Left out: the mathematics (`stats.py`), each benchmark's rule (`benchmarks/`), drawing (`figures/`).

    result = score(benchmark("judgebench"), items, judgments)
    print(json.dumps(result.as_json(), indent=1))
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rrmlib import stats
from rrmlib.benchmarks.base import Aggregate, Benchmark, Credit
from rrmlib.benchmarks.rows import Loaded, data_path, first_prompts
from rrmlib.comparison import Comparison, Item, Order
from rrmlib.engines.base import digest
from rrmlib.judge import WARN_SHARE, open_judge, recorded, run, warn
from rrmlib.judgment import Judgment, Scores, State
from rrmlib.lab import load
from rrmlib.params import JudgeSpec, ParameterError, lab_folder, lab_place
from rrmlib.position import first_preference, position_consistency, repetition_stability

if TYPE_CHECKING:
    import pandas

    from rrmlib.store import Store

RULES: dict[str, float | None] = {"wrong": 0.0, "half": 0.5, "excluded": None}
CHOICE_VALUE = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(frozen=True)
class Result:
    """One judge on one benchmark. `aggregates` holds the official rule and the three others."""

    benchmark: Benchmark
    judge: str
    items: tuple[Item, ...]
    judgments: tuple[Judgment, ...]
    aggregates: Mapping[str, Aggregate]

    @property
    def official(self) -> Aggregate:
        return self.aggregates["official"]

    @cached_property
    def coverage(self) -> dict[str, int]:
        """How many judgments are in each state; every state is there."""
        counts = Counter(judgment.state for judgment in self.judgments)
        return {str(state): counts[state] for state in State}

    @property
    def read(self) -> float:
        """Share of judgments that could be read."""
        return self.coverage["read"] / max(len(self.judgments), 1)

    def estimate(self, rule: str = "official", part: str = "") -> stats.Estimate:
        """The overall value (or one part of `by`) under a rule, with its interval."""
        aggregate = self.aggregates[rule]
        value = aggregate.by[part] if part else aggregate.value
        credits = [credit for credit in aggregate.credits if credit.value is not None]
        strata = {credit.stratum for credit in credits}
        pooled = bool(part) and part not in aggregate.parts and part not in strata
        if pooled:  # a part of a pooled rule: the items of that subset, or with that label
            mine = {item.id for item in self.items if part in (item.subset, getattr(item, "label", None))}
            credits = [credit for credit in credits if credit.item in mine]
        weights = dict(aggregate.parts.get(part, {part: 1.0}) if part and not pooled else aggregate.weights)
        usable = [credit for credit in credits if credit.stratum in weights]
        if not usable:
            return stats.Estimate(value, math.nan, math.nan, 0, 0, "none")
        # A stratum in which everything is excluded has no mean: the others share its weight, as in the rules.
        there = sorted({c.stratum for c in usable})  # sums in one order: same inputs, same bytes
        total = math.fsum(weights[s] for s in there)
        found = stats.stratified_mean(
            _values(usable),
            [c.cluster for c in usable],
            [c.stratum for c in usable],
            {s: weights[s] / total for s in there},
            pseudo=not aggregate.linear,
        )
        if aggregate.linear and not math.isclose(found.value, value, abs_tol=1e-9):
            if pooled:  # this part follows a rule of its own: no interval rather than another quantity's
                return stats.Estimate(value, math.nan, math.nan, 0, 0, "none")
            raise AssertionError(f"{self.benchmark.name} {part or 'overall'}: credits give {found.value}, rule {value}")
        shift = value - found.value  # zero but for the non-linear rules
        # RewardBench 2's ties score may leave 0..1; the interval never leaves its value.
        lo, hi = min(value, max(0.0, found.lo + shift)), max(value, min(1.0, found.hi + shift))
        return stats.Estimate(value, lo, hi, found.n, found.clusters, found.method)

    @cached_property
    def position(self) -> dict[str, stats.Estimate]:
        """Consistency between orders, preference for the first shown, stability: what can be estimated."""
        return position(self.items, self.judgments)

    @property
    def consistency(self) -> stats.Estimate | None:
        """The source's own consistency where its rule has one, else ours (unreadable pairs left out).

        Where the two differ (the source counts unreadable pairs its own way), the interval is unknown and NaN.
        """
        own, ours = self.official.extra.get("official_consistency"), self.position.get("position_consistency")
        if own is None or (ours is not None and math.isclose(own, ours.value, abs_tol=1e-12)):
            return ours
        return stats.Estimate(own, math.nan, math.nan, len(self.items), 0, "none")

    def as_json(self) -> dict[str, Any]:
        """The result as `rrm score --json` prints it: fractions in 0..1, null where nothing could be measured."""
        overall = self.estimate()
        names = ("official", *RULES)
        by = {
            part: {name: _number(self.aggregates[name].by.get(part, math.nan)) for name in names}
            | {"interval": _interval(self.estimate(part=part)), "n": self.estimate(part=part).n}
            for part in self.official.by
        }
        consistency = self.consistency
        return {
            "benchmark": self.benchmark.name,
            "judge": self.judge,
            "n": len(self.items),
            "judgments": len(self.judgments),
            "overall": {name: _number(self.aggregates[name].value) for name in names}
            | {"interval": _interval(overall), "clusters": overall.clusters},
            "by": by,
            "extra": {name: _number(value) for name, value in self.official.extra.items()},
            "missing": list(self.official.missing),
            "coverage": self.coverage | {"total": len(self.judgments)},
            "partly_read": sum(isinstance(j.reading.value, Scores) and j.reading.value.partial for j in self.judgments),
            "consistency": None if consistency is None else _number(consistency.value),
            "consistency_interval": None if consistency is None else _interval(consistency),
            "position": {
                name: {"value": _number(e.value), "interval": _interval(e), "n": e.n}
                for name, e in self.position.items()
            },
        }


def score(benchmark: Benchmark, items: Sequence[Item], judgments: Sequence[Judgment]) -> Result:
    """Score one judge's judgments. Raises DataError where an item has none, ValueError for two judges at once."""
    judges = {judgment.judge for judgment in judgments}
    if len(judges) > 1:
        raise ValueError(f"judgments of one judge expected, found {', '.join(sorted(judges))}")
    rules = {"official": benchmark.invalid, **RULES}
    aggregates = {name: benchmark.aggregate(items, judgments, credit) for name, credit in rules.items()}
    return Result(benchmark, next(iter(judges), ""), tuple(items), tuple(judgments), aggregates)


def position(items: Sequence[Item], judgments: Sequence[Judgment]) -> dict[str, stats.Estimate]:
    """The three separate measures of 2406.07791, each with an interval; a measure without data is not there."""
    clusters = {item.id: item.cluster for item in items if isinstance(item, Comparison)}
    rows = [j for j in judgments if j.item in clusters and len(j.order) == 2]
    if not rows:
        return {}
    verdicts = [j.reading.verdict for j in rows]
    table = (
        [j.item for j in rows],
        [0 if j.order == Order.AB else 1 for j in rows],
        [math.nan if v is None else CHOICE_VALUE[v.choice] for v in verdicts],
        [clusters[j.item] for j in rows],
    )
    measures = {
        "position_consistency": position_consistency(*table),
        "first_preference": first_preference(*table),
        "repetition_stability": repetition_stability(*table),
    }
    return {name: estimate for name, estimate in measures.items() if estimate.n}


# ---------------------------------------------------------------------------------------------------------------
# Several judges: what the evaluation notebook shows


@dataclass(frozen=True)
class Evaluation:
    """Several judges on the same items, and what the run said while making them."""

    benchmark: Benchmark
    loaded: Loaded
    results: tuple[Result, ...]
    notes: tuple[str, ...]

    def digest(self) -> str:
        """One hash over all inputs, every item and every judgment: it goes beside each figure."""
        items = [asdict(item) for item in self.results[0].items]
        return digest("evaluation", items, [[j.to_row() for j in result.judgments] for result in self.results])

    def summary(self) -> pandas.DataFrame:
        """One row per judge: the official overall value with its interval, the other rules, n, and every state."""
        rows = []
        for result in self.results:
            e = result.estimate()
            others = [result.aggregates[rule].value for rule in RULES]
            rows.append((result.judge, e.value, e.lo, e.hi, *others, e.n, *result.coverage.values()))
        return _frame(rows, " ".join(["judge official lo hi", *RULES, "n", *State]))

    def accuracy(self) -> pandas.DataFrame:
        """judge, section ("overall" first), rule, value, lo, hi, n, clusters, read (share of judgments that were)."""
        rows = []
        for result in self.results:
            for rule, aggregate in result.aggregates.items():
                for part in ("", *aggregate.by):
                    e = result.estimate(rule, part)
                    row = (result.judge, part or "overall", rule, e.value, e.lo, e.hi, e.n, e.clusters, result.read)
                    rows.append(row)
        return _frame(rows, "judge section rule value lo hi n clusters read")

    def coverage(self) -> pandas.DataFrame:
        """judge, state, count, share: every state of every judge."""
        rows = [
            (result.judge, state, count, count / max(len(result.judgments), 1))
            for result in self.results
            for state, count in result.coverage.items()
        ]
        return _frame(rows, "judge state count share")

    def position(self) -> pandas.DataFrame:
        """judge, metric, value, lo, hi, n, read."""
        rows = [
            (result.judge, metric, *_bounds(e), e.n, result.read)
            for result in self.results
            for metric, e in result.position.items()
        ]
        return _frame(rows, "judge metric value lo hi n read")

    @cached_property
    def _compared(self) -> dict[tuple[str, str], stats.Difference]:
        """Every pair of judges, computed once: `differences` shows it, `ranking` rests on it."""
        pairs = itertools.combinations(self.results, 2)
        return {(a.judge, b.judge): _difference(a.official, b.official) for a, b in pairs}

    def differences(self) -> pandas.DataFrame:
        """Every pair of judges under the official rule: paired by item, clustered by prompt, Holm-adjusted."""
        rows = [
            (*names, d.value, d.lo, d.hi, d.p, d.mdd, d.mcnemar, d.n, d.clusters) for names, d in self._compared.items()
        ]
        adjusted = stats.holm([_known(d.p) for d in self._compared.values()])
        columns = "judge_a judge_b difference lo hi p detectable mcnemar n clusters p_holm"
        return _frame([(*row, p) for row, p in zip(rows, adjusted)], columns)

    def ranking(self) -> pandas.DataFrame:
        """judge, value, lo, hi, group, read: best first; `group` is the range of ranks that the data leave open.

        A judge that was hardly ever read has no rank: what it scores is the worth of the unreadable, not its own.
        """
        ranked = [result for result in self.results if result.read >= WARN_SHARE]
        raw = {names: _known(d.p) for names, d in self._compared.items()}
        estimates = {result.judge: result.estimate() for result in self.results}
        standings = stats.tie_groups([r.judge for r in ranked], [estimates[r.judge].value for r in ranked], raw)
        groups = {s.name: s.rank for s in standings} | {r.judge: "" for r in self.results if r not in ranked}
        read = {result.judge: result.read for result in self.results}
        rows = [(name, *_bounds(estimates[name]), group, read[name]) for name, group in groups.items()]
        return _frame(rows, "judge value lo hi group read")


def caveats(results: Sequence[Result]) -> Iterator[str]:
    """What keeps these numbers from being the benchmark's: strata that the data lack, orders that were not asked."""
    for result in results:
        if result.read < WARN_SHARE:
            worth = "nothing" if result.benchmark.invalid is None else f"{result.benchmark.invalid:g}"
            yield f"{result.judge} could not be read: its official value is what an unreadable judgment earns ({worth})"
    missing = results[0].official.missing
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        yield f"not in the data, and so not in the overall value: {len(missing)} strata ({shown})"
    once = sorted(r.judge for r in results if r.position and "position_consistency" not in r.position)
    asks_both = any("one_order" in r.official.extra or "order_ab" in r.official.extra for r in results)
    if once and (asks_both or len(once) < len(results)):
        rule = "the official rule asks for both" if asks_both else "not comparable with judges asked in both"
        yield f"judged in one order only: {', '.join(once)} ({rule})"


def evaluate(
    benchmark: Benchmark,
    specs: Sequence[JudgeSpec],
    store: Store,
    *,
    data: str = "",
    strict: bool = True,
    limit: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Load a benchmark and put every judge to it, live or recorded; everything lands in the store.

    `limit` > 0 keeps so many prompts, with all their items (`some_prompts`; for trying out, said in the notes). Raises
    DataError, ParameterError, EngineError or StoreError, each in one line.
    """
    if not specs:
        raise ParameterError("no judges given")
    for spec in specs:
        known(spec.model)  # all of them, before the first is asked
    loaded = benchmark.load(data_path(data), strict=strict)
    items = some_prompts(loaded.items, limit)
    notes = [str(note) for note in loaded.notes]
    if loaded.quarantine:
        notes.append(f"{len(loaded.quarantine)} rows set aside, for example {loaded.quarantine[0]}")
    notes += limited(items, loaded.items, limit, f"{limit} prompts, by turns from every subset")
    results = []
    for spec in specs:
        if spec.engine == "recorded":
            wanted = {item.id for item in items}
            judgments = [j for j in recorded(spec, benchmark, loaded.items) if j.item in wanted]
            parser = f"recorded:{benchmark.name}"
            store.record(judgments, benchmark=benchmark.name, parser=parser, replace_items=True)
            notes += [f"{spec.name}: {len(judgments)} recorded judgments, no model calls", *warn(spec.name, judgments)]
        else:
            judge = open_judge(spec)
            try:
                done = run(judge, items, store, benchmark=benchmark.name, quiet=quiet)
            finally:
                judge.engine.close()
            judgments = list(done.judgments)
            notes += [f"{spec.name}: {done.summary()}", *done.warnings]
        results.append(score(benchmark, items, judgments))
    notes += list(caveats(results))
    return Evaluation(benchmark, loaded, tuple(results), tuple(notes))


def known(address: str) -> None:
    """Raises ParameterError where a lab address leads to no model: with those that its profile's lab.yaml has, where it
    has not this one, else with the command that makes it. Other schemes are not looked at."""
    if not address.startswith("lab:"):
        return
    name, profile, seed = lab_place(address)
    try:
        lab_folder(address)
    except ParameterError:
        with suppress(FileNotFoundError):  # no checkout: there is no lab.yaml to ask
            load(profile, seed).path(name)
        raise


def some_prompts(items: Sequence[Item], limit: int) -> tuple[Item, ...]:
    """Every item of `limit` prompts (clusters): the first of each subset, then the second of each, and so on, so that
    also a few are of all sections; 0 keeps all. Raises ValueError for a negative limit."""
    subsets: dict[str, dict[str, None]] = {}
    for item in items:
        subsets.setdefault(item.subset, {})[item.cluster] = None
    turns = itertools.zip_longest(*subsets.values())
    names = dict.fromkeys(name for turn in turns for name in turn if name is not None)
    place = {name: i for i, name in enumerate(names)}
    kept = {item.cluster for item in first_prompts(sorted(items, key=lambda item: place[item.cluster]), limit)}
    return tuple(item for item in items if item.cluster in kept)


def once(items: Sequence[Item], kind: str, why: str) -> None:
    """Raises ValueError that names an item (a `kind`) whose id another one has."""
    for name, times in Counter(item.id for item in items).items():
        if times > 1:
            raise ValueError(f"{kind} {name!r} is there more than once: {why}")


def limited(items: Sequence[Item], loaded: Sequence[Item], limit: int, which: str = "") -> list[str]:
    """What to say where a limit left items out: it counts prompts, and a prompt keeps all its items."""
    which = which or f"the first {limit} prompts"
    said = f"limit: only {which}, each with all its items: {len(items)} of {len(loaded)} items"
    return [said] if len(items) < len(loaded) else []


def _difference(a: Aggregate, b: Aggregate) -> stats.Difference:
    """Credits of two judges matched by (item, stratum)."""
    theirs = {(c.item, c.stratum): c for c in b.credits}
    mine = [c for c in a.credits if c.stratum in a.weights and (c.item, c.stratum) in theirs]
    pairs = [(c, theirs[c.item, c.stratum]) for c in mine]
    pairs = [(x, y) for x, y in pairs if x.value is not None and y.value is not None]
    there = sorted({x.stratum for x, _ in pairs})
    total = math.fsum(a.weights[s] for s in there)
    return stats.paired_difference(
        _values([x for x, _ in pairs]),
        _values([y for _, y in pairs]),
        [x.cluster for x, _ in pairs],
        [x.stratum for x, _ in pairs],
        {s: a.weights[s] / total for s in there},
        pseudo=not (a.linear and b.linear),
    )


def _values(credits: Sequence[Credit]) -> list[float]:
    return [math.nan if credit.value is None else credit.value for credit in credits]


def _known(p: float) -> float:
    """A p-value; 1 where nothing could be compared."""
    return 1.0 if math.isnan(p) else p


def _bounds(estimate: stats.Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.lo, estimate.hi


def _frame(rows: Sequence[tuple[Any, ...]], columns: str) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(list(rows), columns=columns.split())


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _interval(estimate: stats.Estimate) -> list[float | None]:
    return [_number(estimate.lo), _number(estimate.hi)]
