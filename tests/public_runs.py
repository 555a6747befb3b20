"""Public functions that run something: right calls, and what kind of argument each one is; see `public_calls`."""

from __future__ import annotations

import jaxelyte as jxl
from jaxelyte.neighbors import Neighbors
from jaxelyte.system import System
from public_calls import ARGON, LJ, NVT, TEMPERATURE, TIMESTEP, TRAJECTORY, Call, quantity
from wrong_values import (
    NAN,
    Kind,
    array,
    choice,
    count,
    ensemble,
    flag,
    function,
    listed,
    mapping,
    new_path,
    number,
    pair,
    potential,
    seed,
    source,
    structure,
    symbol,
)

RUN = {"steps": count(2**31), "timestep": TIMESTEP, "atoms": structure(), "potential": potential()}
BIASED = {"sample_every": count(), "charges": mapping(none=True), "permittivity": number(none=True)}
OBSERVABLES = Kind(
    ("rdf", 5, True, [1], {"a": 5}, {5: jxl.PressureTensor()}, {"": jxl.PressureTensor()}), optional=True
)
DEVICES = Kind(("gpu7", "", 0, -1, 0.5, 99, True, {}), optional=True)

RUNS: dict[str, Call] = {
    "simulate": Call(
        jxl.simulate,
        {"potential": LJ, "atoms": ARGON, "ensemble": NVT, "steps": 1000},
        RUN
        | {
            "ensemble": ensemble(jxl.NVT),
            "seed": seed(),
            "replicas": count(),
            "output": new_path(none=True),
            "every": count(2000),
            "observables": OBSERVABLES,
            "sample_every": count(3, 200, none=True),
            "skin": number(0.0, 100.0),
            "chunk": count(none=True),
            "velocities": Kind(("warm", -1.0, NAN, True, {}, [300.0]), optional=True),
            "equilibration": count(1000, 2000, zero=True, none=True),
            "overlap": number(-0.1, 50.0, zero=True),
            "config": Kind(("abc", 5, True, [1]), optional=True),
            "devices": DEVICES,
            **dict.fromkeys(("minimize", "save_velocities", "extxyz", "progress", "overwrite", "resume"), flag()),
        },
    ),
    "minimize": Call(
        jxl.minimize,
        {"potential": LJ, "atoms": ARGON},
        {
            "potential": potential(),
            "atoms": structure(),
            "steps": count(2**31),
            "fmax": number(1e5),
            "skin": number(100.0),
            "overlap": number(50.0, zero=True),
        },
    ),
    "free_energy": Call(
        jxl.free_energy,
        {"initial": LJ, "final": 1.1 * LJ, "atoms": ARGON, "ensemble": NVT, "steps": 1000, "check": False},
        {
            "initial": potential(),
            "final": potential(),
            "atoms": structure(),
            "ensemble": ensemble(jxl.NVE()),
            "steps": count(),
            "windows": count(),
            "nodes": Kind(("simpson", "", 5, True, [0.0, 0.5], [1.0, 0.0], {}, [0.0, NAN, 1.0], None, ["a", "b"])),
            "common": potential(none=True),
            "estimator": choice("mbar"),
            "exchange": count(zero=True),
            "adapt": flag(),
            "target": number(1.0, none=True),
            "timestep": TIMESTEP,
            "sample_every": count(),
            "equilibration": count(1000, zero=True),
            "seed": seed(),
            "check": flag(),
        },
    ),
    "free_energy_path": Call(
        jxl.free_energy_path,
        {"potentials": [LJ, 1.1 * LJ], "atoms": ARGON, "ensemble": NVT, "steps": 1000, "check": False},
        {
            "potentials": listed([LJ], [LJ, "lj"]),
            "atoms": structure(),
            "ensemble": ensemble(),
            "output": new_path(none=True),
        },
    ),
    "umbrella_sampling": Call(
        jxl.umbrella_sampling,
        {
            "potential": LJ,
            "atoms": ARGON,
            "pair": (0, 1),
            "ensemble": NVT,
            "centers": [3.5, 4.0],
            "k": 1.0,
            "steps": 1000,
        },
        RUN
        | BIASED
        | {
            "pair": pair(),
            "ensemble": ensemble(jxl.NVE()),
            "centers": array([3.0], [4.0, 3.5], [-3.0, 3.5], 3.0, [3.5, 99.0], [0.35, 0.4]),
            "k": number(4e6),
            "equilibration": count(zero=True, none=True),
            "pull": number(),
            "width": number(50.0),
        },
    ),
    "metadynamics": Call(
        jxl.metadynamics,
        {"potential": LJ, "atoms": ARGON, "pair": (0, 1), "ensemble": NVT, "upper": 6.0, "steps": 1000},
        RUN
        | BIASED
        | {
            "pair": pair(),
            "ensemble": ensemble(jxl.NVE()),
            "upper": number(0.6, 99.0),
            "walkers": count(),
            "height": number(1e5, zero=True),
            "width": number(50.0),
            "stride": count(),
            "bias_factor": number(1.0, 0.5, infinite=True),
            "lower": number(7.0, zero=True),
            "equilibration": count(zero=True, none=True),
            "bins": number(50.0),
        },
    ),
    "widom": Call(
        jxl.widom,
        {"source": TRAJECTORY, "potential": LJ, "symbol": "Ar", "temperature": 120.0},
        {
            "source": source(),
            "potential": potential(),
            "symbol": symbol("X"),
            "per_frame": count(),
            "temperature": TEMPERATURE,
            "discard": count(12, 99, zero=True, none=True),
            "at_once": count(),
            "seed": seed(),
        },
    ),
    "insertion_factor": Call(
        jxl.insertion_factor,
        {"source": TRAJECTORY, "potential": LJ, "symbol": "Ar", "temperature": 120.0},
        {
            "source": source(),
            "potential": potential(),
            "symbol": symbol("X"),
            "places": count(),
            "temperature": TEMPERATURE,
        },
    ),
    "Reweighting": Call(
        jxl.Reweighting,
        {"source": TRAJECTORY, "potential": LJ, "temperature": 120.0},
        {
            "source": source(),
            "potential": potential(),
            "temperature": TEMPERATURE,
            "discard": count(12, 99, zero=True, none=True),
            "at_once": count(),
            "least": number(1.0, zero=True),
        },
    ),
    "path_gradient": Call(
        jxl.path_gradient,
        {"quantity": quantity, "potential": LJ, "atoms": ARGON, "ensemble": NVT, "steps": 100},
        RUN
        | {
            "quantity": function(),
            "ensemble": ensemble(),
            "every": count(3, 200),
            "replicas": count(),
            "seed": seed(),
            "velocities": Kind(("warm", -1.0, NAN, True, {}, [300.0]), optional=True),
            "mode": choice(),
            "trainable": function(none=True),
        },
    ),
    "fit_observables": Call(
        jxl.fit_observables,
        {
            "potential": LJ,
            "targets": [jxl.Target(quantity, 1.0)],
            "atoms": ARGON,
            "ensemble": NVT,
            "iterations": 2,
            "steps": 1000,
        },
        {
            "potential": potential(),
            "targets": listed(),
            "atoms": structure(),
            "ensemble": ensemble(jxl.NVE()),
            "iterations": count(),
            "steps": count(100),
            "equilibration": count(1000, zero=True, none=True),
            "learning_rate": number(),
            "trainable": function(none=True),
            "penalty": function(none=True),
            "effective": number(1.0),
            "least": number(1.0),
            "every": count(2000),
            "at_once": count(),
            "seed": seed(),
            "output": new_path(none=True),
            "resume": flag(),
            "progress": flag(),
        },
    ),
    "energy_and_forces": Call(
        jxl.energy_and_forces,
        {"potential": LJ, "system": System.from_atoms(ARGON), "neighbors": Neighbors((), ())},
        {"potential": potential()},
    ),
    "energy_forces_stress": Call(
        jxl.energy_forces_stress,
        {"potential": LJ, "system": System.from_atoms(ARGON), "neighbors": Neighbors((), ())},
        {"potential": potential()},
    ),
    "neighbor_lists": Call(
        jxl.neighbor_lists, {"system": ARGON, "potential": LJ}, {"system": structure(), "potential": potential()}
    ),
    "Calculator": Call(jxl.Calculator, {"potential": LJ}, {"potential": potential()}),
    "form_error": Call(
        jxl.form_error, {"potential": LJ, "atoms": ARGON}, {"potential": potential(), "atoms": structure()}
    ),
    "to_jax_md": Call(
        jxl.to_jax_md,
        {"potential": LJ, "atoms": ARGON},
        {"potential": potential(), "atoms": structure(), "skin": number(100.0), "capacity_multiplier": number(0.5)},
    ),
    "distribute": Call(
        jxl.distribute,
        {"potential": LJ},
        {
            "potential": potential(),
            "devices": Kind(("gpu7", "", 0, -1, 0.5, 99, True, {}, None)),
            "shape": Kind(("abc", 5, True, (1, 1), (0, 1, 1), (1, 1, 9), (0.5, 1, 1), {}), optional=True),
        },
    ),
}
"""Calls that would compile; the test stops them before."""
