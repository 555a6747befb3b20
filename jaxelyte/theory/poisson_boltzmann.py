"""The non-linear Poisson-Boltzmann equation around each ion, with short-range potentials and hard cores.

Around an ion of species i at the origin, with ψ_i the mean potential in k_B T / e and l_B the Bjerrum length,

    (1/r) d²(r ψ_i)/dr² = -4π l_B Σ_j z_j ρ_j g_ij,      g_ij = exp(-u_ij - z_j ψ_i),      r ψ_i → z_i l_B as r → 0,

u_ij the short-range potential in k_B T, infinite within hard cores (Gronwall, La Mer and Sandved, Phys. Z. 29, 358
(1928); Robinson and Stokes, Electrolyte Solutions, chapter 4). Linearised it is the extended law of Debye and Hückel.

| symbol | here |
|---|---|
| ψ_i | ``potential[i]`` |
| g_ij | ``g[i, j]``; where cation and anion are no mirror images, it differs from ``g[j, i]``, as no exact g does |
| r ψ_i | ``u`` in the code |

Each ion with its atmosphere is neutral: Σ_j z_j ρ_j ∫ g_ij 4π r² dr = -z_i. The osmotic coefficient is that of the
virial, γ± follows from it by Gibbs and Duhem; the compressibility gives another one (`jaxelyte.theory.routes`). The
charging process of Güntelberg would give a third γ±: the theory is not consistent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.errors import JaxelyteError
from jaxelyte.theory.grid import STEP, Grid, screened
from jaxelyte.theory.routes import Profile, solutions

if TYPE_CHECKING:
    from jaxelyte.theory.ions import IonModel
    from jaxelyte.theory.result import PBResult

TOLERANCE = 1e-10
"""Last correction of the potential by Newton's method, k_B T / e."""

STEPS = 100
"""Of Newton's method at most."""

LARGEST = 2.0
"""Change of the potential in one step at most, k_B T / e: exponentials are not linear beyond."""


def curve(
    model: IonModel, concentrations: Sequence[float], *, points: int | None = None, step: float = STEP
) -> list[PBResult]:
    """Solutions at rising concentrations; see `IonModel.poisson_boltzmann`."""
    return solutions(model, concentrations, lambda c: profile(model, c, model.points(c, step, points), step))


def profile(model: IonModel, concentration: float, points: int, step: float) -> Profile:
    """Solve at one concentration.

    Raises:
        JaxelyteError: Newton's method did not converge.
    """
    r = Grid(points, step).r
    short = model.short_potential(r)
    found = [_around(model, concentration, i, r, short[i]) for i in range(2)]
    potential = np.stack([psi for psi, _ in found])
    exponent = model.valences[:, None] * potential[:, None]
    g = np.exp(-np.maximum(short + exponent, -700.0))
    return Profile(r, g, model.coulomb(r) - exponent, potential, max(error for _, error in found))


def _around(
    model: IonModel, concentration: float, i: int, r: np.ndarray, short: np.ndarray
) -> tuple[np.ndarray, float]:
    """Mean potential around an ion, (points,), and the last correction of it."""
    step, bjerrum = float(r[1] - r[0]), model.bjerrum
    charges = model.valences
    weight = (4.0 * np.pi * bjerrum * charges * model.densities(concentration))[:, None]
    origin = float(charges[i]) * bjerrum
    u = origin * np.exp(-model.kappa(concentration) * r)
    change = np.inf
    for _ in range(STEPS):
        g = np.exp(-np.maximum(short + charges[:, None] * u / r, -50.0))
        slope = np.sum(charges[:, None] * weight * g, axis=0)
        # Newton's method: the linearised equation, for u itself.
        new = screened(slope, -np.sum(weight * g, axis=0) * r - slope * u, origin, step)
        change = float(np.max(np.abs(new - u) / r))
        u = u + (new - u) * min(1.0, LARGEST / change)
        if change < TOLERANCE:
            return u / r, change
    raise JaxelyteError(
        f"the Poisson-Boltzmann equation around {model.species[i]} found no solution at {concentration} mol/L (last "
        f"correction {change:.1e} k_B T/e); lower the step of {step} Å, or the potential attracts without bound"
    )
