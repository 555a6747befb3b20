"""Parameters from measured averages: gradient descent on observables, with reweighting between simulations."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte import checks
from jaxelyte.dynamics import NVT, Run, simulate
from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.gradients.fit_folder import Progress, begin, describe, keep
from jaxelyte.gradients.frames import leafwise
from jaxelyte.gradients.reweighting import LEAST, Reweighting
from jaxelyte.gradients.targets import Target
from jaxelyte.plots.rich import Rich
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.form_error import check_plain
from jaxelyte.storage import claimed, output_folder
from jaxelyte.wording import counted, plus_minus

if TYPE_CHECKING:
    from ase import Atoms

HALVINGS = 30
"""A step that is still too long after so many is none."""


@dataclass(frozen=True)
class ObservablesFit(Rich):
    """Parameters that were fitted to averages.

    Attributes:
        potential: with the best parameters: the lowest loss among those that were simulated themselves. (Reweighted
            losses are of the frames that the parameters were just fitted to, and flatter.)
        history: a row for each step: "loss", its standard "error" (NaN where the frames support none), the "noise" that
            the statistical error of the averages puts into it even if they are right, losses by target, the "effective"
            share of the frames, whether it was "simulated" anew, and the "length" of the step that followed, relative
            to what the optimiser wanted.
            The last row is a simulation with the last parameters, which no step followed.
        best: row of the potential.
        run: the last simulation, None if there was none.
        completed: False if it was interrupted.
    """

    potential: Potential
    history: list[dict[str, Any]]
    best: int
    run: Run | None = field(default=None, repr=False)
    completed: bool = True

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss against the steps; new simulations are dots. Returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.observables_fit(self, ax)

    def __repr__(self) -> str:
        row = self.history[self.best] if 0 <= self.best < len(self.history) else {}
        known = {"loss", "error"} <= set(row)
        loss = f"loss {plus_minus(row['loss'], row['error'])}" if known else "loss unknown"
        state = "completed" if self.completed else "interrupted"
        steps = counted(len(self.history), "step")
        return f"ObservablesFit({state}: {steps}, best {self.best} with {loss}; {self.potential!r})"


def fit_observables(
    potential: Potential,
    targets: Sequence[Target],
    atoms: Atoms | list[Atoms],
    ensemble: NVT,
    *,
    iterations: int,
    steps: int,
    equilibration: int | None = None,
    learning_rate: float | Callable[[Any], Any] = 0.01,
    optimizer: Any = None,
    trainable: Callable[[str], bool] | None = None,
    penalty: Callable[[Potential], jax.Array] | None = None,
    effective: float = 0.5,
    least: float = LEAST,
    every: int = 100,
    at_once: int = 8,
    seed: int = 0,
    output: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    **options: Any,
) -> ObservablesFit:
    """Fit parameters of a potential to measured averages (top-down), any number of them at once.

    The gradient of each average comes from the fluctuations of stored frames (see `Reweighting`). A simulation serves
    as many steps as its frames can be reweighted for; then it is repeated, from where it ended, with the new
    parameters, in the same compiled program (Thaler and Zavadlav, Nat. Commun. 12, 6884 (2021)). A step that would
    leave too few effective samples is halved until it does not, so that a network is never thrown to parameters of
    which the frames say nothing.

    It fails for averages that no parameter moves, and for noise larger than the deviation: where the loss has come down
    to the "noise" of the history only longer simulations help.

    Args:
        potential: start.
        targets: what to fit.
        atoms: start structure, or one for each replica.
        ensemble: `NVT`.
        iterations: gradient steps; a last simulation measures what they led to.
        steps: MD steps of each simulation.
        equilibration: of them left out at the start; a fifth by default.
        learning_rate: of Adam: a parameter changes by about this much in a step. A number or an optax schedule.
        optimizer: an optax transformation instead of Adam.
        trainable: which parameters to change, by their path such as ".sigma" or ".terms[0].k"; all by default.
        penalty: of the potential, added to the loss: a force-matching error, a pull towards the start.
        effective: share of effective samples below which it simulates again.
        least: share of effective samples that a single step has to leave.
        every: steps between stored frames.
        at_once: frames evaluated together; bounds the memory.
        seed: of the simulations.
        output: folder for the state of each step and the history; None keeps them in memory.
        resume: go on with the fit in ``output`` (start it if there is none), with a new simulation from the last
            structures.
        progress: print a line for each step.
        options: of `simulate`: timestep, replicas, …

    Returns:
        The fit, with the best parameters. Ctrl-C stops it after the running chunk; it then returns what there is, with
        ``completed=False``, and can be resumed.

    Raises:
        InputError: no target, no parameter to change, numbers that cannot be used, or a folder that holds another fit.
        SimulationError: a simulation blew up; the state of the step before is kept in ``output``.
        StorageError: ``output`` cannot be written; the step before is kept there.
    """
    import optax

    potential = as_potential(potential)
    _check(targets, ensemble, {"effective": effective, "least": least})
    counts = {"iterations": iterations, "steps": steps, "every": every, "at_once": at_once}
    iterations, steps, every, at_once = (checks.count(name, value) for name, value in counts.items())
    seed, equilibration = checks.random_seed(seed), _checked_equilibration(equilibration, steps, every)
    _check_functions(learning_rate, trainable=trainable, penalty=penalty)
    resume, progress = checks.flag("resume", resume), checks.flag("progress", progress)
    check_plain(potential)
    mask = _mask(potential, trainable)
    rule = optax.adam(learning_rate) if optimizer is None else optimizer
    start = potential
    now = Progress(potential, rule.init(potential), atoms)  # pyright: ignore[reportArgumentType]
    folder = None if output is None else output_folder(output)
    discard = min(steps // every - 1, max(1, (steps // 5 if equilibration is None else equilibration) // every))
    kept: dict[str, Any] = dict(temperature=ensemble.temperature, discard=discard, at_once=at_once, least=0.0)
    arguments: dict[str, Any] = {"equilibration": equilibration, "progress": False, **options}
    samples, run, completed = None, None, True
    settings = describe(start, targets, ensemble)
    with claimed(folder), contextlib.suppress(KeyboardInterrupt):
        if folder is not None:
            now = begin(folder, now, settings, resume, iterations)
        completed = False
        for step in range(len(now.history), iterations + 1):
            last = step == iterations
            found = None if samples is None or last else _evaluate(samples, now.potential, targets, penalty, effective)
            fresh = found is None
            if found is None:
                if isinstance(now.atoms, list):
                    arguments.pop("replicas", None)
                if now.history:  # the structures are those of its last run
                    arguments["overlap"] = 0.0
                arguments |= {"steps": steps, "every": every, "seed": seed + step}
                run = simulate(now.potential, now.atoms, ensemble, **arguments)
                if not run.completed:
                    raise KeyboardInterrupt
                now.atoms = run.atoms
                samples = Reweighting(run, now.potential, **kept)
                found = _evaluate(samples, now.potential, targets, penalty, 0.0)
            if found is None:
                raise JaxelyteError(f"step {step}: an energy of the frames just simulated is not finite")
            row, gradient = found
            row = {"step": step, "simulated": fresh, "length": None} | row
            tested = now.potential
            if not last:
                assert samples is not None
                now.potential, now.state, row["length"] = _stepped(rule, now, gradient, mask, samples, least)
            now.judge(row, tested)
            if progress:
                sys.stderr.write(_line(row, iterations))
            if folder is not None:
                keep(folder, settings, now)
        completed = True
    _, best, chosen = now.best or (math.nan, -1, start)
    return ObservablesFit(chosen, now.history, best, run, completed)


def _check(targets: Sequence[Target], ensemble: NVT, shares: dict[str, float]) -> None:
    for target in checks.sequence("targets", targets, "Target"):
        checks.instance("a target", target, Target, "a Target")
    if not targets:
        raise InputError("there is nothing to fit: give at least one Target")
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise InputError(f"targets need different names for the history, not {', '.join(names)}")
    if not isinstance(ensemble, NVT):
        raise InputError(f"reweighting is at constant temperature; the ensemble must be NVT, not {ensemble!r}")
    for name, share in shares.items():
        checks.number(name, share, above=0.0, below=1.0)


def _checked_equilibration(equilibration: Any, steps: int, every: int) -> int | None:
    """Steps left out at the start, which leave at least two frames of a run."""
    if steps < 2 * every:
        raise InputError(f"steps = {steps} leave fewer than two frames; lower every = {every}")
    return None if equilibration is None else checks.count("equilibration", equilibration, least=0, most=steps - 1)


def _check_functions(learning_rate: Any, **functions: Any) -> None:
    if not callable(learning_rate):
        checks.number("learning_rate", learning_rate, above=0.0, most=10.0)
    for name, value in functions.items():
        if value is not None and not callable(value):
            raise InputError(f"{name} must be a function, not {checks.shown(value)}")


def _evaluate(
    samples: Reweighting,
    potential: Potential,
    targets: Sequence[Target],
    penalty: Callable[[Potential], jax.Array] | None,
    effective: float,
) -> tuple[dict[str, Any], Any] | None:
    """A row of the history and the gradient; None where too few frames count."""
    share = samples.effective(potential) / len(samples.frames)
    # Not the other way round: the share is NaN where an energy is.
    if not share >= effective or (effective > 0.0 and not samples.usable(potential, effective)):
        return None
    results = [
        samples.gradient(t.quantity, potential, function=t.loss, explicit=t.explicit, errors=False) for t in targets
    ]
    total = leafwise(lambda *x: sum(x), *(r.gradient for r in results))
    parts = {t.name: r.value for t, r in zip(targets, results, strict=True)}
    if penalty is not None:
        value, slope = jax.value_and_grad(penalty)(potential)
        total = leafwise(lambda a, b: a + np.asarray(b), total, slope)
        parts["penalty"] = float(value)
    row = {
        "loss": float(sum(parts.values())),
        "error": math.sqrt(sum(t.error(r.mean, r.parts, r.error) ** 2 for t, r in zip(targets, results, strict=True))),
        "noise": float(sum(t.noise(r.mean, r.parts) for t, r in zip(targets, results, strict=True))),
        "effective": share,
    }
    return row | parts, jax.tree.map(lambda g, p: jnp.asarray(g, jnp.asarray(p).dtype), total, potential)


def _stepped(
    rule: Any, now: Progress, gradient: Any, mask: Any, samples: Reweighting, least: float
) -> tuple[Potential, Any, float]:
    """One step of the optimiser, of the parameters that may change; its state, and the share of the step taken."""
    import optax

    masked = jax.tree.map(jnp.multiply, gradient, mask)
    with jax.numpy_dtype_promotion("standard"):  # optax counts steps in int32
        updates, state = rule.update(masked, now.state, now.potential)
    updates = jax.tree.map(jnp.multiply, updates, mask)
    for halvings in range(HALVINGS):
        length = 0.5**halvings
        shorter = jax.tree.map(lambda u, length=length: u * jnp.asarray(length, u.dtype), updates)
        moved: Any = optax.apply_updates(now.potential, shorter)  # pyright: ignore[reportArgumentType]
        if samples.effective(moved) >= least * len(samples.frames):
            return moved, state, length
    return now.potential, state, 0.0


def _mask(potential: Potential, trainable: Callable[[str], bool] | None) -> Any:
    leaves, structure = jax.tree_util.tree_flatten_with_path(potential)
    chosen = [trainable is None or bool(trainable(jax.tree_util.keystr(path))) for path, _ in leaves]
    if not any(chosen):
        names = ", ".join(jax.tree_util.keystr(path) for path, _ in leaves[:8])
        raise InputError(f"no parameter is to be changed; the paths given to trainable= are such as {names}")
    flags = [jnp.full_like(leaf, float(c)) for (_, leaf), c in zip(leaves, chosen, strict=True)]
    return jax.tree.unflatten(structure, flags)


def _line(row: dict[str, Any], iterations: int) -> str:
    how = "simulated" if row["simulated"] else "reweighted"
    return (
        f"fit: {row['step'] + 1}/{iterations} · loss {plus_minus(row['loss'], row['error'])} · {how}, "
        f"{row['effective']:.0%} of the frames count\n"
    )
