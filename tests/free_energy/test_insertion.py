"""Chemical potentials: insertions, ideal gas, corrections of charged cells."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.dynamics import NVT, simulate
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.free_energy import charge_correction, ideal_chemical_potential, widom
from jaxelyte.interop.ase_calculator import Calculator
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.trajectory import Trajectory
from jaxelyte.units import BOLTZMANN, COULOMB
from toys import Shifted

TEMPERATURE = 300.0
THERMAL = BOLTZMANN * TEMPERATURE


def gas(rng: np.random.Generator, frames: int, atoms: int, cell: np.ndarray) -> Trajectory:
    return Trajectory(
        positions=rng.random((frames, 2, atoms, 3)) @ cell,
        numbers=np.full(atoms, 18),
        masses=np.full(atoms, 39.9),
        cells=cell,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * 10.0,
    )


def test_a_constant_energy_is_the_chemical_potential(rng: np.random.Generator) -> None:
    """ΔU is the same everywhere; it counts interaction and reference energies alike."""
    found = widom(gas(rng, 12, 5, 20.0 * np.eye(3)), Shifted(0.05), "Ar", temperature=TEMPERATURE, per_frame=10)
    assert found.value == pytest.approx(0.05, abs=1e-9)
    far = widom(gas(rng, 12, 5, 20.0 * np.eye(3)), Shifted(-500.0), "Ar", temperature=TEMPERATURE, per_frame=10)
    assert far.value == pytest.approx(-500.0, abs=1e-9)
    assert found.insertions == 240
    assert found.contributing == pytest.approx(0.5, abs=0.01)


def test_replicas_in_another_order_are_refused(rng: np.random.Generator) -> None:
    frames = gas(rng, 12, 2, 20.0 * np.eye(3))
    with pytest.raises(UnsupportedError, match="cannot share one insertion"):
        widom(replace(frames, numbers=np.array([[18, 10], [10, 18]])), Shifted(0.05), "Ar", temperature=TEMPERATURE)


def test_few_frames_have_no_error(rng: np.random.Generator) -> None:
    with pytest.warns(UserWarning, match=r"no standard error from 2 frames"):
        found = widom(gas(rng, 1, 5, 20.0 * np.eye(3)), Shifted(0.05), "Ar", temperature=TEMPERATURE, per_frame=10)
    assert math.isnan(found.error)


def second_virial(sigma: float, epsilon: float, cutoff: float) -> float:
    r = np.linspace(1e-3, cutoff, 200_001)
    u = 4.0 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
    f = np.exp(-np.clip(u / THERMAL, -50, 700)) - 1.0
    return float(-2.0 * np.pi * np.trapezoid(f * r**2, r))


def test_one_atom_is_met_as_its_virial_coefficient_says(rng: np.random.Generator) -> None:
    """Into random frames of N atoms: <exp(-βΔU)> = (1 - 2 B2/V)^N exactly, in a triclinic cell."""
    cell = np.array([[16.0, 0.0, 0.0], [4.0, 15.0, 0.0], [-3.0, 2.0, 17.0]])
    sigma, epsilon, cutoff = 3.4, 0.02, 6.0
    potential = LennardJones({"Ar": sigma}, {"Ar": epsilon}, cutoff=cutoff, tail_correction=False)
    atoms = 3
    found = widom(gas(rng, 150, atoms, cell), potential, "Ar", temperature=TEMPERATURE, per_frame=100, at_once=30)
    volume = abs(np.linalg.det(cell))
    exact = -THERMAL * atoms * math.log(1.0 - 2.0 * second_virial(sigma, epsilon, cutoff) / volume)
    assert abs(found.value - exact) < 3.0 * found.error
    assert abs(exact) > 5.0 * found.error


@pytest.mark.more
def test_hopeless_insertions_are_said(rng: np.random.Generator, tmp_path: Path) -> None:
    huge = LennardJones({"Ar": 3.0, "Xe": 12.0}, {"Ar": 0.01, "Xe": 0.01}, cutoff=9.0)
    crowd = gas(rng, 5, 60, 18.5 * np.eye(3))
    with pytest.warns(UserWarning, match="too dense"):
        found = widom(crowd, huge, "Xe", temperature=TEMPERATURE, per_frame=200, at_once=100)
    found.to_json(tmp_path / "w.json")
    assert json.loads((tmp_path / "w.json").read_text())["insertions"] == 2000
    frames = gas(rng, 4, 3, 20.0 * np.eye(3))
    with pytest.raises(InputError, match="symbol must be a chemical symbol"):
        widom(frames, huge, "Qq", temperature=TEMPERATURE)
    with pytest.raises(InputError, match="needs the temperature"):
        widom(frames, huge, "Ar")


@pytest.mark.validation
@pytest.mark.parametrize(("temperature", "density"), [(1.5, 0.2), (2.0, 0.4), (1.15, 0.05)])
def test_lennard_jones_against_its_equation_of_state(temperature: float, density: float) -> None:
    """μ_ex* of the full potential against the equation of state of Kolafa and Nezbeda."""
    from validation.test_lennard_jones import free_energy as helmholtz  # in ε, with T ln ρ of the ideal gas

    sigma, epsilon = 3.4, 0.0104
    kelvin = temperature * epsilon / BOLTZMANN
    potential = LennardJones({"Ar": sigma}, {"Ar": epsilon}, cutoff=10.0)
    count = 125
    edge = (count / density) ** (1.0 / 3.0) * sigma
    lattice = np.mgrid[0:5, 0:5, 0:5].reshape(3, -1).T * edge / 5.0
    atoms = Atoms(f"Ar{count}", lattice, cell=[edge] * 3, pbc=True)
    langevin = NVT(kelvin, "langevin", friction=0.002)
    with warnings.catch_warnings(), jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        warnings.simplefilter("ignore")
        run = simulate(potential, atoms, langevin, steps=30_000, timestep=8.0, every=100, seed=1, progress=False)
        found = widom(run, potential, "Ar", temperature=kelvin, discard=50, per_frame=200, at_once=200)
    step = 1e-4 * density
    slope = (helmholtz(temperature, density + step) - helmholtz(temperature, density - step)) / (2.0 * step)
    exact = helmholtz(temperature, density) + density * slope - temperature * (math.log(density) + 1.0)
    value, error = found.value / epsilon, found.error / epsilon
    print(
        f"T* = {temperature}, ρ* = {density}: μ_ex* = {value:.4f} ± {error:.4f}, by the equation of state {exact:.4f}"
    )
    # Two standard errors, and 0.01 for that of the equation of state.
    assert abs(value - exact) < 2.0 * error + 0.01
    assert error < 0.05


def test_ideal_part_of_argon() -> None:
    """Sackur-Tetrode: -0.4209 eV (μ of argon at 298.15 K and 1 bar; entropy 154.846 J/mol K, enthalpy 5/2 RT)."""
    density = 1e5 / (1.380649e-23 * 298.15) * 1e-30
    value = ideal_chemical_potential(density, 39.948, 298.15)
    tabulated = 2.5 * BOLTZMANN * 298.15 - 298.15 * 154.846 / 96485.33212
    assert value == pytest.approx(tabulated, abs=2e-5)
    with pytest.raises(InputError, match="density"):
        ideal_chemical_potential(0.0, 1.0, 300.0)


@pytest.mark.parametrize("permittivity", [1.0, pytest.param(78.3, marks=pytest.mark.slow)])
@pytest.mark.more
def test_charging_in_a_dielectric_is_free_of_its_cell(permittivity: float) -> None:
    """One ion in three boxes, one of them no cube: the Ewald energy is all finite size; the correction removes it."""
    cells = [12.0 * np.eye(3), 16.0 * np.eye(3), np.array([[15.0, 0, 0], [5.0, 14.0, 0], [0.0, -4.0, 16.0]])]
    energies = []
    for cell in cells:
        ion = Atoms("Na", [[1.0, 2.0, 3.0]], cell=cell, pbc=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the cell carries a charge
            ion.calc = Calculator(ScreenedCoulomb({"Na": 2.0}, permittivity=permittivity, tolerance=1e-8))
            energies.append(ion.get_potential_energy() + charge_correction(2.0, cell, permittivity).total)
    assert max(np.abs(energies)) < 2e-6
    one = charge_correction(1.0, 12.0, permittivity)
    assert one.self_interaction == pytest.approx(0.5 * COULOMB * 2.837297479 / 12.0, rel=1e-8)
    assert one.total == pytest.approx(one.self_interaction / permittivity, rel=1e-9, abs=1e-12)


def test_undersolvation_is_a_few_meV() -> None:
    """Sodium in water, 20 Å: 14.4/40 (1 - 1/78) (4π/3 (1.7/20)²) = 10.7 meV; each term apart."""
    found = charge_correction(1.0, 20.0, 78.3, radius=1.7)
    assert found.undersolvation == pytest.approx(COULOMB / 40.0 * (1 - 1 / 78.3) * 4.18879 * 0.085**2, rel=2e-3)
    assert found.total == pytest.approx(found.self_interaction + found.polarization + found.undersolvation)
    for arguments in ((1.0, 0.0, 78.0), (1.0, 10.0, 0.5)):
        with pytest.raises(InputError):
            charge_correction(*arguments)
