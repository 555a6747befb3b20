"""The checks of single arguments: one type out, one error that names argument, value and unit."""

from __future__ import annotations

import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxelyte import checks
from jaxelyte.errors import InputError

HALVES = [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), jnp.asarray(0.5), Fraction(1, 2)]
NO_NUMBERS = [
    None,
    True,
    np.True_,
    "0.5",
    "abc",
    b"1",
    [0.5],
    (0.5,),
    {},
    np.array([0.5]),
    1j,
    np.array(True),
    object(),
]


@pytest.mark.parametrize("value", HALVES, ids=lambda v: type(v).__name__)
def test_numbers_of_any_type_are_numbers(value):
    found = checks.number("x", value)
    assert type(found) is float
    assert found == 0.5


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, np.nan, np.inf, -np.inf], ids=lambda v: type(v).__name__ if type(v) is object else repr(v)
)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(InputError, match="timestep must be a finite number in fs, not "):
        checks.number("timestep", value, "fs")


def test_a_traced_value_is_refused():
    with pytest.raises(InputError, match="timestep"):
        jax.jit(lambda x: checks.number("timestep", x))(1.0)


def test_limits_of_numbers():
    assert checks.number("x", np.inf, above=0.0, infinite=True) == np.inf
    assert checks.not_negative("x", 0) == 0.0
    assert checks.fraction("x", 1) == 1.0
    with pytest.raises(InputError, match=r"x must be a finite number in Å, above 0, not 0"):
        checks.positive("x", 0, "Å")
    with pytest.raises(InputError, match=r"0 or more and 1 or less, not 1\.1"):
        checks.fraction("x", 1.1)
    with pytest.raises(InputError, match="not nan"):
        checks.number("x", np.nan, infinite=True)


@pytest.mark.parametrize("value", [5, 5.0, np.int64(5), np.uint8(5), np.float32(5.0), np.array(5), jnp.asarray(5)])
def test_counts_are_numbers_without_a_fraction(value):
    found = checks.count("steps", value)
    assert type(found) is int
    assert found == 5


@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, 0, -1, 1.5, np.nan, np.inf, 1e30, 10**400],
    ids=lambda v: type(v).__name__ if type(v) is object else repr(v)[:20],
)
def test_what_is_no_count_is_refused(value):
    with pytest.raises(InputError, match=r"steps must be (a positive integer|an integer from 1 to 1000), not "):
        checks.count("steps", value, most=1000)


def test_a_large_count_keeps_its_digits():
    assert checks.count("seed", 2**53 + 1) == 2**53 + 1
    assert checks.count("steps", 1e5) == 100_000


def test_only_booleans_are_flags():
    assert checks.flag("stress", np.True_) is True
    for value in ("none", "yes", 0, 1, None, []):
        with pytest.raises(InputError, match="stress must be True or False"):
            checks.flag("stress", value)


def test_choices_name_the_nearest():
    assert checks.choice("method", "p3m", ("ewald", "p3m")) == "p3m"
    with pytest.raises(InputError, match=r"one of 'ewald', 'p3m', not 'Ewald'; did you mean 'ewald'\?"):
        checks.choice("method", "Ewald", ("ewald", "p3m"))
    for value in (None, 3, ["ewald"], {}):
        with pytest.raises(InputError, match="method must be one of"):
            checks.choice("method", value, ("ewald", "p3m"))


# Value, kind, and the value in our unit if it was meant in another.
WRONG_UNITS = [
    (5e-16, "time step", "0.5, if it is in s"),
    (0.026, "temperature", "301.7, if it is in eV"),
    (0.1, "relaxation time", "100, if it is in ps"),
    (10.0, "friction", "0.01, if it is in 1/ps"),
    (0.34, "diameter", "3.4, if it is in nm"),
    (340.0, "diameter", "3.4, if it is in pm"),
    (0.998, "well depth", "0.01034, if it is in kJ/mol"),
    (0.155, "well depth", "0.006721, if it is in kcal/mol"),
    (-1.602e-19, "charge", "0.9999, if it is in C"),
    (998.0, "density", "0.998, if it is in kg/m³"),
    (1000.0, "concentration", "1, if it is in mol/m³"),
    (6.94e-10, "permittivity", "78.38, if it is in F/m"),
    (0.5, "cut-off", "5, if it is in nm"),
    (390.0, "cut-off", "3.9, if it is in pm"),
    (0.89, "viscosity", "0.00089, if it is in mPa s"),
    (109.5, "angle", "1.911, if it is in degrees"),
    (443153.0, "bond stiffness", "45.93, if it is in kJ/mol/nm²"),
]


