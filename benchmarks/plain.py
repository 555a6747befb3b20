"""Speed of networks against the same networks written plainly with e3nn-jax, with the same parameters.

    python benchmarks/plain.py --output benchmarks/results/plain-<machine>.json

`plain` is what one writes with e3nn-jax: a list of edges, `spherical_harmonics`, `tensor_product` of the features of an
edge's sender with its harmonics, times radial weights, `scatter_sum`. `scalars` is the same with a last layer that
makes no more than the scalars that the energy needs. Linear maps and gates, a small part of the work, are those of the
package.

Water at 1 g/cm³, its molecules turned at random on a grid. First energies and forces of all forms are compared, in the
precision that is timed. A force call is energy and forces with the list of neighbours at hand, `potential.compiled()`
for ours. A training step is the gradient of a loss of energies and forces of two frames with respect to all parameters,
ours with optimiser and moving average. Turns of all forms follow each other; times and ratios are medians over the
turns. Memory is what the compiled program asks for beside arguments, as XLA counts it; the arrays of C code are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import jaxelyte as jxl
from jaxelyte.dynamics.summary import versions
from jaxelyte.models import network
from jaxelyte.models.linear import linear, matrices_of
from jaxelyte.models.radial import EdgeGeometry, radial_embedding, radial_hidden
from jaxelyte.models.structure import Layer, Linear
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.training.step import Batch
from training import trainer_of

MODELS = {
    "2 layers x 8": {"r_max": 5.0, "num_layers": 2, "l_max": 2, "num_features": 8, "avg_num_neighbors": 50.0},
    "4 layers x 32": {"r_max": 5.0, "num_layers": 4, "l_max": 2, "num_features": 32, "avg_num_neighbors": 50.0},
}
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
"""Largest difference between forces, relative to the largest force."""


def water(molecules: int, seed: int) -> Atoms:
    """Molecules on a grid, turned at random."""
    rng, side = np.random.default_rng(seed), (molecules * 18.015 / 0.60221) ** (1 / 3)
    count = int(np.ceil(molecules ** (1 / 3)))
    sites = rng.permutation(np.stack(np.meshgrid(*3 * [np.arange(count)]), -1).reshape(-1, 3))[:molecules]
    atoms = Atoms(cell=3 * [side], pbc=True)
    for site in sites:
        one = molecule("H2O")
        one.euler_rotate(*rng.uniform(0, 360, 3))
        one.translate(site * side / count)
        atoms += one
    return atoms


def whole(layer: Layer) -> Layer:
    """The layer with all that it can make."""
    full = lambda plan: replace(plan, used=tuple((0, b.mul) for b in plan.irreps_out))  # noqa: E731
    return replace(
        layer,
        linear_1=full(layer.linear_1),
        linear_2=full(layer.linear_2),
        self_connection=full(layer.self_connection),
        needed=(True,) * len(layer.needed),
    )


def convolve(layer: Layer, act: Any, radial: Any, edges: Any, features: list[Any], neighbors: float) -> list[Any]:
    """Messages to each atom, by block of the intermediate irreps."""
    senders, receivers, embedded, harmonics = edges
    # The product sorts its blocks by irrep.
    paths = sorted(layer.active_paths, key=lambda path: e3nn.Irrep(*layer.irreps_mid[path.mid].ir))
    atoms = next(x for x in features if x is not None).shape[0]
    weights = radial_hidden(act, radial, embedded[:, None])[:, 0] @ radial[f"layer{len(radial) - 1}"]
    weights = weights * (neighbors * radial[f"layer{len(radial) - 1}"].shape[0]) ** -0.5
    sources = sorted({path.source for path in paths})
    blocks = [layer.irreps_in[n] for n in sources]
    nodes = e3nn.from_chunks(
        e3nn.Irreps([(b.mul, (b.l, b.p)) for b in blocks]),
        [features[n].swapaxes(1, 2) for n in sources],
        (atoms,),
        weights.dtype,
    )
    messages = e3nn.tensor_product(
        nodes[senders],
        harmonics,
        filter_ir_out=[e3nn.Irrep(*layer.irreps_mid[path.mid].ir) for path in paths],
        irrep_normalization="component",
        regroup_output=False,
    )
    messages = messages * jnp.concatenate([weights[:, p.start : p.start + p.mul] for p in paths], axis=1)
    sums: Any = e3nn.scatter_sum(messages, dst=receivers, output_size=atoms)
    found: dict[int, list[tuple[int, Any]]] = {}
    for path, chunk in zip(paths, sums.chunks, strict=True):
        found.setdefault(path.mid, []).append((path.offset, chunk.swapaxes(1, 2)))
    merged = {
        mid: jnp.concatenate([x for _, x in sorted(parts, key=lambda p: p[0])], -1) for mid, parts in found.items()
    }
    return [merged.get(mid) for mid in range(len(layer.irreps_mid))]


def mapped(plan: Linear, weight: Any, features: list[Any], kinds: Any = None) -> list[Any]:
    """A linear map with its flat weight."""
    return linear(plan, matrices_of(plan, weight), features, kinds)


@jax.default_matmul_precision("highest")
def energy(scalars_only: bool, config: Any, params: Any, types: Any, vectors: Any, ends: Any) -> Any:
    """Total energy in eV from r_ij of the edges and their ends (senders, receivers)."""
    plan = config.plan
    distance = jnp.linalg.norm(vectors, axis=1)
    geometry = EdgeGeometry(distance[:, None], {})
    embedded = radial_embedding(config, params["radial_basis"]["bessel_weights"], geometry)[:, 0]
    edge = e3nn.Irreps([(1, (b.l, b.p)) for b in plan.harmonics])
    harmonics = e3nn.spherical_harmonics(edge, vectors, normalize=True, normalization="component")
    one_hot = jnp.eye(len(config.type_names), dtype=vectors.dtype)
    kinds = one_hot[types]
    features = mapped(plan.embedding, params["chemical_embedding"], [kinds[:, None]])
    layers = [whole(layer) for layer in plan.layers[:-1]]
    layers.append(plan.layers[-1] if scalars_only else whole(plan.layers[-1]))
    for i, layer in enumerate(layers):
        weights = params[f"layer{i}"]
        mixed = mapped(layer.linear_1, weights["linear_1"], features)
        edges = (*ends, embedded, harmonics)
        sums = convolve(layer, plan.radial, weights["radial"], edges, mixed, config.avg_num_neighbors)
        out = mapped(layer.linear_2, weights["linear_2"], sums)
        assert layer.self_connection is not None
        own = mapped(layer.self_connection, weights["self_connection"], features, kinds)
        features = network.apply_gate(layer, [None if a is None else a + b for a, b in zip(out, own, strict=True)])
    hidden = mapped(plan.output_hidden, params["conv_to_output_hidden"], features)
    each = mapped(plan.output, params["output_hidden_to_scalar"], hidden)[0][:, 0, 0]
    scaled = params["scale"] * (params["scales"][types] * each + params["shifts"][types])
    return jnp.sum(scaled) + params["shift"]


def plain_forms(potential: Any, system: Any) -> tuple[Any, dict[str, Callable[..., Any]]]:
    """Arrays of a frame, and energy and forces (parameters, arrays) of both plain forms."""
    lists = neighbor_lists(system, potential).lists[0]
    there = np.asarray(lists.mask)
    receivers, senders = np.nonzero(there)[0], np.asarray(lists.index)[there]
    shifts = np.asarray(lists.shift)[there] @ np.asarray(system.cell)
    types = np.asarray([potential.config.type_names.index(symbol(z)) for z in np.asarray(system.numbers)])
    arrays = jax.tree.map(
        jnp.asarray,
        {"positions": system.positions, "shifts": shifts.astype(system.positions.dtype), "types": types}
        | {"ends": (senders, receivers)},
    )

    def forces(scalars_only: bool) -> Callable[..., Any]:
        def total(positions: Any, params: Any, arrays: Any) -> Any:
            senders, receivers = arrays["ends"]
            vectors = positions[senders] + arrays["shifts"] - positions[receivers]
            return energy(scalars_only, potential.config, params, arrays["types"], vectors, (senders, receivers))

        def both(params: Any, arrays: Any) -> Any:
            value, gradient = jax.value_and_grad(total)(arrays["positions"], params, arrays)
            return value, -gradient

        return both

    return arrays, {"plain": forces(False), "scalars": forces(True)}


def symbol(number: int) -> str:
    """Chemical symbol."""
    from ase.data import chemical_symbols

    return chemical_symbols[int(number)]


def training_step(forces: Callable[..., Any]) -> Callable[..., Any]:
    """Gradient of a loss of two frames with respect to all parameters."""

    def loss(params: Any, frames: list[Any]) -> Any:
        found = [forces(params, frame) for frame in frames]
        return sum((value - 1.0) ** 2 + jnp.mean((force - 0.1) ** 2) for value, force in found)

    return jax.grad(loss)


def memory(function: Any, *args: Any) -> int:
    """Bytes of a compiled program beside its arguments."""
    found = function.lower(*args).compile().memory_analysis()
    return int(found.temp_size_in_bytes + found.output_size_in_bytes)


def measure(name: str, molecules: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All figures of a model; raises where the forms differ."""
    dtype = str(jnp.zeros(()).dtype)
    frames = [water(molecules, seed) for seed in (0, 1)]
    rng = np.random.default_rng(2)
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=rng.normal(), forces=rng.normal(size=(len(frame), 3)))
    trainer = trainer_of(name, frames, 2, MODELS)
    potential = trainer.problem.start
    systems = [jxl.System.from_atoms(frame, dtype=dtype) for frame in frames]
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), potential.params)
    made = [plain_forms(potential, system) for system in systems]
    ours = potential.prepare(systems[0]).compiled()
    calls = {"ours": (jax.jit(jxl.energy_and_forces), (ours, systems[0], neighbor_lists(systems[0], ours)))}
    calls |= {form: (jax.jit(function), (params, made[0][0])) for form, function in made[0][1].items()}
    results = {form: function(*args)[:2] for form, (function, args) in calls.items()}
    largest = float(jnp.abs(results["plain"][1]).max())
    deviation = {form: float(jnp.abs(x[1] - results["plain"][1]).max()) / largest for form, x in results.items()}
    if not max(deviation.values()) < TOLERANCE[dtype]:
        raise SystemExit(f"{name}: forces of the forms differ by {deviation} of {largest:.2g} eV/Å; no figures")
    bucket, rows = trainer.problem.train.buckets[0], np.arange(2, dtype=np.int32)
    step = (trainer.state, bucket, Batch(rows, rows >= 0), jnp.asarray(1e-3, dtype))
    steps = {"ours": (trainer.programs.train, step)}
    steps |= {
        f: (jax.jit(training_step(function)), (params, [m[0] for m in made])) for f, function in made[0][1].items()
    }
    row: dict[str, Any] = {"model": name, "atoms": 3 * molecules, "edges": len(made[0][0]["ends"][0]), "dtype": dtype}
    row["force_deviation_relative"] = deviation
    for kind, forms in (("force_call", calls), ("training_step", steps)):
        row[kind] = compare(forms, rounds, seconds)
        print(name, kind, json.dumps(row[kind]), flush=True)
    return row


