"""Builds the model that the settings name, and writes and reads the folders of trained models.

What only Hugging Face VLMs need is imported where they are opened: a composed model answers sooner without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model as load_weights
from transformers import AutoTokenizer
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.logging import disable_progress_bar

from vilam.data.card import read_card, write_card
from vilam.data.records import DatasetCard
from vilam.errors import VilamError, first_line
from vilam.files import recover, replace_folder
from vilam.models.backbones.checkpoints import cache_folder, open_checkpoint
from vilam.models.card import CARD, model_card
from vilam.models.hf import ABOUT
from vilam.models.interface import GroundingModel, Tokens
from vilam.models.vilam.compose import compose_model, compose_tokenizer
from vilam.models.vilam.config import VilamConfig
from vilam.models.vilam.model import VilamForConditionalGeneration, register_auto_classes
from vilam.models.vilam.tokenization import GroundingTokenizer

if TYPE_CHECKING:
    from vilam.config import ModelSettings

RUN, SEEN = "run.json", "seen_images.txt"
FILES = "its config.json, *.safetensors, tokenizer.json, preprocessor_config.json and processor_config.json"
"""The files of a whole vision-language model that are opened."""

DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError, VilamError)
"""What opening a damaged folder raises: the files are read by five libraries."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The content of a model folder.

    card: of the data set on which the network was trained. info: its run and origin. seen: content hashes of the images
    on which it was trained (see `leaked_images` in vilam/stages/evaluate.py).
    """

    network: GroundingModel
    tokenizer: Tokens
    card: DatasetCard
    info: dict[str, Any]
    seen: frozenset[str] = frozenset()


def build_tokenizer(settings: ModelSettings, texts: Iterable[str]) -> Tokens:
    """The checkpoint's own tokenizer, or for a language model from scratch one that is trained on ``texts``.

    Raises VilamError if a checkpoint cannot be opened.
    """
    _prepare_transformers()
    if settings.checkpoint is None:
        return compose_tokenizer(settings, texts)
    from vilam.models.hf import folder as hf_folder

    pixels = settings.min_pixels, settings.max_pixels
    return open_checkpoint(
        "model.checkpoint", settings.checkpoint, lambda source: hf_folder.open_tokenizer(source, pixels), FILES
    )


def build_model(settings: ModelSettings, tokenizer: Tokens, seed: int) -> GroundingModel:
    """A Hugging Face VLM, or a composed model whose new weights depend on ``seed``.

    Raises VilamError if a checkpoint cannot be opened or the settings do not fit it.
    """
    _prepare_transformers()
    if isinstance(tokenizer, GroundingTokenizer):
        return compose_model(settings, tokenizer, seed)
    from vilam.models.hf import folder as hf_folder
    from vilam.models.hf.tokenizer import HFTokenizer

    assert isinstance(tokenizer, HFTokenizer) and settings.checkpoint is not None
    name, checkpoint = "model.checkpoint", settings.checkpoint
    lora = None if settings.language.lora is None else settings.language.lora.model_dump()
    vlm = open_checkpoint(name, checkpoint, lambda source: hf_folder.open_vlm(source, tokenizer, lora), FILES)
    model = hf_folder.make_model(vlm, tokenizer, settings, lora)
    open_checkpoint(name, checkpoint, lambda _: hf_folder.check_vision(model, tokenizer), FILES)
    return model


def save_model(loaded: LoadedModel, folder: Path) -> None:
    """Writes a model folder for from_pretrained and Predictor; an old one stays until the new one is complete.

    Raises VilamError if it cannot be written.
    """
    network, tokenizer = loaded.network, loaded.tokenizer
    with replace_folder(folder) as new:
        _save_network(network, tokenizer, new)
        write_card(loaded.card, new)
        (new / CARD).write_text(model_card(network, loaded.card, loaded.info), encoding="utf-8")
        (new / SEEN).write_text("".join(f"{digest}\n" for digest in sorted(loaded.seen)), encoding="utf-8")
        (new / RUN).write_text(json.dumps(loaded.info, indent=2) + "\n", encoding="utf-8")


def _save_network(network: GroundingModel, tokenizer: Tokens, folder: Path) -> None:
    if isinstance(network, VilamForConditionalGeneration):
        network.save_pretrained(folder)
        tokenizer.tokenizer.save_pretrained(folder)
        return
    from vilam.models.hf import folder as hf_folder
    from vilam.models.hf.model import HFModel
    from vilam.models.hf.tokenizer import HFTokenizer

    assert isinstance(network, HFModel) and isinstance(tokenizer, HFTokenizer)
    hf_folder.save(network, tokenizer, folder)


def keep_features(network: GroundingModel, settings: ModelSettings) -> None:
    """Caches the features of the vision tower on disk if ``settings.vision.cache`` is set.

    Raises VilamError if the model of ``settings.fine_tune_from`` has no frozen tower.
    """
    if settings.vision.cache:
        if not isinstance(network, VilamForConditionalGeneration) or "vision" not in network.config.frozen:
            name = f"model.fine_tune_from {settings.fine_tune_from}"
            raise VilamError(f"model.vision.cache: {name} has no frozen tower: set it to false")
        network.keep_features(cache_folder() / "features")


def load_model(folder: Path) -> LoadedModel:
    """Opens a model folder, or a Hugging Face VLM's that was not trained here.

    Raises VilamError if it is missing, incomplete or damaged.
    """
    recover(folder)
    if not (folder / RUN).is_file() and _is_untrained(folder):
        return _load_untrained(folder)
    if not (folder / RUN).is_file():
        raise VilamError(
            f"{folder}: no trained model here ({RUN} is missing): run the stage that writes it, take an "
            "experiment over (dvc exp apply), or name another model"
        )
    _prepare_transformers()
    try:
        network, tokenizer = _load_network(folder)
        info = json.loads((folder / RUN).read_text(encoding="utf-8"))
        if not isinstance(info, dict):
            raise ValueError(f"{RUN} holds no names and values")
        seen = (folder / SEEN).read_text(encoding="utf-8").split() if (folder / SEEN).is_file() else ()
        card = read_card(folder)
    except DAMAGED as error:
        raise VilamError(f"{folder}: damaged: {first_line(error)}: train or copy it again") from error
    return LoadedModel(network.eval(), tokenizer, card, info, frozenset(seen))


def _is_untrained(folder: Path) -> bool:
    try:
        content = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        is_composed = content.get("model_type", VilamConfig.model_type) == VilamConfig.model_type
        return not is_composed and not (folder / ABOUT).is_file()
    except (OSError, ValueError, AttributeError):
        return False


def _load_untrained(folder: Path) -> LoadedModel:
    """A checkpoint as it is: it knows no categories, and no image is known to have been trained on."""
    from vilam.config import ModelSettings

    settings = ModelSettings(checkpoint=str(folder))
    try:
        tokenizer = build_tokenizer(settings, ())
        network = build_model(settings, tokenizer, 0)
    except VilamError as error:  # no setting named the folder
        raise VilamError(f"{folder}: {str(error).removeprefix(f'model.checkpoint {folder}: ')}") from error
    return LoadedModel(network.eval(), tokenizer, DatasetCard("no data set of vilam", (), {}, (), (), {}), {})


def _load_network(folder: Path) -> tuple[GroundingModel, Tokens]:
    if (folder / ABOUT).is_file():
        from vilam.models.hf import folder as hf_folder

        return hf_folder.load(folder)
    network = _load_composed(folder)
    return network, GroundingTokenizer(AutoTokenizer.from_pretrained(folder), network.config.coordinate_bins)


def _load_composed(folder: Path) -> VilamForConditionalGeneration:
    """Opens a composed model; a small one, without pretrained parts, is not built on the meta device first.

    For that device torch imports SymPy, which takes longer than the answer to a question. The weights of some
    architectures have other names in files, which only transformers translates.
    """
    config, file = VilamConfig.from_pretrained(folder), folder / SAFE_WEIGHTS_NAME
    if not config.is_pretrained and config.lora is None:
        with torch.random.fork_rng(devices=[]):  # the weights that are replaced take no random numbers
            small = VilamForConditionalGeneration(config)
        with safe_open(file, "pt") as weights:
            is_translated = not small.state_dict().keys() >= {*weights.keys()}
        if not is_translated:
            load_weights(small, file)
            return small
    network: VilamForConditionalGeneration = VilamForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    network.freeze()  # transformers loads all weights with a gradient
    return network


def _prepare_transformers() -> None:
    """Registers vilam's classes with transformers, and turns off its progress bars beside `vilam.progress`."""
    register_auto_classes()
    disable_progress_bar()
