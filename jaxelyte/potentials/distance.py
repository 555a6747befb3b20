"""Biases on the distance of two atoms: a harmonic restraint that may move, and metadynamics."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import PerReplica, PerSystem, Potential, Scalar
from jaxelyte.potentials.geometry import shortest_vectors
from jaxelyte.potentials.memory import Learning
from jaxelyte.potentials.topology import (
    IndexTable,
    check_indices,
    check_parameter,
    check_single,
    concrete,
    element_numbers,
    parameter,
)
from jaxelyte.registry import GUARD, INTERNAL
from jaxelyte.system import System, one_by_one, perpendicular_widths
from jaxelyte.units import BOLTZMANN
from jaxelyte.wording import counted

Pair = tuple[int, int]


def distance(system: System, pair: Pair) -> Scalar:
    """Distance in Å of two atoms, shortest image."""
    i, j = pair
    vector = shortest_vectors(system, system.positions[j] - system.positions[i])
    return jnp.sqrt(jnp.sum(vector**2))


def distances(systems: System, pair: Pair) -> Float[Array, " replicas"]:
    """`distance` in each replica."""
    return jax.vmap(lambda system: distance(system, pair))(systems)


def checked_pair(pair: Any) -> Pair:
    """Two different indices of atoms.

    Raises:
        InputError: anything else.
    """
    try:
        table = np.asarray(pair)
    except ValueError:
        table = np.zeros(0)
    if table.shape != (2,) or not np.issubdtype(table.dtype, np.integer) or table[0] == table[1] or np.any(table < 0):
        raise InputError(f"pair = {pair!r} must be the indices of two different atoms, such as (0, 1)")
    return int(table[0]), int(table[1])


def pair_elements(elements: Any, pair: Pair) -> tuple[int, int] | None:
    """Atomic numbers of the two atoms, None where nobody gave them."""
    if elements is None:
        return None
    first, second = element_numbers(elements, (2,), f"pair = {pair}").tolist()
    return first, second


def check_pair(pair: Pair, elements: tuple[int, int] | None, system: System) -> None:
    """Raise `InputError` where other elements stand at the indices."""
    if elements is not None:
        check_indices(IndexTable(np.array(pair, np.int32), np.array(elements)), system, "pair")


def check_reach(pair: Pair, farthest: float, system: System) -> None:
    """Raise `InputError` unless both atoms are there and the cell is wide enough for a distance in Å."""
    atoms = int(np.sum(np.asarray(system.mask)))
    if max(pair) >= atoms:
        raise InputError(f"pair = {pair} names an atom beyond the {atoms} of the system")
    widths = perpendicular_widths(np.asarray(system.cell, np.float64))[list(np.flatnonzero(system.pbc))]
    half = 0.5 * float(np.min(widths, initial=np.inf))
    if farthest > half:
        raise InputError(
            f"a distance of {farthest:.2f} Å is beyond half the cell, {half:.2f} Å, where the nearest image changes; "
            "use a larger cell or a smaller distance"
        )


@struct.dataclass
class DistanceRestraint(Potential, Learning, PerReplica):
    """U = ½ k (r - r0)² for the distance r of two atoms (shortest image): the bias of umbrella sampling.

    With a ``rate`` the centre starts at the distance that the atoms have and moves to r0 during the run (steered
    dynamics), by that much in a step; once there it stays.

    Attributes:
        pair: indices of the two atoms; static.
        k: eV/Å², a number, or one per replica.
        center: r0 in Å, a number, or one per replica of the run.
        rate: Å per step; None for a centre that does not move. Static.
        elements: chemical symbols of the two atoms; systems in which other elements stand at these indices are then
            refused. Static.
        now: where a moving centre is, Å; the distance at the start, made by `prepare`.

    Raises:
        InputError: no pair of atoms, numbers that are not positive.
    """

    pair: Any = struct.field(pytree_node=False)
    k: Any = struct.field(kw_only=True)
    center: Any = struct.field(kw_only=True)
    rate: float | None = struct.field(pytree_node=False, default=None, kw_only=True)
    elements: Any = struct.field(pytree_node=False, default=None, kw_only=True, metadata=GUARD)
    now: Any = struct.field(default=None, kw_only=True, metadata=INTERNAL)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pair", checked_pair(self.pair))
        object.__setattr__(self, "elements", pair_elements(self.elements, self.pair))
        object.__setattr__(self, "k", parameter("k", self.k, "bond stiffness", zero=True))
        object.__setattr__(self, "center", parameter("center", self.center, "distance", zero=True))
        if self.rate is not None:
            object.__setattr__(self, "rate", checks.number("rate", self.rate, "Å per step", above=0.0, most=1.0))

    def check(self, system: System) -> None:
        for name, kind in (("k", "bond stiffness"), ("center", "distance")):
            check_parameter(name, getattr(self, name), kind, zero=True)
            if jnp.ndim(getattr(self, name)) > 1 or jnp.size(getattr(self, name)) == 0:
                raise InputError(f"{name} has shape {jnp.shape(getattr(self, name))}; give one for each replica")
        check_pair(self.pair, self.elements, system)
        farthest = concrete(self.center)
        check_reach(self.pair, 0.0 if farthest is None else float(np.max(farthest)), system)

    def prepare(self, systems: System, strain: float = 0.0) -> DistanceRestraint:
        several = one_by_one(systems)
        for system in several:
            self.check(system)
        if self.rate is None or self.now is not None:
            return self
        start = jnp.stack([distance(system, self.pair) for system in several])
        return self.replace(now=start)  # pyright: ignore[reportAttributeAccessIssue]

    def of_one(self) -> DistanceRestraint:
        """Without a restraint where each replica has its own: any of them starts from the relaxed structure."""
        if not (jnp.ndim(self.center) or jnp.ndim(self.k) or jnp.ndim(self.now)):
            return self
        return DistanceRestraint(self.pair, k=0.0, center=0.0, elements=self.elements)

    def energies(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        center = self.center if self.rate is None else self.now
        for value in (self.k, center):
            if jnp.ndim(value) and jnp.shape(value) != systems.positions.shape[:1]:
                raise InputError(
                    f"{jnp.shape(value)[0]} restraints for {counted(systems.positions.shape[0], 'replica')}"
                )
        return self._energy(distances(systems, self.pair), center)

    def _energy(self, r: Float[Array, "*replicas"], center: Any) -> Float[Array, "*replicas"]:
        return 0.5 * jnp.asarray(self.k, r.dtype) * (r - jnp.asarray(center, r.dtype)) ** 2

    def learning_stride(self) -> int:
        return 0 if self.rate is None else 1

    def memory(self, replicas: int, key: Array | None = None) -> Any:
        return () if self.rate is None else jnp.broadcast_to(self.now, (replicas,))

    def with_memory(self, memory: Any) -> DistanceRestraint:
        return self if self.rate is None else self.replace(now=memory)  # pyright: ignore[reportAttributeAccessIssue]

    def learn(self, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
        r = distances(systems, self.pair)
        if self.rate is None:
            return (), jnp.zeros_like(r)
        step = jnp.asarray(self.rate, r.dtype)
        now = jnp.asarray(self.now, r.dtype)
        moved = now + jnp.clip(jnp.asarray(self.center, r.dtype) - now, -step, step)
        return moved, self._energy(r, moved) - self._energy(r, now)


@struct.dataclass
class Metadynamics(PerSystem, Learning):
    """Well-tempered metadynamics on the distance of two atoms, all replicas filling one bias (multiple walkers).

    Every ``stride`` steps each walker adds a Gaussian h exp(-V(r)/(k_B T (γ - 1))) exp(-(s - r)²/2σ²) at its distance r
    (Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008); Raiteri et al., J. Phys. Chem. B 110, 3533
    (2006)). V converges to -(1 - 1/γ) F(s), where F includes the -2 k_B T ln s of the distance. Beyond ``upper`` a
    half-harmonic wall keeps the atoms together.

    The conserved quantity of a run counts what the Gaussians put in as heat.

    Attributes:
        pair: indices of the two atoms; static.
        upper: Å, end of the grid and beginning of the wall; at most half the cell. Static.
        temperature: K; static.
        height: h in eV of the first Gaussians.
        width: σ in Å; static.
        stride: steps between Gaussians; static.
        bias_factor: γ; infinity for plain metadynamics, which does not converge but fluctuates. Static.
        lower: Å, beginning of the grid; below it the bias is constant. Static.
        wall: eV/Å².
        elements: see `DistanceRestraint`.
        bias: (nodes,), eV, V on the grid: spaced by at most σ/5, empty at first.

    Raises:
        InputError: numbers that are not positive, a range without room.
    """

    pair: Any = struct.field(pytree_node=False)
    upper: float = struct.field(pytree_node=False, kw_only=True)
    temperature: float = struct.field(pytree_node=False, kw_only=True)
    height: Any = struct.field(kw_only=True, default=0.005)
    width: float = struct.field(pytree_node=False, kw_only=True, default=0.1)
    stride: int = struct.field(pytree_node=False, kw_only=True, default=200)
    bias_factor: float = struct.field(pytree_node=False, kw_only=True, default=8.0)
    lower: float = struct.field(pytree_node=False, kw_only=True, default=1.0)
    wall: Any = struct.field(kw_only=True, default=5.0)
    elements: Any = struct.field(pytree_node=False, default=None, kw_only=True, metadata=GUARD)
    bias: Any = struct.field(kw_only=True, default=None, metadata=INTERNAL)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pair", checked_pair(self.pair))
        object.__setattr__(self, "elements", pair_elements(self.elements, self.pair))
        for name, kind in (("height", "bias"), ("wall", "bond stiffness")):
            if isinstance(getattr(self, name), list | tuple):
                raise InputError(f"{name} = {getattr(self, name)!r} must be one number")
            object.__setattr__(self, name, parameter(name, getattr(self, name), kind, zero=True))
        first = self.bias is None  # warnings once, not whenever jax takes the tree apart
        values = {
            "temperature": checks.quantity("temperature", self.temperature, "temperature", warn=first),
            "width": checks.quantity("width", self.width, "width", warn=first),
            "bias_factor": checks.number("bias_factor", self.bias_factor, above=1.0, infinite=True),
            "stride": checks.count("stride", self.stride),
            "lower": checks.not_negative("lower", self.lower, "Å"),
            "upper": checks.quantity("upper", self.upper, "distance", warn=first),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not self.lower < self.upper - 4.0 * self.width:
            raise InputError(
                f"from lower = {self.lower} to upper = {self.upper} Å there is no room for Gaussians of width "
                f"{self.width} Å"
            )
        if self.bias is None:
            object.__setattr__(self, "bias", jnp.zeros(len(self.grid), jnp.result_type(float)))

    @property
    def grid(self) -> np.ndarray:
        """(nodes,), Å, where the bias is kept."""
        count = math.ceil((self.upper - self.lower) / (self.width / 5.0)) + 1
        return np.linspace(self.lower, self.upper, count)

    def check(self, system: System) -> None:
        for name in ("height", "wall"):
            check_single(name, getattr(self, name))
        check_parameter("height", self.height, "bias", zero=True)
        check_parameter("wall", self.wall, "bond stiffness", zero=True)
        check_pair(self.pair, self.elements, system)
        check_reach(self.pair, self.upper, system)

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        return self._energy(distance(system, self.pair))

    def bias_at(self, r: Float[Array, ""]) -> Scalar:
        """V in eV at a distance in Å: the cubic through four nodes whose slope is continuous (Catmull and Rom)."""
        grid = self.grid
        bias = jnp.asarray(self.bias, r.dtype)
        spacing = jnp.asarray(grid[1] - grid[0], r.dtype)
        at = (jnp.clip(r, self.lower, self.upper) - jnp.asarray(self.lower, r.dtype)) / spacing
        cell = jnp.clip(jnp.floor(at), 0, len(grid) - 2).astype(jnp.int32)
        t = at - cell.astype(r.dtype)
        before, left, right, behind = (bias[jnp.clip(cell + k, 0, len(grid) - 1)] for k in (-1, 0, 1, 2))
        a, b = (right - before) / 2, (behind - left) / 2
        return left + t * (a + t * (3 * (right - left) - 2 * a - b + t * (2 * (left - right) + a + b)))

    def _energy(self, r: Float[Array, ""]) -> Scalar:
        over = jnp.maximum(r - jnp.asarray(self.upper, r.dtype), 0)
        return self.bias_at(r) + 0.5 * jnp.asarray(self.wall, r.dtype) * over**2

    def learning_stride(self) -> int:
        return self.stride

    def memory(self, replicas: int, key: Array | None = None) -> Any:
        return self.bias

    def with_memory(self, memory: Any) -> Metadynamics:
        return self.replace(bias=memory)  # pyright: ignore[reportAttributeAccessIssue]

    def learn(self, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
        r = distances(systems, self.pair)
        before = jax.vmap(self.bias_at)(r)
        temper = 1.0 / (BOLTZMANN * self.temperature * (self.bias_factor - 1.0))
        heights = jnp.asarray(self.height, r.dtype) * jnp.exp(-before * temper)
        # A walker out of reach adds nothing: its Gaussian would pile up at the end of the grid.
        heights = jnp.where((r >= self.lower) & (r <= self.upper), heights, jnp.zeros_like(heights))
        apart = (jnp.asarray(self.grid, r.dtype)[:, None] - r) / self.width
        bias = jnp.asarray(self.bias, r.dtype) + jnp.exp(-0.5 * apart**2) @ heights
        return bias, jax.vmap(self.with_memory(bias).bias_at)(r) - before
