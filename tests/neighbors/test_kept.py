"""Lists that follow another program: no pair is ever missing, and they are rarely built."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.kept import KeptLists
from jaxelyte.neighbors.lists import NeighborList, NeighborSpec
from jaxelyte.neighbors.loop import current_lists
from jaxelyte.system import System

SPECS = (NeighborSpec(4.0), NeighborSpec(3.0, None, True), NeighborSpec(5.0, (11,)))


def random_system(rng: np.random.Generator, pbc: bool | list[bool]) -> System:
    cell = np.array([[11.0, 0, 0], [2.0, 10.0, 0], [-3.0, 1.0, 12.0]])
    atoms = Atoms("Na20Cl40", cell=cell, scaled_positions=rng.random((60, 3)), pbc=pbc)
    return jax.tree.map(np.asarray, System.from_atoms(atoms))


def distances(kept: KeptLists, system: System, positions: np.ndarray) -> list[np.ndarray]:
    """Sorted lengths of all pairs within the cut-offs, from lists as the potentials read them."""
    batch = jax.tree.map(lambda x: jnp.asarray(x)[None], system.replace(positions=positions))
    while True:
        neighbors, state = current_lists(kept.plan(), kept.state(), batch)
        if not kept.make_room(np.asarray(state.needed)):
            break
    single = jax.tree.map(lambda x: x[0], batch)
    return [lengths(jax.tree.map(lambda x: x[0], found), single) for found in neighbors.lists]


def lengths(found: NeighborList, system: System) -> np.ndarray:
    vectors = np.asarray(found.vectors(system))[np.asarray(found.mask)]
    return np.sort(np.linalg.norm(vectors, axis=1))


@pytest.mark.parametrize("pbc", [True, [True, True, False], False])
@pytest.mark.parametrize(
    "growth",
    [
        pytest.param(1.0, id="fixed", marks=pytest.mark.more),
        pytest.param(0.985, id="shrinking", marks=pytest.mark.more),
        pytest.param(1.01, id="growing", marks=pytest.mark.more),
    ],
)
def test_no_pair_is_missing(rng: np.random.Generator, pbc: bool | list[bool], growth: float) -> None:
    """Atoms walk and jump by lattice vectors, the cell is strained, tilted and shifted: as lists made anew."""
    system, origin = random_system(rng, pbc), np.zeros(3)
    kept = KeptLists(1.0)
    periodic = np.asarray(system.pbc)
    for step in range(20):
        tilt = np.eye(3) * growth
        tilt[1, 0] = 0.004 * (growth != 1.0)
        corner = origin + 0.3 * (growth != 1.0)
        walked = corner + (system.positions - origin) @ tilt + rng.normal(0, 0.05, (60, 3))
        cell = np.where(periodic[:, None], system.cell @ tilt, system.cell)
        jumps = rng.integers(-2, 3, (60, 3)) * periodic * (rng.random((60, 1)) < 0.3)
        system, origin = system.replace(positions=walked + jumps @ cell, cell=cell), corner
        positions = kept.follow(system, origin, SPECS)
        offset = (positions - system.positions) @ np.linalg.inv(cell)
        np.testing.assert_allclose(offset, np.round(offset), atol=1e-9)
        for spec, found in zip(SPECS, distances(kept, system, positions), strict=True):
            expected = lengths(host_list(system, spec), jax.tree.map(jnp.asarray, system))
            inside = found[found < spec.cutoff]
            np.testing.assert_allclose(inside, expected, atol=1e-9, err_msg=f"step {step}")
            assert not spec.exact or len(inside) == len(found)
    # Where no cell says that all is scaled, scaled positions are atoms that move.
    if pbc is True or growth == 1.0:
        assert kept.builds < 13, "kept lists that are built in most steps are not kept"


def test_rows_keep_their_room(rng: np.random.Generator) -> None:
    """A wider cell needs no new lists, a narrower one does, with wider rows, which stay."""
    system = random_system(rng, pbc=True)
    kept = KeptLists(1.0)
    kept.follow(system, np.zeros(3), SPECS)
    plan = kept.plan()
    kept.follow(system.replace(cell=system.cell * 1.1, positions=system.positions * 1.1), np.zeros(3), SPECS)
    assert (kept.builds, kept.plan()) == (1, plan)
    kept.follow(system.replace(cell=system.cell * 0.7, positions=system.positions * 0.7), np.zeros(3), SPECS)
    wider = kept.plan()
    kept.follow(system.replace(positions=system.positions[::-1].copy()), np.zeros(3), SPECS)
    assert (kept.builds, kept.plan()) == (3, wider)
    assert all(new.capacity > old.capacity for new, old in zip(kept.plan().searches, plan.searches, strict=True))
    assert kept.make_room(np.array([[0, 0], [0, 1000], [0, 0]]))
    assert kept.plan().searches[1].exact_capacity >= 1000
    assert not kept.make_room(np.array([[0, 0], [0, 1000], [0, 0]]))


def test_other_atoms_need_other_lists(rng: np.random.Generator) -> None:
    system = random_system(rng, pbc=True)
    kept = KeptLists(1.0)
    kept.follow(system, np.zeros(3), SPECS)
    kept.follow(system.replace(numbers=system.numbers[::-1].copy()), np.zeros(3), SPECS)
    assert kept.builds == 2
    fewer = jax.tree.map(lambda x: x[:40] if len(x) == 60 else x, system)
    kept.follow(fewer, np.zeros(3), SPECS)
    assert kept.state().lists[0].index.shape[1] == 40


def test_two_atoms_that_approach_each_other_share_the_skin() -> None:
    """5.05 Å apart, cut-off 4, skin 1: each may move by less than half the skin."""
    atoms = Atoms("Na2", [[5.0, 10.0, 10.0], [10.05, 10.0, 10.0]], cell=[20.0] * 3, pbc=True)
    system, specs = jax.tree.map(np.asarray, System.from_atoms(atoms)), (NeighborSpec(4.0),)
    kept = KeptLists(1.0)

    def pairs(way: float) -> int:
        moved = system.positions + np.array([[way, 0.0, 0.0], [-way, 0.0, 0.0]])
        kept.follow(system.replace(positions=moved), np.zeros(3), specs)
        return int(np.sum(np.asarray(kept.state().lists[0].mask)))

    assert (pairs(0.0), kept.builds) == (0, 1)
    assert (pairs(0.49), kept.builds) == (0, 1)  # 4.07 Å: still none is missing
    assert (pairs(0.55), kept.builds) == (2, 2)  # 3.95 Å


def test_the_longest_of_several_lists_decides() -> None:
    """All scaled by 0.9: with a skin of 0.5, 2.5 Å become 2.25 > 2, but 6.5 Å become 5.85 < 6."""
    atoms = Atoms("Na2", [[3.0, 10.0, 10.0], [9.6, 10.0, 10.0]], cell=[20.0] * 3, pbc=True)
    system, specs = jax.tree.map(np.asarray, System.from_atoms(atoms)), (NeighborSpec(2.0), NeighborSpec(6.0))
    kept = KeptLists(0.5)
    kept.follow(system, np.zeros(3), specs)
    kept.follow(system.replace(cell=0.9 * system.cell, positions=0.9 * system.positions), np.zeros(3), specs)
    assert kept.builds == 2
    assert [int(np.sum(np.asarray(one.mask))) for one in kept.state().lists] == [0, 2]  # 5.94 Å
