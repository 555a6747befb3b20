"""Speed of the published LiCl network in today's nequip, to stand beside `md.py` and `original.py`.

    pip install "nequip==0.19.1" torch         # an environment of its own
    python benchmarks/nequip_now.py --output benchmarks/results/nequip-now-<machine>.json
    python benchmarks/nequip_now.py --device cuda --mode aotinductor --systems 248,992,3968,15872,63488

The network is built with the published parameters, and its forces are checked against the published ones. It is the
same function, but its last layer makes no more than the scalars that the energy needs, the two linear maps of the
readout are one, and the linear maps of the species act on 16 numbers a species instead of 4. `eager` is the network as
it is built; `aotinductor` is what the package compiles for its simulations, by the function of `nequip-compile`, for
energy and forces of any number of atoms (a minute). With `--kernels` convolutions are those of cuEquivariance where it
is installed (`pip install cuequivariance-torch cuequivariance-ops-torch-cu13`). Products are not rounded to TF32. On a
GPU every call is waited for. A system that does not fit the memory is reported as such.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from original import REFERENCE, SYMBOLS, device_name, published, timed, write

FOLDER = REFERENCE / "licl"
INPUTS = ["pos", "edge_index", "atom_types", "cell", "edge_cell_shift"]
OUTPUTS = ["total_energy", "forces"]


def build(options: dict[str, Any], **more: Any) -> Any:
    """The network with the parameters of `FOLDER`; ``more`` are arguments of the package."""
    import torch
    from nequip.model import FullNequIPGNNModel

    with np.load(FOLDER / "state_dict.npz") as arrays:
        known = {name.removeprefix("model.func."): arrays[name] for name in arrays}
    layers, features = options["num_layers"], options["feature_irreps_hidden"]

    def by_kind(name: str) -> dict[str, float]:
        values = known[f"per_species_rescale.{name}"] * known["scale_by"]
        return dict(zip(options["type_names"], values.tolist(), strict=True))

    network = FullNequIPGNNModel(
        seed=0,
        model_dtype="float32",
        r_max=options["r_max"],
        type_names=options["type_names"],
        irreps_edge_sh=options["irreps_edge_sh"],
        type_embed_num_features=options["num_features"],
        feature_irreps_hidden=[features] * (layers - 1) + [f"{options['num_features']}x0e"],
        radial_mlp_depth=[options["invariant_layers"]] * layers,
        radial_mlp_width=[options["invariant_neurons"]] * layers,
        num_bessels=options["num_basis"],
        bessel_trainable=True,
        polynomial_cutoff_p=options["PolynomialCutoff_p"],
        avg_num_neighbors=options["avg_num_neighbors"],
        per_type_energy_scales=by_kind("scales"),
        per_type_energy_shifts=by_kind("shifts"),
        learnable_shift=True,  # that is, with linear maps of the species in the first layer too
        **more,
    ).eval()
    state = network.state_dict()
    for name in state:
        found = parameter(name, known, layers, options["num_features"])
        if found is not None:
            state[name] = torch.as_tensor(np.ascontiguousarray(found).reshape(state[name].shape), dtype=torch.float32)
    network.load_state_dict(state)
    return network


def parameter(name: str, known: dict[str, np.ndarray], layers: int, features: int) -> np.ndarray | None:
    """One array of the state from the published ones; None for those that are made with the network."""
    kinds = 4
    embedding = known["chemical_embedding.linear.weight"].reshape(kinds, features) / np.sqrt(kinds)
    if name.endswith("embed_module.weight"):
        return embedding
    if name.endswith("bessel_weights"):
        return known["radial_basis.basis.bessel_weights"] / np.pi
    if name.endswith("per_atom_energy_readout.mlp_module.mlp.0.weight"):
        first = known["conv_to_output_hidden.linear.weight"].reshape(features, -1)
        second = known["output_hidden_to_scalar.linear.weight"].reshape(-1, 1)
        return first @ second / np.sqrt(len(second))
    if "_convnet.conv." not in name or "tp_scatter" in name or not name.endswith("weight"):
        return None
    layer = int(name.split("layer")[1][0])
    own, part = f"layer{layer}_convnet.conv.", name.split("_convnet.conv.")[1]
    only = features if layer == layers - 1 else None
    if part.startswith("edge_mlp"):
        return radial(int(part.split(".")[2]) // 2, own, known, only)
    scalars = 3 * features  # of the convolution: features and gates, in that order
    found = known[own + part]
    if part == "linear_2.weight" and only:
        return found[: scalars * scalars].reshape(scalars, scalars)[:, :only]
    if part != "sc.weight":
        return found
    blocks = [found[: features * kinds * scalars].reshape(features, kinds, scalars)]
    if only:
        blocks = [blocks[0][..., :only]]
    else:
        blocks += list(found[blocks[0].size :].reshape(-1, features, kinds, features))
    solved = np.linalg.pinv(embedding.astype(np.float64)) * np.sqrt(features / kinds)
    return np.concatenate([np.einsum("vt,utw->uvw", solved, block).ravel() for block in blocks])


def radial(index: int, own: str, known: dict[str, np.ndarray], only_scalars: int | None) -> np.ndarray:
    """A matrix of a radial network, in the scale that the package has now."""
    from e3nn.math import normalize2mom
    from torch.nn.functional import silu

    weight = known[f"{own}fc.layer{index}.weight"]
    if index == 0:
        return weight  # both are divided by the root of the number of inputs
    if index == 2 and only_scalars:
        weight = weight.reshape(len(weight), -1, only_scalars)[:, [0, 4, 12]].reshape(len(weight), -1)
    # silu was scaled to a second moment of one; now matrices are by the root of two
    return weight * normalize2mom(silu).cst / np.sqrt(2)


def inputs(name: str, options: dict[str, Any], device: str) -> tuple[dict[str, Any], np.ndarray]:
    """Input of the network for a system, and the published forces."""
    import torch
    from nequip.data import compute_neighborlist_, from_ase

    _, atoms, forces = published(name)
    data = compute_neighborlist_(from_ase(atoms), options["r_max"])
    kinds = [options["chemical_symbol_to_type"][SYMBOLS[int(z)]] for z in atoms.numbers]
    data["atom_types"] = torch.tensor(kinds)
    data["cell"] = data["cell"].view(1, 3, 3)
    return {key: data[key].to(device) for key in INPUTS}, forces


def compiled(network: Any, data: dict[str, Any], device: str) -> Any:
    """The network as a library, for any number of atoms."""
    import torch
    from nequip.nn.compile import DictInputOutputWrapper
    from nequip.utils.aot import aot_export_model

    dims = {key: torch.export.Dim(f"num_{key}s", min=2) for key in ("node", "edge")}
    dims["graph"] = torch.export.Dim.STATIC
    folder = tempfile.mkdtemp()
    path = aot_export_model(network, device, INPUTS, OUTPUTS, data, dims, f"{folder}/model.nequip.pt2")
    return DictInputOutputWrapper(torch._inductor.aoti_load_package(path), INPUTS, OUTPUTS)


def measure(model: Any, data: dict[str, Any], forces: np.ndarray, device: str, seconds: float) -> dict[str, Any]:
    """Milliseconds per call; raises where the forces are not the published ones."""
    import torch

    def call() -> Any:
        result = model(dict(data))
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    try:
        for _ in range(2):
            call()
        result = call()
        deviation = float(np.abs(result["forces"].detach().cpu().numpy() - forces).max())
        if not deviation < 5e-4:
            raise SystemExit(f"forces deviate by {deviation:.2e} eV/Å from the published ones; no figures")
        single = timed(call)
        times = [timed(call) for _ in range(min(300, max(5, int(seconds / single))))]
    except RuntimeError as error:  # libraries tell in words of their own that memory did not suffice
        return {"error": str(error)[:200]}
    return {
        "force_deviation_eV_A": deviation,
        "force_call_ms_median": float(np.median(times)) * 1e3,
        "force_call_ms_least": float(np.min(times)) * 1e3,
        "calls": len(times),
        "peak_memory_MiB": torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None,
    }


def main() -> None:
    """Measure the systems asked for and write the report after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="248", help="comma-separated, of those of original.py but the ions")
    parser.add_argument("--mode", choices=("eager", "aotinductor"), default="eager")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--kernels", action="store_true", help="convolutions of cuEquivariance, on a GPU")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per system")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    import torch
    from nequip.utils.global_state import set_global_state

    set_global_state(allow_tf32=False)
    torch.set_num_threads(arguments.threads)
    options = json.loads((FOLDER / "config.json").read_text())
    network = build(options)
    if arguments.kernels:
        from nequip.nn._tp_scatter_base import TensorProductScatter

        network = TensorProductScatter.enable_CuEquivariance(network)
    model = network = network.to(arguments.device)
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "mode": arguments.mode + (", cuEquivariance" if arguments.kernels else ""),
        "threads": arguments.threads,
        "device": device_name(arguments.device),
        "parameters": sum(one.numel() for one in network.parameters()),
        "versions": {name: metadata.version(name) for name in ("nequip", "torch", "e3nn")},
        "systems": [],
    }
    for name in arguments.systems.split(","):
        began = time.perf_counter()
        data, forces = inputs(name, options, arguments.device)
        row: dict[str, Any] = {"system": name, "atoms": len(forces), "edges": int(data["edge_index"].shape[1])}
        if arguments.mode == "aotinductor" and model is network:
            model = compiled(network, data, arguments.device)
        row["prepare_s"] = time.perf_counter() - began
        row |= measure(model, data, forces, arguments.device, arguments.seconds)
        report["systems"].append(row)
        print(json.dumps(row), flush=True)
        write(report, arguments.output)


if __name__ == "__main__":
    main()
