"""Whether frames were made by a potential: its energies against those that their run recorded."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxelyte.errors import InputError

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
