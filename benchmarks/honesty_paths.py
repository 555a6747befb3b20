"""Cases of free energies along other mixtures: charging, soft cores, two states; paths; see honesty.py."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
from honesty import Case, Entry
from honesty_free_energies import ATOMS, TEMPERATURE, THERMAL, springs

from jaxelyte.free_energy import FreeEnergyResult, PathResult, difference
from jaxelyte.free_energy.quadrature import nodes_and_weights


@lru_cache(maxsize=500)
def stiffer(seed: int, ratio: float, windows: int, count: int, leg: int = 1) -> FreeEnergyResult:
    """Springs that become stiffer by a ratio."""
    lam, weights = nodes_and_weights(windows, "clenshaw-curtis")
    rng = np.random.default_rng([seed, leg])
    return difference(springs(rng, lam, ratio, count), lam, TEMPERATURE, weights=weights)


def one_sided(seed: int, *, which: str, ratio: float, windows: int, count: int) -> Case:
    """An exponential average, or the difference of both."""
    result = stiffer(seed, ratio, windows, count)
    if which == "hysteresis":
        return Case(*result.hysteresis, None, 0.0)
    return Case(*result.estimates[which], result.freedom[which], 1.5 * ATOMS * THERMAL * math.log(ratio))


def path(seed: int, *, legs: int, ratio: float, windows: int, count: int) -> Case:
    """The sum of several legs, each with its own samples."""
    result = PathResult(tuple(stiffer(seed, ratio, windows, count, leg) for leg in range(legs)))
    return Case(result.value, result.error, result.freedom, legs * 1.5 * ATOMS * THERMAL * math.log(ratio))


@lru_cache(maxsize=500)
def linear_response(seed: int, width: float, windows: int, count: int) -> FreeEnergyResult:
    """Charging a solute whose solvent answers linearly: Gaussians of one width (k_B T) about -width² λ."""
    lam, weights = nodes_and_weights(windows, "clenshaw-curtis")
    rng = np.random.default_rng(seed)
    gaps = [THERMAL * rng.normal(-one * width**2, width, count) for one in lam]
    return difference(gaps, lam, TEMPERATURE, weights=weights)


def charging(seed: int, *, estimator: str, width: float, windows: int, count: int) -> Case:
    """-σ²/2 k_B T by one estimator."""
    result = linear_response(seed, width, windows, count)
    return Case(*result.estimates[estimator], result.freedom[estimator], -0.5 * width**2 * THERMAL)


@lru_cache(maxsize=500)
def two_states(seed: int, windows: int, count: int) -> FreeEnergyResult:
    """U1 - U0 = 0 or -6 k_B T, weights 1 and e⁻² at λ = 0: <dU/dλ> is a sigmoid, which no rule integrates exactly."""
    lam, weights = nodes_and_weights(windows, "trapezoid")
    rng, chance = np.random.default_rng(seed), 1.0 / (1.0 + np.exp(2.0 - 6.0 * lam))
    gaps = [-6.0 * THERMAL * (rng.random(count) < p) for p in chance]
    return difference(gaps, lam, TEMPERATURE, weights=weights)


def sigmoid(seed: int, *, estimator: str, windows: int, count: int) -> Case:
    """-k_B T ln((1 + e⁴)/(1 + e⁻²)) by one estimator."""
    exact = -THERMAL * math.log((1.0 + math.exp(4.0)) / (1.0 + math.exp(-2.0)))
    result = two_states(seed, windows, count)
    return Case(*result.estimates[estimator], result.freedom[estimator], exact)


RADII = np.linspace(1e-3, 5.0, 20_001)
"""Å, of a particle that appears in a sphere about a fixed one."""


def soft_core(coupling: float) -> np.ndarray:
    """Energies in k_B T at `RADII`: 4ε c (s⁻² - s⁻¹), s = (1 - c)/2 + (r/σ)⁶, with ε of two k_B T and σ of 3.4 Å."""
    s = 0.5 * (1.0 - coupling) + (RADII / 3.4) ** 6
    return 8.0 * coupling * (s**-2 - 1.0 / s)


@lru_cache(maxsize=500)
def appearing(seed: int, couplings: tuple[float, ...], windows: int, count: int) -> PathResult:
    """A path of linear mixtures between couplings, sampled by the inverse of the cumulative distribution."""
    lam, weights = nodes_and_weights(windows, "clenshaw-curtis")
    rng, legs = np.random.default_rng(seed), []
    for first, last in pairwise(couplings):
        ends, gaps = (soft_core(first), soft_core(last)), []
        for one in lam:
            energy = (1.0 - one) * ends[0] + one * ends[1]
            total = np.cumsum(RADII**2 * np.exp(-energy + energy.min()))
            r = np.interp(rng.random(count) * total[-1], total, RADII)
            gaps.append(THERMAL * (np.interp(r, RADII, ends[1]) - np.interp(r, RADII, ends[0])))
        legs.append(difference(gaps, lam, TEMPERATURE, weights=weights))
    return PathResult(tuple(legs))


def particle(seed: int, *, couplings: tuple[float, ...], windows: int, count: int) -> Case:
    """-k_B T ln of the ratio of the integrals, by MBAR."""
    result = appearing(seed, couplings, windows, count)
    integrals = [np.sum(RADII**2 * np.exp(-soft_core(one))) for one in (couplings[0], couplings[-1])]
    return Case(result.value, result.error, result.freedom, -THERMAL * math.log(integrals[1] / integrals[0]))


ONE_SIDED = ("Zwanzig forward", "Zwanzig backward", "hysteresis")

CASES: dict[str, Entry] = {
    **{
        f"{name}, springs 1:{ratio:g}, {windows} windows, 400 samples": Entry(
            partial(one_sided, which=name, ratio=ratio, windows=windows, count=400), hard=ratio > 2.0
        )
        for ratio, windows in ((2.0, 8), (3.0, 8), (100.0, 8))
        for name in ONE_SIDED
    },
    **{
        f"{name}, charging by linear response, σ = {width:g} k_BT, {windows} windows, 200 samples": Entry(
            partial(charging, estimator=name, width=width, windows=windows, count=200), hard=hard
        )
        for width, windows, hard in ((4.0, 5, False), (10.0, 3, True))
        for name in ("TI", "BAR", "MBAR")
    },
    **{
        f"{name}, two states, {windows} windows, 400 samples": Entry(
            partial(sigmoid, estimator=name, windows=windows, count=400), hard=True
        )
        for windows in (2, 4, 8)
        for name in ("TI", "MBAR")
    },
    "path of two legs, springs 1:3:9, 5 windows, 200 samples": Entry(
        partial(path, legs=2, ratio=3.0, windows=5, count=200)
    ),
    "path of four legs, springs 1:2:4:8:16, 4 windows, 100 samples": Entry(
        partial(path, legs=4, ratio=2.0, windows=4, count=100)
    ),
    "path, soft core from 0 over 1/2 to 1, 6 windows, 400 samples": Entry(
        partial(particle, couplings=(0.0, 0.5, 1.0), windows=6, count=400)
    ),
    "path, soft core from 0 to 1, 4 windows, 400 samples": Entry(
        partial(particle, couplings=(0.0, 1.0), windows=4, count=400), hard=True
    ),
}
