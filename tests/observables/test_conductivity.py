"""Conductivity: independent walkers, pairs that move together, ions against each other, bad input."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.dynamics.integrators import make_integrator
from jaxelyte.dynamics.summary import _ensemble
from jaxelyte.errors import InputError
from jaxelyte.observables.conductivity import _share_errors
from jaxelyte.trajectory import Trajectory

EDGE, T = 12.0, 300.0
CHARGES = {"Na": 1.0, "Cl": -1.0}


def trajectory_of(cations: np.ndarray, anions: np.ndarray, interval: float = 50.0) -> Trajectory:
    """Steps (frames, replicas, ions, 3) in Å, beside a heavy solvent that stays."""
    number = cations.shape[2]
    atoms = Atoms("Na" * number + "Cl" * number + "Pb")
    masses = atoms.get_masses()
    masses[-1] = 1e9
    still = np.zeros((*cations.shape[:2], 1, 3))
    return Trajectory(
        positions=np.cumsum(np.concatenate([cations, anions, still], axis=2), axis=0),
        numbers=atoms.numbers,
        masses=masses,
        cells=np.eye(3) * EDGE,
        pbc=(True, True, True),
        steps=np.arange(len(cations)),
        times=np.arange(len(cations)) * interval,
    )


def steps(rng: np.random.Generator, diffusivity: float, *, frames: int = 4000, ions: int = 6) -> np.ndarray:
    return rng.normal(0.0, np.sqrt(2.0 * diffusivity * 50.0), (frames, 8, ions, 3))


def exact(diffusivities: float, ions: int = 6) -> float:
    """N q² D / (V k_B T) in S/m, D in Å²/fs, in SI units all the way."""
    charge, volume = 1.602176634e-19, (EDGE * 1e-10) ** 3
    return ions * charge**2 * diffusivities * 1e-5 / (volume * 1.380649e-23 * T)


def test_independent_ions_obey_nernst_and_einstein(rng: np.random.Generator) -> None:
    run = trajectory_of(steps(rng, 2e-4), steps(rng, 1e-4))
    found = jxl.conductivity(run, CHARGES, temperature=T, fit=(50.0, 1000.0))
    assert abs(found.value - exact(3e-4)) < 3.0 * found.error < 0.15 * found.value
    assert abs(found.nernst_einstein - exact(3e-4)) < 3.5 * found.nernst_einstein_error < 0.05 * found.value
    assert abs(found.transport[0] - 2 / 3) < 3.0 * found.transport_error[0] < 0.15
    assert found.transport.sum() == pytest.approx(1.0)
    assert found.partial.sum() == pytest.approx(found.value)


def test_pairs_carry_no_charge(rng: np.random.Generator) -> None:
    together = steps(rng, 1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = jxl.conductivity(trajectory_of(together, together), CHARGES, temperature=T, fit=(50.0, 1000.0))
    assert abs(found.value) < 1e-9 * found.nernst_einstein
    assert found.nernst_einstein == pytest.approx(exact(2e-4), rel=0.05)


def test_ions_that_move_against_each_other_carry_twice_as_much(rng: np.random.Generator) -> None:
    """P = Σ q r doubles, its square is four times that of one species: σ is twice that of independent ions."""
    forth = steps(rng, 1e-4)
    found = jxl.conductivity(trajectory_of(forth, -forth), CHARGES, temperature=T, fit=(50.0, 1000.0))
    assert found.value == pytest.approx(2.0 * exact(2e-4), rel=0.1)
    assert found.transport == pytest.approx([0.5, 0.5], abs=1e-6)


def test_results_are_written(tmp_path: Path, rng: np.random.Generator) -> None:
    run = trajectory_of(steps(rng, 2e-4, frames=800), steps(rng, 1e-4, frames=800))
    found = jxl.conductivity(run, CHARGES, temperature=T, fit=(50.0, 1000.0))
    found.to_csv(tmp_path / "c.csv")
    found.to_json(tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["conductivity_S_m"] == found.value
    assert np.loadtxt(tmp_path / "c.csv", delimiter=",", skiprows=1).shape == (len(found.lags), 3)
    assert "e² Å²" in found.plot().get_ylabel()
    assert "S/m" in repr(found)


def test_bad_input(rng: np.random.Generator) -> None:
    run = trajectory_of(steps(rng, 2e-4, frames=100), steps(rng, 1e-4, frames=100))
    for call, message in (
        (lambda: jxl.conductivity(run, CHARGES), "temperature"),
        (lambda: jxl.conductivity(run, {"Na": 1.0}, temperature=T), "together"),
        (lambda: jxl.conductivity(run, {"K": 1.0, "Cl": -1.0}, temperature=T), "no K"),
        (lambda: jxl.conductivity(run, CHARGES, temperature=T, discard=97), "too few"),
        (lambda: jxl.conductivity(run, CHARGES, temperature=T, fit=(1.0, 2.0)), "holds 0 lags"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_large_errors_are_warned_about(rng: np.random.Generator) -> None:
    """Ions that move in two stretches of four: slopes of a, a, 0 and 0 have an error of 58 % of their mean."""
    few, others = (
        rng.normal(0.0, 1.0, (2, 240, 1, 1, 3)) * np.where(np.arange(240) < 120, 1.0, 0.01)[:, None, None, None]
    )
    with pytest.warns(UserWarning, match="too short"):
        found = jxl.conductivity(trajectory_of(few, others), CHARGES, temperature=T, stretches=4, fit=(100.0, 500.0))
    assert found.freedom == 3
    assert 0.4 < found.error / found.value < 1.2


def test_errors_of_transport_numbers_are_those_of_a_ratio(rng: np.random.Generator) -> None:
    """To first order, t_a = J_a / J moves by (dJ_a - t_a dJ) / J; 40 stretches that scatter by a few percent."""
    table = np.array([[3.0, -0.5], [-0.5, 2.0]]) + 0.05 * rng.normal(size=(40, 2, 2))
    rows, whole = table.sum(axis=2), table.sum(axis=(1, 2))
    shares = rows.mean(axis=0) / whole.mean()
    moved = (rows - shares * whole[:, None]) / whole.mean()
    np.testing.assert_allclose(_share_errors(table), moved.std(axis=0, ddof=1) / np.sqrt(40), rtol=0.02)


@pytest.mark.parametrize(
    ("charges", "message"),
    [
        ({"Na": 2, "Cl": -2}, r"Na has \+2 e instead of \+1 e, Cl has -2 e instead of -1 e"),
        ({"Na": -1, "Cl": 1}, r"Na has -1 e instead of \+1 e"),
        ({"Na": 0.5, "O": -0.5, "Cl": 0}, "O are atoms of molecules"),
    ],
)
def test_charges_that_ions_do_not_have_are_named(charges, message):
    positions = np.cumsum(np.random.default_rng(0).normal(size=(300, 1, 12, 3)), axis=0)
    numbers, times = np.repeat([11, 17, 8], 4), np.arange(300)
    walk = jxl.Trajectory(positions, numbers, np.full(12, 30.0), np.eye(3) * 90, (True,) * 3, times, times * 1e3)
    with pytest.warns(UserWarning, match=message):
        jxl.conductivity(walk, charges, temperature=300.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="conductivity: (Na|Cl|O) ")
        jxl.conductivity(walk, {"Na": 0.8, "Cl": -0.8}, temperature=300.0)


@pytest.mark.parametrize(
    ("thermostat", "named"),
    [
        ("langevin", "a Langevin thermostat (friction 0.02 /fs)"),
        ("nose-hoover-massive", "massive Nosé-Hoover chains"),
        ("nose-hoover", ""),
        ("svr", ""),
        (None, ""),
    ],
)
def test_thermostats_that_change_motion_are_named(
    thermostat: Any, named: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """By runs, whose summary has it, and by run folders of earlier versions; trajectories do not know."""
    frames = trajectory_of(steps(rng, 1e-3, frames=600), steps(rng, 1e-3, frames=600))
    settings = {"friction": 0.02} if thermostat == "langevin" else {}
    ensemble = jxl.NVE() if thermostat is None else jxl.NVT(T, thermostat, **settings)
    found = _ensemble(make_integrator(ensemble, 8, momentum_conserved=True))
    assert found == {"thermostat": thermostat, "friction": settings.get("friction")}
    (tmp_path / "config.json").write_text(json.dumps({"ensemble": found}))
    temperature = {"temperature": {"thermostat": T}}
    run = SimpleNamespace(trajectory=frames, summary=temperature | {"ensemble": found})
    older = SimpleNamespace(trajectory=frames, summary=temperature, folder=tmp_path)
    for source, kept in ((run, named), (older, named), (frames, "")):
        for what, analyse in (
            ("diffusion", lambda source=source: jxl.diffusivity(source, "Na")),
            ("conductivity", lambda source=source: jxl.conductivity(source, CHARGES, temperature=T)),
        ):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                analyse()
            texts = [str(one.message) for one in told if "atoms move otherwise" in str(one.message)]
            assert len(texts) == int(bool(kept))
            assert all(t.startswith(f"{what}: the run had {kept}") and "NVE()" in t for t in texts)
