"""Opens the processor of a checkpoint without its part for videos, of which vilam has none.

transformers' own way opens that part too: it needs torchvision, and SmolVLM's needs num2words.
"""

from __future__ import annotations

import inspect
from functools import cache
from types import SimpleNamespace
from typing import Any

from transformers import AutoProcessor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.models.smolvlm import processing_smolvlm

VIDEOS = "video_processor"
"""The name of the part, in constructors and in processor_config.json."""


def open_processor(source: str, model_type: str) -> Any:
    """The processor of a checkpoint; models that take videos get one without them."""
    whole = PROCESSOR_MAPPING.get(CONFIG_MAPPING[model_type], None)
    if whole is None or VIDEOS not in whole.get_attributes():
        return AutoProcessor.from_pretrained(source)
    if model_type == "smolvlm":
        processing_smolvlm.num2words = processing_smolvlm.num2words or str  # it spells the number of a video's frames
    return without_videos(whole).from_pretrained(source)


@cache
def without_videos(whole: Any) -> Any:
    """A processor class whose objects have no video processor: transformers opens the parts that it names.

    It keeps its name, because a processor saves that, and any transformers must open what was saved.
    """
    position = list(inspect.signature(whole).parameters).index(VIDEOS)

    class Processor(whole):  # type: ignore[misc]
        video_processor = SimpleNamespace(num_frames=None, fps=None)  # SmolVLM's asks for them with images too

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != VIDEOS]

        @classmethod
        def from_args_and_dict(cls, args: list[Any], processor_dict: dict[str, Any], **kwargs: Any) -> Any:
            parts = [*args[:position], None, *args[position:]]
            return super().from_args_and_dict(parts, processor_dict, **kwargs)

        def __reduce__(self) -> tuple[Any, ...]:
            return _empty, (whole,), vars(self)  # a class inside a function has no address for pickle

    Processor.__name__ = Processor.__qualname__ = whole.__name__
    return Processor


def _empty(whole: Any) -> Any:
    return object.__new__(without_videos(whole))
