"""The laptop lab: which models there are, what each is made from, and that each is made once.

`params/<profile>/lab.yaml` names the world, the models and the judges. A model is a recipe of `rrmlib.train`, with what
is ours: `from` (the model it starts from), `of` (one or more models that its data are made with), `data` (a name, or
{name: ..., option: ...}), `format` (of its prompts), `reward` (a name; all names: `ingredients.py`), `note` (for its
card).

    world: {noise: 0.0}                                   # goes to rrmlib.world.data.splits; valid and test stay clean
    models:
      base-s: {recipe: pretrain, size: s, data: text, steps: 4000, ...}
      rrm-s: {recipe: grpo, from: base-s, format: rrm_compact, data: rl, reward: verdict, steps: 100, ...}
    judges:                                               # judge specs; put to `split` (test), all of it or `limit`
      - {name: rrm-s, engine: qwen2, model: "lab:rrm-s", format: rrm_compact, samples: 4, temperature: 1.0}

All lies in runs/<profile>/seed<k>/: world/<split>.jsonl, models/<name>/, judged/<name>/; each is an artefact with a
key (`rrmlib.artefact`), so a second run makes nothing, and what stood there stays until its successor is whole. What
another profile made from just the same is copied. What
the judges said is in the profile's trace store, under benchmark `Lab.benchmark(split)`.

Left out: the world (`world/`), training itself (`train/`), where else a model may come from (`origins.py`), which runs
at once (the Snakefile).

    lab = load("laptop", seed=0)
    train(lab, "rrm-s")                                   # its parents first
    judge(lab, "rrm-s")
    judgments = judged(lab, "rrm-s")
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rrmlib import artefact
from rrmlib.allocator import keep
from rrmlib.artefact import root, say
from rrmlib.benchmarks.pairs import from_row, to_row
from rrmlib.comparison import Item
from rrmlib.engines.base import digest
from rrmlib.ingredients import DATA, REWARDS, Named, check
from rrmlib.judgment import Judgment
from rrmlib.origins import copied, elsewhere, outside, outside_id, recast, shipped
from rrmlib.params import PLAIN, SHIPPED, JudgeSpec, ParameterError, lab_address, lab_place, load_yaml
from rrmlib.prompt import FOLDER as PROMPTS
from rrmlib.prompt import Prompt, load_prompt

OURS = ("from", "of", "data", "format", "reward", "note")


class Data(NamedTuple):
    """What a model is trained on: rows and validation rows in the shape that its recipe takes, what to say of them on
    its card, and the tokens that were drawn to make them, by the model folder that read and wrote them."""

    rows: Sequence[Mapping[str, Any]]
    valid: Sequence[Mapping[str, Any]] = ()
    note: str = ""
    drawn: Mapping[Path, int] = MappingProxyType({})


WORLD: Named = "rrmlib.world.data:splits"  # f(settings, seed) -> {split: comparisons or candidate sets}
SPLITS: dict[str, Named] = {  # further splits, f() -> items: only judged, so no model's key knows them
    "candidates": "rrmlib.world.candidates:candidates",
    "candidate-pairs": "rrmlib.world.candidates:pairs",
    "valid-lists": "rrmlib.world.candidates:valid_lists",
}
TOKENIZER: Named = "rrmlib.world.text:tokenizer"  # f() -> the tokenizer of a model that has no parent
FIT: Named = "rrmlib.train.fit:fit"
TRAINERS: Named = "rrmlib.train.fit:TRAINERS"  # kind of recipe -> the module that trains it
PARSE: Named = "rrmlib.train.recipe:parse"


@dataclass(frozen=True)
class Model:
    """One entry of `models`. `recipe` is what `rrmlib.train` reads; the rest is ours. `parent` and `of` name models of
    the same file; `parent` may be path:DIR or hf:ORG/NAME@REVISION."""

    name: str
    recipe: Mapping[str, Any]
    parent: str = ""
    of: tuple[str, ...] = ()
    data: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    format: str = ""
    reward: str = ""
    note: str = ""

    @property
    def parents(self) -> tuple[str, ...]:
        """The models of the same file that must be there first."""
        return tuple(name for name in (self.parent, *self.of) if name and ":" not in name)

    @property
    def first(self) -> bool:
        """Made from text alone: it is told nothing of the world's settings and sees no comparisons, so that labs that
        differ in those share it."""
        return self.recipe["recipe"] == "pretrain"


@dataclass(frozen=True)
class Judged:
    """One entry of `judges`: a spec, put to the items of a split (the first `limit`, 0: all)."""

    spec: JudgeSpec
    split: str = "test"
    limit: int = 0


@dataclass(frozen=True)
class Lab:
    """A lab.yaml, checked, for one seed. `folder` is runs/<profile>/seed<k>."""

    profile: str
    seed: int
    file: Path
    folder: Path
    threads: int
    world: Mapping[str, Any]
    models: Mapping[str, Model]
    judges: Mapping[str, Judged]

    def path(self, name: str) -> Path:
        return self.folder / "models" / self._model(name).name

    def benchmark(self, split: str) -> str:
        """The name under which judgments of this world's split are in the profile's store; another world, another."""
        return f"lab-{split}-seed{self.seed}-{self.world_key[:8]}"

    def ancestors(self, name: str) -> list[str]:
        """The models that `name` is made from, each after its own parents."""
        found: list[str] = []
        for parent in self._model(name).parents:
            found += [each for each in (*self.ancestors(parent), parent) if each not in found]
        return found

    @cached_property
    def world_key(self) -> str:
        return artefact.key(self.world, data={"seed": self.seed, "code": _code(WORLD)})

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {}

    def key(self, name: str) -> str:
        """What `name` is made from, as one digest: recipe, parents' keys, world, seed, prompts, and the code. Of the
        trainers only its own counts: a change of one leaves the models of the others as they are."""
        if name not in self._keys:
            model = self._model(name)
            recipe = dict(model.recipe) | {"data": model.data, "options": model.options, "reward": model.reward}
            stated = {"from": model.parent} | {f"of {i}": who for i, who in enumerate(model.of)}
            parents = {role: (outside_id if ":" in who else self.key)(who) for role, who in stated.items() if who}
            trainer, reward = _load(TRAINERS)[recipe["recipe"]], REWARDS[model.reward] if model.reward else ""
            code = _code(FIT, trainer, DATA[model.data], WORLD, reward, TOKENIZER)
            data = {"world": {} if model.first else self.world, "seed": self.seed, "code": code}
            data["format"] = _prompt_id(model.format)
            self._keys[name] = artefact.key(recipe, parents, data=data)
        return self._keys[name]

    def judged_key(self, name: str) -> str:
        entry = self.judge(name)
        what = entry.spec.model_dump(mode="json") | {"split": entry.split, "limit": entry.limit}
        model = self.judge_model(name)
        code = artefact.library(["rrmlib.judge"])
        made = {"split": _code(SPLITS[entry.split])} if entry.split in SPLITS else {}
        data = made | {"world": self.world_key, "prompt": _prompt_id(entry.spec.format)}
        return artefact.key(what, {model: self.key(model)} if model else {}, code, data)

    def mark(self, name: str) -> Path:
        """The file that is there once the model is made, and made from what it is made from now."""
        return artefact.mark(self.path(name), self.key(name))

    def world_mark(self) -> Path:
        return artefact.mark(self.folder / "world", self.world_key)

    def judged_mark(self, name: str) -> Path:
        return artefact.mark(self.folder / "judged" / name, self.judged_key(name))

    def judge_model(self, name: str) -> str:
        """The model of this lab that a judge uses; empty for any other."""
        entry = self.judge(name)
        if not entry.spec.model.startswith("lab:"):
            return ""
        model, profile, seed = lab_place(entry.spec.model)
        if (profile, seed) != (self.profile, self.seed):
            raise ParameterError(f"{self.file}: judge {entry.spec.name!r}: {entry.spec.model} is of another profile")
        return self._model(model).name

    def _model(self, name: str) -> Model:
        if name not in self.models:
            raise ParameterError(f"{self.file}: no model {name!r}; there are: {', '.join(self.models) or 'none'}")
        return self.models[name]

    def judge(self, name: str) -> Judged:
        if name not in self.judges:
            raise ParameterError(f"{self.file}: no judge {name!r}; there are: {', '.join(self.judges) or 'none'}")
        return self.judges[name]


@dataclass(frozen=True)
class Context:
    """What a function of `DATA` or `REWARDS` is told: the model to be made, the world, and the folders of its parents.

    `prompt` is that of the model's `format`, `options` are those of its `data`. `parent` and `of` are model folders.
    """

    model: Model
    seed: int
    world: Mapping[str, Any]
    splits: Callable[[], Mapping[str, Sequence[Item]]]
    parent: Path | None
    of: Sequence[Path]
    prompt: Prompt | None
    log: Callable[[str], Any]

    @property
    def options(self) -> Mapping[str, Any]:
        return self.model.options

    @cached_property
    def items(self) -> Mapping[str, Sequence[Item]]:
        """The world's splits. What is trained on must not be "test"."""
        return self.splits()


