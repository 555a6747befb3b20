"""Random walks of ions whose diffusion coefficient is known, and files of them."""

from __future__ import annotations

import numpy as np
from ase import Atoms

EDGE, INTERVAL, STEP = 12.0, 50.0, 0.12
"""Å; fs between frames; Å, standard deviation of a step along each axis."""

PAIRS = 10
TRUE = STEP**2 / (2.0 * INTERVAL) * 1e-5 * (1.0 - 1.0 / (2 * PAIRS))
"""m²/s; the drift is taken away, which costs a degree of freedom."""


def walk(frames: int = 301, seed: int = 1) -> np.ndarray:
    """Unwrapped positions (frames, atoms, 3), Å; sodium first, then chloride."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, STEP, (frames - 1, 2 * PAIRS, 3))
    steps -= steps.mean(axis=1, keepdims=True)
    start = rng.uniform(0.0, EDGE, (2 * PAIRS, 3))
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def wrapped_frames(frames: int = 301, *, times: bool = False) -> list[Atoms]:
    """Frames in a cubic cell."""
    symbols = ["Na"] * PAIRS + ["Cl"] * PAIRS
    found = [Atoms(symbols, one % EDGE, cell=[EDGE] * 3, pbc=True) for one in walk(frames)]
    if times:
        for k, atoms in enumerate(found):
            atoms.info["time"] = k * INTERVAL
    return found
