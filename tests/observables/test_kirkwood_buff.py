"""Kirkwood-Buff integrals: closed forms, an ideal gas, published curves, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.errors import InputError
from jaxelyte.observables import RDFResult, load_result
from jaxelyte.observables.integrals import unsettled
from jaxelyte.trajectory import Trajectory
from toys import gas

LICL = 25.26  # Å, box of the published runs: 24 ion pairs


def curve(edges: np.ndarray, *g: np.ndarray, density: float = 0.01) -> RDFResult:
    """A result with these g, without errors."""
    values = np.stack(g)
    none = np.full_like(values, np.nan)
    return RDFResult(
        pairs=(("Na", "Cl"),) * len(g),
        edges=edges,
        g=values,
        error=none,
        coordination=none,
        coordination_error=none,
        samples=1,
        replicas=1,
        density=np.full(len(g), density),
        stretches=values[None],
    )


def hole(edges: np.ndarray, radius: float = 4.0) -> np.ndarray:
    return np.where(edges[1:] <= radius + 1e-9, 0.0, 1.0)


def test_integral_of_a_hole_is_its_volume() -> None:
    """Cut off beyond the hole it is exact; the weights of finite spheres by their polynomials, integrated by hand."""
    edges = np.linspace(0.0, 12.0, 241)
    result = curve(edges, hole(edges))
    exact = -4.0 / 3.0 * np.pi * 4.0**3
    x = 4.0 / 12.0
    expected = {
        "cut-off": exact,
        "sphere": exact * 3.0 * (1 / 3 - 1.5 * x / 4 + 0.5 * x**3 / 6),
        "extrapolated": exact * 3.0 * (1 / 3 - 23 / 8 * x**3 / 6 + 0.75 * x**4 / 7 + 9 / 8 * x**5 / 8),
    }
    for weight, value in expected.items():
        found = jxl.kirkwood_buff(result, box_length=24.0, correction="none", weight=weight)  # pyright: ignore[reportArgumentType]
        assert found.value[0] == pytest.approx(value, rel=1e-12)
        assert found["Cl-Na"][0] == found.value[0]
    # Its surface taken to infinity: what is left is of the third order in the hole's size, not of the first.
    assert abs(expected["extrapolated"] / exact - 1.0) < 0.06
    assert abs(expected["sphere"] / exact - 1.0) > 0.3


def test_closed_box_is_recovered() -> None:
    """A hole in a closed box makes the rest denser; the correction gives back the open system."""
    length, density = 24.0, 0.004
    edges = np.linspace(0.0, 14.0, 281)
    volume, holes = length**3, 4.0 / 3.0 * np.pi * 4.0**3
    # ρV others fill what is left of the box.
    g = np.where(edges[1:] <= 4.0 + 1e-9, 0.0, volume / (volume - holes))
    for correction in ("closed", "background"):
        found = jxl.kirkwood_buff(curve(edges, g, density=density), box_length=24.0, correction=correction)
        assert found.value[0] == pytest.approx(-holes, rel=1e-9)
    raw = jxl.kirkwood_buff(curve(edges, g, density=density), box_length=24.0, correction="none")
    assert raw.value[0] > -0.9 * holes


@pytest.mark.parametrize("count", [4, 20])
def test_ideal_dimers_are_exact(count: int) -> None:
    """In a closed box g = V/N p(r) + 1 - 1/N of unlike, 1 of like atoms: G = V/N and 0, derivative 1/2."""
    edge, edges = 24.0, np.linspace(0.0, 14.0, 281)
    inner = 4.0 / 3.0 * np.pi * edges**3
    # Partners uniformly within 3 Å.
    partner = np.diff(np.minimum(inner / (36.0 * np.pi), 1.0)) / np.diff(inner)
    unlike, like = edge**3 / count * partner + 1.0 - 1.0 / count, np.ones(280)
    exact = edge**3 / count
    expected = {"background": 1.0, "closed": 1.0 + 0.5 / count, "tail": count / (count - 1.0)}
    for correction, factor in expected.items():
        found = jxl.kirkwood_buff(curve(edges, unlike), box_length=edge, correction=correction)  # pyright: ignore[reportArgumentType]
        assert found.value[0] == pytest.approx(factor * exact, rel=0.3 * (factor - 1.0) + 1e-6)
        derivative = jxl.activity_derivative(
            r=0.5 * (edges[1:] + edges[:-1]),
            cation_cation=like,
            cation_anion=unlike,
            anion_anion=like,
            density=count / edge**3,
            box_length=edge,
            correction=correction,  # pyright: ignore[reportArgumentType]
        )
        assert derivative.value == pytest.approx(1.0 / (1.0 + found.value[0] / exact), rel=1e-9)
        # Each particle is bound: the first is right, and the errors of the others hold what they differ from it by.
        off = abs(derivative.value - 0.5)
        assert derivative.truncation == pytest.approx(off, abs=1e-4 / count)
        assert (off > 0.02 / count) == (correction != "background")
        assert np.isnan(derivative.error)  # of a single curve
    assert jxl.kirkwood_buff(curve(edges, unlike), box_length=edge).value[0] == pytest.approx(exact, rel=1e-6)


def test_peaks_of_bound_partners_are_not_scaled() -> None:
    """Mass action: of a share α of bound particles ρ²g goes as ρ α, and (ρ²/2 d²/dρ²)(ρ α)/(ρ α) = (1 - α)/(1 + α)³."""
    edges, length, density = np.linspace(0.0, 14.0, 281), 24.0, 0.002
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    near = edges[1:] <= 3.0 + 1e-9

    def bound(constant: float, rho: float) -> float:
        """ρ α of α/(1 - α)² = K ρ."""
        return rho + 0.5 / constant - np.sqrt(rho / constant + 0.25 / constant**2)

    for share in (0.1, 0.5, 0.9):
        constant = share / (1.0 - share) ** 2 / density
        step = 1e-3 * density
        second = sum(c * bound(constant, density + k * step) for k, c in ((-1, 1.0), (0, -2.0), (1, 1.0))) / step**2
        expected = 0.5 * density**2 * second / (density * share)
        g = 1.0 + np.where(near, share / (density * shells[near].sum()), 0.0)
        found = unsettled(edges, g[None], length, [density])
        assert found == pytest.approx(expected, rel=2e-3)
    # Neighbours that are missing are no partners.
    assert unsettled(edges, hole(edges)[None], length, [density]) == pytest.approx(1.0)


def test_ideal_gas_has_none() -> None:
    """Uniform positions: every integral is zero within four standard errors, in closed boxes of few particles too."""
    trajectory = gas(["Na"] * 20 + ["Cl"] * 20, np.eye(3) * 12.0, 400, replicas=4)
    result = jxl.rdf(trajectory, pairs=[("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")], width=0.25, r_max=8.0)
    for correction in ("background", "closed", "tail", "none"):
        found = jxl.kirkwood_buff(result, box_length=12.0, correction=correction)  # pyright: ignore[reportArgumentType]
        assert np.all(np.isfinite(found.error) & (found.error > 0.0))
        assert np.all(np.abs(found.value) < 4.0 * found.error)
        assert np.all(found.error < 60.0)  # Å³, so that the test says something: half the box holds 900
    curves = [result[pair].stretches[:, 0] for pair in result.pairs]
    estimate = jxl.activity_derivative(
        r=result.r,
        cation_cation=curves[0],
        cation_anion=curves[1],
        anion_anion=curves[2],
        density=20 / 12.0**3,
        box_length=12.0,
    )
    assert abs(estimate.value - 1.0) < 3.0 * estimate.error < 1.5


@pytest.mark.parametrize(("run", "published"), [(1, 1.61), (2, 1.32)])
def test_published_activity_derivatives(reference: Path, run: int, published: float) -> None:
    r, cc, ca, aa, co, ao, *_ = np.loadtxt(reference / "licl" / f"rdf_2.4M_run{run}.dat").T
    given: dict[str, Any] = {"r": r, "cation_cation": cc, "cation_anion": ca, "anion_anion": aa}
    given |= {"density": 24 / LICL**3, "box_length": LICL, "correction": "tail"}
    found = jxl.activity_derivative(**given, cation_solvent=co, anion_solvent=ao)
    assert found.value == pytest.approx(published, abs=0.05)
    assert 0.0 < found.truncation < 0.2
    assert np.isnan(found.error)
    assert "± unknown" in repr(found)
    # The same through the integrals.
    names = (("Li", "Li"), ("Li", "Cl"), ("Cl", "Cl"), ("Li", "O"), ("Cl", "O"))
    width = r[1] - r[0]
    result = curve(np.append(r - width / 2, r[-1] + width / 2), cc, ca, aa, co, ao)
    integrals = jxl.kirkwood_buff(replace(result, pairs=names), box_length=LICL, correction="tail")
    salt = (integrals["Li-Li"][0] + integrals["Cl-Cl"][0] + 2.0 * integrals["Li-Cl"][0]) / 4.0
    water = (integrals["Li-O"][0] + integrals["Cl-O"][0]) / 2.0
    assert found.value == pytest.approx(1.0 / (1.0 + 2.0 * 24 / LICL**3 * (salt - water)), rel=1e-9)


def test_runs_give_the_statistical_error(reference: Path) -> None:
    """Two published runs differ by 0.3; of four stretches made of them the jackknife knows the spread."""
    tables = [np.loadtxt(reference / "licl" / f"rdf_2.4M_run{run}.dat").T for run in (1, 2, 1, 2)]
    stacks = np.stack(tables, axis=1)
    r, (cc, ca, aa, co, ao) = stacks[0, 0], stacks[1:6]
    found = jxl.activity_derivative(
        r=r,
        cation_cation=cc,
        cation_anion=ca,
        anion_anion=aa,
        cation_solvent=co,
        anion_solvent=ao,
        density=24 / LICL**3,
        box_length=LICL,
        correction="tail",
    )
    assert 1.32 < found.value < 1.61
    # Standard error of the mean of four values ± 0.135 around it.
    assert found.statistical == pytest.approx(0.135 / 3**0.5, rel=0.15)
    assert found.error >= found.statistical


def test_pairs_that_were_never_apart_or_together_are_not_sampled(tmp_path: Path) -> None:
    """One dimer in a box is never apart; G is -V/2 ± 0 by its curve. Neither are pairs that were never seen."""
    edges = np.linspace(0.0, 14.0, 281)
    together, nothing = np.where(edges[1:] < 3.0, 100.0, 0.0), np.zeros(280)
    both = replace(curve(edges, together, nothing, hole(edges)), pairs=(("Na", "Cl"), ("Na", "Na"), ("Cl", "Cl")))
    with pytest.warns(UserWarning, match="no pair of Na-Cl, Na-Na was ever about 12 Å apart: not sampled"):
        found = jxl.kirkwood_buff(both, box_length=24.0)
    assert np.isnan(found.value).tolist() == [True, True, False]
    assert repr(found).count("not sampled") == 2
    found.to_json(tmp_path / "g.json")
    assert json.loads((tmp_path / "g.json").read_text())["integrals"][0]["G_A3"] is None
    assert [text.get_text() for text in found.plot().get_legend().get_texts()] == [
        "Na–Cl: not sampled",
        "Na–Na: not sampled",
        "Cl–Cl",
    ]


def test_results_are_written(tmp_path: Path) -> None:
    edges = np.linspace(0.0, 12.0, 241)
    result = jxl.kirkwood_buff(curve(edges, hole(edges)), box_length=18.0)
    result.to_csv(tmp_path / "g.csv")
    result.to_json(tmp_path / "g.json")
    table = np.loadtxt(tmp_path / "g.csv", delimiter=",", skiprows=1)
    assert np.allclose(table[:, 1], result.running[0])
    assert json.loads((tmp_path / "g.json").read_text())["integrals"][0]["error_A3"] is None
    assert result.plot().get_xlabel() == "upper limit / Å"
    assert "Na-Cl" in repr(result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density": -1.0}, "density must be .* above 0, not -1.0"),
        ({"density": 1.0}, r"if it is in mol/L, write 1 \* 0.000602214"),
        ({"box_length": 60.0}, "needs g to there"),
        ({"box_length": 19.0}, "beyond half the box"),
        ({"cation_solvent": np.ones(100)}, "or neither"),
        ({"anion_anion": np.ones(99)}, "found cc"),
        ({"anion_anion": np.full(100, np.nan)}, "array of finite numbers"),
        ({"r": np.linspace(0, 5, 100) ** 2}, "equally wide"),
        ({"correction": "all"}, "correction must be one of"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {name: np.ones(100) for name in ("cation_cation", "cation_anion", "anion_anion")}
    good |= {"r": np.arange(100) * 0.1 + 0.05, "density": 0.001, "box_length": 15.0}
    with pytest.raises(InputError, match=message):
        jxl.activity_derivative(**(good | change))


def test_the_box_is_that_of_the_result(tmp_path: Path) -> None:
    """Through a trajectory and a file; a volume of another size is a mistake, and old files have none."""
    positions = np.random.default_rng(0).random((20, 1, 16, 3)) * 18.0
    cells = np.eye(3) * np.where(np.arange(20) < 10, 18.0, 18.2)[:, None, None, None]
    frames = Trajectory(
        positions, np.repeat([11, 17], 8), np.ones(16), cells, (True, True, True), np.arange(20), np.arange(20.0)
    )
    g = jxl.rdf(frames, pairs=[("Na", "Na"), ("Na", "Cl")], r_max=11.3, width=0.3)
    assert g.volume == pytest.approx(2.0 / (18.0**-3 + 18.2**-3), rel=1e-6)
    edge = (g.volume or 0.0) ** (1 / 3)
    found = jxl.kirkwood_buff(g)
    assert found.limit == pytest.approx(0.5 * edge)
    assert np.array_equal(found.value, jxl.kirkwood_buff(g, box_length=edge).value)
    g.to_json(tmp_path / "g.json")
    assert np.array_equal(jxl.kirkwood_buff(load_result(tmp_path / "g.json")).value, found.value)
    with pytest.raises(InputError, match="is not the cube root of the volume"):
        jxl.kirkwood_buff(g["Na", "Cl"], box_length=20.0)
    content = json.loads((tmp_path / "g.json").read_text())
    del content["volume"]
    (tmp_path / "old.json").write_text(json.dumps(content))
    old = load_result(tmp_path / "old.json")
    assert np.array_equal(jxl.kirkwood_buff(old, box_length=edge).value, found.value)
    with pytest.raises(InputError, match="pass box_length="):
        jxl.kirkwood_buff(old)
    del content["density"]
    (tmp_path / "broken.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="lacks 'density'"):
        load_result(tmp_path / "broken.json")


def test_noise_is_told() -> None:
    noise = np.random.default_rng(0).normal(1.0, 0.3, (3, 5, 100))
    with pytest.warns(UserWarning, match="too short"):
        jxl.activity_derivative(
            r=np.arange(100) * 0.1 + 0.05,
            cation_cation=noise[0],
            cation_anion=noise[1],
            anion_anion=noise[2],
            density=0.02,
            box_length=15.0,
        )


def test_a_trajectory_in_place_of_its_distribution_functions_is_named():
    frames = Trajectory.from_atoms(Atoms("Na2", [[0, 0, 0], [2, 2, 2]], cell=[9, 9, 9], pbc=True))
    with pytest.raises(InputError, match="result must be an RDFResult"):
        jxl.kirkwood_buff(frames)
