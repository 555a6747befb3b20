"""The static structure of a NequIP network: which irreps, paths and slices of the weights each step uses.

Everything here is plain Python, made once per configuration. The plan keeps two things apart: the full structure, which
fixes the layout of the weights, and what of it can reach the energy, which is all that is ever evaluated. Going
backwards from the energy, a block of features that no later step uses is marked as not needed, and with it the
convolution paths and weight columns that would make it. The result is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.models.activations import RADIAL_ACTIVATIONS, Activation, activation, output_parity
from jaxelyte.models.irreps import (
    Block,
    Irreps,
    parse_irreps,
    path_exists,
    products,
    simplify,
    sort_permutation,
    spherical_irreps,
)

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP


class LinearPath(NamedTuple):
    """One weight matrix of a linear map: rows of block ``source``, columns of block ``target``."""

    source: int
    target: int
    start: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """An equivariant linear map in e3nn's layout; ``species`` > 0 makes the weights depend on the species.

    Attributes:
        irreps_in: blocks of the input.
        irreps_out: blocks of the output.
        paths: weight matrices, in the order of the flat weight.
        species: number of species, or 0.
        used: for each output block the range of channels to evaluate; an empty range for none.
    """

    irreps_in: Irreps
    irreps_out: Irreps
    paths: tuple[LinearPath, ...]
    species: int
    used: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Length of the flat weight."""
        return sum(_product(path.shape) for path in self.paths)

    def scale(self, target: int) -> float:
        """Normalisation of an output block: one over the square root of the number of its inputs."""
        fan_in = sum(_product(path.shape[:-1]) for path in self.paths if path.target == target)
        return fan_in**-0.5 if fan_in else 0.0

    def sources(self) -> set[int]:
        """Input blocks that the channels in use depend on."""
        return {path.source for path in self.paths if _width(self.used[path.target])}


class TensorPath(NamedTuple):
    """One path of a convolution: features ``source`` (degree l1) times harmonics (degree l2) to degree ``l3``.

    ``start`` is where its radial weights begin; ``mid`` is its block of the (simplified) result and ``offset`` its first
    channel there.
    """

    source: int
    l1: int
    l2: int
    l3: int
    mul: int
    start: int
    mid: int
    offset: int


@dataclass(frozen=True)
class Gate:
    """The nonlinearity of a layer.

    ``scalars`` and ``gated`` say where each output block takes its values from the input: (block, first channel,
    channels). ``gates`` gives for each gated block the same of its gates, with the function. For type "norm" only
    ``irreps_out`` counts.
    """

    irreps_in: Irreps
    irreps_out: Irreps
    scalars: tuple[tuple[tuple[int, int, int], Activation], ...]
    gated: tuple[tuple[tuple[int, int, int], tuple[int, int, int], Activation], ...]
    norm: Activation | None


@dataclass(frozen=True)
class Layer:
    """One convolution layer; see `jaxelyte.models.network`."""

    irreps_in: Irreps
    linear_1: Linear
    paths: tuple[TensorPath, ...]
    radial_size: int
    irreps_mid: Irreps
    linear_2: Linear
    self_connection: Linear | None
    gate: Gate
    resnet: bool
    needed: tuple[bool, ...]

    @property
    def active_paths(self) -> tuple[TensorPath, ...]:
        """The convolution paths that reach the energy."""
        mids = self.linear_2.sources()
        return tuple(path for path in self.paths if path.mid in mids)


@dataclass(frozen=True)
class Plan:
    """The whole network."""

    harmonics: Irreps
    embedding: Linear
    layers: tuple[Layer, ...]
    output_hidden: Linear
    output: Linear
    radial: Activation


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _width(span: tuple[int, int]) -> int:
    return span[1] - span[0]


def make_linear(irreps_in: Irreps, irreps_out: Irreps, species: int = 0) -> Linear:
    """The linear map between two sets of irreps, all channels in use."""
    paths, start = [], 0
    for i, source in enumerate(irreps_in):
        for j, target in enumerate(irreps_out):
            if source.ir == target.ir:
                shape = (source.mul, species, target.mul) if species else (source.mul, target.mul)
                paths.append(LinearPath(i, j, start, shape))
                start += _product(shape)
    return Linear(irreps_in, irreps_out, tuple(paths), species, tuple((0, b.mul) for b in irreps_out))


