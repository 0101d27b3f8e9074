"""The same few pictures and objects in every format: for tests of all readers together, and for mutations."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pycocotools import mask as coco_mask

WIDTH, HEIGHT = 80, 60
NAMES = ("cat", "dog")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Thing:
    """An object: its category's number and its box x1, y1, x2, y2 in pixels, which is also its outline."""

    label: int
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """Its category."""
        return NAMES[self.label]

    @property
    def xywh(self) -> tuple[int, int, int, int]:
        """Its left upper corner, width and height."""
        x1, y1, x2, y2 = self.box
        return x1, y1, x2 - x1, y2 - y1

    @property
    def ring(self) -> list[tuple[int, int]]:
        """Its outline."""
        x1, y1, x2, y2 = self.box
        return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]

    def of(self, across: float, down: float) -> list[float]:
        """The box in a unit in which the sides of the picture are ``across`` and ``down``."""
        x1, y1, x2, y2 = self.box
        return [x1 * across / WIDTH, y1 * down / HEIGHT, x2 * across / WIDTH, y2 * down / HEIGHT]


PICTURES: dict[str, list[Thing]] = {
    "one": [Thing(0, (8, 6, 40, 30)), Thing(1, (44, 33, 72, 57))],
    "two": [Thing(1, (4, 12, 36, 54))],
    "three": [Thing(0, (24, 15, 56, 45)), Thing(0, (60, 3, 76, 18))],
    "four": [Thing(1, (12, 9, 28, 27))],
    "five": [],
}
SPLIT_OF = {"one": "train", "two": "train", "three": "val", "four": "test", "five": "train"}


def in_splits() -> Iterator[tuple[str, str, list[Thing]]]:
    """Split, name and objects of every picture."""
    return ((SPLIT_OF[name], name, things) for name, things in PICTURES.items())


