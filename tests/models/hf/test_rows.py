"""Rows of questions and answers: what a model reads at an answer is what transformers alone gives it."""

from __future__ import annotations

from pathlib import Path

import hf_families
import pytest
import torch
from hf_subjects import TURNS, open_folder, rows_of
from transformers import AutoModelForImageTextToText

from vilam.models.hf.rows import value_at_answers


@pytest.mark.parametrize(
    ("name", "prompt", "wanted"),
    [
        ("attention_mask", [1, 1, 1], 1),
        ("mm_token_type_ids", [0, 1, 0], 0),
        ("token_type_ids", [0, 0, 0], 1),  # PaliGemma: 0 is read in both directions
        ("token_type_ids", [0, 1, 1], 0),  # Gemma 3: 1 is a picture
    ],
)
def test_values_at_answers(name, prompt, wanted):
    assert value_at_answers(name, torch.tensor([prompt])) == wanted


def test_an_answer_of_gemma_3_sees_nothing_behind_it(tmp_path: Path) -> None:
    """As a picture's tokens do: its logits are those of transformers alone, which is told that it is text."""
    hf_families.FAMILIES["gemma3"](tmp_path)
    subject = rows_of(open_folder(tmp_path))
    alone = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    images, wanted = subject.preprocess(), []
    for image, turn in ((image, turn) for image, turns in enumerate(subject.turns(TURNS)) for turn in turns):
        prompt = subject.tokenizer.process(turn.question, images.images[image], images.frames[image])
        answer, length = torch.tensor([turn.answer]), prompt["input_ids"].shape[1]
        ends = {"input_ids": answer, "token_type_ids": torch.zeros_like(answer)}
        whole = {name: torch.cat([prompt[name], end], dim=1) for name, end in ends.items()}
        with torch.no_grad():
            found = alone(**whole, pixel_values=prompt["pixel_values"]).logits
        wanted.append(found[0, length - 1 : -1])
    torch.testing.assert_close(subject.logits(TURNS), torch.cat(wanted), atol=1e-4, rtol=1e-4)
