"""Labels of frames: energies, forces and stresses as they come, each of them optional."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.arrays import brief_repr
from jaxelyte.checks import caution, shown
from jaxelyte.data.columns import STANDARD, check_columns, stored
from jaxelyte.errors import Findings, InputError
from jaxelyte.wording import counted, part_of

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

    __repr__ = brief_repr

    def has(self, kind: str) -> bool:
        """True if any number of this kind is there."""
        return bool(np.any(np.isfinite(getattr(self, kind))))


@dataclass(frozen=True)
class LabelKeys:
    """Names of the labels, if they are not ASE's; several names are tried in their order, frame by frame.

    A name is looked up in the results of the frame's calculator, then in ``atoms.info`` (forces: ``atoms.arrays``).

    Attributes:
        energy: eV.
        forces: eV/Å.
        stress: eV/Å³, tension positive, six numbers in Voigt order or 3 x 3.
        virial: eV, minus stress times volume, 3 x 3 or six or nine numbers; read where a frame has no stress.
    """

    energy: str | tuple[str, ...] | None = None
    forces: str | tuple[str, ...] | None = None
    stress: str | tuple[str, ...] | None = None
    virial: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            InputError: names that are not text.
        """
        for kind in (*KINDS, "virial"):
            value = getattr(self, kind)
            names = (value,) if isinstance(value, str) else value
            if names is not None and not (
                isinstance(names, list | tuple) and names and all(isinstance(one, str) and one for one in names)
            ):
                raise InputError(f"LabelKeys({kind}={value!r}) must be a name or a tuple of names")
            object.__setattr__(self, kind, tuple(names) if isinstance(names, list) else value)

    def names(self, kind: str) -> tuple[str, ...]:
        """Where a label is looked for: the names given, else ASE's."""
        value = getattr(self, kind)
        return STANDARD[kind] if value is None else (value,) if isinstance(value, str) else value


def labels_of(frame: Atoms, number: int = 0, keys: LabelKeys | None = None) -> Labels:
    """The labels of a frame: results of its single-point calculator, else ``info`` and ``arrays``.

    Args:
        frame: the atoms.
        number: what to call the frame in errors.
        keys: other names to look under.

    Raises:
        InputError: labels that are not numbers, of a wrong shape, or given in part of a row.
    """
    keys = LabelKeys() if keys is None else keys
    found = {kind: _first(frame, kind, keys.names(kind)) for kind in (*KINDS, "virial")}
    energy = _array(_scalar(found["energy"]), (), "energy", number)
    forces = _array(found["forces"], (len(frame), 3), "forces", number)
    partial = np.isnan(forces).any(axis=1) & ~np.isnan(forces).all(axis=1)
    if np.any(partial):
        raise InputError(
            f"frame {number}: the force on atom {int(np.argmax(partial))} is given in part; drop the atom's"
        )
    stress = _stress(found["stress"], number)
    if found["stress"] is None and found["virial"] is not None:
        stress = _from_virial(frame, _stress(found["virial"], number), number)
    return Labels(float(energy), forces, stress)


def _first(frame: Atoms, kind: str, names: tuple[str, ...]) -> Any:
    return next((value for name in names if (value := stored(frame, kind, name)) is not None), None)


def _scalar(value: Any) -> Any:
    return value[0] if isinstance(value, np.ndarray | list) and np.shape(value) == (1,) else value


def _from_virial(frame: Atoms, virial: np.ndarray, number: int) -> np.ndarray:
    if not all(frame.pbc):
        raise InputError(f"frame {number} has a virial but is not periodic in all directions; set its cell and pbc")
    return -virial / frame.get_volume()


def _numbers(value: Any, kind: str, number: int) -> np.ndarray:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"frame {number}: {kind} {shown(value)} is not numbers") from error


def _array(value: Any, shape: tuple[int, ...], kind: str, number: int) -> np.ndarray:
    """Float64 of the shape, NaN where there is nothing."""
    if value is None:
        return np.full(shape, np.nan)
    array = _numbers(value, kind, number)
    if array.shape != shape:
        raise InputError(f"frame {number}: {kind} has shape {array.shape}, not {shape}")
    if np.any(np.isinf(array)):
        raise InputError(f"frame {number}: {kind} holds an infinite value; drop the frame")
    return array


def _stress(value: Any, number: int) -> np.ndarray:
    if value is None:
        return np.full((3, 3), np.nan)
    array = _numbers(value, "stress", number)
    if array.shape == (6,):
        from ase.stress import voigt_6_to_full_3x3_stress

        array = np.asarray(voigt_6_to_full_3x3_stress(array))
    if array.shape == (9,):
        array = array.reshape(3, 3)
    array = _array(array, (3, 3), "stress", number)
    if np.isnan(array).any() and not np.isnan(array).all():
        raise InputError(f"frame {number}: the stress is given in part")
    return array


