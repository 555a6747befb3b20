"""Radial weights as a table: what a trained network's radial networks become for dynamics on CPUs.

Between knots the weights are quintic Hermite polynomials, which have the network's values and two derivatives at the
knots; forces are derivatives of the very energy that is evaluated, so the error moves no energy into the system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxelyte.models.activations import ACTIVATIONS
from jaxelyte.models.convolution import radial_weights
from jaxelyte.models.radial import EdgeGeometry, radial_embedding

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP

KNOTS = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Numbers of knots to choose from."""

TRAINING_KNOTS = (256, 512, 1024)
"""The same for training, where each number is a program of its own."""

TOLERANCE = (1e-6, 1e-5)
"""Largest error of weights and of their derivatives, relative to their root mean square; below it float32 rounds."""

SHORTEST = 0.5
"""Distance in Å from which on the tolerance is kept: atoms do not come closer."""

COLUMNS = 16
"""Rows of a table are filled up with zeros to a multiple of it, the widest vector in float32."""


def radial_tables(config: NequIP, params: Any) -> tuple[np.ndarray, ...] | None:
    """The table of each layer, shape (knots, 3, columns): weights, and derivatives in units of the step.

    Knot k = 1, 2, ... lies at k r_max / knots. Below the first one its polynomial is continued.

    Returns:
        The tables in float64, or None where the parameters are traced or `KNOTS` do not reach the tolerance.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params)):
        return None
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    tables = []
    for number, layer in enumerate(config.plan.layers):
        if not layer.active_paths:
            return None
        for knots in KNOTS:
            table = _table(config, params, number, knots)
            errors = table_errors(config, params, number, table)
            if all(error <= limit for error, limit in zip(errors, TOLERANCE, strict=True)):
                break
        else:
            return None
        tables.append(np.pad(table, ((0, 0), (0, 0), (0, -table.shape[2] % COLUMNS))))
    return tuple(tables)


def training_knots(config: NequIP, params: Any) -> int:
    """Knots that the tables of all layers need, 0 where none of `TRAINING_KNOTS` reaches the tolerance."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    layers = [number for number, layer in enumerate(config.plan.layers) if layer.active_paths]
    for knots in TRAINING_KNOTS:
        errors = [table_errors(config, params, number, _table(config, params, number, knots)) for number in layers]
        if all(error <= limit for both in errors for error, limit in zip(both, TOLERANCE, strict=True)):
            return knots
    return 0


def traced_tables(config: NequIP, params: Any, knots: int) -> tuple[jax.Array, ...]:
    """`radial_tables` with so many knots, as a function of parameters that has derivatives, in their dtype."""
    frequencies = params["radial_basis"]["bessel_weights"]
    step = jnp.full((), config.r_max / knots, frequencies.dtype)
    distance = step * jnp.arange(1, knots + 1, dtype=frequencies.dtype)
    along = jnp.broadcast_to(step, distance.shape)
    tables = []
    for number, layer in enumerate(config.plan.layers):
        if not layer.active_paths:
            tables.append(None)
            continue

        def weights(distance: jax.Array, number: int = number, layer: Any = layer) -> jax.Array:
            embedded = radial_embedding(config, frequencies, EdgeGeometry(distance[None], {}))
            given = params[f"layer{number}"]["radial"], config.avg_num_neighbors or 1.0, embedded
            return radial_weights(layer, config.plan.radial, *given)[0]

        def slopes(distance: jax.Array, weights: Any = weights) -> Any:
            return jax.jvp(weights, (distance,), (along,))

        (value, slope), (_, curvature) = jax.jvp(slopes, (distance,), (along,))
        table = jnp.stack([value, slope, curvature], axis=1)
        tables.append(jnp.pad(table, ((0, 0), (0, 0), (0, -table.shape[2] % COLUMNS))))
    return tuple(tables)


def table_errors(config: NequIP, params: Any, number: int, table: np.ndarray) -> tuple[float, float]:
    """Largest errors of a layer's weights and of their derivatives, relative to their root mean square."""
    knots, step = len(table), config.r_max / len(table)
    places = np.arange(max(1.0, SHORTEST / step), knots - 1)[:, None] + np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    places = np.minimum(places.ravel(), knots)
    expected = radial_derivatives(config, params, number, places * step)
    found = interpolate(table, places)
    found = found[0], found[1] / step
    pairs = [(a[:, : b.shape[1]], b) for a, b in zip(found, expected[:2], strict=True)]
    scales = [np.sqrt(np.mean(b**2)) or 1.0 for _, b in pairs]
    value, slope = (float(np.abs(a - b).max() / scale) for (a, b), scale in zip(pairs, scales, strict=True))
    return value, slope


