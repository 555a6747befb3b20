"""Run files and training files, read and validated; an unknown key is an error that names the nearest valid one."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jaxelyte.checks import shown
from jaxelyte.cli.free_energy_sections import FreeEnergyFile, FreeEnergySection, Stage
from jaxelyte.cli.sections import Build, RunFile, RunSection, Section, SystemSection, Term, unknown_key
from jaxelyte.cli.train_sections import (
    CP2KFiles,
    DataSection,
    LossSection,
    ModelSection,
    OptimizationSection,
    StabilitySection,
    TrainFile,
    TrainSection,
)
from jaxelyte.cli.values import KIND
from jaxelyte.errors import InputError
from jaxelyte.interop.shipped import located

File = TypeVar("File", RunFile, TrainFile, FreeEnergyFile)

SECTIONS: dict[str, type[Section]] = {
    "system": SystemSection,
    "run": RunSection,
    "build": Build,
    "data": DataSection,
    "cp2k": CP2KFiles,
    "model": ModelSection,
    "loss": LossSection,
    "optimization": OptimizationSection,
    "train": TrainSection,
    "stability": StabilitySection,
    "free_energy": FreeEnergySection,
    "stage": Stage,
}


LONGEST = 60

KINDS = {
    "missing": "it is missing",
    "list_type": "it must be a list, in square brackets",
    "tuple_type": "it must be a list, in square brackets",
    "dict_type": "it must be a table, such as { Na = 1.0 }",
    "model_type": "it must be a table, not a single value",
    "model_attributes_type": "it must be a table, not a single value",
}
"""What is meant by the types of problems that pydantic finds by itself."""


def load_config(path: str | Path) -> RunFile:
    """Read and validate a run file; relative paths in it are made relative to its folder.

    Raises:
        InputError: the file is missing, not TOML, or contains invalid settings; every problem is listed.
    """
    path = Path(path)
    return parse_config(_content(path, "run"), path.parent, str(path))


def load_training(path: str | Path) -> TrainFile:
    """Read and validate a training file; relative paths in it are made relative to its folder.

    Raises:
        InputError: see `load_config`.
    """
    path = Path(path)
    config = _validated(TrainFile, _content(path, "training"), f"{path} is not a valid training file")
    files = [path.parent / file for file in config.data.files]
    separate = [_cp2k_with_paths(one, path.parent) for one in config.data.cp2k]
    named = None if config.data.topology is None else path.parent / config.data.topology
    data = config.data.model_copy(update={"files": files, "cp2k": separate, "topology": named})
    own = config.train.model_copy(update={"output": path.parent / config.train.output})
    model = config.model
    if model.start is not None:
        model = model.model_copy(update={"start": located(model.start, folder=path.parent)})
    changes = {"data": data, "model": model, "train": own, "baseline": _terms_with_paths(config.baseline, path.parent)}
    return config.model_copy(update=changes)


def load_free_energy(path: str | Path) -> FreeEnergyFile:
    """Read and validate a free-energy file; relative paths in it are made relative to its folder.

    Raises:
        InputError: see `load_config`.
    """
    path = Path(path)
    config = _validated(FreeEnergyFile, _content(path, "free-energy"), f"{path} is not a valid free-energy file")
    folder = path.parent
    changes: dict[str, Any] = {n: _terms_with_paths(getattr(config, n), folder) for n in ("initial", "final", "common")}
    changes["stage"] = [
        one.model_copy(update={"potential": _terms_with_paths(one.potential, folder)}) for one in config.stage
    ]
    changes["system"] = _system_with_path(config.system, folder)
    changes["free_energy"] = config.free_energy.model_copy(update={"output": folder / config.free_energy.output})
    return config.model_copy(update=changes)


def _content(path: Path, kind: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"there is no {kind} file {path}")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def run_file_of(folder: Path) -> RunFile | None:
    """The run file that a run folder was made from; None where it came from Python, or from another version."""
    try:
        content = json.loads((folder / "config.json").read_text("utf-8"))["config"]
        return None if content is None else RunFile.model_validate(content)
    except (OSError, ValueError, KeyError):  # those of pydantic are ValueErrors
        return None


def parse_config(content: dict[str, Any], folder: Path, name: str) -> RunFile:
    """Validate the content of a run file; see `load_config`."""
    return _with_paths(_validated(RunFile, content, f"{name} is not a valid run file"), folder)


def _validated(model: type[File], content: dict[str, Any], complaint: str) -> File:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = list(dict.fromkeys(_explain(problem, model) for problem in error.errors()))
        text = f" {problems[0]}" if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems)
        raise InputError(f"{complaint}:{text}") from error


def _explain(problem: Any, root: type[BaseModel]) -> str:
    location = _written(problem["loc"])
    where = ".".join(location)
    if problem["type"] == "extra_forbidden":
        section = ".".join(location[:-1])
        valid = _valid_keys(problem["loc"], root)
        return unknown_key(location[-1], valid, f"in [{section}]" if section else "at the top")
    if problem["type"] == "missing":
        return f"'{where}' is missing"
    if problem["type"] == "value_error":
        text = str(problem["msg"]).removeprefix("Value error, ")
        return f"[{where}]: {text}" if where and f"[{where}" not in text else text
    if problem["type"] == KIND:
        return f"'{where}' = {_shown(problem['input'])}: {problem['msg']}"
    return f"'{where}' = {_shown(problem['input'])}: {_remedy(problem)}"


def _remedy(problem: Any) -> str:
    """What a value has to be, in the words of a TOML file."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "literal_error":
        valid = re.findall(r"'([^']*)'", context["expected"])
        near = difflib.get_close_matches(str(problem["input"]).lower(), valid, n=1)
        return f"choose one of {', '.join(map(repr, valid))}{f'; did you mean {near[0]!r}?' if near else ''}"
    if kind in ("too_short", "too_long"):
        least, most = context.get("min_length"), context.get("max_length")
        need = f"at least {least}" if most is None else f"at most {most}"
        return f"it must hold {need}, not {context['actual_length']}"
    return KINDS.get(kind) or str(problem["msg"])


def _shown(value: Any) -> str:
    return shown(value) if isinstance(value, str | int | float | bool | None) else brief(repr(value))


def brief(text: str) -> str:
    """The start of a long text."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _written(location: tuple[Any, ...]) -> list[str]:
    """A location as it stands in the file."""
    return [str(part) for part in location]


def _valid_keys(location: tuple[Any, ...], root: type[BaseModel]) -> list[str]:
    """Keys of the innermost section that a location names."""
    model = root
    for part in location[:-1]:
        model = SECTIONS.get(part, model)
    return list(model.model_fields)


def _with_paths(config: RunFile, folder: Path) -> RunFile:
    system = _system_with_path(config.system, folder)
    terms = _terms_with_paths(config.potential, folder)
    run = config.run.model_copy(update={"output": folder / config.run.output})
    return config.model_copy(update={"system": system, "potential": terms, "run": run})


def _system_with_path(system: SystemSection, folder: Path) -> SystemSection:
    changes = {name: folder / path for name in ("file", "topology") if (path := getattr(system, name)) is not None}
    return system.model_copy(update=changes)


def _terms_with_paths(terms: list[Term], folder: Path) -> list[Term]:
    return [term.with_paths(folder) for term in terms]


def _cp2k_with_paths(files: CP2KFiles, folder: Path) -> CP2KFiles:
    return files.model_copy(update={name: folder / value for name, value in files if isinstance(value, Path | str)})
