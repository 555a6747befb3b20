"""What a free-energy file may say: frozen, validated models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from jaxelyte.cli.sections import EnsembleSection, OutputFolder, Section, SystemSection, Term
from jaxelyte.cli.values import Count, CountOrZero, Flag, Nodes, Positive, Seed, StartVelocities


class Stage(Section):
    """A potential on a path of several legs: the sum of its terms."""

    potential: list[Term] = Field(min_length=1)


class FreeEnergySection(Section):
    """See `jaxelyte.free_energy`; timestep in fs, target in eV, skin in Å, velocities in K or "atoms"."""

    steps: Count
    timestep: Positive = 0.5
    windows: Count = 8
    nodes: Nodes = "clenshaw-curtis"
    estimator: Literal["MBAR", "TI", "BAR"] = "MBAR"
    exchange: CountOrZero = 0
    adapt: Flag = False
    target: Positive | None = None
    sample_every: Count = 10
    every: Count | None = None
    equilibration: CountOrZero = 0
    seed: Seed = 0
    check: Flag = True
    output: OutputFolder = Path("free_energy")
    skin: Positive = 1.0
    minimize: Flag = False
    velocities: StartVelocities | None = None
    float64: Flag = False


class FreeEnergyFile(Section):
    """A whole free-energy file: two potentials, ``initial`` and ``final``, or a path of ``stage`` after ``stage``.

    Terms of ``common`` stand beside the mixture in all windows.
    """

    system: SystemSection
    initial: list[Term] = Field(default_factory=list)
    final: list[Term] = Field(default_factory=list)
    stage: list[Stage] = Field(default_factory=list)
    common: list[Term] = Field(default_factory=list)
    ensemble: EnsembleSection
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
