"""Frames whose labels do not belong to the others: failed calculations, other units, another level of theory.

Everything is judged by medians, so that the frames that are wrong do not set the scale. Forces are compared with a pair
model fitted to all of them (`jaxelyte.data.pair_model`), frame by frame and atom by atom; energies, less those of the
same model, with reference energies of the species from a fit that tolerates two fifths of wrong frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.data.columns import KNOWN_ENERGIES
from jaxelyte.data.labels import Labels, frames_named
from jaxelyte.data.pair_model import PairModel, Prediction, fit_pair_model
from jaxelyte.data.plausibility import KNOWN_FORCES
from jaxelyte.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

COINCIDENT = 0.05
"""Å; atoms closer than this are one atom twice."""

FORCE = 40.0
"""Largest deviation of a force from the pair model in medians of the species. Sound frames reach 18 (406 frames of
GFN1-xTB at up to 600 K) and 8 (1,255 frames at three DFT levels)."""

BARE_FORCE = 60.0
"""Largest force in medians of the species where there is no pair model; sound frames reach 7."""

ENERGY, ENERGY_FLOOR = 12.0, 0.002
"""Largest deviation of an energy in robust standard deviations, which are eV per square root of the number of atoms;
sound frames reach 4.2."""

BARE_ENERGY = 0.5
"""Least deviation in eV per atom that counts where there are no forces: sets of several temperatures and phases spread
by some tenths."""

ALIGNED, TURNED, STRANGE = 0.7, -0.4, 0.35
"""Mean cosine between forces and those of the pair model: the least of the median frame for any judgement, that of a
frame with the other sign, and that of forces which do not belong to the positions. Sound frames have 0.7 to 0.95."""

RATIO = 5.0
"""Forces of a whole frame that are that many times larger or smaller than the pair model's are in another unit."""


class Check(NamedTuple):
    """Reasons to doubt frames, and the pair model with what it predicts (None without forces)."""

    reasons: dict[int, list[str]]
    model: PairModel | None
    predictions: list[Prediction] | None


def find_outliers(frames: Sequence[Atoms], labels: Sequence[Labels]) -> Check:
    """Frames with atoms in one place, forces or energies that do not go with those of the other frames."""
    reasons: dict[int, list[str]] = {}
    for number, frame in enumerate(frames):
        pair = _coincident(frame)
        if pair is not None:
            reasons[number] = [f"atoms {pair[0]} and {pair[1]} are at the same position"]
    sound = [n for n in range(len(frames)) if n not in reasons]
    model = fit_pair_model([frames[n] for n in sound], [labels[n] for n in sound]) if sound else None
    predictions = None if model is None else [model.predict(frame) for frame in frames]
    if model is not None and predictions is not None:
        found, trusted = _judge_frames(frames, labels, predictions)
        _add(reasons, found)
        if not trusted:
            model, predictions = None, None
    if predictions is not None:
        _add(reasons, _judge_atoms(frames, labels, predictions, set(reasons)))
    else:
        _add(reasons, _judge_sizes(frames, labels))
    _add(reasons, _judge_energies(frames, labels, predictions))
    return Check(reasons, model, predictions)


def outlier_message(reasons: dict[int, list[str]], frames: int) -> str:
    """All frames in doubt with their reasons, those of one kind together."""
    kinds: dict[str, list[int]] = {}
    for number in sorted(reasons):
        for reason in reasons[number]:
            kinds.setdefault(reason.partition(" [")[0], []).append(number)
    lines = []
    for kind, numbers in kinds.items():
        first = next(r for r in reasons[numbers[0]] if r.partition(" [")[0] == kind).partition(" [")[2].rstrip("]")
        detail = f" ({'the first: ' if len(numbers) > 1 and first else ''}{first})" if first else ""
        lines.append(f"{frames_named(numbers)}: {kind}{detail}")
    many = len(reasons) > 0.2 * frames
    remark = " Two groups of frames that are this large may come from two settings of the calculation." if many else ""
    return f"{len(reasons)} of {frames} frames have labels that do not go with the others. {'; '.join(lines)}.{remark}"


def refuse_or_drop(reasons: dict[int, list[str]], frames: int, drop: bool | None) -> list[int]:
    """The frames to leave out; see ``drop_outliers`` of `jaxelyte.train`.

    Raises:
        InputError: frames in doubt, and no decision about them.
    """
    if not reasons or drop is False:
        return []
    if drop is None:
        raise InputError(
            f"{outlier_message(reasons, frames)} Look at these calculations; drop_outliers=True or exclude=[…] leaves "
            "frames out, drop_outliers=False trains on all of them"
        )
    return sorted(reasons)


