"""Sections of the report on structure: distribution functions, forces between ions, scattering, angles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.cli.experiment import PEAKS
from jaxelyte.cli.page import Answer, Section, attempt, needs
from jaxelyte.cli.sample import Sample
from jaxelyte.plots.distributions import rdf_panels
from jaxelyte.plots.style import png
from jaxelyte.wording import plus_minus

if TYPE_CHECKING:
    from jaxelyte.observables import StructureFactorResult

WELLS = ("contact", "barrier", "separated")
WELL = ("position_A", "position_error_A", "energy_eV", "energy_error_eV")

K_MAX, K_WIDTH = 10.0, 0.1
"""1/Å, of structure factors."""

NO_DENSITY = (
    "the frames are not periodic in all directions, and have no density that g(r) could be compared with; pass --cell "
    "if the file only lacks it"
)

FEW = 3
"""Pairs at the top of the report where none of them was measured."""

BROAD, TOP = 0.7, 0.85
"""1/Å, width from which a peak of S(k) may be two that are not resolved, at this share of its height above one."""

FIRST = (1.0, 4.0)
"""1/Å, where the peaks of the liquid lie; beyond it those of molecules."""

WORK = 5e11
"""Operations that a structure factor may take, about a minute on one core; frames are thinned until it does."""

HEAVY = {"H": "D"}
"""Neutrons are shown heavy water: the scattering of light water is incoherent for the most part."""


def structure(sample: Sample) -> Section:
    """First peaks and coordination numbers of all pairs asked for."""
    from jaxelyte.cli.report import absent, rdf_rows

    section = Section("Structure", ("pair", "first peak / Å", "coordination number", "experiment / Å"))
    if sample.result is None:
        return needs(section, NO_DENSITY)
    rows = rdf_rows(sample.result)
    for row in rows:
        peak, shell, known = row["peak_position_A"], row["coordination"], PEAKS.get(row["pair"])
        section.rows.append(
            (
                row["pair"],
                absent(row) if peak is None else plus_minus(*peak),
                absent(row) if shell is None else f"{plus_minus(*shell[:2])} (to {shell[2]:.2f} Å)",
                "" if known is None else f"{known.position:g}",
            )
        )
    section.content = [
        {k: [finite(x) for x in v] if isinstance(v, list) else v for k, v in row.items()} for row in rows
    ]
    measured = [row for row in rows if row["pair"] in PEAKS]
    for row in measured or rows[:FEW]:
        _answers_of_pair(row, section)
    picture = png(rdf_panels(sample.result)[0, 0])
    section.pictures.append(("radial distribution functions g(r), and neighbours n(r) within r", picture))
    return section


def _answers_of_pair(row: dict[str, Any], section: Section) -> None:
    """First peak and coordination number of a pair for the top of the report, beside a measurement if there is one."""
    known, peak, shell = PEAKS.get(row["pair"]), row["peak_position_A"], row["coordination"]
    first, second = row["pair"].split("-")
    if peak is not None:
        measured = "" if known is None else f"{known.position:g} Å, {known.source}"
        section.answers.append(Answer(f"{first}–{second} distance", plus_minus(*peak, unit="Å"), measured))
    if shell is not None:
        number = f"{plus_minus(*shell[:2])} within {shell[2]:.2f} Å"
        section.answers.append(Answer(f"{second} around {first}", number, "" if known is None else known.neighbors))


def forces(sample: Sample) -> Section:
    """Potentials of mean force between ions, from their distribution functions."""
    from jaxelyte.observables import pmf

    section = Section("Potentials of mean force between ions", ("pair", "first well", "barrier", "second well"))
    section.content = {}
    charges, result = sample.charges, sample.result
    if result is None:
        return needs(section, NO_DENSITY)
    if not charges:
        return needs(section, sample.no_charges)
    for number, pair in enumerate(result.pairs):
        if not all(s in charges for s in pair):
            continue
        name = "-".join(pair)

        def one(number: int = number) -> Any:
            return pmf(result[number], sample.kelvin, charges=charges, permittivity=sample.permittivity)

        if not np.any(result[number].g > 0):
            section.rows.append((name, *("not sampled" for _ in WELLS)))
            section.content[name] = dict.fromkeys(WELLS)
            continue
        found = attempt(one, section, name)
        if found is None:
            continue
        wells = [attempt(lambda which=which, found=found: getattr(found, which), section) for which in WELLS]
        section.rows.append((name, *("none" if well is None else str(well) for well in wells)))
        section.content[name] = {
            which: None if well is None else dict(zip(WELL, map(finite, well), strict=True))
            for which, well in zip(WELLS, wells, strict=True)
        }
        section.pictures.append((f"{name}; dashed: without screened Coulomb", png(found.plot())))
    if section.pictures and "relative permittivity" in sample.provenance:
        section.notes.append(f"relative permittivity {sample.provenance['relative permittivity']}")
    return section


def scattering(sample: Sample) -> Section:
    """Structure factors: partials, and totals as X-rays and neutrons see them."""
    from jaxelyte.observables import structure_factor

    section = Section("Structure factor", ("what", "k / 1/Å", "S(k)", "experiment / 1/Å"))
    frames = sample.trajectory[sample.discard :]
    step = attempt(lambda: _thinning(sample, len(frames) * frames.replicas), section, "structure factor")
    if step is None:
        return section
    found = attempt(lambda: structure_factor(frames[::step], k_max=K_MAX, width=K_WIDTH), section, "structure factor")
    if found is None:
        return section
    if step > 1:
        section.notes.append(f"one frame in {step}, which is as much as fits into a minute")
    section.pictures.append(("partial structure factors", png(found.plot())))
    section.content = {"k_1_A": found.k.tolist(), "totals": {}}
    if sample.ions and sample.solvent is None:
        section.notes.append("no totals of ions without their solvent: no experiment sees them")
        _ions_alone(sample, found, section)
        return section
    ions = {name: f"{name}{'+' if q > 0 else '-'}" for name, q in (sample.charges or {}).items() if abs(q) == 1.0}
    for kind, scatterers in (("x-ray", ions), ("neutron", HEAVY if sample.solvent else {})):
        _total(found, kind, scatterers, sample, section)
    return section


def _total(
    found: StructureFactorResult, kind: Any, scatterers: dict[str, str], sample: Sample, section: Section
) -> None:
    """Add the total of one kind of radiation, and its highest peak with a jackknife error."""
    from jaxelyte.observables.blocks import jackknife
    from jaxelyte.observables.scattering import scattering_factors, total_weights

    one = attempt(lambda: found.weighted(kind, scatterers=scatterers), section, kind)
    if one is None:
        return
    weights = total_weights(scattering_factors(found.species, found.k, kind, scatterers=scatterers), found.counts)
    count = len(found.stretches)

    def peak(partials: np.ndarray) -> np.ndarray:
        return _highest(found.k, 1.0 + np.sum(weights * (partials - found.alike[:, None]), axis=0))

    _, error = jackknife(found.stretches / max(count, 1), lambda total: peak(total * count / max(count - 1, 1)))
    k, height = peak(found.value)
    label = f"{kind}, highest peak" + (" (D for H)" if scatterers == HEAVY else "")
    known = "2.0 and 3.0 in water, a double peak" if sample.solvent and kind == "x-ray" else ""
    low, high = _top(found.k, one.total, k, height)
    if high - low > BROAD:
        place = f"{low:.2f} to {high:.2f}, broad: two peaks may not be resolved"
        section.rows.append((label, place, plus_minus(height, error[1]), known))
        k, error[0] = math.nan, math.nan
    else:
        section.rows.append((label, plus_minus(k, error[0]), plus_minus(height, error[1]), known))
    section.pictures.append((f"{kind} total", png(one.plot())))
    section.content["totals"][kind] = {
        "peak_1_A": [finite(k), finite(error[0])],
        "top_1_A": [low, high],
        "height": [height, finite(error[1])],
        "S": [finite(x) for x in one.total],
        "error": [finite(x) for x in one.total_error],
    }


def _ions_alone(sample: Sample, found: StructureFactorResult, section: Section) -> None:
    """Number fluctuations of all ions at the longest wave, which tend to 1/(1 + d ln γ±/d ln c)."""
    salt = attempt(lambda: sample.salt, section)
    if salt is None:
        return
    from jaxelyte.observables.blocks import FEWEST, naive_error

    names = [(salt.cation, salt.cation), (salt.anion, salt.anion), (salt.cation, salt.anion)]
    where = [next(n for n, pair in enumerate(found.pairs) if set(pair) == set(name)) for name in names]
    mix = np.array([0.5, 0.5, 1.0])
    value, parts = float(mix @ found.value[where, 0]), found.stretches[:, where, 0] @ mix
    error = float(naive_error(parts[:, None])) if len(parts) >= FEWEST else float("nan")
    section.rows.append(
        ("all ions, longest wave", f"{found.k[0]:.3f}", plus_minus(value, error), "1/(1 + d ln γ±/d ln c) as k → 0")
    )
    section.content["ions_at_longest_wave"] = {"k_1_A": float(found.k[0]), "S": value, "error": finite(error)}


def _thinning(sample: Sample, frames: int) -> int:
    """Take every n-th frame, so that a structure factor stays within `WORK`."""
    vectors = sample.volume * K_MAX**3 / (12.0 * np.pi**2)
    pairs = len(sample.species) * (len(sample.species) + 1) // 2
    each = vectors * (8 * len(sample.symbols) + 2 * (pairs + 1) * K_MAX / K_WIDTH)
    return max(1, int(np.ceil(frames * each / WORK)))


def _highest(k: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Position and height of the highest point within `FIRST`, by a parabola through the five bins around it."""
    inside = np.flatnonzero((k >= FIRST[0]) & (k <= FIRST[1]))
    at = int(inside[np.argmax(total[inside])])
    near = slice(max(0, at - 2), at + 3)
    curve = np.polynomial.Polynomial.fit(k[near], total[near], 2)
    fine = np.linspace(k[near][0], k[near][-1], 401)
    best = int(np.argmax(curve(fine)))
    return np.array([fine[best], curve(fine[best])])


