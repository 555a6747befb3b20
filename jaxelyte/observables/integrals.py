"""Integrals of radial distribution functions: tails, upper limits, and the errors of what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxelyte import checks, units
from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import jackknife

TAIL = 2.0
"""Å: g is divided by its mean within this distance of half the box; integrals are judged over this much below it."""

CORRECTIONS = ("background", "closed", "tail", "none")
"""Of curves from a closed box of finite size, see `without_artefacts`; the first is the default."""

Correction = Literal["background", "closed", "tail", "none"]

NAMES = {
    "cc": "cation_cation",
    "ca": "cation_anion",
    "aa": "anion_anion",
    "co": "cation_solvent",
    "ao": "anion_solvent",
    "oo": "solvent_solvent",
}
"""Arguments by the names of the curves in here."""

DENSEST = 0.2
"""Particles per Å³, above those of all liquids: water has 0.033 molecules, and 0.1 atoms."""


class Judged(NamedTuple):
    """A function of Kirkwood-Buff integrals, both parts of its standard error, and the freedom of the first."""

    value: np.ndarray
    statistical: np.ndarray
    truncation: np.ndarray
    freedom: int


def from_integrals(
    r: np.ndarray,
    curves: Mapping[str, Any],
    box_length: float,
    correction: str,
    function: Callable[[Mapping[str, float]], np.ndarray],
    densities: Mapping[str, float],
) -> Judged:
    """A function of integrals to half the box, with the spread over stretches, over upper limits, and over corrections.

    Args:
        r: (bins,), centres of equally wide bins in Å.
        curves: radial distribution functions by name, (bins,) or (stretches, bins).
        box_length: Å.
        correction: see `without_artefacts`.
        function: maps integrals in Å³, by the names of the curves, to an array.
        densities: of the second species in 1/Å³, by the names of the curves; see `unsettled`.

    Raises:
        InputError: curves of different shapes, or that end before half the box.
    """
    r = checks.array("r", r, (None,), "Å")
    stacked = stack(r, curves)
    edges = bin_edges(r)
    check_range(edges, box_length, 0.5 * box_length, correction)

    def estimate(corrected: np.ndarray, limit: float) -> np.ndarray:
        inside = int(np.sum(edges[1:] <= limit + 1e-9))
        return function(dict(zip(curves, running_integrals(edges, corrected, "cut-off")[:, inside - 1], strict=True)))

    half = 0.5 * box_length
    whole, count = stacked.mean(axis=0), len(stacked)
    corrected = without_artefacts(edges, whole, box_length, correction)
    limits = edges[1:][(edges[1:] > half - TAIL) & (edges[1:] <= half + 1e-9)]
    spread = np.std([estimate(corrected, limit) for limit in limits], axis=0)
    share = unsettled(edges, whole, box_length, [densities[name] for name in curves])

    def both(means: np.ndarray) -> np.ndarray:
        """The estimate, and what it differs by from that of peaks scaled by the share that is not bound."""
        value = estimate(without_artefacts(edges, means, box_length, correction), half)
        return np.stack([value, value - estimate(scaled(edges, means, box_length, share), half)])

    value, apart = both(whole)
    _, errors = jackknife(stacked / count, lambda total: both(total * count / max(count - 1, 1)))
    return Judged(value, errors[0], np.hypot(spread, beyond_noise(apart, errors[1])), count - 1)


def beyond_noise(difference: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Size of a difference as far as it exceeds its standard error; the whole of it where that is not known."""
    return np.sqrt(np.maximum(0.0, difference**2 - np.nan_to_num(error) ** 2))


UNSURE = ("background", "tail")
"""Corrections by the level of the tail."""


def unsettled(edges: np.ndarray, g: np.ndarray, length: float, densities: Sequence[float] | np.ndarray) -> np.ndarray:
    """Share of the correction of its background by which the peak of each curve has to be scaled, (pairs, 1).

    With N particles in a closed box what depends on the density ρ is off by -(χ/2N) ρ² ∂²/∂ρ² (Lebowitz and Percus,
    Phys. Rev. 122, 1675 (1961)), χ the same factor as in the level of the tail. For ρ² g of neighbours that stand
    where the potential puts them, whatever the density is, that is the correction of the background; for partners of
    which each particle has one, ρ² g is proportional to ρ, and nothing is off. In between, with the share α of bound
    particles by the law of mass action, α/(1 - α)² = K ρ, it is the part (1 - α)/(1 + α)³. α is estimated by the
    neighbours in excess of the background: the largest rise of their number with the distance, up to one.

    Args:
        edges: (bins + 1,), Å.
        g: (pairs, bins).
        length: Å, cube root of the volume.
        densities: (pairs,), of the second species in 1/Å³.
    """
    level = tail_level(edges, g, length)
    near = edges[1:] <= max(0.5 * length - TAIL, edges[1])
    shells = 4.0 * np.pi / 3.0 * np.diff(edges**3)[near]
    number = np.cumsum(np.asarray(densities)[:, None] * (g[:, near] - level) * shells, axis=1)
    number = np.concatenate([np.zeros((len(g), 1)), number], axis=1)
    bound = np.clip(np.max(number - np.minimum.accumulate(number, axis=1), axis=1), 0.0, 1.0)[:, None]
    return (1.0 - bound) / (1.0 + bound) ** 3


