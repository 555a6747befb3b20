"""Names that nequip's PyTorch modules give to the arrays of a model, and the arrays that are no parameters."""

from __future__ import annotations

import numpy as np

from jaxelyte.models.config import NequIP
from jaxelyte.models.constants import wigner_3j
from jaxelyte.models.irreps import Irreps
from jaxelyte.models.structure import Linear
from jaxelyte.potentials.zbl import COULOMB_LAMMPS

NETWORK_MARK = "radial_basis.basis.bessel_weights"
"""An array that every model holds; what stands before it is the prefix of the network."""


def parameter_names(config: NequIP, prefix: str, outer: str) -> dict[str, str]:
    """File name of each parameter, by its dotted path in the tree of `jaxelyte.models.parameters`.

    Args:
        config: the model.
        prefix: what stands before the network's arrays.
        outer: what stands before the global scale and shift.
    """
    names = {
        "radial_basis.bessel_weights": prefix + NETWORK_MARK,
        "chemical_embedding": f"{prefix}chemical_embedding.linear.weight",
        "conv_to_output_hidden": f"{prefix}conv_to_output_hidden.linear.weight",
        "output_hidden_to_scalar": f"{prefix}output_hidden_to_scalar.linear.weight",
        "scales": f"{prefix}per_species_rescale.scales",
        "shifts": f"{prefix}per_species_rescale.shifts",
        "scale": f"{outer}scale_by",
        "shift": f"{outer}shift_by",
    }
    for i in range(config.num_layers):
        conv = f"{prefix}layer{i}_convnet.conv."
        names[f"layer{i}.linear_1"] = f"{conv}linear_1.weight"
        names[f"layer{i}.linear_2"] = f"{conv}linear_2.weight"
        if config.use_sc:
            names[f"layer{i}.self_connection"] = f"{conv}sc.weight"
        for j in range(config.invariant_layers + 1):
            names[f"layer{i}.radial.layer{j}"] = f"{conv}fc.layer{j}.weight"
    return names


def fresh_buffers(config: NequIP, prefix: str) -> dict[str, np.ndarray]:
    """The arrays of a model that are no parameters, as nequip would create them (float64).

    Args:
        config: the model.
        prefix: what stands before the network's arrays.
    """
    plan = config.plan
    buffers = _linear_buffers(f"{prefix}chemical_embedding.linear.", plan.embedding, bias=True)
    for i, layer in enumerate(plan.layers):
        name = f"{prefix}layer{i}_convnet."
        if layer.gate.gated:
            gated = sum(b.mul * b.dim for b in layer.gate.irreps_out[len(layer.gate.scalars) :])
            buffers[f"{name}equivariant_nonlin.mul.weight"] = np.zeros(0)
            buffers[f"{name}equivariant_nonlin.mul.output_mask"] = np.ones(gated)
        buffers |= _linear_buffers(f"{name}conv.linear_1.", layer.linear_1, bias=True)
        buffers[f"{name}conv.tp.weight"] = np.zeros(0)
        buffers[f"{name}conv.tp.output_mask"] = np.ones(_dim(layer.irreps_mid))
        for degrees in dict.fromkeys((p.l1, p.l2, p.l3) for p in layer.paths if p.l1 * p.l2 * p.l3):
            label = "_".join(str(degree) for degree in degrees)
            buffers[f"{name}conv.tp._compiled_main_left_right._w3j_{label}"] = wigner_3j(*degrees)
        buffers |= _linear_buffers(f"{name}conv.linear_2.", layer.linear_2, bias=True)
        if layer.self_connection is not None:
            buffers |= _linear_buffers(f"{name}conv.sc.", layer.self_connection, bias=False)
    buffers |= _linear_buffers(f"{prefix}conv_to_output_hidden.linear.", plan.output_hidden, bias=True)
    buffers |= _linear_buffers(f"{prefix}output_hidden_to_scalar.linear.", plan.output, bias=True)
    if config.zbl:
        from ase.data import atomic_numbers

        numbers = [float(atomic_numbers[name]) for name in config.type_names]
        buffers[f"{prefix}pair_potential.atomic_numbers"] = np.array(numbers)
    return buffers


def zbl_prefactor(scale: float) -> np.ndarray:
    """Nequip's stored Coulomb constant of the ZBL term: half of it, in units of the global scale."""
    return np.asarray(0.5 * COULOMB_LAMMPS / scale)


def _dim(irreps: Irreps) -> int:
    return sum(b.mul * b.dim for b in irreps)


def _linear_buffers(name: str, plan: Linear, *, bias: bool) -> dict[str, np.ndarray]:
    reached = {path.target for path in plan.paths}
    mask = [np.full(b.mul * b.dim, float(i in reached)) for i, b in enumerate(plan.irreps_out)]
    buffers = {f"{name}bias": np.zeros(0)} if bias else {}
    return buffers | {f"{name}output_mask": np.concatenate(mask)}
