"""Runs on disk: kill -9 and resume, extension, overwriting, mismatches."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from jaxelyte.dynamics import NVE, load_run, simulate
from jaxelyte.errors import InputError
from killed_run import run
from toys import Argon

FILES = ("trajectory.h5", "trajectory.extxyz", "log.csv", "checkpoint.npz", "observables/rdf.json")
SCRIPT = Path(__file__).parents[1] / "killed_run.py"
ROOT = Path(__file__).parents[2]


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def start(folder: Path, steps: int, thermostat: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, str(SCRIPT), str(folder), str(steps), "0.2", thermostat]
    return subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)


def step_of(folder: Path) -> int:
    try:
        with np.load(folder / "checkpoint.npz") as arrays:
            return int(arrays["step"])
    except (OSError, ValueError, KeyError):
        return -1


@pytest.mark.parametrize(
    "thermostat",
    [pytest.param("langevin", marks=pytest.mark.more), pytest.param("nose-hoover", marks=pytest.mark.slow)],
)
def test_a_killed_run_resumes_bitwise(tmp_path: Path, thermostat: str) -> None:
    """kill -9 in the middle, resume: every file has the bytes of an uninterrupted run."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole, 240, thermostat)
    process = start(broken, 240, thermostat)
    try:
        deadline = time.monotonic() + 120
        while step_of(broken) < 100 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        killed_at = step_of(broken)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert 100 <= killed_at < 240
    partial = load_run(broken)
    assert not partial.completed
    assert len(partial.trajectory) == killed_at // 20 + 1
    run(broken, 240, thermostat)
    assert digests(broken) == digests(whole)


@pytest.mark.parametrize(
    "thermostat",
    [
        "langevin",
        pytest.param("svr", marks=pytest.mark.more),
        pytest.param("nose-hoover", marks=pytest.mark.more),
        pytest.param("nose-hoover-massive", marks=pytest.mark.slow),
    ],
)
def test_longer_runs_extend_shorter_ones(tmp_path: Path, thermostat: str) -> None:
    """Bitwise, so the checkpoint holds all that a thermostat remembers."""
    run(tmp_path / "whole", 120, thermostat)
    run(tmp_path / "parts", 50, thermostat)
    assert load_run(tmp_path / "parts").completed
    run(tmp_path / "parts", 120, thermostat)
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")


def test_run_folder_round_trip(tmp_path: Path) -> None:
    run(tmp_path, 60)
    loaded = load_run(tmp_path)
    assert loaded.completed
    assert np.asarray(loaded.trajectory.positions).shape == (4, 2, 108, 3)
    np.testing.assert_array_equal(loaded.log["step"], [0, 20, 40, 60])
    assert loaded.log["temperature"].shape == (4, 2)
    np.testing.assert_array_equal(
        np.asarray(loaded.trajectory.positions)[-1], np.stack([a.positions for a in loaded.atoms])
    )
    assert "rdf" in loaded.observables
    assert json.loads((tmp_path / "summary.json").read_text())["temperature"]["unit"] == "K"


def test_resume_refuses_another_run(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    arguments = dict(steps=10, every=5, velocities=50.0, output=tmp_path, progress=False)
    simulate(Argon(), atoms, NVE(), **arguments)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    for changed in (
        lambda: simulate(Argon(epsilon=0.02), atoms, NVE(), resume=True, **arguments),
        lambda: simulate(Argon(), atoms, NVE(), resume=True, timestep=1.0, **arguments),
        lambda: simulate(Argon(), atoms, NVE(), resume=True, **(arguments | {"velocities": 60.0})),
    ):
        with pytest.raises(InputError, match="holds another run"):
            changed()
    with pytest.raises(InputError, match="overwrite=True replaces it"):
        simulate(Argon(), atoms, NVE(), **arguments)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
    simulate(Argon(epsilon=0.02), atoms, NVE(), overwrite=True, **arguments)
    assert load_run(tmp_path).completed


def test_bad_input_leaves_no_folder(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(InputError, match="apart"):
        simulate(Argon(), atoms, NVE(), steps=10, velocities=1.0, output=tmp_path / "new")
    assert not (tmp_path / "new").exists()
