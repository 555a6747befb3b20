"""`NequIP`: the hyperparameters of a NequIP energy model, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Array, Bool, Float, Int

from jaxelyte import checks
from jaxelyte.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from jaxelyte.models.structure import Plan


MOST, MOST_DEGREES = 1_000_000, 100
IRREPS = (
    "chemical_embedding_irreps_out",
    "feature_irreps_hidden",
    "irreps_edge_sh",
    "conv_to_output_hidden_irreps_out",
)


class Nonlinearity(NamedTuple):
    """Names of the functions applied to even (``e``) and odd (``o``) scalars."""

    e: str = "silu"
    o: str = "tanh"


@dataclass(frozen=True, kw_only=True)
class NequIP:
    """Hyperparameters of a NequIP energy model, as in nequip 0.5 and 0.6.

    Source: Batzner et al., Nat. Commun. 13, 2453 (2022).

    The model is a pure function of this configuration and a tree of arrays: `init` creates the arrays,
    `atomic_energies` evaluates them. The layout of the weights is that of e3nn (PyTorch).

    Attributes:
        r_max: cut-off in Å.
        num_layers: convolution layers.
        l_max: highest degree of harmonics and features.
        num_features: channels of each irrep.
        parity: use features of both parities, equivariant under inversion; False for proper rotations only.
        num_basis: radial Bessel functions.
        trainable_bessel: whether training adjusts the Bessel frequencies.
        polynomial_cutoff_p: power p of the polynomial envelope, at least 2.
        invariant_layers: hidden layers of the radial network.
        invariant_neurons: width of those layers.
        avg_num_neighbors: mean number of neighbours, whose square root divides the sums over neighbours; None for no
            division.
        use_sc: self-connection, a species-dependent linear map around each convolution.
        resnet: add a layer's input to its output where their irreps agree.
        nonlinearity_type: ``"gate"`` or ``"norm"``.
        nonlinearity_scalars: functions of scalars, by parity; the radial network uses the even one as well.
        nonlinearity_gates: functions of gates, by parity.
        chemical_embedding_irreps_out: overrides ``num_features`` even scalars.
        feature_irreps_hidden: overrides what follows from ``num_features``, ``l_max`` and ``parity``.
        irreps_edge_sh: overrides the harmonics up to ``l_max``.
        conv_to_output_hidden_irreps_out: overrides half as many even scalars as there are features.
        type_names: chemical symbols of the model's species, in the order of its weights; `init` fills them in.
        zbl: add the Ziegler-Biersack-Littmark repulsion of the nuclei inside the cut-off envelope.
    """

    r_max: float
    num_layers: int = 3
    l_max: int = 2
    num_features: int = 32
    parity: bool = True
    num_basis: int = 8
    trainable_bessel: bool = True
    polynomial_cutoff_p: float = 6.0
    invariant_layers: int = 2
    invariant_neurons: int = 64
    avg_num_neighbors: float | None = None
    use_sc: bool = True
    resnet: bool = False
    nonlinearity_type: str = "gate"
    nonlinearity_scalars: Nonlinearity | Mapping[str, str] = Nonlinearity()
    nonlinearity_gates: Nonlinearity | Mapping[str, str] = Nonlinearity()
    chemical_embedding_irreps_out: str | None = None
    feature_irreps_hidden: str | None = None
    irreps_edge_sh: str | None = None
    conv_to_output_hidden_irreps_out: str | None = None
    type_names: tuple[str, ...] = ()
    zbl: bool = False

    def __post_init__(self) -> None:
        """Normalise and check every option.

        Raises:
            InputError: a value out of range.
            UnsupportedError: an option that this version does not know.

        Warns:
            UserWarning: a cut-off that is not ordinary: below the lengths of bonds, or in another unit.
        """
        for name in ("nonlinearity_scalars", "nonlinearity_gates"):
            object.__setattr__(self, name, _nonlinearity(getattr(self, name), name))
        object.__setattr__(self, "type_names", _type_names(self.type_names))
        values: dict[str, Any] = {
            "r_max": checks.quantity("r_max", self.r_max, "cut-off"),
            "polynomial_cutoff_p": checks.number(
                "polynomial_cutoff_p", self.polynomial_cutoff_p, least=2.0, most=200.0
            ),
        }
        for name in ("num_layers", "num_features", "num_basis", "invariant_neurons"):
            values[name] = checks.count(name, getattr(self, name), most=MOST)
        for name in ("l_max", "invariant_layers"):
            values[name] = checks.count(name, getattr(self, name), least=0, most=MOST_DEGREES)
        for name in ("parity", "trainable_bessel", "use_sc", "resnet", "zbl"):
            values[name] = checks.flag(name, getattr(self, name))
        if self.avg_num_neighbors is not None:
            values["avg_num_neighbors"] = checks.number(
                "avg_num_neighbors", self.avg_num_neighbors, above=0.0, most=1e5
            )
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for name in IRREPS:
            if not isinstance(getattr(self, name), str | None):
                raise InputError(f"{name} must be irreps such as '32x0e', not {checks.shown(getattr(self, name))}")
        if not isinstance(self.nonlinearity_type, str) or self.nonlinearity_type not in ("gate", "norm"):
            raise UnsupportedError(
                f"nonlinearity_type = {checks.shown(self.nonlinearity_type)} is not supported; choose 'gate' or 'norm'"
            )
        if len(set(self.type_names)) != len(self.type_names):
            raise InputError(f"type_names = {self.type_names} names a species twice")

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> NequIP:
        """A configuration from a mapping of the attributes.

        Raises:
            InputError: a key that is not an option, with the nearest one that is.
        """
        options = checks.mapping("options", options, "{'r_max': 5.0}")
        known = [field.name for field in fields(cls)]
        for key in options:
            if key not in known:
                near = checks.nearest(str(key), known)
                hint = f"; did you mean {near!r}?" if near else f"; options are {', '.join(known)}"
                raise InputError(f"NequIP has no option {key!r}{hint}")
        if "r_max" not in options:
            raise InputError("NequIP needs r_max, the cut-off in Å")
        return cls(**options)

    @property
    def plan(self) -> Plan:
        """The static structure of the network: irreps, paths, weight shapes. Cached."""
        from jaxelyte.models.plan import make_plan

        return make_plan(self)

    def init(self, key: Array, species: tuple[str, ...] | list[str] | None = None) -> tuple[NequIP, Any]:
        """Random weights, standard normal as e3nn draws them (scaling is part of the network).

        The first matrices of the radial networks are larger, see `jaxelyte.models.parameters.weight_sizes`.

        Args:
            key: a typed random key.
            species: chemical symbols, unless `type_names` holds them.

        Returns:
            The configuration with its species, and the parameters (see `jaxelyte.models.parameters`).
        """
        from jaxelyte.models.parameters import init_parameters

        return init_parameters(self, key, species)

    def atomic_energies(
        self,
        params: Any,
        types: Int[Array, " atoms"],
        vectors: Float[Array, "atoms neighbors 3"],
        index: Int[Array, "atoms neighbors"],
        mask: Bool[Array, "atoms neighbors"],
    ) -> Float[Array, " atoms"]:
        """Energy of each atom in eV without the species' constant shifts; see `jaxelyte.models.network`."""
        from jaxelyte.models.network import atomic_energies

        return atomic_energies(self, params, types, vectors, index, mask)


def _type_names(names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, tuple | list) or not all(isinstance(n, str) for n in names):
        raise InputError(f"type_names must be chemical symbols such as ('O', 'H'), not {checks.shown(names)}")
    return tuple(names)


def _nonlinearity(value: Any, option: str) -> Nonlinearity:
    if isinstance(value, Nonlinearity):
        return value
    if not isinstance(value, Mapping) or set(value) - {"e", "o"}:
        raise InputError(f"{option} = {value!r} must map 'e' and 'o' to names of functions")
    return Nonlinearity(**value)
