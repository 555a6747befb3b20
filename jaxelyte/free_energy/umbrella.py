"""Umbrella sampling along the distance of two atoms, all windows in one compiled run, combined by MBAR."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte import checks, units
from jaxelyte.dynamics import NVT, Run, simulate
from jaxelyte.errors import InputError
from jaxelyte.free_energy.estimators import bar, chances, overlap_matrix, solve_mbar, unbiased_weights
from jaxelyte.free_energy.frames import rounded_up, whole_frames
from jaxelyte.free_energy.profile import (
    BLOCKS,
    bin_edges,
    block_bounds,
    checked_screening,
    checked_species,
    profile,
    pulls_of,
    symbols_of,
)
from jaxelyte.free_energy.steps import CROSSING, crossing_samples
from jaxelyte.observables import Distance, PMFResult, SeriesResult
from jaxelyte.observables.blocks import of_series
from jaxelyte.plots.rich import Rich
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.distance import DistanceRestraint, checked_pair
from jaxelyte.system import check_kind
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

LEAST_OVERLAP = 0.03
"""Of neighbouring windows: below it their relative free energy hangs on a few samples (Klimovich, Shirts and Mobley,
J. Comput.-Aided Mol. Des. 29, 397 (2015))."""

NAMED = 2
"""Windows, or steps between them, that a message names one by one."""

INDEPENDENT = 20.0
"""Independent samples of a window below which there is no error bar: each stretch of the jackknife needs two."""


@dataclass(frozen=True)
class UmbrellaResult(Rich):
    """A potential of mean force from umbrella sampling.

    Attributes:
        pmf: w(r), with minima and barrier; zero, or the screened Coulomb energy, at the far end of the range.
        centers: (windows,), Å.
        k: spring constants, (windows,), eV/Å².
        free_energies: (windows,), eV, of the biased ensembles relative to the first.
        overlap: (windows, windows), overlap matrix of MBAR; rows add up to one.
        counts: (windows, bins), samples of each window in the bins of the PMF.
        independent: (windows,), independent samples.
        support: (windows - 1,), independent samples that decide the steps between neighbouring windows.
        refused: why w(r) has no error bars (NaN), empty where it has.
        run: the run, where there was one.
    """

    pmf: PMFResult
    centers: np.ndarray
    k: np.ndarray
    free_energies: np.ndarray
    overlap: np.ndarray
    counts: np.ndarray
    independent: np.ndarray
    support: np.ndarray
    refused: str = ""
    run: Run | None = None

    def plot(self, ax: Any = None) -> Any:
        """Draw w(r), and the histograms of the windows behind it; returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.umbrella(self, ax)

    def to_csv(self, path: str | Path) -> None:
        """Write w(r); see `PMFResult.to_csv`."""
        self.pmf.to_csv(path)

    def to_json(self, path: str | Path) -> None:
        """Write minima and barrier; see `PMFResult.to_json`."""
        self.pmf.to_json(path)

    def __repr__(self) -> str:
        least = float(np.min(np.diagonal(self.overlap, 1))) if len(self.centers) > 1 else math.nan
        lines = [
            repr(self.pmf),
            f"  {counted(len(self.centers), 'window')}, smallest overlap of neighbours {least:.2f}",
        ]
        lines[-1] += f", at least {counted(int(self.independent.min()), 'independent sample')} in each"
        return "\n".join(lines + [f"  no error bars: {self.refused}"] * bool(self.refused))


