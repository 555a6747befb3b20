"""The run loop: compilations, overflow, replicas, blow-ups, input errors."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from dataclasses import replace

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import fs

from jaxelyte.dynamics import NVE, NVT, minimize, simulate
from jaxelyte.dynamics.chunk import Settings
from jaxelyte.dynamics.engine import Engine
from jaxelyte.dynamics.integrators import make_integrator
from jaxelyte.dynamics.start import batch_systems
from jaxelyte.dynamics.summary import conserved_drift, ns_per_day
from jaxelyte.errors import InputError, SimulationError, UnsupportedError
from jaxelyte.evaluate import evaluator
from jaxelyte.interop.ase_calculator import Calculator
from jaxelyte.neighbors import loop
from jaxelyte.observables import RDF
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from periodic import CELLS, salt
from toys import Argon, Cliff, Shifted, Well


def argon(scale: float = 5.6) -> Atoms:
    atoms = bulk("Ar", "fcc", a=scale, cubic=True).repeat(3)
    atoms.rattle(0.05, seed=1)
    return atoms


def positions(run: object) -> np.ndarray:
    return np.asarray(run.trajectory.positions)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("fresh_programs")
@pytest.mark.parametrize("chunk", [None, 37])
def test_a_run_compiles_once_and_does_not_depend_on_chunks(chunk: int | None) -> None:
    arguments = dict(steps=530, timestep=4.0, every=50, seed=4, progress=False)
    run = simulate(Argon(), argon(), NVT(120.0, "langevin"), chunk=chunk, **arguments)
    again = simulate(Argon(), argon(), NVT(120.0, "langevin"), chunk=100, **arguments)
    assert run.performance["compilations"] == 1
    assert run.performance["list_builds"] > 1
    assert len(run.trajectory) == 11
    np.testing.assert_array_equal(positions(run), positions(again))
    np.testing.assert_array_equal(run.atoms.positions, again.atoms.positions)
    np.testing.assert_array_equal(run.log["conserved"], again.log["conserved"])


def test_one_trace_serves_another_parameter() -> None:
    """The potential is an argument of the program, not a constant in it."""
    from jaxelyte.dynamics import chunk

    traces = []
    original = chunk._step

    def counting(*arguments: object) -> object:
        traces.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    chunk._step = counting
    chunk.make_chunk.cache_clear()
    try:
        few_steps = dict(every=30, velocities=50.0, chunk=7, progress=False)
        simulate(Argon(), argon(), NVE(), steps=30, **few_steps)
        # The body of a loop may be traced more than once for one program; more chunks must not add to it.
        few = len(traces)
        run = simulate(Argon(), argon(), NVE(), steps=300, **few_steps)
        other = simulate(Argon(epsilon=0.011), argon(), NVE(), steps=30, **few_steps)
    finally:
        chunk._step = original
        chunk.make_chunk.cache_clear()
    assert len(traces) == few > 0
    assert run.performance["compilations"] == other.performance["compilations"] == 0


@pytest.mark.usefixtures("fresh_programs")
@pytest.mark.parametrize("exact", [pytest.param(False, marks=pytest.mark.more), True])
def test_overflow_is_repaired(monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    """Lists that are too small from the start: same trajectory as with enough room, bit for bit."""
    arguments = dict(steps=200, timestep=4.0, every=10, velocities=300.0, seed=2, progress=False)
    potential = Argon(exact=exact)
    roomy = simulate(potential, argon(), NVE(), **arguments)
    original = evaluator.plan_lists

    def tight(*args: object, **kwargs: object) -> loop.ListPlan:
        plan = original(*args, **kwargs)  # type: ignore[arg-type]
        field = "exact_capacity" if exact else "capacity"
        return loop.ListPlan(tuple(replace(s, **{field: 8}) for s in plan.searches), plan.skin)

    monkeypatch.setattr(evaluator, "plan_lists", tight)
    repaired = simulate(potential, argon(), NVE(), **arguments)
    assert repaired.performance["repeated_chunks"] >= 1
    # One program for each size that was tried; the last may be the one that had enough room from the start.
    tried = 1 + repaired.performance["repeated_chunks"]
    assert repaired.performance["compilations"] in (tried - 1, tried)
    np.testing.assert_array_equal(positions(repaired), positions(roomy))
    assert roomy.performance["repeated_chunks"] == 0


@pytest.mark.more
def test_overflow_in_the_middle_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gas that condenses needs more room after a while; no step of the failed chunk is kept."""
    atoms = argon(6.6)
    arguments = dict(steps=500, timestep=8.0, every=20, velocities=20.0, seed=2, progress=False, skin=0.4)
    potential = Argon(epsilon=0.05, cutoff_distance=5.5)
    roomy = simulate(potential, atoms, NVT(20.0), **arguments)
    monkeypatch.setattr(loop, "_room", lambda count, _: count + 1)
    tight = simulate(potential, atoms, NVT(20.0), **arguments)
    assert tight.performance["repeated_chunks"] >= 1
    assert roomy.performance["repeated_chunks"] == 0
    # Other row lengths change the order of sums in the last bit; the liquid amplifies that, so compare early frames.
    np.testing.assert_allclose(positions(tight)[:10], positions(roomy)[:10], rtol=0, atol=1e-8)
    assert abs(tight.log["conserved"][-1, 0] - roomy.log["conserved"][-1, 0]) < 1e-2


