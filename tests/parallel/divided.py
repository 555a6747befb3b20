"""One system on eight devices beside one device, as JSON: python divided.py PART ..., of the names in `PARTS`.

In a process of its own, with XLA_FLAGS=--xla_force_host_platform_device_count=8: see test_decomposition.py.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.derivatives import energy_forces_stress
from jaxelyte.potentials.nequip import NequIPPotential
from jaxelyte.system import System

CELL = 2.0 * np.array([[12.0, 0.0, 0.0], [4.0, 11.0, 0.0], [-3.0, 5.0, 10.0]])
"""Å, far from a right angle."""

PARAMETERS: Any = {"Na": 2.3, "Cl": 3.4}, {"Na": 0.004, "Cl": 0.005}


def salt(side: int, noise: float, rng: np.random.Generator) -> Atoms:
    """Ions near the points of a grid, moved by whole cells."""
    grid = np.array(np.meshgrid(*[np.arange(side)] * 3)).reshape(3, -1).T / side
    places = grid + noise * rng.normal(size=grid.shape) + rng.integers(-2, 3, grid.shape)
    return Atoms("NaCl" * (len(grid) // 2), positions=places @ CELL, cell=CELL, pbc=True)


def potentials() -> dict[str, Potential]:
    """Every kind of term, and a sum."""
    config, parameters = jxl.NequIP(
        r_max=4.0, num_layers=3, l_max=1, num_features=4, type_names=("Na", "Cl"), avg_num_neighbors=9.0
    ).init(jax.random.key(0))
    network = NequIPPotential(parameters, config)
    charges = {"Na": 1, "Cl": -1}
    pairs = jxl.LennardJones(*PARAMETERS, cutoff=6.0)
    return {
        "network": network,
        "pairs": pairs,
        "p3m": jxl.ScreenedCoulomb(charges, method="p3m", cutoff=6.0, tolerance=1e-2),
        "sum": network + pairs + jxl.ScreenedCoulomb(charges, 78.3, method="ewald", cutoff=6.0, tolerance=1e-2),
    }


def difference(potential: Potential, system: System, shape: tuple[int, int, int]) -> dict[str, float]:
    """Largest deviations, and the size of the forces."""
    alone, divided = potential.prepare(system), jxl.distribute(potential, 8, shape=shape).prepare(system)
    compiled = jax.jit(energy_forces_stress)
    one = compiled(alone, system, neighbor_lists(system, alone))
    many = compiled(divided, system, neighbor_lists(system, divided))
    found = {name: float(np.abs(getattr(one, name) - getattr(many, name)).max()) for name in one._fields}
    return found | {"largest_force": float(np.abs(one.forces).max())}


def trajectories(atoms: Atoms) -> dict[str, Any]:
    """100 steps of one device and of eight, the second also cut in two by a resume, from lists that are too short."""
    potential = jxl.LennardJones(*PARAMETERS, cutoff=6.0, switch=5.0)
    options: dict[str, Any] = dict(
        timestep=4.0, every=10, velocities=300.0, progress=False, skin=0.6, chunk=30, save_velocities=True
    )
    one = jxl.simulate(potential, atoms, jxl.NVE(), steps=100, **options)
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "run"
        jxl.simulate(potential, atoms, jxl.NVE(), steps=50, devices=8, output=where, **options)
        many = jxl.simulate(potential, atoms, jxl.NVE(), steps=100, devices=8, output=where, resume=True, **options)
        positions = [np.asarray(run.trajectory.positions[:], np.float64) for run in (one, many)]
    return {
        "deviation": float(np.abs(positions[0] - positions[1]).max()),
        "moved": float(np.abs(positions[0][-1] - positions[0][0]).max()),
        "frames": [len(run.trajectory) for run in (one, many)],
    }


def refusals(atoms: Atoms) -> dict[str, str]:
    """Messages."""
    potential = jxl.LennardJones(*PARAMETERS, cutoff=6.0)
    system = System.from_atoms(atoms)
    slab = atoms.copy()
    slab.pbc = (True, True, False)
    attempts: dict[str, Any] = {
        "many": lambda: jxl.distribute(potential, 9),
        "shape": lambda: jxl.distribute(potential, 8, shape=(3, 2, 1)).prepare(system),
        "twice": lambda: jxl.distribute(jxl.distribute(potential, 8), 8),
        "open": lambda: jxl.distribute(potential, 8, shape=(2, 2, 2)).prepare(System.from_atoms(slab)),
        "replicas": lambda: jxl.simulate(potential, atoms, jxl.NVE(), steps=10, replicas=2, devices=8, progress=False),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = "nothing was said"
        except jxl.JaxelyteError as error:
            found[name] = str(error)
    return found


SHAPES = {"network": (2, 2, 2), "pairs": (8, 1, 1), "p3m": (4, 2, 1), "sum": (1, 2, 4)}
PARTS = (*SHAPES, "trajectories", "refusals")


def main(parts: list[str]) -> None:
    """The parts asked for."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    atoms, quiet = salt(6, 0.01, rng), salt(6, 0.005, rng)
    report: dict[str, Any] = {"devices": jax.local_device_count()}
    for part in parts:
        if part in SHAPES:
            report[part] = difference(potentials()[part], System.from_atoms(atoms), SHAPES[part])
    if "trajectories" in parts:
        report["trajectories"] = trajectories(quiet)
    if "refusals" in parts:
        report["refusals"] = refusals(quiet)
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
