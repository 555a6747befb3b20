"""The published forces of aqueous LiCl: network plus screened Coulomb interaction of the ions."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.interop.nequip_files import load_nequip
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.derivatives import energy_and_forces
from jaxelyte.system import System
from periodic import rms

CAPACITY = 72


def forces_of_frames(reference: Path, frames: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Our forces with and without the Coulomb term, and the published ones; eV/Å."""
    data = np.load(reference / "licl" / "published_frames.npz")
    potential = load_nequip(reference / "licl") + ScreenedCoulomb(
        {"Li": 1, "Cl": -1}, permittivity=78.3, tolerance=1e-6
    )
    function = jax.jit(energy_and_forces)
    ours, prepared = [], None
    for positions in data["positions"][frames]:
        system = System.from_atoms(Atoms(data["numbers"], positions, cell=data["cell"], pbc=True))
        prepared = potential.prepare(system) if prepared is None else prepared
        lists = neighbor_lists(system, prepared, capacities=(CAPACITY,) * len(prepared.requirements()))
        ours.append(np.asarray(function(prepared, system, lists).forces))
    return np.stack(ours), data["forces_nnp"][frames], data["numbers"]


@pytest.mark.validation
def test_all_published_frames(reference: Path) -> None:
    """LAMMPS printed positions and forces with limited digits, which leaves 1e-5 to 2e-5 eV/Å."""
    ours, published, _ = forces_of_frames(reference, slice(None))
    assert len(ours) == 74
    per_frame = [rms(a - b) for a, b in zip(ours, published, strict=True)]
    assert max(per_frame) <= 5e-5 * np.sqrt(3)
    assert np.sqrt(np.mean((ours - published) ** 2)) <= 5e-5


@pytest.mark.more
def test_a_published_frame_and_what_the_coulomb_term_adds(reference: Path) -> None:
    ours, published, numbers = forces_of_frames(reference, slice(0, 1))
    assert np.sqrt(np.mean((ours - published) ** 2)) <= 5e-5
    ions = np.isin(numbers, (3, 17))
    data = np.load(reference / "licl" / "reference.npz")
    # Without the Coulomb term the ions are off by far more than the tolerance; water is not touched by it.
    network = data["0_forces"]
    assert np.abs(network - published[0])[ions].max() > 1e-2
    assert np.abs(network - published[0])[~ions].max() < 5e-4
