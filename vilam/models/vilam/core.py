"""The composed model from pixels and tokens to logits: vision tower -> alignment layer -> language model -> heads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from vilam.models.backbones.adapters import add_adapters
from vilam.models.backbones.feature_cache import FeatureCache, tower_key
from vilam.models.backbones.features import merged, patch_features
from vilam.models.coordinate_formats import NUM_MARKS
from vilam.models.interface import SoftAnswers
from vilam.models.vilam.aligner import make_aligner
from vilam.models.vilam.config import VilamConfig
from vilam.models.vilam.coordinates import CoordinateTokens
from vilam.models.vilam.grounder import REGION_GAIN, Grounder, latest_boxes, patch_weights, running_means
from vilam.models.vilam.reading import Sharing, read_packed, read_rows
from vilam.models.vilam.soft import SoftTokens, expected_coordinates, straight_through
from vilam.models.vilam.text import PackedText


class VilamModel(PreTrainedModel):  # type: ignore[misc]
    """The parts of the composed model, and how they are connected.

    A sequence is an image prefix and the text of packed instructions (see `PackedText`). Each instruction reads the
    prefix and itself (vilam/models/vilam/reading.py), and its positions start again behind the prefix, so that a packed
    instruction has the same logits as alone.

    Shapes: B images, P image tokens, L text tokens, H hidden size, W features of the vision tower, V words and added
    coordinate tokens. N is any number of tokens.
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
        hidden = config.text_config.hidden_size
        self.aligner = make_aligner(config.aligner, config.feature_width, hidden, config.num_queries)
        self.coordinates = CoordinateTokens(config.coordinate_bins or 2, hidden, config.is_pretrained)
        self.grounder = Grounder(hidden, config.is_pretrained) if config.grounder else None
        self.feature_cache: FeatureCache | None = None
        if config.lora is not None:
            add_adapters(self.language, config.lora)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        # The towers initialise themselves; the alignment layer keeps torch's initialisation.
        if isinstance(module, nn.Linear | nn.Embedding | nn.LayerNorm | nn.Conv2d):
            return
        super()._init_weights(module)

    @torch.no_grad()
    def match_sizes(self) -> None:
        """Scales the image and coordinate tokens of a new model to the size of its word embeddings."""
        size = float(self.get_input_embeddings().weight.float().square().mean().sqrt())
        if self.config.is_pretrained:
            self.config.word_size = size
        self.coordinates.resize(size)
        self.aligner.resize(size)

    def keep_features(self, folder: Path) -> None:
        """Caches the features of the vision tower, which must be frozen, in a folder of this tower's own."""
        dtype = next(weights.dtype for weights in self.vision.parameters() if weights.dim() > 1)
        key = {"config": self.config.vision_config.to_dict(), "layers": self.config.vision_layers, "dtype": str(dtype)}
        self.feature_cache = FeatureCache(folder / tower_key(self.vision, key), dtype)

    def get_input_embeddings(self) -> nn.Embedding:
        """The language model's word embeddings; coordinate tokens have their own (see CoordinateTokens)."""
        return self.language.get_input_embeddings()  # type: ignore[no-any-return]

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Normalised pixels (B, 3, S, S) -> image prefix (B, P, H)."""
        pixel_values = pixel_values.to(self.device)
        encode = partial(patch_features, self.vision, layers=self.config.vision_layers)
        cache = self.feature_cache
        features = cache.features(pixel_values, encode) if cache else encode(pixel_values)  # (B, rows, columns, W)
        features = merged(features, self.config.merge)  # (B, rows / merge, columns / merge, W merge^2)
        positions = self.coordinates.patch_positions(*features.shape[1:3])  # (rows columns / merge^2, H)
        prefix: Tensor = self.aligner(features.flatten(1, 2), positions)  # (B, P, H)
        return prefix

    def read(self, prefix: Tensor, text: PackedText) -> tuple[Tensor, Tensor | None]:
        """Language model and grounder: states (B, L, H) that score the token after each text token, and pointing.

        The pointing (B, L, P) has log probabilities of the image tokens; None without a grounder.
        """
        embeds = self.embed_text(prefix, text)  # (B, L, H)
        before = self.before_text(prefix)  # (B, P, H), or (B, 1 + P, H) with a first token
        positions, first = self.image_positions(before.shape[1])
        decoder = self.language.get_decoder()
        if self.config.sharing == "mask":
            hidden = read_packed(decoder, before, embeds, text.segments, positions, first)
        else:
            is_cached = not (self.training and self.is_activation_checkpointing)
            sharing: Sharing = "fork" if is_cached else "rows"
            hidden = read_rows(decoder, before, embeds, text.segments, positions, first, sharing)
        return self.ground(hidden, prefix, text)  # (B, L, H), (B, L, P)

    def before_text(self, prefix: Tensor) -> Tensor:
        """The embeddings before the text: the image prefix (B, P, H), after a first token if there is one."""
        if self.config.first_token is None:
            return prefix
        ids = torch.full((len(prefix), 1), self.config.first_token, device=prefix.device)
        return torch.cat([self.get_input_embeddings()(ids).to(prefix.dtype), prefix], dim=1)

    def image_positions(self, length: int) -> tuple[Tensor, int]:
        """Positions (length,) of the tokens before the text, and the position at which the text begins.

        In the token form the coordinates of a patch are in its embedding, and a language model trained from scratch has
        all patches at position 0: each text token is equally far from every patch. A pretrained one counts patches 0,
        1, 2 ... like words, and so does the text form. It also gets the first token of all its training texts. Without
        that token, or with all patches at one position, it gives almost any next word the same probability
        (docs/backbones.md).
        """
        if self.config.first_coordinate is None or self.config.is_pretrained:
            return torch.arange(length, device=self.device), length
        return torch.zeros(length, dtype=torch.long, device=self.device), 1

    def embed(self, input_ids: Tensor) -> Tensor:
        """Token ids (B, L), including coordinates -> embeddings (B, L, H)."""
        first = self.config.first_coordinate
        words = self.get_input_embeddings()
        if first is None:
            return words(input_ids)  # type: ignore[no-any-return]
        is_coordinate = input_ids >= first
        coordinates = nn.functional.embedding((input_ids - first).clamp_min(0), self.coordinates.table())
        return torch.where(is_coordinate.unsqueeze(-1), coordinates, words(input_ids.masked_fill(is_coordinate, 0)))

    def embed_text(self, prefix: Tensor, text: PackedText, last: int | None = None) -> Tensor:
        """Embeddings (B, L, H) of a text behind an image prefix, or of its ``last`` tokens only.

        With a grounder, tokens after a box also hold the image tokens inside it. Soft tokens need the whole text.
        """
        start = 0 if last is None else text.input_ids.shape[1] - last
        embeds = self.embed(text.input_ids[:, start:]).to(prefix.dtype)  # (B, L, H)
        if text.soft is not None:
            embeds = text.soft.embed(embeds)
        if self.grounder is None:
            return embeds
        return embeds + REGION_GAIN * self.inside(prefix, text, embeds.shape[1])[0]

    def inside(self, prefix: Tensor, text: PackedText, last: int) -> tuple[Tensor, Tensor]:
        """The mean image token (B, last, H) inside the latest box at each of the last tokens; 0 if there is no box.

        Also whether there is one: (B, last, 1).
        """
        boxes, known = self.boxes(text)  # (B, L, 4), (B, L)
        is_known = known[:, -last:].unsqueeze(-1)  # (B, last, 1)
        weights = patch_weights(boxes[:, -last:], prefix.shape[1]) * is_known  # (B, last, P)
        return weights.to(prefix.dtype) @ prefix, is_known

    def boxes(self, text: PackedText) -> tuple[Tensor, Tensor]:
        """The latest complete box (B, L, 4) at each token of a text, and whether there is one (B, L)."""
        return latest_boxes(text, self.config.first_coordinate, self.config.coordinate_bins)

    def ground(self, hidden: Tensor, prefix: Tensor, text: PackedText) -> tuple[Tensor, Tensor | None]:
        """States (B, L, H) with the image tokens at which their text points, and the pointing (B, L, P)."""
        if self.grounder is None:
            return hidden, None
        words, is_word = self.embed_words(text)  # (B, L, H), (B, L)
        if text.soft is not None:
            words = text.soft.embed(words)
        means = running_means(words, is_word, text.segments)  # (B, L, H)
        pointed = self.grounder.point(hidden, means, self.grounder.keys(prefix))  # (B, L, P)
        return self.attend(hidden, pointed, prefix, text), pointed

    def embed_words(self, text: PackedText) -> tuple[Tensor, Tensor]:
        """Word embeddings (B, L, H) of a text, and which tokens are words (B, L): no coordinates and no padding."""
        is_word = (text.input_ids < self.config.first_coordinate) & (text.segments > 0)
        return self.get_input_embeddings()(text.input_ids.masked_fill(~is_word, 0)), is_word

    def attend(self, hidden: Tensor, pointed: Tensor, prefix: Tensor, text: PackedText) -> Tensor:
        """States (B, N, H) of a text's last N tokens with the image tokens at which they point.

        Beside a pretrained language model these are two states, (B, N, 2 H): see `Grounder.attend_twice`.
        """
        assert self.grounder is not None
        if self.grounder.words_out is None:
            return self.grounder.attend(hidden, pointed, prefix)
        size = self.config.word_size
        inside, known = self.inside(prefix, text, hidden.shape[1])
        return self.grounder.attend_twice(hidden, pointed, prefix / size, inside / size, known)

    def score(self, hidden: Tensor) -> Tensor:
        """States (N, H), or (N, 2 H) beside a pretrained language model -> logits (N, V): words, then coordinates."""
        of_words, of_coordinates = hidden, hidden
        if self.grounder is not None and self.grounder.words_out is not None:
            of_words, of_coordinates = hidden.chunk(2, dim=-1)  # (N, H) each
        words = self.language.get_output_embeddings()(of_words)  # (N, words)
        first = self.config.first_coordinate
        if first is None:
            return words  # type: ignore[no-any-return]
        return torch.cat([words[:, :first], self.coordinates.scores(of_coordinates)], dim=-1)

    def soften(self, prefix: Tensor, soft_answers: SoftAnswers) -> SoftTokens:
        """Reads the first legs with gradient; returns their chosen tokens as soft tokens of the second legs."""
        hidden, _ = self.read(prefix, PackedText(soft_answers.input_ids, soft_answers.segments))  # (B, L1, H)
        rows, columns = soft_answers.source.unbind(1)
        logits = self.score(hidden[rows, columns - 1])  # (M, V): the state before a token predicts it
        tokens = soft_answers.input_ids[rows, columns]  # (M,)
        first = self.config.first_coordinate
        num_words = logits.shape[1] if first is None else first
        is_coordinate = tokens >= num_words
        table = self.get_input_embeddings().weight[:num_words]
        embeddings = straight_through(logits[:, :num_words], tokens.masked_fill(is_coordinate, 0), table)  # (M, H)
        coordinates = embeddings.new_zeros(len(tokens))
        if first is not None:
            offsets = tokens.masked_fill(~is_coordinate, first + NUM_MARKS) - first
            coordinates, axes = expected_coordinates(logits[:, first:], offsets, self.coordinates.bins)
            embedded = self.coordinates.embed_coordinates(coordinates, axes)  # (M, H)
            embeddings = torch.where(is_coordinate.unsqueeze(1), embedded, embeddings)
        return SoftTokens(soft_answers.target, embeddings, coordinates)
