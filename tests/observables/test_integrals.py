"""Corrections of Kirkwood-Buff integrals and what their errors hold, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jaxelyte.observables.integrals import beyond_noise, running_integrals, tail_level, unsettled, without_artefacts

EDGES, LENGTH = np.linspace(0.0, 12.0, 121), 20.0
MIDDLE = 0.5 * (EDGES[1:] + EDGES[:-1])


def test_the_level_of_the_tail_is_taken_about_half_the_box() -> None:
    """Within 2 Å of 10 Å."""
    # Forty bins of 0.1 Å, the first four of which are higher.
    g = np.where(MIDDLE < 8.0, 5.0, np.where(MIDDLE < 8.4, 1.9, 0.9))[None]
    assert tail_level(EDGES, g, LENGTH) == pytest.approx(0.9 + 4.0 / 40.0)
    assert tail_level(EDGES, np.zeros((1, 120)), LENGTH) == 1.0


def test_corrections_of_a_peak_on_a_level() -> None:
    """A level of 0.9 with a peak of 3 above it: each correction by its formula."""
    peak = (MIDDLE > 2.0) & (MIDDLE < 3.0)
    g = (0.9 + 3.0 * peak)[None]
    at = int(np.flatnonzero(peak)[0])
    assert without_artefacts(EDGES, g, LENGTH, "none")[0, at] == 3.9
    assert without_artefacts(EDGES, g, LENGTH, "tail")[0, at] == pytest.approx(3.9 / 0.9)
    assert without_artefacts(EDGES, g, LENGTH, "background")[0, at] == pytest.approx(1.0 + 3.0)
    for correction in ("tail", "background"):
        assert without_artefacts(EDGES, g, LENGTH, correction)[0, -1] == pytest.approx(1.0)
    # f = (V - v)/(V - v - E) up to the edge of the bin.
    excess = 4.0 * math.pi / 3.0 * float(np.sum((g[0, : at + 1] - 1.0) * np.diff(EDGES[: at + 2] ** 3)))
    left = LENGTH**3 - 4.0 * math.pi / 3.0 * EDGES[at + 1] ** 3
    found = without_artefacts(EDGES, g, LENGTH, "closed")[0, at]
    assert found == pytest.approx(3.9 * left / (left - excess))


def test_the_share_of_a_peak_that_is_not_bound() -> None:
    """A peak that holds α partners is scaled by (1 - α)/(1 + α)³; one partner and more by nothing."""
    peak = (MIDDLE > 2.0) & (MIDDLE < 3.0)
    volume = 4.0 * math.pi / 3.0 * (27.0 - 8.0)
    density = 0.01
    for bound in (0.0, 0.3, 1.0, 4.0):
        g = (1.0 + bound / (density * volume) * peak)[None]
        alpha = min(bound, 1.0)
        assert unsettled(EDGES, g, LENGTH, [density]) == pytest.approx((1.0 - alpha) / (1.0 + alpha) ** 3, abs=1e-9)
    # A hole does not count as partners, and what fills it again neither: the largest rise does.
    hollow = (1.0 - (MIDDLE < 2.0) + 0.3 / (density * volume) * peak)[None]
    assert unsettled(EDGES, hollow, LENGTH, [density]) == pytest.approx(0.7 / 1.3**3)


def test_differences_of_corrections_count_beyond_their_noise() -> None:
    """√(d² - e²); the whole difference where its error is not known, nothing where noise explains it."""
    found = beyond_noise(np.array([5.0, -5.0, 2.0, 5.0]), np.array([3.0, 4.0, 3.0, np.nan]))
    assert found == pytest.approx([4.0, 3.0, 0.0, 5.0])


def test_weights_of_running_integrals() -> None:
    """Of g = 2 for all distances: 4π/3 R³ by the cut-off, and ∫ 4π r² w(r/R) of the weights of finite volumes."""
    g = np.full((1, 120), 2.0)
    x = np.linspace(0.0, 1.0, 200_001)
    weights = {
        "cut-off": np.ones_like(x),
        "sphere": 1.0 - 1.5 * x + 0.5 * x**3,
        "extrapolated": 1.0 - 23.0 / 8.0 * x**3 + 0.75 * x**4 + 9.0 / 8.0 * x**5,
    }
    for name, weight in weights.items():
        exact = 4.0 * math.pi * 12.0**3 * float(np.trapezoid(x**2 * weight, x))
        assert running_integrals(EDGES, g, name)[0, -1] == pytest.approx(exact, rel=1e-6)
