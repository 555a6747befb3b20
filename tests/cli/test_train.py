"""``jaxelyte train`` and ``jaxelyte evaluate`` from files to pictures."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

import jaxelyte as jxl
from jaxelyte.cli import app
from jaxelyte.cli.config import load_training
from jaxelyte.cli.objects import training_frames
from jaxelyte.cli.spelling import spelled
from jaxelyte.cli.train_sections import StabilitySection
from jaxelyte.data import collect_labels
from jaxelyte.training.folder import TrainFolder

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
    done = CliRunner().invoke(app, ["info", str(run)])
    assert "random weights, seed 0" in done.output
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
        (('files = ["frames.extxyz"]', ""), "[[data.cp2k]]"),
        (("Cl = -1.0", "Cl = -2.0"), "11 of 11 frames are periodic and not neutral"),
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


def test_info_of_a_fit(root: Path) -> None:
    """What was trained on what, and the errors of the epoch that was kept."""
    done = CliRunner().invoke(app, ["info", str(jxl.datasets.NACL_WATER / "fit")], terminal_width=200)
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.replace("│", " ").split())
    fit = jxl.datasets.nacl_water_fit()
    best, parts = fit.best["validation"], fit.config["split"]
    for part in (
        "ScreenedCoulomb (Na +1 e, Cl -1 e; permittivity 78.3)",
        f"{len(parts['train'])} train, {len(parts['validation'])} validation, {len(parts['test'])} test",
        "epochs 25 of 25",
        f"all {1e3 * best['forces']:.3g}",
        f"{1e3 * best['energy']:.3g} meV/atom",
        fit.config["versions"]["jax"],
        "num_layers 2",
        "H, O, Na, Cl",
    ):
        assert part in words, part


def test_evaluate_writes_into_the_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of a fit stand in its folder, where training may replace them; those of a bare model where one works."""
    model = jxl.NequIP(r_max=4.0, num_layers=1, l_max=1, num_features=2, invariant_neurons=4, avg_num_neighbors=9.0)
    config, params = model.init(jax.random.key(0), ("Na", "Cl"))
    jxl.Fit((jxl.NequIPPotential(params, config),), None, [], {}).save(folder / "fit")
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    before = set(folder.iterdir())
    for given, place in (("fit", folder / "fit"), ("fit/model", folder / "work")):
        done = CliRunner().invoke(
            app, ["evaluate", str(folder / given), str(folder / "frames.extxyz"), "--index", ":2"]
        )
        assert done.exit_code == 0, done.output
        assert (place / "evaluation" / "evaluation.json").is_file()
    assert set(folder.iterdir()) == before
    TrainFolder(folder / "fit", {}, resume=False, overwrite=True).open()
    assert not (folder / "fit" / "evaluation").exists()


def test_separate_files_of_cp2k(folder: Path) -> None:
    """Positions, forces and cells as `read_cp2k` reads them, after the other files."""
    frames = jxl.read(folder / "frames.extxyz")[:2]
    positions, forces, cells = "", "", "# step time cell volume\n"
    for step, atoms in enumerate(frames):
        head = f"{len(atoms)}\n i = {step}, time = {step}.0, E = -17.{step}\n"
        rows = [f"{s} {x} {y} {z}\n" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)]
        positions, forces = positions + head + "".join(rows), forces + head + "".join(rows)
        cells += f"{step} {step}.0 5 0 0 0 5 0 0 0 5 125\n"
    for name, text in (("pos.xyz", positions), ("frc.xyz", forces), ("run.cell", cells)):
        (folder / name).write_text(text)
    tables = '[[data.cp2k]]\npositions = "pos.xyz"\nforces = "frc.xyz"\ncell = "run.cell"\n'
    tables += '[[data.cp2k]]\npositions = "pos.xyz"\ncell = [6.0, 6.0, 7.0]\n\n'
    (folder / "train.toml").write_text(TRAINING.replace("[model]", tables + "[model]"))
    found = training_frames(load_training(folder / "train.toml"))
    expected = jxl.read_cp2k(folder / "pos.xyz", folder / "frc.xyz", cell=folder / "run.cell")
    assert len(found) == 11 + 2 + 2
    for one, other in zip(found[11:13], expected, strict=True):
        assert one.get_potential_energy() == other.get_potential_energy()
        assert np.array_equal(one.get_forces(), other.get_forces())
        assert np.array_equal(one.cell, other.cell)
    assert found[13].cell.lengths().tolist() == [6.0, 6.0, 7.0]
    (folder / "train.toml").write_text(TRAINING.replace("[model]", tables.replace("6.0, 7.0", "7.0") + "[model]"))
    with pytest.raises(
        jxl.InputError, match="three lengths in Å, six with angles in degrees, or nine numbers or 3 x 3"
    ):
        load_training(folder / "train.toml")


@pytest.mark.parametrize(
    "term",
    [
        'type = "harmonic-bonds"\nbonds = [[0, 1]]\nk = 0.1\nlength = 3.0',
        'type = "distance-restraint"\npair = [0, 1]\nk = 0.1\ncenter = 3.0',
        'type = "gaussian-barrier"\npairs = [[0, 1]]\nheight = 0.1\ncenter = 3.0\nwidth = 0.3',
    ],
)
def test_a_baseline_describes_frames_of_any_order(folder: Path, term: str) -> None:
    (folder / "train.toml").write_text(f"{TRAINING}\n[[baseline]]\n{term}\n")
    done = CliRunner().invoke(app, ["train", str(folder / "train.toml"), "--quiet"])
    assert done.exit_code == 2
    assert "names atoms by their indices" in done.output
    assert not (folder / "run").exists()


def test_messages_name_options(folder: Path) -> None:
    """Errors and warnings in the spelling of the command line, without the code that they come from."""
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text("{}")
    (folder / "train.toml").write_text(TRAINING.replace("Na = 1.0", "K = 1.0, Na = 1.0"))
    done = CliRunner().invoke(app, ["train", str(folder / "train.toml"), "--quiet"])
    assert done.exit_code == 2
    warned, failed = done.output.splitlines()
    assert warned == "warning: the baseline has charges of K, which no frame contains"
    assert failed.startswith("error: ")
    assert failed.endswith("exists; pass --resume to continue, --overwrite, or another folder")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collect_labels([Atoms("Ar")]), "name them with --energy and --forces (energy and forces in [data]"),
        (lambda: jxl.load_nequip(__file__), "trust, pass --torchscript"),
        (
            lambda: jxl.simulate(jxl.ScreenedCoulomb({"Na": 1.0}), Atoms("Na"), jxl.NVE(), steps=1, resume=True),
            "--output",
        ),
    ],
)
def test_python_is_translated(call: Callable[[], object], message: str) -> None:
    with pytest.raises(jxl.InputError) as caught:
        call()
    assert message in spelled(str(caught.value))
    assert "=True" not in spelled(str(caught.value))
