"""The study in examples/: what its analysis counts, and both scripts at a tiny size, killed and continued."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from conftest import ROOT

FOLDER = ROOT / "examples" / "study"


@pytest.fixture(scope="module")
def analysis() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_analysis", FOLDER / "analysis.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pairs_form_and_break_with_a_margin(analysis: ModuleType) -> None:
    """Na and Cl across the boundary: bound at the start, twice over the edge, gone, and back."""
    distances = [2.8, 3.6, 3.9, 3.4, 4.2, 4.9, 4.5, 3.5, 2.9]  # the edge is 3.7 Å, a pair is gone beyond 4.7 Å
    frames = [Atoms("NaCl", [[0.5, 0, 0], [0.5 - d, 0, 0]], cell=[12.0] * 3, pbc=True) for d in distances]
    run = SimpleNamespace(trajectory=jxl.Trajectory.from_atoms(frames, interval=1.0))
    found = analysis.pairing(run, 5, 3.7)
    assert found == {"first": 1, "mean": pytest.approx(0.5), "last": 1, "formed": 1, "broken": 1}


def test_errors_of_several_runs(analysis: ModuleType) -> None:
    values = [1.0, 1.2, 0.8, 1.4]
    each = [{"value": v, "error": 0.1, "uncorrected": v - 0.1, "correction": 0.1} for v in values]
    found = analysis.combined([*each, {"value": math.nan, "error": math.nan, "uncorrected": math.nan, "correction": 0}])
    assert found["value"] == pytest.approx(1.1)
    assert found["spread"] == pytest.approx(np.std(values, ddof=1) / 2)
    assert found["error"] == found["spread"]  # the larger one
    small = analysis.combined([{**one, "value": 1.0, "error": 0.2} for one in each])
    assert small["error"] == pytest.approx(0.1)  # 0.2/√4
    assert analysis.cleaned({"a": [math.nan, 1.0], "b": (2, "x")}) == {"a": [None, 1.0], "b": [2, "x"]}


def test_distribution_functions_of_frames_that_differ(analysis: ModuleType, rng: np.random.Generator) -> None:
    """Uncorrelated atoms in cells of different sizes: g = 1."""
    frames = []
    for edge in (10.0, 11.0, 12.5):
        for _ in range(40):
            atoms = Atoms("Na4O60", rng.uniform(0, edge, (64, 3)), cell=[edge] * 3, pbc=True)
            frames.append(atoms)
    found = analysis.frames_rdf(frames)
    g, error = np.array(found["g"])[20:], np.array(found["error"])[20:]
    assert abs(np.mean((g - 1) / error)) < 4 / math.sqrt(len(g))
    assert 0.6 < np.std((g - 1) / error) < 1.4


STUDY = [
    "--potential",
    "nacl_r2scan",
    "--pairs",
    "1",
    "--runs",
    "2",
    "--picoseconds",
    "0.3",
    "--equilibration",
    "0.1",
    "--classical",
    "0.2",
]
LICL = ["--ions", "2", "--picoseconds", "0.1", "--equilibration", "0.04", "--classical", "0.2"]


def call(script: str, output: Path, options: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    command = [sys.executable, str(FOLDER / script), "--output", str(output), *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed_and_continued(script: str, output: Path, options: list[str], sign: Path) -> tuple[str, dict]:
    """Kill a script when a file has appeared; the second call ends, and what was there is not made again."""
    first = call(script, output, options)
    deadline = time.monotonic() + 900
    while not sign.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    text = first.communicate()[0]
    assert sign.exists(), text
    starts = {path: path.stat().st_mtime_ns for path in output.rglob("*.extxyz")}
    assert starts
    second = call(script, output, options)
    text = second.communicate(timeout=900)[0]
    assert second.returncode == 0, text
    assert all(path.stat().st_mtime_ns == at for path, at in starts.items())
    return text, json.loads((output / "results.json").read_text())


@pytest.mark.slow
def test_the_study_goes_on_after_a_kill(tmp_path: Path) -> None:
    output = tmp_path / "study"
    _, found = killed_and_continued("study.py", output, STUDY, output / "runs" / "0" / "checkpoint.npz")
    assert found["system"] == "H44ClNaO22"
    assert found["edge_A"] == pytest.approx((1e4 / (6.02214076 * 2.4)) ** (1 / 3), rel=0.01)
    assert [one["start"] for one in found["pairs"]] == ["apart", "paired"]
    assert 2.0 < found["structure"]["Na-O"]["peak_A"][0] < 2.8
    assert found["diffusion"]["Na"]["value"] is None  # 0.3 ps say nothing about diffusion, and no number is made up
    assert (output / "structure.png").stat().st_size > 10_000
    assert (output / "diffusion.png").stat().st_size > 10_000
    other = call("study.py", output, [*STUDY, "--seed", "2"])
    text = other.communicate(timeout=300)[0]
    assert other.returncode != 0
    assert "was begun with another seed" in text


@pytest.mark.slow
def test_lithium_chloride_goes_on_after_a_kill(tmp_path: Path, reference: Path) -> None:
    assert (reference / "licl" / "state_dict.npz").is_file()
    output = tmp_path / "licl"
    _, found = killed_and_continued("licl.py", output, LICL, output / "run" / "checkpoint.npz")
    assert 1.9 < found["structure"]["Li-O"]["summary"]["published_peak"][0] < 2.05
    assert found["diffusion"]["Li"]["value"] is None
    assert found["diffusion"]["Li"]["published_displacements"] == pytest.approx(0.96e-9, rel=0.05)
