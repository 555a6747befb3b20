"""Training: the loss and its parts against closed forms, and whole runs on frames with known labels."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import jaxelyte as jxl
from jaxelyte.data.labels import collect_labels
from jaxelyte.data.split import Split
from jaxelyte.potentials.nequip import species_table
from jaxelyte.training.loss import Predictions, batch_loss, predict, squared_errors
from jaxelyte.training.metrics import summarize
from jaxelyte.training.optimizer import Plateau, learning_rate, make_optimizer
from jaxelyte.training.problem import make_problem, step_sizes
from jaxelyte.training.step import Batch, make_programs, start_state
from jaxelyte.training.trainer import Trainer
from salt import MODEL, quick, salt

BASELINE = jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=20.0, method="reaction-field", cutoff=3.9)


def problem_of(frames: list[Atoms], **options: Any) -> Any:
    split = Split(np.arange(len(frames) - 2), np.arange(len(frames) - 2, len(frames)), np.arange(0))
    chosen = {"baseline": None, "scales": "overall", "references": None, "seed": 0, "committee": None} | options
    return make_problem(frames, collect_labels(frames), MODEL, split, **chosen)


def trainer_of(frames: list[Atoms], committee: int | None = None, **options: Any) -> Trainer:
    loss = options.pop("loss", jxl.Loss())
    settings = options.pop("optimization", jxl.Optimization())
    problem = options.pop("problem", None) or problem_of(frames, committee=committee)
    return Trainer(problem, loss, settings, 10, 3, 0, committee, 1, False, None)


# --- the loss


def test_errors_are_those_computed_by_hand(rng: np.random.Generator) -> None:
    """Sums over frames, atoms and species with masks, against plain loops."""
    frames = salt(8) + salt(3, size=6)
    frames[1].calc.results.pop("energy")
    frames[2].calc.results["forces"][3] = np.nan
    frames[3].calc.results.pop("stress")
    bucket = problem_of(frames).train.buckets[-1]
    rows, room = bucket.systems.numbers.shape
    predicted = Predictions(
        jnp.asarray(rng.normal(size=rows)),
        jnp.asarray(rng.normal(size=(rows, room, 3))),
        jnp.asarray(rng.normal(size=(rows, 3, 3))),
    )
    kinds = jnp.where(bucket.systems.numbers == 11, 0, 1)
    valid = jnp.arange(rows) != rows - 1
    for huber in (None, 0.7):
        program = jax.jit(partial(squared_errors, species=2, huber=huber))
        found = program(predicted, bucket, kinds, valid)

        def cost(x: float, huber: float | None = huber) -> float:
            return x * x if huber is None or abs(x) <= huber else 2 * huber * abs(x) - huber**2

        energy, energies, forces, atoms, stress, stresses = 0.0, 0, np.zeros(2), np.zeros(2), 0.0, 0
        targets = jax.tree.map(np.asarray, bucket.targets)
        for f in range(rows - 1):
            mask = np.asarray(bucket.systems.mask[f])
            if targets.has_energy[f]:
                energy += cost((float(predicted.energy[f]) - targets.energy[f]) / mask.sum())
                energies += 1
            if targets.has_stress[f]:
                stress += np.mean([cost(x) for x in (np.asarray(predicted.stress[f]) - targets.stress[f]).ravel()])
                stresses += 1
            for a in range(room):
                if targets.has_forces[f, a]:
                    difference = np.asarray(predicted.forces[f, a]) - targets.forces[f, a]
                    forces[int(kinds[f, a])] += sum(cost(x) for x in difference) / 3
                    atoms[int(kinds[f, a])] += 1
        assert 0 < energies < rows - 1
        assert 0 < stresses < rows - 1
        assert np.allclose([found.energy, found.stress], [energy, stress], rtol=1e-12)
        assert np.array_equal([found.energies, found.stresses], [energies, stresses])
        assert np.allclose(found.forces, forces, rtol=1e-12)
        assert np.array_equal(found.atoms, atoms)
    weights = jxl.Loss(energy=2.0, forces=3.0, stress=5.0)
    expected = 2 * energy / energies + 3 * np.mean(forces / atoms) + 5 * stress / stresses
    assert abs(float(batch_loss(found, found, weights)) - expected) < 1e-12 * expected
    overall = replace(weights, per_species=False)
    expected = 2 * energy / energies + 3 * forces.sum() / atoms.sum() + 5 * stress / stresses
    assert abs(float(batch_loss(found, found, overall)) - expected) < 1e-12 * expected
    summary = summarize(found, ("Na", "Cl"))
    assert abs(summary["forces"] - math.sqrt(forces.sum() / atoms.sum())) < 1e-12
    assert abs(summary["forces_by_species"]["Cl"] - math.sqrt(forces[1] / atoms[1])) < 1e-12


def test_species_that_are_absent_from_a_batch_do_not_dilute_the_loss() -> None:
    frames = salt(4)
    bucket = problem_of(frames).train.buckets[0]
    targets = bucket.targets
    off = Predictions(targets.energy, targets.forces + 0.1, targets.stress)
    everyone = jnp.zeros_like(bucket.systems.numbers)
    sums = squared_errors(off, bucket, everyone, jnp.ones(len(everyone), bool), species=3)
    assert abs(float(batch_loss(sums, sums, jxl.Loss(energy=0.0))) - 0.01) < 1e-15


# --- learning rates and optimisers


def test_plateau_rule() -> None:
    """Factor 0.5 after more than three epochs without a better one: the fourth in a row cuts."""
    rules = jxl.Optimization(learning_rate=0.01, schedule="plateau", patience=3)
    state, rates = Plateau(0.01), []
    for epoch, error in enumerate([5.0, 4.0, 4.5, 4.1, 4.0, 4.2, 4.3, 3.0, 3.1]):
        state = state.update(error, epoch, rules)
        rates.append(state.rate)
    assert rates == [0.01] * 5 + [0.005] * 4
    assert (state.best, state.best_epoch) == (3.0, 7)
    constant = replace(rules, schedule="constant")
    for epoch in range(9, 30):
        state = state.update(9.0, epoch, constant)
    assert state.rate == 0.005


def test_warm_up_and_cosine() -> None:
    rules = jxl.Optimization(schedule="cosine", warmup=4)
    rates = [learning_rate(rules, 0.1, step, 24) for step in range(25)]
    assert np.allclose(rates[:4], [0.025, 0.05, 0.075, 0.1])
    assert np.isclose(rates[14], 0.05)
    assert np.isclose(rates[24], 0.0)


def test_only_what_is_trainable_moves() -> None:
    """The first step of Adam is the learning rate times the initial size of a parameter, or nothing."""
    frames = salt(8)
    trainer = trainer_of(frames)
    before = jax.tree.map(np.asarray, trainer.state.potential.params)
    trainer.epochs = 1
    single = trainer.problem.start
    optimizer = make_optimizer(jxl.Optimization(), step_sizes(single, scales=False))
    gradient = jax.tree.map(lambda x: jnp.ones_like(x) * 3.0, single)
    steps, _ = jax.jit(lambda g, p: optimizer.update(g, optimizer.init(p), p))(gradient, single)
    for name, leaf in steps.params.items():
        if name.startswith("layer"):
            # Weights of the radial basis are of order 1 in units of (r_max² / 2π): 4² / 2π = 2.546.
            first = leaf["radial"].pop("layer0")
            assert np.allclose(first, 2.5464790894703255, atol=1e-6)
            drawn = before[name]["radial"]["layer0"]
            assert abs(float(np.std(drawn)) / 2.546 - 1.0) < 4.0 * (2 * drawn.size) ** -0.5
        fixed = name in ("scale", "shift", "scales", "shifts")
        assert all(np.allclose(x, 0.0 if fixed else 1.0, atol=1e-6) for x in jax.tree.leaves(leaf)), name
    trainer.run_epoch()
    after = trainer.state.potential.params
    for name in ("scale", "shift", "scales", "shifts"):
        assert np.array_equal(after[name], before[name]), name
    assert not np.array_equal(after["radial_basis"]["bessel_weights"], before["radial_basis"]["bessel_weights"])


def test_moving_average_and_its_warm_up() -> None:
    """Replayed on the host from the weights after each update: decay min(ema, (1 + n) / (10 + n))."""
    trainer = trainer_of(salt(8), optimization=jxl.Optimization(ema=0.15))
    trainer.batch_size = 6  # one update a pass
    expected = jax.tree.map(np.asarray, trainer.state.average)
    for n in range(4):
        trainer._pass(trainer._orders(trainer.problem.train, [0, n]), 40)
        decay = min(0.15, (1 + n) / (10 + n))
        expected = jax.tree.map(lambda a, x, d=decay: d * a + (1 - d) * x, expected, trainer.state.potential)
    found, wanted = jax.tree.leaves(trainer.state.average), jax.tree.leaves(expected)
    assert int(trainer.state.updates) == 4
    assert all(np.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("members", [None, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "loss",
    [
        jxl.Loss(energy=1.5, forces=0.7, stress=30.0),
        pytest.param(jxl.Loss(energy=2.0, per_species=False, huber=0.05), marks=pytest.mark.more),
    ],
    ids=["stress", "huber"],
)
def test_step_follows_the_gradient_of_the_loss(loss: jxl.Loss, members: int | None) -> None:
    """A step of plain descent, against the loss differentiated through the forces and by central differences."""
    trainer = trainer_of(salt(8), loss=loss, committee=members)
    bucket = trainer.problem.train.buckets[0]
    rows = jnp.asarray([0, 2, 2])
    valid = jnp.asarray([True, True, False])
    part = jax.tree.map(lambda x: x[rows], bucket)
    kinds = jnp.where(part.systems.numbers == 11, 0, 1)
    assert trainer.problem.config.type_names == ("Na", "Cl")

    def value(potential: Any) -> Any:
        predicted = predict(potential, part, stress=loss.stress > 0)
        plain, used = (squared_errors(predicted, part, kinds, valid, species=2, huber=h) for h in (None, loss.huber))
        return batch_loss(used, plain, loss)

    table = species_table(("Na", "Cl")).array
    programs = make_programs(optax.identity(), loss, jxl.Optimization(ema=None), table, members=members)
    start = trainer.state.potential
    state = start_state(start, optax.identity(), members=members)
    after, _ = programs.train(state, bucket, Batch(np.asarray(rows), np.asarray(valid)), jnp.asarray(1.0))
    found = jax.tree.map(lambda x, y: x - y, start, after.potential)
    assert int(after.failed if members is None else after.failed.max()) == -1
    first = start if members is None else jax.tree.map(lambda x: x[1], start)
    found = found if members is None else jax.tree.map(lambda x: x[1], found)
    for a, b in zip(*map(jax.tree.leaves, (found, jax.jit(jax.grad(value))(first))), strict=True):
        # Sums of some thousand terms in another order, and the subtraction above: 1e-16 · |weight|.
        assert np.allclose(a, b, rtol=1e-9, atol=1e-12 * (1.0 + np.abs(b).max()))
    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), first)
    slope = sum(float(jnp.vdot(a, b)) for a, b in zip(*map(jax.tree.leaves, (found, direction)), strict=True))
    h, compiled = 1e-5, jax.jit(value)
    up, down = (float(compiled(jax.tree.map(lambda x, d, s=s: x + s * d, first, direction))) for s in (h, -h))
    # Central differences: truncation h² ~ 1e-10, rounding 1e-16/h ~ 1e-11, times curvatures of order 1e3.
    assert abs((up - down) / (2 * h) - slope) < 1e-6 * abs(slope)


# --- whole runs


def test_labels_of_known_physics_are_learned() -> None:
    """Errors fall at least fivefold within 40 epochs, and the fit predicts untouched frames as well as it says."""
    frames = salt(40)
    rules = jxl.Optimization(learning_rate=0.02, ema=0.9)
    fit = quick(frames, epochs=40, validation=8, optimization=rules, batch_size=4)
    assert fit.best["validation"]["forces"] < 0.2 * fit.metrics[0]["validation"]["forces"]
    assert (
        abs(fit.config["references_eV"]["Na"] + fit.config["references_eV"]["Cl"] + 30.0) < 1.0
    )  # the mean of what is left
    chosen = [frames[n] for n in fit.config["split"]["validation"]]
    square, count = 0.0, 0
    for atoms in chosen[:4]:
        own = atoms.copy()
        own.calc = jxl.Calculator(fit.total)
        square += float(np.sum((own.get_forces() - atoms.get_forces()) ** 2))
        count += 3 * len(own)
        assert abs(own.get_potential_energy() - atoms.get_potential_energy()) < 0.1 * len(own)
    # Half of the validation frames: the same error but for the spread between frames.
    assert 0.6 < math.sqrt(square / count) / fit.best["validation"]["forces"] < 1.6


def test_delta_learning_targets_are_labels_less_baseline() -> None:
    """Against the calculator, frame by frame; what is taken away comes back with the total."""
    frames = salt(8)
    plain, delta = problem_of(frames), problem_of(frames, baseline=BASELINE)
    a, b = (p.train.buckets[0].targets for p in (plain, delta))
    energies = []
    for row, number in enumerate(plain.train.frames[0]):
        atoms = frames[int(plain.split.train[number])].copy()
        atoms.calc = jxl.Calculator(BASELINE)
        assert np.allclose(a.forces[row] - b.forces[row], atoms.get_forces(), atol=1e-12)
        energies.append(atoms.get_potential_energy())
    # The energies differ by the baseline and by a constant, since reference energies are fitted after it.
    gone = np.asarray(a.energy - b.energy)
    assert np.allclose(gone - gone.mean(), np.array(energies) - np.mean(energies), atol=1e-9)
    assert np.std(energies) > 1e-3


def test_a_baseline_can_neither_be_forgotten_nor_doubled(tmp_path: Path) -> None:
    frames = salt(8)
    fit = quick(frames, epochs=1, baseline=BASELINE, output=tmp_path / "run")
    loaded = jxl.load_fit(tmp_path / "run")
    again = replace(BASELINE, charges={"Cl": -1.0, "Na": 1.0})
    other = replace(BASELINE, permittivity=78.3)

    def force(potential: Any) -> np.ndarray:
        atoms = frames[0].copy()
        atoms.calc = jxl.Calculator(potential)
        return atoms.get_forces()

    total = force(fit.total)
    assert np.array_equal(force(fit.potential + again), total)
    assert np.allclose(force(loaded.total), total, atol=1e-12)
    alone = force(loaded.potential.without_baseline())
    assert np.allclose(alone + force(BASELINE), total, atol=1e-12)
    bare = jxl.load_nequip(tmp_path / "run" / "model")
    for wrong, message in (
        (fit.potential, "trained on labels less a baseline"),
        (bare, "trained on labels less a baseline"),
        (fit.potential + other, "is missing from"),
        (fit.total + BASELINE, "stands 2 times"),
        (2.0 * fit.potential, "trained on labels less"),
    ):
        with pytest.raises(jxl.InputError, match=message):
            force(wrong)
        with pytest.raises(jxl.InputError, match=message):
            jxl.simulate(wrong, frames[0].copy(), jxl.NVE(), steps=1, progress=False)


@pytest.mark.more
def test_training_goes_on_from_given_weights() -> None:
    frames = salt(10)
    fit = quick(frames, baseline=BASELINE, validation=frames[:2])
    # The same network in other units, and labels with other constants: neither may matter, to float32 rounding.
    params = fit.potential.params
    other = {"scale": params["scale"] * 4.0, "scales": params["scales"] / 4.0, "shift": params["shift"] + 7.0}
    rescaled = replace(fit.potential, params=params | other)
    moved = []
    for frame in frames:
        atoms = frame.copy()
        energy = frame.get_potential_energy() + 3.0 * frame.get_chemical_symbols().count("Na")
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=frame.get_forces())
        moved.append(atoms)
    settings = jxl.Optimization(learning_rate=1e-9, min_learning_rate=0.0)
    options = {"epochs": 1, "validation": 2, "progress": False, "batch_size": 3, "optimization": settings}
    again = jxl.train(moved, rescaled, baseline=BASELINE, **(options | {"validation": moved[:2]}))
    was, now = fit.best["validation"], again.best["validation"]
    assert now["forces"] == pytest.approx(was["forces"], rel=1e-4)
    # Reference energies are a constant of this composition, such that the mean error of the training frames is zero.
    found, before = jxl.evaluate(again, moved).energies, jxl.evaluate(fit, frames).energies
    shift = found[:, 1] - before[:, 1]
    assert shift == pytest.approx(shift[0], abs=1e-4)
    assert shift[0] == pytest.approx(12.0 - np.mean(before[:, 1] - before[:, 0]), abs=1e-3)
    with pytest.raises(jxl.InputError, match="trained relative to"):
        jxl.train(moved, rescaled, **options)
    with pytest.raises(jxl.InputError, match="committee = 2"):
        jxl.train(moved, rescaled, baseline=BASELINE, committee=2, **options)


@pytest.mark.more
def test_committee_members_are_trained_as_alone() -> None:
    frames = salt(8)
    together = trainer_of(frames, committee=2)
    alone = []
    for n in range(2):
        problem = problem_of(frames, committee=2)
        start = jax.tree.map(lambda x, n=n: x[n], problem.start)
        alone.append(trainer_of(frames, problem=replace(problem, start=start)))
    together.run_epoch()
    for n, one in enumerate(alone):
        one.run_epoch()
        pairs = zip(jax.tree.leaves(together.state.potential), jax.tree.leaves(one.state.potential), strict=True)
        # Batched products round differently; Adam's first steps turn 1e-16 of a small gradient into parts of the rate.
        assert all(np.allclose(a[n], b, rtol=1e-6, atol=1e-7) for a, b in pairs)
    first, second = (jax.tree.leaves(one.state.potential)[0] for one in alone)
    assert not np.allclose(first, second)


def test_every_shape_compiles_once() -> None:
    frames = salt(8) + salt(8, size=4)
    trainer = trainer_of(frames)
    for _ in range(3):
        trainer.run_epoch()
    assert len(trainer.problem.train.buckets) == 2
    assert trainer.programs.train._cache_size() == 2
    assert trainer.programs.evaluate._cache_size() == len(trainer.problem.validation.buckets)


def test_a_loss_that_is_not_finite_names_its_frames_and_loses_nothing(tmp_path: Path) -> None:
    frames = salt(8)
    trainer = trainer_of(frames)
    trainer.run_epoch()
    good = jax.tree.map(np.asarray, trainer.state.potential)
    bucket = trainer.problem.train.buckets[0]
    poisoned = bucket.targets.energy.at[2].set(jnp.nan)
    broken = bucket.replace(targets=bucket.targets.replace(energy=poisoned))
    trainer.problem = replace(trainer.problem, train=trainer.problem.train._replace(buckets=(broken,)))
    culprit = int(trainer.problem.split.train[trainer.problem.train.frames[0][2]])
    order = trainer._orders(trainer.problem.train, [0, 1])
    poisoned_step = next(n for n, one in enumerate(order) if 2 in one.rows[one.valid])
    with pytest.raises(jxl.TrainingError, match=rf"step {poisoned_step + 3}, with frames .*\b{culprit}\b"):
        trainer.run_epoch()
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(trainer.state.potential))
    moved = any(
        not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (good, trainer.state.potential)), strict=True)
    )
    assert moved == (poisoned_step > 0)


def test_ctrl_c_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    run_epoch = Trainer.run_epoch

    def interrupted(self: Trainer) -> dict[str, Any]:
        row = run_epoch(self)
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return row

    monkeypatch.setattr(Trainer, "run_epoch", interrupted)
    fit = quick(salt(8), epochs=50, output=tmp_path / "run")
    assert len(fit.metrics) == 2
    assert len(jxl.load_fit(tmp_path / "run").metrics) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, not 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer, not 2.5"),
        ({"devices": 99}, "devices = 99"),
        ({"scales": "some"}, "scales must be one of"),
        ({"references": {"Na": 1.0}}, "references are given for"),
        ({"validation": 8}, "none to train on"),
        ({"keys": jxl.LabelKeys(energy="dft")}, "no frame has energy 'dft'"),
        ({"baseline": jxl.ScreenedCoulomb({"Na": 1.0})}, "8 of 8 frames are periodic and not neutral"),
    ],
)
def test_bad_settings_leave_the_disk_alone(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(jxl.InputError, match=message):
        quick(salt(8), output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_settings_are_checked() -> None:
    for make, message in (
        (lambda: jxl.Loss(energy=-1.0), "loss energy must be a finite number, 0 or more, not -1.0"),
        (lambda: jxl.Loss(energy=0.0, forces=0.0), "nothing to learn"),
        (lambda: jxl.Optimization(optimizer="sgd"), "optimizer must be one of"),
        (lambda: jxl.Optimization(schedule="step"), "schedule must be one of"),
        (lambda: jxl.Optimization(learning_rate=0.0), "learning_rate must be"),
        (lambda: jxl.Optimization(ema=1.0), "ema must be"),
    ):
        with pytest.raises(jxl.InputError, match=message):
            make()


SHARED = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, json, numpy as np
jax.config.update("jax_enable_x64", True)
from test_training import salt, MODEL
import jaxelyte as jxl
options = {"epochs": 2, "validation": 2, "batch_size": 8, "progress": False}
rows = [jxl.train(salt(18), MODEL, devices=devices, **options).metrics for devices in (1, 8)]
print(json.dumps([jax.local_device_count(), rows]))
"""


@pytest.mark.slow
def test_batches_shared_among_eight_devices_give_the_same_losses() -> None:

    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SHARED, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    count, (alone, shared) = json.loads(done.stdout.splitlines()[-1])
    assert count == 8
    for one, other in zip(alone, shared, strict=True):
        for part in ("train", "validation"):
            for kind in ("energy", "forces"):
                # Two epochs of two updates: sums in another order, which Adam's first steps amplify.
                assert abs(one[part][kind] - other[part][kind]) < 1e-7 * one[part][kind]
