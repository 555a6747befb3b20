"""Water detection and the SPC/Fw electrolyte."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms

from jaxelyte.build import electrolyte
from jaxelyte.errors import InputError
from jaxelyte.potentials import water
from jaxelyte.potentials.water import find_water, spc_fw
from periodic import energy, evaluate


def molecule(length: float = water.BOND_LENGTH, angle: float = water.ANGLE) -> Atoms:
    half = angle / 2
    arms = length * np.array([[math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]])
    return Atoms("OH2", positions=[[0, 0, 0], *arms])


def test_one_molecule_at_rest_and_stretched() -> None:
    """The isolated molecule has no electrostatics of its own: all its pairs are excluded."""
    rest = evaluate(spc_fw(molecule()), molecule())
    assert rest.energy == pytest.approx(0.0, abs=1e-12)
    assert np.abs(rest.forces).max() < 1e-6
    bent = molecule(water.BOND_LENGTH + 0.05, water.ANGLE + 0.1)
    expected = water.BOND_CONSTANT * 0.05**2 + 0.5 * water.ANGLE_CONSTANT * 0.1**2
    assert energy(spc_fw(bent), bent) == pytest.approx(expected, rel=1e-9)


def test_molecules_are_found_in_any_order_and_across_the_boundary() -> None:
    atoms = electrolyte({"Na": 2, "Cl": 2}, waters=30, seed=1)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(atoms))
    shuffled = atoms[order]
    shuffled.positions += rng.integers(-1, 2, (len(atoms), 3)) @ atoms.cell.array
    found = {tuple(sorted(order[list(m)].tolist())) for m in find_water(shuffled).tolist()}
    assert found == {(3 * i, 3 * i + 1, 3 * i + 2) for i in range(30)}
    assert energy(spc_fw(shuffled, tolerance=1e-5), shuffled) == pytest.approx(
        energy(spc_fw(atoms, tolerance=1e-5), atoms), abs=1e-8
    )


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]]), "oxygen 0 has 1 hydrogens"),
        (Atoms("OH3", positions=[[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]), "oxygen 0 has 3 hydrogens"),
        (molecule() + Atoms("H", positions=[[9, 9, 9]]), "hydrogen 3 has no oxygen"),
        (molecule() + Atoms("Au", positions=[[9, 9, 9]]), r"no ion parameters for Au \(atom 3\)"),
    ],
)
def test_what_is_not_water_is_named(atoms: Atoms, message: str) -> None:
    with pytest.raises(InputError, match=message):
        spc_fw(atoms)


def test_own_ion_parameters() -> None:
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 3.0]])
    table = {"Na": (0.5, 2.0, 0.01), "Cl": (-0.5, 4.0, 0.01)}
    exact = -0.25 * 14.399645478 / 3.0  # the Lennard-Jones part vanishes at r = σ
    assert energy(spc_fw(atoms, table), atoms) == pytest.approx(exact, rel=1e-9)
    with pytest.raises(InputError, match="unknown ions 'smith-dang'"):
        spc_fw(atoms, "smith-dang")
