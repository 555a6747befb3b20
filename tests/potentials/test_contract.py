"""What every analytic potential must do, one suite over all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.neighbors import Neighbors, neighbor_lists
from jaxelyte.potentials.barrier import GaussianBarrier
from jaxelyte.potentials.base import Potential, conserves_momentum, mix
from jaxelyte.potentials.bonded import HarmonicAngles, HarmonicBonds
from jaxelyte.potentials.codec import decode, encode, identity
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.derivatives import energy_and_forces, energy_forces_stress
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.potentials.soft_core import SoftCoreLennardJones
from jaxelyte.potentials.water import spc_fw
from jaxelyte.system import System
from periodic import padded

CELL = np.array([[11.0, 0.0, 0.0], [3.0, 10.0, 0.0], [-2.0, 4.0, 9.5]])
CAPACITY = 160


def sample() -> Atoms:
    """Six waters and four ions, bent and stretched, in a triclinic cell narrower than twice the cut-offs."""
    rng = np.random.default_rng(4)
    grid = np.stack(np.meshgrid(np.arange(2), np.arange(2), np.arange(3), indexing="ij"), -1).reshape(-1, 3)[:10]
    centres = (grid + 0.3) / [2, 2, 3] @ CELL
    arms = np.array([[0, 0, 0], [0.8, 0.6, 0.1], [-0.8, 0.6, -0.1]])
    places = np.concatenate([*(c + arms for c in centres[:6]), centres[6:]])
    symbols = ["O", "H", "H"] * 6 + ["Na", "Cl"] * 2
    return Atoms(symbols, positions=places + rng.normal(0, 0.06, places.shape), cell=CELL, pbc=True)


ATOMS = sample()
CHARGES = {"O": -0.8, "H": 0.4, "Na": 1.0, "Cl": -1.0}
BONDS = [[3 * i, 3 * i + h] for i in range(6) for h in (1, 2)]
ANCHORS = ATOMS.positions + np.random.default_rng(1).normal(0, 0.5, ATOMS.positions.shape)


def lennard_jones(**options: object) -> LennardJones:
    sigma, epsilon = {"O": 3.0, "H": 1.0, "Na": 2.4, "Cl": 3.6}, {"O": 0.007, "H": 0.0, "Na": 0.01, "Cl": 0.005}
    return LennardJones(sigma, epsilon, cutoff=6.0, **options)  # type: ignore[arg-type]


def soft_core() -> SoftCoreLennardJones:
    sigma, epsilon = {"O": 3.0, "H": 1.0, "Na": 2.4, "Cl": 3.6}, {"O": 0.007, "H": 0.0, "Na": 0.01, "Cl": 0.005}
    return SoftCoreLennardJones(sigma, epsilon, appearing=("Na", "Cl"), coupling=0.4, cutoff=6.0)


POTENTIALS: dict[str, Callable[[], Potential]] = {
    "ewald": lambda: ScreenedCoulomb(CHARGES, method="ewald", tolerance=1e-4, exclusions=BONDS),
    "ewald-ions": lambda: ScreenedCoulomb({"Na": 1, "Cl": -1}, 78.3, tolerance=1e-6),
    "ewald-list": lambda: ScreenedCoulomb(CHARGES, 10.0, method="ewald", tolerance=1e-4, cutoff=6.0),
    "p3m": lambda: ScreenedCoulomb(CHARGES, method="p3m", tolerance=1e-2, exclusions=BONDS),
    "reaction-field": lambda: ScreenedCoulomb(CHARGES, method="reaction-field", cutoff=6.0, exclusions=BONDS),
    "lennard-jones": lambda: lennard_jones(pairs={("Na", "Cl"): (3.0, 0.02)}),
    "lennard-jones-switch": lambda: lennard_jones(switch=4.5, exclusions=[[0, 18]]),
    "soft-core": soft_core,
    "bonds": lambda: HarmonicBonds(BONDS, k=20.0, length=1.0),
    "angles": lambda: HarmonicAngles([[3 * i + 1, 3 * i, 3 * i + 2] for i in range(6)], k=3.0, angle=1.9),
    "restraint": lambda: HarmonicRestraint(ANCHORS, 0.7),
    "barrier": lambda: GaussianBarrier(0.4, 2.2, 0.3, species=("O", "H")),
    "mix": lambda: mix(lennard_jones(shift=True), HarmonicBonds(BONDS, k=20.0, length=1.0), 0.3),
    "spc/fw": lambda: spc_fw(ATOMS, tolerance=1e-3, cutoff=6.0),
}


class Case(NamedTuple):
    name: str
    potential: Potential
    system: System
    lists: Neighbors


def lists_of(potential: Potential, system: System) -> Neighbors:
    return neighbor_lists(system, potential, capacities=(CAPACITY,) * len(potential.requirements()))


# Sums of what the others test one by one take minutes to compile.
PARAMS = [pytest.param(n, marks=pytest.mark.slow) if n in ("mix", "spc/fw") else n for n in POTENTIALS]


@pytest.fixture(scope="module", params=PARAMS)
def case(request: pytest.FixtureRequest) -> Case:
    system = System.from_atoms(ATOMS)
    potential = POTENTIALS[request.param]().prepare(system)
    if request.param == "ewald-list":
        potential = replace(potential, plan=replace(potential.plan, split=replace(potential.plan.split, offsets=None)))
    return Case(request.param, potential, system, lists_of(potential, system))


ENERGY = jax.jit(lambda p, s, n: p.energy(s, n))
DERIVATIVES = jax.jit(energy_forces_stress)


@jax.jit
def probe(potential: Potential, system: System, lists: Neighbors, tangent: jax.Array) -> tuple[jax.Array, ...]:
    """Slope by forward mode, and a batch of two by vmap, in one program."""

    def energy(positions: jax.Array) -> jax.Array:
        return potential.energy(system.replace(positions=positions), lists)

    _, slope = jax.jvp(energy, (system.positions,), (tangent,))
    batch = jnp.stack([system.positions, system.positions + 0.01 * tangent])
    values, gradients = jax.vmap(jax.value_and_grad(energy))(batch)
    return slope, values, gradients


def test_forces_are_finite_differences(case: Case) -> None:
    _, potential, system, lists = case
    forces = DERIVATIVES(potential, system, lists).forces
    h = 1e-5
    for atom, axis in [(0, 0), (4, 1), (18, 2), (21, 0)]:
        step = jnp.zeros_like(system.positions).at[atom, axis].set(h)
        plus, minus = (ENERGY(potential, system.replace(positions=system.positions + s * step), lists) for s in (1, -1))
        assert float(forces[atom, axis]) == pytest.approx(float(minus - plus) / (2 * h), rel=2e-6, abs=2e-8)


def test_stress_is_the_finite_difference_of_a_strain(case: Case) -> None:
    _, potential, system, lists = case
    stress = DERIVATIVES(potential, system, lists).stress
    h = 1e-6
    for i, j in [(0, 0), (1, 2), (0, 2)]:
        strain = np.zeros((3, 3))
        strain[i, j] += h / 2
        strain[j, i] += h / 2
        energies = []
        for sign in (1, -1):
            deform = jnp.asarray(np.eye(3) + sign * strain)
            moved = system.replace(positions=system.positions @ deform, cell=system.cell @ deform)
            energies.append(ENERGY(potential, moved, lists))
        slope = (energies[0] - energies[1]) / (2 * h) / system.volume
        assert float(stress[i, j]) == pytest.approx(float(slope), rel=2e-6, abs=1e-9)


def test_forward_mode_reverse_mode_and_batches_agree(case: Case) -> None:
    _, potential, system, lists = case
    forces = DERIVATIVES(potential, system, lists).forces
    tangent = jnp.asarray(np.random.default_rng(0).normal(size=forces.shape))
    slope, values, gradients = probe(potential, system, lists, tangent)
    assert float(slope) == pytest.approx(-float(np.vdot(forces, tangent)), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradients[0], -forces, atol=1e-10)
    moved = system.replace(positions=system.positions + 0.01 * tangent)
    np.testing.assert_allclose(values, [ENERGY(potential, s, lists) for s in (system, moved)], rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_replicas_in_one_call_are_those_one_by_one() -> None:
    """`energies` of every potential and of their algebra, with cells and positions of their own."""
    rng = np.random.default_rng(3)
    atoms = [ATOMS.copy(), ATOMS.copy()]
    atoms[1].positions += rng.normal(0, 0.03, ATOMS.positions.shape)
    atoms[1].set_cell(1.05 * CELL, scale_atoms=True)
    systems = [System.from_atoms(one) for one in atoms]
    first, second = lennard_jones(), GaussianBarrier(0.4, 2.2, 0.3, species=("O", "H"))
    algebra = {"sum": first + second, "scaled": -0.7 * first, "mixed": mix(first, second, 0.2)}
    everything = {name: make() for name, make in POTENTIALS.items()} | algebra
    for name, potential in everything.items():
        prepared = potential.prepare(jax.tree.map(lambda *x: jnp.stack(x), *systems))
        lists = [lists_of(prepared, system) for system in systems]
        alone = [float(ENERGY(prepared, s, n)) for s, n in zip(systems, lists, strict=True)]
        batch, batched = (jax.tree.map(lambda *x: jnp.stack(x), *parts) for parts in (systems, lists))
        together = jax.jit(lambda p, s, n: p.energies(s, n))(prepared, batch, batched)
        np.testing.assert_allclose(together, alone, rtol=1e-10, err_msg=name)
        assert alone[0] != alone[1], name


def test_the_stored_form_gives_the_same_potential_back(case: Case) -> None:
    original = POTENTIALS[case.name]()
    content, arrays = encode(original)
    back = decode(json.loads(json.dumps(content)), arrays)
    assert jax.tree.structure(back) == jax.tree.structure(original)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(original), strict=True))
    # One name for it, prepared or not, in both precisions; another for anything else.
    narrow = jax.tree.map(lambda x: x.astype(jnp.float32), original)
    assert len({identity(p) for p in (original, back, narrow, original.prepare(case.system))}) == 1
    assert identity(jax.tree.map(lambda x: 1.001 * x, original)) != identity(original)


def test_single_precision_stays_single_and_agrees(case: Case) -> None:
    _, potential, system, lists = case

    def lower(tree: object) -> object:
        return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)

    exact = DERIVATIVES(potential, system, lists)
    # Parameters in float64 must not promote the result of float32 positions.
    result = jax.jit(energy_and_forces)(potential, lower(system), lists)
    assert result.energy.dtype == result.forces.dtype == jnp.float32
    scale = float(jnp.max(jnp.abs(exact.forces)))
    np.testing.assert_allclose(result.forces, exact.forces, atol=2e-5 * max(scale, 1.0))
    np.testing.assert_allclose(result.energy, exact.energy, rtol=1e-5, atol=2e-5)


def test_padding_changes_nothing(case: Case) -> None:
    _, potential, system, lists = case
    longer = padded(system, 3)
    result = jax.jit(energy_and_forces)(potential, longer, lists_of(potential, longer))
    exact = DERIVATIVES(potential, system, lists)
    assert float(result.energy) == pytest.approx(float(exact.energy), rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(result.forces[: len(ATOMS)], exact.forces, atol=1e-11)
    assert np.all(np.asarray(result.forces[len(ATOMS) :]) == 0.0)


def test_translation_and_wrapping(case: Case) -> None:
    name, potential, system, lists = case
    energy = float(ENERGY(potential, system, lists))
    images = np.random.default_rng(2).integers(-2, 3, (len(ATOMS), 3)) @ CELL
    wrapped = system.replace(positions=system.positions + images)
    assert float(ENERGY(potential, wrapped, lists_of(potential, wrapped))) == pytest.approx(energy, rel=1e-9, abs=1e-11)
    moved = system.replace(positions=system.positions + jnp.asarray([0.3, -0.7, 1.1]))
    # A mesh knows where it lies: translation changes its energy within its error.
    tolerance = 1e-2 if name == "p3m" else 1e-9
    same = float(ENERGY(potential, moved, lists)) == pytest.approx(energy, rel=1e-9, abs=tolerance)
    assert same == conserves_momentum(potential)
    if conserves_momentum(potential):
        net = np.sum(np.asarray(DERIVATIVES(potential, system, lists).forces), axis=0)
        np.testing.assert_allclose(net, 0.0, atol=3e-2 if name == "p3m" else 1e-10)


def test_parameters_are_floating_leaves_and_structure_is_static(case: Case) -> None:
    _, potential, system, lists = case
    leaves = jax.tree.leaves(potential)
    assert leaves
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)
    hash(jax.tree.structure(potential))
    again = POTENTIALS[case.name]().prepare(system)
    if case.name != "ewald-list":
        assert jax.tree.structure(again) == jax.tree.structure(potential)
    gradient = jax.jit(jax.grad(lambda p: p.energy(system, lists)))(potential)
    assert jax.tree.structure(gradient) == jax.tree.structure(potential)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))


def test_a_multiple_is_stored_and_read_also_as_version_0_1_wrote_it() -> None:
    original = HarmonicBonds(BONDS, k=20.0, length=1.0) + 0.5 * lennard_jones()
    content, arrays = encode(original)
    assert jax.tree.structure(decode(json.loads(json.dumps(content)), arrays)) == jax.tree.structure(original)
    old, arrays = encode(original, elements=False)
    assert isinstance(old["terms"]["tuple"][1]["potential"], dict)
    assert jax.tree.structure(decode(old, arrays).terms[1]) == jax.tree.structure(original.terms[1])


def test_an_assumed_permittivity_is_stored_but_is_no_other_potential() -> None:
    """Names of potentials are in models and trainings of users: they do not change from version to version."""
    given = ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=78.3)
    assert identity(given) == "ScreenedCoulomb 62480a5f"
    assumed, alike = (ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, **extra) for extra in ({}, {"permittivity": 1.0}))
    assert identity(assumed) == identity(alike)
    assert decode(*encode(assumed)).unstated()
    assert not decode(*encode(alike)).unstated()
