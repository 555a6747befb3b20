"""Stochastic velocity rescaling."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxelyte.dynamics.integrators.base import Particles, Scalar, drift, kick, kinetic_energy, next_key
from jaxelyte.units import BOLTZMANN


@dataclass(frozen=True)
class StochasticRescaling:
    """Velocity Verlet, then a global rescaling that samples the canonical kinetic energy.

    Source: Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007), appendix: with c = exp(-dt/τ) and
    K̄ = N_f k_B T / 2 the new kinetic energy is
    K' = c K + (1 - c) K̄/N_f (R_1² + Σ_{i=2}^{N_f} R_i²) + 2 R_1 sqrt(c (1 - c) K K̄ / N_f), R_i normal.
    Conserved: K + U minus the heat exchanged. Momentum is conserved and diffusion hardly disturbed. All velocities are
    scaled alike: where energy hardly passes between the atoms (weakly coupled springs) the total kinetic energy is
    canonical, but each atom keeps its own share. Use massive Nosé-Hoover chains or Langevin there.
    """

    degrees: int
    temperature: float
    tau: float

    def init(self, particles: Particles) -> Particles:
        return particles

    def open(self, particles: Particles, dt: Scalar) -> Particles:
        return kick(particles, dt / 2)

    def move(self, particles: Particles, dt: Scalar) -> Particles:
        return drift(particles, dt)

    def close(self, particles: Particles, dt: Scalar) -> Particles:
        return self._rescale(kick(particles, dt / 2), dt)

    def conserved(self, particles: Particles) -> Scalar:
        return kinetic_energy(particles) + particles.energy - particles.heat

    def _rescale(self, particles: Particles, dt: Scalar) -> Particles:
        key, particles = next_key(particles)
        first_key, rest_key = jax.random.split(key)
        dtype = particles.velocities.dtype
        first = jax.random.normal(first_key, (), dtype)
        shape = jnp.asarray((self.degrees - 1) / 2, dtype)
        # Σ of N_f - 1 squared normals is twice a gamma variable; without further degrees of freedom it is zero.
        rest = 2.0 * jax.random.gamma(rest_key, shape, (), dtype) if self.degrees > 1 else jnp.zeros((), dtype)
        kinetic = kinetic_energy(particles)
        target = 0.5 * BOLTZMANN * self.temperature
        keep = jnp.exp(-dt / self.tau)
        lose = -jnp.expm1(-dt / self.tau)
        safe = jnp.maximum(kinetic, jnp.finfo(dtype).tiny)
        cross = 2.0 * first * jnp.sqrt(keep * lose * target / safe)
        factor = keep + lose * target / safe * (first**2 + rest) + cross
        # The sign follows Bussi and Parrinello, Comput. Phys. Commun. 179, 26 (2008): it matters at few degrees.
        sign = jnp.sign(first + jnp.sqrt(keep * safe / jnp.maximum(lose * target, jnp.finfo(dtype).tiny)))
        scale = jnp.where(sign < 0, -1.0, 1.0).astype(dtype) * jnp.sqrt(jnp.maximum(factor, 0.0))
        particles = particles.replace(velocities=particles.velocities * scale)
        return particles.replace(heat=particles.heat + kinetic_energy(particles) - kinetic)
