"""Pictures show what the results hold, with units, and leave matplotlib's settings alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxelyte import plots
from jaxelyte.errors import InputError
from jaxelyte.observables import MSDResult, RDFResult


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


def salt_water() -> RDFResult:
    """All pairs of NaCl in water, with a bond O-H, and Na-Na that never met."""
    names = ("Na", "Cl", "O", "H")
    pairs = tuple((a, b) for n, a in enumerate(names) for b in names[n:])
    edges = np.linspace(0.0, 8.0, 161)
    r = 0.5 * (edges[1:] + edges[:-1])
    g = np.array([np.where(r > 2.5, 1.0, 0.0) for _ in pairs])
    g[pairs.index(("O", "H"))] += 30.0 * np.exp(-(((r - 0.97) / 0.05) ** 2))
    g[pairs.index(("Na", "O"))] += 6.0 * np.exp(-(((r - 2.9) / 0.2) ** 2))
    g[0] = 0.0
    number = np.cumsum(g, axis=1) * 0.05
    shape = (len(pairs), 160)
    return RDFResult(
        pairs=pairs,
        edges=edges,
        g=g,
        error=np.full(shape, 0.01),
        coordination=number,
        coordination_error=np.full(shape, 0.01),
        samples=10,
        replicas=1,
        density=np.full(len(pairs), 0.1),
        stretches=np.repeat(g[None], 5, axis=0),
    )


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_kinds_of_pairs_have_panels_and_one_colour_everywhere() -> None:
    found = salt_water()
    axes = plots.rdf_panels(found)
    assert axes.shape == (4, 2)
    titles = [ax.get_title(loc="left") for ax in axes[:, 0]]
    assert titles == ["ions", "ions and solvent", "solvent, between molecules", "bonds"]
    assert legend(axes[0, 0]) == ["Na–Na: not sampled", "Na–Cl", "Cl–Cl"]
    assert legend(axes[0, 1]) == ["Cl around Na", "Cl around Cl"]
    assert legend(axes[1, 0]) == ["Na–O", "Na–H", "Cl–O", "Cl–H"]
    assert legend(axes[2, 0])[1] == "O–H (bond: 30 at 0.98 Å)"
    assert legend(axes[3, 0]) == ["O–H"]
    # The bond does not flatten the rest, neither here nor in a picture of one panel.
    assert 1.5 < axes[2, 0].get_ylim()[1] < 2.0
    assert axes[3, 0].get_ylim()[1] > 30.0
    alone = plots.rdf(found)
    assert 7.0 < alone.get_ylim()[1] < 8.0
    for ax in (axes[1, 0], alone):
        (line,) = (one for one in ax.lines if one.get_label() == "Na–O")
        assert line.get_color() == plots.pair_color("Na", "O") == plots.pair_color("O", "Na")


def test_pairs_without_molecules_share_a_panel() -> None:
    axes = plots.rdf_panels(result())
    assert axes.shape == (1, 2)
    assert axes[0, 0].get_title(loc="left") == ""


def test_close_pairs_are_no_bonds() -> None:
    """H at Cl comes within what a bond would be, now and then: g is far below one there."""
    found = salt_water()
    g = found.g.copy()
    g[found.pairs.index(("Cl", "H")), 32:36] = 0.4
    assert plots.rdf_panels(replace(found, g=g)).shape == (4, 2)
    assert legend(plots.rdf_panels(replace(found, g=g))[3, 0]) == ["O–H"]


def test_msd_is_drawn_on_logarithmic_axes_with_its_window() -> None:
    lags = np.arange(1000) * 10.0
    straight = MSDResult.from_arrays(lags, np.linspace(0.9, 1.1, 8)[:, None] * lags * 1e-3, species="Na")
    ax = straight.diffusivity(fit=(1000.0, 5000.0)).plot()
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert legend(ax)[0].startswith("Na: D = (1.667 ± 0.041)e-9 m²/s, slope 1.00 from 1 to 5 ps")
    assert any("slope 1" in text for text in legend(ax)[1:])
    caged = MSDResult.from_arrays(lags, np.linspace(0.9, 1.1, 8)[:, None] * lags**0.4, species="Cl")
    with pytest.warns(UserWarning, match="not diffusive"):
        found = caged.diffusivity()
    plots.diffusivity(found, ax)
    assert any(text.startswith("Cl: not diffusive, slope 0.40") for text in legend(ax))
    assert sum("slope 1," in text for text in legend(ax)) == 1


def test_parity_by_species_with_errors_and_the_rare_first() -> None:
    rng = np.random.default_rng(0)
    symbols = np.array((["Na"] + ["O"] * 4 + ["H"] * 8) * 20)
    labels = rng.normal(size=(len(symbols), 3))
    noise = {"Na": 0.1, "O": 0.02, "H": 0.01}
    errors = np.array([noise[name] for name in symbols])[:, None] * rng.choice([-1.0, 1.0], labels.shape)
    fields = dict(
        symbols=symbols,
        formulas=np.array(["NaO4H8"] * 20),
        sizes=np.full(20, 13),
        energies=np.stack([np.linspace(-1.0, 1.0, 20), np.linspace(-1.0, 1.0, 20) + 0.013], axis=1),
        forces=np.stack([labels, labels + errors], axis=-1),
    )
    axes = plots.parity(type("Evaluation", (SimpleNamespace,), {})(**fields))  # type: ignore[arg-type]
    texts = [ax.texts[0].get_text().split("\n") for ax in axes[:-1]]
    assert [text[0] for text in texts] == ["energy", "Na", "O", "H"]
    assert [text[1] for text in texts] == ["RMSE 1 meV/atom", "RMSE 100 meV/Å", "RMSE 20 meV/Å", "RMSE 10 meV/Å"]
    expected = 1.0 - 0.1**2 / np.var(labels[symbols == "Na"])
    assert texts[1][2] == f"R² = {expected:.4f}"
    assert axes[1].lines[0].get_color() == plots.element_color("Na")
    curves = {line.get_label(): line.get_zorder() for line in axes[-1].lines}
    assert curves["Na"] > curves["O"] > curves["H"]
    with pytest.raises(InputError, match="into 5 axes, not 3"):
        plots.parity(type("Evaluation", (SimpleNamespace,), {})(**fields), plt.subplots(1, 3)[1])  # type: ignore[arg-type]


def test_epochs_are_whole_numbers() -> None:
    rows = [
        {
            "epoch": n,
            "learning_rate": 0.01,
            "best": n == 2,
            **{part: {"energy": 0.1, "forces_by_species": {"O": 0.1, "H": 0.2}} for part in ("train", "validation")},
        }
        for n in range(3)
    ]
    fit = type("Fit", (SimpleNamespace,), {})(metrics=rows, best={"epoch": 2})
    axes = plots.learning(fit)  # type: ignore[arg-type]
    for ax in axes:
        ticks = ax.get_xticks()
        np.testing.assert_array_equal(ticks, np.round(ticks))
    colors = {line.get_label(): line.get_color() for line in axes[0].lines}
    assert colors["O"] == plots.element_color("O")
    assert "best, epoch 2" in legend(axes[1])
