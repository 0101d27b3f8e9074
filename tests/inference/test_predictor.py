"""The public way to ask a model, and its command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image, ImageOps

from vilam import cli
from vilam.commands import predict as command
from vilam.data.records import Levels
from vilam.errors import VilamError
from vilam.inference import predictor as predictor_module
from vilam.inference.generate import Answer, Request
from vilam.inference.predictor import GroundingResult, Predictor
from vilam.models.build import LoadedModel, save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model, and ``scene.png``, 96 x 64."""
    folder = tmp_path_factory.mktemp("predictor")
    save_model(
        LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {"tasks": ["rec_every", "presence"]}), folder / "model"
    )
    Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 50).convert("RGB").save(folder / "scene.png")
    return folder


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor.from_pretrained(folder / "model")


@pytest.fixture
def image(folder: Path) -> Image.Image:
    return Image.open(folder / "scene.png")


def test_public_names_and_their_documentation():
    """Of methods, their parameters, and the fields of a result: code of users depends on them."""
    methods = {name: getattr(Predictor, name) for name in dir(Predictor) if not name.startswith("_")}
    by_expression, by_box = ["self", "image", "expression"], ["self", "image", "box_xyxy"]
    assert {name: list(signature(method).parameters) for name, method in methods.items()} == {
        "from_pretrained": ["source", "root"],
        "open_image": ["self", "source"],
        "ask": ["self", "image", "questions"],
        **dict.fromkeys(("locate", "find_all", "presence", "segment", "keypoints"), by_expression),
        **dict.fromkeys(("classify", "describe"), by_box),
    }
    assert [field.name for field in fields(GroundingResult)] == [
        *("task", "text", "confidence", "box_xyxy", "polygons", "points", "words", "boxes", "probability", "uncertain"),
    ]
    for method in methods.values():
        assert all(section in (method.__doc__ or "") for section in ("Args:", "Returns:", "Raises:"))


def inside(points: object) -> bool:
    return all(0 <= x <= 96 and 0 <= y <= 64 for x, y in points)  # type: ignore[attr-defined]


def test_every_question_has_an_answer_in_pixels(predictor, image):
    box = predictor.locate(image, "the red circle")
    assert box.box_xyxy and inside([box.box_xyxy[:2], box.box_xyxy[2:]])
    mask = predictor.segment(image, "the red circle")
    assert mask.polygons and all(len(ring) == 25 and inside(ring) for ring in mask.polygons)
    assert predictor.keypoints(image, "the red circle").points
    assert predictor.classify(image, (5, 5, 40, 40)).words in toy.card().categories
    described = predictor.describe(image, (5, 5, 40, 40))
    assert described.words and described.words == described.text.strip()
    assert all(0 < found.confidence <= 1 for found in (box, mask, described))


def test_find_all_returns_boxes_and_presence_a_probability(predictor, image):
    found = predictor.find_all(image, "the red circle")
    assert found.boxes is not None and found.text.startswith("none" if not found.boxes else f"{len(found.boxes)} box")
    assert all(inside([box[:2], box[2:]]) for box in found.boxes)
    any_ = predictor.presence(image, "the red circle")
    assert any_.probability is not None and (any_.words == "yes") is (any_.probability > 0.5)
    assert set(any_.as_dict()) == {"task", "text", "confidence", "words", "probability"}


@pytest.mark.parametrize("task", ["locate", "classify", "presence"])
def test_questions_begin_with_the_domain_of_the_training_data(image, monkeypatch, task):
    card = replace(toy.card(), domain="This is a scene.")
    scan = Predictor(LoadedModel(toy.model(), toy.tokenizer(), card, {"tasks": ["presence"]}))
    asked: list[Request] = []

    def answer(_: object, __: object, requests: Sequence[Request]) -> list[Answer]:
        asked.extend(requests)
        return [Answer("", (1,), 0.5) for _ in requests]

    monkeypatch.setattr(predictor_module, "generate", answer)
    getattr(scan, task)(image, (5, 5, 40, 40) if task == "classify" else "the circle")
    assert asked[0].question.startswith("This is a scene. ") and len(asked[0].question) > 17


