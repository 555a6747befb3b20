"""Ensembles as users name them: frozen, validated descriptions, static under jit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from jaxelyte.errors import InputError

Thermostat = Literal["nose-hoover", "nose-hoover-massive", "langevin", "svr"]


@dataclass(frozen=True)
class NVE:
    """Constant energy: velocity Verlet (Swope et al., J. Chem. Phys. 76, 637, 1982)."""


@dataclass(frozen=True)
class NVT:
    """Constant temperature.

    Attributes:
        temperature: K.
        thermostat: ``"nose-hoover"``, one chain for the system; ``"nose-hoover-massive"``, a chain for each degree of
            freedom; ``"langevin"``, BAOAB splitting; ``"svr"``, stochastic velocity rescaling.
        tau: relaxation time in fs of the Nosé-Hoover chains (masses N_f k_B T τ² and k_B T τ²) and of svr.
        friction: 1/fs, of Langevin. Langevin dynamics slows diffusion: do not measure diffusivities with it.
        chain: thermostats in a Nosé-Hoover chain.
        substeps: Suzuki-Yoshida sweeps per half step of a Nosé-Hoover chain.

    Raises:
        InputError: a value that is not positive and finite, or an unknown thermostat.
    """

    temperature: float
    thermostat: Thermostat = "nose-hoover"
    tau: float = 50.0
    friction: float = 0.01
    chain: int = 3
    substeps: int = 1

    def __post_init__(self) -> None:
        if self.thermostat not in get_args(Thermostat):
            known = ", ".join(get_args(Thermostat))
            raise InputError(f"unknown thermostat {self.thermostat!r}; choose one of {known}")
        for name in ("temperature", "tau", "friction"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value <= 0:
                raise InputError(f"{name} must be a positive number, not {value!r}")
        for name in ("chain", "substeps"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")


Ensemble = NVE | NVT
