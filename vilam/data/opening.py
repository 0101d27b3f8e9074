"""Opens the picture that is asked about as training opened its own: any depth, any orientation, DICOM and NIfTI."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from vilam.data.pixels import MEDICAL, as_rgb
from vilam.data.records import Levels

HEAD = 352
"""Bytes that tell a medical file: the header of NIfTI."""
GZIP = b"\x1f\x8b"


def open_picture(source: Path | bytes, levels: Levels | None = None) -> Image.Image:
    """A picture from a file or its content, upright, as RGB.

    levels: of the data set that the model was trained on, for pictures of more than 8 bits. Raises OSError or another
    error of Pillow if it is no picture, and VilamError for a medical file if SimpleITK is not installed.
    """
    head = source[:HEAD] if isinstance(source, bytes) else _head(source)
    suffix = _medical_suffix(head, "" if isinstance(source, bytes) else source.name.lower())
    if not suffix:
        return as_rgb(Image.open(BytesIO(source) if isinstance(source, bytes) else source), levels)
    if isinstance(source, Path) and source.name.lower().endswith(suffix):
        return _medical(source, levels)
    with TemporaryDirectory() as folder:  # SimpleITK goes by the suffix
        path = Path(folder) / f"picture{suffix}"
        path.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        return _medical(path, levels)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _medical_suffix(head: bytes, name: str) -> str:
    """The suffix of a medical file, by its name or its first bytes; "" for other files."""
    if named := next((end for end in MEDICAL if name.endswith(end)), ""):
        return named
    if head[128:132] == b"DICM":
        return ".dcm"
    if head[344:347] in (b"n+1", b"ni1"):
        return ".nii"
    return ".nii.gz" if head.startswith(GZIP) else ""


def _medical(path: Path, levels: Levels | None) -> Image.Image:
    from vilam.data.readers.images import read_picture  # imports all readers, which a plain picture does not need

    return Image.open(BytesIO(read_picture(path, levels).content)).convert("RGB")