def _add(reasons: dict[int, list[str]], found: dict[int, str]) -> None:
    for number, reason in found.items():
        reasons.setdefault(number, []).append(reason)


def _coincident(frame: Atoms) -> tuple[int, int] | None:
    from vesin import NeighborList

    if len(frame) < 2:
        return None
    # Longer than needed: short cut-offs mean many cells to search.
    first, second, distances = NeighborList(cutoff=1.5, full_list=False).compute(
        points=frame.positions, box=frame.cell.complete().array, periodic=frame.pbc, quantities="ijd"
    )
    close = np.flatnonzero(distances < COINCIDENT)
    return (int(first[close[0]]), int(second[close[0]])) if len(close) else None


def _judge_frames(
    frames: Sequence[Atoms], labels: Sequence[Labels], predictions: Sequence[Prediction]
) -> tuple[dict[int, str], bool]:
    """Frames whose forces as a whole have another unit, sign or order; and whether the pair model can tell."""
    cosines, ratios = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    sizes, expected = np.full(len(frames), np.nan), np.full(len(frames), np.nan)
    for n, (label, predicted) in enumerate(zip(labels, predictions, strict=True)):
        force, model = np.linalg.norm(label.forces, axis=1), np.linalg.norm(predicted.forces, axis=1)
        known = np.isfinite(force)
        if not np.any(known):
            continue
        sizes[n], expected[n] = np.median(force[known]), np.median(model[known])
        both = known & (force > 0) & (model > 0)
        if np.count_nonzero(both) < 3:
            continue
        aligned = np.sum(label.forces[both] * predicted.forces[both], axis=1) / force[both]
        cosines[n] = float(np.sum(aligned) / np.sum(model[both]))
        large = both & (model >= np.median(model[both]))
        ratios[n] = float(np.median(force[large] / model[large]))
    if not np.any(np.isfinite(cosines)) or not np.nanmedian(cosines) > ALIGNED:
        return _zero_frames(labels, None), False
    found = _zero_frames(labels, expected)
    strong = expected > 0.3 * np.nanmedian(expected)
    for n in np.flatnonzero(strong & np.isfinite(cosines)):
        if cosines[n] < TURNED:
            found[int(n)] = "forces point the wrong way: the sign of gradients, or another order of atoms"
        elif cosines[n] > 0.5 and not 1.0 / RATIO < ratios[n] < RATIO:
            name = _unit(KNOWN_FORCES, ratios[n])
            found[int(n)] = f"forces are in another unit{name} [{ratios[n]:.3g} times those of the other frames]"
        elif cosines[n] < STRANGE and sizes[n] > 0.2 * np.nanmedian(sizes):
            found[int(n)] = (
                "forces do not belong to the positions: another order of atoms, or another step "
                f"[mean cosine with the expected direction {cosines[n]:.2f}; others {np.nanmedian(cosines):.2f}]"
            )
    return found, True


def _zero_frames(labels: Sequence[Labels], expected: np.ndarray | None) -> dict[int, str]:
    """Frames of several atoms without any force, among others that have some; by symmetry they may be sound."""
    zero = [
        n for n, x in enumerate(labels) if x.has("forces") and len(x.forces) > 1 and not np.any(np.nan_to_num(x.forces))
    ]
    others = sum(label.has("forces") for label in labels) - len(zero)
    if expected is not None:
        zero = [n for n in zero if expected[n] > 0.3 * np.nanmedian(expected)]
    return dict.fromkeys(zero, "all forces are zero") if others else {}


def _unit(known: dict[str, float], ratio: float) -> str:
    """A unit whose factor explains the ratio to 40 %, in words."""
    name = min(known, key=lambda unit: abs(np.log(known[unit] * ratio)))
    return f", {name} by their size" if abs(np.log(known[name] * ratio)) < np.log(1.4) else ""


def _judge_atoms(
    frames: Sequence[Atoms], labels: Sequence[Labels], predictions: Sequence[Prediction], doubted: set[int]
) -> dict[int, str]:
    """Single forces far from the pair model, on the scale of what is usual for the species."""
    numbers = np.concatenate([frame.numbers for frame in frames])
    size = np.linalg.norm(np.concatenate([label.forces for label in labels]), axis=1)
    model = np.concatenate([one.forces for one in predictions])
    off = np.linalg.norm(np.concatenate([label.forces for label in labels]) - model, axis=1)
    scale = np.zeros(len(off))
    for kind in np.unique(numbers):
        own = (numbers == kind) & np.isfinite(off)
        if np.any(own):
            scale[numbers == kind] = max(np.median(off[own]), 0.15 * np.median(size[own]))
    bad = (off > FORCE * np.maximum(scale, 1e-6)) & (off > np.linalg.norm(model, axis=1))
    return _name_atoms(frames, bad, size, doubted)


