"""Every data set that has a recipe, read from a few files in its own format and layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its own abbreviation)
from numpy.typing import NDArray
from PIL import Image
from reading import PROJECT, read, write_image

from vilam.data.recipes import read_recipe, recipe_files
from vilam.errors import VilamError
from vilam.geometry.polygons import area

BOX = (10.0, 6.0, 30.0, 21.0)
"""The box of every object here, in an image of 40 x 30."""
GENERIC = {"coco", "voc", "yolo", "parquet", "refer"}
ELSEWHERE = {"bccd", "grefcoco", "refcoco", "refcoco_plus", "refcocog_umd", "refcocog_google"}
"""Read in the tests of their readers."""


def mask(value: int | tuple[int, int, int] = 255) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = map(int, BOX)
    pixels = np.zeros((30, 40, *np.shape(value)), np.uint8)
    pixels[y1:y2, x1:x2] = value
    return pixels


def save(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def isic16(root: Path) -> None:
    for part in ("Training", "Test"):
        write_image(root / f"ISBI2016_ISIC_Part1_{part}_Data" / f"ISIC_{part}.jpg")
        save(root / f"ISBI2016_ISIC_Part1_{part}_GroundTruth" / f"ISIC_{part}_Segmentation.png", mask())


def ham10000(root: Path) -> None:
    for part, name in ((1, "ISIC_0000001"), (2, "ISIC_0000002")):
        write_image(root / f"HAM10000_images_part_{part}" / f"{name}.jpg")
        save(root / "HAM10000_segmentations_lesion_tschandl" / f"{name}_segmentation.png", mask())
    rows = ["HAM_1,ISIC_0000001,mel,histo,80.0,male,scalp", "HAM_1,ISIC_0000002,mel,histo,80.0,male,scalp"]
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    (root / "HAM10000_metadata.csv").write_text("\n".join([header, *rows]))


def tn3k(root: Path) -> None:
    for part in ("trainval", "test"):  # its masks are JPEG too
        write_image(root / f"{part}-image" / "0000.jpg")
        save(root / f"{part}-mask" / "0000.jpg", mask())


def busi(root: Path) -> None:
    for name in ("benign", "malignant", "normal"):
        folder = root / "Dataset_BUSI_with_GT" / name
        write_image(folder / f"{name} (1).png")
        save(folder / f"{name} (1)_mask.png", mask(0 if name == "normal" else 255))
    save(folder.with_name("benign") / "benign (1)_mask_1.png", mask())


def lgg(root: Path) -> None:
    folder = root / "kaggle_3m" / "TCGA_CS_4941_19960909"
    for number in (1, 2):
        write_image(folder / f"TCGA_CS_4941_19960909_{number}.tif")
        save(folder / f"TCGA_CS_4941_19960909_{number}_mask.tif", mask(255 * (number - 1)))


def endovis18(root: Path) -> None:
    for number in (1, 2):
        write_image(root / f"seq_{number}" / "left_frames" / "frame000.png")
        save(root / f"seq_{number}" / "labels" / "frame000.png", mask((0, 255, 0) if number == 1 else (125, 255, 12)))


def tbx11k(root: Path) -> None:
    (root / "annotations" / "json").mkdir(parents=True)
    for part in ("train", "val"):
        write_image(root / "imgs" / "tb" / f"tb_{part}.png")
        content = {
            "images": [{"id": 1, "file_name": f"tb/tb_{part}.png", "width": 40, "height": 30}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 6, 20, 15], "iscrowd": 0}],
            "categories": [{"id": 1, "name": "ActiveTuberculosis"}, {"id": 2, "name": "ObsoletePulmonaryTuberculosis"}],
        }
        (root / "annotations" / "json" / f"TBX11K_{part}.json").write_text(json.dumps(content))


def rsna(root: Path) -> None:
    (root / "stage_2_train_images").mkdir()
    for name in ("0004cfab", "00436515"):
        pixels = np.zeros((1, 30, 40), np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(root / "stage_2_train_images" / f"{name}.dcm"))
    rows = ["0004cfab,,,,,0", "00436515,10.0,6.0,20.0,15.0,1"]
    (root / "stage_2_train_labels.csv").write_text("\n".join(["patientId,x,y,width,height,Target", *rows]))


def luna16(root: Path) -> None:
    """A nodule of 20 x 15 pixels, which are of 0.6 x 0.8 mm."""
    for number in (0, 8, 9):
        image = sitk.GetImageFromArray(np.full((9, 30, 40), -1000, np.int16))
        image.SetSpacing((0.6, 0.8, 2.0))
        image.SetOrigin((-198.1, -195.0, -335.2))
        (root / f"subset{number}").mkdir()
        sitk.WriteImage(image, str(root / f"subset{number}" / f"1.3.6.1.{number}.mhd"))
    x, y, z = -198.1 + 19.5 * 0.6, -195.0 + 13 * 0.8, -335.2 + 4 * 2.0
    rows = [f"1.3.6.1.{number},{x},{y},{z},12.0" for number in (0, 8, 9)]
    (root / "annotations.csv").write_text("\n".join(["seriesuid,coordX,coordY,coordZ,diameter_mm", *rows]))


def deeplesion(root: Path) -> None:
    rows = []
    for number, kind in ((1, "-1"), (2, "5"), (3, "8")):
        save(root / "Images_png" / f"00000{number}_01_01" / "109.png", np.full((30, 40), 32768, np.uint16))
        box = "10.0, 6.0, 30.0, 21.0"
        rows.append(f'00000{number}_01_01_109.png,{number},109,"{box}",{kind},"-175, 275",{number}')
    header = "File_name,Patient_index,Key_slice_index,Bounding_boxes,Coarse_lesion_type,DICOM_windows,Train_Val_Test"
    (root / "DL_info.csv").write_text("\n".join([header, *rows]))


def adni(root: Path) -> None:
    for subject in ("002_S_0295", "002_S_0413"):
        values = np.zeros((5, 30, 40), np.int16)
        labels = np.zeros((5, 30, 40), np.uint8)
        labels[2] = mask(1)
        for folder, name, content in (("images", f"ADNI_{subject}", values), ("labels", f"ADNI_{subject}_L", labels)):
            (root / folder).mkdir(exist_ok=True)
            image = sitk.GetImageFromArray(content)
            sitk.WriteImage(sitk.DICOMOrient(image, "RAS"), str(root / folder / f"{name}.nii.gz"))


def chestxray14(root: Path) -> None:
    for folder, name in ((1, "00013118_008.png"), (2, "00014716_007.png")):
        write_image(root / f"images_00{folder}" / "images" / name)
    rows = ["00013118_008.png,Atelectasis,10.0,6.0,20.0,15.0,,,", "00014716_007.png,Mass,10.0,6.0,20.0,15.0,,,"]
    (root / "BBox_List_2017.csv").write_text("\n".join(["Image Index,Finding Label,Bbox [x,y,w,h],,,", *rows]))


def ldpolypvideo(root: Path) -> None:
    for part, film in (("TrainValid", 1), ("TrainValid", 2), ("Test", 1)):  # frames count from 1 in every film
        write_image(root / part / "Images" / str(film) / "0001.jpg")
        labels = root / part / "Annotations" / str(film) / "0001.txt"
        labels.parent.mkdir(parents=True)
        labels.write_text("1\n10 6 30 21\n" if film == 1 else "0\n")


def object_cxr(root: Path) -> None:
    rows = {"train": "00001.jpg,0 10 6 30 21;2 10 6 30 6 30 21", "dev": "00002.jpg,1 10 6 30 21\n00003.jpg,"}
    for part, content in rows.items():
        (root / f"{part}.csv").write_text(f"image_name,annotation\n{content}\n")
    for name in ("train/00001", "dev/00002", "dev/00003"):
        write_image(root / f"{name}.jpg")


def flickr30k_entities(root: Path) -> None:
    for folder in ("Sentences", "Annotations"):
        (root / folder).mkdir()
    for split, name in (("train", "1000092795"), ("val", "10002456"), ("test", "1000268201")):
        (root / f"{split}.txt").write_text(f"{name}\n")
        write_image(root / "flickr30k-images" / f"{name}.jpg")
        first = "[/EN#1/people Two young guys] with [/EN#2/bodyparts/other shaggy hair] look at [/EN#3/other hands] ."
        (root / "Sentences" / f"{name}.txt").write_text(f"{first}\n[/EN#2/bodyparts Hair] [/EN#0/notvisual there] .\n")
        one = "<object>{}<bndbox><xmin>11</xmin><ymin>7</ymin><xmax>30</xmax><ymax>21</ymax></bndbox></object>"
        things = [one.format("<name>1</name>"), one.format("<name>1</name><name>2</name>")]
        nothing = "<object><name>3</name><scene>0</scene><nobndbox>1</nobndbox></object>"
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{''.join(things)}{nothing}</annotation>")


def visual_genome(root: Path) -> None:
    rows = []
    for number in range(1, 21):
        write_image(root / ("VG_100K" if number % 2 else "VG_100K_2") / f"{number}.jpg")
        region = {"region_id": number, "image_id": number, "x": 10, "y": 6, "width": 20, "height": 15}
        rows.append({"id": number, "regions": [{**region, "phrase": "the clock is green"}]})
    (root / "region_descriptions.json").write_text(json.dumps(rows))


SETS: dict[str, tuple[Callable[[Path], None], list[list[str]]]] = {
    "isic16": (isic16, [["lesion"]] * 2),
    "ham10000": (ham10000, [["melanoma"]] * 2),
    "tn3k": (tn3k, [["thyroid nodule"]] * 2),
    "busi": (busi, [["benign", "benign"], ["malignant"], []]),
    "lgg": (lgg, [[], ["glioma"]]),
    "endovis18": (endovis18, [["instrument shaft"], ["instrument wrist"]]),
    "tbx11k": (tbx11k, [["ActiveTuberculosis"]] * 2),
    "rsna": (rsna, [[], ["lung opacity"]]),
    "luna16": (luna16, [["lung nodule"]] * 3),
    "deeplesion": (deeplesion, [["lesion"], ["lung lesion"], ["pelvic lesion"]]),
    "adni": (adni, [["hippocampus"]] * 2),
    "chestxray14": (chestxray14, [["Atelectasis"], ["Mass"]]),
    "ldpolypvideo": (ldpolypvideo, [["polyp"], [], ["polyp"]]),
    "object_cxr": (object_cxr, [["foreign object"] * 2, ["foreign object"], []]),
    "flickr30k_entities": (flickr30k_entities, [["people", "people", "bodyparts"]] * 3),
    "visual_genome": (visual_genome, [["region"]] * 20),
}
"""A function that writes a few files of a set, and the categories of each image's objects, by image."""
HELD_OUT = {"isic16": "test", "tn3k": "test", "tbx11k": "test", "luna16": "test", "deeplesion": "test"}
HELD_OUT |= {"ldpolypvideo": "test", "object_cxr": "test", "flickr30k_entities": "val"}
"""A split that the set itself defines."""
TOGETHER = {"ham10000", "lgg"}
"""Sets whose files here come from one patient or lesion."""
BY_PIXEL = {"tn3k", "luna16"}
"""Sets whose boxes are right to a pixel or two: JPEG blurs masks, and nodules are round only in millimetres."""


