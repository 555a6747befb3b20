"""How many programs this process has compiled, as jax reports it."""

from __future__ import annotations

from typing import Any

import jax


class CompileCount:
    """Number of programs that this process has compiled or read from the cache on disk."""

    def __init__(self) -> None:
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def _hear(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


COMPILED = CompileCount()
