"""The prepare stage from settings to files; a failure keeps the old files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vilam.commands.datasets import check
from vilam.config import Settings, load_settings, read_yaml, yaml_text
from vilam.data.card import read_card
from vilam.data.store import RecordStore, read_records
from vilam.errors import VilamError
from vilam.stages import prepare

FEW_SCENES = {"scenes": {"image_size": 32, "num_images": {"train": 4, "val": 2, "test": 2}}}


@pytest.fixture(autouse=True)
def _recipes(project: Path, tmp_path: Path) -> None:
    """The project's recipes in the folder in which the stage runs."""
    (tmp_path / "configs").symlink_to(project / "configs")


def _settings(project: Path, **changes: Any) -> Settings:
    settings = load_settings(project / "params.yaml").model_dump(by_alias=True)
    return Settings.model_validate(settings | {"prepare": settings["prepare"] | FEW_SCENES | changes})


def _coco(root: Path, **bad: Any) -> Path:
    """Thirty images of one object each; ``bad`` changes annotation 0."""
    (root / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(30):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(root / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 20, "height": 20})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": [2, 2, 9, 9]})
    annotations[0] |= bad
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cup"}]}
    (root / "instances.json").write_text(json.dumps(content))
    return root


def test_scenes_are_written_with_card_and_metrics(project: Path, tmp_path: Path) -> None:
    prepare.run(_settings(project), tmp_path)
    card = read_card(tmp_path / "data" / "records")
    assert card.splits == ("train", "val", "test")
    assert json.loads((tmp_path / "metrics" / "prepare.json").read_text()) == card.counts
    assert card.counts["train"]["num_images"] == 4
    assert len(RecordStore(tmp_path / "data" / "records", "test")) == 2


@pytest.mark.parametrize(
    ("own", "setting", "expected"),
    [(None, None, ""), ("A chest.", None, "A chest."), ("A chest.", "", ""), (None, " A  cup. ", "A cup.")],
)
def test_the_domain_is_that_of_the_settings_or_of_the_recipe(
    project: Path, tmp_path: Path, own: str | None, setting: str | None, expected: str
) -> None:
    recipe = (project / "configs" / "datasets" / "coco.yaml").read_text()
    (tmp_path / "own.yaml").write_text(recipe + (f"domain: {own}\n" if own else ""))
    root = _coco(tmp_path / "set")
    source = {"source": str(tmp_path / "own.yaml"), "root": root, "domain": setting}
    prepare.run(_settings(project, **source), tmp_path)
    folder = tmp_path / "data" / "records"
    assert read_card(folder).domain == expected
    assert {record.domain for record in read_records(folder)} == {expected}
    kept = tmp_path / "kept"
    folder.rename(kept)  # it is kept if the records are read again
    prepare.run(_settings(project, source="parquet", root=kept), tmp_path)
    assert {record.domain for record in read_records(folder)} == {expected}


@pytest.mark.parametrize(
    "bad",
    [
        {"bbox": [2, 2, float("nan"), 9]},
        {"bbox": [2, 2, 0, 9]},
        {"bbox": [50, 2, 9, 9]},
        {"category_id": 8},
        {"image_id": 99},
    ],
)
def test_one_bad_row_is_counted(project: Path, tmp_path: Path, bad: dict[str, Any]) -> None:
    root = _coco(tmp_path / "coco", **bad)
    prepare.run(_settings(project, source="coco", root=root), tmp_path)
    counts = json.loads((tmp_path / "metrics" / "prepare.json").read_text())
    assert sum(one["num_invalid"] for one in counts.values()) == 1
    assert sum(one["num_regions"] for one in counts.values()) == 29


def test_an_id_that_appears_twice_costs_nothing(project: Path, tmp_path: Path) -> None:
    prepare.run(_settings(project, source="coco", root=_coco(tmp_path / "coco", id=1)), tmp_path)
    counts = json.loads((tmp_path / "metrics" / "prepare.json").read_text())
    assert [sum(one[name] for one in counts.values()) for name in ("num_regions", "num_invalid")] == [30, 0]


def test_a_truncated_image_is_counted_and_left_out(project: Path, tmp_path: Path) -> None:
    root = _coco(tmp_path / "coco")
    path = root / "images" / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    prepare.run(_settings(project, source="coco", root=root), tmp_path)
    assert len(list(read_records(tmp_path / "data" / "records"))) == 29


def test_too_many_bad_rows_stop_the_stage_and_keep_the_old_records(project: Path, tmp_path: Path) -> None:
    prepare.run(_settings(project), tmp_path)
    before = list(read_records(tmp_path / "data" / "records"))
    root = _coco(tmp_path / "coco", category_id=8)
    with pytest.raises(VilamError, match=r"annotation 0: unknown category id 8"):
        prepare.run(_settings(project, source="coco", root=root, max_invalid=0), tmp_path)
    assert list(read_records(tmp_path / "data" / "records")) == before


def _empty_split(content: Any, root: Path) -> None:
    one = {"images": content["images"][:1], "annotations": content["annotations"][:1]}
    (root / "instances_test.json").write_text(json.dumps(content | one))
    (root / "images" / "0.png").write_bytes(b"no picture")


def _no_object(content: Any, root: Path) -> None:
    content["annotations"] = []


def _corners(content: Any, root: Path) -> None:
    """Centre and size read as corner and size: some leave the picture."""
    for number, one in enumerate(content["annotations"]):
        one["bbox"] = [12, 12, 16, 3] if number % 2 else [2, 2, 9, 9]


