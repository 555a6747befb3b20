"""What a baseline potential says about labelled frames, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxelyte.data.dataset import Residuals, pad_system, share_out, stack, stack_lists
from jaxelyte.potentials.base import Potential, as_potential, needs_of
from jaxelyte.potentials.derivatives import batch_energy_and_forces, batch_energy_forces_stress
from jaxelyte.potentials.preparation import prepare_potential
from jaxelyte.potentials.reference import in_float64, reference_energies
from jaxelyte.potentials.topology import check_present, idle_terms_allowed
from jaxelyte.system import System

if TYPE_CHECKING:
    from ase import Atoms

BATCH = 16

_with_stress = jax.jit(batch_energy_forces_stress)
_without_stress = jax.jit(batch_energy_and_forces)


def evaluate_frames(potential: Potential, frames: Sequence[Atoms], *, batch: int = BATCH) -> Residuals:
    """Total energies, forces and stresses of any potential for many frames; stresses are NaN without full periodicity.

    Float64, whatever the setting: baselines are subtracted from labels of thousands of eV. Compiles once for each
    kind of periodicity and bucket of sizes.

    Args:
        potential: not yet prepared.
        frames: any sizes and cells.
        batch: frames evaluated at once.

    Raises:
        InputError: frames that the potential cannot describe.
    """
    potential = as_potential(potential)
    energies, stresses = np.zeros(len(frames)), np.full((len(frames), 3, 3), np.nan)
    forces: list[np.ndarray] = [np.zeros((len(frame), 3)) for frame in frames]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        wide = in_float64(potential)
        check_present({int(number) for frame in frames for number in np.unique(frame.numbers)}, needs_of(wide))
        for group in _groups(frames):
            systems = [System.from_atoms(frames[n]) for n in group]
            room = max(system.num_atoms for system in systems)
            padded = [pad_system(system, room) for system in systems]
            together = stack(padded)
            with idle_terms_allowed():  # some frames may have no ions
                prepared = prepare_potential(wide, together)
            lists = stack_lists(systems, prepared.requirements(), room)
            periodic = all(together.pbc)
            program = _with_stress if periodic else _without_stress
            constant = reference_energies(wide, together)
            size = min(batch, len(group))
            for start in range(0, len(group), size):
                # The last batch is filled up with its first frame, so that one shape serves all.
                rows = np.resize(np.arange(start, min(start + size, len(group))), size)
                part = _take((together, lists), rows)
                found = program(prepared, *part)
                for row, number in zip(*np.unique(rows, return_index=True), strict=True):
                    frame = int(group[row])
                    energies[frame] = float(found.energy[number]) + constant[row]
                    forces[frame] = np.asarray(found.forces[number])[: len(frames[frame])]
                    if periodic:
                        stresses[frame] = np.asarray(found.stress[number])
    return Residuals(energies, forces, stresses)


def _groups(frames: Sequence[Atoms]) -> list[np.ndarray]:
    kinds: dict[tuple[bool, ...], list[int]] = {}
    for number, frame in enumerate(frames):
        kinds.setdefault(tuple(bool(p) for p in frame.pbc), []).append(number)
    groups = []
    for members in kinds.values():
        shares = share_out(np.array([len(frames[n]) for n in members]))
        groups += [np.array(members)[share] for share in shares]
    return groups


def _take(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda x: x[rows], tree)
