"""The vision tower once a picture, where a question reaches the picture's encoding and has a row of its own.

A Q-Former, an encoder and a prefix that is read in both directions see the question, but the tower does not. A model
type is admitted by its convention (``sharing: tower``) after its logits and gradients were compared with those of a
tower that runs once a question (tests/models/hf/test_towers.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from vilam.models.hf.rows import batched
from vilam.models.hf.tokenizer import Prompt

PIXELS, PICTURES = "pixel_values", "pictures"
"""The tensors of pictures: the pixels of each, and which one each row is about (R,)."""


def batched_once(prompts: Sequence[Prompt], images: Sequence[int], pad_id: int, side: str) -> Prompt:
    """Batches of one row as one of R rows, with the pixels of each picture once; images: the number of each row's."""
    first: dict[int, Prompt] = {}
    for image, prompt in zip(images, prompts, strict=True):
        first.setdefault(image, prompt)
    places = {image: place for place, image in enumerate(first)}
    rows = batched([{name: value for name, value in one.items() if name != PIXELS} for one in prompts], pad_id, side)
    pixels = torch.cat([one[PIXELS] for one in first.values()])
    return {**rows, PIXELS: pixels, PICTURES: torch.tensor([places[image] for image in images])}


@contextmanager
def output_of_rows(tower: nn.Module, pictures: Tensor) -> Iterator[None]:
    """Within it, a tower that reads B pictures returns what it would return for R rows, each about one of them (R,)."""
    hook = tower.register_forward_hook(lambda _, inputs, output: _of_rows(output, pictures))
    try:
        yield
    finally:
        hook.remove()


def _of_rows(output: Any, pictures: Tensor) -> Any:
    if isinstance(output, Tensor):
        return output.index_select(0, pictures)
    if isinstance(output, ModelOutput):
        return type(output)(**{name: _of_rows(value, pictures) for name, value in output.items()})
    if isinstance(output, tuple | list):
        return type(output)(_of_rows(value, pictures) for value in output)
    return output
