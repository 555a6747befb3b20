"""Derivatives of free energies by the parameters of the potentials.

∂ΔF/∂θ = <∂U1/∂θ>_1 - <∂U0/∂θ>_0
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.free_energy import FreeEnergyResult
from jaxelyte.free_energy.mixing import ladder_of
from jaxelyte.gradients.frames import Frames, energy
from jaxelyte.gradients.reweighting import BLOCKS
from jaxelyte.potentials.base import Potential


@dataclass(frozen=True)
class FreeEnergyGradient:
    """Derivatives of a free energy difference.

    Attributes:
        initial: d ΔF / d parameter of U0, a tree like it: -<∂U0/∂θ>_0.
        initial_error: standard errors.
        final: d ΔF / d parameter of U1: <∂U1/∂θ>_1.
        final_error: standard errors.
        frames: number of frames at either end.
    """

    initial: Potential
    initial_error: Potential
    final: Potential
    final_error: Potential
    frames: tuple[int, int]


def free_energy_gradient(result: FreeEnergyResult, *, at_once: int = 8) -> FreeEnergyGradient:
    """Derivative of ΔF by every parameter of both potentials, from the frames of the end windows.

    It holds for constant reference energies as for all else; those of the species are functions of parameters too, and
    are not included. It fails where the frames of an end are few: raise the number of steps, or lower ``every``.

    Args:
        result: of `free_energy` with windows at λ = 0 and 1 (``nodes="clenshaw-curtis"``, "trapezoid" or adapt=True).
        at_once: frames evaluated together.

    Raises:
        InputError: no run, no windows at the ends, or fewer than four frames there.
    """
    run = result.run
    if run is None or run.potential is None:
        raise InputError("the result holds no run; call free_energy in this process, with steps to do")
    if result.lam[0] != 0.0 or result.lam[-1] != 1.0:
        raise InputError(
            f"windows from λ = {result.lam[0]:.3g} to {result.lam[-1]:.3g} leave out the ends, where the derivative is "
            "an average; pass nodes='clenshaw-curtis'"
        )
    ladder = ladder_of(run.potential)
    trees: list[Any] = []
    counts = []
    for window, potential, sign in ((0, ladder.initial, -1.0), (len(result.lam) - 1, ladder.final, 1.0)):
        frames = Frames.from_trajectory(run.trajectory, at_once=at_once).chosen(_rows(result, window))
        if len(frames) < 4:
            raise InputError(f"{len(frames)} frames of window {window} are too few (4 at least); lower every=")
        ready, plan = frames.prepared(potential)
        rows = []
        for group in np.array_split(np.arange(len(frames)), min(BLOCKS, len(frames))):
            part = frames.chosen(group)
            rows.append(part.pull_back(energy, ready, plan, np.full(len(group), sign / len(group))))
        share = np.array([len(g) for g in np.array_split(np.arange(len(frames)), len(rows))]) / len(frames)
        trees.append(jax.tree.map(lambda *x, share=share: np.tensordot(share, np.array(x), axes=1), *rows))
        trees.append(jax.tree.map(lambda *x: np.std(x, axis=0, ddof=1) / math.sqrt(len(x)), *rows))
        counts.append(len(frames))
    return FreeEnergyGradient(trees[0], trees[1], trees[2], trees[3], (counts[0], counts[1]))


def _rows(result: FreeEnergyResult, window: int) -> np.ndarray:
    """Frames that were in a window, in the order of `Frames` (replica by replica), equilibration left out."""
    run = result.run
    assert run is not None
    series = run.observables["energies"]
    frames, replicas = len(run.trajectory), run.trajectory.replicas
    per = round((len(series) + 1) / max(frames - 1, 1)) if frames > 1 else 1
    # Frame f is sample f * per - 1; frame 0 is the start.
    samples = np.arange(1, frames) * per - 1
    samples = samples[samples < len(series)]
    place = np.rint(series.values[samples, :, 2]).astype(int)
    keep = samples >= result.discarded[window]
    where = np.zeros((replicas, frames), bool)
    where[:, 1 : len(samples) + 1] = (place == window).T & keep
    return np.flatnonzero(where.ravel())
