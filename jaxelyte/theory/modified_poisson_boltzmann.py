"""A modified Poisson-Boltzmann theory: the volume of ions, and what it takes out of each other's atmospheres.

With z the charges, ψ_i the mean potential around i in k_B T / e and l_B the Bjerrum length,

    ∇²ψ_i = -4π l_B (z_i δ(r) + Σ_k z_k ρ_k g_ik),
    g_ij = ζ_ij exp(-u_ij - (z_j L_j[i] + z_i L_i[j])/2 - S_ij),
    L_j[i](r) = ψ_i(r) + Σ_k z_k ρ_k ∫ t_j(s) (f_jk(s) - 1) h_ik(|r + s|) d³s,
    S_ij(r) = (κ²/8π l_B) ∫ [z_j² (1 - f_i(|r + s|)) f_j(s) t_j(s)² + z_i² (i ↔ j)] d³s.

| symbol | meaning |
|---|---|
| u_ij, f_ij | short-range potential in k_B T and exp(-u_ij); zero within hard cores |
| f_j | Σ_k z_k² ρ_k f_jk / Σ_k z_k² ρ_k |
| t_j | linear potential of a unit charge with the room of j: (∇² - κ² f_j) t_j = -4π l_B δ |
| ζ_ij | "exclusion": exp(u) g of the ions without charges, by Percus and Yevick |
| L_j[i] | "fluctuation": what j feels of i and its atmosphere, less what the volume of j keeps out, and the response |
| S_ij | "hole": the atmosphere of j has no place in the volume of i, which costs self-energy, and the other way round |

Derivation: the fluctuation potential φ, what j at r adds to ψ_i, obeys in linear order

    ∇²φ = κ² f_j f_i φ - 4π l_B (z_j δ + Σ_k z_k ρ_k g_ik (f_jk - 1)).

Its value at j, less its own Coulomb term and what it is far from i, is charged from zero (Kirkwood), i first, then j.
What goes with z_i z_j is L, for f_i = 1; what goes with z_j² is S, to first order in 1 - f_i. Their product is left
out, and κ is that of the bulk everywhere. Of hard spheres of one diameter a,

    L = [u(r + a) + u(r - a) + κ ∫ u dr' from r - a to r + a] / (2r (1 + κ a)),      u = r ψ,

the operator of Outhwaite and Bhuiyan's theory (Outhwaite, Molero and Bhuiyan, J. Chem. Soc. Faraday Trans. 87, 3227
(1991) and 89, 1315 (1993)), taken symmetrically in i and j. Those papers were not at hand: this follows the derivation
above. Soft potentials, unlike diameters and S are ours, and their numbers were not reproduced digit by digit.

Each ion with its atmosphere is neutral. γ± follows from the virial by Gibbs and Duhem (`jaxelyte.theory.routes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.errors import JaxelyteError
from jaxelyte.theory import newton, poisson_boltzmann
from jaxelyte.theory.grid import FEWEST, STEP, UPPER, Grid, screened, symmetric
from jaxelyte.theory.percus_yevick import cavity
from jaxelyte.theory.routes import Profile, solutions

if TYPE_CHECKING:
    from jaxelyte.theory.ions import IonModel
    from jaxelyte.theory.result import PBResult

TOLERANCE = 1e-9
"""Largest residual of r ψ in Å k_B T / e, and of exponents, at convergence."""


def curve(
    model: IonModel,
    concentrations: Sequence[float],
    *,
    terms: Sequence[str],
    points: int | None = None,
    step: float = STEP,
) -> list[PBResult]:
    """Solutions at rising concentrations; see `IonModel.modified_poisson_boltzmann`."""
    return solutions(model, concentrations, lambda c: profile(model, c, terms, model.points(c, step, points), step))


def profile(model: IonModel, concentration: float, terms: Sequence[str], points: int, step: float) -> Profile:
    """Solve at one concentration.

    Raises:
        JaxelyteError: no solution was found.
    """
    grid = Grid(points, step)
    short = model.short_potential(grid.r)
    room, hole = _volumes(model, concentration, grid, short, terms)
    log_zeta = np.zeros_like(short)
    if "exclusion" in terms:
        # Without charges nothing reaches far.
        fewer = min(points, FEWEST)
        log_zeta[..., :fewer] = np.log(cavity(model, concentration, fewer, step))
    fixed = hole - log_zeta
    equations = _equations(model, concentration, grid, short + fixed, room)
    start = poisson_boltzmann.profile(model, concentration, points, step).potential
    state = np.concatenate([grid.r * start - _bare(model, concentration, grid), np.zeros((3, points))])
    try:
        found = newton.solve(lambda x: equations(x)[0], state.ravel(), TOLERANCE)
    except newton.NoSolutionError as error:
        raise JaxelyteError(
            f"the modified Poisson-Boltzmann equations found no solution at {concentration} mol/L; leave terms of "
            f"{list(terms)} out, or the ions are coupled too strongly"
        ) from error
    residual, potential, exponent = equations(found)
    g = np.exp(-np.maximum(short + fixed + exponent, -50.0))
    return Profile(grid.r, g, model.coulomb(grid.r) - fixed - exponent, potential, float(np.abs(residual).max()))


def _equations(
    model: IonModel, concentration: float, grid: Grid, short: np.ndarray, room: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Residual of the unknowns, (5 points,), and what they mean: ψ and the exponent of g without ``short``.

    The unknowns are r ψ_i without its bare part, and what "fluctuation" adds to the exponents of the three pairs.
    """
    charges, points = model.valences, len(grid.r)
    weight = charges * model.densities(concentration)
    kappa_squared = model.kappa(concentration) ** 2
    bare = _bare(model, concentration, grid)
    # The transform of the bare part, which is known.
    bare_k = 4.0 * np.pi * model.bjerrum * charges[:, None] / (grid.k**2 + kappa_squared)

    def evaluate(state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        unknown = state.reshape(5, points)
        potential = (bare + unknown[:2]) / grid.r
        exponent = symmetric(unknown[2:], points) + _pairs(charges, potential[:, None] * np.ones((1, 2, 1)))
        h = grid.forward(np.exp(-np.maximum(short + exponent, -50.0)) - 1.0)
        # (k² + κ²) ψ = 4π l_B (charges) + κ² ψ: an equation that is nearly linear, and screens by itself.
        source = 4.0 * np.pi * model.bjerrum * np.einsum("k,ikn->in", weight, h)
        source = source + kappa_squared * (bare_k + grid.forward(unknown[:2] / grid.r))
        new = grid.r * grid.backward(source / (grid.k**2 + kappa_squared))
        added = grid.backward(_pairs(charges, np.einsum("k,jkn,ikn->ijn", weight, room, h)))[UPPER]
        return np.concatenate([new - unknown[:2], added - unknown[2:]]).ravel(), potential, exponent

    return evaluate


def _pairs(charges: np.ndarray, felt: np.ndarray) -> np.ndarray:
    """(z_j L_j[i] + z_i L_i[j])/2 from L of shape (i, j, points)."""
    one = charges[None, :, None] * felt
    return 0.5 * (one + np.swapaxes(one, 0, 1))


def _bare(model: IonModel, concentration: float, grid: Grid) -> np.ndarray:
    """R ψ of a point in a linear atmosphere, (2, points): what r ψ is like at the origin."""
    return model.bjerrum * model.valences[:, None] * np.exp(-model.kappa(concentration) * grid.r)


def _volumes(
    model: IonModel, concentration: float, grid: Grid, short: np.ndarray, terms: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Transforms of t_j (f_jk - 1), (j, k, points), and S_ij, (2, 2, points)."""
    factors = np.exp(-np.maximum(short, -50.0))
    strength = model.valences**2 * model.densities(concentration)
    mean = np.einsum("k,jkn->jn", strength / strength.sum(), factors)
    kappa_squared = model.kappa(concentration) ** 2
    zero = np.zeros_like(grid.r)
    response = [screened(kappa_squared * f, zero.copy(), model.bjerrum, grid.step) / grid.r for f in mean]
    room, hole = np.zeros_like(short), np.zeros_like(short)
    if "fluctuation" in terms:
        room = grid.forward(np.stack(response)[:, None] * (factors - 1.0))
    if "hole" in terms:
        empty = grid.forward(1.0 - mean)
        square = grid.forward(mean * np.stack(response) ** 2)
        one = (model.valences**2)[None, :, None] * empty[:, None] * square[None, :]
        hole = kappa_squared / (8.0 * np.pi * model.bjerrum) * grid.backward(one + np.swapaxes(one, 0, 1))
    return room, hole
