"""Residence times: telegraph processes with closed forms, brute force, cells, warnings, bad input."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from jaxelyte.errors import InputError
from jaxelyte.observables import survival
from jaxelyte.observables.blocks import block_error
from jaxelyte.observables.residence import residence_time
from jaxelyte.observables.survival import Presence, find_presence, survivors
from jaxelyte.trajectory import Trajectory
from toys import gas

INTERVAL = 50.0
SLANTED = np.array([[11.0, 0.0, 0.0], [4.0, 10.0, 0.0], [-3.0, 5.0, 12.0]])


def blinking(inside: np.ndarray, *, interval: float = INTERVAL) -> Trajectory:
    """O at 2 Å from one Na where True, else at 5 Å; ``inside`` (frames, replicas, atoms)."""
    frames, replicas, count = inside.shape
    rng = np.random.default_rng(7)
    direction = rng.normal(size=(*inside.shape, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    away = np.where(inside, 2.0, 5.0)[..., None] * direction
    start = rng.uniform(-30.0, 30.0, (frames, replicas, 1, 3))
    atoms = Atoms(["Na"] + ["O"] * count)
    return Trajectory(
        positions=np.concatenate([start, start + away], axis=2),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cells=np.eye(3) * 14.0,
        pbc=(True, True, True),
        steps=np.arange(frames),
        times=np.arange(frames) * interval,
    )


def telegraph(frames: int, count: int, leave: float, come: float, *, replicas: int = 1, seed: int = 0) -> np.ndarray:
    """Two-state Markov chains in their stationary state, True inside."""
    rng = np.random.default_rng(seed)
    state = rng.random((replicas, count)) < come / (come + leave)
    rows = []
    for _ in range(frames):
        rows.append(state)
        state = np.where(state, rng.random(state.shape) >= leave, rng.random(state.shape) < come)
    return np.array(rows)


def by_hand(inside: np.ndarray, lags: int, tolerated: float) -> np.ndarray:
    """Survivors of (frames, pairs) at each lag, by the definition: all origins, all lags, all frames in between."""
    total = np.zeros(lags)
    for pair in range(inside.shape[1]):
        h = inside[:, pair]
        for start in np.flatnonzero(h):
            absent = 0
            for lag in range(min(lags, len(h) - start)):
                absent = 0 if h[start + lag] else absent + 1
                if absent > tolerated:
                    break
                total[lag] += h[start + lag]
    return total


@pytest.mark.parametrize("tolerated", [0, 1, 3, 1000])
def test_survivors_are_those_of_the_definition(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, tolerated: int
) -> None:
    for chance in (0.1, 0.6, 0.95):
        inside = rng.random((53, 9)) < chance
        pair, frame = np.nonzero(inside.T)
        presence = Presence(pair, frame, 53)
        expected = by_hand(inside, 30, tolerated)
        absent = None if tolerated == 1000 else tolerated
        np.testing.assert_array_equal(survivors(presence, 30, absent), expected)
        monkeypatch.setattr(survival, "NUMBERS_AT_ONCE", 100)
        np.testing.assert_array_equal(survivors(presence, 30, absent), expected)
        monkeypatch.undo()
    np.testing.assert_array_equal(survivors(Presence(pair[:0], frame[:0], 53), 5, 0), 0.0)


@pytest.mark.parametrize("tolerance", [0.0, 49.9, 50.0, 120.0, math.inf])
def test_curves_of_a_trajectory_are_those_of_brute_force(tolerance: float) -> None:
    """Stretches, origins and normalisation included: from distances to n(t)/n(0)."""
    inside = telegraph(96, 12, 0.05, 0.1, replicas=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = residence_time(blinking(inside), "Na", "O", 3.0, tolerance=tolerance, stretches=2, fit=(50.0, 400.0))
    parts = [inside[a : a + 48, r] for r in (0, 1) for a in (0, 48)]
    lags = 25
    tolerated = tolerance / INTERVAL
    curves = np.array([by_hand(p, lags, tolerated) / (48 - np.arange(lags)) for p in parts])
    everyone = np.array([by_hand(p, lags, math.inf) / (48 - np.arange(lags)) for p in parts])
    np.testing.assert_allclose(found.lags, INTERVAL * np.arange(lags))
    np.testing.assert_allclose(found.survival, curves.mean(axis=0) / curves[:, 0].mean(), rtol=1e-12)
    np.testing.assert_allclose(found.intermittent, everyone.mean(axis=0) / everyone[:, 0].mean(), rtol=1e-12)
    assert found.number == pytest.approx(inside.sum(axis=2).mean())
    assert found.number_error == pytest.approx(float(block_error(inside.sum(axis=2)).error))


def chain(leave: float, come: float, tolerated: int, lags: int) -> np.ndarray:
    """Exact n(t)/n(0) of the telegraph process: powers of the chain inside, absent for 1, 2, … frames, gone."""
    steps = np.zeros((tolerated + 1, tolerated + 1))
    steps[0, 0] = 1 - leave
    if tolerated:
        steps[0, 1] = leave
        steps[1:, 0] = come
        for k in range(1, tolerated):
            steps[k, k + 1] = 1 - come
    return np.array([np.linalg.matrix_power(steps, lag)[0, 0] for lag in range(lags)])


@pytest.mark.parametrize("tolerated", [0, 2])
def test_survival_of_a_telegraph_process(tolerated: int) -> None:
    leave, come = 0.05, 0.02
    inside = telegraph(6000, 40, leave, come, replicas=2)
    trajectory = blinking(inside)
    found = residence_time(trajectory, "Na", "O", 3.0, tolerance=tolerated * INTERVAL)
    exact = chain(leave, come, tolerated, len(found.lags))
    early = exact > 0.02
    # Lags are correlated: all within four standard errors, and not all far inside of them.
    z = ((found.survival - exact) / np.where(found.survival_error > 0, found.survival_error, np.inf))[early]
    assert np.abs(z).max() < 4.0
    assert np.abs(z).max() > 0.3
    rate = -np.log(exact[40] / exact[39])
    assert abs(found.value - INTERVAL / rate) < 3.5 * found.error < 0.15 * found.value
    area = INTERVAL * (np.sum(exact) - 0.5)
    assert abs(found.integral - area) < 3.5 * found.integral_error < 0.15 * area
    assert abs(found.number - 40 * come / (come + leave)) < 3.5 * found.number_error < 2.0
    if tolerated == 0:
        assert rate == pytest.approx(-math.log(1 - leave))


def test_intermittent_function_of_a_telegraph_process() -> None:
    """C(t) = p + (1 - p)(1 - a - b)^t: the plateau is the share that is inside."""
    leave, come = 0.05, 0.02
    found = residence_time(
        blinking(telegraph(6000, 40, leave, come, replicas=2)), "Na", "O", 3.0, tolerance=math.inf, fit=(50.0, 1500.0)
    )
    share = come / (come + leave)
    assert found.plateau == pytest.approx(share, abs=0.02)
    exact = share + (1 - share) * (1 - leave - come) ** np.arange(len(found.lags))
    z = ((found.survival - exact) / np.where(found.survival_error > 0, found.survival_error, np.inf))[:100]
    assert np.abs(z).max() < 4.0
    np.testing.assert_array_equal(found.survival, found.intermittent)
    time = -INTERVAL / math.log(1 - leave - come)
    assert abs(found.value - time) < 3.5 * found.error < 0.3 * time
    np.testing.assert_allclose(found.fitted(np.array([500.0])), found.survival[10], atol=0.05)


def test_exact_exponentials_are_fitted_exactly() -> None:
    """Neighbours that leave once and for all, in equal shares: n(t) falls by the same factor each step."""
    from jaxelyte.observables.residence import _Counts, _estimate

    lags = INTERVAL * np.arange(40)
    curve = 6.0 * np.exp(-lags / 700.0)
    counts = _Counts(np.stack([curve] * 5), np.stack([curve] * 5), np.full((50, 1), 6.0))
    estimate = _estimate(counts, lags, (lags > 0) & (lags < 1000.0), 0.0)
    assert estimate.value == pytest.approx(700.0)
    assert estimate.intercept == pytest.approx(1.0)
    assert estimate.integral == pytest.approx(700.0, rel=1e-3)  # trapezoids, exact to (Δ/τ)²/12
    assert estimate.number == pytest.approx(6.0)
    assert estimate.error == pytest.approx(0.0, abs=1e-9)


def test_the_plateau_goes_with_the_stretches() -> None:
    """Stretches with more or fewer neighbours and the same kinetics: hardly any error of the times."""
    from jaxelyte.observables.residence import _Counts, _estimate

    lags = INTERVAL * np.arange(40)
    number = 6.0 + 0.3 * np.array([1.0, -1.0, 0.5, -0.5, 0.8, -0.8])[:, None]
    plateau = number / 20.0
    curves = number * (plateau + (1.0 - plateau) * np.exp(-lags / 400.0))
    found = _estimate(_Counts(curves, curves, number), lags, (lags > 0) & (lags < 1000.0), 6.0 / 20.0)
    assert found.value == pytest.approx(400.0, rel=0.01)
    assert found.error < 2.0
    assert found.integral_error < 2.0


def test_errors_are_the_spread_of_repeated_runs() -> None:
    runs = [
        residence_time(blinking(telegraph(1500, 20, 0.06, 0.03, seed=seed)), "Na", "O", 3.0, tolerance=0.0)
        for seed in range(24)
    ]
    spread = np.std([run.value for run in runs], ddof=1)
    assert np.sqrt(np.mean([run.error**2 for run in runs])) == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("r_max", [3.0, 4.5])
def test_pairs_across_the_edges_of_a_triclinic_cell(monkeypatch: pytest.MonkeyPatch, r_max: float) -> None:
    """Against nearest images of ASE, positions several boxes away included; both with species alike and not."""
    trajectory = gas(["Na"] * 4 + ["O"] * 6, SLANTED, 7, replicas=2)
    sodium, oxygen = np.arange(4), np.arange(4, 10)
    for numbers_at_once in (1, 100, 1_000_000):
        monkeypatch.setattr(survival, "NUMBERS_AT_ONCE", numbers_at_once)
        for a, b in ((sodium, oxygen), (sodium, sodium)):
            expected = []
            for frame in range(7):
                distance = trajectory.frame(frame, replica=1).get_all_distances(mic=True)
                expected += [(i * len(b) + j, frame) for i in range(len(a)) for j in range(len(b))
                             if a[i] != b[j] and distance[a[i], b[j]] < r_max]  # fmt: skip
            presence = find_presence(trajectory, 1, a, b, r_max)
            assert len(expected) > 3
            assert list(zip(presence.pair, presence.frame, strict=True)) == sorted(expected)


@pytest.mark.filterwarnings("ignore:residence time of")
def test_open_and_changing_cells() -> None:
    inside = telegraph(120, 6, 0.1, 0.1)
    trajectory = blinking(inside)
    expected = residence_time(trajectory, "Na", "O", 3.0, tolerance=0.0, fit=(50.0, 300.0))
    breathing = np.eye(3) * np.linspace(13.0, 16.0, 120)[:, None, None, None]
    for other in (
        replace(trajectory, pbc=(False, False, False), cells=np.zeros((3, 3))),
        replace(trajectory, pbc=(True, True, False), cells=np.diag([14.0, 14.0, 0.0])),
        replace(trajectory, cells=breathing),
    ):
        found = residence_time(other, "Na", "O", 3.0, tolerance=0.0, fit=(50.0, 300.0))
        np.testing.assert_array_equal(found.survival, expected.survival)


def test_short_runs_warn_with_the_number() -> None:
    slow = blinking(telegraph(400, 30, 0.002, 0.002))
    with pytest.warns(UserWarning, match=r"the run of 19\.95 ps holds 0\.[6-9] of them; at least 10 are needed"):
        found = residence_time(slow, "Na", "O", 3.0, tolerance=0.0)
    assert 20e3 < found.value < 35e3
    with pytest.warns(UserWarning, match=r"longer than the longest lag, 0\.2 ps, so the exponential is extrapolated"):
        residence_time(blinking(telegraph(200, 30, 0.12, 0.1)), "Na", "O", 3.0, tolerance=0.0, stretches=25)
    with pytest.warns(UserWarning, match=r"no neighbour leaves in 5.95 ps|holds 0.0 of them"):
        residence_time(blinking(np.ones((120, 1, 6), bool)), "Na", "O", 3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        residence_time(blinking(telegraph(2000, 10, 0.1, 0.1)), "Na", "O", 3.0, tolerance=0.0)


def test_replicas_may_list_their_atoms_in_any_order() -> None:
    alike = blinking(telegraph(400, 8, 0.1, 0.1, replicas=2))
    order = np.random.default_rng(1).permutation(9)
    positions = np.asarray(alike.positions).copy()
    positions[:, 1] = positions[:, 1, order]
    both = {name: np.stack([getattr(alike, name)[0], getattr(alike, name)[1, order]]) for name in ("numbers", "masses")}
    found = residence_time(replace(alike, positions=positions, **both), "Na", "O", 3.0, tolerance=0.0)
    expected = residence_time(alike, "Na", "O", 3.0, tolerance=0.0)
    np.testing.assert_array_equal(found.survival, expected.survival)
    assert found.number == expected.number


def test_files_and_pictures(tmp_path: Path) -> None:
    found = residence_time(blinking(telegraph(2000, 10, 0.05, 0.05)), "Na", "O", 3.0, tolerance=100.0)
    found.to_csv(tmp_path / "r.csv")
    table = np.genfromtxt(tmp_path / "r.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["survival"], found.survival)
    np.testing.assert_allclose(table["lag_fs"], found.lags)
    found.to_json(tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["residence_time_fs"] == found.value
    assert content["tolerance_fs"] == 100.0
    assert found.fit[0] == 100.0
    assert "absences up to 0.1 ps" in repr(found)
    assert found.plot().get_xlabel() == "lag / ps"
    forever = replace(found, tolerance=math.inf, error=math.nan)
    forever.to_json(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["error_fs"] is None
    assert "intermittent" in forever.plot().get_legend_handles_labels()[1]


def test_bad_input() -> None:
    run = blinking(telegraph(200, 5, 0.1, 0.1))
    unequal = replace(run, times=np.cumsum(np.random.default_rng(0).uniform(1.0, 2.0, 200)))
    for call, message in (
        (lambda: residence_time(run, "Na", "O", 0.0), "r_max must be a finite number in Å, above 0"),
        (lambda: residence_time(run, "Na", "O", 8.0), "more than half the smallest width of the cell, 7 Å"),
        (lambda: residence_time(run, "Na", "O", 3.0, tolerance=-1.0), "tolerance must be a number in fs, 0 or more"),
        (
            lambda: residence_time(run, "Na", "O", 3.0, tolerance=math.nan),
            "tolerance must be a number in fs, 0 or more",
        ),
        (lambda: residence_time(run, "Na", "K", 3.0), "there is no K"),
        (lambda: residence_time(run, "Na", "O", 1.0), "no O came within 1.0 Å of a Na"),
        (lambda: residence_time(run, "Na", "O", 3.0, discard=190), "too few for a residence time"),
        (lambda: residence_time(unequal, "Na", "O", 3.0), "equally spaced"),
        (lambda: residence_time(run, "Na", "O", 3.0, fit=(0.0, 60.0)), "at least three"),
        (lambda: residence_time(blinking(telegraph(400, 5, 0.7, 0.1)), "Na", "O", 3.0, tolerance=0.0), "store frames"),
    ):
        with pytest.raises(InputError, match=message):
            call()
