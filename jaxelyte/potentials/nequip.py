"""A NequIP model as a potential."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError
from jaxelyte.models.config import NequIP
from jaxelyte.models.linear import make_maps
from jaxelyte.models.network import Exchange, atomic_energies
from jaxelyte.models.table import radial_tables
from jaxelyte.models.tiling import Kernel, Native, default_kernel, precision_of
from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
from jaxelyte.potentials.base import Potential, Scalar
from jaxelyte.potentials.forms import Compiled, Form, HasForms, Plain
from jaxelyte.potentials.part import Divisible, Part
from jaxelyte.potentials.zbl import zbl_atomic_energies
from jaxelyte.registry import DERIVED
from jaxelyte.system import System, as_batch, one_by_one
from jaxelyte.wording import counted


@dataclass(frozen=True)
class NequIPSource:
    """What a file held beyond the parameters, kept so that saving gives the file back.

    Attributes:
        config: the JSON text of its configuration, all keys.
        names: names of its arrays, in order.
        prefix: what stands before the names of the network's arrays.
        outer: what stands before the names of the global scale and shift.
        buffers: arrays that are no parameters, by name.
    """

    config: str
    names: tuple[str, ...]
    prefix: str
    outer: str
    buffers: tuple[tuple[str, HashableArray], ...]

    def buffer_arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are no parameters."""
        return {name: values.array for name, values in self.buffers}


