"""Arguments and species by wrong names: the message has the right one, and nothing else changes."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from ase import Atoms

import jaxelyte as jxl
from jaxelyte import checks, names, theory
from jaxelyte.errors import ArgumentError, InputError


@pytest.mark.parametrize(
    ("call", "given", "near"),
    [
        (lambda **k: jxl.rdf(None, **k), "r_mx", "r_max"),
        (lambda **k: jxl.simulate(None, None, None, **k), "dt", "timestep"),
        (lambda **k: jxl.simulate(None, None, None, **k), "Timestep", "timestep"),
        (lambda **k: jxl.NVT(300.0, **k), "thermostatt", "thermostat"),
        (lambda **k: jxl.train([], None, **k), "n_epochs", "epochs"),
        (lambda **k: jxl.open_trajectory("a", **k), "top", "topology"),
        (lambda **k: jxl.build.electrolyte({"Na": 1}, **k), "watrs", "waters"),
        (lambda **k: theory.IonModel({"Na": 1.0, "Cl": -1.0}, **k), "diametr", "diameters"),
        (lambda **k: jxl.ScreenedCoulomb({"Na": 1.0}, **k), "eps_r", "permittivity"),
        (lambda **k: jxl.Trajectory.from_atoms(Atoms("Ar"), **k), "intervl", "interval"),
        (lambda **k: jxl.Trajectory.from_atoms(Atoms("Ar")).frame(0, **k), "replca", "replica"),
    ],
)
def test_misspelt_arguments_are_errors_that_name_the_nearest(call, given, near):
    with pytest.raises(InputError, match=rf"no argument '{given}'; did you mean '{near}'\?") as caught:
        call(**{given: 1})
    assert isinstance(caught.value, TypeError)


def test_missing_and_superfluous_arguments():
    with pytest.raises(ArgumentError, match=r"NVT: missing a required argument: 'temperature'"):
        jxl.NVT()  # pyright: ignore[reportCallIssue]
    with pytest.raises(ArgumentError, match=r"simulate takes 3 arguments without a name, not 5; name the others"):
        jxl.simulate(None, None, None, 100, 1.0)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(ArgumentError, match=r"Trajectory.from_atoms takes 1 arguments? without a name, not 2"):
        jxl.Trajectory.from_atoms(Atoms("Ar"), 2.0)  # pyright: ignore[reportCallIssue]


def test_arguments_that_are_passed_on_are_explained_too():
    atoms = Atoms("Ar2", [[0.0, 0.0, 0.0], [0.0, 0.0, 4.0]], cell=[20.0] * 3, pbc=True)
    potential = jxl.LennardJones({"Ar": 3.4}, {"Ar": 0.01}, cutoff=6.0)
    for given, near in (("bias_facto", "; did you mean 'bias_factor'?"), ("qqqq", ".")):
        with pytest.raises(ArgumentError) as caught:
            jxl.metadynamics(potential, atoms, (0, 1), jxl.NVT(100.0), upper=6.0, steps=10, **{given: 1})
        assert f"metadynamics has no argument {given!r}{near} metadynamics takes" in str(caught.value)
        assert "and options that it passes on" in str(caught.value)


def test_all_public_functions_and_constructors_are_guarded():
    """Also those that are added later: each is asked for with an argument that nothing has."""
    for name in jxl.__all__:
        value = getattr(jxl, name)
        if inspect.ismodule(value) or (isinstance(value, type) and "__init__" not in vars(value)):
            continue
        if isinstance(value, type) and issubclass(value, Exception | tuple):
            continue
        with pytest.raises(ArgumentError, match=r"'qqqq'"):
            value(qqqq=1)


def test_signatures_and_errors_from_within_are_kept():
    assert list(inspect.signature(jxl.rdf).parameters)[:3] == ["source", "center", "neighbor"]
    assert next(iter(inspect.signature(jxl.NVT).parameters)) == "temperature"
    assert jxl.rdf.__doc__ is not None

    def broken(x: int) -> int:
        return x + "a"  # pyright: ignore[reportOperatorIssue]

    with pytest.raises(TypeError) as caught:
        names.guarded(broken)(1)
    assert not isinstance(caught.value, ArgumentError)


@pytest.mark.parametrize(
    ("value", "near"),
    [("na", "Na"), ("NA", "Na"), ("Na+", "Na"), ("OW", "O"), ("HW1", "H"), ("Cl-", "Cl"), ("sodium", "Na"), ("o", "O")],
)
def test_names_that_are_no_elements_name_the_nearest(value, near):
    for ask in (
        lambda: jxl.RDF([("O", value)]),
        lambda: jxl.ScreenedCoulomb({value: 1.0}),
        lambda: jxl.build.electrolyte({value: 1}, waters=10),
        lambda: jxl.LennardJones({value: 3.0}, {value: 0.01}, cutoff=9.0),
        lambda: jxl.Angles(("O", value, "O"), r_max=3.0),
    ):
        with pytest.raises(InputError, match=rf"did you mean '{near}'\?"):
            ask()


def test_names_without_a_near_element():
    assert [checks.near_symbol(one) for one in ("water", "H2O", "xx", "", 3)] == [""] * 5


def test_pairs_are_written_in_any_form():
    expected = (("Na", "O"), ("Cl", "O"))
    for given in (["Na-O", "Cl-O"], [("Na", "O"), "Cl-O"], "Na-O,Cl-O", "Na-O, Cl-O", [["Na", "O"], ["Cl", "O"]]):
        assert jxl.RDF(given).pairs == expected  # pyright: ignore[reportArgumentType]
    for given in ("Na-O", ("Na", "O"), ["Na", "O"], ["Na-O"], [("Na", "O")]):
        assert jxl.RDF(given).pairs == expected[:1]  # pyright: ignore[reportArgumentType]
    for given in ("Na", "Na-O-H", [], "", ["Na-", "Cl-"], [("Na", "O", "H")], 3):
        with pytest.raises(InputError):
            jxl.RDF(given)  # pyright: ignore[reportArgumentType]


def test_pairs_as_text_give_the_same_numbers():
    rng = np.random.default_rng(1)
    atoms = Atoms("Na4Cl4", rng.uniform(0.0, 10.0, (8, 3)), cell=[10.0] * 3, pbc=True)
    expected = jxl.rdf(atoms, "Na", "Cl").g
    np.testing.assert_array_equal(jxl.rdf(atoms, "Na-Cl").g, expected)
    np.testing.assert_array_equal(jxl.rdf(atoms, pairs="Na-Cl").g, expected)
    assert jxl.GaussianBarrier(1.0, 2.0, 0.1, species="O-H").species == (8, 1)  # pyright: ignore[reportArgumentType]
    one = jxl.LennardJones({"Na": 3.0, "Cl": 4.0}, {"Na": 0.01, "Cl": 0.01}, pairs={"Na-Cl": (3.1, 0.004)})
    two = jxl.LennardJones({"Na": 3.0, "Cl": 4.0}, {"Na": 0.01, "Cl": 0.01}, pairs={("Na", "Cl"): (3.1, 0.004)})
    np.testing.assert_array_equal(one.pairs, two.pairs)
    model = theory.IonModel({"Na": 1.0, "Cl": -1.0}, {"Na-Cl": 3.0, "Na-Na": 2.0, "Cl-Cl": 4.0})
    assert model.edge(0, 1, 0.5) == 3.0


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (25.0, "temperature", "298.15, if it is in °C"),
        (25.0, "start temperature", "298.15, if it is in °C"),
        (0.0259, "temperature", "300.6, if it is in eV"),
        (0.0259, "start temperature", "300.6, if it is in eV"),
    ],
)
def test_temperatures_on_another_scale(value, kind, expected):
    with pytest.warns(UserWarning, match=expected) as caught:
        checks.quantity("velocities", value, kind)
    assert len(caught) == 1


def test_temperatures_that_are_meant():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (77.0, 150.0, 298.15, 600.0):
            checks.quantity("temperature", value, "temperature")
        for value in (0.0, 1.0, 5.0, 10.0, 77.0, 300.0):
            checks.quantity("velocities", value, "start temperature", zero=True)
    with pytest.raises(InputError, match=r"253.15, if it is in °C"):
        checks.quantity("temperature", -20.0, "temperature")
