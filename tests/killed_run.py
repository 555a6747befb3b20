"""A run in a process of its own, for `test_resume` and `test_moments`: it is killed there.

Usage: python killed_run.py FOLDER STEPS PAUSE THERMOSTAT [AT]. ``PAUSE`` seconds after each checkpoint give the test
time to kill; with ``AT`` the process kills itself in its AT-th operation on files.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

from ase.build import bulk  # noqa: E402

from jaxelyte.dynamics import NVT, simulate  # noqa: E402
from jaxelyte.dynamics.runner import Runner  # noqa: E402
from jaxelyte.observables import RDF, Distance  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from full_disk import kill_at  # noqa: E402
from toys import Argon  # noqa: E402


def run(folder: Path, steps: int, thermostat: str = "langevin") -> None:
    """The run of the tests: two replicas, an observable, every kind of file."""
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True).repeat(3)
    simulate(
        Argon(exact=True),
        atoms,
        NVT(120.0, thermostat),
        steps=steps,
        timestep=4.0,
        every=20,
        sample_every=5,
        observables={"rdf": RDF([("Ar", "Ar")], r_max=7.0), "pair": Distance((0, 1))},
        seed=11,
        replicas=2,
        output=folder,
        save_velocities=True,
        extxyz=True,
        chunk=33,
        progress=False,
        resume=True,
    )


def pause_after_checkpoints(seconds: float) -> None:
    """Slow the run down where it can be killed."""
    original = Runner.checkpoint

    def checkpoint(self: Runner) -> None:
        original(self)
        time.sleep(seconds)

    Runner.checkpoint = checkpoint  # type: ignore[method-assign]


if __name__ == "__main__":
    pause_after_checkpoints(float(sys.argv[3]))
    if len(sys.argv) > 5:
        kill_at(int(sys.argv[5]))
    run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[4])
