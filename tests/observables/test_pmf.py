"""Potentials of mean force: closed forms, errors, features, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte import units
from jaxelyte.errors import InputError
from toys import gas

KT = units.BOLTZMANN * 300.0


def ions(noise: float = 0.0) -> jxl.RDFResult:
    """g = exp(-w / k_B T): wells of 2 and 0.5 k_B T at 2.8 and 5 Å, a barrier of 1 k_B T at 3.8 Å, nothing inside."""
    edges = np.linspace(0.0, 10.0, 401)
    r = 0.5 * (edges[1:] + edges[:-1])

    def bump(center: float, width: float) -> np.ndarray:
        return np.exp(-((r - center) ** 2) / (2 * width**2))

    w = -2.0 * bump(2.8, 0.2) + 1.0 * bump(3.8, 0.25) - 0.5 * bump(5.0, 0.3)
    g = np.where(r > 2.0, np.exp(-w), 0.0)
    rng = np.random.default_rng(0)
    stretches = g * (1.0 + noise * rng.normal(size=(16, 1, len(r))))
    none = np.full_like(g, np.nan)
    return jxl.RDFResult(
        pairs=(("Na", "Cl"),),
        edges=edges,
        g=stretches.mean(axis=(0, 1)),
        error=stretches[:, 0].std(axis=0, ddof=1) / 4.0,
        coordination=none,
        coordination_error=none,
        samples=16,
        replicas=1,
        density=np.ones(1),
        stretches=stretches,
    )


def test_wells_and_barrier_are_found() -> None:
    found = jxl.pmf(ions(), 300.0)
    assert found.contact.position == pytest.approx(2.8, abs=0.02)
    assert found.contact.energy == pytest.approx(-2.0 * KT, rel=0.02)
    assert found.barrier.position == pytest.approx(3.8, abs=0.02)
    assert found.barrier.energy == pytest.approx(KT, rel=0.03)
    assert found.separated.position == pytest.approx(5.0, abs=0.02)
    assert found.separated.energy == pytest.approx(-0.5 * KT, rel=0.03)
    assert np.all(np.isinf(found.value[found.r < 2.0]))
    assert np.all(np.isnan(found.error[found.r < 2.0]))


def test_errors_are_those_of_the_logarithm() -> None:
    """g with a relative error of 8 % / √16 in each bin: k_B T times that, whatever g is."""
    found = jxl.pmf(ions(0.08), 300.0)
    assert np.mean(found.error[found.r > 2.0]) == pytest.approx(KT * 0.02, rel=0.05)
    assert 0.0 < found.contact.energy_error < KT * 0.02  # a fit through several bins knows it better


def test_short_range_part_is_without_coulomb() -> None:
    found = jxl.pmf(ions(), 300.0, charges={"Na": 1.0, "Cl": -1.0}, permittivity=78.3)
    assert found.short_range is not None
    far = found.r > 7.0
    assert np.allclose(found.short_range[far], 14.399645478 / 78.3 / found.r[far], atol=1e-7)


def test_published_pair_potential_comes_back(reference: Path) -> None:
    """Dilute ions: the contact minimum of the published run at 2.4 M is that of its height, 3.02."""
    r, _, g, _ = np.loadtxt(reference / "licl_ions" / "rdf_2.4M.dat").T
    table = ions()
    step = r[1] - r[0]
    result = replace(table, pairs=(("Li", "Cl"),), edges=np.append(r - step / 2, r[-1] + step / 2), g=g)
    result = replace(result, error=np.full_like(g, 0.01), stretches=np.repeat(g[None, None], 4, axis=0))
    found = jxl.pmf(result, 300.0)
    assert found.contact.energy == pytest.approx(-KT * np.log(3.02), rel=0.02)
    assert found.contact.position == pytest.approx(4.53, abs=0.02)


def test_ideal_gas_is_flat() -> None:
    result = jxl.rdf(gas(["Na"] * 20 + ["Cl"] * 20, np.eye(3) * 12.0, 200, replicas=2), "Na", "Cl", width=0.5)
    found = jxl.pmf(result, 300.0)
    inside = found.r > 1.5
    assert np.all(np.abs(found.value[inside]) < 4.5 * found.error[inside])


def test_results_are_written(tmp_path: Path) -> None:
    found = jxl.pmf(ions(0.02), 300.0, charges={"Na": 1.0, "Cl": -1.0}, permittivity=78.3)
    found.to_csv(tmp_path / "w.csv")
    found.to_json(tmp_path / "w.json")
    table = np.loadtxt(tmp_path / "w.csv", delimiter=",", skiprows=1)
    assert np.allclose(table[:, 3], found.short_range)
    content = json.loads((tmp_path / "w.json").read_text())
    assert content["contact"]["energy_eV"] == found.contact.energy
    assert "meV" in found.plot().get_ylabel()
    assert "contact" in repr(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": 300.0, "charges": {"Na": 1.0, "Cl": -1.0}}, "both charges and permittivity"),
        ({"temperature": 300.0, "charges": {"Na": 1.0}, "permittivity": 78.0}, "lack one of the pair"),
    ],
)
def test_bad_input(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        jxl.pmf(ions(), **options)


def test_several_pairs_are_refused() -> None:
    one = ions()
    two = replace(one, pairs=(("Na", "Cl"), ("Na", "Na")), g=np.stack([one.g, one.g]))
    with pytest.raises(InputError, match="pick one"):
        jxl.pmf(two, 300.0)
