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
    accumulate: int = 1,
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
        accumulate: parts in which a device works through its share, one after the other; gradients are summed.
        knots: of tables of radial weights on CPUs, 0 for radial networks; see `jaxelyte.models.table.training_knots`.
    """
    kinds = np.asarray(table)
    species = int(kinds.max()) + 1
    stress = loss.stress > 0
    moved_on = partial(_update, optimizer, settings.ema, members)

    def found(potential: Any, part: Bucket) -> Predictions:
        # Nothing is differentiated through it. Under the `vmap` of a committee kernels run member by member, which on a
        # GPU would cost what a batch saves.
        alone = members is None or default_kernel() == Native()
        return predict(potential.compiled(knots=knots) if alone else potential, part, stress=stress)

    def types_of(part: Bucket) -> Int[Array, "frames atoms"]:
        return jnp.maximum(jnp.asarray(kinds)[part.systems.numbers], 0)

    def errors_of(potential: Potential, part: Bucket, valid: Bool[Array, " rows"], huber: float | None) -> Errors:
        return squared_errors(found(potential, part), part, types_of(part), valid, species=species, huber=huber)

    def gradient(potential: Potential, part: Bucket, valid: Bool[Array, " rows"]) -> tuple[Any, Errors, Any]:
        counts = squared_errors(_nothing(part), part, types_of(part), valid, species=species)
        counts = counts if devices == 1 else jax.lax.psum(counts, AXIS)

        def of_frames(part: Bucket, valid: Bool[Array, " rows"]) -> tuple[Any, Errors, Any]:
            # Two stages: how the loss depends on the predictions, then how these, so weighted, depend on the weights.
            def value(predicted: Predictions) -> tuple[Float[Array, ""], Errors]:
                sums = partial(squared_errors, predicted, part, types_of(part), valid, species=species)
                plain = sums()
                return batch_loss(plain if loss.huber is None else sums(huber=loss.huber), counts, loss), plain

            (cost, sums), cotangent = jax.value_and_grad(value, has_aux=True)(found(potential, part))
            return predictions_gradient(potential, part, cotangent, stress=stress, knots=knots), sums, cost

        result = _sum_of_parts(of_frames, accumulate, part, valid)
        return jax.lax.psum(result, AXIS) if devices > 1 else result

    if members is not None:
        gradient = jax.vmap(gradient, in_axes=(0, None, None))

    def train(state: TrainState, bucket: Bucket, batch: Batch, rate: Float[Array, ""]) -> tuple[TrainState, Errors]:
        grads, sums, cost = gradient(state.potential, _rows(bucket, batch.rows), batch.valid)
        finite = jnp.all(jnp.isfinite(cost)) & jnp.all(
            jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(grads)])
        )
        good = finite & (state.failed < 0)
        moved = moved_on(state, grads, rate)
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


def _update(
    optimizer: optax.GradientTransformation,
    ema: float | None,
    members: int | None,
    state: TrainState,
    grads: Any,
    rate: Float[Array, ""],
) -> TrainState:
    """The state after an update by these gradients: weights, their average, the optimiser."""

    def update(potential: Any, grads: Any, moments: Any) -> tuple[Any, Any]:
        steps, new = optimizer.update(grads, moments, potential)
        return jax.tree.map(lambda x, step: x - rate.astype(x.dtype) * step, potential, steps), new

    update = update if members is None else jax.vmap(update)
    potential, moments = update(state.potential, grads, state.optimizer)
    average = potential
    if ema is not None:
        count = state.updates.astype(rate.dtype)
        decay = jnp.minimum(jnp.asarray(ema, rate.dtype), (1.0 + count) / (10.0 + count))
        average = jax.tree.map(lambda a, x: a + (1.0 - decay).astype(x.dtype) * (x - a), state.average, potential)
    return state.replace(potential=potential, average=average, optimizer=moments, updates=state.updates + 1)


def _share(function: Any, devices: int, arguments: int) -> Any:
    """The function with its batch, the third argument, cut among devices; everything else is whole on each."""
    from jax.sharding import AxisType, PartitionSpec

    mesh = jax.make_mesh((devices,), (AXIS,), axis_types=(AxisType.Auto,))
    whole, cut = PartitionSpec(), PartitionSpec(AXIS)
    specs = tuple(cut if n == 2 else whole for n in range(arguments))
    # The replication of the results follows from the psum; the checker cannot follow it through custom derivatives.
    return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=False)


def _sum_of_parts(function: Any, parts: int, *rows: Any) -> Any:
    """The sum of a function of rows over that many parts of them, one after the other."""
    if parts == 1:
        return function(*rows)
    cut = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), rows)
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], cut))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(lambda sums, some: (jax.tree.map(jnp.add, sums, function(*some)), None), start, cut)[0]


def _nothing(part: Bucket) -> Predictions:
    """Zeros in place of predictions, where only the numbers of labels are read."""
    systems = part.systems
    return Predictions(
        jnp.zeros_like(part.targets.energy), jnp.zeros_like(systems.positions), jnp.zeros_like(systems.cell)
    )


def _rows(bucket: Bucket, rows: Int[Array, " rows"]) -> Bucket:
    return jax.tree.map(lambda x: jnp.take(x, rows, axis=0), bucket)
