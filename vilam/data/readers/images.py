"""Image files as records hold them: PNG and JPEG unchanged, other formats as PNG of 8 bits."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vilam.data.orientation import UPRIGHT, orientation, turned_size
from vilam.data.pixels import MEDICAL, as_grey
from vilam.data.recipes import Window
from vilam.data.records import Levels
from vilam.errors import VilamError, one_line

KEPT = ("PNG", "JPEG")
AS_JPEG = ("JPEG", "MPO")
"""MPO: several JPEGs in one, as telephones write them; the first is the picture."""
LFS = b"version https://git-lfs.github.com"
EIGHT_BITS = ("L", "RGB")
QUALITY = 95
"""Of the JPEG of a turned picture."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright picture: its encoded file and its sides in pixels.

    stored: width and height of the stored pixels. tag: the orientation tag by which they were turned (1: not at all).
    """

    content: bytes
    width: int
    height: int
    stored: tuple[int, int]
    tag: int = UPRIGHT


def read_image(path: Path, window: Window | Levels | None = None) -> tuple[bytes, int, int]:
    """The encoded image, upright, its width and height in pixels; see `read_picture`."""
    picture = read_picture(path, window)
    return picture.content, picture.width, picture.height


def read_picture(source: Path | bytes, window: Window | Levels | None = None) -> Picture:
    """A picture from a file or its content; raises OSError with a message if it is none.

    PNG and JPEG of 8 bits stay byte for byte, unless an orientation tag turns them. Everything else becomes a PNG of
    8 bits: ``window`` says which values of an image of more bits are shown; without it all of them are. Raises
    VilamError for a medical file if SimpleITK is not installed.
    """
    if isinstance(source, Path) and source.name.lower().endswith(MEDICAL):
        return _upright(*to_png(_single_image(read_volume(source)[0]), window))
    content = source if isinstance(source, bytes) else source.read_bytes()
    with _opened(content) as image:
        tag = orientation(image)
        stored = _stored_size(image, tag)
        if image.mode.startswith(("I", "F")):
            values = np.asarray(ImageOps.exif_transpose(image), dtype=np.float64)
            return Picture(*to_png(values, window), stored, tag)
        if image.format not in KEPT or tag != UPRIGHT:
            return Picture(*_encoded_upright(image), stored, tag)
        return Picture(content, image.width, image.height, image.size)


def _opened(content: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(content))
    except UnidentifiedImageError:
        if content.startswith(LFS):
            raise OSError("a pointer of Git LFS, no picture: git lfs pull") from None
        raise OSError("no picture of a known kind: save it as JPEG or PNG" if content else "an empty file") from None


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of the upright picture, from the head of a file; None if it is no picture."""
    picture = without_content(path)
    return None if picture is None else (picture.width, picture.height)


def without_content(path: Path) -> Picture | None:
    """A picture without its content, from the head of a file; None if it is no picture."""
    try:
        with Image.open(path) as image:
            tag = orientation(image)
            stored = _stored_size(image, tag)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return Picture(b"", *turned_size(stored, tag), stored, tag)


def _stored_size(image: Image.Image, tag: int) -> tuple[int, int]:
    """Width and height of the stored pixels; Pillow tells those of the upright picture for a TIFF."""
    return turned_size(image.size, tag) if image.format == "TIFF" else image.size


def _upright(content: bytes, width: int, height: int) -> Picture:
    return Picture(content, width, height, (width, height))


def _encoded_upright(image: Image.Image) -> tuple[bytes, int, int]:
    """A turned JPEG is written as a JPEG of high quality, since its PNG would be many times as large."""
    turned = ImageOps.exif_transpose(image)
    if image.format in AS_JPEG:
        file = BytesIO()
        turned.save(file, "JPEG", quality=QUALITY, subsampling=0, icc_profile=image.info.get("icc_profile"))
        return file.getvalue(), turned.width, turned.height
    return _encoded(turned if turned.mode in EIGHT_BITS else turned.convert("RGB"))


def read_volume(path: Path, turn: bool = True) -> tuple[NDArray[Any], Any]:
    """Values [z, y, x] and SimpleITK's image, which knows positions in millimetres; OSError if it cannot be read.

    Axes have the radiological orientation: x to the patient's left, y to the back, z to the head, whatever the file's
    order, unless ``turn`` is false; of several channels or times the first is read. X-rays that are stored black on
    white (MONOCHROME1) are inverted by SimpleITK.
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
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    if turn and image.GetDimension() == 3 and image.GetSize()[2] > 1:
        image = sitk.DICOMOrient(image, "LPS")
    return sitk.GetArrayFromImage(image), image


def _single_image(values: NDArray[Any]) -> NDArray[Any]:
    """The only image of a file: [height, width] or [height, width, 3]; raises OSError if there are several."""
    if values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[-1] == 3):
        raise OSError(f"a volume of {values.shape[0]} slices, not an image")
    return values


def to_png(values: NDArray[Any], window: Window | Levels | None) -> tuple[bytes, int, int]:
    """Values [height, width] as a grey PNG, its width and height; [height, width, 3] as colours of 8 bits."""
    if values.ndim == 3:
        return _encoded(Image.fromarray(values.astype(np.uint8)))
    return _encoded(Image.fromarray(as_grey(values, window)))


def _encoded(image: Image.Image) -> tuple[bytes, int, int]:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), image.width, image.height
