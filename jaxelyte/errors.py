"""Errors that users meet. Each message names the offending value and the remedy."""

from __future__ import annotations

from typing import Any


class JaxelyteError(Exception):
    """Base class of the errors that the library raises on purpose."""


class InputError(JaxelyteError, ValueError):
    """An argument, file or configuration that cannot be used, found before any compilation."""


class MissingError(InputError, KeyError, IndexError):
    """Something that a result does not hold, such as a pair; also what Python raises for a missing key or index."""

    __str__ = Exception.__str__  # that of KeyError is a repr


class UnsupportedError(InputError):
    """A valid request that this version does not implement; the message names it."""


class SimulationError(JaxelyteError, RuntimeError):
    """A run that cannot go on (energy not finite, atoms overlapping); everything before it is kept.

    Attributes:
        step: step at which it ended, or None where it did not start.
        replica: replica that broke down.
        run: the `Run` up to there, or None.
        frames: of the chunk that failed, for the run loop.
    """

    def __init__(self, message: str, *, step: int | None = None, replica: int = 0) -> None:
        super().__init__(message)
        self.step, self.replica = step, replica
        self.run: Any = None
        self.frames: Any = None


class StorageError(JaxelyteError, OSError):
    """A file that cannot be written (disk full, no permission, folder gone); everything written before is kept."""


class DownloadError(JaxelyteError, OSError):
    """Published data that cannot be downloaded, or are not what they should be; nothing of them is kept."""


class RunInterruptedError(JaxelyteError, RuntimeError):
    """A run was stopped by the user before there was anything to evaluate; what was done is kept, and can go on."""


class TrainingError(JaxelyteError, RuntimeError):
    """Training that cannot go on (a loss that is not finite); the last good state is kept."""
