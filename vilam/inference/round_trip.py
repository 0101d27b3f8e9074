"""Region -> words -> region: what a model says of a region, and where its own words lead it back to.

The judge of every generated expression, in the cycle and in `synthesize`. Words hold neither digits nor coordinates
nor special tokens: with them a region could be told by its place alone, and every round trip would be perfect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from torch import Tensor

from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.geometry.boxes import Box
from vilam.inference.generate import Answer, Request, generate
from vilam.models.constraints import GrammarCompiler
from vilam.models.family import GroundingModel, Tokens
from vilam.tasks import TASKS
from vilam.tasks.base import GroundingTask, Reading
from vilam.tasks.grammar import Words
from vilam.tasks.reg_caption import normalised

REC, REG = TASKS["rec_box"], TASKS["reg_caption"]
FINDERS = tuple(task for task in TASKS.values() if task.direction == "rec")
Place = tuple[int, Region]
"""Number of the image in its batch, and a region of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where an expression led to.

    question, answer: as asked and answered, coordinates 0-1000; "" where nothing was asked. ids: tokens of the answer.
    box_xyxy: pixels, around the outline or the keypoints where these were asked for; None where there is none.
    iou: of the answer with its region (of keypoints: OKS); other_iou: the largest with any other region of the image.
    """

    question: str = ""
    answer: str = ""
    ids: tuple[int, ...] = ()
    box_xyxy: Box | None = None
    iou: float = 0.0
    other_iou: float = 0.0

    def returns(self, threshold: float) -> bool:
        """Whether it is the box of its region (IoU at or above the threshold) and of no other."""
        return self.iou >= threshold > self.other_iou


@dataclass(frozen=True, slots=True)
class Trip:
    """An expression that a model gave a region, and where its words led back to.

    question: what was asked about the region. ids: tokens of the answer. confidence: geometric mean of their
    probabilities. Words that were cut off at the length cap, that are none (see `speakable`) or that what is known of
    the image belies (see `belied`) lead nowhere.
    """

    question: str
    words: str
    ids: tuple[int, ...]
    confidence: float
    found: Found

    @property
    def log_probability(self) -> float:
        """Of the words as a whole."""
        return len(self.ids) * math.log(max(self.confidence, 1e-9))

    def returns(self, threshold: float) -> bool:
        """Whether it ends at its region (IoU at or above the threshold) and at no other."""
        return self.found.returns(threshold)

    def misleads(self, threshold: float) -> bool:
        """Whether it ends at several regions at once, or nowhere."""
        return self.found.box_xyxy is None or min(self.found.iou, self.found.other_iou) >= threshold

    def reward(self, threshold: float) -> float:
        """The IoU of where it ends; nothing where that is another region too."""
        return self.found.iou if self.found.other_iou < threshold else 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A REC question on the ``image``-th image of a batch, about words that were said of a region."""

    image: int
    region: Region
    task: str
    question: str


