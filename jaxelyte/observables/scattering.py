"""What X-rays and neutrons see of partial structure factors: scattering of each species, and their weighted total.

    S(k) = 1 + Σ_ab f_a f_b sqrt(c_a c_b) (S_ab - δ_ab) / (Σ_a c_a f_a)²,   c_a = N_a / N,

the total structure factor of Faber and Ziman (Phil. Mag. 11, 153 (1965)): the coherent intensity per atom Σ_ab f_a f_b
sqrt(c_a c_b) S_ab, without <f²>, over <f>² (Keen, J. Appl. Cryst. 34, 172 (2001), compares the conventions). f_a(k) is
the X-ray form factor of a free atom (Waasmaier and Kirfel, Acta Cryst. A 51, 416 (1995)) in electrons, or the bound
coherent scattering length for neutrons in fm, both as the package periodictable holds them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from jaxelyte import checks
from jaxelyte.errors import InputError

Weighting = Literal["x-ray", "neutron"]

WEIGHTINGS = ("x-ray", "neutron")

LARGEST_K = 24.0 * math.pi
"""1/Å, up to which the form factors were fitted: sin θ / λ = 6 1/Å."""

NULL = 1e-6
"""Mean scattering over its root mean square, below which a sample scatters coherently by its contrast alone."""


def named_scatterers(scatterers: Any) -> dict[str, str]:
    """What each species is for the beam, from a mapping or a tuple of pairs.

    Raises:
        InputError: anything else.
    """
    pairs = scatterers
    if isinstance(scatterers, tuple) and all(isinstance(one, tuple) and len(one) == 2 for one in scatterers):
        pairs = dict(scatterers)
    found = checks.mapping("scatterers", pairs, "{'Na': 'Na+'}")
    for name, scatterer in found.items():
        checks.symbol("a key of scatterers", name)
        if not isinstance(scatterer, str) or not scatterer:
            raise InputError(f"scatterers[{name!r}] must name an ion or isotope, not {checks.shown(scatterer)}")
    return found


def check_weighting(weighting: str | None, scatterers: Mapping[str, str] | None) -> None:
    """Raise `InputError` for an unknown weighting, or scatterers without one."""
    if weighting is not None:
        checks.choice("weighting", weighting, WEIGHTINGS)
    if weighting is None and scatterers:
        raise InputError(f"scatterers = {dict(scatterers)} need a weighting: 'x-ray' or 'neutron'")


def scattering_factors(
    species: tuple[str, ...], k: np.ndarray, weighting: Weighting, *, scatterers: Mapping[str, str] | None = None
) -> np.ndarray:
    """Form factors in electrons or coherent scattering lengths in fm of each species, (species, k).

    Args:
        species: chemical symbols.
        k: (k,), 1/Å.
        weighting: "x-ray" or "neutron".
        scatterers: what a species is for the beam, where it is not the neutral atom of natural composition: an ion for
            X-rays, ``{"Na": "Na+", "Cl": "Cl-"}``, an isotope for neutrons, ``{"H": "D", "Li": "7-Li"}``.

    Raises:
        InputError: an unknown weighting or scatterer, or one that is not in the tables; k beyond the form factors.
    """
    check_weighting(checks.choice("weighting", weighting, WEIGHTINGS), scatterers)
    named = {} if scatterers is None else named_scatterers(scatterers)
    stray = sorted(set(named) - set(species))
    if stray:
        raise InputError(f"scatterers name {', '.join(stray)}, which is not among {', '.join(species)}")
    if weighting == "x-ray":
        if np.max(k, initial=0.0) > LARGEST_K:
            raise InputError(f"form factors end at {LARGEST_K:.1f} 1/Å, and k goes to {np.max(k):.4g} 1/Å; lower k_max")
        return np.stack([_form_factor(named.get(one, one), k) for one in species])
    return np.stack([np.full(len(k), _length(named.get(one, one))) for one in species])


def total_weights(factors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Weights w of S - 1 = Σ_{a<=b} w_ab (S_ab - δ_ab), (pairs, k), pairs in the order (0, 0), (0, 1), …, (1, 1), ….

    Args:
        factors: (species, k), f_a(k).
        counts: (species,), atoms of each species.

    Raises:
        InputError: scattering lengths that cancel: there is no S(k) then, which is relative to <f>².
    """
    share = counts / counts.sum()
    mean, square = share @ factors, share @ factors**2
    if np.any(np.abs(mean) < NULL * np.sqrt(square)):
        raise InputError(
            f"the scattering lengths of the sample cancel (mean {float(np.min(np.abs(mean))):.3g} fm), and S(k) is "
            "relative to their mean; name isotopes by scatterers=, or look at the partial structure factors"
        )
    weighted = factors * np.sqrt(share)[:, None]
    first, second = np.triu_indices(len(counts))
    twice = np.where(first == second, 1.0, 2.0)[:, None]
    return twice * weighted[first] * weighted[second] / mean**2


def _form_factor(name: str, k: np.ndarray) -> np.ndarray:
    from periodictable.cromermann import fxrayatq

    try:
        return np.asarray(fxrayatq(name, k), np.float64)
    except KeyError as error:
        raise InputError(
            f"there is no X-ray form factor of {name!r}; write an atom as 'Na' or an ion as 'Na+' or 'Ca2+'"
        ) from error


def _length(name: str) -> float:
    import periodictable

    try:
        atom: Any = periodictable.elements.isotope(name)
    except ValueError as error:
        raise InputError(
            f"there is no nuclide {name!r}; write an element as 'Li', an isotope as 'D' or '7-Li'"
        ) from error
    if atom.neutron is None or atom.neutron.b_c is None:
        raise InputError(f"there is no neutron scattering length of {name}; name an isotope by scatterers=")
    return float(atom.neutron.b_c)
