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

from jaxelyte.dynamics import NVE, NVT, load_run, simulate
from jaxelyte.dynamics.identity import describe_observables, describe_potential
from jaxelyte.errors import InputError
from jaxelyte.interop.nequip_files import load_nequip
from jaxelyte.observables import RDF, Distance
from jaxelyte.potentials.coulomb import ScreenedCoulomb
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


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_resume_refuses_another_run_and_names_what_changed(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    moved, heavier, started = atoms.copy(), atoms.copy(), atoms.copy()
    moved.positions[5, 0] += 0.001
    heavier.set_masses([40.0, *atoms.get_masses()[1:]])
    started.set_velocities(np.full((108, 3), 1e-4))
    arguments = dict(steps=10, every=5, velocities=50.0, output=tmp_path, progress=False)
    simulate(Argon(), atoms, NVE(), **arguments)
    before = contents(tmp_path)
    for potential, start, ensemble, change, message in (
        (Argon(epsilon=0.02), atoms, NVE(), {}, r"parameter epsilon of the potential 0\.0103 → 0\.02"),
        (Argon(cutoff_distance=6.0), atoms, NVE(), {}, r"cutoff_distance of the potential 6\.5 → 6\.0"),
        (Argon() + Argon(), atoms, NVE(), {}, "parameter type of the potential Argon → Sum"),
        (Argon(), atoms, NVE(), {"timestep": 1.0}, r"timestep 0\.5 fs → 1\.0 fs"),
        (Argon(), atoms, NVE(), {"velocities": 60.0}, r"velocities 50\.0 → 60\.0"),
        (Argon(), atoms, NVE(), {"every": 2}, r"every 5 → 2; sample_every 5 → 2"),
        (Argon(), atoms, NVE(), {"seed": 1}, r"seed 0 → 1"),
        (Argon(), atoms, NVE(), {"extxyz": True}, r"extxyz False → True"),
        (Argon(), atoms, NVE(), {"replicas": 2}, r"replicas 1 → 2"),
        (Argon(), atoms, NVT(50.0), {}, "ensemble type NVE → NVT"),
        (Argon(), moved, NVE(), {}, "positions of atom 5 .* → "),
        (Argon(), heavier, NVE(), {}, "masses of atom 0 39.948 → 40"),
        (Argon(), started, NVE(), {"velocities": "atoms"}, r"velocities 50\.0 → atoms"),
        (Argon(), atoms, NVE(), {"steps": 5}, "a run of 10 steps, more than steps=5; ask for at least 10"),
        (Argon(), atoms, NVE(), {"observables": {"g": RDF([("Ar", "Ar")])}}, r"observables g\.type \(absent\) → RDF"),
    ):
        with pytest.raises(InputError, match=message):
            simulate(potential, start, ensemble, resume=True, **(arguments | change))
    with pytest.raises(InputError, match="overwrite=True replaces it"):
        simulate(Argon(), atoms, NVE(), **arguments)
    assert contents(tmp_path) == before
    assert load_run(tmp_path).completed
    simulate(Argon(epsilon=0.02), atoms, NVE(), overwrite=True, **arguments)
    assert load_run(tmp_path).completed


def test_a_field_of_a_later_version_does_not_stop_a_run(tmp_path: Path) -> None:
    """With its default it is what the run was made with; with another value it is another run."""
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    arguments = dict(steps=10, every=5, velocities=50.0, output=tmp_path, progress=False)
    simulate(Argon(), atoms, NVE(), observables={"d": Distance((0, 1))}, **arguments)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["potential"]["exact"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    arguments |= {"observables": {"d": Distance((0, 1))}, "resume": True}
    with pytest.raises(InputError, match=r"exact of the potential \(absent\) → True"):
        simulate(Argon(exact=True), atoms, NVE(), **arguments)
    assert simulate(Argon(), atoms, NVE(), **arguments).completed


def test_parameters_are_named_by_term_and_species() -> None:
    salt = ScreenedCoulomb({"Na": 1.0, "Cl": -1.0})
    named = describe_potential(salt + 0.5 * Argon())
    assert named["terms[0].charges.Na"] == 1.0
    assert named["terms[1].potential.sigma"] == 3.4
    big = describe_potential(load_nequip(ROOT / "tests" / "fixtures" / "nequip" / "parity"))
    assert big["params.layer0.linear_2"]["shape"] == [80]
    assert json.loads(json.dumps(big)) == big


def test_settings_of_observables_are_compared() -> None:
    one = describe_observables({"g": RDF([("Ar", "Ar")], r_max=7.0), "d": Distance((0, 1))})
    assert one["g.r_max"] == 7.0
    assert one["d.type"] == "Distance"
    near = {"r_max": 7.0}
    for other in (RDF([("Ar", "Ar")], r_max=7.5), RDF([("Ar", "Ne")], **near), RDF([("Ar", "Ar")], bins=50, **near)):
        assert describe_observables({"g": other, "d": Distance((0, 1))}) != one
    assert describe_observables({"g": RDF([("Ar", "Ar")], r_max=7.0), "d": Distance((0, 2))}) != one


def test_files_after_a_real_resume(tmp_path: Path) -> None:
    """The settings give the new length, the summary a speed, and a run that has nothing left to do keeps its own.

    The checkpoint is one of version 0.1, which held positions without a system, and lists without their cells.
    """
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    arguments = dict(every=5, velocities=50.0, output=tmp_path, progress=False)
    whole = simulate(Argon(), atoms, NVE(), steps=20, **arguments | {"output": None})
    simulate(Argon(), atoms, NVE(), steps=10, **arguments)
    arrays = dict(np.load(tmp_path / "checkpoint.npz"))
    arrays["state.positions"] = arrays["state.system.positions"]
    old = {name: a for name, a in arrays.items() if "system" not in name and name != "lists/cells"}
    np.savez(tmp_path / "checkpoint.npz", **old)
    np.testing.assert_array_equal(load_run(tmp_path).atoms.get_positions(), arrays["state.positions"][0])
    resumed = simulate(Argon(), atoms, NVE(), steps=20, resume=True, **arguments)
    np.testing.assert_array_equal(resumed.atoms.get_positions(), whole.atoms.get_positions())
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 20
    speed = load_run(tmp_path).performance["ns_per_day"]
    assert speed > 0
    again = simulate(Argon(), atoms, NVE(), steps=20, resume=True, **arguments)
    assert again.completed
    assert again.performance["ns_per_day"] == speed


@pytest.mark.more
def test_steps_after_the_last_frame_are_run_and_reported(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    arguments = dict(velocities=50.0, progress=False, timestep=2.0)
    with pytest.warns(UserWarning, match="the last frame is that of step 20; steps=20 or 40 would end with a frame"):
        run = simulate(Argon(), atoms, NVE(), steps=25, every=20, output=tmp_path, **arguments)
    whole = simulate(Argon(), atoms, NVE(), steps=25, every=5, **arguments)
    np.testing.assert_array_equal(run.atoms.positions, whole.atoms.positions)
    np.testing.assert_array_equal(load_run(tmp_path).atoms.positions, whole.atoms.positions)
    assert run.summary["steps"] == 25
    assert run.summary["time_ps"] == pytest.approx(0.05)


def test_a_run_on_another_machine_goes_on_with_a_warning(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    arguments = dict(every=5, velocities=50.0, output=tmp_path, progress=False)
    simulate(Argon(), atoms, NVE(), steps=10, **arguments)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["versions"]["jaxlib"] = "0.9.0"
    settings["potential"]["epsilon"] = 0.0103 * (1 + 1e-12)  # computed there
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.warns(UserWarning, match=r"jaxlib 0\.9\.0 → .* no longer bitwise"):
        assert simulate(Argon(), atoms, NVE(), steps=20, resume=True, **arguments).completed
    settings.pop("format")
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="another version of jaxelyte"):
        simulate(Argon(), atoms, NVE(), steps=30, resume=True, **arguments)


def test_bad_input_leaves_no_folder(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(InputError, match="apart"):
        simulate(Argon(), atoms, NVE(), steps=10, velocities=1.0, output=tmp_path / "new")
    assert not (tmp_path / "new").exists()
