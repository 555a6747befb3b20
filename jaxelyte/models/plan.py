"""The static structure of a NequIP network: which irreps, paths and slices of the weights each step uses.

Everything here is plain Python, made once per configuration. The plan keeps two things apart: the full structure, which
fixes the layout of the weights, and what of it can reach the energy, which is all that is ever evaluated. Going
backwards from the energy, a block of features that no later step uses is marked as not needed, and with it the
convolution paths and weight columns that would make it. The result is exact.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.models.activations import ACTIVATIONS, RADIAL_ACTIVATIONS, Activation, activation, output_parity
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
from jaxelyte.models.structure import Gate, Layer, Linear, LinearPath, Plan, TensorPath, width

if TYPE_CHECKING:
    from jaxelyte.models.config import NequIP


def make_linear(irreps_in: Irreps, irreps_out: Irreps, species: int = 0) -> Linear:
    """The linear map between two sets of irreps, all channels in use."""
    paths, start = [], 0
    for i, source in enumerate(irreps_in):
        for j, target in enumerate(irreps_out):
            if source.ir == target.ir:
                shape = (source.mul, species, target.mul) if species else (source.mul, target.mul)
                paths.append(LinearPath(i, j, start, shape))
                start += math.prod(shape)
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
        return Gate(out, out, (), (), _activation(config, "nonlinearity_scalars", 1))
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


def _activation(config: NequIP, option: str, parity: int, allowed: tuple[str, ...] = tuple(ACTIVATIONS)) -> Activation:
    letter = "e" if parity == 1 else "o"
    return activation(getattr(getattr(config, option), letter), f"{option}['{letter}']", allowed)


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
        low, high = used[block] if width(used[block]) else (offset, offset + mul)
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
    radial = _activation(config, "nonlinearity_scalars", 1, RADIAL_ACTIVATIONS)
    return Plan(irreps["irreps_edge_sh"], embedding, tuple(layers), output_hidden, output, radial)
