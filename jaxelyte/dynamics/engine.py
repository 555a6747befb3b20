"""The thin host loop around the compiled chunk: repeat, repair, record."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.dynamics.chunk import (
    Frames,
    RunState,
    Settings,
    Status,
    empty_samples,
    empty_series,
    energies,
    make_chunk,
)
from jaxelyte.dynamics.integrators.base import Particles
from jaxelyte.errors import SimulationError
from jaxelyte.evaluate import Evaluator
from jaxelyte.evaluate.programs import COMPILED
from jaxelyte.lattice import strain_of
from jaxelyte.neighbors.loop import (
    GROWTH,
    ListPlan,
    ListState,
    build_lists,
    capacities,
    keep_place,
    place,
    with_capacities,
)
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.memory import memory_of
from jaxelyte.system import System

CHUNK_SECONDS = 1.5
"""Wall time a chunk is aimed at: long against the host's work, short against a user's patience."""


@dataclass
class Timing:
    """Wall time of a run in s, compilation apart."""

    compile: float = 0.0
    running: float = 0.0
    steps: int = 0
    compilations: int = 0
    repeats: int = 0

    @property
    def seconds_per_step(self) -> float:
        """Mean over all chunks that did not compile; NaN before the first."""
        return self.running / self.steps if self.steps else float("nan")


@dataclass
class Engine:
    """A run on the device: program, state, and the rule for overflow.

    The chunk's start is kept until its end is known to be good. A chunk whose neighbour list overflowed is thrown away
    and run again from its start with more room; the lists are rebuilt at the positions of their last build, so that the
    repeated steps see the same pairs.
    """

    evaluator: Evaluator
    settings: Settings
    timestep: float
    state: RunState | None = None
    timing: Timing = field(default_factory=Timing)

    @classmethod
    def create(
        cls,
        potential: Potential,
        systems: System,
        settings: Settings,
        *,
        timestep: float,
        skin: float,
        multiplier: float = GROWTH,
        strain: float = 0.0,
        devices: tuple[Any, ...] | None = None,
    ) -> Engine:
        """Plan the neighbour lists; nothing is compiled yet.

        Args:
            potential: prepared for this strain.
            systems: the batch at its start; of a run that goes on, at the cells it was planned for.
            settings: of the run.
            timestep: fs.
            skin: Å.
            multiplier: room for that many times the longest rows.
            strain: by which cells may differ from those of ``systems`` before the engine plans anew.
            devices: among which the replicas are divided.
        """
        evaluator = Evaluator.of_prepared(
            potential, systems, skin=skin, room=multiplier, strain=strain, devices=devices
        )
        return cls(evaluator, settings, timestep)

    @property
    def systems(self) -> System:
        """The batch at its start."""
        return self.evaluator.systems

    @property
    def plan(self) -> ListPlan:
        """Of the lists, as it is now."""
        return self.evaluator.plan

    def start(self, velocities: jax.Array, keys: jax.Array) -> None:
        """State of step 0, its forces from the chunk's own program with a time step of zero."""
        parts = self.template(keys) | {"particles": self._particles(velocities, keys)}
        parts, step = place(self.plan, (parts, jnp.zeros((), jnp.int32)))
        self.state = RunState(lists=_build(self.plan, self.systems), step=step, **parts)
        self._evaluate()

    def template(self, keys: jax.Array) -> dict[str, Any]:
        """What a checkpoint holds of the state, in the right structure, shapes and types."""
        zeros = jnp.zeros_like(self.systems.positions)
        return {
            "particles": self._particles(zeros, keys),
            "samples": empty_samples(self.settings, self.systems),
            "series": empty_series(self.settings, self.systems),
            "memory": self._memory(keys),
            "planned": None if self.settings.barostat is None else self.systems.cell,
        }

    def restore(self, parts: dict[str, Any], step: int, lists: dict[str, Any]) -> None:
        """Go on from a checkpoint; see `template` and `list_arrays`."""
        self.evaluator.plan = with_capacities(self.plan, lists["capacities"])
        positions, cells = (jnp.asarray(lists[name], self.systems.cell.dtype) for name in ("reference", "cells"))
        at_build = self.systems.replace(positions=positions, cell=cells)
        at_build, parts, start = place(self.plan, (at_build, parts, jnp.asarray(step, jnp.int32)))
        self.state = RunState(lists=_build(self.plan, at_build), step=start, **parts)

    def warm(self) -> None:
        """Compile before the first chunk, so that its time can be measured: a chunk of no steps."""
        self._run(0, self.timestep)

    def _memory(self, keys: jax.Array) -> Any:
        replicas, dtype = self.systems.positions.shape[0], self.systems.positions.dtype
        return jax.tree.map(
            lambda leaf: jnp.asarray(leaf, dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf,
            memory_of(self.evaluator.potential, replicas, jax.random.fold_in(keys[0], replicas)),
        )

    def list_arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps of the neighbour lists: where they were built, and their capacities."""
        assert self.state is not None
        return {
            "reference": np.asarray(self.state.lists.reference),
            "cells": np.asarray(self.state.lists.cells),
            "capacities": capacities(self.plan),
        }

    def advance(self, steps: int) -> Frames:
        """Run up to ``steps`` steps (as far as there is room for frames) and move the state on.

        Raises:
            SimulationError: the run blew up; ``error.frames`` holds the good frames of the last chunk.
        """
        self.state, frames, status = self._run_repaired(steps, self.timestep)
        if bool(status.outside):
            self._plan_anew()
        return frames

    def _evaluate(self) -> None:
        """Energy and forces of the present state, by a step of no length."""
        assert self.state is not None
        step = self.state.step
        state, _, _ = self._run_repaired(1, 0.0)
        self.state = state.replace(step=step)

    def _plan_anew(self) -> None:
        """Plan for the cells of the present state, and go on from there; the jump of the energy is work.

        The state is the first one outside of `jaxelyte.dynamics.chunk.REACH`, wherever a chunk began: so the trajectory
        does not depend on the length of chunks.
        """
        assert self.state is not None
        systems, energy, builds = self.state.particles.system, self.state.particles.energy, self.state.lists.builds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there is to say of the potential was said at the start
            self.evaluator.plan_for(systems)
        lists = _build(self.plan, systems)
        self.state = self.state.replace(lists=lists.replace(builds=builds + 1), planned=systems.cell)
        self._evaluate()
        particles = self.state.particles
        particles = particles.replace(heat=particles.heat + particles.energy - energy)
        self.state = self.state.replace(particles=particles)

    def _run_repaired(self, steps: int, dt: float) -> tuple[RunState, Frames, Status]:
        """Run a chunk from the present state, again with more room for as long as a list overflows."""
        assert self.state is not None
        before, tried = self.plan, self.evaluator.grown

        def attempt(plan: ListPlan) -> tuple[tuple[RunState, Frames, Status], jax.Array, jax.Array]:
            assert self.state is not None
            if plan is not before:
                self.state = self.state.replace(lists=self.lists_of(plan))
            result = self._run(steps, dt)
            return result, result[0].lists.needed, result[2].overflow

        state, frames, status = self.evaluator.repaired(attempt, self.state.particles.system)
        self.timing.repeats += self.evaluator.grown - tried
        try:
            self.check(state, status)
        except SimulationError as error:
            error.frames = frames
            raise
        return state, frames, status

    def lists_of(self, plan: ListPlan) -> ListState:
        """The lists of another plan, with the pairs that were there when the present ones were built."""
        assert self.state is not None
        lists = self.state.lists
        return _build(plan, self.systems.replace(positions=lists.reference, cell=lists.cells))

    def most_steps(self, step: int) -> int:
        """The longest chunk from a step on for which the frames have room."""
        every = self.settings.every
        return (step // every + self.settings.frames) * every + every - 1 - step

    def energies(self) -> np.ndarray:
        """Potential (interaction), kinetic and conserved energy in eV now, (replicas, 3)."""
        assert self.state is not None
        return np.asarray(energies(self.settings, self.state.particles), np.float64)

    def check(self, state: RunState, status: Status) -> None:
        """Raise `SimulationError` where a replica is broken, naming step, atom, distance and force."""
        broken = np.asarray(status.broken)
        if broken.any():
            replica = int(np.argmax(broken))
            raise SimulationError(self._post_mortem(state, replica), step=int(state.step), replica=replica)

    def _particles(self, velocities: jax.Array, keys: jax.Array) -> Particles:
        replicas = self.systems.positions.shape[0]
        particles = Particles(
            system=self.systems,
            velocities=velocities,
            forces=jnp.zeros_like(self.systems.positions),
            energy=jnp.zeros(replicas, self.systems.positions.dtype),
            key=keys,
            thermostat=None,
            heat=jnp.zeros(replicas, self.systems.positions.dtype),
        )
        particles = jax.vmap(self.settings.integrator.init)(particles)
        return particles if self.settings.barostat is None else jax.vmap(self.settings.barostat.init)(particles)

    def _run(self, steps: int, dt: float) -> tuple[RunState, Frames, Status]:
        programs = COMPILED.count
        began = time.perf_counter()
        dtype = self.systems.positions.dtype
        lengths = place(self.plan, (jnp.asarray(dt, dtype), jnp.asarray(steps, jnp.int32)))
        result = make_chunk(self.settings, self.plan)(self.evaluator.potential, self.state, *lengths)
        jax.block_until_ready(result)
        seconds = time.perf_counter() - began
        # A program that an earlier run of the same kind compiled is used again.
        fresh = COMPILED.count > programs
        self.timing.compilations += fresh
        if fresh:
            self.timing.compile += seconds
        elif dt > 0:
            self.timing.running += seconds
            assert self.state is not None
            self.timing.steps += int(result[0].step) - int(self.state.step)
        return result

    def _torn(self, state: RunState, replica: int) -> str:
        """What to say of a cell that jumped beyond the plan; empty where it did not."""
        if state.planned is None:
            return ""
        cell = np.asarray(state.particles.system.cell[replica], np.float64)
        change = np.linalg.det(np.linalg.solve(np.asarray(state.planned[replica], np.float64), cell)) - 1.0
        if np.isfinite(change) and float(strain_of(state.planned[replica], jnp.asarray(cell))) <= self.plan.strain:
            return ""
        size = f"changed its volume by {change:+.1%}" if np.isfinite(change) else "lost its volume"
        return (
            f"the cell{f' of replica {replica}' if len(self.systems.positions) > 1 else ''} {size} within a few steps, "
            f"at step {int(state.step)}: the pressure is far from the one asked for, or tau_p is too short. Everything "
            "before is kept. Start from a structure nearer to the density (NVT first, minimize=True), or take a longer "
            "tau_p or a smaller compressibility"
        )

    def _post_mortem(self, state: RunState, replica: int) -> str:
        if torn := self._torn(state, replica):
            return torn
        positions = np.asarray(state.particles.positions[replica], np.float64)
        forces = np.asarray(state.particles.forces[replica], np.float64)
        # The failing step's forces may be NaN everywhere; the closest pair is then what tells.
        cell = np.asarray(state.particles.system.cell[replica], np.float64)
        distance, pair = _closest_pair(positions, cell, self.systems.pbc)
        size = np.linalg.norm(forces, axis=1)
        finite = np.isfinite(size).all() and np.isfinite(positions).all()
        atom = int(np.argmax(size)) if finite else pair[0]
        force = f"{size[atom]:.3g} eV/Å" if np.isfinite(size[atom]) else "not finite"
        from ase.data import chemical_symbols

        numbers = np.asarray(self.systems.numbers[replica])
        name = [f"{i} ({chemical_symbols[numbers[i]]})" for i in (atom, *pair)]
        which = f" of replica {replica}" if len(self.systems.positions) > 1 else ""
        closest = f"the closest pair is {name[1]} - {name[2]} at {distance:.3f} Å"
        if not np.isfinite(distance):
            closest = "and no positions are finite any more"
        return (
            f"the run blew up at step {int(state.step)}{which}, with a time step of {self.timestep:g} fs: the force on "
            f"atom {name[0]} is {force}, {closest}. Everything before is kept. Reduce the time step, minimise first "
            "(minimize=True), or check that the potential knows such structures"
        )


def _closest_pair(positions: np.ndarray, cell: np.ndarray, pbc: tuple[bool, ...]) -> tuple[float, tuple[int, int]]:
    good = np.isfinite(positions).all(axis=1)
    best, pair = np.inf, (int(np.argmin(good)), int(np.argmin(good)))
    inverse = np.linalg.inv(cell)
    for i in np.flatnonzero(good):
        vectors = positions - positions[i]
        vectors = vectors - (np.round(vectors @ inverse) * np.asarray(pbc)) @ cell
        distance = np.where(good, np.linalg.norm(vectors, axis=1), np.inf)
        distance[i] = np.inf
        j = int(np.argmin(distance))
        if distance[j] < best:
            best, pair = float(distance[j]), (int(i), j)
    return best, pair


@partial(jax.jit, static_argnums=0)
def _build(plan: ListPlan, systems: System) -> ListState:
    return keep_place(plan, build_lists(plan, systems))


def aim(timing: Timing, most: int, *, seconds: float = CHUNK_SECONDS) -> int:
    """Steps of the next chunk: a few at first, then about ``seconds`` of wall time."""
    per_step = timing.seconds_per_step
    wanted = 10 if not np.isfinite(per_step) else int(seconds / max(per_step, 1e-9))
    return int(np.clip(wanted, 1, most))


OnChunk = Callable[[Engine, Frames], None]
