"""Activity and osmotic coefficients from activity derivatives at several concentrations, by Gibbs and Duhem.

With s = √c, and the extended law of Debye and Hückel for the limit, which no simulation reaches,

    ln γ± = -A s / (1 + B s) + Σ_k b_k s^(k+1),             k = 1 … K,
    1 + d ln γ±/d ln c = 1 - A s / (2 (1 + B s)²) + Σ_k b_k (k+1)/2 s^(k+1),
    φ = 1 + (1/c) ∫ c d ln γ± = φ_DH + Σ_k b_k (k+1)/(k+3) s^(k+1).

A s = κ l_B / 2 and B s = κ a for the Bjerrum length l_B, the inverse screening length κ and a diameter a. The b_k are a
linear fit weighted by errors, for each of several a and each K up to the number of concentrations. Fits are averaged by
Akaike's weights exp(-(χ² + 2K)/2) (Burnham and Anderson, Model Selection and Multimodel Inference (2002)). Errors are
those of the weighted average, to which the weighted spread between the fits is added in quadrature.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import first_lines
from jaxelyte.errors import InputError
from jaxelyte.storage import saving, write_text
from jaxelyte.theory.electrolyte import DebyeHueckel, bjerrum, checked_solvent, law, screening_length
from jaxelyte.theory.scales import WATER, Molal, molal_scale, molality, pressure_average
from jaxelyte.wording import plus_minus

TERMS = 4
"""Powers of √c at most."""

DIAMETERS = (3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0)
"""Å, of the extended law of Debye and Hückel: what is not known of hydrated ions."""

UNLIKELY = 1e-3
"""Probability of the best fit's χ² below which a warning says so."""


class Estimate(NamedTuple):
    """Values and standard errors, (…)."""

    value: np.ndarray
    error: np.ndarray


class Fit(NamedTuple):
    """One diameter and number of terms.

    Attributes:
        weight: of Akaike.
        diameter: Å.
        coefficients: b_k, (K,), in (L/mol)^((k+1)/2).
        response: (K, points), of the coefficients to the data in units of their errors.
        chi_square: Σ (residual / error)².
    """

    weight: float
    diameter: float
    coefficients: np.ndarray
    response: np.ndarray
    chi_square: float


