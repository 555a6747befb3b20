"""Lennard-Jones: closed forms, mixing, truncation and tail."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.errors import InputError
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.system import System
from periodic import CELLS, energy, evaluate

SIGMA, EPSILON = {"Na": 2.2, "Cl": 4.4}, {"Na": 0.02, "Cl": 0.005}


def formula(r: float, sigma: float, epsilon: float) -> float:
    return 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)


@pytest.mark.parametrize(
    ("mixing", "sigma"), [("lorentz-berthelot", 3.3), ("geometric", math.sqrt(2.2 * 4.4))], ids=["lb", "geometric"]
)
def test_dimer_and_mixing(mixing: str, sigma: float) -> None:
    r = 3.7
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, r]])
    result = evaluate(LennardJones(SIGMA, EPSILON, cutoff=9.0, mixing=mixing), atoms)
    assert result.energy == pytest.approx(formula(r, sigma, 0.01), rel=1e-12)
    slope = -24 * 0.01 / r * (2 * (sigma / r) ** 12 - (sigma / r) ** 6)
    assert result.forces[0, 2] == pytest.approx(slope, rel=1e-12)


def test_minimum_of_a_like_pair() -> None:
    atoms = Atoms("Cl2", positions=[[0, 0, 0], [0, 0, 4.4 * 2 ** (1 / 6)]])
    result = evaluate(LennardJones(SIGMA, EPSILON, cutoff=12.0), atoms)
    assert result.energy == pytest.approx(-0.005, rel=1e-12)
    assert np.abs(result.forces).max() < 1e-15


def test_pair_overrides_and_exclusions() -> None:
    atoms = Atoms("NaClNa", positions=[[0, 0, 0], [0, 0, 3.7], [0, 4.0, 0]])
    options = {"cutoff": 9.0, "pairs": {("Cl", "Na"): (3.0, 0.5)}}
    like, far = formula(4.0, 2.2, 0.02), math.hypot(3.7, 4.0)
    expected = formula(3.7, 3.0, 0.5) + formula(far, 3.0, 0.5) + like
    assert energy(LennardJones(SIGMA, EPSILON, **options), atoms) == pytest.approx(expected, rel=1e-12)
    without = energy(LennardJones(SIGMA, EPSILON, exclusions=[[0, 1]], **options), atoms)
    assert without == pytest.approx(expected - formula(3.7, 3.0, 0.5), rel=1e-12)


def test_species_without_epsilon_take_no_part() -> None:
    atoms = Atoms("OHHO", positions=[[0, 0, 0], [0, 0.8, 0.6], [0, -0.8, 0.6], [0, 0, 3.1]])
    potential = LennardJones({"O": 3.2, "H": 1.0}, {"O": 0.007, "H": 0.0}, cutoff=9.0)
    result = evaluate(potential, atoms)
    assert result.energy == pytest.approx(formula(3.1, 3.2, 0.007), rel=1e-12)
    assert result.potential.rows == 2
    assert potential.requirements()[0].numbers == (8,)


def test_shift_and_switch_are_continuous() -> None:
    cutoff = 6.0
    for options in ({"shift": True}, {"switch": 5.0}):
        potential = LennardJones(SIGMA, EPSILON, cutoff=cutoff, **options)
        near, far = (
            evaluate(potential, Atoms("Cl2", positions=[[0, 0, 0], [0, 0, cutoff + d]])) for d in (-1e-6, 1e-6)
        )
        assert abs(near.energy - far.energy) < 1e-8
        if "switch" in options:
            assert abs(near.forces[0, 2] - far.forces[0, 2]) < 1e-8
    inner = Atoms("Cl2", positions=[[0, 0, 0], [0, 0, 4.6]])
    plain, shifted = (
        energy(LennardJones(SIGMA, EPSILON, cutoff=cutoff, shift=shift), inner) for shift in (False, True)
    )
    assert plain - shifted == pytest.approx(formula(cutoff, 4.4, 0.005), rel=1e-12)


@pytest.mark.parametrize("switch", [None, 5.0])
def test_tail_correction_is_the_integral_that_is_left_out(switch: float | None) -> None:
    """Against a quadrature of (1 - S) u r² by the trapezoid rule, for a mixture in a triclinic cell."""
    cutoff = 6.0
    atoms = Atoms("Na3Cl5", positions=np.random.default_rng(0).random((8, 3)), cell=CELLS["triclinic"], pbc=True)
    system = System.from_atoms(atoms)
    r = np.concatenate([np.linspace(switch or cutoff, cutoff, 20001), np.geomspace(cutoff, 3000.0, 200001)[1:]])
    x = np.clip((r - switch) / (cutoff - switch), 0, 1) if switch else np.ones_like(r)
    lost = 10 * x**3 - 15 * x**4 + 6 * x**5
    total = 0.0
    for a, na in (("Na", 3), ("Cl", 5)):
        for b, nb in (("Na", 3), ("Cl", 5)):
            sigma, epsilon = (SIGMA[a] + SIGMA[b]) / 2, math.sqrt(EPSILON[a] * EPSILON[b])
            u = 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
            total += 2 * math.pi / atoms.get_volume() * na * nb * np.trapezoid(lost * u * r**2, r)
    potential = LennardJones(SIGMA, EPSILON, cutoff=cutoff, switch=switch)
    assert float(potential.tail(system)) == pytest.approx(total, rel=1e-6)


def test_a_long_cutoff_needs_no_correction() -> None:
    """Perfect gas of images: energy with a tail at 12 Å equals that at 24 Å, in a cell smaller than either."""
    atoms = Atoms(
        "Cl8", positions=np.random.default_rng(1).random((8, 3)) @ CELLS["cubic"], cell=CELLS["cubic"], pbc=True
    )
    atoms.positions = (np.stack(np.meshgrid(*[[0, 7]] * 3), -1).reshape(-1, 3)) + atoms.positions * 0.05
    energies = [energy(LennardJones(SIGMA, EPSILON, cutoff=r), atoms) for r in (14.0, 24.0)]
    bare = [energy(LennardJones(SIGMA, EPSILON, cutoff=r, tail_correction=False), atoms) for r in (14.0, 24.0)]
    assert abs(energies[1] - energies[0]) < 0.25 * abs(bare[1] - bare[0])


def test_derivative_with_respect_to_parameters() -> None:
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 3.7]])
    potential = LennardJones(SIGMA, EPSILON, cutoff=9.0)
    system = System.from_atoms(atoms)
    lists = neighbor_lists(system, potential)
    value, gradient = jax.value_and_grad(lambda p: p.energy(system, lists))(potential)
    # U ∝ √(ε_Na ε_Cl): Σ ε dU/dε = U.
    assert float(np.dot(gradient.epsilon, potential.epsilon)) == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LennardJones(SIGMA, {"Na": 1.0}, cutoff=9.0), "sigma is for Na, Cl and epsilon for Na"),
        (lambda: LennardJones(SIGMA, {"Na": -1.0, "Cl": 1.0}, cutoff=9.0), r"epsilon\['Na'\] = -1 eV cannot be"),
        (lambda: LennardJones(SIGMA, EPSILON, cutoff=0.0), "cutoff = 0 Å cannot be a cut-off"),
        (lambda: LennardJones(SIGMA, EPSILON, mixing="sum"), "mixing must be one of .*, not 'sum'"),
        (lambda: LennardJones(SIGMA, EPSILON, switch=9.5), "switch must start between"),
        (lambda: LennardJones(SIGMA, EPSILON, shift=True, tail_correction=True), "shift goes neither"),
        (lambda: LennardJones(SIGMA, EPSILON, pairs={("Na", "K"): (1, 1)}), "names K"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_unknown_species_are_named() -> None:
    with pytest.raises(InputError, match="no Lennard-Jones parameters for K"):
        LennardJones(SIGMA, EPSILON).prepare(System.from_atoms(Atoms("NaK", positions=np.eye(3)[:2] * 3)))
