"""The mode `reward`: several answers are sampled, the other direction scores each, and it learns by its advantage.

G is rewarded by the IoU of the box that F finds for its expression (0 if that box fits another region too), F by the
mean log probability that G gives to the expression from its box. In a group of answers to one question

    A_i = (r_i - mean(r)) / (std(r) + 1e-4)

and the loss is that of `policy_losses`, as in GRPO (arXiv 2402.03300). Cycles trained by rewards: SC-Tune
(arXiv 2403.13263), CycleGRPO (arXiv 2607.11581), CycleReward (arXiv 2506.02095).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vilam.config import CycleSettings
from vilam.cycle.examples import Example, Sampled
from vilam.cycle.pseudo import Source, instruction
from vilam.cycle.round_trip import REC, REG, Found, Query, RoundTrip, Sampling, find, make_round_trips
from vilam.data.records import ImageRecord, Region
from vilam.draws import seed_of
from vilam.inference.model import Model
from vilam.inference.scoring import Target, log_probabilities
from vilam.models.interface import GroundingModel

Group = list[tuple[int, Example]]
"""The answers to one question, each with the index of its image."""


class Rewards:
    """Makes groups of sampled answers with their advantages."""

    def __init__(self, settings: CycleSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed

    def examples(
        self, model: Model, reference: GroundingModel, sources: Sequence[Source], iteration: int
    ) -> tuple[list[list[Example]], list[RoundTrip]]:
        """The examples of each image, and all round trips; the answers are the model's own."""
        round_trips, groups = self._reg_groups(model, sources, iteration)
        groups += self._rec_groups(model, sources, iteration)
        made: list[list[Example]] = [[] for _ in sources]
        everything = [one for group in groups for one in group]
        for index, example in self._with_log_probs(model, reference, sources, everything):
            made[index].append(example)
        return made, round_trips

    def _sampling(self, iteration: int) -> Sampling:
        own = self.settings
        return Sampling(own.samples, own.temperature, own.max_tokens, seed_of(self.seed, iteration), same_question=True)

    def _reg_groups(
        self, model: Model, sources: Sequence[Source], iteration: int
    ) -> tuple[list[RoundTrip], list[Group]]:
        """Some regions of each image, several expressions of each."""
        if self.settings.reg_then_rec == 0:
            return [], []
        chosen = []
        for index, source in enumerate(sources):
            regions = source.record.regions
            count = min(self.settings.regions, len(regions))
            picks = source.rng(self.seed, 3, iteration).choice(len(regions), size=count, replace=False)
            chosen += [(index, regions[i]) for i in picks]
        round_trips = make_round_trips(model, [source.record for source in sources], chosen, self._sampling(iteration))
        groups = [
            self._reg_group(index, sources[index].record, region, of_region)
            for (index, region), of_region in zip(chosen, round_trips, strict=True)
        ]
        return [each for of_region in round_trips for each in of_region], groups

    def _reg_group(self, index: int, record: ImageRecord, region: Region, round_trips: Sequence[RoundTrip]) -> Group:
        rewards = [each.reward(self.settings.min_iou) for each in round_trips]
        return [
            (
                index,
                Example(
                    instruction(REG.name, record, region, round_trip.question, round_trip.words),
                    self.settings.reg_then_rec,
                    sampled(round_trip.ids, advantage),
                ),
            )
            for round_trip, advantage in zip(round_trips, advantages(rewards), strict=True)
            if advantage
        ]

    def _rec_groups(self, model: Model, sources: Sequence[Source], iteration: int) -> list[Group]:
        """One true expression of each image that has any, several boxes."""
        if self.settings.rec_then_reg == 0:
            return []
        queries: list[tuple[Query, str]] = []
        for index, source in enumerate(sources):
            known = source.described.get(REC.name, ())
            if known:
                one = known[int(source.rng(self.seed, 8, iteration).integers(len(known)))]
                query = Query(index, source.record.region(one.region_id), REC.name, one.question)
                queries.append((query, one.expression))
        if not queries:
            return []
        records = [source.record for source in sources]
        images = model.network.preprocess([record.image for record in records])
        found = find(model, images, records, [query for query, _ in queries], self._sampling(iteration))
        count = self.settings.samples
        rewards = self._rec_rewards(model, sources, [each for each in queries for _ in range(count)], found)
        return [
            self._rec_group(query, records[query.image], found[i : i + count], rewards[i : i + count])
            for i, (query, _) in zip(range(0, len(found), count), queries, strict=True)
        ]

    def _rec_rewards(
        self, model: Model, sources: Sequence[Source], queries: Sequence[tuple[Query, str]], found: Sequence[Found]
    ) -> list[float]:
        """The mean log probability that G gives to the expression from each box."""
        targets = []
        for (query, words), one in zip(queries, found, strict=True):
            region = replace(query.region, box_xyxy=one.box_xyxy or query.region.box_xyxy)
            question = REG.question(0, sources[query.image].record, region, None)
            targets.append(Target(query.image, question, tuple(model.tokenizer.encode_answer(words))))
        return [float(np.mean(values)) for values in _log_probs(model, sources, targets)]

    def _rec_group(self, query: Query, record: ImageRecord, found: Sequence[Found], rewards: Sequence[float]) -> Group:
        return [
            (
                query.image,
                Example(
                    instruction(REC.name, record, query.region, query.question, one.answer),
                    self.settings.rec_then_reg,
                    sampled(one.ids, advantage),
                ),
            )
            for one, advantage in zip(found, advantages(rewards), strict=True)
            if advantage
        ]

    def _with_log_probs(
        self,
        model: Model,
        reference: GroundingModel,
        sources: Sequence[Source],
        examples: Sequence[tuple[int, Example]],
    ) -> Iterator[tuple[int, Example]]:
        """The examples with the log probabilities of their tokens, by the current model and by the reference model."""
        targets = []
        for index, example in examples:
            assert example.sampled is not None
            targets.append(Target(index, example.instruction.question, example.sampled.ids))
        models = model, replace(model, network=reference)
        current, referred = (_log_probs(each, sources, targets) for each in models)
        for (index, example), old, of_reference in zip(examples, current, referred, strict=True):
            assert example.sampled is not None
            yield index, replace(example, sampled=replace(example.sampled, old=old, reference=of_reference))


def _log_probs(model: Model, sources: Sequence[Source], targets: Sequence[Target]) -> list[tuple[float, ...]]:
    images = model.network.preprocess([source.record.image for source in sources])
    return log_probabilities(model, images, targets)


def sampled(ids: tuple[int, ...], advantage: float) -> Sampled:
    """An answer whose log probabilities are not known yet."""
    unknown = (0.0,) * len(ids)
    return Sampled(ids, advantage, unknown, unknown)


def advantages(rewards: Sequence[float]) -> list[float]:
    """How far each reward of a group lies above its mean, in standard deviations; 0 if all are equal."""
    values = np.asarray(rewards, dtype=np.float64)
    deviation = values.std()
    if deviation < 1e-6:
        return [0.0] * len(values)
    return ((values - values.mean()) / (deviation + 1e-4)).tolist()  # type: ignore[no-any-return]
