"""Every public function and class with a right call, and what kind of argument each one is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

import jaxelyte as jxl
from jaxelyte.system import System
from wrong_values import (
    Kind,
    array,
    choice,
    count,
    flag,
    function,
    listed,
    mapping,
    number,
    pair,
    potential,
    seed,
    structure,
    table,
)

SALT = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 3.0]], cell=[14.0] * 3, pbc=True)
WATER = Atoms("OH2", positions=[[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]], cell=[14.0] * 3, pbc=True)
ARGON = Atoms("Ar4", positions=[[0, 0, 0], [0, 0, 4.0], [0, 4.0, 0], [4.0, 0, 0]], cell=[14.0] * 3, pbc=True)
LJ = jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.0104}, cutoff=6.0)
NVT = jxl.NVT(120.0, "langevin")


def quantity(potential: Any, system: Any, neighbors: Any) -> Any:
    """Of one frame."""
    return system.positions.sum()


def frames(count: int = 12, replicas: int = 1) -> jxl.Trajectory:
    """Argon that walks."""
    steps = np.random.default_rng(0).normal(0, 0.05, (count, replicas, 4, 3))
    return jxl.Trajectory(
        positions=ARGON.positions + np.cumsum(steps, axis=0),
        numbers=np.full(4, 18),
        masses=np.full(4, 39.948),
        cells=np.broadcast_to(np.eye(3) * 14.0, (count, replicas, 3, 3)),
        pbc=(True, True, True),
        steps=np.arange(count) * 100,
        times=np.arange(count) * 100.0,
        unwrapped=True,
    )


TRAJECTORY = frames()


def prepared(atoms: Atoms) -> Callable[[Any], None]:
    """A potential is used with atoms: some of its values are looked at then."""

    def use(made: Any) -> None:
        made.prepare(System.from_atoms(atoms))

    return use


@dataclass(frozen=True)
class Call:
    """A public function or class.

    Attributes:
        function: what is called.
        right: arguments of a call that is right, by name.
        kinds: what kind of value each argument is.
        use: what is done with the result before it counts as accepted.
    """

    function: Callable[..., Any]
    right: dict[str, Any]
    kinds: dict[str, Kind]
    use: Callable[[Any], Any] | None = None


TEMPERATURE = number(0.026, 0.0)
TIMESTEP = number(5e-16, 5e-4, 100.0)
LENGTH = number(0.39, 390.0)
STIFFNESS = number(4.4e5, zero=True)
CHARGES = mapping({"Na": 1.6e-19, "Cl": -1.6e-19})
PERMITTIVITY = number(0.5, 8.85e-12, 6.9e-10, "water")
LJ_KINDS = {
    "sigma": mapping({"Ar": 0.34}, {"Ar": 340.0}, {"Ar": -3.4}, {"Ar": 0.0}, {}),
    "epsilon": mapping({"Ar": 0.998}, {"Ar": 119.8}, {"Ar": -0.01}, {"Ar": 1.65e-21}, {}),
    "cutoff": LENGTH,
    "mixing": choice(None),
    "pairs": Kind(("Ar", 5, True, [1], {"Ar": (3.0, 0.01)}, {("Ar", "Kr"): (3.0, 0.01)}, {("Ar", "Ar"): 3.0}), True),
    "tail_correction": Kind(flag().values, optional=True),
    "shift": flag(),
    "switch": number(6.5, none=True),
    "exclusions": Kind(table(2).values, optional=True),
}

CALLS: dict[str, Call] = {
    "NVE": Call(jxl.NVE, {}, {}),
    "NVT": Call(
        jxl.NVT,
        {"temperature": 300.0},
        {
            "temperature": TEMPERATURE,
            "thermostat": choice("berendsen", "Langevin"),
            "tau": number(0.1, 5e-14, none=True),
            "friction": number(10.0, 1.0, 1e12, 0.01, none=True),
            "chain": count(none=True),
            "substeps": count(none=True),
        },
    ),
    "NVT, Langevin": Call(
        jxl.NVT,
        {"temperature": 300.0, "thermostat": "langevin"},
        {"friction": number(10.0, 1.0, 1e12, none=True), "tau": number(50.0, none=True)},
    ),
    "NPT": Call(
        jxl.NPT,
        {"temperature": 300.0, "pressure": 1.0},
        {
            "temperature": TEMPERATURE,
            "pressure": number(101325.0, 1e9, -1e7, zero=True, negative=True),
            "thermostat": choice("berendsen", "Langevin"),
            "barostat": choice("berendsen", "parrinello-rahman", "SCR"),
            "coupling": choice("anisotropic", "Isotropic"),
            "tau": number(0.1, 5e-14, none=True),
            "friction": number(0.01, none=True),
            "chain": count(3, none=True),
            "substeps": count(1, none=True),
            "stride": count(),
            "tau_p": number(1e-12, 0.5),
            "compressibility": number(4.5e-10, 1e6),
        },
    ),
    "LennardJones": Call(
        jxl.LennardJones, {"sigma": {"Ar": 3.4}, "epsilon": {"Ar": 0.0104}, "cutoff": 6.0}, LJ_KINDS, prepared(ARGON)
    ),
    "SoftCoreLennardJones": Call(
        jxl.SoftCoreLennardJones,
        {"sigma": {"Ar": 3.4}, "epsilon": {"Ar": 0.0104}, "cutoff": 6.0, "appearing": ("Ar",)},
        LJ_KINDS
        | {
            "appearing": Kind(("Kr", "", 5, True, (), {}, [None], ["Xx"])),
            "coupling": Kind((1.5, -0.1, "half", [0.5, 2.0], NAN := float("nan"), True, {})),
            "alpha": number(),
        },
        prepared(ARGON),
    ),
    "ScreenedCoulomb": Call(
        jxl.ScreenedCoulomb,
        {"charges": {"Na": 1.0, "Cl": -1.0}, "permittivity": 78.3},
        {
            "charges": Kind(
                (*CHARGES.values, {}, {"Li": 1.0, "Br": -1.0}, {"Na": 18.2, "Cl": -18.2}, [1.0], [[1.0, -1.0]])
            ),
            "permittivity": PERMITTIVITY._replace(optional=True),
            "method": choice("Ewald", "pme"),
            "tolerance": number(),
            "cutoff": number(0.39, 390.0, none=True),
            "exclusions": Kind(table(2).values, optional=True),
            "exclusion_scales": Kind(("abc", 5, True, [1.0], {}), optional=True),
            "rf_permittivity": number(0.5, infinite=True),
            "elements": Kind(("abc", 5, True, {}, ["Na", "Xx"], ["Cl", "Na"]), optional=True),
        },
        prepared(SALT),
    ),
    "HarmonicBonds": Call(
        jxl.HarmonicBonds,
        {"bonds": [[0, 1], [0, 2]], "k": 45.0, "length": 1.0},
        {
            "bonds": Kind((*table(2).values, [])),
            "k": STIFFNESS,
            "length": number(0.1, 100.0, zero=True),
            "elements": Kind(("OH", 5, True, {}, ("H", "O"), ("O", "Xx"), [["O", "H"]] * 3), optional=True),
        },
        prepared(WATER),
    ),
    "HarmonicAngles": Call(
        jxl.HarmonicAngles,
        {"angles": [[1, 0, 2]], "k": 3.0, "angle": 1.9},
        {
            "angles": Kind((*table(3).values, [])),
            "k": number(1e4, zero=True),
            "angle": number(109.5),
            "elements": Kind(("HOH", 5, True, {}, ("O", "H", "H")), optional=True),
        },
        prepared(WATER),
    ),
    "HarmonicRestraint": Call(
        jxl.HarmonicRestraint,
        {"anchors": SALT.positions, "k": 1.0},
        {
            "anchors": array([[0, 0, 0]], [[NAN, 0, 0]] * 2, np.zeros((2, 2)), np.zeros((0, 3)), 5.0),
            "k": STIFFNESS,
            "indices": Kind(("abc", [0, 0], [0], [0.5, 1], [-1, 0], [0, 99], True), optional=True),
            "elements": Kind(("abc", 5, ["Cl", "Na"], ["Na"] * 3), optional=True),
        },
        prepared(SALT),
    ),
    "GaussianBarrier": Call(
        jxl.GaussianBarrier,
        {"height": 1.0, "center": 1.6, "width": 0.1, "species": ("O", "H")},
        {
            "height": number(1e5, zero=True, negative=True),
            "center": number(1e6, zero=True),
            "width": number(),
            "species": Kind(
                ("OH", "O", 5, True, [], {}, ("O",), ("O", "Xx"), ("O", "H", "H"), ("Na", "Cl"), (None, "O"))
            ),
            "pairs": Kind(([[0, 1]], "ab", 5), optional=True),
            "cutoff": number(none=True),
        },
        prepared(WATER),
    ),
    "DistanceRestraint": Call(
        jxl.DistanceRestraint,
        {"pair": (0, 1), "k": 1.0, "center": 3.0},
        {
            "pair": pair(),
            "k": STIFFNESS,
            "center": number(300.0, zero=True),
            "rate": number(none=True),
            "elements": Kind(("abc", 5, ("Cl", "Na"), ("Na",) * 3), optional=True),
        },
        prepared(SALT),
    ),
    "Metadynamics": Call(
        jxl.Metadynamics,
        {"pair": (0, 1), "upper": 6.0, "temperature": 300.0},
        {
            "pair": pair(),
            "upper": number(0.6, 600.0),
            "temperature": TEMPERATURE,
            "height": number(1e5, zero=True),
            "width": number(50.0),
            "stride": count(),
            "bias_factor": number(1.0, 0.5, infinite=True),
            "lower": number(7.0, zero=True),
            "wall": STIFFNESS,
        },
        prepared(SALT),
    ),
    "NequIP": Call(
        jxl.NequIP,
        {"r_max": 4.0},
        {
            "r_max": number(0.4, 400.0, 1.2),
            **dict.fromkeys(("num_layers", "num_features", "num_basis", "invariant_neurons"), count()),
            **dict.fromkeys(("l_max", "invariant_layers"), count(zero=True)),
            **dict.fromkeys(("parity", "trainable_bessel", "use_sc", "resnet", "zbl"), flag()),
            "polynomial_cutoff_p": number(1.0),
            "avg_num_neighbors": number(none=True),
            "nonlinearity_type": choice(),
            "type_names": Kind(("Na", 5, True, {}, [5], ["Na", "Na"])),
            **dict.fromkeys(("nonlinearity_scalars", "nonlinearity_gates"), Kind(("silu", 5, True, [], {"x": "silu"}))),
            "feature_irreps_hidden": Kind((5, True, [], {}), optional=True),
        },
    ),
    "spc_fw": Call(
        jxl.spc_fw,
        {"atoms": WATER},
        {
            "atoms": structure(),
            "ions": Kind(
                ("smith-dang", "", 5, True, [], {"Xx": (1, 2, 3)}, {"Na": 1.0}, {"Na": (1.0, 2.0)}, {"Na": "abc"})
            ),
            "tolerance": number(),
            "cutoff": LENGTH,
            "switch": number(20.0, none=True),
            "tail_correction": Kind(flag().values, optional=True),
            "method": choice(),
        },
        prepared(WATER),
    ),
    "mix": Call(
        jxl.mix,
        {"initial": LJ, "final": 2.0 * LJ, "lam": 0.5},
        {"initial": potential(), "final": potential(), "lam": number(zero=True, negative=True)},
    ),
    "Loss": Call(
        jxl.Loss,
        {},
        {
            **dict.fromkeys(("energy", "forces", "stress"), number(zero=True)),
            "per_species": flag(),
            "huber": number(none=True),
        },
    ),
    "Optimization": Call(
        jxl.Optimization,
        {},
        {
            "optimizer": choice("sgd"),
            "learning_rate": number(none=True),
            "schedule": choice("step"),
            "warmup": count(zero=True),
            "factor": number(1.0),
            "patience": count(zero=True),
            "min_learning_rate": number(zero=True),
            "weight_decay": number(zero=True),
            "clip_norm": number(none=True),
            "ema": number(1.0, zero=True, none=True),
            "stop_after": count(none=True),
        },
    ),
    "build.electrolyte": Call(
        jxl.build.electrolyte,
        {"ions": {"Na": 1, "Cl": 1}, "waters": 8},
        {
            "ions": Kind((*mapping().values, {"Na": 1.5}, {"Na": -1}, {"Na": 4, "Cl": 3}, {"Na": 1e30})),
            "waters": count(1e30, zero=True, none=True),
            "density": number(998.0, 0.001, none=True),
            "concentration": number(1000.0, none=True),
            "seed": seed(),
        },
    ),
    "charge_correction": Call(
        jxl.charge_correction,
        {"charge": 1.0, "cell": 20.0, "permittivity": 78.3},
        {
            "charge": number(1.6e-19, zero=True, negative=True),
            "cell": array(0.0, -20.0, 1e30, np.zeros((3, 3)), np.zeros(3), [[1.0, 0, 0]] * 3),
            "permittivity": number(0.5, infinite=True),
            "radius": number(0.01, 500.0, none=True),
        },
    ),
    "ideal_chemical_potential": Call(
        jxl.ideal_chemical_potential,
        {"density": 1e-3, "mass": 23.0, "temperature": 300.0},
        {"density": number(1e27), "mass": number(3.8e-26), "temperature": TEMPERATURE},
    ),
    "Target": Call(
        jxl.Target,
        {"quantity": quantity, "value": 1.0},
        {
            "quantity": function(),
            "value": Kind(("abc", NAN, float("inf"), [1.0, NAN], {}, None, True)),
            "scale": Kind((0.0, -1.0, "abc", NAN, [1.0, 0.0], {}, None, True)),
            "weight": number(zero=True),
            "explicit": flag(),
            "function": function(none=True),
            "name": Kind((5, "", True, [], None)),
        },
    ),
    "umbrella_pmf": Call(
        jxl.umbrella_pmf,
        {
            "distances": [np.random.default_rng(n).normal(3.0 + n / 2, 0.2, 40) for n in range(3)],
            "centers": [3.0, 3.5, 4.0],
            "k": 0.5,
            "temperature": 300.0,
        },
        {
            "distances": listed([[1.0, 2.0]], [np.zeros(3)] * 2, [[NAN, 1.0]] * 3, [[-1.0, 2.0]] * 3),
            "centers": array([3.0], [4.0, 3.5, 3.0], [-3.0, 3.5, 4.0], 3.0, [0.3, 0.35, 0.4]),
            "k": number(4e6),
            "temperature": TEMPERATURE,
            "species": Kind(("NaCl", 5, ("Na",), (1, 2), [], {})),
            "width": number(50.0),
            "charges": mapping({"X": 1.0}, none=True),
            "permittivity": number(none=True),
        },
    ),
}
"""Calls that need no compilation; those that stop before it are in `RUNS`."""

PER_ROW = "one for each row"
CONDUCTOR = "as good as a conductor"
PLAIN = "as good as plain metadynamics"
LEGITIMATE: dict[str, dict[tuple[str, str], str]] = {
    "ScreenedCoulomb": {("rf_permittivity", "1e+30"): CONDUCTOR},
    "HarmonicBonds": {("k", "array([1., 2.])"): PER_ROW, ("length", "array([1., 2.])"): PER_ROW},
    "HarmonicAngles": {("k", "[1.0]"): PER_ROW, ("angle", "[1.0]"): PER_ROW},
    "HarmonicRestraint": {("k", "array([1., 2.])"): PER_ROW},
    "DistanceRestraint": {
        (name, value): "one for each replica" for name in ("k", "center") for value in ("array([1., 2.])", "[1.0]")
    },
    "Metadynamics": {("bias_factor", "1e+30"): PLAIN},
    "mix": {("lam", "1e+30"): "extrapolates", ("lam", "-1e+30"): "extrapolates"},
    "Loss": dict.fromkeys(
        ((name, "1e+30") for name in ("energy", "forces", "stress", "huber")), "counts relative to the other weights"
    ),
    "Optimization": dict.fromkeys(
        ((name, "1e+30") for name in ("min_learning_rate", "weight_decay", "clip_norm")), "as good as no limit"
    ),
    "charge_correction": {("permittivity", "1e+30"): CONDUCTOR},
    "Target": {("weight", "1e+30"): "counts relative to the other weights"},
    "simulate": {("config", "{'a': 1}"): "any dictionary"},
    "umbrella_sampling": {("k", "array([1., 2.])"): "one for each window"},
    "metadynamics": {("bias_factor", "1e+30"): PLAIN},
    "angles": {("r_max", "array([1., 2.])"): "one for each end"},
    "Angles": {("r_max", "array([1., 2.])"): "one for each end"},
    "train": {("exclude", "[-1]"): "counts from the end"},
    "Pitzer.osmotic": {("molality", "[]"): "no molalities, no values"},
    "ResidenceResult.fitted": {("times", "[]"): "no times, no values"},
    "fit_observables": {
        ("learning_rate", "<built-in function len>"): "any function may be a schedule",
        ("learning_rate", "<class 'ase.atoms.Atoms'>"): "any function may be a schedule",
    },
}
"""Values of an argument, by their label, that are right after all, each with its reason."""
