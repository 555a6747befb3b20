"""The ASE calculator: energies, forces and stress as ASE itself checks them, and its programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

import jaxelyte as jxl
from jaxelyte.errors import InputError
from toys import Argon, Well


def argon(repeat: int = 2, scale: float = 5.5) -> Atoms:
    atoms = bulk("Ar", "fcc", a=scale, cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize("name", ["cubic", "triclinic", "small", "molecule"])
def test_forces_and_stress_are_what_ase_gets_by_differences(name: str) -> None:
    atoms = argon()
    if name == "triclinic":
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + np.array([[0, 0.1, 0], [0, 0, -0.2], [0.05, 0, 0]])), scale_atoms=True
        )
    elif name == "small":
        atoms = argon(1)  # 5.5 Å wide, cut-off 6.5 Å: images
    elif name == "molecule":
        atoms.pbc = False
    atoms.calc = jxl.Calculator(Argon())
    forces, energy = atoms.get_forces(), atoms.get_potential_energy()
    assert energy == atoms.get_potential_energy(force_consistent=True)
    for atom, axis in [(0, 0), (3, 2)]:
        plus, minus = (displaced(atoms, atom, axis, step) for step in (1e-4, -1e-4))
        np.testing.assert_allclose(forces[atom, axis], -(plus - minus) / 2e-4, rtol=1e-5, atol=1e-8)
    if name == "molecule":
        with pytest.raises(Exception, match="stress"):
            atoms.get_stress()
        return
    stress = atoms.get_stress(voigt=False)
    for i, j in [(0, 0), (1, 2)]:
        plus, minus = (strained(atoms, i, j, step) for step in (1e-5, -1e-5))
        np.testing.assert_allclose(stress[i, j], (plus - minus) / 2e-5 / atoms.get_volume(), rtol=1e-5, atol=1e-9)


def displaced(atoms: Atoms, atom: int, axis: int, step: float) -> float:
    moved = atoms.copy()
    moved.positions[atom, axis] += step
    moved.calc = atoms.calc
    return moved.get_potential_energy()


def strained(atoms: Atoms, i: int, j: int, step: float) -> float:
    strain = np.eye(3)
    strain[i, j] += step / 2
    strain[j, i] += step / 2
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    moved.calc = jxl.Calculator(Argon())
    return moved.get_potential_energy()


@pytest.mark.usefixtures("fresh_programs")
def test_ase_dynamics_conserves_energy_and_hardly_compiles() -> None:
    atoms = argon(3)
    atoms.calc = jxl.Calculator(Argon())
    MaxwellBoltzmannDistribution(atoms, temperature_K=80, rng=np.random.default_rng(0))
    start = atoms.get_total_energy()
    VelocityVerlet(atoms, 4 * units.fs).run(60)
    # Second order: fluctuation of a few 1e-5 of the kinetic energy of 1.1 eV at 4 fs.
    assert abs(atoms.get_total_energy() - start) < 2e-3
    assert 1 <= atoms.calc.compilations <= 2


def test_ase_relaxation() -> None:
    atoms = argon()
    atoms.calc = jxl.Calculator(Argon())
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    fresh = bulk("Ar", "fcc", a=5.5, cubic=True).repeat(2)
    fresh.calc = atoms.calc
    np.testing.assert_allclose(atoms.get_potential_energy(), fresh.get_potential_energy(), atol=1e-3)


def test_same_as_simulate() -> None:
    atoms = argon(3)
    run = jxl.simulate(Argon(), atoms, jxl.NVE(), steps=1, every=1, velocities=10.0, progress=False)
    atoms.calc = jxl.Calculator(Argon())
    np.testing.assert_allclose(run.log["potential"][0, 0], atoms.get_potential_energy(), rtol=1e-12)


@pytest.mark.slow
def test_published_model_with_atomic_energies(reference: Path) -> None:
    """Total energies of 1e4 eV keep their digits; other atoms in the same calculator are no problem."""
    published = np.load(reference / "licl" / "reference.npz")
    calculator = jxl.Calculator(jxl.load_nequip(reference / "licl"))
    for k in (8, 3):
        atoms = Atoms(published[f"{k}_numbers"], published[f"{k}_positions"], cell=published[f"{k}_cell"])
        atoms.calc = calculator
        np.testing.assert_allclose(atoms.get_potential_energy(), published[f"{k}_energy"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), published[f"{k}_forces"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(atoms.get_potential_energies(), published[f"{k}_atomic_energy"], atol=1e-6)


def test_refusals() -> None:
    atoms = argon(1)
    atoms.positions[0] = np.nan
    atoms.calc = jxl.Calculator(Well(1.0))
    with pytest.raises(InputError, match="not finite"):
        atoms.get_potential_energy()
    assert "energies" not in atoms.calc.implemented_properties
