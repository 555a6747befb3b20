"""The shape checks of the test suite are really at work."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import pytest
from ase import Atoms
from jaxtyping import Array, Float

import typecheck
from jaxelyte.system import System

PAIR = Atoms("H2", positions=[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def test_wrong_shapes_are_refused_in_the_library():
    if os.environ.get("JAXELYTE_TYPECHECK", "1") == "0":
        pytest.skip("shape checks are switched off by JAXELYTE_TYPECHECK=0")
    from jaxelyte.neighbors.search import nearest_shift

    with pytest.raises(Exception, match="Type-check error"):
        nearest_shift(System.from_atoms(PAIR), jnp.zeros((2, 2, 4)))


def test_pytrees_can_hold_anything():
    system = System.from_atoms(PAIR)
    batched = jax.tree.map(lambda leaf: leaf[None], system)
    assert batched.positions.shape == (1, 2, 3)
    assert jax.tree.map(lambda _: None, system).positions is None
    assert jax.vmap(lambda s: s.positions.sum())(batched).shape == (1,)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Float[Array, "atoms 3"], True),
        (float | Float[Array, ""], True),
        (tuple[Float[Array, " n"], ...], True),
        (float, False),
        (tuple[int, str], False),
    ],
)
def test_annotations_with_shapes_are_found(annotation, expected):
    assert typecheck.has_shape(annotation) is expected
