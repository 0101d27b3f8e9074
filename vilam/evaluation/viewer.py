"""What the report's page shows of each answer: pictures, regions, questions, and the answers of each model, as JSON.

The page's script (templates/report.js) draws them. Coordinates are pixels of the original image.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from vilam.data.pixels import as_rgb
from vilam.data.records import DatasetCard, ImageRecord, Point, Region
from vilam.evaluation.gallery import Row, answer_reading, score_column
from vilam.evaluation.panels import Rows
from vilam.evaluation.task_metrics import IOU_THRESHOLD
from vilam.inference.answering import Records
from vilam.tasks import ALL_TASKS, GROUP_TASKS
from vilam.tasks.base import Reading

SIDES = (800, 640, 560, 480, 420, 360, 300, 240)
"""Longest sides of the pictures in the page, in pixels; smaller images keep their size."""
SAMPLE = 12
"""Pictures that are encoded at each size, to find the largest one that fits."""
ANSWER = ("id", "task", "regions", "question", "expression", "kind", "size", "category", "truth", "models")
GIVEN = ("text", "shape", "score", "confidence", "verdict", "roundTrip")
"""What the values of an answer, and of what one model gave, mean in the page's data."""
RIGHT = {"reg_caption": "exact", "rec_every": "perfect"}
"""The column that says whether an answer is right; for other tasks the score has to reach 0.5."""

Json = Any


@dataclass(frozen=True, slots=True)
class Viewer:
    """data: for the page's script. shown, total: images. side: the longest side of the pictures, in pixels."""

    data: Json
    shown: int
    total: int
    side: int


NOTHING = Viewer({}, 0, 0, 0)


def viewer(rows: Rows, records: Records, card: DatasetCard, budget: int, seed: int) -> Viewer:
    """The answers of all models to the same questions, with each image once.

    rows: of ``Evaluation.rows`` by the title of the model, the last model last. budget: bytes of the JSON. Pictures
    are scaled to fit; if not all images fit, a random sample of them is shown, with all of their answers.
    """
    last = [*rows.values()][-1]
    ids = last["image_id"].unique()
    order = np.random.default_rng(seed).permutation(ids).tolist()
    sample = [records[image_id] for image_id in order[:SAMPLE]]
    entries = dict(_entries(order, rows, records, budget, _mean_size(sample, SIDES[-1])))
    space = budget - sum(map(_size, entries.values()))
    side = next((side for side in SIDES if _mean_size(sample, side) * len(entries) <= space), SIDES[-1])
    shown: list[Json] = []
    for image_id, entry in entries.items():
        entry["picture"] = _data_uri(records[image_id], side)
        space -= len(entry["picture"])
        if space < 0 and shown:
            break
        shown.append(entry)
    place = {image_id: number for number, image_id in enumerate(ids)}
    shown.sort(key=lambda entry: place[entry["id"]])
    data = {
        "stages": [*rows],
        "answer": ANSWER,
        "given": GIVEN,
        "tasks": {task: ALL_TASKS[task].direction for task in ALL_TASKS if (last["task"] == task).any()},
        "skeletons": {category: schema.skeleton for category, schema in card.keypoints.items()},
        "images": shown,
    }
    return Viewer(data, len(shown), len(ids), side)


def _entries(
    order: Iterable[str], rows: Rows, records: Records, budget: float, picture: float
) -> Iterator[tuple[str, Json]]:
    """Images with their regions and answers until they and pictures of this size spend the budget; at least one."""
    scores: dict[Any, str] = {task: score_column(own) for frame in rows.values() for task, own in frame.groupby("task")}
    given = [_by_image(frame) for frame in rows.values()]
    for number, image_id in enumerate(order):
        entry = _entry(records[image_id], [own.get(image_id, {}) for own in given], scores)
        budget -= _size(entry) + picture
        if budget < 0 and number:
            return
        yield image_id, entry


