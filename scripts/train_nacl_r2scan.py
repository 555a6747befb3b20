"""Make `nacl_r2scan`, the committee of networks of NaCl in water at the level of r2SCAN that comes with jaxelyte.

    python scripts/train_nacl_r2scan.py train --seed 0 --output fits/0       # some hours on one core; resumes
    python scripts/train_nacl_r2scan.py package fits/0 fits/1 fits/2 fits/3  # weights, errors, model card
    python scripts/train_nacl_r2scan.py report --member 0 --temperature 300 --picoseconds 500 --output runs/0-300

`package` takes trainings at their best epochs, also such as are still going on, computes the errors of the frames that
no training saw, and replaces `jaxelyte/datasets/nacl_r2scan`. `report` is the report card of a packaged network: NVT
watched for unphysical events and for contacts with the barrier; `package` without folders puts it into the card.
The frames are those of O'Neill et al. (arXiv:2311.01527), which are not part of this project: `--frames`, by default
`../shared/data/nacl_r2SCAN.xyz.gz` beside the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import jaxelyte as jxl
from jaxelyte.dynamics.summary import versions
from jaxelyte.interop.published import place_of
from jaxelyte.observables import plus_minus
from jaxelyte.storage import read_json, write_json, write_text
from jaxelyte.units import LITER

if TYPE_CHECKING:
    from ase import Atoms

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "jaxelyte" / "datasets" / "nacl_r2scan"
FRAMES = place_of("data", holding="nacl_r2SCAN.xyz.gz") / "nacl_r2SCAN.xyz.gz"
CHARGES, PERMITTIVITY = {"Na": 1.0, "Cl": -1.0}, 78.3
NETWORK = {"r_max": 5.0, "num_layers": 2, "l_max": 2, "num_features": 16, "parity": False}
EPOCHS = 120
BARRIER = {"height": 1.0, "center": 1.26, "width": 0.05, "species": ["O", "H"]}
"""eV, Å. In the frames O-H is 0.90 to 1.08 Å in a molecule and 1.43 Å or more between molecules; the networks have seen
nothing between, and protons leave there. It is added after the training: in the baseline of the training the network
learns to cancel it. It is narrow enough to leave O-H bonds alone: 3.5 meV/Å (root mean square over the H atoms of the
frames), where one at 1.28 Å of width 0.08 Å changes the forces on H by 118 meV/Å."""
CONTACT = 0.1
"""eV: a proton that is so high up the barrier touches it, four times k_B T at 300 K."""
EVERY, TIMESTEP = 20, 0.5
"""Steps between frames of the report card, and fs."""
START_PAIRS = (3, 4, 6, 3)
"""NaCl in the cube that each member's report card starts from: 2.7, 3.7 and 5.4 mol/L, so that the runs also serve to
learn the mean forces between ions at several concentrations."""


def frames_of(path: Path) -> list[Atoms]:
    """All frames."""
    if not path.is_file():
        raise SystemExit(f"the frames are not there: {path}; name them with --frames")
    return jxl.read(path)


def train(options: argparse.Namespace) -> None:
    """One network."""
    fit = jxl.train(
        frames_of(options.frames),
        jxl.NequIP(**NETWORK),
        baseline=jxl.ScreenedCoulomb(CHARGES, permittivity=PERMITTIVITY),
        validation=0.1,
        test=0.1,
        split="random",
        split_seed=0,
        epochs=options.epochs,
        batch_size=1,
        loss=jxl.Loss(per_species=False),
        seed=options.seed,
        output=options.output,
        resume=True,
    )
    print(fit)


def package(options: argparse.Namespace) -> None:
    """Networks into the package, with their errors and the card."""
    frames = frames_of(options.frames)
    fits = [jxl.load_fit(folder) for folder in options.folders]
    for old in HOME.glob("member*") if fits else ():
        shutil.rmtree(old)
    for number, fit in enumerate(fits):
        store(fit, HOME / f"member{number}")
    homes = sorted(HOME.glob("member*"))
    if not homes:
        raise SystemExit("name the folders of the trainings")
    rows = [describe(home) for home in homes]
    write_json(HOME / "card.json", {"members": rows, "barrier": {"parameters": BARRIER}, "summary": {}})
    found = jxl.datasets.load(HOME)
    untouched = [frames[n] for n in found.fit.config["split"]["test"]]
    alone = [jxl.evaluate(jxl.datasets.load(HOME / row["folder"]).fit, untouched) for row in rows]
    walled = [with_barrier(one, found, untouched) for one in alone]
    for row, one, both in zip(rows, alone, walled, strict=True):
        row["test"], row["test_with_barrier"] = errors(one), errors(both)
    mean = committee_of(walled)
    card = make_card(rows, errors(mean), mean.summary()["committee"], frames)
    write_json(HOME / "card.json", card)
    write_text(HOME / "README.md", readme(card))
    print(jxl.datasets.potentials())


def with_barrier(result: jxl.Evaluation, found: jxl.datasets.ShippedPotential, frames: list[Atoms]) -> jxl.Evaluation:
    """The errors of a network with the barrier added to its predictions."""
    from jaxelyte.data.baseline import evaluate_frames

    assert found.barrier is not None
    added = evaluate_frames(found.barrier, frames)
    energies, forces = result.energies.copy(), result.forces.copy()
    energies[:, 1] += added.energies
    forces[..., 1] += np.concatenate(added.forces)
    return replace(result, energies=energies, forces=forces)


def committee_of(results: list[jxl.Evaluation]) -> jxl.Evaluation:
    """The mean prediction of several networks, with their spread."""
    first = results[0]
    energies = np.stack([one.energies[:, 1] for one in results])
    forces = np.stack([one.forces[..., 1] for one in results])
    mean = replace(
        first,
        energies=np.stack([first.energies[:, 0], energies.mean(axis=0)], axis=-1),
        forces=np.stack([first.forces[..., 0], forces.mean(axis=0)], axis=-1),
    )
    if len(results) == 1:
        return mean
    spread = np.sqrt(np.sum(np.var(forces, axis=0, ddof=1), axis=-1))
    return replace(mean, force_spread=spread, energy_spread=np.std(energies, axis=0, ddof=1) / first.sizes)


def store(fit: jxl.Fit, folder: Path) -> None:
    """A network with its baseline and an account of its training."""
    from jaxelyte.interop.nequip_files import BASELINE
    from jaxelyte.interop.potential_files import write_potential

    assert fit.baseline is not None
    jxl.save_nequip(replace(fit.potential, source=None), folder)
    write_potential(fit.baseline, folder, BASELINE)
    kept = [row for row in fit.metrics if row["epoch"] in (fit.best["epoch"], fit.epochs)]
    write_json(folder / "training.json", {"config": fit.config, "metrics": kept}, indent=None)


def describe(home: Path) -> dict[str, Any]:
    """What a card says of a network."""
    stored = read_json(home / "training.json")
    config, rows = stored["config"], stored["metrics"]
    best = next(row for row in reversed(rows) if row["best"])
    return {
        "folder": home.name,
        "seed": config["seed"],
        "epochs": rows[-1]["epoch"],
        "epochs_planned": config["epochs"],
        "best_epoch": best["epoch"],
        "validation_forces_meV_per_A": 1e3 * best["validation"]["forces"],
        "sha256": digest(home),
        "stability": stored_reports(home),
    }


def digest(home: Path) -> str:
    """SHA-256 of the weights in a folder."""
    return hashlib.sha256((home / "state_dict.npz").read_bytes()).hexdigest()


def stored_reports(home: Path) -> list[dict[str, Any]]:
    """Report cards of exactly these weights."""
    path = home / "stability.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    now = digest(home)
    return [{key: value for key, value in row.items() if key != "sha256"} for row in rows if row["sha256"] == now]


def errors(result: jxl.Evaluation) -> dict[str, Any]:
    """Root mean square errors and their standard errors."""
    summary = result.summary()
    rows = {"energy_meV_per_atom": summary["energy_meV_per_atom"], "forces_meV_per_A": summary["forces_meV_per_A"]}
    rows |= {f"forces_{name}_meV_per_A": row for name, row in summary["forces_by_species_meV_per_A"].items()}
    return {"frames": summary["frames"]} | {key: [row["rmse"], row["rmse_error"]] for key, row in rows.items()}


def make_card(
    rows: list[dict[str, Any]], test: dict[str, Any], spread: dict[str, Any] | None, frames: list[Atoms]
) -> dict[str, Any]:
    """The whole card."""
    pairs = [frame.get_chemical_symbols().count("Na") for frame in frames]
    molar = [n / (frame.get_volume() * LITER) for n, frame in zip(pairs, frames, strict=True)]
    range_ = f"{min(molar):.1f} to {max(molar):.1f} mol/L"
    force, energy = test["forces_meV_per_A"], test["energy_meV_per_atom"]
    many = f"committee of {len(rows)}" if len(rows) > 1 else "one network"
    return {
        "name": HOME.name,
        "system": f"NaCl in liquid water, {range_}",
        "species": ["H", "O", "Na", "Cl"],
        "level_of_theory": "r2SCAN (CP2K, TZV2P, GTH-PBE), without dispersion correction; classical nuclei",
        "summary": {
            "system": f"NaCl in water, {range_}",
            "level_of_theory": "r2SCAN",
            "errors": f"{many}: forces {plus_minus(*force, unit='meV/Å')}, energies {energy[0]:.2f} meV/atom",
            "stability": "not tested" if not any(row["stability"] for row in rows) else spelt(rows),
            "citation": "arXiv:2311.01527; jaxelyte",
        },
        "training": {
            "frames": "300 frames of O'Neill et al., repository niamhon/nacl-water, commit 459f90fd: units converted, "
            "a few corrupt or unequilibrated frames and a random tenth left out",
            "data_sha256": read_json(HOME / rows[0]["folder"] / "training.json")["config"]["data_sha256"],
            "split": "240 training, 30 validation and 30 test frames, drawn at random (split_seed 0)",
            "network": NETWORK,
            "recipe": "Adam, learning rate 0.04 falling as a cosine over the epochs planned, one frame an update, "
            "exponential moving average 0.99; loss: squares of energies per atom and of force components; the weights "
            "of the epoch with the smallest validation force error",
            "script": "scripts/train_nacl_r2scan.py",
            "versions": versions(),
        },
        "baseline": {"term": "ScreenedCoulomb", "charges_e": CHARGES, "permittivity": PERMITTIVITY},
        "barrier": {
            "term": "GaussianBarrier",
            "parameters": BARRIER,
            "why": "O-H between 1.08 and 1.43 Å is in no frame, and networks trained on these frames let protons leave "
            "there. It is added after the training, in every simulation",
        },
        "errors": {"test": test, "committee": spread},
        "stability": spelt(rows),
        "limits": LIMITS,
        "licence": "CC-BY-SA-4.0",
        "citation": CITATION,
        "members": rows,
        "date": time.strftime("%Y-%m-%d"),
    }


LIMITS = [
    "Temperatures around 300 K, densities of the liquid; no vapour, surface or crystal",
    "No acid and no base: protons cannot change their molecule; no pure water, which the frames do not hold",
    "The frames are 10 to 12.6 Å wide and the networks see 5 Å; beyond is the screened Coulomb term alone",
    "Forces on Na cannot be learnt below some 95 meV/Å: the labels carry the ripple of a grid too coarse for Na's core",
    "r2SCAN without dispersion correction and classical nuclei decide structure and diffusion, not the fit",
    "There are no stresses in the frames: pressures were not trained and not checked",
]
CITATION = [
    "N. O'Neill, B. X. Shi, K. Fong, A. Michaelides, C. Schran, arXiv:2311.01527 (frames, CC-BY-SA-4.0)",
    "S. Batzner et al., Nature Communications 13, 2453 (2022) (NequIP)",
    "jaxelyte (training and networks)",
]


def spelt(rows: list[dict[str, Any]]) -> str:
    """The report cards in a sentence."""
    reports = [report for row in rows for report in row["stability"]]
    if not reports:
        return "not tested: no report card was run with these weights"
    parts = []
    for kelvin in sorted({report["temperature_K"] for report in reports}):
        own = [report for report in reports if report["temperature_K"] == kelvin]
        total = sum(report["simulated_ps"] for report in own)
        counts = [sum(report[key] for report in own) for key in ("events", "contacts")]
        bounds = [f"{n} {what}, below {per_ns(n, total):.2g} per ns" for n, what in zip(counts, WORDS, strict=True)]
        parts.append(f"{kelvin:g} K, {total:.0f} ps in {len(own)} runs: {'; '.join(bounds)} at 95 %")
    tested = sum(bool(row["stability"]) for row in rows)
    return f"{tested} of {len(rows)} networks tested; {'. '.join(parts)}"


WORDS = ("unphysical events", "contacts with the barrier")


def per_ns(count: int, picoseconds: float) -> float:
    """Upper 95 % bound of a rate per ns, of a Poisson process."""
    from scipy.stats import chi2

    return float(0.5 * chi2.ppf(0.95, 2 * (count + 1))) / picoseconds * 1e3


def readme(card: dict[str, Any]) -> str:
    """The model card for people."""
    columns = ("energy_meV_per_atom", *(f"forces{x}_meV_per_A" for x in ("", "_H", "_O", "_Na", "_Cl")))
    lines = []
    for row in card["members"]:
        for key, label in (("test", ""), ("test_with_barrier", " with barrier")):
            cells = " | ".join(f"{row[key][name][0]:.3g}" for name in columns)
            state = f"{row['best_epoch']} of {row['epochs']} (planned {row['epochs_planned']})"
            lines.append(f"| {row['folder']}{label} | {row['seed']} | {state} | {cells} |")
    cells = " | ".join(f"{card['errors']['test'][name][0]:.3g}" for name in columns)
    lines.append(f"| mean of the committee, with barrier | | | {cells} |")
    barrier = card["barrier"]["parameters"]
    gauss = f"{barrier['height']} eV exp(-(r - {barrier['center']} Å)²/(2 · ({barrier['width']} Å)²))"
    size = "r_max {r_max} Å, {num_layers} layers of {num_features} features, l_max {l_max}, even parity".format(
        **NETWORK
    )
    spread = card["errors"]["committee"]
    agreement = (
        "There is one network only, so that there is no spread.\n"
        if spread is None
        else f"Spread of the networks: {spread['forces_spread_meV_per_A']:.3g} meV/Å (force vectors); the errors are "
        f"{spread['error_over_spread']:.2g} times as large, and their rank correlation with it is "
        f"{spread['rank_correlation']:.2f}.\n"
    )
    table = "\n".join(lines)
    return f"""# nacl_r2scan: {card["system"]}

