"""Start structures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms

from jaxelyte.build import electrolyte
from jaxelyte.errors import InputError
from jaxelyte.units import AVOGADRO


def closest_contact(atoms: Atoms, waters: int) -> float:
    molecule = np.concatenate([np.arange(3 * waters) // 3, 3 * waters + np.arange(len(atoms) - 3 * waters)])
    distances = atoms.get_all_distances(mic=True)
    return float(distances[molecule[:, None] != molecule].min())


@pytest.mark.parametrize("waters", [32, 65, 100])
def test_nothing_overlaps_and_the_density_is_right(waters: int) -> None:
    atoms = electrolyte({"Na": 4, "Cl": 4}, waters=waters, density=1.05, seed=1)
    assert atoms.symbols.formula.count() == {"O": waters, "H": 2 * waters, "Na": 4, "Cl": 4}
    assert closest_contact(atoms, waters) > 1.5
    density = atoms.get_masses().sum() / AVOGADRO / (atoms.get_volume() * 1e-24)
    assert density == pytest.approx(1.05, rel=1e-4)


def test_concentration_fixes_the_volume() -> None:
    atoms = electrolyte({"Li": 6, "Cl": 6}, concentration=2.4, density=1.05)
    assert 6 / AVOGADRO / (atoms.get_volume() * 1e-27) == pytest.approx(2.4)
    density = atoms.get_masses().sum() / AVOGADRO / (atoms.get_volume() * 1e-24)
    assert density == pytest.approx(1.05, abs=0.01)
    bare = electrolyte({"Li": 24, "Cl": 24}, waters=0, concentration=2.47)
    assert len(bare) == 48
    assert closest_contact(bare, 0) > 5.0


def test_the_seed_decides() -> None:
    first, same, other = (electrolyte({"K": 1, "F": 1}, waters=10, seed=s) for s in (5, 5, 6))
    assert np.array_equal(first.positions, same.positions)
    assert not np.array_equal(first.positions, other.positions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ions": {"Qq": 1}, "waters": 5}, "'Qq' is not a chemical symbol"),
        ({"ions": {"Na": -1}, "waters": 5}, "number of Na"),
        ({"ions": {"Na": 1}}, "give waters, or a concentration"),
        ({"ions": {}, "concentration": 1.0}, "needs at least one ion"),
        ({"ions": {"Na": 1}, "waters": 5, "density": -1.0}, "density = -1 g/cm³ cannot be"),
        ({"ions": {"Na": 1}, "waters": 5, "density": 1.0, "concentration": 1.0}, "contradict"),
        ({"ions": {"Na": 1}, "waters": 20, "density": 20.0}, "lower density"),
        ({"ions": {"Na": 1}, "waters": 20, "density": 998.0}, r"write 0\.998, if it is in kg/m³"),
        ({"ions": "NaCl", "waters": 5}, r"ions must be a dictionary such as \{'Na': 4, 'Cl': 4\}, not 'NaCl'"),
        ({"ions": {"Na": 1.5}, "waters": 5}, "the number of Na must be a non-negative integer"),
        ({"ions": {"Na": 1}, "concentration": 1000.0}, "concentration = 1000 mol/L .*write 1, if it is in mol/m³"),
        ({"ions": {"Na": 4}, "concentration": 100.0}, "100 mol/L at a density of 1 g/cm³ leaves no room for water"),
        ({"ions": {}, "waters": 0}, "the box would be empty"),
        ({"ions": {}, "waters": 5, "seed": -1}, "seed must be a non-negative integer"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        electrolyte(**arguments)


def test_salts_that_do_not_compensate_and_vapours_are_noticed() -> None:
    with pytest.warns(UserWarning, match=r"net charge of \+1 e \(4 Na of \+1 e, 3 Cl of -1 e\)") as found:
        electrolyte({"Na": 4, "Cl": 3}, waters=20)
    assert len(found) == 1
    with pytest.warns(UserWarning, match=r"density = 0\.001 g/cm³ is unusual"):
        electrolyte({}, waters=2, density=0.001)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ions in ({}, {"Na": 1}, {"Na": 2.0, "Cl": np.int64(2)}, {"Mg": 1, "Cl": 2}, {"Na": 1, "N": 1}):
            electrolyte(ions, waters=10)
