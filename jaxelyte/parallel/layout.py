"""How a cell is divided among devices: equal slabs along each lattice vector, one domain a device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.system import System, perpendicular_widths

if TYPE_CHECKING:
    from jaxelyte.neighbors.lists import Neighbors, NeighborSpec
    from jaxelyte.parallel.plan import DomainPlan

AXIS = "domains"
"""Name of the only axis of the mesh of devices."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """Domains and the devices that they live on; static and hashable.

    Domain (a, b, c) holds the atoms whose fractional coordinates, wrapped into [0, 1), lie in [a, a + 1)/shape[0] and
    so on; it belongs to device c + shape[2] · (b + shape[1] · a).

    Attributes:
        shape: domains along each lattice vector.
        devices: one for each domain, of this process or of all processes of `jax.distributed`.
    """

    shape: Shape
    devices: tuple[Any, ...]

    @property
    def count(self) -> int:
        """Number of domains."""
        return len(self.devices)

    @property
    def mesh(self) -> Mesh:
        """The devices as a mesh for ``jax.shard_map``."""
        return Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))

    def offsets(self, halo: tuple[float, float, float]) -> tuple[Shape, ...]:
        """Differences between domains that exchange atoms, modulo the shape: each stands for one message a device.

        Args:
            halo: how far a domain sees beyond its faces, in fractions of the cell.
        """
        steps = []
        for many, width in zip(self.shape, halo, strict=True):
            reach = math.floor(width * many) + 1
            steps.append(sorted({step % many for step in range(-reach, reach + 1)}))
        return tuple(offset for offset in itertools.product(*steps) if any(offset))

    def permutation(self, offset: Shape) -> list[tuple[int, int]]:
        """(source, destination) of the message that each device sends to the domain at an offset from its own."""
        pairs = []
        for number, domain in enumerate(np.ndindex(self.shape)):
            target = [(d + o) % m for d, o, m in zip(domain, offset, self.shape, strict=True)]
            pairs.append((number, int(np.ravel_multi_index(target, self.shape))))
        return pairs

    def plan_lists(
        self, systems: System, specs: tuple[NeighborSpec, ...], skin: float, multiplier: float
    ) -> DomainPlan:
        """See `jaxelyte.neighbors.loop.plan_lists`, which calls this for lists that are divided."""
        from jaxelyte.parallel.plan import plan_domains

        return plan_domains(self, systems, specs, skin, multiplier)

    def neighbor_lists(self, system: System, specs: tuple[NeighborSpec, ...]) -> Neighbors:
        """See `jaxelyte.neighbors.neighbor_lists`, which calls this for lists that are divided."""
        from jaxelyte.parallel.plan import fixed_lists

        return fixed_lists(self, system, specs)


def choose_layout(systems: Sequence[System], devices: tuple[Any, ...], radius: float, shape: Shape | None) -> Layout:
    """The division with the fewest copies of atoms, or the one that is asked for.

    Args:
        systems: what it has to serve; the cells of all are divided alike.
        devices: one for each domain.
        radius: Å that a domain sees beyond its faces.
        shape: domains along each lattice vector, or None to choose.

    Raises:
        UnsupportedError: nothing is periodic.
        InputError: a shape that is not three positive numbers with the number of devices for product, or that divides
            a direction that is not periodic.
    """
    pbc, count = systems[0].pbc, len(devices)
    if not any(pbc) and count > 1:
        raise UnsupportedError(
            f"atoms without periodicity cannot be divided among {count} devices; run them on one (devices=None), or "
            "put them into a periodic cell with vacuum"
        )
    if shape is not None:
        return Layout(_checked_shape(shape, count, pbc), devices)
    widths = np.min([perpendicular_widths(np.asarray(s.cell, np.float64)) for s in systems], axis=0)
    candidates = [s for s in _factorizations(count) if all(p or m == 1 for m, p in zip(s, pbc, strict=True))]

    def seen(shape: Shape) -> float:
        """Volume that holds the atoms and copies of a domain, in the periodic directions."""
        slabs = [w if m == 1 else min(w / m + 2.0 * radius, w) for w, m in zip(widths, shape, strict=True)]
        return math.prod(slabs)

    return Layout(min(candidates, key=lambda s: (seen(s), s)), devices)


def whole_shape(shape: Any, count: int) -> Shape:
    """Domains along each lattice vector.

    Raises:
        InputError: anything but three integers whose product is the number of devices.
    """
    given = list(shape) if isinstance(shape, tuple | list | np.ndarray) and np.shape(shape) == (3,) else [0, 0, 0]
    if not all(isinstance(m, int | np.integer) and m >= 1 for m in given) or math.prod(given) != count:
        raise InputError(
            f"shape = {checks.shown(shape)} must be three integers whose product is the number of devices, {count}"
        )
    return (int(given[0]), int(given[1]), int(given[2]))


def _checked_shape(shape: Shape, count: int, pbc: tuple[bool, bool, bool]) -> Shape:
    shape = whole_shape(shape, count)
    for axis, (many, periodic) in enumerate(zip(shape, pbc, strict=True)):
        if many > 1 and not periodic:
            raise InputError(
                f"shape = {shape} divides direction {'abc'[axis]}, which is not periodic; use 1 domain along it"
            )
    return shape


def _factorizations(count: int) -> list[Shape]:
    divisors = [d for d in range(1, count + 1) if count % d == 0]
    return [(a, b, count // a // b) for a in divisors for b in divisors if count % (a * b) == 0]


def chosen_devices(request: Any) -> tuple[Any, ...]:
    """Devices from "all", a number, or a sequence of `jax.Device`.

    With several processes (`jax.distributed`) "all" are those of all processes.

    Raises:
        InputError: more devices than there are, none, or one of them twice.
    """
    there = jax.devices()
    if isinstance(request, str):
        if request != "all":
            raise InputError(f"devices = {request!r} must be 'all', a number, or a sequence of jax devices")
        return tuple(there)
    if isinstance(request, int) and not isinstance(request, bool):
        if not 1 <= request <= len(there):
            raise InputError(
                f"devices = {request}, but jax sees {len(there)} ({there[0].platform}); request at most that many, or "
                "start with XLA_FLAGS=--xla_force_host_platform_device_count=… for virtual ones on a CPU"
            )
        if request < len(there) and jax.process_count() > 1:
            raise InputError(f"devices = {request} leaves out some of {len(there)} in several processes; use 'all'")
        return tuple(there[:request])
    if not isinstance(request, Sequence) or not request or not all(isinstance(d, jax.Device) for d in request):
        raise InputError(f"devices = {request!r} must be 'all', a number, or a sequence of jax devices")
    if len(set(request)) != len(request):
        raise InputError(f"devices = {list(request)} name one device twice")
    return tuple(request)
