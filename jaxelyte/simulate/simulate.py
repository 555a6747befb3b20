"""``simulate``: from a potential and atoms to a run."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.errors import InputError, SimulationError
from jaxelyte.observables.base import Observable
from jaxelyte.potentials.base import Potential
from jaxelyte.simulate.blocks import BlockStore
from jaxelyte.simulate.checkpoint import fingerprint, load_arrays, pack, save_arrays, unpack, write_json
from jaxelyte.simulate.chunk import Frames, Settings
from jaxelyte.simulate.engine import Engine, aim
from jaxelyte.simulate.ensembles import NVE, NVT, Ensemble
from jaxelyte.simulate.integrators import make_integrator
from jaxelyte.simulate.minimize import minimize as fire
from jaxelyte.simulate.progress import Progress, interruptible
from jaxelyte.simulate.record import RUN_FILES, FolderRecord, Layout, MemoryRecord, Record
from jaxelyte.simulate.run import Run, final_atoms
from jaxelyte.simulate.start import Velocities, batch_systems, prepare_potential, start_velocities
from jaxelyte.simulate.summary import summarize
from jaxelyte.system import System
from jaxelyte.units import BOLTZMANN

if TYPE_CHECKING:
    from ase import Atoms

FRAMES_PER_CHUNK = 64


def simulate(
    potential: Potential,
    atoms: Atoms | list[Atoms],
    ensemble: Ensemble,
    *,
    steps: int,
    timestep: float = 0.5,
    seed: int = 0,
    replicas: int = 1,
    output: str | Path | None = None,
    every: int = 100,
    observables: Mapping[str, Observable] | None = None,
    sample_every: int | None = None,
    skin: float = 1.0,
    chunk: int | None = None,
    minimize: bool = False,
    velocities: Velocities = None,
    save_velocities: bool = False,
    extxyz: bool = False,
    progress: bool = True,
    overwrite: bool = False,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Molecular dynamics in one compiled loop.

    Integration, neighbour lists, observables and frames run in one program on the device; the host only records. A
    chunk whose neighbour list overflowed is thrown away and repeated with more room.

    Args:
        potential: any `Potential`, sums and mixtures included.
        atoms: start structure (momenta are used if it has any), or a list of systems of one shape to run side by side.
        ensemble: `NVE` or `NVT`.
        steps: number of steps of the whole run, those before a resume included.
        timestep: fs.
        seed: of velocities and thermostat; the same seed gives the same run.
        replicas: copies of ``atoms`` that run side by side with different random numbers.
        output: run folder; None keeps frames in memory.
        every: steps between frames and log rows.
        observables: accumulated on the device while the run goes on; see ``run.observables``.
        sample_every: steps between samples of the observables, a divisor of ``every``; ``every`` by default.
        skin: Å added to the neighbour lists; they are rebuilt when an atom has moved by half of it.
        chunk: steps between checkpoints; by default as many as take about 1.5 s. The trajectory does not depend on it.
        minimize: relax with FIRE to 0.5 eV/Å first, which removes the worst contacts.
        velocities: a temperature in K to draw velocities at, or "atoms" to use theirs; by default the atoms' momenta
            where they have any, otherwise drawn at the temperature of the ensemble.
        save_velocities: store velocities in the trajectory as well.
        extxyz: write ``trajectory.extxyz`` as well.
        progress: show a progress bar with ns/day and the remaining time.
        overwrite: replace an earlier run in ``output``.
        resume: go on with the run in ``output`` (start it if there is none). The result is bitwise that of an
            uninterrupted run; the arguments must be those of the first start, only ``steps`` may be larger.
        config: anything that can be written as JSON, kept in ``config.json`` beside the settings of the run.

    Returns:
        The `Run`. Ctrl-C stops after the running chunk, keeps everything and returns a run with
        ``completed=False``.

    Raises:
        InputError: an argument, structure or folder that cannot be used; raised before any compilation, and nothing on
            disk is changed.
        UnsupportedError: systems that cannot run side by side.
        SimulationError: the run blew up; the message names step, atom, distance and force, frames up to there are kept
            (``error.run`` holds them).
    """
    sample_every = every if sample_every is None else sample_every
    _check_numbers(steps=steps, every=every, sample_every=sample_every, timestep=timestep, skin=skin, chunk=chunk)
    if not isinstance(potential, Potential):
        raise InputError(f"the first argument must be a potential, not {type(potential).__name__}")
    if not isinstance(ensemble, (NVE, NVT)):
        raise InputError(f"the ensemble must be NVE() or NVT(temperature), not {ensemble!r}")
    folder = Path(output) if output is not None else None
    going_on = _check_folder(folder, overwrite=overwrite, resume=resume)
    named = dict(observables or {})

    systems = batch_systems(atoms, replicas)
    prepared = prepare_potential(potential, systems)
    for observable in named.values():
        for number in range(systems.positions.shape[0]):
            observable.validate(jax.tree.map(lambda x, r=number: x[r], systems))
    momentum_conserved = prepared.translation_invariant
    settings = Settings(
        integrator=make_integrator(ensemble, systems.positions.shape[1], momentum_conserved=momentum_conserved),
        every=every,
        sample_every=sample_every,
        frames=FRAMES_PER_CHUNK,
        observables=tuple(named.values()),
        velocities=save_velocities,
    )
    keys = jax.random.split(jax.random.key(seed), (systems.positions.shape[0], 2))
    temperature = ensemble.temperature if isinstance(ensemble, NVT) else None
    start = start_velocities(
        atoms, systems, keys[:, 0], request=velocities, temperature=temperature, zero_momentum=momentum_conserved
    )
    identity = _identity(prepared, systems, settings, start, timestep, seed, skin, minimize, tuple(named))
    runner = _Runner(prepared, systems, settings, folder, named, steps, timestep, identity, chunk, extxyz)
    if going_on:
        runner.resume(keys[:, 1], skin)
    else:
        if minimize:
            systems = _relax(prepared, atoms, systems, skin)
        runner.start(systems, start, keys[:, 1], skin, _description(ensemble, runner, seed, skin, config), overwrite)
    return runner.run(progress)


