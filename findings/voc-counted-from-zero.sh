#!/usr/bin/env bash
# Expected: Pascal VOC counts pixels from 1 and includes the last one, as its development kit says: the box of the ten
# pixels at the left upper corner is 1, 1, 10, 10.
# What happens: Datumaro and Label Studio's converter write 0, 0, 10, 10 for it: their boxes count from 0 and end behind
# the last pixel. Nothing in the file says so, and a reader that follows the kit makes every object a pixel larger.
# Seen on: datumaro 1.13.12, label-studio-sdk 2.1.2.
# Matters for small objects: a pixel left and up takes a box of 8 x 8 pixels to an IoU of 0.79.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  datumaro==1.13.12 label-studio-sdk==2.1.2 pillow==12.3.0
cd "$work"
cat > show.py <<'PYTHON'
import json
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
from datumaro.components.annotation import Bbox
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from label_studio_sdk.converter import Converter
from PIL import Image as Picture

SIDE = 40
pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
item = DatasetItem("a", subset="train", media=Image.from_numpy(pixels), annotations=[Bbox(0, 0, 10, 10, label=0)])
Dataset.from_iterable([item], categories=["cell"]).export("datumaro", "voc_detection", save_media=True)

Picture.fromarray(pixels).save("a.png")
box = {"x": 0, "y": 0, "width": 25, "height": 25, "rotation": 0, "rectanglelabels": ["cell"]}
names = {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
result = {"id": "r", "value": box, "original_width": SIDE, "original_height": SIDE, **names}
task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": [result]}]}
Path("tasks.json").write_text(json.dumps([task]))
config = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="cell"/></RectangleLabels></View>"""
Converter(config, ".").convert_to_voc("tasks.json", "labelstudio", is_dir=False, output_image_dir="labelstudio/images")

found = {}
for tool, name in (("datumaro", "datumaro"), ("labelstudio", "label-studio-sdk")):
    text = next(Path(tool).rglob("Annotations/*.xml")).read_text()
    found[tool] = [float(re.search(f"<{side}>(.*?)</{side}>", text)[1]) for side in ("xmin", "ymin", "xmax", "ymax")]
    print(f"{name} {version(name)} writes the ten pixels at the corner as", *(f"{value:g}" for value in found[tool]))
print("Pascal VOC's development kit: 1 1 10 10")
assert all(box == [0, 0, 10, 10] for box in found.values()), "changed: the boxes count from 1"
PYTHON
venv/bin/python show.py 2>/dev/null
