"""CSV files of boxes: which columns are what, splits, pictures without objects, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import opened, read, write_image

from vilam.data.readers import RawRecord, find_recipe
from vilam.data.readers.csv_boxes import recognises
from vilam.data.readers.kept import IN_MEMORY
from vilam.data.records import ImageRecord
from vilam.errors import VilamError

CSV = {"kind": "csv"}
SIZE = (40, 30)


def table(root: Path, text: str, name: str = "boxes.csv", pictures: tuple[str, ...] = ("a.png",)) -> Path:
    for picture in pictures:
        write_image(root / picture, SIZE)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root


def boxes(records: list[ImageRecord]) -> list[tuple[str, tuple[float, ...]]]:
    return [(one.category, one.box_xyxy) for record in records for one in record.regions]


@pytest.mark.parametrize(
    ("heads", "values"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.png,40,30,cell,4,6,24,16"),
        ("image;label;x1;y1;x2;y2", "a.png;cell;4;6;24;16"),
        ("Path\tClass Name\tX_Min\tY_Min\tX_Max\tY_Max", "/home/me/a.png\tcell\t4\t6\t24\t16"),
        ("image_name,label,left,top,right,bottom,score", "a.png,cell,4,6,24,16,1"),
        ("image_id,bbox_left,bbox_top,bbox_width,bbox_height,category", "a,4,6,20,10,cell"),
        ("file,cx,cy,w,h,label", "a.png,14,11,20,10,cell"),
        ("img,box_x1,box_y1,box_x2,box_y2,label", "a.png,0.1,0.2,0.6,0.53333333,cell"),
        ("Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;Label", "a.png;40;30;4;6;24;16;cell"),
    ],
)
def test_columns(tmp_path: Path, heads: str, values: str) -> None:
    records, problems = read(CSV, table(tmp_path, f"{heads}\n{values}\n"))
    ((category, box),) = boxes(records)
    assert problems == [] and category == "cell" and box == pytest.approx((4, 6, 24, 16), abs=1e-5)


@pytest.mark.parametrize(
    ("rows", "box"),
    [
        (("20 18 20 12", "0 0 4 4"), (20, 18, 40, 30)),  # as centres, the second leaves the picture
        (("30 20 20 20", "4 4 8 8"), (20, 10, 40, 30)),  # as corners, the first leaves the picture
    ],
)
def test_what_x_and_y_are_is_told_by_the_pictures(tmp_path: Path, rows: tuple[str, ...], box: tuple[int, ...]) -> None:
    lines = ["image,label,x,y,width,height", *(f"a.png,cell,{row.replace(' ', ',')}" for row in rows)]
    records, _ = read(CSV, table(tmp_path, "\n".join(lines)))
    assert boxes(records)[0] == ("cell", box)


@pytest.mark.parametrize("bbox", ['"[20, 18, 20, 12]"', '"20 18 20 12"'])
def test_a_box_in_one_column(tmp_path: Path, bbox: str) -> None:
    root = table(tmp_path, f'image_id,bbox,class\na,{bbox},cell\na,"[0, 0, 4, 4]",cell\na,"[1, 2, 1, 3]",cell\n')
    assert boxes(read(CSV, root)[0])[0] == ("cell", (20, 18, 40, 30))


def test_what_x_and_y_are_is_refused_if_nothing_tells(tmp_path: Path, project: Path) -> None:
    root = table(tmp_path, "image,label,x,y,w,h\na.png,cell,20,15,4,4\n")
    assert find_recipe("auto", root, project)[0].name == "csv"
    told = r"boxes may be xywh or cxcywh: write a recipe with reader: \{kind: table, .*box: \[x, y, w, h\]"
    with pytest.raises(VilamError, match=told):
        opened(CSV, root)


@pytest.mark.parametrize("heads", ["image,xmin,ymin,xmax,ymax", "picture name,a,b,c,d,what"])
def test_other_columns_are_told(tmp_path: Path, project: Path, heads: str) -> None:
    root = table(tmp_path, f"{heads}\n")
    with pytest.raises(VilamError, match=rf"boxes\.csv has the columns {heads.replace(',', ', ')}: write a recipe"):
        find_recipe("auto", root, project)


def test_rows_of_keras_retinanet(tmp_path: Path) -> None:
    root = table(tmp_path, "bead,0\ncell,1\n", "classes.csv", ("images/a.png", "images/b.png"))
    table(root, "images/a.png,4,6,24,16,cell\nimages/b.png,,,,,\n", "annotations.csv", ())
    found = recognises(root)
    assert found is not None and found.title == "CSV of boxes (keras-retinanet)"
    records, problems = read(CSV, root)
    assert problems == [] and {one.image_id: len(one.regions) for one in records} == {"images/a": 1, "images/b": 0}
    assert boxes(records) == [("cell", (4, 6, 24, 16))] and opened(CSV, root).categories == ("bead", "cell")


def test_splits_of_files_and_a_table_of_all(tmp_path: Path) -> None:
    """As in the raccoon set: train_labels.csv, test_labels.csv, and both again in raccoon_labels.csv."""
    heads = "filename,class,xmin,ymin,xmax,ymax\n"
    names = [f"{letter}.png" for letter in "abcdef"]
    rows = [f"{name},cell,1,2,3,4\n" for name in names]
    for file, own in (("train", rows[:4]), ("test", rows[4:]), ("raccoon", rows)):
        table(tmp_path, heads + "".join(own), f"data/{file}_labels.csv", tuple(f"images/{name}" for name in names))
    records, problems = read(CSV, tmp_path)
    assert problems == [] and len(records) == 6
    assert {one.image_id[-1] for one in records if one.split == "test"} == {"e", "f"}


def test_a_column_of_splits(tmp_path: Path) -> None:
    rows = "image,split,class,xmin,ymin,xmax,ymax\na.png,training,cell,1,2,3,4\nb.png,Test,cell,1,2,3,4\n"
    rows += "c.png,valid,cell,1,2,3,4\n"
    records, _ = read(CSV, table(tmp_path, rows, pictures=("a.png", "b.png", "c.png")))
    assert {one.image_id: one.split for one in records} == {"a": "train", "b": "test", "c": "val"}


def test_bad_rows_are_told_and_the_others_stay(tmp_path: Path) -> None:
    rows = "image,class,xmin,ymin,xmax,ymax\na.png,cell,1,2,3,4\na.png,cell,1,x,3,4\na.png\n,cell,1,2,3,4\n"
    records, problems = read(CSV, table(tmp_path, rows))
    assert boxes(records) == [("cell", (1, 2, 3, 4))]
    assert [one.partition(": ")[2].partition(":")[0] for one in problems] == ["line 3", "line 4", "line 5"]
    assert "expected four numbers and a class" in problems[0] and "no image is named" in problems[2]


def test_tables_of_other_formats_are_left_to_them(tmp_path: Path) -> None:
    table(tmp_path, "ImageID,LabelName,XMin,XMax,YMin,YMax\na,/m/01,0,1,0,1\n")
    assert recognises(tmp_path) is None
    table(tmp_path, "filename,region_shape_attributes,region_attributes,class,x1,y1,x2,y2\n")
    assert recognises(tmp_path) is None


def test_more_pictures_than_are_in_memory(tmp_path: Path) -> None:
    """Boxes of pictures that are on disk already are kept too."""
    names = [f"{number}.png" for number in range(IN_MEMORY + 5)]
    rows = [f"{name},cell,1,2,3,4\n" for name in names]
    table(tmp_path, "image,class,xmin,ymin,xmax,ymax\n" + "".join(rows), pictures=tuple(names))
    assert sum(len(row.record.regions) for row in opened(CSV, tmp_path).rows if isinstance(row, RawRecord)) == len(rows)