def _by_image(rows: pd.DataFrame) -> dict[str, dict[str, Row]]:
    """Rows by image_id and instruction_id."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows.to_dict("records"):
        found.setdefault(row["image_id"], {})[row["instruction_id"]] = row
    return found


def _entry(record: ImageRecord, given: list[dict[str, Row]], scores: Mapping[Any, str]) -> dict[str, Json]:
    return {
        "id": record.image_id,
        "split": record.split,
        "width": record.width,
        "height": record.height,
        "regions": [_region(region) for region in record.regions],
        "answers": [
            _answer(row, record, [_given(own.get(name), record, scores) for own in given])
            for name, row in given[-1].items()
        ],
    }


def _region(region: Region) -> dict[str, Json]:
    points = [(x, y) if visible else (0.0, 0.0) for x, y, visible in region.keypoints]
    reading = Reading(box_xyxy=region.box_xyxy, polygons=region.polygons, points=tuple(points))
    return {"id": region.region_id, "category": region.category, **_shape(reading)}


def _answer(row: Row, record: ImageRecord, models: list[Json]) -> list[Json]:
    """The values of ANSWER; truth: all texts that are right, for a task that answers in words."""
    name = row["region_id"]
    targets = record.group(name).region_ids if row["task"] in GROUP_TASKS else (name,)
    regions = [number for number, region in enumerate(record.regions) if region.region_id in targets]
    truth = list(dict.fromkeys([row["truth"], *row["references"]])) if row["task"] == "reg_caption" else [row["truth"]]
    names = (row["instruction_id"], row["task"], regions, row["question"], row["expression"], row["expression_kind"])
    return [*names, row["size"], row["category"], truth if _is_text(row) else [], models]


def _given(row: Row | None, record: ImageRecord, scores: Mapping[Any, str]) -> Json:
    """The values of GIVEN; None if the model was not asked. The text is left out if the shape says the same."""
    if row is None:
        return None
    score = row[scores[row["task"]]]
    shape = _shape(answer_reading(row, record))
    text = row["answer"] if _is_text(row) or row["invalid"] else ""
    numbers = (_number(value) for value in (score, row["confidence"]))
    return [text, shape, *numbers, _verdict(row, score), _number(row.get("round_trip_iou"))]


def _is_text(row: Row) -> bool:
    return row["task"] == "presence" or ALL_TASKS[row["task"]].direction == "reg"


def _verdict(row: Row, score: float) -> str:
    if row["task"] == "rec_box":
        return str(row["error_kind"])
    if row["invalid"]:
        return "unreadable"
    is_right = row[RIGHT[row["task"]]] if row["task"] in RIGHT else score >= IOU_THRESHOLD
    return "right" if is_right else "wrong"


def _shape(reading: Reading) -> dict[str, Json]:
    boxes = [*([reading.box_xyxy] if reading.box_xyxy else []), *(reading.boxes or ())]
    shape = {
        "boxes": [[_pixel(value) for value in box] for box in boxes],
        "rings": [_points(ring) for ring in reading.polygons or ()],
        "points": _points(reading.points or ()),
    }
    return {name: value for name, value in shape.items() if value}


def _points(points: Iterable[Point]) -> list[list[float]]:
    return [[_pixel(x), _pixel(y)] for x, y in points]


def _pixel(value: float) -> float:
    rounded = round(float(value), 1)
    return int(rounded) if rounded.is_integer() else rounded


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    return None if _missing(value) else round(float(value), 3)


def _size(value: Json) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def _mean_size(sample: list[ImageRecord], side: int) -> float:
    """Bytes of a picture in the page, on average."""
    return sum(len(_data_uri(record, side)) for record in sample) / len(sample)


def _data_uri(record: ImageRecord, side: int) -> str:
    stream = BytesIO()
    with Image.open(BytesIO(record.image)) as image:
        image.draft("RGB", (side, side))  # a JPEG is decoded at about this size, which is faster
        picture = as_rgb(image)
        picture.thumbnail((side, side))
        picture.save(stream, "WEBP", quality=75, method=2)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
