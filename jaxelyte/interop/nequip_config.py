"""nequip's configuration keys (versions 0.5 and 0.6) to and from `NequIP`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxelyte.errors import InputError, UnsupportedError
from jaxelyte.interop.nequip_keys import check_keys
from jaxelyte.models.config import NequIP, Nonlinearity
from jaxelyte.models.irreps import format_irreps, parse_irreps
from jaxelyte.models.parameters import check_symbols
from jaxelyte.models.plan import hidden_irreps

BUILDERS = ("SimpleIrrepsConfig", "EnergyModel", "PerSpeciesRescale", "PairPotentialTerm", "RescaleEnergyEtc")
"""Model builders that change the energy, in the only order that is supported."""

NEUTRAL_BUILDERS = (
    "ForceOutput",
    "StressForceOutput",
    "PartialForceOutput",
    "initialize_from_state",
    "load_model_state",
    "uniform_initialize_FCs",
)
"""Model builders that leave the energy as it is: outputs made from it, and initial weights."""

IRREPS = (
    "chemical_embedding_irreps_out",
    "feature_irreps_hidden",
    "irreps_edge_sh",
    "conv_to_output_hidden_irreps_out",
)

FIXED = {
    "edge_sh_normalization": "component",
    "edge_sh_normalize": True,
    "basis": None,
    "cutoff": None,
    "convolution": None,
    "reduce": "sum",
}
"""Options of nequip whose one supported value is its default (None: the key must be absent)."""


LIMITS = {
    "num_layers": 100,
    "l_max": 11,
    "num_features": 100_000,
    "num_basis": 10_000,
    "invariant_layers": 100,
    "invariant_neurons": 100_000,
}
"""Largest values of options that are counts; e3nn has coefficients up to degree 11."""


def read_config(options: Mapping[str, Any]) -> NequIP:
    """The hyperparameters in a nequip configuration; keys about training and data are ignored.

    Absent keys take nequip's defaults, which differ from those of `NequIP`.

    Raises:
        InputError: a key that is missing or contradictory.
        UnsupportedError: an option that is not implemented, by name.
    """
    zbl = _check_builders(options)
    check_keys(options)
    for key, allowed in FIXED.items():
        if key in options and options[key] != allowed:
            raise UnsupportedError(f"nequip option {key} = {options[key]!r} is not supported (only {allowed!r})")
    if "r_max" not in options:
        raise InputError("the nequip configuration has no r_max")
    neighbors = options.get("avg_num_neighbors")
    if isinstance(neighbors, str):
        raise InputError(
            f"avg_num_neighbors = {neighbors!r} was never resolved; replace it by the number used in training"
        )
    given = {name: str(options[name]) for name in IRREPS if options.get(name) is not None}
    _check_sizes(options, given)
    config = NequIP(
        r_max=options["r_max"],
        num_layers=options.get("num_layers", 3),
        **_simple(options, given),
        num_basis=options.get("num_basis", 8),
        trainable_bessel=options.get("BesselBasis_trainable", True),
        polynomial_cutoff_p=options.get("PolynomialCutoff_p", 6),
        invariant_layers=options.get("invariant_layers", 1),
        invariant_neurons=options.get("invariant_neurons", 8),
        avg_num_neighbors=neighbors,
        use_sc=options.get("use_sc", True),
        resnet=options.get("resnet", False),
        nonlinearity_type=options.get("nonlinearity_type", "gate"),
        nonlinearity_scalars=_nonlinearity(options, "nonlinearity_scalars"),
        nonlinearity_gates=_nonlinearity(options, "nonlinearity_gates"),
        type_names=species_names(options),
        zbl=zbl,
    )
    return replace(config, **_overrides(config, given, simple="l_max" in options))


def _check_sizes(options: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Refuse numbers that no network has, before tables of their size are made."""
    for key, most in LIMITS.items():
        value = options.get(key, 0)
        if isinstance(value, int | float) and not value <= most:
            raise InputError(f"{key} = {value!r} is larger than {most}")
    for name, text in given.items():
        blocks = parse_irreps(text, name)
        if any(block.l > LIMITS["l_max"] or block.mul > LIMITS["num_features"] for block in blocks):
            raise InputError(f"{name} = {text!r} is larger than degree {LIMITS['l_max']} and 100,000 channels")


def _check_builders(options: Mapping[str, Any]) -> bool:
    """Check the list of model builders; True if it adds the ZBL term."""
    named = _listed(options, "model_builders") if "model_builders" in options else BUILDERS[:3] + BUILDERS[4:]
    builders = [name.removeprefix("nequip.model.") for name in named]
    unknown = [b for b in builders if b not in BUILDERS + NEUTRAL_BUILDERS]
    if unknown:
        raise UnsupportedError(
            f"nequip model builder {unknown[0]!r} is not supported; "
            f"supported are {', '.join(BUILDERS + NEUTRAL_BUILDERS)}"
        )
    present = [b for b in builders if b in BUILDERS]
    if present != [b for b in BUILDERS if b in present] or "EnergyModel" not in present:
        raise UnsupportedError(f"model_builders {present} are not in the supported order {list(BUILDERS)}")
    zbl = "PairPotentialTerm" in builders
    if zbl and options.get("pair_style") != "ZBL":
        raise UnsupportedError(f"pair_style = {options.get('pair_style')!r} is not supported (only 'ZBL')")
    if zbl and options.get("units") != "metal":
        raise UnsupportedError(f"units = {options.get('units')!r} of the ZBL term are not supported (only 'metal')")
    return zbl


