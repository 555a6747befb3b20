"""Sizes of the arrays of a domain: a guess from the density, then what the device counts."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.neighbors.loop import overflowed
from jaxelyte.parallel.decompose import Room
from jaxelyte.parallel.lists import DomainPlan, _build, _current, _place
from jaxelyte.parallel.search import Grid
from jaxelyte.system import System, perpendicular_widths

if TYPE_CHECKING:
    from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
    from jaxelyte.parallel.layout import Layout

TINY_SKIN = 1e-3
"""Å, of lists for one frame: enough for rounding at the cut-off."""

SPARE = 6.0
"""Standard deviations of a count of independent atoms that its room has to spare."""


def plan_domains(
    layout: Layout, systems: System, specs: tuple[NeighborSpec, ...], skin: float, multiplier: float
) -> DomainPlan:
    """Sizes for the systems as they are now, with room to spare.

    Args:
        layout: domains and devices.
        systems: a batch of one concrete system.
        specs: what the potential needs.
        skin: Å.
        multiplier: room for that many times the longest rows of neighbours found now.

    Raises:
        UnsupportedError: several replicas.
    """
    check_single(systems)
    halo = _halo(systems, specs, skin)
    plan = DomainPlan(layout, specs, skin, halo, _guess(layout, systems, specs, skin, halo))
    while True:
        # What is cut short by one number hides others: a count is final only once everything before it fits.
        needed, fits = _count(plan, systems)
        if fits:
            return replace(plan, room=_room(plan, needed, multiplier))
        plan = replace(plan, room=_room(plan, np.maximum(needed, _numbers(plan)), 1.5))


def fixed_lists(layout: Layout, system: System, specs: tuple[NeighborSpec, ...]) -> Neighbors:
    """Lists for one frame; see `jaxelyte.neighbors.neighbor_lists`."""
    systems = jax.tree.map(lambda x: jnp.asarray(x)[None], system)
    plan = plan_domains(layout, systems, specs, TINY_SKIN, 1.0)
    state, _ = _counted(plan, systems)
    neighbors, _ = jax.jit(partial(_current, plan))(state, _place(plan, systems))
    return neighbors


def enlarged(plan: DomainPlan, needed: np.ndarray, systems: System) -> DomainPlan:
    """A plan with room for what was needed, and for the cell as it is."""
    if needed[-1]:
        return plan_domains(plan.layout, systems, plan.specs, plan.skin, 1.5)
    short = needed > _numbers(plan)
    grown = _room(plan, needed, 1.25)
    numbers = np.where(short[:-1], grown.numbers(), plan.room.numbers())
    return replace(plan, room=Room.of([int(n) for n in numbers], len(plan.offsets)))


def check_single(systems: System) -> None:
    """Raise `UnsupportedError` for a batch of several replicas."""
    replicas = systems.positions.shape[0]
    if replicas != 1:
        raise UnsupportedError(
            f"{replicas} replicas cannot be divided into domains; run one system on several devices (replicas=1), or "
            "the replicas side by side on one (devices=None)"
        )


def _halo(systems: System, specs: tuple[NeighborSpec, ...], skin: float) -> tuple[float, float, float]:
    if not specs:
        raise InputError("a potential without neighbour lists has nothing to divide; use devices=None")
    radius = max(spec.cutoff for spec in specs) + skin
    widths = perpendicular_widths(np.asarray(systems.cell[0], np.float64))
    # A thousandth to spare, so that rounding never leaves an atom at the border out.
    halo = [1.001 * radius / w if p else 0.0 for w, p in zip(widths, systems.pbc, strict=True)]
    return (halo[0], halo[1], halo[2])


def _guess(
    layout: Layout, systems: System, specs: tuple[NeighborSpec, ...], skin: float, halo: tuple[float, float, float]
) -> Room:
    """Sizes for a uniform density."""
    atoms = int(np.sum(np.asarray(systems.mask)))
    offsets, grid = layout.offsets(halo), Grid.around(layout.shape, halo)
    seen = math.prod(1.0 / m + 2.0 * h for m, h in zip(layout.shape, halo, strict=True))
    volume = abs(np.linalg.det(np.asarray(systems.cell[0], np.float64)))
    density = atoms / volume if all(systems.pbc) else 0.1
    sends = []
    for offset in offsets:
        sides = [1.0 / m if o == 0 else min(h, 1.0 / m) for o, m, h in zip(offset, layout.shape, halo, strict=True)]
        both = math.prod(2 if o and 2 * o % m == 0 else 1 for o, m in zip(offset, layout.shape, strict=True))
        sends.append(_guessed(both * atoms * math.prod(sides)))
    rows = [_guessed(4.2 * density * (s.cutoff + skin) ** 3) for s in specs]
    inside = [_guessed(4.2 * density * s.cutoff**3) if s.exact else 0 for s in specs]
    return Room(
        owned=_guessed(atoms / layout.count),
        images=_guessed(atoms * seen),
        bin=_guessed(atoms * seen / grid.count),
        sends=tuple(sends),
        lists=tuple(zip(rows, inside, strict=True)),
    )


def _room(plan: DomainPlan, needed: np.ndarray, multiplier: float) -> Room:
    """Sizes with spare room: rows of neighbours by the multiplier, counts of atoms by their fluctuation."""
    first = 3 + len(plan.offsets)
    spread = [_even(n + SPARE * math.sqrt(n) * (multiplier > 1.0)) for n in needed[:first]]
    spread[2] = _even(needed[2] * multiplier)
    rows = [_even(n * multiplier) if n else 0 for n in needed[first:-1]]
    for number, spec in enumerate(plan.specs):
        rows[2 * number] = max(rows[2 * number], 8)
        rows[2 * number + 1] = max(rows[2 * number + 1], 8) if spec.exact else 0
    return Room.of([*spread, *rows], len(plan.offsets))


def _guessed(mean: float) -> int:
    """Room for a count of which only the mean is known: too much is cheap here, too little compiles once more."""
    return _even(1.3 * mean + SPARE * math.sqrt(mean))


def _even(count: float) -> int:
    return max(8, 8 * math.ceil(count / 8))


def _numbers(plan: DomainPlan) -> np.ndarray:
    return np.array([*plan.room.numbers(), 0])


def _count(plan: DomainPlan, systems: System) -> tuple[np.ndarray, bool]:
    state, full = _counted(plan, systems)
    return np.asarray(state.needed), not full


def _counted(plan: DomainPlan, systems: System) -> tuple[Any, bool]:
    def counted(systems: System) -> Any:
        state = _current(plan, _build(plan, systems), systems)[1]
        return state, overflowed(plan, state)

    state, full = jax.jit(counted)(_place(plan, systems))
    return state, bool(full)
