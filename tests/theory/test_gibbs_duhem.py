"""Activity curves from derivatives: closed forms, honest errors, the hypernetted chain, the scales of experiments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxelyte.errors import InputError
from jaxelyte.theory import (
    PITZER,
    ActivityCurve,
    IonModel,
    activity_from_derivatives,
    debye_hueckel,
    molal_scale,
)
from jaxelyte.theory.hnc import osmotic_by_compressibility

SLOPE = 0.25
"""L/mol, of the linear term in ln γ± of the closed form."""

DIAMETER = 4.6
"""Å, of the closed form; none of those that are tried by default."""


def logs(c: np.ndarray) -> np.ndarray:
    """Ln γ± of the extended law and a linear term."""
    return np.array([np.log(debye_hueckel(x, diameter=DIAMETER).activity) + SLOPE * x for x in c])


def osmotic(c: np.ndarray) -> np.ndarray:
    return np.array([debye_hueckel(x, diameter=DIAMETER).osmotic + 0.5 * SLOPE * x for x in c])


def derivatives(c: np.ndarray) -> np.ndarray:
    h = 1e-5
    return 1.0 + (logs(c * (1 + h)) - logs(c * (1 - h))) / (2 * h)


CONCENTRATIONS = np.array([0.1, 0.3, 0.7, 1.2, 2.0, 3.0])
INNER = np.array([0.05, 0.5, 1.5, 3.0])


def test_closed_form_is_recovered() -> None:
    """Exact to rounding where the diameter is known, and within the error where it is not."""
    for options, tolerance in (({"diameters": [DIAMETER]}, 1e-7), ({}, 2e-3)):
        found = activity_from_derivatives(CONCENTRATIONS, derivatives(CONCENTRATIONS), np.full(6, 1e-3), **options)
        assert np.allclose(found.activity(INNER).value, np.exp(logs(INNER)), atol=tolerance)
        assert np.allclose(found.osmotic(INNER).value, osmotic(INNER), atol=tolerance)
        assert np.allclose(found.derivative(INNER).value, derivatives(INNER), atol=2 * tolerance)
    assert found.activity(0.0).value == 1.0
    assert found.activity(0.0).error == 0.0


def test_limiting_law_is_kept() -> None:
    """Whatever noise the data have, ln γ± starts with the slope of Debye and Hückel."""
    noise = np.random.default_rng(5).normal(0.0, 0.2, 6)
    found = activity_from_derivatives(CONCENTRATIONS, derivatives(CONCENTRATIONS) + noise, np.full(6, 0.2))
    for c, tolerance in ((1e-6, 0.005), (1e-4, 0.05)):
        law = debye_hueckel(c)
        assert np.log(found.activity(c).value) / np.log(law.activity) == pytest.approx(1.0, abs=tolerance)
        assert (1.0 - found.osmotic(c).value) / (1.0 - law.osmotic) == pytest.approx(1.0, abs=tolerance)


@pytest.mark.parametrize("size", [0.01, 0.03, 0.15])
@pytest.mark.parametrize("known", [True, False])
def test_errors_are_honest(size: float, *, known: bool) -> None:
    """Of 200 noisy sets the truth lies within one standard error in 68 %, where the form is known.

    Where it is not, the errors also cover forms that were not needed, and are on the safe side.
    """
    rng = np.random.default_rng(7)
    options: dict[str, Any] = {"diameters": [DIAMETER], "terms": 1} if known else {}
    exact, truth = derivatives(CONCENTRATIONS), np.stack([np.exp(logs(INNER)), osmotic(INNER)])
    hits, square = np.zeros((2, len(INNER))), np.zeros((2, len(INNER)))
    for _ in range(200):
        noise = rng.normal(0.0, size, 6)
        found = activity_from_derivatives(CONCENTRATIONS, exact + noise, np.full(6, size), **options)
        for n, (value, error) in enumerate((found.activity(INNER), found.osmotic(INNER))):
            hits[n] += (np.abs(value - truth[n]) < error) / 200
            square[n] += ((value - truth[n]) / error) ** 2 / 200
    # The standard error of a fraction of 200 is 3.3 %.
    assert np.all(hits > 0.68 - 0.10)
    assert np.all(np.sqrt(square) < 1.15)
    if known:
        assert np.all(hits < 0.68 + 0.10)


def test_errors_follow_those_of_the_data() -> None:
    exact = derivatives(CONCENTRATIONS)
    small, large = (activity_from_derivatives(CONCENTRATIONS, exact, np.full(6, size)) for size in (0.1, 0.2))
    assert large.osmotic(3.0).error == pytest.approx(2.0 * small.osmotic(3.0).error, rel=0.05)
    # One point alone: b c is what D has beyond the law, and so has ln γ±; φ has half.
    one = activity_from_derivatives([2.0], [1.5], [0.1], diameters=[4.0])
    assert one.derivative(2.0).value == pytest.approx(1.5)
    assert one.derivative(2.0).error == pytest.approx(0.1)
    assert one.osmotic(2.0).error == pytest.approx(0.05)
    assert one.activity(2.0).error / one.activity(2.0).value == pytest.approx(0.1)


def test_data_count_by_their_errors_and_terms_by_what_they_explain() -> None:
    exact, errors = derivatives(CONCENTRATIONS), np.full(6, 0.05)
    found = activity_from_derivatives(CONCENTRATIONS, exact, errors, diameters=[DIAMETER])
    weights = np.array([fit.weight for fit in found.fits])
    # All fit alike, and each term costs a factor of e.
    assert np.allclose(weights[1:] / weights[:-1], np.exp(-1.0), rtol=1e-3)
    exact[2], errors[2] = 3.0, 100.0
    found = activity_from_derivatives(CONCENTRATIONS, exact, errors, diameters=[DIAMETER])
    assert np.allclose(found.osmotic(INNER).value, osmotic(INNER), atol=1e-4)


def test_hypernetted_chain_integrates_to_itself() -> None:
    """Its derivatives at seven concentrations give its φ by the compressibility; by the virial it is a percent off."""
    model = IonModel({"Na": 1.0, "Cl": -1.0}, diameters=4.25, permittivity=78.5, temperature=298.0)
    results = model.hnc_curve([0.004, 0.015, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0], step=0.05)
    exact = osmotic_by_compressibility(results)[2:]
    results = results[2:]
    c = np.array([x.concentration for x in results])
    found = activity_from_derivatives(
        c, [x.derivative for x in results], np.full(len(c), 1e-3), permittivity=78.5, temperature=298.0
    )
    assert np.allclose(found.osmotic(c).value, exact, atol=3e-3)
    assert found.osmotic(1.0).value == pytest.approx(results[-1].osmotic, rel=0.02)
    assert found.activity(1.0).value == pytest.approx(results[-1].activity, rel=0.03)


def test_molal_scale_at_constant_pressure() -> None:
    """Pitzer's γ± of LiCl, taken to the molar scale, differentiated by c and brought back: φ and γ± as they were."""
    volume, water, salt = 0.0186, 0.99705, PITZER["LiCl"]

    def molal(c: np.ndarray) -> np.ndarray:
        return c / (water * (1.0 - c * volume))

    def molar_logs(c: np.ndarray) -> np.ndarray:
        return np.log(salt.activity(molal(c)) / (1.0 - c * volume))

    c, h = np.array([0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5]), 1e-5
    slope = 1.0 + (molar_logs(c * (1 + h)) - molar_logs(c * (1 - h))) / (2 * h)
    found = activity_from_derivatives(c, slope, np.full(len(c), 2e-3))
    value, error = found.molal(c, volume=volume, solvent_density=water)
    assert np.allclose(value.molality, molal(c))
    assert np.allclose(value.osmotic, salt.osmotic(molal(c)), atol=3e-3)
    assert np.allclose(value.activity, salt.activity(molal(c)), atol=3e-3)
    assert np.all((error.osmotic > 0) & (error.osmotic < 0.01))
    # Taken for that of ions alone, it would be another number.
    other, _ = found.molal(2.5, volume=volume, solvent_density=water, constant="solvent")
    assert abs(other.osmotic - value.osmotic[-1]) > 0.02


