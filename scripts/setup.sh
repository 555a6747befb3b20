#!/bin/sh
# Make .venv and install the project into it, editable, with what its tests and linters need.
#
# Usage: sh scripts/setup.sh [FOLDER]      (FOLDER: .venv)
# EXTRAS lists the extras (test,dev), PYTHON names the interpreter (python3). The versions are those of
# constraints/pyXY.txt where that file exists for the interpreter's version, else the newest within the bounds of
# pyproject.toml.
set -eu

folder=${1:-.venv}
python=${PYTHON:-python3}
extras=${EXTRAS:-test,dev}

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "'$python' was not found; install Python 3.11 or newer, or name one: make setup PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "'$python' is $("$python" --version 2>&1); Python 3.11 or newer is needed: make setup PYTHON=python3.12"

if [ ! -x "$folder/bin/python" ]; then
    "$python" -m venv "$folder" || {
        rm -rf "$folder"
        fail "could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv"
    }
fi

version=$("$folder/bin/python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
lock=constraints/py$version.txt
start=$(date +%s)
if [ -f "$lock" ]; then
    echo "setup: installing the tested versions ($lock)"
    "$folder/bin/python" -m pip install --quiet --constraint "$lock" --editable ".[$extras]"
else
    echo "setup: no tested versions for this Python; installing the newest within the bounds of pyproject.toml"
    "$folder/bin/python" -m pip install --quiet --editable ".[$extras]"
fi
echo "setup: done in $(($(date +%s) - start)) s"
