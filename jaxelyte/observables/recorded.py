"""Time series recorded in the compiled loop: a few numbers at each sampling step, kept in order.

An `Observable` adds up; what correlation functions, histograms of a bias or free energies need is the series itself:
the pressure tensor, a distance, energies. It is far denser in time than frames could be, and far smaller.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.arrays import MOST, brief_repr
from jaxelyte.errors import InputError
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.observables.blocks import BlockError, block_error, error_entries
from jaxelyte.plots.rich import Rich
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.geometry import shortest_vectors
from jaxelyte.storage import saving, write_text
from jaxelyte.system import System
from jaxelyte.units import ACCELERATION, EV_PER_A3_IN_GPA
from jaxelyte.wording import counted, plus_minus

SUFFIX = ".f64"
"""Of the file with the values, little-endian float64 in the order (samples, replicas, columns)."""


class Sample(struct.PyTreeNode):
    """All that is known of the replicas at a sampling step; leading axis of arrays: replicas.

    Attributes:
        systems: positions in Å, cells, species.
        velocities: (replicas, atoms, 3), Å/fs.
        potential: the potential of the run.
        neighbors: its neighbour lists.
        stress: (replicas, 3, 3), eV/Å³, of the interactions, tension positive; None unless a series needs it.
        center: (replicas,), eV, k_B T where the total momentum is fixed at zero, 0 where it fluctuates: by how much
            Σ m v² / 3 falls short of N k_B T on average. None unless a series needs the stress.
    """

    systems: System
    velocities: Float[Array, "replicas atoms 3"]
    potential: Potential
    neighbors: Neighbors
    stress: Float[Array, "replicas 3 3"] | None = None
    center: Float[Array, " replicas"] | None = None

    __repr__ = brief_repr


class Series:
    """Base of what is recorded at each sampling step. Subclasses are frozen dataclasses, hashable, static under jit."""

    needs_stress: ClassVar[bool] = False
    """The stress costs about one more evaluation of the forces at each sampling step."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers."""
        raise NotImplementedError

    @property
    def unit(self) -> str:
        """Their unit."""
        raise NotImplementedError

    def validate(self, system: System) -> None:
        """Raise `InputError` where the series has no meaning for a system; before any compilation."""

    def values(self, sample: Sample) -> Float[Array, "replicas columns"]:
        """The numbers now; pure, inside jit."""
        raise NotImplementedError


@dataclass(frozen=True)
class PressureTensor(Series):
    """P = (Σ m v v + virial) / V in GPa: components xx, yy, zz, yz, xz, xy; what `viscosity` reads.

    The kinetic part averages to N k_B T / V, which is k_B T ∂ln Z/∂V of N ideal atoms. Where the dynamics keeps the
    total momentum at zero, Σ m v v averages to (N - 1) k_B T only, and k_B T / V is added to the diagonal: T is that of
    the thermostat, or the instantaneous kinetic temperature at constant energy. Nothing is added where the total
    momentum fluctuates (Langevin, massive chains, external forces). The traceless part, and with it the viscosity, is
    not affected.

    Attributes:
        center_counted: always True. Series of version 0.1 lack k_B T / V of a fixed centre of mass; this mark in their
            description keeps the two apart.
    """

    needs_stress: ClassVar[bool] = True
    center_counted: bool = field(default=True, init=False)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("xx", "yy", "zz", "yz", "xz", "xy")

    @property
    def unit(self) -> str:
        return "GPa"

    def validate(self, system: System) -> None:
        if not all(system.pbc):
            raise InputError(f"a pressure needs a cell that is periodic in all directions; pbc is {system.pbc}")

    def values(self, sample: Sample) -> Float[Array, "replicas columns"]:
        assert sample.stress is not None
        assert sample.center is not None
        masses, volume = sample.systems.masses, jnp.abs(jnp.linalg.det(sample.systems.cell))
        weighted = sample.velocities * (masses[..., None] / ACCELERATION)
        kinetic = jnp.einsum("rai,raj->rij", weighted, sample.velocities, precision="highest")
        kinetic = kinetic + sample.center[:, None, None] * jnp.eye(3, dtype=kinetic.dtype)
        tensor = (kinetic / volume[:, None, None] - sample.stress) * EV_PER_A3_IN_GPA
        rows, columns = np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1])
        return tensor[:, rows, columns]


@dataclass(frozen=True)
class Distance(Series):
    """Distance in Å of pairs of atoms, shortest image.

    Args:
        pairs: (i, j), or several of them, indices of atoms.

    Raises:
        InputError: no pairs of different atoms.
    """

    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        table = np.asarray(self.pairs)
        table = table[None] if table.ndim == 1 else table
        whole = np.issubdtype(table.dtype, np.integer) and table.ndim == 2 and table.shape[1] == 2
        if not whole or np.any(table < 0) or np.any(table[:, 0] == table[:, 1]):
            raise InputError(f"pairs = {self.pairs!r} must be indices of two different atoms, such as (0, 1)")
        object.__setattr__(self, "pairs", tuple((int(i), int(j)) for i, j in table))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{i}-{j}" for i, j in self.pairs)

    @property
    def unit(self) -> str:
        return "Å"

    def validate(self, system: System) -> None:
        atoms = int(np.sum(np.asarray(system.mask)))
        if max(max(pair) for pair in self.pairs) >= atoms:
            raise InputError(f"pairs = {self.pairs} name atoms beyond the {atoms} of the system")

    def values(self, sample: Sample) -> Float[Array, "replicas columns"]:
        first, second = np.array(self.pairs).T

        def one(system: System) -> Float[Array, " columns"]:
            vectors = shortest_vectors(system, system.positions[second] - system.positions[first])
            return jnp.sqrt(jnp.sum(vectors**2, axis=-1))

        return jax.vmap(one)(sample.systems)


