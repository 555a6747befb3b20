"""What averages should be, and how far they are from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError
from jaxelyte.gradients.frames import Quantity


@dataclass(frozen=True)
class Target:
    """A measured average, and the loss weight · mean(((f(<A>) - value)/scale)²).

    Attributes:
        quantity: A(potential, system, neighbors) of one frame; see `Reweighting`.
        value: what f(<A>) should be, of its shape (or one that broadcasts with it).
        scale: deviations count relative to this, a number or an array like ``value``; one by default. With standard
            errors of the measurement the loss is χ² per number.
        weight: of this target among several.
        explicit: A depends on the parameters itself (a pressure), not only through the ensemble (a distance).
        function: f of the averages, in jax.numpy: a normalisation, or -k_B T ln of a Boltzmann factor. None compares
            the averages themselves.
        name: for the history.

    Raises:
        InputError: a scale that is not positive, a weight that is negative, values that are not finite.
    """

    quantity: Quantity
    value: Any
    scale: Any = 1.0
    weight: float = 1.0
    explicit: bool = True
    function: Callable[[jax.Array], jax.Array] | None = None
    name: str = "target"

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"name of a target must be a word, not {checks.shown(self.name)}")
        if not callable(self.quantity):
            raise InputError(
                f"quantity of target {self.name!r} must be a function of potential, system and neighbors, not "
                f"{checks.shown(self.quantity)}"
            )
        if self.function is not None and not callable(self.function):
            raise InputError(f"function of target {self.name!r} must be a function, not {checks.shown(self.function)}")
        checks.array(f"the value of target {self.name!r}", self.value, None)
        if not np.all(checks.array(f"the scale of target {self.name!r}", self.scale, None) > 0):
            raise InputError(f"the scale of target {self.name!r} must be positive, everywhere")
        object.__setattr__(self, "weight", checks.not_negative(f"weight of target {self.name!r}", self.weight))
        object.__setattr__(self, "explicit", checks.flag("explicit", self.explicit))

    def loss(self, mean: jax.Array) -> jax.Array:
        """Of the average of A."""
        return self.weight * jnp.mean(self._deviation(mean) ** 2)

    def noise(self, mean: np.ndarray, parts: np.ndarray) -> float:
        """How large the loss would be at the least from the statistical error of the averages alone.

        Args:
            mean: <A>.
            parts: (stretches, …); see `AverageGradient`.
        """
        return float(np.trace(self._covariance(mean, parts)))

    def error(self, mean: np.ndarray, parts: np.ndarray, slope_error: float) -> float:
        """Standard error of the loss d·d: to first order, and what the noise adds to it and scatters by.

        With δ the error of the averages the loss is off by 2 d·δ + δ·δ. The mean squares of both parts are 4 d·Cd and
        (tr C)² + 2 tr C² for the covariance C; with the deviations that were found in place of d the first comes out
        4 tr C² too large. Losses that are about the "noise" scatter to one side only.

        Args:
            mean: <A>.
            parts: (stretches, …).
            slope_error: to first order, as `AverageGradient.error` of the loss.
        """
        covariance = self._covariance(mean, parts)
        square = float(np.sum(covariance**2))
        first = max(0.0, slope_error**2 - 4.0 * square) if math.isfinite(slope_error) else math.nan
        return math.sqrt(first + np.trace(covariance) ** 2 + 2.0 * square)

    def _covariance(self, mean: np.ndarray, parts: np.ndarray) -> np.ndarray:
        """Of the terms whose squares add up to the loss; as many rows as stretches or terms, whichever are fewer."""
        if len(parts) < 2:
            return np.full((1, 1), np.nan)
        at = jnp.asarray(mean, jnp.result_type(float))
        moved = jax.vmap(lambda d: jax.jvp(self._deviation, (at,), (d,))[1])(jnp.asarray(parts, at.dtype))
        rows = np.asarray(moved, np.float64).reshape(len(parts), -1)
        rows = (rows - rows.mean(axis=0)) * math.sqrt(self.weight * len(parts) / (len(parts) - 1) / rows.shape[1])
        # Both products have the same trace, and so have their squares.
        return rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T

    def _deviation(self, mean: jax.Array) -> jax.Array:
        found = mean if self.function is None else self.function(mean)
        value, scale = (jnp.asarray(x, found.dtype) for x in (self.value, self.scale))
        if jnp.broadcast_shapes(found.shape, value.shape) != found.shape:
            raise InputError(f"target {self.name!r} has a value of shape {value.shape} for averages of {found.shape}")
        return (found - value) / scale