# ---------------------------------------------------------------------------------------------------------------
# Reading lab.yaml


def load(profile: str, seed: int = 0) -> Lab:
    """params/<profile>/lab.yaml for one seed. Raises ParameterError, in one line that names file and model."""
    if not re.fullmatch(PLAIN, profile):
        raise ParameterError(f"profile {profile!r} is not a plain name")
    file = root() / "params" / profile / "lab.yaml"
    if not file.is_file():
        raise ParameterError(f"profile {profile!r} has no lab: there is no {file}")
    stated = _mapping(load_yaml(file), str(file), ("world", "models", "judges"))
    world = _mapping(stated.get("world"), f"{file}: world")
    models = {}
    for name, values in _mapping(stated.get("models"), f"{file}: models").items():
        models[name] = _read_model(name, _mapping(values, f"{file}: model {name!r}"), f"{file}: model {name!r}")
    for model in models.values():
        for parent in model.parents:
            if parent not in models:
                raise ParameterError(f"{file}: model {model.name!r} is made from {parent!r}, which is not there")
        if world.get("noise") and model.options.get("noise"):
            raise ParameterError(
                f"{file}: model {model.name!r}: noise of the world and of the data flip the same labels; state one"
            )
    try:
        tuple(TopologicalSorter({name: model.parents for name, model in models.items()}).static_order())
    except CycleError as e:
        raise ParameterError(f"{file}: models are made from each other: {' <- '.join(e.args[1])}") from None
    judges = [_read_judge(j, f"{file}: judges[{i}]", profile, seed) for i, j in enumerate(stated.get("judges") or ())]
    names = [j.spec.name for j in judges]
    if len(set(names)) != len(names):
        raise ParameterError(f"{file}: two judges share a name: {', '.join(names)}")
    threads = (load_yaml(file.with_name("profile.yaml")) or {}).get("threads", 1)
    folder = root() / "runs" / profile / f"seed{seed}"
    lab = Lab(profile, seed, file, folder, threads, world, models, dict(zip(names, judges)))
    for name in names:
        lab.judge_model(name)  # raises where there is none
    return lab


