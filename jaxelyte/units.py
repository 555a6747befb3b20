"""Units: eV, Å, fs, K, elementary charge, g/mol. Conversions and constants (CODATA 2018).

The engine's mass unit is the g/mol, whose kinetic energy ``½ m v²`` with v in Å/fs is not an eV:
``ACCELERATION`` converts once, in the integrators: a = F / m * ACCELERATION.
"""

from __future__ import annotations

BOLTZMANN = 8.617333262e-5
"""Boltzmann constant in eV/K."""

COULOMB = 14.399645478
"""e²/(4π ε0) in eV Å."""

ACCELERATION = 9.648533212e-3
"""One eV/Å/(g/mol) in Å/fs²."""

HARTREE = 27.211386245988
"""One Hartree in eV."""

BOHR = 0.529177210903
"""One Bohr in Å."""

KCAL_PER_MOL = 0.0433641043
"""One kcal/mol in eV."""

KJ_PER_MOL = 0.010364269656
"""One kJ/mol in eV."""

EV_PER_A3_IN_GPA = 160.2176634
"""One eV/Å³ in GPa."""

BAR = 1e-4 / EV_PER_A3_IN_GPA
"""One bar in eV/Å³."""

GRAM_PER_CM3 = 0.602214076
"""One g/cm³ in g/mol/Å³."""

AVOGADRO = 6.02214076e23
"""Particles per mole."""

LITER = 6.02214076e-4
"""Particles per Å³ in one mol/L."""


def molar(density: float) -> float:
    """Concentration in mol/L of a number density in 1/Å³."""
    return density * 1.0e27 / AVOGADRO
