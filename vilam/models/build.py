"""The model that the settings ask for, of whatever family, and the folder that holds a trained one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from vilam.config import ModelSettings
from vilam.data.records import DatasetCard
from vilam.data.store import read_card, write_card
from vilam.errors import VilamError
from vilam.files import whole_folder
from vilam.models import stock_folder
from vilam.models.card import CARD, model_card
from vilam.models.family import GroundingModel, Tokens
from vilam.models.joined import join_model, join_tokenizer
from vilam.models.opening import first_line, opened_checkpoint
from vilam.models.packaged import cache_folder
from vilam.models.stock import StockModel, StockTokenizer
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration, register_auto_classes

RUN, SEEN = "run.json", "seen_images.txt"
FILES = "its config.json, *.safetensors, tokenizer.json, preprocessor_config.json and processor_config.json"
"""What of a whole model is opened."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a model folder holds.

    card: of the data set it was trained on. info: its run and how it came. seen: content hashes of the images that it
    was trained on (see vilam/data/leakage.py).
    """

    model: GroundingModel
    tokenizer: Tokens
    card: DatasetCard
    info: dict[str, Any]
    seen: frozenset[str] = frozenset()


def build_tokenizer(settings: ModelSettings, texts: Iterable[str]) -> Tokens:
    """A checkpoint's own tokenizer, or for a language model from scratch one that is trained on ``texts``."""
    _ready()
    if settings.checkpoint is None:
        return join_tokenizer(settings, texts)
    return opened_checkpoint("model.checkpoint", settings.checkpoint, stock_folder.open_tokenizer, FILES)


def build_model(settings: ModelSettings, tokenizer: Tokens, seed: int) -> GroundingModel:
    """A whole pretrained model, or one whose parts are joined here; raises VilamError where one cannot be had."""
    _ready()
    if isinstance(tokenizer, StockTokenizer):
        assert settings.checkpoint is not None
        return _open_whole(settings.checkpoint, tokenizer, settings)
    assert isinstance(tokenizer, GroundingTokenizer)
    return join_model(settings, tokenizer, seed)


def _open_whole(checkpoint: str, tokenizer: StockTokenizer, settings: ModelSettings) -> StockModel:
    own = settings.language.lora
    lora = None if own is None else own.model_dump()
    name = "model.checkpoint"
    stock = opened_checkpoint(name, checkpoint, lambda source: stock_folder.open_stock(source, tokenizer, lora), FILES)
    model = stock_folder.make_model(stock, tokenizer, settings, lora)
    opened_checkpoint(name, checkpoint, lambda _: stock_folder.check_sight(model, tokenizer), FILES)
    return model


def save_trained(trained: Trained, folder: Path) -> None:
    """Write a model folder that from_pretrained and Predictor open; what was there stays until the new one is whole."""
    with whole_folder(folder) as made:
        _save_model(trained.model, trained.tokenizer, made)
        write_card(trained.card, made)
        (made / CARD).write_text(model_card(trained.model, trained.card, trained.info), encoding="utf-8")
        (made / SEEN).write_text("".join(f"{each}\n" for each in sorted(trained.seen)), encoding="utf-8")
        (made / RUN).write_text(json.dumps(trained.info, indent=2) + "\n", encoding="utf-8")


def _save_model(model: GroundingModel, tokenizer: Tokens, folder: Path) -> None:
    if isinstance(model, StockModel):
        assert isinstance(tokenizer, StockTokenizer)
        stock_folder.save(model, tokenizer, folder)
        return
    model.save_pretrained(folder)
    tokenizer.tokenizer.save_pretrained(folder)


def keep_features(model: GroundingModel, settings: ModelSettings) -> None:
    """Keep the features of the vision tower in the user's cache, where the settings say so.

    Raises VilamError where ``settings.start`` has no frozen tower.
    """
    if settings.vision.cache:
        if not isinstance(model, VilamForConditionalGeneration) or "vision" not in model.config.frozen:
            raise VilamError(f"model.vision.cache: model.start {settings.start} has no frozen tower: set it to false")
        model.keep_features(cache_folder() / "features")


def load_trained(folder: Path) -> Trained:
    """Open a model folder; raises VilamError where it is missing, half-written or damaged."""
    if not (folder / RUN).is_file():
        raise VilamError(f"{folder}: no trained model here ({RUN} is missing): run the stage that writes it")
    _ready()
    try:
        model, tokenizer = _load_model(folder)
        info = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise VilamError(f"{folder}: damaged: {first_line(error)}: train or copy it again") from error
    seen = (folder / SEEN).read_text(encoding="utf-8").split() if (folder / SEEN).is_file() else ()
    return Trained(model.eval(), tokenizer, read_card(folder), info, frozenset(seen))


def _load_model(folder: Path) -> tuple[GroundingModel, Tokens]:
    if (folder / stock_folder.ABOUT).is_file():
        return stock_folder.load(folder)
    model = VilamForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    model.freeze()  # what transformers loads has gradients again
    return model, GroundingTokenizer(AutoTokenizer.from_pretrained(folder), model.config.coordinate_bins)


def _ready() -> None:
    """Make transformers know vilam's parts, and show no bars beside those of `vilam.progress`."""
    register_auto_classes()
    disable_progress_bar()
