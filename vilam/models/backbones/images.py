"""Encoded images to the model's pixels: a plain resize to a square; crops and flips would move coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_processing_base import ImageProcessingMixin

from vilam.data.pixels import as_rgb


class PixelSettings(Protocol):
    """The side of the square in pixels, and mean and standard deviation of RGB in [0, 1]."""

    image_size: int
    image_mean: list[float]
    image_std: list[float]


def load_pixels(images: Sequence[bytes | Image.Image], settings: PixelSettings) -> Tensor:
    """Encoded files or images of any size -> normalised pixels (B, 3, S, S)."""
    size = settings.image_size
    squares = [
        image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)
        for image in map(open_image, images)
    ]
    pixels = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(settings.image_mean), torch.tensor(settings.image_std)
    return (pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def pixel_statistics(checkpoint: str) -> dict[str, list[float]]:
    """``image_mean`` and ``image_std`` of RGB in [0, 1] with which a vision tower was trained.

    Raises OSError if the checkpoint does not have them.
    """
    try:
        content, _ = ImageProcessingMixin.get_image_processor_dict(checkpoint)
        return {name: [float(value) for value in content[name]] for name in ("image_mean", "image_std")}
    except (OSError, KeyError, TypeError):
        raise OSError("no image_mean and image_std: put its preprocessor_config.json there") from None


def open_image(image: bytes | Image.Image) -> Image.Image:
    """An encoded file or an image as RGB."""
    return as_rgb(Image.open(BytesIO(image)) if isinstance(image, bytes) else image)
