"""Replicas on several devices are the same replicas: trajectories, exchange, resume on other devices, refusals."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import apart
from jaxelyte.neighbors.loop import ListPlan
from jaxelyte.parallel.replicas import over_devices


@pytest.mark.slow
def test_windows_on_four_devices_are_those_of_one() -> None:
    """Eight windows that exchange structures; sums in another order grow from 1e-15 to at most 1e-10 in 200 steps."""
    found = apart.report("shared.py", devices=4)
    assert found["devices"] == 4
    assert found["exchanged"]
    assert found["windows"]
    assert found["moved"] > 0.1
    assert found["energies"] < 1e-10
    assert found["positions"] < 1e-10
    assert found["resumed"] < 1e-10
    assert found["compilations"] == 1 + found["repeats"]
    assert "6 replicas cannot be divided evenly among 4 devices; take 8 replicas" in found["refusal"]


@pytest.mark.more
def test_networks_on_four_devices_are_those_of_one() -> None:
    """In their compiled form, whose derivatives have to know that they are divided."""
    found = apart.report("shared.py", "networks", devices=4)
    assert found["apart"] < 1e-12
    assert found["moved"] > 0.01


def test_what_is_cut_along_the_replicas() -> None:
    """Arrays with a leading axis of replicas are divided, all others are copies."""
    plan = over_devices(ListPlan((), 1.0), 8, (jax.devices()[0],))
    assert plan.sharding(np.zeros((8, 3))).spec == PartitionSpec("replicas")
    for other in (np.zeros((3, 8)), np.zeros(5), np.zeros(())):
        assert plan.sharding(other).spec == PartitionSpec()
