"""One system on the devices of several processes (`jax.distributed`) is the system on one device."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import apart


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("localhost", 0))
        return made.getsockname()[1]


def positions(folder: Path, count: int) -> np.ndarray:
    """Of the frames that the first of ``count`` processes keeps."""
    folder.mkdir()
    address = f"localhost:{free_port()}"
    script = str(Path(__file__).with_name("processes.py"))
    started = [
        subprocess.Popen(
            [sys.executable, script, address, str(count), str(number), str(folder)],
            env=apart.environment(2),
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    try:
        ended = [one.communicate(timeout=300)[1] for one in started]
    finally:
        for one in started:
            one.kill()
    assert all(one.returncode == 0 for one in started), "\n".join(text[-2000:] for text in ended)
    assert (folder / "run" / "summary.json").exists()
    return np.load(folder / "positions.npy")


@pytest.mark.more
def test_two_processes_with_two_devices_each(tmp_path: Path) -> None:
    """A network, 40 steps with a thermostat; sums in another order."""
    alone, together = positions(tmp_path / "one", 1), positions(tmp_path / "two", 2)
    assert np.abs(alone[-1] - alone[0]).max() > 0.1
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
