"""Stability of a potential: short hot runs, and the time to the first unphysical event."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import checks
from jaxelyte.data.frames import as_frames
from jaxelyte.dynamics import NVT, Run, simulate
from jaxelyte.errors import InputError, SimulationError
from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.lists import NeighborSpec
from jaxelyte.plots.rich import Rich
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.system import System
from jaxelyte.training.fit import Fit

if TYPE_CHECKING:
    from ase import Atoms

COVALENT = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I")
BOND, BROKEN, SQUEEZED, OVERLAP = 1.3, 1.7, 0.6, 0.8
"""Distances in sums of covalent radii (Cordero et al., Dalton Trans. 2832, 2008): bonded at the start below the first,
broken above the second, squeezed below the third; atoms that are not bonded overlap below the last. For water: O-H
1.26, 1.65 and 0.58 Å, O-O overlap 1.06 Å."""
NOBLE = ("He", "Ne", "Ar", "Kr", "Xe")
CATION = 0.72
"""Metals are cations in liquids, which are smaller by this factor (Na 1.66 -> 1.2 Å; Shannon's ionic radii are 1.0 to
1.2 Å). Na-O overlaps below 1.49 Å: soft methods such as GFN1-xTB let it reach 1.8 Å at 300 K."""
RUN_AWAY = 8.0
"""Standard deviations of the kinetic temperature, T √(2 / N_f), above the target that count as a run-away."""


@dataclass(frozen=True)
class Trial:
    """One run of the report card.

    Attributes:
        frame: index of the starting frame.
        formula: composition.
        temperature: K.
        time: ps until the first event, or the length of the run without one.
        event: description of the event, or None.
    """

    frame: int
    formula: str
    temperature: float
    time: float
    event: str | None


@dataclass(frozen=True)
class Stability(Rich):
    """The report card: survival of simulations.

    Attributes:
        trials: one for each frame and temperature.
        length: planned length of each run in ps.
    """

    trials: tuple[Trial, ...]
    length: float

    @property
    def stable(self) -> bool:
        """True if no run had an event."""
        return all(trial.event is None for trial in self.trials)

    def summary(self) -> dict[str, Any]:
        """By temperature: runs, events, simulated time, events per ns with a 95 % bound, first event in ps; JSON.

        The bound is the exact one of a Poisson process: without an event in a time t the rate is below 3.0 / t.
        """
        rows = []
        for temperature in sorted({trial.temperature for trial in self.trials}):
            own = [trial for trial in self.trials if trial.temperature == temperature]
            events = [trial for trial in own if trial.event is not None]
            total = sum(trial.time for trial in own)
            rows.append(
                {
                    "temperature_K": temperature,
                    "runs": len(own),
                    "events": len(events),
                    "simulated_ps": total,
                    "rate_per_ns": 1000.0 * len(events) / total if total > 0 else None,
                    "rate_below_per_ns": 1000.0 * _poisson_bound(len(events)) / total if total > 0 else None,
                    "first_event_ps": min((trial.time for trial in events), default=None),
                }
            )
        return {"length_ps": self.length, "temperatures": rows, "trials": [asdict(trial) for trial in self.trials]}

    def plot(self, ax: Any = None) -> Any:
        """Share of runs without an event against time."""
        from jaxelyte import plots

        return plots.stability(self, ax)

    def __repr__(self) -> str:
        rows = ", ".join(
            f"{row['temperature_K']:g} K: {row['runs'] - row['events']} of {row['runs']} last"
            for row in self.summary()["temperatures"]
        )
        return f"Stability({self.length:g} ps; {rows})"


def _poisson_bound(events: int) -> float:
    """Upper 95 % bound of the mean of a Poisson variable."""
    from scipy.stats import chi2

    return float(0.5 * chi2.ppf(0.95, 2 * (events + 1)))


@dataclass
class Watch:
    """Criteria of unphysical events."""

    bonds: set[tuple[int, int]]
    radii: np.ndarray
    symbols: list[str]
    freedom: int
    spec: NeighborSpec = field(init=False)

    def __post_init__(self) -> None:
        # Long enough to see a bond break within one look; anything longer is a broken bond as well.
        self.spec = NeighborSpec(BROKEN * 2 * float(self.radii.max()), exact=True)

    def event(self, atoms: Atoms, temperature: float | None, target: float) -> str | None:
        """Description of the worst unphysical feature of a frame; None if there is none."""
        if not np.isfinite(atoms.positions).all():
            return "positions are not finite"
        if temperature is not None:
            limit = target * (1.0 + RUN_AWAY * math.sqrt(2.0 / self.freedom))
            if not temperature < limit:
                return f"temperature run-away: {temperature:.0f} K, above {limit:.0f} K"
        first, second, distance = _pairs(atoms, self.spec)
        relative = distance / (self.radii[first] + self.radii[second])
        near = {pair: n for n, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True))}
        for bond in self.bonds:
            if bond not in near or relative[near[bond]] > BROKEN:
                where = f", {distance[near[bond]]:.2f} Å" if bond in near else ""
                return f"broken bond {self._name(*bond)}{where}"
        for n in np.flatnonzero(relative < OVERLAP):
            pair = (int(first[n]), int(second[n]))
            if relative[n] < SQUEEZED or pair not in self.bonds:
                return f"overlap {self._name(*pair)}, {distance[n]:.2f} Å"
        return None

    def _name(self, i: int, j: int) -> str:
        return f"{self.symbols[i]} {i} - {self.symbols[j]} {j}"


def _pairs(atoms: Atoms, spec: NeighborSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs within the cut-off, each once (the nearest image of each), with distances in Å."""
    found = host_list(System.from_atoms(atoms), spec)
    index, shifts = np.asarray(found.index), np.asarray(found.shift)
    first, slot = np.nonzero(index < len(atoms))
    second, shift = index[first, slot], shifts[first, slot]
    vectors = atoms.positions[second] + shift @ atoms.cell.array - atoms.positions[first]
    distance = np.linalg.norm(vectors, axis=1)
    once = first < second
    first, second, distance = first[once], second[once], distance[once]
    order = np.argsort(-distance, kind="stable")  # of several images the nearest comes last, and stays
    return first[order], second[order], distance[order]