@dataclass(frozen=True)
class SeriesResult(Rich):
    """A recorded time series.

    Attributes:
        columns: names of the numbers.
        unit: of all of them.
        interval: fs between samples.
        start: fs, time of the first sample.
        values: (samples, replicas, columns).
        center_counted: False for a pressure tensor of version 0.1; see `PressureTensor`.
    """

    columns: tuple[str, ...]
    unit: str
    interval: float
    start: float
    values: np.ndarray
    center_counted: bool = True

    @property
    def times(self) -> np.ndarray:
        """(samples,), fs."""
        return self.start + self.interval * np.arange(len(self.values))

    @property
    def mean(self) -> np.ndarray:
        """(columns,), over samples and replicas."""
        return self.values.mean(axis=(0, 1))

    @property
    def error(self) -> np.ndarray:
        """(columns,), standard error of the mean, correlation taken into account; see `block_error`.

        NaN where the series is too short against its memory; `error_bound` is then a lower bound.
        """
        return self._errors.error

    @property
    def error_bound(self) -> np.ndarray:
        """(columns,), lower bound of the standard error: the same as `error` where that is known."""
        return self._errors.bound

    @property
    def freedom(self) -> np.ndarray:
        """(columns,), degrees of freedom of `error` (Student's t), few where the series is short against its memory."""
        return self._errors.freedom

    @property
    def _errors(self) -> BlockError:
        return block_error(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, samples: slice) -> SeriesResult:
        """A range of samples.

        Raises:
            InputError: anything but a range of samples.
        """
        checks.whole_slice("a series", samples, "samples")
        step = 1 if samples.step is None else int(samples.step)
        if step < 1:
            raise InputError(f"samples are taken in the order of time, not with the step {step}")
        start = self.start + self.interval * samples.indices(len(self.values))[0]
        return replace(self, values=self.values[samples], start=start, interval=step * self.interval)

    def to_csv(self, path: str | Path) -> None:
        """Write a table: time in fs, then the columns of each replica."""
        names = [f"{c}_{r}_{self.unit}" for r in range(self.values.shape[1]) for c in self.columns]
        table = np.column_stack([self.times, self.values.reshape(len(self.values), -1)])
        with saving(path) as temporary:
            np.savetxt(temporary, table, delimiter=",", header=",".join(["time_fs", *names]), comments="")

    def to_json(self, path: str | Path) -> None:
        """Write means with the entries of `error_entries`."""
        errors = zip(*(getattr(self._errors, name) for name in ("error", "bound", "freedom")), strict=True)
        table = zip(self.columns, self.mean, errors, strict=True)
        rows = {name: {"mean": float(mean)} | error_entries(*error) for name, mean, error in table}
        content = {"unit": self.unit, "samples": len(self), "interval_fs": self.interval} | rows
        write_text(path, json.dumps(content, indent=1) + "\n")

    def plot(self, ax: Any = None) -> Any:
        """Draw the series of all replicas against time; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.series(self, ax)

    def __repr__(self) -> str:
        shown = self.values[..., :MOST]
        found = block_error(shown) if len(self) else ()
        numbers = zip(self.columns, shown.mean(axis=(0, 1)), found.error, found.bound, strict=False) if found else ()
        rows = ", ".join(f"{name} = {plus_minus(*several, unit=self.unit)}" for name, *several in numbers)
        rest = f", … {counted(len(self.columns), 'column')}" if len(self.columns) > MOST else ""
        return f"SeriesResult({counted(len(self), 'sample')} each {self.interval:g} fs: {rows}{rest})"


def describe(series: Series, interval: float, skipped: int, replicas: int) -> dict[str, Any]:
    """What stands in the file beside the values."""
    columns = list(series.columns)
    shape: dict[str, Any] = {"columns": columns, "unit": series.unit, "replicas": replicas}
    if isinstance(series, PressureTensor):
        shape["center_counted"] = series.center_counted
    return {"kind": "series", **shape, "interval_fs": interval, "skipped": skipped}


def read_series(content: dict[str, Any], path: Path) -> SeriesResult:
    """The series whose description stands in ``path``; equilibration is left out.

    Raises:
        InputError: the file with the values is missing or does not fit.

    Warns:
        UserWarning: a pressure tensor of version 0.1, see `PressureTensor`.
    """
    result = series_as_stored(content, path)
    if not result.center_counted:
        checks.caution(
            f"{path} is a pressure tensor of jaxelyte 0.1: if its run kept the total momentum at zero (NVE, "
            "nose-hoover, svr), the diagonal lacks k_B T / V; jaxelyte.load_run of the run folder adds it"
        )
    return result


def series_as_stored(content: dict[str, Any], path: Path) -> SeriesResult:
    """As `read_series`, without a warning; ``center_counted`` says whether a pressure tensor is complete.

    Raises:
        InputError: the file with the values is missing or does not fit.
    """
    file = path.with_suffix(SUFFIX)
    try:
        return series_result(content, np.fromfile(file, "<f8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} does not hold the series that {path.name} describes: {error}") from error


def series_result(content: dict[str, Any], values: np.ndarray) -> SeriesResult:
    """A result from its description and all recorded values in the order (samples, replicas, columns)."""
    columns, skipped, interval = tuple(content["columns"]), content["skipped"], content["interval_fs"]
    rows = values.reshape(-1, content["replicas"], len(columns))[skipped:]
    complete = content.get("center_counted", columns != PressureTensor().columns)
    return SeriesResult(columns, content["unit"], interval, interval * (1 + skipped), rows, complete)
