"""Nosé-Hoover chains: one for the system, or "massive", one for each degree of freedom."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxelyte.dynamics.integrators.base import Particles, Scalar, drift, kick, kinetic_per_degree
from jaxelyte.units import BOLTZMANN

SUZUKI_YOSHIDA = (1.0 / (2.0 - 2.0 ** (1.0 / 3.0)), -(2.0 ** (1.0 / 3.0)) / (2.0 - 2.0 ** (1.0 / 3.0)))
WEIGHTS = (SUZUKI_YOSHIDA[0], SUZUKI_YOSHIDA[1], SUZUKI_YOSHIDA[0])
"""Fourth-order weights, summing to one (Yoshida, Phys. Lett. A 150, 262, 1990)."""


@struct.dataclass
class Chain:
    """Positions (dimensionless) and velocities (1/fs) of the thermostats.

    Shape (chain,) for one chain, (chain, atoms, 3) for massive ones.
    """

    xi: Float[Array, "chain ..."]
    velocity: Float[Array, "chain ..."]


@dataclass(frozen=True)
class NoseHooverChain:
    """Velocity Verlet between two half steps of the chain (Martyna et al., Mol. Phys. 87, 1117, 1996).

    Equations: dv/dt = F/m - ξ̇_1 v, Q_1 ξ̈_1 = 2K - N_f k_B T - Q_1 ξ̇_1 ξ̇_2, and so on along the chain, with
    Q_1 = N_f k_B T τ² and Q_j = k_B T τ². Conserved: K + U + Σ ½ Q_j ξ̇_j² + k_B T (N_f ξ_1 + Σ_{j>1} ξ_j).
    Massive: the same for each Cartesian degree of freedom alone, N_f = 1 each; the total momentum is not conserved.
    One chain scales all velocities alike. It is not ergodic where energy hardly passes between the atoms (few, stiff or
    weakly coupled springs): each keeps its own share of the energy. Stochastic rescaling has the same fault; use
    massive chains or Langevin there.
    """

    degrees: int
    temperature: float
    tau: float
    length: int
    substeps: int
    massive: bool

    def init(self, particles: Particles) -> Particles:
        shape = (self.length, *(particles.positions.shape if self.massive else ()))
        zero = jnp.zeros(shape, particles.positions.dtype)
        return particles.replace(thermostat=Chain(zero, zero))

    def open(self, particles: Particles, dt: Scalar) -> Particles:
        return kick(self._half(particles, dt), dt / 2)

    def move(self, particles: Particles, dt: Scalar) -> Particles:
        return drift(particles, dt)

    def close(self, particles: Particles, dt: Scalar) -> Particles:
        return self._half(kick(particles, dt / 2), dt)

    def conserved(self, particles: Particles) -> Scalar:
        chain: Chain = particles.thermostat
        kt, freedoms = self._kt, self._freedoms
        masses = self._masses(chain.xi)
        kinetic = jnp.sum(0.5 * masses * chain.velocity**2)
        potential = kt * (freedoms * jnp.sum(chain.xi[0]) + jnp.sum(chain.xi[1:]))
        return jnp.sum(kinetic_per_degree(particles)) + particles.energy - particles.heat + kinetic + potential

    @property
    def _kt(self) -> float:
        return BOLTZMANN * self.temperature

    @property
    def _freedoms(self) -> int:
        return 1 if self.massive else self.degrees

    def _masses(self, like: Array) -> Array:
        unit = self._kt * self.tau**2
        factors = jnp.asarray([float(self._freedoms)] + [1.0] * (self.length - 1), like.dtype) * unit
        return factors.reshape((self.length,) + (1,) * (like.ndim - 1))

    def _half(self, particles: Particles, dt: Scalar) -> Particles:
        """Propagate the chain by dt/2 and scale the velocities."""
        kinetic = kinetic_per_degree(particles)
        twice = 2.0 * (kinetic if self.massive else jnp.sum(kinetic))
        chain: Chain = particles.thermostat
        xi, velocity = list(chain.xi), list(chain.velocity)
        masses = list(self._masses(chain.xi))
        scale = jnp.ones_like(twice)
        for _ in range(self.substeps):
            for weight in WEIGHTS:
                step = dt * (weight / self.substeps)
                velocity = self._sweep_down(velocity, masses, twice, step)
                factor = jnp.exp(-velocity[0] * step / 2)
                scale, twice = scale * factor, twice * factor**2
                xi = [x + v * step / 2 for x, v in zip(xi, velocity, strict=True)]
                velocity = self._sweep_up(velocity, masses, twice, step)
        return particles.replace(
            velocities=particles.velocities * scale, thermostat=Chain(jnp.stack(xi), jnp.stack(velocity))
        )

    def _force(self, j: int, velocity: list[Array], masses: list[Array], twice: Array) -> Array:
        if j == 0:
            return (twice - self._freedoms * self._kt) / masses[0]
        return (masses[j - 1] * velocity[j - 1] ** 2 - self._kt) / masses[j]

    def _one(self, j: int, velocity: list[Array], masses: list[Array], twice: Array, step: Array) -> Array:
        force = self._force(j, velocity, masses, twice) * step / 4
        if j == self.length - 1:
            return velocity[j] + force
        damping = jnp.exp(-velocity[j + 1] * step / 8)
        return (velocity[j] * damping + force) * damping

    def _sweep_down(self, velocity: list[Array], masses: list[Array], twice: Array, step: Array) -> list[Array]:
        for j in reversed(range(self.length)):
            velocity = [*velocity[:j], self._one(j, velocity, masses, twice, step), *velocity[j + 1 :]]
        return velocity

    def _sweep_up(self, velocity: list[Array], masses: list[Array], twice: Array, step: Array) -> list[Array]:
        for j in range(self.length):
            velocity = [*velocity[:j], self._one(j, velocity, masses, twice, step), *velocity[j + 1 :]]
        return velocity
