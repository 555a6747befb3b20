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
from jaxelyte.potentials.base import Potential, Scalar, as_potential
from jaxelyte.potentials.part import Part
from jaxelyte.system import System


@struct.dataclass
class Distributed(Potential):
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

    @property
    def translation_invariant(self) -> bool:
        return self.potential.translation_invariant

    def needed_terms(self) -> tuple[str, ...]:
        return self.potential.needed_terms()

    def validate(self, system: System) -> None:
        self.potential.validate(system)

    def prepare(self, *systems: System) -> Distributed:
        """Prepare the potential and divide the cell.

        Raises:
            InputError: no neighbour list to divide, or a shape that does not fit the devices or the periodicity.
            UnsupportedError: nothing is periodic.
        """
        inner = self.potential.prepare(*systems)
        if not inner.requirements():
            raise InputError("a potential without neighbour lists has nothing to divide; use it on one device")
        layout = choose_layout(systems, self.devices, inner.cutoff, self.shape)
        return replace(self, potential=inner, layout=layout)

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        if not isinstance(neighbors, DomainNeighbors):
            raise InputError(
                "these neighbour lists are not divided among devices; build them with neighbor_lists(system, potential)"
                " of the distributed potential"
            )
        plan = neighbors.plan

        def local(potential: Potential, system: System, neighbors: DomainNeighbors) -> Scalar:
            neighbors = jax.tree.map(lambda x: x[0], neighbors)
            part = _part(system, neighbors)
            return jax.lax.psum(potential.local_interaction(part), AXIS)

        return shared(plan, local, (WHOLE, WHOLE, CUT), WHOLE)(self.potential, system, neighbors)

    def batch_interaction(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        """`interaction` of a batch of one; see `jaxelyte.parallel.plan.check_single`."""
        check_single(systems)
        return self.interaction(one_system(systems), neighbors)[None]

    def reference(self, system: System) -> Scalar:
        return self.potential.reference(system)

    def batch_reference(self, systems: System) -> Float[Array, " replicas"]:
        return self.potential.batch_reference(systems)

    @property
    def learning_stride(self) -> int:
        return self.potential.learning_stride

    def memory(self, replicas: int, key: Array | None = None) -> Any:
        return self.potential.memory(replicas, key)

    def with_memory(self, memory: Any) -> Distributed:
        return replace(self, potential=self.potential.with_memory(memory))

    def learn(self, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
        return self.potential.learn(systems, neighbors)


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
