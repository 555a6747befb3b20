"""What a run file may say: frozen, validated models; an unknown key is an error that names the nearest valid one."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from jaxelyte.data import LabelKeys
from jaxelyte.errors import InputError


class Section(BaseModel):
    """A table of the file; keys that it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Build(Section):
    """A box made from scratch; see `jaxelyte.build.electrolyte`."""

    ions: dict[str, int] = Field(default_factory=dict)
    waters: NonNegativeInt | None = None
    density: PositiveFloat | None = None
    concentration: PositiveFloat | None = None
    seed: int = 0


class SystemSection(Section):
    """Where the atoms come from: a file that ASE reads, or a box that is built."""

    file: Path | None = None
    frame: int = -1
    repeat: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1)
    build: Build | None = None

    @model_validator(mode="after")
    def _one_source(self) -> SystemSection:
        if (self.file is None) == (self.build is None):
            raise ValueError('[system] needs either file = "…" or a table build = {…}, and not both')
        return self


class NequIPTerm(Section):
    """A NequIP model from a folder, or a deployed file (``torchscript = true``)."""

    type: Literal["nequip"]
    path: Path
    torchscript: bool = False
    factor: float = 1.0


class CoulombTerm(Section):
    """See `jaxelyte.ScreenedCoulomb`."""

    type: Literal["coulomb"]
    charges: dict[str, float]
    permittivity: PositiveFloat = 1.0
    method: Literal["auto", "ewald", "p3m", "cutoff", "reaction-field"] = "auto"
    tolerance: PositiveFloat = 1e-4
    cutoff: PositiveFloat | None = None
    factor: float = 1.0


class LennardJonesTerm(Section):
    """See `jaxelyte.LennardJones`; sigma in Å, epsilon in eV."""

    type: Literal["lennard-jones"]
    sigma: dict[str, float]
    epsilon: dict[str, float]
    cutoff: PositiveFloat = 9.0
    switch: PositiveFloat | None = None
    mixing: Literal["lorentz-berthelot", "geometric"] = "lorentz-berthelot"
    tail_correction: bool | None = None
    shift: bool = False
    factor: float = 1.0


class WaterTerm(Section):
    """Flexible SPC/Fw water with Joung-Cheatham ions; see `jaxelyte.spc_fw`."""

    type: Literal["spc-fw"]
    tolerance: PositiveFloat = 1e-3
    cutoff: PositiveFloat = 9.0
    factor: float = 1.0


class BarrierTerm(Section):
    """See `jaxelyte.GaussianBarrier`; height in eV, center and width in Å."""

    type: Literal["gaussian-barrier"]
    species: tuple[str, str]
    height: float
    center: float
    width: PositiveFloat
    cutoff: PositiveFloat | None = None
    factor: float = 1.0


class RestraintTerm(Section):
    """Restraint of all atoms to where they start; see `jaxelyte.HarmonicRestraint`; k in eV/Å²."""

    type: Literal["restraint"]
    k: PositiveFloat
    factor: float = 1.0


Term = Annotated[
    NequIPTerm | CoulombTerm | LennardJonesTerm | WaterTerm | BarrierTerm | RestraintTerm, Field(discriminator="type")
]


BaselineTerm = Annotated[NequIPTerm | CoulombTerm | LennardJonesTerm | BarrierTerm, Field(discriminator="type")]
"""Terms that do not depend on the order of the atoms, so that they describe frames of any composition."""


class NVESection(Section):
    """Constant energy."""

    type: Literal["NVE"]


class NVTSection(Section):
    """Constant temperature; see `jaxelyte.NVT`."""

    type: Literal["NVT"]
    temperature: PositiveFloat
    thermostat: Literal["nose-hoover", "nose-hoover-massive", "langevin", "svr"] = "nose-hoover"
    tau: PositiveFloat = 50.0
    friction: PositiveFloat = 0.01
    chain: PositiveInt = 3
    substeps: PositiveInt = 1


class RunSection(Section):
    """See `jaxelyte.simulate`; timestep in fs, skin in Å, velocities in K or "atoms"."""

    steps: PositiveInt
    timestep: PositiveFloat = 0.5
    output: Path = Path("run")
    every: PositiveInt = 100
    sample_every: PositiveInt | None = None
    seed: int = 0
    replicas: PositiveInt = 1
    skin: PositiveFloat = 1.0
    minimize: bool = False
    velocities: float | Literal["atoms"] | None = None
    equilibration: NonNegativeInt | None = None
    save_velocities: bool = False
    extxyz: bool = False
    float64: bool = False


class RDFSection(Section):
    """See `jaxelyte.RDF`; pairs such as ["Na-O", "Na-Cl"], r_max and width in Å."""

    type: Literal["rdf"]
    pairs: list[str] = Field(min_length=1)
    r_max: PositiveFloat | None = None
    width: PositiveFloat | None = None
    bins: PositiveInt | None = None


