"""Responses to pressure and temperature from fluctuations at constant pressure.

    κ_T = Var(V) / (k_B T <V>),    α_P = Cov(V, H) / (k_B T² <V>),    C_P = Var(H) / (k_B T²),    H = U + K + P V

(Allen and Tildesley, Computer Simulation of Liquids, chapter 2). Errors are those of the mean of the influence of each
sample, the derivative of the result with respect to its weight, correlation taken into account.
"""

from __future__ import annotations

import numpy as np

from jaxelyte.observables.blocks import BlockError, block_error
from jaxelyte.units import BOLTZMANN


def responses(volume: np.ndarray, enthalpy: np.ndarray, temperature: float) -> dict[str, tuple[float, BlockError]]:
    """Compressibility in Å³/eV, thermal expansion in 1/K and heat capacity in eV/K, each with its error.

    A covariance about the mean of the samples is too small by the square of the error of that mean, which is added;
    runs that are too short for an error of the mean have none of the response.

    Args:
        volume: (samples, replicas), Å³; replicas share one mean.
        enthalpy: the same in eV.
        temperature: K, of the thermostat.
    """
    kt = BOLTZMANN * temperature
    mean = float(volume.mean())
    first, second = volume - mean, enthalpy - enthalpy.mean()

    def covariance(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray]:
        """Of two deviations, and the influence of each sample."""
        value = float(np.mean(a * b))
        # Var(a + b) - Var(a - b) is four times the covariance, of the means as well.
        of_mean = 0.25 * (float(block_error(a + b).bound) ** 2 - float(block_error(a - b).bound) ** 2)
        return value + (of_mean if np.isfinite(of_mean) else 0.0), a * b - value

    found = {}
    for name, a, b, per_volume, scale in (
        ("compressibility", first, first, True, 1.0 / kt),
        ("thermal_expansion", first, second, True, 1.0 / (kt * temperature)),
        ("heat_capacity", second, second, False, 1.0 / (kt * temperature)),
    ):
        value, influence = covariance(a, b)
        if per_volume:
            value, influence = value / mean, influence / mean - value / mean**2 * first
        found[name] = scale * value, block_error(scale * influence)
    return found
