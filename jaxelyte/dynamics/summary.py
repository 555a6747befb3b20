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
from jaxelyte.observables.noise import slope_error

if TYPE_CHECKING:
    from jaxelyte.dynamics.engine import Engine

CELL_UNITS = {"volume": "Å³", "density": "g/cm³"}
"""Averages where the cell changes."""

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
    found = averages(log, engine.systems.positions.shape[1], thermostat=thermostat, discard=discard)
    return {
        "completed": completed,
        "steps": steps,
        "time_ps": steps * timestep / 1000.0,
        **found,
        "performance": performance(engine, timestep),
        "versions": versions(),
    }


def averages(log: dict[str, np.ndarray], atoms: int, *, thermostat: float | None, discard: int) -> dict[str, Any]:
    """Means over the rows of a log, with units and standard errors.

    Args:
        log: its columns.
        atoms: of one replica.
        thermostat: its temperature in K, None for NVE.
        discard: intervals between rows that are equilibration, unless no row is behind them.
    """
    # There is a row before the first interval: the one that ends the equilibration belongs to it, as in the loop.
    begin = min(discard + 1 if discard else 0, len(log["step"]) - 1)
    slope, slope_error, slope_bound = conserved_drift(log, atoms)
    drift = {"value": finite(slope)} | error_entries(slope_error, slope_bound, log["conserved"].shape[1] - 1)
    return {
        "frames": len(log["step"]),
        "temperature": _estimate(log["temperature"][begin:], "K") | {"thermostat": thermostat},
        "potential": _estimate(log["potential"][begin:], "eV"),
        **{name: _estimate(log[name][begin:], unit) for name, unit in CELL_UNITS.items() if name in log},
        "drift": drift | {"unit": "eV/atom/ns", "of": "conserved quantity"},
        "discarded_frames": begin,
    }


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
