"""Sizes in another unit than Å are refused before anything is compiled; what is ordinary passes."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.errors import InputError
from jaxelyte.neighbors.search import image_offsets
from jaxelyte.observables.effort import images_within
from jaxelyte.system import System

EDGE = 11.7
WATER = np.repeat([8, 1, 11, 17], [64, 128, 2, 2])


def system(edge: float = EDGE, numbers: np.ndarray = WATER, *, periodic: bool = True) -> System:
    positions = np.random.default_rng(0).random((len(numbers), 3)) * edge
    return System(
        jnp.asarray(positions),
        jnp.asarray(numbers, jnp.int32),
        jnp.ones(len(numbers)),
        jnp.eye(3) * edge,
        jnp.ones(len(numbers), bool),
        (periodic, periodic, periodic),
    )


@pytest.mark.parametrize("radius", [3.0, 5.9, 12.0, 30.0])
def test_images_are_those_of_the_search(radius: float) -> None:
    cell = np.array([[[9.0, 0, 0], [3.0, 10.0, 0], [-2.0, 4.0, 11.0]]])
    for pbc in ((True, True, True), (True, False, True)):
        assert images_within(cell, pbc, radius) == len(image_offsets(cell, pbc, radius))


@pytest.mark.parametrize(
    ("observable", "message"),
    [
        (jxl.RDF(("O", "O"), r_max=600.0), r"1,092,727 images .* if 600 is in pm, write 6"),
        (jxl.RDF(("Na", "Cl"), r_max=585.0), "if 585 is in pm, write 5.85"),
        (jxl.RDF(("O", "O"), width=1e-5), "makes .* bins"),
        (jxl.Angles(("O", "Na", "O"), 350.0), "if 350 is in pm, write 3.5"),
        (jxl.Angles(("O", "O", "O"), 60.0), "triplets in each sample"),
        (jxl.StructureFactor(k_max=25.0, width=0.1), r"takes .* waves"),
    ],
)
def test_other_units_are_refused(observable: Any, message: str) -> None:
    big = system(40.0, np.repeat([8, 11, 17], [3000, 20, 20])) if "waves" in message else system()
    with pytest.raises(InputError, match=message):
        observable.validate(big)
    with pytest.raises(InputError, match=message):
        observable.prepare(big)


def test_bins_and_waves_in_other_units() -> None:
    with pytest.raises(InputError, match="makes 200,000 bins"):
        jxl.RDF(("O", "O"), bins=200_000)
    with pytest.raises(InputError, match="makes 200,000 bins"):
        jxl.Angles(("O", "O", "O"), 3.0, bins=200_000)
    with pytest.raises(InputError, match="bins"):
        jxl.StructureFactor(k_max=10.0, width=1e-5)
    with pytest.warns(UserWarning, match="write 10, if it is in 1/nm"):
        jxl.StructureFactor(k_max=100.0)


def test_ordinary_sizes_pass() -> None:
    crystal = system(4.0, np.array([11, 17]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for observable in (
            jxl.RDF(("O", "H"), r_max=9.0, width=0.005),
            jxl.Angles(("O", "Na", "O"), 6.0),
            jxl.StructureFactor(k_max=25.0, width=0.05),
        ):
            observable.validate(system())
        jxl.RDF(("Na", "Cl"), r_max=40.0).validate(crystal)


def test_a_run_is_refused_before_it_starts() -> None:
    argon = Atoms("Ar4", np.eye(4, 3) * 5.0 + 1.0, cell=np.eye(3) * EDGE, pbc=True)
    with pytest.raises(InputError, match="images of the cell"):
        jxl.simulate(
            jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.01}, cutoff=5.0),
            argon,
            jxl.NVE(),
            steps=10,
            timestep=1.0,
            observables={"g": jxl.RDF(("Ar", "Ar"), r_max=600.0)},
        )


def test_distributions_without_pairs_are_told() -> None:
    frames = jxl.Trajectory(
        np.array([[[[0.0, 0, 0], [5.0, 5, 5]]]]),
        np.array([11, 17]),
        np.ones(2),
        np.eye(3) * 10.0,
        (True, True, True),
        np.arange(1),
        np.arange(1.0),
    )
    with pytest.warns(UserWarning, match="no pair Na-Cl came within 0.6 Å in 1 sample, .* is 0.6 in nm"):
        found = jxl.rdf(frames, "Na", "Cl", r_max=0.6, bins=3)
    empty = jxl.pmf(found, 300.0)
    assert np.all(np.isinf(empty.value))
    assert empty.plot().get_xlabel() == "r / Å"
    assert "contact: none" in repr(empty)