def watch_of(atoms: Atoms) -> Watch:
    """Criteria for runs from this structure: its present covalent bonds must not break."""
    from ase.data import covalent_radii

    symbols = atoms.get_chemical_symbols()
    cations = np.array([symbol not in COVALENT + NOBLE for symbol in symbols])
    radii = np.where(cations, CATION, 1.0) * covalent_radii[atoms.numbers]
    watch = Watch(set(), radii, symbols, max(3 * len(atoms) - 3, 1))
    first, second, distance = _pairs(atoms, watch.spec)
    for i, j, d in zip(first.tolist(), second.tolist(), distance.tolist(), strict=True):
        if symbols[i] in COVALENT and symbols[j] in COVALENT and d < BOND * (radii[i] + radii[j]):
            watch.bonds.add((i, j))
    return watch


def stability(
    potential: Potential | Fit,
    frames: Sequence[Atoms] | Atoms | str | Path,
    *,
    temperatures: Sequence[float] = (300.0, 400.0, 600.0),
    length: float = 5.0,
    timestep: float = 0.5,
    every: int = 20,
    seed: int = 0,
    progress: bool = True,
) -> Stability:
    """Run NVT from each frame at each temperature and report the time to the first unphysical event.

    Events are: a covalent bond of the start breaks, atoms overlap, the temperature runs away, energies or forces are
    not finite. Frames of one composition run side by side; a failure does not stop the others. Ctrl-C returns the runs
    that are complete.

    Args:
        potential: any complete potential, or a fit (its total is used).
        frames: starting structures, such as validation frames; velocities are drawn at each temperature.
        temperatures: K.
        length: length of each run in ps.
        timestep: fs.
        every: steps between checks for events.
        seed: seed of the velocities.
        progress: show each run.

    Raises:
        InputError: no frames or temperatures, a non-positive length or interval, an unphysical starting frame.
    """
    frames = [frame.copy() for frame in as_frames(frames)]
    temperatures = [
        checks.quantity("temperatures", one, "temperature")
        for one in checks.sequence("temperatures", temperatures, "temperatures in K")
    ]
    if not temperatures:
        raise InputError("stability needs at least one temperature")
    length = checks.quantity("length", length, "length of a run")
    timestep = checks.quantity("timestep", timestep, "time step")
    every, seed = checks.count("every", every), checks.random_seed(seed)
    progress = checks.flag("progress", progress)
    if every * timestep > 1000.0 * length:
        raise InputError(f"every = {every} steps of {timestep:g} fs exceed the length of the runs, {length:g} ps")
    total = as_potential(potential)
    watches = _sound_watches(frames)
    steps = every * max(1, round(1000.0 * length / timestep / every))
    alike = defaultdict(list)
    for number, frame in enumerate(frames):
        alike[tuple(frame.numbers.tolist()), tuple(frame.pbc.tolist())].append(number)
    settings = {"steps": steps, "timestep": timestep, "every": every, "seed": seed, "progress": progress}
    trials, interrupted = [], False
    for temperature in temperatures:
        for group in alike.values():
            waiting = list(group)
            while waiting and not interrupted:
                done, interrupted = _try(
                    [frames[n] for n in waiting], [watches[n] for n in waiting], total, temperature, settings
                )
                for place, (time, event) in done.items():
                    formula = frames[waiting[place]].get_chemical_formula()
                    trials.append(Trial(waiting[place], formula, temperature, time, event))
                waiting = [n for place, n in enumerate(waiting) if place not in done]
    order = sorted(trials, key=lambda trial: (trial.temperature, trial.frame))
    return Stability(tuple(order), steps * timestep / 1000.0)


