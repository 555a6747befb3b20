"""Make `nacl_ions`, a network of Na⁺ and Cl⁻ alone, from all-atom runs with `nacl_r2scan`: water is integrated out.

    python scripts/train_nacl_r2scan.py report --member 0 --picoseconds 500 --output runs/0-300   # likewise 1, 2, 3
    python scripts/train_nacl_ions.py label runs/0-300 --member 0 --output ions/0.extxyz.gz       # likewise 1, 2, 3
    python scripts/train_nacl_ions.py train ions/*.extxyz.gz --output fits/ions                   # resumes
    python scripts/train_nacl_ions.py check fits/ions runs/0-300 runs/1-300 … --output ions_check  # resumes
    python scripts/train_nacl_ions.py package fits/ions ions_check/check.json

The force on an ion, averaged over the water at fixed ions, is minus the gradient of the ions' free energy: a network
of the ions' positions that is fitted to the instantaneous forces, of which the water's part is noise, learns it (force
matching: Izvekov and Voth, J. Phys. Chem. B 109, 2469 (2005)). It learns what is left beside a Coulomb term screened
by the permittivity of water and a repulsive core, which is there where no frame is. `check` compares the ions'
distribution functions in runs of the ions alone with those of the all-atom runs, box by box.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from train_nacl_r2scan import CHARGES, CITATION, PERMITTIVITY, closing, digest, store

import jaxelyte as jxl
from jaxelyte.dynamics.summary import versions
from jaxelyte.storage import read_json, write_json, write_text
from jaxelyte.units import LITER

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "jaxelyte" / "datasets" / "nacl_ions"
IONS = (11, 17)
KELVIN = 300.0
NETWORK = {"r_max": 7.0, "num_layers": 2, "l_max": 1, "num_features": 8, "parity": False}
"""Å. The all-atom boxes are 12 Å wide: beyond 6 Å their ions feel each other's images as much as each other."""
CORE = {"sigma": {"Na": 2.9, "Cl": 3.9}, "epsilon": {"Na": 0.001, "Cl": 0.001}, "cutoff": 7.0, "switch": 6.0}
"""Å and eV: 0.1 eV for Na and Cl 2.4 Å apart, and steep below, where the all-atom runs have no ions."""
SAMPLING = 100.0
"""fs between frames that are labelled: the noise of the water has forgotten itself."""
EPOCHS, BATCH = 60, 16
PAIRS = (("Na", "Cl"), ("Na", "Na"), ("Cl", "Cl"))
WIDTH = 0.1
"""Å, of the bins of distribution functions."""


def label(options: argparse.Namespace) -> None:
    """The ions of an all-atom run, with the instantaneous forces on them."""
    trajectory = jxl.load_run(options.run).trajectory
    member = jxl.load_potential("nacl_r2scan").members[options.member]
    calculator = jxl.Calculator(member.compiled())
    stride = max(round(SAMPLING / trajectory.interval("labels")), 1)
    late = np.asarray(trajectory.times) - trajectory.times[0] >= 1e3 * options.equilibration
    chosen = np.flatnonzero(late)[::stride]
    if not len(chosen):
        raise SystemExit(f"{options.run} is not longer than the {options.equilibration:g} ps that do not count")
    frames = []
    for n in chosen.tolist():
        atoms = trajectory.frame(n)
        atoms.calc = calculator
        forces, ions = atoms.get_forces(), np.isin(atoms.numbers, IONS)
        alone = Atoms(atoms.numbers[ions], atoms.positions[ions], cell=atoms.cell, pbc=True)
        alone.calc = SinglePointCalculator(alone, forces=forces[ions])
        alone.info |= {"run": options.run.name, "time_ps": float(trajectory.times[n]) / 1e3}
        frames.append(alone)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write(options.output, frames, format="extxyz")
    print(f"{options.output}: {len(frames)} frames of {len(frames[0])} ions")


def baseline() -> jxl.Potential:
    """What the network is learnt beside."""
    return jxl.ScreenedCoulomb(CHARGES, permittivity=PERMITTIVITY) + jxl.LennardJones(**CORE)


def train(options: argparse.Namespace) -> None:
    """The network, from all runs at once; the validation frames are the last of each run's stretches."""
    frames = [frame for file in options.files for frame in jxl.read(file)]
    fit = jxl.train(
        frames,
        jxl.NequIP(**NETWORK),
        baseline=baseline(),
        validation=0.1,
        test=0.1,
        split="blocks",
        split_seed=0,
        epochs=options.epochs,
        batch_size=BATCH,
        loss=jxl.Loss(energy=0.0, per_species=False),
        check_units=False,  # forces of which most is noise are not those that any energy implies
        drop_outliers=False,
        optimization=jxl.Optimization(learning_rate=0.01),
        seed=options.seed,
        output=options.output,
        resume=True,
    )
    print(fit)


