"""Small valid files of each format, and how each is read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import jaxelyte as jxl
from jaxelyte.observables import load_result

FRAMES = 4
FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "nequip" / "norm"


@dataclass(frozen=True)
class Content:
    """What a reader returned: frames that are compared one by one, or anything else as text.

    Attributes:
        positions: of each frame, (replicas x atoms, 3), Å.
        numbers: of each frame.
        cells: of each frame, zero where not periodic.
        times: of each frame, fs.
        other: everything else.
    """

    positions: list[np.ndarray] = field(default_factory=list)
    numbers: list[np.ndarray] = field(default_factory=list)
    cells: list[np.ndarray] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    other: str = ""


@dataclass(frozen=True)
class Case:
    """A format.

    Attributes:
        name: of the case.
        target: the file of the folder that is damaged.
        read: reads what is in the folder.
        text: whether its lines can be damaged, too.
        shorter: contents of sound files with fewer frames; what is cut there is no damage.
        ordered: whether the frames are a trajectory, whose times rise.
    """

    name: str
    target: str
    read: Callable[[Path], Content]
    text: bool = True
    shorter: tuple[bytes, ...] = ()
    ordered: bool = True


def of_trajectory(found: jxl.Trajectory) -> Content:
    """Everything of a trajectory, so that nothing is left unread."""
    frames = range(len(found))
    cells = found.cells_of(slice(None)) * np.array(found.pbc)[None, None, :, None]
    positions = [np.asarray(found.positions[i : i + 1], float).reshape(-1, 3) for i in frames]
    return Content(
        positions, [found.numbers.ravel() for _ in frames], list(cells[:, 0]), [float(t) for t in found.times], ""
    )


def of_frames(found: list[Atoms]) -> Content:
    """Frames with their labels."""
    return Content(
        [a.positions for a in found],
        [a.numbers for a in found],
        [a.cell.array * a.pbc[:, None] for a in found],
        [float(a.info.get("time", np.nan)) for a in found],
        "",
    )


def salt(frames: int = FRAMES) -> list[Atoms]:
    """Frames of water and ions with energies, forces, steps and times."""
    rng = np.random.default_rng(7)
    out = []
    for n in range(frames):
        atoms = Atoms("OHHOHHNaCl", rng.uniform(1.0, 7.0, (8, 3)).round(5), cell=[8.5, 9.0, 9.5], pbc=True)
        atoms.info |= {"step": 10 * n, "time": 5.0 * n}
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0 - n / 8, forces=rng.normal(size=(8, 3)).round(5))
        out.append(atoms)
    return out


def extxyz(frames: list[Atoms]) -> bytes:
    """Extended XYZ as ASE writes it."""
    import io

    from ase.io import write

    text = io.StringIO()
    write(text, frames, format="extxyz")
    return text.getvalue().encode()


def plain_xyz(frames: list[Atoms], comment: Callable[[int, Atoms], str]) -> bytes:
    """XYZ with a comment of the caller's."""
    text = ""
    for n, atoms in enumerate(frames):
        text += f"{len(atoms):8d}\n{comment(n, atoms)}\n"
        text += "".join(f"{s:>4s}{x:20.10f}{y:20.10f}{z:20.10f}\n" for s, (x, y, z) in _rows(atoms))
    return text.encode()


def _rows(atoms: Atoms) -> Any:
    return zip(atoms.symbols, atoms.positions, strict=True)


def cp2k_comment(n: int, _: Atoms) -> str:
    return f" i = {10 * n:8d}, time = {5.0 * n:12.3f}, E = {-10.0 - n / 8:20.10f}"


def ipi_comment(n: int, atoms: Atoms) -> str:
    a, b, c = atoms.cell.lengths()
    return (
        f"# CELL(abcABC): {a:10.5f} {b:10.5f} {c:10.5f}   90.00000   90.00000   90.00000  Step: {10 * n:10d}  Bead: 0 "
        "positions{angstrom}  cell{angstrom}"
    )


def lammps_dump(frames: list[Atoms]) -> bytes:
    """A dump of LAMMPS with elements."""
    text = ""
    for n, atoms in enumerate(frames):
        a, b, c = atoms.cell.lengths()
        text += f"ITEM: TIMESTEP\n{10 * n}\nITEM: NUMBER OF ATOMS\n{len(atoms)}\nITEM: BOX BOUNDS pp pp pp\n"
        text += f"0.0 {a}\n0.0 {b}\n0.0 {c}\nITEM: ATOMS id type element x y z\n"
        text += "".join(f"{i + 1} 1 {s} {x:.6f} {y:.6f} {z:.6f}\n" for i, (s, (x, y, z)) in enumerate(_rows(atoms)))
    return text.encode()


def cp2k_forces(frames: list[Atoms]) -> bytes:
    moved = []
    for atoms in frames:
        copy = Atoms(atoms.numbers, atoms.get_forces() / 51.4220674763)
        moved.append(copy)
    return plain_xyz(moved, cp2k_comment)


