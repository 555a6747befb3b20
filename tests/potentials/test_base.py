"""The algebra of potentials, with closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.errors import InputError
from jaxelyte.neighbors import Neighbors, neighbor_lists
from jaxelyte.potentials.base import Mix, Scaled, Sum, longest_cutoff, mix
from jaxelyte.potentials.derivatives import energy_and_forces, energy_forces_stress
from jaxelyte.system import System, as_batch
from toys import Argon, Shifted, Well


@pytest.fixture
def system() -> System:
    rng = np.random.default_rng(0)
    cell = np.array([[12.0, 0, 0], [2.0, 11.0, 0], [1.0, -2.0, 13.0]])
    fractional = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3) / 3.0
    return System.from_atoms(Atoms("Ar27", fractional @ cell + rng.normal(0, 0.1, (27, 3)), cell=cell, pbc=True))


EMPTY = Neighbors((), ())


def test_sum_multiple_difference(system: System) -> None:
    a, b = Well(2.0), Well(3.0)
    unit = float(Well(1.0).energy(system, EMPTY))
    for potential, factor in [(a + b, 5.0), (2.0 * a, 4.0), (a * 2.0, 4.0), (a - b, -1.0), (-a + b + a, 3.0)]:
        np.testing.assert_allclose(potential.energy(system, EMPTY), factor * unit, rtol=1e-14)
    assert isinstance(a + b + a, Sum)
    assert len((a + b + a).terms) == 3
    assert isinstance(2.0 * a, Scaled)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_mix_and_its_derivative(system: System, lam: float) -> None:
    a, b = Well(2.0), Well(5.0)
    mixed = mix(a, b, lam)
    unit = float(Well(1.0).energy(system, EMPTY))
    np.testing.assert_allclose(mixed.energy(system, EMPTY), unit * (2.0 + 3.0 * lam), rtol=1e-14)
    gradient = jax.grad(lambda m: m.energy(system, EMPTY))(mixed)
    assert isinstance(gradient, Mix)
    np.testing.assert_allclose(gradient.lam, 3.0 * unit, rtol=1e-14)
    np.testing.assert_allclose(gradient.initial.k, (1.0 - lam) * unit, rtol=1e-14)
    np.testing.assert_allclose(gradient.final.k, lam * unit, rtol=1e-14, atol=1e-14)
    constants = mix(Shifted(0.2), Shifted(0.7), lam)
    assert float(constants.constants(as_batch(system))[0]) == pytest.approx(
        system.num_atoms * (0.2 + 0.5 * lam), rel=1e-14
    )


def test_a_gradient_is_a_potential_shaped_tree(system: System) -> None:
    potential = Argon() + 0.5 * Well(2.0)
    lists = neighbor_lists(system, potential)
    gradient = jax.grad(lambda p: p.energy(system, lists))(potential)
    assert jax.tree.structure(gradient) == jax.tree.structure(potential)
    energy = float(Argon().energy(system, lists))
    np.testing.assert_allclose(gradient.terms[0].epsilon, energy / 0.0103, rtol=1e-12)


def test_one_list_serves_equal_requirements() -> None:
    assert (Argon() + Argon(epsilon=0.02)).requirements() == Argon().requirements()
    assert len(mix(Argon(), Argon(exact=True), 0.5).requirements()) == 2
    assert longest_cutoff(Argon() + Well(1.0)) == 6.5


def test_forces_and_stress_are_finite_differences(system: System) -> None:
    potential = Argon()
    lists = neighbor_lists(system, potential)
    result = energy_forces_stress(potential, system, lists)
    h = 1e-5
    for atom, axis in [(0, 0), (5, 1), (26, 2)]:
        step = jnp.zeros_like(system.positions).at[atom, axis].set(h)
        plus, minus = (potential.energy(system.replace(positions=system.positions + s * step), lists) for s in (1, -1))
        np.testing.assert_allclose(result.forces[atom, axis], -(plus - minus) / (2 * h), rtol=1e-6, atol=1e-9)
    for i, j in [(0, 0), (1, 2), (2, 2)]:
        strain = np.zeros((3, 3))
        strain[i, j] += h / 2
        strain[j, i] += h / 2

        def strained(sign: int, strain: np.ndarray = strain) -> jax.Array:
            deform = np.eye(3) + sign * strain
            moved = system.replace(positions=system.positions @ deform, cell=system.cell @ deform)
            return potential.energy(moved, neighbor_lists(moved, potential))

        slope = (strained(1) - strained(-1)) / (2 * h) / system.volume
        np.testing.assert_allclose(result.stress[i, j], slope, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(energy_and_forces(potential, system, lists).forces, result.forces, atol=1e-14)


def test_lists_of_another_potential_are_refused(system: System) -> None:
    lists = neighbor_lists(system, Argon(cutoff_distance=5.0))
    with pytest.raises(InputError, match=r"neighbor_lists\(system, potential\)"):
        Argon().energy(system, lists)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.positions.__setitem__((3, 1), np.nan), "position of atom 3"),
        (lambda a: a.set_cell(np.zeros((3, 3))), "cell vector is zero"),
        (lambda a: a.set_cell([[1, 0, 0], [2, 0, 0], [0, 0, 1]]), "no volume"),
        (lambda a: (a.set_cell([[1, 0, 0], [2, 0, 0], [0, 0, 1]]), a.set_pbc((1, 1, 0))), "no volume"),
        (lambda a: a.set_cell([[np.nan, 0, 0], [0, 9, 0], [0, 0, 9]]), "cell is not finite"),
        (lambda a: a.set_momenta(np.where(np.arange(24).reshape(8, 3) == 7, np.inf, 0.0)), "momentum of atom 2"),
        (lambda a: a.set_masses(np.arange(8.0)), "mass of atom 0"),
    ],
)
def test_broken_structures_are_refused(change: object, message: str) -> None:
    atoms = Atoms("Ar8", np.arange(24.0).reshape(8, 3), cell=np.eye(3) * 30, pbc=True)
    change(atoms)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        System.from_atoms(atoms)


def test_round_trip_through_ase() -> None:
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]], cell=[[5, 0, 0], [1, 6, 0], [0, 0, 0]], pbc=(True, True, False))
    back = System.from_atoms(atoms).to_atoms()
    np.testing.assert_allclose(back.positions, atoms.positions)
    np.testing.assert_allclose(back.cell.array, atoms.cell.array)
    assert list(back.numbers) == list(atoms.numbers)
    assert list(back.pbc) == list(atoms.pbc)
