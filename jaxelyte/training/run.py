"""`train`: from labelled frames to a potential."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxelyte import checks
from jaxelyte.data.charges import check_charges
from jaxelyte.data.frames import as_frames
from jaxelyte.data.labels import LabelKeys, Labels, label_counts
from jaxelyte.data.plausibility import check_units as judge_units
from jaxelyte.data.plausibility import scaled
from jaxelyte.data.selection import Selection, isolated_energies, select_frames
from jaxelyte.data.split import METHODS, Split, divide, split_frames
from jaxelyte.data.stresses import check_stresses
from jaxelyte.dynamics.identity import run_versions
from jaxelyte.dynamics.progress import interruptible
from jaxelyte.errors import Findings, InputError
from jaxelyte.models.config import NequIP
from jaxelyte.potentials.base import Potential, as_potential
from jaxelyte.potentials.codec import encode, identities
from jaxelyte.potentials.nequip import NequIPPotential
from jaxelyte.storage import claimed, output_folder
from jaxelyte.training.digests import digest_of_weights, fingerprints, structure_digests
from jaxelyte.training.fit import Fit, make_members, with_references, write_models
from jaxelyte.training.folder import TrainFolder
from jaxelyte.training.problem import SCALES, Problem, check_frames, make_problem
from jaxelyte.training.progress import TrainProgress, described_counts
from jaxelyte.training.settings import Loss, Optimization
from jaxelyte.training.trainer import Trainer
from jaxelyte.wording import counted

if TYPE_CHECKING:
    from ase import Atoms


def train(
    frames: Sequence[Atoms] | Atoms | str | Path,
    model: NequIP | NequIPPotential | Fit,
    *,
    baseline: Potential | None = None,
    epochs: int = 100,
    seed: int = 0,
    output: str | Path | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    loss: Loss | None = None,
    optimization: Optimization | None = None,
    validation: float | Sequence[Atoms] | str | Path = 0.1,
    test: float = 0.0,
    split_seed: int = 0,
    split: str = "blocks",
    scales: str = "overall",
    train_scales: bool = False,
    references: Mapping[str, float] | None = None,
    committee: int | None = None,
    devices: int | None = None,
    keys: LabelKeys | None = None,
    check_units: bool = True,
    drop_outliers: bool | None = None,
    exclude: Sequence[int] = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Fit:
    """Train a NequIP potential on labelled frames, by delta-learning if a baseline is given.

    The network learns labels - baseline - Σ reference energies; `Fit.total` adds the same baseline back. After every
    epoch the moving average of the weights is validated; the weights of the epoch with the smallest force error are
    kept. Ctrl-C ends training after the current epoch and returns the result so far.

    Args:
        frames: ``ase.Atoms`` with energies (eV), forces (eV/Å) and stresses (eV/Å³), each optional in each frame, of
            any size, composition and cell. Or a file that `jaxelyte.read` reads.
        model: hyperparameters; species and mean number of neighbours are taken from the frames unless given. Or a
            trained model to fine-tune: ``load_fit("fit")``, ``load_potential("nacl_r2scan")``, or a bare network.
            Hyperparameters and scales are then kept, reference energies are fitted again, and the baseline must be
            that of the model. Epoch 0 is the error of the model itself; later epochs must improve on it. For a
            committee, the first network is used.
        baseline: any potential, subtracted from the labels; by default that of ``model``, if it has one. Charges by
            species must make periodic frames neutral, unless ``atoms.info["charge"]`` states a net charge.
        epochs: passes over the training frames.
        seed: seed of the initial weights and of the order of frames.
        output: run folder for configuration, metrics, a checkpoint after each epoch, and the best model.
        batch_size: frames per update; by default the number of devices. Small batches learn faster: after the same
            number of passes over 200 frames, the error with batches of 2 was a sixth larger than with batches of 1.
        accumulate: number of parts in which a batch is processed, for batches that do not fit into memory. Memory falls
            by this factor, the time stays the same. Gradients are summed before the update.
        loss: weights of energies, forces and stresses; see `Loss`.
        optimization: optimiser, learning rate and its schedule, moving average; see `Optimization`.
        validation: share or number of frames for validation, or separate validation frames.
        test: share or number of frames that training does not touch; see ``config["split"]["test"]``.
        split_seed: seed of the split.
        split: "blocks" holds back blocks of consecutive frames, in proportion for each composition. "random" holds back
            single frames; in a trajectory these resemble neighbouring training frames, and their errors are too small.
            See `jaxelyte.data.split_frames`.
        scales: the output of the network is multiplied by the root mean square of the force components to learn:
            "overall", "species" (one value for each species) or "none".
        train_scales: train the scales as well.
        references: reference energies of the species in eV; by default the energies of isolated atoms among the frames,
            and least squares for the other species.
        committee: number of networks with different initial weights that are trained side by side, for uncertainties.
        devices: number of local devices that share each batch; all by default.
        keys: names of the labels in the frames, if they are not ASE's.
        check_units: refuse labels that do not look like eV, eV/Å and eV/Å³ (stresses only if they are learned).
        drop_outliers: treatment of frames whose labels disagree with the others (failed calculations, other units,
            another level of theory; see `jaxelyte.data.outliers`): None raises an error that lists them, True leaves
            them out, False trains on them.
        exclude: indices of frames to leave out; indices of ``validation`` frames continue after those of ``frames``.
        resume: continue the training in ``output``, bit-for-bit as if it had not been interrupted; start it if there is
            none. The arguments must be the same; only ``epochs`` may differ (a cosine then follows the new length).
        overwrite: replace a training run in ``output``.
        progress: show errors during training.

    Raises:
        InputError: frames, labels or settings that cannot be used.
        TrainingError: a loss that is not finite.
        StorageError: the folder can no longer be written (disk full, folder removed); the last epoch and all before it
            are kept, and ``resume=True`` continues from there.

    Warns:
        UserWarning: validation or test frames that the model was trained on (unknown for a bare network), no epoch
            better than the start, charges of the baseline for species that no frame contains, frames left out, labels
            that are NaN or present in few frames, duplicates across the split, implausible structures (see
            `jaxelyte.data.structures`).
    """
    place = None if output is None else output_folder(output)
    model, baseline, seen = _start_of(model, baseline)
    baseline = None if baseline is None else as_potential(baseline, "baseline")
    checks.instance(
        "model", model, (NequIP, NequIPPotential), "a jaxelyte.NequIP, a network, or a fit to continue from"
    )
    loss = Loss() if loss is None else loss
    checks.instance("loss", loss, Loss, "a jaxelyte.Loss")
    optimization = Optimization() if optimization is None else optimization
    checks.instance("optimization", optimization, Optimization, "a jaxelyte.Optimization")
    optimization = optimization.resolved(trained=isinstance(model, NequIPPotential))
    checks.instance("keys", keys, (LabelKeys, type(None)), "a jaxelyte.LabelKeys")
    epochs = checks.count("epochs", epochs)
    batch_size, committee = _count_or_none("batch_size", batch_size), _count_or_none("committee", committee)
    devices, accumulate = _count_or_none("devices", devices), checks.count("accumulate", accumulate)
    seed, split_seed = checks.random_seed(seed), checks.random_seed(split_seed, "split_seed")
    _check_flags(check_units=check_units, train_scales=train_scales, resume=resume, overwrite=overwrite)
    _check_flags(progress=progress, **({} if drop_outliers is None else {"drop_outliers": drop_outliers}))
    checks.choice("scales", scales, SCALES)
    checks.choice("split", split, METHODS)
    references = None if references is None else _checked_references(references)
    everything = as_frames(frames)
    first = len(everything)
    if not isinstance(validation, int | float | np.number):
        everything = everything + as_frames(validation, "validation")
    labels = check_frames(everything, loss, keys)
    selection = _selected(everything, labels, exclude=exclude, drop_outliers=drop_outliers, check_units=check_units)
    kept = selection.kept
    chosen, own = [everything[n] for n in kept], [labels[n] for n in kept]
    counts = label_counts(labels) | selection.summary()
    if baseline is not None:
        check_charges(chosen, baseline, kept.tolist())
    place_of = _split(chosen, int(np.sum(kept < first)), validation, test, split_seed, split)
    parts = Split(*(kept[part] for part in place_of))
    _warn_of_seen(everything, parts, seen)
    _warn_of_duplicates(everything, parts)
    shared = _devices(devices)
    batch_size = shared if batch_size is None else batch_size
    if accumulate > 1 and accumulate * shared > batch_size:
        each = "" if shared == 1 else f" on each of {shared} devices"
        raise InputError(f"accumulate = {accumulate} parts{each} is more than batch_size = {batch_size} frames")
    problem = make_problem(
        chosen,
        own,
        model,
        place_of,
        baseline=baseline,
        scales=scales,
        references=references,
        seed=seed,
        committee=committee,
        isolated=isolated_energies(selection, labels),
    )
    problem = dataclasses.replace(problem, split=parts)
    settings = {
        "epochs": epochs,
        "seed": seed,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "committee": committee,
        "devices": shared,
        "scales": scales,
        "train_scales": train_scales,
    }
    start = digest_of_weights(model) if isinstance(model, NequIPPotential) else None
    config = _config(problem, loss, optimization, baseline, settings, start)
    config["labels"] = counts
    config["trained_on"] = sorted(seen.union(structure_digests(everything[n] for n in parts.train)))
    config["split_method"] = split
    with claimed(place):
        folder = None if place is None else TrainFolder(place, config, resume=resume, overwrite=overwrite)
        trainer = Trainer(
            problem, loss, optimization, epochs, batch_size, seed, committee, shared, train_scales, folder, accumulate
        )
        head = described_counts(counts)
        members = _run(trainer, baseline, folder, measure=start is not None, show=progress, head=head)
    fit = Fit(members, baseline, trainer.metrics, config, None if folder is None else folder.path)
    if start is not None and fit.epochs and fit.best["epoch"] == 0:
        checks.caution(
            f"none of {fit.epochs} epochs was better than the starting weights, which are kept; lower the "
            f"learning rate ({optimization.learning_rate:g})"
        )
    return fit


def _selected(
    frames: Sequence[Atoms],
    labels: Sequence[Labels],
    *,
    exclude: Sequence[int],
    drop_outliers: bool | None,
    check_units: bool,
) -> Selection:
    """Frames to train on, once all that is wrong with their labels was said at once.

    Raises:
        InputError: outliers, and labels in another unit.
    """
    findings = Findings()
    selection = select_frames(frames, labels, exclude=exclude, drop_outliers=drop_outliers, findings=findings)
    if check_units:
        kept = selection.kept.tolist()
        chosen, own = [frames[n] for n in kept], [labels[n] for n in kept]
        factors = judge_units(chosen, own, selection.check.predictions, findings)
        check_stresses(chosen, *scaled(own, selection.check.predictions, factors), findings, kept)
    findings.refuse()
    return selection


def _run(
    trainer: Trainer, baseline: Potential | None, folder: TrainFolder | None, *, measure: bool, show: bool, head: str
) -> tuple[Any, ...]:
    """Epoch after epoch, below a line of heading; returns the best networks."""
    bar = TrainProgress(trainer.epochs, rows=trainer.metrics, show=show)
    bar.say(head)
    try:
        with interruptible() as asked, nullcontext() if folder is None else folder.keeping():
            if folder is not None:
                folder.open()
            if measure and trainer.epoch == 0:
                bar.update(trainer.measure_start())
                _write_best(trainer, baseline, folder)
            while not trainer.finished and not asked[0]:
                row = trainer.run_epoch()
                bar.update(row)
                if row["best"]:
                    _write_best(trainer, baseline, folder)
            return _write_best(trainer, baseline, folder)
    finally:
        bar.close()


def _warn_of_seen(frames: Sequence[Atoms], split: Split, seen: frozenset[str]) -> None:
    """Warn where frames held back for validation or test are structures that the start was trained on."""
    held = [*split.validation, *split.test]
    known = sum(digest in seen for digest in structure_digests(frames[n] for n in held))
    if known:
        checks.caution(
            f"the starting model was trained on {known} of the {counted(len(held), 'frame')} held back for validation "
            "and test, whose errors are then too small; hold back frames that it has not seen (its split is in its "
            "config.json)"
        )


def _warn_of_duplicates(frames: Sequence[Atoms], split: Split) -> None:
    """Warn where frames held back for validation or test are structures that are trained on as well."""
    own = fingerprints(frames)
    trained = {own[n]: n for n in split.train}
    for name, part in (("validation", split.validation), ("test", split.test)):
        twins = [int(n) for n in part if own[n] in trained]
        if twins:
            checks.caution(
                f"{len(twins)} of {len(part)} {name} frames are structures that are also trained on (frame {twins[0]} "
                f"is frame {trained[own[twins[0]]]}): their errors say nothing about new structures; remove duplicates"
            )


def _write_best(trainer: Trainer, baseline: Potential | None, folder: TrainFolder | None) -> tuple[Any, ...]:
    """The best networks so far, put into the folder at once: whatever happens next, they are there."""
    best = with_references(trainer.best, trainer.problem.references.energies)
    members = make_members(best, baseline, trainer.committee)
    if folder is not None:
        write_models(members, baseline, folder.path)
    return members


def _split(frames: Sequence[Atoms], first: int, validation: Any, test: float, seed: int, method: str) -> Split:
    """Places among the frames kept: of shares of all of them, or of validation frames that follow the first ones."""
    groups = [atoms.get_chemical_formula() for atoms in frames]
    if isinstance(validation, int | float | np.number):
        share = validation if isinstance(validation, bool) else float(validation)
        return split_frames(len(frames), validation=share, test=test, seed=seed, method=method, groups=groups)
    if first in (0, len(frames)):
        raise InputError(f"no frame is left to {'train on' if first == 0 else 'validate with'}")
    # One frame of the two sets too many, so that the rule for what is left applies to the test share alone.
    untouched = len(split_frames(first + 1, validation=1, test=test, seed=seed).test)
    own = divide(first, 0, untouched, seed=seed, method=method, groups=groups[:first])
    return Split(own.train, np.arange(first, len(frames)), own.test)


def _start_of(model: Any, baseline: Any) -> tuple[NequIP | NequIPPotential, Any, frozenset[str]]:
    """Where to start: of a fit its first network, its baseline unless one is given, and the frames it has seen."""
    trained = getattr(model, "fit", None)  # of a potential that comes with the package
    fit = trained if isinstance(trained, Fit) else model
    if not isinstance(fit, Fit):
        return model, baseline, frozenset()
    own = fit.baseline if baseline is None else baseline
    return fit.potential, own, frozenset(fit.config.get("trained_on", ()))


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        checks.flag(name, value)


def _checked_references(references: Any) -> dict[str, float]:
    given = checks.mapping("references", references, "{'Na': -5.1, 'Cl': -10.3}")
    return {name: checks.number(f"references[{name!r}]", value, "eV") for name, value in given.items()}


def _count_or_none(name: str, value: Any) -> int | None:
    return None if value is None else checks.count(name, value)


def _devices(wanted: int | None) -> int:
    there = jax.local_device_count()
    if wanted is not None and wanted > there:
        raise InputError(f"devices = {wanted}, but there are {there} ({jax.local_devices()[0].platform})")
    return there if wanted is None else wanted


def _config(
    problem: Problem,
    loss: Loss,
    optimization: Optimization,
    baseline: Potential | None,
    settings: dict[str, Any],
    start: str | None,
) -> dict[str, Any]:
    """All that decides the result, resolved, and what it was made with; JSON."""
    names = problem.config.type_names
    return {
        **settings,
        **({"start_sha256": start} if start else {}),
        "model": dataclasses.asdict(problem.config),
        "loss": dataclasses.asdict(loss),
        "optimization": dataclasses.asdict(optimization),
        "baseline": None if baseline is None else {"terms": identities(baseline), "settings": encode(baseline)[0]},
        "references_eV": dict(zip(names, problem.references.energies.tolist(), strict=True)),
        "references_residual_eV_per_atom": problem.references.residual,
        "scales_eV_per_A": dict(zip(names, problem.scales.tolist(), strict=True)),
        "split": {name: part.tolist() for name, part in problem.split._asdict().items()},
        "data_sha256": problem.digest,
        "float64": jax.dtypes.canonicalize_dtype(np.float64) == np.float64,
        "versions": run_versions(),
    }
