"""Every key of every section of a file, and every option of every command, with wrong values: one clear message."""

from __future__ import annotations

import copy
import importlib
import json
import math
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from jaxelyte.cli import app, values
from jaxelyte.cli.free_energy_sections import FreeEnergyFile
from jaxelyte.cli.sections import Declared, OutputFolder, RunFile
from jaxelyte.cli.train_sections import TrainFile
from jaxelyte.registry import ENSEMBLES, OBSERVABLES, POTENTIALS
from jaxelyte.registry import arguments as arguments_of

NAN, INF = float("nan"), float("inf")
ANY: tuple[Any, ...] = ("abc", "", True, [], [1.0, 2.0], {"a": 1})
NUMBERS = (*ANY, "5.0", NAN, INF, -INF)
WRONG: dict[Any, tuple[Any, ...]] = {
    values.Number: NUMBERS,
    values.Positive: (*NUMBERS, 0.0, -1.0),
    **dict.fromkeys((values.Length, values.TimeStep, values.Temperature), (*NUMBERS, 0.0, -1.0)),
    values.NotNegative: (*NUMBERS, -1.0),
    values.Count: (*NUMBERS, 0, -1, 1.5),
    values.CountOrZero: (*NUMBERS, -1, 1.5),
    values.Integer: (*NUMBERS, 1.5),
    values.Seed: (*NUMBERS, -1, 1.5, 2**32),
    values.Flag: ("yes", "false", "", 0, 1, 0.5, [], {"a": 1}, NAN),
    values.Text: ("", 5, 0.5, True, [], ["a"], {"a": 1}),
    values.Texts: ("", 5, True, [], [""], [5], {"a": 1}),
    values.File: ("", 5, True, [], ["a"], {"a": 1}, "nowhere/at/all"),
    values.StartVelocities: ("warm", "", True, [300.0], -1.0, NAN, INF, {"a": 1}),
    values.Nodes: ("simpson", "", 5, True, [], [0.0, 2.0], [0.5], ["a"], [NAN, 1.0], {"a": 1}),
    values.Cell: ("abc", 5, True, [], [1.0], [NAN, 1.0, 1.0], ["a", "b", "c"], {"a": 1}, [0.0, 0.0, 0.0]),
    values.CellOrFile: ("", 5, True, [], [1.0], [NAN, 1.0, 1.0], {"a": 1}, "nowhere/at/all"),
    OutputFolder: ("", " ", 5, True, [], {"a": 1}),
}
"""By the kind of a value, as it may stand in TOML."""

UNITS: dict[str, tuple[Any, ...]] = {
    "timestep": (5e-16, 100.0),
    "temperature": (0.0259, 1e9),
    "temperatures": ([0.0259],),
    "cutoff": (0.65, 650.0),
    "density": (1060.0,),
    "concentration": (2473.0,),
    "permittivity": (0.5,),
    "tau": (1e-13,),
    "friction": (1e13,),
    "skin": (100.0,),
    "charges": ({"Na": 1.6e-19, "Cl": -1.6e-19}, {"Na": 18.2, "Cl": -18.2}, {"Na": 1.0}),
    "sigma": ({"Na": 0.28, "Cl": 0.42},),
    "epsilon": ({"Na": 1.998, "Cl": 2.0},),
    "width": (1e3,),
    "r_max": (1e4,),
    "length": (5e9,),
    "factor": (),
}
"""Values in other units, by key; of `RANGES` of the library."""


def salt() -> Atoms:
    """Two ions."""
    return Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 3.0]], cell=[14.0] * 3, pbc=True)


def water() -> Atoms:
    """A molecule."""
    return Atoms("OH2", positions=[[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]], cell=[14.0] * 3, pbc=True)


