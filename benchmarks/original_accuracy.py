"""The same training by mir-group's nequip, to stand beside `accuracy.py train`.

    pip install nequip                 # an environment of its own; 0.19 here
    python benchmarks/original_accuracy.py --start START --output original-accuracy.json

Runs `nequip-train` with the frames, hyperparameters, reference energies and number of epochs that
`accuracy.py train --start START` left, and evaluates its best weights on the same untouched frames.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any


def configuration(start: Path, work: Path, compiled: bool) -> dict[str, Any]:
    """What `nequip-train` is to do."""
    settings = json.loads((start / "settings.json").read_text())
    model, epochs = settings["model"], settings["epochs"]
    names = list(model["type_names"])
    plateau = {
        "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "factor": 0.5,
        "patience": 3,
        "mode": "min",
    }
    cosine = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": epochs}
    monitor = "val0_epoch/weighted_sum"
    schedule = {"scheduler": plateau if settings["schedule"] == "plateau" else cosine, "monitor": monitor}
    weights = {"total_energy": 1.0, "forces": 1.0}
    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": settings["batch_size"], "num_workers": 0}
    by_species = {
        "name": "forces_by_species",
        "field": "forces",
        "metric": {"_target_": "nequip.train.RootMeanSquaredError"},
        "per_type": True,
    }
    metrics = {
        "_target_": "nequip.train.EnergyForceMetrics",
        "coeffs": {"forces_rmse": 1.0},
        "type_names": names,
        "extra_metrics": [by_species],
    }
    return {
        "run": ["train", "test"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 0,
            "train_file_path": str(start / "train.extxyz"),
            "val_file_path": str(start / "validation.extxyz"),
            "test_file_path": str(start / "test.extxyz"),
            "transforms": [
                {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": names},
                {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": model["r_max"]},
            ],
            "train_dataloader": loader | {"shuffle": True},
            "val_dataloader": loader,
            "test_dataloader": loader,
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": epochs,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "logger": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(work), "name": "log"},
            "callbacks": [
                {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "monitor": monitor,
                    "dirpath": str(work),
                    "filename": "best",
                    "save_last": True,
                },
                {"_target_": "original_accuracy.epoch_timer", "path": str(work / "seconds.txt")},
            ],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": 0.99,
            "loss": {"_target_": "nequip.train.EnergyForceLoss", "per_atom_energy": True, "coeffs": weights},
            "val_metrics": metrics,
            "test_metrics": metrics,
            "optimizer": {"_target_": "torch.optim.Adam", "lr": settings["learning_rate"]},
            "lr_scheduler": schedule,
            "model": {
                "_target_": "nequip.model.NequIPGNNModel",
                "seed": 0,
                "model_dtype": "float32",
                "compile_mode": "compile" if compiled else "eager",
                "type_names": names,
                "r_max": model["r_max"],
                "num_layers": model["num_layers"],
                "l_max": model["l_max"],
                "parity": model["parity"],
                "num_features": model["num_features"],
                "radial_mlp_depth": model["invariant_layers"],
                "radial_mlp_width": model["invariant_neurons"],
                "num_bessels": model["num_basis"],
                "bessel_trainable": model["trainable_bessel"],
                "polynomial_cutoff_p": int(model["polynomial_cutoff_p"]),
                "avg_num_neighbors": model["avg_num_neighbors"],
                "per_type_energy_scales": settings["scales"],
                "per_type_energy_shifts": settings["references"],
            },
        },
    }


def epoch_timer(path: str) -> Any:
    """A callback of lightning that appends the seconds of each epoch's updates, without validation, to a file."""
    from lightning.pytorch import Callback  # pyright: ignore[reportMissingImports]

    class Timer(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            self.began = time.perf_counter()

        def on_train_batch_end(self, *_: Any) -> None:
            self.ended = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            with Path(path).open("a") as file:
                file.write(f"{self.ended - self.began}\n")

    return Timer()


def rows(work: Path) -> list[dict[str, float]]:
    """The metrics that nequip logged."""
    files = sorted(work.glob("log/version_*/metrics.csv"))
    with files[-1].open() as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def main() -> None:
    """Train, evaluate and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/output/original-accuracy"))
    parser.add_argument("--compile", action="store_true", help="torch.compile, which needs a C++ compiler")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    content = configuration(options.start.resolve(), work, options.compile)
    (work / "peer.yaml").write_text(json.dumps(content, indent=1))  # JSON is YAML
    program = Path(sys.executable).with_name("nequip-train")
    began = time.perf_counter()
    command = [str(program), "-cp", str(work), "-cn", "peer", f"hydra.run.dir={work}/hydra"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}  # for epoch_timer
    subprocess.run(command, check=True, env=environment)
    seconds = time.perf_counter() - began
    found: dict[str, float] = {}
    for row in rows(work):
        found |= row
    epochs = [float(line) for line in (work / "seconds.txt").read_text().split()]
    report = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: metadata.version(name) for name in ("nequip", "torch", "e3nn")},
        "epochs": content["trainer"]["max_epochs"],
        "compiled": options.compile,
        "wall_s": seconds,
        "seconds_per_epoch": statistics.median(epochs),
        "test": {key: value for key, value in found.items() if key.startswith("test")},
        "validation": {key: value for key, value in found.items() if key.startswith("val")},
    }
    print(json.dumps(report, indent=1))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
