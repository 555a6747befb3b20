"""Ensembles as users name them: frozen, validated descriptions, static under jit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from jaxelyte import checks
from jaxelyte.errors import InputError

Thermostat = Literal["nose-hoover", "nose-hoover-massive", "langevin", "svr"]

_CHAINS: dict[str, float] = {"tau": 50.0, "chain": 3, "substeps": 1}
SETTINGS: dict[str, dict[str, float]] = {
    "nose-hoover": _CHAINS,
    "nose-hoover-massive": _CHAINS,
    "langevin": {"friction": 0.01},
    "svr": {"tau": 50.0},
}
"""What each thermostat can be told, with the defaults; fs and 1/fs."""


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
        tau: relaxation time in fs of the Nosé-Hoover chains (masses N_f k_B T τ² and k_B T τ²) and of svr;
            50 by default.
        friction: 1/fs, of Langevin; 0.01 by default. Langevin dynamics slows diffusion: do not measure diffusivities
            with it.
        chain: thermostats in a Nosé-Hoover chain; 3 by default.
        substeps: Suzuki-Yoshida sweeps per half step of a Nosé-Hoover chain; 1 by default.

    Settings of other thermostats are None.

    Raises:
        InputError: a value that is no number or that the quantity cannot have, an unknown thermostat, or a setting that
            the thermostat does not have.

    Warns:
        UserWarning: a value that is not ordinary, as in another unit.
    """

    temperature: float
    thermostat: Thermostat = "nose-hoover"
    tau: float | None = None
    friction: float | None = None
    chain: int | None = None
    substeps: int | None = None

    def __post_init__(self) -> None:
        checks.choice("thermostat", self.thermostat, get_args(Thermostat))
        settings = SETTINGS[self.thermostat]
        for name in ("tau", "friction", "chain", "substeps"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, settings.get(name))
            elif name not in settings:
                others = ", ".join(repr(one) for one, known in SETTINGS.items() if name in known)
                raise InputError(
                    f"{name} = {getattr(self, name)!r} is a setting of {others}; the thermostat "
                    f"{self.thermostat!r} has {', '.join(settings)}: leave {name} out, or choose another thermostat"
                )
        for name, kind in (("temperature", "temperature"), ("tau", "relaxation time"), ("friction", "friction")):
            if name in ("temperature", *settings):
                object.__setattr__(self, name, checks.quantity(name, getattr(self, name), kind))
        for name in ("chain", "substeps"):
            if name in settings:
                object.__setattr__(self, name, checks.count(name, getattr(self, name), most=100))


Ensemble = NVE | NVT
