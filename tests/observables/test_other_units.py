"""Numbers in other units, and of other kinds, as arguments of the analyses: refused, or warned about."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.errors import InputError
from jaxelyte.observables.diffusion import finite_size_correction
from jaxelyte.trajectory import Trajectory

IONS = {"Na": 1.0, "Cl": -1.0}
CUBE = np.eye(3) * 20.0


def frames() -> Trajectory:
    positions = np.cumsum(np.random.default_rng(0).normal(0.0, 0.3, (200, 1, 10, 3)), axis=0)
    numbers, steps = np.repeat([11, 17], 5), np.arange(200)
    return Trajectory(positions, numbers, np.full(10, 30.0), CUBE, (True, True, True), steps, 50.0 * steps)


def pair() -> jxl.RDFResult:
    one = np.ones(50)
    edges = np.linspace(0.0, 10.0, 51)
    return jxl.RDFResult((("Na", "Cl"),), edges, one, one, one, one, 10, 1, np.ones(1), np.ones((5, 1, 50)))


def conduct(**change: Any) -> Any:
    return jxl.conductivity(frames(), **({"charges": IONS, "temperature": 300.0} | change))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conduct(charges={"Na": 1.6e-19, "Cl": -1.6e-19}), r"charges\['Na'\] = 1.6e-19 e .* if it is in C"),
        (lambda: conduct(charges="NaCl"), "charges must be a dictionary such as"),
        (lambda: conduct(charges={"Na": 0.0, "Cl": 0.0}), "give those of the ions in e"),
        (lambda: conduct(temperature=-5.0), "temperature = -5 K"),
        (lambda: conduct(stretches=0), "stretches must be a positive integer"),
        (lambda: conduct(stretches=2.5), "stretches must be a positive integer"),
        (lambda: conduct(fit=5.0), "fit must be a list of two times in fs"),
        (lambda: conduct(fit=(5.0, 1.0)), "has to be later"),
        (lambda: jxl.diffusivity(frames(), "Na", fit=(0.1, 0.6)), "is this window in ps"),
        (lambda: jxl.diffusivity(frames(), "Na", fit=("a", "b")), "fit must be a finite number in fs"),
        (lambda: jxl.msd(frames(), 11), "species must be a chemical symbol such as 'Na', not 11"),  # pyright: ignore[reportArgumentType]
        (lambda: finite_size_correction(CUBE, 300.0, 0.0), "viscosity = 0 Pa s"),
        (lambda: jxl.residence_time(frames(), "Na", "Cl", 5.0, tolerance=-1.0), "tolerance must be a number in fs"),
        (lambda: jxl.pmf(pair(), 300.0, charges=IONS, permittivity=0.5), "permittivity = 0.5"),
        (lambda: jxl.pmf(pair(), 300.0, charges={"Na": 1.0}, permittivity=78.0), "lack one of the pair Na-Cl"),
    ],
)
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conduct(temperature=0.025852), r"temperature = 0.025852 K is unusual .*write 300, if it is in eV"),
        (lambda: jxl.msd(frames(), "Na", temperature=0.025852), "if it is in eV"),
        (lambda: jxl.pmf(pair(), 0.025852), "if it is in eV"),
        (lambda: finite_size_correction(CUBE, 300.0, 0.89), "write 0.00089, if it is in mPa s"),
    ],
)
def test_warned_about(call: Callable[[], Any], message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        call()


def test_ordinary_numbers_pass() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jxl.msd(frames(), "Na", temperature=298.15, stretches=np.int64(2))  # pyright: ignore[reportArgumentType]
        finite_size_correction(CUBE, 300.0, 0.89e-3)
        jxl.pmf(pair(), np.float64(300.0), charges=IONS, permittivity=78.3)


def test_stress_that_is_not_finite_is_named() -> None:
    values = np.random.default_rng(0).normal(size=(400, 2, 6))
    values[30, 1, 2] = np.inf
    series = jxl.SeriesResult(jxl.PressureTensor().columns, "GPa", 5.0, 5.0, values)
    with pytest.raises(InputError, match=r"sample 30 of replica 1 .* \(zz\)"):
        jxl.viscosity(series, temperature=300.0, volume=1e4)
