"""The model: vision tower -> alignment layer -> language model, as a transformers PreTrainedModel."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
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

from vilam.models.adapters import add_adapters, freeze_all_but_adapters, set_adapters_training
from vilam.models.aligner import make_aligner
from vilam.models.attention import register_attention
from vilam.models.conventions import Frame
from vilam.models.coordinates import BOX, NUM_MARKS, SCALE, CoordinateTokens
from vilam.models.decoding import Decoding
from vilam.models.family import Chooser, Exchange, GroundingModel, Packed
from vilam.models.feature_cache import FeatureCache, tower_key
from vilam.models.features import merged, patch_features
from vilam.models.grounder import BOX_TOKENS, REGION_GAIN, Grounder, box_shares, latest_boxes, running_means
from vilam.models.images import load_pixels
from vilam.models.lite import LiteTower, LiteTowerConfig
from vilam.models.losses import IGNORED, Policy, answers_loss
from vilam.models.packing import packed_mask, packed_offsets, padded
from vilam.models.soft import Middle, Softened, expected_places, straight_through
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.tower import VilamTower, VilamTowerConfig

PARTS = ("vision", "aligner", "language")


class VilamConfig(PreTrainedConfig):  # type: ignore[misc]
    """Settings of the model.

    vision_config, text_config: configs of any vision tower of AutoModel and any language model of
    AutoModelForCausalLM. coordinate_bins: places of the token form, or None for the paper's digits.
    image_size: side of the square, in pixels, to which images are resized. vision_layers: whose features are taken, of
    the last layer if None. merge: so many patches by so many are one image token. frozen: parts that are not trained.
    lora: adapters of a frozen language model (see vilam/models/adapters.py). origins: where the weights that a part
    started from are from, by part.
    grounder: whether boxes read their patches and words point at theirs (see Grounder); token form and mlp only.
    first_token: with which all that a pretrained language model reads begins, ahead of the image; None for one that
    learns from nothing. word_size: of a pretrained one's word embeddings (root mean square).
    attention: the language model's implementation, by transformers' name, or "lean" (see vilam/models/attention.py).
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
        self.vision_layers = None if vision_layers is None else list(vision_layers)
        self.merge = merge
        self.frozen = list(frozen)
        self.lora = lora
        self.origins = origins or {}
        self.grounder = grounder
        self.first_token = first_token
        self.word_size = word_size
        self.attention = attention
        super().__init__(**kwargs)

    @property
    def is_pretrained(self) -> bool:
        """Whether the language model knew words before it met pictures."""
        return self.first_token is not None


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