def collect_labels(
    frames: Sequence[Atoms], keys: LabelKeys | None = None, *, needed: Collection[str] = ("energy", "forces")
) -> list[Labels]:
    """Labels of all frames.

    Args:
        frames: all of them; each label is optional in each frame.
        keys: names of the labels, where they are not ASE's.
        needed: kinds that are used; columns of another name are a question even where no frame has the label.

    Raises:
        InputError: see `labels_of`; a frame without any label; a name given that no frame has; frames that have a label
            under another name, or two different ones (see `jaxelyte.data.columns`).

    Warns:
        UserWarning: values that are NaN; labels of positions that have changed since.
    """
    keys = LabelKeys() if keys is None else keys
    findings = Findings()
    for kind in (*KINDS, "virial"):
        given = getattr(keys, kind) is not None
        with findings.part():
            if given:
                _check_given(frames, kind, keys.names(kind))
            if kind != "virial" and (kind in needed or kind != "stress") and not (kind == "stress" and keys.virial):
                check_columns(frames, kind, keys.names(kind), given=given, needed=kind in needed)
    labels = _all_labels(frames, keys, findings)
    findings.refuse()
    bare = [n for n, label in enumerate(labels) if not (label.has("energy") or label.has("forces"))]
    if bare:
        first = frames[bare[0]]
        there = sorted({*map(str, first.info), *first.arrays} - {"numbers", "positions"})
        raise InputError(
            f"{part_of(len(bare), len(frames), 'frame')} neither an energy nor forces, first of them frame {bare[0]} "
            f"(it has {', '.join(there) or 'nothing else'}); name them with keys=LabelKeys(energy=…, forces=…)"
        )
    _warn_of_gaps(frames, labels, keys)
    return labels


def _all_labels(frames: Sequence[Atoms], keys: LabelKeys, findings: Findings) -> list[Labels]:
    """Labels of the frames that have sound ones; the others are found faulty, those with one fault together."""
    labels, faults = [], {}
    for number, frame in enumerate(frames):
        try:
            labels.append(labels_of(frame, number, keys))
        except InputError as error:
            faults.setdefault(str(error).removeprefix(f"frame {number}"), []).append(number)
    for text, numbers in faults.items():
        findings.add(f"{frames_named(numbers)}{text}")
    return labels


def _check_given(frames: Sequence[Atoms], kind: str, names: tuple[str, ...]) -> None:
    for name in names:
        if all(stored(frame, kind, name) is None for frame in frames):
            frame = frames[0]
            results = getattr(frame.calc, "results", {}) if frame.calc is not None else {}
            there = sorted({*map(str, results), *map(str, frame.arrays if kind == "forces" else frame.info)})
            raise InputError(f"no frame has {kind} {name!r}; frame 0 has {', '.join(there) or 'none'}")


def _warn_of_gaps(frames: Sequence[Atoms], labels: Sequence[Labels], keys: LabelKeys) -> None:
    """Warn of numbers that are NaN where others are there, and of labels that belong to other positions."""
    for kind in ("energy", "forces"):
        holes = [
            n
            for n, (frame, label) in enumerate(zip(frames, labels, strict=True))
            if _first(frame, kind, keys.names(kind)) is not None and np.isnan(getattr(label, kind)).any()
        ]
        if holes and any(label.has(kind) for label in labels):
            caution(
                f"{kind} of {frames_named(holes)} {'are' if kind == 'forces' else 'is'} NaN, wholly or in part, and "
                "left out of training and errors: did the calculation fail?"
            )
    moved = [n for n, frame in enumerate(frames) if _moved(frame)]
    if moved:
        caution(
            f"atoms of {frames_named(moved)} have moved since the labels were computed (ASE itself would refuse to "
            "return them); recompute the labels, or drop these frames"
        )


def _moved(frame: Atoms) -> bool:
    """True if the atoms are not those of the calculator, up to a translation and to lattice vectors."""
    from ase.geometry import find_mic

    old = getattr(frame.calc, "atoms", None) if frame.calc is not None else None
    if old is None:
        return False
    if not np.array_equal(old.numbers, frame.numbers):
        return True
    # A cell that the file did not hold, and that was given later, moves nothing.
    if np.any(old.cell.array) and not np.allclose(old.cell.array, frame.cell.array, atol=1e-6):
        return True
    if np.array_equal(old.positions, frame.positions):
        return False
    step = frame.positions - old.positions
    step = step - step[0]
    if any(frame.pbc):
        step, _ = find_mic(step, frame.cell, frame.pbc)  # pyright: ignore[reportArgumentType]
    return bool(np.abs(step).max() > 1e-4)


def frames_named(numbers: Sequence[int], most: int = 8) -> str:
    """``frame 7`` or ``60 frames (0, 1, 2, …)``."""
    if len(numbers) == 1:
        return f"frame {numbers[0]}"
    first = ", ".join(str(int(n)) for n in numbers[:most])
    return f"{counted(len(numbers), 'frame')} ({first}{', …' if len(numbers) > most else ''})"


def label_counts(labels: Sequence[Labels]) -> dict[str, int]:
    """How many frames there are, and how many of them carry each label."""
    return {"frames": len(labels), **{kind: sum(label.has(kind) for label in labels) for kind in KINDS}}
