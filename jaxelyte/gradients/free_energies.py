"""Derivatives of free energies by the parameters of the potentials.

    ∂ΔF/∂θ = <∂U_1/∂θ>_1 - <∂U_0/∂θ>_0 = ∫ ∂<ΔU>_λ/∂θ dλ,   ΔU = U_1 - U_0
    ∂<ΔU>_λ/∂θ = <∂ΔU/∂θ>_λ - β Cov_λ(ΔU, ∂U_λ/∂θ)

for parameters of either end and of what stands beside the mixture in all windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError
from jaxelyte.free_energy import FreeEnergyResult
from jaxelyte.free_energy.mixing import ladder_of
from jaxelyte.gradients.frames import Frames, energy, leafwise
from jaxelyte.gradients.reweighting import Reweighting, like
from jaxelyte.gradients.trust import inefficiency, spread_of_influence, stretches_of, why_unsupported
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Mix, Potential, Sum
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.system import System
from jaxelyte.wording import counted

FEWEST = 4
"""Frames of a window below which its derivative is refused; those without an error bar are given."""

CERTAIN = 2.0
"""How many times its noise a difference from the derivatives at the ends has to be."""

Trees = tuple[Any, Any, Any]
"""Derivatives by parameters of the initial, the final and the common potential."""


@dataclass(frozen=True)
class FreeEnergyGradient:
    """Derivatives of a free energy difference.

    Attributes:
        initial: d ΔF / d parameter of U0, a tree like it.
        initial_error: standard errors.
        final: d ΔF / d parameter of U1.
        final_error: standard errors.
        common: d ΔF / d parameter of what stands beside the mixture, None where nothing does.
        common_error: standard errors.
        frames: number of frames: at either end, or of each window.
        freedom: degrees of freedom of the errors, for Student's t: the least of all windows.
        quadrature: of the thermodynamic integral, what the rule over λ is off by for derivatives by (initial, final,
            common), part of the errors; None for derivatives from the ends, and where no windows at the ends check it.
        windows: of the thermodynamic integral, for each λ the derivatives of <ΔU>_λ by (initial, final, common) and
            their standard errors; empty for derivatives from the ends.
    """

    initial: Any
    initial_error: Any
    final: Any
    final_error: Any
    common: Any
    common_error: Any
    frames: tuple[int, ...]
    freedom: float
    quadrature: Trees | None = field(default=None, repr=False)
    windows: tuple[tuple[Trees, Trees], ...] = field(default=(), repr=False)

    __repr__ = brief_repr


def free_energy_gradient(result: FreeEnergyResult, *, method: str = "ends", at_once: int = 8) -> FreeEnergyGradient:
    """Derivative of ΔF by every parameter of both potentials and of the common one, from the frames of the windows.

    It holds for constant reference energies as for all else; those of the species are functions of parameters too, and
    are not included. It fails where the frames of a window are few: raise the number of steps, or lower ``every``.

    Args:
        result: of `free_energy`.
        method: "ends" takes averages of ∂U/∂θ in the windows at λ = 0 and 1, which have to be there
            (all ``nodes`` but "gauss-legendre"): the derivative of F itself, of least variance.
            "TI" takes the derivative of the thermodynamic integral, by fluctuations in each window; any nodes. The
            error of its quadrature is found by comparison with the ends, as far as the difference exceeds the noise of
            both; without windows at the ends it is not part of the errors, and a warning says so.
        at_once: frames evaluated together.

    Raises:
        InputError: another method, no run, no windows at the ends, or fewer than four frames in a window.

    Warns:
        UserWarning: a thermodynamic integral whose quadrature cannot be checked, or whose windows exchanged structures;
            see also `Reweighting`.
    """
    checks.instance("result", result, FreeEnergyResult, "the result of free_energy")
    checks.choice("method", method, ("ends", "TI"))
    at_once = checks.count("at_once", at_once)
    run = result.run
    if run is None or run.potential is None:
        raise InputError("the result holds no run; call free_energy in this process, with steps to do")
    bounded = bool(result.lam[0] == 0.0 and result.lam[-1] == 1.0)
    if method == "ends" and not bounded:
        raise InputError(
            f"windows from λ = {result.lam[0]:.3g} to {result.lam[-1]:.3g} leave out the ends, where the derivative is "
            "an average; pass nodes='clenshaw-curtis', or method='TI'"
        )
    ladder, beside = _parts_of(run.potential)
    frames = Frames.from_trajectory(run.trajectory, at_once=at_once)
    last = len(result.lam) - 1
    groups = {w: _rows(result, w) for w in (range(last + 1) if method == "TI" else (0, last))}
    for window, rows in groups.items():
        if len(rows) < FEWEST:
            raise InputError(
                f"{counted(len(rows), 'frame')} of window {window} are too few ({FEWEST} at least); lower every="
            )
    counts = tuple(len(rows) for rows in groups.values())
    ends = _at_the_ends(frames, groups[0], groups[last], ladder, beside) if bounded else None
    if method == "ends":
        assert ends is not None
        values, errors, freedom = ends
        return FreeEnergyGradient(values[0], errors[0], values[1], errors[1], values[2], errors[2], counts, freedom)
    _warn_if_shared(ladder)
    windows, freedoms = [], []
    for window, rows in groups.items():
        mixture = Mix(ladder.initial, ladder.final, float(result.lam[window]))
        whole = mixture if beside is None else Sum((beside, mixture))
        samples = Reweighting.of_frames(frames.chosen(rows), whole, result.temperature)
        found = samples.gradient(_gap)
        windows.append((_split(found.gradient), _split(found.gradient_error)))
        freedoms.append(found.gradient_freedom)
    total, error = _integrated(result.weights, windows)
    quadrature = None
    if ends is None:
        checks.caution(
            f"derivative of the thermodynamic integral over {counted(last + 1, 'window')}: without windows at λ = 0 "
            "and 1 the error of its quadrature is unknown and not part of the error bars; pass "
            "nodes='clenshaw-curtis'"
        )
    else:
        quadrature = _apart(total, error, *ends[:2])
        error = leafwise(np.hypot, error, quadrature)
    ends_of = (total[0], error[0], total[1], error[1], total[2], error[2])
    return FreeEnergyGradient(*ends_of, counts, min(freedoms), quadrature, tuple(windows))


def _warn_if_shared(ladder: Ladder) -> None:
    """Warn where windows have exchanged structures: sums of their squared errors lack what they share."""
    if ladder.exchange:
        checks.caution(
            "derivative of the thermodynamic integral: its windows exchanged structures and share what these remember, "
            "but their errors are added as those of independent ones: error bars may be 1.7 times too small where "
            "structures remember for longer than they stay in a window. Pass method='ends', or take a run without "
            "exchange"
        )


def _integrated(share: np.ndarray, windows: list[tuple[Trees, Trees]]) -> tuple[Trees, Trees]:
    """Sums over the windows with the weights of the quadrature, and their standard errors."""
    total = leafwise(lambda *x: np.tensordot(share, np.array(x, np.float64), axes=1), *(w[0] for w in windows))
    error = leafwise(
        lambda *x: np.sqrt(np.tensordot(share**2, np.array(x, np.float64) ** 2, axes=1)), *(w[1] for w in windows)
    )
    return total, error


def _apart(total: Trees, error: Trees, ends: Trees, ends_error: Trees) -> Trees:
    """How far integrals are from the derivatives at the ends, beyond the noise of both.

    Both hold the frames at the ends, so that the sum of their variances is that of the difference but for a covariance.
    Of what chance often gives nothing is counted: errors would follow the deviations.
    """
    ends, ends_error = like(total, ends), like(total, ends_error)

    def beyond(x: Any, y: Any, e: Any, f: Any) -> Any:
        noise, square = e**2 + f**2, (x - y) ** 2
        return np.where(square > CERTAIN**2 * noise, np.sqrt(np.maximum(0.0, square - noise)), 0.0 * noise)

    return leafwise(beyond, total, ends, error, ends_error)


def _at_the_ends(
    frames: Frames, first: np.ndarray, last: np.ndarray, ladder: Ladder, beside: Potential | None
) -> tuple[Trees, Trees, float]:
    """<∂U1/∂θ>_1 - <∂U0/∂θ>_0 by (initial, final, common) from the rows of both windows, standard errors, freedom."""
    start, start_error, one = _mean(frames.chosen(first), (ladder.initial, beside), -1.0)
    end, end_error, other = _mean(frames.chosen(last), (ladder.final, beside), 1.0)
    common, common_error = None, None
    if beside is not None:
        common, common_error = leafwise(np.add, start[1], end[1]), leafwise(np.hypot, start_error[1], end_error[1])
    return (start[0], end[0], common), (start_error[0], end_error[0], common_error), min(one, other)


def _gap(potential: Potential, system: System, neighbors: Neighbors) -> Array:
    """U1 - U0 of the mixture in a sum."""
    mixture = _mixture(potential)
    return mixture.final.energy(system, neighbors) - mixture.initial.energy(system, neighbors)


def _split(tree: Any) -> Trees:
    mixture = _mixture(tree)
    return mixture.initial, mixture.final, tree.terms[0] if isinstance(tree, Sum) else None


def _mixture(potential: Potential) -> Mix:
    found = potential.terms[-1] if isinstance(potential, Sum) else potential
    assert isinstance(found, Mix)
    return found


def _parts_of(potential: Potential) -> tuple[Ladder, Potential | None]:
    """The ladder of a sum, and what stands beside it."""
    rest = [term for term in potential.terms if not isinstance(term, Ladder)] if isinstance(potential, Sum) else []
    return ladder_of(potential), None if not rest else rest[0] if len(rest) == 1 else Sum(tuple(rest))


def _mean(
    frames: Frames, potentials: tuple[Potential, Potential | None], sign: float
) -> tuple[list[Any], list[Any], float]:
    """Sign · <∂U/∂θ> over frames for each potential, standard errors from stretches, and the least of their freedom.

    U stands for its derivatives in what is asked of the frames.
    """
    values, errors, freedoms = [], [], []
    for potential in potentials:
        if potential is None:
            continue
        evaluator = frames.prepared(potential)
        ready = evaluator.potential
        series = frames.energies(ready, evaluator)
        influence, correlated = (series - series.mean()) / len(series), inefficiency(series, 1)
        groups = stretches_of(len(frames), correlated)
        found = spread_of_influence(influence, None, correlated, len(groups), "average")
        if reason := why_unsupported(influence, None, correlated, "average"):
            checks.caution(f"derivative of a free energy, {counted(len(series), 'frame')} at an end: {reason}")
            found = found._replace(widening=math.nan)
        rows = [frames.chosen(g).pull_back(energy, ready, evaluator, np.full(len(g), sign / len(g))) for g in groups]
        share = np.array([len(g) for g in groups]) / len(frames)
        values.append(leafwise(lambda *x, share=share: np.tensordot(share, np.array(x), axes=1), *rows))
        wide = found.widening / math.sqrt(len(groups))
        errors.append(leafwise(lambda *x, wide=wide: wide * np.std(x, axis=0, ddof=1), *rows))
        freedoms.append(found.freedom)
    return values, errors, min(freedoms)


def _rows(result: FreeEnergyResult, window: int) -> np.ndarray:
    """Frames that were in a window, in the order of `Frames` (replica by replica), equilibration left out."""
    run = result.run
    assert run is not None
    series = run.observables["energies"]
    # Frame 0 is the start, and the series may leave out an equilibration.
    samples = np.rint((run.trajectory.times - series.start) / series.interval).astype(int)
    there = (samples >= result.discarded[window]) & (samples < len(series))
    where = np.zeros((run.trajectory.replicas, len(samples)), bool)
    where[:, there] = window == np.rint(series.values[samples[there], :, 2]).T
    return np.flatnonzero(where.ravel())
