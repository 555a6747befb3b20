"""Make the fixtures in ``tests/fixtures/nequip``: small random NequIP models, evaluated by nequip itself.

Run in an environment with PyTorch and nequip 0.6 (``python tests/oracles/make_nequip_oracle.py``). Each fixture is a
folder with ``config.json``, ``state_dict.npz`` and ``reference.npz`` (structure, energy, forces, atomic energies in
float64). Weights are random, rounded to float32 so that the files stay small; nothing is trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "nequip"

COMMON: dict[str, Any] = {
    "r_max": 4.0,
    "num_features": 4,
    "invariant_layers": 2,
    "invariant_neurons": 8,
    "avg_num_neighbors": 4.7,
    "chemical_symbol_to_type": {"H": 0, "O": 1, "Na": 2},
    "model_builders": ["SimpleIrrepsConfig", "EnergyModel", "PerSpeciesRescale", "ForceOutput", "RescaleEnergyEtc"],
    "per_species_rescale_scales": [19.0, 25.0, 15.0],
    "per_species_rescale_shifts": [-3.0, -70.0, 11.0],
    "global_rescale_scale": 21.0,
    "global_rescale_shift": None,
}

CASES: dict[str, dict[str, Any]] = {
    "parity": {"num_layers": 3, "l_max": 2, "parity": True},
    "l3_ssp_abs_without_self_connection": {
        "num_layers": 2,
        "l_max": 3,
        "parity": True,
        "num_features": 2,
        "num_basis": 6,
        "PolynomialCutoff_p": 5,
        "invariant_layers": 1,
        "use_sc": False,
        "nonlinearity_scalars": {"e": "ssp", "o": "abs"},
        "nonlinearity_gates": {"e": "tanh", "o": "abs"},
    },
    "four_layers_resnet_explicit_irreps": {
        "num_layers": 4,
        "num_features": None,
        "resnet": True,
        "chemical_embedding_irreps_out": "6x0e",
        "feature_irreps_hidden": "6x0e+3x1e",
        "irreps_edge_sh": "0e+1e",
        "conv_to_output_hidden_irreps_out": "5x0e",
        "invariant_layers": 3,
        "invariant_neurons": 6,
        "PolynomialCutoff_p": 8,
        "BesselBasis_trainable": False,
    },
    "zbl": {
        "num_layers": 2,
        "l_max": 1,
        "parity": True,
        "pair_style": "ZBL",
        "units": "metal",
        "model_builders": [
            "SimpleIrrepsConfig",
            "EnergyModel",
            "PerSpeciesRescale",
            "PairPotentialTerm",
            "StressForceOutput",
            "RescaleEnergyEtc",
        ],
    },
    "norm": {"num_layers": 3, "l_max": 2, "parity": True, "num_features": 3, "nonlinearity_type": "norm"},
    "scalars_without_species_rescale": {
        "num_layers": 1,
        "l_max": 0,
        "parity": False,
        "avg_num_neighbors": None,
        "PolynomialCutoff_p": 4.5,
        "global_rescale_shift": -7.5,
        "per_species_rescale_scales": None,
        "per_species_rescale_shifts": None,
        "model_builders": ["SimpleIrrepsConfig", "EnergyModel", "ForceOutput", "RescaleEnergyEtc"],
    },
}

CONSTANTS = ("_qqr2exesquare",)
"""Arrays that keep float64: physical constants, not weights."""

KEPT = (*COMMON, *(key for case in CASES.values() for key in case), "type_names", "num_types")


def structure() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, positions and cell of 10 atoms in a triclinic cell that is narrower than twice the cut-off."""
    rng = np.random.default_rng(20_231_017)
    cell = np.array([[6.2, 0.0, 0.0], [1.1, 5.7, 0.0], [-0.6, 0.9, 6.5]])
    positions: list[np.ndarray] = []
    while len(positions) < 10:
        trial = rng.uniform(size=3) @ cell
        offsets = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T @ cell
        if all(np.linalg.norm(trial + offsets - other, axis=1).min() > 1.5 for other in positions):
            positions.append(trial)
    return rng.permutation([1] * 4 + [8] * 3 + [11] * 3), np.array(positions), cell


def build(name: str) -> tuple[Any, Any]:
    """The PyTorch model of a case with random float32-valued weights in float64, and its configuration."""
    import torch
    from nequip.model import model_from_config
    from nequip.scripts.train import default_config
    from nequip.utils import Config

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(sorted(CASES).index(name))
    options = {**default_config, **COMMON, **CASES[name], "default_dtype": "float64", "model_dtype": "float64"}
    config = Config.from_dict({key: value for key, value in options.items() if key != "num_features" or value})
    model = model_from_config(config, initialize=True)
    with torch.no_grad():
        for name_, tensor in model.named_parameters():
            if name_.endswith("bessel_weights"):
                tensor.add_(0.1 * torch.randn_like(tensor))
        for key, tensor in model.state_dict().items():
            if key.rpartition(".")[2] not in CONSTANTS and "_w3j_" not in key:
                tensor.copy_(tensor.float().double())
    return model.eval(), config


def evaluate(model: Any, config: Any) -> dict[str, np.ndarray]:
    """Structure, energy, forces and atomic energies by nequip."""
    import torch
    from nequip.data import AtomicData, AtomicDataDict

    numbers, positions, cell = structure()
    order = {"H": 0, "O": 1, "Na": 2}
    symbols = {1: "H", 8: "O", 11: "Na"}
    data = AtomicData.from_points(pos=positions, r_max=config["r_max"], cell=cell, pbc=True)
    data = AtomicData.to_AtomicDataDict(data)
    data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor([[order[symbols[int(z)]]] for z in numbers])
    out = model(data)
    return {
        "numbers": numbers,
        "positions": positions,
        "cell": cell,
        "energy": out["total_energy"].detach().numpy().reshape(()),
        "forces": out["forces"].detach().numpy(),
        "atomic_energies": out["atomic_energy"].detach().numpy().reshape(-1),
    }


def deploy(model: Any, config: Any, path: Path) -> None:
    """Write the model as nequip-deploy does."""
    import torch
    import yaml
    from e3nn.util.jit import script
    from nequip.utils import Config

    metadata = {
        "config": yaml.dump(Config.as_dict(config)),
        "r_max": str(config["r_max"]),
        "type_names": " ".join(config["type_names"]),
        "nequip_version": "0.6.2",
    }
    torch.jit.save(script(model), str(path), _extra_files={key: text.encode("ascii") for key, text in metadata.items()})


def plain_config(config: Any) -> dict[str, Any]:
    """The keys that define the model, as JSON values."""
    chosen = {key: config[key] for key in dict.fromkeys(KEPT) if key in config}
    return json.loads(json.dumps(chosen)) | {"default_dtype": "float32"}


def main() -> None:
    """Write all fixtures."""
    for name in CASES:
        model, config = build(name)
        folder = FIXTURES / name
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
        kept = {k: v for k, v in arrays.items() if "_w3j_" not in k and "output_mask" not in k}
        narrow = {k: v if k.endswith(CONSTANTS) else v.astype(np.float32) for k, v in kept.items()}
        (folder / "config.json").write_text(json.dumps(plain_config(config), indent=1) + "\n")
        np.savez_compressed(folder / "state_dict.npz", allow_pickle=False, **narrow)
        np.savez_compressed(folder / "reference.npz", **evaluate(model, config))
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{name}: {sum(a.size for a in narrow.values())} numbers, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
