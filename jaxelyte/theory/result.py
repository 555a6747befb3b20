"""What a theory of ions returns: distribution functions and coefficients at one concentration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving


@dataclass(frozen=True)
class IonResult(Rich):
    """Solution at one concentration, on the scale of McMillan and Mayer: a solvent of constant chemical potential.

    Attributes:
        concentration: mol/L of the salt.
        species: names of the ions.
        r: (points,), Å.
        g: radial distribution functions, (species, species, points).
        osmotic: osmotic coefficient by the virial.
        activity: mean ionic activity coefficient γ±.
        derivative: 1 + d ln γ± / d ln c by the compressibility.
        residual: largest residual of the equations: the numerical accuracy, not that of the theory.
    """

    concentration: float
    species: tuple[str, ...]
    r: np.ndarray
    g: np.ndarray = field(repr=False)
    osmotic: float
    activity: float
    derivative: float
    residual: float

    __repr__ = brief_repr

    def pair(self, a: str, b: str) -> np.ndarray:
        """G of two species, that of b around a, (points,).

        Raises:
            InputError: a species that is not there.
        """
        for name in (a, b):
            if name not in self.species:
                raise InputError(f"there is no {name!r}; the ions are {', '.join(self.species)}")
        return self.g[self.species.index(a), self.species.index(b)]

    def plot(self, ax: Any = None) -> Any:
        """Draw g(r) of all pairs; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.correlations(self, ax)  # pyright: ignore[reportArgumentType]

    def to_csv(self, path: str | Path) -> None:
        """Write a table: r in Å, then g of each pair."""
        pairs = [(a, b) for n, a in enumerate(self.species) for b in self.species[n:]]
        header = ",".join(["r_A", *(f"g_{a}-{b}" for a, b in pairs)])
        with saving(path) as temporary:
            table = np.column_stack([self.r, *(self.pair(*p) for p in pairs)])
            np.savetxt(temporary, table, delimiter=",", header=header, comments="")


@dataclass(frozen=True)
class PBResult(IonResult):
    """Solution of a theory of the mean potential; see `IonResult` and `IonModel.poisson_boltzmann`.

    Attributes:
        potential: mean electrostatic potential around each species in k_B T / e, (species, points).
        osmotic_compressibility: osmotic coefficient by the compressibility; the difference from ``osmotic``
            measures the inconsistency of the theory.
    """

    potential: np.ndarray = field(repr=False)
    osmotic_compressibility: float

    __repr__ = brief_repr
