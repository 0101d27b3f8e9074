"""The round trip region -> expression -> region: the expression that a model writes for a region, and the region that
it finds for that expression.

Round trips judge every generated expression, in the cycle and in `synthesize`. Expressions hold no digits, coordinates
or special tokens. Otherwise an expression could name the coordinates of its region, and every round trip would succeed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.draws import seed_of
from vilam.geometry.boxes import Box, iou
from vilam.inference.generate import Answer, Request, generate
from vilam.inference.model import Model
from vilam.models.interface import ImageBatch
from vilam.tasks import TASKS
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.reg_caption import normalised

REC, REG = TASKS["rec_box"], TASKS["reg_caption"]
REC_TASKS = tuple(task.name for task in TASKS.values() if task.direction == "rec")
BatchRegion = tuple[int, Region]
"""The index of an image in its batch, and a region of that image."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question about an expression, and the region that it found.

    question, answer: texts with coordinates 0-1000; "" if nothing was asked. ids: tokens of the answer.
    box_xyxy: in pixels; around the mask or the keypoints if the task answers with these; None if there is none.
    iou: of the answer with its region (of keypoints: OKS); other_iou: the highest with any other region of the image.
    """

    question: str = ""
    answer: str = ""
    ids: tuple[int, ...] = ()
    box_xyxy: Box | None = None
    iou: float = 0.0
    other_iou: float = 0.0

    def returns(self, threshold: float) -> bool:
        """Whether it is its region (IoU at or above the threshold) and no other."""
        return self.iou >= threshold > self.other_iou


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """An expression that a model wrote for a region, and the region that the model found for it.

    question: the question about the region. ids: tokens of the expression. confidence: geometric mean of their
    probabilities. An expression finds nothing if it was cut off at the length limit, is not valid (see `is_valid`) or
    contradicts the region's category (see `contradicts_category`).
    """

    question: str
    words: str
    ids: tuple[int, ...]
    confidence: float
    found: Found

    @property
    def log_probability(self) -> float:
        """The log probability of the whole expression."""
        return len(self.ids) * math.log(max(self.confidence, 1e-9))

    def returns(self, threshold: float) -> bool:
        """Whether it finds its region (IoU at or above the threshold) and no other."""
        return self.found.returns(threshold)

    def is_ambiguous(self, threshold: float) -> bool:
        """Whether it finds several regions at once, or none."""
        return self.found.box_xyxy is None or min(self.found.iou, self.found.other_iou) >= threshold

    def reward(self, threshold: float) -> float:
        """The IoU of the answer with its region; 0 if the answer fits another region too."""
        return self.found.iou if self.found.other_iou < threshold else 0.0


@dataclass(frozen=True, slots=True)
class Query:
    """A REC question on the ``image``-th image of a batch, about an expression for one of its regions."""

    image: int
    region: Region
    task: str
    question: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are sampled: ``samples`` of each at ``temperature``, of at most ``max_tokens`` tokens, by ``seed``.

    same_question: whether all samples of a region answer the same question, so that their rewards can be compared. If
    not, each answers another question, and they differ even at temperature 0.
    """

    samples: int
    temperature: float
    max_tokens: int
    seed: int
    same_question: bool = False


def make_round_trips(
    model: Model, records: Sequence[ImageRecord], regions: Sequence[BatchRegion], sampling: Sampling
) -> list[list[RoundTrip]]:
    """The round trips of each region, one per sample: an expression and the box that the model finds for it."""
    images = model.network.preprocess([record.image for record in records])
    owners = [region for region in regions for _ in range(sampling.samples)]
    requests = [
        _reg_request(model, records, region, sample, sampling)
        for region in regions
        for sample in range(sampling.samples)
    ]
    answers = generate(model, images, requests, sampling.temperature, sampling.max_tokens)
    words = [" ".join(answer.text.split()) for answer in answers]
    usable = [
        i
        for i, answer in enumerate(answers)
        if has_ended(answer.ids, sampling.max_tokens) and may_describe(words[i], records, owners[i], model.card)
    ]
    queries = [rec_query(REC, 0, records, owners[i], words[i]) for i in usable]
    found = dict(zip(usable, find(model, images, records, queries), strict=True))
    round_trips = [
        RoundTrip(request.question, words[i], answer.ids, answer.confidence, found.get(i, Found()))
        for i, (request, answer) in enumerate(zip(requests, answers, strict=True))
    ]
    return [round_trips[i : i + sampling.samples] for i in range(0, len(round_trips), sampling.samples)]


def _reg_request(
    model: Model, records: Sequence[ImageRecord], region: BatchRegion, sample: int, sampling: Sampling
) -> Request:
    index, described = region
    seed = seed_of(sampling.seed, records[index].image_id, described.region_id, sample)
    of_group = seed_of(sampling.seed, records[index].image_id, described.region_id) if sampling.same_question else seed
    question = REG.question(of_group % len(REG.templates), records[index], described, None)
    return Request(index, question, model.expression_grammar, seed)