def picture(path: Path, name: str) -> Path:
    """Write the picture of that name; its objects are brighter than its ground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture_bytes(name))
    return path


def picture_bytes(name: str) -> bytes:
    pixels = np.full((HEIGHT, WIDTH, 3), 30 + 10 * [*PICTURES].index(name), np.uint8)
    for thing in PICTURES[name]:
        x1, y1, x2, y2 = thing.box
        pixels[y1:y2, x1:x2] = (250, 120, 60) if thing.label else (60, 120, 250)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def yolo(root: Path) -> None:
    for split, name, things in in_splits():
        picture(root / split / "images" / f"{name}.png", name)
        lines = [yolo_line(thing) for thing in things]
        (root / split / "labels").mkdir(parents=True, exist_ok=True)
        (root / split / "labels" / f"{name}.txt").write_text("\n".join(lines))
    folders = "".join(f"{split}: ../{split}/images\n" for split in SPLITS)
    (root / "data.yaml").write_text(f"{folders}nc: 2\nnames: [{', '.join(NAMES)}]\n")


def yolo_line(thing: Thing) -> str:
    x1, y1, x2, y2 = thing.of(1, 1)
    return f"{thing.label} {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}"


def coco_content(names: list[str], **image: str) -> dict[str, Any]:
    images = [
        {"id": i, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names, start=1)
    ]
    annotations = []
    for number, (i, thing) in enumerate(
        ((i, thing) for i, name in enumerate(names, start=1) for thing in PICTURES[name]), start=1
    ):
        segmentation: Any = [[value for point in thing.ring for value in point]]
        if number == 2:
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            x1, y1, x2, y2 = thing.box
            mask[y1:y2, x1:x2] = 1
            rle = coco_mask.encode(np.asfortranarray(mask))
            segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
        x, y, w, h = thing.xywh
        annotations.append(
            {
                **{"id": number, "image_id": i, "category_id": thing.label + 1, "bbox": [x, y, w, h]},
                **{"area": w * h, "iscrowd": 0, "segmentation": segmentation},
            }
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories, "licenses": [], **image}


def coco(root: Path) -> None:
    for split in SPLITS:
        names = [name for name in PICTURES if SPLIT_OF[name] == split]
        for name in names:
            picture(root / split / f"{name}.png", name)
        write_json(root / split / "_annotations.coco.json", coco_content(names))


def voc(root: Path) -> None:
    lists: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, name, things in in_splits():
        lists[split].append(name)
        picture(root / "JPEGImages" / f"{name}.png", name)
        objects = "".join(
            f"<object><name>{one.name}</name><bndbox><xmin>{one.box[0] + 1}</xmin><ymin>{one.box[1] + 1}</ymin>"
            f"<xmax>{one.box[2]}</xmax><ymax>{one.box[3]}</ymax></bndbox></object>"
            for one in things
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        (root / "Annotations").mkdir(exist_ok=True)
        file = f"<filename>{name}.png</filename>"
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{file}{size}{objects}</annotation>")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for split, names in lists.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))


def cvat(root: Path) -> None:
    images = []
    for number, (name, things) in enumerate(PICTURES.items()):
        picture(root / "images" / f"{name}.png", name)
        shapes = [cvat_shape(one, number % 2 == 0) for one in things]
        sides = f'width="{WIDTH}" height="{HEIGHT}"'
        images.append(f'<image id="{number}" name="{name}.png" {sides}>{"".join(shapes)}</image>')
    labels = "".join(f"<label><name>{name}</name><attributes></attributes></label>" for name in NAMES)
    meta = f"<meta><task><name>t</name><labels>{labels}</labels></task></meta>"
    head = f"<annotations><version>1.1</version>{meta}"
    (root / "annotations.xml").write_text(f"{head}{''.join(images)}</annotations>")


def cvat_shape(one: Thing, is_box: bool) -> str:
    x1, y1, x2, y2 = one.box
    same = f'label="{one.name}" source="manual" occluded="0" z_order="0"'
    if is_box:
        return f'<box {same} xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"></box>'
    points = ";".join(f"{x},{y}" for x, y in one.ring)
    return f'<polygon {same} points="{points}"></polygon>'


def labelstudio(root: Path) -> None:
    tasks = []
    for number, (name, things) in enumerate(PICTURES.items(), start=1):
        picture(root / "images" / f"12345678-{name}.png", name)
        results = [labelstudio_result(one, f"{name}{i}") for i, one in enumerate(things)]
        annotation = {"id": number, "was_cancelled": False, "result": results}
        data = {"image": f"/data/upload/1/12345678-{name}.png"}
        tasks.append({"id": number, "annotations": [annotation], "data": data, "predictions": []})
    write_json(root / "project-1-at-2026.json", tasks)


def labelstudio_result(one: Thing, number: str) -> dict[str, Any]:
    x1, y1, x2, y2 = one.of(100, 100)
    value = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0, "rectanglelabels": [one.name]}
    names = {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    sides = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": number, "value": value, **names, **sides}


def labelme(root: Path) -> None:
    for number, (name, things) in enumerate(PICTURES.items()):
        picture(root / f"{name}.png", name)
        shapes = [
            {
                **{"label": one.name, "group_id": None, "flags": {}},
                **(
                    {"shape_type": "rectangle", "points": [one.ring[2], one.ring[0]]}
                    if number % 2
                    else {"shape_type": "polygon", "points": one.ring}
                ),
            }
            for one in things
        ]
        sides = {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png", **sides}
        write_json(root / f"{name}.json", content)


def via(root: Path) -> None:
    content = {}
    for name, things in PICTURES.items():
        size = picture(root / f"{name}.png", name).stat().st_size
        regions = [
            {
                "shape_attributes": dict(zip(("name", "x", "y", "width", "height"), ("rect", *one.xywh), strict=True)),
                "region_attributes": {"class": one.name},
            }
            for one in things
        ]
        content[f"{name}.png{size}"] = {
            **{"filename": f"{name}.png", "size": size, "regions": regions},
            "file_attributes": {},
        }
    write_json(root / "via_region_data.json", content)


def datumaro(root: Path) -> None:
    for split in SPLITS:
        items = []
        for own, name, things in in_splits():
            if own == split:
                picture(root / "images" / split / f"{name}.png", name)
                annotations = [
                    {
                        **{"id": i, "type": "bbox", "attributes": {}, "group": 0, "label_id": one.label, "z_order": 0},
                        "bbox": one.xywh,
                    }
                    for i, one in enumerate(things)
                ]
                image = {"path": f"{name}.png", "size": [HEIGHT, WIDTH]}
                items.append({"id": name, "annotations": annotations, "image": image, "attr": {"frame": 0}})
        labels = {"label": {"labels": [{"name": name, "parent": "", "attributes": []} for name in NAMES]}}
        content = {"info": {}, "categories": {**labels, "mask": {"colormap": []}}, "items": items}
        write_json(root / "annotations" / f"{split}.json", content)


def supervisely(root: Path) -> None:
    """A rectangle includes its last pixels."""
    classes = [{"id": i, "title": name, "shape": "any", "color": "#ff0000"} for i, name in enumerate(NAMES)]
    write_json(root / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
    for name, things in PICTURES.items():
        picture(root / "ds" / "img" / f"{name}.png", name)
        objects = [
            {
                **{"id": i, "classTitle": one.name, "tags": []},
                **(
                    {
                        "geometryType": "rectangle",
                        "points": {"exterior": [one.box[:2], [value - 1 for value in one.box[2:]]], "interior": []},
                    }
                    if i
                    else {"geometryType": "polygon", "points": {"exterior": one.ring, "interior": []}}
                ),
            }
            for i, one in enumerate(things)
        ]
        size = {"width": WIDTH, "height": HEIGHT}
        write_json(root / "ds" / "ann" / f"{name}.png.json", {"size": size, "tags": [], "objects": objects})


def kitti(root: Path) -> None:
    for number, (name, things) in enumerate(PICTURES.items()):
        picture(root / "training" / "image_2" / f"{number:06d}.png", name)
        lines = [
            f"{one.name} 0.00 0 -10 {' '.join(f'{value:.2f}' for value in one.box)} -1 -1 -1 -1000 -1000 -1000 -10"
            for one in things
        ]
        (root / "training" / "label_2").mkdir(parents=True, exist_ok=True)
        (root / "training" / "label_2" / f"{number:06d}.txt").write_text("".join(f"{line}\n" for line in lines))


def openimages(root: Path) -> None:
    (root / "class-descriptions-boxable.csv").write_text("".join(f"/m/0{i},{name}\n" for i, name in enumerate(NAMES)))
    head = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    for split, file in (("train", "train"), ("val", "validation"), ("test", "test")):
        lines = [head]
        for own, name, things in in_splits():
            if own == split:
                picture(root / file / f"{name}.png", name)
                for one in things:
                    x1, y1, x2, y2 = one.of(1, 1)
                    lines.append(f"{name},xclick,/m/0{one.label},1,{x1},{x2},{y1},{y2},0,0,0,0")
        (root / f"{file}-annotations-bbox.csv").write_text("\n".join(lines) + "\n")


def imagefolder(root: Path) -> None:
    for split in SPLITS:
        rows = []
        for own, name, things in in_splits():
            if own == split:
                picture(root / split / f"{name}.png", name)
                objects = {"bbox": [one.xywh for one in things], "categories": [one.name for one in things]}
                rows.append({"file_name": f"{name}.png", "objects": objects})
        write_lines(root / split / "metadata.jsonl", rows)


def parquet_objects(root: Path) -> None:
    names = {"_type": "Sequence", "feature": {"names": list(NAMES), "_type": "ClassLabel"}}
    features = {"image": {"_type": "Image"}, "objects": {"bbox": [], "category": names}}
    for split in SPLITS:
        rows = [
            {
                "image": {"bytes": picture_bytes(name), "path": f"{name}.png"},
                "objects": {
                    "bbox": [[float(v) for v in one.xywh] for one in things],
                    "category": [one.label for one in things],
                },
            }
            for own, name, things in in_splits()
            if own == split
        ]
        kind = pa.struct([("bbox", pa.list_(pa.list_(pa.float64()))), ("category", pa.list_(pa.int64()))])
        columns = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("objects", kind)])
        described = columns.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        (root / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, described), root / "data" / f"{split}-00000-of-00001.parquet")


def paligemma(root: Path) -> None:
    for split in SPLITS:
        rows = []
        for own, name, things in in_splits():
            if own == split:
                picture(root / "dataset" / f"{name}.png", name)
                rows.append(
                    {
                        "image": f"{name}.png",
                        "prefix": f"detect {' ; '.join(NAMES)}",
                        "suffix": " ; ".join(f"{paligemma_box(one)} {one.name}" for one in things),
                    }
                )
        write_lines(root / "dataset" / f"_annotations.{'valid' if split == 'val' else split}.jsonl", rows)


def paligemma_box(one: Thing) -> str:
    x1, y1, x2, y2 = (round(value) for value in one.of(1024, 1024))
    return "".join(f"<loc{value:04d}>" for value in (y1, x1, y2, x2))


def florence2(root: Path) -> None:
    for split in SPLITS:
        rows = []
        for own, name, things in in_splits():
            if own == split:
                picture(root / split / f"{name}.png", name)
                boxes = (
                    f"{one.name}{''.join(f'<loc_{round(value)}>' for value in one.of(1000, 1000))}" for one in things
                )
                rows.append({"image": f"{name}.png", "prefix": "<OD>", "suffix": "".join(boxes)})
        write_lines(root / split / "annotations.jsonl", rows)


def odvg(root: Path) -> None:
    rows = []
    for name, things in PICTURES.items():
        picture(root / "images" / f"{name}.png", name)
        instances = [{"bbox": one.box, "label": one.label, "category": one.name} for one in things]
        row = {"filename": f"{name}.png", "height": HEIGHT, "width": WIDTH}
        rows.append({**row, "detection": {"instances": instances}})
    write_lines(root / "train_od.jsonl", rows)
    write_json(root / "label_map.json", {str(i): name for i, name in enumerate(NAMES)})


def ms_swift(root: Path) -> None:
    rows = []
    for name, things in PICTURES.items():
        picture(root / "images" / f"{name}.png", name)
        for one in things:
            asked = {"role": "user", "content": "<image>Find <ref-object>"}
            answered = {"role": "assistant", "content": "<bbox>"}
            objects = {"ref": [f"the {one.name} at {one.box[0]}"], "bbox": [one.box]}
            rows.append({"messages": [asked, answered], "images": [f"images/{name}.png"], "objects": objects})
    write_lines(root / "train.jsonl", rows)


def llava(root: Path) -> None:
    rows = []
    for name, things in PICTURES.items():
        picture(root / "images" / f"{name}.png", name)
        for one in things:
            asked = {"from": "human", "value": f"<image>\nWhere is the {one.name} at {one.box[0]}?"}
            box = ", ".join(f"{value:.4f}" for value in one.of(1, 1))
            rows.append(
                {"id": name, "image": f"{name}.png", "conversations": [asked, {"from": "gpt", "value": f"[{box}]"}]}
            )
    write_json(root / "train.json", rows)


def qwen(root: Path) -> None:
    rows = []
    for name, things in PICTURES.items():
        picture(root / f"{name}.png", name)
        for one in things:
            x1, y1, x2, y2 = (round(value) for value in one.of(1000, 1000))
            asked = {"from": "user", "value": f"Picture 1: <img>{name}.png</img>\nFind the {one.name}."}
            answer = f"<ref>the {one.name} at {one.box[0]}</ref><box>({x1},{y1}),({x2},{y2})</box>"
            rows.append({"id": name, "conversations": [asked, {"from": "assistant", "value": answer}]})
    write_json(root / "train.json", rows)


def tensorflow_csv(root: Path) -> None:
    for split in SPLITS:
        lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for own, name, things in in_splits():
            if own == split:
                picture(root / split / f"{name}.png", name)
                lines += [f"{name}.png,{WIDTH},{HEIGHT},{one.name},{','.join(map(str, one.box))}" for one in things]
        (root / split / "_annotations.csv").write_text("\n".join(lines))


def retinanet_csv(root: Path) -> None:
    lines = []
    for name, things in PICTURES.items():
        picture(root / "images" / f"{name}.png", name)
        lines += [f"images/{name}.png,{','.join(map(str, one.box))},{one.name}" for one in things]
        lines += [] if things else [f"images/{name}.png,,,,,"]
    (root / "annotations.csv").write_text("\n".join(lines))
    (root / "classes.csv").write_text("".join(f"{name},{number}\n" for number, name in enumerate(NAMES)))


def via_csv(root: Path) -> None:
    with io.StringIO() as text:
        head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(head.split(","))
        for name, things in PICTURES.items():
            size = picture(root / f"{name}.png", name).stat().st_size
            for i, one in enumerate(things):
                x, y, w, h = one.xywh
                shape = json.dumps({"name": "rect", "x": x, "y": y, "width": w, "height": h})
                writer.writerow([f"{name}.png", size, "{}", len(things), i, shape, json.dumps({"class": one.name})])
            if not things:
                writer.writerow([f"{name}.png", size, "{}", 0, 0, "{}", "{}"])
        (root / "via_region_data.csv").write_text(text.getvalue())


WITH_CATEGORIES: dict[str, Callable[[Path], None]] = {
    one.__name__: one
    for one in (
        *(yolo, coco, voc, cvat, labelstudio, labelme, via, via_csv, datumaro, supervisely, kitti, openimages),
        *(tensorflow_csv, retinanet_csv, imagefolder, parquet_objects, paligemma, florence2, odvg),
    )
}
"""Formats that name categories."""
UNLISTED = {"openimages": {"five"}, "tensorflow_csv": {"five"}}
"""Pictures without objects that a format does not list."""
WITH_WORDS: dict[str, Callable[[Path], None]] = {one.__name__: one for one in (ms_swift, llava, qwen)}
"""Formats whose objects have words and no category; pictures without objects are not in them."""
