"""Are the labels in eV and Å? Wrong units are found from the frames themselves.

The stiffness of covalent bonds to hydrogen is known to a factor of two (some 25 to 60 eV/Å²), and so it can be read off
any set of frames in which such bonds vibrate: the force along the bond falls by k for each Å that the bond is longer.
Forces in Hartree/Bohr give a k 51 times too small. With k, the size of the forces gives the thermal energy, and with
that the spread of the energies of frames of one composition: energies in Hartree spread 27 times too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from jaxelyte.checks import caution
from jaxelyte.data.columns import KNOWN_ENERGIES
from jaxelyte.data.labels import Labels
from jaxelyte.data.pair_model import Prediction, similar_frames
from jaxelyte.data.work import ALIGNED, BOUNDS, changes, slope_of
from jaxelyte.errors import Findings, InputError
from jaxelyte.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

if TYPE_CHECKING:
    from ase import Atoms

STIFFNESS = (8.0, 200.0)
"""Bounds in eV/Å² on the fitted stiffness; liquid water has 30 to 50, H2 36, and neighbours pull at the bond."""

SPREAD = (0.3, 50.0)
"""Bounds on the spread of energies over that of a classical harmonic solid with the same forces. Frames of several
temperatures and densities spread up to ten times as much as thermal ones (2.0 to 3.8 in aqueous NaCl and water at
three levels of theory): in such a set Hartree go unnoticed."""

CORRELATED, SLOPE = 0.5, (0.25, 4.0)
"""Correlation between changes of energy and those implied by the forces, from which on their slope is judged. Slopes
are 0.7 to 1.2 in aqueous NaCl and water at four levels of theory, with correlations from 0.8 on."""

CORRELATED_COMPOSITIONS, ONE_MIXTURE = 0.8, 0.15
"""The same where compositions differ from frame to frame, and how much the fraction of a species may then vary."""

KNOWN_FORCES = {
    "Hartree/Bohr": HARTREE / BOHR,
    "Ry/Bohr": 0.5 * HARTREE / BOHR,
    "kcal/mol/Å": KCAL_PER_MOL,
    "kJ/mol/nm": 0.1 * KJ_PER_MOL,
}
"""Factors to eV/Å."""

TYPICAL_STIFFNESS = 40.0
"""eV/Å²."""

MOST_FRAMES = 50


class Bonds(NamedTuple):
    """Lengths in Å of covalent bonds to hydrogen, and half the difference of the forces along them."""

    length: np.ndarray
    force: np.ndarray
    kind: np.ndarray


def check_units(
    frames: Sequence[Atoms],
    labels: Sequence[Labels],
    predictions: Sequence[Prediction] | None = None,
    findings: Findings | None = None,
) -> np.ndarray:
    """Refuse labels that are not in eV and eV/Å, or positions that are not in Å.

    Forces and positions are judged by bonds to hydrogen, with some spread; energies by the changes of energy that the
    forces imply, or by their spread where no pair model describes the forces. Other systems pass.

    Args:
        frames: of one set.
        labels: theirs.
        predictions: of a pair model fitted to the forces, where it describes them.
        findings: takes the errors.

    Returns:
        (frames,), factors that convert the forces.

    Raises:
        InputError: what the labels look like, with the factor that converts them.

    Warns:
        UserWarning: forces with the sign of gradients.
    """
    _check_positions(frames)
    found = Findings() if findings is None else findings
    stiffness, factors = None, np.ones(len(frames))
    # Frames in two units are two groups by the size of their forces.
    for group in similar_frames(labels):
        some = [group[k] for k in np.unique(np.linspace(0, len(group) - 1, MOST_FRAMES).astype(int))]
        own = _stiffness([frames[n] for n in some], [labels[n] for n in some])
        if own is not None and not STIFFNESS[0] < own < STIFFNESS[1]:
            with found.part():
                _refuse_stiffness(own)
            factors[group] = _nearest(KNOWN_FORCES, TYPICAL_STIFFNESS / own)[1]
            own *= factors[group[0]]
        stiffness = own or stiffness
    # Energies are compared with forces in eV/Å, so that both can be judged at once.
    labels, predictions = scaled(labels, predictions, factors)
    with found.part():
        judged = _check_work(frames, labels)
        if not judged and predictions is not None:
            judged = _check_changes(frames, labels, predictions)
        if not judged and stiffness is not None:
            some = np.unique(np.linspace(0, len(frames) - 1, MOST_FRAMES).astype(int))
            _check_energies([frames[n] for n in some], [labels[n] for n in some], stiffness)
    if findings is None:
        found.refuse()
    return factors


def scaled(
    labels: Sequence[Labels], predictions: Sequence[Prediction] | None, factors: np.ndarray
) -> tuple[list[Labels], list[Prediction] | None]:
    """Labels whose forces are multiplied by factors of their frames, and the predictions that go with them."""
    several = zip(labels, factors.tolist(), strict=True)
    forces = [one if factor == 1.0 else replace(one, forces=one.forces * factor) for one, factor in several]
    if predictions is None:
        return forces, None
    # The pair model was fitted to the largest group of frames, in whose unit all that it predicts is.
    factor = float(np.median(factors))
    return forces, [Prediction(factor * x.energy, factor * x.forces, factor * x.virial) for x in predictions]


def _stiffness(frames: Sequence[Atoms], labels: Sequence[Labels]) -> float | None:
    """Stiffness of bonds to hydrogen in eV/Å², or None where there are too few or where they do not vibrate."""
    bonds = _bonds(frames, labels)
    # A slope needs enough bonds and a spread of lengths; relaxed structures have none.
    if len(bonds.length) < 20 or float(np.std(_centred(bonds.length, bonds.kind))) < 0.003:
        return None
    length, force = _centred(bonds.length, bonds.kind), _centred(bonds.force, bonds.kind)
    stiffness = -float(np.sum(length * force) / np.sum(length**2))
    if stiffness < 0:
        caution(
            f"forces along bonds to hydrogen grow with their length ({stiffness:.3g} eV/Å²): are they gradients, with "
            "the sign of the energy's derivative, instead of forces?"
        )
        return None
    return stiffness


def _refuse_stiffness(stiffness: float) -> NoReturn:
    name, factor = _nearest(KNOWN_FORCES, TYPICAL_STIFFNESS / stiffness)
    raise InputError(
        f"the forces are not in eV/Å: bonds to hydrogen would have a stiffness of {stiffness:.3g} eV/Å², where 25 "
        f"to 60 is usual. They look like {name}: multiply them by {factor:.9g}, or pass check_units=False "
        "if they are right"
    )


def _check_work(frames: Sequence[Atoms], labels: Sequence[Labels]) -> bool:
    """Changes of energy between frames that lie close together against the work of the forces; False without such."""
    found = changes(frames, labels)
    alike = found.stresses == 0
    slope = slope_of(found.energy[alike], found.forces[alike])
    if slope is None or abs(slope[1]) < ALIGNED:
        return False
    _judge_slope(slope[0], BOUNDS, "between neighbouring frames")
    return True


def _check_changes(frames: Sequence[Atoms], labels: Sequence[Labels], predictions: Sequence[Prediction]) -> bool:
    """Changes of energy between frames against those that the forces imply; False where these say nothing."""
    rows = [n for n, label in enumerate(labels) if label.has("energy") and label.has("forces")]
    if not rows:
        return False
    energy = np.array([labels[n].energy for n in rows])
    implied = np.array([predictions[n].energy for n in rows])
    root = np.sqrt([len(frames[n]) for n in rows])
    needed = CORRELATED
    groups: dict[str, list[int]] = {}
    for place, n in enumerate(rows):
        groups.setdefault(frames[n].get_chemical_formula(), []).append(place)
    several = [members for members in groups.values() if len(members) > 1]
    if sum(len(members) - 1 for members in several) >= 6:
        # Only within one composition: heats of formation are none of the forces' business.
        chosen = np.concatenate(several)
        for members in several:
            energy[members] -= energy[members].mean()
            implied[members] -= implied[members].mean()
        energy, implied = energy[chosen] / root[chosen], implied[chosen] / root[chosen]
    else:
        kinds = sorted({int(z) for n in rows for z in frames[n].numbers})
        counts = np.array([[np.sum(frames[n].numbers == z) for z in kinds] for n in rows], np.float64)
        share = counts / counts.sum(axis=1, keepdims=True)
        if len(rows) < 3 * len(kinds) + 6 or np.ptp(share, axis=0).max() > ONE_MIXTURE:
            return False
        both = np.stack([energy, implied], axis=1) / root[:, None]
        both -= (counts / root[:, None]) @ np.linalg.lstsq(counts / root[:, None], both, rcond=1e-6)[0]
        energy, implied = both.T
        needed = CORRELATED_COMPOSITIONS
    size = float(np.sqrt(np.sum(energy**2) * np.sum(implied**2)))
    correlation = float(np.sum(energy * implied)) / size if size > 0 else 0.0
    if abs(correlation) < needed:
        return False
    _judge_slope(float(np.sum(energy * implied) / np.sum(implied**2)), SLOPE, "between frames")
    return True


def _judge_slope(slope: float, bounds: tuple[float, float], where: str) -> None:
    if slope < 0:
        raise InputError(
            f"energies and forces contradict each other: {where}, energies fall by {-slope:.3g} eV where the forces "
            "imply a rise by 1 eV. Are the forces gradients, with the sign of the energy's derivative? Multiply them "
            "by -1, or pass check_units=False if they are right"
        )
    if not bounds[0] < slope < bounds[1]:
        guesses = [
            f"are the {what} in {name} (multiply by {factor:.9g})"
            for what, known, wanted in (("energies", KNOWN_ENERGIES, 1.0 / slope), ("forces", KNOWN_FORCES, slope))
            for name, factor in [_nearest(known, wanted)]
            if abs(np.log(factor / wanted)) < np.log(2.0)
        ]
        if 1.5 < slope < 2.4:
            guesses.append("are both in atomic units, with positions in Å")
        likely = f"{' or '.join(guesses)}? " if guesses else ""
        raise InputError(
            f"the energies are inconsistent with the forces: {where}, they change by {slope:.3g} eV where the forces "
            f"imply 1 eV. {likely[:1].upper()}{likely[1:]}Look at what the program writes, or pass "
            "check_units=False if they are right"
        )


def _check_positions(frames: Sequence[Atoms]) -> None:
    """Distance of hydrogen to its nearest atom in sums of covalent radii: 0.8 to 1.3 in molecules and hydrides."""
    from ase.data import covalent_radii
    from vesin import NeighborList

    nearest = []
    for frame in frames[:10]:
        hydrogen = frame.numbers == 1
        if not np.any(hydrogen) or len(frame) < 2:
            continue
        first, second, found = NeighborList(cutoff=6.0, full_list=True).compute(
            points=frame.positions, box=frame.cell.complete().array, periodic=frame.pbc, quantities="ijd"
        )
        relative = found / (covalent_radii[frame.numbers[first]] + covalent_radii[frame.numbers[second]])
        nearest.append(relative[hydrogen[first]].min(initial=np.inf))
    if not nearest or not np.isfinite(np.median(nearest)):
        return
    typical = float(np.median(nearest))
    if 1.5 < typical < 2.6:
        raise InputError(
            f"the positions are not in Å: the atom nearest to a hydrogen is {typical:.3g} bond lengths away. They look "
            "like Bohr: multiply positions and cell by 0.529177211, or pass check_units=False"
        )
    if typical < 0.3:
        raise InputError(
            f"the positions are not in Å: the atom nearest to a hydrogen is {typical:.3g} bond lengths away. They look "
            "like nm: multiply positions and cell by 10, or pass check_units=False"
        )


def _bonds(frames: Sequence[Atoms], labels: Sequence[Labels]) -> Bonds:
    from vesin import NeighborList

    lengths, forces, kinds = [], [], []
    for frame, label in zip(frames, labels, strict=True):
        if not label.has("forces") or not np.any(frame.numbers == 1):
            continue
        first, second, vectors, distances = NeighborList(cutoff=1.25, full_list=True).compute(
            points=frame.positions, box=frame.cell.complete().array, periodic=frame.pbc, quantities="ijDd"
        )
        chosen = (frame.numbers[first] == 1) & ((frame.numbers[second] != 1) | (first < second))
        first, second, vectors, distances = (x[chosen] for x in (first, second, vectors, distances))
        # Half the difference of the forces on the two ends, weighted alike: repulsive (long bond: negative).
        pull = np.sum((label.forces[second] - label.forces[first]) * vectors, axis=1) / distances / 2
        known = np.isfinite(pull)
        lengths.append(distances[known])
        forces.append(pull[known])
        kinds.append(frame.numbers[second][known])
    join = [np.concatenate(x) if x else np.zeros(0) for x in (lengths, forces, kinds)]
    return Bonds(*join)


def _centred(values: np.ndarray, kind: np.ndarray) -> np.ndarray:
    out = np.array(values, np.float64)
    for one in np.unique(kind):
        out[kind == one] -= np.mean(out[kind == one])
    return out


def _check_energies(frames: Sequence[Atoms], labels: Sequence[Labels], stiffness: float) -> None:
    """Spread of the energies of each composition against sqrt(3N/2) k_B T, k_B T = <F²> / k."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        if label.has("energy") and label.has("forces"):
            groups.setdefault(tuple(np.sort(frame.numbers)), []).append(number)
    ratios, sizes = [], []
    for composition, members in groups.items():
        if len(members) < 4:
            continue
        light = [labels[n].forces[frames[n].numbers == 1] for n in members]
        square = float(np.nanmean(np.concatenate(light) ** 2))
        thermal = square / stiffness * np.sqrt(1.5 / len(composition))
        spread = float(np.std([labels[n].energy for n in members], ddof=1)) / len(composition)
        ratios.append(spread / thermal)
        sizes.append(len(members))
    if not ratios:
        return
    ratio = float(np.average(ratios, weights=sizes))
    if ratio < SPREAD[0] or ratio > SPREAD[1]:
        # The spread is known to a factor of ten only, which holds Hartree and Rydberg, or kcal and kJ, at once.
        units = ("Hartree", "Ry") if ratio < SPREAD[0] else ("kcal/mol", "kJ/mol")
        choice = " or ".join(f"{name} (multiply by {KNOWN_ENERGIES[name]:.9g})" for name in units)
        raise InputError(
            f"the energies are inconsistent with the forces: frames of one composition differ {ratio:.3g} times as "
            f"much as thermal motion with these forces allows. They may be in {choice}: look at what the program "
            "writes; or pass check_units=False if they are right (relaxed or duplicated frames, mixed levels of theory)"
        )


def _nearest(known: dict[str, float], factor: float) -> tuple[str, float]:
    name = min(known, key=lambda unit: abs(np.log(known[unit] / factor)))
    return name, known[name]
