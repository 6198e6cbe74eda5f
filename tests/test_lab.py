"""The lab makes each model once, from what lab.yaml says, and lets its judges judge; here with a fake world and fit."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rrmlib import artefact, ingredients, lab, origins, params
from rrmlib.__main__ import main, overview
from rrmlib.benchmarks import benchmark
from rrmlib.comparison import CandidateSet, Comparison, Message, ask
from rrmlib.judge import open_engine
from rrmlib.params import JudgeSpec, ParameterError, lab_address, lab_folder
from rrmlib.prompt import load_prompt
from rrmlib.run import inputs
from rrmlib.score import evaluate, known
from rrmlib.store import Store
from rrmlib.tiny import build
from rrmlib.world import distil

ROOT = Path(__file__).parents[1]
SFT = {"recipe": "sft", "from": "base-s", "data": "toy", "steps": 1, "batch": 2, "learning_rate": 0.1}
STATED = {
    "world": {"n": 3},
    "models": {
        "tuned": SFT,
        "base-s": {"recipe": "pretrain", "data": "toy", "steps": 1, "batch": 2, "learning_rate": 0.1},
        "meta": {**SFT, "recipe": "meta", "from": "base-s", "of": "tuned", "data": {"name": "toy", "share": 0.5}},
        "rrm": {
            **{"recipe": "grpo", "from": "tuned", "format": "rrm_compact", "data": "toy", "reward": "verdict"},
            **{"steps": 1, "prompts": 2, "samples": 2, "max_tokens": 4, "learning_rate": 0.1},
        },
    },
    "judges": [{"name": "tuned", "model": "lab:tuned", "format": "direct_compact", "max_tokens": 3}],
}


class Fakes:
    """A world of n comparisons, and a `fit` that copies a tiny model and remembers what it was asked."""

    def __init__(self, folder: Path):
        self.asked: list[dict] = []
        self.model = build(folder / "tiny", "test")
        self.fail: BaseException | None = None

    def splits(self, settings, seed):
        rows = [
            Comparison(id=f"q{i}", query=ask(f"{i} + {seed} = ?"), first="a", second="b", source="me", difficulty="2")
            for i in range(4)
        ]
        more = CandidateSet(id="c", query=(Message("system", "s"), *ask("?")), responses=("x", "y"), truth=(1.0, 0.0))
        return {"train": [r for r in rows[:2]], "test": rows[: settings["n"]], "candidates": [more]}

    def data(self, context):
        self.context = context
        return [{"prompt": item.id, "completion": "x"} for item in context.items.get("train", ())], []

    def fit(self, recipe, *, out, **given):
        self.asked.append({"recipe": recipe, **given})
        work = out.with_name(f"{out.name}.work")
        work.mkdir(exist_ok=True)
        if self.fail:
            out.mkdir()
            raise self.fail
        shutil.copytree(self.model, out)
        work.rmdir()
        return out


@pytest.fixture
def fakes(tmp_path, monkeypatch) -> Fakes:
    found = Fakes(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params" / "p").mkdir(parents=True)
    (tmp_path / "params" / "p" / "profile.yaml").write_text("threads: 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "WORLD", found.splits)
    monkeypatch.setattr(lab, "FIT", found.fit)
    monkeypatch.setattr(lab, "TOKENIZER", lambda: "a tokenizer")
    monkeypatch.setitem(lab.DATA, "toy", found.data)
    monkeypatch.setitem(ingredients.OPTIONS, "toy", {"share": ingredients.SHARE, "noise": ingredients.NOISE})
    monkeypatch.setitem(params.SHIPPED, "base-s", tmp_path / "library" / "base-s")
    monkeypatch.delenv("RRM_FRESH", raising=False)
    write(STATED)
    return found


def write(stated: dict) -> None:
    Path("params/p/lab.yaml").write_text(yaml.safe_dump(stated, sort_keys=False))


def changed(name: str, **values: object) -> lab.Lab:
    write(STATED | {"models": STATED["models"] | {name: STATED["models"][name] | values}})
    return lab.load("p")


def test_a_model_is_made_once_after_its_parents(fakes):
    there = lab.load("p", seed=3)
    folder = lab.train(there, "rrm")
    assert folder == Path.cwd() / "runs/p/seed3/models/rrm"
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "tuned", "rrm"]
    base, tuned, rrm = fakes.asked
    assert base["parent"] is None
    assert base["tokenizer"] == "a tokenizer"
    assert tuned["parent"] == there.path("base-s")
    assert rrm["seed"] == 3
    assert [o.reward for o in rrm["reward"]([{"label": "first"}], ["\\boxed{Assistant 1}"], ["stop"])] == [1.0]
    assert there.mark("rrm").is_file()
    lab.train(lab.load("p", seed=3), "rrm", log=pytest.fail)
    assert len(fakes.asked) == 3


def test_training_and_judging_keep_freed_memory(fakes, monkeypatch):
    kept = []
    monkeypatch.setattr(lab, "keep", lambda: kept.append(True))
    lab.train(lab.load("p"), "tuned")
    assert len(kept) == 2  # base-s and itself
    lab.judge(lab.load("p"), "tuned", quiet=True, log=lambda _: None)
    assert len(kept) == 3


def test_what_a_data_function_is_told(fakes):
    there = lab.load("p")
    lab.train(there, "meta")
    told = fakes.context
    assert told.of == [there.path("tuned")]
    assert told.options == {"share": 0.5}
    assert told.world == {"n": 3}
    assert [item.id for item in told.items["test"]] == ["q0", "q1", "q2"]
    assert fakes.asked[-1]["rows"] == [{"prompt": "q0", "completion": "x"}, {"prompt": "q1", "completion": "x"}]


def test_the_key_is_what_a_model_is_made_from_and_nothing_else(fakes):
    before = lab.load("p")
    after = changed("tuned", steps=2)
    assert after.key("base-s") == before.key("base-s")
    assert {name: after.key(name) != before.key(name) for name in ("tuned", "rrm", "meta")} == dict.fromkeys(
        ("tuned", "rrm", "meta"), True
    )
    assert changed("tuned", note="for the card").key("rrm") == before.key("rrm")
    assert changed("rrm", reward="random").key("rrm") != before.key("rrm")
    assert changed("rrm", format="direct_compact").key("rrm") != before.key("rrm")
    assert changed("meta", data={"name": "toy", "share": 0.6}).key("meta") != before.key("meta")
    assert lab.load("p", seed=1).key("base-s") != before.key("base-s")
    write(STATED | {"world": {"n": 2}})
    assert lab.load("p").key("base-s") == before.key("base-s"), "a base sees text, no comparisons"
    assert lab.load("p").key("tuned") != before.key("tuned")


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("train/grpo.py", {"rrm"}),
        ("rewards.py", {"rrm"}),
        ("train/heads.py", {"meta"}),
        ("train/sft.py", {"base-s", "tuned", "meta", "rrm", "outside"}),
        ("train/pretrain.py", {"base-s", "tuned", "meta", "rrm"}),
        ("train/fit.py", {"base-s", "tuned", "meta", "rrm", "outside"}),
    ],
)
def test_a_changed_trainer_makes_stale_what_it_trains_and_what_grows_from_that(fakes, monkeypatch, file, stale):
    write(STATED | {"models": STATED["models"] | {"outside": SFT | {"from": f"path:{fakes.model}"}}})
    monkeypatch.setattr(lab, "FIT", "rrmlib.train.fit:fit")
    monkeypatch.setattr(lab, "_code", lab._code.__wrapped__)  # which remembers
    real, touched = artefact._sha256, (ROOT / "rrmlib" / file).read_bytes()
    before = lab.load("p")
    keys = {name: before.key(name) for name in before.models}
    monkeypatch.setattr(artefact, "_sha256", lambda raw, code: "other" if raw == touched else real(raw, code))
    after = lab.load("p")
    assert {name for name in keys if after.key(name) != keys[name]} == stale


def test_a_failed_training_leaves_the_old_model_and_its_checkpoints(fakes):
    lab.train(lab.load("p"), "tuned")
    there = changed("tuned", steps=2)
    old = sorted(path.name for path in there.path("tuned").iterdir())
    fakes.fail = RuntimeError("loss is NaN at step 1")
    with pytest.raises(RuntimeError, match="NaN"):
        lab.train(there, "tuned")
    assert sorted(path.name for path in there.path("tuned").iterdir()) == old
    assert not there.mark("tuned").is_file()
    hidden = [path.name for path in there.path("tuned").parent.glob(".*")]
    assert hidden == [f".tuned.{there.key('tuned')[:16]}.part.work"]
    fakes.fail = None
    lab.train(there, "tuned")
    assert there.mark("tuned").is_file()
    assert not list(there.path("tuned").parent.glob(".*"))


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ({"tuned": SFT}, r"lab\.yaml: model 'tuned' is made from 'base-s', which is not there"),
        ({"a": {**SFT, "from": "b"}, "b": {**SFT, "from": "a"}}, r"lab\.yaml: models are made from each other: "),
        ({"a": {**SFT, "stpes": 1}}, r"lab\.yaml: model 'a': .*stpes"),
        ({"a": {**SFT, "data": "tyo"}}, r"lab\.yaml: model 'a': data: unknown 'tyo'; known: text, "),
        (
            {"a": {**SFT, "data": {"name": "toy", "shrae": 1}}},
            r"model 'a': data: toy has no option 'shrae'; it has: share",
        ),
        ({"a": {**SFT, "data": {"name": "distilled", "noise": 0.1}}}, r"distilled has no option 'noise'; it has: n, "),
        (
            {"a": {**SFT, "data": {"name": "toy", "noise": 1.5}}},
            r"data: noise: expected a share .*found 1.5",
        ),
        ({"a": {**SFT, "data": {"name": "toy", "share": True}}}, r"share: expected a share, 0 to 1, found True"),
        ({"a": {**SFT, "data": "verdicts"}}, r"model 'a': data verdicts needs a format"),
        ({"a": {**SFT, "format": "rmr"}}, r"lab\.yaml: model 'a': unknown prompt 'rmr'"),
        ({"a": {**SFT, "reward": "verdict"}}, r"lab\.yaml: model 'a': recipe sft takes no 'reward'"),
        ({"a": {**SFT, "recipe": "stf"}}, r"lab\.yaml: model 'a': .*'stf'"),
        ({"a": {"recipe": "sft"}}, r"lab\.yaml: model 'a': "),
        ({"a": 3}, r"lab\.yaml: model 'a': expected a mapping"),
        ({"../a": SFT}, r"lab\.yaml: model '\.\./a': a model's name"),
        ({"a": {key: value for key, value in SFT.items() if key != "from"}}, r"model 'a': recipe sft needs 'from'"),
        ({"a": {key: value for key, value in SFT.items() if key != "data"}}, r"model 'a': recipe sft needs 'data'"),
    ],
)
def test_a_wrong_model_is_named_in_one_line(fakes, models, says):
    write({"models": models})
    with pytest.raises(ParameterError, match=says) as e:
        lab.load("p")
    assert "\n" not in str(e.value)


def test_every_data_function_of_the_library_states_its_options():
    assert {*ingredients.KINDS} < {*ingredients.DATA} == {*ingredients.OPTIONS}
    for name in ("world/data.py", "world/distil.py"):
        tree = ast.parse((ROOT / "rrmlib" / name).read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and function.name in ingredients.DATA:
                read = set(re.findall(r"c\.options\.get\(\s*['\"](\w+)", ast.unparse(function)))
                assert read <= {*ingredients.OPTIONS[function.name]}, function.name
    assert all(map(ingredients.FILTER.fits, distil.FILTERS))
    assert ", ".join(distil.FILTERS).replace(", random", " or random") == ingredients.FILTER.words


@pytest.mark.parametrize(
    ("data", "options", "format", "reward", "says"),
    [
        ("rl", {}, "grm_compact", "verdict", "reward verdict takes a format of kind pair; grm_compact is of kind list"),
        ("rl", {}, "rrm_compact", "scores", "reward scores takes a format of kind list"),
        ("rl", {"lists": 0.5}, "rrm_compact", "verdict", "data: lists: only a format of kind list"),
        ("rl", {"lists": 2}, "grm_compact", "scores", "lists: expected a share, 0 to 1, found 2"),
        ("verdicts", {}, "grm_compact", "", "data verdicts takes a format of kind pair; grm_compact"),
        ("distilled", {"n": -5}, "rm_r1_compact", "", "n: expected a whole number of 1 or more, found -5"),
        ("distilled", {"filter": "drop"}, "rm_r1_compact", "", "expected corrected, dropped or random, found 'drop'"),
        ("rft", {"plain": 1}, "grm_compact", "", "plain: expected true or false, found 1"),
        ("own_right", {}, None, "", "data own_right needs a format"),
    ],
)
def test_what_does_not_go_together_is_refused(data, options, format, reward, says):
    with pytest.raises(ValueError, match=says) as e:
        ingredients.check(data, options, load_prompt(format) if format else None, reward)
    assert "\n" not in str(e.value)


def test_ones_own_reward_is_part_of_a_models_key(fakes, monkeypatch, tmp_path):
    """A module of one's own, in the place of the library's: another text of it, another model."""
    keys = [lab.load("p").key("rrm")]
    monkeypatch.syspath_prepend(tmp_path)
    for worth in (1.0, 2.0):
        (tmp_path / "my_reward.py").write_text(f"def reward(prompt, *, opens_think=None):\n    return {worth}\n")
        monkeypatch.setitem(ingredients.REWARDS, "verdict", "my_reward:reward")
        lab._code.cache_clear()
        keys.append(lab.load("p").key("rrm"))
    assert len(set(keys)) == 3


def test_an_unknown_split_is_found_before_anything_is_trained(fakes):
    write(STATED | {"judges": [{**STATED["judges"][0], "split": "tset"}]})
    with pytest.raises(ParameterError, match="no split 'tset'; there are: candidates, test, train"):
        lab.judge(lab.load("p"), "tuned", quiet=True)
    assert not fakes.asked


def test_labels_are_not_flipped_back(fakes):
    noisy = {**SFT, "data": {"name": "toy", "noise": 0.1}}
    write(STATED | {"models": {**STATED["models"], "tuned": noisy}})
    lab.load("p")
    write(STATED | {"world": {"n": 3, "noise": 0.25}, "models": {**STATED["models"], "tuned": noisy}})
    with pytest.raises(ParameterError, match="model 'tuned': noise of the world and of the data"):
        lab.load("p")


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        ({"name": "x", "model": "lab:none"}, "no model 'none'; there are: tuned"),
        ({"name": "x y", "model": "lab:tuned"}, "a lab judge's name"),
        ({"name": "x", "model": "lab:tuned@q/0"}, "of another profile"),
        ({"name": "x", "model": "lab:tuned", "limit": "all"}, "limit a whole number"),
        ({"name": "x", "model": "lab:"}, "expected lab:NAME"),
    ],
)
def test_a_wrong_judge_is_named_too(fakes, judge, says):
    write(STATED | {"judges": [judge]})
    with pytest.raises(ParameterError, match=says):
        lab.load("p")


def test_unknown_names_and_profiles(fakes, capsys):
    with pytest.raises(ParameterError, match=r"no model 'x'; there are: tuned, base-s"):
        lab.train(lab.load("p"), "x")
    with pytest.raises(ParameterError, match="profile 'q' has no lab"):
        lab.load("q")
    write({"modles": {}})
    with pytest.raises(ParameterError, match=r"lab\.yaml: unknown key 'modles'; known: world, models, judges"):
        lab.load("p")


def test_a_judge_is_put_to_the_test_split_and_reads_from_the_store_again(fakes):
    there = lab.load("p")
    lines: list[str] = []
    folder = lab.judge(there, "tuned", quiet=True, log=lines.append)
    assert lines[-1].startswith("tuned: 6 judgments: 6 model calls")
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "tuned"], "its model first"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["items"] == 3
    judgments = lab.judged(there, "tuned")
    assert len(judgments) == 6
    with Store(lab.store(there), readonly=True) as store:
        assert store.judgments(benchmark=there.benchmark("test")) == judgments
    lab.judge(there, "tuned", fresh=True, quiet=True, log=lines.append)
    assert "0 model calls, 6 from the store" in lines[-1]
    again = changed("tuned", steps=2)
    with pytest.raises(ParameterError, match="rrm lab judge tuned --profile p --seed 0"):
        lab.judged(again, "tuned")


def test_what_was_asked_beyond_a_limit_of_now_is_not_read(fakes):
    lab.judge(lab.load("p"), "tuned", quiet=True, log=lambda _: None)
    write(STATED | {"judges": [{**STATED["judges"][0], "limit": 2}]})
    there = lab.load("p")
    lab.judge(there, "tuned", quiet=True, log=lambda _: None)
    assert {judgment.item for judgment in lab.judged(there, "tuned")} == {"q0", "q1"}
    with Store(lab.store(there), readonly=True) as store:
        assert len({judgment.item for judgment in store.judgments(judge="tuned")}) == 3, "texts are kept"


def test_the_worlds_files_are_what_benchmark_pairs_reads(fakes):
    there = lab.load("p")
    folder = lab.world(there)
    splits = fakes.splits(there.world, 0)
    assert lab.items(there, "candidates") == splits["candidates"]
    assert lab.items(there, "test") == splits["test"]
    hashes = json.loads((folder / "sha256.json").read_text())
    assert {name: of["n"] for name, of in hashes.items()} == {"train": 2, "test": 3, "candidates": 1}
    with pytest.raises(ParameterError, match="no split 'tset'; there are: candidates, test, train"):
        lab.items(there, "tset")
    labelled = [json.loads(line) | {"label": "first"} for line in (folder / "test.jsonl").read_text().splitlines()]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labelled))
    assert [item.id for item in benchmark("pairs").load("own.jsonl").items] == ["q0", "q1", "q2"]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def with_shipped_base() -> lab.Lab:
    """A lab that has nothing but what came with the library."""
    there = lab.load("p")
    lab.train(there, "base-s")
    origins.ship(there, "base-s")
    shutil.rmtree("runs")
    return there


def test_what_ships_is_taken_while_its_key_matches_and_is_the_same_as_trained(fakes):
    there = lab.load("p")
    with pytest.raises(ParameterError, match="rrm lab train"):
        origins.ship(there, "base-s")
    trained = weights(lab.train(there, "base-s"))
    folder = origins.ship(there, "base-s")
    assert len(weights(folder)) < 0.6 * len(trained)
    shutil.rmtree("runs")
    lab.train(there, "tuned")
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "tuned"], "the base was copied"
    assert weights(there.path("base-s")) == trained
    assert dict((name, state) for name, *_, state in overview(there))["base-s"] == "shipped"

    other = changed("base-s", steps=2)
    lab.train(other, "base-s")
    assert fakes.asked[-1]["name"] == "base-s"
    assert fakes.asked[-1]["recipe"].steps == 2


def test_fresh_takes_nothing_that_shipped_and_makes_what_is_named_again(fakes):
    there = with_shipped_base()
    lab.train(there, "tuned")
    fakes.asked.clear()
    lab.train(there, "tuned", fresh=True)
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "tuned"]
    lab.train(there, "tuned", fresh=True)
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "tuned", "tuned"], "the base is trained by now"


def test_what_another_profile_made_from_the_same_is_copied(fakes):
    first = lab.load("p")
    lab.train(first, "tuned")
    for profile, steps in (("same", 1), ("more", 2)):
        shutil.copytree("params/p", f"params/{profile}")
        file = Path(f"params/{profile}/lab.yaml")
        stated = yaml.safe_load(file.read_text())
        stated["models"]["tuned"]["steps"] = steps
        file.write_text(yaml.safe_dump(stated))
    fakes.asked.clear()
    lines: list[str] = []
    lab.train(lab.load("same"), "tuned", log=lines.append)
    assert not fakes.asked
    assert [line.split(" (")[0] for line in lines] == [
        f"{name}: copied from {first.path(name)}" for name in ("base-s", "tuned")
    ]
    assert weights(lab.load("same").path("tuned")) == weights(first.path("tuned"))
    lab.train(lab.load("more"), "tuned")
    assert [asked["name"] for asked in fakes.asked] == ["tuned"], "another recipe is another model; its base is shared"
    lab.train(lab.load("same", seed=1), "base-s")
    assert [asked["name"] for asked in fakes.asked] == ["tuned", "base-s"], "another seed is another model"
    fakes.asked.clear()
    lab.train(lab.load("same"), "tuned", fresh=True)
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "tuned"], "fresh trains what was copied before"


def test_a_model_that_is_made_again_while_it_is_copied_is_not_copied(fakes, monkeypatch):
    there = lab.load("p")
    lab.train(there, "base-s")
    shutil.copytree("params/p", "params/q")
    copytree = shutil.copytree

    def meanwhile(source, target, **options):
        found = copytree(source, target, **options)
        there.mark("base-s").unlink(missing_ok=True)  # another process puts its successor there
        return found

    other = lab.load("q")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", meanwhile)
        lab.train(other, "base-s")
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "base-s"], "it was trained"
    assert not artefact.about(other.path("base-s"))["copied"]


def test_a_copy_of_what_shipped_counts_as_shipped(fakes):
    there = with_shipped_base()
    lab.train(there, "base-s")
    shutil.rmtree("library")
    shutil.copytree("params/p", "params/q")
    other = lab.load("q")
    lab.train(other, "base-s")
    fakes.asked.clear()
    lab.train(other, "tuned", fresh=True)
    assert [asked["name"] for asked in fakes.asked] == ["base-s", "tuned"]


def test_lab_addresses(fakes, tmp_path, monkeypatch):
    assert lab_address("lab:rrm-s") == "lab:rrm-s@laptop/0"
    assert lab_address("lab:rrm-s", "p", 2) == "lab:rrm-s@p/2"
    assert lab_address("lab:rrm-s@q/1", "p", 2) == "lab:rrm-s@q/1"
    assert lab_address("lab:rrm-s@q", "p", 2) == "lab:rrm-s@q/0"
    assert lab_address("path:x", "p", 2) == "path:x"
    for wrong in ("lab:", "lab:a/b", "lab:../a", "lab:a@", "lab:a@q/x", "lab:a@../q/1"):
        with pytest.raises(ParameterError, match="expected lab:NAME"):
            lab_address(wrong)
    with pytest.raises(
        ParameterError, match=r"'lab:rrm@p/1' is not trained yet; rrm lab train rrm --profile p --seed 1"
    ):
        lab_folder("lab:rrm@p/1")
    there = lab.load("p")
    lab.train(there, "base-s")
    assert lab_folder("lab:base-s@p") == there.path("base-s")
    spec = JudgeSpec.parse({"name": "b", "engine": "qwen2", "model": "lab:base-s@p"})
    engine = open_engine(spec)
    engine.close()

    origins.ship(there, "base-s")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("rrmlib.params.root", lambda: artefact.root(Path("/")))
    assert lab_folder("lab:base-s") == tmp_path / "library" / "base-s", "an installed package has the shipped one"
    open_engine(JudgeSpec.parse({"name": "b", "engine": "qwen2", "model": "lab:base-s"})).close()
    with pytest.raises(ParameterError, match="not trained yet; in the checkout: rrm lab train rrm-s --profile laptop"):
        lab_folder("lab:rrm-s")


def test_a_model_that_lab_yaml_does_not_have_is_not_to_be_trained(fakes, capsys):
    there = lab.load("p")
    for asked in (lambda: known("lab:nosuch@p"), lambda: evaluated("lab:nosuch@p")):
        with pytest.raises(
            ParameterError, match=r"p/lab\.yaml: no model 'nosuch'; there are: tuned, base-s, meta, rrm$"
        ) as e:
            asked()
        assert "rrm lab train" not in str(e.value)
    assert main(["judge", "builtin", "--engine", "qwen2", "--model", "lab:nosuch@p", "--store", "s.sqlite"]) == 1
    assert "no model 'nosuch'; there are: tuned, base-s, meta, rrm\n" in capsys.readouterr().err
    assert not Path("s.sqlite").exists()
    with pytest.raises(ParameterError, match=r"profile 'nowhere' has no lab"):
        known("lab:tuned@nowhere")
    with pytest.raises(ParameterError, match=r"not trained yet; rrm lab train tuned --profile p --seed 0"):
        known("lab:tuned@p")
    lab.train(there, "tuned")
    known("lab:tuned@p")
    known("path:nowhere")


def evaluated(address: str) -> None:
    spec = JudgeSpec.parse({"name": "x", "engine": "qwen2", "model": address})
    with Store(":memory:") as store:
        evaluate(benchmark("builtin"), [spec], store, quiet=True)


def test_a_lab_model_is_an_input_by_its_key_before_and_after_training(fakes):
    values = {"judges": [{"name": "t", "engine": "qwen2", "model": "lab:tuned@p/0"}]}
    there = lab.load("p")
    before = inputs(values)
    assert before == [there.mark("tuned").relative_to(Path.cwd())]
    lab.train(there, "tuned")
    assert inputs(values) == before
    assert before[0].is_file()
    assert inputs({"judges": [{"name": "t", "engine": "qwen2", "model": "lab:tuned@p/1"}]}) != before


def test_command_line(fakes, capsys):
    assert main(["lab", "list", "--profile", "p"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()][1:] == ["missing"] * 6
    assert main(["lab", "train", "tuned", "--profile", "p"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{Path.cwd() / 'runs/p/seed0/models/tuned'}\n"
    assert "base-s: pretrain\ntuned: sft from base-s\n" in err
    assert main(["lab", "judge", "tuned", "--profile", "p"]) == 0
    assert main(["lab", "list", "--profile", "p"]) == 0
    states = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()}
    assert states["rrm"] == "missing"
    assert states["base-s"] == states["world"] == states["tuned"] == "made"
    assert main(["lab", "train", "--profile", "p"]) == 1
    assert "which? tuned, base-s, meta, rrm" in capsys.readouterr().err
    assert main(["lab", "train", "nobody", "--profile", "p"]) == 1
    assert "no model 'nobody'" in capsys.readouterr().err


SHIM = """
import os, shutil, sys
from rrmlib import lab
from rrmlib.comparison import Comparison, ask

