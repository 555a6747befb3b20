"""What a run file may say, and the terms that a training file shares with it: frozen, validated models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jaxelyte.cli.values import (
    Cell,
    Count,
    CountOrZero,
    File,
    Flag,
    Integer,
    Number,
    Positive,
    Seed,
    StartVelocities,
    Text,
)


class Section(BaseModel):
    """A table of the file; keys that it does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Build(Section):
    """A box made from scratch; see `jaxelyte.build.electrolyte`."""

    ions: dict[Text, CountOrZero] = Field(default_factory=dict)
    waters: CountOrZero | None = None
    density: Positive | None = None
    concentration: Positive | None = None
    seed: Seed = 0


class ReadingSection(Section):
    """How files are read, where they do not state it themselves; see `jaxelyte.read`.

    ``cell`` is in Å: three lengths, six with angles in degrees, or nine numbers or 3 x 3.
    """

    format: Text | None = None
    topology: File | None = None
    cell: Cell | None = None
    units: Text | None = None
    elements: dict[Text, Text] | None = None

    def reading(self) -> dict[str, Any]:
        """The arguments of `jaxelyte.read` that are given."""
        names = ReadingSection.model_fields
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class SystemSection(ReadingSection):
    """Where the atoms come from: a file that `jaxelyte.read` takes, or a box that is built."""

    file: File | None = None
    frame: Integer = -1
    repeat: tuple[Count, Count, Count] = (1, 1, 1)
    build: Build | None = None

    @model_validator(mode="after")
    def _one_source(self) -> SystemSection:
        if (self.file is None) == (self.build is None):
            raise ValueError('[system] needs either file = "…" or a table build = {…}, and not both')
        if self.build is not None and self.reading():
            raise ValueError(f"[system] builds a box, so that {', '.join(self.reading())} has no file to be for")
        return self


class NequIPTerm(Section):
    """A potential that comes with jaxelyte, by name; a training folder or NequIP model, by path.

    ``torchscript = true`` allows a deployed file.
    """

    type: Literal["nequip"]
    path: File
    torchscript: Flag = False
    factor: Number = 1.0


class CoulombTerm(Section):
    """See `jaxelyte.ScreenedCoulomb`; the permittivity is 1 unless given, and has to be given beside a network."""

    type: Literal["coulomb"]
    charges: dict[Text, Number]
    permittivity: Positive | None = None
    method: Literal["auto", "ewald", "p3m", "cutoff", "reaction-field"] = "auto"
    tolerance: Positive = 1e-4
    cutoff: Positive | None = None
    factor: Number = 1.0


class LennardJonesTerm(Section):
    """See `jaxelyte.LennardJones`; sigma in Å, epsilon in eV."""

    type: Literal["lennard-jones"]
    sigma: dict[Text, Number]
    epsilon: dict[Text, Number]
    cutoff: Positive = 9.0
    switch: Positive | None = None
    mixing: Literal["lorentz-berthelot", "geometric"] = "lorentz-berthelot"
    tail_correction: Flag | None = None
    shift: Flag = False
    factor: Number = 1.0


class SoftCoreTerm(LennardJonesTerm):
    """Species that appear; see `jaxelyte.SoftCoreLennardJones`: λ is ``coupling``, from 0 to 1."""

    type: Literal["soft-core"]  # pyright: ignore[reportIncompatibleVariableOverride]
    appearing: list[Text] = Field(min_length=1)
    coupling: Number
    alpha: Positive = 0.5


class WaterTerm(Section):
    """Flexible SPC/Fw water with Joung-Cheatham ions; see `jaxelyte.spc_fw`."""

    type: Literal["spc-fw"]
    tolerance: Positive = 1e-3
    cutoff: Positive = 9.0
    factor: Number = 1.0


class BarrierTerm(Section):
    """See `jaxelyte.GaussianBarrier`; height in eV, center and width in Å."""

    type: Literal["gaussian-barrier"]
    species: tuple[Text, Text]
    height: Number
    center: Number
    width: Positive
    cutoff: Positive | None = None
    factor: Number = 1.0


class RestraintTerm(Section):
    """Restraint of all atoms to where they start; see `jaxelyte.HarmonicRestraint`; k in eV/Å²."""

    type: Literal["restraint"]
    k: Positive
    factor: Number = 1.0


