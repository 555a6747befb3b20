"""Cases of diffusion: walkers free, flying, caged, few, and with a fixed centre of mass; see honesty.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from honesty import Case
from honesty_series import decaying
from scipy.signal import lfilter

import jaxelyte as jxl

EXACT = 2e-4
"""Å²/fs."""

INTERVAL = 100.0
CHARGES = {"Na": 1.0, "Cl": -1.0}


def trajectory(positions: np.ndarray, numbers: np.ndarray, interval: float) -> jxl.Trajectory:
    """Positions (frames, replicas, atoms, 3) without a known temperature."""
    frames = len(positions)
    masses = np.full(len(numbers), 30.0)
    shape = {"pbc": (True,) * 3, "steps": np.arange(frames), "times": np.arange(frames) * interval}
    return jxl.Trajectory(positions, numbers, masses, np.eye(3) * 30.0, unwrapped=True, **shape)


def walkers(
    seed: int,
    *,
    atoms: int,
    frames: int,
    replicas: int = 1,
    fixed: bool = False,
    flight: float = 0.0,
    cage: tuple[float, float] | None = None,
    spring: float = 0.0,
    interval: float = INTERVAL,
) -> np.ndarray:
    """Random walks (frames, replicas, atoms, 3), Å.

    Args:
        seed: of the noise.
        atoms: in each replica.
        frames: number.
        replicas: number.
        fixed: take the centre of mass out.
        flight: fs, decay time of the velocity (an Ornstein-Uhlenbeck process); 0 for none.
        cage: width in Å and relaxation time in fs of a second motion that stays in its place.
        spring: width in Å of a damped oscillation (100 fs per radian, decay in 200 fs) about the walk; 0 for none.
        interval: fs between frames.
    """
    rng = np.random.default_rng(seed)
    columns = replicas * atoms * 3
    fine = max(1, round(10.0 * interval / flight)) if flight else 1
    step = interval / fine
    noise = decaying(rng, frames * fine, flight / step if flight else 0.0, columns)
    # The integral of <v v> = D/τ e^-t/τ over all times is D; of independent steps it is half of the one at zero.
    variance = EXACT / flight * step**2 if flight else 2.0 * EXACT * step
    found = np.cumsum(np.sqrt(variance) * noise, axis=0)[::fine]
    if cage is not None:
        found = found + cage[0] * decaying(rng, frames, cage[1] / interval, columns)
    if spring:
        found = found + spring * oscillating(rng, frames, interval, columns)
    found = found.reshape(frames, replicas, atoms, 3)
    return found - found.mean(axis=2, keepdims=True) if fixed else found


def oscillating(rng: np.random.Generator, frames: int, interval: float, columns: int) -> np.ndarray:
    """Stationary noise of variance 1 with a damped oscillation, (frames, columns)."""
    skipped = int(2000.0 / interval)
    root = np.exp((-1.0 / 200.0 + 1j / 100.0) * interval)
    found = lfilter(
        [1.0], [1.0, -2.0 * root.real, abs(root) ** 2], rng.normal(size=(frames + skipped, columns)), axis=0
    )
    return np.asarray(found)[skipped:] / np.std(found)


def diffusion(seed: int, *, atoms: int, replicas: int = 1, interval: float = INTERVAL, **motion: object) -> Case:
    """D of one species in the default window."""
    positions = walkers(seed, atoms=atoms, replicas=replicas, interval=interval, **motion)  # pyright: ignore[reportArgumentType]
    found = jxl.diffusivity(trajectory(positions, np.full(atoms, 18), interval), "Ar")
    return Case(found.value, found.error, 7, EXACT * 1e-5)


def nernst_einstein(seed: int, *, atoms: int, frames: int, fixed: bool) -> Case:
    """Conductivity of ions that move independently."""
    positions = walkers(seed, atoms=2 * atoms, frames=frames, fixed=fixed)
    run = trajectory(positions, np.repeat([11, 17], atoms), INTERVAL)
    found = jxl.conductivity(run, CHARGES, temperature=300.0)
    exact = 2 * atoms * 1.602176634e-19**2 * EXACT * 1e-5 / (30.0**3 * 1e-30 * 1.380649e-23 * 300.0)
    return Case(found.nernst_einstein, found.nernst_einstein_error, 7, exact)


CASES: dict[str, Callable[[int], Case]] = {
    "diffusion, 1 walker": partial(diffusion, atoms=1, frames=4000),
    "diffusion, 2 walkers": partial(diffusion, atoms=2, frames=4000),
    "diffusion, 4 walkers": partial(diffusion, atoms=4, frames=4000),
    "diffusion, 40 walkers, 600 frames": partial(diffusion, atoms=40, frames=600),
    "diffusion, 2 walkers, centre fixed": partial(diffusion, atoms=2, frames=4000, fixed=True),
    "diffusion, 4 walkers, centre fixed": partial(diffusion, atoms=4, frames=4000, fixed=True),
    "diffusion, 16 walkers, centre fixed": partial(diffusion, atoms=16, frames=2000, fixed=True),
    "diffusion, 4 walkers in 4 replicas": partial(diffusion, atoms=4, frames=2000, replicas=4),
    "diffusion, flight of 200 fs, 8 ps": partial(diffusion, atoms=10, frames=800, interval=10.0, flight=200.0),
    "diffusion, flight of 200 fs, 80 ps": partial(diffusion, atoms=10, frames=1600, interval=50.0, flight=200.0),
    "diffusion, flight of 200 fs, 400 ps": partial(diffusion, atoms=10, frames=4000, flight=200.0),
    "diffusion, springs of 100 fs, 8 ps": partial(diffusion, atoms=10, frames=800, interval=10.0, spring=0.25),
    "diffusion, springs of 100 fs, 40 ps": partial(diffusion, atoms=10, frames=2000, interval=20.0, spring=0.25),
    "diffusion, cage of 2 ps, 1 ns": partial(diffusion, atoms=10, frames=10_000, cage=(0.4, 2000.0)),
    "Nernst-Einstein, 2 + 2 ions": partial(nernst_einstein, atoms=2, frames=4000, fixed=False),
    "Nernst-Einstein, 2 + 2 ions, centre fixed": partial(nernst_einstein, atoms=2, frames=4000, fixed=True),
}
