"""Velocity Verlet at constant energy."""

from __future__ import annotations

from dataclasses import dataclass

from jaxelyte.dynamics.integrators.base import Particles, Scalar, drift, kick, kinetic_energy


@dataclass(frozen=True)
class VelocityVerlet:
    """Symplectic, second order: v += a dt/2, r += v dt, v += a dt/2. Conserves K + U to O(dt²).

    Source: Swope, Andersen, Berens and Wilson, J. Chem. Phys. 76, 637 (1982).
    """

    degrees: int

    def init(self, particles: Particles) -> Particles:
        return particles

    def open(self, particles: Particles, dt: Scalar) -> Particles:
        return kick(particles, dt / 2)

    def move(self, particles: Particles, dt: Scalar) -> Particles:
        return drift(particles, dt)

    def close(self, particles: Particles, dt: Scalar) -> Particles:
        return kick(particles, dt / 2)

    def conserved(self, particles: Particles) -> Scalar:
        return kinetic_energy(particles) + particles.energy - particles.heat
