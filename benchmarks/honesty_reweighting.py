"""Cases of reweighting: frames of oscillators, averages and derivatives at their own and other springs; see honesty.py.

Atoms on springs of k = `K` eV/Å²: <r²> = 3 k_B T/k for each, and exp(-(r/s)²) has the mean (1 + 2 k_B T/(k s²))^(-3/2).
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any

import numpy as np
from honesty import Case, Entry
from scipy.signal import lfilter

from jaxelyte.gradients import Reweighting
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.trajectory import Trajectory
from jaxelyte.units import BOLTZMANN

TEMPERATURE, K = 300.0, 1.3
THERMAL = BOLTZMANN * TEMPERATURE
ANCHORS = np.random.default_rng(4).uniform(0.0, 15.0, (10, 3))
REACH = 0.25
"""Å, s of the bounded quantity."""


def square(_potential: Any, system: Any, _neighbors: Any) -> Any:
    """Mean squared distance from the anchors in Å²; 3 k_B T/k on average."""
    return ((system.positions - ANCHORS[: len(system.positions)]) ** 2).sum() / len(system.positions)


def bounded(_potential: Any, system: Any, _neighbors: Any) -> Any:
    """Of the first atom, exp(-r²/s²)."""
    import jax.numpy as jnp

    return jnp.exp(-((system.positions[0] - ANCHORS[0]) ** 2).sum() / REACH**2)


def first(_potential: Any, system: Any, _neighbors: Any) -> Any:
    """The displacement of the first atom along x: zero on average, whatever k is."""
    return system.positions[0, 0] - ANCHORS[0, 0]


QUANTITIES = {"r²": square, "bounded": bounded, "x": first}


def exact(quantity: str, k: float) -> tuple[float, float]:
    """The average and its derivative with respect to k."""
    if quantity == "r²":
        return 3.0 * THERMAL / k, -3.0 * THERMAL / k**2
    if quantity == "x":
        return 0.0, 0.0
    ratio = 2.0 * THERMAL / (k * REACH**2)
    return (1.0 + ratio) ** -1.5, 1.5 * (1.0 + ratio) ** -2.5 * ratio / k


def frames(seed: int, *, count: int, atoms: int, memory: float) -> Trajectory:
    """Frames of argon atoms, whose displacements are correlated over ``memory`` frames."""
    rng = np.random.default_rng(seed)
    stay = math.exp(-1.0 / memory) if memory else 0.0
    lead = int(10 * memory)
    noise = rng.normal(size=(count + lead, atoms, 3)) * math.sqrt(1.0 - stay**2)
    noise[0] /= math.sqrt(1.0 - stay**2)
    moved = np.asarray(lfilter([1.0], [1.0, -stay], noise, axis=0))[lead:]
    return Trajectory(
        positions=(ANCHORS[:atoms] + moved * math.sqrt(THERMAL / K))[:, None],
        numbers=np.full(atoms, 18),
        masses=np.full(atoms, 39.9),
        cells=np.eye(3) * 30.0,
        pbc=(True, True, True),
        steps=np.arange(count),
        times=np.arange(count) * 10.0,
    )


@lru_cache(maxsize=300)
def samples(seed: int, count: int, atoms: int, memory: float) -> Reweighting:
    """Of frames of the seed."""
    source = frames(seed, count=count, atoms=atoms, memory=memory)
    return Reweighting(source, HarmonicRestraint(ANCHORS[:atoms], K), temperature=TEMPERATURE, at_once=-(-count // 16))


def oscillator(
    seed: int,
    *,
    ratio: float,
    derivative: bool,
    count: int = 400,
    atoms: int = 1,
    memory: float = 0.0,
    quantity: str = "r²",
) -> Case:
    """An average for a spring ``ratio`` times as stiff, or its derivative with respect to k."""
    k = ratio * K
    source = samples(seed, count, atoms, memory)
    other = None if ratio == 1.0 else HarmonicRestraint(ANCHORS[:atoms], k)
    value, slope = exact(quantity, k)
    if not derivative:
        found = source.average(QUANTITIES[quantity], other)
        return Case(float(found.value), float(found.error), found.freedom, value)
    many: Any = source.gradient(QUANTITIES[quantity], other, explicit=False)
    return Case(float(many.gradient.k), float(many.gradient_error.k), many.gradient_freedom, slope)


def name_of(*, ratio: float, derivative: bool, count: int, atoms: int, memory: float, quantity: str) -> str:
    """Of a case in the table."""
    what = "derivative of an average" if derivative else "average"
    data = [f"{quantity} of {3 * atoms} oscillators", f"{count} frames", f"k ratio {ratio:g}"]
    return f"{'reweighted ' if ratio != 1.0 else ''}{what}, " + ", ".join(
        data + [f"memory {memory:g}"] * (memory > 0.0)
    )


EASY: list[dict[str, Any]] = [
    dict(ratio=1.0),
    dict(ratio=1.2),
    dict(ratio=1.0, atoms=10),
    dict(ratio=1.2, quantity="bounded"),
    dict(ratio=1.0, quantity="x"),
    dict(ratio=1.0, count=2000, memory=5.0),
]
HARD: list[dict[str, Any]] = [
    dict(ratio=0.45),
    dict(ratio=0.55),
    dict(ratio=0.64),
    dict(ratio=0.75),
    dict(ratio=0.85),
    dict(ratio=2.0),
    dict(ratio=1.0, count=3),
    dict(ratio=1.0, count=20),
    dict(ratio=1.2, count=100),
    dict(ratio=0.64, count=2000),
    dict(ratio=0.85, count=2000),
    dict(ratio=0.7, atoms=10),
    dict(ratio=0.85, atoms=10),
    dict(ratio=1.3, atoms=10),
    dict(ratio=0.64, quantity="bounded"),
    dict(ratio=0.85, count=2000, memory=5.0),
    dict(ratio=1.0, memory=100.0),
]
PLAIN: dict[str, Any] = dict(count=400, atoms=1, memory=0.0, quantity="r²")

CASES: dict[str, Entry] = {
    name_of(**(PLAIN | one), derivative=derivative): Entry(
        partial(oscillator, **(PLAIN | one), derivative=derivative), hard=hard
    )
    for group, hard in ((EASY, False), (HARD, True))
    for one in group
    for derivative in (False, True)
}
