"""One notebook, from parameters to results: validate, papermill into a staging folder, move into place.

`run_notebook` checks every parameter against the notebook's parameters cell before anything runs, executes it with
`out` set to a staging folder, and moves figures, tables and the executed notebook only when all cells succeeded. A
failed run leaves what stood before, plus `<notebook>.failed.ipynb` with the traceback. A run with parameters of its
own (`-p`) is no run of the profile: its results go to runs/<profile>/custom/. `sources` and `inputs` list every library
file and every data or model file that a notebook depends on, and `named` the lab's judges, so that the workflow knows
when a figure is stale.

Left out: deciding what is stale (the Snakefile), what the notebooks do.

    rrm run evaluation --profile laptop -p seed=3
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rrmlib import lab
from rrmlib.artefact import imported, library, root, write_whole
from rrmlib.benchmarks.rows import data_path
from rrmlib.params import PLAIN, JudgeSpec, ParameterError, lab_address, load_yaml, schema, validate

LIBRARIES = ("numpy", "pandas", "scipy", "torch", "transformers", "matplotlib", "papermill")


def notebook_path(name: str) -> Path:
    """notebooks/<name>.ipynb of this checkout. Raises ParameterError that lists the notebooks."""
    path = root() / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.ipynb")))
        raise ParameterError(f"no notebook {name!r} in {path.parent}; there are: {known}")
    return path


def parameters_of(path: Path) -> dict[str, tuple[str, Any]]:
    """The schema of a notebook: its one cell tagged `parameters`. Raises ParameterError."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", ())]
    if len(tagged) != 1:
        raise ParameterError(f"{path}: expected one cell tagged 'parameters', found {len(tagged)}")
    return schema("".join(tagged[0]["source"]), f"{path.name} parameters cell")


