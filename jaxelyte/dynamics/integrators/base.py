"""What every integrator is: three pieces of a step around one evaluation of the forces, for one system.

    state = integrator.open(state, dt)       # thermostat and half a kick
    state = integrator.move(state, dt)       # up to new positions
    state.forces, state.energy = forces at the new positions
    state = integrator.close(state, dt)

A barostat acts between the first two. All of them do nothing when dt = 0, which is how a run gets its first forces from
the program that it then runs.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxelyte.system import System
from jaxelyte.units import ACCELERATION, BOLTZMANN

Scalar = Float[Array, ""]


class Particles(struct.PyTreeNode):
    """Dynamic state of one system, positions and cell included.

    Attributes:
        system: unwrapped positions, and all else that the potential sees.
        velocities: shape (atoms, 3), Å/fs.
        forces: shape (atoms, 3), eV/Å.
        energy: interaction energy in eV.
        key: random key of this system.
        thermostat: variables of the integrator.
        heat: energy in eV that a thermostat, a barostat, or a potential that changes has put in so far; subtracted from
            the conserved quantity.
        barostat: variables of the barostat; None where the cell is fixed.
    """

    system: System
    velocities: Float[Array, "atoms 3"]
    forces: Float[Array, "atoms 3"]
    energy: Scalar
    key: Array
    thermostat: Any
    heat: Scalar
    barostat: Any = None

    @property
    def positions(self) -> Float[Array, "*replicas atoms 3"]:
        """Å, unwrapped."""
        return self.system.positions

    @property
    def masses(self) -> Float[Array, "*replicas atoms"]:
        """g/mol."""
        return self.system.masses

    def at(self, positions: Float[Array, "*replicas atoms 3"]) -> Particles:
        """The same at other positions."""
        return self.replace(system=self.system.replace(positions=positions))


class Integrator(Protocol):
    """Static description of an integrator; hashable."""

    @property
    def degrees(self) -> int:
        """Degrees of freedom that the temperature is shared among."""
        ...

    def init(self, particles: Particles) -> Particles:
        """Give the particles the thermostat variables."""
        ...

    def open(self, particles: Particles, dt: Scalar) -> Particles:
        """What comes before positions change."""
        ...

    def move(self, particles: Particles, dt: Scalar) -> Particles:
        """To new positions."""
        ...

    def close(self, particles: Particles, dt: Scalar) -> Particles:
        """Complete the step with the new forces."""
        ...

    def conserved(self, particles: Particles) -> Scalar:
        """The quantity in eV that exact integration would keep constant."""
        ...


def kinetic_energy(particles: Particles) -> Scalar:
    """½ Σ m v² in eV."""
    return jnp.sum(kinetic_per_degree(particles))


def kinetic_per_degree(particles: Particles) -> Float[Array, "atoms 3"]:
    """½ m v² in eV of each Cartesian degree of freedom."""
    return 0.5 / ACCELERATION * particles.masses[:, None] * particles.velocities**2


def temperature(particles: Particles, degrees: int) -> Scalar:
    """2 K / (N_f k_B) in K."""
    return kinetic_energy(particles) * (2.0 / (degrees * BOLTZMANN))


def missing_center(integrator: Integrator, particles: Particles) -> Scalar:
    """k_B T in eV where the dynamics keeps the total momentum at zero, and 0 where it fluctuates.

    By this Σ m v² / 3 averages to less than N k_B T. T is that of the thermostat, without one the kinetic temperature
    now, 2 K / (N_f k_B).
    """
    if integrator.degrees == particles.velocities.size:
        return jnp.zeros_like(particles.energy)
    target = getattr(integrator, "temperature", None)
    if target is None:
        return kinetic_energy(particles) * (2.0 / integrator.degrees)
    return jnp.full_like(particles.energy, BOLTZMANN * target)


def kick(particles: Particles, dt: Scalar) -> Particles:
    """V += a dt."""
    acceleration = particles.forces * (ACCELERATION / particles.masses[:, None])
    return particles.replace(velocities=particles.velocities + dt * acceleration)


def drift(particles: Particles, dt: Scalar) -> Particles:
    """R += v dt."""
    return particles.at(particles.positions + dt * particles.velocities)


def next_key(particles: Particles) -> tuple[Array, Particles]:
    """A fresh key and the particles with the key advanced."""
    key, use = jax.random.split(particles.key)
    return use, particles.replace(key=key)
