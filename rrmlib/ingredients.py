"""What a model of the lab can be made with: data and their options, rewards, and which of them go with which format.

Functions are named by address, so that reading a lab.yaml imports neither the world nor torch; a callable will do as
well. `check` refuses, before anything is trained, what would only fail, or mean something else, hours later.

Left out: the functions (`world/data.py`, `world/distil.py`, `rewards.py`), the recipes' own fields (`train/recipe.py`).

    DATA["mine"] = "my_package.data:rows"            # a data function of your own: Context -> (rows, valid) or Data
    OPTIONS["mine"] = {"share": SHARE}
    check("rl", {"lists": 0.3}, load_prompt("grm_compact"), "scores")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rrmlib.prompt import Prompt

Named = str | Callable[..., Any]
DATA: dict[str, Named] = {  # data -> f(Context) -> (rows, valid) or Data
    "text": "rrmlib.world.data:text",
    "rl": "rrmlib.world.data:rl",
    "verdicts": "rrmlib.world.data:verdicts",
    "pairs": "rrmlib.world.data:pairs",
    "distilled": "rrmlib.world.distil:distilled",
    "rft": "rrmlib.world.data:rft",
    "meta": "rrmlib.world.data:meta",
    "solutions": "rrmlib.world.data:solutions",
    "own_right": "rrmlib.world.data:own_right",
}
REWARDS: dict[str, Named] = {  # reward -> f(prompt) -> what `fit` takes as reward; random: f(seed, whose states)
    "verdict": "rrmlib.rewards:verdict_reward",
    "scores": "rrmlib.rewards:scores_reward",
    "random": "rrmlib.rewards:random_reward",
}


@dataclass(frozen=True)
class Value:
    """What an option may be: the words for it, and whether a value is that."""

    words: str
    fits: Callable[[Any], bool]


COUNT = Value("a whole number of 1 or more", lambda v: type(v) is int and v >= 1)
SHARE = Value("a share, 0 to 1", lambda v: type(v) in (int, float) and 0 <= v <= 1)
NOISE = Value("a share of flipped labels, 0 to 0.5", lambda v: type(v) in (int, float) and 0 <= v <= 0.5)
FLAG = Value("true or false", lambda v: type(v) is bool)
SHARES = Value("a mapping of kinds of documents to shares", lambda v: isinstance(v, dict) and bool(v))
DRAW = Value("a mapping: how an engine draws", lambda v: isinstance(v, dict))
ORACLE = Value("a model's address, or a mapping", lambda v: isinstance(v, str | dict))
FILTER = Value("corrected, dropped or random", lambda v: v in ("corrected", "dropped", "random"))
OPTIONS: dict[str, Mapping[str, Value]] = {  # data -> the options that its function reads; any other is refused
    "text": {"documents": COUNT, "kinds": SHARES},
    "rl": {"lists": SHARE, "noise": NOISE, "thinking": FLAG},
    "verdicts": {"noise": NOISE},
    "pairs": {"noise": NOISE},
    "distilled": {"n": COUNT, "filter": FILTER, "traces": FLAG, "first": ORACLE, "second": ORACLE},
    "rft": {
        "n": COUNT,
        "lists": SHARE,
        "samples": COUNT,
        "plain": FLAG,
        "hinted": FLAG,
        "reject": FLAG,
        "draw": DRAW,
    },
    "meta": {"samples": COUNT, "draw": DRAW},
    "solutions": {"documents": COUNT},
    "own_right": {"n": COUNT, "noise": NOISE, "draw": DRAW},
}
# data -> the kinds of prompt it can be rendered with; what is not named here needs no format
KINDS = {
    "rl": ("pair", "list"),
    "verdicts": ("pair",),
    "distilled": ("pair",),
    "rft": ("list", "pair"),
    "meta": ("list", "pair"),
    "own_right": ("pair",),
}
_OF_REWARD = {"verdict": "pair", "scores": "list"}


def check(data: str, options: Mapping[str, Any], prompt: Prompt | None, reward: str = "") -> None:
    """Raises ValueError, in one line, for an option that `data` does not have or a value it cannot be, and for a format
    that does not go with data, option or reward. Data of one's own that states no options may have any."""
    known = OPTIONS.get(data, {})
    for option, value in options.items() if data in OPTIONS else ():
        if option not in known:
            raise ValueError(f"data: {data} has no option {option!r}; it has: {', '.join(known)}")
        if not known[option].fits(value):
            raise ValueError(f"data: {option}: expected {known[option].words}, found {value!r:.60}")
    if data not in KINDS:
        return
    if prompt is None:
        raise ValueError(f"data {data} needs a format")
    mine = f"{prompt.name} is of kind {prompt.kind}"
    if prompt.kind not in KINDS[data]:
        raise ValueError(f"data {data} takes a format of kind {' or '.join(KINDS[data])}; {mine}")
    if "lists" in options and prompt.kind != "list":
        raise ValueError(f"data: lists: only a format of kind list shows them; {mine}")
    if prompt.kind != _OF_REWARD.get(reward, prompt.kind):
        raise ValueError(f"reward {reward} takes a format of kind {_OF_REWARD[reward]}; {mine}")
