"""Distributions of the angle between two neighbours of an atom: in the loop or from a trajectory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int

from jaxelyte import checks
from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError
from jaxelyte.neighbors.search import image_offsets
from jaxelyte.observables.base import Observable
from jaxelyte.observables.blocks import warn_if_short
from jaxelyte.observables.distribution import AnglesResult, Triplet
from jaxelyte.observables.effort import check_bins, check_reach_of, images_within
from jaxelyte.observables.ratio import ratio_of_sums, ratio_series, series_error
from jaxelyte.observables.sampling import accumulate, analysed, complete_cells, first_systems
from jaxelyte.observables.species import check_present, check_symbols, shared_numbers
from jaxelyte.observables.triplets import angle_histogram
from jaxelyte.observables.unwrapping import check_continuous
from jaxelyte.registry import DERIVED
from jaxelyte.system import System
from jaxelyte.wording import counted

ROOM = 16
"""Neighbours at each end of a centre that there is room for by default, or all there are in small systems."""

MOST_TRIPLETS = 1e9
"""In one sample: some ten seconds on one core."""


@struct.dataclass
class AngleCounts:
    """Accumulators of `Angles`, additive.

    Attributes:
        counts: (bins,), triplets by angle.
        overflow: centres with more neighbours than room.
        samples: number of samples.
    """

    counts: Int[Array, " bins"]
    overflow: Int[Array, ""]
    samples: Int[Array, ""]


@dataclass(frozen=True)
class PreparedTriplets:
    """What is static for given systems: atoms, lattice offsets, room for neighbours."""

    centers: HashableArray
    ends: tuple[HashableArray, HashableArray]
    offsets: HashableArray
    room: tuple[int, int]


@dataclass(frozen=True)
class Angles(Observable):
    """Distribution of the angle θ at the centre of all triplets a - centre - b, p(θ) dθ normalised to one.

    a and b are different atoms, or different images of one, each within its cut-off of the centre; where both ends are
    the same species within the same cut-off each triplet counts once. All images within the cut-offs count, those of
    the centre itself included, in any cell, also where the cut-off exceeds half of it.

    There is room for a fixed number of neighbours at each end. Samples in which a centre has more are counted, and the
    result warns and tells how many: its distribution lacks triplets then. `angles` on a trajectory adds room instead.

    It fails where the cut-off lies within a shell: take the first minimum of the radial distribution function.

    Args:
        triplet: ("O", "Na", "O"), centre in the middle.
        r_max: Å, one cut-off, or one for each end.
        bins: of equal width from 0 to 180 degrees.
        room: neighbours at each end of one centre; 16 by default, or all there are in small systems.
        blocks: fixed number of blocks for the standard errors; found from the correlation by default.

    Raises:
        InputError: symbols that are no elements, or sizes that are not positive.
    """

    triplet: Triplet
    r_max: tuple[float, float] | float
    bins: int = 180
    room: int = ROOM
    blocks: int | None = None
    prepared: PreparedTriplets | None = field(default=None, metadata=DERIVED)

    def __post_init__(self) -> None:
        symbols = checks.sequence("triplet", self.triplet, "three chemical symbols such as ('O', 'Na', 'O')")
        if len(symbols) != 3:
            raise InputError(f"a triplet is three chemical symbols such as ('O', 'Na', 'O'), not {self.triplet!r}")
        object.__setattr__(self, "triplet", tuple(symbols))
        check_symbols(self.triplet, "triplets such as ('O', 'Na', 'O')")
        given = self.r_max if isinstance(self.r_max, (tuple, list, np.ndarray)) else (self.r_max, self.r_max)
        if len(given) != 2:
            raise InputError(f"r_max must be a positive distance in Å, or one for each end, not {self.r_max}")
        object.__setattr__(self, "r_max", tuple(checks.positive("r_max", limit, "Å") for limit in given))
        for name in ("bins", "room"):
            object.__setattr__(self, name, checks.count(name, getattr(self, name)))
        check_bins(self.bins, f"bins = {self.bins}")
        if self.blocks is not None:
            object.__setattr__(self, "blocks", checks.count("blocks", self.blocks, least=2))

    @property
    def limits(self) -> tuple[float, float]:
        """Cut-offs of the two ends, Å."""
        first, second = self.r_max  # pyright: ignore[reportGeneralTypeIssues]
        return first, second

    def validate(self, system: System) -> None:
        numbers = shared_numbers(system, "distribution of angles")
        check_present(self.triplet, numbers)
        self._check_effort(np.asarray(system.cell, np.float64)[None], system.pbc, numbers)

    def prepare(self, systems: System, cells: np.ndarray | None = None) -> Angles:
        """Fix the atoms, the lattice offsets and the room for neighbours for these systems.

        Args:
            systems: one system or a batch.
            cells: shape (…, 3, 3), Å, all cells that will be sampled, where they change; else those of ``systems``.

        Raises:
            InputError: see `validate`.
            UnsupportedError: replicas with the species in another order.
        """
        from ase.data import atomic_numbers

        numbers = shared_numbers(systems, "distribution of angles")
        check_present(self.triplet, numbers)
        cells = np.asarray(systems.cell if cells is None else cells, np.float64).reshape(-1, 3, 3)
        self._check_effort(cells, systems.pbc, numbers)
        a, center, b = (HashableArray(np.flatnonzero(numbers == atomic_numbers[s])) for s in self.triplet)
        offsets = image_offsets(cells, systems.pbc, max(self.limits))
        first, second = (min(self.room, len(end) * len(offsets)) for end in (a, b))
        return replace(self, prepared=PreparedTriplets(center, (a, b), offsets, (first, second)))

    def init(self, system: System) -> AngleCounts:
        self._static()
        zero = jnp.zeros((), jnp.int32)
        return AngleCounts(counts=jnp.zeros(self.bins, jnp.int32), overflow=zero, samples=zero)

    def update(self, acc: AngleCounts, system: System) -> AngleCounts:
        static = self._static()
        # A barrier on both sides makes the same machine code of this in the loop and on a file: the same rounding,
        # so the same counts also of angles on the edge of a bin.
        system = jax.lax.optimization_barrier(system)
        counts, overflow = jax.lax.optimization_barrier(
            angle_histogram(
                system,
                static.centers.array,
                (static.ends[0].array, static.ends[1].array),
                offsets=static.offsets.array,
                r_max=self.limits,
                capacity=static.room,
                bins=self.bins,
            )
        )
        return AngleCounts(acc.counts + counts, acc.overflow + overflow, acc.samples + 1)

    def result(self, blocks: AngleCounts, system: System) -> AnglesResult:
        static = self._static()
        samples, counts = np.asarray(blocks.samples), np.asarray(blocks.counts, np.float64)
        overflow, name = int(np.sum(blocks.overflow)), "-".join(self.triplet)
        if overflow:
            checks.caution(
                f"angles {name}: {overflow} of {samples.sum() * len(static.centers)} centres had more neighbours than "
                f"room for {static.room[0]} and {static.room[1]}, so triplets are missing; set room= higher"
            )
        total = counts.sum(axis=-1, keepdims=True)
        if not np.any(total):
            checks.caution(
                f"angles {name}: no triplet within {self.limits} Å in {counted(samples.sum(), 'sample')}; raise r_max"
            )
        edges = np.linspace(0.0, 180.0, self.bins + 1)
        width, middle = edges[1], 0.5 * (edges[1:] + edges[:-1])
        series = ratio_series(counts / width, total, samples)
        error = series_error(series, self.blocks)
        if np.any(total):
            what = f"angles {name} of {counted(samples.sum(), 'sample')}"
            warn_if_short(error, blocks=len(series), replicas=samples.shape[1], what=what)
        value = ratio_of_sums(counts / width, np.broadcast_to(total, counts.shape))
        means = np.sum(series * middle * width, axis=-1, keepdims=True)
        mean_error = float(series_error(means, self.blocks).error[0])
        return AnglesResult(
            triplet=self.triplet,
            r_max=self.limits,
            edges=edges,
            value=value,
            error=np.where(np.isfinite(value), error.error, np.nan),
            mean=float(np.sum(value * middle * width)),
            mean_error=mean_error if np.any(total) else math.nan,
            triplets=float(total.sum() / (samples.sum() * len(static.centers))),
            overflow=overflow,
            samples=int(samples.sum()),
            replicas=samples.shape[1],
        )

    def _check_effort(self, cells: np.ndarray, pbc: tuple[bool, bool, bool], numbers: np.ndarray) -> None:
        """Refuse cut-offs in another unit, which would take in most of the system."""
        from ase.data import atomic_numbers

        a, centers, b = (float(np.sum(numbers == atomic_numbers[s])) for s in self.triplet)
        reach = max(self.limits)
        check_reach_of("r_max", reach, cells, pbc, pairs=centers * (a + b), what="angles")
        around = [n * images_within(cells, pbc, limit) for n, limit in zip((a, b), self.limits, strict=True)]
        if all(pbc):
            volume = float(np.min(np.abs(np.linalg.det(cells))))
            shells = [4.0 / 3.0 * math.pi * limit**3 / volume for limit in self.limits]
            around = [n * shell for n, shell in zip((a, b), shells, strict=True)]
        if centers * around[0] * around[1] > MOST_TRIPLETS:
            raise InputError(
                f"r_max = {reach:g} Å takes in some {around[0]:,.0f} and {around[1]:,.0f} neighbours of each of "
                f"{centers:,.0f} centres, {centers * around[0] * around[1]:.2g} triplets in each sample; angles are "
                "for the first shell: lower r_max"
            )

    def _static(self) -> PreparedTriplets:
        if self.prepared is None:
            raise InputError("this Angles does not know its system yet; call angles = angles.prepare(system) first")
        return self.prepared


def angles(
    source: Any,
    triplet: Sequence[str],
    *,
    r_max: tuple[float, float] | float,
    bins: int = 180,
    discard: int | None = None,
    blocks: int | None = None,
) -> AnglesResult:
    """Distribution of the angle at the centre of triplets in a run or in stored frames; see `Angles`.

    Args:
        source: a run, a `Trajectory`, ``ase.Atoms`` (one or a list), a trajectory file or a run folder.
        triplet: ("O", "Na", "O"), centre in the middle.
        r_max: Å, one cut-off, or one for each end.
        bins: of equal width from 0 to 180 degrees.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        blocks: fixed number of blocks for the standard errors; found from the correlation by default.

    Raises:
        InputError: a source, species or size that cannot be used.
    """
    observable = Angles(triplet, r_max, bins, blocks=blocks)  # pyright: ignore[reportArgumentType]
    trajectory = analysed(source, discard)
    check_continuous(trajectory)
    systems, cells = first_systems(trajectory), complete_cells(trajectory.cells, trajectory.pbc)
    while True:
        prepared = observable.prepare(systems, cells)
        counts, single = accumulate(prepared, trajectory)
        # Room that suffices for all candidates cannot overflow, so this ends.
        if not np.any(counts.overflow):
            return prepared.result(counts, single)
        observable = replace(observable, room=2 * observable.room)
