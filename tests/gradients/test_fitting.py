"""Fits to observables: known parameters are found again; frames are used as long as they count; resume."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ase import Atoms

from full_disk import full_disk
from jaxelyte.dynamics import NVT
from jaxelyte.errors import InputError, StorageError
from jaxelyte.gradients import Target, fit_observables
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.units import BOLTZMANN

TEMPERATURE, COUNT = 300.0, 8
THERMAL = BOLTZMANN * TEMPERATURE
ANCHORS = np.random.default_rng(4).uniform(0.0, 15.0, (COUNT, 3))
LANGEVIN = NVT(TEMPERATURE, "langevin")


def spread(potential: object, system: object, neighbors: object) -> object:
    return jnp.mean(jnp.sum((system.positions - jnp.asarray(ANCHORS)) ** 2, axis=-1))  # type: ignore[attr-defined]


def wells() -> Atoms:
    return Atoms(f"Ar{COUNT}", ANCHORS, cell=[30.0] * 3, pbc=True)


WANTED = 2.0
TARGET = Target(spread, 3.0 * THERMAL / WANTED, scale=3.0 * THERMAL / WANTED, explicit=False, name="spread")
SETTINGS = dict(
    steps=4000,
    every=20,
    timestep=2.0,
    learning_rate=0.08,
    at_once=64,
    trainable=lambda path: path.endswith(".k"),
    progress=False,
)


@pytest.mark.slow
def test_a_spring_is_found_from_the_spread_of_its_atoms() -> None:
    """k = 1.3 becomes 2.0: far enough that frames have to be made anew, near enough that most steps need none."""
    start = HarmonicRestraint(ANCHORS, 1.3)
    settings = SETTINGS | {"learning_rate": optax.cosine_decay_schedule(0.1, 20), "steps": 6000, "replicas": 4}
    fit = fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=20, seed=1, **settings)
    # Eight seeds give 2.05 to 2.07: a scatter of 1 %, and 3 % that 20 steps leave to go.
    assert float(fit.potential.k) == pytest.approx(WANTED, rel=0.1)
    np.testing.assert_array_equal(fit.potential.anchors, start.anchors)
    simulated = sum(row["simulated"] for row in fit.history)
    assert 2 <= simulated <= 12
    assert fit.history[0]["loss"] > 0.2
    assert fit.history[fit.best]["loss"] < 0.01
    assert all(row["effective"] > 0.5 for row in fit.history)
    # One program for all simulations.
    assert fit.run is not None
    assert fit.run.performance["compilations"] == 0
    assert len(fit.plot().lines) == 2


@pytest.mark.more
def test_a_fit_resumes(tmp_path: Path) -> None:
    start = HarmonicRestraint(ANCHORS, 1.3)
    fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=3, output=tmp_path, **SETTINGS)
    with pytest.raises(InputError, match="resume=True"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=3, output=tmp_path, **SETTINGS)
    # A line that no state counts, as after a kill, is dropped.
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write("{}\n")
    fit = fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=6, output=tmp_path, resume=True, **SETTINGS)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(7))
    np.testing.assert_equal(rows, list(fit.history))  # an error may be NaN
    # Where the shorter fit ended with a simulation, the longer one takes a step.
    assert [row["length"] is None for row in rows] == [False] * 6 + [True]
    assert float(fit.potential.k) > 1.5
    # Adam's moments went on: steps keep their length instead of starting small again.
    done = fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=6, output=tmp_path, resume=True, **SETTINGS)
    assert float(done.potential.k) == float(fit.potential.k)


@pytest.mark.slow
def test_a_liquid_gets_its_diameter_from_its_structure() -> None:
    """σ of argon, 5 % too small, from the g(r) of a run with the right one."""
    from jaxelyte.dynamics import simulate
    from jaxelyte.gradients import frame_rdf

    lattice = np.mgrid[0:4, 0:4, 0:4].reshape(3, -1).T * 3.9
    atoms = Atoms("Ar64", lattice, cell=[15.6] * 3, pbc=True)
    right = LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=7.0, shift=True)
    ensemble = NVT(130.0, "langevin")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = simulate(right, atoms, ensemble, steps=20_000, timestep=5.0, every=50, seed=9, progress=False)
        g = frame_rdf(run, ("Ar", "Ar"), r_max=7.5, bins=60)
        from jaxelyte.observables import rdf

        wanted = rdf(run, "Ar", "Ar", r_max=7.5, bins=60, discard=80).g[None]
        start = LennardJones({"Ar": 3.23}, {"Ar": 0.0104}, cutoff=7.0, shift=True)
        fit = fit_observables(
            start,
            [Target(g, wanted, explicit=False)],
            run.atoms,
            ensemble,
            iterations=20,
            steps=6000,
            timestep=5.0,
            every=50,
            learning_rate=0.02,
            trainable=lambda path: path.endswith(".sigma"),
            at_once=32,
            progress=False,
        )
    assert float(fit.potential.sigma[0]) == pytest.approx(3.4, abs=0.03)  # from 3.23; the scatter of runs is 0.01


def test_steps_into_the_unknown_are_shortened() -> None:
    """A learning rate 50 times too large: no step leaves fewer effective samples than asked, and the fit arrives."""
    start = HarmonicRestraint(ANCHORS, 1.3)
    settings = SETTINGS | {"learning_rate": 4.0}
    fit = fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=6, seed=1, least=0.3, **settings)
    assert fit.history[0]["length"] < 0.5
    # Halved once less, the first step would have left fewer.
    assert abs(fit.history[0]["loss"] - 0.29) < 0.1
    assert float(fit.potential.k) == pytest.approx(WANTED, rel=0.15)


def test_the_best_is_judged_on_frames_of_its_own() -> None:
    """Reweighted losses follow the noise of their frames: the best row is a simulated one, the last row always is."""
    fit = fit_observables(HarmonicRestraint(ANCHORS, 1.9), [TARGET], wells(), LANGEVIN, iterations=8, **SETTINGS)
    rows = fit.history
    assert len(rows) == 9
    assert rows[-1]["simulated"]
    assert rows[-1]["length"] is None
    assert rows[fit.best]["simulated"]
    assert rows[fit.best]["loss"] == min(row["loss"] for row in rows if row["simulated"])
    # The loss of right parameters is that of the noise: Var(<r²>)/<r²>² of 8 atoms in 160 frames, 1/(12 · 160) and
    # more for frames that are correlated.
    assert 3e-4 < rows[-1]["noise"] < 6e-3


def test_a_schedule_and_frozen_parameters() -> None:
    """A rate that is zero after two steps leaves the parameters where they are."""
    settings = SETTINGS | {"learning_rate": lambda count: jnp.where(count < 2, 0.08, 0.0)}
    fit = fit_observables(HarmonicRestraint(ANCHORS, 1.5), [TARGET], wells(), LANGEVIN, iterations=4, **settings)
    assert not any(row["simulated"] for row in fit.history[1:4])
    losses = [row["loss"] for row in fit.history[:4]]
    # On the same frames the same parameters have the same loss, to the digit.
    assert losses[0] > losses[1] > losses[2] == losses[3]


def test_the_noise_of_a_target_is_its_loss_where_it_is_right(rng: np.random.Generator) -> None:
    """200 repeats of averages that are right on average: mean loss = mean noise, with scale, weight and function."""
    target = Target(
        spread,
        np.array([0.0, 2.0]),
        scale=np.array([0.5, 2.0]),
        weight=3.0,
        function=lambda m: jnp.array([m[0], 2 * m[1]]),
    )
    losses, noises = [], []
    for _ in range(200):
        parts = rng.normal(size=(10, 2)) * 0.1  # of a sum: standard error 0.1 sqrt(10)
        mean = np.array([0.0, 1.0]) + parts.sum(axis=0)
        losses.append(float(target.loss(jnp.asarray(mean))))
        noises.append(target.noise(mean, parts - parts.mean(axis=0)))
    exact = 3.0 * 0.1 * (1.0 / 0.25 + 4.0 / 4.0) / 2.0
    # χ² of two numbers, mostly one of them: relative error sqrt(2/200) = 0.1; of the noises a third of it.
    assert np.mean(losses) == pytest.approx(exact, rel=0.3)
    assert np.mean(noises) == pytest.approx(exact, rel=0.12)


def test_the_error_of_a_loss_by_hand() -> None:
    """Of d² with Var(d) = σ²: 4 d²σ² to first order, of which 4 σ⁴ come from the noise of d itself, and 3 σ⁴."""
    target = Target(spread, 1.0)
    parts = np.array([0.1, -0.1, 0.1, -0.1])  # of a sum: σ² = 4 · 0.04/3
    square = 4.0 * 0.04 / 3.0
    for first, expected in ((1.0, 1.0 - square**2), (0.0, 3.0 * square**2)):
        assert target.error(np.array(1.5), parts, first) == pytest.approx(math.sqrt(expected))
    assert target.noise(np.array(1.5), parts) == pytest.approx(square)
    assert math.isnan(target.error(np.array(1.5), parts, math.nan))


@pytest.mark.parametrize("where", ["simulation", "between"])
def test_ctrl_c_returns_what_there_is(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second simulation, or while frames are reweighted; the fit resumes from its last structures."""
    from jaxelyte.gradients import fitting

    calls, starts = [], []
    original = fitting.simulate

    def simulate(potential: object, atoms: Atoms, *args: object, **kwargs: object) -> object:
        calls.append(1)
        starts.append(atoms.positions.copy())
        run = original(potential, atoms, *args, **kwargs)  # type: ignore[arg-type]
        return replace(run, completed=False) if where == "simulation" and len(calls) == 2 else run

    def evaluate(*args: object) -> object:
        if where == "between" and len(calls) == 2:
            raise KeyboardInterrupt
        return measured(*args)

    measured = fitting._evaluate
    monkeypatch.setattr(fitting, "simulate", simulate)
    monkeypatch.setattr(fitting, "_evaluate", evaluate)
    settings = SETTINGS | {"effective": 0.95, "output": tmp_path}
    start = HarmonicRestraint(ANCHORS, 1.3)
    fit = fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=3, **settings)
    assert not fit.completed
    assert 1 <= len(fit.history) <= 3
    assert fit.history[fit.best]["simulated"]
    monkeypatch.undo()
    monkeypatch.setattr(
        fitting, "simulate", lambda p, a, *r, **k: (starts.append(a.positions), original(p, a, *r, **k))[1]
    )
    fit = fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=3, resume=True, **settings)
    assert fit.completed
    assert [row["step"] for row in fit.history] == [0, 1, 2, 3]
    # Not from the start structure again.
    assert np.abs(starts[-1] - ANCHORS).max() > 0.01


