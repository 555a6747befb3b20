"""Neighbour lists of one frame, off the loop, on the host (vesin)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec, layout_of
from jaxelyte.system import System, as_system
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

    from jaxelyte.potentials.base import Potential


def neighbor_lists(
    system: System | Atoms, potential: Potential, *, capacities: tuple[int, ...] | None = None
) -> Neighbors:
    """All lists that a (prepared) potential needs, exact at its cut-offs, for one frame.

    Args:
        system: any cell, any size relative to the cut-off, partly periodic or not periodic.
        potential: see `Potential.requirements`; call ``potential.prepare(system)`` first where it depends on the cell.
        capacities: neighbour slots per atom for each list; the largest count by default. Lists that are divided among
            devices choose their own.

    Raises:
        InputError: atoms that cannot be simulated, or no potential.
    """
    system = as_system(system)
    # A fit stands for its total; the full check (`as_potential`) is in the layer of potentials.
    whole = getattr(potential, "total", potential)
    if not hasattr(whole, "requirements"):
        raise InputError(f"potential must be a potential or a Fit, not {checks.shown(potential)}")
    specs = whole.requirements()
    if any(spec.layout is not None for spec in specs):
        return layout_of(specs).neighbor_lists(system, specs)
    sizes = capacities if capacities is not None else (None,) * len(specs)
    return Neighbors(tuple(host_list(system, s, n) for s, n in zip(specs, sizes, strict=True)), specs)


def host_list(system: System, spec: NeighborSpec, capacity: int | None = None) -> NeighborList:
    """One list of one frame; `neighbor_lists` is the usual way in.

    Raises:
        ValueError: ``capacity`` is smaller than the largest number of neighbours.
    """
    first, second, shift = _pairs(system, spec)
    atoms = system.num_atoms
    counts = np.bincount(first, minlength=atoms)
    most = int(counts.max(initial=0))
    size = max(most, 1) if capacity is None else capacity
    if most > size:
        raise ValueError(
            f"an atom has {counted(most, 'neighbour')} within {spec.cutoff} Å, more than the capacity {size}"
        )
    order = np.argsort(first, kind="stable")
    first, second, shift = first[order], second[order], shift[order]
    column = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.full((atoms, size), atoms, np.int32)
    shifts = np.zeros((atoms, size, 3), np.int32)
    index[first, column] = second
    shifts[first, column] = shift
    return NeighborList(jnp.asarray(index), jnp.asarray(shifts), spec.cutoff)


def row_counts(system: System, spec: NeighborSpec) -> np.ndarray:
    """(atoms,), neighbours of each atom."""
    return np.bincount(_pairs(system, spec)[0], minlength=system.num_atoms)


def longest_row(system: System, spec: NeighborSpec) -> int:
    """Neighbours of the atom that has most of them."""
    return int(np.max(row_counts(system, spec), initial=0))


def _pairs(system: System, spec: NeighborSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from vesin import NeighborList as Vesin

    keep = np.asarray(system.mask)
    if spec.numbers is not None:
        keep = keep & np.isin(np.asarray(system.numbers), spec.numbers)
    chosen = np.flatnonzero(keep)
    empty = np.zeros(0, np.int64)
    if len(chosen) == 0:
        return empty, empty, np.zeros((0, 3), np.int64)
    search = Vesin(cutoff=spec.cutoff, full_list=True)
    first, second, shift = search.compute(
        points=np.asarray(system.positions, np.float64)[chosen],
        box=np.asarray(system.cell, np.float64),
        periodic=np.array(system.pbc),
        quantities="ijS",
    )
    return chosen[first], chosen[second], np.asarray(shift, np.int64)
