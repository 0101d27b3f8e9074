#!/usr/bin/env bash
# Expected: the logits of a row of a batch do not depend on the rows before it.
# What happens: one axis of HunyuanVL's positions is the number of a picture in its text, 0 for the first. It is counted
# on through the rows of a batch, so that the only picture of the second row has the number 1, and all logits of that row
# are others than alone.
# Seen on: transformers 5.23.0, torch 2.13.0.
# Matters if such a model is trained or asked in batches: answers depend on what else is in the batch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  torch==2.13.0 numpy==2.4.6 transformers==5.23.0

"$work/venv/bin/python" - <<'PYTHON'
import torch
import transformers
from transformers import HunYuanVLConfig, HunYuanVLForConditionalGeneration

torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
rope = {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [1, 1, 1, 1]}
config = HunYuanVLConfig(
    vision_config={**sizes, "max_image_size": 128, "text_hidden_size": 32},
    text_config={**sizes, "vocab_size": 50, "head_dim": 8, "rope_parameters": rope, "pad_token_id": 0},
    image_token_id=40,
)
model = HunYuanVLForConditionalGeneration(config).eval()
with torch.no_grad():
    for weights in model.parameters():
        weights.normal_(std=0.4)
picture = [40] * (2 * 3 + 2)  # 4 x 4 patches: 2 rows of 2 tokens and an end, a begin and an end
ids = torch.tensor([[5, *picture, 6, 7, 8]] * 2)
inputs = {
    "input_ids": ids,
    "attention_mask": torch.ones_like(ids),
    "mm_token_type_ids": (ids == 40).long(),
    "image_grid_thw": torch.tensor([[1, 4, 4]] * 2),
    "pixel_values": torch.randn(16, 3 * 16 * 16).repeat(2, 1),
}
alone = {name: value[: len(value) // 2] for name, value in inputs.items()}
with torch.no_grad():
    together, own = model(**inputs).logits, model(**alone).logits[0]
first, second = ((row - own).abs().max().item() for row in together)
print("transformers", transformers.__version__, "torch", torch.__version__)
print(f"one row twice: logits differ from those alone by {first:.1e} in the first, {second:.1e} in the second row")
assert first < 1e-4, "changed: the first row differs too"
assert second > 1e-3, "changed: the second row is as alone"
PYTHON
