"""Newton's method with a Krylov solver, for equations of tens of thousands of unknowns that nearly solve themselves.

As `scipy.optimize.newton_krylov`, but its products of vectors do not go through threaded linear algebra: on a machine
that is busy otherwise, threads that wait for each other take ten times as long as the work.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxelyte.errors import JaxelyteError

STEPS = 60
"""Of Newton's method at most."""

DIRECTIONS = 40
"""Krylov vectors for each step at most."""

FORCING = 1e-3
"""Relative residual to which a linear step is solved: less is wasted far from the solution, and near it one more step
is cheap."""

HALVINGS = 12
"""Of a step that does not reduce the residual."""


class NoSolutionError(JaxelyteError):
    """The residual went no further down."""


def solve(residual: Callable[[np.ndarray], np.ndarray], start: np.ndarray, tolerance: float) -> np.ndarray:
    """Root of a function of a vector, shape kept.

    Args:
        residual: differentiable; best if close to the identity, up to sign.
        start: first guess, (n,).
        tolerance: largest entry of the residual at the root.

    Raises:
        NoSolutionError: none was found.
    """
    x, value = start, residual(start)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(STEPS):
            if float(np.max(np.abs(value))) < tolerance:
                return x
            step = _linear(residual, x, value)
            size = 1.0
            for _ in range(HALVINGS):
                trial = residual(x + size * step)
                # NaN compares as false: such steps are halved too.
                if _norm(trial) < (1.0 - 1e-4 * size) * _norm(value):
                    break
                size *= 0.5
            else:
                break
            x, value = x + size * step, trial
    raise NoSolutionError(f"the largest residual stayed at {float(np.max(np.abs(value))):.1e}")


def _linear(residual: Callable[[np.ndarray], np.ndarray], x: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Step s with J s = -value by GMRES, J v by a difference (Saad, Iterative Methods (2003), chapter 6)."""
    length = _norm(value)
    basis = [-value / length]
    upper = np.zeros((DIRECTIONS + 1, DIRECTIONS))
    right = np.zeros(DIRECTIONS + 1)
    right[0] = length
    factors, scale = np.zeros(1), 1e-7 * max(1.0, float(np.max(np.abs(x))))
    for n in range(DIRECTIONS):
        width = scale / max(float(np.max(np.abs(basis[n]))), 1e-300)
        new = (residual(x + width * basis[n]) - value) / width
        for m, one in enumerate(basis):
            upper[m, n] = _dot(one, new)
            new = new - upper[m, n] * one
        upper[n + 1, n] = _norm(new)
        small = upper[: n + 2, : n + 1]
        if not np.all(np.isfinite(small)):
            break
        factors = np.linalg.lstsq(small, right[: n + 2], rcond=None)[0]
        if np.linalg.norm(small @ factors - right[: n + 2]) < FORCING * length or upper[n + 1, n] == 0.0:
            break
        basis.append(new / upper[n + 1, n])
    return np.asarray(sum(f * one for f, one in zip(factors, basis, strict=False)))


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.einsum("n,n->", a, b))


def _norm(a: np.ndarray) -> float:
    return _dot(a, a) ** 0.5
