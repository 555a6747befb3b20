"""Averages over stored frames for other parameters than those they were made with, and derivatives by all of them.

    <A>_θ' = Σ w_i A_i,   w_i ∝ exp(-β (U_θ'(x_i) - U_θ(x_i)))
    ∂<A>/∂θ = <∂A/∂θ> - β (<A ∂U/∂θ> - <A> <∂U/∂θ>)

(Zwanzig, J. Chem. Phys. 22, 1420 (1954); the derivative e.g. in Thaler and Zavadlav, Nat. Commun. 12, 6884 (2021).) The
covariance is one vector-Jacobian product, never a matrix of frames and parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.dynamics import load_run
from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.free_energy.insertion import checked_temperature
from jaxelyte.gradients.frames import Frames, Quantity, energy, leafwise
from jaxelyte.gradients.trust import (
    EVEN,
    FEWEST,
    Spread,
    check_tail,
    inefficiency,
    spread_of_influence,
    stretches_of,
    warn_if_apart,
    why_unsupported,
)
from jaxelyte.observables.provenance import check_made_by, recorded_energies
from jaxelyte.observables.sampling import analysed, first_systems
from jaxelyte.observables.tails import largest_k, pareto_k
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.form_error import check_plain
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.units import BOLTZMANN
from jaxelyte.wording import counted

LEAST = 0.1
"""Share of the frames that has to remain as effective samples: below it a handful of frames decides."""


@dataclass(frozen=True)
class Average:
    """An average over reweighted frames.

    Attributes:
        value: of the shape of the quantity.
        error: standard error from the spread between stretches, correlation within them included; NaN where the frames
            do not support one.
        effective: effective number of frames, (Σw)²/Σw².
        freedom: degrees of freedom of the error, for Student's t.
    """

    value: np.ndarray
    error: np.ndarray
    effective: float
    freedom: float

    __repr__ = brief_repr


@dataclass(frozen=True)
class AverageGradient:
    """An average and its derivative by every parameter of a potential.

    Attributes:
        value: the average, or the function of averages that was differentiated.
        error: its standard error; NaN where the frames do not support one.
        gradient: a tree like the potential, d value / d parameter.
        gradient_error: standard errors, the same tree; None where they were not asked for.
        effective: effective number of frames.
        freedom: degrees of freedom of ``error``, for Student's t.
        gradient_freedom: those of ``gradient_error``, or as ``freedom`` without one.
        mean: <A>, of the shape of A.
        parts: (stretches, …), what each stretch of the frames adds to Σ w (A - <A>) = 0; their spread is the error.
    """

    value: float
    error: float
    gradient: Potential
    gradient_error: Any
    effective: float
    freedom: float
    gradient_freedom: float
    mean: np.ndarray = field(repr=False)
    parts: np.ndarray = field(repr=False)

    __repr__ = brief_repr


class Reweighting:
    """Frames of a run, and the potential that made them.

    Args:
        source: a run, a `Trajectory`, a file or a run folder.
        potential: that the frames were made with.
        temperature: K; that of the run by default.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        at_once: frames evaluated together; bounds the memory.
        least: share of effective samples below which it refuses.

    It fails for parameters far from those of the run: a few frames then have all the weight. An error is raised where
    fewer effective samples than ``least`` remain, or where the weights have a tail so heavy that their largest values
    decide (Vehtari et al., J. Mach. Learn. Res. 25, 1 (2024)). Values without error bars (NaN) and a warning are given
    where few independent frames are there (averages take 6, reweighted ones 40, and 160 where weights have a tail of
    large ones; derivatives take 80, and 160), or few decide. Simulate again with the new parameters, or longer, then.
    Error bars are widened by the skewness of what the frames contribute and by weights that must exist but were not
    sampled, and go with Student's t of ``freedom`` degrees. For derivatives the energy U stands for all ∂U/∂θ here:
    parameters that act in rare places only need more frames.

    Raises:
        InputError: frames or a temperature that are missing, or a potential that did not make the frames of the run.
    """

    def __init__(
        self,
        source: Any,
        potential: Potential,
        *,
        temperature: float | None = None,
        discard: int | None = None,
        at_once: int = 8,
        least: float = LEAST,
    ) -> None:
        if isinstance(source, (str, Path)) and (Path(source) / "trajectory.h5").exists():
            source = load_run(source)
        trajectory = analysed(source, discard)
        found = checked_temperature(source, temperature, "reweighting")
        least, at_once = checks.number("least", least, least=0.0, below=1.0), checks.count("at_once", at_once)
        self._fill(Frames.from_trajectory(trajectory, at_once=at_once), potential, found, least)
        recorded = recorded_energies(source, len(trajectory))
        if recorded is not None:
            constant = np.asarray(reference_energies(self.potential, first_systems(trajectory)), np.float64)
            check_made_by(recorded, self.energies.reshape(trajectory.replicas, -1).T + constant, 1.0 / self.beta)

    @classmethod
    def of_frames(
        cls, frames: Frames, potential: Potential, temperature: float, *, least: float = LEAST
    ) -> Reweighting:
        """Of frames that were chosen already; see the class for the arguments."""
        made = cls.__new__(cls)
        made._fill(frames, potential, temperature, least)
        return made

    def _fill(self, frames: Frames, potential: Potential, temperature: float, least: float) -> None:
        potential = as_potential(potential)
        check_plain(potential)
        self.frames, self.given, self.temperature, self.least = frames, potential, temperature, least
        self.evaluator = self.frames.prepared(potential)
        self.potential = self.evaluator.potential
        self.energies = self.frames.energies(self.potential, self.evaluator)

    @property
    def beta(self) -> float:
        """1/k_B T in 1/eV."""
        return 1.0 / (BOLTZMANN * self.temperature)

    def weights(self, potential: Potential | None = None) -> np.ndarray:
        """(frames,), adding up to one, for another potential of the same structure.

        Raises:
            JaxelyteError: fewer effective samples than ``least`` of the frames, or weights with a heavy tail.
        """
        if potential is None:
            return np.full(len(self.frames), 1.0 / len(self.frames))
        weight = self._weights(potential)
        effective = effective_samples(weight)
        if not effective >= self.least * len(weight):
            raise JaxelyteError(
                f"{effective:.1f} effective samples of {counted(len(weight), 'frame')} (least = {self.least:g} of "
                "them): these parameters are too far from those of the run; simulate again with the new ones"
            )
        if effective <= EVEN * len(weight):
            check_tail(weight, "weights", self._independent(weight))
        return weight

    def usable(self, potential: Potential, share: float) -> bool:
        """Whether at least this share of the frames remains as effective samples, and no heavy tail decides."""
        weight = self._weights(potential)
        effective = effective_samples(weight) / len(weight)
        # Not the other way round: the share is NaN where an energy is.
        if not effective >= share:
            return False
        return effective > EVEN or pareto_k(weight) <= largest_k(self._independent(weight))

    def _independent(self, series: np.ndarray) -> float:
        return len(series) / inefficiency(series, self.frames.replicas)

    def effective(self, potential: Potential | None = None) -> float:
        """Effective number of frames for another potential, (Σw)²/Σw²; NaN where one of its energies is not finite."""
        return float(len(self.frames)) if potential is None else effective_samples(self._weights(potential))

    def average(self, quantity: Quantity, potential: Potential | None = None) -> Average:
        """<A> in the ensemble of a potential, by default that of the run.

        Args:
            quantity: A(potential, system, neighbors) of one frame, an array of any shape.
            potential: with other parameters.

        Raises:
            JaxelyteError: too few effective samples; see `weights`.
        """
        weight = self.weights(potential)
        values = self.frames.map(quantity, self._ready(potential), self.evaluator)
        mean = np.tensordot(weight, values, axes=1)
        judged = self._judged(potential, weight, _size(values - mean))
        error = judged.average.widening * spread_of(judged.parts(weight, values - mean))
        return Average(mean, error, effective_samples(weight), judged.average.freedom)

    def gradient(
        self,
        quantity: Quantity,
        potential: Potential | None = None,
        *,
        function: Any = None,
        explicit: bool = True,
        errors: bool = True,
    ) -> AverageGradient:
        """D f(<A>)/dθ for all parameters θ, with standard errors.

        The errors are those to first order in the fluctuations of <A> and its derivatives; for an array A the slope of
        ``function`` counts as exact. Two passes over the frames, one without errors; memory for a few frames and a few
        trees of parameters at a time.

        Args:
            quantity: A(potential, system, neighbors) of one frame.
            potential: with other parameters than those of the run.
            function: f of the averages (an array like A) to a number, written with jax.numpy; for a scalar A the
                average itself by default.
            explicit: A depends on the parameters itself (an energy, not a distance). False saves a pass.
            errors: of the gradient; False saves more than half of the work.

        Raises:
            InputError: an array for A and no function.
            JaxelyteError: too few effective samples; see `weights`.
        """
        weight, ready = self.weights(potential), self._ready(potential)
        asked = self.given if potential is None else as_potential(potential)
        values = self.frames.map(quantity, ready, self.evaluator)
        mean = np.tensordot(weight, values, axes=1)
        if function is None and values.ndim > 1:
            raise InputError(f"A has shape {values.shape[1:]}; pass function= that makes a number of its average")
        value, direction = (float(mean), np.ones(())) if function is None else _linearised(function, mean)
        scalars = np.tensordot(values - mean, direction, axes=direction.ndim)
        judged = self._judged(potential, weight, scalars, derivative=errors, quiet=not errors)
        parts = judged.parts(weight, values - mean)
        # Without errors all frames are one stretch, about whose own mean force <A - <A>> = 0 leaves nothing to shift.
        groups = judged.stretches if errors else [np.arange(len(weight))]
        forces = self.frames.pull_back(energy, ready, self.evaluator, weight) if errors else None
        rows, directs = [], []
        for group in groups:
            share, part = weight[group], self.frames.chosen(group)
            found = part.pull_back(energy, ready, self.evaluator, -self.beta * share * scalars[group])
            if forces is not None:
                # Relative to the mean force of the parameters, <∂U/∂θ>, each stretch counts.
                shift = self.beta * float(share @ scalars[group])
                found = leafwise(lambda a, b, shift=shift: a + shift * b, found, forces)
            if explicit:
                vector = share.reshape(-1, *(1,) * direction.ndim) * direction
                directs.append(part.pull_back(quantity, ready, self.evaluator, vector))
            rows.append(found)
        total = leafwise(lambda *x: np.sum(x, axis=0), *rows, *directs)
        if errors:
            rows = _deviations(rows, directs, [float(weight[group].sum()) for group in groups])
            if function is not None and values.ndim == 1 and direction != 0.0:
                # The slope of f is taken at a mean that has an error itself: f''(<A>) δ<A> d<A>/dθ.
                moves = _curvature(function, mean) / float(direction) * parts
                rows = [leafwise(lambda a, b, m=m: a + m * b, one, total) for one, m in zip(rows, moves, strict=True)]
        wider = judged.derivative.widening
        spread = leafwise(lambda *x: wider * spread_of(np.array(x)), *rows) if errors else None
        error = judged.average.widening * float(spread_of(np.tensordot(parts, direction, axes=direction.ndim)))
        return AverageGradient(
            value,
            error,
            like(asked, total),
            like(asked, spread) if errors else None,
            effective_samples(weight),
            judged.average.freedom,
            judged.derivative.freedom,
            mean,
            parts,
        )

    def _judged(
        self,
        potential: Potential | None,
        weight: np.ndarray,
        deviations: np.ndarray,
        *,
        derivative: bool = False,
        quiet: bool = False,
    ) -> _Judgement:
        """How correlated the frames are in what decides the result, and whether they support its error bars."""
        # A constant deviates by rounding only.
        influences = {"average": weight * (deviations if np.ptp(deviations) > 0.0 else np.zeros(len(weight)))}
        if derivative:
            energies = self._energies_at(potential)
            moved = influences["average"] * (energies - float(weight @ energies))
            influences["derivative"] = moved - weight * float(moved.sum())
        correlated = {kind: inefficiency(one, self.frames.replicas) for kind, one in influences.items()}
        groups = stretches_of(len(weight), max(correlated.values()))
        found, given = {}, None if potential is None or np.ptp(weight) < 1e-9 * weight[0] else weight
        for kind, one in influences.items():
            reason = why_unsupported(one, given, correlated[kind], kind)
            found[kind] = spread_of_influence(one, given, correlated[kind], len(groups), kind)
            if reason:
                found[kind] = found[kind]._replace(widening=math.nan)
            if reason and not quiet:
                checks.caution(f"{kind} over {counted(len(weight), 'frame')}: {reason}")
        if not quiet:
            last = list(influences)[-1]
            warn_if_apart(
                np.array([influences[last][g].sum() for g in groups]), f"{last} over {counted(len(weight), 'frame')}"
            )
        return _Judgement(groups, found["average"], found.get("derivative", found["average"]))

    def _energies_at(self, potential: Potential | None) -> np.ndarray:
        return self.energies if potential is None else self.frames.energies(self._ready(potential), self.evaluator)

    def _weights(self, potential: Potential) -> np.ndarray:
        exponent = -self.beta * (self.frames.energies(self._ready(potential), self.evaluator) - self.energies)
        weight = np.exp(exponent - exponent.max())
        return weight / weight.sum()

    def _ready(self, potential: Potential | None) -> Potential:
        """The potential with all that `Potential.prepare` fixes, which does not depend on parameters."""
        if potential is None:
            return self.potential
        potential = as_potential(potential)
        ready = potential.prepare(self.frames.system(0)) if len(self.frames) else potential
        if jax.tree.structure(ready) != jax.tree.structure(self.potential):
            ready = self.frames.ready(potential)
        if jax.tree.structure(ready) != jax.tree.structure(self.potential):
            raise InputError("this potential differs from that of the run in more than parameters")
        return ready


@dataclass(frozen=True)
class _Judgement:
    """Rows of the stretches whose spread is the error, and what it takes to be one: NaN where it is none."""

    stretches: list[np.ndarray]
    average: Spread
    derivative: Spread

    def parts(self, weight: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """What each stretch adds to Σ w (A - <A>), (stretches, …)."""
        return np.array([np.tensordot(weight[g], deviations[g], axes=1) for g in self.stretches])


def _size(deviations: np.ndarray) -> np.ndarray:
    """(frames,): a scalar itself; of an array the root mean square over components, each in units of its width."""
    if deviations.ndim == 1:
        return deviations
    flat = deviations.reshape(len(deviations), -1)
    width = flat.std(axis=0)
    return (
        np.sqrt(np.mean((flat[:, width > 0.0] / width[width > 0.0]) ** 2, axis=1))
        if np.any(width > 0.0)
        else flat[:, 0]
    )


def like(potential: Any, tree: Any) -> Any:
    """A tree of a prepared potential in the structure of the one it was prepared from; leaves are the same."""
    return jax.tree.unflatten(jax.tree.structure(potential), jax.tree.leaves(tree))


def spread_of(parts: np.ndarray) -> np.ndarray:
    """Standard error of a sum from its parts, (parts, …); NaN for fewer than `FEWEST`."""
    count = len(parts)
    return math.sqrt(count) * parts.std(axis=0, ddof=1) if count >= FEWEST else np.full(parts.shape[1:], np.nan)


def effective_samples(weight: np.ndarray) -> float:
    """(Σw)²/Σw² (Kish), for weights of any size."""
    scaled = np.asarray(weight, np.float64) / np.max(weight)
    return float(np.sum(scaled) ** 2 / np.sum(scaled**2))


def _deviations(rows: list[Any], directs: list[Any], shares: list[float]) -> list[Any]:
    """What each stretch adds to the gradient beside its share of the whole: stretches differ in weight."""
    whole = [leafwise(np.add, *pair) for pair in zip(rows, directs, strict=True)] if directs else rows
    total = leafwise(lambda *x: np.sum(x, axis=0), *whole)
    return [leafwise(lambda a, m, s=share: a - s * m, one, total) for one, share in zip(whole, shares, strict=True)]


def _curvature(function: Any, mean: np.ndarray) -> float:
    """Second derivative of a function of one number."""
    import jax.numpy as jnp

    return float(jax.grad(jax.grad(function))(jnp.asarray(mean, jnp.result_type(float))))


def _linearised(function: Any, mean: np.ndarray) -> tuple[float, np.ndarray]:
    import jax.numpy as jnp

    value, direction = jax.value_and_grad(function)(jnp.asarray(mean, jnp.result_type(float)))
    return float(value), np.asarray(direction, np.float64)