def check(options: argparse.Namespace) -> None:
    """Distribution functions of the ions alone beside those of the all-atom runs, in the same boxes."""
    potential = jxl.load_fit(options.fit).total
    rows = []
    for folder in options.runs:
        whole = jxl.load_run(folder)
        start = whole.trajectory.frame(-1)
        start = start[np.isin(start.numbers, IONS)]
        start.calc = None
        alone = jxl.simulate(
            potential,
            start,
            jxl.NVT(KELVIN, "langevin"),
            steps=round(1000.0 * options.picoseconds / 2.0),
            timestep=2.0,
            every=50,
            replicas=8,
            velocities=KELVIN,
            output=options.output / folder.name,
            resume=True,
        )
        rows.append(compared(folder.name, whole, alone, options.equilibration))
        print(json.dumps({key: value for key, value in rows[-1].items() if key != "curves"}, indent=1))
    write_json(options.output / "check.json", {"rows": rows, "weights": digest(options.fit / "model")})


def compared(name: str, whole: jxl.Run, alone: jxl.Run, equilibration: float) -> dict[str, Any]:
    """Both sets of curves and the deviations in their combined errors."""
    atoms = whole.trajectory.frame(0)
    edge, pairs = float(atoms.cell.lengths()[0]), int(np.sum(atoms.numbers == IONS[0]))
    discard = int(np.sum(np.asarray(whole.trajectory.times) - whole.trajectory.times[0] < 1e3 * equilibration))
    options = {"pairs": PAIRS, "width": WIDTH, "r_max": edge / 2}
    real, own = jxl.rdf(whole, discard=discard, **options), jxl.rdf(alone, **options)
    row: dict[str, Any] = {
        "run": name,
        "mol_per_L": pairs / (atoms.get_volume() * LITER),
        "edge_A": edge,
        "all_atom_ps": float(whole.trajectory.times[-1] - whole.trajectory.times[discard]) / 1e3,
        "curves": {},
    }
    for pair in PAIRS:
        one, other = real[pair], own[pair]
        both = np.hypot(np.nan_to_num(one.error), np.nan_to_num(other.error))
        known = both > 0
        z = (other.g - one.g)[known] / both[known]
        row["-".join(pair)] = {
            "rms_deviation": float(np.sqrt(np.mean((other.g - one.g) ** 2))),
            "rms_error": float(np.sqrt(np.mean(both**2))),
            "rms_z": float(np.sqrt(np.mean(z**2))) if len(z) else None,
        }
        row["curves"]["-".join(pair)] = {
            key: np.asarray(value).tolist()
            for key, value in {"r_A": one.r, "all_atom": one.g, "error": one.error, "ions": other.g}.items()
        }
    return row


def package(options: argparse.Namespace) -> None:
    """The network, its card and its check into the package."""
    fit, checked = jxl.load_fit(options.fit), read_json(options.check)
    if checked["weights"] != digest(options.fit / "model"):
        raise SystemExit(f"{options.check} is of other weights; run `check` again")
    shutil.rmtree(HOME / "member0", ignore_errors=True)
    store(fit, HOME / "member0")
    shutil.copy(ROOT / "jaxelyte" / "datasets" / "nacl_r2scan" / "LICENSE", HOME / "LICENSE")
    write_json(HOME / "check.json", checked)
    card = make_card(fit, checked["rows"])
    write_json(HOME / "card.json", card)
    write_text(HOME / "README.md", readme(card))
    picture(checked["rows"], HOME / "check.png")
    print(jxl.datasets.potentials())


