"""Image files as records hold them: PNG and JPEG unchanged, other formats as PNG of 8 bits."""

from __future__ import annotations

import importlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vilam.data.pixels import as_grey
from vilam.data.recipes import Window
from vilam.errors import VilamError, one_line

KEPT = ("PNG", "JPEG")
EIGHT_BITS = ("L", "RGB")
MEDICAL = (".dcm", ".mhd", ".mha", ".nii", ".nii.gz", ".nrrd")
"""Suffixes of the files that SimpleITK reads here."""


def read_image(path: Path, window: Window | None = None) -> tuple[bytes, int, int]:
    """The encoded image, its width and height in pixels; raises OSError with a message if the file is no image.

    What is not PNG or JPEG becomes a PNG of 8 bits, and so does any image of more bits: ``window`` says which of its
    values are shown; without it all of them are. The sides are those of the stored pixels, which annotations count,
    even if an orientation tag would rotate the image. Raises VilamError for a medical file if SimpleITK is not
    installed.
    """
    if path.name.lower().endswith(MEDICAL):
        return to_png(_single_image(read_volume(path)[0]), window)
    content = path.read_bytes()
    with Image.open(BytesIO(content)) as image:
        if image.mode.startswith(("I", "F")):
            return to_png(np.asarray(image, dtype=np.float64), window)
        if image.format in KEPT:
            return content, image.width, image.height
        return _encoded(image if image.mode in EIGHT_BITS else image.convert("RGB"))


def read_volume(path: Path) -> tuple[NDArray[Any], Any]:
    """Values [z, y, x] and SimpleITK's image, which knows positions in millimetres; OSError if it cannot be read.

    Axes have the radiological orientation: x to the patient's left, y to the back, z to the head, whatever the file's
    order. X-rays that are stored black on white (MONOCHROME1) are inverted by SimpleITK.
    """
    try:
        sitk: Any = importlib.import_module("SimpleITK")
    except ImportError:
        raise VilamError(f"{path}: SimpleITK is not installed: pip install 'vilam[medical]'") from None
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(one_line(error)[-120:]) from None
    if image.GetDimension() == 3 and image.GetSize()[2] > 1:
        image = sitk.DICOMOrient(image, "LPS")
    return sitk.GetArrayFromImage(image), image


def _single_image(values: NDArray[Any]) -> NDArray[Any]:
    """The only image of a file: [height, width] or [height, width, 3]; raises OSError if there are several."""
    if values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[-1] == 3):
        raise OSError(f"a volume of {values.shape[0]} slices, not an image")
    return values


def to_png(values: NDArray[Any], window: Window | None) -> tuple[bytes, int, int]:
    """Values [height, width] as a grey PNG, its width and height; [height, width, 3] as colours of 8 bits."""
    if values.ndim == 3:
        return _encoded(Image.fromarray(values.astype(np.uint8)))
    return _encoded(Image.fromarray(as_grey(values, window)))


def _encoded(image: Image.Image) -> tuple[bytes, int, int]:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), image.width, image.height
