"""The parts of the recipe one by one: optimisers, rates, order, splits, scales, folders, and what errors compare."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte import plots
from jaxelyte.cli.report import errors_table
from jaxelyte.data.baseline import evaluate_frames
from jaxelyte.data.labels import collect_labels
from jaxelyte.data.split import Split
from jaxelyte.training.digests import digest_of
from jaxelyte.training.loss import Errors
from jaxelyte.training.metrics import criterion
from jaxelyte.training.optimizer import Plateau, learning_rate, make_optimizer
from jaxelyte.training.problem import make_problem, step_sizes
from jaxelyte.training.run import _split
from jaxelyte.training.trainer import Trainer
from salt import MODEL, quick, salt, same, without_times

SIZES = {"a": 1.0, "b": 0.0, "c": 2.5}


def problem_of(frames: list[Any], **options: Any) -> Any:
    split = Split(np.arange(len(frames) - 2), np.arange(len(frames) - 2, len(frames)), np.arange(0))
    chosen = {"baseline": None, "scales": "overall", "references": None, "seed": 0, "committee": None} | options
    return make_problem(frames, collect_labels(frames), MODEL, split, **chosen)


def trainer_of(frames: list[Any], settings: jxl.Optimization, *, epochs: int = 3) -> Trainer:
    return Trainer(problem_of(frames), jxl.Loss(), settings, epochs, 2, 0, None, 1, False, None)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamw"])
def test_optimisers_by_hand(name: str, clip: float | None, rng: np.random.Generator) -> None:
    """Kingma and Ba 2015; Reddi et al. 2018; Loshchilov and Hutter 2019; steps by size, frozen ones out of the norm."""
    settings = jxl.Optimization(optimizer=name, clip_norm=clip, weight_decay=0.1)
    optimizer = make_optimizer(settings, SIZES)
    params = {key: jnp.asarray(rng.normal(size=3)) for key in SIZES}
    state = optimizer.init(params)
    first, second, largest = ({key: np.zeros(3) for key in SIZES} for _ in range(3))
    for step, scale in enumerate((1.0, 3.0, 0.1, 0.1), start=1):
        gradient = {key: jnp.asarray(scale * rng.normal(size=3)) for key in SIZES}
        found, state = optimizer.update(gradient, state, params)
        norm = np.sqrt(sum(float(jnp.sum(gradient[key] ** 2)) for key in ("a", "c")))
        assert np.array_equal(found["b"], np.zeros(3))
        for key in ("a", "c"):
            g = np.asarray(gradient[key]) * (1.0 if clip is None or norm < clip else clip / norm)
            first[key] = 0.9 * first[key] + 0.1 * g
            second[key] = 0.999 * second[key] + 0.001 * g**2
            m, v = first[key] / (1 - 0.9**step), second[key] / (1 - 0.999**step)
            largest[key] = np.maximum(largest[key], v)
            expected = SIZES[key] * m / (np.sqrt(largest[key] if name == "amsgrad" else v) + 1e-8)
            expected = expected + (0.1 * np.asarray(params[key]) if name == "adamw" else 0.0)
            assert np.allclose(found[key], expected, rtol=1e-9)


def test_rates_and_order_over_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine runs once over all epochs, and each epoch visits every frame once, in an order of its own."""
    settings = jxl.Optimization(learning_rate=0.1, warmup=2)
    trainer = trainer_of(salt(12), settings)
    rates, rows = [], []
    zero = jax.tree.map(jnp.asarray, Errors(0.0, 1.0, np.zeros(2), np.ones(2), 0.0, 0.0))

    def train(state: Any, bucket: Any, batch: Any, rate: Any) -> Any:
        rates.append(float(rate))
        rows.append(np.asarray(batch.rows)[np.asarray(batch.valid)].tolist())
        return state.replace(updates=state.updates + 1), zero

    trainer.programs = trainer.programs._replace(train=train, evaluate=lambda *_: zero)
    for _ in range(3):
        trainer.run_epoch()
    assert np.allclose(rates, [learning_rate(settings, 0.1, step, 15) for step in range(15)])
    orders = [[row for batch in rows[k : k + 5] for row in batch] for k in (0, 5, 10)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in [*orders, list(range(10))]}) == 4


