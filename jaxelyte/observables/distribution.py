"""Distributions of angles with error bars, as results of the observable."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.observables.curve import RESULTS, plain
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import counted, plus_minus

Triplet = tuple[str, str, str]


@dataclass(frozen=True)
class AnglesResult(Rich):
    """Distribution of the angle at the centre of triplets.

    Attributes:
        triplet: chemical symbols, centre in the middle.
        r_max: Å, cut-offs of the two ends.
        edges: (bins + 1,), degrees.
        value: (bins,), p(θ) in 1/degree, ∫ p dθ = 1; NaN where there was no triplet at all.
        error: (bins,), standard error; NaN where the run is too short for one.
        mean: mean angle in degrees.
        mean_error: its standard error.
        triplets: mean number around one centre.
        overflow: centres, summed over samples, with more neighbours than there was room for: above 0, triplets are
            missing and the distribution is wrong.
        samples: configurations that were averaged, all replicas together.
        replicas: independent replicas.
    """

    triplet: Triplet
    r_max: tuple[float, float]
    edges: np.ndarray
    value: np.ndarray
    error: np.ndarray
    mean: float
    mean_error: float
    triplets: float
    overflow: int
    samples: int
    replicas: int

    @property
    def theta(self) -> np.ndarray:
        """Centres of the bins, degrees."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def relative(self) -> np.ndarray:
        """(bins,), p(θ) / (sin θ / 2) per radian, exactly over each bin: one where directions are independent."""
        return self.value / self._random()

    @property
    def relative_error(self) -> np.ndarray:
        """(bins,), its standard error."""
        return self.error / self._random()

    def _random(self) -> np.ndarray:
        """Distribution of random directions, mean over each bin, in 1/degree."""
        return -0.5 * np.diff(np.cos(np.radians(self.edges))) / np.diff(self.edges)

    def plot(self, ax: Any = None, *, relative: bool = False) -> Any:
        """Draw p(θ), or its ratio to that of random directions; returns the matplotlib axes."""
        from jaxelyte.plots import structure

        return structure.angles(self, ax, relative=relative)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: θ in degrees, p and its error in 1/degree, and the ratio to random directions."""
        columns = np.column_stack([self.theta, self.value, self.error, self.relative, self.relative_error])
        header = "theta_deg,p_1_deg,error_1_deg,relative,relative_error"
        with saving(path) as temporary:
            np.savetxt(temporary, columns, delimiter=",", header=header, comments="")

    def to_json(self, path: str | Path) -> None:
        """Write everything; `load_result` reads it back. NaN is stored as null."""
        content: dict[str, Any] = {"kind": "angles", "units": {"edges": "degree", "value": "1/degree", "r_max": "Å"}}
        for name in type(self).__dataclass_fields__:
            content[name] = plain(np.asarray(getattr(self, name)))
        write_text(path, json.dumps(content, allow_nan=False) + "\n")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> AnglesResult:
        """Rebuild from the content of a JSON file."""
        values = {name: content[name] for name in cls.__dataclass_fields__}
        for name in ("edges", "value", "error"):
            values[name] = np.array(values[name], np.float64)
        for name in ("mean", "mean_error", "triplets"):
            values[name] = math.nan if values[name] is None else values[name]
        values["triplet"], values["r_max"] = tuple(values["triplet"]), tuple(values["r_max"])
        return cls(**values)

    def __repr__(self) -> str:
        many = f", {self.replicas} replicas" if self.replicas > 1 else ""
        name = "-".join(self.triplet)
        mean = plus_minus(self.mean, self.mean_error)
        return (
            f"AnglesResult({name} within {self.r_max[0]:.4g} and {self.r_max[1]:.4g} Å: mean "
            f"{mean}°, {self.triplets:.2f} triplets around one {self.triplet[1]}, "
            f"{counted(self.samples, 'sample')}{many})"
        )


RESULTS["angles"] = lambda content, _path: AnglesResult.from_dict(content)
