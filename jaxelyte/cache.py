"""Where compiled code is kept between runs, what it is compiled for, and the programs that jax keeps there."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import platform
import shutil
import time
import zlib
from functools import cache
from pathlib import Path
from typing import Any

FOLDER, SHORTEST = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
"""What jax reads from the environment."""

LARGEST = 4 * 2**30
"""Bytes of kept programs above which those that were not used for longest are removed, down to half."""

ROOM = 2**30
"""Bytes that have to be free on the disk for programs to be kept."""

ZSTANDARD = b"\x28\xb5\x2f\xfd"
"""How a file begins that zstandard made, which jax compresses with where it is installed."""

UNFINISHED = 600.0
"""Seconds for which an entry that cannot be read may be one that another process is still writing."""


def cache_folder() -> Path | None:
    """``JAXELYTE_CACHE`` or ``~/.cache/jaxelyte``; it need not exist. None for ``JAXELYTE_CACHE=0``: nothing is kept.

    Raises:
        RuntimeError: there is no home directory.
    """
    given = os.environ.get("JAXELYTE_CACHE")
    if given == "0":
        return None
    return Path(given or Path.home() / ".cache" / "jaxelyte")


def programs_folder() -> Path | None:
    """For the programs that XLA compiles, which know the instructions of one kind of processor.

    Raises:
        RuntimeError: there is no home directory.
    """
    folder = cache_folder()
    return None if folder is None else folder / f"programs-{hashlib.sha256(processor().encode()).hexdigest()[:12]}"


@cache
def processor() -> str:
    """What code is compiled for: a folder may be shared by machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()} {platform.system()} {told}"


@cache
def keep_programs() -> Path | None:
    """Let jax keep the programs that it compiles, so that the next process reads them; once in a process.

    This is the only setting of jax that the library makes, and it is made only where the user has made none: neither
    ``JAX_COMPILATION_CACHE_DIR`` nor ``jax.config`` names a folder, the cache is not disabled, and ``JAXELYTE_CACHE``
    is not 0. It holds for all programs of the process, those of the user's own included.

    Returns:
        The folder, or None where jax's settings were left alone.
    """
    import jax

    config: Any = jax.config
    if FOLDER in os.environ or config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return None
    folder = usable_folder()
    if folder is not None:
        config.update("jax_compilation_cache_dir", str(folder))
        if SHORTEST not in os.environ:
            # A start takes some hundred small programs, which together take longer than a large one.
            config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder


def keep_programs_of_command() -> None:
    """The same for a process that has not imported jax yet, which reads both when it is imported."""
    if FOLDER in os.environ:
        return
    folder = usable_folder()
    if folder is not None:
        os.environ[FOLDER] = str(folder)
        os.environ.setdefault(SHORTEST, "0")


def usable_folder() -> Path | None:
    """`programs_folder`, made and tidied; None where it cannot be written or less than `ROOM` bytes are left there."""
    try:
        folder = programs_folder()
        if folder is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK) or shutil.disk_usage(folder).free < ROOM:
            return None
        tidy(folder)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    return folder


def tidy(folder: Path) -> None:
    """Remove kept programs that cannot be read (jax would warn of them for ever), and the oldest of too many.

    Entries are written in place: a process that was killed, or a full disk, leaves part of one. Those are looked at
    that were written since the last call.
    """
    stamp, now = folder / "checked", time.time()
    last = stamp.stat().st_mtime if stamp.exists() else 0.0
    entries, until = [], now
    for path in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            found = path.stat()
            if found.st_mtime >= last and not _readable(path):
                if now - found.st_mtime > UNFINISHED:
                    path.unlink()
                    continue
                until = min(until, found.st_mtime)
            entries.append((max(found.st_atime, found.st_mtime), found.st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries) if total > LARGEST else []:
        if total <= LARGEST // 2:
            break
        path.unlink(missing_ok=True)
        total -= size
    stamp.touch()
    os.utime(stamp, (until, until))


def _readable(path: Path) -> bool:
    """Whether an entry is complete, as far as can be told with what is installed."""
    content = path.read_bytes()
    try:
        if content.startswith(ZSTANDARD):
            importlib.import_module("zstandard").ZstdDecompressor().decompress(content)
        else:
            zlib.decompress(content)
    except ImportError:
        return True
    except Exception:  # noqa: BLE001 - errors of either library
        return False
    return True
