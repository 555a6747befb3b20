"""Make the data set of NaCl in water that comes with jaxelyte, or one like it with labels from another program.

    pip install -e ".[labels]"
    python scripts/dataset.py sample frames.extxyz                       # classical MD at 300, 400 and 600 K
    python scripts/dataset.py label frames.extxyz labelled.extxyz        # GFN1-xTB
    jaxelyte train ...                                                   # a committee, see `pick`
    python scripts/dataset.py pick fit labelled.extxyz more.extxyz       # where the committee disagrees in its own MD
    python scripts/dataset.py label more.extxyz labelled.extxyz --append

Only labels are computed by the electronic structure program, never dynamics. `--source cp2k` labels the same frames
with density functional theory: revPBE-D3, DZVP-MOLOPT-SR, GTH pseudopotentials, the level of the study this follows;
it needs the program `cp2k_shell` (Debian: `apt install cp2k`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

WATERS, PAIRS = 32, 2
TEMPERATURES = (300.0, 400.0, 600.0)
VOLUMES = (0.94, 0.98, 1.02, 1.06)
"""Relative to the experimental density: stress and compression are in the data."""
STRETCH = (0.89, 0.99)
"""Range of a factor on the O-H bonds of each sampled frame: the classical model's bonds are 1.03 Å long in the liquid,
those of the electronic structure 0.96 Å. Without it a network leaves the data within the first vibration of its MD."""
JOLTED, JOLT = 4, 0.35
"""Every how many sampled frames one is repeated with displaced ions, and their displacement: standard deviation in Å of
each component. The classical model alone never shows how ions and water repel each other at short distances."""

CLOSEST = {"Na": 1.4, "Cl": 1.6}
"""Å; a displaced ion comes no closer to any atom."""

CUTOFF = 800.0
"""Ry. The semicore electrons of Na ask for it: in a cell of one NaCl, whose forces add up to zero, those on a 400 Ry
grid added up to 1.8 eV/Å, all of it on Na; at 1200 Ry to 0.3; at 800 Ry with the smoothed density below to 0.07."""

CP2K = """
&FORCE_EVAL
  &DFT
    &QS
      EPS_DEFAULT 1.0E-12
    &END QS
    &MGRID
      NGRIDS 5
      REL_CUTOFF 60
    &END MGRID
    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF 1.0E-6
      MAX_SCF 30
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_SINGLE_INVERSE
      &END OT
      &OUTER_SCF
        EPS_SCF 1.0E-6
        MAX_SCF 10
      &END OUTER_SCF
    &END SCF
    &XC
      &XC_FUNCTIONAL
        &PBE
          PARAMETRIZATION REVPBE
        &END PBE
      &END XC_FUNCTIONAL
      &XC_GRID
        XC_SMOOTH_RHO NN10
        XC_DERIV SPLINE2_SMOOTH
      &END XC_GRID
      &VDW_POTENTIAL
        POTENTIAL_TYPE PAIR_POTENTIAL
        &PAIR_POTENTIAL
          TYPE DFTD3
          PARAMETER_FILE_NAME dftd3.dat
          REFERENCE_FUNCTIONAL revPBE
        &END PAIR_POTENTIAL
      &END VDW_POTENTIAL
    &END XC
  &END DFT
  &SUBSYS
    &KIND H
      BASIS_SET DZVP-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE-q1
    &END KIND
    &KIND O
      BASIS_SET DZVP-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE-q6
    &END KIND
    &KIND Na
      BASIS_SET DZVP-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE-q9
    &END KIND
    &KIND Cl
      BASIS_SET DZVP-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE-q7
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""


def rounded(atoms: Atoms) -> Atoms:
    """The structure as it will be written, so that labels belong to exactly these coordinates."""
    from ase import Atoms as Structure

    positions, cell = np.round(atoms.positions, 5), np.round(atoms.cell.array, 5)
    return Structure(atoms.numbers, positions, cell=cell, pbc=atoms.pbc, info=dict(atoms.info))


