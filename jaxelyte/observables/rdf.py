"""Radial distribution functions: integer histograms of pair distances inside the loop, g(r) with errors after it."""

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

from jaxelyte import checks, names
from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.neighbors.search import image_offsets
from jaxelyte.observables.base import CompensatedSum, Observable
from jaxelyte.observables.blocks import group_blocks, warn_if_short
from jaxelyte.observables.curve import Pair, RDFResult, pair_names
from jaxelyte.observables.effort import check_bins, check_reach_of
from jaxelyte.observables.histogram import fractional_coordinates, pair_histogram
from jaxelyte.observables.ratio import series_error
from jaxelyte.observables.sampling import accumulate, analysed, first_systems
from jaxelyte.registry import DERIVED
from jaxelyte.system import System, perpendicular_widths
from jaxelyte.wording import counted

DEFAULT_WIDTH = 0.05
"""Å."""

SHORT = 1.5
"""Å, r_max below which a distribution without pairs was probably meant in another unit."""

STRETCHES = 16
"""Parts of a run kept for the errors of peak positions and other derived quantities."""


@struct.dataclass
class PairCounts:
    """Accumulators of `RDF`, additive.

    Attributes:
        counts: (pairs, bins), ordered pairs (i in a, j in b) of distinct atoms by distance.
        samples: number of samples.
        centers: (pairs,), number of a atoms summed over samples.
        density: (pairs,), N_a (N_b - δ_ab) / V in 1/Å³ summed over samples.
    """

    counts: Int[Array, "pairs bins"]
    samples: Int[Array, ""]
    centers: Int[Array, " pairs"]
    density: CompensatedSum


@dataclass(frozen=True)
class Prepared:
    """What is static in the histogram of given systems: atoms of each species, lattice offsets."""

    members: tuple[tuple[HashableArray, HashableArray], ...]
    offsets: HashableArray


