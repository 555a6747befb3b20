"""Partial molar volumes of salt and solvent, and the compressibility, from Kirkwood-Buff integrals.

Ions are taken as one component, alike (charge neutrality leaves no other choice: Kusalik and Patey, J. Chem. Phys. 86,
5110 (1987)), of density ρ_s = 2ρ for ρ ion pairs per volume. With the solvent's density ρ_o and
G_ss = (G_cc + G_aa + 2 G_ca)/4, G_so = (G_co + G_ao)/2 (Kirkwood and Buff, J. Chem. Phys. 19, 774 (1951); Ben-Naim,
Molecular Theory of Solutions (2006), chapter 4),

    η = ρ_s + ρ_o + ρ_s ρ_o (G_ss + G_oo - 2 G_so),
    v_salt = 2 (1 + ρ_o (G_oo - G_so)) / η,      v_o = (1 + ρ_s (G_ss - G_so)) / η,
    κ_T k_B T = [(1 + ρ_s G_ss)(1 + ρ_o G_oo) - ρ_s ρ_o G_so²] / η,

so that ρ v_salt + ρ_o v_o = 1 whatever the integrals are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks, units
from jaxelyte.arrays import finite
from jaxelyte.observables.integrals import Correction, check_correction, from_integrals, number_density, salt_integrals
from jaxelyte.storage import write_text
from jaxelyte.wording import plus_minus

PER_MOLE = units.AVOGADRO * 1e-24
"""One Å³ in cm³/mol."""


class Quantity(NamedTuple):
    """An estimate, its standard error, the two parts of the error and its freedom; see `ActivityDerivative`."""

    value: float
    error: float
    statistical: float
    truncation: float
    freedom: int

    def __mul__(self, factor: Any) -> Quantity:  # pyright: ignore[reportIncompatibleMethodOverride]
        value, error, statistical, truncation = (factor * x for x in self[:4])
        return Quantity(value, error, statistical, truncation, self.freedom)

    def __str__(self) -> str:
        return plus_minus(self.value, self.error)


@dataclass(frozen=True)
class PartialVolumes:
    """Partial volumes at constant temperature and pressure, and the isothermal compressibility.

    Attributes:
        salt: of an ion pair in Å³; see ``salt_molar``.
        solvent: of a solvent molecule in Å³; see ``solvent_molar``.
        compressibility: 1/GPa.
        density: ion pairs per Å³.
        solvent_density: solvent molecules per Å³.
    """

    salt: Quantity
    solvent: Quantity
    compressibility: Quantity
    density: float
    solvent_density: float

    @property
    def salt_molar(self) -> Quantity:
        """Partial molar volume of the salt in cm³/mol."""
        return self.salt * PER_MOLE

    @property
    def solvent_molar(self) -> Quantity:
        """Partial molar volume of the solvent in cm³/mol."""
        return self.solvent * PER_MOLE

    def to_json(self, path: str | Path) -> None:
        """Write everything; NaN is stored as null."""
        names = {
            "salt_cm3_mol": self.salt_molar,
            "solvent_cm3_mol": self.solvent_molar,
            "compressibility_per_GPa": self.compressibility,
        }
        content = {name: {k: finite(v) for k, v in x._asdict().items()} for name, x in names.items()}
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        return (
            f"partial molar volumes: salt {self.salt_molar} cm³/mol, solvent {self.solvent_molar} cm³/mol; "
            f"compressibility {self.compressibility} / GPa"
        )


def partial_molar_volumes(
    *,
    r: np.ndarray,
    cation_cation: np.ndarray,
    cation_anion: np.ndarray,
    anion_anion: np.ndarray,
    cation_solvent: np.ndarray,
    anion_solvent: np.ndarray,
    solvent_solvent: np.ndarray,
    density: float,
    solvent_density: float,
    box_length: float,
    temperature: float,
    correction: Correction = "background",
) -> PartialVolumes:
    """Partial volumes of a 1:1 salt and its solvent, and the compressibility, from radial distribution functions.

    It fails as `activity_derivative` does, where tails are not flat at half the box, and for dilute salts: with few ion
    pairs 1 + ρ_o (G_oo - G_so), from a large density times a small difference, is mostly noise. The compressibility is
    a small difference of all integrals; expect its order of magnitude only, and errors that say so.

    Args:
        r: (bins,), centres of equally wide bins in Å, to half the box at least, and `TAIL` Å beyond for the corrections
            "background" and "tail".
        cation_cation: (bins,) or (stretches, bins), radial distribution function; stretches of a run, or several runs,
            give the statistical error.
        cation_anion: likewise.
        anion_anion: likewise.
        cation_solvent: likewise; the solvent's molecules are counted by one site (the oxygen of water).
        anion_solvent: likewise.
        solvent_solvent: likewise, of that site.
        density: ion pairs per Å³.
        solvent_density: solvent molecules per Å³.
        box_length: Å, edge of the cubic box (cube root of the volume otherwise).
        temperature: K.
        correction: see `kirkwood_buff`.

    Raises:
        InputError: curves of different shapes, or that end before half the box, or numbers out of range.
    """
    box_length = checks.positive("box_length", box_length, "Å")
    density = number_density("density", density, "ion pairs")
    solvent_density = number_density("solvent_density", solvent_density, "molecules")
    temperature = checks.quantity("temperature", temperature, "temperature")
    check_correction(correction)
    curves = {"cc": cation_cation, "ca": cation_anion, "aa": anion_anion, "co": cation_solvent, "ao": anion_solvent}
    curves |= {"oo": solvent_solvent}

    def estimate(integrals: Mapping[str, float]) -> np.ndarray:
        salt, mixed = salt_integrals(integrals)
        return _volumes(2.0 * density, solvent_density, salt, mixed, integrals["oo"], temperature)

    densities = {name: solvent_density if "o" in name else density for name in curves}
    found = from_integrals(r, curves, box_length, correction, estimate, densities)
    errors = np.hypot(found.statistical, found.truncation)
    salt, solvent, compressibility = (
        Quantity(float(value), float(error), float(statistical), float(truncation), found.freedom)
        for value, error, statistical, truncation in zip(
            found.value, errors, found.statistical, found.truncation, strict=True
        )
    )
    if compressibility.value <= 0.0:
        checks.caution(
            f"partial molar volumes: the compressibility is {compressibility} / GPa, which no stable solution has; the "
            f"run is too short, or the box of {box_length:.1f} Å too small, for its Kirkwood-Buff integrals"
        )
    return PartialVolumes(salt, solvent, compressibility, float(density), float(solvent_density))


def _volumes(ions: float, solvent: float, salt: float, mixed: float, pure: float, temperature: float) -> np.ndarray:
    """Volumes of an ion pair and of a solvent molecule in Å³, compressibility in 1/GPa."""
    eta = ions + solvent + ions * solvent * (salt + pure - 2.0 * mixed)
    thermal = units.BOLTZMANN * temperature * units.EV_PER_A3_IN_GPA
    zeta = (1.0 + ions * salt) * (1.0 + solvent * pure) - ions * solvent * mixed**2
    return np.array(
        [2.0 * (1.0 + solvent * (pure - mixed)) / eta, (1.0 + ions * (salt - mixed)) / eta, zeta / (eta * thermal)]
    )
