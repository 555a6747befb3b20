"""Cases of biased sampling: potentials of mean force of a pair on a spring by umbrella windows and metadynamics.

The exact w(r) is ½ k (r - l)² with the constant that its mean g over the far end of the range sets; see honesty.py.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
from honesty import Case, Entry
from scipy.signal import lfilter
from scipy.special import ndtr

from jaxelyte.free_energy import UmbrellaResult, umbrella_pmf
from jaxelyte.free_energy.profile import REFERENCE
from jaxelyte.observables import PMFResult
from jaxelyte.units import BOLTZMANN

TEMPERATURE = 300.0
THERMAL = BOLTZMANN * TEMPERATURE
SPRING, LENGTH = 0.2, 4.0
"""eV/Å² and Å, of the pair."""

FINE = np.linspace(0.5, 9.0, 20_001)


def uniform(rng: np.random.Generator, count: int, memory: float) -> np.ndarray:
    """Numbers from 0 to 1, by an AR(1) series of normal ones with this memory in samples."""
    if not memory:
        return rng.random(count)
    stay = math.exp(-1.0 / memory)
    noise = math.sqrt(1.0 - stay**2) * rng.normal(size=count)
    noise[0] /= math.sqrt(1.0 - stay**2)
    return ndtr(lfilter([1.0], [1.0, -stay], noise))


def window(rng: np.random.Generator, center: float, k: float, count: int, memory: float = 0.0) -> np.ndarray:
    """Exact distances from r² exp(-β (½ K (r - l)² + ½ k (r - c)²)), by the inverse of its cumulative sum."""
    density = FINE**2 * np.exp(-(0.5 * SPRING * (FINE - LENGTH) ** 2 + 0.5 * k * (FINE - center) ** 2) / THERMAL)
    total = np.cumsum(density)
    return np.interp(uniform(rng, count, memory) * total[-1], total, FINE)


def exact_profile(edges: np.ndarray) -> np.ndarray:
    """W in the bins in eV: the mean of exp(-β w) over the volume of each, relative to that over the far end."""
    fine = np.array([np.linspace(a, b, 41) for a, b in pairwise(edges)])
    boltzmann = np.exp(-0.5 * SPRING * (fine - LENGTH) ** 2 / THERMAL)
    mean = np.sum(boltzmann * fine**2, axis=1) / np.sum(fine**2, axis=1)
    far, shell = 0.5 * (edges[1:] + edges[:-1]) > edges[-1] - REFERENCE, np.diff(edges**3)
    return THERMAL * (math.log(np.sum((mean * shell)[far]) / np.sum(shell[far])) - np.log(mean))


def deviation_at(result: PMFResult, distance: float) -> Case:
    """W in the bin at a distance."""
    n = int(np.argmin(np.abs(result.r - distance)))
    exact = exact_profile(result.distribution.edges)
    return Case(float(result.value[n]), float(result.error[n]), FREEDOM, float(exact[n]))


FREEDOM = None
"""Errors come from some sixty stretches."""


@lru_cache(maxsize=1000)
def umbrella_of(seed: int, centers: tuple[float, ...], k: float, count: int, memory: float) -> UmbrellaResult:
    """All windows from one random number generator."""
    rng = np.random.default_rng(seed)
    samples = [window(rng, center, k, count, memory) for center in centers]
    return umbrella_pmf(samples, centers, k, TEMPERATURE, width=0.2)


def umbrella(
    seed: int, *, distance: float, centers: tuple[float, ...], k: float, count: int, memory: float = 0.0
) -> Case:
    """w(r) at a distance by umbrella windows."""
    return deviation_at(umbrella_of(seed, centers, k, count, memory).pmf, distance)


FOUR = (2.8, 3.6, 4.4, 5.2)
CASES: dict[str, Entry] = {
    f"umbrella w({distance:g} Å), {title}": Entry(
        partial(umbrella, distance=distance, centers=centers, k=k, count=count, memory=memory), hard=hard
    )
    for title, centers, k, count, memory, hard in (
        ("4 windows, 400 samples", FOUR, 0.5, 400, 0.0, False),
        ("4 windows, 4000 samples, memory 5", FOUR, 0.5, 4000, 5.0, False),
        ("4 windows, 2000 samples, memory 10", FOUR, 0.5, 2000, 10.0, True),
        ("4 windows, 400 samples, memory 5", FOUR, 0.5, 400, 5.0, True),
        ("4 windows, 100 samples", FOUR, 0.5, 100, 0.0, True),
        ("2 windows that do not overlap", (2.6, 5.2), 4.0, 400, 0.0, True),
    )
    for distance in (3.0, 4.0)
}
