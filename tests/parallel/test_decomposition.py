"""One system divided among eight devices is the same system: energies, forces, stress, trajectory; refusals."""

from __future__ import annotations

from typing import Any

import pytest

import apart


def report(*parts: str) -> dict[str, Any]:
    """What `divided.py` prints."""
    found = apart.report("divided.py", *parts, devices=8)
    assert found["devices"] == 8
    return found


def same(found: dict[str, float]) -> None:
    """Sums in another order and no more: 1e-12 of the largest force."""
    assert found["largest_force"] > 0.01
    limit = 1e-12 * max(1.0, found["largest_force"])
    assert found["forces"] < limit
    assert found["stress"] < limit
    assert found["energy"] < 1000.0 * limit


@pytest.mark.more
def test_a_network_is_divided_in_all_directions_and_refusals_are_said() -> None:
    """In a slanted cell, atoms some cells away."""
    found = report("network", "refusals")
    same(found["network"])
    messages = found["refusals"]
    assert "jax sees 8" in messages["many"]
    assert "shape = (3, 2, 1) must be three integers whose product is the number of dev" in messages["shape"]
    assert "divided among devices already" in messages["twice"]
    assert "divides direction c, which is not periodic" in messages["open"]
    assert "replicas" in messages["replicas"]


@pytest.mark.slow
def test_pairs_meshes_and_sums_of_terms_are_divided() -> None:
    found = report("pairs", "p3m", "sum")
    for name in ("pairs", "p3m", "sum"):
        same(found[name])


@pytest.mark.slow
def test_a_trajectory_is_that_of_one_device() -> None:
    """100 steps with new lists, messages and owners on the way, and a resume: rounding of 1e-14 Å grows to 1e-10."""
    found = report("trajectories")["trajectories"]
    assert found["frames"][0] == found["frames"][1]
    assert found["moved"] > 1.0  # several times half the skin
    assert found["deviation"] < 1e-9
