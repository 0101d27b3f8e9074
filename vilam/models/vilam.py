"""The model: vision tower -> alignment layer -> language model, as a transformers PreTrainedModel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput

from vilam.models.aligner import make_aligner
from vilam.models.coordinates import CoordinateTokens
from vilam.models.losses import token_losses
from vilam.models.tower import VilamTower, VilamTowerConfig

PARTS = ("vision", "aligner", "language")


class VilamConfig(PreTrainedConfig):  # type: ignore[misc]
    """Settings of the model.

    vision_config, text_config: configs of any vision tower of AutoModel and any language model of
    AutoModelForCausalLM. coordinate_bins: places of the token form, or None for the paper's digits.
    image_size: side of the square, in pixels, to which images are resized. frozen: parts that are not trained.
    attention: the language model's implementation, by transformers' name.
    """

    model_type = "vilam"
    sub_configs: ClassVar[dict[str, Any]] = {"vision_config": AutoConfig, "text_config": AutoConfig}

    def __init__(
        self,
        vision_config: Any = None,
        text_config: Any = None,
        aligner: str = "mlp",
        num_queries: int = 32,
        coordinate_bins: int | None = 101,
        first_coordinate: int | None = None,
        image_size: int = 96,
        image_mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        image_std: tuple[float, ...] = (0.25, 0.25, 0.25),
        frozen: tuple[str, ...] = (),
        attention: str = "sdpa",
        **kwargs: Any,
    ) -> None:
        register_auto_classes()
        self.vision_config = _as_config(vision_config)
        self.text_config = _as_config(text_config)
        self.aligner = aligner
        self.num_queries = num_queries
        self.coordinate_bins = coordinate_bins
        self.first_coordinate = first_coordinate
        self.image_size = image_size
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.frozen = list(frozen)
        self.attention = attention
        super().__init__(**kwargs)


def _as_config(config: Any) -> Any:
    if isinstance(config, dict):
        return AutoConfig.for_model(**config)
    return config


@dataclass
class VilamOutput(ModelOutput):  # type: ignore[misc]
    """loss: scalar or None. logits: (N, tokens) for the asked positions. past_key_values: the key-value cache."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None


