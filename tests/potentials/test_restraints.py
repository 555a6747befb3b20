"""Restraints to fixed points."""

from __future__ import annotations

import numpy as np

import jaxelyte as jxl


def test_potentials_keep_their_numbers_when_an_array_of_the_user_changes() -> None:
    """Jax may share memory with numpy: the anchors would move with the atoms."""
    points = np.zeros((2, 3))
    restraint = jxl.HarmonicRestraint(points, 1.0)
    points += 1.0
    np.testing.assert_array_equal(np.asarray(restraint.anchors), 0.0)
