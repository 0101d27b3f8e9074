"""EfficientNet-Lite as a vision tower: inverted residuals without attention over channels (Apache-2.0).

Tan and Le, arXiv 1905.11946. The Lite variants are TensorFlow's, and their weights expect its "same" padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

EPSILON = 1e-3
"""The epsilon of the batch normalisation with which these networks were trained."""


class LiteTowerConfig(PreTrainedConfig):  # type: ignore[misc]
    """hidden_sizes, depths, kernels, strides, expansions: one value for each stage. stem_size: features of the stem.

    The defaults are EfficientNet-Lite2's.
    """

    model_type = "efficientnet_lite"

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (16, 24, 48, 88, 120, 208, 352),
        depths: Sequence[int] = (1, 3, 3, 4, 4, 5, 1),
        kernels: Sequence[int] = (3, 3, 5, 3, 5, 5, 3),
        strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1),
        expansions: Sequence[int] = (1, 6, 6, 6, 6, 6, 6),
        stem_size: int = 32,
        **kwargs: Any,
    ) -> None:
        self.hidden_sizes = list(hidden_sizes)
        self.depths = list(depths)
        self.kernels = list(kernels)
        self.strides = list(strides)
        self.expansions = list(expansions)
        self.stem_size = stem_size
        super().__init__(**kwargs)


class Layer(nn.Module):
    """A convolution and its normalisation; if ``active``, also ReLU6."""

    def __init__(self, size_in: int, size: int, kernel: int, stride: int, groups: int = 1, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(size_in, size, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(size, eps=EPSILON)
        self.active = active

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride), rounded up."""
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in features.shape[-2:])
        padded = nn.functional.pad(features, (width // 2, width - width // 2, height // 2, height - height // 2))
        normed: Tensor = self.norm(self.conv(padded))
        return nn.functional.relu6(normed) if self.active else normed


class InvertedResidual(nn.Module):
    """Expands the channels, filters each, projects them; adds the input if its shape stays the same."""

    def __init__(self, size_in: int, size: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = size_in * expansion
        self.expand = Layer(size_in, wide, 1, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Layer(wide, wide, kernel, stride, groups=wide)
        self.project = Layer(wide, size, 1, 1, active=False)
        self.is_residual = stride == 1 and size_in == size

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride), rounded up."""
        output: Tensor = self.project(self.depthwise(self.expand(features)))
        return features + output if self.is_residual else output


class LiteTower(PreTrainedModel):  # type: ignore[misc]
    """Stem and stages; ``last_hidden_state`` is (B, C, rows, columns), ``hidden_states`` has stem and stages."""

    config_class = LiteTowerConfig
    main_input_name = "pixel_values"
    base_model_prefix = "tower"

    def __init__(self, config: LiteTowerConfig) -> None:
        super().__init__(config)
        self.stem = Layer(3, config.stem_size, 3, 2)
        self.stages = nn.ModuleList()
        size_in = config.stem_size
        for size, depth, kernel, stride, expansion in zip(
            config.hidden_sizes, config.depths, config.kernels, config.strides, config.expansions, strict=True
        ):
            rest = (InvertedResidual(size, size, kernel, 1, expansion) for _ in range(depth - 1))
            self.stages.append(nn.Sequential(InvertedResidual(size_in, size, kernel, stride, expansion), *rest))
            size_in = size
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # Torch's own initialisation: these weights are loaded, or their scale is normalised away.
        return

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        """(B, 3, H, W) normalised pixels -> features."""
        states = [self.stem(pixel_values)]
        for stage in self.stages:
            states.append(stage(states[-1]))
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=tuple(states))
