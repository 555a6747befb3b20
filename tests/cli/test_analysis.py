"""The report of a run: the numbers of the functions behind it, and reasons where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.cli.analysis import analyse_trajectory
from jaxelyte.trajectory import Trajectory

CHARGES = {"Na": 1.0, "Cl": -1.0}
OPTIONS: dict[str, Any] = {"title": "walk <1>", "charges": CHARGES, "permittivity": 78.3, "discard": 0}


@pytest.fixture
def walkers(rng: np.random.Generator) -> Trajectory:
    atoms = Atoms("Na4Cl4O8")
    steps = rng.normal(0.0, 0.15, (800, 2, 16, 3))
    return Trajectory(
        positions=np.cumsum(steps, axis=0) + 5.0,
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.eye(3) * 12.0,
        pbc=(True, True, True),
        steps=np.arange(800),
        times=np.arange(800) * 100.0,
    )


def test_report_says_what_the_functions_say(walkers: Trajectory, tmp_path: Path) -> None:
    result = jxl.rdf(walkers, pairs=[("Na", "Cl"), ("Na", "O")], width=0.5)
    found = analyse_trajectory(walkers, result, tmp_path, temperature=300.0, viscosity=1e-3, **OPTIONS)
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored == json.loads(json.dumps(found))
    for species in ("Na", "Cl", "O"):
        own = jxl.diffusivity(walkers, species, viscosity=1e-3, temperature=300.0)
        assert stored["diffusion"][species]["value_m2_s"] == pytest.approx(own.value, rel=1e-12)
        assert stored["diffusion"][species]["error_m2_s"] == pytest.approx(own.error, rel=1e-12)
    own = jxl.conductivity(walkers, CHARGES, temperature=300.0)
    assert stored["conductivity"]["value_S_m"] == pytest.approx(own.value, rel=1e-12)
    assert set(stored["pmf"]) == {"Na-Cl"}
    page = (tmp_path / "report.html").read_text()
    assert "walk &lt;1&gt;" in page
    assert page.count("data:image/png;base64,") >= 6


def test_what_cannot_be_computed_is_said(walkers: Trajectory, tmp_path: Path) -> None:
    timeless = replace(walkers, times=np.full(800, np.nan))
    result = jxl.rdf(timeless, "Na", "Cl", width=0.5)
    found = analyse_trajectory(timeless, result, tmp_path, temperature=None, viscosity=None, **OPTIONS)
    assert found["diffusion"] == {}
    assert found["conductivity"] is None
    page = (tmp_path / "report.html").read_text()
    assert "the frames have no times" in page
    assert "pass --temperature" in page
