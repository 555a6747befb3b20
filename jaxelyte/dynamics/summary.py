"""What a run amounts to: averages with standard errors, drift, speed, versions."""

from __future__ import annotations

import math
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxelyte.arrays import finite
from jaxelyte.observables.blocks import FEWEST, error_entries, naive_error, of_series
from jaxelyte.observables.fluctuations import responses
from jaxelyte.observables.noise import slope_error
from jaxelyte.units import BAR, EV_PER_A3_IN_GPA, GRAM_PER_CM3, KJ_PER_MOL

if TYPE_CHECKING:
    from jaxelyte.dynamics.engine import Engine
    from jaxelyte.dynamics.integrators import Integrator

PACKAGES = ("jaxelyte", "jax", "jaxlib", "jax-md", "e3nn-jax", "jax-pme", "numpy", "ase")


def summarize(
    engine: Engine, log: dict[str, np.ndarray], timestep: float, *, completed: bool, discard: int
) -> dict[str, Any]:
    """The content of ``summary.json``; every estimate with unit and standard error.

    Args:
        engine: at the end of the run.
        log: its columns.
        timestep: fs.
        completed: all steps were done.
        discard: intervals between rows that are equilibration, unless no row is behind them.
    """
    steps = int(engine.state.step)  # pyright: ignore[reportOptionalMemberAccess]
    thermostat = getattr(engine.settings.integrator, "temperature", None)
    barostat = engine.settings.barostat
    found = averages(
        log,
        engine.systems.positions.shape[1],
        thermostat=thermostat,
        discard=discard,
        pressure=None if barostat is None else barostat.pressure / BAR,
    )
    return {
        "completed": completed,
        "steps": steps,
        "time_ps": steps * timestep / 1000.0,
        "ensemble": _ensemble(engine.settings.integrator),
        **found,
        "performance": performance(engine, timestep),
        "versions": versions(),
    }


def averages(
    log: dict[str, np.ndarray],
    atoms: int,
    *,
    thermostat: float | None,
    discard: int,
    pressure: float | None = None,
) -> dict[str, Any]:
    """Means over the rows of a log, with units and standard errors.

    Args:
        log: its columns.
        atoms: of one replica.
        thermostat: its temperature in K, None for NVE.
        discard: intervals between rows that are equilibration, unless no row is behind them.
        pressure: that the barostat keeps in bar, None for fixed cells.
    """
    # There is a row before the first interval: the one that ends the equilibration belongs to it, as in the loop.
    begin = min(discard + 1 if discard else 0, len(log["step"]) - 1)
    slope, slope_error, slope_bound = conserved_drift(log, atoms)
    drift = {"value": finite(slope)} | error_entries(slope_error, slope_bound, log["conserved"].shape[1] - 1)
    return {
        "frames": len(log["step"]),
        "temperature": _estimate(log["temperature"][begin:], "K") | {"thermostat": thermostat},
        "potential": _estimate(log["potential"][begin:], "eV"),
        **({} if pressure is None else _at_constant_pressure(log, begin, thermostat, pressure)),
        "drift": drift | {"unit": "eV/atom/ns", "of": "conserved quantity"},
        "discarded_frames": begin,
    }


