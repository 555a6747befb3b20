"""Every way to a derivative of an average, against each other, closed forms and differences of long runs.

    python benchmarks/gradients.py --output benchmarks/results/gradients-<machine>.json

Three systems: atoms in harmonic wells (closed form), liquid argon (Lennard-Jones), and 48 ions of the published
ions-only LiCl network. A derivative by one parameter θ, as d<A>/d ln θ, from

- reweighting: fluctuations in one run, ∂<A>/∂θ = <∂A/∂θ> - β Cov(A, ∂U/∂θ);
- differences: two more runs at θ (1 ± h), their averages subtracted; the step's own error, O(h²), is not in the error;
- path: through the integrator, the mean over short paths that start where runs in equilibrium ended. Its average is one
  over paths from fixed starts, so that it falls short of the derivative in equilibrium by what has not responded yet.

The last column is the standard error after a million steps of MD, counted for all runs that a method needs (a backward
pass through a path costs some three more and is not counted).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import bulk
from md import REFERENCE

import jaxelyte as jxl
from jaxelyte.gradients import energy, pressure_virial
from jaxelyte.units import BOLTZMANN


@dataclass(frozen=True)
class Case:
    """One derivative.

    Attributes:
        name: what of what.
        unit: of A.
        potential: at θ.
        leaf: path of θ among the leaves, such as ".sigma".
        quantity: A.
        explicit: A depends on θ itself.
        atoms: start.
        ensemble: for all runs.
        timestep: fs.
        steps: of each replica of a run.
        every: steps between frames.
        width: h.
        path: steps of a path.
        exact: d<A>/d ln θ, where it is known.
    """

    name: str
    unit: str
    potential: Any
    leaf: str
    quantity: Callable[..., Any]
    explicit: bool
    atoms: Atoms
    ensemble: jxl.NVT
    timestep: float
    steps: int
    every: int
    width: float
    path: int
    exact: float | None = None


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        value: d<A>/d ln θ.
        error: standard error.
        steps: MD steps of all runs together.
        error_of_a_million: error · (steps/10⁶)^½.
        note: what else to know.
    """

    method: str
    value: float
    error: float
    steps: int
    error_of_a_million: float
    note: str = ""


REPLICAS, PATHS = 8, 64


def changed(potential: Any, leaf: str, factor: float) -> Any:
    """The potential with one parameter times a factor."""

    def one(path: Any, value: Any) -> Any:
        return value * jnp.asarray(factor, value.dtype) if jax.tree_util.keystr(path) == leaf else value

    return jax.tree_util.tree_map_with_path(one, potential)


