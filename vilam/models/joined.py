"""Making a model of parts: a vision tower and a language model, pretrained or not, and an alignment layer between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from vilam.config import LoraSettings, ModelSettings, TowerSettings
from vilam.errors import VilamError
from vilam.models.adapters import add_adapters
from vilam.models.attention import LEAN
from vilam.models.images import pixel_statistics
from vilam.models.opening import first_line, opened_checkpoint
from vilam.models.packaged import provenance
from vilam.models.tokenization import GroundingTokenizer, train_tokenizer
from vilam.models.vilam import VilamConfig, VilamForConditionalGeneration

SPELLED = "one is at [0, 0, 1000, 1000] and its points are [[0, 1000], [1000, 0]] or so"
"""What any tokenizer must give back as it was; those that set a space before every piece do not."""
UNPACKABLE = ("gpt_neo",)
"""Language models that take position_ids but look at a window of places, whatever the mask says."""
FILES = {
    "vision": "its config.json, *.safetensors and preprocessor_config.json",
    "language": "its config.json, *.safetensors and tokenizer.json",
}
"""What of a hub's model is opened, by part."""


def join_tokenizer(settings: ModelSettings, texts: Iterable[str]) -> GroundingTokenizer:
    """The language model's own tokenizer, or for one from scratch a tokenizer trained on the instructions' texts."""
    bins = settings.coordinate_bins if settings.coordinates == "token" else None
    checkpoint = settings.language.checkpoint
    if checkpoint is None:
        return GroundingTokenizer(train_tokenizer(texts), bins)
    tokenizer = GroundingTokenizer(_load("language", checkpoint, AutoTokenizer.from_pretrained), bins)
    if tokenizer.decode(tokenizer.encode(SPELLED)) != SPELLED:
        raise VilamError(
            f"model.language.checkpoint {checkpoint}: its tokenizer loses spaces beside coordinates: use another one"
        )
    return tokenizer


def join_model(settings: ModelSettings, tokenizer: GroundingTokenizer, seed: int) -> VilamForConditionalGeneration:
    """A model with pretrained parts where the settings name checkpoints, and random ones elsewhere."""
    torch.manual_seed(seed)
    words = {} if settings.language.checkpoint else _words(tokenizer)
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
        origins=_origins({"vision": settings.vision, "language": settings.language}),
        **(_load("vision", settings.vision.checkpoint, pixel_statistics) if settings.vision.checkpoint else {}),
    )
    _check_words(config, tokenizer)
    model = _made(config)
    _check_packing(model)
    _check_image_size(model)
    for part, tower, loader in (
        ("vision", settings.vision, AutoModel),
        ("language", settings.language, AutoModelForCausalLM),
    ):
        if tower.checkpoint is not None:
            pretrained = _load(part, tower.checkpoint, loader.from_pretrained)
            getattr(model, part).load_state_dict(pretrained.state_dict())
    if settings.language.checkpoint is None:
        _spread_words(model)
    model.match_sizes()
    if settings.language.lora is not None:
        _adapt(model, settings.language.lora)
    return model


def _origins(towers: Mapping[str, TowerSettings]) -> dict[str, dict[str, str]]:
    return {part: provenance(tower.checkpoint) for part, tower in towers.items() if tower.checkpoint is not None}


def _adapt(model: VilamForConditionalGeneration, lora: LoraSettings) -> None:
    """Add adapters, after the pretrained weights have found the layers by their names."""
    model.config.lora = lora.model_dump()
    try:
        add_adapters(model.language, model.config.lora)
    except ValueError as error:
        raise VilamError(f"model.language.lora: {first_line(error)}") from error
    model.freeze()


def _spread_words(model: VilamForConditionalGeneration) -> None:
    """New word embeddings of size 1: smaller ones are driven about by each step of Adam (docs/tiny.md)."""
    if not model.config.text_config.tie_word_embeddings:  # else they are the output's weights too
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=1.0)


def _check_words(config: VilamConfig, tokenizer: GroundingTokenizer) -> None:
    """Every word of the tokenizer has an embedding; a language model may have more of them."""
    words, known = tokenizer.num_words, config.text_config.vocab_size
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


def _check_image_size(model: VilamForConditionalGeneration) -> None:
    """The vision tower takes pictures of this size, and all of each: what lies beyond its last patch would be lost."""
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


def _words(tokenizer: GroundingTokenizer) -> dict[str, Any]:
    """What a language model from scratch must know of its tokenizer; coordinates have embeddings of their own."""
    return {
        "vocab_size": tokenizer.num_words,
        "pad_token_id": tokenizer.pad_id,
        "eos_token_id": tokenizer.eos_id,
        "bos_token_id": None,
    }


def _tower_config(part: str, tower: TowerSettings, forced: dict[str, Any]) -> Any:
    if tower.checkpoint is not None:
        return _load(part, tower.checkpoint, AutoConfig.from_pretrained)
    try:
        return AutoConfig.for_model(tower.model_type, **{**tower.config, **forced})
    except Exception as error:  # each architecture has its own way to refuse values
        words = first_line(error.__cause__ or error)
        raise VilamError(f"model.{part}: {tower.model_type} with {tower.config}: {words}") from error


def _made(config: VilamConfig) -> VilamForConditionalGeneration:
    try:
        return VilamForConditionalGeneration(config)
    except Exception as error:  # each architecture has its own way to refuse sizes
        raise VilamError(f"model: its parts cannot be made as params.yaml says: {first_line(error)}") from error


def _load(part: str, checkpoint: str, loader: Any) -> Any:
    return opened_checkpoint(f"model.{part}.checkpoint", checkpoint, loader, FILES[part])
