#!/usr/bin/env bash
# Expected: a processor that reads images opens where its image processor and its tokenizer open.
# What happens: AutoProcessor also opens the video processor of the model, which needs torchvision, and raises
# ImportError. No argument leaves the videos out. AutoImageProcessor and AutoTokenizer open from the same folder.
# Seen on: transformers 5.23.0, torch 2.13.0, Qwen2.5-VL. The folder here is tiny and made on the spot.
# Matters if one asks such a model about images only: transformers does not install torchvision, and a torchvision that
# does not match torch cannot be imported.
# Known upstream: huggingface/transformers#48558.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  torch==2.13.0 numpy==2.4.6 transformers==5.23.0 pillow==13.0.0

HF_HUB_OFFLINE=1 HF_HOME="$work/hub" "$work/venv/bin/python" - "$work/model" <<'PYTHON'
import json
import sys
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, PreTrainedTokenizerFast

folder = Path(sys.argv[1])
words = ["<unk>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "red"]
tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
settings = {"image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"}
(folder / "preprocessor_config.json").write_text(json.dumps(settings))
(folder / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))

print("transformers", transformers.__version__)
print("opens:", type(AutoImageProcessor.from_pretrained(folder)).__name__)
print("opens:", type(AutoTokenizer.from_pretrained(folder)).__name__)
try:
    AutoProcessor.from_pretrained(folder)
except ImportError as error:
    print("AutoProcessor raises ImportError:", " ".join(str(error).split())[:80])
    assert "Torchvision" in str(error), "changed: another error"
else:
    raise SystemExit("changed: AutoProcessor opens without torchvision")
PYTHON
