"""Cases of path gradients, insertion factors, derivatives of free energies and losses of fits; see honesty.py."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from ase import Atoms
from honesty import Case, Entry
from honesty_reweighting import ANCHORS, TEMPERATURE, THERMAL, K, samples, square
from honesty_reweighting import frames as oscillators

from jaxelyte.dynamics import NVE
from jaxelyte.gradients import InsertionFactor, Reweighting, Target, insertion_factor, path_gradient
from jaxelyte.gradients.frames import Frames
from jaxelyte.gradients.free_energies import _at_the_ends
from jaxelyte.gradients.path import mean_over_replicas
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.trajectory import Trajectory
from jaxelyte.units import ACCELERATION

MASS, STEPS, TIMESTEP, EVERY = 39.9, 240, 2.0, 20
"""g/mol, steps, fs, and steps between samples of a path."""

PERIODIC = (True, True, True)

SEEDS, REPLICAS = 64, 8
"""Paths are made at once and handed out in groups."""

EDGE, SIGMA, EPSILON, CUT, PLACES = 12.0, 3.4, 0.0104, 5.9, 16
"""Å, Å, eV, Å, of one Lennard-Jones atom in a box, and places where another is inserted in each frame."""


def mean_square(k: float) -> float:
    """<r²> in Å² over the samples of paths from the anchor, with velocities of `TEMPERATURE`: x = (v/ω) sin ωt."""
    rate = math.sqrt(k / MASS * ACCELERATION)
    times = TIMESTEP * EVERY * np.arange(1, STEPS // EVERY + 1)
    return 3.0 * THERMAL / k * float(np.mean(np.sin(rate * times) ** 2))


@lru_cache(maxsize=1)
def paths() -> tuple[np.ndarray, np.ndarray]:
    """Averages of all paths, and their derivatives with respect to k; (seeds, replicas)."""
    atoms = Atoms("Ar", ANCHORS[:1], cell=[30.0] * 3, pbc=True)
    atoms.set_masses([MASS])  # pyright: ignore[reportArgumentType]
    found = path_gradient(
        square,
        HarmonicRestraint(ANCHORS[:1], K),
        atoms,
        NVE(),
        steps=STEPS,
        timestep=TIMESTEP,
        every=EVERY,
        replicas=SEEDS * REPLICAS,
        velocities=TEMPERATURE,
        mode="forward",
        trainable=lambda path: path == ".k",
    )
    sign = math.copysign(1.0, float(found.gradient.k))  # pyright: ignore[reportAttributeAccessIssue]
    shape = (SEEDS, REPLICAS)
    return found.running[-1].reshape(shape), sign * found.slope[-1].reshape(shape)


def path(seed: int, *, derivative: bool) -> Case:
    """An average over paths, or its derivative, of eight replicas."""
    values = paths()[int(derivative)][seed % SEEDS]
    step = 1e-4 * K
    slope = (mean_square(K + step) - mean_square(K - step)) / (2.0 * step)
    return Case(*mean_over_replicas(values), slope if derivative else mean_square(K))


def pair(epsilon: float) -> LennardJones:
    """Between the atoms."""
    return LennardJones({"Ar": SIGMA}, {"Ar": epsilon}, cutoff=CUT, shift=True)


def factor(epsilon: float) -> float:
    """<exp(-ΔU/k_B T)> of a second atom in the box."""
    r = (np.arange(20000) + 0.5) * CUT / 20000
    sixth, last = (SIGMA / r) ** 6, (SIGMA / CUT) ** 6
    energy = 4.0 * epsilon * (sixth**2 - sixth - last**2 + last)
    return 1.0 + 4.0 * math.pi * float(np.sum(np.expm1(-energy / THERMAL) * r**2)) * CUT / 20000 / EDGE**3


@lru_cache(maxsize=1)
def source(seed: int, count: int) -> tuple[InsertionFactor, Reweighting]:
    """Frames of one atom anywhere in the box, and the insertion of another."""
    positions = np.random.default_rng(seed).random((count, 1, 1, 3)) * EDGE
    steps = np.arange(count)
    cells = np.eye(3) * EDGE
    run = Trajectory(positions, np.array([18]), np.array([MASS]), cells, PERIODIC, steps, steps * 10.0)
    quantity = insertion_factor(run, pair(EPSILON), "Ar", places=PLACES, temperature=TEMPERATURE)
    return quantity, Reweighting(run, pair(EPSILON), temperature=TEMPERATURE, at_once=25)


@lru_cache(maxsize=300)
def inserted(seed: int, count: int) -> Any:
    """Chemical potential and derivatives."""
    quantity, at = source(seed, count)
    return at.gradient(quantity, function=quantity.chemical_potential)


def insertion(seed: int, *, what: str, count: int = 400) -> Case:
    """The Boltzmann factor, the chemical potential in eV, or its derivative with respect to ε."""
    if what == "factor":
        quantity, at = source(seed, count)
        mean = at.average(quantity)
        return Case(float(mean.value), float(mean.error), mean.freedom, factor(EPSILON))
    found = inserted(seed, count)
    if what == "chemical potential":
        return Case(found.value, found.error, found.freedom, -THERMAL * math.log(factor(EPSILON)))
    step = 1e-4 * EPSILON
    slope = -THERMAL * math.log(factor(EPSILON + step) / factor(EPSILON - step)) / (2.0 * step)
    error = np.asarray(found.gradient_error.epsilon).ravel()[0]
    return Case(float(np.asarray(found.gradient.epsilon).ravel()[0]), float(error), found.gradient_freedom, slope)


def ends(seed: int, *, atoms: int, count: int, memory: float, ratio: float = 4.0) -> Case:
    """D ΔF/dk of the second of two springs, 3N k_B T/(2k), by averages at the ends."""
    stiff = ratio * K
    shrink = math.sqrt(1.0 / ratio)
    first, second = (oscillators(2 * seed + n, count=count, atoms=atoms, memory=memory) for n in (0, 1))
    anchors = ANCHORS[:atoms]
    moved = np.concatenate([first.positions, anchors + shrink * (second.positions - anchors)])
    steps = np.arange(2 * count)
    both = Trajectory(moved, first.numbers[0], first.masses[0], np.eye(3) * 30.0, PERIODIC, steps, steps * 10.0)
    ladder: Any = SimpleNamespace(initial=HarmonicRestraint(anchors, K), final=HarmonicRestraint(anchors, stiff))
    rows = np.arange(count)
    every = Frames.from_trajectory(both, at_once=-(-count // 16))
    values, errors, freedom = _at_the_ends(every, rows, rows + count, ladder, None)
    return Case(float(values[1].k), float(errors[1].k), freedom, 1.5 * atoms * THERMAL / stiff)


def loss(seed: int, *, off: float, count: int = 400) -> Case:
    """Loss of a fit whose target is off by a share of <r²>."""
    mean = 3.0 * THERMAL / K
    target = Target(square, mean * (1.0 + off), scale=mean, explicit=False)
    found = samples(seed, count, 1, 0.0).gradient(square, function=target.loss, explicit=False, errors=False)
    return Case(found.value, target.error(found.mean, found.parts, found.error), found.freedom, off**2)


PATHS = f"r² of a spring over {STEPS * TIMESTEP:g} fs, {REPLICAS} replicas"

CASES = {
    f"path {what}, {PATHS}": Entry(partial(path, derivative=what == "derivative"), dynamics=True, seeds=SEEDS)
    for what in ("average", "derivative")
}
CASES |= {
    f"{title}, {count} frames of one Lennard-Jones atom, {PLACES} places": Entry(
        partial(insertion, what=what, count=count)
    )
    for count in (400,)
    for what, title in (
        ("factor", "insertion factor"),
        ("chemical potential", "chemical potential by insertion factors"),
        ("derivative", "derivative of a chemical potential"),
    )
}
CASES |= {
    f"derivative of a free energy by the ends, spring 1:4, {count} frames"
    f"{f', memory {memory:g}' if memory else ''}": Entry(
        partial(ends, atoms=atoms, count=count, memory=memory), hard=count < 100
    )
    for atoms, count, memory in ((1, 20, 0.0), (1, 400, 0.0), (1, 1000, 5.0))
}
CASES |= {f"loss of a fit, <r²> off by {off:.0%}, 400 frames": Entry(partial(loss, off=off)) for off in (0.1, 0.5)}