def test_every_recipe_has_a_test() -> None:
    assert {*SETS, *GENERIC, *ELSEWHERE} == {*recipe_files(PROJECT)}


@pytest.mark.parametrize("name", SETS)
def test_a_data_set_is_read_in_its_own_format(name: str, tmp_path: Path) -> None:
    make, categories = SETS[name]
    make(tmp_path)
    records, problems = read(name, tmp_path)
    assert problems == []
    found = sorted([region.category for region in record.regions] for record in records)
    assert found == sorted(categories)
    for region in (region for record in records for region in record.regions):
        assert region.box_xyxy == pytest.approx(BOX, abs=2.5 if name in BY_PIXEL else 1e-3)
    assert all((record.width, record.height, record.source) == (40, 30, name) for record in records)
    assert {record.licence for record in records} == {read_recipe(name, PROJECT).licence}
    splits = {record.split for record in records}
    assert HELD_OUT.get(name, next(iter(splits))) in splits
    assert name not in TOGETHER or len(splits) == 1


def test_phrases_with_one_box_are_expressions_of_its_region(tmp_path: Path) -> None:
    flickr30k_entities(tmp_path)
    record = read("flickr30k_entities", tmp_path)[0][0]
    assert record.captions == ("Two young guys with shaggy hair look at hands .", "Hair there .")
    texts = {region.region_id: [one.text for one in region.expressions] for region in record.regions}
    assert texts == {"1000092795_1_0": [], "1000092795_1_1": [], "1000092795_2": ["shaggy hair", "Hair"]}


