"""From distribution functions of ions to thermodynamics: the virial, the compressibility, and integrals from zero.

With ρ_i ions of species i per Å³, ρ = Σ ρ_i, u in k_B T (Hansen and McDonald, Theory of Simple Liquids, chapter 10):

    φ = 1 - (2π/3ρ) Σ ρ_i ρ_j ∫ g_ij u_ij' r³ dr,      1 + d ln γ±/d ln c = 1 / (1 + Σ ρ_i ρ_j ∫ h_ij 4π r² dr / ρ),
    ln γ± = φ - 1 + 2 ∫ (φ - 1)/s ds,                  φ = (2/c) ∫ (1 + d ln γ±/d ln c) s ds,    s = √c from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.theory.ions import rising
from jaxelyte.theory.result import PBResult

if TYPE_CHECKING:
    from jaxelyte.theory.ions import IonModel

ORDER = 7
"""Concentrations between zero and the highest at which the integrands of γ± are known: they are smooth in √c."""

DILUTE = 0.01
"""mol/L, below which `FEW` are enough, close to the limiting law."""

FEW = 3


class Profile(NamedTuple):
    """What a theory finds at one concentration.

    Attributes:
        r: (points,), Å.
        g: (2, 2, points).
        log_cavity: ln(g exp(u)), (2, 2, points), u with the Coulomb term; smooth across contacts.
        potential: (2, points), k_B T / e.
        residual: largest error of the equations.
    """

    r: np.ndarray
    g: np.ndarray
    log_cavity: np.ndarray
    potential: np.ndarray
    residual: float


def virial(model: IonModel, concentration: float, r: np.ndarray, g: np.ndarray, log_cavity: np.ndarray) -> float:
    """Osmotic coefficient; see `Profile` for the arrays."""
    densities = model.densities(concentration)
    total = 0.0
    for i in range(2):
        for j in range(2):
            total += densities[i] * densities[j] * _pair_virial(model, i, j, r, g[i, j] - 1.0, log_cavity[i, j])
    return float(1.0 + 2.0 * np.pi / (3.0 * densities.sum()) * total)


def compressibility(model: IonModel, concentration: float, r: np.ndarray, g: np.ndarray) -> float:
    """1 + d ln γ±/d ln c."""
    densities = model.densities(concentration)
    pairs = (densities[:, None] * densities)[..., None]
    integral = float(np.sum(pairs * (g - 1.0) * 4.0 * np.pi * r**2 * (r[1] - r[0]))) / float(densities.sum())
    return 1.0 / (1.0 + integral)


def solutions(model: IonModel, concentrations: Sequence[float], profile: Callable[[float], Profile]) -> list[PBResult]:
    """Results at rising concentrations of a theory that gives g, with the integrals from zero that γ± takes."""
    wanted = rising(concentrations)
    order = ORDER if wanted[-1] > DILUTE else FEW
    # Chebyshev's points: a polynomial through them does not oscillate.
    inner = wanted[-1] * (0.5 - 0.5 * np.cos(np.pi * np.arange(1, order) / order)) ** 2
    found = {c: profile(c) for c in [*inner.tolist(), *wanted]}
    osmotic = {c: virial(model, c, p.r, p.g, p.log_cavity) for c, p in found.items()}
    derivative = {c: compressibility(model, c, p.r, p.g) for c, p in found.items()}
    nodes = [*inner.tolist(), wanted[-1]]
    root = np.sqrt([0.0, *nodes])
    # What is integrated is divided by √c, and tends to the limiting law; so relative errors stay small when dilute.
    limit = -abs(float(np.prod(model.valences))) * model.bjerrum * model.kappa(1.0) / 6.0
    excess = _integral(root, [limit, *((osmotic[c] - 1.0) / math.sqrt(c) for c in nodes)])
    pressure = _integral(root, [1.5 * limit, *((derivative[c] - 1.0) / math.sqrt(c) for c in nodes)], power=2)
    results = []
    for c in wanted:
        p, s = found[c], math.sqrt(c)
        results.append(
            PBResult(
                concentration=c,
                species=model.species,
                r=p.r,
                g=p.g,
                osmotic=osmotic[c],
                activity=math.exp(osmotic[c] - 1.0 + 2.0 * excess(s)),
                derivative=derivative[c],
                residual=p.residual,
                potential=p.potential,
                osmotic_compressibility=1.0 + 2.0 * pressure(s) / c,
            )
        )
    return results


def _integral(root: np.ndarray, values: Sequence[float], *, power: int = 0) -> Callable[[float], float]:
    """Integral from zero of the polynomial through points, times a power of s."""
    curve = np.polynomial.Chebyshev.fit(root, values, len(root) - 1)
    primitive = (curve * np.polynomial.Chebyshev.identity(curve.domain) ** power).integ(lbnd=0.0)
    return lambda s: float(primitive(s))


def _pair_virial(model: IonModel, i: int, j: int, r: np.ndarray, h: np.ndarray, log_cavity: np.ndarray) -> float:
    """-∫ g u' r³ dr, the contact term of a hard core included; of the bare Coulomb term h alone counts."""
    step = r[1] - r[0]
    strength = model.bjerrum * float(model.valences[i] * model.valences[j])
    # -u' r³ = z z l_B r, against h: what is left of g = 1 vanishes by neutrality.
    total = strength * float(np.sum(r * h) * step)
    edge = model.edge(i, j, step)
    table = model.table(i, j, r)
    if edge:
        near = np.flatnonzero(r > edge)[:4]
        # y = g exp(u) is smooth across the contact.
        inner = np.polynomial.Polynomial.fit(r[near], log_cavity[near], 3)(edge)
        at = strength / edge + (0.0 if table is None else float(np.interp(edge, r, table)))
        total += edge**3 * math.exp(float(inner) - at)
    if table is not None:
        slope = np.gradient(table, step)
        total -= float(np.sum((1.0 + h) * slope * r**3) * step)
    return total