def _simple(options: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """l_max, parity and num_features, deduced from explicit irreps where those are all there is."""
    simple = {key: options[key] for key in ("l_max", "parity", "num_features") if key in options}
    if simple and len(simple) < 3:
        missing = {"l_max", "parity", "num_features"} - set(simple)
        raise InputError(f"the nequip configuration has no {', '.join(sorted(missing))}")
    if simple:
        return simple
    lacking = [name for name in IRREPS if name not in given]
    if lacking:
        raise InputError(
            f"the nequip configuration has neither l_max, parity and num_features nor {', '.join(lacking)}"
        )
    hidden = parse_irreps(given["feature_irreps_hidden"], "feature_irreps_hidden")
    harmonics = parse_irreps(given["irreps_edge_sh"], "irreps_edge_sh")
    return {
        "l_max": max((b.l for b in harmonics), default=0),
        "parity": any(b.p == -1 for b in hidden + harmonics),
        "num_features": max((b.mul for b in hidden), default=1),
    }


def _overrides(config: NequIP, given: Mapping[str, str], *, simple: bool) -> dict[str, str]:
    """Those of the explicit irreps that differ from what the simple options give; none may where both are given."""
    derived = hidden_irreps(config)
    changed = {name: text for name, text in given.items() if parse_irreps(text, name) != derived[name]}
    for name, text in changed.items():
        if simple:
            expected = format_irreps(derived[name])
            raise InputError(f"{name} = {text!r} contradicts l_max, parity and num_features, which give {expected!r}")
    return changed


def _nonlinearity(options: Mapping[str, Any], key: str) -> Nonlinearity:
    value = options.get(key, {})
    if not isinstance(value, Mapping) or set(value) - {"e", "o"}:
        raise InputError(f"{key} = {value!r} must map 'e' and 'o' to names of functions")
    return Nonlinearity(**value)


def species_names(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Chemical symbols in the order of nequip's types.

    Raises:
        InputError: no species, species without order, or names that are no chemical symbols.
    """
    from ase.data import atomic_numbers

    mapping = options.get("chemical_symbol_to_type")
    if mapping:
        numbers = list(mapping.values()) if isinstance(mapping, Mapping) else [None]
        if sorted(n for n in numbers if type(n) is int) != list(range(len(numbers))):
            raise InputError(f"chemical_symbol_to_type = {mapping!r} must number the types from 0")
        names = tuple(sorted(mapping, key=lambda name: mapping[name]))
        if options.get("type_names") and _listed(options, "type_names") != names:
            raise InputError(f"type_names = {options['type_names']} contradict chemical_symbol_to_type = {mapping}")
    elif options.get("type_names"):
        names = _listed(options, "type_names")
    elif options.get("chemical_symbols"):
        symbols = _listed(options, "chemical_symbols")
        check_symbols(symbols)
        names = tuple(sorted(symbols, key=lambda name: atomic_numbers[name]))
    else:
        raise InputError("the nequip configuration names no species (type_names or chemical_symbol_to_type)")
    check_symbols(names)
    if options.get("num_types", len(names)) != len(names):
        raise InputError(f"num_types = {options['num_types']!r} but there are {len(names)} species: {', '.join(names)}")
    return names


def _listed(options: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of names."""
    value = options[key]
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{key} = {value!r} must be a list of names")
    return tuple(value)


def write_config(config: NequIP) -> dict[str, Any]:
    """Nequip's keys for a configuration, all of those that define the model."""
    pair = {"pair_style": "ZBL", "units": "metal"} if config.zbl else {}
    scalars, gates = config.nonlinearity_scalars, config.nonlinearity_gates
    assert isinstance(scalars, Nonlinearity)
    assert isinstance(gates, Nonlinearity)
    irreps = {name: format_irreps(value) for name, value in hidden_irreps(config).items()}
    changed = any(getattr(config, name) is not None for name in IRREPS)
    simple = {"l_max": config.l_max, "parity": config.parity, "num_features": config.num_features}
    return {
        "r_max": config.r_max,
        "num_layers": config.num_layers,
        **({} if changed else simple),
        **irreps,
        "num_basis": config.num_basis,
        "BesselBasis_trainable": config.trainable_bessel,
        "PolynomialCutoff_p": config.polynomial_cutoff_p,
        "invariant_layers": config.invariant_layers,
        "invariant_neurons": config.invariant_neurons,
        "avg_num_neighbors": config.avg_num_neighbors,
        "use_sc": config.use_sc,
        "resnet": config.resnet,
        "nonlinearity_type": config.nonlinearity_type,
        "nonlinearity_scalars": scalars._asdict(),
        "nonlinearity_gates": gates._asdict(),
        "chemical_symbol_to_type": {name: i for i, name in enumerate(config.type_names)},
        "type_names": list(config.type_names),
        "num_types": len(config.type_names),
        "model_builders": [b for b in BUILDERS if b != "PairPotentialTerm" or config.zbl],
        **pair,
    }
