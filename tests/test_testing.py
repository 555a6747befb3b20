"""`jaxelyte.testing.check_potential` on every potential and wrapper of the package, and on classes that break rules."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from flax import struct

import jaxelyte
from jaxelyte.parallel import distribute
from jaxelyte.parallel.replicas import Shared
from jaxelyte.potentials.barrier import GaussianBarrier
from jaxelyte.potentials.base import PerSystem, Potential, Scalar, Wrapper, mix
from jaxelyte.potentials.bonded import HarmonicAngles, HarmonicBonds
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.distance import DistanceRestraint, Metadynamics
from jaxelyte.potentials.ladder import Ladder
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.memory import Learning
from jaxelyte.potentials.pairs import PairPotential
from jaxelyte.potentials.part import PairAdditive
from jaxelyte.potentials.restraints import HarmonicRestraint
from jaxelyte.potentials.soft_core import SoftCoreLennardJones
from jaxelyte.potentials.zbl import ZBL
from jaxelyte.testing import check_potential
from small_networks import network

SIGMA, EPSILON = {"Na": 2.4, "Cl": 3.2}, {"Na": 0.01, "Cl": 0.005}
SALT = Atoms(
    "NaClClNaNaCl",
    scaled_positions=np.indices((2, 3, 1)).reshape(3, -1).T / [2, 3, 2],
    cell=[[6.1, 0, 0], [1.0, 8.2, 0], [-1.0, 0.5, 7.5]],
    pbc=True,
)
SALT.rattle(0.2, seed=1)
PAIR = Atoms("NaCl", positions=[[0.2, 0.1, 0.0], [2.7, 0.9, 0.4]], cell=[12.0, 13.0, 14.0], pbc=True)
ANCHORS = SALT.positions + 0.3


@struct.dataclass
class Morse(PairPotential):
    """A pair potential as a user writes one; depths differ between like and unlike atoms."""

    depth: Any = 0.1
    rest: Any = 2.8

    def pair(self, r: jax.Array, i: jax.Array, j: jax.Array) -> jax.Array:
        x = r / self.cutoff
        well = (1.0 - jnp.exp(-1.5 * (r - self.rest))) ** 2 - 1.0
        return self.depth * jnp.where(i == j, 0.5, 1.0) * well * (1.0 - x**2) ** 3


def springs(*parameters: float) -> HarmonicRestraint:
    return HarmonicRestraint(ANCHORS, parameters[0])


def lennard_jones(**options: Any) -> LennardJones:
    return LennardJones(SIGMA, EPSILON, cutoff=5.0, switch=4.0, **options)


def grown() -> Metadynamics:
    term = Metadynamics((0, 1), upper=5.5, temperature=300.0, stride=1)
    return term.with_memory(0.1 * jnp.cos(term.grid))


CASES: dict[str, tuple[Callable[[], Potential], Atoms, int]] = {
    "own": (lambda: Morse(cutoff=5.0, exclusions=[[0, 1]]), SALT, 2),
    "zbl": (ZBL, SALT, 2),
    "distance": (lambda: DistanceRestraint((0, 1), k=0.7, center=[2.5, 3.0]), PAIR, 2),
    "moving": (lambda: DistanceRestraint((0, 1), k=0.7, center=3.0, rate=0.01), PAIR, 2),
    "metadynamics": (grown, PAIR, 2),
    "sum": (lambda: grown() + HarmonicBonds([[0, 1]], k=1.0, length=2.4), PAIR, 2),
    "scaled": (lambda: -0.7 * HarmonicRestraint(ANCHORS, 0.7), SALT, 2),
    "mixture": (lambda: mix(Morse(cutoff=5.0), springs(0.4), 0.3), SALT, 2),
    "ladder": (lambda: Ladder(springs(0.2), springs(0.9), [0.0, 0.4, 1.0], temperature=300.0, exchange=1), SALT, 3),
    "shared": (lambda: Shared(Morse(cutoff=3.0), tuple(jax.devices()[:1])), PAIR, 2),
}
LONG: dict[str, tuple[Callable[[], Potential], Atoms, int]] = {
    "network": (network, SALT, 2),
    "divided": (lambda: distribute(Morse(cutoff=3.0) + grown(), 1), PAIR, 1),
    "network with zbl": (lambda: network(zbl=True), SALT, 2),
    "compiled": (lambda: network().compiled(), SALT, 2),
    "coulomb": (lambda: ScreenedCoulomb({"Na": 1.0, "Cl": -1.0}, 4.0, tolerance=1e-5), SALT, 2),
    "lennard-jones": (lambda: lennard_jones(exclusions=[[0, 1]]), SALT, 2),
    "soft core": (
        lambda: SoftCoreLennardJones(SIGMA, EPSILON, appearing=("Na",), coupling=0.4, cutoff=5.0, switch=4.0),
        SALT,
        2,
    ),
    "angles": (lambda: HarmonicAngles([[0, 1, 2]], k=3.0, angle=1.2), SALT, 2),
    "barrier": (lambda: GaussianBarrier(0.4, 3.0, 0.3, species=("Na", "Cl")), SALT, 2),
    "barrier on pairs": (lambda: GaussianBarrier(0.4, 3.0, 0.3, pairs=[[0, 1], [2, 3]]), SALT, 2),
    "all of it": (
        lambda: mix(network() + Morse(cutoff=5.0), 0.5 * (Morse(cutoff=5.0) + springs(0.3)), 0.4),
        SALT,
        2,
    ),
}


@pytest.mark.parametrize("name", [*CASES, *(pytest.param(name, marks=pytest.mark.more) for name in LONG)])
def test_the_contract(name: str) -> None:
    make, atoms, replicas = (CASES | LONG)[name]
    check_potential(make(), atoms, replicas=replicas)


def subclasses(cls: type) -> set[type]:
    return {cls} | {one for below in cls.__subclasses__() for one in subclasses(below)}


def test_every_class_has_a_case() -> None:
    for module in pkgutil.walk_packages(jaxelyte.__path__, "jaxelyte."):
        if module.name.startswith(("jaxelyte.potentials.", "jaxelyte.parallel.")):
            importlib.import_module(module.name)
    from jaxelyte.potentials.base import walk

    made = {type(one) for make, _, _ in (CASES | LONG).values() for one in walk(make())}
    bases = {Potential, PerSystem, Wrapper, PairPotential, PairAdditive}
    known = {cls for cls in subclasses(Potential) if cls.__module__.startswith("jaxelyte.")}
    assert known - bases <= made


@struct.dataclass
class Askew(PerSystem):
    """Breaks one rule for each fault."""

    k: Any = 1.0
    fault: str = struct.field(pytree_node=False, default="")

    def energy(self, system: Any, neighbors: Any) -> Scalar:
        centre = jnp.mean(system.positions[:2], axis=0)
        vector = system.positions[0] - system.positions[1]
        if self.fault == "translation":
            return self.k * jnp.sum(jnp.sin(centre))
        if self.fault == "forces":
            vector = jax.lax.stop_gradient(vector)
        if self.fault == "padding":
            vector = vector * system.num_atoms
        return self.k * jnp.cos(jnp.sum(vector**2) / 30.0) if not any(system.pbc) else jnp.zeros(())


@struct.dataclass
class Forgetful(HarmonicBonds, Learning):
    """Returns no work for what it learns."""

    def learning_stride(self) -> int:
        return 1

    def memory(self, replicas: int, key: Any = None) -> Any:
        return self.k

    def with_memory(self, memory: Any) -> Potential:
        return self.replace(k=memory)  # type: ignore[attr-defined]

    def learn(self, systems: Any, neighbors: Any) -> Any:
        return 2.0 * self.k, jnp.zeros(len(systems.positions))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Askew(fault="forces"), "forces are not minus the slope"),
        (lambda: Askew(fault="translation"), "against translation_invariant"),
        (lambda: Askew(fault="padding"), "masked out"),
        (lambda: Forgetful([[0, 1]], k=1.0, length=2.0), "is not the work it returns"),
    ],
)
def test_broken_rules_are_named(make: Callable[[], Potential], message: str) -> None:
    loose = PAIR.copy()
    loose.pbc = False
    loose.cell = None
    with pytest.raises(AssertionError, match=message):
        check_potential(make(), loose)