def _at_constant_pressure(
    log: dict[str, np.ndarray], begin: int, thermostat: float | None, pressure: float
) -> dict[str, Any]:
    """Density, volume and enthalpy, and what their fluctuations say; see `jaxelyte.observables.fluctuations`."""
    rows = {name: log[name][begin:] for name in ("volume", "density", "potential", "kinetic")}
    enthalpy = rows["potential"] + rows["kinetic"] + pressure * BAR * rows["volume"]
    entries = {name: _estimate(rows[name], unit) for name, unit in (("volume", "Å³"), ("density", "g/cm³"))}
    entries["volume"] |= {"pressure_bar": pressure}
    entries["enthalpy"] = _estimate(enthalpy, "eV")
    if thermostat is None:
        return entries
    grams = float(np.mean(rows["density"] * rows["volume"])) * GRAM_PER_CM3  # per mole of systems
    units = {"compressibility": (1.0 / EV_PER_A3_IN_GPA, "1/GPa"), "thermal_expansion": (1.0, "1/K")}
    units["heat_capacity"] = (1000.0 / KJ_PER_MOL / grams, "J/(g K)")
    for name, (value, error) in responses(rows["volume"], enthalpy, thermostat).items():
        scale, unit = units[name]
        numbers = error_entries(scale * error.error, scale * error.bound, error.freedom)
        entries[name] = {"value": scale * value} | numbers | {"unit": unit}
    return entries


def _ensemble(integrator: Integrator) -> dict[str, Any]:
    """What acts on the motion of atoms besides their forces: the thermostat by its name, and its friction in 1/fs."""
    friction = getattr(integrator, "friction", None)
    name = "langevin" if friction is not None else None
    if getattr(integrator, "tau", None) is not None:
        name = "svr" if not hasattr(integrator, "massive") else "nose-hoover"
        name += "-massive" if getattr(integrator, "massive", False) else ""
    return {"thermostat": name, "friction": friction}


def _estimate(values: np.ndarray, unit: str) -> dict[str, Any]:
    found = of_series(values)
    error = error_entries(found.error, found.bound, found.freedom)
    return {"value": float(np.mean(values))} | error | {"unit": unit}


def conserved_drift(log: dict[str, np.ndarray], atoms: int) -> tuple[float, float, float]:
    """Slope of the conserved quantity in eV per atom and ns, its standard error, and a lower bound of the error.

    The slope is that of a straight line by least squares, mean over the replicas, and its error that of the spread of
    their slopes. Rounding makes the quantity walk, and in a single trajectory a walk looks like a drift: with fewer
    than four replicas there is no error (NaN), only a bound from the scatter about the line, of noise with the random
    walk that describes it best, see `jaxelyte.observables.noise.slope_error`. The slope is NaN for fewer than three
    rows, the bound for fewer than eight.
    """
    time, rows = log["time"] * 1e-6, len(log["time"])
    if rows < 3:
        return math.nan, math.nan, math.nan
    centered = time - time.mean()
    energy = (log["conserved"] - np.mean(log["conserved"], axis=0)) / atoms
    slopes = centered @ energy / (centered @ centered)
    slope = float(np.mean(slopes))
    if not np.any(energy):
        return slope, 0.0, 0.0
    if len(slopes) >= FEWEST:
        error = float(naive_error(slopes[None]))
        return slope, error, error
    return slope, math.nan, slope_error(energy) / (time[1] - time[0]) if rows >= 2 * FEWEST else math.nan


def performance(engine: Engine, timestep: float) -> dict[str, Any]:
    """Speed of a run, compilation apart."""
    timing, (replicas, atoms) = engine.timing, engine.systems.positions.shape[:2]
    seconds = timing.seconds_per_step
    return {
        "ms_per_step": seconds * 1e3,
        "ns_per_day": ns_per_day(timestep, seconds),
        "atom_steps_per_s": atoms * replicas / seconds,
        "first_call_s": timing.compile,
        "compilations": timing.compilations,
        "repeated_chunks": timing.repeats,
        "list_builds": int(engine.state.lists.builds),  # pyright: ignore[reportOptionalMemberAccess]
    }


def ns_per_day(timestep: float, seconds_per_step: float) -> float:
    """Simulated nanoseconds per day of wall time, of each replica."""
    return timestep * 1e-6 * 86400.0 / seconds_per_step if seconds_per_step > 0 else math.nan


def versions() -> dict[str, str]:
    """Hardware and software that a figure belongs to."""
    found = {"python": platform.python_version(), "device": jax.devices()[0].device_kind, "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found
