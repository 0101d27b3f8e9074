#!/usr/bin/env bash
# Expected: a layer that was made under FakeTensorMode, which gives shapes without memory, can be moved or cast like any
# other: torch's Module.to has a branch for such weights.
# What happens: the branch swaps the old weight for the new one, and the swap is refused, because the mode itself keeps a
# weak reference to it; also if nothing is to be changed. So peft cannot add LoRA to a model under the mode, though it
# runs forward, and though on the device "meta" LoRA is added.
# Seen on: torch 2.13.0, peft 0.21.2.
# Matters if memory and operations of a fine-tuning are counted on shapes: adapters must be made outside the mode.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  torch==2.13.0 numpy==2.4.6 transformers==5.23.0 peft==0.21.2

"$work/venv/bin/python" - <<'PYTHON'
import peft
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(64, 64)

    def forward(self, states):
        return self.q_proj(states)


def refusal(action):
    try:
        action()
    except RuntimeError as error:
        return str(error.__cause__)
    return None


lora = LoraConfig(r=4, target_modules=["q_proj"])
with FakeTensorMode():
    assert Model()(torch.empty(2, 64)).shape == (2, 64)
    found = {
        "to the same device": refusal(lambda: Model().to("cpu")),
        "to bfloat16": refusal(lambda: Model().to(torch.bfloat16)),
        "LoRA": refusal(lambda: inject_adapter_in_model(lora, Model())),
    }
with torch.device("meta"):
    on_meta = refusal(lambda: inject_adapter_in_model(lora, Model()))
print("torch", torch.__version__, "peft", peft.__version__)
for name, message in {**found, "LoRA on meta": on_meta}.items():
    print(f"{name}: {message}")
assert all(message is not None and "weakref" in message for message in found.values()), "changed: a move succeeds"
assert on_meta is None, "changed: LoRA on meta is refused"
PYTHON
