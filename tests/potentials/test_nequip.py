"""The NequIP potential against nequip itself: published models and small random ones, in float64 and float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.errors import InputError
from jaxelyte.interop.nequip_files import load_nequip
from jaxelyte.neighbors import neighbor_lists
from jaxelyte.neighbors.lists import Neighbors
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.derivatives import batch_energy_and_forces, energy_and_forces
from jaxelyte.potentials.nequip import NequIPPotential
from jaxelyte.potentials.zbl import ZBL, pair_energy
from jaxelyte.system import System, as_batch

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "nequip"
CASES = sorted(folder.name for folder in FIXTURES.iterdir())

SINGLE_FORCE = 5e-4
"""eV/Å; float32 carries seven digits through forces of some ten eV/Å and sums over fifty neighbours."""


class Result(NamedTuple):
    """Energy with constants (eV), forces (eV/Å) and atomic energies (eV)."""

    energy: float
    forces: np.ndarray
    atomic: np.ndarray


@jax.jit
def _evaluate(potential: Any, system: System, neighbors: Neighbors) -> Any:
    def interaction(positions: Any) -> Any:
        moved = system.replace(positions=positions)
        return potential.energy(moved, neighbors), potential.atomic_energies(moved, neighbors)

    (energy, atomic), gradient = jax.value_and_grad(interaction, has_aux=True)(system.positions)
    return energy, potential.constants(as_batch(system))[0], -gradient, atomic


def evaluate(potential: NequIPPotential, atoms: Atoms, capacity: int, dtype: Any = None) -> Result:
    system = System.from_atoms(atoms, dtype=dtype)
    neighbors = neighbor_lists(system, potential, capacities=(capacity,))
    energy, constant, forces, atomic = _evaluate(potential, system, neighbors)
    assert forces.dtype == atomic.dtype == energy.dtype == system.positions.dtype
    return Result(float(energy) + float(constant), np.asarray(forces), np.asarray(atomic))


class Configurations(NamedTuple):
    """Some configurations of a published file as one system, with the atoms of each."""

    atoms: Atoms
    parts: list[tuple[int, slice]]


def published(data: Any) -> list[Configurations]:
    """The periodic configurations one by one; dimers and molecules side by side in vacuum, to compile once."""
    periodic = [k for k in range(9) if len(data[f"{k}_numbers"]) > 3]
    systems = []
    for k in periodic:
        atoms = Atoms(data[f"{k}_numbers"], data[f"{k}_positions"], cell=data[f"{k}_cell"], pbc=True)
        systems.append(Configurations(atoms, [(k, slice(0, len(atoms)))]))
    row, parts = Atoms(), []
    for k in range(9):
        if k not in periodic:
            # On the corners of a cube close to the origin: far away float32 would round the positions.
            corner = 24.0 * (np.array([k % 2, k // 2 % 2, k // 4 % 2]) - 0.5)
            shifted = data[f"{k}_positions"] - data[f"{k}_positions"].mean(axis=0) + corner
            parts.append((k, slice(len(row), len(row) + len(shifted))))
            row += Atoms(data[f"{k}_numbers"], shifted)
    return [*systems, Configurations(row, parts)]


MODELS = [("licl", 62), ("licl_ions", 20)]


@pytest.mark.parametrize(("name", "capacity"), MODELS)
def test_published_models(reference: Path, name: str, capacity: int) -> None:
    potential = load_nequip(reference / name)
    compared = 0
    with np.load(reference / name / "reference.npz") as data:
        for atoms, parts in published(data):
            result = evaluate(potential, atoms, capacity if all(atoms.pbc) else 2)
            np.testing.assert_allclose(result.atomic.sum(), result.energy, rtol=1e-12)
            for k, part in parts:
                atomic = result.atomic[part]
                assert abs(atomic.sum() - data[f"{k}_energy"]) / len(atomic) < 1e-6
                np.testing.assert_allclose(result.forces[part], data[f"{k}_forces"], atol=1e-5)
                np.testing.assert_allclose(atomic, data[f"{k}_atomic_energy"], atol=1e-6)
                compared += 1
    assert compared == 9


@pytest.mark.parametrize(("name", "capacity"), [pytest.param(*MODELS[0], marks=pytest.mark.slow), MODELS[1]])
def test_published_models_in_single_precision(reference: Path, name: str, capacity: int) -> None:
    potential = load_nequip(reference / name)
    with np.load(reference / name / "reference.npz") as data:
        for atoms, parts in published(data):
            result = evaluate(potential, atoms, capacity if all(atoms.pbc) else 2, np.float32)
            for k, part in parts:
                np.testing.assert_allclose(result.forces[part], data[f"{k}_forces"], atol=SINGLE_FORCE)


def oracle(case: str) -> tuple[NequIPPotential, Atoms, Any]:
    with np.load(FIXTURES / case / "reference.npz") as file:
        data = {key: file[key] for key in file.files}
    atoms = Atoms(data["numbers"], data["positions"], cell=data["cell"], pbc=True)
    return load_nequip(FIXTURES / case), atoms, data


@pytest.mark.parametrize("case", CASES)
def test_every_hyperparameter_agrees_with_nequip(case: str) -> None:
    """Random models made by nequip itself, in a triclinic cell narrower than twice the cut-off."""
    potential, atoms, data = oracle(case)
    result = evaluate(potential, atoms, 16)
    assert np.abs(data["forces"]).max() > 5e-3
    np.testing.assert_allclose(result.energy, data["energy"], rtol=1e-12)
    np.testing.assert_allclose(result.forces, data["forces"], atol=1e-11 * max(1.0, np.abs(data["forces"]).max()))
    np.testing.assert_allclose(result.atomic, data["atomic_energies"], rtol=1e-11, atol=1e-11)


def test_constants_stay_out_of_the_interaction() -> None:
    potential, atoms, _ = oracle("parity")
    system = System.from_atoms(atoms)
    neighbors = neighbor_lists(system, potential)
    params = potential.params
    shifts = dict(zip((1, 8, 11), np.asarray(params["scale"] * params["shifts"]), strict=True))
    np.testing.assert_allclose(
        potential.constants(as_batch(system))[0], sum(shifts[z] for z in atoms.numbers), rtol=1e-13
    )
    without = potential.replace(params=params | {"shifts": 1e6 * params["shifts"]})
    interaction, _ = jax.jit(energy_and_forces)(potential, system, neighbors)
    changed, _ = jax.jit(energy_and_forces)(without, system, neighbors)
    assert interaction == changed


def test_padding_atoms_change_nothing() -> None:
    potential, atoms, _ = oracle("zbl")
    system = System.from_atoms(atoms)
    extra = 3
    padded = System(
        positions=jnp.concatenate([system.positions, system.positions[:extra] + 0.1]),
        numbers=jnp.concatenate([system.numbers, jnp.zeros(extra, jnp.int32)]),
        masses=jnp.concatenate([system.masses, jnp.ones(extra)]),
        cell=system.cell,
        mask=jnp.concatenate([system.mask, jnp.zeros(extra, bool)]),
        pbc=system.pbc,
    )
    results = [_evaluate(potential, s, neighbor_lists(s, potential, capacities=(17,))) for s in (system, padded)]
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-13)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-13)
    np.testing.assert_allclose(results[1][2][:-extra], results[0][2], atol=1e-12)
    np.testing.assert_array_equal(results[1][2][-extra:], 0.0)
    np.testing.assert_array_equal(results[1][3][-extra:], 0.0)


def test_replicas_as_one_graph_are_those_one_by_one() -> None:
    """The batch that runs use: two cells, positions and orders of species, with ZBL beside the network."""
    potential, first, _ = oracle("zbl")
    second = first.copy()
    second.rattle(0.1, seed=1)
    second.set_cell(1.05 * first.cell.array, scale_atoms=True)
    second.numbers = second.numbers[::-1]
    systems = [System.from_atoms(atoms) for atoms in (first, second)]
    lists = [neighbor_lists(system, potential, capacities=(17,)) for system in systems]
    single = jax.jit(energy_and_forces)
    alone = [single(potential, *parts) for parts in zip(systems, lists, strict=True)]
    batch, batched = (jax.tree.map(lambda *x: jnp.stack(x), *parts) for parts in (systems, lists))
    together = jax.jit(batch_energy_and_forces)(potential, batch, batched)
    for k in range(2):
        np.testing.assert_allclose(together.energy[k], alone[k].energy, rtol=1e-12)
        np.testing.assert_allclose(together.forces[k], alone[k].forces, rtol=0, atol=1e-11)
    assert abs(alone[0].energy - alone[1].energy) > 1e-3


def test_unknown_species_are_named() -> None:
    potential, _, _ = oracle("parity")
    potential.prepare(System.from_atoms(Atoms("HONa", np.eye(3))))
    with pytest.raises(InputError, match="does not know Li, Cl; it knows H, O, Na"):
        potential.prepare(System.from_atoms(Atoms("HLiCl", np.eye(3))))


def test_the_only_leaves_are_parameters() -> None:
    potential, atoms, _ = oracle("norm")
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(potential))
    again, _, _ = oracle("norm")
    assert jax.tree.structure(potential) == jax.tree.structure(again)  # so that a second load does not recompile
    system = System.from_atoms(atoms)
    neighbors = neighbor_lists(system, potential)
    energy, gradient = jax.jit(jax.value_and_grad(lambda p: p.energy(system, neighbors)))(potential)
    # The energy is linear in the network's scales and shifts, whose common factor is the global scale.
    share = potential.params["scale"] * gradient.params["scale"]
    np.testing.assert_allclose(share, energy, rtol=1e-12)


def test_zbl_closed_form_and_cutoff() -> None:
    """Na-Cl at 0.5 Å by hand; energy and force vanish at the cut-off."""
    x = 0.5 * (11**0.23 + 17**0.23) / 0.46850
    phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
    phi += 0.28022 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.20162 * x)
    expected = 14.399645 * 11 * 17 / 0.5 * phi
    np.testing.assert_allclose(pair_energy(jnp.array([11]), jnp.array([17]), jnp.array([0.5])), [expected], rtol=1e-12)
    potential: Potential = ZBL(r_max=2.0)
    results = []
    for distance in (0.5, 2.0 - 1e-6, 2.1):
        system = System.from_atoms(Atoms("NaCl", [[0, 0, 0], [0, distance, 0]]))
        results.append(energy_and_forces(potential, system, neighbor_lists(system, potential)))
    envelope = 1 - 28 * 0.25**6 + 48 * 0.25**7 - 21 * 0.25**8
    np.testing.assert_allclose(results[0].energy, expected * envelope, rtol=1e-12)
    np.testing.assert_allclose(results[0].forces[1], -results[0].forces[0])
    assert results[0].forces[1, 1] > 0.0
    assert abs(results[1].energy) < 1e-12
    assert 0.0 < results[1].forces[1, 1] < 1e-8
    assert results[2].energy == 0.0


@pytest.mark.parametrize("options", [{"r_max": 0.0}, {"r_max": 3.0, "polynomial_cutoff_p": 1.0}])
def test_zbl_refuses_nonsense(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"r_max|polynomial_cutoff_p"):
        ZBL(**options)