def test_training_ends_when_nothing_gets_better() -> None:
    trainer = trainer_of(salt(8), jxl.Optimization(stop_after=3), epochs=50)
    for epoch, finished in ((4, False), (5, True)):
        trainer.epoch, trainer.plateau = epoch, Plateau(0.1, 1.0, 1, 0)
        assert trainer.finished == finished
    small = trainer_of(salt(8), jxl.Optimization(schedule="constant", learning_rate=1e-8))
    assert not small.finished


def test_forces_choose_the_best_epoch() -> None:
    assert criterion({"forces": 0.3, "energy": 9.0}) == 0.3
    assert criterion({"forces": None, "energy": 9.0}) == 9.0


@pytest.mark.parametrize("method", ["blocks", "random"])
def test_untouched_frames_stay_untouched(method: str) -> None:
    split = _split(salt(15), 12, salt(3), 4, 0, method)
    assert split.validation.tolist() == [12, 13, 14]
    assert len(split.test) == 4
    assert sorted([*split.train, *split.test]) == list(range(12))
    assert _split(salt(12), 12, np.int64(2), 0.0, 0, method).validation.shape == (2,)
    # Two of the first frames and one of the others are left out: places among those that are kept.
    left = _split(salt(12), 10, salt(3), 0.0, 0, method)
    assert left.train.tolist() == list(range(10))
    assert left.validation.tolist() == [10, 11]


def test_scales_and_neighbours_by_hand() -> None:
    frames = salt(10)
    problem = problem_of(frames, scales="species")
    forces = np.concatenate([f.get_forces() for f in frames[:8]])
    symbols = np.concatenate([f.get_chemical_symbols() for f in frames[:8]])
    for species, found in zip(problem.config.type_names, problem.scales, strict=True):
        assert found == pytest.approx(np.sqrt(np.mean(forces[symbols == species] ** 2)), rel=1e-12)
    count = []
    for frame in frames[:8]:
        images = np.array(list(np.ndindex(5, 5, 5))) - 2
        vectors = frame.positions[:, None] - frame.positions + (images @ frame.cell.array)[:, None, None]
        distance = np.linalg.norm(vectors, axis=-1)
        count.append(np.sum((distance < MODEL.r_max) & (distance > 1e-9)) / len(frame))
    assert problem.config.avg_num_neighbors == pytest.approx(np.mean(count), rel=1e-12)


def test_labels_are_part_of_what_a_run_is_known_by() -> None:
    frames = salt(4)
    labels = collect_labels(frames)
    known = {digest_of(frames, labels)}
    for change in (
        {"energy": labels[1].energy + 1e-9},
        {"forces": labels[1].forces + 1e-9},
        {"stress": labels[1].stress + 1e-9},
    ):
        known.add(digest_of(frames, [labels[0], replace(labels[1], **change), *labels[2:]]))
    moved = [f.copy() for f in frames]
    moved[2].positions[0, 0] += 1e-9
    known.add(digest_of(moved, labels))
    assert len(known) == 5


@pytest.mark.slow
def test_many_frames_of_several_compositions_get_their_own_energies() -> None:
    """Reference energies and forces of each frame, over several batches, against the calculator."""
    config, params = MODEL.init(jax.random.key(0), ("Na", "Cl"))
    params["shifts"] = jnp.asarray([-3.0, 7.0])
    potential = jxl.NequIPPotential(params, replace(config, avg_num_neighbors=9.0))
    frames = [*salt(5), *salt(3, size=5), *salt(2)]
    found = evaluate_frames(potential, frames, batch=3)
    for n, frame in enumerate(frames):
        own = frame.copy()
        own.calc = jxl.Calculator(potential)
        assert found.energies[n] == pytest.approx(own.get_potential_energy(), abs=1e-9)
        assert np.allclose(found.forces[n], own.get_forces(), atol=1e-10)


