"""Pictures show what the results hold, with units, and leave matplotlib's settings alone."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxelyte import plots
from jaxelyte.errors import InputError
from jaxelyte.observables import RDFResult


@pytest.fixture(autouse=True)
def closed() -> object:
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def result() -> RDFResult:
    edges = np.linspace(0.0, 6.0, 61)
    g = np.stack([np.linspace(0, 2, 60), np.linspace(0, 1, 60)])
    return RDFResult(
        pairs=(("Na", "O"), ("Na", "Cl")),
        edges=edges,
        g=g,
        error=np.stack([np.full(60, 0.1), np.full(60, np.nan)]),
        coordination=np.cumsum(g, axis=1),
        coordination_error=np.full((2, 60), 0.1),
        samples=10,
        replicas=1,
        density=np.array([0.1, 0.1]),
        stretches=np.repeat(g[None], 5, axis=0),
    )


def test_rdf_shows_curves_bands_and_units() -> None:
    ax = result().plot()
    curves = [line for line in ax.lines if len(line.get_xdata()) == 60]
    np.testing.assert_array_equal(curves[0].get_ydata(), result().g[0])
    np.testing.assert_array_equal(curves[1].get_ydata(), result().g[1])
    assert len(ax.collections) == 1  # no band where there is no error
    assert ax.get_xlabel() == "r / Å"
    assert ax.get_ylabel() == "g(r)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Na–O", "Na–Cl"]
    _, own = plt.subplots()
    assert result()["Na-O"].plot(own, coordination=True) is own
    assert any("coordination" in other.get_ylabel() for other in own.figure.axes)


def test_measured_peaks_are_marked_beside_the_curves() -> None:
    measured = {"Na-O": (2.384, None), "Na-Cl": (2.8, (3.5, 0.2)), "O-O": (2.8, None)}
    axes = plots.compared(result(), measured)
    assert [ax.get_title() for ax in axes] == ["Na–O", "Na–Cl"]
    lines = [[line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1] for ax in axes]
    assert lines[0] == [2.384]
    assert set(lines[1]) == {2.8}
    assert axes[1].containers[0].lines[0].get_ydata()[0] == 3.5
    assert plots.compared(result(), {})[0].get_legend() is None
    with pytest.raises(InputError, match="measured must be a dictionary"):
        plots.compared(result(), [2.384])


def test_log_of_a_run() -> None:
    rows = np.arange(20.0)
    log = {name: np.stack([rows + 3.0, rows + 4.0], axis=1) for name in ("temperature", "potential", "conserved")}
    run = type("Run", (SimpleNamespace,), {})(log={"time": rows * 1000.0, **log})
    axes = plots.log(run)  # type: ignore[arg-type]
    assert [ax.get_ylabel() for ax in axes] == ["T / K", "U / eV", "conserved − start / eV"]
    assert axes[-1].get_xlabel() == "time / ps"
    np.testing.assert_array_equal(axes[1].lines[1].get_xdata(), rows)
    np.testing.assert_array_equal(axes[1].lines[1].get_ydata(), rows + 4.0)
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), rows)
    with pytest.raises(InputError, match="into 3 axes, not 1"):
        plots.log(run, plt.subplots()[1])  # type: ignore[arg-type]


def test_spread_of_a_committee_against_errors() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.01, 0.1, 400)
    # Errors whose root mean square is the spread: the points have to lie on the diagonal.
    errors = rng.normal(size=(400, 3)) * spread[:, None] / np.sqrt(3)
    ax = plots.spread(type("Evaluation", (SimpleNamespace,), {})(force_spread=spread, force_errors=errors))  # type: ignore[arg-type]
    atoms, means, diagonal = ax.lines
    np.testing.assert_allclose(atoms.get_xdata(), 1e3 * spread)
    np.testing.assert_allclose(atoms.get_ydata(), 1e3 * np.linalg.norm(errors, axis=1))
    np.testing.assert_allclose(means.get_ydata(), means.get_xdata(), rtol=0.5)
    assert np.mean(np.asarray(means.get_ydata()) / np.asarray(means.get_xdata())) == pytest.approx(1.0, abs=0.1)
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert "meV" in ax.get_xlabel()
    with pytest.raises(InputError, match="committee=4"):
        plots.spread(type("Evaluation", (SimpleNamespace,), {})(force_spread=None))  # type: ignore[arg-type]