def _sound_watches(frames: list[Atoms]) -> list[Watch]:
    watches = [watch_of(frame) for frame in frames]
    for number, (frame, watch) in enumerate(zip(frames, watches, strict=True)):
        wrong = watch.event(frame, None, 0.0)
        if wrong is not None:
            raise InputError(f"frame {number} is unphysical at the start: {wrong}; choose other frames")
    return watches


def _try(
    frames: list[Atoms], watches: list[Watch], potential: Potential, temperature: float, settings: dict[str, Any]
) -> tuple[dict[int, tuple[float, str | None]], bool]:
    """Time in ps and event of every completed frame, and whether the user interrupted.

    If one diverged, the others run again.
    """
    failure: SimulationError | None = None
    try:
        run = simulate(potential, frames, NVT(temperature), velocities=temperature, **settings)
    except SimulationError as error:
        failure, run = error, error.run
    ended: dict[int, tuple[float, str | None]] = {}
    for place, watch in enumerate(watches):
        found = None if run is None else first_event(run, place, watch, temperature)
        if found is not None:
            ended[place] = found
        elif failure is None and run is not None:
            ended[place] = (float(run.trajectory.times[-1]) / 1000.0, None)
    if failure is not None and failure.replica not in ended:
        step = failure.step or 0
        ended[failure.replica] = (
            step * settings["timestep"] / 1000.0,
            "forces not finite, or larger than in any liquid",
        )
    return ended, failure is None and run is not None and not run.completed


def first_event(run: Run, replica: int, watch: Watch, target: float) -> tuple[float, str] | None:
    """Time in ps and name of the first event of a replica in the frames of a run; None if there was none."""
    for n in range(1, len(run.trajectory)):
        temperature = float(run.log["temperature"][n, replica])
        event = watch.event(run.trajectory.frame(n, replica), temperature, target)
        if event is not None:
            return float(run.trajectory.times[n]) / 1000.0, event
    return None
