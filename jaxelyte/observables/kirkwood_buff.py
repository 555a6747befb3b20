"""Kirkwood-Buff integrals of radial distribution functions, and the activity derivative of a salt that follows.

G_ij = 4π ∫ (g_ij - 1) r² dr over an open system. A simulation has a closed box of finite size, where g does not tend to
one and the integral of its tail drifts; `CORRECTIONS` are the usual remedies, to be applied before the integration, and
`WEIGHTS` choose between cutting the integral off and the weight of a finite subvolume.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import finite, first_lines
from jaxelyte.errors import InputError, MissingError
from jaxelyte.observables.blocks import jackknife
from jaxelyte.observables.curve import Pair, RDFResult, pair_named, pair_names
from jaxelyte.observables.integrals import (
    TAIL,
    Correction,
    beyond_noise,
    check_correction,
    check_range,
    from_integrals,
    number_density,
    running_integrals,
    salt_integrals,
    scaled,
    unsettled,
    without_artefacts,
)
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import plus_minus

WEIGHTS = ("cut-off", "sphere", "extrapolated")

NOISY = 0.3
"""Relative standard error of 1 + d ln γ / d ln c beyond which the result warns."""


@dataclass(frozen=True)
class KirkwoodBuffResult(Rich):
    """Kirkwood-Buff integrals of several pairs of species.

    Attributes:
        pairs: pairs of chemical symbols.
        value: (pairs,), G in Å³.
        error: (pairs,), its standard error from the stretches of the run and, added in quadrature, what ``correction``
            differs by from one that scales peaks by how few of the particles are bound (`integrals.unsettled`); NaN
            where there are fewer than four stretches.
        freedom: degrees of freedom of the former part.
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
    freedom: int
    limit: float
    radius: np.ndarray
    running: np.ndarray
    drift: np.ndarray
    correction: str
    weight: str

    def __getitem__(self, pair: Pair | str) -> tuple[float, float]:
        """G of a pair in Å³ and its standard error; the order of the pair does not matter.

        Raises:
            MissingError: the pair is not there.
        """
        wanted = pair_named(pair)
        for number, known in enumerate(self.pairs):
            if wanted in (known, known[::-1]):
                return float(self.value[number]), float(self.error[number])
        raise MissingError(f"no pair {'-'.join(wanted)} in this result; it holds {pair_names(self.pairs)}")

    def plot(self, ax: Any = None) -> Any:
        """Draw the running integrals; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.running_integrals(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write the running integrals: r in Å, then G in Å³ of each pair."""
        header = ",".join(["r_A", *(f"G_{a}-{b}_A3" for a, b in self.pairs)])
        with saving(path) as temporary:
            table = np.column_stack([self.radius, *self.running])
            np.savetxt(temporary, table, delimiter=",", header=header, comments="")

    def to_json(self, path: str | Path) -> None:
        """Write values, errors and settings; NaN is stored as null."""
        rows = [
            {"pair": "-".join(pair), "G_A3": finite(g), "error_A3": finite(e), "drift_A3": finite(d)}
            for pair, g, e, d in zip(self.pairs, self.value, self.error, self.drift, strict=True)
        ]
        content = {"limit_A": self.limit, "correction": self.correction, "weight": self.weight, "integrals": rows}
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        rows = zip(self.pairs, self.value, self.error, strict=True)
        lines = [
            f"  {a}-{b}: {'not sampled' if math.isnan(g) else plus_minus(g, e, unit='Å³')}" for (a, b), g, e in rows
        ]
        head = f"Kirkwood-Buff integrals to {self.limit:.2f} Å ({self.correction}, {self.weight})"
        return f"{head}\n{first_lines(lines, 'pairs')}"


@dataclass(frozen=True)
class ActivityDerivative:
    """1 + d ln γ± / d ln c at constant temperature and pressure, dimensionless.

    Attributes:
        value: the estimate.
        error: standard error: from the stretches of the run, and from the spread of the estimate over upper limits of
            the integrals within `TAIL` Å below half the box, and over corrections, added in quadrature; NaN where there
            are fewer than four stretches.
        statistical: the former part.
        truncation: the latter parts, known for single curves, too.
        freedom: degrees of freedom of ``statistical``.
        integrals: Kirkwood-Buff integrals in Å³: of salt with itself and of salt with the solvent (absent without one).
    """

    value: float
    error: float
    statistical: float
    truncation: float
    freedom: int
    integrals: dict[str, float]

    def to_json(self, path: str | Path) -> None:
        """Write everything; NaN is stored as null."""
        content = {k: finite(v) if isinstance(v, float) else v for k, v in asdict(self).items()}
        content["units"] = {"integrals": "Å³"}
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        known = "" if math.isfinite(self.error) else f" (by truncation {self.truncation:.2f})"
        return f"1 + d ln γ±/d ln c = {plus_minus(self.value, self.error)}{known}"