def _top(k: np.ndarray, total: np.ndarray, place: float, height: float) -> tuple[float, float]:
    """1/Å, between which S(k) around its highest peak stays above `TOP` of its height above one."""
    above = total - 1.0 > TOP * (height - 1.0)
    at = int(np.argmin(np.abs(k - place)))
    below = np.flatnonzero(~above)
    first, last = below[below < at], below[below > at]
    return float(k[first[-1] + 1 if len(first) else 0]), float(k[last[0] - 1 if len(last) else -1])


def shell_angles(sample: Sample) -> Section:
    """Angles between two neighbours of an ion in its first shell."""
    from jaxelyte.observables import angles

    section = Section("Angles in the first shell of ions", ("angle", "mean / °", "most frequent / °", "shell / Å"))
    section.content = {}
    solvent = sample.solvent
    if solvent is None or not sample.ions:
        return needs(section, "there is no water around ions in this run")
    for ion in sample.ions:
        name = f"{solvent}-{ion}-{solvent}"
        edge = attempt(lambda ion=ion: sample.curve(ion, solvent).first_minimum().position, section, name)
        if edge is None:
            continue
        found = attempt(
            lambda ion=ion, edge=edge: angles(
                sample.trajectory, (solvent, ion, solvent), r_max=edge, bins=90, discard=sample.discard
            ),
            section,
            name,
        )
        if found is None or not np.any(np.isfinite(found.value)):
            continue
        top = int(np.nanargmax(found.value))
        section.rows.append((name, plus_minus(found.mean, found.mean_error), f"{found.theta[top]:.0f}", f"{edge:.2f}"))
        section.content[name] = {
            "mean_deg": [found.mean, finite(found.mean_error)],
            "most_frequent_deg": float(found.theta[top]),
            "r_max_A": edge,
        }
        section.pictures.append((name, png(found.plot())))
    return section