def along(tree: Any, potential: Any, leaf: str) -> float:
    """Σ θ ∂/∂θ over the entries of one leaf."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(potential), strict=True)
    found = [
        float(np.sum(np.asarray(slope) * np.asarray(value)))
        for (path, slope), value in pairs
        if jax.tree_util.keystr(path) == leaf
    ]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} leaves are called {leaf}")
    return found[0]


def run_of(case: Case, potential: Any, seed: int) -> Any:
    """A long run of all replicas."""
    return jxl.simulate(
        potential,
        case.atoms,
        case.ensemble,
        steps=case.steps,
        timestep=case.timestep,
        every=case.every,
        replicas=REPLICAS,
        seed=seed,
        progress=False,
    )


def rows_of(case: Case) -> list[Row]:
    """All methods."""
    discard = case.steps // case.every // 5
    total = REPLICAS * case.steps
    run = run_of(case, case.potential, 1)

    def row(method: str, value: float, error: float, steps: int, note: str = "") -> Row:
        return Row(method, value, error, steps, error * math.sqrt(steps / 1e6), note)

    def frames(run: Any, potential: Any) -> jxl.Reweighting:
        return jxl.Reweighting(run, potential, temperature=case.ensemble.temperature, discard=discard, at_once=16)

    found = frames(run, case.potential).gradient(case.quantity, explicit=case.explicit)
    value, error = (along(tree, case.potential, case.leaf) for tree in (found.gradient, found.gradient_error))
    result = [row("reweighting", value, abs(error), total)]
    ends = []
    for sign, seed in ((1.0, 2), (-1.0, 3)):
        potential = changed(case.potential, case.leaf, 1.0 + sign * case.width)
        found = frames(run_of(case, potential, seed), potential).average(case.quantity)
        ends.append((float(found.value), float(found.error)))
    (up, up_error), (down, down_error) = ends
    span = 2.0 * case.width
    difference, error = (up - down) / span, math.hypot(up_error, down_error) / span
    result.append(row("differences", difference, error, 2 * total, f"θ ± {case.width:.2g} θ"))
    starts = [run.atoms[n % REPLICAS] for n in range(PATHS)]
    for one in starts:
        one.set_momenta(np.zeros((len(one), 3)))
    found = jxl.path_gradient(
        case.quantity,
        case.potential,
        starts,
        case.ensemble,
        steps=case.path,
        timestep=case.timestep,
        every=case.path // 20,
        seed=5,
        velocities=case.ensemble.temperature,
        mode="forward",
        trainable=lambda path: path == case.leaf,
    )
    slope = along(found.gradient, case.potential, case.leaf)
    size = abs(float(np.mean(found.slope[-1])))
    each = found.slope[-1] / size * abs(slope) if size else found.slope[-1]
    horizon = "none found" if math.isnan(found.horizon) else f"{found.horizon / 1e3:.2g} ps"
    note = f"paths of {case.path * case.timestep / 1e3:.2g} ps; derivatives are good for {horizon}"
    result.append(row("path", slope, _error(each), PATHS * case.path, note))
    return result


def _error(values: Any) -> float:
    values = np.asarray(values, np.float64)
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))


def wells(scale: float) -> Case:
    """Mean squared distance from the anchors: 3 k_B T/k."""
    anchors, k = np.random.default_rng(4).uniform(0.0, 15.0, (6, 3)), 1.3
    atoms = Atoms("Ar6", anchors, cell=[15.0] * 3, pbc=True)
    quantity = partial(_spread, tuple(map(tuple, anchors.tolist())))
    return Case(
        "<r²> by k, atoms in harmonic wells",
        "Å²",
        jxl.HarmonicRestraint(anchors, k),
        ".k",
        quantity,
        False,
        atoms,
        jxl.NVT(300.0, "langevin"),
        2.0,
        round(40_000 * scale),
        50,
        0.1,
        1000,
        -3.0 * BOLTZMANN * 300.0 / k,
    )


def _spread(anchors: Any, _potential: Any, system: Any, _neighbors: Any) -> Any:
    return jnp.mean(jnp.sum((system.positions - jnp.asarray(anchors, system.positions.dtype)) ** 2, axis=-1))


def argon(name: str, unit: str, leaf: str, quantity: Any, width: float, scale: float) -> Case:
    """A liquid of 108 atoms at ρ σ³ = 0.7, k_B T = 1.25 ε."""
    sigma, epsilon = 3.4, 0.0104
    atoms = bulk("Ar", "fcc", a=(4 * sigma**3 / 0.7) ** (1 / 3), cubic=True).repeat((3, 3, 3))
    return Case(
        name,
        unit,
        jxl.LennardJones({"Ar": sigma}, {"Ar": epsilon}, cutoff=8.0, switch=7.0),
        leaf,
        quantity,
        True,
        atoms,
        jxl.NVT(1.25 * epsilon / BOLTZMANN, "langevin"),
        5.0,
        round(20_000 * scale),
        50,
        width,
        200,
    )


def ions(scale: float) -> Case:
    """Mean number of Cl around Li, smoothly counted to about 5 Å, by the strength of the Coulomb term."""
    folder = REFERENCE / "licl_ions"
    frame = np.load(folder / "reference.npz")
    atoms = Atoms(frame["0_numbers"], frame["0_positions"], cell=frame["0_cell"], pbc=True)
    prior = jxl.GaussianBarrier(species=("Li", "Li"), height=5.0, center=1.0, width=0.5)
    coulomb = jxl.ScreenedCoulomb({"Li": 1.0, "Cl": -1.0}, permittivity=78.3)
    return Case(
        "number of Cl within 5 Å of Li by the permittivity, 48 ions of LiCl",
        "1",
        jxl.load_nequip(folder) + prior + coulomb,
        ".terms[2].permittivity",
        _neighbours,
        False,
        atoms,
        jxl.NVT(300.0, "langevin"),
        3.0,
        round(20_000 * scale),
        50,
        0.15,
        200,
    )


def _neighbours(_potential: Any, system: Any, _neighbors: Any) -> Any:
    """Smooth, so that it can be differentiated along a path; nearest images of a box with right angles."""
    numbers = system.numbers
    vectors = system.positions[None] - system.positions[:, None]
    edges = jnp.diagonal(system.cell)
    vectors = vectors - jnp.round(vectors / edges) * edges
    distance = jnp.sqrt(jnp.sum(vectors**2, axis=-1) + 1e-6)
    pair = (numbers[:, None] == 3) & (numbers[None] == 17)
    count = jnp.sum(jnp.where(pair, jax.nn.sigmoid((5.0 - distance) / 0.2), 0.0))
    return count / jnp.sum(numbers == 3)


def cases(scale: float) -> list[Case]:
    """Of the table, with run lengths times ``scale``; that of ions where the published network is at hand."""
    found = [
        wells(scale),
        argon("<U> by ε, liquid argon", "eV", ".epsilon", energy, 0.02, scale),
        argon("pressure by σ, liquid argon", "GPa", ".sigma", pressure_virial, 0.015, 2.0 * scale),
    ]
    return [*found, ions(scale)] if REFERENCE.exists() else found


def main() -> None:
    """Measure, print a table, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of all run lengths")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/gradients.json"))
    arguments = parser.parse_args()
    tables: dict[str, Any] = {}
    for case in cases(arguments.scale):
        if arguments.only not in case.name:
            continue
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = rows_of(case)
        tables[case.name] = {
            "unit": case.unit,
            "exact": case.exact,
            "rows": [asdict(row) for row in rows],
            "seconds": time.perf_counter() - began,
        }
        print(f"{case.name}: d<A>/d ln θ in {case.unit}" + ("" if case.exact is None else f", exact {case.exact:.4g}"))
        for one in rows:
            print(
                f"  {one.method:12s} {one.value:10.4g} ± {one.error:8.2g}"
                f"   error of 10⁶ steps {one.error_of_a_million:8.2g}   {one.note}"
            )
    result = {
        "tables": tables,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "jax": jax.__version__,
        "jaxelyte": jxl.__version__,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
