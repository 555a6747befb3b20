"""Integrals of radial distribution functions: tails, upper limits, and the errors of what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks, units
from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import jackknife

TAIL = 2.0
"""Å: g is divided by its mean within this distance of half the box; integrals are judged over this much below it."""

DENSEST = 0.2
"""Particles per Å³, above those of all liquids: water has 0.033 molecules, and 0.1 atoms."""

MOLAR = units.AVOGADRO * 1e-27
"""Particles per Å³ in one mol/L."""


class Judged(NamedTuple):
    """A function of Kirkwood-Buff integrals, and both parts of its standard error; see `ActivityDerivative`."""

    value: np.ndarray
    statistical: np.ndarray
    truncation: np.ndarray


def from_integrals(
    r: np.ndarray,
    curves: Mapping[str, Any],
    box_length: float,
    correction: str,
    function: Callable[[Mapping[str, float]], np.ndarray],
) -> Judged:
    """A function of integrals to half the box, with the spread over stretches of a run and over upper limits.

    Args:
        r: (bins,), centres of equally wide bins in Å.
        curves: radial distribution functions by name, (bins,) or (stretches, bins).
        box_length: Å.
        correction: "tail" or "none"; see `kirkwood_buff`.
        function: maps integrals in Å³, by the names of the curves, to an array.

    Raises:
        InputError: curves of different shapes, or that end before half the box.
    """
    r = np.asarray(r, np.float64)
    stacked = stack(r, curves)
    edges = bin_edges(r)
    check_range(edges, box_length, 0.5 * box_length, correction)

    def estimate(means: np.ndarray, limit: float) -> np.ndarray:
        corrected = without_artefacts(edges, means, box_length, correction, None)
        inside = int(np.sum(edges[1:] <= limit + 1e-9))
        return function(dict(zip(curves, running_integrals(edges, corrected, "cut-off")[:, inside - 1], strict=True)))

    whole, count = stacked.mean(axis=0), len(stacked)
    limits = edges[1:][(edges[1:] > 0.5 * box_length - TAIL) & (edges[1:] <= 0.5 * box_length + 1e-9)]
    spread = np.std([estimate(whole, limit) for limit in limits], axis=0)
    _, errors = jackknife(stacked / count, lambda total: estimate(total * count / max(count - 1, 1), 0.5 * box_length))
    return Judged(estimate(whole, 0.5 * box_length), errors, spread)


def number_density(name: str, value: float, what: str) -> float:
    """A density of particles per Å³, checked.

    Args:
        name: of the argument.
        value: 1/Å³.
        what: particles are counted, for the message.

    Raises:
        InputError: not positive, or denser than any liquid.
    """
    density = checks.positive(name, value, f"{what} per Å³")
    if density > DENSEST:
        raise InputError(
            f"{name} = {density:g} cannot be {what} per Å³, of which no liquid holds more than {DENSEST:g}; if it is "
            f"in mol/L, write {density:g} * {MOLAR:.6g}"
        )
    return density


def salt_integrals(integrals: Mapping[str, float]) -> tuple[float, float]:
    """G of the salt with itself, ions alike, and with the solvent."""
    salt = (integrals["cc"] + integrals["aa"] + 2.0 * integrals["ca"]) / 4.0
    return salt, 0.5 * (integrals["co"] + integrals["ao"]) if "co" in integrals else 0.0


def stack(r: np.ndarray, curves: Mapping[str, Any]) -> np.ndarray:
    """Shape (stretches, curves, bins)."""
    arrays = {name: np.atleast_2d(np.asarray(curve, np.float64)) for name, curve in curves.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or r.ndim != 1 or next(iter(shapes))[1:] != r.shape:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"the curves have to be (bins,) or (stretches, bins) alike, with r {r.shape}; found {found}")
    if not all(np.all(np.isfinite(array)) for array in arrays.values()):
        raise InputError("a radial distribution function holds values that are not finite")
    return np.stack(list(arrays.values()), axis=1)


def bin_edges(r: np.ndarray) -> np.ndarray:
    """Edges of bins from their centres, (bins + 1,), Å."""
    width = np.diff(r)
    if len(r) < 2 or not np.allclose(width, width.mean(), rtol=0.01) or width.mean() <= 0:
        raise InputError("r has to be the centres of equally wide bins in Å, rising")
    step = (r[-1] - r[0]) / (len(r) - 1)
    return np.concatenate([r - 0.5 * step, [r[-1] + 0.5 * step]])


def check_range(edges: np.ndarray, length: float, limit: float, correction: str) -> None:
    """Refuse curves that end before the limit, or before the range of the tail."""
    # A bin of tolerance: the edges are multiples of its width, so that half a box lies between two of them.
    width = edges[1] - edges[0]
    if not 0.0 < limit < edges[-1] + width:
        raise InputError(f"the integral to {limit:.2f} Å needs g to there; it ends at {edges[-1]:.2f} Å")
    if length < 2.0 * TAIL:
        raise InputError(f"box_length = {length} Å must be the edge of the box in Å")
    needed = 0.5 * length + TAIL
    if correction == "tail" and edges[-1] < needed - 2.0 * width:
        raise InputError(
            f"the correction of the tail needs g to {needed:.2f} Å, {TAIL:g} Å beyond half the box, and it ends at "
            f"{edges[-1]:.2f} Å: compute it with rdf(…, r_max={needed:.2f}), or choose another correction"
        )


def without_artefacts(
    edges: np.ndarray,
    g: np.ndarray,
    length: float,
    correction: str,
    density: np.ndarray | None,
) -> np.ndarray:
    """Curves of shape (pairs, bins), finite-size artefacts removed."""
    if correction == "tail":
        r = 0.5 * (edges[1:] + edges[:-1])
        tail = np.abs(r - 0.5 * length) <= TAIL
        return g / g[:, tail].mean(axis=1, keepdims=True)
    if correction == "closed" and density is not None:
        volume = length**3
        shells = 4.0 * np.pi / 3.0 * np.diff(edges**3)
        inner = 4.0 * np.pi / 3.0 * edges[1:] ** 3
        # Around a centre there are ρV others (itself not counted); what is in excess within r is missing outside.
        excess = np.cumsum(density[:, None] * (g - 1.0) * shells, axis=1)
        outside = density[:, None] * (volume - inner)
        return g * outside / (outside - excess)
    return g


def running_integrals(edges: np.ndarray, g: np.ndarray, weight: str) -> np.ndarray:
    """Integrals in Å³ up to each upper edge, shape (pairs, bins); exact for g constant within bins."""
    if weight == "cut-off":
        return np.cumsum(4.0 * np.pi / 3.0 * (g - 1.0) * np.diff(edges**3), axis=1)
    # Polynomials in x = r / R: a weight for each upper limit R, integrated over each bin.
    powers = {"sphere": {0: 1.0, 1: -1.5, 3: 0.5}, "extrapolated": {0: 1.0, 3: -23 / 8, 4: 0.75, 5: 9 / 8}}[weight]
    upper = edges[1:]
    total = np.zeros_like(g)
    for power, factor in powers.items():
        moments = 4.0 * np.pi * (g - 1.0) * np.diff(edges ** (power + 3)) / (power + 3)
        total += factor * np.cumsum(moments, axis=1) / upper**power
    return total