QUESTIONS = [
    ("locate", "the red circle"),
    ("classify", (5, 5, 40, 40)),
    ("describe", (50, 10, 20, 20)),
    ("presence", "a star"),
    ("sing", "a song"),
    ("find_all", "THE CIRCLES"),
    ("segment", " . "),
    ("describe", (5, 5, 40, 40)),
    ("keypoints", "the star"),
    *[("locate", f"the circle number {number}") for number in range(20)],
]


def test_several_questions_about_one_image_encode_it_once_a_batch_and_have_the_answers_of_each_alone(
    predictor, image, monkeypatch
):
    network, encoded = predictor.model.network, []
    encode = network.encode_images
    monkeypatch.setattr(network, "encode_images", lambda pixels: encoded.append(pixels) or encode(pixels))
    found = predictor.ask(image, QUESTIONS)
    assert len(encoded) == 2 and len(found) == len(QUESTIONS)  # 26 of them can be asked, 16 at once
    for result, (method, about) in zip(found, QUESTIONS, strict=True):
        if isinstance(result, GroundingResult):
            alone = getattr(predictor, method)(image, about)
            assert replace(result, confidence=0, probability=None) == replace(alone, confidence=0, probability=None)
            assert result.confidence == pytest.approx(alone.confidence, rel=1e-4)
            assert (result.probability or 0) == pytest.approx(alone.probability or 0, rel=1e-3)
    errors = [str(result) for result in found if isinstance(result, VilamError)]
    for error, message in zip(errors, ("outside of the", "'sing': no such question", "is empty"), strict=True):
        assert message in error


def test_certainty_belongs_to_the_questions_that_locate(predictor, image, monkeypatch):
    monkeypatch.setattr(predictor, "_threshold", 0.5)
    found = predictor.ask(image, QUESTIONS[:6])
    assert [getattr(each, "uncertain", None) for each in found] == [True, *[None] * 5]
    alone = predictor.locate(image, "the red circle")
    assert found[0].confidence == pytest.approx(alone.confidence, abs=1e-6)  # sums of batches of other sizes
    assert replace(found[0], confidence=0.0) == replace(alone, confidence=0.0)


def test_only_the_fields_of_the_task_are_set(predictor, image):
    assert set(predictor.locate(image, "it").as_dict()) == {"task", "text", "confidence", "box_xyxy"}
    assert set(predictor.classify(image, (5, 5, 40, 40)).as_dict()) == {"task", "text", "confidence", "words"}


def test_a_picture_of_16_bits_is_shown_by_the_window_of_the_training_data(folder, tmp_path):
    card = replace(toy.card(), levels=Levels(100, 300))
    save_model(LoadedModel(toy.model(), toy.tokenizer(), card, {}), tmp_path / "model")
    scan = Predictor.from_pretrained(tmp_path / "model")
    Image.fromarray(np.full((8, 9), 200, np.uint16)).save(tmp_path / "scan.png")
    assert scan.model.card.levels == Levels(100, 300)
    assert scan.open_image(tmp_path / "scan.png").getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_images_of_any_mode_are_accepted(predictor, image, mode):
    assert predictor.locate(image.convert(mode), "it").box_xyxy


