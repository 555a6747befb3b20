"""Free energy from one level of theory to another: networks of r2SCAN and revPBE0-D3 for one box of salt water.

    python benchmarks/levels.py --output benchmarks/results/levels-<machine>.json

Both are trained on the published frames of NaCl in water (`../shared/data`), less the same screened Coulomb term, which
is in common to all windows; then one call of `free_energy` takes the box from one to the other. Energies of two levels
have different zeros: the constant reference energies of the species are taken out and stated by themselves. What is
left, per ion pair, still holds what the fit of those constants could not tell from it (all frames have nearly the same
composition), so the figure to look at is how far the distributions overlap and how small the error is: the remainder
decides solubilities once it is taken between boxes of different concentration. Everything resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path

from accuracy import BARRIER, SCREENED, SETS, errors, fitted, parts

import jaxelyte as jxl
from jaxelyte.arrays import finite
from jaxelyte.dynamics.summary import versions


def main() -> None:
    """Train, integrate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=400, help="training frames of each level")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--nodes", default="clenshaw-curtis", help="of λ; these have the ends among them")
    parser.add_argument("--steps", type=int, default=16000, help="of each window, 1 fs")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/output/levels"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/levels.json"))
    options = parser.parse_args()
    settings = argparse.Namespace(
        r_max=4.5, layers=2, l_max=2, features=8, parity=False, batch_size=1, learning_rate=0.04, schedule="cosine"
    )
    coulomb = jxl.ScreenedCoulomb(**SCREENED)
    fits, report = {}, {}
    for name in ("r2SCAN", "revPBE0-D3"):
        train, validation, untouched = parts(name, options.frames)
        fit, cost = fitted(settings, train, validation[:40], options.folder / name, coulomb, options.epochs)
        fits[name] = fit
        report[name] = cost | {"frames": SETS[name], "errors": errors(jxl.evaluate(fit, untouched))}
    _, validation, _ = parts("r2SCAN", options.frames)
    start = validation[0].copy()
    pairs = start.get_chemical_symbols().count("Na")
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = jxl.free_energy(
            fits["r2SCAN"].potential.without_baseline(),
            fits["revPBE0-D3"].potential.without_baseline(),
            start,
            jxl.NVT(300.0, "langevin"),
            common=coulomb + jxl.GaussianBarrier(**BARRIER),
            windows=options.windows,
            nodes=options.nodes,
            steps=options.steps,
            timestep=1.0,
            sample_every=20,
            exchange=100,
            minimize=True,
            seed=1,
            output=options.folder / "windows",
            resume=True,
        )
    print(result)
    interaction = result.value - result.reference
    report |= {
        "formula": start.get_chemical_formula(),
        "ion_pairs": pairs,
        "free_energy_eV": [result.value, finite(result.error)],
        "of_it_reference_energies_eV": result.reference,
        "interaction_per_ion_pair_eV": [interaction / pairs, finite(result.error / pairs)],
        "estimates_less_reference_eV": {n: [v - result.reference, finite(e)] for n, (v, e) in result.estimates.items()},
        "lambda": result.lam.tolist(),
        "gradient_less_reference_eV": (result.gradient - result.reference).tolist(),
        "gradient_error_eV": [finite(e) for e in result.gradient_error],
        "overlaps": result.overlaps.tolist(),
        "deciding_samples": result.support.tolist(),
        "no_error_bar": result.refused,
        "independent_samples": result.counts.tolist(),
        "hours_of_windows": (time.perf_counter() - began) / 3600.0,
        "cores": os.cpu_count(),
        "versions": versions(),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