class _Runner:
    """One call of `simulate`: an engine, its record, and the blocks of its observables."""

    def __init__(
        self,
        potential: Potential,
        systems: System,
        settings: Settings,
        folder: Path | None,
        observables: dict[str, Observable],
        steps: int,
        timestep: float,
        identity: str,
        chunk: int | None,
        extxyz: bool,
    ) -> None:
        self.potential, self.systems, self.settings = potential, systems, settings
        self.folder, self.observables, self.steps = folder, observables, steps
        self.timestep, self.identity, self.chunk = timestep, identity, chunk
        self.blocks = [BlockStore() for _ in observables]
        self.extxyz = extxyz
        self.engine: Engine
        self.record: Record
        self.step = 0
        # Constant energies of up to 1e5 eV are added on the host, in float64.
        self.reference = np.asarray(jax.vmap(potential.reference)(_as_float64(systems)), np.float64)

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
        self.engine = Engine.create(
            self.potential, systems, self.settings, timestep=self.timestep, skin=skin
        )
        self.engine.start(velocities, keys)
        if self.folder is not None:
            if overwrite:
                _remove_run(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "config.json", description)
        self._open_record(None)
        particles = self.engine.state.particles  # pyright: ignore[reportOptionalMemberAccess]
        first = np.asarray(particles.velocities)[None] if self.settings.velocities else None
        self.record.append(np.asarray(particles.positions)[None], first, self._rows(self.engine.energies()[None], 0))
        self.checkpoint()

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
        self.engine = Engine.create(
            self.potential, self.systems, self.settings, timestep=self.timestep, skin=skin
        )
        particles, samples = self.engine.template(keys)
        particles, samples = unpack("state", arrays, particles), unpack("samples", arrays, samples)
        self.step = int(arrays["step"])
        lists = {name: arrays[f"lists/{name}"] for name in ("reference", "capacities")}
        self.engine.restore(particles, samples, self.step, lists)
        for number, (store, accumulator) in enumerate(zip(self.blocks, samples, strict=True)):
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
            self._keep(error.frames)  # pyright: ignore[reportAttributeAccessIssue]
            error.run = self._finish(completed=False)  # pyright: ignore[reportAttributeAccessIssue]
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
            self.record.append(np.asarray(frames.positions)[:count], velocities, rows)
        return rows

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
        arrays |= pack("state", state.particles) | pack("samples", state.samples)
        arrays |= {f"lists/{name}": a for name, a in self.engine.list_arrays().items()}
        arrays |= {f"record/{name}": a for name, a in self.record.counts().items()}
        for number, store in enumerate(self.blocks):
            arrays |= {f"blocks{number}/{name}": a for name, a in store.save().items()}
        save_arrays(self.folder / "checkpoint.npz", arrays)

    def _finish(self, *, completed: bool) -> Run:
        self.record.finish()
        trajectory, log = self.record.trajectory(), self.record.log()
        single = jax.tree.map(lambda x: x[0], self.systems)
        results = {}
        for (name, observable), store in zip(self.observables.items(), self.blocks, strict=True):
            blocks = store.stacked()
            if blocks is not None:
                results[name] = observable.result(blocks, single)
        summary = summarize(self.engine, log, self.timestep, completed=completed)
        if self.folder is not None:
            write_json(self.folder / "summary.json", summary)
            for name, result in results.items():
                (self.folder / "observables").mkdir(exist_ok=True)
                result.to_json(self.folder / "observables" / f"{name}.json")
        particles = self.engine.state.particles  # pyright: ignore[reportOptionalMemberAccess]
        last = final_atoms(trajectory, np.asarray(particles.positions), np.asarray(particles.velocities))
        return Run(trajectory, log, last, results, summary, completed, self.folder)