def umbrella_sampling(
    potential: Potential,
    atoms: Atoms,
    pair: tuple[int, int],
    ensemble: NVT,
    *,
    centers: Sequence[float],
    k: float | Sequence[float],
    steps: int,
    equilibration: int | None = None,
    pull: float = 1.0,
    timestep: float = 0.5,
    sample_every: int = 10,
    width: float = 0.05,
    charges: Mapping[str, float] | None = None,
    permittivity: float | None = None,
    **options: Any,
) -> UmbrellaResult:
    """Potential of mean force of two atoms by umbrella sampling (Torrie and Valleau, J. Comput. Phys. 23, 187 (1977)).

    Each window is a replica of one run with its own restraint ½ k (r - r0)², which starts at the distance that the
    atoms have and is pulled to its centre; samples of all windows are combined by MBAR (Shirts and Chodera, J. Chem.
    Phys. 129, 124105 (2008)). w(r) is that of g(r): the entropy 2 k_B T ln r of the distance is taken out.

    It fails where something slow beside the distance (the shell of a small ion, a pair that exchanges its bridging
    water) does not relax within a window: windows then agree within themselves and not with each other; compare
    pulling inwards and outwards.

    Args:
        potential: of the system, without the restraint.
        atoms: start structure.
        pair: indices of the two atoms.
        ensemble: `NVT`.
        centers: Å, one for each window, rising; up to half the cell.
        k: eV/Å², one, or one for each window. The spread in a window is about (k_B T/k)^½: 0.16 Å for 1 eV/Å² at 300 K.
        steps: of production in each window, rounded up to whole frames of a hundred samples; with ``every`` in the
            options, those given.
        equilibration: steps of each window at its centre before that; a fifth of ``steps`` by default.
        pull: Å/ps, how fast the restraints move to their centres.
        timestep: fs.
        sample_every: steps between samples of the distance.
        width: of the bins of w(r), Å.
        charges: see `pmf`; with them the far end is at the screened Coulomb energy instead of zero.
        permittivity: see `pmf`.
        options: of `simulate`: seed, output, resume, every, progress, …

    Returns:
        Result with ``pmf``, the overlap of windows and the run.

    Raises:
        InputError: windows that cannot be used; see also `simulate`.

    Warns:
        UserWarning: neighbouring windows that hardly overlap, or no error bars; see `umbrella_pmf`.
    """
    potential = as_potential(potential)
    pair = checked_pair(pair)
    if not isinstance(ensemble, NVT):
        raise InputError(f"umbrella sampling is at constant temperature; the ensemble must be NVT, not {ensemble!r}")
    windows, springs = _windows(centers, k)
    check_kind(atoms)
    species = symbols_of(atoms, pair)
    timestep = checks.quantity("timestep", timestep, "time step")
    pull = checks.number("pull", pull, "Å/ps", above=0.0, most=1e4)
    steps, sample_every = checks.count("steps", steps), checks.count("sample_every", sample_every)
    if equilibration is not None:
        equilibration = checks.count("equilibration", equilibration, least=0)
    width = checks.quantity("width", width, "bin width")
    checked_screening(charges, permittivity, species)
    start = float(atoms.get_distance(*pair, mic=bool(np.any(atoms.pbc))))
    rate = pull * timestep / 1000.0
    every, steps = whole_frames(steps, sample_every, options, 100)
    before = math.ceil(float(np.max(np.abs(windows - start))) / rate)
    before += steps // 5 if equilibration is None else equilibration
    before = rounded_up(before, every)
    restraint = DistanceRestraint(pair, k=springs, center=windows, rate=rate)
    run = simulate(
        potential + restraint,
        atoms,
        ensemble,
        steps=before + steps,
        timestep=timestep,
        replicas=len(windows),
        every=every,
        sample_every=sample_every,
        equilibration=before,
        observables={"distance": Distance(pair)},  # pyright: ignore[reportArgumentType]
        **options,
    )
    series: SeriesResult | None = run.observables.get("distance")
    if series is None or len(series) < 2:
        if run.completed:
            raise InputError(
                f"steps = {steps} hold fewer than two samples, one every {counted(sample_every, 'step')}; give more "
                "steps"
            )
        raise InputError(
            f"the run was stopped after {counted(run.log['step'][-1], 'step')}, before {before} of equilibration were "
            "done: go on with resume=True"
        )
    result = umbrella_pmf(
        list(series.values[:, :, 0].T),
        windows,
        springs,
        ensemble.temperature,
        species=species,
        width=width,
        charges=charges,
        permittivity=permittivity,
    )
    return UmbrellaResult(**{**_fields(result), "run": run})


