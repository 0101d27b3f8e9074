#!/usr/bin/env bash
# Expected: the same batch, taken whole or as two halves (as two processes do), trains the same weights up to rounding.
# What happens: all do but one. A bias of the keys adds the same to all scores of a query, and softmax ignores that: its
# true gradient is 0. What arrives is rounding, and Adam divides it by its own size: full steps in random directions.
# Seen on: torch 2.13.0. The key bias ends a thousand times as far apart as the weights; the function stays the same.
# Matters if one compares runs weight by weight (ZeRO stages, numbers of processes, resumed runs), or watches for
# parameters that are not trained: nn.MultiheadAttention and most attention layers have this bias.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import mse_loss

WIDTH = 32
PARTS = {"query": slice(0, WIDTH), "key": slice(WIDTH, 2 * WIDTH), "value": slice(2 * WIDTH, None)}


def trained(num_parts):
    torch.manual_seed(0)
    layer = torch.nn.MultiheadAttention(WIDTH, 4, batch_first=True)
    x, target = torch.randn(8, 12, WIDTH), torch.randn(8, 12, WIDTH)
    optimiser, first = torch.optim.Adam(layer.parameters(), 1e-3), None
    for _ in range(200):
        optimiser.zero_grad()
        for own_x, own_target in zip(x.chunk(num_parts), target.chunk(num_parts), strict=True):
            loss = mse_loss(layer(own_x, own_x, own_x, need_weights=False)[0], own_target)
            (loss / num_parts).backward()
        first = layer.in_proj_bias.grad.clone() if first is None else first
        optimiser.step()
    return layer, first, layer(x, x, x)[0].detach()


torch.set_num_threads(1)
print("torch", torch.__version__)
whole, gradient, out = trained(1)
halves, _, other_out = trained(2)
apart = {name: (whole.in_proj_bias[p] - halves.in_proj_bias[p]).abs().max().item() for name, p in PARTS.items()}
for name, part in PARTS.items():
    print(f"bias of {name}: first gradient {gradient[part].abs().max():.0e}, then apart by {apart[name]:.0e}")
weights = (whole.in_proj_weight - halves.in_proj_weight).abs().max().item()
print(f"weights apart by {weights:.0e}, outputs by {(out - other_out).abs().max():.0e}")
assert apart["key"] > 50 * max(weights, apart["query"], apart["value"]), "changed: the key bias no longer drifts apart"
PYTHON
