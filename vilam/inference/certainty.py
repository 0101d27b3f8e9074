"""How certain it is that a box shows what was asked for: the model reads its own answer back.

The probabilities of a box say how well its sides are known, and hardly whether there is such an object: a model that is
asked for a star where there is none finds the circle that lies where the star should, with a sharp box. The other
direction knows: as an expression for that box, "the blue star" is improbable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vilam.data.records import ImageRecord, Region
from vilam.geometry.boxes import Box
from vilam.inference.model import Model
from vilam.inference.scoring import Target, log_probabilities
from vilam.models.interface import ImageBatch
from vilam.tasks import TASKS
from vilam.tasks.answers import as_words

REC, REG = TASKS["rec_box"], TASKS["reg_caption"]
CERTAINTY = "certainty"
"""Where a model's folder keeps the threshold and its curve: under this name in run.json."""


@dataclass(frozen=True, slots=True)
class Located:
    """A box in pixels that was found for an expression in the ``image``-th image of a batch, and its confidence."""

    image: int
    record: ImageRecord
    expression: str
    box_xyxy: Box
    confidence: float


def certainties(model: Model, images: ImageBatch, found: Sequence[Located]) -> list[float]:
    """The certainty of each box, 0..1.

    It is the box's confidence times the probability of the least probable token of the expression, if the model
    describes that box: one wrong word is enough.
    """
    frames = model.network.frames(images)
    targets = [
        Target(
            each.image,
            REG.question(0, each.record, Region("", each.box_xyxy, ""), None),
            tuple(model.tokenizer.encode_answer(as_words(each.expression), frames[each.image])),
        )
        for each in found
    ]
    scores = log_probabilities(model, images, targets)
    return [each.confidence * math.exp(min(score)) for each, score in zip(found, scores, strict=True)]
