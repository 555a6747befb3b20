"""Speed of the published LiCl networks in the package that trained them, to stand beside `md.py`.

    pip install "nequip==0.6.2" torch          # an environment of its own
    python benchmarks/original.py --output benchmarks/results/original-<machine>.json

Energy and forces of the network alone (TorchScript, frozen, float32) with its graph at hand, as `md.py` has its lists.
The forces are checked against the published ones first.
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

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"
SYMBOLS = {1: "H", 3: "Li", 8: "O", 17: "Cl"}


def load(folder: Path) -> tuple[Any, dict[str, Any], np.ndarray]:
    """The compiled model, its input for the first published configuration, and the forces published for it."""
    import torch
    from e3nn.util.jit import script
    from nequip.data import AtomicData, AtomicDataDict
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
    frame = np.load(folder / "reference.npz")
    data = AtomicData.to_AtomicDataDict(
        AtomicData.from_points(pos=frame["0_positions"], r_max=config["r_max"], cell=frame["0_cell"], pbc=True)
    )
    kinds = [[options["chemical_symbol_to_type"][SYMBOLS[int(z)]]] for z in frame["0_numbers"]]
    data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor(kinds)
    return torch.jit.freeze(script(model)), data, frame["0_forces"]


def measure(name: str, calls: int) -> dict[str, Any]:
    """Milliseconds per call; raises where the forces are not the published ones."""
    model, data, forces = load(REFERENCE / name)
    for _ in range(3):  # TorchScript compiles in its first calls
        model(dict(data))
    result = model(dict(data))
    deviation = float(np.abs(result["forces"].detach().numpy() - forces).max())
    if not deviation < 5e-4:
        raise SystemExit(f"{name}: forces deviate by {deviation:.2e} eV/Å from the published ones; no figures")
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        model(dict(data))
        times.append(time.perf_counter() - began)
    return {
        "model": name,
        "atoms": len(forces),
        "force_deviation_eV_A": deviation,
        "force_call_ms_median": float(np.median(times)) * 1e3,
        "force_call_ms_least": float(np.min(times)) * 1e3,
        "calls": calls,
    }


def main() -> None:
    """Measure both models and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "threads": options.threads,
        "versions": {name: metadata.version(name) for name in ("nequip", "torch", "e3nn")},
        "systems": [measure("licl_ions", 300), measure("licl", 25)],
    }
    print(json.dumps(report, indent=1))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
