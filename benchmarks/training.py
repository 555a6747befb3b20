"""Speed of training on NaCl(aq) frames: frames per second, compilation, memory.

    python benchmarks/training.py --output benchmarks/results/training-<machine>.json --start START
    python benchmarks/original_training.py --start START --output benchmarks/results/original-training-<machine>.json

Frames of `../shared/data` (r2SCAN), float32, energies and forces in the loss, Adam. The first command leaves the
start weights, frames and forces in the folder START; the second measures nequip on the very same network and frames.
Before anything is timed, the forces of the network in the training step are compared with those of the calculator in
float64, and the loss has to fall over the updates that are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxelyte as jxl
from jaxelyte.data.labels import collect_labels
from jaxelyte.data.split import Split
from jaxelyte.dynamics.summary import versions
from jaxelyte.interop.published import place_of
from jaxelyte.training.loss import predict, predictions_gradient
from jaxelyte.training.problem import make_problem
from jaxelyte.training.step import Batch
from jaxelyte.training.trainer import Trainer

DATA = place_of("data", holding="nacl_r2SCAN.xyz.gz") / "nacl_r2SCAN.xyz.gz"
MODELS = {
    f"{layers} layers x {features}, l 2": {
        "r_max": 5.0,
        "num_layers": layers,
        "l_max": 2,
        "num_features": features,
        "parity": False,  # as the published networks, so that `nequip_training.py` has the same network
    }
    for layers, features in ((3, 16), (2, 8), (4, 32))
}


def trainer_of(name: str, frames: list[Any], batch_size: int, models: dict[str, Any] = MODELS) -> Trainer:
    """A trainer whose training and validation frames are all of ``frames``."""
    every = np.arange(len(frames))
    split = Split(every, every, every[:0])
    problem = make_problem(
        frames,
        collect_labels(frames),
        jxl.NequIP(**models[name]),
        split,
        baseline=None,
        scales="overall",
        references=None,
        seed=0,
        committee=None,
    )
    settings = jxl.Optimization(learning_rate=0.005)
    return Trainer(problem, jxl.Loss(), settings, 1000, batch_size, 0, None, 1, False, None)


def check(trainer: Trainer, frames: list[Any]) -> float:
    """Largest difference in eV/Å between the forces that training sees and those of the calculator in float64."""
    bucket, numbers = trainer.problem.train.buckets[0], trainer.problem.train.frames[0]
    rows = np.zeros(trainer.batch_size, np.int32)
    predicted = trainer.programs.predict(trainer.state.potential, bucket, Batch(rows, rows == 0))
    atoms = frames[int(numbers[0])].copy()
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        wide = jax.tree.map(lambda x: np.asarray(x, np.float64), trainer.state.potential)
        atoms.calc = jxl.Calculator(jax.tree.map(jax.numpy.asarray, wide))
        exact = atoms.get_forces()
    return float(np.abs(np.asarray(predicted.forces[0])[: len(atoms)] - exact).max())


def leave(trainer: Trainer, frames: list[Any], folder: Path) -> None:
    """Start weights, frames and forces for the peer."""
    from ase.io import write

    folder.mkdir(parents=True, exist_ok=True)
    jxl.save_nequip(trainer.problem.start, folder / "model", overwrite=True)
    write(folder / "frames.extxyz", frames, format="extxyz")
    atoms = frames[0].copy()
    atoms.calc = jxl.Calculator(trainer.problem.start)
    np.save(folder / "forces.npy", atoms.get_forces())
    references = trainer.problem.references.energies.tolist()
    species = list(trainer.problem.config.type_names)
    content = {"batch_size": trainer.batch_size, "species": species, "references": references}
    (folder / "settings.json").write_text(json.dumps(content) + "\n")


def stages(trainer: Trainer, turns: int = 7) -> dict[str, float]:
    """CPU time in ms of the two stages of a step, in turns, and what the second costs in calls of the first.

    The first stage is energies and forces, the second the gradient by the weights: in plain JAX, in C, and in C with
    tables in place of the radial networks, as training has them in float32.
    """
    bucket = jax.tree.map(lambda x: x[: trainer.batch_size], trainer.problem.train.buckets[0])
    potential, knots = trainer.problem.start, trainer.knots
    programs: dict[str, Any] = {}
    for name, switch, count in (("plain", "0", 0), ("c", "1", 0), ("tables", "1", knots)):
        first = jax.jit(lambda p, n=count: predict(p.compiled(knots=n), bucket, stress=False))
        second = jax.jit(lambda p, c, n=count: predictions_gradient(p, bucket, c, stress=False, knots=n))
        os.environ["JAXELYTE_NATIVE"] = switch  # read when a program is traced
        found = first(potential)
        weights = jax.tree.map(lambda x: jax.random.normal(jax.random.key(0), x.shape, x.dtype), found)
        jax.block_until_ready(second(potential, weights))
        programs[f"{name}, first"] = lambda f=first: f(potential)
        programs[f"{name}, second"] = lambda f=second, w=weights: f(potential, w)
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(turns):
        for name, program in programs.items():
            began = time.process_time()
            jax.block_until_ready(program())
            times[name].append(1e3 * (time.process_time() - began))
    medians = {name: float(np.median(some)) for name, some in times.items()}
    calls = {
        f"{name}, force calls of the second": medians[f"{name}, second"] / medians[f"{name}, first"]
        for name in ("c", "tables")
    }
    calls["plain, force calls in c of the second"] = medians["plain, second"] / medians["c, first"]
    return medians | calls


def measure(
    name: str, frames: list[Any], batch_size: int, seconds: float, start: Path | None, apart: bool
) -> dict[str, Any]:
    """Figures of one model."""
    trainer = trainer_of(name, frames, batch_size)
    if start is not None:
        leave(trainer, frames, start / name.replace(" ", "_").replace(",", ""))
    deviation = check(trainer, frames)
    if not deviation < 5e-4:
        raise SystemExit(f"{name}: forces in training deviate by {deviation:.2e} eV/Å; no figures")
    began, cpu = time.perf_counter(), time.process_time()
    row = trainer.run_epoch()
    first, first_cpu = time.perf_counter() - began, time.process_time() - cpu
    times, steps, losses = [], [], [row["train"]["forces"]]
    while sum(times) < seconds or len(times) < 3:
        orders = trainer._orders(trainer.problem.train, [1, len(times)])
        began = time.process_time()
        trainer._pass(orders, 1000)
        jax.block_until_ready(trainer.state)
        steps.append((time.process_time() - began) / len(orders))
        row = trainer.run_epoch()
        times.append(trainer.problem.train.num_frames / row["frames_per_s"])
        losses.append(row["train"]["forces"])
    if not losses[-1] < losses[0]:
        raise SystemExit(f"{name}: the force error rose from {losses[0]:.3g} to {losses[-1]:.3g} eV/Å; no figures")
    epoch = float(np.median(times))
    atoms = sum(len(frame) for frame in frames)
    stats = jax.local_devices()[0].memory_stats() or {}
    import resource

    return {
        "model": name,
        "parameters": sum(int(np.size(x)) for x in jax.tree.leaves(trainer.problem.start)),
        "frames": len(frames),
        "atoms_per_frame": atoms / len(frames),
        "batch_size": batch_size,
        "force_deviation_eV_A": deviation,
        "frames_per_s": len(frames) / epoch,
        "atoms_per_s": atoms / epoch,
        "step_cpu_ms_median": 1e3 * float(np.median(steps)),
        "epochs_timed": len(times),
        "compile_s": first - epoch,
        "first_epoch_cpu_s": first_cpu,
        "compilations": trainer.programs.train._cache_size() + trainer.programs.evaluate._cache_size(),
        "peak_MiB": stats.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) / 2**20,
        "force_rmse_eV_A_first_last": [losses[0], losses[-1]],
        "knots": trainer.knots,
        "stages_cpu_ms": stages(trainer) if apart and jax.default_backend() == "cpu" else None,
    }


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=";".join(MODELS), help="names, separated by ;")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0, help="measuring time for each model")
    parser.add_argument("--start", type=Path, help="folder for the start weights")
    parser.add_argument("--whole", action="store_true", help="leave the two stages of a step out")
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if not DATA.is_file():
        raise SystemExit(f"the frames are not there: {DATA}")
    every = jxl.read(DATA)
    frames = [every[n] for n in np.random.default_rng(0).permutation(len(every))[: options.frames]]
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "precision": "float32",
        "versions": versions(),
        "models": [
            measure(name, frames, options.batch_size, options.seconds, options.start, not options.whole)
            for name in options.models.split(";")
        ],
    }
    print(json.dumps(report, indent=1))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
