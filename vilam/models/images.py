"""Encoded pictures to the model's pixels: a plain resize to a square, no crop and no flip (they move coordinates)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_processing_base import ImageProcessingMixin

if TYPE_CHECKING:
    from vilam.models.vilam import VilamConfig


def load_pixels(images: Sequence[bytes | Image.Image], config: VilamConfig) -> Tensor:
    """Files' bytes or pictures of any size -> normalised pixels (B, 3, S, S)."""
    arrays = np.stack([_square(image, config.image_size) for image in images])
    pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(config.image_mean), torch.tensor(config.image_std)
    return (pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def pixel_statistics(checkpoint: str) -> dict[str, list[float]]:
    """``image_mean`` and ``image_std`` of RGB in [0, 1] that a vision tower was trained with.

    Raises OSError where the checkpoint does not tell them.
    """
    try:
        content, _ = ImageProcessingMixin.get_image_processor_dict(checkpoint)
        return {name: [float(value) for value in content[name]] for name in ("image_mean", "image_std")}
    except (OSError, KeyError, TypeError):
        raise OSError("no image_mean and image_std: put its preprocessor_config.json there") from None


def opened(image: bytes | Image.Image) -> Image.Image:
    """A file's bytes or a picture as RGB."""
    picture = Image.open(BytesIO(image)) if isinstance(image, bytes) else image
    return picture.convert("RGB")


def _square(image: bytes | Image.Image, size: int) -> np.ndarray:
    picture = opened(image)
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture)
