"""Cost of the windows of a free energy in one batch against the same windows one after the other.

    python benchmarks/windows.py --output benchmarks/results/windows-<machine>.json

48 ions of the published ions-only LiCl potential, between its network and one of other weights, Coulomb term in common:
what a free energy between two networks costs. 16 windows are the replicas of one run, or as many runs of one, which
share a compiled program; both are compiled before anything is timed. With --devices the batch is divided among that
many devices, on a CPU that many cores, and the runs one after the other stay on the first. First the forces of every
window in the batch are compared with those of the window alone. Times are medians of turns taken in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from md import REFERENCE, make_engine

TIMESTEP = 2.0
"""fs"""

DEVIATION = 5e-4
"""eV/Å, by which float32 forces may differ between programs."""


def ends() -> tuple[Any, Any, Any, Any]:
    """U0, U1, what they have in common, and the ions."""
    from ase import Atoms

    import jaxelyte as jxl

    folder = REFERENCE / "licl_ions"
    frame = np.load(folder / "reference.npz")
    atoms = Atoms(frame["0_numbers"], frame["0_positions"], cell=frame["0_cell"], pbc=True)
    first = jxl.load_nequip(folder)
    second = jax.tree.map(lambda leaf: leaf * np.asarray(1.02, leaf.dtype), first)
    return first, second, jxl.ScreenedCoulomb({"Li": 1.0, "Cl": -1.0}, permittivity=78.3), atoms


def engine(lam: np.ndarray, devices: int = 1) -> Any:
    """The windows in one batch, at step 0, as `jaxelyte.free_energy` runs them."""
    from jaxelyte.potentials.ladder import Ladder

    first, second, common, atoms = ends()
    among = tuple(jax.devices()[:devices]) if devices > 1 else None
    ladder = common + Ladder(first, second, lam, temperature=300.0)
    return make_engine(ladder, atoms, TIMESTEP, len(lam), among, frames=len(lam))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200, help="of each window in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1, help="for the batch")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/windows.json"))
    arguments = parser.parse_args()
    if arguments.devices > 1:  # before anything is computed
        jax.config.update("jax_num_cpu_devices", arguments.devices)
    if len(jax.devices()) < arguments.devices:
        raise SystemExit(f"{arguments.devices} devices asked for, {len(jax.devices())} found")
    import jaxelyte as jxl

    lam = (np.arange(arguments.windows) + 0.5) / arguments.windows
    batch = engine(lam, arguments.devices)
    singles = [engine(lam[n : n + 1]) for n in range(len(lam))]
    together = np.asarray(batch.state.particles.forces)
    alone = np.concatenate([np.asarray(one.state.particles.forces) for one in singles])
    deviation = float(np.abs(together - alone).max())
    spread = float(np.abs(together[0] - together[-1]).max())
    if not deviation < DEVIATION < spread:
        raise SystemExit(f"forces in the batch differ by {deviation:.1e} eV/Å from those alone, or not between windows")

    def seconds(engines: list[Any]) -> float:
        began = time.perf_counter()
        for one in engines:
            one.advance(arguments.steps)
        return time.perf_counter() - began

    seconds([batch]), seconds(singles)
    turns = np.array([(seconds([batch]), seconds(singles)) for _ in range(arguments.turns)])
    one, many = np.median(turns, axis=0) / arguments.steps * 1e3
    ratio = float(np.median([a / b for a, b in turns]))
    result = {
        "system": "48 ions, two networks and Coulomb",
        "windows": len(lam),
        "batch_ms_per_step": float(one),
        "one_after_the_other_ms_per_step": float(many),
        "ratio": ratio,
        "ratios": [a / b for a, b in turns],
        "force_deviation_eV_per_A": deviation,
        "device": jax.devices()[0].device_kind,
        "devices_of_the_batch": arguments.devices,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "jax": jax.__version__,
        "jaxelyte": jxl.__version__,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
