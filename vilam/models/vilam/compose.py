"""Composes a model: a vision tower and a language model, each pretrained or not, and an alignment layer."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from vilam.errors import VilamError, first_line
from vilam.models.backbones.adapters import add_adapters
from vilam.models.backbones.attention import LEAN
from vilam.models.backbones.checkpoints import open_checkpoint, provenance
from vilam.models.backbones.images import pixel_statistics
from vilam.models.vilam.config import VilamConfig
from vilam.models.vilam.model import VilamForConditionalGeneration
from vilam.models.vilam.reading import PROBED, find_sharing
from vilam.models.vilam.tokenization import GroundingTokenizer, train_tokenizer

if TYPE_CHECKING:
    from vilam.config import LoraSettings, ModelSettings, TowerSettings

SAMPLE_TEXT = "one is at [0, 0, 1000, 1000] and its points are [[0, 1000], [1000, 0]] or so"
"""A text that a tokenizer must return unchanged; those that put a space before every piece do not."""
UNPACKABLE = ("gpt_neo",)
"""Language models that take position_ids but attend to a window of tokens and ignore the mask there."""
FILES = {
    "vision": "its config.json, *.safetensors and preprocessor_config.json",
    "language": "its config.json, *.safetensors and tokenizer.json",
}
"""The files of a checkpoint that are opened, by part."""


def compose_tokenizer(settings: ModelSettings, texts: Iterable[str]) -> GroundingTokenizer:
    """The language model's own tokenizer, or if it has no checkpoint a tokenizer trained on the instructions' texts.

    Raises VilamError if the checkpoint cannot be loaded or its tokenizer loses spaces.
    """
    bins = settings.coordinate_bins if settings.coordinates == "token" else None
    checkpoint = settings.language.checkpoint
    if checkpoint is None:
        return GroundingTokenizer(train_tokenizer(texts), bins)
    tokenizer = GroundingTokenizer(_load("language", checkpoint, AutoTokenizer.from_pretrained), bins)
    if tokenizer.decode(tokenizer.encode(SAMPLE_TEXT)) != SAMPLE_TEXT:
        raise VilamError(
            f"model.language.checkpoint {checkpoint}: its tokenizer loses spaces beside coordinates: use another one"
        )
    return tokenizer


def compose_model(settings: ModelSettings, tokenizer: GroundingTokenizer, seed: int) -> VilamForConditionalGeneration:
    """A model with pretrained parts if the settings name checkpoints, and random weights in the others.

    Raises VilamError if a checkpoint cannot be loaded or the parts do not fit each other.
    """
    torch.manual_seed(seed)
    config = compose_config(settings, tokenizer)
    try:
        model = VilamForConditionalGeneration(config)
    except Exception as error:  # each architecture has its own way to refuse sizes
        raise VilamError(f"model: its parts cannot be made as params.yaml says: {first_line(error)}") from error
    _check_packing(model)
    _check_image_size(model)
    _check_language(model)
    for part, tower, loader in (
        ("vision", settings.vision, AutoModel),
        ("language", settings.language, AutoModelForCausalLM),
    ):
        if tower.checkpoint is not None:
            pretrained = _load(part, tower.checkpoint, loader.from_pretrained)
            getattr(model, part).load_state_dict(pretrained.state_dict())
    if settings.language.checkpoint is None and not config.text_config.tie_word_embeddings:
        # Smaller word embeddings move too far in each step of Adam (docs/tiny.md). Tied ones are output weights too.
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=1.0)
    model.match_sizes()
    _find_sharing(model)
    if settings.language.lora is not None:
        add_lora(model, settings.language.lora)
    return model


def compose_config(settings: ModelSettings, tokenizer: GroundingTokenizer) -> VilamConfig:
    """The config of a model, without how its instructions share their image (``sharing``) and without adapters.

    Of checkpoints, only the small files are read. Raises VilamError if they cannot be or do not fit the tokenizer.
    """
    words = {} if settings.language.checkpoint else _vocabulary(tokenizer)
    config = VilamConfig(
        vision_config=_tower_config("vision", settings.vision, {}),
        text_config=_tower_config("language", settings.language, words),
        aligner=settings.aligner,
        num_queries=settings.num_queries,
        coordinate_bins=tokenizer.bins,
        first_coordinate=tokenizer.first_coordinate,
        image_size=settings.image_size,
        vision_layers=settings.vision.layers,
        merge=settings.merge,
        grounder=settings.grounder,
        first_token=tokenizer.first_id if settings.language.checkpoint else None,
        attention=settings.attention,
        frozen=settings.frozen_parts,
        origins={
            part: provenance(tower.checkpoint)
            for part, tower in (("vision", settings.vision), ("language", settings.language))
            if tower.checkpoint is not None
        },
        **(_load("vision", settings.vision.checkpoint, pixel_statistics) if settings.vision.checkpoint else {}),
    )
    _check_vocabulary(config, tokenizer)
    return config


def add_lora(model: VilamForConditionalGeneration, lora: LoraSettings) -> None:
    """Adds adapters; pretrained weights must be loaded before, because adapters rename the layers.

    Raises VilamError if a target matches no layer.
    """
    model.config.lora = lora.model_dump()
    try:
        add_adapters(model.language, model.config.lora)
    except ValueError as error:
        raise VilamError(f"model.language.lora: {first_line(error)}") from error
    model.freeze()


def _check_vocabulary(config: VilamConfig, tokenizer: GroundingTokenizer) -> None:
    """Every word of the tokenizer needs an embedding; a language model may have more of them."""
    words, known = tokenizer.vocab_size, config.text_config.vocab_size
    if words > known:
        raise VilamError(f"model.language: its tokenizer has {words} tokens, the model {known}: they do not match")


def _check_packing(model: VilamForConditionalGeneration) -> None:
    positions = signature(model.language.get_decoder().forward).parameters
    name = model.config.text_config.model_type
    if "position_ids" not in positions or name in UNPACKABLE:
        raise VilamError(f"model.language: {name} cannot pack instructions: choose one such as llama, qwen2 or gpt2")
    softcap = getattr(model.config.text_config, "attn_logit_softcapping", None)
    if model.config.attention == LEAN and (softcap is not None or name == "gpt_oss"):
        raise VilamError(f"model.attention: {LEAN} does not know the attention of {name}: use eager")


def _find_sharing(model: VilamForConditionalGeneration) -> None:
    """Find how the language model reads packed instructions, none of which may see another."""
    positions, first = model.image_positions(PROBED[0])
    model.eval()
    sharing = find_sharing(model.language.get_decoder(), positions, first)
    model.train()
    if sharing is None:
        name = model.config.text_config.model_type
        raise VilamError(f"model.language: {name} cannot continue an image prefix: choose one such as llama or qwen2")
    model.config.sharing = sharing


def _check_image_size(model: VilamForConditionalGeneration) -> None:
    """The vision tower must take images of this size, and whole ones: it drops pixels beyond its last patch."""
    size = model.config.image_size
    patch = getattr(model.config.vision_config, "patch_size", None)
    if isinstance(patch, int) and size % patch:
        raise VilamError(
            f"model.image_size {size}: the patches of model.vision are {patch} px: choose a multiple of it"
        )
    model.eval()
    try:
        with torch.no_grad():
            model.encode_images(torch.zeros(1, 3, size, size))
    except Exception as error:  # each architecture has its own way to refuse sizes
        raise VilamError(f"model.image_size {size}: does not fit model.vision: {first_line(error)}") from error
    model.train()


def _check_language(model: VilamForConditionalGeneration) -> None:
    """Some sizes, such as numbers of heads that do not divide, are refused only as a text is read."""
    size, text = model.config.image_size, torch.tensor([[0, 1]])
    model.eval()
    try:
        with torch.no_grad():
            model(pixel_values=torch.zeros(1, 3, size, size), input_ids=text, segments=torch.ones_like(text))
    except Exception as error:  # each architecture has its own way to refuse sizes
        name = model.config.text_config.model_type
        raise VilamError(f"model.language: the sizes of {name} do not fit each other: {first_line(error)}") from error
    model.train()


def _vocabulary(tokenizer: GroundingTokenizer) -> dict[str, Any]:
    """The config of a language model from scratch for its tokenizer; coordinates have embeddings of their own."""
    return {
        "vocab_size": tokenizer.vocab_size,
        "pad_token_id": tokenizer.pad_id,
        "eos_token_id": tokenizer.eos_id,
        "bos_token_id": None,
    }


def _tower_config(part: str, tower: TowerSettings, forced: dict[str, Any]) -> Any:
    if tower.checkpoint is not None:
        return _load(part, tower.checkpoint, AutoConfig.from_pretrained)
    try:
        config = AutoConfig.for_model(tower.model_type, **{**tower.config, **forced})
        default = AutoConfig.for_model(tower.model_type)
    except Exception as error:  # each architecture has its own way to refuse values
        problem = first_line(error.__cause__ or error)
        raise VilamError(f"model.{part}: {tower.model_type} with {tower.config}: {problem}") from error
    for name in tower.config:  # transformers keeps what it does not know as an attribute that nothing reads
        if hasattr(config, name) and not hasattr(default, name):
            raise VilamError(f"model.{part}.config.{name}: {tower.model_type} has no such setting: check its spelling")
    return config


def _load(part: str, checkpoint: str, loader: Any) -> Any:
    return open_checkpoint(f"model.{part}.checkpoint", checkpoint, loader, FILES[part])
