"""The loop over epochs: what only the host can do. Everything else is in `step`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.data.dataset import Dataset
from jaxelyte.errors import TrainingError
from jaxelyte.models.table import training_knots
from jaxelyte.models.tiling import Native, default_kernel
from jaxelyte.potentials.nequip import species_table
from jaxelyte.training.batches import BatchOrder, batch_orders
from jaxelyte.training.folder import TrainFolder
from jaxelyte.training.loss import Errors
from jaxelyte.training.metrics import add, criterion, summarize
from jaxelyte.training.optimizer import Plateau, learning_rate, make_optimizer
from jaxelyte.training.problem import Problem, step_sizes
from jaxelyte.training.settings import Loss, Optimization
from jaxelyte.training.step import Batch, Programs, TrainState, make_programs, start_state

CHECK = 200
"""Updates after which the knots of tables are chosen anew, at the start of an epoch."""


@dataclass
class Trainer:
    """State of a training run between epochs.

    Attributes:
        problem: data and start.
        loss: what is minimised.
        settings: how.
        epochs: passes over the training frames.
        batch_size: frames a step.
        seed: of the order of frames.
        committee: number of networks, or None.
        devices: local devices that share each batch.
        train_scales: whether the scales move.
        folder: where to keep checkpoints, or None.
        accumulate: parts in which each device works through its share of a batch, one after the other.
        knots: of the tables that stand for the radial networks during training, 0 for none. They are made of the
            weights in every step, in float32 on CPUs, with errors below `jaxelyte.models.table.TOLERANCE`; how many
            that takes is found every `CHECK` updates.
    """

    problem: Problem
    loss: Loss
    settings: Optimization
    epochs: int
    batch_size: int
    seed: int
    committee: int | None
    devices: int
    train_scales: bool
    folder: TrainFolder | None
    accumulate: int = 1
    state: TrainState = field(init=False)
    best: Any = field(init=False)
    plateau: Plateau = field(init=False)
    programs: Programs = field(init=False)
    _optimizer: Any = field(init=False)
    metrics: list[dict[str, Any]] = field(init=False, default_factory=list)
    epoch: int = field(init=False, default=0)
    knots: int = field(init=False, default=0)
    _made: dict[int, Programs] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        start = self.problem.start
        single = start if self.committee is None else jax.tree.map(lambda x: x[0], start)
        optimizer = make_optimizer(self.settings, step_sizes(single, scales=self.train_scales))
        self.state = start_state(start, optimizer, members=self.committee)
        self.best = start
        rate = self.settings.resolved(trained=False).learning_rate
        assert rate is not None
        self.plateau = Plateau(rate)
        self._optimizer = optimizer
        found = None if self.folder is None else self.folder.restore((self.state, self.best))
        if found is not None and self.folder is not None:
            self.epoch, (self.state, self.best), host = found
            self.plateau = Plateau(**host["plateau"])
            self.metrics = self.folder.read_metrics(self.epoch)
            self._use(host["knots"] if "knots" in host else self._needed_knots())
        else:
            self._use(self._needed_knots())

    def _needed_knots(self) -> int:
        dtype = self.problem.train.buckets[0].systems.positions.dtype
        if dtype != np.float32 or default_kernel() != Native():
            return 0
        params = self.state.potential.params
        several = range(self.committee or 1)
        members = [params if self.committee is None else jax.tree.map(lambda x, n=n: x[n], params) for n in several]
        found = [training_knots(self.problem.config, one) for one in members]
        return max(found) if all(found) else 0

    def _use(self, knots: int) -> None:
        """The programs with tables of so many knots, compiled once."""
        if knots == self.knots and self._made:
            return
        self.knots = knots
        if knots not in self._made:
            self._made[knots] = make_programs(
                self._optimizer,
                self.loss,
                self.settings,
                species_table(self.problem.config.type_names).array,
                members=self.committee,
                devices=self.devices,
                accumulate=self.accumulate,
                knots=knots,
            )
        self.programs = self._made[knots]

    @property
    def finished(self) -> bool:
        """True when no epoch is left, or going on makes no sense."""
        rules = self.settings
        waited = self.epoch - 1 - self.plateau.best_epoch
        tired = rules.stop_after is not None and self.epoch > 0 and waited >= rules.stop_after
        stuck = rules.schedule == "plateau" and self.epoch > 0 and self.plateau.rate < rules.min_learning_rate
        return self.epoch >= self.epochs or tired or stuck

    def measure_start(self) -> dict[str, Any]:
        """Epoch 0: the error of the weights before the first step, which an epoch has to beat to be kept.

        Raises:
            TrainingError: an error that is not finite.
        """
        began = time.perf_counter()
        validation = self._validate(self.problem.start, "of the weights to start from", "give others")
        self.plateau = self.plateau._replace(best=criterion(validation))
        row = {
            "epoch": 0,
            "updates": 0,
            "learning_rate": None,
            "train": {**dict.fromkeys(validation), "forces_by_species": dict.fromkeys(validation["forces_by_species"])},
            "validation": validation,
            "best": True,
            "seconds": time.perf_counter() - began,
            "frames_per_s": None,
        }
        self.metrics = [row]
        if self.folder is not None:
            self.folder.write_metrics(self.metrics)
        return row

    def run_epoch(self) -> dict[str, Any]:
        """One pass over the training frames, validation, and what follows from it.

        Raises:
            TrainingError: a loss that is not finite; the state before it is kept.
        """
        began = time.perf_counter()
        order = self._orders(self.problem.train, [self.seed, self.epoch])
        total, updates = len(order) * self.epochs, int(self.state.updates)
        if updates and updates // CHECK > (updates - len(order)) // CHECK:
            self._use(self._needed_knots())
        sums = self._pass(order, total)
        if int(self.state.failed) >= 0:
            raise TrainingError(self._failure(order))
        trained = time.perf_counter() - began
        train = summarize(sums, self.problem.config.type_names)
        validation = self._validate(self.state.average, f"of epoch {self.epoch + 1}", "lower the learning rate")
        rate = self.plateau.rate
        self.plateau = self.plateau.update(criterion(validation), self.epoch, self.settings)
        if self.plateau.best_epoch == self.epoch:
            self.best = self.state.average
        self.epoch += 1
        row = {
            "epoch": self.epoch,
            "updates": int(self.state.updates),
            "learning_rate": learning_rate(self.settings, rate, int(self.state.updates) - 1, total),
            "train": train,
            "validation": validation,
            "best": self.plateau.best_epoch + 1 == self.epoch,
            "seconds": time.perf_counter() - began,
            "frames_per_s": self.problem.train.num_frames / trained,
        }
        self.metrics.append(row)
        self._keep()
        return row

    def evaluate(self, potential: Any) -> Errors:
        """Errors over the validation frames."""
        sums = None
        for one in self._orders(self.problem.validation, None):
            found = self.programs.evaluate(potential, self.problem.validation.buckets[one.bucket], _batch(one))
            sums = add(sums, found)
        assert sums is not None
        return sums

    def _validate(self, potential: Any, which: str, remedy: str) -> dict[str, Any]:
        summary = summarize(self.evaluate(potential), self.problem.config.type_names)
        error = criterion(summary)
        if not np.isfinite(error):
            raise TrainingError(f"the validation error {which} is {error}; {remedy}")
        return summary

    def _orders(self, dataset: Dataset, seed: list[int] | None) -> list[BatchOrder]:
        if seed is None:  # one part after the other, too
            return batch_orders(dataset, -(-self.batch_size // self.accumulate), parts=self.devices)
        return batch_orders(dataset, self.batch_size, parts=self.devices * self.accumulate, seed=seed)

    def _pass(self, order: list[BatchOrder], total: int) -> Errors:
        """All batches of an epoch; nothing waits for the device in between."""
        found, updates = [], int(self.state.updates)
        dtype = self.problem.train.buckets[0].systems.positions.dtype
        for step, one in enumerate(order):
            rate = learning_rate(self.settings, self.plateau.rate, updates + step, total)
            bucket = self.problem.train.buckets[one.bucket]
            self.state, errors = self.programs.train(self.state, bucket, _batch(one), jnp.asarray(rate, dtype))
            found.append(errors)
        sums = None
        for errors in found:
            sums = add(sums, errors)
        assert sums is not None
        return sums

    def _failure(self, order: list[BatchOrder]) -> str:
        step = int(self.state.failed)
        batch = order[step - (self.metrics[-1]["updates"] if self.metrics else 0)]
        rows = batch.rows[batch.valid]
        frames = sorted(int(self.problem.split.train[self.problem.train.frames[batch.bucket][row]]) for row in rows)
        return (
            f"the loss or its gradient is not finite in epoch {self.epoch + 1}, step {step + 1}, with frames {frames}; "
            "nothing was learned from there on and the last good state is kept. Look at these frames, or lower the "
            "learning rate or clip gradients (clip_norm)"
        )

    def _keep(self) -> None:
        if self.folder is None:
            return
        # Metrics first: those of an epoch without a checkpoint are cut off on resume.
        self.folder.write_metrics(self.metrics)
        self.folder.save(self.epoch, (self.state, self.best), {"plateau": self.plateau._asdict(), "knots": self.knots})


def _batch(one: BatchOrder) -> Batch:
    return Batch(jnp.asarray(one.rows), jnp.asarray(one.valid))
