"""Velocity autocorrelation: brute force, Langevin particles, oscillators, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from scipy.signal import lfilter

import jaxelyte as jxl
from jaxelyte.errors import InputError
from jaxelyte.observables.series import autocorrelation
from jaxelyte.trajectory import Trajectory


def moving(velocities: np.ndarray, symbols: str, interval: float) -> Trajectory:
    """Velocities (frames, replicas, atoms, 3) in Å/fs."""
    atoms = Atoms(symbols)
    return Trajectory(
        positions=np.cumsum(velocities * interval, axis=0),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.eye(3) * 10.0,
        pbc=(True, True, True),
        steps=np.arange(len(velocities)),
        times=np.arange(len(velocities)) * interval,
        velocities=velocities,
    )


def test_fourier_transform_is_the_double_sum(rng: np.random.Generator) -> None:
    values = rng.normal(size=(37, 5, 3)) + 2.0
    expected = [np.mean(np.sum(values[k:] * values[: 37 - k], axis=-1)) for k in range(37)]
    assert np.allclose(autocorrelation(values), expected, rtol=1e-12)


def test_langevin_particles(rng: np.random.Generator) -> None:
    """C(t) = C(0) exp(-γ t), D = C(0) / (3 γ), within three standard errors."""
    gamma, interval, frames = 0.02, 2.0, 12_000
    decay, spread = np.exp(-gamma * interval), 0.01
    velocities = np.zeros((frames, 2, 20, 3))
    velocities[0] = rng.normal(0.0, spread, (2, 20, 3))
    kicks = rng.normal(0.0, spread * np.sqrt(1 - decay**2), (frames, 2, 20, 3))
    for k in range(1, frames):
        velocities[k] = decay * velocities[k - 1] + kicks[k]
    found = jxl.vacf(moving(velocities, "Na20", interval), "Na")
    inside = found.lags < 100.0
    exact = 3 * spread**2 * np.exp(-gamma * found.lags[inside])
    # 50 neighbouring values, strongly correlated: all of them within four standard errors.
    assert np.all(np.abs(found.value[inside] - exact) < 4.0 * found.error[inside])
    value, error = found.diffusivity(until=300.0)
    # Trapezoids of steps of γ Δt = 0.04 are exact to (γ Δt)² / 12.
    assert abs(value - spread**2 / gamma * 1e-5) < 3.0 * error < 0.15 * value


def test_oscillators_stand_at_their_wavenumber() -> None:
    """3400 and 1600 1/cm, of hydrogen and oxygen; weights by mass give each mode of equal energy the same area."""
    interval, t = 1.0, np.arange(8000.0)
    lines = {"H": 3400.0, "O": 1600.0}
    rng = np.random.default_rng(0)
    phases = rng.uniform(0, 2 * np.pi, (2, 40, 3))
    waves = [np.cos(2 * np.pi * w / 33356.40952 * t[:, None, None] + p) for w, p in zip(lines.values(), phases)]  # noqa: B905
    masses = Atoms("HO").get_masses()
    velocities = np.concatenate([wave / np.sqrt(m) for wave, m in zip(waves, masses, strict=True)], axis=1)[:, None]
    run = moving(velocities, "H40O40", interval)
    for species, line in lines.items():
        k, density = jxl.vacf(run, species, stretches=1).density_of_states()
        assert k[np.argmax(density)] == pytest.approx(line, abs=5.0)
        assert np.sum(density) * (k[1] - k[0]) == pytest.approx(1.0)
    k, density = jxl.vacf(run, weighted=True, stretches=1).density_of_states()
    upper = np.sum(density[k > 2500.0]) * (k[1] - k[0])
    assert upper == pytest.approx(0.5, abs=0.02)


def test_results_are_written(tmp_path: Path, rng: np.random.Generator) -> None:
    found = jxl.vacf(moving(rng.normal(size=(200, 1, 3, 3)), "Na3", 1.0), "Na")
    found.to_csv(tmp_path / "v.csv")
    found.to_json(tmp_path / "v.json")
    assert np.allclose(np.loadtxt(tmp_path / "v.csv", delimiter=",", skiprows=1)[:, 1], found.value)
    assert "lag" in found.plot().get_xlabel()


def test_bad_input(rng: np.random.Generator) -> None:
    run = moving(rng.normal(size=(100, 1, 3, 3)), "Na3", 1.0)
    for call, message in (
        (lambda: jxl.vacf(replace(run, velocities=None), "Na"), "no velocities"),
        (lambda: jxl.vacf(run, "Li"), "no Li"),
        (lambda: jxl.vacf(run, "Na", discard=97), "too few"),
        (lambda: jxl.vacf(run, "Na").diffusivity(until=1e6), "until"),
        (lambda: jxl.vacf(run, "Na").density_of_states(width=0.0), "width"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def forgetting(rng: np.random.Generator, frames: int, atoms: int, interval: float) -> np.ndarray:
    """Velocities that forget within 100 fs, D = 1e-3 Å²/fs; (frames, 1, atoms, 3)."""
    decay = np.exp(-interval / 100.0)
    kicks = rng.normal(size=(frames, 1, atoms, 3)) * np.sqrt(1e-3 / 100.0)
    kicks[1:] *= np.sqrt(1.0 - decay**2)
    return np.asarray(lfilter([1.0], [1.0, -decay], kicks, axis=0))


@pytest.mark.parametrize("moved", ["free", "fixed", "pushed"])
def test_few_atoms_have_the_coefficient_of_many(moved: str) -> None:
    """With a fixed or a drifting centre of mass a quarter of the motion of four atoms is missing; five runs."""
    found = []
    for seed in range(5):
        velocities = forgetting(np.random.default_rng(seed), 4000, 4, 20.0)
        if moved != "free":
            velocities = velocities - velocities.mean(axis=2, keepdims=True)
        if moved == "pushed":
            velocities = velocities + 0.02
        curve = jxl.vacf(moving(velocities, "Na4", 20.0), "Na")
        assert curve.share == (1.0 if moved == "free" else 0.75)
        assert curve.freedom == 7
        found.append(curve.diffusivity()[0])
    # Of 50 groups of five runs all lie within 15 %; one run of a hundred is refused.
    assert np.nanmean(found) == pytest.approx(1e-8, rel=0.2)


def test_green_kubo_is_the_slope_of_the_displacement(rng: np.random.Generator) -> None:
    """The same window and nearly the same value as from positions; neither from short runs."""
    run = moving(forgetting(rng, 4000, 10, 20.0), "Na10", 20.0)
    curve = jxl.vacf(run, "Na")
    own, other = curve.diffusivity(), jxl.diffusivity(run, "Na")
    assert own[0] == pytest.approx(other.value, rel=0.05)
    assert own[1] == pytest.approx(other.error, rel=0.3)
    np.testing.assert_allclose(curve.displacements().value[:50], other.msd.value[:50], rtol=0.05, atol=0.05)
    with pytest.warns(UserWarning, match="out of their cage"):
        assert np.isnan(jxl.vacf(run[:400], "Na").diffusivity()).all()
    sparse = jxl.vacf(run[::20], "Na")
    with pytest.warns(UserWarning, match="too far for the decay of the velocities"):
        assert np.isnan(sparse.diffusivity(until=800.0)).all()
