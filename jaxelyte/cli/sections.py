"""What a run file may say, and the terms that a training file shares with it: frozen, validated models."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jaxelyte import checks
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
from jaxelyte.errors import InputError
from jaxelyte.interop.shipped import located
from jaxelyte.registry import ENSEMBLES, OBSERVABLES, POTENTIALS, Registry, arguments, takes_atoms

if TYPE_CHECKING:
    from ase import Atoms


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


class Declared(Section):
    """A table whose ``type`` is declared by name; its other keys are the arguments, see `jaxelyte.register`.

    The arguments are checked by the class or function itself, when it is built.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=False)
    registry: ClassVar[Registry]
    type: Text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            known = {one.name: one for one in arguments(self.registry.find(self.type))}
        except InputError as error:
            raise ValueError(str(error)) from error
        own = [name for name in type(self).model_fields if name != "type"]
        if unknown := [name for name in self.settings if name not in known]:
            raise ValueError(unknown_key(unknown[0], [*known, *own], f"of type {self.type!r}"))
        for name in self._paths():
            try:
                checks.file_path(name, self.settings[name])
            except InputError as error:
                raise ValueError(str(error)) from error
        if missing := [name for name, one in known.items() if one.required and name not in self.settings]:
            raise ValueError(f"type {self.type!r} needs {', '.join(missing)}")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that are given."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}

    def with_paths(self, folder: Path) -> Self:
        """The same with paths relative to a folder."""
        return self.model_copy(update={name: located(self.settings[name], folder=folder) for name in self._paths()})

    def _paths(self) -> list[str]:
        """The arguments that are given and are paths."""
        known = arguments(self.registry.find(self.type))
        return [one.name for one in known if one.is_path and one.name in self.settings]

    def made(self, atoms: Atoms | None = None) -> Any:
        """What the table describes.

        Args:
            atoms: the start structure, for what is made for given atoms.

        Raises:
            InputError: arguments that it refuses, or no atoms where they are needed.
        """
        make = self.registry.find(self.type)
        if not takes_atoms(make):
            return make(**self.settings)
        if atoms is None:
            raise InputError(
                f"a {self.registry.kind} of type {self.type!r} is made for given atoms, and there are none"
            )
        return make(atoms, **self.settings)


def unknown_key(name: str, valid: list[str], where: str) -> str:
    """The message about a key that a table does not have."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? Valid keys: {', '.join(valid)}" if near else "there are no keys beside type"
    return f"unknown key {name!r} {where}; {hint}"


class Term(Declared):
    """A potential, times a factor."""

    registry = POTENTIALS
    factor: Number = 1.0


class EnsembleSection(Declared):
    """An ensemble, such as `jaxelyte.NVT`."""

    registry = ENSEMBLES


class Recorded(Declared):
    """What is averaged or recorded in the loop, such as `jaxelyte.RDF`."""

    registry = OBSERVABLES


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


class RunFile(Section):
    """A whole run file."""

    system: SystemSection
    potential: list[Term] = Field(min_length=1)
    ensemble: EnsembleSection
    run: RunSection
    observables: dict[str, Recorded] = Field(default_factory=dict)