def cp2k_cell(frames: list[Atoms]) -> bytes:
    text = "#   Step   Time [fs]       Ax [Angstrom]       Ay [Angstrom] ... Volume [Angstrom^3]\n"
    for n, atoms in enumerate(frames):
        numbers = "".join(f"{x:20.10f}" for x in (*atoms.cell.array.ravel(), atoms.get_volume()))
        text += f"{10 * n:8d}{5.0 * n:12.3f}{numbers}\n"
    return text.encode()


def by_mdanalysis(folder: Path, name: str, frames: list[Atoms]) -> None:
    """DCD, XTC, NetCDF or PDB by MDAnalysis, with a topology."""
    import MDAnalysis

    universe = MDAnalysis.Universe.empty(len(frames[0]), trajectory=True)
    symbols = list(frames[0].symbols)
    for attribute in ("names", "types", "elements"):
        universe.add_TopologyAttr(attribute, symbols)
    universe.add_TopologyAttr("resnames", ["SAL"])
    options = {} if name.endswith(".pdb") else {"dt": 0.005}
    with MDAnalysis.Writer(str(folder / name), len(frames[0]), multiframe=True, **options) as writer:
        for n, atoms in enumerate(frames):
            universe.atoms.positions = atoms.positions
            universe.dimensions = [*atoms.cell.lengths(), 90, 90, 90]
            universe.trajectory.ts.frame = n
            universe.trajectory.ts.time = 0.005 * n
            universe.trajectory.ts.data["step"] = 10 * n
            writer.write(universe.atoms)
    if not (folder / "top.pdb").exists():
        universe.atoms.write(str(folder / "top.pdb"))


def _quietly(folder: Path, name: str, frames: list[Atoms]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_mdanalysis(folder, name, frames)


def make_run(folder: Path) -> None:
    """A short run of argon that is finished, with an observable."""
    positions = np.array(list(np.ndindex(2, 2, 2)), float) * 4.0
    atoms = Atoms("Ar8", positions, cell=[10.0, 10.0, 10.0], pbc=True)
    potential = jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.0103}, cutoff=4.0)
    jxl.simulate(
        potential,
        atoms,
        jxl.NVE(),
        steps=40,
        timestep=2.0,
        every=10,
        output=folder,
        velocities=50.0,
        skin=0.5,
        observables={"rdf": jxl.RDF([("Ar", "Ar")], r_max=4.5)},
        progress=False,
        equilibration=0,
    )


def make_fit(folder: Path) -> None:
    """A trained network, without the training."""
    network = jxl.load_nequip(FIXTURE)
    row = {"epoch": 1, "best": True, "validation": {"forces": 0.1}, "train": {"forces": 0.1}, "seconds": 1.0}
    jxl.Fit((network,), None, [row, row | {"epoch": 2}], {"split": {"train": [0], "validation": [1]}}).save(folder)


RUN_FILE = """# Saltwater, at 25 °C
[system]
file = "start.xyz"

[[potential]]
type = "lennard-jones"
sigma = { O = 3.15, H = 1.0, Na = 2.5, Cl = 4.4 }
epsilon = { O = 0.0067, H = 0.001, Na = 0.005, Cl = 0.004 }

[ensemble]
type = "NVT"
temperature = 298.15

[run]
steps = 1000
timestep = 0.5
every = 10

[observables.rdf]
type = "rdf"
pairs = ["Na-O", "Na-Cl"]
"""

TRAINING_FILE = """[data]
files = ["set.xyz"]
validation = 0.2

[model]
r_max = 4.0
num_layers = 2

[train]
epochs = 3
"""


def trajectory_of(name: str, **options: Any) -> Callable[[Path], Content]:
    return lambda folder: of_trajectory(
        jxl.open_trajectory(folder / name, **{k: folder / str(v) for k, v in options.items()})
    )


def frames_of(name: str) -> Callable[[Path], Content]:
    return lambda folder: of_frames(jxl.read(folder / name))


def run_of(folder: Path) -> Content:
    run = jxl.load_run(folder / "run")
    content = of_trajectory(run.trajectory)
    log = {key: np.asarray(value).shape for key, value in run.log.items()}
    return Content(content.positions, content.numbers, content.cells, content.times, f"{log} {sorted(run.observables)}")


def model_of(name: str) -> Callable[[Path], Content]:
    def load(folder: Path) -> Content:
        potential = jxl.load_nequip(folder / name)
        return Content(other=str(potential.config))

    return load


def fit_of(folder: Path) -> Content:
    fit = jxl.load_fit(folder / "fit")
    return Content(other=f"{fit!r} {fit.best} {sorted(fit.config)}")


def config_of(kind: str) -> Callable[[Path], Content]:
    def load(folder: Path) -> Content:
        from jaxelyte.cli.config import load_config, load_training

        found = (load_config if kind == "run" else load_training)(folder / f"{kind}.toml")
        return Content(other=str(found).replace(str(folder), ""))

    return load


