"""A published data set: complete, with correct checksums, and the same when it is read again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import toy
import yaml
from pycocotools.coco import COCO
from reading import read

from vilam.cli import app
from vilam.commands.publish import publish
from vilam.data.coco_json import coco_content
from vilam.data.instructions import read_instructions
from vilam.data.readers import find_recipe, open_files
from vilam.data.readers.source import RawRecord
from vilam.data.records import ImageRecord
from vilam.data.store import read_records
from vilam.errors import VilamError


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def published(project: Path) -> Path:
    publish(project / "data" / "records", project / "data" / "instructions", project / "public")
    return project / "public"


def head(folder: Path) -> dict[str, object]:
    """The front matter of the card."""
    content: dict[str, object] = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---")[1])
    return content


def test_a_folder_that_holds_something_else_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("thesis")
    with pytest.raises(VilamError, match="exists and holds something else: name a new folder"):
        publish(project / "data" / "records", project / "data" / "instructions", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_every_file_has_its_checksum(published: Path) -> None:
    lines = [line.split("  ") for line in (published / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {
        path.relative_to(published).as_posix()
        for path in published.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    for digest, name in lines:
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == digest


def test_files_that_the_card_names_exist(published: Path, project: Path) -> None:
    """As for `datasets.load_dataset`: the files of every split, with all rows."""
    configs = head(published)["configs"]
    assert isinstance(configs, list) and [one["config_name"] for one in configs] == ["records", "instructions"]
    for config in configs:
        for part in config["data_files"]:
            files = sorted(published.glob(part["path"]))
            rows = sum(pq.ParquetFile(file).metadata.num_rows for file in files)
            if config["config_name"] == "records":
                assert rows == len([one for one in toy.scenes() if one.split == part["split"]])
            else:
                assert rows == len([*read_instructions(project / "data" / "instructions", part["split"])])


def test_coco_files_hold_the_same_regions(published: Path, project: Path) -> None:
    for split in toy.card().splits:
        records = list(read_records(project / "data" / "records", split))
        found = COCO(str(published / "coco" / f"instances_{split}.json"))
        assert len(found.imgs) == len(records)
        annotations = iter(found.loadAnns(sorted(found.anns)))
        for record in records:
            for region in record.regions:
                one = next(annotations)
                x, y, width, height = one["bbox"]
                assert (x, y, x + width, y + height) == pytest.approx(region.box_xyxy)
                assert found.cats[one["category_id"]]["name"] == region.category
                assert one["expressions"] == [each.text for each in region.expressions]
                assert len(one["segmentation"]) == len(region.polygons)
                assert one.get("num_keypoints", 0) == sum(v > 0 for _, _, v in region.keypoints)
                assert found.annToMask(one).any()


def test_coco_files_are_read_back_unchanged(published: Path, project: Path, tmp_path: Path) -> None:
    """With the images beside them, by vilam's own reader."""
    records = list(read_records(project / "data" / "records", "test"))
    for record in records:
        path = tmp_path / "images" / f"{record.image_id}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(record.image)
    (tmp_path / "all.json").write_bytes((published / "coco" / "instances_test.json").read_bytes())
    again, problems = read({"kind": "coco", "files": {"test": "all.json"}, "images": ["images"]}, tmp_path)
    assert problems == []

    def facts(found: list[ImageRecord]) -> list[list[tuple[object, ...]]]:
        return [[(r.category, r.polygons, r.keypoints) for r in record.regions] for record in found]

    assert facts(again) == facts(records)


def test_other_formats_are_written_beside_and_are_read_by_themselves(project: Path, tmp_path: Path) -> None:
    records = list(read_records(project / "data" / "records"))
    publish(project / "data" / "records", tmp_path / "none", tmp_path / "public", ["yolo", "odvg", "ms_swift"])
    assert "## Other formats\n\n- `yolo/`: Ultralytics" in (tmp_path / "public" / "README.md").read_text()
    assert "  yolo/data.yaml\n" in (tmp_path / "public" / "SHA256SUMS").read_text()
    for name in ("yolo", "odvg", "ms_swift"):
        recipe, root = find_recipe("auto", tmp_path / "public" / name, tmp_path)
        found = {row.record.image: row.record for row in open_files(recipe, root).rows if isinstance(row, RawRecord)}
        for record in records:
            assert sorted(r.category for r in found[record.image].regions) == sorted(r.category for r in record.regions)
    with pytest.raises(VilamError, match="--format coco: choose from labelstudio, ms_swift, odvg, yolo"):
        publish(project / "data" / "records", tmp_path / "none", tmp_path / "other", ["coco"])


def test_licences_and_sources_of_expressions_are_counted(published: Path) -> None:
    text = (published / "README.md").read_text(encoding="utf-8")
    licence = toy.scenes()[0].licence
    assert f"- {licence}: {len(toy.scenes())}" in text
    assert "## Expressions in the instructions by source" in text and "## Known limits" in text


def test_records_without_instructions_are_published(project: Path, tmp_path: Path) -> None:
    publish(project / "data" / "records", tmp_path / "none", tmp_path / "public")
    configs = head(tmp_path / "public")["configs"]
    assert isinstance(configs, list) and len(configs) == 1
    assert not (tmp_path / "public" / "instructions").exists()


def test_failed_publication_leaves_nothing(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VilamError, match="could not be written"):
        publish(project / "data" / "records", tmp_path / "none", tmp_path / "file" / "public")
    with pytest.raises(VilamError, match=r"card\.json: not found"):
        publish(tmp_path, tmp_path, tmp_path / "public")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_licence_that_is_not_in_the_card_gets_an_id(project: Path) -> None:
    record = replace(next(read_records(project / "data" / "records", "test")), licence="another")
    content = coco_content(toy.card(), iter([record]))
    names = {one["id"]: one["name"] for one in content["licenses"]}
    assert names[content["images"][0]["license"]] == "another"


def test_the_command_publishes(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    app(["publish", str(tmp_path / "public")], standalone_mode=False)
    assert "README.md says how to load it" in capsys.readouterr().out
    assert json.loads((tmp_path / "public" / "coco" / "instances_test.json").read_text())["annotations"]
