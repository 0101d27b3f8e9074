"""A small vision tower that learns from scratch in minutes: residual convolutions with standardised weights.

Of the towers tried from scratch (docs/tiny.md), those that normalise each feature over the image learn shapes from a
few thousand images; a ConvNeXt, which normalises over the features of each position, stayed at chance. Batch
normalisation is as fast, but its result depends on how a batch is split among processes. Weight standardisation with
group normalisation (Qiao et al., arXiv 1903.10520; the blocks of BiT, arXiv 1912.11370) does not. The output of the
stem is also added to the last features: from it, colours are learnt from few examples, before the stages keep them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

GROUPS = 8


class VilamTowerConfig(PreTrainedConfig):  # type: ignore[misc]
    """hidden_sizes, strides: of each stage; sizes are multiples of 8. stem_stride: of the stem before them."""

    model_type = "vilam_tower"

    def __init__(
        self,
        hidden_sizes: tuple[int, ...] = (32, 64, 128),
        strides: tuple[int, ...] = (1, 2, 2),
        stem_stride: int = 3,
        **kwargs: Any,
    ) -> None:
        self.hidden_sizes = list(hidden_sizes)
        self.strides = list(strides)
        self.stem_stride = stem_stride
        super().__init__(**kwargs)


class StandardConv(nn.Conv2d):
    """A convolution whose weights always have mean 0 and the same variance for each output channel."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        flat = self.weight.flatten(1)
        weight = nn.functional.layer_norm(flat, flat.shape[1:]) * (2 / flat.shape[1]) ** 0.5
        output: Tensor = self._conv_forward(input, weight.view_as(self.weight), self.bias)
        return output


class Block(nn.Module):
    """Two 3 x 3 convolutions with a residual connection, which is a 1 x 1 convolution if the shape changes."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = StandardConv(width_in, width, 3, stride, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(GROUPS, width)
        self.second = StandardConv(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(GROUPS, width)
        self.past: nn.Module = nn.Identity()
        if width_in != width or stride > 1:
            past = StandardConv(width_in, width, 1, stride, bias=False)
            self.past = nn.Sequential(past, nn.GroupNorm(GROUPS, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        inner = torch.relu(self.first_norm(self.first(features)))
        return torch.relu(self.past(features) + self.second_norm(self.second(inner)))


class VilamTower(PreTrainedModel):  # type: ignore[misc]
    """Stem and stages of one block each; ``last_hidden_state`` is (B, C, rows, columns)."""

    config_class = VilamTowerConfig
    main_input_name = "pixel_values"
    base_model_prefix = "tower"

    def __init__(self, config: VilamTowerConfig) -> None:
        super().__init__(config)
        widths = [config.hidden_sizes[0], *config.hidden_sizes]
        self.stem = StandardConv(3, widths[0], 5, config.stem_stride, padding=2, bias=False)
        self.stem_norm = nn.GroupNorm(GROUPS, widths[0])
        stages = zip(widths, widths[1:], config.strides, strict=False)
        self.stages = nn.Sequential(*(Block(*stage) for stage in stages))
        self.short = StandardConv(widths[0], widths[-1], 1, bias=False)
        self.short_norm = nn.GroupNorm(GROUPS, widths[-1])
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # Torch's own initialisation: the weights are standardised, so their scale does not matter.
        return

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        """(B, 3, H, W) normalised pixels -> features."""
        features = torch.relu(self.stem_norm(self.stem(pixel_values)))
        deep = self.stages(features)
        pooled = nn.functional.adaptive_avg_pool2d(features, deep.shape[-2:])
        return BaseModelOutput(last_hidden_state=deep + self.short_norm(self.short(pooled)))
