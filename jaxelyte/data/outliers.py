"""Frames whose labels do not belong to the others: failed calculations, other units, another level of theory.

Everything is judged by medians, so that the frames that are wrong do not set the scale. Forces are compared with a pair
model fitted to all of them (`jaxelyte.data.pair_model`), frame by frame and atom by atom; energies, less those of the
same model, with those of frames of the same kind (`jaxelyte.data.energies`).

Sets are often uneven on purpose: relaxations, scans, clusters beside crystals. Large forces that sum to zero over their
frame, directions that leave no torque on a molecule, and energies of frames unlike all others are therefore accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxelyte.data.energies import judge_energies
from jaxelyte.data.kinds import symmetric_sites
from jaxelyte.data.labels import Labels, frames_named
from jaxelyte.data.pair_model import PairModel, Prediction, fit_pair_model
from jaxelyte.data.plausibility import KNOWN_FORCES
from jaxelyte.errors import InputError
from jaxelyte.wording import part_of

if TYPE_CHECKING:
    from ase import Atoms

COINCIDENT = 0.05
"""Å; atoms closer than this are one atom twice."""

FORCE = 40.0
"""Largest deviation of a force from the pair model in medians of the species. Sound frames reach 18 (406 frames of
GFN1-xTB at up to 600 K) and 8 (1,255 frames at three DFT levels)."""

BARE_FORCE = 60.0
"""Largest force in medians of the species where there is no pair model; sound frames reach 7."""

ALIGNED, TURNED, STRANGE = 0.7, -0.4, 0.35
"""Mean cosine between forces and those of the pair model: the least of the median frame for any judgement, that of a
frame with the other sign, and that of forces which do not belong to the positions. Sound frames have 0.7 to 0.95."""

RATIO = 5.0
"""Forces of a whole frame that are that many times larger or smaller than the pair model's are in another unit."""


SINGLE, UNBALANCED = 10.0, 0.3
"""A single wrong force deviates that many times more than those of the other atoms of its frame, and leaves that share
of it as the sum over the frame. Collisions, scans and the first steps of relaxations do neither."""

SIMILAR = 2.0
"""Ratio of the sizes of forces between frames whose directions are compared."""


class Check(NamedTuple):
    """Reasons against frames, and the pair model with what it predicts (None without forces).

    Attributes:
        reasons: frames that are wrong.
        doubts: frames that may be right.
        model: where it describes the forces.
        predictions: of it, for every frame.
    """

    reasons: dict[int, list[str]]
    doubts: dict[int, list[str]]
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
    else:
        _add(reasons, _zero_frames(frames, labels, None))
    _add(reasons, _judge_atoms(frames, labels, predictions, set(reasons)))
    wrong, doubted = judge_energies(frames, labels, predictions)
    _add(reasons, wrong)
    doubts: dict[int, list[str]] = {}
    _add(doubts, {n: why for n, why in doubted.items() if n not in reasons})
    return Check(reasons, doubts, model, predictions)


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
    return (
        f"{part_of(len(reasons), frames, 'frame')} labels that do not go with the others. {'; '.join(lines)}.{remark}"
    )


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
        return _zero_frames(frames, labels, None), False
    found = _zero_frames(frames, labels, expected)
    strong = expected > 0.3 * np.nanmedian(expected)
    for n in np.flatnonzero(strong & np.isfinite(cosines)):
        if cosines[n] < TURNED:
            found[int(n)] = "forces point the wrong way: the sign of gradients, or another order of atoms"
        elif cosines[n] > 0.5 and not 1.0 / RATIO < ratios[n] < RATIO:
            name = _unit(KNOWN_FORCES, ratios[n])
            found[int(n)] = f"forces are in another unit{name} [{ratios[n]:.3g} times those of the other frames]"
        elif cosines[n] < STRANGE and not _without_torque(frames[int(n)], labels[int(n)]):
            similar = np.isfinite(cosines) & (np.abs(np.log(sizes / sizes[n])) < np.log(SIMILAR))
            similar[n] = False
            if np.count_nonzero(similar) >= 3 and np.quantile(cosines[similar], 0.2) > ALIGNED:
                found[int(n)] = (
                    "forces do not belong to the positions: another order of atoms, or another step "
                    f"[mean cosine with the expected direction {cosines[n]:.2f}; others {np.nanmedian(cosines):.2f}]"
                )
    return found, True


