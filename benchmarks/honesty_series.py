"""Cases of means and drifts of time series; see honesty.py.

Errors of easy series are taken as they are printed: the mean is off by less with a probability of 68 %. Series that are
short against their memory have few degrees of freedom, which `block_error` gives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from honesty import Case, Entry
from scipy.signal import lfilter

from jaxelyte.dynamics.summary import averages, conserved_drift
from jaxelyte.observables import SeriesResult, block_error, standard_error

Noise = Callable[[np.random.Generator, int, int], np.ndarray]
"""Stationary noise of mean 0, (count, replicas)."""


def decaying(rng: np.random.Generator, count: int, tau: float, replicas: int = 1) -> np.ndarray:
    """Stationary noise of variance 1 whose correlation is exp(-t / tau), (count, replicas); white for tau = 0."""
    keep = np.exp(-1.0 / tau) if tau > 0 else 0.0
    kicks = rng.normal(size=(count, replicas))
    kicks[1:] *= np.sqrt(1.0 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], kicks, axis=0))


def memory(tau: float, slow: tuple[float, float] | None = None) -> Noise:
    """Exponential memory; ``slow``: strength and time of a second part."""

    def noise(rng: np.random.Generator, count: int, replicas: int) -> np.ndarray:
        values = decaying(rng, count, tau, replicas)
        return values if slow is None else values + slow[0] * decaying(rng, count, slow[1], replicas)

    return noise


def oscillating(period: float, damping: float) -> Noise:
    """A damped oscillator that is kicked at random."""
    keep, omega = np.exp(-1.0 / damping), 2.0 * np.pi / period

    def noise(rng: np.random.Generator, count: int, replicas: int) -> np.ndarray:
        before = int(8 * damping)
        kicks = rng.normal(size=(count + before, replicas))
        return np.asarray(lfilter([1.0], [1.0, -2.0 * keep * np.cos(omega), keep**2], kicks, axis=0))[before:]

    return noise


def bounded(tau: float, omega: float = 0.0) -> Noise:
    """The cosine of an angle that diffuses, and turns."""

    def noise(rng: np.random.Generator, count: int, replicas: int) -> np.ndarray:
        steps = omega + np.sqrt(2.0 / tau) * rng.normal(size=(count, replicas))
        return np.cos(2.0 * np.pi * rng.random(replicas) + np.cumsum(steps, axis=0))

    return noise


def visits(share: float, tau: float) -> Noise:
    """A state that is visited for a share of the time, less that share; memory exp(-t / tau)."""

    def noise(rng: np.random.Generator, count: int, replicas: int) -> np.ndarray:
        inside, found = rng.random(replicas) < share, np.empty((count, replicas))
        enter, leave = share / tau, (1.0 - share) / tau
        for i, draw in enumerate(rng.random((count, replicas))):
            found[i] = inside
            inside = np.where(inside, draw >= leave, draw < enter)
        return found - share

    return noise


def heavy(rng: np.random.Generator, count: int, replicas: int) -> np.ndarray:
    """Independent values of Student's t with three degrees of freedom: no fourth moment."""
    return rng.standard_t(3, size=(count, replicas))


def mean(seed: int, *, noise: Noise, count: int, replicas: int = 1, few: bool = False) -> Case:
    """The mean of a series; ``few``: the error has few degrees of freedom."""
    values = noise(np.random.default_rng(seed), count, replicas)
    found = block_error(values)
    return Case(float(values.mean()), float(found.error), float(found.freedom) if few else None, 0.0)


def column(seed: int) -> Case:
    """One column of a recorded series."""
    values = decaying(np.random.default_rng(seed), 2000, 20.0)[:, :, None]
    result = SeriesResult(("x",), "Å", 1.0, 1.0, values)
    return Case(float(result.mean[0]), float(result.error[0]), None, 0.0)


def alone(seed: int) -> Case:
    """`standard_error` of a series without replicas."""
    values = decaying(np.random.default_rng(seed), 1000, 8.0)[:, 0]
    return Case(float(values.mean()), float(standard_error(values)), None, 0.0)


def summary(seed: int, *, quantity: str) -> Case:
    """A mean of the summary of a run, from its log."""
    rng = np.random.default_rng(seed)
    columns = {name: 5.0 + decaying(rng, 600, 6.0, 2) for name in ("temperature", "potential", "conserved")}
    log = {"step": np.arange(600), "time": np.arange(600) * 10.0, **columns}
    found = averages(log, 10, thermostat=300.0, discard=100)[quantity]
    return Case(found["value"], np.nan if found["error"] is None else found["error"], None, 5.0)


