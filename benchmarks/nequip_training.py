"""Speed of training in today's nequip, to stand beside `training.py`: the same start weights, frames and batches.

    pip install "nequip==0.19.1" torch         # an environment of its own
    python benchmarks/training.py --start START --output benchmarks/results/training-<machine>.json
    python benchmarks/nequip_training.py --start START --mode compile --output benchmarks/results/nequip-training-….json

The network is built as in `nequip_now.py`, with our start weights, and its forces are compared with ours before
anything is timed. Energies and forces in the loss, Adam, float32, graphs made beforehand. `compile` is the package's
own compilation for training. CPU time is that of the whole process: on a shared machine wall times say little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import nequip_now
import numpy as np
from original import labelled, write


def graphs(folder: Path, settings: dict[str, Any], r_max: float) -> list[Any]:
    """Frames as graphs, energies without reference energies."""
    import torch
    from nequip.data import compute_neighborlist_, from_ase

    found = []
    for atoms, kinds, energy in labelled(folder, settings):
        forces = torch.as_tensor(atoms.get_forces(), dtype=torch.float32)
        atoms.calc = None
        data = compute_neighborlist_(from_ase(atoms), r_max)
        data["atom_types"] = torch.tensor(kinds)
        data["cell"] = data["cell"].view(1, 3, 3)
        data = {key: data[key] for key in nequip_now.INPUTS}
        data = {key: x.float() if x.is_floating_point() else x for key, x in data.items()}
        found.append((data, torch.tensor([energy], dtype=torch.float32), forces))
    return found


def batch(some: list[Any]) -> tuple[dict[str, Any], Any, Any]:
    """Graphs as one."""
    import torch

    parts, energies, forces = zip(*some, strict=True)
    sizes = [len(part["pos"]) for part in parts]
    starts = np.cumsum([0, *sizes[:-1]])
    data = {key: torch.cat([part[key] for part in parts]) for key in ("pos", "atom_types", "cell", "edge_cell_shift")}
    edges = [part["edge_index"] + int(start) for part, start in zip(parts, starts, strict=True)]
    data["edge_index"] = torch.cat(edges, dim=1)
    data["batch"] = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(sizes))
    data["num_atoms"] = torch.tensor(sizes)
    return data, torch.cat(energies), torch.cat(forces)


def measure(folder: Path, mode: str, steps: int) -> dict[str, Any]:
    """Figures of one model."""
    import torch

    settings = json.loads((folder / "settings.json").read_text())
    options = json.loads((folder / "model" / "config.json").read_text())
    nequip_now.FOLDER = folder / "model"
    model = nequip_now.build(options, compile_mode=mode).train()
    every, size = graphs(folder, settings, options["r_max"]), settings["batch_size"]
    for name, value in model.named_parameters():
        if "shifts" in name:
            value.requires_grad_(requires_grad=False)
            value.zero_()  # reference energies are taken off the labels instead
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.005)
    batches = [batch(every[start : start + size]) for start in range(0, len(every), size)]

    def step(n: int) -> float:
        data, energy, forces = batches[n % len(batches)]
        out = model(dict(data))
        difference = out["forces"] - forces
        kinds = data["atom_types"].flatten()
        by_species = [torch.mean(difference[kinds == k] ** 2) for k in torch.unique(kinds)]
        per_atom = (out["total_energy"].flatten() - energy) / data["num_atoms"]
        loss = torch.stack(by_species).mean() + torch.mean(per_atom**2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(torch.mean(difference.detach() ** 2)) ** 0.5

    began, cpu = time.perf_counter(), time.process_time()
    single, _, _ = batch(every[:1])
    found = model(dict(batches[0][0]))["forces"].detach().numpy()[: len(single["pos"])]
    deviation = float(np.abs(found - np.load(folder / "forces.npy")).max())
    if not deviation < 5e-4:
        raise SystemExit(f"{folder.name}: forces deviate by {deviation:.2e} eV/Å from ours; no figures")
    errors = [step(0)]
    first = time.perf_counter() - began, time.process_time() - cpu
    errors += [step(1) for _ in range(2)]
    times, cpus = [], []
    for n in range(steps):
        began, cpu = time.perf_counter(), time.process_time()
        errors.append(step(n))
        times.append(time.perf_counter() - began)
        cpus.append(time.process_time() - cpu)
    usage = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "model": folder.name,
        "mode": mode,
        "batch_size": size,
        "force_deviation_eV_A": deviation,
        "step_ms_median": 1e3 * float(np.median(times)),
        "step_cpu_ms_median": 1e3 * float(np.median(cpus)),
        "steps_timed": steps,
        "first_step_s": first[0],
        "first_step_cpu_s": first[1] + usage[1].ru_utime,
        "peak_MiB": usage[0].ru_maxrss / 1024,
        "force_rmse_eV_A_first_last": [errors[0], errors[-1]],
    }


def main() -> None:
    """Measure and write the report after each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="folder that training.py left")
    parser.add_argument("--models", default="", help="names of the folders in it, separated by commas; all by default")
    parser.add_argument("--mode", choices=("eager", "compile"), default="compile")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    import torch
    from nequip.utils.global_state import set_global_state

    set_global_state(allow_tf32=False)
    torch.set_num_threads(options.threads)
    names = options.models.split(",") if options.models else sorted(p.name for p in options.start.iterdir())
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "threads": options.threads,
        "versions": {name: metadata.version(name) for name in ("nequip", "torch", "e3nn")},
        "models": [],
    }
    for name in names:
        report["models"].append(measure(options.start / name, options.mode, options.steps))
        print(json.dumps(report["models"][-1]), flush=True)
        write(report, options.output)


if __name__ == "__main__":
    main()
