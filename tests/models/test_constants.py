"""Spherical harmonics and Wigner 3j tables: normalisation, equivariance, agreement with e3nn-jax."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxelyte.models.constants import STORED, computed_wigner_3j, spherical_harmonics, wigner_3j


@pytest.fixture
def directions(rng: np.random.Generator) -> np.ndarray:
    vectors = rng.normal(size=(40, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def harmonics(l_max: int, vectors: np.ndarray) -> list[np.ndarray]:
    parts = spherical_harmonics(l_max, tuple(jnp.asarray(vectors.T)))
    return [np.stack([np.asarray(component) for component in degree], axis=-1) for degree in parts]


def rotation_of(degree: int, vectors: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The matrix D with Y(R v) = Y(v) D, by least squares over many directions."""
    plain, turned = harmonics(degree, vectors)[degree], harmonics(degree, vectors @ rotation.T)[degree]
    return np.linalg.lstsq(plain, turned, rcond=None)[0]


def test_harmonics_agree_with_e3nn(directions: np.ndarray) -> None:
    import e3nn_jax

    for degree, ours in enumerate(harmonics(5, directions)):
        irreps = e3nn_jax.Irreps([(1, (degree, 1))])
        theirs = e3nn_jax.spherical_harmonics(irreps, directions, True, normalization="component").array
        np.testing.assert_allclose(ours, theirs, atol=1e-13)
        np.testing.assert_allclose((ours**2).sum(axis=-1), 2 * degree + 1, rtol=1e-13)


def test_degree_one_is_x_y_z(directions: np.ndarray) -> None:
    np.testing.assert_allclose(harmonics(1, directions)[1], np.sqrt(3.0) * directions, rtol=1e-14)


@pytest.mark.parametrize("degrees", [(1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 1, 3), (3, 3, 0), (2, 3, 3)])
def test_tables_are_equivariant(degrees: tuple[int, int, int], directions: np.ndarray) -> None:
    table = wigner_3j(*degrees)
    np.testing.assert_allclose(np.linalg.norm(table), 1.0, rtol=1e-14)
    rotation = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    turned = [rotation_of(degree, directions, rotation) for degree in degrees]
    np.testing.assert_allclose(np.einsum("abc,ai,bj,ck->ijk", table, *turned), table, atol=1e-12)


def test_stored_tables_are_those_of_e3nn() -> None:
    """And nothing but degrees beyond them, or irreps in an unusual form, needs e3nn-jax."""
    for degrees in product(range(STORED + 1), repeat=3):
        if abs(degrees[0] - degrees[1]) <= degrees[2] <= degrees[0] + degrees[1]:
            np.testing.assert_array_equal(wigner_3j(*degrees), computed_wigner_3j(*degrees))
    assert wigner_3j(4, 2, 3).shape == (9, 5, 7)
    program = (
        "import sys; from jaxelyte.models.constants import wigner_3j; from jaxelyte.models.irreps import parse_irreps; "
        "wigner_3j(2, 1, 3); parse_irreps('16x0e + 4x1o', 'option'); sys.exit('e3nn_jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        wigner_3j(1, 1, 1)[0, 0, 0] = 1.0


def test_derivatives_are_finite_along_the_axes() -> None:
    for axis in np.eye(3):
        jacobian = jax.jacobian(lambda v: jnp.stack([c for d in spherical_harmonics(3, (v[0], v[1], v[2])) for c in d]))
        assert np.all(np.isfinite(jacobian(jnp.asarray(axis))))
