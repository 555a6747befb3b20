"""Responses from fluctuations: closed forms of Gaussian series, coverage of the errors, and the ideal gas."""

from __future__ import annotations

import numpy as np
import pytest

from jaxelyte.observables.fluctuations import responses
from jaxelyte.units import BOLTZMANN


def series(rng: np.random.Generator, samples: int, replicas: int, memory: float) -> tuple[np.ndarray, np.ndarray]:
    """V and H with standard deviations 50 Å³ and 2 eV and correlation 0.6, which forget exponentially."""
    noise = rng.normal(size=(samples, replicas, 2))
    for k in range(1, samples):
        noise[k] = memory * noise[k - 1] + np.sqrt(1.0 - memory**2) * noise[k]
    return 6000.0 + 50.0 * noise[..., 0], 2.0 * (0.6 * noise[..., 0] + 0.8 * noise[..., 1])


def test_gaussian_series() -> None:
    """Known variances and covariance, of correlated series, in standard errors over many draws."""
    temperature = 300.0
    kt = BOLTZMANN * temperature
    exact = {
        "compressibility": 2500.0 / (kt * 6000.0),
        "thermal_expansion": 60.0 / (kt * temperature * 6000.0),
        "heat_capacity": 4.0 / (kt * temperature),
    }
    draws: dict[str, list[tuple[float, float]]] = {name: [] for name in exact}
    for seed in range(24):
        volume, enthalpy = series(np.random.default_rng(seed), 400, 2, 0.8)
        for name, (value, error) in responses(volume, enthalpy, temperature).items():
            draws[name].append((value, float(error.error)))
    for name, found in draws.items():
        values, errors = np.array(found).T
        assert np.all(errors > 0.0)
        spread = values.std(ddof=1)
        assert abs(values.mean() - exact[name]) < 4.0 * spread / np.sqrt(24)
        # 2 σ⁴ (1 + m²) / (1 - m²) / n: 10 % of a variance; each error within a factor, their mean closer.
        assert 0.6 < errors.mean() / spread < 1.7


def test_ideal_gas() -> None:
    """N + 1 independent exponential volumes: κ_T = <V>/((N + 1) k_B T) = 1/P and α_P = 1/T, H = const + P V."""
    atoms, temperature, pressure = 50, 250.0, 1e-5
    kt = BOLTZMANN * temperature
    volume = np.random.default_rng(5).gamma(atoms + 1, kt / pressure, (20_000, 4))
    found = responses(volume, pressure * volume, temperature)
    for name, exact in (("compressibility", 1.0 / pressure), ("thermal_expansion", 1.0 / temperature)):
        value, error = found[name]
        assert float(error.error) < 0.01 * exact
        assert value == pytest.approx(exact, abs=4.0 * float(error.error))
