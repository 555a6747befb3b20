"""Kirkwood-Buff integrals of radial distribution functions, and the activity derivative of a salt that follows.

G_ij = 4π ∫ (g_ij - 1) r² dr over an open system. A simulation has a closed box of finite size, where g does not tend to
one and the integral of its tail drifts; `CORRECTIONS` are the usual remedies, to be applied before the integration, and
`WEIGHTS` choose between cutting the integral off and the weight of a finite subvolume.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.errors import InputError
from jaxelyte.observables.blocks import jackknife
from jaxelyte.observables.curve import Pair, RDFResult

CORRECTIONS = ("tail", "closed", "none")
WEIGHTS = ("cut-off", "sphere", "extrapolated")

TAIL = 2.0
"""Å: g is divided by its mean within this distance of half the box; integrals are judged over this much below it."""

NOISY = 0.3
"""Relative standard error of 1 + d ln γ / d ln c beyond which the result warns."""


@dataclass(frozen=True)
class KirkwoodBuffResult:
    """Kirkwood-Buff integrals of several pairs of species.

    Attributes:
        pairs: pairs of chemical symbols.
        value: (pairs,), G in Å³.
        error: (pairs,), its standard error from the stretches of the run, NaN where there are fewer than four.
        limit: upper limit of the integrals in Å.
        radius: (bins,), upper limits in Å of ``running``.
        running: (pairs, bins), G in Å³ as a function of the upper limit: a plateau at its end is what to look for.
        drift: (pairs,), standard deviation of ``running`` over the last `TAIL` Å: how far the plateau is from one.
        correction: see `kirkwood_buff`.
        weight: see `kirkwood_buff`.
    """

    pairs: tuple[Pair, ...]
    value: np.ndarray
    error: np.ndarray
    limit: float
    radius: np.ndarray
    running: np.ndarray
    drift: np.ndarray
    correction: str
    weight: str

    def __getitem__(self, pair: Pair | str) -> tuple[float, float]:
        """G of a pair in Å³ and its standard error; the order of the pair does not matter.

        Raises:
            KeyError: the pair is not there.
        """
        wanted = tuple(pair.split("-")) if isinstance(pair, str) else tuple(pair)
        for number, known in enumerate(self.pairs):
            if wanted in (known, known[::-1]):
                return float(self.value[number]), float(self.error[number])
        raise KeyError(f"no pair {'-'.join(wanted)} in this result; it holds {self.pairs}")

    def plot(self, ax: Any = None) -> Any:
        """Draw the running integrals; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.running_integrals(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write the running integrals: r in Å, then G in Å³ of each pair."""
        header = ",".join(["r_A", *(f"G_{a}-{b}_A3" for a, b in self.pairs)])
        np.savetxt(path, np.column_stack([self.radius, *self.running]), delimiter=",", header=header, comments="")

    def to_json(self, path: str | Path) -> None:
        """Write values, errors and settings; NaN is stored as null."""
        rows = [
            {"pair": "-".join(pair), "G_A3": float(g), "error_A3": finite(e), "drift_A3": float(d)}
            for pair, g, e, d in zip(self.pairs, self.value, self.error, self.drift, strict=True)
        ]
        content = {"limit_A": self.limit, "correction": self.correction, "weight": self.weight, "integrals": rows}
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        rows = zip(self.pairs, self.value, self.error, strict=True)
        return "\n".join(
            [f"Kirkwood-Buff integrals to {self.limit:.2f} Å ({self.correction}, {self.weight})"]
            + [f"  {a}-{b}: {g:.0f} ± {e:.0f} Å³" for (a, b), g, e in rows]
        )


@dataclass(frozen=True)
class ActivityDerivative:
    """1 + d ln γ± / d ln c at constant temperature and pressure, dimensionless.

    Attributes:
        value: the estimate.
        error: standard error: from the stretches of the run where they are given, and from the spread of the estimate
            over upper limits of the integrals within `TAIL` Å below half the box, added in quadrature.
        statistical: the former part; NaN where there are fewer than four stretches.
        truncation: the latter part.
        integrals: Kirkwood-Buff integrals in Å³: of salt with itself and of salt with the solvent (absent without one).
    """

    value: float
    error: float
    statistical: float
    truncation: float
    integrals: dict[str, float]

    def to_json(self, path: str | Path) -> None:
        """Write everything; NaN is stored as null."""
        content = {k: finite(v) if isinstance(v, float) else v for k, v in asdict(self).items()}
        content["units"] = {"integrals": "Å³"}
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        return f"1 + d ln γ±/d ln c = {self.value:.2f} ± {self.error:.2f}"


def kirkwood_buff(
    result: RDFResult,
    *,
    box_length: float,
    limit: float | None = None,
    correction: Literal["tail", "closed", "none"] = "tail",
    weight: Literal["cut-off", "sphere", "extrapolated"] = "cut-off",
) -> KirkwoodBuffResult:
    """Kirkwood-Buff integrals G_ij = 4π ∫ (g_ij - 1) r² dr, in Å³.

    It fails where g has not become flat within half the box, which takes boxes of several correlation lengths, and
    where the run is too short for the slow exchange of ions between regions: errors of g grow with r² here, so look at
    `KirkwoodBuffResult.plot` for a plateau.

    Args:
        result: radial distribution functions to half the box at least, and `TAIL` Å beyond for the correction
            "tail": ``rdf(run, …, r_max=…)``.
        box_length: Å, cube root of the volume.
        limit: upper limit of the integral in Å; half the box by default.
        correction: "tail" divides each g by its mean within `TAIL` Å of half the box. "closed" corrects for the fixed
            number of particles: each shell is compared with what the box has left outside of it (Ganguly and van der
            Vegt, J. Chem. Theory Comput. 9, 1347 (2013), Eq. 7). "none" takes g as it is.
        weight: "cut-off" integrates to the limit. "sphere" weights by 1 - 3x/2 + x³/2, x = r / limit: the exact
            integral over a sphere whose diameter is the limit (Krüger et al., J. Phys. Chem. Lett. 4, 235 (2013)).
            "extrapolated" weights by 1 - 23x³/8 + 3x⁴/4 + 9x⁵/8, which takes the surface of that sphere to infinity
            (Krüger and Vlugt, Phys. Rev. E 97, 051301 (2018)).

    Raises:
        InputError: an unknown choice, or curves that end before the limit.
    """
    if correction not in CORRECTIONS or weight not in WEIGHTS:
        raise InputError(
            f"correction = {correction!r} has to be one of {', '.join(CORRECTIONS)}, weight = {weight!r} one of "
            f"{', '.join(WEIGHTS)}"
        )
    length = box_length
    limit = 0.5 * length if limit is None else limit
    g = np.atleast_2d(result.g)
    _check_range(result.edges, length, limit, correction)

    def integrals(curves: np.ndarray) -> np.ndarray:
        corrected = _corrected(result.edges, curves, length, correction, result.density)
        return _running(result.edges, corrected, weight)

    running = integrals(g)
    inside = result.edges[1:] <= limit + 1e-9
    count = len(result.stretches)
    parts = result.stretches / max(count, 1)
    _, error = jackknife(parts, lambda total: integrals(total * count / max(count - 1, 1))[:, inside][:, -1])
    # Pairs that were never seen have the same g in every stretch: no error bar, not one of zero.
    error = np.where(error > 0.0, error, np.nan)
    last = inside & (result.edges[1:] > limit - TAIL)
    return KirkwoodBuffResult(
        pairs=result.pairs,
        value=running[:, inside][:, -1],
        error=error,
        limit=limit,
        radius=result.edges[1:][inside],
        running=running[:, inside],
        drift=running[:, last].std(axis=1),
        correction=correction,
        weight=weight,
    )


def activity_derivative(
    *,
    r: np.ndarray,
    cation_cation: np.ndarray,
    cation_anion: np.ndarray,
    anion_anion: np.ndarray,
    density: float,
    box_length: float,
    cation_solvent: np.ndarray | None = None,
    anion_solvent: np.ndarray | None = None,
    correction: Literal["tail", "none"] = "tail",
) -> ActivityDerivative:
    """1 + d ln γ± / d ln c of a 1:1 salt from its radial distribution functions, by Kirkwood and Buff.

    With a solvent 1 / (1 + 2ρ (G_ss - G_so)), without one (ions only, McMillan-Mayer: half the derivative of βΠ by ρ)
    1 / (1 + 2ρ G_ss); G_ss = (G_cc + G_aa + 2 G_ca) / 4, G_so = (G_co + G_ao) / 2 (Ben-Naim, Molecular Theory of
    Solutions (2006), chapter 4). Integrals end at half the box.

    It fails where the tails of g are not flat at half the box: the denominator is a small difference, so that single
    runs of nanoseconds differ by a third. Several runs, or stretches of one, tell: see ``error``.

    Args:
        r: (bins,), centres of equally wide bins in Å, to half the box at least, and `TAIL` Å beyond for the correction
            "tail".
        cation_cation: (bins,) or (stretches, bins), radial distribution function; stretches of a run, or several runs,
            give the statistical error.
        cation_anion: likewise.
        anion_anion: likewise.
        density: ion pairs per Å³.
        box_length: Å, edge of the cubic box (cube root of the volume otherwise).
        cation_solvent: likewise; both or none of the two.
        anion_solvent: likewise.
        correction: "tail" divides each g by its mean within `TAIL` Å of half the box; "none" takes it as it is.

    Raises:
        InputError: curves of different shapes, that end before half the box, or with one of the solvent's missing.
    """
    curves: dict[str, Any] = {"cc": cation_cation, "ca": cation_anion, "aa": anion_anion}
    if (cation_solvent is None) != (anion_solvent is None):
        raise InputError("give cation_solvent and anion_solvent, or neither (ions only)")
    if cation_solvent is not None:
        curves |= {"co": cation_solvent, "ao": anion_solvent}
    if not (math.isfinite(density) and density > 0):
        raise InputError(f"density = {density!r} must be a positive number of ion pairs per Å³")
    if correction not in ("tail", "none"):
        raise InputError(f"correction = {correction!r} has to be tail or none")
    r = np.asarray(r, np.float64)
    stacked = _stack(r, curves)
    edges = _edges(r)
    _check_range(edges, box_length, 0.5 * box_length, correction)

    def estimate(means: np.ndarray, limit: float) -> np.ndarray:
        corrected = _corrected(edges, means, box_length, correction, None)
        inside = int(np.sum(edges[1:] <= limit + 1e-9))
        integrals = dict(zip(curves, _running(edges, corrected, "cut-off")[:, inside - 1], strict=True))
        salt, water = _salt(integrals)
        return np.array([1.0 / (1.0 + 2.0 * density * (salt - water)), salt, water])

    whole = stacked.mean(axis=0)
    limits = edges[1:][(edges[1:] > 0.5 * box_length - TAIL) & (edges[1:] <= 0.5 * box_length + 1e-9)]
    value, salt, water = estimate(whole, 0.5 * box_length)
    spread = float(np.std([estimate(whole, limit)[0] for limit in limits]))
    count = len(stacked)
    _, errors = jackknife(stacked / count, lambda total: estimate(total * count / max(count - 1, 1), 0.5 * box_length))
    statistical = float(errors[0])
    error = math.hypot(spread, statistical) if math.isfinite(statistical) else spread
    if error > NOISY * abs(value):
        warnings.warn(
            f"activity derivative: {value:.2f} ± {error:.2f}; the run is too short, or the box of {box_length:.1f} Å "
            "too small, for its Kirkwood-Buff integrals",
            stacklevel=2,
        )
    integrals = {"salt-salt": float(salt)} | ({"salt-solvent": float(water)} if cation_solvent is not None else {})
    return ActivityDerivative(float(value), error, statistical, spread, integrals)


def _salt(integrals: Mapping[str, float]) -> tuple[float, float]:
    """G of the salt with itself, ions alike, and with the solvent."""
    salt = (integrals["cc"] + integrals["aa"] + 2.0 * integrals["ca"]) / 4.0
    return salt, 0.5 * (integrals["co"] + integrals["ao"]) if "co" in integrals else 0.0


def _stack(r: np.ndarray, curves: Mapping[str, Any]) -> np.ndarray:
    """Shape (stretches, curves, bins)."""
    arrays = {name: np.atleast_2d(np.asarray(curve, np.float64)) for name, curve in curves.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or r.ndim != 1 or next(iter(shapes))[1:] != r.shape:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"the curves have to be (bins,) or (stretches, bins) alike, with r {r.shape}; found {found}")
    if not all(np.all(np.isfinite(array)) for array in arrays.values()):
        raise InputError("a radial distribution function holds values that are not finite")
    return np.stack(list(arrays.values()), axis=1)


def _edges(r: np.ndarray) -> np.ndarray:
    width = np.diff(r)
    if len(r) < 2 or not np.allclose(width, width.mean(), rtol=0.01) or width.mean() <= 0:
        raise InputError("r has to be the centres of equally wide bins in Å, rising")
    step = (r[-1] - r[0]) / (len(r) - 1)
    return np.concatenate([r - 0.5 * step, [r[-1] + 0.5 * step]])


def _check_range(edges: np.ndarray, length: float, limit: float, correction: str) -> None:
    if not 0.0 < limit <= edges[-1] * (1.0 + 1e-6):
        raise InputError(f"the integral to {limit:.2f} Å needs g to there; it ends at {edges[-1]:.2f} Å")
    if length < 2.0 * TAIL:
        raise InputError(f"box_length = {length} Å must be the edge of the box in Å")
    # A bin of tolerance: the edges are multiples of its width.
    needed = 0.5 * length + TAIL
    if correction == "tail" and edges[-1] < needed - 2.0 * (edges[1] - edges[0]):
        raise InputError(
            f"the correction of the tail needs g to {needed:.2f} Å, {TAIL:g} Å beyond half the box, and it ends at "
            f"{edges[-1]:.2f} Å: compute it with rdf(…, r_max={needed:.2f}), or choose another correction"
        )


def _corrected(
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


def _running(edges: np.ndarray, g: np.ndarray, weight: str) -> np.ndarray:
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
