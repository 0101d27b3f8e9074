"""Grey values and colours of any depth as the 8 bits that a model sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vilam.data.orientation import UPRIGHT, orientation

if TYPE_CHECKING:
    from vilam.data.recipes import Window
    from vilam.data.records import Levels

MEDICAL = (".dcm", ".mhd", ".mha", ".nii", ".nii.gz", ".nrrd")
"""Suffixes of the files that SimpleITK reads here."""


def as_grey(values: NDArray[Any], window: Window | Levels | None) -> NDArray[np.uint8]:
    """Values from ``low`` to ``high`` of the window as 0 to 255, clipped.

    Without a window bytes are unchanged, and other values are scaled from their minimum to their maximum. What is not
    a number, such as the ground of a map, becomes 0.
    """
    if window is None and values.dtype == np.uint8:
        return values.astype(np.uint8)
    floats = values.astype(np.float64)
    finite = floats[np.isfinite(floats)]
    low, high = (
        (finite.min(initial=np.inf), finite.max(initial=-np.inf)) if window is None else (window.low, window.high)
    )
    fractions = (floats + (window.offset if window else 0.0) - low) / max(high - low, 1e-12)
    return np.round(255 * np.nan_to_num(fractions).clip(0, 1)).astype(np.uint8)


def as_rgb(image: Image.Image, levels: Levels | None = None) -> Image.Image:
    """An image of any mode as RGB of 8 bits, turned as its orientation tag says.

    Grey values of more bits are scaled from their minimum to their maximum, or by ``levels``; Pillow's own conversion
    makes them white.
    """
    if orientation(image) != UPRIGHT:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(as_grey(np.asarray(image, dtype=np.float64), levels))
    return image.convert("RGB")
