"""Further families: each is opened, trained for a step, asked, saved and opened again, by its convention alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import hf_families
import hf_newer_families
import hf_torchvision_families
import numpy as np
import pytest
import torch
import toy
from PIL import Image
from transformers import AutoProcessor
from transformers.utils import is_torchvision_available

from vilam.data.sanity import LONG
from vilam.errors import VilamError
from vilam.inference.constraints import GrammarCompiler
from vilam.inference.generate import Request, generate
from vilam.inference.limits import refuses_long
from vilam.inference.model import Model
from vilam.layout import shipped
from vilam.models.build import LoadedModel, build_model, build_tokenizer, load_model, save_model
from vilam.models.hf.conventions import convention_files
from vilam.models.hf.model import HFModel
from vilam.models.hf.processors import NOT_OPENED
from vilam.models.hf.tokenizer import HFTokenizer
from vilam.models.interface import PARTS, Turn
from vilam.tasks import ALL_TASKS
from vilam.tasks.answers import read_box

BOX = "[100, 200, 300, 400]"
PROMPT = "<|im_start|>user\n{}{{}}<|im_end|>\n<|im_start|>assistant\n"
ONE = "<|vision_start|><|image_pad|><|vision_end|>"
EXPECTED = {
    "qwen2_vl": (PROMPT.format(ONE), "<|box_start|>(100,200),(300,400)<|box_end|>"),
    "qwen3_vl_moe": (PROMPT.format(ONE), BOX),
    "qwen3_5": (PROMPT.format(ONE), BOX),
    "internvl": (PROMPT.format("<IMG_CONTEXT>\n"), "<box>[[100, 200, 300, 400]]</box>"),
    "glm4v": (
        PROMPT.format("<|begin_of_image|><|image|><|end_of_image|>"),
        "<|begin_of_box|>[[100,200,300,400]]<|end_of_box|>",
    ),
    "florence2": ("{}", "<loc_100><loc_200><loc_300><loc_400>"),
    "gemma3": (PROMPT.format("<start_of_image>"), "[200, 100, 400, 300]"),
    "llava_next": (PROMPT.format("<image>\n"), "[0.10, 0.29, 0.30, 0.43]"),
    "llava_onevision": (PROMPT.format("<image>\n"), BOX),
    "ovis2": (PROMPT.format("<image>\n"), BOX),
    "paddleocr_vl": (
        PROMPT.format("<|vision_start|><|IMAGE_PLACEHOLDER|><|vision_end|>"),
        "[<|LOC_100|><|LOC_200|><|LOC_300|><|LOC_400|>]",
    ),
    "gemma4": (PROMPT.format("<|image|>"), "[200, 100, 400, 300]"),
    "hunyuan_vl": (PROMPT.format("<image_start><image_patch><image_end>"), "(100,200),(300,400)"),
    "ernie4_5_vl_moe": (PROMPT.format("Picture 1:<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"), BOX),
    "minicpmv4_6": (PROMPT.format("<|image_pad|>\n"), "<box>100 200 300 400</box>"),
    "deepseek_ocr2": (PROMPT.format("<image>\n"), "<|det|>[[100, 200, 300, 400]]<|/det|>"),
    "lfm2_vl": (PROMPT.format("<image>"), "[0.10, 0.20, 0.30, 0.40]"),
    "molmo2": (PROMPT.format("<|image|>"), "[100 200 300 400]"),
    "kimi_k25": (PROMPT.format("<|media_begin|>image<|media_content|><|media_pad|><|media_end|>"), BOX),
    "lfm3_vl": (PROMPT.format(ONE), "[0.10, 0.20, 0.30, 0.40]"),
    "idefics3": ("<|im_start|>User:<image>{}<end_of_utterance>\nAssistant:", BOX),
}
EXPECTED |= dict.fromkeys(("glm4v_moe", "glm46v"), EXPECTED["glm4v"]) | {"qwen3_5_moe": EXPECTED["qwen3_5"]}
"""The text that asks a question, and BOX of an image of 100 x 70 in it: by hand, from the source of each row."""
TURNS = (
    (0, "Where is the red circle?", "[602, 489, 796, 972]"),
    (0, f"What is in {BOX}?", "the red circle on the left"),
    (1, "Find a star.", "1 part: [[100, 100], [900, 120], [480, 800], [100, 100]]"),
)
SIZES = ((100, 70), (37, 91))
IN_TEST_MODEL = ("blip-2", "instructblip", "llava", "qwen2_5_vl", "qwen3_vl", "paligemma", "smolvlm", "kosmos-2")
"""The model types that test_model.py compares with transformers alone."""
FAMILIES = {**hf_families.FAMILIES, **hf_newer_families.NEWER}
if is_torchvision_available():
    FAMILIES |= hf_torchvision_families.TORCHVISION
every_family = pytest.mark.parametrize("name", FAMILIES)


class Opened(NamedTuple):
    """A checkpoint's folder, and the model that is trained whole."""

    folder: Path
    model: HFModel
    tokenizer: HFTokenizer

    def turns(self, pairs: tuple[tuple[int, str, str], ...]) -> list[list[Turn]]:
        """By image."""
        images = self.model.preprocess(noise_images())
        rows: list[list[Turn]] = [[] for _ in SIZES]
        for image, question, answer in pairs:
            rows[image].append(Turn(question, tuple(self.tokenizer.encode_answer(answer, images.frames[image]))))
        return rows

    def logits(self, pairs: tuple[tuple[int, str, str], ...]) -> torch.Tensor:
        """Of the answers' tokens, in one batch."""
        packed = self.model.pack(self.tokenizer, self.model.preprocess(noise_images()), self.turns(pairs))
        with torch.no_grad():
            return self.model(**packed.inputs, labels=packed.labels).logits


