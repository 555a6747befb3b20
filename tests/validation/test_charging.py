"""Charging a sodium ion in SPC/Fw water: finite-size corrections, and Born's equation.

The solvent answers almost linearly, so three windows at λ = 0, 1/2, 1 are enough for thermodynamic integration; they do
not overlap, which TI does not need. Hydrogen is made heavier by mass of its oxygen: averages over positions do not
depend on masses, and steps of 2 fs become safe. Takes some ten minutes on one core.
"""

from __future__ import annotations

import warnings

import jax
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.potentials.water import ion_parameters
from jaxelyte.units import COULOMB

pytestmark = pytest.mark.validation

TEMPERATURE, PERMITTIVITY = 298.15, 79.6
"""K; the permittivity of SPC/Fw by Wu, Tepper and Voth, J. Chem. Phys. 124, 024503 (2006)."""

RADIUS = 1.68
"""Å, Born radius of sodium: the undersolvation term hardly depends on it (R² / L³)."""

HYDROGEN, OXYGEN = 4.0, 10.015
"""g/mol; a water molecule weighs what it does."""

STEPS = {24: 16_000, 48: 12_000, 96: 8_000}
"""Of 2 fs in each window, by number of waters."""


def charging(waters: int, steps: int) -> tuple[float, float, float]:
    """ΔF in eV of 0 → +1 e as the energies of the periodic cell have it, its standard error, and the edge in Å."""
    atoms = jxl.build.electrolyte({"Na": 1}, waters=waters, density=1.0, seed=3)
    masses = atoms.get_masses()
    masses[atoms.symbols == "H"], masses[atoms.symbols == "O"] = HYDROGEN, OXYGEN
    atoms.set_masses(masses)
    charge, sigma, epsilon = ion_parameters("joung-cheatham")["Na"]
    edge = float(atoms.cell.lengths()[0])
    cutoff = min(6.0, 0.49 * edge)
    ends = [
        jxl.spc_fw(atoms, {"Na": (q, sigma, epsilon)}, tolerance=5e-3, cutoff=cutoff, switch=cutoff - 0.5)
        for q in (0.0, charge)
    ]
    with warnings.catch_warnings(), jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        warnings.simplefilter("ignore")  # a charged cell, and windows without overlap
        start: Atoms = jxl.simulate(
            ends[1],
            atoms,
            jxl.NVT(TEMPERATURE, thermostat="langevin", friction=0.01),
            steps=2000,
            timestep=1.0,
            minimize=True,
            progress=False,
        ).atoms  # pyright: ignore[reportAssignmentType]
        result = jxl.free_energy(
            ends[0],
            ends[1],
            start,
            jxl.NVT(TEMPERATURE, thermostat="langevin", friction=0.005),
            windows=3,
            steps=steps,
            timestep=2.0,
            sample_every=10,
            estimator="TI",
            seed=waters,
            check=False,
            progress=False,
            velocities=TEMPERATURE,
        )
    print(
        f"{waters} waters: gradient {result.gradient} ± {result.gradient_error} eV, {result.counts} samples", flush=True
    )
    return result.value, result.error, edge


def test_three_boxes_agree_after_correction() -> None:
    """Without the ion's own images the values differ by 0.8 eV; corrected they agree within their errors."""
    rows = []
    for waters, steps in STEPS.items():
        value, error, edge = charging(waters, steps)
        found = jxl.charge_correction(1.0, edge, PERMITTIVITY, radius=RADIUS)
        solvent = value + found.self_interaction
        rows.append([edge, solvent, solvent + found.polarization, value + found.total, error])
        print(
            f"L = {edge:.2f} Å: solvent alone {solvent:.3f}, with the answer to images {rows[-1][2]:.3f}, with the "
            f"undersolvation {rows[-1][3]:.3f}, ± {error:.3f} eV",
            flush=True,
        )
    _, solvent, _, corrected, error = np.array(rows).T
    mean = np.sum(corrected / error**2) / np.sum(1.0 / error**2)
    print(f"mean {mean:.3f} ± {np.sum(error**-2.0) ** -0.5:.3f} eV")
    born = -(1.0 - 1.0 / PERMITTIVITY) * COULOMB / (2.0 * mean)
    print(f"Born radius {born:.3f} Å")
    assert np.ptp(solvent) > 0.5
    # Three standard errors, and 0.02 eV for what is of the order of (R/L)³ e²/L and for the pressures of the boxes.
    assert np.all(np.abs(corrected - mean) < 3.0 * error + 0.02), corrected
    # Ions keep water off by their radius: Born's is between the ionic radius of Na+ (1.02 Å) and the first shell (2.4).
    assert 1.2 < born < 2.2
