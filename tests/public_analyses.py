"""Analyses, trajectories, training, methods of results: right calls, and the kind of each argument."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import jaxelyte as jxl
from jaxelyte.observables.sampling import analysed, first_systems
from public_calls import ARGON, LJ, PERMITTIVITY, TEMPERATURE, Call
from wrong_values import (
    NAN,
    Kind,
    array,
    choice,
    count,
    flag,
    listed,
    mapping,
    new_path,
    number,
    potential,
    seed,
    source,
    symbol,
)

LENGTH, FRAMES = 9.0, 400


def walk(replicas: int = 2) -> jxl.Trajectory:
    """Ions and argon that diffuse, with velocities; enough frames that no analysis finds them too few."""
    rng = np.random.default_rng(1)
    steps = rng.normal(0, 0.5, (FRAMES, replicas, 24, 3))
    return jxl.Trajectory(
        positions=rng.uniform(0, LENGTH, (1, replicas, 24, 3)) + np.cumsum(steps, axis=0),
        numbers=np.repeat([11, 17, 18], 8),
        masses=np.repeat([22.99, 35.45, 39.948], 8),
        cells=np.broadcast_to(np.eye(3) * LENGTH, (replicas, 3, 3)),
        pbc=(True, True, True),
        steps=np.arange(FRAMES) * 10,
        times=np.arange(FRAMES) * 1000.0,
        velocities=rng.normal(0, 0.002, (FRAMES, replicas, 24, 3)),
        unwrapped=True,
    )


def pressures() -> jxl.SeriesResult:
    """A pressure tensor that forgets itself within some samples."""
    noise = np.random.default_rng(2).normal(size=(1500, 2, 6))
    kernel = np.exp(-np.arange(40) / 5.0)
    values = np.apply_along_axis(np.convolve, 0, noise, kernel, "valid") * 0.1
    return jxl.SeriesResult(("xx", "yy", "zz", "yz", "xz", "xy"), "GPa", 5.0, 5.0, values)


def labelled(number: int) -> Atoms:
    """Argon with energy and forces of no particular potential."""
    atoms = ARGON.copy()
    rng = np.random.default_rng(number)
    atoms.positions += rng.normal(0, 0.1, (4, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-0.1 + 0.01 * rng.normal(), forces=rng.normal(0, 0.1, (4, 3)))
    return atoms


def curves() -> jxl.RDFResult:
    """Distribution functions of three pairs, as a run would give them: a peak, a minimum and a flat tail."""
    edges = np.linspace(0.0, 9.0, 181)
    r = 0.5 * (edges[1:] + edges[:-1])
    peak = np.exp(-((r - 2.8) ** 2) / 0.05) * 3.0 - np.exp(-((r - 3.6) ** 2) / 0.1) * 0.7
    flat = np.where(r > 2.2, 1.0 + peak, 0.0)
    g = np.stack([flat, flat, flat])
    rows = np.stack([g * (1.0 + 0.01 * np.cos(n + r)) for n in range(8)])
    return jxl.RDFResult(
        pairs=(("Na", "Cl"), ("Na", "Na"), ("Cl", "Cl")),
        edges=edges,
        g=g,
        error=0.01 * g,
        coordination=np.cumsum(g, axis=1) * 0.01,
        coordination_error=np.full_like(g, 0.01),
        samples=100,
        replicas=1,
        density=np.full(3, 1e-3),
        stretches=rows,
        volume=14.0**3,
    )


def diffusing() -> jxl.MSDResult:
    """A straight line."""
    lags = np.arange(100) * 10.0
    rows = np.stack([0.001 * lags * (1.0 + 0.01 * n) for n in range(4)])
    return jxl.MSDResult.from_arrays(lags, rows, species="Na", cell=20.0, temperature=300.0)


def decaying() -> jxl.VACFResult:
    """An exponential."""
    lags = np.arange(1600) * 10.0
    rows = np.stack([1e-5 * np.exp(-lags / (50.0 + n)) for n in range(4)])
    return jxl.VACFResult("Na", lags, rows.mean(axis=0), rows.std(axis=0), rows)


def sampled(observable: Any) -> None:
    """An observable is used: some of its values are looked at then."""
    observable.prepare(first_systems(WALK))


WALK, PRESSURES, CURVES = walk(), pressures(), curves()
PAIR, DIFFUSING, DECAYING = CURVES["Na-Cl"], diffusing(), decaying()
FRAMES_WITH_LABELS = [labelled(n) for n in range(8)]
FIT_OF_SALT = jxl.datasets.nacl_water_fit()
DISCARD = count(FRAMES, 1e9, zero=True, none=True)
STRETCHES = count(1e9, none=True)
BLOCKS = count(1, 1e9, none=True)
FIT = Kind(
    ("abc", 5, True, (1.0,), (1.0, 2.0, 3.0), (100.0, 50.0), (-5.0, 100.0), (NAN, 100.0), ("0", "9"), (1e9, 1e10), {}),
    optional=True,
)
PAIRS = Kind(("Na", 5, True, [], {}, ["Na"], [("Na",)], [("Na", "Xx")], [("Na", "Li")], [5], [("Na", 5)], [None]))
BINS = count(1e9, none=True)
CELL = Kind(("abc", True, {}, NAN, 0.0, -20.0, 1e30, np.zeros((3, 3)), [1.0, 2.0], [NAN] * 3), optional=True)
CURVE = array([[1.0, 2.0]], [1.0], np.full(180, NAN), np.zeros(180), np.full(180, -1.0))
KB = {
    "r": PAIR.r,
    "cation_cation": CURVES.stretches[:, 1],
    "cation_anion": CURVES.stretches[:, 0],
    "anion_anion": CURVES.stretches[:, 2],
    "density": 1e-4,
    "box_length": 14.0,
}
SOLVENT = {"cation_solvent": CURVES.stretches[:, 0], "anion_solvent": CURVES.stretches[:, 1]}
KB_KINDS = {
    "r": array(PAIR.r[::-1], PAIR.r * 0.1, PAIR.r[:90], PAIR.r**2),
    **dict.fromkeys(("cation_cation", "cation_anion", "anion_anion"), CURVE),
    "density": number(1.0, 1e27),
    "box_length": number(1.4, 140.0),
    "correction": choice(),
}
TRIPLETS = ("Na", "ClNaCl", 5, True, [], {}, ("Na",), ("Cl", "Na", 5), [None] * 3)
ONE_OF_TWO = Kind((*CURVE.values, CURVES.stretches[:, 0]), optional=True)
REFERENCES = Kind(("Ar", 5, True, [], {"Xx": 1.0}, {"Ar": "1"}, {"Ar": NAN}, {"Ar": None}, {}, {5: 1.0}), optional=True)
LABELS = Kind(("", 5, True, [], {}, (), (5,), ("",), [None]), optional=True)
NAMED = Kind(("Na-Li", "Na", "", 5, -9, 99, 0.5, True, (), {}, NAN, ("Na",), ("Na", "Cl", "Na"), ("Na", 5), [None]))
SLICE = Kind((0, "0", True, None, 0.5, (1, 2), [1, 2], slice("a", "b"), slice(0.5, 3), slice(0, 5, 0), slice(NAN)))

ANALYSES: dict[str, Call] = {
    "rdf": Call(
        jxl.rdf,
        {"source": WALK, "center": "Na", "neighbor": "Cl"},
        {
            "source": source(),
            "center": symbol("Li"),
            "neighbor": symbol("Li"),
            "pairs": PAIRS._replace(optional=True),
            "r_max": number(0.01, 1e4, none=True),
            "bins": BINS,
            "width": number(50.0, none=True),
            "blocks": count(1, none=True),
            "discard": DISCARD,
        },
    ),
    "angles": Call(
        jxl.angles,
        {"source": WALK, "triplet": ("Cl", "Na", "Cl"), "r_max": 4.0},
        {
            "source": source(),
            "triplet": Kind(
                ("Na", "ClNaCl", 5, True, [], {}, ("Na",), ("Cl", "Na", "Li"), ("Cl", "Na", 5), [None] * 3)
            ),
            "r_max": number(1e3, (4.0,), (4.0, -1.0), (4.0, NAN), (1.0, 2.0, 3.0)),
            "bins": count(1e9),
            "discard": DISCARD,
            "blocks": count(1, none=True),
        },
    ),
    "structure_factor": Call(
        jxl.structure_factor,
        {"source": WALK, "k_max": 3.0},
        {
            "source": source(),
            "k_max": number(0.1, 500.0),
            "weighting": choice("X-ray", none=True),
            "scatterers": Kind(("Na+", 5, True, [1], {5: "Na+"}, {"Na": 5}, {"Na": "Xx"}), optional=True),
            "width": number(50.0),
            "discard": DISCARD,
            "blocks": count(1, none=True),
        },
    ),
    "msd": Call(
        jxl.msd,
        {"source": WALK, "species": "Na"},
        {
            "source": source(),
            "species": symbol("Li"),
            "discard": DISCARD,
            "stretches": STRETCHES,
            "drift": flag(),
            "temperature": TEMPERATURE._replace(optional=True),
        },
    ),
    "diffusivity": Call(
        jxl.diffusivity,
        {"source": WALK, "species": "Na", "temperature": 300.0, "viscosity": 1e-3},
        {
            "source": source(),
            "species": symbol("Li"),
            "viscosity": number(0.89, none=True),
            "temperature": TEMPERATURE,
            "fit": FIT,
            "discard": DISCARD,
            "stretches": STRETCHES,
        },
    ),
    "conductivity": Call(
        jxl.conductivity,
        {"source": WALK, "charges": {"Na": 1.0, "Cl": -1.0}, "temperature": 300.0},
        {
            "source": source(),
            "charges": mapping({}, {"Na": 1.0}, {"Na": 1.6e-19, "Cl": -1.6e-19}, {"Na": 0.0, "Cl": 0.0}),
            "temperature": TEMPERATURE,
            "fit": FIT,
            "discard": DISCARD,
            "stretches": STRETCHES,
        },
    ),
    "residence_time": Call(
        jxl.residence_time,
        {"source": WALK, "center": "Na", "neighbor": "Cl", "r_max": 4.0, "tolerance": 0.0},
        {
            "source": source(),
            "center": symbol("Li"),
            "neighbor": symbol("Li"),
            "r_max": number(0.4, 400.0),
            "tolerance": number(zero=True, infinite=True),
            "fit": FIT,
            "discard": DISCARD,
            "stretches": STRETCHES,
        },
    ),
    "vacf": Call(
        jxl.vacf,
        {"source": WALK, "species": "Na"},
        {
            "source": source(),
            "species": symbol("Li", none=True),
            "discard": DISCARD,
            "stretches": STRETCHES,
            "weighted": flag(),
        },
    ),
    "viscosity": Call(
        jxl.viscosity,
        {"source": PRESSURES, "temperature": 300.0, "volume": 3000.0},
        {
            "source": source(),
            "temperature": TEMPERATURE,
            "volume": number(3e-27),
            "longest": number(1.0, none=True),
            "stretches": STRETCHES,
        },
    ),
    "pmf": Call(
        jxl.pmf,
        {"result": PAIR, "temperature": 300.0, "charges": {"Na": 1.0, "Cl": -1.0}, "permittivity": 78.3},
        {
            "result": Kind((*source().values, CURVES)),
            "temperature": TEMPERATURE,
            "charges": mapping({}, {"Na": 1.0}),
            "permittivity": PERMITTIVITY,
        },
    ),
    "kirkwood_buff": Call(
        jxl.kirkwood_buff,
        {"result": CURVES},
        {
            "result": source(),
            "box_length": number(1.4, 140.0, none=True),
            "limit": number(1e-3, 70.0, none=True),
            "correction": choice(),
            "weight": choice(),
        },
    ),
    "activity_derivative": Call(
        jxl.activity_derivative,
        KB,
        KB_KINDS | dict.fromkeys(SOLVENT, ONE_OF_TWO),
    ),
    "partial_molar_volumes": Call(
        jxl.partial_molar_volumes,
        KB | SOLVENT | {"solvent_solvent": CURVES.stretches[:, 0], "solvent_density": 0.033, "temperature": 300.0},
        KB_KINDS
        | dict.fromkeys((*SOLVENT, "solvent_solvent"), CURVE)
        | {"solvent_density": number(55.5, 33.3), "temperature": TEMPERATURE},
    ),
    "frame_rdf": Call(
        jxl.frame_rdf,
        {"source": WALK, "pairs": ("Na", "Cl")},
        {"source": source(), "pairs": PAIRS, "r_max": number(0.01, 1e4, none=True), "bins": BINS},
    ),
    "RDF": Call(
        jxl.RDF,
        {"pairs": ("Na", "Cl")},
        {
            "pairs": Kind(tuple(v for v in PAIRS.values if v != [("Na", "Li")])),
            "r_max": number(none=True),
            "bins": BINS,
            "width": number(none=True),
            "blocks": count(1, none=True),
        },
        sampled,
    ),
    "Angles": Call(
        jxl.Angles,
        {"triplet": ("Cl", "Na", "Cl"), "r_max": 4.0},
        {
            "triplet": Kind(TRIPLETS),
            "r_max": number((4.0,), (4.0, -1.0), (4.0, NAN), (1.0, 2.0, 3.0)),
            "bins": count(1e9),
            "room": count(),
            "blocks": count(1, none=True),
        },
        sampled,
    ),
    "StructureFactor": Call(
        jxl.StructureFactor,
        {},
        {
            "k_max": number(1e-3, 500.0),
            "width": number(50.0),
            "weighting": choice("X-ray", none=True),
            "scatterers": Kind(("Na+", 5, True, [1], {5: "Na+"}, {"Na": 5})),
            "blocks": count(1, none=True),
        },
        sampled,
    ),
    "Distance": Call(
        jxl.Distance,
        {"pairs": ((0, 1),)},
        {"pairs": Kind(("01", 5, True, NAN, (0,), (0, 0), (-1, 0), (0.5, 1), ("a", "b"), [], [(0, 1, 2)], [None], {}))},
    ),
    "PressureTensor": Call(jxl.PressureTensor, {}, {}),
    "LabelKeys": Call(jxl.LabelKeys, {}, dict.fromkeys(("energy", "forces", "stress", "virial"), LABELS)),
    "Trajectory": Call(
        jxl.Trajectory,
        {
            "positions": np.zeros((3, 1, 2, 3)) + np.arange(2)[:, None],
            "numbers": np.array([11, 17]),
            "masses": np.array([23.0, 35.5]),
            "cells": np.eye(3)[None] * 10.0,
            "pbc": (True, True, True),
            "steps": np.arange(3),
            "times": np.arange(3.0),
        },
        {
            "positions": array(np.zeros((2, 3)), np.zeros((3, 1, 2, 2)), 5.0),
            "numbers": array([11], [11, 17, 18], [11.5, 17], [-1, 17], [500, 17], 5.5),
            "masses": array([1.0, 2.0, 3.0], [0.0, 1.0], [-1.0, 1.0]),
            "cells": array(10.0, [10.0] * 3, np.eye(2), [[[NAN] * 3] * 3]),
            "pbc": Kind(("xyz", 5, True, (), (True,), (1, 0, 5), ("a", "b", "c"), {}, NAN)),
            "steps": array([0], 5, [0.5, 1, 2], np.arange(4)),
            "times": array([0.0], 5.0, np.arange(4.0))._replace(
                values=("abc", True, {}, [0.0], 5.0, np.arange(4.0), ["a"] * 3)
            ),
            "velocities": array(np.zeros((3, 1, 2, 2)), np.zeros(3), 5.0, none=True),
            "unwrapped": flag(),
        },
        analysed,
    ),
    "Trajectory.from_atoms": Call(
        jxl.Trajectory.from_atoms,
        {"frames": [ARGON, ARGON], "interval": 1.0},
        {"frames": listed([ARGON, ARGON[:2]], [ARGON, None]), "interval": number(none=True)},
    ),
    "Trajectory.frame": Call(
        WALK.frame,
        {"i": 0},
        {
            "i": count(FRAMES, -FRAMES - 1, zero=True)._replace(
                values=("0", "abc", True, [1], {}, NAN, 1.5, FRAMES, -FRAMES - 1)
            ),
            "replica": count(2, zero=True),
        },
    ),
    "Trajectory[…]": Call(WALK.__getitem__, {"frames": slice(0, 5)}, {"frames": SLICE}, len),
    "Trajectory.blocks": Call(WALK.blocks, {"frames": 100}, {"frames": count()}, list),
    "Trajectory.first": Call(WALK.first, {"frames": 5}, {"frames": count(zero=True)}),
    "save_nequip": Call(
        jxl.save_nequip,
        {"potential": FIT_OF_SALT.potential, "folder": "model", "overwrite": True},
        {"potential": potential(), "folder": new_path(), "overwrite": flag()},
    ),
    "evaluate": Call(
        jxl.evaluate,
        {"potential": LJ, "frames": FRAMES_WITH_LABELS},
        {
            "potential": potential(),
            "frames": listed("/nowhere", [ARGON]),
            "keys": Kind(("energy", 5, True, [], {}), optional=True),
            "batch_size": count(),
        },
    ),
    "stability": Call(
        jxl.stability,
        {"potential": LJ, "frames": [ARGON], "progress": False},
        {
            "potential": potential(),
            "frames": listed("/nowhere"),
            "temperatures": Kind(("300", 300.0, True, [], {}, [0.0], [-300.0], [NAN], ["a"], [None], [1e9], [0.025])),
            "length": number(5000.0),
            "timestep": number(5e-16, 5e-4, 100.0),
            "every": count(1e9),
            "seed": seed(),
            "progress": flag(),
        },
    ),
    "train": Call(
        jxl.train,
        {"frames": FRAMES_WITH_LABELS, "model": jxl.NequIP(r_max=4.5, num_features=2, num_layers=1), "progress": False},
        {
            "frames": listed("/nowhere", [ARGON] * 8),
            "model": Kind(("nequip", "", 5, True, {}, [], LJ)),
            "baseline": potential(none=True),
            "epochs": count(),
            "seed": seed(),
            "output": new_path(none=True),
            "batch_size": count(none=True),
            "accumulate": count(),
            "loss": Kind(("huber", 5, True, {}, [1.0, 1.0]), optional=True),
            "optimization": Kind(("adam", 5, True, {}, []), optional=True),
            "validation": Kind(("", "/nowhere", True, NAN, 0.0, -0.1, 1.5, 8, 99, [], {}, [None], None, [5])),
            "test": number(8, 99, 1.5, zero=True),
            "split_seed": seed(),
            "split": choice(),
            "scales": choice(),
            "train_scales": flag(),
            "references": Kind(
                ("Ar", 5, True, [], {"Xx": 1.0}, {"Ar": "1"}, {"Ar": NAN}, {"Ar": None}, {}, {5: 1.0}), optional=True
            ),
            "committee": count(none=True),
            "devices": count(99, none=True),
            "keys": Kind(("energy", 5, True, [], {}), optional=True),
            "check_units": flag(),
            "drop_outliers": Kind(flag().values, optional=True),
            "exclude": Kind(("0", 5, True, [99], [-1], [0.5], ["a"], {}, list(range(8)), [None], NAN)),
            "resume": flag(),
            "overwrite": flag(),
            "progress": flag(),
        },
    ),
}
"""Right calls that go as far as the first compilation."""
