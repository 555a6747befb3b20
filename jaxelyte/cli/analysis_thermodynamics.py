"""Sections of the report on thermodynamics: Kirkwood-Buff integrals, activity, osmotic coefficient; beside Pitzer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import units
from jaxelyte.arrays import finite
from jaxelyte.cli.experiment import pitzer
from jaxelyte.cli.page import Answer, Section, attempt, needs
from jaxelyte.cli.sample import Salt, Sample
from jaxelyte.plots.style import png
from jaxelyte.wording import plus_minus

if TYPE_CHECKING:
    from jaxelyte.observables import RDFResult
    from jaxelyte.theory import IonModel

BEYOND = 2.1
"""Å beyond half the box, to where Kirkwood-Buff integrals need distribution functions, and a bin more."""

GRID = np.arange(0.5, 12.0001, 0.02)
"""Å, of tables of pair potentials."""

WALL = 20.0
"""k_B T: no two ions pass a wall of their pair potential that is higher than this, so that what lies behind it does not
matter. Networks have pockets there, of which no frame knows."""

MOST = 8
"""Replicas that are named in a legend."""

CLIMB = (0.05, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0)
"""mol/L on the way to a concentration, where theories start from dilute solutions."""


def activity(sample: Sample) -> Section:
    """Kirkwood-Buff integrals of ions and solvent, and the activity derivative that follows."""
    from jaxelyte.observables import activity_derivative, kirkwood_buff, rdf

    section = Section("Kirkwood-Buff integrals and activity", ("quantity", "value", "experiment (Pitzer, 25 °C)"))
    salt = attempt(lambda: sample.salt, section, "activity")
    if salt is None:
        return section
    edge = sample.volume ** (1.0 / 3.0)
    pairs = [(salt.cation, salt.cation), (salt.cation, salt.anion), (salt.anion, salt.anion)]
    pairs += [(salt.cation, sample.solvent), (salt.anion, sample.solvent)] if sample.solvent else []

    def integrals() -> tuple[RDFResult, Any]:
        wide = rdf(sample.trajectory, pairs=pairs, r_max=0.5 * edge + BEYOND, discard=sample.discard)
        return wide, kirkwood_buff(wide)

    both = attempt(integrals, section, "Kirkwood-Buff integrals")
    if both is None:
        return section
    wide, found = both
    for (a, b), value, error in zip(found.pairs, found.value, found.error, strict=True):
        text = plus_minus(value, error, unit="Å³") if math.isfinite(value) else "not sampled"
        section.rows.append((f"G of {a}-{b}, to half the box", text, ""))
    section.content = {
        "integrals_A3": {
            "-".join(pair): [finite(v), finite(e)]
            for pair, v, e in zip(found.pairs, found.value, found.error, strict=True)
        }
    }
    section.pictures.append(("Kirkwood-Buff integrals against their upper limit", png(found.plot())))
    names = ("cation_cation", "cation_anion", "anion_anion", "cation_solvent", "anion_solvent")
    curves: dict[str, Any] = {name: wide.stretches[:, n] for n, name in enumerate(names[: len(pairs)])}
    result = attempt(
        lambda: activity_derivative(r=wide.r, **curves, density=salt.density, box_length=edge), section, "derivative"
    )
    if result is None:
        return section
    known = pitzer(salt.name, salt.molarity)
    beside = ""
    if known is not None:
        beside = f"{known.derivative if sample.solvent else known.derivative_mm:.2f}"
    derivative = plus_minus(result.value, result.error)
    section.rows.append(("1 + d ln γ±/d ln c", derivative, beside))
    measured = f"{beside} by Pitzer's equations, 25 °C" if beside else ""
    section.answers.append(Answer("activity derivative 1 + d ln γ±/d ln c", derivative, measured))
    section.content["derivative"] = {
        "value": result.value,
        "error": finite(result.error),
        "statistical": finite(result.statistical),
        "truncation": finite(result.truncation),
        "experiment": float(beside) if beside else None,
        "molarity_mol_L": salt.molarity,
    }
    return section


def osmotic(sample: Sample) -> Section:
    """Osmotic coefficient of ions alone by the virial, beside the hypernetted chain of their pair potential.

    The pressure of ions without their solvent is the osmotic pressure of McMillan and Mayer, φ = P V / (N k_B T). With
    an explicit solvent the pressure is that of the whole solution and says nothing about φ.
    """
    title = "Osmotic coefficient of ions alone (McMillan-Mayer)"
    section = Section(title, ("by", "φ", "γ±", "1 + d ln γ±/d ln c"))
    section.content = {}
    if not sample.ions_alone:
        return needs(section, "the pressure of a run is osmotic only where ions are alone, without their solvent")
    virial = attempt(lambda: _virial(sample), section, "virial")
    if virial is not None:
        times, traces, value, error, ideal = virial
        section.rows.append(("the virial of the run", plus_minus(value, error), "", ""))
        section.answers.append(_osmotic_answer(sample, value, error))
        section.content["virial"] = {"osmotic": value, "error": finite(error), "ideal_GPa": ideal}
        section.pictures.append(("running mean of φ", png(_running(times, traces, value, error))))
    salt = attempt(lambda: sample.salt, section)
    if salt is None:
        return section
    chain = attempt(lambda: _chain(sample, salt), section, "hypernetted chain")
    if chain is not None:
        numbers = (chain.osmotic, chain.activity, chain.derivative)
        section.rows.append(("hypernetted chain, pair potential of the run", *(f"{x:.3f}" for x in numbers)))
        section.content["hypernetted_chain"] = dict(
            zip(("osmotic", "activity", "derivative"), map(float, numbers), strict=True)
        )
        section.pictures.append(("distribution functions of the hypernetted chain", png(chain.plot())))
    known = pitzer(salt.name, salt.molarity)
    if known is not None:
        activity = known.activity / _room(known.osmotic, known.osmotic_mm)
        numbers = (known.osmotic_mm, activity, known.derivative_mm)
        section.rows.append((f"experiment, {known.molality:.2f} mol/kg, on this scale", *(f"{x:.3f}" for x in numbers)))
        section.rows.append(("experiment, molal scale", f"{known.osmotic:.3f}", f"{known.activity:.3f}", ""))
        section.content["experiment"] = known._asdict()
    return section


def _osmotic_answer(sample: Sample, value: float, error: float) -> Answer:
    """The osmotic coefficient of a run, beside experiment on its scale."""
    salt = attempt(lambda: sample.salt, Section("", ()))
    known = None if salt is None else pitzer(salt.name, salt.molarity)
    measured = "" if known is None else f"{known.osmotic_mm:.3f} by Pitzer's equations, 25 °C"
    return Answer("osmotic coefficient φ, McMillan-Mayer", plus_minus(value, error), measured)


def _virial(sample: Sample) -> tuple[np.ndarray, np.ndarray, float, float, float]:
    """Times in fs, φ at each (samples, replicas), mean, standard error, and the ideal pressure in GPa."""
    from jaxelyte.observables import standard_error
    from jaxelyte.observables.viscosity import pressure_of

    ideal = len(sample.symbols) * units.BOLTZMANN * sample.kelvin / sample.volume * units.EV_PER_A3_IN_GPA
    series = pressure_of(sample)
    traces = series.values[..., :3].mean(axis=-1) / ideal
    return series.times, traces, float(traces.mean()), float(standard_error(traces)), ideal


def _room(osmotic: float, osmotic_mm: float) -> float:
    """γ_m over γ of McMillan and Mayer: (1 - c V) exp(-φ c V), 1 - c V being the ratio of osmotic coefficients."""
    room = osmotic / osmotic_mm
    return room * float(np.exp(-osmotic_mm * (1.0 - room)))


def _running(times: np.ndarray, traces: np.ndarray, value: float, error: float) -> Any:
    """Mean of φ from the start of the averages on, of each replica."""
    from jaxelyte.plots.style import COLORS, labelled, new_axes

    axes = new_axes()
    count = np.arange(1, len(traces) + 1)
    step = max(1, len(traces) // 1000)
    for replica in range(traces.shape[1]):
        mean = np.cumsum(traces[:, replica]) / count
        color, label = COLORS[replica % len(COLORS)], f"replica {replica}" if traces.shape[1] <= MOST else None
        axes.plot(times[::step] / 1e3, mean[::step], color=color, linewidth=1.0, label=label)
    wide = max(error, 1e-3) if math.isfinite(error) else 0.05 * abs(value)
    if math.isfinite(error):
        label = f"mean of all: {plus_minus(value, error)}"
        axes.axhspan(value - error, value + error, color="#cccccc", zorder=0, label=label)
    spread = 6.0 * wide * np.sqrt(traces.shape[1])
    axes.set_ylim(value - spread, value + spread)
    return labelled(axes, "time / ps", "running mean of φ", beside=True)


def _chain(sample: Sample, salt: Salt) -> Any:
    model = ion_model(sample, salt)
    way = [c for c in CLIMB if c < 0.9 * salt.molarity]
    return model.hnc_curve([*way, salt.molarity])[-1]


def ion_model(sample: Sample, salt: Salt) -> IonModel:
    """The ions of a run for the theories: energies of pairs, without the Coulomb term, as tables in k_B T.

    Energies of a network with more than pairs in it are those of a pair alone.

    Raises:
        InputError: the run does not say what its potential was, or the potential cannot be read.
    """
    from jaxelyte.cli.short_range import pair_tables
    from jaxelyte.theory import IonModel

    pairs = ((salt.cation, salt.cation), (salt.cation, salt.anion), (salt.anion, salt.anion))
    scale = units.BOLTZMANN * sample.kelvin
    tables = {pair: table / scale for pair, table in pair_tables(sample.config, pairs, GRID).items()}
    begins = {pair: int(np.max(np.flatnonzero(table >= WALL), initial=-1)) + 1 for pair, table in tables.items()}
    for pair, table in tables.items():
        table[: begins[pair]] = 10.0 * WALL
    open_at = min(begins.values())
    return IonModel(
        {salt.cation: 1.0, salt.anion: -1.0},
        short_range=(GRID[open_at:], {pair: table[open_at:] for pair, table in tables.items()}),
        permittivity=sample.permittivity,
        temperature=sample.kelvin,
    )
