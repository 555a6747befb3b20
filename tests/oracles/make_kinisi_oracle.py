"""Make ``tests/fixtures/kinisi``: displacements and diffusion coefficients of one trajectory, by kinisi.

Run in an environment of its own (``pip install kinisi==2.1.0 ase``; it brings scipp, statsmodels and twenty more):
``python tests/oracles/make_kinisi_oracle.py``. The trajectory is a random walk of whole steps, so that it is stored
exactly and in a few kB: ions in a triclinic cell, wrapped, over all time origins. kinisi fits the curve by Bayesian
regression with the covariance of its points (McCluskey, Coles and Morgan, J. Chem. Theory Comput. 21, 79 (2025)).
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipp as sc
from ase import Atoms
from kinisi.analyze import DiffusionAnalyzer

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "kinisi"

CELL = np.array([[9.0, 0.0, 0.0], [3.0, 10.0, 0.0], [-2.0, 4.0, 11.0]])
SYMBOLS, FRAMES, INTERVAL, STEP = "Na8Cl8", 600, 100.0, 0.05
START = 5.0 * INTERVAL
"""fs, where both fits begin."""

LAGS = 60
"""Lags whose displacements are kept, and the longest of the fit."""


def steps(rng: np.random.Generator) -> np.ndarray:
    """Whole steps of Na, four times as frequent as those of Cl, (frames, atoms, 3)."""
    widths = np.array([8.0] * 8 + [4.0] * 8)[:, None]
    return np.round(rng.normal(0.0, 1.0, (FRAMES, 16, 3)) * widths).astype(np.int8)


def main() -> None:
    """Write the trajectory and what kinisi makes of it."""
    walk = steps(np.random.default_rng(5))
    positions = STEP * np.cumsum(walk, axis=0, dtype=np.int64)
    frames = [Atoms(SYMBOLS, positions=one, cell=CELL, pbc=True) for one in positions]
    for atoms in frames:
        atoms.wrap()
    times = {
        "time_step": sc.scalar(INTERVAL, unit="fs"),
        "step_skip": sc.scalar(1, unit="dimensionless"),
        "dt": sc.arange("time interval", INTERVAL, (LAGS + 0.5) * INTERVAL, INTERVAL, unit="fs"),
        "progress": False,
    }
    start = sc.scalar(START, unit="fs")
    content: dict[str, object] = {"versions": {name: version(name) for name in ("kinisi", "scipp", "numpy", "ase")}}
    for species, first in (("Na", 0), ("Cl", 8)):
        # Of these atoms alone: kinisi would take displacements relative to the mean of all others.
        chosen = [atoms[first : first + 8] for atoms in frames]
        found = DiffusionAnalyzer.from_ase(chosen, specie=species, **times)
        found.diffusion(start, progress=False, random_state=np.random.RandomState(1))
        samples = sc.to_unit(found.D, "m^2/s").values
        content[species] = {
            "lags_fs": found.dt.values.tolist(),
            "msd_A2": found.msd.values.tolist(),
            "diffusivity_m2_s": float(np.mean(samples)),
            "error_m2_s": float(np.std(samples)),
        }
    FIXTURE.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(FIXTURE / "walk.npz", steps=walk, cell=CELL, step=STEP, interval=INTERVAL)
    content |= {"start_fs": START, "symbols": SYMBOLS}
    (FIXTURE / "kinisi.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
