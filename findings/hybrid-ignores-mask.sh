#!/usr/bin/env bash
# Expected: an attention mask of (batch, 1, queries, keys) keeps two texts in one row apart, with positions that begin
# again, as it does for LLaMA: the second text has the states that it has alone.
# What happens: models in which some layers pass a state from token to token (linear attention, Mamba, convolutions)
# accept the mask and use it in their attention layers alone. The second text reads the first, without a warning.
# Seen on: transformers 5.23.0, torch 2.13.0: Qwen3.5, Qwen3-Next, Falcon-H1.
# Matters if instructions are packed in one row with such a mask: the loss is computed on mixed texts. A cache of the
# common beginning, forked to a row for each text, keeps them apart.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  torch==2.13.0 numpy==2.4.6 transformers==5.23.0

"$work/venv/bin/python" - 2>/dev/null <<'PYTHON'
import torch
import transformers
from transformers import AutoConfig, AutoModel

small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
gated = {**small, **linear, "head_dim": 16, "num_key_value_heads": 1, "layer_types": ["linear_attention", "full_attention"]}
mamba = {"mamba_d_state": 16, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_ssm": 64}
configs = {
    "llama": small,
    "qwen3_5_text": gated,
    "qwen3_next": {**gated, "num_experts": 2, "num_experts_per_tok": 1},
    "falcon_h1": {**small, **mamba, "num_key_value_heads": 1},
}
prefix, first, second = 4, 5, 6
length = prefix + first + second
positions = torch.tensor([[*range(prefix + first), *range(prefix, prefix + second)]])
sees = torch.ones(length, length).tril().bool()
sees[prefix + first :, prefix : prefix + first] = False
mask = torch.zeros(1, 1, length, length).masked_fill(~sees, torch.finfo(torch.float32).min)


@torch.no_grad()
def change(model):
    """How far the states of the second text move if the first text is another, as a share of their deviation."""
    one = torch.randint(50, (1, length), generator=torch.Generator().manual_seed(0))
    other = one.clone()
    other[:, prefix : prefix + first] = (one[:, prefix : prefix + first] + 7) % 50
    found = [
        model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state[0, -second:]
        for ids in (one, other)
    ]
    return float((found[0] - found[1]).abs().max() / found[0].std())


print("transformers", transformers.__version__, "torch", torch.__version__)
for name, config in configs.items():
    torch.manual_seed(0)
    moved = change(AutoModel.from_config(AutoConfig.for_model(name, **config)).eval())
    print(f"{name}: the second text moves by {moved:.5f} of its deviation")
    if name == "llama":
        assert moved < 1e-4, "changed: the mask does not part the texts of a LLaMA"
    else:
        assert moved > 1e-3, f"changed: {name} keeps the texts apart"
PYTHON