@pytest.mark.more
def test_errors_per_atom_and_spread_of_a_committee() -> None:
    members = []
    for seed in (0, 1, 2):
        config, params = MODEL.init(jax.random.key(seed), ("Na", "Cl"))
        members.append(jxl.NequIPPotential(params, replace(config, avg_num_neighbors=9.0)))
    fit = jxl.Fit(tuple(members), None, [], {})
    frames = [*salt(2), *salt(1, size=5)]
    errors = jxl.evaluate(fit, frames)
    energies, forces = [], []
    for member in members:
        for frame in frames:
            own = frame.copy()
            own.calc = jxl.Calculator(member)
            energies.append(own.get_potential_energy() / len(own))
            forces.append(own.get_forces())
    energies = np.array(energies).reshape(3, 3)
    forces = np.array([np.concatenate(forces[3 * n : 3 * n + 3]) for n in range(3)])
    labels = np.array([frame.get_potential_energy() / len(frame) for frame in frames])
    assert np.allclose(errors.energy_errors, energies.mean(axis=0) - labels, atol=1e-9)
    assert errors.energy_spread is not None
    assert errors.force_spread is not None
    assert np.allclose(errors.energy_spread, energies.std(axis=0, ddof=1), atol=1e-9)
    assert np.allclose(errors.force_spread, np.sqrt(forces.var(axis=0, ddof=1).sum(axis=-1)), atol=1e-9)
    found = errors.summary()["committee"]
    own = np.linalg.norm(forces.mean(axis=0) - np.concatenate([frame.get_forces() for frame in frames]), axis=1)
    spread = np.sqrt(np.mean(errors.force_spread**2))
    assert found["forces_spread_meV_per_A"] == pytest.approx(1e3 * spread, rel=1e-9)
    assert found["energy_spread_meV_per_atom"] == pytest.approx(1e3 * np.sqrt(np.mean(errors.energy_spread**2)))
    assert found["error_over_spread"] == pytest.approx(np.sqrt(np.mean(own**2)) / spread, rel=1e-9)
    assert jxl.evaluate(members[0], frames).summary()["committee"] is None
    assert "committee: spread of forces" in str(errors_table(errors.summary(), "some").caption)


@pytest.mark.parametrize("frames", [1, 3, 4, 9])
def test_rows_of_errors_have_the_same_keys_always(frames: int, rng: np.random.Generator) -> None:
    """An error bar takes four frames: those that hold the label, here one of each two atoms."""
    forces = np.zeros((2 * frames, 3, 2))
    forces[::2, :, 1] = rng.normal(0.0, 0.1, (frames, 3))
    energies = np.column_stack([np.zeros(frames), rng.normal(size=frames)])
    size, kind = np.full(frames, 2), np.full(frames, "NaCl")
    kinds, where = np.tile(["Na", "Cl"], frames), np.repeat(np.arange(frames), 2)
    errors = jxl.Evaluation(kinds, where, energies, forces, np.full((frames, 3, 3, 2), np.nan), size, kind)
    summary = errors.summary()
    rows = [summary["energy_meV_per_atom"], summary["forces_meV_per_A"], *summary["compositions"]["NaCl"].values()]
    rows = [*rows, *summary["forces_by_species_meV_per_A"].values()]
    assert summary["stress_meV_per_A3"] is None
    assert {tuple(row) for row in rows if isinstance(row, dict)} == {
        ("rmse", "rmse_error", "rmse_freedom", "mae", "mean", "values")
    }
    found = summary["forces_by_species_meV_per_A"]["Na"]["rmse_error"]
    told = [errors_table(summary, "some").columns[1]._cells, repr(errors)]
    assert ("± unknown" in str(told)) is (frames < 4)
    assert "nan" not in str(told)
    if frames < 4:
        assert found is None
    else:
        others = [np.sqrt(np.mean(np.delete(1e3 * forces[::2, :, 1], n, axis=0) ** 2)) for n in range(frames)]
        squares = np.sum((1e3 * forces[::2, :, 1]) ** 2, axis=1)
        moved = squares - squares.mean()
        wide = np.sqrt(1.0 + 2.0 * np.sum(moved**3) ** 2 / np.sum(moved**2) ** 3)  # they are skewed
        assert found == pytest.approx(wide * np.sqrt((frames - 1) * np.var(others)))


