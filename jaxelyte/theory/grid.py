"""The grid of the theories of ions: distances and wave numbers, with the sine transform between them."""

from __future__ import annotations

import numpy as np

STEP = 0.025
"""Å between the points of the grid."""

LENGTHS = 14.0
"""Screening lengths that the grid spans at least; correlations are down to 1e-6 of their contact value there."""

FEWEST = 4096
"""Points of a grid at least; 102 Å."""

MOST = 2**20
"""Points of a grid at most, unless they are asked for; a solution takes minutes."""


class Grid:
    """Half-integer points in r (Å) and k (1/Å), between which the sine transform of type IV goes back and forth."""

    def __init__(self, points: int, step: float) -> None:
        self.step = step
        self.r = (np.arange(points) + 0.5) * step
        self.width = np.pi / (points * step)
        self.k = (np.arange(points) + 0.5) * self.width

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Fourier transform in three dimensions of spherical functions, (…, points)."""
        from scipy.fft import dst

        return 2.0 * np.pi * self.step / self.k * np.asarray(dst(self.r * values, type=4, axis=-1))

    def backward(self, values: np.ndarray) -> np.ndarray:
        """Inverse of `forward`."""
        from scipy.fft import dst

        return self.width / (4.0 * np.pi**2) / self.r * np.asarray(dst(self.k * values, type=4, axis=-1))


def symmetric(flat: np.ndarray, points: int) -> np.ndarray:
    """(2, 2, points) from the three pairs of two species, (3 points,)."""
    out = np.zeros((2, 2, points))
    out[UPPER] = flat.reshape(3, points)
    out[1, 0] = out[0, 1]
    return out


UPPER = np.triu_indices(2)
"""The three pairs of two species."""


def chains(direct: np.ndarray, densities: np.ndarray) -> np.ndarray:
    """Total correlations from direct ones by Ornstein and Zernike, both in k, (2, 2, points); densities in 1/Å³."""
    root = np.sqrt(densities[:, None] * densities)[..., None]
    full = np.moveaxis(root * direct, -1, 0)
    return np.moveaxis(np.linalg.solve(np.eye(2) - full, full), 0, -1) / root


def screened(kappa_squared: np.ndarray, source: np.ndarray, origin: float, step: float) -> np.ndarray:
    """Solve u'' - κ²(r) u = source with u(0) = origin and a tail that decays as exp(-κ r).

    Central differences on half-integer points; the error is of second order in the step.

    Args:
        kappa_squared: (points,), 1/Å².
        source: (points,), in units of u per Å².
        origin: u at r = 0.
        step: Å.
    """
    from scipy.linalg import solve_banded

    bands = np.ones((3, len(source)))
    bands[1] = -2.0 - step**2 * kappa_squared
    # The point at -step/2 mirrors u about its value at the origin, and that beyond the end is the tail.
    bands[1, 0] -= 1.0
    bands[1, -1] += np.exp(-step * np.sqrt(kappa_squared[-1]))
    right = step**2 * source
    right[0] -= 2.0 * origin
    return solve_banded((1, 1), bands, right)
