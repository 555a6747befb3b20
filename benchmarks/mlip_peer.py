"""Speed of the NequIP of mlip (InstaDeep, JAX) at the size of the published LiCl network, to stand beside `md.py`.

    pip install "mlip==0.2.5"                  # an environment of its own; "mlip[cuda13]" on a GPU
    python benchmarks/mlip_peer.py --systems 248,992 --output benchmarks/results/mlip-<machine>.json

Parameters are random, which does not change the cost. The same as in the published network: 3 layers, 16 features of
each degree, l_max 2, 8 Bessel functions, radial networks of 2 x 32 neurons, gate with silu, linear maps of the species
beside the convolutions, readout 16 to 8 to 1, r_max 5 Å, 48.47 neighbours. What differs:

- Parities. The published network ignores them (all features even, 15 paths in layers 2 and 3). Spherical harmonics
  here have their natural parity: features 0e + 1o + 2e give 11 paths (default), `--parities both` gives 15 in layer 2
  and 30 in layer 3.
- All features of the last layer are computed, as in the original; the readout reads its scalars only.
- The envelope is the polynomial of order 5 (published: 6), Bessel functions are fixed (published: trained).

Parameters are counted in the report. A force call is energy and forces of the jitted force field with its graph at
hand; an MD step is one of its JAX-MD engine (Langevin, 0.5 fs, episodes of equal length, of which the first ones
compile). The engine makes its neighbour list anew in every step by testing all pairs, so that systems beyond
`--md-limit` atoms are not tried. Products are not rounded to TF32 unless `--tf32` is given. With e3j-ops installed and
a GPU, convolutions are its fused kernels; `--plain` takes those written in JAX. Checks: forces finite, their sum zero,
and their product with a displacement equal to the difference of energies.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from original import published, timed, write

PARITIES = {
    "natural": "16x0e + 16x1o + 16x2e",
    "both": "16x0e + 16x0o + 16x1o + 16x1e + 16x2e + 16x2o",
}


@cache
def force_field(folder: Path, parities: str) -> Any:
    """The NequIP of mlip with the settings of a published network."""
    import jax
    from mlip.data.dataset_info import DatasetInfo
    from mlip.data.helpers.dummy_init_graph import get_dummy_graph_for_model_init
    from mlip.models import ForceField, Nequip
    from mlip.typing.properties import Properties

    known = json.loads((folder / "config.json").read_text())
    info = DatasetInfo(
        atomic_energies_map=dict.fromkeys((1, 3, 8, 17), 0.0),
        graph_cutoff_angstrom=known["r_max"],
        avg_num_neighbors=known["avg_num_neighbors"],
    )
    config = Nequip.Config(
        num_layers=known["num_layers"],
        target_irreps=PARITIES[parities].replace("16x", f"{known['num_features']}x"),
        l_max=known["l_max"],
        num_rbf=known["num_basis"],
        radial_mlp_hidden=[known["invariant_neurons"]] * known["invariant_layers"],
    )
    network, wanted = Nequip(config, info), Properties()
    predictor = ForceField.get_predictor_class(wanted, config)(
        mlip_network=network,
        required_properties=wanted,
        energy_head=ForceField.get_energy_head(config, wanted, network),
    )
    # as ForceField.from_mlip_network does, but compiled: it takes half a minute otherwise
    return ForceField(predictor, jax.jit(predictor.init)(jax.random.key(42), get_dummy_graph_for_model_init()))


def make_graph(atoms: Any, cutoff: float) -> Any:
    """The graph of a system on the device, with the empty one that its batches end with."""
    import jax
    from mlip.data.chemical_system import ChemicalSystem
    from mlip.data.helpers.dynamically_batch import dynamically_batch
    from mlip.graph import Graph

    graph = Graph.from_chemical_system(ChemicalSystem.from_ase_atoms(atoms), cutoff)
    nodes, edges = int(graph.n_node[0]), int(graph.n_edge[0])
    return jax.device_put(next(dynamically_batch([graph], nodes + 1, edges + 1, 2)))


def checked(call: Any, graph: Any, atoms: int) -> dict[str, float]:
    """Sum of forces and their error along a displacement; raises where the result is not right."""
    forces = np.asarray(call(graph).forces, np.float64)[:atoms]
    if not np.isfinite(forces).all() or not np.abs(forces).max() > 0:
        raise SystemExit("forces are not finite, or zero; no figures")
    largest = float(np.abs(forces).max())
    total = float(np.abs(forces.sum(0)).max() / np.abs(forces).sum(0).max())
    shift = np.zeros(graph.nodes.positions.shape)
    shift[:atoms] = 0.01 * forces / largest
    energies = []
    for sign in (1, -1):
        moved = graph.replace_nodes(positions=(graph.nodes.positions + sign * shift).astype(np.float32))
        energies.append(float(call(moved).energy[0]))
    work = float(-2 * (forces * shift[:atoms]).sum())
    error = abs((energies[0] - energies[1]) / work - 1)
    if not (total < 1e-4 and error < 0.03):
        raise SystemExit(f"sum of forces {total:.1e} of their magnitudes, work off by {error:.1e}; no figures")
    return {"largest_force_eV_A": largest, "sum_of_forces_relative": total, "work_error_relative": error}


def steps(field: Any, atoms: Any, timestep: float, length: int, episodes: int) -> tuple[list[float], float]:
    """Seconds per step of the episodes after the first two, and seconds until then."""
    from mlip.simulation.configs.jax_md_config import JaxMDSimulationConfig
    from mlip.simulation.jax_md import JaxMDSimulationEngine

    config = JaxMDSimulationConfig(
        num_steps=length * episodes,
        num_episodes=episodes,
        snapshot_interval=length,
        timestep_fs=timestep,
        temperature_kelvin=300.0,
    )
    began = time.perf_counter()
    engine = JaxMDSimulationEngine(atoms, field, config)
    ends: list[float] = []
    engine.attach_logger(lambda _: ends.append(time.perf_counter()))
    engine.run()
    if len(ends) < episodes or not np.isfinite(engine.state.temperature).all():
        raise SystemExit(f"the simulation did not go through: {len(ends)} of {episodes} episodes")
    return list(np.diff(ends)[1:] / length), ends[1] - began


def measure(name: str, options: argparse.Namespace, report: dict[str, Any], row: dict[str, Any]) -> None:
    """All figures of one system, put into its row as they come."""
    import jax

    folder, atoms, _ = published(name)
    began = time.perf_counter()
    field = force_field(folder, options.parities)
    graph = make_graph(atoms, field.cutoff_distance)
    row |= {"atoms": len(atoms), "edges": int(graph.n_edge[0]), "parities": options.parities}
    row |= {"parameters": sum(leaf.size for leaf in jax.tree.leaves(field.params)), "prepare_s": since(began)}
    call = jax.jit(field)
    began = time.perf_counter()
    jax.block_until_ready(call(graph))
    row["force_compile_s"] = since(began)
    row |= checked(call, graph, len(atoms))

    def ready() -> None:
        jax.block_until_ready(call(graph))

    single = min(timed(ready) for _ in range(2))
    times = [timed(ready) for _ in range(min(300, max(5, int(options.seconds / single))))]
    row |= {"force_call_ms_median": float(np.median(times)) * 1e3, "force_call_ms_least": float(np.min(times)) * 1e3}
    row |= {"calls": len(times), "device": jax.devices()[0].device_kind, "peak_memory_MiB": peak()}
    show(row, report, options.output)
    if len(atoms) > options.md_limit:
        row["md_error"] = "not tried: the list of the engine tests all pairs"
        return
    length = min(500, max(5, int(options.seconds / 5 / row["force_call_ms_median"] * 1e3)))
    found, start = steps(field, atoms, options.timestep, length, options.episodes)
    row |= {
        "md_step_ms": float(np.median(found)) * 1e3,
        "md_step_ms_range": [float(np.min(found)) * 1e3, float(np.max(found)) * 1e3],
        "md_steps_per_episode": length,
        "md_start_and_compile_s": start,
        "peak_memory_MiB": peak(),
    }


def since(began: float) -> float:
    """Seconds."""
    return time.perf_counter() - began


def peak() -> float | None:
    """Most memory of the device in use so far, in MiB, where it tells."""
    import jax

    stats = jax.local_devices()[0].memory_stats() or {}
    return stats["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in stats else None


def show(row: dict[str, Any], report: dict[str, Any], output: Path | None) -> None:
    """Print a row and keep the report."""
    print(json.dumps(row), flush=True)
    write(report, output)


def main() -> None:
    """Measure the systems asked for and write the report after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="248,992", help="comma-separated, of those of original.py")
    parser.add_argument("--parities", choices=tuple(PARITIES), default="natural")
    parser.add_argument("--plain", action="store_true", help="convolutions in JAX where fused ones are installed")
    parser.add_argument("--tf32", action="store_true", help="products as the package leaves them to the device")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs")
    parser.add_argument("--episodes", type=int, default=7, help="of molecular dynamics, the first two not counted")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per system and kind")
    parser.add_argument("--md-limit", type=int, default=20_000, help="atoms up to which molecular dynamics is tried")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.plain:
        os.environ["E3J_BACKEND"] = "cpu"  # read when e3j is imported; names its implementation, not the device
    import e3j
    import jax

    logging.getLogger("mlip").setLevel(logging.ERROR)
    if not options.tf32:
        jax.config.update("jax_default_matmul_precision", "highest")
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "precision": "TF32" if options.tf32 else "float32",
        "convolution": str(e3j.utils.config.state().convolution),
        "versions": {name: metadata.version(name) for name in ("mlip", "e3j", "jax", "jax_md")},
        "systems": [],
    }
    for name in options.systems.split(","):
        row: dict[str, Any] = {"system": name}
        report["systems"].append(row)
        try:
            measure(name, options, report, row)
        except (jax.errors.JaxRuntimeError, ValueError) as error:  # of memory, or a box too small for its list
            row["error"] = str(error)[:200]
        show(row, report, options.output)


if __name__ == "__main__":
    main()
