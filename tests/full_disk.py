"""Moments that no program chooses, for tests: the disk fills up after some bytes, or the process is killed."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def full_disk(room: float) -> Iterator[None]:
    """Let ``room`` more bytes be written; a write that does not fit is cut short, as systems do, and the next fails."""
    left = [room]
    pwrite, make = os.pwrite, Path.open

    def take(size: int) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fits = int(min(size, left[0]))
        left[0] -= size
        return fits

    def short_pwrite(descriptor: int, data: Any, offset: int) -> int:
        view = memoryview(data).cast("B")
        return pwrite(descriptor, view[: take(len(view))], offset)

    class Limited(io.BufferedWriter):
        def write(self, data: Any) -> int:
            if take(len(memoryview(data).cast("B"))) < len(memoryview(data).cast("B")):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def limited_open(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if mode == "wb":
            return Limited(io.FileIO(self, "w"))
        if mode in ("w", "a"):
            return io.TextIOWrapper(Limited(io.FileIO(self, mode)), encoding="utf-8")
        return make(self, mode, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", short_pwrite)
        patch.setattr(Path, "open", limited_open)
        yield


def kill_at(count: int) -> None:
    """Kill this process (``kill -9``) in its ``count``-th operation that changes a file; in a write, half way."""
    left = [count]

    def counting(original: Any) -> Any:
        def operation(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if original is pwrite:
                    descriptor, data, offset = arguments
                    view = memoryview(data).cast("B")
                    pwrite(descriptor, view[: len(view) // 2], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return operation

    pwrite = os.pwrite
    for owner, name in (
        *((os, name) for name in ("pwrite", "fsync", "ftruncate", "open", "replace", "rename", "unlink", "close")),
        *((Path, name) for name in ("replace", "rename", "unlink", "mkdir", "write_bytes")),
    ):
        setattr(owner, name, counting(getattr(owner, name)))
