"""The order in which frames are visited: a function of seed and epoch, so that a resumed run sees the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxelyte.data.dataset import Dataset


class BatchOrder(NamedTuple):
    """One batch: its bucket, rows in that bucket, and which of them count."""

    bucket: int
    rows: np.ndarray
    valid: np.ndarray


def batch_orders(
    dataset: Dataset, batch_size: int, *, parts: int = 1, seed: list[int] | None = None
) -> list[BatchOrder]:
    """Batches of one pass over all frames.

    Args:
        dataset: the frames.
        batch_size: frames in a batch; the last one of each bucket may hold fewer, and is filled up.
        parts: the size of the arrays is a multiple of it: devices, times parts of each device's share.
        seed: shuffle frames within buckets, and batches; None keeps the order.
    """
    rng = None if seed is None else np.random.default_rng(seed)
    room = -(-batch_size // parts) * parts
    orders = []
    for bucket, numbers in enumerate(dataset.frames):
        rows = np.arange(len(numbers)) if rng is None else rng.permutation(len(numbers))
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            filled = np.resize(part, room).astype(np.int32)
            orders.append(BatchOrder(bucket, filled, np.arange(room) < len(part)))
    return orders if rng is None else [orders[n] for n in rng.permutation(len(orders))]
