"""The frames and the network that come with the package."""

from __future__ import annotations

import numpy as np
import pytest

import jaxelyte as jxl
from jaxelyte.data.split import split_frames
from jaxelyte.training.stability import watch_of


@pytest.fixture(scope="module")
def frames() -> list:
    return jxl.datasets.nacl_water()


def test_frames_are_whole_labelled_and_described(frames: list) -> None:
    assert len(frames) > 200
    assert {frame.get_chemical_formula() for frame in frames} == {"H64Cl2Na2O32"}
    for frame in frames:
        assert frame.pbc.all()
        assert frame.info["level"].startswith("GFN1-xTB")
        assert np.isfinite(frame.get_potential_energy())
        # No net force: labels of a translation invariant method, rounded to 1e-5 eV/Å, as they were written.
        np.testing.assert_allclose(frame.get_forces().sum(axis=0), 0.0, atol=5e-3)
    temperatures = {frame.info["temperature_K"] for frame in frames}
    assert temperatures == {300.0, 400.0, 600.0}
    assert {frame.info["origin"] for frame in frames} == {"classical", "displaced", "committee"}


def test_frames_are_liquid_water(frames: list) -> None:
    classical = [frame for frame in frames if frame.info["origin"] == "classical"]
    for frame in classical[::10]:
        watch = watch_of(frame)
        assert len(watch.bonds) == 64
        assert watch.event(frame, None, 300.0) is None


def test_labels_can_be_computed_again(frames: list) -> None:
    tblite = pytest.importorskip("tblite.ase", reason="needs tblite: pip install jaxelyte[labels]")
    frame = frames[0].copy()
    frame.calc = tblite.TBLite(method="GFN1-xTB", verbosity=0)
    assert frame.get_potential_energy() == pytest.approx(frames[0].get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(frame.get_forces(), frames[0].get_forces(), atol=1e-4)


@pytest.mark.more
def test_fit_knows_its_baseline_and_its_errors(frames: list) -> None:
    fit = jxl.datasets.nacl_water_fit()
    assert isinstance(fit.baseline, jxl.ScreenedCoulomb)
    split = fit.config["split"]
    assert sorted(split["train"] + split["validation"] + split["test"]) == list(range(len(frames)))
    again = split_frames(len(frames), validation=0.1, test=0.1, seed=0, method="random")
    np.testing.assert_array_equal(again.test, split["test"])
    errors = jxl.evaluate(fit, [frames[n] for n in split["test"][:6]]).summary()
    assert errors["forces_meV_per_A"]["rmse"] < 1.3 * 1e3 * fit.best["validation"]["forces"]
