"""A network that has been spoilt is mended by experiment-like data alone: distribution functions.

    python benchmarks/top_down.py --output benchmarks/results/top-down-<machine>.json --picture docs/top_down_rdf.png

A tenth of the weights of the published ions-only LiCl network, drawn at random, are multiplied by 1 + 0.5 z with z
from a normal distribution. Gradient descent on the deviation from the published
distribution functions (Li-Cl, Li-Li, Cl-Cl), and nothing else, changes all weights; gradients come from fluctuations of
simulated frames. At the end simulations of other seeds compare the network before and after with what was published.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ase import Atoms
from md import REFERENCE

import jaxelyte as jxl

FOLDER = REFERENCE / "licl_ions"
PAIRS = [("Li", "Cl"), ("Li", "Li"), ("Cl", "Cl")]
COLUMNS = (2, 1, 3)
"""Of the published table, in the order of the pairs."""

TEMPERATURE, TIMESTEP, EVERY, R_MAX, BINS, REPLICAS = 300.0, 3.0, 200, 12.5, 50, 8
ENSEMBLE = jxl.NVT(TEMPERATURE, "langevin")
"""Weak friction: ions without water move fast, and averages do not depend on it."""

CONTACT = 3.3
"""Å, up to the barrier around contact pairs, which live for 15 ps: few are seen, so deviations count less there."""

CORES = ((("Li", "Li"), 1.0, 0.5), (("Cl", "Cl"), 1.5, 0.6), (("Li", "Cl"), 0.5, 0.4))
"""Centre and width in Å of repulsive Gaussians, below 5 meV where ions are found: a spoilt network has no core."""

FIXED = ("scale", "shift", "bessel_weights")
"""Parameters that are not weights of the network."""


def is_weight(path: str) -> bool:
    """Whether a leaf is one of the weights."""
    return not any(f"'{name}" in path for name in FIXED)


def spoilt(network: Any, size: float, seed: int) -> tuple[Any, int, int]:
    """The network with a tenth of its weights changed; how many are changed, and how many there are."""
    rng = np.random.default_rng(seed)
    leaves, tree = jax.tree_util.tree_flatten_with_path(network)
    total = sum(np.size(leaf) for path, leaf in leaves if is_weight(jax.tree_util.keystr(path)))
    chosen = np.zeros(total, bool)
    chosen[rng.permutation(total)[: round(0.1 * total)]] = True
    factors, changed, at = np.where(chosen, 1.0 + size * rng.normal(size=total), 1.0), [], 0
    for path, leaf in leaves:
        if is_weight(jax.tree_util.keystr(path)):
            leaf = jnp.asarray(leaf * factors[at : at + np.size(leaf)].reshape(np.shape(leaf)), leaf.dtype)  # noqa: PLW2901
            at += np.size(leaf)
        changed.append(leaf)
    return jax.tree_util.tree_unflatten(tree, changed), int(chosen.sum()), total


def published() -> np.ndarray:
    """(pairs, bins): the published table averaged over our bins with the weight r²."""
    table = np.loadtxt(FOLDER / "rdf_2.4M.dat")
    r, edges = table[:, 0], np.linspace(0.0, R_MAX, BINS + 1)
    sums = [np.histogram(r, edges, weights=w)[0] for w in (r**2, *(table[:, c] * r**2 for c in COLUMNS))]
    return np.array(sums[1:]) / np.maximum(sums[0], 1e-12)


def measured(potential: Any, atoms: list[Atoms], steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distribution functions and their standard errors, (pairs, bins), a fifth of the run left out."""
    run = jxl.simulate(
        potential,
        atoms,
        ENSEMBLE,
        steps=steps,
        timestep=TIMESTEP,
        every=EVERY,
        seed=seed,
        progress=False,
    )
    result = jxl.rdf(run, pairs=PAIRS, r_max=R_MAX, bins=BINS, discard=steps // EVERY // 5)
    return np.asarray(result.g), np.asarray(result.error)


def main() -> None:
    """Spoil, mend, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=0.5, help="relative change of the weights that are changed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20_000, help="of each simulation of the fit")
    parser.add_argument("--final-steps", type=int, default=50_000, help="of the simulations that compare")
    parser.add_argument("--rate", type=float, default=3e-3, help="of Adam")
    parser.add_argument("--folder", type=Path, default=None, help="keeps the fit, and goes on with one")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/top_down.json"))
    parser.add_argument("--picture", type=Path, default=None)
    arguments = parser.parse_args()
    frame = np.load(FOLDER / "reference.npz")
    atoms = [
        Atoms(frame[f"{k % 3}_numbers"], frame[f"{k % 3}_positions"], cell=frame[f"{k % 3}_cell"], pbc=True)
        for k in range(REPLICAS)
    ]
    network = jxl.load_nequip(FOLDER)
    rest = jxl.ScreenedCoulomb({"Li": 1.0, "Cl": -1.0}, permittivity=78.3)
    for pair, center, width in CORES:
        rest = rest + jxl.GaussianBarrier(species=pair, height=5.0, center=center, width=width)
    bad, changed, total = spoilt(network, arguments.size, arguments.seed)
    wanted = published()
    began = time.perf_counter()
    short = jxl.simulate(bad + rest, atoms, ENSEMBLE, steps=EVERY, every=EVERY, progress=False)
    quantity = jxl.frame_rdf(short, PAIRS, r_max=R_MAX, bins=BINS)
    scale = np.where((quantity.r < CONTACT) & (np.arange(len(PAIRS))[:, None] == 0), 0.25, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few frames of each simulation: the noise is in the history
        fit = jxl.fit_observables(
            bad + rest,
            [jxl.Target(quantity, wanted, scale=scale, explicit=False, name="g(r)")],
            atoms,
            ENSEMBLE,
            iterations=arguments.iterations,
            steps=arguments.steps,
            optimizer=optax.adam(optax.cosine_decay_schedule(arguments.rate, arguments.iterations), b1=0.5, b2=0.99),
            trainable=lambda path: "params" in path and is_weight(path),
            timestep=TIMESTEP,
            every=EVERY,
            at_once=16,
            seed=1,
            output=arguments.folder,
            resume=arguments.folder is not None,
        )
    minutes = (time.perf_counter() - began) / 60.0
    curves = {
        name: measured(potential, atoms, arguments.final_steps, seed=77)
        for name, potential in (
            ("spoilt", bad + rest),
            ("mended", fit.potential),
            ("published network", network + rest),
        )
    }

    def deviation(name: str) -> list[float]:
        return np.sqrt(np.mean((curves[name][0] - wanted) ** 2, axis=1)).tolist()

    result = {
        "weights": total,
        "changed": changed,
        "relative_change": arguments.size,
        "pairs": ["-".join(pair) for pair in PAIRS],
        "rms_deviation_of_g": {name: deviation(name) for name in curves},
        "rms_error_of_g": {name: np.sqrt(np.mean(error**2, axis=1)).tolist() for name, (_, error) in curves.items()},
        "losses": [row["loss"] for row in fit.history],
        "minutes_of_the_fit": minutes,
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "jaxelyte": jxl.__version__,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if arguments.picture is not None:
        draw(curves, wanted, arguments.picture)


def draw(curves: dict[str, tuple[np.ndarray, np.ndarray]], wanted: np.ndarray, path: Path) -> None:
    """Curves of all pairs side by side."""
    import matplotlib.pyplot as plt

    r = (np.arange(BINS) + 0.5) * R_MAX / BINS
    figure, axes = plt.subplots(1, len(PAIRS), figsize=(12, 3.6), layout="constrained")
    for number, ax in enumerate(axes):
        ax.plot(r, wanted[number], "k--", label="published")
        for name in ("spoilt", "mended"):
            value, error = curves[name]
            (line,) = ax.plot(r, value[number], label=name)
            ax.fill_between(r, (value - error)[number], (value + error)[number], color=line.get_color(), alpha=0.3)
        ax.set(xlabel="r / Å", ylabel="g(r)", title="-".join(PAIRS[number]), xlim=(1.5, R_MAX))
    axes[0].legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
