"""Ornstein-Zernike theory of ions in a dielectric with the hypernetted-chain closure.

    h_ij = c_ij + Σ_k ρ_k c_ik * h_kj,      1 + h_ij = exp(-β u_ij + h_ij - c_ij),

for a potential of short-range parts and screened Coulomb terms. The long-range part of u and c is split off and
transformed analytically (Ng, J. Chem. Phys. 61, 2680 (1974)). Thermodynamics: the virial, the compressibility, and the
closed form of the chemical potential in this closure (Belloni, Chem. Phys. 99, 43 (1985)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxelyte.arrays import brief_repr
from jaxelyte.checks import caution
from jaxelyte.errors import JaxelyteError
from jaxelyte.theory import newton
from jaxelyte.theory.grid import STEP, UPPER, Grid, chains, symmetric
from jaxelyte.theory.ions import IonModel, rising
from jaxelyte.theory.result import IonResult
from jaxelyte.theory.routes import compressibility, virial

TOLERANCE = 1e-9
"""Largest residual of h - c_s at convergence."""

ALPHA = 0.5
"""1/Å, of the long-range part that is split off; any value gives the same solution."""


@dataclass(frozen=True)
class HNCResult(IonResult):
    """Solution of the hypernetted chain; see `IonResult`."""

    __repr__ = brief_repr


def curve(
    model: IonModel, concentrations: Sequence[float], *, points: int | None = None, step: float = STEP
) -> list[HNCResult]:
    """Solutions at rising concentrations, each started from the one before; see `IonModel.hnc`."""
    wanted = rising(concentrations)
    results, state = [], None
    # Concentrated solutions are reached from dilute ones, in steps of a factor of two at most.
    ladder = [min(0.05, wanted[0])]
    for concentration in wanted:
        while ladder[-1] * 2.0 < concentration:
            ladder.append(ladder[-1] * 2.0)
        ladder += [concentration] if concentration > ladder[-1] else []
    points = model.points(ladder[0], step, points)
    for concentration in ladder:
        result, state = _solve(model, concentration, points, step, state)
        if concentration in wanted:
            results.append(result)
    return results


def osmotic_by_compressibility(results: Sequence[IonResult]) -> np.ndarray:
    """φ at each of the results; see `IonModel.osmotic_by_compressibility`."""
    from scipy.interpolate import CubicSpline

    root = np.sqrt([0.0, *(r.concentration for r in results)])
    curve = CubicSpline(root, [1.0, *(r.derivative for r in results)])
    fine = np.linspace(0.0, root[-1], 4001)
    integrand = curve(fine) * 2.0 * fine  # dc = 2 √c d√c
    total = np.concatenate([[0.0], np.cumsum(0.5 * (integrand[1:] + integrand[:-1]) * np.diff(fine))])
    return np.interp(root[1:], fine, total) / root[1:] ** 2


def _solve(model: IonModel, concentration: float, points: int, step: float, state: Any) -> tuple[HNCResult, Any]:
    from scipy.special import erf

    grid = Grid(points, step)
    densities = model.densities(concentration)
    long_r = model.coulomb(grid.r) * erf(ALPHA * grid.r)
    products = model.bjerrum * np.outer(model.valences, model.valences)[..., None]
    long_k = 4.0 * np.pi * products * np.exp(-(grid.k**2) / (4.0 * ALPHA**2)) / grid.k**2
    short = model.short_potential(grid.r) + (model.coulomb(grid.r) - long_r)
    boltzmann = np.exp(-np.clip(short, -50.0, 700.0))

    def residual(flat: np.ndarray) -> np.ndarray:
        gamma = symmetric(flat, points)
        found = grid.forward(boltzmann * np.exp(np.clip(gamma, -50.0, 50.0)) - 1.0 - gamma)
        return (grid.backward(chains(found - long_k, densities) - found) - gamma)[UPPER].ravel()

    flat = np.zeros(3 * points) if state is None else state
    for _ in range(30):  # a few damped steps of simple iteration bring it near
        flat = flat + 0.3 * residual(flat)
    try:
        flat = newton.solve(residual, flat, TOLERANCE)
    except (newton.NoSolutionError, np.linalg.LinAlgError) as error:
        raise JaxelyteError(
            f"the hypernetted-chain equations found no solution at {concentration} mol/L; climb in smaller steps "
            "(hnc_curve), or the closure has none there"
        ) from error
    gamma = symmetric(flat, points)
    h = boltzmann * np.exp(gamma) - 1.0
    return _result(model, concentration, grid, h, gamma, long_r, float(np.abs(residual(flat)).max())), flat


def _result(
    model: IonModel,
    concentration: float,
    grid: Grid,
    h: np.ndarray,
    gamma: np.ndarray,
    long_r: np.ndarray,
    residual: float,
) -> HNCResult:
    densities = model.densities(concentration)
    volume = 4.0 * np.pi * grid.r**2 * grid.step
    # c = c_s - long range; that of the latter vanishes by neutrality, summed over j.
    short = h - gamma
    excess = np.sum(densities[None, :, None] * (0.5 * h * (gamma + long_r) - short) * volume, axis=(1, 2))
    if np.any(h[:, :, -1] > 1e-3):
        caution("correlations do not vanish at the end of the grid; increase points")
    return HNCResult(
        concentration=concentration,
        species=model.species,
        r=grid.r,
        g=h + 1.0,
        osmotic=virial(model, concentration, grid.r, h + 1.0, gamma + long_r),
        activity=math.exp(float(np.sum(densities * excess)) / float(densities.sum())),
        derivative=compressibility(model, concentration, grid.r, h + 1.0),
        residual=residual,
    )
