"""Settings of the loss and of the optimiser: frozen, checked once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxelyte import checks
from jaxelyte.errors import InputError

OPTIMIZERS = ("adam", "amsgrad", "adamw")
SCHEDULES = ("plateau", "cosine", "constant")

FROM_SCRATCH, FINE_TUNING = 0.04, 0.001
"""Default learning rates. The former would destroy the weights of a trained network."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Loss of a batch: w_E <(ΔE/N)²> + w_F <|ΔF|²/3> + w_S <Δσ²>, in (eV/atom)², (eV/Å)² and (eV/Å³)².

    Attributes:
        energy: weight of the squared error of the energy per atom.
        forces: weight of the squared error of a force component.
        stress: weight of the squared error of a stress component; 0 leaves stresses out (and saves their derivative).
        per_species: average force errors over each species first and then over species, so that a few ions weigh as
            much as the water; otherwise average over all atoms.
        huber: threshold in units of each term (eV/atom, eV/Å, eV/Å³) beyond which errors count linearly; None for
            squared errors throughout.
    """

    energy: float = 1.0
    forces: float = 1.0
    stress: float = 0.0
    per_species: bool = True
    huber: float | None = None

    def __post_init__(self) -> None:
        """Check the weights.

        Raises:
            InputError: negative weights, or all weights zero.
        """
        weights = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        for name, weight in weights.items():
            object.__setattr__(self, name, checks.not_negative(f"the weight of the loss {name}", weight))
        if not any((self.energy, self.forces, self.stress)):
            raise InputError("all weights of the loss are 0; there is nothing to learn")
        object.__setattr__(self, "per_species", checks.flag("per_species", self.per_species))
        if self.huber is not None:
            object.__setattr__(self, "huber", checks.positive("huber", self.huber))


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How the loss is minimised.

    The defaults gave the smallest error for NaCl in water (docs/validation.md): single frames, a high learning rate,
    and a cosine schedule that ends at zero. Most published potentials use the schedule "plateau" with a rate of 0.01.

    Attributes:
        optimizer: "adam", "amsgrad" or "adamw".
        learning_rate: initial rate (after the warm-up); None for 0.04, or 0.001 when fine-tuning.
        schedule: "plateau" (multiply by ``factor`` after ``patience`` epochs in which the validation error of the
            forces, or of the energies without forces, did not fall), "cosine" (to zero over all epochs), "constant".
        warmup: steps over which the learning rate rises linearly from zero.
        factor: factor by which the plateau rule multiplies the learning rate.
        patience: epochs that the plateau rule waits.
        min_learning_rate: training ends when the plateau rule reaches a smaller rate.
        weight_decay: decay rate of AdamW.
        clip_norm: largest norm of the gradient with respect to all parameters; None for no limit.
        ema: decay rate of the exponential moving average of the weights, which is validated and kept; the decay of
            update n is min(ema, (1 + n) / (10 + n)). None for no average.
        stop_after: number of epochs without a better validation error after which training ends; None for no limit.
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
            checks.choice(name, getattr(self, name), known)
        values: dict[str, float | int] = {
            "min_learning_rate": checks.not_negative("min_learning_rate", self.min_learning_rate),
            "weight_decay": checks.not_negative("weight_decay", self.weight_decay),
            "factor": checks.number("factor", self.factor, above=0.0, below=1.0),
            "patience": checks.count("patience", self.patience, least=0),
            "warmup": checks.count("warmup", self.warmup, least=0),
        }
        if self.learning_rate is not None:
            values["learning_rate"] = checks.number("learning_rate", self.learning_rate, above=0.0, most=10.0)
        if self.ema is not None:
            values["ema"] = checks.number("ema", self.ema, least=0.0, below=1.0)
        if self.clip_norm is not None:
            values["clip_norm"] = checks.positive("clip_norm", self.clip_norm)
        if self.stop_after is not None:
            values["stop_after"] = checks.count("stop_after", self.stop_after)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def resolved(self, *, trained: bool) -> Optimization:
        """The same settings with a learning rate, for a new or a trained network."""
        if self.learning_rate is not None:
            return self
        return replace(self, learning_rate=FINE_TUNING if trained else FROM_SCRATCH)
