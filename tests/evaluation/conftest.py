"""Three made-up images with known regions, their instructions and answers that are right, wrong and unreadable."""

from __future__ import annotations

import io
from collections.abc import Callable

import pandas as pd
import pytest
from PIL import Image

from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression, ImageRecord, KeypointSchema, Region
from vilam.evaluation.evaluator import Evaluation, evaluate
from vilam.evaluation.predictions import Prediction
from vilam.tasks import TASKS

CARD = DatasetCard(
    name="made-up",
    categories=("star", "circle"),
    keypoints={"star": KeypointSchema(("tip", "foot"), ((0, 1),), (0.05, 0.05))},
    splits=("test",),
    licences=("CC0",),
    counts={"test": {"num_images": 3}},
)
SQUARE = ((10.0, 20.0), (50.0, 20.0), (50.0, 60.0), (10.0, 60.0))
EXPRESSIONS = ("the red star", "star on the <script>alert(1)</script> left")


def png(width: int = 100, height: int = 100, shade: int = 0) -> bytes:
    """A PNG file in which one pixel has this shade."""
    buffer = io.BytesIO()
    image = Image.linear_gradient("L").resize((width, height))
    image.putpixel((0, 0), shade)
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def record(image_id: str, expressions: tuple[str, ...] = EXPRESSIONS) -> ImageRecord:
    """A star of 40 x 40 pixels at (10, 20) and a nameless circle of 4 x 4."""
    star = Region(
        "star",
        (10.0, 20.0, 50.0, 60.0),
        "star",
        polygons=(SQUARE,),
        keypoints=((30.0, 20.0, 2), (0.0, 0.0, 0)),
        expressions=tuple(Expression(text, "attribute") for text in expressions),
    )
    circle = Region("circle", (80.0, 80.0, 84.0, 84.0), "circle")
    return ImageRecord(image_id, "test", png(shade=ord(image_id)), 100, 100, "made-up", "CC0", regions=(star, circle))


@pytest.fixture
def card() -> DatasetCard:
    return CARD


@pytest.fixture
def records() -> dict[str, ImageRecord]:
    return {image_id: record(image_id) for image_id in ("a", "b", "c")}


@pytest.fixture
def predict() -> Callable[..., Prediction]:
    """A prediction of a task on an image; the true answer if none is passed."""

    def make(task: str, image_id: str = "a", answer: str | None = None, region_id: str = "star") -> Prediction:
        image = record(image_id)
        region = next(region for region in image.regions if region.region_id == region_id)
        expression = (*region.expressions, Expression("a dot", "class", "rule"))[0]
        asked = Instruction(
            instruction_id=f"{task}:{image_id}:{region_id}",
            task=task,
            split="test",
            image_id=image_id,
            region_id=region_id,
            question="?",
            answer=TASKS[task].answer(image, region, expression) if task in TASKS else "",
            template=0,
            expression="" if task == "reg_class" else expression.text,
            expression_kind="" if task == "reg_class" else expression.kind,
            expression_source="" if task == "reg_class" else expression.source,
        )
        return Prediction(asked, asked.answer if answer is None else answer, 0.5)

    return make


@pytest.fixture
def score(records: dict[str, ImageRecord], card: DatasetCard) -> Callable[..., Evaluation]:
    """Scores predictions."""

    def run(*predictions: Prediction, **options: dict[str, str]) -> Evaluation:
        return evaluate(predictions, records, card, bootstrap=20, seed=0, **options)

    return run


@pytest.fixture
def box_rows() -> pd.DataFrame:
    """Five answers on three images; one of them unreadable, one at the threshold itself."""
    return pd.DataFrame(
        {
            "content_id": ["a", "a", "b", "b", "c"],
            "iou": [1.0, 0.5, 0.49, 0.0, 0.9],
            "invalid": [False, False, False, True, False],
            "expression_kind": ["order", "position", "position", "order", ""],
            "expression_length": ["1-2", "10+", "3-5", "1-2", ""],
            "size": ["large", "small", "medium", "large", "small"],
        }
    )
