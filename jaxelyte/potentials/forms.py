"""The forms in which a potential is evaluated: plain, compiled for speed, or for forward mode."""

from __future__ import annotations

from dataclasses import dataclass

from jaxelyte.models.tiling import Precision
from jaxelyte.potentials.base import Potential, map_leaves


@dataclass(frozen=True)
class Plain:
    """Plain JAX, differentiable in any way; the only form that changes when its parameters do."""


@dataclass(frozen=True)
class Compiled:
    """The form that dynamics and calculators evaluate: the same energies and forces, faster.

    Convolutions of networks are kernels on GPUs (`jaxelyte.models.kernels`) and C on CPUs (`jaxelyte.models.native`,
    which needs a C compiler; ``JAXELYTE_NATIVE=0`` leaves it out). They allow gradients of any order in reverse mode,
    but no forward mode (``jax.jvp``).

    Parameters are changed before: the compiled form evaluates those that it was made with. What fits parameters or
    reweights refuses it; `Potential.plain` takes it back.

    Attributes:
        tables: on CPUs and in float32, interpolate radial weights (`jaxelyte.models.table`) instead of evaluating the
            radial networks. Weights are right to 1e-6 of their root mean square, forces of the published models to 1e-5
            eV/Å. False, to be called before a potential is given to `simulate`, is without.
        precision: of the inputs of products of matrices in networks: "tf32" (10 bits of mantissa) and "bf16" (7 bits)
            are for NVIDIA GPUs, whose units for them are faster; sums are float32. `form_error` says what it does to
            the forces, also where there is no GPU: networks then run in plain JAX, rounding what a GPU would.
        knots: of tables of parameters that are traced, on CPUs; 0 for none, see `jaxelyte.models.tiling.Native`.
    """

    tables: bool = True
    precision: Precision = "float32"
    knots: int = 0


@dataclass(frozen=True)
class Tangents:
    """The form for forward mode, and reverse mode over it: the same energies, and the same parameters.

    Convolutions of networks are C on CPUs (`jaxelyte.models.tangents`). Reverse mode alone is for `Compiled`.

    Attributes:
        knots: on CPUs, of tables of radial weights that are made of the parameters; 0 for radial networks.
    """

    knots: int = 0


Form = Plain | Compiled | Tangents


class HasForms:
    """The ability of a potential that other forms evaluate faster."""

    def in_form(self, form: Form) -> Potential:
        """The same energies in another form.

        Raises:
            InputError: a precision that is not known, or another one than that of a form that is compiled already.
        """
        raise NotImplementedError


def in_form(potential: Potential, form: Form) -> Potential:
    """The potential with all that has forms in this one; the rest is the same in each of them."""
    return map_leaves(potential, lambda leaf: leaf.in_form(form) if isinstance(leaf, HasForms) else leaf)
