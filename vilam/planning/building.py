"""The model of the settings without its weights: of a checkpoint only the small files are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText

from vilam.config import ModelSettings
from vilam.errors import VilamError, first_line
from vilam.inference.resolve import resolve_model
from vilam.models.backbones.adapters import ADAPTER
from vilam.models.backbones.checkpoints import open_checkpoint
from vilam.models.build import FILES, build_tokenizer
from vilam.models.forking import ignores_padding, new_cache
from vilam.models.hf.folder import make_model
from vilam.models.hf.model import HFModel
from vilam.models.hf.tokenizer import HFTokenizer
from vilam.models.interface import GroundingModel, Tokens
from vilam.models.vilam.compose import add_lora, compose_config
from vilam.models.vilam.model import VilamForConditionalGeneration
from vilam.models.vilam.tokenization import GroundingTokenizer
from vilam.planning.pretence import Pretence

NF4 = 0.5 + 4 / 64
"""Bytes of a weight in 4 bits, with its part of a float32 for each block of 64 (bitsandbytes' NF4)."""


def pretended_model(
    settings: ModelSettings, texts: Iterable[str], root: Path, pretence: Pretence
) -> tuple[GroundingModel, Tokens]:
    """The model and its tokenizer; texts: from which a new tokenizer learns its words.

    Adapters are made with their numbers: peft moves them with `Module.to`, which fails for tensors that have none. Only
    a trained model to fine-tune (``fine_tune_from``) is read whole. Raises VilamError as `build_model` does.
    """
    if settings.fine_tune_from is not None:
        loaded = resolve_model("model.fine_tune_from", settings.fine_tune_from, root, settings).open()
        pretence.empty_out(loaded.network)
        return loaded.network, loaded.tokenizer
    tokenizer = build_tokenizer(settings, texts)
    network: GroundingModel
    if isinstance(tokenizer, GroundingTokenizer):
        network = _composed(settings, tokenizer, pretence)
    else:
        network = _whole(settings, tokenizer, pretence)
    pretence.empty_out(network)
    return network, tokenizer


def _composed(
    settings: ModelSettings, tokenizer: GroundingTokenizer, pretence: Pretence
) -> VilamForConditionalGeneration:
    """As `compose_model` makes it; how instructions share their image is presumed from the kinds of its layers."""
    config = compose_config(settings, tokenizer)
    try:
        with pretence:
            network = VilamForConditionalGeneration(config)
    except Exception as error:  # each architecture has its own way to refuse sizes
        raise VilamError(f"model: its parts cannot be made as params.yaml says: {first_line(error)}") from error
    cache = new_cache(network.language.get_decoder().config)
    network.config.sharing = "mask" if ignores_padding(cache) else "fork"
    if settings.language.lora is not None:
        add_lora(network, settings.language.lora)
    return network


def _whole(settings: ModelSettings, tokenizer: Any, pretence: Pretence) -> HFModel:
    assert isinstance(tokenizer, HFTokenizer) and settings.checkpoint is not None
    with pretence:
        vlm = open_checkpoint("model.checkpoint", settings.checkpoint, _from_config, FILES)
    lora = None if settings.language.lora is None else settings.language.lora.model_dump()
    return make_model(vlm, tokenizer, settings, lora)


def _from_config(source: str) -> Any:
    return AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(source), dtype=torch.float32)


def in_four_bits(network: GroundingModel) -> list[torch.Tensor]:
    """The matrices that ``language.lora.bits: 4`` holds in 4 bits; none without it."""
    if not isinstance(network, HFModel) or network.lora is None or network.lora["bits"] is None:
        return []
    head = network.vlm.get_output_embeddings()
    return [
        module.weight
        for name, module in network.vlm.named_modules()
        if isinstance(module, nn.Linear)
        and module is not head
        and ADAPTER not in name
        and network.architecture.part(name) == "language"
    ]
