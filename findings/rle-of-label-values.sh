#!/usr/bin/env bash
# Expected: pycocotools.mask.encode takes every value but 0 for the object, as numpy and PIL do, or refuses others than
# 0 and 1.
# What happens: it counts runs of equal values and takes each second run for the object. Where labels 1 and 2 touch, the
# 2 becomes background. A mask of 0 and 255 or of one label is right, so a test with one object does not show it.
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


single = np.zeros((6, 4), np.uint8)
single[1:3] = 255
touching = np.zeros((6, 4), np.uint8)
touching[1:3], touching[3:5] = 1, 2
print("one object, column of values:", single[:, 0], "decoded:", back(single)[:, 0])
print("labels that touch:", touching[:, 0], "decoded:", back(touching)[:, 0])
print("area of labels", (touching > 0).sum(), "decoded", back(touching).sum(), "as booleans", back(touching > 0).sum())
assert (back(single) == (single > 0)).all() and (back(touching > 0) == (touching > 0)).all()
assert (back(touching) == (touching == 1)).all(), "changed: the label 2 is no longer lost"
PYTHON
