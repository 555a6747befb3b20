"""Label columns of frames: under which names energies, forces and stresses are stored, and in how many frames.

A label is read under ASE's name, or under the names that are given, and under no other. A column that looks like the
same label under another name is therefore a question: frames without the label that have such a column would be left
out, and frames that have two different columns of one kind may have been read from the wrong one. Both are errors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.units import HARTREE, KCAL_PER_MOL, KJ_PER_MOL
from jaxelyte.wording import part_of

if TYPE_CHECKING:
    from ase import Atoms

STANDARD = {"energy": ("energy", "free_energy"), "forces": ("forces",), "stress": ("stress",), "virial": ()}
"""ASE's names. The free energy stands in where there is no energy; that both are there and differ is ordinary."""

WORDS = {
    "energy": {"energy", "energies", "e", "eng", "etot", "epot", "toten", "totenergy", "poteng", "pe", "e0"},
    "forces": {"force", "forces", "f", "frc", "grad", "gradient", "gradients"},
    "stress": {"stress", "stresses", "virial", "virials"},
    "virial": set(),
}
"""Words in the names of columns that are taken for labels."""

KNOWN_ENERGIES = {"Hartree": HARTREE, "Ry": 0.5 * HARTREE, "kcal/mol": KCAL_PER_MOL, "kJ/mol": KJ_PER_MOL}
"""Factors to eV."""

_NO_LABELS = """
    kinetic kin ke per atom atomic fermi formation sigma weight weights std err error variance var uncertainty spread
    committee atomization cohesive binding adsorption interaction band gap homo lumo disp dispersion correction zpe
    nuclear repulsion coulomb hartree exchange xc correlation norm rms max mean min mag field cutoff encut external
    ext unit units shift hull above delta diff difference free config type
"""
OTHER = frozenset(_NO_LABELS.split())
"""Words of quantities that are no labels: parts of energies, uncertainties, weights."""


def words_of(name: str) -> set[str]:
    """The words of a name, in lower case: ``REF_energy`` and ``energyDFT`` hold the word "energy"."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+\d?|\d+", name)}


def looks_like(kind: str, name: str) -> bool:
    """True if a column of this name may be a label of the kind."""
    words = {*words_of(name), name.lower()}
    return bool(words & WORDS[kind]) and not words & OTHER


def stored(frame: Atoms, kind: str, name: str) -> Any:
    """The column of a frame: of its calculator, else of ``arrays`` (forces) or ``info``; None if it is not there."""
    results = getattr(frame.calc, "results", {}) if frame.calc is not None else {}
    value = results.get(name)
    if value is None:
        value = (frame.arrays if kind == "forces" else frame.info).get(name)
    return value


def _has_shape(kind: str, value: Any, atoms: int) -> bool:
    if isinstance(value, bool | np.bool_):
        return False
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return False
    shapes = {"energy": ((), (1,)), "forces": ((atoms, 3),)}.get(kind, ((6,), (9,), (3, 3)))
    return array.shape in shapes and bool(np.any(np.isfinite(array)))


def candidates(frame: Atoms, kind: str) -> list[str]:
    """Names of all columns of a frame that look like a label of the kind."""
    results = getattr(frame.calc, "results", {}) if frame.calc is not None else {}
    home = frame.arrays if kind == "forces" else frame.info
    names = [name for name in {**results, **home} if isinstance(name, str) and looks_like(kind, name)]
    return sorted(name for name in names if _has_shape(kind, stored(frame, kind, name), len(frame)))


def check_columns(frames: Sequence[Atoms], kind: str, names: tuple[str, ...], *, given: bool, needed: bool) -> None:
    """Compare the columns that are read with those that are there.

    Args:
        frames: all of them.
        kind: "energy", "forces" or "stress".
        names: under which the label is looked for, in this order.
        given: whether the names were chosen by the caller, who then has decided between several columns.
        needed: whether a set without any such label is a question.

    Raises:
        InputError: frames that have the label under another name only, or under two names with different values.
    """
    known = {*names, *STANDARD[kind]} if not given else set(names)
    has = [any(stored(frame, kind, name) is not None for name in names) for frame in frames]
    others = [[name for name in candidates(frame, kind) if name not in known] for frame in frames]
    missing = [n for n, there in enumerate(has) if not there and others[n]]
    if missing and (needed or any(has)):
        _refuse_left_over(kind, names, has, others, missing, len(frames))
    if not given:
        _refuse_ambiguous(frames, kind, names, has, others)


def _refuse_left_over(
    kind: str, names: tuple[str, ...], has: list[bool], others: list[list[str]], missing: list[int], frames: int
) -> None:
    found = Counter(name for n in missing for name in others[n])
    listed = ", ".join(f"{count} under {name!r}" for name, count in found.items())
    best = found.most_common(1)[0][0]
    if kind == "stress" and "virial" in best.lower():
        remedy = f"virial={best!r}" + (f", stress={names[0]!r}" if any(has) else "")
    else:
        remedy = f"{kind}={(names[0], best) if any(has) else best!r}"
    number = part_of(sum(has), frames, "frame") if any(has) else "no frame has"
    raise InputError(
        f"{number} {kind} under {' or '.join(map(repr, names))}, but {len(missing)} of {frames} have a column that "
        f"looks like it under another name: {listed} (first of them frame {missing[0]}). Pass "
        f"keys=LabelKeys({remedy}) to read it, or delete the column"
    )


def _refuse_ambiguous(
    frames: Sequence[Atoms], kind: str, names: tuple[str, ...], has: list[bool], others: list[list[str]]
) -> None:
    """Two columns of one kind in one frame are fine where they agree, as they do where one was copied."""
    differ: dict[str, list[int]] = {}
    for n, frame in enumerate(frames):
        if not has[n]:
            continue
        read = next(name for name in names if stored(frame, kind, name) is not None)
        home = frame.arrays if kind == "forces" else frame.info
        rivals = [(name, stored(frame, kind, name)) for name in others[n] if "virial" not in name.lower()]
        for name, value in [*rivals, (f"{read} (in atoms.{_home(kind)})", home.get(read))]:
            if value is not None and not _agree(stored(frame, kind, read), value):
                differ.setdefault(name, []).append(n)
    if not differ:
        return
    name, where = max(differ.items(), key=lambda item: len(item[1]))
    frame = frames[where[0]]
    values = ""
    if kind == "energy":
        one, other = stored(frame, kind, names[0]), stored(frame, kind, name)
        values = f": {float(one):.6g} and {float(other):.6g} eV" if one is not None and other is not None else ""
    raise InputError(
        f"{part_of(len(where), len(frames), 'frame')} two different columns of {kind}, {names[0]!r} and {name!r} "
        f"(first of them frame {where[0]}{values}); choose one with keys=LabelKeys({kind}={name.split(' ')[0]!r}), or "
        "delete "
        "the other"
    )


def _home(kind: str) -> str:
    return "arrays" if kind == "forces" else "info"


def _agree(one: Any, other: Any) -> bool:
    """Equal numbers, also where one is in another unit of energy."""
    try:
        a, b = np.asarray(one, np.float64).reshape(-1), np.asarray(other, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return False
    if a.shape != b.shape:
        return {a.size, b.size} == {6, 9}  # Voigt beside 3 x 3, which ASE keeps side by side
    if np.allclose(a, b, rtol=1e-7, atol=1e-3, equal_nan=True):
        return True
    factors = [c for unit in KNOWN_ENERGIES.values() for c in (unit, 1.0 / unit)] if a.size == 1 else []
    return any(np.allclose(a, factor * b, rtol=1e-5, atol=0.0) for factor in factors)
