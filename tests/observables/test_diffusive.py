"""Where displacements are those of diffusion, by hand: the start of the window, its shape, what follows behind it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jaxelyte.observables.diffusive import Start, change_of_slope, choose_window, first_time, shape_of

LAGS = np.arange(0.0, 1001.0) * 100.0
"""fs, to 100 ps."""

SHARE = (0.1, 0.5)


def test_a_window_begins_behind_flight_and_cage() -> None:
    """20 decay times 3 D/<v²> of the velocity, or the time to 6 Å², whichever is later."""
    slow, fast = 6.0 * 1e-5 * LAGS, 6.0 * 1e-3 * LAGS
    assert first_time(LAGS, slow, None, 1e-5).time == 100_000.0  # 6 Å² after 100 ps
    assert first_time(LAGS, slow * 0.99, None, 1e-5).time == math.inf
    assert first_time(LAGS, fast, None, 1e-3).time == 1000.0
    # 20 · 3 · 1e-3 / 2e-6 = 30 ps.
    assert first_time(LAGS, fast, 2e-6, 1e-3).time == pytest.approx(30_000.0)
    # Free flight in the first two lags shows the speed itself: (t v)² = 1e-2 Å² after 100 fs, v² = 1e-6.
    flight = np.where(LAGS <= 200.0, 1e-6 * LAGS**2, fast)
    assert first_time(LAGS, flight, None, 1e-3).time == pytest.approx(60_000.0)
    assert first_time(LAGS, flight, 4e-6, 1e-3).time == pytest.approx(15_000.0)  # the larger of both
    # Exponents between the first two lags of 1.25 and 1.35: the second is free flight, v² = 1e-6 again.
    for power, begin in ((1.25, 1000.0), (1.35, 60_000.0)):
        early = np.where(LAGS <= 200.0, 1e-2 * (LAGS / 100.0) ** power, fast)
        assert first_time(LAGS, early, None, 1e-3).time == pytest.approx(begin)


def curves(power: float, *, stretches: int = 8, noise: float = 0.0) -> np.ndarray:
    """(stretches, lags), t^power Å², each stretch off by a share that adds up to none."""
    sign = np.where(np.arange(stretches) % 2, 1.0, -1.0)[:, None]
    return (1.0 + noise * sign) * (LAGS / 1e4) ** power


def test_the_shape_of_curves() -> None:
    """Exponents of 1 ± 0.15, and slopes of both halves of the decade that differ by 15 % of the mean one."""
    window = (10_000.0, 50_000.0)
    for power, good in ((1.0, True), (1.14, False), (0.9, True), (0.84, False), (1.16, False)):
        found = shape_of(LAGS, curves(power), window)
        assert found.exponent == pytest.approx(power, abs=1e-6)
        assert (found.reason == "") == good, (power, found)
    assert shape_of(LAGS, curves(0.84), window).reason.startswith("grows as t^0.84 between 10 and 50 ps")
    # Within 0.15 in the window, but bent: exponents hold in noise that scales whole curves.
    assert "is not straight" in shape_of(LAGS, curves(1.14), window).reason
    # At the start of the decade only, 5 to 15.8 ps: a plateau of a cage there.
    caged = np.broadcast_to(np.where(LAGS < 14_000.0, 1.2 + LAGS / 4e4, 0.2 + LAGS / 1e4), (8, len(LAGS)))
    assert "at the start of the decade between 5 and 50 ps" in shape_of(LAGS, caged, (20_000.0, 50_000.0)).reason
    for early, good in ((1.22, True), (1.28, False)):
        # Of this exponent up to 15 ps, straight from there on, and continuous.
        rows = np.where(LAGS < 15_000.0, 1.5 * (LAGS / 15_000.0) ** early, LAGS / 1e4)
        assert ("at the start" in shape_of(LAGS, np.tile(rows, (8, 1)), (20_000.0, 50_000.0)).reason) != good
    # Two stretches do not say what is noise: the exponent alone counts.
    assert shape_of(LAGS, curves(1.14, stretches=2), window).reason == ""
    assert shape_of(LAGS, curves(1.16, stretches=2), window).reason != ""
    assert shape_of(LAGS, curves(0.2), window).reason.endswith("or wrapped into a box")


def test_a_deviation_has_to_be_beyond_noise() -> None:
    """Stretches of the exponents 1.3 ± s: the error of that of their mean is about s/√7, and four are needed."""
    shift = np.where(np.arange(8) % 2, 1.0, -1.0)[:, None]
    for spread, seen in ((0.05, True), (0.18, True), (0.25, False)):  # 16, 5.0 and 3.96 errors
        rows = (LAGS / 1e4) ** (1.3 + spread * shift)
        assert shape_of(LAGS, rows, (10_000.0, 50_000.0)).reason.startswith("grows as") == seen


def test_what_follows_behind_the_window() -> None:
    """Slopes of 1 within and 1.5 behind, less 1.5 standard errors of their spread."""
    window = (10_000.0, 50_000.0)
    change = 0.5 + 0.2 * np.where(np.arange(8) % 2, 1.0, -1.0)[:, None]
    rows = LAGS + change * np.maximum(0.0, LAGS - 50_000.0)
    error = 0.2 / math.sqrt(7.0)
    assert change_of_slope(LAGS, rows, window) == pytest.approx(0.5 - 1.5 * error, rel=1e-3)
    assert change_of_slope(LAGS, LAGS - (change - 0.45) * np.maximum(0.0, LAGS - 50_000.0), window) == 0.0
    falling = LAGS - change * np.maximum(0.0, LAGS - 50_000.0)
    assert change_of_slope(LAGS, falling, window) == pytest.approx(0.5 - 1.5 * error, rel=1e-3)
    assert change_of_slope(LAGS, rows[:4], window) == pytest.approx(0.5 - 1.5 * 0.2 / math.sqrt(3.0), rel=1e-3)
    assert change_of_slope(LAGS, rows[:3], window) == 0.0


def test_the_default_window() -> None:
    """10 to 50 % of the lags, later where it has to be; the last three quarters where that is not straight."""
    straight = [curves(1.0)]
    assert choose_window(LAGS, straight, Start(0.0, ""), SHARE).window == (10_000.0, 50_000.0)
    assert choose_window(LAGS, straight, Start(20_000.0, ""), SHARE).window == (20_000.0, 50_000.0)
    assert choose_window(LAGS, straight, Start(40_000.0, ""), SHARE).window == (40_000.0, 80_000.0)
    assert choose_window(LAGS, straight, Start(50_000.0, ""), SHARE).reason == ""
    late = choose_window(LAGS, straight, Start(50_001.0, "its start"), SHARE)
    assert late.reason == "is needed from its start, to twice that time; lags go to 1e+02 ps"
    caged = [np.broadcast_to(0.2 + np.maximum(LAGS, 8000.0) / 1e4, (8, len(LAGS)))]
    assert shape_of(LAGS, caged[0], (10_000.0, 50_000.0)).reason != ""
    assert choose_window(LAGS, caged, Start(0.0, ""), SHARE) == ((25_000.0, 100_000.0), "")
    few = choose_window(LAGS, [curves(1.3, stretches=3)], Start(0.0, ""), SHARE)
    assert few.window == (10_000.0, 50_000.0)
    assert few.reason.startswith("grows as t^1.30")
