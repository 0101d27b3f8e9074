"""The settings of a composed model, as transformers keeps them in config.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModel, PreTrainedConfig
from transformers.masking_utils import eager_mask

from vilam.models.backbones.attention import LEAN, lean_attention
from vilam.models.backbones.efficientnet_lite import LiteTower, LiteTowerConfig
from vilam.models.backbones.vilam_tower import VilamTower, VilamTowerConfig


class VilamConfig(PreTrainedConfig):  # type: ignore[misc]
    """Settings of the model.

    vision_config, text_config: configs of a vision tower of AutoModel and a language model of AutoModelForCausalLM.
    aligner: mlp, qformer or resampler. num_queries: image tokens of the latter two.
    coordinate_bins: bins of a side in the token form, None for the paper's digits. first_coordinate: the id of the
    first coordinate token, None for digits.
    image_size: side of the square in pixels to which images are resized. image_mean, image_std: of RGB in [0, 1].
    vision_layers: the layers whose features are used; None: the last one. merge: patches along each side of the square
    that becomes one image token.
    frozen: parts that are not trained. lora: adapters of a frozen language model (vilam/models/backbones/adapters.py).
    origins: the source of the pretrained weights, by part.
    grounder: whether boxes and words are tied to patches (see Grounder); token form and mlp only.
    first_token: the token before the image that a pretrained language model needs; None for one from scratch.
    word_size: the root mean square of a pretrained one's word embeddings.
    sharing: how it reads packed instructions: mask or fork (vilam/models/vilam/reading.py).
    attention: the language model's implementation by transformers' name, or "lean"
    (vilam/models/backbones/attention.py).
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
        vision_layers: Sequence[int] | None = None,
        merge: int = 1,
        frozen: tuple[str, ...] = (),
        lora: dict[str, Any] | None = None,
        origins: dict[str, dict[str, str]] | None = None,
        grounder: bool = False,
        first_token: int | None = None,
        word_size: float = 1.0,
        sharing: str = "mask",
        attention: str = "sdpa",
        **kwargs: Any,
    ) -> None:
        register_backbones()
        self.vision_config = _as_config(vision_config)
        self.text_config = _as_config(text_config)
        self.aligner = aligner
        self.num_queries = num_queries
        self.coordinate_bins = coordinate_bins
        self.first_coordinate = first_coordinate
        self.image_size = image_size
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.vision_layers = None if vision_layers is None else list(vision_layers)
        self.merge = merge
        self.frozen = list(frozen)
        self.lora = lora
        self.origins = origins or {}
        self.grounder = grounder
        self.first_token = first_token
        self.word_size = word_size
        self.sharing = sharing
        self.attention = attention
        super().__init__(**kwargs)

    @property
    def is_pretrained(self) -> bool:
        """Whether the language model was trained on text before."""
        return self.first_token is not None

    @property
    def feature_width(self) -> int:
        """Features of each patch, or of each square of merged patches, that the alignment layer reads."""
        vision, layers = self.vision_config, self.vision_layers
        if sizes := getattr(vision, "hidden_sizes", None):  # of each stage
            width = sum(sizes[layer - 1] for layer in layers or [len(sizes)])
        else:
            width = vision.hidden_size * len(layers or [None])
        return int(width) * self.merge**2


def register_backbones() -> None:
    """Lets AutoConfig and AutoModel open vilam's vision towers, and language models run with attention "lean"."""
    AttentionInterface.register(LEAN, lean_attention)
    AttentionMaskInterface.register(LEAN, eager_mask)
    for config, tower in ((VilamTowerConfig, VilamTower), (LiteTowerConfig, LiteTower)):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, tower, exist_ok=True)


def _as_config(config: Any) -> Any:
    return AutoConfig.for_model(**config) if isinstance(config, dict) else config
