"""The modes `pseudo` and `soft`: the model's answers become pseudo-labels, examples of the cycle's second leg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vilam.config import CycleSettings
from vilam.cycle.examples import Example, FirstLeg
from vilam.cycle.round_trip import (
    REG,
    BatchRegion,
    Found,
    Query,
    RoundTrip,
    Sampling,
    find,
    make_round_trips,
)
from vilam.cycle.shortening import ranked, with_other_forms
from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.draws import seed_of, some
from vilam.inference.model import Model
from vilam.tasks import TASKS

ByTask = Mapping[str, Sequence[Instruction]]
MOST = 100
"""Regions of an image that are described at a time, at most: an aerial image may have thousands."""


@dataclass(frozen=True, slots=True)
class Source:
    """An image that takes part in the cycle, and its instructions by task."""

    record: ImageRecord
    described: ByTask

    @property
    def undescribed(self) -> list[Region]:
        """The regions for which no instruction has an expression."""
        described = {each.region_id for found in self.described.values() for each in found if each.expression}
        return [region for region in self.record.regions if region.region_id not in described]

    def rng(self, *numbers: int) -> np.random.Generator:
        """A random generator of this image and these numbers alone."""
        return np.random.default_rng([*numbers, seed_of(self.record.image_id)])


class PseudoLabeler:
    """Makes the examples of both directions; ``rec_tasks``: how often each REC task answers an expression."""

    def __init__(self, settings: CycleSettings, rec_tasks: Mapping[str, float], seed: int) -> None:
        self.settings = settings
        self.rec_tasks = rec_tasks
        self.seed = seed

    def examples(
        self, model: Model, sources: Sequence[Source], iteration: int
    ) -> tuple[list[list[Example]], list[RoundTrip]]:
        """The examples of each image, and all round trips of the model."""
        made: list[list[Example]] = [[] for _ in sources]
        own, card = self.settings, model.card
        records = [source.record for source in sources]
        rngs = [source.rng(self.seed, 3, iteration) for source in sources]
        regions = self._regions(sources, iteration)
        samples = self._samples(model, records, regions, iteration)
        tried = with_other_forms(model, records, regions, samples, own.min_iou, own.max_tokens)
        for (i, region), of_region, round_trips in zip(regions, samples, tried, strict=True):
            made[i] += self._reg_then_rec(records[i], region, choose(round_trips, own.min_iou, rngs[i]), card, rngs[i])
            for best in ranked(round_trips, of_region, region.category, own.min_iou)[:1]:
                made[i] += self._rec_then_reg(records[i], region, best.words, best.found, own.self_training, rngs[i])
        queries = [self._query(i, source, rngs[i]) for i, source in enumerate(sources)]
        for query, words, found in self._found(model, records, [one for one in queries if one]):
            i = query.image
            made[i] += self._rec_then_reg(records[i], query.region, words, found, own.rec_then_reg, rngs[i])
        return made, [each for of_region in samples for each in of_region]

    def _regions(self, sources: Sequence[Source], iteration: int) -> list[BatchRegion]:
        """The regions that the model describes: those without true expressions, which are better than its own.

        Of a crowded image only `MOST`, others each time.
        """
        if self.settings.reg_then_rec == self.settings.self_training == 0:
            return []
        return [(i, region) for i, source in enumerate(sources) for region in self._chosen(source, iteration)]

    def _chosen(self, source: Source, iteration: int) -> Sequence[Region]:
        regions = source.undescribed
        return regions if len(regions) <= MOST else some(regions, MOST, source.rng(self.seed, 7, iteration))

    def _samples(
        self, model: Model, records: Sequence[ImageRecord], regions: Sequence[BatchRegion], iteration: int
    ) -> Sequence[list[RoundTrip]]:
        if not regions:
            return []
        own = self.settings
        sampling = Sampling(own.samples, own.temperature, own.max_tokens, seed_of(self.seed, iteration))
        return make_round_trips(model, records, regions, sampling)

    def _reg_then_rec(
        self, record: ImageRecord, region: Region, round_trip: RoundTrip, card: DatasetCard, rng: np.random.Generator
    ) -> Iterator[Example]:
        """x -> G -> expression: F is asked for it and must answer x."""
        if self.settings.reg_then_rec == 0 or round_trip.is_ambiguous(self.settings.min_iou):
            return
        expression = Expression(round_trip.words, source="model")
        described = replace(region, expressions=(expression,))
        name = self._sampled_task([task for task in self.rec_tasks if TASKS[task].applies(described, card)], rng)
        task = TASKS[name]
        question = task.question(int(rng.integers(len(task.templates))), record, region, expression)
        made = instruction(task.name, record, region, question, task.answer(record, region, expression))
        yield Example(made, self.settings.reg_then_rec, first=self._first_leg(round_trip.question, round_trip.words))

    def _rec_then_reg(
        self, record: ImageRecord, region: Region, words: str, found: Found, weight: float, rng: np.random.Generator
    ) -> Iterator[Example]:
        """y -> F -> region: if F found the right one, G is asked about the box that F found and must answer y."""
        if weight == 0 or found.box_xyxy is None or not found.returns(self.settings.min_iou):
            return
        found_region = replace(region, box_xyxy=found.box_xyxy)
        question = REG.question(int(rng.integers(len(REG.templates))), record, found_region, None)
        made = instruction(REG.name, record, region, question, words)
        yield Example(made, weight, first=self._first_leg(found.question, found.answer))

    def _first_leg(self, question: str, answer: str) -> FirstLeg | None:
        """In the mode `soft` the gradient passes through the first leg too."""
        return FirstLeg(question, answer) if self.settings.mode == "soft" else None

    def _sampled_task(self, names: Sequence[str], rng: np.random.Generator) -> str:
        """One of these REC tasks, by weight."""
        weights = np.array([self.rec_tasks[name] for name in names])
        return str(rng.choice(names, p=weights / weights.sum()))

    def _query(self, index: int, source: Source, rng: np.random.Generator) -> tuple[Query, str] | None:
        """A question about one of the image's described regions, of a REC task by weight, and its expression."""
        known = {name: source.described[name] for name in self.rec_tasks if source.described.get(name)}
        if self.settings.rec_then_reg == 0 or not known:
            return None
        name = self._sampled_task(list(known), rng)
        chosen = known[name][int(rng.integers(len(known[name])))]
        return Query(index, source.record.region(chosen.region_id), name, chosen.question), chosen.expression

    def _found(
        self, model: Model, records: Sequence[ImageRecord], queries: Sequence[tuple[Query, str]]
    ) -> Iterator[tuple[Query, str, Found]]:
        if not queries:
            return
        images = model.network.preprocess([record.image for record in records])
        found = find(model, images, records, [query for query, _ in queries])
        for (query, words), one in zip(queries, found, strict=True):
            yield query, words, one


def choose(round_trips: Sequence[RoundTrip], min_iou: float, rng: np.random.Generator) -> RoundTrip:
    """A random one of the round trips that return; if none does, of those that are not ambiguous, or else of all.

    It is random so that F learns from all expressions that G may generate, not only from the most probable ones.
    """
    returning = [each for each in round_trips if each.returns(min_iou)]
    chosen = returning or [each for each in round_trips if not each.is_ambiguous(min_iou)] or round_trips
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
