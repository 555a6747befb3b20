"""NaCl in water from r2SCAN frames: the Na-O distribution function and the diffusion of Na⁺ beside experiment.

    python examples/study/study.py                  # four networks, then 4 x 600 ps; three hours on two cores
    python examples/study/study.py --careful        # then a box of 20 Å with two thermostats: overnight

Ctrl-C, or a killed process: the same command goes on where it was. Everything is in ``--output`` (study_output/):
``results.json``, ``structure.png`` and ``diffusion.png``, trainings and runs. The frames are those of O'Neill et al.
(arXiv:2311.01527; `jaxelyte fetch nacl`); without them the potential that comes with the package is taken, see
``--potential``. What each number means, and what limits it, is in examples/study/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from analysis import (
    CONCENTRATION,
    DENSITY,
    SOLUTION_VISCOSITY,
    TEMPERATURE,
    WATER_VISCOSITY,
    cleaned,
    combined,
    diffusion,
    figures,
    frames_rdf,
    pairing,
    quarters,
    structure,
)
from ase import Atoms
from ase.io import read, write

import jaxelyte as jxl
from jaxelyte.dynamics.summary import versions
from jaxelyte.storage import read_json, write_json

BARRIER = {"height": 1.0, "center": 1.26, "width": 0.05, "species": ("O", "H")}
"""eV, Å: no frame has O-H between 1.08 and 1.43 Å, where networks let protons leave their molecules."""
TIMESTEP, EVERY = 0.5, 40
"""fs, and steps between frames: 20 fs."""
INTERRUPTED = 130
UNSETTLED = ("output", "careful", "careful_pairs", "careful_picoseconds")
"""Options that a later call may change."""


def settings() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("study_output"))
    parser.add_argument("--frames", type=Path, help="labelled frames; by default the published ones, if they are there")
    parser.add_argument("--potential", help="instead of training: a potential that comes with jaxelyte")
    parser.add_argument("--members", type=int, default=4, help="networks to train; runs take them in turns")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--runs", type=int, default=4, help="independent runs: every other one starts with ions paired")
    parser.add_argument("--picoseconds", type=float, default=600.0, help="of each run")
    parser.add_argument("--equilibration", type=float, default=20.0, help="ps of each run that do not count")
    parser.add_argument("--pairs", type=int, default=3, help="NaCl in the box")
    parser.add_argument("--classical", type=float, default=20.0, help="ps of classical water before")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--careful", action="store_true", help="add the larger box with two thermostats")
    parser.add_argument("--careful-pairs", type=int, default=12)
    parser.add_argument("--careful-picoseconds", type=float, default=600.0, help="of each of the two runs")
    return parser.parse_args()


def main() -> None:
    """All steps, each of which finds what an earlier call has left."""
    options = settings()
    choose_source(options)
    keep_settings(options)
    members, source = potentials(options)
    made = [small_run(options, number, members) for number in range(options.runs)]
    results = evaluate(made, options, source)
    if options.careful:
        large = {name: large_run(options, name, ensemble, members[0]) for name, ensemble in THERMOSTATS.items()}
        discard = round(options.equilibration * 1000 / (TIMESTEP * EVERY))
        results["careful"] = {name: careful(run, discard) for name, run in large.items()}
    write_json(options.output / "results.json", cleaned(results))
    figures(results, options.output)
    print(json.dumps(cleaned(summary(results)), indent=1, ensure_ascii=False))
    print(f"in {options.output}: results.json, structure.png, diffusion.png")


def choose_source(options: argparse.Namespace) -> None:
    """The published frames where they are, or the potential that comes with the package."""
    options.frames = options.frames or jxl.datasets.find_published("data", "nacl_r2SCAN.xyz.gz")
    if options.frames is None and options.potential is None:
        options.potential = "nacl_r2scan"
        print(f"the frames are not there (`jaxelyte fetch nacl`): {options.potential} is taken")


def keep_settings(options: argparse.Namespace) -> None:
    """A later call continues with the settings of the first, `--careful` apart."""
    given = {key: str(value) for key, value in vars(options).items() if key not in UNSETTLED}
    path = options.output / "settings.json"
    if not path.exists():
        options.output.mkdir(parents=True, exist_ok=True)
        write_json(path, given)
        return
    changed = [key for key, value in read_json(path).items() if given.get(key) != value]
    if changed:
        raise SystemExit(f"{options.output} was begun with another {', '.join(changed)}; choose another --output")


def potentials(options: argparse.Namespace) -> tuple[list[Any], dict[str, Any]]:
    """Complete potentials, and where they come from."""
    if options.potential:
        found = jxl.load_potential(options.potential)
        return list(found.members), {"potential": options.potential, "networks": len(found.members)}
    frames = options.frames
    fits = [train(frames, options, number) for number in range(options.members)]
    barrier = jxl.GaussianBarrier(**BARRIER)
    errors = [jxl.evaluate(fit, untouched(fit, frames)).summary() for fit in fits]
    forces = [one["forces_meV_per_A"]["rmse"] for one in errors]
    return [fit.total + barrier for fit in fits], {"frames": str(frames), "force_errors_meV_per_A": forces}


def train(frames: Path, options: argparse.Namespace, number: int) -> jxl.Fit:
    """One network by the recipe of the study: a rate of 0.01, halved where the validation force error stands still."""
    return jxl.train(
        jxl.read(frames),
        jxl.NequIP(r_max=5.0, num_layers=2, l_max=2, num_features=8, parity=False),
        baseline=jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=78.3),
        loss=jxl.Loss(per_species=False),
        optimization=jxl.Optimization(learning_rate=0.01, schedule="plateau", factor=0.5, patience=3),
        validation=0.1,
        test=0.1,
        split_seed=0,
        batch_size=1,
        epochs=options.epochs,
        seed=options.seed + number,
        output=options.output / "fits" / str(number),
        resume=True,
    )


def untouched(fit: jxl.Fit, frames: Path) -> list[Atoms]:
    """The frames that training did not see."""
    every = jxl.read(frames)
    return [every[n] for n in fit.config["split"]["test"]]


def start(options: argparse.Namespace, name: str, pairs: int, *, paired: bool, seed: int) -> Atoms:
    """A liquid of classical water, in which each Na is held near one Cl, or away from it; stored for later calls."""
    path = options.output / "starts" / f"{name}.extxyz"
    if path.exists():
        return read(path)  # pyright: ignore[reportReturnType]
    box = jxl.build.electrolyte({"Na": pairs, "Cl": pairs}, concentration=CONCENTRATION, density=DENSITY, seed=seed)
    cutoff = min(0.48 * float(box.cell.lengths()[0]), 9.0)
    potential = jxl.spc_fw(box, cutoff=cutoff, tolerance=2e-3)
    sodium, chlorine = (np.flatnonzero(box.numbers == number) for number in (11, 17))
    far = 0.4 * float(box.cell.lengths()[0])
    for one, other in zip(sodium.tolist(), chlorine.tolist(), strict=True):
        potential = potential + jxl.DistanceRestraint(
            (one, other), k=1.0, center=2.8 if paired else far, rate=2e-3, elements=("Na", "Cl")
        )
    steps = max(round(options.classical * 1000), 200)
    ensemble = jxl.NVT(TEMPERATURE, "langevin", friction=0.02)  # heats bonds and molecules alike
    run = jxl.simulate(potential, box, ensemble, steps=steps, timestep=1.0, minimize=True, seed=seed, every=steps // 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    write(temporary, run.atoms, format="extxyz")
    temporary.replace(path)
    return read(path)  # pyright: ignore[reportReturnType]


def dynamics(options: argparse.Namespace, name: str, potential: Any, box: Atoms, ensemble: Any, **more: Any) -> jxl.Run:
    """Molecular dynamics in a folder; goes on with what is there, and ends the program after Ctrl-C."""
    picoseconds = more.pop("picoseconds") + options.equilibration
    steps = round(picoseconds * 1000 / TIMESTEP / EVERY) * EVERY
    run = jxl.simulate(
        potential,
        box,
        ensemble,
        steps=steps,
        timestep=TIMESTEP,
        every=EVERY,
        equilibration=round(options.equilibration * 1000 / TIMESTEP),
        velocities=TEMPERATURE,
        output=options.output / "runs" / name,
        resume=True,
        **more,
    )
    print(f"{name}: {run}")
    if not run.completed:
        print("interrupted; the same command goes on", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    return run


def small_run(options: argparse.Namespace, number: int, members: list[Any]) -> jxl.Run:
    """One of the runs as published: massive Nosé-Hoover chains, 300 K, 0.5 fs."""
    paired, seed = number % 2 == 1, options.seed + number
    box = start(options, f"{number}-{'paired' if paired else 'apart'}", options.pairs, paired=paired, seed=seed)
    ensemble = jxl.NVT(TEMPERATURE, "nose-hoover-massive")
    potential = members[number % len(members)]
    return dynamics(options, str(number), potential, box, ensemble, seed=seed, picoseconds=options.picoseconds)


THERMOSTATS = {
    "massive": jxl.NVT(TEMPERATURE, "nose-hoover-massive"),
    "weak": jxl.NVT(TEMPERATURE, "svr", tau=2000.0),
}
"""Massive chains act on each degree of freedom and do not conserve momentum, which Yeh and Hummer suppose; the weak
global one hardly touches the dynamics."""


def large_run(options: argparse.Namespace, name: str, ensemble: Any, potential: Any) -> jxl.Run:
    """The larger box: both thermostats from the same start."""
    box = start(options, f"large-{options.careful_pairs}", options.careful_pairs, paired=False, seed=options.seed)
    time = options.careful_picoseconds
    return dynamics(
        options, f"large-{options.careful_pairs}-{name}", potential, box, ensemble, seed=options.seed, picoseconds=time
    )


def evaluate(made: list[jxl.Run], options: argparse.Namespace, source: dict[str, Any]) -> dict[str, Any]:
    """Structure and motion of all runs, with errors from the spread between them."""
    discard = round(options.equilibration * 1000 / (TIMESTEP * EVERY))
    frames = options.frames
    found = structure(made, discard)
    return {
        "source": source,
        "system": made[0].trajectory.frame(0).get_chemical_formula(),
        "edge_A": float(made[0].trajectory.frame(0).cell.lengths()[0]),
        "picoseconds": [options.picoseconds] * len(made),
        "seeds": [options.seed + number for number in range(options.runs)],
        "versions": versions(),
        "structure": found,
        "training_frames": None if frames is None else frames_rdf(jxl.read(frames)),
        "pairs": [
            {"start": "paired" if n % 2 else "apart", **pairing(run, discard, found["Na-Cl"]["minimum_A"])}
            for n, run in enumerate(made)
        ],
        "diffusion": {
            species: combined([diffusion(run, species, discard, WATER_VISCOSITY) for run in made])
            for species in ("Na", "Cl", "O")
        },
        "equilibration": [quarters(run, discard) for run in made],
    }


def careful(run: jxl.Run, discard: int) -> dict[str, Any]:
    """Diffusion in the larger box, by water's and by the solution's viscosity; ratios to water."""
    found = {
        species: {
            "water": diffusion(run, species, discard, WATER_VISCOSITY),
            "solution": diffusion(run, species, discard, SOLUTION_VISCOSITY),
        }
        for species in ("Na", "Cl", "O")
    }
    ratio = {key: found["Na"][key]["value"] / found["O"][key]["value"] for key in ("water", "solution")} | {
        "uncorrected": found["Na"]["water"]["uncorrected"] / found["O"]["water"]["uncorrected"]
    }
    return {"diffusion": found, "sodium_over_water": ratio, "equilibration": quarters(run, discard)}


def summary(results: dict[str, Any]) -> dict[str, Any]:
    """What is printed at the end."""
    oxygen = results["structure"]["Na-O"]
    return {
        "Na-O peak / Å": [round(x, 4) for x in oxygen["peak_A"]],
        "neighbours of Na (O, Cl)": [
            [round(x, 3) for x in results["structure"][name]["neighbours"]] for name in ("Na-O", "Na-Cl")
        ],
        "D / 1e-9 m²/s (value, error)": {
            species: [round(1e9 * one["value"], 3), round(1e9 * one["error"], 3)]
            for species, one in results["diffusion"].items()
        },
    }


if __name__ == "__main__":
    main()
