"""Contract suites for classes of one's own: what jaxelyte takes for granted of them, checked on one structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxelyte.errors import UnsupportedError
from jaxelyte.neighbors.host import longest_row, neighbor_lists
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Potential, Wrapper, as_potential, conserves_momentum, map_leaves, of_one, walk
from jaxelyte.potentials.codec import decode, encode
from jaxelyte.potentials.derivatives import batch_energy_and_forces, batch_energy_forces_stress
from jaxelyte.potentials.memory import learn, learning_stride, memory_of, with_memory
from jaxelyte.potentials.part import Divisible, Part, share
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import in_float64
from jaxelyte.system import System, batch_of, one_by_one

if TYPE_CHECKING:
    from ase import Atoms

STEP = 1e-4
"""Å, and strain, of finite differences; their errors are about its square."""


def check_potential(
    potential: Potential, atoms: Atoms, *, replicas: int = 2, tolerance: float = 1e-6, translation: float = 1e-9
) -> None:
    """Check that a potential keeps its contract, on one structure in float64; takes seconds, for what it compiles.

    Forces and stress are derivatives of the energy; a batch is its systems one by one; atoms that only fill up, images
    of atoms, and (where the class says so) translation change nothing; parameters are floating leaves, have finite
    derivatives, and the rest is static, so that preparing twice compiles once; a stored form gives the same back;
    a memory keeps its shapes, and what it learns is work; shares of devices add up to the whole.

    Args:
        potential: not prepared; for ``replicas`` systems, where its parameters differ between replicas.
        atoms: a structure whose energy, forces and stress are not zero, small for the sake of time.
        replicas: size of the batch.
        tolerance: of forces and stress against finite differences, relative to their size.
        translation: eV, by which translation may change the energy (of a mesh, which knows where it lies).

    Raises:
        AssertionError: what is not kept, and by how much.
    """
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        case = _Case.of(as_potential(potential), atoms, replicas)
        _check_derivatives(case, tolerance)
        _check_invariance(case, translation)
        _check_structure(case)
        _check_batch(case)
        _check_memory(case)
        _check_shares(case)


@dataclass(frozen=True)
class _Case:
    """A potential before and after `prepare`, a batch of slightly different systems, and room for their lists."""

    given: Potential
    prepared: Potential
    systems: System
    rooms: tuple[int, ...]
    program: Any
    energies: Any

    @classmethod
    def of(cls, potential: Potential, atoms: Atoms, replicas: int) -> _Case:
        rng = np.random.default_rng(0)
        single = System.from_atoms(atoms, dtype=np.float64)
        moves = rng.normal(0.0, 0.01, (replicas, *single.positions.shape))
        batch = batch_of(single, replicas)
        systems = batch.replace(positions=batch.positions + moves)
        prepared = in_float64(prepare_potential(in_float64(potential), systems))
        rows = [longest_row(single, spec) for spec in prepared.requirements()]
        derive = batch_energy_forces_stress if all(single.pbc) else batch_energy_and_forces
        rooms = tuple(int(1.3 * row) + 4 for row in rows)
        return cls(potential, prepared, systems, rooms, jax.jit(derive), jax.jit(type(prepared).energies))

    def lists(self, systems: System) -> Neighbors:
        """Lists of each system with room to spare, as a batch."""
        found = [neighbor_lists(one, self.prepared, capacities=self.rooms) for one in one_by_one(systems)]
        if len(found) == 1:
            return found[0].as_batch()
        return jax.tree.map(lambda *x: jnp.stack(x), *found)

    def energy_of(self, systems: System) -> np.ndarray:
        """Energies of a batch."""
        found = self.energies(self.prepared, systems, self.lists(systems))
        assert found.shape == (len(systems.positions),), f"energies have shape {found.shape}, not one for each system"
        assert found.dtype == systems.positions.dtype, f"energies are {found.dtype} for {systems.positions.dtype}"
        return np.asarray(found)


def _near(found: Any, expected: Any, tolerance: float, what: str) -> None:
    worst = float(np.max(np.abs(np.asarray(found) - np.asarray(expected)), initial=0.0))
    scale = max(1.0, float(np.max(np.abs(np.asarray(expected)), initial=0.0)))
    assert worst <= tolerance * scale, f"{what}: off by {worst:.3g}, at most {tolerance * scale:.3g} is allowed"


def _check_derivatives(case: _Case, tolerance: float) -> None:
    systems, rng = case.systems, np.random.default_rng(1)
    found = case.program(case.prepared, systems, case.lists(systems))
    direction = rng.normal(size=systems.positions.shape)

    def moved(step: float) -> np.ndarray:
        return case.energy_of(systems.replace(positions=systems.positions + step * direction))

    slope = np.sum(np.asarray(found.forces) * direction, axis=(1, 2))
    _near(slope, -_slope(moved), tolerance, "forces are not minus the slope of the energy")
    if not all(systems.pbc):
        return
    strain = rng.normal(size=(3, 3))
    strain = (strain + strain.T) / 2.0

    def strained(step: float) -> np.ndarray:
        deform = np.eye(3) + step * strain
        return case.energy_of(systems.replace(positions=systems.positions @ deform, cell=systems.cell @ deform))

    volume = np.abs(np.linalg.det(np.asarray(systems.cell)))
    slope = np.sum(np.asarray(found.stress) * strain, axis=(1, 2)) * volume
    _near(slope, _slope(strained), tolerance, "the stress is not the slope of the energy by strain")


def _slope(energy: Callable[[float], np.ndarray]) -> np.ndarray:
    """Of a function of a step, by central differences of two lengths, whose leading errors cancel."""
    short, long = ((energy(step) - energy(-step)) / (2.0 * step) for step in (STEP, 2.0 * STEP))
    return (4.0 * short - long) / 3.0


def _check_invariance(case: _Case, translation: float) -> None:
    systems = case.systems
    before = case.energy_of(systems)
    images = np.random.default_rng(2).integers(-2, 3, systems.positions.shape) * np.asarray(systems.pbc)
    if any(systems.pbc):
        wrapped = systems.replace(positions=systems.positions + images @ systems.cell)
        _near(case.energy_of(wrapped), before, 1e-9, "other images of the atoms change the energy")
    moved = case.energy_of(systems.replace(positions=systems.positions + np.array([0.31, -0.72, 0.44])))
    same = bool(np.max(np.abs(moved - before)) <= translation * max(1.0, float(np.max(np.abs(before)))))
    assert same == conserves_momentum(case.prepared), (
        f"translation {'does not change' if same else 'changes'} the energy, against translation_invariant"
    )
    longer = jax.tree.map(lambda x: x, systems).replace(
        positions=_filled(systems.positions, 2, 0.5),
        numbers=_filled(systems.numbers, 2, 1),
        masses=_filled(systems.masses, 2, 1.0),
        mask=_filled(systems.mask, 2, False),
    )
    _near(case.energy_of(longer), before, 1e-11, "atoms that are masked out change the energy")


def _filled(values: Array, extra: int, by: Any) -> Array:
    shape = (values.shape[0], extra, *values.shape[2:])
    return jnp.concatenate([values, jnp.full(shape, by, values.dtype)], axis=1)


def _check_structure(case: _Case) -> None:
    given, prepared, systems = case.given, case.prepared, case.systems
    assert all(jnp.issubdtype(x.dtype, jnp.inexact) for x in jax.tree.leaves(prepared)), "a leaf is not floating"
    structure = jax.tree.structure(prepared)
    hash(structure)
    again = in_float64(prepare_potential(in_float64(given), systems))
    assert jax.tree.structure(again) == structure, "preparing twice gives two structures, so it compiles twice"
    assert jax.tree.structure(map_leaves(prepared, lambda leaf: leaf)) == structure, "with_children loses something"
    lists = case.lists(systems)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(p.energies(systems, lists))))(prepared)
    assert jax.tree.structure(gradient) == structure, (
        "the derivative with respect to the potential has another tree structure than the potential"
    )
    # Trees of derivatives are computed with on the host, too, where a leaf may be any number.
    numbers = jax.tree.map(np.zeros_like, gradient)
    assert jax.tree.structure(numbers) == structure, "numbers of numpy as leaves change the tree"
    finite = all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(gradient))
    assert finite, "the derivative with respect to the parameters is not finite"
    try:
        content, arrays = encode(given)
    except UnsupportedError:
        return  # a class of one's own
    back = decode(content, arrays)
    assert jax.tree.structure(back) == jax.tree.structure(given.plain()), "the stored form gives another potential back"


def _check_batch(case: _Case) -> None:
    prepared, systems = case.prepared, case.systems
    constants = prepared.constants(systems)
    assert constants.shape == (len(systems.positions),), "constants are not one for each system"
    relaxing = of_one(prepared)
    hash(jax.tree.structure(relaxing))
    if relaxing is not prepared:
        return  # replicas that differ are no systems of their own
    together = case.energy_of(systems)
    for n, expected in enumerate(together):
        alone = jax.tree.map(lambda x, n=n: x[n : n + 1], systems)
        _near(case.energy_of(alone), expected, 1e-10, f"system {n} of a batch has another energy alone")


def _check_memory(case: _Case) -> None:
    prepared, systems = case.prepared, case.systems
    if not learning_stride(prepared):
        return
    replicas, lists = len(systems.positions), case.lists(case.systems)
    memory = memory_of(prepared, replicas, jax.random.key(0))
    now = with_memory(prepared, memory)
    after, work = learn(now, systems, lists)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), one) for one in (memory, after)]
    assert shapes[0] == shapes[1], f"learning changes the shapes of the memory: {shapes[0]} to {shapes[1]}"
    energies = [np.asarray(one.energies(systems, lists)) for one in (now, with_memory(now, after))]
    _near(work, energies[1] - energies[0], 1e-10, "what learning does to the energy is not the work it returns")


def _check_shares(case: _Case) -> None:
    prepared = case.prepared
    system = jax.tree.map(lambda x: x[0], case.systems)
    lists = neighbor_lists(system, prepared, capacities=case.rooms)
    atoms = system.num_atoms
    whole = Part(system, lists, jnp.arange(atoms, dtype=jnp.int32), atoms, system, 1, lambda x: x, lambda x: x)
    several = of_one(prepared) is not prepared
    divided = any(spec.layout is not None for spec in prepared.requirements())
    if (
        several
        or divided
        or any(one.requirements() and not isinstance(one, Divisible | Wrapper) for one in walk(prepared))
    ):
        return  # runs on one device
    found = jax.jit(lambda p: share(p, whole))(prepared)
    expected = case.energy_of(case.systems)[0]
    _near(found, expected, 1e-10, "the share of a single device is not the whole energy")


__all__ = ["check_potential"]
