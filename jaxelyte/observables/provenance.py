"""What made the frames: a potential, by its energies against those of the run; a thermostat that changes motion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.storage import read_json

SHARE = 0.1
"""Of k_B T that recorded and recomputed energies may differ by."""

ROUNDING = 2e-5
"""The same relative to the energies, for single precision."""


def recorded_energies(source: Any, frames: int) -> np.ndarray | None:
    """Potential energies in eV of the last frames of a run, (frames, replicas), None where none are known.

    Args:
        source: a run, or anything else.
        frames: how many of its frames are used.
    """
    log, trajectory = getattr(source, "log", None), getattr(source, "trajectory", None)
    if not isinstance(log, dict) or trajectory is None or "potential" not in log:
        return None
    energies = np.asarray(log["potential"], np.float64)
    if len(energies) != len(trajectory) or not np.all(np.isfinite(energies)):
        return None
    return energies[len(energies) - frames :]


def check_made_by(recorded: np.ndarray | None, found: np.ndarray, thermal: float) -> None:
    """Refuse a potential that is not the one that made the frames.

    Args:
        recorded: (frames, replicas), eV, see `recorded_energies`.
        found: the same with the potential given.
        thermal: k_B T in eV.

    Raises:
        InputError: the energies differ by more than rounding.
    """
    if recorded is None or recorded.shape != found.shape or not np.all(np.isfinite(found)):
        return
    off = float(np.sqrt(np.mean((found - recorded) ** 2)))
    if off > SHARE * thermal + ROUNDING * float(np.max(np.abs(recorded))):
        raise InputError(
            f"this potential did not make these frames: their mean energy with it is {found.mean():.4f} eV, and the "
            f"run recorded {recorded.mean():.4f} eV (root mean square difference {off:.2g} eV). Give the potential of "
            "the run, with every term and bias that acted in it"
        )


def ensemble_of(source: Any) -> Mapping[str, Any]:
    """Thermostat and friction (1/fs) of a run or run folder; empty for all else, which does not say."""
    summary, folder = getattr(source, "summary", None), getattr(source, "folder", None)
    if isinstance(summary, dict) and isinstance(summary.get("ensemble"), dict):
        return summary["ensemble"]
    if isinstance(source, (str, Path)):
        folder = Path(source)
    settings = None if folder is None else Path(folder) / "config.json"
    if settings is None or not settings.is_file():
        return {}
    found = read_json(settings).get("ensemble")
    return found if isinstance(found, dict) else {}


def changed_motion(ensemble: Mapping[str, Any]) -> str:
    """Which thermostat of a run changes how its atoms move, and the remedy; empty where none does."""
    friction = ensemble.get("friction")
    strength = f" (friction {friction:g} /fs)" if isinstance(friction, (int, float)) else ""
    names = {
        "langevin": f"a Langevin thermostat{strength}, whose friction slows diffusion down",
        "nose-hoover-massive": "massive Nosé-Hoover chains, which change the velocity of each atom on its own",
    }
    if (name := ensemble.get("thermostat")) not in names:
        return ""
    return (
        f"the run had {names[name]}: its atoms move otherwise than without. Go on from its last structure under NVE(), "
        "or with thermostat='nose-hoover' or 'svr', and measure there"
    )


def warn_of_thermostat(source: Any, what: str) -> None:
    """Warn where the thermostat of a run changes the motion that a result is about."""
    if text := changed_motion(ensemble_of(source)):
        caution(f"{what}: {text}")
