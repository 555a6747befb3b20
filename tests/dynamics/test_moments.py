"""Runs that end at a moment nobody chose: disk full, killed, folder gone. All that was reported is kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import killed_run
from full_disk import full_disk
from jaxelyte.dynamics import NVE, load_run, simulate
from jaxelyte.dynamics.checkpoint import load_arrays
from jaxelyte.errors import InputError, StorageError
from jaxelyte.trajectory import open_trajectory
from toys import Argon

ROOT = Path(__file__).parents[2]
FILES = ("trajectory.h5", "trajectory.extxyz", "log.csv", "checkpoint.npz", "observables/rdf.json")
STEPS = 240


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    killed_run.run(folder, STEPS)
    return folder


def check_what_is_left(folder: Path, whole: Path) -> int:
    """Whatever the moment: a run without a checkpoint has done no step, any other one opens. Returns its step."""
    if not (folder / "checkpoint.npz").exists():
        return -1
    step, frames = (int(load_arrays(folder / "checkpoint.npz")[name]) for name in ("step", "record/frames"))
    run = load_run(folder)
    assert len(run.trajectory) >= frames == step // 20 + 1
    reference = np.asarray(open_trajectory(whole / "trajectory.h5").positions)
    np.testing.assert_array_equal(np.asarray(run.trajectory.positions), reference[: len(run.trajectory)])
    assert len(run.log["step"]) == len(run.trajectory)
    assert np.isfinite(run.log["temperature"]).all()
    return step


def complaint(folder: Path) -> str | None:
    """What a run says that cannot write; None where it could."""
    try:
        killed_run.run(folder, STEPS)
    except (StorageError, InputError) as error:
        return str(error)
    return None


def fill_and_resume(folder: Path, whole: Path, limit: contextlib.AbstractContextManager[None]) -> int:
    """A run on a disk that fills up, and its end when there is room again; returns the step it had reached."""
    with limit:
        said = complaint(folder)
    if said is None:
        return STEPS
    assert str(folder) in said
    assert "No space left" in said
    # There may be no room for the first frame, or even for the lock.
    assert "goes on from there with resume=True" in said or "not started" in said or f"cannot write {folder}:" in said
    step = check_what_is_left(folder, whole)
    assert list(folder.glob(".tmp-*")) == []
    killed_run.run(folder, STEPS)
    assert digests(folder) == digests(whole)
    assert load_run(folder).completed
    return step


@pytest.mark.parametrize("share", [*(pytest.param(x, marks=pytest.mark.more) for x in (0.02, 0.5, 0.95)), 0.8])
def test_a_full_disk_loses_nothing(tmp_path: Path, whole: Path, share: float) -> None:
    fill_and_resume(tmp_path / "run", whole, full_disk(share * written(whole)))


def written(whole: Path) -> float:
    """About the bytes that the run writes, its checkpoints included."""
    checkpoints = (STEPS // 33 + 2) * (whole / "checkpoint.npz").stat().st_size
    return checkpoints + sum((whole / name).stat().st_size for name in FILES)


@pytest.mark.slow
def test_a_hundred_moments_of_a_full_disk(tmp_path: Path, whole: Path, rng: np.random.Generator) -> None:
    steps = []
    for number, share in enumerate(rng.uniform(0.0, 1.0, 100)):
        folder = tmp_path / str(number)
        steps.append(fill_and_resume(folder, whole, full_disk(share * written(whole))))
        shutil.rmtree(folder)
    print(f"\nfull disk: {len(steps)} moments, before the first step {sum(s <= 0 for s in steps)}, "
          f"between {sum(0 < s < STEPS for s in steps)}, at the end {sum(s == STEPS for s in steps)}")  # fmt: skip
    assert sum(0 < s < STEPS for s in steps) > 50


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """A file system of ``size`` kB at ``place``."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def filler(path: Path, room: int) -> Iterator[None]:
    """Leave ``room`` bytes of a file system."""
    free = shutil.disk_usage(path.parent).free
    path.write_bytes(bytes(max(0, free - room)))
    try:
        yield
    finally:
        path.unlink()


