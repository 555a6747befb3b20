"""The evaluator: values, growth, cells within a strain, and programs that all of one shape share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import jaxelyte as jxl
from jaxelyte.errors import InputError
from jaxelyte.evaluate import Evaluator
from jaxelyte.evaluate.programs import COMPILED
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.neighbors.cells import CellSearch
from jaxelyte.neighbors.lists import NeighborSpec
from jaxelyte.potentials.derivatives import energy_forces_stress
from jaxelyte.potentials.pairs import PairPotential
from jaxelyte.system import System
from toys import Argon


def argon(seed: int = 3, edge: float = 5.5, repeat: int = 2) -> Atoms:
    atoms = bulk("Ar", "fcc", a=edge, cubic=True).repeat(repeat)
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(Argon(), [argon(), argon(4)], strain=0.02)


def test_energies_forces_and_stresses_are_those_of_exact_lists(evaluator: Evaluator) -> None:
    found = evaluator(stress=True)
    system = System.from_atoms(argon(4))
    exact = energy_forces_stress(Argon(), system, neighbor_lists(system, Argon()))
    np.testing.assert_allclose(found.energy[1], exact.energy, rtol=1e-12)
    np.testing.assert_allclose(found.forces[1], exact.forces, atol=1e-12)
    np.testing.assert_allclose(found.stress[1], exact.stress, atol=1e-14)


def test_any_function_of_a_system(evaluator: Evaluator) -> None:
    np.testing.assert_allclose(evaluator.map(lambda p, s, n: 2.0 * p.energy(s, n)), 2.0 * evaluator.energies())
    first = evaluator.map(lambda p, s, n: s.positions[0])  # noqa: ARG005
    np.testing.assert_allclose(first, evaluator.systems.positions[:, 0])


def test_parameters_positions_and_cells_compile_nothing(evaluator: Evaluator) -> None:
    """Also for another evaluator, and for a cell within the strain; beyond it lists are planned anew."""
    before = evaluator.energies()
    wider = [argon(3, 5.58), argon(4, 5.58)]
    expected = [_energy(one) for one in wider]
    count = COMPILED.count
    again = Evaluator(Argon(epsilon=0.02), [argon(), argon(4)], strain=0.02)
    np.testing.assert_allclose(again.energies(), 2.0 / 1.03 * before, rtol=1e-12)
    plan = evaluator.plan
    np.testing.assert_allclose(evaluator.energies(wider), expected, rtol=1e-12)
    assert evaluator.plan is plan
    assert COMPILED.count == count
    np.testing.assert_allclose(evaluator.energies([argon(3, 5.3)] * 2), [_energy(argon(3, 5.3))] * 2, rtol=1e-12)
    assert evaluator.plan is not plan


def _energy(atoms: Atoms) -> float:
    system = System.from_atoms(atoms)
    return float(Argon().energy(system, neighbor_lists(system, Argon())))


def test_lists_that_run_out_of_room_grow() -> None:
    loose = argon(3, 8.0)
    dense = loose.copy()
    dense.positions *= 0.6  # a drop in the same cell
    found = Evaluator(Argon(), loose)
    np.testing.assert_allclose(found.energies(dense), [_energy(dense)], rtol=1e-12)
    assert found.grown > 0


def test_other_atoms_are_checked_and_planned_for() -> None:
    """Elements that the potential does not know are refused; another order, or more atoms, has the right energy."""
    potential = jxl.LennardJones({"Ar": 3.4, "Ne": 2.8}, {"Ar": 0.01, "Ne": 0.003}, cutoff=5.0)
    mixed = argon()
    mixed.numbers[::2] = 10
    evaluator = Evaluator(potential, mixed)
    more = mixed.repeat((1, 1, 2))
    for atoms in (mixed[np.argsort(mixed.numbers)], more, mixed):
        found = float(evaluator(atoms).energy[0])
        system = System.from_atoms(atoms)
        assert found == pytest.approx(
            float(energy_forces_stress(potential, system, neighbor_lists(system, potential)).energy), rel=1e-10
        )
    mixed.numbers[0] = 36
    with pytest.raises(InputError, match="Kr"):
        evaluator(mixed)


def test_what_cannot_be_evaluated_together_is_refused() -> None:
    with pytest.raises(InputError, match="one number of atoms and one periodicity"):
        Evaluator(Argon(), [argon(), argon(3, 5.5, 1)])
    with pytest.raises(InputError, match="form"):
        Evaluator(Argon(), argon(), form="fast")  # type: ignore[arg-type]


def test_a_second_call_of_one_shape_compiles_nothing() -> None:
    """`minimize`, `simulate` and an ASE calculator for each frame, after the first of its kind."""

    def everything(depth: float) -> list[float]:
        potential, atoms = Argon(depth), argon()
        relaxed = jxl.minimize(potential, atoms, fmax=0.02, steps=50)
        run = jxl.simulate(potential, argon(), jxl.NVT(50.0), steps=20, every=10, progress=False)
        atoms.calc = jxl.Calculator(potential)
        return [relaxed.info["fmax"], float(run.log["potential"][-1, 0]), atoms.get_potential_energy()]

    first = everything(0.0103)
    count = COMPILED.count
    assert everything(0.02) != first
    assert COMPILED.count == count


def test_cell_lists_of_the_same_sizes_are_the_same() -> None:
    """Large systems compile once, too: a search is known by its grid and its sizes."""
    cell = 24.0 * np.eye(3)
    points = np.random.default_rng(0).random((64, 3)) @ cell
    system = System.from_atoms(Atoms("Ar64", points, cell=cell, pbc=True))
    spec = NeighborSpec(5.0)
    one, other = (CellSearch([system], spec, 5.5, 1.25) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != CellSearch([system], spec, 5.6, 1.25)
    wider = system.replace(cell=1.2 * system.cell, positions=1.2 * system.positions)  # a finer grid
    assert one != CellSearch([wider], spec, 5.5, 1.25)


def test_a_pair_potential_of_ones_own_runs_and_relaxes() -> None:
    """Replicas, minimisation and the calculator, from nothing but the energy of a pair."""
    from flax import struct

    @struct.dataclass
    class Soft(PairPotential):
        height: float = 0.2

        def pair(self, r: jax.Array, i: jax.Array, j: jax.Array) -> jax.Array:
            return self.height * jnp.where(r < 2.0, (1.0 - r / 2.0) ** 2, jnp.zeros_like(r))

    atoms = Atoms("Ar2", [[0, 0, 0], [1.0, 0, 0]], cell=[9.0] * 3, pbc=True)
    run = jxl.simulate(
        Soft(cutoff=3.0), atoms, jxl.NVE(), steps=10, every=5, replicas=2, velocities=10.0, progress=False
    )
    np.testing.assert_allclose(run.log["potential"][0], 0.2 * 0.5**2, rtol=1e-12)
    assert jxl.minimize(Soft(cutoff=3.0), atoms).get_distance(0, 1) > 1.4
