"""What results and objects show of themselves on the screen: short, whatever they hold."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.arrays import HashableArray, brief
from jaxelyte.data.split import Split
from jaxelyte.gradients.reweighting import Average
from jaxelyte.observables.velocity import VACFResult
from jaxelyte.potentials.derivatives import EnergyForces
from jaxelyte.theory import IonModel
from jaxelyte.training.evaluate import Evaluation

LONGEST = 600
LAGS = np.arange(900.0)
PAIRS = tuple((a, b) for a in ("O", "H", "Na", "Cl", "K", "Br", "Li") for b in ("O", "H", "Na", "Cl", "K", "Br", "Li"))


def rdf_result() -> jxl.RDFResult:
    many, edges = np.ones((len(PAIRS), 300)), np.linspace(0.0, 12.0, 301)
    ends = np.where(np.arange(300) == 80, 3.0, many)
    return jxl.RDFResult(PAIRS, edges, ends, many, many, many, 10, 1, np.ones(len(PAIRS)), np.stack([ends] * 5))


def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    frames, atoms = 40, 192
    return Evaluation(
        symbols=np.array(["O", "H", "H"] * (frames * atoms // 3)),
        frame_of=np.repeat(np.arange(frames), atoms),
        energies=rng.normal(size=(frames, 2)),
        forces=rng.normal(size=(frames * atoms, 3, 2)),
        stresses=np.full((frames, 3, 3, 2), np.nan),
        sizes=np.full(frames, atoms),
        formulas=np.array(["H128O64"] * frames),
    )


def potentials() -> dict[str, jxl.Potential]:
    bonds = np.arange(8000).reshape(-1, 2)
    springs = jxl.HarmonicBonds(bonds, k=np.ones(4000), length=np.ones(4000))
    species = {name: 2.0 + 0.1 * n for n, name in enumerate(("O", "H", "Na", "Cl", "K", "Br", "Li", "F"))}
    spheres = jxl.LennardJones(species, dict.fromkeys(species, 0.005), exclusions=bonds)
    charges = jxl.ScreenedCoulomb(dict.fromkeys(species, 0.0), permittivity=1.0, exclusions=bonds)
    return {
        "bonds": springs,
        "lennard-jones": spheres,
        "coulomb": charges,
        "anchors": jxl.HarmonicRestraint(np.ones((500, 3)), np.ones(500), indices=np.arange(500)),
        "sum": springs + spheres + charges,
        "mixture": jxl.mix(springs + spheres, charges, 0.5),
    }


def objects() -> dict[str, Any]:
    curve = jxl.MSDResult.from_arrays(LAGS, np.ones((8, 900)) * LAGS, species="Na")
    rows = [{"loss": 1.0, "error": 0.1, "noise": 0.1, "targets": {"a": 1.0, "b": 2.0}} for _ in range(300)]
    spheres = potentials()["sum"]
    system = jxl.System(
        jnp.ones((400, 3)), jnp.ones(400, jnp.int32), jnp.ones(400), jnp.eye(3), jnp.ones(400, bool), (True, True, True)
    )
    radii = np.linspace(1.0, 10.0, 900)
    tables = {pair: np.ones(900) for pair in (("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl"))}
    return potentials() | {
        "msd": curve,
        "diffusivity": curve.diffusivity(),
        "vacf": VACFResult("Na", LAGS, LAGS, LAGS, np.ones((8, 900))),
        "evaluation": evaluation(),
        "fit of observables": jxl.ObservablesFit(spheres, rows, 4),
        "rdf": rdf_result(),
        "pmf": jxl.pmf(rdf_result()["O", "Na"], 300.0),
        "kirkwood-buff": jxl.kirkwood_buff(rdf_result(), box_length=20.0),
        "series": jxl.SeriesResult(tuple(f"{n}-{n + 1}" for n in range(200)), "Å", 1.0, 1.0, np.ones((50, 2, 200))),
        "no series": jxl.SeriesResult(("a",), "Å", 1.0, 1.0, np.ones((0, 2, 1))),
        "system": system,
        "forces": EnergyForces(jnp.ones(()), jnp.ones((300, 3))),
        "average": Average(np.ones((3, 300)), np.ones((3, 300)), 12.0, 15.0),
        "target": jxl.Target(lambda *_: jnp.ones(900), np.ones(900), np.ones(900)),
        "split": Split(LAGS, LAGS, LAGS),
        "ions": IonModel({"Na": 1.0, "Cl": -1.0}, short_range=(radii, tables)),
        "gradient": jxl.FreeEnergyGradient(spheres, spheres, spheres, spheres, None, None, (400, 400), 15.0),
    }


def test_all_are_short() -> None:
    found = {name: repr(one) for name, one in objects().items()}
    assert {name: len(text) for name, text in found.items() if len(text) > LONGEST} == {}
    assert all("object at 0x" not in text for text in found.values())


def test_values_stand_in_them() -> None:
    curve = jxl.MSDResult.from_arrays(LAGS, np.ones((8, 900)) * LAGS, species="Na")
    assert repr(curve) == "MSD of Na: 900 lags to 0.899 ps, 8 stretches; 450 Å² (no scatter) at 0.45 ps"
    one = evaluation()
    rmse = 1e3 * np.sqrt(np.mean((one.forces[..., 1] - one.forces[..., 0]) ** 2))
    assert "40 frames, 7,680 atoms; RMSE: energy" in repr(one)
    assert f"forces {rmse:.1f} ±" in repr(one)
    assert "stress" not in repr(one)
    assert "best 4 with loss 1.00 ± 0.10" in repr(objects()["fit of observables"])
    assert "41 more pairs" in repr(rdf_result())
    assert "[4000, 2]" in repr(potentials()["bonds"])


def test_no_text_writes_numbers_that_say_nothing() -> None:
    """Errors that are unknown or zero, and one of a thing, have words of their own."""
    nothing = re.compile(r"\bnan\b|± 0(\.0*)?(?![.\d])|\b1 (?![fp]s\b)\w+s\b|\(s\)")
    for name, one in objects().items():
        assert not nothing.search(repr(one)), f"{name}: {one!r}"


def test_entries_are_cut() -> None:
    assert brief(np.float32(0.1)) == "0.10000000149011612"
    assert brief(np.array([0.1, 1 / 3])) == "[0.1, 0.333333]"
    assert brief(HashableArray(np.zeros((3, 3)))) == "float64[3, 3]"
    assert brief({"a": np.zeros(9), "b": (1,)}) == "{'a': float64[9], 'b': (1,)}"
    assert brief(tuple(range(9))) == "tuple of 9"
    assert len(brief("x" * 500)) == 60


@pytest.mark.parametrize("package", ["", ".data", ".gradients", ".observables", ".potentials", ".theory", ".training"])
def test_no_public_class_shows_whole_arrays(package: str) -> None:
    """Dataclasses that hold arrays, trees or tables have a text of their own, not the one that Python writes."""
    module = importlib.import_module(f"jaxelyte{package}")
    for name in getattr(module, "__all__", ()):
        kind = getattr(module, name)
        if not inspect.isclass(kind) or not dataclasses.is_dataclass(kind):
            continue
        if issubclass(kind, jxl.Observable):  # settings alone, which identify a run that is resumed
            continue
        held = [
            f.name for f in dataclasses.fields(kind) if any(w in str(f.type) for w in ("ndarray", "Float[", "list["))
        ]
        generated = inspect.unwrap(kind.__repr__).__code__.co_filename == "<string>"
        assert not (held and generated), f"{name} shows {held}"
