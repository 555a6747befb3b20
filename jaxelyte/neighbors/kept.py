"""Verlet lists of one system that another program moves: built on the host, kept as long as no pair can be missing."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import jax.numpy as jnp
import numpy as np

from jaxelyte.neighbors.host import host_list, longest_row
from jaxelyte.neighbors.lists import NeighborList, NeighborSpec
from jaxelyte.neighbors.loop import GROWTH, ListPlan, ListState, SearchPlan
from jaxelyte.system import System


class KeptLists:
    """Lists with a skin, valid from call to call while atoms move, jump by lattice vectors, and the cell changes.

    A list holds all pairs within r_c + skin at the last build. With F the deformation of the cell since then, s its
    smallest singular value and d the longest way of an atom from where F alone would have carried it, a pair that is
    in no list is at least s (r_c + skin) - 2 d apart. The lists are built anew when this falls below some r_c.

    Rows have room to spare and never lose it, so that shapes change rarely.

    Args:
        skin: Å.
        shared: take no less room than other such lists of as many atoms had, so that one program serves all of them.

    Attributes:
        skin: Å.
        builds: how often the lists were built.
    """

    def __init__(self, skin: float, *, shared: bool = False) -> None:
        self.skin, self.builds, self._shared = skin, 0, shared
        self._specs: tuple[NeighborSpec, ...] = ()
        self._lists: tuple[NeighborList, ...] = ()
        self._rooms: list[int] = []
        self._exact_rooms: list[int] = []
        self._known: dict[tuple[bool, int], int] = {}
        self._built: System | None = None
        self._fractional = np.zeros((0, 3))

    def follow(self, system: System, origin: np.ndarray, specs: tuple[NeighborSpec, ...]) -> np.ndarray:
        """Bring the lists up to date.

        Args:
            system: numpy arrays in float64; positions in Å in any image.
            origin: shape (3,), Å, the corner of the cell, which may move with it.
            specs: what the potential needs; others than before, or another number of atoms, forget the rooms.

        Returns:
            Positions, shape (atoms, 3), Å: of each atom the image that the shifts of the lists refer to.
        """
        # Along directions that are not periodic the corner means nothing, and must not look like a movement of atoms.
        positions, cell = np.asarray(system.positions), np.asarray(system.cell)
        fractional = (positions - origin * np.asarray(system.pbc)) @ np.linalg.inv(cell)
        if specs != self._specs or self._built is None or self._built.num_atoms != system.num_atoms:
            self._specs, self._built = specs, None
            self._rooms, self._exact_rooms = [0] * len(specs), [0] * len(specs)
            self._known = _known_rooms(specs, self.skin, system.num_atoms) if self._shared else {}
        if self._same_atoms(system):
            jumps = np.round(fractional - self._fractional) * np.asarray(system.pbc)
            if self._valid(cell, (fractional - jumps - self._fractional) @ cell):
                return positions - jumps @ cell
        self._build(system)
        self._built, self._fractional = system, fractional
        return positions

    def _same_atoms(self, system: System) -> bool:
        old = self._built
        return old is not None and old.pbc == system.pbc and np.array_equal(old.numbers, system.numbers)

    def _valid(self, cell: np.ndarray, moved: np.ndarray) -> bool:
        assert self._built is not None
        if not self._specs:
            return True
        deformation = np.linalg.solve(np.asarray(self._built.cell), cell)
        smallest = np.linalg.svd(deformation, compute_uv=False)[-1]
        cutoffs = np.array([spec.cutoff for spec in self._specs])
        slack = np.min(smallest * (cutoffs + self.skin) - cutoffs)
        return 2.0 * math.sqrt(np.max(np.sum(moved**2, axis=1))) < slack

    def _build(self, system: System) -> None:
        self.builds += 1
        lists = []
        for k, spec in enumerate(self._specs):
            radius = spec.cutoff + self.skin
            found = host_list(system, replace(spec, cutoff=radius))
            most = found.index.shape[1]
            self._rooms[k] = self._at_least(self._rooms[k], False, k)
            if most > self._rooms[k]:
                self._rooms[k] = self._at_least(_room(most), False, k)
            spare = self._rooms[k] - most
            index = np.pad(np.asarray(found.index), ((0, 0), (0, spare)), constant_values=system.num_atoms)
            shift = np.pad(np.asarray(found.shift), ((0, 0), (0, spare), (0, 0)))
            lists.append(NeighborList(jnp.asarray(index)[None], jnp.asarray(shift)[None], radius))
            if spec.exact:
                self._exact_rooms[k] = self._at_least(self._exact_rooms[k], True, k)
                if self._exact_rooms[k] == 0:
                    self._exact_rooms[k] = self._at_least(_room(longest_row(system, spec)), True, k)
        self._lists = tuple(lists)

    def plan(self) -> ListPlan:
        """Static part of what `current_lists` reads."""
        return ListPlan(
            tuple(
                SearchPlan(spec, spec.cutoff + self.skin, room, exact, GROWTH, 0, None, None)
                for spec, room, exact in zip(self._specs, self._rooms, self._exact_rooms, strict=True)
            ),
            self.skin,
        )

    def state(self) -> ListState:
        """The lists as `current_lists` reads them, a batch of one; its ``reference`` is empty."""
        needed = jnp.zeros((len(self._specs), 2), jnp.int32)
        return ListState(self._lists, jnp.zeros((1, 0, 3)), jnp.zeros((1, 3, 3)), needed, jnp.ones((), jnp.int32))

    def make_room(self, needed: np.ndarray) -> bool:
        """Widen exact lists whose rows overflowed.

        Args:
            needed: shape (lists, 2), `ListState.needed` after `current_lists`.

        Returns:
            True if any was too narrow: what was computed with it is wrong.
        """
        exact = [int(row) for _, row in needed]
        overflow = [row > room for row, room in zip(exact, self._exact_rooms, strict=True)]
        self._exact_rooms = [
            self._at_least(_room(row), True, k) if full else room
            for k, (row, room, full) in enumerate(zip(exact, self._exact_rooms, overflow, strict=True))
        ]
        return any(overflow)

    def _at_least(self, room: int, exact: bool, k: int) -> int:
        """The room, or that of other lists that it is shared with."""
        self._known[exact, k] = max(room, self._known.get((exact, k), 0))
        return self._known[exact, k]


@lru_cache(maxsize=256)
def _known_rooms(specs: tuple[NeighborSpec, ...], skin: float, atoms: int) -> dict[tuple[bool, int], int]:  # noqa: ARG001
    """Rooms of skin (False) and exact (True) lists, by number; one dictionary for each kind of lists."""
    return {}


def _room(count: int) -> int:
    # As in the loop: multiples of 8, with room for fluctuations.
    return max(8, 8 * math.ceil((count * GROWTH + 2) / 8))
