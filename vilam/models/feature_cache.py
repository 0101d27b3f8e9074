"""Features of a frozen vision tower on disk, so that it sees each picture once and not once an epoch.

One file a picture, memory-mapped, named by the pixels that the tower sees, in a folder that is named by its weights:
another tower, other layers or another size never meet these. They are computed in the precision that the tower's
weights are held in and kept in half precision, also where they are asked for the first time, so that it matters neither
what is on disk nor how a run multiplies.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vilam.errors import VilamError

Compute = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """The features of one tower, whose matrices are of ``dtype``, by the pixels that it saw."""

    folder: Path
    dtype: torch.dtype

    def features(self, pixel_values: Tensor, compute: Compute) -> Tensor:
        """Features (B, R, C, W) of pixels (B, 3, S, S); ``compute`` is asked for those that are not there yet."""
        files = [self._file(pixels) for pixels in pixel_values]
        found = [_read(file) for file in files]
        missing = [place for place, features in enumerate(found) if features is None]
        if missing:
            in_half = self.dtype == torch.bfloat16
            with torch.no_grad(), torch.autocast(pixel_values.device.type, torch.bfloat16, enabled=in_half):
                computed = compute(pixel_values[missing]).half().cpu()
            for place, features in zip(missing, computed, strict=True):
                found[place] = features
                _write(files[place], features)
        return torch.stack([features.to(pixel_values) for features in found if features is not None])

    def _file(self, pixels: Tensor) -> Path:
        name = hashlib.sha256(pixels.float().cpu().contiguous().numpy().tobytes()).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}.npy"


def tower_key(vision: nn.Module, config: dict[str, object]) -> str:
    """A digest of a tower's weights and of ``config``, what else its features depend on."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, value in sorted(vision.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(file: Path) -> Tensor | None:
    try:
        return torch.from_numpy(np.load(file, mmap_mode="c"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # cut off when a disk was full or a machine stopped
        file.unlink(missing_ok=True)
        return None


def _write(file: Path, features: Tensor) -> None:
    """Whole or not at all, and of processes that write the same picture the last one stays."""
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            np.save(stream, features.numpy())
        partial.rename(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        told = f"{file.parent}: features could not be kept: {error}"
        raise VilamError(f"{told}: free some space or set model.vision.cache to false") from error