@pytest.mark.parametrize(("power", "correlation"), [(3, 1.0), (-1, -1.0)])
def test_a_spread_that_sorts_the_errors_says_so(power: int, correlation: float, rng: np.random.Generator) -> None:
    spread = rng.uniform(0.1, 1.0, 50)
    forces = np.zeros((50, 3, 2))
    forces[:, 0, 1] = spread**power
    one = np.zeros(1)
    errors = jxl.Evaluation(
        np.full(50, "Na"), np.zeros(50, int), np.zeros((1, 2)), forces, np.zeros((1, 3, 3, 2)), one + 50,
        np.array(["Na50"]), force_spread=spread, energy_spread=one,
    )  # fmt: skip
    found = errors.summary()["committee"]
    assert found["rank_correlation"] == pytest.approx(correlation)
    assert found["error_over_spread"] == pytest.approx(np.sqrt(np.sum(spread ** (2 * power)) / np.sum(spread**2)))


@pytest.mark.more
def test_fine_tuning_does_not_lose_what_was_learnt(tmp_path: Path) -> None:
    """By default the rate is small, and steps are those of the weights at hand."""
    frames = salt(12)
    first = quick(frames, epochs=25, optimization=jxl.Optimization())
    again = jxl.train(frames, first.potential, epochs=2, validation=2, batch_size=3, progress=False)
    assert again.config["optimization"]["learning_rate"] == 0.001
    assert again.best["validation"]["forces"] < 1.1 * first.best["validation"]["forces"]
    # Weights of a network that was drawn smaller move less.
    small = jax.tree.map(lambda x: x, first.potential)
    small.params["layer0"]["radial"]["layer0"] = jnp.ones_like(small.params["layer0"]["radial"]["layer0"])
    sizes = step_sizes(small, scales=True)
    assert sizes.params["layer0"]["radial"]["layer0"] == 1.0
    assert sizes.params["scales"] == pytest.approx(float(np.sqrt(np.mean(np.asarray(small.params["scales"]) ** 2))))


@pytest.mark.slow
def test_fine_tuning_that_makes_it_worse_keeps_the_start(tmp_path: Path) -> None:
    """The weights at hand are measured first, as epoch 0, and have to be beaten."""
    frames = salt(12)
    first = quick(frames)
    first = replace(first, config=first.config | {"trained_on": ["0", *first.config["trained_on"]]})
    options = {"validation": 2, "batch_size": 3, "progress": False}
    wild = jxl.Optimization(learning_rate=3.0, ema=None, schedule="constant")
    with pytest.warns(UserWarning, match="none of 2 epochs was better .* lower the learning rate"):
        again = jxl.train(frames, first, epochs=2, optimization=wild, output=tmp_path / "run", **options)
    assert [row["epoch"] for row in again.metrics] == [0, 1, 2]
    assert again.best["epoch"] == 0
    assert again.best["validation"]["forces"] < min(row["validation"]["forces"] for row in again.metrics[1:])
    assert again.best["validation"]["forces"] == pytest.approx(first.best["validation"]["forces"], rel=1e-6)
    loaded = jxl.load_fit(tmp_path / "run")
    assert loaded.epochs == 2
    assert loaded.config["trained_on"] == first.config["trained_on"]  # by the start, and by the start of the start
    for fit in (again, loaded):
        assert np.allclose(
            jxl.evaluate(fit, frames[:2]).forces[..., 1], jxl.evaluate(first, frames[:2]).forces[..., 1], atol=1e-9
        )
    assert plots.learning(loaded) is not None
    # Resumed, as if it had never stopped, the start still is the one to beat.
    for epochs in (1, 2):
        with pytest.warns(UserWarning, match=f"none of {epochs} epochs"):
            resumed = jxl.train(
                frames, first, epochs=epochs, optimization=wild, output=tmp_path / "part", resume=True, **options
            )
    assert same(again, resumed)
    assert without_times(again.metrics) == without_times(resumed.metrics)


