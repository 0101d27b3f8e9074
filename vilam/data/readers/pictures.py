"""Picture files as records hold them: PNG and JPEG as they are, other kinds as PNG."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

KEPT = ("PNG", "JPEG")
EIGHT_BITS = ("L", "RGB")


def read_picture(path: Path) -> tuple[bytes, int, int]:
    """The encoded picture, its width and height in pixels; OSError, in words, where it is none.

    What is not PNG or JPEG (TIFF, BMP, WebP, GIF's first) becomes a PNG of 8 bits. Sides are those of the file, however
    a camera's tag would turn it: annotations count its pixels.
    """
    content = path.read_bytes()
    with Image.open(BytesIO(content)) as image:
        if image.format in KEPT:
            return content, image.width, image.height
        if image.mode.startswith(("I", "F")):
            raise OSError(f"more than 8 bits a pixel ({image.mode}): no way to show it is known")
        made = BytesIO()
        (image if image.mode in EIGHT_BITS else image.convert("RGB")).save(made, "PNG")
        return made.getvalue(), image.width, image.height