def umbrella_pmf(
    distances: Sequence[np.ndarray],
    centers: Sequence[float] | np.ndarray,
    k: float | Sequence[float] | np.ndarray,
    temperature: float,
    *,
    species: tuple[str, str] = ("X", "X"),
    width: float = 0.05,
    charges: Mapping[str, float] | None = None,
    permittivity: float | None = None,
) -> UmbrellaResult:
    """Potential of mean force from the distances sampled in windows, of any program; see `umbrella_sampling`.

    Standard errors follow from how much each stretch of time moves w(r), all windows together, and count the
    correlation in time. There are no error bars (NaN) where a window has fewer than 20
    independent samples, or where fewer than 30 decide the step between two neighbours (Bennett's ratio): w(r) is then
    joined there by chance.

    Args:
        distances: of each window, (samples,), Å, in the order of time.
        centers: (windows,), Å.
        k: eV/Å².
        temperature: K.
        species: chemical symbols of the pair.
        width: of the bins, Å.
        charges: see `pmf`.
        permittivity: see `pmf`.

    Raises:
        InputError: windows and samples that do not fit.

    Warns:
        UserWarning: neighbouring windows that hardly overlap, or no error bars.
    """
    windows, springs = _windows(centers, k)
    given = checks.sequence("distances", distances, "series of distances, one for each window")
    samples = [checks.array(f"distances[{n}]", d, (None,), "Å") for n, d in enumerate(given)]
    if len(samples) != len(windows) or any(len(d) < 2 for d in samples):
        raise InputError(
            f"{len(windows)} windows need as many series of at least two distances in Å, not {len(samples)} of "
            f"{min((len(d) for d in samples), default=0)} or more"
        )
    for n, one in enumerate(samples):
        checks.quantities(f"distances[{n}]", one, "distance", warn=False)
    temperature = checks.quantity("temperature", temperature, "temperature")
    width = checks.quantity("width", width, "bin width")
    species = checked_species(species)
    checked_screening(charges, permittivity, species)
    beta = 1.0 / (units.BOLTZMANN * temperature)
    every = np.concatenate(samples)
    edges = bin_edges(float(every.min()), float(every.max()), width)

    bias = 0.5 * beta * springs[:, None] * (every - windows[:, None]) ** 2
    solution = solve_mbar(bias, np.array([len(d) for d in samples]))
    weight = unbiased_weights(bias, solution)
    whole = np.histogram(every, edges, weights=weight)[0]
    overlap = overlap_matrix(solution)
    independent, support = _supported(samples, windows, springs, beta)
    refused = _judged(windows, np.diagonal(overlap, 1), independent, support)
    pulls = None if refused else _pulls(samples, weight, chances(bias, solution)[:2], edges, whole)
    result = profile(edges, whole, pulls, species, temperature, len(every), charges, permittivity)
    counts = np.array([np.histogram(d, edges)[0] for d in samples])
    energies = np.asarray(solution.f_k - solution.f_k[0]) / beta
    return UmbrellaResult(result, windows, springs, energies, overlap, counts, independent, support, refused)


def _windows(centers: Any, k: Any) -> tuple[np.ndarray, np.ndarray]:
    windows = checks.quantities("centers", centers, "distance", (None,))
    if len(windows) < 2:
        raise InputError(f"centers = {checks.shown(centers)} must be two or more distances in Å")
    if np.any(np.diff(windows) <= 0):
        raise InputError(f"centers = {windows.tolist()} Å have to rise")
    springs = checks.quantities("k", k, "bond stiffness")
    if springs.shape not in ((), windows.shape):
        raise InputError(
            f"k = {checks.shown(k)} must be positive in eV/Å², one number or one for each of "
            f"{counted(len(windows), 'window')}"
        )
    return windows, np.broadcast_to(springs, windows.shape).copy()


