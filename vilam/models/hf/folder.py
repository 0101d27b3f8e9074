"""Opens Hugging Face VLMs, and writes and reads the folders that hold trained ones.

Such a folder is in transformers' own layout, with all small files that the checkpoint came with, and with two files of
vilam's: ``vilam_hf.json`` says what was trained and from which checkpoint, and ``adapters.safetensors`` holds the LoRA
of a frozen language model. `export` merges the adapters and writes none of vilam's files.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText

from vilam.config import ModelSettings, checked
from vilam.errors import VilamError, first_line
from vilam.files import replace_folder
from vilam.models.backbones.adapters import ADAPTER, BASE, dequantized, four_bits, merge_adapters
from vilam.models.coordinate_formats import Frame
from vilam.models.hf import ABOUT
from vilam.models.hf.architectures import Architecture, architecture_of
from vilam.models.hf.conventions import Convention
from vilam.models.hf.kept_files import read_kept, write_kept, write_processor
from vilam.models.hf.model import HFModel
from vilam.models.hf.processors import open_processor
from vilam.models.hf.tokenizer import HFTokenizer
from vilam.models.interface import PARTS, Turn
from vilam.tasks.answers import SCALE

logger = logging.getLogger(__name__)

SAMPLE_TEXT = "the red circle in 1234567890"
"""A text that any tokenizer must return; transformers makes an empty tokenizer if its files are missing."""
ADAPTERS = "adapters.safetensors"


def open_tokenizer(source: str, pixels: tuple[int | None, int | None] = (None, None)) -> HFTokenizer:
    """The processor of a checkpoint, which does not crop images: objects in the cut parts could not be found.

    pixels: the smallest and the largest number of a picture's pixels; None: as the checkpoint says.
    Raises VilamError if its architecture is not known or its parts do not match.
    """
    config = AutoConfig.from_pretrained(source)
    architecture = saved_architecture(Path(source)) or architecture_of(config.model_type)
    processor = open_processor(source, config.model_type)
    processor.image_processor = without_crop(processor.image_processor, config.model_type)
    set_pixels(processor.image_processor, *pixels)
    tokenizer = HFTokenizer(processor, config, architecture)
    tokenizer.kept = read_kept(source)
    if tokenizer.decode_answer(tokenizer.encode_answer(SAMPLE_TEXT)) != SAMPLE_TEXT:
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


def saved_architecture(folder: Path) -> Architecture | None:
    """The one that a trained model was saved with, whatever the conventions say now; None if the folder holds none."""
    if not (folder / ABOUT).is_file():
        return None
    convention = json.loads((folder / ABOUT).read_text(encoding="utf-8")).get("convention")
    return None if convention is None else Architecture(checked(Convention, convention, folder / ABOUT))


def without_crop(image_processor: Any, model_type: str) -> Any:
    """An image processor that keeps the whole image: LLaVA's pads it to a square, others stretch it to one."""
    if not getattr(image_processor, "do_center_crop", False):
        return image_processor
    settings = image_processor.to_dict() | {"do_center_crop": False}
    side = settings["crop_size"]
    if model_type == "llava":
        by = "Pil" if type(image_processor).__name__.endswith("Pil") else ""  # else torchvision: as it is opened again
        padding = getattr(transformers, f"LlavaImageProcessor{by}")
        return padding(**settings | {"do_pad": True, "size": {"shortest_edge": side["height"]}})
    return type(image_processor)(**settings | {"size": {"height": side["height"], "width": side["width"]}})


def set_pixels(image_processor: Any, least: int | None, most: int | None) -> None:
    """Bound the pixels of a picture, which is resized; raises VilamError if the processor has no such bounds."""
    given = {"shortest_edge": least, "longest_edge": most}  # numbers of pixels in such a processor, and no edges
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return
    if "max_pixels" not in image_processor.valid_kwargs.__annotations__:
        name = type(image_processor).__name__
        raise VilamError(f"{name} takes no number of pixels: set model.min_pixels and model.max_pixels to null")
    size = {**dict(image_processor.size), **changes}
    if size["shortest_edge"] > size["longest_edge"]:
        told = f"{size['shortest_edge']} to {size['longest_edge']} pixels"
        raise VilamError(f"the checkpoint's own bounds make it {told}: set both model.min_pixels and model.max_pixels")
    image_processor.size = type(image_processor.size)(**size)


