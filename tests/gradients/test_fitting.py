"""Fits to observables: known parameters are found again; frames are used as long as they count; resume."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.dynamics import NVT
from jaxelyte.errors import InputError
from jaxelyte.gradients import Target, fit_observables
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.units import BOLTZMANN

TEMPERATURE, COUNT = 300.0, 8
THERMAL = BOLTZMANN * TEMPERATURE
ANCHORS = np.random.default_rng(4).uniform(0.0, 15.0, (COUNT, 3))
LANGEVIN = NVT(TEMPERATURE, "langevin", tau=100.0)


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


def test_a_spring_is_found_from_the_spread_of_its_atoms() -> None:
    """k = 1.3 becomes 2.0: far enough that frames have to be made anew, near enough that most steps need none."""
    start = HarmonicRestraint(ANCHORS, 1.3)
    fit = fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=25, seed=1, **SETTINGS)
    # Error of <r²> of 8 atoms in 160 frames, a few of which are correlated: 3 %.
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
    assert [row["step"] for row in rows] == list(range(6))
    assert rows == fit.history
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
    ensemble = NVT(130.0, "langevin", tau=500.0)
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
    assert float(fit.potential.sigma[0]) == pytest.approx(3.4, abs=0.02)


def test_bad_input_is_named() -> None:
    start = HarmonicRestraint(ANCHORS, 1.3)
    with pytest.raises(InputError, match="nothing to fit"):
        fit_observables(start, [], wells(), LANGEVIN, iterations=1, steps=10)
    with pytest.raises(InputError, match=r"no parameter .* such as \.anchors, \.k"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=1, steps=10, trainable=lambda _: False)
    with pytest.raises(InputError, match="between 0 and 1"):
        fit_observables(start, [TARGET], wells(), LANGEVIN, iterations=1, steps=10, effective=1.5)