def ask(task: GroundingTask, template: int, records: Sequence[ImageRecord], place: Place, words: str) -> Asked:
    """The question of a REC task about words that were said of a place, by one of the task's templates."""
    index, region = place
    question = task.question(template, records[index], region, Expression(words, source="model"))
    return Asked(index, region, task.name, question)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How answers are drawn: ``samples`` of each at ``temperature``, of ``max_words`` tokens at most, by ``seed``.

    alike: whether all samples of a region answer one question, so that their rewards can be compared; else each
    answers another one, and differs even at temperature 0.
    """

    samples: int
    temperature: float
    max_words: int
    seed: int
    alike: bool = False


class Traveller:
    """Sends a model round; the model is given to each call, since its weights change in training."""

    def __init__(self, tokenizer: Tokens, card: DatasetCard) -> None:
        compiler = GrammarCompiler(tokenizer)
        self.tokenizer = tokenizer
        self.card = card
        self.speech = compiler.compile(((Words(digits=False),),))
        self.finders = {task.name: compiler.compile(task.grammar(card)) for task in FINDERS}

    def go_round(
        self,
        model: GroundingModel,
        records: Sequence[ImageRecord],
        places: Sequence[Place],
        drawing: Drawing,
    ) -> list[list[Trip]]:
        """The trips of each place, one a sample: its expressions, each with the box that the model finds by it."""
        pixels = model.see([record.image for record in records])
        asked = [
            self._question(index, records[index], region, sample, drawing)
            for index, region in places
            for sample in range(drawing.samples)
        ]
        said = generate(model, self.tokenizer, pixels, asked, drawing.temperature, drawing.max_words)
        words = [" ".join(answer.text.split()) for answer in said]
        owners = [place for place in places for _ in range(drawing.samples)]
        usable = [
            i
            for i, answer in enumerate(said)
            if ended(answer.ids, drawing.max_words) and self.may_say(words[i], records, owners[i])
        ]
        back = [ask(REC, 0, records, owners[i], words[i]) for i in usable]
        found = dict(zip(usable, self.find(model, pixels, records, back), strict=True))
        trips = [
            Trip(request.question, words[i], answer.ids, answer.confidence, found.get(i, Found()))
            for i, (request, answer) in enumerate(zip(asked, said, strict=True))
        ]
        return [trips[i : i + drawing.samples] for i in range(0, len(trips), drawing.samples)]

    def may_say(self, words: str, records: Sequence[ImageRecord], place: Place) -> bool:
        """Whether words may be an expression for a region, as far as no model is needed to tell."""
        index, region = place
        return speakable(words) and not belied(words, region, records[index], self.card.categories)

    def _question(self, index: int, record: ImageRecord, region: Region, sample: int, drawing: Drawing) -> Request:
        number = hashed(drawing.seed, record.image_id, region.region_id, sample)
        group = hashed(drawing.seed, record.image_id, region.region_id) if drawing.alike else number
        question = REG.question(group % len(REG.templates), record, region, None)
        return Request(index, question, self.speech, number)

    def find(
        self,
        model: GroundingModel,
        pixels: Tensor,
        records: Sequence[ImageRecord],
        asked: Sequence[Asked],
        drawing: Drawing | None = None,
    ) -> list[Found]:
        """Where each expression leads: the likeliest answer, or ``drawing.samples`` drawn ones, one after the other."""
        samples, seed = (1, 0) if drawing is None else (drawing.samples, drawing.seed)
        requests = [
            Request(each.image, each.question, self.finders[each.task], hashed(seed, each.question, sample))
            for each in asked
            for sample in range(samples)
        ]
        distinct = {(each.image, each.question, each.seed): each for each in requests}
        temperature = 0.0 if drawing is None else drawing.temperature
        answers = generate(model, self.tokenizer, pixels, list(distinct.values()), temperature)
        known = dict(zip(distinct, answers, strict=True))
        owners = [each for each in asked for _ in range(samples)]
        return [
            self._found(records[owner.image], owner, known[request.image, request.question, request.seed])
            for owner, request in zip(owners, requests, strict=True)
        ]

    def _found(self, record: ImageRecord, asked: Asked, answer: Answer) -> Found:
        task = TASKS[asked.task]
        reading = task.parse(answer.text, record.width, record.height)
        box = None if reading is None else around(reading)
        if reading is None or box is None:
            return Found(asked.question, answer.text, answer.ids)
        scores = {each.region_id: self._score(task, reading, record, each) for each in record.regions}
        own = scores.pop(asked.region.region_id)
        return Found(asked.question, answer.text, answer.ids, box, own, max(scores.values(), default=0.0))

    def _score(self, task: GroundingTask, reading: Reading, record: ImageRecord, region: Region) -> float:
        if reading.points is not None and region.category not in self.card.keypoints:
            return 0.0
        scores = task.score(reading, record, region, self.card)
        return scores["oks"] if reading.points is not None else scores["iou"]


def around(reading: Reading) -> Box | None:
    """The box around an answer's geometry, in its frame; None where that has no area."""
    rings = reading.polygons or ((reading.points,) if reading.points else ())
    if not rings:
        return reading.box_xyxy
    points = np.array([point for ring in rings for point in ring])
    x1, y1, x2, y2 = (float(value) for value in (*points.min(0), *points.max(0)))
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def speakable(words: str) -> bool:
    """Whether people could have said so: no digits, brackets, line ends or broken characters; something at all.

    Tokens that hold these are not drawn in the first place; this holds where several tokens make one character.
    """
    return bool(words) and words.isprintable() and not any(c in "[]\ufffd" or c.isnumeric() for c in words)


def belied(words: str, region: Region, record: ImageRecord, categories: Sequence[str]) -> bool:
    """Whether words cannot mean the region: they name categories of the data set and not its own, or that alone.

    The category alone does not tell a region from another of its category in the image. What a region is, a detection
    data set knows of every box, described or not: so this cycle needs no model.
    """
    said = normalised(words)
    named = {each for each in categories if names(words, each)}
    if not named:
        return False
    if said == normalised(region.category):
        return any(o.category == region.category and o.region_id != region.region_id for o in record.regions)
    return region.category not in named


def names(words: str, category: str) -> bool:
    """Whether words hold the name of a category."""
    return f" {normalised(category)} " in f" {normalised(words)} "


def hashed(*parts: object) -> int:
    """A number below 2**63, the same for the same parts on every machine."""
    digest = blake2b("\n".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def ended(ids: Sequence[int], max_words: int) -> bool:
    """Whether an expression ended by itself: the token that ends it counts too, and comes before the length cap."""
    return len(ids) <= max_words
