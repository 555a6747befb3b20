"""What the GPU computes is what the CPU computes: networks, Coulomb sums, a run (`make test-gpu`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import jaxelyte as jxl
from jaxelyte.neighbors import neighbor_lists
from toys import Argon

FIXTURES = Path(__file__).resolve().parent / "fixtures" / "nequip"

TF32 = 1e-3
"""Relative error of a product in TF32, the default of float32 on GPUs; float32 itself is a thousand times better."""


@pytest.fixture(autouse=True)
def devices() -> tuple[Any, Any]:
    """The GPU and the CPU."""
    if jax.default_backend() != "gpu":
        pytest.skip(f"no GPU: the default backend of jax is {jax.default_backend()!r}")
    return jax.devices()[0], jax.devices("cpu")[0]


pytestmark = pytest.mark.gpu


def forces(potential: jxl.Potential, atoms: Atoms, dtype: Any) -> np.ndarray:
    """Of the potential as it is given; `Potential.compiled` of it uses the kernels."""
    system = jxl.System.from_atoms(atoms, dtype=dtype)
    prepared = potential.prepare(system)
    result = jax.jit(jxl.energy_and_forces)(prepared, system, neighbor_lists(system, prepared))
    assert result.forces.dtype == dtype
    return np.asarray(result.forces, np.float64)


@pytest.mark.parametrize("case", sorted(folder.name for folder in FIXTURES.iterdir()))
@pytest.mark.parametrize(
    ("dtype", "kernels"), [(np.float32, False), (np.float32, True), (np.float64, False)], ids=["32", "kernels", "64"]
)
def test_networks_agree_with_nequip(case: str, dtype: Any, kernels: bool) -> None:
    with np.load(FIXTURES / case / "reference.npz") as file:
        data = {key: file[key] for key in file.files}
    atoms = Atoms(data["numbers"], data["positions"], cell=data["cell"], pbc=True)
    network = jxl.load_nequip(FIXTURES / case)
    result = forces(network.compiled() if kernels else network, atoms, dtype)
    scale = np.abs(data["forces"]).max()
    np.testing.assert_allclose(result, data["forces"], atol=scale * (0.05 * TF32 if dtype == np.float32 else 1e-10))


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("name", ["licl", "licl_ions"])
def test_published_models_in_single_precision(reference: Path, name: str, kernels: bool) -> None:
    with np.load(reference / name / "reference.npz") as data:
        atoms = Atoms(data["0_numbers"], data["0_positions"], cell=data["0_cell"], pbc=True)
        network = jxl.load_nequip(reference / name)
        found = forces(network.compiled() if kernels else network, atoms, np.float32)
        np.testing.assert_allclose(found, data["0_forces"], atol=5e-4)


@pytest.mark.parametrize(("precision", "expected"), [("tf32", 4.3e-4), ("bf16", 4.2e-3)])
def test_products_of_few_bits(reference: Path, precision: Any, expected: float) -> None:
    """The error that a CPU says, up to a factor of two for inputs that are cut off instead of rounded; eV/Å."""
    with np.load(reference / "licl" / "reference.npz") as data:
        atoms = Atoms(data["0_numbers"], data["0_positions"], cell=data["0_cell"], pbc=True)
    error = jxl.form_error(jxl.load_nequip(reference / "licl").compiled(precision=precision), atoms)
    assert 0.5 * expected < error.forces_rms < 2.5 * expected


@pytest.mark.parametrize("method", ["ewald", "p3m"])
def test_coulomb_sums(devices: tuple[Any, Any], method: str, rng: np.random.Generator) -> None:
    cell = np.array([[14.0, 0.0, 0.0], [2.0, 13.0, 0.0], [-1.0, 3.0, 15.0]])
    atoms = Atoms("NaCl" * 32, scaled_positions=rng.random((64, 3)), cell=cell, pbc=True)
    potential = jxl.ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, permittivity=78.3, method=method, tolerance=1e-4)
    with jax.default_device(devices[1]):
        expected = forces(potential, atoms, np.float64)
    # Float32 may lose seven digits of the largest force (two ions thrown close together).
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(forces(potential, atoms, np.float32), expected, atol=atol)
    np.testing.assert_allclose(forces(potential, atoms, np.float64), expected, atol=1e-9)


def test_a_run_on_the_gpu_is_the_run_on_the_cpu(devices: tuple[Any, Any]) -> None:
    """float64, before chaos: positions and energies of two replicas agree, and the loop compiled as often."""
    atoms = bulk("Ar", "fcc", a=5.4, cubic=True).repeat(3)
    atoms.rattle(0.05, seed=1)

    def run() -> jxl.Run:
        return jxl.simulate(
            Argon(), atoms, jxl.NVT(90.0, "nose-hoover"), steps=200, timestep=2.0, replicas=2, every=50, seed=3,
            progress=False,
        )  # fmt: skip

    gpu = run()
    with jax.default_device(devices[1]):
        cpu = run()
    np.testing.assert_allclose(gpu.log["potential"], cpu.log["potential"], rtol=1e-9)
    for a, b in zip(gpu.atoms, cpu.atoms, strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-7)