@pytest.mark.parametrize(("value", "kind", "meant"), WRONG_UNITS, ids=str)
def test_another_unit_is_named(value, kind, meant):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            checks.quantity("x", value, kind, signed=value < 0)
            text = str(found[0].message)
            assert "is unusual for" in text
            assert len(found) == 1
        except InputError as error:
            text = str(error)
            assert "cannot be" in text
    assert meant in text


ORDINARY = {
    "time step": (0.1, 0.5, 2, 10),
    "temperature": (77, 298.15, 3000),
    "relaxation time": (20, 50, 1000),
    "friction": (1e-4, 0.01, 0.1),
    "diameter": (1.0, 3.4, 5.0),
    "well depth": (1e-5, 0.0067, 0.05),
    "charge": (0.41, 1, 2, 4),
    "cut-off": (2.5, 3.9, 9, 15),
    "density": (0.7, 1, 2.5),
    "concentration": (1e-3, 1, 20),
    "permittivity": (1, 4.0, 78.4, 182),
    "viscosity": (3e-4, 8.9e-4, 1e-2),
    "bond stiffness": (1e-3, 0.1, 5, 50),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_ordinary_values_pass_without_a_word(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in ORDINARY[kind]:
            assert checks.quantity("x", value, kind) == value


def test_ranges_are_in_order():
    for kind, row in checks.RANGES.items():
        assert row.least <= row.low < row.high <= row.most, kind


def test_what_never_makes_sense_is_refused():
    for value, kind in (
        (100.0, "time step"),
        (0, "permittivity"),
        (0.9, "permittivity"),
        (0, "temperature"),
        (-1, "skin"),
    ):
        with pytest.raises(InputError, match=r"x = .* cannot be"):
            checks.quantity("x", value, kind)
    assert checks.quantity("x", 0, "charge", zero=True) == 0.0


def test_warnings_point_at_the_line_of_the_user(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("from jaxelyte.checks import quantity\n\nquantity('temperature', 20.0, 'temperature')\n")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert f"{program}:3: UserWarning: temperature = 20 K is unusual" in done.stderr
    assert done.stderr.count("UserWarning") == 1


CALLS = """
import numpy as np, jaxelyte as jxl
from jaxelyte.gradients.trust import warn_if_apart
from jaxelyte.names import guarded
rng = np.random.default_rng(0)
noise = jxl.SeriesResult(jxl.PressureTensor().columns, "GPa", 5.0, 5.0, rng.normal(size=(400, 1, 6)).cumsum(0))
jxl.NVT(300.0, tau=0.1)
jxl.viscosity(noise, temperature=300.0, volume=2000.0)
jxl.umbrella_pmf([rng.normal(r, 0.1, 200) for r in (3.0, 9.0)], [3.0, 9.0], 2.0, 300.0)
guarded(warn_if_apart)(rng.normal(size=16) + np.repeat([0, 9], 8), "average")
"""
"""Of dynamics, observables, free_energy and gradients, each on a line of its own."""


@pytest.mark.more
def test_warnings_of_every_folder_point_there(tmp_path):
    """Public names are wrapped (`names.guarded`), and type checkers wrap them again: a fixed depth would miss."""
    program = tmp_path / "program.py"
    program.write_text(CALLS)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    places = [line.partition(" UserWarning: ")[0] for line in done.stderr.splitlines() if " UserWarning: " in line]
    lines = CALLS.splitlines()
    first = lines.index("jxl.NVT(300.0, tau=0.1)") + 1
    assert {f"{program}:{n}:" for n in range(first, len(lines) + 1)} == set(places)


def test_arrays_have_shape_and_finite_entries():
    assert checks.array("p", [[1, 2, 3]], (None, 3)).dtype == np.float64
    for value, text in (
        ([[1, 2], [3]], r"of shape \(any, 3\), not \[\[1, 2\], \[3\]\]"),
        (np.zeros((2, 2)), r"not of shape \(2, 2\)"),
        ([[1, 2, np.nan]], r"entry \(0, 2\) is nan"),
        ("abc", "not 'abc'"),
        (None, "not None"),
    ):
        with pytest.raises(InputError, match=text):
            checks.array("p", value, (None, 3), "Å")


def test_containers_and_paths():
    assert checks.sequence("frames", (1, 2), "frames") == [1, 2]
    assert checks.mapping("charges", {"Na": 1}, "{'Na': 1.0}") == {"Na": 1}
    assert checks.file_path("output", "run") == Path("run")
    for value in ("abc", None, 5, {"a": 1}):
        with pytest.raises(InputError, match="frames must be a list of frames"):
            checks.sequence("frames", value, "frames")
    for value in ("abc", None, [1], 5):
        with pytest.raises(InputError, match=r"charges must be a dictionary such as \{'Na': 1\.0\}"):
            checks.mapping("charges", value, "{'Na': 1.0}")
    for value in ("", " ", None, 5, ["a"]):
        with pytest.raises(InputError, match="output must be a path"):
            checks.file_path("output", value)
