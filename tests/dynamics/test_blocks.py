"""Blocks of accumulators: bounded in number, nothing lost, the same after a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

from jaxelyte.dynamics.blocks import MOST_BLOCKS, BlockStore


def filled(count: int, start: int = 0, store: BlockStore | None = None) -> BlockStore:
    """Interval k holds the value k of each of two replicas."""
    store = BlockStore() if store is None else store
    for k in range(start, count):
        store.add({"sum": np.full(2, float(k), np.float32), "samples": np.ones(2, np.int32)})
    return store


@pytest.mark.parametrize("count", [1, 7, 255, 256, 301, 1500])
def test_every_interval_counts(count: int) -> None:
    blocks = filled(count).stacked()
    assert len(blocks["sum"]) <= MOST_BLOCKS
    assert blocks["samples"].sum(axis=0).tolist() == [count, count]
    np.testing.assert_array_equal(blocks["sum"].sum(axis=0), count * (count - 1) / 2)
    # Equal lengths but for the last one, in order.
    lengths = blocks["samples"][:, 0]
    assert np.all(lengths[:-1] == lengths[0])
    assert lengths[-1] <= lengths[0]
    means = blocks["sum"][:, 0] / lengths
    assert np.all(np.diff(means) > 0)


def test_long_runs_keep_few_blocks_of_many_intervals() -> None:
    assert len(filled(255).stacked()["sum"]) == 255
    assert 128 <= len(filled(256).stacked()["sum"]) <= 129
    assert 128 <= len(filled(1500).stacked()["sum"]) <= MOST_BLOCKS


@pytest.mark.parametrize(("count", "skip"), [(10, 3), (301, 60), (301, 61)])
def test_equilibration_leaves_out_whole_blocks(count: int, skip: int) -> None:
    blocks = filled(count).stacked(skip)
    length = blocks["samples"][0, 0]
    first = -(-skip // length) * length
    assert blocks["samples"][:, 0].sum() == count - first
    assert blocks["sum"][:, 0].sum() == sum(range(first, count))
    assert filled(5).stacked(5) is None


@pytest.mark.parametrize("cut", [3, 256, 299, 300])
def test_a_checkpoint_changes_nothing(cut: int) -> None:
    whole, part, again = filled(700), filled(cut), BlockStore()
    again.load(part.save(), {"sum": np.zeros(2), "samples": np.zeros(2, int)})
    filled(700, cut, again)
    for name, values in whole.stacked().items():
        np.testing.assert_array_equal(again.stacked()[name], values)
