"""COCO: instances, person keypoints and captions, one JSON file each or together, by split.

Files are found by name in the root or its ``annotations`` folder: ``instances*_TAG.json`` (or ``instances*.json``),
``person_keypoints_TAG.json`` and ``captions_TAG.json``; images in ``images/TAG``, ``TAG``, ``images`` or the root.
COCO's test annotations are not public: if a root has only train and val, val becomes the split test, and a tenth of
train, chosen by a hash of the image id, becomes val. A root with one file is split 8 : 1 : 1. A recipe may name the
file of each split instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vilam.data.masks import mask_to_polygons, rle_to_mask
from vilam.data.readers.source import (
    ALL,
    PARTS,
    TRAIN_AND_VAL,
    Problem,
    RawRecord,
    Source,
    find_image,
    read_json,
    tidy,
)
from vilam.data.recipes import CocoReader, Recipe
from vilam.data.records import ImageRecord, Keypoint, KeypointSchema, Polygon, Region
from vilam.draws import bucket
from vilam.errors import VilamError
from vilam.geometry.boxes import xywh_to_xyxy

PERSON_SIGMAS = tuple(sigma / 1000 for sigma in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89))
"""COCO's own, from pycocotools ``Params.setKpParams``."""
PERSON = KeypointSchema(
    (
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    (
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    PERSON_SIGMAS,
)
"""COCO's person, for files that have keypoints without a schema."""
OTHER_SIGMA = 0.05
ORDER = ("train", "val", "test")

Annotation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _File:
    """One COCO file and the files beside it. ``roles``: the split of each tenth of its images."""

    path: Path
    roles: tuple[str, ...]
    tag: str
    images: list[Annotation]
    regions: dict[object, list[Annotation]]
    captions: dict[object, list[str]]
    categories: dict[object, Annotation]
    licences: dict[object, str]


def open_coco(root: Path, recipe: Recipe, reader: CocoReader) -> Source:
    """Read the annotations under a root; the images are read one by one as the rows are iterated."""
    files = _named(root, reader.files) if reader.files else _found(root)
    if not files:
        raise VilamError(f"{root}: no instances*.json in it or in its annotations folder: check prepare.root")
    categories = [one for file in files for one in file.categories.values()]
    licences = sorted({_licence(file, image, recipe) for file in files for image in file.images})
    splits = tuple(dict.fromkeys(role for file in files for role in file.roles))
    return Source(
        recipe.name,
        tuple(dict.fromkeys(str(one["name"]) for one in categories)),
        {str(one["name"]): keypoint_schema(one) for one in categories if one.get("keypoints")},
        tuple(sorted(splits, key=ORDER.index)) if {*splits} <= {*ORDER} else splits,
        tuple(licences),
        sum(len(file.images) for file in files),
        (row for file in files for row in _rows(root, recipe, reader, file)),
    )


def _found(root: Path) -> list[_File]:
    """The files with COCO's names."""
    paths = {path: path.stem.rpartition("_")[2] if "_" in path.stem else "" for path in instance_files(root)}
    roles = _roles(list(paths.values()))
    return [_read(path, tag, roles[tag]) for path, tag in paths.items()]


def _named(root: Path, files: Mapping[str, str]) -> list[_File]:
    """The files that a recipe names, by split."""
    return [
        _read(root / name, split.replace("+", "_") if len(files) > 1 else "", PARTS.get(split, (split,) * 10))
        for split, name in files.items()
    ]


def keypoint_schema(category: Annotation) -> KeypointSchema:
    """A category's keypoints; COCO counts the ends of bones from 1 and has sigmas for persons only."""
    names = tuple(str(name) for name in category["keypoints"])
    skeleton = tuple((int(start) - 1, int(end) - 1) for start, end in category.get("skeleton", []))
    sigmas = PERSON_SIGMAS if len(names) == len(PERSON_SIGMAS) else (OTHER_SIGMA,) * len(names)
    return KeypointSchema(names, skeleton, sigmas)


def parse_polygons(segmentation: object) -> tuple[Polygon, ...]:
    """COCO's polygons or run lengths as rings; raises ValueError or TypeError if they are neither."""
    if isinstance(segmentation, dict):
        return mask_to_polygons(rle_to_mask(segmentation))
    if not isinstance(segmentation, list):
        raise TypeError(f"segmentation is {type(segmentation).__name__}")
    if any(len(flat) % 2 for flat in segmentation):
        raise ValueError("polygon with an odd number of values")
    return tuple(
        tuple((float(x), float(y)) for x, y in zip(flat[::2], flat[1::2], strict=True)) for flat in segmentation
    )


def parse_keypoints(flat: list[float] | None) -> tuple[Keypoint, ...]:
    """COCO's x1, y1, v1, ... as (x, y, v); empty if none is labelled."""
    values = flat or []
    if len(values) % 3:
        raise ValueError(f"keypoints of {len(values)} values, not three each")
    points = tuple(
        (float(x), float(y), int(v)) for x, y, v in zip(values[::3], values[1::3], values[2::3], strict=True)
    )
    return points if any(v for _, _, v in points) else ()


def instance_files(root: Path) -> list[Path]:
    """The COCO files of objects, in a root or its annotations folder."""
    return sorted({*root.glob("instances*.json"), *root.glob("annotations/instances*.json")})


def coco_content(path: Path) -> dict[str, list[Annotation]]:
    """A COCO file whose rows have an id, and whose categories have a name; raises VilamError if they do not."""
    content = read_json(path)
    for part, needed in (("images", {"id"}), ("annotations", {"id", "image_id"}), ("categories", {"id", "name"})):
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise VilamError(f"{path}: not a COCO file: it has no list of {part}")
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, dict) or not needed <= row.keys():
                raise VilamError(f"{path}: row {number} of {part} lacks {' or '.join(sorted(needed))}: fix the file")
    return dict(content)


def _read(path: Path, tag: str, roles: tuple[str, ...]) -> _File:
    content = coco_content(path)
    try:
        return _File(
            path,
            roles,
            tag,
            content["images"],
            _by_image(_with_keypoints(content["annotations"], path.with_name(f"person_keypoints_{tag}.json"))),
            _captions(path.with_name(f"captions_{tag}.json")),
            {one["id"]: one for one in content["categories"]},
            {one["id"]: str(one["name"]) for one in content.get("licenses", [])},
        )
    except (KeyError, TypeError) as error:
        raise VilamError(f"{path}: a row lacks {error}: fix the file") from None


def _with_keypoints(annotations: list[Annotation], path: Path) -> list[Annotation]:
    """Add the keypoints, which COCO keeps in a file of their own, by annotation id."""
    if not path.is_file():
        return annotations
    extra = {one["id"]: one["keypoints"] for one in read_json(path)["annotations"]}
    return [{**one, "keypoints": extra[one["id"]]} if one["id"] in extra else one for one in annotations]


def _by_image(annotations: list[Annotation]) -> dict[object, list[Annotation]]:
    groups: dict[object, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        groups[annotation["image_id"]].append(annotation)
    return groups


def _captions(path: Path) -> dict[object, list[str]]:
    groups: dict[object, list[str]] = defaultdict(list)
    for one in read_json(path)["annotations"] if path.is_file() else []:
        groups[one["image_id"]].append(tidy(one["caption"]))
    return groups


def _roles(tags: list[str]) -> dict[str, tuple[str, ...]]:
    """The split of each tenth of a file's images, by the file's tag; see the docstring of the module."""
    named = {role: [tag for tag in tags if role in tag] for role in ("train", "val", "test")}
    if named["val"] and named["test"]:
        return {tag: (role,) * 10 for role, some in named.items() for tag in some}
    held_out = {tag: ("test",) * 10 for tag in named["val"] + named["test"]}
    rest = PARTS[TRAIN_AND_VAL if held_out else ALL]
    return {tag: held_out.get(tag, rest) for tag in tags}


def _rows(root: Path, recipe: Recipe, reader: CocoReader, file: _File) -> Iterator[RawRecord | Problem]:
    known = set()
    for row in file.images:
        image_id = f"{file.tag or 'coco'}_{row.get('id')}"
        split = file.roles[bucket(10, image_id)]
        location = f"{file.path}: image {row.get('id')}"
        known.add(row.get("id"))
        regions, problems = _regions(file, row, split)
        yield from problems
        yield _image(_folders(root, reader, file), recipe, file, row, regions, location, image_id, split)
    for image, orphans in file.regions.items():
        if image not in known:
            for one in orphans:
                message = f"its image {image} is not in the file"
                yield Problem(file.roles[-1], f"{file.path}: annotation {one.get('id')}", message)


def _folders(root: Path, reader: CocoReader, file: _File) -> tuple[Path, ...]:
    """The folders that may hold the images of a file."""
    own = (root / folder for folder in reader.images)
    return (*own, root / "images" / file.tag, root / file.tag, root / "images", root)


def _image(
    folders: tuple[Path, ...],
    recipe: Recipe,
    file: _File,
    row: Annotation,
    regions: list[Region],
    location: str,
    image_id: str,
    split: str,
) -> RawRecord | Problem:
    try:
        path = find_image(folders, str(row["file_name"]))
        if path is None:
            return Problem(split, location, f"image file {row['file_name']} not found")
        width, height = int(row["width"]), int(row["height"])
        captions = tuple(file.captions.get(row["id"], ()))
        licence = _licence(file, row, recipe)
        content = path.read_bytes()
    except (KeyError, TypeError, ValueError, OSError) as error:
        return Problem(split, location, f"cannot be read: {error!r}")
    facts = recipe.name, licence, captions, tuple(regions)
    record = ImageRecord(image_id, split, content, width, height, *facts, unmarked=_crowded(file, row))
    return RawRecord(record, location)


def _crowded(file: _File, image: Annotation) -> tuple[str, ...]:
    """The categories that an image has a crowd of."""
    crowds = [one.get("category_id") for one in file.regions.get(image.get("id"), []) if one.get("iscrowd")]
    return tuple(sorted({str(file.categories[one]["name"]) for one in crowds if one in file.categories}))


def _regions(file: _File, image: Annotation, split: str) -> tuple[list[Region], list[Problem]]:
    """An image's regions without crowds, which are not single objects, and a problem for each invalid annotation."""
    regions, problems = [], []
    for annotation in file.regions.get(image.get("id"), []):
        try:
            if not annotation.get("iscrowd"):
                regions.append(_region(file, annotation))
        except (KeyError, TypeError, ValueError) as error:
            message = f"no {error}" if isinstance(error, KeyError) else str(error)
            problems.append(Problem(split, f"{file.path}: annotation {annotation.get('id')}", message))
    return regions, problems


def _region(file: _File, annotation: Annotation) -> Region:
    category = file.categories.get(annotation["category_id"])
    if category is None:
        raise ValueError(f"unknown category id {annotation['category_id']}")
    bbox = annotation["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise ValueError(f"bbox is {bbox!r}, not four numbers")
    box = xywh_to_xyxy(bbox)
    region = Region(f"{file.tag or 'coco'}_{annotation['id']}", box, str(category["name"]))
    return replace(
        region,
        polygons=parse_polygons(annotation.get("segmentation") or []),
        keypoints=parse_keypoints(annotation.get("keypoints")),
    )


def _licence(file: _File, image: Annotation, recipe: Recipe) -> str:
    return file.licences.get(image.get("license"), recipe.licence)
