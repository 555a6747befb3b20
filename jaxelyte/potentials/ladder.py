"""One mixture of two potentials for each replica, and the exchange of mixtures between replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Mix, PerReplica, Potential, Wrapper, like
from jaxelyte.potentials.memory import Learning
from jaxelyte.potentials.topology import as_leaf, concrete
from jaxelyte.system import System, as_batch
from jaxelyte.units import BOLTZMANN


@struct.dataclass
class Ladder(Wrapper, Learning, PerReplica):
    """U_λ = (1 - λ) U0 + λ U1 with the λ of its own window for each replica, all windows in one program.

    With an ``exchange`` stride neighbouring windows try to swap their λ every so many steps (Hamiltonian replica
    exchange, Sugita, Kitao and Okamoto, J. Chem. Phys. 113, 6042 (2000)): of the pairs (0, 1), (2, 3), … and (1, 2),
    (3, 4), … in turn, accepted with min(1, exp((λ_i - λ_j)(ΔU_i - ΔU_j)/k_B T)).

    Attributes:
        initial: U0.
        final: U1.
        lam: (windows,), λ of each, one replica for each.
        temperature: K, of the exchange; static.
        exchange: steps between attempts, 0 for none; static.
        place: (windows,), the window that each replica is in; None for the order of ``lam``.
        state: random key and number of attempts so far, made by `memory`.

    Raises:
        InputError: λ that do not rise, a stride that is not an integer.
    """

    initial: Potential
    final: Potential
    lam: Any
    temperature: float = struct.field(pytree_node=False, kw_only=True)
    exchange: int = struct.field(pytree_node=False, kw_only=True, default=0)
    place: Any = struct.field(kw_only=True, default=None)
    state: Any = struct.field(kw_only=True, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lam", as_leaf(self.lam))
        object.__setattr__(self, "exchange", checks.count("exchange", self.exchange, least=0))
        object.__setattr__(self, "temperature", checks.positive("temperature", self.temperature, "K"))

    @property
    def children(self) -> tuple[Potential, ...]:
        return self.initial, self.final

    def with_children(self, new: tuple[Potential, ...]) -> Ladder:
        initial, final = new
        return self.replace(initial=initial, final=final)  # pyright: ignore[reportAttributeAccessIssue]

    def combine(self, values: Sequence[Float[Array, "*replicas"]]) -> Float[Array, "*replicas"]:
        u0, u1 = values
        lam = like(self.lam if self.place is None else self.lam[self.place], u0)
        if u0.shape != lam.shape:
            raise UnsupportedError("a ladder has one λ for each replica of a run; for one system use mix(u0, u1, lam)")
        return u0 + lam * (u1 - u0)

    def of_one(self) -> Potential:
        return Mix(self.initial, self.final, 0.5)

    def prepare(self, systems: System, strain: float = 0.0) -> Ladder:
        values = concrete(self.lam)  # not when it is built: leaves may be derivatives, which have any values
        if values is not None and (values.ndim != 1 or not np.all(np.isfinite(values)) or np.any(np.diff(values) <= 0)):
            raise InputError(f"lam = {values} must be rising numbers, one for each window")
        replicas = len(as_batch(systems).positions)
        if replicas != len(self.lam):
            raise InputError(f"{len(self.lam)} windows need as many replicas, not {replicas}")
        return super().prepare(systems, strain)

    def ends(
        self, systems: System, neighbors: Neighbors
    ) -> tuple[Float[Array, " replicas"], Float[Array, " replicas"]]:
        """U0 and U1 in eV of each replica, without reference energies."""
        return self.initial.energies(systems, neighbors), self.final.energies(systems, neighbors)

    def learning_stride(self) -> int:
        return self.exchange

    def memory(self, replicas: int, key: Array | None = None) -> Any:
        if not self.exchange:
            return ()
        return jnp.arange(replicas, dtype=jnp.int32), (
            jax.random.key(0) if key is None else key,
            jnp.zeros((), jnp.int32),
        )

    def with_memory(self, memory: Any) -> Ladder:
        if not self.exchange:
            return self
        place, state = memory
        return self.replace(place=place, state=state)  # pyright: ignore[reportAttributeAccessIssue]

    def learn(self, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
        initial, final = self.ends(systems, neighbors)
        gap = final - initial
        lam = jnp.asarray(self.lam, gap.dtype)
        key, count = self.state
        key, use = jax.random.split(key)
        # By window: who is there, and its energy gap.
        who = jnp.argsort(self.place)
        there = gap[who]
        beta = jnp.asarray(1.0 / (BOLTZMANN * self.temperature), gap.dtype)
        log_ratio = beta * (lam[:-1] - lam[1:]) * (there[:-1] - there[1:])
        lower = jnp.arange(len(lam) - 1, dtype=count.dtype)
        tried = lower % 2 == count % 2
        draws = jnp.log(jax.random.uniform(use, (len(lam) - 1,), gap.dtype))
        accepted = tried & (draws < log_ratio)
        # Pairs of one attempt do not touch, so each window moves by at most one.
        up = jnp.concatenate([accepted, jnp.zeros(1, bool)])
        down = jnp.concatenate([jnp.zeros(1, bool), accepted])
        step = up.astype(jnp.int32) - down.astype(jnp.int32)
        place = (self.place + step[self.place]).astype(jnp.int32)
        work = (lam[place] - lam[self.place]) * gap
        return (place, (key, count + 1)), work