def kirkwood_buff(
    result: RDFResult,
    *,
    box_length: float | None = None,
    limit: float | None = None,
    correction: Correction = "background",
    weight: Literal["cut-off", "sphere", "extrapolated"] = "cut-off",
) -> KirkwoodBuffResult:
    """Kirkwood-Buff integrals G_ij = 4π ∫ (g_ij - 1) r² dr, in Å³.

    It fails where g has not become flat within half the box, which takes boxes of several correlation lengths, and
    where the run is too short for the slow exchange of ions between regions: errors of g grow with r² here, so look at
    `KirkwoodBuffResult.plot` for a plateau.

    Args:
        result: radial distribution functions to half the box, or the limit, at least, and `TAIL` Å beyond half the box
            for the corrections "background" and "tail": ``rdf(run, …, r_max=…)``.
        box_length: Å, cube root of the volume; that of the cell that ``result`` comes from by default.
        limit: upper limit of the integral in Å; half the box by default.
        correction: for the fixed number of particles, by which g tends to a level that is not one: its mean within
            `TAIL` Å of half the box. "background" divides by it what is not above this level, but not the peaks that
            stand on it. "tail" divides all of g: peaks of bound partners come out 1/N too high. Half of what these two
            differ by is a limit of the systematic error, and counted so. "closed" compares each shell with what the box
            has left outside of it (Ganguly and van der Vegt, J. Chem. Theory Comput. 9, 1347 (2013), Eq. 7). "none"
            takes g as it is. See `jaxelyte.observables.integrals.without_artefacts`.
        weight: "cut-off" integrates to the limit. "sphere" weights by 1 - 3x/2 + x³/2, x = r / limit: the exact
            integral over a sphere whose diameter is the limit (Krüger et al., J. Phys. Chem. Lett. 4, 235 (2013)).
            "extrapolated" weights by 1 - 23x³/8 + 3x⁴/4 + 9x⁵/8, which takes the surface of that sphere to infinity
            (Krüger and Vlugt, Phys. Rev. E 97, 051301 (2018)).

    Raises:
        InputError: an unknown choice, curves that end before the limit, or a box length that is not that of the cell.
    """
    checks.instance("result", result, RDFResult, "an RDFResult, of jaxelyte.rdf")
    check_correction(correction)
    checks.choice("weight", weight, WEIGHTS)
    length = _length(result, box_length)
    limit = 0.5 * length if limit is None else checks.positive("limit", limit, "Å")
    g = np.atleast_2d(result.g)
    check_range(result.edges, length, limit, correction)

    inside = result.edges[1:] <= limit + 1e-9

    share = unsettled(result.edges, g, length, np.broadcast_to(result.density, len(g)))

    def last(corrected: np.ndarray) -> np.ndarray:
        return running_integrals(result.edges, corrected, weight)[:, inside][:, -1]

    def both(curves: np.ndarray) -> np.ndarray:
        """G, and what it differs by from that of peaks scaled by the share that is not bound."""
        value = last(without_artefacts(result.edges, curves, length, correction))
        return np.stack([value, value - last(scaled(result.edges, curves, length, share))])

    running = running_integrals(result.edges, without_artefacts(result.edges, g, length, correction), weight)
    count = len(result.stretches)
    _, errors = jackknife(result.stretches / max(count, 1), lambda total: both(total * count / max(count - 1, 1)))
    # Pairs that were never seen have the same g in every stretch: no error bar, not one of zero.
    error = np.hypot(np.where(errors[0] > 0.0, errors[0], np.nan), beyond_noise(both(g)[1], errors[1]))
    never = ~np.any(g[:, result.edges[1:] > min(0.5 * length, limit) - TAIL] > 0.0, axis=1)
    if np.any(never):
        names = ", ".join("-".join(pair) for pair, missing in zip(result.pairs, never, strict=True) if missing)
        checks.caution(
            f"Kirkwood-Buff integrals: no pair of {names} was ever about {min(0.5 * length, limit):.3g} Å apart: not "
            "sampled; run longer, or take more particles"
        )
        running = np.where(never[:, None], np.nan, running)
    end = inside & (result.edges[1:] > limit - TAIL)
    return KirkwoodBuffResult(
        pairs=result.pairs,
        value=running[:, inside][:, -1],
        error=np.where(never, np.nan, error),
        freedom=max(count - 1, 0),
        limit=limit,
        radius=result.edges[1:][inside],
        running=running[:, inside],
        drift=running[:, end].std(axis=1),
        correction=correction,
        weight=weight,
    )


