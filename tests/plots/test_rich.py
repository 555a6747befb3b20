"""Results in notebooks: text and picture, and the text alone where there is no picture."""

from __future__ import annotations

import base64
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxelyte.observables import MSDResult
from jaxelyte.plots.rich import Rich, html_table


def test_a_result_shows_its_text_and_a_picture() -> None:
    lags = np.arange(100) * 10.0
    curve = MSDResult.from_arrays(lags, np.linspace(0.9, 1.1, 8)[:, None] * lags, species="Na")
    open_before = plt.get_fignums()
    shown = curve._repr_html_()
    assert "MSD of Na: 100 lags" in shown
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', shown)
    assert picture is not None
    assert base64.b64decode(picture[1])[1:4] == b"PNG"
    assert plt.get_fignums() == open_before


def test_a_picture_that_fails_leaves_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Rich):
        def plot(self) -> None:
            plt.figure()
            raise ZeroDivisionError

        def __repr__(self) -> str:
            return "a < b"

    before = plt.get_fignums()
    shown = Broken()._repr_html_()
    assert "a &lt; b" in shown
    assert "<img" not in shown
    assert plt.get_fignums() == before


def test_tables_are_escaped() -> None:
    assert html_table({"<a>": "1 & 2"}).count("<tr>") == 1
    assert "&lt;a&gt;" in html_table({"<a>": "1 & 2"})