def interpolate(table: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and their derivatives in units of the step, at distances in units of the step."""
    first = np.clip(places.astype(int) - 1, 0, len(table) - 2)
    t = (places - first - 1)[:, None]
    values = (
        1 - t**3 * (10 - 15 * t + 6 * t**2),
        t * (1 - t**2 * (6 - 8 * t + 3 * t**2)),
        t**2 * (1 - t * (3 - 3 * t + t**2)) / 2,
        t**3 * (10 - 15 * t + 6 * t**2),
        t**3 * (-4 + 7 * t - 3 * t**2),
        t**3 * (1 - 2 * t + t**2) / 2,
    )
    slopes = (
        -30 * t**2 * (1 - t) ** 2,
        1 - t**2 * (18 - 32 * t + 15 * t**2),
        t * (1 - t * (9 - 12 * t + 5 * t**2) / 2),
        30 * t**2 * (1 - t) ** 2,
        t**2 * (-12 + 28 * t - 15 * t**2),
        t**2 * (3 - 8 * t + 5 * t**2) / 2,
    )
    rows = [table[first + n // 3, n % 3] for n in range(6)]
    return _combined(values, rows), _combined(slopes, rows)


def _combined(factors: tuple[np.ndarray, ...], rows: list[np.ndarray]) -> np.ndarray:
    return np.sum([factor * row for factor, row in zip(factors, rows, strict=True)], axis=0)


def _table(config: NequIP, params: Any, number: int, knots: int) -> np.ndarray:
    step = config.r_max / knots
    found = radial_derivatives(config, params, number, step * np.arange(1, knots + 1))
    return np.stack([one * step**order for order, one in enumerate(found)], axis=1)


def radial_derivatives(config: NequIP, params: Any, number: int, distance: np.ndarray) -> list[np.ndarray]:
    """Radial weights of a layer's active paths and their first two derivatives, shapes (distances, columns)."""
    layer, radial = config.plan.layers[number], params[f"layer{number}"]["radial"]
    found = _basis(config, params["radial_basis"]["bessel_weights"], distance)
    for n in range(len(radial) - 1):
        matrix = radial[f"layer{n}"]
        x, first, second = (one @ (matrix * matrix.shape[0] ** -0.5) for one in found)
        value, slope, curvature = _activation(config, x)
        found = [value, slope * first, curvature * first**2 + slope * second]
    last = radial[f"layer{len(radial) - 1}"]
    scale = (last.shape[0] * (config.avg_num_neighbors or 1.0)) ** -0.5
    columns = np.concatenate([np.arange(path.start, path.start + path.mul) for path in layer.active_paths])
    return [one @ (last[:, columns] * scale) for one in found]


def _basis(config: NequIP, frequencies: np.ndarray, distance: np.ndarray) -> list[np.ndarray]:
    """Bessel functions times envelope (`jaxelyte.models.radial`) and two derivatives, by the product rule."""
    p, r_max = config.polynomial_cutoff_p, config.r_max
    x, r = np.minimum(distance / r_max, 1.0)[:, None], distance[:, None]
    norm = (p + 1) * (p + 2) / 2
    envelope = [
        1 - x**p * (norm - x * (p * (p + 2) - x * (p * (p + 1) / 2))),
        -p * norm * x ** (p - 1) * (1 - x) ** 2 / r_max,
        -p * norm * x ** (p - 2) * (1 - x) * ((p - 1) - (p + 1) * x) / r_max**2,
    ]
    wave = frequencies / r_max
    sine, cosine = np.sin(r * wave), np.cos(r * wave)
    bessel = _product(
        [2 / r_max * one for one in (1 / r, -1 / r**2, 2 / r**3)], [sine, wave * cosine, -(wave**2) * sine]
    )
    return _product(envelope, bessel)


def _product(f: list[np.ndarray], g: list[np.ndarray]) -> list[np.ndarray]:
    return [f[0] * g[0], f[1] * g[0] + f[0] * g[1], f[2] * g[0] + 2 * f[1] * g[1] + f[0] * g[2]]


def _activation(config: NequIP, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The function of the radial network and two derivatives."""
    act, sigmoid = config.plan.radial, (1 + np.tanh(x / 2)) / 2
    slope = sigmoid * (1 - sigmoid)
    if act == ACTIVATIONS["ssp"]:
        found = np.logaddexp(x, 0) - np.log(2), sigmoid, slope
    else:
        found = x * sigmoid, sigmoid + x * slope, slope * (2 + x * (1 - 2 * sigmoid))
    value, first, second = (act.constant * one for one in found)
    return value, first, second
