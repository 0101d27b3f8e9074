"""The served model: seven tasks, tables of any rows, base64 of any form, and errors that stay in their rows."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import toy
from PIL import Image

from vilam.inference import serving
from vilam.inference.predictor import METHODS, Predictor
from vilam.models.build import LoadedModel
from vilam.tracking.replies import RequestError

BOX = [5, 5, 40.5, 40]
ROWS = [
    {"task": task, "box": BOX} if task in serving.BY_BOX else {"task": task, "text": "a circle"} for task in METHODS
]
"""One of each task: a table of them has NaN where a column is missing."""


def picture(seed: int = 0) -> Image.Image:
    return Image.effect_mandelbrot((96, 64), (-2, -1 - seed / 9, 1, 1), 50).convert("RGB")


def encoded(seed: int = 0) -> str:
    file = io.BytesIO()
    picture(seed).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(LoadedModel(toy.model(), toy.tokenizer(), toy.card(), {"tasks": ["rec_every", "presence"]}))


def ask(predictor: Predictor, rows: list[dict[str, Any]]) -> list[dict[Any, Any]]:
    """The answers to rows, which may lack columns, as a server writes them."""
    answers = serving.Served(predictor).predict(pd.DataFrame(rows))
    assert list(answers.columns) == ["answer", "confidence", "details", "error"]
    text = json.dumps(answers.to_dict("records"), allow_nan=False)
    read: list[dict[Any, Any]] = json.loads(text)
    return read


def test_every_task_of_a_mixed_table_has_the_answer_of_the_predictor(predictor: Predictor) -> None:
    answers = ask(predictor, [{**row, "image": encoded()} for row in ROWS])
    for row, answer in zip(ROWS, answers, strict=True):
        alone = getattr(predictor, str(row["task"]))(picture(), row.get("text", row.get("box")))
        assert (answer["answer"], answer["error"]) == (alone.text, None)
        assert answer["confidence"] == pytest.approx(alone.confidence, rel=1e-4)
        details = {name: value for name, value in json.loads(answer["details"]).items() if value is not None}
        assert details.keys() == alone.as_dict().keys()


def wrapped(text: str) -> str:
    """As `base64` writes it without -w0."""
    return "\n".join(text[start : start + 76] for start in range(0, len(text), 76)) + "\n"


FORMS: dict[str, Callable[[str], str]] = {
    "wrapped": wrapped,
    "url-safe": lambda text: text.translate(str.maketrans("+/", "-_")),
    "without padding": lambda text: text.rstrip("="),
    "data URL": lambda text: f"data:image/png;base64,{text}",
    "data URL, url-safe and wrapped": lambda text: "data:;base64," + wrapped(text.translate(str.maketrans("+/", "-_"))),
    "data URL, percent": lambda text: "data:image/png;base64," + text.replace("+", "%2B").replace("=", "%3D"),
}


@pytest.mark.parametrize("form", FORMS)
def test_base64_of_any_form_is_the_same_picture(predictor: Predictor, form: str) -> None:
    seed = next(seed for seed in range(99) if all(each in encoded(seed) for each in "+/="))
    rows = [
        {"task": "locate", "text": "a circle", "image": text} for text in (encoded(seed), FORMS[form](encoded(seed)))
    ]
    plain, other = ask(predictor, rows)
    assert plain == other and plain["error"] is None


BAD: dict[str, dict[str, Any]] = {
    "task 'sing': no such task: ask one of locate, ": {"task": "sing"},
    "task 'None': no such task": {"task": None},
    "task '5': no such task": {"task": 5},
    "task \"['locate']\": no such task": {"task": ["locate"]},
    "task 'locate': needs the column text": {"text": None},
    "task 'describe': needs the column box": {"task": "describe", "text": "x"},
    "expected four numbers": {"task": "classify", "box": [1, 2, 3]},
    "box '1,2,3,4': expected four numbers": {"task": "classify", "box": "1,2,3,4"},
    "outside of the 96 x 64 image": {"task": "classify", "box": [900, 1, 902, 5]},
    "the expression is empty": {"text": ""},
    "the expression 5 is no text": {"text": 5},
    "'<image>' has no words": {"text": "<image>"},
    "the expression is too long": {"text": "red " * 20000},
    "image: missing": {"image": None},
    "image: no text": {"image": 7},
    "image: not in base64": {"image": "/home/me/photo.jpg?"},
    "image: not a PNG": {"image": "AAAA"},
    "image: not a PNG, ": {"image": ""},
    "image: not a PNG, J": {"image": encoded()[:200]},
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_row_alone_is_the_message_of_the_request(predictor: Predictor, message: str) -> None:
    row = {"task": "locate", "text": "a circle", "image": encoded(), **BAD[message]}
    with pytest.raises(RequestError) as caught:
        ask(predictor, [row])
    error = caught.value
    assert message in error.message and "\n" not in error.message and len(error.message) < 200
    error.message = "Failed to predict data"  # what MLflow's server does
    reply = json.loads(error.serialize_as_json())
    assert message in reply["message"] and "stack_trace" not in reply and error.get_http_status_code() == 400


def test_bad_rows_spoil_no_others(predictor: Predictor) -> None:
    good = {"task": "locate", "text": "a circle", "image": encoded()}
    rows = [good, *({**good, **bad} for bad in BAD.values()), {**good, "image": encoded(1)}]
    answers = ask(predictor, rows)
    for answer, message in zip(answers[1:-1], BAD, strict=True):
        assert message in answer.pop("error") and set(answer.values()) == {None}
    assert [answers[0], answers[-1]] == ask(predictor, [rows[0], rows[-1]])


def test_a_request_without_answers_names_each_error_once(predictor: Predictor) -> None:
    row = {"task": "sing", "text": "x", "image": encoded()}
    with pytest.raises(RequestError, match=r"^task 'sing': no such task: [^;]*; image: missing[^;]*$"):
        ask(predictor, [row, {**row, "task": "locate", "image": None}, row])
    with pytest.raises(RequestError, match=r"and 4 more$"):
        ask(predictor, [{**row, "task": str(number)} for number in range(9)])


def test_a_fault_of_the_server_spoils_the_rows_of_its_picture_and_shows_no_paths(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, calls = predictor.ask, []

    def broken(image: Image.Image, questions: Any) -> Any:
        calls.append(len(questions))
        if len(calls) == 1:
            raise RuntimeError(f"{__file__}: out of memory")
        return plain(image, questions)

    monkeypatch.setattr(predictor, "ask", broken)
    row = {"task": "presence", "text": "a star"}
    failed, good, also = ask(predictor, [{**row, "image": encoded(seed)} for seed in (0, 1, 0)])
    assert calls == [2, 1] and good["error"] is None
    assert failed["error"] == also["error"] == "the server failed, and its log says why: ask whoever runs it"
    assert "out of memory" in caplog.text


def test_what_is_wrong_with_a_medical_file_names_no_folder_of_the_server(predictor: Predictor) -> None:
    content = base64.b64encode(b"\0" * 128 + b"DICM" + b"\0" * 400).decode()
    with pytest.raises(RequestError) as caught:
        ask(predictor, [{"task": "presence", "text": "a star", "image": content}])
    assert tempfile.gettempdir() not in caught.value.message


def test_rows_about_one_picture_decode_and_encode_it_once(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, read = [], []
    open_image, encode = predictor.open_image, predictor.model.network.encode_images
    monkeypatch.setattr(predictor, "open_image", lambda file: opened.append(file) or open_image(file))
    monkeypatch.setattr(predictor.model.network, "encode_images", lambda pixels: read.append(pixels) or encode(pixels))
    images = [encoded(), encoded(1), FORMS["data URL"](encoded()), wrapped(encoded(1)), encoded()]
    answers = ask(predictor, [{"task": "presence", "text": "a star", "image": image} for image in images])
    assert len(opened) == len(read) == 2
    assert answers[0] == answers[2] == answers[4] and answers[1] == answers[3]


def test_an_empty_table_has_no_answers(predictor: Predictor) -> None:
    assert ask(predictor, []) == []
