"""A training step of a Hugging Face VLM beside the same step with TRL's collator, a row for each question.

    pip install trl==1.16.0        # in an environment of its own
    python -m benchmarks.beside_trl

The model is that of benchmarks/whole_models.py, a Qwen3-VL with random weights. TRL's side is its collator for
vision-language models with the loss of completions alone, and transformers' own forward and backward pass; what TRL's
trainer adds is not counted. Both have the same texts, and so the same loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.random_vlm import write_random_vlm
from benchmarks.scene_set import machine, make_scene_set
from benchmarks.whole_models import LAYERS, PICTURES, PIXELS, QUESTIONS, WIDTH, Subject, compare, open_subject
from vilam.models.backbones.images import open_image
from vilam.training.batching import collate


def trl_collator(subject: Subject) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    """TRL's collator for the subject's processor."""
    try:
        trainer = import_module("trl.trainer.sft_trainer")
    except ImportError as error:
        raise SystemExit(f"{error}: pip install trl==1.16.0 into an environment of its own") from error
    made: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]] = trainer.DataCollatorForVisionLanguageModeling(
        subject.tokenizer.processor, completion_only_loss=True
    )
    return made


def rows(subject: Subject) -> list[dict[str, Any]]:
    """The questions and answers as TRL takes them, each with its picture."""
    tokenizer, frames = subject.tokenizer, subject.network.preprocess(subject.pictures).frames
    found = []
    for picture, frame, examples in zip(subject.pictures, frames, subject.examples, strict=True):
        for one in examples:
            asked = one.instruction
            answer = tokenizer.tokenizer.decode(tokenizer.encode_answer(asked.answer, frame))
            prompt = tokenizer.prompt(asked.question, frame)
            found.append({"images": [open_image(picture)], "prompt": prompt, "completion": answer})
    return found


def step(subject: Subject) -> torch.Tensor:
    """The loss of vilam's step, with the processing of its pictures."""
    batch = collate(subject.model, subject.pictures, subject.examples)
    loss: torch.Tensor = subject.network(**batch.inputs, labels=batch.labels).loss
    loss.backward()  # type: ignore[no-untyped-call]
    subject.network.zero_grad()
    return loss.detach()


def trl_step(subject: Subject, collator: Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]) -> torch.Tensor:
    """The loss of the same step with TRL's collator and transformers' model."""
    loss: torch.Tensor = subject.network.vlm(**collator(rows(subject))).loss
    loss.backward()  # type: ignore[no-untyped-call]
    subject.network.zero_grad()
    return loss.detach()


def main() -> None:
    """Prints the table."""
    print(machine())
    scenes = make_scene_set(20)
    with TemporaryDirectory() as folder:
        texts = [text for one in scenes.instructions for text in (one.question, one.answer)]
        subject = open_subject(scenes, write_random_vlm(Path(folder) / "qwen3-vl", texts, WIDTH, LAYERS, PIXELS))
    subject.network.train()
    ways = {"vilam": partial(step, subject), "TRL's collator": partial(trl_step, subject, trl_collator(subject))}
    print("loss: " + ", ".join(f"{name} {float(way()):.6f}" for name, way in ways.items()))
    count = PICTURES * QUESTIONS
    compare(f"Training, {PICTURES} pictures with {QUESTIONS} instructions each", count, dict(ways), "instructions")


if __name__ == "__main__":
    main()