def resolve(name: str, *, profile: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All parameters of one run: the notebook's defaults, then params/<profile>/<name>.yaml, then `given`; checked."""
    if not re.fullmatch(PLAIN, profile):
        raise ParameterError(f"profile {profile!r} is not a plain name")
    for fixed in {"profile", "out"} & set(given or {}):
        raise ParameterError(f"parameter {fixed!r} is set by the run itself (--profile names the profile)")
    declared = parameters_of(notebook_path(name))
    file = root() / "params" / profile / f"{name}.yaml"
    if not file.is_file():
        raise ParameterError(f"profile {profile!r} does not run notebook {name!r}: there is no {file}")
    values = load_yaml(file) or {}
    if not isinstance(values, dict):
        raise ParameterError(f"{file}: expected a mapping of parameter names to values")
    validate(declared, values, str(file))
    values = validate(declared, {**values, "profile": profile, **(given or {})}, f"{name} ({profile})")
    if "judges" in values:  # a model of the lab is that of this profile and seed
        seed = values.get("seed", 0)
        values["judges"] = [{**s, "model": lab_address(s["model"], profile, seed)} for s in values["judges"]]
    return values


def run_notebook(name: str, *, profile: str, given: Mapping[str, Any] | None = None, quiet: bool = False) -> Path:
    """Execute a notebook; returns the executed copy. Raises ParameterError before, RuntimeError after a failed cell.

    Figures go to figures/<profile>, tables and notebook to runs/<profile>; with `given`, all to runs/<profile>/custom.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    values = resolve(name, profile=profile, given=given)
    base = root()
    runs = base / "runs" / profile / ("custom" if given else "")
    figures = runs / "figures" if given else base / "figures" / profile
    target = runs / "notebooks" / f"{name}.ipynb"
    failed = target.with_suffix(".failed.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    failed.unlink(missing_ok=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as staging:
        executed = Path(staging) / f"{name}.ipynb"
        try:
            papermill.execute_notebook(
                str(notebook_path(name)),
                str(executed),
                parameters={**values, "out": staging},
                cwd=str(base),
                progress_bar=False,
                log_output=not quiet,
                extra_arguments=["--IPKernelApp.log_level=50"],  # no word on its transport, and one line on Ctrl-C
            )
        except PapermillExecutionError as e:
            shutil.move(executed, failed)
            raise RuntimeError(f"{name}: cell {e.exec_count} failed: {e.ename}: {e.evalue}; see {failed}") from None
        _move_tree(Path(staging) / "figures" / profile, figures)
        _move_tree(Path(staging) / "runs" / profile, runs)
        write_whole(target, lambda temporary: shutil.copyfile(executed, temporary))
    record = provenance() | {"notebook": name, "parameters": values, "seconds": round(time.monotonic() - start, 1)}
    text = json.dumps(record, indent=1, sort_keys=True, default=str) + "\n"
    write_whole(target.with_suffix(".run.json"), lambda temporary: temporary.write_text(text, "utf-8"))
    return target


def provenance() -> dict[str, Any]:
    """What a rerun needs to know: commit, whether the tree was dirty, versions. Kept beside results, not in them."""

    def git(*arguments: str) -> str:
        try:
            result = subprocess.run(["git", *arguments], cwd=root(), capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        return result.stdout.strip()

    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "versions": versions,
    }


def sources(name: str) -> list[Path]:
    """Every file of rrmlib that a notebook can reach by imports, sorted; a package counts with all its files."""
    package = Path(__file__).parent
    cells = json.loads(notebook_path(name).read_text("utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    found = {*library(imported(code)), *(package / "prompts").glob("*.toml"), package / "builtin.jsonl"}
    if package / "patterns.py" in found:
        found |= {*(package / "lexicons").glob("*.toml")}
    if package / "viewer" / "page.py" in found:
        found |= {file for kind in ("html", "css", "js") for file in (package / "viewer").glob(f"*.{kind}")}
    return sorted(found)


def inputs(values: Mapping[str, Any]) -> list[Path]:
    """Every file outside the library that a run with these parameters reads: data, recorded judgments, prompt files,
    local models; a folder counts with all its files, a model of the lab with the file that names its key, whether it
    was trained already or not."""
    named = [data_path(str(values.get("data", "")))]
    for spec in (JudgeSpec.parse(judge) for judge in values.get("judges", ())):
        scheme, _, address = spec.model.partition(":")
        named.append(data_path(spec.model) if scheme == "recorded" else Path(address) if scheme == "path" else None)
        named.append(lab.marker(spec.model) if scheme == "lab" else None)
        named.append(Path(spec.prompt_file) if spec.prompt_file and not spec.prompt_file.startswith("hf:") else None)
    found = set()
    for path in (path for path in named if path is not None):
        found |= {p for p in path.rglob("*") if p.is_file()} if path.is_dir() else {path}
    return sorted(found)


def named(values: Mapping[str, Any], each: lab.Lab) -> tuple[list[str], list[str]]:
    """(judges, models) of a lab that a run's parameters name, at whatever depth: a notebook reads no others. A judge
    may be a name and one of `forced` (base-s.careful); with a model come those that it is made from. Only parameters
    that are read of this lab's seed count: WORD_seeds says of which seeds those are whose names begin with WORD, and
    `seeds`, or `seed`, of which the others."""
    found = _texts({name: value for name, value in values.items() if _is_read(name, values, each.seed)})
    found |= {f"{name}.{how}" for name in found for how in values.get("forced", ())}
    models = {name for name in each.models if name in found}
    models = models.union(*(each.ancestors(name) for name in models))
    return [name for name in each.judges if name in found], [name for name in each.models if name in models]


def _is_read(name: str, values: Mapping[str, Any], seed: int) -> bool:
    """Whether parameter `name` is read of this seed, as it is of every one where no parameter says of which."""
    for other, seeds in values.items():
        if other.endswith("_seeds") and name.startswith(other.removesuffix("_seeds")):
            return seed in seeds
    return seed in values.get("seeds", [values.get("seed", seed)])


def _texts(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return {text for each in inner for text in _texts(each)}


def _move_tree(source: Path, target: Path) -> None:
    """Move every file below `source` to the same place below `target`, replacing what is there, file by file."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else ():
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        path.replace(destination)