Term = Annotated[
    NequIPTerm | CoulombTerm | LennardJonesTerm | SoftCoreTerm | WaterTerm | BarrierTerm | RestraintTerm,
    Field(discriminator="type"),
]


BaselineTerm = Annotated[NequIPTerm | CoulombTerm | LennardJonesTerm | BarrierTerm, Field(discriminator="type")]
"""Terms that do not depend on the order of the atoms, so that they describe frames of any composition."""


class NVESection(Section):
    """Constant energy."""

    type: Literal["NVE"]


class NVTSection(Section):
    """Constant temperature; see `jaxelyte.NVT`."""

    type: Literal["NVT"]
    temperature: Positive
    thermostat: Literal["nose-hoover", "nose-hoover-massive", "langevin", "svr"] = "nose-hoover"
    tau: Positive | None = None
    friction: Positive | None = None
    chain: Count | None = None
    substeps: Count | None = None


class NPTSection(Section):
    """Constant temperature and pressure (bar); see `jaxelyte.NPT`."""

    type: Literal["NPT"]
    temperature: Positive
    pressure: Number
    thermostat: Literal["nose-hoover", "nose-hoover-massive", "langevin", "svr"] = "svr"
    tau: Positive | None = None
    friction: Positive | None = None
    chain: Count | None = None
    substeps: Count | None = None
    barostat: Literal["scr"] = "scr"
    coupling: Literal["isotropic"] = "isotropic"
    stride: Count = 10
    tau_p: Positive = 1000.0
    compressibility: Positive = 4.5e-5


def _named(value: Any) -> Any:
    """A folder for results, as given; ``~`` is the home directory."""
    if not isinstance(value, str | Path):
        raise ValueError(f"output = {value!r} is not the name of a folder")
    if isinstance(value, str):
        if not value.strip() or "\0" in value:
            raise ValueError(f"output = {value!r} is not the name of a folder")
        return Path(value).expanduser()
    return value


OutputFolder = Annotated[Path, BeforeValidator(_named)]


class RunSection(Section):
    """See `jaxelyte.simulate`; timestep in fs, skin in Å, velocities in K or "atoms".

    ``precision`` is that of the products in networks, see `jaxelyte.Potential.compiled`.
    """

    steps: Count
    timestep: Positive = 0.5
    output: OutputFolder = Path("run")
    every: Count = 100
    sample_every: Count | None = None
    seed: Seed = 0
    replicas: Count = 1
    skin: Positive = 1.0
    minimize: Flag = False
    velocities: StartVelocities | None = None
    equilibration: CountOrZero | None = None
    save_velocities: Flag = False
    extxyz: Flag = False
    float64: Flag = False
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    @model_validator(mode="after")
    def _one_precision(self) -> RunSection:
        if self.float64 and self.precision != "float32":
            raise ValueError(f'precision = "{self.precision}" is for float32; leave out float64 = true, or precision')
        return self


class RDFSection(Section):
    """See `jaxelyte.RDF`; pairs such as ["Na-O", "Na-Cl"], r_max and width in Å."""

    type: Literal["rdf"]
    pairs: list[Text] = Field(min_length=1)
    r_max: Positive | None = None
    width: Positive | None = None
    bins: Count | None = None


class PressureSection(Section):
    """The pressure tensor, recorded at each sampling step; see `jaxelyte.PressureTensor`."""

    type: Literal["pressure"]


class DistanceSection(Section):
    """Distances of pairs of atoms, recorded at each sampling step; see `jaxelyte.Distance`; pairs = [[0, 1], …]."""

    type: Literal["distance"]
    pairs: list[tuple[CountOrZero, CountOrZero]] = Field(min_length=1)


Recorded = Annotated[RDFSection | PressureSection | DistanceSection, Field(discriminator="type")]


class RunFile(Section):
    """A whole run file."""

    system: SystemSection
    potential: list[Term] = Field(min_length=1)
    ensemble: Annotated[NVESection | NVTSection | NPTSection, Field(discriminator="type")]
    run: RunSection
    observables: dict[str, Recorded] = Field(default_factory=dict)