def _mapping(value: Any, where: str, known: Sequence[str] = ()) -> dict[str, Any]:
    if value is not None and not (isinstance(value, dict) and all(isinstance(name, str) for name in value)):
        raise ParameterError(f"{where}: expected a mapping of names, found {value!r:.60}")
    for name in value or ():
        if known and name not in known:
            raise ParameterError(f"{where}: unknown key {name!r}; known: {', '.join(known)}")
    return dict(value or {})


def _read_model(name: str, values: dict[str, Any], where: str) -> Model:
    if not re.fullmatch(PLAIN, name):
        raise ParameterError(f"{where}: a model's name is letters, digits, '.', '_' and '-'")
    ours = {key: values.pop(key) for key in OURS if key in values}
    options: dict[str, Any] = {}
    if isinstance(ours.get("data"), dict):
        options = dict(ours["data"])
        ours["data"] = options.pop("name", None)
    of = ours.pop("of", [])
    of = of if isinstance(of, list) else [of]
    for key, value in (*ours.items(), *(("of", each) for each in of)):
        if not isinstance(value, str):
            raise ParameterError(f"{where}: {key}: expected text, found {value!r:.60}")
    for key, names in (("data", DATA), ("reward", REWARDS)):
        if key in ours and ours[key] not in names:
            raise ParameterError(f"{where}: {key}: unknown {ours[key]!r}; known: {', '.join(names)}")
    try:
        prompt = load_prompt(ours["format"]) if "format" in ours else None
        _load(PARSE)(values)
        wants = {"data": True, "from": values["recipe"] != "pretrain", "reward": values["recipe"] == "grpo"}
        for key, wanted in wants.items():
            if (key in ours) != wanted:
                raise ValueError(f"recipe {values['recipe']} {'needs' if wanted else 'takes no'} {key!r}")
        check(ours["data"], options, prompt, ours.get("reward", ""))
    except ValueError as e:
        raise ParameterError(f"{where}: {e}") from None
    return Model(name, values, parent=ours.pop("from", ""), of=tuple(of), options=options, **ours)


