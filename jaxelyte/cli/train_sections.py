"""What a training file may say: frozen, validated models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from jaxelyte.cli.sections import OutputFolder, ReadingSection, Section, Term
from jaxelyte.cli.settings import section_of
from jaxelyte.cli.values import (
    CellOrFile,
    Count,
    File,
    Flag,
    Integer,
    Length,
    NotNegative,
    Number,
    Seed,
    Temperature,
    Text,
    Texts,
    TimeStep,
)
from jaxelyte.data import LabelKeys
from jaxelyte.models.config import NequIP
from jaxelyte.training.settings import Loss, Optimization


class CP2KFiles(Section):
    """CP2K's separate files; see `jaxelyte.read_cp2k`: cell is a file, or 3 lengths or 3 x 3 in Å.

    Elements of kinds: ``kinds = {Ow = "O"}``.
    """

    positions: File
    forces: File | None = None
    kinds: dict[Text, Text] | None = None
    cell: CellOrFile | None = None

    @field_validator("cell")
    @classmethod
    def _lengths_or_rows(cls, cell: str | list[float | list[float]] | None) -> str | list[float | list[float]] | None:
        rows = [len(row) if isinstance(row, list) else 1 for row in cell] if isinstance(cell, list) else [1, 1, 1]
        if rows not in ([1, 1, 1], [3, 3, 3]):
            raise ValueError(f"cell = {cell} in [[data.cp2k]] is a file, 3 lengths or 3 x 3 in Å")
        return cell


def label_keys(*names: str | None) -> LabelKeys:
    """Names of energy, forces, stress and virial, each as text in which a comma separates several."""
    return LabelKeys(*(None if one is None else tuple(part.strip() for part in one.split(",")) for one in names))


class DataSection(ReadingSection):
    """Labelled frames; see `jaxelyte.train`. Shares below 1, or numbers of frames."""

    files: list[File] = Field(default_factory=list)
    cp2k: list[CP2KFiles] = Field(default_factory=list)
    index: Text = ":"
    validation: NotNegative = 0.1
    test: NotNegative = 0.0
    split_seed: Seed = 0
    split: Literal["blocks", "random"] = "blocks"
    energy: Texts | None = None
    forces: Texts | None = None
    stress: Texts | None = None
    virial: Texts | None = None
    check_units: Flag = True
    drop_outliers: Flag | None = None
    exclude: list[Integer] = Field(default_factory=list)

    @model_validator(mode="after")
    def _some_source(self) -> DataSection:
        if not (self.files or self.cp2k):
            raise ValueError('[data] needs files = ["…"], or tables [[data.cp2k]] of CP2K\'s separate files')
        return self

    def keys(self) -> LabelKeys:
        """Where the labels are."""
        names = (self.energy, self.forces, self.stress, self.virial)
        return LabelKeys(*(tuple(one) if isinstance(one, list) else one for one in names))


class ModelSection(section_of(NequIP, optional=("r_max",))):
    """See `jaxelyte.NequIP`; r_max in Å. Or ``start``: the folder of a trained model to go on from."""

    start: File | None = None

    @model_validator(mode="after")
    def _new_or_given(self) -> ModelSection:
        if (self.start is None) == (self.model_dump()["r_max"] is None):
            raise ValueError('[model] needs either r_max = … for a new network, or start = "folder" of a trained one')
        if self.start is not None and self.model_fields_set != {"start"}:
            raise ValueError("[model] start = … keeps the hyperparameters of the trained network; leave the others out")
        return self


class LossSection(section_of(Loss)):
    """See `jaxelyte.Loss`."""


class OptimizationSection(section_of(Optimization)):
    """See `jaxelyte.Optimization`."""


class TrainSection(Section):
    """See `jaxelyte.train`; references in eV."""

    epochs: Count = 100
    batch_size: Count | None = None
    accumulate: Count = 1
    seed: Seed = 0
    output: OutputFolder = Path("train")
    scales: Literal["overall", "species", "none"] = "overall"
    train_scales: Flag = False
    references: dict[Text, Number] | None = None
    committee: Count | None = None
    devices: Count | None = None
    float64: Flag = False


class StabilitySection(Section):
    """See `jaxelyte.stability`: the report card, from that many validation frames; K, ps, fs."""

    frames: Count = 4
    temperatures: list[Temperature] = Field(default=[300.0, 400.0, 600.0], min_length=1)
    length: Length = 5.0
    timestep: TimeStep = 0.5
    every: Count = 20
    seed: Seed = 0


class TrainFile(Section):
    """A whole training file."""

    data: DataSection
    model: ModelSection
    baseline: list[Term] = Field(default_factory=list)
    loss: LossSection = LossSection()
    optimization: OptimizationSection = OptimizationSection()
    train: TrainSection = TrainSection()
    stability: StabilitySection | None = None
