"""Opens the processor of a checkpoint without its parts for videos and sound, of which vilam has none.

transformers' own way opens those parts too: those for videos need torchvision, SmolVLM's num2words as well, and those
for sound need files that a model without sound does not come with.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from transformers import AutoProcessor
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.models.smolvlm import processing_smolvlm

from vilam.errors import VilamError

VIDEOS, SOUND = "video_processor", "feature_extractor"
"""The names of the parts, in constructors and in processor_config.json."""
NOT_OPENED = (VIDEOS, SOUND)
"""The parts that are not opened."""
NOTHING = SimpleNamespace(
    num_frames=None,  # SmolVLM's processor asks for it with images too
    fps=None,
    slice_mode=False,  # MiniCPM's
    downsample_mode="16x",
    font="",  # ERNIE's, a file that it would copy
    model_input_names=(),
    _auto_class=None,
)
"""In the place of such a part: what is read of it although only images are shown."""


def open_processor(source: str, model_type: str) -> Any:
    """The processor of a checkpoint; models that take videos or sound get one without those parts.

    Raises VilamError if its pictures need torchvision, which is not there.
    """
    whole = PROCESSOR_MAPPING.get(CONFIG_MAPPING[model_type], None)
    if model_type == "smolvlm":
        processing_smolvlm.num2words = processing_smolvlm.num2words or str  # it spells the number of a video's frames
    takes_more = whole is not None and set(NOT_OPENED) & set(whole.get_attributes())
    try:
        return (of_images(whole) if takes_more else AutoProcessor).from_pretrained(source)
    except ValueError as error:
        if "dependencies: torchvision" not in str(error):
            raise
        raise VilamError("its pictures need torchvision: install the torchvision of your torch") from error


@cache
def of_images(whole: Any) -> Any:
    """A processor class whose objects have nothing for videos and sound.

    It keeps its name, because a processor saves that, and any transformers must open what was saved.
    """
    parts = whole.get_attributes()

    class Opened(whole):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in parts if name not in NOT_OPENED]

    class Processor(whole):  # type: ignore[misc]
        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            opened = iter(Opened._get_arguments_from_pretrained(*args, **kwargs))
            return [NOTHING if name in NOT_OPENED else next(opened) for name in parts]

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument is NOTHING:
                return None
            return super().check_argument_for_proper_class(argument_name, argument)

        def to_dict(self) -> dict[str, Any]:
            return {name: value for name, value in super().to_dict().items() if name not in NOT_OPENED}

        def __reduce__(self) -> tuple[Any, ...]:
            return _empty, (whole,), vars(self)  # a class inside a function has no address for pickle

    for made in (Opened, Processor):
        made.__name__ = made.__qualname__ = whole.__name__
    return Processor


def _empty(whole: Any) -> Any:
    return object.__new__(of_images(whole))
