"""What an observable is: accumulators that grow inside the compiled loop, and a result with an error bar after it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxelyte.system import System


class Observable:
    """Base of everything that is averaged over a run.

    Subclasses are frozen dataclasses, hashable and static under jit (a parameter that is to be differentiated is
    an argument of `update`, not a field). One definition serves the loop and a trajectory file:

    1. ``prepare(systems)`` on the host, once: fixes what must be static for these systems (sizes, indices, images);
    2. ``init(system)`` gives zero accumulators, ``update(acc, system)`` adds one sample, inside jit;
    3. ``result(blocks, system)`` on the host turns the accumulators of many stretches into values and errors.

    Accumulators are additive: the sum of those of two stretches is that of both together. Whoever drives an observable
    may therefore merge neighbouring stretches, and stores integers as int64 and floats as float64 beyond the device.
    """

    def validate(self, system: System) -> None:
        """Raise `InputError` where the observable has no meaning for a system; before any compilation."""

    def prepare(self, systems: System) -> Observable:
        """The same observable with everything static fixed for these systems.

        Args:
            systems: one system, or a batch of replicas (one leading axis on every leaf).
        """
        return self

    def init(self, system: System) -> Any:
        """Zero accumulators for one system."""
        raise NotImplementedError

    def update(self, acc: Any, system: System) -> Any:
        """Accumulators with one more sample; pure, inside jit, vmapped over replicas."""
        raise NotImplementedError

    def result(self, blocks: Any, system: System) -> Any:
        """Values and standard errors.

        Args:
            blocks: accumulators with leading axes (blocks, replicas), numpy.
            system: one replica, at any time of the run.
        """
        raise NotImplementedError


@struct.dataclass
class CompensatedSum:
    """A running sum whose rounding errors are kept beside it (Knuth's two-sum), so that float32 does not drift.

    Additive leaf by leaf; the value is ``high + low``, to be taken in float64.
    """

    high: Float[Array, "..."]
    low: Float[Array, "..."]

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: Any) -> CompensatedSum:
        """An empty sum."""
        return cls(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def add(self, term: Float[Array, "..."]) -> CompensatedSum:
        """The sum with one more term."""
        high = self.high + term
        rest = high - self.high
        error = (self.high - (high - rest)) + (term - rest)
        return CompensatedSum(high, self.low + error)
