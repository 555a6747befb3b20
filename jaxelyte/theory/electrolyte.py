"""Closed forms for dilute electrolytes, and Pitzer's equations as the line through experiments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxelyte import checks, units
from jaxelyte.errors import InputError
from jaxelyte.units import LITER


def bjerrum_length(permittivity: float, temperature: float) -> float:
    """Distance in Å at which the energy of two unit charges is k_B T.

    Args:
        permittivity: relative, of the solvent.
        temperature: K.

    Raises:
        InputError: a value that is not positive, or a permittivity below 1.
    """
    return bjerrum(*checked_solvent(permittivity, temperature))


def checked_solvent(permittivity: float, temperature: float, *, warn: bool = True) -> tuple[float, float]:
    """Relative permittivity and temperature in K.

    Raises:
        InputError: values that they cannot have.
    """
    return (
        checks.quantity("permittivity", permittivity, "permittivity", warn=warn),
        checks.quantity("temperature", temperature, "temperature", warn=warn),
    )


def bjerrum(permittivity: float, temperature: float) -> float:
    """`bjerrum_length` of values that were checked before."""
    return units.COULOMB / (permittivity * units.BOLTZMANN * temperature)


def debye_length(ionic_strength: float, permittivity: float = 78.3, temperature: float = 298.15) -> float:
    """Screening length in Å, κ² = 8π l_B I. Infinite without ions.

    Args:
        ionic_strength: I in mol/L.
        permittivity: relative, of the solvent.
        temperature: K.

    Raises:
        InputError: a negative value, a permittivity below 1, or a temperature that is not positive.
    """
    strength = checks.quantity("ionic_strength", ionic_strength, "concentration", zero=True)
    return screening_length(strength, *checked_solvent(permittivity, temperature))


def screening_length(ionic_strength: float, permittivity: float, temperature: float) -> float:
    """`debye_length` of values that were checked before."""
    if ionic_strength == 0:
        return math.inf
    return (8.0 * math.pi * bjerrum(permittivity, temperature) * ionic_strength * LITER) ** -0.5


class DebyeHueckel(NamedTuple):
    """Mean ionic activity coefficient γ± and osmotic coefficient φ, dimensionless."""

    activity: float
    osmotic: float


def debye_hueckel(
    ionic_strength: float,
    *,
    diameter: float = 0.0,
    charges: tuple[float, float] = (1.0, -1.0),
    permittivity: float = 78.3,
    temperature: float = 298.15,
) -> DebyeHueckel:
    """Debye-Hückel theory on the scale of McMillan and Mayer: the limiting law, or the extended law for a diameter.

    ln γ± = -|z+ z-| κ l_B / (2 (1 + κ a)), φ = 1 - |z+ z-| κ l_B σ(κ a) / 6,
    σ(x) = 3 (1 + x - 1/(1 + x) - 2 ln(1 + x)) / x³ (Robinson and Stokes, Electrolyte Solutions, chapters 9 and 4).
    It fails beyond some 0.01 mol/L (0.1 extended): ions without volume, no pairs.

    Args:
        ionic_strength: mol/L.
        diameter: distance of closest approach a in Å; 0 for the limiting law.
        charges: of cation and anion.
        permittivity: relative, of the solvent.
        temperature: K.

    Raises:
        InputError: a value out of range.
    """
    first, second = checks.quantities("charges", charges, "charge", (2,), signed=True).tolist()
    if first * second >= 0:
        raise InputError(f"charges = {charges} must be of opposite sign")
    diameter = checks.quantity("diameter", diameter, "diameter", zero=True)
    ionic_strength = checks.quantity("ionic_strength", ionic_strength, "concentration", zero=True)
    return law(ionic_strength, diameter, first * second, *checked_solvent(permittivity, temperature))


def law(
    ionic_strength: float, diameter: float, product: float, permittivity: float, temperature: float
) -> DebyeHueckel:
    """`debye_hueckel` of values that were checked before, ``product`` that of the charges."""
    if ionic_strength == 0:
        return DebyeHueckel(1.0, 1.0)
    kappa = 1.0 / screening_length(ionic_strength, permittivity, temperature)
    strength = abs(product) * kappa * bjerrum(permittivity, temperature)
    x = kappa * diameter
    # The series where the closed form loses digits.
    sigma = 1.0 - 1.5 * x + 1.8 * x**2 if x < 1e-3 else 3.0 / x**3 * (1.0 + x - 1.0 / (1.0 + x) - 2.0 * math.log1p(x))
    return DebyeHueckel(math.exp(-strength / (2.0 * (1.0 + x))), 1.0 - strength * sigma / 6.0)


@dataclass(frozen=True)
class Pitzer:
    """Pitzer's equations for a 1:1 salt at 25 °C, on the molal scale.

    Source: Pitzer and Mayorga, J. Phys. Chem. 77, 2300 (1973).

    Attributes:
        beta0: kg/mol.
        beta1: kg/mol.
        c_phi: kg²/mol².
        limit: mol/kg, up to where the parameters were fitted.
        a_phi: Debye-Hückel slope, kg^½/mol^½.
    """

    beta0: float
    beta1: float
    c_phi: float
    limit: float
    a_phi: float = 0.3915

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InputError: no finite numbers, or a limit that is not positive.
        """
        for name in ("beta0", "beta1", "c_phi", "a_phi"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name)))
        object.__setattr__(self, "limit", checks.positive("limit", self.limit, "mol/kg"))

    def osmotic(self, molality: float | np.ndarray) -> np.ndarray:
        """Osmotic coefficient φ.

        Raises:
            InputError: negative molalities, or beyond `limit`.
        """
        m = self._checked(molality)
        root = np.sqrt(m)
        binary = self.beta0 + self.beta1 * np.exp(-2.0 * root)
        return 1.0 - self.a_phi * root / (1.0 + 1.2 * root) + m * binary + m**2 * self.c_phi

    def activity(self, molality: float | np.ndarray) -> np.ndarray:
        """Mean ionic activity coefficient γ±, molal.

        Raises:
            InputError: negative molalities, or beyond `limit`.
        """
        m = self._checked(molality)
        root = np.sqrt(m)
        first = -self.a_phi * (root / (1.0 + 1.2 * root) + 2.0 / 1.2 * np.log1p(1.2 * root))
        # (1 - (1 + 2√m - 2m) exp(-2√m)) / (2m) tends to 2 as m goes to zero.
        safe = np.where(m > 0, m, 1.0)
        shape = np.where(m > 1e-10, (1.0 - (1.0 + 2.0 * root - 2.0 * m) * np.exp(-2.0 * root)) / (2.0 * safe), 2.0)
        return np.exp(first + m * (2.0 * self.beta0 + self.beta1 * shape) + 1.5 * m**2 * self.c_phi)

    def _checked(self, molality: float | np.ndarray) -> np.ndarray:
        m = checks.array("molality", molality, None, "mol/kg")
        if np.any(m < 0) or np.any(m > self.limit * (1 + 1e-9)):
            raise InputError(f"molalities must lie between 0 and {self.limit} mol/kg, where the parameters hold")
        return m


PITZER = {
    "NaCl": Pitzer(0.0765, 0.2664, 0.00127, 6.0),
    "KCl": Pitzer(0.04835, 0.2122, -0.00084, 4.8),
    "LiCl": Pitzer(0.1494, 0.3074, 0.00359, 6.0),
}
"""Parameters at 25 °C."""
