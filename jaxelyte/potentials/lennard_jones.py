"""Lennard-Jones interactions between species."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxelyte import checks, names
from jaxelyte.errors import InputError
from jaxelyte.potentials.base import Scalar
from jaxelyte.potentials.geometry import species_index, symbols
from jaxelyte.potentials.pairs import PairPotential
from jaxelyte.potentials.topology import Needs, as_leaf, atomic_number, by_species, check_parameter
from jaxelyte.registry import INTERNAL
from jaxelyte.system import System

MIXING = ("lorentz-berthelot", "geometric")
PAIRS_EXAMPLE = "{('Na', 'Cl'): (3.1, 0.004)}"


@struct.dataclass
class LennardJones(PairPotential):
    """U = Σ_{i<j} 4 ε [(σ/r)¹² - (σ/r)⁶] for r < r_c, with mixed parameters for unlike species.

    Mixing: Lorentz-Berthelot σ_ab = (σ_a + σ_b)/2, ε_ab = √(ε_a ε_b), or geometric for both. At the cut-off the
    potential is truncated as it is, shifted to zero (``shift``), or switched off smoothly between ``switch`` and the
    cut-off by S(x) = 1 - 10x³ + 15x⁴ - 6x⁵. The tail correction adds the mean energy of what is left out,

        U_tail = (2π/V) Σ_ab N_a N_b ∫ r² (1 - S(r)) u_ab(r) dr,

    with g(r) = 1 there (Frenkel and Smit, eq. 3.2.5); it contributes to the stress, not to the forces.

    Attributes:
        sigma: σ by chemical symbol in Å; kept as an array in the order of ``numbers``.
        epsilon: ε by chemical symbol in eV. Species with ε = 0 are left out of all sums.
        cutoff: r_c in Å.
        mixing: "lorentz-berthelot" or "geometric".
        pairs: parameters (σ, ε) of unlike pairs that do not follow the rule, ``{("Na", "Cl"): (3.1, 0.004)}``; kept as
            an array of shape (pairs, 2).
        tail_correction: None for the default: on in fully periodic cells, unless the potential is shifted.
        shift: True to subtract u(r_c) from each pair inside the cut-off.
        switch: start of the switching region in Å, or None.
        exclusions: shape (pairs, 2), bonded atoms that do not interact at their nearest image.
        numbers: atomic numbers of the species; derived.
        pair_numbers: species of ``pairs``; derived.
        rows: room for interacting atoms; made by `prepare`, None for all.

    Raises:
        InputError: unknown symbols or mixing rule, different species in sigma and epsilon, shift together with a tail
            correction or a switch, parameters that are negative; a system with other species, or with none that takes
            part.

    Warns:
        UserWarning: σ, ε or a cut-off that is not ordinary, as in other units.
    """

    sigma: Any
    epsilon: Any
    cutoff: float = struct.field(pytree_node=False, default=9.0, kw_only=True)
    mixing: str = struct.field(pytree_node=False, default="lorentz-berthelot", kw_only=True)
    pairs: Any = struct.field(default=None, kw_only=True)
    tail_correction: bool | None = struct.field(pytree_node=False, default=None, kw_only=True)
    shift: bool = struct.field(pytree_node=False, default=False, kw_only=True)
    switch: float | None = struct.field(pytree_node=False, default=None, kw_only=True)
    numbers: tuple[int, ...] = struct.field(pytree_node=False, default=(), kw_only=True, metadata=INTERNAL)
    active: tuple[int, ...] = struct.field(pytree_node=False, default=(), kw_only=True, metadata=INTERNAL)
    pair_numbers: tuple[tuple[int, int], ...] = struct.field(
        pytree_node=False, default=(), kw_only=True, metadata=INTERNAL
    )

    def __post_init__(self) -> None:
        given = isinstance(self.sigma, Mapping) or not self.numbers
        object.__setattr__(self, "cutoff", checks.quantity("cutoff", self.cutoff, "cut-off", warn=given))
        if given:
            self._read_species()
        checks.choice("mixing", self.mixing, MIXING)
        object.__setattr__(self, "shift", checks.flag("shift", self.shift))
        if self.tail_correction is not None:
            object.__setattr__(self, "tail_correction", checks.flag("tail_correction", self.tail_correction))
        if self.shift and (self.tail_correction or self.switch is not None):
            raise InputError("shift goes neither with tail_correction nor with switch; choose one of them")
        if self.switch is not None:
            object.__setattr__(self, "switch", checks.positive("switch", self.switch, "Å"))
            if not self.switch < self.cutoff:
                raise InputError(f"switch must start between 0 and the cut-off {self.cutoff} Å, not at {self.switch}")
        super().__post_init__()

    def _read_species(self) -> None:
        sigma = by_species("sigma", self.sigma, "diameter", "{'Ar': 3.4}", zero=True)
        epsilon = by_species("epsilon", self.epsilon, "well depth", "{'Ar': 0.0104}", zero=True)
        if set(sigma) != set(epsilon):
            raise InputError(f"sigma is for {symbols(sigma)} and epsilon for {symbols(epsilon)}; give both for each")
        table = self.pairs if self.pairs is None else checks.mapping("pairs", self.pairs, PAIRS_EXAMPLE)
        overrides = dict(_override(pair, values) for pair, values in (table or {}).items())
        mixed = {n for pair in overrides for n in pair}
        if missing := mixed - set(sigma):
            raise InputError(f"pairs names {symbols(missing)}, which sigma and epsilon do not")
        active = tuple(n for n, e in epsilon.items() if e != 0.0 or n in mixed)
        if wrong := [n for n in active if sigma[n] == 0.0 and n not in mixed]:
            raise InputError(f"sigma of {symbols(wrong)} is 0, but its epsilon is not")
        self._judge([sigma[n] for n in active], [epsilon[n] for n in active])
        for name, column in (("sigma", sigma), ("epsilon", epsilon)):
            object.__setattr__(self, name, as_leaf(list(column.values())))
        object.__setattr__(self, "numbers", tuple(sigma))
        object.__setattr__(self, "active", active)
        object.__setattr__(self, "pair_numbers", tuple(overrides))
        object.__setattr__(self, "pairs", as_leaf(list(overrides.values())) if overrides else None)

    def _judge(self, sigma: list[float], epsilon: list[float]) -> None:
        """Warn of parameters in other units, which the largest shows: some hydrogens are small in all of them."""
        if not sigma:
            return
        widest, deepest = max(sigma), max(epsilon)
        if widest == 1.0 and deepest == 1.0:  # reduced units
            return
        checks.quantity("the largest sigma", widest, "diameter", zero=True)
        checks.quantity("the largest epsilon", deepest, "well depth", zero=True)
        if widest > self.cutoff:
            checks.caution(
                f"cutoff = {self.cutoff:g} Å is below the largest sigma, {widest:g} Å: of such pairs only the steep "
                "wall is left, and cut off"
            )

    def species(self) -> tuple[int, ...]:
        return self.active

    def kinds(self, system: System) -> Int[Array, " atoms"]:
        return species_index(self.numbers, system)

    def check(self, system: System) -> None:
        """Raise `InputError` where a species has no parameters or an exclusion names an atom that does not exist."""
        present = set(np.asarray(system.numbers)[np.asarray(system.mask)].tolist())
        if unknown := sorted(present - set(self.numbers)):
            raise InputError(
                f"no Lennard-Jones parameters for {symbols(unknown)}; add them to sigma and epsilon (epsilon 0 for "
                f"species that do not take part). Known: {symbols(self.numbers)}"
            )
        check_parameter("sigma", self.sigma, "diameter", zero=True)
        check_parameter("epsilon", self.epsilon, "well depth", zero=True)
        super().check(system)

    def needs(self) -> Needs:
        return (("the Lennard-Jones parameters", self.active),) if self.active else ()

    def tables(self, dtype: Any) -> tuple[Float[Array, "species species"], ...]:
        """σ in Å and ε in eV of every pair of species, in the order of ``numbers``, ended by a row that is inert."""
        sigma, epsilon = jnp.asarray(self.sigma, dtype), jnp.asarray(self.epsilon, dtype)
        # √(ε ε) of a species that is switched off has no derivative; its products are masked before the root.
        product = epsilon[:, None] * epsilon
        on = product > 0.0
        eps = jnp.where(on, jnp.sqrt(jnp.where(on, product, jnp.ones((), dtype))), jnp.zeros((), dtype))
        if self.mixing == "geometric":
            sig = jnp.sqrt(sigma[:, None] * sigma)
        else:
            sig = 0.5 * (sigma[:, None] + sigma)
        for row, (a, b) in enumerate(self.pair_numbers):
            i, j = self.numbers.index(a), self.numbers.index(b)
            values = jnp.asarray(self.pairs, dtype)[row]
            sig = sig.at[i, j].set(values[0]).at[j, i].set(values[0])
            eps = eps.at[i, j].set(values[1]).at[j, i].set(values[1])
        return jnp.pad(sig, (0, 1), constant_values=1.0), jnp.pad(eps, (0, 1))

    def of_square(self, square: Array, i: Array, j: Array) -> Array:
        """Pair energies from squared distances below the cut-off."""
        parameters = [table[i, j] for table in self.tables(square.dtype)]
        values = _bare(square, *parameters)
        if self.shift:
            values = values - _bare(jnp.full((), self.cutoff**2, square.dtype), *parameters)
        if self.switch is not None:
            values = values * _switch(jnp.sqrt(square), self.switch, self.cutoff)
        return values

    def correction(self, system: System) -> Scalar:
        return self.tail(system) if self._corrects(system) else jnp.zeros((), system.positions.dtype)

    def _corrects(self, system: System) -> bool:
        wanted = not self.shift if self.tail_correction is None else self.tail_correction
        return wanted and all(system.pbc)

    def tail(self, system: System) -> Scalar:
        """Mean energy in eV of the pairs beyond the cut-off and of the part that the switch removes."""
        dtype = system.positions.dtype
        sigma, epsilon = (table[:-1, :-1] for table in self.tables(dtype)[:2])
        kind = species_index(self.numbers, system)
        which = jnp.arange(len(self.numbers), dtype=kind.dtype)
        counts = jnp.sum((kind[:, None] == which) & system.mask[:, None], axis=0).astype(dtype)
        s3 = sigma**3
        ratio = s3 / self.cutoff**3
        integral = 4.0 * epsilon * s3 * (ratio**3 / 9.0 - ratio / 3.0)
        if self.switch is not None:
            nodes, weights = np.polynomial.legendre.leggauss(24)
            half = 0.5 * (self.cutoff - self.switch)
            r = jnp.asarray(self.switch + half * (nodes + 1.0), dtype)
            lost = (1.0 - _switch(r, self.switch, self.cutoff)) * r**2 * jnp.asarray(half * weights, dtype)
            integral = integral + jnp.sum(_bare(r**2, sigma[..., None], epsilon[..., None]) * lost, axis=-1)
        return 2.0 * math.pi / system.volume * jnp.sum(counts[:, None] * counts * integral)


def _override(pair: Any, values: Any) -> tuple[tuple[int, int], tuple[float, float]]:
    """Atomic numbers, σ and ε of an entry of ``pairs``."""
    pair = names.pair(f"the key {pair!r} of pairs", pair) if isinstance(pair, str) else pair
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise InputError(f"pairs has the key {pair!r}; it must be two chemical symbols, as in {PAIRS_EXAMPLE}")
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != 2:
        raise InputError(f"pairs[{pair!r}] must be sigma in Å and epsilon in eV, not {checks.shown(values)}")
    sigma = checks.quantity(f"sigma of pairs[{pair!r}]", values[0], "diameter")
    epsilon = checks.quantity(f"epsilon of pairs[{pair!r}]", values[1], "well depth", zero=True)
    return (atomic_number(pair[0]), atomic_number(pair[1])), (sigma, epsilon)


def _bare(square: Array, sigma: Array, epsilon: Array, core: Array | None = None) -> Array:
    """4 ε (s² - s) with s = (σ/r)⁶, or 1/(core + (r/σ)⁶) of a soft core."""
    s6 = (sigma**2 / square) ** 3 if core is None else 1.0 / (core + (square / sigma**2) ** 3)
    return 4.0 * epsilon * (s6**2 - s6)


def _switch(r: Array, start: float, end: float) -> Array:
    x = jnp.clip((r - start) / (end - start), 0.0, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
