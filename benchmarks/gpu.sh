#!/usr/bin/env bash
# GPU tests and benchmarks, for a machine with a GPU and the packages of the project installed.
# Writes JSON into the folder given as first argument (default benchmarks/results).
set -euo pipefail
out=${1:-benchmarks/results}
python=${PYTHON:-python3}
mkdir -p "$out"
"$python" -c 'import jax; d = jax.devices()[0]; assert d.platform == "gpu", f"no GPU: {d}"; print(d.device_kind)'
name=$("$python" -c 'import jax; print(jax.devices()[0].device_kind.lower().replace(" ", "-"))')
"$python" -m pytest -q -m gpu -n 4 tests/test_gpu.py
"$python" benchmarks/md.py --one-process --systems "48 ions,248,3968,63488" --calls-only 15872 --seconds 3 \
    --output "$out/md-$name-float32.json"
# A million atoms take 63 GiB.
XLA_PYTHON_CLIENT_MEM_FRACTION=.9 "$python" benchmarks/md.py --one-process --systems "" --calls-only 1015808 --seconds 3 \
    --output "$out/md-$name-float32-million.json"
"$python" benchmarks/windows.py --output "$out/windows-$name.json"
if "$python" -c 'import nequip, torch' 2>/dev/null; then
    "$python" benchmarks/original.py --device cuda --systems 248,992,3968,15872,63488 --seconds 1 \
        --output "$out/original-$name.json"
fi
"$python" benchmarks/md.py --one-process --x64 --systems "48 ions,248" --seconds 3 --output "$out/md-$name-float64.json"
# Last: what no GPU has run yet, and whose time is not known.
"$python" benchmarks/scaling.py --replicas 1,16,128 --output "$out/scaling-$name.json"
for precision in tf32 bf16; do  # with the error of the forces
    "$python" benchmarks/md.py --one-process --precision "$precision" --systems "" --calls-only 3968 --seconds 3 \
        --output "$out/md-$name-$precision.json"
done
