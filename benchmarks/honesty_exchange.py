"""Cases of windows that exchange structures, half of whose fluctuations are slow; see honesty.py.

U0 = (s² + x²)/2 k_B T and U1 - U0 = 0.7 (s + x) k_B T, x fresh at each sample, s of a correlation time: U_λ is a well
around -0.7 λ in both, and ΔF = -0.49 k_B T.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
from honesty import Case, Entry
from honesty_free_energies import ESTIMATORS, TEMPERATURE, THERMAL

from jaxelyte.free_energy import FreeEnergyResult, difference
from jaxelyte.free_energy.quadrature import nodes_and_weights

SEEDS, SLOPE = 200, 0.7


def exchanging(
    rng: np.random.Generator, lam: np.ndarray, *, count: int, memory: float, seeds: int, exchange: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """U1 - U0 in eV of each window, and which walker was in it; (seeds, samples, windows) both.

    Neighbouring windows attempt to exchange at each sample, even and odd pairs in turn; the gap of the sample is that
    before the attempt, of the window the walker is in afterwards, as in a run.
    """
    windows, rows, stay = len(lam), np.arange(seeds), math.exp(-1.0 / memory)
    held = np.tile(np.arange(windows), (seeds, 1))  # window of each walker
    s = -SLOPE * lam + rng.normal(size=held.shape)
    gaps, walkers = np.empty((count, seeds, windows)), np.empty((count, seeds, windows), int)
    for n in range(count):
        middle = -SLOPE * lam[held]
        s = middle + stay * (s - middle) + math.sqrt(1.0 - stay**2) * rng.normal(size=s.shape)
        gap = SLOPE * (s + middle + rng.normal(size=s.shape))
        inside = np.argsort(held, axis=1)
        for pair in range(n % 2, windows - 1, 2) if exchange else ():
            low, high = inside[:, pair], inside[:, pair + 1]
            rise = (lam[pair] - lam[pair + 1]) * (gap[rows, low] - gap[rows, high])
            accepted = rng.random(seeds) < np.exp(np.minimum(0.0, rise))
            held[rows, low] = pair + accepted
            held[rows, high] = pair + 1 - accepted
        np.put_along_axis(gaps[n], held, THERMAL * gap, axis=1)
        np.put_along_axis(walkers[n], held, np.broadcast_to(np.arange(windows), held.shape), axis=1)
    return gaps.transpose(1, 0, 2), walkers.transpose(1, 0, 2)


@lru_cache(maxsize=2)
def data(windows: int, count: int, memory: float) -> tuple[np.ndarray, np.ndarray]:
    """Of all seeds at once."""
    lam, _ = nodes_and_weights(windows, "clenshaw-curtis")
    return exchanging(np.random.default_rng(5), lam, count=count, memory=memory, seeds=SEEDS)


@lru_cache(maxsize=2 * SEEDS)
def result_of(seed: int, windows: int, count: int, memory: float) -> FreeEnergyResult:
    """The free energy from the samples of a seed."""
    lam, weights = nodes_and_weights(windows, "clenshaw-curtis")
    gaps, walkers = (one[seed] for one in data(windows, count, memory))
    return difference(list(gaps.T), lam, TEMPERATURE, weights=weights, walkers=walkers)


def free_energy(seed: int, *, estimator: str, windows: int, count: int, memory: float) -> Case:
    """-0.49 k_B T by one estimator."""
    result = result_of(seed, windows, count, memory)
    return Case(*result.estimates[estimator], result.freedom[estimator], -(SLOPE**2) * THERMAL)


def gradient(seed: int, *, window: int, windows: int, count: int, memory: float) -> Case:
    """<dU/dλ> of a window, -0.98 λ k_B T."""
    result = result_of(seed, windows, count, memory)
    exact = -2.0 * SLOPE**2 * float(result.lam[window]) * THERMAL
    return Case(
        float(result.gradient[window]),
        float(result.gradient_error[window]),
        float(result.gradient_freedom[window]),
        exact,
    )


CASES: dict[str, Entry] = {}
for _windows, _count, _memory, _hard in ((3, 4000, 20.0, False), (8, 1500, 30.0, True), (5, 2000, 5.0, False)):
    _settings = {"windows": _windows, "count": _count, "memory": _memory}
    _title = f"exchange between {_windows} windows, {_count} samples, half with memory {_memory:g}"
    CASES |= {
        f"{name}, {_title}": Entry(partial(free_energy, estimator=name, **_settings), hard=_hard) for name in ESTIMATORS
    }
    CASES[f"<dU/dλ> of window 1, {_title}"] = Entry(partial(gradient, window=1, **_settings), hard=_hard)
