"""Speed of molecular dynamics with the NequIP network of mlip (JAX, InstaDeep), to stand beside `md.py`.

    pip install "mlip==0.2.5" jax-md           # an environment of its own
    python benchmarks/mlip_peer.py --systems 248,992,3968 --output benchmarks/results/mlip-<machine>.json

The network has the size of the published LiCl potential: 3 layers, 16 channels of l = 0, 1, 2, cut-off 5 Å, 8 Bessel
functions, two hidden layers of 32. Its weights are random, and small so that atoms move nearly freely: the package
cannot read those published; its harmonics have natural parity, 11 paths a layer instead of 15, which is in its favour;
there is no Coulomb term. Steps are those of its own engine (Langevin, 0.5 fs, float32) in episodes of which the first,
with the compilation, is left out. Before anything is timed forces are compared with differences of its energies.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
REPEATS = {"248": (1, 1, 1), "992": (2, 2, 1), "3968": (4, 2, 2), "15872": (4, 4, 4), "63488": (8, 8, 4)}
NEIGHBORS = 48.47


def frame(name: str) -> Any:
    """The published frame, repeated."""
    from ase import Atoms

    data = np.load(REFERENCE / "licl" / "reference.npz")
    atoms = Atoms(data["0_numbers"], data["0_positions"], cell=data["0_cell"], pbc=True)
    return atoms.repeat(REPEATS[name])


def force_field() -> Any:
    """The network with random weights."""
    from mlip.data.dataset_info import DatasetInfo
    from mlip.models import ForceField, Nequip

    info = DatasetInfo(
        atomic_energies_map=dict.fromkeys((1, 3, 8, 17), 0.0),
        graph_cutoff_angstrom=5.0,
        avg_num_neighbors=NEIGHBORS,
        scaling_stdev=0.01,
    )
    config = Nequip.Config(
        num_layers=3,
        target_irreps="16x0e + 16x1o + 16x2e",
        l_max=2,
        num_rbf=8,
        radial_mlp_hidden=[32, 32],
        avg_num_neighbors=NEIGHBORS,
    )
    return ForceField.from_mlip_network(Nequip(config, info))


def check(field: Any) -> float:
    """Largest deviation of forces from differences of energies, relative to the largest force."""
    from mlip.simulation.ase.mlip_ase_calculator import MLIPForceFieldASECalculator

    atoms = frame("248")
    atoms.calc = MLIPForceFieldASECalculator(atoms, edge_capacity_multiplier=1.5, force_field=field)
    forces = atoms.get_forces()
    # Along the forces of all atoms, since one atom's share is lost in the rounding of the sum.
    direction = forces / np.linalg.norm(forces)
    ends, step = [], 0.05
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions += sign * step * direction
        ends.append(moved.get_potential_energy())
    found, expected = (ends[0] - ends[1]) / (2.0 * step), -float(np.sum(forces * direction))
    return float(abs(found - expected) / np.linalg.norm(forces))


def measure(name: str, field: Any, seconds: float) -> dict[str, Any]:
    """Milliseconds a step, the median of the episodes after the first."""
    from mlip.simulation.configs import JaxMDSimulationConfig
    from mlip.simulation.jax_md import JaxMDSimulationEngine

    atoms = frame(name)
    guess = 4e-6 * len(atoms) + 1e-3 if jax.default_backend() == "gpu" else 2e-3 * len(atoms)
    each, episodes = max(4, int(seconds / 4 / guess)), 5
    config = JaxMDSimulationConfig(
        num_steps=each * episodes,
        num_episodes=episodes,
        snapshot_interval=each,
        timestep_fs=0.5,
        temperature_kelvin=300.0,
        box=[float(edge) for edge in np.diag(atoms.cell.array)],
    )
    began = time.perf_counter()
    engine = JaxMDSimulationEngine(atoms, field, config)
    times, last = [], time.perf_counter()

    def note(state: Any) -> None:
        nonlocal last
        now = time.perf_counter()
        times.append((now - last) / each)
        temperatures.append(float(np.ravel(state.temperature)[-1]))
        last = now

    temperatures: list[float] = []
    engine.attach_logger(note)
    engine.run()
    if not np.all(np.isfinite(temperatures)):
        raise SystemExit(f"{name}: the run broke down; no figures")
    return {
        "system": name,
        "atoms": len(atoms),
        "md_step_ms": float(np.median(times[1:])) * 1e3,
        "md_steps_ms": [1e3 * one for one in times],
        "start_and_compile_s": last - began - sum(times[1:]) * each,
        "temperatures_K": temperatures,
        "device": jax.devices()[0].device_kind,
    }


def main() -> None:
    """Measure the systems asked for and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="248,992", help=f"comma-separated, of {', '.join(REPEATS)}")
    parser.add_argument("--seconds", type=float, default=10.0, help="measuring time per system")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    field = force_field()
    deviation = check(field)
    if not deviation < 1e-2:
        raise SystemExit(f"forces deviate from differences of energies by {deviation:.1e}; no figures")
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "versions": {one: metadata.version(one) for one in ("mlip", "jax", "jax-md")},
        "parameters": int(sum(np.size(leaf) for leaf in jax.tree.leaves(field.params))),
        "relative_deviation_of_forces": deviation,
        "systems": [],
    }
    for name in options.systems.split(","):
        try:
            row = measure(name, field, options.seconds)
        except Exception as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            row = {"system": name, "error": "out of memory"}
        report["systems"].append(row)
        print(json.dumps(row), flush=True)
        if options.output:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
