"""Cases of the shear viscosity: Gaussian stress with known relaxation times; see honesty.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from honesty import Case
from honesty_series import decaying

from jaxelyte.observables import PressureTensor, SeriesResult, viscosity
from jaxelyte.observables.viscosity import SCALE

VOLUME, TEMPERATURE, INTERVAL = 2.7e4, 300.0, 5.0
Modes = Sequence[tuple[float, float]]


def stress(rng: np.random.Generator, samples: int, modes: Modes, replicas: int = 1) -> SeriesResult:
    """A stress tensor whose five components have the correlation Σ w² exp(-t / τ); modes (w in GPa, τ in fs)."""
    columns = sum(w * decaying(rng, samples, tau / INTERVAL, 5 * replicas) for w, tau in modes)
    yz, xz, xy, differs, along = np.moveaxis(np.reshape(columns, (samples, replicas, 5)), -1, 0)
    zz = 2.0 * along / np.sqrt(3.0)
    table = np.stack([differs - 0.5 * zz, -differs - 0.5 * zz, zz, yz, xz, xy], axis=-1)
    return SeriesResult(PressureTensor().columns, "GPa", INTERVAL, INTERVAL, table)


def shear(seed: int, *, samples: int, modes: Modes, replicas: int = 1) -> Case:
    """η = V/(k_B T) Σ w² τ."""
    series = stress(np.random.default_rng(seed), samples, modes, replicas)
    found = viscosity(series, temperature=TEMPERATURE, volume=VOLUME)
    exact = SCALE * VOLUME / TEMPERATURE * sum(w * w * tau for w, tau in modes)
    return Case(found.value, found.error, None, exact)


CASES: dict[str, Callable[[int], Case]] = {
    "viscosity, one mode of 200 fs, 300 ps": partial(shear, samples=60_000, modes=[(0.05, 200.0)]),
    "viscosity, 50 and 500 fs, 200 ps": partial(shear, samples=40_000, modes=[(0.1, 50.0), (0.05, 500.0)]),
    "viscosity, 50 fs and 5 ps, 1 ns": partial(shear, samples=200_000, modes=[(0.1, 50.0), (0.012, 5000.0)]),
    "viscosity, 50 fs and 8 ps, 1 ns": partial(shear, samples=200_000, modes=[(0.1, 50.0), (0.012, 8000.0)]),
    "viscosity, 50 fs and 20 ps, 1 ns": partial(shear, samples=200_000, modes=[(0.1, 50.0), (0.012, 20000.0)]),
    "viscosity, 50 fs and 8 ps, 4 replicas of 300 ps": partial(
        shear, samples=60_000, modes=[(0.1, 50.0), (0.012, 8000.0)], replicas=4
    ),
}
