"""Sections of the report on motion: diffusion, conductivity, residence times, viscosity, velocities."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.cli.experiment import DIFFUSION, WATER_VISCOSITY, limiting_conductivity
from jaxelyte.cli.page import Answer, Section, add_note, attempt, needs
from jaxelyte.cli.sample import Sample
from jaxelyte.errors import InputError
from jaxelyte.observables.series import spread
from jaxelyte.plots.palette import element_color
from jaxelyte.plots.style import BLACK, band, labelled, level, new_axes, png
from jaxelyte.units import LITER
from jaxelyte.wording import plus_minus

FRICTIONLESS = "there is no solvent to brake the ions, so that they do not move as in a solution"

DENSE = 10.0
"""fs between frames, beyond which velocities say nothing about vibrations."""

CERTAIN = 0.2
"""Relative error of a run's viscosity, up to which it corrects diffusion for the finite cell."""

STRETCH = (2500.0, 4500.0)
"""1/cm, where O-H vibrates: at 3,400 1/cm in liquid water."""


def diffusion(sample: Sample) -> Section:
    """Self-diffusion coefficients by Einstein's relation."""
    from jaxelyte.observables import diffusivity

    section = Section(
        "Self-diffusion",
        ("species", "D / 1e-9 m²/s", "of it, finite-size correction", "MSD ~ t^", "experiment, infinite dilution"),
    )
    section.content = {}
    _note_thermostat(sample, section)
    thickness, axes = _thickness(sample, section), None
    for name in (s for s in sample.species if s != "H"):

        def one(name: str = name) -> Any:
            return diffusivity(
                sample.trajectory,
                name,
                viscosity=thickness,
                temperature=sample.temperature,
                discard=sample.discard,
                fit=sample.fit,
                stretches=sample.stretches,
            )

        found = attempt(one, section, name)
        if found is None:
            continue
        known = DIFFUSION.get(name) if sample.solvent else None
        moves, value = math.isfinite(found.value), plus_minus(found.value * 1e9, found.error * 1e9)
        section.rows.append(
            (
                name,
                value if moves else "not diffusive",
                "none" if thickness is None else f"{found.correction * 1e9:.3f}",
                f"{found.exponent:.2f}",
                "" if known is None else f"{known}",
            )
        )
        if moves:
            measured = "" if known is None else f"{known}e-9 m²/s at infinite dilution, 25 °C"
            section.answers.append(
                Answer(f"self-diffusion of {name}", plus_minus(found.value, found.error, unit="m²/s"), measured)
            )
        section.content[name] = {
            "value_m2_s": finite(found.value),
            "error_m2_s": finite(found.error),
            "correction_m2_s": found.correction,
            "exponent": found.exponent,
        }
        axes = found.plot(axes)
    if axes is not None:
        section.pictures.append(("mean squared displacements; thick: window of the fit", png(axes)))
    return _warned(sample, section)


def _note_thermostat(sample: Sample, section: Section) -> None:
    """A note where the thermostat of the run changes the motion of atoms."""
    from jaxelyte.observables.provenance import changed_motion

    if text := changed_motion(sample.ensemble):
        add_note(section, text)


def _thickness(sample: Sample, section: Section) -> float | None:
    """Viscosity in Pa s for the finite-size correction: as given, or of the run; a note says which, and why not.

    Without one, D is not corrected, and the note gives the size of the correction with the viscosity of water.
    """
    from jaxelyte.observables.diffusion import finite_size_correction

    if sample.viscosity is not None:
        section.notes.append(
            f"corrected for the finite cell with the given viscosity of {1e3 * sample.viscosity:g} mPa s"
        )
        return sample.viscosity
    own = _own_viscosity(sample)
    if own is not None:
        value, error = own
        text = plus_minus(1e3 * value, 1e3 * error, unit="mPa s")
        section.notes.append(f"corrected for the finite cell with the viscosity of the run, {text}")
        return value
    if sample.solvent is None or sample.temperature is None or not all(sample.trajectory.pbc):
        return None
    cell = sample.trajectory.cells.reshape(-1, 3, 3).mean(axis=0)
    size = 1e9 * finite_size_correction(cell, sample.temperature, 1e-3 * WATER_VISCOSITY)
    section.notes.append(
        "not corrected for the finite cell: that takes the viscosity of the solution, which the run does not "
        "give; pass "
        f"--viscosity in Pa s. With that of water at 25 °C, {WATER_VISCOSITY:.2f} mPa s by experiment, it would add "
        f"{size:.2g}e-9 m²/s to each D"
    )
    return None


