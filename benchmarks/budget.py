"""What a force call of a NequIP potential has to compute and to move, against what it takes.

    python benchmarks/budget.py --output benchmarks/results/budget-<machine>.json

Counts floating-point operations and bytes of the published all-atom LiCl model, by layer, forwards and backwards, from
its tables of paths (a multiplication and an addition are two operations), with its radial networks and with the tables
that take their place on CPUs (`jaxelyte.models.table`). The least time on a machine is the larger of
operations over its peak and bytes over its bandwidth. Peak and bandwidth of this machine are measured: a matrix
product, and a copy of an array larger than the cache; those of a GPU are data-sheet values. The force call is timed in
CPU time, which other programs on the machine do not change much.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from md import force_call, load

FLOAT = 4
"""Bytes."""

GPUS = {"H100": (67e12, 3.35e12), "H200": (60e12, 4.3e12)}
"""float32 operations without tensor cores, and bytes of memory, by second."""

EDGE_WORK = 4.0
"""Forwards, forwards again instead of storing, and two products backwards (to weights or features, to harmonics)."""

TABLE_WORK = 12.0 + 12.0 + 14.0
"""Of a column of a table: six factors times six rows forwards, backwards again, and then the slope and its product."""

NODE_WORK = 2.0
"""Forwards, and backwards to the features alone: forces need no derivatives by parameters."""


def layer_counts(layer: Any, radial: dict[str, Any]) -> dict[str, float]:
    """Operations for an edge and for an atom, and numbers read for an edge, of one layer, forwards."""
    paths = layer.active_paths
    shapes = [radial[f"layer{n}"].shape for n in range(len(radial))]
    columns = sum(path.mul for path in paths)
    network = 2.0 * (sum(a * b for a, b in shapes[:-1]) + shapes[-1][0] * columns)
    products = sum(path.mul * (2 * path.l1 + 1) for path in paths)
    sums = sum(2.0 * path.mul * (2 * path.l1 + 1) * (2 * path.l2 + 1) for path in paths)
    couplings = sum(2.0 * path.mul * (2 * path.l1 + 1) * (2 * path.l2 + 1) * (2 * path.l3 + 1) for path in paths)
    sources = {path.source: path.mul * (2 * path.l1 + 1) for path in paths}
    return {
        "paths": len(paths),
        "radial_network_per_edge": network,
        "table_columns_per_edge": columns,
        "products_per_edge": products,
        "sums_per_edge": sums,
        "couplings_per_atom": couplings,
        "numbers_read_per_edge": float(sum(sources.values())),
    }


def linear_work(linear: Any) -> float:
    """Operations of a linear map for an atom: each weight in use meets every component of its block."""
    total = 0.0
    for path in linear.paths:
        first, last = linear.used[path.target]
        inputs = float(np.prod(path.shape[:-1]))  # with the species axis of a map that depends on it: all of them
        inputs /= max(1, linear.species)
        total += 2.0 * inputs * (last - first) * linear.irreps_out[path.target].dim
    return total


def cpu_seconds(call: Callable[[], Any], repeats: int) -> float:
    """CPU time of a call, the least of five."""
    call()
    times = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(repeats):
            call()
        times.append((time.process_time() - began) / repeats)
    return min(times)


def machine() -> dict[str, float]:
    """Operations and bytes a second of one core: a matrix product of float32, and a copy of 256 MB."""
    square = jnp.ones((1024, 1024), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    block = np.ones(2**26, np.float32)
    target = np.empty_like(block)
    return {
        "flops": 2.0 * 1024**3 / cpu_seconds(lambda: product(square).block_until_ready(), 5),
        "bytes": 2.0 * block.nbytes / cpu_seconds(lambda: np.copyto(target, block), 2),
    }


def measured_seconds(potential: Any, atoms: Any) -> tuple[float, float, float]:
    """CPU time of a force call, of one with radial networks instead of tables, and of the energy alone."""
    from jaxelyte.neighbors import neighbor_lists
    from jaxelyte.system import System

    forces = [cpu_seconds(force_call(form, atoms), 3) for form in (potential, potential.compiled(tables=False))]
    system = System.from_atoms(atoms)
    prepared = potential.prepare(system).compiled()
    lists, energy = neighbor_lists(system, prepared), jax.jit(lambda p, s, n: p.energy(s, n))
    return forces[0], forces[1], cpu_seconds(lambda: jax.block_until_ready(energy(prepared, system, lists)), 3)


def main() -> None:
    """Count, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", default="248", choices=["48 ions", "248", "992"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/output/budget.json"))
    arguments = parser.parse_args()
    import jaxelyte as jxl
    from jaxelyte.neighbors import neighbor_lists
    from jaxelyte.system import System

    potential, atoms, deviation = load(arguments.system)
    if not deviation < 5e-4:
        raise SystemExit(f"forces deviate by {deviation:.2e} eV/Å from the published ones; no figures")
    network = potential.terms[0]
    system = System.from_atoms(atoms)
    (listed,) = neighbor_lists(system, network.prepare(system)).lists
    edges = int(np.sum(np.asarray(listed.index) < len(atoms)))
    slots = int(np.asarray(listed.index).size)
    layers = []
    for number, layer in enumerate(network.config.plan.layers):
        counts = layer_counts(layer, network.params[f"layer{number}"]["radial"])
        maps = [layer.linear_1, layer.linear_2, *([layer.self_connection] if layer.self_connection else [])]
        layers.append(counts | {"linear_maps_per_atom": sum(linear_work(one) for one in maps)})

    def total(*names: str) -> float:
        return float(sum(layer[name] for layer in layers for name in names))

    per_edge = EDGE_WORK * total("radial_network_per_edge", "products_per_edge", "sums_per_edge")
    per_atom = NODE_WORK * total("couplings_per_atom", "linear_maps_per_atom")
    products = EDGE_WORK * total("products_per_edge", "sums_per_edge")
    tables = (products + TABLE_WORK * total("table_columns_per_edge")) * edges + per_atom * len(atoms)
    # Features of neighbours are read forwards and again backwards, and their gradients are added up (read and written).
    moved = FLOAT * (4.0 * total("numbers_read_per_edge") + 4.0 * len(layers)) * edges
    work = per_edge * edges + per_atom * len(atoms)
    here = machine()
    measured, networks, energies = measured_seconds(potential, atoms)
    least = {"this core": max(work / here["flops"], moved / here["bytes"])}
    least["this core, tables"] = max(tables / here["flops"], moved / here["bytes"])
    least |= {name: max(work / flops, moved / rate) for name, (flops, rate) in GPUS.items()}
    result = {
        "system": arguments.system,
        "atoms": len(atoms),
        "edges": edges,
        "slots_of_the_list": slots,
        "layers": layers,
        "flops_of_a_force_call": work,
        "share_of_the_radial_networks": EDGE_WORK * total("radial_network_per_edge") * edges / work,
        "flops_with_tables": tables,
        "bytes_of_a_force_call": moved,
        "gflops_of_this_core": here["flops"] / 1e9,
        "gbytes_of_this_core": here["bytes"] / 1e9,
        "least_ms": {name: 1e3 * seconds for name, seconds in least.items()},
        "force_call_cpu_ms": 1e3 * measured,
        "force_call_without_tables_cpu_ms": 1e3 * networks,
        "energy_cpu_ms": 1e3 * energies,
        "fraction_of_the_roofline": least["this core, tables"] / measured,
        "fraction_without_tables": least["this core"] / networks,
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "jaxelyte": jxl.__version__,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
