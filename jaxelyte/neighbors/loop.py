"""Neighbour lists inside the compiled loop: Verlet lists with a skin, for a batch of replicas.

The lists are rebuilt as soon as an atom of any replica has moved by half the skin since the last build, so no pair
within the cut-off is ever missing. Where cells change, the deformation since the last build shortens that way, and the
movement is measured after it, as in `jaxelyte.neighbors.kept`. Shapes are fixed by a `ListPlan`; a row that needs more
room than planned is reported, never silently cut: the caller throws the chunk away and repeats it with a larger plan.

The functions of a plan dispatch on its type: lists that are divided among devices (`jaxelyte.parallel`) have a plan of
their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial, singledispatch
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxelyte.arrays import HashableArray
from jaxelyte.lattice import combine, deformation, strain_of
from jaxelyte.neighbors import cells
from jaxelyte.neighbors.host import longest_row, row_counts
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec, layout_of
from jaxelyte.neighbors.search import Found, compact, image_offsets, member_mask, search_all_pairs
from jaxelyte.system import System, one_by_one

GROWTH = 1.25
"""Spare room that capacities of lists with skin get, relative to the largest row seen."""

EXACT_GROWTH = 1.15
"""The same of lists without: networks are evaluated on all slots, so empty ones cost what pairs do. In water the
largest row of a frame varies by a tenth, and a row that does not fit costs a compilation. Rows of a lattice are all as
long, so that there is room for 3 √mean more than the mean at the least: what a liquid of that density needs.
"""


@dataclass(frozen=True)
class SearchPlan:
    """Static description of one list: the method, its radius, its room, and how many atoms take part."""

    spec: NeighborSpec
    radius: float
    capacity: int
    exact_capacity: int
    multiplier: float
    count: int
    offsets: HashableArray | None
    cell_search: cells.CellSearch | None


@dataclass(frozen=True)
class ListPlan:
    """Static description of all lists of a potential; hashable, so that a change recompiles.

    Attributes:
        searches: one for each list.
        skin: Å.
        strain: by which cells may differ from those planned for, see `jaxelyte.lattice.strain_of`; 0 for fixed cells.
    """

    searches: tuple[SearchPlan, ...]
    skin: float
    strain: float = field(default=0.0, kw_only=True)


class ListState(struct.PyTreeNode):
    """Verlet lists of a batch: per search an index (replicas, atoms, capacity) and a shift, built at ``reference``.

    Attributes:
        lists: the lists with skin.
        reference: positions at the last build, shape (replicas, atoms, 3), Å.
        cells: at the last build, shape (replicas, 3, 3), Å.
        needed: largest row counts ever met, (searches, 2): of the skin lists and of the exact lists.
        builds: number of builds so far.
    """

    lists: tuple[NeighborList, ...]
    reference: Float[Array, "replicas atoms 3"]
    cells: Float[Array, "replicas 3 3"]
    needed: Int[Array, "searches 2"]
    builds: Int[Array, ""]


def plan_lists(
    systems: System, specs: tuple[NeighborSpec, ...], skin: float, multiplier: float = GROWTH, strain: float = 0.0
) -> ListPlan:
    """Choose search methods and capacities for a batch of concrete systems (leading axis: replicas).

    Args:
        systems: batched `System`.
        specs: what the potential needs.
        skin: Å.
        multiplier: room for that many times the largest row found now.
        strain: by which the cells will be deformed at most; see `ListPlan`.
    """
    layout = layout_of(specs)
    if layout is not None:
        return layout.plan_lists(_shrunk(systems, strain), specs, skin, multiplier)
    singles = one_by_one(systems) if specs else []
    narrow = one_by_one(_shrunk(systems, strain)) if strain else singles
    return ListPlan(tuple(_plan_search(singles, narrow, s, skin, multiplier) for s in specs), skin, strain=strain)


def _shrunk(systems: System, strain: float) -> System:
    return systems.replace(positions=systems.positions * (1.0 - strain), cell=systems.cell * (1.0 - strain))


def _plan_search(
    singles: list[System], narrow: list[System], spec: NeighborSpec, skin: float, multiplier: float
) -> SearchPlan:
    """Rows are counted in the systems as they are; images and grids are those of the narrowest cells to come."""
    radius = spec.cutoff + skin
    all_cells = np.unique([np.asarray(s.cell, np.float64) for s in narrow], axis=0)
    most = max(longest_row(s, replace(spec, cutoff=radius)) for s in singles)
    count = max(int(np.sum(np.asarray(member_mask(s, spec)))) for s in singles)
    pbc, atoms = singles[0].pbc, singles[0].num_atoms
    use_cells = all(cells.worth_it(cell, pbc, radius, atoms, count) for cell in all_cells)
    return SearchPlan(
        spec=spec,
        radius=radius,
        capacity=_room(most, multiplier),
        exact_capacity=_exact_room(singles, spec, multiplier) if spec.exact else 0,
        multiplier=multiplier,
        count=max(1, count),
        offsets=None if use_cells else image_offsets(all_cells, pbc, radius),
        cell_search=cells.CellSearch(narrow, spec, radius, multiplier) if use_cells else None,
    )


def _exact_room(singles: list[System], spec: NeighborSpec, multiplier: float) -> int:
    rows = np.concatenate([row_counts(s, spec) for s in singles])
    needed = _room(int(np.max(rows, initial=0)), min(multiplier, EXACT_GROWTH))
    mean = float(np.mean(rows[rows > 0])) if np.any(rows > 0) else 0.0
    return max(needed, _room(math.ceil(mean + 3.0 * math.sqrt(mean)) - 2, 1.0)) if multiplier > 1.0 else needed


def _room(count: int, multiplier: float) -> int:
    # Multiples of 8 keep rows aligned for vector units and let small fluctuations share a compilation.
    return max(8, 8 * math.ceil((count * multiplier + 2) / 8))


@singledispatch
def grow(plan: ListPlan, needed: np.ndarray, systems: System) -> ListPlan:
    """A plan with room for the row counts that overflowed; see `ListState.needed`."""
    searches = []
    for search, (skin_rows, exact_rows) in zip(plan.searches, needed, strict=True):
        changes = {}
        if skin_rows > search.capacity:
            if search.cell_search is not None:
                # The cells of now may be the widest of the range, and the narrowest is to come.
                narrow = one_by_one(_shrunk(systems, 2.0 * plan.strain))
                multiplier = search.multiplier * 1.5
                changes["multiplier"] = multiplier
                changes["cell_search"] = cells.CellSearch(narrow, search.spec, search.radius, multiplier)
            if skin_rows < cells.INTERNAL_OVERFLOW:
                changes["capacity"] = _room(int(skin_rows), GROWTH)
        if exact_rows > search.exact_capacity:
            changes["exact_capacity"] = _room(int(exact_rows), EXACT_GROWTH)
        searches.append(replace(search, **changes))
    return replace(plan, searches=tuple(searches))


@singledispatch
def build_lists(plan: ListPlan, systems: System) -> ListState:
    """Search all lists of a batch anew."""
    lists, needed = [], []
    for search in plan.searches:
        found = jax.vmap(partial(_search_one, search))(systems)
        lists.append(NeighborList(found.index, found.shift, search.radius))
        needed.append(jnp.stack([jnp.max(found.needed), jnp.zeros((), jnp.int32)]))
    table = jnp.stack(needed) if needed else jnp.zeros((0, 2), jnp.int32)
    return ListState(tuple(lists), systems.positions, systems.cell, table, jnp.ones((), jnp.int32))


def _search_one(search: SearchPlan, system: System) -> Found:
    if search.cell_search is not None:
        return search.cell_search(system, search.capacity)
    assert search.offsets is not None
    return search_all_pairs(system, search.spec, search.radius, search.offsets, search.capacity, search.count)


@singledispatch
def update_lists(plan: ListPlan, state: ListState, systems: System) -> ListState:
    """Rebuild where an atom of any replica has moved by more than half the skin since the last build.

    Where cells change, with F the deformation since then, movement is what F does not explain, and ‖F - 1‖ times the
    longest radius is taken off the skin.
    """
    if not plan.searches:
        return state
    if plan.strain:
        change = jax.vmap(deformation)(state.cells, systems.cell)
        carried = jax.vmap(combine)(state.reference, change)
        moved = jnp.max(jnp.sum((systems.positions - carried) ** 2, axis=-1), axis=-1)
        longest = max(search.radius for search in plan.searches)
        skin = jnp.maximum(plan.skin - longest * jax.vmap(strain_of)(state.cells, systems.cell), 0.0)
        stale = jnp.any(moved >= (skin / 2) ** 2)
    else:
        stale = jnp.max(jnp.sum((systems.positions - state.reference) ** 2, axis=-1)) > (plan.skin / 2) ** 2

    def rebuild(_: None) -> ListState:
        new = build_lists(plan, systems)
        return new.replace(needed=jnp.maximum(new.needed, state.needed), builds=state.builds + 1)

    return jax.lax.cond(stale, rebuild, lambda _: state, None)


@singledispatch
def current_lists(plan: ListPlan, state: ListState, systems: System) -> tuple[Neighbors, ListState]:
    """The lists as the potential reads them now: exact ones cut down to their cut-off. Batched."""
    lists, exact_rows = [], []
    for search, skin_list in zip(plan.searches, state.lists, strict=True):
        if search.spec.exact:
            found = jax.vmap(partial(_cut, search))(systems, skin_list)
            lists.append(NeighborList(found.index, found.shift, search.spec.cutoff))
            exact_rows.append(jnp.max(found.needed))
        else:
            lists.append(skin_list)
            exact_rows.append(jnp.zeros((), jnp.int32))
    if exact_rows:
        column = jnp.maximum(state.needed[:, 1], jnp.stack(exact_rows))
        state = state.replace(needed=state.needed.at[:, 1].set(column))
    return Neighbors(tuple(lists), tuple(s.spec for s in plan.searches)), state


def _cut(search: SearchPlan, system: System, skin_list: NeighborList) -> Found:
    distance_squared = jnp.sum(skin_list.vectors(system) ** 2, axis=-1)
    keep = skin_list.mask & (distance_squared < search.spec.cutoff**2)
    return compact(keep, skin_list.index, skin_list.shift, search.exact_capacity, system.num_atoms)


@singledispatch
def overflowed(plan: ListPlan, state: ListState) -> Array:
    """True once any row has needed more room than planned."""
    if not plan.searches:
        return jnp.zeros((), bool)
    room = jnp.asarray([[s.capacity, s.exact_capacity] for s in plan.searches], jnp.int32)
    return jnp.any(state.needed > room)


@singledispatch
def capacities(plan: ListPlan) -> np.ndarray:
    """The numbers that a checkpoint keeps of a plan, so that a resumed run has the same shapes."""
    return np.array([[s.capacity, s.exact_capacity] for s in plan.searches], np.int64).reshape(-1, 2)


@singledispatch
def with_capacities(plan: ListPlan, numbers: np.ndarray) -> ListPlan:
    """The plan with the `capacities` of another of its kind."""
    rows = zip(plan.searches, numbers, strict=True)
    searches = tuple(replace(s, capacity=int(c), exact_capacity=int(e)) for s, (c, e) in rows)
    return replace(plan, searches=searches)


@singledispatch
def place(plan: ListPlan, tree: Any) -> Any:  # noqa: ARG001
    """Arrays where the lists expect them to be: as they are, or a copy on each of several devices."""
    return tree


@singledispatch
def keep_place(plan: ListPlan, tree: Any) -> Any:  # noqa: ARG001
    """The same inside a compiled program, so that what comes out of it goes in again without another compilation."""
    return tree
