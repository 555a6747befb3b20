"""Lists that are divided among devices: built, kept and cut to their cut-offs in compiled code.

The same contract as in `jaxelyte.neighbors.loop`, whose functions dispatch here: lists with a skin, built anew when an
atom has moved by half of it. That is also when atoms change their domain. Room that did not suffice is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from jaxelyte.lattice import inverse_rows
from jaxelyte.neighbors.lists import NeighborList, Neighbors, NeighborSpec
from jaxelyte.neighbors.loop import (
    ListState,
    build_lists,
    capacities,
    current_lists,
    grow,
    overflowed,
    place,
    update_lists,
    with_capacities,
)
from jaxelyte.neighbors.search import compact
from jaxelyte.parallel.decompose import Room, Tables, divide
from jaxelyte.parallel.layout import AXIS, Layout, Shape
from jaxelyte.parallel.search import Grid, search_domain
from jaxelyte.system import System

WHOLE, CUT = PartitionSpec(), PartitionSpec(AXIS)


@dataclass(frozen=True)
class DomainPlan:
    """Static description of divided lists; hashable, so that a change recompiles.

    Attributes:
        layout: domains and devices.
        specs: the lists, as the potential asks for them.
        skin: Å.
        halo: how far a domain sees beyond its faces, fractions of the cell, with a little to spare.
        room: sizes of the arrays of a domain.
    """

    layout: Layout
    specs: tuple[NeighborSpec, ...]
    skin: float
    halo: tuple[float, float, float]
    room: Room

    @property
    def offsets(self) -> tuple[Shape, ...]:
        """The messages of each device."""
        return self.layout.offsets(self.halo)

    @property
    def radius(self) -> float:
        """Å: the longest cut-off and the skin."""
        return max(spec.cutoff for spec in self.specs) + self.skin


class DomainState(ListState):
    """`ListState` with a leading axis of domains in ``lists``, and the tables that say whose atoms these are.

    ``needed`` is a row: what `Room.numbers` tells, and last 1 where the cell has shrunk below
    what the plan was made for.
    """

    tables: Tables


class DomainNeighbors(Neighbors):
    """The lists of a divided system, with a leading axis of domains, and its tables."""

    tables: Tables
    plan: DomainPlan = struct.field(pytree_node=False)

    def as_batch(self) -> DomainNeighbors:
        return self  # of one system in any case


def one_system(systems: System) -> System:
    """The only system of a batch of one."""
    return jax.tree.map(lambda x: x[0], systems)


def shared(plan: DomainPlan, function: Any, arguments: tuple[PartitionSpec, ...], results: Any) -> Any:
    """The function on each device with its share of the arguments."""
    # The checker of replication cannot follow custom derivatives; ours are taken outside, where it is not needed.
    return jax.shard_map(function, mesh=plan.layout.mesh, in_specs=arguments, out_specs=results, check_vma=False)


@build_lists.register(DomainPlan)
def _build(plan: DomainPlan, systems: System) -> DomainState:
    system = one_system(systems)
    grid = Grid.around(plan.layout.shape, plan.halo)
    radii = tuple(spec.cutoff + plan.skin for spec in plan.specs)

    def local(system: System) -> tuple[Any, Tables, Array]:
        tables, needed = divide(plan.layout, plan.halo, plan.offsets, plan.room, system)
        lists, more = search_domain(plan.layout, grid, radii, plan.specs, plan.room, system, tables)
        rows = [needed[0], *more[:2], *needed[1:]]
        for most in more[2:]:
            rows += [most, jnp.zeros((), jnp.int32)]
        everywhere = jax.lax.pmax(jnp.stack(rows), AXIS)
        return (*jax.tree.map(lambda x: x[None], (lists, tables)), everywhere)

    lists, tables, needed = shared(plan, local, (WHOLE,), (CUT, CUT, WHOLE))(system)
    widths = 1.0 / jnp.sqrt(jnp.sum(inverse_rows(system.cell) ** 2, axis=1))
    reach = jnp.asarray([h if p else np.inf for h, p in zip(plan.halo, system.pbc, strict=True)], widths.dtype)
    shrunk = jnp.any(jnp.asarray(plan.radius, widths.dtype) > reach * widths)
    pairs = zip(lists, radii, strict=True)
    return DomainState(
        lists=tuple(NeighborList(index, shift, radius) for (index, shift), radius in pairs),
        reference=systems.positions,
        cells=systems.cell,
        needed=jnp.append(needed, shrunk.astype(jnp.int32)),
        builds=jnp.ones((), jnp.int32),
        tables=tables,
    )


@update_lists.register(DomainPlan)
def _update(plan: DomainPlan, state: DomainState, systems: System) -> DomainState:
    moved = jnp.max(jnp.sum((systems.positions - state.reference) ** 2, axis=-1))

    def rebuild(_: None) -> DomainState:
        new: Any = _build(plan, systems)
        return new.replace(needed=jnp.maximum(new.needed, state.needed), builds=state.builds + 1)

    return jax.lax.cond(moved > (plan.skin / 2) ** 2, rebuild, lambda _: state, None)


@current_lists.register(DomainPlan)
def _current(plan: DomainPlan, state: DomainState, systems: System) -> tuple[DomainNeighbors, DomainState]:
    system = one_system(systems)
    lists, needed = [], state.needed
    first = 3 + len(plan.offsets)
    for number, (spec, skin_list) in enumerate(zip(plan.specs, state.lists, strict=True)):
        if not spec.exact:
            lists.append(skin_list)
            continue
        cut = shared(plan, partial(_cut, spec, plan.room.lists[number][1]), (WHOLE, CUT, CUT), (CUT, CUT, WHOLE))
        index, shift, most = cut(system, skin_list, state.tables)
        lists.append(NeighborList(index, shift, spec.cutoff))
        needed = needed.at[first + 2 * number + 1].max(most)
    neighbors = DomainNeighbors(lists=tuple(lists), specs=plan.specs, tables=state.tables, plan=plan)
    return neighbors, state.replace(needed=needed)


def _cut(
    spec: NeighborSpec, capacity: int, system: System, skin_list: NeighborList, tables: Tables
) -> tuple[Array, Array, Array]:
    """The entries of this device's list that are within the cut-off now."""
    skin_list, tables = jax.tree.map(lambda x: x[0], (skin_list, tables))
    rows = tables.rows
    near = system.replace(positions=jnp.take(system.positions, rows, axis=0, mode="clip"))
    square = jnp.sum(_padded(skin_list, len(rows)).vectors(near)[: len(tables.owned)] ** 2, axis=-1)
    keep = (skin_list.index < len(rows)) & (square < spec.cutoff**2)
    found = compact(keep, skin_list.index, skin_list.shift, capacity, len(rows))
    return found.index[None], found.shift[None], jax.lax.pmax(found.needed, AXIS)


