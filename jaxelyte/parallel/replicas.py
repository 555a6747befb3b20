"""Replicas on several devices: each device evaluates its share of a batch, all steps stay in time with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import struct
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.neighbors.loop import ListPlan, keep_place, place
from jaxelyte.potentials.base import Potential, Sum, Wrapper, of_one
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.potentials.memory import learning_stride
from jaxelyte.system import System
from jaxelyte.wording import counted

AXIS = "replicas"
"""Name of the only axis of the mesh of devices."""

WHOLE, CUT = PartitionSpec(), PartitionSpec(AXIS)


@dataclass(frozen=True)
class ReplicaPlan(ListPlan):
    """Lists of replicas that are divided among devices.

    Attributes:
        replicas: how many.
        devices: each holds as many replicas as any other, in order.
    """

    replicas: int
    devices: tuple[Any, ...]

    def sharding(self, leaf: Any) -> NamedSharding:
        """Cut along a leading axis of replicas, otherwise a copy on each device."""
        shape = np.shape(leaf)
        cut = len(shape) > 0 and shape[0] == self.replicas
        return NamedSharding(mesh_of(self.devices), CUT if cut else WHOLE)


def mesh_of(devices: tuple[Any, ...]) -> Mesh:
    """The devices as a mesh for ``jax.shard_map``."""
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def over_devices(plan: ListPlan, replicas: int, devices: tuple[Any, ...]) -> ReplicaPlan:
    """The plan of a batch, its replicas divided among devices.

    Raises:
        InputError: replicas that cannot be divided evenly.
        UnsupportedError: devices of several processes.
    """
    check_replicas(replicas, devices)
    return ReplicaPlan(plan.searches, plan.skin, replicas, devices, strain=plan.strain)


def check_replicas(replicas: int, devices: tuple[Any, ...]) -> None:
    """Raise unless each device gets as many replicas as any other."""
    if jax.process_count() > 1:
        raise UnsupportedError(
            f"{counted(replicas, 'replica')} in {jax.process_count()} processes: run as many in each process by itself"
        )
    if replicas % len(devices):
        more = -(-replicas // len(devices)) * len(devices)
        raise InputError(
            f"{replicas} replicas cannot be divided evenly among {len(devices)} devices; take "
            f"{counted(more, 'replica')}, or devices= a divisor of {replicas}"
        )


@place.register
def _(plan: ReplicaPlan, tree: Any) -> Any:
    def put(node: Any) -> Any:
        if isinstance(node, Potential):  # weights whose number happens to be that of the replicas are not cut
            return jax.device_put(node, NamedSharding(mesh_of(plan.devices), WHOLE))
        return jax.device_put(node, plan.sharding(node))

    return jax.tree.map(put, tree, is_leaf=lambda node: isinstance(node, Potential))


@keep_place.register
def _(plan: ReplicaPlan, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, plan.sharding(leaf)), tree)


@struct.dataclass
class Shared(Wrapper):
    """The same energies as ``potential``; of a batch, each device computes those of its own replicas.

    Attributes:
        potential: what is computed, prepared.
        devices: who computes.
    """

    potential: Potential
    devices: tuple[Any, ...] = struct.field(pytree_node=False)

    @property
    def children(self) -> tuple[Potential, ...]:
        return (self.potential,)

    def with_children(self, new: tuple[Potential, ...]) -> Shared:
        return Shared(new[0], self.devices)

    def combine(self, values: Sequence[Float[Array, "*replicas"]]) -> Float[Array, "*replicas"]:
        return values[0]

    def energies(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        def local(potential: Potential, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
            return potential.energies(systems, neighbors)

        divided = jax.shard_map(
            local, mesh=mesh_of(self.devices), in_specs=(WHOLE, CUT, CUT), out_specs=CUT, check_vma=False
        )
        return divided(self.potential, systems, neighbors)


def share_replicas(potential: Potential, devices: tuple[Any, ...]) -> Potential:
    """A prepared potential whose batches are divided among devices.

    The λ of a `Ladder`, centres of restraints and the memory of a bias belong to replicas or to all of them: they stay
    outside, and so only what is between them is divided by hand; the compiler divides the rest.
    """
    if isinstance(potential, Ladder):
        return potential.with_children(tuple(Shared(child, devices) for child in potential.children))
    if isinstance(potential, Sum):
        return Sum(tuple(share_replicas(term, devices) for term in potential.terms))
    own = learning_stride(potential) or of_one(potential) is not potential
    return potential if own else Shared(potential, devices)
