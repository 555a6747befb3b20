"""What a run amounts to: averages with standard errors, drift, speed, versions."""

from __future__ import annotations

import math
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxelyte.observables.blocks import standard_error

if TYPE_CHECKING:
    from jaxelyte.dynamics.engine import Engine

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
        discard: rows that the averages leave out as equilibration, unless no other is there.
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
        discard: rows that are left out as equilibration, unless no other is there.
    """
    begin = min(discard, len(log["step"]) - 1)
    slope, slope_error = conserved_drift(log, atoms)
    return {
        "frames": len(log["step"]),
        "temperature": _estimate(log["temperature"][begin:], "K") | {"thermostat": thermostat},
        "potential": _estimate(log["potential"][begin:], "eV"),
        "drift": {"value": slope, "error": slope_error, "unit": "eV/atom/ns", "of": "conserved quantity"},
        "discarded_frames": begin,
    }


def _estimate(values: np.ndarray, unit: str) -> dict[str, Any]:
    return {"value": float(np.mean(values)), "error": float(standard_error(values)), "unit": unit}


def conserved_drift(log: dict[str, np.ndarray], atoms: int) -> tuple[float, float]:
    """Slope of the conserved quantity in eV per atom and ns, mean over replicas, and its standard error.

    A slope is the mean of (t - <t>) e / var(t); the correlated residuals of e about the line give its error by blocks.
    NaN for fewer than three rows, the error for fewer than four.
    """
    if len(log["time"]) < 3:
        return math.nan, math.nan
    time = log["time"] * 1e-6 - np.mean(log["time"] * 1e-6)
    energy = (log["conserved"] - np.mean(log["conserved"], axis=0)) / atoms
    slopes = time @ energy / (time @ time)
    influence = time[:, None] * (energy - time[:, None] * slopes) / np.mean(time**2)
    return float(np.mean(slopes)), float(standard_error(influence))


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
