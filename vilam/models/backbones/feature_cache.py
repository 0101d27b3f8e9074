"""Features of a frozen vision tower on disk, so that it computes each image once instead of once per epoch.

Each image has one memory-mapped file, named by a hash of its pixels. The folder is named by a hash of the tower's
weights: another tower, other layers or another image size never read it. Features are computed in the precision of the
tower's weights and rounded to half precision, also at first use. So results do not depend on the files on disk or on
the precision of the run.
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
    """The features of one tower, whose matrices are of ``dtype``, by the pixels of the images."""

    folder: Path
    dtype: torch.dtype

    def features(self, pixel_values: Tensor, compute: Compute) -> Tensor:
        """Features (B, rows, columns, W) of pixels (B, 3, S, S); ``compute`` makes those that are not on disk yet."""
        files = [self._file(pixels) for pixels in pixel_values]
        found = [_read(file) for file in files]
        missing = [index for index, features in enumerate(found) if features is None]
        if missing:
            in_half = self.dtype == torch.bfloat16
            with torch.no_grad(), torch.autocast(pixel_values.device.type, torch.bfloat16, enabled=in_half):
                computed = compute(pixel_values[missing]).half().cpu()
            for index, features in zip(missing, computed, strict=True):
                found[index] = features
                _write(files[index], features)
        return torch.stack([features.to(pixel_values) for features in found if features is not None])

    def _file(self, pixels: Tensor) -> Path:
        name = hashlib.sha256(pixels.float().cpu().contiguous().numpy().tobytes()).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}.npy"


def tower_key(vision: nn.Module, config: dict[str, object]) -> str:
    """A digest of a tower's weights and of ``config``: everything else on which its features depend."""
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
    except (OSError, ValueError):  # truncated when a disk was full or a machine stopped
        file.unlink(missing_ok=True)
        return None


def _write(file: Path, features: Tensor) -> None:
    """Writes a whole file or none; if several processes write the same image, the last file stays."""
    partial = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            np.save(stream, features.numpy())
        partial.rename(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        problem = f"{file.parent}: features could not be written: {error}"
        raise VilamError(f"{problem}: free some space or set model.vision.cache to false") from error
