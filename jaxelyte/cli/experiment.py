"""What experiments know at 25 °C, beside which the report puts the numbers of a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Peak(NamedTuple):
    """A measured first peak of a radial distribution function.

    Attributes:
        position: Å.
        source: how and by whom it was measured.
        height: of g, with its error; None where no measurement is cited.
        neighbors: how many within the peak, in words; empty where no measurement is cited.
    """

    position: float
    source: str
    height: tuple[float, float] | None = None
    neighbors: str = ""


PEAKS = {
    "Na-O": Peak(
        2.384, "X-ray diffraction and EXAFS, Galib et al., J. Chem. Phys. 146, 084504 (2017)", neighbors="5.5 ± 0.3"
    ),
    "Cl-O": Peak(
        3.16,
        "diffraction, 3.14 to 3.2 Å; number: Okan and Salmon, J. Phys.: Condens. Matter 6, 3839 (1994)",
        neighbors="about 6",
    ),
    "Li-O": Peak(1.955, "neutron diffraction, 1.95 to 1.96 Å"),
    "K-O": Peak(2.79, "X-ray diffraction"),
    "O-O": Peak(2.80, "X-ray diffraction of water, Skinner et al., J. Chem. Phys. 138, 074506 (2013)", (2.57, 0.05)),
}

DIFFUSION = {"Na": 1.334, "Cl": 2.032, "Li": 1.029, "K": 1.957, "O": 2.299}
"""Self-diffusion at infinite dilution, 1e-9 m²/s (O: that of water); lower in solutions."""

WATER_VISCOSITY = 0.890
"""mPa s; higher in solutions."""

MOLAR_CONDUCTIVITY = 3.7554e6
"""F²/(R T) at 298.15 K in S s/mol: times D in m²/s and mol/m³ it gives S/m."""

VOLUMES = {"NaCl": 0.0187, "KCl": 0.0287, "LiCl": 0.0186}
"""L/mol, apparent molar volumes of salts in water around 1 to 2 mol/L."""


class Solution(NamedTuple):
    """A salt in water by Pitzer's equations.

    Attributes:
        molality: mol/kg.
        osmotic: φ on the molal scale, at constant pressure.
        activity: γ±, molal.
        derivative: 1 + d ln γ±/d ln c of the molar scale, at constant pressure: what a run with solvent gives.
        osmotic_mm: φ on the scale of McMillan and Mayer: what ions alone give.
        derivative_mm: d(c φ)/dc on that scale.
    """

    molality: float
    osmotic: float
    activity: float
    derivative: float
    osmotic_mm: float
    derivative_mm: float


def pitzer(salt: str, molarity: float) -> Solution | None:
    """The solution of a salt such as "NaCl" at a concentration in mol/L; None where it is not known.

    See `jaxelyte.theory.scales` for the change of scale.
    """
    from jaxelyte.theory import PITZER
    from jaxelyte.theory.scales import molality

    known, volume = PITZER.get(salt), VOLUMES.get(salt)
    if known is None or volume is None:
        return None
    # Derivatives by central differences, far finer than the curves bend.
    c = molarity * np.array([1.0 - 1e-4, 1.0, 1.0 + 1e-4])
    m = molality(c, volume=volume)
    if m[-1] > known.limit:
        return None
    room = 1.0 - c * volume
    molar, osmotic = np.log(known.activity(m) / room), known.osmotic(m) / room
    return Solution(
        molality=float(m[1]),
        osmotic=float(known.osmotic(m[1])),
        activity=float(known.activity(m[1])),
        derivative=1.0 + float((molar[2] - molar[0]) / np.log(c[2] / c[0])),
        osmotic_mm=float(osmotic[1]),
        derivative_mm=float((c[2] * osmotic[2] - c[0] * osmotic[0]) / (c[2] - c[0])),
    )


def limiting_conductivity(charges: dict[str, float], molarities: dict[str, float]) -> float | None:
    """σ in S/m of ions that move independently and as fast as at infinite dilution; None where one is not known."""
    if not all(name in DIFFUSION for name in charges):
        return None
    terms = [1e3 * molarities[name] * q**2 * DIFFUSION[name] * 1e-9 for name, q in charges.items()]
    return MOLAR_CONDUCTIVITY * sum(terms)
