"""The cycle between the two directions: what one leg says is what the other is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from vilam.config import CycleSettings
from vilam.data.instructions import Instruction
from vilam.data.records import Expression, ImageRecord, Region
from vilam.inference.answering import Records
from vilam.inference.round_trip import REC, REG, Drawing, Traveller, Trip, hashed
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration
from vilam.training.sampling import Epochs, Example

BATCH = 32


@dataclass(frozen=True, slots=True)
class Middle:
    region_id: str
    trip: Trip


class Cycle:
    def __init__(self, settings: CycleSettings, tokenizer: GroundingTokenizer, seed: int) -> None:
        self.settings = settings
        self.traveller = Traveller(tokenizer)
        self.seed = seed
        self.pool: dict[str, list[Middle]] = {}

    def weight(self, step: int, steps: int) -> float:
        """How far the weights of the legs have risen, 0..1."""
        if self.settings.mode == "none":
            return 0.0
        return float(np.clip((step / steps - self.settings.start) / max(self.settings.ramp, 1e-9), 0, 1))

    def due(self, step: int, steps: int) -> bool:
        first = int(self.settings.start * steps)
        return self.settings.mode != "none" and step >= first and (step - first) % self.settings.refresh == 0

    def refresh(self, model, records: Records, ids: Sequence[str], step: int) -> None:
        number = self.settings.images
        self.epochs = getattr(self, "epochs", None) or Epochs(ids, self.seed, 5)
        count = getattr(self, "count", 0)
        self.count = count + 1
        chosen = self.epochs.at(count * number, number)
        s = self.settings
        drawing = Drawing(s.samples, s.temperature, s.max_words, hashed(self.seed, step))
        for start in range(0, number, BATCH):
            batch = [records[i] for i in chosen[start : start + BATCH]]
            places = [(i, region) for i, record in enumerate(batch) for region in record.regions]
            trips = self.traveller.go_round(model, batch, places, drawing)
            for record in batch:
                self.pool.pop(record.image_id, None)
                self.pool[record.image_id] = []
            for (i, region), found in zip(places, trips, strict=True):
                best = max(found, key=lambda trip: (trip.returns(s.min_iou), trip.confidence))
                self.pool[batch[i].image_id].append(Middle(region.region_id, best))
        while len(self.pool) > s.kept:
            del self.pool[next(iter(self.pool))]
        middles = [(self.records_region(records, i, m), m) for i in chosen[:16] for m in self.pool[i]]
        allm = [m for i in chosen for m in self.pool[i]]
        acc = np.mean([m.trip.returns(s.min_iou) for m in allm])
        words = [m.trip.words for m in allm]
        print(f"\nrefresh {step}: accepted {acc:.3f} distinct {len(set(words))}/{len(words)} conf {np.mean([m.trip.confidence for m in allm]):.2f} exact {np.mean([m.trip.words in {e.text for e in r.expressions} for r, m in middles]):.3f} exact|acc {np.mean([m.trip.words in {e.text for e in r.expressions} for r, m in middles if m.trip.returns(s.min_iou)]):.3f}", words[:6], flush=True)

    def records_region(self, records, i, m):
        return records[i].region(m.region_id)

    def image_ids(self, step: int, count: int) -> list[str]:
        if not self.pool:
            return []
        rng = np.random.default_rng([self.seed, 6, step])
        names = list(self.pool)
        return [names[i] for i in rng.choice(len(names), size=min(count, len(names)), replace=False)]

    def examples(self, record: ImageRecord, step: int, weight: float) -> list[Example]:
        s = self.settings
        rng = np.random.default_rng([self.seed, 3, step, hashed(record.image_id)])
        made = []
        for middle in self.pool[record.image_id]:
            region, trip = record.region(middle.region_id), middle.trip
            returns = trip.returns(s.min_iou)
            said = Expression(trip.words, source="model")
            back = int(rng.integers(len(REC.templates)))
            if s.reg_then_rec > 0 and (returns or not s.rec_accepted):
                question = REC.question(back, record, region, said)
                made.append(Example(_instruction(REC.name, record, region, question, REC.answer(record, region, said)), weight * s.reg_then_rec))
            if s.rec_then_reg > 0 and returns:
                forth = int(rng.integers(len(REG.templates)))
                question = REG.question(forth, record, replace(region, box_xyxy=trip.box_xyxy), None)
                made.append(Example(_instruction(REG.name, record, region, question, trip.words), weight * s.rec_then_reg))
        return made


def _instruction(task: str, record: ImageRecord, region: Region, question: str, answer: str) -> Instruction:
    return Instruction(
        instruction_id=f"cycle/{record.image_id}/{region.region_id}",
        task=task,
        split=record.split,
        image_id=record.image_id,
        region_id=region.region_id,
        question=question,
        answer=answer,
        template=0,
        expression_source="model",
    )
