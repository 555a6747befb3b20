#!/bin/sh
# Resolve pyproject.toml afresh with one Python and write the result to constraints/pyXY.txt.
#
# Usage: sh scripts/lock.sh python3.12
set -eu

python=${1:?usage: sh scripts/lock.sh PYTHON}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --editable ".[test,dev,analysis,docs]"
version=$("$folder/bin/python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
lock=constraints/py$version.txt
{
    echo "# Tested versions for Python $("$folder/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')," \
        "extras test, dev, analysis and docs. Made by: make lock PYTHON=..."
    "$folder/bin/python" -m pip freeze --exclude-editable
} >"$lock"
echo "lock: wrote $lock"
