"""Kinetic temperatures by species, and atoms that keep energies of their own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.dynamics.equipartition import Equipartition, equipartition
from jaxelyte.units import BOLTZMANN

MASSES, NUMBERS = np.array([[40.0] * 10 + [4.0] * 6]), np.array([[18] * 10 + [2] * 6])


def kinetic(rng: np.random.Generator, kelvin: np.ndarray, blocks: int = 64, frames: int = 10) -> np.ndarray:
    """Sums over frames of the kinetic energies of independent Maxwell distributions, (blocks, 1, atoms)."""
    squares = rng.chisquare(3, (blocks, frames, 1, len(kelvin))).sum(axis=1)
    return 0.5 * BOLTZMANN * kelvin * squares


def judged(sums: np.ndarray, *, center_fixed: bool = False) -> Equipartition:
    return equipartition(sums, np.full(len(sums), 10), NUMBERS, MASSES, center_fixed=center_fixed)


def test_equal_atoms_give_no_alarm() -> None:
    rng = np.random.default_rng(0)
    found = [judged(kinetic(rng, np.full(16, 300.0))) for _ in range(60)]
    assert sum(bool(one.fault) for one in found) == 0
    z = [(one.species["Ar"][0] - 300.0) / float(one.species["Ar"][1].error) for one in found]
    # 0.09 is the scatter of 60; the error itself has about four degrees of freedom.
    assert 0.7 < np.sqrt(np.nanmean(np.square(z))) < 1.4


def test_atoms_and_species_of_their_own_are_found() -> None:
    rng = np.random.default_rng(1)
    spread = np.array([1.36, 0.77] * 8) * 282.0
    found = judged(kinetic(rng, spread))
    assert "kinetic temperatures of single atoms differ lastingly, by" in found.fault
    assert found.spread == pytest.approx(0.295 / 1.065, rel=0.15)
    species = judged(kinetic(rng, np.array([280.0] * 10 + [340.0] * 6)))
    assert "species differ from the mean of 30" in species.fault
    assert "He 3" in species.fault
    entry = species.entry()
    assert entry["by_species"]["Ar"]["value"] == pytest.approx(280.0, rel=0.02)
    assert entry["fault"] == species.fault


def test_a_fixed_centre_takes_more_from_heavy_atoms() -> None:
    """Momenta relative to the centre of mass: m v² averages to 3 k_B T (1 - m / M)."""
    rng = np.random.default_rng(2)
    velocities = rng.normal(size=(6400, 16, 3)) * np.sqrt(BOLTZMANN * 300.0 / MASSES[0])[:, None]
    velocities -= (MASSES[0] @ velocities / MASSES.sum())[:, None]
    sums = 0.5 * np.sum(MASSES[0, :, None] * velocities**2, axis=2).reshape(640, 10, 1, 16).sum(axis=1)
    found = judged(sums, center_fixed=True)
    for name in ("Ar", "He"):
        value, error = found.species[name]
        assert abs(value - 300.0) < 4 * float(error.error)
        assert float(error.error) < 4.0
    assert not found.fault


@pytest.mark.parametrize("thermostat", ["svr", pytest.param("langevin", marks=pytest.mark.more)])
def test_a_run_warns_where_atoms_do_not_exchange_energy(thermostat: str) -> None:
    """Wells that are not coupled: the mean is that of the thermostat, single atoms keep what they began with."""
    anchors = np.random.default_rng(0).random((12, 3)) * 25.0
    atoms = Atoms("Ar12", anchors, cell=[30.0] * 3, pbc=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = jxl.simulate(
            jxl.HarmonicRestraint(anchors, 1.0), atoms, jxl.NVT(300.0, thermostat), steps=8000, timestep=4.0, every=20,
            progress=False,
        )  # fmt: skip
    told = [str(one.message) for one in caught if "energy passes too slowly between the atoms" in str(one.message)]
    assert len(told) == (thermostat == "svr")
    temperature = run.summary["temperature"]
    assert set(temperature["by_species"]) == {"Ar"}
    assert temperature["by_species"]["Ar"]["value"] == pytest.approx(temperature["value"], rel=0.02)
    if thermostat == "svr":
        assert temperature["lasting_spread_of_atoms"] > 0.2
        assert "langevin" in told[0]
