"""Speed of the published LiCl networks in the package that trained them, to stand beside `md.py`.

    pip install "nequip==0.6.2" torch          # an environment of its own
    python benchmarks/original.py --output benchmarks/results/original-<machine>.json
    python benchmarks/original.py --device cuda --systems 248,992,3968,15872,63488

Energy and forces of the network alone (TorchScript, frozen, float32) with its graph at hand, as `md.py` has its lists.
Larger systems are the published frame repeated. The forces are checked against the published ones first. The strategy
of fusion is the one that the package deploys models with; products are not rounded to TF32. On a GPU every call is
waited for. A system that does not fit the memory is reported as such. Set `NEQUIP_NL=matscipy` (or `vesin`) where one
of them is installed: the default makes its graphs slowly.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
SYMBOLS = {1: "H", 3: "Li", 8: "O", 17: "Cl"}
SYSTEMS = {
    "48 ions": ("licl_ions", (1, 1, 1)),
    "248": ("licl", (1, 1, 1)),
    "992": ("licl", (2, 2, 1)),
    "3968": ("licl", (4, 2, 2)),
    "15872": ("licl", (4, 4, 4)),
    "63488": ("licl", (8, 8, 4)),
}
"""Names as in `md.py`: potential and repetitions of its published frame."""


def published(name: str) -> tuple[Path, Any, np.ndarray]:
    """Folder of the potential, atoms, and the forces published for them."""
    from ase import Atoms

    model, repeat = SYSTEMS[name]
    folder = REFERENCE / model
    frame = np.load(folder / "reference.npz")
    atoms = Atoms(frame["0_numbers"], frame["0_positions"], cell=frame["0_cell"], pbc=True).repeat(repeat)
    return folder, atoms, np.tile(frame["0_forces"], (int(np.prod(repeat)), 1))


def load(name: str, device: str = "cpu") -> tuple[Any, dict[str, Any], np.ndarray]:
    """The compiled model, its input for a system, and the forces published for it."""
    import torch
    from nequip.data import AtomicData, AtomicDataDict

    folder, atoms, forces = published(name)
    options = json.loads((folder / "config.json").read_text())
    data = AtomicData.to_AtomicDataDict(
        AtomicData.from_points(pos=atoms.positions, r_max=options["r_max"], cell=atoms.cell.array, pbc=True)
    )
    kinds = [[options["chemical_symbol_to_type"][SYMBOLS[int(z)]]] for z in atoms.numbers]
    data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor(kinds)
    return compiled(folder, device), {key: value.to(device) for key, value in data.items()}, forces


def labelled(folder: Path, settings: dict[str, Any]) -> Iterator[tuple[Any, list[int], float]]:
    """Frames that `training.py` left: atoms, the kind of each, and the energy less reference energies in eV."""
    from ase.data import atomic_numbers
    from ase.io import read

    kinds = {atomic_numbers[name]: kind for kind, name in enumerate(settings["species"])}
    frames: Any = read(folder / "frames.extxyz", ":")
    for atoms in frames:
        own = [kinds[z] for z in atoms.numbers]
        yield atoms, own, atoms.get_potential_energy() - sum(settings["references"][kind] for kind in own)


@cache
def compiled(folder: Path, device: str) -> Any:
    """The network with the published parameters, as TorchScript."""
    import torch
    from e3nn.util.jit import script
    from nequip.model import model_from_config
    from nequip.scripts.train import default_config
    from nequip.utils import Config

    options = json.loads((folder / "config.json").read_text())
    known = {
        "per_species_rescale_scales": 1.0,
        "per_species_rescale_shifts": 0.0,
        "global_rescale_scale": 1.0,
        "default_dtype": "float32",
        "model_dtype": "float32",
        "num_types": len(options["type_names"]),
    }
    config = Config.from_dict({**default_config, **options, **known})
    model = model_from_config(config, initialize=True).eval()
    with np.load(folder / "state_dict.npz") as arrays:
        names = {name: name.removeprefix("model.") for name in model.state_dict()}
        state = {k: torch.as_tensor(arrays[n]) if n in arrays else model.state_dict()[k] for k, n in names.items()}
    model.load_state_dict(state)
    torch.jit.set_fusion_strategy(default_config["_jit_fusion_strategy"])
    return torch.jit.freeze(script(model.to(device)))


def measure(name: str, calls: int | None = None, device: str = "cpu", seconds: float = 2.0) -> dict[str, Any]:
    """Milliseconds per call, of the calls asked for or as many as fit; raises where forces are not those published."""
    import torch

    began = time.perf_counter()
    model, data, forces = load(name, device)
    prepared = time.perf_counter()
    row: dict[str, Any] = {"system": name, "model": SYSTEMS[name][0], "atoms": len(forces)}
    row |= {"edges": int(data["edge_index"].shape[1]), "device": device_name(device)}

    def call() -> Any:
        result = model(dict(data))
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    try:
        for _ in range(3):  # TorchScript compiles in its first calls
            call()
        result = call()
        first = time.perf_counter()
        deviation = float(np.abs(result["forces"].detach().cpu().numpy() - forces).max())
        # Coordinates of some hundred Å are rounded to 1e-5 Å in float32, and OH bonds have 50 eV/Å².
        if not deviation < (5e-4 if len(forces) < 4000 else 2e-3):
            raise SystemExit(f"{name}: forces deviate by {deviation:.2e} eV/Å from the published ones; no figures")
        single = timed(call)
        times = [timed(call) for _ in range(calls or min(300, max(5, int(seconds / single))))]
    except RuntimeError as error:  # out of memory, within TorchScript too
        if "out of memory" not in str(error):
            raise
        return row | {"error": "out of memory"}
    return row | {
        "force_deviation_eV_A": deviation,
        "force_call_ms_median": float(np.median(times)) * 1e3,
        "force_call_ms_least": float(np.min(times)) * 1e3,
        "calls": len(times),
        "prepare_s": prepared - began,
        "first_calls_s": first - prepared,
        "peak_memory_MiB": torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None,
    }


def timed(call: Any) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def device_name(device: str) -> str:
    """The card, or what was asked for."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device


def write(report: dict[str, Any], output: Path | None) -> None:
    """After every system, so that what was measured is kept."""
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    """Measure the systems asked for and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="48 ions,248", help=f"comma-separated, of {', '.join(SYSTEMS)}")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, help="measuring time per system, instead of 300 and 25 calls")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "threads": options.threads,
        "device": device_name(options.device),
        "versions": {name: metadata.version(name) for name in ("nequip", "torch", "e3nn")},
        "systems": [],
    }
    for name in options.systems.split(","):
        if options.seconds or options.device == "cuda":
            row = measure(name, None, options.device, options.seconds or 2.0)
        else:
            row = measure(name, 300 if name == "48 ions" else 25)
        report["systems"].append(row)
        print(json.dumps(row), flush=True)
        write(report, options.output)


if __name__ == "__main__":
    main()