class VilamForConditionalGeneration(PreTrainedModel):  # type: ignore[misc]
    """One model for REC and REG.

    Sequences are an image prefix of P tokens and text of L tokens. ``segments`` (B, L) number the instructions that
    are packed behind the prefix, 1 upwards, 0 for padding: each attends to the prefix and to itself, and its
    positions start again behind the prefix, so that a packed instruction has the logits it has alone.

    In the token form the place of a patch is told by its code, and all patches share position 0: a text token is then
    equally far from each. In the text form patches count 0, 1, 2 ... P - 1, as pretrained language models expect.
    """

    config_class = VilamConfig
    base_model_prefix = "vilam"
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: VilamConfig) -> None:
        super().__init__(config)
        self.vision = AutoModel.from_config(config.vision_config)
        self.language = AutoModelForCausalLM.from_config(config.text_config, attn_implementation=config.attention)
        width = _feature_width(config.vision_config)
        hidden = config.text_config.hidden_size
        self.aligner = make_aligner(config.aligner, width, hidden, config.num_queries)
        self.coordinates = CoordinateTokens(config.coordinate_bins or 2, hidden)
        self.post_init()
        self.freeze()

    def _init_weights(self, module: nn.Module) -> None:
        # The towers initialise themselves; the alignment layer keeps torch's own initialisation.
        if isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm | nn.Conv2d):
            return
        super()._init_weights(module)

    def freeze(self) -> None:
        """Stop the gradient of the parts that the config says are frozen."""
        for part in self.config.frozen:
            getattr(self, part).requires_grad_(False)

    def get_input_embeddings(self) -> nn.Module:
        """The language model's word embeddings; coordinate tokens have their own (see CoordinateTokens)."""
        return self.language.get_input_embeddings()  # type: ignore[no-any-return]

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels -> image prefix (B, P, hidden)."""
        features = self.vision(pixel_values).last_hidden_state
        if features.dim() == 4:
            rows, columns = features.shape[-2:]
            patches = features.flatten(2).transpose(1, 2)
        else:
            rows = columns = int(features.shape[1] ** 0.5)
            patches = features[:, features.shape[1] - rows * columns :]
        prefix: Tensor = self.aligner(patches, self.coordinates.patch_places(rows, columns))
        return prefix

    def embed(self, input_ids: Tensor) -> Tensor:
        """(B, L) token ids, coordinates among them -> (B, L, hidden)."""
        first = self.config.first_coordinate
        words = self.get_input_embeddings()
        if first is None:
            return words(input_ids)  # type: ignore[no-any-return]
        is_place = input_ids >= first
        table = self.coordinates.table()
        places = nn.functional.embedding((input_ids - first).clamp_min(0), table)
        return torch.where(is_place.unsqueeze(-1), places, words(input_ids.masked_fill(is_place, 0)))

    def score(self, hidden: Tensor) -> Tensor:
        """Hidden states (N, hidden) -> logits over words, then coordinate tokens (N, tokens)."""
        words = self.language.get_output_embeddings()(hidden)
        first = self.config.first_coordinate
        if first is None:
            return words  # type: ignore[no-any-return]
        return torch.cat([words[:, :first], self.coordinates.scores(hidden)], dim=-1)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        segments: Tensor | None = None,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        total: Tensor | None = None,
        coordinate_sigma: float = 0.0,
        **kwargs: Any,
    ) -> VilamOutput:
        """Logits (and loss) of the answer tokens of packed instructions.

        pixel_values (B, 3, S, S); input_ids, segments, labels (B, L); labels are the ids shifted by nothing, -100
        where no loss is taken; weights (B, L) of the labels' losses, 1 where not given. The loss is their weighted sum
        over ``total`` (the sum of the weights where not given: the mean). Logits are those of the N labelled positions
        only, in row-major order; without labels, those of every text position.
        """
        assert pixel_values is not None and input_ids is not None and segments is not None
        prefix = self.encode_images(pixel_values)
        hidden = self.run(prefix, input_ids, segments)
        if labels is None:
            return VilamOutput(logits=self.score(hidden.flatten(0, 1)))
        # The state before a token predicts it; each instruction starts with a question, so none needs the prefix's.
        wanted = labels[:, 1:] != -100
        logits = self.score(hidden[:, :-1][wanted])
        losses = token_losses(logits, labels[:, 1:][wanted], self.config, coordinate_sigma)
        shares = torch.ones_like(losses) if weights is None else weights[:, 1:][wanted]
        loss = (losses * shares).sum() / (shares.sum() if total is None else total)
        return VilamOutput(loss=loss, logits=logits)

    def run(self, prefix: Tensor, input_ids: Tensor, segments: Tensor) -> Tensor:
        """Hidden states (B, L, hidden) of the text tokens of packed instructions."""
        length = prefix.shape[1]
        embeds = torch.cat([prefix, self.embed(input_ids).to(prefix.dtype)], dim=1)
        output = self.language.get_decoder()(
            inputs_embeds=embeds,
            attention_mask=packed_mask(segments, length, embeds.dtype),
            position_ids=self.positions(segments, length),
            use_cache=False,
        )
        return output.last_hidden_state[:, length:]  # type: ignore[no-any-return]

    def image_positions(self, length: int) -> tuple[Tensor, int]:
        """Positions of the image prefix (length,) and the position at which a text begins."""
        if self.config.first_coordinate is None:
            return torch.arange(length, device=self.device), length
        return torch.zeros(length, dtype=torch.long, device=self.device), 1

    def positions(self, segments: Tensor, length: int) -> Tensor:
        """Positions (B, length + L) of an image prefix and packed instructions."""
        image, first = self.image_positions(length)
        return torch.cat([image.expand(len(segments), -1), packed_offsets(segments) + first], dim=1)


def packed_offsets(segments: Tensor) -> Tensor:
    """Place of each token in its own instruction, from 0: (B, L)."""
    index = torch.arange(segments.shape[1], device=segments.device).expand(len(segments), -1)
    starts = torch.ones_like(segments, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return index - torch.where(starts, index, 0).cummax(dim=1).values


def packed_mask(segments: Tensor, prefix: int, dtype: torch.dtype) -> Tensor:
    """Additive attention mask (B, 1, prefix + L, prefix + L): 0 where a query may look at a key."""
    batch, length = segments.shape
    whole = torch.cat([segments.new_zeros(batch, prefix), segments], dim=1)
    index = torch.arange(prefix + length, device=segments.device)
    causal = index[:, None] >= index[None, :]
    is_image = index < prefix
    same = whole[:, :, None] == whole[:, None, :]
    seen = ((same | is_image[None, None, :]) & causal).unsqueeze(1)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def _feature_width(config: Any) -> int:
    if getattr(config, "hidden_sizes", None):
        return int(config.hidden_sizes[-1])
    return int(config.hidden_size)


def register_auto_classes() -> None:
    """Make AutoConfig, AutoModel and AutoModelForImageTextToText open vilam's folders and its tower."""
    AutoConfig.register("vilam_tower", VilamTowerConfig, exist_ok=True)
    AutoModel.register(VilamTowerConfig, VilamTower, exist_ok=True)
    AutoConfig.register("vilam", VilamConfig, exist_ok=True)
    AutoModel.register(VilamConfig, VilamForConditionalGeneration, exist_ok=True)
    AutoModelForImageTextToText.register(VilamConfig, VilamForConditionalGeneration, exist_ok=True)