def compare(forms: dict[str, Any], rounds: int, seconds: float) -> dict[str, Any]:
    """Milliseconds, MiB, and ratios to ours."""
    sizes = {form: memory(function, *args) / 2**20 for form, (function, args) in forms.items()}
    times: dict[str, list[float]] = {form: [] for form in forms}
    for function, args in forms.values():
        jax.block_until_ready(function(*args))
    for _ in range(rounds):
        for form, (function, args) in forms.items():
            began, count = time.perf_counter(), 0
            while count < 2 or time.perf_counter() - began < seconds:
                jax.block_until_ready(function(*args))
                count += 1
            times[form].append((time.perf_counter() - began) / count)
    others = [form for form in forms if form != "ours"]
    return {
        "ms": {form: float(np.median(many)) * 1e3 for form, many in times.items()},
        "ratio": {form: float(np.median(np.divide(times[form], times["ours"]))) for form in others},
        "MiB": sizes,
        "memory_ratio": {form: sizes[form] / sizes["ours"] for form in others},
    }


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=";".join(MODELS), help="names, separated by ;")
    parser.add_argument("--molecules", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time of a form in a round")
    parser.add_argument("--x64", action="store_true", help="float64")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", options.x64)
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "device": jax.devices()[0].device_kind,
        "versions": versions(),
        "models": [
            measure(name, options.molecules, options.rounds, options.seconds) for name in options.models.split(";")
        ],
    }
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
