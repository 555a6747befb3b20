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
from scipy.special import logsumexp, ndtr

from jaxelyte.free_energy import UmbrellaResult, umbrella_pmf
from jaxelyte.free_energy.insertion import average_of_insertions, doubt_of_insertions
from jaxelyte.free_energy.metadynamics import weighted_profile
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


@lru_cache(maxsize=2)
def walks(steps: int, walkers: int, seeds: int = 200) -> np.ndarray:
    """(samples, seeds, walkers, 3): distance, bias and offset of overdamped walkers under a bias that grows.

    Well-tempered metadynamics of all seeds at once from 1.5 to 7 Å: γ = 6, Gaussians of 0.01 eV and 0.2 Å each 50
    steps.
    """
    rng, grid, width, factor = np.random.default_rng(12), np.arange(1.5, 7.0 + 1e-9, 0.05), 0.05, 5.0
    bias, r, rows = np.zeros((seeds, len(grid))), np.full((seeds, walkers), 3.0), np.arange(seeds)[:, None]
    found = []
    for step in range(steps):
        place = np.clip((r - grid[0]) / width, 0.0, len(grid) - 1.001)
        node, part = place.astype(int), place % 1.0
        low, high = bias[rows, node], bias[rows, node + 1]
        energy = low + part * (high - low)
        if step >= 0.3 * steps and step % 10 == 0:
            reduced = bias / THERMAL
            sums = (np.asarray(logsumexp(reduced * (share + 1.0 / factor), axis=1)) for share in (1.0, 0.0))
            offset = THERMAL * np.subtract(*sums)
            found.append(np.stack([r, energy, np.broadcast_to(offset[:, None], r.shape)], axis=-1))
        walls = 10.0 * (np.maximum(r - grid[-1], 0.0) + np.minimum(r - grid[0], 0.0))
        force = -SPRING * (r - LENGTH) + 2.0 * THERMAL / r - (high - low) / width - walls
        if step % 50 == 0:
            height = 0.01 * np.exp(-energy / (THERMAL * factor)) * ((r > grid[0]) & (r < grid[-1]))
            gaussians = np.exp(-0.5 * ((grid - r[..., None]) / 0.2) ** 2)
            bias = bias + np.sum(height[..., None] * gaussians, axis=1)
        r = r + MOBILITY / THERMAL * force + math.sqrt(2.0 * MOBILITY) * rng.normal(size=r.shape)
    return np.array(found)


MOBILITY = 0.002
"""Å² in a step."""


def metadynamics(seed: int, *, distance: float, steps: int, walkers: int) -> Case:
    """w(r) at a distance by metadynamics."""
    values = walks(steps, walkers)[:, seed]
    return deviation_at(weighted_profile(values, TEMPERATURE, range_=(1.5, 7.0), bins=0.2)[0], distance)


def insertion(seed: int, *, frames: int, replicas: int, memory: float, width: float, kind: str = "normal") -> Case:
    """μ_ex where each frame has its own mean of exp(-ΔU/k_B T), and insertions scatter about it.

    The mean is log-normal, of a gamma distribution of the shape 1/width², or fifty times as large in one of fifty
    frames.
    """
    rng = np.random.default_rng(seed)
    if kind == "gamma":
        level = rng.gamma(1.0 / width**2, width**2, frames) * math.exp(0.5 * width**2)
    elif kind == "rare":
        level = np.where(rng.random(frames) < 0.02, 50.0, 1.0) / 1.98 * math.exp(0.5 * width**2)
    else:
        stay = math.exp(-1.0 / memory) if memory else 0.0
        noise = math.sqrt(1.0 - stay**2) * rng.normal(size=(replicas, frames))
        noise[:, 0] /= math.sqrt(1.0 - stay**2)
        level = np.exp(width * np.ravel(lfilter([1.0], [1.0, -stay], noise)))
    sums = np.stack([1000.0 * level * rng.poisson(20.0, level.shape) / 20.0, np.full(level.shape, 1000.0)], axis=1)
    value, error = average_of_insertions(sums, replicas, 1.0 / THERMAL)
    if doubt_of_insertions(sums, replicas, 10**6):
        error = math.nan
    return Case(value, error, None, -0.5 * width**2 * THERMAL)


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
CASES |= {
    f"metadynamics w({distance:g} Å), {walkers} walkers, {steps} steps": Entry(
        partial(metadynamics, distance=distance, steps=steps, walkers=walkers), hard=steps < 30_000
    )
    for steps, walkers in ((60_000, 4), (20_000, 1))
    for distance in (3.0, 4.0, 5.0)
}
CASES |= {
    f"insertion, {frames} frames of {replicas} replica(s), memory {memory:g}, scatter {width:g} k_BT": Entry(
        partial(insertion, frames=frames, replicas=replicas, memory=memory, width=width),
        hard=hard,
        seeds=seeds,
    )
    for frames, replicas, memory, width, hard, seeds in (
        (200, 2, 0.0, 0.5, False, 200),
        (1000, 2, 5.0, 0.5, False, 200),
        (40, 1, 0.0, 0.5, False, 200),
        (200, 1, 0.0, 1.0, True, 800),
        (1000, 1, 10.0, 1.0, True, 800),
        (300, 1, 0.0, 1.5, True, 800),
        (1000, 1, 0.0, 1.5, True, 800),
        (100, 1, 0.0, 1.5, True, 800),
        (3, 1, 0.0, 0.5, True, 200),
    )
}
CASES |= {
    f"insertion, {frames} frames, {title}": Entry(
        partial(insertion, frames=frames, replicas=1, memory=0.0, width=width, kind=kind), hard=True
    )
    for frames, title, width, kind in (
        (300, "gamma distribution of shape 0.2", 5.0**0.5, "gamma"),
        (1000, "one of fifty frames with room", 0.0, "rare"),
    )
}
