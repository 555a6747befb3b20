"""What a run file may say: frozen, validated models; an unknown key is an error that names the nearest valid one."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

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
SECTIONS: dict[str, type[Section]] = {"system": SystemSection, "run": RunSection, "build": Build}


def load_config(path: str | Path) -> RunFile:
    """Read and validate a run file; relative paths in it are made relative to its folder.

    Raises:
        InputError: the file is missing, no TOML, or says something that is not valid; every problem is listed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no run file {path}")
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    return parse_config(content, path.parent, str(path))


def parse_config(content: dict[str, Any], folder: Path, name: str) -> RunFile:
    """Validate the content of a run file; see `load_config`."""
    try:
        config = RunFile.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(problem)}" for problem in error.errors())
        raise InputError(f"{name} is not a valid run file:\n{problems}") from error
    return _with_paths(config, folder)


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"] if str(part) not in TERMS]
    where = ".".join(location)
    if problem["type"] == "extra_forbidden":
        section = ".".join(location[:-1])
        valid = _valid_keys(problem["loc"])
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.0)
        place = f"in [{section}]" if section else "at the top"
        return f"unknown key '{location[-1]}' {place}; did you mean '{near[0]}'? Valid keys: {', '.join(valid)}"
    if problem["type"] == "missing":
        return f"'{where}' is missing"
    if problem["type"] == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"'{where}' = {problem['input']!r}: {problem['msg']}"


def _valid_keys(location: tuple[Any, ...]) -> list[str]:
    """Keys of the innermost section that a location names."""
    model: type[BaseModel] = RunFile
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
    terms = [
        term.model_copy(update={"path": folder / term.path}) if isinstance(term, NequIPTerm) else term
        for term in config.potential
    ]
    run = config.run.model_copy(update={"output": folder / config.run.output})
    return config.model_copy(update={"system": system, "potential": terms, "run": run})
