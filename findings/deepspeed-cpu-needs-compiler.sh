#!/usr/bin/env bash
# Expected: one process on a CPU, with an optimiser of torch's own, needs nothing but the installed packages.
# What happens: the first deepspeed.initialize (or init_distributed) compiles a communicator for shared memory. That
# takes two minutes where a C++ compiler is, and raises where none is. gloo alone does the same work: mark the op as
# not compatible before the first call.
# Seen on: DeepSpeed 0.19.8, torch 2.13.0. The compiler is hidden here by a PATH without it.
# Matters in small images and on fresh machines, and for whoever takes two silent minutes for a hang.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
install=("$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check)
"${install[@]}" torch==2.13.0 numpy==2.4.6
"${install[@]}" deepspeed==0.19.8

cat > "$work/one.py" <<'PYTHON'
import sys

import deepspeed
import torch

if sys.argv[1] == "without":
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
layer = torch.nn.Linear(2, 2)
optimiser = torch.optim.AdamW(layer.parameters(), 1e-3)
deepspeed.initialize(model=layer, optimizer=optimiser, config={"train_batch_size": 1})
print("DeepSpeed", deepspeed.__version__, "torch", torch.__version__, "started")
PYTHON

export DS_ACCELERATOR=cpu RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 TORCH_EXTENSIONS_DIR="$work/extensions"
MASTER_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export MASTER_PORT
unset CXX CC
echo "as it is, without a compiler:"
if PATH="$work/venv/bin" "$work/venv/bin/python" "$work/one.py" with > "$work/with" 2>&1; then
  echo "changed: it starts"
  exit 1
fi
grep -m1 "c++: not found" "$work/with" || { echo "changed: another error"; exit 1; }
echo "with the communicator left out:"
PATH="$work/venv/bin" "$work/venv/bin/python" "$work/one.py" without 2> "$work/log" | grep started
