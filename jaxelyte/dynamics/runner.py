"""One run from its first frame to its last: engine, record, blocks, checkpoints."""

from __future__ import annotations

import contextlib
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.checks import caution
from jaxelyte.dynamics.blocks import BlockStore
from jaxelyte.dynamics.checkpoint import of_run, pack, save_arrays, unpack
from jaxelyte.dynamics.chunk import Frames, Settings
from jaxelyte.dynamics.engine import Engine, aim
from jaxelyte.dynamics.equipartition import equipartition
from jaxelyte.dynamics.identity import check_same_run, not_bitwise
from jaxelyte.dynamics.progress import Progress, interruptible
from jaxelyte.dynamics.record import RUN_FILES, FolderRecord, Layout, MemoryRecord, Record, check_record
from jaxelyte.dynamics.run import Run, final_atoms
from jaxelyte.dynamics.summary import ns_per_day, summarize
from jaxelyte.errors import InputError, SimulationError, StorageError
from jaxelyte.observables.base import Observable
from jaxelyte.observables.recorded import describe, series_result
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.memory import with_memory
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.storage import explained, free_bytes, read_json, size, write_json, writing
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN, GRAM_PER_CM3
from jaxelyte.wording import counted


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
        chunk: int | None,
        extxyz: bool,
        equilibration: int | None,
        devices: tuple[Any, ...] | None = None,
        strain: float = 0.0,
    ) -> None:
        self.potential, self.systems, self.settings = potential, systems, settings
        self.folder, self.observables, self.series, self.steps = folder, observables, series, steps
        self.timestep, self.chunk = timestep, chunk
        self.blocks = [BlockStore() for _ in observables]
        self.kinetic: BlockStore | None = BlockStore()
        self.extxyz, self.equilibration, self.devices, self.strain = extxyz, equilibration, devices, strain
        self.engine: Engine
        self.record: Record
        self.step, self.saved = 0, 0
        self.earlier: dict[str, Any] = {}
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
        if self.folder is not None and overwrite:
            with writing(self.folder):
                _remove_run(self.folder)
        try:
            if self.folder is not None:
                write_json(self.folder / "config.json", description)
            self._open_record(None)
            particles = self.engine.state.particles  # pyright: ignore[reportOptionalMemberAccess]
            cells = np.asarray(particles.system.cell, np.float64)[None] if self.settings.barostat else None
            first = np.asarray(particles.velocities)[None] if self.settings.velocities else None
            nothing = self._recorded([np.asarray(b)[None, :0] for b in self.engine.state.series])  # pyright: ignore[reportOptionalMemberAccess]
            rows = self._rows(self.engine.energies()[None], 0, cells)
            self.record.append(np.asarray(particles.positions)[None], first, rows, nothing, cells)
            self.checkpoint()
        except StorageError as error:
            self._abandon()
            raise explained(error, "The run was not started") from error

    def _abandon(self) -> None:
        """Take away what a run that could not be started has written."""
        with contextlib.suppress(OSError, AttributeError):
            self.record.close()
        if self.folder is not None:
            with contextlib.suppress(OSError):
                _remove_run(self.folder)

    def _engine(self, systems: System, skin: float) -> Engine:
        return Engine.create(
            self.potential,
            systems,
            self.settings,
            timestep=self.timestep,
            skin=skin,
            strain=self.strain,
            devices=self.devices,
        )

    def _planned(self, arrays: dict[str, np.ndarray]) -> System:
        """The batch at the cells that the run of a checkpoint was planned for, with the atoms of its last lists."""
        if self.settings.barostat is None:
            return self.systems
        before, after = arrays["lists/cells"], arrays["planned"]
        positions = arrays["lists/reference"] @ np.linalg.solve(before, after)
        systems = self.systems.replace(
            positions=jnp.asarray(positions, self.systems.positions.dtype), cell=jnp.asarray(after)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there is to say of the potential was said
            self.potential = prepare_potential(self.potential, systems, self.strain)
        return systems

    def resume(
        self, keys: jax.Array, skin: float, description: dict[str, Any], later: dict[str, frozenset[str]]
    ) -> None:
        """Go on from the checkpoint of the folder; nothing on disk changes before every check has passed."""
        assert self.folder is not None
        stored = read_json(self.folder / "config.json")
        moved = check_same_run(self.folder, stored, description, self.systems, later)
        arrays = of_run(self.folder / "checkpoint.npz")
        counts = {k[7:]: v for k, v in arrays.items() if k.startswith("record/")}
        self.step = self.saved = int(arrays["step"])
        if self.step > self.steps:
            raise InputError(
                f"{self.folder} holds a run of {counted(self.step, 'step')}, more than steps={self.steps}; ask for at "
                f"least {self.step} (they count from the start), or read it with load_run"
            )
        check_record(self.folder, counts)
        self.engine = self._engine(self._planned(arrays), skin)
        # Of a run begun by an earlier version: what no step changes.
        arrays = pack("state.system", self.systems) | {"lists/cells": np.asarray(self.systems.cell)} | arrays
        parts = {name: unpack(PARTS[name], arrays, like) for name, like in self.engine.template(keys).items()}
        lists = {name: arrays[f"lists/{name}"] for name in ("reference", "cells", "capacities")}
        self.engine.restore(parts, self.step, lists)
        for number, (store, accumulator) in enumerate(zip(self.blocks, parts["samples"], strict=True)):
            prefix = f"blocks{number}/"
            own = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
            store.load(own, accumulator)
        own = {name[8:]: array for name, array in arrays.items() if name.startswith("kinetic/")}
        if own and self.kinetic is not None:
            self.kinetic.load(own, 0)
        elif self.step:
            self.kinetic = None  # begun by a version that did not keep kinetic energies of atoms
        if moved and self.step < self.steps:
            caution(not_bitwise(self.folder, moved))
        if self.step < self.steps:
            self.engine.warm()
        self._reopen(counts, {**description, "versions": stored["versions"], "form_error": stored.get("form_error")})

    def _reopen(self, counts: dict[str, np.ndarray], description: dict[str, Any]) -> None:
        """Make the files ready for the steps that are left, and take away results of the shorter run."""
        assert self.folder is not None
        summary = self.folder / "summary.json"
        if summary.is_file():
            self.earlier = read_json(summary)
        try:
            self._open_record(counts)
            write_json(self.folder / "config.json", description)
            if self.step < self.steps:
                with writing(summary):
                    summary.unlink(missing_ok=True)
                    for name in (*self.observables, *self.series):
                        (self.folder / "observables" / f"{name}.json").unlink(missing_ok=True)
        except StorageError as error:
            with contextlib.suppress(OSError, AttributeError):
                self.record.close()
            raise self._kept(error) from error

    def run(self, show: bool) -> Run:
        """All remaining steps.

        Raises:
            SimulationError: the run blew up.
            StorageError: its files cannot be written; the checkpoint before is kept.
        """
        try:
            interrupted = self._steps(show)
            if interrupted and self.step < self.steps:
                how = "call again with resume=True to go on" if self.folder else "it was kept in memory only"
                caution(f"interrupted at step {self.step} of {self.steps}; {how}")
            return self._finish(completed=self.step >= self.steps)
        except SimulationError as error:
            self._blown_up(error)
            raise
        except StorageError as error:
            raise self._kept(error) from error
        finally:
            with contextlib.suppress(StorageError):
                self.record.close()

    def _steps(self, show: bool) -> bool:
        """Chunk after chunk; True if the user asked to stop."""
        bar = Progress(self.steps, done=self.step, show=show)
        try:
            with interruptible() as asked:
                while self.step < self.steps and not asked[0]:
                    self._one_chunk(bar)
                return asked[0]
        finally:
            bar.close()

    def _blown_up(self, error: SimulationError) -> None:
        """Keep what is good of a run that blew up: the frames of the failing chunk before its last step."""
        try:
            if error.frames is not None:
                self._keep(error.frames)
            error.run = self._finish(completed=False)
        except StorageError as full:
            error.add_note(str(self._kept(full)))

    def _kept(self, error: StorageError) -> StorageError:
        """The same error, with what is left of the run and how to go on."""
        if self.folder is None:
            return error
        return explained(
            error, f"The run is kept up to step {self.saved} in {self.folder} and goes on from there with resume=True"
        )

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
        cells = None if frames.cells is None else np.asarray(frames.cells, np.float64)[:count]
        rows = self._rows(np.asarray(frames.log, np.float64)[:count], first, cells)
        for number, store in enumerate(self.blocks):
            samples = jax.tree.map(np.asarray, frames.samples[number])
            for k in range(count):
                store.add(jax.tree.map(lambda x, k=k: x[k], samples))
        if self.kinetic is not None:
            for row in np.asarray(frames.kinetic)[:count]:
                self.kinetic.add(row)
        if count:
            recorded = self._recorded([np.asarray(s)[:count] for s in frames.series])
            self.record.append(np.asarray(frames.positions)[:count], velocities, rows, recorded, cells)
        return rows

    def _recorded(self, several: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Series by name, (samples, replicas, columns) in float64, from (frames, samples, replicas, columns)."""
        flat = [np.asarray(s, np.float64).reshape(-1, *s.shape[2:]) for s in several]
        return dict(zip(self.series, flat, strict=True))

    def _rows(self, logged: np.ndarray, first: int, cells: np.ndarray | None) -> np.ndarray:
        """Log rows (frames, replicas, columns) from (frames, replicas, 3) energies, and cells where they change."""
        steps = (first + np.arange(len(logged)))[:, None] * self.settings.every + np.zeros(logged.shape[:2])
        potential = logged[..., 0] + self.reference
        conserved = logged[..., 2] + self.reference
        temperature = logged[..., 1] * 2.0 / (self.settings.integrator.degrees * BOLTZMANN)
        rows = [steps, steps * self.timestep, temperature, potential, logged[..., 1], conserved]
        if cells is not None:
            volumes, mass = np.abs(np.linalg.det(cells)), np.sum(np.asarray(self.systems.masses, np.float64), axis=-1)
            rows += [volumes, mass / volumes / GRAM_PER_CM3, *np.moveaxis(np.linalg.norm(cells, axis=-1), -1, 0)]
        return np.stack(rows, axis=-1)

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
            moving=self.settings.barostat is not None,
        )
        if self.folder is None:
            self.record = MemoryRecord(layout)
            return
        frames = self.steps // self.settings.every + 1
        if counts is None or int(counts["frames"]) < frames:
            self._check_room(layout, frames - (0 if counts is None else int(counts["frames"])))
        self.record = FolderRecord(self.folder, layout, frames, counts)

    def _check_room(self, layout: Layout, frames: int) -> None:
        """Warn where the trajectory is longer than the disk has room for."""
        assert self.folder is not None
        each = layout.numbers.size * 3 * layout.dtype.itemsize * (2 if layout.velocities else 1)
        free = free_bytes(self.folder)
        if free is not None and frames * each > free:
            caution(
                f"the {frames:,} frames to come take {size(frames * each)}, but {size(free)} are free for "
                f"{self.folder}; the run will stop when the disk is full, and can then be resumed. Write fewer frames "
                "(every), or choose another disk"
            )

    def checkpoint(self) -> None:
        """Write the checkpoint of the present step, if there is a folder."""
        if self.folder is None:
            return
        state = self.engine.state
        assert state is not None
        self.record.sync()
        arrays = {"step": np.array(self.step)}
        for name, prefix in PARTS.items():
            arrays |= pack(prefix, getattr(state, name))
        arrays |= {f"lists/{name}": a for name, a in self.engine.list_arrays().items()}
        arrays |= {f"record/{name}": a for name, a in self.record.counts().items()}
        for number, store in enumerate(self.blocks):
            arrays |= {f"blocks{number}/{name}": a for name, a in store.save().items()}
        if self.kinetic is not None:
            arrays |= {f"kinetic/{name}": a for name, a in self.kinetic.save().items()}
        save_arrays(self.folder / "checkpoint.npz", arrays)
        self.saved = self.step

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
        summary["temperature"] |= self._equipartition(skip)
        if not self.engine.timing.steps and "performance" in self.earlier:
            summary["performance"] = self.earlier["performance"]  # no step was left to measure
        if self.folder is not None:
            with writing(self.folder / "observables"):
                (self.folder / "observables").mkdir(exist_ok=True)
            for name in self.observables:
                if name in results:
                    results[name].to_json(self.folder / "observables" / f"{name}.json")
            for name, content in self._descriptions(skip).items():
                write_json(self.folder / "observables" / f"{name}.json", content)
            write_json(self.folder / "summary.json", summary)
        particles = self.engine.state.particles  # pyright: ignore[reportOptionalMemberAccess]
        system = particles.system
        last = final_atoms(
            trajectory, np.asarray(system.positions), np.asarray(particles.velocities), np.asarray(system.cell)
        )
        potential = with_memory(self.potential, self.engine.state.memory)  # pyright: ignore[reportOptionalMemberAccess]
        return Run(trajectory, log, last, results, summary, completed, self.folder, potential)

    def _equipartition(self, skip: int) -> dict[str, Any]:
        """Kinetic temperatures by species for the summary; warns where a thermostat has left atoms at their own."""
        sums = None if self.kinetic is None else self.kinetic.stacked(skip)
        if self.kinetic is None or sums is None:
            return {}
        integrator, systems = self.settings.integrator, self.systems
        found = equipartition(
            sums,
            self.kinetic.lengths(skip),
            np.where(np.asarray(systems.mask), np.asarray(systems.numbers), 0),
            np.asarray(systems.masses, np.float64),
            center_fixed=integrator.degrees < 3 * systems.positions.shape[1],
        )
        if found.fault and getattr(integrator, "temperature", None) is not None:
            caution(
                f"{found.fault}: energy passes too slowly between the atoms for a run of this length, or the time step "
                'is too long; averages are not canonical. Use NVT(…, "langevin"), which thermalises each atom, run '
                "longer, or shorten the time step"
            )
        return found.entry()

    def _descriptions(self, skip: int) -> dict[str, dict[str, Any]]:
        """Of each series, with the samples of ``skip`` frame intervals left out."""
        interval, replicas = self.timestep * self.settings.sample_every, len(self.systems.positions)
        skipped = skip * self.settings.samples_per_frame
        several = zip(self.series, self.settings.series, strict=True)
        return {name: describe(series, interval, skipped, replicas) for name, series in several}


PARTS = {"particles": "state", "samples": "samples", "series": "series", "memory": "memory", "planned": "planned"}
"""Parts of the state in a checkpoint, and the names of their arrays."""


def _remove_run(folder: Path) -> None:
    """Remove the files of a run, finished or cut off."""
    for name in RUN_FILES:
        for path in (folder / name, folder / f".tmp-{name}"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