def _read_judge(values: Any, where: str, profile: str, seed: int) -> Judged:
    values = _mapping(values, where)
    rest = {key: values.pop(key) for key in ("split", "limit") if key in values}
    spec = JudgeSpec.parse({"engine": "qwen2", **values}, where)
    if not re.fullmatch(PLAIN, spec.name):
        raise ParameterError(f"{where}: name {spec.name!r}: a lab judge's name is letters, digits, '.', '_' and '-'")
    if type(limit := rest.get("limit", 0)) is not int or limit < 0 or not isinstance(rest.get("split", ""), str):
        raise ParameterError(f"{where}: split is a name and limit a whole number of 0 (all) or more")
    return Judged(spec.model_copy(update={"model": lab_address(spec.model, profile, seed)}), **rest)


def _load(named: Named) -> Any:
    """What is behind an address "module:name"; a callable is its own."""
    if not isinstance(named, str):
        return named
    module, _, function = named.partition(":")
    return getattr(import_module(module), function)


@lru_cache(maxsize=64)
def _code(*named: Named) -> str:
    """One digest of what the modules of these functions, or named as such, do and read; this one, which only calls
    them, left out. Of a module that is not the library's its own file counts, not what that imports."""
    modules = {(n if isinstance(n, str) else f"{n.__module__}:").partition(":")[0] for n in named if n}
    ours = {m for m in modules if m.startswith("rrmlib.")}
    files = artefact.library(ours, without={"rrmlib.lab"})
    world = [file for kind in ("*.json", "*.gz") for file in (Path(__file__).parent / "world").glob(kind)]
    found = artefact.sources_digest([*files, *world, *PROMPTS.glob("*_compact.v*.toml"), *PROMPTS.glob("*.txt")])
    theirs = [getattr(import_module(name), "__file__", None) for name in sorted(modules - ours)]
    return digest(found, *(Path(file).read_text("utf-8") for file in theirs if file)) if theirs else found


def _prompt_id(name: str) -> str:
    try:
        return load_prompt(name).id if name else ""
    except ValueError as e:
        raise ParameterError(str(e)) from None


def marker(address: str) -> Path:
    """What a reader of a lab model depends on: the file that names its key, relative to the checkout (it need not be
    there yet), or the shipped folder where the profile has no such model. Raises ParameterError."""
    name, profile, seed = lab_place(address)
    if name in SHIPPED and not (root() / "params" / profile / "lab.yaml").is_file():
        return SHIPPED[name]
    return load(profile, seed).mark(name).relative_to(root())


# ---------------------------------------------------------------------------------------------------------------
# Making


def fresh_asked() -> bool:
    """Whether RRM_FRESH asks to make everything from nothing (`make figures FRESH=1`)."""
    return os.environ.get("RRM_FRESH", "") not in ("", "0")


