"""Training that stopped goes on bitwise."""

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
from ase.io import write

import jaxelyte as jxl
import killed_training
from jaxelyte.dynamics.checkpoint import save_arrays
from jaxelyte.training.folder import TrainFolder
from salt import quick, salt, same, without_times


@pytest.mark.parametrize("committee", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_resumed_training_is_bitwise_the_same(tmp_path: Path, committee: int | None) -> None:
    frames = salt(8)
    whole = quick(frames, epochs=4, output=tmp_path / "whole", committee=committee)
    part = quick(frames, epochs=2, output=tmp_path / "part", committee=committee)
    assert not same(whole, part)
    resumed = quick(frames, epochs=4, output=tmp_path / "part", committee=committee, resume=True)
    assert same(whole, resumed)
    assert without_times(whole.metrics) == without_times(resumed.metrics)
    lines = (tmp_path / "part" / "metrics.jsonl").read_text().splitlines()
    assert without_times([json.loads(line) for line in lines]) == without_times(whole.metrics)
    assert same(jxl.load_fit(tmp_path / "part"), whole)
    with pytest.raises(jxl.InputError, match="other settings: seed 0 → 5"):
        quick(frames, epochs=4, output=tmp_path / "part", committee=committee, resume=True, seed=5)
    with pytest.raises(jxl.InputError, match="exists"):
        quick(frames, output=tmp_path / "part")
    for name in ("checkpoint.npz", "config.json"):
        (tmp_path / "part" / name).unlink()
        before = {p: p.read_bytes() for p in (tmp_path / "part").rglob("*") if p.is_file()}
        with pytest.raises(jxl.InputError, match=f"no {name} to resume"):
            quick(frames, epochs=5, output=tmp_path / "part", committee=committee, resume=True)
        assert {p: p.read_bytes() for p in (tmp_path / "part").rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_killed_training_resumes_bitwise(tmp_path: Path) -> None:
    """kill -9 in the middle, resume: weights and metrics of an uninterrupted run."""
    frames, whole, broken = tmp_path / "frames.extxyz", tmp_path / "whole", tmp_path / "broken"
    write(frames, salt(8), format="extxyz")
    uninterrupted = killed_training.run(frames, whole)
    arguments = [sys.executable, killed_training.__file__, str(frames), str(broken), "0.5"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(arguments, env=os.environ | {"PYTHONPATH": str(root)}, stderr=subprocess.DEVNULL)
    metrics = broken / "metrics.jsonl"
    try:
        deadline = time.monotonic() + 180
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.is_file() and len(metrics.read_text().splitlines()) >= 3:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert 3 <= len(metrics.read_text().splitlines()) < 8
    resumed = killed_training.run(frames, broken)
    assert same(resumed, uninterrupted)
    assert without_times(resumed.metrics) == without_times(uninterrupted.metrics)
    rates = [row["learning_rate"] for row in resumed.metrics]
    assert len(rates) == 8
    assert min(rates) < max(rates)  # the plateau rule had something to remember


def test_checkpoints_with_an_optimiser_of_many_arrays(tmp_path: Path) -> None:
    """Those of earlier versions are refused by name, and nothing else is said about them."""
    settings = {"data_sha256": "0", "split_method": "blocks", "accumulate": 1}
    folder = TrainFolder(tmp_path, settings, resume=False, overwrite=False)
    folder.open()
    earlier = {"state[0].optimizer.inner_states['train'].inner_state.mu": np.zeros(2)}
    save_arrays(folder.path / "checkpoint.npz", earlier | {"epoch": np.array(1), "host": np.array("{}")})
    again = TrainFolder(folder.path, settings, resume=True, overwrite=False)
    with pytest.raises(jxl.InputError, match="cannot be resumed; the best model of its folder can be read"):
        again.restore({"a": np.zeros(2)})