@struct.dataclass
class NequIPPotential(Potential, Divisible, HasForms):
    """Energy of a NequIP network: E = Σ_i scale · (scales[t_i] · network_i + shifts[t_i]) + shift, and ZBL if asked.

    Attributes:
        params: the arrays, see `jaxelyte.models.parameters`; the only leaves.
        config: hyperparameters and species.
        source: the rest of the file that the model came from, if it did.
        requires: identities of the terms of its baseline, where it was trained on labels less a baseline: it can then
            only be used in a sum that holds them, each once.
        kernel: how convolutions are computed, None for plain JAX; set by `compiled`.
        tables: radial weights of each layer at some distances (`jaxelyte.models.table`), set by `compiled`. They are
            those of ``params`` at that time: who changes parameters does so before `compiled`.
        maps: the linear maps (`jaxelyte.models.linear`), likewise.
    """

    params: Any
    config: NequIP = struct.field(pytree_node=False)
    source: NequIPSource | None = struct.field(pytree_node=False, default=None, metadata=DERIVED)
    requires: tuple[str, ...] = struct.field(pytree_node=False, default=(), metadata=DERIVED)
    kernel: Kernel | None = struct.field(pytree_node=False, default=None, metadata=DERIVED)
    tables: Any = struct.field(default=None, metadata=DERIVED)
    maps: Any = struct.field(default=None, metadata=DERIVED)

    def __repr__(self) -> str:
        c = self.config
        size = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))
        needs = f", needs its baseline of {counted(len(self.requires), 'term')}" if self.requires else ""
        return (
            f"NequIPPotential({' '.join(c.type_names)}; r_max {c.r_max:g} Å, {c.num_layers} layers of {c.num_features} "
            f"features, l_max {c.l_max}, {counted(size, 'parameter')}{needs})"
        )

    def without_baseline(self) -> NequIPPotential:
        """The network alone, which is then a correction and no force field; for tests and comparisons."""
        return replace(self, requires=())

    def in_form(self, form: Form) -> NequIPPotential:
        """See `HasForms.in_form`; one that is compiled stays as it is."""
        if isinstance(form, Plain):
            return replace(self, kernel=None, tables=None, maps=None)
        if isinstance(form, Compiled):
            return self._compiled(form)
        if self.kernel is None and default_kernel() == Native():
            return replace(self, kernel=Native(tangents=True, knots=form.knots))
        return self

    def _compiled(self, form: Compiled) -> NequIPPotential:
        kernel = default_kernel(form.precision)
        if form.knots and kernel == Native():
            kernel = Native(knots=form.knots)
        if self.kernel is not None:
            if form.precision not in ("float32", precision_of(self.kernel)):
                raise InputError(
                    f"precision = {form.precision!r} is too late: this potential is compiled with that of "
                    f"{precision_of(self.kernel)} already; call "
                    f"potential.plain().compiled(precision={form.precision!r})"
                )
            return self
        if kernel is None:
            return self
        wanted = form.tables and kernel == Native()
        tabulated = radial_tables(self.config, self.params) if wanted else None
        widest = jnp.result_type(float)
        maps = make_maps(self.config.plan, jax.tree.map(lambda leaf: jnp.asarray(leaf, widest), self.params))
        return replace(self, kernel=kernel, tables=tabulated and tuple(map(jnp.float32, tabulated)), maps=maps)

    def requirements(self) -> tuple[NeighborSpec, ...]:
        return (NeighborSpec(self.config.r_max, exact=True),)

    def energies(self, systems: System, neighbors: Neighbors) -> Float[Array, " replicas"]:
        return jnp.sum(self._by_atom(systems, neighbors), axis=-1)

    def _by_atom(self, systems: System, neighbors: Neighbors) -> Float[Array, "replicas atoms"]:
        """The replicas as one graph without edges between them; the extra axis of ``vmap`` would cost layouts."""
        found = neighbors.get(self.requirements()[0])
        replicas, atoms = systems.numbers.shape
        offset = (atoms * jnp.arange(replicas, dtype=found.index.dtype))[:, None, None]
        index = jnp.where(found.mask, found.index + offset, replicas * atoms)
        vectors = jax.vmap(lambda lists, system: lists.vectors(system))(found, systems)
        flat = [x.reshape(replicas * atoms, *x.shape[2:]) for x in (self._types(systems), vectors, index, found.mask)]
        energies = self._network(self._params(systems), *flat).reshape(replicas, atoms)
        if self.config.zbl:
            zbl = partial(zbl_atomic_energies, cutoff=self.config.r_max, power=self.config.polynomial_cutoff_p)
            energies = energies + jax.vmap(zbl)(systems, found)
        return jnp.where(systems.mask, energies, jnp.zeros_like(energies))

    def share(self, part: Part) -> Scalar:
        """Features of other devices' atoms come from there before each convolution: copies within one cut-off do."""
        spec = self.requirements()[0]
        types = self._types(part.system)[: part.owned]
        params = self._params(part.system)
        energies = self._network(params, types, *part.pairs(spec), exchange=part.exchange)
        if self.config.zbl:
            power = self.config.polynomial_cutoff_p
            zbl = zbl_atomic_energies(part.system, part.neighbors.get(spec), self.config.r_max, power)
            energies = energies + zbl[: part.owned]
        return jnp.sum(jnp.where(part.system.mask[: part.owned], energies, jnp.zeros_like(energies)))

    def constants(self, systems: System) -> Float[Array, " replicas"]:
        return jnp.sum(self._shifts(systems), axis=-1) + self._params(systems)["shift"]

    def atomic_energies(self, system: System, neighbors: Neighbors) -> Float[Array, " atoms"]:
        """Energy of each atom in eV, its constant shift included (not the one of the whole system); 0 for padding."""
        return self._by_atom(as_batch(system), neighbors.as_batch())[0] + self._shifts(system)

    def prepare(self, systems: System, strain: float = 0.0) -> NequIPPotential:
        """Check the species.

        Raises:
            InputError: an element that the model was not trained on.
        """
        from ase.data import chemical_symbols

        known = species_table(self.config.type_names).array
        for system in one_by_one(systems):
            present = np.unique(np.asarray(system.numbers)[np.asarray(system.mask)])
            unknown = [chemical_symbols[z] for z in present if known[z] < 0]
            if unknown:
                raise InputError(
                    f"the NequIP model does not know {', '.join(unknown)}; it knows {', '.join(self.config.type_names)}"
                )
        return self

    def _network(
        self, params: Any, types: Array, vectors: Array, *lists: Array, exchange: Exchange | None = None
    ) -> Float[Array, " atoms"]:
        tables = self.tables if vectors.dtype == jnp.float32 else None  # float64 is for who wants more digits
        maps = self.maps and jax.tree.map(lambda leaf: jnp.asarray(leaf, vectors.dtype), self.maps)
        given = (self.config, params, types, vectors, *lists)
        return atomic_energies(*given, exchange=exchange, kernel=self.kernel, tables=tables, maps=maps)

    def _shifts(self, system: System) -> Float[Array, "*replicas atoms"]:
        params = self._params(system)
        shifts = params["scale"] * jnp.take(params["shifts"], self._types(system))
        return jnp.where(system.mask, shifts, jnp.zeros_like(shifts))

    def _types(self, system: System) -> Int[Array, "*replicas atoms"]:
        table = jnp.asarray(species_table(self.config.type_names).array)
        # Unknown species are refused by `prepare`; padding atoms, whose energy is masked, may hold any number.
        return jnp.maximum(jnp.take(table, system.numbers, mode="clip"), 0)

    def _params(self, system: System) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, system.positions.dtype), self.params)


def species_table(names: tuple[str, ...]) -> HashableArray:
    """Species of a model by atomic number, shape (119,), -1 where there is none."""
    from ase.data import atomic_numbers

    table = np.full(119, -1, np.int32)
    for kind, name in enumerate(names):
        table[atomic_numbers[name]] = kind
    return HashableArray(table)
