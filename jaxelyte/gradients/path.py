"""Derivatives through the trajectory: of averages along a path by the parameters that the path was made with.

The integrator is differentiated as it is, noise of a thermostat held fixed. That is exact for short times, also away
from equilibrium, where fluctuations say nothing; a liquid is chaotic, and derivatives of its path grow as exp(λ t)
until, after a picosecond or two, they are noise. How long they are good for is measured here, not assumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxelyte import checks
from jaxelyte.dynamics import NVE, NVT
from jaxelyte.dynamics.integrators import make_integrator
from jaxelyte.dynamics.integrators.base import Integrator, Particles
from jaxelyte.dynamics.start import (
    Velocities,
    batch_systems,
    checked_velocities,
    start_velocities,
)
from jaxelyte.errors import InputError, SimulationError
from jaxelyte.evaluate import Evaluator
from jaxelyte.evaluate.evaluator import Quantity
from jaxelyte.gradients.trust import FEWEST, spread_of_influence
from jaxelyte.neighbors.loop import (
    ListPlan,
    build_lists,
    current_lists,
    overflowed,
    update_lists,
)
from jaxelyte.potentials.base import Potential, as_potential, conserves_momentum
from jaxelyte.potentials.derivatives import batch_energy_and_forces
from jaxelyte.system import System
from jaxelyte.wording import counted, plus_minus

if TYPE_CHECKING:
    from ase import Atoms

SKIN = 1.0
"""Å."""


@dataclass(frozen=True)
class PathGradient:
    """Derivative of an average along paths.

    Attributes:
        value: average over samples and replicas.
        error: standard error of it from the spread between replicas, widened by its skewness; NaN for fewer than four.
        freedom: degrees of freedom of the error, for Student's t.
        gradient: d value / d parameter, a tree like the potential; zero for parameters that were not asked for.
        times: (samples,), fs.
        running: (samples, replicas), the average up to each time.
        slope: (samples, replicas), its derivative along the unit vector of the gradient. With many parameters this
            direction is found from the same replicas, so that noise adds to the size of the derivative.
        horizon: fs, the last time at which the mean slope of the replicas was larger than two standard errors; NaN for
            fewer than four replicas.
        growth: 1/fs, at which slopes of single replicas grow in the second half of the path; a Lyapunov exponent where
            the path is chaotic and long.
    """

    value: float
    error: float
    freedom: float
    gradient: Potential
    times: np.ndarray
    running: np.ndarray
    slope: np.ndarray
    horizon: float
    growth: float

    def __repr__(self) -> str:
        value = plus_minus(self.value, self.error)
        size = plus_minus(*mean_over_replicas(self.slope[-1])[:2])
        good = f"for {self.horizon / 1e3:.3g} ps" if math.isfinite(self.horizon) else "for an unknown time"
        grow = f" and grow as exp(t/{1e-3 / self.growth:.3g} ps)" if self.growth > 0.0 else ""
        return f"<A> = {value} over {self.times[-1] / 1e3:g} ps; |d<A>/dθ| = {size}; derivatives are good {good}{grow}"


def path_gradient(
    quantity: Quantity,
    potential: Potential,
    atoms: Atoms | list[Atoms],
    ensemble: NVE | NVT,
    *,
    steps: int,
    timestep: float = 0.5,
    every: int = 10,
    replicas: int = 8,
    seed: int = 0,
    velocities: Velocities = None,
    mode: Literal["reverse", "forward"] = "reverse",
    trainable: Any = None,
) -> PathGradient:
    """Average of A over the samples of paths, and its derivative by the parameters of the potential.

    Reverse mode takes one backward pass for any number of parameters and keeps a number of states that grows with the
    square root of the number of steps (the rest is made again); forward mode takes one pass for each parameter (only
    those that ``trainable`` names) and keeps none.

    It fails beyond the ``horizon`` of the result: there the derivative exists, but says nothing about the average. Use
    `Reweighting` for averages in equilibrium.

    Args:
        quantity: A(potential, system, neighbors) of one frame, a number.
        potential: whose parameters to differentiate by.
        atoms: start structure, or one for each replica.
        ensemble: `NVE` or `NVT`; the random numbers of a thermostat are held fixed.
        steps: number of steps.
        timestep: fs.
        every: steps between samples.
        replicas: paths with different random numbers.
        seed: of them.
        velocities: see `simulate`.
        mode: "reverse" or "forward".
        trainable: parameters to differentiate by, by their path such as ".sigma"; all by default.

    Raises:
        InputError: arguments that cannot be used.
        SimulationError: the dynamics or its derivative is not finite.
    """
    potential = as_potential(potential)
    checks.choice("mode", mode, ("reverse", "forward"))
    checks.instance("ensemble", ensemble, (NVE, NVT), "NVE() or NVT(temperature)")
    if not callable(quantity):
        raise InputError(f"quantity must be a function of potential, system, neighbors, not {checks.shown(quantity)}")
    if trainable is not None and not callable(trainable):
        raise InputError(f"trainable must be a function of a parameter's path, not {checks.shown(trainable)}")
    steps, every = checks.count("steps", steps, most=2**31 - 1), checks.count("every", every)
    timestep = checks.quantity("timestep", timestep, "time step")
    seed, velocities = checks.random_seed(seed), checked_velocities(velocities)
    if steps % every:
        raise InputError(f"every = {every} must divide steps = {steps}")
    systems = batch_systems(atoms, 1 if isinstance(atoms, list) else replicas)
    evaluator = Evaluator(potential, systems, form="plain", skin=SKIN)
    ready = evaluator.potential
    conserved = conserves_momentum(ready)
    integrator = make_integrator(ensemble, systems.positions.shape[1], momentum_conserved=conserved)
    start = _start(atoms, systems, ensemble, seed, velocities, conserved, integrator)
    dt = jnp.asarray(timestep, systems.positions.dtype)
    shape = Shape(integrator, steps // every, every, quantity)
    rows = evaluator.repaired(lambda plan: _program(shape, plan, ready, systems, start, dt))
    plan = evaluator.plan
    tree = _reverse if mode == "reverse" else _forward
    gradient = tree(shape, plan, ready, systems, start, dt, _chosen(ready, trainable))
    size = math.sqrt(sum(float(np.sum(np.asarray(g, np.float64) ** 2)) for g in jax.tree.leaves(gradient)))
    if not math.isfinite(size):
        message = f"the derivative of the path is not finite after {counted(steps, 'step')}: take fewer"
        raise SimulationError(message, step=steps, replica=0)
    unit = jax.tree.map(lambda g: g / size if size else g, gradient)
    slopes = _tangent(shape, plan, unit, ready, systems, start, dt)
    count = np.arange(1, shape.samples + 1)[:, None]
    running, slope = (np.cumsum(np.asarray(x, np.float64), axis=0) / count for x in (rows, slopes))
    times = timestep * every * count[:, 0]
    mean, error, freedom = mean_over_replicas(running[-1])
    structure = jax.tree.structure(potential)
    return PathGradient(
        mean,
        error,
        freedom,
        jax.tree.unflatten(structure, jax.tree.leaves(gradient)),
        times,
        running,
        slope,
        _horizon(times, slope),
        _growth(times, slope),
    )


@dataclass(frozen=True)
class Shape:
    """What is static in a path."""

    integrator: Integrator
    samples: int
    every: int
    quantity: Quantity


def _start(
    atoms: Any,
    systems: System,
    ensemble: NVE | NVT,
    seed: int,
    velocities: Velocities,
    momentum_conserved: bool,
    integrator: Integrator,
) -> Particles:
    """Particles of all replicas, without forces yet."""
    count, dtype = systems.positions.shape[0], systems.positions.dtype
    keys = jax.random.split(jax.random.key(seed), (count, 2))
    temperature = ensemble.temperature if isinstance(ensemble, NVT) else None
    drawn = start_velocities(
        atoms,
        systems,
        keys[:, 0],
        request=velocities,
        temperature=temperature,
        momentum_conserved=momentum_conserved,
        degrees=integrator.degrees,
    )
    zeros = jnp.zeros(count, dtype)
    return Particles(systems, drawn, jnp.zeros_like(drawn), zeros, keys[:, 1], None, zeros)


def _paths(
    shape: Shape, plan: ListPlan, potential: Potential, systems: System, start: Particles, dt: Array
) -> tuple[Array, tuple[Array, Array]]:
    """A at each sample, (samples, replicas); room that the lists needed, and whether it was there."""
    integrator = shape.integrator

    def advanced(particles: Particles, dt: Array) -> Particles:
        return jax.vmap(lambda p: integrator.move(integrator.open(p, dt), dt))(particles)

    def forces(particles: Particles, lists: Any) -> tuple[Particles, Any, Any]:
        now = systems.replace(positions=particles.positions)  # a cell from outside of the loop
        fixed = systems.replace(positions=jax.lax.stop_gradient(particles.positions))
        lists = update_lists(plan, lists, fixed)
        neighbors, lists = current_lists(plan, lists, fixed)
        neighbors = jax.lax.stop_gradient(neighbors)
        energy, force = batch_energy_and_forces(potential, now, neighbors)
        return particles.replace(energy=energy, forces=force), lists, (now, neighbors)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        particles, lists, _ = forces(advanced(carry[0], dt), carry[1])
        return (jax.vmap(lambda p: integrator.close(p, dt))(particles), lists), None

    def sample(carry: Any, _: None) -> tuple[Any, Array]:
        carry = jax.lax.scan(step, carry, None, length=shape.every)[0]
        now, neighbors = forces(*carry)[2]
        return carry, jax.vmap(partial(shape.quantity, potential))(now, neighbors)

    groups = _divisor(shape.samples)

    def group(carry: Any, _: None) -> tuple[Any, Array]:
        return jax.lax.scan(jax.checkpoint(sample), carry, None, length=shape.samples // groups)

    # As a run starts: a step of length zero, which also draws its random numbers.
    still = jnp.zeros_like(dt)
    particles = advanced(jax.vmap(integrator.init)(start), still)
    particles, lists, _ = forces(particles, build_lists(plan, systems))
    # Nothing but the forces depends on the parameters yet; half steps of no length have no derivative by themselves.
    still_there = jax.lax.stop_gradient(jax.vmap(lambda p: integrator.close(p, still))(particles))
    particles = still_there.replace(forces=particles.forces, energy=particles.energy)
    (_, lists), rows = jax.lax.scan(jax.checkpoint(group), (particles, lists), None, length=groups)
    return rows.reshape(shape.samples, -1), (lists.needed, overflowed(plan, lists))


def _divisor(count: int) -> int:
    """The divisor nearest to the square root."""
    return min((d for d in range(1, count + 1) if count % d == 0), key=lambda d: abs(d - math.sqrt(count)))


@partial(jax.jit, static_argnums=(0, 1))
def _program(shape: Shape, plan: ListPlan, *arguments: Any) -> tuple[Array, Array, Array]:
    rows, (needed, overflow) = _paths(shape, plan, *arguments)
    return rows, needed, overflow


@partial(jax.jit, static_argnums=(0, 1))
def _backward(shape: Shape, plan: ListPlan, potential: Potential, *rest: Any) -> Potential:
    return jax.grad(lambda p: jnp.mean(_paths(shape, plan, p, *rest)[0]))(potential)


@partial(jax.jit, static_argnums=(0, 1))
def _tangent(shape: Shape, plan: ListPlan, direction: Potential, potential: Potential, *rest: Any) -> Array:
    """Derivative of A at each sample along a direction of the parameters."""
    return jax.jvp(lambda p: _paths(shape, plan, p, *rest)[0], (potential,), (direction,))[1]


def _chosen(potential: Potential, trainable: Any) -> list[bool]:
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(potential)[0]]
    flags = [trainable is None or bool(trainable(path)) for path in paths]
    if not any(flags):
        raise InputError(f"no parameter was chosen; the paths given to trainable= are such as {', '.join(paths[:8])}")
    return flags


def _reverse(
    shape: Shape, plan: ListPlan, potential: Potential, systems: System, start: Particles, dt: Array, chosen: list[bool]
) -> Any:
    leaves, structure = jax.tree.flatten(_backward(shape, plan, potential, systems, start, dt))
    return jax.tree.unflatten(structure, [g if c else jnp.zeros_like(g) for g, c in zip(leaves, chosen, strict=True)])


def _forward(
    shape: Shape, plan: ListPlan, potential: Potential, systems: System, start: Particles, dt: Array, chosen: list[bool]
) -> Any:
    """One pass for each number of the chosen leaves."""
    leaves, structure = jax.tree.flatten(potential)
    found = []
    for number, (leaf, wanted) in enumerate(zip(leaves, chosen, strict=True)):
        slopes = np.zeros(np.shape(leaf))
        for index in np.ndindex(*np.shape(leaf)) if wanted else ():
            zeros = [jnp.zeros_like(x) for x in leaves]
            zeros[number] = zeros[number].at[index].set(1.0) if np.shape(leaf) else jnp.ones_like(leaf)
            direction = jax.tree.unflatten(structure, zeros)
            rows = _tangent(shape, plan, direction, potential, systems, start, dt)
            slopes[index] = float(np.mean(np.asarray(rows, np.float64)))
        found.append(jnp.asarray(slopes, jnp.asarray(leaf).dtype))
    return jax.tree.unflatten(structure, found)


def mean_over_replicas(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of (replicas,), its standard error, widened by their skewness, and the degrees of freedom of that."""
    count, mean = len(values), float(values.mean())
    if count < FEWEST:
        return mean, math.nan, max(count - 1.0, 0.0)
    found = spread_of_influence(values - mean, None, 1.0, count, "average")
    return mean, found.widening * float(values.std(ddof=1)) / math.sqrt(count), found.freedom


def _horizon(times: np.ndarray, slope: np.ndarray) -> float:
    if slope.shape[1] < FEWEST:
        return math.nan
    error = slope.std(axis=1, ddof=1) / math.sqrt(slope.shape[1])
    good = np.flatnonzero(np.abs(slope.mean(axis=1)) > 2.0 * error)
    return float(times[good[-1]]) if len(good) else 0.0


def _growth(times: np.ndarray, slope: np.ndarray) -> float:
    half = len(times) // 2
    size = np.log(np.maximum(np.sqrt(np.mean(slope**2, axis=1)), 1e-300))
    if len(times) - half < 3:
        return math.nan
    return float(np.polyfit(times[half:], size[half:], 1)[0])
