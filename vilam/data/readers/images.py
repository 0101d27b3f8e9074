"""Picture files as records hold them: PNG and JPEG as they are, other kinds as PNG of 8 bits."""

from __future__ import annotations

import importlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vilam.data.recipes import Window
from vilam.errors import VilamError

KEPT = ("PNG", "JPEG")
EIGHT_BITS = ("L", "RGB")
MEDICAL = (".dcm", ".mhd", ".mha", ".nii", ".nii.gz", ".nrrd")
"""What SimpleITK reads here."""


def read_image(path: Path, window: Window | None = None) -> tuple[bytes, int, int]:
    """The encoded picture, its width and height in pixels; OSError, in words, where it is none.

    What is not PNG or JPEG becomes a PNG of 8 bits, and so does any picture of more bits: ``window`` says which of its
    values are shown, without it all of them are. Sides are those of the file, however a camera's tag would turn it:
    annotations count its pixels. Raises VilamError where DICOM is met and SimpleITK is not installed.
    """
    if path.name.lower().endswith(MEDICAL):
        return shown(_flat(read_volume(path)[0]), window)
    content = path.read_bytes()
    with Image.open(BytesIO(content)) as image:
        if image.mode.startswith(("I", "F")):
            return shown(np.asarray(image, dtype=np.float64), window)
        if image.format in KEPT:
            return content, image.width, image.height
        return _encoded(image if image.mode in EIGHT_BITS else image.convert("RGB"))


def read_volume(path: Path) -> tuple[NDArray[Any], Any]:
    """Values [z, y, x] and SimpleITK's image, which tells places in millimetres; OSError where it cannot be read.

    Axes run as radiologists look: x to the patient's left, y to the back, z to the head, whatever the file's order.
    X-rays that are stored black on white (MONOCHROME1) are turned round by SimpleITK.
    """
    try:
        sitk: Any = importlib.import_module("SimpleITK")
    except ImportError:
        raise VilamError(f"{path}: SimpleITK is not installed: pip install 'vilam[medical]'") from None
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(" ".join(str(error).split())[-120:]) from None
    if image.GetDimension() == 3 and image.GetSize()[2] > 1:
        image = sitk.DICOMOrient(image, "LPS")
    return sitk.GetArrayFromImage(image), image


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    """A single picture of a file: [height, width], or with colours behind."""
    if values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[-1] == 3):
        raise OSError(f"a volume of {values.shape[0]} slices, not a picture")
    return values


def shown(values: NDArray[Any], window: Window | None) -> tuple[bytes, int, int]:
    """Values [height, width] as a grey PNG, its width and height; colours of 8 bits as they are."""
    if values.ndim == 3:
        return _encoded(Image.fromarray(values.astype(np.uint8)))
    return _encoded(Image.fromarray(as_grey(values, window)))


def as_grey(values: NDArray[Any], window: Window | None) -> NDArray[np.uint8]:
    """Values from ``low`` to ``high`` as 0 to 255, those beyond as the nearest.

    Without a window bytes stay as they are, and others are shown from the least to the most.
    """
    if window is None and values.dtype == np.uint8:
        return values.astype(np.uint8)
    floats = values.astype(np.float64)
    low, high = (floats.min(), floats.max()) if window is None else (window.low, window.high)
    shares = (floats + (window.offset if window else 0.0) - low) / max(high - low, 1e-12)
    return np.round(255 * shares.clip(0, 1)).astype(np.uint8)


def _encoded(image: Image.Image) -> tuple[bytes, int, int]:
    made = BytesIO()
    image.save(made, "PNG")
    return made.getvalue(), image.width, image.height
