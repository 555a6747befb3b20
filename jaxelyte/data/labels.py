"""Labels of frames: energies, forces and stresses as they come, each of them optional."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

KINDS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Labels:
    """Labels of one frame; NaN stands for "not given".

    Attributes:
        energy: eV.
        forces: shape (atoms, 3), eV/Å; a row is complete or NaN.
        stress: shape (3, 3), eV/Å³, tension positive (ASE's sign).
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray

    def has(self, kind: str) -> bool:
        """True if any number of this kind is there."""
        return bool(np.any(np.isfinite(getattr(self, kind))))


@dataclass(frozen=True)
class LabelKeys:
    """Where the labels are kept, if not under ASE's names.

    Attributes:
        energy: key of ``atoms.info``.
        forces: key of ``atoms.arrays``.
        stress: key of ``atoms.info``, eV/Å³, six numbers in Voigt order or 3 x 3.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None


def labels_of(frame: Atoms, number: int = 0, keys: LabelKeys | None = None) -> Labels:
    """The labels of a frame: results of its single-point calculator, else ``info`` and ``arrays`` under ASE's names.

    Args:
        frame: the atoms.
        number: what to call the frame in errors.
        keys: other names to look under; a key that is given must be there.

    Raises:
        InputError: labels that are not numbers, of a wrong shape, or given in part of a row.
    """
    keys = LabelKeys() if keys is None else keys
    results = getattr(frame.calc, "results", {}) if frame.calc is not None else {}
    stored: dict[str, Any] = {}
    for kind in KINDS:
        key, home = getattr(keys, kind), frame.arrays if kind == "forces" else frame.info
        if key is not None:
            if key not in home:
                raise InputError(f"frame {number} has no {kind} {key!r}; it has {', '.join(sorted(home)) or 'none'}")
            stored[kind] = home[key]
        else:
            stored[kind] = results.get(kind, home.get(kind))
    if stored["energy"] is None and keys.energy is None:
        stored["energy"] = results.get("free_energy")
    energy = _array(stored["energy"], (), "energy", number)
    forces = _array(stored["forces"], (len(frame), 3), "forces", number)
    partial = np.isnan(forces).any(axis=1) & ~np.isnan(forces).all(axis=1)
    if np.any(partial):
        raise InputError(
            f"frame {number}: the force on atom {int(np.argmax(partial))} is given in part; drop the atom's"
        )
    return Labels(float(energy), forces, _stress(stored["stress"], number))


def _array(value: Any, shape: tuple[int, ...], kind: str, number: int) -> np.ndarray:
    """Float64 of the shape, NaN where there is nothing."""
    if value is None:
        return np.full(shape, np.nan)
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"frame {number}: {kind} {value!r} is not numbers") from error
    if array.shape != shape:
        raise InputError(f"frame {number}: {kind} has shape {array.shape}, not {shape}")
    if np.any(np.isinf(array)):
        raise InputError(f"frame {number}: {kind} holds an infinite value; drop the frame")
    return array


def _stress(value: Any, number: int) -> np.ndarray:
    if value is None:
        return np.full((3, 3), np.nan)
    array = np.asarray(value, np.float64)
    if array.shape == (6,):
        from ase.stress import voigt_6_to_full_3x3_stress

        array = np.asarray(voigt_6_to_full_3x3_stress(array))
    if array.shape == (9,):
        array = array.reshape(3, 3)
    array = _array(array, (3, 3), "stress", number)
    if np.isnan(array).any() and not np.isnan(array).all():
        raise InputError(f"frame {number}: the stress is given in part")
    return array


def collect_labels(frames: Sequence[Atoms], keys: LabelKeys | None = None) -> list[Labels]:
    """Labels of all frames.

    Raises:
        InputError: see `labels_of`; or there is neither an energy nor a force among all of them.
    """
    labels = [labels_of(frame, number, keys) for number, frame in enumerate(frames)]
    bare = [n for n, label in enumerate(labels) if not (label.has("energy") or label.has("forces"))]
    if bare:
        first = frames[bare[0]]
        there = sorted({*first.info, *first.arrays} - {"numbers", "positions"})
        raise InputError(
            f"{len(bare)} of {len(frames)} frames have neither an energy nor forces, first of them frame {bare[0]} "
            f"(it has {', '.join(there) or 'nothing else'}); name them with keys=LabelKeys(energy=…, forces=…)"
        )
    return labels
