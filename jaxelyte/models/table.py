"""Radial weights as a table: what a trained network's radial networks become for dynamics on CPUs.

Between knots the weights are quintic Hermite polynomials, which have the network's values and two derivatives at the
knots; forces are derivatives of the very energy that is evaluated, so the error moves no energy into the system.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxelyte.models.activations import ACTIVATIONS

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


@jax.default_matmul_precision("highest")
def traced_tables(config: NequIP, params: Any, knots: int) -> tuple[Any, ...]:
    """`radial_tables` with so many knots, as a function of parameters that has derivatives, in their dtype."""
    dtype, step = params["radial_basis"]["bessel_weights"].dtype, config.r_max / knots
    distance = step * jnp.arange(1, knots + 1, dtype=dtype)
    units = jnp.asarray([1.0, step, step**2], dtype)[:, None]
    tables = []
    for number, layer in enumerate(config.plan.layers):
        if not layer.active_paths:
            tables.append(None)
            continue
        table = jnp.swapaxes(radial_derivatives(config, params, number, distance), 0, 1) * units
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
    return np.swapaxes(found, 0, 1) * np.array([1.0, step, step**2])[:, None]


def radial_derivatives(config: NequIP, params: Any, number: int, distance: Any) -> Any:
    """Radial weights of a layer's active paths and their first two derivatives, shape (3, distances, columns).

    Arrays of numpy give one of numpy, those of jax one of jax. Each matrix is applied once, to all three.
    """
    xp = jnp if isinstance(distance, jax.Array) else np
    layer, radial = config.plan.layers[number], params[f"layer{number}"]["radial"]
    found = _basis(config, params["radial_basis"]["bessel_weights"], distance, xp)
    for n in range(len(radial) - 1):
        matrix = radial[f"layer{n}"]
        x, first, second = xp.stack(found) @ (matrix * matrix.shape[0] ** -0.5)
        value, slope, curvature = _activation(config, x, xp)
        found = [value, slope * first, curvature * first**2 + slope * second]
    last = radial[f"layer{len(radial) - 1}"]
    scale = (last.shape[0] * (config.avg_num_neighbors or 1.0)) ** -0.5
    columns = [last[:, path.start : path.start + path.mul] for path in layer.active_paths]
    return xp.stack(found) @ (xp.concatenate(columns, axis=1) * scale)


def _basis(config: NequIP, frequencies: Any, distance: Any, xp: Any) -> list[Any]:
    """Bessel functions times envelope (`jaxelyte.models.radial`) and two derivatives, by the product rule."""
    p, r_max = config.polynomial_cutoff_p, config.r_max
    p = int(p) if float(p).is_integer() else p
    x, r = xp.minimum(distance / r_max, 1.0)[:, None], distance[:, None]
    norm = (p + 1) * (p + 2) / 2
    envelope = [
        1 - x**p * (norm - x * (p * (p + 2) - x * (p * (p + 1) / 2))),
        -p * norm * x ** (p - 1) * (1 - x) ** 2 / r_max,
        -p * norm * x ** (p - 2) * (1 - x) * ((p - 1) - (p + 1) * x) / r_max**2,
    ]
    wave = frequencies / r_max
    sine, cosine = xp.sin(r * wave), xp.cos(r * wave)
    bessel = _product(
        [2 / r_max * one for one in (1 / r, -1 / r**2, 2 / r**3)], [sine, wave * cosine, -(wave**2) * sine]
    )
    return _product(envelope, bessel)


def _product(f: list[Any], g: list[Any]) -> list[Any]:
    return [f[0] * g[0], f[1] * g[0] + f[0] * g[1], f[2] * g[0] + 2 * f[1] * g[1] + f[0] * g[2]]


def _activation(config: NequIP, x: Any, xp: Any) -> tuple[Any, Any, Any]:
    """The function of the radial network and two derivatives."""
    act, sigmoid = config.plan.radial, (1 + xp.tanh(x / 2)) / 2
    slope = sigmoid * (1 - sigmoid)
    if act == ACTIVATIONS["ssp"]:
        found = xp.logaddexp(x, xp.zeros_like(x)) - math.log(2), sigmoid, slope
    else:
        found = x * sigmoid, sigmoid + x * slope, slope * (2 + x * (1 - 2 * sigmoid))
    value, first, second = (act.constant * one for one in found)
    return value, first, second
