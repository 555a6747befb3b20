"""Lennard-Jones interactions of particles that appear: a core that is soft as long as they are not there in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxelyte import checks
from jaxelyte.errors import InputError
from jaxelyte.potentials.geometry import symbols
from jaxelyte.potentials.lennard_jones import LennardJones
from jaxelyte.potentials.topology import Needs, as_leaf, atomic_number, concrete
from jaxelyte.system import System


@struct.dataclass
class SoftCoreLennardJones(LennardJones):
    """Lennard-Jones interactions in which some species are coupled by λ, with a core that is finite below λ = 1.

        u(r) = 4 ε λ (s² - s),   s = 1 / (α (1 - λ) + (r/σ)⁶)

    for pairs with an appearing species (Beutler et al., Chem. Phys. Lett. 222, 529 (1994)); other pairs are those of
    `LennardJones`, which the whole is at λ = 1. At λ = 0 the appearing species are ghosts. A linear mixture of these
    two ends diverges at λ = 0; the free energy of a particle follows along a path of a few couplings,

        stages = [potential.replace(coupling=c) for c in (0.0, 0.2, 0.6, 1.0)]
        free_energy_path(stages, atoms, NVT(300.0), steps=…)

    all of whose legs run in one program, since λ is a leaf. Charges have to be added after that, in full.

    Attributes:
        appearing: chemical symbols of the species that are coupled.
        coupling: λ from 0 to 1.
        alpha: α, the softness; static.

    Raises:
        InputError: no appearing species or one without parameters, an α that is not positive; a coupling outside 0 to
            1, before anything is computed with it; see also `LennardJones`.
    """

    appearing: Any = struct.field(pytree_node=False, default=(), kw_only=True)
    coupling: Any = struct.field(default=1.0, kw_only=True)
    alpha: float = struct.field(pytree_node=False, default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        named = (self.appearing,) if isinstance(self.appearing, str) else self.appearing
        if not isinstance(named, Sequence) or not len(named):
            raise InputError(f"appearing = {self.appearing!r} must name the species that are coupled, such as ['Na']")
        numbers = tuple(atomic_number(one) for one in named)
        if unknown := set(numbers) - set(self.numbers):
            raise InputError(f"appearing names {symbols(unknown)}, which sigma and epsilon do not")
        object.__setattr__(self, "appearing", numbers)
        plain = isinstance(self.coupling, str | bool | int | float | list | tuple | Mapping)
        text = isinstance(self.coupling, np.ndarray) and self.coupling.dtype.kind not in "iuf"
        if self.coupling is None or text or (plain and not isinstance(self.coupling, np.generic)):
            checks.number("coupling", self.coupling)
        object.__setattr__(self, "coupling", as_leaf(self.coupling))
        object.__setattr__(self, "alpha", checks.number("alpha", self.alpha, above=0.0, most=100.0))

    def check(self, system: System) -> None:
        """See `LennardJones`; the coupling is looked at here, for a derivative by it is of the same class."""
        super().check(system)
        value = concrete(self.coupling)
        if value is None and not isinstance(self.coupling, Tracer):
            checks.fraction("coupling", self.coupling)
        if value is not None and not np.all((value >= 0.0) & (value <= 1.0)):
            raise InputError(f"coupling = {value} must be from 0 (a ghost) to 1 (there in full)")

    def needs(self) -> Needs:
        return (*super().needs(), ("the coupling and its appearing species", self.appearing))

    def tables(self, dtype: Any) -> tuple[Float[Array, "species species"], ...]:
        """σ in Å, ε in eV times the coupling, and the softness of the core of every pair of species."""
        sigma, epsilon = super().tables(dtype)
        there = np.isin([*self.numbers, 0], self.appearing)
        coupled = jnp.asarray(there[:, None] | there)
        coupling = jnp.asarray(self.coupling, dtype)
        core = jnp.where(coupled, self.alpha * (1.0 - coupling), jnp.zeros((), dtype))
        return sigma, jnp.where(coupled, coupling * epsilon, epsilon), core