def test_a_folder_of_another_fit_is_refused(tmp_path: Path) -> None:
    settings = SETTINGS | {"steps": 200, "output": tmp_path}
    fit_observables(HarmonicRestraint(ANCHORS, 1.3), [TARGET], wells(), LANGEVIN, iterations=1, **settings)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = replace(TARGET, value=2.0 * np.asarray(TARGET.value))
    hotter = replace(LANGEVIN, temperature=310.0)
    for k, target, ensemble, message in (
        (1.4, TARGET, LANGEVIN, r"another fit: parameter k of the potential 1\.3 → 1\.4"),
        (1.3, other, LANGEVIN, rf"target {TARGET.name}\.value .* → "),
        (1.3, TARGET, hotter, r"ensemble temperature .* → 310"),
    ):
        with pytest.raises(InputError, match=message):
            fit_observables(
                HarmonicRestraint(ANCHORS, k), [target], wells(), ensemble, iterations=2, resume=True, **settings
            )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with full_disk(100), pytest.raises(StorageError, match=r"cannot write .*history\.jsonl.*resume=True"):
        fit_observables(
            HarmonicRestraint(ANCHORS, 1.3), [TARGET], wells(), LANGEVIN, iterations=2, resume=True, **settings
        )
    again = fit_observables(
        HarmonicRestraint(ANCHORS, 1.3), [TARGET], wells(), LANGEVIN, iterations=2, resume=True, **settings
    )
    assert len(again.history) == 3
    (tmp_path / "history.jsonl").write_text("")
    with pytest.raises(InputError, match=r"history of the fit .*history\.jsonl"):
        fit_observables(
            HarmonicRestraint(ANCHORS, 1.3), [TARGET], wells(), LANGEVIN, iterations=3, resume=True, **settings
        )


