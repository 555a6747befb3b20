"""What a training file may say: frozen, validated models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from jaxelyte.cli.sections import BaselineTerm, OutputFolder, ReadingSection, Section
from jaxelyte.data import LabelKeys


class CP2KFiles(Section):
    """CP2K's separate files; see `jaxelyte.read_cp2k`: cell is a file, or 3 lengths or 3 x 3 in Å.

    Elements of kinds: ``kinds = {Ow = "O"}``.
    """

    positions: Path
    forces: Path | None = None
    kinds: dict[str, str] | None = None
    cell: str | list[float | list[float]] | None = None

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

    files: list[Path] = Field(default_factory=list)
    cp2k: list[CP2KFiles] = Field(default_factory=list)
    index: str = ":"
    validation: NonNegativeFloat = 0.1
    test: NonNegativeFloat = 0.0
    split_seed: int = 0
    energy: str | list[str] | None = None
    forces: str | list[str] | None = None
    stress: str | list[str] | None = None
    virial: str | list[str] | None = None
    check_units: bool = True
    drop_outliers: bool | None = None
    exclude: list[int] = Field(default_factory=list)

    @model_validator(mode="after")
    def _some_source(self) -> DataSection:
        if not (self.files or self.cp2k):
            raise ValueError('[data] needs files = ["…"], or tables [[data.cp2k]] of CP2K\'s separate files')
        return self

    def keys(self) -> LabelKeys:
        """Where the labels are."""
        names = (self.energy, self.forces, self.stress, self.virial)
        return LabelKeys(*(tuple(one) if isinstance(one, list) else one for one in names))


class ModelSection(Section):
    """See `jaxelyte.NequIP`; r_max in Å. Or ``start``: the folder of a trained model to go on from."""

    start: Path | None = None
    r_max: PositiveFloat | None = None
    num_layers: PositiveInt = 3
    l_max: NonNegativeInt = 2
    num_features: PositiveInt = 32
    parity: bool = True
    num_basis: PositiveInt = 8
    trainable_bessel: bool = True
    polynomial_cutoff_p: PositiveFloat = 6.0
    invariant_layers: NonNegativeInt = 2
    invariant_neurons: PositiveInt = 64
    avg_num_neighbors: PositiveFloat | None = None
    use_sc: bool = True
    resnet: bool = False
    zbl: bool = False

    @model_validator(mode="after")
    def _new_or_given(self) -> ModelSection:
        if (self.start is None) == (self.r_max is None):
            raise ValueError('[model] needs either r_max = … for a new network, or start = "folder" of a trained one')
        if self.start is not None and self.model_fields_set != {"start"}:
            raise ValueError("[model] start = … keeps the hyperparameters of the trained network; leave the others out")
        return self


class LossSection(Section):
    """See `jaxelyte.Loss`."""

    energy: NonNegativeFloat = 1.0
    forces: NonNegativeFloat = 1.0
    stress: NonNegativeFloat = 0.0
    per_species: bool = True
    huber: PositiveFloat | None = None


class OptimizationSection(Section):
    """See `jaxelyte.Optimization`."""

    optimizer: Literal["adam", "amsgrad", "adamw"] = "adam"
    learning_rate: PositiveFloat | None = None
    schedule: Literal["plateau", "cosine", "constant"] = "cosine"
    warmup: NonNegativeInt = 0
    factor: PositiveFloat = 0.5
    patience: NonNegativeInt = 3
    min_learning_rate: NonNegativeFloat = 1e-6
    weight_decay: NonNegativeFloat = 1e-4
    clip_norm: PositiveFloat | None = None
    ema: NonNegativeFloat | None = 0.99
    stop_after: PositiveInt | None = None


class TrainSection(Section):
    """See `jaxelyte.train`; references in eV."""

    epochs: PositiveInt = 100
    batch_size: PositiveInt | None = None
    seed: int = 0
    output: OutputFolder = Path("train")
    scales: Literal["overall", "species", "none"] = "overall"
    train_scales: bool = False
    references: dict[str, float] | None = None
    committee: PositiveInt | None = None
    devices: PositiveInt | None = None
    float64: bool = False


class StabilitySection(Section):
    """See `jaxelyte.stability`: the report card, from that many validation frames; K, ps, fs."""

    frames: PositiveInt = 4
    temperatures: list[PositiveFloat] = Field(default=[300.0, 400.0, 600.0], min_length=1)
    length: PositiveFloat = 5.0
    timestep: PositiveFloat = 0.5
    every: PositiveInt = 20
    seed: int = 0


class TrainFile(Section):
    """A whole training file."""

    data: DataSection
    model: ModelSection
    baseline: list[BaselineTerm] = Field(default_factory=list)
    loss: LossSection = LossSection()
    optimization: OptimizationSection = OptimizationSection()
    train: TrainSection = TrainSection()
    stability: StabilitySection | None = None
