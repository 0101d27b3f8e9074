"""Whole models of transformers: questions that share their picture, or what the tower makes of it, beside rows.

    python -m benchmarks.whole_models [CHECKPOINT]

Without a checkpoint it is a Qwen3-VL with random weights (width 256, 8 layers, 196 tokens a picture). Training: the
forward and the backward pass with the processing of the pictures, both ways in turns on the same questions. Answers:
boxes under the grammar, beside transformers' own `generate` with as many new tokens, in one batch and one by one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from transformers import GenerationConfig

from benchmarks.random_vlm import write_random_vlm
from benchmarks.scene_set import SceneSet, machine, make_scene_set, show
from vilam.config import ModelSettings
from vilam.cycle.examples import Example
from vilam.inference.generate import Answer, Request, generate
from vilam.inference.model import Model
from vilam.models.backbones.images import open_image
from vilam.models.build import build_model, build_tokenizer
from vilam.models.hf.architectures import Architecture
from vilam.models.hf.model import HFModel
from vilam.models.hf.tokenizer import HFTokenizer
from vilam.training.batching import collate

PICTURES, QUESTIONS, ROUNDS = 2, 9, 5
NAMES = {"fork": "one picture, its cache forked", "tower": "the vision tower once a picture"}
WIDTH, LAYERS, PIXELS = 256, 8, 448 * 448


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, some pictures, and the instructions about each."""

    model: Model
    network: HFModel
    tokenizer: HFTokenizer
    pictures: Sequence[bytes]
    examples: Sequence[Sequence[Example]]

    def set_sharing(self, sharing: str) -> None:
        """Let questions share their picture ("fork"), what the tower makes of it ("tower"), or nothing ("rows")."""
        convention = self.network.architecture.convention
        self.network.architecture = Architecture(convention.model_copy(update={"sharing": sharing}))


def open_subject(scenes: SceneSet, checkpoint: Path) -> Subject:
    """Open a checkpoint whole, to train all of it."""
    settings = ModelSettings.model_validate({**scenes.settings.model.model_dump(), "checkpoint": str(checkpoint)})
    tokenizer = build_tokenizer(settings, ())
    network = build_model(settings, tokenizer, 0)
    assert isinstance(network, HFModel) and isinstance(tokenizer, HFTokenizer)
    by_picture: dict[str, list[Example]] = {}
    for one in scenes.instructions:
        if one.task in ("rec_box", "reg_class", "reg_caption"):
            by_picture.setdefault(one.image_id, []).append(Example(one))
    chosen = [(image_id, found[:QUESTIONS]) for image_id, found in by_picture.items() if len(found) >= QUESTIONS]
    pictures = [scenes.records[image_id].image for image_id, _ in chosen[:PICTURES]]
    model = Model.for_data(network, tokenizer, scenes.card)
    return Subject(model, network, tokenizer, pictures, [found for _, found in chosen[:PICTURES]])


def train(subject: Subject, sharing: str) -> torch.Tensor:
    """The loss of a step, with the processing of its pictures."""
    subject.set_sharing(sharing)
    subject.network.train()
    batch = collate(subject.model, subject.pictures, subject.examples).to(subject.network.device)
    loss: torch.Tensor = subject.network(**batch.inputs, labels=batch.labels, weights=batch.weights).loss
    loss.backward()  # type: ignore[no-untyped-call]
    subject.network.zero_grad()
    return loss.detach()


def answer(subject: Subject, sharing: str) -> list[Answer]:
    """A box for each question."""
    subject.set_sharing(sharing)
    subject.network.eval()
    images = subject.network.preprocess(subject.pictures)
    grammar = subject.model.grammars["rec_box"]
    questions = [
        Request(number, f"Where is number {k}?", grammar) for number in range(len(images)) for k in range(QUESTIONS)
    ]
    return generate(subject.model, images, questions)


@torch.no_grad()
def stock(subject: Subject, answers: Sequence[Answer], at_once: int) -> int:
    """transformers' own processor and `generate`, some rows at once, with as many tokens as the answers have."""
    processor, network = subject.tokenizer.processor, subject.network.vlm
    processor.tokenizer.padding_side = "left"
    opened = [open_image(picture) for picture in subject.pictures]
    frames = subject.network.preprocess(subject.pictures).frames
    asked: list[tuple[str, Image.Image]] = [
        (subject.tokenizer.prompt(f"Where is number {k}?", frames[number]), opened[number])
        for number in range(len(opened))
        for k in range(QUESTIONS)
    ]
    for start in range(0, len(asked), at_once):
        rows, lengths = asked[start : start + at_once], [len(one.ids) for one in answers[start : start + at_once]]
        inputs = processor(
            text=[text for text, _ in rows], images=[[image] for _, image in rows], padding=True, return_tensors="pt"
        ).to(network.device)
        count = max(lengths)
        settings = GenerationConfig(
            max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=subject.tokenizer.pad_id
        )
        network.generate(**inputs, generation_config=settings)
    return len(asked)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(title: str, each: int, ways: dict[str, Callable[[], object]], unit: str) -> None:
    """Time the ways in turns and print how many of the units each does in a second."""
    for work in ways.values():
        work()
    rounds = [{way: seconds(work) for way, work in ways.items()} for _ in range(ROUNDS)]
    first = next(iter(ways))
    rows = [
        [
            way,
            f"{each / median(one[way] for one in rounds):.1f}",
            f"{median(one[way] / one[first] for one in rounds):.2f}",
        ]
        for way in ways
    ]
    show(title, ["way", f"{unit} per second", "time, beside the first"], rows)


def main() -> None:
    """Prints the tables."""
    print(machine())
    scenes = make_scene_set(20)
    with TemporaryDirectory() as folder:
        texts = [text for one in scenes.instructions for text in (one.question, one.answer)]
        checkpoint = (
            Path(sys.argv[1])
            if len(sys.argv) > 1
            else write_random_vlm(Path(folder) / "qwen3-vl", texts, WIDTH, LAYERS, PIXELS)
        )
        subject = open_subject(scenes, checkpoint)
    if torch.cuda.is_available():
        subject.network.cuda()
    own = subject.network.architecture.convention.sharing
    shared, rows = train(subject, own), train(subject, "rows")
    print(f"loss, shared and in rows: {float(shared):.6f} {float(rows):.6f}")
    count = sum(map(len, subject.examples))
    ways = {NAMES[own]: own, "a row for each question": "rows"}
    compare(
        f"Training, {PICTURES} pictures with {QUESTIONS} instructions each",
        count,
        {name: partial(train, subject, sharing) for name, sharing in ways.items()},
        "instructions",
    )
    answers = answer(subject, own)
    same = sum(one.ids == other.ids for one, other in zip(answers, answer(subject, "rows"), strict=True))
    print(f"\nanswers that are the same in rows: {same} of {len(answers)}")
    compare(
        f"Boxes, {len(answers)} questions",
        len(answers),
        {
            NAMES[own]: lambda: answer(subject, own),
            "a row for each question": lambda: answer(subject, "rows"),
            "transformers' generate, one batch": lambda: stock(subject, answers, len(answers)),
            "transformers' generate, one by one": lambda: stock(subject, answers, 1),
        },
        "answers",
    )


if __name__ == "__main__":
    main()
