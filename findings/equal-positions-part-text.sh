#!/usr/bin/env bash
# Expected: position_ids say where tokens are; which tokens a token sees is said by the attention mask, and without one
# a causal model sees all tokens before.
# What happens: without an attention mask and with use_cache=False, position_ids that do not rise by one are taken for
# several texts packed in one row: each token that breaks the rise begins a text of its own, which sees nothing before
# it. A mask of ones, which says the same as none, turns this off; so does use_cache, which is on by default.
# Seen on: transformers 5.23.0, torch 2.13.0, LLaMA.
# Matters if tokens share a position, as the patches of an image do in some models: the image becomes invisible.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  torch==2.13.0 numpy==2.4.6 transformers==5.23.0

"$work/venv/bin/python" - <<'PYTHON'
import torch
import transformers
from transformers import LlamaConfig, LlamaModel

torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
model = LlamaModel(LlamaConfig(**sizes, vocab_size=50, initializer_range=0.3)).eval()
ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
other = torch.tensor([[15, 16, 17, 8, 9, 10]])  # the first three, at one position, are others
positions = torch.tensor([[0, 0, 0, 1, 2, 3]])


@torch.no_grad()
def change(**mask):
    """How far the state of the last token moves if the first tokens are others."""
    settings = {"position_ids": positions, "use_cache": False, **mask}
    states = [model(input_ids=one, **settings).last_hidden_state[0, -1] for one in (ids, other)]
    return float((states[0] - states[1]).abs().max())


print("transformers", transformers.__version__, "torch", torch.__version__)
masked, bare = change(attention_mask=torch.ones_like(ids)), change()
print(f"the last token's state moves by {masked:.3f} with a mask of ones, by {bare:.3f} without a mask")
assert masked > 0.01, "changed: with a mask of ones the first tokens are not seen"
assert abs(bare - masked) > 0.01, "changed: without a mask all tokens are seen"
PYTHON
