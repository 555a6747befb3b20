"""What is shown while a training goes on: the line of an epoch, the time left, and the curve in a notebook."""

from __future__ import annotations

from typing import Any

import pytest

from jaxelyte.training import progress
from jaxelyte.training.progress import TrainProgress, describe, duration, time_left


def row(epoch: int, seconds: float = 2.0) -> dict[str, Any]:
    error = {"energy": 0.001, "forces": 0.1 / (1 + epoch), "forces_by_species": {"O": 0.1 / (1 + epoch)}}
    trained = error if epoch else {"energy": None, "forces": None, "forces_by_species": {"O": None}}
    rates = {"learning_rate": 0.04 if epoch else None, "frames_per_s": 123.4 if epoch else None}
    return {"epoch": epoch, "train": trained, "validation": error, "best": True, "seconds": seconds} | rates


def test_time_left() -> None:
    """The first epoch compiles; those of an earlier process are not asked."""
    assert time_left([row(0)], 10) is None
    assert time_left([row(1, 60.0)], 10) == 540.0
    rows = [row(0, 9.0), row(1, 60.0), *(row(n, seconds) for n, seconds in enumerate([50, 1, 2, 3, 50, 2], 2))]
    assert time_left(rows, 10) == 3 * 2.0  # the median of 1, 2, 3, 50, 2
    assert [duration(s) for s in (0.4, 59.6, 3599.0, 7500.0)] == ["0 s", "1 min 0 s", "59 min 59 s", "2 h 5 min"]


def test_line_of_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    bar = TrainProgress(3, rows=[row(1, 1000.0)])
    bar.update(row(2, 5.0))
    bar.update(row(3, 5.0))
    bar.close()
    first, second = capsys.readouterr().err.splitlines()
    assert "epoch 2/3" in first
    assert first.endswith("| lr 0.04 | 123 frames/s | 5 s left")
    assert second.endswith("123 frames/s")
    assert "left" not in describe(row(0), 3)


def test_curve_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture that is replaced; drawn at most every few seconds, and at the end."""
    display = pytest.importorskip("IPython.display")
    shown, replaced = [], []

    class Handle:
        def update(self, image: Any) -> None:
            replaced.append(image.data)

    monkeypatch.setattr(display, "display", lambda image, **_: shown.append(image.data) or Handle())
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress.LiveCurve, "INTERVAL", 1e6)
    bar = TrainProgress(4)
    for epoch in range(5):
        bar.update(row(epoch))
    bar.close()
    assert len(shown) == 1
    assert len(replaced) == 1
    assert all(picture.startswith(b"\x89PNG") for picture in (*shown, *replaced))