def test_bad_input_is_named() -> None:
    start = HarmonicRestraint(ANCHORS, 1.3)
    with pytest.raises(InputError, match="nothing to fit"):
        fit_observables(start, [], wells(), LANGEVIN, iterations=1, steps=1000)
    with pytest.raises(InputError, match=r"no parameter .* such as \.anchors, \.k"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=1, steps=1000, trainable=lambda _: False)
    with pytest.raises(InputError, match="effective must be a finite number, above 0 and below 1"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=1, steps=1000, effective=1.5)
    with pytest.raises(InputError, match="least must be a finite number, above 0 and below 1"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=1, steps=1000, least=0)
    with pytest.raises(InputError, match="iterations must be a positive integer, not 0"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=0, steps=1000)
    with pytest.raises(InputError, match="fewer than two frames"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=1, steps=100)
    with pytest.raises(InputError, match="different names"):
        fit_observables(start, [TARGET, TARGET], wells(), LANGEVIN, iterations=1, steps=1000)
    with pytest.raises(InputError, match="must be positive"):
        Target(spread, 1.0, scale=np.array([1.0, 0.0]))
    with pytest.raises(InputError, match="must be an array of finite numbers"):
        Target(spread, np.array([1.0, np.nan]))
    with pytest.raises(InputError, match="0 or more, not -1"):
        Target(spread, 1.0, weight=-1)
    with pytest.raises(InputError, match=r"value of shape \(3,\)"):
        Target(spread, np.ones(3)).loss(jnp.ones(()))
