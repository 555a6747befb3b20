"""Errors on the command line name the file and the section that the value stands in."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write
from typer.testing import CliRunner

import jaxelyte as jxl
from jaxelyte.cli.app import app
from jaxelyte.cli.sections import RunSection
from jaxelyte.cli.train_sections import LossSection, ModelSection, OptimizationSection, StabilitySection, TrainSection
from jaxelyte.errors import InputError

RUN = """
[system]
file = "water.xyz"

[[potential]]
type = "spc-fw"
cutoff = 4.5

[ensemble]
type = "NVT"
temperature = 300.0

[run]
steps = 2
every = 1
timestep = 0.5

[observables.gofr]
type = "rdf"
pairs = ["O-O"]
"""


def refused(folder: Path, before: str, after: str) -> str:
    """What the command says about the run file with a change."""
    one, grid = molecule("H2O"), 3.1 * np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    positions = np.concatenate([one.positions + g for g in grid])
    write(folder / "water.xyz", Atoms("OHH" * 27, positions, cell=[9.3] * 3, pbc=True), format="extxyz")
    assert before in RUN
    (folder / "run.toml").write_text(RUN.replace(before, after))
    found = CliRunner().invoke(app, ["simulate", str(folder / "run.toml"), "--output", str(folder / "out")])
    assert found.exit_code == 2
    assert not (folder / "out").exists()
    return " ".join(found.stderr.split())


@pytest.mark.parametrize(
    ("before", "after", "section", "text"),
    [
        ("timestep = 0.5", "timestep = 100.0", "[run]", "timestep = 100 fs cannot be a time step"),
        ("every = 1", "every = 100", "[run]", "every=100 is more than steps=2"),
        ('"O-O"', '"O-o"', "[observables.gofr]", "did you mean 'O'?"),
        ("cutoff = 4.5", "cutoff = 0.45", "[[potential]] (type spc-fw)", "write 4.5, if it is in nm"),
        ("water.xyz", "ice.xyz", "[system]", "there is no file"),
        ("temperature = 300.0", "temperature = 300.0\nfriction = 1.0", "[ensemble]", "friction = 1.0 is a setting of"),
        (
            "[ensemble]",
            '[[potential]]\ntype = "coulomb"\ncharges = { na = 1.0 }\n\n[ensemble]',
            "[[potential]] number 2 (type coulomb)",
            "'na' is not a chemical symbol; did you mean 'Na'?",
        ),
    ],
)
def test_sections_of_a_run_file(tmp_path: Path, before: str, after: str, section: str, text: str) -> None:
    said = refused(tmp_path, before, after)
    assert said.startswith(f"error: {section} of {tmp_path / 'run.toml'}: ")
    assert text in said


@pytest.mark.parametrize(
    ("section", "values", "text"),
    [
        (LossSection, {"energy": -1.0}, "the weight of the loss energy"),
        (LossSection, {"energy": 0.0, "forces": 0.0}, "nothing to learn"),
        (OptimizationSection, {"optimizer": "adan"}, "did you mean 'adam'"),
        (OptimizationSection, {"ema": 1.0}, "ema must be a finite number, 0 or more and below 1"),
        (OptimizationSection, {"factor": 2.0}, "factor"),
        (ModelSection, {"r_max": 0.5}, r"r_max = 0.5 Å cannot be a cut-off: .*write 5, if it is in nm"),
        (ModelSection, {"r_max": 5.0, "num_layers": -1}, "num_layers"),
    ],
)
def test_settings_judge_their_own_values(section: Any, values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        section(**values)


def test_defaults_are_those_of_the_library() -> None:
    """Sections of classes take them over; those of functions repeat them, and must not differ."""
    assert jxl.Loss(**LossSection().model_dump()) == jxl.Loss()
    assert jxl.Optimization(**OptimizationSection().model_dump()) == jxl.Optimization()
    given = ModelSection.model_validate({"r_max": 5.0}).model_dump(exclude={"start"})
    assert jxl.NequIP(**given) == jxl.NequIP(r_max=5.0)
    for section, function, own in (
        (TrainSection, jxl.train, {"output", "float64"}),
        (StabilitySection, jxl.stability, {"frames"}),
        (RunSection, jxl.simulate, {"output", "float64", "precision", "steps"}),
    ):
        parameters = inspect.signature(function).parameters
        for name, field in section.model_fields.items():
            if name in own or field.is_required():
                continue
            default = parameters[name].default
            assert (field.default, name) == (list(default) if isinstance(default, tuple) else default, name)


def test_errors_keep_their_class() -> None:
    from jaxelyte.cli.placing import of_file, placed

    raised = pytest.raises(InputError, match=r"^\[a\] of f.toml: b$")
    with raised, of_file(Path("f.toml"), LossSection()), placed("[outer]"), placed("[a]"):
        raise InputError("b")
    with pytest.raises(jxl.UnsupportedError, match=r"^f.toml: b$"), of_file(Path("f.toml"), LossSection()):
        raise jxl.UnsupportedError("b")
