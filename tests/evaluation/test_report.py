"""The page: complete in one file, with the texts of the data escaped, and without files of an older one."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vilam.data.records import DatasetCard, ImageRecord
from vilam.errors import VilamError
from vilam.evaluation import report
from vilam.evaluation.evaluator import Evaluation, evaluate
from vilam.evaluation.predictions import Prediction
from vilam.evaluation.report import write_report
from vilam.tasks import TASKS


class Page(HTMLParser):
    """The tags of a page and the addresses of its pictures and links."""

    def __init__(self, page: str) -> None:
        """Read the page."""
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]


@pytest.fixture
def evaluations(predict, records: dict[str, ImageRecord], card: DatasetCard) -> dict[str, Evaluation]:
    """Two stages; in the first nothing can be read, in the second an expression is a script."""
    good = [predict(task, image) for task in TASKS for image in "abc"]
    bad = [predict(task, image, " ") for task in TASKS for image in "abc"]
    good.append(predict("reg_caption", "a", "<script>alert(2)</script>"))
    good.append(predict("rec_box", "b", "[1, 2, 3, 4]", region_id="circle"))
    round_trips = {"reg_caption:a:star": "[1, 2, 300, 400]"}
    return {
        "activate": evaluate(bad, records, card, bootstrap=10, seed=0),
        "train": evaluate(good, records, card, bootstrap=10, seed=0, round_trips=round_trips),
    }


@pytest.fixture
def write(records: dict[str, ImageRecord], card: DatasetCard) -> Callable[..., str]:
    def run(folder: Path, evaluations: dict[str, Evaluation], **options: int) -> str:
        settings = {"gallery": 4, "title": "T < U", "facts": {"data": "<b>scenes</b>"}} | options
        return write_report(folder, evaluations, records, card, **settings).read_text(encoding="utf-8")

    return run


def embedded(page: str) -> dict[str, Any]:
    """What the page's script reads, as Python's JSON reads it."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_report_is_one_file(tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]) -> None:
    page = write(tmp_path, evaluations)
    assert all(address.startswith("#") for address in Page(page).addresses)
    assert "default-src 'none'" in page
    assert len(list((tmp_path / "gallery").glob("*.jpg"))) > 0


