"""Blocks of observable accumulators on the host: bounded in number, exact in sum."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

MOST_BLOCKS = 256


class BlockStore:
    """Accumulators of equal stretches of a run; neighbouring blocks are merged when there are too many.

    The stretch of a block doubles at each merge, so a run of any length keeps between 128 and 256 blocks, and what is
    stored depends on the run alone, not on how it was cut into chunks.
    """

    def __init__(self) -> None:
        self.blocks: list[Any] = []
        self.pending: Any = None
        self.pending_intervals = 0
        self.intervals_per_block = 1

    def add(self, accumulator: Any) -> None:
        """Add the accumulator of one frame interval (leaves with a leading axis of replicas)."""
        wide = jax.tree.map(_widen, accumulator)
        self.pending = wide if self.pending is None else jax.tree.map(np.add, self.pending, wide)
        self.pending_intervals += 1
        if self.pending_intervals == self.intervals_per_block:
            self.blocks.append(self.pending)
            self.pending, self.pending_intervals = None, 0
        if len(self.blocks) == MOST_BLOCKS:
            pairs = zip(self.blocks[::2], self.blocks[1::2], strict=True)
            self.blocks = [jax.tree.map(np.add, a, b) for a, b in pairs]
            self.intervals_per_block *= 2

    def stacked(self, skip: int = 0) -> Any | None:
        """Blocks with a leading axis of blocks, in order; the last one may be shorter. None where there are none.

        Args:
            skip: frame intervals to leave out at the start, rounded up to whole blocks.
        """
        first = -(-skip // self.intervals_per_block)
        pending = [] if self.pending is None else [self.pending]
        kept = (self.blocks + pending)[first:]
        return jax.tree.map(lambda *x: np.stack(x), *kept) if kept else None

    def lengths(self, skip: int = 0) -> np.ndarray:
        """Frame intervals in each of the blocks of `stacked`."""
        pending = [self.pending_intervals] if self.pending is not None else []
        all_of_them = [self.intervals_per_block] * len(self.blocks) + pending
        return np.array(all_of_them[-(-skip // self.intervals_per_block) :])

    def save(self) -> dict[str, np.ndarray]:
        """Arrays to put into a checkpoint."""
        arrays = {"counts": np.array([self.intervals_per_block, self.pending_intervals, len(self.blocks)])}
        blocks = jax.tree.map(lambda *x: np.stack(x), *self.blocks) if self.blocks else None
        for name, tree in (("blocks", blocks), ("pending", self.pending)):
            for number, leaf in enumerate(jax.tree.leaves(tree)):
                arrays[f"{name}{number}"] = leaf
        return arrays

    def load(self, arrays: dict[str, np.ndarray], structure: Any) -> None:
        """Restore what `save` gave; ``structure`` is an accumulator of the same observable."""
        shape = jax.tree.structure(structure)
        self.intervals_per_block, self.pending_intervals, count = (int(x) for x in arrays["counts"])
        leaves = range(shape.num_leaves)
        if self.pending_intervals:
            self.pending = jax.tree.unflatten(shape, [arrays[f"pending{k}"] for k in leaves])
        if count:
            stacked = jax.tree.unflatten(shape, [arrays[f"blocks{k}"] for k in leaves])
            self.blocks = [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(count)]


def _widen(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(np.float64 if np.issubdtype(array.dtype, np.floating) else np.int64)