class RunFile(Section):
    """A whole run file."""

    system: SystemSection
    potential: list[Term] = Field(min_length=1)
    ensemble: Annotated[NVESection | NVTSection, Field(discriminator="type")]
    run: RunSection
    observables: dict[str, RDFSection] = Field(default_factory=dict)


class DataSection(Section):
    """Labelled frames; see `jaxelyte.train`. Shares below 1, or numbers of frames."""

    files: list[Path] = Field(min_length=1)
    index: str = ":"
    validation: NonNegativeFloat = 0.1
    test: NonNegativeFloat = 0.0
    split_seed: int = 0
    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    check_units: bool = True

    def keys(self) -> LabelKeys:
        """Where the labels are."""
        return LabelKeys(self.energy, self.forces, self.stress)


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
    output: Path = Path("train")
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


File = TypeVar("File", RunFile, TrainFile)

TERMS: dict[str, type[Section]] = {
    "nequip": NequIPTerm,
    "coulomb": CoulombTerm,
    "lennard-jones": LennardJonesTerm,
    "spc-fw": WaterTerm,
    "gaussian-barrier": BarrierTerm,
    "restraint": RestraintTerm,
    "NVE": NVESection,
    "NVT": NVTSection,
}
SECTIONS: dict[str, type[Section]] = {
    "system": SystemSection,
    "run": RunSection,
    "build": Build,
    "data": DataSection,
    "model": ModelSection,
    "loss": LossSection,
    "optimization": OptimizationSection,
    "train": TrainSection,
    "stability": StabilitySection,
}


def load_config(path: str | Path) -> RunFile:
    """Read and validate a run file; relative paths in it are made relative to its folder.

    Raises:
        InputError: the file is missing, no TOML, or says something that is not valid; every problem is listed.
    """
    path = Path(path)
    return parse_config(_content(path, "run"), path.parent, str(path))


def load_training(path: str | Path) -> TrainFile:
    """Read and validate a training file; relative paths in it are made relative to its folder.

    Raises:
        InputError: see `load_config`.
    """
    path = Path(path)
    config = _validated(TrainFile, _content(path, "training"), f"{path} is not a valid training file")
    data = config.data.model_copy(update={"files": [path.parent / file for file in config.data.files]})
    own = config.train.model_copy(update={"output": path.parent / config.train.output})
    model = config.model
    if model.start is not None:
        model = model.model_copy(update={"start": path.parent / model.start})
    changes = {"data": data, "model": model, "train": own, "baseline": _terms_with_paths(config.baseline, path.parent)}
    return config.model_copy(update=changes)


def _content(path: Path, kind: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"there is no {kind} file {path}")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error


def parse_config(content: dict[str, Any], folder: Path, name: str) -> RunFile:
    """Validate the content of a run file; see `load_config`."""
    return _with_paths(_validated(RunFile, content, f"{name} is not a valid run file"), folder)


def _validated(model: type[File], content: dict[str, Any], complaint: str) -> File:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(problem, model)}" for problem in error.errors())
        raise InputError(f"{complaint}:\n{problems}") from error


def _explain(problem: Any, root: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"] if str(part) not in TERMS]
    where = ".".join(location)
    if problem["type"] == "extra_forbidden":
        section = ".".join(location[:-1])
        valid = _valid_keys(problem["loc"], root)
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.0)
        place = f"in [{section}]" if section else "at the top"
        return f"unknown key '{location[-1]}' {place}; did you mean '{near[0]}'? Valid keys: {', '.join(valid)}"
    if problem["type"] == "missing":
        return f"'{where}' is missing"
    if problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"'{where}' = {problem['input']!r}: {problem['msg']}"


def _valid_keys(location: tuple[Any, ...], root: type[BaseModel]) -> list[str]:
    """Keys of the innermost section that a location names."""
    model = root
    for part in location[:-1]:
        if part in TERMS:
            model = TERMS[part]
        elif part in SECTIONS:
            model = SECTIONS[part]
        elif part == "observables":
            model = RDFSection
    return list(model.model_fields)


def _with_paths(config: RunFile, folder: Path) -> RunFile:
    system = config.system
    if system.file is not None:
        system = system.model_copy(update={"file": folder / system.file})
    terms = _terms_with_paths(config.potential, folder)
    run = config.run.model_copy(update={"output": folder / config.run.output})
    return config.model_copy(update={"system": system, "potential": terms, "run": run})


def _terms_with_paths(terms: list[Any], folder: Path) -> list[Any]:
    return [
        term.model_copy(update={"path": folder / term.path}) if isinstance(term, NequIPTerm) else term for term in terms
    ]
