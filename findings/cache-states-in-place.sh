#!/usr/bin/env bash
# Expected: a prefix is read once, its cache is continued, and a gradient flows back through the cache, as it does with
# the keys and values of attention.
# What happens: the states of linear attention are written in place into the cache. A continuation of several tokens
# overwrites the state that it began with, and the backward pass raises RuntimeError ("modified by an inplace operation").
# Seen on: transformers 5.23.0, torch 2.13.0: Qwen3.5's text model; LLaMA has the gradient.
# Matters if one trains with a shared prefix. A cache whose layers copy a state before they write works.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  torch==2.13.0 numpy==2.4.6 transformers==5.23.0

"$work/venv/bin/python" - 2>/dev/null <<'PYTHON'
import torch
import transformers
from transformers import AutoConfig, AutoModel, DynamicCache

small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
gated = {**small, **linear, "head_dim": 16, "num_key_value_heads": 1, "layer_types": ["linear_attention", "full_attention"]}
print("transformers", transformers.__version__, "torch", torch.__version__)
for name, config in {"llama": small, "qwen3_5_text": gated}.items():
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(name, **config)).eval()
    cache = DynamicCache(config=model.config)
    model(input_ids=torch.tensor([[1, 2, 3, 4]]), past_key_values=cache, use_cache=True)
    states = model(input_ids=torch.tensor([[5, 6, 7]]), past_key_values=cache, use_cache=True).last_hidden_state
    try:
        states.sum().backward()
        told = "has a gradient"
    except RuntimeError as error:
        told = "modified by an inplace operation" if "inplace operation" in str(error) else str(error)
    print(f"{name}: {told}")
    wanted = "has a gradient" if name == "llama" else "modified by an inplace operation"
    assert told == wanted, f"changed: {name}: {told}"
PYTHON
