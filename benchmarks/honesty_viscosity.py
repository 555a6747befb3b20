"""Cases of the shear viscosity: Gaussian stress with known relaxation times; see honesty.py."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from honesty import Case, Entry
from honesty_series import decaying
from scipy.signal import lfilter

from jaxelyte.observables import PressureTensor, SeriesResult, viscosity
from jaxelyte.observables.viscosity import SCALE

VOLUME, TEMPERATURE = 2.7e4, 300.0
Modes = Sequence[tuple[float, float]]


def stress(
    rng: np.random.Generator, samples: int, interval: float, modes: Modes, replicas: int, period: float
) -> SeriesResult:
    """A stress tensor whose five components have the correlation Σ w² exp(-t / τ); modes (w in GPa, τ in fs).

    With a period in fs the first mode oscillates.
    """
    columns = np.zeros((samples, 5 * replicas))
    for n, (w, tau) in enumerate(modes):
        if n or not period:
            columns += w * decaying(rng, samples, tau / interval, 5 * replicas)
            continue
        # The real part of a complex process with correlation exp(-t/τ + iωt).
        keep = np.exp((-1.0 / tau + 2j * np.pi / period) * interval)
        kicks = rng.normal(size=(2, samples, 5 * replicas))
        kicks[:, 1:] *= np.sqrt(1.0 - abs(keep) ** 2)
        columns += w * np.real(lfilter([1.0], [1.0, -keep], kicks[0] + 1j * kicks[1], axis=0))
    yz, xz, xy, differs, along = np.moveaxis(np.reshape(columns, (samples, replicas, 5)), -1, 0)
    zz = 2.0 * along / np.sqrt(3.0)
    table = np.stack([differs - 0.5 * zz, -differs - 0.5 * zz, zz, yz, xz, xy], axis=-1)
    return SeriesResult(PressureTensor().columns, "GPa", interval, interval, table)


def shear(
    seed: int,
    *,
    samples: int,
    modes: Modes,
    interval: float = 20.0,
    replicas: int = 1,
    period: float = 0.0,
) -> Case:
    """η = V/(k_B T) Σ w² τ, by trapezoids."""
    series = stress(np.random.default_rng(seed), samples, interval, modes, replicas, period)
    found = viscosity(series, temperature=TEMPERATURE, volume=VOLUME)
    total = 0.0
    for n, (w, tau) in enumerate(modes):
        turn = 2j * np.pi / period if period and not n else 0.0
        keep = np.exp((-1.0 / tau + turn) * interval)
        total += w * w * interval * (0.5 * (1.0 + keep) / (1.0 - keep)).real
    return Case(found.value, found.error, found.freedom or None, SCALE * VOLUME / TEMPERATURE * total)


FAST = (0.1, 100.0)
BORDERLINE = (
    "one mode of 200 fs, 300 ps",
    "100 fs and 5 ps, 5 ns",
    "one mode of 200 fs, 10 ps",
    "100 fs and 20 ps, 1 ns",
    "100 fs and 8 ps of the same strength, 500 ps",
)
"""Cases whose root mean square lies within the scatter of 200 seeds of a bound: 800."""


def _entries() -> dict[str, Entry]:
    cases: dict[str, tuple[dict[str, object], bool]] = {
        "one mode of 200 fs, 300 ps": ({"samples": 15_000, "modes": [(0.05, 200.0)]}, False),
        "one mode of 200 fs, 40 ps": ({"samples": 2000, "modes": [(0.05, 200.0)]}, False),
        "100 fs and 1 ps, 200 ps": ({"samples": 10_000, "modes": [FAST, (0.05, 1000.0)]}, False),
        "100 fs and 5 ps, 1 ns": ({"samples": 20_000, "interval": 50.0, "modes": [FAST, (0.02, 5000.0)]}, False),
        "100 fs and 5 ps, 5 ns": ({"samples": 50_000, "interval": 100.0, "modes": [FAST, (0.02, 5000.0)]}, False),
        "vibration of 20 fs and 1 ps, 200 ps": (
            {"samples": 40_000, "interval": 5.0, "modes": [(0.3, 100.0), (0.05, 1000.0)], "period": 20.0},
            False,
        ),
        "100 fs and 5 ps, 4 replicas of 250 ps": (
            {"samples": 12_500, "modes": [FAST, (0.02, 5000.0)], "replicas": 4},
            False,
        ),
        "three modes to 8 ps, 1 ns": (
            {"samples": 20_000, "interval": 50.0, "modes": [FAST, (0.04, 1000.0), (0.02, 8000.0)]},
            False,
        ),
        "five modes from 100 fs to 5 ps, 500 ps": (
            {"samples": 10_000, "interval": 50.0, "modes": [(0.05 / tau**0.5, 1e2 * tau) for tau in (1, 3, 8, 20, 50)]},
            False,
        ),
        "50 fs and 5 ps, 1 ns": ({"samples": 50_000, "modes": [(0.14, 50.0), (0.0115, 5000.0)]}, True),
        "50 fs and 8 ps, 1 ns": ({"samples": 50_000, "modes": [(0.14, 50.0), (0.0091, 8000.0)]}, True),
        "100 fs and 8 ps of the same strength, 500 ps": (
            {"samples": 10_000, "interval": 50.0, "modes": [FAST, (0.0112, 8000.0)]},
            True,
        ),
        "one mode of 200 fs, 10 ps": ({"samples": 500, "modes": [(0.05, 200.0)]}, True),
        "100 fs and 8 ps, 1 ns": ({"samples": 20_000, "interval": 50.0, "modes": [FAST, (0.012, 8000.0)]}, True),
        "100 fs and 2 ps, weak, 250 ps": ({"samples": 12_500, "modes": [FAST, (0.015, 2000.0)]}, True),
        "100 fs and 8 ps, 16 replicas of 60 ps": (
            {"samples": 3000, "modes": [FAST, (0.02, 8000.0)], "replicas": 16},
            True,
        ),
        "100 fs and 20 ps, 1 ns": ({"samples": 20_000, "interval": 50.0, "modes": [FAST, (0.012, 20_000.0)]}, True),
        "100 fs and 200 ps, 1 ns": ({"samples": 20_000, "interval": 50.0, "modes": [FAST, (0.012, 2e5)]}, True),
    }
    return {
        f"viscosity, {name}": Entry(partial(shear, **options), hard=hard, seeds=800 if name in BORDERLINE else 200)  # pyright: ignore[reportArgumentType]
        for name, (options, hard) in cases.items()
    }


CASES: dict[str, Entry] = _entries()
