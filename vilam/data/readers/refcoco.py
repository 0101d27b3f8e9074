"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: human expressions in the formats of vilam/data/readers/refcoco_formats.py.

Images of train2014 are in ``images``, in the root, where the `refer` release has them, or anywhere below the root, also
under the name that COCO 2017 gives them; or they are in the files themselves. If there is an ``instances*.json`` of
COCO, polygons, keypoints and categories come from it. Boxes are in pixels of the original image and are scaled if the
image file has another size (a plain resize, without cropping).

Splits have their usual names (refcoco_testA, refcoco_plus_val, refcocog_umd_test). The train splits of all sets are
merged into train, without the images of the other splits: the three sets share images, and their splits overlap. An
image that two splits use is a record in each. An expression of gRefCOCO that means one region is also an expression of
that region.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from vilam.data.kinds import MISSING
from vilam.data.orientation import orientation, turned_size
from vilam.data.readers.coco_files import instance_files, read_file
from vilam.data.readers.coco_rows import PERSON, shapes_of
from vilam.data.readers.formats import CLEAR, Format, Found
from vilam.data.readers.items import Item, Listing, Shape, Words, source_of
from vilam.data.readers.paths import Pictures
from vilam.data.readers.refcoco_formats import GroupRow, by_id, read_rows, sets_in
from vilam.data.readers.source import OBJECT, Problem, Source
from vilam.data.recipes import Recipe, RefcocoReader, RefcocoSet
from vilam.errors import VilamError
from vilam.geometry.boxes import Box, box_iou, xywh_to_xyxy

SAME_BOX = 0.95
"""IoU from which a COCO annotation is the same region as that of an expression."""
FOLDERS = ("images", "train2014", "images/train2014", "images/mscoco/images/train2014", "train2017", "val2017", ".")
"""Folders that may hold the images."""
RELEASE = ("refcoco", "refcoco+", "refcocog", "grefcoco")
"""Folders of the releases, beside that of the images."""

Row = dict[str, Any]


@dataclass(slots=True)
class _Ref:
    """One region: its box in the original image, its expressions and its COCO annotation."""

    box_xywh: Box
    annotation: Row
    expressions: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Image:
    """One image of one split; width and height are the original image's, content its file if the format holds it."""

    split: str
    location: str
    name: str
    size: tuple[int, int] | None
    content: Callable[[], bytes] | None
    refs: dict[str, _Ref] = field(default_factory=dict)
    groups: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def recognises(root: Path) -> Found | None:
    """Files of any of the formats with their usual names, in a folder or beside each other in one of the release's."""
    if not root.is_dir():
        return None
    for folder in (root, root.parent) if root.name in RELEASE else (root,):
        found = sets_in(folder)
        sets = [name for name in get_args(RefcocoSet) if name in found]
        if sets:
            title = "gRefCOCO" if sets == ["grefcoco"] else "RefCOCO's expressions"
            return Found(title, RefcocoReader(kind="refcoco", sets=tuple(sets)), folder, CLEAR)
    return None


def open_refcoco(root: Path, recipe: Recipe, reader: RefcocoReader) -> Source:
    """Group the rows under a root by split and image; the images are read one by one as the rows are iterated."""
    problems: list[Problem] = []
    images = _without_held_out(_group(root, reader.sets, _Instances(root), problems))
    if not images:
        first = f": {problems[0].location}: {problems[0].message}" if problems else ""
        wanted = ", ".join(reader.sets)
        raise VilamError(
            f"{root}: no rows of {wanted} in refs.jsonl, refcoco*_*.json, refcoco*/refs(*).p and the like{first}"
        )
    pictures = Pictures(root)
    items = list(_items(root, pictures, images, problems))
    if not items:
        raise VilamError(f"{root}: none of {len(images)} images is there: {images[0].name} is missing in images")
    used = {_category(ref) for image in images for ref in image.refs.values()}
    keypoints = {"person": PERSON} if "person" in used else {}
    return source_of(Listing(items, sorted(used), keypoints, problems, renamed=pictures.renamed), recipe)


class _Instances:
    """COCO annotations by image number, from the root's instances files."""

    def __init__(self, root: Path) -> None:
        self._by_image: dict[str, list[Row]] = {}
        for path in instance_files(root):
            content = read_file(path)
            names = {number: str(one["name"]) for number, one in by_id(content["categories"]).items()}
            for one in content["annotations"]:
                name = names.get(str(one.get("category_id")))
                if name and isinstance(one.get("bbox"), list) and len(one["bbox"]) == 4:
                    self._by_image.setdefault(str(one["image_id"]), []).append({**one, "category": name})

    def find(self, image: int | None, box_xywh: Box) -> Row:
        """The annotation with this box; empty if there is none."""
        box = xywh_to_xyxy(box_xywh)
        near = [(box_iou(box, xywh_to_xyxy(one["bbox"])), one) for one in self._by_image.get(str(image), [])]
        best, annotation = max(near, key=lambda pair: pair[0], default=(0.0, {}))
        return annotation if best >= SAME_BOX else {}


