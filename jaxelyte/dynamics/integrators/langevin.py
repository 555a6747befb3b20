"""Langevin dynamics by the BAOAB splitting."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxelyte.dynamics.integrators.base import Particles, Scalar, drift, kick, kinetic_energy, next_key
from jaxelyte.units import ACCELERATION, BOLTZMANN


@dataclass(frozen=True)
class Langevin:
    """m dv/dt = F - γ m v + sqrt(2 γ m k_B T) ξ(t), split as B A O A B (Leimkuhler, Matthews, AMRX 2013, 34).

    The configurational distribution is exact to O(dt²) with a small prefactor, for harmonic forces exact in T of the
    positions. The conserved quantity is K + U minus the heat exchanged in O. The total momentum is not conserved.
    """

    degrees: int
    temperature: float
    friction: float

    def init(self, particles: Particles) -> Particles:
        return particles

    def open(self, particles: Particles, dt: Scalar) -> Particles:
        return kick(particles, dt / 2)

    def move(self, particles: Particles, dt: Scalar) -> Particles:
        particles = self._ornstein_uhlenbeck(drift(particles, dt / 2), dt)
        return drift(particles, dt / 2)

    def close(self, particles: Particles, dt: Scalar) -> Particles:
        return kick(particles, dt / 2)

    def conserved(self, particles: Particles) -> Scalar:
        return kinetic_energy(particles) + particles.energy - particles.heat

    def _ornstein_uhlenbeck(self, particles: Particles, dt: Scalar) -> Particles:
        key, particles = next_key(particles)
        noise = jax.random.normal(key, particles.velocities.shape, particles.velocities.dtype)
        width = jnp.sqrt(BOLTZMANN * self.temperature * ACCELERATION / particles.masses)[:, None]
        keep = jnp.exp(-self.friction * dt)
        # 1 - keep² by expm1: at small γ dt the difference of float32 numbers would lose half the digits.
        spread = jnp.sqrt(-jnp.expm1(-2.0 * self.friction * dt))
        old = kinetic_energy(particles)
        particles = particles.replace(velocities=keep * particles.velocities + spread * width * noise)
        return particles.replace(heat=particles.heat + kinetic_energy(particles) - old)