def test_frames_that_the_start_was_trained_on_are_known_again() -> None:
    frames = salt(8)
    fit = quick(frames, epochs=1)
    split = fit.config["split"]
    assert len(fit.config["trained_on"]) == len(split["train"]) == 6
    held = [frames[n] for n in (*split["validation"], *split["train"][:3])]

    def warned(start: Any, **options: Any) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(jxl.InputError, match="references are given for"):  # after a look at the frames
                jxl.train(frames, start, references={"Na": 1.0}, **options)
        return [str(w.message) for w in caught]

    assert "trained on 3 of the 5 frames" in warned(fit, validation=held)[0]
    assert "of the 7 frames held back for validation and test" in warned(fit, validation=3, test=4)[0]
    assert warned(fit, validation=2) == []  # the same split
    # A bare network does not know its frames, but those held back are among the frames to train on as well.
    assert ["structures that are also trained on" in one for one in warned(fit.potential, validation=held)] == [True]


def test_best_model_is_there_while_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fails later has left what was best until then."""
    run_epoch = Trainer.run_epoch

    def failing(self: Trainer) -> dict[str, Any]:
        if self.epoch == 2:
            raise jxl.TrainingError("the loss is not finite")
        return run_epoch(self)

    monkeypatch.setattr(Trainer, "run_epoch", failing)
    with pytest.raises(jxl.TrainingError):
        quick(salt(8), epochs=5, output=tmp_path / "run")
    fit = jxl.load_fit(tmp_path / "run")
    assert len(fit.metrics) == 2
    assert fit.best["epoch"] in (1, 2)
    assert repr(fit).startswith("Fit(Na, Cl; no baseline; 8 frames, energy in 8, forces in 8; 2 epochs, best ")
    assert len(repr(fit)) < 120


def test_stress_is_told_only_where_it_is_learnt() -> None:
    frames = salt(8)
    fit = quick(frames, epochs=1)
    assert fit.metrics[0]["validation"]["stress"] is None
    frames[3].pbc = (True, True, False)
    with pytest.raises(jxl.InputError, match="frame 3 has a stress but is not periodic"):
        quick(frames, epochs=1, loss=jxl.Loss(stress=1.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jxl.Optimization(weight_decay=-1.0), "weight_decay"),
        (lambda: jxl.Optimization(min_learning_rate=float("nan")), "min_learning_rate"),
        (lambda: jxl.Optimization(warmup=2.5), "warmup"),  # pyright: ignore[reportArgumentType]
        (lambda: jxl.Optimization(learning_rate="0.1"), "learning_rate"),  # pyright: ignore[reportArgumentType]
        (lambda: quick(salt(8), seed=-1), "seed must be a non-negative integer, not -1"),
        (lambda: quick(salt(8), split_seed=1.5), "split_seed must be a non-negative integer, not 1.5"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(jxl.InputError, match=message):
        call()


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(jxl.InputError, match="no training run to resume"):
        quick(salt(8), output=tmp_path, resume=True)
    home = tmp_path / "run"
    quick(salt(8), epochs=1, output=home)
    (home / ".git").mkdir()
    with pytest.raises(jxl.InputError, match=r"\.git"):
        quick(salt(8), epochs=1, output=home, overwrite=True)
    assert (home / ".git").is_dir()
