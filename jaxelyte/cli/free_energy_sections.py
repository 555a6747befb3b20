"""What a free-energy file may say: frozen, validated models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from jaxelyte.cli.sections import NVTSection, OutputFolder, Section, SystemSection, Term


class Stage(Section):
    """A potential on a path of several legs: the sum of its terms."""

    potential: list[Term] = Field(min_length=1)


class FreeEnergySection(Section):
    """See `jaxelyte.free_energy`; timestep in fs, target in eV, skin in Å, velocities in K or "atoms"."""

    steps: PositiveInt
    timestep: PositiveFloat = 0.5
    windows: PositiveInt = 8
    nodes: Literal["gauss-legendre", "clenshaw-curtis", "trapezoid"] | list[float] = "clenshaw-curtis"
    estimator: Literal["MBAR", "TI", "BAR"] = "MBAR"
    exchange: NonNegativeInt = 0
    adapt: bool = False
    target: PositiveFloat | None = None
    sample_every: PositiveInt = 10
    every: PositiveInt | None = None
    equilibration: NonNegativeInt = 0
    seed: int = 0
    check: bool = True
    output: OutputFolder = Path("free_energy")
    skin: PositiveFloat = 1.0
    minimize: bool = False
    velocities: float | Literal["atoms"] | None = None
    float64: bool = False


class FreeEnergyFile(Section):
    """A whole free-energy file: two potentials, ``initial`` and ``final``, or a path of ``stage`` after ``stage``.

    Terms of ``common`` stand beside the mixture in all windows.
    """

    system: SystemSection
    initial: list[Term] = Field(default_factory=list)
    final: list[Term] = Field(default_factory=list)
    stage: list[Stage] = Field(default_factory=list)
    common: list[Term] = Field(default_factory=list)
    ensemble: NVTSection
    free_energy: FreeEnergySection

    @model_validator(mode="after")
    def _two_ends_or_a_path(self) -> FreeEnergyFile:
        ends = bool(self.initial) + bool(self.final)
        if self.stage and ends:
            raise ValueError("give tables [[initial]] and [[final]], or tables [[stage]] for a path, and not both")
        if not self.stage and ends < 2:
            raise ValueError(
                "a free energy needs terms [[initial]] and [[final]], or two or more tables [[stage]], each with its "
                "[[stage.potential]]"
            )
        if len(self.stage) == 1:
            raise ValueError("one table [[stage]] is no path; give two or more, each with its [[stage.potential]]")
        return self
