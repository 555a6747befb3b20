"""From the scale of McMillan and Mayer (molar, a solvent of constant chemical potential) to that of experiments.

With c mol/L of salt of partial molar volume V (constant here) in a solvent of density ρ, m = c / (ρ (1 - c V)). A
solution of osmotic coefficient φ is under the pressure Π = ν c φ k_B T more than the solvent; brought back to that,

    φ_m = φ (1 - c V),      ln γ_m = ln γ + ln(1 - c V) - φ c V

(Pailthorpe, Mitchell and Ninham, J. Chem. Soc. Faraday Trans. 2 80, 115 (1984), to first order in Π). The last term
keeps Gibbs and Duhem: m φ_m = ∫ m d ln(m γ_m) where c φ = ∫ c d ln(c γ).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError

WATER = 0.99705
"""kg/L, density of water at 25 °C."""


class Molal(NamedTuple):
    """Molality in mol/kg, osmotic coefficient φ and mean activity coefficient γ± at constant pressure.

    Attributes:
        molality: mol of salt per kg of solvent.
        osmotic: φ.
        activity: γ±, molal.
    """

    molality: np.ndarray
    osmotic: np.ndarray
    activity: np.ndarray

    __repr__ = brief_repr


def molality(molarity: float | np.ndarray, *, volume: float, solvent_density: float = WATER) -> np.ndarray:
    """Molality in mol/kg.

    Args:
        molarity: mol/L of the salt.
        volume: L/mol, partial molar volume of the salt; the apparent one is the best constant.
        solvent_density: kg/L.

    Raises:
        InputError: a density that is not positive, or a salt that fills all the volume.
    """
    c = checks.array("molarity", molarity, None, "mol/L")
    if not c.size:
        raise InputError("molarity is empty")
    if np.any(c < 0.0):
        raise InputError(f"molarity = {float(c.min()):g} mol/L must not be negative")
    solvent_density = checks.quantity("solvent_density", solvent_density, "density")  # kg/L is g/cm³
    volume = checks.number("volume", volume, "L/mol")
    if not np.all(c * volume < 1.0):
        raise InputError(f"volume = {volume!r} L/mol leaves no room for solvent; 0.0186 (LiCl) is of the usual size")
    return c / (solvent_density * (1.0 - c * volume))


def molal_scale(
    molarity: float | np.ndarray,
    osmotic: float | np.ndarray,
    activity: float | np.ndarray,
    *,
    volume: float,
    solvent_density: float = WATER,
) -> Molal:
    """Convert coefficients from the scale of McMillan and Mayer (`IonModel`, ions alone) to that of experiments.

    It fails if the compressibility of the solvent matters (Π beyond some 100 MPa).

    Args:
        molarity: mol/L of the salt, (…).
        osmotic: φ, (…).
        activity: γ±, (…).
        volume: L/mol, partial molar volume of the salt; the apparent one is the best constant.
        solvent_density: kg/L.

    Raises:
        InputError: see `molality`.
    """
    m = molality(molarity, volume=volume, solvent_density=solvent_density)
    filled = np.asarray(molarity, np.float64) * volume
    phi, gamma = checks.array("osmotic", osmotic, None), checks.array("activity", activity, None)
    for name, values in (("osmotic", phi), ("activity", gamma)):
        if values.shape not in ((), m.shape) and (m.shape or not values.size):
            raise InputError(f"{name} has shape {values.shape} and molarity {m.shape}; give one for each concentration")
    if np.any(gamma < 0.0):
        raise InputError(f"activity = {float(gamma.min()):g} must not be negative")
    return Molal(m, phi * (1.0 - filled), gamma * (1.0 - filled) * np.exp(-phi * filled))


def pressure_average(s: np.ndarray, integrand: Callable[[np.ndarray], np.ndarray], volume: float) -> np.ndarray:
    """φ_m = ((1 - c V)/c) ∫ D/(1 - c V) dc for D = 1 + d ln γ±/d ln c at constant pressure, given as D(√c)."""
    # Smooth in √c, so that few points do.
    nodes, weights = np.polynomial.legendre.leggauss(24)
    x = 0.5 * np.asarray(s)[..., None] * (1.0 + nodes)
    inner = np.sum(weights * integrand(x) * x / (1.0 - x**2 * volume), axis=-1) * np.asarray(s)
    safe = np.where(np.asarray(s) > 0, np.asarray(s) ** 2, 1.0)
    # At zero there is nothing to average over: D itself.
    return np.where(np.asarray(s) > 0, inner * (1.0 - safe * volume) / safe, integrand(np.zeros_like(s)))
