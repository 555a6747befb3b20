"""Potentials of mean force from radial distribution functions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks, units
from jaxelyte.arrays import finite
from jaxelyte.errors import InputError
from jaxelyte.observables.curve import Feature, Pair, RDFResult
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import plus_minus


class Well(NamedTuple):
    """A minimum or barrier of a potential of mean force: Å and eV, with standard errors."""

    position: float
    position_error: float
    energy: float
    energy_error: float

    def __str__(self) -> str:
        energy = plus_minus(1e3 * self.energy, 1e3 * self.energy_error, unit="meV")
        return f"{energy} at {plus_minus(self.position, self.position_error, unit='Å')}"


@dataclass(frozen=True)
class PMFResult(Rich):
    """Potential of mean force w(r) = -k_B T ln g(r) of a pair; zero at infinite dilution of correlations, g = 1.

    Attributes:
        pair: chemical symbols.
        temperature: K.
        r: (bins,), Å.
        value: (bins,), eV; infinite where the pair was never seen.
        error: (bins,), eV, standard error; NaN there.
        short_range: (bins,), eV, without the screened Coulomb energy of the pair; None if no charges were given.
        distribution: what it was made of.
    """

    pair: Pair
    temperature: float
    r: np.ndarray
    value: np.ndarray
    error: np.ndarray
    short_range: np.ndarray | None
    distribution: RDFResult

    @property
    def contact(self) -> Well:
        """The first minimum: ions in contact.

        Raises:
            InputError: there is none (g never rises above 1).
        """
        return self._well(self.distribution.first_peak())

    @property
    def barrier(self) -> Well:
        """The maximum behind the contact minimum.

        Raises:
            InputError: there is none within the range.
        """
        return self._well(self.distribution.first_minimum())

    @property
    def separated(self) -> Well:
        """The minimum behind the barrier: ions that share their solvent.

        Raises:
            InputError: there is none within the range.
        """
        return self._well(self.distribution.first_peak(beyond=self.distribution.first_minimum().position))

    def _well(self, feature: Feature) -> Well:
        scale = units.BOLTZMANN * self.temperature
        if not feature.height > 0:
            raise InputError(
                f"g of {'-'.join(self.pair)} vanishes at {feature.position:.2f} Å: the run never crossed it"
            )
        return Well(
            feature.position,
            feature.position_error,
            -scale * math.log(feature.height),
            scale * feature.height_error / feature.height,
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw w(r) in meV with a band of one standard error; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.pmf(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: r in Å, w and its error in eV, and the short-range part where there is one."""
        columns, names = [self.r, self.value, self.error], ["r_A", "w_eV", "error_eV"]
        if self.short_range is not None:
            columns, names = [*columns, self.short_range], [*names, "short_range_eV"]
        with saving(path) as temporary:
            np.savetxt(temporary, np.column_stack(columns), delimiter=",", header=",".join(names), comments="")

    def to_json(self, path: str | Path) -> None:
        """Write temperature, minima and barrier; what there is none of is null."""
        content: dict[str, Any] = {"pair": "-".join(self.pair), "temperature_K": self.temperature}
        for name in ("contact", "barrier", "separated"):
            try:
                well = getattr(self, name)
            except InputError:
                content[name] = None
                continue
            values = {"position_A": well.position, "position_error_A": well.position_error}
            values |= {"energy_eV": well.energy, "energy_error_eV": well.energy_error}
            content[name] = {k: finite(v) for k, v in values.items()}
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        lines = [f"PMF of {'-'.join(self.pair)} at {self.temperature:g} K"]
        seen = np.isfinite(self.value)
        if not seen[0]:
            nearest = f"below {self.r[np.argmax(seen)]:.2f} Å" if np.any(seen) else "at any distance"
            lines.append(f"  not sampled {nearest}")
        for name in ("contact", "barrier", "separated"):
            try:
                lines.append(f"  {name}: {getattr(self, name)}")
            except InputError:
                lines.append(f"  {name}: none")
        return "\n".join(lines)


def pmf(
    result: RDFResult,
    temperature: float,
    *,
    charges: Mapping[str, float] | None = None,
    permittivity: float | None = None,
) -> PMFResult:
    """Potential of mean force of a pair, and its short-range part without the screened Coulomb energy.

    It fails where g is not sampled: barriers of many k_B T are not crossed in a run, and error bars know nothing of
    basins that were never visited (several replicas tell). At finite concentration it is a potential of mean force in
    that solution, not at infinite dilution.

    Args:
        result: radial distribution function of one pair.
        temperature: K.
        charges: of the two species in e, to subtract q_i q_j e² / (4π ε0 ε_r r).
        permittivity: relative, of the solvent; needed with charges.

    Raises:
        InputError: several pairs, a temperature that is not positive, charges without permittivity or of other species.
    """
    checks.instance("result", result, RDFResult, "an RDFResult, of jaxelyte.rdf")
    if len(result) != 1:
        raise InputError(
            f"a potential of mean force is of one pair; pick one first, result['{'-'.join(result.pairs[0])}']"
        )
    temperature = checks.quantity("temperature", temperature, "temperature")
    if (charges is None) != (permittivity is None):
        raise InputError("the short-range part needs both charges and permittivity")
    pair, scale = result.pairs[0], units.BOLTZMANN * temperature
    seen = result.g > 0
    value = np.where(seen, -scale * np.log(np.where(seen, result.g, 1.0)), np.inf)
    error = np.where(seen, scale * result.error / np.where(seen, result.g, 1.0), np.nan)
    short = None
    if charges is not None and permittivity is not None:
        permittivity = checks.quantity("permittivity", permittivity, "permittivity")
        given = checks.mapping("charges", charges, "{'Na': 1.0, 'Cl': -1.0}")
        if any(name not in given for name in pair):
            raise InputError(f"charges = {given} lack one of the pair {'-'.join(pair)}")
        charges = {
            name: checks.quantity(f"charges[{name!r}]", given[name], "charge", zero=True, signed=True) for name in pair
        }
        short = value - units.COULOMB * charges[pair[0]] * charges[pair[1]] / (permittivity * result.r)
    return PMFResult(pair, float(temperature), result.r, value, error, short, result)
