"""Well-tempered metadynamics along the distance of two atoms, with several walkers in one compiled run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxelyte import checks, units
from jaxelyte.dynamics import NVT, Run, simulate
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.free_energy.frames import whole_frames
from jaxelyte.free_energy.profile import (
    bin_edges,
    block_bounds,
    checked_screening,
    profile,
    pulls_of,
    symbols_of,
)
from jaxelyte.observables import PMFResult, Sample, Series, SeriesResult
from jaxelyte.plots.rich import Rich
from jaxelyte.potentials.base import Potential, as_potential, walk
from jaxelyte.potentials.distance import Metadynamics, checked_pair, distances
from jaxelyte.system import check_kind
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

CROSSINGS = 20
"""Passages of the walkers between the lower and the upper third of the range, below which there are no error bars: what
both ends weigh relative to each other is known from these passages only."""


@dataclass(frozen=True)
class BiasSeries(Series):
    """Distance in Å, and the bias and its offset in eV that it is drawn under.

    The offset c(t) = k_B T ln (∫ exp(γ V / ((γ - 1) k_B T)) ds / ∫ exp(V / ((γ - 1) k_B T)) ds) makes samples of
    different times comparable: their weights are exp((V - c) / k_B T) (Tiwary and Parrinello, J. Phys. Chem. B 119,
    736 (2015), Eq. 12).
    """

    @property
    def columns(self) -> tuple[str, ...]:
        return ("distance", "bias", "offset")

    @property
    def unit(self) -> str:
        return "Å, eV, eV"

    def values(self, sample: Sample) -> Float[Array, "replicas columns"]:
        term = metadynamics_term(sample.potential)
        r = distances(sample.systems, term.pair)
        energy = term.energies(sample.systems, sample.neighbors)
        thermal = units.BOLTZMANN * term.temperature
        bias = jnp.asarray(term.bias, r.dtype) / thermal
        tempered = jnp.zeros_like(bias) if math.isinf(term.bias_factor) else bias / (term.bias_factor - 1.0)
        offset = thermal * (jax.nn.logsumexp(bias + tempered) - jax.nn.logsumexp(tempered))
        return jnp.stack([r, energy, jnp.broadcast_to(offset, r.shape)], axis=-1)


@dataclass(frozen=True)
class MetadynamicsResult(Rich):
    """A potential of mean force from metadynamics.

    Attributes:
        pmf: w(r) from the reweighted samples, with minima and barrier.
        grid: (nodes,), Å.
        from_bias: (nodes,), eV, the same from the final bias, -γ/(γ-1) V + 2 k_B T ln r, lowest value zero.
        crossings: passages between the lower and the upper third of the range, all walkers together.
        run: the run.
    """

    pmf: PMFResult
    grid: np.ndarray
    from_bias: np.ndarray
    crossings: int
    run: Run

    def plot(self, ax: Any = None) -> Any:
        """Draw w(r) from samples and from the bias; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.metadynamics(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write w(r); see `PMFResult.to_csv`."""
        self.pmf.to_csv(path)

    def to_json(self, path: str | Path) -> None:
        """Write minima and barrier; see `PMFResult.to_json`."""
        self.pmf.to_json(path)

    def __repr__(self) -> str:
        return f"{self.pmf!r}\n  {self.crossings} crossings of the range"


def metadynamics(
    potential: Potential,
    atoms: Atoms | list[Atoms],
    pair: tuple[int, int],
    ensemble: NVT,
    *,
    upper: float,
    steps: int,
    walkers: int = 1,
    height: float = 0.005,
    width: float = 0.1,
    stride: int = 200,
    bias_factor: float = 8.0,
    lower: float = 1.0,
    equilibration: int | None = None,
    timestep: float = 0.5,
    sample_every: int = 10,
    bins: float = 0.05,
    charges: Mapping[str, float] | None = None,
    permittivity: float | None = None,
    **options: Any,
) -> MetadynamicsResult:
    """Potential of mean force of two atoms by well-tempered metadynamics; see `potentials.distance.Metadynamics`.

    w(r) comes from the samples after the bias has grown, each weighted by the bias it was drawn under, with standard
    errors that count their correlation in time (NaN where the run is too short against it); the bias itself gives a
    second curve.

    It fails where something slow beside the distance does not follow: walkers then do not come back (``crossings``
    tells), and the bias grows without converging.

    Args:
        potential: of the system, without the bias.
        atoms: start structure, or one for each walker.
        pair: indices of the two atoms.
        ensemble: `NVT`.
        upper: Å, end of the range, at most half the cell; a wall keeps the atoms from leaving it.
        steps: of each walker, rounded up to whole frames of a hundred samples; with ``every`` in the options, those
            given.
        walkers: replicas that fill one bias together.
        height: eV, of the first Gaussians.
        width: Å, of the Gaussians.
        stride: steps between them.
        bias_factor: γ, about the highest barrier in k_B T; infinity for plain metadynamics.
        lower: Å, beginning of the range.
        equilibration: steps at the start, in which the bias grows, that are not used; three tenths of ``steps`` by
            default. Rounded down to a multiple of ``every``.
        timestep: fs.
        sample_every: steps between samples.
        bins: width of the bins of w(r), Å.
        charges: see `pmf`; with them the far end is at the screened Coulomb energy instead of zero.
        permittivity: see `pmf`.
        options: of `simulate`: seed, output, resume, every, progress, …

    Raises:
        InputError: see `Metadynamics` and `simulate`.

    Warns:
        UserWarning: fewer crossings of the range than `CROSSINGS`, without error bars then.
    """
    potential = as_potential(potential)
    pair = checked_pair(pair)
    if not isinstance(ensemble, NVT):
        raise InputError(f"metadynamics is at constant temperature; the ensemble must be NVT, not {ensemble!r}")
    for number, one in enumerate(atoms if isinstance(atoms, list) else [atoms]):
        check_kind(one, f"atoms[{number}]" if isinstance(atoms, list) else "atoms")
    if isinstance(atoms, list) and not atoms:
        raise InputError("the list of start structures is empty")
    species = symbols_of(atoms, pair)
    steps, sample_every = checks.count("steps", steps), checks.count("sample_every", sample_every)
    grown = 3 * steps // 10 if equilibration is None else checks.count("equilibration", equilibration, least=0)
    if grown >= steps:
        raise InputError(f"equilibration = {grown} leaves none of steps = {steps}; the bias grows in it")
    walkers = checks.count("walkers", walkers)
    bins = checks.quantity("bins", bins, "bin width")
    checked_screening(charges, permittivity, species)
    bias = Metadynamics(
        pair,
        upper=upper,
        temperature=ensemble.temperature,
        height=height,
        width=width,
        stride=stride,
        bias_factor=bias_factor,
        lower=lower,
    )
    every, steps = whole_frames(steps, sample_every, options, 100)
    run = simulate(
        potential + bias,
        atoms,
        ensemble,
        steps=steps,
        timestep=timestep,
        replicas=1 if isinstance(atoms, list) else walkers,
        every=every,
        sample_every=sample_every,
        equilibration=every * (grown // every),
        observables={"bias": BiasSeries()},
        **options,
    )
    series: SeriesResult | None = run.observables.get("bias")
    if series is None or len(series) < 2:
        raise InputError(f"{steps} steps hold fewer than two samples; run longer, or sample more often")
    result, crossings = weighted_profile(
        series.values,
        ensemble.temperature,
        range_=(lower, upper),
        bins=bins,
        species=species,
        charges=charges,
        permittivity=permittivity,
    )
    assert run.potential is not None
    final = metadynamics_term(run.potential)
    return MetadynamicsResult(result, final.grid, _from_bias(final), crossings, run)


def weighted_profile(
    values: np.ndarray,
    temperature: float,
    *,
    range_: tuple[float, float],
    bins: float = 0.05,
    species: tuple[str, str] = ("X", "X"),
    charges: Mapping[str, float] | None = None,
    permittivity: float | None = None,
) -> tuple[PMFResult, int]:
    """Potential of mean force from samples under a bias that grows, and how often walkers crossed the range.

    Args:
        values: (samples, walkers, 3), distance in Å, bias and offset in eV; see `BiasSeries`.
        temperature: K.
        range_: Å.
        bins: width of the bins of w(r), Å.
        species: chemical symbols of the pair.
        charges: see `pmf`.
        permittivity: see `pmf`.

    Warns:
        UserWarning: fewer crossings of the range than `CROSSINGS`, without error bars then.
    """
    r, weight = values[..., 0], _weights(values, temperature)
    edges = bin_edges(float(r.min()), min(float(r.max()), range_[1]), bins)
    per_time = np.array([np.histogram(r[a:b], edges, weights=weight[a:b])[0] for a, b in block_bounds(len(r))])
    whole = per_time.sum(axis=0)
    crossings = count_crossings(r, lower=float(edges[0]), upper=range_[1])
    pulls = pulls_of(per_time, whole) if crossings >= CROSSINGS else None
    result = profile(edges, whole, pulls, species, temperature, r.size, charges, permittivity)
    if crossings < CROSSINGS:
        checks.caution(
            f"metadynamics: the walkers crossed the range {crossings} times only (at least {CROSSINGS} are needed): "
            "w(r) has no error bars; run longer, or with more or higher Gaussians"
        )
    return result, crossings


def metadynamics_term(potential: Potential) -> Metadynamics:
    """The one bias of metadynamics in a sum.

    Raises:
        UnsupportedError: there is none, or several.
    """
    found = [term for term in walk(potential) if isinstance(term, Metadynamics)]
    if len(found) != 1:
        raise UnsupportedError(f"{counted(len(found), 'term')} of metadynamics in the potential; there has to be one")
    return found[0]


def count_crossings(r: np.ndarray, *, lower: float, upper: float) -> int:
    """Passages between the lower and the upper third of a range, of series (samples, walkers)."""
    third = (upper - lower) / 3.0
    where = np.where(r < lower + third, -1, np.where(r > upper - third, 1, 0))
    total = 0
    for walker in where.T:
        visited = walker[walker != 0]
        total += int(np.sum(visited[1:] != visited[:-1]))
    return total


def _weights(values: np.ndarray, temperature: float) -> np.ndarray:
    """(samples, walkers): exp((V - c) / k_B T), largest one."""
    exponent = (values[..., 1] - values[..., 2]) / (units.BOLTZMANN * temperature)
    return np.exp(exponent - exponent.max())


def _from_bias(term: Metadynamics) -> np.ndarray:
    tempered = 1.0 if math.isinf(term.bias_factor) else term.bias_factor / (term.bias_factor - 1.0)
    grid = term.grid
    entropy = 2.0 * units.BOLTZMANN * term.temperature * np.log(np.maximum(grid, 1e-3))
    energy = -tempered * np.asarray(term.bias, np.float64) + entropy
    return energy - energy.min()
