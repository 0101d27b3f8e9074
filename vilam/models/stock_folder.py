"""Opening whole vision-language models, and the folders that hold trained ones.

Such a folder is transformers' own, with what is not theirs beside it: ``stock.json`` (what was trained, from what) and
``adapters.safetensors``, the LoRA of a frozen language model. `export` merges these, and leaves nothing of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from vilam.config import ModelSettings
from vilam.errors import VilamError
from vilam.files import whole_folder
from vilam.models.adapters import ADAPTER, BASE, merge_adapters
from vilam.models.architectures import architecture
from vilam.models.conventions import Frame
from vilam.models.coordinates import SCALE
from vilam.models.family import Exchange
from vilam.models.opening import first_line
from vilam.models.quantised import floats, four_bits
from vilam.models.stills import open_processor
from vilam.models.stock import StockModel, StockTokenizer
from vilam.models.vilam import PARTS

SPELLED = "the red circle in 1234567890"
"""What any tokenizer must give back: transformers makes an empty one where its files are missing."""
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
    if tokenizer.decode_answer(tokenizer.encode_answer(SPELLED)) != SPELLED:
        raise VilamError("its tokenizer cannot write plain words: put its tokenizer.json beside its config.json")
    try:
        tokenizer.prompt("Where is it?", Frame.filled(SCALE, SCALE))
    except ValueError:
        raise VilamError("it has no chat template: put its chat_template.jinja beside its config.json") from None
    second = getattr(processor, "qformer_tokenizer", None)
    if second is not None and len(second) > config.qformer_config.vocab_size:
        raise VilamError("its Q-Former's tokenizer does not match: put its qformer_tokenizer folder there")
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


def open_stock(source: str, tokenizer: StockTokenizer, lora: Mapping[str, Any] | None) -> Any:
    """The model of a checkpoint, in 4 bits where ``lora`` says so; raises ValueError where weights are missing."""
    known = tokenizer.known
    quantised = lora is not None and lora["bits"] is not None
    settings = {"quantization_config": four_bits((*known.vision, *known.aligner))} if quantised else {}
    stock, told = AutoModelForImageTextToText.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, **settings
    )
    for name in (*told["missing_keys"], *told["mismatched_keys"]):  # transformers would draw them at random
        raise ValueError(f"its weights lack {name}, or have it in another shape")
    return stock


def make_model(
    stock: Any, tokenizer: StockTokenizer, settings: ModelSettings, lora: dict[str, Any] | None
) -> StockModel:
    """A checkpoint's model, of which ``settings`` say what is trained; raises VilamError where LoRA finds no layer."""
    origins = {part: {"checkpoint": str(settings.checkpoint)} for part in PARTS}
    try:
        return StockModel(stock, tokenizer.processor, settings.frozen_parts, lora, origins)
    except ValueError as error:
        raise VilamError(f"model.language.lora: {first_line(error)}") from error


@torch.no_grad()
def check_sight(model: StockModel, tokenizer: StockTokenizer) -> None:
    """Raise ValueError where a model says the same of any picture.

    Without its processor's settings some processors leave the picture out of the text, and nothing complains.
    """
    pictures = model.eval().see([Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")])
    exchange = Exchange("What is this?", tuple(tokenizer.encode_answer("a picture")))
    packed = model.pack(tokenizer, pictures, [[exchange], [exchange]])
    first, second = model(**packed.inputs, labels=packed.labels).logits.chunk(2)
    if torch.equal(first, second):
        raise ValueError("it says the same of any picture")


def save(model: StockModel, tokenizer: StockTokenizer, folder: Path) -> None:
    """Write what `load` opens bit for bit; transformers open it too, without the adapters."""
    stock = _of_floats(model)
    weights = stock.state_dict()
    plain = {name.replace(BASE, ""): value for name, value in weights.items() if ADAPTER not in name}
    stock.save_pretrained(folder, state_dict=plain)
    tokenizer.processor.save_pretrained(folder)
    adapters = {name: value.contiguous() for name, value in weights.items() if ADAPTER in name}
    if adapters:
        save_file(adapters, folder / ADAPTERS)
    about = {"frozen": model.frozen, "lora": model.lora, "origins": model.origins}
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _of_floats(model: StockModel) -> Any:
    """The stock model, or where it is held in 4 bits a copy of the floats that these mean.

    They are the same 4 bits again when they are opened so.
    """
    if model.lora is None or model.lora["bits"] is None:
        return model.stock
    copied = model.twin().stock
    copied.load_state_dict(floats(model.stock))
    return copied


def load(folder: Path) -> tuple[StockModel, StockTokenizer]:
    """What `save` wrote."""
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    tokenizer = open_tokenizer(str(folder))
    stock = open_stock(str(folder), tokenizer, about["lora"])
    model = StockModel(stock, tokenizer.processor, about["frozen"], about["lora"], about["origins"])
    if model.lora is not None:
        _, unexpected = model.stock.load_state_dict(load_file(folder / ADAPTERS), strict=False)
        if unexpected:
            raise ValueError(f"{ADAPTERS} does not fit the model: {unexpected[0]}")
    return model, tokenizer


def export(model: StockModel, tokenizer: StockTokenizer, folder: Path) -> None:
    """Write a folder of transformers' alone, the adapters merged into the weights beside them."""
    stock = _of_floats(model)
    merge_adapters(stock)
    with whole_folder(folder) as partial:
        stock.save_pretrained(partial)
        tokenizer.processor.save_pretrained(partial)
