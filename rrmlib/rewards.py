"""What a judge's text is worth in training: a number and a state, from the text and the known truth alone.

A reward is a function (rows, texts, finishes) -> outcomes, one per text; `rows[i]` is the training row that text i
answers, `finishes[i]` is "stop" or "length". Every text that is not a right verdict is worth -1: wrong, tied, unparsed
and truncated ones alike (RRM, 2505.14674 eq. 1; RM-R1, 2505.02387 eq. 3). The state says which it was.

Left out: rewards for a policy from a pairwise judge.

    reward = verdict_reward(load_prompt("rrm_compact"))
    reward([{"label": "first"}], ["\\\\boxed{Assistant 1}"], ["stop"])      # [Outcome(1.0, State.READ)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rrmlib.engines.base import digest
from rrmlib.judgment import Reading, Scores, State
from rrmlib.parse import parse
from rrmlib.prompt import Prompt


@dataclass(frozen=True)
class Outcome:
    """What one text is worth, and how it could be read."""

    reward: float
    state: State


Row = Mapping[str, Any]
Reward = Callable[[Sequence[Row], Sequence[str], Sequence[str]], list[Outcome]]


@dataclass(frozen=True)
class Rule:
    """A reward that says which it is: a run that is resumed under another one is another run (`train.fit`)."""

    id: str
    rule: Reward

    def __call__(self, rows: Sequence[Row], texts: Sequence[str], finishes: Sequence[str]) -> list[Outcome]:
        return self.rule(rows, texts, finishes)


def verdict_reward(prompt: Prompt, *, opens_think: bool | None = None) -> Rule:
    """+1 for the verdict row["label"] ("first" or "second", in the order SHOWN), else -1.

    `opens_think`: whether the rendered prompt ends in an open `<think>` (default: what the prompt file says). Raises
    ValueError for a row without such a label.
    """

    def right(row: Row, reading: Reading) -> bool:
        if row.get("label") not in ("first", "second"):
            raise ValueError(f"a row needs label 'first' or 'second' in the order shown, not {row.get('label')!r}")
        verdict = reading.verdict
        return verdict is not None and verdict.choice == row["label"]

    return _parsed("verdict", prompt, opens_think, lambda row: 2, right)


def scores_reward(prompt: Prompt, *, opens_think: bool | None = None) -> Rule:
    """DeepSeek-GRM's rule (2504.02495, eq. 10-11) for row["truth"], one number per response in the order SHOWN.

    +1 where every best response scored strictly higher than every other; with one response, where the score equals its
    truth (0 or 1); else -1. Raises ValueError for a row without truth, or all of whose responses are equally good.
    """

    def right(row: Row, reading: Reading) -> bool:
        truth = row["truth"]
        if not isinstance(reading.value, Scores) or reading.value.partial or len(reading.value.values) != len(truth):
            return False
        values = reading.value.values
        if len(truth) == 1:
            return values[0] == truth[0]
        best = max(truth)
        others = [v for v, t in zip(values, truth) if t < best]
        return min(v for v, t in zip(values, truth) if t == best) > max(others)

    def shown(row: Row) -> int:
        truth = row.get("truth")
        if not truth or (len(truth) > 1 and min(truth) == max(truth)):
            raise ValueError(f"a row needs truth, one number per response with a best one, not {truth!r}")
        return len(truth)

    return _parsed("scores", prompt, opens_think, shown, right)


def random_reward(seed: int, inner: Rule | None = None) -> Rule:
    """The control that teaches nothing: +1 or -1 by a hash of (seed, row, position of the text in the call).

    `inner` only lends its states (for the shares of unparsed and truncated texts); without it every text is "read".
    A recipe with truncated "wrong" makes a cut text worth -1 here too: length is then the one thing that is rewarded.
    """

    def reward(rows: Sequence[Row], texts: Sequence[str], finishes: Sequence[str]) -> list[Outcome]:
        states = [o.state for o in inner(rows, texts, finishes)] if inner else [State.READ] * len(texts)
        signs = [int(digest("random reward", seed, row.get("prompt"), i), 16) % 2 for i, row in enumerate(rows)]
        return [Outcome(2.0 * sign - 1.0, state) for sign, state in zip(signs, states)]

    return Rule(f"random {seed}, states of {inner.id if inner else 'none'}", reward)


def _parsed(
    kind: str,
    prompt: Prompt,
    opens_think: bool | None,
    shown: Callable[[Row], int],
    right: Callable[[Row, Reading], bool],
) -> Rule:
    opens = prompt.opens_think if opens_think is None else opens_think

    def reward(rows: Sequence[Row], texts: Sequence[str], finishes: Sequence[str]) -> list[Outcome]:
        out = []
        for row, text, finish in zip(rows, texts, finishes, strict=True):
            reading = parse(prompt.parser, text, finish, opens_think=opens, n=shown(row))
            out.append(Outcome(1.0 if right(row, reading) else -1.0, reading.state))
        return out

    return Rule(f"{kind} of {prompt.id}, {'in' if opens else 'no'} open <think>", reward)
