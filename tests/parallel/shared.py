"""Windows of a free energy on several devices beside one device, as JSON.

In a process of its own, with XLA_FLAGS=--xla_force_host_platform_device_count=4: see test_replicas.py.
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
from ase.build import bulk

import jaxelyte as jxl
from small_networks import network, six_atoms

LANGEVIN = jxl.NVT(120.0, thermostat="langevin")


def ends() -> tuple[Any, Any]:
    return tuple(jxl.LennardJones({"Ar": s}, {"Ar": 0.0103}, cutoff=6.0, switch=5.0) for s in (3.3, 3.4))


def run(windows: int, steps: int, **options: Any) -> Any:
    """Lists that are too short at first, exchange, an observable and several chunks."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (2, 2, 2)
    common = jxl.HarmonicRestraint(atoms.positions, 0.01)
    return jxl.free_energy(
        *ends(),
        atoms,
        LANGEVIN,
        common=common,
        windows=windows,
        steps=steps,
        timestep=4.0,
        exchange=20,
        sample_every=4,
        every=20,
        chunk=60,
        seed=3,
        progress=False,
        **options,
    )


def of_a_network(devices: int) -> Any:
    """Replicas of a few ions in their compiled form, which is C on CPUs."""
    options = {"steps": 20, "every": 20, "timestep": 2.0, "velocities": 300.0, "progress": False, "overlap": 0.5}
    atoms = Atoms("NaClNaClNaCl", positions=six_atoms(np.float64).positions, cell=six_atoms(np.float64).cell, pbc=True)
    made = jxl.simulate(network(), atoms, jxl.NVE(), replicas=4, devices=devices, **options)
    return np.asarray(made.trajectory.positions[:])


def networks() -> None:
    """Replicas of a network on one device and on four."""
    jax.config.update("jax_enable_x64", True)
    one, four = of_a_network(1), of_a_network(4)
    print(json.dumps({"apart": float(np.abs(one - four).max()), "moved": float(np.abs(one[-1] - one[0]).max())}))


def main() -> None:
    """One device, four, and four with a resume on one."""
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    one, four = run(8, 200), run(8, 200, devices=4)
    with tempfile.TemporaryDirectory() as folder:
        run(8, 100, devices=4, output=Path(folder) / "run")
        resumed = run(8, 200, devices=2, output=Path(folder) / "run", resume=True)
        resumed_positions = np.array(resumed.run.trajectory.positions[:])
    energies = [r.run.observables["energies"].values for r in (one, four, resumed)]
    places = [np.asarray(r.run.trajectory.positions[:]) for r in (one, four)]
    try:
        run(6, 100, devices=4)
        refusal = "none"
    except jxl.InputError as error:
        refusal = str(error)
    found = {
        "devices": len(jax.devices()),
        "energies": float(np.abs(energies[0][..., :2] - energies[1][..., :2]).max()),
        "exchanged": bool(np.any(energies[0][..., 2] != np.arange(8))),
        "windows": bool(np.all(energies[0][..., 2] == energies[1][..., 2])),
        "positions": float(np.abs(places[0] - places[1]).max()),
        "resumed": float(np.abs(places[1] - resumed_positions).max()),
        "moved": float(np.abs(places[0][-1] - places[0][0]).max()),
        "compilations": four.run.summary["performance"]["compilations"],
        "repeats": four.run.summary["performance"]["repeated_chunks"],
        "refusal": refusal,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(networks() if sys.argv[1:] == ["networks"] else main())
