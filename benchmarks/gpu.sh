#!/usr/bin/env bash
# GPU tests and benchmarks, for a machine with a GPU and the packages of the project installed.
# Writes JSON into the folder given as first argument (default benchmarks/results).
set -euo pipefail
out=${1:-benchmarks/results}
python=${PYTHON:-python3}
mkdir -p "$out"
"$python" -c 'import jax; d = jax.devices()[0]; assert d.platform == "gpu", f"no GPU: {d}"; print(d.device_kind)'
name=$("$python" -c 'import jax; print(jax.devices()[0].device_kind.lower().replace(" ", "-"))')
"$python" -m pytest -q -m gpu tests
"$python" benchmarks/md.py --output "$out/md-$name-float32.json"
"$python" benchmarks/md.py --x64 --output "$out/md-$name-float64.json"
