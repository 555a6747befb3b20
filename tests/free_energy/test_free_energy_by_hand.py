"""Estimators and corrections beside numbers found by hand: what simulations are too blunt to tell apart."""

from __future__ import annotations

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte.free_energy import charge_correction, difference, widom
from jaxelyte.free_energy.metadynamics import _weights
from jaxelyte.free_energy.quadrature import nodes_and_weights
from jaxelyte.neighbors import Neighbors
from jaxelyte.observables.blocks import standard_error
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.system import System
from jaxelyte.units import COULOMB
from wells import (
    TEMPERATURE,
    THERMAL,
    Squeezed,
    boxes,
    two_windows,
)

NOTHING = Neighbors((), ())


def test_a_beginning_out_of_equilibrium_is_left_out(rng: np.random.Generator) -> None:
    """The first fifth is 5 σ too high: with it the means were one σ off, 40 standard errors."""
    lam, weights = nodes_and_weights(3, "gauss-legendre")
    width = 0.3 * THERMAL
    series = [rng.normal(0.1, width, 2000) for _ in lam]
    for one in series:
        one[:395] += 5.0 * width
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left of the beginning behind the first tenth counts in the error
        found = difference(series, lam, TEMPERATURE, weights=weights)
    assert np.all((found.discarded >= 380) & (found.discarded <= 1000))
    np.testing.assert_allclose(found.gradient, 0.1, atol=4.0 * width / math.sqrt(1000))
    kept = [one[start:] for one, start in zip(series, found.discarded, strict=True)]
    np.testing.assert_allclose(found.gradient, [one.mean() for one in kept], rtol=1e-12)
    # The convergence shown is that of what is left, from either side.
    tenth = [max(1, round(0.1 * len(one))) for one in kept]
    assert found.forward[0] == pytest.approx(weights @ [k[:n].mean() for k, n in zip(kept, tenth, strict=True)])
    assert found.backward[0] == pytest.approx(weights @ [k[-n:].mean() for k, n in zip(kept, tenth, strict=True)])


def test_what_exchanging_windows_share_does_not_average_out(rng: np.random.Generator) -> None:
    """The same series in all windows: its error is σ/√n (Σ w = 1), not σ/√n √(Σ w²) as of independent windows."""
    lam, weights = nodes_and_weights(3, "gauss-legendre")
    shared = rng.normal(0.1, 0.3 * THERMAL, 2000)
    found = difference([shared] * 3, lam, TEMPERATURE, weights=weights)
    alone = standard_error(shared[found.discarded[0] :])
    for name in ("TI", "BAR", "MBAR"):
        assert found.estimates[name][1] == pytest.approx(float(alone), rel=0.3), name  # not 0.58 of it


def test_attempts_draw_anew() -> None:
    """One pair, 400 attempts in turn with the (missing) other pairs: downhill always, uphill with chance 0.17.

    200 of them are of the pair; from its upper state it leaves at once, so that it is found there
    200 · 0.17/1.17 = 30 times, with a standard deviation of about 5.
    """
    one = System.from_atoms(Atoms("Ar", [[0.0, 0.0, 0.0]], cell=[20.0] * 3, pbc=True))
    x = jnp.zeros((2, 1, 3)).at[0, 0, 0].set(0.2).at[1, 0, 0].set(0.4)
    systems = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), one).replace(positions=x)
    lam, gap = np.array([0.2, 0.7]), 0.75 * np.array([0.2, 0.4]) ** 2
    uphill = math.exp((lam[0] - lam[1]) * (gap[1] - gap[0]) / THERMAL)
    ends = [HarmonicRestraint(np.zeros((1, 3)), k) for k in (0.5, 2.0)]
    ladder = Ladder(*ends, lam, temperature=TEMPERATURE, exchange=1)

    @jax.jit
    def attempts(memory: Any) -> jax.Array:
        def attempt(memory: Any, _: None) -> tuple[Any, jax.Array]:
            memory, _ = ladder.with_memory(memory).learn(systems, NOTHING)
            return memory, memory[0][0]

        return jax.lax.scan(attempt, memory, None, length=400)[1]

    places = np.asarray(attempts(ladder.memory(2, jax.random.key(1))))[::2]  # behind the attempts of the pair
    # Gaps of 0.03 and 0.12 eV: the wider one belongs to the smaller λ, so [1, 0] is the lower state.
    upper = int(np.sum(places == 0))
    expected = 200 * uphill / (1.0 + uphill)
    assert abs(upper - expected) < 4.0 * math.sqrt(expected), (upper, expected)