def world(lab: Lab, *, fresh: bool = False, log: Callable[[str], Any] = say) -> Path:
    """The folder of the world's splits, <split>.jsonl each (comparisons as benchmark `pairs` reads them), and
    sha256.json. Made where it is not there."""

    def build(folder: Path) -> None:
        folder.mkdir(parents=True)
        hashes = {}
        for split, items in _load(WORLD)(lab.world, lab.seed).items():
            raw = "".join(json.dumps(to_row(item), ensure_ascii=True) + "\n" for item in items).encode()
            (folder / f"{split}.jsonl").write_bytes(raw)
            hashes[split] = {"n": len(items), "sha256": hashlib.sha256(raw).hexdigest()}
        (folder / "sha256.json").write_text(json.dumps(hashes, indent=1) + "\n", "utf-8")

    return artefact.ensure(lab.folder / "world", lab.world_key, build, force=fresh, log=log)


def items(lab: Lab, split: str) -> list[Item]:
    """The items of one split, from the world's folder or made (`SPLITS`). Raises ParameterError for an unknown one."""
    file = world(lab) / f"{split}.jsonl"
    if not file.is_file() and split in SPLITS:
        return list(_load(SPLITS[split])())
    if not file.is_file():
        there = ", ".join([*sorted(path.stem for path in file.parent.glob("*.jsonl")), *SPLITS])
        raise ParameterError(f"{lab.file}: the world has no split {split!r}; there are: {there}")
    return [from_row(json.loads(line)) for line in file.read_text("ascii").splitlines()]


def splits(lab: Lab) -> dict[str, list[Item]]:
    """All splits of the lab's world."""
    return {file.stem: items(lab, file.stem) for file in sorted(world(lab).glob("*.jsonl"))}


def train(lab: Lab, name: str, *, fresh: bool = False, log: Callable[[str], Any] = say) -> Path:
    """The model's folder, made where it is not there, after its parents.

    What another profile made from the same is copied. `fresh` makes this model again even if it is there, from nothing,
    and takes none that came with the library or is elsewhere, neither for it nor for its ancestors. Raises
    ParameterError, and what training raises.
    """
    for each in lab.ancestors(name):
        force = fresh and bool(artefact.about(lab.path(each)).get("copied"))
        _make(lab, each, fresh=fresh, force=force, log=log)
    return _make(lab, name, fresh=fresh, force=fresh, log=log)


def _make(lab: Lab, name: str, *, fresh: bool, force: bool, log: Callable[[str], Any]) -> Path:
    model, library = lab.models[name], None if fresh else shipped(lab, name)
    note = {"name": name, "recipe": dict(model.recipe), "seed": lab.seed, "shipped": library is not None}

    def build(folder: Path) -> None:
        ready = library or (None if fresh else elsewhere(lab, name))
        note["copied"] = ready is not None and copied(ready, folder, lab.key(name))
        if note["copied"]:
            source = "came with the library" if library else f"copied from {ready}"
            log(f"{name}: {source} (RRM_FRESH=1 or --fresh trains it)")
            if library:
                recast(folder, "float32")
            return
        log(f"{name}: {model.recipe['recipe']}{' from ' + model.parent if model.parent else ''}")
        _settle(lab)
        parent = (outside if ":" in model.parent else lab.path)(model.parent) if model.parent else None
        context = Context(
            model=model,
            seed=lab.seed,
            world={} if model.first else lab.world,
            splits=lambda: {} if model.first else splits(lab),
            parent=parent,
            of=[lab.path(each) for each in model.of],
            prompt=load_prompt(model.format) if model.format else None,
            log=log,
        )
        data = Data(*_load(DATA[model.data])(context))
        _load(FIT)(
            _load(PARSE)(dict(model.recipe)),
            rows=data.rows,
            valid=data.valid,
            parent=parent,
            out=folder,
            seed=lab.seed,
            reward=_reward(context) if model.reward else None,
            name=name,
            note=" ".join(text for text in (model.note, data.note) if text),
            drawn=data.drawn,
            log=log,
            **({} if parent else {"tokenizer": _load(TOKENIZER)()}),
        )
        if name in SHIPPED:  # what is shipped is float16: rounded here too, all that grows from either is the same
            recast(folder, "float16")
            recast(folder, "float32")

    return artefact.ensure(lab.path(name), lab.key(name), build, note=note, force=force, log=log)


