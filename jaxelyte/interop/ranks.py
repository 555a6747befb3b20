"""Work that one MPI rank does for all, with its errors raised on each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from jaxelyte.errors import JaxelyteError, SimulationError

Part = TypeVar("Part")
Answer = TypeVar("Answer")


class Alone:
    """One rank, with what is used here of mpi4py's communicators."""

    def Get_size(self) -> int:  # noqa: N802  mpi4py's name
        """One."""
        return 1

    def gather(self, part: Any) -> list[Any]:
        """What the ranks hold, on rank 0."""
        return [part]

    def scatter(self, parts: Any) -> Any:
        """What rank 0 has for this rank."""
        return parts[0]


class RootWork(Generic[Part, Answer]):
    """Collects a part of each rank on rank 0, and spreads what is computed there of them.

    Args:
        comm: communicator of mpi4py, or `Alone`.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm

    def __call__(self, part: Part, compute: Callable[[list[Part]], list[Answer]]) -> Answer:
        """All ranks have to call together.

        Args:
            part: of this rank.
            compute: from the parts of all ranks to the answers to all ranks, in their order; called on rank 0 only.

        Raises:
            BaseException: what ``compute`` raised, on rank 0. On the other ranks its text, as the same kind of error if
                it is one of the library's, else as a SimulationError.
        """
        parts = self._comm.gather(part)
        if parts is None:
            answer, kind, problem = self._comm.scatter(None)
            if kind is not None:
                raise kind(f"on rank 0: {problem}")
            return answer
        size = self._comm.Get_size()
        try:
            answers = compute(parts)
        except BaseException as error:
            kind = type(error) if isinstance(error, JaxelyteError) else SimulationError
            self._comm.scatter([(None, kind, str(error))] * size)
            raise
        return self._comm.scatter([(answer, None, "") for answer in answers])[0]
