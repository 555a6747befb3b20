"""Stochastic cell rescaling: a barostat of first order in time that samples the isothermal-isobaric ensemble."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.dynamics.integrators.base import Integrator, Particles, Scalar, kinetic_energy, missing_center, next_key
from jaxelyte.units import BOLTZMANN


class CellState(struct.PyTreeNode):
    """What the barostat knows of one system.

    Attributes:
        stress: of the interactions in eV/Å³, tension positive, at the last evaluation that it was asked of.
        change: ln(V'/V) of this step.
    """

    stress: Float[Array, "*replicas 3 3"]
    change: Float[Array, "*replicas"]


@dataclass(frozen=True)
class CellRescaling:
    """Isotropic stochastic cell rescaling (Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020)).

    The volume follows, written for λ = √V, whose noise does not depend on V,

        dλ = -(β_T λ / 2 τ_p) [P_0 - P - k_B T / (2 V)] dt + sqrt(k_B T β_T / (2 τ_p)) dW,

    by one Euler step of ``stride`` time steps; positions are multiplied by s = (V'/V)^(1/3) and velocities by 1/s. It
    acts between half a kick and the move of velocity Verlet, with the virial and the velocities of this very point, so
    forces are evaluated once a step as without it. Its stationary distribution is exp(-(U + K + P_0 V) / k_B T), up to
    the error of the Euler step, of the order of ``stride`` dt / τ_p.

    P = (2 K / 3 + virial / 3) / V. Where the total momentum is fixed at zero, 2 K / 3 averages to (N - 1) k_B T, and
    k_B T / V is added, since the centre of mass moves through the whole volume: the volume of an ideal gas of N atoms
    then has a gamma distribution of shape N + 1 and mean (N + 1) k_B T / P_0, as N free atoms have in any ensemble.

    What it does to K + U + P_0 V is counted as heat: K and P_0 V as they change, U by the trapezoidal rule from the
    virials before and after, whose error is of third order in ln(V'/V).

    Attributes:
        temperature: K.
        pressure: P_0 in eV/Å³.
        compressibility: β_T in Å³/eV; with τ_p it sets how fast the volume moves, not where to.
        tau: τ_p in fs.
        stride: time steps between two changes of the cell.
    """

    temperature: float
    pressure: float
    compressibility: float
    tau: float
    stride: int

    def init(self, particles: Particles) -> Particles:
        """Give one system the variables of the barostat."""
        dtype = particles.positions.dtype
        return particles.replace(barostat=CellState(jnp.zeros((3, 3), dtype), jnp.zeros((), dtype)))

    def due(self, step: Int[Array, ""]) -> Bool[Array, ""]:
        """True where the cell changes in the step that begins now."""
        return step % self.stride == 0

    def needs_stress(self, step: Int[Array, ""], dt: Scalar) -> Bool[Array, ""]:
        """True where the stress at the end of this step is read: by the next change of the cell, or to count heat."""
        return self.due(step) | self.due(step + 1) | (dt == 0)

    def act(self, integrator: Integrator, particles: Particles, step: Int[Array, ""], dt: Scalar) -> Particles:
        """Change the cells of all replicas, if this is the step."""

        def keep(particles: Particles) -> Particles:
            barostat = particles.barostat
            return particles.replace(barostat=barostat.replace(change=jnp.zeros_like(barostat.change)))

        change = jax.vmap(partial(self._rescale, integrator, self.stride * dt))
        return jax.lax.cond(self.due(step) & (dt > 0), change, keep, particles)

    def seen(self, particles: Particles, stress: Float[Array, "replicas 3 3"]) -> Particles:
        """All replicas after the evaluation that followed, with the heat of the change completed."""
        work = _half_work(particles.system.volumes, stress, particles.barostat.change)
        barostat = particles.barostat.replace(stress=stress)
        return particles.replace(heat=particles.heat + work, barostat=barostat)

    def conserved(self, particles: Particles) -> Float[Array, " replicas"]:
        """P_0 V in eV, which belongs to the conserved quantity."""
        return self.pressure * particles.system.volumes

    def largest_change(self, volume: float, timestep: float) -> float:
        """Eight standard deviations of the strain of one change, for a volume in Å³ and a time step in fs."""
        kt = BOLTZMANN * self.temperature
        width = math.sqrt(2.0 * kt * self.compressibility / (volume * self.tau) * self.stride * timestep)
        return 8.0 * width / math.sqrt(3.0)

    def _rescale(self, integrator: Integrator, time: Scalar, particles: Particles) -> Particles:
        key, particles = next_key(particles)
        system, state = particles.system, particles.barostat
        volume, kinetic = system.volume, kinetic_energy(particles)
        kt = BOLTZMANN * self.temperature
        virial = volume * jnp.trace(state.stress)  # with the other sign
        inside = (2.0 * kinetic - virial + 3.0 * missing_center(integrator, particles)) / (3.0 * volume)
        rate = self.compressibility / self.tau
        root = jnp.sqrt(volume)
        drift = -0.5 * rate * root * (self.pressure - inside - 0.5 * kt / volume) * time
        noise = jnp.sqrt(0.5 * kt * rate * time) * jax.random.normal(key, (), root.dtype)
        # Of a step through zero the logarithm is NaN, which the loop reports.
        change = 2.0 * jnp.log((root + drift + noise) / root)
        scale = jnp.exp(change / 3.0)
        heat = kinetic * (scale**-2 - 1.0) + self.pressure * volume * jnp.expm1(change)
        heat = heat + _half_work(volume, state.stress, change)
        return particles.replace(
            system=system.replace(positions=system.positions * scale, cell=system.cell * scale),
            velocities=particles.velocities / scale,
            heat=particles.heat + heat,
            barostat=state.replace(change=change),
        )


def _half_work(
    volume: Float[Array, "*replicas"], stress: Float[Array, "*replicas 3 3"], change: Float[Array, "*replicas"]
) -> Float[Array, "*replicas"]:
    """½ dU/d(ln V) d(ln V) in eV: one end of the trapezoidal rule."""
    return volume * jnp.trace(stress, axis1=-2, axis2=-1) * change / 6.0
