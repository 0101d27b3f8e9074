"""All expressions of RefCOCO's eight splits scored at once, against pycocotools' own IoU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from vilam.data.instructions import Instruction
from vilam.data.readers.refcoco_formats import ExpressionRow, read_rows
from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.evaluation.evaluator import Evaluation, evaluate
from vilam.evaluation.predictions import Prediction
from vilam.geometry.boxes import xywh_to_xyxy
from vilam.tasks.answers import box_text

CARD = DatasetCard("refcoco", ("object",), {}, ("test",), ("COCO",), {})


@pytest.fixture(scope="module")
def expressions(real_data: Path) -> list[ExpressionRow]:
    rows = list(read_rows(real_data / "refcoco_annotations"))
    assert all(isinstance(row, ExpressionRow) for row in rows) and len(rows) == 57_457
    return [row for row in rows if isinstance(row, ExpressionRow)]


def size(row: ExpressionRow) -> tuple[int, int]:
    assert row.size is not None
    return row.size


def image_id(row: ExpressionRow) -> str:
    return f"{row.split} {row.name}"


def records(expressions: list[ExpressionRow]) -> dict[str, ImageRecord]:
    regions: dict[str, dict[str, Region]] = {}
    for row in expressions:
        region = Region(row.ref, xywh_to_xyxy(row.box_xywh), "object", expressions=(Expression(row.text),))
        regions.setdefault(image_id(row), {})[row.ref] = region
    sizes = {image_id(row): size(row) for row in expressions}
    return {
        name: ImageRecord(name, "test", name.encode(), *sizes[name], "refcoco", "COCO", (), tuple(own.values()))
        for name, own in regions.items()
    }


def predictions(expressions: list[ExpressionRow], seed: int) -> list[Prediction]:
    """Boxes around the true ones, as the model writes them, moved and stretched at random."""
    rng = np.random.default_rng(seed)
    made = []
    for number, row in enumerate(expressions):
        x, y, width, height = row.box_xywh
        dx, dy, dw, dh = rng.normal(0, 0.3, 4)
        x1, y1 = x + dx * width, y + dy * height
        box = (x1, y1, x1 + width * np.exp(dw), y1 + height * np.exp(dh))
        clipped = (max(box[0], 0), max(box[1], 0), min(box[2], size(row)[0]), min(box[3], size(row)[1]))
        asked = Instruction(
            str(number), "rec_box", "test", image_id(row), row.ref, "?", "", 0, row.text, "free", "human"
        )
        made.append(Prediction(asked, box_text(clipped, *size(row)), 0.5))
    return made


@pytest.fixture(scope="module")
def answered(expressions: list[ExpressionRow]) -> list[Prediction]:
    return predictions(expressions, 0)


@pytest.fixture(scope="module")
def scored(expressions: list[ExpressionRow], answered: list[Prediction]) -> Evaluation:
    return evaluate(answered, records(expressions), CARD, bootstrap=100, seed=0)


def test_boxes_are_scored_as_pycocotools_does(
    expressions: list[ExpressionRow], answered: list[Prediction], scored: Evaluation
) -> None:
    ious = []
    for row, prediction in zip(expressions, answered, strict=True):
        x1, y1, x2, y2 = (float(number) for number in prediction.answer.strip("[]").split(", "))
        across, down = (side / 1000 for side in size(row))
        found = [[x1 * across, y1 * down, (x2 - x1) * across, (y2 - y1) * down]]
        ious.append(float(coco_mask.iou(found, [list(row.box_xywh)], [0])[0, 0]))
    expected = np.array(ious)
    assert scored.rows["iou"].to_numpy() == pytest.approx(expected, abs=1e-6)
    for threshold in (0.5, 0.75, 0.9):
        assert scored.metrics[f"rec_box/acc_{threshold}"] == pytest.approx(
            float((expected >= threshold).mean()), abs=1e-9
        )
    assert scored.metrics["rec_box/miou"] == pytest.approx(float(expected.mean()))
    assert scored.metrics["rec_box/total"] == 57_457


def test_answers_scored_in_parts_are_those_scored_at_once(
    expressions: list[ExpressionRow], answered: list[Prediction], scored: Evaluation
) -> None:
    """As several processes would score them, each with its own images."""
    known = records(expressions)
    names = sorted(known)
    ious: dict[str, float] = {}
    for rank in range(2):
        own = {name for number, name in enumerate(names) if number % 2 == rank}
        part = [each for each in answered if each.instruction.image_id in own]
        found = evaluate(part, {name: known[name] for name in own}, CARD, bootstrap=1, seed=0)
        ious |= dict(zip(found.rows["instruction_id"], found.rows["iou"], strict=True))
    assert [ious[name] for name in scored.rows["instruction_id"]] == list(scored.rows["iou"])
