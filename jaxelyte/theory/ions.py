"""Ions in a dielectric: charges, hard cores and tables of short-range potentials, which the theories solve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import brief_repr
from jaxelyte.errors import InputError
from jaxelyte.observables.curve import Pair
from jaxelyte.theory.electrolyte import bjerrum, checked_solvent
from jaxelyte.theory.grid import FEWEST, LENGTHS, MOST, STEP
from jaxelyte.units import LITER

if TYPE_CHECKING:
    from jaxelyte.theory.hnc import HNCResult
    from jaxelyte.theory.result import PBResult

TERMS = ("exclusion", "fluctuation", "hole")
"""What the modified theory adds to the symmetrical Poisson-Boltzmann equation; see `modified_poisson_boltzmann`."""


@dataclass(frozen=True)
class IonModel:
    """Ions in a dielectric: charges, hard cores or tables of short-range potentials of mean force.

    Attributes:
        charges: of each species in e, cations first; two species of opposite sign.
        diameters: distance of closest approach in Å (hard spheres) of all pairs, or of each: ``{"Na-Cl": 3.0, …}`` or
            ``{("Na", "Cl"): 3.0, …}``; by default none.
        short_range: (r in Å, {pair: u in k_B T}): tables added to the Coulomb term; zero beyond the largest r, and a
            hard wall below the smallest r.
        permittivity: relative, of the solvent.
        temperature: K.
    """

    charges: Mapping[str, float]
    diameters: Mapping[Any, float] | float = 0.0
    short_range: tuple[np.ndarray, Mapping[Pair, np.ndarray]] | None = None
    permittivity: float = 78.3
    temperature: float = 298.15

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        charges = checks.mapping("charges", self.charges, "{'Na': 1.0, 'Cl': -1.0}")
        for name, charge in charges.items():
            checks.number(f"charges[{name!r}]", charge, "e")
        values = checks.quantities("charges", list(charges.values()), "charge", signed=True).tolist()
        if len(values) != 2 or values[0] * values[1] >= 0:
            raise InputError(f"charges = {dict(self.charges)} must be those of one cation and one anion")
        permittivity, temperature = checked_solvent(self.permittivity, self.temperature)
        object.__setattr__(self, "permittivity", permittivity)
        object.__setattr__(self, "temperature", temperature)
        known = {frozenset(pair) for pair in ((a, b) for a in self.charges for b in self.charges)}
        given = self.diameters if isinstance(self.diameters, Mapping) else {}
        if any(isinstance(key, str) for key in given):
            given = {tuple(key.split("-")) if isinstance(key, str) else key: size for key, size in given.items()}
            object.__setattr__(self, "diameters", given)
        wrong = [key for key in given if not isinstance(key, tuple) or frozenset(key) not in known]
        if wrong:
            raise InputError(
                f"diameters have pairs of {', '.join(self.charges)} as keys, such as {tuple(self.charges)} or "
                f"{'-'.join(self.charges)!r}, not {wrong[0]!r}"
            )
        if not given and not isinstance(self.diameters, Mapping):
            object.__setattr__(self, "diameters", checks.quantity("diameters", self.diameters, "diameter", zero=True))
        for pair, size in given.items():
            checks.quantity(f"diameters[{pair!r}]", size, "diameter", zero=True)
        if self.short_range is not None:
            self._check_tables()
        if not self._diameter(0, 0) and not self._diameter(0, 1) and self.short_range is None:
            raise InputError("ions without diameters or a short-range potential collapse; give one of the two")

    def _check_tables(self) -> None:
        """Raise `InputError` unless there is a table of finite numbers for each pair, at rising distances."""
        example = "(r, {('Li', 'Cl'): u, …}) with r in Å and u in k_B T"
        if not isinstance(self.short_range, tuple | list) or len(self.short_range) != 2:
            raise InputError(f"short_range must be {example}, not {checks.shown(self.short_range)}")
        r = checks.array("r of short_range", self.short_range[0], (None,), "Å")
        if len(r) < 2 or np.any(np.diff(r) <= 0) or r[0] < 0:
            raise InputError("r of short_range must rise from 0 or more, in Å")
        tables = checks.mapping("the tables of short_range", self.short_range[1], "{('Li', 'Cl'): u}")
        for pair, table in tables.items():
            checks.array(f"short_range of {pair!r}", table, (len(r),), "k_B T")
        for i in range(2):
            for j in range(2):
                self.table(i, j, r)

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the ions."""
        return tuple(self.charges)

    @property
    def valences(self) -> np.ndarray:
        """Charges in e, (2,)."""
        return np.array(list(self.charges.values()), np.float64)

    @property
    def bjerrum(self) -> float:
        """Bjerrum length in Å."""
        return bjerrum(self.permittivity, self.temperature)

    def hnc(self, concentration: float, *, points: int | None = None, step: float = STEP) -> HNCResult:
        """Solve the hypernetted-chain equations at one concentration of the salt.

        It fails for strongly coupled ions (2:2 salts in water, 1:1 in poor solvents), where the closure exaggerates
        pairs and then has no solution, and it is some percent off in the osmotic coefficient beyond 1 mol/L.

        Args:
            concentration: mol/L of the salt.
            points: of the grid; by default `grid.LENGTHS` screening lengths, and `grid.FEWEST` at least.
            step: of the grid in Å; hard cores are rounded to a multiple of it.

        Raises:
            InputError: a concentration that is not positive, or a grid too short for the screening length.
            JaxelyteError: no solution was found.
        """
        return self.hnc_curve([concentration], points=points, step=step)[0]

    def hnc_curve(
        self, concentrations: Sequence[float], *, points: int | None = None, step: float = STEP
    ) -> list[HNCResult]:
        """Solutions at rising concentrations, each started from the one before; see `hnc`."""
        from jaxelyte.theory import hnc

        return hnc.curve(self, concentrations, points=points, step=step)

    def osmotic_by_compressibility(
        self, concentrations: Sequence[float], *, points: int | None = None, step: float = STEP
    ) -> np.ndarray:
        """φ(c) of `hnc` by the compressibility; the curve has to begin dilute.

        (1/c) ∫ (1 + d ln γ±/d ln c) dc at each concentration, by a spline in √c from zero, where it is 1.
        """
        from jaxelyte.theory import hnc

        return hnc.osmotic_by_compressibility(self.hnc_curve(concentrations, points=points, step=step))

    def poisson_boltzmann(self, concentration: float, *, points: int | None = None, step: float = STEP) -> PBResult:
        """Solve the non-linear Poisson-Boltzmann equation around an ion of each species in turn.

        It knows no correlations between the ions of an atmosphere, nor the volume that they take from each other: the
        osmotic coefficient is too low beyond 0.5 mol/L of a 1:1 salt in water (by 7 % at 2 mol/L), and for multivalent
        ions at any concentration of interest. See `jaxelyte.theory.poisson_boltzmann` for the equations.

        Args:
            concentration: mol/L of the salt.
            points: of the grid; by default `grid.LENGTHS` screening lengths, and `grid.FEWEST` at least.
            step: of the grid in Å; hard cores are rounded to a multiple of it.

        Raises:
            InputError: a concentration that is not positive, or a grid too short for the screening length.
            JaxelyteError: no solution was found.
        """
        return self.poisson_boltzmann_curve([concentration], points=points, step=step)[0]

    def poisson_boltzmann_curve(
        self, concentrations: Sequence[float], *, points: int | None = None, step: float = STEP
    ) -> list[PBResult]:
        """Solutions at rising concentrations, which share the integrals from zero; see `poisson_boltzmann`."""
        from jaxelyte.theory import poisson_boltzmann

        return poisson_boltzmann.curve(self, concentrations, points=points, step=step)

    def modified_poisson_boltzmann(
        self,
        concentration: float,
        *,
        terms: Sequence[str] = TERMS,
        points: int | None = None,
        step: float = STEP,
    ) -> PBResult:
        """Solve a modified Poisson-Boltzmann equation: the volume of ions, and what it takes out of their atmospheres.

        It fails for strongly coupled ions (2:2 salts in water), whose response is linearised, and where the reference
        without charges is far from the fluid: potentials whose wells only the Coulomb repulsion keeps from filling. It
        takes many seconds where screening lengths are long (below 0.001 mol/L); a larger step helps there.
        See `jaxelyte.theory.modified_poisson_boltzmann` for the equations.

        Args:
            concentration: mol/L of the salt.
            terms: any of "exclusion", "fluctuation" and "hole"; with none it is the symmetrical Poisson-Boltzmann
                equation.
            points: of the grid; by default `grid.LENGTHS` screening lengths, and `grid.FEWEST` at least.
            step: of the grid in Å; hard cores are rounded to a multiple of it.

        Raises:
            InputError: a concentration that is not positive, an unknown term, or a grid too short for the screening
                length.
            JaxelyteError: no solution was found.
        """
        return self.modified_poisson_boltzmann_curve([concentration], terms=terms, points=points, step=step)[0]

    def modified_poisson_boltzmann_curve(
        self,
        concentrations: Sequence[float],
        *,
        terms: Sequence[str] = TERMS,
        points: int | None = None,
        step: float = STEP,
    ) -> list[PBResult]:
        """Solutions at rising concentrations, which share the integrals from zero; see `modified_poisson_boltzmann`."""
        from jaxelyte.theory import modified_poisson_boltzmann

        for term in checks.sequence("terms", terms, f"any of {', '.join(TERMS)}"):
            checks.choice("a term", term, TERMS)
        return modified_poisson_boltzmann.curve(self, concentrations, terms=terms, points=points, step=step)

    def densities(self, concentration: float) -> np.ndarray:
        """Particles per Å³ of each species, (2,), in the ratio that makes the salt neutral."""
        first, second = (abs(float(z)) for z in self.charges.values())
        whole = first.is_integer() and second.is_integer()
        common = math.gcd(int(first), int(second)) if whole else min(first, second)
        return concentration * LITER * np.array([second, first]) / common

    def kappa(self, concentration: float) -> float:
        """Inverse screening length, 1/Å."""
        return math.sqrt(4.0 * math.pi * self.bjerrum * float(np.sum(self.densities(concentration) * self.valences**2)))

    def points(self, concentration: float, step: float, points: int | None) -> int:
        """Points of a grid for a concentration.

        Raises:
            InputError: the points asked for are too few, or far more would be needed (dilute solutions).
        """
        from scipy.fft import next_fast_len

        step = checks.number("step", step, "Å", above=0.0, most=1.0)
        kappa = self.kappa(concentration)
        # Charges that do not matter need no room for screening.
        coupled = self.bjerrum * max(z * z for z in self.charges.values()) > 1e-3
        if points is None:
            least = math.ceil(LENGTHS / (kappa * step)) if coupled else 1
            if least > MOST:
                raise InputError(
                    f"at {concentration:g} mol/L the screening length is {1 / kappa:.4g} Å, and a grid of {step:g} Å "
                    f"over it has {least} points; use debye_hueckel, which is exact in this limit, a longer step=, or "
                    "points="
                )
            return next_fast_len(max(FEWEST, least), real=True) or FEWEST
        points = checks.count("points", points, least=16, most=2**24)
        if kappa * points * step < 8.0 and coupled:
            raise InputError(
                f"the grid of {points * step:.0f} Å is short compared with the screening length of {1 / kappa:.1f} Å "
                f"at {concentration} mol/L; increase points"
            )
        return points

    def edge(self, i: int, j: int, step: float) -> float:
        """Where two ions stop, Å: a hard core, or the beginning of the table, below which the Coulomb term is alone."""
        start = 0.0 if self.short_range is None else float(self.short_range[0][0])
        return round(max(self._diameter(i, j), start) / step) * step

    def table(self, i: int, j: int, r: np.ndarray) -> np.ndarray | None:
        """Short-range potential of two species in k_B T, without the hard core; None where there are no tables."""
        if self.short_range is None:
            return None
        at, tables = self.short_range
        names = self.species
        values = tables.get((names[i], names[j]), tables.get((names[j], names[i])))
        if values is None:
            raise InputError(f"the short-range potential of {names[i]}-{names[j]} is missing")
        return np.interp(r, np.asarray(at), np.asarray(values), right=0.0)

    def short_potential(self, r: np.ndarray) -> np.ndarray:
        """Potential without the Coulomb term in k_B T, (2, 2, points), infinite within hard cores."""
        out = np.zeros((2, 2, len(r)))
        for i in range(2):
            for j in range(2):
                table = self.table(i, j, r)
                out[i, j] = 0.0 if table is None else table
                out[i, j][r < self.edge(i, j, r[1] - r[0])] = np.inf
        return out

    def coulomb(self, r: np.ndarray) -> np.ndarray:
        """Coulomb potential in k_B T, (2, 2, points)."""
        return self.bjerrum * np.multiply.outer(np.outer(self.valences, self.valences), 1.0 / r)

    def _diameter(self, i: int, j: int) -> float:
        if not isinstance(self.diameters, Mapping):
            return float(self.diameters)
        names = self.species
        return float(self.diameters.get((names[i], names[j]), self.diameters.get((names[j], names[i]), 0.0)))


def rising(concentrations: Sequence[float]) -> list[float]:
    """Concentrations as floats.

    Raises:
        InputError: they are not positive, or do not rise.
    """
    given = checks.quantities("concentration", concentrations, "concentration", (None,), warn=False)
    wanted = given.tolist()
    if not wanted or any(np.diff(wanted) <= 0):
        raise InputError(f"concentrations = {wanted} mol/L must be positive and increasing")
    return wanted
