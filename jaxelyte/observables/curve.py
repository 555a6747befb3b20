"""Curves with error bars, as results of observables."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxelyte import checks
from jaxelyte.arrays import first_lines
from jaxelyte.errors import InputError, MissingError
from jaxelyte.observables.blocks import jackknife
from jaxelyte.observables.recorded import read_series, series_as_stored
from jaxelyte.plots.rich import Rich
from jaxelyte.storage import saving, write_text
from jaxelyte.wording import counted, plus_minus

Pair = tuple[str, str]

SMOOTHING = 0.1
"""Å, width of the Gaussian that tells peaks from noise; positions and heights come from the curve as it is."""


class Feature(NamedTuple):
    """A maximum or minimum of a curve with standard errors; position in Å."""

    position: float
    position_error: float
    height: float
    height_error: float

    def __str__(self) -> str:
        height, position = (self.height, self.height_error), (self.position, self.position_error)
        return f"{plus_minus(*height)} at {plus_minus(*position, unit='Å')}"


@dataclass(frozen=True)
class RDFResult(Rich):
    """Radial distribution functions g_ab(r) of one or several pairs of species.

    Arrays are of shape (bins,) where there is one pair, else (pairs, bins); ``result["Li", "Cl"]`` picks a pair.

    Attributes:
        pairs: pairs of chemical symbols (centre, neighbour).
        edges: (bins + 1,), Å.
        g: radial distribution function, dimensionless.
        error: its standard error; NaN where the run is too short for one.
        coordination: neighbours b around one a, within the upper edge of each bin.
        coordination_error: its standard error.
        samples: configurations that were averaged, all replicas together.
        replicas: independent replicas.
        density: (pairs,), mean number density of b around an a, 1/Å³ (without the centre itself).
        stretches: (stretches, pairs, bins), g of a few long stretches of the run, for the errors of derived quantities.
        volume: Å³, mean volume of the cell; None where it is not known, as in files of version 0.1.
    """

    pairs: tuple[Pair, ...]
    edges: np.ndarray
    g: np.ndarray
    error: np.ndarray
    coordination: np.ndarray
    coordination_error: np.ndarray
    samples: int
    replicas: int
    density: np.ndarray
    stretches: np.ndarray = field(repr=False)
    volume: float | None = None

    @property
    def r(self) -> np.ndarray:
        """Centres of the bins, Å."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def value(self) -> np.ndarray:
        """The same as ``g``."""
        return self.g

    def __getitem__(self, pair: Pair | str | int) -> RDFResult:
        """The result of one pair: ``result["Li", "Cl"]``, ``result["Li-Cl"]`` or by number.

        The order of the pair matters for the coordination number; g is symmetric.

        Raises:
            MissingError: the pair is not in the result, or stored the other way round.
        """
        if isinstance(pair, int | np.integer) and not isinstance(pair, bool):
            if not -len(self.pairs) <= pair < len(self.pairs):
                raise MissingError(f"there is no pair {pair} in this result, which holds {len(self.pairs)}")
            return self._pick(int(pair))
        wanted = pair_named(pair)
        if wanted in self.pairs:
            return self._pick(self.pairs.index(wanted))  # pyright: ignore[reportArgumentType]
        names = ", ".join("-".join(p) for p in self.pairs)
        turned = wanted[::-1]
        if turned in self.pairs:
            raise MissingError(
                f"{'-'.join(wanted)} is stored as {'-'.join(turned)} (same g, coordination around {turned[0]}); "
                f"ask for that, or compute {'-'.join(wanted)}"
            )
        raise MissingError(f"no pair {'-'.join(map(str, wanted))} in this result; it holds {names}")

    def __len__(self) -> int:
        return len(self.pairs)

    def _pick(self, number: int) -> RDFResult:
        def one(values: np.ndarray) -> np.ndarray:
            return values if values.ndim == 1 else values[number]

        return replace(
            self,
            pairs=(self.pairs[number],),
            g=one(self.g),
            error=one(self.error),
            coordination=one(self.coordination),
            coordination_error=one(self.coordination_error),
            density=self.density[[number]],
            stretches=self.stretches[:, [number]],
        )

    def first_peak(self, *, beyond: float = 0.0) -> Feature:
        """First maximum of g above 1: position and height, by a quartic through the bins around it.

        Peaks that do not stand out of the noise, or rise above 1 less than a fifth as far as the highest, do not count.

        Args:
            beyond: Å; look only at larger distances, such as behind the contact pairs of two ions.

        Raises:
            InputError: several pairs (pick one first), or a curve without a peak above 1.
        """
        at = self._first_peak_bin(beyond)
        smooth = self._smooth()
        return self._refine(at, smooth >= 1.0 + 0.6 * (smooth[at] - 1.0), maximum=True)

    def first_minimum(self, *, beyond: float = 0.0) -> Feature:
        """The minimum between the first and the second maximum of g: the edge of the first shell.

        Args:
            beyond: see `first_peak`.

        Raises:
            InputError: several pairs (pick one first), or a curve that has no minimum within its range.
        """
        peak, smooth = self._first_peak_bin(beyond), self._smooth()
        noise = np.nan_to_num(self.error)
        lowest = peak
        for k in range(peak + 1, len(smooth)):
            if smooth[k] < smooth[lowest]:
                lowest = k
            elif smooth[k] > smooth[lowest] + max(0.02, 2.0 * noise[lowest]) and smooth[lowest] < smooth[peak] - 0.1:
                return self._refine(lowest, np.abs(self.r - self.r[lowest]) <= 0.3, maximum=False)
        raise InputError(f"g of {self._name()} has no minimum behind its first peak up to {self.edges[-1]:.2f} Å")

    def coordination_at(self, radius: float) -> tuple[float, float]:
        """Neighbours within ``radius`` Å of a centre, and the standard error.

        Raises:
            InputError: several pairs (pick one first), or a radius beyond the curve.
        """
        self._need_one()
        radius = checks.not_negative("radius", radius, "Å")
        if radius > self.edges[-1]:
            raise InputError(f"radius {radius} Å is outside of the curve, 0 to {self.edges[-1]:.2f} Å")
        value = np.interp(radius, self.edges, np.concatenate([[0.0], self.coordination]))
        error = np.interp(radius, self.edges, np.concatenate([[0.0], self.coordination_error]))
        return float(value), float(error)

    def plot(self, ax: Any = None, *, coordination: bool = False) -> Any:
        """Draw the curves with bands of one standard error; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.rdf(self, ax, coordination=coordination)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: r in Å, then g, error, coordination and its error of each pair."""
        header, columns = ["r_A"], [self.r]
        for pair in range(len(self.pairs)):
            one = self._pick(pair)
            header += [f"{kind}_{one._name()}" for kind in ("g", "error", "coordination", "coordination_error")]
            columns += [one.g, one.error, one.coordination, one.coordination_error]
        with saving(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([repr(float(x)) for x in row] for row in zip(*columns, strict=True))

    def to_json(self, path: str | Path) -> None:
        """Write everything; `load_result` reads it back. NaN is stored as null."""
        content = {"kind": "rdf", "units": {"edges": "Å", "density": "1/Å³", "volume": "Å³"}}
        for name in RDFResult.__dataclass_fields__:
            value = getattr(self, name)
            content[name] = plain(value) if isinstance(value, np.ndarray) else value
        write_text(path, json.dumps(content, allow_nan=False) + "\n")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> RDFResult:
        """Rebuild from the content of a JSON file.

        Raises:
            ValueError: arrays that do not fit each other.
        """
        values = {name: content[name] for name in cls.__dataclass_fields__ if name != "volume"}
        values["volume"] = content.get("volume")
        for name, value in values.items():
            if isinstance(value, list) and name != "pairs":
                values[name] = np.array(value, np.float64)
        values["pairs"] = pairs = tuple((str(a), str(b)) for a, b in values["pairs"])
        bins = np.size(values["edges"]) - 1
        curves = ("g", "error", "coordination", "coordination_error")
        shapes = {name: (bins,) if len(pairs) == 1 else (len(pairs), bins) for name in curves}
        shapes |= {"edges": (bins + 1,), "density": (len(pairs),)}
        shapes |= {"stretches": (len(values["stretches"]), len(pairs), bins)}
        wrong = [name for name, shape in shapes.items() if np.shape(values[name]) != shape]
        if wrong or bins < 1 or not np.all(np.diff(values["edges"]) > 0):
            raise ValueError(
                f"{wrong[0] if wrong else 'edges'} does not fit {counted(len(pairs), 'pair')} and "
                f"{counted(bins, 'bin')}"
            )
        return cls(**values)

    def summary(self) -> str:
        """One line for each pair: first peak, first minimum, coordination number."""
        return "\n".join(self._pick(k)._line() for k in range(len(self.pairs)))

    def __repr__(self) -> str:
        many = f", {self.replicas} replicas" if self.replicas > 1 else ""
        bins, samples = counted(len(self.edges) - 1, "bin"), counted(self.samples, "sample")
        head = f"RDFResult({bins} to {self.edges[-1]:.2f} Å, {samples}{many})"
        return f"{head}\n{first_lines([self._pick(k)._line() for k in range(len(self.pairs))], 'pairs')}"

    def _line(self) -> str:
        try:
            peak = self.first_peak()
        except InputError:
            return f"  {self._name()}: no peak above 1"
        try:
            edge = self.first_minimum()
        except InputError:
            return f"  {self._name()}: first peak {peak}"
        number = plus_minus(*self.coordination_at(edge.position))
        return f"  {self._name()}: first peak {peak}; {number} neighbours up to {edge.position:.2f} Å"

    def _name(self) -> str:
        return "-".join(self.pairs[0])

    def _need_one(self) -> None:
        if len(self.pairs) != 1:
            names = ", ".join("-".join(p) for p in self.pairs)
            raise InputError(f"this result holds several pairs ({names}); pick one first, result['{self._name()}']")

    def _smooth(self) -> np.ndarray:
        width = (self.edges[1] - self.edges[0]) / SMOOTHING
        reach = int(np.ceil(3.0 / width))
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) * width) ** 2)
        # Normalised also at the ends, where part of the kernel has no data.
        return (
            np.convolve(self.g, weights, "full")[reach:-reach]
            / np.convolve(np.ones_like(self.g), weights, "full")[reach:-reach]
        )

    def _first_peak_bin(self, beyond: float) -> int:
        self._need_one()
        beyond = checks.not_negative("beyond", beyond, "Å")
        smooth, noise = self._smooth(), np.nan_to_num(self.error)
        # A first peak stands out of the noise, and is not a ripple on the flank of the real one.
        behind = self.r >= beyond
        floor = 1.0 + 0.2 * max(0.0, float(np.max(smooth, where=behind, initial=0.0)) - 1.0)
        rises = np.r_[True, smooth[1:] > smooth[:-1]]
        falls = np.r_[smooth[:-1] >= smooth[1:], True]
        found = np.flatnonzero(rises & falls & (smooth > np.maximum(floor, 1.0 + 2.0 * noise)) & behind)
        if len(found) == 0:
            raise InputError(f"g of {self._name()} has no peak above 1 from {beyond} to {self.edges[-1]:.2f} Å")
        return int(found[0])

    def _refine(self, at: int, region: np.ndarray, *, maximum: bool) -> Feature:
        """Extremum of a quartic through the contiguous region of bins around ``at``, with jackknife errors.

        A position that is not certain within the region has no error (NaN).
        """
        begin = end = at
        while begin > 0 and region[begin - 1]:
            begin -= 1
        while end < len(region) - 1 and region[end + 1]:
            end += 1
        begin, end = max(0, min(begin, at - 3)), min(len(region) - 1, max(end, at + 3))
        r = self.r[begin : end + 1]
        fine = np.linspace(r[0], r[-1], 1001)

        def extremum(g: np.ndarray) -> np.ndarray:
            quartic = np.polynomial.Polynomial.fit(r, g, min(4, len(r) - 2))(fine)
            best = np.argmax(quartic) if maximum else np.argmin(quartic)
            return np.array([fine[best], quartic[best]])

        count = len(self.stretches)
        # Stretches are of (nearly) equal length, so the mean of their curves is the curve.
        parts = self.stretches[:, 0, begin : end + 1] / max(count, 1)
        _, error = jackknife(parts, lambda total: extremum(total * count / max(count - 1, 1)), skewness=True)
        position, height = extremum(self.g[begin : end + 1])
        if position in (r[0], r[-1]):
            # An edge of the region stays where it is in all stretches: the extremum is known to a bin at best.
            error[0] = np.hypot(error[0], self.edges[1] - self.edges[0])
        if error[0] > (r[-1] - r[0]) / math.sqrt(12.0):
            # No better than anywhere in the region: stretches have their extremum in different places.
            error[0] = np.nan
        return Feature(float(position), float(error[0]), float(height), float(error[1]))