def labelled(number: int) -> Atoms:
    """Two ions with energy and forces."""
    atoms, rng = salt(), np.random.default_rng(number)
    atoms.positions += rng.normal(0, 0.1, (2, 3))
    forces = rng.normal(0, 0.1, (2, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0 + 0.01 * rng.normal(), forces=forces - forces.mean(axis=0))
    return atoms


NVT = {"type": "NVT", "temperature": 300.0, "thermostat": "langevin", "friction": 0.01}
LJ = {"type": "lennard-jones", "sigma": {"Na": 2.8, "Cl": 4.2}, "epsilon": {"Na": 0.005, "Cl": 0.005}, "cutoff": 6.5}
COULOMB = {"type": "coulomb", "charges": {"Na": 1.0, "Cl": -1.0}, "permittivity": 78.3}
RUN = {"steps": 100, "every": 10, "sample_every": 5, "timestep": 1.0, "output": "out"}


def run_file(*terms: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A run of two ions."""
    base = {"system": {"file": "salt.extxyz"}, "potential": list(terms), "ensemble": NVT, "run": RUN}
    return copy.deepcopy(base | changes)


OBSERVED = {
    "rdf": {"type": "rdf", "pairs": ["Na-Cl"]},
    "distance": {"type": "distance", "pairs": [[0, 1]]},
}
FILES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "run": ("simulate", RunFile, run_file(LJ, COULOMB, observables=OBSERVED)),
    "build": (
        "simulate",
        RunFile,
        run_file(LJ, system={"build": {"ions": {"Na": 2, "Cl": 2}, "waters": 0, "concentration": 1.0}}),
    ),
    "water": ("simulate", RunFile, run_file({"type": "spc-fw", "cutoff": 6.5}, system={"file": "water.extxyz"})),
    "soft": ("simulate", RunFile, run_file(LJ | {"type": "soft-core", "appearing": ["Na"], "coupling": 0.5})),
    "barrier": (
        "simulate",
        RunFile,
        run_file(
            {"type": "gaussian-barrier", "species": ["Na", "Cl"], "height": 0.5, "center": 2.0, "width": 0.2},
            {"type": "restraint", "k": 1.0},
        ),
    ),
    "bonded": (
        "simulate",
        RunFile,
        run_file(
            {"type": "harmonic-bonds", "bonds": [[0, 1]], "k": 0.1, "length": 3.0},
            {"type": "distance-restraint", "pair": [0, 1], "k": 0.5, "center": 4.0, "rate": 0.01},
            {"type": "metadynamics", "pair": [0, 1], "upper": 6.0, "temperature": 300.0},
            observables={
                "waves": {"type": "structure-factor", "k_max": 3.0, "width": 0.6},
                "angles": {"type": "angles", "triplet": ["Na", "Cl", "Na"], "r_max": 5.0},
            },
        ),
    ),
    "constant pressure": (
        "simulate",
        RunFile,
        run_file(LJ, ensemble={"type": "NPT", "temperature": 300.0, "pressure": 1.0}),
    ),
    "free energy": (
        "free-energy",
        FreeEnergyFile,
        {
            "system": {"file": "salt.extxyz"},
            "initial": [LJ],
            "final": [LJ, COULOMB],
            "ensemble": NVT,
            "free_energy": {"steps": 1000, "timestep": 1.0, "windows": 3, "check": False, "output": "free"},
        },
    ),
    "training": (
        "train",
        TrainFile,
        {
            "data": {"files": ["frames.extxyz"]},
            "model": {"r_max": 4.5, "num_features": 2, "num_layers": 1},
            "baseline": [COULOMB],
            "loss": {"energy": 1.0},
            "optimization": {"learning_rate": 0.01},
            "train": {"epochs": 1, "output": "train"},
            "stability": {"frames": 1},
        },
    ),
}


def stop(*_: Any, **__: Any) -> Any:
    """Where a command would begin to compile: it ends without an error."""
    raise typer.Exit(0)


def toml(value: Any) -> str:
    """A value as it stands in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def written(content: dict[str, Any]) -> str:
    """A whole file; its sections as inline tables, which TOML takes as well."""
    return "".join(f"{key} = {toml(value)}\n" for key, value in content.items())


def members(kind: Any) -> list[Any]:
    """Members of a union but None, each with its annotations."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [one for one in typing.get_args(kind) if one is not type(None)]
    return [kind]


def wrong_values(name: str, kind: Any) -> Iterator[Any]:
    """Wrong values of a key, by the annotation of its field."""
    yield from UNITS.get(name, ())
    (one, *_) = members(kind)
    if one in WRONG:
        yield from WRONG[one]
        return
    origin = typing.get_origin(one)
    if origin is typing.Literal:
        yield from ("nonsense", "", 5, True, [], {"a": 1})
    elif origin in (list, tuple):
        yield from ("abc", 5, True, {"a": 1}, [{}], [[[]]], [True])
    else:
        yield from ("abc", 5, True, [], [1])
        if origin is dict:
            yield from ({"Na": "1"}, {"Na": True}, {"Na": NAN}, {"Xx": 1.0}, {"": 1.0})


Symbols = dict[str, float]
Rows = list[int]
ARGUMENTS: dict[str, Any] = {
    "charges": Symbols, "sigma": Symbols, "epsilon": Symbols, "appearing": list[str],
    "species": list[str], "mixing": values.Text, "method": values.Text, "thermostat": values.Text,
    "ions": values.Text, "barostat": values.Text, "NPT.coupling": values.Text, "pressure": values.Number,
    "stride": values.Count, "bonds": Rows, "pair": Rows, "room": values.Count, "triplet": list[str],
    "weighting": values.Text, "height": values.Number, "center": values.Number,
    **dict.fromkeys(("harmonic-bonds.k", "harmonic-bonds.length"), values.NotNegative),
    **dict.fromkeys(("metadynamics.lower", "metadynamics.wall"), values.NotNegative),
    # One for each replica; without tempering; one for each end.
    **dict.fromkeys(("distance-restraint.k", "distance-restraint.center", "metadynamics.bias_factor", "angles.r_max")),
    "coupling": values.Number, "tail_correction": values.Flag, "shift": values.Flag, "chain": values.Count,
    "substeps": values.Count, "bins": values.Count, "blocks": values.Count, "exclusions": Rows, "pairs": Rows,
    "exclusion_scales": None, "elements": None, "scatterers": None,
}  # fmt: skip
"""What an argument of what is declared is, by its name; those that are not here are positive. None: not tried."""


def hints_of(kind: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Kinds of the keys of a table."""
    if "type" not in row:
        hints = typing.get_type_hints(kind, include_extras=True)
        return {key: hint for key, hint in hints.items() if key in kind.model_fields}
    (registry,) = (one for one in (POTENTIALS, ENSEMBLES, OBSERVABLES) if row["type"] in one.names())
    names = [one.name for one in arguments_of(registry.find(row["type"]))]
    known = {name: ARGUMENTS.get(f"{row['type']}.{name}", ARGUMENTS.get(name, values.Positive)) for name in names}
    factor = {"factor": values.Number} if registry is POTENTIALS else {}
    return {key: kind for key, kind in known.items() if kind is not None} | {"type": values.Text} | factor


def section_of(kind: Any, row: dict[str, Any]) -> Any:
    """The model of a table."""
    if "type" in row:
        return Declared
    found = [one for one in members(kind) if isinstance(one, type) and hasattr(one, "model_fields")]
    return found[0] if found else None


def sections(kind: Any, place: tuple[Any, ...], here: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """All tables of a file with the kinds of their keys."""
    hints = hints_of(kind, here)
    yield place, hints
    for key, inner in here.items():
        rows = inner if isinstance(inner, list) else [inner]
        for number, row in enumerate(rows):
            at = (*place, key, number) if isinstance(inner, list) else (*place, key)
            if key == "observables":
                for name, observable in row.items():
                    yield (*at, name), hints_of(Declared, observable)
            elif isinstance(row, dict) and (found := section_of(hints.get(key), row)) is not None:
                yield from sections(found, at, row)


def cases(content: dict[str, Any], model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Files with one wrong value, or one unknown key, each with its name."""

    for place, hints in sections(model, (), content):
        where = ".".join(map(str, place))
        for key, hint in hints.items():
            for value in wrong_values(key, hint):
                yield f"{where}.{key} = {toml(value)}", changed(content, (*place, key), value)
        yield f"{where}.unknown", changed(content, (*place, "stepss"), 1)


def changed(content: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with one value in another place."""
    new = copy.deepcopy(content)
    inner: Any = new
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return new


def outcome(*arguments: object) -> str:
    """What a command made of its arguments: "refused", "warned", "accepted", or what was wrong with its message."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    text = result.output
    raw = ("Traceback", "unexpected error", "Input should", "[type=", "validation error")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"raised {result.exception!r}"
    if any(part in text for part in raw):
        return f"raw message: {text[:200]}"
    if result.exit_code == 0:
        return "warned" if "warning:" in text else "accepted"
    return "refused" if "rror" in text else f"no message: {text[:200]}"


STOPS = (
    "jaxelyte.dynamics.simulate.Runner",
    "jaxelyte.training.run.Trainer",
)


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("salt.extxyz", salt())
    write("water.extxyz", water())
    write("frames.extxyz", [labelled(n) for n in range(8)])
    for place in STOPS:
        module, _, name = place.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), name, stop)


def check(name: str, every: int) -> int:
    """Each n-th of the wrong files of a kind."""
    command, model, content = FILES[name]
    path, wrong = Path("file.toml"), []
    path.write_text(written(content))
    right = outcome(command, path, "--quiet")
    assert right == "accepted", right
    chosen = list(cases(content, model))[::every]
    for case, other in chosen:
        path.write_text(written(other))
        found = outcome(command, path, "--quiet")
        if found not in ("refused", "warned"):
            wrong.append(f"{case}: {found}")
    assert not wrong, f"{len(wrong)} of {len(chosen)}\n" + "\n".join(wrong)
    return len(chosen)


@pytest.mark.usefixtures("_files")
def test_wrong_values_in_files_are_refused_or_warned_about() -> None:
    for name in ("run", "free energy", "training"):
        check(name, 60)


@pytest.mark.more
@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("name", FILES)
def test_all_wrong_values_in_files_are_refused_or_warned_about(name: str) -> None:
    assert check(name, 1) > 380


NO_NUMBER = ("abc", "", "nan", "inf", "-1", "1,5")
READING = {
    "--interval": (*NO_NUMBER, "0"),
    "--topology": ("nowhere", ""),
    "--cell": ("abc", "1,2", "nan,1,1", "0,0,0", "1,2,3,4"),
    "--units": ("parsec", ""),
    "--elements": ("abc", "1=Xx", "=Na", "Ar"),
    "--format": ("nonsense", ""),
}
OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "simulate": (("file.toml",), {"--steps": (*NO_NUMBER, "0", "1.5", "1e30"), "--output": ("", "salt.extxyz/a")}),
    "free-energy": (("free.toml",), {"--steps": (*NO_NUMBER, "0", "1.5"), "--output": ("", "salt.extxyz/a")}),
    "train": (("train.toml",), {"--epochs": (*NO_NUMBER, "0", "1.5"), "--output": ("", "salt.extxyz/a")}),
    "demo": ((), {"--steps": (*NO_NUMBER, "0"), "--epochs": (*NO_NUMBER, "0"), "--output": ("",)}),
    "analyse": (
        ("salt.extxyz",),
        {
            "--pairs": ("Na", "Na-", "Na-Xx", "Na-Li", "Na-Cl-Na", ",", "Na-Cl,,"),
            "--r-max": (*NO_NUMBER, "0", "1e30"),
            "--width": (*NO_NUMBER, "0", "1e30"),
            "--discard": ("abc", "", "-1", "1.5", "99"),
            "--charges": ("abc", "Na=", "Na=x", "Na=nan", "Li=1", "Na=1", "Na=1,Na=1", "Na=1;Cl=-1"),
            "--permittivity": (*NO_NUMBER, "0", "0.5"),
            "--viscosity": (*NO_NUMBER, "0", "1e30"),
            "--temperature": (*NO_NUMBER, "0", "1e30"),
            "--only": ("nonsense", "structure,nonsense"),
            "--skip": ("nonsense",),
            "--output": ("", "salt.extxyz/a"),
            **READING,
        },
    ),
    "evaluate": (
        ("model", "frames.extxyz"),
        {"--index": ("abc", "99"), "--energy": ("nothing",), "--stability": (*NO_NUMBER, "0"), "--output": ("",)},
    ),
    "info": (("salt.extxyz",), {"--nonsense": ("1",)}),
}
"""Right arguments of each command, and wrong values of its options."""


@pytest.mark.usefixtures("_files")
def test_wrong_options_are_refused() -> None:
    for name, kind in (("file", "run"), ("free", "free energy"), ("train", "training")):
        Path(f"{name}.toml").write_text(written(FILES[kind][2]))
    wrong, count = [], 0
    for command, (arguments, options) in OPTIONS.items():
        given = [(option, value) for option, several in options.items() for value in several]
        lines = [(command, *arguments, f"{option}={value}") for option, value in given]
        lines += [(command, *arguments, f"{option}=1", f"{option}=1") for option in options]
        lines += [(command, *("nowhere" for _ in arguments or "1")), (command, *arguments, "one", "more", "still")]
        for line in lines:
            count += 1
            found = outcome(*line)
            if found != "refused":
                wrong.append(f"{' '.join(line)}: {found}")
    assert not wrong, f"{len(wrong)} of {count}\n" + "\n".join(wrong)
    assert count > 150