def text_cases(folder: Path) -> list[Case]:
    """Formats of atoms that are text, and their packed forms."""
    frames = salt()
    cases = []
    makers: dict[str, tuple[str, Callable[[list[Atoms]], bytes]]] = {
        "extxyz": ("t.extxyz", extxyz),
        "xyz": ("t.xyz", lambda some: plain_xyz(some, lambda n, _: f"frame {n}")),
        "ipi": ("t.pos_0.xyz", lambda some: plain_xyz(some, ipi_comment)),
        "dump": ("t.lammpstrj", lammps_dump),
        "cp2k": ("t-pos-1.xyz", lambda some: plain_xyz(some, cp2k_comment)),
    }
    for name, (target, make) in makers.items():
        (folder / target).write_bytes(make(frames))
        shorter = tuple(make(frames[:k]).strip() for k in range(1, FRAMES))
        cases += [
            Case(f"{name} opened", target, trajectory_of(target), shorter=shorter),
            Case(f"{name} read", target, frames_of(target), shorter=shorter, ordered=False),
        ]
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        target = f"p.xyz{suffix}"
        (folder / target).write_bytes(pack(extxyz(frames)))
        cases += [
            Case(f"extxyz{suffix} opened", target, trajectory_of(target), text=False),
            Case(f"extxyz{suffix} read", target, frames_of(target), text=False, ordered=False),
        ]
    (folder / "t-frc-1.xyz").write_bytes(cp2k_forces(frames))
    (folder / "t-1.cell").write_bytes(cp2k_cell(frames))
    for target in ("t-pos-1.xyz", "t-frc-1.xyz", "t-1.cell"):
        shorter = tuple(_cp2k_part(target, frames[:k]).strip() for k in range(1, FRAMES))
        cases.append(Case(f"cp2k {target}", target, cp2k_of, shorter=shorter))
    return cases


def cp2k_of(folder: Path) -> Content:
    return of_frames(jxl.read_cp2k(folder / "t-pos-1.xyz", folder / "t-frc-1.xyz", cell=folder / "t-1.cell"))


def _cp2k_part(target: str, frames: list[Atoms]) -> bytes:
    if target.endswith(".cell"):
        return cp2k_cell(frames)
    return cp2k_forces(frames) if "frc" in target else plain_xyz(frames, cp2k_comment)


def data_cases(folder: Path) -> list[Case]:
    """LAMMPS data, PDB, npz, and binary trajectories."""
    from ase.io import write

    frames = salt()
    write(folder / "t.data", frames[0], format="lammps-data", masses=True, atom_style="charge")
    arrays = {"R": [a.positions for a in frames], "z": frames[0].numbers, "F": [a.get_forces() for a in frames]}
    energies = [a.get_potential_energy() for a in frames]
    np.savez(folder / "t.npz", **arrays, E=energies, cell=frames[0].cell.array)  # pyright: ignore[reportArgumentType]
    cases = [
        Case("lammps-data read", "t.data", frames_of("t.data")),
        Case("npz read", "t.npz", frames_of("t.npz"), text=False),
    ]
    for name in ("t.dcd", "t.xtc", "t.ncdf", "t.trr"):
        _quietly(folder, name, frames)
        cases.append(Case(f"{name} opened", name, trajectory_of(name, topology="top.pdb"), text=False))
    _quietly(folder, "t.pdb", frames)
    cases += [
        Case("pdb opened", "t.pdb", trajectory_of("t.pdb")),
        Case("topology of dcd", "top.pdb", trajectory_of("t.dcd", topology="top.pdb")),
    ]
    return cases


def own_cases(folder: Path) -> list[Case]:
    """What jaxelyte writes itself."""
    make_run(folder / "run")
    make_fit(folder / "fit")
    shutil.copytree(FIXTURE, folder / "model")
    (folder / "run.toml").write_text(RUN_FILE, encoding="utf-8")
    (folder / "train.toml").write_text(TRAINING_FILE, encoding="utf-8")
    curve = json.loads((folder / "run" / "observables" / "rdf.json").read_text())
    (folder / "rdf.json").write_text(json.dumps(curve, indent=1))
    result = Case("result", "rdf.json", lambda f: Content(other=repr(load_result(f / "rdf.json"))))
    names = [str(p.relative_to(folder)) for p in sorted((folder / "run").rglob("*")) if p.is_file()]
    return [
        *(Case(f"{name} of a run", name, run_of, text=name.endswith((".json", ".csv"))) for name in names),
        Case("h5md opened", "run/trajectory.h5", trajectory_of("run/trajectory.h5"), text=False),
        Case("model config", "model/config.json", model_of("model")),
        Case("model arrays", "model/state_dict.npz", model_of("model"), text=False),
        *(Case(f"{name} of a fit", f"fit/{name}", fit_of) for name in ("config.json", "metrics.jsonl")),
        Case("arrays of a fit", "fit/model/state_dict.npz", fit_of, text=False),
        Case("run file", "run.toml", config_of("run")),
        Case("training file", "train.toml", config_of("train")),
        result,
    ]
