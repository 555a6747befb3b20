"""Percus-Yevick theory of ions without charges: how the volume of all orders the pairs.

    h_ij = c_ij + Σ_k ρ_k c_ik * h_kj,      c_ij = (exp(-u_ij) - 1) y_ij,      y_ij = 1 + h_ij - c_ij,

u the short-range potential in k_B T and y = g exp(u) (Percus and Yevick, Phys. Rev. 110, 1 (1958)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.errors import JaxelyteError
from jaxelyte.theory import newton
from jaxelyte.theory.grid import UPPER, Grid, chains, symmetric

if TYPE_CHECKING:
    from jaxelyte.theory.ions import IonModel

TOLERANCE = 1e-10


def cavity(model: IonModel, concentration: float, points: int, step: float) -> np.ndarray:
    """Cavity functions y of each pair, (2, 2, points), on a `Grid`.

    It fails where the fluid without charges is dense (a packing of 0.4) or condenses.

    Raises:
        JaxelyteError: no solution, or one that is negative somewhere.
    """
    grid = Grid(points, step)
    densities = model.densities(concentration)
    mayer = np.exp(-np.maximum(model.short_potential(grid.r), -50.0)) - 1.0

    def residual(flat: np.ndarray) -> np.ndarray:
        gamma = symmetric(flat, points)
        found = grid.forward(mayer * (1.0 + gamma))
        return (grid.backward(chains(found, densities) - found) - gamma)[UPPER].ravel()

    try:
        flat = newton.solve(residual, np.zeros(3 * points), TOLERANCE)
    except (newton.NoSolutionError, np.linalg.LinAlgError) as error:
        raise JaxelyteError(
            f"the Percus-Yevick equation of the ions without charges found no solution at {concentration} mol/L; leave "
            'the term "exclusion" out'
        ) from error
    y = 1.0 + symmetric(flat, points)
    if not np.all(y > 0.0):
        raise JaxelyteError(
            f"the ions without charges have no Percus-Yevick solution with positive g at {concentration} mol/L (their "
            'short-range potentials attract too much); leave the term "exclusion" out'
        )
    return y