```python
import jaxelyte as jxl

found = jxl.load_potential("nacl_r2scan")  # found.potential, found.committee, found.card
```

Level of theory: {card["level_of_theory"]}. Learnt from {card["training"]["frames"]};
the frames themselves are not included.

U = network + screened Coulomb term of Na⁺ and Cl⁻ (relative permittivity {PERMITTIVITY}) + barrier. The networks hold
the rest: {size}.

The barrier, {gauss} on every O-H
distance, is part of the potential. {card["barrier"]["why"]}.

## Recipe

{card["training"]["recipe"]}.
{card["training"]["split"]}. `{card["training"]["script"]}` repeats it; `memberN/training.json` has all settings.

## Errors

Root mean square on the test frames, which no training saw; energies in meV/atom, force components in meV/Å:

| network | seed | best epoch | energy | forces | H | O | Na | Cl |
|---|---|---|---|---|---|---|---|---|
{table}

{agreement}
## Report card

{card["stability"][0].upper() + card["stability"][1:]}.
An event is a broken O-H bond, an overlap or a temperature run-away; a contact is a proton {CONTACT} eV up the barrier.

{closing(card, "the frames")}"""


def closing(card: dict[str, Any], frames: str) -> str:
    """The last sections of a model card: limits, licence and citation."""
    limits = "\n".join(f"- {line}" for line in card["limits"])
    cited = "\n".join(f"- {line}" for line in card["citation"])
    return f"""## Where it holds

