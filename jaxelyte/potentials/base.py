"""A potential is a pytree: leaves are its parameters, everything else is static structure."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.models.config import NequIP
from jaxelyte.models.tiling import Precision
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.part import Part
from jaxelyte.system import System

Scalar = Float[Array, ""]


class Potential:
    """Base of all potentials. Subclasses are frozen ``flax.struct`` dataclasses and define `interaction`.

    ``a + b``, ``c * a``, ``a - b`` and ``mix(a, b, lam)`` are potentials. Energies are in eV.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Dataclasses keep a method that is there: topologies of thousands of bonds have no place on the screen.
        if "__repr__" not in cls.__dict__:
            setattr(cls, "__repr__", brief_repr)  # noqa: B010 - an assignment is refused by type checkers

    def requirements(self) -> tuple[NeighborSpec, ...]:
        """The neighbour lists that `interaction` reads; a static property of the (prepared) potential."""
        return ()

    @property
    def cutoff(self) -> float:
        """The longest cut-off in Å among the required lists, 0 where none is needed."""
        return max((spec.cutoff for spec in self.requirements()), default=0.0)

    @property
    def translation_invariant(self) -> bool:
        """True if moving all atoms together changes nothing, so that dynamics conserves the total momentum."""
        return True

    def needed_terms(self) -> tuple[str, ...]:
        """Identities of the terms that must stand beside this one in a sum: the baseline of a delta-learned network."""
        return ()

    @property
    def may_lack_baseline(self) -> bool:
        """True for a network of which nobody knows whether it was trained relative to a baseline."""
        return False

    def unstated(self) -> str:
        """The question for what was left to a default that does not hold beside such a network; empty for none."""
        return ""

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        """Energy in eV without the constant reference energies of the species.

        This is what dynamics differentiates and logs: reference energies of thousands of eV per atom would eat the
        digits of float32.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define interaction(system, neighbors)")

    def batch_interaction(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        """`interaction` of replicas, which are a leading axis of all arrays; a hook for terms that batch better."""
        return jax.vmap(self.interaction)(systems, neighbors)

    @property
    def pair_additive(self) -> bool:
        """True if `interaction` is a sum over the entries of its lists, each pair counted half from either side.

        The rows of some atoms then give the share of these atoms, and the potential runs on several devices as it is.
        """
        return False

    def local_interaction(self, part: Part) -> Scalar:
        """What one of several devices adds to `interaction`, in eV; the sum over all devices is the whole.

        As it stands here it serves terms that are `pair_additive`, and terms without lists, which every device
        evaluates for all atoms.

        Raises:
            UnsupportedError: the potential reads lists and is not `pair_additive`.
        """
        if not self.requirements():
            return part.once(self.interaction(part.whole, Neighbors((), ())))
        if self.pair_additive:
            return self.interaction(part.system, part.neighbors)
        raise UnsupportedError(
            f"{type(self).__name__} cannot be divided among devices: it reads neighbour lists and does not say how; "
            "run it on one device, or define pair_additive or local_interaction (see docs/architecture.md)"
        )

    def reference(self, system: System) -> Scalar:
        """Constant reference energy in eV: a function of the species alone."""
        return jnp.zeros((), system.positions.dtype)

    def batch_reference(self, systems: System) -> Float[Array, " replicas"]:
        """`reference` of replicas."""
        return jax.vmap(self.reference)(systems)

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        """Total energy in eV: `interaction` + `reference`."""
        return self.interaction(system, neighbors) + self.reference(system)

    def validate(self, system: System) -> None:
        """Raise `InputError` where the system cannot be described by this potential. Runs on the host."""

    def needs(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """What acts on certain species only, and their atomic numbers: `prepare` refuses systems without them."""
        return ()

    def prepare(self, *systems: System) -> Potential:
        """Fix what depends on cell and composition and must be static under jit (k-vectors, meshes, row counts).

        Runs on the host. The result serves all the systems given, such as replicas that run together.
        """
        return self

    def compiled(self, tables: bool = True, precision: Precision = "float32") -> Potential:
        """The form that dynamics and calculators evaluate: the same energies and forces, faster.

        Convolutions of networks are kernels on GPUs (`jaxelyte.models.kernels`) and C on CPUs
        (`jaxelyte.models.native`, which needs a C compiler; ``JAXELYTE_NATIVE=0`` leaves it out). They allow
        gradients of any order in reverse mode, but no forward mode (``jax.jvp``).

        Args:
            tables: on CPUs and in float32, interpolate radial weights (`jaxelyte.models.table`) instead of evaluating
                the radial networks. Weights are right to 1e-6 of their root mean square, forces of the published models
                to 1e-5 eV/Å. False, to be called before a potential is given to `simulate`, is without.
            precision: of the inputs of products of matrices in networks: "tf32" (10 bits of mantissa) and "bf16"
                (7 bits) are for NVIDIA GPUs, whose units for them are faster; sums are float32. `form_error` says what
                it does to the forces, also where there is no GPU: networks then run in plain JAX, rounding what a GPU
                would.

        Parameters are changed before: the compiled form evaluates those that it was made with. What fits parameters
        or reweights refuses it; `plain` takes it back.

        Raises:
            InputError: a precision that is not known, or another one than that of a form that is compiled already.
        """
        return _in_form(self, lambda part: part.compiled(tables, precision))

    def with_tangents(self, knots: int = 0) -> Potential:
        """The form for forward mode, and reverse mode over it: the same energies, and the same parameters.

        Convolutions of networks are C on CPUs (`jaxelyte.models.tangents`). Reverse mode alone is for `compiled`.

        Args:
            knots: on CPUs, of tables of radial weights that are made of the parameters; 0 for radial networks.
        """
        return _in_form(self, lambda part: part.with_tangents(knots))

    def plain(self) -> Potential:
        """The form that `compiled` was made of: only this one changes when its parameters do."""
        return _in_form(self, lambda part: part.plain())

    def of_one(self) -> Potential:
        """What relaxes the start structure of any replica: the potential itself unless replicas differ in it."""
        return self

    @property
    def learning_stride(self) -> int:
        """Steps between two calls of `learn` in a run; 0 for a potential that stays what it is."""
        return 0

    def memory(self, replicas: int, key: Array | None = None) -> Any:
        """What a run changes of this potential, as a pytree of arrays: the bias of metadynamics, a moving restraint.

        Args:
            replicas: how many run side by side.
            key: of the run, for what is drawn at random.
        """
        return ()

    def with_memory(self, memory: Any) -> Potential:
        """The potential with another memory."""
        return self

    def learn(self, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
        """The memory after this step, and the energy in eV that its change puts into each replica, where it is now."""
        return (), jnp.zeros(systems.positions.shape[0], systems.positions.dtype)

    def __add__(self, other: Potential) -> Sum:
        if not isinstance(other, Potential):
            return NotImplemented
        return Sum((*_terms(self), *_terms(other)))

    def __mul__(self, factor: float | Scalar) -> Scaled:
        if isinstance(factor, Potential):
            return NotImplemented
        return Scaled(_number_leaf("the factor of a potential", factor), self)

    __rmul__ = __mul__

    def __neg__(self) -> Scaled:
        return self * -1.0

    def __sub__(self, other: Potential) -> Sum:
        return self + (-other)


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


def _in_form(potential: Potential, form: Callable[[Potential], Potential]) -> Potential:
    """The same with the potentials that it consists of in another form."""

    def changed(value: Any) -> Any:
        if isinstance(value, Potential):
            return form(value)
        if isinstance(value, tuple) and value and all(isinstance(one, Potential) for one in value):
            return tuple(form(one) for one in value)
        return None

    fields = dataclasses.fields(potential) if dataclasses.is_dataclass(potential) else ()
    parts = {f.name: changed(getattr(potential, f.name)) for f in fields}
    parts = {name: part for name, part in parts.items() if part is not None}
    return dataclasses.replace(potential, **parts) if parts else potential  # pyright: ignore[reportArgumentType]


def _terms(potential: Potential) -> tuple[Potential, ...]:
    return potential.terms if isinstance(potential, Sum) else (potential,)


def _unique(specs: Iterator[NeighborSpec]) -> tuple[NeighborSpec, ...]:
    return tuple(dict.fromkeys(specs))


@struct.dataclass
class Sum(Potential):
    """The sum of several potentials; nested sums are flattened."""

    terms: tuple[Potential, ...]

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return _unique(spec for term in self.terms for spec in term.requirements())

    @property
    def translation_invariant(self) -> bool:
        return all(term.translation_invariant for term in self.terms)

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        energies = [term.interaction(system, neighbors) for term in self.terms]
        return sum(energies[1:], energies[0])

    def local_interaction(self, part: Part) -> Scalar:
        energies = [term.local_interaction(part) for term in self.terms]
        return sum(energies[1:], energies[0])

    def batch_interaction(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        energies = [term.batch_interaction(systems, neighbors) for term in self.terms]
        return sum(energies[1:], energies[0])

    def reference(self, system: System) -> Scalar:
        energies = [term.reference(system) for term in self.terms]
        return sum(energies[1:], energies[0])

    def batch_reference(self, systems: System) -> Float[Array, " replicas"]:
        energies = [term.batch_reference(systems) for term in self.terms]
        return sum(energies[1:], energies[0])

    @property
    def learning_stride(self) -> int:
        strides = {term.learning_stride for term in self.terms} - {0}
        if len(strides) > 1:
            raise InputError(f"terms that change during a run have to share one stride, not {sorted(strides)} steps")
        return max(strides, default=0)

    def memory(self, replicas: int, key: Array | None = None) -> Any:
        keys = [None if key is None else jax.random.fold_in(key, n) for n in range(len(self.terms))]
        return tuple(term.memory(replicas, one) for term, one in zip(self.terms, keys, strict=True))

    def with_memory(self, memory: Any) -> Sum:
        return Sum(tuple(term.with_memory(own) for term, own in zip(self.terms, memory, strict=True)))

    def learn(self, systems: System, neighbors: Neighbors) -> tuple[Any, Float[Array, " replicas"]]:
        learnt = [term.learn(systems, neighbors) for term in self.terms]
        work = sum((one for _, one in learnt[1:]), learnt[0][1])
        return tuple(memory for memory, _ in learnt), work

    def validate(self, system: System) -> None:
        from jaxelyte.potentials.codec import identity

        _check_stated(self.terms)
        for term in self.terms:
            needed = term.needed_terms()
            if needed:
                there = [identity(other) for other in self.terms if other is not term]
                _check_needed(needed, there)
                term = term.without_baseline()  # pyright: ignore[reportAttributeAccessIssue]  # noqa: PLW2901
            term.validate(system)

    def needs(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return tuple(need for term in self.terms for need in term.needs())

    def of_one(self) -> Potential:
        return Sum(tuple(term.of_one() for term in self.terms))

    def prepare(self, *systems: System) -> Sum:
        return Sum(tuple(term.prepare(*systems) for term in self.terms))


def _check_stated(terms: tuple[Potential, ...]) -> None:
    """Raise `InputError` where a network that may lack its baseline stands beside a term with a value left open."""
    parts = [term.potential if isinstance(term, Scaled) else term for term in terms]
    questions = [term.unstated() for term in parts]
    if any(term.may_lack_baseline for term in parts) and any(questions):
        raise InputError(
            f"{next(filter(None, questions))}, that of the network's training. The model does not say which; published "
            "ones have 50, 72 or 78.3, and 1 is the vacuum"
        )


def _check_needed(needed: tuple[str, ...], there: list[str]) -> None:
    """Raise `InputError` unless each needed term is there, once."""
    for name in dict.fromkeys(needed):
        found, wanted = there.count(name), needed.count(name)
        if found == wanted:
            continue
        what = "is missing from" if found < wanted else f"stands {found} times in"
        others = ", ".join(there) or "nothing"
        raise InputError(
            f"a network of this sum was trained on labels less a baseline, and that baseline ({name}) {what} the sum, "
            f"which holds {others} beside the network; use the total potential of the fit, or "
            "potential.without_baseline() to leave the baseline out on purpose"
        )


@struct.dataclass
class Scaled(Potential):
    """A potential times a dimensionless factor, which is a parameter."""

    factor: Any
    potential: Potential

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return self.potential.requirements()

    @property
    def translation_invariant(self) -> bool:
        return self.potential.translation_invariant

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        energy = self.potential.interaction(system, neighbors)
        return _like(self.factor, energy) * energy

    def local_interaction(self, part: Part) -> Scalar:
        energy = self.potential.local_interaction(part)
        return _like(self.factor, energy) * energy

    def batch_interaction(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        energies = self.potential.batch_interaction(systems, neighbors)
        return _like(self.factor, energies) * energies

    def reference(self, system: System) -> Scalar:
        energy = self.potential.reference(system)
        return _like(self.factor, energy) * energy

    def batch_reference(self, systems: System) -> Float[Array, " replicas"]:
        energies = self.potential.batch_reference(systems)
        return _like(self.factor, energies) * energies

    def validate(self, system: System) -> None:
        _check_constant(self.potential)
        self.potential.validate(system)

    def needs(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return self.potential.needs()

    def prepare(self, *systems: System) -> Scaled:
        return Scaled(self.factor, self.potential.prepare(*systems))


@struct.dataclass
class Mix(Potential):
    """Linear interpolation U = (1 - λ) U0 + λ U1 between two potentials; dU/dλ = U1 - U0 by ``jax.grad``."""

    initial: Potential
    final: Potential
    lam: Any

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return _unique(spec for p in (self.initial, self.final) for spec in p.requirements())

    @property
    def translation_invariant(self) -> bool:
        return self.initial.translation_invariant and self.final.translation_invariant

    def interaction(self, system: System, neighbors: Neighbors) -> Scalar:
        u0 = self.initial.interaction(system, neighbors)
        u1 = self.final.interaction(system, neighbors)
        return u0 + _like(self.lam, u0) * (u1 - u0)

    def local_interaction(self, part: Part) -> Scalar:
        u0, u1 = self.initial.local_interaction(part), self.final.local_interaction(part)
        return u0 + _like(self.lam, u0) * (u1 - u0)

    def batch_interaction(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        u0 = self.initial.batch_interaction(systems, neighbors)
        u1 = self.final.batch_interaction(systems, neighbors)
        return u0 + _like(self.lam, u0) * (u1 - u0)

    def reference(self, system: System) -> Scalar:
        u0, u1 = self.initial.reference(system), self.final.reference(system)
        return u0 + _like(self.lam, u0) * (u1 - u0)

    def batch_reference(self, systems: System) -> Float[Array, " replicas"]:
        u0, u1 = self.initial.batch_reference(systems), self.final.batch_reference(systems)
        return u0 + _like(self.lam, u0) * (u1 - u0)

    def validate(self, system: System) -> None:
        _check_constant(self.initial)
        _check_constant(self.final)
        self.initial.validate(system)
        self.final.validate(system)

    def needs(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return (*self.initial.needs(), *self.final.needs())

    def prepare(self, *systems: System) -> Mix:
        return Mix(self.initial.prepare(*systems), self.final.prepare(*systems), self.lam)


def _check_constant(potential: Potential) -> None:
    """Raise `InputError` for a potential that changes during a run: it can only be a term of a sum."""
    if potential.learning_stride:
        raise InputError(
            f"{type(potential).__name__} changes during a run and can be neither scaled nor mixed; add it to the sum"
        )


def _like(factor: Any, energy: Float[Array, "*replicas"]) -> Float[Array, "*factors"]:
    # A factor made before the dtype of the run was known follows the energy, not the other way round.
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
