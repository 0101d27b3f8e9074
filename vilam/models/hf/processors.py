"""Processors without videos, for models that take videos too: transformers needs torchvision to open the whole ones.

They are not used if torchvision is installed. They have the names of transformers' classes, because a processor saves
its name, and any installation of transformers must be able to open what they save.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import transformers
from transformers import AutoProcessor
from transformers.models.smolvlm import processing_smolvlm
from transformers.utils import is_torchvision_available


class Qwen2_5_VLProcessor(transformers.Qwen2_5_VLProcessor):  # type: ignore[misc]  # noqa: N801
    """Qwen2.5-VL's: transformers opens the parts that these arguments name."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **settings: Any
    ) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template, **settings)


class Qwen3VLProcessor(transformers.Qwen3VLProcessor):  # type: ignore[misc]
    """Qwen3-VL's."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **settings: Any
    ) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template, **settings)


class SmolVLMProcessor(transformers.SmolVLMProcessor):  # type: ignore[misc]
    """SmolVLM's, which reads the number of frames and the rate of videos anyway."""

    video_processor = SimpleNamespace(num_frames=None, fps=None)

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        image_seq_len: int = 169,
        chat_template: Any = None,
        **settings: Any,
    ) -> None:
        processing_smolvlm.num2words = processing_smolvlm.num2words or str  # for numbers of frames only
        super().__init__(image_processor, tokenizer, None, image_seq_len, chat_template, **settings)


WITHOUT_VIDEOS = {"qwen2_5_vl": Qwen2_5_VLProcessor, "qwen3_vl": Qwen3VLProcessor, "smolvlm": SmolVLMProcessor}
"""By model_type."""


def open_processor(source: str, model_type: str) -> Any:
    """The processor of a checkpoint, without videos if torchvision is missing."""
    processor = AutoProcessor if is_torchvision_available() else WITHOUT_VIDEOS.get(model_type, AutoProcessor)
    return processor.from_pretrained(source)
