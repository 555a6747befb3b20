"""``jaxelyte free-energy``: a run and its files, legs, interruption, and every way to get the file wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxelyte.cli import app
from jaxelyte.cli.config import load_free_energy
from jaxelyte.cli.free_energy import run_free_energy
from jaxelyte.cli.objects import build_sum, build_system
from jaxelyte.dynamics import load_run
from jaxelyte.units import BOLTZMANN

FILE = """
[system]
file = "argon.extxyz"

[[initial]]
type = "restraint"
k = 0.5

[[final]]
type = "restraint"
k = 2.0

[ensemble]
type = "NVT"
temperature = 60.0
thermostat = "langevin"

[free_energy]
steps = 8000
timestep = 4.0
windows = 4
sample_every = 20
seed = 3
output = "out"
"""

PATH = FILE.replace(
    FILE[FILE.index("[[initial]]") : FILE.index("[ensemble]")],
    "".join(f'[[stage]]\n[[stage.potential]]\ntype = "restraint"\nk = {k}\n\n' for k in (0.5, 1.0, 2.0)),
)
LONG = ("windows = 4", "windows = 9"), ("steps = 8000", "steps = 6000")
"""Changes that give an error bar to every estimator."""

EXACT = 1.5 * 108 * BOLTZMANN * 60.0 * np.log(4.0)


@pytest.fixture
def file(tmp_path: Path, root: Path) -> Path:
    (tmp_path / "argon.extxyz").write_text((root / "examples" / "argon.extxyz").read_text())
    path = tmp_path / "free_energy.toml"
    path.write_text(FILE)
    return path


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.filterwarnings("ignore:free energy")
@pytest.mark.more
def test_a_free_energy_and_its_files(file: Path) -> None:
    for old, new in LONG:
        file.write_text(file.read_text().replace(old, new))
    code, text = invoke("free-energy", file, "--quiet")
    assert code == 0, text
    for word in ("TI", "BAR", "MBAR (result)", "hysteresis", "overlap", "kJ/mol"):
        assert word in text
    folder = file.parent / "out"
    stored = json.loads((folder / "free_energy.json").read_text())
    assert abs(stored["free_energy_eV"] - EXACT) < 4.0 * stored["error_eV"]
    assert stored["error_eV"] < 0.05 * EXACT
    assert stored["estimator"] == "MBAR"
    assert len(stored["overlaps"]) == 8
    assert np.loadtxt(folder / "free_energy.csv", delimiter=",", skiprows=1).shape == (9, 5)
    for name in ("free_energy.png", "convergence.png"):
        assert (folder / name).stat().st_size > 5000
    assert json.loads((folder / "config.json").read_text())["config"]["free_energy"]["windows"] == 9
    assert load_run(folder).completed

    code, text = invoke("free-energy", file, "--quiet")
    assert code == 2
    assert "--overwrite" in text
    assert "=True" not in text
    code, text = invoke("free-energy", file, "--quiet", "--resume", "--steps", 7200)
    assert code == 0, text
    longer = json.loads((folder / "free_energy.json").read_text())
    assert longer["free_energy_eV"] != stored["free_energy_eV"]


@pytest.mark.filterwarnings("ignore:free energy")
@pytest.mark.more
def test_a_path_has_a_folder_for_each_leg(file: Path) -> None:
    file.write_text(PATH.replace("windows = 4", "windows = 6").replace("steps = 8000", "steps = 6000"))
    code, text = invoke("free-energy", file, "--quiet")
    assert code == 0, text
    assert "leg 2 of 2" in text
    folder = file.parent / "out"
    stored = json.loads((folder / "free_energy.json").read_text())
    assert stored["free_energy_eV"] == pytest.approx(sum(leg["free_energy_eV"] for leg in stored["legs"]))
    assert abs(stored["free_energy_eV"] - EXACT) < 4.0 * stored["error_eV"]
    assert stored["error_eV"] < 0.01 * EXACT
    for leg in (1, 2):
        assert (folder / f"leg{leg}" / "free_energy.csv").exists()
    # All of it is there already: the second call only reads and evaluates.
    code, text = invoke("free-energy", file, "--quiet", "--resume")
    assert code == 0, text
    assert json.loads((folder / "free_energy.json").read_text()) == stored


def test_the_file_becomes_objects(file: Path, root: Path) -> None:
    """A factor, paths and the soft core; the example is valid and passes the check of its ends."""
    soft = 'type = "soft-core"\nsigma = { Ar = 3.4 }\nepsilon = { Ar = 0.01 }\nappearing = ["Ar"]\ncoupling = 0.3\n'
    network = '\n[[common]]\ntype = "nequip"\npath = "model"\n'
    file.write_text(FILE.replace('type = "restraint"\nk = 2.0\n', soft) + network)
    config = load_free_energy(file)
    atoms = build_system(config)
    assert float(build_sum(config.final, atoms).coupling) == pytest.approx(0.3)
    assert config.common[0].path == file.parent / "model"
    assert config.free_energy.output == file.parent / "out"
    example = load_free_energy(root / "examples" / "free_energy.toml")
    assert len(build_system(example)) == 32
    assert example.free_energy.output == root / "examples" / "runs" / "free_energy"


WRONG = [
    ("windows = 4", "windoes = 4", "unknown key 'windoes' in [free_energy]; did you mean 'windows'"),
    ("[[final]]", "[[fnal]]", "unknown key 'fnal' at the top; did you mean 'final'"),
    ("k = 2.0", "k = 2.0\nkk = 1.0", "[final.0]: unknown key 'kk' of type 'restraint'; did you mean 'k'"),
    (FILE[FILE.index("[[final]]") : FILE.index("[ensemble]")], "", "needs terms [[initial]] and [[final]]"),
    ("[ensemble]", '[[stage]]\n[[stage.potential]]\ntype = "restraint"\nk = 1.0\n[ensemble]', "and not both"),
    (
        'type = "NVT"\ntemperature',
        'type = "NVE"\ntemperature',
        "[ensemble]: unknown key 'temperature' of type 'NVE'; there are no keys",
    ),
    ("windows = 4", 'nodes = "simpson"', "'free_energy.nodes"),
    ("windows = 4", "nodes = [0.0, 0.5]", "have to rise from 0 to 1"),
    ('type = "restraint"', 'type = "restrain"', "[initial.0]: unknown potential 'restrain'; did you mean 'restraint'"),
    ("timestep = 4.0", 'timestep = "4 fs"', "'free_energy.timestep' = '4 fs': give a plain number"),
    ("windows = 4", "windows = 0", "'free_energy.windows' = 0"),
    ("windows = 4", "target = -1.0", "'free_energy.target' = -1.0"),
    ("windows = 4", "exchange = -5", "'free_energy.exchange' = -5"),
    ("windows = 4", "equilibration = 8000", "equilibration = 8000 leaves none of steps = 8000"),
    ('file = "argon.extxyz"', 'file = "krypton.extxyz"', "there is no file"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_files_get_one_clear_message(file: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    file.write_text(FILE.replace(old, new, 1))
    before = sorted(file.parent.rglob("*"))
    code, text = invoke("free-energy", file, "--quiet")
    assert code == 2
    assert message in text
    assert "Traceback" not in text
    assert sorted(file.parent.rglob("*")) == before


def test_one_stage_is_no_path(file: Path) -> None:
    one = PATH.replace('[[stage]]\n[[stage.potential]]\ntype = "restraint"\nk = 0.5\n', "").replace(
        '[[stage]]\n[[stage.potential]]\ntype = "restraint"\nk = 1.0\n', ""
    )
    file.write_text(one)
    code, text = invoke("free-energy", file, "--quiet")
    assert code == 2
    assert "one table [[stage]] is no path" in text
    file.write_text(PATH.replace("k = 1.0", "kk = 1.0"))
    code, text = invoke("free-energy", file, "--quiet")
    assert code == 2
    assert "[stage.1.potential.0]: unknown key 'kk' of type 'restraint'; did you mean 'k'" in text


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(file: Path) -> None:
    """Interrupted in the first leg of a path: nothing else is begun, and the run can go on."""
    file.write_text(PATH.replace("steps = 8000", "steps = 200000\nevery = 200"))
    process = subprocess.Popen(
        [sys.executable, "-c", "from jaxelyte.cli import app; app()", "free-energy", str(file), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_ENABLE_X64": "0"},
    )
    log = file.parent / "out" / "leg1" / "log.csv"
    began = time.monotonic()
    while (not log.exists() or log.read_text().count("\n") < 30) and time.monotonic() - began < 300:
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "jaxelyte free-energy" in errors or "--resume" in errors
    assert "Traceback" not in errors
    assert not (file.parent / "out" / "leg2").exists()
    assert not load_run(file.parent / "out" / "leg1").completed


def test_the_result_is_that_of_the_library(file: Path) -> None:
    """One path from file to objects: `run_free_energy` is what the command calls."""
    file.write_text(FILE.replace("steps = 8000", "steps = 400"))
    config = load_free_energy(file)
    with pytest.warns(UserWarning, match="independent samples"):
        result = run_free_energy(config, progress=False)
    assert result.value == pytest.approx(EXACT, rel=0.3)
