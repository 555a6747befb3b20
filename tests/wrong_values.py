"""What users may give by mistake, by the kind of an argument: values that no call may take without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

NAN, INF = float("nan"), float("inf")
ANYTHING: tuple[Any, ...] = (object(), len, Atoms, b"5", 1j, {"a": 1}, {1, 2}, np.array(["a", "b"]))
"""What is right for hardly any argument."""

SCALARS: tuple[Any, ...] = ("0.5", "abc", "", True, np.array([1.0, 2.0]), [1.0], (), {}, NAN, INF, -INF)


class Kind(NamedTuple):
    """Wrong values of one kind of argument.

    Attributes:
        values: each of them is wrong.
        optional: None is a right value.
        general: `ANYTHING` is wrong, too.
    """

    values: tuple[Any, ...]
    optional: bool = False
    general: bool = True

    def wrong(self) -> list[Any]:
        """All wrong values, None with them where it is one."""
        return [*self.values, *(ANYTHING if self.general else ()), *(() if self.optional else (None,))]


def number(*units: Any, zero: bool = False, negative: bool = False, infinite: bool = False, none: bool = False) -> Kind:
    """A positive number, with values in other units; 0, negative or infinite values may be right."""
    right = [value for value, is_right in ((INF, infinite), (-INF, infinite and negative)) if is_right]
    rest = tuple(v for v in SCALARS if not (isinstance(v, float) and v in right))
    sizes: tuple[Any, ...] = (1e30, *(() if zero else (0.0,)), *(() if negative else (-1.0, -1e30)))
    return Kind((*rest, *sizes, *units), none)


def count(*others: Any, zero: bool = False, none: bool = False) -> Kind:
    """A count, from 1 on or from 0 on."""
    return Kind((*SCALARS, 1.5, -1, -1e9, *(() if zero else (0,)), *others), none)


def seed() -> Kind:
    """A seed."""
    return count(2**32, 2**64, zero=True)


def flag() -> Kind:
    """True or False."""
    return Kind(("none", "yes", "no", "", 0, 1, 2.0, [], NAN, (True,), np.array([True, False])))


def choice(*others: Any, none: bool = False) -> Kind:
    """One of several names."""
    return Kind(("nonsense", "", 5, 0.5, True, [], (), {}, NAN, np.array([1.0]), *others), none)


def mapping(*others: Any, none: bool = False) -> Kind:
    """Numbers by chemical symbol."""
    wrong = ("NaCl", 5, 0.5, True, [1, 2], [("Na", 1)], NAN, np.array([1.0]), {"Xx": 1.0}, {5.5: 1.0}, {None: 1.0})
    values = ({"Na": "1+", "Cl": -1.0}, {"Na": NAN, "Cl": -1.0}, {"Na": None, "Cl": -1.0}, {"Na": [1.0], "Cl": -1.0})
    return Kind((*wrong, *values, {"Na": True, "Cl": -1.0}, {"Na": INF, "Cl": -1.0}, *others), none)


def array(*others: Any, none: bool = False) -> Kind:
    """An array of finite numbers."""
    return Kind(("abc", "", True, [], {}, [NAN, 1.0], ["a", "b"], [[1.0], [1.0, 2.0]], [None, 1.0], INF, *others), none)


def pair() -> Kind:
    """Two indices of atoms."""
    wrong = ("01", "", 5, True, [], {}, NAN, (0,), (0, 1, 2), (0, 0), (-1, 0), (0.5, 1), ("a", "b"), (0, 99), [[0, 1]])
    return Kind((*wrong, (0, NAN), (True, False), np.zeros((2, 2))))


def table(width: int) -> Kind:
    """Indices of atoms, some in a row."""
    good = list(range(width))
    wrong = ("01", "", 5, True, {}, NAN, [good, good[1:]], [[0] * width], [[-1, *good[1:]]], [[0.5, *good[1:]]])
    return Kind(
        (*wrong, [[*good, 9]], [[*good[:-1], 99]], [[*good[:-1], NAN]], [["a"] * width], np.zeros((2, 2, width)))
    )


def symbol(*others: Any, none: bool = False) -> Kind:
    """A chemical symbol."""
    return Kind(("Xx", "", "Na+", "water", 5, 0.5, True, [], (), {}, NAN, ["Na"], *others), none)


def structure() -> Kind:
    """One ``ase.Atoms``."""
    broken = Atoms("Na", positions=[[NAN, 0, 0]])
    flat = Atoms("Na", cell=[5.0, 0.0, 0.0], pbc=True)
    return Kind(("box.xyz", "", Path("box.xyz"), 5, 0.5, True, [], {}, NAN, np.zeros((3, 3)), Atoms(), broken, flat))


def path(*others: Any, none: bool = False) -> Kind:
    """A file or folder that is there."""
    return Kind(("", "/nowhere/at/all", Path("/nowhere/at/all"), 5, 0.5, True, [], (), NAN, *others), none)


def new_path(*others: Any, none: bool = False) -> Kind:
    """A file or folder to write."""
    return Kind(("", 5, 0.5, True, [], (), NAN, *others), none)


def potential(none: bool = False) -> Kind:
    """A potential."""
    return Kind(("lj", "", Path("model"), 5, 0.5, True, [], (), NAN, np.zeros(3), Atoms("Na")), none)


def ensemble(*others: Any) -> Kind:
    """NVE or NVT."""
    return Kind(("NVT", "", 300.0, 300, True, [], (), {}, NAN, *others))


def function(none: bool = False) -> Kind:
    """A function. Classes and built-in functions are some, so the general wrong values are left out."""
    return Kind(("abc", "", 5, 0.5, True, [], (), {}, NAN, np.zeros(3), b"5", object()), none, general=False)


def source() -> Kind:
    """A run, a trajectory, a file or a run folder."""
    return Kind(("", "/nowhere/at/all", Path("/nowhere"), 5, 0.5, True, [], (), {}, NAN, np.zeros((2, 3)), [Atoms()]))


def listed(*others: Any, none: bool = False) -> Kind:
    """A list of objects."""
    return Kind(("abc", "", 5, 0.5, True, [], (), {}, NAN, [None], ["a"], [5], *others), none)


def label(value: Any) -> str:
    """A short name of a value for messages."""
    text = " ".join(repr(value).split())
    return text if len(text) < 50 else text[:47] + "..."
