#!/usr/bin/env bash
# Expected: "type": "Adam" in DeepSpeed's config is Adam, and "AdamW" is AdamW.
# What happens: both are AdamW, whose weight decay acts beside the gradient, not in it. "adam_w_mode": false gives Adam.
# Seen on: DeepSpeed 0.19.8, torch 2.13.0, torch_adam: true (then it can be seen in the class; the fused ones take the
# same default).
# Matters if an experiment is repeated from a paper's "Adam with weight decay", or moved from torch.optim.Adam.
# Known upstream: deepspeedai/DeepSpeed#668 and #844; the docs name the default.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
install=("$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check)
"${install[@]}" torch==2.13.0 numpy==2.4.6
"${install[@]}" deepspeed==0.19.8

export DS_ACCELERATOR=cpu RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 MASTER_ADDR=127.0.0.1 TORCH_EXTENSIONS_DIR="$work/extensions"
MASTER_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export MASTER_PORT
"$work/venv/bin/python" - > "$work/out" 2> "$work/log" <<'PYTHON' || { tail -5 "$work/log"; exit 1; }
import deepspeed
import torch

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # nothing is compiled
print("DeepSpeed", deepspeed.__version__, "torch", torch.__version__)


def optimiser_of(kind, **more):
    layer = torch.nn.Linear(2, 2)
    chosen = {"type": kind, "params": {"lr": 1e-3, "weight_decay": 0.1, "torch_adam": True, **more}}
    config = {"train_batch_size": 1, "optimizer": chosen}
    _, optimiser, *_ = deepspeed.initialize(model=layer, model_parameters=layer.parameters(), config=config)
    print(chosen, "->", type(optimiser).__name__)
    return type(optimiser)


adam, adamw = optimiser_of("Adam"), optimiser_of("AdamW")
if not (adam is adamw is torch.optim.AdamW and optimiser_of("Adam", adam_w_mode=False) is torch.optim.Adam):
    raise SystemExit("changed")
PYTHON
grep -E '^(DeepSpeed|\{)' "$work/out"
