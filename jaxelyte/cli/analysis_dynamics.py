"""Sections of the report on motion: diffusion, conductivity, residence times, viscosity, velocities."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.cli.experiment import DIFFUSION, WATER_VISCOSITY, limiting_conductivity
from jaxelyte.cli.page import Section, attempt, needs
from jaxelyte.cli.sample import LITER, Sample
from jaxelyte.errors import InputError
from jaxelyte.observables.series import spread
from jaxelyte.plots.style import COLORS, band, new_axes, png
from jaxelyte.wording import plus_minus

FRICTIONLESS = "there is no solvent to brake the ions, so that they do not move as in a solution"

DENSE = 10.0
"""fs between frames, beyond which velocities say nothing about vibrations."""

STRETCH = (2500.0, 4500.0)
"""1/cm, where O-H vibrates: at 3,400 1/cm in liquid water."""


def diffusion(sample: Sample) -> Section:
    """Self-diffusion coefficients by Einstein's relation."""
    from jaxelyte.observables import diffusivity

    section = Section(
        "Self-diffusion", ("species", "D / 1e-9 m²/s", "of it for the finite cell", "MSD ~ t^", "at infinite dilution")
    )
    section.content = {}
    for name in (s for s in sample.species if s != "H"):

        def one(name: str = name) -> Any:
            return diffusivity(
                sample.trajectory,
                name,
                viscosity=sample.viscosity,
                temperature=sample.temperature,
                discard=sample.discard,
                fit=sample.fit,
                stretches=sample.stretches,
            )

        found = attempt(one, section, name)
        if found is None:
            continue
        known = DIFFUSION.get(name) if sample.solvent else None
        section.rows.append(
            (
                name,
                "not diffusive" if math.isnan(found.value) else plus_minus(found.value * 1e9, found.error * 1e9),
                f"{found.correction * 1e9:.3f}"
                if sample.viscosity is not None
                else "not corrected (no viscosity given)",
                f"{found.exponent:.2f}",
                "" if known is None else f"{known}",
            )
        )
        section.content[name] = {
            "value_m2_s": finite(found.value),
            "error_m2_s": finite(found.error),
            "correction_m2_s": found.correction,
            "exponent": found.exponent,
        }
        section.pictures.append((name, png(found.plot())))
    return _warned(sample, section)


def conduction(sample: Sample) -> Section:
    """Ionic conductivity and transport numbers."""
    from jaxelyte.observables import conductivity

    section = Section("Ionic conductivity", ("quantity", "value", "experiment"))
    charges = sample.charges
    if not charges:
        return needs(section, "the charges of the ions are not known; pass --charges, such as Na=1,Cl=-1")
    found = attempt(
        lambda: conductivity(
            sample.trajectory,
            charges,
            temperature=sample.temperature,
            discard=sample.discard,
            fit=sample.fit,
            stretches=sample.stretches,
        ),
        section,
        "conductivity",
    )
    if found is None or math.isnan(found.value):
        return section
    free = plus_minus(found.nernst_einstein, found.nernst_einstein_error, unit="S/m")
    section.rows.append(("σ, correlations included", plus_minus(found.value, found.error, unit="S/m"), ""))
    molar = {name: sample.symbols.count(name) / sample.volume / LITER for name in charges}
    known = limiting_conductivity(dict(charges), molar) if sample.solvent else None
    beside = "" if known is None else f"{known:.1f} S/m with the D of infinite dilution"
    section.rows.append(("σ, independent ions", free, beside))
    for name, share, error in zip(found.species, found.transport, found.transport_error, strict=True):
        section.rows.append((f"transport number of {name}", plus_minus(share, error), ""))
    section.content = {
        "value_S_m": found.value,
        "error_S_m": finite(found.error),
        "nernst_einstein_S_m": found.nernst_einstein,
        "transport_numbers": dict(zip(found.species, found.transport.tolist(), strict=True)),
    }
    section.pictures.append(("displacement of the charge", png(found.plot())))
    return _warned(sample, section)


def residence(sample: Sample) -> Section:
    """How long water stays in the first shell of each ion, which ends at the minimum of its distribution function."""
    from jaxelyte.observables import residence_time

    section = Section(
        "Residence of water at ions", ("ion", "τ / ps", "integral / ps", "waters in the shell", "shell / Å")
    )
    section.content = {}
    solvent = sample.solvent
    if solvent is None or not sample.ions:
        return needs(section, "there is no water around ions in this run")
    for ion in sample.ions:
        edge = attempt(lambda ion=ion: sample.curve(ion, solvent).first_minimum().position, section, ion)
        if edge is None:
            continue
        found = attempt(
            lambda ion=ion, edge=edge: residence_time(
                sample.trajectory, ion, solvent, edge, discard=sample.discard, stretches=sample.stretches
            ),
            section,
            ion,
        )
        if found is None:
            continue
        section.rows.append(
            (
                ion,
                plus_minus(found.value / 1e3, found.error / 1e3),
                plus_minus(found.integral / 1e3, found.integral_error / 1e3),
                plus_minus(found.number, found.number_error),
                f"{edge:.2f}",
            )
        )
        section.content[ion] = {
            "residence_time_fs": [finite(found.value), finite(found.error)],
            "integral_fs": [finite(found.integral), finite(found.integral_error)],
            "number": [found.number, finite(found.number_error)],
            "r_max_A": edge,
        }
        section.pictures.append((ion, png(found.plot())))
    return section


