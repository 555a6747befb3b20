"""Is this checkout slower than another? Ratios of CPU times, in turns; fails where one is lost by more than 15 %.

    git worktree add /tmp/before main~20
    python -m benchmarks --against /tmp/before                      # five rounds, or `--rounds`
    python benchmarks/against.py /tmp/before --only "training epoch"

Each round measures both checkouts in processes of their own, one after the other, on one core, in an order that is
reversed from round to round, with the same frames. A first round is not counted: it fills the caches of compiled code,
one for each checkout, kept in `--work`. CPU times of the process are compared, since wall times on a shared machine say
little, and the ratio is the median of the ratios of the rounds. What is measured uses public functions only:

- `force call`: forces of 201 atoms by the calculator, atoms moved in between (ms).
- `MD step`: Langevin dynamics of the same by `simulate` (ms).
- `training epoch`: 6 frames of 2 layers x 8 and 2 to validate (ms).
- `start of MD`, `start of training`: CPU seconds of a process to the end of a short run, programs at hand.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
LIMIT = 1.15
FIGURES = ("force call", "MD step", "training epoch", "start of MD", "start of training")


def make_frames(path: Path) -> None:
    """A box of salt water and frames around it, labelled by a potential that comes with the package."""
    import jaxelyte as jxl

    box = jxl.build.electrolyte({"Na": 3, "Cl": 3}, waters=65, density=1.05)
    potential = jxl.load_potential("nacl_r2scan").potential
    box = jxl.minimize(potential, box, fmax=1.0, steps=200)
    rng, frames = np.random.default_rng(0), []
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    for _ in range(8):
        frame = box.copy()
        frame.positions += rng.normal(0.0, 0.03, frame.positions.shape)
        frame.calc = jxl.Calculator(potential)
        labels = {"energy": frame.get_potential_energy(), "forces": frame.get_forces()}
        frame.calc = SinglePointCalculator(frame, **labels)
        frames.append(frame)
    write(path, frames, format="extxyz")


def force_call(frames: list[Any]) -> float:
    """CPU ms of a call."""
    import jaxelyte as jxl

    atoms, rng, times = frames[0].copy(), np.random.default_rng(0), []
    atoms.calc = jxl.Calculator(jxl.load_potential("nacl_r2scan").potential)
    for _ in range(23):
        atoms.positions += rng.normal(0.0, 1e-3, atoms.positions.shape)
        began = time.process_time()
        atoms.get_forces()
        times.append(time.process_time() - began)
    return 1e3 * float(np.median(times[3:]))


def dynamics(frames: list[Any], steps: int) -> float:
    """CPU s of a run."""
    import jaxelyte as jxl

    began = time.process_time()
    potential = jxl.load_potential("nacl_r2scan").potential
    rules = jxl.NVT(300.0, "langevin")
    jxl.simulate(potential, frames[0], rules, steps=steps, every=20, chunk=100, seed=1, progress=False)
    return time.process_time() - began


def training(frames: list[Any], epochs: int) -> float:
    """CPU s of a training."""
    import jaxelyte as jxl

    model = jxl.NequIP(r_max=4.5, num_layers=2, l_max=2, num_features=8)
    began = time.process_time()
    quiet: dict[str, Any] = {"check_units": False, "drop_outliers": False, "progress": False}
    jxl.train(frames, model, epochs=epochs, batch_size=3, validation=2, seed=0, **quiet)
    return time.process_time() - began


def measure(path: Path, what: str) -> float:
    """One figure."""
    import warnings

    from ase.io import read

    warnings.simplefilter("ignore")
    frames: Any = read(path, ":")
    if what == "force call":
        return force_call(frames)
    if what == "MD step":
        dynamics(frames, 100)  # compiles, if anything does
        # Long runs: what the first call of a run costs beside its steps differs between versions.
        return 1e3 * (dynamics(frames, 2500) - dynamics(frames, 500)) / 2000
    if what == "training epoch":
        return 1e3 * (training(frames, 52) - training(frames, 2)) / 50
    if what == "start of MD":
        dynamics(frames, 20)
    else:
        training(frames, 1)
    return time.process_time()


def run(checkout: Path, work: Path, what: str) -> float:
    """A figure of a checkout, measured by a process of its own on one core."""
    name = f"cache-{checkout.resolve().as_posix().replace('/', '_')}"
    kept = {"JAXELYTE_CACHE": str(work / name), "JAX_COMPILATION_CACHE_DIR": str(work / name / "programs")}
    environment = os.environ | kept | {"PYTHONPATH": str(checkout), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, str(HERE / "against.py"), str(checkout), "--measure", what, "--work", str(work)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} could not be measured in {checkout}:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def compare(other: Path, work: Path, rounds: int, only: list[str]) -> dict[str, Any]:
    """Times of both in each round, ratios (ours over theirs), and what was lost."""
    pairs: dict[str, list[tuple[float, float]]] = {what: [] for what in only}
    for number in range(rounds + 1):
        order = (HERE.parent, other) if number % 2 else (other, HERE.parent)
        for what in only:
            found = {checkout: run(checkout, work, what) for checkout in order}
            if number:
                pairs[what].append((found[HERE.parent], found[other]))
                mine, theirs = pairs[what][-1]
                print(f"round {number}: {what:18} {mine:8.2f} {theirs:8.2f} {mine / theirs:6.2f}", file=sys.stderr)
    figures = {
        what: {
            "ours": float(np.median([a for a, _ in some])),
            "theirs": float(np.median([b for _, b in some])),
            "ratio": float(np.median([a / b for a, b in some])),
            "ratios": [a / b for a, b in some],
        }
        for what, some in pairs.items()
    }
    return {"figures": figures, "lost": [what for what, one in figures.items() if one["ratio"] > LIMIT]}


def main() -> None:
    """Compare, print, and exit with 1 where something is slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=FIGURES, help="a figure; may be repeated")
    parser.add_argument("--work", type=Path, default=HERE / "output" / "against", help="folder for frames and caches")
    parser.add_argument("--measure", choices=FIGURES, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="JSON file")
    options = parser.parse_args()
    frames = options.work / "frames.extxyz"
    if options.measure:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(measure(frames, options.measure))
        return
    if not (options.checkout / "jaxelyte" / "__init__.py").is_file():
        raise SystemExit(f"{options.checkout} is no checkout of jaxelyte")
    if options.rounds < 1:
        raise SystemExit("--rounds must be at least 1")
    options.work.mkdir(parents=True, exist_ok=True)
    if not frames.is_file():
        make_frames(frames)
    report = compare(options.checkout.resolve(), options.work.resolve(), options.rounds, options.only or list(FIGURES))
    if options.output:
        options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{'CPU time':18} {'ours':>9} {'theirs':>9} {'ratio':>6}")
    for what, one in report["figures"].items():
        print(f"{what:18} {one['ours']:9.2f} {one['theirs']:9.2f} {one['ratio']:6.2f}")
    if report["lost"]:
        raise SystemExit(f"slower by more than {LIMIT - 1:.0%}: {', '.join(report['lost'])}")


if __name__ == "__main__":
    main()