def test_phrases_with_several_boxes_are_groups(tmp_path: Path) -> None:
    flickr30k_entities(tmp_path)
    record = read("flickr30k_entities", tmp_path)[0][0]
    assert [(group.text, group.region_ids) for group in record.groups] == [
        ("Two young guys", ("1000092795_1_0", "1000092795_1_1"))
    ]


def test_descriptions_of_regions_are_expressions(tmp_path: Path) -> None:
    visual_genome(tmp_path)
    records, _ = read("visual_genome", tmp_path)
    assert {one.text for record in records for one in record.regions[0].expressions} == {"the clock is green"}


def test_an_empty_description_is_no_expression(tmp_path: Path) -> None:
    visual_genome(tmp_path)
    path = tmp_path / "region_descriptions.json"
    path.write_text(path.read_text().replace('"phrase": "', '"phrase": " ", "was": "'))
    records, problems = read("visual_genome", tmp_path)
    assert problems == [] and not [region for record in records for region in record.regions if region.expressions]


def test_regions_of_two_files_of_lines_have_different_ids(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    for name in ("a_1.txt", "a_2.txt"):
        (tmp_path / name).write_text("1 2 3 4\n5 6 7 8\n")
    reader = {"kind": "lines", "images": {"train": "*.png"}, "labels": {"train": "{stem}_*.txt"}, "category": "polyp"}
    (record,), problems = read(reader, tmp_path)
    assert problems == [] and [region.region_id for region in record.regions] == ["a_1", "a_2", "a_3", "a_4"]


def test_shapes_have_polygons(tmp_path: Path) -> None:
    object_cxr(tmp_path)
    box, polygon, ellipse = (region for record in read("object_cxr", tmp_path)[0] for region in record.regions)
    assert box.polygons == () and polygon.polygons == (((10, 6), (30, 6), (30, 21)),)
    assert area(ellipse.polygons[0]) == pytest.approx(np.pi * 10 * 7.5, rel=0.01)


BAD: dict[str, tuple[str, str, str, str]] = {
    "ldpolypvideo": ("Test/Annotations/1/0001.txt", "2\n10 6 30 21\n10 6 x 21\n", "line 3", "not four numbers"),
    "object_cxr": ("dev.csv", "image_name,annotation\n00002.jpg,0 1 2 3;2 1 2\nno.jpg,\n", "line 2", "neither 0 or 1"),
    "flickr30k_entities": ("Annotations/10002456.xml", "<annotation>", "10002456.txt", "cannot be read"),
    "visual_genome": (
        "region_descriptions.json",
        '[{"id": 1, "regions": [{"x": 1}]}, {"id": 99}]',
        "row 1",
        "KeyError",
    ),
}
"""A file, its invalid content, and the location and the message of the problem."""


@pytest.mark.parametrize("name", BAD)
def test_invalid_content_is_a_problem(name: str, tmp_path: Path) -> None:
    SETS[name][0](tmp_path)
    path, content, location, message = BAD[name]
    (tmp_path / path).write_text(content)
    problems = read(name, tmp_path)[1]
    assert any(location in problem and message in problem for problem in problems), problems


@pytest.mark.parametrize("name", SETS)
def test_an_empty_folder_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(VilamError) as error:
        read(name, tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
