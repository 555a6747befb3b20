"""Partial structure factors with error bars, as results of the observable."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxelyte.arrays import brief
from jaxelyte.errors import MissingError
from jaxelyte.observables.blocks import FEWEST, naive_error
from jaxelyte.observables.curve import RESULTS, Pair, pair_named, plain
from jaxelyte.observables.scattering import Weighting, scattering_factors, total_weights
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import counted, plus_minus


@dataclass(frozen=True)
class StructureFactorResult(Rich):
    """Partial structure factors S_ab(k) of all pairs of species (Ashcroft and Langreth), and a weighted total.

    Only bins that hold reciprocal lattice vectors are there. ``result["Na", "Cl"]`` picks a pair.

    Attributes:
        species: chemical symbols.
        counts: (species,), atoms of each.
        pairs: of species, each once.
        k: (bins,), 1/Å, mean length of the vectors in each bin.
        edges: (bins, 2), 1/Å, of each bin.
        vectors: (bins,), vectors in each bin, of a half space, mean over the samples.
        value: (pairs, bins), S_ab, dimensionless.
        error: (pairs, bins), standard error; NaN where the run is too short for one.
        weighting: "x-ray", "neutron" or None.
        total: (bins,), S(k) of Faber and Ziman with these weights; None without weighting.
        total_error: (bins,), its standard error.
        mean_factor: (bins,), Σ c_a f_a, in electrons or fm: (total - 1) · mean_factor² is the interference per atom.
        samples: configurations that were averaged, all replicas together.
        replicas: independent replicas.
        stretches: (stretches, pairs, bins), S_ab of a few long stretches of the run, for the errors of other totals.
    """

    species: tuple[str, ...]
    counts: np.ndarray
    pairs: tuple[Pair, ...]
    k: np.ndarray
    edges: np.ndarray
    vectors: np.ndarray
    value: np.ndarray
    error: np.ndarray
    weighting: Weighting | None
    total: np.ndarray | None
    total_error: np.ndarray | None
    mean_factor: np.ndarray | None
    samples: int
    replicas: int
    stretches: np.ndarray = field(repr=False)

    def __getitem__(self, pair: Pair | str) -> tuple[np.ndarray, np.ndarray]:
        """S_ab of a pair and its standard error, (bins,) each; the order of the pair does not matter.

        Raises:
            MissingError: the pair is not there.
        """
        wanted = pair_named(pair)
        for number, known in enumerate(self.pairs):
            if wanted in (known, known[::-1]):
                return self.value[number], self.error[number]
        names = ", ".join("-".join(p) for p in self.pairs)
        raise MissingError(f"no pair {'-'.join(map(str, wanted))} in this result; it holds {names}")

    def weighted(self, weighting: Weighting, *, scatterers: Mapping[str, str] | None = None) -> StructureFactorResult:
        """The same partials with another total; its error comes from the spread of the stretches of the run.

        Args:
            weighting: "x-ray" or "neutron".
            scatterers: ions or isotopes instead of neutral atoms of natural composition: ``{"H": "D"}``.

        Raises:
            InputError: see `StructureFactor`.
        """
        factors = scattering_factors(self.species, self.k, weighting, scatterers=scatterers)
        weights = total_weights(factors, self.counts)
        enough = len(self.stretches) >= FEWEST
        error = naive_error(np.sum(weights * self.stretches, axis=1)[:, None])
        return replace(
            self,
            weighting=weighting,
            total=1.0 + np.sum(weights * (self.value - self.alike[:, None]), axis=0),
            total_error=error if enough else np.full(len(self.k), np.nan),
            mean_factor=self.counts @ factors / self.counts.sum(),
        )

    @property
    def alike(self) -> np.ndarray:
        """(pairs,), δ_ab: one for pairs of one species, which S_ab tends to at large k."""
        return np.array([float(a == b) for a, b in self.pairs])

    def plot(self, ax: Any = None, *, partials: bool | None = None) -> Any:
        """Draw the curves with bands of one standard error; returns the matplotlib axes.

        Args:
            ax: matplotlib axes to draw into.
            partials: draw the pairs; by default where there is no total.
        """
        from jaxelyte.plots import structure

        return structure.structure_factor(self, ax, partials=partials)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: k in 1/Å, S and its error of each pair, and the total where there is one."""
        header, columns = ["k_1_A"], [self.k]
        for number, (a, b) in enumerate(self.pairs):
            header += [f"S_{a}-{b}", f"error_{a}-{b}"]
            columns += [self.value[number], self.error[number]]
        if self.total is not None and self.total_error is not None:
            header += [f"S_{self.weighting}", f"error_{self.weighting}"]
            columns += [self.total, self.total_error]
        with saving(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([repr(float(x)) for x in row] for row in zip(*columns, strict=True))

    def to_json(self, path: str | Path) -> None:
        """Write everything; `load_result` reads it back. NaN is stored as null."""
        content: dict[str, Any] = {"kind": "structure_factor", "units": {"k": "1/Å", "edges": "1/Å"}}
        for name in type(self).__dataclass_fields__:
            value = getattr(self, name)
            content[name] = plain(value) if isinstance(value, np.ndarray) else value
        write_text(path, json.dumps(content, allow_nan=False) + "\n")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> StructureFactorResult:
        """Rebuild from the content of a JSON file."""
        values = {name: content[name] for name in cls.__dataclass_fields__}
        for name, value in values.items():
            if isinstance(value, list) and name not in ("species", "pairs"):
                values[name] = np.array(value, np.float64)
        values["species"] = tuple(values["species"])
        values["pairs"] = tuple((a, b) for a, b in values["pairs"])
        return cls(**values)

    def __repr__(self) -> str:
        many = f", {self.replicas} replicas" if self.replicas > 1 else ""
        names = brief(["-".join(pair) for pair in self.pairs])
        span = f"{counted(len(self.k), 'bin')} from {self.k[0]:.3g} to {self.k[-1]:.3g} 1/Å"
        lines = [f"StructureFactorResult({span}, {counted(self.samples, 'sample')}{many})", f"  pairs: {names}"]
        if self.total is not None and self.total_error is not None:
            at = int(np.argmax(self.total))
            height = f"S = {plus_minus(self.total[at], self.total_error[at])}"
            lines.append(f"  {self.weighting}: highest at {self.k[at]:.3f} 1/Å, {height}")
        return "\n".join(lines)


RESULTS["structure_factor"] = lambda content, _path: StructureFactorResult.from_dict(content)
