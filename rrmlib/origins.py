"""Where a model of the lab comes from when it is not trained here: the library, another profile, or outside.

A copy is taken only of what was made from just the same (`Lab.key`). Left out: when to take it (`lab.py`).

    shipped(lab, "base-s")                       # the library's own folder, while its key matches
    outside("hf:ORG/NAME@REVISION")              # a parent that is no model of the file
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rrmlib import artefact
from rrmlib.params import SHIPPED, ParameterError

if TYPE_CHECKING:
    from rrmlib.lab import Lab


def shipped(lab: Lab, name: str) -> Path | None:
    """The folder that came with the library, where it was made from just what `name` is made from now."""
    folder = SHIPPED.get(name)
    return folder if folder and artefact.mark(folder, lab.key(name)).is_file() else None


def elsewhere(lab: Lab, name: str) -> Path | None:
    """The folder of another profile that holds `name`, made from just what it is made from here: seed 0 of a study is
    the laptop's, as far as the recipes are."""
    folders = sorted(lab.folder.parent.parent.glob(f"*/seed{lab.seed}/models/{name}"))
    there = (each for each in folders if each != lab.path(name) and artefact.mark(each, lab.key(name)).is_file())
    return next(there, None)


def copied(source: Path, folder: Path, key: str) -> bool:
    """Whether `folder` is now a copy of a model of this key, without its mark. Another process may make the source
    again meanwhile: then there is no copy."""
    try:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".key-*.json"))
    except (shutil.Error, FileNotFoundError):
        pass  # it went while it was read
    else:
        if artefact.mark(source, key).is_file():
            shutil.rmtree(folder.with_name(f"{folder.name}.work"), ignore_errors=True)  # of a training that was stopped
            return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def ship(lab: Lab, name: str) -> Path:
    """Put a trained model into the library's own folder, as float16. Raises ParameterError: not trained, or not to be
    shipped."""
    if name not in SHIPPED or not lab.mark(name).is_file():
        raise ParameterError(f"{name}: only {', '.join(SHIPPED)} ships, and only once it is trained (rrm lab train)")
    shutil.rmtree(SHIPPED[name], ignore_errors=True)
    shutil.copytree(lab.path(name), SHIPPED[name])
    recast(SHIPPED[name], "float16")
    return SHIPPED[name]


def recast(folder: Path, dtype: str) -> None:
    """Weights to another floating type, nothing else changed. config.json goes on saying float32: it is what all
    engines compute in."""
    import torch
    from safetensors.torch import load_file, save_file

    for file in folder.glob("*.safetensors"):
        weights = {name: value.to(getattr(torch, dtype)) for name, value in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})


def outside(address: str) -> Path:
    """The folder of a parent from elsewhere. Raises ParameterError, EngineError or DataError."""
    scheme, _, where = address.partition(":")
    if scheme == "path":
        return Path(where)
    from huggingface_hub import snapshot_download

    from rrmlib.benchmarks.rows import reach_hub

    reach_hub()
    name, _, revision = where.partition("@")
    return Path(snapshot_download(name, revision=revision))


def outside_id(address: str) -> str:
    """Its identity, for a key: never a path, never a branch that moves."""
    from rrmlib.engines.local import folder_id

    scheme, _, where = address.partition(":")
    if scheme == "path":
        return folder_id(where)
    if scheme != "hf" or "@" not in where:
        raise ParameterError(f"from {address!r}: a parent is a model of this file, path:DIR or hf:ORG/NAME@REVISION")
    return address
