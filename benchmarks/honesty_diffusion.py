"""Cases of diffusion: walkers free, flying, caged, few, and with a fixed centre of mass; see honesty.py.

A walker with the diffusion coefficient of all of these moves by 2.4 Å in 5 ps.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from honesty import Case, Entry
from honesty_series import decaying
from scipy.signal import lfilter

import jaxelyte as jxl

EXACT = 2e-4
"""Å²/fs."""


def trajectory(positions: np.ndarray, numbers: np.ndarray, interval: float, **fields: object) -> jxl.Trajectory:
    """Positions (frames, replicas, atoms, 3) without a known temperature."""
    frames = len(positions)
    known: dict[str, object] = {"masses": np.full(len(numbers), 30.0), "cells": np.eye(3) * 30.0, "unwrapped": True}
    shape = {"pbc": (True,) * 3, "steps": np.arange(frames), "times": np.arange(frames) * interval}
    return jxl.Trajectory(positions, numbers, **(known | shape | fields))  # pyright: ignore[reportArgumentType]


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
    interval: float = 100.0,
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


def diffusion(seed: int, *, atoms: int, length: float, frames: int = 1000, **motion: object) -> Case:
    """D of one species in the default window, of a run of a length in ps."""
    interval = 1e3 * length / frames
    positions = walkers(seed, atoms=atoms, frames=frames, interval=interval, **motion)  # pyright: ignore[reportArgumentType]
    found = jxl.diffusivity(trajectory(positions, np.full(atoms, 18), interval), "Ar")
    return Case(found.value, found.error, found.freedom, EXACT * 1e-5)


def mixture(seed: int, *, light: int, heavy: int, corrected: bool = False) -> Case:
    """D of light atoms with heavy ones, total momentum zero, in wrapped positions of a triclinic cell.

    Independent walkers with D proportional to 1/m conserve the momentum if the motion of the centre is taken out.
    """
    rng = np.random.default_rng(seed)
    masses = np.repeat([10.0, 100.0], [light, heavy])
    steps = rng.normal(size=(1000, 1, light + heavy, 3)) * np.sqrt(2.0 * EXACT * 400.0 * 10.0 / masses)[:, None]
    steps -= np.average(steps, axis=2, weights=masses)[:, :, None]
    cell = np.array([[20.0, 0.0, 0.0], [6.0, 18.0, 0.0], [-4.0, 7.0, 22.0]])
    inside = (np.cumsum(steps, axis=0) @ np.linalg.inv(cell) + 0.5) % 1.0 @ cell
    numbers = np.repeat([3, 18], [light, heavy])
    run = trajectory(inside, numbers, 400.0, masses=masses, cells=cell, unwrapped=False)
    found = jxl.diffusivity(run, "Li", temperature=300.0, viscosity=1e-3 if corrected else None)
    # At 300 K the velocity of atoms of this mass decays within 20 fs, long before the first frame.
    return Case(found.value - found.correction, found.error, found.freedom, EXACT * 1e-5)


def green_kubo(seed: int, *, atoms: int, length: float, interval: float = 20.0, decay: float = 200.0) -> Case:
    """D from velocities that forget exponentially."""
    frames = int(1e3 * length / interval)
    noise = decaying(np.random.default_rng(seed), frames, decay / interval, atoms * 3)
    velocities = np.sqrt(EXACT / decay) * noise.reshape(frames, 1, atoms, 3)
    positions = interval * np.cumsum(velocities, axis=0)
    run = trajectory(positions, np.full(atoms, 18), interval, velocities=velocities)
    found = jxl.vacf(run, "Ar")
    return Case(*found.diffusivity(), found.freedom, EXACT * 1e-5)


def _entries() -> dict[str, Entry]:
    easy: dict[str, dict[str, object]] = {
        "1 walker, 1 ns": {"atoms": 1, "length": 1000.0},
        "2 walkers, 400 ps": {"atoms": 2, "length": 400.0},
        "3 walkers, 200 ps": {"atoms": 3, "length": 200.0},
        "40 walkers, 400 ps": {"atoms": 40, "length": 400.0, "frames": 400},
        "2 walkers, centre fixed": {"atoms": 2, "length": 400.0, "fixed": True},
        "4 walkers, centre fixed": {"atoms": 4, "length": 400.0, "fixed": True},
        "16 walkers, centre fixed": {"atoms": 16, "length": 400.0, "fixed": True},
        "4 walkers in 4 replicas": {"atoms": 4, "length": 200.0, "replicas": 4, "frames": 400},
        "4 walkers in 16 replicas, 60 ps": {"atoms": 4, "length": 60.0, "replicas": 16, "frames": 100},
        "flight of 200 fs, 400 ps": {"atoms": 10, "length": 400.0, "flight": 200.0},
        "springs of 100 fs, 400 ps": {"atoms": 10, "length": 400.0, "frames": 4000, "spring": 0.25},
        "cage of 0.4 Å for 2 ps, 1 ns": {"atoms": 10, "length": 1000.0, "cage": (0.4, 2000.0)},
        "cage of 0.25 Å for 10 ps, 400 ps": {"atoms": 20, "length": 400.0, "cage": (0.25, 1e4)},
    }
    hard: dict[str, dict[str, object]] = {
        "flight of 200 fs, 8 ps": {"atoms": 10, "length": 8.0, "flight": 200.0, "frames": 800},
        "flight of 200 fs, 80 ps": {"atoms": 10, "length": 80.0, "flight": 200.0},
        "springs of 100 fs, 8 ps": {"atoms": 10, "length": 8.0, "frames": 800, "spring": 0.25},
        "springs of 100 fs, 40 ps": {"atoms": 10, "length": 40.0, "frames": 2000, "spring": 0.25},
        "cage of 0.4 Å for 2 ps, 8 ps": {"atoms": 10, "length": 8.0, "cage": (0.4, 2000.0)},
        "cage of 0.4 Å for 2 ps, 40 ps": {"atoms": 10, "length": 40.0, "cage": (0.4, 2000.0)},
        "cage of 0.4 Å for 2 ps, 200 ps": {"atoms": 10, "length": 200.0, "cage": (0.4, 2000.0)},
        "80 in cages of 0.4 Å for 2 ps, 200 ps": {"atoms": 80, "length": 200.0, "cage": (0.4, 2000.0), "frames": 400},
        "80 in cages of 0.4 Å for 2 ps, 400 ps": {"atoms": 80, "length": 400.0, "cage": (0.4, 2000.0), "frames": 400},
        "cage of 0.8 Å for 5 ps, 100 ps": {"atoms": 20, "length": 100.0, "cage": (0.8, 5000.0)},
        "cage of 0.8 Å for 5 ps, 1 ns": {"atoms": 20, "length": 1000.0, "cage": (0.8, 5000.0)},
    }
    found = {f"diffusion, {name}": Entry(partial(diffusion, **options)) for name, options in easy.items()}  # pyright: ignore[reportArgumentType]
    found |= {f"diffusion, {name}": Entry(partial(diffusion, **options), hard=True) for name, options in hard.items()}  # pyright: ignore[reportArgumentType]
    close = "diffusion, cage of 0.8 Å for 5 ps, 1 ns"  # to the limit: more seeds
    found[close] = found[close]._replace(seeds=800)
    found["diffusion, 3 light and 2 heavy, triclinic and wrapped"] = Entry(partial(mixture, light=3, heavy=2))
    found["diffusion, 8 light and 8 heavy, triclinic and wrapped"] = Entry(partial(mixture, light=8, heavy=8))
    found["diffusion, finite cell corrected"] = Entry(partial(mixture, light=4, heavy=4, corrected=True))
    found["Green-Kubo diffusion, 10 atoms, 300 ps"] = Entry(partial(green_kubo, atoms=10, length=300.0))
    found["Green-Kubo diffusion, 1 atom, 300 ps"] = Entry(partial(green_kubo, atoms=1, length=300.0))
    coarse = partial(green_kubo, atoms=10, length=400.0, interval=150.0)
    found["Green-Kubo diffusion, frames of 0.75 decay times"] = Entry(coarse)
    sparse = partial(green_kubo, atoms=10, length=400.0, interval=600.0)
    found["Green-Kubo diffusion, frames of 3 decay times"] = Entry(sparse, hard=True)
    found["Green-Kubo diffusion, 10 atoms, 20 ps"] = Entry(partial(green_kubo, atoms=10, length=20.0), hard=True)
    return found


CASES: dict[str, Entry] = _entries()
