"""How results look in notebooks: their text, and a small picture."""

from __future__ import annotations

import base64
import html
from typing import Any

THUMBNAIL = 80
"""Dots per inch."""


class Rich:
    """Base of results that have a picture: in a notebook they show their text and the picture.

    A picture that cannot be drawn, of a result without values, is left out.
    """

    def _repr_html_(self) -> str:
        picture = _picture(self)
        image = f'<img alt="picture of the result" style="max-width:100%" src="data:image/png;base64,{picture}">'
        text = f'<pre style="white-space:pre-wrap;margin:0 0 .5em">{html.escape(repr(self))}</pre>'
        return f"<div>{self._table_()}{text}{image if picture else ''}</div>"

    def _table_(self) -> str:
        """A table above the text; none unless a class has one."""
        return ""


def html_table(rows: dict[str, str]) -> str:
    """Names and values as a table for notebooks."""
    cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items())
    return f'<table style="text-align:left">{cells}</table>'


def _picture(result: Any) -> str:
    """The result's own picture as PNG in base64; empty where it cannot be drawn."""
    import matplotlib.pyplot as plt
    import numpy as np

    from jaxelyte.plots.style import png

    # A picture is drawn whatever the notebook has open, and leaves nothing open there.
    before = set(plt.get_fignums())
    try:
        axes = np.ravel(np.asarray(result.plot(), object))[0]
        return base64.b64encode(png(axes, dpi=THUMBNAIL)).decode()
    except Exception:  # noqa: BLE001 - a value must be shown whatever its picture does
        return ""
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
