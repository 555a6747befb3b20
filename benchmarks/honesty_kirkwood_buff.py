"""Cases of Kirkwood-Buff integrals: ideal dimers, and an ideal gas; see honesty.py.

Of N ideal A-B dimers in a volume V, G_AA = G_BB = 0, G_AB = V/N, and 1 + d ln γ / d ln c = 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from honesty import Case

import jaxelyte as jxl
from jaxelyte.observables.integrals import Correction

WIDTH, BEYOND = 0.2, 2.2
"""Å, of the bins, and how far g goes beyond half the box."""

FREEDOM = 15
"""Of the errors of derived quantities: g comes in 16 stretches."""


def curves(seed: int, *, count: int, edge: float, bound: bool, frames: int = 400) -> jxl.RDFResult:
    """G of frames that are independent of each other: pairs a Å apart along each axis, or free."""
    rng = np.random.default_rng(seed)
    first = rng.random((frames, count, 3)) * edge
    second = first + rng.normal(size=first.shape) if bound else rng.random(first.shape) * edge
    positions = np.concatenate([first, second], axis=1)[:, None]
    numbers, masses = np.repeat([11, 17], count), np.full(2 * count, 30.0)
    times = np.arange(frames)
    run = jxl.Trajectory(positions, numbers, masses, np.eye(3) * edge, (True, True, True), times, times.astype(float))
    pairs = [("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")]
    return jxl.rdf(run, pairs=pairs, r_max=edge / 2 + BEYOND, width=WIDTH)


def integral(seed: int, *, count: int, edge: float, bound: bool, correction: Correction = "background") -> Case:
    """G of unlike atoms."""
    found = jxl.kirkwood_buff(curves(seed, count=count, edge=edge, bound=bound), correction=correction)
    return Case(*found["Na", "Cl"], FREEDOM, edge**3 / count if bound else 0.0)


def derivative(seed: int, *, count: int, edge: float, bound: bool, correction: Correction = "background") -> Case:
    """1 + d ln γ / d ln c, as of a salt without solvent."""
    g = curves(seed, count=count, edge=edge, bound=bound)
    names = ("cation_cation", "cation_anion", "anion_anion")
    stretches = {name: g.stretches[:, n] for n, name in enumerate(names)}
    found = jxl.activity_derivative(r=g.r, **stretches, density=count / edge**3, box_length=edge, correction=correction)
    return Case(found.value, found.error, FREEDOM, 0.5 if bound else 1.0)


CASES: dict[str, Callable[[int], Case]] = {
    f"Kirkwood-Buff, {what} of {count} {name}": partial(case, count=count, edge=edge, bound=bound)
    for what, case in (("G", integral), ("derivative", derivative))
    for count, edge in ((8, 20.0), (24, 27.0))
    for name, bound in (("ideal dimers", True), ("free pairs", False))
}
