"""Cases of means and drifts of time series; see honesty.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from honesty import Case
from scipy.signal import lfilter

from jaxelyte.dynamics.summary import conserved_drift
from jaxelyte.observables import SeriesResult, block_error


def decaying(rng: np.random.Generator, count: int, tau: float, replicas: int = 1) -> np.ndarray:
    """Stationary noise of variance 1 whose correlation is exp(-t / tau), (count, replicas); white for tau = 0."""
    keep = np.exp(-1.0 / tau) if tau > 0 else 0.0
    kicks = rng.normal(size=(count, replicas))
    kicks[1:] *= np.sqrt(1.0 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], kicks, axis=0))


def mean(seed: int, *, count: int, tau: float, replicas: int = 1, slow: tuple[float, float] | None = None) -> Case:
    """The mean of a series of known memory; ``slow``: strength and time of a second part."""
    rng = np.random.default_rng(seed)
    values = decaying(rng, count, tau, replicas)
    if slow is not None:
        values = values + slow[0] * decaying(rng, count, slow[1], replicas)
    freedom = replicas - 1 if count == 1 else None
    return Case(float(values.mean()), float(block_error(values).error), freedom, 0.0)


def recorded(seed: int) -> Case:
    """One column of a recorded series."""
    values = decaying(np.random.default_rng(seed), 2000, 20.0)[:, :, None]
    result = SeriesResult(("x",), "Å", 1.0, 1.0, values)
    return Case(float(result.mean[0]), float(result.error[0]), None, 0.0)


def drift(seed: int, *, rows: int, walk: float, noise: float, replicas: int = 1) -> Case:
    """The drift of a conserved quantity that has none: noise, and a walk by rounding."""
    rng = np.random.default_rng(seed)
    energy = noise * rng.normal(size=(rows, replicas)) + walk * np.cumsum(rng.normal(size=(rows, replicas)), axis=0)
    slope, error, _ = conserved_drift({"time": np.arange(rows) * 1e6, "conserved": energy}, 1)
    return Case(slope, error, replicas - 1 if replicas >= 4 else None, 0.0)


CASES: dict[str, Callable[[int], Case]] = {
    "mean, 16 independent values": partial(mean, count=16, tau=0.0),
    "mean, 100 independent values": partial(mean, count=100, tau=0.0),
    "mean, one value of 8 replicas": partial(mean, count=1, tau=0.0, replicas=8),
    "mean, 100 values of 4 replicas, memory 5": partial(mean, count=100, tau=5.0, replicas=4),
    "mean, 2000 values, memory 5": partial(mean, count=2000, tau=5.0),
    "mean, 1000 values, memory 20": partial(mean, count=1000, tau=20.0),
    "mean, 500 values, memory 20": partial(mean, count=500, tau=20.0),
    "mean, 4000 values, memories 0 and 100": partial(mean, count=4000, tau=0.0, slow=(0.3, 100.0)),
    "mean, 1000 values, memory 1000": partial(mean, count=1000, tau=1000.0),
    "mean, series recorded in a run": recorded,
    "drift, independent noise": partial(drift, rows=200, walk=0.0, noise=1.0),
    "drift, a walk that shows": partial(drift, rows=200, walk=1.0, noise=1.0),
    "drift, a walk that hardly shows": partial(drift, rows=200, walk=0.05, noise=1.0),
    "drift, 8 replicas that walk": partial(drift, rows=100, walk=1.0, noise=3.0, replicas=8),
}
