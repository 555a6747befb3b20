"""A potential is a pytree: leaves are its parameters, everything else is static structure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError
from jaxelyte.models.config import NequIP
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.topology import Needs, require_members
from jaxelyte.system import System, as_batch, one_by_one

Scalar = Float[Array, ""]


class Potential:
    """Base of all potentials: four members, with defaults for all but `energies`.

    Subclasses are frozen ``flax.struct`` dataclasses. Most derive from `PerSystem` (the energy of one system) or from
    `jaxelyte.potentials.pairs.PairPotential` (the energy of one pair). ``a + b``, ``c * a``, ``a - b`` and
    ``mix(a, b, lam)`` are potentials. Energies are in eV.

    What only some potentials can do is a small class of its own that they derive from as well: a memory
    (`jaxelyte.potentials.memory.Learning`), a share for each device (`jaxelyte.potentials.part.Divisible`), a compiled
    form (`jaxelyte.potentials.forms.HasForms`), a form for one system out of a batch (`PerReplica`). `walk` finds them.

    Attributes:
        translation_invariant: True if moving all atoms together changes nothing, so that dynamics conserves the total
            momentum; a constant of the class.
    """

    translation_invariant: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Dataclasses keep a method that is there: topologies of thousands of bonds have no place on the screen.
        if "__repr__" not in cls.__dict__:
            setattr(cls, "__repr__", brief_repr)  # noqa: B010 - an assignment is refused by type checkers

    def requirements(self) -> tuple[NeighborSpec, ...]:
        """The neighbour lists that `energies` reads; a static property of the (prepared) potential."""
        return ()

    def prepare(self, systems: System, strain: float = 0.0) -> Self:
        """Check the systems, and fix what must be static under jit (k-vectors, meshes, row counts). On the host.

        Args:
            systems: one system, or a batch of systems that run together; the result serves all of them.
            strain: the largest by which a cell will be deformed, relative to that of the systems.

        Raises:
            InputError: a system that the potential cannot describe.
        """
        return self

    def energies(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        """Energy in eV of each system of a batch (leading axis of all arrays), without `constants`."""
        raise NotImplementedError(f"{type(self).__name__} does not define energies(systems, neighbors)")

    def constants(self, systems: System) -> Float[Array, " replicas"]:
        """Constant reference energy in eV of each system of a batch: a function of the species alone.

        Kept apart, since thousands of eV per atom would eat the digits of float32.
        """
        return jnp.zeros(systems.positions.shape[0], systems.positions.dtype)

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        """`energies` of one system, with its lists from `jaxelyte.neighbor_lists`."""
        return self.energies(as_batch(system), neighbors.as_batch())[0]

    def compiled(self, **options: Any) -> Potential:
        """The form that dynamics and calculators evaluate; see `jaxelyte.potentials.forms.Compiled` for the options."""
        from jaxelyte.potentials.forms import Compiled, in_form

        return in_form(self, Compiled(**options))

    def plain(self) -> Potential:
        """The form that `compiled` was made of: only this one changes when its parameters do."""
        from jaxelyte.potentials.forms import Plain, in_form

        return in_form(self, Plain())

    def __add__(self, other: Potential) -> Sum:
        if not isinstance(other, Potential):
            return NotImplemented
        return Sum((*terms_of(self), *terms_of(other)))

    def __mul__(self, factor: float | Scalar) -> Scaled:
        if isinstance(factor, Potential):
            return NotImplemented
        return Scaled(_number_leaf("the factor of a potential", factor), self)

    __rmul__ = __mul__

    def __neg__(self) -> Scaled:
        return self * -1.0

    def __sub__(self, other: Potential) -> Sum:
        return self + (-other)


class PerSystem(Potential):
    """A potential defined by the energy of one system; a batch is ``jax.vmap`` of it."""

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        """Energy of one system in eV."""
        raise NotImplementedError(f"{type(self).__name__} does not define energy(system, neighbors)")

    def check(self, system: System) -> None:
        """Raise `InputError` where a system cannot be described by this potential. Runs on the host."""

    def needs(self) -> Needs:
        """What acts on certain species only, and their atomic numbers: `prepare` refuses systems without them."""
        return ()

    def prepare(self, systems: System, strain: float = 0.0) -> Self:
        """Check each system; see `Potential.prepare`."""
        several = one_by_one(systems)
        for system in several:
            self.check(system)
        require_members(several, self.needs())
        return self.planned(several, strain)

    def planned(self, systems: Sequence[System], strain: float) -> Self:
        """With what must be static under jit, for systems that were checked; see `Potential.prepare`."""
        return self

    def energies(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        return jax.vmap(self.energy)(systems, neighbors)


class PerReplica:
    """The ability of a potential whose parameters may differ between the replicas of a batch."""

    def of_one(self) -> Potential:
        """What relaxes the start structure of any replica: the potential itself where replicas do not differ in it."""
        raise NotImplementedError


class Wrapper(Potential):
    """A potential that is a linear combination of others; energies, constants and shares of devices alike."""

    memory_passes: ClassVar[bool] = False
    """True where a potential with a memory may stand inside: its energy is not multiplied."""

    @property
    def children(self) -> tuple[Potential, ...]:
        """The potentials inside."""
        raise NotImplementedError

    def with_children(self, new: tuple[Potential, ...]) -> Self:
        """The same combination of others."""
        raise NotImplementedError

    def combine(self, values: Sequence[Float[Array, "*replicas"]]) -> Float[Array, "*replicas"]:
        """The combination, of a value for each child."""
        raise NotImplementedError

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return tuple(dict.fromkeys(spec for child in self.children for spec in child.requirements()))

    def prepare(self, systems: System, strain: float = 0.0) -> Self:
        return self.with_children(tuple(child.prepare(systems, strain) for child in self.children))

    def energies(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        return self.combine([child.energies(systems, neighbors) for child in self.children])

    def constants(self, systems: System) -> Float[Array, " replicas"]:
        return self.combine([child.constants(systems) for child in self.children])


def walk(potential: Potential) -> Iterator[Potential]:
    """The potential itself, then all that it is made of.

    A potential can do what its class derives from, whatever it holds or stands in:
    ``any(isinstance(one, Learning) for one in walk(potential))``.
    """
    yield potential
    for child in potential.children if isinstance(potential, Wrapper) else ():
        yield from walk(child)


def map_leaves(potential: Potential, function: Callable[[Potential], Potential]) -> Potential:
    """The same combination of other potentials: ``function`` of each that is no `Wrapper`."""
    if not isinstance(potential, Wrapper):
        return function(potential)
    return potential.with_children(tuple(map_leaves(child, function) for child in potential.children))


def of_one(potential: Potential) -> Potential:
    """What relaxes the start structure of any replica; see `PerReplica`."""
    if isinstance(potential, PerReplica):
        potential = potential.of_one()
    children = potential.children if isinstance(potential, Wrapper) else ()
    new = tuple(of_one(child) for child in children)
    changed = any(one is not child for one, child in zip(new, children, strict=True))
    return potential.with_children(new) if changed and isinstance(potential, Wrapper) else potential


def needs_of(potential: Potential) -> Needs:
    """What acts on certain species only, of all terms; see `PerSystem.needs`."""
    return tuple(need for one in walk(potential) if isinstance(one, PerSystem) for need in one.needs())


def conserves_momentum(potential: Potential) -> bool:
    """True if moving all atoms together changes no part of a potential."""
    return all(one.translation_invariant for one in walk(potential))


def longest_cutoff(potential: Potential) -> float:
    """The longest cut-off in Å among the lists that a (prepared) potential requires, 0 where it needs none."""
    return max((spec.cutoff for spec in potential.requirements()), default=0.0)


def as_potential(value: Any, name: str = "potential") -> Potential:
    """Accept a potential, or the result of training (`Fit`), whose total with the baseline is meant.

    Args:
        value: the argument of a caller.
        name: what the caller calls it.

    Raises:
        InputError: anything else, with what to do.
    """
    total = value if isinstance(value, Potential) else getattr(value, "total", None)
    if isinstance(total, Potential):
        return total
    if isinstance(value, str | os.PathLike):
        raise InputError(
            f"{name} = {str(value)!r} is a path; load it: load_fit({str(value)!r}) for the folder of a training run, "
            f"load_nequip({str(value)!r}) for a NequIP model, load_potential({str(value)!r}) for one that comes with "
            "jaxelyte"
        )
    if isinstance(value, NequIP):
        raise InputError(
            f"{name} is a NequIP configuration, which has no weights; train it (jaxelyte.train) or load a trained model"
        )
    raise InputError(f"{name} must be a potential or a Fit, not {type(value).__name__}")


def terms_of(potential: Potential) -> tuple[Potential, ...]:
    """The terms of a sum, or the potential alone."""
    return potential.terms if isinstance(potential, Sum) else (potential,)


@struct.dataclass
class Sum(Wrapper):
    """The sum of several potentials; nested sums are flattened."""

    terms: tuple[Potential, ...]

    memory_passes = True

    @property
    def children(self) -> tuple[Potential, ...]:
        return self.terms

    def with_children(self, new: tuple[Potential, ...]) -> Sum:
        return Sum(new)

    def combine(self, values: Sequence[Float[Array, "*replicas"]]) -> Float[Array, "*replicas"]:
        return sum(values[1:], values[0])


@struct.dataclass
class Scaled(Wrapper):
    """A potential times a dimensionless factor, which is a parameter."""

    factor: Any
    potential: Potential

    @property
    def children(self) -> tuple[Potential, ...]:
        return (self.potential,)

    def with_children(self, new: tuple[Potential, ...]) -> Scaled:
        return Scaled(self.factor, *new)

    def combine(self, values: Sequence[Float[Array, "*replicas"]]) -> Float[Array, "*replicas"]:
        return like(self.factor, values[0]) * values[0]


@struct.dataclass
class Mix(Wrapper):
    """Linear interpolation U = (1 - λ) U0 + λ U1 between two potentials; dU/dλ = U1 - U0 by ``jax.grad``."""

    initial: Potential
    final: Potential
    lam: Any

    @property
    def children(self) -> tuple[Potential, ...]:
        return self.initial, self.final

    def with_children(self, new: tuple[Potential, ...]) -> Mix:
        initial, final = new
        return Mix(initial, final, self.lam)

    def combine(self, values: Sequence[Float[Array, "*replicas"]]) -> Float[Array, "*replicas"]:
        u0, u1 = values
        return u0 + like(self.lam, u0) * (u1 - u0)


def like(factor: Any, energy: Float[Array, "*replicas"]) -> Float[Array, "*factors"]:
    """A factor in the type of an energy: made before the type of the run was known, it follows the energy."""
    return jnp.asarray(factor, energy.dtype)


def mix(initial: Potential, final: Potential, lam: Any) -> Mix:
    """Linear mixture (1 - lam) * initial + lam * final; ``lam`` is a differentiable leaf.

    Args:
        initial: potential at lam = 0.
        final: potential at lam = 1.
        lam: dimensionless mixing parameter; values outside [0, 1] extrapolate.

    Raises:
        InputError: no potentials, or no finite number.
    """
    initial, final = as_potential(initial, "initial"), as_potential(final, "final")
    return Mix(initial, final, _number_leaf("lam", lam))


def _number_leaf(name: str, value: Any) -> Array:
    """A number as a leaf; arrays of jax and traced values pass."""
    if not isinstance(value, jax.Array):
        value = checks.number(name, value)
    return jnp.asarray(value, jnp.result_type(float))


def tree_size(potential: Potential) -> int:
    """Number of scalar parameters of a potential."""
    return sum(int(jnp.size(leaf)) for leaf in jax.tree.leaves(potential))
