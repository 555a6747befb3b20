"""Integrators, one algorithm a file, and the one path from an ensemble to its integrator."""

from __future__ import annotations

from jaxelyte.dynamics.ensembles import NVE, NVT, Ensemble
from jaxelyte.dynamics.integrators.base import Integrator
from jaxelyte.dynamics.integrators.langevin import Langevin
from jaxelyte.dynamics.integrators.nose_hoover import NoseHooverChain
from jaxelyte.dynamics.integrators.nve import VelocityVerlet
from jaxelyte.dynamics.integrators.svr import StochasticRescaling
from jaxelyte.errors import InputError


def make_integrator(ensemble: Ensemble, atoms: int, *, momentum_conserved: bool) -> Integrator:
    """The integrator of an ensemble.

    Args:
        ensemble: `NVE` or `NVT`.
        atoms: number of atoms.
        momentum_conserved: True if the potential is translation invariant; the centre of mass then takes three
            degrees of freedom away wherever the thermostat leaves it alone.

    Raises:
        InputError: no degree of freedom is left.
    """
    degrees = 3 * atoms - 3 if momentum_conserved else 3 * atoms
    if isinstance(ensemble, NVE):
        return VelocityVerlet(max(degrees, 1))
    if ensemble.thermostat == "langevin":
        return Langevin(3 * atoms, float(ensemble.temperature), float(ensemble.friction))
    massive = ensemble.thermostat == "nose-hoover-massive"
    if degrees == 0 and not massive:
        raise InputError(
            f"one free atom with its momentum removed has no degree of freedom for the thermostat "
            f"{ensemble.thermostat!r}; use 'langevin' or 'nose-hoover-massive'"
        )
    if ensemble.thermostat == "svr":
        return StochasticRescaling(degrees, float(ensemble.temperature), float(ensemble.tau))
    return NoseHooverChain(
        3 * atoms if massive else degrees,
        float(ensemble.temperature),
        float(ensemble.tau),
        ensemble.chain,
        ensemble.substeps,
        massive,
    )


__all__ = ["NVE", "NVT", "Integrator", "make_integrator"]
