"""Cases of reweighting: exact frames of one oscillator, averages and derivatives at other springs; see honesty.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from honesty import Case

from jaxelyte.gradients import Reweighting
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.trajectory import Trajectory
from jaxelyte.units import BOLTZMANN

TEMPERATURE, K, FRAMES = 300.0, 1.3, 400
THERMAL = BOLTZMANN * TEMPERATURE
ANCHOR = np.array([[5.0, 5.0, 5.0]])
RATIOS = (0.45, 0.64, 0.85, 1.0, 1.2, 2.0)


def square(_potential: Any, system: Any, _neighbors: Any) -> Any:
    """Squared distance from the anchor in Å²; 3 k_B T/k on average."""
    return ((system.positions - ANCHOR) ** 2).sum()


def frames(seed: int) -> Trajectory:
    """Independent frames of one argon atom on a spring of k = `K` eV/Å²."""
    moved = np.random.default_rng(seed).normal(size=(FRAMES, 1, 3)) * math.sqrt(THERMAL / K)
    return Trajectory(
        positions=(ANCHOR + moved)[:, None],
        numbers=np.array([18]),
        masses=np.array([39.9]),
        cells=np.eye(3) * 30.0,
        pbc=(True, True, True),
        steps=np.arange(FRAMES),
        times=np.arange(FRAMES) * 10.0,
    )


def oscillator(seed: int, *, ratio: float, derivative: bool) -> Case:
    """<r²> for a spring ``ratio`` times as stiff, or its derivative with respect to k."""
    k = ratio * K
    samples = Reweighting(frames(seed), HarmonicRestraint(ANCHOR, K), temperature=TEMPERATURE, at_once=FRAMES)
    other = None if ratio == 1.0 else HarmonicRestraint(ANCHOR, k)
    if not derivative:
        found = samples.average(square, other)
        return Case(float(found.value), float(found.error), None, 3.0 * THERMAL / k)
    slope: Any = samples.gradient(square, other, explicit=False)
    return Case(float(slope.gradient.k), float(slope.gradient_error.k), None, -3.0 * THERMAL / k**2)


CASES: dict[str, Callable[[int], Case]] = {
    f"reweighted {'derivative' if derivative else 'average'}, k ratio {ratio:g}, {FRAMES} frames": partial(
        oscillator, ratio=ratio, derivative=derivative
    )
    for ratio in RATIOS
    for derivative in (False, True)
}
