"""Irreducible representations as plain tuples, in the order and grouping that e3nn (PyTorch) stores weights in.

e3nn-jax parses and multiplies irreps; what differs from it is the sort order (here by degree, then odd before even) and
that blocks are never merged unless `simplify` says so, because the layout of published weights depends on both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from jaxelyte.errors import InputError


class Block(NamedTuple):
    """``mul`` copies of the irrep of degree ``l`` and parity ``p`` (+1 even, -1 odd)."""

    mul: int
    l: int  # noqa: E741 - the field's own symbol
    p: int

    @property
    def dim(self) -> int:
        """Dimension of one copy, 2l + 1."""
        return 2 * self.l + 1

    @property
    def ir(self) -> tuple[int, int]:
        """The irrep (degree, parity)."""
        return (self.l, self.p)

    def __str__(self) -> str:
        return f"{self.mul}x{self.l}{'e' if self.p == 1 else 'o'}"


Irreps = tuple[Block, ...]


def parse_irreps(text: str, option: str) -> Irreps:
    """Irreps from a string such as ``"16x0e+16x1o"``.

    Args:
        text: the string; empty for no irreps.
        option: name of the option it belongs to, for the error.

    Raises:
        InputError: the string is not a sum of irreps.
    """
    terms = [re.fullmatch(r"\s*(\d+)x(\d+)([eo])\s*", term, re.ASCII) for term in text.split("+")]
    if all(terms):
        # The usual form; importing e3nn-jax takes a second.
        numbers = [term.groups() for term in terms if term]
        return tuple(Block(int(mul), int(degree), 1 if parity == "e" else -1) for mul, degree, parity in numbers)
    import e3nn_jax

    try:
        parsed = e3nn_jax.Irreps(text)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{option} = {text!r} is not a sum of irreps such as '16x0e+16x1o'") from error
    return tuple(Block(mul, ir.l, ir.p) for mul, ir in parsed)


def format_irreps(irreps: Irreps) -> str:
    """The string of `parse_irreps`."""
    return "+".join(str(block) for block in irreps)


def simplify(irreps: Iterable[Block]) -> Irreps:
    """Merge neighbouring blocks of one irrep and drop empty ones, without sorting."""
    merged: list[Block] = []
    for block in irreps:
        if block.mul == 0:
            continue
        if merged and merged[-1].ir == block.ir:
            merged[-1] = block._replace(mul=merged[-1].mul + block.mul)
        else:
            merged.append(block)
    return tuple(merged)


def sort_permutation(irreps: Irreps) -> tuple[int, ...]:
    """Indices of the blocks in sorted order: by degree, odd before even, otherwise as they stand."""
    return tuple(sorted(range(len(irreps)), key=lambda i: (irreps[i].ir, i)))


def products(first: Block, second: Block) -> list[tuple[int, int]]:
    """Irreps in the tensor product of two irreps, by rising degree."""
    low, high = abs(first.l - second.l), first.l + second.l
    return [(degree, first.p * second.p) for degree in range(low, high + 1)]


def path_exists(first: Irreps, second: Irreps, ir: tuple[int, int]) -> bool:
    """True if some product of a block of ``first`` with a block of ``second`` holds the irrep."""
    return any(ir in products(a, b) for a in first for b in second if a.mul and b.mul)


def spherical_irreps(l_max: int, parity: int) -> Irreps:
    """Irreps of the spherical harmonics up to ``l_max``; ``parity`` of the vector is -1, or +1 to ignore inversion."""
    return tuple(Block(1, degree, parity**degree) for degree in range(l_max + 1))