def _padded(found: NeighborList, rows: int) -> NeighborList:
    """The list of a domain with empty rows for the copies, which potentials that know nothing of domains can read."""
    own, capacity = found.index.shape
    index = jnp.concatenate([found.index, jnp.full((rows - own, capacity), rows, found.index.dtype)])
    shift = jnp.concatenate([found.shift, jnp.zeros((rows - own, capacity, 3), found.shift.dtype)])
    return NeighborList(index, shift, found.cutoff)


def local_neighbors(neighbors: DomainNeighbors, rows: int) -> Neighbors:
    """The lists of this device as the terms of a potential ask for them; inside ``shard_map``, one domain."""
    bare = tuple(replace(spec, layout=None) for spec in neighbors.specs)
    return Neighbors(tuple(_padded(found, rows) for found in neighbors.lists), bare)


def _available(plan: DomainPlan) -> Int[Array, " numbers"]:
    return jnp.asarray([*plan.room.numbers(), 0], jnp.int32)


@overflowed.register(DomainPlan)
def _overflowed(plan: DomainPlan, state: DomainState) -> Array:
    return jnp.any(state.needed > _available(plan))


@capacities.register(DomainPlan)
def _capacities(plan: DomainPlan) -> np.ndarray:
    return np.array(plan.room.numbers(), np.int64)


@with_capacities.register(DomainPlan)  # pyright: ignore[reportArgumentType] - a plan of its own kind
def _with_capacities(plan: DomainPlan, numbers: np.ndarray) -> DomainPlan:
    return replace(plan, room=Room.of([int(n) for n in numbers], len(plan.offsets)))


@place.register(DomainPlan)
def _place(plan: DomainPlan, tree: Any) -> Any:
    whole = NamedSharding(plan.layout.mesh, WHOLE)

    def put(leaf: Any) -> Any:
        if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):  # not put on devices of other processes as it is
            return jax.random.wrap_key_data(
                jax.device_put(jax.random.key_data(leaf), whole), impl=jax.random.key_impl(leaf)
            )
        return jax.device_put(leaf, whole)

    return jax.tree.map(put, tree)


@grow.register(DomainPlan)  # pyright: ignore[reportArgumentType] - a plan of its own kind
def _grow(plan: DomainPlan, needed: np.ndarray, systems: System) -> DomainPlan:
    from jaxelyte.parallel.plan import enlarged

    return enlarged(plan, needed, systems)
