"""The compiled chunk: many MD steps, neighbour lists, samples and frames in one program that never leaves the device.

One program serves a whole run. Its number of steps is an argument, so the last, shorter chunk does not recompile; with
a time step of zero it only evaluates the forces of the start. It stops early, with a flag, where a neighbour list
overflowed or an energy is not finite: the caller decides what of it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.dynamics.integrators.base import Integrator, Particles, kinetic_energy, kinetic_per_degree, missing_center
from jaxelyte.dynamics.integrators.rescaling import CellRescaling
from jaxelyte.lattice import strain_of
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.neighbors.loop import ListPlan, ListState, current_lists, keep_place, overflowed, update_lists
from jaxelyte.observables.base import Observable
from jaxelyte.observables.recorded import Sample, Series
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.derivatives import batch_energy_and_forces, batch_energy_forces_stress
from jaxelyte.potentials.memory import learn, learning_stride, with_memory
from jaxelyte.system import System

REACH = 0.02
"""‖F - 1‖ of a cell against the one planned for, beyond which the loop stops and the host plans anew."""

LARGEST_MOVE = 1.0
"""Å in one step; an atom that moves further (hydrogen at 300 K: 0.014 Å in 0.5 fs) is a run that blows up."""


@dataclass(frozen=True)
class Settings:
    """What is fixed for a run and therefore static in the program.

    Attributes:
        integrator: static description of the integrator.
        every: steps between frames.
        sample_every: steps between samples of the observables; divides ``every``.
        frames: room for frames in one chunk.
        observables: one accumulator each; results are collected per frame interval.
        series: recorded at the same steps, in order.
        velocities: True if frames hold velocities.
        barostat: None where cells are fixed.
    """

    integrator: Integrator
    every: int
    sample_every: int
    frames: int
    observables: tuple[Observable, ...]
    series: tuple[Series, ...]
    velocities: bool
    barostat: CellRescaling | None = None

    @property
    def samples_per_frame(self) -> int:
        """Sampling steps between two frames."""
        return self.every // self.sample_every


class RunState(struct.PyTreeNode):
    """Everything that a run needs to go on, on the device; leading axis of particles and samples: replicas.

    ``particles`` hold the `System` with positions and cell; ``series`` holds what was recorded since the last frame,
    (samples, replicas, columns) each; ``memory`` what the potential has learnt during the run, see
    `jaxelyte.potentials.memory`; ``planned`` the cells that lists and potential are planned for, None where cells are
    fixed.
    """

    particles: Particles
    lists: ListState
    samples: tuple[Any, ...]
    series: tuple[Float[Array, "samples replicas columns"], ...]
    memory: Any
    step: Int[Array, ""]
    planned: Float[Array, "replicas 3 3"] | None = None


class Frames(struct.PyTreeNode):
    """What a chunk hands to the host; the first ``count`` entries of each array are filled.

    Attributes:
        positions: (frames, replicas, atoms, 3), Å.
        velocities: the same shape in Å/fs, or None.
        log: potential, kinetic and conserved energy in eV, (frames, replicas, 3).
        kinetic: of each atom in eV, (frames, replicas, atoms).
        samples: accumulators of the observables, one entry per frame interval.
        series: what was recorded in each frame interval, (frames, samples, replicas, columns).
        count: filled entries.
        cells: (frames, replicas, 3, 3), Å, None where they are fixed.
    """

    positions: Float[Array, "frames replicas atoms 3"]
    velocities: Float[Array, "frames replicas atoms 3"] | None
    log: Float[Array, "frames replicas 3"]
    kinetic: Float[Array, "frames replicas atoms"]
    samples: tuple[Any, ...]
    series: tuple[Float[Array, "frames samples replicas columns"], ...]
    count: Int[Array, ""]
    cells: Float[Array, "frames replicas 3 3"] | None = None


class Status(struct.PyTreeNode):
    """Why the chunk ended: all steps done, or one of the flags.

    Attributes:
        overflow: a neighbour list needs more room.
        broken: (replicas,), energy or force not finite, a move above `LARGEST_MOVE`, or a cell beyond the strain of the
            plan.
        outside: a cell is farther than `REACH` from the one planned for; the state is good.
    """

    overflow: Bool[Array, ""]
    broken: Bool[Array, " replicas"]
    outside: Bool[Array, ""]

    @property
    def good(self) -> Bool[Array, ""]:
        """True if the state can be kept."""
        return ~self.overflow & ~jnp.any(self.broken)


Chunk = Callable[..., tuple[RunState, Frames, Status]]


@lru_cache(maxsize=8)
def make_chunk(settings: Settings, plan: ListPlan) -> Any:
    """Compile-ready ``chunk(potential, state, dt, steps) -> (state, frames, status)``.

    The potential is an argument: other parameters of the same structure run in the same program, also in another call
    of `simulate` (windows of a free energy, iterations of a fit).
    """
    return jax.jit(partial(_run_chunk, settings, plan))


def _run_chunk(
    settings: Settings,
    plan: ListPlan,
    potential: Potential,
    state: RunState,
    dt: Float[Array, ""],
    steps: Int[Array, ""],
) -> tuple[RunState, Frames, Status]:
    # Of what no step changes, the loop reads these arrays from outside, so that the compiler sees constants.
    systems = state.particles.system
    end = state.step + steps
    stride = math.gcd(settings.every, settings.sample_every)
    frames = _empty_frames(settings, state)
    no = jnp.zeros((), bool)
    status = Status(no, jnp.zeros(state.particles.energy.shape, bool), no)

    def going(carry: tuple[RunState, Frames, Status]) -> Array:
        state, _, status = carry
        return (state.step < end) & status.good & ~status.outside

    def one_step(carry: tuple[RunState, Status]) -> tuple[RunState, Status]:
        return _step(settings, plan, potential, systems, carry[0], dt)

    def to_next_stop(carry: tuple[RunState, Frames, Status]) -> tuple[RunState, Frames, Status]:
        state, frames, status = carry
        stop = jnp.minimum(end, (state.step // stride + 1) * stride)

        def inner(c: tuple[RunState, Status]) -> Array:
            return (c[0].step < stop) & c[1].good & ~c[1].outside

        state, status = jax.lax.while_loop(inner, one_step, (state, status))
        state, frames = _observe(settings, plan, potential, systems, state, frames, status.good & (dt > 0))
        return state, frames, status

    state, frames, status = jax.lax.while_loop(going, to_next_stop, (state, frames, status))
    return keep_place(plan, state), frames, status


def _step(
    settings: Settings,
    plan: ListPlan,
    potential: Potential,
    systems: System,
    state: RunState,
    dt: Float[Array, ""],
) -> tuple[RunState, Status]:
    """One MD step of all replicas."""
    integrator, barostat = settings.integrator, settings.barostat
    before = jax.vmap(lambda p: integrator.open(p, dt))(state.particles)
    if barostat is not None:
        before = barostat.act(integrator, before, state.step, dt)
    particles = jax.vmap(lambda p: integrator.move(p, dt))(before)
    moved = jnp.max(jnp.abs(particles.positions - before.positions), axis=(1, 2))
    now = _seen(settings, systems, particles)
    lists = update_lists(plan, state.lists, now)
    neighbors, lists = current_lists(plan, lists, now)
    potential, memory, work = _learn(potential, now, neighbors, state, dt)
    particles = particles.replace(heat=particles.heat + work)
    particles = _evaluated(settings, potential, now, neighbors, particles, state.step, dt)
    finite = jnp.isfinite(particles.energy) & jnp.all(jnp.isfinite(particles.forces), axis=(1, 2))
    particles = jax.vmap(lambda p: integrator.close(p, dt))(particles)
    broken, outside = ~finite | ~(moved < LARGEST_MOVE), jnp.zeros((), bool)
    if state.planned is not None:
        strain = jax.vmap(strain_of)(state.planned, now.cell)
        broken, outside = broken | ~(strain <= plan.strain), jnp.any(strain > REACH)
    state = state.replace(particles=particles, lists=lists, memory=memory, step=state.step + 1)
    return state, Status(overflowed(plan, lists), broken, outside)


def _seen(settings: Settings, systems: System, particles: Particles) -> System:
    """What the potential sees now: ``systems``, which come from outside the loop, where the particles are."""
    if settings.barostat is None:
        return systems.replace(positions=particles.positions)
    return systems.replace(positions=particles.positions, cell=particles.system.cell)


def _evaluated(
    settings: Settings,
    potential: Potential,
    now: System,
    neighbors: Neighbors,
    particles: Particles,
    step: Int[Array, ""],
    dt: Float[Array, ""],
) -> Particles:
    """With energies and forces, and the stress where a barostat reads it."""
    if settings.barostat is None:
        energy, forces = batch_energy_and_forces(potential, now, neighbors)
        return particles.replace(energy=energy, forces=forces)

    def with_stress() -> tuple[Array, Array, Array]:
        found = batch_energy_forces_stress(potential, now, neighbors)
        return found.energy, found.forces, found.stress

    def without() -> tuple[Array, Array, Array]:
        found = batch_energy_and_forces(potential, now, neighbors)
        return found.energy, found.forces, particles.barostat.stress

    wanted = settings.barostat.needs_stress(step, dt)
    energy, forces, stress = jax.lax.cond(wanted, with_stress, without)
    return settings.barostat.seen(particles.replace(energy=energy, forces=forces), stress)


def _learn(
    potential: Potential, now: System, neighbors: Neighbors, state: RunState, dt: Float[Array, ""]
) -> tuple[Potential, Any, Float[Array, " replicas"]]:
    """The potential as it is at this step, its memory, and the energy in eV that a change of it puts in."""
    stride = learning_stride(potential)
    if not stride:
        return potential, state.memory, jnp.zeros_like(state.particles.heat)

    def change(memory: Any) -> tuple[Any, Float[Array, " replicas"]]:
        return learn(with_memory(potential, memory), now, neighbors)

    def keep(memory: Any) -> tuple[Any, Float[Array, " replicas"]]:
        return memory, jnp.zeros_like(state.particles.heat)

    # The step after a multiple of the stride, so that a sample taken there still saw the bias it was drawn under.
    due = (dt > 0) & (state.step % stride == 0)
    memory, work = jax.lax.cond(due, change, keep, state.memory)
    return with_memory(potential, memory), memory, work


def _observe(
    settings: Settings,
    plan: ListPlan,
    potential: Potential,
    systems: System,
    state: RunState,
    frames: Frames,
    good: Bool[Array, ""],
) -> tuple[RunState, Frames]:
    """Sample the observables and write a frame where the step asks for it."""
    now = _seen(settings, systems, state.particles)
    per = settings.samples_per_frame

    def sample(carry: tuple[Any, Any]) -> tuple[Any, Any]:
        samples, series = carry
        samples = tuple(jax.vmap(o.update)(acc, now) for o, acc in zip(settings.observables, samples, strict=True))
        if settings.series:
            seen = _sample(settings, plan, with_memory(potential, state.memory), now, state)
            at = (state.step // settings.sample_every - 1) % per
            rows = zip(settings.series, series, strict=True)
            series = tuple(buffer.at[at].set(one.values(seen)) for one, buffer in rows)
        return samples, series

    samples, series = state.samples, state.series
    if settings.observables or settings.series:
        due = good & (state.step % settings.sample_every == 0)
        samples, series = jax.lax.cond(due, sample, lambda c: c, (samples, series))

    def write(carry: tuple[Frames, tuple[Any, ...]]) -> tuple[Frames, tuple[Any, ...]]:
        frames, samples = carry
        put = partial(jax.tree.map, lambda buffer, value: buffer.at[frames.count].set(value))
        full = frames.replace(
            positions=put(frames.positions, state.particles.positions),
            velocities=put(frames.velocities, state.particles.velocities) if settings.velocities else None,
            log=put(frames.log, energies(settings, state.particles)),
            kinetic=put(frames.kinetic, jnp.sum(jax.vmap(kinetic_per_degree)(state.particles), axis=-1)),
            samples=put(frames.samples, samples),
            series=put(frames.series, series),
            count=frames.count + 1,
            cells=None if frames.cells is None else put(frames.cells, now.cell),
        )
        return full, empty_samples(settings, systems)

    due = good & (state.step % settings.every == 0)
    frames, samples = jax.lax.cond(due, write, lambda c: c, (frames, samples))
    return state.replace(samples=samples, series=series), frames


def _sample(settings: Settings, plan: ListPlan, potential: Potential, now: System, state: RunState) -> Sample:
    """What the series read. The lists are those of the step itself, so they cannot overflow here."""
    neighbors, _ = current_lists(plan, state.lists, now)
    stress = center = None
    if any(one.needs_stress for one in settings.series):
        stress = batch_energy_forces_stress(potential, now, neighbors).stress
        center = jax.vmap(partial(missing_center, settings.integrator))(state.particles)
    return Sample(now, state.particles.velocities, potential, neighbors, stress, center)


def energies(settings: Settings, particles: Particles) -> Float[Array, "replicas 3"]:
    """Potential (interaction), kinetic and conserved energy in eV of each replica."""
    kinetic = jax.vmap(kinetic_energy)(particles)
    conserved = jax.vmap(settings.integrator.conserved)(particles)
    if settings.barostat is not None:
        conserved = conserved + settings.barostat.conserved(particles)
    return jnp.stack([particles.energy, kinetic, conserved], axis=-1)


def empty_samples(settings: Settings, systems: System) -> tuple[Any, ...]:
    """Accumulators before the first sample, with a leading axis of replicas."""
    return tuple(jax.vmap(o.init)(systems) for o in settings.observables)


def empty_series(settings: Settings, systems: System) -> tuple[Any, ...]:
    """Room for what is recorded between two frames."""
    replicas, dtype = systems.positions.shape[0], systems.positions.dtype
    return tuple(jnp.zeros((settings.samples_per_frame, replicas, len(s.columns)), dtype) for s in settings.series)


def _empty_frames(settings: Settings, state: RunState) -> Frames:
    room = settings.frames

    def zeros(value: Array) -> Array:
        return jnp.zeros((room, *value.shape), value.dtype)

    log = jnp.zeros((room, state.particles.energy.shape[0], 3), state.particles.energy.dtype)
    return Frames(
        positions=zeros(state.particles.positions),
        velocities=zeros(state.particles.velocities) if settings.velocities else None,
        log=log,
        kinetic=zeros(state.particles.positions[..., 0]),
        samples=jax.tree.map(zeros, state.samples),
        series=jax.tree.map(zeros, state.series),
        count=jnp.zeros((), jnp.int32),
        cells=None if settings.barostat is None else zeros(state.particles.system.cell),
    )
