"""Partial volumes and the compressibility: solutions whose Kirkwood-Buff integrals are known, identities, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxelyte import units
from jaxelyte.errors import InputError
from jaxelyte.observables.kirkwood_buff import activity_derivative
from jaxelyte.observables.partial_volumes import PartialVolumes, partial_molar_volumes

BOX, TEMPERATURE = 24.0, 300.0
R = np.arange(280) * 0.05 + 0.025
SALT, SOLVENT = 34.0, 29.9
"""Å³, of an ion pair and of a solvent molecule."""
COMPRESSIBILITY = 0.45
"""1/GPa."""
DENSITY = 0.0012
WATER = (1.0 - DENSITY * SALT) / SOLVENT
NAMES = ("cation_cation", "cation_anion", "anion_anion", "cation_solvent", "anion_solvent", "solvent_solvent")


def integrals(derivative: float) -> dict[str, float]:
    """G in Å³ of a mixture with these volumes and compressibility, by inverting ∂μ_i/∂ρ_j.

    At constant pressure β V ∂μ_i/∂N_j = D (δ_ij/ρ_i - 1/ρ) in a mixture that is ideal but for a factor D, and the
    volume adds β v_i v_j / κ_T.
    """
    density = np.array([2.0 * DENSITY, WATER])
    volume = np.array([0.5 * SALT, SOLVENT])
    thermal = units.BOLTZMANN * TEMPERATURE * units.EV_PER_A3_IN_GPA
    slopes = derivative * (np.diag(1.0 / density) - 1.0 / density.sum())
    slopes = slopes + np.outer(volume, volume) / (COMPRESSIBILITY * thermal)
    fluctuations = np.linalg.inv(slopes)
    g = (fluctuations - np.diag(density)) / np.outer(density, density)
    # Ions of each kind are as they like, as long as their average is that of the salt.
    return dict(zip(NAMES, (g[0, 0] + 70, g[0, 0] - 50, g[0, 0] + 30, g[0, 1] - 9, g[0, 1] + 9, g[1, 1]), strict=True))


def curves(values: dict[str, float], radius: float = 5.0) -> dict[str, np.ndarray]:
    """Steps to that radius whose integrals are these."""
    volume = 4.0 / 3.0 * np.pi * radius**3
    return {name: np.where(radius > R, 1.0 + g / volume, 1.0) for name, g in values.items()}


def volumes(**change: Any) -> PartialVolumes:
    given: dict[str, Any] = curves(integrals(1.0)) | {
        "r": R,
        "density": DENSITY,
        "solvent_density": WATER,
        "box_length": BOX,
        "temperature": TEMPERATURE,
    }
    return partial_molar_volumes(**(given | change))


@pytest.mark.parametrize("derivative", [1.0, 1.7])
def test_volumes_of_a_known_mixture(derivative: float) -> None:
    """An ideal mixture, and one whose chemical potentials are steeper: volumes and compressibility come back."""
    found = volumes(**curves(integrals(derivative)))
    assert found.salt.value == pytest.approx(SALT, rel=1e-9)
    assert found.solvent.value == pytest.approx(SOLVENT, rel=1e-9)
    assert found.compressibility.value == pytest.approx(COMPRESSIBILITY, rel=1e-9)
    assert found.salt_molar.value == pytest.approx(SALT * 0.602214076)
    assert found.solvent_molar.value == pytest.approx(18.006, abs=0.001)
    # Beyond the step the integrals do not depend on where they end.
    assert found.salt.truncation < 1e-9


def test_activity_derivative_of_the_same_mixture() -> None:
    """D / (ρ v_o), ρ the density of all: of d ln a = D d ln x and d ln c = ρ v_o d ln x at constant pressure."""
    given = curves(integrals(1.7))
    del given["solvent_solvent"]
    found = activity_derivative(r=R, **given, density=DENSITY, box_length=BOX)
    assert found.value == pytest.approx(1.7 / ((2.0 * DENSITY + WATER) * SOLVENT), rel=1e-9)


def test_water_alone() -> None:
    """Few ions: the volume of the solvent is 1/ρ and κ_T k_B T = 1/ρ + G_oo."""
    values = integrals(1.0)
    pure = 1.0 / SOLVENT
    found = volumes(density=1e-9, solvent_density=pure, **curves(values))
    thermal = units.BOLTZMANN * TEMPERATURE * units.EV_PER_A3_IN_GPA
    assert found.solvent.value == pytest.approx(SOLVENT, rel=1e-6)
    assert found.compressibility.value == pytest.approx((SOLVENT + values["solvent_solvent"]) / thermal, rel=1e-5)


def test_volumes_fill_space_whatever_the_noise() -> None:
    rng = np.random.default_rng(3)
    noisy = {name: g + rng.normal(0.0, 0.03, (6, len(R))) for name, g in curves(integrals(1.0)).items()}
    for correction in ("tail", "none"):
        found = volumes(**noisy, correction=correction)
        assert DENSITY * found.salt.value + WATER * found.solvent.value == pytest.approx(1.0, abs=1e-12)
        # So errors of the two are in the ratio of their densities.
        assert DENSITY * found.salt.statistical == pytest.approx(WATER * found.solvent.statistical, rel=1e-6)
        assert np.all(np.isfinite(found.compressibility))


def test_errors_are_those_of_the_spread() -> None:
    """Stretches that differ little: the jackknife is the standard error of the mean of what each gives alone."""
    rng = np.random.default_rng(11)
    sets = [curves({k: g + rng.normal(0.0, 0.05) for k, g in integrals(1.0).items()}) for _ in range(8)]
    found = volumes(**{name: np.stack([one[name] for one in sets]) for name in NAMES}, correction="none")
    alone = [volumes(**one, correction="none") for one in sets]
    for name in ("salt", "solvent", "compressibility"):
        spread = np.std([getattr(one, name).value for one in alone], ddof=1) / 8**0.5
        estimate = getattr(found, name)
        assert estimate.statistical == pytest.approx(spread, rel=0.01)
        assert estimate.error == pytest.approx(np.hypot(estimate.statistical, estimate.truncation))


def test_results_are_written(tmp_path: Path) -> None:
    found = volumes()
    found.to_json(tmp_path / "v.json")
    content = json.loads((tmp_path / "v.json").read_text())
    assert content["salt_cm3_mol"]["value"] == pytest.approx(SALT * 0.602214076)
    assert content["salt_cm3_mol"]["statistical"] is None
    assert "cm³/mol" in repr(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density": 0.0}, "density must be .* above 0, not 0.0"),
        ({"solvent_density": np.nan}, "solvent_density must be a finite number .* not nan"),
        ({"temperature": -1.0}, "temperature = -1 K"),
        ({"solvent_solvent": np.ones(3)}, "found cc"),
        ({"box_length": 60.0}, "needs g to there"),
        ({"box_length": 27.0}, "beyond half the box"),
        ({"correction": "all"}, "one of 'background', 'closed', 'tail', 'none'"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        volumes(**change)
