"""What a plan consists of: linear maps, convolution paths, gates and layers, as plain immutable values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from jaxelyte.models.activations import Activation
from jaxelyte.models.irreps import Irreps


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
        return sum(math.prod(path.shape) for path in self.paths)

    def scale(self, target: int) -> float:
        """Normalisation of an output block: one over the square root of the number of its inputs."""
        fan_in = sum(math.prod(path.shape[:-1]) for path in self.paths if path.target == target)
        return fan_in**-0.5 if fan_in else 0.0

    def sources(self) -> set[int]:
        """Input blocks that the channels in use depend on."""
        return {path.source for path in self.paths if width(self.used[path.target])}


class TensorPath(NamedTuple):
    """One path of a convolution: features ``source`` (degree l1) times harmonics (degree l2) to degree ``l3``.

    ``start`` is where its radial weights begin; ``mid`` is its block of the (simplified) result and ``offset`` its
    first channel there.
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


def width(span: tuple[int, int]) -> int:
    """Length of a range of channels."""
    return span[1] - span[0]