def test_more_room_keeps_the_pairs() -> None:
    """A chunk that is repeated starts from the lists as they were built, not from lists of where atoms are now."""
    atoms = argon()
    systems = batch_systems(atoms, 1)
    settings = Settings(make_integrator(NVE(), len(atoms), momentum_conserved=True), 100, 100, 4, (), (), False)
    machine = Engine.create(Argon(), systems, settings, timestep=4.0, skin=1.0)
    velocities = 0.005 * jax.random.normal(jax.random.key(0), systems.positions.shape)
    machine.start(velocities, jax.random.split(jax.random.key(0), 1))
    machine.advance(20)
    before = machine.state.lists
    assert np.abs(machine.state.particles.positions - before.reference).max() > 0.05
    first = machine.plan
    machine.evaluator.plan = loop.grow(first, np.asarray(before.needed.at[:, 0].set(200)), systems)
    machine.state = machine.state.replace(lists=machine.lists_of(machine.plan))
    after = machine.state.lists
    np.testing.assert_array_equal(after.reference, before.reference)
    assert after.lists[0].index.shape[-1] > before.lists[0].index.shape[-1]
    rows = [np.asarray(lists.lists[0].index[0]) for lists in (before, after)]
    pairs = [{(i, int(j)) for i, row in enumerate(table) for j in row if j < len(atoms)} for table in rows]
    assert pairs[0] == pairs[1]


