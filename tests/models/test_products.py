"""Products of few bits: what is rounded, on a CPU and in what a GPU is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.models import fused
from jaxelyte.models.linear import make_maps
from jaxelyte.models.products import product, products_in
from jaxelyte.models.tiling import Rounded, Tiling
from jaxelyte.neighbors import neighbor_lists
from small_networks import network, six_atoms

BITS = {"tf32": 10, "bf16": 7}


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """To so many bits behind the point of the mantissa, halves to even."""
    mantissa, exponent = np.frexp(x)
    return np.ldexp(np.round(mantissa * 2 ** (bits + 1)), exponent - bits - 1)


@pytest.mark.parametrize("precision", BITS)
def test_inputs_are_rounded_and_sums_are_not(precision: Any, rng: np.random.Generator) -> None:
    x, matrix = rng.normal(size=(2, 30, 8)).astype(np.float32), rng.normal(size=(8, 5)).astype(np.float32)
    g = rng.normal(size=(2, 30, 5)).astype(np.float32)

    @jax.jit
    def both(x: jax.Array, matrix: jax.Array, g: jax.Array) -> Any:
        with products_in(precision):
            y, pull = jax.vjp(product, x, matrix)
            return y, *pull(g)

    found = both(x, matrix, g)
    a, b, c = (rounded(one.astype(np.float64), BITS[precision]) for one in (x, matrix, g))
    expected = a @ b, c @ b.T, np.einsum("rnk,rnm->km", a, c)
    for one, right in zip(found, expected, strict=True):
        # float32 sums of up to 60 terms; rounding in another way would give 4e-4 or more
        np.testing.assert_allclose(one, right, rtol=0, atol=3e-6 * np.abs(right).max())
    assert np.abs(found[0] - x @ matrix).max() > 1e-4


def test_float64_is_never_rounded(rng: np.random.Generator) -> None:
    x, matrix = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    with products_in("bf16"):
        np.testing.assert_allclose(product(jnp.asarray(x), jnp.asarray(matrix)), x @ matrix, rtol=1e-14)


@pytest.mark.parametrize("blocks", [False, True])
def test_every_product_in_what_a_gpu_is_given(blocks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards and backwards, with all atoms at once and in blocks."""
    system = six_atoms(np.float32)
    plain = network()
    maps = make_maps(plain.config.plan, jax.tree.map(lambda leaf: leaf.astype(np.float32), plain.params))
    if blocks:
        monkeypatch.setattr(fused, "numbers_at_once", lambda: 150)  # room for an atom or two
    for precision, word in (("float32", None), ("tf32", "tf32"), ("bf16", "bf16")):
        kernel = replace(plain, kernel=Tiling(precision=precision), maps=maps)
        lists = neighbor_lists(system, kernel)
        traced = jax.jit(jxl.energy_and_forces).trace(kernel, system, lists)
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
        lines = [line for line in text.splitlines() if "dot_general" in line]
        assert len(lines) > 10
        if word is None:
            assert all("HIGHEST" in line for line in lines)
        else:
            asked = f"lhs_precision_type = {word}, rhs_precision_type = {word}, accumulation_type = f32"
            assert all(asked in line for line in lines)


def test_the_compiled_form_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = 2.0 * network()
    assert plain.compiled(precision="tf32").potential.kernel == Rounded("tf32")
    with pytest.raises(jxl.InputError, match=r"'fp16'.*float32, tf32, bf16"):
        plain.compiled(precision="fp16")
    made = plain.compiled(precision="tf32")
    assert jax.tree.structure(made.compiled()) == jax.tree.structure(made)
    assert made.compiled().potential.kernel == Rounded("tf32")
    assert made.plain().potential.kernel is None
    with pytest.raises(jxl.InputError, match=r"too late.*plain\(\).compiled"):
        made.compiled(precision="bf16")
    monkeypatch.setattr("jaxelyte.models.tiling.jax.default_backend", lambda: "gpu")
    assert plain.compiled(precision="bf16").potential.kernel == Tiling(precision="bf16")