def _length(result: RDFResult, given: float | None) -> float:
    """Cube root of the volume in Å, of the result, or as given where the result does not hold it."""
    known = None if result.volume is None else result.volume ** (1.0 / 3.0)
    if given is None:
        if known is None:
            raise InputError("this result does not hold the volume of its cell; pass box_length= in Å, its cube root")
        return known
    length = checks.positive("box_length", given, "Å")
    if known is not None and abs(length / known - 1.0) > 0.01:
        raise InputError(
            f"box_length = {length:g} Å is not the cube root of the volume that the result comes from, {known:.4g} Å; "
            "leave it out"
        )
    return length


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
    correction: Correction = "background",
) -> ActivityDerivative:
    """1 + d ln γ± / d ln c of a 1:1 salt from its radial distribution functions, by Kirkwood and Buff.

    With a solvent 1 / (1 + 2ρ (G_ss - G_so)), without one (ions only, McMillan-Mayer: half the derivative of βΠ by ρ)
    1 / (1 + 2ρ G_ss); G_ss = (G_cc + G_aa + 2 G_ca) / 4, G_so = (G_co + G_ao) / 2 (Ben-Naim, Molecular Theory of
    Solutions (2006), chapter 4). Integrals end at half the box.

    It fails where the tails of g are not flat at half the box: the denominator is a small difference, so that single
    runs of nanoseconds differ by a third. Several runs, or stretches of one, tell: see ``error``.

    Args:
        r: (bins,), centres of equally wide bins in Å, to half the box at least, and `TAIL` Å beyond for the corrections
            "background" and "tail".
        cation_cation: (bins,) or (stretches, bins), radial distribution function; stretches of a run, or several runs,
            give the statistical error.
        cation_anion: likewise.
        anion_anion: likewise.
        density: ion pairs per Å³.
        box_length: Å, edge of the cubic box (cube root of the volume otherwise).
        cation_solvent: likewise; both or none of the two.
        anion_solvent: likewise.
        correction: see `kirkwood_buff`.

    Raises:
        InputError: curves of different shapes, that end before half the box, or with one of the solvent's missing.
    """
    curves: dict[str, Any] = {"cc": cation_cation, "ca": cation_anion, "aa": anion_anion}
    if (cation_solvent is None) != (anion_solvent is None):
        raise InputError("give cation_solvent and anion_solvent, or neither (ions only)")
    if cation_solvent is not None:
        curves |= {"co": cation_solvent, "ao": anion_solvent}
    box_length = checks.positive("box_length", box_length, "Å")
    density = number_density("density", density, "ion pairs")
    check_correction(correction)

    def estimate(integrals: Mapping[str, float]) -> np.ndarray:
        salt, water = salt_integrals(integrals)
        return np.array([1.0 / (1.0 + 2.0 * density * (salt - water)), salt, water])

    # Those of a solvent are not known here: its peaks count as unbound.
    densities = dict.fromkeys(curves, density) | dict.fromkeys([name for name in curves if "o" in name], 0.0)
    found = from_integrals(r, curves, box_length, correction, estimate, densities)
    value, salt, water = found.value
    statistical, spread = float(found.statistical[0]), float(found.truncation[0])
    error = math.hypot(spread, statistical)
    known = error if math.isfinite(error) else spread
    if known > NOISY * abs(value) or value <= 0.0:
        what = "the solution is not stable" if value <= 0.0 else "noise"
        checks.caution(
            f"activity derivative: {plus_minus(value, error)} ({what}); the run is too short, or the box of "
            f"{box_length:.1f} Å too small, for its Kirkwood-Buff integrals"
        )
    integrals = {"salt-salt": float(salt)} | ({"salt-solvent": float(water)} if cation_solvent is not None else {})
    return ActivityDerivative(float(value), error, statistical, spread, found.freedom, integrals)