class VilamForConditionalGeneration(PreTrainedModel, GroundingModel):  # type: ignore[misc]
    """One model for REC and REG.

    Sequences are an image prefix of P tokens and text of L tokens. ``segments`` (B, L) number the instructions that
    are packed behind the prefix, 1 upwards, 0 for padding: each attends to the prefix and to itself, and its
    positions start again behind the prefix, so that a packed instruction has the logits it has alone.

    In the token form the place of a patch is told by its code, and a language model that learns from nothing sees all
    patches at position 0: a text token is then equally far from each. A pretrained one counts patches 0, 1, 2 ... as it
    counts words, and so does the text form. It also gets the token with which all that it learnt from began: without,
    and with patches at one position, it takes the next word for almost any (docs/backbones.md).
    """

    config_class = VilamConfig
    base_model_prefix = "vilam"
    main_input_name = "input_ids"
    _supports_sdpa = True
    supports_gradient_checkpointing = True

    def __init__(self, config: VilamConfig) -> None:
        super().__init__(config)
        self.vision = AutoModel.from_config(config.vision_config)
        self.language = AutoModelForCausalLM.from_config(config.text_config, attn_implementation=config.attention)
        width = _feature_width(config)
        hidden = config.text_config.hidden_size
        self.aligner = make_aligner(config.aligner, width, hidden, config.num_queries)
        self.coordinates = CoordinateTokens(config.coordinate_bins or 2, hidden, config.is_pretrained)
        self.grounder = Grounder(hidden, config.is_pretrained) if config.grounder else None
        self.feature_cache: FeatureCache | None = None
        if config.lora is not None:
            add_adapters(self.language, config.lora)
        self.post_init()
        self.freeze()

    def _init_weights(self, module: nn.Module) -> None:
        # The towers initialise themselves; the alignment layer keeps torch's own initialisation.
        if isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm | nn.Conv2d):
            return
        super()._init_weights(module)

    def freeze(self) -> None:
        """Stop the gradient of the parts that the config says are frozen, but not that of adapters."""
        for part in self.config.frozen:
            getattr(self, part).requires_grad_(False)
        if self.config.lora is not None:
            freeze_all_but_adapters(self.language)

    def keep_features(self, folder: Path) -> None:
        """Keep what the vision tower, which must be frozen, says of each picture in a folder of this tower's own."""
        dtype = next(weights.dtype for weights in self.vision.parameters() if weights.dim() > 1)
        seen = {
            "config": self.config.vision_config.to_dict(),
            "layers": self.config.vision_layers,
            "dtype": str(dtype),
        }
        self.feature_cache = FeatureCache(folder / tower_key(self.vision, seen), dtype)

    def frozen_modules(self) -> Iterator[nn.Module]:
        """The modules of the parts that are not trained."""
        for part in self.config.frozen:
            yield from getattr(self, part).modules()

    def train(self, mode: bool = True) -> VilamForConditionalGeneration:
        """Adapters are in training mode beside frozen layers that are not."""
        super().train(mode)
        if self.config.lora is not None:
            set_adapters_training(self.language, mode)
        return self

    @torch.no_grad()
    def match_sizes(self) -> None:
        """Let image and coordinate tokens of a new model begin as large as its words."""
        size = float(self.get_input_embeddings().weight.float().square().mean().sqrt())
        if self.config.is_pretrained:
            self.config.word_size = size
        self.coordinates.resize(size)
        self.aligner.resize(size)

    def get_input_embeddings(self) -> nn.Embedding:
        """The language model's word embeddings; coordinate tokens have their own (see CoordinateTokens)."""
        return self.language.get_input_embeddings()  # type: ignore[no-any-return]

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels -> image prefix (B, P, hidden)."""
        see = partial(patch_features, self.vision, layers=self.config.vision_layers)
        features = self.feature_cache.features(pixel_values, see) if self.feature_cache else see(pixel_values)
        features = merged(features, self.config.merge)
        places = self.coordinates.patch_places(*features.shape[1:3])
        prefix: Tensor = self.aligner(features.flatten(1, 2), places)
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
        """States (N, hidden), or `Grounder.look_apart`'s -> logits over words, then coordinate tokens (N, tokens)."""
        of_words, of_places = hidden, hidden
        if self.grounder is not None and self.grounder.words_out is not None:
            of_words, of_places = hidden.chunk(2, dim=-1)
        words = self.language.get_output_embeddings()(of_words)
        first = self.config.first_coordinate
        if first is None:
            return words  # type: ignore[no-any-return]
        return torch.cat([words[:, :first], self.coordinates.scores(of_places)], dim=-1)

    def embed_text(
        self,
        prefix: Tensor,
        input_ids: Tensor,
        segments: Tensor,
        last: int | None = None,
        softened: Softened | None = None,
    ) -> Tensor:
        """Embeddings (B, L, hidden) of text behind an image prefix, or only of its ``last`` tokens.

        With a grounder, tokens after a box hold what is inside it. Softened tokens stand in the whole text only.
        """
        start = 0 if last is None else input_ids.shape[1] - last
        embeds = self.embed(input_ids[:, start:]).to(prefix.dtype)
        if softened is not None:
            embeds = softened.embed(embeds)
        if self.grounder is None:
            return embeds
        return embeds + REGION_GAIN * self.inside(prefix, input_ids, segments, embeds.shape[1], softened)[0]

    def inside(
        self, prefix: Tensor, input_ids: Tensor, segments: Tensor, last: int, softened: Softened | None = None
    ) -> tuple[Tensor, Tensor]:
        """The mean image token (B, last, hidden) of the latest box at the last tokens, and whether there is one.

        Where there is none it is 0; whether there is: (B, last, 1).
        """
        boxes, known = self._boxes(input_ids, segments, softened)
        is_known = known[:, -last:].unsqueeze(-1)
        shares = box_shares(boxes[:, -last:], prefix.shape[1]) * is_known
        return shares.to(prefix.dtype) @ prefix, is_known

    def ground(
        self, hidden: Tensor, prefix: Tensor, input_ids: Tensor, segments: Tensor, softened: Softened | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The last hidden states (B, N, hidden) with what their text points at, and the log shares (B, N, P) of that.

        input_ids and segments (B, L) are of the whole text, of which the hidden states are the last N tokens.
        """
        if self.grounder is None:
            return hidden, None
        is_word = (input_ids < self.config.first_coordinate) & (segments > 0)
        words = self.get_input_embeddings()(input_ids.masked_fill(~is_word, 0))
        if softened is not None:
            words = softened.embed(words)
        means = running_means(words, is_word, segments)[:, -hidden.shape[1] :]
        pointed = self.grounder.point(hidden, means, self.grounder.keys(prefix))
        return self.look(hidden, pointed, prefix, input_ids, segments, softened), pointed

    def look(
        self,
        hidden: Tensor,
        pointed: Tensor,
        prefix: Tensor,
        input_ids: Tensor,
        segments: Tensor,
        softened: Softened | None = None,
    ) -> Tensor:
        """The last states (B, N, hidden) with the image tokens that they look at, or `Grounder.look_apart`'s."""
        assert self.grounder is not None
        if self.grounder.words_out is None:
            return self.grounder.look(hidden, pointed, prefix)
        size = self.config.word_size
        inside, known = self.inside(prefix, input_ids, segments, hidden.shape[1], softened)
        return self.grounder.look_apart(hidden, pointed, prefix / size, inside / size, known)

    def word_sums(self, input_ids: Tensor, is_text: Tensor) -> Tensor:
        """Sum of the words' embeddings and their number (B, hidden + 1) over tokens (B, L): later ones just add up."""
        is_word = (input_ids < self.config.first_coordinate) & (is_text > 0)
        words = self.get_input_embeddings()(input_ids.masked_fill(~is_word, 0))
        counts = is_word.unsqueeze(-1).float()
        return torch.cat([words.float() * counts, counts], dim=-1).sum(1)

    def _boxes(self, input_ids: Tensor, segments: Tensor, softened: Softened | None = None) -> tuple[Tensor, Tensor]:
        return latest_boxes(input_ids, segments, self.config.first_coordinate, self.config.coordinate_bins, softened)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        segments: Tensor | None = None,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        totals: Tensor | None = None,
        coordinate_sigma: float = 0.0,
        pointing_weight: float = 0.0,
        policy: Policy | None = None,
        kl: float = 0.0,
        middle: Middle | None = None,
        **kwargs: Any,
    ) -> VilamOutput:
        """Logits (and loss) of the answer tokens of packed instructions.

        pixel_values (B, 3, S, S); input_ids, segments, labels (B, L); labels are the ids shifted by nothing, -100
        where no loss is taken; weights (B, L) of the labels' losses, 1 where not given. The loss is their weighted sum
        over the first of ``totals``, plus ``pointing_weight`` times the weighted sum of the grounder's losses (one a
        box of an answer) over the second; where no totals are given, they are this batch's own (see `loss_totals`).
        policy: tokens that were sampled and have the loss of `policy_losses`, with the weight ``kl``, in place of the
        cross-entropy. middle: first legs of the cycle, whose answers stand softened in the text (see `Middle`).
        Logits are those of the N labelled positions only, in row-major order; without labels, those of every text
        position.
        """
        assert pixel_values is not None and input_ids is not None and segments is not None
        prefix = self.encode_images(pixel_values)
        softened = self.soften(prefix, middle) if middle is not None else None
        hidden, pointed = self.run(prefix, input_ids, segments, softened)
        if labels is None:
            return VilamOutput(logits=self.score(hidden.flatten(0, 1)))
        weights, totals = self.weighed(labels, weights, totals, policy)
        # The state before a token predicts it; each instruction starts with a question, so none needs the prefix's.
        known = nn.functional.pad(labels[:, 1:] != IGNORED, (1, 0))
        logits = self.score(hidden[:, :-1][known[:, 1:]])
        loss = answers_loss(logits, known, labels, weights, self.config, coordinate_sigma, policy, kl) / totals[0]
        if pointed is not None:
            asked = self._answer_boxes(labels, policy)
            pointing = self._pointing(pointed, input_ids, segments, weights, asked)
            loss = loss + pointing_weight * pointing / totals[1].clamp_min(1e-6)  # where no box is asked for, 0
        return VilamOutput(loss=loss, logits=logits)

    def _pointing(self, pointed: Tensor, input_ids: Tensor, segments: Tensor, weights: Tensor, asked: Tensor) -> Tensor:
        """Weighted sum over the boxes of answers of the cross-entropy between their patches and those pointed at."""
        rows, marks = asked.nonzero(as_tuple=True)
        boxes, _ = self._boxes(input_ids, segments)
        shares = box_shares(boxes[rows, marks + BOX_TOKENS - 1], pointed.shape[-1])
        return -((shares * pointed[rows, marks]).sum(-1) * weights[rows, marks]).sum()

    def soften(self, prefix: Tensor, middle: Middle) -> Softened:
        """The first legs read with gradient, and their chosen tokens as the second legs meet them."""
        hidden, _ = self.run(prefix, middle.input_ids, middle.segments)
        rows, columns = middle.source.unbind(1)
        logits = self.score(hidden[rows, columns - 1])  # the state before a token predicts it
        tokens = middle.input_ids[rows, columns]
        first = self.config.first_coordinate
        count = logits.shape[1] if first is None else first
        is_place = tokens >= count
        table = self.get_input_embeddings().weight[:count]
        embeddings = straight_through(logits[:, :count], tokens.masked_fill(is_place, 0), table)
        places = embeddings.new_zeros(len(tokens))
        if first is not None:
            places, axes = expected_places(
                logits[:, first:], tokens.masked_fill(~is_place, first + NUM_MARKS) - first, self.coordinates.bins
            )
            embeddings = torch.where(is_place.unsqueeze(1), self.coordinates.embed_places(places, axes), embeddings)
        return Softened(middle.target, embeddings, places)

    def run(
        self, prefix: Tensor, input_ids: Tensor, segments: Tensor, softened: Softened | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Hidden states (B, L, hidden) of the text tokens of packed instructions, and the grounder's log shares."""
        text = self.embed_text(prefix, input_ids, segments, softened=softened)
        before = self.before_text(prefix)
        embeds = torch.cat([before, text], dim=1)
        length = before.shape[1]
        output = self.language.get_decoder()(
            inputs_embeds=embeds,
            attention_mask=packed_mask(segments, length, embeds.dtype),
            position_ids=self.positions(segments, length),
            use_cache=False,
        )
        return self.ground(output.last_hidden_state[:, length:], prefix, input_ids, segments, softened)

    def before_text(self, prefix: Tensor) -> Tensor:
        """What the language model reads ahead of the text: the image prefix (B, P, hidden), behind a first token."""
        if self.config.first_token is None:
            return prefix
        ids = torch.full((len(prefix), 1), self.config.first_token, device=prefix.device)
        return torch.cat([self.get_input_embeddings()(ids).to(prefix.dtype), prefix], dim=1)

    def image_positions(self, length: int) -> tuple[Tensor, int]:
        """Positions of what stands before a text (length,), and the position at which the text begins."""
        if self.config.first_coordinate is None or self.config.is_pretrained:
            return torch.arange(length, device=self.device), length
        return torch.zeros(length, dtype=torch.long, device=self.device), 1

    def positions(self, segments: Tensor, length: int) -> Tensor:
        """Positions (B, length + L) of what stands before the text, and of packed instructions."""
        image, first = self.image_positions(length)
        return torch.cat([image.expand(len(segments), -1), packed_offsets(segments) + first], dim=1)

    def see(self, images: Sequence[bytes | Image.Image]) -> Tensor:
        """Pixels (B, 3, S, S)."""
        return load_pixels(images, self.config).to(self.device)

    def frames(self, pictures: Tensor) -> list[Frame]:
        """Places are counted in thousandths of the picture's own sides."""
        return [Frame.filled(SCALE, SCALE)] * len(pictures)

    def pack(self, tokenizer: GroundingTokenizer, pictures: Tensor, rows: Sequence[Sequence[Exchange]]) -> Packed:
        """Everything about a picture behind one image prefix: ``pixel_values``, ``input_ids``, ``segments``."""
        asked = [[(tokenizer.encode_question(each.question), list(each.answer)) for each in row] for row in rows]
        inputs = {
            "pixel_values": pictures,
            "input_ids": padded([[question + answer for question, answer in row] for row in asked], tokenizer.pad_id),
            "segments": padded([[[i] * (len(q) + len(a)) for i, (q, a) in enumerate(row, 1)] for row in asked], 0),
        }
        labels = padded([[[IGNORED] * len(question) + answer for question, answer in row] for row in asked], IGNORED)
        return Packed(inputs, labels)

    def speak(
        self, tokenizer: GroundingTokenizer, pictures: Tensor, asked: Sequence[tuple[int, str]], chooser: Chooser
    ) -> None:
        """One image prefix for all questions of a picture, and a key-value cache from which finished rows drop out."""
        begun = chooser.begin()
        if not chooser.alive:
            return
        rows = [(asked[i][0], [*tokenizer.encode_question(asked[i][1]), *begun[i]]) for i in chooser.alive]
        state = Decoding(self, pictures, rows, tokenizer.pad_id)
        while True:
            chosen, keep = chooser.choose(list(chooser.alive), state.logits)
            if not chooser.alive:
                return
            state.advance(chosen, keep)

    def loss_totals(self, labels: Tensor, weights: Tensor, policy: Policy | None = None) -> Tensor:
        """Summed weights (2,) of the answers' tokens and of their boxes: what the two sums of a loss are divided by."""
        return torch.stack([weights[labels != IGNORED].sum(), weights[self._answer_boxes(labels, policy)].sum()])

    def _answer_boxes(self, labels: Tensor, policy: Policy | None) -> Tensor:
        """Where (B, L) the true box of an answer begins; a sampled one is none."""
        if self.config.first_coordinate is None:
            return torch.zeros_like(labels, dtype=torch.bool)
        begins: Tensor = labels == self.config.first_coordinate + BOX
        return begins if policy is None else begins & ~policy.sampled

    def twin(self) -> VilamForConditionalGeneration:
        """A model of the same shape with random weights."""
        return VilamForConditionalGeneration(copy.deepcopy(self.config))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The weights of each part, without those of coordinates and pointing."""
        return {part: list(getattr(self, part).parameters()) for part in PARTS}

    def origin(self, part: str) -> dict[str, str]:
        """Where the weights that a part started from are from."""
        return dict(self.config.origins.get(part, {}))

    def manner(self) -> str:
        """For the model card."""
        bins = self.config.coordinate_bins
        form = "in digits" if bins is None else f"one token for each of {bins}"
        size = self.config.image_size
        return f"Pictures become squares of {size} pixels; coordinates are 0-1000 of a side, {form}."

    def recompute(self) -> None:
        """Let layers compute again on the way back what they would have to remember."""
        self.activation_checkpointing_enable()
        super().recompute()


def _feature_width(config: VilamConfig) -> int:
    """Of what the alignment layer reads."""
    vision, layers = config.vision_config, config.vision_layers
    if sizes := getattr(vision, "hidden_sizes", None):  # of each stage
        width = sum(sizes[layer - 1] for layer in layers or [len(sizes)])
    else:
        width = vision.hidden_size * len(layers or [None])
    return int(width) * config.merge**2


def register_auto_classes() -> None:
    """Make AutoConfig, AutoModel and AutoModelForImageTextToText open vilam's folders, its tower and its attention."""
    register_attention()
    AutoConfig.register("vilam_tower", VilamTowerConfig, exist_ok=True)
    AutoModel.register(VilamTowerConfig, VilamTower, exist_ok=True)
    AutoConfig.register("efficientnet_lite", LiteTowerConfig, exist_ok=True)
    AutoModel.register(LiteTowerConfig, LiteTower, exist_ok=True)
    AutoConfig.register("vilam", VilamConfig, exist_ok=True)
    AutoModel.register(VilamConfig, VilamForConditionalGeneration, exist_ok=True)
    AutoModelForImageTextToText.register(VilamConfig, VilamForConditionalGeneration, exist_ok=True)
