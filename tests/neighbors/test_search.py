"""Neighbour lists against a brute-force count, for every kind of cell."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.neighbors.cells import worth_it
from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec
from jaxelyte.neighbors.loop import (
    ListPlan,
    ListState,
    build_lists,
    current_lists,
    grow,
    overflowed,
    plan_lists,
    update_lists,
)
from jaxelyte.system import System

CELLS = {
    "cubic": (np.diag([9.0, 9.0, 9.0]), True, 40, 4.0),
    "cubic smaller than the cut-off": (np.diag([4.0, 4.0, 4.0]), True, 6, 5.0),
    "triclinic": (np.array([[9.0, 0, 0], [4.0, 8.0, 0], [-3.0, 2.0, 7.0]]), True, 30, 5.0),
    "triclinic, left-handed": (np.array([[0, 8.0, 0], [9.0, 1.0, 0], [1.0, 2.0, 7.0]]), True, 30, 5.0),
    "large, cell list": (np.array([[26.0, 0, 0], [3.0, 25.0, 0], [-5.0, 2.0, 24.0]]), True, 200, 4.0),
    "slab": (np.diag([8.0, 8.0, 20.0]), (True, True, False), 30, 5.0),
    "wire": (np.diag([5.0, 9.0, 9.0]), (True, False, False), 20, 6.0),
    "molecule": (np.zeros((3, 3)), False, 12, 5.0),
}

MARKS = {("large, cell list", False): [pytest.mark.more], ("large, cell list", True): [pytest.mark.slow]}
"""Some ten seconds each."""


def make(name: str, rotate: bool = False) -> tuple[System, float]:
    from scipy.spatial.transform import Rotation

    cell, pbc, count, cutoff = CELLS[name]
    rng = np.random.default_rng(1)
    basis = cell if np.any(cell) else np.eye(3) * 8.0
    # Positions far outside the cell: trajectories are not wrapped.
    positions = rng.uniform(-2.0, 3.0, (count, 3)) @ basis if np.any(pbc) else rng.uniform(0, 1, (count, 3)) @ basis
    if not np.all(pbc) and np.any(pbc):
        positions = rng.uniform(0, 1, (count, 3)) @ basis
    turn = Rotation.random(random_state=3).as_matrix() if rotate else np.eye(3)
    numbers = np.where(np.arange(count) % 3 == 0, 3, 17)
    return System.from_atoms(Atoms(numbers, positions @ turn, cell=cell @ turn, pbc=pbc)), cutoff


def brute_force(system: System, cutoff: float, numbers: tuple[int, ...] | None = None) -> set[tuple[int, ...]]:
    """(i, j, S) with |R_j - R_i + S cell| < cutoff, from a generous range of images of wrapped positions."""
    positions, cell = np.asarray(system.positions), np.asarray(system.cell)
    home = np.where(system.pbc, np.floor(positions @ np.linalg.inv(cell)), 0).astype(int)
    wrapped = positions - home @ cell
    kind = np.asarray(system.numbers)
    found = set()
    for shift in itertools.product(*(range(-5, 6) if p else (0,) for p in system.pbc)):
        vectors = wrapped[None] - wrapped[:, None] + np.asarray(shift) @ cell
        for i, j in np.argwhere(np.linalg.norm(vectors, axis=-1) < cutoff):
            if i == j and not any(shift):
                continue
            if numbers is None or (kind[i] in numbers and kind[j] in numbers):
                found.add((int(i), int(j), *(int(x) for x in np.asarray(shift) - home[j] + home[i])))
    return found


def entries(lists: NeighborList) -> set[tuple[int, ...]]:
    index, shift = np.asarray(lists.index), np.asarray(lists.shift)
    rows, columns = np.nonzero(index < len(index))
    found = [(int(i), int(index[i, k]), *(int(x) for x in shift[i, k])) for i, k in zip(rows, columns, strict=True)]
    assert len(found) == len(set(found))
    return set(found)


@partial(jax.jit, static_argnums=0)
def fresh(plan: ListPlan, batch: System) -> tuple[Neighbors, ListState]:
    return current_lists(plan, build_lists(plan, batch), batch)


@partial(jax.jit, static_argnums=0)
def follow(plan: ListPlan, state: ListState, batch: System) -> tuple[Neighbors, ListState]:
    return current_lists(plan, update_lists(plan, state, batch), batch)


def in_loop(system: System, spec: NeighborSpec) -> NeighborList:
    batch = jax.tree.map(lambda x: x[None], system)
    plan = plan_lists(batch, (spec,), 1.0)
    neighbors, state = fresh(plan, batch)
    assert not overflowed(plan, state)
    return jax.tree.map(lambda x: x[0], neighbors.lists[0])


@pytest.mark.parametrize(
    ("name", "rotate"),
    [pytest.param(name, rotate, marks=MARKS.get((name, rotate), [])) for name in CELLS for rotate in (False, True)],
)
def test_host_and_loop_find_every_pair(name: str, rotate: bool) -> None:
    system, cutoff = make(name, rotate)
    expected = brute_force(system, cutoff)
    assert len(expected) > 10
    spec = NeighborSpec(cutoff, exact=True)
    assert entries(host_list(system, spec)) == expected
    assert entries(in_loop(system, spec)) == expected


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("triclinic", 3),
        ("large, cell list", 3),
        pytest.param("large, cell list", 17, marks=pytest.mark.slow),
        ("cubic smaller than the cut-off", 3),
    ],
)
def test_lists_among_some_species(name: str, number: int) -> None:
    system, cutoff = make(name)
    spec = NeighborSpec(cutoff, (number,), exact=True)
    expected = brute_force(system, cutoff, (number,))
    assert expected
    assert entries(host_list(system, spec)) == expected
    assert entries(in_loop(system, spec)) == expected
    # A third of the atoms are compared with each other; two thirds take the cell list.
    plan = plan_lists(jax.tree.map(lambda x: x[None], system), (spec,), 1.0).searches[0]
    assert (plan.cell_search is not None) == (name == "large, cell list" and number == 17)


def test_cell_list_is_used_where_it_applies() -> None:
    cell, _, _, cutoff = CELLS["large, cell list"]
    assert worth_it(cell, (True, True, True), cutoff + 1.0, 600, 600)
    assert not worth_it(cell, (True, True, False), cutoff + 1.0, 600, 600)
    assert not worth_it(cell, (True, True, True), cutoff + 1.0, 600, 20)  # few members: all pairs of them
    assert not worth_it(np.asarray(CELLS["cubic"][0]), (True, True, True), cutoff, 600, 600)


@pytest.mark.parametrize("name", CELLS)
def test_vectors_follow_cell_and_positions(name: str) -> None:
    system, cutoff = make(name)
    lists = host_list(system, NeighborSpec(cutoff))
    lengths = np.linalg.norm(np.asarray(lists.vectors(system)), axis=-1)
    mask = np.asarray(lists.mask)
    assert np.all(lengths[mask] < cutoff)
    np.testing.assert_allclose(lengths[~mask], 2 * cutoff)


def test_list_is_never_stale() -> None:
    """Random walk: after each step the cut-down list equals a fresh search, though it is rebuilt only now and then."""
    system, cutoff = make("triclinic")
    spec = NeighborSpec(cutoff, exact=True)
    batch = jax.tree.map(lambda x: x[None], system)
    plan = plan_lists(batch, (spec,), 1.5, 2.0)
    _, state = fresh(plan, batch)
    rng = np.random.default_rng(5)
    for _ in range(40):
        batch = batch.replace(positions=batch.positions + rng.normal(0, 0.08, batch.positions.shape))
        neighbors, state = follow(plan, state, batch)
        single = jax.tree.map(lambda x: x[0], batch)
        now = entries(jax.tree.map(lambda x: x[0], neighbors.lists[0]))
        assert now == brute_force(single, cutoff)
    assert 2 < int(state.builds) < 40
    assert not overflowed(plan, state)


@pytest.mark.parametrize(
    ("name", "strain", "share"),
    [("triclinic", 0.6, 0.7), pytest.param("large, cell list", 0.05, 0.98, marks=pytest.mark.more)],
)
def test_list_is_never_stale_while_cells_are_compressed(name: str, strain: float, share: float) -> None:
    """Two replicas with different cells, compressed and sheared while atoms move: a fresh search at each step."""
    system, cutoff = make(name)
    spec = NeighborSpec(cutoff, exact=True)
    rng = np.random.default_rng(5)
    starts = np.array([np.eye(3), [[1.01, 0.02, 0.0], [0.0, 0.98, 0.01], [0.0, -0.01, 1.0]]])
    batch = jax.tree.map(lambda x: jax.numpy.stack([x, x]), system)
    batch = batch.replace(positions=system.positions @ starts, cell=system.cell @ starts)
    plan = plan_lists(batch, (spec,), 1.5, 5.0, strain)
    plan = replace(plan, searches=(replace(plan.searches[0], exact_capacity=200),))
    assert (plan.searches[0].cell_search is not None) == (name == "large, cell list")
    neighbors, state = fresh(plan, batch)
    steps, rows = 15, []
    shrink = np.diag([share * 0.99, share * 1.01, share]) ** (1.0 / steps)
    shrink[0, 1], shrink[2, 1] = 1e-3 * (1.0 - share), -1e-3
    for _ in range(steps):
        moved = batch.positions @ shrink + rng.normal(0, 0.01, batch.positions.shape)
        batch = batch.replace(positions=moved, cell=batch.cell @ shrink)
        neighbors, state = follow(plan, state, batch)
        assert not overflowed(plan, state)
        for replica in range(2):
            one, lists = (jax.tree.map(lambda x, r=replica: x[r], many) for many in (batch, neighbors.lists[0]))
            assert entries(lists) == entries(host_list(one, spec))
        rows.append(int(np.asarray(neighbors.lists[0].mask).sum()))
    assert rows[-1] > rows[0] / share**2
    assert (2 if share < 0.9 else 0) < int(state.builds) < steps


@pytest.mark.parametrize("which", ["capacity", "exact_capacity"])
@pytest.mark.parametrize("name", ["triclinic", pytest.param("large, cell list", marks=pytest.mark.slow)])
def test_overflow_is_reported(name: str, which: str) -> None:
    system, cutoff = make(name)
    batch = jax.tree.map(lambda x: x[None], system)
    plan = plan_lists(batch, (NeighborSpec(cutoff, exact=True),), 1.0)
    tight = ListPlan((replace(plan.searches[0], **{which: 3}),), plan.skin)
    _, state = fresh(tight, batch)
    assert overflowed(tight, state)
    wide = grow(tight, np.asarray(state.needed), batch)
    neighbors, state = fresh(wide, batch)
    assert not overflowed(wide, state)
    assert entries(jax.tree.map(lambda x: x[0], neighbors.lists[0])) == brute_force(system, cutoff)


@pytest.mark.more
def test_cell_list_of_atoms_without_neighbours_has_room_for_some() -> None:
    """Atoms farther apart than the radius at first, as the Li ions of a dilute box that is built."""
    lattice = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3) * 6.0
    system = System.from_atoms(Atoms(np.full(64, 3), lattice, cell=np.eye(3) * 24.0, pbc=True))
    batch = jax.tree.map(lambda x: x[None], system)
    plan = plan_lists(batch, (NeighborSpec(3.0),), 1.0)
    assert plan.searches[0].cell_search is not None
    neighbors, _ = fresh(plan, batch)
    assert entries(jax.tree.map(lambda x: x[0], neighbors.lists[0])) == set()
    near = system.replace(positions=system.positions.at[1].set(system.positions[0] + 2.0 / np.sqrt(3.0)))
    neighbors, state = fresh(plan, jax.tree.map(lambda x: x[None], near))
    assert not overflowed(plan, state)
    assert entries(jax.tree.map(lambda x: x[0], neighbors.lists[0])) == brute_force(near, 4.0)
