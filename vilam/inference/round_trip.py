"""Region -> words -> region: what a model says of a region, and where its own words lead it back to.

The judge of every generated expression, in the cycle and in `synthesize`. Words hold neither digits nor coordinates
nor special tokens: with them a region could be told by its place alone, and every round trip would be perfect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch

from vilam.data.records import Expression, ImageRecord, Region
from vilam.geometry.boxes import Box, iou
from vilam.inference.generate import Answer, Request, generate
from vilam.models.constraints import GrammarCompiler
from vilam.models.images import load_pixels
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration
from vilam.tasks import TASKS
from vilam.tasks.grammar import Box as BoxSlot
from vilam.tasks.grammar import Words

REC, REG = TASKS["rec_box"], TASKS["reg_caption"]
Place = tuple[int, Region]
"""Number of the image in its batch, and a region of it."""


@dataclass(frozen=True, slots=True)
class Trip:
    """An expression that the model gave a region, and the box that it found by it.

    confidence: geometric mean of the probabilities of its tokens. box_xyxy: pixels, None where the words were cut off
    at the length cap, are none that people could use (see `speakable`), or the answer could not be read. iou: of that
    box with the region, other_iou: the largest with any other region of the image; 0 where there is no box. times: how
    many of the region's samples said so.
    """

    words: str
    confidence: float
    box_xyxy: Box | None
    iou: float
    other_iou: float
    times: int = 1

    def returns(self, threshold: float) -> bool:
        """Whether it ends at its region (IoU at or above the threshold) and at no other region."""
        return self.iou >= threshold > self.other_iou


@dataclass(frozen=True, slots=True)
class Drawing:
    """How expressions are drawn: ``samples`` a region at ``temperature``, ``max_words`` tokens at most, by ``seed``."""

    samples: int
    temperature: float
    max_words: int
    seed: int


class Traveller:
    """Sends a model round; the model is given to each call, since its weights change in training."""

    def __init__(self, tokenizer: GroundingTokenizer) -> None:
        compiler = GrammarCompiler(tokenizer)
        self.tokenizer = tokenizer
        self.speech = compiler.compile(((Words(digits=False),),))
        self.box = compiler.compile(((BoxSlot(),),))

    def go_round(
        self,
        model: VilamForConditionalGeneration,
        records: Sequence[ImageRecord],
        places: Sequence[Place],
        drawing: Drawing,
    ) -> list[list[Trip]]:
        """The trips of each place: its distinct expressions, each with the box that the model finds by it."""
        pixels = load_pixels([record.image for record in records], model.config).to(model.device)
        said = self._describe(model, pixels, records, places, drawing)
        whole = [(i, each) for i, made in enumerate(said) for each in made if each.ended and speakable(each.words)]
        found = self.locate(model, pixels, records, [(places[i][0], each.words) for i, each in whole])
        boxes = {(i, each.words): box for (i, each), box in zip(whole, found, strict=True)}
        return [
            [_trip(records[index], region, each, boxes.get((i, each.words))) for each in made]
            for i, ((index, region), made) in enumerate(zip(places, said, strict=True))
        ]

    def _describe(
        self,
        model: VilamForConditionalGeneration,
        pixels: torch.Tensor,
        records: Sequence[ImageRecord],
        places: Sequence[Place],
        drawing: Drawing,
    ) -> list[list[_Said]]:
        requests = [
            self._question(records[index], index, region, sample, drawing.seed)
            for index, region in places
            for sample in range(drawing.samples)
        ]
        answers = generate(model, self.tokenizer, pixels, requests, drawing.temperature, drawing.max_words)
        each = [answers[i : i + drawing.samples] for i in range(0, len(answers), drawing.samples)]
        return [_distinct(of_region, drawing) for of_region in each]

    def _question(self, record: ImageRecord, index: int, region: Region, sample: int, seed: int) -> Request:
        number = hashed(seed, record.image_id, region.region_id, sample)
        question = REG.question(number % len(REG.templates), record, region, None)
        return Request(index, question, self.speech, number)

    def locate(
        self,
        model: VilamForConditionalGeneration,
        pixels: torch.Tensor,
        records: Sequence[ImageRecord],
        expressions: Sequence[tuple[int, str]],
    ) -> list[Box | None]:
        """The box (pixels) of each expression, given with its image's number; asked in the first template's words."""
        requests = [Request(index, REC.templates[0].format(expression=words), self.box) for index, words in expressions]
        answers = generate(model, self.tokenizer, pixels, requests)
        return [_box(answer.text, records[index]) for (index, _), answer in zip(expressions, answers, strict=True)]


@dataclass(frozen=True, slots=True)
class _Said:
    """An expression, the largest confidence of the samples that said it, whether one ended by itself, their number."""

    words: str
    confidence: float
    ended: bool
    times: int


def _distinct(answers: Sequence[Answer], drawing: Drawing) -> list[_Said]:
    """The different expressions among the samples of a region, in the order in which they were first said."""
    by_words: dict[str, list[Answer]] = {}
    for answer in answers:
        by_words.setdefault(" ".join(answer.text.split()), []).append(answer)
    return [
        _Said(words, max(each.confidence for each in same), any(ended(each, drawing) for each in same), len(same))
        for words, same in by_words.items()
    ]


def ended(answer: Answer, drawing: Drawing) -> bool:
    """Whether an expression ended by itself: the token that ends it comes before the length cap."""
    return len(answer.ids) <= drawing.max_words


def speakable(words: str) -> bool:
    """Whether people could have said so: no digits, brackets, line ends or broken characters; something at all.

    Tokens that hold these are not drawn in the first place; this holds where several tokens make one character.
    """
    return bool(words) and words.isprintable() and not any(c in "[]\ufffd" or c.isnumeric() for c in words)


def hashed(*parts: object) -> int:
    """A number below 2**63, the same for the same parts on every machine."""
    digest = blake2b("\n".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _box(answer: str, record: ImageRecord) -> Box | None:
    reading = REC.parse(answer, record.width, record.height)
    return reading.box_xyxy if reading else None


def _trip(record: ImageRecord, region: Region, said: _Said, box: Box | None) -> Trip:
    own, others = 0.0, 0.0
    if box is not None:
        ious = {each.region_id: float(iou([box], [each.box_xyxy])[0, 0]) for each in record.regions}
        own = ious.pop(region.region_id)
        others = max(ious.values(), default=0.0)
    return Trip(said.words, said.confidence, box, own, others, said.times)
