"""Energy minimisation by FIRE."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxelyte import checks
from jaxelyte.dynamics.start import OVERLAP, batch_systems
from jaxelyte.errors import SimulationError
from jaxelyte.evaluate import Evaluator
from jaxelyte.neighbors.loop import (
    ListPlan,
    ListState,
    build_lists,
    current_lists,
    overflowed,
    update_lists,
)
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.derivatives import batch_energy_and_forces
from jaxelyte.system import System, check_kind

if TYPE_CHECKING:
    from ase import Atoms

LONGEST_STEP, FIRST_DT, LONGEST_DT = 0.2, 0.1, 1.0
"""Å; Å/sqrt(eV) (unit mass): the usual choice for atoms."""


class _Fire(NamedTuple):
    positions: Array
    velocities: Array
    forces: Array
    dt: Array
    alpha: Array
    downhill_steps: Array
    lists: ListState
    step: Array
    largest: Array


def minimize(
    potential: Potential,
    atoms: Atoms,
    *,
    fmax: float = 0.05,
    steps: int = 1000,
    skin: float = 1.0,
    overlap: float = OVERLAP,
) -> Atoms:
    """Relax positions in a fixed cell until no force exceeds ``fmax``.

    FIRE: Bitzek, Koskinen, Gähler, Moseler, Gumbsch, Phys. Rev. Lett. 97, 170201 (2006), its parameters; a step is at
    most 0.2 Å. The whole descent is one compiled loop.

    Args:
        potential: any potential.
        atoms: start structure; not changed.
        fmax: largest force on an atom at the end, eV/Å.
        steps: at most so many steps; reaching them is no error, the structure is returned as it then is.
        skin: Å of the neighbour lists.
        overlap: Å; a start with atoms closer than this is refused. 0 for atoms that do not interact.

    Returns:
        A copy of the atoms at the new positions; ``info["fmax"]`` (eV/Å) and ``info["fire_steps"]`` tell how it went.

    Raises:
        InputError: ``fmax`` or ``steps`` not positive, or atoms that the potential cannot describe.
        SimulationError: the energy or a force is not finite.
    """
    potential = as_potential(potential)
    fmax = checks.quantity("fmax", fmax, "force")
    steps = checks.count("steps", steps, most=2**31 - 1)
    skin = checks.quantity("skin", skin, "skin")
    check_kind(atoms)
    systems = batch_systems(atoms, 1, overlap=overlap)
    evaluator = Evaluator(potential, systems, skin=skin)
    limits = jnp.asarray(fmax, systems.cell.dtype), jnp.asarray(steps, jnp.int32)

    def attempt(plan: ListPlan) -> tuple[_Fire, Array, Array]:
        state = _descend(plan, evaluator.potential, systems, *limits)
        return state, state.lists.needed, overflowed(plan, state.lists)

    state = evaluator.repaired(attempt)
    largest = float(state.largest)
    if not np.isfinite(largest):
        raise SimulationError(
            f"minimisation met a force that is not finite at step {int(state.step)}; the start structure is outside "
            "what the potential can describe"
        )
    relaxed = atoms.copy()
    relaxed.set_positions(np.asarray(state.positions[0], np.float64))
    relaxed.info.update(fmax=largest, fire_steps=int(state.step))
    return relaxed


@partial(jax.jit, static_argnums=0)
def _descend(
    plan: ListPlan, potential: Potential, systems: System, fmax: Float[Array, ""], steps: Int[Array, ""]
) -> _Fire:
    def evaluate(positions: Array, lists: ListState) -> tuple[Array, Array, ListState]:
        now = systems.replace(positions=positions)
        lists = update_lists(plan, lists, now)
        neighbors, lists = current_lists(plan, lists, now)
        _, forces = batch_energy_and_forces(potential, now, neighbors)
        return forces, jnp.sqrt(jnp.max(jnp.sum(forces**2, axis=-1))), lists

    def going(s: _Fire) -> Array:
        return (s.step < steps) & ~(s.largest < fmax) & jnp.isfinite(s.largest) & ~overflowed(plan, s.lists)

    dtype = systems.positions.dtype
    zero = jnp.zeros_like(systems.positions)
    start = _Fire(
        systems.positions,
        zero,
        zero,
        jnp.asarray(FIRST_DT, dtype),
        jnp.asarray(0.1, dtype),
        jnp.zeros((), jnp.int32),
        build_lists(plan, systems),
        jnp.full((), -1, jnp.int32),
        jnp.asarray(np.finfo(dtype).max, dtype),
    )

    def move(s: _Fire) -> _Fire:
        # The first pass has no velocities and no forces: it only evaluates, so the model is compiled once.
        s = _fire_step(s)
        forces, largest, lists = evaluate(s.positions, s.lists)
        return s._replace(forces=forces, largest=largest, lists=lists, step=s.step + 1)

    return jax.lax.while_loop(going, move, start)


def _fire_step(s: _Fire) -> _Fire:
    power = jnp.sum(s.forces * s.velocities)
    speed, force = jnp.sqrt(jnp.sum(s.velocities**2)), jnp.sqrt(jnp.sum(s.forces**2))
    direction = s.forces / jnp.maximum(force, jnp.finfo(force.dtype).tiny)
    mixed = (1.0 - s.alpha) * s.velocities + s.alpha * speed * direction
    downhill = power > 0
    downhill_steps = jnp.where(downhill, s.downhill_steps + 1, 0).astype(s.downhill_steps.dtype)
    patient = downhill & (downhill_steps > 5)
    dt = jnp.where(patient, jnp.minimum(s.dt * 1.1, LONGEST_DT), jnp.where(downhill | (s.step < 1), s.dt, s.dt * 0.5))
    alpha = jnp.where(patient, s.alpha * 0.99, jnp.where(downhill, s.alpha, 0.1))
    velocities = jnp.where(downhill, mixed, jnp.zeros_like(mixed)) + dt * s.forces
    change = dt * velocities
    length = jnp.sqrt(jnp.max(jnp.sum(change**2, axis=-1)))
    change = change * jnp.minimum(1.0, LONGEST_STEP / jnp.maximum(length, jnp.finfo(length.dtype).tiny))
    return s._replace(
        positions=s.positions + change,
        velocities=velocities,
        dt=dt.astype(s.dt.dtype),
        alpha=alpha.astype(s.alpha.dtype),
        downhill_steps=downhill_steps,
    )
