"""What a report is made of: frames, what was recorded beside them, and what is known of the solution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxelyte.cli.known import WATER_PERMITTIVITY
from jaxelyte.cli.objects import SOLVENT
from jaxelyte.errors import InputError
from jaxelyte.units import LITER
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from jaxelyte.cli.sections import RunFile
    from jaxelyte.observables import RDFResult
    from jaxelyte.trajectory import Trajectory


class Salt(NamedTuple):
    """A 1:1 salt: symbols of the ions, and ion pairs per Å³."""

    cation: str
    anion: str
    density: float

    @property
    def name(self) -> str:
        """Such as NaCl."""
        return self.cation + self.anion

    @property
    def molarity(self) -> float:
        """mol/L."""
        return self.density / LITER


@dataclass(frozen=True)
class Sample:
    """Everything the sections of a report read.

    Attributes:
        trajectory: all frames.
        result: radial distribution functions of the pairs asked for; None where the frames have no density.
        discard: frames left out at the start.
        temperature: K; None where it is not known.
        charges: of the ions in e; None where they are not known.
        permittivity: relative, of the solvent.
        viscosity: Pa s, for the finite-size correction of diffusion; None for none.
        observables: results of the run by name, such as a recorded pressure tensor.
        fit: window of straight lines through displacements in fs; None for the default.
        stretches: parts of each replica whose spread gives the errors of what moves; None for the default.
        config: run file that the frames come from; None where it is not known.
        unknown: why the charges are not known, where the run says it.
        provenance: how the run was made and where numbers come from, by name.
        ensemble: thermostat and friction of the run; empty where they are not known.
    """

    trajectory: Trajectory
    result: RDFResult | None
    discard: int = 0
    temperature: float | None = None
    charges: Mapping[str, float] | None = None
    permittivity: float = WATER_PERMITTIVITY
    viscosity: float | None = None
    observables: Mapping[str, Any] = field(default_factory=dict)
    fit: tuple[float, float] | None = None
    stretches: int | None = None
    config: RunFile | None = None
    unknown: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    ensemble: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def symbols(self) -> list[str]:
        """Of all atoms."""
        from ase.data import chemical_symbols

        return [chemical_symbols[z] for z in self.trajectory.numbers[0]]

    @cached_property
    def species(self) -> list[str]:
        """By atomic number."""
        from ase.data import chemical_symbols

        return [chemical_symbols[z] for z in np.unique(self.trajectory.numbers[0])]

    @property
    def ions(self) -> list[str]:
        """Species that are not of the solvent."""
        return [name for name in self.species if name not in SOLVENT]

    @property
    def solvent(self) -> str | None:
        """The site that solvent molecules are counted by: O of water; None in runs of ions alone."""
        return "O" if {"O", "H"} <= set(self.species) else None

    @property
    def ions_alone(self) -> bool:
        """Charged particles without their solvent."""
        return self.solvent is None and any((self.charges or {}).values())

    @cached_property
    def volume(self) -> float:
        """Å³, mean over frames and replicas.

        Raises:
            InputError: the cell is not periodic.
        """
        if not all(self.trajectory.pbc):
            raise InputError("there is no volume: the cell is not periodic in all directions")
        return float(np.mean(np.abs(np.linalg.det(self.trajectory.cells.reshape(-1, 3, 3)))))

    @property
    def kelvin(self) -> float:
        """Temperature in K.

        Raises:
            InputError: it is not known.
        """
        if self.temperature is None:
            raise InputError("the temperature is not known; pass temperature= in K")
        return self.temperature

    @property
    def no_charges(self) -> str:
        """What to say where charges are needed and not known."""
        why = f": {self.unknown}" if self.unknown else ""
        return f"the charges of the ions are not known{why}; pass --charges, such as Na=1,Cl=-1"

    @property
    def salt(self) -> Salt:
        """The 1:1 salt.

        Raises:
            InputError: charges are not known, or it is another kind of salt.
        """
        if not self.charges:
            raise InputError(self.no_charges)
        counts = {name: self.symbols.count(name) for name in self.charges}
        cations = [name for name, q in self.charges.items() if q == 1.0]
        anions = [name for name, q in self.charges.items() if q == -1.0]
        if len(counts) != 2 or len(cations) != 1 or len(anions) != 1 or len(set(counts.values())) != 1:
            ions = ", ".join(f"{counts[name]} {name} of {q:+g} e" for name, q in self.charges.items())
            raise InputError(f"it is available for a single 1:1 salt only; the ions are {ions}")
        return Salt(cations[0], anions[0], counts[cations[0]] / self.volume)

    def curve(self, center: str, neighbor: str) -> RDFResult:
        """Radial distribution function of one pair, computed if it was not asked for."""
        from jaxelyte.observables import rdf

        if self.result is not None and (center, neighbor) in self.result.pairs:
            return self.result[center, neighbor]
        return rdf(self.trajectory, center, neighbor, discard=self.discard)

    def about(self) -> str:
        """Composition, conditions and length in a sentence."""
        frames = self.trajectory[self.discard :]
        counts = ", ".join(f"{self.symbols.count(name)} {name}" for name in self.species)
        parts = [counts]
        try:
            parts.append(f"{self.volume:,.0f} Å³")
            parts.append(f"{self.salt.molarity:.3g} mol/L {self.salt.name}")
        except InputError:
            pass
        parts += [] if self.temperature is None else [f"{self.temperature:.1f} K"]
        replicas = f" of {frames.replicas} replicas" if frames.replicas > 1 else ""
        parts.append(
            f"{counted(len(frames), 'frame')}{replicas}, {self.discard:,} before them left out as equilibration"
        )
        return "; ".join(parts) + "."
