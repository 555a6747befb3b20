"""Ensembles as users name them: frozen, validated descriptions, static under jit."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class NPT:
    """Constant temperature and pressure: a thermostat of `NVT`, and a cell that changes its volume, not its shape.

    The barostat is stochastic cell rescaling (Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020)), which samples the
    isothermal-isobaric ensemble. It does not need the true compressibility: that only sets, with ``tau_p``, how fast
    the volume relaxes. Cells have to be periodic in all directions.

    Attributes:
        temperature: K. There is no barostat without one: its noise is that of a temperature, and without noise it would
            be Berendsen's, which samples no ensemble.
        pressure: bar.
        thermostat: see `NVT`; ``"svr"`` by default.
        tau: see `NVT`.
        friction: see `NVT`.
        chain: see `NVT`.
        substeps: see `NVT`.
        barostat: ``"scr"``, stochastic cell rescaling.
        coupling: ``"isotropic"``.
        stride: time steps between two changes of the cell.
        tau_p: relaxation time of the volume in fs.
        compressibility: 1/bar; that of water by default. Larger for gases: about one over the pressure.

    Raises:
        InputError: see `NVT`; also no temperature, or no pressure.

    Warns:
        UserWarning: a value that is not ordinary, as in another unit.
    """

    temperature: float
    pressure: float
    thermostat: Thermostat = field(default="svr", kw_only=True)
    tau: float | None = field(default=None, kw_only=True)
    friction: float | None = field(default=None, kw_only=True)
    chain: int | None = field(default=None, kw_only=True)
    substeps: int | None = field(default=None, kw_only=True)
    barostat: Literal["scr"] = field(default="scr", kw_only=True)
    coupling: Literal["isotropic"] = field(default="isotropic", kw_only=True)
    stride: int = field(default=10, kw_only=True)
    tau_p: float = field(default=1000.0, kw_only=True)
    compressibility: float = field(default=4.5e-5, kw_only=True)

    def __post_init__(self) -> None:
        if self.temperature is None:
            raise InputError(
                "NPT needs a temperature in K: without one the barostat has no noise and samples no ensemble "
                "(NPT(300.0, 1.0) is 300 K and 1 bar)"
            )
        if self.pressure is None:
            raise InputError("NPT needs a pressure in bar: NPT(300.0, 1.0) is 300 K and 1 bar")
        thermal = NVT(self.temperature, self.thermostat, self.tau, self.friction, self.chain, self.substeps)
        object.__setattr__(self, "_thermal", thermal)
        for name in ("temperature", "tau", "friction", "chain", "substeps"):
            object.__setattr__(self, name, getattr(thermal, name))
        checks.choice("barostat", self.barostat, ("scr",))
        checks.choice("coupling", self.coupling, ("isotropic",))
        pressure = checks.quantity("pressure", self.pressure, "set pressure", zero=True)
        object.__setattr__(self, "pressure", pressure)
        object.__setattr__(self, "stride", checks.count("stride", self.stride, most=10_000))
        object.__setattr__(self, "tau_p", checks.quantity("tau_p", self.tau_p, "relaxation time"))
        compressibility = checks.quantity("compressibility", self.compressibility, "compressibility")
        object.__setattr__(self, "compressibility", compressibility)

    @property
    def thermal(self) -> NVT:
        """The ensemble of its thermostat."""
        return self._thermal  # pyright: ignore[reportAttributeAccessIssue]


Ensemble = NVE | NVT | NPT
