"""Free energy differences along a linear mixture of two potentials, all windows of λ in one compiled run.

    U_λ = (1 - λ) U0 + λ U1,   dU/dλ = U1 - U0,   ΔF = ∫ <U1 - U0>_λ dλ,   d²F/dλ² = -Var(U1 - U0)/k_B T ≤ 0

The same samples serve thermodynamic integration (Kirkwood, J. Chem. Phys. 3, 300 (1935)), exponential averages, BAR and
MBAR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.dynamics import NVT, Run, simulate
from jaxelyte.dynamics.start import batch_systems
from jaxelyte.errors import InputError, RunInterruptedError, UnsupportedError
from jaxelyte.free_energy.contents import of_mixture
from jaxelyte.free_energy.difference import ESTIMATORS, FreeEnergyResult, difference
from jaxelyte.free_energy.end_points import check_end_points
from jaxelyte.free_energy.frames import rounded_up, whole_frames
from jaxelyte.free_energy.quadrature import even_nodes, nodes_and_weights
from jaxelyte.observables import Sample, Series, SeriesResult
from jaxelyte.potentials.base import Potential, as_potential, walk
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.potentials.reference import reference_energies
from jaxelyte.system import check_kind
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms

MOST_ROUNDS = 6
"""Doublings of the run at most, on the way to an error that was asked for."""

FRAME = 10
"""Samples between frames, unless ``every`` is given."""


@dataclass(frozen=True)
class EndEnergies(Series):
    """U0 and U1 in eV at the positions of each replica, without reference energies, and the window it is in."""

    @property
    def columns(self) -> tuple[str, ...]:
        return ("initial", "final", "window")

    @property
    def unit(self) -> str:
        return "eV, eV, number"

    def values(self, sample: Sample) -> Float[Array, "replicas columns"]:
        ladder = ladder_of(sample.potential)
        initial, final = ladder.ends(sample.systems, sample.neighbors)
        order = jnp.arange(len(initial)) if ladder.place is None else ladder.place
        return jnp.stack([initial, final, order.astype(initial.dtype)], axis=-1)


def ladder_of(potential: Potential) -> Ladder:
    """The one ladder in a sum.

    Raises:
        UnsupportedError: there is none, or several.
    """
    found = [term for term in walk(potential) if isinstance(term, Ladder)]
    if len(found) != 1:
        raise UnsupportedError(f"{len(found)} ladders in the potential; there has to be one")
    return found[0]


def free_energy(
    initial: Potential,
    final: Potential,
    atoms: Atoms | list[Atoms],
    ensemble: NVT,
    *,
    steps: int,
    windows: int = 8,
    nodes: str | Sequence[float] = "clenshaw-curtis",
    common: Potential | None = None,
    estimator: str = "MBAR",
    exchange: int = 0,
    adapt: bool = False,
    target: float | None = None,
    timestep: float = 0.5,
    sample_every: int = 10,
    equilibration: int = 0,
    seed: int = 0,
    check: bool = True,
    **options: Any,
) -> FreeEnergyResult:
    """Free energy F(final) - F(initial) of the same atoms in two potentials.

    Every window is a replica of one run. The beginning of each window, until it is in equilibrium, is found and left
    out; errors count the correlation of samples.

    Where too few independent samples decide a step between neighbouring windows, or to an end without a window, the
    estimate has no error bar (NaN) and a warning names the step and the remedy; the same for TI where its quadrature
    is off by more than its statistical error. It fails where something slow does not follow within a window; forward
    and backward convergence (`FreeEnergyResult.plot_convergence`) and ``exchange`` help to see that.
    The mixture of a potential in which an atom is a ghost with one in which it is not diverges at the ghost's end; it
    is refused with advice. Momenta do not change with λ, so ΔF is configurational and the same masses are assumed.

    Args:
        initial: U0.
        final: U1.
        atoms: start structure, or one for each window.
        ensemble: `NVT`.
        steps: of each window, rounded up to whole frames of ten samples; with ``every`` in the options, those given.
        windows: number of λ.
        nodes: "clenshaw-curtis", "trapezoid", or the λ themselves from 0 to 1, all with windows at both ends; or
            "gauss-legendre", from whose outermost windows the ends are extrapolated.
        common: what stands beside the mixture in all windows, which is cheaper than having it in both ends.
        estimator: "MBAR", "TI" or "BAR": which of them ``value`` and ``error`` are of.
        exchange: steps between attempts to swap λ of neighbouring windows (Hamiltonian replica exchange); 0 for none.
        adapt: place the windows by a pilot run of a quarter of the steps, evenly in ∫ Var(U1 - U0)^½ dλ (their
            thermodynamic distance).
        target: eV, go on (each time with twice the steps, at most `MOST_ROUNDS` times) until the error is below it.
        timestep: fs.
        sample_every: steps between samples of both energies; each costs two evaluations without forces.
        equilibration: steps of each window that are left out before its equilibrium is looked for.
        seed: of velocities, thermostat and exchange.
        check: look for ghosts before the run; costs a few evaluations on the host.
        options: of `simulate`: output, resume, every, progress, velocities, minimize, …

    Returns:
        Result with ``value`` and ``error`` in eV, all estimates, windows, overlap and convergence; its ``contents``
        say what the value is of. Corrections for charged cells are never added: see `charge_correction`.

    Raises:
        InputError: windows, nodes or ends that cannot be used; see also `simulate`.
        RunInterruptedError: stopped by the user before there were enough samples.

    Warns:
        UserWarning: see `difference`.
    """
    if not isinstance(ensemble, NVT):
        raise InputError(f"free energies are at constant temperature; the ensemble must be NVT, not {ensemble!r}")
    if target is not None:
        target = checks.positive("target", target, "eV")
    steps, sample_every = checks.count("steps", steps), checks.count("sample_every", sample_every)
    exchange = checks.count("exchange", exchange, least=0)
    equilibration = checks.count("equilibration", equilibration, least=0)
    if equilibration >= steps:
        raise InputError(f"equilibration = {equilibration} leaves none of steps = {steps}")
    every, steps = whole_frames(steps, sample_every, options, FRAME)
    seed, timestep = checks.random_seed(seed), checks.quantity("timestep", timestep, "time step")
    checks.choice("estimator", estimator, ESTIMATORS)
    check, adapt = checks.flag("check", check), checks.flag("adapt", adapt)
    if target is not None and options.get("output") is None:
        raise InputError("target= goes on with a run until its error is small, so it needs a folder: pass output=")
    initial, final = as_potential(initial, "initial"), as_potential(final, "final")
    common = None if common is None else as_potential(common, "common")
    if not isinstance(nodes, str):
        nodes = checks.array("nodes", nodes, (None,)).tolist()
    lam, weights = nodes_and_weights(windows, nodes)
    first: Any = atoms[0] if isinstance(atoms, list) and atoms else atoms
    check_kind(first)
    if check:
        check_end_points(initial, final, first)
    reference = _reference_gap(initial, final, first)
    shared = dict(timestep=timestep, sample_every=sample_every, seed=seed, equilibration=equilibration, every=every)
    if adapt:
        rest = {k: v for k, v in options.items() if k not in ("output", "resume", "overwrite")}
        first_part = {**shared, "equilibration": equilibration // 4, "every": FRAME * sample_every}
        first_steps = rounded_up(steps / 4, FRAME * sample_every)
        pilot = _run(initial, final, common, atoms, ensemble, lam, first_steps, exchange, first_part, rest)
        spread = np.array([np.std(gap) for gap in _by_window(pilot, reference)[0]])
        lam, weights = nodes_and_weights(len(lam), even_nodes(lam, spread, len(lam)).tolist())
    for left in reversed(range(1 if target is None else MOST_ROUNDS)):
        run = _run(initial, final, common, atoms, ensemble, lam, steps, exchange, shared, options)
        gaps, walkers = _by_window(run, reference)
        result = difference(
            gaps,
            lam,
            ensemble.temperature,
            weights=weights,
            estimator=estimator,
            run=run,
            reference=reference,
            contents=of_mixture(initial, final, first),
            walkers=walkers if exchange else None,
        )
        if target is None or result.error <= target or not run.completed or not left:
            return result
        if np.any(result.support == 0.0):
            return result  # longer runs do not bring windows together
        steps, options = 2 * steps, {**options, "resume": True, "overwrite": False}
    raise AssertionError("the last round returns")


def _run(
    initial: Potential,
    final: Potential,
    common: Potential | None,
    atoms: Atoms | list[Atoms],
    ensemble: NVT,
    lam: np.ndarray,
    steps: int,
    exchange: int,
    shared: dict[str, Any],
    options: dict[str, Any],
) -> Run:
    if isinstance(atoms, list) and len(atoms) != len(lam):
        raise InputError(f"{len(atoms)} start structures for {counted(len(lam), 'window')}; give one, or one for each")
    ladder = Ladder(initial, final, lam, temperature=ensemble.temperature, exchange=exchange)
    return simulate(
        ladder if common is None else common + ladder,
        atoms,
        ensemble,
        steps=steps,
        replicas=1 if isinstance(atoms, list) else len(lam),
        observables={"energies": EndEnergies()},
        **shared,
        **options,
    )


def _by_window(run: Run, reference: float) -> tuple[list[np.ndarray], np.ndarray]:
    """U1 - U0 in eV of each window in the order of time, and the replicas that were in them, (samples, windows)."""
    series: SeriesResult | None = run.observables.get("energies")
    if series is None or len(series) < 20:
        found = 0 if series is None else len(series)
        if not run.completed:
            raise RunInterruptedError(
                f"interrupted after {counted(found, 'sample')} of each window, too few for a free energy; resume=True "
                "goes on"
            )
        raise InputError(
            f"{counted(found, 'sample')} of each window are too few for a free energy (20 at least); run longer"
        )
    gap = series.values[..., 1] - series.values[..., 0] + reference
    place = np.rint(series.values[..., 2]).astype(int)
    order = np.argsort(place, axis=1)
    return list(np.take_along_axis(gap, order, axis=1).T), order


def _reference_gap(initial: Potential, final: Potential, atoms: Atoms) -> float:
    """Difference of the constant reference energies in eV, which the run leaves out."""
    systems = batch_systems(atoms, 1, overlap=0.0)  # of the species alone
    return float(reference_energies(final, systems)[0] - reference_energies(initial, systems)[0])