def flow(sample: Sample) -> Section:
    """Shear viscosity, where the run recorded its pressure tensor."""
    from jaxelyte.observables import viscosity
    from jaxelyte.observables.viscosity import pressure_of

    section = Section("Viscosity", ("quantity", "value", "experiment"))
    if sample.ions_alone:
        return needs(section, "there is no solvent, whose viscosity it would be")

    def one() -> Any:
        try:
            series = pressure_of(sample)
        except InputError as error:
            raise InputError(
                'no pressure tensor was recorded; add [observables.pressure] with type = "pressure" to the run file, '
                "and a sample_every of some fs"
            ) from error
        return viscosity(series, temperature=sample.kelvin, volume=sample.volume)

    found = attempt(one, section, "viscosity")
    if found is None:
        return section
    value = plus_minus(found.value * 1e3, found.error * 1e3, unit="mPa s")
    known = f"{WATER_VISCOSITY} mPa s of water at 25 °C" if sample.solvent else ""
    section.rows.append(("shear viscosity", value, known))
    section.content = {"value_Pa_s": found.value, "error_Pa_s": finite(found.error)}
    section.pictures.append(("viscosity", png(found.plot())))
    return section


def vibrations(sample: Sample) -> Section:
    """Velocity autocorrelation functions and the vibrational density of states, where velocities are stored densely."""
    from jaxelyte.observables import vacf

    section = Section("Velocities", ("quantity", "value", "experiment"))
    section.content = {}
    frames = sample.trajectory[sample.discard :]
    if frames.velocities is None:
        return needs(section, "no velocities are stored; set save_velocities = true in [run], and every to 2 fs or so")
    apart = float(np.diff(frames.times[:2])[0]) if len(frames) > 1 else math.nan
    if not apart <= DENSE:
        return needs(section, f"frames are {apart:g} fs apart; 2 fs are needed for O-H, {DENSE:g} fs for ions")
    axes = None
    for name in sample.species:
        found = attempt(lambda name=name: vacf(frames, name), section, name)
        if found is None:
            continue
        value, error = (x * 1e9 for x in attempt(found.diffusivity, section))
        known = DIFFUSION.get(name) if sample.solvent else None
        beside = "" if known is None else f"{known} at infinite dilution"
        text = "not diffusive" if math.isnan(value) else plus_minus(value, error, unit="1e-9 m²/s")
        row = (f"D of {name} by Green and Kubo", text, beside)
        section.rows.append(row)
        section.content[name] = {"green_kubo_m2_s": [finite(value * 1e-9), finite(error * 1e-9)]}
        axes = new_axes(axes)
        color = COLORS[sample.species.index(name) % len(COLORS)]
        start = found.value[0]
        band(axes, found.lags, found.value / start, found.error / start, color=color, label=name)
    if axes is not None:
        axes.set(xlabel="lag / fs", ylabel="velocity autocorrelation / its value at 0", xlim=(0.0, None))
        axes.legend(frameon=False, fontsize=9)
        section.pictures.append(("velocity autocorrelation", png(axes)))
    _density_of_states(sample, frames, section)
    return _warned(sample, section)


def _density_of_states(sample: Sample, frames: Any, section: Section) -> None:
    """Add the spectrum of all atoms with its error from the spread between stretches, and the O-H stretch."""
    from jaxelyte.observables import vacf

    found = attempt(lambda: vacf(frames, weighted=True), section, "density of states")
    if found is None:
        return
    at, density = found.density_of_states()
    rows = np.array([replace(found, value=row).density_of_states()[1] for row in found.stretches])
    shown = at <= STRETCH[1]
    axes = new_axes()
    band(axes, at[shown], 1e3 * density[shown], 1e3 * spread(rows)[shown], color=COLORS[0])
    axes.set(xlabel="wavenumber / 1/cm", ylabel="density of states / 1e-3 cm", xlim=(0.0, STRETCH[1]))
    section.pictures.append(("density of states", png(axes)))
    section.content["density_of_states"] = {
        "wavenumber_1_cm": at[shown].tolist(),
        "density_cm": density[shown].tolist(),
        "error_cm": [finite(x) for x in spread(rows)[shown]],
    }
    inside = (at > STRETCH[0]) & (at < STRETCH[1])
    if sample.solvent and np.any(inside):
        peaks = at[inside][np.argmax(rows[:, inside], axis=1)]
        value, error = float(at[inside][np.argmax(density[inside])]), float(spread(peaks[:, None])[0])
        section.rows.append(("O-H stretch", plus_minus(value, error, unit="1/cm"), "3,400 1/cm, broad, in water"))
        section.content["stretch_1_cm"] = [value, finite(error)]


def _warned(sample: Sample, section: Section) -> Section:
    """The section, with a word on ions without a solvent."""
    if section.rows and sample.ions and sample.solvent is None:
        section.notes.insert(0, FRICTIONLESS)
    return section
