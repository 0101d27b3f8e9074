#!/usr/bin/env bash
# Expected: pycocotools.mask.encode takes every value but 0 for the object, as numpy and PIL do, or refuses others than
# 0 and 1.
# What happens: it counts runs of equal values and takes each second run for the object. Where labels 1 and 2 touch, the
# 2 becomes background, and the background behind it becomes object. A mask of one value, 1 or 255, is right, so a test
# with one object does not show it.
# Seen on: pycocotools 2.0.11.
# Matters if an array of labels (instances, organs, parts) is encoded as it is: areas and IoUs are wrong, silently.
# What helps: encode(np.asfortranarray(labels > 0, dtype=np.uint8)).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from pycocotools import mask

print("pycocotools", version("pycocotools"))


def back(values):
    return mask.decode(mask.encode(np.asfortranarray(values, dtype=np.uint8)))


single = np.array([[0], [255], [255], [0], [0], [0]])
touching = np.array([[0], [1], [1], [2], [2], [0]])
for name, values in (("one object", single), ("labels that touch", touching), ("as booleans", touching > 0)):
    print(f"{name}: {values[:, 0].astype(int)} decoded: {back(values)[:, 0]}")
assert (back(single) == (single > 0)).all() and (back(touching > 0) == (touching > 0)).all()
assert back(touching)[:, 0].tolist() == [0, 1, 1, 0, 0, 1], "changed: labels that touch are encoded otherwise"
PYTHON
