"""Where compiled code is kept between runs, and what it is compiled for."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


def cache_folder() -> Path:
    """``JAXELYTE_CACHE`` or ``~/.cache/jaxelyte``; it need not exist.

    Raises:
        RuntimeError: there is no home directory.
    """
    return Path(os.environ.get("JAXELYTE_CACHE") or Path.home() / ".cache" / "jaxelyte")


def programs_folder() -> Path:
    """For the programs that XLA compiles, which know the instructions of one kind of processor.

    Raises:
        RuntimeError: there is no home directory.
    """
    return cache_folder() / f"programs-{hashlib.sha256(processor().encode()).hexdigest()[:12]}"


@cache
def processor() -> str:
    """What code is compiled for: a folder may be shared by machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()} {platform.system()} {told}"
