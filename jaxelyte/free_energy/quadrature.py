"""Nodes of λ between 0 and 1 and their weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxelyte.errors import InputError

RULES = ("gauss-legendre", "clenshaw-curtis", "trapezoid")


def nodes_and_weights(windows: int, rule: str | Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights whose sum integrates a function of λ from 0 to 1.

    Args:
        windows: number of nodes.
        rule: "gauss-legendre" (exact to the power 2n - 1; the ends are no nodes), "clenshaw-curtis" (exact to n - 1,
            with the ends), "trapezoid" (equidistant), or the nodes themselves from 0 to 1, for the trapezoidal rule.

    Raises:
        InputError: another rule, too few windows, nodes that do not rise from 0 to 1.
    """
    if not isinstance(rule, str):
        nodes = np.asarray(rule, np.float64)
        if nodes.ndim != 1 or len(nodes) < 2 or nodes[0] != 0.0 or nodes[-1] != 1.0 or np.any(np.diff(nodes) <= 0):
            raise InputError(f"nodes = {rule!r} have to rise from 0 to 1")
        return nodes, _trapezoid(nodes)
    least = 1 if rule == "gauss-legendre" else 2
    if isinstance(windows, bool) or not isinstance(windows, int) or windows < least:
        raise InputError(f"windows = {windows!r} must be a whole number, at least {least} for {rule}")
    if rule == "gauss-legendre":
        x, w = np.polynomial.legendre.leggauss(windows)
        return (x + 1.0) / 2.0, w / 2.0
    if rule == "clenshaw-curtis":
        return _clenshaw_curtis(windows)
    if rule == "trapezoid":
        nodes = np.linspace(0.0, 1.0, windows)
        return nodes, _trapezoid(nodes)
    raise InputError(f"nodes = {rule!r}; choose one of {', '.join(RULES)}, or give the λ themselves")


def _trapezoid(nodes: np.ndarray) -> np.ndarray:
    widths = np.diff(nodes)
    return 0.5 * (np.append(widths, 0.0) + np.append(0.0, widths))


def _clenshaw_curtis(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (1 - cos(π k/n))/2; the weights integrate all Chebyshev polynomials up to n exactly."""
    order = count - 1
    angles = np.pi * np.arange(count) / order
    powers = np.arange(count)
    # ∫ T_k dx over [-1, 1]: 2/(1 - k²) for even k, none for odd.
    moments = np.zeros(count)
    moments[::2] = 2.0 / (1.0 - powers[::2] ** 2)
    weights = np.linalg.solve(np.cos(np.outer(powers, angles)), moments)
    return (1.0 - np.cos(angles)) / 2.0, weights[::-1] / 2.0
