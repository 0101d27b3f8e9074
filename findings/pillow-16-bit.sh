#!/usr/bin/env bash
# Expected: Pillow converts pictures of 16 bits to 8 bits in one way.
# What happens: a grey PNG keeps its 16 bits, and convert("L") or convert("RGB") then clips it: everything from 255 on
# is white. A colour PNG of 16 bits is scaled to 8 when it is opened, and does not tell. No warning in either case.
# Seen on: Pillow 13.0.0.
# Matters with X-rays, depth and microscopes: the usual Image.open(path).convert("RGB") makes a white picture, from
# which a model still gives an answer.
# Known upstream: python-pillow/Pillow#2574 and #1108.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check pillow==13.0.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON'
import struct
import zlib
from io import BytesIO

import numpy as np
import PIL
from PIL import Image


def png(values, colour_type):
    """A PNG of 16 bits: values (height, width, channels); colour type 0 is grey, 2 is RGB."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    pack = struct.Struct(">I").pack
    return b"\x89PNG\r\n\x1a\n" + b"".join(pack(len(c)) + n + c + pack(zlib.crc32(n + c)) for n, c in chunks)


ramp = np.linspace(0, 65535, 256).reshape(16, 16, 1)
print("Pillow", PIL.__version__)
levels = {}
for name, values, colour_type in (("grey", ramp, 0), ("colour", ramp.repeat(3, axis=2), 2)):
    image = Image.open(BytesIO(png(values, colour_type)))
    shown = np.asarray(image.convert("RGB"))
    levels[name] = len(np.unique(shown))
    white = (shown == 255).mean()
    print(f"{name}, 256 levels up to 65535: mode {image.mode}, as RGB {levels[name]} levels, {white:.1%} white")
assert levels == {"grey": 2, "colour": 256}, "changed"
PYTHON
