"""Bonds, angles, restraints and barriers: closed forms, nearest images, errors."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.errors import InputError
from jaxelyte.neighbors import Neighbors
from jaxelyte.potentials.barrier import GaussianBarrier
from jaxelyte.potentials.base import conserves_momentum
from jaxelyte.potentials.bonded import HarmonicAngles, HarmonicBonds
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.distance import DistanceRestraint, Metadynamics
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.potentials.topology import index_table
from jaxelyte.system import System
from periodic import CELLS, energy, evaluate

EMPTY = Neighbors((), ())


def test_bond_across_the_boundary() -> None:
    cell = CELLS["skewed"]
    start = np.array([0.2, 0.1, 0.3])
    atoms = Atoms("OH", positions=[start, start + [0.0, 0.9, 1.2] + 2 * cell[0] - cell[2]], cell=cell, pbc=True)
    result = evaluate(HarmonicBonds([[0, 1]], k=3.0, length=1.1), atoms)
    assert result.energy == pytest.approx(0.5 * 3.0 * 0.4**2, rel=1e-10)
    np.testing.assert_allclose(result.forces[0], 3.0 * 0.4 * np.array([0.0, 0.6, 0.8]), atol=1e-12)


def test_bonds_with_their_own_parameters() -> None:
    atoms = Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [0, 2, 0]])
    potential = HarmonicBonds([[0, 1], [0, 2]], k=[1.0, 4.0], length=[0.5, 1.5])
    assert energy(potential, atoms) == pytest.approx(0.5 * 0.25 + 0.5 * 4 * 0.25, rel=1e-14)


@pytest.mark.parametrize("degrees", [5.0, 90.0, 113.24, 179.0])
def test_angle(degrees: float) -> None:
    theta = math.radians(degrees)
    places = [[1.3, 0, 0], [0, 0, 0], [0.7 * math.cos(theta), 0.7 * math.sin(theta), 0]]
    system = System.from_atoms(Atoms("HOH", positions=places))
    potential = HarmonicAngles([[0, 1, 2]], k=2.0, angle=1.9)
    value, gradient = jax.value_and_grad(lambda s: potential.energy(s, EMPTY), allow_int=True)(system)
    assert float(value) == pytest.approx((theta - 1.9) ** 2, rel=1e-10)
    # The force on an end is perpendicular to its arm, k (θ - θ0) over the arm's length.
    np.testing.assert_allclose(gradient.positions[0], [0, -2.0 * (theta - 1.9) / 1.3, 0], atol=1e-12)


def test_straight_angle_has_finite_forces() -> None:
    atoms = Atoms("HOH", positions=[[1.0, 0, 0], [0, 0, 0], [-1.0, 0, 0]])
    result = evaluate(HarmonicAngles([[0, 1, 2]], k=2.0, angle=1.9), atoms)
    assert result.energy == pytest.approx((math.pi - 1.9) ** 2, rel=1e-12)
    assert np.all(np.isfinite(result.forces))


def test_restraint_takes_the_nearest_image_in_a_skewed_cell() -> None:
    cell = CELLS["skewed"]
    rng = np.random.default_rng(0)
    anchors = rng.random((20, 3)) @ cell
    atoms = Atoms("Na20", positions=anchors + rng.integers(-2, 3, (20, 3)) @ cell, cell=cell, pbc=True)
    assert energy(HarmonicRestraint(anchors, 5.0), atoms) == pytest.approx(0.0, abs=1e-20)
    atoms.positions += rng.normal(size=(20, 3)) * 4.0
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3) @ cell
    away = (atoms.positions - anchors)[:, None] + images
    shortest = np.min(np.sum(away**2, axis=-1), axis=1)
    assert energy(HarmonicRestraint(anchors, 5.0), atoms) == pytest.approx(2.5 * np.sum(shortest), rel=1e-12)


def test_restraint_of_some_atoms() -> None:
    atoms = Atoms("NaClNa", positions=[[0, 0, 0], [1, 1, 1], [0, 0, 3.0]])
    potential = HarmonicRestraint([[0, 0, 2.0]], 4.0, indices=[2])
    result = evaluate(potential, atoms)
    assert result.energy == pytest.approx(2.0)
    np.testing.assert_allclose(result.forces, [[0, 0, 0], [0, 0, 0], [0, 0, -4.0]])
    assert not conserves_momentum(potential)
    gradient = jax.grad(lambda p: p.energy(System.from_atoms(atoms), EMPTY))(potential)
    assert float(gradient.k) == pytest.approx(0.5)


def test_barrier_between_species_and_on_pairs() -> None:
    atoms = Atoms("OHHO", positions=[[0, 0, 0], [0, 0, 1.5], [0, 1.7, 0], [5.0, 5.0, 5.0]], cell=[12.0] * 3, pbc=True)
    exact = sum(2.0 * math.exp(-((r - 1.6) ** 2) / (2 * 0.1**2)) for r in (1.5, 1.7))
    assert energy(GaussianBarrier(2.0, 1.6, 0.1, species=("O", "H")), atoms) == pytest.approx(exact, rel=1e-12)
    assert energy(GaussianBarrier(2.0, 1.6, 0.1, species=("H", "O")), atoms) == pytest.approx(exact, rel=1e-12)
    assert energy(GaussianBarrier(2.0, 1.6, 0.1, pairs=[[0, 1], [2, 0]]), atoms) == pytest.approx(exact, rel=1e-12)
    like = energy(GaussianBarrier(2.0, 2.3, 0.5, species=("H", "H")), atoms)
    r = math.hypot(1.5, 1.7)
    assert like == pytest.approx(2.0 * math.exp(-((r - 2.3) ** 2) / 0.5), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HarmonicBonds([[0, 1, 2]], k=1.0, length=1.0), "shape"),
        (lambda: HarmonicBonds([[0, -1]], k=1.0, length=1.0), "atom indices"),
        (lambda: HarmonicBonds([], k=1.0, length=1.0), "bonds is empty"),
        (lambda: HarmonicBonds([[0, 1], [2]], k=1.0, length=1.0), "its rows differ in length"),
        (lambda: HarmonicBonds("OH", k=1.0, length=1.0), "bonds must be a table of atom indices"),
        (lambda: HarmonicBonds([[0, 1]], k=-1.0, length=1.0), "k = -1 eV/Å² cannot be a force constant"),
        (lambda: HarmonicBonds([[0, 1]], k=1.0, length=0.1), r"length = 0\.1 Å cannot be .*write 1, if it is in nm"),
        (lambda: HarmonicBonds([[0, 1]], k=1.0, length=1.0, elements=("O", "H", "H")), "elements = "),
        (lambda: HarmonicAngles([[1, 0, 2]], k=3.0, angle=109.5), r"angle = 109\.5 rad .*write 1\.911, if .*degrees"),
        (lambda: HarmonicAngles([[0, 1, 0]], k=1.0, angle=1.0), "names an atom twice"),
        (lambda: HarmonicRestraint(np.zeros(3), 1.0), "anchors must be"),
        (lambda: HarmonicRestraint(np.zeros((2, 3)), 1.0, indices=[0]), "1 indices for 2 anchors"),
        (lambda: HarmonicRestraint(np.zeros((2, 3)), 1.0, indices=[1, 1]), "different integers"),
        (lambda: GaussianBarrier(1.0, 1.0, 0.1), "either between species"),
        (lambda: GaussianBarrier(1.0, 1.0, 0.1, species=("O",)), "two chemical symbols"),
        (lambda: GaussianBarrier(1.0, 1.0, -0.1, pairs=[[0, 1]]), "width = -0.1 Å cannot be a width"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_a_derivative_by_a_potential_has_any_sign() -> None:
    potential = HarmonicBonds([[0, 1]], k=3.0, length=1.0)
    atoms = Atoms("OH", positions=[[0, 0, 0], [0, 0, 1.5]])
    gradient = jax.grad(lambda p: p.energy(System.from_atoms(atoms), EMPTY))(potential)
    assert float(gradient.length) == pytest.approx(-1.5)
    assert float(jax.device_get(gradient).length) == pytest.approx(-1.5)


MIXED_UP = "made for atom . being ., but it is . in this system"


def test_another_order_of_the_atoms_is_refused() -> None:
    places = [[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0], [5, 0, 0], [5.8, 0.6, 0], [4.2, 0.6, 0]]
    water = Atoms("OH2OH2", positions=places)
    by_element = water[[1, 2, 4, 5, 0, 3]]  # as in a POSCAR
    bonds, angles = [[0, 1], [0, 2], [3, 4], [3, 5]], [[1, 0, 2], [4, 3, 5]]
    for potential in (
        HarmonicBonds(bonds, k=40.0, length=1.0, elements=("O", "H")),
        HarmonicAngles(angles, k=3.0, angle=1.9, elements=("H", "O", "H")),
        HarmonicRestraint(water.positions, 1.0, elements=water.symbols),
        HarmonicRestraint(water.positions[[0, 3]], 1.0, indices=[0, 3], elements=["O", "O"]),
        DistanceRestraint((0, 3), k=1.0, center=5.0, elements=("O", "O")),
        Metadynamics((0, 3), upper=8.0, temperature=300.0, elements=("O", "O")),
        ScreenedCoulomb([-0.8, 0.4, 0.4] * 2, elements=water.numbers),
        GaussianBarrier(1.0, 1.6, 0.1, pairs=index_table([[0, 3]], 2, "pairs", elements=("O", "O"))),
    ):
        potential.prepare(System.from_atoms(water))
        with pytest.raises(InputError, match=MIXED_UP):
            potential.prepare(System.from_atoms(by_element))
        again = jax.tree.unflatten(*reversed(jax.tree.flatten(potential)))
        with pytest.raises(InputError, match=MIXED_UP):
            again.prepare(System.from_atoms(by_element))


def test_bonds_and_restraints_notice_another_order_by_distance() -> None:
    places = [[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0], [5, 0, 0], [5.8, 0.6, 0], [4.2, 0.6, 0]]
    water = Atoms("OH2OH2", positions=places)
    by_element = water[[1, 2, 4, 5, 0, 3]]
    with pytest.raises(InputError, match="bonds are more than twice as long"):
        HarmonicBonds([[0, 1], [0, 2], [3, 4], [3, 5]], k=40.0, length=1.0).prepare(System.from_atoms(by_element))
    with pytest.raises(InputError, match="in another order than the anchors"):
        HarmonicRestraint(water.positions, 1.0).prepare(System.from_atoms(by_element))
    soft = HarmonicBonds([[0, 3]], k=0.01, length=2.0)  # a bond of a bead model may stretch that far
    soft.prepare(System.from_atoms(water))
    far = water.copy()
    far.positions += 3.0  # steered there: everyone is away, and nobody sits on the anchor of another
    HarmonicRestraint(water.positions, 1.0).prepare(System.from_atoms(far))


@pytest.mark.parametrize(
    ("potential", "message"),
    [
        (HarmonicBonds([[0, 1]], k=[1.0, 2.0], length=1.0), "k has shape .* for 1 bonds"),
        (HarmonicBonds([[0, 1]], k=np.array(-1.0), length=1.0), "k = -1 eV/Å² cannot be"),
        (HarmonicBonds([[0, 7]], k=1.0, length=1.0), "names atom 7, but the system has 2 atoms"),
        (HarmonicRestraint(np.zeros((3, 3)), 1.0), "3 anchors for 2 atoms"),
    ],
)
def test_tables_that_do_not_fit(potential: HarmonicBonds, message: str) -> None:
    with pytest.raises(InputError, match=message):
        potential.prepare(System.from_atoms(Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]])))
