"""What is known by name: potentials, ensembles and observables, those of the package and those that users declare.

A class or function is declared once. From its arguments follow the keys of its table in TOML files, its row in
``jaxelyte types``, and the name in stored potentials. Those of the package stand in tables of names, which are imported
on first use; those of other packages come by entry points (``jaxelyte.potentials``, ``jaxelyte.ensembles``,
``jaxelyte.observables``) or by a call of `register`. Files hold names, never import paths.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from jaxelyte import checks
from jaxelyte.errors import InputError

Made = TypeVar("Made", bound=Callable[..., Any])

DERIVED = {"derived": True}
"""Metadata of a field that `prepare` fills in, or that says where a value came from: no argument, never stored."""
INTERNAL = {"internal": True}
"""Metadata of a field that the constructor fills in: no argument of files, but stored."""
GUARD = {"guard": True}
"""Metadata of a field that changes only what is refused: stored, but no part of what is computed."""


def is_derived(field: dataclasses.Field[Any]) -> bool:
    """Whether a field is not stored."""
    return bool(field.metadata.get("derived"))


def is_guard(field: dataclasses.Field[Any]) -> bool:
    """Whether a field changes only what is refused."""
    return bool(field.metadata.get("guard"))


class Registry:
    """Classes, and functions that make one, of one kind by name.

    Attributes:
        kind: what they are, for messages.
        group: of entry points.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str], stored: tuple[str, ...] = ()) -> None:
        """A registry.

        Args:
            kind: what the entries are, for messages.
            group: of entry points.
            builtin: ``"module:name"`` by the name in files.
            stored: ``"module:name"`` of classes that stored potentials hold, but no file names.
        """
        self.kind, self.group = kind, group
        self._builtin, self._stored = dict(builtin), stored
        self._declared: dict[str, Callable[..., Any]] = {}

    def names(self) -> tuple[str, ...]:
        """All names that a file may use: those of the package first, then the others in alphabetical order."""
        others = {*self._declared, *(point.name for point in entry_points(group=self.group))}
        return (*self._builtin, *sorted(others - set(self._builtin)))

    def add(self, name: str, made: Callable[..., Any]) -> None:
        """Declare a class or function; see `register`."""
        taken = self._declared.get(name)
        if name in self._builtin or name in self._of_classes():
            raise InputError(f"{name!r} is a {self.kind} of jaxelyte; choose another name")
        if taken is not None and _place(taken) != _place(made):
            raise InputError(f"{name!r} is {_place(taken)} already; choose another name for {_place(made)}")
        self._declared[name] = made

    def find(self, name: str) -> Callable[..., Any]:
        """What a name stands for: that in files, or that of a class of the package.

        Raises:
            InputError: nothing has the name; the message has the nearest one and the remedy.
        """
        if name in self._declared:
            return self._declared[name]
        place = self._builtin.get(name) or self._of_classes().get(name)
        if place is not None:
            module, _, attribute = place.partition(":")
            return getattr(importlib.import_module(module), attribute)
        for point in entry_points(group=self.group, name=name):
            return point.load()
        near = checks.nearest(name, self.names())
        raise InputError(
            f"unknown {self.kind} {name!r}{f'; did you mean {near!r}?' if near else '.'} Known: "
            f"{', '.join(self.names())}. A class of your own has a name once the module that calls "
            "jaxelyte.register is imported (on the command line: jaxelyte --plugin FILE …)"
        )

    def name_of(self, made: type) -> str | None:
        """The name that stored potentials hold for a class; None for one that is not declared."""
        place = f"{made.__module__}:{made.__name__}"
        if place in (*self._builtin.values(), *self._stored):
            return made.__name__
        declared = next((name for name, one in self._declared.items() if one is made), None)
        if declared is not None or made.__module__.startswith("jaxelyte."):
            return declared
        points = (point for point in entry_points(group=self.group) if point.value == place)
        return next((point.name for point in points), None)

    def _of_classes(self) -> dict[str, str]:
        """Places by the name of the class; functions have none, since no stored potential holds them."""
        places = (*self._builtin.values(), *self._stored)
        return {name: place for place in places if (name := place.partition(":")[2])[:1].isupper()}


def _place(made: Callable[..., Any]) -> str:
    return f"{made.__module__}:{made.__qualname__}"


