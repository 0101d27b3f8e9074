#!/usr/bin/env bash
# Expected: ids of annotations are names, any distinct numbers do.
# What happens: COCOeval notes which annotation was found by its id, and takes 0 for "none". An annotation with the id 0
# counts as missed, and the box that found it as a false alarm. Nothing warns.
# Seen on: pycocotools 2.0.11.
# Matters if ids come from enumerate(): on a large set some thousandths are lost, in a small test half of the score.
# Known upstream: cocodataset/cocoapi#332, #507 and #664.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

BOXES = [[0, 0, 40, 40], [50, 50, 40, 40]]


def score(first_id):
    true = COCO()
    true.dataset = {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "bbox": box, "area": 1600, "iscrowd": 0}
            for number, box in enumerate(BOXES, start=first_id)
        ],
    }
    with redirect_stdout(StringIO()):
        true.createIndex()
        found = true.loadRes([{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9} for box in BOXES])
        matching = COCOeval(true, found, "bbox")
        matching.evaluate(), matching.accumulate(), matching.summarize()
    return matching.stats[0], matching.stats[8]


print("pycocotools", version("pycocotools"))
for first_id in (0, 1):
    print(f"perfect boxes, ids from {first_id}: AP %.3f, AR %.3f" % score(first_id))
assert score(1)[1] > 0.99 and score(0)[1] < 0.51, "changed: the id 0 counts"
PYTHON