@pytest.mark.slow
def test_a_small_file_system(tmp_path: Path, whole: Path, rng: np.random.Generator) -> None:
    """The same on a real one: what the system says and does, not what we think it does."""
    disk = tmp_path / "disk"
    with small_disk(disk, 2000):
        for number, room in enumerate(rng.integers(0, 900_000, 30)):
            fill_and_resume(disk / str(number), whole, filler(disk / "filler", int(room)))
            shutil.rmtree(disk / str(number))


def start(folder: Path, *at: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, killed_run.__file__, str(folder), str(STEPS), "0", "langevin", *map(str, at)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


def kill_until_done(folder: Path, whole: Path, moments: Iterator[int], most: int) -> tuple[int, list[int]]:
    """Start, be killed, start again; returns the kills and the steps that were reached. One finishes it at last."""
    kills, steps = 0, []
    while kills < most:
        process = start(folder, next(moments))
        _, said = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said.decode()[-2000:]
        kills += 1
        steps.append(check_what_is_left(folder, whole))
        assert steps == sorted(steps)
    killed_run.run(folder, STEPS)
    assert digests(folder) == digests(whole)
    return kills, steps


@pytest.mark.more
def test_kill_9_in_the_middle_of_writing(tmp_path: Path, whole: Path) -> None:
    kills, _ = kill_until_done(tmp_path / "run", whole, iter([25, 40]), 2)
    assert kills == 2


@pytest.mark.slow
def test_a_hundred_moments_of_kill_9(tmp_path: Path, whole: Path, rng: np.random.Generator) -> None:
    total, reached = 0, []
    moments = (int(n) for n in rng.integers(1, 120, 1000))
    while total < 100:
        kills, steps = kill_until_done(tmp_path / "run", whole, moments, 100 - total)
        total, reached = total + kills, reached + steps
        shutil.rmtree(tmp_path / "run")
    print(f"\nkill -9: {total} moments, {sum(s < 0 for s in reached)} of them before the first checkpoint")


@pytest.mark.more
def test_a_folder_that_is_taken_away(tmp_path: Path) -> None:
    """Removed while the run goes on: one error that names it."""
    from jaxelyte.dynamics.runner import Runner

    folder, original = tmp_path / "run", Runner.checkpoint

    def checkpoint(self: Runner) -> None:
        if self.step:
            shutil.rmtree(folder, ignore_errors=True)
        original(self)

    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "checkpoint", checkpoint)
        with pytest.raises(StorageError, match=r"cannot write .*checkpoint\.npz.*moved or removed"):
            simulate(Argon(), atoms, NVE(), steps=10, every=5, velocities=50.0, output=folder, progress=False)


def test_one_run_a_folder(tmp_path: Path) -> None:
    from jaxelyte.storage import claimed

    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    arguments = dict(steps=10, every=5, velocities=50.0, output=tmp_path / "run", progress=False)
    with claimed(tmp_path / "run"), pytest.raises(InputError, match="is in use: process"):
        simulate(Argon(), atoms, NVE(), resume=True, **arguments)
    assert simulate(Argon(), atoms, NVE(), resume=True, **arguments).completed
    assert not (tmp_path / "run" / ".lock").exists()


def test_damaged_folders_are_refused_by_name(tmp_path: Path, whole: Path) -> None:
    for name in ("trajectory.h5", "log.csv", "checkpoint.npz", "summary.json", "trajectory.extxyz", "config.json"):
        for keep in (0.0, 0.4, None):
            folder = tmp_path / "run"
            shutil.copytree(whole, folder)
            path = folder / name
            path.unlink() if keep is None else os.truncate(path, int(keep * path.stat().st_size))
            before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            if name in ("trajectory.h5", "log.csv", "checkpoint.npz") or (name == "summary.json" and keep is not None):
                with pytest.raises(InputError, match=name):
                    load_run(folder)
            if not (name == "summary.json" and keep is None):
                with pytest.raises(InputError, match=name):
                    killed_run.run(folder, STEPS + 20)
                assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
            shutil.rmtree(folder)
