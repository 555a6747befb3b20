"""Execute notebooks and keep the executed copies: python scripts/notebooks.py [NOTEBOOK ...].

``JAXELYTE_SIZE=0.1`` in the environment makes their runs a tenth as long, to try them out; the numbers mean less then.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"


def main(names: list[str]) -> None:
    """Execute the named notebooks, or all; results go to notebooks/output/."""
    paths = [Path(name) for name in names] or sorted(FOLDER.glob("*.ipynb"))
    output = FOLDER / "output"
    output.mkdir(exist_ok=True)
    for path in paths:
        start = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(FOLDER)}}).execute()
        nbformat.write(notebook, output / path.name)
        sys.stdout.write(f"{path.name}: {time.monotonic() - start:.0f} s -> {output / path.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
