"""Step counts that the package chooses end with a frame; those of the user are left alone."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.free_energy import mixing, umbrella
from jaxelyte.free_energy.frames import rounded_up, whole_frames

WARM = jxl.NVT(300.0, "langevin")


class StoppedError(Exception):
    """Instead of a run."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `simulate` is called with, which ends the call."""
    found: list[dict[str, Any]] = []

    def recorded(*_: Any, **options: Any) -> None:
        found.append(options)
        raise StoppedError

    for module in (mixing, umbrella, sys.modules["jaxelyte.free_energy.metadynamics"]):
        monkeypatch.setattr(module, "simulate", recorded)
    return found


def test_steps_are_rounded_up_unless_the_user_chose_the_frames() -> None:
    options = {"every": np.int64(40), "seed": 1}
    assert whole_frames(2050, 10, {}, 10) == (100, 2100)
    assert whole_frames(50, 10, {}, 10) == (100, 100)
    assert whole_frames(2000, 10, {}, 10) == (100, 2000)
    assert whole_frames(2050, 10, options, 10) == (40, 2050)
    assert options == {"seed": 1}
    assert rounded_up(2050 / 4, 100) == 600
    with pytest.raises(jxl.InputError, match="every must be"):
        whole_frames(2050, 10, {"every": "often"}, 10)


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.parametrize("given", [{}, {"every": 50}])
def test_windows_end_with_a_frame(calls: list[dict[str, Any]], adapt: bool, given: dict[str, int]) -> None:
    """A pilot of a quarter of 2,050 steps as well."""
    atoms = Atoms("Ar", [[1.0, 1.0, 1.0]])
    ends = [jxl.HarmonicRestraint(atoms.positions, k) for k in (1.0, 2.0)]
    with pytest.raises(StoppedError):
        jxl.free_energy(*ends, atoms, WARM, windows=3, steps=2050, adapt=adapt, timestep=2.0, **given)
    assert calls[0]["steps"] % calls[0]["every"] == 0
    assert calls[0]["steps"] >= (2050 / 4 if adapt else 2050)
    assert calls[0]["every"] == (50 if given and not adapt else 100)


def test_biased_runs_end_with_a_frame(calls: list[dict[str, Any]]) -> None:
    pair = Atoms("NaCl", [[0, 0, 0], [0, 0, 5.0]])
    spheres = jxl.LennardJones({"Na": 2.4, "Cl": 3.6}, {"Na": 0.03, "Cl": 0.03}, cutoff=9.0)
    with pytest.raises(StoppedError):
        jxl.umbrella_sampling(spheres, pair, (0, 1), WARM, centers=[3.0, 4.0], k=0.5, steps=2050, timestep=2.0)
    with pytest.raises(StoppedError):
        jxl.metadynamics(
            spheres, pair, (0, 1), WARM, upper=8.0, steps=2050, timestep=2.0, height=0.01, width=0.2, stride=100
        )
    assert all(call["steps"] % call["every"] == 0 for call in calls)
    assert calls[0]["steps"] - calls[0]["equilibration"] == 3000
    assert calls[1]["steps"] == 3000