def load_result(path: str | Path, *, of_run: bool = False) -> Any:
    """Read a result that ``to_json`` wrote.

    Args:
        path: the JSON file.
        of_run: the caller knows the run and completes series of older versions itself.

    Raises:
        InputError: the file cannot be read or holds no result.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        kind = content["kind"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} holds no result of jaxelyte: {error}") from error
    if not isinstance(kind, str) or kind not in RESULTS:
        raise InputError(f"{path} holds a result of kind {kind!r}; this version reads {sorted(RESULTS)}")
    try:
        return (series_as_stored if of_run and kind == "series" else RESULTS[kind])(content, Path(path))
    except KeyError as error:
        raise InputError(f"{path} holds no complete result of kind {kind!r}: it lacks {error}") from error
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is damaged: it holds no result of kind {kind!r}: {error}") from error


RESULTS: dict[str, Any] = {"rdf": lambda content, _: RDFResult.from_dict(content), "series": read_series}
"""Readers by the ``kind`` of their files."""


def plain(values: np.ndarray) -> list[Any]:
    """An array as lists for a JSON file, which has no NaN: null for what is not finite."""

    def clean(entry: Any) -> Any:
        if isinstance(entry, list):
            return [clean(e) for e in entry]
        return entry if not isinstance(entry, float) or np.isfinite(entry) else None

    return clean(values.tolist())


def pair_named(pair: Any) -> tuple[str, ...]:
    """("Na", "O") from itself or from "Na-O".

    Raises:
        MissingError: neither, so that no result can hold it.
    """
    parts = pair.split("-") if isinstance(pair, str) else pair
    if isinstance(parts, tuple | list) and len(parts) == 2 and all(isinstance(one, str) and one for one in parts):
        return tuple(parts)
    raise MissingError(f"a pair is written as ('Na', 'O') or 'Na-O', not {checks.shown(pair)}")


def pair_names(pairs: Iterable[Pair]) -> str:
    """Pairs for messages: ``Li-Cl, Li-Li``."""
    return ", ".join("-".join(pair) for pair in pairs)
