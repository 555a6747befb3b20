"""What a simulation gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import units
from jaxelyte.checks import caution, count, file_path, flag, whole_slice
from jaxelyte.dynamics.record import LOG, read_log
from jaxelyte.dynamics.summary import averages
from jaxelyte.errors import InputError
from jaxelyte.plots.rich import Rich, html_table
from jaxelyte.potentials.base import Potential
from jaxelyte.storage import read_json
from jaxelyte.trajectory import Trajectory, open_trajectory
from jaxelyte.wording import counted, plus_minus

if TYPE_CHECKING:
    from ase import Atoms

    from jaxelyte.observables import SeriesResult


@dataclass(frozen=True)
class Run(Rich):
    """A finished or interrupted run.

    Attributes:
        trajectory: frames, unwrapped positions in Å; frame 0 is the start.
        log: step (rows,), time in fs (rows,), and temperature in K, potential, kinetic and conserved energy in eV, each
            (rows, replicas); where the cell changes also its volume in Å³, density in g/cm³, and edges a, b, c in Å.
        atoms: the last state with velocities, a list where there are several replicas.
        observables: results by name.
        summary: averages with standard errors, speed, versions; the content of ``summary.json``.
        completed: False if the run was interrupted.
        folder: where it is kept, or None.
        potential: as it is at the end, with the bias that metadynamics has built; None for a run that was loaded.
    """

    trajectory: Trajectory
    log: dict[str, np.ndarray]
    atoms: Atoms | list[Atoms]
    observables: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    completed: bool = True
    folder: Path | None = None
    potential: Potential | None = field(default=None, repr=False)

    @property
    def performance(self) -> dict[str, Any]:
        """Speed of the run: ns/day, ms per step, compile time in s, number of compilations."""
        return self.summary.get("performance", {})

    def plot(self, ax: Any = None) -> Any:
        """Temperature, potential and conserved energy against time."""
        from jaxelyte import plots

        return plots.log(self, ax)

    def universe(self, replica: int = 0, *, charges: Mapping[str, float] | None = None) -> Any:
        """One replica as a Universe of MDAnalysis, with the time step of the frames, masses, bonds and charges.

        Args:
            replica: which one.
            charges: e, of elements; by default those of the Coulomb term of the run's potential, if it has one for all.

        Raises:
            InputError: charges that are not those of all elements.
            MissingError: no such replica.
            ImportError: MDAnalysis is not installed (the extra ``analysis``).
        """
        return self.trajectory.universe(replica, charges=self._charges() if charges is None else charges)

    def _charges(self) -> dict[str, float] | None:
        """Charges in e of all elements, as the potential has them; None where it does not have those of all."""
        from ase.data import chemical_symbols

        from jaxelyte.dynamics.identity import charges_of, describe_potential

        description = {}
        if self.potential is not None:
            description = describe_potential(self.potential)
        elif self.folder is not None:
            description = read_json(self.folder / "config.json").get("potential", {})
        terms = list(charges_of(description).values())
        present = {chemical_symbols[z] for z in np.unique(self.trajectory.numbers)}
        return terms[0] if len(terms) == 1 and present <= set(terms[0]) else None

    def to_ase(self, frames: slice = slice(None), *, replica: int = 0, forces: bool = False) -> list[Atoms]:
        """Frames as ``ase.Atoms`` with their potential energies, and forces if wanted; for ASE's writers and viewers.

        Energies are those of the log. Forces are not stored: they are computed again, which needs the potential.

        Args:
            frames: which ones, such as ``slice(0, None, 10)``.
            replica: which replica.
            forces: compute forces, too.

        Raises:
            InputError: forces of a run that was loaded and does not have its potential.
            MissingError: no such replica.
        """
        from ase.calculators.singlepoint import SinglePointCalculator

        from jaxelyte.interop.ase_calculator import Calculator

        if flag("forces", forces) and self.potential is None:
            raise InputError(
                "forces are computed again from the potential, which a run that was loaded does not hold; attach "
                "jxl.Calculator(potential) to the frames"
            )
        whole_slice("frames", frames, "frames")
        found = []
        calculator = Calculator(self.potential) if forces and self.potential is not None else None
        for number in range(*frames.indices(len(self.trajectory))):
            atoms = self.trajectory.frame(number, replica)
            known: dict[str, Any] = {"energy": float(self.log["potential"][number, replica])}
            if calculator is not None:
                known["forces"] = calculator.get_forces(atoms)
            atoms.calc = SinglePointCalculator(atoms, **known)
            found.append(atoms)
        return found

    def _table_(self) -> str:
        """What stands above the text in a notebook."""
        rows = {"steps": str(self.summary["steps"])} if "steps" in self.summary else {}
        if self.folder is not None:
            rows["folder"] = str(self.folder)
        rows |= {name: repr(one).splitlines()[0] for name, one in self.observables.items()}
        return html_table(rows) if rows else ""

    def __repr__(self) -> str:
        state = "completed" if self.completed else "interrupted"
        replicas = self.log["temperature"].shape[1]
        many = f", {replicas} replicas" if replicas > 1 else ""
        time = self.log["time"][-1] / 1000.0
        temperature = self.summary.get("temperature", {})
        mean = temperature.get("value", float("nan"))
        kelvin = plus_minus(mean, temperature.get("error"), temperature.get("error_at_least"), unit="K")
        where = f", in {self.folder}" if self.folder else ""
        where += ", no equipartition between atoms" if temperature.get("fault") else ""
        return f"Run({state}: {counted(len(self.log['step']), 'frame')}, {time:.4g} ps{many}, T = {kelvin}{where})"


def load_run(folder: str | Path) -> Run:
    """Open a run folder, whether the run is finished, interrupted or still going.

    Args:
        folder: as given to ``simulate(output=…)``.

    Raises:
        InputError: the folder holds no run, or its files cannot be read.
    """
    from jaxelyte.dynamics.checkpoint import of_run

    folder = file_path("folder", folder)
    checkpoint = folder / "checkpoint.npz"
    if not checkpoint.exists():
        raise InputError(f"{folder} holds no run (no checkpoint.npz); give the output folder of a simulation")
    arrays = of_run(checkpoint)
    for name in ("step", "record/frames", "state.system.positions", "state.velocities"):
        if name not in arrays:
            raise InputError(f"{checkpoint} is no checkpoint of a simulation: it holds no {name!r}")
    summary = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
    # A run that blew up keeps frames beyond its last checkpoint; its summary counts them.
    frames = count(f"frames in {folder / 'summary.json'}", summary.get("frames", arrays["record/frames"]), least=0)
    trajectory = open_trajectory(folder / "trajectory.h5").first(frames)
    log = {name: column[:frames] for name, column in read_log(folder / LOG).items()}
    for name, found in (("trajectory.h5", len(trajectory)), (LOG, len(log["step"]))):
        if found < frames:
            raise InputError(
                f"{folder / name} holds {counted(found, 'frame')}, but {frames} were written; it is damaged"
            )
    summary = summary or _so_far(folder, int(arrays["step"]), log, trajectory)
    # Checkpoints of earlier versions hold no cell, which was fixed.
    cells = arrays["state.system.cell"] if "state.system.cell" in arrays else trajectory.cells_of(slice(0, 1))[0]
    atoms = final_atoms(trajectory, arrays["state.system.positions"], arrays["state.velocities"], cells)
    return Run(
        trajectory=trajectory,
        log=log,
        atoms=atoms,
        observables=_load_observables(folder / "observables", log, trajectory, summary),
        summary=summary,
        completed=bool(summary.get("completed", False)),
        folder=folder,
    )


def _so_far(folder: Path, step: int, log: dict[str, np.ndarray], trajectory: Trajectory) -> dict[str, Any]:
    """The summary of a run that goes on, or was killed: what its log and its settings say."""
    settings = read_json(folder / "config.json")
    timestep, every = float(settings["timestep_fs"]), int(settings["every"])
    discard = step // every // 5
    if settings.get("equilibration") is not None:
        discard = -(-int(settings["equilibration"]) // every)
    thermostat = settings["ensemble"].get("temperature")
    return {
        "completed": False,
        "steps": step,
        "time_ps": step * timestep / 1000.0,
        **averages(
            log,
            trajectory.num_atoms,
            thermostat=thermostat,
            discard=discard,
            pressure=settings["ensemble"].get("pressure"),
        ),
    }


def _load_observables(
    folder: Path, log: dict[str, np.ndarray], trajectory: Trajectory, summary: dict[str, Any]
) -> dict[str, Any]:
    from jaxelyte.observables import SeriesResult, load_result

    found = {}
    for path in sorted(folder.glob("*.json")) if folder.exists() else ():
        found[path.stem] = result = load_result(path, of_run=True)
        if isinstance(result, SeriesResult) and not result.center_counted:
            found[path.stem] = _count_center(result, path, log, trajectory, summary)
    return found


def _count_center(
    series: SeriesResult, path: Path, log: dict[str, np.ndarray], trajectory: Trajectory, summary: dict[str, Any]
) -> SeriesResult:
    """A pressure tensor of version 0.1 with k_B T / V added where the run kept the total momentum at zero.

    The log says whether it did: its temperatures and kinetic energies give the degrees of freedom.
    """
    rows = log["temperature"] > 0
    if not np.any(rows):
        return series
    degrees = round(2.0 * float(np.median(log["kinetic"][rows] / log["temperature"][rows])) / units.BOLTZMANN)
    if degrees == 3 * trajectory.positions.shape[2]:
        return replace(series, center_counted=True)
    begin = min(int(summary.get("discarded_frames", 0)), len(log["step"]) - 1)
    target = summary.get("temperature", {}).get("thermostat")
    kelvin = log["temperature"][begin:].mean(axis=0) if target is None else np.full(rows.shape[1], float(target))
    volumes = np.abs(np.linalg.det(np.asarray(trajectory.cells, np.float64).reshape(-1, 3, 3)))
    added = units.BOLTZMANN * kelvin / volumes * units.EV_PER_A3_IN_GPA
    caution(
        f"{path} was recorded by jaxelyte 0.1 without k_B T / V of the fixed centre of mass; {added.mean():.4g} GPa "
        "are added to the diagonal of the pressure tensor on reading"
    )
    values = series.values.copy()
    values[..., :3] += added[:, None]
    return replace(series, values=values, center_counted=True)


def final_atoms(
    trajectory: Trajectory, positions: np.ndarray, velocities: np.ndarray, cells: np.ndarray
) -> Atoms | list[Atoms]:
    """The last state as ``ase.Atoms`` with velocities; a list where there are several replicas."""
    from ase.units import fs

    several = []
    for replica in range(len(positions)):
        atoms = trajectory.frame(0, replica=replica)
        if all(atoms.pbc):
            atoms.set_cell(np.asarray(cells[replica], np.float64))
        atoms.set_positions(np.asarray(positions[replica], np.float64))
        atoms.set_velocities(np.asarray(velocities[replica], np.float64) / fs)
        several.append(atoms)
    return several[0] if len(several) == 1 else several
