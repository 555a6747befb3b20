"""What a sample costs, estimated before anything is compiled: too much where distances are in another unit than Å."""

from __future__ import annotations

import math

import numpy as np

from jaxelyte.errors import InputError
from jaxelyte.system import perpendicular_widths

MOST_IMAGES = 20_000
"""Images of a cell within reach: a sphere of radius thirteen times the width of a cube."""

MOST_WORK = 2e10
"""Distances, triplets or waves times atoms in one sample: minutes on one core."""

MOST_BINS = 100_000
"""Of a histogram."""


def images_within(cells: np.ndarray, pbc: tuple[bool, bool, bool], radius: float) -> float:
    """Number of images of an atom that `jaxelyte.neighbors.search.image_offsets` lists; a float, as it may be huge.

    Args:
        cells: (…, 3, 3), Å.
        pbc: periodic directions.
        radius: Å.
    """
    widths = np.min([perpendicular_widths(cell) for cell in cells.reshape(-1, 3, 3)], axis=0)
    return float(np.prod(np.where(np.asarray(pbc), 2.0 * np.floor(radius / widths + 0.5) + 1.0, 1.0)))


def check_reach_of(
    name: str, radius: float, cells: np.ndarray, pbc: tuple[bool, bool, bool], *, pairs: float, what: str
) -> None:
    """Refuse a radius that takes in so many images that a sample would take minutes.

    Args:
        name: of the argument.
        radius: Å.
        cells: (…, 3, 3), Å.
        pbc: periodic directions.
        pairs: of atoms whose distances are computed, without images.
        what: is computed.

    Raises:
        InputError: too many images or distances; the message gives their number and the unit that was probably meant.
    """
    images = images_within(cells, pbc, radius)
    if images <= MOST_IMAGES and images * pairs <= MOST_WORK:
        return
    widths = [perpendicular_widths(cell) for cell in cells.reshape(-1, 3, 3)]
    half = 0.5 * float(np.min(widths, initial=math.inf, where=np.asarray(pbc)))
    meant = f"; if {radius:g} is in pm, write {radius / 100:g}" if 1.0 <= radius / 100.0 <= 2.0 * half else ""
    raise InputError(
        f"{name} = {radius:g} Å is too far for {what}: it reaches {images:,.0f} images of the cell, whose half width "
        f"is {half:.4g} Å, and takes {images * pairs:.2g} distances in each sample; lower it{meant}"
    )


def check_bins(bins: float, how: str) -> None:
    """Refuse more than `MOST_BINS` bins; ``how`` says where their number comes from."""
    if bins > MOST_BINS:
        raise InputError(f"{how} makes {bins:,.0f} bins, and at most {MOST_BINS:,} are possible; take wider ones")
