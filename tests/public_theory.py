"""Theories and readers: right calls, and what kind of argument each one is; see `public_calls`."""

from __future__ import annotations

import jaxelyte as jxl
from jaxelyte import theory
from public_calls import PERMITTIVITY, TEMPERATURE, Call
from wrong_values import Kind, array, choice, count, mapping, number, path

IONS = mapping({"Na": 1.0, "Cl": 1.0}, {"Na": 1.0}, {"Na": 1.6e-19, "Cl": -1.6e-19}, {})
STRENGTH = number(1000.0)
NOT_A_NUMBER = Kind(("0.5", "abc", True, [1.0], {}, float("nan"), float("inf")))

THEORIES: dict[str, Call] = {
    "theory.bjerrum_length": Call(
        theory.bjerrum_length,
        {"permittivity": 78.3, "temperature": 300.0},
        {"permittivity": PERMITTIVITY, "temperature": TEMPERATURE},
    ),
    "theory.debye_length": Call(
        theory.debye_length,
        {"ionic_strength": 0.1},
        {"ionic_strength": number(1000.0, zero=True), "permittivity": PERMITTIVITY, "temperature": TEMPERATURE},
    ),
    "theory.debye_hueckel": Call(
        theory.debye_hueckel,
        {"ionic_strength": 0.1},
        {
            "ionic_strength": number(1000.0, zero=True),
            "diameter": number(0.4, 400.0, zero=True),
            "charges": array((1.0, 1.0), (1.0,), (1.0, 0.0), 1.0),
            "permittivity": PERMITTIVITY,
            "temperature": TEMPERATURE,
        },
    ),
    "theory.Pitzer": Call(
        theory.Pitzer,
        {"beta0": 0.08, "beta1": 0.27, "c_phi": 0.001, "limit": 6.0},
        {
            **dict.fromkeys(
                ("beta0", "beta1", "c_phi"), Kind(("0.5", "abc", True, [1.0], {}, float("nan"), float("inf")))
            ),
            "limit": Kind(("0.5", True, -1.0, 0.0, float("nan"))),
        },
    ),
    "theory.IonModel": Call(
        theory.IonModel,
        {"charges": {"Na": 1.0, "Cl": -1.0}, "diameters": 4.0},
        {
            "charges": IONS,
            "diameters": number(0.4, 400.0, 0.0),
            "short_range": Kind(("abc", 5, True, ([1.0, 2.0], {}), ([2.0, 1.0], {}), (1, 2, 3)), optional=True),
            "permittivity": PERMITTIVITY,
            "temperature": TEMPERATURE,
        },
    ),
    "theory.molal_scale": Call(
        theory.molal_scale,
        {"molarity": 1.0, "osmotic": 0.9, "activity": 0.7, "volume": 0.02},
        {
            "molarity": array(-1.0, 60.0),
            "osmotic": array(),
            "activity": array(-1.0),
            "volume": Kind(("0.02", True, 2.0, float("nan"), [0.1], {})),
            "solvent_density": number(997.0),
        },
    ),
    "theory.activity_from_derivatives": Call(
        theory.activity_from_derivatives,
        {"molarity": [0.5, 1.0], "derivatives": [0.9, 0.95], "errors": [0.01, 0.01]},
        {
            "molarity": array([0.5], [-0.5, 1.0], [1.0, 1.0], [500.0, 1000.0]),
            "derivatives": array([0.9]),
            "errors": array([0.0, 0.1], [-0.1, 0.1]),
            "diameters": array([-1.0], [[3.0]], [0.4], [400.0]),
            "permittivity": PERMITTIVITY,
            "temperature": TEMPERATURE,
            "terms": count(),
        },
    ),
    "free_energy_gradient": Call(jxl.free_energy_gradient, {}, {"result": path()}),
    "load_fit": Call(jxl.load_fit, {}, {"folder": path()}),
    "load_run": Call(jxl.load_run, {}, {"folder": path()}),
    "load_nequip": Call(jxl.load_nequip, {}, {"path": path()}),
    "load_potential": Call(jxl.load_potential, {}, {"name": path()}),
    "open_trajectory": Call(jxl.open_trajectory, {}, {"path": path()}),
    "read": Call(jxl.read, {}, {"path": path()}),
    "register": Call(
        jxl.register,
        {"name": "own-potential"},
        {
            "name": Kind(("Own", "own potential", "a/b", "", 5, 0.5, True, [], (), {}, float("nan"))),
            "kind": choice(none=True),
        },
    ),
    "read_cp2k": Call(jxl.read_cp2k, {}, {"positions": path()}),
}
"""All of them without compilation. Those without a right call here only have wrong ones: no file is there."""
