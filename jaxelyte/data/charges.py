"""Do the charges of a baseline describe the frames? A forgotten ion is found before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from jaxelyte.checks import caution
from jaxelyte.errors import InputError
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.wording import part_of

if TYPE_CHECKING:
    from ase import Atoms


def check_charges(frames: Sequence[Atoms], baseline: Potential, numbers: Sequence[int] | None = None) -> None:
    """Hold the charges by species of every Coulomb term against the frames.

    Species that a term does not list carry no charge, as in `ScreenedCoulomb`; a forgotten one leaves a net charge.

    Args:
        frames: periodic ones have to be neutral, or to state a charge of their own in ``atoms.info["charge"]`` (e).
        baseline: any potential.
        numbers: what the frames are called, where some of the set were left out before.

    Raises:
        InputError: periodic frames with a net charge that they do not state.

    Warns:
        UserWarning: charges of species that no frame holds.
    """
    terms = jax.tree.leaves(baseline, is_leaf=lambda x: isinstance(x, ScreenedCoulomb))
    for term in terms:
        if isinstance(term, ScreenedCoulomb) and term.numbers is not None:
            called = range(len(frames)) if numbers is None else numbers
            _check_term(frames, called, dict(zip(term.numbers, np.asarray(term.charges).tolist(), strict=True)))


def _check_term(frames: Sequence[Atoms], called: Sequence[int], charges: dict[int, float]) -> None:
    from ase.data import chemical_symbols

    present = {int(z) for frame in frames for z in np.unique(frame.numbers)}
    absent = [chemical_symbols[z] for z in charges if z not in present]
    if absent:
        caution(f"the baseline has charges of {', '.join(absent)}, which no frame contains")
    own = [np.array([charges.get(int(z), 0.0) for z in frame.numbers]) for frame in frames]
    charged = [
        n
        for n, (frame, q) in enumerate(zip(frames, own, strict=True))
        if any(frame.pbc) and abs(q.sum()) > 1e-5 * np.abs(q).sum() and not frame.info.get("charge")
    ]
    if charged:
        first, net = frames[charged[0]], float(own[charged[0]].sum())
        listed = ", ".join(f"{chemical_symbols[z]} {q:+g}" for z, q in charges.items())
        lost = f"; no frame holds {', '.join(absent)}: are these the ions of this salt?" if absent else ""
        raise InputError(
            f"{part_of(len(charged), len(frames), 'frame', 'is', 'are')} periodic and not neutral with the charges of "
            f"the baseline ({listed} e), first of them frame {called[charged[0]]} ({first.get_chemical_formula()}: "
            f"{net:+.6g} e); "
            "give the charges of all ions, or state in frames that are charged on purpose what they carry, "
            f"atoms.info['charge'] = {net:.6g}{lost}"
        )
