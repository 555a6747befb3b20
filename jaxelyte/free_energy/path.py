"""Free energies along paths of several linear legs."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import finite, first_lines
from jaxelyte.dynamics import NVT
from jaxelyte.errors import InputError, RunInterruptedError
from jaxelyte.free_energy.contents import OF_SAMPLES, Contents, of_mixture
from jaxelyte.free_energy.difference import FreeEnergyResult, summary
from jaxelyte.free_energy.joint import JointError, combined
from jaxelyte.free_energy.mixing import free_energy
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.storage import output_folder, write_text
from jaxelyte.wording import counted, plus_minus

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class PathResult:
    """A free energy difference along several legs.

    Attributes:
        legs: results of the legs, in order; those done so far where the run was interrupted.
        completed: False if it was interrupted; ``value`` and ``error`` are then NaN.
        contents: what ``value`` is of, from the first potential to the last.
    """

    legs: tuple[FreeEnergyResult, ...]
    completed: bool = True
    contents: Contents = OF_SAMPLES

    @property
    def value(self) -> float:
        """eV, sum of the legs."""
        return sum(leg.value for leg in self.legs) if self.completed else math.nan

    @property
    def error(self) -> float:
        """eV, standard error; the legs are independent runs. NaN where the estimate of a leg has no error bar."""
        return self._joint.error

    @property
    def freedom(self) -> float:
        """Degrees of freedom of `error` (Student's t)."""
        return self._joint.freedom

    @property
    def _joint(self) -> JointError:
        if not self.completed:
            return JointError(math.nan, math.nan)
        return combined([(leg.error, leg.freedom[leg.estimator]) for leg in self.legs])

    @property
    def refused(self) -> dict[int, str]:
        """Numbers of the legs, from one on, whose estimate has no error bar, and why."""
        return {n: leg.refused[leg.estimator] for n, leg in enumerate(self.legs, 1) if leg.estimator in leg.refused}

    def to_json(self, path: str | Path) -> None:
        """Write the sum and the legs; "refused" says why the estimate of a leg has no error bar."""
        legs = [
            {
                "free_energy_eV": finite(leg.value),
                "error_eV": finite(leg.error),
                "refused": self.refused.get(n, ""),
                "contents": leg.contents.as_dict(),
            }
            for n, leg in enumerate(self.legs, 1)
        ]
        content = {
            "free_energy_eV": finite(self.value),
            "error_eV": finite(self.error),
            "degrees_of_freedom": finite(self.freedom),
            "contents": self.contents.as_dict(),
            "legs": legs,
        }
        write_text(path, json.dumps(content, indent=1) + "\n")

    def __repr__(self) -> str:
        head = summary(self.value, self.error) if self.completed else "interrupted"
        lines = [
            f"  leg {n}: {plus_minus(leg.value, leg.error, unit='eV')}"
            + (f", no error bar: {self.refused[n]}" if n in self.refused else "")
            for n, leg in enumerate(self.legs, 1)
        ]
        contents = "\n".join(self.contents.lines())
        return f"{head} along {counted(len(self.legs), 'leg')}\n{contents}\n{first_lines(lines, 'legs')}"


def free_energy_path(
    potentials: Sequence[Potential], atoms: Atoms, ensemble: NVT, *, output: str | Path | None = None, **options: Any
) -> PathResult:
    """Free energy of the last potential relative to the first, leg by leg; see `free_energy`.

    For an atom that appears: ``[ghost, ghost + cavity, full + cavity, full]`` with a soft repulsion as the cavity,
    which grows before anything singular is mixed in. Each leg starts from the last structure of the leg before. After
    Ctrl-C the legs done so far come back; ``resume=True`` goes on where they ended.

    Args:
        potentials: two or more.
        atoms: start structure.
        ensemble: `NVT`.
        output: folder; each leg has its own in it, ``leg1``, ``leg2``, …
        options: of `free_energy`; the legs take different seeds, made from ``seed``.

    Raises:
        InputError: fewer than two potentials; see also `free_energy`.

    Warns:
        UserWarning: those of `free_energy`, with the number of the leg.
    """
    potentials = checks.sequence("potentials", potentials, "potentials")
    output = None if output is None else output_folder(output)
    if len(potentials) < 2:
        raise InputError(f"a path needs at least two potentials, not {len(potentials)}")
    seed = checks.random_seed(options.get("seed", 0))
    legs: list[FreeEnergyResult] = []
    first: Any = atoms[0] if isinstance(atoms, list) and atoms else atoms

    def result(completed: bool) -> PathResult:
        contents = of_mixture(as_potential(potentials[0]), as_potential(potentials[-1]), first) if legs else OF_SAMPLES
        return PathResult(tuple(legs), completed, contents)

    for number, (initial, final) in enumerate(pairwise(potentials), 1):
        own: dict[str, Any] = {} if output is None else {"output": output / f"leg{number}"}
        if number > 1:  # the same random numbers would make the errors of all legs the same
            own |= {"seed": int(np.random.SeedSequence([seed, number]).generate_state(1)[0])}
        try:
            with _named(f"leg {number}"):
                leg = free_energy(initial, final, atoms, ensemble, **{**options, **own})
        except RunInterruptedError:
            return result(completed=False)
        legs.append(leg)
        assert leg.run is not None
        if not leg.run.completed:
            return result(completed=False)
        last = leg.run.atoms
        # The replica in the window nearest to the end of this leg is the best start of the next one.
        windows = leg.run.observables["energies"].values[-1, :, 2]  # pyright: ignore[reportAttributeAccessIssue]
        atoms = last[int(np.argmax(windows))] if isinstance(last, list) else last
        options |= {"overlap": 0.0}  # ghosts of the leg before may lie on other atoms
    return result(completed=True)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Warnings in it begin with a name."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # the filters of the caller count below
            yield
    finally:
        for one in caught:
            text = f"{name}: {one.message}" if issubclass(one.category, UserWarning) else str(one.message)
            warnings.warn_explicit(text, one.category, one.filename, one.lineno)