{limits}

## Licence and citation

Weights and this folder: [CC-BY-SA-4.0](LICENSE), the licence of {frames}. Please cite:

{cited}
"""


def report(options: argparse.Namespace) -> None:
    """A report card: NVT from an equilibrated box, watched for events and contacts."""
    from jaxelyte.training.stability import first_event, watch_of

    found = jxl.datasets.load(HOME)
    home = HOME / found.card["members"][options.member]["folder"]
    frames = frames_of(options.frames)
    split = found.fit.config["split"]["test"]
    pairs = START_PAIRS[options.member % len(START_PAIRS)]
    cubes = [frames[n] for n in split if np.ptp(frames[n].cell.lengths()) < 0.1]
    alike = [frame for frame in cubes if frame.get_chemical_symbols().count("Na") == pairs]
    start = alike[options.member % len(alike)].copy()
    start.calc = None
    run = jxl.simulate(
        found.members[options.member],
        start,
        jxl.NVT(options.temperature),
        steps=round(1000.0 * options.picoseconds / TIMESTEP),
        timestep=TIMESTEP,
        every=EVERY,
        velocities=options.temperature,
        seed=options.member,
        output=options.output,
        resume=True,
    )
    event = first_event(run, 0, watch_of(start), options.temperature)
    row = {
        "temperature_K": options.temperature,
        "formula": start.get_chemical_formula(),
        "simulated_ps": float(run.trajectory.times[-1]) / 1e3 if event is None else event[0],
        "events": int(event is not None),
        "event": None if event is None else event[1],
        "contacts": contacts(run.trajectory, sorted(watch_of(start).bonds)),
        "ensemble": "NVT, Nosé-Hoover, 0.5 fs",
        "looked_at_every_fs": EVERY * TIMESTEP,
        "sha256": digest(home),
    }
    path = home / "stability.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    kept = [old for old in rows if (old["sha256"], old["temperature_K"]) != (row["sha256"], row["temperature_K"])]
    write_json(path, [*kept, row])
    print(json.dumps(row, indent=1))


def contacts(trajectory: jxl.Trajectory, bonds: list[tuple[int, int]]) -> int:
    """How often an O-H bond reached the barrier; a contact ends where no bond has done so for 100 fs."""
    height, center, width = (float(BARRIER[key]) for key in ("height", "center", "width"))  # pyright: ignore[reportArgumentType]
    touching = center - width * math.sqrt(2.0 * math.log(height / CONTACT))
    first, second = np.array(bonds).T
    close = []
    for n in range(len(trajectory)):
        atoms = trajectory.frame(n)
        vectors = atoms.positions[second] - atoms.positions[first]
        edges = atoms.cell.lengths()  # the cells are orthorhombic
        vectors -= edges * np.round(vectors / edges)
        close.append(bool(np.any(np.linalg.norm(vectors, axis=1) > touching)))
    times = np.flatnonzero(close) * EVERY * TIMESTEP
    return int(len(times) > 0) + int(np.sum(np.diff(times) > 100.0))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("train", help="one network")
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--epochs", type=int, default=EPOCHS)
    one.add_argument("--output", type=Path, required=True, help="folder of the training")
    one = commands.add_parser("package", help="networks, errors and card into the package")
    one.add_argument("folders", type=Path, nargs="*", help="trainings; none: those that are there, with a new card")
    one = commands.add_parser("report", help="report card of a packaged network")
    one.add_argument("--member", type=int, required=True)
    one.add_argument("--temperature", type=float, default=300.0, help="K")
    one.add_argument("--picoseconds", type=float, default=500.0)
    one.add_argument("--output", type=Path, required=True, help="run folder")
    for command in commands.choices.values():
        command.add_argument("--frames", type=Path, default=FRAMES)
    options = parser.parse_args()
    {"train": train, "package": package, "report": report}[options.what](options)


if __name__ == "__main__":
    main()
