"""Opening whole vision-language models, and the folders that hold trained ones.

Such a folder is transformers' own, with what is not theirs beside it: ``stock.json`` (what was trained, from what) and
``adapters.safetensors``, the LoRA of a frozen language model. `export` merges these, and leaves nothing of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from vilam.config import ModelSettings
from vilam.errors import VilamError
from vilam.files import whole_folder
from vilam.models.adapters import ADAPTER, BASE, merge_adapters
from vilam.models.architectures import architecture
from vilam.models.stills import open_processor
from vilam.models.stock import StockModel, StockTokenizer

ABOUT, ADAPTERS = "stock.json", "adapters.safetensors"


def open_tokenizer(source: str) -> StockTokenizer:
    """The processor of a checkpoint; raises VilamError where its architecture is not known or its parts do not match.

    Pictures are not cropped: what is cut off could not be found, and places would be counted of what is left.
    """
    config = AutoConfig.from_pretrained(source)
    architecture(config.model_type)
    processor = open_processor(source, config.model_type)
    processor.image_processor = without_crop(processor.image_processor, config.model_type)
    tokenizer = StockTokenizer(processor, config)
    words, rows = len(tokenizer.tokenizer), config.get_text_config().vocab_size
    if words > rows:
        raise VilamError(f"its tokenizer has {words} tokens, the model {rows}: they do not match")
    return tokenizer


def without_crop(images: Any, model_type: str) -> Any:
    """An image processor that shows the whole picture: LLaVA's in the middle of a square, others' stretched to one."""
    if not getattr(images, "do_center_crop", False):
        return images
    settings = images.to_dict() | {"do_center_crop": False}
    side = settings["crop_size"]
    if model_type == "llava":
        return LlavaImageProcessorPil(**settings | {"do_pad": True, "size": {"shortest_edge": side["height"]}})
    return type(images)(**settings | {"size": {"height": side["height"], "width": side["width"]}})


def open_model(source: str, tokenizer: StockTokenizer, settings: ModelSettings) -> StockModel:
    """A checkpoint's model, of which ``settings`` say what is trained."""
    stock = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
    frozen = {
        "vision": settings.vision.frozen,
        "aligner": settings.freeze_aligner,
        "language": settings.language.frozen,
    }
    lora = settings.language.lora
    return StockModel(
        stock,
        tokenizer.processor,
        [part for part, is_frozen in frozen.items() if is_frozen],
        None if lora is None else lora.model_dump(),
        {part: {"checkpoint": source} for part in frozen},
    )


def save(model: StockModel, tokenizer: StockTokenizer, folder: Path) -> None:
    """Write what `load` opens bit for bit; transformers open it too, without the adapters."""
    weights = model.stock.state_dict()
    plain = {name.replace(BASE, ""): value for name, value in weights.items() if ADAPTER not in name}
    model.stock.save_pretrained(folder, state_dict=plain)
    tokenizer.processor.save_pretrained(folder)
    adapters = {name: value.contiguous() for name, value in weights.items() if ADAPTER in name}
    if adapters:
        save_file(adapters, folder / ADAPTERS)
    about = {"frozen": model.frozen, "lora": model.lora, "origins": model.origins}
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[StockModel, StockTokenizer]:
    """What `save` wrote."""
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    tokenizer = open_tokenizer(str(folder))
    stock = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    model = StockModel(stock, tokenizer.processor, about["frozen"], about["lora"], about["origins"])
    if model.lora is not None:
        _, unexpected = model.stock.load_state_dict(load_file(folder / ADAPTERS), strict=False)
        if unexpected:
            raise ValueError(f"{ADAPTERS} does not fit the model: {unexpected[0]}")
    return model, tokenizer


def export(model: StockModel, tokenizer: StockTokenizer, folder: Path) -> None:
    """Write a folder of transformers' alone, the adapters merged into the weights beside them."""
    merge_adapters(model.stock)
    with whole_folder(folder) as partial:
        model.stock.save_pretrained(partial)
        tokenizer.processor.save_pretrained(partial)
