"""Potentials that a run changes: the bias of metadynamics, a moving restraint, the places of exchanged windows.

What has changed is the memory, a pytree of arrays in the state of the run. The functions here find the terms that have
one; such terms stand alone or in a sum, never below a factor.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Potential, Sum, Wrapper, walk
from jaxelyte.system import System


class Learning:
    """The ability of a potential that changes during a run."""

    def learning_stride(self) -> int:
        """Steps between two calls of `learn`; 0 for one that stays what it is."""
        raise NotImplementedError

    def memory(self, replicas: int, key: Array | None = None) -> Any:
        """What a run changes of this potential, as a pytree of arrays.

        Args:
            replicas: how many run side by side.
            key: of the run, for what is drawn at random.
        """
        raise NotImplementedError

    def with_memory(self, memory: Any) -> Potential:
        """The potential with another memory."""
        raise NotImplementedError

    def learn(self, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
        """The memory after this step, and the energy in eV that its change puts into each replica, where it is now."""
        raise NotImplementedError


def learning_stride(potential: Potential) -> int:
    """Steps between two calls of `learn` in a run; 0 for a potential that stays what it is.

    Raises:
        InputError: terms whose strides differ.
    """
    strides = {one.learning_stride() for one in walk(potential) if isinstance(one, Learning)} - {0}
    if len(strides) > 1:
        raise InputError(f"terms that change during a run have to share one stride, not {sorted(strides)} steps")
    return max(strides, default=0)


def memory_of(potential: Potential, replicas: int, key: Array | None = None) -> Any:
    """The memory of all terms, in their order; see `Learning.memory`."""
    if isinstance(potential, Learning):
        return potential.memory(replicas, key)
    if isinstance(potential, Sum):
        keys = [None if key is None else jax.random.fold_in(key, n) for n in range(len(potential.terms))]
        return tuple(memory_of(term, replicas, one) for term, one in zip(potential.terms, keys, strict=True))
    inner = _inside(potential)
    return () if inner is None else memory_of(inner, replicas, key)


def with_memory(potential: Potential, memory: Any) -> Potential:
    """The potential with another memory, of the form of `memory_of`."""
    if isinstance(potential, Learning):
        return potential.with_memory(memory)
    if isinstance(potential, Sum):
        return Sum(tuple(with_memory(term, own) for term, own in zip(potential.terms, memory, strict=True)))
    inner = _inside(potential)
    return potential if inner is None else potential.with_children((with_memory(inner, memory),))  # type: ignore[attr-defined]


def learn(potential: Potential, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
    """The memory after this step, and the energy that its change puts in; see `Learning.learn`."""
    if isinstance(potential, Learning):
        return potential.learn(systems, neighbors)
    if isinstance(potential, Sum):
        learnt = [learn(term, systems, neighbors) for term in potential.terms]
        return tuple(memory for memory, _ in learnt), sum((one for _, one in learnt[1:]), learnt[0][1])
    inner = _inside(potential)
    if inner is not None:
        return learn(inner, systems, neighbors)
    return (), jnp.zeros(systems.positions.shape[0], systems.positions.dtype)


def check_memory(potential: Potential) -> None:
    """Raise `InputError` for a term that changes during a run and stands below a factor."""
    for one in walk(potential):
        for child in one.children if isinstance(one, Wrapper) and not one.memory_passes else ():
            if learning_stride(child):
                raise InputError(
                    f"{type(child).__name__} changes during a run and can be neither scaled nor mixed; add it to "
                    "the sum"
                )


def _inside(potential: Potential) -> Potential | None:
    """The one potential in a wrapper that may hold a memory."""
    if isinstance(potential, Wrapper) and potential.memory_passes:
        (inner,) = potential.children
        return inner
    return None
