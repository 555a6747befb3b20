"""A batch in parts, one after the other: the same update as at once."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.data.labels import collect_labels
from jaxelyte.data.split import Split
from jaxelyte.training.problem import make_problem
from jaxelyte.training.trainer import Trainer
from salt import salt

LOSS = jxl.Loss(energy=1.5, forces=0.7, stress=30.0, huber=0.05)


def after_an_epoch(frames: list[Any], accumulate: int) -> Any:
    split = Split(np.arange(7), np.arange(7, 8), np.arange(0))
    options: dict[str, Any] = {"baseline": None, "scales": "overall", "references": None, "seed": 0, "committee": None}
    model = jxl.NequIP(r_max=4.0, num_layers=1, l_max=1, num_features=2, num_basis=4, invariant_neurons=8)
    problem = make_problem(frames, collect_labels(frames), model, split, **options)
    settings = jxl.Optimization(learning_rate=0.01)
    trainer = Trainer(problem, LOSS, settings, 3, 4, 0, None, 1, False, None, accumulate)
    row = trainer.run_epoch()
    return trainer.state.potential, row


@pytest.mark.more
def test_parts_give_the_update_of_the_whole() -> None:
    """With 7 frames in batches of 4, the second batch has a frame that only fills it up; species are not alike."""
    frames = salt(8)
    whole, row = after_an_epoch(frames, 1)
    parts, again = after_an_epoch(frames, 2)
    for a, b in zip(*map(jax.tree.leaves, (whole, parts)), strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-11)
    assert again["train"]["forces"] == pytest.approx(row["train"]["forces"], rel=1e-9)
    assert again["validation"]["forces"] == pytest.approx(row["validation"]["forces"], rel=1e-9)


def test_more_parts_than_frames() -> None:
    with pytest.raises(jxl.InputError, match="accumulate = 3 parts is more than batch_size = 2 frames"):
        jxl.train(salt(8), jxl.NequIP(r_max=4.0), batch_size=2, accumulate=3, devices=1, progress=False)