def test_equilibration_is_not_sampled() -> None:
    """300 of 900 steps are left out, samples each 10 steps of 2 fs: 60 of them, the first at 620 fs."""
    result = two_windows(steps=900, equilibration=300)
    assert result.run is not None
    series: Any = result.run.observables["energies"]
    assert (len(series), series.start) == (60, 620.0)


def test_hysteresis_is_a_difference(rng: np.random.Generator) -> None:
    """Upwards minus downwards, by hand; exact samples of windows near to each other have none."""
    lam, weights = nodes_and_weights(5, "trapezoid")
    # U1 - U0 = 2 k_B T x of a Gaussian of width one about -2 λ: ΔF = -2 k_B T.
    series = [2.0 * THERMAL * rng.normal(-2.0 * one, 1.0, 1000) for one in lam]
    found = difference(series, lam, TEMPERATURE, weights=weights)
    (up, up_error), (down, down_error) = (found.estimates[f"Zwanzig {name}"] for name in ("forward", "backward"))
    value, error = found.hysteresis
    assert value == pytest.approx(up - down, rel=1e-12, abs=1e-15)
    # Both take the same samples but for the first and the last window.
    assert 0.0 < error < 0.8 * math.hypot(up_error, down_error)
    assert abs(value) < 4.0 * error
    assert found.value == pytest.approx(-2.0 * THERMAL, abs=4.0 * found.error)


def test_samples_count_by_the_bias_above_its_offset() -> None:
    """exp((V - c)/k_B T), relative to the largest: one, e⁻¹, e⁻³ by hand."""
    bias, offset = np.array([[2.0], [2.0], [3.0]]) * THERMAL, np.array([[0.0], [1.0], [4.0]]) * THERMAL
    values = np.stack([np.full((3, 1), 3.0), bias, offset], axis=-1)
    np.testing.assert_allclose(_weights(values, TEMPERATURE)[:, 0], np.exp([0.0, -1.0, -3.0]), rtol=1e-12)


def test_the_solvent_takes_its_share_of_the_self_interaction() -> None:
    """Only 1/ε of the self-interaction is left in a dielectric (the fast tests know ε = 1 only): to rounding."""
    one = charge_correction(2.0, 12.0, 78.3)
    assert one.self_interaction == pytest.approx(0.5 * 4.0 * COULOMB * 2.837297479 / 12.0, rel=1e-8)
    assert one.polarization == pytest.approx(-one.self_interaction * (1.0 - 1.0 / 78.3), rel=1e-12)
    assert one.total == pytest.approx(one.self_interaction / 78.3, rel=1e-9)


def test_undersolvation_of_a_large_ion() -> None:
    """R/L = 0.4: 4π/3 0.4² - 16π²/45 0.4⁵ = 0.670206 - 0.035936, where the second term counts."""
    found = charge_correction(2.0, 20.0, 78.3, radius=8.0)
    expected = 0.5 * COULOMB * 4.0 / 20.0 * (1.0 - 1.0 / 78.3) * (0.670206 - 0.035936)
    assert found.undersolvation == pytest.approx(expected, rel=1e-5)


def test_frames_of_changing_volume_count_by_it(rng: np.random.Generator) -> None:
    """-k_B T ln (Σ V exp(-V u/k_B T)/Σ V) for energies that depend on the volume alone: to rounding."""
    edges = np.array([10.0, 11.0, 12.0, 13.0])
    frames = boxes(rng.random((4, 1, 3, 3)) * edges[:, None, None, None], edges[:, None])
    volume = edges**3
    exact = -THERMAL * math.log(np.sum(volume * np.exp(-0.04 * volume / 1000.0 / THERMAL)) / np.sum(volume))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few insertions
        found = widom(frames, Squeezed(0.04), "Ar", temperature=TEMPERATURE, per_frame=3)
    assert found.value == pytest.approx(exact, abs=1e-10)


def test_insertion_leaves_out_the_first_frames(rng: np.random.Generator) -> None:
    """Two frames of four are left out, of both replicas; energies of the cell alone, so to rounding."""
    edges = np.where(np.arange(4) < 2, 20.0, 10.0)
    frames = boxes(rng.random((4, 2, 3, 3)) * 10.0, np.stack([edges, edges], axis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few insertions
        found = widom(frames, Squeezed(0.04), "Ar", temperature=TEMPERATURE, per_frame=3, discard=2)
    assert found.insertions == 2 * 2 * 3
    assert found.value == pytest.approx(0.04, abs=1e-10)
