"""The page: complete in one file, with the texts of the data escaped, and without files of an older one."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vilam.data.records import DatasetCard, ImageRecord
from vilam.errors import VilamError
from vilam.evaluation.evaluator import Evaluation, evaluate
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


def test_the_report_is_one_file(tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]) -> None:
    parsed = Page(write(tmp_path, evaluations))
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in parsed.addresses)
    assert {"table", "svg", "img"} <= parsed.tags
    num_embedded = sum(address.startswith("data:") for address in parsed.addresses)
    assert len(list((tmp_path / "gallery").glob("*.jpg"))) == num_embedded > 0


def test_texts_of_the_data_are_escaped(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    page = write(tmp_path, evaluations, gallery=20)
    assert "script" not in Page(page).tags
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page
    assert "&lt;b&gt;scenes&lt;/b&gt;" in page
    assert "<title>T &lt; U</title>" in page


def test_both_stages_are_shown_side_by_side(
    tmp_path: Path, write: Callable[..., str], evaluations: dict[str, Evaluation]
) -> None:
    page = " ".join(re.sub("<[^>]*>", " ", write(tmp_path, evaluations)).split())
    assert "acc_0.5 0.000 0.750 +0.750" in page
    assert "oks 0.000 1.000 +1.000" in page
    assert "after activate (0.00)" in page


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
    assert "svg" not in Page(page).tags


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
