#!/usr/bin/env bash
# Expected: if freed tensors go back to the system once, they do so each time.
# What happens: the first round goes back, the second, of the same code, does not. glibc maps large blocks on their own,
# but the first one that is freed raises its threshold (up to 32 MiB): from then on such blocks lie on the heap, and
# holes between blocks that live do not go back by themselves. malloc_trim(0) returns them.
# Seen on: torch 2.13.0, glibc 2.36.
# Matters if batches have many sizes: memory grows to several times what the tensors need, and a short test does not
# show it. A fixed MALLOC_MMAP_THRESHOLD_ turns the rule off, but then each large tensor costs a system call.
# Known upstream: mallopt(3), "dynamic mmap threshold"; pytorch/pytorch#41486.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > "$work/rounds.py" <<'PYTHON'
import ctypes
import os
import sys

import torch


def memory_mb():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


torch.set_num_threads(1)
start, left, kept = memory_mb(), [], []
for _ in range(2):
    large = []
    for _ in range(100):
        large.append(torch.ones(2**20))  # 4 MB, freed below
        kept.append(torch.ones(25_000))  # 0.1 MB that stays
    del large
    left.append(round(memory_mb() - start))
ctypes.CDLL(None).malloc_trim(0)
left.append(round(memory_mb() - start))
print(f"{sys.argv[1]}: MB left after round 1, after round 2, after malloc_trim: {left}")
first, second, trimmed = left
assert first < 60 and trimmed < 60 and (second > 300) == (sys.argv[1] == "default"), "changed"
PYTHON

"$work/venv/bin/python" -c 'import platform, torch; print("torch", torch.__version__, *platform.libc_ver())'
unset MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_ LD_PRELOAD
"$work/venv/bin/python" "$work/rounds.py" default
MALLOC_MMAP_THRESHOLD_=1000000 "$work/venv/bin/python" "$work/rounds.py" fixed