def scaled(edges: np.ndarray, g: np.ndarray, length: float, share: np.ndarray) -> np.ndarray:
    """Curves divided by the level of their tail, what stands above it only by that ``share`` of the correction."""
    level = tail_level(edges, g, length)
    return g + (np.minimum(g, level) + share * np.maximum(g - level, 0.0)) * (1.0 / level - 1.0)


def tail_level(edges: np.ndarray, g: np.ndarray, length: float) -> np.ndarray:
    """Mean of g within `TAIL` Å of half the box, (pairs, 1); one where nothing was seen there."""
    r = 0.5 * (edges[1:] + edges[:-1])
    level = g[:, np.abs(r - 0.5 * length) <= TAIL].mean(axis=1, keepdims=True)
    return np.where(level > 0.0, level, 1.0)


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
            f"in mol/L, write {density:g} * {units.LITER:.6g}"
        )
    return density


def salt_integrals(integrals: Mapping[str, float]) -> tuple[float, float]:
    """G of the salt with itself, ions alike, and with the solvent."""
    salt = (integrals["cc"] + integrals["aa"] + 2.0 * integrals["ca"]) / 4.0
    return salt, 0.5 * (integrals["co"] + integrals["ao"]) if "co" in integrals else 0.0


def stack(r: np.ndarray, curves: Mapping[str, Any]) -> np.ndarray:
    """Shape (stretches, curves, bins)."""
    arrays = {name: np.atleast_2d(checks.array(NAMES[name], curve, None)) for name, curve in curves.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or r.ndim != 1 or next(iter(shapes))[1:] != r.shape:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"the curves have to be (bins,) or (stretches, bins) alike, with r {r.shape}; found {found}")
    for name, array in arrays.items():
        if np.mean(array) < 0.0:  # single values may be negative where noise was subtracted
            raise InputError(f"{NAMES[name]} is negative, which no radial distribution function is; give g, not g - 1")
        if not np.any(array[:, -1:]) and not np.any(array):
            raise InputError(
                f"{NAMES[name]} is 0 throughout: the pair was never seen; run longer, or count other sites"
            )
    return np.stack(list(arrays.values()), axis=1)


def bin_edges(r: np.ndarray) -> np.ndarray:
    """Edges of bins from their centres, (bins + 1,), Å."""
    width = np.diff(r)
    if len(r) < 2 or not np.allclose(width, width.mean(), rtol=0.01) or width.mean() <= 0:
        raise InputError("r has to be the centres of equally wide bins in Å, rising")
    step = (r[-1] - r[0]) / (len(r) - 1)
    return np.concatenate([r - 0.5 * step, [r[-1] + 0.5 * step]])


def check_correction(correction: Any) -> None:
    """Raise `InputError` unless it is one of `CORRECTIONS`."""
    checks.choice("correction", correction, CORRECTIONS)


def check_range(edges: np.ndarray, length: float, limit: float, correction: str) -> None:
    """Refuse curves that end before the limit, or before the range of the tail."""
    # A bin of tolerance: the edges are multiples of its width, so that half a box lies between two of them.
    width = edges[1] - edges[0]
    if limit < edges[1]:
        raise InputError(f"limit = {limit:g} Å lies within the first bin of g, of {edges[1]:g} Å; limits are in Å")
    if not 0.0 < limit < edges[-1] + width:
        raise InputError(f"the integral to {limit:.2f} Å needs g to there; it ends at {edges[-1]:.2f} Å")
    if length < 2.0 * TAIL:
        raise InputError(f"box_length = {length} Å must be the edge of the box in Å")
    needed = 0.5 * length + TAIL
    if correction in UNSURE and edges[-1] < needed - 2.0 * width:
        raise InputError(
            f"the correction {correction!r} needs g to {needed:.2f} Å, {TAIL:g} Å beyond half the box, and it ends at "
            f"{edges[-1]:.2f} Å: compute it with rdf(…, r_max={needed:.2f}), or choose another correction"
        )


def without_artefacts(edges: np.ndarray, g: np.ndarray, length: float, correction: str) -> np.ndarray:
    """Curves of shape (pairs, bins), finite-size artefacts removed.

    In a closed box what is in excess near a centre is missing elsewhere: g tends to a level t that is not one.

    - "background" divides by t what is not above this level, and leaves alone what stands on it: a bound partner is
      there however many others are. Ideal dimers come out exactly. t is the mean of g within `TAIL` Å of half the box.
    - "tail" divides all of g by t; the peak of N ideal dimers comes out 1/N too high.
    - "closed" takes the level that the excess E = 4π ∫ (g - 1) r² dr up to r leaves outside, 1/f with f = (V - v) /
      (V - v - E), v = 4πr³/3, and multiplies g by f (Ganguly and van der Vegt, J. Chem. Theory Comput. 9, 1347 (2013),
      Eq. 7; the density cancels): half of that bias. It spoils
      curves that tend to one.
    - "none" takes g as it is.

    Args:
        edges: (bins + 1,), Å.
        g: (pairs, bins); of like species per (N - 1)/V, as `rdf` has it.
        length: Å, cube root of the volume.
        correction: one of these.
    """
    if correction == "none":
        return g
    if correction == "closed":
        shells = 4.0 * np.pi / 3.0 * np.diff(edges**3)
        outside = length**3 - 4.0 * np.pi / 3.0 * edges[1:] ** 3
        return g * outside / (outside - np.cumsum((g - 1.0) * shells, axis=1))
    return scaled(edges, g, length, np.full((len(g), 1), 1.0 if correction == "tail" else 0.0))


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
