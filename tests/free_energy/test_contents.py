"""What free energies say that they contain: process, sign, standard state, corrections."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from jaxelyte.cli.free_energy import tables
from jaxelyte.free_energy import PathResult, charge_correction, difference
from jaxelyte.free_energy.contents import Contents, of_insertion, of_mixture
from jaxelyte.free_energy.insertion import Insertion
from jaxelyte.free_energy.quadrature import nodes_and_weights
from jaxelyte.potentials.base import Potential, Sum, mix
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN

CELL = np.array([[12.0, 0.0, 0.0], [3.0, 11.0, 0.0], [0.0, -2.0, 13.0]])
BOX = Atoms("NaClNa", [[1.0, 1.0, 1.0], [4.0, 4.0, 4.0], [7.0, 1.0, 2.0]], cell=CELL, pbc=True)
NEUTRAL = ScreenedCoulomb({"Na": 0.0, "Cl": 0.0})


def sodium(charge: float, **options: float) -> Potential:
    return ScreenedCoulomb({"Na": charge}, **options)


def test_charging_an_ion_includes_its_images() -> None:
    """With its sign, and as much as `charge_correction` takes out of it, in any cell."""
    ion = Atoms("NaO", [[1.0, 1.0, 1.0], [5.0, 5.0, 5.0]], cell=CELL, pbc=True)
    found = of_mixture(sodium(0.0), sodium(2.0) + HarmonicRestraint(ion.positions, 1.0), ion)
    images = -charge_correction(2.0, CELL, 1.0).self_interaction
    assert images < -2.0
    assert found.image_energy == pytest.approx(images, rel=1e-9)
    assert "the charges of 1 atom (Na) change, that of the system from +0 to +2 e" in found.process
    assert "positive where the final potential is the less favourable one" in found.process
    assert f"includes {images:.4f} eV" in found.corrections
    assert "charge_correction" in found.corrections
    # Backwards, in a dielectric, of a multiple, and half of the way.
    assert of_mixture(sodium(2.0), sodium(0.0), ion).image_energy == pytest.approx(-images)
    assert of_mixture(sodium(0.0), sodium(2.0, permittivity=4.0), ion).image_energy == pytest.approx(images / 4.0)
    assert of_mixture(sodium(0.0), 3.0 * sodium(2.0), ion).image_energy == pytest.approx(3.0 * images)
    halfway = of_mixture(sodium(0.0), mix(sodium(0.0), sodium(2.0), 0.5), ion)
    assert halfway.image_energy == pytest.approx(0.5 * images)
    charges = np.array([0.0, 2.0])  # one per atom
    assert of_mixture(ScreenedCoulomb(np.zeros(2)), ScreenedCoulomb(charges), ion).image_energy == pytest.approx(images)


def test_nothing_is_said_to_be_missing_where_nothing_is() -> None:
    """Cells that stay neutral, or charged alike; no lattice sum, no cell; no charges at all."""
    salt = ScreenedCoulomb({"Na": 1.0, "Cl": -2.0})
    found = of_mixture(NEUTRAL, salt, BOX)
    assert (found.image_energy, "no net charge changes" in found.corrections) == (0.0, True)
    assert "3 atoms (Cl, Na) change, that of the system from +0 to +0 e" in found.process
    alike = of_mixture(sodium(1.0), sodium(1.0) + HarmonicRestraint(BOX.positions, 1.0), BOX)
    assert (alike.image_energy, alike.corrections) == (0.0, "none added")
    assert "charge" not in alike.process
    cut = ScreenedCoulomb({"Na": 1.0}, method="cutoff", cutoff=5.0)
    assert of_mixture(sodium(0.0), cut, BOX).image_energy == 0.0
    assert of_mixture(sodium(0.0), sodium(1.0), Atoms("NaCl", [[0, 0, 0], [3, 0, 0]])).image_energy == 0.0
    springs = [HarmonicRestraint(BOX.positions, k) for k in (1.0, 2.0)]
    assert of_mixture(*springs, BOX).corrections == "none added"


def test_contents_are_in_the_result_its_file_and_its_table(tmp_path: Path, rng: np.random.Generator) -> None:
    lam, weights = nodes_and_weights(3, "clenshaw-curtis")
    contents = of_mixture(sodium(0.0), sodium(1.0), BOX[:2])
    gaps = [rng.normal(-one, 1.0, 200) * BOLTZMANN * 300.0 for one in lam]
    leg = difference(gaps, lam, 300.0, weights=weights, contents=contents)
    path = PathResult((leg, leg), contents=contents)
    inserted = Insertion("Ar", 0.1, 0.01, 300.0, 100, 0.4, contents)
    for number, one in enumerate((leg, path, inserted)):
        assert contents.corrections in repr(one)
        assert contents.process in repr(one)
        assert contents.standard_state in repr(one)
        one.to_json(tmp_path / f"{number}.json")
        stored = json.loads((tmp_path / f"{number}.json").read_text())["contents"]
        assert stored["image_energy_eV"] == contents.image_energy
        assert stored["corrections"] == contents.corrections
    for one in (leg, path):
        last = tables(one)[-1]
        assert [list(column.cells) for column in last.columns][1] == [
            contents.process,
            contents.standard_state,
            contents.corrections,
        ]
    plain = difference(gaps, lam, 300.0, weights=weights)
    assert "F(λ = 1) - F(λ = 0)" in repr(plain)


def test_insertion_names_its_standard_state() -> None:
    """Excess over an ideal gas; a particle that makes the cell charged has images."""
    before = System.from_atoms(BOX[1:2])
    after = System.from_atoms(BOX[:2])
    found = of_insertion("Na", sodium(1.0), before, after)
    assert found.image_energy == pytest.approx(-charge_correction(1.0, CELL, 1.0).self_interaction, rel=1e-6)
    assert "ideal gas of the same density" in found.standard_state
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(
            of_insertion("Na", Sum((NEUTRAL, HarmonicRestraint(BOX.positions[:1], 1.0))), before, after), Contents
        )
