"""Agreement with OpenMM's reference platform, an independent code in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms

from jaxelyte.build import electrolyte
from jaxelyte.potentials import water as spcfw
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.water import find_water, ion_parameters, spc_fw
from jaxelyte.units import COULOMB
from periodic import CELLS, evaluate, rms, salt

openmm = pytest.importorskip("openmm", reason="OpenMM is not installed (extra: test)")
unit: Any = openmm.unit

EV = 96.48533212
"""One eV in kJ/mol."""
COULOMB_RATIO = COULOMB / (138.935456 * 10 / EV)
"""Our Coulomb constant over OpenMM's, which has nine digits."""
IONS = {"Na": 1, "Cl": -1}


def run_openmm(atoms: Atoms, forces: list[Any]) -> tuple[float, np.ndarray]:
    """Energy in eV and forces in eV/Å."""
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in atoms.cell.array / 10))
    for force in forces:
        system.addForce(force)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(atoms.positions / 10)
    state = context.getState(getEnergy=True, getForces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / EV
    vectors = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer) / EV / 10
    return energy, np.asarray(vectors)


def nonbonded(atoms: Atoms, charges: dict[str, float], lj: dict[str, tuple[float, float]], cutoff: float) -> Any:
    """Ewald summation to 1e-7 and truncated Lennard-Jones."""
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.Ewald)
    force.setEwaldErrorTolerance(1e-7)
    force.setCutoffDistance(cutoff / 10)
    for symbol in atoms.get_chemical_symbols():
        sigma, epsilon = lj.get(symbol, (1.0, 0.0))
        force.addParticle(charges[symbol], sigma / 10, epsilon * EV)
    return force


@pytest.mark.parametrize(
    ("cell", "accuracy"), [pytest.param("cubic", 2e-6, marks=pytest.mark.more), ("triclinic", 2e-4)]
)
def test_random_ions(cell: str, accuracy: float) -> None:
    """OpenMM's Ewald sum knows rectangular cells only; in the triclinic one its PME sets the accuracy."""
    atoms = salt(30, CELLS[cell], seed=11)
    force = nonbonded(atoms, IONS, {}, 5.0)
    if cell == "triclinic":
        force.setNonbondedMethod(openmm.NonbondedForce.PME)
        force.setEwaldErrorTolerance(2e-6)
    energy, forces = run_openmm(atoms, [force])
    for method, tolerance in (("ewald", 1e-6), ("p3m", 1e-4)):
        ours = evaluate(ScreenedCoulomb(IONS, method=method, tolerance=tolerance), atoms)
        assert rms(ours.forces - forces * COULOMB_RATIO) < max(tolerance, accuracy)
        assert ours.energy == pytest.approx(energy * COULOMB_RATIO, abs=30 * max(tolerance, accuracy))


def test_lennard_jones_mixture_with_switch() -> None:
    """Without the tail: OpenMM counts N (N + 1)/2 like pairs there, which differs at order 1/N."""
    atoms = salt(30, CELLS["cubic"], seed=0)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)[:30] * 3.5
    atoms.positions = grid + np.random.default_rng(0).normal(0, 0.2, (30, 3))
    lj = {"Na": (2.2, 0.02), "Cl": (3.4, 0.005)}
    force = nonbonded(atoms, {"Na": 0, "Cl": 0}, lj, 6.5)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(0.55)
    force.setUseDispersionCorrection(False)
    energy, forces = run_openmm(atoms, [force])
    sigma, epsilon = {s: v[0] for s, v in lj.items()}, {s: v[1] for s, v in lj.items()}
    ours = evaluate(LennardJones(sigma, epsilon, cutoff=6.5, switch=5.5, tail_correction=False), atoms)
    assert ours.energy == pytest.approx(energy, rel=1e-7)
    np.testing.assert_allclose(ours.forces, forces, atol=1e-9)


def test_spc_fw_with_joung_cheatham_ions() -> None:
    atoms = electrolyte({"Na": 2, "Cl": 2}, waters=60, seed=3)
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    cutoff = 5.5
    ions = ion_parameters("joung-cheatham")
    charges = spcfw.CHARGES | {s: ions[s][0] for s in ("Na", "Cl")}
    lj = {"O": spcfw.OXYGEN} | {s: ions[s][1:] for s in ("Na", "Cl")}
    force = nonbonded(atoms, charges, lj, cutoff)
    force.setUseDispersionCorrection(False)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for o, h1, h2 in find_water(atoms).tolist():
        for h in (h1, h2):
            bonds.addBond(o, h, spcfw.BOND_LENGTH / 10, spcfw.BOND_CONSTANT * EV * 100)
        angles.addAngle(h1, o, h2, spcfw.ANGLE, spcfw.ANGLE_CONSTANT * EV)
        for a, b in ((o, h1), (o, h2), (h1, h2)):
            force.addException(a, b, 0.0, 0.1, 0.0)
    bonds.setUsesPeriodicBoundaryConditions(True)
    angles.setUsesPeriodicBoundaryConditions(True)
    energy, forces = run_openmm(atoms, [force, bonds, angles])
    ours = evaluate(spc_fw(atoms, cutoff=cutoff, switch=cutoff, tail_correction=False, tolerance=1e-6), atoms)
    assert rms(ours.forces - forces) < 1e-5
    assert ours.energy == pytest.approx(energy, abs=2e-4)


def test_ion_parameters_are_those_that_openmm_ships() -> None:
    """amber14/spce.xml holds the Joung-Cheatham set for SPC/E, in nm and kJ/mol."""
    from pathlib import Path
    from xml.etree import ElementTree as ET

    import openmm.app

    path = Path(openmm.app.__file__).parent / "data" / "amber14" / "spce.xml"
    table = {e.get("type"): e for e in ET.parse(path).getroot().iter("Atom") if e.get("sigma")}
    for symbol, (charge, sigma, epsilon) in ion_parameters("joung-cheatham").items():
        entry = table[f"spce_standard-{symbol}{'+' if charge > 0 else '-'}"]
        assert sigma == pytest.approx(10 * float(entry.get("sigma", "nan")), rel=1e-6)
        assert epsilon == pytest.approx(float(entry.get("epsilon", "nan")) / EV, rel=1e-6)