@dataclass(frozen=True)
class RDF(Observable):
    """Radial distribution functions of pairs of species.

        g_ab(r) = <n_ab(r)> / (N_a (N_b - δ_ab) ΔV(r) / V),   ΔV = 4π/3 (r_+³ - r_-³),

    with n_ab(r) the ordered pairs of distinct atoms in the shell between the edges r_- and r_+ of a bin. With this
    normalisation an ideal gas of any N has g = 1, and a closed system does not tend to exactly 1 at large r.

    Distances of all images within r_max are counted, in any triclinic cell, so the normalisation holds beyond half the
    box as well. The physics does not: from half the box on, g shows the periodicity of the cell (the distance to an
    image of an atom is not independent of that to the atom). Images of the centre itself are not counted.

    Args:
        pairs: ("Na", "O") or "Na-O", or several of them; centre first, which matters for the coordination number.
        r_max: Å; half the smallest width between opposite faces of the cell by default.
        bins: number of bins; excludes ``width``.
        width: width of the bins in Å, 0.05 by default; r_max is rounded down to a multiple of it.
        blocks: fixed number of blocks for the standard errors; found from the correlation by default.

    Raises:
        InputError: symbols that are no elements, or sizes that are not positive.
    """

    pairs: tuple[Pair, ...]
    r_max: float | None = None
    bins: int | None = None
    width: float | None = None
    blocks: int | None = None
    prepared: Prepared | None = field(default=None, metadata=DERIVED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", names.pairs("pairs", self.pairs))
        for name, number in (("r_max", self.r_max), ("width", self.width)):
            if number is not None:
                object.__setattr__(self, name, checks.positive(name, number, "Å"))
        if self.bins is not None:
            object.__setattr__(self, "bins", checks.count("bins", self.bins))
            check_bins(self.bins, f"bins = {self.bins}")
        if self.blocks is not None:
            object.__setattr__(self, "blocks", checks.count("blocks", self.blocks, least=2))
        if self.prepared is None and self.bins is not None and self.width is not None:
            raise InputError(f"give either bins ({self.bins}) or width ({self.width} Å), not both")

    def validate(self, system: System) -> None:
        from ase.data import atomic_numbers, chemical_symbols

        if not all(system.pbc):
            raise InputError(
                f"a radial distribution function needs a density, so a cell that is periodic in all directions; pbc is "
                f"{system.pbc}: set a cell and pbc, or look at distances instead"
            )
        numbers = np.asarray(system.numbers)[np.asarray(system.mask)]
        for pair in self.pairs:
            for symbol in pair:
                if atomic_numbers[symbol] not in numbers:
                    there = sorted({chemical_symbols[z] for z in numbers})
                    raise InputError(f"there is no {symbol} in the system, which holds {', '.join(there)}")
            if pair[0] == pair[1] and np.sum(numbers == atomic_numbers[pair[0]]) < 2:
                raise InputError(f"the system holds one {pair[0]} only, so there is no pair {'-'.join(pair)}")
        cell = np.asarray(system.cell, np.float64)[None]
        self._check_effort(cell, system.pbc, self._grid(cell)[0], numbers)

    def prepare(self, systems: System, cells: np.ndarray | None = None) -> RDF:
        """Fix bins, atoms of each species and lattice offsets for these systems.

        Args:
            systems: one system or a batch.
            cells: shape (…, 3, 3), Å, all cells that will be sampled, where they change; else those of ``systems``.

        Raises:
            InputError: see `validate`; also r_max below one bin.
            UnsupportedError: replicas with the species in another order.
        """
        from ase.data import atomic_numbers

        cells = np.asarray(systems.cell if cells is None else cells, np.float64).reshape(-1, 3, 3)
        several = np.asarray(systems.numbers).reshape(-1, systems.num_atoms)
        present = np.asarray(systems.mask).reshape(-1, systems.num_atoms)
        numbers = np.where(present, several, 0)
        if np.any(numbers != numbers[0]):
            raise UnsupportedError(
                "replicas with different species, or the same in another order, cannot share one RDF; sort the atoms "
                "of all of them alike, or analyse them one by one"
            )
        self.validate(jax.tree.map(lambda x: x[0], systems) if systems.positions.ndim == 3 else systems)
        r_max, bins = self._grid(cells)
        self._check_effort(cells, systems.pbc, r_max, numbers[0])
        _warn_about_own_images(self.pairs, cells, r_max)
        where = {s: HashableArray(np.flatnonzero(numbers[0] == atomic_numbers[s])) for p in self.pairs for s in p}
        # Half the box is reached by nearest images alone; a hair less keeps rounding from asking for more.
        offsets = image_offsets(cells, systems.pbc, r_max * (1.0 - 1e-9))
        members = tuple((where[a], where[b]) for a, b in self.pairs)
        return replace(self, r_max=r_max, bins=bins, width=None, prepared=Prepared(members, offsets))

    def init(self, system: System) -> PairCounts:
        _, bins, _ = self._static()
        return PairCounts(
            counts=jnp.zeros((len(self.pairs), bins), jnp.int32),
            samples=jnp.zeros((), jnp.int32),
            centers=jnp.zeros(len(self.pairs), jnp.int32),
            density=CompensatedSum.zeros((len(self.pairs),), system.positions.dtype),
        )

    def update(self, acc: PairCounts, system: System) -> PairCounts:
        r_max, bins, static = self._static()
        # A barrier on both sides makes the same machine code of this in the loop and on a file: the same rounding,
        # so the same counts also of distances on the edge of a bin.
        positions, cell = jax.lax.optimization_barrier((system.positions, system.cell))
        fractional, volume = fractional_coordinates(positions, cell)
        found: dict[tuple[HashableArray, HashableArray], Array] = {}
        for a, b in static.members:
            if (a, b) not in found:
                histogram = pair_histogram(
                    fractional, cell, a.array, b.array, offsets=static.offsets.array, r_max=r_max, bins=bins
                )
                found[a, b] = found[b, a] = histogram
        counts = jax.lax.optimization_barrier(jnp.stack([found[pair] for pair in static.members]))
        return PairCounts(
            counts=acc.counts + counts,
            samples=acc.samples + 1,
            centers=acc.centers + jnp.asarray([len(a) for a, _ in static.members], jnp.int32),
            density=acc.density.add(jnp.asarray(self._ordered_pairs(), volume.dtype) / volume),
        )

    def result(self, blocks: PairCounts, system: System) -> RDFResult:
        r_max, bins, _ = self._static()
        edges = np.linspace(0.0, r_max, bins + 1)
        shell = 4.0 * np.pi / 3.0 * np.diff(edges**3)
        counts, samples = np.asarray(blocks.counts, np.float64), np.asarray(blocks.samples)
        centers = np.asarray(blocks.centers, np.float64)[..., None]
        density = np.asarray(blocks.density.high, np.float64) + np.asarray(blocks.density.low, np.float64)
        expected = density[..., None] * shell
        total, total_centers = counts.sum(axis=(0, 1)), centers.sum(axis=(0, 1))
        # Errors come from blocks of one length; a shorter last one counts in the mean only.
        full = samples[:, 0] == samples.max()
        g_blocks, n_blocks = counts[full] / expected[full], np.cumsum(counts[full], axis=-1) / centers[full]
        error, number_error = series_error(g_blocks, self.blocks), series_error(n_blocks, self.blocks)
        warn_if_short(
            error,
            blocks=len(g_blocks),
            replicas=counts.shape[1],
            what=f"RDF of {counted(int(samples.sum()), 'sample')}",
        )
        _warn_of_empty(self.pairs, total, r_max, int(samples.sum()))
        parts = group_blocks(counts, STRETCHES) / group_blocks(expected, STRETCHES)
        single = len(self.pairs) == 1
        return RDFResult(
            pairs=self.pairs,
            edges=edges,
            g=_one(total / expected.sum(axis=(0, 1)), single),
            error=_one(error.error, single),
            coordination=_one(np.cumsum(total, axis=-1) / total_centers, single),
            coordination_error=_one(number_error.error, single),
            samples=int(samples.sum()),
            replicas=counts.shape[1],
            density=density.sum(axis=(0, 1)) / total_centers[:, 0],
            stretches=parts,
            # Number of pairs over the mean of their density; the same for all pairs.
            volume=float(self._ordered_pairs()[0] * samples.sum() / density.sum(axis=(0, 1))[0]),
        )

    def _ordered_pairs(self) -> np.ndarray:
        """(pairs,), N_a (N_b - δ_ab)."""
        return np.array([len(a) * (len(b) - (a == b)) for a, b in self._static()[2].members])

    def _check_effort(self, cells: np.ndarray, pbc: tuple[bool, bool, bool], r_max: float, numbers: np.ndarray) -> None:
        """Refuse an r_max in another unit, whose images would take hours."""
        from ase.data import atomic_numbers

        count = {s: float(np.sum(numbers == atomic_numbers[s])) for pair in self.pairs for s in pair}
        pairs = sum(count[a] * count[b] for a, b in {tuple(sorted(pair)) for pair in self.pairs})
        check_reach_of("r_max", r_max, cells, pbc, pairs=pairs, what="a radial distribution function")

    def _grid(self, cells: np.ndarray) -> tuple[float, int]:
        """r_max in Å and the number of bins."""
        r_max = self.r_max
        if r_max is None:
            r_max = 0.5 * min(float(perpendicular_widths(cell).min()) for cell in cells)
        if self.bins is not None:
            return float(r_max), int(self.bins)
        width = DEFAULT_WIDTH if self.width is None else self.width
        bins = math.floor(r_max / width + 1e-9)
        if bins < 1:
            raise InputError(f"r_max = {r_max:.4g} Å is below the width of one bin, {width} Å")
        check_bins(bins, f"width = {width:g} Å up to {r_max:.4g} Å")
        return bins * width, bins

    def _static(self) -> tuple[float, int, Prepared]:
        if self.prepared is None or self.r_max is None or self.bins is None:
            raise InputError("this RDF does not know its system yet; call rdf = rdf.prepare(system) first")
        return self.r_max, self.bins, self.prepared


def rdf(
    source: Any,
    center: str | None = None,
    neighbor: str | None = None,
    *,
    pairs: Sequence[Pair | str] | Pair | str | None = None,
    r_max: float | None = None,
    bins: int | None = None,
    width: float | None = None,
    blocks: int | None = None,
    discard: int | None = None,
) -> RDFResult:
    """Radial distribution functions of a run or of stored frames; see `RDF` for the definition.

    ``rdf(run, "Na", "O")`` or ``rdf(run, "Na-O")`` for one pair, ``rdf(run, pairs=["Li-Cl", ("Li", "Li")])`` for
    several in one pass.

    Args:
        source: a run, a `Trajectory`, ``ase.Atoms`` (one or a list), a trajectory file or a run folder.
        center: chemical symbol of the centre, or both species as "Na-O".
        neighbor: chemical symbol of its neighbours.
        pairs: several pairs instead.
        r_max: Å; half the smallest width of the cell by default. Beyond that all images are counted and g stays
            normalised, but shows the periodicity of the cell.
        bins: number of bins.
        width: of the bins in Å instead, 0.05 by default.
        blocks: fixed number of blocks for the standard errors; found from the correlation by default.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.

    Raises:
        InputError: a source, species or size that cannot be used.
    """
    if pairs is None and neighbor is None and isinstance(center, str) and "-" in center:
        pairs, center = center, None
    if (pairs is None) == (center is None) or (center is None) != (neighbor is None):
        raise InputError("name the species, rdf(run, 'Na', 'O'), or give pairs=[('Na', 'O'), …]; one of the two")
    wanted = [(center, neighbor)] if pairs is None else pairs
    observable = RDF(wanted, r_max=r_max, bins=bins, width=width, blocks=blocks)  # pyright: ignore[reportArgumentType]
    trajectory = analysed(source, discard)
    # A cell that shrinks later on needs more images, and a smaller default r_max, than the first one.
    prepared = observable.prepare(first_systems(trajectory), trajectory.cells)
    return prepared.result(*accumulate(prepared, trajectory))


def _warn_of_empty(pairs: tuple[Pair, ...], counts: np.ndarray, r_max: float, samples: int) -> None:
    """Warn of pairs that never came within r_max."""
    empty = [pair for pair, row in zip(pairs, counts, strict=True) if not np.any(row)]
    if empty:
        hint = f"; r_max is in Å: is {r_max:g} in nm?" if r_max < SHORT else ""
        checks.caution(
            f"no pair {pair_names(empty)} came within {r_max:.4g} Å in {counted(samples, 'sample')}, so g is 0{hint}"
        )


def _one(values: np.ndarray, single: bool) -> np.ndarray:
    return values[0] if single else values


def _warn_about_own_images(pairs: tuple[Pair, ...], cells: np.ndarray, r_max: float) -> None:
    steps = np.array([s for s in np.ndindex(3, 3, 3) if s != (1, 1, 1)]) - 1
    shortest = min(float(np.linalg.norm(steps @ cell, axis=1).min()) for cell in cells)
    if r_max > shortest and any(a == b for a, b in pairs):
        checks.caution(
            f"r_max = {r_max:.2f} Å is longer than the shortest lattice vector, {shortest:.2f} Å: images of an "
            "atom are no neighbours of itself in g; repeat the cell where they should count (crystals)"
        )
