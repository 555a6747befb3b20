"""Speed of training in the package that the networks come from, to stand beside `training.py`.

    pip install "nequip==0.6.2" torch          # an environment of its own
    python benchmarks/original_training.py --start START --output benchmarks/results/original-training-<machine>.json

The same network (start weights, frames and batches of `training.py --start`), energies and forces in the loss, Adam,
float32, graphs made beforehand. Its forces are compared with ours before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from original import labelled


def load(folder: Path) -> Any:
    """The network with our start weights."""
    import torch
    from nequip.model import model_from_config
    from nequip.scripts.train import default_config
    from nequip.utils import Config

    options = json.loads((folder / "model" / "config.json").read_text())
    known = {
        "per_species_rescale_scales": 1.0,
        "per_species_rescale_shifts": 0.0,
        "global_rescale_scale": 1.0,
        "default_dtype": "float32",
        "model_dtype": "float32",
        "num_types": len(options["type_names"]),
        "model_builders": ["SimpleIrrepsConfig", "EnergyModel", "PerSpeciesRescale", "ForceOutput", "RescaleEnergyEtc"],
    }
    model = model_from_config(Config.from_dict({**default_config, **options, **known}), initialize=True)
    state = model.state_dict()
    with np.load(folder / "model" / "state_dict.npz") as arrays:
        ours = {_inner(name): arrays[name] for name in arrays.files}
    for name in state:
        if state[name].numel() and _inner(name) in ours:
            state[name] = torch.as_tensor(ours[_inner(name)], dtype=state[name].dtype).reshape(state[name].shape)
    # Reference energies are taken off the labels instead, in float64.
    for name in state:
        if name.endswith("shifts"):
            state[name] = torch.zeros_like(state[name])
    model.load_state_dict(state)
    return model


def _inner(name: str) -> str:
    """The name of a weight without the modules that wrap the network."""
    return ".".join(part for part in name.split(".") if part not in ("model", "func"))


def graphs(folder: Path, settings: dict[str, Any], r_max: float) -> list[Any]:
    """Frames as nequip's graphs, energies without reference energies."""
    import torch
    from nequip.data import AtomicData, AtomicDataDict

    found = []
    for atoms, kinds, energy in labelled(folder, settings):
        data = AtomicData.from_points(
            pos=atoms.positions,
            r_max=r_max,
            cell=atoms.cell.array,
            pbc=True,
            total_energy=torch.tensor([[energy]], dtype=torch.float32),
            forces=torch.as_tensor(atoms.get_forces(), dtype=torch.float32),
        )
        data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor(kinds)[:, None]
        found.append(data)
    return found


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """Figures of one model."""
    import resource

    import torch
    from nequip.data import AtomicData
    from nequip.data.dataloader import Collater

    settings = json.loads((folder / "settings.json").read_text())
    config = json.loads((folder / "model" / "config.json").read_text())
    model = load(folder).train()
    every, size, collate = graphs(folder, settings, config["r_max"]), settings["batch_size"], Collater()
    deviation = float(
        np.abs(_run(model, AtomicData.to_AtomicDataDict(every[0]))["forces"] - np.load(folder / "forces.npy")).max()
    )
    if not deviation < 5e-4:
        raise SystemExit(f"{folder.name}: forces deviate by {deviation:.2e} eV/Å from ours; no figures")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    rng = np.random.default_rng(0)

    def epoch() -> float:
        square = count = 0.0
        order = rng.permutation(len(every))
        for start in range(0, len(every), size):
            batch = collate.collate([every[n] for n in order[start : start + size]])
            data = AtomicData.to_AtomicDataDict(batch)
            wanted_forces, wanted_energy = data["forces"], data["total_energy"]
            atoms = torch.bincount(data["batch"]).reshape(-1, 1)
            out = model(dict(data))
            difference = out["forces"] - wanted_forces
            kinds = data["atom_types"].flatten()
            by_species = [torch.mean(difference[kinds == k] ** 2) for k in torch.unique(kinds)]
            loss = torch.stack(by_species).mean() + torch.mean(((out["total_energy"] - wanted_energy) / atoms) ** 2)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            square += float(torch.sum(difference.detach() ** 2))
            count += difference.numel()
        return float(np.sqrt(square / count))

    began = time.perf_counter()
    errors = [epoch(), epoch()]  # whatever is compiled, is compiled here
    warm = time.perf_counter() - began
    times = []
    while sum(times) < seconds or len(times) < 3:
        began = time.perf_counter()
        errors.append(epoch())
        times.append(time.perf_counter() - began)
    if not errors[-1] < errors[0]:
        raise SystemExit(f"{folder.name}: the force error rose from {errors[0]:.3g} to {errors[-1]:.3g}; no figures")
    median = float(np.median(times))
    return {
        "model": folder.name,
        "frames": len(every),
        "batch_size": size,
        "force_deviation_eV_A": deviation,
        "frames_per_s": len(every) / median,
        "epochs_timed": len(times),
        "first_two_epochs_s": warm,
        "peak_MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "force_rmse_eV_A_first_last": [errors[0], errors[-1]],
    }


def _run(model: Any, data: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        key: value.detach().numpy() for key, value in model(dict(data)).items() if key in ("forces", "total_energy")
    }


def main() -> None:
    """Measure all models that `training.py` left and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "threads": options.threads,
        "versions": {name: metadata.version(name) for name in ("nequip", "torch", "e3nn")},
        "models": [measure(folder, options.seconds) for folder in sorted(options.start.iterdir())],
    }
    print(json.dumps(report, indent=1))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
