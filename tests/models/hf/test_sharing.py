"""Questions that share their picture: logits, gradients and answers are those of a row for each question.

Every convention with ``sharing: fork`` needs a checkpoint here; a model type that is not proven is read in rows.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import hf_checkpoints
import hf_families
import hf_newer_families
import pytest
import torch
import toy
from hf_subjects import LESSONS, SHORT, TURNS, Subject, lora, noise_images, open_folder, rows_of
from torch import Tensor
from transformers import AutoConfig

from vilam.inference.constraints import GrammarCompiler
from vilam.inference.generate import Request, generate
from vilam.models.device import autocast
from vilam.models.hf.conventions import convention_files, read_convention
from vilam.models.hf.rows import forked
from vilam.tasks import ALL_TASKS

MORE = tuple((image, f"{question} {word}", answer) for image, question, answer in TURNS for word in ("Now.", "", "Yes"))
"""Questions about pictures of several sizes; some begin alike."""
SAMPLED = ("gemma3", "llava", "qwen2_5_vl", "qwen3_5")
"""Models with sliding windows, with none, with positions in three axes, with linear attention."""
SETTINGS = ({"model__language__frozen": False, "model__vision__frozen": False}, "lora")


def admitted() -> Iterator[str]:
    """The model types whose questions share their picture."""
    for name in convention_files(Path()):
        if read_convention(name, Path()).sharing == "fork":
            yield name


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each model type."""
    root, found = tmp_path_factory.mktemp("checkpoints"), {}
    for name, write in {**hf_checkpoints.HF_CHECKPOINTS, **hf_families.FAMILIES, **hf_newer_families.NEWER}.items():
        write(root / name)
        found[AutoConfig.from_pretrained(root / name).model_type] = root / name
    return found


@pytest.fixture(scope="module")
def opened(folders: dict[str, Path]) -> Callable[..., Subject]:
    """A model by its type, all of which is trained or its adapters."""

    def open_type(model_type: str, setting: int = 0) -> Subject:
        torch.manual_seed(0)
        changes = SETTINGS[setting]
        return open_folder(
            folders[model_type], **(lora("", targets=["q_proj", "v_proj"]) if changes == "lora" else changes)
        )

    return cache(open_type)


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


@pytest.mark.parametrize("setting", range(len(SETTINGS)))
@pytest.mark.parametrize("model_type", admitted())
def test_logits_and_gradients_are_those_of_rows(model_type, setting, opened):
    """In float32 to rounding; in bfloat16 no farther from float32 than rows are."""
    subject = opened(model_type, setting)
    rows = rows_of(subject)
    assert "tails" in subject.pack(MORE).inputs and "tails" not in rows.pack(MORE).inputs
    exact = measured(rows, torch.float32)
    for found, wanted in zip(measured(subject, torch.float32), exact, strict=True):
        assert float(wanted.norm()) > 0 and distance(found, wanted) < 1e-5
    rounded, of_rows = measured(subject, torch.bfloat16), measured(rows, torch.bfloat16)
    for found, usual, wanted in zip(rounded, of_rows, exact, strict=True):
        assert distance(found, wanted) < 1.3 * distance(usual, wanted)


@pytest.mark.parametrize("model_type", admitted())
def test_one_sequence_with_a_mask_is_the_same(model_type, opened):
    """With gradient checkpointing, which keeps no cache."""
    subject = opened(model_type)
    masked = Subject(copy.deepcopy(subject.model), subject.tokenizer)
    masked.model.enable_gradient_checkpointing()
    masked.model.train()
    if masked.model.sharing == "rows":
        pytest.skip("its layers read padding")
    assert len(masked.pack(MORE).labels) == len(noise_images())
    pairs = zip(measured(masked, torch.float32), measured(rows_of(subject), torch.float32), strict=True)
    assert all(distance(found, wanted) < 1e-5 for found, wanted in pairs)
    rounded = zip(measured(masked, torch.bfloat16), measured(rows_of(subject), torch.bfloat16), strict=True)
    assert all(distance(found, wanted) < 0.1 for found, wanted in rounded)


@pytest.mark.parametrize("model_type", admitted())
def test_heads_and_tails_are_the_prompts_of_the_processor(model_type, opened, monkeypatch):
    """A picture is processed once."""
    model, tokenizer = opened(model_type)
    images = model.preprocess(noise_images())
    questions = [
        "Where is the red circle?",
        "Where is the red square on the left?",
        "[1, 2, 300, 400]",
        "<image>",
        "Where",
    ]
    wanted = [tokenizer.process(each, images.images[0], images.frames[0]) for each in questions]
    calls: Counter[str] = Counter()
    process = tokenizer.process
    monkeypatch.setattr(tokenizer, "process", lambda *some: calls.update(["process"]) or process(*some))
    found = forked(tokenizer, images.images[0], images.frames[0], questions)
    head = found.head["input_ids"][0].tolist()
    assert [head + tail for tail in found.tails] == [each["input_ids"][0].tolist() for each in wanted]
    assert calls == {"process": 1} and all(found.tails)
    torch.testing.assert_close(found.head["pixel_values"], wanted[-1]["pixel_values"])


@pytest.mark.parametrize(
    ("model_type", "temperature"),
    [*((each, 0.0) for each in admitted()), *((each, 1.0) for each in SAMPLED)],
)
def test_answers_are_those_of_rows(model_type, temperature, opened):
    """Of rows that end at different times, behind prompts of different lengths; also if they are sampled."""
    subject = opened(model_type)
    compiler = GrammarCompiler(subject.tokenizer)
    tasks = ("rec_box", "reg_class", "reg_caption", "rec_box")
    grammars = {task: compiler.compile(ALL_TASKS[task].grammar(toy.card())) for task in tasks}
    pairs = zip(MORE, tasks * len(MORE), strict=False)
    requests = [Request(image, question, grammars[task], 7) for (image, question, _), task in pairs]
    found = generate(subject.for_inference(), subject.preprocess(), requests, temperature, SHORT)
    wanted = generate(rows_of(subject).for_inference(), subject.preprocess(), requests, temperature, SHORT)
    assert [one.ids for one in found] == [one.ids for one in wanted]
    assert [one.confidence for one in found] == pytest.approx([one.confidence for one in wanted], abs=1e-5)


@pytest.mark.parametrize("model_type", ["llava", "qwen2_5_vl", "qwen3_5"])
def test_a_batch_has_the_logits_of_each_picture_alone(model_type, opened):
    """Heads of other lengths beside it, and the order of the questions, change nothing."""
    subject = opened(model_type)
    together = subject.logits(LESSONS)
    lengths = [len(subject.tokenizer.encode_answer(answer, subject.preprocess().frames[i])) for i, _, answer in LESSONS]
    alone = torch.cat([subject.logits((each,)) for each in LESSONS])
    assert len(alone) == sum(lengths)
    torch.testing.assert_close(together, alone, atol=5e-5, rtol=1e-4)