@dataclass(frozen=True)
class ActivityCurve:
    """γ±(c) and φ(c) of a 1:1 salt from zero to the highest concentration of the data, on the molar scale.

    From derivatives for ions alone (McMillan and Mayer), φ is Π / (2 c k_B T). From derivatives at constant pressure,
    with an explicit solvent, φ is only ∫ c d ln(c γ±) / c; `molal` converts it to the osmotic coefficient of
    experiments.

    Attributes:
        molarity: of the data, (points,), mol/L.
        derivatives: 1 + d ln γ±/d ln c, (points,).
        errors: their standard errors, (points,).
        fits: by diameter and number of terms.
        permittivity: relative, of the solvent.
        temperature: K.
    """

    molarity: np.ndarray
    derivatives: np.ndarray
    errors: np.ndarray
    fits: tuple[Fit, ...] = field(repr=False)
    permittivity: float
    temperature: float

    def activity(self, molarity: float | np.ndarray) -> Estimate:
        """γ± and its standard error.

        Raises:
            InputError: beyond the data.
        """
        logs = self._average(molarity, lambda s, p: s**p, lambda c, a: math.log(self._law(c, a).activity))
        return Estimate(np.exp(logs.value), np.exp(logs.value) * logs.error)

    def osmotic(self, molarity: float | np.ndarray) -> Estimate:
        """φ and its standard error.

        Raises:
            InputError: beyond the data.
        """
        return self._average(molarity, lambda s, p: p / (p + 2) * s**p, lambda c, a: self._law(c, a).osmotic)

    def derivative(self, molarity: float | np.ndarray) -> Estimate:
        """1 + d ln γ±/d ln c of the fit and its standard error: beside the data it tells whether the fit is one.

        Raises:
            InputError: beyond the data.
        """
        return self._average(molarity, lambda s, p: 0.5 * p * s**p, self._slope)

    def molal(
        self,
        molarity: float | np.ndarray,
        *,
        volume: float,
        solvent_density: float = WATER,
        constant: Literal["pressure", "solvent"] = "pressure",
    ) -> tuple[Molal, Molal]:
        """Coefficients on the molal scale at constant pressure, and their standard errors (zero for the molality).

        With m = c / (ρ (1 - c V)): ln γ_m = ln γ± + ln(1 - c V), φ_m = (1/m) ∫ m d ln(m γ_m); for ions alone see
        `molal_scale`.

        Args:
            molarity: mol/L.
            volume: L/mol, partial molar volume V of the salt (`partial_molar_volumes`), taken as constant.
            solvent_density: kg/L.
            constant: what was constant when the derivatives were taken: "pressure", with an explicit solvent, or the
                chemical potential of the "solvent", for ions alone.

        Raises:
            InputError: beyond the data, an unknown choice, or a volume that leaves no room for solvent.
        """
        checks.choice("constant", constant, ("pressure", "solvent"))
        c = checks.array("molarity", molarity, None, "mol/L")
        activity, osmotic = self.activity(c), self.osmotic(c)
        m = molality(c, volume=volume, solvent_density=solvent_density)
        if constant == "solvent":
            found = molal_scale(c, osmotic.value, activity.value, volume=volume, solvent_density=solvent_density)
            # ln γ and φ c V stem from the same data; their errors add at worst.
            relative = activity.error / activity.value + osmotic.error * np.abs(c * volume)
            return found, Molal(0.0 * m, osmotic.error * (1.0 - c * volume), found.activity * relative)
        room = 1.0 - c * volume
        phi = self._average(
            c,
            lambda s, p: pressure_average(s, lambda x: 0.5 * p * x**p, volume),
            lambda x, a: float(pressure_average(np.sqrt(x), np.vectorize(lambda s: self._slope(s * s, a)), volume)),
        )
        return Molal(m, phi.value, activity.value * room), Molal(0.0 * m, phi.error, activity.error * room)

    def to_csv(self, path: str | Path, *, points: int = 100) -> None:
        """Write a table from zero to the highest concentration, with standard errors."""
        c = np.linspace(0.0, self.molarity.max(), checks.count("points", points, least=2))
        columns = [c, *self.derivative(c), *self.activity(c), *self.osmotic(c)]
        header = "molarity_mol_L,derivative,derivative_error,activity,activity_error,osmotic,osmotic_error"
        with saving(path) as temporary:
            np.savetxt(temporary, np.column_stack(columns), delimiter=",", header=header, comments="")

    def to_json(self, path: str | Path) -> None:
        """Write the values at the concentrations of the data, and the fits."""
        names = ("value", "error")
        content = {
            "molarity_mol_L": self.molarity.tolist(),
            "derivative": dict(zip(names, (self.derivatives.tolist(), self.errors.tolist()), strict=True)),
            "activity": dict(zip(names, (x.tolist() for x in self.activity(self.molarity)), strict=True)),
            "osmotic": dict(zip(names, (x.tolist() for x in self.osmotic(self.molarity)), strict=True)),
            "fits": [
                {"weight": f.weight, "diameter_A": f.diameter, "coefficients": f.coefficients.tolist()}
                for f in self.fits
            ],
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        rows = zip(self.molarity, *self.activity(self.molarity), *self.osmotic(self.molarity), strict=True)
        lines = [f"  {c:.3g} mol/L: γ± = {plus_minus(g, dg)}, φ = {plus_minus(p, dp)}" for c, g, dg, p, dp in rows]
        return f"activity and osmotic coefficient, molar\n{first_lines(lines, 'concentrations')}"

    def _law(self, c: float, diameter: float) -> DebyeHueckel:
        return law(c, diameter, -1.0, self.permittivity, self.temperature)

    def _slope(self, c: float, diameter: float) -> float:
        """1 + d ln γ±/d ln c of the extended law."""
        return _slope(c, diameter, self.permittivity, self.temperature)

    def _average(
        self,
        molarity: float | np.ndarray,
        basis: Callable[[np.ndarray, int], np.ndarray],
        law: Callable[[float, float], float],
    ) -> Estimate:
        """Average over the fits of ``law(c, diameter) + Σ b_k basis(√c, k + 1)``."""
        c = checks.array("molarity", molarity, None, "mol/L")
        highest = float(self.molarity.max())
        if not np.all(np.isfinite(c)) or np.any(c < 0) or np.any(c > highest * (1.0 + 1e-9)):
            raise InputError(f"concentrations must lie between 0 and {highest:g} mol/L, where the data end")
        most = max(len(fit.coefficients) for fit in self.fits)
        design = np.stack([basis(np.sqrt(c), k + 2) for k in range(most)], axis=-1)
        laws = {a: np.vectorize(law, otypes=[float])(c, a) for a in {fit.diameter for fit in self.fits}}
        values, responses = [], []
        for fit in self.fits:
            part = design[..., : len(fit.coefficients)]
            values.append(laws[fit.diameter] + part @ fit.coefficients)
            responses.append(part @ fit.response)
        weights, many = np.array([fit.weight for fit in self.fits]), np.stack(values)
        mean = np.tensordot(weights, many, 1)
        noise = np.sum(np.tensordot(weights, np.stack(responses), 1) ** 2, axis=-1)
        return Estimate(mean, np.sqrt(noise + np.tensordot(weights, (many - mean) ** 2, 1)))


def activity_from_derivatives(
    molarity: Sequence[float] | np.ndarray,
    derivatives: Sequence[float] | np.ndarray,
    errors: Sequence[float] | np.ndarray,
    *,
    diameters: Sequence[float] = DIAMETERS,
    permittivity: float = 78.3,
    temperature: float = 298.15,
    terms: int = TERMS,
) -> ActivityCurve:
    """γ±(c) and φ(c) of a 1:1 salt from 1 + d ln γ±/d ln c at several concentrations, with propagated errors.

    It fails if the data leave a gap that the powers of √c cannot bridge: with a single concentration, the curve below
    it rests on the fit of one number, which cannot be tested. Errors are taken as statistical. Those of Kirkwood-Buff
    integrals of short runs in small boxes are also systematic: pass `ActivityDerivative.error`, which includes both.

    Args:
        molarity: (points,), mol/L of the salt, positive and different.
        derivatives: (points,), such as `ActivityDerivative.value` of several runs.
        errors: (points,), their standard errors, independent of each other.
        diameters: Å, in the extended law of Debye and Hückel from which the curve starts; one where it is known.
        permittivity: relative, of the solvent (of the model that was simulated): the limiting slope follows from it.
        temperature: K.
        terms: largest number of powers of √c added to the law.

    Raises:
        InputError: arrays of different lengths, or values out of range.
    """
    given = {"molarity": molarity, "derivatives": derivatives, "errors": errors}
    c, value, error = (np.atleast_1d(checks.array(name, x, None)) for name, x in given.items())
    if not (c.ndim == 1 and c.shape == value.shape == error.shape and len(c)):
        raise InputError(
            f"molarity {c.shape}, derivatives {value.shape} and errors {error.shape} must have the same length"
        )
    if not np.all(np.isfinite(c) & (c > 0)) or len(np.unique(c)) < len(c):
        raise InputError(
            f"molarity = {c.tolist()} mol/L must contain positive numbers, each once; average repeated runs"
        )
    if not np.all(error > 0):
        raise InputError("errors must be positive")
    checks.quantities("molarity", c, "concentration")
    terms = checks.count("terms", terms, most=20)
    permittivity, temperature = checked_solvent(permittivity, temperature)
    sizes = np.atleast_1d(checks.quantities("diameters", diameters, "diameter", zero=True))
    if sizes.ndim != 1 or not len(sizes):
        raise InputError(f"diameters = {diameters!r} must be one or several numbers in Å")
    fits = []
    for a in sizes.tolist():
        beyond = value - np.array([_slope(x, a, permittivity, temperature) for x in c])
        fits += [_fit(np.sqrt(c), beyond, error, float(a), count) for count in range(1, min(terms, len(c)) + 1)]
    criterion = np.array([fit.chi_square + 2.0 * len(fit.coefficients) for fit in fits])
    weights = np.exp(-0.5 * (criterion - criterion.min()))
    weighted = tuple(fit._replace(weight=float(w)) for fit, w in zip(fits, weights / weights.sum(), strict=True))
    _warn_if_poor(weighted, len(c))
    return ActivityCurve(c, value, error, weighted, float(permittivity), float(temperature))


def _slope(c: float, diameter: float, permittivity: float, temperature: float) -> float:
    """1 + d ln γ±/d ln c of the extended law of Debye and Hückel."""
    if c == 0:
        return 1.0
    kappa = 1.0 / screening_length(c, permittivity, temperature)
    return 1.0 - 0.25 * kappa * bjerrum(permittivity, temperature) / (1.0 + kappa * diameter) ** 2


def _fit(s: np.ndarray, value: np.ndarray, error: np.ndarray, diameter: float, count: int) -> Fit:
    powers = np.arange(2, count + 2)
    design = 0.5 * powers * s[:, None] ** powers / error[:, None]
    inverse = np.linalg.pinv(design)
    coefficients = inverse @ (value / error)
    misfit = value / error - design @ coefficients
    return Fit(math.nan, diameter, coefficients, inverse, float(misfit @ misfit))


def _warn_if_poor(fits: Sequence[Fit], points: int) -> None:
    from scipy.stats import chi2

    best = max(fits, key=lambda fit: fit.weight)
    freedom = points - len(best.coefficients)
    if freedom > 0 and chi2.sf(best.chi_square, freedom) < UNLIKELY:
        checks.caution(
            f"activity derivatives: χ² = {best.chi_square:.0f} of {freedom} degrees of freedom; the errors given are "
            "too small, or the curve has more structure than the terms: allow more of them, or more concentrations"
        )
