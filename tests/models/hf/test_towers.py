"""A vision tower that runs once a picture: logits, gradients and answers are those of a row for each question.

Every convention with ``sharing: tower`` needs a checkpoint here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import hf_checkpoints
import hf_families
import pytest
import torch
import toy
from hf_subjects import SHORT, TURNS, Subject, lora, noise_images, open_folder, rows_of
from torch import Tensor

from vilam.inference.constraints import GrammarCompiler
from vilam.inference.generate import Request, generate
from vilam.models.device import autocast
from vilam.models.hf.conventions import convention_files, read_convention
from vilam.tasks import ALL_TASKS

MORE = tuple((image, f"{question} {word}", answer) for image, question, answer in TURNS for word in ("Now.", "", "Yes"))
CHECKPOINTS = {**hf_checkpoints.HF_CHECKPOINTS, **hf_families.FAMILIES}
TYPES = {
    "blip2-opt": "blip-2",
    "blip2-t5": "blip-2",
    "instructblip-vicuna": "instructblip",
    "instructblip-t5": "instructblip",
    "florence2": "florence2",
    "kosmos-2": "kosmos-2",
    "paligemma": "paligemma",
}
"""The model type of each checkpoint."""
SETTINGS = ({"model__language__frozen": False, "model__vision__frozen": False}, "lora")


def admitted() -> Iterator[str]:
    """The model types whose tower runs once a picture."""
    for name in convention_files(Path()):
        if read_convention(name, Path()).sharing == "tower":
            yield name


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Subject]:
    """A checkpoint by its name, all of which is trained or its adapters."""
    root = tmp_path_factory.mktemp("checkpoints")

    def open_name(name: str, setting: int = 0) -> Subject:
        torch.manual_seed(0)
        if not (root / name).exists():
            CHECKPOINTS[name](root / name)
        changes = SETTINGS[setting]
        own = lora(name) if changes == "lora" and name != "florence2" else lora(name, targets=["q_proj", "v_proj"])
        return open_folder(root / name, **(own if changes == "lora" else changes))

    return cache(open_name)


def measured(subject: Subject, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The logits of MORE, and all gradients of their loss in one vector."""
    packed = subject.pack(MORE)
    subject.model.zero_grad()
    with autocast(subject.model, dtype):
        output = subject.model(**packed.inputs, labels=packed.labels)
    output.loss.backward()
    weights = (weight for weight in subject.model.parameters() if weight.requires_grad)
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad.clone() for one in weights]
    return output.logits.detach().float(), torch.cat([one.flatten() for one in gradients])


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def without_dropout(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def test_every_admitted_type_is_compared():
    assert set(TYPES.values()) == set(admitted())


@pytest.mark.parametrize("setting", range(len(SETTINGS)))
@pytest.mark.parametrize("name", TYPES)
def test_logits_and_gradients_are_those_of_rows(name, setting, opened):
    """In float32 to rounding; in bfloat16 no farther from float32 than rows are."""
    subject = opened(name, setting)
    rows = rows_of(subject)
    assert len(subject.pack(MORE).inputs["pixel_values"]) == len(noise_images())
    assert len(rows.pack(MORE).inputs["pixel_values"]) == len(MORE)
    exact = measured(rows, torch.float32)
    for found, wanted in zip(measured(subject, torch.float32), exact, strict=True):
        assert float(wanted.norm()) > 0 and distance(found, wanted) < 1e-5
    rounded, of_rows = measured(subject, torch.bfloat16), measured(rows, torch.bfloat16)
    for found, usual, wanted in zip(rounded, of_rows, exact, strict=True):
        assert distance(found, wanted) < 1.3 * distance(usual, wanted)


@pytest.mark.parametrize("name", TYPES)
def test_with_gradient_checkpointing_too(name, opened):
    subject = opened(name)
    saving = Subject(copy.deepcopy(subject.model), subject.tokenizer)
    saving.model.enable_gradient_checkpointing()
    saving.model.train()
    without_dropout(saving.model)
    pairs = zip(measured(saving, torch.float32), measured(rows_of(saving), torch.float32), strict=True)
    assert all(distance(found, wanted) < 1e-5 for found, wanted in pairs)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", TYPES)
def test_answers_are_those_of_rows_and_the_tower_sees_each_picture_once(name, temperature, opened):
    """Kosmos-2's once for all prompts of one length."""
    subject = opened(name)
    compiler = GrammarCompiler(subject.tokenizer)
    tasks = ("rec_box", "reg_class", "reg_caption", "rec_box")
    grammars = {task: compiler.compile(ALL_TASKS[task].grammar(toy.card())) for task in tasks}
    pairs = zip(MORE, tasks * len(MORE), strict=False)
    requests = [Request(image, question, grammars[task], 7) for (image, question, _), task in pairs]
    seen: list[int] = []
    tower = subject.model.vlm.get_submodule(subject.tokenizer.convention.vision[0])
    hook = tower.register_forward_pre_hook(
        lambda _, inputs, named: seen.append(len(named.get("pixel_values", inputs[0] if inputs else None))),
        with_kwargs=True,
    )
    found = generate(subject.for_inference(), subject.preprocess(), requests, temperature, SHORT)
    hook.remove()
    wanted = generate(rows_of(subject).for_inference(), subject.preprocess(), requests, temperature, SHORT)
    assert [one.ids for one in found] == [one.ids for one in wanted]
    assert [one.confidence for one in found] == pytest.approx([one.confidence for one in wanted], abs=1e-5)
    assert sum(seen) == len(noise_images()) or (name == "kosmos-2" and sum(seen) < len(MORE))


@pytest.mark.parametrize("name", [*TYPES, "llava", "qwen3-vl"])
def test_a_picture_is_processed_once_for_all_questions(name, opened, monkeypatch):
    model, tokenizer = opened(name)
    images = model.preprocess(noise_images()[:1])
    questions = [question for _, question, _ in MORE[:4]]
    wanted = [tokenizer.process(each, images.images[0], images.frames[0]) for each in questions]
    calls: list[int] = []
    kind = type(tokenizer.processor.image_processor)
    process = kind.preprocess
    monkeypatch.setattr(kind, "preprocess", lambda *some, **named: calls.append(1) or process(*some, **named))
    found = tokenizer.process_all(questions, images.images[0], images.frames[0])
    assert len(calls) == 1
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
