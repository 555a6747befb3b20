"""One system on the devices of several processes: python processes.py ADDRESS COUNT NUMBER FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
from ase.build import bulk

import jaxelyte as jxl
from small_networks import network


def main() -> None:
    """The run; process 0 leaves the positions of its frames."""
    address, count, number, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    jax.config.update("jax_enable_x64", True)
    if count > 1:
        jax.distributed.initialize(address, count, number)
        assert jax.process_count() == count
        assert len(jax.devices()) == 2 * count
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat((3, 2, 2))
    atoms.rattle(0.1, seed=1)
    options = {"steps": 40, "every": 10, "chunk": 20, "timestep": 1.0, "seed": 2, "progress": False}
    run = jxl.simulate(
        network(),
        atoms,
        jxl.NVT(300.0, "langevin"),
        devices="all" if count > 1 else None,
        output=folder / "run",
        **options,
    )
    if number == 0:
        np.save(folder / "positions.npy", np.asarray(run.trajectory.positions[:]))


if __name__ == "__main__":
    main()
