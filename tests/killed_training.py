"""A training run in a process of its own, for `test_resume` and `test_moments`: it is killed there.

Usage: python killed_training.py FRAMES FOLDER PAUSE [AT]. ``PAUSE`` seconds after each checkpoint let the test kill it;
with ``AT`` the process kills itself in its AT-th operation on files.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).parent))
jax.config.update("jax_enable_x64", True)

import jaxelyte as jxl  # noqa: E402
from full_disk import kill_at  # noqa: E402
from jaxelyte.training.folder import TrainFolder  # noqa: E402


def run(frames: Path, folder: Path) -> jxl.Fit:
    """Eight epochs, with all that has to survive: optimiser, moving average, the plateau rule, the order of frames."""
    model = jxl.NequIP(r_max=4.0, num_layers=1, l_max=1, num_features=4, num_basis=4, invariant_neurons=8)
    return jxl.train(
        jxl.read(frames),
        model,
        epochs=8,
        batch_size=3,
        validation=2,
        optimization=jxl.Optimization(schedule="plateau", patience=0, learning_rate=0.1),
        output=folder,
        resume=True,
        progress=False,
    )


def pause_after_checkpoints(seconds: float) -> None:
    """Slow training down where it can be killed."""
    original = TrainFolder.save

    def save(self: TrainFolder, *arguments: Any) -> None:
        original(self, *arguments)
        time.sleep(seconds)

    TrainFolder.save = save  # type: ignore[method-assign]


if __name__ == "__main__":
    pause_after_checkpoints(float(sys.argv[3]))
    if len(sys.argv) > 4:
        kill_at(int(sys.argv[4]))
    run(Path(sys.argv[1]), Path(sys.argv[2]))
