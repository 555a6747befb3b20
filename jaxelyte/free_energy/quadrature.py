"""Nodes of λ between 0 and 1 and their weights; integrals of functions whose slopes are known, too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError

POINTS, HALF_WEIGHTS = np.polynomial.legendre.leggauss(16)
"""Gauss nodes in each interval, where the interpolant is smooth."""

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
    windows = checks.count("windows", windows, least=least)
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


def integral_with_slopes(nodes: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> float:
    """Integral of the monotone rational interpolant through values with their slopes at the nodes.

    In an interval of width h, with t from 0 to 1, secant s and slopes a and b at its ends, the interpolant is

        f(t) = f_0 + h s (s t² + a t (1 - t)) / (s + (a + b - 2s) t (1 - t))

    (Gregory and Delbourgo, IMA J. Numer. Anal. 2, 123 (1982)): exact for straight lines and for c/(λ + d), which are
    <dU/dλ> of linear response and of springs, and of fourth order in h otherwise. Where secant and slopes differ in
    sign, which only noise makes them, it is the cubic with these slopes.

    Args:
        nodes: (nodes,), rising.
        values: (nodes,).
        slopes: (nodes,).
    """
    width = np.diff(nodes)
    secant = np.diff(values) / width
    before, behind = slopes[:-1], slopes[1:]
    cubic = 0.5 * width * (values[:-1] + values[1:]) + width**2 / 12.0 * (before - behind)
    rational = (secant * before > 0.0) & (secant * behind > 0.0)
    t = 0.5 * (POINTS[:, None] + 1.0)
    safe = np.where(rational, secant, 1.0)
    first, last = np.where(rational, before, 1.0), np.where(rational, behind, 1.0)
    inner = t * (1.0 - t)
    shape = safe * (safe * t**2 + first * inner) / (safe + (first + last - 2.0 * safe) * inner)
    area = width * values[:-1] + width**2 * (0.5 * HALF_WEIGHTS @ shape)
    return float(np.sum(np.where(rational, area, cubic)))


def sensitivities(nodes: np.ndarray, values: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of `integral_with_slopes` with respect to the values and to the slopes, (nodes,) each."""
    scale = max(float(np.max(np.abs(values))), float(np.max(np.abs(slopes))), 1e-12)
    found = []
    for which in (0, 1):
        rows = []
        for node in range(len(nodes)):
            step = np.zeros(len(nodes))
            # The integral is smooth, and of the first degree in both together: central differences are exact enough.
            step[node] = 1e-5 * max(abs((values, slopes)[which][node]), 1e-6 * scale)
            up, down = (
                integral_with_slopes(nodes, values + sign * step * (which == 0), slopes + sign * step * (which == 1))
                for sign in (1.0, -1.0)
            )
            rows.append((up - down) / (2.0 * step[node]))
        found.append(np.array(rows))
    return found[0], found[1]


def even_nodes(lam: np.ndarray, spread: np.ndarray, count: int) -> np.ndarray:
    """λ from 0 to 1 at equal thermodynamic distance, from the standard deviations of U1 - U0 at some λ."""
    edges, slowness = _slowness(lam, spread)
    lengths = _lengths(edges, slowness)
    target = np.linspace(0.0, 1.0, max(count, 2))[1:-1] * lengths.sum()
    before = np.concatenate([[0.0], np.cumsum(lengths)])
    interval = np.clip(np.searchsorted(before, target, side="right") - 1, 0, len(lengths) - 1)
    width, start, rise = np.diff(edges)[interval], slowness[interval], np.diff(slowness)[interval]
    part = (target - before[interval]) / width
    flat = np.abs(rise) < 1e-9 * start
    safe = np.where(flat, 1.0, rise)
    share = np.where(flat, part * start, start * np.expm1(safe * part) / safe)
    return np.concatenate([[0.0], edges[interval] + width * share, [1.0]])


def thermodynamic_length(lam: np.ndarray, spread: np.ndarray) -> float:
    """∫ Var(U1 - U0)^½ dλ from 0 to 1, from standard deviations at some λ."""
    return float(_lengths(*_slowness(lam, spread)).sum())


def _slowness(lam: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges from 0 to 1 and the inverse of the spread there, which is linear in between: exact for springs.

    It is continued to ends without windows, but not to less than a tenth of its value in the window next to them.
    """
    slowness = 1.0 / np.maximum(spread, 1e-6 * np.max(spread) + 1e-12)
    edges = np.asarray(lam, np.float64)
    for end, at, inner in ((0.0, 0, 1), (1.0, -1, -2)):
        if edges[at] == end:
            continue
        slope = (slowness[at] - slowness[inner]) / (edges[at] - edges[inner]) if len(lam) > 1 else 0.0
        there = max(slowness[at] + slope * (end - edges[at]), 0.1 * slowness[at])
        place = 0 if end == 0.0 else len(edges)
        edges, slowness = np.insert(edges, place, end), np.insert(slowness, place, there)
    return edges, slowness


def _lengths(edges: np.ndarray, slowness: np.ndarray) -> np.ndarray:
    """∫ dλ/slowness of each interval."""
    first, last, width = slowness[:-1], slowness[1:], np.diff(edges)
    flat = np.abs(last - first) < 1e-9 * first
    rise = np.where(flat, 1.0, last - first)
    return np.where(flat, width / first, width * np.log(last / first) / rise)
