"""A potential whose work is divided among devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.parallel.decompose import exchange
from jaxelyte.parallel.layout import AXIS, Layout, Shape, choose_layout, chosen_devices, whole_shape
from jaxelyte.parallel.lists import CUT, WHOLE, DomainNeighbors, local_neighbors, one_system, shared
from jaxelyte.parallel.plan import check_single
from jaxelyte.potentials.base import Potential, Scalar, Wrapper, as_potential, longest_cutoff
from jaxelyte.potentials.part import Part, share
from jaxelyte.system import System, one_by_one


@struct.dataclass
class Distributed(Wrapper):
    """The same energy as ``potential``, computed by several devices; made by `distribute`.

    Each device holds the neighbour lists, features and gradients of the atoms in its domain; positions and velocities
    of all atoms are on every device. Networks exchange features between layers, so copies reach no further than one
    cut-off. Energies and forces are those of one device up to the order of sums.

    Attributes:
        potential: what is computed; the only leaves are its.
        devices: who computes.
        shape: domains along each lattice vector; None for the division with the fewest copies.
        layout: domains and devices; made by `prepare`.
    """

    potential: Potential
    devices: tuple[Any, ...] = struct.field(pytree_node=False)
    shape: Shape | None = struct.field(pytree_node=False, default=None, kw_only=True)
    layout: Layout | None = struct.field(pytree_node=False, default=None, kw_only=True)

    def requirements(self) -> tuple[NeighborSpec, ...]:
        if self.layout is None:
            raise InputError("a distributed potential has to be prepared first: potential = potential.prepare(system)")
        return tuple(replace(spec, layout=self.layout) for spec in self.potential.requirements())

    memory_passes = True

    @property
    def children(self) -> tuple[Potential, ...]:
        return (self.potential,)

    def with_children(self, new: tuple[Potential, ...]) -> Distributed:
        return replace(self, potential=new[0])

    def combine(self, values: Sequence[Float[Array, "*replicas"]]) -> Float[Array, "*replicas"]:
        return values[0]

    def prepare(self, systems: System, strain: float = 0.0) -> Distributed:
        """Prepare the potential and divide the cell.

        Raises:
            InputError: no neighbour list to divide, or a shape that does not fit the devices or the periodicity.
            UnsupportedError: nothing is periodic.
        """
        inner = self.potential.prepare(systems, strain)
        if not inner.requirements():
            raise InputError("a potential without neighbour lists has nothing to divide; use it on one device")
        layout = choose_layout(one_by_one(systems), self.devices, longest_cutoff(inner), self.shape)
        return replace(self, potential=inner, layout=layout)

    def energies(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        """Of a batch of one; see `jaxelyte.parallel.plan.check_single`."""
        if not isinstance(neighbors, DomainNeighbors):
            raise InputError(
                "these neighbour lists are not divided among devices; build them with neighbor_lists(system, potential)"
                " of the distributed potential"
            )
        check_single(systems)
        plan = neighbors.plan

        def local(potential: Potential, system: System, neighbors: DomainNeighbors) -> Scalar:
            neighbors = jax.tree.map(lambda x: x[0], neighbors)
            return jax.lax.psum(share(potential, _part(system, neighbors)), AXIS)

        found = shared(plan, local, (WHOLE, WHOLE, CUT), WHOLE)(self.potential, one_system(systems), neighbors)
        return found[None]


def _part(whole: System, neighbors: DomainNeighbors) -> Part:
    """What this device sees; inside ``shard_map``, one domain."""
    plan, tables = neighbors.plan, neighbors.tables
    rows: Any = tables.rows
    own = System(
        positions=jnp.take(whole.positions, rows, axis=0, mode="clip"),
        numbers=jnp.take(whole.numbers, rows, mode="clip"),
        masses=jnp.take(whole.masses, rows, mode="clip"),
        cell=whole.cell,
        mask=rows < whole.num_atoms,
        pbc=whole.pbc,
    )
    return Part(
        system=own,
        neighbors=local_neighbors(neighbors, len(rows)),
        rows=rows,
        owned=len(tables.owned),
        whole=whole,
        devices=plan.layout.count,
        exchange=lambda features: exchange(plan.layout, plan.offsets, tables, features),
        total=lambda x: jax.lax.psum(x, AXIS),
    )


def distribute(
    potential: Potential, devices: str | int | Sequence[Any] = "all", *, shape: tuple[int, int, int] | None = None
) -> Potential:
    """Divide the work of a potential among devices by cutting the cell into domains.

    The result is a potential: it can be prepared, differentiated and simulated like any other, for one system at a
    time. ``simulate(…, devices=…)`` does this itself. With several processes call ``jax.distributed.initialize()``
    first, the same program in each.

    Args:
        potential: the whole sum of terms; networks, pair terms and Coulomb sums are divided, terms without neighbour
            lists (bonds, restraints, a few charges) are computed by every device.
        devices: "all", the first n, or a sequence of ``jax.Device``.
        shape: domains along each lattice vector, with the number of devices for product; chosen by default.

    Raises:
        InputError: devices that are not there, or a potential that is divided already.
    """
    if isinstance(potential, Distributed):
        raise InputError("the potential is divided among devices already; give the potential itself")
    chosen = chosen_devices(devices)
    if shape is not None:
        shape = whole_shape(shape, len(chosen))
    return Distributed(as_potential(potential), chosen, shape=shape)