def _pulls(
    samples: list[np.ndarray],
    weight: np.ndarray,
    found: tuple[np.ndarray, np.ndarray],
    edges: np.ndarray,
    whole: np.ndarray,
) -> np.ndarray:
    """(stretches, bins): what each stretch of time of all windows adds to the deviation of ln of the weight in a bin.

    A sample moves it by its own weight, and by its chances to be of each window, which move the free energies of these.
    Samples of a window move it about their own mean.
    """
    chance, response = found
    inside = np.clip(np.digitize(np.concatenate(samples), edges) - 1, 0, len(whole) - 1)
    shared = np.array([np.bincount(inside, row * weight, len(whole)) for row in chance])  # (windows, bins)
    by_chance = response @ (shared / np.where(whole > 0.0, whole, 1.0))
    blocks, first = min(BLOCKS, *(len(d) for d in samples)), 0
    total = np.zeros((blocks, len(whole)))
    for one in samples:
        bounds = [slice(first + a, first + b) for a, b in block_bounds(len(one), blocks)]
        sums = np.array([np.bincount(inside[part], weight[part], len(whole)) for part in bounds])
        crowd = np.array([chance[:, part].sum(axis=1) for part in bounds])
        total += pulls_of(sums, whole) + (crowd - crowd.mean(axis=0)) @ by_chance
        first += len(one)
    return total


def _supported(
    samples: list[np.ndarray], centers: np.ndarray, springs: np.ndarray, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Independent samples of each window, and how many decide the step from each to the next one."""
    counts = np.array([len(d) for d in samples], np.float64)
    # A series too short for an estimate counts as one sample.
    found = np.array([float(of_series(d).inefficiency) for d in samples])
    worth = np.where(np.isfinite(found), np.maximum(1.0, found), counts)

    def step(r: np.ndarray, n: int) -> np.ndarray:
        energy = 0.5 * beta * springs[n : n + 2, None] * (r - centers[n : n + 2, None]) ** 2
        return energy[1] - energy[0]

    support = [
        crossing_samples(bar(step(samples[n], n), -step(samples[n + 1], n)).crossing, worth[n : n + 2])
        for n in range(len(samples) - 1)
    ]
    return counts / worth, np.array(support)


def _judged(centers: np.ndarray, overlaps: np.ndarray, independent: np.ndarray, support: np.ndarray) -> str:
    """Why there are no error bars, empty where there are; one warning for this and for windows that hardly overlap."""
    few = np.flatnonzero(~(independent >= INDEPENDENT))
    weak, thin = ~(support >= CROSSING), ~(overlaps >= LEAST_OVERLAP)

    def steps(chosen: np.ndarray) -> list[str]:
        texts = [
            f"windows at {centers[n]:g} and {centers[n + 1]:g} Å overlap by {overlaps[n]:.3f} (at least "
            f"{LEAST_OVERLAP} is needed), and {support[n]:.1f} independent samples decide the step between them "
            f"({CROSSING:g} are needed)"
            for n in chosen
        ]
        return _worst(texts, support[chosen], "steps")

    texts = [
        f"the window at {centers[n]:g} Å has {independent[n]:.0f} independent samples ({INDEPENDENT:g} are needed)"
        for n in few
    ]
    short, gaps = _worst(texts, independent[few], "windows"), steps(np.flatnonzero(weak | thin))
    refused = "; ".join(short + steps(np.flatnonzero(weak)))
    if short or gaps:
        remedy = ["run longer"] * bool(short) + ["put a window between them, or use weaker springs"] * bool(gaps)
        head = "w(r) has no error bars" if refused else "w(r) hangs on few samples"
        checks.caution(f"umbrella sampling: {head}: {'; '.join(short + gaps)}. To mend it, {', and '.join(remedy)}")
    return refused


def _worst(texts: list[str], measure: np.ndarray, what: str) -> list[str]:
    """The texts if they are one or two; of more, that of the smallest measure, and how many others there are."""
    if len(texts) <= NAMED:
        return texts
    return [f"{texts[int(np.argmin(measure))]}, and so in {len(texts) - 1} other {what}, with more samples"]


def _fields(result: UmbrellaResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in UmbrellaResult.__dataclass_fields__}
