"""The mode `reward`: several answers are drawn, each is scored by the other leg, and learns by its advantage.

G is rewarded by the IoU of the box that F finds by its words (nothing where that box is another region too), F by the
mean log probability with which G gives back the expression from its box. Within a group of answers to one question

    A_i = (r_i - mean(r)) / (std(r) + 1e-4)

and the loss is that of `policy_losses`, as in GRPO (arXiv 2402.03300); a cycle trained by rewards: SC-Tune
(arXiv 2403.13263), CycleGRPO (arXiv 2607.11581), CycleReward (arXiv 2506.02095).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vilam.config import CycleSettings
from vilam.data.records import ImageRecord, Region
from vilam.inference.round_trip import REC, REG, Asked, Drawing, Found, Traveller, Trip, hashed
from vilam.inference.scoring import Given, log_probabilities
from vilam.models.family import GroundingModel
from vilam.training.middles import Source, instruction
from vilam.training.sampling import Example, Sampled

Group = list[tuple[int, Example]]
"""The answers to one question, each with the number of its image."""


class Rewards:
    """Makes groups of drawn answers with their advantages."""

    def __init__(self, settings: CycleSettings, traveller: Traveller, seed: int) -> None:
        self.settings = settings
        self.traveller = traveller
        self.seed = seed

    def examples(
        self,
        model: GroundingModel,
        reference: GroundingModel,
        sources: Sequence[Source],
        step: int,
    ) -> tuple[list[list[Example]], list[Trip]]:
        """Examples of each image, and all trips; answers are the model's own."""
        trips, groups = self._spoken(model, sources, step)
        groups += self._found(model, sources, step)
        made: list[list[Example]] = [[] for _ in sources]
        for index, example in self._with_log_probs(
            model, reference, sources, [one for group in groups for one in group]
        ):
            made[index].append(example)
        return made, trips

    def _drawing(self, step: int) -> Drawing:
        own = self.settings
        return Drawing(own.samples, own.temperature, own.max_words, hashed(self.seed, step), alike=True)

    def _spoken(self, model: GroundingModel, sources: Sequence[Source], step: int) -> tuple[list[Trip], list[Group]]:
        """One region of each image, several expressions."""
        if self.settings.reg_then_rec == 0:
            return [], []
        places = []
        for index, source in enumerate(sources):
            regions = source.record.regions
            count = min(self.settings.regions, len(regions))
            chosen = source.rng(self.seed, 3, step).choice(len(regions), size=count, replace=False)
            places += [(index, regions[i]) for i in chosen]
        trips = self.traveller.go_round(model, [source.record for source in sources], places, self._drawing(step))
        groups = [
            self._spoken_group(index, sources[index].record, region, found)
            for (index, region), found in zip(places, trips, strict=True)
        ]
        return [trip for found in trips for trip in found], groups

    def _spoken_group(self, index: int, record: ImageRecord, region: Region, trips: Sequence[Trip]) -> Group:
        rewards = [trip.reward(self.settings.min_iou) for trip in trips]
        return [
            (
                index,
                Example(
                    instruction(REG.name, record, region, trip.question, trip.words),
                    self.settings.reg_then_rec,
                    sampled(trip.ids, advantage),
                ),
            )
            for trip, advantage in zip(trips, advantages(rewards), strict=True)
            if advantage
        ]

    def _found(self, model: GroundingModel, sources: Sequence[Source], step: int) -> list[Group]:
        """One true expression of each image that has any, several boxes."""
        if self.settings.rec_then_reg == 0:
            return []
        asked: list[tuple[Asked, str]] = []
        for index, source in enumerate(sources):
            known = source.described.get(REC.name, ())
            if known:
                one = known[int(source.rng(self.seed, 8, step).integers(len(known)))]
                asked.append(
                    (Asked(index, source.record.region(one.region_id), REC.name, one.question), one.expression)
                )
        if not asked:
            return []
        records = [source.record for source in sources]
        pixels = model.see([record.image for record in records])
        found = self.traveller.find(model, pixels, records, [one for one, _ in asked], self._drawing(step))
        count = self.settings.samples
        told = self._retold(model, sources, [each for each in asked for _ in range(count)], found)
        return [
            self._found_group(
                one, sources[one.image].record, found[i * count : (i + 1) * count], told[i * count : (i + 1) * count]
            )
            for i, (one, _) in enumerate(asked)
        ]

    def _retold(
        self,
        model: GroundingModel,
        sources: Sequence[Source],
        asked: Sequence[tuple[Asked, str]],
        found: Sequence[Found],
    ) -> list[float]:
        """Mean log probability with which G gives back the words from each box."""
        given = []
        for (one, words), where in zip(asked, found, strict=True):
            region = replace(one.region, box_xyxy=where.box_xyxy or one.region.box_xyxy)
            question = REG.question(0, sources[one.image].record, region, None)
            given.append(Given(one.image, question, tuple(self.traveller.tokenizer.encode_answer(words))))
        return [float(np.mean(values)) for values in self._log_probs(model, sources, given)]

    def _found_group(
        self, asked: Asked, record: ImageRecord, found: Sequence[Found], rewards: Sequence[float]
    ) -> Group:
        return [
            (
                asked.image,
                Example(
                    instruction(REC.name, record, asked.region, asked.question, where.answer),
                    self.settings.rec_then_reg,
                    sampled(where.ids, advantage),
                ),
            )
            for where, advantage in zip(found, advantages(rewards), strict=True)
            if advantage
        ]

    def _with_log_probs(
        self,
        model: GroundingModel,
        reference: GroundingModel,
        sources: Sequence[Source],
        examples: Sequence[tuple[int, Example]],
    ) -> Iterator[tuple[int, Example]]:
        """The examples with the log probabilities of their tokens now and by the reference."""
        given = []
        for index, example in examples:
            assert example.sampled is not None
            given.append(Given(index, example.instruction.question, example.sampled.ids))
        old, far = (self._log_probs(each, sources, given) for each in (model, reference))
        for (index, example), own, other in zip(examples, old, far, strict=True):
            assert example.sampled is not None
            yield index, replace(example, sampled=replace(example.sampled, old=own, reference=other))

    def _log_probs(
        self, model: GroundingModel, sources: Sequence[Source], given: Sequence[Given]
    ) -> list[tuple[float, ...]]:
        pixels = model.see([source.record.image for source in sources])
        return log_probabilities(model, self.traveller.tokenizer, pixels, given)


def sampled(ids: tuple[int, ...], advantage: float) -> Sampled:
    """An answer whose log probabilities are yet to be read."""
    unknown = (0.0,) * len(ids)
    return Sampled(ids, advantage, unknown, unknown)


def advantages(rewards: Sequence[float]) -> list[float]:
    """How far each reward of a group lies above its mean, in standard deviations; 0 where all are alike."""
    values = np.asarray(rewards, dtype=np.float64)
    spread = values.std()
    if spread < 1e-6:
        return [0.0] * len(values)
    return ((values - values.mean()) / (spread + 1e-4)).tolist()  # type: ignore[no-any-return]
