"""The cycle between the two directions: what one leg says is what the other is asked.

With G (REG: region -> expression) and F (REC: expression -> region), the paper's loss is

    L_cycle(G, F) = CE(F(G(x)), x) + CE(G(F(y)), y)

for a region x and an expression y (ViLaM, arXiv 2311.12327; its weights and schedule are not public). The middle,
G(x) or F(y), is generated with the weights of the step, and no gradient passes through it, as in back-translation
(Sennrich et al., arXiv 1511.06709): each term trains the second leg only.

    reg_then_rec   x -> G -> words;      then F is asked for those words, and must answer x
    rec_then_reg   y -> F -> box;        then G is asked about that box, and must answer y

A generated middle cannot hold coordinates or special tokens (see GrammarCompiler), the shortcut that would make a
cycle perfect without any words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from vilam.config import CycleSettings
from vilam.data.instructions import Instruction
from vilam.data.records import DatasetCard, Expression, ImageRecord, Region
from vilam.inference.answering import Records
from vilam.inference.generate import Answer, Request, generate
from vilam.models.constraints import TokenGrammar
from vilam.models.images import load_pixels
from vilam.models.tokenization import GroundingTokenizer
from vilam.models.vilam import VilamForConditionalGeneration
from vilam.tasks import TASKS
from vilam.training.sampling import Example

REC, REG = TASKS["rec_box"], TASKS["reg_caption"]


@dataclass(frozen=True, slots=True)
class Leg:
    """One pass to come: the first question, and how its answer becomes an example for the second leg."""

    name: str
    task: str
    question: str
    close: Callable[[Answer], Example | None]


class Cycle:
    """Makes the examples of both legs for a few images of a step."""

    def __init__(
        self,
        settings: CycleSettings,
        tokenizer: GroundingTokenizer,
        grammars: Mapping[str, TokenGrammar],
        card: DatasetCard,
        seed: int,
    ) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        self.grammars = grammars
        self.card = card
        self.seed = seed

    def due(self, step: int, steps: int) -> bool:
        """Whether this step has a cycle: after the supervised start, every so many steps."""
        wanted = self.settings.mode != "none" and step >= self.settings.start * steps
        return wanted and step % self.settings.every == 0

    def examples(
        self,
        model: VilamForConditionalGeneration,
        records: Records,
        instructions: Mapping[str, Mapping[str, Sequence[Instruction]]],
        image_ids: Sequence[str],
        step: int,
    ) -> list[list[Example]]:
        """Examples of both legs for each image: one region and one expression of each go round.

        instructions: by image and task, as the sampler has them; the expressions of `rec_then_reg` are theirs.
        """
        if not image_ids:
            return []
        legs = [self._legs(records[image_id], instructions[image_id], step) for image_id in image_ids]
        requests = [
            Request(index, leg.question, self.grammars[leg.task]) for index, found in enumerate(legs) for leg in found
        ]
        pixels = load_pixels([records[image_id].image for image_id in image_ids], model.config).to(model.device)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        answers = iter(generate(model, self.tokenizer, pixels, requests, self.settings.temperature, generator))
        return [[example for leg in found if (example := leg.close(next(answers))) is not None] for found in legs]

    def _legs(self, record: ImageRecord, instructions: Mapping[str, Sequence[Instruction]], step: int) -> list[Leg]:
        rng = np.random.default_rng([self.seed, 3, step, *record.image_id.encode()[-8:]])
        legs = []
        if self.settings.reg_then_rec > 0 and record.regions:
            legs.append(self._reg_then_rec(record, record.regions[rng.integers(len(record.regions))], rng))
        described = instructions.get(REC.name, ())
        if self.settings.rec_then_reg > 0 and described:
            legs.append(self._rec_then_reg(record, described[int(rng.integers(len(described)))], rng))
        return legs

    def _reg_then_rec(self, record: ImageRecord, region: Region, rng: np.random.Generator) -> Leg:
        ask, back = rng.integers(len(REG.templates)), int(rng.integers(len(REC.templates)))

        def close(answer: Answer) -> Example | None:
            words = answer.text.strip()
            if not words:
                return None
            said = Expression(words, source="model")
            question = REC.question(back, record, region, said)
            made = _instruction("reg_then_rec", REC.name, record, region, question, REC.answer(record, region, said))
            return Example(made, self.settings.reg_then_rec)

        return Leg("reg_then_rec", REG.name, REG.question(int(ask), record, region, None), close)

    def _rec_then_reg(self, record: ImageRecord, described: Instruction, rng: np.random.Generator) -> Leg:
        back = int(rng.integers(len(REG.templates)))
        region = record.region(described.region_id)

        def close(answer: Answer) -> Example | None:
            found = REC.parse(answer.text, record.width, record.height)
            if found is None or found.box_xyxy is None:
                return None
            question = REG.question(back, record, replace(region, box_xyxy=found.box_xyxy), None)
            made = _instruction("rec_then_reg", REG.name, record, region, question, described.expression)
            return Example(made, self.settings.rec_then_reg)

        return Leg("rec_then_reg", REC.name, described.question, close)


def _instruction(leg: str, task: str, record: ImageRecord, region: Region, question: str, answer: str) -> Instruction:
    return Instruction(
        instruction_id=f"{leg}/{record.image_id}/{region.region_id}",
        task=task,
        split=record.split,
        image_id=record.image_id,
        region_id=region.region_id,
        question=question,
        answer=answer,
        template=0,
        expression_source="model",
    )