def fit(recipe, *, out, name, **given):
    with open("trained.log", "a") as log:
        log.write(name + " ")
    if os.environ.get("FAIL") == name:
        sys.exit(f"{name} was told to fail")
    shutil.copytree("tiny", out)

lab.WORLD = lambda settings, seed: {"test": [Comparison(id="q", query=ask("?"), first="a", second="b")]}
lab.DATA["toy"] = lambda context: ([], [])
lab.TOKENIZER = lambda: ""
lab.FIT = fit
"""


def test_the_workflow_trains_what_is_stale_and_a_failure_leaves_the_old(tmp_path):
    """Snakemake on a copy of the checkout, with a fit that copies: two models, each for itself and in order."""
    for name in ("notebooks", "rrmlib"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", tmp_path)
    build(tmp_path / "tiny", "test")
    (tmp_path / "sitecustomize.py").write_text(SHIM)
    (tmp_path / "params/p").mkdir(parents=True)
    profile = {"seeds": [0], "threads": 1, "needs_recorded": False, "notebooks": {}}
    (tmp_path / "params/p/profile.yaml").write_text(yaml.safe_dump(profile))
    base = {"recipe": "pretrain", "data": "toy", "steps": 1, "batch": 1, "learning_rate": 0.1}
    judge = {"name": "j", "model": "lab:b", "format": "direct_compact", "max_tokens": 2}
    both = [judge, judge | {"name": "k"}]  # of one model: asked by one process

    def run(*more: str, trains: str, says: str = "", fail: str = "", fresh: str = "", **changes: object) -> None:
        models = {name: {} for name in changes} | {"a": base, "b": SFT | {"from": "a"}}
        stated = {"models": {name: model | changes.get(name, {}) for name, model in models.items()}, "judges": both}
        (tmp_path / "params/p/lab.yaml").write_text(yaml.safe_dump(stated))
        (tmp_path / "trained.log").write_text("")
        command = [sys.executable, "-m", "snakemake", "lab", "--cores", "2", "-p", "--config", "profile=p", *more]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "FAIL": fail, "RRM_FRESH": fresh}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode != 0) == bool(fail), done.stdout + done.stderr
        assert says in done.stdout + done.stderr
        assert (tmp_path / "trained.log").read_text() == trains

    run(trains="a b ", says="rrmlib lab judge j k --profile p")
    models = tmp_path / "runs/p/seed0/models"
    assert all((tmp_path / f"runs/p/seed0/judged/{name}/summary.json").is_file() for name in "jk")
    for path in models.rglob("*"):
        path.touch()
    run(trains="", says="Nothing to be done")
    before = sorted(models.glob("*/*"))
    run(trains="b ", fail="b", says="b was told to fail", b={"steps": 2})
    assert [path for path in sorted(models.glob("*/*")) if "lock" not in path.name] == before
    run(trains="", says="Nothing to be done")
    run("--forceall", trains="a b ", fresh="1", b={"steps": 2})
    assert [len(list(models.glob(f"{name}/.key-*"))) for name in "ab"] == [1, 1]
    run(trains="a b ", says="threads: 2", a={"parts": 2})  # two halves of a batch side by side: both cores are its own
    leaf, row = SFT | {"from": "a", "steps": 3}, {"c": SFT | {"from": "b"}, "d": SFT | {"from": "c"}}
    run("--cores", "1", trains="a b c d 0 ", **{"0": leaf}, **row)  # what more models wait for comes first


def test_judgments_of_another_world_stay_apart(fakes):
    before = lab.load("p")
    lab.judge(before, "tuned", quiet=True, log=lambda _: None)
    write(STATED | {"world": {"n": 2}})
    after = lab.load("p")
    lab.judge(after, "tuned", quiet=True, log=lambda _: None)
    there = {item.id for item in lab.items(after, "test")}
    assert {j.item for j in lab.judged(after, "tuned")} == there  # and none of the third, which is gone
    assert len(there) == 2


@pytest.mark.parametrize("name", params.SHIPPED)
def test_what_ships_is_what_the_laptop_profile_would_train(name):
    """It fails when a recipe, the text or the trainer changed: train and `rrm lab ship NAME`."""
    folder = origins.shipped(lab.load("laptop", seed=0), name)
    assert folder is not None
    assert (folder / "model.safetensors").stat().st_size <= 5 * 2**20
    assert {"README.md", "recipe.json", "tokenizer.json", "chat_template.jinja"} <= {p.name for p in folder.iterdir()}


def test_nothing_that_ships_needs_a_parent_that_does_not():
    laptop = lab.load("laptop", seed=0)
    for name in params.SHIPPED:
        assert set(laptop.ancestors(name)) <= set(params.SHIPPED)


def test_the_study_holds_what_the_laptop_profile_holds():
    laptop, study = lab.load("laptop", seed=0), lab.load("study", seed=0)
    for name, model in laptop.models.items():
        assert study.models[name] == model
    for name, judge in laptop.judges.items():
        if re.search(r"\.(pool|b\d+|pairs|candidates)$", name):  # test-time compute is looked at on the laptop alone
            continue
        there = study.judges[name]
        same = (there.split, there.limit, there.spec.model_dump() | {"model": ""})
        assert same == (judge.split, judge.limit, judge.spec.model_dump() | {"model": ""})
