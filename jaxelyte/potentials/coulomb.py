"""Coulomb interaction of point charges in a medium of constant permittivity."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.base import Potential, Scalar
from jaxelyte.potentials.coulomb_pairs import PairTerm, sum_all_pairs, sum_excluded, sum_listed
from jaxelyte.potentials.ewald import real_term, reciprocal_energy, self_energy
from jaxelyte.potentials.ewald_plan import Content, SplitPlan, plan_split
from jaxelyte.potentials.geometry import (
    atomic_number,
    by_number,
    count_members,
    member_rows,
    members,
    symbols,
    wrapped_fractional,
)
from jaxelyte.potentials.p3m import mesh_energy
from jaxelyte.potentials.topology import check_indices, index_table
from jaxelyte.system import System
from jaxelyte.units import COULOMB

METHODS = ("auto", "ewald", "p3m", "cutoff", "reaction-field")


@dataclass(frozen=True)
class CoulombPlan:
    """What `ScreenedCoulomb.prepare` fixes for one composition and cell.

    Attributes:
        method: "ewald", "p3m", "cutoff", "reaction-field" or "direct" (every pair, without a cut-off).
        charged: number of charged atoms, the room for them in the sums.
        split: Ewald parameters, None for the other methods.
    """

    method: str
    charged: int
    split: SplitPlan | None = None


@struct.dataclass
class ScreenedCoulomb(Potential):
    """U = Σ_{i<j} q_i q_j e² / (4π ε0 ε_r r_ij), with all periodic images.

    Periodic cells, of any shape, are summed by Ewald's method: directly where that is cheap, on a mesh (P3M) in large
    systems. All their parameters follow from ``tolerance``. A cell with a net charge is neutralised by a uniform
    background, which `prepare` states in a warning. Systems without periodicity sum every pair, or cut off.

    Species that are not listed carry no charge and cost nothing. Listed ones take part even where their charge is zero,
    so that its derivative exists. ``jax.grad`` with respect to the potential gives dU/dq and dU/dε_r.

    Attributes:
        charges: charge by chemical symbol in e, ``{"Li": 1, "Cl": -1}``, which is kept as an array in the order of
            ``numbers``; or an array with one charge per atom.
        permittivity: relative permittivity ε_r.
        method: "auto" (the cheaper of Ewald and P3M in periodic cells, every pair without periodicity, "cutoff" there
            if a cut-off is given), "ewald", "p3m", "cutoff" (q_i q_j (1/r - 1/r_c) below the cut-off: the energy is
            shifted to be continuous, the force is not), or "reaction-field" (Tironi et al., J. Chem. Phys. 102, 5451
            (1995): a dielectric continuum beyond the cut-off).
        tolerance: bound on the root mean square error of the forces in eV/Å that the Ewald sums commit on a charged
            atom, for the charges and the permittivity given. It cannot ask for more than the floating type holds.
        cutoff: real-space cut-off in Å; chosen by cost for Ewald and P3M unless given.
        exclusions: shape (pairs, 2), indices of pairs (bonded atoms) that do not interact; only the nearest image of
            such a pair is excluded.
        exclusion_scales: shape (pairs,), what remains of each excluded pair (1-4 pairs); zero by default.
        rf_permittivity: relative permittivity of the reaction field's continuum.
        numbers: atomic numbers that ``charges`` belong to; derived.
        plan: static parameters, made by `prepare`; derived.

    Raises:
        InputError: unknown symbols or methods, a permittivity or tolerance that is not positive, a missing cut-off.
    """

    charges: Any
    permittivity: Any = 1.0
    method: str = struct.field(pytree_node=False, default="auto", kw_only=True)
    tolerance: float = struct.field(pytree_node=False, default=1e-4, kw_only=True)
    cutoff_distance: float | None = struct.field(pytree_node=False, default=None, kw_only=True)
    exclusions: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    exclusion_scales: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    rf_permittivity: float = struct.field(pytree_node=False, default=78.3, kw_only=True)
    numbers: tuple[int, ...] | None = struct.field(pytree_node=False, default=None, kw_only=True)
    plan: CoulombPlan | None = struct.field(pytree_node=False, default=None, kw_only=True)