def sample(output: Path, *, steps: int, per_run: int, seed: int) -> None:
    """Frames of classical MD: flexible SPC/Fw water with Joung-Cheatham ions."""
    import jaxelyte as jxl

    # Independent starts: different places of the ions, not only different velocities.
    starts = []
    for n, volume in enumerate(VOLUMES):
        box = jxl.build.electrolyte({"Na": PAIRS, "Cl": PAIRS}, waters=WATERS, density=1.08, seed=seed + n)
        box.set_cell(box.cell * volume ** (1 / 3), scale_atoms=True)
        starts.append(box)
    rng = np.random.default_rng(seed)
    potential = jxl.spc_fw(starts[0], cutoff=min(box.cell.lengths().min() for box in starts) / 2 - 0.1, tolerance=1e-3)
    frames: list[Atoms] = []
    for temperature in TEMPERATURES:
        run = jxl.simulate(
            potential, starts, jxl.NVT(temperature), steps=steps, timestep=0.5, seed=seed, every=100, minimize=True
        )
        count = len(run.trajectory)
        chosen = np.linspace(count // 4, count - 1, per_run).round().astype(int)
        for replica in range(len(starts)):
            for n in chosen:
                atoms = run.trajectory.frame(int(n), replica)
                atoms.info = {"origin": "classical", "temperature_K": temperature}
                stretch(atoms, rng.uniform(*STRETCH))
                frames.append(rounded(atoms))
    write(output, frames + [jolted(atoms, rng) for atoms in frames[::JOLTED]])


def stretch(atoms: Atoms, factor: float) -> None:
    """Multiply the O-H bonds in place; the oxygens stay."""
    symbols = np.array(atoms.get_chemical_symbols())
    oxygens, hydrogens = np.flatnonzero(symbols == "O"), np.flatnonzero(symbols == "H")
    for hydrogen in hydrogens:
        bonds = atoms.get_distances(hydrogen, oxygens, mic=True, vector=True)
        nearest = bonds[np.argmin(np.linalg.norm(bonds, axis=1))]
        atoms.positions[hydrogen] += (1 - factor) * nearest


def jolted(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """A copy with the ions displaced, at random but not into anything."""
    atoms, start = atoms.copy(), atoms.positions.copy()
    ions = np.flatnonzero(np.isin(atoms.numbers, (11, 17)))
    for ion in ions:
        for _ in range(100):
            atoms.positions[ion] = start[ion] + rng.normal(0.0, JOLT, 3)
            others = np.delete(np.arange(len(atoms)), ion)
            if atoms.get_distances(ion, others, mic=True).min() > CLOSEST[str(atoms[ion].symbol)]:
                break
        else:
            atoms.positions[ion] = start[ion]
    atoms.info = atoms.info | {"origin": "displaced"}
    return rounded(atoms)


def label(
    source: Path, output: Path, *, program: str, processes: int, append: bool, limit: int | None, forces_below: float
) -> None:
    """Energies and forces of every frame; written as they come."""
    from ase.io import read

    # A word in the file would be taken for a switch by ase.
    frames: Any = read(source, ":", format="extxyz")
    frames = frames[:limit]
    if output.exists() and not append:
        raise SystemExit(f"{output} exists; give another name, or --append")
    began, done = time.perf_counter(), 0
    with ProcessPoolExecutor(processes, initializer=_one_thread) as pool:
        for atoms, seconds in pool.map(one_label, frames, [program] * len(frames)):
            done += 1
            left = (time.perf_counter() - began) / done * (len(frames) - done)
            largest = float(np.abs(atoms.get_forces()).max())
            word = "" if largest < forces_below else f", left out: a force of {largest:.0f} eV/Å"
            net = float(np.linalg.norm(atoms.get_forces().sum(axis=0)))
            print(
                f"frame {done} of {len(frames)}: {seconds:.1f} s, forces add up to {net:.3f} eV/Å, "
                f"{left / 60:.1f} min left{word}",
                flush=True,
            )
            if not word:
                write(output, [atoms], append=True)


def one_label(atoms: Atoms, program: str) -> tuple[Atoms, float]:
    """The frame with its labels, and the seconds that they took."""
    from ase.calculators.singlepoint import SinglePointCalculator

    began = time.perf_counter()
    atoms = rounded(atoms)
    copy = atoms.copy()
    copy.calc, atoms.info["level"] = calculator(program)
    energy, forces = copy.get_potential_energy(), copy.get_forces()
    if program == "cp2k":
        copy.calc.close()
    atoms.calc = SinglePointCalculator(atoms, energy=round(float(energy), 6), forces=np.round(forces, 5))
    return atoms, time.perf_counter() - began


def calculator(program: str) -> tuple[Any, str]:
    """An ase calculator and the name of its level of theory."""
    if program == "gfn1-xtb":
        from importlib.metadata import version

        from tblite.ase import TBLite  # pyright: ignore[reportMissingImports]

        return TBLite(method="GFN1-xTB", verbosity=0), f"GFN1-xTB, tblite {version('tblite')}"
    from ase.calculators import cp2k

    shell = cp2k.CP2K(
        inp=CP2K,
        xc=None,
        basis_set=None,
        pseudo_potential=None,
        basis_set_file="BASIS_MOLOPT",
        potential_file="GTH_POTENTIALS",
        cutoff=CUTOFF * 13.605693122994,
        max_scf=None,
        auto_write=False,
        print_level="LOW",
        command=os.environ.get("ASE_CP2K_COMMAND", "cp2k_shell"),
    )
    return shell, "revPBE-D3, DZVP-MOLOPT-SR-GTH, CP2K"


def pick(fit: Path, known: Path, output: Path, *, steps: int, count: int, seed: int) -> None:
    """Frames of a committee's own MD where its members disagree most, before it loses its senses."""
    import jaxelyte as jxl
    from jaxelyte.training.stability import watch_of

    members = jxl.load_fit(fit)
    if len(members.totals) < 2:
        raise SystemExit(f"{fit} holds one network; train a committee: committee = 4")
    rng = np.random.default_rng(seed)
    frames = [atoms for atoms in jxl.read(known) if len(atoms) == 3 * WATERS + 2 * PAIRS]
    found: list[Atoms] = []
    for temperature in TEMPERATURES:
        starts = [frames[n] for n in rng.choice(len(frames), 4, replace=False)]
        for atoms in starts:
            atoms.calc = None
        try:
            run = jxl.simulate(
                members.totals[0],
                starts,
                jxl.NVT(temperature),
                steps=steps,
                every=20,
                seed=seed,
                velocities=temperature,
            )
        except jxl.SimulationError as error:
            print(error)
            run = error.run
            if run is None:
                continue
        for replica in range(run.trajectory.replicas):
            watch = watch_of(starts[replica])
            for n in range(1, len(run.trajectory)):
                atoms = run.trajectory.frame(n, replica)
                atoms.info = {"origin": "committee", "temperature_K": temperature}
                found.append(rounded(atoms))
                # The first frame with an overlap or a broken bond shows what is missing; what comes after is no liquid.
                if watch.event(atoms, None, temperature) is not None:
                    break
    spread = _spreads(members.totals, found)
    # Of neighbouring frames one is enough: chosen at random among three times as many with the largest spreads.
    chosen = np.argsort(spread)[::-1][: 3 * count]
    chosen = rng.choice(chosen, min(count, len(chosen)), replace=False)
    print(f"{len(found)} frames, largest spread of a force in each: median {np.median(spread):.3f} eV/Å")
    print(f"chosen: {len(chosen)} with {spread[chosen].min():.3f} to {spread[chosen].max():.3f} eV/Å")
    write(output, [found[n] for n in np.sort(chosen)])


def _spreads(members: Any, frames: list[Atoms]) -> np.ndarray:
    """Of each frame the largest standard deviation of a force among the members, eV/Å."""
    from jaxelyte.data.baseline import evaluate_frames

    forces = np.array([evaluate_frames(one, frames).forces for one in members])
    return np.sqrt(np.var(forces, axis=0, ddof=1).sum(axis=-1)).max(axis=-1)


def write(path: Path, frames: list[Atoms], *, append: bool = False) -> None:
    """Extended XYZ with as many digits as the data have."""
    from ase.io.extxyz import write_xyz

    with path.open("a" if append else "w") as file:
        write_xyz(file, frames, columns=["symbols", "positions", "forces"] if frames[0].calc else None)
    if not append:
        print(f"{len(frames)} frames in {path}")


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


def main() -> None:
    """Parse the command line and do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    one = steps.add_parser("sample")
    one.add_argument("output", type=Path)
    one.add_argument("--steps", type=int, default=20_000, help="of 0.5 fs, at each temperature")
    one.add_argument("--per-run", type=int, default=20, help="frames of each volume and temperature")
    one.add_argument("--seed", type=int, default=0)
    one = steps.add_parser("label")
    one.add_argument("source", type=Path)
    one.add_argument("output", type=Path)
    one.add_argument("--source", dest="program", choices=("gfn1-xtb", "cp2k"), default="gfn1-xtb")
    one.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    one.add_argument("--append", action="store_true")
    one.add_argument("--limit", type=int, help="label only so many frames")
    one.add_argument("--forces-below", type=float, default=10.0, help="eV/Å; leave out frames with a larger force")
    one = steps.add_parser("pick")
    one.add_argument("fit", type=Path)
    one.add_argument("known", type=Path, help="labelled frames, to start from")
    one.add_argument("output", type=Path)
    one.add_argument("--steps", type=int, default=2000, help="of 0.5 fs")
    one.add_argument("--count", type=int, default=30)
    one.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    step = options.pop("step")
    sys.exit({"sample": sample, "label": label, "pick": pick}[step](**options))


if __name__ == "__main__":
    main()
