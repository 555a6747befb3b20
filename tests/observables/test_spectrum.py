"""The spectral density at zero frequency by hand: how many frequencies, its mean, its error, and when there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import polygamma

from jaxelyte.observables import PressureTensor, SeriesResult, spectrum, viscosity
from jaxelyte.observables.spectrum import at_zero_frequency, periodogram


def level_of(
    monkeypatch: pytest.MonkeyPatch, power: np.ndarray, *, columns: int = 5, values: int = 0
) -> spectrum.Level:
    """Of a given periodogram."""
    monkeypatch.setattr(spectrum, "periodogram", lambda _: power)
    return at_zero_frequency(np.zeros((values or 2 * len(power), columns)), 1.0)


def test_a_flat_spectrum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight frequencies of five series: the mean of an inverse gamma distribution, 40/39, and 1/√39 of error."""
    found = level_of(monkeypatch, np.full(400, 3.0))
    assert found == pytest.approx((3.0 * 40.0 / 39.0, 3.0 * 40.0 / 39.0 / math.sqrt(39.0), 80.0, 8, True))
    # With sixty series two frequencies suffice for fifteen ordinates, but eight are flat.
    assert level_of(monkeypatch, np.full(400, 3.0), columns=60).frequencies == 8
    # A run of a nanosecond at 1 fs: all below 1/50 ps, 20 of them, flat up to 60.
    assert level_of(monkeypatch, np.full(4000, 3.0), values=1_000_000).frequencies == 20


def test_a_slope_is_part_of_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as high from the seventh of 400 frequencies on: three are averaged, as many above are as high."""
    power = np.where(np.arange(400) < 6, 2.0, 1.0)
    found = level_of(monkeypatch, power)
    # Six against six show it, four against four do not; a third of four is less than fifteen ordinates take.
    assert found.frequencies == 3
    assert found.value == pytest.approx(2.0 * 15.0 / 14.0)
    assert found.error == pytest.approx(found.value / math.sqrt(14.0))
    # Half as high behind three frequencies: 0.2² of what exceeds the deviation of D = ln 2.
    power = np.where(np.arange(400) < 3, 2.0, 1.0)
    found = level_of(monkeypatch, power)
    assert found.frequencies == 3
    excess = math.log(2.0) ** 2 - 2.0 * float(polygamma(1, 15))
    assert excess > 0.0
    assert found.error == pytest.approx(found.value * math.sqrt(1.0 / 14.0 + 0.04 * excess))
    # D = ln(1.525) of four against four is below √2 of its deviation: flat, as far as it goes.
    assert level_of(monkeypatch, np.where(np.arange(400) < 3, 1.7, 1.0)).frequencies == 8
    # Fifteen ordinates of seven series are three frequencies.
    assert level_of(monkeypatch, np.where(np.arange(400) < 3, 2.0, 1.0), columns=7).frequencies == 3
    # Flat over 16 frequencies, and not over 23: a third of that.
    assert level_of(monkeypatch, np.where(np.arange(400) < 32, 1.0, 0.5)).frequencies == 5


def test_a_slope_at_the_lowest_frequencies_has_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """D of 4 against 4 frequencies of five series: 2.33 of its deviations √(2 ψ'(20)) = 0.32 are 0.75."""
    deviation = math.sqrt(2.0 * float(polygamma(1, 20)))
    for step, resolved in ((2.3, True), (2.36, False)):
        power = np.where(np.arange(400) < 4, math.exp(step * deviation), 1.0)
        assert level_of(monkeypatch, power).resolved == resolved
    assert not level_of(monkeypatch, np.ones(7)).resolved  # too few frequencies to compare


def test_a_periodogram_has_the_sum_of_the_correlation(rng: np.random.Generator) -> None:
    """White noise of variance 2: 2 at each frequency; an offset does not matter."""
    series = math.sqrt(2.0) * rng.normal(size=(1000, 40))
    assert np.mean(periodogram(series + 5.0)) == pytest.approx(2.0, rel=0.03)
    assert len(periodogram(series)) == 499


def test_a_viscosity_is_half_of_the_sum_of_the_correlation(rng: np.random.Generator) -> None:
    """V/k_B T times half of the sum over both signs; value and error alike."""
    values = rng.normal(size=(2000, 2, 6))
    values[..., :3] *= math.sqrt(4.0 / 3.0)  # so that (xx - yy)/2 has a variance near to that of xy
    series = SeriesResult(PressureTensor().columns, "GPa", 5.0, 5.0, values)
    found = viscosity(series, temperature=300.0, volume=1000.0)
    xx, yy, zz, yz, xz, xy = np.moveaxis(values, -1, 0)
    parts = np.concatenate([yz, xz, xy, 0.5 * (xx - yy), (2.0 * zz - xx - yy) / math.sqrt(12.0)], axis=1)
    level = at_zero_frequency(parts, 5.0)
    scale = 0.5 * 5e-15 * 1e18 * 1000e-30 / (1.380649e-23 * 300.0)
    assert (found.value, found.error, found.freedom) == pytest.approx(
        (scale * level.value, scale * level.error, level.freedom), rel=1e-6
    )