def test_texts_of_the_data_are_escaped(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    page = write(tmp_path, evaluations, gallery=20)
    assert "<script>alert" not in page
    answers = [answer for image in embedded(page)["images"] for answer in image["answers"]]
    texts = [given[0] for answer in answers for given in answer[-1] if given]
    assert "<script>alert(2)</script>" in texts
    assert "&lt;b&gt;scenes&lt;/b&gt;" in page
    assert "<title>T &lt; U</title>" in page


def test_both_stages_are_shown_side_by_side(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    written = write(tmp_path, evaluations)
    page = " ".join(re.sub("<[^>]*>", " ", written).split())
    assert "acc_0.5 0.000 0.750 +0.750" in page
    assert "oks 0.000 1.000 +1.000" in page
    assert "unreadable it cannot be parsed as a box 3 0" in page
    assert embedded(written)["stages"] == ["after activate", "after train"]


def test_every_answer_of_both_models_is_in_the_page(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    data = embedded(write(tmp_path, evaluations, gallery=0))
    last = evaluations["train"].rows.set_index("instruction_id")
    found = [dict(zip(data["answer"], answer, strict=True)) for image in data["images"] for answer in image["answers"]]
    assert {answer["id"] for answer in found} == set(last.index)
    for answer in found:
        row = last.loc[[answer["id"]]].iloc[-1]
        assert (answer["task"], answer["expression"]) == (row["task"], row["expression"])
        given = dict(zip(data["given"], answer["models"][1], strict=True))
        assert given["confidence"] == row["confidence"]
        if row["task"] in ("rec_box", "rec_mask"):
            assert given["score"] == pytest.approx(row["iou"], abs=0.001)
    (box,) = (answer for answer in found if answer["id"] == "rec_box:a:star")
    assert box["models"][1][1] == {"boxes": [[10, 20, 50, 60]]}
    assert [given[4] for given in box["models"]] == ["unreadable", "correct"]
    (mask,) = (answer for answer in found if answer["id"] == "rec_mask:a:star")
    assert len(mask["models"][1][1]["rings"][0]) == 25
    (points,) = (answer for answer in found if answer["id"] == "rec_keypoints:a:star")
    assert points["models"][1][1]["points"] == [[30, 20], [0, 0]]
    assert data["skeletons"] == {"star": [[0, 1]]}
    assert data["images"][0]["regions"][0]["rings"] == [[[10, 20], [50, 20], [50, 60], [10, 60]]]


def test_a_picture_is_embedded_once_and_opens(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    page = write(tmp_path, evaluations)
    pictures = [image["picture"] for image in embedded(page)["images"]]
    assert len(pictures) == 3 and page.count("data:image") == 3
    opened = [Image.open(BytesIO(base64.b64decode(picture.partition(",")[2]))) for picture in pictures]
    assert [picture.size for picture in opened] == [(100, 100)] * 3


@pytest.fixture
def photographs(predict: Callable[..., Prediction], records: dict[str, ImageRecord], card: DatasetCard) -> Evaluation:
    """Answers on twelve images that hardly compress, which join the records."""
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(noise).save(stream, "JPEG")
    names = [f"photograph {number}" for number in range(12)]
    records |= {name: replace(records["a"], image_id=name, image=stream.getvalue()) for name in names}
    one = predict("rec_box")
    asked = [replace(one, instruction=replace(one.instruction, instruction_id=name, image_id=name)) for name in names]
    return evaluate(asked, records, card, bootstrap=2, seed=0)


@pytest.mark.parametrize(("space", "at_least"), [(3_000_000, 12), (600_000, 12), (100_000, 2)])
def test_the_page_keeps_its_size(
    space: int,
    at_least: int,
    tmp_path: Path,
    write: Callable[..., str],
    photographs: Evaluation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pictures are scaled down first, and left out only if the smallest ones do not fit."""
    monkeypatch.setattr(report, "BYTES", 1)
    page_of_one = len(write(tmp_path, {"train": photographs}, gallery=0).encode())
    monkeypatch.setattr(report, "BYTES", page_of_one + space)
    page = write(tmp_path, {"train": photographs}, gallery=0)
    shown = len(embedded(page)["images"])
    assert page_of_one < len(page.encode()) <= page_of_one + space
    assert at_least <= shown
    assert ("of 12 images are shown here" in page) is (shown < 12)


def test_oracle_metrics_have_a_row_of_their_own(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    assert "oracle" not in write(tmp_path, evaluations)
    metrics = evaluations["train"].metrics | {"rec_box_oracle/acc_0.5": 0.875, "rec_box_oracle/total": 4.0}
    page = write(tmp_path, evaluations | {"train": replace(evaluations["train"], metrics=metrics)})
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "rec_box_oracle expression → region, not comparable with strict rows acc_0.5 – 0.875" in text
    assert "acc_0.5 0.000 0.750 +0.750" in text and "not comparable with strict numbers." in text


def test_a_report_of_one_stage_and_few_tasks_is_complete(
    tmp_path: Path, write: Callable[..., str], predict, records: dict[str, ImageRecord], card: DatasetCard
) -> None:
    evaluation = evaluate([predict("reg_class")], records, card, bootstrap=2, seed=0)
    page = write(tmp_path, {"train": evaluation})
    assert "nothing to ask about: rec_box, rec_keypoints, rec_mask, reg_caption." in page
    assert "Kinds of error" not in page and len(embedded(page)["images"]) == 1


def test_pictures_of_an_earlier_report_are_removed(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    write(tmp_path, evaluations, gallery=9)
    write(tmp_path, evaluations, gallery=1)
    assert len(list((tmp_path / "gallery").iterdir())) == len(TASKS)


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VilamError, match="the report could not be written"):
        write(tmp_path / "file", evaluations)