def _reward(c: Context) -> Any:
    """The reward function for `fit`. The random control says how texts read as its format's own reward would."""
    kind = c.model.reward
    if kind == "random":
        kind = "scores" if c.prompt and c.prompt.kind == "list" else "verdict"
    # Option `thinking` of the data decides whether the rendered prompt ends in an open <think>.
    read = _load(REWARDS[kind])(c.prompt, opens_think=c.options.get("thinking"))
    return read if kind == c.model.reward else _load(REWARDS["random"])(c.seed, read)


def judge(lab: Lab, name: str, *, fresh: bool = False, quiet: bool = False, log: Callable[[str], Any] = say) -> Path:
    """Put one judge of lab.yaml to its split; texts and readings go to the profile's store, a summary to the folder
    that is returned. What the store holds is not generated again, `fresh` or not."""
    from rrmlib.judge import open_judge, run
    from rrmlib.store import Store

    entry = lab.judge(name)
    made = lab.judged_mark(name).is_file() and not fresh
    shown = [] if made else put_to(lab, name)  # now: an unknown split is found before anything is trained
    if model := lab.judge_model(name):
        train(lab, model, log=log)

    def build(folder: Path) -> None:
        _settle(lab)
        opened = open_judge(entry.spec)
        try:
            with Store(store(lab)) as texts:
                done = run(opened, shown, texts, benchmark=lab.benchmark(entry.split), quiet=quiet)
        finally:
            opened.engine.close()
        log(f"{name}: {done.summary()}")
        folder.mkdir(parents=True)
        summary = {
            "judge": name,
            "model_id": opened.engine.model_id,
            "items": len(shown),
            "states": Counter(str(judgment.state) for judgment in done.judgments),
            "generated": done.generated,
            "tokens": done.tokens,
            "seconds": round(done.seconds, 1),
            "warnings": done.warnings,
        }
        (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")

    return artefact.ensure(lab.folder / "judged" / name, lab.judged_key(name), build, force=fresh, log=log)


def judged(lab: Lab, name: str) -> list[Judgment]:
    """What a judge said, from the store. Raises ParameterError as `need_judged`."""
    from rrmlib.store import Store

    need_judged(lab, [name])
    entry = lab.judge(name)
    with Store(store(lab), readonly=True) as texts:
        said = texts.judgments(judge=name, benchmark=lab.benchmark(entry.split))
    if not entry.limit:
        return said
    # With another limit before, it was asked more: what is beyond this one is of a judge of then.
    asked = {item.id for item in put_to(lab, name)}
    return [judgment for judgment in said if judgment.item in asked]


def need_judged(lab: Lab, names: Sequence[str]) -> None:
    """Raises ParameterError, with the commands, for those of these judges that were not asked what they are to judge
    now, and for one that is not there."""
    if missing := [name for name in dict.fromkeys(names) if not lab.judged_mark(name).is_file()]:
        raise ParameterError(
            f"{lab.profile}, seed {lab.seed}: not asked yet what they are to judge now: {', '.join(missing)}; "
            f"make figures PROFILE={lab.profile} NOTEBOOKS=... asks whom a notebook needs, or: "
            f"rrm lab judge {' '.join(missing)} --profile {lab.profile} --seed {lab.seed}"
        )


def put_to(lab: Lab, name: str) -> list[Item]:
    """The items that a judge is asked: of its split, up to its limit."""
    entry = lab.judge(name)
    return items(lab, entry.split)[: entry.limit or None]


def store(lab: Lab) -> Path:
    """The profile's trace store, one for all seeds."""
    return lab.folder.parent / "traces.sqlite"


def _settle(lab: Lab) -> None:
    """This process as the lab's work wants it: so many threads, and freed memory kept."""
    import torch

    torch.set_num_threads(lab.threads)
    keep()
