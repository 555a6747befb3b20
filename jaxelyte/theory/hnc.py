"""Ornstein-Zernike theory of ions in a dielectric with the hypernetted-chain closure.

    h_ij = c_ij + Σ_k ρ_k c_ik * h_kj,      1 + h_ij = exp(-β u_ij + h_ij - c_ij),

for a potential of short-range parts and screened Coulomb terms. The long-range part of u and c is split off and
transformed analytically (Ng, J. Chem. Phys. 61, 2680 (1974)). Thermodynamics: the virial, the compressibility, and the
closed form of the chemical potential in this closure (Belloni, Chem. Phys. 99, 43 (1985)).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.observables.curve import Pair
from jaxelyte.theory.electrolyte import LITER, bjerrum_length

STEP = 0.025
"""Å between the points of the grid."""

LENGTHS = 14.0
"""Screening lengths that the grid spans at least; correlations are down to 1e-6 of their contact value there."""

FEWEST = 4096
"""Points of a grid at least; 102 Å."""

TOLERANCE = 1e-9
"""Largest residual of h - c_s at convergence."""


@dataclass(frozen=True)
class HNCResult:
    """Solution at one concentration, on the scale of McMillan and Mayer: a solvent of constant chemical potential.

    Attributes:
        concentration: mol/L of the salt.
        species: names of the ions.
        r: (points,), Å.
        g: radial distribution functions, (species, species, points).
        osmotic: osmotic coefficient by the virial.
        activity: mean ionic activity coefficient γ±.
        derivative: 1 + d ln γ± / d ln c by the compressibility.
        residual: largest error of the equations; how exact the numbers are as numerics, not as physics.
    """

    concentration: float
    species: tuple[str, ...]
    r: np.ndarray
    g: np.ndarray = field(repr=False)
    osmotic: float
    activity: float
    derivative: float
    residual: float

    def pair(self, a: str, b: str) -> np.ndarray:
        """G of two species, (points,).

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

        return plots.correlations(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: r in Å, then g of each pair."""
        pairs = [(a, b) for n, a in enumerate(self.species) for b in self.species[n:]]
        header = ",".join(["r_A", *(f"g_{a}-{b}" for a, b in pairs)])
        np.savetxt(
            path, np.column_stack([self.r, *(self.pair(*p) for p in pairs)]), delimiter=",", header=header, comments=""
        )


@dataclass(frozen=True)
class IonModel:
    """Ions in a dielectric: charges, hard cores or tables of short-range potentials of mean force.

    Attributes:
        charges: of each species in e, cations first; two species of opposite sign.
        diameters: distance of closest approach of each pair in Å (hard spheres), by default none.
        short_range: (r in Å, {pair: u in k_B T}): tables of what is added to the Coulomb term; zero beyond their end,
            and no two ions come closer than their beginning.
        permittivity: relative, of the solvent.
        temperature: K.
    """

    charges: Mapping[str, float]
    diameters: Mapping[Pair, float] | float = 0.0
    short_range: tuple[np.ndarray, Mapping[Pair, np.ndarray]] | None = None
    permittivity: float = 78.3
    temperature: float = 298.15

    def __post_init__(self) -> None:
        values = list(self.charges.values())
        if len(values) != 2 or values[0] * values[1] >= 0:
            raise InputError(f"charges = {dict(self.charges)} have to be those of one cation and one anion")
        bjerrum_length(self.permittivity, self.temperature)
        known = {frozenset(pair) for pair in ((a, b) for a in self.charges for b in self.charges)}
        given = self.diameters if isinstance(self.diameters, Mapping) else {}
        wrong = [key for key in given if not isinstance(key, tuple) or frozenset(key) not in known]
        if wrong:
            raise InputError(
                f"diameters have pairs of {', '.join(self.charges)} as keys, such as {tuple(self.charges)}; "
                f"not {wrong[0]!r}"
            )
        sizes = list(given.values()) if given else [self.diameters]
        if any(not (isinstance(size, int | float) and math.isfinite(size) and size >= 0) for size in sizes):
            raise InputError(f"diameters = {self.diameters!r} have to be numbers from 0, in Å")
        if not self._diameter(0, 0) and not self._diameter(0, 1) and self.short_range is None:
            raise InputError("ions without diameters or a short-range potential collapse; give one of the two")

    @property
    def species(self) -> tuple[str, ...]:
        """Names of the ions."""
        return tuple(self.charges)

    def hnc(self, concentration: float, *, points: int | None = None, step: float = STEP) -> HNCResult:
        """Solve at one concentration of the salt.

        It fails for strongly coupled ions (2:2 salts in water, 1:1 in poor solvents), where the closure exaggerates
        pairs and then has no solution, and it is some percent off in the osmotic coefficient beyond 1 mol/L.

        Args:
            concentration: mol/L of the salt.
            points: of the grid; by default `LENGTHS` screening lengths, and `FEWEST` at least.
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
        wanted = [float(c) for c in concentrations]
        if not wanted or any(not (math.isfinite(c) and c > 0) for c in wanted) or any(np.diff(wanted) <= 0):
            raise InputError(f"concentrations = {wanted} mol/L have to be positive and to rise")
        results, state = [], None
        # Concentrated solutions are reached from dilute ones, in steps of a factor of two at most.
        ladder = [min(0.05, wanted[0])]
        for concentration in wanted:
            while ladder[-1] * 2.0 < concentration:
                ladder.append(ladder[-1] * 2.0)
            ladder += [concentration] if concentration > ladder[-1] else []
        if points is None:
            least = LENGTHS / (self._kappa(ladder[0]) * step) if self._coupled() else 1.0
            points = max(FEWEST, 2 ** math.ceil(math.log2(least)))
        for concentration in ladder:
            result, state = self._solve(concentration, points, step, state)
            if concentration in wanted:
                results.append(result)
        return results

    def osmotic_by_compressibility(self, concentrations: Sequence[float], **grid: Any) -> np.ndarray:
        """φ(c) = (1/c) ∫ (1 + d ln γ±/d ln c) dc at each concentration, by a spline in √c from zero, where it is 1."""
        from scipy.interpolate import CubicSpline

        results = self.hnc_curve(concentrations, **grid)
        root = np.sqrt([0.0, *(r.concentration for r in results)])
        curve = CubicSpline(root, [1.0, *(r.derivative for r in results)])
        fine = np.linspace(0.0, root[-1], 4001)
        integrand = curve(fine) * 2.0 * fine  # dc = 2 √c d√c
        total = np.concatenate([[0.0], np.cumsum(0.5 * (integrand[1:] + integrand[:-1]) * np.diff(fine))])
        return np.interp(root[1:], fine, total) / root[1:] ** 2

    def _solve(self, concentration: float, points: int, step: float, state: Any) -> tuple[HNCResult, Any]:
        from scipy.optimize import NoConvergence, newton_krylov

        grid = _Grid(points, step)
        densities = self._densities(concentration)
        charges = np.array(list(self.charges.values()))
        bjerrum = bjerrum_length(self.permittivity, self.temperature)
        kappa = self._kappa(concentration)
        if kappa * points * step < 8.0 and self._coupled():
            raise InputError(
                f"the grid of {points * step:.0f} Å is short against the screening length of {1 / kappa:.1f} Å at "
                f"{concentration} mol/L; raise points"
            )
        alpha = 0.5  # 1/Å; any value gives the same solution
        products = charges[:, None] * charges
        long_r = bjerrum * products[..., None] * _erf(alpha * grid.r) / grid.r
        long_k = 4.0 * np.pi * bjerrum * products[..., None] * np.exp(-(grid.k**2) / (4.0 * alpha**2)) / grid.k**2
        total = self._potential(grid.r, bjerrum)
        short = np.where(np.isfinite(total), total - long_r, np.inf)
        boltzmann = np.exp(-np.clip(short, -50.0, 700.0))
        root = np.sqrt(densities[:, None] * densities)[..., None]

        def direct(gamma: np.ndarray) -> np.ndarray:
            return boltzmann * np.exp(np.clip(gamma, -50.0, 50.0)) - 1.0 - gamma

        def chain(gamma: np.ndarray) -> np.ndarray:
            found = grid.forward(direct(gamma))
            full = np.moveaxis(root * (found - long_k), -1, 0)
            total_k = np.moveaxis(np.linalg.solve(np.eye(2) - full, full), 0, -1) / root
            return grid.backward(total_k - found)

        upper = np.triu_indices(2)

        def residual(flat: np.ndarray) -> np.ndarray:
            gamma = _symmetric(flat, points, upper)
            return (chain(gamma) - gamma)[upper].ravel()

        flat = np.zeros(3 * points) if state is None else state
        for _ in range(30):  # a few damped steps of simple iteration bring it near
            flat = flat + 0.3 * residual(flat)
        try:
            flat = newton_krylov(residual, flat, f_tol=TOLERANCE, maxiter=60, method="lgmres")
        except (NoConvergence, ValueError, OverflowError, FloatingPointError, np.linalg.LinAlgError) as error:
            raise JaxelyteError(
                f"the hypernetted-chain equations found no solution at {concentration} mol/L; climb in smaller steps "
                "(hnc_curve), or the closure has none there"
            ) from error
        gamma = _symmetric(flat, points, upper)
        h = boltzmann * np.exp(gamma) - 1.0
        return self._result(concentration, grid, densities, h, gamma, long_r, bjerrum, residual(flat)), flat

    def _result(
        self,
        concentration: float,
        grid: _Grid,
        densities: np.ndarray,
        h: np.ndarray,
        gamma: np.ndarray,
        long_r: np.ndarray,
        bjerrum: float,
        residual: np.ndarray,
    ) -> HNCResult:
        r, step = grid.r, grid.step
        volume = 4.0 * np.pi * r**2 * step
        pairs = densities[:, None] * densities
        number = float(densities.sum())
        # c = c_s - long range; that of the latter vanishes by neutrality, summed over j.
        short = h - gamma
        excess = np.sum(densities[None, :, None] * (0.5 * h * (gamma + long_r) - short) * volume, axis=(1, 2))
        activity = math.exp(float(np.sum(densities * excess)) / number)
        virial = 0.0
        for i in range(2):
            for j in range(2):
                virial += pairs[i, j] * self._virial(i, j, r, h[i, j], gamma[i, j] + long_r[i, j], bjerrum)
        osmotic = 1.0 + 2.0 * np.pi / (3.0 * number) * virial
        integral = float(np.sum(pairs[..., None] * h * volume)) / number
        derivative = 1.0 / (1.0 + integral)
        if np.any(h[:, :, -1] > 1e-3):
            warnings.warn("correlations do not vanish at the end of the grid; raise points", stacklevel=5)
        return HNCResult(
            float(concentration),
            self.species,
            r,
            h + 1.0,
            float(osmotic),
            activity,
            derivative,
            float(np.abs(residual).max()),
        )

    def _virial(self, i: int, j: int, r: np.ndarray, h: np.ndarray, indirect: np.ndarray, bjerrum: float) -> float:
        """-∫ g β u' r³ dr, the contact term of a hard core included; of the bare Coulomb term h alone counts."""
        step = r[1] - r[0]
        charges = list(self.charges.values())
        strength = bjerrum * charges[i] * charges[j]
        # -u' r³ = z z l_B r, against h: what is left of g = 1 vanishes by neutrality.
        total = strength * float(np.sum(r * h) * step)
        edge = self._edge(i, j, step)
        table = self._table(i, j, r)
        if edge:
            outside = r > edge
            near = np.flatnonzero(outside)[:4]
            # y = g exp(β u) is smooth across the contact.
            inner = np.polynomial.Polynomial.fit(r[near], indirect[near], 3)(edge)
            at = strength / edge + (0.0 if table is None else float(np.interp(edge, r, table)))
            total += edge**3 * math.exp(float(inner) - at)
        if table is not None:
            slope = np.gradient(table, step)
            total -= float(np.sum((1.0 + h) * slope * r**3) * step)
        return total

    def _potential(self, r: np.ndarray, bjerrum: float) -> np.ndarray:
        """β u, (2, 2, points), infinite within hard cores."""
        charges = list(self.charges.values())
        step = r[1] - r[0]
        out = np.zeros((2, 2, len(r)))
        for i in range(2):
            for j in range(2):
                table = self._table(i, j, r)
                out[i, j] = bjerrum * charges[i] * charges[j] / r + (0.0 if table is None else table)
                out[i, j][r < self._edge(i, j, step)] = np.inf
        return out

    def _edge(self, i: int, j: int, step: float) -> float:
        """Where two ions stop, Å: a hard core, or the beginning of the table, below which the Coulomb term is alone."""
        start = 0.0 if self.short_range is None else float(self.short_range[0][0])
        return round(max(self._diameter(i, j), start) / step) * step

    def _diameter(self, i: int, j: int) -> float:
        if not isinstance(self.diameters, Mapping):
            return float(self.diameters)
        names = self.species
        return float(self.diameters.get((names[i], names[j]), self.diameters.get((names[j], names[i]), 0.0)))

    def _table(self, i: int, j: int, r: np.ndarray) -> np.ndarray | None:
        if self.short_range is None:
            return None
        at, tables = self.short_range
        names = self.species
        values = tables.get((names[i], names[j]), tables.get((names[j], names[i])))
        if values is None:
            raise InputError(f"the short-range potential of {names[i]}-{names[j]} is missing")
        return np.interp(r, np.asarray(at), np.asarray(values), right=0.0)

    def _kappa(self, concentration: float) -> float:
        """Inverse screening length, 1/Å."""
        squares = np.array(list(self.charges.values())) ** 2
        bjerrum = bjerrum_length(self.permittivity, self.temperature)
        return math.sqrt(4.0 * math.pi * bjerrum * float(np.sum(self._densities(concentration) * squares)))

    def _coupled(self) -> bool:
        """Whether charges matter at all, so that there is screening to have room for."""
        return bjerrum_length(self.permittivity, self.temperature) * max(z * z for z in self.charges.values()) > 1e-3

    def _densities(self, concentration: float) -> np.ndarray:
        """Particles per Å³ of each species, in the ratio that makes the salt neutral."""
        first, second = (abs(float(z)) for z in self.charges.values())
        whole = first.is_integer() and second.is_integer()
        common = math.gcd(int(first), int(second)) if whole else min(first, second)
        return concentration * LITER * np.array([second, first]) / common


class _Grid:
    """Half-integer points in r and k, between which the sine transform of type IV goes back and forth."""

    def __init__(self, points: int, step: float) -> None:
        self.step = step
        self.r = (np.arange(points) + 0.5) * step
        self.width = np.pi / (points * step)
        self.k = (np.arange(points) + 0.5) * self.width

    def forward(self, values: np.ndarray) -> np.ndarray:
        from scipy.fft import dst

        return 2.0 * np.pi * self.step / self.k * np.asarray(dst(self.r * values, type=4, axis=-1))

    def backward(self, values: np.ndarray) -> np.ndarray:
        from scipy.fft import dst

        return self.width / (4.0 * np.pi**2) / self.r * np.asarray(dst(self.k * values, type=4, axis=-1))


def _symmetric(flat: np.ndarray, points: int, upper: Any) -> np.ndarray:
    out = np.zeros((2, 2, points))
    out[upper] = flat.reshape(3, points)
    out[1, 0] = out[0, 1]
    return out


def _erf(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return erf(x)