POTENTIALS = Registry(
    "potential",
    "jaxelyte.potentials",
    {
        "nequip": "jaxelyte.cli.models:network",
        "coulomb": "jaxelyte.potentials.coulomb:ScreenedCoulomb",
        "lennard-jones": "jaxelyte.potentials.lennard_jones:LennardJones",
        "soft-core": "jaxelyte.potentials.soft_core:SoftCoreLennardJones",
        "spc-fw": "jaxelyte.potentials.water:spc_fw",
        "gaussian-barrier": "jaxelyte.potentials.barrier:GaussianBarrier",
        "harmonic-bonds": "jaxelyte.potentials.bonded:HarmonicBonds",
        "harmonic-angles": "jaxelyte.potentials.bonded:HarmonicAngles",
        "restraint": "jaxelyte.potentials.restraints:restrained",
        "distance-restraint": "jaxelyte.potentials.distance:DistanceRestraint",
        "metadynamics": "jaxelyte.potentials.distance:Metadynamics",
    },
    stored=(
        "jaxelyte.potentials.base:Sum",
        "jaxelyte.potentials.base:Scaled",
        "jaxelyte.potentials.base:Mix",
        "jaxelyte.potentials.nequip:NequIPPotential",
        "jaxelyte.potentials.restraints:HarmonicRestraint",
    ),
)
ENSEMBLES = Registry(
    "ensemble",
    "jaxelyte.ensembles",
    {name: f"jaxelyte.dynamics.ensembles:{name}" for name in ("NVE", "NVT", "NPT")},
)
OBSERVABLES = Registry(
    "observable",
    "jaxelyte.observables",
    {
        "rdf": "jaxelyte.observables.rdf:RDF",
        "structure-factor": "jaxelyte.observables.structure_factor:StructureFactor",
        "angles": "jaxelyte.observables.angles:Angles",
        "pressure": "jaxelyte.observables.recorded:PressureTensor",
        "distance": "jaxelyte.observables.recorded:Distance",
    },
)
REGISTRIES = {registry.kind: registry for registry in (POTENTIALS, ENSEMBLES, OBSERVABLES)}

BASES = {
    "jaxelyte.potentials.base:Potential": "potential",
    "jaxelyte.observables.base:Observable": "observable",
    "jaxelyte.observables.recorded:Series": "observable",
}
"""Kinds by the base of a class."""


def register(name: str, *, kind: str | None = None) -> Callable[[Made], Made]:
    """Declare a potential or an observable of your own: TOML files take it by name, and potentials can be stored.

        @jxl.register("morse")
        @flax.struct.dataclass
        class Morse(PairPotential):
            …

    then stands in a run file as ``[[potential]]``, ``type = "morse"`` with the fields of the class as keys. A function
    may be declared as well, which makes the object; where its first argument is ``atoms`` it gets the start structure.

    Args:
        name: in files: lower-case letters, digits and hyphens.
        kind: "potential", "ensemble" or "observable"; needed for functions only.

    Returns:
        A decorator, which returns its argument unchanged.

    Raises:
        InputError: a name that cannot stand in a file or is taken, a class of another kind, or one that is no
            dataclass.
    """
    if not isinstance(name, str) or not name or not all(c.islower() or c.isdigit() or c == "-" for c in name):
        raise InputError(f"the name {name!r} must be lower-case letters, digits and hyphens, such as 'my-potential'")
    if kind is not None:
        checks.choice("kind", kind, tuple(REGISTRIES))

    def declare(made: Any) -> Any:
        found = kind or _kind_of(made)
        if found is None:
            raise InputError(
                f"{getattr(made, '__name__', made)!r} is neither a potential nor an observable; "
                f"give kind={' or '.join(map(repr, REGISTRIES))}"
            )
        if inspect.isclass(made) and "__dataclass_fields__" not in vars(made):
            how = "flax.struct.dataclass" if found == "potential" else "dataclasses.dataclass(frozen=True)"
            raise InputError(f"{made.__name__} is no dataclass; put @{how} below @register({name!r})")
        REGISTRIES[found].add(name, made)
        return made

    return declare


def _kind_of(made: Any) -> str | None:
    bases = [_place(one) for one in made.__mro__] if isinstance(made, type) else []
    return next((kind for base, kind in BASES.items() if base in bases), None)


@dataclasses.dataclass(frozen=True)
class Argument:
    """A key of a table in a file.

    Attributes:
        name: of the argument.
        default: `inspect.Parameter.empty` for one that has to be given.
        is_path: whether it is a path, which is relative to the folder of the file.
    """

    name: str
    default: Any
    is_path: bool

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is inspect.Parameter.empty


def arguments(made: Callable[..., Any]) -> tuple[Argument, ...]:
    """The keys of the table of a class or function: its arguments, without what it or `prepare` fills in."""
    return tuple(one for one in _all_arguments(made) if one.name != "atoms")


def takes_atoms(made: Callable[..., Any]) -> bool:
    """Whether it is made for given atoms, so that it describes no others."""
    first = next(iter(inspect.signature(made).parameters), None)
    return first == "atoms"


def _all_arguments(made: Callable[..., Any]) -> Iterator[Argument]:
    fields: dict[str, Any] = getattr(made, "__dataclass_fields__", {})
    for name, one in inspect.signature(made).parameters.items():
        field = fields.get(name)
        if field is not None and (is_derived(field) or field.metadata.get("internal")):
            continue
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            yield Argument(name, one.default, "Path" in str(one.annotation))
