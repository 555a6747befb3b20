"""``jaxelyte train`` and ``jaxelyte evaluate`` from files to pictures."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

import jaxelyte as jxl
from jaxelyte.cli import app
from jaxelyte.cli.config import StabilitySection, load_training

TRAINING = """
[data]
files = ["frames.extxyz"]
validation = 2
test = 3

[model]
r_max = 4.0
num_layers = 1
l_max = 1
num_features = 2
invariant_neurons = 4

[[baseline]]
type = "coulomb"
charges = { Na = 1.0, Cl = -1.0 }
permittivity = 20.0
method = "reaction-field"
cutoff = 3.9

[train]
epochs = 2
batch_size = 3
output = "run"
"""
CARD = """
[stability]
frames = 2
temperatures = [50.0]
length = 0.02
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A training file beside eleven frames with made-up labels."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(11):
        sites = np.array([[0, 0, 0], [2.5, 0, 0], [2.5, 2.5, 0], [0, 2.5, 2.5]])
        atoms = Atoms("NaCl" * 2, sites + rng.normal(0, 0.05, (4, 3)), cell=[5.0] * 3, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=float(rng.normal()), forces=rng.normal(size=(4, 3)))
        frames.append(atoms)
    write(tmp_path / "frames.extxyz", frames, format="extxyz")
    (tmp_path / "train.toml").write_text(TRAINING)
    return tmp_path


@pytest.mark.slow
def test_train_and_evaluate(folder: Path) -> None:
    done = CliRunner().invoke(app, ["train", str(folder / "train.toml"), "--quiet"])
    assert done.exit_code == 0, done.output
    run = folder / "run"
    assert {"config.json", "metrics.jsonl", "model", "training.png", "test.json", "test_parity.png"} <= {
        p.name for p in run.iterdir()
    }
    fit = jxl.load_fit(run)
    assert len(fit.metrics) == 2
    assert fit.config["split"]["test"] == json.loads((run / "config.json").read_text())["split"]["test"]
    found = json.loads((run / "test.json").read_text())
    assert found["frames"] == 3
    again = CliRunner().invoke(app, ["train", str(folder / "train.toml"), "--quiet", "--resume", "--epochs", "3"])
    assert again.exit_code == 0, again.output
    assert len(jxl.load_fit(run).metrics) == 3
    out = folder / "evaluation"
    done = CliRunner().invoke(
        app, ["evaluate", str(run), str(folder / "frames.extxyz"), "--output", str(out), "--stability", "0.01"]
    )
    assert done.exit_code == 0, done.output
    assert len(json.loads((out / "stability.json").read_text())["trials"]) == 4 * 3
    summary = json.loads((out / "evaluation.json").read_text())
    # By hand, through the calculator.
    frames = jxl.read(folder / "frames.extxyz")
    square = []
    fit = jxl.load_fit(run)
    for atoms in frames:
        own = atoms.copy()
        own.calc = jxl.Calculator(fit.total)
        square.append((own.get_forces() - atoms.get_forces()) ** 2)
    assert summary["forces_meV_per_A"]["rmse"] == pytest.approx(1e3 * np.sqrt(np.mean(square)), rel=1e-6)
    worst = int(np.argmax([np.mean(s) for s in square]))
    assert summary["worst_frames"][0]["frame"] == worst
    assert sum(row["frames"] for row in summary["compositions"].values()) == 11
    bare = CliRunner().invoke(app, ["evaluate", str(run / "model"), str(folder / "frames.extxyz")])
    assert bare.exit_code == 2
    assert "baseline" in bare.output
    # Going on from these weights, which bring their baseline along; a report card at the end.
    head, tail = TRAINING.split("[model]")
    (folder / "on.toml").write_text(f'{head}[model]\nstart = "run"\n\n[train]{tail.split("[train]")[1]}{CARD}')
    done = CliRunner().invoke(app, ["train", str(folder / "on.toml"), "--quiet", "--output", str(folder / "on")])
    assert done.exit_code == 0, done.output
    on = jxl.load_fit(folder / "on")
    assert on.config["baseline"] == fit.config["baseline"]
    assert "start_sha256" in on.config
    card = json.loads((folder / "on" / "stability.json").read_text())
    assert [row["runs"] for row in card["temperatures"]] == [2]
    assert (folder / "on" / "stability.png").exists()
    # All that the command writes counts as its own, so that it may be replaced.
    done = CliRunner().invoke(
        app, ["train", str(folder / "on.toml"), "--quiet", "--output", str(folder / "on"), "--overwrite"]
    )
    assert done.exit_code == 0, done.output


def test_example_is_how_the_included_network_was_trained(root: Path) -> None:
    config = load_training(root / "examples" / "train_nacl.toml")
    own = jxl.datasets.nacl_water_fit().config
    assert config.data.files[0].resolve() == (jxl.datasets.NACL_WATER / "frames.extxyz.gz").resolve()
    for name, value in config.model.model_dump(exclude={"start", "avg_num_neighbors"}).items():
        assert own["model"][name] == value, name
    assert (config.train.epochs, config.train.batch_size) == (own["epochs"], own["batch_size"])
    assert config.optimization.model_dump() == own["optimization"]
    assert config.loss.model_dump() == own["loss"]
    assert config.baseline[0].model_dump()["permittivity"] == 78.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("num_layers", "num_layer"), "did you mean 'num_layers'"),
        (("batch_size", "batchsize"), "did you mean 'batch_size'"),
        (("r_max = 4.0", ""), "either r_max"),
        (("r_max = 4.0", 'start = "elsewhere"'), "leave the others out"),
        (("permittivity", "permitivity"), "did you mean 'permittivity'"),
        (("validation = 2", "validation = -2"), "validation"),
        (('"coulomb"', '"spc-fw"'), "baseline"),
        (("frames.extxyz", "none.extxyz"), "there is no file"),
    ],
)
def test_mistakes_are_named(folder: Path, change: tuple[str, str], message: str) -> None:
    path = folder / "train.toml"
    path.write_text(TRAINING.replace(*change))
    done = CliRunner().invoke(app, ["train", str(path), "--quiet"])
    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ")
    assert not (folder / "run").exists()


def test_sections_are_those_of_the_library(folder: Path) -> None:
    """Defaults of the file are the defaults of the objects that it makes."""
    config = load_training(folder / "train.toml")
    assert jxl.Loss(**config.loss.model_dump()) == jxl.Loss()
    assert jxl.Optimization(**config.optimization.model_dump()) == jxl.Optimization()
    defaults = inspect.signature(jxl.stability).parameters
    for name, value in StabilitySection().model_dump(exclude={"frames"}).items():
        default = defaults[name].default
        assert value == (list(default) if isinstance(default, tuple) else default), name
