"""Coulomb sums: closed forms, convergence to what was asked for, and every error that a user can meet."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.neighbors import Neighbors, neighbor_lists
from jaxelyte.neighbors.search import image_offsets
from jaxelyte.parallel import distribute
from jaxelyte.potentials.base import longest_cutoff
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.derivatives import batch_energy_and_forces, energy_and_forces
from jaxelyte.system import System
from jaxelyte.units import COULOMB
from periodic import CELLS, energy, evaluate, rms, salt

IONS = {"Na": 1, "Cl": -1}
NACL, CSCL, ZNS = 1.747564594633, 1.762674773071, 1.638055053388

CRYSTALS = {
    "NaCl primitive": (bulk("NaCl", "rocksalt", a=5.6), IONS, 2.8, NACL),
    "NaCl cubic": (bulk("NaCl", "rocksalt", a=5.6, cubic=True), IONS, 2.8, 4 * NACL),
    "CsCl": (bulk("CsCl", "cesiumchloride", a=4.1), {"Cs": 1, "Cl": -1}, 4.1 * math.sqrt(0.75), CSCL),
    "ZnS primitive": (bulk("ZnS", "zincblende", a=5.4), {"Zn": 2, "S": -2}, 5.4 * math.sqrt(3) / 4, 4 * ZNS),
    "ZnS cubic": (bulk("ZnS", "zincblende", a=5.4, cubic=True), {"Zn": 1, "S": -1}, 5.4 * math.sqrt(3) / 4, 4 * ZNS),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_madelung_constants_by_ewald(name: str) -> None:
    atoms, charges, distance, constant = CRYSTALS[name]
    value = -energy(ScreenedCoulomb(charges, tolerance=1e-7), atoms) * distance / COULOMB
    assert value == pytest.approx(constant, rel=1e-7)


@pytest.mark.parametrize(("name", "cutoff"), [("NaCl primitive", 9.0), ("CsCl", 9.0), ("ZnS cubic", 10.0)])
def test_madelung_constants_by_p3m(name: str, cutoff: float) -> None:
    atoms, charges, distance, constant = CRYSTALS[name]
    potential = ScreenedCoulomb(charges, method="p3m", tolerance=1e-6, cutoff=cutoff)
    value = -energy(potential, atoms.repeat(2)) / 8 * distance / COULOMB
    assert value == pytest.approx(constant, rel=1e-6)


@pytest.mark.parametrize(("cell", "tolerances"), [("cubic", (1e-3,)), ("triclinic", (1e-2, 1e-4)), ("skewed", (1e-3,))])
def test_the_tolerance_bounds_the_force_error_of_ewald_and_p3m(cell: str, tolerances: tuple[float, ...]) -> None:
    atoms = salt(40, CELLS[cell], seed=7)
    converged = evaluate(ScreenedCoulomb(IONS, tolerance=1e-9), atoms).forces
    for tolerance in tolerances:
        for method in ("ewald", "p3m"):
            result = evaluate(ScreenedCoulomb(IONS, method=method, tolerance=tolerance), atoms)
            error = rms(result.forces - converged)
            assert error <= tolerance, (method, tolerance, error)
            # The parameters are not simply lavish: the estimate is close to the truth.
            assert error >= tolerance / 20
            assert result.potential.plan.split.error == pytest.approx(error, rel=0.5)


@pytest.mark.parametrize("method", ["ewald", "p3m"])
def test_one_preparation_serves_several_cells(method: str) -> None:
    """Replicas in different cells share α, cut-off, k-vectors or mesh; the tolerance holds in each, also batched."""
    tolerance, boxes = 1e-3, [salt(40, CELLS["triclinic"], seed=7), salt(40, 1.35 * CELLS["skewed"], seed=8)]
    boxes[1].numbers = boxes[1].numbers[::-1]
    systems = [System.from_atoms(atoms) for atoms in boxes]
    shared = ScreenedCoulomb(IONS, method=method, tolerance=tolerance).prepare(
        jax.tree.map(lambda *x: jnp.stack(x), *systems)
    )
    lists = [neighbor_lists(system, shared, capacities=(120,) * len(shared.requirements())) for system in systems]
    batch, batched = (jax.tree.map(lambda *x: jnp.stack(x), *parts) for parts in (systems, lists))
    forces = jax.jit(batch_energy_and_forces)(shared, batch, batched).forces
    for atoms, found in zip(boxes, forces, strict=True):
        converged = evaluate(ScreenedCoulomb(IONS, tolerance=1e-9), atoms).forces
        assert rms(found - converged) <= tolerance
    # What one of them needs alone is not enough, or generous, for the other.
    alone = [ScreenedCoulomb(IONS, method=method, tolerance=tolerance).prepare(system) for system in systems]
    assert alone[0].plan != alone[1].plan


def test_neighbour_list_and_all_pairs_agree() -> None:
    """The same splitting through either real-space sum, with a cut-off that needs images in the skewed cell."""
    cell = CELLS["skewed"]
    system = System.from_atoms(salt(40, cell, seed=3))
    pairs = ScreenedCoulomb(IONS, method="ewald", tolerance=1e-3, cutoff=9.0).prepare(system)
    results = []
    for offsets in (None, image_offsets(cell[None], (True, True, True), 9.0)):
        potential = replace(pairs, plan=replace(pairs.plan, split=replace(pairs.plan.split, offsets=offsets)))
        assert bool(potential.requirements()) == (offsets is None)
        results.append(jax.jit(energy_and_forces)(potential, system, neighbor_lists(system, potential)))
    np.testing.assert_allclose(results[0].energy, results[1].energy, rtol=1e-12)
    np.testing.assert_allclose(results[0].forces, results[1].forces, atol=1e-11)


def test_a_charge_and_its_images_in_a_neutralising_background() -> None:
    length, charge = 11.0, 2.0
    atoms = Atoms("Na", positions=[[1.0, 2.0, 3.0]], cell=[length] * 3, pbc=True)
    exact = -2.837297479 * charge**2 * COULOMB / (2 * length)
    for method in ("ewald", "p3m"):
        with pytest.warns(UserWarning, match=r"net charge of \+2 e.*background"):
            assert energy(ScreenedCoulomb({"Na": charge}, method=method, tolerance=1e-6), atoms) == pytest.approx(
                exact, rel=1e-6
            )


def test_a_charged_cell_does_not_depend_on_the_splitting() -> None:
    atoms = salt(20, CELLS["triclinic"], seed=1) + Atoms("Na", positions=[[6.0, 6.0, 6.0]])
    with pytest.warns(UserWarning, match="net charge"):
        energies = [energy(ScreenedCoulomb(IONS, tolerance=1e-8, cutoff=r), atoms) for r in (6.0, 9.0)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-6)


@pytest.mark.slow
def test_what_the_cut_off_leaves_out_averages_away() -> None:
    """The constant v(r_c) that makes the energy continuous is compensated for ions in random order (Wolf et al.)."""
    sites = 2.8 * np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing="ij"), -1).reshape(-1, 3)
    errors = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        species = np.where(rng.permutation(np.arange(216) % 2) == 0, 11, 17)
        positions = sites + rng.normal(0, 0.3, sites.shape)
        system = System.from_atoms(Atoms(species, positions, cell=[16.8] * 3, pbc=True))
        exact = ScreenedCoulomb(IONS, method="ewald", tolerance=1e-9).prepare(system)
        split = replace(exact.plan.split, alpha=0.25, cutoff=8.0, kmax=(12, 12, 12))
        short = replace(exact, plan=replace(exact.plan, split=replace(split, offsets=None)))
        energies = [float(p.energy(system, neighbor_lists(system, p))) for p in (short, exact)]
        errors.append(energies[0] - energies[1])
    constant = 0.5 * math.erfc(0.25 * 8.0) / 8.0 * 216 * COULOMB
    assert constant > 0.9
    assert abs(np.mean(errors)) < 0.4 * constant


def test_neutral_cells_warn_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ScreenedCoulomb({"O": -0.82, "H": 0.41}).prepare(
            System.from_atoms(Atoms("OH2", np.eye(3), cell=[9] * 3, pbc=True))
        )


def test_permittivity_divides_and_charges_multiply() -> None:
    atoms = salt(12, CELLS["cubic"], seed=2)
    reference = energy(ScreenedCoulomb(IONS, tolerance=1e-8), atoms)
    screened = energy(ScreenedCoulomb({"Na": 2, "Cl": -2}, 78.3, tolerance=1e-8), atoms)
    assert screened == pytest.approx(4 * reference / 78.3, abs=1e-6)
    assert energy(ScreenedCoulomb([1, -1] * 6, tolerance=1e-8), atoms) == pytest.approx(reference, abs=1e-6)


def test_uncharged_species_cost_nothing_and_change_nothing() -> None:
    ions = salt(12, CELLS["cubic"], seed=2)
    rng = np.random.default_rng(0)
    mixture = Atoms("O60", positions=rng.random((60, 3)) * 14.0) + ions
    mixture.set_cell(ions.cell)
    mixture.pbc = True
    shuffled = mixture[rng.permutation(len(mixture))]
    potential = ScreenedCoulomb(IONS, 78.3, tolerance=1e-8)
    result = evaluate(potential, shuffled)
    assert result.potential.plan.charged == 12
    assert result.energy == pytest.approx(energy(potential, ions), rel=1e-12)
    assert np.all(result.forces[shuffled.numbers == 8] == 0.0)


def test_derivatives_with_respect_to_charges_and_permittivity() -> None:
    atoms = salt(12, CELLS["cubic"], seed=5)
    system = System.from_atoms(atoms)
    potential = ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, 2.0, tolerance=1e-8).prepare(system)
    lists = neighbor_lists(system, potential)
    value, gradient = jax.jit(jax.value_and_grad(lambda p: p.energy(system, lists)))(potential)
    assert isinstance(gradient, ScreenedCoulomb)
    np.testing.assert_allclose(gradient.permittivity, -value / 2.0, rtol=1e-12)
    # The energy is quadratic in the charges: Euler's theorem, 2 U = Σ q dU/dq.
    np.testing.assert_allclose(np.dot(gradient.charges, potential.charges), 2 * value, rtol=1e-12)
    with_zero = ScreenedCoulomb({"Na": 1.0, "Cl": -1.0, "O": 0.0}).prepare(
        System.from_atoms(atoms + Atoms("O", positions=[[1.0, 1.0, 1.0]]))
    )
    assert with_zero.plan is not None
    assert with_zero.plan.charged == 13


def test_isolated_ions_sum_every_pair() -> None:
    atoms = Atoms("NaClNa", positions=[[0, 0, 0], [0, 0, 2.5], [0, 40.0, 0]])
    pairs = {(0, 1): -1.0, (0, 2): 1.0, (1, 2): -1.0}
    exact = sum(q * COULOMB / atoms.get_distance(i, j) for (i, j), q in pairs.items())
    assert energy(ScreenedCoulomb(IONS), atoms) == pytest.approx(exact, rel=1e-12)


def test_cutoff_and_reaction_field_closed_forms() -> None:
    r, cutoff = 3.0, 7.0
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, r]])
    plain = energy(ScreenedCoulomb(IONS, cutoff=cutoff), atoms)
    assert plain == pytest.approx(-COULOMB * (1 / r - 1 / cutoff), rel=1e-12)
    outside, inside = 80.0, 2.0
    k = (outside - inside) / ((2 * outside + inside) * cutoff**3)
    exact = -COULOMB / inside * (1 / r + k * r**2 - 1 / cutoff - k * cutoff**2)
    potential = ScreenedCoulomb(IONS, inside, method="reaction-field", cutoff=cutoff, rf_permittivity=outside)
    result = evaluate(potential, atoms)
    assert result.energy == pytest.approx(exact, rel=1e-12)
    assert result.forces[0, 2] == pytest.approx(COULOMB / inside * (1 / r**2 - 2 * k * r), rel=1e-12)
    atoms.positions[1, 2] = cutoff + 0.1
    assert energy(potential, atoms) == 0.0


@pytest.mark.parametrize("method", ["ewald", "p3m", "cutoff"])
def test_exclusions_take_away_exactly_one_pair(method: str) -> None:
    atoms = salt(16, CELLS["triclinic"], seed=4)
    atoms.positions[1] = atoms.positions[0] + [0.3, 0.8, 0.5]
    atoms.positions[1] -= atoms.cell[1]  # the bond crosses the boundary
    # What an exclusion takes away is exact however coarse the sum is, since the same sum stands on both sides.
    options = {"method": method, "cutoff": 6.0} | ({} if method == "cutoff" else {"tolerance": 1e-3})
    full = energy(ScreenedCoulomb(IONS, **options), atoms)
    pair = -COULOMB / atoms.get_distance(0, 1, mic=True) + (COULOMB / 6.0 if method == "cutoff" else 0.0)
    excluded = energy(ScreenedCoulomb(IONS, exclusions=[[0, 1]], **options), atoms)
    assert excluded == pytest.approx(full - pair, abs=1e-9)
    scaled = energy(ScreenedCoulomb(IONS, exclusions=[[0, 1]], exclusion_scales=[0.5], **options), atoms)
    assert scaled == pytest.approx(full - 0.5 * pair, abs=1e-9)


def test_energy_is_continuous_at_the_real_space_cutoff() -> None:
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 5.0]], cell=[14.0] * 3, pbc=True)
    potential = ScreenedCoulomb(IONS, cutoff=5.0, tolerance=1e-2)
    energies = []
    for z in (5.0 - 1e-7, 5.0 + 1e-7):
        atoms.positions[1, 2] = z
        energies.append(energy(potential, atoms))
    assert abs(energies[1] - energies[0]) < 1e-6


def test_the_longest_cutoff_is_that_of_the_lists() -> None:
    """Also where the field of that name was left to the method."""
    system = System.from_atoms(salt(12, CELLS["cubic"], seed=5))
    chosen, given = (ScreenedCoulomb(IONS, cutoff=r).prepare(system) for r in (None, 9.0))
    assert (longest_cutoff(chosen), longest_cutoff(given)) == (chosen.plan.split.cutoff, 9.0)
    assert longest_cutoff(ScreenedCoulomb(IONS, method="cutoff", cutoff=6.0)) == 6.0
    assert distribute(ScreenedCoulomb(IONS), 1).prepare(system).layout is not None


def test_use_before_preparation() -> None:
    """Plainly it prepares itself; inside a transformation it says what to do."""
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 2.5]])
    system, potential = System.from_atoms(atoms), ScreenedCoulomb(IONS)
    empty = Neighbors((), ())
    assert float(potential.energy(system, empty)) == pytest.approx(energy(potential, atoms), rel=1e-12)
    with pytest.raises(InputError, match="prepare"):
        jax.jit(lambda s: potential.energy(s, empty))(system)


def test_more_charges_than_prepared_for_are_never_dropped_in_silence() -> None:
    two = salt(12, CELLS["cubic"], seed=5)
    two.symbols[:4] = "O"
    potential = ScreenedCoulomb(IONS).prepare(System.from_atoms(two))
    two.symbols[:2] = "NaCl"
    assert np.isnan(jax.jit(lambda p, s: p.energy(s, Neighbors((), ())))(potential, System.from_atoms(two)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScreenedCoulomb({"Xx": 1}), "'Xx' is not a chemical symbol"),
        (lambda: ScreenedCoulomb({"Na": math.nan}), r"charges\['Na'\] must be a finite number in e, not nan"),
        (lambda: ScreenedCoulomb(IONS, method="magic"), "method must be one of"),
        (lambda: ScreenedCoulomb(IONS, tolerance=0.0), "tolerance must be a finite number in eV/Å, above 0"),
        (lambda: ScreenedCoulomb(IONS, rf_permittivity=2.0), "rf_permittivity = 2 is a setting of method 'reaction"),
        (lambda: ScreenedCoulomb(IONS, method="cutoff", cutoff=9.0, tolerance=1e-3), "'cutoff' does not read it"),
        (lambda: ScreenedCoulomb(IONS, cutoff=-1.0), "cutoff = -1 Å cannot be a cut-off"),
        (lambda: ScreenedCoulomb(IONS, method="reaction-field"), "needs a cutoff"),
        (lambda: ScreenedCoulomb(IONS, 0.0), r"permittivity = 0 cannot be .*vacuum has 1, water at 25 °C 78\.3"),
        (lambda: ScreenedCoulomb(IONS, math.inf), "permittivity must be a finite number, not inf"),
        (lambda: ScreenedCoulomb(IONS, "water"), "permittivity must be a finite number, not 'water'"),
        (lambda: ScreenedCoulomb({"Na": "1+"}), r"charges\['Na'\] must be a finite number in e, not '1\+'"),
        (lambda: ScreenedCoulomb({"Na": 1.602e-19}), "write 0.9999, if it is in C"),
        (lambda: ScreenedCoulomb({}), "charges is empty"),
        (lambda: ScreenedCoulomb("NaCl"), "charges must be a finite number|dictionary"),
        (lambda: ScreenedCoulomb(IONS, exclusions=[[1, 1]]), "names an atom twice"),
        (lambda: ScreenedCoulomb(IONS, exclusions=[[0, 1]], exclusion_scales=[1, 2]), "exclusion_scales"),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("potential", "pbc", "message"),
    [
        (ScreenedCoulomb(IONS, np.array(0.0)), True, "permittivity = 0 cannot be"),
        (ScreenedCoulomb({"Li": 1.0, "Br": -1.0}), True, "the charges act on Li, Br, but the atoms are Na, Cl"),
        (ScreenedCoulomb([1.0, -1.0]), True, "one per atom"),
        (ScreenedCoulomb(IONS, exclusions=[[0, 99]]), True, "names atom 99"),
        (ScreenedCoulomb(IONS, method="p3m"), False, "needs a fully periodic cell"),
        (ScreenedCoulomb(IONS, cutoff=2.0, tolerance=1e-40), True, "no splitting reaches"),
    ],
)
def test_systems_that_do_not_fit(potential: ScreenedCoulomb, pbc: bool, message: str) -> None:
    atoms = salt(4, CELLS["cubic"], seed=0)
    atoms.pbc = pbc
    with pytest.raises(InputError, match=message):
        potential.prepare(System.from_atoms(atoms))


def test_slabs_are_refused_by_name() -> None:
    atoms = salt(4, CELLS["cubic"], seed=0)
    atoms.pbc = (True, True, False)
    with pytest.raises(UnsupportedError, match="slabs"):
        ScreenedCoulomb(IONS).prepare(System.from_atoms(atoms))
    assert math.isfinite(energy(ScreenedCoulomb(IONS, method="cutoff", cutoff=6.0), atoms))


def test_tolerances_that_ruin_the_forces_are_named():
    with pytest.warns(UserWarning, match=r"tolerance = 0\.5 eV/Å is a large error"):
        ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, tolerance=0.5)