@cache
def noise_images() -> tuple[Image.Image, ...]:
    rng = np.random.default_rng(0)
    return tuple(Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES)


def open_folder(folder: Path) -> Opened:
    settings = toy.settings(model__checkpoint=str(folder)).model
    tokenizer = build_tokenizer(settings, ())
    model = build_model(settings, tokenizer, 0).eval()
    assert isinstance(tokenizer, HFTokenizer) and isinstance(model, HFModel)
    return Opened(folder, model, tokenizer)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Opened]:
    """A family's checkpoint; for all tests, so none may change it."""
    root = tmp_path_factory.mktemp("families")

    def write(name: str) -> Opened:
        FAMILIES[name](root / name)
        return open_folder(root / name)

    return cache(write)


def asked(model: Any, tokenizer: Any, tasks: tuple[str, ...] = ("rec_box", "rec_keypoints", "reg_class")) -> list[Any]:
    """Constrained answers about both images."""
    compiler = GrammarCompiler(tokenizer)
    grammars = {name: compiler.compile(ALL_TASKS[name].grammar(toy.card())) for name in tasks}
    requests = [Request(image, f"Where is {name}?", grammars[name]) for name in tasks for image in range(len(SIZES))]
    whole = Model(model, tokenizer, toy.card(), {}, grammars)
    answers = generate(whole, model.preprocess(noise_images()), requests)
    for request, name, answer in zip(requests, [each for each in tasks for _ in SIZES], answers, strict=True):
        assert ALL_TASKS[name].parse(answer.text, *SIZES[request.image]) is not None, answer.text
        alone = generate(whole, model.preprocess([noise_images()[request.image]]), [replace(request, image=0)])[0]
        assert alone.ids == answer.ids
    return answers


def test_every_convention_has_a_checkpoint() -> None:
    assert convention_files(shipped()).keys() == {*FAMILIES, *hf_torchvision_families.TORCHVISION, *IN_TEST_MODEL}


@every_family
def test_a_family_has_its_own_prompt_and_box(name: str, opened: Callable[[str], Opened]) -> None:
    _, model, tokenizer = opened(name)
    prompt, box = EXPECTED[name]
    frame = model.preprocess(noise_images()).frames[0]
    question = f"What is in {BOX}?"
    assert tokenizer.prompt(question, frame) == prompt.format(question.replace(BOX, box))
    ids = tokenizer.encode_answer(BOX, frame)
    assert tokenizer.tokenizer.decode(ids[len(tokenizer.answer_start) : -1]).replace(" ", "") == box.replace(" ", "")
    found = read_box(tokenizer.decode_answer(ids, frame), 1000, 1000)
    assert found == pytest.approx((100, 200, 300, 400), abs=7)


@every_family
def test_rows_of_a_batch_have_the_logits_of_each_alone(name: str, opened: Callable[[str], Opened]) -> None:
    own = torch.cat([opened(name).logits((turn,)) for turn in TURNS])
    together = opened(name).logits(TURNS)
    assert float(together.std()) > 0.3
    torch.testing.assert_close(together, own, atol=2e-4, rtol=2e-4)


@every_family
def test_a_family_learns_answers_and_opens_again(name: str, opened: Callable[[str], Opened], tmp_path: Path) -> None:
    _, model, tokenizer = open_folder(opened(name).folder)
    assert all(model.parts()[part] for part in PARTS)
    images = model.preprocess(noise_images())
    packed = model.pack(tokenizer, images, opened(name).turns(TURNS))
    before = model(**packed.inputs, labels=packed.labels).loss.item()
    torch.manual_seed(0)  # of dropout
    model.train()(**packed.inputs, labels=packed.labels).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    torch.optim.SGD(model.parameters(), lr=1e-2).step()
    assert model.eval()(**packed.inputs, labels=packed.labels).loss.item() < before
    answers = asked(model, tokenizer)
    save_model(LoadedModel(model, tokenizer, toy.card(), {}), tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert asked(loaded.network, loaded.tokenizer) == answers
    if is_torchvision_available() or not {*NOT_OPENED} & {*type(tokenizer.processor).get_attributes()}:
        question = "Where is the red circle?", noise_images()[0], images.frames[0]
        tokenizer.processor, own = AutoProcessor.from_pretrained(tmp_path / "model"), tokenizer.process(*question)
        torch.testing.assert_close(tokenizer.process(*question)["input_ids"], own["input_ids"])


def test_a_trained_model_keeps_the_convention_that_it_was_trained_with(
    opened: Callable[[str], Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the project's own file is not there."""
    own = tmp_path / "project" / "configs" / "conventions" / "florence2.yaml"
    own.parent.mkdir(parents=True)
    text = convention_files(shipped())["florence2"].read_text(encoding="utf-8")
    own.write_text(text.replace("box: '{x1}", "box: 'at {x1}"), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "project")
    _, model, tokenizer = open_folder(opened("florence2").folder)
    save_model(LoadedModel(model, tokenizer, toy.card(), {}), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    loaded = load_model(tmp_path / "model")
    for each in (loaded.network, loaded.tokenizer, loaded.network.new_like()):
        assert each.architecture.convention.box == "at {x1}{y1}{x2}{y2}"
    assert "`at <loc_100>" in loaded.network.summary()


@every_family
def test_the_processor_refuses_the_pictures_that_its_row_says(name: str, opened: Callable[[str], Opened]) -> None:
    folder, model, tokenizer = opened(name)
    try:
        images = model.preprocess([Image.new("RGB", (2 * LONG + 1, 2))])
        tokenizer.process("Where?", images.images[0], images.frames[0])
        refused = False
    except VilamError:
        refused = True
    assert refused == refuses_long(toy.settings(model__checkpoint=str(folder)).model, Path())