def rec_query(
    task: GroundingTask, template: int, records: Sequence[ImageRecord], region: BatchRegion, words: str
) -> Query:
    """The question of a REC task about an expression for a region, from one of the task's templates."""
    index, described = region
    question = task.question(template, records[index], described, Expression(words, source="model"))
    return Query(index, described, task.name, question)


def find(
    model: Model,
    images: ImageBatch,
    records: Sequence[ImageRecord],
    queries: Sequence[Query],
    sampling: Sampling | None = None,
) -> list[Found]:
    """What each expression finds: the most probable answer, or ``sampling.samples`` of each query in a row."""
    samples, seed, temperature = 1, 0, 0.0
    if sampling is not None:
        samples, seed, temperature = sampling.samples, sampling.seed, sampling.temperature
    owners = [query for query in queries for _ in range(samples)]
    requests = [
        Request(query.image, query.question, model.grammars[query.task], seed_of(seed, query.question, sample))
        for query in queries
        for sample in range(samples)
    ]
    distinct = {(each.image, each.question, each.seed): each for each in requests}
    answers = dict(zip(distinct, generate(model, images, list(distinct.values()), temperature), strict=True))
    return [
        _found(model.card, records[query.image], query, answers[request.image, request.question, request.seed])
        for query, request in zip(owners, requests, strict=True)
    ]


def _found(card: DatasetCard, record: ImageRecord, query: Query, answer: Answer) -> Found:
    task = TASKS[query.task]
    reading = task.parse(answer.text, record.width, record.height)
    box = None if reading is None else bounding_box(reading)
    if reading is None or box is None:
        return Found(query.question, answer.text, answer.ids)
    scores = _scores(task, reading, record, card)
    own = scores.pop(query.region.region_id)
    return Found(query.question, answer.text, answer.ids, box, own, max(scores.values(), default=0.0))


def _scores(task: GroundingTask, reading: Reading, record: ImageRecord, card: DatasetCard) -> dict[str, float]:
    """The answer's overlap with each region of the image, by the region's id."""
    if task is REC and reading.box_xyxy is not None:  # all boxes at once: an image may have thousands
        values = iou([reading.box_xyxy], [each.box_xyxy for each in record.regions])[0].tolist()
    else:
        values = [_score(task, reading, record, each, card) for each in record.regions]
    return dict(zip((each.region_id for each in record.regions), values, strict=True))


def _score(task: GroundingTask, reading: Reading, record: ImageRecord, region: Region, card: DatasetCard) -> float:
    if reading.points is None:
        return task.score(reading, record, region, card)["iou"]
    return task.score(reading, record, region, card)["oks"] if region.category in card.keypoints else 0.0


def bounding_box(reading: Reading) -> Box | None:
    """The box around an answer's geometry, in its frame; None if it has no area."""
    rings = reading.polygons or ((reading.points,) if reading.points else ())
    if not rings:
        return reading.box_xyxy
    points = np.array([point for ring in rings for point in ring])
    x1, y1, x2, y2 = (float(value) for value in (*points.min(0), *points.max(0)))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def may_describe(words: str, records: Sequence[ImageRecord], region: BatchRegion, card: DatasetCard) -> bool:
    """Whether an expression may mean a region, checked without a model."""
    index, described = region
    return is_valid(words) and not contradicts_category(words, described, records[index], card.categories)


def is_valid(words: str) -> bool:
    """Whether a person could have written it: not empty, no digits, brackets, line ends or broken characters.

    The expression grammar allows no token that holds these; this check is for characters of several tokens.
    """
    return bool(words) and words.isprintable() and not any(c in "[]\ufffd" or c.isnumeric() for c in words)


def contradicts_category(words: str, region: Region, record: ImageRecord, categories: Sequence[str]) -> bool:
    """Whether an expression names other categories of the data set than the region's, or its category alone if others
    of that category are in the image.

    A detection data set knows the category of every box, described or not: this check needs no model.
    """
    named = {each for each in categories if names_category(words, each)}
    if not named:
        return False
    if normalised(words) == normalised(region.category):
        return any(o.category == region.category and o.region_id != region.region_id for o in record.regions)
    return region.category not in named


def names_category(words: str, category: str) -> bool:
    """Whether an expression holds the name of a category."""
    return f" {normalised(category)} " in f" {normalised(words)} "


def has_ended(ids: Sequence[int], max_tokens: int) -> bool:
    """Whether an expression ended by itself: the end token counts too, and comes before the length limit."""
    return len(ids) <= max_tokens
