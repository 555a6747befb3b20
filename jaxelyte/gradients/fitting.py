"""Parameters from measured averages: gradient descent on observables, with reweighting between simulations."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.dynamics import NVT, Run, simulate
from jaxelyte.dynamics.checkpoint import load_arrays, pack, save_arrays, unpack
from jaxelyte.errors import InputError, JaxelyteError
from jaxelyte.gradients.frames import Quantity
from jaxelyte.gradients.reweighting import Reweighting
from jaxelyte.potentials.base import Potential

if TYPE_CHECKING:
    from ase import Atoms

STATE, HISTORY = "fit.npz", "history.jsonl"


@dataclass(frozen=True)
class Target:
    """A measured average.

    Attributes:
        quantity: A(potential, system, neighbors) of one frame; see `Reweighting`.
        value: what its average should be, of A's shape (or one that broadcasts with it).
        scale: deviations count relative to this; one by default. The loss is the mean of ((<A> - value)/scale)².
        weight: of this target among several.
        explicit: A depends on the parameters itself (a pressure), not only through the ensemble (a distance).
        name: for the history.
    """

    quantity: Quantity
    value: Any
    scale: float = 1.0
    weight: float = 1.0
    explicit: bool = True
    name: str = "target"

    def loss(self, mean: jax.Array) -> jax.Array:
        """Of the average of A."""
        apart = (mean - jnp.asarray(self.value, mean.dtype)) / self.scale
        return self.weight * jnp.mean(apart**2)


@dataclass(frozen=True)
class ObservablesFit:
    """Parameters that were fitted to averages.

    Attributes:
        potential: with the best parameters.
        history: of each step: loss, its standard error (of the averages' noise), losses by target, effective share of
            the frames, and whether it was simulated anew.
        best: number of the step with the lowest loss.
        run: the last simulation.
    """

    potential: Potential
    history: list[dict[str, Any]]
    best: int
    run: Run | None = field(default=None, repr=False)

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss against the steps; new simulations are dots. Returns the matplotlib axes."""
        from jaxelyte import plots

        return plots.observables_fit(self, ax)


def fit_observables(
    potential: Potential,
    targets: Sequence[Target],
    atoms: Atoms | list[Atoms],
    ensemble: NVT,
    *,
    iterations: int,
    steps: int,
    equilibration: int | None = None,
    learning_rate: float = 0.01,
    optimizer: Any = None,
    trainable: Callable[[str], bool] | None = None,
    penalty: Callable[[Potential], jax.Array] | None = None,
    effective: float = 0.5,
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
    parameters, in the same compiled program.

    It fails for averages that no parameter moves, for noise larger than the deviation (watch the loss: it goes up and
    down), and for steps so large that the simulation breaks; lower ``learning_rate``.

    Args:
        potential: start.
        targets: what to fit.
        atoms: start structure, or one for each replica.
        ensemble: `NVT`.
        iterations: gradient steps.
        steps: MD steps of each simulation.
        equilibration: of them left out at the start; a fifth by default.
        learning_rate: of Adam: a parameter changes by about this much in a step.
        optimizer: an optax transformation instead of Adam.
        trainable: which parameters to change, by their path such as ".sigma" or ".terms[0].k"; all by default.
        penalty: of the potential, added to the loss: a force-matching error, a pull towards the start.
        effective: share of effective samples below which it simulates again.
        every: steps between stored frames.
        at_once: frames evaluated together; bounds the memory.
        seed: of the simulations.
        output: folder for the state of each step and the history; None keeps them in memory.
        resume: go on with the fit in ``output``.
        progress: print a line for each step.
        options: of `simulate`: timestep, replicas, …

    Returns:
        The fit, with the parameters of the lowest loss.

    Raises:
        InputError: no target, no parameter to change, or a folder that holds another fit.
        SimulationError: a simulation blew up; the state of the step before is kept in ``output``.
    """
    import optax

    if not targets:
        raise InputError("there is nothing to fit: give at least one Target")
    if not isinstance(ensemble, NVT):
        raise InputError(f"reweighting is at constant temperature; the ensemble must be NVT, not {ensemble!r}")
    if not 0.0 < effective < 1.0:
        raise InputError(f"effective = {effective!r} must be a share between 0 and 1")
    mask = _mask(potential, trainable)
    rule = optax.adam(learning_rate) if optimizer is None else optimizer
    state = rule.init(potential)  # pyright: ignore[reportArgumentType]
    folder = Path(output) if output is not None else None
    history: list[dict[str, Any]] = []
    best, samples, run = (math.inf, -1, potential), None, None
    if folder is not None:
        potential, state, best, history = _begin(folder, potential, state, resume)
    for step in range(len(history), iterations):
        found = None if samples is None else _evaluate(samples, potential, targets, penalty, effective)
        fresh = found is None
        if found is None:
            start = atoms if run is None else run.atoms
            arguments = {"equilibration": equilibration, "progress": False, **options}
            if run is not None and isinstance(start, list):
                arguments.pop("replicas", None)
            run = simulate(potential, start, ensemble, steps=steps, every=every, seed=seed + step, **arguments)
            discard = min(steps // every - 1, max(1, (steps // 5 if equilibration is None else equilibration) // every))
            samples = Reweighting(
                run, potential, temperature=ensemble.temperature, discard=discard, at_once=at_once, least=0.0
            )
            found = _evaluate(samples, potential, targets, penalty, 0.0)
            assert found is not None
        loss, error, parts, gradient, share = found
        row = {"step": step, "loss": loss, "error": error, "effective": share, "simulated": fresh} | parts
        history.append(row)
        if loss < best[0]:
            best = (loss, step, potential)
        if progress:
            sys.stderr.write(_line(row, iterations))
        potential, state = _stepped(rule, potential, state, gradient, mask)
        if folder is not None:
            _keep(folder, potential, state, best[2], row)
    return ObservablesFit(best[2], history, best[1], run)


Found = tuple[float, float, dict[str, float], Any, float]


def _evaluate(
    samples: Reweighting,
    potential: Potential,
    targets: Sequence[Target],
    penalty: Callable[[Potential], jax.Array] | None,
    effective: float,
) -> Found | None:
    """Loss, its error, losses by target, gradient and effective share; None where too few frames count."""
    samples.least = effective
    try:
        results = [samples.gradient(t.quantity, potential, function=t.loss, explicit=t.explicit) for t in targets]
    except JaxelyteError:
        return None
    total = jax.tree.map(lambda *x: sum(x), *(r.gradient for r in results))
    loss = sum(r.value for r in results)
    parts = {t.name: r.value for t, r in zip(targets, results, strict=True)}
    if penalty is not None:
        value, slope = jax.value_and_grad(penalty)(potential)
        total, loss = jax.tree.map(lambda a, b: a + np.asarray(b), total, slope), loss + float(value)
        parts["penalty"] = float(value)
    like = jax.tree.map(lambda g, p: jnp.asarray(g, jnp.asarray(p).dtype), total, potential)
    error = math.sqrt(sum(r.error**2 for r in results))
    return float(loss), error, parts, like, results[0].effective / len(samples.frames)


def _stepped(rule: Any, potential: Any, state: Any, gradient: Any, mask: Any) -> tuple[Potential, Any]:
    """One step of the optimiser, of the parameters that may change."""
    import optax

    masked = jax.tree.map(jnp.multiply, gradient, mask)
    with jax.numpy_dtype_promotion("standard"):  # optax counts steps in int32
        updates, state = rule.update(masked, state, potential)
    return optax.apply_updates(potential, jax.tree.map(jnp.multiply, updates, mask)), state  # pyright: ignore[reportReturnType]


def _mask(potential: Potential, trainable: Callable[[str], bool] | None) -> Any:
    leaves, structure = jax.tree_util.tree_flatten_with_path(potential)
    chosen = [trainable is None or bool(trainable(jax.tree_util.keystr(path))) for path, _ in leaves]
    if not any(chosen):
        names = ", ".join(jax.tree_util.keystr(path) for path, _ in leaves[:8])
        raise InputError(f"no parameter is to be changed; the paths given to trainable= are such as {names}")
    flags = [jnp.full_like(leaf, float(c)) for (_, leaf), c in zip(leaves, chosen, strict=True)]
    return jax.tree.unflatten(structure, flags)


Best = tuple[float, int, Potential]


def _begin(
    folder: Path, potential: Potential, state: Any, resume: bool
) -> tuple[Potential, Any, Best, list[dict[str, Any]]]:
    """Potential, state of the optimiser, best step and history that the folder holds, or those of a start."""
    there = (folder / STATE).exists()
    if there and not resume:
        raise InputError(f"{folder} holds a fit; resume=True goes on with it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not there:
        (folder / HISTORY).unlink(missing_ok=True)
        return potential, state, (math.inf, -1, potential), []
    arrays = load_arrays(folder / STATE)
    count = int(arrays["steps"])
    lines = (folder / HISTORY).read_text(encoding="utf-8").splitlines()[:count]
    (folder / HISTORY).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    history = [json.loads(line) for line in lines]
    lowest = min(history, key=lambda row: row["loss"])
    best = (lowest["loss"], lowest["step"], unpack("best", arrays, potential))
    return unpack("potential", arrays, potential), unpack("state", arrays, state), best, history


def _keep(folder: Path, potential: Potential, state: Any, best: Potential, row: dict[str, Any]) -> None:
    """History first, then the state that counts its lines."""
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    arrays = {"steps": np.array(row["step"] + 1)} | pack("potential", potential) | pack("best", best)
    save_arrays(folder / STATE, arrays | pack("state", state))


def _line(row: dict[str, Any], iterations: int) -> str:
    how = "simulated" if row["simulated"] else "reweighted"
    return (
        f"fit: {row['step'] + 1}/{iterations} · loss {row['loss']:.4g} ± {row['error']:.1g} · {how}, "
        f"{row['effective']:.0%} of the frames count\n"
    )
