"""Programs in processes of their own, on some CPU devices: XLA counts devices once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent


def environment(devices: int) -> dict[str, str]:
    """Of a process with so many CPU devices, which finds the helpers of the tests."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    places = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(places)}


def report(script: str, *arguments: str, devices: int) -> Any:
    """What a script of ``tests/parallel`` prints last, from JSON."""
    command = [sys.executable, str(TESTS / "parallel" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(devices))
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
