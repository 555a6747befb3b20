"""``simulate``: from a potential and atoms to a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.dynamics.changing_cell import check_changing_cell, strain_for
from jaxelyte.dynamics.chunk import Settings
from jaxelyte.dynamics.ensembles import NPT, NVE, NVT, Ensemble
from jaxelyte.dynamics.folder import check_folder
from jaxelyte.dynamics.identity import (
    FORMAT,
    describe_observables,
    describe_potential,
    describe_systems,
    known_later,
    run_versions,
)
from jaxelyte.dynamics.integrators import make_barostat, make_integrator
from jaxelyte.dynamics.minimize import minimize as fire
from jaxelyte.dynamics.run import Run
from jaxelyte.dynamics.runner import Runner
from jaxelyte.dynamics.start import (
    OVERLAP,
    Velocities,
    batch_systems,
    checked_velocities,
    given_velocities,
    resolved_velocities,
    start_velocities,
)
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.observables.base import Observable
from jaxelyte.observables.recorded import Series
from jaxelyte.parallel import distribute
from jaxelyte.parallel.layout import chosen_devices
from jaxelyte.parallel.replicas import check_replicas
from jaxelyte.potentials.base import Potential, as_potential, conserves_momentum, of_one
from jaxelyte.potentials.form_error import form_error, reduced_precision
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.storage import claimed, output_folder
from jaxelyte.system import System

if TYPE_CHECKING:
    from ase import Atoms

FRAMES_PER_CHUNK = 64

JUDGED_ATOMS = 20_000
"""The largest system whose forces are made in float64 to compare with."""


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
    observables: Mapping[str, Observable | Series] | None = None,
    sample_every: int | None = None,
    skin: float = 1.0,
    chunk: int | None = None,
    minimize: bool = False,
    velocities: Velocities = None,
    equilibration: int | None = None,
    save_velocities: bool = False,
    extxyz: bool = False,
    progress: bool = True,
    overwrite: bool = False,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
    devices: str | int | Sequence[Any] | None = None,
    overlap: float = OVERLAP,
) -> Run:
    """Molecular dynamics in one compiled loop.

    Integration, neighbour lists, observables and frames run in one program on the device; the host only records. A
    chunk whose neighbour list overflowed is thrown away and repeated with more room.

    Args:
        potential: any `Potential`, sums and mixtures included. Of one that is compiled with fewer bits than float32
            (`Potential.compiled`) the force error of the start is printed and kept in ``config.json``.
        atoms: start structure (momenta are used if it has any), or a list of systems of one shape to run side by side.
        ensemble: `NVE`, `NVT` or `NPT`.
        steps: number of steps of the whole run, those before a resume included.
        timestep: fs.
        seed: of velocities and thermostat; the same seed gives the same run.
        replicas: copies of ``atoms`` that run side by side with different random numbers.
        output: run folder; None keeps frames in memory.
        every: steps between frames and log rows.
        observables: accumulated (`Observable`) or recorded (`Series`) on the device while the run goes on; see
            ``run.observables``.
        sample_every: steps between samples of the observables, a divisor of ``every``; ``every`` by default.
        skin: Å added to the neighbour lists; they are rebuilt when an atom has moved by half of it.
        chunk: steps between checkpoints; by default as many as take about 1.5 s. The trajectory does not depend on it.
        minimize: relax with FIRE to 0.5 eV/Å first, which removes the worst contacts.
        velocities: a temperature in K to draw velocities at, or "atoms" to use theirs; by default the atoms' momenta
            where they have any, otherwise drawn at the temperature of the ensemble. Motion of the centre of mass is
            removed wherever the dynamics would conserve it.
        equilibration: steps at the start that observables and the averages of the summary leave out; a fifth of the run
            by default. Frames and log hold everything.
        save_velocities: store velocities in the trajectory as well.
        extxyz: write ``trajectory.extxyz`` as well.
        progress: show a progress bar with ns/day and the remaining time.
        overwrite: replace an earlier run in ``output``.
        resume: go on with the run in ``output`` (start it if there is none). The result is bitwise that of an
            uninterrupted run; the arguments must be those of the first start, only ``steps`` may be larger, and
            ``equilibration`` and ``chunk`` may differ.
        config: anything that can be written as JSON, kept in ``config.json`` beside the settings of the run.
        devices: "all", the first n, or a sequence of ``jax.Device``. Replicas are divided evenly among them; one system
            is cut into domains, see `jaxelyte.distribute`. The trajectory is that of one device up to the order of
            sums. With several processes (`jax.distributed`; one system only) every process makes the same call, with
            ``chunk`` given, and the first one writes.
        overlap: Å; a start with atoms closer than this is refused as a broken structure. 0 for atoms that do not
            interact.

    Returns:
        The `Run`. Ctrl-C stops after the running chunk, keeps everything and returns a run with
        ``completed=False``.

    Raises:
        InputError: an argument, structure or folder that cannot be used; raised before any compilation, and nothing on
            disk is changed.
        UnsupportedError: systems that cannot run side by side.
        SimulationError: the run blew up; the message names step, atom, distance and force, frames up to there are kept
            (``error.run`` holds them).
        StorageError: the run folder can no longer be written (disk full, folder removed); the last checkpoint and all
            before it are kept, and ``resume=True`` goes on from there.

    Warns:
        UserWarning: ``every`` does not divide ``steps``; the trajectory is longer than the disk has room for; the run
            was started on another machine or with other versions, and is no longer bitwise that of one in a piece.
    """
    steps, every, sample_every, chunk, equilibration, seed = _check_counts(
        steps, every, every if sample_every is None else sample_every, chunk, equilibration, seed
    )
    timestep = checks.quantity("timestep", timestep, "time step")
    skin = checks.quantity("skin", skin, "skin")
    velocities = checked_velocities(velocities)
    flags = {"minimize": minimize, "save_velocities": save_velocities, "extxyz": extxyz, "progress": progress}
    for name, value in (flags | {"overwrite": overwrite, "resume": resume}).items():
        checks.flag(name, value)
    potential = as_potential(potential)
    config = None if config is None else checks.mapping("config", config, "{'note': 'test'}")
    checks.instance("ensemble", ensemble, (NVE, NVT, NPT), "NVE(), NVT(temperature) or NPT(temperature, pressure)")
    if not isinstance(ensemble, NVE):
        _check_relaxation(ensemble, timestep)
    folder = None if output is None else output_folder(output)
    if jax.process_count() > 1:
        folder = _check_processes(folder, chunk=chunk, resume=resume)
    check_folder(folder, overwrite=overwrite, resume=resume)
    named, series = _split({} if observables is None else observables)

    systems = batch_systems(atoms, replicas, overlap=overlap)
    given, later = describe_potential(potential), known_later(potential, {} if observables is None else observables)
    shared = None if devices is None else chosen_devices(devices)
    if shared is not None and len(systems.positions) > 1:
        check_replicas(len(systems.positions), shared)
    elif shared is not None:
        potential, shared = distribute(potential, shared), None
    barostat, strain = make_barostat(ensemble), 0.0
    if barostat is not None:
        check_changing_cell(potential, systems, named, devices)
        strain = strain_for(barostat, systems, timestep)
    prepared = prepare_potential(potential, systems, strain)
    if reduced_precision(prepared) and systems.positions.dtype != jnp.float32:
        raise InputError(
            "products of fewer bits are for float32, and the run is in float64; leave precision out of "
            "potential.compiled(), or jax_enable_x64 off"
        )
    named = {name: observable.prepare(systems) for name, observable in named.items()}
    for one in series.values():
        one.validate(jax.tree.map(lambda x: x[0], systems))
    momentum_conserved = conserves_momentum(prepared)
    settings = Settings(
        integrator=make_integrator(ensemble, systems.positions.shape[1], momentum_conserved=momentum_conserved),
        every=every,
        sample_every=sample_every,
        frames=FRAMES_PER_CHUNK,
        observables=tuple(named.values()),
        series=tuple(series.values()),
        velocities=save_velocities,
        barostat=barostat,
    )
    keys = jax.random.split(jax.random.key(seed), (systems.positions.shape[0], 2))
    temperature = None if isinstance(ensemble, NVE) else ensemble.temperature
    start = start_velocities(
        atoms,
        systems,
        keys[:, 0],
        request=velocities,
        temperature=temperature,
        momentum_conserved=momentum_conserved,
        degrees=settings.integrator.degrees,
    )
    _check_frames(steps, every)
    runner = Runner(
        prepared,
        systems,
        settings,
        folder,
        named,
        tuple(series),
        steps,
        timestep,
        chunk,
        extxyz,
        equilibration,
        shared,
        strain,
    )
    origin = resolved_velocities(atoms, len(systems.positions), request=velocities, temperature=temperature)
    description = _description(
        ensemble,
        runner,
        seed=seed,
        skin_A=skin,
        minimize=minimize,
        velocities=origin,
        devices=1 if devices is None or shared is not None else len(chosen_devices(devices)),
        observables=describe_observables({} if observables is None else observables),
        potential=given,
        structure=describe_systems(
            systems, given_velocities(atoms, len(systems.positions)) if origin == "atoms" else None
        ),
        config=config,
    )
    with claimed(folder):
        if check_folder(folder, overwrite=overwrite, resume=resume):
            runner.resume(keys[:, 1], skin, description, later)
        else:
            if minimize:
                systems = _relax(of_one(prepared), atoms, systems, skin, overlap)
            if reduced_precision(prepared):
                description["form_error"] = _say_form_error(of_one(prepared), atoms, systems, progress)
            runner.start(systems, start, keys[:, 1], skin, description, overwrite)
        return runner.run(progress)


def _check_frames(steps: int, every: int) -> None:
    """Steps that no frame would show."""
    if every > steps:
        raise InputError(
            f"every={every} is more than steps={steps}: the run would record nothing but its start; give every={steps} "
            "or less, or more steps"
        )
    rest = steps % every
    if rest:
        checks.caution(
            f"every={every} does not divide steps={steps}: the last {rest} steps are run, and the last state is kept, "
            f"but the last frame is that of step {steps - rest}; steps={steps - rest} or {steps - rest + every} would "
            "end with a frame"
        )


def _split(
    observables: Mapping[str, Observable | Series],
) -> tuple[dict[str, Observable], dict[str, Series]]:
    """What is accumulated, and what is recorded."""
    for name, one in checks.mapping("observables", observables, "{'rdf': RDF(('Na', 'O'))}").items():
        if not isinstance(one, (Observable, Series)):
            raise InputError(f"observable {name!r} is a {type(one).__name__}, not an Observable or a Series")
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise InputError(f"observable name {name!r} has to be a plain file name; its result is stored under it")
    added = {name: one for name, one in observables.items() if isinstance(one, Observable)}
    return added, {name: one for name, one in observables.items() if isinstance(one, Series)}


def _check_counts(
    steps: Any, every: Any, sample_every: Any, chunk: Any, equilibration: Any, seed: Any
) -> tuple[int, int, int, int | None, int | None, int]:
    """The counts among the arguments, in this order, as ``int``."""
    steps = checks.count("steps", steps, most=2**31 - 1)  # what the state of a run can count
    every, sample_every = checks.count("every", every), checks.count("sample_every", sample_every)
    if every % sample_every:
        raise InputError(f"sample_every={sample_every} must divide every={every}")
    chunk = None if chunk is None else checks.count("chunk", chunk)
    if equilibration is not None:
        equilibration = checks.count("equilibration", equilibration, least=0)
        if not equilibration < steps:
            raise InputError(
                f"equilibration must be a number of steps from 0 to below steps={steps}, not {equilibration!r}"
            )
    return steps, every, sample_every, chunk, equilibration, checks.random_seed(seed)


def _check_relaxation(ensemble: NVT | NPT, timestep: float) -> None:
    """A thermostat that is faster than the time step cannot be integrated.

    Raises:
        InputError: names the time that is too short for the step.
    """
    if ensemble.chain is not None and ensemble.tau is not None and ensemble.tau < 4.0 * timestep:
        raise InputError(
            f"tau = {ensemble.tau:g} fs of the Nosé-Hoover thermostat is too short for steps of {timestep:g} fs; it "
            f"must be at least four steps, and 50 to 500 fs is usual{_picoseconds(ensemble.tau)}"
        )


def _picoseconds(tau: float) -> str:
    return f" (write {1000.0 * tau:g}, if it is in ps)" if tau <= 1.0 else ""


def _check_processes(folder: Path | None, *, chunk: int | None, resume: bool) -> Path | None:
    """The folder for the first of several processes, none for the others.

    Raises:
        InputError: the length of chunks is left to the clock, which differs between processes.
        UnsupportedError: going on with a run.
    """
    if chunk is None:
        raise InputError(
            "several processes have to run chunks of one length, but chunk=None leaves it to each one's clock; give "
            "chunk=… steps"
        )
    if resume:
        raise UnsupportedError(
            "resume=True is not implemented for several processes; start a new run from run.atoms of the old one"
        )
    return folder if jax.process_index() == 0 else None


def _relax(potential: Potential, atoms: Atoms | list[Atoms], systems: System, skin: float, overlap: float) -> System:
    several = atoms if isinstance(atoms, list) else [atoms]
    relaxed = {id(one): fire(potential, one, fmax=0.5, steps=500, skin=skin, overlap=overlap) for one in several}
    order = several if isinstance(atoms, list) else several * systems.positions.shape[0]
    positions = jnp.stack([jnp.asarray(relaxed[id(one)].get_positions(), systems.positions.dtype) for one in order])
    return systems.replace(positions=positions)


def _say_form_error(potential: Potential, atoms: Atoms | list[Atoms], systems: System, show: bool) -> dict[str, Any]:
    """What products of few bits do to the forces of the (first) structure that the run starts from."""
    first = (atoms[0] if isinstance(atoms, list) else atoms).copy()
    if len(first) > JUDGED_ATOMS:
        text = f"not judged beyond {JUDGED_ATOMS:,} atoms; jaxelyte.form_error of a smaller cell says it"
        found: dict[str, Any] = {"form": text}
    else:
        first.set_positions(np.asarray(systems.positions[0], np.float64))
        error = form_error(potential, first)
        text, found = str(error), error.to_dict()
    if show:
        print(f"simulate: {text}", file=sys.stderr, flush=True)
    return found


def _description(
    ensemble: Ensemble, runner: Runner, *, config: Mapping[str, Any] | None, **arguments: Any
) -> dict[str, Any]:
    """The content of ``config.json``: all that decides the trajectory, by name, as plain JSON."""
    content = {
        "format": FORMAT,
        "ensemble": {"type": type(ensemble).__name__, **asdict(ensemble)},
        "steps": runner.steps,
        "timestep_fs": runner.timestep,
        "every": runner.settings.every,
        "sample_every": runner.settings.sample_every,
        "replicas": int(runner.systems.positions.shape[0]),
        "atoms": int(runner.systems.positions.shape[1]),
        "precision": str(runner.systems.positions.dtype),
        "save_velocities": runner.settings.velocities,
        "extxyz": runner.extxyz,
        "equilibration": runner.equilibration,
        **arguments,
        "versions": run_versions(),
        "config": dict(config) if config else None,
    }
    return json.loads(json.dumps(content, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, Path) else repr(value)
