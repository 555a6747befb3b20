"""What is minimised and how: frozen, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from jaxelyte.errors import InputError

OPTIMIZERS = ("adam", "amsgrad", "adamw")
SCHEDULES = ("plateau", "cosine", "constant")

FROM_SCRATCH, FINE_TUNING = 0.04, 0.001
"""Learning rates by default. The former throws a trained network far away from where it was."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Loss of a batch: w_E <(ΔE/N)²> + w_F <|ΔF|²/3> + w_S <Δσ²>, in (eV/atom)², (eV/Å)² and (eV/Å³)².

    Attributes:
        energy: weight of the squared error of the energy per atom.
        forces: weight of the squared error of a force component.
        stress: weight of the squared error of a stress component; 0 leaves stresses out (and saves their derivative).
        per_species: average forces over each species first and then over species, so that few ions count as much as
            much water; otherwise over all atoms.
        huber: in multiples of one unit of each term (eV/atom, eV/Å, eV/Å³): errors beyond it count linearly; None for
            squares throughout.
    """

    energy: float = 1.0
    forces: float = 1.0
    stress: float = 0.0
    per_species: bool = True
    huber: float | None = None

    def __post_init__(self) -> None:
        """Check the weights.

        Raises:
            InputError: negative weights, or none at all.
        """
        weights = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"Loss({name}={weight!r}): weights are numbers from 0")
        if not any(weights.values()):
            raise InputError("all weights of the loss are 0; there is nothing to learn")
        if self.huber is not None and not (math.isfinite(self.huber) and self.huber > 0):
            raise InputError(f"Loss(huber={self.huber!r}) must be a positive number or None")


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How the loss is minimised.

    The defaults are the recipe with the smallest error that was found for NaCl in water (see the README): single
    frames, a high learning rate, and a cosine down to zero. The schedule "plateau" with a rate of 0.01 is the rule of
    most published potentials.

    Attributes:
        optimizer: "adam", "amsgrad" or "adamw".
        learning_rate: at the start, or after the warm-up; None for 0.04, or 0.001 where training goes on from a
            network that is trained already.
        schedule: "plateau" (multiply by ``factor`` after ``patience`` epochs in which the validation error of the
            forces, or of the energies where there are no forces, did not fall), "cosine" (to zero over all epochs),
            "constant".
        warmup: steps over which the learning rate rises linearly from zero.
        factor: of the plateau rule.
        patience: of the plateau rule, epochs.
        min_learning_rate: training ends when the plateau rule has gone below it.
        weight_decay: of AdamW.
        clip_norm: largest norm of the gradient of all parameters; None for no limit.
        ema: decay of the exponential moving average of the weights, which is validated and kept; the decay of update n
            is min(ema, (1 + n) / (10 + n)). None for no average.
        stop_after: end training after that many epochs without a better validation error; None to go on.
    """

    optimizer: str = "adam"
    learning_rate: float | None = None
    schedule: str = "cosine"
    warmup: int = 0
    factor: float = 0.5
    patience: int = 3
    min_learning_rate: float = 1e-6
    weight_decay: float = 1e-4
    clip_norm: float | None = None
    ema: float | None = 0.99
    stop_after: int | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            InputError: an unknown name or a value out of range.
        """
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise InputError(f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(known)}")
        _check_number("learning_rate", self.learning_rate, positive=True, optional=True)
        _check_number("min_learning_rate", self.min_learning_rate)
        _check_number("weight_decay", self.weight_decay)
        for name in ("patience", "warmup"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int):
                raise InputError(f"{name} = {getattr(self, name)!r} must be a whole number")
        if not 0 < self.factor < 1:
            raise InputError(f"factor = {self.factor!r} must lie between 0 and 1")
        if self.patience < 0 or self.warmup < 0:
            raise InputError(f"patience = {self.patience} and warmup = {self.warmup} must not be negative")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise InputError(f"ema = {self.ema!r} must lie in [0, 1), or be None")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise InputError(f"clip_norm = {self.clip_norm!r} must be positive, or None")
        if self.stop_after is not None and self.stop_after < 1:
            raise InputError(f"stop_after = {self.stop_after!r} must be at least one epoch, or None")

    def resolved(self, *, trained: bool) -> Optimization:
        """The same with a learning rate, for a new network or one that is trained already."""
        if self.learning_rate is not None:
            return self
        return replace(self, learning_rate=FINE_TUNING if trained else FROM_SCRATCH)


def _check_number(name: str, value: Any, *, positive: bool = False, optional: bool = False) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} = {value!r} must be a number")
    if value < 0 or (positive and value == 0):
        raise InputError(f"{name} = {value!r} must be {'positive' if positive else 'a number from 0'}")