def _judge_sizes(frames: Sequence[Atoms], labels: Sequence[Labels]) -> dict[int, str]:
    """Single forces far above the median of the species, where nothing else is known."""
    numbers = np.concatenate([frame.numbers for frame in frames])
    size = np.linalg.norm(np.concatenate([label.forces for label in labels]), axis=1)
    bad = np.zeros(len(size), bool)
    for kind in np.unique(numbers):
        own = (numbers == kind) & np.isfinite(size)
        if np.count_nonzero(own) >= 10 and np.median(size[own]) > 0:
            bad |= own & (size > BARE_FORCE * np.median(size[own]))
    return _name_atoms(frames, bad, size, set())


def _name_atoms(frames: Sequence[Atoms], bad: np.ndarray, size: np.ndarray, doubted: set[int]) -> dict[int, str]:
    starts = np.concatenate([[0], np.cumsum([len(frame) for frame in frames])])
    found = {}
    for n in range(len(frames)):
        rows = np.flatnonzero(bad[starts[n] : starts[n + 1]])
        if len(rows) and n not in doubted:
            worst = rows[np.argmax(size[starts[n] + rows])]
            found[n] = (
                "single forces far off [atom "
                f"{worst} ({frames[n].symbols[int(worst)]}): {size[starts[n] + worst]:.4g} eV/Å]"
            )
    return found


def _judge_energies(
    frames: Sequence[Atoms], labels: Sequence[Labels], predictions: Sequence[Prediction] | None
) -> dict[int, str]:
    """Energies far from references of the species plus the pair model."""
    rows = [n for n, label in enumerate(labels) if label.has("energy")]
    kinds = sorted({int(z) for n in rows for z in frames[n].numbers})
    if not rows:
        return {}
    counts = np.array([[np.sum(frames[n].numbers == z) for z in kinds] for n in rows], np.float64)
    energies = np.array([labels[n].energy for n in rows])
    pair = np.array([0.0 if predictions is None else predictions[n].energy for n in rows])
    root = np.sqrt(counts.sum(axis=1))
    references = robust_references(counts / root[:, None], (energies - pair) / root)
    if references is None:
        return {}
    expected = counts @ references + pair
    off = energies - expected
    count = len(rows)
    scale = max(float(np.quantile(np.abs(off / root), 0.4)) / 0.524, ENERGY_FLOOR)
    limit = ENERGY * (1.0 + 10.0 / count) * scale * root
    if predictions is None:
        limit = np.maximum(limit, BARE_ENERGY * root**2)
    else:
        fixed = robust_references(counts / root[:, None], pair / root)
        limit = limit + (0.5 * np.abs(pair - counts @ fixed) if fixed is not None else 0.0)
    found = {}
    for n in np.flatnonzero(np.abs(off) > limit):
        unit = next(
            (
                f", in {name} by its size"
                for name, factor in KNOWN_ENERGIES.items()
                if abs(energies[n] * factor - expected[n]) < 0.01 * abs(expected[n])
            ),
            "",
        )
        found[rows[int(n)]] = (
            f"energy does not go with the others{unit} [{off[n]:+.4g} eV off, {limit[n]:.2g} eV is allowed]"
        )
    return found


def robust_references(rows: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Least squares for the better part of the rows (least quantile of squares, then trimmed).

    Rousseeuw, J. Am. Stat. Assoc. 79, 871 (1984). The quantile is 0.4, so that one of two equal groups is fitted.

    Returns:
        Coefficients, or None where the rows are too few to say which of them are wrong.
    """
    u, singular, vt = np.linalg.svd(rows, full_matrices=False)
    rank = int(np.sum(singular > 1e-6 * singular[0]))
    count = len(rows)
    if count < 5 * rank + 5:
        return None
    base = u[:, :rank]
    rng = np.random.default_rng(0)
    place = max(rank + 1, round(0.4 * count))
    best, least = np.zeros(rank), np.inf
    for _ in range(500):
        some = rng.choice(count, rank, replace=False)
        try:
            trial = np.linalg.solve(base[some], values[some])
        except np.linalg.LinAlgError:
            continue
        height = float(np.partition(np.abs(values - base @ trial), place)[place])
        if height < least:
            best, least = trial, height
    for _ in range(5):
        off = np.abs(values - base @ best)
        kept = off <= max(4.0 * np.partition(off, place)[place] / 0.524, 1e-12)
        best = np.linalg.lstsq(base[kept], values[kept], rcond=None)[0]
    return vt[:rank].T @ (best / singular[:rank])
