"""Integrators, one algorithm a file, and the one path from an ensemble to its integrator."""

from __future__ import annotations

from jaxelyte.dynamics.ensembles import NPT, NVE, NVT, Ensemble
from jaxelyte.dynamics.integrators.base import Integrator
from jaxelyte.dynamics.integrators.langevin import Langevin
from jaxelyte.dynamics.integrators.nose_hoover import NoseHooverChain
from jaxelyte.dynamics.integrators.nve import VelocityVerlet
from jaxelyte.dynamics.integrators.rescaling import CellRescaling
from jaxelyte.dynamics.integrators.svr import StochasticRescaling
from jaxelyte.errors import InputError
from jaxelyte.units import BAR


def make_integrator(ensemble: Ensemble, atoms: int, *, momentum_conserved: bool) -> Integrator:
    """The integrator of an ensemble, without its barostat.

    Args:
        ensemble: see `Ensemble`.
        atoms: number of atoms.
        momentum_conserved: True if the potential is translation invariant; the centre of mass then takes three
            degrees of freedom away wherever the thermostat leaves it alone.

    Raises:
        InputError: no degree of freedom is left.
    """
    ensemble = ensemble.thermal if isinstance(ensemble, NPT) else ensemble
    degrees = 3 * atoms - 3 if momentum_conserved else 3 * atoms
    massive = isinstance(ensemble, NVT) and ensemble.thermostat == "nose-hoover-massive"
    langevin = isinstance(ensemble, NVT) and ensemble.thermostat == "langevin"
    if degrees == 0 and not (massive or langevin):
        name = "NVE()" if isinstance(ensemble, NVE) else f"the thermostat {ensemble.thermostat!r}"
        raise InputError(
            f"one free atom whose momentum is removed has no motion left under {name}; use NVT with the thermostat "
            "'langevin' or 'nose-hoover-massive', or tie the atom with a HarmonicRestraint"
        )
    if isinstance(ensemble, NVE):
        return VelocityVerlet(degrees)
    if langevin:
        assert ensemble.friction is not None
        return Langevin(3 * atoms, float(ensemble.temperature), float(ensemble.friction))
    assert ensemble.tau is not None
    if ensemble.thermostat == "svr":
        return StochasticRescaling(degrees, float(ensemble.temperature), float(ensemble.tau))
    assert ensemble.chain is not None
    assert ensemble.substeps is not None
    return NoseHooverChain(
        3 * atoms if massive else degrees,
        float(ensemble.temperature),
        float(ensemble.tau),
        ensemble.chain,
        ensemble.substeps,
        massive,
    )


def make_barostat(ensemble: Ensemble) -> CellRescaling | None:
    """The barostat of an ensemble; None where the cell is fixed."""
    if not isinstance(ensemble, NPT):
        return None
    return CellRescaling(
        temperature=ensemble.temperature,
        pressure=ensemble.pressure * BAR,
        compressibility=ensemble.compressibility / BAR,
        tau=ensemble.tau_p,
        stride=ensemble.stride,
    )


__all__ = ["NPT", "NVE", "NVT", "Integrator", "make_barostat", "make_integrator"]
