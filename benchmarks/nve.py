"""Energy drift of NVE runs, in float32 and float64, per atom and nanosecond.

    python benchmarks/nve.py --output benchmarks/results/nve-<machine>.json

The published ions-only LiCl potential with its Coulomb term, 48 ions, 0.5 fs, after a short NVT run. The drift is the
slope of a least-squares line through the total energy; its standard error comes from the slopes of independent
replicas. The root mean square of what is left beside the line is given too: it is the O(dt²) oscillation of velocity
Verlet, and must scale as dt² (0.5 against 1 fs in float64) or the figures are refused.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxelyte.interop.published import place_of

REFERENCE = place_of("reference", holding="licl_ions/reference.npz")


def run_nve(timestep: float, picoseconds: float, replicas: int) -> dict[str, Any]:
    """Drift in eV/atom/ns with its standard error, and residual fluctuation in eV/atom, at the present precision."""
    from ase import Atoms

    import jaxelyte as jxl

    folder = REFERENCE / "licl_ions"
    frame = np.load(folder / "reference.npz")
    atoms = Atoms(frame["0_numbers"], frame["0_positions"], cell=frame["0_cell"], pbc=True)
    potential = jxl.load_nequip(folder) + jxl.ScreenedCoulomb({"Li": 1.0, "Cl": -1.0}, permittivity=78.3)
    warm = jxl.simulate(
        potential, atoms, jxl.NVT(300.0), steps=2000, timestep=0.5, replicas=replicas, seed=1, every=500, progress=False
    )
    steps = round(picoseconds * 1000 / timestep)
    run = jxl.simulate(
        potential, warm.atoms, jxl.NVE(), steps=steps, timestep=timestep, every=max(1, steps // 400), progress=False
    )
    nanoseconds = run.log["time"] * 1e-6
    energy = run.log["conserved"] / len(atoms)
    energy = energy - energy[0]
    fits = np.polyfit(nanoseconds, energy, 1)
    residual = energy - (nanoseconds[:, None] * fits[0] + fits[1])
    return {
        "timestep_fs": timestep,
        "picoseconds": picoseconds,
        "replicas": replicas,
        "drift_eV_per_atom_per_ns": float(fits[0].mean()),
        "drift_standard_error": float(fits[0].std(ddof=1) / np.sqrt(replicas)),
        "rms_residual_eV_per_atom": float(np.sqrt(np.mean(residual**2))),
        "temperature_K": float(run.log["temperature"].mean()),
        "ms_per_step": run.performance["ms_per_step"],
    }


def main() -> None:
    """Run both precisions and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if not REFERENCE.exists():
        raise SystemExit(f"the reference potentials are not there: {REFERENCE}")
    from jaxelyte.dynamics.summary import versions

    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "system": "48 ions, published ions-only LiCl potential + screened Coulomb, after NVT at 300 K",
        "cores": len(os.sched_getaffinity(0)),
        "versions": versions(),
    }
    for name, wide, timestep in (("float32", False, 0.5), ("float64", True, 0.5), ("float64, 1 fs", True, 1.0)):
        with jax.enable_x64(wide):
            report[name] = run_nve(timestep, options.picoseconds, options.replicas)
        print(name, json.dumps(report[name], indent=1), flush=True)
    ratio = report["float64, 1 fs"]["rms_residual_eV_per_atom"] / report["float64"]["rms_residual_eV_per_atom"]
    report["residual_ratio_1_to_0.5_fs"] = ratio
    if not 2.0 < ratio < 8.0:
        raise SystemExit(f"energy does not converge with the square of the time step (ratio {ratio:.2f}); no figures")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
