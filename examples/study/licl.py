"""LiCl in water with the published all-atom potential, beside the curves and displacements published with it.

    jaxelyte fetch licl                             # the potential and the curves; needs PyTorch
    python examples/study/licl.py                   # 24 + 24 ions in 512 waters, as published: overnight on two cores

The same command goes on after an interruption, and with a larger ``--picoseconds`` it makes the run longer. Results
are in ``--output`` (licl_output/): ``results.json`` and ``structure.png``. As in the published runs, which are ns long:
300 K, 0.5 fs, one Nosé-Hoover chain of 50 fs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from analysis import cleaned, first_peak
from ase import Atoms
from ase.io import read, write

import jaxelyte as jxl
from jaxelyte.dynamics.summary import versions
from jaxelyte.storage import write_json
from jaxelyte.units import LITER

EDGE, IONS, WATERS = 25.26, 24, 512
TIMESTEP, EVERY, TEMPERATURE = 0.5, 40, 300.0
VISCOSITY = 0.888e-3
"""Pa s, of water, as in the published analysis."""
COLUMNS = {("Li", "O"): 4, ("Cl", "O"): 5, ("Li", "Cl"): 2}
PUBLISHED = {"Li": 0.96e-9, "Cl": 1.27e-9, "O": 1.64e-9}
"""m²/s, published, corrected for the finite cell."""
INTERRUPTED = 130


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("licl_output"))
    parser.add_argument("--picoseconds", type=float, default=300.0, help="that count")
    parser.add_argument("--equilibration", type=float, default=20.0, help="ps before")
    parser.add_argument("--classical", type=float, default=50.0, help="ps of classical water before those")
    parser.add_argument("--ions", type=int, default=IONS, help="of each kind; fewer try it out in a smaller box")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    reference = jxl.datasets.published("reference", "licl", "rdf_2.4M_run1.dat").parent
    potential = jxl.load_nequip("licl") + jxl.ScreenedCoulomb({"Li": 1.0, "Cl": -1.0}, permittivity=78.3)
    steps = round((options.picoseconds + options.equilibration) * 1000 / TIMESTEP / EVERY) * EVERY
    run = jxl.simulate(
        potential,
        start(options),
        jxl.NVT(TEMPERATURE, "nose-hoover", tau=50.0),
        steps=steps,
        timestep=TIMESTEP,
        every=EVERY,
        equilibration=round(options.equilibration * 1000 / TIMESTEP),
        velocities=TEMPERATURE,
        seed=options.seed,
        output=options.output / "run",
        resume=True,
    )
    print(run)
    if not run.completed:
        print("interrupted; the same command goes on", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    discard = round(options.equilibration * 1000 / TIMESTEP / EVERY)
    results = {
        "picoseconds": options.picoseconds,
        "seed": options.seed,
        "versions": versions(),
        "structure": structure(run, discard, reference, options.output),
        "diffusion": {species: motion(run, species, discard, reference) for species in PUBLISHED},
    }
    write_json(options.output / "results.json", cleaned(results))
    shown = {"structure": {name: one["summary"] for name, one in results["structure"].items()}}
    print(json.dumps(cleaned(shown | {"diffusion": results["diffusion"]}), indent=1))


def start(options: argparse.Namespace) -> Atoms:
    """A liquid of classical water in the published box; stored for later calls."""
    path = options.output / "start.extxyz"
    if path.exists():
        return read(path)  # pyright: ignore[reportReturnType]
    waters = round(WATERS * options.ions / IONS)
    concentration = IONS / (LITER * EDGE**3)
    box = jxl.build.electrolyte(
        {"Li": options.ions, "Cl": options.ions}, waters=waters, concentration=concentration, seed=options.seed
    )
    cutoff = min(9.0, 0.48 * float(box.cell.lengths()[0]))
    classical = jxl.spc_fw(box, cutoff=cutoff, tolerance=2e-3)
    steps = max(round(options.classical * 1000), 200)
    ensemble = jxl.NVT(TEMPERATURE, "langevin", friction=0.02)  # heats bonds and molecules alike
    run = jxl.simulate(classical, box, ensemble, steps=steps, timestep=1.0, every=steps // 2, minimize=True, seed=1)
    options.output.mkdir(parents=True, exist_ok=True)
    write(path.with_suffix(".tmp"), run.atoms, format="extxyz")
    path.with_suffix(".tmp").replace(path)
    return read(path)  # pyright: ignore[reportReturnType]


def structure(run: jxl.Run, discard: int, reference: Path, folder: Path) -> dict[str, Any]:
    """Curves beside those of two published runs, whose difference is the published error."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    tables = [np.loadtxt(reference / f"rdf_2.4M_run{k}.dat") for k in (1, 2)]
    curves = jxl.rdf(run, pairs=list(COLUMNS), width=0.05, discard=discard)
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    found = {}
    for ax, (pair, column) in zip(axes, COLUMNS.items(), strict=True):
        one, name = curves[pair], "-".join(pair)
        both = np.array([np.interp(one.r, table[:, 0], smoothed(table[:, column])) for table in tables])
        other, error = both.mean(0), np.abs(both[0] - both[1]) / 2
        total = np.hypot(np.nan_to_num(one.error), error)
        inside = (one.r > 1.5) & (total > 0)
        found[name] = {
            "r_A": one.r.tolist(),
            "g": one.g.tolist(),
            "error": np.nan_to_num(one.error).tolist(),
            "published": other.tolist(),
            "summary": {
                "peak_A_height": list(first_peak(one)),
                "published_peak": [float(one.r[np.argmax(other)]), float(other.max())],
                "rms_deviation": float(np.sqrt(np.mean((one.g - other)[inside] ** 2))),
                "rms_combined_error": float(np.sqrt(np.mean(total[inside] ** 2))),
                "share_within_two_errors": float(np.mean(np.abs(one.g - other)[inside] < 2 * total[inside])),
            },
        }
        ax.fill_between(one.r, one.g - one.error, one.g + one.error, alpha=0.3, lw=0)
        ax.plot(one.r, one.g, label="jaxelyte")
        ax.plot(one.r, other, "k--", lw=1, label="published")
        ax.set(xlabel="r / Å", ylabel=f"g(r), {name}", xlim=(1.5, 10))
    axes[0].legend(frameon=False)
    fig.savefig(folder / "structure.png", dpi=150)
    plt.close(fig)
    return found


def smoothed(values: np.ndarray) -> np.ndarray:
    """Means over five of the published bins of 0.01 Å, as wide as ours."""
    return np.convolve(values, np.full(5, 0.2), mode="same")


def motion(run: jxl.Run, species: str, discard: int, reference: Path) -> dict[str, Any]:
    """D of this run, and of the published displacements by the same rule where there are some."""
    try:
        mine = jxl.diffusivity(run, species, viscosity=VISCOSITY, discard=discard)
        found = {"value": mine.value, "error": mine.error, "uncorrected": mine.uncorrected, "exponent": mine.exponent}
    except jxl.InputError as error:
        found = {"value": math.nan, "error": math.nan, "refused": str(error)}
    path = reference / f"rmsd_{species}_2.4M_run2.dat"
    if path.is_file():
        step, root = np.loadtxt(path).T
        curve = jxl.MSDResult.from_arrays(step * 10.0, root**2, species=species, cell=EDGE, temperature=TEMPERATURE)
        found["published_displacements"] = curve.diffusivity(viscosity=VISCOSITY).value
    return found | {"published": PUBLISHED[species]}


if __name__ == "__main__":
    main()
