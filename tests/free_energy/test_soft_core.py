"""Particles that appear along a soft-core path: the formula, the exact value for one among few, and what is refused."""

from __future__ import annotations

import math
import warnings
from typing import Any

import jax
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.dynamics import NVT
from jaxelyte.errors import InputError
from jaxelyte.free_energy import free_energy, free_energy_path
from jaxelyte.interop.ase_calculator import Calculator
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.soft_core import SoftCoreLennardJones
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN

SIGMA, EPSILON, CUTOFF = 3.4, 0.02, 7.0
TEMPERATURE = 300.0
PARAMETERS: Any = ({"Ar": SIGMA, "Kr": SIGMA}, {"Ar": 0.0, "Kr": 0.0})
OPTIONS: Any = {"pairs": {("Ar", "Kr"): (SIGMA, EPSILON)}, "cutoff": CUTOFF, "tail_correction": False}
"""Argon is an ideal gas in which one krypton atom appears: all that is known of such a mixture is known exactly."""


def soft(coupling: float) -> SoftCoreLennardJones:
    return SoftCoreLennardJones(*PARAMETERS, **OPTIONS, appearing="Kr", coupling=coupling)


def energy(potential: Potential, atoms: Atoms) -> float:
    atoms.calc = Calculator(potential)
    return float(atoms.get_potential_energy())


def test_the_formula() -> None:
    pair = Atoms("ArKr", [[0, 0, 0], [2.5, 0, 0]], cell=[20.0] * 3, pbc=True)
    for coupling in (0.0, 0.3, 1.0):
        s = 1.0 / (0.5 * (1.0 - coupling) + (2.5 / SIGMA) ** 6)
        assert energy(soft(coupling), pair) == pytest.approx(
            4.0 * EPSILON * coupling * (s**2 - s), rel=1e-12, abs=1e-15
        )
    assert energy(soft(1.0), pair) == pytest.approx(energy(LennardJones(*PARAMETERS, **OPTIONS), pair), rel=1e-12)
    # Pairs of others keep their cores; the atom that appears is beyond the cutoff of both.
    others = Atoms("Ar2Kr", [[0, 0, 0], [2.5, 0, 0], [10, 10, 10]], cell=[20.0] * 3, pbc=True)
    table = {"Ar": SIGMA, "Kr": SIGMA}, {"Ar": EPSILON, "Kr": EPSILON}
    options: Any = {"cutoff": CUTOFF, "tail_correction": False}  # the tail counts the atom that appears, too
    hard = LennardJones(*table, **options)
    half = SoftCoreLennardJones(*table, **options, appearing=["Kr"], coupling=0.5)
    assert energy(half, others) == pytest.approx(energy(hard, others), rel=1e-12)


@pytest.mark.more
def test_the_coupling_is_a_leaf() -> None:
    """dU/dλ by differentiation is that of differences."""
    system = System.from_atoms(Atoms("ArKr", [[0, 0, 0], [3.0, 0, 0]], cell=[20.0] * 3, pbc=True))
    one = soft(0.4).prepare(system)
    lists = neighbor_lists(system, one)
    slope = jax.grad(lambda potential: potential.energy(system, lists))(one).coupling
    step = 1e-5
    ends = [float(soft(0.4 + sign * step).prepare(system).energy(system, lists)) for sign in (1, -1)]
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_programs")
def test_one_atom_appears_among_few(rng: np.random.Generator) -> None:
    """ΔF = -N k_B T ln(1 - 2 B2/V) for N ideal atoms, by the second virial coefficient of the pair."""
    count, edge = 24, 14.5
    atoms = Atoms(f"Kr1Ar{count}", [[0.0, 0.0, 0.0]] + [[0.0, 0.0, 0.0]] * count, cell=[edge] * 3, pbc=True)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)[: count + 1]
    atoms.positions = (grid + 0.5) * edge / 3.0 + rng.normal(0.0, 0.1, (count + 1, 3))
    atoms.arrays["masses"] = np.full(count + 1, 4.0)  # g/mol; light atoms cover the box sooner
    with pytest.raises(InputError, match="is a ghost in the initial potential, and an overlap"):
        free_energy(soft(0.0), soft(1.0), atoms, NVT(TEMPERATURE), steps=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = free_energy_path(
            [soft(coupling) for coupling in (0.0, 0.2, 0.5, 1.0)],
            atoms,
            NVT(TEMPERATURE, thermostat="langevin", friction=0.005),
            windows=4,
            steps=10_000,
            timestep=4.0,
            sample_every=20,
            seed=2,  # ideal atoms may meet, and a leg that starts so is refused: not with this seed
            progress=False,
        )
    thermal = BOLTZMANN * TEMPERATURE
    r = np.linspace(1e-3, CUTOFF, 200_001)
    u = 4.0 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6)
    virial = -2.0 * math.pi * np.trapezoid((np.exp(-np.clip(u / thermal, -50.0, 700.0)) - 1.0) * r**2, r)
    exact = -count * thermal * math.log(1.0 - 2.0 * float(virial) / edge**3)
    print(f"{found.value:.5f} ± {found.error:.5f}, exact {exact:.5f}")
    assert abs(found.value - exact) < 2.0 * found.error
    assert abs(exact) > 10.0 * found.error
    # All legs in one program.
    assert [leg.run.performance["compilations"] for leg in found.legs if leg.run is not None] == [1, 0, 0]


def test_wrong_settings_are_named() -> None:
    wrong: list[tuple[Any, str]] = [
        ({"appearing": ()}, "must name the species"),
        ({"appearing": "Xe"}, "appearing names Xe"),
        ({"appearing": "Kr", "coupling": 1.2}, r"coupling = 1\.2 must be from 0"),
        ({"appearing": "Kr", "alpha": 0.0}, "alpha must be a finite number, above 0"),
    ]
    for settings, message in wrong:
        with pytest.raises(InputError, match=message):
            SoftCoreLennardJones(*PARAMETERS, **OPTIONS, **settings).prepare(System.from_atoms(Atoms("Kr")))
