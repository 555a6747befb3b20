"""What a run whose cell changes cannot do, by name, and how far its plans have to reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.dynamics.chunk import REACH
from jaxelyte.dynamics.integrators.rescaling import CellRescaling
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.observables.base import Observable
from jaxelyte.potentials.base import Potential, walk
from jaxelyte.potentials.geometry import members
from jaxelyte.potentials.memory import Learning
from jaxelyte.potentials.pairs import PairPotential
from jaxelyte.system import System
from jaxelyte.units import BAR

MARGIN = 0.01
"""Strain that plans hold for beyond `REACH` at the least: one change of the cell must stay within it."""

LARGEST_CHANGE = 0.25
"""Strain of one change of the cell, eight standard deviations, that is refused."""

LARGEST_BLOWS = 1.0
"""bar, of what a step at a cut-off does to the pressure; less changes the density of liquids by less than 1e-4."""

STEPS_OF_RELAXATION = 10
"""Changes of the cell within one ``tau_p`` at the least."""


def check_changing_cell(
    potential: Potential, systems: System, observables: Mapping[str, Observable], devices: Any
) -> None:
    """Refuse what is not written, or has no meaning, where the cell changes.

    Raises:
        InputError: a cell that is not periodic in all directions, or atoms tied to places.
        UnsupportedError: what is not written for such cells.
    """
    if not all(systems.pbc):
        raise InputError(
            f"constant pressure needs a cell that is periodic in all directions; pbc is {systems.pbc}: use NVT, or set "
            "atoms.pbc = True if the box was meant to be periodic"
        )
    if devices is not None:
        raise UnsupportedError("devices= is not implemented for NPT; leave it out, or use NVT")
    for one in walk(potential):
        if not one.translation_invariant:
            raise InputError(
                f"{type(one).__name__} ties atoms to places, which have no meaning in a cell that changes; leave it "
                "out, or use NVT"
            )
        if isinstance(one, Learning) and one.learning_stride():
            raise UnsupportedError(f"{type(one).__name__} is not implemented for NPT; use NVT")
        if isinstance(one, PairPotential):
            _check_end(one, systems)
    for name, one in observables.items():
        raise UnsupportedError(
            f"observable {name!r} ({type(one).__name__}) is not accumulated during NPT runs; compute it from "
            "the frames of the run afterwards, as by jaxelyte.rdf(run, …), with every= as often as you need it"
        )


def _check_end(term: PairPotential, systems: System) -> None:
    """Refuse a pair potential that ends in a step, whose blows no stress holds.

    They are worth 2π/3 r_c³ Σ_ab N_a N_b u_ab(r_c) / V², with g = 1 there.
    """
    system = jax.tree.map(lambda x: x[0], systems)
    chosen = np.asarray(members(system, term.species()))
    kinds, counts = np.unique(np.asarray(term.kinds(system))[chosen], return_counts=True)
    if not len(kinds):
        return
    square = jnp.full((len(kinds), len(kinds)), (term.cutoff * (1.0 - 1e-6)) ** 2, system.positions.dtype)
    which = jnp.asarray(kinds)
    steps = np.asarray(term.of_square(square, which[:, None], which[None, :]), np.float64)
    blows = 2.0 * np.pi / 3.0 * term.cutoff**3 * float(counts @ steps @ counts) / float(system.volume) ** 2 / BAR
    if abs(blows) > LARGEST_BLOWS:
        raise InputError(
            f"{type(term).__name__} ends in a step at its cut-off of {term.cutoff:g} Å, and the blows of pairs that "
            f"cross it, {blows:+.3g} bar, are in no stress: the density would be wrong. Let it end smoothly, as by "
            f"switch={0.87 * term.cutoff:.3g} of LennardJones, or use NVT"
        )


def strain_for(barostat: CellRescaling, systems: System, timestep: float) -> float:
    """The strain that plans have to hold for: until the loop stops, and one change of the cell beyond.

    Args:
        barostat: of the run.
        systems: at the start.
        timestep: fs.

    Raises:
        InputError: a barostat that would change the cell too much at a time.
    """
    between = barostat.stride * timestep
    if barostat.tau < STEPS_OF_RELAXATION * between:
        raise InputError(
            f"tau_p = {barostat.tau:g} fs is too short for changes of the cell each {between:g} fs (stride x timestep)"
            f"; it must be at least {STEPS_OF_RELAXATION * between:g} fs, and 500 to 5000 fs is usual"
        )
    change = barostat.largest_change(float(np.min(np.abs(np.linalg.det(np.asarray(systems.cell))))), timestep)
    if change > LARGEST_CHANGE:
        longer = barostat.tau * (change / LARGEST_CHANGE) ** 2
        raise InputError(
            f"with tau_p = {barostat.tau:g} fs and this compressibility the cell would change by up to {change:.0%} "
            f"at a time; take tau_p of {longer:.3g} fs or more, or a smaller stride"
        )
    return REACH + max(MARGIN, change)