def test_replicas_run_as_they_would_alone() -> None:
    first, second = argon(5.6), argon(5.8)
    for seed, atoms in enumerate((first, second)):
        atoms.set_velocities(np.random.default_rng(seed).normal(0, 0.02, (len(atoms), 3)))
    arguments = dict(steps=200, timestep=4.0, every=20, progress=False)
    together = simulate(Argon(), [first, second], NVT(100.0), **arguments)
    for number, atoms in enumerate((first, second)):
        alone = simulate(Argon(), atoms, NVT(100.0), **arguments)
        np.testing.assert_allclose(positions(together)[:, number], positions(alone)[:, 0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(together.log["conserved"][:, number], alone.log["conserved"][:, 0], atol=1e-9)
        np.testing.assert_allclose(together.atoms[number].positions, alone.atoms.positions, atol=1e-9)


@pytest.mark.more
def test_replicas_of_charges_in_different_cells() -> None:
    """Ewald sums prepared for both cells at once: each replica moves as alone, within what the tolerance allows."""
    first, second = salt(24, CELLS["cubic"], seed=1), salt(24, 1.2 * CELLS["triclinic"], seed=2)
    second.numbers = second.numbers[::-1]
    potential = ScreenedCoulomb({"Na": 1, "Cl": -1}, 78.3, tolerance=1e-9)
    arguments = dict(steps=50, timestep=1.0, every=10, velocities="atoms", progress=False)
    together = simulate(potential, [first, second], NVE(), **arguments)
    for number, atoms in enumerate((first, second)):
        alone = simulate(potential, atoms, NVE(), **arguments)
        # Forces to 1e-9 eV/Å over 50 fs move a sodium ion by 1e-10 Å.
        np.testing.assert_allclose(positions(together)[:, number], positions(alone)[:, 0], rtol=0, atol=1e-8)
    assert np.abs(positions(together)[-1] - positions(together)[0]).max() > 1e-3


def test_replicas_differ_and_seeds_reproduce() -> None:
    arguments = dict(steps=40, timestep=4.0, every=20, progress=False)
    run = simulate(Argon(), argon(), NVT(100.0), replicas=3, seed=1, **arguments)
    again = simulate(Argon(), argon(), NVT(100.0), replicas=3, seed=1, **arguments)
    other = simulate(Argon(), argon(), NVT(100.0), replicas=3, seed=2, **arguments)
    assert positions(run).shape == (3, 3, 108, 3)
    np.testing.assert_array_equal(positions(run), positions(again))
    assert np.abs(positions(run)[-1, 0] - positions(run)[-1, 1]).max() > 1e-3
    assert np.abs(positions(run)[-1] - positions(other)[-1]).max() > 1e-3


def test_atoms_keep_their_momenta_but_not_their_drift() -> None:
    """A drift that the thermostat counts as heat would freeze the rest: the flying ice cube."""
    atoms = argon()
    thermal = np.random.default_rng(0).normal(0, 0.01, (len(atoms), 3))
    thermal -= thermal.mean(axis=0)
    atoms.set_velocities(thermal + np.array([0.05, 0.0, 0.0]))
    arguments = dict(steps=1, timestep=1.0, every=1, save_velocities=True, progress=False)
    with pytest.warns(UserWarning, match="motion of the centre of mass"):
        kept = simulate(Argon(), atoms, NVT(100.0), **arguments)
    np.testing.assert_allclose(kept.trajectory.velocities[0, 0], thermal * fs, rtol=1e-6, atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        langevin = simulate(Argon(), atoms, NVT(100.0, "langevin"), **arguments)
    np.testing.assert_allclose(langevin.trajectory.velocities[0, 0], atoms.get_velocities() * fs, rtol=1e-6)
    drawn = simulate(Argon(), atoms, NVT(100.0), velocities=500.0, **arguments)
    assert abs(drawn.log["temperature"][0, 0] - 500.0) < 5 * 500 * np.sqrt(2 / 321)


def test_log_frames_and_samples_belong_together() -> None:
    """Energies of the log, recomputed from the frames and velocities stored beside them; constants of species apart."""
    atoms = argon(5.7)
    potential = Argon() + Shifted(0.25)
    run = simulate(
        potential, atoms, NVE(), steps=40, timestep=4.0, every=10, velocities=90.0, save_velocities=True, progress=False
    )
    np.testing.assert_array_equal(run.log["step"], [0, 10, 20, 30, 40])
    np.testing.assert_allclose(run.log["time"], [0, 40, 80, 120, 160])
    np.testing.assert_allclose(run.trajectory.times, run.log["time"])
    for k in range(5):
        frame = run.trajectory.frame(k)
        frame.calc = Calculator(potential)
        assert run.log["potential"][k, 0] == pytest.approx(frame.get_potential_energy(), abs=1e-9)
        assert run.log["kinetic"][k, 0] == pytest.approx(frame.get_kinetic_energy(), rel=1e-7)
        total = run.log["potential"][k, 0] + run.log["kinetic"][k, 0]
        assert run.log["conserved"][k, 0] == pytest.approx(total, abs=1e-9)
    assert ns_per_day(2.0, 1e-3) == pytest.approx(2e-6 * 86400 / 1e-3)


@pytest.mark.parametrize(("equilibration", "kept"), [(None, 4), (0, 5), (25, 2)])
def test_equilibration_is_left_out(equilibration: int | None, kept: int) -> None:
    run = simulate(
        Argon(), argon(5.7), NVT(90.0), steps=50, timestep=4.0, every=10, sample_every=5, progress=False,
        observables={"g": RDF(("Ar", "Ar"))}, equilibration=equilibration,
    )  # fmt: skip
    assert run.observables["g"].samples == 2 * kept
    # The row that ends the equilibration belongs to it; without equilibration the row of the start counts.
    begin = 0 if equilibration == 0 else 6 - kept
    assert run.summary["discarded_frames"] == begin
    assert run.summary["temperature"]["value"] == pytest.approx(run.log["temperature"][begin:].mean())


def test_float32_run_conserves_energy() -> None:
    with jax.enable_x64(False):
        run = simulate(Argon(), argon(), NVE(), steps=2000, timestep=4.0, velocities=100.0, progress=False)
    assert positions(run).dtype == np.float32
    conserved = run.log["conserved"][:, 0]
    # float32 of 108 atoms at about -0.07 eV each: resolution 5e-7 eV, noise of its random walk over 2,000 steps 2e-5.
    assert np.abs(conserved - conserved[0]).max() < 1e-3


def test_blow_up_names_step_atom_distance_and_force() -> None:
    atoms = Atoms("NaCl", [[0, 0, 0], [0, 0, 3.0]])
    with pytest.raises(SimulationError, match=r"step \d+.*atom 0 \(Na\) is 5e\+03 eV/Å.*0 \(Na\) - 1 \(Cl\)") as caught:
        simulate(Cliff(5e3), atoms, NVE(), steps=1000, every=1, timestep=0.1, velocities="atoms", progress=False)
    kept = caught.value.run
    assert not kept.completed
    assert len(kept.trajectory) > 3
    x = positions(kept)[:, 0, 0, 0]
    assert np.all(np.diff(x) < 1.0)
    # Constant acceleration: x = a t²/2 exactly, also in velocity Verlet.
    t = kept.log["time"]
    np.testing.assert_allclose(x, 0.5 * 5e3 * 9.648533212e-3 / 22.98976928 * t**2, rtol=1e-9)


def test_ctrl_c_keeps_what_is_done() -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        while signal.getsignal(signal.SIGINT) is before:
            time.sleep(0.05)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.warns(UserWarning, match="interrupted at step"):
        run = simulate(
            Argon(), argon(), NVE(), steps=50_000_000, timestep=1.0, every=100, velocities=50.0, progress=False
        )
    assert not run.completed
    assert len(run.trajectory) == len(run.log["step"]) > 1
    assert signal.getsignal(signal.SIGINT) is before


def test_minimize_finds_the_minimum_of_a_pair() -> None:
    potential = Argon(cutoff_distance=60.0)
    relaxed = minimize(potential, Atoms("Ar2", [[0, 0, 0], [0.5, 0.2, 4.4]]), fmax=1e-5)
    # The smooth cut-off factor at 60 Å shifts the minimum 2^(1/6) σ by about 1e-3 Å.
    assert abs(relaxed.get_distance(0, 1) - 2 ** (1 / 6) * 3.4) < 2e-3
    assert relaxed.info["fmax"] < 1e-5


def test_minimize_before_a_run_removes_bad_contacts() -> None:
    atoms = argon()
    atoms.positions[0] = atoms.positions[1] + [1.6, 0.3, 0.0]
    run = simulate(Argon(), atoms, NVE(), steps=10, every=10, velocities=10.0, minimize=True, progress=False)
    assert run.log["potential"][0, 0] < 0


BAD = [
    ({"equilibration": 10}, "equilibration must be"),
    ({"steps": 0}, "steps must be a positive integer"),
    ({"steps": 2.5}, "steps must be a positive integer"),
    ({"timestep": -1.0}, "timestep = -1 fs cannot be a time step"),
    ({"timestep": 100.0}, r"timestep = 100 fs cannot be a time step: .*0\.5 is usual where hydrogen atoms move"),
    ({"timestep": "0.5"}, "timestep must be a finite number in fs, not '0.5'; write 0.5 without quotes"),
    ({"progress": "no"}, "progress must be True or False, not 'no'"),
    ({"seed": 2**32}, "seed must be an integer from 0 to 4294967295"),
    ({"every": 10, "sample_every": 3}, "sample_every=3 must divide every=10"),
    ({"skin": 0.0}, "skin = 0 Å cannot be a skin"),
    ({"replicas": 0}, "replicas must be"),
    ({"velocities": "warm"}, "velocities must be"),
    ({"every": 11}, "every=11 is more than steps=10"),
    ({"output": ""}, "output is empty"),
    ({"resume": True}, "resume=True needs the run folder"),
    ({"resume": True, "overwrite": True}, "exclude each other"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_arguments_are_refused(change: dict[str, object], message: str) -> None:
    arguments = {"steps": 10, "progress": False, "velocities": 10.0} | change
    with pytest.raises(InputError, match=message):
        simulate(Argon(), argon(), NVE(), **arguments)  # type: ignore[arg-type]


def test_a_thermostat_faster_than_the_steps_is_refused() -> None:
    with pytest.warns(UserWarning, match="tau = 0.1 fs is unusual .*write 100, if it is in ps"):
        ensemble = NVT(300.0, tau=0.1)
    with pytest.raises(InputError, match=r"tau = 0\.1 fs .* too short for steps of 0\.5 fs.*write 100, if it is in ps"):
        simulate(Argon(), argon(), ensemble, steps=10)


def test_numbers_of_any_kind_are_numbers() -> None:
    run = simulate(
        Argon(), argon(), NVT(np.int64(100)), steps=1e1, every=np.int32(5), timestep=np.float32(1.0), progress=False
    )
    assert run.log["step"].tolist() == [0, 5, 10]


def test_bad_structures_are_refused() -> None:
    with pytest.raises(InputError, match=r"atoms 0 \(Ar\) and 1 \(Ar\).* 0\.100 Å apart"):
        simulate(Argon(), Atoms("Ar2", [[0, 0, 0], [0, 0, 0.1]]), NVE(), steps=1, velocities=1.0)
    with pytest.raises(UnsupportedError, match="system 1"):
        simulate(Argon(), [argon(), argon()[:-1]], NVE(), steps=1, velocities=1.0)
    with pytest.raises(InputError, match="NVE has no temperature"):
        simulate(Argon(), argon(), NVE(), steps=1)
    with pytest.raises(InputError, match="must be a potential"):
        simulate(5, argon(), NVE(), steps=1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ensemble must be"):
        simulate(Well(1.0), argon(), 300.0, steps=1)  # type: ignore[arg-type]


def test_drift_and_its_error() -> None:
    """A line in noise: the slope is found, and over many runs it scatters as the bound of its error says."""
    rng = np.random.default_rng(4)
    time = np.arange(400) * 100.0
    found = []
    for _ in range(400):
        noise = np.convolve(rng.normal(size=404), np.ones(5) / 5, "valid")  # correlated over 5 rows
        log = {"time": time, "conserved": (10.0 * 3e-6 * time + noise)[:, None] - 2.5e5}
        found.append(conserved_drift(log, 10))
    slopes, errors, bounds = np.array(found).T
    assert abs(slopes.mean() - 3.0) < 4 * slopes.std() / np.sqrt(400)
    assert np.all(np.isnan(errors))
    assert 0.85 < np.median(bounds) / slopes.std() < 1.15


def test_a_walk_is_no_drift() -> None:
    """A quantity that walks by rounding: no error of one replica; four replicas measure their own scatter."""
    rng, time = np.random.default_rng(5), np.arange(400) * 100.0
    walks = np.cumsum(rng.normal(size=(200, 400, 4)), axis=1) + rng.normal(size=(200, 400, 4))
    alone = np.array([conserved_drift({"time": time, "conserved": one[:, :1]}, 10) for one in walks])
    assert np.all(np.isnan(alone[:, 1]))
    assert 0.8 < np.sqrt(np.mean((alone[:, 0] / alone[:, 2]) ** 2)) < 1.25
    four = np.array([conserved_drift({"time": time, "conserved": one}, 10) for one in walks])
    # Student's t of three degrees of freedom: 61 % within one standard error.
    assert abs(np.mean(np.abs(four[:, 0]) < four[:, 1]) - 0.609) < 4 * np.sqrt(0.24 / 200)
