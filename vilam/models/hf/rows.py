"""The tensors of questions and answers: a row each, or a head for each picture and a tail for each question about it.

Shapes: R rows (questions), P tokens of a head, L of a tail or of a whole row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vilam.models.coordinate_formats import Frame
from vilam.models.hf.tokenizer import HFTokenizer, Prompt

OF_TEXT = {
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "mm_token_type_ids",
    "moe_mm_token_type_ids",
    "image_embeds_position_mask",
}
"""The processor's tensors that have a number for each token of a text."""
TILED = {"pixel_values": 5, "pixel_attention_mask": 4}
"""The tensors that hold the tiles of an image if they have this many dimensions."""


@dataclass(frozen=True, slots=True)
class Forked:
    """Questions about one picture: the tensors of the head that all share, and the ids of each question's tail."""

    head: Prompt
    tails: list[list[int]]


def forked(tokenizer: HFTokenizer, image: Image.Image, frame: Frame, questions: Sequence[str]) -> Forked:
    """Head and tails of questions about a picture, which is processed once.

    The head goes as far as the prompts are the same, but for the last token of the shortest: it holds all tokens of
    the picture, and the text before and behind them.
    """
    whole = tokenizer.process(questions[0], image, frame)
    prompts = _same_image(tokenizer, whole, frame, questions)
    if prompts is None:
        prompts = [tokenizer.process(each, image, frame)["input_ids"][0].tolist() for each in questions]
    columns = list(zip(*prompts, strict=False))[:-1]
    length = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    head = {name: value[:, :length] if name in OF_TEXT else value for name, value in whole.items()}
    return Forked(head, [ids[length:] for ids in prompts])


def _same_image(
    tokenizer: HFTokenizer, whole: Prompt, frame: Frame, questions: Sequence[str]
) -> list[list[int]] | None:
    """The prompts of questions about the picture of the first one; None if their tokens do not tell.

    A processor repeats the picture's token. What follows the last of them is the same as before, so each prompt begins
    like the first one and ends with its own text.
    """
    first: list[int] = whole["input_ids"][0].tolist()
    plain = [list(tokenizer.tokenizer(tokenizer.prompt(each, frame))["input_ids"]) for each in questions]
    pairs = zip(reversed(first), reversed(plain[0]), strict=False)
    ends = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    before = plain[0][: len(plain[0]) - ends]
    if any(ids[: len(before)] != before for ids in plain):
        return None
    return [first[: len(first) - ends] + ids[len(before) :] for ids in plain]


def with_answer(prompt: Prompt, answer: Sequence[int]) -> Prompt:
    """A row with an answer after its question."""
    length = prompt["input_ids"].shape[1]
    row = dict(prompt)
    for name in OF_TEXT & prompt.keys():
        assert prompt[name].shape == (1, length)
        end = answer if name == "input_ids" else [value_at_answers(name, prompt[name])] * len(answer)
        row[name] = torch.cat([prompt[name], prompt[name].new_tensor([end])], dim=1)
    return row


def value_at_answers(name: str, prompt: Tensor) -> int:
    """What a tensor `OF_TEXT` has at an answer's tokens, by its values at those of the prompt.

    The type of a token is 1 where PaliGemma, whose prompt is read in both directions, reads causally, and where Gemma 3
    has a picture, which it reads in both directions.
    """
    marks_pictures = name == "token_type_ids" and bool((prompt == 1).any())
    return int(name in ("attention_mask", "token_type_ids") and not marks_pictures)


def batched(rows: Sequence[Prompt], pad_id: int, side: str) -> Prompt:
    """Batches of one row as one batch: texts and the tiles of images are padded, images are concatenated."""
    batch: Prompt = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in OF_TEXT or name.startswith("qformer_"):
            padding = pad_id if name == "input_ids" else 0
            batch[name] = padded([each[0].tolist() for each in values], padding, side if name in OF_TEXT else "right")
        elif name == "pixel_values" and "target_sizes" in rows[0]:  # MiniCPM's patches of all images, in one line
            batch[name] = torch.cat(values, dim=-1)
        elif name == "image_token_pooling":  # Molmo 2's: the numbers of the patches of all images that become a token
            sizes = [row["pixel_values"].shape[:2].numel() for row in rows]
            firsts = [sum(sizes[:row]) for row in range(len(rows))]
            batch[name] = torch.cat(
                [torch.where(each < 0, each, each + first) for each, first in zip(values, firsts, strict=True)]
            )
        elif name in TILED and values[0].dim() == TILED[name]:
            batch[name] = pad_sequence([each[0] for each in values], batch_first=True)
        else:
            batch[name] = torch.cat(values)
    return batch


def padded(rows: Sequence[Sequence[int]], padding: int, side: str) -> Tensor:
    """Rows of ids as one tensor (R, L), padded on a side."""
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=padding, padding_side=side)