def _own_viscosity(sample: Sample) -> tuple[float, float] | None:
    """Viscosity of a run that recorded its pressure, with an error of at most `CERTAIN`; in Pa s."""
    from jaxelyte.observables import viscosity
    from jaxelyte.observables.viscosity import pressure_of

    if sample.ions_alone:
        return None
    aside = Section("", ())
    found = attempt(lambda: viscosity(pressure_of(sample), temperature=sample.kelvin, volume=sample.volume), aside)
    if found is None or aside.notes or not found.error <= CERTAIN * found.value:
        return None
    return found.value, found.error


def conduction(sample: Sample) -> Section:
    """Ionic conductivity and transport numbers."""
    from jaxelyte.observables import conductivity

    section = Section("Ionic conductivity", ("quantity", "value", "experiment"))
    charges = sample.charges
    if not charges:
        return needs(section, sample.no_charges)
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
    _note_thermostat(sample, section)
    free = plus_minus(found.nernst_einstein, found.nernst_einstein_error, unit="S/m")
    section.rows.append(("σ, correlations included", plus_minus(found.value, found.error, unit="S/m"), ""))
    molar = {name: sample.symbols.count(name) / sample.volume / LITER for name in charges}
    known = limiting_conductivity(dict(charges), molar) if sample.solvent else None
    beside = "" if known is None else f"{known:.1f} S/m with the D of infinite dilution"
    section.rows.append(("σ, independent ions", free, beside))
    for name, share, error in zip(found.species, found.transport, found.transport_error, strict=True):
        section.rows.append((f"transport number of {name}", plus_minus(share, error), ""))
    section.answers.append(Answer("ionic conductivity", plus_minus(found.value, found.error, unit="S/m"), beside))
    section.content = {
        "value_S_m": found.value,
        "error_S_m": finite(found.error),
        "nernst_einstein_S_m": found.nernst_einstein,
        "transport_numbers": dict(zip(found.species, found.transport.tolist(), strict=True)),
    }
    section.pictures.append(("mean squared displacement of the charge; thick: window of the fit", png(found.plot())))
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
        far = found.value > found.lags[-1]
        time = plus_minus(found.value / 1e3, found.error / 1e3, unit="ps")
        if far:
            section.notes.append(
                f"{ion}: τ is extrapolated from lags up to {found.lags[-1] / 1e3:.3g} ps, in which "
                f"{1.0 - found.survival[-1]:.0%} of the {solvent} left"
            )
        if math.isfinite(found.value):
            section.answers.append(Answer(f"residence of {solvent} at {ion}", time + " (extrapolated)" * bool(far)))
        section.content[ion] = {
            "residence_time_fs": [finite(found.value), finite(found.error)],
            "integral_fs": [finite(found.integral), finite(found.integral_error)],
            "number": [found.number, finite(found.number_error)],
            "r_max_A": edge,
        }
        section.pictures.append((f"{solvent} at {ion}: share that is still there", png(found.plot())))
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
    section.answers.append(Answer("shear viscosity", value, known))
    section.content = {"value_Pa_s": found.value, "error_Pa_s": finite(found.error)}
    section.pictures.append(("running Green–Kubo integral of the stress, and the result", png(found.plot())))
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
        value, error = attempt(found.diffusivity, section)
        known = DIFFUSION.get(name) if sample.solvent else None
        beside = "" if known is None else f"{known}e-9 m²/s at infinite dilution"
        text = "not diffusive" if math.isnan(value) else plus_minus(value, error, unit="m²/s")
        row = (f"D of {name} by Green and Kubo", text, beside)
        section.rows.append(row)
        section.content[name] = {"green_kubo_m2_s": [finite(value), finite(error)]}
        axes = new_axes(axes)
        color = element_color(name)
        start = found.value[0]
        band(axes, found.lags, found.value / start, found.error / start, color=color, label=name)
    if axes is not None:
        level(axes, 0.0)
        axes.set_xlim(0.0, None)
        labelled(axes, "lag / fs", "velocity autocorrelation / its value at 0")
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
    band(axes, at[shown], 1e3 * density[shown], 1e3 * spread(rows)[shown], color=BLACK)
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