def _group(root: Path, sets: Container[str], instances: _Instances, problems: list[Problem]) -> list[_Image]:
    images: dict[tuple[str, str], _Image] = {}
    for row in read_rows(root):
        if isinstance(row, Problem):
            problems.append(row)
        elif row.dataset in sets:
            new = _Image(row.split, row.location, row.name, row.size, row.content)
            image = images.setdefault((row.split, row.name), new)
            if isinstance(row, GroupRow):
                _add_group(image, row)
                continue
            known = row.annotation or {}
            annotation = (
                known if "segmentation" in known else {**instances.find(_number(row.name), row.box_xywh), **known}
            )
            entry = image.refs.setdefault(f"{row.dataset}_{row.ref}", _Ref(row.box_xywh, annotation))
            entry.annotation = entry.annotation or annotation
            entry.expressions.append(row.text)
    return list(images.values())


def _add_group(image: _Image, row: GroupRow) -> None:
    ids = tuple(f"{row.dataset}_{ref}" for ref, _, _ in row.members)
    for ref_id, (_, box, annotation) in zip(ids, row.members, strict=True):
        image.refs.setdefault(ref_id, _Ref(box, annotation))
    if len(ids) == 1:
        image.refs[ids[0]].expressions.append(row.text)
    image.groups.append((row.text, ids))


def _number(name: str) -> int | None:
    """COCO's number of an image, from its file name."""
    found = re.search(r"(\d+)$", Path(name).stem)
    return int(found[1]) if found else None


def _without_held_out(images: list[_Image]) -> list[_Image]:
    held_out = {image.name for image in images if image.split != "train"}
    return [image for image in images if image.split != "train" or image.name not in held_out]


def _items(root: Path, pictures: Pictures, images: Sequence[_Image], problems: list[Problem]) -> Iterator[Item]:
    folders = [root / folder for folder in FOLDERS]
    for image in images:
        source = image.content or _path(pictures, folders, image.name)
        if source is None:
            message = f"image file {image.name} not found in {root} or its images folder"
            problems.append(Problem(image.split, image.location, message, MISSING))
            continue
        order = {ref_id: number for number, ref_id in enumerate(image.refs)}
        words = tuple(Words(text, tuple(order[ref_id] for ref_id in ids)) for text, ids in image.groups)
        yield Item(source, image.name, image.split, image.location, partial(_shapes, image, source), words=words)


def _path(pictures: Pictures, folders: Sequence[Path], name: str) -> Path | None:
    """The file of an image: under its own name, or under that of COCO 2017, which is its number."""
    number = _number(name)
    names = [name] if number is None else [name, f"{number:012d}.jpg"]
    found = pictures.first(names, folders)
    return found if found.is_file() else None


def _shapes(image: _Image, source: Path | Callable[[], bytes]) -> list[Shape | Problem]:
    """The regions of an image in pixels of its file: one for each, in their order, and then what is wrong with them."""
    across, down = _scale(image, source)
    found: list[Shape | Problem] = []
    faults: list[Shape | Problem] = []
    for ref_id, ref in image.refs.items():
        row = {**ref.annotation, "bbox": list(ref.box_xywh), "iscrowd": 0, "expressions": ref.expressions}
        *lost, shape = shapes_of([(_category(ref), row)])
        found.append(replace(_scaled(shape, across, down), location=f"region {ref_id}"))
        faults += [replace(one, location=f"region {ref_id}") for one in lost]
    return found + faults


def _scale(image: _Image, source: Path | Callable[[], bytes]) -> tuple[float, float]:
    """How many pixels of the upright file a pixel of the original image is, across and down."""
    if image.size is None:
        return 1.0, 1.0
    with Image.open(source if isinstance(source, Path) else BytesIO(source())) as file:
        width, height = turned_size(file.size, orientation(file))
    return width / image.size[0], height / image.size[1]


def _scaled(shape: Shape | Problem, across: float, down: float) -> Shape | Problem:
    if isinstance(shape, Problem) or across == down == 1:
        return shape
    x1, y1, x2, y2 = shape.box_xyxy or (0.0, 0.0, 0.0, 0.0)
    return replace(
        shape,
        box_xyxy=(x1 * across, y1 * down, x2 * across, y2 * down) if shape.box_xyxy else None,
        polygons=tuple(tuple((x * across, y * down) for x, y in ring) for ring in shape.polygons),
        keypoints=tuple((x * across, y * down, v) for x, y, v in shape.keypoints),
    )


def _category(ref: _Ref) -> str:
    return str(ref.annotation.get("category", OBJECT))


FORMAT = Format(
    "refcoco",
    "RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO",
    "refcoco*/refs(*).p or grefcoco/grefs(unc).json with instances.json, finetune_refcoco*_*.json (MDETR), "
    "refcoco*_SPLIT.json, refs.jsonl, or data/*.parquet with the images; images of COCO train2014",
    "boxes, expressions, those that mean several regions or none, splits, and outlines and keypoints of COCO",
    "tokens, and the positions of phrases in the text",
    recognises,
    open_refcoco,
    exhaustive=False,
)
