"""Coulomb interaction of point charges in a medium of constant permittivity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.neighbors.host import host_list
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.base import PerSystem, Scalar
from jaxelyte.potentials.coulomb_pairs import PairTerm, sum_all_pairs, sum_excluded, sum_listed
from jaxelyte.potentials.ewald import real_term, reciprocal_energy, self_energy
from jaxelyte.potentials.ewald_plan import Content, SplitPlan, plan_split
from jaxelyte.potentials.geometry import (
    by_number,
    count_members,
    member_rows,
    members,
    symbols,
    wrapped_fractional,
)
from jaxelyte.potentials.p3m import mesh_energy
from jaxelyte.potentials.part import Divisible, Part
from jaxelyte.potentials.topology import (
    IndexTable,
    Needs,
    by_species,
    check_indices,
    check_parameter,
    check_single,
    element_numbers,
    index_table,
    parameter,
)
from jaxelyte.registry import DERIVED, GUARD, INTERNAL
from jaxelyte.system import System
from jaxelyte.units import COULOMB
from jaxelyte.wording import counted

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


LOOSE = 0.02
"""eV/Å; a tolerance above it gets a warning."""


@struct.dataclass
class ScreenedCoulomb(PerSystem, Divisible):
    """U = Σ_{i<j} q_i q_j e² / (4π ε0 ε_r r_ij), with all periodic images.

    Periodic cells, of any shape, are summed by Ewald's method: directly where that is cheap, on a mesh (P3M) in large
    systems. All their parameters follow from ``tolerance``. A cell with a net charge is neutralised by a uniform
    background, which `prepare` states in a warning. Systems without periodicity sum every pair, or cut off.

    Species that are not listed carry no charge and cost nothing. Listed ones take part even where their charge is zero,
    so that its derivative exists. ``jax.grad`` with respect to the potential gives dU/dq and dU/dε_r.

    Attributes:
        charges: charge by chemical symbol in e, ``{"Li": 1, "Cl": -1}``, which is kept as an array in the order of
            ``numbers``; or an array with one charge per atom.
        permittivity: relative permittivity ε_r; 1 unless given. Beside a network that does not name its baseline it has
            to be given: published networks were trained relative to Coulomb terms of 50, 72 or 78.3.
        method: "auto" (the cheaper of Ewald and P3M in periodic cells, every pair without periodicity, "cutoff" there
            if a cut-off is given), "ewald", "p3m", "cutoff" (q_i q_j (1/r - 1/r_c) below the cut-off: the energy is
            shifted to be continuous, the force is not), or "reaction-field" (Tironi et al., J. Chem. Phys. 102, 5451
            (1995): a dielectric continuum beyond the cut-off).
        tolerance: bound on the root mean square error of the forces in eV/Å that the Ewald sums commit on a charged
            atom, for the charges and the permittivity given. It cannot ask for more than the floating type holds. The
            energy has an offset that hardly depends on positions and shrinks with the tolerance: at ε_r = 1 some
            6e-4 eV per ion of a dense salt for 1e-2, and 2e-3 eV for a single pair for 1e-3, 5e-9 eV for 1e-8.
        cutoff: real-space cut-off in Å; chosen by cost for Ewald and P3M unless given.
        exclusions: shape (pairs, 2), indices of pairs (bonded atoms) that do not interact; only the nearest image of
            such a pair is excluded.
        exclusion_scales: shape (pairs,), what remains of each excluded pair (1-4 pairs); zero by default.
        rf_permittivity: relative permittivity of the reaction field's continuum.
        elements: chemical symbols of all atoms, with one charge per atom: systems in which the atoms stand in another
            order are then refused. Static.
        numbers: atomic numbers that ``charges`` belong to; derived.
        plan: static parameters, made by `prepare`; derived.
        assumed: that the permittivity was not given; derived.

    Raises:
        InputError: unknown symbols or methods, a permittivity below 1, a tolerance that is not positive, a missing
            cut-off; atoms that do not fit, or none that carries a charge.

    Warns:
        UserWarning: charges or a permittivity that are not ordinary; a net charge of a periodic cell.
    """

    charges: Any
    permittivity: Any = None
    method: str = struct.field(pytree_node=False, default="auto", kw_only=True)
    tolerance: float = struct.field(pytree_node=False, default=1e-4, kw_only=True)
    cutoff: float | None = struct.field(pytree_node=False, default=None, kw_only=True)
    exclusions: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    exclusion_scales: Any = struct.field(pytree_node=False, default=None, kw_only=True)
    rf_permittivity: float = struct.field(pytree_node=False, default=78.3, kw_only=True)
    elements: Any = struct.field(pytree_node=False, default=None, kw_only=True, metadata=GUARD)
    numbers: tuple[int, ...] | None = struct.field(pytree_node=False, default=None, kw_only=True, metadata=INTERNAL)
    plan: CoulombPlan | None = struct.field(pytree_node=False, default=None, kw_only=True, metadata=DERIVED)
    assumed: bool = struct.field(pytree_node=False, default=False, kw_only=True, repr=False, metadata=GUARD | INTERNAL)

    def __post_init__(self) -> None:
        if self.permittivity is None:
            object.__setattr__(self, "assumed", True)
            object.__setattr__(self, "permittivity", 1.0)
        given = isinstance(self.charges, Mapping)  # by a user, not rebuilt from its leaves
        if isinstance(self.charges, Mapping):
            example = "{'Na': 1.0, 'Cl': -1.0}"
            table = by_species("charges", self.charges, "charge", example, zero=True, signed=True)
            object.__setattr__(self, "numbers", tuple(table))
            object.__setattr__(self, "charges", list(table.values()))
        elif isinstance(self.charges, int | float) and not isinstance(self.charges, np.generic):
            raise InputError(f"charges = {self.charges!r} must be a charge for each species or atom, {{'Na': 1.0}}")
        object.__setattr__(self, "charges", parameter("charges", self.charges, "charge", zero=True, signed=True))
        object.__setattr__(self, "permittivity", parameter("permittivity", self.permittivity, "permittivity"))
        self._check(warn=given)
        if self.elements is not None and not isinstance(self.elements, IndexTable):
            table = element_numbers(checks.sequence("elements", self.elements, "symbols"), (-1,), "charges")
            object.__setattr__(self, "elements", IndexTable(np.arange(len(table)), table))
        if self.exclusions is not None:
            table = index_table(self.exclusions, 2, "exclusions")
            scales = np.zeros(len(table)) if self.exclusion_scales is None else self.exclusion_scales
            if not isinstance(scales, HashableArray):
                scales = HashableArray(checks.array("exclusion_scales", scales, (len(table),)))
            if len(scales) != len(table):
                raise InputError(f"exclusion_scales has {len(scales)} entries for {len(table)} exclusions")
            object.__setattr__(self, "exclusions", table)
            object.__setattr__(self, "exclusion_scales", scales)
        elif self.exclusion_scales is not None:
            raise InputError("exclusion_scales are of exclusions, and there are none")

    def _check(self, *, warn: bool) -> None:
        checks.choice("method", self.method, METHODS)
        tolerance = checks.number("tolerance", self.tolerance, "eV/Å", above=0.0, most=10.0)
        if warn and tolerance > LOOSE:
            checks.caution(
                f"tolerance = {tolerance:g} eV/Å is a large error of forces, which are about 1 eV/Å in liquids; 1e-4 "
                f"to {LOOSE:g} is usual"
            )
        object.__setattr__(self, "tolerance", tolerance)
        if self.cutoff is not None:
            # Lists of all pairs without periodicity may be long: no warning.
            object.__setattr__(self, "cutoff", checks.quantity("cutoff", self.cutoff, "cut-off", warn=False))
        if self.method in ("cutoff", "reaction-field") and self.cutoff is None:
            raise InputError(f"method {self.method!r} needs a cutoff in Å")
        outside = checks.number("rf_permittivity", self.rf_permittivity, least=1.0, infinite=True)
        object.__setattr__(self, "rf_permittivity", outside)
        for name, methods in (("rf_permittivity", METHODS[-1:]), ("tolerance", METHODS[:-2])):
            # A default is what nobody gave; the method that "auto" means is not known yet.
            if self.method not in methods and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise InputError(
                    f"{name} = {getattr(self, name):g} is a setting of method {' and '.join(map(repr, methods))}; the "
                    f"method {self.method!r} does not read it: leave {name} out, or choose another method"
                )

    def unstated(self) -> str:
        """See `jaxelyte.potentials.preparation.Assumed`; a value that was put in later is no assumption."""
        if not self.assumed or not np.all(np.asarray(self.permittivity) == 1.0):
            return ""
        return "the Coulomb term has no permittivity: pass permittivity= (in a run file: permittivity = …)"

    def _scale(self, dtype: Any) -> Scalar:
        return COULOMB / jnp.asarray(self.permittivity, dtype)

    def requirements(self) -> tuple[NeighborSpec, ...]:
        if self.plan is None:
            listed = self.method in ("cutoff", "reaction-field")
            return (NeighborSpec(self._listed_cutoff(), self.numbers),) if listed else ()
        if self.plan.method == "direct" or (self.plan.split is not None and self.plan.split.offsets is not None):
            return ()
        return (NeighborSpec(self._listed_cutoff(), self.numbers),)

    def _listed_cutoff(self) -> float:
        split = None if self.plan is None else self.plan.split
        cutoff = self.cutoff if split is None else split.cutoff
        assert cutoff is not None
        return float(cutoff)

    def check(self, system: System) -> None:
        """Raise `InputError` where the charges, exclusions or periodicity do not fit the system."""
        check_single("permittivity", self.permittivity)
        check_parameter("permittivity", self.permittivity, "permittivity")
        check_parameter("charges", self.charges, "charge", zero=True, signed=True)
        if self.numbers is None:
            atoms = int(np.sum(np.asarray(system.mask)))
            shape = np.shape(self.charges)
            if len(shape) != 1 or shape[0] != atoms:
                raise InputError(
                    f"charges has shape {shape} for {counted(atoms, 'atom')}; give one per atom, or one per species"
                )
        check_indices(self.elements, system, "charges")
        check_indices(self.exclusions, system, "exclusions")
        self._method_for(system)

    def _method_for(self, system: System) -> str:
        """The method that "auto" means for this system's periodicity.

        Raises:
            UnsupportedError: a lattice sum in a partly periodic cell.
            InputError: a lattice sum without periodicity.
        """
        if self.method in ("cutoff", "reaction-field"):
            return self.method
        if all(system.pbc):
            return self.method
        if any(system.pbc):
            raise UnsupportedError(
                f"Coulomb sums of slabs and wires (pbc={system.pbc}) by {self.method!r} are not implemented; make the "
                "cell periodic along all directions with vacuum, or use method='cutoff' or 'reaction-field'"
            )
        if self.method != "auto":
            raise InputError(f"method {self.method!r} needs a fully periodic cell, but pbc={system.pbc}; use 'auto'")
        return "direct" if self.cutoff is None else "cutoff"

    def needs(self) -> Needs:
        return () if self.numbers is None else (("the charges", self.numbers),)

    def prepare(self, systems: System, strain: float = 0.0) -> ScreenedCoulomb:
        """Choose method, splitting, k-vectors or mesh that keep the tolerance in all of the systems. Runs on the host.

        Warns:
            UserWarning: the periodic cell has a net charge, which a uniform background neutralises.
        """
        if isinstance(self.charges, Tracer):
            raise InputError("a ScreenedCoulomb with traced charges is prepared inside jit or grad; prepare it outside")
        return super().prepare(systems, strain)

    def planned(self, systems: Sequence[System], strain: float) -> ScreenedCoulomb:
        """Method, and what it needs: the splitting with its k-vectors or mesh."""
        method = self._method_for(systems[0])
        charged = systems[0].num_atoms if self.numbers is None else count_members(systems, self.numbers)
        if method in ("cutoff", "reaction-field", "direct"):
            return replace(self, plan=CoulombPlan(method, charged))
        charges = np.stack([np.asarray(self._charges(system), np.float64) for system in systems])
        cells = np.stack([np.asarray(system.cell, np.float64) for system in systems])
        scale = float(self._scale(systems[0].positions.dtype))
        # A composition without charges still needs sizes; one elementary charge stands in for the estimates.
        square, fourth = (float(np.max(np.sum(charges**power, axis=1))) or 1.0 for power in (2, 4))
        deformed = np.concatenate([cells, *((1.0 + one) * cells for one in (-strain, strain) if strain)])
        split = plan_split(
            deformed, Content(charged, scale * square, scale**2 * fourth), float(self.tolerance), method, self.cutoff
        )
        for one, cell in {(q.tobytes(), c.tobytes()): (q, c) for q, c in zip(charges, cells, strict=True)}.values():
            self._state_net_charge(one, cell, split.alpha)
        return replace(self, plan=CoulombPlan("ewald" if split.mesh is None else "p3m", charged, split))

    def _state_net_charge(self, charges: np.ndarray, cell: np.ndarray, alpha: float) -> None:
        net = float(np.sum(charges))
        if abs(net) <= 1e-5 * float(np.sum(np.abs(charges))):
            return
        volume = abs(np.linalg.det(cell))
        length = volume ** (1.0 / 3.0)
        scale = COULOMB / float(np.asarray(self.permittivity))
        background = -math.pi * net**2 / (2.0 * alpha**2 * volume) * scale
        itself = -2.837297479 * net**2 / (2.0 * length) * scale
        checks.caution(
            f"the cell has a net charge of {net:+.6g} e; a uniform background neutralises it (its term in the sum "
            f"is {background:.6g} eV; a point charge of {net:+.6g} e alone in a cubic cell of this volume would have "
            f"{itself:.6g} eV with its images)"
        )

    def _charges(self, system: System) -> Float[Array, " atoms"]:
        """Charge of every atom in e, zero for padding and species that are not listed."""
        charges = jnp.asarray(self.charges, system.positions.dtype)
        if self.numbers is not None:
            charges = by_number(self.numbers, charges)[system.numbers]
        elif charges.shape[0] < system.num_atoms:
            charges = jnp.pad(charges, (0, system.num_atoms - charges.shape[0]))
        return jnp.where(system.mask, charges, jnp.zeros((), charges.dtype))

    def energy(self, system: System, neighbors: Neighbors) -> Scalar:
        """Energy in eV.

        Raises:
            InputError: not prepared, and the system is traced (inside jit, grad or vmap).
        """
        if self.plan is None:
            prepared = self.prepare(system)
            wanted = prepared.requirements()
            if not set(wanted) <= set(neighbors.specs):
                neighbors = Neighbors(tuple(host_list(system, spec) for spec in wanted), wanted)
            return prepared.energy(system, neighbors)
        dtype = system.positions.dtype
        plan, everyone = self.plan, self._charges(system)
        chosen = members(system, self.numbers)
        rows = member_rows(chosen, plan.charged)
        charges = jnp.take(everyone, rows, mode="fill", fill_value=0)
        real = jnp.take(chosen, rows, mode="fill", fill_value=False)
        term, cutoff = self._pair_term(jnp.asarray(self.permittivity, dtype))
        if self.requirements():
            lists = neighbors.get(self.requirements()[0])
            assert cutoff is not None
            energy = sum_listed(system, lists, rows, charges, everyone, term, cutoff)
        else:
            positions = jnp.take(system.positions, rows, axis=0, mode="clip")
            offsets = None if plan.split is None else plan.split.offsets
            energy = sum_all_pairs(system, positions, charges, real, term, cutoff, offsets)
        if plan.split is not None:
            positions = jnp.take(system.positions, rows, axis=0, mode="clip")
            energy = energy + self._reciprocal(system, positions, charges, plan.split)
            energy = energy + self_energy(charges, system.volume, plan.split.alpha, plan.split.cutoff)
        energy = energy - self._excluded(system, everyone, term, cutoff)
        if plan.charged < system.num_atoms:
            # Another composition than the one prepared for: atoms would be left out in silence.
            energy = jnp.where(jnp.sum(chosen) > plan.charged, jnp.full((), jnp.nan, dtype), energy)
        return self._scale(dtype) * energy

    def share(self, part: Part) -> Scalar:
        """Real space by the lists of this device; structure factors, or the charges on the mesh, summed over devices.

        Raises:
            InputError: not prepared.
        """
        if self.plan is None:
            raise InputError("a ScreenedCoulomb has to be prepared before it is divided among devices: prepare(system)")
        plan, whole = self.plan, part.whole
        of_all = self._charges(whole)
        everyone = jnp.take(of_all, part.rows, mode="fill", fill_value=0)
        own = jnp.arange(len(part.rows)) < part.owned
        rows = member_rows(members(part.system, self.numbers) & own, min(plan.charged, part.owned))
        charges = jnp.take(everyone, rows, mode="fill", fill_value=0)
        term, cutoff = self._pair_term(jnp.asarray(self.permittivity, whole.positions.dtype))
        assert cutoff is not None
        lists = part.neighbors.get(self.requirements()[0])
        energy = sum_listed(part.system, lists, rows, charges, everyone, term, cutoff)
        shared = -self._excluded(whole, of_all, term, cutoff)
        if plan.split is not None:
            positions = jnp.take(part.system.positions, rows, axis=0, mode="clip")
            shared = shared + self._reciprocal(whole, positions, charges, plan.split, part.total)
            shared = shared + self_energy(of_all, whole.volume, plan.split.alpha, plan.split.cutoff)
        return self._scale(whole.positions.dtype) * (energy + part.once(shared))

    def _pair_term(self, permittivity: Scalar) -> tuple[PairTerm, float | None]:
        """Energy per charge product in 1/Å as a function of r², and its cut-off."""
        assert self.plan is not None
        if self.plan.split is not None:
            alpha, cutoff = self.plan.split.alpha, self.plan.split.cutoff
            return lambda square: real_term(square, alpha, cutoff), cutoff
        if self.plan.method == "direct":
            return _bare, None
        assert self.cutoff is not None
        cutoff = float(self.cutoff)
        if self.plan.method == "cutoff":
            return lambda square: _bare(square) - 1.0 / cutoff, cutoff
        outside = self.rf_permittivity
        k_rf = (outside - permittivity) / ((2.0 * outside + permittivity) * cutoff**3)
        return lambda square: _bare(square) + k_rf * square - (1.0 / cutoff + k_rf * cutoff**2), cutoff

    def _reciprocal(
        self,
        system: System,
        positions: Float[Array, "rows 3"],
        charges: Float[Array, " rows"],
        split: SplitPlan,
        total: Callable[[Array], Array] | None = None,
    ) -> Scalar:
        """Reciprocal space, of all charges where each device holds some and ``total`` sums over devices."""
        fractional = wrapped_fractional(system, positions)
        if split.mesh is None:
            assert split.kmax is not None
            return reciprocal_energy(charges, fractional, system.cell, split.alpha, split.kmax, total)
        return mesh_energy(charges, fractional, system.cell, split.alpha, split.mesh, total)

    def _excluded(
        self, system: System, charges: Float[Array, " atoms"], term: PairTerm, cutoff: float | None
    ) -> Scalar:
        if self.exclusions is None or len(self.exclusions) == 0:
            return jnp.zeros((), charges.dtype)
        weights = HashableArray(1.0 - self.exclusion_scales.array)
        if self.plan is not None and self.plan.split is not None:
            # The lattice sum holds the whole of 1/r for the nearest image, real and reciprocal part together.
            term, cutoff = _bare, None
        return sum_excluded(system, charges, self.exclusions, weights, term, cutoff)

    def describe(self) -> str:
        """One line on charges, permittivity and the method chosen."""
        who = "one charge per atom" if self.numbers is None else f"charges on {symbols(self.numbers)}"
        if self.plan is None:
            return f"Coulomb, {who}, method {self.method!r} (not prepared)"
        split = self.plan.split
        if split is None:
            return f"Coulomb, {who}, {self.plan.method}, cut-off {self.cutoff} Å"
        space = f"k-vectors up to {split.kmax}" if split.mesh is None else f"mesh {split.mesh}"
        real = "all pairs" if split.offsets is not None else "neighbour list"
        return (
            f"Coulomb, {who}, {self.plan.method}: α {split.alpha:.4f} 1/Å, real-space cut-off {split.cutoff:.2f} Å "
            f"({real}), {space}, estimated RMS force error {split.error:.1e} eV/Å"
        )


def _bare(square: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
    return jax.lax.rsqrt(square)
