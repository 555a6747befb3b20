"""Choice of the Ewald and P3M parameters from one tolerance, on the host.

All estimates are root mean square errors of the force on a charged atom, for charges placed at random (Kolafa and
Perram, Mol. Simul. 9, 351 (1992)), with Q2 = Σ q_i² over N charges:

    real space    ΔF² = Q2²/N · (4π/V) ∫_{r_c}^∞ r² f(r)² dr,    f(r) = -v'(r)
    direct sum    ΔF² = Q2²/N · (1/V²) Σ_{k left out} G(k)² k²,   G(k) = (4π/k²) exp(-k²/4α²)
    mesh          ΔF² = Q2²/N · (pair error) + Σ q_i⁴/N · (self error): lattice sums over the aliases of each k

They are evaluated as they stand, by quadrature and by sums over the actual k-vectors, so they hold in any triclinic
cell; of several cells the worst counts. The mesh error is that of forces by differentiating the mesh energy with the
kernel G/W² (smooth PME). With R_m = W(k_m)/W(k), k_m the aliases of k, the pair force is
Σ_k G Σ_{mn} R_m R_n i k_m exp(i k_m r_i - i k_n r_j); its mean square error over positions is
Σ_k G² [(Σ_m R_m² k_m²)(Σ_n R_n²) - k²], and i = j gives the force of an atom on itself. Each half of the splitting gets
half of the tolerance, so the sum stays within it, with a reserve of √2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from scipy.special import erfc

from jaxelyte.arrays import HashableArray
from jaxelyte.errors import InputError
from jaxelyte.neighbors.search import image_offsets
from jaxelyte.potentials.p3m import ORDER
from jaxelyte.system import perpendicular_widths

PAIR_COST, LIST_COST, PHASE_COST, MESH_COST, SPREAD_COST = 20.0, 40.0, 3.5, 55.0, 6.0
"""Nanoseconds, forces included, of: a pair in the all-pairs sum; an entry of a neighbour list; a charge times a
k-vector; a mesh point; a charge times a node of the B-spline. Measured on two CPU cores; only their ratios matter."""

MESH_START = 3.0e5
"""Nanoseconds that a mesh costs however small it is (transforms)."""

LARGEST_DIRECT = 4.0e7
"""Charges times k-vectors above which the direct sum is not even considered: its phases would fill the memory."""

LARGEST_MESH = 384**3
LARGEST_BOX = 200_000
"""Mesh points and k-vectors above which a plan is given up."""

RUNG = 1.01
"""Between neighbouring splitting parameters: static numbers that many cells have in common share compiled programs."""

ALIASES = np.arange(-3, 4)
SKIN = 1.0


@dataclass(frozen=True)
class Content:
    """What the estimates need to know of a system: number of charges N, Σ q² and Σ q⁴ in units of e² e²/(4π ε0 ε_r)."""

    count: int
    square: float
    fourth: float


@dataclass(frozen=True)
class SplitPlan:
    """Static parameters of one Ewald splitting.

    Attributes:
        alpha: splitting parameter in 1/Å.
        cutoff: real-space cut-off in Å.
        kmax: largest reciprocal index along each axis (direct sum), or None.
        mesh: mesh points along each axis (P3M), or None.
        offsets: lattice offsets of the all-pairs real-space sum, or None where it uses a neighbour list.
        error: estimated RMS force error in eV/Å.
        cost: estimated time per force evaluation in ns.
    """

    alpha: float
    cutoff: float
    kmax: tuple[int, int, int] | None
    mesh: tuple[int, int, int] | None
    offsets: HashableArray | None
    error: float = field(compare=False)
    cost: float = field(compare=False)


def real_error(cell: np.ndarray, content: Content, alpha: float, cutoff: float) -> float:
    """RMS force error in eV/Å of leaving out pairs beyond ``cutoff``."""
    r = cutoff + np.linspace(0.0, 6.0 / alpha, 241)
    force = erfc(alpha * r) / r**2 + 2.0 * alpha / math.sqrt(math.pi) * np.exp(-((alpha * r) ** 2)) / r
    integral = np.trapezoid(r**2 * force**2, r)
    return content.square * math.sqrt(4.0 * math.pi * integral / abs(np.linalg.det(cell)) / content.count)


def direct_error(cell: np.ndarray, content: Content, alpha: float, kmax: tuple[int, int, int]) -> float:
    """RMS force error in eV/Å of leaving out the k-vectors outside the box ``kmax``."""
    reach = 2.0 * math.pi * (np.array(kmax) + 1) / np.linalg.norm(cell, axis=1)
    # Beyond this radius the terms are smaller than those just outside the box by exp(-9).
    radius = math.sqrt(float(np.min(reach)) ** 2 + 18.0 * alpha**2)
    outer = np.maximum(np.ceil(radius * np.linalg.norm(cell, axis=1) / (2.0 * math.pi)).astype(int), np.array(kmax) + 1)
    axes = np.meshgrid(*(np.arange(-n, n + 1) for n in outer), indexing="ij")
    inside = np.all([np.abs(n) <= m for n, m in zip(axes, kmax, strict=True)], axis=0)
    k = np.stack([n[~inside] for n in axes], axis=-1) @ _reciprocal(cell)
    square = np.sum(k**2, axis=1)
    total = np.sum(16.0 * math.pi**2 / square * np.exp(-square / (2.0 * alpha**2)))
    return content.square * math.sqrt(float(total) / content.count) / abs(np.linalg.det(cell))


def mesh_error(cell: np.ndarray, content: Content, alpha: float, mesh: tuple[int, int, int]) -> float:
    """RMS force error in eV/Å of the mesh; see the module docstring for the sums."""
    moments = [_alias_moments(n) for n in mesh]
    rows = _reciprocal(cell)
    metric = rows @ rows.T
    index = np.meshgrid(*(m["index"] for m in moments), indexing="ij")
    square = sum(metric[a, b] * index[a] * index[b] for a in range(3) for b in range(3))
    origin = square == 0.0
    kernel = np.where(origin, 0.0, 4.0 * math.pi / np.where(origin, 1.0, square))
    kernel *= np.exp(-square / (4.0 * alpha**2))

    def product(*names: str) -> np.ndarray:
        x, y, z = (moments[a][name] for a, name in enumerate(names))
        return x[:, None, None] * y[:, None] * z

    norm = product("s0", "s0", "s0")
    weighted = np.zeros_like(norm)
    for a, b in itertools.product(range(3), repeat=2):
        names = ["s0"] * 3
        if a == b:
            names[a] = "s2"
        else:
            names[a] = names[b] = "s1"
        weighted += metric[a, b] * product(*names)
    pair = float(np.sum(kernel**2 * np.maximum(weighted * norm - square, 0.0)))
    self_force = 0.0
    for axis in range(3):
        vector = []
        for a in range(3):
            names = ["s0"] * 3
            names[axis] = "p0"
            if a != axis:
                names[a] = "s1"
            else:
                names[a] = "p1"
            vector.append(float(np.sum(kernel * product(*names))))
        self_force += 2.0 * float(np.sum((np.array(vector) @ rows) ** 2))
    total = content.square**2 * pair + content.fourth * self_force
    return math.sqrt(total / content.count) / abs(np.linalg.det(cell))


def _alias_moments(points: int) -> dict[str, np.ndarray]:
    """Sums over the aliases m of one axis: Σ R_m², Σ R_m² κ_m, Σ R_m² κ_m², Σ R_m R_{m-1}, Σ R_m R_{m-1} κ_m."""
    index = np.fft.fftfreq(points) * points
    alias = index[:, None] + ALIASES * points
    ratio = (np.sinc(alias / points) / np.sinc(index / points)[:, None]) ** ORDER
    square, shifted = ratio**2, ratio[:, 1:] * ratio[:, :-1]
    return {
        "index": index,
        "s0": np.sum(square, axis=1),
        "s1": np.sum(square * alias, axis=1),
        "s2": np.sum(square * alias**2, axis=1),
        "p0": np.sum(shifted, axis=1),
        "p1": np.sum(shifted * alias[:, 1:], axis=1),
    }


def _reciprocal(cell: np.ndarray) -> np.ndarray:
    return 2.0 * math.pi * np.linalg.inv(cell).T


def plan_split(cells: np.ndarray, content: Content, tolerance: float, method: str, cutoff: float | None) -> SplitPlan:
    """Cheapest parameters whose estimated force error stays below the tolerance in every cell.

    Args:
        cells: shape (systems, 3, 3), Å, rows are lattice vectors; fully periodic.
        content: of the system, or the largest sums among several.
        tolerance: RMS force error in eV/Å.
        method: "ewald", "p3m" or "auto" (the cheaper of the two).
        cutoff: real-space cut-off in Å, or None to choose it too.

    Raises:
        InputError: the tolerance cannot be reached with mesh or k-space of reasonable size.
    """
    plans = []
    cells = np.unique(cells, axis=0)
    for r in _cutoffs(cells) if cutoff is None else [float(cutoff)]:
        alpha = _solve_alpha(cells, content, tolerance / 2, r)
        if alpha is None:
            continue
        offsets, pair_cost = _real_space(cells, content, r)
        if method in ("ewald", "auto"):
            plans.append(_direct_plan(cells, content, tolerance, alpha, r, offsets, pair_cost))
        if method in ("p3m", "auto"):
            plans.append(_mesh_plan(cells, content, tolerance, alpha, r, offsets, pair_cost))
    # Rough costs first, exact errors for the winner only: the sums over the aliases take milliseconds each.
    for plan in sorted(plans, key=lambda p: p.cost):
        exact = _refine_direct(cells, content, plan) if plan.mesh is None else _refine_mesh(cells, content, plan)
        if exact is not None and exact.error <= tolerance:
            return exact
    raise InputError(
        f"no splitting reaches a force error of {tolerance} eV/Å with cut-off {cutoff or 'chosen freely'} and method "
        f"{method!r}; ask for a larger tolerance or a longer cut-off"
    )


def _cutoffs(cells: np.ndarray) -> list[float]:
    """Candidates: below half the smallest width with room for the skin, at half of it, and beyond (by images)."""
    half = float(np.min(_widths(cells))) / 2.0
    ladder = {*(math.floor(10.0 * r) / 10.0 for r in (0.98 * half, half - SKIN)), *np.geomspace(3.0, 16.0, 16)}
    return sorted(float(r) for r in ladder if 2.0 <= r <= 16.0) or [3.0]


def _widths(cells: np.ndarray) -> np.ndarray:
    return np.min([perpendicular_widths(cell) for cell in cells], axis=0)


def _volumes(cells: np.ndarray) -> np.ndarray:
    return np.abs(np.linalg.det(cells))


def _real_space(cells: np.ndarray, content: Content, cutoff: float) -> tuple[HashableArray | None, float]:
    """All pairs or a neighbour list, whichever costs less, and its cost in ns."""
    volume = float(np.min(_volumes(cells)))
    reach = np.floor(1.02 * cutoff / _widths(cells) + 0.5)
    everyone = content.count**2 * float(np.prod(2.0 * reach + 1.0))
    listed = content.count * (10.0 + 1.25 * content.count / volume * 4.0 / 3.0 * math.pi * (cutoff + SKIN) ** 3)
    if PAIR_COST * everyone <= LIST_COST * listed or everyone < 3000:
        return image_offsets(cells, (True, True, True), 1.02 * cutoff), PAIR_COST * everyone
    # A list that needs images makes every search slower, so it must win clearly.
    penalty = 1.0 if np.all(_widths(cells) >= 2.0 * (cutoff + SKIN)) else 1.5
    return None, penalty * LIST_COST * listed


def _solve_alpha(cells: np.ndarray, content: Content, tolerance: float, cutoff: float) -> float | None:
    """Smallest α on the ladder whose real-space error is within the tolerance, None where that is beyond float64."""
    # Among pairs at random the error goes as the density.
    cell = cells[np.argmin(_volumes(cells))]
    low, high = 0.5 / cutoff, 6.0 / cutoff
    if real_error(cell, content, high, cutoff) > tolerance:
        return None
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if real_error(cell, content, middle, cutoff) > tolerance else (low, middle)
    return RUNG ** math.ceil(math.log(high) / math.log(RUNG))


def _direct_plan(
    cells: np.ndarray, content: Content, tolerance: float, alpha: float, cutoff: float,
    offsets: HashableArray | None, pair_cost: float,
) -> SplitPlan:  # fmt: skip
    """Integral estimate of the k-vectors needed: ΔF² = Q2²/N · (8 α/V) √(π/2) erfc(k/√2 α)."""
    volume, lengths = float(np.min(_volumes(cells))), np.max(np.linalg.norm(cells, axis=2), axis=0)
    wanted = (tolerance / 2 / content.square) ** 2 * content.count * volume / (8.0 * alpha * math.sqrt(math.pi / 2.0))
    x = np.linspace(0.2, 6.5, 127)
    k = math.sqrt(2.0) * alpha * float(x[np.argmax(erfc(x) <= wanted)] if erfc(x[-1]) <= wanted else x[-1])
    kmax = np.maximum(np.floor(k * lengths / (2.0 * math.pi)), 1).astype(int)
    phases = content.count * (kmax[0] + 1) * (2 * kmax[1] + 1) * (2 * kmax[2] + 1)
    cost = pair_cost + PHASE_COST * float(phases) * (1.0 if phases < LARGEST_DIRECT else 100.0)
    return SplitPlan(alpha, cutoff, _triple(kmax), None, offsets, tolerance / 2, cost)


def _refine_direct(cells: np.ndarray, content: Content, plan: SplitPlan) -> SplitPlan | None:
    assert plan.kmax is not None
    kmax = plan.kmax
    for _ in range(40):
        if np.prod(2 * np.array(kmax) + 1) > LARGEST_BOX:
            return None
        errors = [direct_error(cell, content, plan.alpha, kmax) for cell in cells]
        worst = int(np.argmax(errors))
        if errors[worst] <= plan.error:
            total = math.hypot(errors[worst], _largest_real_error(cells, content, plan))
            return SplitPlan(plan.alpha, plan.cutoff, kmax, None, plan.offsets, total, plan.cost)
        # Extend the axis whose first omitted plane is nearest to the origin.
        nearest = int(np.argmin((np.array(kmax) + 1) / np.linalg.norm(cells[worst], axis=1)))
        kmax = _triple(n + (axis == nearest) for axis, n in enumerate(kmax))
    return None


def _mesh_plan(
    cells: np.ndarray, content: Content, tolerance: float, alpha: float, cutoff: float,
    offsets: HashableArray | None, pair_cost: float,
) -> SplitPlan:  # fmt: skip
    """First guess of the mesh from the rule h α ≈ (tolerance scale)^(1/order); `_refine_mesh` makes it exact."""
    volume = float(np.min(_volumes(cells)))
    scale = content.square * math.sqrt(alpha / (content.count * volume)) * alpha
    spacing = (max(tolerance / 2 / scale, 1e-12) / 2.0) ** (1.0 / ORDER) * 1.6 / alpha
    mesh = mesh_shape(cells, spacing)
    cost = pair_cost + MESH_START + MESH_COST * float(np.prod(mesh)) + SPREAD_COST * content.count * 3 * ORDER**3
    return SplitPlan(alpha, cutoff, None, mesh, offsets, tolerance / 2, cost)


def _refine_mesh(cells: np.ndarray, content: Content, plan: SplitPlan) -> SplitPlan | None:
    assert plan.mesh is not None
    spacing = float(np.max(np.linalg.norm(cells, axis=2) / np.array(plan.mesh)))
    for _ in range(25):
        mesh = mesh_shape(cells, spacing)
        if np.prod(mesh) > LARGEST_MESH:
            return None
        error = max(mesh_error(cell, content, plan.alpha, mesh) for cell in cells)
        if error <= plan.error:
            total = math.hypot(error, _largest_real_error(cells, content, plan))
            return SplitPlan(plan.alpha, plan.cutoff, None, mesh, plan.offsets, total, plan.cost)
        spacing *= min(0.92, (plan.error / error) ** (1.0 / ORDER))
    return None


def _largest_real_error(cells: np.ndarray, content: Content, plan: SplitPlan) -> float:
    return max(real_error(cell, content, plan.alpha, plan.cutoff) for cell in cells)


def _triple(values: Iterable[int]) -> tuple[int, int, int]:
    a, b, c = (int(v) for v in values)
    return a, b, c


def mesh_shape(cells: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """Even sizes with factors 2, 3 and 5 only, fine enough for a spacing in Å along each lattice vector."""
    sizes = []
    for length in np.max(np.linalg.norm(cells, axis=2), axis=0):
        size = max(2 * ORDER, math.ceil(length / spacing))
        while size % 2 or not _smooth(size):
            size += 1
        sizes.append(size)
    return sizes[0], sizes[1], sizes[2]


def _smooth(size: int) -> bool:
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    return size == 1
