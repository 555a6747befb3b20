"""Are the stresses in eV/Å³, with tension positive? Judged by the forces that are given beside them.

A pair model fitted to the forces has a virial, W = Σ r F, and the stress -W/V. Its fluctuations between frames and
components follow those of the true stress: bonds that are stretched pull, in whatever direction they lie. The slope of
the labels against it has the sign of the convention and the factor of the unit. Without a pair model only the size is
judged: liquids at some GPa have stresses of 0.01 eV/Å³.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from jaxelyte.data.labels import Labels, frames_named
from jaxelyte.data.pair_model import Prediction
from jaxelyte.data.work import changes, slope_of
from jaxelyte.errors import Findings, InputError
from jaxelyte.units import BOHR, EV_PER_A3_IN_GPA, HARTREE

if TYPE_CHECKING:
    from ase import Atoms

CORRELATED, SLOPE = 0.6, (0.3, 3.0)
"""Correlation with the stress of the pair model from which on the slope is judged; see `check_stresses`."""

WORK = 0.9
"""The same for changes of energy with the strain, which are exact for small strains."""

LARGEST = 0.3
"""eV/Å³, 48 GPa: a median above is taken for another unit where there is nothing to compare with."""

KNOWN = {
    "kbar": 0.1 / EV_PER_A3_IN_GPA,
    "GPa": 1.0 / EV_PER_A3_IN_GPA,
    "bar": 1e-4 / EV_PER_A3_IN_GPA,
    "Hartree/Bohr³": HARTREE / BOHR**3,
}
"""Factors to eV/Å³."""


def check_stresses(
    frames: Sequence[Atoms],
    labels: Sequence[Labels],
    predictions: Sequence[Prediction] | None,
    findings: Findings | None = None,
    numbers: Sequence[int] | None = None,
) -> None:
    """Refuse stresses that are zero, not symmetric, or of another sign or unit.

    The slope is 0.8 to 1.2 in aqueous NaCl where the stress is that of a network and the pair model is fitted to its
    forces. Constant parts of the pressure, which a pair model does not know, are taken away where there are six frames.

    Args:
        frames: of one set.
        labels: theirs.
        predictions: of a pair model fitted to the forces, where it describes them.
        findings: takes the errors.
        numbers: what the frames are called, where some of the set were left out before.

    Raises:
        InputError: what the stresses look like.
    """
    found = Findings() if findings is None else findings
    rows = _sound_stresses(labels, range(len(frames)) if numbers is None else numbers, found)
    if rows:
        with found.part():
            _check_unit(rows, frames, labels, predictions)
    if findings is None:
        found.refuse()


def _sound_stresses(labels: Sequence[Labels], numbers: Sequence[int], findings: Findings) -> list[int]:
    """Places of frames with stresses that are not faulty by themselves."""
    rows = [n for n, label in enumerate(labels) if label.has("stress")]
    if not rows:
        return []
    stresses = np.stack([labels[n].stress for n in rows])
    size = np.abs(stresses).max(axis=(1, 2))
    symmetric = np.abs(stresses - stresses.transpose(0, 2, 1)).max(axis=(1, 2)) <= 0.01 * size + 1e-6
    large = (size > 50.0 * np.median(size)) & (len(rows) >= 5)
    faults = {
        "all components of the stress are zero; the program that made them may not compute stresses. Remove the stress "
        "of these frames": size == 0,
        "the stress is not symmetric; a 3 x 3 array or six numbers in Voigt order (xx, yy, zz, yz, xz, xy) are "
        "needed": ~symmetric,
        "the stress is more than 50 times that of the other frames; exclude=[…] them": large,
    }
    for text, where in faults.items():
        if np.any(where):
            findings.add(f"{frames_named([numbers[rows[n]] for n in np.flatnonzero(where)])}: {text}")
    return [rows[n] for n in np.flatnonzero((size > 0) & symmetric & ~large)]


def _check_unit(
    rows: Sequence[int],
    frames: Sequence[Atoms],
    labels: Sequence[Labels],
    predictions: Sequence[Prediction] | None,
) -> None:
    """Raise `InputError` for stresses of these frames in another unit, order, or with another sign."""
    stresses = np.stack([labels[n].stress for n in rows])
    size = np.abs(stresses).max(axis=(1, 2))
    volumes = np.array([frames[n].get_volume() for n in rows])
    slope = _slope_of_work([frames[n] for n in rows], [labels[n] for n in rows])
    if predictions is not None:
        found = [predictions[n] for n in rows]
        _check_order(stresses, found, volumes)
        slope = _slope(stresses, found, volumes) if slope is None else slope
    if slope is not None:
        _judge(slope, float(np.median(volumes)))
    elif np.median(size) > LARGEST:
        raise InputError(
            f"the stresses are not in eV/Å³: their median is {np.median(size):.3g}, which is "
            f"{np.median(size) * EV_PER_A3_IN_GPA:.3g} GPa. Divide kbar by {1.0 / KNOWN['kbar']:.7g} and GPa by "
            f"{1.0 / KNOWN['GPa']:.7g}, read virials with keys=LabelKeys(virial=…), or pass check_units=False"
        )


def _slope_of_work(frames: Sequence[Atoms], labels: Sequence[Labels]) -> float | None:
    """Of the stresses against those that changes of energy with the strain imply; None where frames are not strained.

    Phases and volumes of a crystal have it: E_b - E_a less the work of the forces is the work of the stresses.
    """
    found = changes(frames, labels)
    strained = found.stresses != 0
    slope = slope_of((found.energy - found.forces)[strained], found.stresses[strained])
    return None if slope is None or abs(slope[1]) < WORK or slope[0] == 0 else 1.0 / slope[0]


def _check_order(stresses: np.ndarray, predictions: Sequence[Prediction], volumes: np.ndarray) -> None:
    """Shear components in another order than Voigt's, such as xy, yz, zx of VASP.

    Raises:
        InputError: components that follow others of the pair model.
    """
    model = np.stack([-one.virial / volume for one, volume in zip(predictions, volumes, strict=True)])
    model = 0.5 * (model + model.transpose(0, 2, 1))
    own, expected = (x[:, (1, 0, 0), (2, 2, 1)] for x in (stresses, model))
    size = np.sqrt(np.outer(np.sum(own**2, axis=0), np.sum(expected**2, axis=0)))
    if len(own) < 8 or not np.all(size > 0):
        return
    match = np.abs(own.T @ expected / size)
    orders = {order: float(np.mean(match[range(3), order])) for order in permutations(range(3))}
    best = max(orders, key=lambda order: orders[order])
    if orders[best] > 0.75 and orders[(0, 1, 2)] < 0.5 * orders[best]:
        names = np.array(["yz", "xz", "xy"])
        raise InputError(
            f"the shear stresses are in another order: where yz, xz, xy (Voigt) are read, they look like "
            f"{', '.join(names[list(best)])}. Reorder the six numbers, or give 3 x 3 arrays"
        )


def _slope(stresses: np.ndarray, predictions: Sequence[Prediction], volumes: np.ndarray) -> float | None:
    """Of the labels against the pair model; None where they do not correlate."""
    model = np.stack([-one.virial / volume for one, volume in zip(predictions, volumes, strict=True)])
    model = 0.5 * (model + model.transpose(0, 2, 1))
    parts = []
    for a in (stresses, model):
        diagonal = np.diagonal(a, axis1=1, axis2=2)
        if len(a) >= 6:
            diagonal = diagonal - diagonal.mean()
        else:
            diagonal = diagonal - diagonal.mean(axis=1, keepdims=True)
        parts.append(np.concatenate([diagonal, a[:, (1, 0, 0), (2, 2, 1)]], axis=1).ravel())
    label, expected = parts
    size = float(np.sqrt(np.sum(label**2) * np.sum(expected**2)))
    if len(label) < 12 or not size > 0 or abs(np.sum(label * expected)) / size < CORRELATED:
        return None
    return float(np.sum(label * expected) / np.sum(expected**2))


def _judge(slope: float, volume: float) -> None:
    if SLOPE[0] < slope < SLOPE[1]:
        return
    known = {**KNOWN, "virials (eV)": 1.0 / volume}
    name = min(known, key=lambda unit: abs(np.log(known[unit] * abs(slope))))
    near = abs(np.log(known[name] * abs(slope))) < np.log(3.0)
    if SLOPE[0] < -slope < SLOPE[1]:
        raise InputError(
            "the stresses have the opposite sign: tension has to be positive (ASE), and these fall where the forces "
            "say that bonds are under tension. Multiply them by -1, or pass check_units=False if they are right"
        )
    remedy = f"; they look like {name}{', with the opposite sign' if slope < 0 else ''}" if near else ""
    if near and name.startswith("virials"):
        advice = "read them with keys=LabelKeys(virial=…)"
    elif near:
        advice = f"multiply them by {np.copysign(known[name], slope):.6g}"
    else:
        advice = "convert them"
    raise InputError(
        f"the stresses are not in eV/Å³: they are {slope:.3g} times those that go with the forces{remedy}: {advice}, "
        "or pass check_units=False if they are right"
    )
