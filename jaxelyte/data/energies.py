"""Energies that do not go with the others: of another level of theory, in another unit, of failed calculations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.data.columns import KNOWN_ENERGIES
from jaxelyte.data.kinds import Kinds
from jaxelyte.data.labels import Labels
from jaxelyte.data.pair_model import Prediction

if TYPE_CHECKING:
    from ase import Atoms

ENERGY, ENERGY_FLOOR = 12.0, 0.002
"""Largest deviation of an energy in robust standard deviations, which are eV per square root of the number of atoms;
sound frames reach 4.2."""

BARE_ENERGY = 0.5
"""Least deviation in eV per atom that counts where there are no forces: sets of several temperatures and phases spread
by some tenths."""

DOUBTFUL, SURE = 1.5, 1.9
"""Deviations from frames of the same kind that many times the allowed one are warned about, and are errors."""

SOFT = 30.0
"""eV/Å²; a frame whose forces are larger than those of its kind may have Δ Σ F² / 2k more energy."""

LEAST_ALIKE = 4
"""Frames of its kind that a frame is compared with, at least."""

MIXING = 1.5
"""eV per atom, beyond references of the elements: the most that frames of other compositions differ by where density,
coordination and periodicity are alike. Heats of mixing of alloys are some tenths, those of salts and oxides up to 1."""

FIXING = 2 * LEAST_ALIKE
"""Frames with each of the species of a frame, which is then compared with them whatever their composition is."""

CHEMISTRY = 15.0
"""eV per atom: a difference to all other frames that no bond explains, where none of them is like it at all."""

APART, FEWEST_OF_GROUP = 6.0, 0.2
"""Two groups of frames of one kind: the gap between their energies in robust standard deviations within them, and the
least share of the smaller one. In sound sets the widest gap between energies is below 2."""


def judge_energies(
    frames: Sequence[Atoms], labels: Sequence[Labels], predictions: Sequence[Prediction] | None
) -> tuple[dict[int, str], dict[int, str]]:
    """Energies far from references of the species plus the pair model, in comparison with frames of the same kind.

    Returns:
        Frames that are wrong and frames in doubt, with the reasons.
    """
    rows = [n for n, label in enumerate(labels) if label.has("energy")]
    if not rows:
        return {}, {}
    kinds = Kinds([frames[n] for n in rows])
    energies = np.array([labels[n].energy for n in rows])
    root = np.sqrt(kinds.sizes)
    pair = np.array([0.0 if predictions is None else predictions[n].energy for n in rows])
    fits = [fit for fit in _expectations(kinds.counts / root[:, None], energies / root, pair / root) if fit is not None]
    if not fits:
        return {}, {}
    # Of liquids the pair model explains nearly all, of metals and covalent solids little.
    left, due = min(fits, key=lambda fit: float(np.quantile(np.abs(fit[0]), 0.4)))
    off, explained = left * root, 0.5 * np.abs(due) * root
    scale = max(float(np.quantile(np.abs(left), 0.4)) / 0.524, ENERGY_FLOOR)
    squares = np.array([float(np.nansum(labels[n].forces ** 2)) for n in rows])
    wrong, doubted = {}, {}
    for n in np.flatnonzero(np.abs(off) > ENERGY * scale * root):
        alike = kinds.like(int(n))
        deviation, allowed = float(off[n]), CHEMISTRY * float(kinds.sizes[n])
        others = kinds.counts[kinds.like(int(n), composition=False)] > 0
        # A reference that few frames fix may be what is wrong.
        if np.all(others.sum(axis=0)[kinds.counts[n] > 0] >= FIXING):
            allowed = max(MIXING * float(kinds.sizes[n]), ENERGY * scale * float(root[n]))
        if len(alike) >= LEAST_ALIKE:
            usual = alike[np.abs(left[alike]) <= ENERGY * scale]
            center, own = _center(left[usual if len(usual) >= max(LEAST_ALIKE, len(alike) / 3) else alike])
            deviation -= center * float(root[n])
            allowed = ENERGY * (1.0 + 10.0 / len(alike)) * max(scale, own) * float(root[n])
            if predictions is None:
                allowed = max(allowed, BARE_ENERGY * float(kinds.sizes[n]))
            allowed += abs(float(squares[n] - np.median(squares[alike]))) / (2.0 * SOFT)
        allowed += float(explained[n])
        if abs(deviation) <= DOUBTFUL * allowed:
            continue
        unit = _unit(float(energies[n]), float(energies[n]) - deviation)
        text = f"energy does not go with the others{unit} [{deviation:+.4g} eV off; {allowed:.2g} eV would be ordinary]"
        (wrong if abs(deviation) > SURE * allowed or unit else doubted)[rows[int(n)]] = text
    if predictions is not None:
        sizes = np.log(np.maximum(squares / kinds.sizes, 1e-12))
        for n, text in _two_groups(left, kinds, np.column_stack([sizes, due])).items():
            if rows[n] not in wrong:
                doubted.setdefault(rows[n], text)
    return wrong, doubted


def _two_groups(left: np.ndarray, kinds: Kinds, traits: np.ndarray) -> dict[int, str]:
    """Frames of one kind whose energies fall into two groups that nothing in their structures tells apart.

    Args:
        left: of the energies, eV per square root of the number of atoms.
        kinds: of the frames.
        traits: (frames, traits), other properties in which physical groups would differ.

    Returns:
        The smaller group, with the reason.
    """
    share = kinds.counts / kinds.sizes[:, None]
    traits = np.column_stack([traits, share, kinds.density, kinds.coordination])
    found: dict[int, str] = {}
    open_ended = set(range(len(left)))
    while open_ended:
        first = min(open_ended)
        alike = np.sort(np.append(kinds.like(first), first))
        open_ended -= set(alike.tolist())
        least = max(4, round(FEWEST_OF_GROUP * len(alike)))
        if len(alike) < 2 * least:
            continue
        order = alike[np.argsort(left[alike])]
        gaps = np.diff(left[order])[least - 1 : len(order) - least]
        cut = least + int(np.argmax(gaps))
        groups = order[:cut], order[cut:]
        within = max(*(_spread(left[group]) for group in groups), ENERGY_FLOOR)
        apart = np.abs(np.subtract(*(np.median(traits[group], axis=0) for group in groups)))
        usual = np.maximum(*(np.apply_along_axis(_spread, 0, traits[group]) for group in groups))
        if gaps.max() < APART * within or np.any(apart > 1.5 * usual + 1e-6):
            continue
        smaller = min(groups, key=len)
        shift = float(np.median(left[groups[1]]) - np.median(left[groups[0]]))
        for n in smaller.tolist():
            size = shift * float(np.sqrt(kinds.sizes[n]))
            found[n] = (
                "energies fall into two groups, although the structures are alike: another level of theory? "
                f"[{size:.3g} eV apart]"
            )
    return found


def _spread(values: np.ndarray) -> float:
    """Robust standard deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _expectations(
    counts: np.ndarray, energies: np.ndarray, pair: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """What is left of the energies, and the part that the pair model explains: without it, with it, with a share of it.

    All in eV per square root of the number of atoms.
    """
    alone = robust_references(counts, energies)
    if alone is None:
        return [None]
    found: list[tuple[np.ndarray, np.ndarray] | None] = [(energies - counts @ alone, np.zeros_like(energies))]
    fixed = robust_references(counts, pair)
    if fixed is None or not np.any(pair):
        return found
    due = pair - counts @ fixed
    whole = robust_references(counts, energies - due)
    assert whole is not None
    found.append((energies - due - counts @ whole, due))
    rows = np.column_stack([counts, due])
    share = robust_references(rows, energies)
    if share is not None and 0.0 < share[-1] < 1.0:
        found.append((energies - rows @ share, share[-1] * due))
    return found


def _center(values: np.ndarray) -> tuple[float, float]:
    """Median and robust standard deviation of the densest two fifths, for one of two equal groups stands for all."""
    values = np.sort(values)
    width = max(2, round(0.4 * len(values)))
    start = int(np.argmin(values[width - 1 :] - values[: len(values) - width + 1]))
    center = float(np.median(values[start : start + width]))
    return center, float(np.quantile(np.abs(values - center), 0.4)) / 0.524


def _unit(energy: float, expected: float) -> str:
    for name, factor in KNOWN_ENERGIES.items():
        if abs(energy * factor - expected) < 0.01 * abs(expected):
            return f", in {name} by its size"
    return ""


def robust_references(rows: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Least squares for the better part of the rows (least quantile of squares, then trimmed).

    Rousseeuw, J. Am. Stat. Assoc. 79, 871 (1984). The quantile is 0.4, so that one of two equal groups is fitted. What
    the better part leaves open, such as a species that few frames have, is found from the other rows in the same way.

    Returns:
        Coefficients, or None where the rows are too few to say which of them are wrong.
    """
    u, singular, vt = np.linalg.svd(rows, full_matrices=False)
    rank = int(np.sum(singular > 1e-6 * singular[0]))
    if len(rows) < 3 * rank + 6:
        return None
    return vt[:rank].T @ (_trimmed(u[:, :rank], values) / singular[:rank])


def _trimmed(base: np.ndarray, values: np.ndarray) -> np.ndarray:
    count, rank = base.shape
    if count < 2 * rank + 2:
        return np.linalg.lstsq(base, values, rcond=None)[0]
    rng = np.random.default_rng(0)
    place = rank - 1 + round(0.4 * (count - rank))
    best, least = np.linalg.lstsq(base, values, rcond=None)[0], np.inf
    for _ in range(500):
        some = rng.choice(count, rank, replace=False)
        try:
            trial = np.linalg.solve(base[some], values[some])
        except np.linalg.LinAlgError:
            continue
        height = float(np.partition(np.abs(values - base @ trial), place)[place])
        if height < least:
            best, least = trial, height
    kept = np.ones(count, bool)
    for _ in range(5):
        off = np.abs(values - base @ best)
        kept = off <= max(4.0 * np.partition(off, place)[place] / 0.524, 1e-12)
        best = np.linalg.lstsq(base[kept], values[kept], rcond=None)[0]
    _, singular, vt = np.linalg.svd(base[kept], full_matrices=True)
    others = vt[int(np.sum(singular > 1e-6 * singular[0])) :].T
    left = base @ others
    rest = ~kept & (np.linalg.norm(left, axis=1) > 1e-9)
    if not others.size or not np.any(rest):
        return best
    return best + others @ _trimmed(left[rest], values[rest] - base[rest] @ best)