def open_vlm(source: str, tokenizer: HFTokenizer, lora: Mapping[str, Any] | None) -> Any:
    """The model of a checkpoint, in 4 bits if ``lora`` says so; raises ValueError if weights are missing."""
    own = tokenizer.convention
    is_quantized = lora is not None and lora["bits"] is not None
    settings = {"quantization_config": four_bits((*own.vision, *own.aligner))} if is_quantized else {}
    vlm, loading = AutoModelForImageTextToText.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, **settings
    )
    for name in (*loading["missing_keys"], *loading["mismatched_keys"]):  # transformers fills them at random
        raise ValueError(f"its weights lack {name}, or have it in another shape")
    return vlm


def make_model(vlm: Any, tokenizer: HFTokenizer, settings: ModelSettings, lora: dict[str, Any] | None) -> HFModel:
    """The model around a checkpoint's, trained as ``settings`` say; raises VilamError if LoRA finds no layer."""
    origins = {part: {"checkpoint": str(settings.checkpoint)} for part in PARTS}
    if tokenizer.convention.sharing == "rows":
        name = vlm.config.model_type
        logger.info("%s: each question is a row with a picture of its own: that they may share it is not proven", name)
    try:
        return HFModel(vlm, tokenizer.processor, settings.frozen_parts, lora, origins, tokenizer.architecture)
    except ValueError as error:
        raise VilamError(f"model.language.lora: {first_line(error)}") from error


@torch.no_grad()
def check_vision(model: HFModel, tokenizer: HFTokenizer) -> None:
    """Raises ValueError if the model's logits do not depend on the image.

    Without its settings a processor may leave the image out of the text, and transformers reports nothing.
    """
    turn = Turn("What is this?", tuple(tokenizer.encode_answer("an image")))

    def logits(colour: str) -> Tensor:  # a batch for each: rows of one batch differ by rounding
        images = model.preprocess([Image.new("RGB", (64, 64), colour)])
        packed = model.pack(tokenizer, images, [[turn]])
        found: Tensor = model(**packed.inputs, labels=packed.labels).logits
        return found

    model.eval()
    if torch.equal(logits("red"), logits("blue")):
        raise ValueError("its answers do not depend on the image")


def save(model: HFModel, tokenizer: HFTokenizer, folder: Path) -> None:
    """Writes what `load` reads bit for bit; transformers opens it too, without the adapters."""
    vlm = _in_floats(model)
    weights = vlm.state_dict()
    plain = {name.replace(BASE, ""): value for name, value in weights.items() if ADAPTER not in name}
    _write(vlm, tokenizer, folder, state_dict=plain)
    adapters = {name: value.contiguous() for name, value in weights.items() if ADAPTER in name}
    if adapters:
        save_file(adapters, folder / ADAPTERS)
    convention = model.architecture.convention.model_dump(mode="json", exclude_defaults=True)
    about = {"frozen": model.frozen, "lora": model.lora, "origins": model.origins, "convention": convention}
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[HFModel, HFTokenizer]:
    """Reads what `save` wrote; raises OSError or ValueError if it is damaged."""
    about: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    tokenizer = open_tokenizer(str(folder))
    vlm = open_vlm(str(folder), tokenizer, about["lora"])
    model = HFModel(vlm, tokenizer.processor, about["frozen"], about["lora"], about["origins"], tokenizer.architecture)
    if model.lora is not None:
        _, unexpected = model.vlm.load_state_dict(load_file(folder / ADAPTERS), strict=False)
        if unexpected:
            raise ValueError(f"{ADAPTERS} does not fit the model: {unexpected[0]}")
    return model, tokenizer


def export(model: HFModel, tokenizer: HFTokenizer, folder: Path) -> None:
    """Writes a folder of transformers' own files only, with the adapters merged into the weights beside them."""
    vlm = _in_floats(model)
    merge_adapters(vlm)
    with replace_folder(folder) as new:
        _write(vlm, tokenizer, new)


def _write(vlm: Any, tokenizer: HFTokenizer, folder: Path, **weights: Any) -> None:
    """Writes all files of transformers' layout into a folder."""
    write_kept(tokenizer.kept, folder)
    vlm.save_pretrained(folder, **weights)
    write_processor(tokenizer.processor, tokenizer.kept, folder)


def _in_floats(model: HFModel) -> Any:
    """The model of transformers, or its copy in floats if it has 4 bits; quantised again, they give the same bits."""
    if model.lora is None or model.lora["bits"] is None:
        return model.vlm
    copied = model.new_like().vlm
    copied.load_state_dict(dequantized(model.vlm))
    return copied
