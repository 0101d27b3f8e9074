"""The patch features of any vision tower as a grid (B, rows, columns, W)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, cat, nn


def patch_features(vision: nn.Module, pixel_values: Tensor, layers: Sequence[int] | None) -> Tensor:
    """Pixels (B, 3, S, S) -> features (B, rows, columns, W) of the last layer, or of several layers concatenated.

    Layers count from 1; those of a convolutional tower are its stages. Several layers are normalised, because their
    scales differ, and resized to the finest of their grids. The tokens before a transformer's patches, such as its
    class token, are left out. Raises ValueError for a layer that the tower does not have.
    """
    if layers is None:
        return _grid(vision(pixel_values).last_hidden_state)
    states = vision(pixel_values, output_hidden_states=True).hidden_states or ()
    if unknown := [layer for layer in layers if layer >= len(states)]:
        raise ValueError(f"it has no layer {unknown[0]}: there are {max(len(states) - 1, 0)}")
    grids = [_grid(states[layer]) for layer in layers]
    finest = max((grid.shape[1], grid.shape[2]) for grid in grids)
    return cat([_resized(finest, nn.functional.layer_norm(grid, grid.shape[-1:])) for grid in grids], dim=-1)


def merged(features: Tensor, side: int) -> Tensor:
    """Concatenates squares of ``side`` x ``side`` patches: (B, R, C, W) -> (B, R / side, C / side, side * side * W).

    Raises ValueError if the grid cannot be divided into such squares.
    """
    if side == 1:
        return features
    batch, rows, columns, width = features.shape
    if rows % side or columns % side:
        raise ValueError(f"its {rows} x {columns} patches cannot be merged {side} x {side}")
    squares = features.view(batch, rows // side, side, columns // side, side, width).transpose(2, 3)
    return squares.reshape(batch, rows // side, columns // side, side * side * width)


def _grid(features: Tensor) -> Tensor:
    """(B, W, R, C) of a convolution or (B, tokens, W) of a transformer -> (B, R, C, W)."""
    if features.dim() == 4:
        return features.permute(0, 2, 3, 1)
    side = math.isqrt(features.shape[1])
    return features[:, features.shape[1] - side * side :].view(len(features), side, side, -1)


def _resized(size: tuple[int, int], grid: Tensor) -> Tensor:
    """A grid (B, R, C, W) with ``size`` rows and columns, interpolated bilinearly."""
    if grid.shape[1:3] == size:
        return grid
    features = nn.functional.interpolate(grid.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=False)
    return features.permute(0, 2, 3, 1)
