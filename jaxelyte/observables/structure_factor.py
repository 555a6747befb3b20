"""Partial structure factors on the reciprocal lattice of the cell, in the loop or from a trajectory."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
from jaxelyte.observables.base import CompensatedSum, Observable
from jaxelyte.observables.blocks import group_blocks, warn_if_short
from jaxelyte.observables.effort import MOST_WORK, check_bins
from jaxelyte.observables.histogram import fractional_coordinates
from jaxelyte.observables.partials import StructureFactorResult
from jaxelyte.observables.ratio import ratio_of_sums, ratio_series, series_error
from jaxelyte.observables.reciprocal import WaveGrid, add_waves, largest_integers, species_pairs, wave_grid
from jaxelyte.observables.sampling import accumulate, analysed, first_systems
from jaxelyte.observables.scattering import (
    LARGEST_K,
    Weighting,
    check_weighting,
    named_scatterers,
    scattering_factors,
    total_weights,
)
from jaxelyte.observables.species import shared_numbers
from jaxelyte.registry import DERIVED
from jaxelyte.system import System
from jaxelyte.wording import counted

DEFAULT_K_MAX = 10.0
"""1/Å."""

DEFAULT_WIDTH = 0.05
"""1/Å."""

STRETCHES = 16
"""Parts of a run kept for the errors of totals that are asked for later."""

MOST_VECTORS = 20_000_000
"""Reciprocal lattice vectors beyond which k_max is taken for a mistake."""


UNUSUAL_K = 50.0
"""1/Å."""


@struct.dataclass
class WaveSums:
    """Accumulators of `StructureFactor`, additive.

    Attributes:
        waves: (pairs + 1, bins), Σ Re ρ_a(k) ρ_b(-k) over vectors and samples, and Σ |k| in 1/Å.
        vectors: (bins,), vectors summed over samples.
        samples: number of samples.
    """

    waves: CompensatedSum
    vectors: Int[Array, " bins"]
    samples: Int[Array, ""]


@dataclass(frozen=True)
class PreparedWaves:
    """What is static for given systems: species, their atoms, and the vectors."""

    species: tuple[str, ...]
    members: tuple[HashableArray, ...]
    grid: WaveGrid


@dataclass(frozen=True)
class StructureFactor(Observable):
    """Partial structure factors of all pairs of species (Ashcroft and Langreth, Phys. Rev. 156, 685 (1967)).

        S_ab(k) = <ρ_a(k) ρ_b(-k)> / sqrt(N_a N_b),   ρ_a(k) = Σ_j exp(i k·r_j) over the atoms j of species a,

    on the reciprocal lattice vectors of the cell, the only ones that a periodic system has, averaged over those in a
    bin of |k|. S_ab tends to δ_ab at large k; an ideal gas has δ_ab everywhere. It is one plus the Fourier transform of
    the radial distribution functions, S_ab = δ_ab + 4π sqrt(ρ_a ρ_b) ∫ (g_ab - 1) r² sin(kr)/(kr) dr, without the error
    that ending g at half the box makes.

    It fails below 2π over the width of the cell, where there are no vectors, and at small k in short runs: the few
    vectors there move as slowly as the density does. The cost is atoms times k_max³ times the volume. With a weighting
    the factor f(k) of a bin is taken at the mean |k| in it, so bins should be narrow against the form factors.

    Args:
        k_max: 1/Å; rounded down to a multiple of ``width``.
        width: width of the bins in 1/Å.
        weighting: total to give beside the partials: "x-ray", "neutron" or None; see `jaxelyte.observables.scattering`.
            Neutron scattering lengths know nothing of absorption, so that Cd, Sm, Eu or Gd are out of reach; where they
            nearly cancel, as in light water, S(k) is large and noisy.
        scatterers: ions (X-rays, ``{"Na": "Na+"}``) or isotopes (neutrons, ``{"H": "D"}``) in place of the neutral atom
            of natural composition; a mapping, or a tuple of pairs.
        blocks: fixed number of blocks for the standard errors; found from the correlation by default.

    Raises:
        InputError: sizes that are not positive, an unknown weighting.
    """

    k_max: float = DEFAULT_K_MAX
    width: float = DEFAULT_WIDTH
    weighting: Weighting | None = None
    scatterers: Any = ()
    blocks: int | None = None
    prepared: PreparedWaves | None = field(default=None, metadata=DERIVED)

    def __post_init__(self) -> None:
        for name in ("k_max", "width"):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name), "1/Å"))
        if self.k_max < self.width * (1.0 - 1e-9):
            raise InputError(f"k_max = {self.k_max:.4g} 1/Å is below the width of one bin, {self.width} 1/Å")
        check_bins(self.k_max / self.width, f"width = {self.width:g} 1/Å up to {self.k_max:g} 1/Å")
        if self.k_max > UNUSUAL_K and self.prepared is None:
            checks.caution(
                f"k_max = {self.k_max:g} 1/Å is unusual, as scattering is measured to some 30 1/Å (write "
                f"{self.k_max / 10:g}, if it is in 1/nm)"
            )
        if self.blocks is not None:
            object.__setattr__(self, "blocks", checks.count("blocks", self.blocks, least=2))
        # A tuple, so that the observable can be hashed.
        object.__setattr__(self, "scatterers", tuple(sorted(named_scatterers(self.scatterers).items())))
        check_weighting(self.weighting, dict(self.scatterers))
        if self.weighting == "x-ray" and self.k_max > LARGEST_K:
            raise InputError(f"form factors end at {LARGEST_K:.1f} 1/Å, and k_max is {self.k_max:.4g} 1/Å; lower it")

    def validate(self, system: System) -> None:
        if not all(system.pbc):
            raise InputError(
                f"a structure factor lives on the reciprocal lattice of a cell that is periodic in all directions; pbc "
                f"is {system.pbc}: set a cell and pbc"
            )
        self._check_cells(np.asarray(system.cell, np.float64)[None], system.num_atoms)
        self._weights(_species(shared_numbers(system, "structure factor")))

    def prepare(self, systems: System, cells: np.ndarray | None = None) -> StructureFactor:
        """Fix the atoms of each species and the vectors for these systems.

        Args:
            systems: one system or a batch.
            cells: shape (…, 3, 3), Å, all cells that will be sampled, where they change; else those of ``systems``.

        Raises:
            InputError: see `validate`; also k_max below the shortest vector, or so large that there are millions.
            UnsupportedError: replicas with the species in another order.
        """
        numbers = shared_numbers(systems, "structure factor")
        single = jax.tree.map(lambda x: x[0], systems) if systems.positions.ndim == 3 else systems
        self.validate(single)
        cells = np.asarray(systems.cell if cells is None else cells, np.float64).reshape(-1, 3, 3)
        self._check_cells(cells, systems.num_atoms)
        species = _species(numbers)
        members = tuple(HashableArray(np.flatnonzero(numbers == z)) for z in species.values())
        k_max, _ = self._grid()
        return replace(self, prepared=PreparedWaves(tuple(species), members, wave_grid(cells, k_max)))

    def init(self, system: System) -> WaveSums:
        _, bins = self._grid()
        pairs = len(species_pairs(len(self._static().species)))
        return WaveSums(
            waves=CompensatedSum.zeros((pairs + 1, bins), system.positions.dtype),
            vectors=jnp.zeros(bins, jnp.int32),
            samples=jnp.zeros((), jnp.int32),
        )

    def update(self, acc: WaveSums, system: System) -> WaveSums:
        static, (k_max, bins) = self._static(), self._grid()
        # A barrier on both sides makes the same machine code of this in the loop and on a file: the same rounding.
        positions, cell, before = jax.lax.optimization_barrier((system.positions, system.cell, acc.waves))
        fractional, _ = fractional_coordinates(positions, cell)
        waves, vectors = jax.lax.optimization_barrier(
            add_waves(before, fractional, cell, static.members, grid=static.grid, k_max=k_max, bins=bins)
        )
        return WaveSums(waves=waves, vectors=acc.vectors + vectors, samples=acc.samples + 1)

    def result(self, blocks: WaveSums, system: System) -> StructureFactorResult:
        static, (k_max, bins) = self._static(), self._grid()
        samples, vectors = np.asarray(blocks.samples), np.asarray(blocks.vectors, np.float64)
        seen = vectors.sum(axis=(0, 1)) > 0
        sums = np.asarray(blocks.waves.high, np.float64) + np.asarray(blocks.waves.low, np.float64)
        sums, vectors = sums[..., seen], vectors[..., None, seen]
        counts = np.array([len(m) for m in static.members], np.float64)
        pairs = species_pairs(len(counts))
        partial = sums[..., :-1, :] / np.sqrt([counts[a] * counts[b] for a, b in pairs])[:, None]
        series = ratio_series(partial, vectors, samples)
        error = series_error(series, self.blocks)
        warn_if_short(
            error,
            blocks=len(series),
            replicas=samples.shape[1],
            what=f"structure factor of {counted(samples.sum(), 'sample')}",
        )
        edges = np.linspace(0.0, k_max, bins + 1)
        weight = group_blocks(vectors, STRETCHES)
        parts = group_blocks(partial, STRETCHES) / np.where(weight > 0, weight, np.nan)
        found = StructureFactorResult(
            species=static.species,
            counts=counts,
            pairs=tuple((static.species[a], static.species[b]) for a, b in pairs),
            k=ratio_of_sums(sums[..., -1, :], vectors[..., 0, :]),
            edges=np.stack([edges[:-1], edges[1:]], axis=1)[seen],
            vectors=vectors.sum(axis=(0, 1))[0] / samples.sum(),
            value=ratio_of_sums(partial, vectors),
            error=error.error,
            weighting=None,
            total=None,
            total_error=None,
            mean_factor=None,
            samples=int(samples.sum()),
            replicas=samples.shape[1],
            stretches=parts,
        )
        if self.weighting is None:
            return found
        found = found.weighted(self.weighting, scatterers=dict(self.scatterers))
        factors = scattering_factors(static.species, found.k, self.weighting, scatterers=dict(self.scatterers))
        total = np.sum(total_weights(factors, counts) * series, axis=-2)
        return replace(found, total_error=series_error(total, self.blocks).error)

    def _grid(self) -> tuple[float, int]:
        """Upper end of the last bin in 1/Å, and the number of bins."""
        bins = math.floor(self.k_max / self.width + 1e-9)
        return bins * self.width, bins

    def _weights(self, species: Mapping[str, int]) -> None:
        """Raise `InputError` where a species has no scattering factor."""
        if self.weighting is not None:
            scattering_factors(tuple(species), np.zeros(1), self.weighting, scatterers=dict(self.scatterers))

    def _check_cells(self, cells: np.ndarray, atoms: int) -> None:
        """Raise `InputError` where there are no vectors up to k_max, or far too many."""
        k_max, _ = self._grid()
        steps = np.array([s for s in np.ndindex(3, 3, 3) if s != (1, 1, 1)]) - 1
        rows = 2.0 * np.pi * np.swapaxes(np.linalg.inv(cells), -1, -2)
        shortest = float(np.linalg.norm(steps @ rows, axis=-1).min())
        if k_max <= shortest:
            raise InputError(
                f"k_max = {k_max:.4g} 1/Å is below the shortest reciprocal lattice vector of the cell, "
                f"{shortest:.4g} 1/Å; raise it"
            )
        x, y, z = largest_integers(cells, k_max)
        vectors = (x + 1) * (2 * y + 1) * (2 * z + 1)
        if vectors > MOST_VECTORS:
            raise InputError(
                f"k_max = {k_max:.4g} 1/Å asks for {vectors:,} reciprocal lattice vectors, more than {MOST_VECTORS:,}; "
                f"lower it (write {k_max / 10:g}, if it is in 1/nm)"
            )
        if float(vectors) * atoms > MOST_WORK:
            raise InputError(
                f"k_max = {k_max:.4g} 1/Å takes {float(vectors) * atoms:.2g} waves in each sample ({vectors:,} "
                f"vectors, {counted(atoms, 'atom')}), minutes on one core; lower it (write {k_max / 10:g}, if it is "
                "in 1/nm)"
            )

    def _static(self) -> PreparedWaves:
        if self.prepared is None:
            raise InputError("this StructureFactor does not know its system yet; call s = s.prepare(system) first")
        return self.prepared


def structure_factor(
    source: Any,
    *,
    k_max: float = DEFAULT_K_MAX,
    weighting: Weighting | None = None,
    scatterers: Mapping[str, str] | None = None,
    width: float = DEFAULT_WIDTH,
    discard: int | None = None,
    blocks: int | None = None,
) -> StructureFactorResult:
    """Partial structure factors of a run or of stored frames, and a total as X-rays or neutrons see it.

    See `StructureFactor` for the definition, and where it fails.

    Args:
        source: a run, a `Trajectory`, ``ase.Atoms`` (one or a list), a trajectory file or a run folder.
        k_max: 1/Å.
        weighting: "x-ray", "neutron", or None for the partials alone.
        scatterers: ions or isotopes in place of neutral atoms of natural composition.
        width: of the bins in 1/Å.
        discard: frames left out at the start; by default what a run counts as its equilibration, and none of a
            trajectory or file.
        blocks: fixed number of blocks for the standard errors; found from the correlation by default.

    Raises:
        InputError: a source, cell or size that cannot be used.
    """
    observable = StructureFactor(k_max, width, weighting, {} if scatterers is None else scatterers, blocks)
    trajectory = analysed(source, discard)
    prepared = observable.prepare(first_systems(trajectory), trajectory.cells)
    return prepared.result(*accumulate(prepared, trajectory))


def _species(numbers: np.ndarray) -> dict[str, int]:
    """Atomic number by symbol of all species that are there, 0 being padding; rising."""
    from ase.data import chemical_symbols

    return {chemical_symbols[z]: int(z) for z in np.unique(numbers[numbers > 0])}
