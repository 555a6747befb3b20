"""Cases of residence times: neighbours that come and go with fixed probabilities in each frame; see honesty.py."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
from honesty import Case, Entry
from honesty_diffusion import trajectory

import jaxelyte as jxl

INTERVAL = 50.0


def telegraph(rng: np.random.Generator, frames: int, columns: int, leave: float, come: float) -> np.ndarray:
    """Stationary two-state chains, True inside, (frames, columns)."""
    state, rows = rng.random(columns) < come / (come + leave), np.empty((frames, columns), bool)
    for row, draw in zip(rows, rng.random((frames, columns)), strict=True):
        row[:] = state
        state = np.where(state, draw >= leave, draw < come)
    return rows


@lru_cache(maxsize=1)
def estimates(
    seed: int, frames: int, waters: int, leave: float, come: float, tolerance: float = 0.0, replicas: int = 1
) -> jxl.ResidenceResult:
    """Waters at 2 Å from an ion where they are inside, else at 5 Å."""
    rng = np.random.default_rng(seed)
    inside = telegraph(rng, frames, replicas * waters, leave, come).reshape(frames, replicas, waters)
    away = rng.normal(size=(1, replicas, waters, 3))
    away /= np.linalg.norm(away, axis=-1, keepdims=True)
    positions = np.zeros((frames, replicas, waters + 1, 3))
    positions[:, :, 1:] = np.where(inside, 2.0, 5.0)[..., None] * away
    numbers = np.array([11] + [8] * waters)
    run = trajectory(positions, numbers, INTERVAL, cells=np.eye(3) * 14.0)
    return jxl.residence_time(run, "Na", "O", 3.0, tolerance=tolerance)


def staying(leave: float, come: float, tolerated: int) -> np.ndarray:
    """Chain of the states inside, and absent for 1, 2, … frames; what leaves it is gone."""
    steps = np.zeros((tolerated + 1, tolerated + 1))
    steps[0, 0] = 1.0 - leave
    if tolerated:
        steps[0, 1] = leave
        steps[1:, 0] = come
        for k in range(1, tolerated):
            steps[k, k + 1] = 1.0 - come
    return steps


def time(seed: int, *, leave: float, come: float, tolerance: float = 0.0, **options: int) -> Case:
    """The time constant of the slowest decay."""
    found = estimates(seed, leave=leave, come=come, tolerance=tolerance, **options)
    if math.isinf(tolerance):
        exact = -INTERVAL / math.log(1.0 - leave - come)
    else:
        values = np.linalg.eigvals(staying(leave, come, round(tolerance / INTERVAL)))
        exact = -INTERVAL / math.log(np.max(values.real))
    return Case(found.value, found.error, found.freedom, exact)


def integral(seed: int, *, leave: float, come: float, tolerance: float = 0.0, **options: int) -> Case:
    """Integral of the survival function by trapezoids."""
    found = estimates(seed, leave=leave, come=come, tolerance=tolerance, **options)
    if math.isinf(tolerance):
        total = 1.0 / (leave + come)
    else:
        steps = staying(leave, come, round(tolerance / INTERVAL))
        total = np.linalg.inv(np.eye(len(steps)) - steps)[0, 0]
    return Case(found.integral, found.integral_error, found.freedom, INTERVAL * (total - 0.5))


def number(seed: int, *, leave: float, come: float, waters: int, **options: int) -> Case:
    """Neighbours in the shell."""
    found = estimates(seed, leave=leave, come=come, waters=waters, **options)
    return Case(found.number, found.number_error, None, waters * come / (come + leave))


def _entries() -> dict[str, Entry]:
    found = {}
    base = {"leave": 0.05, "come": 0.02, "waters": 15}
    for title, options, hard in (
        ("100 times in the run", base | {"frames": 2000}, False),
        ("25 times in 4 replicas", base | {"frames": 500, "replicas": 4}, False),
        ("absences of 0.1 ps", base | {"frames": 2000, "tolerance": 100.0}, False),
        ("all absences", base | {"frames": 3000, "tolerance": math.inf}, False),
        ("2 waters", base | {"frames": 3000, "waters": 2, "come": 0.05}, False),
        ("20 times in the run", base | {"frames": 400}, True),
        ("8 times in the run", base | {"frames": 1600, "leave": 0.005, "come": 0.002}, True),
        ("2 times in the run", base | {"frames": 400, "leave": 0.005, "come": 0.002}, True),
    ):
        for name, function in {"residence time": time, "residence integral": integral, "residents": number}.items():
            found[f"{name}, {title}"] = Entry(partial(function, **options), hard=hard)
    return found


CASES: dict[str, Entry] = _entries()