def test_molal_scale_keeps_gibbs_and_duhem() -> None:
    """M φ = m + ∫ m d ln γ after the change of scale, where it held before it."""
    c = np.linspace(1e-6, 3.0, 20001)
    m, phi, gamma = molal_scale(c, osmotic(c), np.exp(logs(c)), volume=0.03)
    integral = np.sum(0.5 * (m[1:] + m[:-1]) * np.diff(np.log(gamma)))
    assert m[-1] * (phi[-1] - 1.0) == pytest.approx(integral, abs=1e-4)
    assert m[-1] == pytest.approx(3.0 / (0.99705 * 0.91))


def test_poor_fits_are_told() -> None:
    wavy = derivatives(CONCENTRATIONS) + 0.3 * (-1.0) ** np.arange(6)
    with pytest.warns(UserWarning, match="χ²"):
        activity_from_derivatives(CONCENTRATIONS, wavy, np.full(6, 0.02), terms=2)


def test_results_are_written(tmp_path: Path) -> None:
    found = activity_from_derivatives(CONCENTRATIONS, derivatives(CONCENTRATIONS), np.full(6, 0.1))
    found.to_csv(tmp_path / "a.csv")
    found.to_json(tmp_path / "a.json")
    table = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    assert np.allclose(table[:, 3], found.activity(table[:, 0]).value)
    assert json.loads((tmp_path / "a.json").read_text())["osmotic"]["error"][-1] > 0
    assert "3 mol/L" in repr(found)


def good(**change: Any) -> ActivityCurve:
    given: dict[str, Any] = {"molarity": [0.5, 1.0], "derivatives": [1.0, 1.2], "errors": [0.1, 0.1]}
    return activity_from_derivatives(**(given | change))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: good(molarity=[0.5]), "the same length"),
        (lambda: good(molarity=[0.0, 1.0]), "positive numbers"),
        (lambda: good(molarity=[1.0, 1.0]), "average repeated runs"),
        (lambda: good(errors=[0.1, 0.0]), "errors must be positive"),
        (lambda: good(errors=[0.1, np.nan]), r"errors must be .* entry \(1,\) is nan"),
        (lambda: good(terms=0), "terms must be a positive integer"),
        (lambda: good(diameters=[-1.0]), "diameters = -1 Å cannot be"),
        (lambda: good().osmotic(1.1), "where the data end"),
        (lambda: good().molal(1.0, volume=0.02, constant="volume"), "constant must be one of"),
        (lambda: good().molal(1.0, volume=2.0), "no room"),
        (lambda: molal_scale(1.0, 1.0, 1.0, volume=0.02, solvent_density=0.0), "solvent_density"),
    ],
)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
