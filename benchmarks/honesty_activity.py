"""Cases of activity and osmotic coefficients from noisy derivatives at several concentrations; see honesty.py.

The derivatives are those of the extended law of Debye and Hückel with a linear term, and of Pitzer's equations for LiCl
on the molar scale, with normal noise. Where the form is not known, the diameter is another one for each seed.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
from honesty import Case, Entry

from jaxelyte.theory import PITZER, ActivityCurve, activity_from_derivatives, debye_hueckel

CONCENTRATIONS = np.array([0.1, 0.3, 0.7, 1.2, 2.0, 3.0])
DIAMETER, SLOPE = 4.6, 0.25
"""Å and L/mol, of the extended law with a linear term of known form."""

SMALLEST, LARGEST = 3.0, 7.0
"""Å, where it is not known."""

VOLUME, WATER = 0.0186, 0.99705
"""L/mol of LiCl, and kg/L."""

STEP = 1e-5


def molality(c: np.ndarray) -> np.ndarray:
    """Of LiCl."""
    return c / (WATER * (1.0 - c * VOLUME))


def logs(salt: str | float, c: np.ndarray) -> np.ndarray:
    """Ln γ± on the molar scale, of a salt or of the extended law with a diameter."""
    if not isinstance(salt, str):
        return np.array([np.log(debye_hueckel(x, diameter=salt).activity) + SLOPE * x for x in c])
    return np.log(PITZER[salt].activity(molality(c)) / (1.0 - c * VOLUME))


def slopes(salt: str | float, c: np.ndarray) -> np.ndarray:
    """1 + d ln γ±/d ln c."""
    return 1.0 + (logs(salt, c * (1.0 + STEP)) - logs(salt, c * (1.0 - STEP))) / (2.0 * STEP)


def pressure(salt: str | float, c: float) -> float:
    """Φ = (1/c) ∫ (1 + d ln γ±/d ln c) dc from zero; √c makes the integrand smooth."""
    s, weights = np.polynomial.legendre.leggauss(40)
    s = 0.5 * np.sqrt(c) * (s + 1.0)
    return float(np.sum(weights * slopes(salt, s**2) * 2.0 * s) * 0.5 * np.sqrt(c) / c)


@lru_cache(maxsize=16)
def exact(salt: str | float, what: str, c: float) -> float:
    """The answer."""
    at = np.array([c])
    if what.startswith("molal") and isinstance(salt, str):
        known = PITZER[salt]
        return float((known.activity if what == "molal activity" else known.osmotic)(molality(at))[0])
    if what == "osmotic":
        return pressure(salt, c)
    return float(slopes(salt, at)[0] if what == "derivative" else np.exp(logs(salt, at)[0]))


@lru_cache(maxsize=256)
def curve(seed: int, salt: str, noise: float, known: bool, points: int) -> tuple[ActivityCurve, str | float]:
    """Of noisy derivatives, with the form known, or by default; and the salt or the diameter behind them."""
    rng = np.random.default_rng(seed)
    c = CONCENTRATIONS[-points:]
    behind = (DIAMETER if known else float(rng.uniform(SMALLEST, LARGEST))) if salt == "extended law" else salt
    measured = slopes(behind, c) + rng.normal(size=points) * noise
    options: dict[str, Any] = {"diameters": [DIAMETER], "terms": 1} if known else {}
    return activity_from_derivatives(c, measured, np.full(points, noise), **options), behind


def estimate(seed: int, *, salt: str, what: str, c: float, noise: float, known: bool = False, points: int = 6) -> Case:
    """A coefficient at one concentration."""
    found, behind = curve(seed, salt, noise, known, points)
    if what.startswith("molal"):
        value, error = found.molal(c, volume=VOLUME, solvent_density=WATER)
        name = what.split()[1]
        return Case(float(getattr(value, name)), float(getattr(error, name)), None, exact(behind, what, c))
    one = getattr(found, what)(c)
    return Case(float(one.value), float(one.error), None, exact(behind, what, c))


NAMES = {
    "activity": "activity coefficient",
    "osmotic": "osmotic coefficient",
    "derivative": "fitted activity derivative",
    "molal activity": "molal activity coefficient",
    "molal osmotic": "molal osmotic coefficient",
}

COEFFICIENTS = ("activity", "osmotic", "derivative")

CASES = {
    f"{NAMES[what]}, {salt}{' of known form' if known else ''}, {points} errors of {noise:g}, at {c:g} mol/L": Entry(
        partial(estimate, salt=salt, what=what, c=c, noise=noise, known=known, points=points), hard=points < 4
    )
    for salt, known, points, whats in (
        ("extended law", True, 6, COEFFICIENTS),
        ("extended law", False, 6, COEFFICIENTS),
        ("extended law", False, 2, COEFFICIENTS),
        ("LiCl", False, 6, (*COEFFICIENTS, "molal activity", "molal osmotic")),
    )
    for noise in (0.02, 0.06)
    for c in (0.5, 3.0)
    for what in whats
}
