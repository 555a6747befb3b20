"""Which atoms are of which species, checked once on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.system import System


def shared_numbers(systems: System, what: str) -> np.ndarray:
    """Atomic numbers (atoms,) that all replicas share, 0 for padding.

    Args:
        systems: one system or a batch.
        what: is computed, for the error.

    Raises:
        UnsupportedError: replicas with the species in another order.
    """
    several = np.asarray(systems.numbers).reshape(-1, systems.num_atoms)
    present = np.asarray(systems.mask).reshape(-1, systems.num_atoms)
    return same_order(np.where(present, several, 0), what)


def same_order(numbers: np.ndarray, what: str) -> np.ndarray:
    """Atomic numbers (atoms,) that all rows of (replicas, atoms) share.

    Args:
        numbers: of each replica.
        what: is computed, for the error.

    Raises:
        UnsupportedError: replicas with the species in another order.
    """
    if np.any(numbers != numbers[0]):
        raise UnsupportedError(
            f"replicas with different species, or the same in another order, cannot share one {what}; sort the atoms "
            "of all of them alike, or analyse them one by one"
        )
    return numbers[0]


def check_symbols(symbols: Sequence[str], example: str) -> None:
    """Raise `InputError` unless all are chemical symbols; ``example`` says how to write them."""
    from ase.data import atomic_numbers

    for symbol in symbols:
        if not isinstance(symbol, str) or symbol not in atomic_numbers or symbol == "X":
            near = checks.near_symbol(symbol)
            raise InputError(f"{checks.shown(symbol)} is not a chemical symbol{near}; write {example}")


def check_present(symbols: Sequence[str], numbers: np.ndarray) -> None:
    """Raise `InputError` unless all species are among the atomic numbers of a system, 0 for padding."""
    from ase.data import atomic_numbers, chemical_symbols

    for symbol in symbols:
        if atomic_numbers[symbol] not in numbers:
            there = sorted({chemical_symbols[z] for z in numbers[numbers > 0]})
            raise InputError(f"there is no {symbol} in the system, which holds {', '.join(there)}")