@pytest.mark.parametrize("tag", range(2, 9))
def test_pictures_are_turned_as_their_tag_says(predictor, image, tag, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = tag
    image.save(tmp_path / "phone.png", exif=exif)
    with Image.open(tmp_path / "phone.png") as tagged:
        upright = ImageOps.exif_transpose(tagged)
        assert tag < 5 or upright.size == (64, 96)
        for task in ("locate", "presence"):
            assert getattr(predictor, task)(tagged, "the circle") == getattr(predictor, task)(upright, "the circle")
        lower = (1, 1, upright.width, upright.height)  # reaches beyond the stored pixels
        assert predictor.classify(tagged, lower) == predictor.classify(upright, lower)


def test_final_punctuation_and_extra_spaces_are_ignored(predictor, image):
    assert predictor.locate(image, "  the  red circle. ") == predictor.locate(image, "the red circle")


@pytest.mark.parametrize("box", [None, (), (1, 2, 3), (1, 2, 3, 4, 5), "1234", ((1, 2), (3, 4)), (1, 2, "x", 4)])
def test_what_is_no_box_is_refused(predictor, image, box):
    with pytest.raises(VilamError, match="expected four numbers x1, y1, x2, y2 in pixels"):
        predictor.describe(image, box)


def test_an_image_without_pixels_and_broken_text_are_refused(predictor, image):
    with pytest.raises(VilamError, match="no pixels"):
        predictor.locate(Image.new("RGB", (0, 0)), "the circle")
    with pytest.raises(VilamError, match="not valid text"):
        predictor.locate(image, "\udcff red")


def test_a_box_that_crosses_the_edge_is_clipped(predictor, image):
    assert predictor.classify(image, (-20, -20, 500, 500)) == predictor.classify(image, (0, 0, 96, 64))


BAD: dict[str, Callable[[Predictor, Image.Image], GroundingResult]] = {
    "the expression is empty": lambda predictor, image: predictor.locate(image, " . "),
    "outside of the 96 x 64 image": lambda predictor, image: predictor.describe(image, (100, 10, 120, 20)),
    "outside of the 96 x 64 image or empty": lambda predictor, image: predictor.classify(image, (50, 10, 20, 20)),
    "empty": lambda predictor, image: predictor.classify(image, (float("nan"), 10, 20, 20)),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_question_is_reported_in_one_line(predictor, image, message):
    with pytest.raises(VilamError, match=message) as caught:
        BAD[message](predictor, image)
    assert "\n" not in str(caught.value)


def test_a_task_without_data_is_refused(image):
    bare = Predictor(LoadedModel(toy.model(), toy.tokenizer(), replace(toy.card(), keypoints={}), {}))
    with pytest.raises(VilamError, match="rec_keypoints"):
        bare.keypoints(image, "the circle")


@pytest.mark.parametrize("question", ["find_all", "presence"])
def test_a_task_without_training_is_refused(image, question):
    bare = Predictor(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {"tasks": ["rec_box"]}))
    with pytest.raises(VilamError, match=r"the model was not trained on it: add it to train\.tasks"):
        getattr(bare, question)(image, "the circle")


def test_the_error_names_a_missing_model(tmp_path):
    with pytest.raises(VilamError, match="nowhere: no trained model here"):
        Predictor.from_pretrained(tmp_path / "nowhere")


def test_the_command_prints_json_and_draws(folder, capsys, tmp_path):
    drawing = tmp_path / "drawn.png"
    command.predict(str(folder / "model"), folder / "scene.png", "locate", "the circle", None, drawing)
    printed = json.loads(capsys.readouterr().out)
    assert printed["image"].endswith("scene.png") and printed["task"] == "rec_box" and len(printed["box_xyxy"]) == 4
    with Image.open(drawing) as drawn:
        assert drawn.size == (288, 192)  # enlarged by 3, the largest whole factor within 288 pixels


@pytest.mark.parametrize("then", ["classify", "describe"])
def test_the_second_turn_asks_about_the_box_that_was_found(folder, predictor, image, capsys, then):
    command.predict(str(folder / "model"), folder / "scene.png", "locate", "the circle", None, None, then)
    printed = json.loads(capsys.readouterr().out)
    found = predictor.locate(image, "the circle")
    assert printed["box_xyxy"] == list(found.box_xyxy)
    assert printed["then"] == getattr(predictor, then)(image, found.box_xyxy).as_dict()


def test_without_a_box_there_is_no_second_turn(folder, capsys, monkeypatch):
    monkeypatch.setattr(Predictor, "locate", lambda *_: GroundingResult("rec_box", "nowhere", 0.5))
    command.predict(str(folder / "model"), folder / "scene.png", "locate", "the circle", None, None, "classify")
    assert json.loads(capsys.readouterr().out)["then"] is None


@pytest.mark.parametrize("task", ["locate", "segment", "keypoints", "find_all", "presence", "describe"])
def test_the_command_draws_the_answer_where_it_is(folder, capsys, tmp_path, task):
    """The image is grey and three times as large in the drawing; a label stands above the shapes."""
    question = (None, (20.0, 30.0, 70.0, 50.0)) if task == "describe" else ("the circle", None)
    command.predict(str(folder / "model"), folder / "scene.png", task, *question, tmp_path / "drawn.png")
    printed = json.loads(capsys.readouterr().out)
    boxes = [box for box in (printed.get("box_xyxy"), question[1], *printed.get("boxes", ())) if box]
    points = [((box[0] + box[2]) / 2, box[3]) for box in boxes]  # the centre of the lower side
    points += [point for ring in printed.get("polygons", ()) for point in ring]
    points += [point for point in printed.get("points", ()) if tuple(point) != (0, 0)]
    assert bool(points) == (task != "presence")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert all(is_coloured(drawn, 3 * x, 3 * y) for x, y in points)
        assert any(is_orange(pixel) for pixel in drawn.getdata())


def is_orange(pixel: tuple[int, ...]) -> bool:
    return pixel[0] - pixel[2] > 100


def is_coloured(image: Image.Image, x: float, y: float) -> bool:
    """Whether a pixel near (x, y) is orange."""
    around = [(round(x) + dx, round(y) + dy) for dx in (-2, -1, 0, 1, 2) for dy in (-2, -1, 0, 1, 2)]
    inside = [(u, v) for u, v in around if 0 <= u < image.width and 0 <= v < image.height]
    return any(is_orange(image.getpixel(each)) for each in inside)


def test_16_bits_are_scaled_and_not_clipped(predictor):
    """The same image with 8 and with 16 bits gets the same answer."""
    grey = np.arange(96 * 64, dtype=np.uint16).reshape(64, 96) % 256
    grey[0, :2] = 0, 255
    few, many = Image.fromarray(grey.astype(np.uint8)), Image.fromarray(grey * 257)
    assert few.mode == "L" and many.mode == "I;16"
    assert predictor.locate(many, "the circle") == predictor.locate(few, "the circle")
    assert predictor.locate(few, "the circle") != predictor.locate(Image.new("L", few.size, 255), "the circle")


@pytest.mark.parametrize("kind", ["missing", "text", "cut", "folder", "bomb"])
def test_a_bad_image_is_reported_in_one_line(folder, tmp_path, kind, monkeypatch):
    path = tmp_path / "picture.png"
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "cut":
        path.write_bytes((folder / "scene.png").read_bytes()[:200])
    elif kind == "folder":
        path.mkdir()
    elif kind == "bomb":
        path.write_bytes((folder / "scene.png").read_bytes())
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(VilamError, match=r"picture\.png") as caught:
        command.predict(str(folder / "model"), path, "locate", "the circle", None, None)
    assert "\n" not in str(caught.value)


def test_a_drawing_of_an_unknown_format_is_refused(folder, tmp_path):
    with pytest.raises(VilamError, match=r"drawn\.what: could not be written"):
        command.predict(str(folder / "model"), folder / "scene.png", "locate", "it", None, tmp_path / "drawn.what")


def test_a_drawing_in_a_folder_that_does_not_exist_is_refused(folder, tmp_path):
    path = tmp_path / "none" / "x.png"
    with pytest.raises(VilamError, match=r"none/x\.png: no folder .*/none: make it, or name a file elsewhere"):
        command.predict(str(folder / "model"), folder / "scene.png", "locate", "it", None, path)


def test_the_command_line_prints_and_saves(folder, tmp_path, monkeypatch, capsys):
    words = ["vilam", "predict", str(folder / "scene.png"), "--model", str(folder / "model"), "--locate", "the circle"]
    monkeypatch.setattr(sys, "argv", [*words, "--save", str(tmp_path / "answer.png")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0 and json.loads(capsys.readouterr().out)["task"] == "rec_box"
    assert (tmp_path / "answer.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--locate", "a", "--describe", "1,2,3,4"], "ask one thing"),
        ([], "ask one thing"),
        (["--classify", "1,2,3"], "expected x1,y1,x2,y2"),
        (["--classify", "9,2,3,4"], "the box is empty"),
        (["--classify", "nan,2,3,4"], "the box is empty"),
        (["--locate", "a", "--then", "segment"], "--then segment: expected classify or describe, after --locate"),
        (["--segment", "a", "--then", "classify"], "--then classify: expected classify or describe, after --locate"),
        (["--locate", " "], "the expression is empty"),
        (["--describe", "200,2,300,4"], "outside of the 96 x 64 image"),
    ],
)
def test_a_mistake_on_the_command_line_is_reported_in_one_line(folder, monkeypatch, capsys, words, message):
    monkeypatch.setattr(
        sys, "argv", ["vilam", "predict", str(folder / "scene.png"), "--model", str(folder / "model"), *words]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 1 and printed.out == ""
    assert len(printed.err.splitlines()) == 1 and message in printed.err
