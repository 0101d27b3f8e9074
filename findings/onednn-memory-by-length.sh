#!/usr/bin/env bash
# Expected: a layer of 64 x 64 needs a few megabytes, whatever the lengths of its batches.
# What happens: in bfloat16 on a CPU, each new length leaves about a megabyte of kernels behind, hundreds of megabytes
# in all. In float32 nothing stays. ONEDNN_PRIMITIVE_CACHE_CAPACITY (1024 by default) bounds only half of it.
# Seen on: torch 2.13.0, x86 CPU with AVX512-BF16 (refuses to run on others): 590 MB, 300 MB with a capacity of 64.
# Matters if sentences or images have many sizes: it looks like a leak in one's own code, and no Python tool shows it.
# Known upstream: pytorch/pytorch#27971 and #29893, uxlfoundation/oneDNN#489.
set -euo pipefail
grep -q avx512_bf16 /proc/cpuinfo || { echo "needs a CPU with AVX512-BF16"; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > "$work/grow.py" <<'PYTHON'
import ctypes
import os
import sys

import torch


def memory_mb():
    ctypes.CDLL(None).malloc_trim(0)  # what is merely free does not count
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


torch.set_num_threads(1)
layer = torch.nn.Linear(64, 64).to(getattr(torch, sys.argv[1]))
grown = []
with torch.no_grad():
    layer(torch.ones(1100, 64, dtype=layer.weight.dtype))
    before = memory_mb()
    for _ in range(2):
        for length in range(64, 1064):
            layer(torch.ones(length, 64, dtype=layer.weight.dtype))
        grown.append(round(memory_mb() - before))
print(*grown)
PYTHON

"$work/venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
unset ONEDNN_PRIMITIVE_CACHE_CAPACITY
whole=$("$work/venv/bin/python" "$work/grow.py" float32)
half=$("$work/venv/bin/python" "$work/grow.py" bfloat16)
bounded=$(ONEDNN_PRIMITIVE_CACHE_CAPACITY=64 "$work/venv/bin/python" "$work/grow.py" bfloat16)
echo "MB after 1000 lengths, after the same once more: float32 $whole, bfloat16 $half, capacity 64 $bounded"
read -r small _ <<< "$whole"
read -r large _ <<< "$half"
read -r less _ <<< "$bounded"
[ "$small" -lt 50 ] && [ "$large" -gt 200 ] && [ "$less" -lt $((large * 3 / 4)) ] && [ "$less" -gt $((large / 4)) ] ||
  { echo "changed"; exit 1; }