def make_card(fit: jxl.Fit, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The card."""
    molar = [row["mol_per_L"] for row in rows]
    range_ = f"{min(molar):.1f} to {max(molar):.1f} mol/L"
    worst = max(row["-".join(pair)]["rms_deviation"] for row in rows for pair in PAIRS)
    total = sum(row["all_atom_ps"] for row in rows)
    return {
        "name": HOME.name,
        "system": f"Na⁺ and Cl⁻ in water, which is integrated out, {range_}",
        "species": ["Na", "Cl"],
        "level_of_theory": "mean forces of nacl_r2scan (r2SCAN; classical nuclei) at 300 K",
        "summary": {
            "system": f"NaCl, ions alone, {range_}",
            "level_of_theory": "mean forces, r2SCAN",
            "errors": f"g(r) of the ions: at most {worst:.2f} (root mean square) from that of all-atom runs",
            "stability": f"{len(rows)} boxes x 8 runs of the check",
            "citation": "arXiv:2311.01527; jaxelyte",
        },
        "training": {
            "frames": f"{fit.config['labels']['frames']} frames of ions of {len(rows)} all-atom runs, {total:.0f} ps",
            "network": NETWORK,
            "recipe": f"force matching: Adam, {fit.config['epochs']} epochs, {BATCH} frames an update, the weights of "
            "the epoch with the smallest validation force error",
            "script": "scripts/train_nacl_ions.py",
            "versions": versions(),
        },
        "baseline": {"term": "ScreenedCoulomb", "charges_e": CHARGES, "permittivity": PERMITTIVITY, "core": CORE},
        "barrier": None,
        "errors": {"check": [{key: value for key, value in row.items() if key != "curves"} for row in rows]},
        "stability": f"{len(rows)} boxes x 8 runs of the check",
        "limits": LIMITS,
        "licence": "CC-BY-SA-4.0",
        "citation": CITATION,
        "members": [{"folder": "member0", "seed": fit.config["seed"], "sha256": digest(HOME / "member0")}],
        "date": time.strftime("%Y-%m-%d"),
    }


LIMITS = [
    "Structure and thermodynamics of the ions at 300 K; the free energy of the water is part of it at that temperature",
    "No dynamics: without the friction of the water there is no diffusion, conductivity or viscosity",
    "Learnt in boxes of 12 Å; beyond 7 Å is the screened Coulomb term alone",
    "Ions closer than in the all-atom runs meet a repulsive core that was not fitted",
    "Everything that limits nacl_r2scan",
]


def readme(card: dict[str, Any]) -> str:
    """The model card for people."""
    lines = []
    for row in card["errors"]["check"]:
        cells = [f"{row[name]['rms_deviation']:.3f} ± {row[name]['rms_error']:.3f}" for name in map("-".join, PAIRS)]
        lines.append(
            f"| {row['mol_per_L']:.2f} | {row['edge_A']:.2f} | {row['all_atom_ps']:.0f} | {' | '.join(cells)} |"
        )
    table = "\n".join(lines)
    return f"""# nacl_ions: {card["system"]}

```python
import jaxelyte as jxl

found = jxl.load_potential("nacl_ions")  # found.potential, found.card
```

Level of theory: {card["level_of_theory"]}. Learnt from {card["training"]["frames"]}.

U = network + Coulomb term of Na⁺ and Cl⁻ (relative permittivity {PERMITTIVITY}) + repulsive core. U is a free
energy of the ions: its gradient is minus the force on them, averaged over the water.

## Check

Distribution functions of the ions alone beside those of the all-atom runs in the same box: root mean square deviation,
and what their statistical errors amount to.

| mol/L | edge, Å | all-atom, ps | Na-Cl | Na-Na | Cl-Cl |
|---|---|---|---|---|---|
{table}

![Distribution functions of the ions: all-atom runs, and ions alone](check.png)

`{card["training"]["script"]}` repeats it. {card["training"]["recipe"][0].upper() + card["training"]["recipe"][1:]}.

{closing(card, "the frames behind `nacl_r2scan`")}"""


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """The curves of all boxes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(PAIRS), figsize=(11, 3.4), layout="constrained")
    for ax, name in zip(axes, map("-".join, PAIRS), strict=True):
        for n, row in enumerate(rows):
            one = row["curves"][name]
            r, g, error = (np.array(one[key], float) for key in ("r_A", "all_atom", "error"))
            color = f"C{n}"
            ax.fill_between(r, g - error, g + error, color=color, alpha=0.3, lw=0)
            ax.plot(r, one["ions"], color=color, label=f"{row['mol_per_L']:.1f} mol/L")
        ax.set(xlabel="r / Å", ylabel=f"g(r), {name}")
    axes[0].legend(frameon=False, fontsize=8, title="line: ions alone; band: all-atom", title_fontsize=8)
    fig.savefig(path, dpi=120)
    plt.close(fig)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("label", help="ions of an all-atom run, with forces")
    one.add_argument("run", type=Path)
    one.add_argument("--member", type=int, required=True, help="of nacl_r2scan, that the run was made with")
    one.add_argument("--output", type=Path, required=True)
    one = commands.add_parser("train", help="the network")
    one.add_argument("files", type=Path, nargs="+")
    one.add_argument("--epochs", type=int, default=EPOCHS)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--output", type=Path, required=True)
    one = commands.add_parser("check", help="runs of the ions alone beside the all-atom runs")
    one.add_argument("fit", type=Path)
    one.add_argument("runs", type=Path, nargs="+")
    one.add_argument("--picoseconds", type=float, default=500.0, help="of each of eight replicas")
    one.add_argument("--output", type=Path, required=True)
    one = commands.add_parser("package", help="network and card into the package")
    one.add_argument("fit", type=Path)
    one.add_argument("check", type=Path)
    for name in ("label", "check"):
        text = "ps of all-atom runs that do not count"
        commands.choices[name].add_argument("--equilibration", type=float, default=50.0, help=text)
    options = parser.parse_args()
    {"label": label, "train": train, "check": check, "package": package}[options.what](options)


if __name__ == "__main__":
    main()
