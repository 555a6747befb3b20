"""Errors that users meet. Each message names the offending value and the remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class JaxelyteError(Exception):
    """Base class of the errors that the library raises on purpose."""


class InputError(JaxelyteError, ValueError):
    """An argument, file or configuration that cannot be used; raised before any compilation."""


class ArgumentError(InputError, TypeError):
    """Arguments that a function does not have, or that it lacks; also what Python raises for them."""


class Findings:
    """Errors in the input that do not depend on each other, raised together: the user mends all of them at once."""

    def __init__(self) -> None:
        self.errors: list[InputError] = []

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Keep an error in the input that is raised within for `refuse`; what follows it there is skipped."""
        try:
            yield
        except InputError as error:
            self.errors.append(error)

    def add(self, message: str) -> None:
        """Keep an error for `refuse`."""
        self.errors.append(InputError(message))

    def refuse(self) -> None:
        """Raise what was found.

        Raises:
            InputError: the only error as it was, or one that lists all of them.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            listed = " ".join(f"({number}) {error}." for number, error in enumerate(self.errors, 1))
            raise InputError(f"{len(self.errors)} findings: {listed}") from self.errors[0]


class MissingError(InputError, KeyError, IndexError):
    """Something that a result does not hold, such as a pair; also what Python raises for a missing key or index."""

    __str__ = Exception.__str__  # that of KeyError is a repr


class UnsupportedError(InputError):
    """A valid request that this version does not implement; the message names it."""


class SimulationError(JaxelyteError, RuntimeError):
    """A run that cannot continue (energy not finite, atoms overlapping); everything before is kept.

    Attributes:
        step: step of the failure, or None if the run did not start.
        replica: replica that failed.
        run: the `Run` up to the failure, or None.
        frames: frames of the failed chunk, for the run loop.
    """

    def __init__(self, message: str, *, step: int | None = None, replica: int = 0) -> None:
        super().__init__(message)
        self.step, self.replica = step, replica
        self.run: Any = None
        self.frames: Any = None


class StorageError(JaxelyteError, OSError):
    """A file that cannot be written (disk full, no permission, folder gone); everything written before is kept."""


class DownloadError(JaxelyteError, OSError):
    """Published data that cannot be downloaded, or differ from the published files; nothing is kept."""


class RunInterruptedError(JaxelyteError, RuntimeError):
    """A run was stopped by the user before there was anything to evaluate; what was done is kept, and can go on."""


class TrainingError(JaxelyteError, RuntimeError):
    """Training that cannot continue (a loss that is not finite); the last good state is kept."""
