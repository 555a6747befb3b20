"""One run from its first frame to its last: engine, record, blocks, checkpoints."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxelyte.dynamics.blocks import BlockStore
from jaxelyte.dynamics.checkpoint import load_arrays, pack, save_arrays, unpack, write_json
from jaxelyte.dynamics.chunk import Frames, Settings
from jaxelyte.dynamics.engine import Engine, aim
from jaxelyte.dynamics.progress import Progress, interruptible
from jaxelyte.dynamics.record import RUN_FILES, FolderRecord, Layout, MemoryRecord, Record
from jaxelyte.dynamics.run import Run, final_atoms
from jaxelyte.dynamics.summary import ns_per_day, summarize
from jaxelyte.errors import InputError, SimulationError
from jaxelyte.observables.base import Observable
from jaxelyte.observables.recorded import describe, series_result
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN


class Runner:
    """One call of `simulate`: an engine, its record, and the blocks of its observables."""

    def __init__(
        self,
        potential: Potential,
        systems: System,
        settings: Settings,
        folder: Path | None,
        observables: dict[str, Observable],
        series: tuple[str, ...],
        steps: int,
        timestep: float,
        identity: str,
        chunk: int | None,
        extxyz: bool,
        equilibration: int | None,
        devices: tuple[Any, ...] | None = None,
    ) -> None:
        self.potential, self.systems, self.settings = potential, systems, settings
        self.folder, self.observables, self.series, self.steps = folder, observables, series, steps
        self.timestep, self.identity, self.chunk = timestep, identity, chunk
        self.blocks = [BlockStore() for _ in observables]
        self.extxyz, self.equilibration, self.devices = extxyz, equilibration, devices
        self.engine: Engine
        self.record: Record
        self.step = 0
        self.reference = reference_energies(potential, systems)

    def start(
        self,
        systems: System,
        velocities: jax.Array,
        keys: jax.Array,
        skin: float,
        description: dict[str, Any],
        overwrite: bool,
    ) -> None:
        """A new run: state of step 0, files, first frame and first checkpoint."""
        self.systems = systems
        self.engine = self._engine(systems, skin)
        self.engine.start(velocities, keys)
        if self.folder is not None:
            if overwrite:
                _remove_run(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "config.json", description)
        self._open_record(None)
        particles = self.engine.state.particles  # pyright: ignore[reportOptionalMemberAccess]
        first = np.asarray(particles.velocities)[None] if self.settings.velocities else None
        nothing = self._recorded([np.asarray(b)[None, :0] for b in self.engine.state.series])  # pyright: ignore[reportOptionalMemberAccess]
        rows = self._rows(self.engine.energies()[None], 0)
        self.record.append(np.asarray(particles.positions)[None], first, rows, nothing)
        self.checkpoint()

    def _engine(self, systems: System, skin: float) -> Engine:
        return Engine.create(
            self.potential, systems, self.settings, timestep=self.timestep, skin=skin, devices=self.devices
        )

    def resume(self, keys: jax.Array, skin: float) -> None:
        """Go on from the checkpoint of the folder."""
        assert self.folder is not None
        arrays = load_arrays(self.folder / "checkpoint.npz")
        found = str(arrays["identity"])
        if found != self.identity:
            raise InputError(
                f"{self.folder} holds another run: potential, structure or settings differ from those of this call "
                f"({found} against {self.identity}; config.json there lists its settings). Resume with the same "
                "arguments, or choose another output folder"
            )
        self.engine = self._engine(self.systems, skin)
        parts = {name: unpack(PARTS[name], arrays, like) for name, like in self.engine.template(keys).items()}
        self.step = int(arrays["step"])
        lists = {name: arrays[f"lists/{name}"] for name in ("reference", "capacities")}
        self.engine.restore(parts, self.step, lists)
        for number, (store, accumulator) in enumerate(zip(self.blocks, parts["samples"], strict=True)):
            prefix = f"blocks{number}/"
            own = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
            store.load(own, accumulator)
        (self.folder / "summary.json").unlink(missing_ok=True)
        self._open_record({k[7:]: v for k, v in arrays.items() if k.startswith("record/")})

    def run(self, show: bool) -> Run:
        """All remaining steps."""
        interrupted = False
        bar = Progress(self.steps, done=self.step, show=show)
        try:
            with interruptible() as asked:
                while self.step < self.steps and not interrupted:
                    self._one_chunk(bar)
                    interrupted = asked[0]
        except SimulationError as error:
            # The frames of the failing chunk that came before its last step are good.
            self._keep(error.frames)
            error.run = self._finish(completed=False)
            raise
        finally:
            bar.close()
        if interrupted and self.step < self.steps:
            how = "call again with resume=True to go on" if self.folder else "it was kept in memory only"
            warnings.warn(f"interrupted at step {self.step} of {self.steps}; {how}", stacklevel=3)
        return self._finish(completed=self.step >= self.steps)

    def _one_chunk(self, bar: Progress) -> None:
        most = min(self.steps - self.step, self.engine.most_steps(self.step))
        wanted = aim(self.engine.timing, most) if self.chunk is None else min(self.chunk, most)
        rows = self._keep(self.engine.advance(wanted))
        self.step = int(self.engine.state.step)  # pyright: ignore[reportOptionalMemberAccess]
        self.checkpoint()
        temperature = float(np.mean(rows[-1, :, 2])) if len(rows) else self._temperature()
        bar.update(self.step, ns_per_day(self.timestep, self.engine.timing.seconds_per_step), temperature)

    def _keep(self, frames: Frames) -> np.ndarray:
        """Hand the frames of a chunk to the record; returns their log rows."""
        count = int(frames.count)
        velocities = np.asarray(frames.velocities)[:count] if frames.velocities is not None else None
        first = self.step // self.settings.every + 1
        rows = self._rows(np.asarray(frames.log, np.float64)[:count], first)
        for number, store in enumerate(self.blocks):
            samples = jax.tree.map(np.asarray, frames.samples[number])
            for k in range(count):
                store.add(jax.tree.map(lambda x, k=k: x[k], samples))
        if count:
            recorded = self._recorded([np.asarray(s)[:count] for s in frames.series])
            self.record.append(np.asarray(frames.positions)[:count], velocities, rows, recorded)
        return rows

    def _recorded(self, several: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Series by name, (samples, replicas, columns) in float64, from (frames, samples, replicas, columns)."""
        flat = [np.asarray(s, np.float64).reshape(-1, *s.shape[2:]) for s in several]
        return dict(zip(self.series, flat, strict=True))

    def _rows(self, logged: np.ndarray, first: int) -> np.ndarray:
        """Log rows (frames, replicas, columns) from (frames, replicas, 3) energies."""
        steps = (first + np.arange(len(logged)))[:, None] * self.settings.every + np.zeros(logged.shape[:2])
        potential = logged[..., 0] + self.reference
        conserved = logged[..., 2] + self.reference
        temperature = logged[..., 1] * 2.0 / (self.settings.integrator.degrees * BOLTZMANN)
        return np.stack([steps, steps * self.timestep, temperature, potential, logged[..., 1], conserved], axis=-1)

    def _temperature(self) -> float:
        kinetic = float(np.mean(self.engine.energies()[:, 1]))
        return kinetic * 2.0 / (self.settings.integrator.degrees * BOLTZMANN)

    def _open_record(self, counts: dict[str, np.ndarray] | None) -> None:
        systems = self.systems
        layout = Layout(
            numbers=np.asarray(systems.numbers),
            masses=np.asarray(systems.masses, np.float64),
            cells=np.asarray(systems.cell, np.float64) * np.asarray(systems.pbc)[:, None],
            pbc=systems.pbc,
            every=self.settings.every,
            timestep=self.timestep,
            dtype=np.dtype(systems.positions.dtype),
            velocities=self.settings.velocities,
            extxyz=self.extxyz,
        )
        if self.folder is None:
            self.record = MemoryRecord(layout)
        else:
            self.record = FolderRecord(self.folder, layout, self.steps // self.settings.every + 1, counts)

    def checkpoint(self) -> None:
        """Write the checkpoint of the present step, if there is a folder."""
        if self.folder is None:
            return
        state = self.engine.state
        assert state is not None
        arrays = {"identity": np.array(self.identity), "step": np.array(self.step)}
        for name, prefix in PARTS.items():
            arrays |= pack(prefix, getattr(state, name))
        arrays |= {f"lists/{name}": a for name, a in self.engine.list_arrays().items()}
        arrays |= {f"record/{name}": a for name, a in self.record.counts().items()}
        for number, store in enumerate(self.blocks):
            arrays |= {f"blocks{number}/{name}": a for name, a in store.save().items()}
        save_arrays(self.folder / "checkpoint.npz", arrays)

    def _finish(self, *, completed: bool) -> Run:
        self.record.finish()
        trajectory, log = self.record.trajectory(), self.record.log()
        single = jax.tree.map(lambda x: x[0], self.systems)
        # Frame intervals that count as equilibration.
        skip = self.step // self.settings.every // 5
        if self.equilibration is not None:
            skip = -(-self.equilibration // self.settings.every)
        results = {}
        for (name, observable), store in zip(self.observables.items(), self.blocks, strict=True):
            blocks = store.stacked(skip)
            if blocks is not None:
                results[name] = observable.result(blocks, single)
        for name, content in self._descriptions(skip).items():
            results[name] = series_result(content, self.record.series(name))
        summary = summarize(self.engine, log, self.timestep, completed=completed, discard=skip)
        if self.folder is not None:
            write_json(self.folder / "summary.json", summary)
            (self.folder / "observables").mkdir(exist_ok=True)
            for name in self.observables:
                if name in results:
                    results[name].to_json(self.folder / "observables" / f"{name}.json")
            for name, content in self._descriptions(skip).items():
                write_json(self.folder / "observables" / f"{name}.json", content)
        particles = self.engine.state.particles  # pyright: ignore[reportOptionalMemberAccess]
        last = final_atoms(trajectory, np.asarray(particles.positions), np.asarray(particles.velocities))
        potential = self.potential.with_memory(self.engine.state.memory)  # pyright: ignore[reportOptionalMemberAccess]
        return Run(trajectory, log, last, results, summary, completed, self.folder, potential)

    def _descriptions(self, skip: int) -> dict[str, dict[str, Any]]:
        """Of each series, with the samples of ``skip`` frame intervals left out."""
        interval, replicas = self.timestep * self.settings.sample_every, len(self.systems.positions)
        skipped = skip * self.settings.samples_per_frame
        several = zip(self.series, self.settings.series, strict=True)
        return {name: describe(series, interval, skipped, replicas) for name, series in several}


PARTS = {"particles": "state", "samples": "samples", "series": "series", "memory": "memory"}
"""Parts of the state in a checkpoint, and the names of their arrays."""


def _remove_run(folder: Path) -> None:
    for name in RUN_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