def hidden_irreps(config: NequIP) -> dict[str, Irreps]:
    """The four sets of irreps of a configuration, overrides applied.

    Raises:
        InputError: an override that is not a sum of irreps, or harmonics that are none.
    """
    n, parities = config.num_features, (1, -1) if config.parity else (1,)
    defaults = {
        "chemical_embedding_irreps_out": (Block(n, 0, 1),),
        "feature_irreps_hidden": tuple(Block(n, d, p) for p in parities for d in range(config.l_max + 1)),
        "irreps_edge_sh": spherical_irreps(config.l_max, -1 if config.parity else 1),
        "conv_to_output_hidden_irreps_out": (Block(max(1, n // 2), 0, 1),),
    }
    given = {name: getattr(config, name) for name in defaults}
    irreps = {
        name: default if given[name] is None else parse_irreps(given[name], name) for name, default in defaults.items()
    }
    edge = irreps["irreps_edge_sh"]
    if any(b.mul != 1 for b in edge):
        raise UnsupportedError(f"irreps_edge_sh = {given['irreps_edge_sh']!r} must hold each harmonic once")
    if not (all(b.p == 1 for b in edge) or all(b.p == (-1) ** b.l for b in edge)):
        raise InputError(f"irreps_edge_sh = {given['irreps_edge_sh']!r} mixes parities that harmonics do not have")
    return irreps


def _make_gate(config: NequIP, previous: Irreps, edge: Irreps, hidden: Irreps) -> Gate:
    reachable = [b for b in hidden if path_exists(previous, edge, b.ir)]
    scalars = tuple(b for b in reachable if b.l == 0)
    gated = simplify(b for b in reachable if b.l > 0)
    if config.nonlinearity_type == "norm":
        out = simplify(scalars + gated)
        return Gate(out, out, (), (), activation(config.nonlinearity_scalars.e, "nonlinearity_scalars['e']"))
    parity = 1 if path_exists(previous, edge, (0, 1)) else -1
    gates = tuple(Block(b.mul, 0, parity) for b in gated)
    pieces = (*scalars, *gates, *gated)
    # Merging neighbours before or after the (stable) sort gives the same blocks: one irrep's pieces keep their order.
    order = sort_permutation(pieces)
    irreps_in = simplify(pieces[i] for i in order)
    slots = _locate(pieces, order, irreps_in)
    scalar_slots = slots[: len(scalars)]
    gate_slots, gated_slots = slots[len(scalars) : len(scalars) + len(gates)], slots[len(scalars) + len(gates) :]
    acts = [_activation(config, "nonlinearity_scalars", b.p) for b in scalars]
    out = [Block(b.mul, 0, output_parity(a, b.p, "nonlinearity_scalars")) for b, a in zip(scalars, acts, strict=True)]
    gate_act = _activation(config, "nonlinearity_gates", parity)
    gate_parity = output_parity(gate_act, parity, "nonlinearity_gates") if gated else 1
    out += [Block(b.mul, b.l, b.p * gate_parity) for b in gated]
    return Gate(
        irreps_in,
        tuple(out),
        tuple(zip(scalar_slots, acts, strict=True)),
        tuple((x, g, gate_act) for x, g in zip(gated_slots, gate_slots, strict=True)),
        None,
    )


def _activation(config: NequIP, option: str, parity: int) -> Activation:
    letter = "e" if parity == 1 else "o"
    return activation(getattr(getattr(config, option), letter), f"{option}['{letter}']")


def _locate(pieces: Irreps, order: tuple[int, ...], merged: Irreps) -> list[tuple[int, int, int]]:
    """For each piece its block and first channel after sorting and merging, and its number of channels."""
    where = [(0, 0, 0)] * len(pieces)
    block, offset = 0, 0
    for i in order:
        if offset == merged[block].mul:
            block, offset = block + 1, 0
        where[i] = (block, offset, pieces[i].mul)
        offset += pieces[i].mul
    return where


def _make_paths(irreps_in: Irreps, edge: Irreps, out: Irreps) -> tuple[tuple[TensorPath, ...], Irreps]:
    targets = {b.ir for b in out}
    found = [
        (i, source, harmonic, ir)
        for i, source in enumerate(irreps_in)
        for harmonic in edge
        for ir in products(source, harmonic)
        if ir in targets
    ]
    mid = tuple(Block(source.mul, *ir) for _, source, _, ir in found)
    order = sort_permutation(mid)
    merged = simplify(mid[i] for i in order)
    where = _locate(mid, order, merged)
    paths, start = [], 0
    for (i, source, harmonic, ir), (block, offset, _) in zip(found, where, strict=True):
        paths.append(TensorPath(i, source.l, harmonic.l, ir[0], source.mul, start, block, offset))
        start += source.mul
    return tuple(paths), merged


def _make_layer(config: NequIP, previous: Irreps, irreps: dict[str, Irreps]) -> Layer:
    edge, hidden = irreps["irreps_edge_sh"], irreps["feature_irreps_hidden"]
    gate = _make_gate(config, previous, edge, hidden)
    paths, mid = _make_paths(previous, edge, gate.irreps_in)
    species = len(config.type_names)
    # nequip grants a residual connection by the irreps before the nonlinearity, which may change a parity.
    reachable = [b for b in hidden if path_exists(previous, edge, b.ir)]
    plain = simplify(sorted(reachable, key=lambda b: b.l > 0))
    return Layer(
        irreps_in=previous,
        linear_1=make_linear(previous, previous),
        paths=paths,
        radial_size=sum(path.mul for path in paths),
        irreps_mid=mid,
        linear_2=make_linear(mid, gate.irreps_in),
        self_connection=make_linear(previous, gate.irreps_in, species) if config.use_sc else None,
        gate=gate,
        resnet=config.resnet and plain == previous,
        needed=(True,) * len(gate.irreps_out),
    )


def _prune(layer: Layer, needed: set[int]) -> tuple[Layer, set[int]]:
    """Keep what the needed output blocks depend on; returns the layer and the input blocks that it needs."""
    gate = layer.gate
    slots: list[tuple[int, int, int]] = []
    if gate.norm is not None:
        slots = [(i, 0, gate.irreps_in[i].mul) for i in needed]
    for i, (slot, _) in enumerate(gate.scalars):
        slots += [slot] if i in needed else []
    for i, (slot, gate_slot, _) in enumerate(gate.gated):
        slots += [slot, gate_slot] if i + len(gate.scalars) in needed else []
    used = [(0, 0)] * len(gate.irreps_in)
    for block, offset, mul in slots:
        low, high = used[block] if _width(used[block]) else (offset, offset + mul)
        used[block] = (min(low, offset), max(high, offset + mul))
    linear_2 = replace(layer.linear_2, used=tuple(used))
    self_connection = layer.self_connection and replace(layer.self_connection, used=tuple(used))
    layer = replace(
        layer,
        linear_2=linear_2,
        self_connection=self_connection,
        needed=tuple(i in needed for i in range(len(gate.irreps_out))),
    )
    convolved = {path.source for path in layer.active_paths}
    linear_1 = replace(
        layer.linear_1, used=tuple((0, b.mul if i in convolved else 0) for i, b in enumerate(layer.irreps_in))
    )
    inputs = linear_1.sources() | (self_connection.sources() if self_connection else set())
    if layer.resnet:
        inputs |= needed
    return replace(layer, linear_1=linear_1), inputs


@lru_cache(maxsize=64)
def make_plan(config: NequIP) -> Plan:
    """The structure of a configuration.

    Raises:
        InputError: no species, or irreps from which no energy can be made.
        UnsupportedError: a nonlinearity that is not known.
    """
    if not config.type_names:
        raise InputError("the model has no species; give type_names, or call init(key, species)")
    irreps = hidden_irreps(config)
    one_hot = (Block(len(config.type_names), 0, 1),)
    embedding = make_linear(one_hot, irreps["chemical_embedding_irreps_out"])
    features, layers = embedding.irreps_out, []
    for _ in range(config.num_layers):
        layers.append(_make_layer(config, features, irreps))
        features = layers[-1].gate.irreps_out
    output_hidden = make_linear(features, irreps["conv_to_output_hidden_irreps_out"])
    output = make_linear(output_hidden.irreps_out, (Block(1, 0, 1),))
    if not output.paths or not output_hidden.paths:
        raise InputError("the features hold no even scalars, so there is no energy; check the irreps")
    reach = output.sources()
    output_hidden = replace(
        output_hidden, used=tuple((0, b.mul if i in reach else 0) for i, b in enumerate(output_hidden.irreps_out))
    )
    needed = output_hidden.sources()
    for i in reversed(range(len(layers))):
        layers[i], needed = _prune(layers[i], needed)
    radial = activation(config.nonlinearity_scalars.e, "nonlinearity_scalars['e']", RADIAL_ACTIVATIONS)
    return Plan(irreps["irreps_edge_sh"], embedding, tuple(layers), output_hidden, output, radial)
