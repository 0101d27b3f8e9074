"""Encoded pictures to the model's pixels: a plain resize to a square, no crop and no flip (they move coordinates)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vilam.models.vilam import VilamConfig


def load_pixels(images: Sequence[bytes | Image.Image], config: VilamConfig) -> Tensor:
    """Files' bytes or pictures of any size -> normalised pixels (B, 3, S, S)."""
    arrays = np.stack([_square(image, config.image_size) for image in images])
    pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(config.image_mean), torch.tensor(config.image_std)
    return (pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def _square(image: bytes | Image.Image, size: int) -> np.ndarray:
    picture = Image.open(BytesIO(image)) if isinstance(image, bytes) else image
    picture = picture.convert("RGB")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture)
