"""Ensembles as users name them: frozen, validated descriptions, static under jit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from jaxelyte import checks

Thermostat = Literal["nose-hoover", "nose-hoover-massive", "langevin", "svr"]


@dataclass(frozen=True)
class NVE:
    """Constant energy: velocity Verlet (Swope et al., J. Chem. Phys. 76, 637, 1982)."""


@dataclass(frozen=True)
class NVT:
    """Constant temperature.

    ``"nose-hoover"`` and ``"svr"`` control the total kinetic energy only. Where energy hardly passes between atoms
    (springs, crystals at low temperature, dilute gases, ions far apart) single atoms or species then stay hotter or
    colder than the mean for the whole run, although the temperature of the system is right: use
    ``"nose-hoover-massive"`` or ``"langevin"`` there, which act on each degree of freedom.

    Attributes:
        temperature: K.
        thermostat: ``"nose-hoover"``, one chain for the system; ``"nose-hoover-massive"``, a chain for each degree of
            freedom; ``"langevin"``, BAOAB splitting; ``"svr"``, stochastic velocity rescaling.
        tau: relaxation time in fs of the Nosé-Hoover chains (masses N_f k_B T τ² and k_B T τ²) and of svr.
        friction: 1/fs, of Langevin. Langevin dynamics slows diffusion: do not measure diffusivities with it.
        chain: thermostats in a Nosé-Hoover chain.
        substeps: Suzuki-Yoshida sweeps per half step of a Nosé-Hoover chain.

    Raises:
        InputError: a value that is no number or that the quantity cannot have, or an unknown thermostat.

    Warns:
        UserWarning: a value that is not ordinary, as in another unit.
    """

    temperature: float
    thermostat: Thermostat = "nose-hoover"
    tau: float = 50.0
    friction: float = 0.01
    chain: int = 3
    substeps: int = 1

    def __post_init__(self) -> None:
        checks.choice("thermostat", self.thermostat, get_args(Thermostat))
        for name, kind in (("temperature", "temperature"), ("tau", "relaxation time"), ("friction", "friction")):
            object.__setattr__(self, name, checks.quantity(name, getattr(self, name), kind))
        for name in ("chain", "substeps"):
            object.__setattr__(self, name, checks.count(name, getattr(self, name), most=100))


Ensemble = NVE | NVT