def _without_torque(frame: Atoms, label: Labels) -> bool:
    """True for a molecule whose forces turn it nowhere, as those of another structure would."""
    if any(frame.pbc) or len(frame) < 3:
        return False
    arms = frame.positions - frame.positions.mean(axis=0)
    torque = np.linalg.norm(np.cross(arms, label.forces).sum(axis=0))
    return bool(torque < 0.02 * np.sum(np.linalg.norm(arms, axis=1) * np.linalg.norm(label.forces, axis=1)))


def _zero_frames(frames: Sequence[Atoms], labels: Sequence[Labels], expected: np.ndarray | None) -> dict[int, str]:
    """Frames without any force, unless their symmetry explains it."""
    zero = [
        n for n, x in enumerate(labels) if x.has("forces") and len(x.forces) > 1 and not np.any(np.nan_to_num(x.forces))
    ]
    if expected is not None:
        zero = [n for n in zero if expected[n] > 0.3 * np.nanmedian(expected)]
    return dict.fromkeys([n for n in zero if not symmetric_sites(frames[n])], "all forces are zero")


def _unit(known: dict[str, float], ratio: float) -> str:
    """A unit whose factor explains the ratio to 40 %, in words."""
    name = min(known, key=lambda unit: abs(np.log(known[unit] * ratio)))
    return f", {name} by their size" if abs(np.log(known[name] * ratio)) < np.log(1.4) else ""


def _judge_atoms(
    frames: Sequence[Atoms], labels: Sequence[Labels], predictions: Sequence[Prediction] | None, doubted: set[int]
) -> dict[int, str]:
    """Single forces far from the pair model, or from zero without one, on the scale of their species."""
    numbers = np.concatenate([frame.numbers for frame in frames])
    forces = np.concatenate([label.forces for label in labels])
    size = np.linalg.norm(forces, axis=1)
    model = np.zeros_like(forces) if predictions is None else np.concatenate([one.forces for one in predictions])
    off = np.linalg.norm(forces - model, axis=1)
    scale = np.full(len(off), np.inf)
    for kind in np.unique(numbers):
        own = (numbers == kind) & np.isfinite(off)
        if np.count_nonzero(own) >= (1 if predictions is not None else 10):
            scale[numbers == kind] = max(np.median(off[own]), 0.15 * np.median(size[own]), 1e-6)
    share = off / scale
    limit = BARE_FORCE if predictions is None else FORCE
    bad = (share > limit) & (off > np.linalg.norm(model, axis=1))
    found = {}
    ends = np.cumsum([len(frame) for frame in frames])
    for n in sorted({int(np.searchsorted(ends, row, "right")) for row in np.flatnonzero(bad)} - doubted):
        rows = np.arange(ends[n] - len(frames[n]), ends[n])
        rest = rows[~bad[rows] & np.isfinite(share[rows])]
        usual = float(np.median(share[rest])) if len(rest) else 0.0
        single = [row for row in rows if bad[row] and share[row] > SINGLE * usual]
        net = float(np.linalg.norm(np.nansum(forces[rows], axis=0)))
        if not single or net < UNBALANCED * max(size[row] for row in single):
            continue
        worst = max(single, key=lambda row: size[row])
        atom = int(worst - rows[0])
        found[n] = f"single forces far off [atom {atom} ({frames[n].symbols[atom]}): {size[worst]:.4g} eV/Å]"
    return found
