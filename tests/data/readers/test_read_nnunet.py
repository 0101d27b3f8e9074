"""nnU-Net's raw folders, of both versions of dataset.json, with several channels, of volumes and of pictures."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own abbreviation)
from numpy.typing import NDArray
from PIL import Image
from reading import recipe

from vilam.data.readers import find_recipe, open_files
from vilam.data.readers.nnunet import recognises
from vilam.data.readers.source import Problem, RawRecord
from vilam.data.records import ImageRecord
from vilam.errors import VilamError

SHAPE = (6, 40, 50)
V2 = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1, "lesion": 2}, "file_ending": ".nii.gz"}


def save(path: Path, values: NDArray[Any], axes: str = "LPS") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(values, isVector=False)
    sitk.WriteImage(sitk.DICOMOrient(image, axes) if values.ndim == 3 else image, str(path))


def marks() -> NDArray[np.uint8]:
    """An organ that is largest in slice 2, with a lesion inside that is largest in slice 4."""
    values = np.zeros(SHAPE, np.uint8)
    for z, half in ((1, 4), (2, 9), (3, 7), (4, 6)):
        values[z, 20 - half : 20 + half, 25 - half : 25 + half] = 1
    values[2, 18:20, 24:26] = values[4, 17:22, 22:28] = 2
    return values


def write(root: Path, content: dict[str, Any] = V2, channel: str = "_0000", axes: str = "LPS") -> Path:
    rng = np.random.default_rng(0)
    for case in ("case_1", "case_2", "case_3"):
        save(root / "imagesTr" / f"{case}{channel}.nii.gz", rng.integers(-900, 900, SHAPE, dtype=np.int16), axes)
        save(root / "labelsTr" / f"{case}.nii.gz", marks(), axes)
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def read(root: Path) -> tuple[list[ImageRecord], list[str]]:
    own, folder = find_recipe("auto", root, Path.cwd())
    rows = list(open_files(own, folder).rows)
    problems = [row.message for row in rows if isinstance(row, Problem)]
    return [row.record for row in rows if isinstance(row, RawRecord)], problems


def boxes(record: ImageRecord) -> dict[str, tuple[float, ...]]:
    return {region.category: region.box_xyxy for region in record.regions}


@pytest.mark.parametrize("axes", ["LPS", "RAS", "ASL"])
@pytest.mark.parametrize(
    ("content", "channel"),
    [
        (V2, "_0000"),
        ({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ", "2": "lesion"}}, "_0000"),
        ({"labels": {"0": "background", "1": "organ", "2": "lesion"}, "training": []}, ""),
        ({"labels": {"background": 0, "organ": 1, "lesion": [2], "ignore": 3}}, "_0000"),
    ],
)
def test_an_object_is_shown_where_it_is_largest(
    tmp_path: Path, content: dict[str, Any], channel: str, axes: str
) -> None:
    records, problems = read(write(tmp_path, content, channel, axes))
    assert not problems and len(records) == 6
    assert {record.split for record in records} == {"train", "val", "test"}
    two, four = (next(one for one in records if one.image_id == f"case_1_000{z}") for z in (2, 4))
    assert (two.width, two.height) == (50, 40)
    assert boxes(two) == {"organ": (16, 11, 34, 29), "lesion": (24, 18, 26, 20)}
    assert boxes(four) == {"organ": (19, 14, 31, 26), "lesion": (22, 17, 28, 22)}


def test_a_region_of_several_values_is_one_object(tmp_path: Path) -> None:
    content = {"labels": {"background": 0, "whole": [1, 2], "lesion": 2}, "regions_class_order": [1, 2]}
    records, _ = read(write(tmp_path, content))
    assert boxes(records[0])["whole"] == (16, 11, 34, 29)


def test_the_first_of_several_channels_is_shown(tmp_path: Path) -> None:
    root = write(tmp_path, {"labels": {"0": "background", "1": "organ", "2": "lesion"}}, "")
    values = np.zeros((2, *SHAPE), np.int16)
    values[0, :, :, 25:] = 100
    values[1] = 7
    image = sitk.JoinSeries([sitk.GetImageFromArray(one) for one in values])
    sitk.WriteImage(image, str(root / "imagesTr" / "case_1.nii.gz"))
    records, problems = read(root)
    shown = next(record for record in records if record.image_id == "case_1_0002")
    with Image.open(BytesIO(shown.image)) as picture:
        assert not problems and np.array_equal(np.asarray(picture)[0], [0] * 25 + [255] * 25)


def test_labels_of_a_test_split_make_it_official(tmp_path: Path) -> None:
    root = write(tmp_path)
    save(root / "imagesTs" / "case_9_0000.nii.gz", np.zeros(SHAPE, np.int16))
    save(root / "labelsTs" / "case_9.nii.gz", marks())
    splits = {record.image_id[:6]: record.split for record in read(root)[0]}
    assert splits["case_9"] == "test" and {splits[f"case_{n}"] for n in (1, 2, 3)} == {"train", "val"}


def test_pictures_are_read_too(tmp_path: Path) -> None:
    for folder, name in (("imagesTr", "a_0000"), ("labelsTr", "a")):
        (tmp_path / folder).mkdir()
        Image.fromarray(marks()[2] * (1 if folder == "labelsTr" else 90)).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "dataset.json").write_text(json.dumps(V2 | {"file_ending": ".png"}))
    (record,), problems = read(tmp_path)
    assert not problems and record.image_id == "a"
    assert boxes(record) == {"organ": (16, 11, 34, 29), "lesion": (24, 18, 26, 20)}


def test_what_is_bad_costs_only_itself(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "imagesTr" / "case_1_0000.nii.gz").unlink()
    save(root / "labelsTr" / "case_2.nii.gz", marks()[1:])
    records, problems = read(root)
    assert {record.image_id[:6] for record in records} == {"case_3"}
    assert sorted(message.split()[0] for message in problems) == ["cannot", "image"]
    assert any("its labels case_2.nii.gz are (5, 40, 50), it (6, 40, 50)" in message for message in problems)


@pytest.mark.parametrize("labels", [{}, {"background": 0}, {"organ": "x"}, {"organ": {"a": 1}}])
def test_labels_without_a_name_are_refused(tmp_path: Path, labels: dict[str, Any]) -> None:
    root = write(tmp_path, {"labels": labels})
    with pytest.raises(VilamError, match=r"dataset\.json: "):
        open_files(recipe({"kind": "nnunet"}), root)


def test_other_folders_are_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"labels": {"a": 1}}')
    assert recognises(tmp_path) is None and recognises(tmp_path / "dataset.json") is None
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "dataset.json").write_text('[{"labels": 1}]')
    assert recognises(tmp_path) is None
    (tmp_path / "dataset.json").write_bytes(b"\xff\xfe{")
    assert recognises(tmp_path) is None
