"""The modes `pseudo` and `soft`: what a model says of regions and finds by words, as examples of both legs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vilam.config import CycleSettings
from vilam.data.instructions import Instruction
from vilam.data.records import Expression, ImageRecord, Region
from vilam.inference.rewording import ranked, reworded
from vilam.inference.round_trip import REG, Asked, Drawing, Found, Place, Traveller, Trip, hashed
from vilam.models.family import GroundingModel
from vilam.tasks import TASKS
from vilam.training.sampling import Example, FirstLeg

ByTask = Mapping[str, Sequence[Instruction]]


@dataclass(frozen=True, slots=True)
class Source:
    """An image that goes round, and its instructions by task."""

    record: ImageRecord
    described: ByTask

    @property
    def wordless(self) -> list[Region]:
        """The regions that no instruction has words for."""
        worded = {each.region_id for found in self.described.values() for each in found if each.expression}
        return [region for region in self.record.regions if region.region_id not in worded]

    def rng(self, *numbers: int) -> np.random.Generator:
        """Random numbers of this image and these numbers alone."""
        return np.random.default_rng([*numbers, hashed(self.record.image_id)])


class Middles:
    """Makes the examples of both legs; ``rec_tasks``: the weights with which tasks are drawn to answer words."""

    def __init__(
        self, settings: CycleSettings, rec_tasks: Mapping[str, float], traveller: Traveller, seed: int
    ) -> None:
        self.settings = settings
        self.rec_tasks = rec_tasks
        self.traveller = traveller
        self.seed = seed

    def examples(
        self, model: GroundingModel, sources: Sequence[Source], step: int
    ) -> tuple[list[list[Example]], list[Trip]]:
        """Examples of each image, and all trips; the middles are the model's."""
        made: list[list[Example]] = [[] for _ in sources]
        own = self.settings
        records = [source.record for source in sources]
        dice = [source.rng(self.seed, 3, step) for source in sources]
        places = self._places(sources)
        said = self._said(model, records, places, step)
        tried = reworded(self.traveller, model, records, places, said, own.min_iou, own.max_words)
        for (i, region), samples, trips in zip(places, said, tried, strict=True):
            made[i] += self._reg_then_rec(records[i], region, choose(trips, own.min_iou, dice[i]), dice[i])
            for told in ranked(trips, samples, region.category, own.min_iou)[:1]:
                made[i] += self._rec_then_reg(records[i], region, told.words, told.found, own.retell, dice[i])
        questions = [self._asked(i, source, dice[i]) for i, source in enumerate(sources)]
        for i, region, words, found in self._answers(model, records, [one for one in questions if one]):
            made[i] += self._rec_then_reg(records[i], region, words, found, own.rec_then_reg, dice[i])
        return made, [trip for trips in said for trip in trips]

    def _places(self, sources: Sequence[Source]) -> list[Place]:
        """The regions that the model is asked about: those without words, since true ones are better than its own."""
        if self.settings.reg_then_rec == self.settings.retell == 0:
            return []
        return [(i, region) for i, source in enumerate(sources) for region in source.wordless]

    def _said(
        self, model: GroundingModel, records: Sequence[ImageRecord], places: Sequence[Place], step: int
    ) -> Sequence[list[Trip]]:
        """The model's own words."""
        if not places:
            return []
        own = self.settings
        drawing = Drawing(own.samples, own.temperature, own.max_words, hashed(self.seed, step))
        return self.traveller.go_round(model, records, places, drawing)

    def _reg_then_rec(
        self, record: ImageRecord, region: Region, trip: Trip, rng: np.random.Generator
    ) -> Iterator[Example]:
        """x -> G -> words: F is asked for them and must answer x."""
        if self.settings.reg_then_rec == 0 or trip.misleads(self.settings.min_iou):
            return
        said = Expression(trip.words, source="model")
        task = TASKS[self._task(replace(region, expressions=(said,)), rng)]
        question = task.question(int(rng.integers(len(task.templates))), record, region, said)
        made = instruction(task.name, record, region, question, task.answer(record, region, said))
        yield Example(made, self.settings.reg_then_rec, first=self._first(trip.question, trip.words))

    def _rec_then_reg(
        self, record: ImageRecord, region: Region, words: str, found: Found, weight: float, rng: np.random.Generator
    ) -> Iterator[Example]:
        """y -> F -> region: where F found the right one, G is asked about what it found and must answer y."""
        if weight == 0 or found.box_xyxy is None or not found.returns(self.settings.min_iou):
            return
        asked = replace(region, box_xyxy=found.box_xyxy)
        question = REG.question(int(rng.integers(len(REG.templates))), record, asked, None)
        made = instruction(REG.name, record, region, question, words)
        yield Example(made, weight, first=self._first(found.question, found.answer))

    def _first(self, question: str, answer: str) -> FirstLeg | None:
        """In the mode `soft` the gradient passes through the middle too."""
        return FirstLeg(question, answer) if self.settings.mode == "soft" else None

    def _task(self, region: Region, rng: np.random.Generator) -> str:
        """A REC task that this region can be asked for, by weight."""
        names = [name for name in self.rec_tasks if TASKS[name].applies(region, self.traveller.card)]
        weights = np.array([self.rec_tasks[name] for name in names])
        return str(rng.choice(names, p=weights / weights.sum()))

    def _asked(self, index: int, source: Source, rng: np.random.Generator) -> tuple[Asked, str] | None:
        """One of the image's described regions, asked for by a REC task that is drawn by weight, and its words."""
        known = {name: source.described[name] for name in self.rec_tasks if source.described.get(name)}
        if self.settings.rec_then_reg == 0 or not known:
            return None
        weights = np.array([self.rec_tasks[name] for name in known])
        name = str(rng.choice(list(known), p=weights / weights.sum()))
        chosen = known[name][int(rng.integers(len(known[name])))]
        return Asked(index, source.record.region(chosen.region_id), name, chosen.question), chosen.expression

    def _answers(
        self, model: GroundingModel, records: Sequence[ImageRecord], asked: Sequence[tuple[Asked, str]]
    ) -> Iterator[tuple[int, Region, str, Found]]:
        if not asked:
            return
        pixels = model.see([record.image for record in records])
        found = self.traveller.find(model, pixels, records, [one for one, _ in asked])
        for (one, words), where in zip(asked, found, strict=True):
            yield one.image, one.region, words, where


def choose(trips: Sequence[Trip], min_iou: float, rng: np.random.Generator) -> Trip:
    """One of the trips that return, by chance; where none does, of those that do not mislead, and else of all.

    By chance, so that F meets all that G may say, and not only what it is surest of.
    """
    returning = [trip for trip in trips if trip.returns(min_iou)]
    chosen = returning or [trip for trip in trips if not trip.misleads(min_iou)] or trips
    return chosen[int(rng.integers(len(chosen)))]


def instruction(task: str, record: ImageRecord, region: Region, question: str, answer: str) -> Instruction:
    """A question and answer of the cycle."""
    return Instruction(
        instruction_id=f"cycle/{task}/{record.image_id}/{region.region_id}",
        task=task,
        split=record.split,
        image_id=record.image_id,
        region_id=region.region_id,
        question=question,
        answer=answer,
        template=0,
        expression_source="model",
    )
