"""What each device has to do and to hold."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.parallel.lists import DomainNeighbors
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.derivatives import energy_and_forces
from jaxelyte.system import System


class Work(NamedTuple):
    """Work of a force call by device, and the memory of the program on each.

    Attributes:
        shape: domains along each lattice vector.
        owned: atoms of each device.
        copies: atoms of other devices that each device holds copies of.
        pairs: entries of its longest-reaching list.
        messages: messages that a device sends at each exchange.
        memory: bytes of a device for arguments, results and intermediate arrays of energy and forces.
    """

    shape: tuple[int, int, int]
    owned: np.ndarray
    copies: np.ndarray
    pairs: np.ndarray
    messages: int
    memory: int


def work(potential: Potential, system: System, neighbors: Neighbors) -> Work:
    """Count atoms, copies and pairs of each device, and compile energy and forces to see what memory they need.

    Args:
        potential: a prepared potential of `distribute`.
        system: the atoms.
        neighbors: from ``neighbor_lists(system, potential)``; with its padding, which is part of the memory.

    Raises:
        InputError: lists that are not divided.
    """
    if not isinstance(neighbors, DomainNeighbors):
        raise InputError("work counts what is divided among devices; these neighbour lists are not")
    plan, atoms = neighbors.plan, system.num_atoms
    longest = max(range(len(plan.specs)), key=lambda n: plan.specs[n].cutoff)
    rows = plan.room.owned + sum(plan.room.sends)

    def count(table: Any, padding: int) -> np.ndarray:
        return np.sum(np.asarray(table).reshape(plan.layout.count, -1) < padding, axis=1)

    compiled = jax.jit(energy_and_forces).lower(potential, system, neighbors).compile()
    memory: Any = compiled.memory_analysis()
    return Work(
        plan.layout.shape,
        count(neighbors.tables.owned, atoms),
        count(neighbors.tables.copies, atoms),
        count(neighbors.lists[longest].index, rows),
        len(plan.offsets),
        int(memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes),
    )
