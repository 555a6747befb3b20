"""On GPUs a product of float32 is TF32, with ten bits, unless told otherwise: none of the engine's may be left so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from jaxelyte import NVT, NequIPPotential, Potential, ScreenedCoulomb, load_nequip
from jaxelyte.dynamics.chunk import Settings, make_chunk
from jaxelyte.dynamics.engine import Engine
from jaxelyte.dynamics.integrators import make_integrator
from jaxelyte.dynamics.start import batch_systems, maxwell_velocities
from jaxelyte.observables.recorded import PressureTensor
from jaxelyte.potentials.preparation import prepare_potential

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "nequip" / "parity"


def products(jaxpr: Any) -> Iterator[Any]:
    """All matrix products of a program, those of the programs inside it too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for value in equation.params.values():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    yield from products(inner)


def careless(program: Any, *arguments: Any) -> tuple[int, list[str]]:
    """How many products of float32 there are, and which of them may lose digits."""
    found = [e for e in products(jax.make_jaxpr(program)(*arguments).jaxpr) if e.invars[0].aval.dtype == jnp.float32]
    exact = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    return len(found), [str(e.source_info.traceback) for e in found if e.params["precision"] != exact]


@pytest.mark.parametrize(
    "method", [pytest.param("ewald", marks=pytest.mark.slow), pytest.param("p3m", marks=pytest.mark.more)]
)
def test_no_product_of_a_step_is_left_to_the_default(method: str) -> None:
    """Network, Coulomb sum, thermostat, pressure."""
    with np.load(FIXTURE / "reference.npz") as data:
        atoms = Atoms(data["numbers"], data["positions"], cell=data["cell"], pbc=True)
    network = load_nequip(FIXTURE)
    assert isinstance(network, NequIPPotential)
    charges = dict.fromkeys(network.config.type_names, 0.0) | {atoms[0].symbol: 0.5}
    count = list(atoms.symbols).count(atoms[0].symbol)
    other = next(name for name in atoms.symbols if name != atoms[0].symbol)
    charges[other] = -0.5 * count / list(atoms.symbols).count(other)
    potential: Potential = network + ScreenedCoulomb(charges, permittivity=10.0, method=method, tolerance=1e-3)  # type: ignore[arg-type]
    with jax.enable_x64(False):
        systems = batch_systems(atoms, 1)
        integrator = make_integrator(NVT(300.0), len(atoms), momentum_conserved=True)
        settings = Settings(integrator, 10, 5, 1, (), (PressureTensor(),), False)
        engine = Engine.create(prepare_potential(potential, systems), systems, settings, timestep=1.0, skin=1.0)
        engine.start(jnp.zeros_like(systems.positions), jax.random.split(jax.random.key(0), (1, 2))[:, 1])
        lengths = (jnp.asarray(1.0, jnp.float32), jnp.asarray(5, jnp.int32))
        chunk = make_chunk(settings, engine.plan)
        number, found = careless(chunk, engine.evaluator.potential, engine.state, *lengths)
    assert number > 50
    assert not found, f"{len(found)} of {number} products, the first one here:\n{found[0]}"


def test_the_centre_of_mass_is_at_rest_to_rounding() -> None:
    """Sum of momenta by sums alone."""
    masses = jnp.ones(10, jnp.float32)
    start = lambda key: maxwell_velocities(key, masses, 300.0, zero_momentum=True)  # noqa: E731
    assert not careless(start, jax.random.key(0))[1]
