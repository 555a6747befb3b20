"""From labelled frames to a network to start from and arrays to train it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxelyte.checks import caution
from jaxelyte.data.baseline import evaluate_frames
from jaxelyte.data.dataset import Dataset, Residuals, make_dataset, stack
from jaxelyte.data.labels import LabelKeys, Labels, collect_labels
from jaxelyte.data.references import References, fit_references
from jaxelyte.data.split import Split
from jaxelyte.data.structures import warn_of_reach, warn_of_structures
from jaxelyte.errors import InputError
from jaxelyte.models.config import NequIP
from jaxelyte.models.parameters import weight_sizes
from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.lists import NeighborSpec
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.codec import identities
from jaxelyte.potentials.nequip import NequIPPotential
from jaxelyte.potentials.reference import in_float64, reference_energies
from jaxelyte.system import System, check_atoms
from jaxelyte.training.digests import digest_of
from jaxelyte.training.settings import Loss
from jaxelyte.wording import part_of

if TYPE_CHECKING:
    from ase import Atoms

SCALES = ("overall", "species", "none")


@dataclass(frozen=True)
class Problem:
    """What training starts from.

    Attributes:
        config: the model with species and average neighbour number filled in.
        start: the network before the first step, with reference energies and scales; members lead where there are any.
        train: frames to learn from.
        validation: frames to follow the error with.
        split: which frames these are.
        references: energies of the species.
        scales: shape (species,), eV; what the network's output is multiplied with.
        digest: hash of the frames and their labels.
    """

    config: NequIP
    start: NequIPPotential
    train: Dataset
    validation: Dataset
    split: Split
    references: References
    scales: np.ndarray
    digest: str


def check_frames(frames: Sequence[Atoms], loss: Loss, keys: LabelKeys | None = None) -> list[Labels]:
    """The labels of all frames, once everything that the loss needs is known to be there.

    Raises:
        InputError: atoms that cannot be simulated, labels that are missing for what the loss asks.

    Warns:
        UserWarning: labels that few frames have; structures that are probably not meant as they stand.
    """
    for number, frame in enumerate(frames):
        try:
            check_atoms(frame)
        except InputError as error:
            raise InputError(f"frame {number}: {error}") from error
    kinds = ("energy", "forces", "stress")
    labels = collect_labels(frames, keys, needed=[kind for kind in kinds if getattr(loss, kind) > 0])
    warn_of_structures(frames)
    several = sum(len(frame) > 1 for frame in frames) or len(frames)
    for kind in kinds:
        weight, there = getattr(loss, kind), sum(label.has(kind) for label in labels)
        if weight > 0 and there == 0 and kind != "stress":
            caution(f"no frame has {kind}: the term of the loss with weight {weight} is empty")
        elif weight > 0 and 0 < there < 0.5 * several:
            caution(f"only {part_of(there, len(frames), 'frame')} {kind}; the other frames are trained on without them")
        if weight > 0 and there == 0 and kind == "stress":
            raise InputError(f"Loss(stress={weight}) asks for stresses, but no frame has one")
        open_ended = [n for n, frame in enumerate(frames) if labels[n].has("stress") and not all(frame.pbc)]
        if weight > 0 and kind == "stress" and open_ended:
            raise InputError(
                f"frame {open_ended[0]} has a stress but is not periodic in all directions, so there is none to learn; "
                "remove it, or set the cell and pbc"
            )
    # Stresses that are not learnt are not predicted either, so there is nothing to compare them with.
    unknown = np.full((3, 3), np.nan)
    return labels if loss.stress > 0 else [replace(label, stress=unknown) for label in labels]


def residuals_of(frames: Sequence[Atoms], labels: Sequence[Labels], baseline: Potential | None) -> Residuals:
    """Labels less the baseline."""
    given = Residuals.of(labels)
    if baseline is None:
        return given
    known = evaluate_frames(baseline, frames)
    return Residuals(
        given.energies - known.energies,
        [a - b for a, b in zip(given.forces, known.forces, strict=True)],
        given.stresses - known.stresses,
    )


def make_problem(
    frames: Sequence[Atoms],
    labels: Sequence[Labels],
    model: NequIP | NequIPPotential,
    split: Split,
    *,
    baseline: Potential | None,
    scales: str,
    references: Mapping[str, float] | None,
    seed: int,
    committee: int | None,
    isolated: Mapping[int, float] | None = None,
) -> Problem:
    """Subtract, fit references, choose scales, pad.

    Args:
        frames: all of them.
        labels: see `check_frames`.
        model: hyperparameters, whose species and neighbour number are filled in from the data; or a network to go on
            from, which keeps its scales.
        split: which frames are for what.
        baseline: potential that the labels are taken relative to.
        scales: "overall" (root mean square of the force components), "species" (of each species), "none" (1 eV/Å).
        references: energies in eV by symbol; fitted if None.
        seed: of the weights.
        committee: number of networks, or None for one.
        isolated: energies of isolated atoms in eV by atomic number, which are the references of a new network.

    Raises:
        InputError: species or settings that do not fit the frames.
    """
    from ase.data import atomic_numbers, chemical_symbols

    previous = _checked_start(model, baseline, committee) if isinstance(model, NequIPPotential) else None
    hyper = model if isinstance(model, NequIP) else model.config
    warn_of_reach(frames, hyper.r_max)
    present = sorted({int(z) for frame in frames for z in frame.numbers})
    names = hyper.type_names or tuple(chemical_symbols[z] for z in present)
    unknown = [chemical_symbols[z] for z in present if chemical_symbols[z] not in names]
    if unknown:
        raise InputError(f"the frames hold {', '.join(unknown)}, which type_names = {names} of the model leaves out")
    if scales not in SCALES:
        raise InputError(f"unknown scales {scales!r}; choose one of {', '.join(SCALES)}")
    numbers = [atomic_numbers[name] for name in names]
    residuals = residuals_of(frames, labels, baseline)
    counts = np.array([[np.sum(frame.numbers == z) for z in numbers] for frame in frames], np.float64)
    energies = residuals.energies
    if previous is not None:
        # What the network says already is no part of the reference energies.
        energies = energies - evaluate_frames(previous, frames).energies
    lone = {} if previous is not None else _lone_references(isolated or {}, numbers, baseline)
    found = _references(names, counts, energies, split.train, references, lone)
    learned = residuals._replace(energies=residuals.energies - counts @ found.energies)
    if previous is None:
        widths = _scales(frames, learned, split.train, numbers, scales)
        config = _with_statistics(hyper, names, [frames[n] for n in split.train])
        start = _start(config, seed, committee, widths, found.energies)
    else:
        widths, config = np.asarray(previous.params["scales"], np.float64), previous.config
        start = replace(previous, params=previous.params | {"shifts": _constants(found.energies)})
    datasets = [
        make_dataset([frames[n] for n in part], _chosen(learned, part), start.requirements())
        for part in (split.train, split.validation)
    ]
    return Problem(config, start, datasets[0], datasets[1], split, found, widths, digest_of(frames, labels))


def _lone_references(
    isolated: Mapping[int, float], numbers: Sequence[int], baseline: Potential | None
) -> dict[int, float]:
    """Reference energies by place among the species: energies of isolated atoms less the constants of the baseline."""
    from ase import Atoms

    found = {}
    for place, number in enumerate(numbers):
        if number in isolated:
            constant = 0.0
            if baseline is not None:
                with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
                    one = stack([System.from_atoms(Atoms(numbers=[number], positions=np.zeros((1, 3))))])
                    constant = float(reference_energies(in_float64(baseline), one)[0])
            found[place] = isolated[number] - constant
    return found


def _references(
    names: tuple[str, ...],
    counts: np.ndarray,
    energies: np.ndarray,
    chosen: np.ndarray,
    given: Mapping[str, float] | None,
    lone: Mapping[int, float],
) -> References:
    if given is not None and set(given) != set(names):
        raise InputError(f"references are given for {sorted(map(str, given))}, but the species are {sorted(names)}")
    if given is None and not lone:
        return fit_references(counts[chosen], energies[chosen])
    if given is None and len(lone) < len(names):
        fixed = np.array([lone.get(place, 0.0) for place in range(len(names))])
        free = [place for place in range(len(names)) if place not in lone]
        some = chosen[counts[chosen][:, free].sum(axis=1) > 0]
        rest = fit_references(counts[some][:, free], energies[some] - counts[some] @ fixed)
        fixed[free] = rest.energies
        determined = np.ones(len(names), bool)
        determined[free] = rest.determined
    else:
        fixed = np.array([float(given[name]) if given is not None else lone[n] for n, name in enumerate(names)])
        determined = np.ones(len(names), bool)
    atoms = counts[chosen].sum(axis=1)
    left = (energies[chosen] - counts[chosen] @ fixed) / atoms
    known = np.isfinite(left)
    residual = float(np.sqrt(np.mean(left[known] ** 2))) if np.any(known) else float("nan")
    return References(fixed, determined, residual)


def _scales(
    frames: Sequence[Atoms], residuals: Residuals, chosen: np.ndarray, numbers: list[int], scales: str
) -> np.ndarray:
    forces = np.concatenate([residuals.forces[n] for n in chosen])
    owner = np.concatenate([frames[n].numbers for n in chosen])
    known = np.isfinite(forces).all(axis=1)
    if scales == "none" or not np.any(known):
        return np.ones(len(numbers))
    overall = float(np.sqrt(np.mean(forces[known] ** 2)))
    if not overall > 0:
        raise InputError("all forces are zero; there is nothing to learn")
    widths = np.full(len(numbers), overall)
    if scales == "species":
        for kind, number in enumerate(numbers):
            own = forces[known & (owner == number)]
            if own.size and np.any(own):
                widths[kind] = np.sqrt(np.mean(own**2))
    return widths


def _with_statistics(model: NequIP, names: tuple[str, ...], frames: Sequence[Atoms]) -> NequIP:
    if model.avg_num_neighbors is not None:
        return replace(model, type_names=names)
    spec = NeighborSpec(model.r_max, exact=True)
    # A hundred frames give the mean to a tenth of a percent, and it is a constant of the model, not a fit.
    some = [frames[n] for n in np.unique(np.linspace(0, len(frames) - 1, 100).astype(int))]
    lists = [host_list(System.from_atoms(frame), spec) for frame in some]
    mean = sum(float(np.sum(np.asarray(x.mask))) for x in lists) / sum(len(frame) for frame in some)
    return replace(model, type_names=names, avg_num_neighbors=max(mean, 1.0))


def _start(
    config: NequIP, seed: int, committee: int | None, widths: np.ndarray, references: np.ndarray
) -> NequIPPotential:
    key = jax.random.key(seed)
    keys = [key] if committee is None else list(jax.random.split(key, committee))
    every = []
    for one in keys:
        _, params = config.init(one)
        # Shifts are constants of thousands of eV that training never sees; their float64 values are kept by Problem.
        every.append(params | {"scales": _constants(widths), "shifts": _constants(references)})
    params = every[0] if committee is None else jax.tree.map(lambda *leaves: jnp.stack(leaves), *every)
    return NequIPPotential(params, config)


def _constants(values: np.ndarray) -> jax.Array:
    return jnp.asarray(values, jax.dtypes.canonicalize_dtype(np.float64))


def _checked_start(model: NequIPPotential, baseline: Potential | None, committee: int | None) -> NequIPPotential:
    """The network to go on from, without reference energies and with a single scale for each species.

    Raises:
        InputError: a committee, whose members would all start alike; or another baseline than the network's.
    """
    if committee is not None:
        raise InputError(f"committee = {committee} starts from different weights; give hyperparameters, not a network")
    given = () if baseline is None else identities(baseline)
    if sorted(given) != sorted(model.requires):
        raise InputError(
            f"the network was trained relative to {', '.join(model.requires) or 'no baseline'}, but the baseline given "
            f"is {', '.join(given) or 'none'}; fine-tune it with its own baseline (fit.baseline)"
        )
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), model.params)
    neutral = {"scale": jnp.ones((), dtype), "shift": jnp.zeros((), dtype)}
    scales = params["scale"] * params["scales"]
    params = params | neutral | {"scales": scales, "shifts": jnp.zeros_like(params["shifts"])}
    return NequIPPotential(params, model.config)


def _chosen(residuals: Residuals, part: np.ndarray) -> Residuals:
    return Residuals(residuals.energies[part], [residuals.forces[n] for n in part], residuals.stresses[part])


def step_sizes(potential: NequIPPotential, *, scales: bool) -> NequIPPotential:
    """How far training moves each parameter, relative to the learning rate; a tree of floats.

    Scales, where they are trained, as far as they are large; the first matrices of the radial networks by their
    `weight_sizes`, unless they come from a network that was drawn without; everything else by one. References stay.
    """
    nominal = weight_sizes(potential.config)
    fixed = {"shifts", "scale", "shift"} | (set() if scales else {"scales"})
    fixed |= set() if potential.config.trainable_bessel else {"radial_basis"}

    def size(path: Any, leaf: Any) -> float:
        names = [str(key.key) for key in path]
        if names[0] in fixed:
            return 0.0
        now = float(np.sqrt(np.mean(np.asarray(leaf, np.float64) ** 2)))
        if names[0] == "scales":
            return now or 1.0
        if names[1:] == ["radial", "layer0"]:
            drawn = nominal[names[0]]["radial"]["layer0"]
            return drawn if abs(np.log(now / drawn)) < abs(np.log(now)) else 1.0
        return 1.0

    return replace(potential, params=jax.tree_util.tree_map_with_path(size, potential.params))
