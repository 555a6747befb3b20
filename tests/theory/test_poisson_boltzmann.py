"""The Poisson-Boltzmann equation and its modification: limits, other solvers, closed forms, published simulations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad, solve_bvp

from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.theory import IonModel, PBResult, debye_hueckel, modified_poisson_boltzmann, poisson_boltzmann
from jaxelyte.theory.grid import Grid
from jaxelyte.theory.ions import TERMS
from jaxelyte.theory.percus_yevick import cavity
from jaxelyte.theory.routes import virial
from jaxelyte.units import LITER

SIZE = 4.25
PRIMITIVE = IonModel({"Na": 1.0, "Cl": -1.0}, diameters=SIZE, permittivity=78.5, temperature=298.0)
UNLIKE = IonModel(
    {"Mg": 2.0, "Cl": -1.0},
    diameters={("Mg", "Mg"): 5.0, ("Mg", "Cl"): 4.5, ("Cl", "Cl"): 4.0},
    permittivity=78.5,
    temperature=298.0,
)
CARD_VALLEAU = {
    0.00911: (0.9701, 0.0008),
    0.10376: (0.9445, 0.0012),
    0.42502: (0.9774, 0.0046),
    1.0001: (1.094, 0.005),
    1.9676: (1.346, 0.009),
}
"""Osmotic coefficients of the restricted primitive model and their errors: J. Chem. Phys. 52, 6232 (1970)."""


@pytest.fixture(scope="module")
def plain() -> list[PBResult]:
    return PRIMITIVE.poisson_boltzmann_curve(list(CARD_VALLEAU))


@pytest.fixture(scope="module")
def modified() -> list[PBResult]:
    return PRIMITIVE.modified_poisson_boltzmann_curve(list(CARD_VALLEAU))


def osmotic(model: IonModel, c: float, *, terms: tuple[str, ...] | None = None, step: float = 0.025) -> float:
    """By the virial, without the integrals from zero."""
    points = model.points(c, step, None)
    if terms is None:
        p = poisson_boltzmann.profile(model, c, points, step)
    else:
        p = modified_poisson_boltzmann.profile(model, c, terms, points, step)
    return virial(model, c, p.r, p.g, p.log_cavity)


def test_limiting_law() -> None:
    """The relative deviation from Debye's and Hückel's law halves with √c, for φ and for γ±, whatever the volumes."""
    dilute = [2.5e-5, 1e-4, 4e-4]
    off_osmotic, off_activity = [], []
    for c in dilute:
        found = PRIMITIVE.poisson_boltzmann(c, step=0.05)
        law = debye_hueckel(c, permittivity=78.5, temperature=298.0)
        off_osmotic.append((found.osmotic - 1.0) / (law.osmotic - 1.0) - 1.0)
        off_activity.append(np.log(found.activity) / np.log(law.activity) - 1.0)
    for off in (off_osmotic, off_activity):
        assert abs(off[0]) < 0.012
        assert off[1] / off[0] == pytest.approx(2.0, rel=0.1)
        assert off[2] / off[1] == pytest.approx(2.0, rel=0.1)


def test_modified_theory_has_the_same_limit() -> None:
    off = [
        (osmotic(PRIMITIVE, c, terms=TERMS, step=0.05) - 1.0)
        / (debye_hueckel(c, permittivity=78.5, temperature=298.0).osmotic - 1.0)
        - 1.0
        for c in (5e-4, 2e-3)
    ]
    assert abs(off[0]) < 0.05
    assert off[1] / off[0] == pytest.approx(2.0, rel=0.1)


def test_weak_ions_are_those_of_the_extended_law() -> None:
    """A Bjerrum length of 0.07 Å: the potential of Debye and Hückel around a hard ion, at 1 mol/L."""
    weak = IonModel({"Na": 1.0, "Cl": -1.0}, diameters=SIZE, permittivity=7850.0, temperature=298.0)
    p = poisson_boltzmann.profile(weak, 1.0, 8192, 0.025)
    kappa, outside = weak.kappa(1.0), (p.r > SIZE) & (p.r < 60.0)
    exact = weak.bjerrum * np.exp(-kappa * (p.r - SIZE)) / (p.r * (1.0 + kappa * SIZE))
    assert np.allclose(p.potential[0][outside], exact[outside], rtol=1e-3, atol=1e-7)
    assert np.allclose(p.potential[1], -p.potential[0], atol=1e-12)


@pytest.mark.parametrize("c", [0.01, 1.9676])
def test_another_solver_finds_the_same_potential(c: float) -> None:
    """Scipy's collocation outside of the core, with the charge of the ion as the condition at contact."""
    p = poisson_boltzmann.profile(PRIMITIVE, c, PRIMITIVE.points(c, 0.0125, None), 0.0125)
    kappa, bjerrum = PRIMITIVE.kappa(c), PRIMITIVE.bjerrum
    end = SIZE + 14.0 / kappa

    def slope(r: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.vstack([y[1], kappa**2 * np.sinh(y[0]) - 2.0 * y[1] / r])

    def ends(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.array([left[1] + bjerrum / SIZE**2, right[1] + (kappa + 1.0 / end) * right[0]])

    r = SIZE + (end - SIZE) * np.linspace(0.0, 1.0, 400) ** 2
    guess = bjerrum * np.exp(-kappa * (r - SIZE)) / r / (1 + kappa * SIZE)
    other = solve_bvp(slope, ends, r, np.vstack([guess, -guess * (kappa + 1 / r)]), tol=1e-8, max_nodes=100_000)
    assert other.success
    inside = (p.r > SIZE) & (p.r < SIZE + 8.0 / kappa)
    assert np.allclose(p.potential[0][inside], other.sol(p.r[inside])[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", [PRIMITIVE, UNLIKE], ids=["1:1", "2:1"])
@pytest.mark.parametrize("terms", [None, TERMS], ids=["PB", "MPB"])
def test_ion_and_atmosphere_are_neutral(model: IonModel, terms: tuple[str, ...] | None) -> None:
    c, step = 0.3, 0.025
    points = model.points(c, step, None)
    p = (
        poisson_boltzmann.profile(model, c, points, step)
        if terms is None
        else modified_poisson_boltzmann.profile(model, c, terms, points, step)
    )
    weight = (model.valences * model.densities(c))[:, None] * 4.0 * np.pi * p.r**2 * step
    for i in range(2):
        assert np.sum(weight * (p.g[i] - 1.0)) == pytest.approx(-model.valences[i], abs=1e-4)
    assert np.all(p.g[0, 1][p.r < model.edge(0, 1, step)] == 0.0)
    assert p.residual < 1e-7


def test_simulations_where_the_plain_theory_holds_and_where_not(plain: list[PBResult]) -> None:
    """Within the errors of Monte Carlo when dilute; 1.5 and 7 % low at 1 and 2 mol/L, where volumes count."""
    for found, (phi, error) in zip(plain[:3], list(CARD_VALLEAU.values())[:3], strict=True):
        assert found.osmotic == pytest.approx(phi, abs=2.0 * error)
    off = [found.osmotic / phi - 1.0 for found, (phi, _) in zip(plain, CARD_VALLEAU.values(), strict=True)]
    assert off[3] == pytest.approx(-0.015, abs=0.005)
    assert off[4] == pytest.approx(-0.066, abs=0.01)


def test_simulations_by_the_modified_theory(modified: list[PBResult]) -> None:
    for found, (phi, error) in zip(modified, CARD_VALLEAU.values(), strict=True):
        assert found.osmotic == pytest.approx(phi, abs=1.2 * error)
        assert found.osmotic_compressibility == pytest.approx(found.osmotic, rel=0.01)


def test_gibbs_and_duhem(modified: list[PBResult]) -> None:
    """γ± is that of the virial, d(cφ)/dc = 1 + c d ln γ/dc, and φ by the compressibility integrates the derivative."""
    low, mid, high = PRIMITIVE.poisson_boltzmann_curve([0.49, 0.5, 0.51])
    left = (0.51 * high.osmotic - 0.49 * low.osmotic) / 0.02
    assert left == pytest.approx(1.0 + 0.5 * np.log(high.activity / low.activity) / 0.02, abs=2e-4)
    left = (0.51 * high.osmotic_compressibility - 0.49 * low.osmotic_compressibility) / 0.02
    assert left == pytest.approx(mid.derivative, abs=2e-4)
    # The integral does not depend on how far the curve goes.
    assert PRIMITIVE.poisson_boltzmann_curve([0.5, 2.0])[0].activity == pytest.approx(mid.activity, abs=1e-4)
    # Nor on how many concentrations it takes where the solution is dilute.
    dilute = PRIMITIVE.poisson_boltzmann(0.0095).activity
    assert PRIMITIVE.poisson_boltzmann_curve([0.0095, 0.1])[0].activity == pytest.approx(dilute, abs=2e-6)
    # The hypernetted chain, which has γ± in closed form.
    for found, other in ((modified[1], PRIMITIVE.hnc(0.10376)), (modified[3], PRIMITIVE.hnc(1.0001))):
        assert found.activity == pytest.approx(other.activity, rel=2e-3)


def test_without_terms_it_is_the_plain_theory(plain: list[PBResult]) -> None:
    """Two solvers, by differences and by transforms, of one equation: in this model it is symmetrical as it is."""
    for found, c in zip(plain[1:4], list(CARD_VALLEAU)[1:4], strict=True):
        assert osmotic(PRIMITIVE, c, terms=()) == pytest.approx(found.osmotic, abs=5e-5)


def test_only_the_modified_theory_is_symmetrical() -> None:
    p = poisson_boltzmann.profile(UNLIKE, 0.3, 4096, 0.025)
    assert np.abs(p.g[0, 1] - p.g[1, 0]).max() > 0.05
    p = modified_poisson_boltzmann.profile(UNLIKE, 0.3, (), 4096, 0.025)
    assert np.array_equal(p.g[0, 1], p.g[1, 0])


def test_grid_does_not_matter() -> None:
    for terms in (None, TERMS):
        coarse, fine = (osmotic(PRIMITIVE, 0.5, terms=terms, step=step) for step in (0.025, 0.0125))
        assert coarse == pytest.approx(fine, abs=1e-4)


def test_fluctuations_by_their_closed_form() -> None:
    """What an ion feels of another, by convolution for any short-range potential, against that of hard spheres."""
    c, step, points = 1.0, 0.0125, 8192
    grid, kappa = Grid(points, step), PRIMITIVE.kappa(1.0)
    p = poisson_boltzmann.profile(PRIMITIVE, c, points, step)
    room, _ = modified_poisson_boltzmann._volumes(
        PRIMITIVE, c, grid, PRIMITIVE.short_potential(grid.r), ("fluctuation",)
    )
    weight = PRIMITIVE.valences * PRIMITIVE.densities(c)
    h = grid.forward(p.g[0] - 1.0)
    found = p.potential[0] + grid.backward(np.einsum("k,kn,kn->n", weight, room[1], h))
    u = grid.r * p.potential[0]
    area = np.concatenate([[0.0], np.cumsum(u) * step])

    def at(x: np.ndarray) -> np.ndarray:
        return np.interp(x, grid.r, u)

    r = np.arange(SIZE + 0.5, 15.0, 0.25)
    bounds = np.arange(points + 1) * step
    between = np.interp(r + SIZE, bounds, area) - np.interp(r - SIZE, bounds, area)
    exact = (at(r + SIZE) + at(r - SIZE) + kappa * between) / (2.0 * r * (1.0 + kappa * SIZE))
    assert np.allclose(np.interp(r, grid.r, found), exact, atol=2e-4)
    # It is a tenth of what the mean potential has at contact.
    assert np.abs(exact - at(r) / r).max() > 0.02


def test_hole_by_quadrature() -> None:
    c, step, points, r = 1.0, 0.0125, 8192, 5.5
    grid, kappa, bjerrum = Grid(points, step), PRIMITIVE.kappa(1.0), PRIMITIVE.bjerrum
    _, hole = modified_poisson_boltzmann._volumes(PRIMITIVE, c, grid, PRIMITIVE.short_potential(grid.r), ("hole",))

    def shell(s: float) -> float:
        """4π s² t² f of the shell that lies within the other ion's volume."""
        cosine = (SIZE**2 - s**2 - r**2) / (2.0 * s * r)
        cap = 0.5 * (1.0 + np.clip(cosine, -1.0, 1.0))
        t = bjerrum * np.exp(-kappa * (s - SIZE)) / (s * (1.0 + kappa * SIZE))
        return 4.0 * np.pi * s**2 * t**2 * cap

    integral = quad(shell, SIZE, r + SIZE)[0]
    exact = 2.0 * kappa**2 / (8.0 * np.pi * bjerrum) * integral
    for pair in hole.reshape(4, points):
        assert np.interp(r, grid.r, pair) == pytest.approx(exact, rel=2e-3)


def test_exclusion_is_that_of_hard_spheres() -> None:
    """Contact by Percus and Yevick: (1 + η/2)/(1 - η)² at a packing of 0.2."""
    c = 0.2 / (np.pi / 6 * SIZE**3) / LITER / 2.0
    y = cavity(PRIMITIVE, c, 8192, 0.0125)
    r = Grid(8192, 0.0125).r
    assert np.interp(SIZE, r, y[0, 1]) == pytest.approx(1.1 / 0.8**2, rel=1e-3)
    assert np.allclose(y[0, 0], y[1, 1], atol=1e-9)


def test_lithium_chloride_from_published_potentials(reference: Path) -> None:
    """Tables instead of cores: the modified theory is near the hypernetted chain where the plain one is not."""
    r, *tables = np.loadtxt(reference / "licl_ions" / "pair_potential_short_range.dat").T
    pairs = (("Li", "Li"), ("Li", "Cl"), ("Cl", "Cl"))
    model = IonModel({"Li": 1.0, "Cl": -1.0}, short_range=(r, dict(zip(pairs, tables, strict=True))), temperature=300.0)
    chain = model.hnc(2.0)
    assert osmotic(model, 2.0) < chain.osmotic - 0.02
    p = modified_poisson_boltzmann.profile(model, 2.0, TERMS, 4096, 0.025)
    assert virial(model, 2.0, p.r, p.g, p.log_cavity) == pytest.approx(chain.osmotic, abs=0.005)
    assert p.g[0, 1].max() == pytest.approx(chain.pair("Li", "Cl").max(), rel=0.03)


def test_results_are_written(tmp_path: Path, plain: list[PBResult]) -> None:
    found = plain[1]
    found.to_csv(tmp_path / "g.csv")
    table = np.loadtxt(tmp_path / "g.csv", delimiter=",", skiprows=1)
    assert np.allclose(table[:, 2], found.pair("Na", "Cl"))
    assert found.plot().get_ylabel() == "g(r)"
    assert found.potential.shape == (2, len(found.r))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PRIMITIVE.poisson_boltzmann(0.0), "concentration = 0 mol/L cannot be"),
        (lambda: PRIMITIVE.poisson_boltzmann_curve([0.2, 0.1]), "increasing"),
        (lambda: PRIMITIVE.poisson_boltzmann(1e-3, points=512), "increase points"),
        (lambda: PRIMITIVE.modified_poisson_boltzmann(0.1, terms=["images"]), "not 'images'"),
        (lambda: PRIMITIVE.modified_poisson_boltzmann(-0.1), "concentration = -0.1 mol/L cannot be"),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_no_solution_is_told() -> None:
    """Neutral wells of 3 k_B T at 3 mol/L condense without charges."""
    r = np.arange(3.0, 12.0, 0.01)
    well = np.where(r < 8.0, -3.0, 0.0)
    model = IonModel(
        {"Na": 1.0, "Cl": -1.0}, short_range=(r, dict.fromkeys((("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")), well))
    )
    with pytest.raises(JaxelyteError, match="leave the term"):
        modified_poisson_boltzmann.profile(model, 3.0, TERMS, 4096, 0.025)
