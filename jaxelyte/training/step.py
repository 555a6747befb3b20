"""One optimisation step, compiled: gather a batch, differentiate the loss, move the weights, average them."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.data.dataset import Bucket
from jaxelyte.models.tiling import Native, default_kernel
from jaxelyte.potentials.base import Potential
from jaxelyte.training.loss import Errors, Predictions, batch_loss, predict, predictions_gradient, squared_errors
from jaxelyte.training.settings import Loss, Optimization

AXIS = "frames"


class TrainState(struct.PyTreeNode):
    """All that changes during training.

    Attributes:
        potential: the network being trained; with a committee every leaf has a leading axis of members.
        average: its moving average.
        optimizer: the optimiser's state.
        updates: steps taken.
        failed: the first step whose loss was not finite, -1 if there is none; from there on nothing changes.
    """

    potential: Any
    average: Any
    optimizer: Any
    updates: Int[Array, ""]
    failed: Int[Array, ""]


class Batch(NamedTuple):
    """Rows of a bucket, shape (frames,), and which of them count; the others fill up the batch."""

    rows: Any
    valid: Any


class Programs(NamedTuple):
    """The compiled functions; each compiles once for every bucket.

    Attributes:
        train: (state, bucket, batch, learning rate) -> state, errors of the batch.
        evaluate: (potential, bucket, batch) -> errors.
        predict: (potential, bucket, batch) -> predictions.
    """

    train: Any
    evaluate: Any
    predict: Any


def start_state(potential: Any, optimizer: optax.GradientTransformation, *, members: int | None) -> TrainState:
    """The state before the first step; ``members`` leading copies for a committee."""
    init = optimizer.init if members is None else jax.vmap(optimizer.init)
    copy = jax.tree.map(jnp.array, potential)
    return TrainState(potential, copy, init(potential), jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32))


def make_programs(
    optimizer: optax.GradientTransformation,
    loss: Loss,
    settings: Optimization,
    table: np.ndarray,
    *,
    members: int | None = None,
    devices: int = 1,
    knots: int = 0,
) -> Programs:
    """Compile lazily what training needs.

    Args:
        optimizer: see `make_optimizer`.
        loss: what is minimised.
        settings: for the moving average.
        table: species of each atomic number.
        members: networks of a committee, trained side by side on the same batches; None for a single one.
        devices: local devices that share each batch.
        knots: of tables of radial weights on CPUs, 0 for radial networks; see `jaxelyte.models.table.training_knots`.
    """
    kinds = np.asarray(table)
    species = int(kinds.max()) + 1
    stress = loss.stress > 0

    def found(potential: Any, part: Bucket) -> Predictions:
        # Nothing is differentiated through it. Under the `vmap` of a committee kernels run member by member, which on a
        # GPU would cost what a batch saves.
        alone = members is None or default_kernel() == Native()
        return predict(potential.compiled(knots=knots) if alone else potential, part, stress=stress)

    def errors_of(potential: Potential, part: Bucket, valid: Bool[Array, " rows"], huber: float | None) -> Errors:
        predicted = found(potential, part)
        types = jnp.maximum(jnp.asarray(kinds)[part.systems.numbers], 0)
        return squared_errors(predicted, part, types, valid, species=species, huber=huber)

    def gradient(potential: Potential, part: Bucket, valid: Bool[Array, " rows"]) -> tuple[Any, Errors, Any]:
        # Two stages: how the loss depends on the predictions, then how these, so weighted, depend on the weights.
        def value(predicted: Predictions) -> tuple[Float[Array, ""], Errors]:
            types = jnp.maximum(jnp.asarray(kinds)[part.systems.numbers], 0)
            sums = partial(squared_errors, predicted, part, types, valid, species=species)
            plain = sums()
            counts = plain if devices == 1 else jax.lax.psum(plain, AXIS)
            return batch_loss(plain if loss.huber is None else sums(huber=loss.huber), counts, loss), plain

        (cost, sums), cotangent = jax.value_and_grad(value, has_aux=True)(found(potential, part))
        grads = predictions_gradient(potential, part, cotangent, stress=stress, knots=knots)
        return jax.lax.psum((grads, sums, cost), AXIS) if devices > 1 else (grads, sums, cost)

    def update(potential: Any, grads: Any, state: Any, rate: Float[Array, ""]) -> tuple[Any, Any]:
        steps, new = optimizer.update(grads, state, potential)
        return jax.tree.map(lambda x, step: x - rate.astype(x.dtype) * step, potential, steps), new

    if members is not None:
        gradient = jax.vmap(gradient, in_axes=(0, None, None))
        update = jax.vmap(update, in_axes=(0, 0, 0, None))

    def train(state: TrainState, bucket: Bucket, batch: Batch, rate: Float[Array, ""]) -> tuple[TrainState, Errors]:
        grads, sums, cost = gradient(state.potential, _rows(bucket, batch.rows), batch.valid)
        finite = jnp.all(jnp.isfinite(cost)) & jnp.all(
            jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(grads)])
        )
        good = finite & (state.failed < 0)
        potential, moments = update(state.potential, grads, state.optimizer, rate)
        count = state.updates.astype(rate.dtype)
        average = potential
        if settings.ema is not None:
            decay = jnp.minimum(jnp.asarray(settings.ema, rate.dtype), (1.0 + count) / (10.0 + count))
            average = jax.tree.map(lambda a, x: a + (1.0 - decay).astype(x.dtype) * (x - a), state.average, potential)
        moved = state.replace(potential=potential, average=average, optimizer=moments, updates=state.updates + 1)
        new = jax.tree.map(lambda a, b: jnp.where(good, a, b), moved, state)
        failed = jnp.where(~finite & (state.failed < 0), state.updates, state.failed)
        kept = jax.tree.map(lambda x: jnp.where(good, x, jnp.zeros_like(x)), sums)
        return new.replace(failed=failed), kept

    def evaluate(potential: Potential, bucket: Bucket, batch: Batch) -> Errors:
        part = _rows(bucket, batch.rows)
        one = partial(errors_of, huber=None)
        sums = (one if members is None else jax.vmap(one, in_axes=(0, None, None)))(potential, part, batch.valid)
        return jax.lax.psum(sums, AXIS) if devices > 1 else sums

    def predictions(potential: Potential, bucket: Bucket, batch: Batch) -> Predictions:
        return (found if members is None else jax.vmap(found, in_axes=(0, None)))(potential, _rows(bucket, batch.rows))

    if devices > 1:
        train, evaluate = _share(train, devices, 4), _share(evaluate, devices, 3)
    return Programs(jax.jit(train), jax.jit(evaluate), jax.jit(predictions))


def _share(function: Any, devices: int, arguments: int) -> Any:
    """The function with its batch, the third argument, cut among devices; everything else is whole on each."""
    from jax.sharding import AxisType, PartitionSpec

    mesh = jax.make_mesh((devices,), (AXIS,), axis_types=(AxisType.Auto,))
    whole, cut = PartitionSpec(), PartitionSpec(AXIS)
    specs = tuple(cut if n == 2 else whole for n in range(arguments))
    # The replication of the results follows from the psum; the checker cannot follow it through custom derivatives.
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=False)


def _rows(bucket: Bucket, rows: Int[Array, " rows"]) -> Bucket:
    return jax.tree.map(lambda x: jnp.take(x, rows, axis=0), bucket)
