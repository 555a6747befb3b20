"""The report of a run: the numbers of the functions behind it, and reasons where there are none."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from rich.console import Console

import jaxelyte as jxl
from jaxelyte.cli.analysis import analyse_trajectory
from jaxelyte.cli.objects import all_pairs, parse_charges
from jaxelyte.cli.report import section_table
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
    sections = analyse_trajectory(walkers, result, tmp_path, temperature=300.0, viscosity=1e-3, **OPTIONS)
    stored = json.loads((tmp_path / "report.json").read_text())
    own = jxl.pmf(result["Na-Cl"], 300.0)
    assert stored["pmf"]["Na-Cl"]["contact"]["energy_eV"] == pytest.approx(own.contact.energy, rel=1e-12)
    printed = Console(width=200, file=io.StringIO())
    for section in sections:
        printed.print(section_table(section))
    text = printed.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert str(own.contact) in text
    for species in ("Na", "Cl", "O"):
        own = jxl.diffusivity(walkers, species, viscosity=1e-3, temperature=300.0)
        assert stored["diffusion"][species]["value_m2_s"] == pytest.approx(own.value, rel=1e-12)
        assert stored["diffusion"][species]["error_m2_s"] == pytest.approx(own.error, rel=1e-12)
        assert f"{own.value * 1e9:.3f} ± {own.error * 1e9:.3f}" in text
    own = jxl.conductivity(walkers, CHARGES, temperature=300.0)
    assert f"{own.value:.2f} ± {own.error:.2f} S/m" in text
    assert stored["conductivity"]["value_S_m"] == pytest.approx(own.value, rel=1e-12)
    assert set(stored["pmf"]) == {"Na-Cl"}
    page = (tmp_path / "report.html").read_text()
    assert "walk &lt;1&gt;" in page
    assert page.count("data:image/png;base64,") >= 6


def test_what_cannot_be_computed_is_said(walkers: Trajectory, tmp_path: Path) -> None:
    timeless = replace(walkers, times=np.full(800, np.nan))
    result = jxl.rdf(timeless, "Na", "Cl", width=0.5)
    analyse_trajectory(timeless, result, tmp_path, temperature=None, viscosity=None, **OPTIONS)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["diffusion"] == {}
    assert found["conductivity"] is None
    page = (tmp_path / "report.html").read_text()
    assert "the frames have no times" in page
    assert "pass --temperature" in page


def test_ions_stand_first() -> None:
    """Of Na and O the coordination number is that of Na."""
    assert all_pairs(list(Atoms("NaClH4O2").symbols)) == (
        *(("Na", "Cl"), ("Na", "O"), ("Na", "H"), ("Cl", "O"), ("Cl", "H")),
        *(("O", "O"), ("O", "H"), ("H", "H")),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Na:1", "written as Na=1,Cl=-1"),
        ("Na=one,Cl=-1", "written as Na=1,Cl=-1"),
        ("Na=nan,Cl=-1", "written as Na=1,Cl=-1"),
        ("Na=1,Na=1", "each species once"),
        ("Na=1,Cl=-1,Li=1", "names Li, but the atoms are Cl, H, Na, O"),
        ("Na=1", r"adds up to \+2 e \(2 Na of \+1 e\)"),
        ("Na=1,Cl=-2", "adds up to -2 e"),
    ],
)
def test_bad_charges_are_named(text: str, message: str) -> None:
    symbols = list(Atoms("Na2Cl2H2O").symbols)
    with pytest.raises(jxl.InputError, match=message):
        parse_charges(text, symbols, periodic=True)


def test_charges_of_a_droplet_need_not_be_neutral() -> None:
    assert parse_charges("Na=1", ["Na", "O"], periodic=False) == {"Na": 1.0}
    assert parse_charges("Na=1, Cl=-1", ["Na", "Cl"], periodic=True) == {"Na": 1.0, "Cl": -1.0}
