"""Trainings that end at a moment nobody chose: disk full or killed. What was reported is kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

import jaxelyte as jxl
import killed_training
from full_disk import full_disk
from jaxelyte.dynamics.checkpoint import load_arrays
from salt import quick, salt, same, without_times

ROOT = Path(__file__).parents[2]
EPOCHS = 8


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "frames.extxyz"
    write(path, salt(8), format="extxyz")
    return path


@pytest.fixture(scope="module")
def whole(frames: Path) -> jxl.Fit:
    return killed_training.run(frames, frames.parent / "whole")


def check_what_is_left(folder: Path) -> int:
    """The checkpoint counts epochs whose metrics are there; a model that is there can be read. Returns the epochs."""
    if not (folder / "checkpoint.npz").exists():
        return -1
    epochs = int(load_arrays(folder / "checkpoint.npz")["epoch"])
    rows = (folder / "metrics.jsonl").read_text().splitlines()
    assert epochs <= len(rows) <= epochs + 1
    if (folder / "model").exists():
        jxl.load_fit(folder)
    return epochs


def complaint(frames: Path, folder: Path) -> str | None:
    """What a training says that cannot write; None where it could."""
    try:
        killed_training.run(frames, folder)
    except (jxl.StorageError, jxl.InputError) as error:
        return str(error)
    return None


def fill_and_resume(frames: Path, folder: Path, whole: jxl.Fit, limit: contextlib.AbstractContextManager[None]) -> int:
    """A training on a disk that fills up, and its end when there is room; returns the epoch it had reached."""
    with limit:
        said = complaint(frames, folder)
    if said is None:
        return EPOCHS
    assert str(folder) in said
    assert "No space left" in said
    assert "with resume=True" in said or f"cannot write {folder}:" in said
    epochs = check_what_is_left(folder)
    assert [p for p in folder.glob(".*") if p.is_file()] == []
    resumed = killed_training.run(frames, folder)
    assert same(resumed, whole)
    assert without_times(resumed.metrics) == without_times(whole.metrics)
    assert same(jxl.load_fit(folder), whole)
    return epochs


def written(folder: Path) -> float:
    """About the bytes that the training writes: checkpoints, and the best model a few times."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
    return EPOCHS * (folder / "checkpoint.npz").stat().st_size + 3.0 * sum(sizes)


@pytest.mark.more
def test_a_full_disk_names_file_and_remedy(tmp_path: Path) -> None:
    frames = salt(8)
    whole = quick(frames, epochs=2)
    with full_disk(60_000), pytest.raises(jxl.StorageError, match=r"kept up to epoch 1 .* with resume=True"):
        quick(frames, epochs=2, output=tmp_path / "fit")
    resumed = quick(frames, epochs=2, output=tmp_path / "fit", resume=True)
    assert same(resumed, whole)


@pytest.mark.slow
def test_a_hundred_moments_of_a_full_disk(
    tmp_path: Path, frames: Path, whole: jxl.Fit, rng: np.random.Generator
) -> None:
    reached = []
    for number, share in enumerate(rng.uniform(0.0, 1.0, 100)):
        limit = full_disk(share * written(frames.parent / "whole"))
        reached.append(fill_and_resume(frames, tmp_path / str(number), whole, limit))
        shutil.rmtree(tmp_path / str(number))
    between = sum(0 < n < EPOCHS for n in reached)
    print(
        f"\nfull disk: {len(reached)} moments, {sum(n < 1 for n in reached)} before the first epoch, {between} between"
    )
    assert between > 40


def start(frames: Path, folder: Path, at: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, killed_training.__file__, str(frames), str(folder), "0", str(at)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


def kill_until_done(
    frames: Path, folder: Path, whole: jxl.Fit, moments: Iterator[int], most: int
) -> tuple[int, list[int]]:
    """Start, be killed, start again; returns the kills and the epochs that were reached. One finishes it at last."""
    kills, reached = 0, []
    while kills < most:
        process = start(frames, folder, next(moments))
        _, said = process.communicate(timeout=600)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said.decode()[-2000:]
        kills += 1
        reached.append(check_what_is_left(folder))
        assert reached == sorted(reached)
    resumed = killed_training.run(frames, folder)
    assert same(resumed, whole)
    assert without_times(resumed.metrics) == without_times(whole.metrics)
    assert [p.name for p in folder.glob(".*")] == []
    return kills, reached


@pytest.mark.slow
def test_a_hundred_moments_of_kill_9(tmp_path: Path, frames: Path, whole: jxl.Fit, rng: np.random.Generator) -> None:
    total, reached = 0, []
    moments = (int(n) for n in rng.integers(1, 120, 1000))
    while total < 100:
        kills, epochs = kill_until_done(frames, tmp_path / "fit", whole, moments, 100 - total)
        total, reached = total + kills, reached + epochs
        shutil.rmtree(tmp_path / "fit")
    print(f"\nkill -9: {total} moments, {sum(n < 0 for n in reached)} of them before the first checkpoint")