def drift(seed: int, *, rows: int, walk: float, noise: float, replicas: int = 1) -> Case:
    """The drift of a conserved quantity that has none: noise, and a walk by rounding."""
    rng = np.random.default_rng(seed)
    energy = noise * rng.normal(size=(rows, replicas)) + walk * np.cumsum(rng.normal(size=(rows, replicas)), axis=0)
    slope, error, _ = conserved_drift({"time": np.arange(rows) * 1e6, "conserved": energy}, 1)
    return Case(slope, error, replicas - 1, 0.0)


def easy(noise: Noise, count: int, replicas: int = 1) -> Entry:
    """A mean whose error bar has to be there."""
    return Entry(partial(mean, noise=noise, count=count, replicas=replicas))


def hard(noise: Noise, count: int, replicas: int = 1, *, few: bool = False) -> Entry:
    """A mean whose error bar may be refused."""
    return Entry(partial(mean, noise=noise, count=count, replicas=replicas, few=few), hard=True)


CASES: dict[str, Entry] = {
    "mean, 8 independent values": easy(memory(0.0), 8),
    "mean, 16 independent values": easy(memory(0.0), 16),
    "mean, 100 independent values": easy(memory(0.0), 100),
    "mean, 10000 independent values": easy(memory(0.0), 10000),
    "mean, one value of 8 replicas": Entry(partial(mean, noise=memory(0.0), count=1, replicas=8, few=True)),
    "mean, 3 values of 4 replicas": easy(memory(0.0), 3, 4),
    "mean, 100 values of 4 replicas, memory 5": easy(memory(5.0), 100, 4),
    "mean, 2000 values, memory 5": easy(memory(5.0), 2000),
    "mean, 1000 values, memory 20": easy(memory(20.0), 1000),
    "mean, 500 values, memory 20": hard(memory(20.0), 500),
    "mean, 100 values of 8 replicas, memory 100": hard(memory(100.0), 100, 8, few=True),
    "mean, 1000 values, memory 100": hard(memory(100.0), 1000, few=True),
    "mean, 1000 values, memory 1000": hard(memory(1000.0), 1000),
    "mean, 4000 values, memories 0 and 100": easy(memory(0.0, (0.3, 100.0)), 4000),
    "mean, 1000 values, memories 0 and 30, a fifth as strong": hard(memory(0.0, (0.2, 30.0)), 1000),
    "mean, 2000 values, memories 2 and 50": easy(memory(2.0, (0.5, 50.0)), 2000),
    "mean, 1000 values, period 10, damping 5": easy(oscillating(10.0, 5.0), 1000),
    "mean, 1000 values, period 30, damping 100": easy(oscillating(30.0, 100.0), 1000),
    "mean, 2000 values, period 100, damping 100": hard(oscillating(100.0, 100.0), 2000),
    "mean, 1000 values of a cosine, memory 20": easy(bounded(20.0), 1000),
    "mean, 1000 values of a turning cosine": easy(bounded(50.0, 0.2), 1000),
    "mean, 200 values with heavy tails": easy(heavy, 200),
    "mean, 1000 values, two states": easy(visits(0.5, 20.0), 1000),
    "mean, 2000 values, a fifth in a rare state": hard(visits(0.2, 20.0), 2000),
    "mean, 4000 values, ten visits of a rare state": hard(visits(0.05, 20.0), 4000),
    "mean, recorded series": Entry(column),
    "mean, standard_error": Entry(alone),
    "mean, temperature of a summary": Entry(partial(summary, quantity="temperature")),
    "mean, potential energy of a summary": Entry(partial(summary, quantity="potential")),
    "drift, independent noise of one replica": Entry(partial(drift, rows=200, walk=0.0, noise=1.0), hard=True),
    "drift, one replica that walks": Entry(partial(drift, rows=200, walk=1.0, noise=1.0), hard=True),
    "drift, a walk that hardly shows, one replica": Entry(partial(drift, rows=200, walk=0.05, noise=1.0), hard=True),
    "drift, a walk that hardly shows, 4 replicas": Entry(partial(drift, rows=200, walk=0.05, noise=1.0, replicas=4)),
    "drift, 8 replicas that walk": Entry(partial(drift, rows=100, walk=1.0, noise=3.0, replicas=8)),
}