def _bad_boxes(content: Any, root: Path) -> None:
    for one in content["annotations"]:
        one["bbox"] = [2, 2, 0, 9]


def _all_in_train(content: Any, root: Path) -> None:
    for number in range(30):
        Image.new("RGB", (20, 20)).save(root / "images" / f"{number}.png")


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (_empty_split, {}, "split test: no image in it: add some, or leave the split out"),
        (_no_object, {}, "no picture has an object"),
        (_corners, {}, "boxes leave their picture"),
        (
            _bad_boxes,
            {},
            r"more than prepare\.max_invalid = 0\.05 allows: 30 of 30 objects are bad \(box\), the first: ",
        ),
        (_all_in_train, {}, "every picture of test is in train too"),
        (None, {"prepare": {"unseen": ["cup"]}}, "prepare.unseen: all 1 categories are held out"),
        (None, {"prepare": {"absent_categories": 1, "source": "own.yaml"}}, "not every object of own is marked"),
    ],
)
def test_what_check_calls_not_ready_stops_the_stage_in_the_same_words(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Any, Path], None] | None,
    settings: dict[str, Any],
    message: str,
) -> None:
    root = _coco(tmp_path / "coco")
    content = json.loads((root / "instances.json").read_text())
    if change is not None:
        change(content, root)
    (root / "instances.json").write_text(json.dumps(content))
    recipe = (project / "configs" / "datasets" / "coco.yaml").read_text()
    (tmp_path / "own.yaml").write_text(recipe.replace("exhaustive: true", "exhaustive: false"))
    own = {"source": "coco", "root": str(root), **settings.get("prepare", {})}
    content = read_yaml(project / "params.yaml") | {"prepare": own, "evaluate": settings.get("evaluate", {})}
    (tmp_path / "params.yaml").write_text(yaml_text(content))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VilamError, match=message) as stopped:
        prepare.run(load_settings(tmp_path / "params.yaml"), tmp_path)
    with pytest.raises(VilamError, match=message) as told:
        check(str(own["source"]), root, tmp_path)
    words = str(stopped.value).removeprefix("coco: ")
    assert str(told.value) in (words, f"{root}: not ready to train: {words}")
    assert not (tmp_path / "data" / "records").exists()


def test_what_only_training_and_evaluation_need_is_a_warning(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    root = _coco(tmp_path / "coco")
    params = read_yaml(project / "params.yaml")
    params |= {"prepare": {"source": "coco", "root": str(root)}, "evaluate": {"splits": ["tets"]}}
    (tmp_path / "params.yaml").write_text(yaml_text(params))
    prepare.run(load_settings(tmp_path / "params.yaml"), tmp_path)
    words = "evaluate.splits names tets, there are train, val, test: set evaluate.splits: [test]"
    assert f"coco: {words}" in caplog.text and read_card(tmp_path / "data" / "records").counts["train"]
    with pytest.raises(VilamError) as told:
        check("coco", root, tmp_path)
    assert str(told.value) == f"{root}: not ready to train: {words}"


@pytest.mark.parametrize(
    ("model", "stops"),
    [({}, False), ({"checkpoint": "Qwen/Qwen2.5-VL-3B-Instruct"}, True), ({"fine_tune_from": "qwen"}, True)],
)
def test_a_picture_that_the_model_refuses_stops_the_stage(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, str], stops: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    root = _coco(tmp_path / "coco")
    content = json.loads((root / "instances.json").read_text())
    content["images"][3] |= {"width": 2010, "height": 10}
    (root / "instances.json").write_text(json.dumps(content))
    Image.new("RGB", (2010, 10), (3, 0, 0)).save(root / "images" / "3.png")
    (tmp_path / "qwen").mkdir()
    (tmp_path / "qwen" / "config.json").write_text('{"model_type": "qwen3_vl"}')
    params = read_yaml(project / "params.yaml")
    params |= {"prepare": {"source": "coco", "root": str(root)}, "model": model, "train": {"cycle": {"mode": "none"}}}
    (tmp_path / "params.yaml").write_text(yaml_text(params))
    if not stops:
        prepare.run(load_settings(tmp_path / "params.yaml"), tmp_path)
        check("coco", root, tmp_path)
        return
    for run in (
        lambda: prepare.run(load_settings(tmp_path / "params.yaml"), tmp_path),
        lambda: check("coco", root, tmp_path),
    ):
        with pytest.raises(
            VilamError, match=r"more than 200 times as long as wide, such as images/3: the model of params\.yaml"
        ):
            run()


def test_a_missing_folder_is_reported(project: Path, tmp_path: Path) -> None:
    for source in ("coco", "refcoco", "voc"):
        with pytest.raises(VilamError, match="no such folder"):
            prepare.run(_settings(project, source=source, root=tmp_path / "none"), tmp_path)


def test_two_empty_boxes_of_the_real_cells_are_counted(project: Path, tmp_path: Path, real_data: Path) -> None:
    prepare.run(_settings(project, source="voc", root=real_data / "bccd"), tmp_path)
    counts = json.loads((tmp_path / "metrics" / "prepare.json").read_text())
    assert sum(one["num_invalid"] for one in counts.values()) == 2
    assert sum(one["num_regions"] for one in counts.values()) == 4155 + 372 + 361 - 2