def ns_per_day(timestep: float, seconds_per_step: float) -> float:
    """Simulated nanoseconds per day of wall time, of each replica."""
    return timestep * 1e-6 * 86400.0 / seconds_per_step if seconds_per_step > 0 else math.nan


def _check_numbers(
    *, steps: int, every: int, sample_every: int, timestep: float, skin: float, chunk: int | None
) -> None:
    whole = {"steps": steps, "every": every, "sample_every": sample_every}
    if chunk is not None:
        whole["chunk"] = chunk
    for name, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    if steps >= 2**31:
        raise InputError(f"steps={steps} is more than a run can count (2^31 - 1); split it into several runs")
    if every % sample_every:
        raise InputError(f"sample_every={sample_every} must divide every={every}")
    if not (math.isfinite(timestep) and timestep > 0):
        raise InputError(f"timestep must be positive (fs), not {timestep!r}")
    if not (math.isfinite(skin) and skin > 0):
        raise InputError(f"skin must be positive (Å), not {skin!r}")


def _check_folder(folder: Path | None, *, overwrite: bool, resume: bool) -> bool:
    """True if there is a run to go on with.

    Raises:
        InputError: the folder is occupied, or the flags contradict each other.
    """
    if resume and overwrite:
        raise InputError("resume=True and overwrite=True exclude each other; choose one")
    if resume and folder is None:
        raise InputError("resume=True needs the run folder as output=…")
    if folder is None:
        return False
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output {folder} is a file; give a folder")
    has_run = (folder / "checkpoint.npz").exists()
    occupied = [name for name in RUN_FILES if (folder / name).exists()]
    if occupied and not overwrite and not (resume and has_run) and not (resume and occupied == ["config.json"]):
        hint = "resume=True goes on with it, " if has_run else ""
        raise InputError(
            f"{folder} already holds {', '.join(occupied)}; {hint}overwrite=True replaces it, or choose another folder"
        )
    return resume and has_run


def _remove_run(folder: Path) -> None:
    for name in RUN_FILES:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def _relax(potential: Potential, atoms: Atoms | list[Atoms], systems: System, skin: float) -> System:
    several = atoms if isinstance(atoms, list) else [atoms]
    relaxed = {id(one): fire(potential, one, fmax=0.5, steps=500, skin=skin) for one in several}
    order = several if isinstance(atoms, list) else several * systems.positions.shape[0]
    positions = jnp.stack(
        [jnp.asarray(relaxed[id(one)].get_positions(), systems.positions.dtype) for one in order]
    )
    return systems.replace(positions=positions)


def _as_float64(systems: System) -> System:
    return jax.tree.map(
        lambda x: np.asarray(x, np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, systems
    )


def _identity(*parts: Any) -> str:
    """What a run must share with the one it resumes."""
    potential, systems, settings, velocities, *rest = parts
    tree = (potential, systems, velocities)
    return fingerprint(tree) + f"-{_text_hash(repr((settings, *rest)))}"


def _text_hash(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _description(
    ensemble: Ensemble, runner: _Runner, seed: int, skin: float, config: Mapping[str, Any] | None
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "ensemble": {"type": type(ensemble).__name__, **asdict(ensemble)},
        "steps": runner.steps,
        "timestep_fs": runner.timestep,
        "every": runner.settings.every,
        "sample_every": runner.settings.sample_every,
        "seed": seed,
        "skin_A": skin,
        "replicas": int(runner.systems.positions.shape[0]),
        "atoms": int(runner.systems.positions.shape[1]),
        "observables": {name: repr(o) for name, o in runner.observables.items()},
        "identity": runner.identity,
        "config": dict(config) if config else None,
    }
