"""Pictures of radial distribution functions: one panel, or one for each kind of pairs with n(r) beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxelyte.plots.palette import pair_color
from jaxelyte.plots.style import band, draws, labelled, level, new_axes, quiet

if TYPE_CHECKING:
    from jaxelyte.observables.curve import RDFResult

NONMETALS = frozenset(("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"))

BOND = 1.3
"""Of the sum of covalent radii, within which two nonmetals are bonded."""

LEAST = 2.0
"""Height of g that a bond has at least; what comes as close by chance is lower."""

FIRST = 0.3
"""Å beyond a bond, from where the rest of a distribution function decides the range of a picture."""

MOST_NEIGHBORS = 16.0
"""Upper end of a panel of coordination numbers, where shells within reach do not hold fewer."""


def bond(result: RDFResult, number: int) -> float | None:
    """Distance in Å within which a pair of a result is bonded; None for pairs that are not."""
    from ase.data import atomic_numbers, covalent_radii

    pair = result.pairs[number]
    if not set(pair) <= NONMETALS:
        return None
    reach = BOND * float(sum(covalent_radii[atomic_numbers[name]] for name in pair))
    one = result[number]
    return reach if float(one.g[one.r < reach].max(initial=0.0)) > LEAST else None


def kinds(result: RDFResult) -> dict[str, list[int]]:
    """Numbers of the pairs of a result by kind: ions, ions and solvent, solvent; one kind where there are no molecules.

    Elements with a bond between them are those of the solvent, and so are O and H.
    """
    elements = {name for pair in result.pairs for name in pair}
    molecular = {name for n, pair in enumerate(result.pairs) if bond(result, n) is not None for name in pair}
    molecular |= {"O", "H"} if {"O", "H"} <= elements else set()
    names = ("ions", "ions and solvent", "solvent, between molecules") if molecular else ("", "", "")
    found: dict[str, list[int]] = {}
    for number, pair in enumerate(result.pairs):
        found.setdefault(names[sum(name in molecular for name in pair)], []).append(number)
    return {name: found[name] for name in dict.fromkeys(names) if name in found}


@draws("RDFResult")
def rdf(result: RDFResult, ax: Any = None, *, coordination: bool = False) -> Any:
    """Draw g(r) of all pairs with bands of one standard error; returns the axes.

    Bonds within molecules rise far above all other peaks: the range of the picture is that of the rest, and the legend
    says where they end. Pairs that never came within the range are named there, too.

    Args:
        result: one or several pairs.
        ax: matplotlib axes to draw into; a new figure by default.
        coordination: add the running coordination numbers on a second axis, dashed.
    """
    ax = new_axes(ax)
    level(ax, 1.0)
    second = ax.twinx() if coordination else None
    for number in range(len(result.pairs)):
        _curve(result, number, ax)
        if second is not None:
            one = result[number]
            color = pair_color(*result.pairs[number])
            second.plot(one.edges[1:], one.coordination, color=color, linewidth=1.0, linestyle="--")
    ax.set_xlim(0.0, result.edges[-1])
    ax.set_ylim(0.0, _highest(result, range(len(result.pairs))))
    if second is not None:
        quiet(second)
        second.grid(visible=False)
        second.spines["right"].set_visible(True)
        second.set_ylabel("coordination number (dashed)")
        second.set_ylim(0.0, _useful_number(result, range(len(result.pairs))))
    return labelled(ax, "r / Å", "g(r)")


@draws("RDFResult")
def rdf_panels(result: RDFResult) -> Any:
    """Draw g(r) and beside it n(r): ions, ions and solvent, and solvent in rows of their own, and bonds apart.

    Args:
        result: one or several pairs.

    Returns:
        The axes of a new figure, (rows, 2).
    """
    import matplotlib.pyplot as plt

    groups = kinds(result)
    bonded = [n for n in range(len(result.pairs)) if bond(result, n) is not None]
    rows = len(groups) + bool(bonded)
    _, axes = plt.subplots(rows, 2, figsize=(9.0, 2.9 * rows), dpi=120, layout="constrained", squeeze=False)
    for (name, numbers), (left, right) in zip(groups.items(), axes, strict=False):
        _row(result, numbers, left, right)
        left.set_title(name, fontsize=10, loc="left")
    if bonded:
        left, right = axes[-1]
        _row(result, bonded, left, right, within=True)
        left.set_title("bonds", fontsize=10, loc="left")
    return axes


def _row(result: RDFResult, numbers: list[int], left: Any, right: Any, *, within: bool = False) -> None:
    """g(r) of some pairs on the left, n(r) on the right; either beyond their bonds or within them."""
    for ax in (left, right):
        quiet(ax)
    level(left, 1.0)
    for number in numbers:
        _curve(result, number, left, bonds=within, beyond=not within)
        one, (a, b) = result[number], result.pairs[number]
        if np.any(one.g > 0.0):
            number_label = f"{b} around {a}"
            ends, color = one.edges[1:], pair_color(a, b)
            band(right, ends, one.coordination, one.coordination_error, color=color, label=number_label)
    reaches = [bond(result, n) or 0.0 for n in numbers]
    if within:
        end = min(float(result.edges[-1]), max(reaches) + FIRST)
        left.set(xlim=(0.5 * min(reaches), end), ylim=(0.0, None))
        right.set(xlim=(0.5 * min(reaches), end), ylim=(0.0, 1.1 * max(1.0, _number_at(result, numbers, end))))
    else:
        start = max(0.0, min(_onset(result, n) for n in numbers) - 0.4)
        left.set(xlim=(start, result.edges[-1]), ylim=(0.0, _highest(result, numbers)))
        right.set(xlim=(start, result.edges[-1]), ylim=(0.0, _useful_number(result, numbers)))
    labelled(left, "r / Å", "g(r)")
    labelled(right, "r / Å", "n(r), neighbours within r")


def _curve(result: RDFResult, number: int, ax: Any, *, bonds: bool = False, beyond: bool = False) -> None:
    """One g(r) with its band, perhaps beyond its bond only; a mere entry of the legend for pairs never seen."""
    one, pair, reach = result[number], result.pairs[number], bond(result, number)
    name, color = "–".join(pair), pair_color(*pair)
    if not np.any(one.g > 0.0):
        ax.plot([], [], color=color, linestyle=":", label=f"{name}: not sampled")
        return
    if reach is not None and not bonds:
        top = int(np.argmax(np.where(one.r < reach, one.g, 0.0)))
        name += f" (bond: {one.g[top]:.0f} at {one.r[top]:.2f} Å)"
    shown = one.r > (reach if reach is not None and beyond else 0.0)
    band(ax, one.r[shown], one.g[shown], one.error[shown], color=color, label=name)


def _onset(result: RDFResult, number: int) -> float:
    """Å, where a distribution function begins, bonds left out."""
    one, reach = result[number], bond(result, number) or 0.0
    seen = one.r[(one.g > 0.0) & (one.r > reach + FIRST * (reach > 0.0))]
    return float(seen[0]) if len(seen) else float(result.edges[-1])


def _highest(result: RDFResult, numbers: Any) -> float:
    """Upper end of a panel of g(r): what lies beyond bonds."""
    tops = [1.5]
    for number in numbers:
        one, reach = result[number], bond(result, number)
        beyond = one.r > (0.0 if reach is None else reach + FIRST)
        upper = one.g + np.nan_to_num(one.error)
        tops.append(float(upper[beyond].max(initial=0.0)))
    return 1.08 * max(tops)


def _number_at(result: RDFResult, numbers: list[int], distance: float) -> float:
    at = int(np.searchsorted(result.edges[1:], distance))
    return max(float(result[n].coordination[min(at, len(result.r) - 1)]) for n in numbers)


def _useful_number(result: RDFResult, numbers: Any) -> float:
    """Upper end of a coordination axis: a little more than the shells in the lower half of the range."""
    inside = result.edges[1:] <= 0.6 * result.edges[-1]
    highest = max(float(result[k].coordination[inside].max(initial=0.0)) for k in numbers)
    return max(1.0, 1.1 * min(highest, MOST_NEIGHBORS))
